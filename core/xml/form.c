/* xml/form.c: data forms (XEP-0004). */
#include <grapnel/form.h>

#include <string.h>

/* --- reading --- */

const struct gr_el *gr_form_child(const struct gr_el *parent)
{
    return gr_el_child(parent, GR_NS_FORM, "x");
}

const struct gr_el *gr_form_field(const struct gr_el *form, const char *var)
{
    const struct gr_el *field = gr_el_child(form, GR_NS_FORM, "field");

    for (; field != NULL; field = gr_el_next(field, GR_NS_FORM, "field")) {
        const char *name = gr_el_attr(field, "var");

        if (name != NULL && strcmp(name, var) == 0)
            return field;
    }
    return NULL;
}

const struct gr_el *gr_form_next_value(const struct gr_el *field, const struct gr_el *prev)
{
    return prev == NULL ? gr_el_child(field, GR_NS_FORM, "value")
                        : gr_el_next(prev, GR_NS_FORM, "value");
}

const char *gr_form_value(const struct gr_el *form, const char *var)
{
    const struct gr_el *field = gr_form_field(form, var);
    const struct gr_el *value = field != NULL ? gr_form_next_value(field, NULL) : NULL;

    return value != NULL ? gr_el_text(value, NULL) : NULL;
}

bool gr_form_submitted(const struct gr_el *form, const char *form_type)
{
    const char *type = gr_el_attr(form, "type"), *value = gr_form_value(form, "FORM_TYPE");

    return type != NULL && strcmp(type, "submit") == 0 && value != NULL &&
           strcmp(value, form_type) == 0;
}

/* XEP-0004, 3.3, table 2: both spellings. */
int gr_form_bool(const struct gr_el *form, const char *var, bool *out)
{
    const char *value = gr_form_value(form, var);

    if (value == NULL)
        return GR_ENOENT;
    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
        *out = true;
    else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        *out = false;
    else
        return GR_EINVAL;
    return 0;
}

static bool is_known(const struct gr_el *field, const char *var, const char *const *known)
{
    const char *type = gr_el_attr(field, "type");

    if (type != NULL && strcmp(type, "fixed") == 0)
        return true;
    if (var == NULL)
        return false;
    while (*known != NULL && strcmp(*known, var) != 0)
        known++;
    return *known != NULL || strcmp(var, "FORM_TYPE") == 0;
}

const char *gr_form_unknown(const struct gr_el *form, const char *const *known)
{
    const struct gr_el *field = gr_el_child(form, GR_NS_FORM, "field");

    for (; field != NULL; field = gr_el_next(field, GR_NS_FORM, "field")) {
        const char *var = gr_el_attr(field, "var");

        if (!is_known(field, var, known))
            return var != NULL ? var : "";
    }
    return NULL;
}

/* --- writing --- */

struct gr_el *gr_form_add(struct gr_stanza *st, struct gr_el *parent, const char *type,
                          const char *form_type)
{
    struct gr_el *form = gr_el_add(st, parent, GR_NS_FORM, "x");

    gr_el_set(st, form, "type", type);
    if (form_type != NULL)
        gr_form_add_field(st, form, "hidden", "FORM_TYPE", NULL, form_type);
    return form;
}

struct gr_el *gr_form_add_field(struct gr_stanza *st, struct gr_el *form, const char *type,
                                const char *var, const char *label, const char *value)
{
    struct gr_el *field = gr_el_add(st, form, NULL, "field");

    gr_el_set(st, field, "type", type);
    gr_el_set(st, field, "var", var);
    gr_el_set(st, field, "label", label);
    if (value != NULL)
        gr_form_add_value(st, field, value);
    return field;
}

void gr_form_add_value(struct gr_stanza *st, struct gr_el *field, const char *value)
{
    gr_el_add_text(st, field, NULL, "value", value);
}

void gr_form_add_option(struct gr_stanza *st, struct gr_el *field, const char *label,
                        const char *value)
{
    struct gr_el *option = gr_el_add(st, field, NULL, "option");

    gr_el_set(st, option, "label", label);
    gr_form_add_value(st, option, value);
}
