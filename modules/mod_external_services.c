/* mod_external_services: where clients find STUN, TURN and other services beside the server, and what
 * they log in there with (XEP-0215). Credentials from a shared secret are those of "A REST API for
 * Access to TURN Services": the time they end, and an HMAC-SHA-1 of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grapnel/module.h>

#define NS_EXTDISCO "urn:xmpp:extdisco:2"
#define ENTRY_MAX 512
#define TYPE_MAX 64
#define PUSH_MS 30000
#define STEP_MS 20          /* pushes go out in steps, so that nothing else waits for them */
#define STEP_MAX 200        /* sessions looked at in one */

struct ext_conf {
    const char *const *services;
    const char *secret, *username, *password;
    int64_t credentials_ttl;
};

static const struct gr_opt options[] = {
    GR_OPT_LIST(struct ext_conf, services, NULL,
                "each: TYPE HOST [PORT] [udp|tcp] [secret|login] [name=LABEL]", .max = 64),
    GR_OPT_STR(struct ext_conf, secret, NULL, "shared with the services marked `secret`",
               .secret = true),
    GR_OPT_DURATION(struct ext_conf, credentials_ttl, GR_DAY, GR_MINUTE, 30 * GR_DAY,
                    "how long credentials made with it are good"),
    GR_OPT_STR(struct ext_conf, username, NULL, "what the services marked `login` take"),
    GR_OPT_STR(struct ext_conf, password, NULL, "and its password", .secret = true),
    GR_OPT_END
};

/* --- an entry of the list --- */

enum login { LOGIN_NONE, LOGIN_SECRET, LOGIN_FIXED };
struct service {
    char text[ENTRY_MAX];       /* what the rest points into */
    const char *type, *host, *port, *transport, *name;
    enum login login;
};

static bool is_port(const char *s)
{
    long n = strspn(s, "0123456789") == strlen(s) ? strtol(s, NULL, 10) : 0;

    return n >= 1 && n <= 65535;
}

static bool take_word(struct service *s, char *word)
{
    if (is_port(word))
        s->port = word;
    else if (strcmp(word, "udp") == 0 || strcmp(word, "tcp") == 0)
        s->transport = word;
    else if (strcmp(word, "secret") == 0)
        s->login = LOGIN_SECRET;
    else if (strcmp(word, "login") == 0)
        s->login = LOGIN_FIXED;
    else if (strncmp(word, "name=", 5) == 0)
        s->name = word + 5;
    else
        return false;
    return true;
}

static bool parse(const char *entry, struct service *out)
{
    char *rest = out->text, *word;

    *out = (struct service){ 0 };
    if (strlen(entry) >= sizeof(out->text))
        return false;
    memcpy(out->text, entry, strlen(entry) + 1);
    while ((word = strtok_r(rest, " \t", &rest)) != NULL) {
        if (out->type == NULL)
            out->type = word;
        else if (out->host == NULL)
            out->host = word;
        else if (!take_word(out, word))
            return false;
    }
    return out->host != NULL && strlen(out->type) < TYPE_MAX;
}

static int check(const void *values, const char **why)
{
    const struct ext_conf *conf = values;
    struct service s;

    for (const char *const *e = conf->services; e != NULL && *e != NULL; e++) {
        *why = NULL;
        if (!parse(*e, &s))
            *why = "a service is: TYPE HOST [PORT] [udp|tcp] [secret|login] [name=LABEL], e.g. "
                   "turn turn.example.org 3478 udp secret";
        else if (s.login == LOGIN_SECRET && (conf->secret == NULL || *conf->secret == '\0'))
            *why = "a service is marked `secret`: the option `secret` is needed";
        else if (s.login == LOGIN_FIXED && (conf->username == NULL || conf->password == NULL ||
                                            *conf->username == '\0'))
            *why = "a service is marked `login`: the options `username` and `password` are needed";
        if (*why != NULL)
            return GR_EINVAL;
    }
    return 0;
}

/* --- as XML --- */

static void add_made(struct gr_stanza *st, struct gr_el *el, const struct ext_conf *conf,
                     const char *user)
{
    int64_t end_s = gr_wall_us() / 1000000 + conf->credentials_ttl / 1000;
    char *username = gr_asprintf("%lld:%s", (long long)end_s, user);
    char password[64], stamp[GR_STAMP_SIZE];
    uint8_t mac[GR_HASH_MAX];
    int n = gr_hmac("sha-1", conf->secret, strlen(conf->secret), username, strlen(username), mac);

    gr_base64_encode(password, mac, (size_t)n);
    gr_stamp(stamp, end_s * 1000000);
    gr_el_set(st, el, "username", username);
    gr_el_set(st, el, "password", password);
    gr_el_set(st, el, "expires", stamp);
    gr_free(username);
}

static void add_service(struct gr_mod *self, struct gr_stanza *st, struct gr_el *to,
                        const struct service *s, const char *user, const char *action)
{
    const struct ext_conf *conf = gr_conf(self);
    struct gr_el *el = gr_el_add(st, to, NULL, "service");

    gr_el_set(st, el, "action", action);
    gr_el_set(st, el, "type", s->type);
    gr_el_set(st, el, "host", s->host);
    gr_el_set(st, el, "port", s->port);
    gr_el_set(st, el, "transport", s->transport);
    gr_el_set(st, el, "name", s->name);
    if (s->login == LOGIN_NONE || user == NULL)
        return;
    gr_el_set(st, el, "restricted", "true");
    if (s->login == LOGIN_SECRET) {
        add_made(st, el, conf, user);
    } else {
        gr_el_set(st, el, "username", conf->username);
        gr_el_set(st, el, "password", conf->password);
    }
}

/* --- requests --- */

struct asked {              /* of a session: it has asked for services, of that type ("": of all) */
    bool yes;
    char type[TYPE_MAX];
};
static const struct gr_slot asked_slot = GR_SLOT(struct asked, 1, NULL);

static bool wants(const char *type, const struct service *s)
{
    return type == NULL || *type == '\0' || strcmp(type, s->type) == 0;
}

static void note_asked(struct gr_mod *self, struct gr_session *s, const char *type)
{
    struct asked *a = gr_session_slot(self, s, &asked_slot);

    if (type != NULL && strlen(type) >= sizeof(a->type))
        return;
    a->yes = true;
    memcpy(a->type, type != NULL ? type : "", type != NULL ? strlen(type) + 1 : 1);
}

static bool is_ours(struct gr_mod *self, const struct gr_iq_ev *ev)
{
    if (ev->from->node != NULL &&
        strcmp(ev->from->domain, gr_mod_host_jid(self)->domain) == 0)
        return true;
    gr_iq_reply_error(ev->req, GR_FORBIDDEN, "for accounts of this domain");
    return false;
}

static void on_services(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct ext_conf *conf = gr_conf(self);
    const char *type = gr_el_attr(ev->payload, "type");
    struct gr_stanza *st;
    struct gr_el *list;
    struct service s;

    if (!is_ours(self, ev))
        return;
    st = gr_iq_result(ev->stanza);
    list = gr_el_add(st, NULL, NS_EXTDISCO, "services");
    gr_el_set(st, list, "type", type);
    for (const char *const *e = conf->services; e != NULL && *e != NULL; e++)
        if (parse(*e, &s) && wants(type, &s))
            add_service(self, st, list, &s, ev->from->node, NULL);
    if (ev->session != NULL)
        note_asked(self, ev->session, type);
    gr_iq_reply(ev->req, st);
}

static bool is_meant(const struct gr_el *asked, const struct service *s)
{
    const char *host = gr_el_attr(asked, "host"), *type = gr_el_attr(asked, "type");
    const char *port = gr_el_attr(asked, "port");

    return host != NULL && strcmp(host, s->host) == 0 && type != NULL &&
           strcmp(type, s->type) == 0 &&
           (port == NULL || (s->port != NULL && strcmp(port, s->port) == 0));
}

/* XEP-0215, 3.3: the services that match any of those named. */
static void on_credentials(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct ext_conf *conf = gr_conf(self);
    const struct gr_el *asked;
    struct gr_stanza *st;
    struct gr_el *list;
    struct service s;

    if (!is_ours(self, ev))
        return;
    st = gr_iq_result(ev->stanza);
    list = gr_el_add(st, NULL, NS_EXTDISCO, "credentials");
    for (const char *const *e = conf->services; e != NULL && *e != NULL; e++) {
        if (!parse(*e, &s) || s.login == LOGIN_NONE)
            continue;
        asked = gr_el_child(ev->payload, NS_EXTDISCO, "service");
        while (asked != NULL && !is_meant(asked, &s))
            asked = gr_el_next(asked, NS_EXTDISCO, "service");
        if (asked != NULL)
            add_service(self, st, list, &s, ev->from->node, NULL);
    }
    if (gr_el_child(list, NULL, NULL) != NULL) {
        gr_iq_reply(ev->req, st);
        return;
    }
    gr_stanza_unref(&st);
    if (gr_el_child(ev->payload, NS_EXTDISCO, "service") == NULL)
        gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "for which service?");
    else
        gr_iq_reply_error(ev->req, GR_ITEM_NOT_FOUND, NULL);
}

/* --- pushes, when a reload has changed the list (XEP-0215, 3.2) --- */

struct ext {
    char *before;           /* the entries there were, each ended by a newline; NULL: none */
    struct gr_timer push;
    uint64_t at;            /* how far among the sessions */
};

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_place(const struct service *a, const struct service *b)
{
    return strcmp(a->type, b->type) == 0 && strcmp(a->host, b->host) == 0 &&
           same(a->port, b->port) && same(a->transport, b->transport);
}

static bool same_service(const struct service *a, const struct service *b)
{
    return same_place(a, b) && same(a->name, b->name) && a->login == b->login;
}

/* The next entry of `before`; false: none. */
static bool next_before(const char **at, struct service *out)
{
    char *entry;
    bool good;

    if (*at == NULL || **at == '\0')
        return false;
    entry = gr_strndup(*at, strcspn(*at, "\n"));
    *at += strlen(entry) + 1;
    good = parse(entry, out);
    gr_free(entry);
    return good;
}

static const char *change_of(const char *before, const struct service *s)
{
    struct service old;

    while (next_before(&before, &old))
        if (same_place(&old, s))
            return same_service(&old, s) ? NULL : "modify";
    return "add";
}

static bool is_gone(const struct ext_conf *conf, const struct service *old)
{
    struct service s;

    for (const char *const *e = conf->services; e != NULL && *e != NULL; e++)
        if (parse(*e, &s) && same_place(&s, old))
            return false;
    return true;
}

static void add_changes(struct gr_mod *self, struct gr_stanza *st, struct gr_el *list,
                        const char *type, const char *user)
{
    const struct ext_conf *conf = gr_conf(self);
    const struct ext *x = gr_state(self);
    const char *at = x->before, *action;
    struct service s;

    for (const char *const *e = conf->services; e != NULL && *e != NULL; e++)
        if (parse(*e, &s) && wants(type, &s) && (action = change_of(x->before, &s)) != NULL)
            add_service(self, st, list, &s, user, action);
    while (next_before(&at, &s))
        if (wants(type, &s) && is_gone(conf, &s))
            add_service(self, st, list, &s, NULL, "delete");
}

static void on_pushed(struct gr_mod *self, void *data, const struct gr_stanza *reply)
{
    (void)self, (void)data, (void)reply; /* nothing depends on it */
}

static bool push(struct gr_mod *self, struct gr_session *s, void *ctx)
{
    const struct asked *a = gr_session_slot_peek(self, s, &asked_slot);
    const struct gr_jid *jid = gr_session_jid(s);
    struct gr_stanza *st;
    struct gr_el *list;

    (void)ctx;
    if (a == NULL || !a->yes || !gr_session_available(s))
        return true;
    st = gr_iq_new(GR_SET, gr_mod_host_jid(self), jid, NULL);
    list = gr_el_add(st, NULL, NS_EXTDISCO, "services");
    gr_el_set(st, list, "type", *a->type != '\0' ? a->type : NULL);
    add_changes(self, st, list, a->type, jid->node);
    if (gr_el_child(list, NULL, NULL) != NULL)
        gr_iq_ask(self, st, PUSH_MS, on_pushed, NULL);
    else
        gr_stanza_unref(&st);
    return true;
}

static void on_changed(struct gr_mod *self, struct gr_timer *t)
{
    struct ext *x = gr_state(self);

    if (gr_some_sessions(self, &x->at, STEP_MAX, push, NULL)) {
        gr_timer_start(self, t, STEP_MS, on_changed);
        return;
    }
    gr_free(x->before);
    x->before = NULL;
}

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    const struct ext_conf *conf = gr_conf(self);
    struct gr_writer w = gr_writer_new(256);
    size_t len;
    char *text;

    for (const char *const *e = conf->services; e != NULL && *e != NULL; e++) {
        gr_write_bytes(&w, *e, strlen(*e));
        gr_write_bytes(&w, "\n", 1);
    }
    gr_write_bytes(&w, "", 1);
    text = gr_writer_take(&w, &len);
    gr_bag_put_str(bag, "services", text);
    gr_free(text);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    const char *before = gr_bag_str(bag, "services");
    struct ext *x = gr_state(self);

    if (before == NULL)
        return;
    x->before = gr_strdup(before);
    gr_timer_start(self, &x->push, 1, on_changed);
}

static void stop(struct gr_mod *self)
{
    gr_free(((struct ext *)gr_state(self))->before);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_EXTDISCO, "services", on_services),
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_EXTDISCO, "credentials", on_credentials),
    GR_IQ_END
};

GR_MODULE(external_services, .summary = "where STUN, TURN and the like are (XEP-0215)",
    .conf_size = sizeof(struct ext_conf), .state_size = sizeof(struct ext), .options = options,
    .iqs = iqs, .slots = (const struct gr_slot *const[]){ &asked_slot, NULL }, .check = check,
    .save = save, .restore = restore, .stop = stop);
