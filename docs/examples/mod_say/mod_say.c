/* mod_say: two commands for grapnelctl: "say to JID TEXT" sends a message to every session of an
 * account, "say count DOMAIN" tells how many messages that made, on all loops. */
#include <grapnel/module.h>

struct say { int64_t sent; }; /* per host and loop */

/* GR_RUN_HOME: on the home loop of the first address, the only one that sees its sessions. */
static void run_to(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct say *state = gr_state(self);
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    struct gr_account *account = gr_account_find(self, jid);
    struct gr_session *s = NULL;

    if (account == NULL) {
        gr_cmd_fail(cmd, "%s is not online", jid->bare);
        return;
    }
    while ((s = gr_account_next(account, s)) != NULL) {
        struct gr_stanza *msg = gr_message_new(GR_MSG_HEADLINE, gr_mod_host_jid(self),
                                               gr_session_jid(s));
        gr_el_add_text(msg, NULL, NULL, "body", gr_cmd_text(cmd, "text"));
        gr_send(self, msg);
        state->sent++;
        gr_cmd_row(cmd);
        gr_cmd_field(cmd, "session", "%s", gr_session_jid(s)->full);
        gr_cmd_field(cmd, "address", "%s", gr_session_ip(s));
    }
    gr_cmd_done(cmd);
}

/* GR_RUN_ALL: on every loop, in the instance of the first address's domain. Each loop gives one
 * row, so their numbers are added up. */
static void run_count(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct say *state = gr_state(self);

    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "sent", state->sent);
    gr_cmd_done(cmd);
}

static const struct gr_arg to_args[] = {
    GR_ARG(jid, JID, "who is told"), GR_ARG(text, TEXT, "what"), GR_ARG_END
};

static const struct gr_arg count_args[] = {
    GR_ARG(domain, JID, "a host of this server"), GR_ARG_END
};

static const struct gr_command commands[] = {
    { "say to", "send a message to all sessions of an account", to_args, GR_RUN_HOME, run_to },
    { "say count", "how many messages that made", count_args, GR_RUN_ALL, run_count },
    GR_COMMAND_END
};

GR_MODULE(say, .summary = "messages by grapnelctl", .state_size = sizeof(struct say),
          .commands = commands);
