/* store/commit.c: the queue from the loops and the thread that empties it (group commit).
 *
 * Whatever gathered during one commit is the next batch, up to 2000 operations or 4 MiB. By default
 * a commit that follows one with many operations begins two to eight milliseconds after that did, the
 * more the later: it costs some 100 us of CPU however small it is, and rows that share a page share
 * its cost. Otherwise nothing waits. When the environment fails nothing is tried again: an fsync that
 * failed once may lie the next time. */
#include "store/commit.h"

#include <grapnel/log.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum {
    BATCH_OPS = 2000, BATCH_BYTES = 4 * 1024 * 1024,
    SPACING_US = 2000, SPACING_MAX_US = 8000, BUSY_OPS = 16, STEP_OPS = 48,
    FULL_S = 1, IDLE_S = 60, /* how often to look for room; to do the engine's housekeeping */
};

static struct {
    struct engine *engine;
    void (*deliver)(struct store_txn *chain);
    void (*failed)(void);
    int64_t fixed_us;          /* between the starts of two commits; 0: it depends on the first */
    bool manual, broken;       /* broken: committer only */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle; /* something queued or stop; nothing queued nor under way */
    struct store_txn *head, **tail;
    bool stop, busy, asleep;
    struct store_txn **batch;  /* committer only */
    size_t batch_cap;
    time_t housekeeping;
} c = { .lock = PTHREAD_MUTEX_INITIALIZER };
static _Atomic size_t queued_bytes, queued_ops;
static _Atomic uint64_t map_used;
static atomic_bool has_failed;

int commit_reserve(const struct store_txn *t)
{
    size_t bytes = txn_size(t);

    if (atomic_fetch_add(&queued_bytes, bytes) + bytes <= TXN_BYTES_MAX) {
        if (atomic_fetch_add(&queued_ops, t->ops) + t->ops <= TXN_OPS_MAX)
            return 0;
        atomic_fetch_sub(&queued_ops, t->ops);
    }
    atomic_fetch_sub(&queued_bytes, bytes);
    return GR_EAGAIN;
}

bool commit_push(struct store_txn *take)
{
    bool asleep;

    take->next = NULL;
    pthread_mutex_lock(&c.lock);
    *c.tail = take;
    c.tail = &take->next;
    asleep = c.asleep;
    pthread_mutex_unlock(&c.lock);
    return asleep;
}

void commit_wake(void)
{
    pthread_mutex_lock(&c.lock);
    if (c.asleep) {
        c.asleep = false;
        pthread_cond_signal(&c.wake);
    }
    pthread_mutex_unlock(&c.lock);
}

/* The next batch off the queue, as a chain and in c.batch. Under the lock. */
static struct store_txn *take_batch(size_t *n)
{
    struct store_txn *first = c.head, **end = &c.head;
    size_t ops = 0, bytes = 0;

    *n = 0;
    while (*end != NULL && (*n == 0 || (ops + (*end)->ops <= BATCH_OPS &&
                                        bytes + txn_size(*end) <= BATCH_BYTES))) {
        ops += (*end)->ops;
        bytes += txn_size(*end);
        if (*n == c.batch_cap) {
            c.batch_cap = c.batch_cap > 0 ? c.batch_cap * 2 : 64;
            c.batch = gr_realloc(c.batch, c.batch_cap * sizeof(struct store_txn *));
        }
        c.batch[(*n)++] = *end;
        end = &(*end)->next;
    }
    c.head = *end;
    *end = NULL;
    if (c.head == NULL)
        c.tail = &c.head;
    return first;
}

/* Returns how many operations that were. */
static size_t run_batch(struct store_txn *chain, size_t n)
{
    size_t ops = 0, bytes = 0;
    bool failed = false;

    for (size_t i = 0; i < n; i++) {
        ops += c.batch[i]->ops;
        bytes += txn_size(c.batch[i]);
    }
    if (c.broken) {
        for (size_t i = 0; i < n; i++)
            txn_fail(c.batch[i], GR_EIO);
    } else {
        failed = c.broken = !batch_run(c.engine, c.batch, n);
        if (!c.broken)
            map_used = c.engine->ops->used(c.engine);
    }
    atomic_fetch_sub(&queued_ops, ops);
    atomic_fetch_sub(&queued_bytes, bytes);
    if (failed) {
        has_failed = true;
        if (c.failed != NULL)
            c.failed();
    }
    c.deliver(chain);
    return ops;
}

bool commit_step(void)
{
    struct store_txn *chain;
    size_t n;

    pthread_mutex_lock(&c.lock);
    chain = take_batch(&n);
    pthread_mutex_unlock(&c.lock);
    if (chain != NULL)
        run_batch(chain, n);
    return chain != NULL;
}

/* Until something is queued or it is time to look after things. Under the lock. */
static void sleep_locked(void)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += space_full() ? FULL_S : IDLE_S;
    c.asleep = true;
    pthread_cond_timedwait(&c.wake, &c.lock, &until);
    c.asleep = false;
}

static void look_after(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (c.broken)
        return;
    space_check();
    if (now.tv_sec - c.housekeeping >= IDLE_S) {
        c.housekeeping = now.tv_sec;
        c.engine->ops->idle(c.engine);
    }
}

/* How long after the start of a commit with so many operations the next one begins. */
static int64_t spacing_us(size_t ops)
{
    int64_t us = SPACING_US * (1 + (int64_t)(ops / STEP_OPS));

    if (c.fixed_us != 0)
        return c.fixed_us;
    return ops < BUSY_OPS ? 0 : us < SPACING_MAX_US ? us : SPACING_MAX_US;
}

static void keep_distance(struct timespec from, int64_t us)
{
    int64_t ns = from.tv_nsec + us % 1000000 * 1000;

    from.tv_sec += (time_t)(us / 1000000 + ns / 1000000000);
    from.tv_nsec = (long)(ns % 1000000000);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &from, NULL);
}

static void *committer(void *arg)
{
    struct store_txn *chain;
    struct timespec start;
    size_t n, ops = 0;
    bool stop;

    (void)arg;
    pthread_mutex_lock(&c.lock);
    for (;;) {
        chain = take_batch(&n);
        if (chain == NULL && c.stop)
            break;
        if (chain == NULL)
            sleep_locked();
        c.busy = chain != NULL;
        stop = c.stop;
        pthread_mutex_unlock(&c.lock);
        clock_gettime(CLOCK_MONOTONIC, &start);
        if (chain != NULL)
            ops = run_batch(chain, n);
        look_after();
        pthread_mutex_lock(&c.lock);
        c.busy = false;
        if (c.head == NULL)
            pthread_cond_broadcast(&c.idle);
        if (chain != NULL && spacing_us(ops) > 0 && !stop) {
            pthread_mutex_unlock(&c.lock);
            keep_distance(start, spacing_us(ops));
            pthread_mutex_lock(&c.lock);
        }
    }
    pthread_mutex_unlock(&c.lock);
    return NULL;
}

void commit_start(const struct store_opts *opts, struct engine *e,
                  void (*deliver)(struct store_txn *chain))
{
    pthread_condattr_t attr;
    sigset_t all, old;

    c.engine = e;
    c.deliver = deliver;
    c.failed = opts->failed;
    c.fixed_us = opts->commit_delay_us;
    c.manual = opts->manual;
    c.broken = c.stop = c.busy = c.asleep = false;
    c.head = NULL;
    c.tail = &c.head;
    c.housekeeping = 0;
    has_failed = false;
    map_used = e->ops->used(e);
    batch_stats.commits = batch_stats.ops = batch_stats.sync_us_last = 0;
    if (c.manual)
        return;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c.wake, &attr);
    pthread_cond_init(&c.idle, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    gr_assert(pthread_create(&c.thread, NULL, committer, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_setname_np(c.thread, "committer");
}

void commit_flush(void)
{
    gr_assert(!c.manual);
    commit_wake();
    pthread_mutex_lock(&c.lock);
    while (c.head != NULL || c.busy)
        pthread_cond_wait(&c.idle, &c.lock);
    pthread_mutex_unlock(&c.lock);
}

void commit_stop(void)
{
    if (c.manual) {
        while (commit_step()) {
        }
    } else {
        pthread_mutex_lock(&c.lock);
        c.stop = true;
        pthread_cond_signal(&c.wake);
        pthread_mutex_unlock(&c.lock);
        pthread_join(c.thread, NULL);
        pthread_cond_destroy(&c.wake);
        pthread_cond_destroy(&c.idle);
    }
    gr_free(c.batch);
    c.batch = NULL;
    c.batch_cap = 0;
    c.engine = NULL;
}

void commit_stats(struct store_stats *out)
{
    out->commits = batch_stats.commits;
    out->ops = batch_stats.ops;
    out->sync_us_last = batch_stats.sync_us_last;
    out->queue_bytes = queued_bytes;
    out->map_used = map_used;
    out->failed = has_failed;
}
