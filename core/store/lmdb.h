/* store/lmdb.h: what the files of the LMDB engine share (and the fuzzer, which writes damage).
 *
 * Locks: `writer` is held from begin to commit or abort, so that a collection is never opened and
 * the map never moved under a write transaction; `gate` keeps readers out while the map moves;
 * `copying` is held by a backup, which reads for long: then the map just does not grow. */
#pragma once

#include "store/codec.h"
#include "store/engine.h"

#include <lmdb.h>
#include <pthread.h>

enum { LMDB_OWNERS = 4096 };
struct lmdb {
    struct engine base;
    MDB_env *env;
    pthread_mutex_t writer, copying;
    pthread_rwlock_t gate;
    MDB_dbi meta, owners;
    size_t map, map_max;
    off_t file;              /* length, at least; -1: not made longer ahead of need */
    enum { LMDB_NORMAL, LMDB_EXTENDED, LMDB_SPENT } extra; /* map beyond map_max, see grow */
    bool aged;               /* what the latest commit freed can be used, see grow */
    MDB_txn *reader[LOOPS_MAX + 1]; /* reset between calls */
    /* The writer's, from begin to the end. */
    MDB_txn *txn;
    uint64_t number;         /* of the transaction; counts those of this process */
    uint64_t next_owner;     /* 0: not read yet */
    bool next_changed;
    struct lmdb_owner *known[LMDB_OWNERS]; /* at the place their hash says */
};

/* --- engine_lmdb.c --- */
/* Maps a result of LMDB to engine.h's; logs what is ENGINE_FATAL. */
int lmdb_error(int rc, const char *what);
/* Bytes of the map in use. */
uint64_t lmdb_used(const struct lmdb *l);
/* Logs, returns GR_EIO. */
int lmdb_damaged(const char *coll, const char *what);
/* Finds an owner's id: 0, GR_ENOENT, GR_EIO (damaged), or ENGINE_... */
int lmdb_find_owner(struct lmdb *l, MDB_txn *txn, const char *owner, size_t len, uint64_t *id);
/* Tests: a raw pair (NULL value: its removal) into a database by its LMDB name. */
int lmdb_raw(struct engine *e, const char *db, struct bytes key, const struct bytes *val);

static inline MDB_val lmdb_val(const void *data, size_t len)
{
    return (MDB_val){ .mv_size = len, .mv_data = (void *)(uintptr_t)data };
}
static inline struct bytes lmdb_bytes(MDB_val v)
{
    return (struct bytes){ v.mv_data, v.mv_size };
}

/* --- lmdb_owner.c --- */
/* Finds an owner's id, or with `add` makes it: 0 or an error as of apply. */
int lmdb_owner_id(struct lmdb *l, const struct engine_op *op, bool add, uint64_t *id);
/* Nothing is known any more. */
void lmdb_owners_forget(struct lmdb *l);

/* --- lmdb_write.c --- */
int lmdb_begin(struct engine *e);
int lmdb_exists(struct engine *e, const struct engine_op *op);
int lmdb_apply(struct engine *e, struct engine_op *op);
int lmdb_commit(struct engine *e);
void lmdb_abort(struct engine *e);
void lmdb_make_next(struct lmdb *l);

/* --- lmdb_read.c --- */
int lmdb_read(struct engine *e, int reader, const struct engine_query *q,
              struct engine_answer *out);

/* --- lmdb_check.c --- */
/* A file shorter than its last page kills whoever reads behind its end (SIGBUS): refuse it. */
int lmdb_check_file(const char *dir, char **why);

/* --- lmdb_schema.c --- */
/* Opens "meta" and "owners" and sees to the schema, in a transaction that it ends. 0 or LMDB's
 * code; GR_EIO with what is in the way in *bad (free it). */
int lmdb_open_dbs(struct lmdb *l, bool upgrade, char **bad);
/* What it would do about a stored schema number: NULL (it is this version's), or a sentence; *rc:
 * 0 when it would upgrade, GR_EIO when it would refuse. */
char *lmdb_judge_schema(struct bytes rec, int *rc);
