/* base/record.c: stored records as bytes. Every write goes through room(), every read through
 * take(): these two are all that has to be right about bounds. */
#include <grapnel/record.h>

#include <endian.h>
#include <string.h>

/* --- writing --- */

struct gr_writer gr_writer_new(size_t expected)
{
    return (struct gr_writer){ .data = gr_alloc(expected > 0 ? expected : 1), .size = expected };
}

struct gr_writer gr_writer_on(void *buf, size_t size)
{
    return (struct gr_writer){ .data = buf, .size = size, .fixed = true };
}

/* Where the next `len` bytes go; NULL: nowhere. */
static uint8_t *room(struct gr_writer *w, size_t len)
{
    uint8_t *at;

    w->failed = w->failed || len > SIZE_MAX / 4 || (w->fixed && len > w->size - w->len);
    if (w->failed)
        return NULL;
    if (len > w->size - w->len) {
        w->size = 2 * w->size > w->len + len ? 2 * w->size : w->len + len;
        w->data = gr_realloc(w->data, w->size);
    }
    at = w->data + w->len;
    w->len += len;
    return at;
}

void gr_write_bytes(struct gr_writer *w, const void *data, size_t len)
{
    uint8_t *at = room(w, len);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
}

void gr_write_u8(struct gr_writer *w, uint8_t v)
{
    gr_write_bytes(w, &v, sizeof(v));
}

void gr_write_u16(struct gr_writer *w, uint16_t v)
{
    v = htobe16(v);
    gr_write_bytes(w, &v, sizeof(v));
}

void gr_write_u32(struct gr_writer *w, uint32_t v)
{
    v = htobe32(v);
    gr_write_bytes(w, &v, sizeof(v));
}

void gr_write_u64(struct gr_writer *w, uint64_t v)
{
    v = htobe64(v);
    gr_write_bytes(w, &v, sizeof(v));
}

void gr_write_i64(struct gr_writer *w, int64_t v)
{
    gr_write_u64(w, (uint64_t)v);
}

void gr_write_blob(struct gr_writer *w, const void *data, size_t len)
{
    w->failed = w->failed || len > UINT32_MAX;
    gr_write_u32(w, (uint32_t)len);
    gr_write_bytes(w, data, len);
}

void gr_write_str(struct gr_writer *w, const char *s)
{
    size_t len = s != NULL ? strlen(s) : 0;

    w->failed = w->failed || len > UINT16_MAX;
    gr_write_u16(w, (uint16_t)len);
    gr_write_bytes(w, s, len);
}

void *gr_writer_take(struct gr_writer *w, size_t *len)
{
    void *data = w->data;

    gr_assert(!w->fixed);
    if (w->failed) {
        gr_free(data);
        data = NULL;
    }
    *len = data != NULL ? w->len : 0;
    *w = (struct gr_writer){ .failed = true };
    return data;
}

/* --- reading --- */

struct gr_reader gr_reader_of(const void *data, size_t len)
{
    if (data == NULL)
        return gr_reader_of("", 0);
    return (struct gr_reader){ .at = data, .end = (const uint8_t *)data + len };
}

/* The next `len` bytes; NULL: there are not as many. */
static const uint8_t *take(struct gr_reader *r, size_t len)
{
    const uint8_t *at = r->at;

    r->failed = r->failed || len > (size_t)(r->end - at);
    if (r->failed)
        return NULL;
    r->at += len;
    return at;
}

void gr_read_bytes(struct gr_reader *r, void *out, size_t len)
{
    const uint8_t *at = take(r, len);

    if (at != NULL && len > 0)
        memcpy(out, at, len);
    else if (len > 0)
        memset(out, 0, len);
}

uint8_t gr_read_u8(struct gr_reader *r)
{
    const uint8_t *at = take(r, 1);

    return at != NULL ? *at : 0;
}

uint16_t gr_read_u16(struct gr_reader *r)
{
    uint16_t v;

    gr_read_bytes(r, &v, sizeof(v));
    return be16toh(v);
}

uint32_t gr_read_u32(struct gr_reader *r)
{
    uint32_t v;

    gr_read_bytes(r, &v, sizeof(v));
    return be32toh(v);
}

uint64_t gr_read_u64(struct gr_reader *r)
{
    uint64_t v;

    gr_read_bytes(r, &v, sizeof(v));
    return be64toh(v);
}

int64_t gr_read_i64(struct gr_reader *r)
{
    return (int64_t)gr_read_u64(r);
}

static const void *borrow(struct gr_reader *r, size_t want, size_t *len)
{
    const uint8_t *at = take(r, want);

    *len = at != NULL ? want : 0;
    return at != NULL ? at : (const void *)"";
}

static const char *read_text(struct gr_reader *r, size_t want, size_t *len)
{
    const char *text = borrow(r, want, len);

    if (memchr(text, '\0', *len) == NULL)
        return text;
    r->failed = true;
    *len = 0;
    return "";
}

const void *gr_read_blob(struct gr_reader *r, size_t *len)
{
    return borrow(r, gr_read_u32(r), len);
}

const char *gr_read_str(struct gr_reader *r, size_t *len)
{
    return read_text(r, gr_read_u16(r), len);
}

const void *gr_read_rest(struct gr_reader *r, size_t *len)
{
    return borrow(r, (size_t)(r->end - r->at), len);
}

const char *gr_read_rest_str(struct gr_reader *r, size_t *len)
{
    return read_text(r, (size_t)(r->end - r->at), len);
}

bool gr_read_done(const struct gr_reader *r)
{
    return !r->failed && r->at == r->end;
}

/* --- a number as a key --- */

void gr_put_u64(uint8_t out[8], uint64_t v)
{
    struct gr_writer w = gr_writer_on(out, 8);

    gr_write_u64(&w, v);
}

uint64_t gr_get_u64(const void *in)
{
    struct gr_reader r = gr_reader_of(in, 8);

    return gr_read_u64(&r);
}
