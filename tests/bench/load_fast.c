/* tests/bench/load_fast.c: logging in with one round trip: XEP-0388 and XEP-0386, the first time with the
 * password and a request for a token, then with the token (XEP-0484). Header, login and what follows are sent
 * at once, bound to the TLS connection where there is one (RFC 9266). */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { TOKEN_SIZE = 64, BINDING_SIZE = 32 };

static char (*tokens)[TOKEN_SIZE]; /* by account, from opts.first on */

static char *token_of(const struct conn *c)
{
    if (tokens == NULL)
        tokens = calloc((size_t)opts.sessions, TOKEN_SIZE);
    return tokens[c->index - opts.first];
}

bool fast_wanted(void)
{
    return strcmp(opts.scenario, "login_fast") == 0;
}

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
    const char *token = token_of(c);
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

void fast_authenticate(struct conn *c)
{
    char user[64], xml[1536], coded[512], more[256] = "<fast xmlns='urn:xmpp:fast:0'/>";
    unsigned char data[256];
    bool has_token = *token_of(c) != '\0';
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
    snprintf(xml, sizeof(xml),
             "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='%s'><initial-response>%s"
             "</initial-response><user-agent id='%08x-0000-4000-8000-000000000000'/>"
             "<bind xmlns='urn:xmpp:bind:0'><tag>%s</tag></bind>%s</authenticate>",
             has_token ? mechanism(c) : "PLAIN", coded, (unsigned)c->index, opts.resource, more);
    conn_puts(c, xml);
    c->state = C_FAST;
    c->after = C_FAST;
}

bool fast_stanza(struct conn *c, const char *p, size_t len)
{
    const char *token = find(p, len, "<token");

    if (len > 8 && memcmp(p, "<success", 8) == 0 && find(p, len, "<bound") != NULL) {
        if (token != NULL)
            scan_attr(token, len - (size_t)(token - p), "token", token_of(c), TOKEN_SIZE);
        c->after = C_BIND; /* the features that come now are the last */
        return false;
    }
    return c->after == C_BIND && len > 16 && memcmp(p, "<stream:features", 16) == 0;
}
