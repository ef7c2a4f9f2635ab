/* stream/c2s_sasl.c: the SASL exchange on a client stream (RFC 6120, 6). The state machine is
 * sasl.c; here it meets XML, the auth provider and the connection's channel bindings. */
#include "stream/auth.h"
#include "stream/c2s.h"
#include "stream/fast.h"
#include "stream/oauth.h"
#include "stream/sasl2.h"
#include "stream/token.h"

#include <stdio.h>
#include <string.h>

/* Attempts that name no user guess no password: COMPAT slixmpp tries each -PLUS mechanism with a
 * binding type that was not offered before it takes another, so these have a bound of their own. */
#define ATTEMPTS_MAX 12

static uint8_t secret[32];

void c2s_set_secret(const void *bytes, size_t len)
{
    gr_assert(len == sizeof(secret));
    memcpy(secret, bytes, len);
}

void c2s_sasl_fini(struct c2s_login *l)
{
    sasl_free(&l->sasl);
    gr_wipe(l->exporter, sizeof(l->exporter));
    gr_wipe(l->stored_key, sizeof(l->stored_key));
    for (size_t i = 0; i < l->n_disabled; i++)
        gr_free(l->disabled_names[i]);
    l->n_disabled = 0;
}

/* A copy: the configuration may be replaced before the login is over. */
static void keep_disabled(struct c2s_login *l, const char *const *names)
{
    while (names != NULL && *names != NULL && l->n_disabled < GR_COUNT(l->disabled_names))
        l->disabled_names[l->n_disabled++] = gr_strdup(*names++);
}

static void add_binding(struct c2s_login *l, const char *type, const void *data, int len)
{
    if (len > 0)
        l->bindings[l->props.n_bindings++] = (struct scram_binding){ type, data, (size_t)len };
}

static int name_of(const char *host, const char *login, char *out)
{
    struct gr_host *h = host_find(host);

    return h != NULL ? provider_login_name(h, login, out) : GR_ENOENT;
}

void c2s_sasl_props(struct c2s *c)
{
    struct c2s_login *l = c->login;
    const struct conf_host *conf = c->session->host->conf;

    c2s_sasl_fini(l);
    keep_disabled(l, conf->sasl_disable);
    l->props = (struct sasl_props){
        .host = gr_host_name(c->session->host),
        .secure = conn_is_tls(c->conn),
        .encryption_required = l->tls == CONF_TLS_REQUIRED,
        .allow_plain_unencrypted = conf->plain == CONF_ALWAYS,
        .can_check = conf->plain != CONF_NEVER,
        .http_identity = c->session->http_identity != NULL,
        .name_of = name_of,
        .hashes = provider_auth_serves_keys(c->session->host) ? SCRAM_ALL_HASHES : 0,
        .can_check_oauth = oauth_available(c->session->host),
        .can_check_tokens = fast_available(c->session->host),
        .protect_lists = true,
        .bindings = l->bindings,
        .disabled = (const char *const *)l->disabled_names, .n_disabled = l->n_disabled,
        .secret = secret, .secret_len = sizeof(secret),
        .iterations = auth_iterations(conf, l->iterations),
    };
    if (conn_is_tls(c->conn)) {
        add_binding(l, "tls-exporter", l->exporter, conn_cb_exporter(c->conn, l->exporter));
        add_binding(l, "tls-server-end-point", l->endpoint,
                    conn_cb_endpoint(c->conn, l->endpoint));
        l->props.n_offered = l->props.n_bindings;
        /* Where there is an exporter, TLS 1.2 has the extended master secret (RFC 7627). */
        l->props.unique_is_safe = l->props.n_bindings > 0 &&
                                  strcmp(l->bindings[0].type, "tls-exporter") == 0 &&
                                  strcmp(conn_tls_version(c->conn), "TLSv1.3") != 0;
        /* COMPAT slixmpp: it binds to the client's Finished message under this name whatever the TLS
         * version, and looks at no list. RFC 5929 defines it up to TLS 1.2; in 1.3 that message covers
         * the whole handshake as well, with new keys also where a session is resumed, so accepting it
         * is safe; it is never advertised. */
        add_binding(l, "tls-unique", l->unique, conn_cb_unique(c->conn, l->unique));
    }
    l->sasl = sasl_new(&l->props);
}

/* --- the provider's answers; the stream may be gone by then --- */

struct lookup {
    uint64_t session;
    unsigned ticket;
};

static struct c2s *waiting_stream(const struct lookup *k)
{
    struct gr_session *s = session_by_id(k->session);
    struct c2s *c = s != NULL && !s->ending ? s->out_ctx : NULL;

    if (c == NULL || c->login == NULL || c->login->sasl == NULL)
        return NULL;
    c->waiting = false;
    return c;
}

/* Nobody could tell: said so, for that is not the user's mistake (S37). */
static enum sasl_step unanswered(struct c2s *c, const struct lookup *k, const struct gr_answer *a)
{
    gr_warn("auth.unanswered", "the auth provider of %s failed: %s%s%s", c->login->props.host,
            gr_cond_name(a->cond), a->text != NULL ? ": " : "", a->text != NULL ? a->text : "");
    return sasl_refuse(c->login->sasl, k->ticket, SASL_TEMPORARY_AUTH_FAILURE);
}

static const uint8_t *key_of(const struct c2s_login *l, const struct creds *creds)
{
    return creds->keys[sasl_mech(l->sasl)->hash].stored_key;
}

static void on_credentials(void *arg, const struct gr_answer *a)
{
    struct lookup k = *(struct lookup *)arg;
    struct c2s *c = waiting_stream(&k);
    struct creds creds;
    enum sasl_step step;

    gr_free(arg);
    if (c == NULL)
        return;
    c->login->account = a->result;
    if (a->result == GR_R_ERROR) {
        step = unanswered(c, &k, a);
    } else if (a->creds == NULL) {
        step = sasl_creds(c->login->sasl, k.ticket, NULL);
    } else if (creds_decode(a->creds, a->creds_len, &creds) != 0) {
        gr_error("auth.bad_record", "the stored credentials of an account are damaged");
        step = sasl_refuse(c->login->sasl, k.ticket, SASL_TEMPORARY_AUTH_FAILURE);
    } else {
        memcpy(c->login->stored_key, key_of(c->login, &creds), CREDS_KEY_MAX);
        c->login->by_key = true;
        step = sasl_creds(c->login->sasl, k.ticket, &creds);
        creds_wipe(&creds);
    }
    c2s_sasl_step(c, step);
    c2s_continue(c);
}

static bool is_same_key(const struct c2s_login *l, const struct gr_answer *a)
{
    struct creds creds;
    bool same;

    if (a->creds == NULL || creds_decode(a->creds, a->creds_len, &creds) != 0)
        return false;
    same = gr_equal_secret(l->stored_key, key_of(l, &creds), CREDS_KEY_MAX);
    creds_wipe(&creds);
    return same;
}

static void on_key_again(void *arg, const struct gr_answer *a)
{
    struct lookup k = *(struct lookup *)arg;
    struct c2s *c = waiting_stream(&k);
    enum sasl_step step = SASL_SUCCESS;

    gr_free(arg);
    if (c == NULL)
        return;
    c->login->by_key = false;
    c->login->account = a->result;
    if (a->result == GR_R_ERROR)
        step = unanswered(c, &k, a);
    else if (!is_same_key(c->login, a))
        step = sasl_refuse(c->login->sasl, k.ticket, SASL_NOT_AUTHORIZED);
    c2s_sasl_step(c, step);
    c2s_continue(c);
}

static void on_checked(void *arg, const struct gr_answer *a)
{
    struct lookup k = *(struct lookup *)arg;
    struct c2s *c = waiting_stream(&k);
    enum sasl_step step;

    gr_free(arg);
    if (c == NULL)
        return;
    c->login->account = a->result;
    if (a->result == GR_R_ERROR)
        step = unanswered(c, &k, a);
    else
        step = sasl_checked(c->login->sasl, k.ticket, a->result == GR_R_OK);
    c2s_sasl_step(c, step);
    c2s_continue(c);
}

/* What stands in the place of the password (backends.md 2, "Which password kind goes where"). It is good
 * for a short while, nobody here knows how short: as if it ended now. */
static void ask_check(struct gr_session *s, struct c2s_login *l, struct lookup *k)
{
    const char *user = sasl_username(l->sasl), *password = sasl_password(l->sasl, NULL);
    const char *token = token_in_password(password);
    enum provider_proof kind = token != NULL       ? PROOF_TOKEN
                               : *password == '\0' ? PROOF_HTTP
                                                   : PROOF_PASSWORD;
    const char *proof = token != NULL ? token : kind == PROOF_HTTP ? s->http_identity : password;

    l->by_password = kind == PROOF_PASSWORD;
    l->until_s = l->by_password ? 0 : gr_wall_us() / 1000000;
    provider_auth_check(s->host, &s->providers, s, kind, user, proof, on_checked, k);
}

static void on_token(void *arg, const struct fast_answer *a)
{
    struct lookup k = *(struct lookup *)arg;
    struct c2s *c = waiting_stream(&k);
    enum sasl_step step;

    gr_free(arg);
    if (c == NULL)
        return;
    if (c->login->sasl2 != NULL)
        c->login->sasl2->e.renew = a->renew;
    c->login->until_s = a->until_s;
    if (a->refusal == SASL_NONE || a->refusal == SASL_NOT_AUTHORIZED)
        step = sasl_token_checked(c->login->sasl, k.ticket, a->refusal == SASL_NONE, a->proof,
                                  sizeof(a->proof));
    else
        step = sasl_refuse(c->login->sasl, k.ticket, a->refusal);
    c2s_sasl_step(c, step);
    c2s_continue(c);
}

static void on_oauth(void *arg, const struct oauth_answer *a)
{
    struct lookup k = *(struct lookup *)arg;
    struct c2s *c = waiting_stream(&k);
    enum sasl_step step;

    gr_free(arg);
    if (c == NULL)
        return;
    c->login->until_s = a->until_s;
    if (a->refusal == SASL_NONE || a->refusal == SASL_NOT_AUTHORIZED)
        step = sasl_token_checked(c->login->sasl, k.ticket, a->refusal == SASL_NONE, a->answer,
                                  a->len);
    else
        step = sasl_refuse(c->login->sasl, k.ticket, a->refusal);
    c2s_sasl_step(c, step);
    c2s_continue(c);
}

/* The address of who says to be somebody. */
static struct gr_jid *claimed(const struct c2s *c)
{
    char name[GR_JID_PART_MAX + 1];
    struct gr_jid *jid;

    if (provider_login_name(c->session->host, sasl_username(c->login->sasl), name) != 0 ||
        gr_jid_make(name, c->login->props.host, NULL, &jid) != 0)
        return NULL;
    return jid;
}

static struct lookup *lookup_new(struct c2s *c)
{
    struct lookup *k = gr_alloc(sizeof(*k));
    struct gr_jid *jid = claimed(c);

    c->login->changes = jid != NULL ? provider_auth_changes(jid) : 0;
    gr_jid_free(&jid);
    k->session = c->session->id;
    k->ticket = sasl_ticket(c->login->sasl);
    c->waiting = true;
    return k;
}

/* The client has had time: meanwhile the password may have been changed, or the account removed, and its
 * name may be somebody else's. */
static void ask_again(struct c2s *c)
{
    struct gr_session *s = c->session;

    provider_auth_credentials(s->host, &s->providers, s, sasl_username(c->login->sasl),
                              on_key_again, lookup_new(c));
}

static void ask_provider(struct c2s *c, enum sasl_step step)
{
    struct lookup *k = lookup_new(c);
    struct gr_session *s = c->session;
    const char *user = sasl_username(c->login->sasl);

    c->login->by_password = step == SASL_NEED_CREDS;
    if (step == SASL_NEED_CREDS)
        provider_auth_credentials(s->host, &s->providers, s, user, on_credentials, k);
    else if (step == SASL_NEED_TOKEN && sasl_mech(c->login->sasl) == &sasl_x_oauth)
        oauth_ask(c, on_oauth, k);
    else if (step == SASL_NEED_TOKEN)
        sasl2_ask_token(c, on_token, k);
    else
        ask_check(s, c->login, k);
}

/* --- outcomes --- */

static void say(struct c2s *c, const char *name)
{
    struct buf *out = conn_out(c->conn);
    size_t len;
    const char *data = sasl_out(c->login->sasl, &len);

    buf_printf(out, "<%s xmlns='" NS_SASL "'>", name);
    sasl_encode_text(out, data, len);
    buf_printf(out, "</%s>", name);
    conn_wrote(c->conn);
}

static void say_challenge(struct c2s *c)
{
    say(c, "challenge");
}

static void say_success(struct c2s *c)
{
    say(c, "success");
}

static void say_failure(struct c2s *c)
{
    char xml[160];

    snprintf(xml, sizeof(xml), "<failure xmlns='" NS_SASL "'><%s/></failure>",
             sasl_condition_name(sasl_condition(c->login->sasl)));
    c2s_write(c, xml);
}

static const struct c2s_profile rfc6120 = { say_challenge, say_success, say_failure };

/* The client hears less: it is not to learn which accounts there are. */
static const char *reason(const struct c2s_login *l)
{
    if (l->account == GR_R_NONE && sasl_condition(l->sasl) == SASL_NOT_AUTHORIZED)
        return "no such account";
    return sasl_reason(l->sasl);
}

static void fail(struct c2s *c)
{
    struct c2s_login *l = c->login;
    struct gr_session_ev e = { .ev.host = c->session->host, .session = c->session,
                               .text = sasl_username(l->sasl) };

    l->profile->failure(c);
    gr_info("c2s.login_failed", "ip=%s user=%s@%s mech=%s reason=%s", conn_peer(c->conn),
            sasl_username(l->sasl), l->props.host, sasl_mech_name(l->sasl), reason(l));
    hook_run_now(GR_HOOK_auth_failed, &e.ev);
    c->state = C2S_FEATURES;
    l->guesses += *sasl_username(l->sasl) != '\0';
    if (l->guesses >= mod_loop()->gen->limits.auth_retries ||
        sasl_failures(l->sasl) >= ATTEMPTS_MAX)
        c2s_error(c, "policy-violation", "too many failed logins"); /* RFC 6120, 6.4.5 */
}

void c2s_sasl_succeed(struct c2s *c)
{
    struct c2s_login *l = c->login;
    struct gr_jid *jid = claimed(c);

    if (jid == NULL) {
        c2s_error(c, "internal-server-error", NULL);
        return;
    }
    l->profile->success(c);
    gr_info("c2s.login", "ip=%s user=%s mech=%s tls=%s", conn_peer(c->conn), jid->bare,
            sasl_mech_name(l->sasl), conn_is_tls(c->conn) ? conn_tls_version(c->conn) : "none");
    c->session->jid = jid; /* until session_authenticated on the home loop */
    c->session->auth_mech = gr_strdup(sasl_mech_name(l->sasl));
    c->session->auth_until_s = l->until_s;
    c2s_sasl_fini(l);
    c2s_go_home(c);
}

/* XEP-0388, 2.3 and 4.4: who asks to be somebody is the one that the stream said it is of. */
static bool authzid_fits(const struct c2s *c)
{
    const struct c2s_login *l = c->login;
    const char *authzid = sasl_authzid(l->sasl);

    return l->sasl2 == NULL || l->from == NULL || *authzid == '\0' ||
           strcmp(authzid, l->from->bare) == 0;
}

void c2s_sasl_step(struct c2s *c, enum sasl_step step)
{
    if (step == SASL_SUCCESS && c->login->account == GR_R_FALSE)
        step = sasl_refuse(c->login->sasl, sasl_ticket(c->login->sasl), SASL_ACCOUNT_DISABLED);
    if (step == SASL_SUCCESS && !authzid_fits(c))
        step = sasl_refuse(c->login->sasl, sasl_ticket(c->login->sasl), SASL_INVALID_AUTHZID);
    switch (step) {
    case SASL_CHALLENGE:
        c->login->profile->challenge(c);
        break;
    case SASL_SUCCESS:
        if (c->login->by_key)
            ask_again(c);
        else if (c->login->sasl2 == NULL || !sasl2_has_tasks(c))
            c2s_sasl_succeed(c);
        break;
    case SASL_FAILURE:
        fail(c);
        break;
    case SASL_NEED_CREDS:
    case SASL_NEED_CHECK:
    case SASL_NEED_TOKEN:
        ask_provider(c, step);
        break;
    case SASL_STALE:
        break;
    }
}

bool c2s_sasl_begin(struct c2s *c, const struct c2s_profile *profile)
{
    struct c2s_login *l = c->login;

    if (++l->exchanges > ATTEMPTS_MAX) { /* also those that are left half-way */
        c2s_error(c, "policy-violation", "too many attempts to log in");
        return false;
    }
    l->account = GR_R_OK;
    l->by_key = false;
    l->until_s = 0;
    l->profile = profile;
    c->state = C2S_SASL;
    return true;
}

void c2s_sasl_element(struct c2s *c, const struct gr_stanza *st)
{
    const struct gr_el *root = gr_stanza_root(st);
    struct c2s_login *l = c->login;
    const char *name = gr_el_name(root);
    size_t len;
    const char *text = gr_el_text(root, &len);

    if (l->sasl == NULL) /* nothing was offered: TLS comes first */
        c2s_sasl_props(c);
    l->profile = &rfc6120;
    if (strcmp(name, "auth") == 0) {
        const char *mech = gr_el_attr(root, "mechanism");
        if (!c2s_sasl_begin(c, &rfc6120))
            return;
        c2s_sasl_step(c, sasl_start_text(l->sasl, mech != NULL ? mech : "", text, len));
    } else if (strcmp(name, "response") == 0) {
        c2s_sasl_step(c, sasl_respond_text(l->sasl, text, len));
    } else if (strcmp(name, "abort") == 0) {
        c2s_sasl_step(c, sasl_abort(l->sasl));
    } else {
        c2s_error(c, "unsupported-stanza-type", NULL);
    }
    gr_wipe((char *)(uintptr_t)text, len); /* may be a password */
}
