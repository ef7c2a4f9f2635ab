/* mod/usage.c: the processor time of modules, and which of them keep their loop (usage.h).
 *
 * The tick clock costs a few nanoseconds and moves every 1 to 10 ms; only when it has moved what the
 * thread used since the last look is asked for, and goes to whoever is at work then. So the time of a
 * short call is right only as an average of many. Half a tick is added to the limit, so "slow" is right
 * to within one tick; waiting for a processor is not being slow, sleeping is. */
#include "mod/usage.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <grapnel/log.h>

static int64_t slow_ns(void)
{
    static _Atomic int64_t limit;
    struct timespec res;

    if (limit == 0) {
        clock_getres(CLOCK_MONOTONIC_COARSE, &res);
        limit = USAGE_SLOW_NS + res.tv_nsec / 2;
    }
    return limit;
}

/* What the thread has waited for a processor so far: the kernel counts "running waiting times" in a file
 * that stays open as long as the process. Where there is none, waiting looks like sleeping. */
static int64_t waited_ns(void)
{
    static _Thread_local int fd = -2;
    char text[96];
    long long waited = 0;
    ssize_t n;

    if (fd == -2)
        fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return sscanf(text, "%*s %lld", &waited) == 1 ? waited : 0;
}

int64_t usage_look(struct mod_loop *ml, int64_t now)
{
    int64_t took = now - ml->used.tick_ns, cpu = ml->used.cpu_ns, waited = ml->used.waited_ns;
    struct gr_mod *by = usage_by(ml);
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    ml->used.tick_ns = now;
    ml->used.cpu_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    ml->used.waited_ns = waited_ns();
    if (by != NULL)
        by->cpu_us += (uint64_t)(ml->used.cpu_ns - cpu) / 1000;
    took -= ml->used.waited_ns - waited;
    return took > slow_ns() ? took : 0;
}

void usage_slow(const struct gr_mod *by, int64_t slow)
{
    gr_warn("mod.slow", "%s%s of %s kept its loop for about %lld ms", by->image != NULL ? "mod_" : "",
            by->desc->name, by->host->jid->domain, (long long)(slow / 1000000));
}

static void turn(struct mod_loop *ml, struct gr_mod *by, struct gr_mod *to)
{
    int64_t slow = usage_turn(ml, to);

    if (slow > 0 && by != NULL)
        usage_slow(by, slow);
}

/* A module's own completion, in the middle of its call, changes nothing. */
struct gr_mod *usage_begin(struct gr_mod *self)
{
    struct mod_loop *ml = self->host->of;
    struct gr_mod *before = usage_by(ml);

    self->calls++;
    if (before != self)
        turn(ml, before, self);
    return before;
}

void usage_end(struct gr_mod *self, struct gr_mod *before)
{
    if (before != self)
        turn(self->host->of, self, before);
}

/* --- from outside --- */

/* Between looking at an instance and freeing it; instances go rarely, and nobody looks at those of a
 * loop that works as it should. */
static pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;

void usage_seen(int loop, struct usage_seen *seen)
{
    const struct mod_loop *ml = mod_loop_at(loop);
    unsigned hook = ml != NULL ? atomic_load_explicit(&ml->used.hook, memory_order_relaxed) : 0;
    const struct gr_mod *by;

    *seen = (struct usage_seen){ "", hook > 0 ? hook_name((enum gr_hook_id)(hook - 1)) : NULL };
    pthread_mutex_lock(&looking);
    by = ml != NULL ? atomic_load_explicit(&ml->used.by, memory_order_acquire) : NULL;
    if (by != NULL)
        snprintf(seen->module, sizeof(seen->module), "%s%s", by->image != NULL ? "mod_" : "",
                 by->desc->name);
    pthread_mutex_unlock(&looking);
}

void usage_gone(void)
{
    pthread_mutex_lock(&looking);
    pthread_mutex_unlock(&looking);
}
