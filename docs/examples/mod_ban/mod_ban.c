/* mod_ban: accounts that may not log in: those of an option, and those of a list in the store,
 * which commands of grapnelctl change. */
#include <grapnel/module.h>

struct ban_conf { const char *const *jids; };
struct question { struct gr_hold *hold; struct gr_session_ev *ev; };
struct change { struct gr_cmd *cmd; struct gr_jid *kick; };

static const struct gr_opt options[] = {
    GR_OPT_JIDLIST(struct ban_conf, jids, "", "accounts that may not log in"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("ban_list"), GR_COLL_END };

/* --- the question: the chain waits for the store --- */

static void looked_up(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct question *q = gr_req_data(req);

    (void)self;
    if (gr_hold_waits(q->hold) && rows->rc != GR_ENOENT)
        q->ev->allow = false; /* banned, or nobody can tell */
    gr_resume(q->hold, GR_OK);
}

static enum gr_verdict on_open(struct gr_mod *self, struct gr_session_ev *ev)
{
    const struct ban_conf *conf = gr_conf(self);
    struct gr_req *req;
    struct question *q;

    if (gr_jid_in_list(conf->jids, ev->jid)) {
        ev->allow = false;
        return GR_STOP;
    }
    req = gr_req_new(self, sizeof(*q), looked_up);
    q = gr_req_data(req);
    *q = (struct question){ .hold = gr_hold(self, &ev->ev), .ev = ev };
    if (q->hold == NULL) {
        gr_req_drop(&req);
        return GR_FAIL;
    }
    gr_store_get(req, &collections[0], ev->jid->domain, ev->jid->bare, ev->jid->bare_len);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = {
    GR_ON(session_opening_allowed_for_user, GR_PRIO_SECURITY, on_open),
    GR_HOOK_END
};

/* --- the commands: on the home loop of the account, where its sessions are --- */

static void changed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct change *c = gr_req_data(req);
    struct gr_account *a = c->kick != NULL ? gr_account_find(self, c->kick) : NULL;

    for (struct gr_session *s = NULL; a != NULL && (s = gr_account_next(a, s)) != NULL;)
        gr_session_close(self, s, "policy-violation", "banned", true);
    gr_jid_free(&c->kick);
    if (rows->rc == 0)
        gr_cmd_done(c->cmd);
    else
        gr_cmd_fail(c->cmd, "%s", gr_strerror(rows->rc));
}

static void change(struct gr_mod *self, struct gr_cmd *cmd, bool ban)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    struct gr_req *req = gr_req_new(self, sizeof(struct change), changed);
    struct gr_txn *t = gr_txn_new(self);
    struct change *c = gr_req_data(req);

    *c = (struct change){ .cmd = cmd, .kick = ban ? gr_jid_dup_bare(jid) : NULL };
    if (ban)
        gr_txn_put(t, &collections[0], jid->domain, jid->bare, jid->bare_len, "", 0);
    else
        gr_txn_del(t, &collections[0], jid->domain, jid->bare, jid->bare_len);
    gr_txn_commit(t, req);
}

static void run_add(struct gr_mod *self, struct gr_cmd *cmd)
{
    change(self, cmd, true);
}

static void run_remove(struct gr_mod *self, struct gr_cmd *cmd)
{
    change(self, cmd, false);
}

static const struct gr_arg who[] = { GR_ARG(jid, JID, "an account"), GR_ARG_END };

static const struct gr_command commands[] = {
    { "ban add", "end an account's sessions and refuse new ones", who, GR_RUN_HOME, run_add },
    { "ban remove", "allow an account to log in again", who, GR_RUN_HOME, run_remove },
    GR_COMMAND_END
};

GR_MODULE(ban, .summary = "accounts that may not log in", .options = options,
          .conf_size = sizeof(struct ban_conf), .hooks = hooks, .collections = collections,
          .commands = commands);
