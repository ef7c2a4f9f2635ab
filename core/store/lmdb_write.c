/* store/lmdb_write.c: the writer's side of the LMDB engine; committer thread.
 *
 * An error may leave an operation half done: the batch is aborted then (batch.c). */
#include "store/commit.h"
#include "store/lmdb.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AHEAD = 256 * 1024 };

static struct lmdb *self(struct engine *e)
{
    return GR_CONTAINER_OF(e, struct lmdb, base);
}

int lmdb_begin(struct engine *e)
{
    struct lmdb *l = self(e);
    int rc;

    pthread_mutex_lock(&l->writer);
    rc = mdb_txn_begin(l->env, NULL, 0, &l->txn);
    if (rc != 0) {
        l->txn = NULL;
        pthread_mutex_unlock(&l->writer);
        return lmdb_error(rc, "begin");
    }
    l->number++;
    l->next_owner = 0;
    l->next_changed = false;
    return 0;
}

/* --- logs --- */

/* Everything that a transaction does to a log it does with this cursor, which ends with it. A log's head
 * and its latest row are mostly on one page, which LMDB then does not look for again. */
static int log_cursor(struct lmdb *l, struct store_coll *coll, MDB_cursor **out)
{
    MDB_cursor *cur;
    int rc;

    if (coll->cursor_of != l->number) {
        rc = mdb_cursor_open(l->txn, coll->dbi, &cur);
        if (rc != 0)
            return lmdb_error(rc, "cursor");
        coll->cursor = cur;
        coll->cursor_of = l->number;
    }
    *out = coll->cursor;
    return 0;
}

/* All zero: the owner has no log yet. */
static int get_head(struct lmdb *l, const struct engine_op *op, uint64_t id, struct log_head *head)
{
    uint8_t key[CODEC_HEAD_KEY];
    MDB_val k = { sizeof(key), key }, v;
    MDB_cursor *cur;
    int rc = log_cursor(l, op->coll, &cur);

    memset(head, 0, sizeof(*head));
    codec_head_key(key, id);
    if (rc == 0)
        rc = lmdb_error(mdb_cursor_get(cur, &k, &v, MDB_SET), "get");
    if (rc != 0)
        return rc == GR_ENOENT ? 0 : rc;
    if (codec_get_log_head(lmdb_bytes(v), head) != 0)
        return lmdb_damaged(op->coll->name, "log head");
    return 0;
}

static int put_head(struct lmdb *l, const struct engine_op *op, uint64_t id,
                    const struct log_head *head)
{
    uint8_t key[CODEC_HEAD_KEY], rec[CODEC_LOG_HEAD];
    MDB_val k = { sizeof(key), key }, v = { sizeof(rec), rec };
    MDB_cursor *cur;
    int rc = log_cursor(l, op->coll, &cur);

    codec_head_key(key, id);
    codec_log_head(rec, head);
    return rc != 0 ? rc : lmdb_error(mdb_cursor_put(cur, &k, &v, 0), "put");
}

static int append(struct lmdb *l, struct engine_op *op, uint64_t id)
{
    uint8_t key[2 * CODEC_ID];
    MDB_val k = { sizeof(key), key }, v = { codec_row_size(CODEC_ID, op->val_len), NULL };
    struct log_head head;
    MDB_cursor *cur;
    int rc = log_cursor(l, op->coll, &cur);

    if (rc == 0)
        rc = get_head(l, op, id, &head);
    if (rc != 0)
        return rc;
    if (!engine_log_room(op, head.count, head.bytes))
        return ENGINE_LIMIT;
    if (head.last == UINT64_MAX)
        return lmdb_damaged(op->coll->name, "log head");
    codec_log_key(key, id, head.last + 1);
    rc = mdb_cursor_put(cur, &k, &v, MDB_RESERVE | MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST)
        return lmdb_damaged(op->coll->name, "log head (behind its rows)");
    if (rc != 0)
        return lmdb_error(rc, "put");
    codec_row(v.mv_data, NULL, CODEC_ID, op->val, op->val_len);
    op->result = ++head.last;
    head.count++;
    head.bytes += op->val_len;
    return put_head(l, op, id, &head);
}

static int replace(struct lmdb *l, const struct engine_op *op, uint64_t id)
{
    uint8_t key[2 * CODEC_ID];
    MDB_val k = { sizeof(key), key }, v;
    struct log_head head;
    MDB_cursor *cur;
    uint64_t before;
    int rc = log_cursor(l, op->coll, &cur);

    if (rc != 0)
        return rc;
    codec_log_key(key, id, codec_get_u64(op->key));
    rc = mdb_cursor_get(cur, &k, &v, MDB_SET);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc, "get");
    before = codec_log_bytes(v.mv_size);
    v.mv_size = codec_row_size(CODEC_ID, op->val_len);
    rc = lmdb_error(mdb_cursor_put(cur, &k, &v, MDB_RESERVE), "put");
    if (rc != 0)
        return rc;
    codec_row(v.mv_data, NULL, CODEC_ID, op->val, op->val_len);
    rc = get_head(l, op, id, &head);
    if (rc != 0)
        return rc;
    head.bytes = (head.bytes > before ? head.bytes - before : 0) + op->val_len;
    return put_head(l, op, id, &head);
}

static int del_log_row(struct lmdb *l, const struct engine_op *op, uint64_t id)
{
    uint8_t key[2 * CODEC_ID];
    MDB_val k = { sizeof(key), key }, v;
    struct log_head head;
    MDB_cursor *cur;
    uint64_t freed = 0;
    int rc = log_cursor(l, op->coll, &cur);

    if (rc != 0)
        return rc;
    codec_log_key(key, id, codec_get_u64(op->key));
    rc = mdb_cursor_get(cur, &k, &v, MDB_SET);
    if (rc == 0) {
        freed = codec_log_bytes(v.mv_size);
        rc = mdb_cursor_del(cur, 0);
    }
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc, "del");
    rc = get_head(l, op, id, &head);
    if (rc != 0)
        return rc;
    if (head.count == 0)
        return lmdb_damaged(op->coll->name, "log head");
    head.count--;
    /* A row that was damaged may have another size than it was counted with. */
    head.bytes -= head.count == 0 || head.bytes < freed ? head.bytes : freed;
    return put_head(l, op, id, &head);
}

/* --- maps --- */

static int put(struct lmdb *l, const struct engine_op *op, uint64_t id)
{
    uint8_t key[CODEC_KEY_MAX];
    MDB_val k = { codec_map_key(key, id, op->key, op->key_len), key };
    MDB_val v = { codec_row_size(op->key_len, op->val_len), NULL };
    unsigned flags = MDB_RESERVE | (op->op == STORE_PUT_NEW ? MDB_NOOVERWRITE : 0);
    int rc = lmdb_error(mdb_put(l->txn, op->coll->dbi, &k, &v, flags), "put");

    if (rc == 0)
        codec_row(v.mv_data, op->key, op->key_len, op->val, op->val_len);
    return rc;
}

static int add_to_counter(struct lmdb *l, struct engine_op *op, uint64_t id)
{
    uint8_t key[CODEC_KEY_MAX], sum[CODEC_ID];
    MDB_val k = { codec_map_key(key, id, op->key, op->key_len), key }, v;
    struct bytes row_key, was = { NULL, 0 };
    struct engine_op as_put = *op;
    int rc = lmdb_error(mdb_get(l->txn, op->coll->dbi, &k, &v), "get");

    if (rc == 0 && codec_get_map_row(lmdb_bytes(k), lmdb_bytes(v), &row_key, &was) != 0)
        return lmdb_damaged(op->coll->name, "row");
    if (rc != 0 && rc != GR_ENOENT)
        return rc;
    rc = engine_sum(op, was);
    if (rc != 0)
        return rc;
    codec_u64(sum, op->result);
    as_put.val = sum;
    as_put.val_len = sizeof(sum);
    return put(l, &as_put, id);
}

static int del_map_row(struct lmdb *l, const struct engine_op *op, uint64_t id)
{
    uint8_t key[CODEC_KEY_MAX];
    MDB_val k = { codec_map_key(key, id, op->key, op->key_len), key };
    int rc = mdb_del(l->txn, op->coll->dbi, &k, NULL);

    return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc, "del");
}

/* Every row of the owner, readable or not. Seeks anew after each deletion: a cursor is then never
 * asked where it stands. */
static int del_rows(struct lmdb *l, const struct engine_op *op, uint64_t id)
{
    bool log = op->coll->kind == GR_COLL_LOG;
    uint8_t from[CODEC_ID];
    MDB_cursor *cur;
    MDB_val k, v;
    int rc = log ? log_cursor(l, op->coll, &cur)
                 : lmdb_error(mdb_cursor_open(l->txn, op->coll->dbi, &cur), "cursor");

    if (rc != 0)
        return rc;
    codec_u64(from, id);
    while (rc == 0) {
        k = lmdb_val(from, sizeof(from));
        rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
        if (rc == 0 && (k.mv_size < sizeof(from) || memcmp(k.mv_data, from, sizeof(from)) != 0 ||
                        (log && k.mv_size == CODEC_HEAD_KEY)))
            break;
        if (rc == 0)
            rc = mdb_cursor_del(cur, 0);
    }
    if (!log)
        mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc, "del");
}

/* A log keeps its head, so its numbers are not given out twice. */
static int del_all(struct lmdb *l, const struct engine_op *op, uint64_t id)
{
    struct log_head head;
    int rc = del_rows(l, op, id);

    if (rc != 0 || op->coll->kind != GR_COLL_LOG)
        return rc;
    rc = get_head(l, op, id, &head);
    if (rc != 0 || head.last == 0)
        return rc;
    head.count = head.bytes = 0;
    return put_head(l, op, id, &head);
}

int lmdb_apply(struct engine *e, struct engine_op *op)
{
    struct lmdb *l = self(e);
    bool add = op->op == STORE_PUT || op->op == STORE_PUT_NEW || op->op == STORE_ADD ||
               op->op == STORE_APPEND;
    uint64_t id;
    int rc = lmdb_owner_id(l, op, add, &id);

    if (rc != 0)
        return rc == GR_ENOENT ? 0 : rc; /* changing or deleting what an unknown owner has */
    switch (op->op) {
    case STORE_PUT:
    case STORE_PUT_NEW:
        return put(l, op, id);
    case STORE_ADD:
        return add_to_counter(l, op, id);
    case STORE_APPEND:
        return append(l, op, id);
    case STORE_REPLACE:
        return replace(l, op, id);
    case STORE_DEL:
        return op->coll->kind == GR_COLL_LOG ? del_log_row(l, op, id) : del_map_row(l, op, id);
    case STORE_DEL_ALL:
        return del_all(l, op, id);
    }
    return GR_EINVAL;
}

int lmdb_exists(struct engine *e, const struct engine_op *op)
{
    struct lmdb *l = self(e);
    uint8_t key[CODEC_KEY_MAX];
    MDB_val k, v;
    uint64_t id;
    int rc = lmdb_owner_id(l, op, false, &id);

    if (rc != 0)
        return rc == GR_ENOENT ? 0 : rc;
    k = lmdb_val(key, codec_map_key(key, id, op->key, op->key_len));
    rc = lmdb_error(mdb_get(l->txn, op->coll->dbi, &k, &v), "get");
    if (rc == 0)
        return 1;
    return rc == GR_ENOENT ? 0 : rc;
}

static void end(struct lmdb *l)
{
    l->txn = NULL;
    if (l->extra == LMDB_EXTENDED)
        l->extra = LMDB_SPENT;
    pthread_mutex_unlock(&l->writer);
}

/* A transaction that rewrites the counter and nothing else: see grow. Nothing depends on it. */
void lmdb_make_next(struct lmdb *l)
{
    uint8_t counter[CODEC_COUNTER];
    MDB_val k = lmdb_val("next", 4), v;
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

    if (rc != 0) {
        lmdb_error(rc, "begin");
        return;
    }
    rc = mdb_get(txn, l->meta, &k, &v);
    if (rc == 0 && v.mv_size == sizeof(counter)) {
        memcpy(counter, v.mv_data, sizeof(counter));
        v.mv_data = counter;
        rc = mdb_put(txn, l->meta, &k, &v, 0);
    }
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    lmdb_error(rc, "commit");
}

/* Keeps zeros behind the last page. A commit that makes the file longer has to wait for the file
 * system's journal, and with it for everybody else's data; one that overwrites does not (half the
 * time, measured on ext4). Reserving room is not enough: turning that into data is a matter for the
 * journal again. Where it fails LMDB finds out itself what is wrong. */
static void stay_ahead(struct lmdb *l)
{
    static char zeros[AHEAD]; /* not const: that would be a part of the executable */
    off_t used = (off_t)lmdb_used(l);
    struct stat st;
    mdb_filehandle_t fd;
    ssize_t n;

    if (l->file < 0 || l->file - used >= AHEAD / 2 || space_full() ||
        mdb_env_get_fd(l->env, &fd) != 0 || fstat(fd, &st) != 0)
        return;
    l->file = st.st_size;
    if (l->file - used >= AHEAD / 2 || (size_t)l->file + AHEAD > l->map)
        return;
    n = pwrite(fd, zeros, AHEAD, l->file);
    if (n > 0)
        l->file += n;
}

int lmdb_commit(struct engine *e)
{
    struct lmdb *l = self(e);
    uint8_t counter[CODEC_COUNTER];
    MDB_val k = lmdb_val("next", 4), v = { sizeof(counter), counter };
    int rc = 0;

    if (l->next_changed) {
        codec_counter(counter, l->next_owner);
        rc = mdb_put(l->txn, l->meta, &k, &v, 0);
    }
    if (rc == 0)
        rc = mdb_txn_commit(l->txn); /* frees it, also when it fails */
    else
        mdb_txn_abort(l->txn);
    if (rc == 0) {
        l->aged = false;
        stay_ahead(l);
    } else {
        lmdb_owners_forget(l);
    }
    end(l);
    return lmdb_error(rc, "commit");
}

void lmdb_abort(struct engine *e)
{
    struct lmdb *l = self(e);

    mdb_txn_abort(l->txn);
    lmdb_owners_forget(l);
    end(l);
}
