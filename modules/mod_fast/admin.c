/* mod_fast/admin.c: which clients of an account have tokens, for admins and for the account's export.
 * Tokens are not told: nobody but the client knows them. */
#include "fast.h"

#include <string.h>

#define ROWS_MAX 2000

struct asking {
    struct gr_cmd *cmd;
    struct gr_hold *hold;
    struct gr_export_ev *export;
};

static void stamp_of(char out[GR_STAMP_SIZE], int64_t seconds)
{
    gr_stamp(out, seconds * 1000000);
}

static const struct token *newest(const struct client *c)
{
    return c->next.mechanism != 0 ? &c->next : &c->current;
}

static void print_row(struct gr_cmd *cmd, const struct gr_row *row)
{
    char issued[GR_STAMP_SIZE], expires[GR_STAMP_SIZE], used[GR_STAMP_SIZE] = "never";
    struct client c;

    if (client_decode(row->val, row->val_len, &c) != 0)
        return;
    stamp_of(issued, newest(&c)->issued_s);
    stamp_of(expires, newest(&c)->expires_s);
    if (c.used_s > 0)
        stamp_of(used, c.used_s);
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "client", "%.*s", (int)row->key_len, (const char *)row->key);
    gr_cmd_field(cmd, "software", "%s", c.software);
    gr_cmd_field(cmd, "device", "%s", c.device);
    gr_cmd_field(cmd, "mechanism", "%s", mechanism_name(newest(&c)->mechanism));
    gr_cmd_field(cmd, "issued", "%s", issued);
    gr_cmd_field(cmd, "expires", "%s", expires);
    gr_cmd_field(cmd, "used", "%s", used);
}

static void on_list(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct asking *)gr_req_data(req))->cmd;

    (void)self;
    if (rows->rc != 0) {
        gr_cmd_fail(cmd, "the store says: %s", gr_strerror(rows->rc));
        return;
    }
    for (size_t i = 0; i < rows->count; i++)
        print_row(cmd, &rows->row[i]);
    gr_cmd_done(cmd);
}

static void cmd_list(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct asking), on_list);

    ((struct asking *)gr_req_data(req))->cmd = cmd;
    gr_store_range(req, FAST_TOKENS, gr_cmd_jid(cmd, "jid")->bare, NULL, 0, ROWS_MAX);
}

static void on_revoked(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct asking *)gr_req_data(req))->cmd;

    (void)self;
    if (rows->rc == 0)
        gr_cmd_done(cmd);
    else
        gr_cmd_fail(cmd, "the store says: %s", gr_strerror(rows->rc));
}

static void cmd_revoke(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    const char *client = gr_cmd_text(cmd, "client");
    struct gr_req *req = gr_req_new(self, sizeof(struct asking), on_revoked);
    struct gr_txn *t = gr_txn_new(self);

    ((struct asking *)gr_req_data(req))->cmd = cmd;
    (*writes_of(self, jid))++;
    if (client != NULL)
        gr_txn_del(t, FAST_TOKENS, jid->bare, client, strlen(client));
    else
        gr_txn_del_all(t, FAST_TOKENS, jid->bare);
    gr_txn_commit(t, req);
}

static const struct gr_arg list_args[] = { GR_ARG(jid, JID, "an account"), GR_ARG_END };
static const struct gr_arg revoke_args[] = {
    GR_ARG(jid, JID, "an account"),
    GR_ARG_OPTIONAL(client, TEXT, "only the tokens of this one, as `user tokens` writes it"),
    GR_ARG_END
};

const struct gr_command fast_commands[] = {
    { "user tokens", "the clients of an account that log in with tokens", list_args, GR_RUN_HOME,
      cmd_list },
    { "user tokens revoke", "takes tokens back: their clients need the password again",
      revoke_args, GR_RUN_HOME, cmd_revoke },
    GR_COMMAND_END
};

/* --- what is kept about a person --- */

static void on_export(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct asking *a = gr_req_data(req);
    bool ok = rows->rc == 0 && gr_hold_waits(a->hold);
    char used[GR_STAMP_SIZE];
    struct client c;

    (void)self;
    for (size_t i = 0; ok && i < rows->count; i++) {
        const struct gr_row *row = &rows->row[i];
        char *id = gr_strndup(row->key, row->key_len);
        struct gr_el *el;

        if (client_decode(row->val, row->val_len, &c) == 0) {
            stamp_of(used, last_seen_s(&c));
            el = gr_el_add(a->export->data, NULL, "urn:grapnel:fast", "client");
            gr_el_set(a->export->data, el, "id", id);
            gr_el_set(a->export->data, el, "software", c.software);
            gr_el_set(a->export->data, el, "device", c.device);
            gr_el_set(a->export->data, el, "seen", used);
        }
        gr_free(id);
    }
    gr_resume(a->hold, ok ? GR_OK : GR_FAIL);
}

enum gr_verdict fast_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct asking), on_export);
    *(struct asking *)gr_req_data(req) = (struct asking){ .hold = hold, .export = ev };
    gr_store_range(req, FAST_TOKENS, ev->user->bare, NULL, 0, ROWS_MAX);
    return GR_PENDING;
}
