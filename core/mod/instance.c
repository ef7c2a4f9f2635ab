/* mod/instance.c: one module on one host on one loop, from start to stop.
 *
 * Retiring happens at once, going when nothing that could call the old code is left: completions in
 * flight, holds, suspended chains whose table names it. It goes as an event of its own, because what
 * lets it go is often a call out of its own code. On its loop. */
#include "mod/instance.h"

#include <string.h>

#include <grapnel/log.h>

#include "mod/image.h"
#include "mod/provider_priv.h"
#include "mod/run.h"
#include "mod/spec.h"
#include "mod/usage.h"

static void go(struct gr_mod *self);

/* Nothing comes by itself any more. */
static bool only_owes(const struct gr_mod *self)
{
    return self->pending == self->owed_count && self->tables == 0;
}

static void on_gone(struct post *p)
{
    struct gr_mod *self = GR_CONTAINER_OF(p, struct gr_mod, gone);

    self->gone_posted = false;
    if (self->pending == 0 && self->tables == 0)
        go(self);
}

static void on_patience(struct timer *t)
{
    struct gr_mod *self = GR_CONTAINER_OF(t, struct gr_mod, patience);

    if (only_owes(self) && !self->gone_posted)
        go(self);
}

void mod_may_go(struct gr_mod *self)
{
    if (!self->retired || !only_owes(self) || self->gone_posted)
        return;
    if (self->pending > 0) {
        timer_start(&self->patience, OWED_MS, on_patience);
        return;
    }
    if (self->stopped) { /* at shutdown: perhaps no loop turns any more */
        go(self);
        return;
    }
    self->gone_posted = true;
    self->gone.run = on_gone;
    loop_defer(&self->gone);
}

struct gr_mod *instance_new(struct mod_spec *spec, struct gr_host *host)
{
    struct gr_mod *self = gr_alloc(sizeof(*self));

    self->spec = spec_ref(spec);
    self->desc = spec->desc;
    self->image = spec->image;
    self->conf = spec->conf;
    self->host = host;
    self->loop = loop_self();
    self->state = gr_alloc(self->desc->state_size);
    self->bytes = sizeof(*self) + self->desc->state_size;
    list_init(&self->holds);
    list_init(&self->timers);
    list_init(&self->slots);
    list_init(&self->owed);
    return self;
}

int instance_start(struct gr_mod *self, struct provider_set *staging, const char **why)
{
    struct gr_mod *before;
    int rc;

    self->started = self->desc->start == NULL;
    if (self->started)
        return 0;
    self->staging = staging;
    before = usage_begin(self);
    image_enter(self->image);
    rc = self->desc->start(self, why);
    image_leave(self->image);
    usage_end(self, before);
    self->staging = NULL;
    self->started = rc == 0;
    return rc;
}

void instance_retire(struct gr_mod *self)
{
    gr_assert(!self->retired);
    self->retired = true;
    list_remove(&self->of_host);
    list_append(&mod_loop()->retired, &self->of_host);
    own_stop_timers(self);
    provider_close_all(self);
    mod_may_go(self);
}

static struct owed *first_early(const struct gr_mod *self)
{
    list_each (o, &self->owed, struct owed, of_self) {
        if (o->early)
            return o;
    }
    return NULL;
}

/* One after the other: each tells the module, which may answer what it owes itself. */
static void give_up_early(struct gr_mod *self)
{
    struct owed *o;

    while ((o = first_early(self)) != NULL)
        o->give_up(o);
}

static void give_up_owed(struct gr_mod *self)
{
    list_each (o, &self->owed, struct owed, of_self)
        o->give_up(o);
}

/* What it has used is its successor's from now on: what is counted of a module never becomes less. */
static void pass_on(struct gr_mod *self)
{
    list_each (now, &self->host->instances, struct gr_mod, of_host) {
        if (strcmp(now->desc->name, self->desc->name) != 0)
            continue;
        now->calls += self->calls;
        now->cpu_us += self->cpu_us;
        self->calls = self->cpu_us = 0;
    }
}

/* The last calls into its code. */
static void leave(struct gr_mod *self)
{
    if (self->stopped)
        return;
    timer_stop(&self->patience);
    give_up_early(self);
    own_stop_timers(self);
    provider_close_all(self);
    asks_expire(self);
    slots_reload_all(self, NULL);
    if (self->started && self->desc->stop != NULL) {
        struct gr_mod *before = usage_begin(self);
        self->desc->stop(self);
        usage_end(self, before);
    }
    own_stop_timers(self); /* should stop() have started one */
    self->stopped = true;
    pass_on(self);
    asks_forget(self);
    give_up_owed(self);
    gr_free(self->state);
    self->state = NULL;
}

static void go(struct gr_mod *self)
{
    self->gone_posted = true; /* nobody else */
    if (!self->stopped) /* else the host may be gone as well */
        gr_debug("mod.gone", "mod_%s of %s: the old instance is gone", self->desc->name,
                 self->host->jid->domain);
    leave(self);
    if (self->pending > 0) { /* its stop() has written something */
        self->gone_posted = false;
        return;
    }
    holds_forget(self);
    provider_forget(self);
    list_remove(&self->of_host);
    usage_gone();
    spec_unref(&self->spec);
    gr_free(self);
}

void instance_stop(struct gr_mod *self)
{
    bool posted;

    if (!self->retired)
        instance_retire(self);
    posted = self->gone_posted;
    self->gone_posted = true; /* not in the middle of leave() */
    leave(self);
    self->gone_posted = posted;
    mod_may_go(self);
}

uint64_t mod_memory(const struct gr_mod *self)
{
    return self->bytes;
}

/* --- what modules see --- */

const void *gr_conf(struct gr_mod *self)
{
    return self->conf;
}

void *gr_state(struct gr_mod *self)
{
    return self->state;
}

struct gr_host *gr_mod_host(const struct gr_mod *self)
{
    return self->host;
}

const struct gr_jid *gr_mod_host_jid(const struct gr_mod *self)
{
    return self->host->jid;
}

const char *gr_mod_name(const struct gr_mod *self)
{
    return self->desc->name;
}
