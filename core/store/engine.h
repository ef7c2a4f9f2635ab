/* store/engine.h: what keeps the rows, behind the front and the committer.
 *
 * One thread writes (the committer, or the caller of store_step): begin, apply..., commit or abort.
 * Loops read at any time from the last committed state, each call with a snapshot of its own. An
 * engine does its own locking between the two. All results are 0 or a gr_err, and for the writer:
 *   ENGINE_MAPFULL   the map is full: abort, grow(), again
 *   ENGINE_LIMIT     from apply only: the log has as much as STORE_APPEND allows, or STORE_ADD would
 *                    leave the range of its counter; nothing was done
 *   GR_EINVAL        from apply only: STORE_ADD to what is no counter; nothing was done
 *   ENGINE_FATAL     the environment failed (logged): abort, and never begin again
 *   GR_ELIMIT        the transaction is too large: abort, try smaller ones
 *   GR_EFULL, GR_ENOMEM   as they say: abort
 *   GR_EIO           from apply only: a record in the way is damaged (logged) */
#pragma once

#include <string.h>

#include "base/table.h"
#include "store/codec.h"
#include "store/rowset.h"
#include "store/store.h"

enum { ENGINE_MAPFULL = -100, ENGINE_FATAL = -101, ENGINE_LIMIT = -102 };

struct store_coll {
    char *name;
    enum gr_coll_kind kind;
    struct store_coll *next;
    unsigned dbi;          /* of the LMDB engine */
    void *cursor;          /* ... its writer's, of a log, in the write transaction with this number */
    uint64_t cursor_of;
    struct table owners;   /* of the memory engine */
};

struct engine_op {
    enum store_op op;
    struct store_coll *coll;
    const char *owner;
    size_t owner_len;
    uint64_t owner_hash;   /* hash_bytes of it */
    const void *key;
    size_t key_len;
    const void *val;
    size_t val_len;
    struct log_max max;    /* of STORE_APPEND */
    uint64_t result;       /* out: the number that STORE_APPEND gave, the sum of STORE_ADD */
};

/* Does STORE_APPEND keep its bounds with a log that has this much? */
static inline bool engine_log_room(const struct engine_op *op, uint64_t rows, uint64_t bytes)
{
    return (op->max.rows == 0 || rows < op->max.rows) &&
           (op->max.bytes == 0 || (op->val_len <= op->max.bytes &&
                                   bytes <= op->max.bytes - op->val_len));
}

/* STORE_ADD: op->val is what to add, `was` the row's value (data NULL: there is no row). 0 and the
 * sum in op->result, or what apply returns. */
static inline int engine_sum(struct engine_op *op, struct bytes was)
{
    int64_t sum;

    if (was.data != NULL && was.len != CODEC_ID)
        return GR_EINVAL;
    if (__builtin_add_overflow(was.data != NULL ? (int64_t)codec_get_u64(was.data) : 0,
                               (int64_t)codec_get_u64(op->val), &sum))
        return ENGINE_LIMIT;
    op->result = (uint64_t)sum;
    return 0;
}

/* Is the owner the domain, or an account of it? */
static inline bool engine_of_domain(const char *owner, size_t len, const char *domain, size_t n)
{
    return len >= n && memcmp(owner + len - n, domain, n) == 0 &&
           (len == n || owner[len - n - 1] == '@');
}

enum engine_read { ENGINE_GET, ENGINE_RANGE, ENGINE_RANGE_BACK, ENGINE_COUNT, ENGINE_OWNERS };
struct engine_query {
    enum engine_read what;
    const struct store_coll *coll;
    const char *owner;     /* of ENGINE_OWNERS: the domain */
    size_t owner_len;
    const void *key;       /* of a range: from (back: before); NULL: all. ENGINE_OWNERS: behind that row's key */
    size_t key_len;
    size_t limit;
};
struct engine_answer {
    struct rowset rows;    /* sealed by whoever asked */
    size_t count;          /* of ENGINE_COUNT, with the next two for a log */
    uint64_t last, bytes;
    bool more;
};

struct engine {
    const struct engine_ops *ops;
};
struct engine_ops {
    void (*close)(struct engine *take);
    int (*coll_open)(struct engine *e, struct store_coll *coll);
    void (*coll_close)(struct engine *e, struct store_coll *coll);
    int (*begin)(struct engine *e);
    /* Is there such a row, seen from inside the transaction? 1, 0 or an error as of apply. */
    int (*exists)(struct engine *e, const struct engine_op *op);
    int (*apply)(struct engine *e, struct engine_op *op);
    int (*commit)(struct engine *e);
    void (*abort)(struct engine *e);
    /* 0: there is more room now, beyond the configured size for a transaction that only deletes */
    int (*grow)(struct engine *e, bool deletes);
    /* `reader`: 0 .. LOOPS_MAX, one thread at a time each. GR_ENOENT only from a get. */
    int (*read)(struct engine *e, int reader, const struct engine_query *q,
                struct engine_answer *out);
    int (*backup)(struct engine *e, const char *dir, char **why);
    uint64_t (*used)(struct engine *e);         /* bytes of the map in use; committer */
    void (*idle)(struct engine *e);             /* about once a minute; committer */
};

struct engine *engine_mem_open(void);
int engine_lmdb_open(const struct store_opts *opts, struct engine **out, char **why);

/* Tests put errors in the way: NULL in production. commit: errno for the n-th commit (from 1), or
 * 0; free: what the disk shall have left. Set while nothing is queued. */
struct store_faults {
    int (*commit)(uint64_t n);
    uint64_t (*free)(void);
};
extern const struct store_faults *store_faults;
