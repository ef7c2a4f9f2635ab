/* base/buf.h: a growing run of bytes, consumed from the front. Single-threaded per buffer; zeroed
 * is empty. Has no limit of its own: whoever fills it from a peer checks buf_len. */
#pragma once

#include <grapnel/base.h>

struct buf {
    char *mem;
    size_t start, end, cap; /* live bytes are mem[start..end) */
};

static inline size_t buf_len(const struct buf *b) { return b->end - b->start; }
/* Never NULL, so that memcpy(x, buf_data(b), buf_len(b)) is fine on a new buffer. */
static inline const char *buf_data(const struct buf *b)
{
    return b->mem != NULL ? b->mem + b->start : "";
}
char *buf_grow(struct buf *b, size_t want); /* buf_reserve when there is not enough room */
/* Room for at least `want` more bytes; returns where to write them (then buf_produced). */
static inline char *buf_reserve(struct buf *b, size_t want)
{
    return b->mem != NULL && b->cap - b->end >= want ? b->mem + b->end : buf_grow(b, want);
}
static inline void buf_produced(struct buf *b, size_t n) { b->end += n; }
void buf_append(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) GR_PRINTF(2, 3);
/* Drops n bytes from the front; an empty buffer keeps no more than 4 KiB. */
void buf_consume(struct buf *b, size_t n);
/* NUL-terminates (not counted in the length) and returns the text. */
const char *buf_str(struct buf *b);
void buf_fini(struct buf *b); /* frees; the struct is as new */
