/* mod_adhoc/result.c: rows that a command has answered, kept until their last page was read, and
 * written as a form: a table (XEP-0004, 3.4), the fields of a single row, or what XEP-0133 wants. */
#include "adhoc.h"

#include <string.h>

#define SEARCHED_MAX 32

/* Pieces, each ended by NUL: "" begins a row, name and value follow. */
struct rows {
    struct gr_writer bytes;
    size_t max, count;
    bool cut;
};

struct rows *rows_new(size_t max_bytes)
{
    struct rows *r = gr_alloc(sizeof(*r));

    r->bytes = gr_writer_new(1024);
    r->max = max_bytes;
    return r;
}

void rows_free(struct rows **take)
{
    size_t len;

    if (*take == NULL)
        return;
    gr_free(gr_writer_take(&(*take)->bytes, &len));
    gr_free(*take);
    *take = NULL;
}

size_t rows_count(const struct rows *r)
{
    return r->count;
}

bool rows_cut(const struct rows *r)
{
    return r->cut;
}

void rows_add(struct rows *r, struct gr_cmd_result *from)
{
    const char *name, *value;

    while (!r->cut && gr_cmd_result_next(from, &name, &value)) {
        if (name == NULL) {
            r->cut = r->bytes.len >= r->max;
            if (r->cut)
                return;
            r->count++;
            gr_write_bytes(&r->bytes, "", 1);
            continue;
        }
        gr_write_bytes(&r->bytes, name, strlen(name) + 1);
        gr_write_bytes(&r->bytes, value, strlen(value) + 1);
    }
}

/* --- walking --- */

struct walk {
    const char *at, *end;
    size_t row;             /* 1: the first */
};

static struct walk walk_from(const struct rows *r, size_t first)
{
    const char *data = (const char *)r->bytes.data;
    struct walk w = { data, data + r->bytes.len, 0 };

    while (w.at < w.end && (*w.at != '\0' || w.row < first)) {
        if (*w.at == '\0') {
            w.row++;
            w.at++;
            continue;
        }
        w.at += strlen(w.at) + 1;
        w.at += strlen(w.at) + 1;
    }
    return w;
}

/* The next field of the row that has begun; false: it has no more. */
static bool next_field(struct walk *w, const char **name, const char **value)
{
    if (w->at == w->end || *w->at == '\0')
        return false;
    *name = w->at;
    *value = *name + strlen(*name) + 1;
    w->at = *value + strlen(*value) + 1;
    return true;
}

static bool next_row(struct walk *w)
{
    const char *name, *value;

    while (next_field(w, &name, &value))
        ;
    if (w->at == w->end)
        return false;
    w->at++;
    w->row++;
    return true;
}

/* --- writing --- */

static const char *in_row(struct walk row, const char *column)
{
    const char *name, *value;

    while (next_field(&row, &name, &value))
        if (strcmp(name, column) == 0)
            return value;
    return NULL;
}

static void add_reported(struct gr_stanza *st, struct gr_el *form, struct walk row)
{
    struct gr_el *reported = gr_el_add(st, form, NULL, "reported");
    const char *name, *value;

    while (next_field(&row, &name, &value))
        gr_form_add_field(st, reported, "text-single", name, name, NULL);
}

static void add_table(struct gr_stanza *st, struct gr_el *form, struct walk w, size_t count,
                      bool table)
{
    const char *name, *value;
    struct gr_el *to = form;

    for (size_t i = 0; i < count && next_row(&w); i++) {
        if (i == 0 && table)
            add_reported(st, form, w);
        if (table)
            to = gr_el_add(st, form, NULL, "item");
        while (next_field(&w, &name, &value))
            gr_form_add_field(st, to, table ? NULL : "text-single", name, table ? NULL : name,
                              value);
    }
}

static bool has_value(const struct gr_el *field, const char *text)
{
    const struct gr_el *v = gr_form_next_value(field, NULL);

    for (; v != NULL; v = gr_form_next_value(field, v))
        if (strcmp(gr_el_text(v, NULL), text) == 0)
            return true;
    return false;
}

/* A column as the values of a field, each once; a long list is not searched for doubles. */
static void add_column(struct gr_stanza *st, struct gr_el *form, struct walk w, size_t count,
                       const char *column, const char *var)
{
    struct gr_el *field = gr_form_add_field(st, form, count > 1 ? "text-multi" : "text-single",
                                            var, NULL, NULL);

    for (size_t i = 0; i < count && next_row(&w); i++) {
        const char *value = in_row(w, column);

        if (value != NULL && *value != '\0' && (count > SEARCHED_MAX || !has_value(field, value)))
            gr_form_add_value(st, field, value);
    }
}

static void add_roster(struct gr_stanza *st, struct gr_el *form, struct walk w, size_t count)
{
    struct gr_el *query = gr_el_add(st, form, "jabber:iq:roster", "query");
    static const char *const attr[] = { "jid", "name", "subscription", "ask" };

    for (size_t i = 0; i < count && next_row(&w); i++) {
        struct gr_el *item = gr_el_add(st, query, NULL, "item");
        const char *groups = in_row(w, "groups"), *end;

        for (size_t k = 0; k < GR_COUNT(attr); k++) {
            const char *value = in_row(w, attr[k]);

            gr_el_set(st, item, attr[k], value != NULL && *value != '\0' ? value : NULL);
        }
        for (; groups != NULL && *groups != '\0'; groups = *end != '\0' ? end + 1 : end) {
            struct gr_el *group = gr_el_add(st, item, NULL, "group");

            end = groups + strcspn(groups, "\n");
            gr_el_append_text(st, group, groups, (size_t)(end - groups));
        }
    }
}

void rows_write(const struct rows *r, const struct recipe *recipe, struct gr_stanza *st,
                struct gr_el *command, size_t first, size_t count)
{
    struct walk w = walk_from(r, first);
    struct gr_el *form;

    if (r->count == 0 && recipe->out[0].column == NULL)
        return;
    count = r->count - first < count ? r->count - first : count;
    form = gr_form_add(st, command, "result", recipe->form_type);
    gr_el_add_text(st, form, NULL, "title", recipe->title);
    if (recipe->roster)
        add_roster(st, form, w, count);
    else if (recipe->out[0].column == NULL)
        add_table(st, form, w, count, r->count > 1);
    for (size_t i = 0; i < GR_COUNT(recipe->out) && recipe->out[i].column != NULL; i++)
        add_column(st, form, w, count, recipe->out[i].column, recipe->out[i].var);
}
