/* tests/mod/test_info.c: mod_ping (XEP-0199), mod_version (0092), mod_time (0202), mod_last (0012) */
#include "harness.h"

#include <stdio.h>
#include <time.h>

#define PING "<ping xmlns='urn:xmpp:ping'/>"
#define LAST "<query xmlns='jabber:iq:last'/>"
#define VERSION "<query xmlns='jabber:iq:version'/>"
#define TIME "<time xmlns='urn:xmpp:time'/>"

/* --- a roster, and a witness --- */

static struct {
    enum gr_subscription sub;   /* of bob in alice's roster */
    bool wait;
    struct gr_hold *hold;
} roster;
static struct {
    unsigned pongs, timeouts, packets, dropped, received;
    int64_t ms;
    bool keep;                  /* user_stop_request is answered for */
    unsigned stopped;           /* requests to a resource that were let through and came nowhere */
    bool stop_iq;
} seen;

static enum gr_verdict on_info(struct gr_mod *self, struct gr_jid_info_ev *ev)
{
    if (strcmp(ev->owner->full, "alice@localhost") == 0 &&
        strcmp(ev->contact->full, "bob@localhost") == 0)
        ev->sub = roster.sub;
    if (!roster.wait)
        return GR_OK;
    roster.hold = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict on_pong(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    assert_non_null(ev->session);
    assert_string_equal(ev->jid->full, "alice@localhost/a");
    seen.ms = ev->ms;
    if (ev->ms < 0)
        seen.timeouts++;
    else
        seen.pongs++;
    return GR_OK;
}

static enum gr_verdict on_stop(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    (void)ev;
    return seen.keep ? GR_STOP : GR_OK;
}

/* Behind mod_ping: what it lets through. */
static enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    if (ev->to->node == NULL && gr_stanza_kind(ev->stanza) == GR_IQ &&
        gr_stanza_type(ev->stanza) != GR_GET)
        seen.packets++;
    return GR_OK;
}

static enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    if (gr_stanza_type(ev->stanza) == GR_GET)
        seen.received++;
    return GR_OK;
}

/* In front of mod_last, the second time that it comes by. */
static enum gr_verdict on_receive_first(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    static unsigned before;

    (void)self, (void)ev;
    if (!seen.stop_iq || ++before % 2 != 0)
        return GR_OK;
    seen.stopped++;
    return GR_STOP;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_receive_iq, 10, on_receive_first),
    GR_ON(roster_get_jid_info, 50, on_info),
    GR_ON(user_ping_response, 50, on_pong),
    GR_ON(user_stop_request, 50, on_stop),
    GR_ON(filter_local_packet, 200, on_local),
    GR_ON(user_receive_iq, 90, on_receive),
    GR_HOOK_END
};
static const struct gr_module tester = { .name = "tester", .hooks = hooks };

static struct h *start(const char *modules)
{
    char ini[1024];

    memset(&roster, 0, sizeof(roster));
    memset(&seen, 0, sizeof(seen));
    snprintf(ini, sizeof(ini), "[host localhost]\n%s", modules);
    h_module(&tester);
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

/* --- version --- */

static void version(void **state)
{
    struct h *h = start("[mod_version]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", VERSION,
                "<query xmlns='jabber:iq:version'><name>Grapnel</name><version>" GR_VERSION_TEXT
                "</version></query>");
    h_iq_error(alice, "set", "localhost", VERSION, GR_NOT_ALLOWED);
    h_iq_error(alice, "get", "bob@localhost", VERSION, GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

/* XEP-0092, 5: only when the admin says so. */
static void version_with_os(void **state)
{
    struct h *h = start("[mod_version]\nshow_os = yes\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", VERSION,
                "<query xmlns='jabber:iq:version'><name>Grapnel</name><version>" GR_VERSION_TEXT
                "</version><os>Linux</os></query>");
    h_stop(&h);
}

/* --- time --- */

static const char *text(struct gr_stanza *st, const char *name)
{
    struct gr_el *el = gr_el_child(gr_stanza_payload(st), "urn:xmpp:time", name);

    assert_non_null(el);
    return gr_el_text(el, NULL);
}

static void ask_time(const char *zone, const char *offset)
{
    struct h *h = start("[mod_time]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    char stamp[GR_STAMP_SIZE];

    setenv("TZ", zone, 1);
    tzset();
    struct gr_stanza *st = h_iq(alice, "get", "localhost", TIME);
    assert_int_equal(gr_stanza_type(st), GR_RESULT);
    assert_string_equal(text(st, "tzo"), offset);
    /* XEP-0082, 3.2, and not far from now. */
    gr_stamp(stamp, gr_wall_us());
    assert_int_equal(strlen(text(st, "utc")), strlen(stamp));
    assert_int_equal(strncmp(text(st, "utc"), stamp, strlen("2026-11-20T")), 0);
    assert_int_equal(stamp[strlen(stamp) - 1], 'Z');
    h_iq_error(alice, "set", "localhost", TIME, GR_NOT_ALLOWED);
    h_stop(&h);
}

static void time_in_utc(void **state)
{
    (void)state;
    ask_time("UTC", "Z");
}

static void time_elsewhere(void **state)
{
    (void)state;
    ask_time("TST-5:45", "+05:45");
    ask_time("TST3:30", "-03:30");
    ask_time("UTC", "Z");
}

/* --- ping: answering --- */

static void pings_are_answered(void **state)
{
    struct h *h = start("[mod_ping]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", PING, NULL);
    h_iq_result(alice, "get", NULL, PING, NULL);
    h_iq_result(alice, "get", "alice@localhost", PING, NULL);
    h_iq_error(alice, "set", "localhost", PING, GR_NOT_ALLOWED);
    /* Whether there is such an account or not. */
    h_iq_error(alice, "get", "bob@localhost", PING, GR_SERVICE_UNAVAILABLE);
    h_iq_error(alice, "get", "nobody@localhost", PING, GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static void by_default_nobody_is_pinged(void **state)
{
    struct h *h = start("[mod_ping]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<presence/>");
    h_drop_all(alice);
    h_advance(h, GR_DAY);
    h_expect_nothing(alice);
    h_stop(&h);
}

/* --- ping: asking --- */

#define ASK "[mod_ping]\nsend_pings = yes\nping_interval = 60s\nping_req_timeout = 32s\n"
#define KILL ASK "timeout_action = kill\n"

/* The id of the ping that has arrived. */
static const char *expect_ping(struct hs *s)
{
    struct gr_stanza *st = h_expect_xml(s, "<iq type='get' id='*' from='localhost' "
                                           "to='alice@localhost/a'>" PING "</iq>");
    return gr_stanza_id(st);
}

static void silence_is_broken_by_a_ping(void **state)
{
    struct h *h = start(ASK);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 59 * GR_SECOND);
    h_expect_nothing(alice);
    h_advance(h, 2 * GR_SECOND);
    const char *id = expect_ping(alice);
    h_advance(h, 300);
    h_sendf(alice, "<iq type='result' id='%s' to='localhost'/>", id);
    assert_int_equal(seen.pongs, 1);
    assert_in_range(seen.ms, 300, 1300);
    /* The pong is for the module alone. */
    assert_int_equal(seen.packets, 0);
    h_advance(h, 59 * GR_SECOND);
    h_expect_nothing(alice);
    h_advance(h, 2 * GR_SECOND);
    expect_ping(alice);
    assert_int_equal(seen.timeouts, 0);
    h_stop(&h);
}

static void who_talks_is_not_pinged(void **state)
{
    struct h *h = start(ASK);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    for (int i = 0; i < 10; i++) {
        h_advance(h, 50 * GR_SECOND);
        h_send(alice, "<message to='nobody@localhost' type='error'/>");
    }
    h_expect_nothing(alice);
    h_advance(h, 61 * GR_SECOND);
    expect_ping(alice);
    h_stop(&h);
}

static void an_error_is_a_sign_of_life(void **state)
{
    struct h *h = start(KILL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 61 * GR_SECOND);
    const char *id = expect_ping(alice);
    h_sendf(alice, "<iq type='error' id='%s' to='localhost'>" PING "<error type='cancel'>"
                   "<service-unavailable xmlns='" GR_NS_STANZAS "'/></error></iq>", id);
    assert_int_equal(seen.pongs, 1);
    h_advance(h, 40 * GR_SECOND);
    assert_null(h_closed(alice));
    h_stop(&h);
}

/* Anything it sends shows that it lives, also without a pong; a late pong counts still. */
static void any_stanza_is_a_sign_of_life(void **state)
{
    struct h *h = start(KILL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 61 * GR_SECOND);
    char *id = gr_strdup(expect_ping(alice));
    h_advance(h, 30 * GR_SECOND);
    h_send(alice, "<message to='nobody@localhost' type='error'/>");
    h_advance(h, 10 * GR_SECOND);
    assert_null(h_closed(alice));
    assert_int_equal(seen.timeouts, 0);
    h_sendf(alice, "<iq type='result' id='%s' to='localhost'/>", id);
    assert_int_equal(seen.pongs, 1);
    gr_free(id);
    h_stop(&h);
}

static void no_answer_and_no_action(void **state)
{
    struct h *h = start(ASK);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 61 * GR_SECOND);
    expect_ping(alice);
    h_advance(h, 33 * GR_SECOND);
    assert_int_equal(seen.timeouts, 1);
    assert_int_equal(seen.ms, -1);
    assert_null(h_closed(alice));
    /* It is left alone until it speaks. */
    h_advance(h, GR_HOUR);
    h_expect_nothing(alice);
    h_send(alice, "<message to='nobody@localhost' type='error'/>");
    h_advance(h, 61 * GR_SECOND);
    expect_ping(alice);
    h_stop(&h);
}

static void no_answer_ends_the_session(void **state)
{
    struct h *h = start(KILL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 61 * GR_SECOND);
    expect_ping(alice);
    h_advance(h, 33 * GR_SECOND);
    assert_int_equal(seen.timeouts, 1);
    h_expect_closed(&alice, "connection-timeout");
    h_stop(&h);
}

/* Stream management keeps such a session, as any whose connection broke. */
static void the_end_can_be_prevented(void **state)
{
    struct h *h = start(KILL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    seen.keep = true;
    h_advance(h, GR_HOUR);
    assert_int_equal(seen.timeouts, 1);
    assert_null(h_closed(alice));
    h_stop(&h);
}

static void a_pong_must_fit(void **state)
{
    struct h *h = start(KILL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 61 * GR_SECOND);
    expect_ping(alice);
    h_send(alice, "<iq type='result' id='grapnel-ping-nonsense' to='localhost'/>");
    assert_int_equal(seen.pongs, 0);
    assert_int_equal(seen.packets, 1);
    h_stop(&h);
}

/* The session ends while the ping is on its way: the error that comes back ends here. */
static void errors_to_pings_end_here(void **state)
{
    struct h *h = start(ASK);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<iq type='error' id='grapnel-ping-gone' to='localhost'><error type='cancel'>"
                  "<service-unavailable xmlns='" GR_NS_STANZAS "'/></error></iq>");
    assert_int_equal(seen.packets, 0);
    h_send(alice, "<iq type='error' id='other' to='localhost'><error type='cancel'>"
                  "<service-unavailable xmlns='" GR_NS_STANZAS "'/></error></iq>");
    assert_int_equal(seen.packets, 1);
    h_stop(&h);
}

static void a_reload_changes_the_interval(void **state)
{
    struct h *h = start(ASK);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_reload(h, "[host localhost]\n[mod_ping]\nsend_pings = yes\nping_interval = 10s\n", NULL);
    h_send(alice, "<message to='nobody@localhost' type='error'/>");
    h_advance(h, 11 * GR_SECOND);
    h_advance(h, 61 * GR_SECOND);
    h_send(alice, "<message to='nobody@localhost' type='error'/>");
    h_drop_all(alice);
    h_advance(h, 11 * GR_SECOND);
    expect_ping(alice);
    h_reload(h, "[host localhost]\n[mod_ping]\n", NULL);
    h_send(alice, "<message to='nobody@localhost' type='error'/>");
    h_advance(h, GR_HOUR);
    h_expect_nothing(alice);
    h_stop(&h);
}

/* Silent all the time: neither the watch nor a ping on its way is forgotten. */
static void a_reload_keeps_the_watch(void **state)
{
    struct h *h = start(KILL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 30 * GR_SECOND);
    h_reload(h, "[host localhost]\n[mod_ping]\nsend_pings = yes\nping_interval = 50s\n"
                "ping_req_timeout = 32s\ntimeout_action = kill\n", NULL);
    h_advance(h, 19 * GR_SECOND);
    h_expect_nothing(alice);
    h_advance(h, 2 * GR_SECOND);
    expect_ping(alice);
    h_advance(h, 20 * GR_SECOND);
    h_reload(h, "[host localhost]\n" KILL, NULL);
    h_advance(h, 10 * GR_SECOND);
    assert_null(h_closed(alice));
    h_advance(h, 3 * GR_SECOND);
    h_expect_closed(&alice, "connection-timeout");
    h_stop(&h);
}

/* --- last --- */

static int64_t seconds(struct hs *s, const char *to, const char *status)
{
    struct gr_stanza *st = h_iq(s, "get", to, LAST);
    struct gr_el *query = gr_stanza_payload(st);

    assert_int_equal(gr_stanza_type(st), GR_RESULT);
    assert_true(gr_el_is(query, "jabber:iq:last", "query"));
    assert_string_equal(gr_el_text(query, NULL), status);
    return strtoll(gr_el_attr(query, "seconds"), NULL, 10);
}

static void uptime(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    int64_t before = seconds(alice, "localhost", "");

    (void)state;
    h_advance(h, 100 * GR_SECOND);
    assert_in_range(seconds(alice, "localhost", "") - before, 99, 101);
    h_iq_error(alice, "set", "localhost", LAST, GR_NOT_ALLOWED);
    h_iq_error(alice, "set", NULL, LAST, GR_NOT_ALLOWED);
    h_stop(&h);
}

static void online_is_zero(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    roster.sub = GR_SUB_FROM;
    assert_int_equal(seconds(bob, "alice@localhost", ""), 0);
    assert_int_equal(seconds(alice, NULL, ""), 0);
    h_stop(&h);
}

static void leave(struct h *h, struct hs **who, const char *status)
{
    h_set_available(*who, 0);
    h_enter(h, h_full(*who));
    gr_session_set_presence(NULL, h_session(*who), NULL, status);
    h_run(h);
    h_disconnect(who, true);
}

static void time_and_status_of_leaving(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    roster.sub = GR_SUB_BOTH;
    leave(h, &alice, "Heading <home> & \"away\"");
    assert_in_range(seconds(bob, "alice@localhost", "Heading <home> & \"away\""), 0, 2);
    /* The last one counts. */
    alice = h_login(h, "alice@localhost/a");
    leave(h, &alice, NULL);
    assert_in_range(seconds(bob, "alice@localhost", ""), 0, 2);
    h_restart(h);
    bob = h_login(h, "bob@localhost/b");
    assert_in_range(seconds(bob, "alice@localhost", ""), 0, 5);
    h_stop(&h);
}

/* To the byte: time, status. Too short to hold a time: as if there was none. */
static void a_row_of_an_earlier_version(void **state)
{
    static const struct gr_coll coll = GR_MAP("last");
    static const char row[] = "\0\0\0\0\0\x1e\x84\x80" "gone"; /* 2 s after 1970 */
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    roster.sub = GR_SUB_BOTH;
    for (size_t cut = 0; cut < 2; cut++) {
        struct gr_txn *t = gr_txn_new(h_mod(h, "last", "alice@localhost"));
        gr_txn_put(t, &coll, "alice@localhost", "last", 4, row, cut ? 7 : sizeof(row) - 1);
        gr_txn_commit(t, NULL);
        h_run(h);
        if (cut)
            h_iq_error(bob, "get", "alice@localhost", LAST, GR_SERVICE_UNAVAILABLE);
        else
            assert_int_equal(seconds(bob, "alice@localhost", "gone"),
                             gr_wall_us() / 1000000 - 2);
    }
    h_stop(&h);
}

static void a_long_status_is_cut_between_characters(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");
    char status[3001], kept[1024];

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        memcpy(status + 3 * i, "\u20ac", 4);
    memcpy(kept, status, 1023);
    kept[1023] = '\0';
    roster.sub = GR_SUB_BOTH;
    leave(h, &alice, status);
    seconds(bob, "alice@localhost", kept);
    h_stop(&h);
}

static void never_seen(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    roster.sub = GR_SUB_FROM;
    h_iq_error(bob, "get", "alice@localhost", LAST, GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

/* XEP-0012, 3 and 8. */
static void strangers_are_told_nothing(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    for (int online = 1; online >= 0; online--) {
        for (int to = 0; to < 2; to++) {
            roster.sub = to ? GR_SUB_TO : GR_SUB_NONE;
            h_iq_error(bob, "get", "alice@localhost", LAST, GR_FORBIDDEN);
            h_iq_error(bob, "get", "nobody@localhost", LAST, GR_FORBIDDEN);
        }
        if (online)
            leave(h, &alice, NULL);
    }
    h_stop(&h);
}

static void a_resource_hears_contacts_only(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(bob, "get", "alice@localhost/a", LAST, GR_FORBIDDEN);
    h_expect_nothing(alice);
    assert_int_equal(seen.received, 0);
    /* Other requests pass. */
    h_send(bob, "<iq type='get' id='v' to='alice@localhost/a'>" VERSION "</iq>");
    h_expect_xml(alice, "<iq type='get' id='v' from='bob@localhost/b' to='alice@localhost/a'>"
                        VERSION "</iq>");
    roster.sub = GR_SUB_FROM;
    h_send(bob, "<iq type='get' id='l' to='alice@localhost/a'>" LAST "</iq>");
    h_expect_xml(alice, "<iq type='get' id='l' from='bob@localhost/b' to='alice@localhost/a'>"
                        LAST "</iq>");
    h_expect_nothing(alice);
    h_send(alice, "<iq type='result' id='l' to='bob@localhost/b'>"
                  "<query xmlns='jabber:iq:last' seconds='123'/></iq>");
    h_expect_xml(bob, "<iq type='result' id='l' from='alice@localhost/a' to='bob@localhost/b'>"
                      "<query xmlns='jabber:iq:last' seconds='123'/></iq>");
    /* Nothing is left over: the same id is judged again. */
    roster.sub = GR_SUB_NONE;
    h_send(bob, "<iq type='get' id='l' to='alice@localhost/a'>" LAST "</iq>");
    h_expect_error(bob, GR_IQ, GR_FORBIDDEN, "alice@localhost/a");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* A request that was let through and came nowhere leaves a pass: good for its sender and its id, and
 * of no more than 1000. */
static void passes_are_few_and_personal(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b"), *eve = h_login(h, "eve@localhost/e");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    roster.sub = GR_SUB_FROM;
    seen.stop_iq = true;
    for (unsigned i = 0; i <= 1000; i++)
        h_sendf(bob, "<iq type='get' id='%u' to='alice@localhost/a'>" LAST "</iq>", i);
    assert_int_equal(seen.stopped, 1001);
    seen.stop_iq = false;
    roster.sub = GR_SUB_NONE;
    h_send(eve, "<iq type='get' id='1' to='alice@localhost/a'>" LAST "</iq>");
    h_expect_error(eve, GR_IQ, GR_FORBIDDEN, "alice@localhost/a");
    h_drop_all(bob);
    h_send(bob, "<iq type='get' id='0' to='alice@localhost/a'>" LAST "</iq>"); /* made room */
    h_expect_error(bob, GR_IQ, GR_FORBIDDEN, "alice@localhost/a");
    h_expect_nothing(alice);
    h_send(bob, "<iq type='get' id='1' to='alice@localhost/a'>" LAST "</iq>");
    h_expect(alice, GR_IQ, GR_GET, "bob@localhost/b");
    h_stop(&h);
}

static void ones_own_resource(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct hs *other = h_login(h, "alice@localhost/b");

    (void)state;
    h_send(other, "<iq type='get' id='l' to='alice@localhost/a'>" LAST "</iq>");
    h_expect_xml(alice, "<iq type='get' id='l' from='alice@localhost/b' to='alice@localhost/a'>"
                        LAST "</iq>");
    h_stop(&h);
}

static void answer_roster(struct h *h)
{
    h_enter(h, "alice@localhost");
    gr_resume(roster.hold, GR_OK);
    h_run(h);
}

static void the_roster_may_take_its_time(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    roster.wait = true;
    roster.sub = GR_SUB_BOTH;
    h_send(bob, "<iq type='get' id='l' to='alice@localhost/a'>" LAST "</iq>");
    h_expect_nothing(alice);
    answer_roster(h);
    h_expect_xml(alice, "<iq type='get' id='l' from='bob@localhost/b' to='alice@localhost/a'>"
                        LAST "</iq>");
    /* The session ends before the answer. */
    h_send(bob, "<iq type='get' id='m' to='alice@localhost/a'>" LAST "</iq>");
    h_disconnect(&alice, true);
    answer_roster(h);
    h_expect_error(bob, GR_IQ, GR_SERVICE_UNAVAILABLE, "alice@localhost/a");
    h_stop(&h);
}

static void last_is_exported(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_export_ev ev = { .data = gr_nonza_new("urn:example", "all") };

    (void)state;
    ev.user = h_parse_jid(h, "alice@localhost");
    for (int i = 0; i < 2; i++) {
        gr_hook_run(h_mod(h, "last", "alice@localhost"), GR_HOOK_get_personal_data, &ev.ev, NULL);
        h_run(h);
        if (i == 0)
            h_assert_xml(ev.data, "<all xmlns='urn:example'/>"); /* never left */
        if (i == 0)
            leave(h, &alice, "bye");
        h_advance(h, 60000);
    }
    h_assert_xml(ev.data, "<all xmlns='urn:example'><query xmlns='jabber:iq:last' seconds='60'>bye"
                          "</query></all>");
    gr_stanza_unref(&ev.data);
    h_stop(&h);
}

/* The last session of a removed account ends behind its rows. */
static void nothing_is_kept_behind_the_removal(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_export_ev ev = { .data = gr_nonza_new("urn:example", "all") };
    struct gr_user_ev removed = { .jid = h_parse_jid(h, "alice@localhost") };

    (void)state;
    h_set_available(alice, 0);
    h_hold_store(h, true);
    gr_hook_run(h_mod(h, "last", "alice@localhost"), GR_HOOK_remove_user, &removed.ev, NULL);
    h_run(h);
    leave(h, &alice, "bye");
    h_hold_store(h, false);
    ev.user = removed.jid;
    gr_hook_run(h_mod(h, "last", "alice@localhost"), GR_HOOK_get_personal_data, &ev.ev, NULL);
    h_run(h);
    h_assert_xml(ev.data, "<all xmlns='urn:example'/>");
    gr_stanza_unref(&ev.data);
    h_stop(&h);
}

static void last_goes_with_the_account(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    roster.sub = GR_SUB_BOTH;
    leave(h, &alice, "bye");
    assert_in_range(seconds(bob, "alice@localhost", "bye"), 0, 2);
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_user(h, "alice@localhost");
    h_iq_error(bob, "get", "alice@localhost", LAST, GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static void a_lost_session_counts(void **state)
{
    struct h *h = start("[mod_last]\n");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct gr_mod *self = h_mod(h, "tester", "alice@localhost");
    struct gr_session_ev ev = { .jid = h_parse_jid(h, "alice@localhost/a") };

    (void)state;
    gr_hook_run(self, GR_HOOK_session_cleanup, &ev.ev, NULL);
    h_run(h);
    roster.sub = GR_SUB_BOTH;
    assert_in_range(seconds(bob, "alice@localhost", ""), 0, 2);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(version),
        cmocka_unit_test(version_with_os),
        cmocka_unit_test(time_in_utc),
        cmocka_unit_test(time_elsewhere),
        cmocka_unit_test(pings_are_answered),
        cmocka_unit_test(by_default_nobody_is_pinged),
        cmocka_unit_test(silence_is_broken_by_a_ping),
        cmocka_unit_test(who_talks_is_not_pinged),
        cmocka_unit_test(an_error_is_a_sign_of_life),
        cmocka_unit_test(any_stanza_is_a_sign_of_life),
        cmocka_unit_test(no_answer_and_no_action),
        cmocka_unit_test(no_answer_ends_the_session),
        cmocka_unit_test(the_end_can_be_prevented),
        cmocka_unit_test(a_pong_must_fit),
        cmocka_unit_test(errors_to_pings_end_here),
        cmocka_unit_test(a_reload_changes_the_interval), cmocka_unit_test(a_reload_keeps_the_watch),
        cmocka_unit_test(uptime),
        cmocka_unit_test(online_is_zero),
        cmocka_unit_test(time_and_status_of_leaving),
        cmocka_unit_test(a_row_of_an_earlier_version),
        cmocka_unit_test(a_long_status_is_cut_between_characters),
        cmocka_unit_test(never_seen),
        cmocka_unit_test(strangers_are_told_nothing),
        cmocka_unit_test(a_resource_hears_contacts_only),
        cmocka_unit_test(passes_are_few_and_personal),
        cmocka_unit_test(ones_own_resource),
        cmocka_unit_test(the_roster_may_take_its_time),
        cmocka_unit_test(last_is_exported),
        cmocka_unit_test(nothing_is_kept_behind_the_removal),
        cmocka_unit_test(last_goes_with_the_account),
        cmocka_unit_test(a_lost_session_counts),
    };

    return H_RUN("info", cases);
}
