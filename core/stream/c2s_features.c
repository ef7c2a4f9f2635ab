/* stream/c2s_features.c: <stream:features/> by phase (RFC 6120, 4.3.2): STARTTLS alone where it is
 * required, then what may be negotiated before and after authentication; modules add theirs. */
#include "stream/sasl2.h"

#include <stdio.h>

static void run_hook(struct c2s *c, enum gr_hook_id id, struct gr_stanza *features)
{
    struct gr_features_ev e = { .ev.host = c->session->host, .session = c->session,
                                .features = features };

    if (!hook_empty(c->session->host, id))
        hook_run_now(id, &e.ev);
}

/* XEP-0478: what a stanza may have, and when we begin to ask whether the client is still there. */
static void add_limits(struct gr_stanza *f, int64_t bytes)
{
    struct gr_el *limits = gr_el_add(f, NULL, "urn:xmpp:stream-limits:0", "limits");
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)bytes);
    gr_el_add_text(f, limits, NULL, "max-bytes", text);
    snprintf(text, sizeof(text), "%lld", (long long)(c2s_limits()->idle_timeout / 1000));
    gr_el_add_text(f, limits, NULL, "idle-seconds", text);
}

static void before_auth(struct c2s *c, struct gr_stanza *f)
{
    const char *names[SASL_MECHS_MAX];

    if (!conn_is_tls(c->conn) && c2s_tls_available(c)) {
        struct gr_el *tls = gr_el_add(f, NULL, NS_TLS, "starttls");
        if (c->login->tls == CONF_TLS_REQUIRED) {
            gr_el_add(f, tls, NS_TLS, "required");
            return;
        }
    }
    c2s_sasl_props(c);
    size_t n = sasl_mechanisms(&c->login->props, names);
    if (n > 0) {
        struct gr_el *mechs = gr_el_add(f, NULL, NS_SASL, "mechanisms");
        for (size_t i = 0; i < n; i++)
            gr_el_add_text(f, mechs, NS_SASL, "mechanism", names[i]);
    }
    if (sasl_offers_binding(&c->login->props)) { /* XEP-0440 */
        struct gr_el *cb = gr_el_add(f, NULL, "urn:xmpp:sasl-cb:0", "sasl-channel-binding");
        for (size_t i = 0; i < c->login->props.n_offered; i++)
            gr_el_set(f, gr_el_add(f, cb, NULL, "channel-binding"), "type",
                      c->login->props.bindings[i].type);
    }
    add_limits(f, c2s_limits()->stanza_before_login);
    if (sasl2_offered(c)) {
        sasl2_features(c, f);
        run_hook(c, GR_HOOK_c2s_stream_features, f);
        sasl2_config_version(c, f);
        return;
    }
    run_hook(c, GR_HOOK_c2s_stream_features, f);
}

static void after_auth(struct c2s *c, struct gr_stanza *f)
{
    if (c->state == C2S_BIND) { /* else the login has brought a resource with it */
        gr_el_add(f, NULL, NS_BIND, "bind");
        struct gr_el *session = gr_el_add(f, NULL, NS_SESSION, "session");
        gr_el_add(f, session, NS_SESSION, "optional"); /* RFC 3921; clients may skip it */
    }
    add_limits(f, c2s_limits()->stanza_c2s);
    run_hook(c, GR_HOOK_roster_get_versioning_feature, f);
    run_hook(c, GR_HOOK_c2s_stream_features, f);
}

void c2s_features(struct c2s *c)
{
    struct gr_stanza *f = gr_nonza_new(GR_NS_STREAM, "features");

    if (c->state == C2S_FEATURES)
        before_auth(c, f);
    else
        after_auth(c, f);
    c2s_write_el(c, f);
    gr_stanza_unref(&f);
}
