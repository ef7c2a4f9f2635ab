/* stream/sasl2.c: the elements of XEP-0388, on the loop that accepted the connection. The exchange
 * itself is the one of RFC 6120 (c2s_sasl.c); only its form is another. */
#include "stream/sasl2.h"

#include "xml/write.h"

#include <string.h>

#define NAME_MAX_BYTES 128 /* of what a client calls itself and its device */
#define UUID_SIZE 37

bool sasl2_offered(const struct c2s *c)
{
    const struct gr_host *h = c->session->host;

    if (h == NULL || h->conf->sasl2 == CONF_NEVER)
        return false;
    return conn_is_tls(c->conn) || /* XEP-0388, 3: only inside TLS */
           (h->conf->sasl2 == CONF_ALWAYS && c->login->tls != CONF_TLS_REQUIRED);
}

/* --- features --- */

void sasl2_features(struct c2s *c, struct gr_stanza *f)
{
    const char *names[SASL_MECHS_MAX];
    size_t n = sasl_mechanisms(&c->login->props, names);
    struct gr_inline_ev e = { .ev.host = c->session->host, .session = c->session, .answer = f };
    struct gr_el *auth;

    if (n == 0)
        return;
    auth = gr_el_add(f, NULL, NS_SASL2, "authentication");
    for (size_t i = 0; i < n; i++)
        gr_el_add_text(f, auth, NULL, "mechanism", names[i]);
    e.at = gr_el_add(f, auth, NULL, "inline");
    bind2_features(c, f, e.at);
    fast_features(&c->login->props, f, e.at);
    if (!hook_empty(e.ev.host, GR_HOOK_sasl2_stream_features))
        hook_run_now(GR_HOOK_sasl2_stream_features, &e.ev);
    upgrade_features(c, f, auth);
}

/* A hash of the text (XEP-0509, 2.3.1). Most streams of a loop are offered the same as the one before,
 * whose is kept. */
static void make_version(const char *text, size_t len, char out[CONFIG_SIZE])
{
    static struct known {
        struct buf text;
        char value[CONFIG_SIZE];
    } known[LOOPS_MAX];
    struct known *k;
    uint8_t digest[CREDS_KEY_MAX];

    k = &known[loop_index(loop_self())];
    if (buf_len(&k->text) != len || memcmp(buf_data(&k->text), text, len) != 0) {
        scram_digest(SCRAM_SHA256, text, len, digest);
        gr_base64_encode(k->value, digest, 16);
        buf_consume(&k->text, buf_len(&k->text));
        buf_append(&k->text, text, len);
    }
    memcpy(out, k->value, CONFIG_SIZE);
}

void sasl2_write_features(struct c2s *c, const struct gr_stanza *f)
{
    static const char end[] = "</stream:features>";
    struct buf text = { 0 }, *out = conn_out(c->conn);
    size_t len;

    stanza_write(&text, f);
    gr_assert(buf_len(&text) > sizeof(end));
    len = buf_len(&text) - (sizeof(end) - 1);
    gr_assert(memcmp(buf_data(&text) + len, end, sizeof(end) - 1) == 0);
    make_version(buf_data(&text), len, c->login->config);
    buf_append(out, buf_data(&text), len);
    buf_printf(out, "<config-version xmlns='" NS_IAP "' scheme='opaque' value='%s'/>%s",
               c->login->config, end);
    conn_wrote(c->conn);
    buf_fini(&text);
}

/* --- answers --- */

void sasl2_write_failure(struct c2s *c, const char *condition, const char *more)
{
    struct buf *out = conn_out(c->conn);

    buf_printf(out, "<failure xmlns='" NS_SASL2 "'><%s xmlns='" NS_SASL "'/>%s</failure>", condition,
               more);
    conn_wrote(c->conn);
}

static void put_data(struct c2s *c, struct buf *out)
{
    size_t len;
    const char *data = sasl_out(c->login->sasl, &len);

    if (data != NULL && len > 0)
        sasl_encode_text(out, data, len);
}

static void challenge(struct c2s *c)
{
    struct buf *out = conn_out(c->conn);

    buf_puts(out, "<challenge xmlns='" NS_SASL2 "'>");
    put_data(c, out);
    buf_puts(out, "</challenge>");
    conn_wrote(c->conn);
}

static void failure(struct c2s *c)
{
    sasl2_write_failure(c, sasl_condition_name(sasl_condition(c->login->sasl)), "");
    sasl2_free(&c->login->sasl2);
}

/* Said at home, with the results of what came with the request. Data that went with a <continue/> is
 * not repeated: it belongs to the exchange, not to the task. */
static void success(struct c2s *c)
{
    struct sasl2 *s = c->login->sasl2;
    struct buf text = { 0 };
    size_t len;

    s->success = gr_nonza_new(NS_SASL2, "success");
    if (s->upgrade == NULL && sasl_out(c->login->sasl, &len) != NULL) {
        put_data(c, &text);
        gr_el_add_text(s->success, NULL, NULL, "additional-data", buf_str(&text));
        buf_fini(&text);
    }
    s->identifier = gr_el_add(s->success, NULL, NULL, "authorization-identifier");
}

static const struct c2s_profile profile = { challenge, success, failure };

/* --- requests --- */

void sasl2_free(struct sasl2 **take)
{
    struct sasl2 *s = *take;

    *take = NULL;
    if (s == NULL)
        return;
    sasl2_drop_held(s, NULL);
    if (s->busy) { /* the handlers' answer frees it */
        s->stream = NULL;
        return;
    }
    upgrade_free(&s->upgrade);
    acc_free(&s->e.ev.acc);
    gr_stanza_unref(&s->request);
    gr_stanza_unref(&s->success);
    if (s->session != NULL)
        session_unpin(s->session);
    gr_free(s);
}

const struct gr_el *sasl2_asked(const struct sasl2 *s, const char *ns, const char *name)
{
    return gr_stanza_child(s->request, ns, name);
}

/* 8-4-4-4-12 hexadecimal digits, to lower case. XEP-0388, 2.3 wants version 4; others do no harm. */
static bool read_uuid(const char *text, char out[UUID_SIZE])
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (text == NULL || strlen(text) != UUID_SIZE - 1)
        return false;
    for (size_t i = 0; i < UUID_SIZE; i++) {
        char c = text[i];

        if (c >= 'A' && c <= 'F')
            c = (char)(c - 'A' + 'a');
        if (shape[i] == 'x' ? strchr("0123456789abcdef", c) == NULL || c == '\0' : c != shape[i])
            return false;
        out[i] = c;
    }
    return true;
}

static void keep_name(char **into, const struct gr_el *agent, const char *name)
{
    const struct gr_el *el = gr_el_child(agent, NS_SASL2, name);
    size_t len;
    const char *text = el != NULL ? gr_el_text(el, &len) : NULL;

    gr_free(*into);
    *into = text != NULL && len > 0 && len <= NAME_MAX_BYTES ? gr_strdup(text) : NULL;
}

static void keep_agent(struct gr_session *session, const struct gr_el *agent)
{
    char id[UUID_SIZE];

    gr_free(session->client_id);
    session->client_id = NULL;
    if (agent == NULL)
        return;
    if (read_uuid(gr_el_attr(agent, "id"), id))
        session->client_id = gr_strdup(id);
    keep_name(&session->client_software, agent, "software");
    keep_name(&session->client_device, agent, "device");
}

static bool config_matches(const struct c2s *c)
{
    const struct gr_el *version = sasl2_asked(c->login->sasl2, NS_IAP, "config-version");
    const char *value = version != NULL ? gr_el_attr(version, "value") : NULL;

    return version == NULL || (value != NULL && strcmp(value, c->login->config) == 0);
}

static bool is_let_start(struct c2s *c)
{
    struct gr_inline_ev e = { .ev.host = c->session->host, .session = c->session,
                              .request = gr_stanza_root(c->login->sasl2->request) };

    return hook_empty(e.ev.host, GR_HOOK_sasl2_start) ||
           hook_run_now(GR_HOOK_sasl2_start, &e.ev) != GR_STOP;
}

/* May be a password. */
static void wipe_text(const struct gr_el *el)
{
    size_t len;
    const char *text = gr_el_text(el, &len);

    gr_wipe((char *)(uintptr_t)text, len);
}

static void begin(struct c2s *c, const struct gr_el *first)
{
    struct c2s_login *l = c->login;
    const char *mech = gr_el_attr(gr_stanza_root(l->sasl2->request), "mechanism"), *text = NULL;
    size_t len = 0;

    if (first != NULL)
        text = gr_el_text(first, &len);
    c2s_sasl_step(c, sasl_start_element(l->sasl, mech != NULL ? mech : "", text, len,
                                        sasl2_asked(l->sasl2, NS_FAST, "fast") != NULL));
}

/* Not the failed login of anybody: c2s_sasl.c does not hear of it. */
static void turn_away(struct c2s *c, const char *more)
{
    sasl2_write_failure(c, "aborted", more);
    sasl2_free(&c->login->sasl2);
    c->state = C2S_FEATURES;
}

static void authenticate(struct c2s *c, const struct gr_stanza *st)
{
    struct c2s_login *l = c->login;
    const struct gr_el *first = gr_stanza_child(st, NS_SASL2, "initial-response");

    if (!c2s_sasl_begin(c, &profile))
        return;
    l->sasl2 = gr_alloc(sizeof(*l->sasl2));
    l->sasl2->stream = c;
    l->sasl2->request = gr_stanza_ref((struct gr_stanza *)(uintptr_t)st);
    list_init(&l->sasl2->held);
    keep_agent(c->session, sasl2_asked(l->sasl2, NS_SASL2, "user-agent"));
    if (!config_matches(c))
        turn_away(c, "<config-version-mismatch xmlns='" NS_IAP "'/>"
                     "<text>Configuration version mismatch</text>");
    else if (!is_let_start(c))
        turn_away(c, "");
    else
        begin(c, first);
    if (c->waiting) /* a client that did not wait for the features gets them with the outcome */
        conn_output_waits(c->conn);
    if (first != NULL) /* the caller's as well: a failure has dropped the request */
        wipe_text(first);
}

bool sasl2_claims(const struct c2s *c, const struct gr_el *root)
{
    return c->login->sasl2 != NULL || (gr_el_is(root, NS_SASL2, NULL) && sasl2_offered(c));
}

void sasl2_element(struct c2s *c, const struct gr_stanza *st)
{
    const struct gr_el *root = gr_stanza_root(st);
    struct c2s_login *l = c->login;
    const char *name = gr_el_is(root, NS_SASL2, NULL) ? gr_el_name(root) : "";
    bool has_tasks = l->sasl2 != NULL && l->sasl2->upgrade != NULL;
    size_t len;
    const char *text = gr_el_text(root, &len);

    if (l->sasl2 == NULL && strcmp(name, "authenticate") == 0)
        authenticate(c, st);
    else if (l->sasl2 != NULL && strcmp(name, "abort") == 0)
        c2s_sasl_step(c, sasl_abort(l->sasl));
    else if (has_tasks && (strcmp(name, "next") == 0 || strcmp(name, "task-data") == 0))
        upgrade_element(c, st);
    else if (l->sasl2 != NULL && !has_tasks && strcmp(name, "response") == 0)
        c2s_sasl_step(c, sasl_respond_element(l->sasl, text, len));
    else /* XEP-0388, 2.4 and 4.8 */
        c2s_error(c, "policy-violation", "not while logging in");
    wipe_text(root); /* of <response/> */
}
