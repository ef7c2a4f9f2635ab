/* mod_offline/keep.c: which messages are kept (XEP-0160, 3; XEP-0334, 4), and keeping them.
 *
 * The chain is held until the message is on disk: only then does the sender's server count it as
 * handled (XEP-0198). A full queue is service-unavailable (XEP-0160, 2, step 3), a failing store
 * the error that gr_cond_of gives. */
#include "offline.h"

#include <string.h>

#include <grapnel/log.h>

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

static char *row_new(struct gr_mod *self, const struct gr_stanza_ev *ev, size_t *len)
{
    struct gr_stanza *st = without_forged_delay(self, ev);
    uint64_t us = (uint64_t)gr_acc_time_us(ev->ev.acc);
    size_t xml_len;
    const char *xml = gr_stanza_xml(st, &xml_len);
    char *row = gr_alloc(ROW_HEAD + xml_len);

    row[0] = ROW_VERSION;
    for (int i = 8; i > 0; i--, us >>= 8)
        row[i] = (char)(us & 0xff);
    memcpy(row + ROW_HEAD, xml, xml_len);
    *len = ROW_HEAD + xml_len;
    gr_stanza_unref(&st);
    return row;
}

int row_parse(const struct gr_row *row, int64_t *time_us, struct gr_stanza **out)
{
    const uint8_t *val = row->val;
    uint64_t us = 0;

    if (row->val_len <= ROW_HEAD || val[0] != ROW_VERSION)
        return GR_EINVAL;
    for (int i = 1; i < ROW_HEAD; i++)
        us = us << 8 | val[i];
    *time_us = (int64_t)us;
    if (gr_stanza_parse((const char *)val + ROW_HEAD, row->val_len - ROW_HEAD, out) != 0)
        return GR_EINVAL;
    if (gr_stanza_kind(*out) == GR_MESSAGE && gr_stanza_from(*out) != NULL)
        return 0;
    gr_stanza_unref(out);
    return GR_EINVAL;
}

/* --- keeping --- */

struct keep {
    struct keep *next;
    struct queue *q;
    struct gr_hold *hold;
    struct gr_stanza *stanza;
    struct gr_jid *from, *to;
    char *row;
    size_t len;
};

static void keep_free(struct keep *k)
{
    gr_stanza_unref(&k->stanza);
    gr_jid_free(&k->from);
    gr_jid_free(&k->to);
    gr_free(k->row);
    gr_free(k);
}

static void answer(struct keep *k, enum gr_cond cond, const char *text)
{
    struct gr_stanza *reply =
        cond != GR_COND_NONE ? gr_error_reply(k->stanza, cond, text) : NULL;

    if (reply != NULL) {
        gr_stanza_set_from(reply, k->to);
        gr_stanza_set_to(reply, k->from);
        gr_send(k->q->self, reply);
    }
    gr_resume(k->hold, GR_STOP);
    keep_free(k);
}

static void on_kept(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct keep *k = *(struct keep **)gr_req_data(req);
    struct queue *q = k->q;
    struct keep **at = &q->writing;

    (void)self;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    q->writes--;
    if (rows->rc != 0) {
        gr_warn("offline.not_kept", "a message for %s could not be kept: %s", q->owner->bare,
                gr_strerror(rows->rc));
        if (q->count > 0)
            q->count--;
        q->bytes -= q->bytes < k->len ? q->bytes : k->len;
        q->stale = true;
        answer(k, gr_cond_of(rows->rc), NULL);
    } else {
        answer(k, GR_COND_NONE, NULL);
    }
    queue_release(q);
}

static bool has_room(const struct queue *q, size_t len)
{
    const struct offline_conf *conf = gr_conf(q->self);

    return (conf->limit == 0 || q->count < (uint64_t)conf->limit) &&
           (conf->size_limit == 0 || q->bytes + len <= (uint64_t)conf->size_limit);
}

static void keep(struct keep *k)
{
    struct queue *q = k->q;
    struct gr_txn *t;
    struct gr_req *req;

    if (!has_room(q, k->len)) {
        answer(k, GR_SERVICE_UNAVAILABLE, "too many offline messages");
        return;
    }
    q->count++;
    q->bytes += k->len;
    q->appended = true;
    q->writes++;
    k->next = q->writing;
    q->writing = k;
    t = gr_txn_new(q->self);
    gr_txn_append(t, MESSAGES, q->owner->bare, k->row, k->len);
    queue_put_totals(q, t);
    req = gr_req_new(q->self, sizeof(struct keep *), on_kept);
    *(struct keep **)gr_req_data(req) = k;
    gr_txn_commit(t, req);
}

void keep_waiting(struct queue *q, int rc)
{
    struct keep *k = q->waiting, *next;

    q->waiting = NULL;
    q->tail = &q->waiting;
    q->pins++;
    for (; k != NULL; k = next) {
        next = k->next;
        if (rc == 0)
            keep(k);
        else
            answer(k, gr_cond_of(rc), NULL);
    }
    q->pins--;
}

static void forget(struct keep *k)
{
    struct keep *next;

    for (; k != NULL; k = next) {
        next = k->next;
        keep_free(k);
    }
}

void keep_forget(struct queue *q)
{
    forget(q->waiting);
    forget(q->writing);
}

enum gr_verdict keep_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct queue *q = queue_find(self, ev->to);
    struct gr_hold *hold;
    struct keep *k;

    if (q != NULL && drain_took_back(q, ev))
        return GR_STOP; /* its row is still there */
    if (!is_storable(ev->stanza))
        return GR_STOP; /* without an answer: hooks.md 6.3 */
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL; /* the end of the chain answers */
    k = gr_alloc(sizeof(*k));
    k->q = q = queue_get(self, ev->to);
    k->hold = hold;
    k->stanza = gr_stanza_ref(ev->stanza);
    k->from = gr_jid_dup(ev->from);
    k->to = gr_jid_dup(ev->to);
    k->row = row_new(self, ev, &k->len);
    q->pins++;
    if (q->loaded) {
        keep(k);
    } else {
        *q->tail = k;
        q->tail = &k->next;
        queue_load(q);
    }
    q->pins--;
    queue_release(q);
    return GR_PENDING;
}
