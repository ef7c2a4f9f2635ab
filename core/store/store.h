/* store/store.h: the store's front: asynchronous requests from loops, group commit behind it.
 *
 * Reads run on the calling loop from the engine's snapshot; writes queue to one committer thread,
 * and whatever gathered during one commit is the next transaction. A completion runs on the loop
 * that asked. Per loop and owner, a read waits for the writes issued before it. The engine behind
 * is a table of functions (engine.h): LMDB in production, memory in tests. */
#pragma once

#include "loop/loop.h"

#include <grapnel/store.h>

struct store_coll;   /* a registered collection; constant until store_close */

struct store_opts {
    const char *dir;         /* data directory; NULL: memory engine (tests) */
    size_t map_size;         /* address space, bytes; 0: default (1 TiB; 1 GiB under sanitizers) */
    size_t map_start;        /* what to begin with, doubled up to map_size; 0: all of it at once */
    int64_t commit_delay_us; /* from start to start; 0: up to 8000, after large ones only; negative: none */
    bool sync;               /* false only in tests and benchmarks */
    bool upgrade;            /* a layout of an older version is brought up to date, else refused */
    bool manual;             /* virtual time: no committer thread, store_step() commits */
    /* The disk failed in a commit (not: is full). Called once, on the committer; the process must
     * not acknowledge anything any more and should exit (75). */
    void (*failed)(void);
};

/* Main thread, after loops_init, before loops_start. 0, or a gr_err with a sentence in *why (free
 * it). Takes a lock on dir. */
int store_open(const struct store_opts *opts, char **why);
/* What that would do about the layout of the data in dir, which may be in use, without a change:
 * 0 (*say: NULL, or a sentence when it would upgrade it), or the error and its sentence. */
int store_look(const char *dir, char **say);
/* Main thread: returns when what was queued before the call is committed and its completions are
 * on their way to the loops, which then may still send what depends on it. Not in manual mode. */
void store_flush(void);
/* Main thread, before loops_fini; loops may be running or stopped. Commits what is queued, runs the
 * completions (on their loops, while these run); requests from then on are GR_ECANCELED. */
void store_close(void);
/* What the calling loop has asked for and not been answered yet; 0 when there is nothing. */
size_t store_busy(void);

/* Registers (idempotent by name) or finds; NULL when the kind differs (also from what is on disk),
 * the name is longer than 64 bytes or the disk refuses (logged). Main thread. */
struct store_coll *store_coll(const char *name, enum gr_coll_kind kind);

struct store_rider;
/* Embedded by the caller, zeroed but for done. Loops only (not pool threads). */
struct store_req {
    struct post post;        /* private */
    struct link wait;        /* private */
    struct store_read *read; /* private */
    struct store_rider *riders; /* private */
    struct gr_rows rows;     /* the result; memory valid until done() returns */
    void (*done)(struct store_req *req); /* may free req */
};

/* Reads. The owner is 1 to 4096 bytes, keys are at most 16384, values 16 MiB; else GR_ELIMIT. One
 * answer holds at most 4 MiB and at least one row; `more` tells that there are others. A later
 * write may already be visible to a read that had to wait. At most 100k reads of one loop wait,
 * then GR_EAGAIN. Damaged data is GR_EIO, and logged. */
void store_get(struct store_req *req, struct store_coll *coll, const char *owner, const void *key,
               size_t key_len);
void store_range(struct store_req *req, struct store_coll *coll, const char *owner,
                 const void *from, size_t from_len, size_t limit);
void store_range_back(struct store_req *req, struct store_coll *coll, const char *owner,
                      const void *before, size_t before_len, size_t limit);
void store_count(struct store_req *req, struct store_coll *coll, const char *owner);

/* The owners that are `domain` or an account of it and have rows in the collection: a row each, its value
 * is the owner; a row without value says nothing. At most 500. `more`: go on behind the last row's key
 * (NULL: the start), once what was listed has been deleted. */
void store_owners(struct store_req *req, struct store_coll *coll, const char *domain,
                  const void *after, size_t after_len, size_t limit);

struct store_txn;
struct store_txn *store_txn_new(void);
/* STORE_REPLACE: of a log's row, nothing when it is not there. */
enum store_op { STORE_PUT, STORE_PUT_NEW, STORE_ADD, STORE_APPEND, STORE_REPLACE, STORE_DEL,
                STORE_DEL_ALL };
void store_txn_add(struct store_txn *t, enum store_op op, struct store_coll *coll,
                   const char *owner, const void *key, size_t key_len, const void *val,
                   size_t val_len);
/* STORE_APPEND of a value that the caller writes there, all of it, before anything else is done with t;
 * NULL: too large, as store_commit will say. */
void *store_txn_append_room(struct store_txn *t, struct store_coll *coll, const char *owner,
                            size_t val_len);
/* STORE_APPEND to a log that must not have more than this afterwards: else the whole transaction
 * fails with GR_ELIMIT. */
struct log_max {
    uint64_t rows, bytes;    /* bytes: of the values; 0: unlimited */
};
void store_txn_append_max(struct store_txn *t, struct store_coll *coll, const char *owner,
                          const void *val, size_t val_len, struct log_max max);
/* STORE_ADD of n to a counter: a map's row whose value is 8 bytes, big-endian, of a signed number;
 * from 0 when it is not there. The whole transaction fails with GR_ELIMIT when the sum would not fit,
 * with GR_EINVAL when the row has another length. */
void store_txn_add_to(struct store_txn *t, struct store_coll *coll, const char *owner,
                      const void *key, size_t key_len, int64_t n);
bool store_txn_empty(const struct store_txn *t);

/* What several transactions have in common: those that count for it (store_txn_for), and operations that
 * say that all these have happened (store_txn_if). Once one of them failed it is broken for good. What a
 * transaction has for one bond only if another holds fails when that does not. */
struct store_bond;
struct store_bond *store_bond_new(void);
struct store_bond *store_bond_ref(struct store_bond *b);     /* accepts NULL; any thread */
void store_bond_release(struct store_bond **take);           /* accepts NULL; any thread */
bool store_bond_broken(const struct store_bond *b);          /* any thread */
void store_txn_for(struct store_txn *t, struct store_bond *b);
/* Operations added from now on (puts and deletions) happen only while the bond holds, NULL: always. What
 * was committed before, by this loop or as far as this loop has been told of, is decided before. */
void store_txn_if(struct store_txn *t, struct store_bond *b);

/* Somebody who goes along with a transaction, on its loop. */
struct store_rider {
    struct store_rider *next;
    void (*queued)(struct store_rider *r);  /* behind all that was committed before; may be NULL */
    void (*decided)(struct store_rider *r); /* once, behind its request's done(); or it was dropped */
};
void store_txn_ride(struct store_txn *t, struct store_rider *r);
/* Takes the transaction; req may be NULL (then failures are logged). Its operations happen in order
 * and together. With rc 0 the rows are what STORE_APPEND and STORE_ADD made, in order: the number as
 * the key, without a value; the sum as the value, without a key.
 * The queue to the committer is bounded (64 MiB, 100k operations): beyond it the request completes
 * with GR_EAGAIN; a transaction larger than that with GR_ELIMIT. */
void store_commit(struct store_txn *take, struct store_req *req);
void store_txn_free(struct store_txn **take);

/* Consistent copy of the environment into an empty directory; blocks: worker thread. */
int store_backup(const char *dir, char **why);
struct store_stats {
    uint64_t commits, ops, sync_us_last, queue_bytes, map_used, disk_free;
    bool read_only;          /* refusing writes other than deletions: disk or map full */
    bool failed;             /* the disk failed: nothing is committed any more */
};
void store_stats(struct store_stats *out); /* any thread */
/* Virtual-time tests: run the committer's work on the caller's thread until nothing is queued. */
bool store_step(void);
