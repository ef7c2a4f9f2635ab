/* mod/own.c: what an instance creates at run time and the core takes back: timers, work on the pool,
 * and the count of what is in flight. On the loop of the instance. */
#include <string.h>

#include "loop/work.h"
#include "mod/usage.h"

/* --- in flight --- */

void mod_pend(struct gr_mod *self)
{
    self->pending++;
}

void mod_unpend(struct gr_mod *self)
{
    gr_assert(self->pending > 0);
    self->pending--;
    mod_may_go(self);
}

void mod_owe(struct gr_mod *self, struct owed *o, void (*give_up)(struct owed *o))
{
    o->give_up = give_up;
    list_append(&self->owed, &o->of_self);
    self->owed_count++;
    mod_pend(self);
}

void mod_settle(struct gr_mod *self, struct owed *o)
{
    list_remove(&o->of_self);
    self->owed_count--;
    mod_unpend(self);
}

/* --- timers: the core's part lies in gr_timer.priv --- */

struct own_timer {
    struct timer timer;
    struct link of_self;
};
_Static_assert(sizeof(struct own_timer) <= sizeof(((struct gr_timer *)0)->priv), "gr_timer.priv");

static struct own_timer *own(struct gr_timer *t)
{
    return (struct own_timer *)(void *)t->priv;
}

static void on_timer(struct timer *timer)
{
    struct own_timer *o = GR_CONTAINER_OF(timer, struct own_timer, timer);
    struct gr_timer *t = GR_CONTAINER_OF((void *)o, struct gr_timer, priv);
    struct gr_mod *self = t->self, *before = usage_begin(self);

    list_remove(&o->of_self);
    t->fire(self, t);
    usage_end(self, before);
}

void gr_timer_start(struct gr_mod *self, struct gr_timer *t, int64_t ms,
                    void (*fire)(struct gr_mod *self, struct gr_timer *t))
{
    struct own_timer *o = own(t);

    gr_timer_stop(t);
    if (self->retired) /* its successor has timers of its own */
        return;
    t->self = self;
    t->fire = fire;
    list_append(&self->timers, &o->of_self);
    timer_start(&o->timer, ms, on_timer);
}

void gr_timer_stop(struct gr_timer *t)
{
    struct own_timer *o = own(t);

    timer_stop(&o->timer);
    list_remove(&o->of_self);
}

void own_stop_timers(struct gr_mod *self)
{
    list_each (o, &self->timers, struct own_timer, of_self) {
        timer_stop(&o->timer);
        list_remove(&o->of_self);
    }
}

void own_stop_timers_in(struct gr_mod *self, const void *data, size_t size)
{
    uintptr_t first = (uintptr_t)data;

    list_each (o, &self->timers, struct own_timer, of_self) {
        if ((uintptr_t)o - first < size) {
            timer_stop(&o->timer);
            list_remove(&o->of_self);
        }
    }
}

/* --- work --- */

struct gr_work {
    struct work work;
    struct gr_mod *self;
    void (*run)(void *data);
    void (*done)(struct gr_mod *self, void *data);
    size_t len;
    max_align_t data[];
};

static void on_run(struct work *work)
{
    struct gr_work *w = GR_CONTAINER_OF(work, struct gr_work, work);

    w->run(w->data);
}

static void on_done(struct work *work)
{
    struct gr_work *w = GR_CONTAINER_OF(work, struct gr_work, work);
    struct gr_mod *self = w->self;

    if (!self->stopped) {
        struct gr_mod *before = usage_begin(self);
        w->done(self, w->data);
        usage_end(self, before);
    }
    self->bytes -= sizeof(*w) + w->len;
    gr_wipe(w->data, w->len); /* often a password */
    gr_free(w);
    mod_unpend(self);
}

int gr_work(struct gr_mod *self, const void *data, size_t len, void (*run)(void *data),
            void (*done)(struct gr_mod *self, void *data))
{
    struct gr_work *w = gr_alloc(sizeof(*w) + len);
    int rc;

    w->work.run = on_run;
    w->work.done = on_done;
    w->self = self;
    w->run = run;
    w->done = done;
    w->len = len;
    self->bytes += sizeof(*w) + len;
    if (len > 0)
        memcpy(w->data, data, len);
    rc = work_submit(&w->work);
    if (rc == 0) {
        mod_pend(self);
        return 0;
    }
    self->bytes -= sizeof(*w) + len;
    gr_wipe(w->data, len);
    gr_free(w);
    return rc;
}
