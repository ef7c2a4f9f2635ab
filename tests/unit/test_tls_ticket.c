/* net/tls: sessions that are resumed: who gets a ticket, which ones are taken, how long; and channel
 * binding afterwards (RFC 8446, 2.2 and 4.6.1). */
#include "tls_peer.h"

#include "loop/loop.h"

#define HOUR_MS (3600 * (int64_t)1000)

static SSL_SESSION *kept; /* the last ticket that a client got */
static int tickets;

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = session;
    tickets++;
    return 1;
}

static int begin(void **state)
{
    setup(state);
    tls_tickets_start();
    tickets = 0;
    return 0;
}

static int end(void **state)
{
    SSL_SESSION_free(kept);
    kept = NULL;
    tls_tickets_stop();
    return teardown(state);
}

/* NAME at DOMAIN, and another. */
static struct tls_ctx *load_two(const char *first, const char *second, bool on)
{
    struct tls_cert certs[2];
    char files[2][2][128];
    struct tls_opts o = { .certs = certs, .count = 2, .tickets = on };
    const char *name[2] = { first, second };
    struct tls_ctx *t;
    char *why;

    for (int i = 0; i < 2; i++) {
        snprintf(files[i][0], 128, "%s/%s.pem", dir, name[i]);
        snprintf(files[i][1], 128, "%s/%s.key", dir, name[i]);
        certs[i] = (struct tls_cert){ i == 0 ? "a.example" : "b.example", files[i][0], files[i][1] };
    }
    if (tls_ctx_new(&o, &t, &why) != 0)
        fail_msg("%s", why);
    return t;
}

static void open_for(struct end *e, struct client *k, struct tls_ctx *t, const char *sni,
                     SSL_SESSION *with, int max_version)
{
    open_pair(e, k, t, max_version);
    SSL_CTX_set_session_cache_mode(k->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(k->ctx, keep);
    SSL_free(k->ssl); /* it is of the time before */
    k->ssl = SSL_new(k->ctx);
    SSL_set_fd(k->ssl, k->fd);
    SSL_set_connect_state(k->ssl);
    if (sni != NULL)
        SSL_set_tlsext_host_name(k->ssl, sni);
    if (with != NULL) { /* OpenSSL's client wants to use each only once */
        with = SSL_SESSION_dup(with);
        assert_int_equal(SSL_set_session(k->ssl, with), 1);
        SSL_SESSION_free(with);
    }
}

static void leave(struct end *e, struct client *k)
{
    SSL_set_shutdown(k->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* the session is good */
    close_pair(e, k);
}

/* A connection with that session, or none: was it resumed? Leaves with a ticket. */
static bool visit(struct tls_ctx *t, const char *sni, SSL_SESSION *with)
{
    struct end e;
    struct client k;
    char back[64];
    bool resumed;

    open_for(&e, &k, t, sni, with, 0);
    assert_int_equal(client_connect(&k), 1);
    resumed = SSL_session_reused(k.ssl) == 1;
    conn_offer_ticket(e.c);
    conn_write(e.c, "hello", 5);
    loops_step();
    assert_int_equal(client_read(&k, back, sizeof(back)), 5);
    assert_memory_equal(back, "hello", 5);
    client_say(&k, "hi");
    loops_step();
    assert_string_equal(buf_str(&e.got), "hi");
    leave(&e, &k);
    return resumed;
}

/* --- who gets one --- */

static void test_only_when_offered(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);
    struct end e;
    struct client k;
    char back[64];

    (void)state;
    open_for(&e, &k, t, "a.example", NULL, 0);
    conn_offer_ticket(e.c); /* no TLS yet: nothing to go on from */
    assert_int_equal(client_connect(&k), 1);
    conn_write(e.c, "one", 3);
    loops_step();
    assert_int_equal(client_read(&k, back, 64), 3);
    assert_int_equal(tickets, 0);
    for (int i = 0; i < 3; i++) {
        conn_offer_ticket(e.c);
        conn_write(e.c, "two", 3);
        loops_step();
        assert_int_equal(client_read(&k, back, 64), 3);
        assert_int_equal(tickets, 1); /* one per connection */
    }
    assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(kept), 12 * 3600);
    assert_int_equal(SSL_SESSION_get_max_early_data(kept), 0);
    assert_int_equal(conn_memory(e.c), 0);
    leave(&e, &k);
    tls_ctx_unref(&t);
}

static void test_resumed(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);

    (void)state;
    assert_false(visit(t, "a.example", NULL));
    for (int i = 0; i < 3; i++)
        assert_true(visit(t, "A.Example", kept));
    assert_int_equal(tickets, 4); /* each brings the next */
    tls_ctx_unref(&t);
}

static void test_off(void **state)
{
    struct tls_ctx *on = load_two("a", "b", true), *off = load_two("a", "b", false);

    (void)state;
    assert_false(visit(off, "a.example", NULL));
    assert_int_equal(tickets, 0);
    visit(on, "a.example", NULL);
    assert_false(visit(off, "a.example", kept));
    assert_true(visit(on, "a.example", kept));
    tls_ctx_unref(&on);
    tls_ctx_unref(&off);
}

/* TLS 1.2 would send one before anybody knows who it is, and resume without a key exchange. */
static void test_not_in_tls12(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);
    SSL_SESSION *first;

    (void)state;
    visit(t, "a.example", NULL);
    first = kept;
    kept = NULL;
    for (int i = 0; i < 2; i++) {
        struct end e;
        struct client k;

        open_for(&e, &k, t, "a.example", i == 0 ? NULL : first, TLS1_2_VERSION);
        assert_int_equal(client_connect(&k), 1);
        assert_int_equal(SSL_session_reused(k.ssl), 0);
        conn_offer_ticket(e.c);
        conn_write(e.c, "x", 1);
        loops_step();
        assert_false(SSL_SESSION_has_ticket(SSL_get_session(k.ssl)));
        leave(&e, &k);
    }
    SSL_SESSION_free(first);
    tls_ctx_unref(&t);
}

/* --- which are taken --- */

static void test_of_another_host(void **state)
{
    struct tls_ctx *two = load_two("a", "b", true), *one = load_two("a", "a", true);
    SSL_SESSION *of_a;

    (void)state;
    visit(two, "a.example", NULL);
    of_a = kept;
    kept = NULL;
    assert_false(visit(two, "b.example", of_a));
    assert_false(visit(one, "b.example", of_a)); /* also when they share a certificate */
    assert_true(visit(one, "a.example", of_a));
    assert_true(visit(two, NULL, of_a)); /* whose is offered to clients that name nobody */
    SSL_SESSION_free(of_a);
    tls_ctx_unref(&two);
    tls_ctx_unref(&one);
}

/* What a reload does. */
static void test_other_certificate(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true), *again = load_two("a", "b", true);
    struct tls_ctx *renewed, *modern;
    char files[2][128];
    struct tls_cert cert = { "a.example", files[0], files[1] };
    struct tls_opts o = { .certs = &cert, .count = 1, .tickets = true, .modern = true };
    SSL_SESSION *session;
    char *why;

    (void)state;
    visit(t, "a.example", NULL);
    tls_ctx_unref(&t);
    session = kept;
    kept = NULL;
    assert_true(visit(again, "a.example", session)); /* nothing has changed */
    make_pair("new", "a.example");
    renewed = load_two("new", "b", true);
    assert_false(visit(renewed, "a.example", session));
    snprintf(files[0], 128, "%s/a.pem", dir);
    snprintf(files[1], 128, "%s/a.key", dir);
    assert_int_equal(tls_ctx_new(&o, &modern, &why), 0);
    assert_false(visit(modern, "a.example", session));
    SSL_SESSION_free(session);
    tls_ctx_unref(&again);
    tls_ctx_unref(&renewed);
    tls_ctx_unref(&modern);
}

static void test_key_ages(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);
    SSL_SESSION *first;

    (void)state;
    visit(t, "a.example", NULL);
    first = kept;
    kept = NULL;
    loops_advance(11 * HOUR_MS);
    assert_true(visit(t, "a.example", first));
    loops_advance(12 * HOUR_MS); /* one key further */
    assert_true(visit(t, "a.example", first));
    loops_advance(2 * HOUR_MS); /* two */
    assert_false(visit(t, "a.example", first));
    assert_true(visit(t, "a.example", kept));
    SSL_SESSION_free(first);
    tls_ctx_unref(&t);
}

/* As after a restart. */
static void test_keys_of_another(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);

    (void)state;
    visit(t, "a.example", NULL);
    tls_tickets_stop();
    assert_false(visit(t, "a.example", kept)); /* no keys at all: no ticket either */
    assert_int_equal(tickets, 1);
    tls_tickets_start();
    assert_false(visit(t, "a.example", kept));
    assert_int_equal(tickets, 2);
    tls_ctx_unref(&t);
}

/* Of the ticket, in each of its parts: name of the key, IV, session, MAC; then one that is too short. */
static void test_damaged(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);

    (void)state;
    visit(t, "a.example", NULL);
    for (int part = 0; part < 5; part++) {
        const unsigned char *ticket;
        unsigned char *der = NULL, *at;
        const unsigned char *p;
        size_t len;
        int der_len = i2d_SSL_SESSION(kept, &der);
        SSL_SESSION *bad;

        SSL_SESSION_get0_ticket(kept, &ticket, &len);
        at = memmem(der, (size_t)der_len, ticket, len);
        assert_non_null(at);
        assert_true(len > 16 + 16 + 32 + 32);
        at[part == 0 ? 0 : part == 1 ? 16 : part == 2 ? 40 : len - 1] ^= 1;
        if (part == 4)
            memset(at, 0, len);
        p = der;
        bad = d2i_SSL_SESSION(NULL, &p, der_len);
        assert_non_null(bad);
        OPENSSL_free(der);
        assert_false(visit(t, "a.example", bad));
        SSL_SESSION_free(bad);
    }
    assert_true(visit(t, "a.example", kept));
    tls_ctx_unref(&t);
}

/* --- channel binding --- */

static void bindings(struct conn *c, struct client *k, uint8_t exporter[32], uint8_t endpoint[64])
{
    uint8_t theirs[32];

    assert_int_equal(conn_cb_exporter(c, exporter), 32);
    assert_int_equal(SSL_export_keying_material(k->ssl, theirs, 32, "EXPORTER-Channel-Binding", 24,
                                                (const unsigned char *)"", 0, 1),
                     1);
    assert_memory_equal(exporter, theirs, 32);
    assert_int_equal(conn_cb_endpoint(c, endpoint), 32);
}

/* The certificate is not sent, but the client knows it from the session; the exporter's value is new. */
static void test_channel_binding(void **state)
{
    struct tls_ctx *t = load_two("a", "b", true);
    uint8_t exporter[3][32], endpoint[3][64], unique[2][64], digest[32];
    char back[64];

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct end e;
        struct client k;
        X509 *x;

        open_for(&e, &k, t, "b.example", kept, 0); /* not the first of the two */
        assert_int_equal(client_connect(&k), 1);
        assert_int_equal(SSL_session_reused(k.ssl), i > 0);
        bindings(e.c, &k, exporter[i], endpoint[i]);
        assert_memory_equal(endpoint[i], endpoint[0], 32);
        assert_true(i == 0 || memcmp(exporter[i], exporter[i - 1], 32) != 0);
        x = SSL_get1_peer_certificate(k.ssl);
        assert_non_null(x);
        assert_int_equal(X509_digest(x, EVP_sha256(), digest, NULL), 1);
        assert_memory_equal(digest, endpoint[i], 32);
        X509_free(x);
        assert_true(conn_cb_unique(e.c, unique[0]) > 0);
        assert_true(SSL_get_finished(k.ssl, unique[1], 64) > 0);
        assert_memory_equal(unique[0], unique[1], 32);
        assert_string_equal(conn_sni(e.c), "b.example");
        conn_offer_ticket(e.c);
        conn_write(e.c, "x", 1);
        loops_step();
        assert_int_equal(client_read(&k, back, 64), 1);
        leave(&e, &k);
    }
    tls_ctx_unref(&t);
}

#undef T
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_only_when_offered),
        T(test_resumed),
        T(test_off),
        T(test_not_in_tls12),
        T(test_of_another_host),
        T(test_other_certificate),
        T(test_key_ages),
        T(test_keys_of_another),
        T(test_damaged),
        T(test_channel_binding),
    };

    return cmocka_run_group_tests_name("tls_ticket", tests, make_all, remove_all);
}
