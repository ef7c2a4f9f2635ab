/* mod_sessiondb/row.c: rows and index keys as bytes; the first byte is the version.
 *
 *   row     1 | available 1 | priority 1 | session 8 | login 8 | updated 8 | server id, NUL | XML
 *   index   key: bare JID, NUL, resource; value: login 8 */
#include "sessiondb.h"

#include <string.h>

enum { VERSION = 1 };

void *row_encode(const struct row *r, size_t *len)
{
    size_t server_len = strlen(r->server) + 1;
    struct gr_writer w = gr_writer_new(3 + 3 * 8 + server_len + r->xml_len);

    gr_write_u8(&w, VERSION);
    gr_write_u8(&w, r->available);
    gr_write_u8(&w, (uint8_t)(r->priority + 128));
    gr_write_u64(&w, r->session);
    gr_write_i64(&w, r->login_us);
    gr_write_i64(&w, r->updated_us);
    gr_write_bytes(&w, r->server, server_len);
    gr_write_bytes(&w, r->xml, r->xml_len);
    return gr_writer_take(&w, len);
}

int row_decode(const void *val, size_t len, struct row *r)
{
    struct gr_reader in = gr_reader_of(val, len);
    unsigned version = gr_read_u8(&in), available = gr_read_u8(&in);
    int priority = gr_read_u8(&in) - 128;
    const char *nul;
    size_t left;

    *r = (struct row){ .available = available == 1, .priority = priority };
    r->session = gr_read_u64(&in);
    r->login_us = gr_read_i64(&in);
    r->updated_us = gr_read_i64(&in);
    r->server = gr_read_rest(&in, &left);
    nul = memchr(r->server, '\0', left);
    if (!gr_read_done(&in) || version != VERSION || available > 1 || nul == NULL)
        return GR_EINVAL;
    r->xml = nul + 1;
    r->xml_len = left - (size_t)(r->xml - r->server);
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

    gr_put_u64(login, (uint64_t)r->login_us);
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
