/* grapnel/record.h: stored records as bytes.
 *
 * Numbers are big-endian, so that keys made of them sort by number. A record begins with a version
 * byte of the module's own (gr_write_u8), which a later version can tell from its own.
 *
 * Neither side has to check each step: the first thing that does not fit sets `failed`, after which
 * nothing more is written, and everything read is 0 or empty. Ask once at the end: gr_writer_take,
 * gr_read_done. Any thread; one thread at a time per struct. */
#pragma once

#include <grapnel/base.h>

/* --- writing --- */

struct gr_writer {
    uint8_t *data;           /* gr_alloc'ed, or the caller's (gr_writer_on) */
    size_t len, size;        /* written; room in data */
    bool fixed, failed;
};

/* Grows as needed; `expected` bytes are there from the start. Ends with gr_writer_take. */
GR_API struct gr_writer gr_writer_new(size_t expected);
/* Writes into the caller's buffer, and fails where that ends. Nothing to free. */
GR_API struct gr_writer gr_writer_on(void *buf, size_t size);

GR_API void gr_write_u8(struct gr_writer *w, uint8_t v);
GR_API void gr_write_u16(struct gr_writer *w, uint16_t v);
GR_API void gr_write_u32(struct gr_writer *w, uint32_t v);
GR_API void gr_write_u64(struct gr_writer *w, uint64_t v);
GR_API void gr_write_i64(struct gr_writer *w, int64_t v); /* two's complement */
/* As they are; `data` may be NULL when len is 0. */
GR_API void gr_write_bytes(struct gr_writer *w, const void *data, size_t len);
/* Length (4 bytes), then the bytes. */
GR_API void gr_write_blob(struct gr_writer *w, const void *data, size_t len);
/* Length (2 bytes), then the text without its NUL; NULL is written as "". Longer than 65535 bytes:
 * fails. */
GR_API void gr_write_str(struct gr_writer *w, const char *s);

/* The bytes of gr_writer_new, which the caller frees (gr_free), and their number; NULL when
 * something failed. */
GR_API void *gr_writer_take(struct gr_writer *w, size_t *len);

/* --- reading --- */

struct gr_reader {
    const uint8_t *at, *end; /* what is left */
    bool failed;
};

/* Borrows the bytes; so do the pointers that it hands out, none of which is ever NULL. `data` may
 * be NULL when len is 0. */
GR_API struct gr_reader gr_reader_of(const void *data, size_t len);

GR_API uint8_t gr_read_u8(struct gr_reader *r);
GR_API uint16_t gr_read_u16(struct gr_reader *r);
GR_API uint32_t gr_read_u32(struct gr_reader *r);
GR_API uint64_t gr_read_u64(struct gr_reader *r);
GR_API int64_t gr_read_i64(struct gr_reader *r);
/* Copies `len` bytes out; zeroes after a failure. */
GR_API void gr_read_bytes(struct gr_reader *r, void *out, size_t len);
/* Each gives as many bytes as *len says: 0 after a failure. Texts are not NUL-terminated
 * (gr_strndup); one with a NUL inside fails. */
GR_API const void *gr_read_blob(struct gr_reader *r, size_t *len);
GR_API const char *gr_read_str(struct gr_reader *r, size_t *len);
/* What is left, as bytes / as text. */
GR_API const void *gr_read_rest(struct gr_reader *r, size_t *len);
GR_API const char *gr_read_rest_str(struct gr_reader *r, size_t *len);

/* All of it was read, and nothing failed. */
GR_API bool gr_read_done(const struct gr_reader *r);

/* --- a number as a key --- */

GR_API void gr_put_u64(uint8_t out[8], uint64_t v);
GR_API uint64_t gr_get_u64(const void *in); /* 8 bytes */
