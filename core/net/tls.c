/* net/tls.c: TLS contexts: the policy of reliability 6.7, SNI, ALPN and channel-binding data.
 *
 * One SSL_CTX per pair of files; the first is where every handshake starts, SNI exchanges the
 * certificate. Built on the main thread, read-only afterwards, counted: any loop may hold one.
 *
 * Sessions can be resumed in TLS 1.3 only, with a key exchange (psk_dhe_ke), without early data. In
 * TLS 1.2 they would do without forward secrecy, and a ticket would have to leave before anybody knows
 * who the client is. So SSL_OP_NO_TICKET is on but where a ticket arrives or is to be sent.
 * Specs: RFC 6120, 5 and 13.7; RFC 7590; XEP-0368, 3; RFC 5929, 4; RFC 9266; RFC 8446, 2.2. */
#include "net/tls_priv.h"

#include "base/table.h"

#include <grapnel/log.h>

#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <string.h>

struct domain {
    struct table_node node; /* by name */
    char *name;             /* cert_host() form */
    SSL_CTX *ssl;           /* counted */
    uint8_t scope[SHA256_DIGEST_LENGTH]; /* sessions that began in another are not resumed */
};

struct tls_ctx {
    atomic_int refs;
    struct table domains;
    struct domain *entry;
    size_t count;
    bool tickets;
    const char *alpn; /* the one protocol we speak, length byte in front */
};

/* Mozilla intermediate 5.7 without its DHE suites; TLS 1.3 keeps OpenSSL's three. */
static const char ciphers12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

const char *tls_error(void)
{
    unsigned long code = ERR_get_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return text != NULL ? text : "unknown error";
}

static const struct domain *find_domain(const struct tls_ctx *t, const char *name, size_t len)
{
    struct table_node *n = NULL;
    char lower[256];

    if (len > 0 && len < sizeof(lower)) {
        for (size_t i = 0; i < len; i++)
            lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
        n = table_find(&t->domains, lower, len);
    }
    return n != NULL ? GR_CONTAINER_OF(n, struct domain, node) : NULL;
}

/* The first name of the extension (RFC 6066, 3); NULL: none, or not ours. OpenSSL judges its form later. */
static const struct domain *named_domain(const struct tls_ctx *t, SSL *ssl)
{
    const unsigned char *p;
    size_t len, name_len;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1 || len < 5 ||
        p[2] != TLSEXT_NAMETYPE_host_name)
        return NULL;
    name_len = (size_t)p[3] << 8 | p[4];
    return name_len <= len - 5 ? find_domain(t, (const char *)p + 5, name_len) : NULL;
}

/* Before OpenSSL looks at tickets, which its callback for names is too late for. An unknown name gets
 * the default certificate and, later, <host-unknown/> (reliability 6.7). */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    const struct tls_ctx *t = arg;
    const struct domain *d = named_domain(t, ssl);
    const unsigned char *p;
    size_t len;

    if (d == NULL)
        d = &t->entry[0];
    if (t->tickets && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &len) == 1)
        SSL_clear_options(ssl, SSL_OP_NO_TICKET);
    if (SSL_set_SSL_CTX(ssl, d->ssl) != NULL &&
        SSL_set_session_id_context(ssl, d->scope, sizeof(d->scope)) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

/* RFC 6066, 3: who used the name says so. */
static int acknowledge_name(SSL *ssl, int *alert, void *arg)
{
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    return sni != NULL && find_domain(arg, sni, strlen(sni)) != NULL ? SSL_TLSEXT_ERR_OK
                                                                     : SSL_TLSEXT_ERR_NOACK;
}

/* XEP-0368, 3: ALPN is optional, but who sends it must mean us. Called only when it was sent. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned int in_len, void *arg)
{
    const char *ours = arg;

    (void)ssl;
    for (unsigned int i = 0; i < in_len && i + 1 + in[i] <= in_len; i += 1u + in[i]) {
        if (in[i] == (unsigned char)ours[0] && memcmp(in + i + 1, ours + 1, in[i]) == 0) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_groups(SSL_CTX *s)
{
    /* Known from OpenSSL 3.5 on; asked at run time because the library may be newer than us. */
    return SSL_CTX_set1_groups_list(s, "X25519MLKEM768:X25519:P-256:P-384") == 1 ||
           SSL_CTX_set1_groups_list(s, "X25519:P-256:P-384") == 1;
}

static SSL_CTX *policy(struct tls_ctx *t, const struct tls_opts *o)
{
    SSL_CTX *s = SSL_CTX_new(TLS_server_method());

    if (s == NULL)
        return NULL;
    SSL_CTX_set_security_level(s, 2);
    SSL_CTX_clear_options(s, SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                                 SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    /* A client that wants ChaCha20 first has no AES in hardware, and gets it. For all others SHA-256
     * instead of SHA-384 makes a handshake 7 % cheaper for both sides. */
    SSL_CTX_set_options(s, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(s, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(s, 0);
    SSL_CTX_set_timeout(s, TLS_TICKET_S);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(s, tls_ticket_key);
    SSL_CTX_set_verify(s, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_read_ahead(s, 1); /* header and body of a record in one recv */
    SSL_CTX_set_alpn_select_cb(s, choose_alpn, (void *)t->alpn);
    if (SSL_CTX_set_min_proto_version(s, o->modern ? TLS1_3_VERSION : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(s, 0) != 1 || SSL_CTX_set_cipher_list(s, ciphers12) != 1 ||
        SSL_CTX_set_ciphersuites(s, ciphers13) != 1 || SSL_CTX_set_num_tickets(s, 0) != 1 ||
        !set_groups(s))
        SSL_CTX_free(s), s = NULL;
    ERR_clear_error();
    return s;
}

static bool same_files(const struct tls_cert *a, const struct tls_cert *b)
{
    if (strcmp(a->cert_file, b->cert_file) != 0)
        return false;
    return (a->key_file == NULL && b->key_file == NULL) ||
           (a->key_file != NULL && b->key_file != NULL && strcmp(a->key_file, b->key_file) == 0);
}

/* The same name, certificate and policy. */
static bool make_scope(struct domain *d, const struct tls_opts *o)
{
    uint8_t text[SHA256_DIGEST_LENGTH + 2 + 256] = { 0 };
    size_t len = strlen(d->name);

    gr_assert(len < 256);
    text[SHA256_DIGEST_LENGTH] = o->modern;
    text[SHA256_DIGEST_LENGTH + 1] = (uint8_t)o->alpn;
    memcpy(text + SHA256_DIGEST_LENGTH + 2, d->name, len);
    return X509_digest(SSL_CTX_get0_certificate(d->ssl), EVP_sha256(), text, NULL) == 1 &&
           EVP_Digest(text, SHA256_DIGEST_LENGTH + 2 + len, d->scope, NULL, EVP_sha256(), NULL) == 1;
}

/* Fills t->entry[i]. Domains that name the same files share one SSL_CTX (21 KB each). */
static int add_domain(struct tls_ctx *t, const struct tls_opts *o, size_t i, char **why)
{
    struct domain *d = &t->entry[i];
    int rc = 0;

    d->name = cert_host(o->certs[i].domain);
    if (d->name == NULL) {
        cert_problem(why, "\"%s\" is not a host name", o->certs[i].domain);
        return GR_EINVAL;
    }
    if (table_find_str(&t->domains, d->name) != NULL) {
        cert_problem(why, "two certificates are named for %s", d->name);
        return GR_EEXIST;
    }
    table_insert(&t->domains, &d->node, d->name, strlen(d->name));
    for (size_t k = 0; k < i && d->ssl == NULL; k++)
        if (t->entry[k].ssl != NULL && same_files(&o->certs[k], &o->certs[i]))
            d->ssl = SSL_CTX_up_ref(t->entry[k].ssl) ? t->entry[k].ssl : NULL;
    if (d->ssl != NULL)
        cert_warn_name(SSL_CTX_get0_certificate(d->ssl), &o->certs[i]);
    if (d->ssl == NULL) {
        d->ssl = policy(t, o);
        if (d->ssl == NULL) {
            cert_problem(why, "OpenSSL cannot set up TLS for %s", d->name);
            return GR_ENOMEM;
        }
        rc = cert_load(d->ssl, &o->certs[i], why);
    }
    if (rc == 0 && !make_scope(d, o)) {
        cert_problem(why, "OpenSSL cannot set up TLS for %s", d->name);
        rc = GR_ENOMEM;
    }
    return rc;
}

int tls_ctx_new(const struct tls_opts *opts, struct tls_ctx **out, char **why)
{
    struct tls_ctx *t = gr_alloc(sizeof(*t));
    int rc = 0;

    *out = NULL;
    *why = NULL;
    atomic_init(&t->refs, 1);
    t->alpn = opts->alpn == TLS_ALPN_SERVER ? "\x0bxmpp-server" : "\x0bxmpp-client";
    t->tickets = opts->tickets;
    t->count = opts->count;
    t->entry = gr_alloc(sizeof(*t->entry) * (opts->count > 0 ? opts->count : 1));
    if (opts->count == 0) {
        cert_problem(why, "no certificate is configured");
        rc = GR_EINVAL;
    }
    for (size_t i = 0; i < opts->count; i++) {
        int one = add_domain(t, opts, i, why);

        if (rc == 0)
            rc = one;
    }
    if (rc != 0) {
        tls_ctx_unref(&t);
        return rc;
    }
    SSL_CTX_set_client_hello_cb(t->entry[0].ssl, on_hello, t);
    SSL_CTX_set_tlsext_servername_callback(t->entry[0].ssl, acknowledge_name);
    SSL_CTX_set_tlsext_servername_arg(t->entry[0].ssl, t);
    *out = t;
    return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_ctx_unref(struct tls_ctx **take)
{
    struct tls_ctx *t = *take;

    *take = NULL;
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < t->count; i++) {
        SSL_CTX_free(t->entry[i].ssl);
        gr_free(t->entry[i].name);
    }
    table_fini(&t->domains);
    gr_free(t->entry);
    gr_free(t);
}

SSL *tls_session(struct tls_ctx *t)
{
    SSL *ssl = SSL_new(t->entry[0].ssl);

    if (ssl != NULL)
        SSL_set_accept_state(ssl);
    ERR_clear_error();
    return ssl;
}

void tls_offer_ticket(const struct tls_ctx *t, SSL *ssl)
{
    if (!t->tickets || SSL_version(ssl) < TLS1_3_VERSION)
        return;
    SSL_clear_options(ssl, SSL_OP_NO_TICKET);
    SSL_new_session_ticket(ssl);
}

int tls_endpoint(SSL *ssl, uint8_t out[64])
{
    X509 *x = SSL_get_certificate(ssl);
    unsigned int len = 0;
    const EVP_MD *md;
    int hash = NID_undef;

    if (x == NULL || X509_get_signature_info(x, &hash, NULL, NULL, NULL) != 1 ||
        hash == NID_undef) {
        ERR_clear_error();
        return GR_ENOTSUP; /* no single hash, as with Ed25519: undefined (RFC 5929, 4.1) */
    }
    if (hash == NID_md5 || hash == NID_sha1)
        hash = NID_sha256;
    md = EVP_get_digestbynid(hash);
    if (md == NULL || X509_digest(x, md, out, &len) != 1) {
        ERR_clear_error();
        return GR_ENOTSUP;
    }
    return (int)len;
}

int tls_exporter(SSL *ssl, uint8_t out[32])
{
    static const char label[] = "EXPORTER-Channel-Binding";

    /* RFC 9266, 2: defined only where master secrets are unique. */
    if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
        return GR_ENOTSUP;
    if (SSL_export_keying_material(ssl, out, 32, label, sizeof(label) - 1,
                                   (const unsigned char *)"", 0, 1) != 1) {
        ERR_clear_error();
        return GR_EIO;
    }
    return 32;
}
