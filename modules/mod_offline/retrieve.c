/* mod_offline/retrieve.c: flexible retrieval (XEP-0013): a client that asks how many messages there
 * are, or which, gets none of them by itself, nor do others while it is there; it fetches and removes
 * what it wants. A message is named by the number of its row.
 *
 * The two disco queries (2.2, 2.3) are taken out of the client's stream: what disco#info says here
 * has to be counted, which the disco hooks cannot wait for. */
#include "offline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_INFO "http://jabber.org/protocol/disco#info"
#define NS_ITEMS "http://jabber.org/protocol/disco#items"

enum {
    HEADERS_MAX = 5000, /* in one answer                      */
    NODES_MAX = 1000,   /* in one request                     */
    WINDOW = 20,        /* messages on their way at once      */
    PAGE = 100
};

/* --- who has asked --- */

struct flexible {
    bool asked;
};
static const struct gr_slot flexible_slot = GR_SLOT(struct flexible, 1, NULL);
const struct gr_slot *const retrieve_slots[] = { &flexible_slot, NULL };

static void note_asked(struct gr_mod *self, struct gr_session *s)
{
    if (s != NULL)
        ((struct flexible *)gr_session_slot(self, s, &flexible_slot))->asked = true;
}

bool retrieves_itself(struct gr_mod *self, const struct gr_account *a)
{
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        const struct flexible *f = gr_session_slot_peek(self, s, &flexible_slot);

        if (f != NULL && f->asked)
            return true;
    }
    return false;
}

/* It goes: what it has left is for the others again. */
enum gr_verdict retrieve_left(struct gr_mod *self, struct gr_session_ev *ev)
{
    const struct flexible *f = gr_session_slot_peek(self, ev->session, &flexible_slot);

    if (f != NULL && f->asked && gr_account_find(self, ev->jid) != NULL)
        drain(queue_get(self, ev->jid));
    return GR_OK;
}

/* --- nodes --- */

#define NODE_SIZE 17

static void node_put(char out[NODE_SIZE], uint64_t seq)
{
    snprintf(out, NODE_SIZE, "%016" PRIx64, seq);
}

static bool node_get(const char *node, uint64_t *seq)
{
    if (node == NULL || strspn(node, "0123456789abcdef") != NODE_SIZE - 1 ||
        node[NODE_SIZE - 1] != '\0')
        return false;
    *seq = strtoull(node, NULL, 16);
    return true;
}

static void read_from(struct gr_req *take, const struct gr_jid *owner, uint64_t seq, size_t limit)
{
    uint8_t key[8];

    gr_put_u64(key, seq);
    gr_store_range(take, MESSAGES, owner->bare, key, sizeof(key), limit);
}

/* --- how many, which: disco#info and disco#items --- */

struct overview {
    struct gr_stanza_ev *ev;
    struct gr_hold *hold;
    struct gr_jid *owner;
    struct gr_stanza *result;
    struct gr_el *query;
    size_t n;
};

static void overview_end(struct gr_mod *self, struct overview *o, int rc)
{
    if (!gr_hold_waits(o->hold)) {
        gr_resume(o->hold, GR_FAIL);
    } else {
        if (rc != 0) {
            gr_ev_refuse(self, o->ev, gr_cond_of(rc), NULL);
        } else {
            gr_stanza_set_from(o->result, o->owner);
            gr_stanza_set_to(o->result, o->ev->from);
            gr_send_in(self, &o->ev->ev, o->result);
            o->result = NULL;
        }
        gr_resume(o->hold, GR_STOP);
    }
    gr_stanza_unref(&o->result);
    gr_jid_free(&o->owner);
    gr_free(o);
}

static struct gr_req *overview_request(struct gr_mod *self, struct overview *o, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(o), done);

    *(struct overview **)gr_req_data(req) = o;
    return req;
}

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct overview *o = *(struct overview **)gr_req_data(req);
    struct gr_el *el = gr_el_add(o->result, o->query, NULL, "identity");
    char number[24];

    gr_el_set(o->result, el, "category", "automation");
    gr_el_set(o->result, el, "type", "message-list");
    el = gr_el_add(o->result, o->query, NULL, "feature");
    gr_el_set(o->result, el, "var", NS_OFFLINE);
    el = gr_form_add(o->result, o->query, "result", NS_OFFLINE);
    snprintf(number, sizeof(number), "%zu", rows->count);
    gr_form_add_field(o->result, el, NULL, "number_of_messages", NULL, number);
    overview_end(self, o, rows->rc);
}

static void on_headers(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct overview *o = *(struct overview **)gr_req_data(req);
    uint64_t last = 0;

    for (size_t i = 0; i < rows->count; i++) {
        struct gr_stanza *st;
        struct gr_el *item;
        int64_t time_us;
        char node[NODE_SIZE];

        last = gr_row_seq(&rows->row[i]);
        if (row_parse(&rows->row[i], &time_us, &st) != 0)
            continue;
        node_put(node, last);
        item = gr_el_add(o->result, o->query, NULL, "item");
        gr_el_set(o->result, item, "jid", o->owner->bare);
        gr_el_set(o->result, item, "node", node);
        gr_el_set(o->result, item, "name", gr_stanza_from(st)->full);
        gr_stanza_unref(&st);
        o->n++;
    }
    if (rows->rc == 0 && rows->more && o->n < HEADERS_MAX && gr_hold_waits(o->hold))
        read_from(overview_request(self, o, on_headers), o->owner, last + 1, PAGE);
    else
        overview_end(self, o, rows->rc);
}

enum gr_verdict retrieve_disco(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_payload(ev->stanza);
    bool items = el != NULL && gr_el_is(el, NS_ITEMS, "query");
    const char *node = el != NULL ? gr_el_attr(el, "node") : NULL;
    struct gr_hold *hold;
    struct overview *o;

    if (node == NULL || strcmp(node, NS_OFFLINE) != 0 || gr_stanza_type(ev->stanza) != GR_GET ||
        !(items || gr_el_is(el, NS_INFO, "query")) || !gr_jid_is_bare(ev->to) ||
        !gr_jid_bare_equal(ev->from, ev->to))
        return GR_OK;
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL;
    note_asked(self, ev->session);
    o = gr_alloc(sizeof(*o));
    *o = (struct overview){ .ev = ev, .hold = hold, .owner = gr_jid_dup(ev->to),
                            .result = gr_iq_result(ev->stanza) };
    o->query = gr_el_add(o->result, NULL, items ? NS_ITEMS : NS_INFO, "query");
    gr_el_set(o->result, o->query, "node", NS_OFFLINE);
    if (items)
        read_from(overview_request(self, o, on_headers), o->owner, 0, PAGE);
    else
        gr_store_count(overview_request(self, o, on_count), MESSAGES, o->owner->bare);
    return GR_PENDING;
}

/* --- the messages themselves --- */

struct retrieval {
    struct retrieval *next, **at_it; /* all that are not answered; what points to this one */
    struct gr_mod *self;
    struct gr_iq_req *req;
    uint64_t *seq;           /* those that are asked for; of fetch none */
    size_t n, at;
    uint64_t cursor;         /* of fetch: rows before it were sent */
    unsigned away;           /* sent, not written yet */
    bool fetch, reading, end, lost;
    enum gr_cond cond;
};

static void retrieval_free(struct retrieval *r)
{
    *r->at_it = r->next;
    if (r->next != NULL)
        r->next->at_it = r->at_it;
    gr_free(r->seq);
    gr_free(r);
}

void retrievals_free(struct offline *o)
{
    while (o->retrievals != NULL)
        retrieval_free(o->retrievals);
}

static struct retrieval *retrieval_new(struct gr_mod *self, struct gr_iq_req *req)
{
    struct offline *o = gr_state(self);
    struct retrieval *r = gr_alloc(sizeof(*r));

    r->self = self;
    r->req = req;
    r->next = o->retrievals;
    r->at_it = &o->retrievals;
    if (r->next != NULL)
        r->next->at_it = &r->next;
    o->retrievals = r;
    return r;
}

static void retrieval_end(struct retrieval *r, enum gr_cond cond)
{
    if (cond == GR_COND_NONE)
        gr_iq_reply_empty(r->req);
    else
        gr_iq_reply_error(r->req, cond, NULL);
    retrieval_free(r);
}

static struct gr_req *retrieval_request(struct retrieval *r, gr_store_f done)
{
    struct gr_req *req = gr_req_new(r->self, sizeof(r), done);

    *(struct retrieval **)gr_req_data(req) = r;
    return req;
}

static void go_on(struct retrieval *r);

static void on_written(struct gr_mod *self, void *data, bool delivered)
{
    struct retrieval *r = *(struct retrieval **)data;

    (void)self;
    r->away--;
    r->lost |= !delivered;
    if (!r->reading)
        go_on(r);
}

static void send_message(struct retrieval *r, const struct gr_row *row)
{
    struct gr_stanza *st;
    struct gr_el *offline;
    struct retrieval **ref;
    int64_t time_us;
    char node[NODE_SIZE];

    if (row_parse(row, &time_us, &st) != 0)
        return;
    node_put(node, gr_row_seq(row));
    if (own_delay(r->self, st) == NULL)
        gr_stanza_add_delay(st, gr_mod_host_jid(r->self)->full, time_us);
    gr_stanza_set_to(st, gr_iq_req_from(r->req));
    offline = gr_el_add(st, NULL, NS_OFFLINE, "offline");
    gr_el_set(st, gr_el_add(st, offline, NULL, "item"), "node", node);
    ref = gr_alloc(sizeof(r));
    *ref = r;
    r->away++;
    gr_send_tracked(r->self, st, on_written, ref);
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct retrieval *r = *(struct retrieval **)gr_req_data(req);

    (void)self;
    if (rows->rc != 0)
        r->cond = rows->rc == GR_ENOENT ? GR_ITEM_NOT_FOUND : gr_cond_of(rows->rc);
    for (size_t i = 0; i < rows->count; i++) {
        send_message(r, &rows->row[i]);
        r->cursor = gr_row_seq(&rows->row[i]) + 1;
    }
    r->at++;
    r->end = r->cond != GR_COND_NONE || (r->fetch ? !rows->more : r->at == r->n);
    r->reading = false;
    go_on(r);
}

static void go_on(struct retrieval *r)
{
    const struct gr_jid *owner = gr_iq_req_to(r->req);
    uint8_t key[8];

    if (r->lost || gr_session_find(r->self, gr_iq_req_from(r->req), 0) == NULL)
        r->end = true;
    if (r->end) {
        if (r->away == 0)
            retrieval_end(r, r->cond);
        return;
    }
    if (r->away >= WINDOW)
        return;
    r->reading = true;
    if (r->fetch) {
        read_from(retrieval_request(r, on_rows), owner, r->cursor, WINDOW - r->away);
        return;
    }
    gr_put_u64(key, r->seq[r->at]);
    gr_store_get(retrieval_request(r, on_rows), MESSAGES, owner->bare, key, sizeof(key));
}

/* One for a client that has gone is neither for others nor to be kept: it still is. */
enum gr_verdict retrieve_gone(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    return gr_acc_origin(ev->ev.acc) == GR_FROM_SERVER &&
                   gr_stanza_child(ev->stanza, NS_OFFLINE, "offline") != NULL
               ? GR_STOP
               : GR_OK;
}

/* --- removing --- */

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    retrieval_end(*(struct retrieval **)gr_req_data(req),
                  rows->rc == 0 ? GR_COND_NONE : gr_cond_of(rows->rc));
}

/* All of them must be there, before any goes. */
static void on_looked(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct retrieval *r = *(struct retrieval **)gr_req_data(req);
    struct gr_txn *t;

    if (rows->rc != 0)
        r->cond = rows->rc == GR_ENOENT ? GR_ITEM_NOT_FOUND : gr_cond_of(rows->rc);
    if (++r->at < r->n)
        return;
    if (r->cond != GR_COND_NONE) {
        retrieval_end(r, r->cond);
        return;
    }
    t = gr_txn_new(self);
    for (size_t i = 0; i < r->n; i++)
        gr_txn_del_seq(t, MESSAGES, gr_iq_req_to(r->req)->bare, r->seq[i]);
    gr_txn_commit(t, retrieval_request(r, on_removed));
}

static void remove_rows(struct retrieval *r)
{
    const struct gr_jid *owner = gr_iq_req_to(r->req);
    size_t n = r->n;
    uint8_t key[8];

    for (size_t i = 0; i < n; i++) { /* the last one may end it at once */
        gr_put_u64(key, r->seq[i]);
        gr_store_get(retrieval_request(r, on_looked), MESSAGES, owner->bare, key, sizeof(key));
    }
}

static void purge(struct retrieval *r)
{
    struct gr_txn *t = gr_txn_new(r->self);

    gr_txn_del_all(t, MESSAGES, gr_iq_req_to(r->req)->bare);
    gr_txn_commit(t, retrieval_request(r, on_removed));
}

/* --- requests --- */

static enum gr_cond read_nodes(struct retrieval *r, const struct gr_el *offline,
                               const char *action)
{
    const struct gr_el *item = gr_el_child(offline, NS_OFFLINE, "item");
    size_t n = 0;

    for (const struct gr_el *el = item; el != NULL; el = gr_el_next(el, NS_OFFLINE, "item"))
        n++;
    if (n == 0)
        return GR_BAD_REQUEST;
    if (n > NODES_MAX)
        return GR_POLICY_VIOLATION;
    r->seq = gr_alloc(n * sizeof(*r->seq));
    for (; item != NULL; item = gr_el_next(item, NS_OFFLINE, "item")) {
        const char *what = gr_el_attr(item, "action");

        if (what == NULL || strcmp(what, action) != 0)
            return GR_BAD_REQUEST;
        if (!node_get(gr_el_attr(item, "node"), &r->seq[r->n++]))
            return GR_ITEM_NOT_FOUND;
    }
    return GR_COND_NONE;
}

void retrieve(struct gr_mod *self, struct gr_iq_ev *ev)
{
    bool get = ev->type == GR_GET;
    bool all = gr_el_child(ev->payload, NS_OFFLINE, get ? "fetch" : "purge") != NULL;
    enum gr_cond cond = GR_COND_NONE;
    struct retrieval *r;

    if (!gr_jid_bare_equal(ev->from, ev->to)) { /* 2.3 to 2.7 */
        gr_iq_reply_error(ev->req, GR_FORBIDDEN, NULL);
        return;
    }
    note_asked(self, ev->session);
    r = retrieval_new(self, ev->req);
    r->fetch = get && all;
    if (!all)
        cond = read_nodes(r, ev->payload, get ? "view" : "remove");
    if (cond != GR_COND_NONE)
        retrieval_end(r, cond);
    else if (get)
        go_on(r);
    else if (all)
        purge(r);
    else
        remove_rows(r);
}
