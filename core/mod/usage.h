/* mod/usage.h: which module keeps the loop, and for how long.
 *
 * Calls into a module stand between usage_begin and usage_end. They may be nested: what one module
 * does in a call of another's is its own. start(), stop() and what goes with a reload are not
 * counted. Of the loop of `self`, which must not be stopped. */
#pragma once

#include "mod/instance.h"

#include <time.h>

/* From here on self is at work, which counts as a call. Returns who was until now (NULL: the core),
 * for usage_end. */
struct gr_mod *usage_begin(struct gr_mod *self);
void usage_end(struct gr_mod *self, struct gr_mod *before);
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
    ml->used.by = to;
    return slow;
}
