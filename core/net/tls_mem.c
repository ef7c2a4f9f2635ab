/* net/tls_mem.c: OpenSSL's memory, with a few record buffers kept per thread.
 *
 * SSL_MODE_RELEASE_BUFFERS saves 33 KB per idle session, and makes and frees a buffer of 17 KB for
 * every record. The thread's cache of malloc holds no such blocks, and freeing one at the end of the
 * heap makes malloc tidy up all of it. A session has a buffer only within one call of SSL_read or
 * SSL_write (or while half a record is there), so a thread rarely needs more than one at a time.
 *
 * What a kept block was used for stays in it until it is used again, as with any freed memory. */
#include "net/tls.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

/* Read buffers ask for 16.3 KB, write buffers for a little less. */
#define BLOCK_MIN ((size_t)16 * 1024)
#define BLOCK     ((size_t)17 * 1024)
#define KEPT_MAX  2

struct kept {
    void *block[KEPT_MAX];
    int count;
    bool cared_for; /* free_kept comes when the thread ends */
};

static _Thread_local struct kept kept;
static pthread_key_t at_thread_end;

static void *take(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    if (size <= BLOCK_MIN || size > BLOCK)
        return size > 0 ? malloc(size) : NULL;
    return kept.count > 0 ? kept.block[--kept.count] : malloc(BLOCK);
}

static void give_back(void *p, const char *file, int line)
{
    size_t size;

    (void)file, (void)line;
    if (p == NULL)
        return;
    size = malloc_usable_size(p);
    if (size < BLOCK || size > BLOCK + 64 || kept.count == KEPT_MAX ||
        (!kept.cared_for && pthread_setspecific(at_thread_end, &kept) != 0)) {
        free(p);
    } else {
        kept.cared_for = true;
        kept.block[kept.count++] = p;
    }
}

static void *resize(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return realloc(p, size);
}

static void free_kept(void *arg)
{
    struct kept *k = arg;

    k->cared_for = false; /* OpenSSL's own cleanup may come after this one */
    while (k->count > 0)
        free(k->block[--k->count]);
}

bool tls_keep_buffers(void)
{
    return pthread_key_create(&at_thread_end, free_kept) == 0 &&
           CRYPTO_set_mem_functions(take, resize, give_back) == 1;
}
