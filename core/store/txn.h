/* store/txn.h: a transaction as it travels from its loop to the committer and back. */
#pragma once

#include "store/engine.h"

/* Of most transactions all: these need no memory of their own. */
enum { TXN_OPS_FEW = 2, TXN_OWNERS_FEW = 1 };
enum { TXN_BYTES_MAX = 64 * 1024 * 1024, TXN_OPS_MAX = 100000, STORE_VAL_MAX = 16 * 1024 * 1024 };

struct txn_op {              /* offsets into the bytes: these move while they grow */
    enum store_op op;
    struct store_coll *coll;
    uint32_t owner;          /* index */
    uint32_t key_len, val_len;
    size_t key, val;
    struct log_max max;
    uint64_t result;
    uint8_t number[CODEC_ID]; /* the result as a row has it: txn_rows */
};
struct txn_owner {
    size_t at;
    uint32_t len;
    uint64_t hash;           /* once it was committed */
};

struct store_txn {
    struct store_txn *next;  /* in the committer's queue, then in the loop's completions */
    struct txn_op *op;
    size_t ops, ops_cap, results; /* results: operations that have one */
    struct txn_owner *owner;
    size_t owners, owners_cap;
    struct txn_op op_few[TXN_OPS_FEW];
    struct txn_owner owner_few[TXN_OWNERS_FEW];
    struct buf bytes;
    bool frees;              /* nothing but deletions */
    int rc;                  /* broken from the start, or the result */
    bool poison;             /* of the batch: tried, failed half-way */
    struct store_req *req;
    int ctx;                 /* of which loop */
    uint64_t ticket;
};

/* Owners are NUL-terminated in the bytes. */
static inline const char *txn_owner(const struct store_txn *t, size_t i)
{
    return buf_data(&t->bytes) + t->owner[i].at;
}
size_t txn_size(const struct store_txn *t);
struct engine_op txn_engine_op(const struct store_txn *t, size_t i);
/* The rows of a completed transaction: its results, as many as t->results; they point into it. */
void txn_rows(struct store_txn *t, struct gr_row *out);
