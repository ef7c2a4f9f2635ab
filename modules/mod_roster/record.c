/* mod_roster/record.c: stored rows as bytes. Pure functions; big-endian numbers; the first byte
 * is the version of the format. What comes back from the disk is decoded strictly: one byte out
 * of place is GR_EIO, never a guess.
 *
 *   item     1 | flags | ver 8 | name (2 + bytes) | number of groups 2 | groups (2 + bytes) each
 *   request  1 | time in microseconds 8 | the stanza as text
 *   meta     1 | ver 8 | floor 8 | items 4 | requests 4 | removed 4 */
#include "roster.h"

#include <string.h>

enum { VERSION = 1, FROM = 1, TO = 2, ASK = 4, APPROVED = 8, FLAGS = 15, TEXT_MAX = 65535 };

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

void put_u64(uint8_t out[8], uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

uint64_t get_u64(const void *in)
{
    const uint8_t *p = in;
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static const uint8_t *take(struct reader *r, size_t len)
{
    static const uint8_t none[8];
    const uint8_t *p = r->at;

    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return none;
    }
    r->at += len;
    return p;
}

static unsigned take_u16(struct reader *r)
{
    const uint8_t *p = take(r, 2);

    return (unsigned)p[0] << 8 | p[1];
}

/* Copies the text to *to and steps over it; "" when there is none. */
static const char *take_text(struct reader *r, char **to)
{
    size_t len = take_u16(r);
    const uint8_t *p = r->at;
    char *out = *to;

    take(r, len);
    if (r->bad)
        return "";
    if (memchr(p, '\0', len) != NULL)
        r->bad = true;
    memcpy(out, p, len);
    out[len] = '\0';
    *to += len + 1;
    return out;
}

/* --- items --- */

static uint8_t *write_text(uint8_t *at, const char *s)
{
    size_t len = strlen(s);

    *at++ = (uint8_t)(len >> 8);
    *at++ = (uint8_t)len;
    while (*s != '\0')
        *at++ = (uint8_t)*s++;
    return at;
}

void *contact_encode(const struct contact *c, size_t *len)
{
    const char *name = c->name != NULL ? c->name : "";
    size_t size = 2 + 8 + 2 + strlen(name) + 2, n = 0;
    bool fits = strlen(name) <= TEXT_MAX;
    uint8_t *row, *at;

    for (; c->groups != NULL && c->groups[n] != NULL; n++) {
        size += 2 + strlen(c->groups[n]);
        fits = fits && c->groups[n][0] != '\0' && strlen(c->groups[n]) <= TEXT_MAX;
    }
    if (!fits || n > TEXT_MAX)
        return NULL;
    row = at = gr_alloc(size);
    *at++ = VERSION;
    *at++ = (uint8_t)((c->from ? FROM : 0) | (c->to ? TO : 0) | (c->ask ? ASK : 0) |
                      (c->approved ? APPROVED : 0));
    put_u64(at, c->ver);
    at = write_text(at + 8, name);
    *at++ = (uint8_t)(n >> 8);
    *at++ = (uint8_t)n;
    for (size_t i = 0; i < n; i++)
        at = write_text(at, c->groups[i]);
    *len = size;
    return row;
}

/* The texts take less room than in the row: there each has two bytes in front, here one behind. */
static void take_groups(struct reader *r, struct contact *out, const char **list, size_t n,
                        char *texts)
{
    for (size_t i = 0; i < n && !r->bad; i++) {
        list[i] = take_text(r, &texts);
        r->bad = r->bad || list[i][0] == '\0';
    }
    if (n > 0)
        out->groups = list;
}

int contact_decode(const void *data, size_t len, struct contact *out)
{
    struct reader r = { .at = data, .end = (const uint8_t *)data + len };
    const uint8_t *head = take(&r, 2), *name;
    unsigned flags = head[1], version = head[0];
    size_t name_len, groups;
    char *texts;

    *out = (struct contact){ .ver = get_u64(take(&r, 8)) };
    name = r.at;
    name_len = take_u16(&r);
    take(&r, name_len);
    groups = take_u16(&r);
    /* Each group has two bytes at least: the memory is bounded by the row. */
    if (r.bad || version != VERSION || flags > FLAGS || out->ver == 0 || groups > len / 2)
        return GR_EIO;
    out->mem = gr_alloc((groups + 1) * sizeof(char *) + len);
    texts = (char *)out->mem + (groups + 1) * sizeof(char *);
    r = (struct reader){ .at = name, .end = (const uint8_t *)data + len };
    out->name = take_text(&r, &texts);
    take_u16(&r);
    take_groups(&r, out, out->mem, groups, texts);
    if (out->name[0] == '\0')
        out->name = NULL;
    out->from = (flags & FROM) != 0;
    out->to = (flags & TO) != 0;
    out->ask = (flags & ASK) != 0;
    out->approved = (flags & APPROVED) != 0;
    if (!r.bad && r.at == r.end)
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
    uint8_t *row = gr_alloc(9 + r->len);

    row[0] = VERSION;
    put_u64(row + 1, (uint64_t)r->time_us);
    memcpy(row + 9, r->xml, r->len);
    *len = 9 + r->len;
    return row;
}

int request_decode(const void *data, size_t len, struct request *out)
{
    const uint8_t *p = data;

    if (len < 10 || p[0] != VERSION || memchr(p + 9, '\0', len - 9) != NULL)
        return GR_EIO;
    *out = (struct request){ (int64_t)get_u64(p + 1), (const char *)p + 9, len - 9 };
    return out->time_us < 0 ? GR_EIO : 0;
}

/* --- the row of the owner --- */

static void put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void meta_encode(uint8_t out[META_SIZE], const struct meta *m)
{
    out[0] = VERSION;
    put_u64(out + 1, m->ver);
    put_u64(out + 9, m->floor);
    put_u32(out + 17, m->items);
    put_u32(out + 21, m->requests);
    put_u32(out + 25, m->removed);
}

int meta_decode(const void *data, size_t len, struct meta *out)
{
    const uint8_t *p = data;

    if (len != META_SIZE || p[0] != VERSION)
        return GR_EIO;
    *out = (struct meta){ .ver = get_u64(p + 1), .floor = get_u64(p + 9),
                          .items = get_u32(p + 17), .requests = get_u32(p + 21),
                          .removed = get_u32(p + 25) };
    return out->floor > out->ver ? GR_EIO : 0;
}
