/* store/lmdb_owner.c: the ids of owners, for the writer of the LMDB engine; committer thread. An id is
 * never another one's and never goes, so those looked up lately are kept: every write needs one. */
#include "store/lmdb.h"

struct lmdb_owner {
    uint64_t id;
    size_t len;
    char owner[];
};

/* Those that this transaction has made are none if it does not happen. */
void lmdb_owners_forget(struct lmdb *l)
{
    for (size_t i = 0; i < LMDB_OWNERS; i++) {
        gr_free(l->known[i]);
        l->known[i] = NULL;
    }
}

static void keep(struct lmdb_owner **slot, const struct engine_op *op, uint64_t id)
{
    gr_free(*slot);
    *slot = gr_alloc(sizeof(**slot) + op->owner_len);
    (*slot)->id = id;
    (*slot)->len = op->owner_len;
    memcpy((*slot)->owner, op->owner, op->owner_len);
}

static int read_next_owner(struct lmdb *l)
{
    MDB_val k = lmdb_val("next", 4), v;
    int rc = mdb_get(l->txn, l->meta, &k, &v);

    if (rc == MDB_NOTFOUND || (rc == 0 && (codec_get_counter(lmdb_bytes(v), &l->next_owner) != 0 ||
                                           l->next_owner == 0)))
        return lmdb_damaged("(owners)", "counter");
    return lmdb_error(rc, "get");
}

/* Ids are never reused: what still carries one must not become somebody else's. */
static int add_owner(struct lmdb *l, const struct engine_op *op, uint64_t *id)
{
    uint8_t key[CODEC_KEY_MAX];
    MDB_val k = { codec_owner_key(key, op->owner, op->owner_len), key };
    MDB_val v = { codec_owner_size(op->owner_len), NULL };
    int rc = l->next_owner == 0 ? read_next_owner(l) : 0;

    if (rc != 0)
        return rc;
    rc = lmdb_error(mdb_put(l->txn, l->owners, &k, &v, MDB_RESERVE), "put");
    if (rc != 0)
        return rc;
    *id = l->next_owner++;
    l->next_changed = true;
    codec_owner(v.mv_data, *id, op->owner, op->owner_len);
    return 0;
}

int lmdb_owner_id(struct lmdb *l, const struct engine_op *op, bool add, uint64_t *id)
{
    struct lmdb_owner **slot = &l->known[op->owner_hash % LMDB_OWNERS];
    int rc;

    if (*slot != NULL && (*slot)->len == op->owner_len &&
        memcmp((*slot)->owner, op->owner, op->owner_len) == 0) {
        *id = (*slot)->id;
        return 0;
    }
    rc = lmdb_find_owner(l, l->txn, op->owner, op->owner_len, id);
    if (rc == GR_ENOENT && add)
        rc = add_owner(l, op, id);
    if (rc == 0)
        keep(slot, op, *id);
    return rc;
}
