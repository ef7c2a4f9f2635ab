/* mod_inbox/ask.c: what a client asks for: by form (the mission's inbox) or by attributes (XEP-0430). */
#include <string.h>

#include "inbox.h"

static const char *const fields[] = { "start", "end", "order", "hidden_read", "box", "archive",
                                      NULL };

bool in_list(const char *const *list, const char *word)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

bool is_box(const struct inbox_conf *conf, const char *box)
{
    static const char *const always[] = { "inbox", "archive", "bin", NULL };

    return strlen(box) <= BOX_MAX && (in_list(always, box) || in_list(conf->boxes, box));
}

/* A field without a value is as if it was not there (XEP-0004, 3.6). */
static const char *value(const struct gr_el *form, const char *var)
{
    const char *text = gr_form_value(form, var);

    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool read_time(const struct gr_el *form, const char *var, int64_t *out)
{
    const char *text = value(form, var);

    return text == NULL || gr_stamp_parse(text, out) == 0;
}

static bool read_form(struct ask *a, const struct gr_el *form, const struct inbox_conf *conf)
{
    const char *order = value(form, "order"), *box = value(form, "box");
    bool archive = false;
    int rc;

    if (gr_form_unknown(form, fields) != NULL || !read_time(form, "start", &a->start_us) ||
        !read_time(form, "end", &a->end_us) ||
        (value(form, "hidden_read") != NULL &&
         gr_form_bool(form, "hidden_read", &a->unread_only) != 0) ||
        (order != NULL && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) ||
        (box != NULL && strcmp(box, "all") != 0 && !is_box(conf, box)))
        return false;
    if (a->end_us < INT64_MAX - 999) /* stamps are told to the millisecond: the end is all of it */
        a->end_us += 999 - (a->end_us % 1000 + 1000) % 1000;
    a->ascending = order != NULL && strcmp(order, "asc") == 0;
    rc = value(form, "archive") != NULL ? gr_form_bool(form, "archive", &archive) : GR_ENOENT;
    if (box != NULL)
        a->box = strcmp(box, "all") != 0 ? box : NULL;
    else if (rc == 0)
        a->box = archive ? "archive" : "inbox";
    return rc != GR_EINVAL;
}

static bool read_flag(const struct gr_el *el, const char *attr, bool *out)
{
    const char *text = gr_el_attr(el, attr);

    if (text == NULL)
        return true;
    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

enum gr_cond ask_read(struct ask *a, const struct gr_stanza *iq, const struct inbox_conf *conf)
{
    const struct gr_el *el = gr_stanza_payload(iq), *form = gr_form_child(el);
    size_t most = conf->max_result_limit > 0 ? (size_t)conf->max_result_limit : SIZE_MAX;

    *a = (struct ask){ .xep = gr_el_is(el, NS_XEP, NULL), .start_us = INT64_MIN,
                       .end_us = INT64_MAX, .messages = true };
    a->queryid = gr_el_attr(el, "queryid");
    if (a->queryid == NULL)
        a->queryid = gr_stanza_id(iq);
    if (gr_rsm_read(&a->rsm, el) != 0)
        return GR_BAD_REQUEST;
    a->limit = gr_rsm_limit(&a->rsm, most, most);
    if (a->xep)
        return read_flag(el, "unread-only", &a->unread_only) &&
               read_flag(el, "messages", &a->messages) ? GR_COND_NONE : GR_BAD_REQUEST;
    return form == NULL || read_form(a, form, conf) ? GR_COND_NONE : GR_BAD_REQUEST;
}

/* --- the form itself --- */

void add_boxes(struct gr_stanza *st, struct gr_el *form, const struct inbox_conf *conf, bool all)
{
    static const char *const always[] = { "inbox", "archive", "bin" };
    struct gr_el *field = gr_form_add_field(st, form, "list-single", "box", NULL,
                                            all ? "all" : "inbox");

    if (all)
        gr_form_add_option(st, field, "all", "all");
    for (size_t i = 0; i < GR_COUNT(always); i++)
        gr_form_add_option(st, field, always[i], always[i]);
    for (const char *const *box = conf->boxes; box != NULL && *box != NULL; box++)
        gr_form_add_option(st, field, *box, *box);
}

void on_form(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *query = gr_el_add(result, NULL, NS_INBOX, "query");
    struct gr_el *form = gr_form_add(result, query, "form", NS_INBOX), *order;

    gr_form_add_field(result, form, "text-single", "start", NULL, NULL);
    gr_form_add_field(result, form, "text-single", "end", NULL, NULL);
    order = gr_form_add_field(result, form, "list-single", "order", NULL, "desc");
    gr_form_add_option(result, order, "Ascending by timestamp", "asc");
    gr_form_add_option(result, order, "Descending by timestamp", "desc");
    gr_form_add_field(result, form, "text-single", "hidden_read", NULL, "false");
    add_boxes(result, form, gr_conf(self), true);
    gr_form_add_field(result, form, "boolean", "archive", NULL, NULL);
    gr_iq_reply(ev->req, result);
}
