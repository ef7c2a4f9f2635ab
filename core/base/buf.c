/* base/buf.c: a growing run of bytes for input, output and text under construction.
 *
 * Consumed bytes in front are reclaimed when moving the rest costs no more than what was consumed,
 * so every byte is moved a bounded number of times. */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#define KEEP_MAX 4096
#define FIRST_CAP 128

char *buf_grow(struct buf *b, size_t want)
{
    size_t len = buf_len(b), cap;
    char *mem;

    gr_assert(want <= SIZE_MAX / 4 && len <= SIZE_MAX / 4);
    if (b->start >= len && b->cap >= len + want && b->mem != NULL) {
        memmove(b->mem, b->mem + b->start, len);
    } else {
        cap = b->cap > FIRST_CAP ? b->cap : FIRST_CAP;
        while (cap < len + want)
            cap *= 2;
        mem = gr_realloc(NULL, cap);
        if (len > 0)
            memcpy(mem, b->mem + b->start, len); /* NOLINT: len > 0 means that b->mem is there */
        gr_free(b->mem);
        b->mem = mem;
        b->cap = cap;
    }
    b->start = 0;
    b->end = len;
    return b->mem + len;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(buf_reserve(b, len), data, len);
    b->end += len;
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    size_t room;
    int n;

    buf_reserve(b, 64);
    room = b->cap - b->end;
    va_start(ap, fmt);
    n = vsnprintf(b->mem + b->end, room, fmt, ap);
    va_end(ap);
    gr_assert(n >= 0);
    if ((size_t)n >= room) {
        buf_reserve(b, (size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf(b->mem + b->end, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    b->end += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
    gr_assert(n <= buf_len(b));
    b->start += n;
    if (b->start < b->end)
        return;
    b->start = b->end = 0;
    if (b->cap > KEEP_MAX)
        buf_fini(b);
}

const char *buf_str(struct buf *b)
{
    *buf_reserve(b, 1) = '\0';
    return b->mem + b->start;
}

void buf_fini(struct buf *b)
{
    gr_free(b->mem);
    *b = (struct buf){ .mem = NULL };
}
