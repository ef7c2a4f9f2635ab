/* mod_inbox/conv.c: conversations while they change. One is in memory from the first change on until it
 * is on disk; changes that arrive while it is being written are written together afterwards. */
#include <string.h>

#include <grapnel/log.h>

#include "inbox.h"

struct op {
    struct op *next;
    conv_f f;
    void *ctx;
};
struct waiter {
    struct waiter *next;
    conv_done_f done;
    void *ctx;
};

static struct conv **bucket(struct gr_mod *self, const struct gr_jid *owner, const char *remote)
{
    struct inbox *in = gr_state(self);

    return &in->bucket[(owner->hash ^ mark_of(remote)) % BUCKETS];
}

static struct gr_req *request(struct conv *c, gr_store_f done)
{
    struct gr_req *req = gr_req_new(c->self, sizeof(c), done);

    *(struct conv **)gr_req_data(req) = c;
    return req;
}

static void conv_free(struct conv *c)
{
    entry_free(&c->e);
    gr_jid_free(&c->owner);
    gr_free(c->remote);
    gr_free(c);
}

static void tell(struct gr_mod *self, struct waiter **list, int rc)
{
    struct waiter *w;

    while ((w = *list) != NULL) {
        *list = w->next;
        w->done(self, rc, w->ctx);
        gr_free(w);
    }
}

static void start_write(struct conv *c);

/* Writes what is to be written; forgets it when nothing is left to do. */
static void settle(struct conv *c)
{
    struct conv **at = bucket(c->self, c->owner, c->remote);

    if (!c->loaded || c->writing)
        return;
    if (c->dirty) {
        start_write(c);
        return;
    }
    while (*at != c)
        at = &(*at)->next;
    *at = c->next; /* first: who is told may come back to the same conversation */
    tell(c->self, &c->waiting, 0);
    conv_free(c);
}

/* --- reading --- */

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct conv *c = *(struct conv **)gr_req_data(req);
    int rc = rows->rc == GR_ENOENT ? 0 : rows->rc;
    struct op *op;

    if (rows->rc == 0) {
        c->stored = true;
        c->exists = entry_read(&c->e, rows->row->val, rows->row->val_len) == 0;
        if (!c->exists) { /* it goes, or is written anew */
            gr_error("inbox.damaged", "a conversation of %s is damaged and thrown away",
                     c->owner->bare);
            c->e = (struct entry){ .unread = 0 };
            c->dirty = true;
        }
        c->binned_us = c->e.binned_us;
    }
    c->loaded = true;
    while ((op = c->ops) != NULL) {
        c->ops = op->next;
        op->f(self, rc == 0 ? c : NULL, rc, op->ctx);
        gr_free(op);
    }
    settle(c);
}

static void read_row(struct conv *c)
{
    gr_store_get(request(c, on_row), ENTRIES, c->owner->bare, c->remote, strlen(c->remote));
}

static void on_old_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)rows;
    read_row(*(struct conv **)gr_req_data(req));
}

/* The predecessor may still be waiting for the same row. A first read ends after its; what it made of
 * that is written by then, before the second one. */
static void read_behind_predecessor(struct conv *c)
{
    gr_store_get(request(c, on_old_row), ENTRIES, c->owner->bare, c->remote, strlen(c->remote));
}

void conv_with(struct gr_mod *self, const struct gr_jid *owner, const char *remote, conv_f f,
               void *ctx)
{
    struct conv **first = bucket(self, owner, remote), *c = *first;
    struct op *op;

    while (c != NULL && (c->gone || strcmp(c->remote, remote) != 0 ||
                         !gr_jid_bare_equal(c->owner, owner)))
        c = c->next;
    if (c != NULL && c->loaded) {
        f(self, c, 0, ctx);
        settle(c);
        return;
    }
    op = gr_alloc(sizeof(*op));
    *op = (struct op){ .f = f, .ctx = ctx };
    if (c != NULL) {
        *c->last_op = op;
        c->last_op = &op->next;
        return;
    }
    c = gr_alloc(sizeof(*c));
    c->self = self;
    c->owner = gr_jid_dup_bare(owner);
    c->remote = gr_strdup(remote);
    c->ops = op;
    c->last_op = &op->next;
    c->next = *first;
    *first = c;
    if (gr_now_ms() < ((struct inbox *)gr_state(self))->settled_ms)
        read_behind_predecessor(c);
    else
        read_row(c);
}

void conv_changed(struct conv *c)
{
    c->dirty = true;
}

void conv_then(struct conv *c, conv_done_f done, void *ctx)
{
    struct waiter *w = gr_alloc(sizeof(*w)), **at = &c->waiting;

    *w = (struct waiter){ .done = done, .ctx = ctx };
    while (*at != NULL)
        at = &(*at)->next;
    *at = w;
}

/* --- writing --- */

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct conv *c = *(struct conv **)gr_req_data(req);

    (void)self;
    if (rows->rc != 0)
        gr_warn("inbox.not_kept", "a conversation of %s could not be kept: %s", c->owner->bare,
                gr_strerror(rows->rc));
    tell(c->self, &c->written, rows->rc);
    c->writing = false;
    settle(c);
}

static void put(struct conv *c, struct gr_txn *t)
{
    int64_t binned_us = c->exists ? c->e.binned_us : 0;
    size_t len;
    void *row;

    c->dirty = false;
    c->stored = c->exists;
    if (c->binned_us != binned_us) {
        bin_del(c->self, t, c->owner, c->remote, c->binned_us);
        bin_put(c->self, t, c->owner, c->remote, binned_us);
        c->binned_us = binned_us;
    }
    if (!c->exists) {
        gr_txn_del(t, ENTRIES, c->owner->bare, c->remote, strlen(c->remote));
        return;
    }
    row = entry_write(&c->e, &len);
    gr_txn_put(t, ENTRIES, c->owner->bare, c->remote, strlen(c->remote), row, len);
    gr_free(row);
}

/* Nothing is written for an account that is not there (GR_ENOENT), or is going. */
void conv_commit(struct conv *c, struct gr_txn *take, int rc)
{
    c->checked = true;
    c->written = c->waiting;
    c->waiting = NULL;
    if (rc != 0 || c->gone) {
        gr_txn_drop(&take);
        c->dirty = false;
        tell(c->self, &c->written, rc == GR_ENOENT ? 0 : rc);
        c->writing = false;
        settle(c);
        return;
    }
    put(c, take);
    gr_txn_commit(take, request(c, on_written));
}

static void on_exists(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct conv *c = *(struct conv **)gr_ask_data(ask);

    (void)self;
    if (a->result == GR_R_OK || a->result == GR_R_FALSE)
        make_room(c);
    else
        conv_commit(c, gr_txn_new(c->self), a->result == GR_R_NONE ? GR_ENOENT : GR_EAGAIN);
}

static void start_write(struct conv *c)
{
    const struct inbox *in = gr_state(c->self);
    bool known = gr_account_find(c->self, c->owner) != NULL;
    struct gr_ask *ask;

    c->writing = true;
    if (c->stored || !c->exists || c->checked || (known && in->retired)) {
        conv_commit(c, gr_txn_new(c->self), 0);
    } else if (known) {
        make_room(c);
    } else { /* nothing is kept for addresses that nobody has */
        ask = gr_ask_new(c->self, sizeof(c), on_exists);
        *(struct conv **)gr_ask_data(ask) = c;
        gr_auth_exists(c->self, ask, c->owner->node);
    }
}

/* --- all of them --- */

struct wait {
    unsigned pending;        /* conversations, and one while they are looked for */
    void (*f)(struct gr_mod *self, void *ctx);
    void *ctx;
};

static void on_settled(struct gr_mod *self, int rc, void *ctx)
{
    struct wait *w = ctx;

    if (--w->pending > 0)
        return;
    if (rc != GR_ECANCELED)
        w->f(self, w->ctx);
    gr_free(w);
}

void convs_wait(struct gr_mod *self, const struct gr_jid *owner,
                void (*f)(struct gr_mod *self, void *ctx), void *ctx)
{
    struct inbox *in = gr_state(self);
    struct wait *w = gr_alloc(sizeof(*w));

    *w = (struct wait){ 1, f, ctx };
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct conv *c = in->bucket[i]; c != NULL; c = c->next)
            if (!c->gone && gr_jid_bare_equal(c->owner, owner)) {
                w->pending++;
                conv_then(c, on_settled, w);
            }
    on_settled(self, 0, w);
}

void convs_forget(struct gr_mod *self, const struct gr_jid *owner)
{
    struct inbox *in = gr_state(self);

    for (size_t i = 0; i < BUCKETS; i++)
        for (struct conv *c = in->bucket[i]; c != NULL; c = c->next)
            if (gr_jid_bare_equal(c->owner, owner))
                c->gone = true;
}

static void on_flushed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    tell(self, gr_req_data(req), rows->rc);
}

/* Right now, behind what is being written. */
static void flush(struct conv *c)
{
    struct gr_req *req = gr_req_new(c->self, sizeof(struct waiter *), on_flushed);
    struct gr_txn *t = gr_txn_new(c->self);

    *(struct waiter **)gr_req_data(req) = c->waiting;
    c->waiting = NULL;
    c->gone = !c->stored && !c->checked; /* room is being made for it: not a second time */
    put(c, t);
    gr_txn_commit(t, req);
}

void convs_flush(struct inbox *in)
{
    in->retired = true;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct conv *c = in->bucket[i]; c != NULL; c = c->next)
            if (c->loaded && c->dirty && !c->gone &&
                (c->stored || c->checked || gr_account_find(c->self, c->owner) != NULL))
                flush(c);
}

void convs_free(struct inbox *in)
{
    for (size_t i = 0; i < BUCKETS; i++)
        while (in->bucket[i] != NULL) {
            struct conv *c = in->bucket[i];

            in->bucket[i] = c->next;
            tell(c->self, &c->written, GR_ECANCELED);
            tell(c->self, &c->waiting, GR_ECANCELED);
            conv_free(c);
        }
}
