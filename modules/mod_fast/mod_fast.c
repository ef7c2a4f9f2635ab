/* mod_fast: a client that has logged in once gets a token, and logs in with it in one round trip from
 * then on (XEP-0484). The mechanisms are the core's; here are the tokens. */
#include "fast.h"

#include <string.h>

#define DAY_S 86400

static int64_t now_s(void)
{
    return gr_wall_us() / 1000000;
}

uint32_t *writes_of(struct gr_mod *self, const struct gr_jid *jid)
{
    return &((struct fast_state *)gr_state(self))->writes[jid->hash % BUCKETS];
}

/* One hook's question until it is answered. Events are looked at only while the hold waits. */
struct op {
    struct gr_hold *hold;
    struct gr_jid *jid;
    char *id;                   /* the client's */
    uint32_t began;             /* with so many writes */
    unsigned tries;
    struct gr_fast_ev *check;   /* one of the two */
    struct gr_inline_ev *give;
    uint8_t mechanism;
    int64_t until_s;            /* of the login that it is given to */
    enum gr_fast_result result;
    struct token fresh;
    char software[NAME_SIZE], device[NAME_SIZE];
};
struct op_ref {
    struct op *op;
};

static struct op *op_new(struct gr_mod *self, struct gr_ev *ev, const struct gr_jid *jid,
                         const char *id)
{
    struct gr_hold *hold = gr_hold(self, ev);
    struct op *op = hold != NULL ? gr_alloc(sizeof(*op)) : NULL;

    if (op == NULL)
        return NULL;
    op->hold = hold;
    op->jid = gr_jid_dup_bare(jid);
    op->id = gr_strdup(id);
    return op;
}

static void op_end(struct op *take, enum gr_verdict verdict)
{
    gr_resume(take->hold, verdict);
    gr_jid_free(&take->jid);
    gr_free(take->id);
    gr_free(take);
}

static struct gr_req *op_req(struct gr_mod *self, struct op *op, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct op_ref), done);

    ((struct op_ref *)gr_req_data(req))->op = op;
    return req;
}

static struct op *op_of(struct gr_req *req)
{
    return ((struct op_ref *)gr_req_data(req))->op;
}

/* Has nobody written since it began? Else it is to begin again. */
static bool undisturbed(struct gr_mod *self, const struct op *op)
{
    return *writes_of(self, op->jid) == op->began;
}

static void put_client(struct gr_mod *self, struct gr_txn *t, const struct op *op,
                       const struct client *c)
{
    uint8_t record[RECORD_MAX];
    size_t len = client_encode(c, record);

    (*writes_of(self, op->jid))++;
    gr_txn_put(t, FAST_TOKENS, op->jid->bare, op->id, strlen(op->id), record, len);
}

/* --- logging in with a token --- */

static void on_noted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);

    (void)self;
    if (rows->rc == 0 && gr_hold_waits(op->hold))
        op->check->result = op->result;
    op_end(op, rows->rc == 0 ? GR_OK : GR_FAIL);
}

static bool proves(struct gr_mod *self, const struct op *op, const struct token *t)
{
    char text[TOKEN_SIZE];
    bool yes;

    if (t->mechanism == 0 || t->mechanism != mechanism_number(op->check->mechanism))
        return false; /* XEP-0484, 3.4: a token is bound to its mechanism */
    token_text(self, op->jid, op->id, t, text);
    yes = gr_fast_matches(op->check, text);
    gr_wipe(text, sizeof(text));
    return yes;
}

static enum gr_fast_result judge(const struct op *op, const struct token *t)
{
    if (t->expires_s <= now_s())
        return GR_FAST_EXPIRED;
    if (op->check->count >= 0 && op->check->count <= t->count)
        return GR_FAST_REFUSED; /* seen before: somebody plays it again */
    return GR_FAST_OK;
}

/* The token was right: what is different now? A count must be on disk before anybody is let in;
 * that it was used is noted once a day. */
static bool note_use(const struct op *op, struct client *c, bool is_next)
{
    bool changed = is_next || op->check->count >= 0 || now_s() - c->used_s >= DAY_S;

    if (is_next) { /* 3.5: the earlier one ends with the first use of the later */
        c->current = c->next;
        memset(&c->next, 0, sizeof(c->next));
    }
    if (op->check->count >= 0)
        c->current.count = op->check->count;
    c->used_s = now_s();
    return changed;
}

static void use(struct gr_mod *self, struct op *op, struct client *c, bool is_next)
{
    const struct fast_conf *conf = gr_conf(self);
    const struct token *used = is_next ? &c->next : &c->current;
    struct gr_txn *t;

    op->check->renew = now_s() - used->issued_s >= conf->token_rotation / 1000;
    op->check->until_s = used->until_s;
    if (op->check->invalidate) {
        t = gr_txn_new(self);
        (*writes_of(self, op->jid))++;
        gr_txn_del(t, FAST_TOKENS, op->jid->bare, op->id, strlen(op->id));
    } else if (note_use(op, c, is_next)) {
        t = gr_txn_new(self);
        put_client(self, t, op, c);
    } else {
        op->check->result = GR_FAST_OK;
        op_end(op, GR_OK);
        return;
    }
    op->result = GR_FAST_OK;
    gr_txn_commit(t, op_req(self, op, on_noted));
}

static void read_client(struct gr_mod *self, struct op *op);

static void on_client(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);
    struct client c;
    bool is_next;

    if (!gr_hold_waits(op->hold) || (rows->rc != 0 && rows->rc != GR_ENOENT)) {
        op_end(op, GR_FAIL);
        return;
    }
    if (!undisturbed(self, op)) {
        read_client(self, op);
        return;
    }
    op->check->result = GR_FAST_REFUSED;
    if (rows->rc == 0 && client_decode(rows->row[0].val, rows->row[0].val_len, &c) != 0) {
        gr_error("fast.bad_record", "a stored token of %s is damaged", op->jid->bare);
    } else if (rows->rc == 0 && ((is_next = proves(self, op, &c.next)) ||
                                 proves(self, op, &c.current))) {
        op->check->result = judge(op, is_next ? &c.next : &c.current);
        if (op->check->result == GR_FAST_OK) {
            op->check->result = GR_FAST_UNKNOWN; /* until it is noted */
            use(self, op, &c, is_next);
            return;
        }
    }
    op_end(op, GR_OK);
}

static void read_client(struct gr_mod *self, struct op *op)
{
    if (op->tries++ == RETRIES_MAX) {
        op_end(op, GR_FAIL);
        return;
    }
    op->began = *writes_of(self, op->jid);
    gr_store_get(op_req(self, op, on_client), FAST_TOKENS, op->jid->bare, op->id,
                 strlen(op->id));
}

static enum gr_verdict on_check(struct gr_mod *self, struct gr_fast_ev *ev)
{
    struct op *op = op_new(self, &ev->ev, ev->jid, ev->client);

    if (op == NULL)
        return GR_FAIL;
    op->check = ev;
    read_client(self, op);
    return GR_PENDING;
}

/* --- giving one out --- */

static void on_given(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = op_of(req);
    char text[TOKEN_SIZE], stamp[GR_STAMP_SIZE];
    struct gr_inline_ev *ev = op->give;
    struct gr_el *el;

    if (rows->rc != 0) /* it is logged in all the same, and may ask again next time */
        gr_warn("fast.not_stored", "no token for %s: %s", op->jid->bare, gr_strerror(rows->rc));
    if (rows->rc == 0 && gr_hold_waits(op->hold)) {
        token_text(self, op->jid, op->id, &op->fresh, text);
        gr_stamp(stamp, op->fresh.expires_s * 1000000);
        el = gr_el_add(ev->answer, ev->at, NS_FAST, "token");
        gr_el_set(ev->answer, el, "expiry", stamp);
        gr_el_set(ev->answer, el, "token", text);
        gr_wipe(text, sizeof(text));
    }
    op_end(op, GR_OK);
}

/* Clients that are behind their tokens, and the ones seen longest ago until there is room for one
 * more. */
static void make_room(struct gr_mod *self, struct gr_txn *t, const struct op *op,
                      const struct gr_rows *rows)
{
    const struct fast_conf *conf = gr_conf(self);
    int64_t *seen = gr_alloc((rows->count + 1) * sizeof(*seen)); /* -1: gone, or it is the one */
    size_t others = 0;
    struct client c;

    for (size_t i = 0; i < rows->count; i++) {
        const struct gr_row *row = &rows->row[i];
        bool own = row->key_len == strlen(op->id) && memcmp(row->key, op->id, row->key_len) == 0;
        bool good = client_decode(row->val, row->val_len, &c) == 0 &&
                    (c.current.expires_s > now_s() || c.next.expires_s > now_s());

        seen[i] = good && !own ? last_seen_s(&c) : -1;
        others += seen[i] >= 0;
        if (!good && !own)
            gr_txn_del(t, FAST_TOKENS, op->jid->bare, row->key, row->key_len);
    }
    for (; others > 0 && others >= (size_t)conf->max_clients; others--) {
        size_t oldest = rows->count;

        for (size_t i = 0; i < rows->count; i++)
            if (seen[i] >= 0 && (oldest == rows->count || seen[i] < seen[oldest]))
                oldest = i;
        gr_txn_del(t, FAST_TOKENS, op->jid->bare, rows->row[oldest].key,
                   rows->row[oldest].key_len);
        seen[oldest] = -1;
    }
    gr_free(seen);
}

static void find_own(const struct op *op, const struct gr_rows *rows, struct client *out)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < rows->count; i++) {
        const struct gr_row *row = &rows->row[i];

        if (row->key_len == strlen(op->id) && memcmp(row->key, op->id, row->key_len) == 0 &&
            client_decode(row->val, row->val_len, out) != 0)
            memset(out, 0, sizeof(*out));
    }
}

static void begin_giving(struct gr_mod *self, struct op *op);

static void on_clients(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct fast_conf *conf = gr_conf(self);
    struct op *op = op_of(req);
    struct client c;
    struct gr_txn *t;

    if (rows->rc != 0) {
        gr_warn("fast.not_stored", "no token for %s: %s", op->jid->bare, gr_strerror(rows->rc));
        op_end(op, GR_OK);
        return;
    }
    if (!undisturbed(self, op)) {
        begin_giving(self, op);
        return;
    }
    find_own(op, rows, &c);
    op->fresh = (struct token){ .mechanism = op->mechanism, .issued_s = now_s(),
                                .expires_s = now_s() + conf->token_lifetime / 1000, .count = -1,
                                .until_s = op->until_s };
    if (op->until_s != 0 && op->until_s < op->fresh.expires_s)
        op->fresh.expires_s = op->until_s;
    gr_random(op->fresh.salt, SALT_SIZE);
    c.next = op->fresh; /* one that was never used ends here (3.5) */
    memcpy(c.software, op->software, NAME_SIZE);
    memcpy(c.device, op->device, NAME_SIZE);
    t = gr_txn_new(self);
    make_room(self, t, op, rows);
    put_client(self, t, op, &c);
    gr_txn_commit(t, op_req(self, op, on_given));
}

/* An account that is removed while it logs in must not leave a token to the next owner of its name: if
 * it still stands here, then its removal comes behind, or disturbs. */
static void on_exists(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct op *op = ((struct op_ref *)gr_ask_data(ask))->op;
    const struct fast_conf *conf = gr_conf(self);

    if (a->result != GR_R_OK)
        op_end(op, GR_OK);
    else
        gr_store_range(op_req(self, op, on_clients), FAST_TOKENS, op->jid->bare, NULL, 0,
                       (size_t)conf->max_clients + 100);
}

static void begin_giving(struct gr_mod *self, struct op *op)
{
    struct gr_ask *ask;

    if (op->tries++ == RETRIES_MAX) {
        op_end(op, GR_OK);
        return;
    }
    op->began = *writes_of(self, op->jid);
    ask = gr_ask_new(self, sizeof(struct op_ref), on_exists);
    ((struct op_ref *)gr_ask_data(ask))->op = op;
    gr_auth_exists(self, ask, op->jid->node);
}

/* For which mechanism the client is to get a token, 0: none. */
static uint8_t wanted(const struct gr_inline_ev *ev)
{
    const struct gr_el *request = gr_el_child(ev->request, NS_FAST, "request-token");
    const struct gr_el *fast = gr_el_child(ev->request, NS_FAST, "fast");
    const char *invalidate = fast != NULL ? gr_el_attr(fast, "invalidate") : NULL;

    if (request != NULL)
        return mechanism_number(gr_el_attr(request, "mechanism"));
    if (invalidate != NULL && (strcmp(invalidate, "true") == 0 || strcmp(invalidate, "1") == 0))
        return 0; /* 3.6: not even if one is due */
    return ev->renew ? mechanism_number(gr_session_auth_mech(ev->session)) : 0;
}

static void copy_name(char out[NAME_SIZE], const char *name)
{
    if (name != NULL && strlen(name) < NAME_SIZE)
        memcpy(out, name, strlen(name) + 1);
}

/* Whoever came in with something that ends gets nothing that lasts longer, and nothing when it is over. */
static enum gr_verdict on_success(struct gr_mod *self, struct gr_inline_ev *ev)
{
    const char *id = gr_session_client_id(ev->session);
    int64_t until_s = gr_session_auth_until(ev->session);
    uint8_t mechanism = wanted(ev);
    struct op *op;

    if (mechanism == 0 || id == NULL) /* 4.1: the client has to say who it is */
        return GR_OK;
    if (until_s != 0 && until_s <= now_s())
        return GR_OK;
    op = op_new(self, &ev->ev, gr_session_jid(ev->session), id);
    if (op == NULL)
        return GR_FAIL;
    op->give = ev;
    op->mechanism = mechanism;
    op->until_s = until_s;
    copy_name(op->software, gr_session_client_software(ev->session));
    copy_name(op->device, gr_session_client_device(ev->session));
    begin_giving(self, op);
    return GR_PENDING;
}

/* --- taking all away --- */

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    op_end(op_of(req), rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* The account is gone, or its password is another: held until no token is left. */
static enum gr_verdict on_end(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct op *op = op_new(self, &ev->ev, ev->jid, "");
    struct gr_txn *t = gr_txn_new(self);

    (*writes_of(self, ev->jid))++;
    gr_txn_del_all(t, FAST_TOKENS, ev->jid->bare);
    gr_txn_commit(t, op != NULL ? op_req(self, op, on_removed) : NULL);
    return op != NULL ? GR_PENDING : GR_FAIL;
}

static const struct gr_opt options[] = {
    GR_OPT_DURATION(struct fast_conf, token_lifetime, 21 * GR_DAY, GR_MINUTE, 3650 * GR_DAY,
                    "how long a token is good that is not used"),
    GR_OPT_DURATION(struct fast_conf, token_rotation, GR_DAY, GR_SECOND, 3650 * GR_DAY,
                    "age at which the login with a token brings a new one"),
    GR_OPT_INT(struct fast_conf, max_clients, 32, 1, 1000,
               "clients of an account that have tokens; the one seen longest ago goes"),
    GR_OPT_END
};

static int check(const void *values, const char **why)
{
    const struct fast_conf *conf = values;

    if (conf->token_rotation < conf->token_lifetime)
        return 0;
    *why = "`token_rotation` must be shorter than `token_lifetime`, or tokens end before new ones "
           "are given out";
    return GR_EINVAL;
}

static const struct gr_hook hooks[] = {
    GR_ON(fast_check, GR_PRIO_NORMAL, on_check),
    GR_ON(sasl2_success, GR_PRIO_NORMAL, on_success),
    GR_ON(password_changed, GR_PRIO_NORMAL, on_end),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_end),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_end),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, fast_export),
    GR_HOOK_END
};

GR_MODULE(fast,
    .summary = "tokens that log clients in with one round trip (XEP-0484)",
    .conf_size = sizeof(struct fast_conf), .state_size = sizeof(struct fast_state),
    .options = options, .hooks = hooks, .collections = fast_collections,
    .commands = fast_commands, .check = check);
