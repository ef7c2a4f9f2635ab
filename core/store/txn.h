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
    const struct store_bond *only_if; /* it holds; or NULL */
    uint64_t result;
    uint8_t number[CODEC_ID]; /* the result as a row has it: txn_rows */
};
struct txn_owner {
    size_t at;
    uint32_t len;
    uint64_t hash;           /* once it was committed */
};

struct store_bond {
    _Atomic unsigned refs;
    _Atomic bool broken;     /* written by the committer */
};
struct txn_bond {
    struct store_bond *bond; /* one reference */
    const struct store_bond *only_if; /* what counts for `bond` happens only then; or NULL */
    bool counts;             /* broken when the transaction fails, or that does not happen */
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
    struct txn_bond *bond;
    size_t bonds, bonds_cap;
    const struct store_bond *only_if; /* of what is added next */
    struct store_rider *riders;
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
/* They are told that it is decided. */
void txn_dismount(struct store_rider **take);
/* The result, when it is not 0: what counts on t is broken / it happens, but for what it does only if a
 * bond holds. Committer. */
void txn_fail(struct store_txn *t, int rc);
void txn_happens(struct store_txn *t);
/* Does operation i happen? Committer. */
static inline bool txn_op_holds(const struct store_txn *t, size_t i)
{
    return t->op[i].only_if == NULL || !t->op[i].only_if->broken;
}
struct engine_op txn_engine_op(const struct store_txn *t, size_t i);
/* The rows of a completed transaction: its results, as many as t->results; they point into it. */
void txn_rows(struct store_txn *t, struct gr_row *out);
