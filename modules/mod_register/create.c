/* mod_register/create.c: an account for somebody who has not logged in (XEP-0077, 3.1.1).
 *
 * The iq comes as user_send_xmlel and is answered straight to the stream. While the account is
 * being made the chain is held, so the stream reads nothing further; whatever was asked for lives
 * in a `struct making`, which the session's slot points to, because the connection may end
 * meanwhile. A stream makes one account and has a bounded number of attempts. */
#include <string.h>

#include "register.h"

#define ATTEMPTS_MAX 10 /* refused ones, per stream */

struct making;
struct visitor {            /* in the slot of a session that is not logged in */
    struct making *making;
    unsigned refused;
    bool done;
};

struct making {
    struct visitor *visitor;
    struct gr_session *session; /* NULL: it has ended */
    struct gr_hold *hold;
    struct gr_stanza *iq;
    char *node, *password, *ip;
    bool noted;
    unsigned char key[RATE_KEY_SIZE];
};

static void release(void *data)
{
    struct visitor *v = data;

    if (v->making != NULL)
        v->making->session = NULL;
}

const struct gr_slot create_slot = GR_SLOT(struct visitor, 1, release);

/* --- answering --- */

static void write_to(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take)
{
    gr_stanza_set_from(take, gr_mod_host_jid(self));
    gr_stanza_set_to(take, NULL);
    gr_session_write(self, s, take);
}

/* Without the request: it holds a password (XEP-0077, 3.3). */
static void write_error(struct gr_mod *self, struct gr_session *s, const struct gr_stanza *iq,
                        enum gr_cond cond, const char *text)
{
    struct gr_stanza *error = gr_error_reply(iq, cond, text);
    struct gr_el *query = gr_stanza_child(error, NS_REGISTER, "query");

    if (query != NULL)
        gr_el_remove(error, query);
    write_to(self, s, error);
}

static void refuse(struct gr_mod *self, struct gr_session *s, struct visitor *v,
                   const struct gr_stanza *iq, enum gr_cond cond, const char *text)
{
    write_error(self, s, iq, cond, text);
    if (++v->refused >= ATTEMPTS_MAX)
        gr_session_close(self, s, "policy-violation", "too many attempts to register", true);
}

static void write_fields(struct gr_mod *self, struct gr_session *s, const struct gr_stanza *iq)
{
    const struct register_conf *conf = gr_conf(self);
    struct gr_stanza *result = gr_iq_result(iq);
    struct gr_el *query = gr_el_add(result, NULL, NS_REGISTER, "query"), *oob;
    const char *text = conf->instructions;

    if (text == NULL)
        text = conf->redirect_url != NULL ? "Please register on this web page."
                                          : "Choose a name and a password.";
    gr_el_add_text(result, query, NULL, "instructions", text);
    if (conf->redirect_url != NULL) { /* XEP-0077, 5 */
        oob = gr_el_add(result, query, "jabber:x:oob", "x");
        gr_el_add_text(result, oob, NULL, "url", conf->redirect_url);
    } else {
        gr_el_add(result, query, NULL, "username");
        gr_el_add(result, query, NULL, "password");
    }
    write_to(self, s, result);
}

/* --- making it --- */

static void making_free(struct making *m)
{
    if (m->password != NULL)
        gr_wipe(m->password, strlen(m->password));
    gr_stanza_unref(&m->iq);
    gr_free(m->node);
    gr_free(m->password);
    gr_free(m->ip);
    gr_free(m);
}

/* Answers, if there is still somebody to answer, and lets the stream go on. */
static void finish(struct gr_mod *self, struct making *m, enum gr_cond cond, const char *text)
{
    struct gr_hold *hold = m->hold;

    if (m->noted && cond != GR_COND_NONE)
        rate_give_back(self, m->key);
    if (m->session != NULL) {
        m->visitor->making = NULL;
        if (cond == GR_COND_NONE) {
            m->visitor->done = true;
            write_to(self, m->session, gr_iq_result(m->iq));
        } else {
            refuse(self, m->session, m->visitor, m->iq, cond, text);
        }
    }
    making_free(m);
    gr_resume(hold, GR_STOP);
}

static void message(struct gr_mod *self, const struct gr_jid *to, const char *subject,
                    const char *body)
{
    struct gr_stanza *st = gr_message_new(GR_MSG_NORMAL, gr_mod_host_jid(self), to);

    if (subject != NULL)
        gr_el_add_text(st, NULL, NULL, "subject", subject);
    gr_el_add_text(st, NULL, NULL, "body", body);
    gr_send(self, st);
}

static void tell_watchers(struct gr_mod *self, const struct making *m, const char *account)
{
    const struct register_conf *conf = gr_conf(self);
    char *body = gr_asprintf("The account %s was registered from %s.", account, m->ip);
    struct gr_jid *watcher;

    for (const char *const *w = conf->watchers; w != NULL && *w != NULL; w++) {
        if (gr_jid_parse(*w, strlen(*w), &watcher) != 0)
            continue;
        message(self, watcher, NULL, body);
        gr_jid_free(&watcher);
    }
    gr_free(body);
}

static void created(struct gr_mod *self, const struct making *m)
{
    const struct register_conf *conf = gr_conf(self);
    struct gr_jid *jid;

    gr_info("register.created", "%s@%s from %s", m->node, gr_mod_host_jid(self)->domain, m->ip);
    if (gr_jid_make(m->node, gr_mod_host_jid(self)->domain, NULL, &jid) != 0)
        return;
    if (conf->welcome_message != NULL)
        message(self, jid, conf->welcome_subject, conf->welcome_message);
    tell_watchers(self, m, jid->bare);
    gr_jid_free(&jid);
}

static void on_created(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct making *m = *(struct making **)gr_ask_data(ask);

    switch (a->result) {
    case GR_R_OK:
        created(self, m);
        finish(self, m, GR_COND_NONE, NULL);
        break;
    case GR_R_FALSE:
        finish(self, m, GR_CONFLICT, NULL);
        break;
    case GR_R_ERROR:
        finish(self, m, a->cond != GR_COND_NONE ? a->cond : GR_INTERNAL_SERVER_ERROR, a->text);
        break;
    default:
        finish(self, m, GR_INTERNAL_SERVER_ERROR, NULL);
    }
}

static void make_account(struct gr_mod *self, struct making *m)
{
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct making *), on_created);

    *(struct making **)gr_ask_data(ask) = m;
    gr_auth_create(self, ask, m->node, m->password);
}

static void on_rate(struct gr_mod *self, void *ctx, bool allowed)
{
    struct making *m = ctx;

    if (!allowed) {
        gr_info("register.rate", "too many registrations; one from %s is refused", m->ip);
        finish(self, m, GR_RESOURCE_CONSTRAINT, "too many registrations, try again later");
        return;
    }
    m->noted = true;
    make_account(self, m);
}

/* --- what is asked for --- */

static const char *text_of(const struct gr_el *query, const char *name)
{
    const char *text = field(query, name);

    return text != NULL ? text : "";
}

/* What is wrong with the request; GR_COND_NONE: *node is the new account's name (gr_free). */
static enum gr_cond judge(struct gr_mod *self, const struct gr_session *s, const struct visitor *v,
                          const struct gr_el *query, char **node, const char **why)
{
    const struct register_conf *conf = gr_conf(self);
    const char *password = text_of(query, "password");
    struct gr_jid *jid;

    *why = NULL;
    if (gr_el_child(query, NS_REGISTER, "remove") != NULL)
        return GR_UNEXPECTED_REQUEST; /* XEP-0077, 3.2 */
    if (conf->require_tls && !gr_session_is_tls(s)) {
        *why = "only over an encrypted stream";
        return GR_NOT_AUTHORIZED;
    }
    if (conf->redirect_url != NULL)
        return GR_NOT_ALLOWED;
    if (v->done) { /* 3.1.1 */
        *why = "one account per stream";
        return GR_NOT_ACCEPTABLE;
    }
    if (text_of(query, "username")[0] == '\0' || password[0] == '\0')
        return GR_NOT_ACCEPTABLE; /* 3.1 */
    if (gr_jid_make(text_of(query, "username"), gr_mod_host_jid(self)->domain, NULL, &jid) != 0) {
        *why = "this cannot be a name";
        return GR_NOT_ACCEPTABLE;
    }
    *why = rule_name(conf, jid->node);
    if (*why == NULL)
        *why = rule_password(conf, jid->node, password);
    if (*why == NULL)
        *node = gr_strdup(jid->node);
    gr_jid_free(&jid);
    return *why == NULL ? GR_COND_NONE : GR_NOT_ACCEPTABLE;
}

static enum gr_verdict try_make(struct gr_mod *self, struct gr_stanza_ev *ev,
                                const struct gr_el *query)
{
    const struct register_conf *conf = gr_conf(self);
    struct visitor *v = gr_session_slot(self, ev->session, &create_slot);
    char *node;
    const char *why;
    enum gr_cond cond = judge(self, ev->session, v, query, &node, &why);
    struct making *m;

    if (cond != GR_COND_NONE) {
        refuse(self, ev->session, v, ev->stanza, cond, why);
        return GR_STOP;
    }
    m = gr_alloc(sizeof(*m));
    m->hold = gr_hold(self, &ev->ev);
    m->iq = gr_stanza_ref(ev->stanza);
    m->node = node;
    m->password = gr_strdup(text_of(query, "password"));
    m->ip = gr_strdup(gr_session_ip(ev->session));
    if (m->hold == NULL) {
        making_free(m);
        refuse(self, ev->session, v, ev->stanza, GR_RESOURCE_CONSTRAINT, NULL);
        return GR_STOP;
    }
    m->session = ev->session;
    m->visitor = v;
    v->making = m;
    if (conf->per_ip != 0 || conf->total != 0)
        rate_take(self, m->ip, m->key, on_rate, m);
    else
        make_account(self, m);
    return GR_PENDING;
}

static bool is_for_us(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    const struct register_conf *conf = gr_conf(self);
    const struct gr_jid *to = gr_stanza_to(ev->stanza);

    return conf->create && gr_stanza_kind(ev->stanza) == GR_IQ && ev->session != NULL &&
           gr_session_state(ev->session) == GR_S_CONNECTED &&
           (to == NULL || gr_jid_equal(to, gr_mod_host_jid(self)));
}

enum gr_verdict create_on_element(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_type type = gr_stanza_type(ev->stanza);
    const struct gr_el *query;

    if (!is_for_us(self, ev) || (type != GR_GET && type != GR_SET))
        return GR_OK;
    query = gr_stanza_child(ev->stanza, NS_REGISTER, "query");
    if (query == NULL)
        return GR_OK;
    if (gr_stanza_id(ev->stanza) == NULL) { /* RFC 6120, 8.2.3 */
        write_error(self, ev->session, ev->stanza, GR_BAD_REQUEST, "an iq needs an id");
        return GR_STOP;
    }
    if (type == GR_SET)
        return try_make(self, ev, query);
    write_fields(self, ev->session, ev->stanza);
    return GR_STOP;
}

enum gr_verdict create_on_features(struct gr_mod *self, struct gr_features_ev *ev)
{
    const struct register_conf *conf = gr_conf(self);

    if (conf->create && ev->session != NULL && gr_session_state(ev->session) == GR_S_CONNECTED &&
        (gr_session_is_tls(ev->session) || !conf->require_tls))
        gr_el_add(ev->features, NULL, NS_FEATURE, "register");
    return GR_OK;
}
