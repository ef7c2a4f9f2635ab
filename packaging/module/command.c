/* mod_NAME: two commands for grapnelctl: how many messages accounts have sent, on the whole server
 * and since an account's first session. */
#include <grapnel/module.h>

struct conf { bool count_empty; };
struct state { int64_t sent; };    /* of the accounts that live on this loop */
struct account { int64_t sent; };  /* kept while it has sessions */

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct conf, count_empty, false, "whether messages without a body count"),
    GR_OPT_END
};

static const struct gr_slot account_slot = GR_SLOT(struct account, 1, NULL);
static const struct gr_slot *const slots[] = { &account_slot, NULL };

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct conf *conf = gr_conf(self);
    struct account *account;

    if (!conf->count_empty && gr_stanza_child(ev->stanza, NULL, "body") == NULL)
        return GR_OK;
    account = gr_account_slot(self, gr_session_account(ev->session), &account_slot);
    account->sent++;
    ((struct state *)gr_state(self))->sent++;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_LATE, on_message),
    GR_HOOK_END
};

/* On every loop; each gives one row, and numbers add up. */
static void run_total(struct gr_mod *self, struct gr_cmd *cmd)
{
    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "sent", ((const struct state *)gr_state(self))->sent);
    gr_cmd_done(cmd);
}

/* On the loop where the account lives. */
static void run_of(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    const struct gr_account *account = gr_account_find(self, jid);
    const struct account *a;

    if (account == NULL) {
        gr_cmd_fail(cmd, "%s is not online", jid->bare);
        return;
    }
    a = gr_account_slot_peek(self, account, &account_slot);
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "jid", "%s", jid->bare);
    gr_cmd_number(cmd, "sent", a != NULL ? a->sent : 0);
    gr_cmd_done(cmd);
}

static const struct gr_arg who[] = {
    { "jid", GR_ARG_JID, false, "an account" },
    { NULL, GR_ARG_TEXT, false, NULL }
};

static const struct gr_command commands[] = {
    { "NAME total", "messages sent since the module started", NULL, GR_RUN_ALL, run_total },
    { "NAME of", "messages that an account has sent", who, GR_RUN_HOME, run_of },
    GR_COMMAND_END
};

GR_MODULE(NAME, .summary = "counts messages", .options = options,
          .conf_size = sizeof(struct conf), .state_size = sizeof(struct state), .slots = slots,
          .hooks = hooks, .commands = commands);
