/* mod_welcome: a message to everybody who logs in for the first time, once per account. */
#include <grapnel/module.h>

struct welcome_conf { const char *text; };
struct login { struct gr_jid *jid; };

static const struct gr_opt options[] = {
    GR_OPT_STR(struct welcome_conf, text, "Welcome!", "what a new user is told"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("welcome_seen"), GR_COLL_END };

/* GR_EEXIST: not the first time. Another error: rather no message than one too many. */
static void marked(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct welcome_conf *conf = gr_conf(self);
    struct login *login = gr_req_data(req);

    if (rows->rc == 0) {
        struct gr_stanza *msg = gr_message_new(GR_MSG_HEADLINE, gr_mod_host_jid(self), login->jid);
        gr_el_add_text(msg, NULL, NULL, "body", conf->text);
        gr_send(self, msg);
    }
    gr_jid_free(&login->jid);
}

/* The address is borrowed, the answer of the store may come later: keep a copy. */
static void on_login(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct login), marked);
    struct gr_txn *t = gr_txn_new(self);

    ((struct login *)gr_req_data(req))->jid = gr_jid_dup(ev->jid);
    gr_txn_put_new(t, &collections[0], ev->jid->bare, "v1", 2, "", 0);
    gr_txn_commit(t, req);
}

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    gr_txn_commit(t, NULL);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(sm_register_connection, GR_PRIO_LATE, on_login),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_HOOK_END
};

GR_MODULE(welcome, .summary = "welcomes everybody once", .options = options,
          .conf_size = sizeof(struct welcome_conf), .hooks = hooks, .collections = collections);
