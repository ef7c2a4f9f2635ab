/* mod_mam/row.c: rows, ids and keys as bytes. Numbers are big-endian.
 *
 * A message: version, flags, time (8), salt (4), length of the other address (2) and of the
 * stanza's id (2), then these two and the stanza as text. */
#include "mam.h"

#include <string.h>

enum { VERSION = 1, OUTGOING = 1, TOMBSTONE = 2, NAME_MAX_LEN = 1024 };

void put_u64(uint8_t *out, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

uint64_t get_u64(const uint8_t *in)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

static void put_u16(uint8_t *out, size_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

/* Nobody can take back a message with a longer id. */
static size_t name_len(const struct row *r)
{
    return r->name_len <= NAME_MAX_LEN ? r->name_len : 0;
}

size_t row_size(const struct row *r)
{
    return ROW_HEAD + r->peer_len + name_len(r) + r->xml_len;
}

void row_put(uint8_t *out, const struct row *r)
{
    out[0] = VERSION;
    out[1] = (uint8_t)((r->outgoing ? OUTGOING : 0) | (r->tombstone ? TOMBSTONE : 0));
    put_u64(out + 2, r->us);
    put_u16(out + 10, r->salt >> 16);
    put_u16(out + 12, r->salt & 0xffff);
    put_u16(out + 14, r->peer_len);
    put_u16(out + 16, name_len(r));
    out += ROW_HEAD;
    memcpy(out, r->peer, r->peer_len);
    if (name_len(r) > 0)
        memcpy(out + r->peer_len, r->name, r->name_len);
    memcpy(out + r->peer_len + name_len(r), r->xml, r->xml_len);
}

int row_get(struct row *out, const struct gr_row *from)
{
    const uint8_t *in = from->val;
    const char *text = (const char *)in + ROW_HEAD;

    if (from->val_len < ROW_HEAD || in[0] != VERSION)
        return GR_EIO;
    *out = (struct row){
        .us = get_u64(in + 2),
        .salt = (uint32_t)in[10] << 24 | (uint32_t)in[11] << 16 | (uint32_t)in[12] << 8 | in[13],
        .outgoing = (in[1] & OUTGOING) != 0,
        .tombstone = (in[1] & TOMBSTONE) != 0,
        .peer_len = (size_t)in[14] << 8 | in[15],
        .name_len = (size_t)in[16] << 8 | in[17],
    };
    if (from->val_len - ROW_HEAD < out->peer_len + out->name_len)
        return GR_EIO;
    out->peer = text;
    out->name = text + out->peer_len;
    out->xml = out->name + out->name_len;
    out->xml_len = from->val_len - ROW_HEAD - out->peer_len - out->name_len;
    return 0;
}

/* Neither of the parts before the resource can contain a slash (RFC 7622, 3.1). */
size_t bare_len(const char *jid, size_t len)
{
    const char *slash = memchr(jid, '/', len);

    return slash != NULL ? (size_t)(slash - jid) : len;
}

bool row_is_of(const struct row *r, const struct gr_jid *jid)
{
    size_t len = gr_jid_is_bare(jid) ? bare_len(r->peer, r->peer_len) : r->peer_len;

    return len == jid->full_len && memcmp(r->peer, jid->full, len) == 0;
}

/* --- ids --- */

void id_put(char out[MAM_ID_SIZE], uint64_t us, uint32_t salt)
{
    uint8_t bytes[12];

    put_u64(bytes, us);
    put_u16(bytes + 8, salt >> 16);
    put_u16(bytes + 10, salt & 0xffff);
    gr_hex_encode(out, bytes, sizeof(bytes));
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int id_get(const char *text, uint64_t *us, uint32_t *salt)
{
    uint64_t v[2] = { 0, 0 };

    if (strlen(text) != MAM_ID_SIZE - 1)
        return GR_ENOENT;
    for (int i = 0; i < MAM_ID_SIZE - 1; i++) {
        int d = digit(text[i]);

        if (d < 0)
            return GR_ENOENT;
        v[i / 16] = v[i / 16] << 4 | (uint64_t)d;
    }
    *us = v[0];
    *salt = (uint32_t)v[1];
    return 0;
}

/* --- contacts --- */

/* FNV-1a, the same on every server and after every start. Two contacts with one hash share their
 * entries of the map: whoever reads a message looks whose it is. */
uint64_t contact_number(const char *bare, size_t len)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)bare[i]) * UINT64_C(1099511628211);
    return h;
}

void contact_key(uint8_t out[CONTACT_KEY], uint64_t contact, uint64_t block)
{
    put_u64(out, contact);
    put_u64(out + 8, block);
}
