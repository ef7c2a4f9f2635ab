/* tests/bench/load_fast.c: logging in with one round trip: XEP-0388 and XEP-0386, the first time with the
 * password and a request for a token, then with the token (XEP-0484), and where the session of before is to
 * be resumed with that wish instead of a binding (XEP-0198, 9). Header, login and what follows are sent at
 * once, bound to the TLS connection where there is one (RFC 9266). */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { TOKEN_SIZE = 64, BINDING_SIZE = 32 };

struct account {
    char token[TOKEN_SIZE], session[TOKEN_SIZE]; /* empty: none; session: to be resumed */
    uint64_t got;                                /* stanzas in it */
    SSL_SESSION *tls;
};

static struct account *accounts; /* from opts.first on */
int fast_tls_resumed;

static struct account *account_of(const struct conn *c)
{
    if (accounts == NULL)
        accounts = calloc((size_t)opts.sessions, sizeof(*accounts));
    return &accounts[c->index - opts.first];
}

static bool is_resuming(void)
{
    return strcmp(opts.scenario, "login_resumed") == 0;
}

bool fast_wanted(void)
{
    return is_resuming() || strcmp(opts.scenario, "login_fast") == 0;
}

/* --- the TLS session --- */

static int keep_tls(SSL *ssl, SSL_SESSION *session)
{
    struct account *a = account_of(SSL_get_app_data(ssl));

    SSL_SESSION_free(a->tls);
    a->tls = session;
    return 1;
}

void fast_tls_offer(struct conn *c)
{
    struct account *a = account_of(c);

    if (!opts.tls_resume)
        return;
    SSL_CTX_set_session_cache_mode(tls_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls_ctx, keep_tls);
    SSL_set_app_data(c->ssl, (char *)c);
    if (a->tls != NULL)
        SSL_set_session(c->ssl, a->tls);
}

void fast_tls_stands(const struct conn *c)
{
    fast_tls_resumed += SSL_session_reused(c->ssl);
}

/* --- the login --- */

static const char *mechanism(const struct conn *c)
{
    return c->ssl != NULL ? "HT-SHA-256-EXPR" : "HT-SHA-256-NONE";
}

/* user NUL HMAC(token, "Initiator" || binding); its length. */
static int proof(const struct conn *c, const char *user, unsigned char *out)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    unsigned char text[9 + BINDING_SIZE] = "Initiator";
    size_t len = strlen(user) + 1, text_len = 9;
    const char *token = account_of(c)->token;
    unsigned n;

    if (c->ssl != NULL) {
        SSL_export_keying_material(c->ssl, text + 9, BINDING_SIZE, label, sizeof(label) - 1, NULL,
                                   0, 1);
        text_len += BINDING_SIZE;
    }
    memcpy(out, user, len);
    HMAC(EVP_sha256(), token, (int)strlen(token), text, text_len, out + len, &n);
    return (int)(len + n);
}

/* What is asked for besides: the session of before, or a new one. */
static void put_wish(const struct account *a, char *out, size_t size)
{
    if (*a->session != '\0')
        snprintf(out, size, "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%llu'/>", a->session,
                 (unsigned long long)a->got);
    else
        snprintf(out, size, "<bind xmlns='urn:xmpp:bind:0'><tag>%s</tag>%s</bind>", opts.resource,
                 is_resuming() ? "<enable xmlns='urn:xmpp:sm:3' resume='true'/>" : "");
}

void fast_authenticate(struct conn *c)
{
    char user[64], xml[1536], coded[512], more[256] = "<fast xmlns='urn:xmpp:fast:0'/>", wish[256];
    const struct account *a = account_of(c);
    bool has_token = *a->token != '\0';
    unsigned char data[256];
    int n;

    snprintf(user, sizeof(user), "%s%d", opts.prefix, c->index);
    if (has_token) {
        n = proof(c, user, data);
    } else {
        n = snprintf((char *)data, sizeof(data), "%c%s%c%s", 0, user, 0, opts.password);
        snprintf(more, sizeof(more), "<request-token xmlns='urn:xmpp:fast:0' mechanism='%s'/>",
                 mechanism(c));
    }
    EVP_EncodeBlock((unsigned char *)coded, data, n);
    put_wish(a, wish, sizeof(wish));
    snprintf(xml, sizeof(xml),
             "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='%s'><initial-response>%s"
             "</initial-response><user-agent id='%08x-0000-4000-8000-000000000000'/>"
             "%s%s</authenticate>",
             has_token ? mechanism(c) : "PLAIN", coded, (unsigned)c->index, wish, more);
    conn_puts(c, xml);
    c->state = C_FAST;
    c->after = C_FAST;
}

static void keep_attr(const char *p, size_t len, const char *element, const char *name, char *out)
{
    const char *at = find(p, len, element);

    if (at != NULL)
        scan_attr(at, len - (size_t)(at - p), name, out, TOKEN_SIZE);
}

enum fast_state fast_stanza(struct conn *c, const char *p, size_t len)
{
    struct account *a = account_of(c);
    bool asked = *a->session != '\0';

    if (len > 8 && memcmp(p, "<success", 8) == 0) {
        if (asked && find(p, len, "<resumed") != NULL) {
            c->got = a->got;
            return FAST_RESUMED;
        }
        if (asked || find(p, len, "<bound") == NULL) {
            login_failed(c, asked ? "not resumed" : "not bound", p, len);
            return FAST_WAITS;
        }
        keep_attr(p, len, "<token", "token", a->token);
        keep_attr(p, len, "<enabled", "id", a->session);
        c->after = C_BIND; /* the features that come now are the last */
        return FAST_WAITS;
    }
    return c->after == C_BIND && len > 16 && memcmp(p, "<stream:features", 16) == 0 ? FAST_BOUND
                                                                                    : FAST_WAITS;
}

void fast_cut(const struct conn *c)
{
    if (c->ssl != NULL) /* else OpenSSL takes its session for a broken one */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    account_of(c)->got = c->got;
}
