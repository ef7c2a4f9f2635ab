/* mod_mam/write.c: a message goes into an archive. Its id is known at once, since it is told
 * with the delivered message; the delivery does not wait for the disk, but the sender's
 * acknowledgement does (gr_txn_settles). When it cannot be written the sender gets the error. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

enum { FLUSHED_MAX = 100 }; /* messages after which mam_flush_messages is run at the latest */

/* A message on its way to the disk. */
struct written {
    struct written *next, **at; /* at: what points to it */
    struct archive *a;
    struct gr_receipt *receipt; /* the transaction's: see gr_txn_settles */
    uint64_t seq;               /* that the row should get */
    uint64_t contact;           /* of its entry in the map */
    size_t from_len, to_len;
    char text[];                /* sender, recipient, id of the stanza: for an error */
};
struct sync {
    struct sync *next;
    struct gr_hold *hold;
};

static void leave(struct mam *m, struct written *w)
{
    *w->at = w->next;
    if (w->next != NULL)
        w->next->at = w->at;
    m->writing--;
}

/* Their memory is the requests'. */
void writes_forget(struct mam *m)
{
    while (m->written != NULL)
        leave(m, m->written);
    while (m->syncs != NULL) {
        struct sync *s = m->syncs;

        m->syncs = s->next;
        gr_free(s);
    }
}

/* --- afterwards --- */

static void tell_flushed(struct gr_mod *self, struct mam *m)
{
    struct gr_mam_ev ev = { .count = m->flushed };

    if (m->flushed == 0)
        return;
    m->flushed = 0;
    gr_hook_run(self, GR_HOOK_mam_flush_messages, &ev.ev, NULL);
}

static void end_syncs(struct mam *m)
{
    struct sync *s = m->syncs, *next;

    m->syncs = NULL;
    for (; s != NULL; s = next) {
        next = s->next;
        gr_resume(s->hold, GR_OK);
        gr_free(s);
    }
}

/* The message itself is on its way: who sent it must know that it is not kept. */
static void tell_sender(struct gr_mod *self, const struct written *w, int rc)
{
    const char *id = w->text + w->from_len + w->to_len;
    struct gr_jid *from = NULL, *to = NULL;
    struct gr_stanza *st, *reply;

    if (!gr_receipt_refuse(w->receipt))
        return; /* it knows already, from the other archive or whoever refused the message */
    if (gr_jid_parse(w->text, w->from_len, &from) == 0 &&
        gr_jid_parse(w->text + w->from_len, w->to_len, &to) == 0) {
        st = gr_message_new(GR_MSG_CHAT, from, to);
        gr_stanza_set_id(st, id[0] != '\0' ? id : NULL);
        reply = gr_error_reply(st, gr_cond_of(rc), "the message is not in the archive");
        gr_receipt_answer(self, w->receipt, reply);
        gr_stanza_unref(&st);
    }
    gr_jid_free(&from);
    gr_jid_free(&to);
}

/* A write before it has failed, so the row has another number than it was entered for. */
static void enter_again(struct gr_mod *self, const struct written *w, uint64_t seq)
{
    struct gr_txn *t = gr_txn_new(self);
    uint8_t key[CONTACT_KEY];

    contact_key(key, w->contact, seq / BLOCK);
    gr_txn_put(t, CONTACTS, w->a->owner->bare, key, sizeof(key), NULL, 0);
    gr_txn_commit(t, NULL);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct written *w = gr_req_data(req);
    struct mam *m = gr_state(self);

    if (rows->rc != 0) {
        gr_warn("mam.not_written", "a message is not in the archive of %s: %s", w->a->owner->bare,
                gr_strerror(rows->rc));
        w->a->stale = true;
        tell_sender(self, w, rows->rc);
    } else {
        m->flushed++;
        if (gr_row_seq(rows->row) != w->seq)
            enter_again(self, w, gr_row_seq(rows->row));
    }
    leave(m, w);
    archive_unpin(self, w->a);
    if (m->writing == 0 || m->flushed >= FLUSHED_MAX)
        tell_flushed(self, m);
    if (m->writing == 0)
        end_syncs(m);
}

/* --- writing --- */

static struct gr_req *written_new(struct gr_mod *self, const struct gr_mam_ev *ev,
                                  struct archive *a, uint64_t contact, struct gr_receipt *receipt)
{
    const struct gr_jid *to = ev->outgoing ? ev->remote : ev->owner;
    const char *id = gr_stanza_id(ev->stanza);
    size_t id_len = id != NULL ? strlen(id) : 0;
    size_t text_len = (size_t)ev->source->full_len + to->full_len + id_len + 1;
    struct mam *m = gr_state(self);
    struct gr_req *req = gr_req_new(self, sizeof(struct written) + text_len, on_written);
    struct written *w = gr_req_data(req);

    w->a = a;
    w->receipt = receipt;
    w->seq = a->last_seq;
    w->contact = contact;
    w->from_len = ev->source->full_len;
    w->to_len = to->full_len;
    memcpy(w->text, ev->source->full, w->from_len);
    memcpy(w->text + w->from_len, to->full, w->to_len);
    if (id_len > 0)
        memcpy(w->text + w->from_len + w->to_len, id, id_len);
    w->next = m->written;
    w->at = &m->written;
    if (w->next != NULL)
        w->next->at = &w->next;
    m->written = w;
    m->writing++;
    a->pins++;
    return req;
}

/* Later than everything before it, also when the clock was set back. */
static uint64_t next_time(const struct gr_mam_ev *ev, const struct archive *a)
{
    uint64_t us = (uint64_t)(ev->ev.acc != NULL ? gr_acc_time_us(ev->ev.acc) : gr_wall_us());

    return us > a->last_us ? us : a->last_us + 1;
}

/* Is this the block's first message of the contact, as far as is known? */
static bool is_news(struct archive *a, uint64_t contact)
{
    if (a->block != a->last_seq / BLOCK) {
        a->block = a->last_seq / BLOCK;
        a->contacts = 0;
    }
    for (unsigned i = 0; i < a->contacts; i++)
        if (a->contact[i] == contact)
            return false;
    a->contact[a->contacts++] = contact;
    return true;
}

static void put_message(struct gr_mod *self, const struct gr_mam_ev *ev, struct archive *a,
                        const struct row *r)
{
    uint64_t contact = contact_number(r->peer, bare_len(r->peer, r->peer_len));
    struct gr_txn *t = gr_txn_new(self);
    struct gr_receipt *receipt = gr_receipt_take(&ev->ev);
    uint8_t *val = gr_txn_append_room(t, MESSAGES, a->owner->bare, row_size(r));
    uint8_t key[CONTACT_KEY];
    struct gr_req *req;

    if (val != NULL)
        row_put(val, r);
    if (is_news(a, contact)) {
        contact_key(key, contact, a->last_seq / BLOCK);
        gr_txn_put(t, CONTACTS, a->owner->bare, key, sizeof(key), NULL, 0);
    }
    req = written_new(self, ev, a, contact, receipt);
    gr_txn_settles(t, &receipt);
    gr_txn_commit(t, req);
}

static enum gr_verdict append(struct gr_mod *self, struct gr_mam_ev *ev, struct archive *a)
{
    const char *name = gr_stanza_id(ev->stanza);
    struct row r = { .us = next_time(ev, a), .outgoing = ev->outgoing, .peer = ev->remote->full,
                     .peer_len = ev->remote->full_len, .name = name,
                     .name_len = name != NULL ? strlen(name) : 0 };

    if (a->absent) {
        ev->rc = GR_ENOENT;
        return GR_OK;
    }
    gr_random(&r.salt, sizeof(r.salt));
    r.xml = gr_stanza_xml(ev->stanza, &r.xml_len);
    a->last_us = r.us;
    a->last_seq++;
    a->bytes += row_size(&r);
    if (a->first_us == 0)
        a->first_us = r.us;
    put_message(self, ev, a, &r);
    id_put(a->id, r.us, r.salt);
    ev->message_id = a->id;
    ev->rc = 0;
    sweep(self, a);
    retract(self, ev, a);
    return GR_OK;
}

enum gr_verdict on_archive_message(struct gr_mod *self, struct gr_mam_ev *ev)
{
    return with_archive(self, ev, append);
}

enum gr_verdict on_archive_sync(struct gr_mod *self, struct gr_mam_ev *ev)
{
    struct mam *m = gr_state(self);
    struct sync *s;

    if (m->writing == 0)
        return GR_OK;
    s = gr_alloc(sizeof(*s));
    s->hold = gr_hold(self, &ev->ev);
    if (s->hold == NULL) {
        gr_free(s);
        return GR_FAIL;
    }
    s->next = m->syncs;
    m->syncs = s;
    return GR_PENDING;
}
