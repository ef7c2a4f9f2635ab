/* mod_disco: service discovery (XEP-0030) for the host and for accounts, contact addresses
 * (XEP-0157).
 *
 * It asks the disco_* chains and sends what they gathered; its own handlers stand at the end of
 * these chains like those of any other module. Who may learn something about an account is asked
 * first (XEP-0030, 8): strangers get the same answers whether it exists or not. */
#include <stdlib.h>
#include <string.h>

#include <grapnel/module.h>

#define NS_INFO "http://jabber.org/protocol/disco#info"
#define NS_ITEMS "http://jabber.org/protocol/disco#items"
#define NS_FORM "jabber:x:data"
#define SUBHOSTS_MAX 1000

struct disco_conf {
    const char *name;
    const char *const *extra_domains;
    bool users_can_see_hidden_services;
    const char *const *abuse_addresses, *const *admin_addresses, *const *feedback_addresses,
        *const *sales_addresses, *const *security_addresses, *const *status_addresses,
        *const *support_addresses;
};

#define CONTACT(member, what) \
    GR_OPT_LIST(struct disco_conf, member, NULL, "URIs for " what, .max = 32)
static const struct gr_opt options[] = {
    GR_OPT_STR(struct disco_conf, name, "Grapnel", "what the server calls itself"),
    GR_OPT_LIST(struct disco_conf, extra_domains, NULL, "further services shown to clients"),
    GR_OPT_BOOL(struct disco_conf, users_can_see_hidden_services, true,
                "list components that asked to be hidden, too"),
    CONTACT(abuse_addresses, "reports of abuse"),
    CONTACT(admin_addresses, "the administrators"),
    CONTACT(feedback_addresses, "feedback"),
    CONTACT(sales_addresses, "sales"),
    CONTACT(security_addresses, "security concerns"),
    CONTACT(status_addresses, "the state of the service"),
    CONTACT(support_addresses, "support"),
    GR_OPT_END
};

/* Components of this host: the core tells about them as they come and go. */
struct subhost {
    struct subhost *next;
    bool hidden;
    char domain[];
};
struct disco {
    struct subhost *subhosts;
    unsigned count;
};

/* XEP-0157, 7.1. */
static const struct {
    const char *field;
    size_t offset;
} contacts[] = {
    { "abuse-addresses", offsetof(struct disco_conf, abuse_addresses) },
    { "admin-addresses", offsetof(struct disco_conf, admin_addresses) },
    { "feedback-addresses", offsetof(struct disco_conf, feedback_addresses) },
    { "sales-addresses", offsetof(struct disco_conf, sales_addresses) },
    { "security-addresses", offsetof(struct disco_conf, security_addresses) },
    { "status-addresses", offsetof(struct disco_conf, status_addresses) },
    { "support-addresses", offsetof(struct disco_conf, support_addresses) },
};

static const char *const *contact_list(const struct disco_conf *conf, size_t i)
{
    const char *const *list;

    memcpy(&list, (const char *)conf + contacts[i].offset, sizeof(list));
    return list;
}

static bool is_uri(const char *s)
{
    const char *colon = strchr(s, ':');

    return colon != NULL && colon != s && colon[1] != '\0' && strpbrk(s, " <>\"") == NULL;
}

static int check(const void *conf, const char **why)
{
    for (size_t i = 0; i < GR_COUNT(contacts); i++) {
        const char *const *uri = contact_list(conf, i);

        for (; uri != NULL && *uri != NULL; uri++) {
            if (is_uri(*uri))
                continue;
            *why = "contact addresses are URIs, e.g. mailto:abuse@example.org or "
                   "xmpp:admin@example.org";
            return GR_EINVAL;
        }
    }
    return 0;
}

/* --- answering --- */

static struct gr_stanza *new_result(const struct gr_stanza *iq)
{
    const struct gr_el *asked = gr_stanza_payload(iq);
    struct gr_stanza *result = gr_iq_result(iq);
    struct gr_el *query = gr_el_add(result, NULL, gr_el_ns(asked), "query");

    /* XEP-0030, 3.2: the node is mirrored. */
    if (gr_el_attr(asked, "node") != NULL)
        gr_el_set(result, query, "node", gr_el_attr(asked, "node"));
    return result;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Handlers append as they are called; clients get identities, sorted features, then forms. */
static struct gr_stanza *in_order(const struct gr_stanza *iq, const struct gr_stanza *gathered)
{
    struct gr_stanza *result = new_result(iq);
    const struct gr_el *from = gr_stanza_payload(gathered), *el;
    struct gr_el *to = gr_stanza_payload(result), *added;
    const char **vars;
    size_t n = 0;

    for (el = gr_el_child(from, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL))
        n++;
    vars = gr_alloc((n + 1) * sizeof(*vars));
    n = 0;
    for (el = gr_el_child(from, NULL, "feature"); el != NULL;
         el = gr_el_next(el, NULL, "feature")) {
        if (gr_el_attr(el, "var") != NULL)
            vars[n++] = gr_el_attr(el, "var");
    }
    qsort(vars, n, sizeof(*vars), by_text);
    for (el = gr_el_child(from, NULL, "identity"); el != NULL;
         el = gr_el_next(el, NULL, "identity"))
        gr_el_append(result, to, el);
    for (size_t i = 0; i < n; i++) {
        added = gr_el_add(result, to, NULL, "feature");
        gr_el_set(result, added, "var", vars[i]);
    }
    for (el = gr_el_child(from, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL)) {
        if (!gr_el_is(el, NS_INFO, NULL))
            gr_el_append(result, to, el);
    }
    gr_free(vars);
    return result;
}

static struct gr_disco_ev question(struct gr_iq_req *req, bool subscribed)
{
    const struct gr_stanza *iq = gr_iq_req_stanza(req);

    return (struct gr_disco_ev){
        .from = gr_iq_req_from(req), .to = gr_iq_req_to(req), .lang = gr_stanza_lang(iq),
        .subscribed = subscribed, .result = new_result(iq),
    };
}

static const char *node_of(const struct gr_iq_req *req)
{
    const char *node = gr_el_attr(gr_stanza_payload(gr_iq_req_stanza(req)), "node");

    return node != NULL ? node : "";
}

/* Each chain starts with the node that was asked for: handlers may map it for those behind them. */
static void ask(struct gr_mod *self, enum gr_hook_id id, struct gr_disco_ev *ev, const char *node)
{
    ev->node = node;
    gr_hook_run(self, id, &ev->ev, NULL);
}

static void reply_info(struct gr_mod *self, struct gr_iq_req *req, bool account)
{
    struct gr_disco_ev ev = question(req, account);
    const char *node = node_of(req);

    ask(self, account ? GR_HOOK_disco_sm_identity : GR_HOOK_disco_local_identity, &ev, node);
    ask(self, account ? GR_HOOK_disco_sm_features : GR_HOOK_disco_local_features, &ev, node);
    if (!account)
        ask(self, GR_HOOK_disco_info, &ev, node);
    if (ev.answered)
        gr_iq_reply(req, in_order(gr_iq_req_stanza(req), ev.result));
    else
        gr_iq_reply_error(req, GR_ITEM_NOT_FOUND, NULL);
    gr_stanza_unref(&ev.result);
}

static void on_host_info(struct gr_mod *self, struct gr_iq_ev *ev)
{
    reply_info(self, ev->req, false);
}

static void on_host_items(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct gr_disco_ev q = question(ev->req, false);

    ask(self, GR_HOOK_disco_local_items, &q, node_of(ev->req));
    if (q.answered) {
        gr_iq_reply(ev->req, q.result);
        return;
    }
    gr_stanza_unref(&q.result);
    gr_iq_reply_error(ev->req, GR_ITEM_NOT_FOUND, NULL);
}

/* To strangers nothing but what other modules make public; an empty list otherwise (8, rule 2). */
static void reply_account_items(struct gr_mod *self, struct gr_iq_req *req, bool subscribed)
{
    struct gr_disco_ev ev = question(req, subscribed);
    const char *node = node_of(req);

    ask(self, GR_HOOK_disco_sm_items, &ev, node);
    if (ev.answered || !subscribed || node[0] == '\0') {
        gr_iq_reply(req, ev.result);
        return;
    }
    gr_stanza_unref(&ev.result);
    gr_iq_reply_error(req, GR_ITEM_NOT_FOUND, NULL);
}

/* --- who asks about an account? --- */

struct asker {
    struct gr_jid_info_ev info;
    struct gr_jid *contact;
    struct gr_iq_req *req;
};

static void reply_account(struct gr_mod *self, struct gr_iq_req *req, bool subscribed)
{
    if (gr_el_is(gr_stanza_payload(gr_iq_req_stanza(req)), NS_ITEMS, NULL))
        reply_account_items(self, req, subscribed);
    else if (subscribed)
        reply_info(self, req, true);
    else
        gr_iq_reply_error(req, GR_SERVICE_UNAVAILABLE, NULL); /* XEP-0030, 8, rule 1 */
}

static void on_roster(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_jid_info_ev *info = GR_CONTAINER_OF(ev, struct gr_jid_info_ev, ev);
    struct asker *a = GR_CONTAINER_OF(info, struct asker, info);

    (void)verdict;
    reply_account(self, a->req, info->sub == GR_SUB_FROM || info->sub == GR_SUB_BOTH);
    gr_jid_free(&a->contact);
    gr_free(a);
}

static void on_account(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct asker *a;

    if (gr_jid_bare_equal(ev->from, ev->to)) {
        reply_account(self, ev->req, true);
        return;
    }
    a = gr_alloc(sizeof(*a));
    a->req = ev->req;
    a->contact = gr_jid_dup_bare(ev->from);
    a->info.owner = gr_iq_req_to(ev->req);
    a->info.contact = a->contact;
    gr_hook_run(self, GR_HOOK_roster_get_jid_info, &a->info.ev, on_roster);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_INFO, "query", on_host_info),
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_ITEMS, "query", on_host_items),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT, NS_INFO, "query", on_account),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT, NS_ITEMS, "query", on_account),
    GR_IQ_END
};

/* --- what this module itself knows --- */

static void add_feature(void *ctx, const char *feature)
{
    gr_disco_feature(ctx, feature);
}

static enum gr_verdict host_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    if (ev->node[0] == '\0')
        gr_host_each_feature(self, false, add_feature, ev);
    return GR_OK;
}

static enum gr_verdict host_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct disco_conf *conf = gr_conf(self);

    if (ev->node[0] == '\0')
        gr_disco_identity(ev, "server", "im", conf->name);
    return GR_OK;
}

static void add_contacts(struct gr_disco_ev *ev, struct gr_el *form, const char *name,
                         const char *const *uri)
{
    struct gr_el *field;

    if (uri == NULL || *uri == NULL)
        return;
    field = gr_el_add(ev->result, form, NULL, "field");
    gr_el_set(ev->result, field, "var", name);
    gr_el_set(ev->result, field, "type", "list-multi");
    for (; *uri != NULL; uri++)
        gr_el_add_text(ev->result, field, NULL, "value", *uri);
}

static bool has_contacts(const struct disco_conf *conf)
{
    for (size_t i = 0; i < GR_COUNT(contacts); i++) {
        const char *const *list = contact_list(conf, i);

        if (list != NULL && *list != NULL)
            return true;
    }
    return false;
}

/* A form as XEP-0128 wants it, with the fields of XEP-0157. */
static enum gr_verdict host_info(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct disco_conf *conf = gr_conf(self);
    struct gr_el *form, *type;

    if (ev->node[0] != '\0' || !has_contacts(conf))
        return GR_OK;
    form = gr_el_add(ev->result, gr_stanza_payload(ev->result), NS_FORM, "x");
    gr_el_set(ev->result, form, "type", "result");
    type = gr_el_add(ev->result, form, NULL, "field");
    gr_el_set(ev->result, type, "var", "FORM_TYPE");
    gr_el_set(ev->result, type, "type", "hidden");
    gr_el_add_text(ev->result, type, NULL, "value", "http://jabber.org/network/serverinfo");
    for (size_t i = 0; i < GR_COUNT(contacts); i++)
        add_contacts(ev, form, contacts[i].field, contact_list(conf, i));
    return GR_OK;
}

static enum gr_verdict host_items(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct disco_conf *conf = gr_conf(self);
    const struct disco *d = gr_state(self);

    if (ev->node[0] != '\0')
        return GR_OK;
    ev->answered = true;
    for (const struct subhost *s = d->subhosts; s != NULL; s = s->next) {
        if (!s->hidden || conf->users_can_see_hidden_services)
            gr_disco_item(ev, s->domain, NULL, NULL);
    }
    for (const char *const *e = conf->extra_domains; e != NULL && *e != NULL; e++)
        gr_disco_item(ev, *e, NULL, NULL);
    return GR_OK;
}

static enum gr_verdict account_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    if (ev->node[0] == '\0' && ev->subscribed)
        gr_host_each_feature(self, true, add_feature, ev);
    return GR_OK;
}

/* XEP-0030, 3.1: the primary identity of an account. */
static enum gr_verdict account_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (ev->node[0] == '\0' && ev->subscribed)
        gr_disco_identity(ev, "account", "registered", NULL);
    return GR_OK;
}

static enum gr_verdict account_items(struct gr_mod *self, struct gr_disco_ev *ev)
{
    struct gr_account *a;
    struct gr_session *s;

    if (ev->node[0] != '\0' || !ev->subscribed)
        return GR_OK;
    ev->answered = true;
    a = gr_account_find(self, ev->to);
    if (a == NULL)
        return GR_OK;
    for (s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        if (gr_session_available(s))
            gr_disco_item(ev, gr_session_jid(s)->full, NULL, NULL);
    }
    return GR_OK;
}

/* --- components of this host --- */

static bool is_below(const char *domain, const char *host)
{
    size_t len = strlen(domain), host_len = strlen(host);

    return len > host_len + 1 && domain[len - host_len - 1] == '.' &&
           strcmp(domain + len - host_len, host) == 0;
}

static void forget_subhost(struct disco *d, const char *domain)
{
    for (struct subhost **at = &d->subhosts; *at != NULL; at = &(*at)->next) {
        struct subhost *s = *at;

        if (strcmp(s->domain, domain) != 0)
            continue;
        *at = s->next;
        d->count--;
        gr_free(s);
        return;
    }
}

/* In the order of their names. */
static void add_subhost(struct disco *d, const char *domain, bool hidden)
{
    struct subhost **at = &d->subhosts, *s;
    size_t size = strlen(domain) + 1;

    forget_subhost(d, domain);
    if (d->count >= SUBHOSTS_MAX)
        return;
    while (*at != NULL && strcmp((*at)->domain, domain) < 0)
        at = &(*at)->next;
    s = gr_alloc(sizeof(*s) + size);
    memcpy(s->domain, domain, size);
    s->hidden = hidden;
    s->next = *at;
    *at = s;
    d->count++;
}

static void on_subhost(struct gr_mod *self, struct gr_domain_ev *ev)
{
    if (is_below(ev->domain, gr_mod_host_jid(self)->domain))
        add_subhost(gr_state(self), ev->domain, ev->hidden);
}

static void on_subhost_gone(struct gr_mod *self, struct gr_domain_ev *ev)
{
    forget_subhost(gr_state(self), ev->domain);
}

static void stop(struct gr_mod *self)
{
    struct disco *d = gr_state(self);

    while (d->subhosts != NULL)
        forget_subhost(d, d->subhosts->domain);
}

/* One blob: for each '+' or '-' (hidden), its name, NUL. */
static void save(struct gr_mod *self, struct gr_bag *bag)
{
    const struct disco *d = gr_state(self);
    size_t size = 1, at = 0;
    char *all;

    for (const struct subhost *s = d->subhosts; s != NULL; s = s->next)
        size += strlen(s->domain) + 2;
    all = gr_alloc(size);
    for (const struct subhost *s = d->subhosts; s != NULL; s = s->next) {
        size_t len = strlen(s->domain) + 1;

        all[at] = s->hidden ? '-' : '+';
        memcpy(all + at + 1, s->domain, len);
        at += len + 1;
    }
    gr_bag_put_blob(bag, "subhosts", all, at);
    gr_free(all);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    size_t len = 0;
    const char *all = gr_bag_blob(bag, "subhosts", &len);

    for (size_t at = 0; at + 1 < len; at += strlen(all + at) + 1) /* len 0: nothing there */
        add_subhost(gr_state(self), all + at + 1, all[at] == '-');
}

static const struct gr_hook hooks[] = {
    GR_ON(disco_info, GR_PRIO_LAST, host_info),
    GR_ON(disco_local_features, GR_PRIO_LAST, host_features),
    GR_ON(disco_local_identity, GR_PRIO_LAST, host_identity),
    GR_ON(disco_local_items, GR_PRIO_LAST, host_items),
    GR_ON(disco_sm_features, GR_PRIO_LAST, account_features),
    GR_ON(disco_sm_identity, GR_PRIO_LAST, account_identity),
    GR_ON(disco_sm_items, GR_PRIO_LAST, account_items),
    GR_ON(register_subhost, GR_PRIO_LAST, on_subhost),
    GR_ON(unregister_subhost, GR_PRIO_LAST, on_subhost_gone),
    GR_HOOK_END
};

GR_MODULE(disco,
    .summary = "service discovery (XEP-0030) and contact addresses (XEP-0157)",
    .conf_size = sizeof(struct disco_conf), .state_size = sizeof(struct disco),
    .options = options, .hooks = hooks, .iqs = iqs, .check = check, .stop = stop, .save = save,
    .restore = restore);
