/* watchdog.c: a thread that looks at the loops from outside.
 *
 * A handler that never returns takes its loop away from all the accounts that live there, without a
 * word. The main thread cannot tell: it waits for the loops itself, in a reload and in most commands. So
 * this is a thread of its own. It counts its own looks, not the time: when the whole process stands still
 * (SIGSTOP, a suspended machine), no loop is to blame. A sleeping loop is not woken.
 *
 * Nor can the main thread stop a server of which a loop is stuck, so the end of the process is up to this
 * thread then. Nothing acknowledged is lost: acknowledgements leave after their commits, and the committer
 * has gone on meanwhile. */
#include "watchdog.h"

#include "loop/loop.h"
#include "mod/usage.h"

#include <grapnel/log.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOOKS 5               /* at the same thing, and it is stuck */
#define END_LOOKS (3 * LOOKS) /* after a stop was asked for: no longer waits for what is stuck */

struct watched {
    uint64_t turns;
    int64_t looks; /* that found it where it was */
};

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool runs, stop;
    int64_t step_ms;
    struct watched of[LOOPS_MAX + 1]; /* the main loop's is the first */
    atomic_int stopping;              /* enum watchdog_stop */
    int64_t stop_looks;               /* since it was asked for */
} dog = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };

/* "mod_x, hook y", or who else is at work on that loop. */
static void describe(int loop, char *text, size_t size)
{
    struct usage_seen seen;

    usage_seen(loop, &seen);
    snprintf(text, size, "%s%s%s", *seen.module != '\0' ? seen.module : "the core",
             seen.hook != NULL ? ", hook " : "", seen.hook != NULL ? seen.hook : "");
}

static void report(int loop, int64_t looks)
{
    long long ms = looks * dog.step_ms;
    char where[160];

    if (loop < 0) {
        gr_error("loop.stuck", "the main thread has been at one thing for %lld ms: commands, reloads and "
                 "the end of the server wait for it, as it may for a loop", ms);
        return;
    }
    describe(loop, where, sizeof(where));
    gr_error("loop.stuck", "loop %d has been at one thing for %lld ms, in %s: its accounts are not "
             "served meanwhile", loop, ms, where);
}

static void report_back(int loop, int64_t looks)
{
    long long ms = looks * dog.step_ms;

    if (loop < 0)
        gr_info("loop.back", "the main thread goes on after more than %lld ms", ms);
    else
        gr_info("loop.back", "loop %d goes on after more than %lld ms", loop, ms);
}

static void look(int loop)
{
    struct watched *w = &dog.of[loop + 1];
    uint64_t turns = loop_turns(loop < 0 ? loop_main() : loop_at(loop));

    if (turns == w->turns && turns % 2 == 1) {
        if (++w->looks == LOOKS)
            report(loop, w->looks);
        return;
    }
    if (w->looks >= LOOKS)
        report_back(loop, w->looks);
    *w = (struct watched){ turns, 0 };
}

/* --- a stop that does not come to its end --- */

void watchdog_stopping(enum watchdog_stop how)
{
    int now = atomic_load(&dog.stopping);

    while (now < (int)how && !atomic_compare_exchange_weak(&dog.stopping, &now, (int)how))
        ;
}

static void look_at_stop(void)
{
    int how = atomic_load(&dog.stopping);
    char where[160] = "the main thread";
    int loop = 0;

    if (how == WATCHDOG_NO_STOP || ++dog.stop_looks < END_LOOKS)
        return;
    while (loop < loop_count() && dog.of[loop + 1].looks < LOOKS)
        loop++;
    if (loop < loop_count())
        describe(loop, where, sizeof(where));
    else if (how == WATCHDOG_STOP_BEGUN)
        return; /* it takes its time, for the commits for example */
    gr_error("server.given_up", "the stop that was asked for %lld ms ago has to wait for %s: the process "
             "ends without; whatever was acknowledged is kept",
             (long long)(dog.stop_looks * dog.step_ms), where);
    _exit(1);
}

/* False: it is time to end this thread. */
static bool wait_a_step(void)
{
    struct timespec until;
    int64_t ns;
    bool stop;

    clock_gettime(CLOCK_MONOTONIC, &until);
    ns = until.tv_nsec + dog.step_ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&dog.lock);
    while (!dog.stop &&
           pthread_cond_clockwait(&dog.wake, &dog.lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    stop = dog.stop;
    pthread_mutex_unlock(&dog.lock);
    return !stop;
}

static void *watch(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "watchdog");
    while (wait_a_step()) {
        for (int i = -1; i < loop_count(); i++)
            look(i);
        look_at_stop();
    }
    return NULL;
}

void watchdog_start(int64_t limit_ms)
{
    sigset_t all, before;
    int err;

    gr_assert(!dog.runs && limit_ms >= LOOKS);
    dog.step_ms = limit_ms / LOOKS;
    dog.stop = false;
    dog.stop_looks = 0;
    for (int i = 0; i <= LOOPS_MAX; i++)
        dog.of[i] = (struct watched){ 0, 0 };
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    err = pthread_create(&dog.thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        gr_warn("loop.unwatched", "no thread for the watchdog: stuck loops will not be reported");
    dog.runs = err == 0;
}

void watchdog_stop(void)
{
    if (!dog.runs)
        return;
    pthread_mutex_lock(&dog.lock);
    dog.stop = true;
    pthread_cond_signal(&dog.wake);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(dog.thread, NULL);
    dog.runs = false;
}
