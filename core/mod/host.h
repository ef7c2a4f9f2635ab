/* mod/host.h: one served domain as one loop sees it. Created when the domain first appears in the
 * configuration and kept until the process ends; a reload exchanges what hangs below it between two
 * events. Belongs to its loop. */
#pragma once

#include "base/list.h"
#include "base/table.h"
#include "conf/conf.h"
#include "loop/loop.h"

#include <grapnel/module.h>

struct hook_table;   /* hook.c: immutable chains */
struct iq_table;     /* instance.c: (where, ns, name) -> handler */
struct provider_set; /* provider.c */

struct gr_host {
    struct table_node by_name;
    struct mod_loop *of;                /* its loop's */
    struct gr_jid *jid;                 /* the domain */
    bool served;                        /* false once the configuration dropped it */
    const struct conf *gen;             /* generation in force here (kept alive by mod/reload.c) */
    const struct conf_host *conf;       /* this host's part of it */
    struct hook_table *hooks;           /* host chains; never NULL */
    struct iq_table *iqs;
    struct provider_set *providers;
    struct link instances;              /* struct gr_mod.of_host, in start order */
    /* Counted since the start of the process; the loop's part of it. */
    uint64_t runs[GR_HOOK_COUNT + 1];   /* per hook; the last one: custom hooks */
    uint64_t stanzas_in, stanzas_out;   /* from and to clients */
};

/* What a loop knows; one per loop, reached through loop_self(). */
struct mod_loop {
    struct table hosts;                 /* struct gr_host.by_name */
    struct gr_host *first;              /* the first one configured; NULL: none yet */
    struct gr_host *found;              /* by the last host_find: mostly the next one's as well */
    struct hook_table *global;          /* the global chains; never NULL */
    const struct conf *gen;
    uint64_t reloads;
    struct link retired;                /* struct gr_mod.of_host: waiting for what is pending */
    struct link asks;                   /* provider calls in flight */
    bool stopping;                      /* nobody can hold a chain any more */
    uint64_t runs[GR_HOOK_COUNT];       /* of global chains */
    struct {
        struct gr_mod *_Atomic by;      /* at work; NULL: the core (usage.h) */
        _Atomic unsigned hook;          /* 1 + the enum gr_hook_id whose handler is called; 0: none */
        int64_t tick_ns;                /* when it was looked at */
        int64_t cpu_ns;
        int64_t waited_ns;              /* for a processor */
    } used;
};
/* Of the calling loop (the main loop has one without hosts); made at its first use. */
struct mod_loop *mod_loop(void);
/* Of the loop with that number; NULL: not made yet. While the loops run, or on their thread. */
struct mod_loop *mod_loop_at(int index);
/* A served host of this loop, or NULL. `domain` is prepared. */
struct gr_host *host_find(const char *domain);
/* Of this loop, served or not; made when it is new (not served then, and with empty tables). */
struct gr_host *host_get(const char *domain);
/* Frees what mod_stop_all has left of the loops' hosts. Main thread, when no loop runs any more. */
void hosts_fini(void);
/* The first configured host (the one whose certificate answers unknown names). */
struct gr_host *host_default(void);
