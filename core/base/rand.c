/* base/rand.c: unpredictable bytes and ids from the kernel's generator.
 *
 * Small requests are served from a pool per thread, since a system call per id is most of its
 * cost. Used bytes are wiped, and a forked child starts with an empty pool. Any thread. */
#include <grapnel/base.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define POOL_SIZE 512
#define POOLED_MAX 64

static _Thread_local struct {
    uint8_t bytes[POOL_SIZE];
    size_t left; /* unused bytes, at the end */
} pool;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* Blocks until the kernel's generator is seeded, which is over before any service starts. */
static void from_kernel(void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        gr_assert(n > 0 || (n < 0 && errno == EINTR)); /* no randomness: no server */
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

/* Only the forking thread lives on in the child, so its pool is the only one to drop. */
static void drop_pool(void)
{
    gr_wipe(&pool, sizeof(pool));
}

static void watch_forks(void)
{
    gr_assert(pthread_atfork(NULL, NULL, drop_pool) == 0);
}

void gr_random(void *out, size_t len)
{
    uint8_t *from;

    if (len > POOLED_MAX) {
        from_kernel(out, len);
        return;
    }
    if (len == 0)
        return;
    if (pool.left < len) {
        pthread_once(&fork_once, watch_forks);
        from_kernel(pool.bytes, POOL_SIZE);
        pool.left = POOL_SIZE;
    }
    from = pool.bytes + POOL_SIZE - pool.left;
    memcpy(out, from, len);
    gr_wipe(from, len);
    pool.left -= len;
}

void gr_random_id(char out[GR_ID_SIZE])
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t bytes[20];
    size_t have = 0;

    /* 252 is the largest multiple of 36 in a byte: larger ones would favour the first letters. */
    for (size_t i = 0; i < GR_ID_SIZE - 1;) {
        if (have == 0) {
            gr_random(bytes, sizeof(bytes));
            have = sizeof(bytes);
        }
        if (bytes[--have] < 252)
            out[i++] = alphabet[bytes[have] % 36];
    }
    out[GR_ID_SIZE - 1] = '\0';
}
