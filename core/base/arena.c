/* base/arena.c: bump allocation in blocks that are freed together.
 *
 * Nothing is allocated before the first request. A request that does not fit the next regular
 * block gets a block of its own behind the current one, whose remaining room stays usable.
 * Strings are packed without alignment. An arena belongs to one thread at a time. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#define FIRST_SIZE 992 /* with its head no more than malloc keeps per thread */
#define BLOCK_MAX 32768

struct arena_block {
    struct arena_block *prev;
    size_t size, used; /* of mem[] */
    alignas(max_align_t) char mem[];
};

void arena_init(struct arena *a, size_t first_size)
{
    *a = (struct arena){ .next_size = first_size };
}

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b;

    /* Not gr_alloc: what is handed out is zeroed one piece at a time. */
    gr_assert(size <= SIZE_MAX / 2);
    b = gr_realloc(NULL, sizeof(*b) + size);
    b->prev = NULL;
    b->size = size;
    b->used = 0;
    return b;
}

/* A block with room for `size` bytes at any alignment; becomes the current one unless it is a
 * special order. */
static struct arena_block *block_for(struct arena *a, size_t size)
{
    size_t regular = a->next_size != 0 ? a->next_size : FIRST_SIZE;
    struct arena_block *b;

    if (size > regular && a->last != NULL) {
        b = block_new(size);
        b->prev = a->last->prev;
        a->last->prev = b;
        return b;
    }
    b = block_new(size > regular ? size : regular);
    b->prev = a->last;
    a->last = b;
    if (b->prev != NULL && regular < BLOCK_MAX)
        a->next_size = regular * 2 < BLOCK_MAX ? regular * 2 : BLOCK_MAX;
    return b;
}

static char *take(struct arena *a, size_t size, size_t align)
{
    struct arena_block *b = a->last;
    size_t at = 0;

    if (b != NULL)
        at = (b->used + align - 1) & ~(align - 1);
    if (b == NULL || at > b->size || size > b->size - at) {
        b = block_for(a, size);
        at = 0;
    }
    b->used = at + size;
    a->used += size;
    return b->mem + at;
}

void *arena_alloc(struct arena *a, size_t size)
{
    char *p = take(a, size, alignof(max_align_t));

    memset(p, 0, size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy;

    gr_assert(len < SIZE_MAX);
    copy = take(a, len + 1, 1);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256], *text;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    gr_assert(n >= 0);
    text = take(a, (size_t)n + 1, 1);
    if ((size_t)n < sizeof(small)) {
        memcpy(text, small, (size_t)n + 1);
        return text;
    }
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

void arena_fini(struct arena *a)
{
    while (a->last != NULL) {
        struct arena_block *b = a->last;
        a->last = b->prev;
        gr_free(b);
    }
    *a = (struct arena){ .last = NULL };
}
