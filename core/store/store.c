/* store/store.c: the front: checks, reads on the calling loop, order per owner, completions.
 *
 * Each loop has a context: completions that wait for it, and the owners it has writes of under way.
 * A read of such an owner waits in line until the last write issued before it is decided; the
 * others run at once. Reads that complete inside a completion inside a completion... are deferred
 * to the loop's next turn at some depth, so that a chain of them cannot eat the stack. */
#include "store/store.h"

#include "store/codec.h"
#include "store/commit.h"
#include "store/dir.h"

#include <grapnel/log.h>

#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH_MAX = 16, READS_WAITING_MAX = 100000, NAME_MAX_LEN = 64 };

struct store_read {
    struct engine_query q;
    uint64_t after;          /* the write that must be decided first; 0: none */
    uint8_t bytes[];
};

/* An owner with writes of this loop under way, or with reads in line behind them. */
struct pending {
    struct table_node node;
    uint64_t last;           /* ticket of the latest write */
    struct link reads;
    char owner[];
};

struct ctx {
    pthread_mutex_t lock;    /* of the next three */
    struct store_txn *done, **tail;
    bool posted;             /* a wake is on its way to the loop */
    /* The rest is the loop's own. */
    struct table pending;
    uint64_t tickets;
    size_t waiting;          /* reads in line */
    int depth;
    size_t deferred;         /* reads put off because of the depth */
    struct flush wake;       /* the committer, when all of this turn is queued: one commit for it */
    enum { CLOSED, OPEN, CLOSING } state; /* closing: what was asked is still answered */
};

/* Tells a loop to look at its completions. May arrive after store_close, and then finds none. */
struct wake {
    struct post post;
    struct ctx *ctx;
};

static struct ctx ctxs[LOOPS_MAX + 1]; /* the main loop's is the first; for the process's life */
static pthread_once_t ctxs_once = PTHREAD_ONCE_INIT;
static struct engine *engine;          /* NULL: closed; loops ask their context's state */
static struct store_coll *colls;
static int dir_fd = -1;

static int self_index(void)
{
    struct loop *l = loop_self();

    gr_assert(l != NULL);
    return loop_index(l) + 1;
}

/* --- completions --- */

static void finish_req(struct ctx *ctx, struct store_req *req)
{
    ctx->depth++;
    req->done(req);
    ctx->depth--;
}

static void run_read(struct ctx *ctx, struct store_req *req, const struct engine_query *q)
{
    struct engine_answer a = { .count = 0 };
    int rc = GR_ECANCELED;

    if (ctx->state != CLOSED)
        rc = engine->ops->read(engine, (int)(ctx - ctxs), q, &a);
    if (rc != 0)
        rowset_fini(&a.rows);
    rowset_seal(&a.rows);
    req->rows = (struct gr_rows){
        .rc = rc, .row = a.rows.row, .more = a.more,
        .count = q->what == ENGINE_COUNT ? a.count : a.rows.count, .last = a.last, .bytes = a.bytes,
    };
    finish_req(ctx, req);
    rowset_fini(&a.rows);
}

static void run_waiting(struct ctx *ctx, struct store_req *req)
{
    struct store_read *r = req->read;

    req->read = NULL;
    run_read(ctx, req, &r->q);
    gr_free(r);
}

/* The write is decided: what waited for it goes, in order. */
static void release_owner(struct ctx *ctx, const struct store_txn *t, size_t i)
{
    const struct txn_owner *owner = &t->owner[i];
    struct table_node *n = table_find_hashed(&ctx->pending, owner->hash, txn_owner(t, i),
                                             owner->len);
    struct pending *p = n != NULL ? GR_CONTAINER_OF(n, struct pending, node) : NULL;

    if (p == NULL)
        return; /* listed twice by the transaction */
    while (!list_empty(&p->reads)) {
        struct store_req *req = list_entry(p->reads.next, struct store_req, wait);

        if (req->read->after > t->ticket)
            return;
        list_remove(&req->wait);
        ctx->waiting--;
        run_waiting(ctx, req);
    }
    if (p->last > t->ticket)
        return;
    table_remove(&ctx->pending, &p->node);
    gr_free(p);
}

static void finish_txn(struct ctx *ctx, struct store_txn *t)
{
    if (t->req != NULL) {
        size_t count = t->rc == 0 ? t->results : 0;
        struct gr_row one, *row = count > 1 ? gr_alloc(count * sizeof(*row)) : &one;

        if (count > 0)
            txn_rows(t, row);
        t->req->rows = (struct gr_rows){ .rc = t->rc, .row = count > 0 ? row : NULL,
                                         .count = count };
        finish_req(ctx, t->req);
        if (row != &one)
            gr_free(row);
    } else if (t->rc != 0) {
        gr_warn("store.lost_write", "a write that nobody waits for: %s", gr_strerror(t->rc));
    }
    for (size_t i = 0; i < t->owners; i++)
        release_owner(ctx, t, i);
    store_txn_free(&t);
}

static void run_done(struct ctx *ctx, bool arrived)
{
    struct store_txn *t, *next;

    pthread_mutex_lock(&ctx->lock);
    if (arrived)
        ctx->posted = false;
    t = ctx->done;
    ctx->done = NULL;
    ctx->tail = &ctx->done;
    pthread_mutex_unlock(&ctx->lock);
    for (; t != NULL; t = next) {
        next = t->next;
        finish_txn(ctx, t);
    }
}

static void on_wake(struct post *p)
{
    struct wake *w = GR_CONTAINER_OF(p, struct wake, post);
    struct ctx *ctx = w->ctx;

    gr_free(w);
    run_done(ctx, true);
}

static struct loop *ctx_loop(int i)
{
    return i == 0 ? loop_main() : loop_at(i - 1);
}

/* Committer: hands a decided batch to the loops, one message for each however many there are. */
static void deliver(struct store_txn *chain)
{
    struct {
        struct store_txn *first, **tail;
    } part[LOOPS_MAX + 1] = { { NULL, NULL } };
    struct store_txn *next;

    for (struct store_txn *t = chain; t != NULL; t = next) {
        next = t->next;
        t->next = NULL;
        if (part[t->ctx].first == NULL)
            part[t->ctx].tail = &part[t->ctx].first;
        *part[t->ctx].tail = t;
        part[t->ctx].tail = &t->next;
    }
    for (int i = 0; i <= LOOPS_MAX; i++) {
        struct ctx *ctx = &ctxs[i];
        struct wake *w = NULL;

        if (part[i].first == NULL)
            continue;
        pthread_mutex_lock(&ctx->lock);
        if (!ctx->posted)
            w = gr_alloc(sizeof(*w));
        ctx->posted = true;
        *ctx->tail = part[i].first;
        ctx->tail = part[i].tail;
        pthread_mutex_unlock(&ctx->lock);
        if (w == NULL)
            continue;
        *w = (struct wake){ .post.run = on_wake, .ctx = ctx };
        loop_post(ctx_loop(i), &w->post);
    }
}

/* --- reads --- */

static void on_deferred_read(struct post *p)
{
    struct store_req *req = GR_CONTAINER_OF(p, struct store_req, post);
    struct ctx *ctx = &ctxs[self_index()];

    ctx->deferred--;
    run_waiting(ctx, req);
}

static struct store_read *keep_query(const struct engine_query *q)
{
    struct store_read *r = gr_alloc(sizeof(*r) + q->owner_len + q->key_len);

    r->q = *q;
    memcpy(r->bytes, q->owner, q->owner_len);
    r->q.owner = (const char *)r->bytes;
    if (q->key != NULL) {
        if (q->key_len > 0)
            memcpy(r->bytes + q->owner_len, q->key, q->key_len);
        r->q.key = r->bytes + q->owner_len;
    }
    return r;
}

static int check_query(const struct ctx *ctx, const struct engine_query *q)
{
    if (ctx->state != OPEN)
        return GR_ECANCELED;
    if (q->owner_len < 1 || q->owner_len > CODEC_OWNER_MAX || q->key_len > CODEC_MAP_KEY_MAX)
        return GR_ELIMIT;
    if (q->coll->kind == GR_COLL_LOG && q->key_len != CODEC_ID &&
        (q->what == ENGINE_GET ||
         ((q->what == ENGINE_RANGE || q->what == ENGINE_RANGE_BACK) && q->key != NULL)))
        return GR_EINVAL;
    return ctx->waiting + ctx->deferred >= READS_WAITING_MAX ? GR_EAGAIN : 0;
}

static void start_read(struct store_req *req, const struct engine_query *q)
{
    struct ctx *ctx = &ctxs[self_index()];
    int rc = check_query(ctx, q);
    struct table_node *n;

    if (rc != 0) {
        req->rows = (struct gr_rows){ .rc = rc };
        finish_req(ctx, req);
        return;
    }
    n = table_find(&ctx->pending, q->owner, q->owner_len);
    if (n != NULL) {
        struct pending *p = GR_CONTAINER_OF(n, struct pending, node);

        req->read = keep_query(q);
        req->read->after = p->last;
        list_append(&p->reads, &req->wait);
        ctx->waiting++;
    } else if (ctx->depth >= DEPTH_MAX || ctx->deferred > 0) {
        req->read = keep_query(q);
        req->post.run = on_deferred_read;
        ctx->deferred++;
        loop_defer(&req->post);
    } else {
        run_read(ctx, req, q);
    }
}

void store_get(struct store_req *req, struct store_coll *coll, const char *owner, const void *key,
               size_t key_len)
{
    start_read(req, &(struct engine_query){ .what = ENGINE_GET, .coll = coll, .owner = owner,
                                            .owner_len = strlen(owner), .key = key,
                                            .key_len = key_len });
}

void store_range(struct store_req *req, struct store_coll *coll, const char *owner,
                 const void *from, size_t from_len, size_t limit)
{
    start_read(req, &(struct engine_query){ .what = ENGINE_RANGE, .coll = coll, .owner = owner,
                                            .owner_len = strlen(owner), .key = from,
                                            .key_len = from != NULL ? from_len : 0,
                                            .limit = limit });
}

void store_range_back(struct store_req *req, struct store_coll *coll, const char *owner,
                      const void *before, size_t before_len, size_t limit)
{
    start_read(req, &(struct engine_query){ .what = ENGINE_RANGE_BACK, .coll = coll,
                                            .owner = owner, .owner_len = strlen(owner),
                                            .key = before,
                                            .key_len = before != NULL ? before_len : 0,
                                            .limit = limit });
}

void store_owners(struct store_req *req, struct store_coll *coll, const char *domain,
                  const void *after, size_t after_len, size_t limit)
{
    start_read(req, &(struct engine_query){ .what = ENGINE_OWNERS, .coll = coll, .owner = domain,
                                            .owner_len = strlen(domain), .key = after,
                                            .key_len = after != NULL ? after_len : 0,
                                            .limit = limit });
}

void store_count(struct store_req *req, struct store_coll *coll, const char *owner)
{
    start_read(req, &(struct engine_query){ .what = ENGINE_COUNT, .coll = coll, .owner = owner,
                                            .owner_len = strlen(owner) });
}

/* --- writes --- */

static void finish_refused(struct ctx *ctx, struct store_req *req)
{
    struct store_rider *riders = req->riders;

    finish_req(ctx, req);
    txn_dismount(&riders);
}

static void on_refused(struct post *p)
{
    finish_refused(&ctxs[self_index()], GR_CONTAINER_OF(p, struct store_req, post));
}

/* Takes t. Never before store_commit returns, except while closing, when no loop turns any more. */
static void refuse(struct ctx *ctx, struct store_txn *t, int rc)
{
    struct store_req *req = t->req;

    if (req != NULL) {
        req->riders = t->riders;
        t->riders = NULL;
    }
    store_txn_free(&t);
    if (req == NULL) {
        if (rc != 0)
            gr_warn("store.lost_write", "a write that nobody waits for: %s", gr_strerror(rc));
        return;
    }
    req->rows = (struct gr_rows){ .rc = rc };
    req->post.run = on_refused;
    if (ctx->state == OPEN)
        loop_defer(&req->post);
    else
        finish_refused(ctx, req);
}

static void hold_owner(struct ctx *ctx, struct store_txn *t, size_t i)
{
    const char *owner = txn_owner(t, i);
    size_t len = t->owner[i].len;
    uint64_t hash = hash_bytes(owner, len);
    struct table_node *n = table_find_hashed(&ctx->pending, hash, owner, len);
    struct pending *p;

    t->owner[i].hash = hash;
    if (n != NULL) {
        p = GR_CONTAINER_OF(n, struct pending, node);
    } else {
        p = gr_alloc(sizeof(*p) + len);
        memcpy(p->owner, owner, len);
        list_init(&p->reads);
        table_insert_hashed(&ctx->pending, &p->node, hash, p->owner, len);
    }
    p->last = t->ticket;
}

static void on_turn_end(struct flush *f)
{
    (void)f;
    commit_wake();
}

void store_commit(struct store_txn *take, struct store_req *req)
{
    int index = self_index(), rc = take->rc;
    struct ctx *ctx = &ctxs[index];
    struct store_rider *riders = take->riders, *next;

    take->req = req;
    take->ctx = index;
    if (ctx->state != OPEN)
        rc = GR_ECANCELED;
    else if (rc == 0 && take->ops > 0)
        rc = commit_reserve(take);
    if (rc != 0 || take->ops == 0) {
        refuse(ctx, take, rc);
        return;
    }
    take->ticket = ++ctx->tickets;
    for (size_t i = 0; i < take->owners; i++)
        hold_owner(ctx, take, i);
    if (commit_push(take))
        loop_flush_last(&ctx->wake);
    for (; riders != NULL; riders = next) {
        next = riders->next;
        if (riders->queued != NULL)
            riders->queued(riders);
    }
}

/* --- life --- */

static void init_ctxs(void)
{
    for (size_t i = 0; i < GR_COUNT(ctxs); i++) {
        ctxs[i].tail = &ctxs[i].done;
        ctxs[i].wake.flush = on_turn_end;
        pthread_mutex_init(&ctxs[i].lock, NULL);
    }
}

int store_open(const struct store_opts *opts, char **why)
{
    struct store_opts o = *opts;
    int rc;

    gr_assert(engine == NULL);
    o.manual = o.manual || loop_is_virtual();
    if (o.dir != NULL) {
        rc = dir_open(o.dir, &dir_fd, why);
        if (rc == 0)
            rc = engine_lmdb_open(&o, &engine, why);
        if (rc != 0) {
            dir_close(&dir_fd);
            return rc;
        }
    } else {
        engine = engine_mem_open();
    }
    pthread_once(&ctxs_once, init_ctxs);
    for (int i = 0; i <= loop_count(); i++) {
        ctxs[i].state = OPEN;
        ctxs[i].wake.link = (struct link){ 0 }; /* those loops are gone */
    }
    space_open(dir_fd);
    commit_start(&o, engine, deliver);
    return 0;
}

void store_flush(void)
{
    commit_flush();
}

static void close_door(void *arg)
{
    (void)arg;
    ctxs[self_index()].state = CLOSING;
}

/* The engine is still there: reads in line behind writes are answered like any others. */
static void close_ctx(struct ctx *ctx)
{
    run_done(ctx, false);
    gr_assert(ctx->pending.count == 0);
    table_fini(&ctx->pending);
    ctx->posted = false;
    ctx->state = CLOSED;
}

static void close_loop(void *arg)
{
    (void)arg;
    close_ctx(&ctxs[self_index()]);
}

size_t store_busy(void)
{
    const struct ctx *ctx = &ctxs[self_index()];

    return ctx->pending.count + ctx->waiting + ctx->deferred;
}

void store_close(void)
{
    struct engine *e = engine;

    if (e == NULL)
        return;
    ctxs[0].state = CLOSING;
    loops_call(close_door, NULL);
    commit_stop();
    loops_call(close_loop, NULL);
    close_ctx(&ctxs[0]);
    engine = NULL;
    while (colls != NULL) {
        struct store_coll *coll = colls;

        colls = coll->next;
        e->ops->coll_close(e, coll);
        gr_free(coll->name);
        gr_free(coll);
    }
    e->ops->close(e);
    space_close();
    dir_close(&dir_fd);
}

struct store_coll *store_coll(const char *name, enum gr_coll_kind kind)
{
    struct store_coll *coll;
    size_t len = strlen(name);

    gr_assert(engine != NULL);
    for (coll = colls; coll != NULL; coll = coll->next) {
        if (strcmp(coll->name, name) == 0)
            return coll->kind == kind ? coll : NULL;
    }
    if (len < 1 || len > NAME_MAX_LEN)
        return NULL;
    coll = gr_alloc(sizeof(*coll));
    coll->name = gr_strdup(name);
    coll->kind = kind;
    if (engine->ops->coll_open(engine, coll) != 0) {
        gr_free(coll->name);
        gr_free(coll);
        return NULL;
    }
    coll->next = colls;
    colls = coll;
    return coll;
}

int store_backup(const char *dir, char **why)
{
    return engine->ops->backup(engine, dir, why);
}

void store_stats(struct store_stats *out)
{
    memset(out, 0, sizeof(*out));
    commit_stats(out);
    out->disk_free = space_free();
    out->read_only = space_full();
}

bool store_step(void)
{
    bool any = false;

    while (commit_step())
        any = true;
    return any;
}
