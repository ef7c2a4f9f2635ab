/* base/mem.c: memory, small strings, secrets, result codes, and the end of a broken promise.
 *
 * Small allocations have no failure path: a server that cannot get a few hundred bytes cannot
 * answer either, so they stop the process with a line on stderr. Sizes a peer chooses go through
 * gr_try_alloc. Everything here may be called on any thread. */
#include <grapnel/base.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL 1024

static _Noreturn void out_of_memory(size_t size)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "out of memory (%zu bytes)\n", size);

    ssize_t written = write(STDERR_FILENO, line, n > 0 ? (size_t)n : 0);
    (void)written; /* nothing is left to do when even stderr fails */
    /* SIGABRT as if sent: no code is to blame (mod/trial.h). abort() is for who blocks it. */
    pthread_sigqueue(pthread_self(), SIGABRT, (union sigval){ 0 });
    abort();
}

void gr_assert_failed(const char *expr, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s:%d: assertion failed: %s\n", file, line, expr);
    size_t len = n < 0 ? 0 : (size_t)n;

    if (len >= sizeof(text)) {
        len = sizeof(text) - 1;
        text[len - 1] = '\n';
    }
    if (write(STDERR_FILENO, text, len) < 0)
        abort();
    abort();
}

const char *gr_strerror(int err)
{
    switch (err) {
    case GR_E_OK: return "success";
    case GR_ENOMEM: return "out of memory";
    case GR_EINVAL: return "malformed input";
    case GR_EFULL: return "storage is full";
    case GR_EIO: return "input/output error";
    case GR_ENOENT: return "not found";
    case GR_EEXIST: return "exists already";
    case GR_EAGAIN: return "busy, try again later";
    case GR_ECANCELED: return "canceled";
    case GR_ELIMIT: return "over a limit";
    case GR_ENOTSUP: return "not supported";
    }
    return err > 0 ? "success" : "unknown error";
}

/* By itself, or compilers turn it and the memset below into calloc. */
static __attribute__((noinline)) void *small_block(size_t size)
{
    return malloc(size);
}

/* free puts small blocks into a cache per thread, where glibc's calloc before 2.41 does not look. */
void *gr_try_alloc(size_t size)
{
    void *p;

    if (size > SMALL)
        return calloc(1, size);
    p = small_block(size == 0 ? 1 : size);
    return p != NULL ? memset(p, 0, size) : NULL;
}

void *gr_alloc(size_t size)
{
    void *p = gr_try_alloc(size);

    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *gr_realloc(void *take, size_t size)
{
    void *p = realloc(take, size == 0 ? 1 : size);

    if (p == NULL)
        out_of_memory(size);
    return p;
}

void gr_free(void *take)
{
    free(take);
}

char *gr_strndup(const char *s, size_t len)
{
    size_t n = strnlen(s, len);
    char *copy = gr_alloc(n + 1);

    memcpy(copy, s, n);
    return copy;
}

char *gr_strdup(const char *s)
{
    return gr_strndup(s, strlen(s));
}

char *gr_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(0);
    return text;
}

void gr_wipe(void *p, size_t len)
{
    if (len > 0)
        explicit_bzero(p, len);
}

bool gr_equal_secret(const void *a, const void *b, size_t len)
{
    /* volatile: the loop may neither stop early nor become a memcmp. */
    const volatile uint8_t *x = a, *y = b;
    uint8_t diff = 0;

    for (size_t i = 0; i < len; i++)
        diff |= (uint8_t)(x[i] ^ y[i]);
    return diff == 0;
}
