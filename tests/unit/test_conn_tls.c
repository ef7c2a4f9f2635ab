/* net/conn under TLS: STARTTLS, broken peers, ends, volume in both directions with holds, bounds,
 * and moving between loops, at last between two threads under traffic. */
#include "tls_peer.h"

#include <poll.h>
#include <stdatomic.h>

/* --- STARTTLS --- */

static void test_starttls(void **state)
{
    struct end e;
    struct client k;
    char back[64];

    (void)state;
    open_pair(&e, &k, NULL, 0);
    e.starttls = load_one();
    assert_int_equal(send(k.fd, "<starttls/>", 11, 0), 11);
    loops_step();
    assert_int_equal(e.rc, 0);
    assert_int_equal(recv(k.fd, back, sizeof(back), 0), 10); /* in the clear, and no more */
    assert_memory_equal(back, "<proceed/>", 10);
    assert_int_equal(client_connect(&k), 1);
    client_say(&k, "secret");
    loops_step();
    assert_string_equal(buf_str(&e.got), "secret");
    assert_int_equal(client_read(&k, back, sizeof(back)), 5);
    assert_memory_equal(back, "after", 5);
    assert_int_equal(conn_start_tls(e.c, NULL), GR_EINVAL); /* once */
    close_pair(&e, &k);
}

static void test_starttls_injection(void **state)
{
    struct end e;
    struct client k;

    (void)state;
    open_pair(&e, &k, NULL, 0);
    e.starttls = load_one();
    assert_int_equal(send(k.fd, "<starttls/><iq/>", 16, 0), 16);
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    assert_int_equal(e.secured, 0);
    close_pair(&e, &k);
}

static void test_starttls_while_holding(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;

    (void)state;
    open_pair(&e, &k, NULL, 0);
    e.hold = 3;
    assert_int_equal(send(k.fd, "abcdef", 6, 0), 6);
    loops_step();
    assert_int_equal(conn_start_tls(e.c, t), GR_EINVAL);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

/* --- broken peers --- */

static void broken_start(const void *bytes, size_t len, bool then_close)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;

    open_pair(&e, &k, t, 0);
    assert_int_equal(send(k.fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    if (then_close)
        shutdown(k.fd, SHUT_WR);
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    assert_int_equal(e.secured, 0);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

static void test_garbage(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    static const char xml[] = "<?xml version='1.0'?><stream:stream to='a.example'>";
    static const unsigned char half[] = { 0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3 };
    static const unsigned char alert[] = { 0x15, 3, 3, 0, 2, 2, 40 };
    static const unsigned char zero[64];

    (void)state;
    broken_start(http, sizeof(http) - 1, false);
    broken_start(xml, sizeof(xml) - 1, false);
    broken_start(zero, sizeof(zero), false);
    broken_start(alert, sizeof(alert), false);
    broken_start(half, sizeof(half), true);
    broken_start("\x16", 1, true);
}

/* A ClientHello of 128 KiB, in whole records: refused before it is all in memory. */
static void test_huge_hello(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;
    unsigned char record[5 + 16384] = { 0x16, 3, 1, 0x40, 0, 1, 1, 0xff, 0xf0 };
    size_t sent = 0;

    (void)state;
    open_pair(&e, &k, t, 0);
    while (e.ended == 0 && sent < 128 * 1024) {
        if (send(k.fd, record, sizeof(record), MSG_NOSIGNAL) != (ssize_t)sizeof(record))
            break;
        sent += sizeof(record);
        record[5] = 0;
        loops_step();
    }
    assert_int_equal(e.ended, 1);
    assert_true(sent <= 64 * 1024);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

/* More than one turn of the loop takes: none is forgotten. */
static void test_many_hellos(void **state)
{
    struct tls_ctx *t = load_one();
    static struct end e[30];
    static struct client k[30];

    (void)state;
    for (int i = 0; i < 30; i++) {
        open_pair(&e[i], &k[i], t, 0);
        assert_int_equal(SSL_do_handshake(k[i].ssl), -1);
    }
    loops_step();
    for (int i = 0; i < 30; i++)
        assert_int_equal(SSL_do_handshake(k[i].ssl), 1);
    loops_step();
    for (int i = 0; i < 30; i++) {
        assert_int_equal(e[i].secured, 1);
        conn_free(&e[i].c);
        client_free(&k[i]);
    }
    assert_int_equal(conn_count(), 0);
    tls_ctx_unref(&t);
}

static void test_ends(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;
    char back[8];

    (void)state;
    open_pair(&e, &k, t, 0); /* in order */
    assert_int_equal(client_connect(&k), 1);
    client_say(&k, "bye");
    SSL_shutdown(k.ssl);
    loops_step();
    assert_string_equal(buf_str(&e.got), "bye");
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_CLOSED);
    conn_write(e.c, "ok", 2); /* the other direction is still open */
    conn_finish(&e.c, 1000);
    loops_step();
    assert_int_equal(client_read(&k, back, sizeof(back)), 2);
    client_read(&k, back, sizeof(back));
    assert_true(k.closed);
    close_pair(&e, &k);

    open_pair(&e, &k, t, 0); /* cut: somebody in between may have done it */
    assert_int_equal(client_connect(&k), 1);
    client_say(&k, "by");
    shutdown(k.fd, SHUT_WR);
    loops_step();
    assert_string_equal(buf_str(&e.got), "by");
    assert_int_equal(e.why, CONN_ERROR);
    close_pair(&e, &k);

    open_pair(&e, &k, t, 0); /* a record that does not decrypt */
    assert_int_equal(client_connect(&k), 1);
    assert_int_equal(send(k.fd,
                          "\x17\x03\x03\x00\x20"
                          "0123456789012345678901234567890123",
                          37, 0),
                     37);
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    close_pair(&e, &k);

    open_pair(&e, &k, t, 0); /* ours */
    assert_int_equal(client_connect(&k), 1);
    conn_write(e.c, "end", 3);
    conn_finish(&e.c, 1000);
    loops_step();
    assert_int_equal(client_read(&k, back, sizeof(back)), 3);
    client_read(&k, back, sizeof(back));
    assert_true(k.closed); /* close_notify came */
    assert_int_equal(conn_count(), 1);
    loops_advance(1000);
    assert_int_equal(conn_count(), 0);
    close_pair(&e, &k);

    open_pair(&e, &k, t, 0); /* in the middle of the handshake */
    conn_write(e.c, "never", 5);
    conn_finish(&e.c, 1000);
    assert_int_equal(conn_count(), 0);
    close_pair(&e, &k);
    tls_ctx_unref(&t);
}

static void test_last_words_of_a_broken_peer(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;

    (void)state;
    open_pair(&e, &k, t, 0);
    assert_int_equal(client_connect(&k), 1);
    e.hold = 2;
    client_say(&k, "last words");
    loops_step();
    client_say(&k, ", really");
    shutdown(k.fd, SHUT_RDWR);
    conn_write(e.c, "unwritable", 10);
    loops_step();
    assert_int_equal(e.ended, 0);
    e.hold = 0;
    conn_resume(e.c);
    loops_step();
    assert_string_equal(buf_str(&e.got), "last words, really");
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

/* --- volume --- */

static char pattern(size_t i)
{
    return (char)((i * 2654435761u) >> 13);
}

/* Both directions at once, holding now and then; every socket buffer full at some time. */
static void test_echo(void **state)
{
    const size_t total = 3 * 1000 * 1000;
    struct tls_ctx *t = load_one();

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        size_t sent = 0, back = 0, rounds = 0;
        struct end e;
        struct client k;
        static char tmp[50000];

        open_pair(&e, &k, t, version);
        assert_int_equal(client_connect(&k), 1);
        e.echo = true;
        while (back < total && rounds++ < 100000) {
            size_t n = total - sent < sizeof(tmp) ? total - sent : sizeof(tmp);
            int rc = 0;

            for (size_t i = 0; i < n; i++)
                tmp[i] = pattern(sent + i);
            if (n > 0 && sent - back < 800 * 1000)
                rc = SSL_write(k.ssl, tmp, (int)n);
            if (rc > 0)
                sent += (size_t)rc;
            e.hold = rounds % 3 == 0 ? 1000 + rounds : 0;
            if (version == TLS1_3_VERSION && rounds % 50 == 0)
                SSL_key_update(k.ssl, SSL_KEY_UPDATE_REQUESTED);
            loops_step();
            conn_resume(e.c);
            if (rounds % 4 != 0)
                continue;
            while ((rc = client_read(&k, tmp, sizeof(tmp))) > 0) {
                for (int i = 0; i < rc; i++)
                    if (tmp[i] != pattern(back + (size_t)i))
                        fail_msg("byte %zu differs", back + (size_t)i);
                back += (size_t)rc;
            }
        }
        assert_int_equal(back, total);
        assert_int_equal(e.ended, 0);
        conn_resume(e.c);
        loops_step();
        assert_int_equal(conn_memory(e.c), 0);
        close_pair(&e, &k);
    }
    tls_ctx_unref(&t);
}

/* A peer that asks for new keys again and again and does not read the answers: reading waits until
 * one fits, nothing grows, and it counts as a stall. */
static void test_key_updates(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;
    int sent = 0;

    (void)state;
    open_pair(&e, &k, t, TLS1_3_VERSION);
    assert_int_equal(client_connect(&k), 1);
    for (; sent < 20000; sent++) {
        assert_int_equal(SSL_key_update(k.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        if (SSL_write(k.ssl, "x", 1) != 1)
            break;
        loops_step();
    }
    assert_true(buf_len(&e.got) < 20000);
    assert_true(sent < 20000); /* held back */
    assert_int_equal(e.ended, 0);
    loops_advance(179000);
    assert_int_equal(e.ended, 0);
    loops_advance(2000);
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

/* What somebody else left in the thread's queue of errors ends no connection. */
static void test_stale_errors(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;

    (void)state;
    open_pair(&e, &k, t, TLS1_3_VERSION);
    assert_int_equal(client_connect(&k), 1);
    e.hold = 1;
    assert_int_equal(SSL_write(k.ssl, "xy", 2), 2);
    loops_step();
    e.hold = 0;
    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    conn_resume(e.c); /* reads on, and finds nothing */
    loops_step();
    assert_int_equal(buf_len(&e.got), 2);
    assert_int_equal(e.ended, 0);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

static void test_bounds(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;
    static char block[100 * 1024];
    char tmp[16384];
    int before;

    (void)state;
    open_pair(&e, &k, t, 0);
    assert_int_equal(client_connect(&k), 1);
    while (!conn_is_full(e.c)) {
        conn_write(e.c, block, sizeof(block));
        loops_step(); /* the first ones fit into the socket, and are reported as drained */
    }
    before = e.drained;
    do
        loops_step();
    while (client_read(&k, tmp, sizeof(tmp)) > 0);
    assert_int_equal(e.drained, before + 1);
    assert_int_equal(conn_memory(e.c), 0);
    conn_write(e.c, block, sizeof(block));
    for (int i = 0; i < 6; i++)
        conn_write(e.c, block, sizeof(block));
    loops_advance(181000);
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    close_pair(&e, &k);

    open_pair(&e, &k, t, 0); /* nobody shakes hands: output waits, bounded */
    for (int i = 0; i < 30; i++)
        conn_write(e.c, block, sizeof(block));
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    tls_ctx_unref(&t);
    close_pair(&e, &k);
}

/* Held bytes in the conn, further records inside OpenSSL (read ahead), more in the socket. */
static void test_move_with_pending(void **state)
{
    struct tls_ctx *t = load_one();
    struct end e;
    struct client k;

    (void)state;
    open_pair(&e, &k, t, 0);
    assert_int_equal(client_connect(&k), 1);
    e.hold = 2;
    client_say(&k, "abcdef");
    client_say(&k, "ghi");
    client_say(&k, "jkl");
    loops_step();
    assert_string_equal(buf_str(&e.got), "ab");
    conn_detach(e.c);
    e.hold = 0;
    loops_step();
    loop_enter(loop_at(1));
    conn_attach(e.c);
    loop_enter(loop_at(0));
    loops_step();
    assert_string_equal(buf_str(&e.got), "abcdefghijkl");
    loop_enter(loop_at(1));
    close_pair(&e, &k);
    loop_enter(loop_at(0));
    tls_ctx_unref(&t);
}

/* --- two real loops --- */

struct mover {
    struct post post;
    struct conn *c;
    int fd;
    struct tls_ctx *t;
    size_t next_move; /* moves when so many bytes have been echoed */
    size_t seen;
    unsigned int moves;
    bool by_hand; /* conn_detach and our own message instead of conn_move */
    bool leaving;
    atomic_int ended;
};

static void arrive(void *ctx)
{
    struct mover *m = ctx;

    m->leaving = false;
    m->moves++;
    conn_write(m->c, "", 0);
}

static struct loop *other_loop(void)
{
    return loop_at(1 - loop_index(loop_self()));
}

static void attach_by_hand(struct post *p)
{
    struct mover *m = GR_CONTAINER_OF(p, struct mover, post);

    conn_attach(m->c);
    arrive(m);
}

static void leave_by_hand(struct post *p)
{
    struct mover *m = GR_CONTAINER_OF(p, struct mover, post);

    if (m->c == NULL)
        return;
    conn_detach(m->c);
    m->post.run = attach_by_hand;
    loop_post(other_loop(), &m->post);
}

static size_t mover_data(void *ctx, const char *data, size_t len)
{
    struct mover *m = ctx;
    size_t took = len;

    if (m->leaving)
        return 0;
    if (m->seen + len >= m->next_move) {
        took = m->next_move - m->seen;
        m->next_move += 5000 + m->moves * 7919 % 30000;
        m->leaving = true;
        if (m->by_hand) {
            m->post.run = leave_by_hand;
            loop_defer(&m->post);
        } else {
            conn_move(m->c, other_loop(), arrive);
        }
        m->by_hand = !m->by_hand;
    }
    m->seen += took;
    conn_write(m->c, data, took);
    return took;
}

static void mover_ended(void *ctx, enum conn_end why)
{
    struct mover *m = ctx;

    conn_free(&m->c);
    atomic_store(&m->ended, 1 + (int)why);
}

static const struct conn_events mover_events = { mover_data, NULL, mover_ended, NULL };

static void mover_begin(struct post *p)
{
    struct mover *m = GR_CONTAINER_OF(p, struct mover, post);

    m->c = conn_new(m->fd, NULL, &limits, &mover_events, m);
    gr_assert(conn_start_tls(m->c, m->t) == 0);
}

static void wait_for(int fd, short what)
{
    struct pollfd p = { .fd = fd, .events = what };

    if (poll(&p, 1, 20000) != 1)
        fail_msg("nothing for 20 s");
}

/* The client, on the test's thread: writes ahead of what it reads back. */
static void run_client(struct client *k, size_t total)
{
    size_t sent = 0, back = 0;
    static char tmp[20000];

    while (SSL_do_handshake(k->ssl) != 1)
        wait_for(k->fd, POLLIN);
    while (back < total) {
        size_t n = total - sent < sizeof(tmp) ? total - sent : sizeof(tmp);
        int rc = 0, got;

        for (size_t i = 0; i < n; i++)
            tmp[i] = pattern(sent + i);
        if (n > 0 && sent - back < 500 * 1000)
            rc = SSL_write(k->ssl, tmp, (int)n);
        if (rc > 0)
            sent += (size_t)rc;
        got = client_read(k, tmp, sizeof(tmp));
        for (int i = 0; i < got; i++)
            if (tmp[i] != pattern(back + (size_t)i))
                fail_msg("byte %zu differs", back + (size_t)i);
        if (got > 0)
            back += (size_t)got;
        else if (rc <= 0)
            wait_for(k->fd, POLLIN);
    }
}

static void test_move_under_traffic(void **state)
{
    struct tls_ctx *t = load_one();
    struct mover m = { .t = t, .next_move = 1 };
    struct client k;
    int fd[2];

    (void)state;
    loops_init(2, false);
    loops_start();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    m.fd = fd[0];
    m.post.run = mover_begin;
    loop_post(loop_at(0), &m.post);
    client_new(&k, fd[1], 0);
    run_client(&k, 4 * 1000 * 1000);
    SSL_shutdown(k.ssl);
    client_free(&k);
    while (atomic_load(&m.ended) == 0)
        usleep(1000);
    loops_stop();
    assert_int_equal(m.ended, 1 + CONN_CLOSED);
    assert_true(m.moves > 100);
    assert_int_equal(conn_count(), 0);
    loops_fini();
    tls_ctx_unref(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_starttls),
        T(test_starttls_injection),
        T(test_starttls_while_holding),
        T(test_garbage),
        T(test_huge_hello),
        T(test_many_hellos),
        T(test_ends),
        T(test_last_words_of_a_broken_peer),
        T(test_echo),
        T(test_key_updates), T(test_stale_errors),
        T(test_bounds),
        T(test_move_with_pending),
        cmocka_unit_test(test_move_under_traffic),
    };

    return cmocka_run_group_tests_name("conn_tls", tests, make_all, remove_all);
}
