/* store/rowset.c: see rowset.h. Bytes move while they grow: rows point into them when sealed. */
#include "store/rowset.h"

#include <string.h>

bool rowset_add(struct rowset *rs, const void *key, size_t key_len, const void *val,
                size_t val_len)
{
    struct gr_row *row;
    size_t at = buf_len(&rs->bytes);

    if (rs->count > 0 && at + key_len + val_len > ROWSET_MAX)
        return false;
    if (rs->count == rs->cap) {
        rs->cap = rs->cap > 0 ? rs->cap * 2 : 1;
        rs->row = gr_realloc(rs->row, rs->cap * sizeof(*rs->row));
    }
    row = &rs->row[rs->count++];
    row->key_len = key_len;
    row->val_len = val_len;
    buf_reserve(&rs->bytes, key_len + val_len + 1);
    buf_append(&rs->bytes, key, key_len);
    buf_append(&rs->bytes, val, val_len);
    return true;
}

void rowset_seal(struct rowset *rs)
{
    const char *p = rs->bytes.mem != NULL ? buf_data(&rs->bytes) : NULL;

    for (size_t i = 0; i < rs->count; i++) {
        rs->row[i].key = p;
        p += rs->row[i].key_len;
        rs->row[i].val = p;
        p += rs->row[i].val_len;
    }
}

void rowset_fini(struct rowset *rs)
{
    gr_free(rs->row);
    buf_fini(&rs->bytes);
    memset(rs, 0, sizeof(*rs));
}
