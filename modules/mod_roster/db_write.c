/* mod_roster/db_write.c: the second half of a change: what is written, in one transaction, and
 * the answer that follows the commit. */
#include "db.h"

#include <string.h>

struct op *op_of(struct gr_req *req)
{
    return *(struct op **)gr_req_data(req);
}

struct gr_req *op_request(struct op *op, gr_store_f done)
{
    struct gr_req *req = gr_req_new(op->self, sizeof(op), done);

    *(struct op **)gr_req_data(req) = op;
    return req;
}

/* --- the answer --- */

static void finish(struct op *op, const struct gr_answer *a)
{
    gr_answer(op->ask, a);
    turn_leave(&op->turn);
    gr_jid_free(&op->user);
    gr_jid_free(&op->contact);
    gr_stanza_unref(&op->stanza);
    gr_roster_list_free(&op->update);
    contact_fini(&op->old);
    gr_free(op->oldest);
    gr_free(op);
}

void op_fail(struct op *op, enum gr_cond cond, const char *text)
{
    finish(op, &(struct gr_answer){ .result = GR_R_ERROR, .cond = cond, .text = text });
}

void op_result(struct op *op, enum gr_result r)
{
    finish(op, &(struct gr_answer){ .result = r });
}

static struct gr_roster_item shown(const struct op *op, const struct bits *b,
                                   const struct contact *c)
{
    struct gr_roster_item item = { .ver = c->ver };

    if (!b->listed && !b->pending)
        return item;
    item.jid = op->contact;
    item.in_roster = b->listed;
    item.pending_in = b->pending;
    if (!b->listed)
        return item;
    item.name = c->name;
    item.groups = c->groups;
    item.sub = sub_of(b->from, b->to);
    item.ask = b->ask;
    item.approved = b->approved;
    return item;
}

void op_ok(struct op *op)
{
    finish(op, &(struct gr_answer){ .result = GR_R_OK,
                                    .before = shown(op, &op->before, &op->old),
                                    .after = shown(op, &op->after, &op->now) });
}

/* --- writing --- */

static void committed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);

    (void)self;
    if (rows->rc != 0)
        op_fail(op, gr_cond_of(rows->rc), NULL);
    else
        op_ok(op);
}

static void write_item(struct op *op, struct gr_txn *t)
{
    const char *owner = op->user->bare, *key = op->contact->bare;
    size_t key_len = op->contact->bare_len, len;
    uint8_t ver[8];
    void *row;

    if (op->after.listed) {
        row = contact_encode(&op->now, &len);
        gr_assert(row != NULL); /* may_hold has looked */
        gr_txn_put(t, &roster_colls[COLL_ITEMS], owner, key, key_len, row, len);
        gr_free(row);
        return;
    }
    gr_txn_del(t, &roster_colls[COLL_ITEMS], owner, key, key_len);
    gr_put_u64(ver, op->now.ver);
    gr_txn_put(t, &roster_colls[COLL_REMOVED], owner, ver, sizeof(ver), key, key_len);
    op->meta.removed++;
    if (op->forgotten == 0)
        return;
    gr_put_u64(ver, op->forgotten);
    gr_txn_del(t, &roster_colls[COLL_REMOVED], owner, ver, sizeof(ver));
    op->meta.removed--;
    op->meta.floor = op->forgotten;
}

/* The request without what was inside: for one that is too long to be kept. */
static struct gr_stanza *bare_request(const struct gr_stanza *st)
{
    struct gr_stanza *copy =
        gr_presence_new(GR_SUBSCRIBE, gr_stanza_from(st), gr_stanza_to(st));

    if (gr_stanza_id(st) != NULL)
        gr_stanza_set_id(copy, gr_stanza_id(st));
    return copy;
}

static void write_request(struct op *op, struct gr_txn *t)
{
    const struct roster_conf *conf = gr_conf(op->self);
    const struct gr_coll *coll = &roster_colls[COLL_REQUESTS];
    struct request r = { .time_us = gr_wall_us() };
    struct gr_stanza *st;
    size_t len;
    void *row;

    op->meta.requests += op->after.pending ? 1 : (uint32_t)-1;
    if (!op->after.pending) {
        gr_txn_del(t, coll, op->user->bare, op->contact->bare, op->contact->bare_len);
        return;
    }
    if (op->oldest != NULL) {
        gr_txn_del(t, coll, op->user->bare, op->oldest, op->oldest_len);
        op->meta.requests--;
    }
    st = gr_stanza_ref(op->stanza);
    r.xml = gr_stanza_xml(st, &r.len);
    if (r.len > (size_t)conf->max_request) {
        gr_stanza_unref(&st);
        st = bare_request(op->stanza);
        r.xml = gr_stanza_xml(st, &r.len);
    }
    row = request_encode(&r, &len);
    gr_txn_put(t, coll, op->user->bare, op->contact->bare, op->contact->bare_len, row, len);
    gr_free(row);
    gr_stanza_unref(&st);
}

void op_write(struct op *op)
{
    struct gr_txn *t = gr_txn_new(op->self);
    bool seen = op->what == GR_ROSTER_UPDATE_CONTACT || bits_visible(&op->before, &op->after);
    uint8_t meta[META_SIZE];

    if (seen) {
        uint64_t now = (uint64_t)gr_wall_us();

        op->now.ver = now > op->meta.ver ? now : op->meta.ver + 1;
        if (op->meta.ver == 0)
            op->meta.floor = op->now.ver;
        op->meta.ver = op->now.ver;
        op->meta.items += (uint32_t)op->after.listed - (uint32_t)op->before.listed;
        write_item(op, t);
    }
    if (op->before.pending != op->after.pending)
        write_request(op, t);
    meta_encode(meta, &op->meta);
    gr_txn_put(t, &roster_colls[COLL_META], op->user->bare, META_KEY, strlen(META_KEY), meta,
               sizeof(meta));
    gr_txn_commit(t, op_request(op, committed));
}
