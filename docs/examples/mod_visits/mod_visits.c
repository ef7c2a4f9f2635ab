/* mod_visits: how many logins a host has seen, kept in the store.
 *
 * Accounts log in on every loop, perhaps two at the same moment: gr_txn_add needs no reading
 * beforehand and counts them all. */
#include <grapnel/module.h>

#include <string.h>

static const struct gr_coll collections[] = { GR_MAP("visits"), GR_COLL_END };

/* Both rows of the transaction are written, or neither. */
static void on_login(struct gr_mod *self, struct gr_session_ev *ev)
{
    const char *owner = gr_host_name(gr_mod_host(self));
    struct gr_txn *t = gr_txn_new(self);
    char stamp[GR_STAMP_SIZE];

    (void)ev;
    gr_stamp(stamp, gr_wall_us());
    gr_txn_add(t, &collections[0], owner, "count", 5, 1);
    gr_txn_put(t, &collections[0], owner, "last", 4, stamp, strlen(stamp));
    gr_txn_commit(t, NULL);
}

static const struct gr_hook hooks[] = {
    GR_ON(sm_register_connection, GR_PRIO_LATE, on_login),
    GR_HOOK_END
};

/* --- grapnelctl visits DOMAIN --- */

static void told(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = *(struct gr_cmd **)gr_req_data(req);

    (void)self;
    if (rows->rc != 0) {
        gr_cmd_fail(cmd, "%s", gr_strerror(rows->rc));
        return;
    }
    if (rows->count == 2) { /* in the order of their keys */
        gr_cmd_row(cmd);
        gr_cmd_number(cmd, "count", gr_row_counter(&rows->row[0]));
        gr_cmd_field(cmd, "last", "%.*s", (int)rows->row[1].val_len,
                     (const char *)rows->row[1].val);
    }
    gr_cmd_done(cmd);
}

static void run_visits(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_req *req = gr_req_new(self, sizeof(cmd), told);

    *(struct gr_cmd **)gr_req_data(req) = cmd;
    gr_store_range(req, &collections[0], gr_cmd_jid(cmd, "domain")->domain, NULL, 0, 2);
}

static const struct gr_arg domain[] = {
    GR_ARG(domain, JID, "a host of this server"), GR_ARG_END
};

static const struct gr_command commands[] = {
    { "visits", "how many logins a host has seen, and when the last was", domain, GR_RUN_HOME,
      run_visits },
    GR_COMMAND_END
};

GR_MODULE(visits, .summary = "counts logins in the store", .hooks = hooks,
          .collections = collections, .commands = commands);
