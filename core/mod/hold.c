/* mod/hold.c: holds: a handler that waits for a completion suspends its chain.
 *
 * A hold belongs to the module until gr_resume gives it back, also when the chain went on without it
 * (time-out, another verdict, shutdown): it is then an empty shell. Shells count towards the bound, so
 * a module that loses holds runs into it and not the server into its memory; they go with the instance.
 * On the loop of the instance. */
#include "mod/run.h"

#include <grapnel/log.h>

void hold_free(struct gr_hold *h)
{
    struct gr_mod *self = h->self;
    bool counted = h->run != NULL;

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
