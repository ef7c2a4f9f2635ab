/* mod_offline/keep.c: which messages are kept (XEP-0160, 3; XEP-0334, 4), and keeping them.
 *
 * The chain is held until the message is on disk: only then does the sender's server count it as
 * handled (XEP-0198). The store keeps the limits: a full log is service-unavailable (XEP-0160, 2,
 * step 3), a failing store the error that gr_cond_of gives. */
#include "offline.h"

#include <string.h>

#include <grapnel/log.h>

enum { ROW_VERSION = 1 };

#define NS_HINTS "urn:xmpp:hints"
#define NS_CHATSTATES "http://jabber.org/protocol/chatstates"
#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_MAM "urn:xmpp:mam:2"
#define NS_STANZA_ID "urn:xmpp:sid:0"

/* --- which --- */

/* Says something on its own: not a chat state (XEP-0085, 5.1), nor what only accompanies others. */
static bool is_content(const struct gr_el *el)
{
    static const char *const beside[] = { NS_CHATSTATES, NS_HINTS, NS_STANZA_ID, GR_NS_DELAY };
    size_t len;

    if (gr_el_is(el, GR_NS_CLIENT, "thread"))
        return false;
    if (gr_el_is(el, GR_NS_CLIENT, "body")) {
        gr_el_text(el, &len);
        return len > 0;
    }
    for (size_t i = 0; i < GR_COUNT(beside); i++)
        if (gr_el_is(el, beside[i], NULL))
            return false;
    return true;
}

/* Copies and archive results are made for one resource; the message itself is kept elsewhere. */
static bool is_copy(const struct gr_stanza *st)
{
    return gr_stanza_child(st, NS_CARBONS, "sent") != NULL ||
           gr_stanza_child(st, NS_CARBONS, "received") != NULL ||
           gr_stanza_child(st, NS_MAM, "result") != NULL;
}

static bool is_storable(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, NULL, NULL);
    enum gr_type type = gr_stanza_type(st);

    if (type == GR_TYPE_ERROR || type == GR_MSG_HEADLINE || is_copy(st))
        return false;
    /* no-permanent-store allows what delivery needs (XEP-0334, 3.3). */
    if (gr_stanza_child(st, NS_HINTS, "no-store") != NULL)
        return false;
    if (gr_stanza_child(st, NS_HINTS, "store") != NULL)
        return true;
    while (el != NULL && !is_content(el))
        el = gr_el_next(el, NULL, NULL);
    return el != NULL;
}

/* --- rows --- */

struct gr_el *own_delay(struct gr_mod *self, const struct gr_stanza *st)
{
    struct gr_el *el = gr_stanza_child(st, GR_NS_DELAY, "delay");

    for (; el != NULL; el = gr_el_next(el, GR_NS_DELAY, "delay")) {
        const char *from = gr_el_attr(el, "from");
        if (from != NULL && strcmp(from, gr_mod_host_jid(self)->full) == 0)
            return el;
    }
    return NULL;
}

/* XEP-0203, 5: a delay in our name that somebody else wrote is forged. */
static struct gr_stanza *without_forged_delay(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    enum gr_origin origin = gr_acc_origin(ev->ev.acc);
    struct gr_stanza *st;
    struct gr_el *el;

    if (origin == GR_FROM_SERVER || origin == GR_FROM_ADMIN || own_delay(self, ev->stanza) == NULL)
        return gr_stanza_ref(ev->stanza);
    st = gr_stanza_copy(ev->stanza);
    while ((el = own_delay(self, st)) != NULL)
        gr_el_remove(st, el);
    return st;
}

/* A row: version, time of arrival (8 bytes), the message as text. */
static void *row_new(struct gr_mod *self, const struct gr_stanza_ev *ev, size_t *len)
{
    struct gr_stanza *st = without_forged_delay(self, ev);
    size_t xml_len;
    const char *xml = gr_stanza_xml(st, &xml_len);
    struct gr_writer w = gr_writer_new(9 + xml_len);

    gr_write_u8(&w, ROW_VERSION);
    gr_write_i64(&w, gr_acc_time_us(ev->ev.acc));
    gr_write_bytes(&w, xml, xml_len);
    gr_stanza_unref(&st);
    return gr_writer_take(&w, len);
}

int row_parse(const struct gr_row *row, int64_t *time_us, struct gr_stanza **out)
{
    struct gr_reader r = gr_reader_of(row->val, row->val_len);
    unsigned version = gr_read_u8(&r);
    size_t len;
    const char *xml;

    *time_us = gr_read_i64(&r);
    xml = gr_read_rest(&r, &len);
    if (!gr_read_done(&r) || version != ROW_VERSION || gr_stanza_parse(xml, len, out) != 0)
        return GR_EINVAL;
    if (gr_stanza_kind(*out) == GR_MESSAGE && gr_stanza_from(*out) != NULL)
        return 0;
    gr_stanza_unref(out);
    return GR_EINVAL;
}

/* --- keeping --- */

/* A message on its way to the disk. */
struct keep {
    struct keep *next, **at; /* at: what points to it */
    struct gr_hold *hold;
    struct gr_receipt *receipt;
    struct gr_stanza *stanza;
    struct gr_jid *from, *to;
};

static struct keep *keep_new(struct offline *o, struct gr_hold *hold,
                             const struct gr_stanza_ev *ev)
{
    struct keep *k = gr_alloc(sizeof(*k));

    k->hold = hold;
    k->receipt = gr_receipt_take(&ev->ev);
    k->stanza = gr_stanza_ref(ev->stanza);
    k->from = gr_jid_dup(ev->from);
    k->to = gr_jid_dup(ev->to);
    k->next = o->keeping;
    k->at = &o->keeping;
    if (k->next != NULL)
        k->next->at = &k->next;
    o->keeping = k;
    return k;
}

static void keep_free(struct keep *k)
{
    *k->at = k->next;
    if (k->next != NULL)
        k->next->at = k->at;
    gr_receipt_give(&k->receipt);
    gr_stanza_unref(&k->stanza);
    gr_jid_free(&k->from);
    gr_jid_free(&k->to);
    gr_free(k);
}

static void answer(struct gr_mod *self, struct keep *k, enum gr_cond cond, const char *text)
{
    struct gr_stanza *reply =
        cond != GR_COND_NONE ? gr_error_reply(k->stanza, cond, text) : NULL;

    if (reply != NULL && gr_receipt_refuse(k->receipt)) {
        gr_stanza_set_from(reply, k->to);
        gr_stanza_set_to(reply, k->from);
        gr_send(self, reply);
        reply = NULL;
    }
    gr_stanza_unref(&reply);
    gr_resume(k->hold, GR_STOP);
    keep_free(k);
}

static void on_kept(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct keep *k = *(struct keep **)gr_req_data(req);

    if (rows->rc == GR_ELIMIT) {
        answer(self, k, GR_SERVICE_UNAVAILABLE, "too many offline messages");
        return;
    }
    if (rows->rc != 0)
        gr_warn("offline.not_kept", "a message for %s could not be kept: %s", k->to->bare,
                gr_strerror(rows->rc));
    answer(self, k, rows->rc != 0 ? gr_cond_of(rows->rc) : GR_COND_NONE, NULL);
}

void keep_forget(struct offline *o)
{
    while (o->keeping != NULL)
        keep_free(o->keeping);
}

static void keep(struct gr_mod *self, const struct gr_stanza_ev *ev, struct gr_hold *hold)
{
    const struct offline_conf *conf = gr_conf(self);
    struct gr_req *req = gr_req_new(self, sizeof(struct keep *), on_kept);
    struct gr_txn *t = gr_txn_new(self);
    size_t len;
    void *row = row_new(self, ev, &len);

    *(struct keep **)gr_req_data(req) = keep_new(gr_state(self), hold, ev);
    gr_txn_append_max(t, MESSAGES, ev->to->bare, row, len, (uint64_t)conf->limit,
                      (uint64_t)conf->size_limit);
    gr_free(row);
    gr_txn_commit(t, req);
}

enum gr_verdict keep_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct queue *q = queue_find(self, ev->to);
    struct gr_hold *hold;

    if (q != NULL && drain_took_back(q, ev))
        return GR_STOP; /* its row is still there */
    if (!is_storable(ev->stanza))
        return GR_STOP; /* without an answer: hooks.md 6.3 */
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL; /* the end of the chain answers */
    keep(self, ev, hold);
    return GR_PENDING;
}

/* --- what would happen to a message (amp_determine_strategy) --- */

struct strategy {
    struct gr_hold *hold;
    struct gr_amp_ev *ev;       /* while the hold waits */
};

static void on_exists(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct strategy *s = gr_ask_data(ask);

    (void)self;
    if (a->result == GR_R_OK && gr_hold_waits(s->hold))
        s->ev->deliver = "stored";
    gr_resume(s->hold, GR_OK);
}

enum gr_verdict keep_strategy(struct gr_mod *self, struct gr_amp_ev *ev)
{
    struct gr_hold *hold;
    struct gr_ask *ask;

    if (ev->deliver == NULL || strcmp(ev->deliver, "none") != 0 || ev->to->node == NULL ||
        !is_storable(ev->stanza))
        return GR_OK;
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL;
    ask = gr_ask_new(self, sizeof(struct strategy), on_exists);
    *(struct strategy *)gr_ask_data(ask) = (struct strategy){ hold, ev };
    gr_auth_exists(self, ask, ev->to->node);
    return GR_PENDING;
}
