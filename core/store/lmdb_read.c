/* store/lmdb_read.c: the readers' side of the LMDB engine; any loop, each with its own transaction.
 *
 * A read transaction lives only inside one call: a reader that stays keeps every page freed since
 * from being used again, and the file grows. Rows are copied out before it ends. */
#include "store/lmdb.h"

#include <stdlib.h>
#include <string.h>

struct walk {
    const struct engine_query *q;
    struct engine_answer *out;
    MDB_cursor *cur;
    MDB_val k, v;
    uint8_t id[CODEC_ID];
};
struct pair {
    struct bytes key, val;
};

static int compare(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n > 0 ? memcmp(a.data, b.data, n) : 0;

    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static int compare_pairs(const void *a, const void *b)
{
    return compare(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static int decode(const struct walk *w, struct pair *p)
{
    struct bytes k = lmdb_bytes(w->k), v = lmdb_bytes(w->v);
    int rc = w->q->coll->kind == GR_COLL_LOG ? codec_get_log_row(k, v, &p->key, &p->val)
                                             : codec_get_map_row(k, v, &p->key, &p->val);

    return rc != 0 ? lmdb_damaged(w->q->coll->name, "row") : 0;
}

/* Moves the cursor; GR_ENOENT behind the owner's last row, where a log has its head. */
static int step(struct walk *w, MDB_cursor_op op)
{
    int rc = lmdb_error(mdb_cursor_get(w->cur, &w->k, &w->v, op), "cursor");

    if (rc == 0 && (w->k.mv_size < CODEC_ID || memcmp(w->k.mv_data, w->id, CODEC_ID) != 0 ||
                    (w->q->coll->kind == GR_COLL_LOG && w->k.mv_size == CODEC_HEAD_KEY)))
        rc = GR_ENOENT;
    return rc;
}

/* 0, or GR_ELIMIT when the answer is full. */
static int emit(struct walk *w, const struct pair *p)
{
    struct bytes from = { w->q->key, w->q->key_len };

    if (from.data != NULL && compare(p->key, from) < 0)
        return 0;
    if (w->out->rows.count < w->q->limit &&
        rowset_add(&w->out->rows, p->key.data, p->key.len, p->val.data, p->val.len))
        return 0;
    w->out->more = true;
    return GR_ELIMIT;
}

/* The rows that share their first bytes and are longer: together, but out of order (codec.h).
 * Leaves the cursor at the first row behind them; returns what step did. */
static int emit_bucket(struct walk *w)
{
    struct pair *pair = NULL;
    size_t n = 0, cap = 0;
    uint8_t prefix[CODEC_ID + CODEC_MAP_PREFIX];
    int rc = 0, full = 0;

    memcpy(prefix, w->k.mv_data, sizeof(prefix));
    while (rc == 0 && w->k.mv_size > sizeof(prefix) &&
           memcmp(w->k.mv_data, prefix, sizeof(prefix)) == 0) {
        if (n == cap) {
            cap = cap > 0 ? cap * 2 : 4;
            pair = gr_realloc(pair, cap * sizeof(*pair));
        }
        rc = decode(w, &pair[n++]);
        if (rc == 0)
            rc = step(w, MDB_NEXT);
    }
    if (rc == 0 || rc == GR_ENOENT) {
        if (n > 1)
            qsort(pair, n, sizeof(*pair), compare_pairs);
        for (size_t i = 0; i < n && full == 0; i++)
            full = emit(w, &pair[i]);
    }
    gr_free(pair);
    return full != 0 ? full : rc;
}

static int range(struct walk *w)
{
    uint8_t from[CODEC_KEY_MAX];
    size_t len = w->q->key_len < CODEC_MAP_PREFIX ? w->q->key_len : CODEC_MAP_PREFIX;
    bool is_map = w->q->coll->kind == GR_COLL_MAP;
    struct pair p;
    int rc;

    memset(from, 0, sizeof(from));
    memcpy(from, w->id, CODEC_ID);
    if (len > 0)
        memcpy(from + CODEC_ID, w->q->key, len);
    w->k = lmdb_val(from, CODEC_ID + len);
    rc = step(w, MDB_SET_RANGE);
    while (rc == 0) {
        if (is_map && w->k.mv_size > CODEC_ID + CODEC_MAP_PREFIX) {
            rc = emit_bucket(w);
            continue;
        }
        rc = decode(w, &p);
        if (rc == 0)
            rc = emit(w, &p);
        if (rc == 0)
            rc = step(w, MDB_NEXT);
    }
    return rc == GR_ENOENT || rc == GR_ELIMIT ? 0 : rc;
}

/* To the last row of the owner before the key; GR_ENOENT: there is none. */
static int seek_back(struct walk *w)
{
    uint8_t from[CODEC_ID + CODEC_MAP_PREFIX];
    size_t len = w->q->key_len < CODEC_MAP_PREFIX ? w->q->key_len : CODEC_MAP_PREFIX;
    int rc;

    memcpy(from, w->id, CODEC_ID);
    if (w->q->key == NULL)
        codec_u64(from, codec_get_u64(w->id) + 1);
    else
        memcpy(from + CODEC_ID, w->q->key, len);
    w->k = lmdb_val(from, CODEC_ID + (w->q->key != NULL ? len : 0));
    rc = lmdb_error(mdb_cursor_get(w->cur, &w->k, &w->v, MDB_SET_RANGE), "cursor");
    if (rc != 0 && rc != GR_ENOENT)
        return rc;
    rc = lmdb_error(mdb_cursor_get(w->cur, &w->k, &w->v, rc == 0 ? MDB_PREV : MDB_LAST), "cursor");
    if (rc == 0 && w->q->coll->kind == GR_COLL_LOG && w->k.mv_size == CODEC_HEAD_KEY &&
        memcmp(w->k.mv_data, w->id, CODEC_ID) == 0)
        return step(w, MDB_PREV); /* the log's head lies behind its rows */
    if (rc == 0 && (w->k.mv_size < CODEC_ID || memcmp(w->k.mv_data, w->id, CODEC_ID) != 0))
        rc = GR_ENOENT;
    return rc;
}

static int range_back(struct walk *w)
{
    struct pair p;
    int rc;

    for (rc = seek_back(w); rc == 0; rc = step(w, MDB_PREV)) {
        if (w->q->coll->kind == GR_COLL_MAP && w->k.mv_size > CODEC_ID + CODEC_MAP_PREFIX)
            return GR_ENOTSUP;
        rc = decode(w, &p);
        if (rc != 0)
            return rc;
        if (w->out->rows.count == w->q->limit ||
            !rowset_add(&w->out->rows, p.key.data, p.key.len, p.val.data, p.val.len)) {
            w->out->more = true;
            return 0;
        }
    }
    return rc == GR_ENOENT ? 0 : rc;
}

static int count_map(struct walk *w)
{
    int rc;

    w->k = lmdb_val(w->id, CODEC_ID);
    for (rc = step(w, MDB_SET_RANGE); rc == 0; rc = step(w, MDB_NEXT))
        w->out->count++;
    return rc == GR_ENOENT ? 0 : rc;
}

static int count_log(struct walk *w, MDB_txn *txn, uint64_t id)
{
    uint8_t key[CODEC_HEAD_KEY];
    struct log_head head;
    int rc;

    codec_head_key(key, id);
    w->k = lmdb_val(key, sizeof(key));
    rc = lmdb_error(mdb_get(txn, w->q->coll->dbi, &w->k, &w->v), "get");
    if (rc == GR_ENOENT)
        return 0;
    if (rc == 0 && codec_get_log_head(lmdb_bytes(w->v), &head) != 0)
        return lmdb_damaged(w->q->coll->name, "log head");
    if (rc == 0) {
        w->out->count = (size_t)head.count;
        w->out->last = head.last;
        w->out->bytes = head.bytes;
    }
    return rc;
}

static int get(struct walk *w, MDB_txn *txn, uint64_t id)
{
    const struct engine_query *q = w->q;
    uint8_t key[CODEC_KEY_MAX];
    struct pair p;
    int rc;

    if (q->coll->kind == GR_COLL_LOG) {
        codec_log_key(key, id, codec_get_u64(q->key));
        w->k = lmdb_val(key, 2 * CODEC_ID);
    } else {
        w->k = lmdb_val(key, codec_map_key(key, id, q->key, q->key_len));
    }
    rc = lmdb_error(mdb_get(txn, q->coll->dbi, &w->k, &w->v), "get");
    if (rc == 0)
        rc = decode(w, &p);
    if (rc == 0)
        rowset_add(&w->out->rows, p.key.data, p.key.len, p.val.data, p.val.len);
    return rc;
}

/* --- the owners of a domain: all owners are looked at, so many at a time --- */

#define OWNERS_LOOKED_AT 4096

/* Has the owner with this id a row in the collection? w->k and w->v are where that is found out. */
static int has_rows(struct walk *w, const uint8_t *id)
{
    memcpy(w->id, id, CODEC_ID);
    w->k = lmdb_val(w->id, CODEC_ID);
    return step(w, MDB_SET_RANGE);
}

/* One owner; GR_ENOENT when it does not belong into the answer. */
static int look_at_owner(struct walk *w, MDB_val k, MDB_val v)
{
    const char *rec = v.mv_data, *owner = rec + 1 + CODEC_ID;
    size_t len = v.mv_size - 1 - CODEC_ID;
    int rc;

    if (v.mv_size <= 1 + CODEC_ID)
        return lmdb_damaged("(owners)", "owner");
    if (!engine_of_domain(owner, len, w->q->owner, w->q->owner_len))
        return GR_ENOENT;
    rc = has_rows(w, (const uint8_t *)rec + 1);
    if (rc == 0)
        rowset_add(&w->out->rows, k.mv_data, k.mv_size, owner, len);
    return rc;
}

static int walk_owners(struct walk *w, MDB_cursor *owners)
{
    const struct engine_query *q = w->q;
    MDB_val k = lmdb_val(q->key, q->key_len), v;
    int rc = lmdb_error(mdb_cursor_get(owners, &k, &v, q->key != NULL ? MDB_SET_RANGE : MDB_FIRST),
                        "owners");

    if (rc == 0 && q->key != NULL && k.mv_size == q->key_len &&
        memcmp(k.mv_data, q->key, q->key_len) == 0)
        rc = lmdb_error(mdb_cursor_get(owners, &k, &v, MDB_NEXT), "owners");
    for (size_t seen = 1; rc == 0; seen++) {
        rc = look_at_owner(w, k, v);
        if (rc != 0 && rc != GR_ENOENT)
            return rc;
        if (w->out->rows.count == q->limit || seen == OWNERS_LOOKED_AT) {
            if (rc == GR_ENOENT)
                rowset_add(&w->out->rows, k.mv_data, k.mv_size, "", 0);
            w->out->more = true;
            return 0;
        }
        rc = lmdb_error(mdb_cursor_get(owners, &k, &v, MDB_NEXT), "owners");
    }
    return rc == GR_ENOENT ? 0 : rc;
}

static int list_owners(struct lmdb *l, MDB_txn *txn, struct walk *w)
{
    MDB_cursor *owners;
    int rc = lmdb_error(mdb_cursor_open(txn, w->q->coll->dbi, &w->cur), "cursor");

    if (rc != 0)
        return rc;
    rc = lmdb_error(mdb_cursor_open(txn, l->owners, &owners), "cursor");
    if (rc == 0) {
        rc = walk_owners(w, owners);
        mdb_cursor_close(owners);
    }
    mdb_cursor_close(w->cur);
    return rc;
}

static int query(struct lmdb *l, MDB_txn *txn, struct walk *w)
{
    const struct engine_query *q = w->q;
    uint64_t id;
    int rc;

    if (q->what == ENGINE_OWNERS)
        return list_owners(l, txn, w);
    rc = lmdb_find_owner(l, txn, q->owner, q->owner_len, &id);
    if (rc != 0)
        return rc == GR_ENOENT && q->what != ENGINE_GET ? 0 : rc;
    if (q->what == ENGINE_GET)
        return get(w, txn, id);
    if (q->what == ENGINE_COUNT && q->coll->kind == GR_COLL_LOG)
        return count_log(w, txn, id);
    codec_u64(w->id, id);
    rc = lmdb_error(mdb_cursor_open(txn, q->coll->dbi, &w->cur), "cursor");
    if (rc != 0)
        return rc;
    rc = q->what == ENGINE_RANGE        ? range(w)
         : q->what == ENGINE_RANGE_BACK ? range_back(w)
                                        : count_map(w);
    mdb_cursor_close(w->cur);
    return rc;
}

int lmdb_read(struct engine *e, int reader, const struct engine_query *q,
              struct engine_answer *out)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);
    MDB_txn **txn = &l->reader[reader];
    struct walk w = { .q = q, .out = out };
    int rc;

    pthread_rwlock_rdlock(&l->gate);
    rc = *txn != NULL ? mdb_txn_renew(*txn) : mdb_txn_begin(l->env, NULL, MDB_RDONLY, txn);
    rc = lmdb_error(rc, "read");
    if (rc == 0) {
        rc = query(l, *txn, &w);
        mdb_txn_reset(*txn);
    }
    pthread_rwlock_unlock(&l->gate);
    return rc == ENGINE_FATAL ? GR_EIO : rc;
}
