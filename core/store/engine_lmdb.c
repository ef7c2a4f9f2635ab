/* store/engine_lmdb.c: the embedded engine: opening, the map's size, collections, backup.
 *
 * Full sync, no WRITEMAP (a full disk would be SIGBUS), no NOMETASYNC. The map is address space,
 * not memory: it is opened so large that it need not grow; where that is impossible it grows
 * between transactions while no reader is inside (mdb_env_set_mapsize under a reader is a crash).
 * Databases: "meta" (schema, next owner id), "owners" (codec.h), "map/NAME", "log/NAME". */
#include "store/commit.h"
#include "store/dir.h"
#include "store/lmdb.h"

#include <grapnel/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MAX_DBS = 512, DELETE_ROOM_MIN = 4 * 1024 * 1024,
       SHORT_WRITE_FREE = 1024 * 1024 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define GIB ((size_t)1 << 30)

int lmdb_error(int rc, const char *what)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return GR_ENOENT;
    case MDB_KEYEXIST:
        return GR_EEXIST;
    case MDB_MAP_FULL:
        return ENGINE_MAPFULL;
    case MDB_TXN_FULL:
        return GR_ELIMIT;
    case ENOSPC:
    case EDQUOT:
        return GR_EFULL;
    case ENOMEM:
        return GR_ENOMEM;
    case EIO:
        /* LMDB also says this of a write that was cut short, as the one that fills a disk is.
         * Trying again is safe then: whatever follows writes all of its pages anew. */
        if (space_free() < SHORT_WRITE_FREE)
            return GR_EFULL;
        /* fallthrough */
    default:
        gr_error("store.failed", "%s: %s", what, mdb_strerror(rc));
        return ENGINE_FATAL;
    }
}

int lmdb_damaged(const char *coll, const char *what)
{
    gr_error("store.damaged", "collection %s: a stored record is damaged: %s", coll, what);
    return GR_EIO;
}

int lmdb_find_owner(struct lmdb *l, MDB_txn *txn, const char *owner, size_t len, uint64_t *id)
{
    uint8_t key[CODEC_KEY_MAX];
    MDB_val k = { codec_owner_key(key, owner, len), key }, v;
    int rc = lmdb_error(mdb_get(txn, l->owners, &k, &v), "get");

    if (rc == 0 && codec_get_owner(lmdb_bytes(v), owner, len, id) != 0)
        rc = lmdb_damaged("(owners)", "owner");
    return rc;
}

/* --- the map --- */

static int set_map(struct lmdb *l, size_t size)
{
    int rc;

    pthread_rwlock_wrlock(&l->gate);
    rc = mdb_env_set_mapsize(l->env, size);
    pthread_rwlock_unlock(&l->gate);
    if (rc == 0)
        l->map = size;
    return lmdb_error(rc, "map size");
}

uint64_t lmdb_used(const struct lmdb *l)
{
    MDB_envinfo info;
    MDB_stat st;

    mdb_env_info(l->env, &info);
    mdb_env_stat(l->env, &st);
    return (uint64_t)(info.me_last_pgno + 1) * st.ms_psize;
}

static uint64_t used(struct engine *e)
{
    return lmdb_used(GR_CONTAINER_OF(e, struct lmdb, base));
}

static int set_map_limit(struct lmdb *l)
{
    uint64_t in_use = lmdb_used(l);

    return set_map(l, in_use > l->map_max ? (size_t)in_use : l->map_max);
}

/* At its limit the map goes beyond it for two purposes, and back again.
 * Pages freed by one transaction serve the one after the next; where no next one fits, it is made
 * here. And deletions need pages before they free any: a transaction of nothing else gets them (the
 * next one finds the map back at its limit, or at what is in use by then). */
static int grow_locked(struct lmdb *l, bool deletes)
{
    size_t extra = l->map_max / 8 > DELETE_ROOM_MIN ? l->map_max / 8 : DELETE_ROOM_MIN;
    int rc;

    if (l->map < l->map_max) {
        rc = set_map(l, l->map < l->map_max / 2 ? l->map * 2 : l->map_max);
        if (rc == 0)
            gr_info("store.grown", "the map has %zu MiB now", l->map >> 20);
        return rc;
    }
    if (l->extra != LMDB_NORMAL || (l->aged && !deletes))
        return GR_EFULL;
    rc = set_map(l, l->map_max + extra);
    if (rc != 0)
        return rc;
    if (l->aged) {
        l->extra = LMDB_EXTENDED;
        return 0;
    }
    lmdb_make_next(l);
    l->aged = true;
    return set_map_limit(l);
}

static int grow(struct engine *e, bool deletes)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);
    int rc;

    if (pthread_mutex_trylock(&l->copying) != 0)
        return GR_EFULL;
    pthread_mutex_lock(&l->writer);
    rc = grow_locked(l, deletes);
    pthread_mutex_unlock(&l->writer);
    pthread_mutex_unlock(&l->copying);
    return rc;
}

static int begin(struct engine *e)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);

    if (l->extra == LMDB_SPENT && pthread_mutex_trylock(&l->copying) == 0) {
        pthread_mutex_lock(&l->writer);
        if (set_map_limit(l) == 0)
            l->extra = LMDB_NORMAL;
        pthread_mutex_unlock(&l->writer);
        pthread_mutex_unlock(&l->copying);
    }
    return lmdb_begin(e);
}

/* --- collections --- */

static int db_open(MDB_txn *txn, const char *kind, const char *name, unsigned flags, MDB_dbi *dbi)
{
    char full[128];

    snprintf(full, sizeof(full), "%s/%s", kind, name);
    return mdb_dbi_open(txn, full, flags, dbi);
}

static int coll_open(struct engine *e, struct store_coll *coll)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);
    bool is_map = coll->kind == GR_COLL_MAP;
    MDB_txn *txn;
    MDB_dbi other, dbi;
    int rc;

    pthread_mutex_lock(&l->writer);
    rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0)
        goto out;
    if (db_open(txn, is_map ? "log" : "map", coll->name, 0, &other) == 0) {
        mdb_txn_abort(txn);
        pthread_mutex_unlock(&l->writer);
        gr_error("store.coll", "collection %s is stored as a %s and asked for as a %s", coll->name,
                 is_map ? "log" : "map", is_map ? "map" : "log");
        return GR_EINVAL;
    }
    rc = db_open(txn, is_map ? "map" : "log", coll->name, MDB_CREATE, &dbi);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    if (rc == 0)
        coll->dbi = dbi;
out:
    pthread_mutex_unlock(&l->writer);
    if (rc != 0)
        gr_error("store.coll", "collection %s cannot be opened: %s", coll->name, mdb_strerror(rc));
    return rc != 0 ? GR_EIO : 0;
}

static void coll_close(struct engine *e, struct store_coll *coll)
{
    (void)e;
    (void)coll; /* handles go with the environment */
}

int lmdb_raw(struct engine *e, const char *db, struct bytes key, const struct bytes *val)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);
    MDB_val k = lmdb_val(key.data, key.len), v;
    MDB_dbi dbi;
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

    lmdb_owners_forget(l);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, db, 0, &dbi);
    if (val != NULL)
        v = lmdb_val(val->data, val->len);
    if (rc == 0)
        rc = val != NULL ? mdb_put(txn, dbi, &k, &v, 0) : mdb_del(txn, dbi, &k, NULL);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* --- backup --- */

static int backup(struct engine *e, const char *dir, char **why)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);
    int dir_fd, fd, err, rc = dir_open_empty(dir, &dir_fd, why);

    if (rc != 0)
        return rc;
    fd = openat(dir_fd, "data.mdb", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    err = fd < 0 ? errno : 0;
    if (err == 0) {
        pthread_mutex_lock(&l->copying);
        err = mdb_env_copyfd2(l->env, fd, MDB_CP_COMPACT);
        pthread_mutex_unlock(&l->copying);
    }
    if (err == 0 && (fsync(fd) != 0 || fsync(dir_fd) != 0))
        err = errno;
    if (fd >= 0)
        close(fd);
    if (err != 0) {
        unlinkat(dir_fd, "data.mdb", 0);
        *why = gr_asprintf("the backup to %s failed: %s", dir, mdb_strerror(err));
        rc = err == ENOSPC || err == EDQUOT ? GR_EFULL : GR_EIO;
    }
    dir_close(&dir_fd);
    return rc;
}

static void idle(struct engine *e)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);
    int dead = 0;

    if (mdb_reader_check(l->env, &dead) == 0 && dead > 0)
        gr_info("store.readers", "freed %d reader slots of ended processes", dead);
}

/* --- life --- */

static void close_engine(struct engine *e)
{
    struct lmdb *l = GR_CONTAINER_OF(e, struct lmdb, base);

    for (size_t i = 0; i < GR_COUNT(l->reader); i++)
        mdb_txn_abort(l->reader[i]);
    mdb_env_close(l->env);
    pthread_mutex_destroy(&l->writer);
    pthread_mutex_destroy(&l->copying);
    pthread_rwlock_destroy(&l->gate);
    lmdb_owners_forget(l);
    gr_free(l);
}

static const struct engine_ops ops = {
    .close = close_engine, .coll_open = coll_open, .coll_close = coll_close,
    .begin = begin, .exists = lmdb_exists, .apply = lmdb_apply, .commit = lmdb_commit,
    .abort = lmdb_abort, .grow = grow, .read = lmdb_read, .backup = backup, .used = used,
    .idle = idle,
};

static int env_open(struct lmdb *l, const struct store_opts *opts, size_t map)
{
    unsigned flags = MDB_NOTLS | (opts->sync ? 0 : MDB_NOSYNC);
    int rc = mdb_env_create(&l->env);

    if (rc != 0)
        return rc;
    if ((rc = mdb_env_set_mapsize(l->env, map)) == 0 &&
        (rc = mdb_env_set_maxdbs(l->env, MAX_DBS)) == 0 &&
        (rc = mdb_env_set_maxreaders(l->env, 4 * (unsigned)loop_count() + 32)) == 0)
        rc = mdb_env_open(l->env, opts->dir, flags, 0600);
    if (rc != 0)
        mdb_env_close(l->env);
    l->map = map;
    l->file = opts->sync ? 0 : -1;
    return rc;
}

/* As much address space as there is: limits (ulimit -v, valgrind) make do with less. */
static int env_open_largest(struct lmdb *l, const struct store_opts *opts)
{
    int rc = ENOMEM;

    if (opts->map_size > 0) {
        l->map_max = opts->map_size;
        return env_open(l, opts, opts->map_start > 0 ? opts->map_start : opts->map_size);
    }
    for (size_t map = SANITIZED ? GIB : 1024 * GIB; map >= GIB / 16 && rc != 0; map /= 4) {
        l->map_max = map;
        rc = env_open(l, opts,
                      opts->map_start > 0 && opts->map_start < map ? opts->map_start : map);
        if (rc != ENOMEM && rc != EINVAL)
            break;
    }
    return rc;
}

static void init_locks(struct lmdb *l)
{
    pthread_rwlockattr_t attr;

    pthread_mutex_init(&l->writer, NULL);
    pthread_mutex_init(&l->copying, NULL);
    pthread_rwlockattr_init(&attr); /* busy readers must not keep the map from growing */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&l->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
}

/* See lmdb_error about EIO; nobody watches the disk yet. */
static bool disk_full(const char *dir, int rc)
{
    struct statvfs st;

    return rc == ENOSPC || rc == EDQUOT ||
           (rc == EIO && statvfs(dir, &st) == 0 && st.f_bavail * st.f_frsize < SHORT_WRITE_FREE);
}

static int cannot_use(const char *dir, int rc, char *take_bad, char **why)
{
    const char *text = take_bad != NULL ? take_bad : mdb_strerror(rc);
    bool full = disk_full(dir, rc) || rc == MDB_MAP_FULL;

    if (full)
        text = rc == MDB_MAP_FULL ? "map_size is reached: raise it"
                                  : "the disk is full: nothing was changed, make room";
    *why = gr_asprintf("the store in %s cannot be used: %s", dir, text);
    gr_free(take_bad);
    return full ? GR_EFULL : GR_EIO;
}

int engine_lmdb_open(const struct store_opts *opts, struct engine **out, char **why)
{
    struct lmdb *l;
    char *bad = NULL;
    int rc = lmdb_check_file(opts->dir, why);

    if (rc != 0)
        return rc;
    l = gr_alloc(sizeof(*l));
    l->base.ops = &ops;
    rc = env_open_largest(l, opts);
    if (rc != 0) {
        *why = gr_asprintf("the store in %s cannot be opened: %s", opts->dir, mdb_strerror(rc));
        gr_free(l);
        return rc == ENOSPC || rc == EDQUOT ? GR_EFULL : GR_EIO;
    }
    init_locks(l);
    rc = lmdb_open_dbs(l, opts->upgrade, &bad);
    if (rc != 0) {
        close_engine(&l->base);
        return cannot_use(opts->dir, rc, bad, why);
    }
    idle(&l->base);
    *out = &l->base;
    return 0;
}
