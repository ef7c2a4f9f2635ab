/* mod_roster/db.c: the roster provider "rosterdb": one change of one contact, as one read,
 * computation and transaction (backends.md 3). On the owner's home loop, in turn (turn.c).
 *
 * Read are the owner's counters, the item and the request; where a bound is reached also what
 * must make room: the oldest request, the oldest remembered removal. db_write.c does the rest. */
#include "db.h"

#include <string.h>

enum gr_subscription sub_of(bool from, bool to)
{
    return from && to ? GR_SUB_BOTH : from ? GR_SUB_FROM : to ? GR_SUB_TO : GR_SUB_NONE;
}

static void read_row(struct op *op, int coll, const char *key, gr_store_f done)
{
    gr_store_get(op_request(op, done), &roster_colls[coll], op->user->bare, key, strlen(key));
}

/* --- room --- */

static void got_oldest_removal(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);

    (void)self;
    if (rows->rc != 0 || (rows->count > 0 && rows->row[0].key_len != 8)) {
        op_fail(op, gr_cond_of(rows->rc != 0 ? rows->rc : GR_EIO), NULL);
        return;
    }
    if (rows->count > 0)
        op->forgotten = gr_get_u64(rows->row[0].key);
    op_write(op);
}

static void keep_oldest(struct op *op, const struct gr_row *row)
{
    struct request r;

    if (request_decode(row->val, row->val_len, &r) != 0)
        r.time_us = 0; /* damaged: goes first */
    if (op->oldest != NULL && r.time_us >= op->oldest_us)
        return;
    gr_free(op->oldest);
    op->oldest = gr_strndup(row->key, row->key_len);
    op->oldest_len = row->key_len;
    op->oldest_us = r.time_us;
}

static void got_requests(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);
    const struct gr_row *last = rows->count > 0 ? &rows->row[rows->count - 1] : NULL;
    char *from;

    (void)self;
    if (rows->rc != 0) {
        op_fail(op, gr_cond_of(rows->rc), NULL);
        return;
    }
    for (size_t i = 0; i < rows->count; i++)
        keep_oldest(op, &rows->row[i]);
    if (!rows->more || last == NULL) {
        op_write(op);
        return;
    }
    from = gr_strndup(last->key, last->key_len);
    gr_store_range(op_request(op, got_requests), &roster_colls[COLL_REQUESTS], op->user->bare,
                   from, last->key_len + 1, 1000); /* with the NUL: behind that key */
    gr_free(from);
}

/* What the record cannot say or the configuration does not allow. */
static bool may_hold(struct op *op)
{
    const struct roster_conf *conf = gr_conf(op->self);
    size_t len;
    void *row;

    if (!op->before.listed && op->meta.items >= (uint64_t)conf->max_items) {
        op_fail(op, GR_POLICY_VIOLATION, "the roster is full");
        return false;
    }
    if (op->what != GR_ROSTER_UPDATE_CONTACT)
        return true;
    row = contact_encode(&op->now, &len);
    gr_free(row);
    if (row == NULL)
        op_fail(op, GR_NOT_ACCEPTABLE, NULL);
    return row != NULL;
}

static void decide(struct op *op)
{
    const struct roster_conf *conf = gr_conf(op->self);
    enum gr_result r;

    op->after = op->before;
    r = bits_apply(&op->after, op->what);
    if (r != GR_R_OK) {
        op_result(op, r);
        return;
    }
    op->now = (struct contact){ .from = op->after.from, .to = op->after.to, .ask = op->after.ask,
                                .approved = op->after.approved, .ver = op->old.ver,
                                .name = op->old.name, .groups = op->old.groups };
    if (op->update != NULL) {
        op->now.name = gr_roster_list_at(op->update, 0)->name;
        op->now.groups = gr_roster_list_at(op->update, 0)->groups;
    }
    if (op->after.listed && !may_hold(op))
        return;
    if (!op->before.pending && op->after.pending &&
        op->meta.requests >= (uint64_t)conf->max_requests)
        gr_store_range(op_request(op, got_requests), &roster_colls[COLL_REQUESTS],
                       op->user->bare, NULL, 0, 1000);
    else if (op->before.listed && !op->after.listed && op->meta.removed >= REMOVED_MAX)
        gr_store_range(op_request(op, got_oldest_removal), &roster_colls[COLL_REMOVED],
                       op->user->bare, NULL, 0, 1);
    else
        op_write(op);
}

/* --- reading --- */

/* OK with before and after alike. */
static void look(struct op *op)
{
    op->now = op->old;
    op->now.mem = NULL;
    op->after = op->before;
    if (op->what == GR_ROSTER_GET_CONTACT ? op->before.listed : op->before.pending)
        op_ok(op);
    else
        op_result(op, op->before.listed ? GR_R_FALSE : GR_R_NONE);
}

static void got_request(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);

    (void)self;
    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        op_fail(op, gr_cond_of(rows->rc), NULL);
        return;
    }
    op->before.pending = rows->rc == 0;
    if (op->what == GR_ROSTER_GET_CONTACT || op->what == GR_ROSTER_IS_PENDING)
        look(op);
    else
        decide(op);
}

/* 0: there, with its row in *val; GR_ENOENT; or what the operation has failed with. */
static int one_row(struct op *op, const struct gr_rows *rows, const char *what)
{
    if (rows->rc == 0 || rows->rc == GR_ENOENT)
        return rows->rc;
    gr_debug("roster.read", "%s of %s: %s", what, op->user->bare, gr_strerror(rows->rc));
    op_fail(op, gr_cond_of(rows->rc), NULL);
    return rows->rc;
}

static void damaged(struct op *op, const char *what)
{
    gr_error("roster.damaged", "%s of %s cannot be read", what, op->user->bare);
    op_fail(op, gr_cond_of(GR_EIO), NULL);
}

static void got_item(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);
    int rc = one_row(op, rows, "an item");

    (void)self;
    if (rc == 0) {
        if (contact_decode(rows->row[0].val, rows->row[0].val_len, &op->old) != 0) {
            damaged(op, "an item");
            return;
        }
        op->before = (struct bits){ .listed = true, .from = op->old.from, .to = op->old.to,
                                    .ask = op->old.ask, .approved = op->old.approved };
    }
    if (rc == 0 || rc == GR_ENOENT)
        read_row(op, COLL_REQUESTS, op->contact->bare, got_request);
}

static void got_meta(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);
    int rc = one_row(op, rows, "the counters");

    (void)self;
    if (rc == 0 && meta_decode(rows->row[0].val, rows->row[0].val_len, &op->meta) != 0) {
        damaged(op, "the counters");
        return;
    }
    if (rc == 0 || rc == GR_ENOENT)
        read_row(op, COLL_ITEMS, op->contact->bare, got_item);
}

static void run_change(struct turn *t)
{
    read_row(GR_CONTAINER_OF(t, struct op, turn), COLL_META, META_KEY, got_meta);
}

static void run_look(struct turn *t)
{
    struct op *op = GR_CONTAINER_OF(t, struct op, turn);

    read_row(op, COLL_ITEMS, op->contact->bare, got_item);
}

static struct op *op_new(struct gr_mod *self, struct gr_ask *ask, enum gr_roster_op what,
                         const struct gr_jid *user, const struct gr_jid *contact)
{
    struct op *op = gr_alloc(sizeof(*op));

    op->self = self;
    op->ask = ask;
    op->what = what;
    op->user = gr_jid_dup_bare(user);
    op->contact = gr_jid_dup_bare(contact);
    return op;
}

void db_change(struct gr_mod *self, struct gr_ask *ask, enum gr_roster_op op,
               const struct gr_jid *user, const struct gr_jid *contact, struct gr_stanza *stanza,
               const struct gr_roster_item *item)
{
    struct op *o = op_new(self, ask, op, user, contact);

    o->stanza = stanza != NULL ? gr_stanza_ref(stanza) : NULL;
    if (item != NULL) {
        o->update = gr_roster_list_new();
        gr_roster_list_add(o->update, item);
    }
    turn_take(turns_of(self), TURN_STORE, o->user, &o->turn, run_change);
}

void db_look(struct gr_mod *self, struct gr_ask *ask, enum gr_roster_op op,
             const struct gr_jid *user, const struct gr_jid *contact)
{
    struct op *o = op_new(self, ask, op, user, contact);

    turn_take(turns_of(self), TURN_STORE, o->user, &o->turn, run_look);
}
