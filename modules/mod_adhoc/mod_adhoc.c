/* mod_adhoc: ad-hoc commands (XEP-0050): whoever knows a node answers for it (adhoc_local_commands,
 * adhoc_sm_commands); the module itself serves, for the host's admins, the commands of grapnelctl and
 * those of XEP-0133, which are the same ones under the names that clients know.
 *
 * A request of a local user arrives on the user's home loop; so the executions are kept there. */
#include "adhoc.h"

#include <string.h>

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct adhoc_conf, report_commands_node, false,
                "show the list of commands as an item of the host"),
    GR_OPT_BOOL(struct adhoc_conf, server_commands, true,
                "admins may use what grapnelctl can, for the whole server"),
    GR_OPT_LIST(struct adhoc_conf, withheld, "host purge, user export",
                "commands of the server that are not offered"),
    GR_OPT_INT(struct adhoc_conf, page, 100, 1, 1000, "rows of a result shown at once"),
    GR_OPT_SIZE(struct adhoc_conf, max_result, 256 * GR_KIB, 4 * GR_KIB, 16 * GR_MIB,
                "bytes of a result that are kept while it is read"),
    GR_OPT_DURATION(struct adhoc_conf, session_timeout, 10 * GR_MINUTE, 10 * GR_SECOND, GR_DAY,
                    "how long the next step is waited for"),
    GR_OPT_INT(struct adhoc_conf, max_sessions, 1000, 1, 100000,
               "executions that are not finished, per loop"),
    GR_OPT_END
};

/* --- answers --- */

struct gr_stanza *command_reply(const struct gr_iq_req *req, const char *node, const char *id,
                                const char *status, struct gr_el **command)
{
    struct gr_stanza *st = gr_iq_result(gr_iq_req_stanza(req));

    *command = gr_el_add(st, NULL, NS_COMMANDS, "command");
    gr_el_set(st, *command, "node", node);
    gr_el_set(st, *command, "sessionid", id);
    gr_el_set(st, *command, "status", status);
    return st;
}

void command_refuse(struct gr_iq_req *take, enum gr_cond cond, const char *specific,
                    const char *text)
{
    struct gr_stanza *st = gr_error_reply(gr_iq_req_stanza(take), cond, text);

    gr_el_add(st, gr_stanza_child(st, NULL, "error"), NS_COMMANDS, specific);
    gr_iq_reply(take, st);
}

/* --- a request --- */

struct request {
    struct gr_adhoc_ev ev;
    struct gr_iq_req *req;
    enum action action;
    bool account;
};

static bool take_action(const char *text, enum action *out)
{
    static const char *const words[] = {
        [EXECUTE] = "execute", [NEXT] = "next", [PREV] = "prev", [COMPLETE] = "complete",
        [CANCEL] = "cancel",
    };

    for (size_t i = 0; i < GR_COUNT(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (enum action)i;
            return true;
        }
    }
    return false;
}

/* Admins' commands, which no handler of the chain has taken. */
static void serve(struct gr_mod *self, struct gr_iq_req *req, const char *node, const char *id,
                  enum action action)
{
    const struct gr_jid *from = gr_iq_req_from(req);
    struct adhoc_session *s;
    struct recipe recipe;

    if (!admin_recipe(self, node, &recipe) && !registry_recipe(self, node, &recipe)) {
        gr_iq_reply_error(req, GR_ITEM_NOT_FOUND, NULL);
        return;
    }
    if (!gr_is_admin(self, from)) {
        gr_iq_reply_error(req, GR_FORBIDDEN, NULL);
        return;
    }
    if (id == NULL && action == EXECUTE) {
        gr_info("adhoc.command", "jid=%s command=%s", from->full, recipe.command);
        run_first(self, req, &recipe, node);
        return;
    }
    s = id != NULL ? session_find(self, from->full, node, id) : NULL;
    if (s != NULL)
        run_step(self, req, &recipe, s, action);
    else if (id != NULL)
        command_refuse(req, GR_NOT_ALLOWED, "session-expired", NULL);
    else
        command_refuse(req, GR_BAD_REQUEST, "bad-action", NULL);
}

static void on_chain(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_adhoc_ev *e = GR_CONTAINER_OF(ev, struct gr_adhoc_ev, ev);
    struct request *r = GR_CONTAINER_OF(e, struct request, ev);

    (void)verdict;
    if (e->reply != NULL)
        gr_iq_reply(r->req, e->reply);
    else if (!r->account)
        serve(self, r->req, e->node, e->session_id, r->action);
    else /* XEP-0030, 8: to strangers an account is not there */
        gr_iq_reply_error(r->req, gr_jid_bare_equal(e->from, e->to) ? GR_ITEM_NOT_FOUND
                                                                    : GR_SERVICE_UNAVAILABLE, NULL);
    gr_free(r);
}

static void on_request(struct gr_mod *self, struct gr_iq_ev *ev, bool account)
{
    const struct gr_el *command = gr_stanza_payload(gr_iq_req_stanza(ev->req));
    const char *action = gr_el_attr(command, "action"), *node = gr_el_attr(command, "node");
    const char *id = gr_el_attr(command, "sessionid");
    struct request *r;

    if (node == NULL || node[0] == '\0') {
        gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "a command has a node");
        return;
    }
    r = gr_alloc(sizeof(*r));
    if (action != NULL && !take_action(action, &r->action)) {
        gr_free(r);
        command_refuse(ev->req, GR_BAD_REQUEST, "malformed-action", NULL);
        return;
    }
    if (id != NULL && id[0] == '\0') {
        gr_free(r);
        command_refuse(ev->req, GR_BAD_REQUEST, "bad-sessionid", NULL);
        return;
    }
    r->req = ev->req;
    r->account = account;
    r->ev = (struct gr_adhoc_ev){
        .from = gr_iq_req_from(ev->req), .to = gr_iq_req_to(ev->req), .node = node,
        .action = action != NULL ? action : "execute", .session_id = id,
        .request = gr_iq_req_stanza(ev->req),
    };
    gr_hook_run(self, account ? GR_HOOK_adhoc_sm_commands : GR_HOOK_adhoc_local_commands,
                &r->ev.ev, on_chain);
}

static void on_host(struct gr_mod *self, struct gr_iq_ev *ev)
{
    on_request(self, ev, false);
}

static void on_account(struct gr_mod *self, struct gr_iq_ev *ev)
{
    on_request(self, ev, true);
}

/* --- a command of everybody's --- */

static enum gr_verdict on_ping(struct gr_mod *self, struct gr_adhoc_ev *ev)
{
    char id[GR_ID_SIZE];
    struct gr_el *command;

    (void)self;
    if (ev->reply != NULL || strcmp(ev->node, "ping") != 0)
        return GR_OK;
    gr_random_id(id);
    ev->reply = gr_iq_result(ev->request);
    command = gr_el_add(ev->reply, NULL, NS_COMMANDS, "command");
    gr_el_set(ev->reply, command, "node", "ping");
    gr_el_set(ev->reply, command, "sessionid", ev->session_id != NULL ? ev->session_id : id);
    gr_el_set(ev->reply, command, "status",
              strcmp(ev->action, "cancel") == 0 ? "canceled" : "completed");
    gr_el_set(ev->reply, gr_el_add_text(ev->reply, command, NULL, "note", "Pong"), "type", "info");
    return GR_STOP;
}

/* --- discovery (XEP-0050, 2.1 and 2.2) --- */

static bool is_list(const struct gr_disco_ev *ev)
{
    return strcmp(ev->node, NS_COMMANDS) == 0;
}

/* The title of a node that this asker may use; the strings are a module's. NULL: none. */
static const char *title_of(struct gr_mod *self, const struct gr_disco_ev *ev)
{
    struct recipe recipe;

    if (strcmp(ev->node, "ping") == 0)
        return "Ping";
    if (gr_is_admin(self, ev->from) &&
        (admin_recipe(self, ev->node, &recipe) || registry_recipe(self, ev->node, &recipe)))
        return recipe.title;
    return NULL;
}

static enum gr_verdict host_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const char *title = title_of(self, ev);

    if (is_list(ev))
        gr_disco_identity(ev, "automation", "command-list", "Commands");
    else if (title != NULL)
        gr_disco_identity(ev, "automation", "command-node", title);
    return GR_OK;
}

static enum gr_verdict host_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    if (!is_list(ev) && title_of(self, ev) == NULL)
        return GR_OK;
    gr_disco_feature(ev, NS_COMMANDS);
    if (!is_list(ev))
        gr_disco_feature(ev, GR_NS_FORM);
    return GR_OK;
}

static void add_item(void *ctx, const char *node, const char *title)
{
    struct gr_disco_ev *ev = ctx;

    gr_disco_item(ev, ev->to->full, node, title);
}

static enum gr_verdict host_items(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct adhoc_conf *conf = gr_conf(self);

    if (ev->node[0] == '\0' && conf->report_commands_node)
        add_item(ev, NS_COMMANDS, "Commands");
    if (is_list(ev)) {
        add_item(ev, "ping", "Ping");
        if (gr_is_admin(self, ev->from)) {
            admin_each(self, add_item, ev);
            registry_each(self, add_item, ev);
        }
    }
    if (title_of(self, ev) != NULL) /* a leaf */
        ev->answered = true;
    return GR_OK;
}

/* An account has the list, which others fill. */
static enum gr_verdict account_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (is_list(ev) && ev->subscribed)
        gr_disco_identity(ev, "automation", "command-list", "Commands");
    return GR_OK;
}

static enum gr_verdict account_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (is_list(ev) && ev->subscribed)
        gr_disco_feature(ev, NS_COMMANDS);
    return GR_OK;
}

static enum gr_verdict account_items(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct adhoc_conf *conf = gr_conf(self);

    if (ev->node[0] == '\0' && ev->subscribed && conf->report_commands_node)
        add_item(ev, NS_COMMANDS, "Commands");
    if (is_list(ev) && ev->subscribed)
        ev->answered = true;
    return GR_OK;
}

static void stop(struct gr_mod *self)
{
    jobs_end(self);
    sessions_end(self);
}

static const struct gr_hook hooks[] = {
    GR_ON(adhoc_local_commands, GR_PRIO_LAST, on_ping),
    GR_ON(disco_local_identity, 99, host_identity),
    GR_ON(disco_local_features, 99, host_features),
    GR_ON(disco_local_items, 99, host_items),
    GR_ON(disco_sm_identity, 99, account_identity),
    GR_ON(disco_sm_features, 99, account_features),
    GR_ON(disco_sm_items, 99, account_items),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_SET, GR_TO_HOST, NS_COMMANDS, "command", on_host),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT, NS_COMMANDS, "command", on_account),
    GR_IQ_END
};

GR_MODULE(adhoc, .summary = "commands for people: ad-hoc commands, administration "
                            "(XEP-0050, XEP-0133)",
    .conf_size = sizeof(struct adhoc_conf), .state_size = sizeof(struct adhoc),
    .options = options, .hooks = hooks, .iqs = iqs, .commands = adhoc_commands,
    .stop = stop);
