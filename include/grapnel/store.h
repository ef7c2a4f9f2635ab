/* grapnel/store.h: what must outlive the process.
 *
 * A collection belongs to the module that declares it in its descriptor. Its rows are addressed by
 * (owner, key): the owner is a bare JID or a domain, as text; a map's keys are bytes in
 * memcmp order, a log's keys are sequence numbers that the store assigns (ascending, never reused).
 *
 * Requests are asynchronous: done() runs on the calling loop, perhaps before the call returns (reads
 * from the map usually do). Writes of one transaction happen together or not at all, and done()
 * with rc 0 means: on disk. Per loop and owner, operations take effect in the order of the calls:
 * a read waits for the writes before it. A full disk is GR_EFULL, a failing one GR_EIO. */
#pragma once

#include <grapnel/base.h>

struct gr_mod;

enum gr_coll_kind { GR_COLL_MAP = 1, GR_COLL_LOG };

struct gr_coll {
    const char *name;        /* unique on the server: start it with the module's name */
    enum gr_coll_kind kind;
};
#define GR_MAP(n) { .name = (n), .kind = GR_COLL_MAP }
#define GR_LOG(n) { .name = (n), .kind = GR_COLL_LOG }
#define GR_COLL_END { .name = NULL }

struct gr_row {
    const void *key;         /* of a log: 8 bytes, big-endian sequence number */
    size_t key_len;
    const void *val;
    size_t val_len;
};
struct gr_rows {
    int rc;                  /* 0, GR_ENOENT (get only), GR_EEXIST, GR_ELIMIT, GR_EINVAL, GR_EFULL,
                                GR_EIO, GR_ECANCELED */
    const struct gr_row *row;/* borrowed until done() returns */
    size_t count;
    bool more;               /* the range has further rows behind the limit */
    uint64_t last, bytes;    /* gr_store_count of a log: the latest number given out (0: none yet), the
                                bytes in its values */
};
GR_API uint64_t gr_row_seq(const struct gr_row *row); /* sequence number of a log row */
GR_API int64_t gr_row_counter(const struct gr_row *row); /* of a counter's row: see gr_txn_add */

struct gr_req;
typedef void (*gr_store_f)(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows);

/* A request with `size` zeroed bytes of the caller's own (gr_req_data), freed by the core after
 * done(). Belongs to `self`: when the module goes, old code still gets its completion. */
GR_API struct gr_req *gr_req_new(struct gr_mod *self, size_t size, gr_store_f done);
GR_API void *gr_req_data(struct gr_req *req);
/* A request that was never issued. */
GR_API void gr_req_drop(struct gr_req **take);

/* Reads; each takes the request. `coll` is an entry of the descriptor's table. */
GR_API void gr_store_get(struct gr_req *take, const struct gr_coll *coll, const char *owner,
                         const void *key, size_t key_len);
/* Rows with key >= from (NULL: all), ascending, at most `limit`. */
GR_API void gr_store_range(struct gr_req *take, const struct gr_coll *coll, const char *owner,
                           const void *from, size_t from_len, size_t limit);
/* Rows with key < before (NULL: all), the last one first, at most `limit`. Not for keys of more than
 * 471 bytes, which are not kept in their order: GR_ENOTSUP. */
GR_API void gr_store_range_back(struct gr_req *take, const struct gr_coll *coll, const char *owner,
                                const void *before, size_t before_len, size_t limit);
/* The number of rows of an owner (rows->count; no row data). Of a log this reads one record; the rows
 * of one from which only the oldest are deleted have the numbers last - count + 1 to last. */
GR_API void gr_store_count(struct gr_req *take, const struct gr_coll *coll, const char *owner);

/* Writes: gather, then commit or drop. Keys and values are copied. */
struct gr_txn;
GR_API struct gr_txn *gr_txn_new(struct gr_mod *self);
GR_API void gr_txn_put(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                       const void *key, size_t key_len, const void *val, size_t val_len);
/* Fails the whole transaction with GR_EEXIST when the key is there. */
GR_API void gr_txn_put_new(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                           const void *key, size_t key_len, const void *val, size_t val_len);
/* Adds n, which may be negative, to a counter: a map's row whose value is 8 bytes, a signed number
 * in big-endian order; it starts at 0. Exact, whoever else adds at the same time on whatever loop, and
 * needs no reading beforehand. Fails the whole transaction with GR_ELIMIT when the sum does not fit
 * into 64 bits, with GR_EINVAL when the row has another length. */
GR_API void gr_txn_add(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                       const void *key, size_t key_len, int64_t n);
GR_API void gr_txn_append(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                          const void *val, size_t val_len);
/* The same for a value that is put together in its place: where it is to be written, before anything
 * else is done with t. NULL: it is too large, and the transaction will fail with GR_ELIMIT. */
GR_API void *gr_txn_append_room(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                                size_t val_len);
/* Fails the whole transaction with GR_ELIMIT when the log would then have more than max_rows rows,
 * or max_bytes bytes in its values; 0: unlimited. Needs no reading beforehand, and is exact. */
GR_API void gr_txn_append_max(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                              const void *val, size_t val_len, uint64_t max_rows,
                              uint64_t max_bytes);
/* Another value for a row of a log; nothing when there is no such row. */
GR_API void gr_txn_replace(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                           uint64_t seq, const void *val, size_t val_len);
GR_API void gr_txn_del(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                       const void *key, size_t key_len);
GR_API void gr_txn_del_seq(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                           uint64_t seq);
GR_API void gr_txn_del_all(struct gr_txn *t, const struct gr_coll *coll, const char *owner);
/* Takes both. req may be NULL when nobody needs to know (failures are logged then). With rc 0 done()
 * is given a row for each append (gr_row_seq) and addition (gr_row_counter: the sum), in their order. */
GR_API void gr_txn_commit(struct gr_txn *take, struct gr_req *take_req);
GR_API void gr_txn_drop(struct gr_txn **take);
