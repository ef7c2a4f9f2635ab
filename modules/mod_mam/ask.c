/* mod_mam/ask.c: what a client asks: the form and the page (XEP-0313, 4.1 and 4.3). */
#include "ask.h"

#include <stdlib.h>
#include <string.h>

static const char *const fields[] = { "with",     "start", "end",
                                      "after-id", "before-id", "ids",
                                      "include-groupchat", NULL };

/* A field without a value is as if it was not there (XEP-0004, 3.6). */
static const char *value(const struct gr_el *form, const char *var)
{
    const char *text = gr_form_value(form, var);

    return text != NULL && text[0] != '\0' ? text : NULL;
}

static int read_time(const struct gr_el *form, const char *var, int64_t *out)
{
    const char *text = value(form, var);

    return text != NULL ? gr_stamp_parse(text, out) : 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, each once. */
static enum gr_cond read_ids(struct ask *x, const struct gr_el *field, size_t most)
{
    const struct gr_el *v = gr_form_next_value(field, NULL);
    size_t n = 0;

    for (; v != NULL; v = gr_form_next_value(field, v))
        n++;
    if (n > most)
        return GR_POLICY_VIOLATION;
    x->ids = gr_alloc((n + 1) * sizeof(*x->ids));
    for (v = gr_form_next_value(field, NULL), n = 0; v != NULL; v = gr_form_next_value(field, v))
        x->ids[n++] = gr_el_text(v, NULL);
    qsort(x->ids, n, sizeof(*x->ids), compare);
    for (size_t i = 0; i < n; i++)
        if (x->q.id_count == 0 || strcmp(x->ids[x->q.id_count - 1], x->ids[i]) != 0)
            x->ids[x->q.id_count++] = x->ids[i];
    x->q.ids = x->ids;
    return GR_COND_NONE;
}

static enum gr_cond read_form(struct ask *x, const struct gr_el *form, size_t most)
{
    const char *with = value(form, "with");
    const struct gr_el *ids = gr_form_field(form, "ids");
    bool groupchat;

    if (!gr_form_submitted(form, NS_MAM))
        return GR_BAD_REQUEST;
    if (gr_form_unknown(form, fields) != NULL)
        return GR_FEATURE_NOT_IMPLEMENTED; /* 4.1.5 */
    if (read_time(form, "start", &x->q.start_us) != 0 ||
        read_time(form, "end", &x->q.end_us) != 0 ||
        gr_form_bool(form, "include-groupchat", &groupchat) == GR_EINVAL ||
        (with != NULL && gr_jid_parse(with, strlen(with), &x->with) != 0))
        return GR_BAD_REQUEST;
    /* Stamps are told to the millisecond: the end is all of it. */
    if (x->q.end_us < INT64_MAX - 999)
        x->q.end_us += 999 - (x->q.end_us % 1000 + 1000) % 1000;
    x->q.with = x->with;
    x->q.after_id = value(form, "after-id");
    x->q.before_id = value(form, "before-id");
    return ids != NULL ? read_ids(x, ids, most) : GR_COND_NONE;
}

enum gr_cond ask_read(struct ask *x, const struct gr_el *query, const struct mam_conf *conf)
{
    const struct gr_el *form = gr_form_child(query);

    x->q = (struct gr_mam_query){ .start_us = INT64_MIN, .end_us = INT64_MAX };
    if (gr_el_attr(query, "node") != NULL) /* of pubsub: XEP-0442 */
        return GR_FEATURE_NOT_IMPLEMENTED;
    if (gr_rsm_read(&x->q.rsm, query) != 0)
        return GR_BAD_REQUEST;
    x->q.limit = gr_rsm_limit(&x->q.rsm, (size_t)conf->page_size, (size_t)conf->max_page_size);
    x->q.flip = gr_el_child(query, NS_MAM, "flip-page") != NULL;
    return form != NULL ? read_form(x, form, (size_t)conf->max_page_size) : GR_COND_NONE;
}

void ask_free(struct ask *x)
{
    gr_jid_free(&x->with);
    gr_free(x->ids);
    x->ids = NULL;
}

/* 4.1.5: what may be asked. */
void ask_form(struct gr_stanza *st, struct gr_el *query)
{
    struct gr_el *form = gr_form_add(st, query, "form", NS_MAM), *el;

    for (size_t i = 0; fields[i] != NULL; i++) {
        bool ids = strcmp(fields[i], "ids") == 0;
        const char *type = i == 0 ? "jid-single"
                           : ids  ? "list-multi"
                           : fields[i + 1] == NULL ? "boolean" : "text-single";

        el = gr_form_add_field(st, form, type, fields[i], NULL, NULL);
        if (ids) { /* any, not one of a list */
            el = gr_el_add(st, el, GR_NS_VALIDATE, "validate");
            gr_el_set(st, el, "datatype", "xs:string");
            gr_el_add(st, el, NULL, "open");
        }
    }
}
