/* mod_auth_token: tokens for clients that should not keep a password: asked for once logged in, shown
 * with the mechanism X-OAUTH. Access tokens are good for a short while; refresh tokens for long, bring
 * an access token, and can be revoked.
 *
 * Each account has a number by chance, which is part of the key of its tokens and goes with the account
 * and with its password: what was issued before is worth nothing then, whoever has the name next. */
#include "auth_token.h"

#include <string.h>

const struct gr_coll token_collections[] = {
    GR_MAP("auth_token"), GR_MAP("auth_token_spent"), GR_COLL_END
};
static const char id_key[] = "id", sequence_key[] = "sequence";

#define KEY(k) k, sizeof(k) - 1
#define TRIES_MAX 3

void secrets_get(struct gr_req *take, const struct gr_jid *jid)
{
    gr_store_range(take, TOKEN_ACCOUNTS, jid->bare, NULL, 0, 4);
}

static bool is_row(const struct gr_row *row, const char *key, size_t key_len, size_t val_len)
{
    return row->key_len == key_len && memcmp(row->key, key, key_len) == 0 &&
           row->val_len == val_len;
}

struct secrets secrets_read(const struct gr_rows *rows)
{
    struct secrets s = { 0 };

    for (size_t i = 0; rows->rc == 0 && i < rows->count; i++) {
        if (is_row(&rows->row[i], KEY(id_key), ID_SIZE)) {
            s.there = true;
            memcpy(s.id, rows->row[i].val, ID_SIZE);
        } else if (is_row(&rows->row[i], KEY(sequence_key), 8)) {
            s.sequence = gr_row_counter(&rows->row[i]);
        }
    }
    return s;
}

/* --- giving them out --- */

struct issue {
    struct gr_iq_req *req;
    int64_t until_s;            /* gr_session_auth_until of who asks */
    unsigned tries;
};

static void read_for_issue(struct gr_mod *self, const struct issue *from);

static void add_token(struct gr_mod *self, struct gr_stanza *st, struct gr_el *to,
                      const char *name, enum token_type type, const struct issue *i,
                      const struct secrets *s)
{
    size_t len;
    char *token = token_make(self, type, gr_iq_req_to(i->req), s, i->until_s, &len);
    char *text = gr_alloc(4 * ((len + 2) / 3) + 1);

    gr_base64_encode(text, token, len);
    gr_el_add_text(st, to, NULL, name, text);
    gr_wipe(text, strlen(text));
    gr_wipe(token, len);
    gr_free(text);
    gr_free(token);
}

static void reply(struct gr_mod *self, const struct issue *i, const struct secrets *s)
{
    struct gr_stanza *st = gr_iq_result(gr_iq_req_stanza(i->req));
    struct gr_el *items = gr_el_add(st, NULL, NS_TOKEN, "items");

    add_token(self, st, items, "access_token", TOKEN_ACCESS, i, s);
    add_token(self, st, items, "refresh_token", TOKEN_REFRESH, i, s);
    gr_iq_reply(i->req, st);
}

static void on_made(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct issue *i = gr_req_data(req);

    if (rows->rc == 0 || rows->rc == GR_EEXIST) /* by another session */
        read_for_issue(self, i);
    else
        gr_iq_reply_error(i->req, gr_cond_of(rows->rc), NULL);
}

static void make_id(struct gr_mod *self, const struct issue *from)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct issue), on_made);
    struct gr_txn *t = gr_txn_new(self);
    uint8_t id[ID_SIZE];

    *(struct issue *)gr_req_data(req) = *from;
    gr_random(id, sizeof(id));
    gr_txn_put_new(t, TOKEN_ACCOUNTS, gr_iq_req_to(from->req)->bare, KEY(id_key), id, sizeof(id));
    gr_txn_commit(t, req);
}

static void on_secrets(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct issue *i = gr_req_data(req);
    struct secrets s = secrets_read(rows);

    if (rows->rc != 0)
        gr_iq_reply_error(i->req, gr_cond_of(rows->rc), NULL);
    else if (s.there)
        reply(self, i, &s);
    else if (++i->tries <= TRIES_MAX)
        make_id(self, i);
    else
        gr_iq_reply_error(i->req, GR_INTERNAL_SERVER_ERROR, NULL);
}

static void read_for_issue(struct gr_mod *self, const struct issue *from)
{
    struct gr_req *r = gr_req_new(self, sizeof(struct issue), on_secrets);

    *(struct issue *)gr_req_data(r) = *from;
    secrets_get(r, gr_iq_req_to(from->req));
}

/* From a login with a token nothing comes that lasts longer than the token: else who finds an access
 * token would be in for good. */
static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct issue i = { .req = ev->req };

    i.until_s = ev->session != NULL ? gr_session_auth_until(ev->session) : 1;
    if (i.until_s != 0 && i.until_s <= gr_wall_us() / 1000000)
        gr_iq_reply_error(ev->req, GR_NOT_AUTHORIZED, "log in with the password");
    else
        read_for_issue(self, &i);
}

/* --- logging in with one --- */

struct checking {
    struct gr_hold *hold;
    struct gr_token_ev *ev;     /* while the hold waits */
};

static enum gr_fast_result judge(const struct token *t, bool genuine, const struct secrets *s)
{
    if (!genuine)
        return GR_FAST_REFUSED;
    if (t->expiry_s <= gr_wall_us() / 1000000)
        return GR_FAST_EXPIRED;
    if (t->type == TOKEN_REFRESH && t->sequence != s->sequence)
        return GR_FAST_REFUSED; /* revoked */
    return GR_FAST_OK;
}

static void judge_ours(struct gr_mod *self, struct gr_token_ev *ev, const struct token *t,
                       const struct secrets *s)
{
    ev->result = judge(t, token_is_ours(self, t, ev->jid, s), s);
    ev->until_s = t->expiry_s;
    if (ev->result == GR_FAST_OK && t->type == TOKEN_REFRESH)
        ev->answer = token_make(self, TOKEN_ACCESS, ev->jid, s, ev->until_s, &ev->answer_len);
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct checking *c = gr_req_data(req);
    struct secrets s = secrets_read(rows);
    struct token t;

    if (rows->rc == 0 && gr_hold_waits(c->hold)) {
        if (token_parse(c->ev->token, c->ev->len, &t) == 0)
            judge_ours(self, c->ev, &t, &s);
        else
            c->ev->result = GR_FAST_REFUSED;
        token_free(&t);
    }
    gr_resume(c->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

static void check_ours(struct gr_mod *self, struct gr_hold *hold, struct gr_token_ev *ev)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct checking), on_rows);

    *(struct checking *)gr_req_data(req) = (struct checking){ hold, ev };
    secrets_get(req, ev->jid);
}

static enum gr_verdict on_check(struct gr_mod *self, struct gr_token_ev *ev)
{
    struct gr_hold *hold;
    struct token t;

    if (ev->result == GR_FAST_OK) /* another issuer's */
        return GR_OK;
    ev->result = GR_FAST_REFUSED;
    if (token_parse(ev->token, ev->len, &t) == 0) {
        if (t.type == TOKEN_PROVISION)
            ev->result = judge(&t, provision_is_right(self, &t), NULL);
        if (t.type != TOKEN_PROVISION || ev->result == GR_FAST_OK) {
            hold = gr_hold(self, &ev->ev);
            ev->result = GR_FAST_UNKNOWN;
            if (hold != NULL && t.type == TOKEN_PROVISION)
                provision(self, hold, ev, &t);
            else if (hold != NULL)
                check_ours(self, hold, ev);
            token_free(&t);
            return hold != NULL ? GR_PENDING : GR_FAIL;
        }
    }
    token_free(&t);
    return GR_OK;
}

/* --- taking them back --- */

struct removal {
    struct gr_hold *hold;
};

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(((struct removal *)gr_req_data(req))->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* The account is gone, or its password is another. */
static enum gr_verdict on_end(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct removal), on_removed);
    struct gr_txn *t = gr_txn_new(self);

    ((struct removal *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, TOKEN_ACCOUNTS, ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* Should a session of the name's last owner have asked for tokens when the account was gone already. */
static void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del_all(t, TOKEN_ACCOUNTS, ev->jid->bare);
    gr_txn_commit(t, NULL);
}

struct revoking {
    struct gr_cmd *cmd;
};

static void on_revoked(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct revoking *)gr_req_data(req))->cmd;

    (void)self;
    if (rows->rc == 0)
        gr_cmd_done(cmd);
    else
        gr_cmd_fail(cmd, "the store refuses: %s", gr_strerror(rows->rc));
}

static void revoke(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    struct gr_req *req;
    struct gr_txn *t;

    if (jid->node == NULL) {
        gr_cmd_fail(cmd, "%s is not an account: write user@domain", jid->full);
        return;
    }
    req = gr_req_new(self, sizeof(struct revoking), on_revoked);
    ((struct revoking *)gr_req_data(req))->cmd = cmd;
    t = gr_txn_new(self);
    gr_txn_add(t, TOKEN_ACCOUNTS, jid->bare, KEY(sequence_key), 1);
    gr_txn_commit(t, req);
}

static const struct gr_opt options[] = {
    GR_OPT_DURATION(struct token_conf, access_validity, GR_HOUR, GR_SECOND, 30 * GR_DAY,
                    "how long an access token is good"),
    GR_OPT_DURATION(struct token_conf, refresh_validity, 25 * GR_DAY, GR_SECOND, 3650 * GR_DAY,
                    "how long a refresh token is good"),
    GR_OPT_END
};

static const struct gr_arg account[] = { GR_ARG(jid, JID, "user@domain"), GR_ARG_END };
static const struct gr_command commands[] = {
    { "token revoke", "takes back an account's refresh tokens", account, GR_RUN_HOME, revoke },
    GR_COMMAND_END
};

static enum gr_verdict host_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (ev->node[0] == '\0')
        gr_disco_feature(ev, NS_TOKEN);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(token_check, GR_PRIO_NORMAL, on_check),
    GR_ON(disco_local_features, GR_PRIO_LATE, host_features),
    GR_ON(register_user, GR_PRIO_NORMAL, on_register),
    GR_ON(password_changed, GR_PRIO_NORMAL, on_end),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_end),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_end),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS_TOKEN, "query", on_query),
    GR_IQ_END
};

GR_MODULE(auth_token, .summary = "tokens instead of passwords: access, refresh, provision (X-OAUTH)",
    .conf_size = sizeof(struct token_conf), .options = options, .hooks = hooks, .iqs = iqs,
    .collections = token_collections, .commands = commands);
