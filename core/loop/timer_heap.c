/* loop/timer_heap.c: a loop's timers, earliest first. A heap of our own rather than libev's so that
 * tests can turn the clock. */
#include "loop/loop_internal.h"

static void put(struct timer_heap *h, int i, struct timer *t)
{
    h->at[i] = t;
    t->heap = i;
}

static void up(struct timer_heap *h, int i)
{
    struct timer *t = h->at[i];

    for (; i > 1 && h->at[i / 2]->due > t->due; i /= 2)
        put(h, i, h->at[i / 2]);
    put(h, i, t);
}

static void down(struct timer_heap *h, int i)
{
    struct timer *t = h->at[i];

    for (int child = 2 * i; child <= h->count; child = 2 * i) {
        if (child < h->count && h->at[child + 1]->due < h->at[child]->due)
            child++;
        if (t->due <= h->at[child]->due)
            break;
        put(h, i, h->at[child]);
        i = child;
    }
    put(h, i, t);
}

void timer_heap_add(struct timer_heap *h, struct timer *t)
{
    if (h->count + 1 >= h->cap) {
        h->cap = h->cap == 0 ? 16 : h->cap * 2;
        h->at = gr_realloc(h->at, (size_t)h->cap * sizeof(struct timer *));
    }
    put(h, ++h->count, t);
    up(h, h->count);
}

void timer_heap_remove(struct timer_heap *h, struct timer *t)
{
    int i = t->heap;
    struct timer *last = h->at[h->count--];

    gr_assert(h->at[i] == t);
    t->heap = 0;
    if (last == t)
        return;
    put(h, i, last);
    up(h, i);
    down(h, last->heap);
}

struct timer *timer_heap_first(const struct timer_heap *h)
{
    return h->count > 0 ? h->at[1] : NULL;
}

void timer_heap_fini(struct timer_heap *h)
{
    for (int i = 1; i <= h->count; i++)
        h->at[i]->heap = 0;
    gr_free(h->at);
    *h = (struct timer_heap){ 0 };
}
