/* grapnel/module.h: what a module is. The one header a module needs.
 *
 * A module is one shared object with one exported const descriptor. The core makes one instance per
 * host and loop; an instance (`self`) and its state are only ever touched on its loop, so nothing in
 * it needs a lock. Whatever a module creates at run time it creates through `self`, and the core
 * takes it back. No static mutable data, no threads, no constructors: hot reload replaces the code
 * under a running instance (docs/modules.md). */
#pragma once

#include <grapnel/abi.h>
#include <grapnel/base.h>
#include <grapnel/command.h>
#include <grapnel/form.h>
#include <grapnel/hooks.h>
#include <grapnel/http.h>
#include <grapnel/jid.h>
#include <grapnel/log.h>
#include <grapnel/option.h>
#include <grapnel/provider.h>
#include <grapnel/record.h>
#include <grapnel/route.h>
#include <grapnel/rsm.h>
#include <grapnel/session.h>
#include <grapnel/stanza.h>
#include <grapnel/store.h>

#define GR_ABI_VERSION 1

/* What crosses a reload: small named values, written by the old instance, read by the new one. */
struct gr_bag; /* valid during save() or restore(), as is what is read from it; values are copied in */
GR_API void gr_bag_put_u64(struct gr_bag *bag, const char *key, uint64_t v);
GR_API void gr_bag_put_str(struct gr_bag *bag, const char *key, const char *v);
GR_API void gr_bag_put_blob(struct gr_bag *bag, const char *key, const void *v, size_t len);
GR_API uint64_t gr_bag_u64(const struct gr_bag *bag, const char *key, uint64_t otherwise);
GR_API const char *gr_bag_str(const struct gr_bag *bag, const char *key); /* NULL: not there */
GR_API const void *gr_bag_blob(const struct gr_bag *bag, const char *key, size_t *len);

struct gr_module {
    const char *name;           /* "hello": the file is mod_hello.so, the section [mod_hello] */
    const char *summary;
    unsigned abi;               /* GR_ABI_VERSION */
    const char *abi_tag;        /* GR_ABI_TAG: hash of the headers it was compiled with */
    size_t conf_size, state_size;
    const struct gr_opt *options;
    const struct gr_hook *hooks;
    const struct gr_iq *iqs;
    const char *const *features;        /* disco features of the host, NULL-terminated */
    const char *const *account_features;/* of accounts */
    const struct gr_coll *collections;  /* ends with GR_COLL_END */
    const struct gr_slot *const *slots; /* NULL-terminated */
    const struct gr_command *commands;
    const char *const *needs;           /* modules that must be enabled on the same host */
    const char *const *conflicts;       /* that must not be; it is enough that one of two says so */
    /* Judges a configuration across options, before anything changes; main thread. 0, or a gr_err
     * with a static or arena sentence in *why. */
    int (*check)(const void *conf, const char **why);
    /* Acquires what tables cannot say. 0, or a gr_err with a static sentence in *why: the module, and
     * with it the start or the reload, is refused. stop() is not called then, so what may fail comes
     * first, or start() frees what it has made (not what was made through self). Hooks are not visible
     * yet. */
    int (*start)(struct gr_mod *self, const char **why);
    void (*stop)(struct gr_mod *self);  /* after start() was right and the last callback; cannot fail */
    void (*save)(struct gr_mod *self, struct gr_bag *bag);           /* reload: old code  */
    void (*restore)(struct gr_mod *self, const struct gr_bag *bag);  /* reload: new code  */
};

/* Defines and exports the descriptor, and the ELF note that the core reads before it lets any code
 * of the file run. Use once per module: GR_MODULE(hello, .summary = "...", ...). */
#define GR_MODULE(id, ...)                                                                        \
    GR_NOTE(id)                                                                                   \
    GR_API extern const struct gr_module gr_module_descriptor;                                    \
    const struct gr_module gr_module_descriptor = {                                               \
        .name = #id, .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG, __VA_ARGS__                    \
    }

/* ELF note: owner "Grapnel", type 1, description {u32 abi; char tag[20]; char name[40]}. */
struct gr_note {
    uint32_t name_size, desc_size, type;
    char owner[8];
    uint32_t abi;
    char tag[20];
    char name[40];
};
#define GR_NOTE(id)                                                                               \
    __attribute__((section(".note.grapnel"), used, aligned(4))) static const struct gr_note       \
        gr_module_note = { 8, sizeof(uint32_t) + 20 + 40, 1, "Grapnel", GR_ABI_VERSION,           \
                           GR_ABI_TAG, #id };

/* --- the instance: on its loop; what is returned lives as long as the instance --- */

GR_API const void *gr_conf(struct gr_mod *self);   /* the module's conf struct, read-only */
GR_API void *gr_state(struct gr_mod *self);        /* state_size zeroed bytes */
GR_API struct gr_host *gr_mod_host(const struct gr_mod *self);
GR_API const struct gr_jid *gr_mod_host_jid(const struct gr_mod *self); /* the host as a JID */
GR_API const char *gr_mod_name(const struct gr_mod *self);
GR_API int64_t gr_uptime_ms(void);                 /* of the server */
/* [server] server_id: this server among those that share a store; the same after a restart. */
GR_API const char *gr_server_id(void);
/* How often this loop has gone over to another configuration or code: what was made of what other
 * modules say is out of date when it has changed. */
GR_API uint64_t gr_reloads(void);
/* Every feature of self's host (or of its accounts): the namespaces of iq handlers and the modules'
 * `features` tables; duplicates are possible. */
GR_API void gr_host_each_feature(struct gr_mod *self, bool account,
                                 void (*f)(void *ctx, const char *feature), void *ctx);
#define GR_VERSION_TEXT "0.1.0"

/* --- timers: embedded in the module's state or slot; stopped by the core when the module goes or a new
 * version takes over, which starts its own (in start(), restore() or a slot's moved()); starting one
 * then does nothing --- */
struct gr_timer {
    void *priv[8];          /* the core's */
    struct gr_mod *self;
    void (*fire)(struct gr_mod *self, struct gr_timer *t);
};
/* Calls fire once, in ms milliseconds or more; a timer that runs starts anew. */
GR_API void gr_timer_start(struct gr_mod *self, struct gr_timer *t, int64_t ms,
                           void (*fire)(struct gr_mod *self, struct gr_timer *t));
GR_API void gr_timer_stop(struct gr_timer *t);     /* idempotent; before the memory goes */

/* --- blocking or long work on a pool thread --- */
struct gr_work;
/* run() sees only `data`: a copy of len bytes that both functions are given, wiped and freed after
 * done(). run() is on a thread of the pool and may call nothing of an instance; done() is on this loop,
 * always later. 0, or GR_EAGAIN when the pool's queue is full: neither is called then. */
GR_API int gr_work(struct gr_mod *self, const void *data, size_t len, void (*run)(void *data),
                   void (*done)(struct gr_mod *self, void *data));
