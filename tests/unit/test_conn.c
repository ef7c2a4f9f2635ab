/* net/conn without TLS: order and holds, bounds and stall, marks, ends of all kinds, moving. One
 * thread, virtual time, real sockets. */
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct conn_limits limits = { 64 * 1024, 1024 * 1024, 180000 };

/* The upper layer of a conn under test. */
struct end {
    struct conn *c;
    struct buf got;
    size_t (*take)(struct end *e, size_t len); /* how many bytes to take; NULL: all */
    void (*on_end)(struct end *e);
    int data_calls, ended, drained, arrived;
    enum conn_end why;
    unsigned int iteration;
    size_t this_turn, most_per_turn;
    struct loop *loop;
    bool inside;
    uint32_t seed;
    struct post post;
    bool queued;
};

static size_t on_data(void *ctx, const char *data, size_t len)
{
    struct end *e = ctx;
    unsigned int now = ev_iteration(loop_ev(loop_self()));
    size_t took = len;

    assert_false(e->inside);
    e->inside = true;
    assert_true(len > 0);
    assert_int_equal(e->ended, 0);
    e->data_calls++;
    e->loop = loop_self();
    if (now != e->iteration)
        e->this_turn = 0;
    e->iteration = now;
    e->this_turn += len;
    if (e->this_turn > e->most_per_turn)
        e->most_per_turn = e->this_turn;
    if (e->take != NULL)
        took = e->take(e, len);
    buf_append(&e->got, data, took);
    e->inside = false;
    return took;
}

static void on_ended(void *ctx, enum conn_end why)
{
    struct end *e = ctx;

    assert_false(e->inside);
    e->ended++;
    e->why = why;
    if (e->on_end != NULL)
        e->on_end(e);
}

static void on_drained(void *ctx)
{
    ((struct end *)ctx)->drained++;
}

static const struct conn_events events = { on_data, NULL, on_ended, on_drained };

static void pair(int fd[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

/* Connected TCP sockets over loopback: for resets. */
static void tcp_pair(int fd[2])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int l = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(l >= 0);
    assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
    fd[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd[1], (struct sockaddr *)&a, sizeof(a)), 0);
    fd[0] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    assert_true(fd[0] >= 0);
    assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    close(l);
}

static int begin_with(struct end *e, const struct conn_limits *l)
{
    int fd[2];

    memset(e, 0, sizeof(*e));
    pair(fd);
    e->c = conn_new(fd[0], NULL, l, &events, e);
    return fd[1];
}

static int begin(struct end *e)
{
    return begin_with(e, &limits);
}

static void finish(struct end *e, int peer)
{
    conn_free(&e->c);
    buf_fini(&e->got);
    if (peer >= 0)
        close(peer);
    loops_step();
    assert_int_equal(conn_count(), 0);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void got(struct end *e, const char *text)
{
    assert_string_equal(buf_str(&e->got), text);
}

/* All that is readable now. */
static size_t drain(int fd, struct buf *to)
{
    char tmp[65536];
    size_t all = 0;
    ssize_t n;

    while ((n = recv(fd, tmp, sizeof(tmp), 0)) > 0) {
        if (to != NULL)
            buf_append(to, tmp, (size_t)n);
        all += (size_t)n;
    }
    return all;
}

static bool at_eof(int fd)
{
    char c;

    return recv(fd, &c, 1, 0) == 0;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static char pattern(size_t i)
{
    return (char)((i * 2654435761u) >> 13);
}

/* --- input and output --- */

static void test_round_trip(void **state)
{
    struct end e;
    int peer = begin(&e);
    char back[32];

    (void)state;
    say(peer, "hello");
    loops_step();
    got(&e, "hello");
    conn_write(e.c, "one ", 4);
    conn_write(e.c, "two", 3);
    assert_int_equal(recv(peer, back, sizeof(back), 0), -1); /* gathered until the loop sleeps */
    loops_step();
    assert_int_equal(recv(peer, back, sizeof(back), 0), 7);
    assert_memory_equal(back, "one two", 7);
    assert_int_equal(conn_memory(e.c), 0); /* idle */
    assert_string_equal(conn_peer(e.c), "local");
    assert_false(conn_is_tls(e.c));
    assert_null(conn_tls_version(e.c));
    assert_null(conn_sni(e.c));
    finish(&e, peer);
}

static void test_out_buffer(void **state)
{
    struct end e;
    int peer = begin(&e);
    char back[32];

    (void)state;
    buf_puts(conn_out(e.c), "in place");
    conn_wrote(e.c);
    loops_step();
    assert_int_equal(recv(peer, back, sizeof(back), 0), 8);
    finish(&e, peer);
}

static void fill(int fd, size_t *sent, size_t total)
{
    char tmp[32768];

    while (*sent < total) {
        size_t n = total - *sent < sizeof(tmp) ? total - *sent : sizeof(tmp);
        ssize_t rc;

        for (size_t i = 0; i < n; i++)
            tmp[i] = pattern(*sent + i);
        rc = send(fd, tmp, n, MSG_NOSIGNAL);
        if (rc <= 0)
            return;
        *sent += (size_t)rc;
    }
}

static void check_pattern(const struct buf *b, size_t total)
{
    assert_int_equal(buf_len(b), total);
    for (size_t i = 0; i < total; i++)
        if (buf_data(b)[i] != pattern(i))
            fail_msg("byte %zu differs", i);
}

static void test_fairness(void **state)
{
    const size_t total = 1000 * 1000;
    struct end e;
    int peer = begin(&e), size = 1024 * 1024;
    size_t sent = 0;

    (void)state;
    setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    while (sent < total) {
        fill(peer, &sent, total);
        loops_step();
    }
    check_pattern(&e.got, total);
    assert_true(e.most_per_turn <= 64 * 1024);
    assert_true(e.most_per_turn > 16 * 1024);
    finish(&e, peer);
}

static void resume_later(struct post *p)
{
    struct end *e = GR_CONTAINER_OF(p, struct end, post);

    e->queued = false;
    if (e->c != NULL)
        conn_resume(e->c);
}

/* Takes a random part; resumes inside, afterwards, or both. */
static size_t take_randomly(struct end *e, size_t len)
{
    size_t n = next_random(&e->seed) % (len + 1);
    uint32_t how = next_random(&e->seed) % 3;

    if (how != 0)
        conn_resume(e->c);
    if (how != 1 && !e->queued) {
        e->queued = true;
        e->post.run = resume_later;
        loop_defer(&e->post);
    }
    return n;
}

static void test_holds_keep_order(void **state)
{
    const size_t total = 300 * 1000;

    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct end e;
        int peer = begin(&e);
        size_t sent = 0;

        e.take = take_randomly;
        e.seed = seed;
        while (buf_len(&e.got) < total) {
            fill(peer, &sent, total);
            if (!loops_step() && sent == total)
                break;
        }
        check_pattern(&e.got, total);
        assert_int_equal(conn_memory(e.c), 0);
        finish(&e, peer);
    }
}

static size_t take_two(struct end *e, size_t len)
{
    (void)e;
    return len < 2 ? len : 2;
}

static size_t take_none(struct end *e, size_t len)
{
    (void)e, (void)len;
    return 0;
}

static void test_hold_stops_reading(void **state)
{
    struct end e;
    int peer = begin(&e);

    (void)state;
    e.take = take_two;
    say(peer, "abcdef");
    loops_step();
    got(&e, "ab");
    say(peer, "gh");
    loops_step();
    assert_int_equal(e.data_calls, 1); /* nothing more until resumed */
    conn_resume(e.c);
    conn_resume(e.c);
    assert_int_equal(e.data_calls, 1); /* never re-entrantly */
    loops_step();
    got(&e, "abcd");
    assert_int_equal(e.data_calls, 2); /* and once */
    e.take = NULL;
    conn_resume(e.c);
    loops_step();
    got(&e, "abcdefgh");
    conn_resume(e.c); /* safe at any time */
    loops_step();
    assert_int_equal(conn_memory(e.c), 0);
    finish(&e, peer);
}

/* --- bounds --- */

static void test_full_and_drained(void **state)
{
    struct end e;
    int peer = begin(&e);
    char block[4096] = { 0 };
    size_t written = 0;

    (void)state;
    while (!conn_is_full(e.c)) {
        conn_write(e.c, block, sizeof(block));
        written += sizeof(block);
        loops_step();
    }
    assert_int_equal(e.drained, 0);
    assert_true(conn_memory(e.c) > 0);
    size_t back = drain(peer, NULL);
    while (back < written) {
        loops_step();
        back += drain(peer, NULL);
    }
    loops_step();
    assert_int_equal(back, written);
    assert_int_equal(e.drained, 1);
    assert_false(conn_is_full(e.c));
    assert_int_equal(conn_memory(e.c), 0);
    assert_int_equal(e.ended, 0);
    finish(&e, peer);
}

static void test_hard_bound(void **state)
{
    struct end e;
    int peer = begin(&e);
    static char block[256 * 1024];

    (void)state;
    for (int i = 0; i < 40; i++) {
        conn_write(e.c, block, sizeof(block));
        assert_int_equal(e.ended, 0); /* not from inside conn_write */
    }
    assert_int_equal(conn_memory(e.c), 0); /* dropped at once, what follows too */
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    conn_finish(&e.c, 1000); /* no second life */
    finish(&e, peer);
}

static void test_burst_over_the_bound(void **state)
{
    static const struct conn_limits small = { 16 * 1024, 32 * 1024, 1000 };
    static char burst[48 * 1024];
    struct end e;
    int peer = begin_with(&e, &small);

    (void)state;
    conn_write(e.c, burst, sizeof(burst)); /* the socket takes it: no reason to end */
    loops_step();
    assert_int_equal(e.ended, 0);
    assert_int_equal(drain(peer, NULL), sizeof(burst));
    finish(&e, peer);
}

/* What has a bound of its own may wait beyond that of the connection, once. */
static void test_allowed_beyond_the_bound(void **state)
{
    static const struct conn_limits small = { 16 * 1024, 32 * 1024, 1000 };
    static char burst[2048 * 1024];
    struct end e;
    int peer = begin_with(&e, &small);
    size_t got = 0;

    (void)state;
    conn_allow(e.c, sizeof(burst));
    conn_write(e.c, burst, sizeof(burst));
    loops_step();
    assert_int_equal(e.ended, 0);
    while (got < sizeof(burst)) {
        got += drain(peer, NULL);
        loops_step();
    }
    conn_write(e.c, burst, sizeof(burst));
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    finish(&e, peer);
}

static void test_stall(void **state)
{
    struct end e;
    int peer = begin(&e);
    static char block[512 * 1024];

    (void)state;
    conn_write(e.c, block, sizeof(block));
    loops_advance(170000);
    drain(peer, NULL); /* progress */
    loops_step();
    loops_advance(179000);
    assert_int_equal(e.ended, 0);
    loops_advance(2000);
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    finish(&e, peer);
}

static void test_stall_counts_from_blocking(void **state)
{
    static char block[512 * 1024];
    struct end e = { 0 };
    int fd[2], same;

    (void)state;
    pair(fd);
    same = dup(fd[0]);
    e.c = conn_new(fd[0], NULL, &limits, &events, &e);
    conn_write(e.c, block, sizeof(block));
    for (int i = 0; i < 10; i++) {
        loops_step();
        drain(fd[1], NULL);
    }
    loops_advance(175000); /* idle, the old timer still runs */
    while (send(same, block, sizeof(block), MSG_NOSIGNAL) > 0)
        ; /* now the socket does not take a byte of the conn's */
    while (send(same, block, 1, MSG_NOSIGNAL) > 0)
        ;
    conn_write(e.c, "x", 1);
    loops_advance(178000);
    assert_int_equal(e.ended, 0);
    loops_advance(3000);
    assert_int_equal(e.ended, 1);
    close(same);
    finish(&e, fd[1]);
}

/* --- marks --- */

struct note {
    struct conn_mark mark;
    int reached;
    bool ok;
    int order;
    struct end *close_in; /* frees the conn when reached */
};
static int note_order;

static void on_reached(struct conn_mark *m, bool ok)
{
    struct note *n = GR_CONTAINER_OF(m, struct note, mark);

    n->reached++;
    n->ok = ok;
    n->order = ++note_order;
    if (n->close_in != NULL)
        conn_free(&n->close_in->c);
}

static void test_marks(void **state)
{
    struct note n[4] = { 0 };
    struct end e;
    int peer = begin(&e);
    static char block[400 * 1024];

    (void)state;
    note_order = 0;
    for (int i = 0; i < 4; i++)
        n[i].mark.reached = on_reached;
    conn_mark(e.c, &n[0].mark); /* nothing queued: reached, but not from inside */
    assert_int_equal(n[0].reached, 0);
    conn_write(e.c, "x", 1);
    conn_mark(e.c, &n[1].mark);
    conn_write(e.c, block, sizeof(block));
    conn_mark(e.c, &n[2].mark);
    conn_mark(e.c, &n[3].mark);
    loops_step();
    assert_int_equal(n[0].order, 1);
    assert_int_equal(n[1].order, 2);
    assert_true(n[0].ok && n[1].ok);
    assert_int_equal(n[2].reached, 0); /* the socket is full */
    list_remove(&n[3].mark.link);
    while (n[2].reached == 0) {
        assert_true(drain(peer, NULL) > 0);
        loops_step();
    }
    assert_true(n[2].ok);
    assert_int_equal(n[3].reached, 0); /* withdrawn */
    finish(&e, peer);
}

/* What the kernel has not taken comes back at a mark, and only whole pieces reach the peer. */
static void test_cut(void **state)
{
    static char piece[100 * 1000];
    struct note n[8] = { 0 };
    struct buf got = { 0 };
    struct end e;
    int peer = begin(&e);
    int kept = 0;

    (void)state;
    conn_cut(e.c); /* nothing there: nothing happens */
    for (int i = 0; i < 8; i++) {
        n[i].mark.reached = on_reached;
        memset(piece, 'a' + i, sizeof(piece));
        conn_write(e.c, piece, sizeof(piece));
        conn_mark(e.c, &n[i].mark);
    }
    loops_step();
    conn_cut(e.c);
    while (kept < 8 && (n[kept].reached == 0 || n[kept].ok))
        kept++;
    assert_in_range(kept, 1, 7);
    for (int i = kept; i < 8; i++)
        assert_true(n[i].reached == 1 && !n[i].ok);
    while (n[kept - 1].reached == 0) {
        assert_true(drain(peer, &got) > 0);
        loops_step();
    }
    assert_true(n[kept - 1].ok);
    while (drain(peer, &got) > 0)
        loops_step();
    assert_int_equal(buf_len(&got), (size_t)kept * sizeof(piece));
    assert_int_equal(buf_data(&got)[buf_len(&got) - 1], 'a' + kept - 1);
    buf_fini(&got);
    finish(&e, peer);
}

static void test_marks_fail(void **state)
{
    struct note n[3] = { 0 };
    struct end e;
    int peer = begin(&e);
    static char block[400 * 1024];

    (void)state;
    for (int i = 0; i < 3; i++)
        n[i].mark.reached = on_reached;
    conn_write(e.c, block, sizeof(block));
    conn_mark(e.c, &n[0].mark);
    loops_step();
    close(peer);
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    assert_int_equal(n[0].reached, 1);
    assert_false(n[0].ok);
    conn_mark(e.c, &n[1].mark); /* on a dead one */
    conn_free(&e.c);
    assert_int_equal(n[1].reached, 1);
    assert_false(n[1].ok);
    buf_fini(&e.got);

    peer = begin(&e);
    n[2].close_in = &e;
    conn_write(e.c, "x", 1);
    conn_mark(e.c, &n[2].mark);
    loops_step();
    assert_true(n[2].ok);
    assert_null(e.c);
    finish(&e, peer);
}

/* --- ends --- */

static size_t free_inside(struct end *e, size_t len)
{
    conn_free(&e->c);
    return len / 2;
}

static size_t finish_inside(struct end *e, size_t len)
{
    conn_write(e->c, "bye", 3);
    conn_finish(&e->c, 1000);
    return len / 2;
}

static void test_free_inside(void **state)
{
    struct end e;
    int peer = begin(&e);

    (void)state;
    e.take = free_inside;
    conn_write(e.c, "lost", 4);
    say(peer, "hello");
    loops_step();
    assert_null(e.c);
    assert_int_equal(e.ended, 0);
    assert_int_equal(conn_count(), 0);
    finish(&e, peer);
}

static void test_free_of_kept_inside(void **state)
{
    struct end e;
    int peer = begin(&e);

    (void)state;
    e.take = take_none;
    say(peer, "hello");
    loops_step();
    e.take = free_inside; /* while the data handed up is in the conn's own buffer */
    conn_resume(e.c);
    loops_step();
    got(&e, "he");
    finish(&e, peer);
}

static void test_free_with_resume_pending(void **state)
{
    struct end e;
    int peer = begin(&e);

    (void)state;
    e.take = take_none;
    say(peer, "hello");
    loops_step();
    conn_resume(e.c);
    conn_write(e.c, "x", 1);
    finish(&e, peer);
}

static void test_finish(void **state)
{
    struct end e;
    int peer = begin(&e);
    char back[16];

    (void)state;
    e.take = finish_inside;
    say(peer, "hello");
    loops_step();
    assert_null(e.c);
    assert_int_equal(recv(peer, back, sizeof(back), 0), 3);
    assert_true(at_eof(peer));
    assert_int_equal(conn_count(), 1); /* waits for the peer, drops what it says */
    say(peer, "more");
    loops_step();
    assert_int_equal(conn_count(), 1);
    close(peer);
    loops_step();
    assert_int_equal(e.ended, 0);
    finish(&e, -1);
}

static void test_finish_lingers_only_so_long(void **state)
{
    struct end e;
    int peer = begin(&e);
    static char block[400 * 1024];
    struct note n = { .mark.reached = on_reached };

    (void)state;
    conn_write(e.c, block, sizeof(block));
    conn_mark(e.c, &n.mark);
    conn_finish(&e.c, 5000);
    assert_null(e.c);
    loops_advance(4999);
    assert_int_equal(conn_count(), 1);
    assert_int_equal(n.reached, 0);
    loops_advance(1);
    assert_int_equal(conn_count(), 0);
    assert_int_equal(n.reached, 1);
    assert_false(n.ok);
    finish(&e, peer);
}

static void test_finish_at_once(void **state)
{
    struct end e;
    int peer = begin(&e);
    char back[16];

    (void)state;
    conn_write(e.c, "bye", 3);
    conn_finish(&e.c, 0);
    assert_int_equal(conn_count(), 0);
    assert_int_equal(recv(peer, back, sizeof(back), 0), 3);
    assert_true(at_eof(peer));
    finish(&e, peer);
}

static void end_with_finish(struct end *e)
{
    conn_write(e->c, "</end>", 6);
    conn_finish(&e->c, 1000);
}

static void test_half_close(void **state)
{
    struct end e;
    int peer = begin(&e);
    static char block[300 * 1024];
    struct buf back = { 0 };
    struct note n = { .mark.reached = on_reached };

    (void)state;
    e.on_end = end_with_finish;
    conn_write(e.c, block, sizeof(block));
    conn_mark(e.c, &n.mark);
    say(peer, "last words");
    shutdown(peer, SHUT_WR);
    loops_step();
    got(&e, "last words");
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_CLOSED);
    while (conn_count() > 0) { /* the other half still works */
        if (drain(peer, &back) == 0 && !loops_step())
            break;
        loops_step();
    }
    drain(peer, &back);
    assert_int_equal(buf_len(&back), sizeof(block) + 6);
    assert_true(n.ok);
    assert_true(at_eof(peer));
    buf_fini(&back);
    finish(&e, peer);
}

static void test_data_before_close_is_not_lost(void **state)
{
    struct end e;
    int peer = begin(&e);

    (void)state;
    e.take = take_none;
    say(peer, "kept");
    loops_step();
    say(peer, " and more");
    close(peer);
    conn_write(e.c, "nobody reads this", 17); /* fails: EPIPE */
    loops_step();
    assert_int_equal(e.ended, 0);
    e.take = NULL;
    conn_resume(e.c);
    loops_step();
    got(&e, "kept and more");
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    finish(&e, -1);
}

/* It neither reads nor closes: a broken output ends the conn all the same. */
static void test_peer_stops_reading(void **state)
{
    struct end e;
    int peer = begin(&e);

    (void)state;
    say(peer, "still talking");
    shutdown(peer, SHUT_RD);
    loops_step();
    assert_int_equal(e.ended, 0);
    conn_write(e.c, "x", 1);
    loops_step();
    got(&e, "still talking");
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    finish(&e, peer);
}

static void test_reset(void **state)
{
    struct linger now = { 1, 0 };
    struct end e = { 0 };
    int fd[2];

    (void)state;
    tcp_pair(fd);
    e.c = conn_new(fd[0], NULL, &limits, &events, &e);
    assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd[1]);
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_ERROR);
    conn_write(e.c, "x", 1);
    loops_step();
    assert_int_equal(e.ended, 1);
    finish(&e, -1);
}

/* --- moving --- */

static void test_detach_attach(void **state)
{
    struct end e;
    int peer = begin(&e);
    struct note n = { .mark.reached = on_reached };
    char back[16];

    (void)state;
    e.take = take_two;
    say(peer, "abcdef");
    loops_step();
    assert_ptr_equal(e.loop, loop_at(0));
    conn_write(e.c, "out", 3);
    conn_mark(e.c, &n.mark);
    conn_resume(e.c); /* queued on the old loop, must not run there */
    conn_detach(e.c);
    e.take = NULL;
    say(peer, "ghi");
    loops_step();
    got(&e, "ab");
    assert_int_equal(recv(peer, back, sizeof(back), 0), -1);
    loop_enter(loop_at(1));
    conn_attach(e.c);
    loop_enter(loop_at(0));
    loops_step();
    got(&e, "abcdefghi");
    assert_ptr_equal(e.loop, loop_at(1));
    assert_int_equal(recv(peer, back, sizeof(back), 0), 3);
    assert_true(n.ok);
    loop_enter(loop_at(1));
    conn_detach(e.c);
    conn_free(&e.c); /* in between */
    loop_enter(loop_at(0));
    finish(&e, peer);
}

static void on_arrived(void *ctx)
{
    struct end *e = ctx;

    e->arrived++;
    assert_ptr_equal(loop_self(), loop_at(1));
    assert_int_equal(buf_len(&e->got), 2); /* before any data */
    e->take = NULL;
}

static size_t move_inside(struct end *e, size_t len)
{
    conn_write(e->c, "moved", 5);
    conn_move(e->c, loop_at(1), on_arrived);
    return len < 2 ? len : 2;
}

static void test_move_inside(void **state)
{
    struct end e;
    int peer = begin(&e);
    char back[16];

    (void)state;
    e.take = move_inside;
    say(peer, "abcdef");
    loops_step();
    assert_int_equal(e.arrived, 1);
    got(&e, "abcdef");
    assert_ptr_equal(e.loop, loop_at(1));
    assert_int_equal(recv(peer, back, sizeof(back), 0), 5);
    say(peer, "!");
    loops_step();
    got(&e, "abcdef!");
    loop_enter(loop_at(1));
    conn_free(&e.c);
    loop_enter(loop_at(0));
    finish(&e, peer);
}

static void test_end_survives_move(void **state)
{
    struct end e;
    int peer = begin(&e);
    static char block[2 * 1024 * 1024];

    (void)state;
    conn_detach(e.c);
    conn_write(e.c, block, sizeof(block)); /* over the bound while nothing can be written */
    assert_int_equal(conn_memory(e.c), 0);
    loop_enter(loop_at(1));
    conn_attach(e.c);
    loop_enter(loop_at(0));
    loops_step();
    assert_int_equal(e.ended, 1);
    assert_int_equal(e.why, CONN_STALLED);
    loop_enter(loop_at(1));
    conn_free(&e.c);
    loop_enter(loop_at(0));
    finish(&e, peer);
}

static int setup(void **state)
{
    (void)state;
    loops_init(2, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loops_fini();
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_round_trip),
        T(test_out_buffer),
        T(test_fairness),
        T(test_holds_keep_order),
        T(test_hold_stops_reading),
        T(test_full_and_drained),
        T(test_hard_bound),
        T(test_burst_over_the_bound),
        T(test_allowed_beyond_the_bound),
        T(test_stall),
        T(test_stall_counts_from_blocking),
        T(test_marks),
        T(test_cut),
        T(test_marks_fail),
        T(test_free_inside),
        T(test_free_of_kept_inside),
        T(test_free_with_resume_pending),
        T(test_finish),
        T(test_finish_lingers_only_so_long),
        T(test_finish_at_once),
        T(test_half_close),
        T(test_data_before_close_is_not_lost),
        T(test_peer_stops_reading),
        T(test_reset),
        T(test_detach_attach),
        T(test_move_inside),
        T(test_end_survives_move),
    };

    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
