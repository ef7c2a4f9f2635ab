/* mod/usage.h: which module keeps the loop, and for how long.
 *
 * Calls into a module stand between usage_begin and usage_end. They may be nested: what one module
 * does in a call of another's is its own. check() has no instance and is not counted. Of the loop of
 * `self`, which must not be stopped. */
#pragma once

#include "mod/instance.h"

#include <stdatomic.h>
#include <time.h>

/* From here on self is at work, which counts as a call. Returns who was until now (NULL: the core),
 * for usage_end. */
struct gr_mod *usage_begin(struct gr_mod *self);
void usage_end(struct gr_mod *self, struct gr_mod *before);

/* Says that `by` has kept its loop for `slow` ns: outside a handler of a hook, which hook.c names. */
void usage_slow(const struct gr_mod *by, int64_t slow);

/* Who is at work, as this loop sees it, and who is from here on. Other threads may look (usage_seen). */
static inline struct gr_mod *usage_by(const struct mod_loop *ml)
{
    return atomic_load_explicit(&ml->used.by, memory_order_relaxed);
}
static inline void usage_set(struct mod_loop *ml, struct gr_mod *to)
{
    atomic_store_explicit(&ml->used.by, to, memory_order_release); /* with all that it has */
}

/* What the loop with that number does right now, for whoever watches it from outside. module "": the
 * core, or what is not counted; hook NULL: none. Any thread, while the loops run. */
struct usage_seen {
    char module[64];
    const char *hook; /* whose handler was called last and has not returned; static */
};
void usage_seen(int loop, struct usage_seen *seen);
/* An instance that is not at work is about to be freed: when this returns nobody looks at it any more.
 * On its loop. */
void usage_gone(void);

/* The clock has moved since the last look. What usage_turn returns. */
#define USAGE_SLOW_NS 5000000
int64_t usage_look(struct mod_loop *ml, int64_t now);

/* For several calls in a row, a look at the clock each: from here on `to` is at work (NULL: the core).
 * How long the loop was kept since the last look, in nanoseconds of which the thread was not waiting
 * for a processor: 0 unless that was too long (USAGE_SLOW_NS). */
static inline int64_t usage_turn(struct mod_loop *ml, struct gr_mod *to)
{
    struct timespec ts;
    int64_t now, slow = 0;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    now = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    if (now != ml->used.tick_ns)
        slow = usage_look(ml, now);
    usage_set(ml, to);
    return slow;
}
