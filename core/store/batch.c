/* store/batch.c: many transactions in one engine transaction, none at the cost of the others.
 *
 * Every transaction sees those before it, and happens as a whole or not at all. One that cannot
 * happen (PUT_NEW of what is there, a full log or counter) is mostly found out at or before its first
 * operation, so the batch goes on without it; where that is only seen half-way, the engine
 * transaction is taken back and tried again without the culprit (no nested transactions: LMDB
 * 0.9.24 has open bugs in them).
 * Full disk and full map: see decide(). Committer thread only. */
#include "store/commit.h"

#include <grapnel/log.h>

#include <errno.h>
#include <string.h>
#include <time.h>

enum { AGAIN = 1 };

struct batch_stats batch_stats;
const struct store_faults *store_faults;

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* 0, GR_EEXIST or GR_EIO: known before anything of t was applied. Stops looking at the first
 * deletion: what follows may create anew what that removed. */
static int precheck(struct engine *e, const struct store_txn *t)
{
    for (size_t i = 0; i < t->ops && t->ops > 1; i++) {
        struct engine_op op;
        int rc;

        if (t->op[i].op == STORE_DEL || t->op[i].op == STORE_DEL_ALL)
            break;
        if (t->op[i].op != STORE_PUT_NEW)
            continue;
        op = txn_engine_op(t, i);
        rc = e->ops->exists(e, &op);
        if (rc != 0)
            return rc == 1 ? GR_EEXIST : rc;
    }
    return 0;
}

/* What concerns one transaction only. */
static bool is_own(int rc)
{
    return rc == GR_EEXIST || rc == GR_EIO || rc == GR_EINVAL || rc == ENGINE_LIMIT;
}

/* 0 (t->rc tells), AGAIN without t, or the engine's error. */
static int apply(struct engine *e, struct store_txn *t)
{
    bool half = false;
    int rc = precheck(e, t);

    for (size_t i = 0; i < t->ops && rc == 0; i++) {
        struct engine_op op = txn_engine_op(t, i);

        if (!txn_op_holds(t, i))
            continue;
        rc = e->ops->apply(e, &op);
        t->op[i].result = op.result;
        half = i > 0 || rc == GR_EIO;
    }
    if (rc == 0)
        txn_happens(t);
    if (!is_own(rc))
        return rc;
    txn_fail(t, rc == ENGINE_LIMIT ? GR_ELIMIT : rc);
    t->poison = half;
    return half ? AGAIN : 0;
}

static int commit(struct engine *e)
{
    static uint64_t n;
    int64_t start = now_us();
    int err = 0, rc;

    if (store_faults != NULL && store_faults->commit != NULL)
        err = store_faults->commit(++n);
    else
        n = 0;
    if (err != 0) {
        e->ops->abort(e);
        if (err == ENOSPC || err == EDQUOT)
            return GR_EFULL;
        gr_error("store.failed", "commit: %s", strerror(err));
        return ENGINE_FATAL;
    }
    rc = e->ops->commit(e);
    if (rc == 0) {
        batch_stats.commits++;
        batch_stats.sync_us_last = (uint64_t)(now_us() - start);
    }
    return rc;
}

/* One engine transaction with all of v that are not poisoned. */
static int attempt(struct engine *e, struct store_txn **v, size_t n)
{
    size_t ops = 0;
    bool adds = false;
    int rc = e->ops->begin(e);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (v[i]->poison)
            continue;
        v[i]->rc = 0;
        if (space_refuses(v[i])) {
            txn_fail(v[i], GR_EFULL);
            continue;
        }
        rc = apply(e, v[i]);
        if (v[i]->rc == 0) {
            ops += v[i]->ops;
            adds |= !v[i]->frees;
        }
    }
    if (rc != 0 || ops == 0) {
        e->ops->abort(e);
        return rc;
    }
    rc = commit(e);
    if (rc == 0) {
        batch_stats.ops += ops;
        if (adds)
            space_fits();
    }
    return rc;
}

static void set_rc(struct store_txn **v, size_t n, int rc)
{
    for (size_t i = 0; i < n; i++)
        txn_fail(v[i], rc);
}

/* After no room, memory or too large: smaller steps, where deletions use the ballast. A transaction
 * alone gets the error. */
static bool decide(struct engine *e, struct store_txn **v, size_t n, int rc)
{
    if (rc == GR_EFULL || rc == ENGINE_MAPFULL)
        space_exhausted(rc == ENGINE_MAPFULL);
    for (size_t i = 0; i < n; i++)
        v[i]->poison = false;
    if (n > 1) {
        for (size_t i = 0; i < n; i++) {
            if (!batch_run(e, &v[i], 1)) {
                set_rc(v + i, n - i, GR_EIO);
                return false;
            }
        }
        return true;
    }
    txn_fail(v[0], rc == ENGINE_MAPFULL ? GR_EFULL : rc);
    return true;
}

bool batch_run(struct engine *e, struct store_txn **v, size_t n)
{
    bool ballast = false;
    int rc;

    space_check();
    do {
        rc = attempt(e, v, n);
        if (rc == ENGINE_MAPFULL && e->ops->grow(e, n == 1 && v[0]->frees) == 0)
            rc = AGAIN;
        if (rc == GR_EFULL && n == 1 && v[0]->frees && !ballast) {
            ballast = true; /* deletions need pages too: once more with the ballast given up */
            space_exhausted(false);
            rc = AGAIN;
        }
    } while (rc == AGAIN);
    if (rc == 0)
        return true;
    if (rc == ENGINE_FATAL) {
        set_rc(v, n, GR_EIO);
        return false;
    }
    return decide(e, v, n, rc);
}
