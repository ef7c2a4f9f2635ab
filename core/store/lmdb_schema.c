/* store/lmdb_schema.c: which layout the data has; one that an older version wrote is brought up to
 * date while the store is opened.
 *
 * That is one transaction, with the new number in it: after a crash, on a full disk or where a
 * record is damaged, the data is what it was and the older version can go on with it. LMDB writes
 * what exceeds half a GiB of changed pages out as it goes, into free ones.
 *
 * Schema 1 had the head of a log before its rows and without bytes (codec.h), and a collection
 * that counted what offline storage holds. */
#include "store/lmdb.h"

#include <grapnel/log.h>

#include <string.h>

enum { SCHEMA = 2, NAME_SIZE = 128 };

#define LOGS "log/"

struct upgraded {
    uint64_t logs, rows;
};

/* The log of the next owner after `id`, which it replaces; its rows are counted anew. GR_EIO when
 * it is damaged. A damaged value is no reason: its row can be deleted and others read. */
static int next_log(MDB_cursor *cur, uint64_t *id, struct log_head *head)
{
    uint8_t owner[CODEC_ID];
    MDB_val k = lmdb_val(owner, sizeof(owner)), v;
    int rc;

    codec_u64(owner, *id + 1);
    rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
    if (rc != 0)
        return rc;
    if (k.mv_size != CODEC_ID || codec_get_log_head_1(lmdb_bytes(v), head) != 0)
        return GR_EIO;
    memcpy(owner, k.mv_data, sizeof(owner));
    *id = codec_get_u64(owner);
    head->count = 0;
    while ((rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) == 0 && k.mv_size >= CODEC_ID &&
           memcmp(k.mv_data, owner, sizeof(owner)) == 0) {
        uint64_t seq = k.mv_size == 2 * CODEC_ID
                           ? codec_get_u64((const uint8_t *)k.mv_data + CODEC_ID) : 0;

        if (seq == 0 || seq > head->last)
            return GR_EIO;
        head->count++;
        head->bytes += codec_log_bytes(v.mv_size);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int move_head(MDB_txn *txn, MDB_dbi dbi, uint64_t id, const struct log_head *head)
{
    uint8_t old[CODEC_ID], key[CODEC_HEAD_KEY], rec[CODEC_LOG_HEAD];
    MDB_val k = lmdb_val(old, sizeof(old)), v = lmdb_val(rec, sizeof(rec));
    int rc;

    codec_u64(old, id);
    rc = mdb_del(txn, dbi, &k, NULL);
    if (rc != 0)
        return rc;
    codec_head_key(key, id);
    codec_log_head(rec, head);
    k = lmdb_val(key, sizeof(key));
    return mdb_put(txn, dbi, &k, &v, 0);
}

/* A cursor for each owner: none is asked where it stands after a change (as in lmdb_write.c). */
static int upgrade_log(MDB_txn *txn, const char *name, struct upgraded *n)
{
    struct log_head head;
    MDB_cursor *cur;
    MDB_dbi dbi;
    uint64_t id = 0; /* ids start at 1 */
    int rc = mdb_dbi_open(txn, name, 0, &dbi);

    while (rc == 0) {
        rc = mdb_cursor_open(txn, dbi, &cur);
        if (rc != 0)
            break;
        rc = next_log(cur, &id, &head);
        mdb_cursor_close(cur);
        if (rc == 0)
            rc = move_head(txn, dbi, id, &head);
        if (rc == 0) {
            n->logs++;
            n->rows += head.count;
        }
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The name of the log after `name`, which it replaces. */
static int next_name(MDB_txn *txn, char name[NAME_SIZE])
{
    MDB_cursor *cur;
    MDB_dbi names;
    MDB_val k = lmdb_val(name, strlen(name) + 1), v; /* with the NUL: behind it */
    int rc = mdb_dbi_open(txn, NULL, 0, &names);

    if (rc == 0)
        rc = mdb_cursor_open(txn, names, &cur);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
    if (rc == 0 && (k.mv_size <= strlen(LOGS) || k.mv_size >= NAME_SIZE ||
                    memcmp(k.mv_data, LOGS, strlen(LOGS)) != 0))
        rc = MDB_NOTFOUND;
    if (rc == 0) {
        memcpy(name, k.mv_data, k.mv_size);
        name[k.mv_size] = '\0';
    }
    mdb_cursor_close(cur);
    return rc;
}

static int drop(MDB_txn *txn, const char *name)
{
    MDB_dbi dbi;
    int rc = mdb_dbi_open(txn, name, 0, &dbi);

    if (rc == 0)
        rc = mdb_drop(txn, dbi, 1);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int upgrade_1(MDB_txn *txn, char **bad)
{
    char name[NAME_SIZE] = LOGS;
    struct upgraded n = { 0, 0 };
    int rc;

    gr_info("store.upgrade", "the data was written by an older version: bringing it up to date");
    while ((rc = next_name(txn, name)) == 0 && (rc = upgrade_log(txn, name, &n)) == 0) {
    }
    if (rc == GR_EIO)
        *bad = gr_asprintf("the older version's collection %s is damaged (the head of a log) and "
                           "cannot be upgraded: nothing was changed, restore it from a backup or "
                           "go on with the older version", name + strlen(LOGS));
    if (rc == MDB_NOTFOUND)
        rc = drop(txn, "map/offline.totals");
    if (rc == 0)
        gr_info("store.upgrade", "%llu logs with %llu rows, now committing",
                (unsigned long long)n.logs, (unsigned long long)n.rows);
    return rc;
}

char *lmdb_judge_schema(struct bytes rec, int *rc)
{
    uint64_t have;

    *rc = GR_EIO;
    if (codec_get_counter(rec, &have) != 0 || have == 0)
        return gr_strdup("its schema number is damaged: restore it from a backup");
    if (have > SCHEMA)
        return gr_strdup("it was written by a newer version of this server: use that version");
    *rc = 0;
    return have == SCHEMA ? NULL
                          : gr_strdup("it was written by an older version of this server, which "
                                      "cannot read it afterwards: keep a backup");
}

static int put_counter(MDB_txn *txn, MDB_dbi meta, const char *name, uint64_t value, unsigned flags)
{
    uint8_t rec[CODEC_COUNTER];
    MDB_val k = lmdb_val(name, strlen(name)), v = lmdb_val(rec, sizeof(rec));

    codec_counter(rec, value);
    return mdb_put(txn, meta, &k, &v, flags);
}

/* A new file gets its schema and the counter of owner ids in one transaction with the databases. */
static int make_schema(MDB_txn *txn, MDB_dbi meta, char **bad)
{
    int rc = put_counter(txn, meta, "schema", SCHEMA, 0);

    if (rc == 0)
        rc = put_counter(txn, meta, "next", 1, MDB_NOOVERWRITE);
    if (rc != MDB_KEYEXIST)
        return rc;
    *bad = gr_strdup("its schema number is missing: restore it from a backup");
    return GR_EIO;
}

static int see_to_schema(MDB_txn *txn, MDB_dbi meta, bool upgrade, char **bad)
{
    MDB_val k = lmdb_val("schema", 6), v;
    int rc = mdb_get(txn, meta, &k, &v), judged;
    char *say;

    if (rc == MDB_NOTFOUND)
        return make_schema(txn, meta, bad);
    if (rc != 0)
        return rc;
    say = lmdb_judge_schema(lmdb_bytes(v), &judged);
    if (say == NULL)
        return 0;
    if (judged != 0) {
        *bad = say;
        return judged;
    }
    gr_free(say);
    if (!upgrade) {
        *bad = gr_strdup("it was written by an older version of this server: a start of the server "
                         "itself upgrades it");
        return GR_EIO;
    }
    rc = upgrade_1(txn, bad);
    return rc != 0 ? rc : put_counter(txn, meta, "schema", SCHEMA, 0);
}

int lmdb_open_dbs(struct lmdb *l, bool upgrade, char **bad)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &l->meta);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "owners", MDB_CREATE, &l->owners);
    if (rc == 0)
        rc = see_to_schema(txn, l->meta, upgrade, bad);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}
