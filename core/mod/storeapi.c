/* mod/storeapi.c: grapnel/store.h for instances, over store/store.h. A request counts as in flight from
 * its issue to its completion, so the old code is there for it after a reload; at shutdown the
 * completion is dropped. On the loop of the instance. */
#include <string.h>

#include <grapnel/log.h>

#include "mod/spec.h"
#include "mod/usage.h"
#include "store/store.h"

struct gr_req {
    struct store_req req;
    struct gr_mod *self;
    gr_store_f done;
    size_t size;
    max_align_t data[];
};
struct gr_txn {
    struct gr_mod *self;
    struct store_txn *txn;
    bool broken;         /* names a collection that is not the module's */
};

struct gr_req *gr_req_new(struct gr_mod *self, size_t size, gr_store_f done)
{
    struct gr_req *req = gr_alloc(sizeof(*req) + size);

    req->self = self;
    req->done = done;
    req->size = sizeof(*req) + size;
    self->bytes += req->size;
    return req;
}

void *gr_req_data(struct gr_req *req)
{
    return req->data;
}

void gr_req_drop(struct gr_req **take)
{
    if (*take != NULL)
        (*take)->self->bytes -= (*take)->size;
    gr_free(*take);
    *take = NULL;
}

static void finish(struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_mod *self = req->self;

    if (!self->stopped && req->done != NULL) {
        struct gr_mod *before = usage_begin(self);
        req->done(self, req, rows);
        usage_end(self, before);
    }
    gr_req_drop(&req);
    mod_unpend(self);
}

static void on_done(struct store_req *sr)
{
    struct gr_req *req = GR_CONTAINER_OF(sr, struct gr_req, req);

    finish(req, &sr->rows);
}

static void fail(struct gr_req *req, int rc)
{
    const struct gr_rows rows = { .rc = rc };

    finish(req, &rows);
}

/* The registered collection; NULL: the descriptor does not declare it. */
static struct store_coll *coll_of(struct gr_mod *self, const struct gr_coll *coll)
{
    const struct gr_coll *table = self->desc->collections;

    for (size_t i = 0; table != NULL && table[i].name != NULL; i++) {
        if (&table[i] == coll || strcmp(table[i].name, coll->name) == 0)
            return self->spec->colls[i];
    }
    gr_error("mod.collection", "mod_%s uses the collection %s without declaring it",
             self->desc->name, coll->name);
    return NULL;
}

/* --- reads --- */

static struct store_coll *begin(struct gr_req *req, const struct gr_coll *coll)
{
    struct store_coll *c = coll_of(req->self, coll);

    req->req.done = on_done;
    mod_pend(req->self);
    if (c == NULL)
        fail(req, GR_ENOTSUP);
    return c;
}

void gr_store_get(struct gr_req *take, const struct gr_coll *coll, const char *owner,
                  const void *key, size_t key_len)
{
    struct store_coll *c = begin(take, coll);

    if (c != NULL)
        store_get(&take->req, c, owner, key, key_len);
}

void gr_store_range(struct gr_req *take, const struct gr_coll *coll, const char *owner,
                    const void *from, size_t from_len, size_t limit)
{
    struct store_coll *c = begin(take, coll);

    if (c != NULL)
        store_range(&take->req, c, owner, from, from_len, limit);
}

void gr_store_range_back(struct gr_req *take, const struct gr_coll *coll, const char *owner,
                         const void *before, size_t before_len, size_t limit)
{
    struct store_coll *c = begin(take, coll);

    if (c != NULL)
        store_range_back(&take->req, c, owner, before, before_len, limit);
}

void gr_store_count(struct gr_req *take, const struct gr_coll *coll, const char *owner)
{
    struct store_coll *c = begin(take, coll);

    if (c != NULL)
        store_count(&take->req, c, owner);
}

/* --- writes --- */

struct gr_txn *gr_txn_new(struct gr_mod *self)
{
    struct gr_txn *t = gr_alloc(sizeof(*t));

    t->self = self;
    t->txn = store_txn_new();
    return t;
}

static void add(struct gr_txn *t, enum store_op op, const struct gr_coll *coll, const char *owner,
                const void *key, size_t key_len, const void *val, size_t val_len)
{
    struct store_coll *c = coll_of(t->self, coll);

    if (c == NULL)
        t->broken = true;
    else
        store_txn_add(t->txn, op, c, owner, key, key_len, val, val_len);
}

void gr_txn_put(struct gr_txn *t, const struct gr_coll *coll, const char *owner, const void *key,
                size_t key_len, const void *val, size_t val_len)
{
    add(t, STORE_PUT, coll, owner, key, key_len, val, val_len);
}

void gr_txn_put_new(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                    const void *key, size_t key_len, const void *val, size_t val_len)
{
    add(t, STORE_PUT_NEW, coll, owner, key, key_len, val, val_len);
}

void gr_txn_add(struct gr_txn *t, const struct gr_coll *coll, const char *owner, const void *key,
                size_t key_len, int64_t n)
{
    struct store_coll *c = coll_of(t->self, coll);

    if (c == NULL)
        t->broken = true;
    else
        store_txn_add_to(t->txn, c, owner, key, key_len, n);
}

void gr_txn_append(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                   const void *val, size_t val_len)
{
    add(t, STORE_APPEND, coll, owner, NULL, 0, val, val_len);
}

void *gr_txn_append_room(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                         size_t val_len)
{
    struct store_coll *c = coll_of(t->self, coll);

    t->broken |= c == NULL;
    return c != NULL ? store_txn_append_room(t->txn, c, owner, val_len) : NULL;
}

void gr_txn_append_max(struct gr_txn *t, const struct gr_coll *coll, const char *owner,
                       const void *val, size_t val_len, uint64_t max_rows, uint64_t max_bytes)
{
    struct store_coll *c = coll_of(t->self, coll);

    if (c == NULL)
        t->broken = true;
    else
        store_txn_append_max(t->txn, c, owner, val, val_len,
                             (struct log_max){ max_rows, max_bytes });
}

static void put_seq(unsigned char key[8], uint64_t seq)
{
    for (int i = 0; i < 8; i++)
        key[i] = (unsigned char)(seq >> (56 - 8 * i));
}

void gr_txn_del(struct gr_txn *t, const struct gr_coll *coll, const char *owner, const void *key,
                size_t key_len)
{
    add(t, STORE_DEL, coll, owner, key, key_len, NULL, 0);
}

void gr_txn_replace(struct gr_txn *t, const struct gr_coll *coll, const char *owner, uint64_t seq,
                    const void *val, size_t val_len)
{
    unsigned char key[8];

    put_seq(key, seq);
    add(t, STORE_REPLACE, coll, owner, key, sizeof(key), val, val_len);
}

void gr_txn_del_seq(struct gr_txn *t, const struct gr_coll *coll, const char *owner, uint64_t seq)
{
    unsigned char key[8];

    put_seq(key, seq);
    add(t, STORE_DEL, coll, owner, key, sizeof(key), NULL, 0);
}

void gr_txn_del_all(struct gr_txn *t, const struct gr_coll *coll, const char *owner)
{
    add(t, STORE_DEL_ALL, coll, owner, NULL, 0, NULL, 0);
}

static void unheard(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)req;
    if (rows->rc != 0)
        gr_error("mod.store", "mod_%s: a write failed: %s", self->desc->name, gr_strerror(rows->rc));
}

void gr_txn_commit(struct gr_txn *take, struct gr_req *take_req)
{
    struct gr_req *req = take_req != NULL ? take_req : gr_req_new(take->self, 0, unheard);
    struct store_txn *txn = take->txn;
    bool broken = take->broken;

    gr_free(take);
    req->req.done = on_done;
    mod_pend(req->self);
    if (broken) {
        store_txn_free(&txn);
        fail(req, GR_ENOTSUP);
    } else {
        store_commit(txn, &req->req);
    }
}

struct store_txn *mod_txn_store(struct gr_txn *t)
{
    return t->txn;
}

void gr_txn_drop(struct gr_txn **take)
{
    struct gr_txn *t = *take;

    *take = NULL;
    if (t == NULL)
        return;
    store_txn_free(&t->txn);
    gr_free(t);
}
