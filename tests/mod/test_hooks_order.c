/* tests/mod/test_hooks_order.c: which hooks the core runs, in which order, and what their verdicts
 * do (hooks.md 1.2, 1.3 and 3), seen by a module that records every one of them. */
#include "harness.h"

#include "loop/loop.h"
#include "route/route.h"

#include <stdio.h>

/* --- the recorder --- */

#define STANZA_HOOKS(X)                                                                            \
    X(user_send_packet) X(user_send_message) X(user_send_iq) X(user_send_presence)                 \
    X(user_send_xmlel) X(user_receive_packet) X(user_receive_message) X(user_receive_iq)           \
    X(user_receive_presence) X(user_receive_xmlel) X(xmpp_presend_element) X(xmpp_send_element)    \
    X(filter_packet) X(filter_local_packet) X(offline_message) X(offline_groupchat_message)        \
    X(sm_filter_offline_message) X(roster_in_subscription)
#define SESSION_HOOKS(X)                                                                           \
    X(user_open_session) X(session_opening_allowed_for_user) X(forbidden_session)                  \
    X(sm_remove_connection) X(set_presence) X(unset_presence) X(user_stop_request)                 \
    X(user_socket_closed) X(user_socket_error) X(user_terminate) X(reroute_unacked_messages)

#define HOLDS 16
static struct {
    char trace[8192];
    bool names;                              /* trace says which stanza and which session */
    enum gr_verdict verdict[GR_HOOK_COUNT];
    bool hold[GR_HOOK_COUNT];                /* stanzas whose body begins with "hold", all others */
    enum gr_verdict (*act[GR_HOOK_COUNT])(struct gr_mod *self, void *ev);
    struct gr_hold *held[HOLDS];
    struct loop *held_on[HOLDS];
    unsigned holds;
    const char *wrong;                       /* a handler found something that must not be */
} rec;

static void check(bool right, const char *what)
{
    if (!right && rec.wrong == NULL)
        rec.wrong = what;
}

static void note(const char *name, const char *detail)
{
    size_t n = strlen(rec.trace);

    if (rec.names && detail != NULL)
        snprintf(rec.trace + n, sizeof(rec.trace) - n, "%s%s(%s)", n > 0 ? " " : "", name, detail);
    else
        snprintf(rec.trace + n, sizeof(rec.trace) - n, "%s%s", n > 0 ? " " : "", name);
}

static enum gr_verdict hold(struct gr_mod *self, struct gr_ev *ev)
{
    struct gr_hold *h = gr_hold(self, ev);

    if (h == NULL || rec.holds == HOLDS)
        return GR_FAIL;
    rec.held_on[rec.holds] = loop_self();
    rec.held[rec.holds++] = h;
    return GR_PENDING;
}

static enum gr_verdict decide(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev, bool wait)
{
    if (rec.act[id] != NULL)
        return rec.act[id](self, ev);
    return wait ? hold(self, ev) : rec.verdict[id];
}

static bool lives_here(const struct gr_jid *jid)
{
    return jid->node == NULL || loop_home(jid->hash) == loop_self();
}

static const char *body_of(const struct gr_stanza *st)
{
    const struct gr_el *body = gr_stanza_child(st, GR_NS_CLIENT, "body");

    return body != NULL ? gr_el_text(body, NULL) : "";
}

static enum gr_verdict on_stanza(struct gr_mod *self, enum gr_hook_id id, const char *name,
                                 struct gr_stanza_ev *ev)
{
    bool sending = strncmp(name, "user_send", 9) == 0;
    bool receiving = strncmp(name, "user_receive", 12) == 0 || strncmp(name, "xmpp_", 5) == 0;

    note(name, body_of(ev->stanza));
    check(ev->from != NULL && ev->to != NULL, "an event has both addresses");
    check(ev->ev.acc != NULL, "a stanza event has an accumulator");
    check((ev->session != NULL) == (sending || receiving), "the session of a stanza event");
    check((ev->ev.host == NULL) == (id == GR_HOOK_filter_packet), "the host of a chain");
    if (sending)
        check(lives_here(ev->from), "user_send_* runs where the sender lives");
    else if (id != GR_HOOK_filter_packet)
        check(lives_here(ev->to), "it runs where the recipient lives");
    if (ev->session != NULL)
        check(gr_session_host(ev->session) == ev->ev.host, "the session's host");
    return decide(self, id, &ev->ev, rec.hold[id] && strncmp(body_of(ev->stanza), "hold", 4) == 0);
}

static enum gr_verdict on_session(struct gr_mod *self, enum gr_hook_id id, const char *name,
                                  struct gr_session_ev *ev)
{
    note(name, ev->jid->resource);
    check(ev->session != NULL && ev->ev.host != NULL, "a session event has its session");
    check(lives_here(ev->jid), "a session lives at home");
    return decide(self, id, &ev->ev, rec.hold[id]);
}

#define STANZA_HANDLER(hook)                                                                       \
    static enum gr_verdict on_##hook(struct gr_mod *self, struct gr_stanza_ev *ev)                 \
    {                                                                                              \
        return on_stanza(self, GR_HOOK_##hook, #hook, ev);                                         \
    }
#define SESSION_HANDLER(hook)                                                                      \
    static enum gr_verdict on_##hook(struct gr_mod *self, struct gr_session_ev *ev)                \
    {                                                                                              \
        return on_session(self, GR_HOOK_##hook, #hook, ev);                                        \
    }
STANZA_HOOKS(STANZA_HANDLER)
SESSION_HOOKS(SESSION_HANDLER)

static void on_register(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("sm_register_connection", ev->jid->resource);
    check(gr_session_state(ev->session) == GR_S_BOUND, "bound when it is registered");
    check(gr_account_find(self, ev->jid) != NULL, "in the table when it is registered");
}

static enum gr_verdict on_exist(struct gr_mod *self, struct gr_user_ev *ev)
{
    note("does_user_exist", ev->jid->node);
    return decide(self, GR_HOOK_does_user_exist, &ev->ev, rec.hold[GR_HOOK_does_user_exist]);
}

static void on_registered(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    note("register_user", ev->jid->node);
    check(lives_here(ev->jid), "register_user runs where the account lives");
}

static enum gr_verdict on_removed(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    note("remove_user", ev->jid->node);
    check(lives_here(ev->jid), "remove_user runs where the account lives");
    return GR_OK;
}

#define ON(hook) GR_ON(hook, 5, on_##hook),
static const struct gr_hook recorder_hooks[] = {
    STANZA_HOOKS(ON) SESSION_HOOKS(ON)
    GR_ON(sm_register_connection, 5, on_register),
    GR_ON(does_user_exist, 5, on_exist),
    GR_ON(register_user, 5, on_registered),
    GR_ON(remove_user, 5, on_removed),
    GR_HOOK_END
};
static const struct gr_module recorder = { .name = "recorder", .summary = "test",
                                           .hooks = recorder_hooks };

/* A module behind it in the chain of user_send_message. */
static void (*second_look)(struct gr_stanza_ev *ev);
static unsigned second_calls;

static enum gr_verdict on_second(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    second_calls++;
    if (second_look != NULL)
        second_look(ev);
    return GR_OK;
}

static const struct gr_hook second_hooks[] = {
    GR_ON(user_send_message, 60, on_second), GR_HOOK_END
};
static const struct gr_module second = { .name = "second", .summary = "test",
                                         .hooks = second_hooks };

static void clear(void)
{
    rec.trace[0] = '\0';
}

static void expect_trace(const char *expected)
{
    if (rec.wrong != NULL)
        fail_msg("wrong in a handler: %s", rec.wrong);
    if (strcmp(rec.trace, expected) != 0)
        fail_msg("expected the hooks\n  %s\nbut there ran\n  %s", expected, rec.trace);
    clear();
}

/* Goes on with the hold that was taken as number n. */
static void resume(struct h *h, unsigned n, enum gr_verdict verdict)
{
    assert_true(n < rec.holds);
    loop_enter(rec.held_on[n]);
    gr_resume(rec.held[n], verdict);
    h_run(h);
}

/* --- alice with her phone, bob with x; neither trace nor output so far --- */

struct setting {
    struct h *h;
    struct hs *alice, *bob;
    char *bob_bare;
};

static void begin(struct setting *s, bool same_loop)
{
    memset(&rec, 0, sizeof(rec));
    second_look = NULL;
    second_calls = 0;
    h_module(&recorder);
    h_module(&second);
    s->h = h_start(NULL);
    h_user(s->h, "alice@localhost");
    s->bob_bare = gr_strdup(h_user_near(s->h, "alice@localhost", same_loop));
    char *full = gr_asprintf("%s/x", s->bob_bare);
    s->alice = h_login(s->h, "alice@localhost/phone");
    s->bob = h_login(s->h, full);
    gr_free(full);
    clear();
}

static void end(struct setting *s)
{
    second_look = NULL;
    h_stop(&s->h);
    gr_free(s->bob_bare);
    if (rec.wrong != NULL)
        fail_msg("wrong in a handler: %s", rec.wrong);
}

static void say(struct setting *s, const char *body)
{
    h_sendf(s->alice, "<message to='%s/x' type='chat'><body>%s</body></message>", s->bob_bare,
            body);
}

static void feed(struct hs *from, const char *to, const char *body)
{
    char *xml = gr_asprintf("<message to='%s' type='chat'><body>%s</body></message>", to, body);

    h_feed(from, xml);
    gr_free(xml);
}

#define SEND "user_send_packet user_send_message"
#define ROUTE "filter_packet filter_local_packet"
#define RECEIVE "user_receive_packet user_receive_message xmpp_presend_element xmpp_send_element"

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

    return H_RUN("hooks_order", cases);
}
