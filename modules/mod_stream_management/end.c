/* mod_stream_management/end.c: a session is over: what its client has not acknowledged goes to other
 * resources or offline, in order (XEP-0198, 4), first what is on disk only. The rows go when all of it is
 * somewhere else; after a crash in between some of it comes twice, and nothing is lost. */
#include "journal.h"

#include <grapnel/log.h>

#include <string.h>

enum { PAGE = 100 };

struct ending {
    struct ending *next, **at;   /* at: what points to it */
    uint8_t hash[HASH_SIZE];
    struct gr_jid *full;
    uint64_t reads, to;          /* rows of the queue that are still to be read */
    bool reading;
    bool scan;                   /* nobody knows which rows there are: those that are found */
    unsigned away;               /* handed on, not handled yet */
    struct gr_held *rest;        /* behind the rows */
    struct rows *rows;           /* to be deleted; NULL: none */
};

static void ending_free(struct ending *e)
{
    *e->at = e->next;
    if (e->next != NULL)
        e->next->at = e->at;
    while (e->rest != NULL) {
        struct gr_held *h = e->rest;
        e->rest = h->next;
        gr_held_free(&h);
    }
    rows_free(&e->rows);
    gr_jid_free(&e->full);
    gr_free(e);
}

static void look(struct gr_mod *self, struct ending *e);

static void on_rerouted(struct gr_mod *self, void *data, bool delivered)
{
    struct ending *e = *(struct ending **)data;

    (void)delivered;
    e->away--;
    look(self, e);
}

static bool has_own_delay(const char *host, const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, GR_NS_DELAY, "delay");

    for (; el != NULL; el = gr_el_next(el, GR_NS_DELAY, "delay"))
        if (gr_el_attr(el, "from") != NULL && strcmp(gr_el_attr(el, "from"), host) == 0)
            return true;
    return false;
}

/* A message may be changed by whoever has archived it, and says when it was sent. */
static void prepare(struct gr_mod *self, const struct gr_jid *to, struct gr_held *h)
{
    const char *host = gr_mod_host_jid(self)->full;
    struct gr_stanza_ev ev = { .from = gr_stanza_from(h->stanza), .to = to, .stanza = h->stanza };

    if (gr_stanza_kind(h->stanza) != GR_MESSAGE)
        return;
    if (ev.from == NULL)
        ev.from = to;
    gr_hook_run(self, GR_HOOK_filter_unacknowledged_messages, &ev.ev, NULL);
    h->stanza = ev.stanza;
    if (has_own_delay(host, h->stanza))
        return;
    struct gr_stanza *late = gr_stanza_copy(h->stanza);
    gr_stanza_add_delay(late, host, h->time_us);
    gr_stanza_unref(&h->stanza);
    h->stanza = late;
}

/* Made for that resource alone: a carbon copy (XEP-0280), a page of the archive (XEP-0313). */
static bool is_for_one_resource(const struct gr_jid *full, const struct gr_stanza *st)
{
    const struct gr_jid *from = gr_stanza_from(st);

    return from != NULL && gr_jid_bare_equal(from, full) &&
           (gr_stanza_child(st, "urn:xmpp:carbons:2", NULL) != NULL ||
            gr_stanza_child(st, "urn:xmpp:mam:2", "result") != NULL);
}

/* One of several copies, and another session is there, which got its own: one that came later, or had too
 * low a priority then, did not. */
static bool is_superfluous(struct gr_mod *self, const struct gr_jid *full, const struct gr_held *h)
{
    bool others = h->copy > 0 && h->receipt == NULL;
    const struct gr_account *a = others ? gr_account_find(self, full) : NULL;
    const struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL;

    while (s != NULL && (!gr_session_available(s) || gr_session_priority(s) < h->copy - 1 ||
                         gr_session_available_us(s) > h->time_us))
        s = gr_account_next(a, (struct gr_session *)(uintptr_t)s);
    return s != NULL;
}

static void hand_on(struct gr_mod *self, struct ending *e, struct gr_held *take)
{
    struct ending **data;

    if (is_superfluous(self, e->full, take) || is_for_one_resource(e->full, take->stanza)) {
        gr_held_settle(take);
        gr_held_free(&take);
        return;
    }
    prepare(self, e->full, take);
    data = gr_alloc(sizeof(*data));
    *data = e;
    e->away++;
    gr_held_reroute(self, take, on_rerouted, data);
}

struct gr_held *stanza_of_row(const struct gr_row *row)
{
    const uint8_t *v = row->val;
    struct gr_stanza *st;
    struct gr_held *h;

    if (row->val_len <= STANZA_HEAD || v[0] != ROW_VERSION ||
        gr_stanza_parse((const char *)v + STANZA_HEAD, row->val_len - STANZA_HEAD, &st) != 0)
        return NULL;
    h = gr_held_new(st, (int64_t)get_u64(v + 2));
    h->copy = v[1];
    return h;
}

bool row_is_of(const struct gr_row *row, const uint8_t hash[HASH_SIZE], uint64_t before)
{
    return row->key_len == QUEUE_KEY && memcmp(row->key, hash, HASH_SIZE) == 0 &&
           get_u64((const uint8_t *)row->key + HASH_SIZE) < before;
}

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct ending *e = *(struct ending **)gr_req_data(req);
    size_t n = 0;

    e->reading = false;
    if (rows->rc != 0) {
        gr_error("sm.not_read", "unacknowledged stanzas of %s cannot be read, and stay in the store: %s",
                 e->full->full, gr_strerror(rows->rc));
        rows_free(&e->rows);
    }
    for (size_t i = 0; i < rows->count && row_is_of(&rows->row[i], e->hash, e->to); i++) {
        uint64_t number = get_u64((const uint8_t *)rows->row[i].key + HASH_SIZE);
        struct gr_held *h = stanza_of_row(&rows->row[i]);

        if (h != NULL)
            hand_on(self, e, h);
        else
            gr_error("sm.damaged", "an unacknowledged stanza of %s is damaged", e->full->full);
        if (e->scan && e->rows != NULL)
            rows_add(e->rows, number, number + 1);
        e->reads = number + 1;
        n++;
    }
    if (rows->rc != 0 || !rows->more || n < rows->count)
        e->reads = e->to;
    look(self, e);
}

static void read_page(struct gr_mod *self, struct ending *e)
{
    struct gr_req *req = gr_req_new(self, sizeof(e), on_page);
    uint64_t left = e->to - e->reads;
    uint8_t key[QUEUE_KEY];

    e->reading = true;
    *(struct ending **)gr_req_data(req) = e;
    queue_key(e->hash, e->reads, key);
    gr_store_range(req, QUEUE, gr_server_id(), key, sizeof(key), left < PAGE ? (size_t)left : PAGE);
}

static void look(struct gr_mod *self, struct ending *e)
{
    if (e->reading)
        return;
    if (e->reads < e->to) {
        read_page(self, e);
        return;
    }
    e->away++; /* this look */
    while (e->rest != NULL) {
        struct gr_held *h = e->rest;
        e->rest = h->next;
        hand_on(self, e, h);
    }
    if (--e->away > 0)
        return;
    if (e->rows != NULL)
        rows_delete(self, e->rows);
    e->rows = NULL;
    ending_free(e);
}

static struct ending *ending_new(struct state *st, const struct gr_jid *full,
                                 const uint8_t hash[HASH_SIZE])
{
    struct ending *e = gr_alloc(sizeof(*e));

    memcpy(e->hash, hash, HASH_SIZE);
    e->full = gr_jid_dup(full);
    e->next = st->endings;
    e->at = &st->endings;
    if (e->next != NULL)
        e->next->at = &e->next;
    st->endings = e;
    return e;
}

void end_stop(struct state *st)
{
    while (st->endings != NULL)
        ending_free(st->endings);
}

void end_rows(struct gr_mod *self, const struct gr_jid *full, const uint8_t hash[HASH_SIZE],
              uint64_t from, uint64_t to)
{
    struct ending *e = ending_new(gr_state(self), full, hash);

    e->reads = from;
    e->to = to;
    e->rows = rows_new(full, hash);
    rows_add(e->rows, from, to);
    look(self, e);
}

void end_damaged(struct gr_mod *self, const struct gr_jid *full, const uint8_t hash[HASH_SIZE])
{
    struct ending *e = ending_new(gr_state(self), full, hash);

    e->to = UINT64_MAX;
    e->scan = true;
    e->rows = rows_new(full, hash);
    look(self, e);
}

void end_session(struct gr_mod *self, const struct gr_jid *full, struct sm *sm)
{
    struct ending *e = ending_new(gr_state(self), full, sm->hash);

    journal_forget(sm);
    if (sm->rows) {
        e->rows = rows_new(full, sm->hash);
        rows_add(e->rows, sm->void_from, sm->void_to);
        rows_add(e->rows, sm->disk_from, sm->disk_to);
    }
    e->to = sm->on_disk ? sm->acked : 0; /* those behind are in memory as well */
    e->reads = sm->on_disk ? sm->disk_from : 0;
    e->rest = sm->first;
    sm->first = sm->last = sm->unwritten = NULL;
    sm->count = 0;
    look(self, e);
}
