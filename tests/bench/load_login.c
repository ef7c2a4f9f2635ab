/* tests/bench/load_login.c: from a connected socket to a session: STARTTLS, SASL, binding,
 * XEP-0198 if asked for, roster, presence (RFC 6120, 5 to 7; RFC 6121, 2.2 and 4.2). Also
 * XEP-0077, 3.1, to make accounts on servers that have no faster way. */
#include "load.h"
#include "load_epoll.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define IQ_BIND                                                                         \
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s" \
    "</resource></bind></iq>"
#define SASL "urn:ietf:params:xml:ns:xmpp-sasl"

__attribute__((format(printf, 2, 3))) static void putf(struct conn *c, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    conn_puts(c, text);
}

void login_failed(struct conn *c, const char *why, const char *p, size_t len)
{
    conns_failed++;
    if (conns_failed <= 5)
        fprintf(stderr, "grapnel-load: %s%d in state %d: %s: %.*s\n", opts.prefix, c->index,
                c->state, why, (int)(len < 400 ? len : 400), p);
    conn_close(c, false);
}

void login_header(struct conn *c)
{
    c->header_seen = false;
    c->state = C_HEADER;
    putf(c,
         "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' "
         "xmlns:stream='http://etherx.jabber.org/streams'>",
         opts.domain);
}

/* The socket is connected, or TLS stands. */
void login_opened(struct conn *c)
{
    if (opts.raw) {
        c->state = C_HELLO;
        putf(c, "HELLO %d %d\n", c->index, opts.group);
        return;
    }
    c->after = c->ssl == NULL && opts.tls == TLS_STARTTLS ? C_PROCEED : C_CHALLENGE;
    if (c->after == C_CHALLENGE && strcmp(opts.scenario, "register") == 0)
        c->after = C_REGISTER;
    login_header(c);
    if (c->after == C_CHALLENGE && fast_wanted())
        fast_authenticate(c);
}

static void ready(struct conn *c)
{
    c->state = C_READY;
    conns_pending--;
    conns_ready++;
    scram_free(c);
    run_ready(c);
}

static void authenticate(struct conn *c)
{
    char user[64], plain[256];

    snprintf(user, sizeof(user), "%s%d", opts.prefix, c->index);
    if (strcmp(opts.mech, "PLAIN") == 0) {
        int n = snprintf(plain, sizeof(plain), "%c%s%c%s", 0, user, 0, opts.password);
        char out[512];
        EVP_EncodeBlock((unsigned char *)out, (unsigned char *)plain, n);
        putf(c, "<auth xmlns='" SASL "' mechanism='PLAIN'>%s</auth>", out);
        c->state = C_SUCCESS;
        return;
    }
    char *first = scram_first(c, user);
    putf(c, "<auth xmlns='" SASL "' mechanism='%s'>%s</auth>", opts.mech, first);
    free(first);
    c->state = C_CHALLENGE;
}

static void on_features(struct conn *c)
{
    switch (c->after) {
    case C_PROCEED:
        conn_puts(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        c->state = C_PROCEED;
        break;
    case C_CHALLENGE: authenticate(c); break;
    case C_REGISTER:
        putf(c,
             "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>%s%d"
             "</username><password>%s</password></query></iq>",
             opts.prefix, c->index, opts.password);
        c->state = C_REGISTER;
        break;
    default: putf(c, IQ_BIND, opts.resource); c->state = C_BIND;
    }
}

/* The text of the element. */
static const char *content(const char *p, size_t len, size_t *out_len)
{
    const char *from = memchr(p, '>', len), *to = memrchr(p, '<', len);

    *out_len = from != NULL && to > from ? (size_t)(to - from - 1) : 0;
    return from != NULL ? from + 1 : p;
}

static void on_challenge(struct conn *c, const char *p, size_t len)
{
    size_t n;
    const char *text = content(p, len, &n);
    char *answer = scram_final(c, text, n);

    if (answer == NULL) {
        login_failed(c, "challenge", p, len);
        return;
    }
    putf(c, "<response xmlns='" SASL "'>%s</response>", answer);
    free(answer);
    c->state = C_SUCCESS;
}

static void on_success(struct conn *c, const char *p, size_t len)
{
    size_t n;
    const char *text = content(p, len, &n);

    if (c->scram != NULL && !scram_check(c, text, n)) {
        login_failed(c, "the server's signature", p, len);
        return;
    }
    c->after = C_BIND;
    login_header(c);
}

/* The next step that was asked for. */
static void go_on(struct conn *c)
{
    if (c->state <= C_BIND && opts.sm && !fast_wanted()) {
        conn_puts(c, opts.resume ? "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
                                 : "<enable xmlns='urn:xmpp:sm:3'/>");
        c->state = C_SM;
    } else if (c->state <= C_SM && !opts.no_roster) {
        conn_puts(c, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
        c->sent++;
        c->state = C_ROSTER;
    } else if (c->state <= C_ROSTER && !opts.no_presence) {
        conn_puts(c, "<presence/>");
        c->sent++;
        c->state = C_PRESENCE;
    } else {
        ready(c);
    }
}

static bool starts(const char *p, size_t len, const char *with)
{
    size_t n = strlen(with);

    return len >= n && memcmp(p, with, n) == 0;
}

void login_stanza(struct conn *c, const char *p, size_t len)
{
    bool result = find(p, len, "type='result'") != NULL || find(p, len, "type=\"result\"") != NULL;

    if (c->state == C_HELLO) {
        ready(c);
    } else if (c->state == C_HEADER && starts(p, len, "<stream:features")) {
        on_features(c);
    } else if (c->state == C_FAST && starts(p, len, "<failure")) {
        login_failed(c, "refused", p, len);
    } else if (c->state == C_FAST) {
        enum fast_state state = fast_stanza(c, p, len);

        if (state == FAST_BOUND)
            go_on(c);
        else if (state == FAST_RESUMED)
            ready(c);
    } else if (c->state == C_PROCEED && starts(p, len, "<proceed")) {
        conn_handshake(c);
    } else if (c->state == C_CHALLENGE && starts(p, len, "<challenge")) {
        on_challenge(c, p, len);
    } else if (c->state == C_SUCCESS && starts(p, len, "<success")) {
        on_success(c, p, len);
    } else if (c->state == C_REGISTER && starts(p, len, "<iq")) {
        if (!result && find(p, len, "conflict") == NULL)
            login_failed(c, "registration", p, len);
        else
            ready(c);
    } else if (starts(p, len, "<stream:error") || starts(p, len, "<failure") ||
               starts(p, len, "<failed")) {
        login_failed(c, "refused", p, len);
    } else if ((c->state == C_BIND || c->state == C_ROSTER) && starts(p, len, "<iq") && result) {
        go_on(c);
    } else if (c->state == C_SM && starts(p, len, "<enabled")) {
        c->sent = 0;
        go_on(c);
    } else if (c->state == C_PRESENCE && starts(p, len, "<presence")) {
        go_on(c);
    } else if (starts(p, len, "<iq") && find(p, len, "'error'") != NULL && c->state == C_BIND) {
        login_failed(c, "binding", p, len);
    }
}
