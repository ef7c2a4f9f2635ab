/* mod_sessiondb/commands.c: `sessiondb list` and `sessiondb kill` for whoever looks after the
 * server. On the home loop of the address. */
#include "sessiondb.h"

#include <string.h>

struct list {
    struct gr_cmd *cmd;
};

static void print_row(struct gr_cmd *cmd, const struct gr_row *row, const struct row *r)
{
    char login[GR_STAMP_SIZE], updated[GR_STAMP_SIZE];

    gr_stamp(login, r->login_us);
    gr_stamp(updated, r->updated_us);
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "resource", "%.*s", (int)row->key_len, (const char *)row->key);
    gr_cmd_field(cmd, "available", "%s", r->available ? "yes" : "no");
    gr_cmd_number(cmd, "priority", r->priority);
    gr_cmd_field(cmd, "server", "%s", r->server);
    gr_cmd_field(cmd, "login", "%s", login);
    gr_cmd_field(cmd, "updated", "%s", updated);
}

static void on_list(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct list *)gr_req_data(req))->cmd;
    struct row r;

    (void)self;
    if (rows->rc != 0) {
        gr_cmd_fail(cmd, "the store does not answer: %s", gr_strerror(rows->rc));
        return;
    }
    for (size_t i = 0; i < rows->count; i++)
        if (row_decode(rows->row[i].val, rows->row[i].val_len, &r) == 0)
            print_row(cmd, &rows->row[i], &r);
    gr_cmd_done(cmd);
}

static void run_list(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct list), on_list);

    ((struct list *)gr_req_data(req))->cmd = cmd;
    presence_flush(self);
    gr_store_range(req, ROWS, gr_cmd_jid(cmd, "jid")->bare, NULL, 0, 10000);
}

static void on_killed(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_cmd *cmd = ((struct list *)gr_ask_data(ask))->cmd;
    const char *full = gr_cmd_jid(cmd, "jid")->full;

    (void)self;
    if (a->result == GR_R_OK)
        gr_cmd_done(cmd);
    else if (a->result == GR_R_ERROR)
        gr_cmd_fail(cmd, "%s: %s", full, gr_cond_name(a->cond));
    else
        gr_cmd_fail(cmd, "%s is not there", full);
}

static void run_kill(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *full = gr_cmd_jid(cmd, "jid");
    struct gr_ask *ask;

    if (full->resource == NULL) {
        gr_cmd_fail(cmd, "%s has no resource: write user@domain/resource", full->full);
        return;
    }
    ask = gr_ask_new(self, sizeof(struct list), on_killed);
    ((struct list *)gr_ask_data(ask))->cmd = cmd;
    gr_session_ask(self, ask, GR_SESSION_KILL_RESOURCE, full);
}

static const struct gr_arg account[] = { GR_ARG(jid, JID, "user@domain"), GR_ARG_END };
static const struct gr_arg resource[] = { GR_ARG(jid, JID, "user@domain/resource"), GR_ARG_END };

const struct gr_command sessiondb_commands[] = {
    { "sessiondb list", "the sessions of an account that are in the store", account, GR_RUN_HOME,
      run_list },
    { "sessiondb kill", "end a session and drop what is known of it, wherever it was", resource,
      GR_RUN_HOME, run_kill },
    GR_COMMAND_END
};
