/* loop/loop_internal.h: the timer heap; implemented in timer_heap.c. */
#pragma once

#include "loop/loop.h"

struct timer_heap {
    struct timer **at; /* 1-based binary heap on `due`; at[0] unused */
    int count, cap;
};
void timer_heap_add(struct timer_heap *h, struct timer *t);
void timer_heap_remove(struct timer_heap *h, struct timer *t);
struct timer *timer_heap_first(const struct timer_heap *h); /* NULL: empty */
void timer_heap_fini(struct timer_heap *h);
