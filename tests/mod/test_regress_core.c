/* tests/mod/test_regress_core.c: bugs that core/route, core/stream and core/loop once had. Each case is
 * named after what went wrong. */
#include "harness.h"

#include "loop/loop.h"
#include "net/conn.h"
#include "net/listen.h"
#include "route/session.h"
#include "stream/c2s.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- a module that watches and holds --- */

static struct gr_hold *held;
static bool holding;
static unsigned offline_runs;
static char trace[256];

static enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    if (!holding)
        return GR_OK;
    holding = false;
    held = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    offline_runs++;
    return GR_STOP;
}

static void note(const char *what)
{
    snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), "%s ", what);
}

static void on_register(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self, (void)ev;
    note("register");
}

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self, (void)ev;
    note("remove");
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_FIRST, on_send),
    GR_ON(offline_message, GR_PRIO_FIRST, on_offline),
    GR_ON(sm_register_connection, GR_PRIO_FIRST, on_register),
    GR_ON(sm_remove_connection, GR_PRIO_FIRST, on_remove),
    GR_HOOK_END
};
static const struct gr_module watcher = { .name = "watcher", .summary = "test", .hooks = hooks };

static struct h *begin(const char *ini)
{
    held = NULL;
    holding = false;
    offline_runs = 0;
    trace[0] = '\0';
    h_module(&watcher);
    return h_start(ini);
}

/* --- losing one of several copies --- */

static void two_tied(struct h *h, struct hs **one, struct hs **two)
{
    h_user(h, "bob@localhost");
    *one = h_login(h, "bob@localhost/one");
    *two = h_login(h, "bob@localhost/two");
    h_set_available(*one, 0);
    h_set_available(*two, 0);
}

static void test_message_to_tied_resources_is_not_repeated(void **state)
{
    struct h *h = begin(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *one, *two;

    (void)state;
    two_tied(h, &one, &two);
    h_stall(one);
    h_send(alice, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    h_expect_body(two, NULL, "1");
    assert_int_equal(h_unhandled(alice), 1);
    h_disconnect(&one, false);
    h_expect_nothing(two);
    assert_int_equal(offline_runs, 0);
    assert_int_equal(h_unhandled(alice), 0);
    h_stop(&h);
}

static void test_message_lost_by_all_tied_resources_is_stored_once(void **state)
{
    struct h *h = begin(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *one, *two;

    (void)state;
    two_tied(h, &one, &two);
    h_stall(one);
    h_break(two);
    h_send(alice, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    h_disconnect(&two, false);
    assert_int_equal(offline_runs, 0); /* the other may read it yet */
    h_disconnect(&one, false);
    assert_int_equal(offline_runs, 1);
    h_expect_nothing(alice);
    assert_int_equal(h_unhandled(alice), 0);
    h_stop(&h);
}

/* --- sessions that replace others --- */

/* The old session has something to finish; modules must not see it leave after its successor came. */
static void test_replaced_session_leaves_before_its_successor_comes(void **state)
{
    struct h *h = begin(NULL);

    (void)state;
    struct hs *old = h_login(h, "bob@localhost/x");
    holding = true;
    h_send(old, "<message to='alice@localhost'/>");
    assert_non_null(held);
    struct hs *now = h_connect(h, "bob@localhost");
    enum gr_cond cond = h_bind(now, "x");
    h_expect_closed(&old, "conflict");
    h_enter(h, "bob@localhost");
    gr_resume(held, GR_OK);
    h_run(h);
    assert_true(cond == GR_COND_NONE || cond == (enum gr_cond)-1);
    assert_int_equal(h_bound(now), GR_COND_NONE);
    assert_string_equal(trace, "register remove register ");
    h_stop(&h);
}

/* --- accounts that go --- */

static void test_deleted_account_cannot_bind(void **state)
{
    struct h *h = begin(NULL);

    (void)state;
    h_user(h, "bob@localhost");
    struct hs *bound = h_login(h, "bob@localhost/x");
    struct hs *s = h_connect(h, "bob@localhost");
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    h_expect_closed(&bound, "not-authorized");
    h_expect_closed(&s, "not-authorized");
    h_stop(&h);
}

/* --- hosts that go --- */

static void test_stanza_to_a_host_that_goes_is_answered(void **state)
{
    struct h *h = begin("[host localhost]\n[host two.example]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_feed(alice, "<iq type='get' id='1' to='bob@two.example/x'><q xmlns='y'/></iq>");
    assert_int_equal(h_reload(h, "[host localhost]\n", NULL), 0);
    h_run(h);
    h_expect_error(alice, GR_IQ, GR_REMOTE_SERVER_NOT_FOUND, "bob@two.example/x");
    h_stop(&h);
}

/* --- streams that end on their way home --- */

static struct gr_ask *password_ask;

static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    password_ask = ask;
}

static const struct gr_auth_provider provider = { .name = "slow",
                                                  .check_password = check_password };

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    gr_provide_auth(self, &provider, 1000);
    return 0;
}

static const struct gr_module slow = { .name = "slow", .summary = "test", .start = start };

static void say(struct h *h, int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    h_run(h);
}

static bool ended;

static void end_if_moving(void *ctx, struct gr_session *s)
{
    const struct c2s *c = s->out_ctx;

    (void)ctx;
    if (c->state != C2S_MOVING)
        return;
    ended = true;
    session_end(s, "host-gone", NULL, GR_END_NORMAL); /* as a reload or a stop does */
}

static bool others_ran;

static void run_other(struct post *p)
{
    (void)p;
    others_ran = true;
}

/* Between the success and the move home, which is an event of its own. */
static void test_stream_ends_while_it_moves(void **state)
{
    static const struct listen_opts unlimited;
    struct sockaddr_storage peer = { .ss_family = AF_INET };
    struct post other = { .run = run_other };
    uint8_t key[16];
    int fd[2];

    (void)state;
    h_module(&slow);
    struct h *h = begin("[host localhost]\nplain = always\n");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    loop_enter(loop_at(0));
    peers_key(&peer, key, NULL);
    assert_true(peers_admit(key, &unlimited));
    c2s_accept(CONF_TLS_OPTIONAL, fd[0], &peer, false);
    say(h, fd[1], "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams'>");
    password_ask = NULL;
    say(h, fd[1], "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgB4"
                  "</auth>");
    assert_non_null(password_ask);
    loop_enter(loop_at(0));
    gr_answer_result(password_ask, GR_R_OK);
    ended = others_ran = false;
    loop_defer(&other);
    session_each(end_if_moving, NULL);
    h_run(h);
    assert_true(ended);
    assert_true(others_ran); /* the stream's message was queued a second time, over others */
    close(fd[1]);
    h_advance(h, 60000);
    loop_enter(loop_at(0));
    assert_int_equal(c2s_count(), 0);
    assert_int_equal(conn_count(), 0);
    h_stop(&h);
}

/* --- timers --- */

static unsigned fired;

static void again(struct timer *t)
{
    if (++fired < 1000)
        timer_start(t, 0, again);
}

static void test_timer_without_delay_lets_others_run(void **state)
{
    struct h *h = begin(NULL);
    struct timer t = { 0 };

    (void)state;
    fired = 0;
    h_enter(h, "localhost");
    timer_start(&t, 0, again);
    h_run(h);
    assert_in_range(fired, 1, 2);
    h_enter(h, "localhost");
    timer_stop(&t);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_message_to_tied_resources_is_not_repeated),
        cmocka_unit_test(test_message_lost_by_all_tied_resources_is_stored_once),
        cmocka_unit_test(test_replaced_session_leaves_before_its_successor_comes),
        cmocka_unit_test(test_deleted_account_cannot_bind),
        cmocka_unit_test(test_stanza_to_a_host_that_goes_is_answered),
        cmocka_unit_test(test_timer_without_delay_lets_others_run),
        cmocka_unit_test(test_stream_ends_while_it_moves),
    };

    return H_RUN("regress_core", cases);
}
