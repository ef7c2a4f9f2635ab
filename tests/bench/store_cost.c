/* tests/bench/store_cost.c: durable messages: what the store alone does with 300-byte rows
 * appended to per-account logs, each counted when its commit is synced. Real loop thread, real
 * committer.
 *
 *     store_cost DIR RATE SECONDS     RATE 0: as fast as WINDOW in flight allow
 * prints: messages/s, p50 and p99 in microseconds, CPU per message of the whole process; floor: the
 * median of what any commit costs there, 16 KiB over old data, a sync, and a small synced write */
#include "loop/loop.h"
#include "store/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OWNERS = 10000, SIZE = 300, SLOTS = 20000, WINDOW = 4000 };

struct slot {
    struct store_req req;
    struct slot *next;
    int64_t start;
};

static struct slot slots[SLOTS], *spare;
static struct store_coll *coll;
static struct timer tick;
static struct post begin;
static int64_t started, ends, last, *took;
static size_t done_count, issued, failed, in_flight;
static double rate, owed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;
static bool over;

enum { SAMPLES = 1 << 23 };

static int64_t clock_of(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void issue(void);

static void on_done(struct store_req *req)
{
    struct slot *s = GR_CONTAINER_OF(req, struct slot, req);

    failed += req->rows.rc != 0;
    if (done_count < SAMPLES)
        took[done_count] = clock_of(CLOCK_MONOTONIC) - s->start;
    done_count++;
    in_flight--;
    s->next = spare;
    spare = s;
    if (rate <= 0 && clock_of(CLOCK_MONOTONIC) < ends)
        issue();
}

static void issue(void)
{
    static uint8_t row[SIZE];
    char owner[64];
    struct slot *s = spare;
    struct store_txn *t;

    if (s == NULL)
        return;
    spare = s->next;
    memset(&s->req, 0, sizeof(s->req));
    s->req.done = on_done;
    s->start = clock_of(CLOCK_MONOTONIC);
    snprintf(owner, sizeof(owner), "u%zu@localhost", issued++ * 7919 % OWNERS);
    t = store_txn_new();
    store_txn_add(t, STORE_APPEND, coll, owner, NULL, 0, row, sizeof(row));
    in_flight++;
    store_commit(t, &s->req);
}

static void on_tick(struct timer *t)
{
    int64_t now = clock_of(CLOCK_MONOTONIC);

    if (now < ends) {
        owed += (double)(now - last) / 1e9 * rate;
        last = now;
        for (; rate > 0 && owed >= 1; owed--)
            issue();
    } else if (in_flight == 0) {
        pthread_mutex_lock(&lock);
        over = true;
        pthread_cond_signal(&finished);
        pthread_mutex_unlock(&lock);
        return;
    }
    timer_start(t, 1, on_tick);
}

static void on_begin(struct post *p)
{
    (void)p;
    last = clock_of(CLOCK_MONOTONIC);
    for (int i = 0; i < WINDOW && rate <= 0; i++)
        issue();
    timer_start(&tick, 1, on_tick);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static double floor_us(const char *dir)
{
    enum { TIMES = 200, BLOCK = 16384, BLOCKS = 16 };
    static char block[BLOCK];
    int64_t took_ns[TIMES];
    char path[4096];
    int fd, meta;

    snprintf(path, sizeof(path), "%s/floor", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    meta = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
    for (int i = 0; i < BLOCKS; i++)
        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK)
            return -1;
    fsync(fd);
    for (int i = 0; i < TIMES; i++) {
        int64_t start = clock_of(CLOCK_MONOTONIC);

        if (pwrite(fd, block, BLOCK, (off_t)(1 + i % (BLOCKS - 1)) * BLOCK) != BLOCK ||
            fdatasync(fd) != 0 || pwrite(meta, block, 150, 0) != 150)
            return -1;
        took_ns[i] = clock_of(CLOCK_MONOTONIC) - start;
    }
    close(fd);
    close(meta);
    unlink(path);
    qsort(took_ns, TIMES, sizeof(*took_ns), compare);
    return (double)took_ns[TIMES / 2] / 1e3;
}

int main(int argc, char **argv)
{
    struct store_opts opts = { .sync = true, .map_size = (size_t)64 << 30 };
    char *why = NULL;

    if (argc < 4)
        return 2;
    mkdir(argv[1], 0700);
    opts.dir = argv[1];
    rate = atof(argv[2]);
    took = malloc(SAMPLES * sizeof(*took));
    for (int i = 0; i < SLOTS; i++) {
        slots[i].next = spare;
        spare = &slots[i];
    }
    double lowest = floor_us(argv[1]);
    loops_init(1, false);
    if (store_open(&opts, &why) != 0) {
        fprintf(stderr, "store_cost: %s\n", why);
        return 1;
    }
    coll = store_coll("bench", GR_COLL_LOG);
    started = clock_of(CLOCK_MONOTONIC);
    ends = started + (int64_t)(atof(argv[3]) * 1e9);
    int64_t cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    begin.run = on_begin;
    loop_post(loop_at(0), &begin);
    loops_start();
    pthread_mutex_lock(&lock);
    while (!over)
        pthread_cond_wait(&finished, &lock);
    pthread_mutex_unlock(&lock);
    double seconds = (double)(clock_of(CLOCK_MONOTONIC) - started) / 1e9;
    cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    struct store_stats st;
    store_stats(&st);
    store_close();
    loops_stop();
    loops_fini();
    size_t n = done_count < SAMPLES ? done_count : SAMPLES;
    qsort(took, n, sizeof(*took), compare);
    if (n == 0 || failed > 0)
        return 1;
    printf("{\"per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_us\": %.2f, "
           "\"commits_per_s\": %.0f, \"floor_us\": %.1f}\n",
           (double)done_count / seconds, (double)took[n / 2] / 1e3,
           (double)took[n * 99 / 100] / 1e3, (double)cpu / 1e3 / (double)done_count,
           (double)st.commits / seconds, lowest);
    return 0;
}
