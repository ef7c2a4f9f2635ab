/* mod_sessiondb/row.c: rows and index keys as bytes. Big-endian numbers; the first byte is the
 * version.
 *
 *   row     1 | available 1 | priority 1 | session 8 | login 8 | updated 8 | server id, NUL | XML
 *   index   key: bare JID, NUL, resource; value: login 8 */
#include "sessiondb.h"

#include <string.h>

enum { VERSION = 1, HEAD = 3 + 3 * 8 };

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

void *row_encode(const struct row *r, size_t *len)
{
    size_t server_len = strlen(r->server) + 1;
    uint8_t *val = gr_alloc(HEAD + server_len + r->xml_len);

    val[0] = VERSION;
    val[1] = r->available;
    val[2] = (uint8_t)(r->priority + 128);
    put_u64(val + 3, r->session);
    put_u64(val + 11, (uint64_t)r->login_us);
    put_u64(val + 19, (uint64_t)r->updated_us);
    memcpy(val + HEAD, r->server, server_len);
    if (r->xml_len > 0)
        memcpy(val + HEAD + server_len, r->xml, r->xml_len);
    *len = HEAD + server_len + r->xml_len;
    return val;
}

int row_decode(const void *val, size_t len, struct row *r)
{
    const uint8_t *p = val, *nul;

    if (len <= HEAD || p[0] != VERSION || p[1] > 1 ||
        (nul = memchr(p + HEAD, '\0', len - HEAD)) == NULL)
        return GR_EINVAL;
    *r = (struct row){ .available = p[1], .priority = p[2] - 128, .session = get_u64(p + 3),
                       .login_us = (int64_t)get_u64(p + 11),
                       .updated_us = (int64_t)get_u64(p + 19), .server = (const char *)p + HEAD,
                       .xml = (const char *)nul + 1, .xml_len = (size_t)(p + len - nul) - 1 };
    return 0;
}

void *index_key(const struct gr_jid *full, size_t *len)
{
    size_t bare_len = full->bare_len + 1u, resource_len = strlen(full->resource);
    char *key = gr_alloc(bare_len + resource_len);

    memcpy(key, full->bare, bare_len);
    memcpy(key + bare_len, full->resource, resource_len);
    *len = bare_len + resource_len;
    return key;
}

struct gr_jid *index_jid(const struct gr_row *row)
{
    char *text = gr_alloc(row->key_len + 1), *slash;
    struct gr_jid *jid = NULL;

    memcpy(text, row->key, row->key_len);
    slash = text + strlen(text);
    if (row->val_len == 8 && slash < text + row->key_len) {
        *slash = '/';
        if (gr_jid_parse(text, row->key_len, &jid) != 0)
            jid = NULL;
    }
    gr_free(text);
    return jid;
}

void row_put(struct gr_txn *t, const struct gr_jid *full, const struct row *r, bool fresh)
{
    size_t val_len;
    void *val = row_encode(r, &val_len);

    (fresh ? gr_txn_put_new : gr_txn_put)(t, ROWS, full->bare, full->resource,
                                          strlen(full->resource), val, val_len);
    gr_free(val);
}

void index_put(struct gr_txn *t, const struct gr_jid *full, const struct row *r)
{
    size_t key_len;
    void *key = index_key(full, &key_len);
    uint8_t login[8];

    put_u64(login, (uint64_t)r->login_us);
    gr_txn_put(t, INDEX, r->server, key, key_len, login, sizeof(login));
    gr_free(key);
}

void row_del(struct gr_txn *t, const struct gr_jid *full, const char *server)
{
    size_t key_len;
    void *key = index_key(full, &key_len);

    gr_txn_del(t, ROWS, full->bare, full->resource, strlen(full->resource));
    gr_txn_del(t, INDEX, server, key, key_len);
    gr_free(key);
}
