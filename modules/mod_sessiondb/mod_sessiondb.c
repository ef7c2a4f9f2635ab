/* mod_sessiondb: who is online, in the store (backends.md 4, `sessiondb`): a session provider of
 * priority 1 beside the core's own table, for what must be seen from outside the process or after
 * it.
 *
 * This file: the provider's writing half, and the module. An instance knows whether its session was
 * replaced: its presence and its end then leave the row alone, which is its successor's. On the home
 * loop of the account. */
#include "sessiondb.h"

#include <string.h>

const struct gr_coll sessiondb_colls[3] = { GR_MAP("sessiondb"), GR_MAP("sessiondb_index"),
                                            GR_COLL_END };

/* --- instances: one per session --- */

struct login {
    int64_t us;
};
static const struct gr_slot login_slot = GR_SLOT(struct login, 1, NULL);

static void *open_inst(struct gr_mod *self, struct gr_session *session)
{
    struct inst *inst = gr_alloc(sizeof(*inst));
    struct login *login = session != NULL ? gr_session_slot(self, session, &login_slot) : NULL;

    if (login != NULL && login->us == 0)
        login->us = gr_wall_us();
    inst->login_us = login != NULL ? login->us : 0;
    inst->session = session != NULL ? gr_session_id(session) : 0;
    return inst;
}

static struct inst **bucket_of(struct sessiondb *st, const struct gr_jid *full)
{
    uint32_t h = 2166136261u; /* FNV-1a: one account's resources in different buckets */

    for (const char *c = full->full; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 16777619u;
    return &st->bucket[h % BUCKETS];
}

/* From here on the row is this session's. */
static void claim(struct gr_mod *self, struct inst *inst, const struct gr_jid *full)
{
    struct inst **bucket = bucket_of(gr_state(self), full);

    for (struct inst *other = *bucket; other != NULL; other = other->next) {
        if (gr_jid_equal(other->full, full)) {
            other->replaced = true;
            presence_cancel(self, other);
        }
    }
    inst->full = gr_jid_dup(full);
    inst->replaced = false; /* as it may have been at the address that it wanted first */
    inst->next = *bucket;
    *bucket = inst;
}

static void let_go(struct gr_mod *self, struct inst *inst)
{
    struct inst **at;

    if (inst->full == NULL)
        return;
    for (at = bucket_of(gr_state(self), inst->full); *at != inst; at = &(*at)->next) {
    }
    *at = inst->next;
    gr_jid_free(&inst->full);
}

/* It is not to have the row after all, or no more: whom it replaced and who is still there has it again,
 * and writes it anew. */
static void give_back(struct gr_mod *self, struct inst *inst)
{
    struct inst *other = inst->full != NULL && !inst->replaced ? *bucket_of(gr_state(self), inst->full)
                                                               : NULL;

    while (other != NULL && (other == inst || !gr_jid_equal(other->full, inst->full)))
        other = other->next;
    let_go(self, inst);
    if (other == NULL)
        return;
    other->replaced = other->indexed = false;
    presence_later(self, other);
}

/* Its session is over, or the module goes or is replaced: what waits is written then. */
static void close_inst(struct gr_mod *self, void *inst)
{
    if (((struct inst *)inst)->dirty_at != NULL)
        presence_flush(self);
    let_go(self, inst);
    gr_free(inst);
}

struct row row_of(const struct inst *inst)
{
    return (struct row){ .session = inst->session, .login_us = inst->login_us,
                         .updated_us = gr_wall_us(), .server = gr_server_id() };
}

/* --- bind: insert; somebody else's row is in the way, one of this server is overwritten (the core
 * has decided that the new session takes the old one's place, or the old one died with its process)
 * --- */

struct bind_op {
    struct gr_ask *ask;
    struct inst *inst;               /* stays until the answer */
};

static void bind_done(struct gr_mod *self, const struct bind_op *b, int rc, enum gr_result result)
{
    if (rc != 0 || result != GR_R_OK)
        give_back(self, b->inst);
    if (rc != 0)
        gr_answer_error(b->ask, gr_cond_of(rc), NULL);
    else
        gr_answer_result(b->ask, result);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    bind_done(self, gr_req_data(req), rows->rc, GR_R_OK);
}

static struct gr_req *bind_req(struct gr_mod *self, const struct bind_op *b, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(*b), done);

    *(struct bind_op *)gr_req_data(req) = *b;
    return req;
}

static void bind_write(struct gr_mod *self, const struct bind_op *b, bool fresh, gr_store_f done)
{
    struct row r = row_of(b->inst);
    struct gr_txn *t = gr_txn_new(self);

    row_put(t, b->inst->full, &r, fresh);
    index_put(t, b->inst->full, &r);
    b->inst->indexed = true;
    gr_txn_commit(t, bind_req(self, b, done));
}

static void on_taken(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct bind_op *b = gr_req_data(req);
    struct row r;

    if (rows->rc != 0 && rows->rc != GR_ENOENT)
        bind_done(self, b, rows->rc, GR_R_ERROR);
    else if (rows->rc == 0 && row_decode(rows->row[0].val, rows->row[0].val_len, &r) == 0 &&
             strcmp(r.server, gr_server_id()) != 0)
        bind_done(self, b, 0, GR_R_FALSE);
    else
        bind_write(self, b, false, on_written);
}

static void on_inserted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct bind_op *b = gr_req_data(req);
    const struct gr_jid *full = b->inst->full;

    if (rows->rc == GR_EEXIST)
        gr_store_get(bind_req(self, b, on_taken), ROWS, full->bare, full->resource,
                     strlen(full->resource));
    else
        bind_done(self, b, rows->rc, GR_R_OK);
}

static void bind(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *full)
{
    const struct bind_op b = { ask, inst };

    let_go(self, inst);
    claim(self, inst, full);
    bind_write(self, &b, true, on_inserted);
}

/* --- changes --- */

/* A session that was bound before this version of the module came claims its row now. */
static bool owns(struct gr_mod *self, struct inst *inst, const struct gr_jid *full)
{
    struct inst *other = *bucket_of(gr_state(self), full);

    if (inst->full != NULL)
        return !inst->replaced;
    while (other != NULL && !gr_jid_equal(other->full, full))
        other = other->next;
    if (other == NULL)
        claim(self, inst, full);
    return other == NULL;
}

static void on_changed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_ask *ask = *(struct gr_ask **)gr_req_data(req);

    (void)self;
    if (rows->rc == 0)
        gr_answer_result(ask, GR_R_OK);
    else
        gr_answer_error(ask, gr_cond_of(rows->rc), NULL);
}

static struct gr_req *change_req(struct gr_mod *self, struct gr_ask *ask)
{
    struct gr_req *req = gr_req_new(self, sizeof(ask), on_changed);

    *(struct gr_ask **)gr_req_data(req) = ask;
    return req;
}

static void set_presence(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full, int priority, struct gr_stanza *stanza)
{
    bool mine = owns(self, inst, full);

    (void)priority, (void)stanza; /* are in the session table */
    if (mine)
        presence_later(self, inst);
    gr_answer_result(ask, mine ? GR_R_OK : GR_R_NONE);
}

static void unbind(struct gr_mod *self, void *inst, const struct gr_jid *full)
{
    struct gr_txn *t;

    presence_cancel(self, inst);
    if (owns(self, inst, full)) {
        t = gr_txn_new(self);
        row_del(t, full, gr_server_id());
        gr_txn_commit(t, NULL);
    }
    give_back(self, inst);
}

/* --- kill: whoever's row it is --- */

struct killing {
    struct gr_ask *ask;
    struct gr_jid *full;
};

static bool close_session(struct gr_mod *self, const struct gr_jid *full)
{
    const struct gr_account *a = gr_account_find(self, full);
    struct gr_session *s = a != NULL ? gr_account_session(a, full->resource) : NULL;

    if (s != NULL)
        gr_session_close(self, s, "conflict", "Session ended by the server", true);
    return s != NULL;
}

static void on_kill(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct killing *k = gr_req_data(req);
    struct row r;
    bool closed = close_session(self, k->full);

    if (rows->rc == 0 && row_decode(rows->row[0].val, rows->row[0].val_len, &r) == 0) {
        struct gr_txn *t = gr_txn_new(self);
        row_del(t, k->full, r.server);
        gr_txn_commit(t, change_req(self, k->ask));
    } else if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        gr_answer_error(k->ask, gr_cond_of(rows->rc), NULL);
    } else {
        gr_answer_result(k->ask, closed ? GR_R_OK : GR_R_NONE);
    }
    gr_jid_free(&k->full);
}

static void kill_resource(struct gr_mod *self, void *inst, struct gr_ask *ask,
                          const struct gr_jid *full)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct killing), on_kill);

    (void)inst;
    *(struct killing *)gr_req_data(req) = (struct killing){ ask, gr_jid_dup(full) };
    gr_store_get(req, ROWS, full->bare, full->resource, strlen(full->resource));
}

/* --- the descriptor --- */

/* Messages go on to follow the core's table (get_preferred_resource is left to it): that one knows
 * the sessions that can be reached from here, and asks no disk for each message. There is no
 * get_all_roster_presences: rows are found by account, so it would read as many of them, from a loop
 * that does not know who is online here; the core asks at each contact's home. */
static const struct gr_session_provider provider = {
    .name = "sessiondb", .open = open_inst, .close = close_inst, .bind = bind, .unbind = unbind,
    .set_presence = set_presence, .get_presence = get_presence,
    .get_all_presences = get_all_presences, .get_resource = get_resource,
    .get_all_resources = get_all_resources, .kill_resource = kill_resource,
};

static const struct gr_hook hooks[] = {
    GR_ON(node_cleanup, GR_PRIO_NORMAL, on_node_cleanup), GR_HOOK_END
};

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    gr_provide_session(self, &provider, GR_PROVIDER_STORAGE_PRIO);
    return 0;
}

GR_MODULE(sessiondb,
    .summary = "keeps in the store who is online", .state_size = sizeof(struct sessiondb),
    .hooks = hooks, .slots = (const struct gr_slot *const[]){ &login_slot, NULL },
    .collections = sessiondb_colls, .commands = sessiondb_commands, .start = start);
