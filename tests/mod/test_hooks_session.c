/* tests/mod/test_hooks_session.c: which hooks the core runs in the life of a session, and of an
 * account, in which order, and what their verdicts do (hooks.md 2.3 and 3). */
#include "hooks_recorder.h"

/* --- opening --- */

#define OPEN "user_open_session session_opening_allowed_for_user sm_register_connection"

static enum gr_verdict deny(struct gr_mod *self, void *event)
{
    (void)self;
    ((struct gr_session_ev *)event)->allow = false;
    return GR_OK;
}

static enum gr_verdict deny_and_stop(struct gr_mod *self, void *event)
{
    deny(self, event);
    return GR_STOP;
}

static enum gr_verdict look_at_request(struct gr_mod *self, void *event)
{
    struct gr_session_ev *ev = event;

    (void)self;
    check(ev->stanza != NULL && gr_stanza_kind(ev->stanza) == GR_IQ, "the request is there");
    check(gr_session_state(ev->session) == GR_S_AUTHENTICATED, "not bound yet");
    check(strcmp(gr_session_jid(ev->session)->full, "carol@localhost") == 0, "still the bare JID");
    check(strcmp(ev->jid->full, "carol@localhost/r") == 0, "the full JID to be");
    return GR_OK;
}

static void test_opening(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    struct hs *c = h_connect(s.h, "carol@localhost");
    clear();
    rec.act[GR_HOOK_session_opening_allowed_for_user] = deny;
    assert_int_equal(h_bind(c, "r"), GR_NOT_ALLOWED);
    expect_trace("user_open_session session_opening_allowed_for_user forbidden_session");
    rec.act[GR_HOOK_session_opening_allowed_for_user] = deny_and_stop;
    assert_int_equal(h_bind(c, "r"), GR_NOT_ALLOWED);
    expect_trace("user_open_session session_opening_allowed_for_user forbidden_session");
    rec.act[GR_HOOK_session_opening_allowed_for_user] = NULL;
    rec.verdict[GR_HOOK_session_opening_allowed_for_user] = GR_STOP; /* allowed: a value hook */
    rec.verdict[GR_HOOK_user_open_session] = GR_STOP;
    assert_int_equal(h_bind(c, "r"), GR_NOT_ALLOWED);
    expect_trace("user_open_session forbidden_session");
    rec.act[GR_HOOK_user_open_session] = look_at_request;
    assert_int_equal(h_bind(c, "r"), GR_COND_NONE);
    expect_trace(OPEN);
    assert_string_equal(h_full(c), "carol@localhost/r");
    end(&s);
}

static void test_opening_waits(void **state)
{
    static const enum gr_hook_id ids[] = { GR_HOOK_user_open_session,
                                           GR_HOOK_session_opening_allowed_for_user };
    struct setting s;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(ids); i++) {
        begin(&s, false);
        struct hs *c = h_connect(s.h, "carol@localhost");
        rec.hold[ids[i]] = true;
        clear();
        assert_int_equal((int)h_bind(c, "r"), -1);
        say(&s, "meanwhile");
        h_expect_body(s.bob, NULL, "meanwhile");
        resume(s.h, 0, GR_OK);
        assert_int_equal(h_bound(c), GR_COND_NONE);
        h_disconnect(&c, true);
        c = h_connect(s.h, "carol@localhost"); /* gone before it may come in */
        clear();
        assert_int_equal((int)h_bind(c, "r"), -1);
        h_disconnect(&c, false);
        resume(s.h, 1, GR_OK);
        assert_null(strstr(rec.trace, "sm_register_connection"));
        assert_null(strstr(rec.trace, "user_terminate"));
        c = h_connect(s.h, "carol@localhost"); /* refused after some thought */
        clear();
        assert_int_equal((int)h_bind(c, "r"), -1);
        resume(s.h, 2, GR_STOP);
        assert_int_equal(h_bound(c), i == 0 ? GR_NOT_ALLOWED : GR_COND_NONE);
        end(&s);
    }
}

/* Two sessions want the same resource while both wait: there is one in the end. */
static void test_opening_race(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    struct hs *a = h_connect(s.h, "carol@localhost"), *b = h_connect(s.h, "carol@localhost");
    rec.hold[GR_HOOK_user_open_session] = true;
    assert_int_equal((int)h_bind(a, "r"), -1);
    assert_int_equal((int)h_bind(b, "r"), -1);
    resume(s.h, 1, GR_OK);
    assert_int_equal(h_bound(b), GR_COND_NONE);
    resume(s.h, 0, GR_OK);
    assert_int_equal(h_bound(a), GR_COND_NONE);
    h_expect_closed(&b, "conflict");
    feed(s.alice, "carol@localhost/r", "hi");
    h_run(s.h);
    h_expect_body(a, NULL, "hi");
    end(&s);
}

static void test_replacing(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    struct hs *old = h_login(s.h, "carol@localhost/r");
    h_set_available(old, 0);
    clear();
    struct hs *now = h_login(s.h, "carol@localhost/r");
    expect_trace("user_open_session session_opening_allowed_for_user user_terminate unset_presence "
                 "sm_remove_connection reroute_unacked_messages sm_register_connection");
    h_expect_closed(&old, "conflict");
    assert_null(h_closed(now));
    end(&s);
}

/* --- ending --- */

#define END "user_terminate sm_remove_connection reroute_unacked_messages"
#define END_AVAILABLE "user_terminate unset_presence sm_remove_connection reroute_unacked_messages"

static enum gr_end_reason seen_reason;
static bool seen_in_table;

static enum gr_verdict look_at_end(struct gr_mod *self, void *event)
{
    struct gr_session_ev *ev = event;

    seen_reason = ev->reason;
    seen_in_table = gr_account_find(self, ev->jid) != NULL;
    return GR_OK;
}

static void test_ending(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.act[GR_HOOK_user_terminate] = look_at_end;
    h_disconnect(&s.bob, true); /* </stream:stream> asks nobody */
    expect_trace(END);
    assert_int_equal(seen_reason, GR_END_NORMAL);
    assert_true(seen_in_table);
    h_set_available(s.alice, 0);
    expect_trace("set_presence");
    h_set_available(s.alice, 1);
    expect_trace("set_presence");
    h_disconnect(&s.alice, false);
    expect_trace("user_socket_error " END_AVAILABLE);
    assert_int_equal(seen_reason, GR_END_ERROR);
    end(&s);
}

static void test_presence_in_the_table(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_set_unavailable(s.bob); /* never was: no hook */
    expect_trace("");
    h_set_available(s.bob, 3);
    assert_int_equal(gr_session_priority(h_session(s.bob)), 3);
    h_set_unavailable(s.bob);
    assert_int_equal(gr_session_priority(h_session(s.bob)), 0);
    expect_trace("set_presence unset_presence");
    h_disconnect(&s.bob, true);
    expect_trace(END);
    end(&s);
}

static void close_session(struct setting *s, struct hs *hs, bool hard)
{
    struct gr_mod *self = h_mod(s->h, "second", h_jid(hs)->bare);

    gr_session_close(self, h_session(hs), "policy-violation", NULL, hard);
    expect_trace(""); /* after the current event, not in it */
    h_run(s->h);
}

static void test_stop_requests(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.verdict[GR_HOOK_user_stop_request] = GR_STOP; /* somebody keeps it */
    close_session(&s, s.bob, false);
    expect_trace("user_stop_request");
    assert_null(h_closed(s.bob));
    say(&s, "still there");
    h_expect_body(s.bob, NULL, "still there");
    clear();
    close_session(&s, s.bob, true);
    expect_trace(END);
    h_expect_closed(&s.bob, "policy-violation");
    rec.verdict[GR_HOOK_user_stop_request] = GR_OK;
    close_session(&s, s.alice, false);
    expect_trace("user_stop_request " END);
    h_expect_closed(&s.alice, "policy-violation");
    end(&s);
}

static void test_socket_errors_may_be_survived(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.verdict[GR_HOOK_user_socket_error] = GR_STOP;
    struct gr_session *kept = h_session(s.bob);
    uint64_t id = gr_session_id(kept);
    h_disconnect(&s.bob, false);
    expect_trace("user_socket_error");
    h_enter(s.h, s.bob_bare);
    assert_ptr_equal(gr_session_find(NULL, NULL, id), kept);
    assert_int_equal(gr_session_state(kept), GR_S_BOUND);
    say(&s, "x"); /* nowhere to write it to; nothing is lost */
    h_expect_nothing(s.alice);
    clear();
    h_enter(s.h, s.bob_bare);
    gr_session_close(NULL, kept, NULL, NULL, true);
    h_run(s.h);
    h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, NULL);
    end(&s);
}

/* Sessions that wait for what they have sent do not count: nobody else has to go for them. */
static void test_limit_of_sessions(void **state)
{
    (void)state;
    memset(&rec, 0, sizeof(rec));
    h_module(&recorder);
    struct h *h = h_start("[host localhost]\nmax_sessions = 2\n");
    rec.hold[GR_HOOK_user_send_message] = true;
    struct hs *one = h_login(h, "bob@localhost/1"), *two = h_login(h, "bob@localhost/2");
    h_send(one, "<message to='localhost'><body>hold</body></message>");
    struct hs *three = h_login(h, "bob@localhost/3");
    h_expect_closed(&one, "conflict");
    assert_null(h_closed(two));
    assert_null(h_closed(three));
    resume(h, 0, GR_STOP);
    h_stop(&h);
}

/* --- moving home: what modules keep in a session before it is anybody --- */

struct kept {
    char *text;
};
static unsigned released;

static void release_kept(void *data)
{
    gr_free(((struct kept *)data)->text);
    released++;
}

static const struct gr_slot kept_slot = GR_SLOT(struct kept, 1, release_kept);
static const struct gr_slot *const keeper_slots[] = { &kept_slot, NULL };

static enum gr_verdict keep_something(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct kept *k = gr_session_slot(self, ev->session, &kept_slot);

    if (k->text == NULL)
        k->text = gr_strdup("from before");
    else
        note("kept", NULL);
    return GR_STOP;
}

static const struct gr_hook keeper_hooks[] = {
    GR_ON(user_send_xmlel, 1, keep_something), GR_HOOK_END
};
static const struct gr_module keeper = { .name = "keeper", .summary = "test",
                                         .hooks = keeper_hooks, .slots = keeper_slots };

static void test_slots_move_home(void **state)
{
    (void)state;
    memset(&rec, 0, sizeof(rec));
    released = 0;
    h_module(&keeper);
    struct h *h = h_start(NULL);
    for (int i = 0; i < 2; i++) { /* with several loops, one of the two moves */
        struct hs *s = h_accept(h, "localhost");
        h_send(s, "<first xmlns='t'/>");
        h_authenticate(s, h_user_near(h, "alice@localhost", i));
        h_send(s, "<second xmlns='t'/>");
        expect_trace("kept");
        assert_int_equal(h_bind(s, "r"), GR_COND_NONE);
        h_send(s, "<third xmlns='t'/>");
        expect_trace("kept");
        assert_int_equal(released, i);
        h_disconnect(&s, true);
        assert_int_equal(released, i + 1);
    }
    h_stop(&h);
}

/* --- a host goes by a reload: its sessions end while its modules are still there --- */

static void test_host_goes(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_reload(s.h, "[host localhost]\n[host example.com]\n", NULL);
    struct hs *c = h_login(s.h, "carol@example.com/r");
    h_set_available(c, 0);
    clear();
    h_reload(s.h, "[host localhost]\n", NULL);
    expect_trace(END_AVAILABLE);
    h_expect_closed(&c, "host-gone");
    say(&s, "the other one runs on");
    h_expect_body(s.bob, NULL, "the other one runs on");
    end(&s);
}

/* --- requests to the session engine (hooks.md 2.3) --- */

static enum gr_verdict ask_everything(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, ev->to, ev->from);

    (void)self;
    gr_el_add_text(st, NULL, NULL, "body", "routed");
    gr_ev_request_route(&ev->ev, st);
    gr_ev_request_write(&ev->ev, gr_nonza_new("t", "w1"));
    gr_ev_request_write(&ev->ev, gr_nonza_new("t", "w2"));
    return GR_STOP;
}

static enum gr_verdict ask_to_stop(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    gr_ev_request_stop(&ev->ev, "reset");
    return ask_everything(self, event);
}

static enum gr_verdict ask_to_stop_at_once(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    gr_ev_request_hard_stop(&ev->ev, "undefined-condition");
    return ask_everything(self, event);
}

static void test_requests(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.act[GR_HOOK_user_send_message] = ask_everything;
    say(&s, "x");
    expect_trace(SEND " xmpp_send_element xmpp_send_element " RECEIVE);
    h_expect_xml(s.alice, "<w1 xmlns='t'/>");
    h_expect_xml(s.alice, "<w2 xmlns='t'/>");
    h_expect_body(s.alice, NULL, "routed");
    rec.act[GR_HOOK_user_send_message] = ask_to_stop;
    rec.verdict[GR_HOOK_user_stop_request] = GR_STOP;
    say(&s, "x");
    h_expect_xml(s.alice, "<w1 xmlns='t'/>");
    h_expect_xml(s.alice, "<w2 xmlns='t'/>");
    h_expect_body(s.alice, NULL, "routed");
    assert_non_null(strstr(rec.trace, "user_stop_request"));
    assert_null(h_closed(s.alice));
    rec.verdict[GR_HOOK_user_stop_request] = GR_OK;
    say(&s, "x");
    h_drop_all(s.alice);
    h_expect_closed(&s.alice, "reset");
    s.alice = h_login(s.h, "alice@localhost/phone");
    rec.act[GR_HOOK_user_send_message] = ask_to_stop_at_once;
    clear();
    say(&s, "x");
    expect_trace(SEND " " END); /* every other request is ignored */
    h_expect_nothing(s.alice);
    h_expect_closed(&s.alice, "undefined-condition");
    h_expect_nothing(s.bob);
    end(&s);
}

/* --- accounts --- */

static void test_accounts(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.names = true;
    assert_int_equal(h_user_create(s.h, "carol@localhost", "pw"), GR_R_OK);
    expect_trace("register_user(carol)");
    assert_int_equal(h_user_create(s.h, "carol@localhost", "pw"), GR_R_FALSE);
    expect_trace("");
    struct hs *c = h_login(s.h, "carol@localhost/r");
    clear();
    assert_int_equal(h_user_delete(s.h, "carol@localhost"), GR_R_OK);
    expect_trace("remove_user(carol) user_terminate(r) sm_remove_connection(r) "
                 "reroute_unacked_messages(r)");
    h_expect_closed(&c, "not-authorized");
    assert_int_equal(h_user_delete(s.h, "carol@localhost"), GR_R_NONE);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_opening_waits),
        cmocka_unit_test(test_opening_race),
        cmocka_unit_test(test_replacing),
        cmocka_unit_test(test_ending),
        cmocka_unit_test(test_presence_in_the_table),
        cmocka_unit_test(test_stop_requests),
        cmocka_unit_test(test_socket_errors_may_be_survived),
        cmocka_unit_test(test_limit_of_sessions),
        cmocka_unit_test(test_slots_move_home),
        cmocka_unit_test(test_host_goes),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_accounts),
    };

    return H_RUN("hooks_session", cases);
}
