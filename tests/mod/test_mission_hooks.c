/* tests/mod/test_mission_hooks.c: rows of the mission's section C (hooks.md) that no other test
 * performs, each by a module T on the chain and the trigger that the row names. What needs a real
 * stream is in test_mission_providers.c and test_mission_streams.c, the order of the chains in
 * general in test_hooks_order.c and test_hooks_session.c. */
#include "harness.h"
#include "trace.h"

#include <stdio.h>

#define INFO "http://jabber.org/protocol/disco#info"
#define ITEMS "http://jabber.org/protocol/disco#items"
#define ROSTER(x) "<query xmlns='jabber:iq:roster'>" x "</query>"

#define SAY(name, word)                                                                            \
    static enum gr_verdict name(struct gr_mod *self, struct gr_stanza_ev *ev)                      \
    {                                                                                              \
        (void)self, (void)ev;                                                                      \
        note(word " ");                                                                            \
        return GR_OK;                                                                              \
    }

static struct h *begin(const char *ini, const struct gr_module *one, const struct gr_module *two)
{
    trace[0] = '\0';
    h_module(one);
    if (two != NULL)
        h_module(two);
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    trace[0] = '\0';
    return h;
}

/* --- C.1 and C.3: hosts --- */

/* The instance of a host in that host's chain; the global chain has one instance for all. */
static enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    assert_ptr_equal(gr_mod_host(self), ev->ev.host);
    note("local(%s) ", gr_host_name(ev->ev.host));
    return GR_OK;
}

static enum gr_verdict on_global(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    assert_null(ev->ev.host);
    note("filter ");
    return GR_OK;
}

static enum gr_verdict on_sent(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    assert_ptr_equal(gr_mod_host(self), ev->ev.host);
    note("send(%s) ", gr_host_name(ev->ev.host));
    return GR_OK;
}

static const struct gr_hook host_hooks[] = {
    GR_ON(user_send_message, 50, on_sent),
    GR_ON(filter_packet, 50, on_global),
    GR_ON(filter_local_packet, 50, on_local),
    GR_HOOK_END
};
static const struct gr_module host_module = { .name = "t", .hooks = host_hooks };

static void chains_of_two_hosts(void **state)
{
    struct h *h = begin("[host localhost]\n[host two.example]\n", &host_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *nurse = h_login(h, "nurse@two.example/n");

    (void)state;
    trace[0] = '\0';
    h_send(alice, "<message to='nurse@two.example/n'><body>1</body></message>");
    expect_trace("send(localhost) filter local(two.example) ");
    h_send(nurse, "<message to='alice@localhost/a'><body>2</body></message>");
    expect_trace("send(two.example) filter local(localhost) ");
    h_send(alice, "<message to='alice@localhost/a'><body>3</body></message>");
    expect_trace("send(localhost) filter local(localhost) ");
    h_stop(&h);
}

/* A module that one host has is not in the chains of the other. */
static void a_module_of_one_host(void **state)
{
    struct h *h = begin("[host localhost]\n[host two.example]\n[mod_offline_stub two.example]\n",
                        &host_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_user(h, "nurse@two.example");
    h_send(alice, "<message to='nurse@two.example'><body>1</body></message>");
    h_expect_nothing(alice);
    h_send(alice, "<message to='bob@localhost'><body>2</body></message>");
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_stop(&h);
}

/* --- C.1: a hook of a module's own --- */

struct greeting {
    struct gr_ev ev;
    char text[32];
};

static enum gr_verdict greet_first(struct gr_mod *self, struct gr_ev *ev)
{
    (void)self;
    strcat(((struct greeting *)(void *)ev)->text, "Good ");
    return GR_OK;
}

static enum gr_verdict greet_second(struct gr_mod *self, struct gr_ev *ev)
{
    (void)self;
    strcat(((struct greeting *)(void *)ev)->text, "morning");
    return GR_STOP;
}

static enum gr_verdict greet_never(struct gr_mod *self, struct gr_ev *ev)
{
    (void)self;
    strcat(((struct greeting *)(void *)ev)->text, "!");
    return GR_OK;
}

static void greeted(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self;
    assert_int_equal(verdict, GR_STOP);
    note("%s", ((struct greeting *)(void *)ev)->text);
}

static enum gr_verdict run_greeting(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct greeting g = { .ev.acc = ev->ev.acc };

    gr_hook_run_custom(self, "greeter.greet", &g.ev, greeted);
    return GR_OK;
}

static const struct gr_hook greeter_hooks[] = { GR_ON(user_send_message, 50, run_greeting),
                                                GR_HOOK_END };
static const struct gr_module greeter = { .name = "greeter", .hooks = greeter_hooks };
static const struct gr_hook polite_hooks[] = {
    GR_ON_CUSTOM("greeter.greet", 90, greet_never),
    GR_ON_CUSTOM("greeter.greet", 60, greet_second),
    GR_ON_CUSTOM("greeter.greet", 20, greet_first),
    GR_HOOK_END
};
static const struct gr_module polite = { .name = "polite", .hooks = polite_hooks };

static void a_module_defines_a_hook(void **state)
{
    struct h *h = begin(NULL, &greeter, &polite);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='alice@localhost/a'/>");
    expect_trace("Good morning");
    h_stop(&h);
}

/* --- C.2: other states, stops --- */

SAY(say_packet, "packet")
SAY(say_message, "message")
SAY(say_iq, "iq")
SAY(say_presence, "presence")
SAY(say_filter, "filter")

static enum gr_verdict say_xmlel(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    note("xmlel ");
    return GR_STOP;
}

static bool stop_iq;

static enum gr_verdict stopping_iq(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    say_iq(self, ev);
    return stop_iq ? GR_STOP : GR_OK;
}

static const struct gr_hook sending_hooks[] = {
    GR_ON(user_send_packet, 50, say_packet),
    GR_ON(user_send_message, 50, say_message),
    GR_ON(user_send_iq, 50, stopping_iq),
    GR_ON(user_send_presence, 50, say_presence),
    GR_ON(user_send_xmlel, 50, say_xmlel),
    GR_ON(filter_packet, 50, say_filter),
    GR_HOOK_END
};
static const struct gr_module sending = { .name = "t", .hooks = sending_hooks };

static void say_everything(struct hs *s)
{
    static const char *const all[] = {
        "<message to='bob@localhost'/>", "<presence/>", "<x xmlns='urn:x'/>",
        "<iq type='get' id='1' to='localhost'><q xmlns='urn:x'/></iq>"
    };

    for (size_t i = 0; i < GR_COUNT(all); i++)
        h_send(s, all[i]);
}

static void before_a_session_only_xmlel(void **state)
{
    struct h *h = begin(NULL, &sending, NULL);
    struct hs *s = h_accept(h, "localhost");

    (void)state;
    stop_iq = false;
    say_everything(s); /* nobody yet */
    expect_trace("xmlel xmlel xmlel xmlel ");
    h_authenticate(s, "alice@localhost");
    say_everything(s); /* no resource yet */
    expect_trace("xmlel xmlel xmlel xmlel ");
    h_expect_nothing(s);
    assert_int_equal(h_bind(s, "a"), GR_COND_NONE);
    h_send(s, "<message to='localhost'/>");
    expect_trace("packet message filter filter "); /* and the error that comes back */
    h_stop(&h);
}

static void a_stopped_iq_is_not_routed(void **state)
{
    struct h *h = begin(NULL, &sending, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");

    (void)state;
    stop_iq = true;
    h_send(alice, "<iq type='get' id='1' to='bob@localhost/b'><q xmlns='urn:x'/></iq>");
    expect_trace("packet iq ");
    h_expect_nothing(bob);
    h_expect_nothing(alice);
    stop_iq = false;
    h_send(alice, "<iq type='get' id='1' to='bob@localhost/b'><q xmlns='urn:x'/></iq>");
    expect_trace("packet iq filter ");
    h_expect(bob, GR_IQ, GR_GET, "alice@localhost/a");
    h_stop(&h);
}

/* --- C.3: from, to and packet changed --- */

static enum gr_verdict change_all(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_jid *from, *to;

    (void)self;
    if (gr_stanza_kind(ev->stanza) != GR_MESSAGE || strcmp(ev->to->bare, "bob@localhost") != 0)
        return GR_OK;
    assert_int_equal(gr_jid_parse("carol@localhost/c", 17, &to), 0);
    assert_int_equal(gr_jid_parse("localhost/notice", 16, &from), 0);
    gr_ev_redirect(ev, from, to);
    gr_jid_free(&from);
    gr_jid_free(&to);
    gr_el_add(gr_ev_edit(ev), NULL, "urn:x", "seen");
    return GR_OK;
}

static const struct gr_hook change_packet_hooks[] = { GR_ON(filter_packet, 50, change_all),
                                                      GR_HOOK_END };
static const struct gr_hook change_local_hooks[] = { GR_ON(filter_local_packet, 50, change_all),
                                                     GR_HOOK_END };
static const struct gr_module changers[] = {
    { .name = "t", .hooks = change_packet_hooks }, { .name = "t", .hooks = change_local_hooks }
};

static void filters_change_from_to_and_packet(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(changers); i++) {
        struct h *h = begin(NULL, &changers[i], NULL);
        struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");
        struct hs *carol = h_login(h, "carol@localhost/c");

        h_send(alice, "<message to='bob@localhost/b' id='1'><body>x</body></message>");
        h_expect_xml(carol, "<message from='localhost/notice' to='carol@localhost/c' id='1'>"
                            "<body>x</body><seen xmlns='urn:x'/></message>");
        h_expect_nothing(bob);
        h_expect_nothing(alice);
        h_stop(&h);
    }
}

/* --- C.7: who may open a session --- */

static enum { ALLOW, DENY, DENY_AND_STOP, SOMETHING_ELSE } first_says;
static bool second_allows;

static enum gr_verdict first_guard(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("first ");
    if (first_says != ALLOW)
        ev->allow = first_says == SOMETHING_ELSE ? 2 : false;
    return first_says == DENY_AND_STOP ? GR_STOP : GR_OK;
}

static enum gr_verdict second_guard(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("second(%s) ", ev->allow ? "allowed" : "denied");
    if (second_allows)
        ev->allow = true;
    return GR_OK;
}

static const struct gr_hook first_guard_hooks[] = {
    GR_ON(session_opening_allowed_for_user, 10, first_guard), GR_HOOK_END
};
static const struct gr_hook second_guard_hooks[] = {
    GR_ON(session_opening_allowed_for_user, 20, second_guard), GR_HOOK_END
};
static const struct gr_module first_guard_module = { .name = "first", .hooks = first_guard_hooks };
static const struct gr_module second_guard_module = { .name = "second",
                                                      .hooks = second_guard_hooks };

static enum gr_cond try_to_open(struct h *h, int says, bool overwritten)
{
    struct hs *s = h_connect(h, "alice@localhost");

    first_says = says;
    second_allows = overwritten;
    trace[0] = '\0';
    return h_bind(s, NULL);
}

static void one_denies_and_the_others_still_run(void **state)
{
    struct h *h = begin(NULL, &first_guard_module, &second_guard_module);

    (void)state;
    assert_int_equal(try_to_open(h, ALLOW, false), GR_COND_NONE);
    expect_trace("first second(allowed) ");
    assert_int_equal(try_to_open(h, DENY, false), GR_NOT_ALLOWED);
    expect_trace("first second(denied) ");
    assert_int_equal(try_to_open(h, DENY, true), GR_COND_NONE);
    expect_trace("first second(denied) ");
    h_stop(&h);
}

static void one_denies_and_stops(void **state)
{
    struct h *h = begin(NULL, &first_guard_module, &second_guard_module);

    (void)state;
    assert_int_equal(try_to_open(h, DENY_AND_STOP, true), GR_NOT_ALLOWED);
    expect_trace("first ");
    h_stop(&h);
}

static void whatever_is_not_allow_refuses(void **state)
{
    struct h *h = begin(NULL, &first_guard_module, NULL);

    (void)state;
    assert_int_equal(try_to_open(h, SOMETHING_ELSE, false), GR_NOT_ALLOWED);
    assert_int_equal(try_to_open(h, ALLOW, false), GR_COND_NONE);
    h_stop(&h);
}

/* An access list, as a module of somebody's own would have it. */
static enum gr_verdict ban(struct gr_mod *self, struct gr_session_ev *ev)
{
    static const char *const banned[] = { "mallory@localhost", "alice@localhost" };

    (void)self;
    for (size_t i = 0; i < GR_COUNT(banned); i++)
        if (strcmp(ev->jid->bare, banned[i]) == 0)
            ev->allow = false;
    return GR_OK;
}

static const struct gr_hook ban_hooks[] = {
    GR_ON(session_opening_allowed_for_user, GR_PRIO_SECURITY, ban), GR_HOOK_END
};
static const struct gr_module ban_module = { .name = "ban", .hooks = ban_hooks };

static void a_ban_list(void **state)
{
    struct h *h = begin(NULL, &ban_module, NULL);
    struct hs *alice = h_connect(h, "alice@localhost"), *bob = h_connect(h, "bob@localhost");

    (void)state;
    assert_int_equal(h_bind(alice, "a"), GR_NOT_ALLOWED);
    assert_int_equal(h_bind(bob, "b"), GR_COND_NONE);
    h_send(bob, "<message to='alice@localhost/a'><body>x</body></message>");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost/a");
    h_stop(&h);
}

/* --- C.8: discovery --- */

static enum gr_verdict add_feature(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    gr_disco_feature(ev, "urn:example:t");
    return GR_OK;
}

static enum gr_verdict add_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    gr_disco_identity(ev, "gateway", "sms", "T");
    return GR_OK;
}

static enum gr_verdict add_item(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    gr_disco_item(ev, "t.localhost", NULL, "T");
    return GR_OK;
}

static enum gr_verdict add_form(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    gr_el_set(ev->result, gr_el_add(ev->result, gr_stanza_payload(ev->result), "jabber:x:data",
                                    "x"), "type", "result");
    return GR_OK;
}

static enum gr_verdict sm_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    note("sm_identity(%s,%s) ", ev->to->bare, ev->subscribed ? "subscriber" : "stranger");
    return GR_OK;
}

static const struct gr_hook disco_hooks[] = {
    GR_ON(disco_local_features, 50, add_feature),
    GR_ON(disco_local_identity, 50, add_identity),
    GR_ON(disco_local_items, 50, add_item),
    GR_ON(disco_info, 50, add_form),
    GR_ON(disco_sm_identity, 50, sm_identity),
    GR_HOOK_END
};
static const struct gr_module disco_module = { .name = "t", .hooks = disco_hooks };

static void discovery_of_the_host(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_disco]\n", &disco_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", "<query xmlns='" INFO "'/>",
                "<query xmlns='" INFO "' _='more'>"
                "<identity category='server' type='im' name='*'/>"
                "<identity category='gateway' type='sms' name='T'/>"
                "<feature var='urn:example:t'/><x xmlns='jabber:x:data' type='result'/></query>");
    h_iq_result(alice, "get", "localhost", "<query xmlns='" ITEMS "'/>",
                "<query xmlns='" ITEMS "'><item jid='t.localhost' name='T'/></query>");
    h_stop(&h);
}

static void discovery_of_an_account(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_disco]\n", &disco_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "alice@localhost", "<query xmlns='" INFO "'/>",
                "<query xmlns='" INFO "' _='more'>"
                "<identity category='account' type='registered'/></query>");
    expect_trace("sm_identity(alice@localhost,subscriber) ");
    h_stop(&h);
}

/* --- C.8: roster --- */

static void on_old_item(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    note("there=%d ", a->result == GR_R_OK);
}

static void on_roster_set(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    note("set(%s) ", ev->item->jid->bare);
    gr_roster_ask(self, gr_ask_new(self, 1, on_old_item), GR_ROSTER_GET_CONTACT, NULL, ev->owner,
                  ev->item->jid, NULL);
}

static enum gr_verdict on_roster_item(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self;
    note("process(%s) ", ev->item->jid->bare);
    return GR_OK;
}

static void on_roster_push(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    (void)self;
    note("push(%s) ", ev->item->jid->bare);
}

static const struct gr_hook roster_hooks[] = {
    GR_ON(roster_set, 50, on_roster_set),
    GR_ON(roster_process_item, 50, on_roster_item),
    GR_ON(roster_push, 50, on_roster_push),
    GR_HOOK_END
};
static const struct gr_module roster_module = { .name = "t", .hooks = roster_hooks };

static void roster_set_comes_before_the_change(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_roster]\n", &roster_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq(alice, "get", NULL, ROSTER(""));
    h_iq_result(alice, "set", NULL, ROSTER("<item jid='x@remote.example'/>"), NULL);
    assert_non_null(strstr(trace, "set(x@remote.example)"));
    assert_non_null(strstr(trace, "there=0"));
    assert_null(strstr(trace, "there=1"));
    assert_true(strstr(trace, "set(") < strstr(trace, "process("));
    assert_true(strstr(trace, "process(") < strstr(trace, "push("));
    h_stop(&h);
}

/* --- C.8: sessions --- */

static char shown[32];

static enum gr_verdict on_set_presence(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    assert_non_null(ev->stanza);
    assert_ptr_equal(gr_session_presence(ev->session), ev->stanza);
    snprintf(shown, sizeof(shown), "%s",
             gr_el_text(gr_stanza_child(ev->stanza, GR_NS_CLIENT, "status"), NULL));
    note("set_presence(%s) ", ev->jid->full);
    return GR_OK;
}

static enum gr_verdict on_removed(struct gr_mod *self, struct gr_session_ev *ev)
{
    static const char *const reasons[] = {
        [GR_END_NORMAL] = "normal", [GR_END_ERROR] = "error", [GR_END_REPLACED] = "replaced",
        [GR_END_RESUMED] = "resumed", [GR_END_SHUTDOWN] = "shutdown"
    };

    (void)self;
    note("removed(%s,%s) ", ev->jid->full, reasons[ev->reason]);
    return GR_OK;
}

static const struct gr_hook session_hooks[] = {
    GR_ON(set_presence, 50, on_set_presence),
    GR_ON(sm_remove_connection, 50, on_removed),
    GR_HOOK_END
};
static const struct gr_module session_module = { .name = "t", .hooks = session_hooks };

static void set_presence_has_the_stanza(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_presence]\n", &session_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<presence><status>busy</status></presence>");
    expect_trace("set_presence(alice@localhost/a) ");
    assert_string_equal(shown, "busy");
    h_stop(&h);
}

static void sessions_are_removed_with_a_reason(void **state)
{
    struct h *h = begin(NULL, &session_module, NULL);
    struct hs *s = h_login(h, "alice@localhost/a"), *again;

    (void)state;
    h_disconnect(&s, true);
    expect_trace("removed(alice@localhost/a,normal) ");
    s = h_login(h, "alice@localhost/a");
    h_disconnect(&s, false);
    expect_trace("removed(alice@localhost/a,error) ");
    s = h_login(h, "alice@localhost/a");
    again = h_login(h, "alice@localhost/a");
    expect_trace("removed(alice@localhost/a,replaced) ");
    h_expect_closed(&s, "conflict");
    h_disconnect(&again, true);
    h_stop(&h);
}

/* --- C.8: what the client gets --- */

SAY(got_packet, "packet")
SAY(got_message, "message")
SAY(got_iq, "iq")
SAY(got_presence, "presence")
SAY(got_xmlel, "xmlel")
SAY(before_write, "presend")

static enum gr_verdict after_write(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    note("sent(%s) ", ev->send_result == 0 ? "ok" : "error");
    return GR_OK;
}

static const struct gr_hook receiving_hooks[] = {
    GR_ON(user_receive_packet, 50, got_packet),
    GR_ON(user_receive_message, 50, got_message),
    GR_ON(user_receive_iq, 50, got_iq),
    GR_ON(user_receive_presence, 50, got_presence),
    GR_ON(user_receive_xmlel, 50, got_xmlel),
    GR_ON(xmpp_presend_element, 50, before_write),
    GR_ON(xmpp_send_element, 50, after_write),
    GR_HOOK_END
};
static const struct gr_module receiving = { .name = "t", .hooks = receiving_hooks };


static void presence_to_a_client(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_presence]\n", &receiving, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");

    (void)state;
    trace[0] = '\0';
    h_send(alice, "<presence to='bob@localhost/b'/>");
    expect_trace("packet presence presend sent(ok) ");
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_stop(&h);
}

static void another_element_to_a_client(void **state)
{
    struct h *h = begin(NULL, &receiving, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    trace[0] = '\0';
    struct gr_session *s = h_session(alice);
    gr_session_deliver(h_mod(h, "t", "alice@localhost"), s, gr_nonza_new("urn:x", "note"));
    h_run(h);
    expect_trace("packet xmlel presend sent(ok) ");
    h_expect_xml(alice, "<note xmlns='urn:x'/>");
    h_stop(&h);
}

static void what_became_of_a_write(void **state)
{
    struct h *h = begin(NULL, &receiving, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");

    (void)state;
    trace[0] = '\0';
    h_send(alice, "<message to='bob@localhost/b'><body>x</body></message>");
    expect_trace("packet message presend sent(ok) ");
    h_break(bob);
    h_feed(alice, "<message to='bob@localhost/b'><body>y</body></message>");
    h_run(h);
    expect_trace("packet message presend sent(error) ");
    h_disconnect(&bob, false);
    h_stop(&h);
}

/* --- C.8: what is not for an offline store --- */

static enum gr_verdict no_archive_results(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    note("filter ");
    return gr_stanza_child(ev->stanza, "urn:xmpp:mam:2", "result") != NULL ? GR_STOP : GR_OK;
}

SAY(say_offline, "offline")

static const struct gr_hook offline_hooks[] = {
    GR_ON(sm_filter_offline_message, 50, no_archive_results),
    GR_ON(offline_message, 1, say_offline),
    GR_HOOK_END
};
static const struct gr_module offline_module = { .name = "t", .hooks = offline_hooks };

static void an_archive_result_to_a_resource_that_went(void **state)
{
    struct h *h = begin(NULL, &offline_module, NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost/gone' type='chat'>"
                  "<result xmlns='urn:xmpp:mam:2' id='1'/></message>");
    expect_trace("filter ");
    h_expect_nothing(alice);
    h_send(alice, "<message to='bob@localhost/gone' type='chat'><body>x</body></message>");
    expect_trace("filter offline ");
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost/gone");
    h_stop(&h);
}

/* --- C.6: remove_user runs when the account is gone from its store --- */

static void on_state(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    note("exists=%d ", a->result != GR_R_NONE);
}

static enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev)
{
    note("remove(%s) ", ev->jid->bare);
    gr_auth_exists(self, gr_ask_new(self, 1, on_state), ev->jid->node);
    return GR_OK;
}

static const struct gr_hook remove_hooks[] = { GR_ON(remove_user, 50, on_remove_user),
                                               GR_HOOK_END };
static const struct gr_module remove_module = { .name = "t", .hooks = remove_hooks };

static void remove_user_runs_behind_the_store(void **state)
{
    struct h *h = begin(NULL, &remove_module, NULL);

    (void)state;
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    expect_trace("remove(alice@localhost) exists=0 ");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(chains_of_two_hosts),
        cmocka_unit_test(a_module_of_one_host),
        cmocka_unit_test(a_module_defines_a_hook),
        cmocka_unit_test(before_a_session_only_xmlel),
        cmocka_unit_test(a_stopped_iq_is_not_routed),
        cmocka_unit_test(filters_change_from_to_and_packet),
        cmocka_unit_test(one_denies_and_the_others_still_run),
        cmocka_unit_test(one_denies_and_stops),
        cmocka_unit_test(whatever_is_not_allow_refuses),
        cmocka_unit_test(a_ban_list),
        cmocka_unit_test(discovery_of_the_host),
        cmocka_unit_test(discovery_of_an_account),
        cmocka_unit_test(roster_set_comes_before_the_change),
        cmocka_unit_test(set_presence_has_the_stanza),
        cmocka_unit_test(sessions_are_removed_with_a_reason),
        cmocka_unit_test(presence_to_a_client),
        cmocka_unit_test(another_element_to_a_client),
        cmocka_unit_test(what_became_of_a_write),
        cmocka_unit_test(an_archive_result_to_a_resource_that_went),
        cmocka_unit_test(remove_user_runs_behind_the_store),
    };

    return H_RUN("mission_hooks", cases);
}
