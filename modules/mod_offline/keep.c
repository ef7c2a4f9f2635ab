/* mod_offline/keep.c: which messages are kept (XEP-0160, 3; XEP-0334, 4), and keeping them.
 *
 * The message counts as handled (XEP-0198) when it is on disk; nobody else waits for that, since what is
 * read later is read behind it. One that takes back another, which waits here as well, is written and the
 * other deleted at once (XEP-0424). The store keeps the limits: a full log is service-unavailable (XEP-0160, 2,
 * step 3), a failing store the error that gr_cond_of gives. */
#include "offline.h"

#include <string.h>

#include <grapnel/log.h>

enum { ROW_VERSION = 1, SEARCH_PAGE = 50, SEARCH_MAX = 1000 }; /* of the latest messages */

#define NS_HINTS "urn:xmpp:hints"
#define NS_CHATSTATES "http://jabber.org/protocol/chatstates"
#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_MAM "urn:xmpp:mam:2"
#define NS_STANZA_ID "urn:xmpp:sid:0"
#define NS_RETRACT "urn:xmpp:message-retract:1"

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
    struct gr_hold *hold;       /* while it looks for the one that it takes back: nothing overtakes it; or NULL */
    struct gr_receipt *receipt;
    bool queued;                /* its transaction has the receipt */
    struct gr_stanza *stanza;
    struct gr_jid *from, *to;
    void *row;
    size_t len;
    unsigned seen;              /* messages looked at for the one that is taken back */
};

static struct keep *keep_new(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    struct offline *o = gr_state(self);
    struct keep *k = gr_alloc(sizeof(*k));

    k->receipt = gr_receipt_take(&ev->ev);
    k->stanza = gr_stanza_ref(ev->stanza);
    k->from = gr_jid_dup(ev->from);
    k->to = gr_jid_dup(ev->to);
    k->row = row_new(self, ev, &k->len);
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
    if (!k->queued)
        gr_receipt_give(&k->receipt);
    gr_stanza_unref(&k->stanza);
    gr_jid_free(&k->from);
    gr_jid_free(&k->to);
    gr_free(k->row);
    gr_free(k);
}

static struct gr_req *request(struct gr_mod *self, struct keep *k, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(k), done);

    *(struct keep **)gr_req_data(req) = k;
    return req;
}

static void answer(struct gr_mod *self, struct keep *k, enum gr_cond cond, const char *text)
{
    struct gr_stanza *reply =
        cond != GR_COND_NONE ? gr_error_reply(k->stanza, cond, text) : NULL;

    if (reply != NULL && gr_receipt_refuse(k->receipt)) {
        gr_stanza_set_from(reply, k->to);
        gr_stanza_set_to(reply, k->from);
        gr_receipt_answer(self, k->receipt, reply);
        reply = NULL;
    }
    gr_stanza_unref(&reply);
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

/* gone: the row of the message that is taken back; NULL: none is. */
static void write_row(struct gr_mod *self, struct keep *k, const struct gr_row *gone)
{
    const struct offline_conf *conf = gr_conf(self);
    struct gr_receipt *receipt = k->receipt;
    struct gr_hold *hold = k->hold;
    struct gr_txn *t = gr_txn_new(self);

    if (gone != NULL)
        gr_txn_del_seq(t, MESSAGES, k->to->bare, gr_row_seq(gone));
    gr_txn_append_max(t, MESSAGES, k->to->bare, k->row, k->len, (uint64_t)conf->limit,
                      (uint64_t)conf->size_limit);
    k->queued = true;
    gr_txn_settles(t, &receipt);
    gr_txn_commit(t, request(self, k, on_kept));
    gr_resume(hold, GR_STOP);
}

/* The id that its sender has given to the message that this one takes back; NULL: it does not. */
static const char *taken_back(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, NS_RETRACT, "retract");

    return el != NULL ? gr_el_attr(el, "id") : NULL;
}

/* XEP-0424, 5: only who has sent it may take it back. One on its way is left alone. */
static bool is_meant(struct gr_mod *self, const struct keep *k, const struct gr_row *row)
{
    struct queue *q = queue_find(self, k->to);
    struct gr_stanza *st;
    int64_t time_us;
    bool meant;

    if ((q != NULL && queue_sent(q, gr_row_seq(row)) != NULL) || row_parse(row, &time_us, &st) != 0)
        return false;
    meant = gr_jid_bare_equal(gr_stanza_from(st), k->from) && gr_stanza_id(st) != NULL &&
            strcmp(gr_stanza_id(st), taken_back(k->stanza)) == 0;
    gr_stanza_unref(&st);
    return meant;
}

static void on_search(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct keep *k = *(struct keep **)gr_req_data(req);
    const struct gr_row *row = NULL;

    for (size_t i = 0; i < rows->count; i++) {
        row = &rows->row[i];
        if (is_meant(self, k, row)) {
            write_row(self, k, row);
            return;
        }
    }
    k->seen += (unsigned)rows->count;
    if (rows->rc == 0 && rows->more && row != NULL && k->seen < SEARCH_MAX)
        gr_store_range_back(request(self, k, on_search), MESSAGES, k->to->bare, row->key,
                            row->key_len, SEARCH_PAGE);
    else
        write_row(self, k, NULL);
}

static enum gr_verdict keep(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct keep *k = keep_new(self, ev);

    if (taken_back(k->stanza) != NULL)
        k->hold = gr_hold(self, &ev->ev);
    if (k->hold == NULL) {
        write_row(self, k, NULL);
        return GR_STOP;
    }
    gr_store_range_back(request(self, k, on_search), MESSAGES, k->to->bare, NULL, 0, SEARCH_PAGE);
    return GR_PENDING;
}

enum gr_verdict keep_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct queue *q = queue_find(self, ev->to);

    if (q != NULL && drain_took_back(q, ev))
        return GR_STOP; /* its row is still there */
    if (!is_storable(ev->stanza))
        return GR_STOP; /* without an answer: hooks.md 6.3 */
    return keep(self, ev);
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
