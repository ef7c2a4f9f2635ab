/* tests/unit/tls_peer.h: for the tests of TLS: certificates made on the spot, a conn with a
 * recording upper layer, and OpenSSL's client at the other end of a socket pair. */
#pragma once

#include "net/conn.h"
#include "net/tls.h"

#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static const struct conn_limits limits = { 64 * 1024, 1024 * 1024, 180000 };
static char dir[] = "/tmp/test_tls.XXXXXX";

/* --- certificates --- */

static inline const char *path(const char *name)
{
    static char p[8][128];
    static int i;

    i = (i + 1) % 8;
    snprintf(p[i], sizeof(p[i]), "%s/%s", dir, name);
    return p[i];
}

static inline void write_key(EVP_PKEY *key, const char *file, const EVP_CIPHER *cipher, bool append)
{
    FILE *f = fopen(path(file), append ? "a" : "w");

    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, cipher, NULL, 0, NULL,
                                          (void *)(cipher != NULL ? "secret" : NULL)),
                     1);
    fclose(f);
    assert_int_equal(chmod(path(file), 0600), 0);
}

static inline X509 *make_cert(EVP_PKEY *key, const char *name, const EVP_MD *md, long from, long to)
{
    X509 *x = X509_new();
    char san[300];
    X509_EXTENSION *ext;

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), to);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    snprintf(san, sizeof(san), "DNS:%s", name);
    ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    assert_non_null(ext);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, md) > 0);
    return x;
}

/* NAME.pem (certificate) and NAME.key; takes the key. */
static inline void make_pair_of(EVP_PKEY *key, const char *file, const char *name, const EVP_MD *md,
                                long from, long to)
{
    X509 *x = make_cert(key, name, md, from, to);
    char fname[64];
    FILE *f;

    snprintf(fname, sizeof(fname), "%s.pem", file);
    f = fopen(path(fname), "w");
    assert_non_null(f);
    PEM_write_X509(f, x);
    fclose(f);
    snprintf(fname, sizeof(fname), "%s.key", file);
    write_key(key, fname, NULL, false);
    X509_free(x);
    EVP_PKEY_free(key);
}

static inline void make_pair(const char *file, const char *name)
{
    make_pair_of(EVP_EC_gen("P-256"), file, name, EVP_sha256(), -3600, 86400 * 90L);
}

static inline struct tls_ctx *load(const char *const *names, const char *const *domains,
                                   bool modern, enum tls_alpn alpn)
{
    struct tls_cert certs[8];
    char files[8][2][128];
    struct tls_opts o = { .certs = certs, .modern = modern, .alpn = alpn };
    struct tls_ctx *t = NULL;
    char *why = NULL;

    for (; names[o.count] != NULL; o.count++) {
        snprintf(files[o.count][0], 128, "%s/%s.pem", dir, names[o.count]);
        snprintf(files[o.count][1], 128, "%s/%s.key", dir, names[o.count]);
        certs[o.count] = (struct tls_cert){ domains[o.count], files[o.count][0],
                                            files[o.count][1] };
    }
    if (tls_ctx_new(&o, &t, &why) != 0)
        fail_msg("%s", why);
    assert_null(why);
    return t;
}

static inline struct tls_ctx *load_one(void)
{
    return load((const char *const[]){ "a", NULL }, (const char *const[]){ "a.example" }, false,
                TLS_ALPN_CLIENT);
}

/* --- both ends in one thread --- */

struct end {
    struct conn *c;
    struct buf got;
    struct tls_ctx *starttls; /* begin it when "<starttls/>" arrives */
    int secured, ended, drained;
    enum conn_end why;
    size_t hold; /* takes at most so much, then holds; 0: all */
    bool echo;
    int rc;
};

static inline size_t on_data(void *ctx, const char *data, size_t len)
{
    struct end *e = ctx;
    size_t took = e->hold > 0 && e->hold < len ? e->hold : len;

    assert_int_equal(e->ended, 0);
    buf_append(&e->got, data, took);
    if (e->starttls != NULL && strstr(buf_str(&e->got), "<starttls/>") != NULL) {
        took -= buf_len(&e->got) - strlen("<starttls/>");
        conn_write(e->c, "<proceed/>", 10);
        e->rc = conn_start_tls(e->c, e->starttls);
        conn_write(e->c, "after", 5);
        tls_ctx_unref(&e->starttls);
        buf_fini(&e->got);
    } else if (e->echo) {
        conn_write(e->c, data, took);
    }
    return took;
}

static inline void on_secured(void *ctx)
{
    struct end *e = ctx;

    assert_int_equal(buf_len(&e->got), 0);
    e->secured++;
}

static inline void on_ended(void *ctx, enum conn_end why)
{
    struct end *e = ctx;

    e->ended++;
    e->why = why;
}

static inline void on_drained(void *ctx)
{
    ((struct end *)ctx)->drained++;
}

static const struct conn_events events = { on_data, on_secured, on_ended, on_drained };

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    unsigned long err; /* of the last operation that failed */
    bool closed;
};

static inline void client_new(struct client *k, int fd, int max_version)
{
    memset(k, 0, sizeof(*k));
    k->fd = fd;
    k->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(k->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(k->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (max_version != 0)
        SSL_CTX_set_max_proto_version(k->ctx, max_version);
    k->ssl = SSL_new(k->ctx);
    SSL_set_fd(k->ssl, fd);
    SSL_set_connect_state(k->ssl);
}

static inline void client_free(struct client *k)
{
    SSL_free(k->ssl);
    SSL_CTX_free(k->ctx);
    close(k->fd);
}

/* 1: done; 0: failed, k->err says. Both sides get turns until one of them is through. */
static inline int client_connect(struct client *k)
{
    for (int i = 0; i < 50; i++) {
        int rc, err;

        ERR_clear_error();
        rc = SSL_do_handshake(k->ssl);
        if (rc == 1) {
            loops_step();
            return 1;
        }
        err = SSL_get_error(k->ssl, rc);
        if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE) {
            k->err = ERR_peek_error();
            loops_step();
            return 0;
        }
        loops_step();
    }
    return 0;
}

static inline int client_read(struct client *k, char *to, int len)
{
    int n;

    ERR_clear_error();
    n = SSL_read(k->ssl, to, len);
    if (n <= 0) {
        int err = SSL_get_error(k->ssl, n);

        k->closed = k->closed || err == SSL_ERROR_ZERO_RETURN;
        k->err = ERR_peek_error();
    }
    return n;
}

static inline void client_say(struct client *k, const char *text)
{
    assert_int_equal(SSL_write(k->ssl, text, (int)strlen(text)), (int)strlen(text));
}

static inline void open_pair(struct end *e, struct client *k, struct tls_ctx *t, int max_version)
{
    int fd[2];

    memset(e, 0, sizeof(*e));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    e->c = conn_new(fd[0], NULL, &limits, &events, e);
    if (t != NULL)
        assert_int_equal(conn_start_tls(e->c, t), 0);
    client_new(k, fd[1], max_version);
}

static inline void close_pair(struct end *e, struct client *k)
{
    conn_free(&e->c);
    buf_fini(&e->got);
    client_free(k);
    loops_step();
    assert_int_equal(conn_count(), 0);
}

/* --- groups --- */

static inline int setup(void **state)
{
    (void)state;
    loops_init(2, true);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    loops_fini();
    return 0;
}

static inline int make_all(void **state)
{
    (void)state;
    log_set_level(GR_LOG_ERROR);
    if (mkdtemp(dir) == NULL)
        return -1;
    log_set_level(GR_LOG_WARN);
    make_pair("a", "a.example");
    make_pair("b", "b.example");
    make_pair("idn", "xn--bcher-kva.example");
    return 0;
}

static inline int remove_all(void **state)
{
    char cmd[64];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    return system(cmd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
