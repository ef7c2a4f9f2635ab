/* mod_inbox/track.c: what messages do to conversations. Nobody waits for the write, but the message does
 * not count as handled (XEP-0198) before it; when it fails, its sender gets an error. Not so for what has
 * been given an id in the archive, which then either has it, or answers itself: what can be found there
 * is not lost, and sent again it would be there twice. */
#include <string.h>

#include "../refused.h"
#include "inbox.h"

#define NS_MARKERS "urn:xmpp:chat-markers:0"
#define NS_HINTS "urn:xmpp:hints"
#define NS_STANZA_ID "urn:xmpp:sid:0"
#define NS_AFFILIATIONS "urn:xmpp:muclight:0#affiliations"
#define NS_CARBONS "urn:xmpp:carbons:2"

/* --- which --- */

static bool has_text(const struct gr_stanza *st)
{
    const struct gr_el *body = gr_stanza_child(st, GR_NS_CLIENT, "body");
    size_t len = 0;

    if (body != NULL)
        gr_el_text(body, &len);
    return len > 0 || gr_stanza_child(st, NULL, "encrypted") != NULL;
}

/* Copies, and what was kept and is sent again, were counted before. */
static bool is_repeated(const struct gr_stanza *st, const struct gr_acc *acc)
{
    return gr_stanza_child(st, NS_CARBONS, NULL) != NULL ||
           gr_stanza_child(st, NS_MAM, "result") != NULL ||
           (gr_acc_origin(acc) == GR_FROM_SERVER &&
            gr_stanza_child(st, GR_NS_DELAY, "delay") != NULL);
}

/* An entry keeps the message (XEP-0334, 4.1, 4.2). */
static bool may_be_kept(const struct gr_stanza *st)
{
    return gr_stanza_child(st, NS_HINTS, "no-store") == NULL &&
           gr_stanza_child(st, NS_HINTS, "no-permanent-store") == NULL;
}

/* A retraction without a text only takes back another message; with one it takes its place (XEP-0424). */
enum part { NO_PART, PART, RETRACTION };

static enum part part_of(const struct gr_stanza *st, const struct gr_acc *acc)
{
    const struct gr_el *retract = gr_stanza_child(st, NS_RETRACT, "retract");
    enum gr_type type = gr_stanza_type(st);

    if ((type != GR_MSG_CHAT && type != GR_MSG_NORMAL && type != GR_MSG_GROUPCHAT) ||
        is_repeated(st, acc))
        return NO_PART;
    if (may_be_kept(st) && (has_text(st) || (retract == NULL &&
                                             gr_stanza_child(st, NS_HINTS, "store") != NULL)))
        return PART;
    return retract != NULL && gr_el_attr(retract, "id") != NULL && type != GR_MSG_GROUPCHAT
               ? RETRACTION : NO_PART;
}

static bool is_affiliation_change(const struct gr_stanza *st)
{
    return gr_stanza_type(st) == GR_MSG_GROUPCHAT &&
           gr_stanza_child(st, NS_AFFILIATIONS, "x") != NULL;
}

/* The id of the message that is marked as read; NULL: none is. */
static const char *reset_by(const struct inbox_conf *conf, const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, NS_MARKERS, NULL);

    if (gr_stanza_type(st) == GR_TYPE_ERROR)
        return NULL;
    for (; el != NULL; el = gr_el_next(el, NS_MARKERS, NULL))
        if (in_list(conf->reset_markers, gr_el_name(el)) && gr_el_attr(el, "id") != NULL)
            return gr_el_attr(el, "id");
    return NULL;
}

/* What markers will name it by: in a room its own id, elsewhere the sender's (XEP-0333, 4.3). */
static uint32_t mark_for(const struct gr_stanza *st, const char *remote)
{
    const struct gr_el *el = gr_stanza_child(st, NS_STANZA_ID, "stanza-id");

    if (gr_stanza_type(st) == GR_MSG_GROUPCHAT)
        for (; el != NULL; el = gr_el_next(el, NS_STANZA_ID, "stanza-id"))
            if (gr_el_attr(el, "by") != NULL && strcmp(gr_el_attr(el, "by"), remote) == 0)
                return mark_of(gr_el_attr(el, "id"));
    return mark_of(gr_stanza_id(st));
}

/* --- changing --- */

struct change {
    struct gr_stanza *st;    /* NULL: only read */
    int64_t time_us;
    char *archive_id;        /* NULL: none */
    bool own, removed;       /* sent by the account; the conversation goes */
    bool retracts;           /* st only takes back the latest message */
    uint32_t mark;           /* of the message / up to which all is read */
    struct gr_receipt *receipt;
    struct gr_stanza *told;  /* whose sender learns of a failure; NULL: nobody does */
};

static void change_clear(struct change *x)
{
    gr_stanza_unref(&x->st);
    gr_stanza_unref(&x->told);
    gr_receipt_give(&x->receipt);
    gr_free(x->archive_id);
}

static void change_free(struct change *x)
{
    change_clear(x);
    gr_free(x);
}

static void tell_sender(struct gr_mod *self, const struct change *x, int rc)
{
    struct gr_stanza *reply;

    if (x->told == NULL || x->archive_id != NULL || !gr_receipt_refuse(x->receipt))
        return;
    reply = gr_error_reply(x->told, gr_cond_of(rc), "the list of conversations lacks the message");
    if (gr_stanza_from(reply) == NULL) { /* it was for the sender's own account */
        struct gr_jid *own = gr_jid_dup_bare(gr_stanza_from(x->told));

        gr_stanza_set_from(reply, own);
        gr_jid_free(&own);
    }
    gr_receipt_answer(self, x->receipt, reply);
}

static void on_done(struct gr_mod *self, int rc, void *ctx)
{
    if (rc != 0 && rc != GR_ECANCELED)
        tell_sender(self, ctx, rc);
    change_free(ctx);
}

/* True: something changed. */
static bool apply(struct conv *c, const struct change *x)
{
    struct entry *e = &c->e;

    if (x->removed) {
        c->exists = false;
        return c->stored;
    }
    if (x->st == NULL)
        return c->exists && entry_read_up_to(e, x->mark);
    if (x->retracts)
        return c->exists && entry_retract(e, x->st, x->time_us);
    if (!c->exists) {
        entry_free(e);
        *e = (struct entry){ .unread = 0 };
    }
    if (!c->exists || strcmp(e->box, "archive") == 0 || e->binned_us != 0)
        entry_set_box(e, "inbox", x->time_us);
    c->exists = true;
    if (x->own)
        e->unread = 0;
    else
        entry_add_unread(e, x->mark);
    entry_set_message(e, x->st, x->time_us, x->archive_id);
    return true;
}

static void on_conv(struct gr_mod *self, struct conv *c, int rc, void *ctx)
{
    struct change *x = ctx;

    if (c == NULL || c->gone || !apply(c, x)) {
        on_done(self, rc, x);
        return;
    }
    conv_changed(c);
    gr_stanza_unref(&x->st);
    conv_then(c, on_done, x);
}

/* Takes what *x points to. */
static void change(struct gr_mod *self, const struct gr_jid *owner, const char *remote,
                   struct change *x)
{
    struct change *kept;

    if (owner->node == NULL || is_removed(self, owner)) {
        change_clear(x);
        return;
    }
    kept = gr_alloc(sizeof(*kept));
    *kept = *x;
    conv_with(self, owner, remote, on_conv, kept);
}

static struct change change_for(const struct gr_stanza_ev *ev, bool own, const char *remote,
                                enum part part)
{
    const char *id = gr_acc_get(ev->ev.acc, "mam", "mam_id");
    enum gr_type type = gr_stanza_type(ev->stanza);

    return (struct change){
        .st = gr_stanza_ref(ev->stanza), .time_us = gr_acc_time_us(ev->ev.acc),
        .archive_id = id != NULL ? gr_strdup(id) : NULL, .own = own,
        .retracts = part == RETRACTION, .mark = mark_for(ev->stanza, remote),
        .receipt = gr_receipt_take(&ev->ev),
        .told = type != GR_MSG_GROUPCHAT ? gr_stanza_ref(ev->stanza) : NULL, /* rooms expel for it */
    };
}

/* --- one to one, and light rooms --- */

enum gr_verdict on_sent(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *read = reset_by(gr_conf(self), ev->stanza);
    enum part part = part_of(ev->stanza, ev->ev.acc);
    struct change x;

    if (part != NO_PART && gr_stanza_type(ev->stanza) != GR_MSG_GROUPCHAT)
        x = change_for(ev, true, ev->to->bare, part);
    else if (read != NULL)
        x = (struct change){ .mark = mark_of(read), .receipt = gr_receipt_take(&ev->ev),
                             .told = gr_stanza_ref(ev->stanza) };
    else
        return GR_OK;
    change(self, ev->from, ev->to->bare, &x);
    return GR_OK;
}

/* A light room sends to bare JIDs, and says in its resource who wrote it: nobody, when it tells of
 * members. It is none of our users, who would get an error for that. */
static bool is_of_light_room(const struct inbox_conf *conf, const struct gr_stanza_ev *ev)
{
    const char *writer = ev->from->resource;

    if (!in_list(conf->groupchat, "muclight") || !gr_jid_is_bare(ev->to) ||
        gr_host_find(ev->from->domain) != NULL)
        return false;
    if (writer == NULL)
        return conf->aff_changes && is_affiliation_change(ev->stanza);
    return strchr(writer, '@') != NULL && part_of(ev->stanza, ev->ev.acc) == PART;
}

enum gr_verdict on_received(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct inbox_conf *conf = gr_conf(self);
    const struct gr_stanza *st = ev->stanza;
    enum part part;
    struct change x;
    bool own = false;

    if (gr_stanza_kind(st) != GR_MESSAGE || ev->to->node == NULL)
        return GR_OK;
    part = part_of(st, ev->ev.acc);
    if (gr_stanza_type(st) == GR_MSG_GROUPCHAT) {
        if (!is_of_light_room(conf, ev))
            return GR_OK;
        own = ev->from->resource != NULL && strcmp(ev->from->resource, ev->to->bare) == 0;
    } else if (part == NO_PART || gr_jid_bare_equal(ev->from, ev->to) ||
               message_is_refused(self, ev)) {
        return GR_OK; /* to oneself: seen when it was sent */
    }
    x = change_for(ev, own, ev->from->bare, part);
    change(self, ev->to, ev->from->bare, &x);
    return GR_OK;
}

/* --- rooms: each member's inbox lives on another loop --- */

/* What is posted: flags, time, room, message. */
enum { POST_OWN = 1, POST_REMOVED = 2 };

static void on_posted(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    struct gr_reader r = gr_reader_of(data, len);
    unsigned flags = gr_read_u8(&r);
    struct change x = { .time_us = gr_read_i64(&r), .own = flags & POST_OWN,
                        .removed = flags & POST_REMOVED };
    size_t n;
    const char *text = gr_read_str(&r, &n), *xml;
    char *room = gr_strndup(text, n);

    xml = gr_read_rest(&r, &n);
    if (gr_read_done(&r) && (x.removed || gr_stanza_parse(xml, n, &x.st) == 0)) {
        x.mark = x.st != NULL ? mark_for(x.st, room) : 0;
        change(self, jid, room, &x);
    }
    gr_free(room);
}

static void post(struct gr_mod *self, const struct gr_jid *to, unsigned flags,
                 const struct gr_room_ev *ev)
{
    struct gr_writer w = gr_writer_new(1024);
    const char *xml = "";
    size_t len = 0;

    if ((flags & POST_REMOVED) == 0)
        xml = gr_stanza_xml(ev->stanza, &len);
    gr_write_u8(&w, (uint8_t)flags);
    gr_write_i64(&w, ev->time_us != 0 ? ev->time_us : gr_wall_us());
    gr_write_str(&w, ev->room->bare);
    gr_write_bytes(&w, xml, len);
    gr_post_host(self, to, on_posted, w.data, w.len); /* GR_ENOENT: a user of another server */
    gr_free(w.data);
}

enum gr_verdict on_muc(struct gr_mod *self, struct gr_room_ev *ev)
{
    const struct inbox_conf *conf = gr_conf(self);

    if (!in_list(conf->groupchat, "muc") || ev->stanza == NULL || !has_text(ev->stanza) ||
        !may_be_kept(ev->stanza))
        return GR_OK;
    for (size_t i = 0; i < ev->affiliate_count; i++) {
        const struct gr_affiliate *a = &ev->affiliates[i];

        if (a->affiliation != GR_AFF_OUTCAST)
            post(self, a->jid,
                 ev->user != NULL && gr_jid_bare_equal(a->jid, ev->user) ? POST_OWN : 0, ev);
    }
    return GR_OK;
}

enum gr_verdict on_affiliations(struct gr_mod *self, struct gr_room_ev *ev)
{
    const struct inbox_conf *conf = gr_conf(self);

    for (size_t i = 0; i < ev->affiliate_count && conf->remove_on_kicked; i++)
        if (ev->affiliates[i].affiliation <= GR_AFF_OUTCAST)
            post(self, ev->affiliates[i].jid, POST_REMOVED, ev);
    return GR_OK;
}
