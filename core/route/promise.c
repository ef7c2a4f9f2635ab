/* route/promise.c: what of a client's stanzas is handled but for the commits it waits for (XEP-0198, 4,
 * made durable with the effects). Whoever has given the store everything there is to do for a stanza
 * says so with the transaction (gr_txn_settles). When nobody else has to do with the stanza it is
 * promised: a count that says it is handled may be queued behind those transactions, for the same
 * commit, upon the session's bond: should one of them fail, that count is not written either. On the
 * session's loop, but for the receipts. */
#include "route/session.h"

#include "mod/instance.h"
#include "mod/usage.h"
#include "store/store.h"

#include <string.h>

/* --- receipts that go along with a transaction --- */

struct settles {
    struct store_rider rider;
    struct receipt *receipt;
    bool bound;
};

static void on_queued(struct store_rider *r)
{
    struct settles *s = GR_CONTAINER_OF(r, struct settles, rider);

    s->bound = true;
    receipt_bind(s->receipt);
}

static void on_decided(struct store_rider *r)
{
    struct settles *s = GR_CONTAINER_OF(r, struct settles, rider);

    receipt_give_back(&s->receipt, true, s->bound);
    gr_free(s);
}

void gr_txn_settles(struct gr_txn *t, struct gr_receipt **take)
{
    struct receipt *r = (struct receipt *)*take;
    struct settles *s;

    *take = NULL;
    if (r == NULL)
        return;
    s = gr_alloc(sizeof(*s));
    s->rider = (struct store_rider){ .queued = on_queued, .decided = on_decided };
    s->receipt = r;
    if (r->bond != NULL)
        store_txn_for(mod_txn_store(t), r->bond);
    store_txn_ride(mod_txn_store(t), &s->rider);
}

struct settles_held {
    struct store_rider rider;
    struct gr_held *held;        /* until gr_txn_commit has returned */
};

static void on_held_queued(struct store_rider *r)
{
    struct gr_held *h = GR_CONTAINER_OF(r, struct settles_held, rider)->held;

    if (h->bound)
        return; /* a transaction before has failed: it waits for this one instead */
    h->bound = true;
    receipt_bind(h->receipt);
}

static void on_held_decided(struct store_rider *r)
{
    gr_free(GR_CONTAINER_OF(r, struct settles_held, rider));
}

void gr_txn_settles_held(struct gr_txn *t, struct gr_held *h)
{
    struct receipt *r = h->receipt;
    struct settles_held *s;

    if (r == NULL || r->bond == NULL)
        return;
    s = gr_alloc(sizeof(*s));
    s->rider = (struct store_rider){ .queued = on_held_queued, .decided = on_held_decided };
    s->held = h;
    store_txn_for(mod_txn_store(t), r->bond);
    store_txn_ride(mod_txn_store(t), &s->rider);
}

/* --- the count --- */

static bool is_done(const struct session_counts *c, uint32_t number)
{
    unsigned word = number % COUNTED_BITS / 64, bit = number % 64;

    return ((c->done[word] | c->sure[word]) >> bit & 1) != 0;
}

void session_promise_advance(struct session_counts *c)
{
    if ((int32_t)(c->handled - c->promised) > 0)
        c->promised = c->handled;
    while (c->promised != c->received && is_done(c, c->promised))
        c->promised++;
}

/* Something has failed: what was promised and is not handled is waited for, as if nothing had been said. */
static void look_at_bond(struct session_counts *c)
{
    if (c->bond != NULL && !store_bond_broken(c->bond))
        return;
    store_bond_release(&c->bond);
    c->bond = store_bond_new();
    c->promise++;
    memset(c->sure, 0, sizeof(c->sure));
    c->promised = c->handled;
}

static void on_turn_end(struct flush *f);

static void tell_later(struct session_counts *c)
{
    if (c->news.next != NULL)
        return;
    list_append(&route_loop()->promises, &c->news);
    route_loop()->promise_flush.flush = on_turn_end;
    loop_flush_later(&route_loop()->promise_flush);
}

void gr_session_write_soon(struct gr_session *s)
{
    tell_later(s->counts);
}

void session_promised(struct gr_session *s, const struct job *j)
{
    struct session_counts *c = s->counts;
    uint32_t before = c->promised;

    if (j->own.bond != c->bond || store_bond_broken(c->bond))
        return;
    c->sure[j->number % COUNTED_BITS / 64] |= (uint64_t)1 << j->number % 64;
    session_promise_advance(c);
    if (c->promised != before)
        tell_later(c);
}

void session_promise_handled(struct session_counts *c)
{
    c->sure[c->handled % COUNTED_BITS / 64] &= ~((uint64_t)1 << c->handled % 64);
}

void session_count_upon(struct session_counts *c, struct job *j)
{
    look_at_bond(c);
    receipt_count_upon(&j->own, c->bond);
}

void session_counts_free(struct session_counts **take)
{
    struct session_counts *c = *take;

    *take = NULL;
    if (c == NULL)
        return;
    list_remove(&c->news);
    store_bond_release(&c->bond);
    gr_free(c);
}

/* --- telling the keeper --- */

static struct gr_mod *keeper_of(const struct session_counts *c)
{
    struct gr_mod *self = NULL;

    if (session_is_kept_by(c->session) && !c->session->ending)
        slots_keeper(&c->session->slots, &self);
    return self;
}

/* The sessions of one keeper follow one another, so that they can have one transaction. */
static void tell_one_keeper(struct link *news)
{
    struct gr_mod *self = keeper_of(list_entry(news->next, struct session_counts, news)), *before;
    struct link mine;

    list_init(&mine);
    list_each (c, news, struct session_counts, news)
        if (keeper_of(c) == self) {
            list_remove(&c->news);
            list_append(&mine, &c->news);
        }
    while (!list_empty(&mine)) {
        struct session_counts *c = list_entry(mine.next, struct session_counts, news);
        struct gr_session *s = c->session;

        list_remove(&c->news);
        if (self == NULL)
            continue;
        before = usage_begin(self);
        slots_keeper(&s->slots, &self)->write(self, s, list_empty(&mine));
        usage_end(self, before);
    }
}

static void on_turn_end(struct flush *f)
{
    struct link *news = &GR_CONTAINER_OF(f, struct route_loop, promise_flush)->promises;

    while (!list_empty(news))
        tell_one_keeper(news);
}

/* --- what the keeper asks --- */

uint32_t gr_session_promise(struct gr_session *s)
{
    gr_assert(s->counts != NULL);
    look_at_bond(s->counts);
    return s->counts->promise;
}

uint32_t gr_session_promised(struct gr_session *s)
{
    if (s->counts == NULL)
        return 0;
    look_at_bond(s->counts);
    return s->counts->promised;
}

void gr_txn_upon(struct gr_txn *t, struct gr_session *s)
{
    struct store_txn *txn = mod_txn_store(t);

    look_at_bond(s->counts);
    store_txn_if(txn, s->counts->bond); /* first: it is not upon what another session in t stands on */
    store_txn_for(txn, s->counts->bond);
}
