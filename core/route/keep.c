/* route/keep.c: modules that answer for what is sent to a client (XEP-0198), or hold it back for a while
 * (XEP-0352): stanzas in their hands with the receipt, the count of what the client sends, and a session
 * that goes on over another stream. On the session's loop. */
#include "route/session.h"

#include "mod/usage.h"

#include <string.h>

/* --- stanzas in a module's hands --- */

static struct gr_held *held_new(struct gr_stanza *st, int64_t time_us, struct receipt *receipt)
{
    struct gr_held *h = gr_alloc(sizeof(*h));

    h->stanza = gr_stanza_ref(st);
    h->time_us = time_us;
    h->receipt = receipt_ref(receipt);
    h->copy = receipt != NULL ? receipt->copies : 0;
    h->counted = receipt != NULL && receipt->bond != NULL;
    return h;
}

struct gr_held *gr_held_new(struct gr_stanza *take, int64_t time_us)
{
    struct gr_held *h = gr_alloc(sizeof(*h));

    h->stanza = take;
    h->time_us = time_us;
    return h;
}

struct gr_held *gr_ev_hold_back(struct gr_stanza_ev *ev)
{
    return held_new(ev->stanza, gr_acc_time_us(ev->ev.acc), ev->receipt);
}

static void release(struct gr_held *h, bool ok)
{
    struct receipt *r = h->receipt;

    h->receipt = NULL;
    receipt_give_back(&r, ok, h->bound);
}

void gr_held_settle(struct gr_held *h)
{
    release(h, true);
}

void gr_held_free(struct gr_held **take)
{
    struct gr_held *h = *take;

    *take = NULL;
    if (h == NULL)
        return;
    release(h, false);
    gr_stanza_unref(&h->stanza);
    gr_free(h);
}

void gr_held_go_on(struct gr_mod *self, struct gr_session *s, struct gr_held *take)
{
    (void)self;
    deliver_held(s, take);
    gr_held_settle(take); /* whoever has it now has the receipt as well */
    gr_held_free(&take);
}

/* --- elsewhere --- */

struct rerouted {
    struct receipt r;
    struct receipt *origin;
    struct gr_mod *self;
    gr_rerouted_f f;
    void *data;
};

static void rerouted_handled(struct receipt *r, bool ok)
{
    struct rerouted *t = GR_CONTAINER_OF(r, struct rerouted, r);

    receipt_release(&t->origin, ok);
    if (t->f != NULL && !t->self->stopped) {
        struct gr_mod *before = usage_begin(t->self);
        t->f(t->self, t->data, ok);
        usage_end(t->self, before);
    }
    mod_unpend(t->self);
    gr_free(t->data);
    gr_free(t);
}

void gr_held_reroute(struct gr_mod *self, struct gr_held *take, gr_rerouted_f f, void *take_data)
{
    struct rerouted *t = gr_alloc(sizeof(*t));
    struct receipt *r = &t->r, *origin = take->receipt;
    bool left = origin != NULL && origin->kept; /* its origin has a copy and learns of the failure */

    receipt_init(r, rerouted_handled);
    t->self = self;
    t->f = f;
    t->data = take_data;
    mod_pend(self);
    if (left) {
        release(take, false);
    } else {
        t->origin = r->part_of = receipt_ref(origin);
        session_reroute(take->stanza, r);
        gr_held_settle(take);
    }
    receipt_release(&r, true);
    gr_held_free(&take);
}

/* --- answering for a session --- */

void session_sent(struct gr_session *s, struct gr_stanza *st, int64_t time_us,
                  struct receipt *receipt)
{
    struct gr_mod *self, *before;
    const struct gr_keeper *k = slots_keeper(&s->slots, &self);
    struct gr_held *h;
    bool own;

    /* The answer to what this client has asked does not make the question wait for the client. */
    own = receipt != NULL && job_is_own(receipt, s);
    h = held_new(st, time_us, own ? NULL : receipt);
    h->answer = own || gr_stanza_type(st) == GR_TYPE_ERROR;
    before = usage_begin(self);
    k->sent(self, s, h);
    usage_end(self, before);
}

void gr_session_changed(struct gr_mod *self, struct gr_session *s)
{
    const struct gr_keeper *k;

    if (!session_is_kept_by(s) || s->ending)
        return;
    k = slots_keeper(&s->slots, &self);
    k->changed(self, s);
}

void gr_session_keep(struct gr_mod *self, struct gr_session *s, const struct gr_slot *slot,
                     uint32_t h)
{
    slots_keep(&s->slots, self, slot);
    if (s->counts == NULL)
        s->counts = gr_alloc(sizeof(*s->counts));
    s->counts->session = s;
    s->counts->received = s->counts->handled = s->counts->promised = h;
}

void gr_session_resend(struct gr_mod *self, struct gr_session *s, struct gr_stanza *st)
{
    (void)self;
    if (s->out->resend != NULL)
        s->out->resend(s->out_ctx, st);
    else
        s->out->write(s->out_ctx, st, NULL);
}

/* --- counting --- */

void session_count(struct job *j)
{
    struct session_counts *c = j->sender->counts;

    if (c == NULL || gr_stanza_kind(j->e.stanza) == GR_NONZA)
        return;
    j->counted = true;
    j->number = c->received++;
    gr_assert(c->received - c->handled <= COUNTED_BITS);
    session_count_upon(c, j);
}

static uint64_t *word(struct session_counts *c, uint32_t number)
{
    return &c->done[number % COUNTED_BITS / 64];
}

void session_counted(struct gr_session *s, const struct job *j)
{
    struct session_counts *c = s->counts;
    const struct gr_keeper *k;
    struct gr_mod *self, *before;

    if (j->counted)
        *word(c, j->number) |= (uint64_t)1 << j->number % 64;
    while (c->handled != c->received && (*word(c, c->handled) >> c->handled % 64 & 1) != 0) {
        *word(c, c->handled) &= ~((uint64_t)1 << c->handled % 64);
        session_promise_handled(c);
        c->handled++;
    }
    session_promise_advance(c);
    if (!session_is_kept_by(s) || s->ending)
        return;
    k = slots_keeper(&s->slots, &self);
    before = usage_begin(self);
    k->handled(self, s, j->own.stored);
    usage_end(self, before);
}

bool session_counts_full(const struct gr_session *s)
{
    return s->counts != NULL && s->counts->received - s->counts->handled >= COUNTED_MAX;
}

uint32_t gr_session_received(const struct gr_session *s)
{
    return s->counts != NULL ? s->counts->received : 0;
}

uint32_t gr_session_handled(const struct gr_session *s)
{
    return s->counts != NULL ? s->counts->handled : 0;
}
