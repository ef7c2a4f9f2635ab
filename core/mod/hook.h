/* mod/hook.h: running chains. Tables are immutable and belong to one loop; a reload exchanges the
 * pointer between two events and frees the old one when no run refers to it any more. */
#pragma once

#include "mod/acc.h"
#include "mod/host.h"

struct hook_handler {
    struct gr_mod *self; /* alive: counts the table in its `tables` */
    int prio;
    union gr_hook_fn fn;
};
struct hook_chain {
    unsigned count;
    const struct gr_mod *only; /* whose handlers all are; NULL: of several */
    struct hook_handler handlers[];
};
struct hook_custom {
    struct table_node by_name;
    struct hook_chain *chain;
    char name[];
};
struct hook_table {
    unsigned refs;                                 /* the host or mod_loop, and running chains */
    struct hook_chain *chain[GR_HOOK_COUNT];       /* NULL: empty */
    struct table custom;                           /* module-defined names */
    struct gr_mod **selfs;                         /* each once */
    unsigned self_count;
};
const char *hook_name(enum gr_hook_id id);
bool hook_is_global(enum gr_hook_id id);

static inline bool hook_empty(const struct gr_host *host, enum gr_hook_id id)
{
    return host->hooks->chain[id] == NULL;
}

/* Runs a host chain (ev->host says whose) or, for hooks of scope G, the global one. `done` is called
 * exactly once, perhaps before this returns; from a resumed hold otherwise. ev stays valid until then
 * (heap, when any handler may pend). Never re-entered for the same ev.
 *
 * A gr_stanza_ev's stanza is one reference of the caller's: a handler that changes or replaces it
 * exchanges the reference, so that the caller owns whatever ev->stanza is when done is called. from
 * and to may point into the stanza; after an exchange they point into the accumulator. */
typedef void (*hook_done_f)(struct gr_ev *ev, enum gr_verdict verdict);
void hook_run(enum gr_hook_id id, struct gr_ev *ev, hook_done_f done);
/* For hooks that cannot pend: returns the verdict. A GR_PENDING there counts as a failed handler. */
enum gr_verdict hook_run_now(enum gr_hook_id id, struct gr_ev *ev);

/* Building: instance.c collects handlers, build sorts them (stable by priority). */
struct hook_builder;
struct hook_builder *hook_builder_new(void);
void hook_builder_add(struct hook_builder *b, struct gr_mod *self, const struct gr_hook *hooks,
                      bool global); /* takes those of the given scope */
struct hook_table *hook_builder_finish(struct hook_builder **take);
struct hook_table *hook_table_ref(struct hook_table *t);
void hook_table_unref(struct hook_table **take);
/* Holds that `self` has taken and not resumed; resumed with GR_FAIL by hook_drop_holds. */
unsigned hook_holds(const struct gr_mod *self);
void hook_drop_holds(struct gr_mod *self);
/* For `grapnelctl hooks HOST`: every handler of a table, chain by chain. */
void hook_each(const struct hook_table *t, void (*f)(void *ctx, const char *hook, int prio,
                                                     const struct gr_mod *self), void *ctx);
