/* base/clock.h: the clocks behind gr_wall_us and gr_now_ms, replaceable by the test harness. */
#pragma once

#include <grapnel/base.h>

/* Monotonic milliseconds straight from the system (or the virtual clock). Any thread. */
int64_t clock_monotonic_ms(void);
/* What gr_now_ms returns on this thread from now on; loops call it once per wake-up. A thread
 * that never did, or set -1, gets clock_monotonic_ms. */
void clock_set_loop_now(int64_t ms);
/* Virtual time for the whole process: both clocks stand still until told otherwise, and gr_now_ms
 * is the virtual one on every thread whatever its loop has set. ms < 0: real. */
void clock_set_virtual(int64_t monotonic_ms, int64_t wall_us);
