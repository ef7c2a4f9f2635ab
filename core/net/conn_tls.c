/* net/conn_tls.c: OpenSSL between a conn's socket and its buffers.
 *
 * A BIO of our own instead of OpenSSL's socket BIO: it keeps to the wake-up's budget (a peer that
 * sends nothing but KeyUpdates would otherwise keep SSL_read busy for ever), bounds the handshake,
 * puts a ticket and the data behind it into one packet, saves the recv that would only say EAGAIN, and
 * turns a broken output into "not now", so that what the peer sent before it went away can still be read.
 * Specs: RFC 6120, 5; RFC 8446; limits in reliability 6.5 and 6.7. */
#include "net/conn_priv.h"

#include <grapnel/log.h>

#include <openssl/err.h>
#include <pthread.h>

#define HANDSHAKES_PER_TURN 8 /* of 0.2 to 3 ms each */

static BIO_METHOD *method;

static int bio_read(BIO *b, char *to, int len)
{
    struct conn *c = BIO_get_data(b);
    bool shaking = c->sec == SEC_HANDSHAKE;
    int n;

    BIO_clear_retry_flags(b);
    if (len <= 0)
        return 0;
    if (shaking && c->hello_left == 0)
        return -1;
    if (shaking && (size_t)len > c->hello_left)
        len = (int)c->hello_left;
    n = conn_recv(c, to, (size_t)len);
    if (n == 0 && !c->eof) {
        BIO_set_retry_read(b);
        return -1;
    }
    if (shaking && n > 0)
        c->hello_left -= (size_t)n;
    return n;
}

static int bio_write(BIO *b, const char *data, int len)
{
    struct conn *c = BIO_get_data(b);
    int n;

    BIO_clear_retry_flags(b);
    if (len <= 0)
        return 0;
    /* A ticket is followed by what it was written with: one packet. */
    n = conn_send(c, data, (size_t)len, c->writing && SSL_in_init(c->ssl));
    if (n > 0)
        return n;
    BIO_set_retry_write(b); /* also when broken: c->out_dead knows */
    return -1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    const struct conn *c = BIO_get_data(b);

    (void)num, (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return c->eof;
    default: return 0;
    }
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");
    gr_assert(method != NULL && BIO_meth_set_read(method, bio_read) &&
              BIO_meth_set_write(method, bio_write) && BIO_meth_set_ctrl(method, bio_ctrl) &&
              BIO_meth_set_create(method, bio_create));
}

void conn_tls_begin(struct conn *c)
{
    c->sec = SEC_HANDSHAKE;
    c->hello_left = CONN_HELLO_MAX;
}

int conn_start_tls(struct conn *c, struct tls_ctx *ctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BIO *bio;

    if (c->life != LIFE_OPEN || c->sec != SEC_NONE || buf_len(&c->in) > 0)
        return GR_EINVAL;
    pthread_once(&once, make_method);
    ERR_clear_error();
    c->ssl = tls_session(ctx);
    bio = c->ssl != NULL ? BIO_new(method) : NULL;
    if (bio == NULL) {
        SSL_free(c->ssl);
        c->ssl = NULL;
        ERR_clear_error();
        return GR_ENOMEM;
    }
    BIO_set_data(bio, c);
    SSL_set_bio(c->ssl, bio, bio);
    c->tls = tls_ctx_ref(ctx);
    c->plain_left = buf_len(&c->out);
    if (c->plain_left > 0)
        c->sec = SEC_WAITING; /* <proceed/> leaves in the clear first */
    else
        conn_tls_begin(c);
    conn_rewatch(c);
    return 0;
}

void conn_offer_ticket(struct conn *c)
{
    if (c->sec != SEC_TLS || c->ticketed)
        return;
    c->ticketed = true;
    tls_offer_ticket(c->tls, c->ssl);
}

void conn_tls_free(struct conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    tls_ctx_unref(&c->tls);
}

/* A turn of the loop with a hundred ClientHellos must not keep the others waiting: what is over the
 * number stays readable and comes back in the next turn. */
static bool turn_is_full(void)
{
    static _Thread_local unsigned int turn;
    static _Thread_local int done;
    unsigned int now = ev_iteration(loop_ev(loop_self()));

    if (now != turn) {
        turn = now;
        done = 0;
    }
    return ++done > HANDSHAKES_PER_TURN;
}

static void log_failure(const struct conn *c)
{
    const char *what = c->hello_left == 0 ? "handshake too large"
                       : c->eof           ? "the peer closed"
                                          : tls_error();

    ERR_clear_error();
    gr_info("tls.handshake_failed", "TLS handshake with %s failed: %s", c->peer, what);
}

int conn_tls_handshake(struct conn *c)
{
    int rc, err;

    if (turn_is_full())
        return 0;
    ERR_clear_error();
    c->shake_wants_write = false;
    rc = SSL_do_handshake(c->ssl);
    if (rc == 1) {
        c->sec = SEC_TLS;
        return 1;
    }
    err = SSL_get_error(c->ssl, rc);
    if (err == SSL_ERROR_WANT_READ)
        return 0;
    if (err == SSL_ERROR_WANT_WRITE && !c->out_dead) {
        c->shake_wants_write = true;
        return 0;
    }
    log_failure(c);
    return -1;
}

/* SSL_get_error wants the thread's queue of errors empty before the call it judges. Emptying it
 * walks all its entries and frees the text of each, also when there is none; looking does not. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

int conn_tls_read(struct conn *c, void *to, size_t len, enum conn_end *why)
{
    int n;

    /* Asking would cost a record buffer, made and freed for nothing. */
    if (c->dry && SSL_has_pending(c->ssl) == 0)
        return 0;
    forget_errors();
    c->read_wants_write = false;
    n = SSL_read(c->ssl, to, (int)len);
    if (n > 0)
        return n;
    switch (SSL_get_error(c->ssl, n)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_WANT_WRITE: /* the answer to a KeyUpdate does not fit */
        if (!c->out_dead) {
            c->read_wants_write = true;
            if (!c->out_blocked)
                c->progress_at = gr_now_ms();
            return 0;
        }
        break;
    case SSL_ERROR_ZERO_RETURN: *why = CONN_CLOSED; return -1;
    default: gr_debug("tls.broken", "TLS with %s ended: %s", c->peer, tls_error()); break;
    }
    ERR_clear_error();
    *why = CONN_ERROR;
    return -1;
}

int conn_tls_write(struct conn *c, const void *data, size_t len)
{
    int n;

    forget_errors();
    c->write_wants_read = false;
    c->writing = true;
    n = SSL_write(c->ssl, data, (int)len);
    c->writing = false;
    if (n > 0)
        return n;
    switch (SSL_get_error(c->ssl, n)) {
    case SSL_ERROR_WANT_WRITE: return c->out_dead ? -1 : 0;
    case SSL_ERROR_WANT_READ: c->write_wants_read = true; return 0;
    default: gr_debug("tls.broken", "TLS with %s ended: %s", c->peer, tls_error()); return -1;
    }
}

bool conn_tls_notify(struct conn *c)
{
    int n;

    if (c->sec != SEC_TLS || c->notified)
        return true;
    ERR_clear_error();
    n = SSL_shutdown(c->ssl);
    if (n < 0 && SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE && !c->out_dead)
        return false;
    ERR_clear_error();
    c->notified = true;
    return true;
}

bool conn_is_tls(const struct conn *c)
{
    return c->sec == SEC_TLS;
}

int conn_cb_exporter(struct conn *c, uint8_t out[32])
{
    return c->sec == SEC_TLS ? tls_exporter(c->ssl, out) : GR_ENOTSUP;
}

int conn_cb_endpoint(struct conn *c, uint8_t out[64])
{
    return c->sec == SEC_TLS ? tls_endpoint(c->ssl, out) : GR_ENOTSUP;
}

int conn_cb_unique(struct conn *c, uint8_t out[64])
{
    size_t len = c->sec == SEC_TLS ? SSL_get_peer_finished(c->ssl, out, 64) : 0;

    return len > 0 && len <= 64 ? (int)len : GR_ENOTSUP;
}

const char *conn_sni(const struct conn *c)
{
    return c->sec == SEC_TLS ? SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
}

const char *conn_tls_version(const struct conn *c)
{
    return c->sec == SEC_TLS ? SSL_get_version(c->ssl) : NULL;
}

const char *conn_tls_cipher(const struct conn *c)
{
    return c->sec == SEC_TLS ? SSL_get_cipher_name(c->ssl) : NULL;
}
