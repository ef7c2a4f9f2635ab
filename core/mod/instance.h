/* mod/instance.h: one module on one host on one loop. */
#pragma once

#include "mod/hook.h"
#include "mod/slot.h"

struct image;       /* mod/image.h: the loaded file, or a built-in descriptor */

struct mod_spec;    /* mod/spec.h: the module with one configuration, shared by all loops */
struct provider;    /* mod/provider.c */

struct gr_mod {
    struct link of_host;             /* gr_host.instances */
    const struct gr_module *desc;
    struct mod_spec *spec;           /* counted; keeps the image and the configuration */
    struct image *image;             /* of the spec */
    struct gr_host *host;
    struct loop *loop;
    const void *conf;                /* of the spec */
    void *state;
    bool retired;                    /* no new events; waiting for what is pending */
    bool started;                    /* start() has succeeded: stop() is owed */
    bool stopped;                    /* its code is not called any more */
    unsigned pending;                /* requests, asks, holds, works, iq callbacks in flight */
    unsigned tables;                 /* hook tables that name it */
    unsigned hold_count;
    struct link holds;               /* gr_hold */
    struct link timers;              /* gr_timer */
    struct link slots;               /* slot_data of live objects */
    struct link owed;                /* struct owed */
    unsigned owed_count;             /* part of pending */
    struct timer patience;           /* of the core, when there is nothing else left */
    struct provider *provides;       /* what start() installed */
    struct provider_set *staging;    /* where; NULL except during start() */
    struct post gone;                /* looks whether the retired instance can go */
    bool gone_posted;
    uint64_t calls, cpu_us;          /* statistics */
    uint64_t bytes;                  /* mod_memory */
};

/* What the core keeps for the instance: itself, its state, its slots in sessions and accounts, store
 * requests, work, holds. Not what its code took with gr_alloc, which may be anybody's by now. */
uint64_t mod_memory(const struct gr_mod *self);

/* In flight: whoever starts something asynchronous for self brackets it with these. A completion
 * must look at self->stopped before it calls into the module: at shutdown code is gone earlier. */
void mod_pend(struct gr_mod *self);
void mod_unpend(struct gr_mod *self);
/* Something that kept a retired instance has gone: looks, after the current event, whether it can. */
void mod_may_go(struct gr_mod *self);

/* An answer that self owes, now or later. Nothing but the module can give it, so a retired instance does
 * not wait for it as for what comes by itself: when only such things are left, it has OWED_MS for what
 * its siblings on other loops may still send it, then stop() is the last chance to answer; give_up() of
 * the rest is called on the instance's loop and settles. What it is owed itself by somebody outside, who
 * may never answer, is much the same, but given up before stop(), and told to the module (early). */
#define OWED_MS 5000
struct owed {
    struct link of_self;
    void (*give_up)(struct owed *o);
    bool early;
};
void mod_owe(struct gr_mod *self, struct owed *o, void (*give_up)(struct owed *o));
void mod_settle(struct gr_mod *self, struct owed *o);

/* One entry per (where, ns, name); NULL when nobody claims it. `where` is GR_TO_HOST or GR_TO_ACCOUNT;
 * an entry for any name of the namespace comes after one for this name. The caller looks at ->types. */
const struct gr_iq *iq_find(const struct gr_host *host, unsigned where, const char *ns,
                            const char *name, struct gr_mod **self);
/* Namespaces and features of all modules of the host, for mod_disco: called for each. */
void host_each_feature(const struct gr_host *host, bool account,
                       void (*f)(void *ctx, const char *feature), void *ctx);
/* --- life: instance.c, for reload.c; on the loop --- */

struct gr_mod *instance_new(struct mod_spec *spec, struct gr_host *host); /* refs spec */
/* 0 or a gr_err with a sentence in *why; providers go to `staging`. */
int instance_start(struct gr_mod *self, struct provider_set *staging, const char **why);
/* No new events from here on; it goes when nothing is pending: stop(), and all it has is freed. The
 * last reference to the spec goes with it. */
void instance_retire(struct gr_mod *self);
/* At shutdown: now, whatever is pending. What comes later finds self->stopped. */
void instance_stop(struct gr_mod *self);
/* storeapi.c: what it gathers, the store's. */
struct store_txn *mod_txn_store(struct gr_txn *t);

/* own.c: a retiring instance gets no more of these. */
void own_stop_timers(struct gr_mod *self);
/* Those that lie in these bytes: the data go to another loop. */
void own_stop_timers_in(struct gr_mod *self, const void *data, size_t size);
