/* mod_register: in-band registration (XEP-0077): options, and what one's own account may do: look,
 * change the password, go.
 *
 * A removal is answered when the account is gone from the store and before its sessions end: from a
 * handler of remove_user that stands just before the session manager's (hooks.md 4.4). */
#include <string.h>

#include "register.h"

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct register_conf, create, true, "strangers may make accounts"),
    GR_OPT_BOOL(struct register_conf, change_password, true, "users may change their password"),
    GR_OPT_BOOL(struct register_conf, remove, true, "users may remove their account"),
    GR_OPT_BOOL(struct register_conf, require_tls, true, "passwords only over encrypted streams"),
    GR_OPT_INT(struct register_conf, per_ip, 3, 1, 1000,
               "most accounts made per hour from one address", .zero = "unlimited"),
    GR_OPT_INT(struct register_conf, total, 30, 1, 5000, "most accounts made per hour",
               .zero = "unlimited"),
    GR_OPT_INT(struct register_conf, min_password, 8, 1, 100, "fewest characters of a password"),
    GR_OPT_STR(struct register_conf, instructions, NULL, "what a stranger is told"),
    GR_OPT_STR(struct register_conf, redirect_url, NULL, "web page to register on instead"),
    GR_OPT_STR(struct register_conf, welcome_subject, NULL, "subject of the first message"),
    GR_OPT_STR(struct register_conf, welcome_message, NULL, "first message to a new account"),
    GR_OPT_LIST(struct register_conf, blocked,
                "abuse, admin, administrator, hostmaster, info, noreply, postmaster, root, "
                "security, support, webmaster, xmpp", "names that nobody may register"),
    GR_OPT_JIDLIST(struct register_conf, watchers, NULL, "who is told of new accounts"),
    GR_OPT_END
};

/* Without the request: it may hold a password (XEP-0077, 3.3). */
static void reply_error(struct gr_iq_req *req, enum gr_cond cond, const char *text)
{
    struct gr_stanza *error = gr_error_reply(gr_iq_req_stanza(req), cond, text);
    struct gr_el *query = gr_stanza_child(error, NS_REGISTER, "query");

    if (query != NULL)
        gr_el_remove(error, query);
    gr_iq_reply(req, error);
}

static void reply_answer(struct gr_iq_req *req, const struct gr_answer *a)
{
    switch (a->result) {
    case GR_R_OK:
        gr_iq_reply_empty(req);
        break;
    case GR_R_NONE:
        reply_error(req, GR_REGISTRATION_REQUIRED, NULL);
        break;
    case GR_R_ERROR:
        reply_error(req, a->cond != GR_COND_NONE ? a->cond : GR_INTERNAL_SERVER_ERROR, a->text);
        break;
    default:
        reply_error(req, GR_NOT_ALLOWED, NULL);
    }
}

/* --- get --- */

static void look(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *query = gr_el_add(result, NULL, NS_REGISTER, "query");

    (void)self;
    gr_el_add(result, query, NULL, "registered");
    gr_el_add_text(result, query, NULL, "username", ev->from->node);
    gr_el_add(result, query, NULL, "password");
    gr_iq_reply(ev->req, result);
}

/* --- change of the password --- */

struct changing {
    struct gr_iq_req *req;
};

static void on_changed(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self;
    reply_answer(((struct changing *)gr_ask_data(ask))->req, a);
}

static bool is_own_name(const struct gr_jid *own, const char *name)
{
    struct gr_jid *jid;
    bool same;

    if (gr_jid_make(name, own->domain, NULL, &jid) != 0)
        return false;
    same = gr_jid_bare_equal(jid, own);
    gr_jid_free(&jid);
    return same;
}

static void change(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct register_conf *conf = gr_conf(self);
    const char *name = field(ev->payload, "username"), *password = field(ev->payload, "password");
    const char *why;
    struct gr_ask *ask;

    if (!conf->change_password) {
        reply_error(ev->req, GR_NOT_ALLOWED, NULL);
    } else if (conf->require_tls && (ev->session == NULL || !gr_session_is_tls(ev->session))) {
        reply_error(ev->req, GR_NOT_AUTHORIZED, "only over an encrypted stream");
    } else if (name == NULL || password == NULL || password[0] == '\0') {
        reply_error(ev->req, GR_BAD_REQUEST, NULL);
    } else if (!is_own_name(ev->from, name)) {
        reply_error(ev->req, GR_NOT_ALLOWED, "not your account");
    } else if ((why = rule_password(conf, ev->from->node, password)) != NULL) {
        reply_error(ev->req, GR_NOT_ACCEPTABLE, why);
    } else {
        ask = gr_ask_new(self, sizeof(struct changing), on_changed);
        ((struct changing *)gr_ask_data(ask))->req = ev->req;
        if (ev->session != NULL)
            gr_auth_change_password(self, ask, ev->session, password);
        else
            gr_auth_set_password(self, ask, ev->from->node, password);
    }
}

/* --- removal --- */

struct removing {
    struct removal *removal;
};

static void forget(struct register_state *st, struct removal *r)
{
    struct removal **at = &st->removals;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    gr_free(r);
}

static void on_deleted(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct removal *r = ((struct removing *)gr_ask_data(ask))->removal;

    if (r->req != NULL)
        reply_answer(r->req, a);
    forget(gr_state(self), r);
}

static void remove_account(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct register_conf *conf = gr_conf(self);
    struct register_state *st = gr_state(self);
    struct removal *r;
    struct gr_ask *ask;

    if (!conf->remove) {
        reply_error(ev->req, GR_NOT_ALLOWED, NULL);
        return;
    }
    if (gr_el_next(gr_el_child(ev->payload, NULL, NULL), NULL, NULL) != NULL) { /* XEP-0077, 3.2 */
        reply_error(ev->req, GR_BAD_REQUEST, "nothing beside <remove/>");
        return;
    }
    r = gr_alloc(sizeof(*r));
    r->req = ev->req;
    r->next = st->removals;
    st->removals = r;
    ask = gr_ask_new(self, sizeof(struct removing), on_deleted);
    ((struct removing *)gr_ask_data(ask))->removal = r;
    gr_info("register.remove", "%s removes its account", ev->from->bare);
    gr_auth_delete(self, ask, ev->from->node);
}

struct replied {
    struct gr_hold *hold;
    int hops;
};

/* A post follows the stanzas sent before it to the same place; the first hop lets the reply be
 * routed, the second lets it arrive. */
static void on_replied(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    struct replied r;

    memcpy(&r, data, sizeof(r));
    if (r.hops-- > 0)
        gr_post(self, jid, on_replied, &r, len);
    else
        gr_resume(r.hold, GR_OK);
}

/* The account is gone; whoever asked for it hears so before the sessions end. */
static enum gr_verdict on_removed(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct register_state *st = gr_state(self);
    struct replied r = { .hops = 1 };
    bool any = false;

    for (struct removal *at = st->removals; at != NULL; at = at->next) {
        if (at->req == NULL || !gr_jid_bare_equal(gr_iq_req_from(at->req), ev->jid))
            continue;
        gr_iq_reply_empty(at->req);
        at->req = NULL;
        any = true;
    }
    if (!any || (r.hold = gr_hold(self, &ev->ev)) == NULL)
        return GR_OK;
    gr_post(self, ev->jid, on_replied, &r, sizeof(r));
    return GR_PENDING;
}

/* --- the iq --- */

/* Nobody of another domain has an account here, or can get one that way. */
static void refuse_stranger(struct gr_iq_ev *ev, bool removal)
{
    if (ev->type == GR_GET)
        reply_error(ev->req, GR_SERVICE_UNAVAILABLE, NULL);
    else
        reply_error(ev->req, removal ? GR_REGISTRATION_REQUIRED : GR_NOT_ALLOWED, NULL);
}

static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    bool removal = gr_el_child(ev->payload, NS_REGISTER, "remove") != NULL;

    if (ev->from->node == NULL || strcmp(ev->from->domain, gr_mod_host_jid(self)->domain) != 0)
        refuse_stranger(ev, removal);
    else if (ev->type == GR_GET)
        look(self, ev);
    else if (removal)
        remove_account(self, ev);
    else
        change(self, ev);
}

static const struct gr_hook hooks[] = {
    GR_ON(c2s_stream_features, GR_PRIO_NORMAL, create_on_features),
    GR_ON(user_send_xmlel, 30, create_on_element),
    GR_ON(remove_user, GR_PRIO_LAST - 1, on_removed),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_HOST | GR_TO_ACCOUNT | GR_OWN, NS_REGISTER, "query",
          on_query),
    GR_IQ_END
};

static const struct gr_slot *const slots[] = { &create_slot, NULL };

GR_MODULE(register,
    .summary = "registration, change of password and removal by users (XEP-0077)",
    .conf_size = sizeof(struct register_conf), .state_size = sizeof(struct register_state),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = rate_collections,
    .slots = slots);
