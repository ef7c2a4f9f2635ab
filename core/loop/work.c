/* loop/work.c: pool threads take jobs from one bounded queue and post them back to the loop that
 * asked. The lock is the pool's own; a job touches nothing but itself. */
#include "loop/work.h"

#include "loop/loop_internal.h"

#include <pthread.h>
#include <signal.h>

#define WORKERS_MAX 32

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct work *first, *last; /* chained through post.next */
    int waiting, max, threads;
    bool stop;
    pthread_t thread[WORKERS_MAX];
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static void finished(struct post *p)
{
    struct work *w = GR_CONTAINER_OF(p, struct work, post);

    w->done(w);
}

static void execute(struct work *w)
{
    w->run(w);
    w->post.run = finished;
    loop_post(w->origin, &w->post);
}

static struct work *next_job(void)
{
    struct work *w;

    pthread_mutex_lock(&pool.lock);
    while (pool.first == NULL && !pool.stop)
        pthread_cond_wait(&pool.more, &pool.lock);
    w = pool.first;
    if (w != NULL) {
        pool.first = w->post.next != NULL ? GR_CONTAINER_OF(w->post.next, struct work, post) : NULL;
        if (pool.first == NULL)
            pool.last = NULL;
        pool.waiting--;
    }
    pthread_mutex_unlock(&pool.lock);
    return w;
}

static void *worker(void *arg)
{
    struct work *w;

    (void)arg;
    pthread_setname_np(pthread_self(), "worker");
    while ((w = next_job()) != NULL)
        execute(w);
    return NULL;
}

void work_init(int threads, int queue_max)
{
    sigset_t all, before;

    gr_assert(threads >= 1 && threads <= WORKERS_MAX && pool.threads == 0);
    pool.max = queue_max;
    pool.stop = false;
    if (loop_is_virtual())
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (; pool.threads < threads; pool.threads++) {
        int err = pthread_create(&pool.thread[pool.threads], NULL, worker, NULL);
        gr_assert(err == 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void work_fini(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pthread_cond_broadcast(&pool.more);
    pthread_mutex_unlock(&pool.lock);
    for (; pool.threads > 0; pool.threads--)
        pthread_join(pool.thread[pool.threads - 1], NULL);
}

int work_submit(struct work *w)
{
    w->origin = loop_self();
    w->post.next = NULL;
    if (pool.threads == 0) { /* virtual time: the job takes none */
        execute(w);
        return 0;
    }
    pthread_mutex_lock(&pool.lock);
    if (pool.waiting >= pool.max) {
        pthread_mutex_unlock(&pool.lock);
        return GR_EAGAIN;
    }
    if (pool.last != NULL)
        pool.last->post.next = &w->post;
    else
        pool.first = w;
    pool.last = w;
    pool.waiting++;
    pthread_cond_signal(&pool.more);
    pthread_mutex_unlock(&pool.lock);
    return 0;
}
