/* base/clock.c: wall and monotonic time, real or virtual.
 *
 * Virtual time is process-wide and wins over what a loop has set, so a harness that moves it needs
 * no wake-up of the loop to make it seen. Any thread. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static atomic_bool is_virtual;
static _Atomic int64_t virtual_ms, virtual_wall_us;
static _Thread_local int64_t loop_now_ms = -1;

int64_t clock_monotonic_ms(void)
{
    struct timespec ts;

    if (atomic_load_explicit(&is_virtual, memory_order_acquire))
        return atomic_load(&virtual_ms);
    gr_assert(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void clock_set_loop_now(int64_t ms)
{
    loop_now_ms = ms;
}

void clock_set_virtual(int64_t monotonic_ms, int64_t wall_us)
{
    if (monotonic_ms >= 0) {
        atomic_store(&virtual_ms, monotonic_ms);
        atomic_store(&virtual_wall_us, wall_us);
    }
    atomic_store_explicit(&is_virtual, monotonic_ms >= 0, memory_order_release);
}

int64_t gr_now_ms(void)
{
    if (loop_now_ms < 0 || atomic_load_explicit(&is_virtual, memory_order_relaxed))
        return clock_monotonic_ms();
    return loop_now_ms;
}

int64_t gr_wall_us(void)
{
    struct timespec ts;

    if (atomic_load_explicit(&is_virtual, memory_order_acquire))
        return atomic_load(&virtual_wall_us);
    gr_assert(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
