/* mod/hold.c: holds: a handler that waits for a completion suspends its chain.
 *
 * A hold belongs to the module until gr_resume gives it back, also when the chain went on without it
 * (time-out, another verdict, shutdown): it is then an empty shell. Shells count towards the bound, so
 * a module that loses holds runs into it and not the server into its memory; they go with the instance.
 *
 * A chain that a module runs meanwhile shares the accumulator of the held one (gr_hook_run_held), one at
 * a time. Should that go on first, the inner one, and what was started in its time, gets one of its own.
 * On the loop of the instance. */
#include "mod/run.h"

#include <grapnel/log.h>

/* --- accumulators of chains within chains --- */

struct lone_acc {
    struct gr_acc acc;
    unsigned runs;
};

static void lone_release(struct lone_acc *lone)
{
    if (lone == NULL || --lone->runs > 0)
        return;
    acc_fini(&lone->acc);
    gr_free(lone);
}

/* With all that shares its accumulator. What they have requested so far is the outer chain's. */
static void give_lone(struct inner_run *inner, struct lone_acc *lone)
{
    struct gr_run *run = inner->run;

    lone->runs++;
    lone_release(inner->lone);
    inner->lone = lone;
    run->ev->acc = run->before.ev.acc = &lone->acc;
    run->requests = NULL;
    if (run->hold == NULL)
        return;
    list_each (within, &run->hold->inner, struct inner_run, of_outer)
        give_lone(within, lone);
}

static struct lone_acc *lone_new(struct gr_acc *acc)
{
    struct lone_acc *lone = gr_alloc(sizeof(*lone));

    acc_part(&lone->acc, acc);
    return lone;
}

/* The held chain goes on: nobody else may use its accumulator. */
static void part_inner(struct gr_hold *h)
{
    struct lone_acc *lone;

    if (h->run == NULL || list_empty(&h->inner))
        return;
    lone = lone_new(h->run->ev->acc);
    list_each (inner, &h->inner, struct inner_run, of_outer) {
        list_remove(&inner->of_outer);
        give_lone(inner, lone);
    }
}

void inner_begin(struct gr_run *run, struct gr_hold *outer)
{
    run->inner = gr_alloc(sizeof(*run->inner));
    run->inner->run = run;
    if (list_empty(&outer->inner))
        list_append(&outer->inner, &run->inner->of_outer);
    else /* to take back what one of two has done would take back the other's */
        give_lone(run->inner, lone_new(run->ev->acc));
}

void inner_suspend(struct gr_run *run)
{
    if (run->inner != NULL) {
        run->inner->run = run; /* it has moved */
    } else if (run->ev->acc != NULL) { /* nothing keeps the accumulator's owner waiting */
        run->inner = gr_alloc(sizeof(*run->inner));
        run->inner->run = run;
        give_lone(run->inner, lone_new(run->ev->acc));
    }
}

void inner_free(struct inner_run *inner)
{
    if (inner != NULL)
        lone_release(inner->lone);
    gr_free(inner);
}

/* --- holds --- */

void hold_free(struct gr_hold *h)
{
    struct gr_mod *self = h->self;
    bool counted = h->run != NULL;

    part_inner(h);
    timer_stop(&h->timer);
    list_remove(&h->of_self);
    self->hold_count--;
    self->bytes -= sizeof(*h);
    gr_free(h);
    if (counted)
        mod_unpend(self);
}

/* The chain goes on without it. */
static struct gr_run *detach(struct gr_hold *h)
{
    struct gr_run *run = h->run;

    part_inner(h);
    timer_stop(&h->timer);
    h->run = NULL;
    mod_unpend(h->self);
    return run;
}

void hold_abandon(struct gr_hold *h)
{
    if (h->resumed)
        hold_free(h);
    else
        detach(h);
}

static void on_timeout(struct timer *t)
{
    struct gr_hold *h = GR_CONTAINER_OF(t, struct gr_hold, timer);
    struct gr_run *run = h->run;

    gr_error("hook.timeout", "%s: mod_%s has not resumed its hold for %d s; the chain goes on",
             run->name, h->self->desc->name, HOLD_MS / 1000);
    detach(h);
    run_continue(run, GR_FAIL);
}

struct gr_hold *gr_hold(struct gr_mod *self, struct gr_ev *ev)
{
    struct gr_run *run = ev->run;
    struct gr_hold *h;

    if (mod_loop()->stopping) /* its completion would come too late */
        return NULL;
    if (run == NULL || !run->may_pend || run->suspended || run->hold != NULL ||
        run_handler(run)->self != self || self->stopped) {
        gr_error("hook.hold", "mod_%s cannot hold %s here", self->desc->name,
                 run != NULL ? run->name : "an event outside its chain");
        return NULL;
    }
    if (self->hold_count >= HOLDS_MAX) {
        gr_warn("hook.holds", "mod_%s has %d holds outstanding; %s is not held", self->desc->name,
                HOLDS_MAX, run->name);
        return NULL;
    }
    h = gr_alloc(sizeof(*h));
    h->self = self;
    h->run = run;
    list_init(&h->inner);
    run->hold = h;
    list_append(&self->holds, &h->of_self);
    self->hold_count++;
    self->bytes += sizeof(*h);
    mod_pend(self);
    timer_start(&h->timer, HOLD_MS, on_timeout);
    return h;
}

bool gr_hold_waits(const struct gr_hold *hold)
{
    return hold->run != NULL;
}

void gr_resume(struct gr_hold *take, enum gr_verdict verdict)
{
    struct gr_run *run;

    if (take == NULL)
        return;
    gr_assert(!take->resumed);
    run = take->run;
    if (run != NULL && !run->suspended) { /* inside the handler still */
        take->resumed = true;
        take->verdict = verdict;
        timer_stop(&take->timer);
        return;
    }
    hold_free(take);
    if (run != NULL)
        run_continue(run, verdict);
}

unsigned hook_holds(const struct gr_mod *self)
{
    unsigned n = 0;

    list_each (h, &self->holds, struct gr_hold, of_self)
        n += h->run != NULL;
    return n;
}

static struct gr_hold *first_live(const struct gr_mod *self)
{
    list_each (h, &self->holds, struct gr_hold, of_self) {
        if (h->run != NULL)
            return h;
    }
    return NULL;
}

void hook_drop_holds(struct gr_mod *self)
{
    struct gr_hold *h;

    while ((h = first_live(self)) != NULL) {
        struct gr_run *run = detach(h);

        gr_assert(run->suspended);
        run_continue(run, GR_FAIL);
    }
}

void holds_forget(struct gr_mod *self)
{
    list_each (h, &self->holds, struct gr_hold, of_self)
        hold_free(h);
}
