/* net/listen and net/peers: binding and its refusals, first bytes, limits per address, running out
 * of descriptors. One thread, virtual time, real sockets. */
#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const v4[] = { "127.0.0.1", NULL };

/* What was accepted. */
static struct seen {
    int fd;
    bool tls;
    struct sockaddr_storage peer;
    struct loop *loop;
} seen[64];
static int seen_count;

static void on_accepted(void *ctx, int fd, const struct sockaddr_storage *peer, bool first_is_tls)
{
    assert_ptr_equal(ctx, seen);
    assert_true(seen_count < 64);
    seen[seen_count++] = (struct seen){ fd, first_is_tls, *peer, loop_self() };
}

static struct listen_opts options(const char *const *addresses)
{
    return (struct listen_opts){
        .name = "listen c2s", .addresses = addresses, .accepted = on_accepted, .ctx = seen
    };
}

static void forget_seen(void)
{
    for (int i = 0; i < seen_count; i++) {
        uint8_t key[16];

        peers_key(&seen[i].peer, key, NULL);
        peers_gone(key, false);
        close(seen[i].fd);
    }
    seen_count = 0;
}

static struct listener *open_with(const struct listen_opts *o)
{
    struct listener *l;
    char *why;

    if (listener_open(o, &l, &why) != 0)
        fail_msg("%s", why);
    listener_start(l);
    loops_step();
    return l;
}

static int connect_to(const char *address, uint16_t port)
{
    struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    bool six = strchr(address, ':') != NULL;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    if (six)
        assert_int_equal(inet_pton(AF_INET6, address, &a6.sin6_addr), 1);
    else
        assert_int_equal(inet_pton(AF_INET, address, &a4.sin_addr), 1);
    if (connect(fd, six ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
                six ? sizeof(a6) : sizeof(a4)) != 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static bool is_closed(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, 0);

    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void no_peers_left(void)
{
    size_t all, unauthenticated, addresses;

    peers_totals(&all, &unauthenticated, &addresses);
    assert_int_equal(all, 0);
    assert_int_equal(unauthenticated, 0);
}

/* --- accepting --- */

static void test_accept(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *l = open_with(&o);
    int fd[24];
    bool first = false, second = false;

    (void)state;
    assert_true(listener_port(l) != 0);
    for (int i = 0; i < 24; i++)
        assert_true((fd[i] = connect_to("127.0.0.1", listener_port(l))) >= 0);
    loops_step();
    assert_int_equal(seen_count, 24);
    for (int i = 0; i < 24; i++) {
        first = first || seen[i].loop == loop_at(0);
        second = second || seen[i].loop == loop_at(1);
        assert_false(seen[i].tls);
        assert_true((fcntl(seen[i].fd, F_GETFL) & O_NONBLOCK) != 0);
        assert_true((fcntl(seen[i].fd, F_GETFD) & FD_CLOEXEC) != 0);
        close(fd[i]);
    }
    assert_true(first && second); /* the kernel spreads; 2^-23 says this fails by chance */
    forget_seen();
    listener_close(&l);
    assert_null(l);
    no_peers_left();
}

static void needs_ipv6(void)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

    if (fd >= 0)
        close(fd);
    if (!ok)
        skip();
}

static void test_both_families(void **state)
{
    static const char *const both[] = { "127.0.0.1", "::1", NULL };
    struct listen_opts o = options(both);
    struct listener *l;
    int a, b;

    (void)state;
    needs_ipv6();
    o.direct_tls = true;
    l = open_with(&o);
    assert_true((a = connect_to("127.0.0.1", listener_port(l))) >= 0);
    assert_true((b = connect_to("::1", listener_port(l))) >= 0);
    loops_step();
    assert_int_equal(seen_count, 2);
    assert_true(seen[0].tls && seen[1].tls);
    close(a);
    close(b);
    forget_seen();
    listener_close(&l);
    no_peers_left();
}

static void test_v6only(void **state)
{
    static const char *const any6[] = { "::", NULL };
    struct listen_opts o = options(any6);
    struct listener *l;

    (void)state;
    needs_ipv6();
    l = open_with(&o);
    assert_int_equal(connect_to("127.0.0.1", listener_port(l)), -1);
    listener_close(&l);
}

static void test_sniff(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *l;
    int fd[4];
    char c;

    (void)state;
    o.sniff_tls = true;
    l = open_with(&o);
    for (int i = 0; i < 4; i++)
        assert_true((fd[i] = connect_to("127.0.0.1", listener_port(l))) >= 0);
    loops_step();
    assert_int_equal(seen_count, 0); /* nobody said anything */
    assert_int_equal(send(fd[0], "\x16\x03\x01", 3, 0), 3);
    loops_step();
    assert_int_equal(seen_count, 1);
    assert_true(seen[0].tls);
    assert_int_equal(recv(seen[0].fd, &c, 1, 0), 1); /* looked at, not taken */
    assert_int_equal(c, 0x16);
    assert_int_equal(send(fd[1], "<", 1, 0), 1);
    loops_step();
    assert_int_equal(seen_count, 2);
    assert_false(seen[1].tls);
    close(fd[2]);
    loops_step();
    loops_advance(9999);
    assert_false(is_closed(fd[3]));
    loops_advance(1);
    assert_true(is_closed(fd[3])); /* silent for too long */
    assert_int_equal(seen_count, 2);
    forget_seen();
    no_peers_left();
    for (int i = 0; i < 4; i++)
        if (i != 2)
            close(fd[i]);
    listener_close(&l);
}

static void test_close(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *l;
    uint16_t port;
    int silent, queued;

    (void)state;
    o.sniff_tls = true;
    l = open_with(&o);
    port = listener_port(l);
    silent = connect_to("127.0.0.1", port);
    loops_step();
    queued = connect_to("127.0.0.1", port);
    listener_close(&l);
    loops_step();
    assert_true(is_closed(silent));
    assert_true(is_closed(queued));
    assert_int_equal(connect_to("127.0.0.1", port), -1);
    close(silent);
    close(queued);
    no_peers_left();

    o.sniff_tls = false; /* what the kernel has queued is served */
    l = open_with(&o);
    queued = connect_to("127.0.0.1", listener_port(l));
    listener_close(&l);
    assert_int_equal(seen_count, 1);
    close(queued);
    forget_seen();

    char *why; /* closed before it began, and before it was told to */
    assert_int_equal(listener_open(&o, &l, &why), 0);
    listener_start(l);
    listener_close(&l);
    assert_int_equal(listener_open(&o, &l, &why), 0);
    listener_close(&l);
    loops_step();
}

/* --- binding --- */

static void refused(const struct listen_opts *o, const char *says)
{
    struct listener *l = (struct listener *)1;
    char *why = NULL;

    assert_true(listener_open(o, &l, &why) < 0);
    assert_null(l);
    assert_non_null(why);
    if (strstr(why, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, says);
    gr_free(why);
}

static void test_refusals(void **state)
{
    static const char *const name[] = { "localhost", NULL }, *const foreign[] = { "192.0.2.1",
                                                                                  NULL };
    struct listen_opts o = options(name);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    const int on = 1;

    (void)state;
    refused(&o, "\"localhost\" is not a numeric");
    o.addresses = foreign;
    refused(&o, "no address 192.0.2.1");
    /* Another program, even one that would share. */
    for (int share = 0; share < 2; share++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        a.sin_port = 0;
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
        if (share)
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
        o.addresses = v4;
        o.port = ntohs(a.sin_port);
        refused(&o, "in use by another program");
        close(fd);
    }
}

static void test_reopen(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *old = open_with(&o), *new;
    int fd[8];

    (void)state;
    o.port = listener_port(old);
    new = open_with(&o); /* a reload: the new one first */
    for (int i = 0; i < 8; i++)
        assert_true((fd[i] = connect_to("127.0.0.1", o.port)) >= 0);
    listener_close(&old);
    loops_step();
    assert_int_equal(seen_count, 8); /* none lost */
    for (int i = 0; i < 8; i++)
        close(fd[i]);
    forget_seen();
    listener_close(&new);
    refused(&(struct listen_opts){ .name = "x", .addresses = (const char *const[]){ "", NULL } },
            "\"\" is not a numeric");
}

/* --- limits --- */

static void key_of(const char *address, uint8_t key[16], char *text)
{
    struct sockaddr_storage a = { 0 };

    if (inet_pton(AF_INET, address, &((struct sockaddr_in *)&a)->sin_addr) == 1)
        a.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, address, &((struct sockaddr_in6 *)&a)->sin6_addr) == 1)
        a.ss_family = AF_INET6;
    peers_key(&a, key, text);
}

static void test_keys(void **state)
{
    uint8_t a[16], b[16];
    char text[INET6_ADDRSTRLEN];

    (void)state;
    key_of("203.0.113.5", a, text);
    assert_string_equal(text, "203.0.113.5");
    key_of("203.0.113.6", b, NULL);
    assert_memory_not_equal(a, b, 16);
    key_of("::ffff:203.0.113.5", b, text);
    assert_string_equal(text, "203.0.113.5");
    assert_memory_equal(a, b, 16);
    key_of("2001:db8:1:2:3::1", a, text);
    assert_string_equal(text, "2001:db8:1:2:3::1");
    key_of("2001:db8:1:2:4::2", b, NULL);
    assert_memory_equal(a, b, 16);
    key_of("2001:db8:1:3:3::1", b, NULL);
    assert_memory_not_equal(a, b, 16);
    peers_key(NULL, a, text);
    assert_string_equal(text, "local");
}

static void test_limits(void **state)
{
    struct listen_opts o = { .max_per_ip = 4,
                             .max_unauthenticated_per_ip = 2,
                             .max_unauthenticated = 3 };
    uint8_t a[16], b[16], c[16];

    (void)state;
    key_of("198.51.100.1", a, NULL);
    key_of("198.51.100.2", b, NULL);
    key_of("2001:db8::1", c, NULL);
    assert_true(peers_admit(a, &o));
    assert_true(peers_admit(a, &o));
    assert_false(peers_admit(a, &o)); /* unauthenticated, per address */
    assert_true(peers_admit(b, &o));
    assert_false(peers_admit(c, &o)); /* and in all */
    peers_authenticated(a);
    assert_true(peers_admit(c, &o));
    peers_authenticated(a);
    assert_true(peers_admit(a, &o));
    peers_authenticated(a);
    assert_true(peers_admit(a, &o));
    peers_authenticated(a);
    assert_false(peers_admit(a, &o)); /* four in all */
    peers_gone(a, true);
    assert_true(peers_admit(a, &o));
    peers_gone(a, false);
    for (int i = 0; i < 3; i++)
        peers_gone(a, true);
    peers_gone(b, false);
    peers_gone(c, false);
    no_peers_left();
}

static void test_rate(void **state)
{
    struct listen_opts o = { .new_per_ip_per_s = 20 };
    uint8_t a[16], b[16];

    (void)state;
    key_of("198.51.100.7", a, NULL);
    key_of("198.51.100.8", b, NULL);
    for (int i = 0; i < 60; i++) {
        assert_true(peers_admit(a, &o));
        peers_gone(a, false);
    }
    assert_false(peers_admit(a, &o));
    assert_true(peers_admit(b, &o)); /* others are not concerned */
    peers_gone(b, false);
    loops_advance(49);
    assert_false(peers_admit(a, &o));
    loops_advance(1);
    assert_true(peers_admit(a, &o));
    peers_gone(a, false);
    assert_false(peers_admit(a, &o));
    loops_advance(100000);
    for (int i = 0; i < 60; i++) {
        assert_true(peers_admit(a, &o));
        peers_gone(a, false);
    }
    assert_false(peers_admit(a, &o));
}

static void test_table_is_bounded(void **state)
{
    struct listen_opts o = { .new_per_ip_per_s = 1 };
    size_t all, unauthenticated, addresses;
    uint8_t key[16] = { 0x20, 1 };

    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        memcpy(key + 4, &i, 4);
        assert_true(peers_admit(key, &o));
        peers_gone(key, false);
    }
    peers_totals(&all, &unauthenticated, &addresses);
    assert_true(addresses <= 16 * 1024);
    assert_true(addresses >= 1024);
    no_peers_left();
}

static void test_refused_by_limit(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *l;
    int fd[5], closed = 0;

    (void)state;
    o.max_unauthenticated_per_ip = 3;
    l = open_with(&o);
    for (int i = 0; i < 5; i++)
        assert_true((fd[i] = connect_to("127.0.0.1", listener_port(l))) >= 0);
    loops_step();
    assert_int_equal(seen_count, 3);
    for (int i = 0; i < 5; i++) {
        closed += is_closed(fd[i]);
        close(fd[i]);
    }
    assert_int_equal(closed, 2);
    forget_seen();
    listener_close(&l);
    no_peers_left();
}

/* --- descriptors --- */

static void test_out_of_descriptors(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *l = open_with(&o);
    struct rlimit before, low;
    int fd[8], late;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 8; i++)
        assert_true((fd[i] = connect_to("127.0.0.1", listener_port(l))) >= 0);
    low = before;
    low.rlim_cur = (rlim_t)fd[7] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    loops_step(); /* returns: no busy loop on a ready socket */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(seen_count, 0);
    for (int i = 0; i < 8; i++) {
        assert_true(is_closed(fd[i])); /* sent away, not left waiting */
        close(fd[i]);
    }
    late = connect_to("127.0.0.1", listener_port(l));
    assert_true(late >= 0);
    loops_advance(2000); /* both loops rest; then all is as before */
    assert_int_equal(seen_count, 1);
    assert_false(is_closed(late));
    close(late);
    forget_seen();
    listener_close(&l);
    no_peers_left();
}

static void test_rests_longer(void **state)
{
    struct listen_opts o = options(v4);
    struct listener *l = open_with(&o);
    struct rlimit before, low;
    int fd[40], many = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 40; i++) /* more than one batch for each loop */
        assert_true((fd[i] = connect_to("127.0.0.1", listener_port(l))) >= 0);
    low = before;
    low.rlim_cur = (rlim_t)fd[39] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    loops_step();
    for (int i = 0; i < 40; i++)
        many += is_closed(fd[i]);
    assert_true(many <= 32); /* two batches, then a rest */
    loops_advance(2000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 40; i++) {
        assert_true(is_closed(fd[i]));
        close(fd[i]);
    }
    assert_int_equal(seen_count, 0);
    listener_close(&l);
    no_peers_left();
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
        T(test_accept),
        T(test_both_families),
        T(test_v6only),
        T(test_sniff),
        T(test_close),
        T(test_refusals),
        T(test_reopen),
        T(test_keys),
        T(test_limits),
        T(test_rate),
        T(test_table_is_bounded),
        T(test_refused_by_limit),
        T(test_out_of_descriptors),
        T(test_rests_longer),
    };

    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
