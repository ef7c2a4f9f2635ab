/* admin.c: user add/delete/password/list, sessions, hooks, providers, status: commands that every
 * server has. They run on loops, with the built-in module's instance as `self`. */
#include "admin.h"

#include "mod/provider.h"
#include "mod/reload.h"
#include "route/session.h"
#include "store/store.h"
#include "stream/c2s.h"

#include <string.h>

/* --- users --- */

#define FIELD_MAX 2047 /* bytes of a result's field */

struct user_cmd {
    struct gr_cmd *cmd;
};

static void on_changed(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_cmd *cmd = ((struct user_cmd *)gr_ask_data(ask))->cmd;
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");

    (void)self;
    switch (a->result) {
    case GR_R_OK:
        gr_cmd_done(cmd);
        break;
    case GR_R_FALSE:
        gr_cmd_fail(cmd, "%s exists already", jid->bare);
        break;
    case GR_R_NONE:
        gr_cmd_fail(cmd, "%s does not exist", jid->bare);
        break;
    case GR_R_ERROR:
        gr_cmd_fail(cmd, "%s: %s", gr_cond_name(a->cond), a->text != NULL ? a->text : "");
        break;
    }
}

static struct gr_ask *user_ask(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct user_cmd), on_changed);

    ((struct user_cmd *)gr_ask_data(ask))->cmd = cmd;
    return ask;
}

/* The account's name, or NULL when the command was refused. */
static const char *user_of(struct gr_cmd *cmd, bool password)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");

    if (jid->node == NULL || jid->resource != NULL) {
        gr_cmd_fail(cmd, "%s is not an account: write user@domain", jid->full);
        return NULL;
    }
    if (password && gr_cmd_text(cmd, "password") == NULL) {
        gr_cmd_fail(cmd, "a password is needed: --password-stdin or --password TEXT");
        return NULL;
    }
    return jid->node;
}

static void user_add(struct gr_mod *self, struct gr_cmd *cmd)
{
    const char *user = user_of(cmd, true);

    if (user != NULL)
        gr_auth_create(self, user_ask(self, cmd), user, gr_cmd_text(cmd, "password"));
}

static void user_password(struct gr_mod *self, struct gr_cmd *cmd)
{
    const char *user = user_of(cmd, true);

    if (user != NULL)
        gr_auth_set_password(self, user_ask(self, cmd), user, gr_cmd_text(cmd, "password"));
}

static void user_delete(struct gr_mod *self, struct gr_cmd *cmd)
{
    const char *user = user_of(cmd, false);

    if (user != NULL)
        gr_auth_delete(self, user_ask(self, cmd), user);
}

/* For an account that can log in: a token of somebody else would only puzzle. */
static void on_token_user(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_cmd *cmd = ((struct user_cmd *)gr_ask_data(ask))->cmd;
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    char password[GR_TOKEN_SIZE] = "";

    if (a->result == GR_R_ERROR) {
        gr_cmd_fail(cmd, "%s: %s", gr_cond_name(a->cond), a->text != NULL ? a->text : "");
    } else if (a->result != GR_R_OK) {
        gr_cmd_fail(cmd, "%s %s", jid->bare,
                    a->result == GR_R_FALSE ? "may not log in" : "does not exist");
    } else if (gr_token_issue(self, jid->node, password) > FIELD_MAX) {
        gr_cmd_fail(cmd, "the token of so long a name does not fit into an answer");
    } else {
        gr_cmd_row(cmd);
        gr_cmd_field(cmd, "password", "%s", password);
        gr_cmd_number(cmd, "seconds", self->host->conf->token_max_age / 1000);
        gr_cmd_done(cmd);
    }
    gr_wipe(password, sizeof(password));
}

static void token_issue(struct gr_mod *self, struct gr_cmd *cmd)
{
    const char *user = user_of(cmd, false);
    struct gr_ask *ask;

    if (user == NULL)
        return;
    ask = gr_ask_new(self, sizeof(struct user_cmd), on_token_user);
    ((struct user_cmd *)gr_ask_data(ask))->cmd = cmd;
    gr_auth_exists(self, ask, user);
}

#define LIST_PAGE 1000

struct list_cmd {
    struct gr_cmd *cmd;
    int64_t left;
};

static void list_page(struct gr_mod *self, struct gr_cmd *cmd, const char *after, int64_t left);

static void on_users(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct list_cmd *l = gr_ask_data(ask);

    if (a->result == GR_R_ERROR || a->result == GR_R_NONE) {
        gr_cmd_fail(l->cmd, "this host's accounts cannot be listed");
        return;
    }
    for (size_t i = 0; i < a->count; i++) {
        gr_cmd_row(l->cmd);
        gr_cmd_field(l->cmd, "jid", "%s", a->items[i].jid->bare);
        gr_cmd_field(l->cmd, "admin", "%s", a->items[i].groups != NULL ? "yes" : "no");
    }
    l->left -= (int64_t)a->count;
    if (a->result == GR_R_FALSE && a->text != NULL && l->left > 0)
        list_page(self, l->cmd, a->text, l->left);
    else
        gr_cmd_done(l->cmd);
}

static void list_page(struct gr_mod *self, struct gr_cmd *cmd, const char *after, int64_t left)
{
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct list_cmd), on_users);

    *(struct list_cmd *)gr_ask_data(ask) = (struct list_cmd){ cmd, left };
    gr_auth_list(self, ask, after, (size_t)(left < LIST_PAGE ? left : LIST_PAGE));
}

static void user_list(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_host *host = host_find(gr_cmd_text(cmd, "domain"));
    int64_t limit = gr_cmd_int(cmd, "limit", INT32_MAX);

    if (limit < 1) {
        gr_cmd_fail(cmd, "the limit is 1 at least");
        return;
    }
    if (host == NULL) {
        gr_cmd_fail(cmd, "%s is not served here", gr_cmd_text(cmd, "domain"));
        return;
    }
    list_each(mod, &host->instances, struct gr_mod, of_host) {
        if (mod->desc == self->desc) {
            list_page(mod, cmd, gr_cmd_text(cmd, "after"), limit);
            return;
        }
    }
}

/* --- looking --- */

static void session_row(void *ctx, struct gr_session *s)
{
    struct gr_cmd *cmd = ctx;

    if (s->state != GR_S_BOUND)
        return;
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "jid", "%s", s->jid->full);
    gr_cmd_field(cmd, "ip", "%s", gr_session_ip(s));
    gr_cmd_field(cmd, "tls", "%s", gr_session_is_tls(s) ? "yes" : "no");
    gr_cmd_field(cmd, "mechanism", "%s", s->auth_mech != NULL ? s->auth_mech : "");
    gr_cmd_field(cmd, "available", "%s", s->available ? "yes" : "no");
    gr_cmd_number(cmd, "priority", s->priority);
    gr_cmd_number(cmd, "loop", loop_index(s->loop));
    gr_cmd_number(cmd, "seconds", (gr_wall_us() - s->since_us) / 1000000);
}

static void sessions(struct gr_mod *self, struct gr_cmd *cmd)
{
    (void)self;
    session_each(session_row, cmd);
    gr_cmd_done(cmd);
}

static void hook_row(void *ctx, const char *hook, int prio, const struct gr_mod *m)
{
    struct gr_cmd *cmd = ctx;

    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "hook", "%s", hook);
    gr_cmd_number(cmd, "priority", prio);
    gr_cmd_field(cmd, "module", "%s%s", m->image != NULL ? "mod_" : "", m->desc->name);
}

static void hooks(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_host *host = host_find(gr_cmd_text(cmd, "domain"));

    (void)self;
    if (host == NULL) {
        gr_cmd_fail(cmd, "%s is not served here", gr_cmd_text(cmd, "domain"));
        return;
    }
    hook_each(mod_loop()->global, hook_row, cmd);
    hook_each(host->hooks, hook_row, cmd);
    gr_cmd_done(cmd);
}

static void providers(struct gr_mod *self, struct gr_cmd *cmd)
{
    static const char *const type[] = { "auth", "roster", "session" };
    struct gr_host *host = host_find(gr_cmd_text(cmd, "domain"));

    (void)self;
    if (host == NULL) {
        gr_cmd_fail(cmd, "%s is not served here", gr_cmd_text(cmd, "domain"));
        return;
    }
    for (int i = 0; i < 3; i++) {
        int prio = 0;
        const char *name = gr_provider_name(host, (enum gr_provider_type)i, &prio);
        gr_cmd_row(cmd);
        gr_cmd_field(cmd, "type", "%s", type[i]);
        gr_cmd_field(cmd, "provider", "%s", name != NULL ? name : "default");
        gr_cmd_number(cmd, "priority", prio);
    }
    gr_cmd_done(cmd);
}

static void status(struct gr_mod *self, struct gr_cmd *cmd)
{
    bool first = loop_index(loop_self()) == 0;
    struct store_stats st;

    (void)self;
    store_stats(&st);
    gr_cmd_row(cmd);
    gr_cmd_field(cmd, "version", "%s", GR_VERSION_TEXT);
    gr_cmd_number(cmd, "uptime_s", first ? gr_uptime_ms() / 1000 : 0);
    gr_cmd_number(cmd, "loops", 1);
    gr_cmd_number(cmd, "streams", (int64_t)c2s_count());
    gr_cmd_number(cmd, "sessions", (int64_t)route_loop()->bound);
    gr_cmd_number(cmd, "accounts_online", (int64_t)route_loop()->accounts.count);
    gr_cmd_number(cmd, "suspended", (int64_t)job_lanes());
    gr_cmd_number(cmd, "commits", first ? (int64_t)st.commits : 0);
    gr_cmd_number(cmd, "stored_operations", first ? (int64_t)st.ops : 0);
    gr_cmd_number(cmd, "store_queue_bytes", first ? (int64_t)st.queue_bytes : 0);
    gr_cmd_number(cmd, "store_bytes", first ? (int64_t)st.map_used : 0);
    gr_cmd_field(cmd, "store", "%s", st.read_only ? "read-only: no space" : "ok");
    gr_cmd_done(cmd);
}

static const struct gr_arg account_args[] = {
    GR_ARG(jid, JID, "user@domain"), GR_ARG_END
};
static const struct gr_arg password_args[] = {
    GR_ARG(jid, JID, "user@domain"),
    GR_ARG_OPTIONAL(password, SECRET, "the password; --password-stdin reads it from a line"),
    GR_ARG_END
};
static const struct gr_arg domain_args[] = {
    GR_ARG(domain, TEXT, "a served domain"), GR_ARG_END
};
static const struct gr_arg list_args[] = {
    GR_ARG(domain, TEXT, "a served domain"),
    GR_ARG_OPTIONAL(after, TEXT, "start behind this user name"),
    GR_ARG_OPTIONAL(limit, INT, "at most so many"),
    GR_ARG_END
};

static const struct gr_command commands[] = {
    { "user add", "create an account", password_args, GR_RUN_HOME, user_add },
    { "user password", "set an account's password", password_args, GR_RUN_HOME, user_password },
    { "user delete", "remove an account and all its data", account_args, GR_RUN_HOME,
      user_delete },
    { "user list", "the accounts of a domain", list_args, GR_RUN_ANY, user_list },
    { "token issue", "a password that is good for a short while", account_args, GR_RUN_HOME,
      token_issue },
    { "sessions", "who is online", NULL, GR_RUN_ALL, sessions },
    { "hooks", "the chains of a domain, in the order in which handlers run", domain_args,
      GR_RUN_ANY, hooks },
    { "providers", "who answers for accounts, rosters and sessions", domain_args, GR_RUN_ANY,
      providers },
    { "status", "figures about the running server", NULL, GR_RUN_ALL, status },
    GR_COMMAND_END
};

const struct gr_module admin_module = {
    .name = "admin", .summary = "commands: built in", .abi = GR_ABI_VERSION,
    .abi_tag = GR_ABI_TAG, .commands = commands,
};
