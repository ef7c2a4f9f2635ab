/* mod_inbox/props.c: the properties of one conversation: told, changed, and told to the account's other
 * resources when they have changed. */
#include <stdlib.h>
#include <string.h>

#include "inbox.h"

enum { MUTE_MAX_S = 10 * 365 * 86400 };

struct wish {
    struct gr_iq_req *req;
    const char *box;         /* NULL: as it is */
    int64_t mute_s;          /* -1: as it is */
    int read;                /* -1: as it is */
    bool complete;           /* get: with the message */
    struct gr_stanza *result, *news;
};

static const struct gr_el *asked(const struct wish *w)
{
    return gr_stanza_payload(gr_iq_req_stanza(w->req));
}

static void wish_free(struct wish *w)
{
    gr_stanza_unref(&w->result);
    gr_stanza_unref(&w->news);
    gr_free(w);
}

static void refuse(struct wish *w, enum gr_cond cond)
{
    gr_iq_reply_error(w->req, cond, NULL);
    wish_free(w);
}

/* --- get --- */

static void on_get(struct gr_mod *self, struct conv *c, int rc, void *ctx)
{
    struct wish *w = ctx;
    struct gr_stanza *result;
    struct gr_el *query;

    (void)self;
    if (c == NULL || !c->exists) {
        refuse(w, rc != 0 ? gr_cond_of(rc) : GR_ITEM_NOT_FOUND);
        return;
    }
    result = gr_iq_result(gr_iq_req_stanza(w->req));
    query = gr_el_add(result, NULL, NS_CONVERSATION, "query");
    gr_el_set(result, query, "jid", c->remote);
    if (w->complete)
        entry_forward(result, query, &c->e);
    entry_props(result, query, &c->e, true);
    gr_iq_reply(w->req, result);
    wish_free(w);
}

static void reply_form(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *query = gr_el_add(result, NULL, NS_CONVERSATION, "query");
    struct gr_el *form = gr_form_add(result, query, "form", NS_INBOX);

    gr_form_add_field(result, form, "boolean", "archive", NULL, "false");
    gr_form_add_field(result, form, "boolean", "read", NULL, "false");
    gr_form_add_field(result, form, "text-single", "mute", NULL, "0");
    add_boxes(result, form, gr_conf(self), false);
    gr_iq_reply(ev->req, result);
}

/* --- set --- */

/* -1: neither. */
static int read_bool(const char *text)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
        return 1;
    return strcmp(text, "false") == 0 || strcmp(text, "0") == 0 ? 0 : -1;
}

static bool read_seconds(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 9 || text[digits] != '\0')
        return false;
    *out = atol(text);
    return *out <= MUTE_MAX_S;
}

static bool read_prop(struct wish *w, const struct gr_el *el, const struct inbox_conf *conf)
{
    const char *name = gr_el_name(el), *text = gr_el_text(el, NULL);
    int archive;

    if (strcmp(name, "box") == 0) {
        w->box = text;
        return is_box(conf, text);
    }
    if (strcmp(name, "archive") == 0) {
        archive = read_bool(text);
        if (w->box == NULL)
            w->box = archive == 1 ? "archive" : "inbox";
        return archive >= 0;
    }
    if (strcmp(name, "mute") == 0)
        return read_seconds(text, &w->mute_s);
    if (strcmp(name, "read") != 0)
        return false;
    w->read = read_bool(text);
    return w->read >= 0;
}

static bool read_props(struct wish *w, const struct gr_el *query, const struct inbox_conf *conf)
{
    const struct gr_el *el = gr_el_child(query, NULL, NULL);

    if (el == NULL)
        return false;
    for (; el != NULL; el = gr_el_next(el, NULL, NULL))
        if (!read_prop(w, el, conf))
            return false;
    return true;
}

/* All resources that are online show the same list. */
static void tell_resources(struct gr_mod *self, struct gr_stanza *take, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);

    for (struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL; s != NULL;
         s = gr_account_next(a, s))
        if (gr_session_available(s))
            gr_session_deliver(self, s, gr_stanza_copy(take));
    gr_stanza_unref(&take);
}

static void on_done(struct gr_mod *self, int rc, void *ctx)
{
    struct wish *w = ctx;

    if (rc == GR_ECANCELED) {
        wish_free(w); /* whoever asked is answered by the core, if still there */
        return;
    }
    if (rc != 0) {
        refuse(w, gr_cond_of(rc));
        return;
    }
    if (w->news != NULL)
        tell_resources(self, w->news, gr_iq_req_to(w->req));
    w->news = NULL;
    gr_iq_reply(w->req, w->result);
    w->result = NULL;
    wish_free(w);
}

static void apply(struct entry *e, const struct wish *w)
{
    int64_t now_us = gr_wall_us();

    if (w->box != NULL)
        entry_set_box(e, w->box, now_us);
    if (w->mute_s >= 0)
        e->muted_until_us = w->mute_s > 0 ? now_us + w->mute_s * 1000000 : 0;
    if (w->read == 1)
        e->unread = 0;
    else if (w->read == 0 && e->unread == 0)
        entry_add_unread(e, 0);
}

static void on_set(struct gr_mod *self, struct conv *c, int rc, void *ctx)
{
    struct wish *w = ctx;
    const struct gr_jid *own = gr_iq_req_to(w->req);
    struct gr_el *el;

    (void)self;
    if (c == NULL || !c->exists || c->gone) {
        refuse(w, rc != 0 ? gr_cond_of(rc) : GR_ITEM_NOT_FOUND);
        return;
    }
    apply(&c->e, w);
    conv_changed(c);
    w->result = gr_iq_result(gr_iq_req_stanza(w->req));
    el = gr_el_add(w->result, NULL, NS_CONVERSATION, "query");
    gr_el_set(w->result, el, "jid", c->remote);
    entry_props(w->result, el, &c->e, true);
    w->news = gr_message_new(GR_MSG_NORMAL, own, own);
    gr_stanza_set_id(w->news, gr_stanza_id(gr_iq_req_stanza(w->req)));
    el = gr_el_add(w->news, NULL, NS_CONVERSATION, "x");
    gr_el_set(w->news, el, "jid", c->remote);
    entry_props(w->news, el, &c->e, true);
    conv_then(c, on_done, w);
}

/* NULL: an error was sent. */
static struct gr_jid *other_side(struct gr_iq_ev *ev)
{
    const char *text = gr_el_attr(ev->payload, "jid");
    struct gr_jid *jid = NULL;

    if (text != NULL && gr_jid_parse(text, strlen(text), &jid) == 0)
        return jid;
    gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "jid is the address of a conversation");
    return NULL;
}

void on_conversation(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const char *complete = gr_el_attr(ev->payload, "complete");
    struct gr_jid *jid;
    struct wish *w;

    if (ev->type == GR_GET && gr_el_attr(ev->payload, "jid") == NULL) {
        reply_form(self, ev);
        return;
    }
    jid = other_side(ev);
    if (jid == NULL)
        return;
    w = gr_alloc(sizeof(*w));
    *w = (struct wish){ .req = ev->req, .mute_s = -1, .read = -1,
                        .complete = complete != NULL && read_bool(complete) == 1 };
    if (ev->type == GR_GET)
        conv_with(self, ev->to, jid->bare, on_get, w);
    else if (read_props(w, asked(w), gr_conf(self)))
        conv_with(self, ev->to, jid->bare, on_set, w);
    else
        refuse(w, GR_BAD_REQUEST);
    gr_jid_free(&jid);
}

/* --- <reset/>: everything in it is read; nobody is told --- */

static void on_reset_conv(struct gr_mod *self, struct conv *c, int rc, void *ctx)
{
    struct wish *w = ctx;

    (void)self;
    if (c == NULL || c->gone) {
        refuse(w, rc != 0 ? gr_cond_of(rc) : GR_FORBIDDEN);
        return;
    }
    if (c->exists && c->e.unread > 0) {
        c->e.unread = 0;
        conv_changed(c);
    }
    w->result = gr_iq_result(gr_iq_req_stanza(w->req));
    gr_el_add(w->result, NULL, NS_INBOX, "reset");
    conv_then(c, on_done, w);
}

void on_reset(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_jid *jid = other_side(ev);
    struct wish *w;

    if (jid == NULL)
        return;
    w = gr_alloc(sizeof(*w));
    w->req = ev->req;
    conv_with(self, ev->to, jid->bare, on_reset_conv, w);
    gr_jid_free(&jid);
}
