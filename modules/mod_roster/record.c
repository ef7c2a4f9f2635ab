/* mod_roster/record.c: stored rows as bytes. Pure functions; big-endian numbers; the first byte
 * is the version of the format. What comes back from the disk is decoded strictly: one byte out
 * of place is GR_EIO, never a guess.
 *
 *   item     1 | flags | ver 8 | name (2 + bytes) | number of groups 2 | groups (2 + bytes) each
 *   request  1 | time in microseconds 8 | the stanza as text
 *   meta     1 | ver 8 | floor 8 | items 4 | requests 4 | removed 4 */
#include "roster.h"

#include <string.h>

enum { VERSION = 1, FROM = 1, TO = 2, ASK = 4, APPROVED = 8, FLAGS = 15 };

/* --- items --- */

void *contact_encode(const struct contact *c, size_t *len)
{
    struct gr_writer w = gr_writer_new(128);
    size_t n = 0;

    while (c->groups != NULL && c->groups[n] != NULL)
        n++;
    gr_write_u8(&w, VERSION);
    gr_write_u8(&w, (uint8_t)((c->from ? FROM : 0) | (c->to ? TO : 0) | (c->ask ? ASK : 0) |
                              (c->approved ? APPROVED : 0)));
    gr_write_u64(&w, c->ver);
    gr_write_str(&w, c->name);
    gr_write_u16(&w, (uint16_t)n);
    w.failed = w.failed || n > UINT16_MAX;
    for (size_t i = 0; i < n; i++) {
        w.failed = w.failed || c->groups[i][0] == '\0';
        gr_write_str(&w, c->groups[i]);
    }
    return gr_writer_take(&w, len);
}

/* A NUL-terminated copy of the text at *to, which moves behind it. */
static const char *copy_text(char **to, const char *text, size_t len)
{
    char *out = *to;

    memcpy(out, text, len);
    out[len] = '\0';
    *to += len + 1;
    return out;
}

int contact_decode(const void *data, size_t len, struct contact *out)
{
    struct gr_reader r = gr_reader_of(data, len);
    unsigned version = gr_read_u8(&r), flags = gr_read_u8(&r);
    uint64_t ver = gr_read_u64(&r);
    size_t text_len;
    const char *text = gr_read_str(&r, &text_len), **list;
    size_t groups = gr_read_u16(&r);
    char *to;

    *out = (struct contact){ .from = (flags & FROM) != 0, .to = (flags & TO) != 0,
                             .ask = (flags & ASK) != 0, .approved = (flags & APPROVED) != 0,
                             .ver = ver };
    /* Each group has two bytes at least: the memory is bounded by the row. */
    if (r.failed || version != VERSION || flags > FLAGS || ver == 0 || groups > len / 2)
        return GR_EIO;
    list = out->mem = gr_alloc((groups + 1) * sizeof(*list) + len);
    to = (char *)(list + groups + 1);
    if (text_len > 0)
        out->name = copy_text(&to, text, text_len);
    /* Here they take less room: a byte behind each, in the row two in front. */
    for (size_t i = 0; i < groups && !r.failed; i++) {
        text = gr_read_str(&r, &text_len);
        r.failed = r.failed || text_len == 0;
        list[i] = copy_text(&to, text, text_len);
    }
    if (groups > 0)
        out->groups = list;
    if (gr_read_done(&r))
        return 0;
    contact_fini(out);
    return GR_EIO;
}

void contact_fini(struct contact *c)
{
    gr_free(c->mem);
    *c = (struct contact){ 0 };
}

/* --- requests --- */

void *request_encode(const struct request *r, size_t *len)
{
    struct gr_writer w = gr_writer_new(9 + r->len);

    gr_write_u8(&w, VERSION);
    gr_write_i64(&w, r->time_us);
    gr_write_bytes(&w, r->xml, r->len);
    return gr_writer_take(&w, len);
}

int request_decode(const void *data, size_t len, struct request *out)
{
    struct gr_reader r = gr_reader_of(data, len);
    unsigned version = gr_read_u8(&r);

    out->time_us = gr_read_i64(&r);
    out->xml = gr_read_rest_str(&r, &out->len);
    return gr_read_done(&r) && version == VERSION && out->time_us >= 0 && out->len > 0 ? 0
                                                                                       : GR_EIO;
}

/* --- the row of the owner --- */

void meta_encode(uint8_t out[META_SIZE], const struct meta *m)
{
    struct gr_writer w = gr_writer_on(out, META_SIZE);

    gr_write_u8(&w, VERSION);
    gr_write_u64(&w, m->ver);
    gr_write_u64(&w, m->floor);
    gr_write_u32(&w, m->items);
    gr_write_u32(&w, m->requests);
    gr_write_u32(&w, m->removed);
}

int meta_decode(const void *data, size_t len, struct meta *out)
{
    struct gr_reader r = gr_reader_of(data, len);
    unsigned version = gr_read_u8(&r);

    out->ver = gr_read_u64(&r);
    out->floor = gr_read_u64(&r);
    out->items = gr_read_u32(&r);
    out->requests = gr_read_u32(&r);
    out->removed = gr_read_u32(&r);
    return gr_read_done(&r) && version == VERSION && out->floor <= out->ver ? 0 : GR_EIO;
}
