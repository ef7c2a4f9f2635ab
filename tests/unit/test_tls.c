/* net/tls: policy, SNI, ALPN, certificate files and their problems, channel binding. */
#include "tls_peer.h"

/* --- contexts --- */

static void test_direct(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;
    char back[64];

    (void)state;
    open_pair(&e, &k, t, 0);
    tls_ctx_unref(&t); /* the conn keeps it */
    conn_write(e.c, "early ", 6);
    assert_false(conn_is_tls(e.c));
    assert_int_equal(client_connect(&k), 1);
    assert_int_equal(e.secured, 1);
    assert_true(conn_is_tls(e.c));
    assert_string_equal(conn_tls_version(e.c), "TLSv1.3");
    assert_non_null(strstr(conn_tls_cipher(e.c), "TLS_"));
    assert_null(conn_sni(e.c));
    client_say(&k, "hello");
    loops_step();
    assert_string_equal(buf_str(&e.got), "hello");
    conn_write(e.c, "one ", 4);
    conn_write(e.c, "two", 3);
    loops_step();
    assert_int_equal(client_read(&k, back, 64), 6);
    assert_int_equal(client_read(&k, back, 64), 7); /* one record */
    assert_memory_equal(back, "one two", 7);
    assert_int_equal(conn_memory(e.c), 0);
    close_pair(&e, &k);
}

static void test_policy(void **state)
{
    static const struct {
        bool modern;
        int max_version;
        const char *ciphers, *groups;
        bool ok;
    } row[] = {
        { false, TLS1_2_VERSION, NULL, NULL, true },
        { false, TLS1_3_VERSION, NULL, NULL, true },
        { true, TLS1_3_VERSION, NULL, NULL, true },
        { true, TLS1_2_VERSION, NULL, NULL, false },
        { false, TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false },
        { false, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, true },
        { false, TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", NULL, true },
        { false, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL, false },
        { false, TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA", NULL, false },
        { false, TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", NULL, false },
        { false, TLS1_3_VERSION, NULL, "X25519", true },
        { false, TLS1_3_VERSION, NULL, "P-256", true },
        { false, TLS1_3_VERSION, NULL, "P-384", true },
        { false, TLS1_3_VERSION, NULL, "P-521", false },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(row); i++) {
        struct tls_ctx *t = load((const char *const[]){ "a", NULL },
                                 (const char *const[]){ "a.example" }, row[i].modern,
                                 TLS_ALPN_CLIENT);
        struct end e;
        struct client k;

        open_pair(&e, &k, t, row[i].max_version);
        if (row[i].max_version < TLS1_2_VERSION)
            SSL_set_min_proto_version(k.ssl, TLS1_VERSION);
        if (row[i].ciphers != NULL)
            assert_int_equal(SSL_set_cipher_list(k.ssl, row[i].ciphers), 1);
        if (row[i].groups != NULL)
            assert_int_equal(SSL_set1_groups_list(k.ssl, row[i].groups), 1);
        if (client_connect(&k) != row[i].ok)
            fail_msg("row %zu", i);
        assert_int_equal(e.secured, row[i].ok);
        assert_int_equal(e.ended, !row[i].ok);
        if (row[i].ok) {
            assert_false(SSL_session_reused(k.ssl));
            assert_false(SSL_SESSION_has_ticket(SSL_get0_session(k.ssl)));
            assert_null(SSL_get_current_compression(k.ssl));
        } else {
            assert_int_equal(e.why, CONN_ERROR);
        }
        tls_ctx_unref(&t);
        close_pair(&e, &k);
    }
}

/* Ours, but ChaCha20 for who wants that first. */
static void test_suite_order(void **state)
{
    static const char *const row[][2] = {
        { "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256" },
        { "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384" },
        { "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256" },
        { "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384" },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(row); i++) {
        struct tls_ctx *t = load_one();
        struct end e;
        struct client k;

        open_pair(&e, &k, t, 0);
        assert_int_equal(SSL_set_ciphersuites(k.ssl, row[i][0]), 1);
        assert_int_equal(client_connect(&k), 1);
        assert_string_equal(conn_tls_cipher(e.c), row[i][1]);
        tls_ctx_unref(&t);
        close_pair(&e, &k);
    }
}

static void test_no_renegotiation(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;

    (void)state;
    open_pair(&e, &k, t, TLS1_2_VERSION);
    assert_int_equal(client_connect(&k), 1);
    assert_int_equal(SSL_renegotiate(k.ssl), 1);
    for (int i = 0; i < 5 && k.err == 0; i++) {
        ERR_clear_error();
        SSL_do_handshake(k.ssl);
        k.err = ERR_peek_error();
        loops_step();
    }
    assert_int_equal(ERR_GET_REASON(k.err), SSL_R_NO_RENEGOTIATION);
    assert_int_equal(e.secured, 1);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

static void check_sni(struct tls_ctx *t, const char *sni, const char *cert_name)
{
    struct end e;
    struct client k;
    X509 *x;

    open_pair(&e, &k, t, 0);
    if (sni != NULL)
        SSL_set_tlsext_host_name(k.ssl, sni);
    assert_int_equal(client_connect(&k), 1);
    x = SSL_get1_peer_certificate(k.ssl);
    if (X509_check_host(x, cert_name, 0, 0, NULL) != 1)
        fail_msg("%s did not get the certificate of %s", sni != NULL ? sni : "no name", cert_name);
    X509_free(x);
    if (sni == NULL)
        assert_null(conn_sni(e.c));
    else
        assert_string_equal(conn_sni(e.c), sni);
    close_pair(&e, &k);
}

static void test_sni(void **state)
{
    struct tls_ctx *t = load((const char *const[]){ "a", "b", "b", "idn", NULL },
                             (const char *const[]){ "a.example", "b.example", "B2.example",
                                                    "b\xc3\xbc"
                                                    "cher.example" },
                             false, TLS_ALPN_CLIENT);

    (void)state;
    check_sni(t, NULL, "a.example");
    check_sni(t, "a.example", "a.example");
    check_sni(t, "b.example", "b.example");
    check_sni(t, "B.eXample", "b.example");
    check_sni(t, "b2.example", "b.example"); /* the same files */
    check_sni(t, "xn--bcher-kva.example", "xn--bcher-kva.example");
    check_sni(t, "unknown.example", "a.example");
    check_sni(t, "x.b.example", "a.example");
    tls_ctx_unref(&t);
}

static void test_alpn(void **state)
{
    static const struct {
        enum tls_alpn ours;
        const char *sent;
        bool ok;
    } row[] = {
        { TLS_ALPN_CLIENT, NULL, true },
        { TLS_ALPN_CLIENT, "\x0bxmpp-client", true },
        { TLS_ALPN_CLIENT, "\x02h2\x0bxmpp-client", true },
        { TLS_ALPN_CLIENT, "\x0bxmpp-server", false },
        { TLS_ALPN_CLIENT, "\x02h2\x08http/1.1", false },
        { TLS_ALPN_CLIENT, "\x0axmpp-clien", false },
        { TLS_ALPN_CLIENT, "\x0cxmpp-clientx", false },
        { TLS_ALPN_SERVER, "\x0bxmpp-server", true },
        { TLS_ALPN_SERVER, "\x0bxmpp-client", false },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(row); i++) {
        /* b is chosen by SNI: the rule is not the default certificate's alone */
        struct tls_ctx *t = load((const char *const[]){ "a", "b", NULL },
                                 (const char *const[]){ "a.example", "b.example" }, false,
                                 row[i].ours);
        struct end e;
        struct client k;

        for (int with_sni = 0; with_sni < 2; with_sni++) {
            open_pair(&e, &k, t, 0);
            if (with_sni)
                SSL_set_tlsext_host_name(k.ssl, "b.example");
            if (row[i].sent != NULL)
                SSL_set_alpn_protos(k.ssl, (const unsigned char *)row[i].sent,
                                    (unsigned int)strlen(row[i].sent));
            if (client_connect(&k) != row[i].ok)
                fail_msg("row %zu", i);
            if (!row[i].ok) {
                assert_int_equal(ERR_GET_REASON(k.err), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
                assert_int_equal(e.why, CONN_ERROR);
            } else if (row[i].sent != NULL) {
                const unsigned char *chosen;
                unsigned int len;

                SSL_get0_alpn_selected(k.ssl, &chosen, &len);
                assert_int_equal(len, 11);
            }
            close_pair(&e, &k);
        }
        tls_ctx_unref(&t);
    }
}

/* --- files --- */

static void refused(const struct tls_cert *certs, size_t count, int err, const char *says)
{
    struct tls_opts o = { .certs = certs, .count = count };
    struct tls_ctx *t = (struct tls_ctx *)1;
    char *why = NULL;

    assert_int_equal(tls_ctx_new(&o, &t, &why), err);
    assert_null(t);
    assert_non_null(why);
    if (strstr(why, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, says);
    gr_free(why);
}

static void refused_pair(const char *cert, const char *key, int err, const char *says)
{
    struct tls_cert c = { "a.example", path(cert), key != NULL ? path(key) : NULL };

    refused(&c, 1, err, says);
}

static void test_bad_files(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path("garbage.pem"), "w");

    (void)state;
    fputs("not a certificate\n", f);
    fclose(f);
    write_key(key, "locked.key", EVP_aes_128_cbc(), false);
    EVP_PKEY_free(key);
    make_pair_of(EVP_RSA_gen(1024), "weak", "a.example", EVP_sha256(), -10, 86400);
    assert_int_equal(mkdir(path("folder"), 0700), 0);
    make_pair("open", "a.example");
    assert_int_equal(chmod(path("open.key"), 0644), 0);

    refused_pair("absent.pem", "a.key", GR_EIO, "absent.pem: No such file");
    refused_pair("a.pem", "absent.key", GR_EIO, "absent.key: No such file");
    refused_pair("garbage.pem", "a.key", GR_EINVAL, "garbage.pem holds no PEM certificate");
    refused_pair("a.pem", "garbage.pem", GR_EINVAL, "garbage.pem");
    refused_pair("a.pem", "b.key", GR_EINVAL, "does not belong");
    refused_pair("a.pem", "locked.key", GR_EINVAL, "without a password");
    refused_pair("weak.pem", "weak.key", GR_EINVAL, "1024 bits; at least 2048");
    refused_pair("open.pem", "open.key", GR_EINVAL, "chmod 640");
    refused_pair("a.pem", NULL, GR_EINVAL, "a.pem holds no usable private key");
    refused_pair("folder", "a.key", GR_EINVAL, "is a directory");
    refused(NULL, 0, GR_EINVAL, "no certificate");
    struct tls_cert two[] = { { "a.example", path("a.pem"), path("a.key") },
                              { "A.example", path("b.pem"), path("b.key") } };
    refused(two, 2, GR_EEXIST, "two certificates are named for a.example");
    struct tls_cert unnamed = { "a b", path("a.pem"), path("a.key") };
    refused(&unnamed, 1, GR_EINVAL, "not a host name");
    struct tls_cert both[] = { { "x.example", path("none1"), path("a.key") },
                               { "y.example", path("none2"), path("a.key") } };
    refused(both, 2, GR_EIO, "none1");
    refused(both, 2, GR_EIO, "none2"); /* every problem, not the first */
}

static char log_text[4096];

static void keep_log(void *ctx, enum gr_log_level level, const char *line)
{
    (void)ctx, (void)level;
    snprintf(log_text + strlen(log_text), sizeof(log_text) - strlen(log_text), "%s\n", line);
}

static void warns(const char *id)
{
    if (strstr(log_text, id) == NULL)
        fail_msg("no %s in: %s", id, log_text);
    log_text[0] = '\0';
}

static void test_warnings(void **state)
{
    struct tls_ctx *t;

    (void)state;
    log_set_sink(keep_log, NULL);
    log_text[0] = '\0';
    make_pair_of(EVP_EC_gen("P-256"), "old", "a.example", EVP_sha256(), -7200, -3600);
    make_pair_of(EVP_EC_gen("P-256"), "soon", "a.example", EVP_sha256(), -7200, 86400 * 5);
    t = load((const char *const[]){ "old", NULL }, (const char *const[]){ "a.example" }, false,
             TLS_ALPN_CLIENT);
    tls_ctx_unref(&t);
    warns("tls.expired");
    t = load((const char *const[]){ "soon", NULL }, (const char *const[]){ "a.example" }, false,
             TLS_ALPN_CLIENT);
    tls_ctx_unref(&t);
    warns("tls.expires");
    t = load((const char *const[]){ "a", NULL }, (const char *const[]){ "other.example" }, false,
             TLS_ALPN_CLIENT);
    tls_ctx_unref(&t);
    warns("tls.wrong_name");
    t = load_one();
    tls_ctx_unref(&t);
    assert_string_equal(log_text, "");
    log_set_sink(NULL, NULL);
}

/* --- channel binding --- */

static void test_channel_binding(void **state)
{
    static const struct {
        const char *cert;
        const char *hash; /* RFC 5929, 4.1; NULL: undefined */
    } row[] = { { "a", "SHA256" }, { "c384", "SHA384" }, { "c512", "SHA512" }, { "ed", NULL } };

    (void)state;
    make_pair_of(EVP_EC_gen("P-384"), "c384", "a.example", EVP_sha384(), -10, 86400 * 90L);
    make_pair_of(EVP_RSA_gen(2048), "c512", "a.example", EVP_sha512(), -10, 86400 * 90L);
    make_pair_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "ed", "a.example", NULL, -10,
                 86400 * 90L);
    for (size_t i = 0; i < GR_COUNT(row); i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct tls_ctx *t = load((const char *const[]){ row[i].cert, NULL },
                                     (const char *const[]){ "a.example" }, false, TLS_ALPN_CLIENT);
            uint8_t mine[64], theirs[64];
            unsigned int len;
            struct end e;
            struct client k;

            open_pair(&e, &k, t, version);
            assert_int_equal(conn_cb_exporter(e.c, mine), GR_ENOTSUP);
            assert_int_equal(conn_cb_endpoint(e.c, mine), GR_ENOTSUP);
            assert_int_equal(client_connect(&k), 1);
            assert_int_equal(conn_cb_exporter(e.c, mine), 32);
            assert_int_equal(SSL_export_keying_material(k.ssl, theirs, 32,
                                                        "EXPORTER-Channel-Binding", 24,
                                                        (const unsigned char *)"", 0, 1),
                             1);
            assert_memory_equal(mine, theirs, 32);
            if (row[i].hash == NULL) {
                assert_int_equal(conn_cb_endpoint(e.c, mine), GR_ENOTSUP);
            } else {
                X509 *x = SSL_get1_peer_certificate(k.ssl);

                assert_int_equal(X509_digest(x, EVP_get_digestbyname(row[i].hash), theirs, &len),
                                 1);
                assert_int_equal(conn_cb_endpoint(e.c, mine), len);
                assert_memory_equal(mine, theirs, len);
                X509_free(x);
            }
            tls_ctx_unref(&t);
            close_pair(&e, &k);
        }
    }
}

static void test_exporter_needs_ems(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;
    uint8_t out[64];

    (void)state;
    open_pair(&e, &k, t, TLS1_2_VERSION);
    SSL_set_options(k.ssl, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    assert_int_equal(client_connect(&k), 1);
    assert_int_equal(conn_cb_exporter(e.c, out), GR_ENOTSUP);
    assert_int_equal(conn_cb_endpoint(e.c, out), 32);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_direct),
        T(test_policy),
        T(test_suite_order),
        T(test_no_renegotiation),
        T(test_sni),
        T(test_alpn),
        T(test_bad_files),
        T(test_warnings),
        T(test_channel_binding),
        T(test_exporter_needs_ems),
    };

    return cmocka_run_group_tests_name("tls", tests, make_all, remove_all);
}
