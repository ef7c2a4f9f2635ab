/* tests/mod/test_hooks_order.c: which hooks the core runs for a stanza, in which order, and what
 * their verdicts do (hooks.md 1.2, 1.3 and 3), seen by a module that records every one of them. */
#include "hooks_recorder.h"

/* --- order --- */

static void test_message(void **state)
{
    struct setting s;

    (void)state;
    for (int same = 0; same < 2; same++) {
        begin(&s, same);
        say(&s, "hi");
        expect_trace(SEND " " ROUTE " " RECEIVE);
        h_expect_body(s.bob, "alice@localhost/phone", "hi");
        end(&s);
    }
}

static void test_message_to_bare(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_set_available(s.bob, 0);
    char *full = gr_asprintf("%s/y", s.bob_bare);
    struct hs *y = h_login(s.h, full);
    gr_free(full);
    h_set_available(y, 0);
    clear();
    h_sendf(s.alice, "<message to='%s'><body>hi</body></message>", s.bob_bare);
    expect_trace(SEND " " ROUTE " " RECEIVE " " RECEIVE); /* filters run once, not per resource */
    end(&s);
}

static void test_iq_and_its_answer(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_sendf(s.alice, "<iq type='get' id='1' to='%s/x'><q xmlns='z'/></iq>", s.bob_bare);
    expect_trace("user_send_packet user_send_iq " ROUTE " user_receive_packet user_receive_iq "
                 "xmpp_presend_element xmpp_send_element");
    h_send(s.alice, "<iq type='get' id='2' to='localhost'><q xmlns='z'/></iq>");
    expect_trace("user_send_packet user_send_iq " ROUTE " " ROUTE " user_receive_packet "
                 "user_receive_iq xmpp_presend_element xmpp_send_element");
    end(&s);
}

/* The core routes no presence of clients (hooks.md 3.2, 7). */
static void test_presence(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_send(s.alice, "<presence/>");
    expect_trace("user_send_packet user_send_presence");
    h_sendf(s.alice, "<presence to='%s/x'/>", s.bob_bare);
    expect_trace("user_send_packet user_send_presence");
    h_expect_nothing(s.bob);
    end(&s);
}

static void test_other_elements(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.verdict[GR_HOOK_user_send_xmlel] = GR_STOP; /* a module knows it */
    h_send(s.alice, "<active xmlns='urn:xmpp:csi:0'/>");
    expect_trace("user_send_packet user_send_xmlel");
    assert_null(h_closed(s.alice));
    rec.verdict[GR_HOOK_user_send_xmlel] = GR_OK;
    h_send(s.alice, "<active xmlns='urn:xmpp:csi:0'/>");
    expect_trace("user_send_packet user_send_xmlel user_terminate sm_remove_connection "
                 "reroute_unacked_messages");
    h_expect_closed(&s.alice, "unsupported-stanza-type");
    end(&s);
}

static void test_before_binding(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    struct hs *c = h_connect(s.h, "carol@localhost");
    clear();
    rec.verdict[GR_HOOK_user_send_xmlel] = GR_STOP;
    h_send(c, "<enable xmlns='urn:xmpp:sm:3'/>");
    expect_trace("user_send_xmlel");
    h_send(c, "<message to='localhost'><body>too early</body></message>");
    h_run(s.h);
    assert_null(strstr(rec.trace, "user_send_packet"));
    assert_null(strstr(rec.trace, "filter_packet"));
    clear();
    h_disconnect(&c, true);
    expect_trace(""); /* never was in the table */
    end(&s);
}

/* --- verdicts --- */

static void expect_stop(struct setting *s, enum gr_hook_id id, const char *trace, bool arrives)
{
    rec.verdict[id] = GR_STOP;
    say(s, "hi");
    expect_trace(trace);
    if (arrives)
        h_expect_body(s->bob, NULL, "hi");
    h_expect_nothing(s->bob);
    h_expect_nothing(s->alice);
    rec.verdict[id] = GR_OK;
    assert_int_equal(h_unhandled(s->alice), 0);
}

static void test_stop(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    expect_stop(&s, GR_HOOK_user_send_packet, "user_send_packet", false);
    expect_stop(&s, GR_HOOK_user_send_message, SEND, false);
    assert_int_equal(second_calls, 0); /* the chain ended there */
    expect_stop(&s, GR_HOOK_filter_packet, SEND " " ROUTE " " RECEIVE, true);
    expect_stop(&s, GR_HOOK_filter_local_packet, SEND " " ROUTE " " RECEIVE, true);
    expect_stop(&s, GR_HOOK_user_receive_packet, SEND " " ROUTE " user_receive_packet", false);
    expect_stop(&s, GR_HOOK_user_receive_message,
                SEND " " ROUTE " user_receive_packet user_receive_message", false);
    expect_stop(&s, GR_HOOK_xmpp_presend_element,
                SEND " " ROUTE " user_receive_packet user_receive_message xmpp_presend_element",
                false);
    expect_stop(&s, GR_HOOK_xmpp_send_element, SEND " " ROUTE " " RECEIVE, true);
    end(&s);
}

static void test_drop(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.verdict[GR_HOOK_filter_packet] = GR_DROP;
    say(&s, "a");
    expect_trace(SEND " filter_packet");
    rec.verdict[GR_HOOK_filter_packet] = GR_OK;
    rec.verdict[GR_HOOK_filter_local_packet] = GR_DROP;
    say(&s, "b");
    expect_trace(SEND " " ROUTE);
    rec.verdict[GR_HOOK_filter_local_packet] = GR_OK;
    h_expect_nothing(s.alice); /* silently */
    h_expect_nothing(s.bob);
    h_log(s.h);
    rec.verdict[GR_HOOK_user_send_message] = GR_DROP; /* no filter: a failed handler */
    say(&s, "c");
    expect_trace(SEND " " ROUTE " " RECEIVE);
    h_expect_body(s.bob, NULL, "c");
    assert_non_null(strstr(h_log(s.h), "GR_DROP"));
    end(&s);
}

static void test_pending_where_nothing_can_wait(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.verdict[GR_HOOK_user_receive_message] = GR_PENDING;
    say(&s, "a");
    expect_trace(SEND " " ROUTE " " RECEIVE);
    h_expect_body(s.bob, NULL, "a");
    rec.verdict[GR_HOOK_user_receive_message] = GR_OK;
    rec.hold[GR_HOOK_user_receive_message] = true; /* gr_hold says no there */
    say(&s, "hold");
    h_expect_body(s.bob, NULL, "hold");
    assert_int_equal(rec.holds, 0);
    end(&s);
}

/* --- failing handlers leave nothing behind --- */

static enum gr_verdict meddle_and_fail(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;
    struct gr_stanza *st = gr_ev_edit(ev);

    (void)self;
    gr_el_add_text(st, NULL, NULL, "spoilt", "yes");
    gr_acc_set(ev->ev.acc, "t", "before", NULL);
    gr_acc_set(ev->ev.acc, "t", "new", "1");
    gr_acc_set_permanent(ev->ev.acc, "t", "forever", "1");
    gr_ev_request_write(&ev->ev, gr_nonza_new("t", "written"));
    gr_ev_request_hard_stop(&ev->ev, "policy-violation");
    return GR_FAIL;
}

static enum gr_verdict note_before(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    (void)self;
    gr_acc_set(ev->ev.acc, "t", "before", "kept");
    return GR_OK;
}

static void look_for_traces(struct gr_stanza_ev *ev)
{
    const char *before = gr_acc_get(ev->ev.acc, "t", "before");

    check(before != NULL && strcmp(before, "kept") == 0, "a note is as before the failing handler");
    check(gr_acc_get(ev->ev.acc, "t", "new") == NULL, "the failing handler's note is gone");
    check(gr_acc_get(ev->ev.acc, "t", "forever") == NULL, "its permanent note is gone");
    check(gr_stanza_child(ev->stanza, NULL, "spoilt") == NULL, "its change is gone");
}

static void test_fail_takes_everything_back(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.act[GR_HOOK_user_send_packet] = note_before;
    rec.act[GR_HOOK_user_send_message] = meddle_and_fail;
    second_look = look_for_traces;
    say(&s, "hi");
    assert_int_equal(second_calls, 1);
    expect_trace(SEND " " ROUTE " " RECEIVE);
    h_expect_xmlf(s.bob, "<message from='alice@localhost/phone' to='%s/x' type='chat'>"
                  "<body>hi</body></message>", s.bob_bare);
    h_expect_nothing(s.alice);
    assert_null(h_closed(s.alice));
    end(&s);
}

/* --- the accumulator and the stanza on their way --- */

static enum gr_verdict leave_notes(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    (void)self;
    gr_acc_set(ev->ev.acc, "t", "here", "1");
    gr_acc_set_permanent(ev->ev.acc, "t", "there", "1");
    check(gr_acc_origin(ev->ev.acc) == GR_FROM_C2S, "the origin");
    return GR_OK;
}

static enum gr_verdict still_here(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    (void)self;
    check(gr_acc_get(ev->ev.acc, "t", "here") != NULL, "notes last to filter_packet");
    return GR_OK;
}

static enum gr_verdict only_there(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    (void)self;
    check(gr_acc_get(ev->ev.acc, "t", "here") == NULL, "local delivery strips notes");
    check(gr_acc_get(ev->ev.acc, "t", "there") != NULL, "but not permanent ones");
    check(gr_acc_origin(ev->ev.acc) == GR_FROM_C2S, "the origin at the recipient's");
    return GR_OK;
}

static void test_notes(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.act[GR_HOOK_user_send_message] = leave_notes;
    rec.act[GR_HOOK_filter_packet] = still_here;
    rec.act[GR_HOOK_filter_local_packet] = only_there;
    rec.act[GR_HOOK_user_receive_message] = only_there;
    say(&s, "hi");
    expect_trace(SEND " " ROUTE " " RECEIVE);
    end(&s);
}

static enum gr_verdict add_mark(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    (void)self;
    gr_el_add(gr_ev_edit(ev), NULL, "t", "mark");
    return GR_OK;
}

static enum gr_verdict mark_x(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    if (strcmp(gr_session_jid(ev->session)->resource, "x") == 0)
        return add_mark(self, event);
    return GR_OK;
}

static void test_changed_stanzas(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.act[GR_HOOK_user_send_message] = add_mark;
    rec.act[GR_HOOK_filter_local_packet] = add_mark;
    say(&s, "hi");
    h_expect_xml(s.bob, "<message _='more'><body>hi</body><mark xmlns='t'/><mark xmlns='t'/>"
                        "</message>");
    memset(rec.act, 0, sizeof(rec.act));
    char *full = gr_asprintf("%s/y", s.bob_bare);
    struct hs *y = h_login(s.h, full);
    gr_free(full);
    h_set_available(s.bob, 0);
    h_set_available(y, 0);
    rec.act[GR_HOOK_user_receive_message] = mark_x; /* one recipient's copy only */
    h_sendf(s.alice, "<message to='%s'><body>hi</body></message>", s.bob_bare);
    h_expect_xml(s.bob, "<message _='more'><body>hi</body><mark xmlns='t'/></message>");
    h_expect_xmlf(y, "<message from='alice@localhost/phone' to='%s'><body>hi</body></message>",
                  s.bob_bare);
    end(&s);
}

/* --- redirecting --- */

static const struct gr_jid *redirect_to;

/* What says "hi" goes elsewhere; what says "hold" waits. */
static enum gr_verdict redirect(struct gr_mod *self, void *event)
{
    struct gr_stanza_ev *ev = event;

    if (strcmp(body_of(ev->stanza), "hi") == 0)
        gr_ev_redirect(ev, NULL, redirect_to);
    return strcmp(body_of(ev->stanza), "hold") == 0 ? hold(self, &ev->ev) : GR_OK;
}

static void test_redirect(void **state)
{
    struct setting s;

    (void)state;
    for (int i = 0; i < 4; i++) {
        enum gr_hook_id id = i < 2 ? GR_HOOK_filter_packet : GR_HOOK_filter_local_packet;
        begin(&s, false);
        char *full = gr_asprintf("%s/new", h_user_near(s.h, s.bob_bare, i % 2));
        struct hs *to = h_login(s.h, full);
        redirect_to = h_parse_jid(s.h, full);
        gr_free(full);
        clear();
        rec.act[id] = redirect;
        say(&s, "hi");
        expect_trace(SEND " " ROUTE " " RECEIVE); /* each filter once */
        h_expect_body(to, "alice@localhost/phone", "hi");
        h_expect_nothing(s.bob);
        redirect_to = h_parse_jid(s.h, "localhost"); /* and away from accounts */
        say(&s, "hi");
        h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "localhost");
        redirect_to = h_parse_jid(s.h, "x@elsewhere.example");
        say(&s, "hi");
        h_expect_error(s.alice, GR_MESSAGE, GR_REMOTE_SERVER_NOT_FOUND, "x@elsewhere.example");
        end(&s);
    }
}

/* The account it is redirected to waits for something: so does this one, in its turn. */
static void test_redirect_to_a_waiting_account(void **state)
{
    struct setting s;

    (void)state;
    for (int same = 0; same < 2; same++) {
        begin(&s, false);
        char *full = gr_asprintf("%s/new", h_user_near(s.h, s.bob_bare, same));
        struct hs *to = h_login(s.h, full);
        redirect_to = h_parse_jid(s.h, full);
        rec.act[GR_HOOK_filter_local_packet] = redirect;
        h_sendf(s.alice, "<message to='%s'><body>hold</body></message>", full);
        gr_free(full);
        say(&s, "hi");
        h_expect_nothing(to);
        resume(s.h, 0, GR_OK);
        h_expect_body(to, NULL, "hold");
        h_expect_body(to, NULL, "hi");
        end(&s);
    }
}

/* Both accounts suspended at the step behind the filter. */
static void test_redirect_and_wait_again(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    const char *gone = h_user_near(s.h, s.bob_bare, true);
    redirect_to = h_parse_jid(s.h, gone);
    rec.hold[GR_HOOK_does_user_exist] = true;
    clear();
    h_sendf(s.alice, "<message to='%s'><body>1</body></message>", gone); /* waits: lane of `gone` */
    assert_int_equal(rec.holds, 1);
    rec.act[GR_HOOK_filter_local_packet] = redirect;
    h_sendf(s.alice, "<message to='%s'><body>hi</body></message>", s.bob_bare);
    assert_int_equal(rec.holds, 1); /* behind the other */
    say(&s, "bob is not concerned");
    h_expect_body(s.bob, NULL, "bob is not concerned");
    resume(s.h, 0, GR_OK);
    assert_int_equal(rec.holds, 2);
    resume(s.h, 1, GR_OK);
    h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, gone);
    h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, gone);
    end(&s);
}

/* --- waiting --- */

static void test_pending_holds_the_sessions_later_stanzas(void **state)
{
    struct setting s;
    char full[64];

    (void)state;
    begin(&s, false);
    struct hs *desk = h_login(s.h, "alice@localhost/desk"); /* the same account */
    snprintf(full, sizeof(full), "%s/x", s.bob_bare);
    rec.hold[GR_HOOK_user_send_message] = true;
    clear();
    feed(s.alice, full, "hold 1");
    feed(s.alice, full, "2");
    feed(s.alice, full, "hold 3");
    feed(s.alice, full, "4");
    h_run(s.h);
    expect_trace(SEND); /* the others have not even begun */
    h_expect_nothing(s.bob);
    feed(desk, full, "mine");
    h_run(s.h);
    expect_trace(SEND " " ROUTE " " RECEIVE);
    h_expect_body(s.bob, "alice@localhost/desk", "mine");
    assert_int_equal(h_unhandled(s.alice), 4);
    resume(s.h, 0, GR_OK);
    h_expect_body(s.bob, NULL, "hold 1");
    h_expect_body(s.bob, NULL, "2");
    h_expect_nothing(s.bob);
    resume(s.h, 1, GR_STOP); /* verdicts count as if they had come at once */
    h_expect_body(s.bob, NULL, "4");
    h_expect_nothing(s.bob);
    assert_int_equal(h_unhandled(s.alice), 0);
    end(&s);
}

static void test_pending_blocks_one_account(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    const char *dave = h_user_near(s.h, s.bob_bare, true);
    char full[64], dave_full[64];
    snprintf(full, sizeof(full), "%s/x", s.bob_bare);
    snprintf(dave_full, sizeof(dave_full), "%s/d", dave);
    struct hs *d = h_login(s.h, dave_full);
    rec.hold[GR_HOOK_filter_local_packet] = true;
    feed(s.alice, full, "hold 1");
    h_run(s.h);
    feed(s.alice, full, "2");
    feed(d, full, "3");
    feed(s.alice, full, "hold 4");
    feed(s.alice, full, "5");
    feed(s.alice, dave_full, "to dave");
    h_run(s.h);
    h_expect_nothing(s.bob);
    h_expect_body(d, NULL, "to dave");
    h_enter(s.h, s.bob_bare);
    assert_int_equal(job_lanes(), 1);
    feed(s.bob, dave_full, "from bob"); /* what the account sends does not wait */
    h_run(s.h);
    h_expect_body(d, NULL, "from bob");
    assert_int_equal(rec.holds, 1);
    resume(s.h, 0, GR_OK);
    h_expect_body(s.bob, NULL, "hold 1");
    h_expect_among(s.bob, "<message _='more'><body>2</body></message>");
    h_expect_among(s.bob, "<message _='more'><body>3</body></message>");
    h_expect_nothing(s.bob);
    assert_int_equal(rec.holds, 2);
    resume(s.h, 1, GR_DROP);
    h_expect_body(s.bob, NULL, "5");
    h_expect_nothing(s.bob);
    h_enter(s.h, s.bob_bare);
    assert_int_equal(job_lanes(), 0);
    end(&s);
}

/* A hold that nobody ends is ended after 30 s, as a failed handler. */
static void test_hold_time_out(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.hold[GR_HOOK_user_send_message] = true;
    say(&s, "hold");
    h_advance(s.h, 29999);
    h_expect_nothing(s.bob);
    h_log(s.h);
    h_advance(s.h, 1);
    h_expect_body(s.bob, NULL, "hold");
    assert_non_null(strstr(h_log(s.h), "mod_recorder"));
    resume(s.h, 0, GR_STOP); /* too late: only frees the hold */
    h_expect_nothing(s.bob);
    end(&s);
}

/* What a client sent before it left is worked off; its end waits for that. */
static void test_session_ends_while_its_stanza_waits(void **state)
{
    struct setting s;
    char full[64];

    (void)state;
    for (int clean = 0; clean < 2; clean++) {
        begin(&s, false);
        snprintf(full, sizeof(full), "%s/x", s.bob_bare);
        rec.hold[GR_HOOK_user_send_message] = true;
        rec.names = true;
        feed(s.alice, full, "hold");
        feed(s.alice, full, "last");
        h_run(s.h);
        clear();
        h_disconnect(&s.alice, clean);
        expect_trace(clean ? "" : "user_socket_error(phone)");
        feed(s.bob, "alice@localhost/phone", "are you there?"); /* no more */
        h_run(s.h);
        h_expect_error(s.bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost/phone");
        clear();
        resume(s.h, 0, GR_OK);
        h_expect_body(s.bob, "alice@localhost/phone", "hold");
        h_expect_body(s.bob, "alice@localhost/phone", "last");
        h_expect_nothing(s.bob);
        assert_non_null(strstr(rec.trace, "user_send_message(last)"));
        assert_non_null(strstr(rec.trace, "user_terminate(phone) sm_remove_connection(phone) "
                                          "reroute_unacked_messages(phone)"));
        assert_true(strstr(rec.trace, "user_send_message(last)") <
                    strstr(rec.trace, "user_terminate(phone)"));
        end(&s);
    }
}

/* The recipient's session ends while a stanza for it waits in the filter. */
static void test_recipient_ends_while_a_stanza_waits(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    rec.hold[GR_HOOK_filter_local_packet] = true;
    say(&s, "hold");
    h_disconnect(&s.bob, true);
    resume(s.h, 0, GR_OK);
    h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, NULL);
    end(&s);
}

/* --- nobody there --- */

#define OFFLINE SEND " " ROUTE " does_user_exist offline_message"
#define BOUNCE ROUTE " " RECEIVE

static enum gr_verdict say_it_exists(struct gr_mod *self, void *event)
{
    struct gr_user_ev *ev = event;

    (void)self;
    ev->exists = true;
    return GR_OK;
}

static void test_offline(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_sendf(s.alice, "<message to='%s'><body>x</body></message>", s.bob_bare);
    expect_trace(OFFLINE " " BOUNCE);
    h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, s.bob_bare);
    rec.verdict[GR_HOOK_offline_message] = GR_STOP; /* somebody keeps it */
    h_sendf(s.alice, "<message to='%s'><body>x</body></message>", s.bob_bare);
    expect_trace(OFFLINE);
    h_sendf(s.alice, "<message to='%s/gone' type='chat'><body>x</body></message>", s.bob_bare);
    expect_trace(SEND " " ROUTE " sm_filter_offline_message does_user_exist offline_message");
    h_expect_nothing(s.alice);
    rec.verdict[GR_HOOK_sm_filter_offline_message] = GR_STOP;
    h_sendf(s.alice, "<message to='%s/gone' type='chat'><body>x</body></message>", s.bob_bare);
    expect_trace(SEND " " ROUTE " sm_filter_offline_message");
    h_expect_nothing(s.alice);
    h_sendf(s.alice, "<message to='%s' type='groupchat'><body>x</body></message>", s.bob_bare);
    expect_trace(SEND " " ROUTE " does_user_exist offline_groupchat_message " BOUNCE);
    h_drop_all(s.alice);
    h_send(s.alice, "<message to='nobody@localhost'><body>x</body></message>");
    expect_trace(SEND " " ROUTE " does_user_exist " BOUNCE);
    h_expect_error(s.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "nobody@localhost");
    rec.act[GR_HOOK_does_user_exist] = say_it_exists; /* a handler knows better */
    h_send(s.alice, "<message to='nobody@localhost'><body>x</body></message>");
    expect_trace(OFFLINE);
    h_expect_nothing(s.alice);
    end(&s);
}

static enum gr_verdict let_it_through(struct gr_mod *self, void *event)
{
    (void)self;
    ((struct gr_stanza_ev *)event)->deliver = true;
    return GR_OK;
}

static void test_subscription(void **state)
{
    struct setting s;

    (void)state;
    begin(&s, false);
    h_set_available(s.bob, -1);
    for (int i = 0; i < 3; i++) {
        struct gr_mod *self = h_mod(s.h, "second", "alice@localhost");
        rec.act[GR_HOOK_roster_in_subscription] = i > 0 ? let_it_through : NULL;
        clear();
        gr_send(self, gr_presence_new(GR_SUBSCRIBE, h_parse_jid(s.h, "alice@localhost"),
                                      h_parse_jid(s.h, i < 2 ? s.bob_bare : "nobody@localhost")));
        h_run(s.h);
        if (i == 1)
            h_expect(s.bob, GR_PRESENCE, GR_SUBSCRIBE, "alice@localhost");
        h_expect_nothing(s.bob);
        if (i != 1)
            expect_trace(ROUTE " roster_in_subscription");
    }
    h_expect_nothing(s.alice);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_message_to_bare),
        cmocka_unit_test(test_iq_and_its_answer),
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_other_elements),
        cmocka_unit_test(test_before_binding),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_pending_where_nothing_can_wait),
        cmocka_unit_test(test_fail_takes_everything_back),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_changed_stanzas),
        cmocka_unit_test(test_redirect),
        cmocka_unit_test(test_redirect_to_a_waiting_account),
        cmocka_unit_test(test_redirect_and_wait_again),
        cmocka_unit_test(test_pending_holds_the_sessions_later_stanzas),
        cmocka_unit_test(test_pending_blocks_one_account),
        cmocka_unit_test(test_hold_time_out),
        cmocka_unit_test(test_session_ends_while_its_stanza_waits),
        cmocka_unit_test(test_recipient_ends_while_a_stanza_waits),
        cmocka_unit_test(test_offline),
        cmocka_unit_test(test_subscription),
    };

    return H_RUN("hooks_order", cases);
}
