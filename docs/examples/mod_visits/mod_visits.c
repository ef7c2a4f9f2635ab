/* mod_visits: how many logins a host has seen, kept in the store.
 *
 * Adding to a number is reading and writing, and accounts log in on every loop. So all of it
 * happens on one: each login is posted to the home loop of the host's address, and there one
 * addition is on its way at a time; what comes meanwhile goes with the next. */
#include <grapnel/module.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct visits { uint64_t waiting; bool busy; };

static const struct gr_coll collections[] = { GR_MAP("visits"), GR_COLL_END };

/* --- adding --- */

static void add(struct gr_mod *self);

static uint64_t number_of(const struct gr_row *row)
{
    char text[24] = "";

    memcpy(text, row->val, row->val_len < sizeof(text) ? row->val_len : 0);
    return strtoumax(text, NULL, 10);
}

static void done(struct gr_mod *self, uint64_t not_written)
{
    struct visits *state = gr_state(self);

    state->busy = false;
    state->waiting += not_written; /* goes with the next login */
    if (not_written == 0 && state->waiting > 0)
        add(self);
}

static void written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    done(self, rows->rc != 0 ? *(uint64_t *)gr_req_data(req) : 0);
}

/* Both rows of the transaction are written, or neither. */
static void found(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    uint64_t added = *(uint64_t *)gr_req_data(req);
    const char *owner = gr_host_name(gr_mod_host(self));
    char count[24], stamp[GR_STAMP_SIZE];

    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        done(self, added);
        return;
    }
    struct gr_req *writing = gr_req_new(self, sizeof(uint64_t), written);
    struct gr_txn *t = gr_txn_new(self);
    *(uint64_t *)gr_req_data(writing) = added;
    added += rows->rc == 0 ? number_of(rows->row) : 0;
    snprintf(count, sizeof(count), "%" PRIu64, added);
    gr_stamp(stamp, gr_wall_us());
    gr_txn_put(t, &collections[0], owner, "count", 5, count, strlen(count));
    gr_txn_put(t, &collections[0], owner, "last", 4, stamp, strlen(stamp));
    gr_txn_commit(t, writing);
}

static void add(struct gr_mod *self)
{
    struct visits *state = gr_state(self);
    struct gr_req *req = gr_req_new(self, sizeof(uint64_t), found);

    *(uint64_t *)gr_req_data(req) = state->waiting;
    state->waiting = 0;
    state->busy = true;
    gr_store_get(req, &collections[0], gr_host_name(gr_mod_host(self)), "count", 5);
}

static void visited(struct gr_mod *self, const struct gr_jid *host, const void *data, size_t len)
{
    struct visits *state = gr_state(self);

    (void)host, (void)data, (void)len;
    state->waiting++;
    if (!state->busy)
        add(self);
}

static void on_login(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)ev;
    gr_post(self, gr_mod_host_jid(self), visited, NULL, 0);
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
    gr_cmd_row(cmd);
    for (size_t i = 0; i < rows->count; i++)
        gr_cmd_field(cmd, i == 0 ? "count" : "last", "%.*s", (int)rows->row[i].val_len,
                     (const char *)rows->row[i].val);
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

GR_MODULE(visits, .summary = "counts logins in the store", .state_size = sizeof(struct visits),
          .hooks = hooks, .collections = collections, .commands = commands);
