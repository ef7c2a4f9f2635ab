/* tests/mod/test_stream_management.c: XEP-0198 without a disk or a socket in sight: counting, the queue,
 * sessions that wait for their client and are resumed. */
#include "raw.h"

#include "mod/instance.h"
#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

#define INI "[host localhost]\n[mod_presence]\n[mod_roster]\n[mod_offline]\n[mod_stream_management]\n"
#define SM "xmlns='urn:xmpp:sm:3'"
#define R "<r " SM "/>"

static struct gr_stanza *parse(const char *xml)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    return st;
}

/* Enables; the SM-ID, until the next call. */
static const char *enable(struct hs *s)
{
    static char id[64];
    struct gr_stanza *st;

    h_send(s, "<enable " SM " resume='true'/>");
    st = h_expect_xml(s, "<enabled " SM " id='*' resume='true' max='600'/>");
    snprintf(id, sizeof(id), "%s", gr_el_attr(gr_stanza_root(st), "id"));
    return id;
}

static struct hs *online(struct h *h, const char *full, char id[64])
{
    struct hs *s = h_login(h, full);

    snprintf(id, 64, "%s", enable(s));
    h_send(s, "<presence/>");
    h_expect(s, GR_PRESENCE, GR_AVAILABLE, full);
    h_expect_xml(s, R);
    h_send(s, "<a " SM " h='1'/>");
    h_expect_nothing(s);
    return s;
}

static struct hs *resume(struct h *h, const char *bare, const char *id, unsigned got)
{
    struct hs *s = h_connect(h, bare);

    h_sendf(s, "<resume " SM " h='%u' previd='%s'/>", got, id);
    return s;
}

static void message(struct hs *from, const char *to, const char *body)
{
    h_sendf(from, "<message type='chat' to='%s' id='%s'><body>%s</body></message>", to, body, body);
}

/* Sends <r/>; it is told that in the end, at once or when it is on disk. */
static void expect_h(struct hs *s, unsigned n)
{
    struct gr_stanza *st;
    char *end = NULL;
    unsigned long h = 0;

    h_send(s, R);
    while ((st = h_peek(s)) != NULL && gr_el_is(gr_stanza_root(st), "urn:xmpp:sm:3", "a")) {
        h = strtoul(gr_el_attr(gr_stanza_root(h_next(s)), "h"), &end, 10);
        assert_true(h <= n);
    }
    if (end == NULL || h != n)
        h_fail("h is %lu, not %u", h, n);
}

/* --- counting --- */

static void test_basic_scenario(void **state) /* XEP-0198, 8.1 */
{
    struct h *h = h_start(INI);
    struct hs *s;

    (void)state;
    h_user(h, "a@localhost");
    s = h_login(h, "a@localhost/x");
    h_send(s, "<enable " SM "/>");
    h_expect_xml(s, "<enabled " SM "/>");
    expect_h(s, 0);
    h_send(s, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
    h_expect_xml(s, "<iq type='result' id='1' to='a@localhost/x' _='more'/>");
    h_expect_xml(s, R);
    expect_h(s, 1);
    h_send(s, "<a " SM " h='1'/>");
    h_send(s, "<presence/>");
    h_expect(s, GR_PRESENCE, GR_AVAILABLE, "a@localhost/x");
    h_expect_xml(s, R);
    expect_h(s, 2);
    h_send(s, "<a " SM " h='2'/>");
    h_expect_nothing(s);
    h_stop(&h);
}

static void test_h_waits_for_the_disk(void **state)
{
    struct h *h = h_start(INI);
    struct hs *s;

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    s = h_login(h, "a@localhost/x");
    h_send(s, "<enable " SM "/>");
    h_drop_all(s);
    h_hold_store(h, true);
    message(s, "b@localhost", "1");
    h_send(s, "<iq type='get' id='2' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_drop_all(s);
    expect_h(s, 0); /* the second is handled, the first is not: nothing before it may be passed over */
    h_commit(h);
    expect_h(s, 2);
    h_stop(&h);
}

static void test_a_burst_is_asked_about_once(void **state)
{
    struct h *h = h_start(INI);
    struct hs *s, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    s = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    message(b, "a@localhost", "2");
    message(b, "a@localhost", "3");
    h_expect_body(s, "b@localhost/y", "1");
    h_expect_xml(s, R);
    h_expect_body(s, "b@localhost/y", "2");
    h_expect_body(s, "b@localhost/y", "3");
    h_send(s, "<a " SM " h='2'/>");
    h_expect_nothing(s); /* two are open; that may wait for the next stanza */
    h_advance(h, 125);
    h_expect_xml(s, R);
    h_send(s, "<a " SM " h='2'/>"); /* no progress: not asked again at once */
    h_expect_nothing(s);
    h_send(s, "<a " SM " h='4'/>");
    h_expect_nothing(s);
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

/* The sender's stanza is handled when the recipient has acknowledged it. */
static void test_the_sender_waits_for_the_recipient(void **state)
{
    struct h *h = h_start(INI "ack_timeout = 1h\n");
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    assert_int_equal(h_unhandled(b), 1);
    h_send(a, "<a " SM " h='2'/>");
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

/* --- mistakes --- */

static void test_order_of_negotiation(void **state)
{
    struct h *h = h_start(INI);
    struct hs *s;

    (void)state;
    h_user(h, "a@localhost");
    s = h_connect(h, "a@localhost");
    h_send(s, "<enable " SM "/>"); /* example 5 */
    h_expect_xml(s, "<failed " SM "><unexpected-request xmlns='" GR_NS_STANZAS "'/></failed>");
    h_send(s, "<resume " SM " h='0'/>");
    h_expect_xml(s, "<failed " SM "><bad-request xmlns='" GR_NS_STANZAS "'/></failed>");
    h_send(s, "<resume " SM " h='-1' previd='x'/>");
    h_expect_xml(s, "<failed " SM "><bad-request xmlns='" GR_NS_STANZAS "'/></failed>");
    h_send(s, "<resume " SM " h='0' previd='x'/>"); /* then it may bind */
    h_expect_xml(s, "<failed " SM "><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    assert_int_equal(h_bind(s, "x"), GR_COND_NONE);
    h_send(s, R);
    h_expect_xml(s, "<failed " SM "><unexpected-request xmlns='" GR_NS_STANZAS "'/></failed>");
    h_send(s, "<resume " SM " h='0' previd='x'/>");
    h_expect_xml(s, "<failed " SM "><unexpected-request xmlns='" GR_NS_STANZAS "'/></failed>");
    enable(s);
    h_send(s, "<enable " SM "/>"); /* example 6 */
    h_expect_xml(s, "<failed " SM "><unexpected-request xmlns='" GR_NS_STANZAS "'/></failed>");
    h_expect_closed(&s, "policy-violation");
    h_stop(&h);
}

static void test_acknowledges_too_much(void **state)
{
    struct h *h = h_start(INI);
    struct hs *s;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    s = online(h, "a@localhost/x", id);
    h_send(s, "<a " SM " h='0'/>"); /* behind: no reason to end it */
    h_expect_nothing(s);
    h_send(s, "<a " SM " h='10'/>");
    h_expect_xml(s, "<error xmlns='" GR_NS_STREAM "'><undefined-condition xmlns='" GR_NS_STREAMS
                    "'/><text xmlns='" GR_NS_STREAMS "' xml:lang='en'>You acknowledged 10 stanzas, "
                    "but I only sent you 1 so far.</text>"
                    "<handled-count-too-high " SM " h='10' send-count='1'/></error>");
    h_expect_closed(&s, "");
    s = h_login(h, "a@localhost/x");
    enable(s);
    h_send(s, "<a " SM "/>");
    h_expect_closed(&s, "invalid-xml");
    h_stop(&h);
}

/* --- resumption --- */

static void test_resumes(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(a, "b@localhost/y", "hello");
    h_expect_body(b, "a@localhost/x", "hello");
    message(b, "a@localhost", "1");
    h_drop_all(a);
    h_disconnect(&a, false);
    message(b, "a@localhost", "2");
    message(b, "a@localhost/x", "3");
    h_expect_nothing(b);
    a = resume(h, "a@localhost", id, 2);
    h_expect_xmlf(a, "<resumed " SM " h='2' previd='%s'/>", id);
    h_expect_body(a, "b@localhost/y", "2");
    h_expect_body(a, "b@localhost/y", "3");
    h_expect_xml(a, R);
    h_send(a, "<a " SM " h='4'/>");
    expect_h(a, 2);
    message(a, "b@localhost/y", "again");
    h_expect_body(b, "a@localhost/x", "again");
    expect_h(a, 3);
    message(b, "a@localhost", "4"); /* still available */
    h_expect_body(a, "b@localhost/y", "4");
    h_stop(&h);
}

static void test_old_stream_is_still_there(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *again, *third, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    again = resume(h, "a@localhost", id, 1);
    h_drop_all(a);
    h_expect_closed(&a, "conflict");
    h_expect_xmlf(again, "<resumed " SM " h='1' previd='%s'/>", id);
    h_expect_body(again, "b@localhost/y", "1");
    h_drop_all(again);
    third = resume(h, "a@localhost", id, 2);
    h_expect_closed(&again, "conflict");
    h_expect_xmlf(third, "<resumed " SM " h='1' previd='%s'/>", id);
    h_expect_nothing(third);
    h_stop(&h);
}

/* What the old stream had sent is counted in <resumed/>, or it would be sent twice. */
static void test_waits_for_what_is_under_way(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b, *c;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    expect_h(a, 1); /* nothing else is waited for */
    h_hold_store(h, true);
    message(a, "b@localhost", "1");
    h_disconnect(&a, false);
    b = resume(h, "a@localhost", id, 1);
    h_expect_nothing(b);
    c = resume(h, "a@localhost", id, 1); /* the later one wins */
    h_expect_xml(b, "<failed " SM "><conflict xmlns='" GR_NS_STANZAS "'/></failed>");
    h_hold_store(h, false); /* the message, then h */
    h_advance(h, 1);
    h_expect_xmlf(c, "<resumed " SM " h='2' previd='%s'/>", id);
    h_disconnect(&b, false);
    h_stop(&h);
}

static void test_vanishes_in_the_middle(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    h_hold_store(h, true);
    message(a, "b@localhost", "1");
    h_disconnect(&a, false);
    b = resume(h, "a@localhost", id, 1);
    h_disconnect(&b, false);
    h_hold_store(h, false);
    a = resume(h, "a@localhost", id, 1);
    h_expect_xmlf(a, "<resumed " SM " h='2' previd='%s'/>", id);
    h_stop(&h);
}

static void test_of_another_account(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = resume(h, "b@localhost", id, 1);
    h_expect_xml(b, "<failed " SM "><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    expect_h(a, 1);
    h_disconnect(&a, true);
    h_sendf(b, "<resume " SM " h='1' previd='%s'/>", id); /* nor is it told how far that one came */
    h_expect_xml(b, "<failed " SM "><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    h_stop(&h);
}

static void test_resumes_with_a_wrong_count(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    a = online(h, "a@localhost/x", id);
    h_disconnect(&a, false);
    b = resume(h, "a@localhost", id, 7);
    h_expect_xml(b, "<error xmlns='" GR_NS_STREAM "' _='any'/>");
    h_expect_closed(&b, "");
    b = resume(h, "a@localhost", id, 0); /* those are gone */
    h_expect_xml(b, "<failed " SM " h='1'><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    a = resume(h, "a@localhost", id, 1);
    h_expect_xmlf(a, "<resumed " SM " h='1' previd='%s'/>", id);
    h_stop(&h);
}

/* --- restarts --- */

static void test_resumes_after_a_restart(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b, *c;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(a, "b@localhost/y", "hello");
    message(b, "a@localhost", "1");
    message(b, "a@localhost", "2");
    message(b, "a@localhost", "3");
    assert_int_equal(h_unhandled(b), 3);
    h_restart(h);
    c = h_online(h, "b@localhost/y");
    message(c, "a@localhost", "4");
    message(c, "a@localhost/x", "5");
    h_expect_nothing(c);
    assert_int_equal(h_unhandled(c), 0);
    a = resume(h, "a@localhost", id, 2); /* it had got 1 */
    h_expect_xmlf(a, "<resumed " SM " h='2' previd='%s'/>", id);
    h_expect_body(a, "b@localhost/y", "2");
    h_expect_body(a, "b@localhost/y", "3");
    h_expect_body(a, "b@localhost/y", "4");
    h_expect_body(a, "b@localhost/y", "5");
    h_expect_xml(a, R);
    h_send(a, "<a " SM " h='6'/>");
    expect_h(a, 2);
    message(c, "a@localhost", "6");
    h_expect_body(a, "b@localhost/y", "6");
    h_restart(h);
    a = resume(h, "a@localhost", id, 7);
    h_expect_xmlf(a, "<resumed " SM " h='2' previd='%s'/>", id);
    h_expect_nothing(a);
    h_disconnect(&a, true);
    h_restart(h);
    a = resume(h, "a@localhost", id, 7); /* it is over */
    h_expect_xml(a, "<failed " SM "><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    h_stop(&h);
}

/* Roster pushes still come, and who was shown the presence is told when it ends. */
static void test_modules_remember(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b, *c;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    h_send(a, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    h_send(a, "<presence to='b@localhost/y'/>");
    h_advance(h, 1000);
    h_restart(h);
    b = h_login(h, "b@localhost/y");
    c = h_login(h, "a@localhost/z");
    h_iq_result(c, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='k@localhost'/></query>",
                NULL);
    a = resume(h, "a@localhost", id, 2);
    h_expect_xmlf(a, "<resumed " SM " h='3' previd='%s'/>", id);
    h_expect_xml(a, "<iq type='set' id='*' from='a@localhost' to='a@localhost/x' _='more'/>");
    h_drop_all(a);
    h_disconnect(&a, true);
    h_expect(b, GR_PRESENCE, GR_UNAVAILABLE, "a@localhost/x");
    h_expect_nothing(b);
    h_stop(&h);
}

/* A new version of the module under traffic: queues, counters, timers and waiting streams stay. */
static void test_reload(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    h_user(h, "c@localhost");
    b = online(h, "b@localhost/y", id);
    h_send(a, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_drop_all(a);
    h_send(a, "<a " SM " h='2'/>");
    message(b, "a@localhost", "1");
    h_hold_store(h, true);
    message(a, "c@localhost", "stored"); /* in flight over the reload */
    h_reload(h, INI "ack_timeout = 2m\n", NULL);
    h_hold_store(h, false);
    expect_h(b, 1);
    h_advance(h, 251); /* the recipient has not acknowledged: it is written down */
    expect_h(b, 2);
    h_drop_all(a);
    h_send(a, "<a " SM " h='3'/>");
    expect_h(a, 3);
    h_disconnect(&b, false);
    message(a, "b@localhost", "2");
    h_reload(h, INI "ack_timeout = 3m\n", NULL);
    h_advance(h, 601 * 1000); /* the timer went over */
    b = resume(h, "b@localhost", id, 1);
    h_expect_xml(b, "<failed " SM " _='any'/>");
    h_stop(&h);
}

static int full(uint64_t n)
{
    (void)n;
    return ENOSPC;
}

static void test_disk_is_full(void **state)
{
    static const struct store_faults faults = { .commit = full };
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    expect_h(a, 1);
    store_faults = &faults;
    message(b, "a@localhost", "1");
    h_advance(h, 5000);
    assert_int_equal(h_unhandled(b), 1); /* neither acknowledged nor on disk */
    h_send(a, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_drop_all(a);
    h_send(a, R);
    h_expect_xml(a, "<a " SM " h='1'/>");
    h_advance(h, 5000);
    h_expect_nothing(a);
    store_faults = NULL;
    h_advance(h, 1001);
    h_expect_xml(a, "<a " SM " h='2'/>");
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

/* What the session is could not be written when it began: it cannot be resumed, and its client knows. */
static void test_disk_was_full(void **state)
{
    static const struct store_faults faults = { .commit = full };
    struct h *h = h_start(INI);
    struct hs *a;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    a = h_login(h, "a@localhost/x");
    store_faults = &faults;
    h_send(a, "<enable " SM " resume='true'/>");
    h_expect_xml(a, "<enabled " SM "/>");
    h_send(a, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_drop_all(a);
    expect_h(a, 1);
    store_faults = NULL;
    h_advance(h, 1001);
    a = h_login(h, "a@localhost/y");
    snprintf(id, sizeof(id), "%s", enable(a));
    h_restart(h);
    a = resume(h, "a@localhost", id, 0);
    h_expect_xmlf(a, "<resumed " SM " h='0' previd='%s'/>", id);
    h_stop(&h);
}

static void test_time_is_up_after_a_restart(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    message(b, "a@localhost", "2");
    h_restart(h);
    b = h_online(h, "b@localhost/y");
    message(b, "a@localhost", "3");
    h_advance(h, 599 * 1000);
    h_restart(h); /* counts anew */
    h_advance(h, 599 * 1000);
    h_advance(h, 2 * 1000);
    a = h_login(h, "a@localhost/z");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_body(a, "b@localhost/y", "1");
    h_expect_body(a, "b@localhost/y", "2");
    h_expect_body(a, "b@localhost/y", "3");
    h_expect_nothing(a);
    h_disconnect(&a, true);
    h_restart(h);
    a = resume(h, "a@localhost", id, 1);
    h_expect_xml(a, "<failed " SM " _='any'/>");
    h_stop(&h);
}

/* Without resumption the queue survives all the same: it goes offline. */
static void test_queue_of_a_session_that_cannot_be_resumed(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = h_login(h, "a@localhost/x");
    h_send(a, "<presence/>");
    h_send(a, "<enable " SM "/>");
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    assert_int_equal(h_unhandled(b), 1);
    h_advance(h, 300);
    assert_int_equal(h_unhandled(b), 0); /* written down: the sender need not wait any longer */
    h_restart(h);
    a = h_login(h, "a@localhost/z");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_body(a, "b@localhost/y", "1");
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_nothing_is_told_that_is_not_on_disk(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = online(h, "b@localhost/y", id);
    expect_h(a, 1);
    h_hold_store(h, true);
    message(a, "b@localhost/y", "1");
    h_expect_body(b, "a@localhost/x", "1");
    h_send(b, "<a " SM " h='2'/>");
    h_send(a, R);
    h_expect_xml(a, "<a " SM " h='1'/>");
    h_expect_nothing(a);
    h_commit(h);
    h_advance(h, 1);
    h_commit(h);
    h_expect_xml(a, "<a " SM " h='2'/>");
    h_hold_store(h, false);
    h_stop(&h);
}

/* Stored messages leave the offline store when the client has them, or this module's disk. */
static void test_deliver_acknowledge_delete(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    b = h_login(h, "b@localhost/y");
    for (int round = 0; round < 3; round++) {
        message(b, "a@localhost", "1");
        message(b, "a@localhost", "2");
        a = h_login(h, "a@localhost/x");
        enable(a);
        h_send(a, "<presence/>");
        h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
        h_expect_xml(a, R);
        h_expect_body(a, "b@localhost/y", "1");
        h_expect_body(a, "b@localhost/y", "2");
        if (round == 0)
            h_send(a, "<a " SM " h='2'/>"); /* of the messages only the first */
        else if (round == 1)
            h_advance(h, 300); /* both are in the journal now */
        h_disconnect(&a, true);
        a = h_login(h, "a@localhost/z");
        h_send(a, "<presence/>");
        h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
        if (round > 0)
            h_expect_body(a, "b@localhost/y", "1");
        h_expect_body(a, "b@localhost/y", "2");
        h_expect_nothing(a);
        h_disconnect(&a, true);
    }
    h_stop(&h);
}

/* --- the end --- */

static void test_time_is_up(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_online(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    h_disconnect(&a, false);
    message(b, "a@localhost", "2");
    h_send(b, "<iq type='get' id='q' to='a@localhost/x'><ping xmlns='urn:xmpp:ping'/></iq>");
    h_expect_nothing(b);
    h_advance(h, 599 * 1000);
    h_expect_nothing(b);
    h_advance(h, 2 * 1000);
    h_expect_error(b, GR_IQ, GR_SERVICE_UNAVAILABLE, "a@localhost/x");
    assert_int_equal(h_unhandled(b), 0);
    a = resume(h, "a@localhost", id, 1);
    h_expect_xml(a, "<failed " SM " h='1'><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    assert_int_equal(h_bind(a, "x"), GR_COND_NONE);
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_xml(a, "<message type='chat' from='b@localhost/y' to='a@localhost' id='1'><body>1</body>"
                    "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></message>");
    h_expect_body(a, "b@localhost/y", "2");
    h_expect_nothing(a);
    h_stop(&h);
}

/* A clean end ends it: nothing is kept, what was not acknowledged goes elsewhere. */
static void test_clean_end(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    h_disconnect(&a, true);
    a = resume(h, "a@localhost", id, 2);
    h_expect_xml(a, "<failed " SM " h='1'><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    h_disconnect(&a, true);
    a = h_online(h, "a@localhost/x"); /* throws it away, after having got it */
    h_disconnect(&a, true);
    a = h_login(h, "a@localhost/x");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_nothing(a);
    h_stop(&h);
}

/* What another session has, or what means one resource alone, does not go to another one. */
static void test_nobody_gets_a_copy_of_a_copy(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b, *z;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    for (int journaled = 0; journaled < 2; journaled++) {
        a = online(h, "a@localhost/x", id);
        z = h_online(h, "a@localhost/z");
        b = h_login(h, "b@localhost/y");
        h_drop_all(a);
        message(b, "a@localhost", "to both");
        h_expect_body(z, "b@localhost/y", "to both");
        h_enter(h, "a@localhost");
        gr_send(h_mod(h, "presence", "a@localhost"), parse(
            "<message type='chat' from='a@localhost' to='a@localhost/x'><received xmlns='"
            "urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></received></message>"));
        h_run(h);
        h_disconnect(&a, !journaled);
        if (journaled)
            h_advance(h, 601 * 1000);
        h_expect(z, GR_PRESENCE, GR_UNAVAILABLE, "a@localhost/x");
        h_expect_nothing(z);
        assert_int_equal(h_unhandled(b), 0);
        h_disconnect(&z, true);
        h_disconnect(&b, true);
    }
    h_stop(&h);
}

static void test_max_and_location(void **state)
{
    struct h *h = h_start(INI "location = [2001:db8::1]:5222\n");
    struct hs *a;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    a = h_login(h, "a@localhost/x");
    h_send(a, "<enable " SM " resume='1' max='5'/>");
    snprintf(id, sizeof(id), "%s", gr_el_attr(gr_stanza_root(h_expect_xml(a,
             "<enabled " SM " id='*' resume='true' max='5' location='[2001:db8::1]:5222'/>")), "id"));
    h_disconnect(&a, false);
    h_advance(h, 5001);
    a = resume(h, "a@localhost", id, 0);
    h_expect_xml(a, "<failed " SM " h='0'><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    h_stop(&h);
}

/* --- hooks, rows --- */

static char seen[256];

static void see(const char *what, const struct gr_stanza *st)
{
    snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s:%s ", what, gr_stanza_id(st));
}

static enum gr_verdict on_unacknowledged(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    see("u", ev->stanza);
    return GR_OK;
}

static enum gr_verdict on_filter(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    see("f", ev->stanza);
    gr_el_add(gr_ev_edit(ev), NULL, "urn:seen", "seen");
    return GR_OK;
}

static const struct gr_hook watching[] = { GR_ON(unacknowledged_message, 50, on_unacknowledged),
                                           GR_ON(filter_unacknowledged_messages, 50, on_filter),
                                           GR_HOOK_END };
static const struct gr_module watcher = { .name = "watcher", .hooks = watching };

/* Others hear of what waits, and may change what goes elsewhere. */
static void test_hooks(void **state)
{
    struct hs *a, *b;
    struct h *h;
    char id[64];

    (void)state;
    seen[0] = '\0';
    h_module(&watcher);
    h = h_start(INI);
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    assert_string_equal(seen, "");
    h_disconnect(&a, false);
    message(b, "a@localhost", "2");
    assert_string_equal(seen, "u:1 u:2 ");
    seen[0] = '\0';
    a = h_login(h, "a@localhost/x");
    assert_string_equal(seen, "f:1 f:2 ");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_xml(a, "<message type='chat' id='1' from='b@localhost/y' to='a@localhost'><body>1</body>"
                    "<seen xmlns='urn:seen'/><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/>"
                    "</message>");
    h_stop(&h);
}

static size_t rows;
static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *r)
{
    (void)self, (void)req;
    assert_int_equal(r->rc, 0);
    rows += r->count;
}

static size_t count_rows(struct h *h)
{
    struct gr_mod *self = h_mod(h, "stream_management", "localhost");

    rows = 0;
    h_run(h);
    for (int i = 0; i < 3; i++)
        gr_store_count(gr_req_new(self, 0, on_count), &self->desc->collections[i], gr_server_id());
    h_run(h);
    return rows;
}

/* A client that acknowledges in time costs no write for what it is sent, however much that is. */
static void test_no_writes_in_a_conversation(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64], ack[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    h_advance(h, 1200);
    assert_int_equal(count_rows(h), 2);
    h_hold_store(h, true); /* a transaction would stay on its way */
    for (int i = 2; i < 300; i++) {
        message(b, "a@localhost", "x");
        snprintf(ack, sizeof(ack), "<a " SM " h='%d'/>", i);
        h_send(a, ack);
        h_advance(h, 100);
        assert_int_equal(h_unhandled(b), 0);
        h_enter(h, "a@localhost");
        assert_int_equal(h_mod(h, "stream_management", "a@localhost")->pending, 0);
    }
    h_hold_store(h, false);
    h_stop(&h);
}

/* What is on disk goes when it is acknowledged, and with the session. */
static void test_rows(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    h_advance(h, 300);
    assert_int_equal(count_rows(h), 2); /* what it is, and its counters */
    message(b, "a@localhost", "1");
    message(b, "a@localhost", "2");
    h_send(a, "<a " SM " h='2'/>");
    h_advance(h, 300);
    assert_int_equal(count_rows(h), 3);
    h_send(a, "<a " SM " h='3'/>");
    h_advance(h, 1200);
    assert_int_equal(count_rows(h), 2);
    message(b, "a@localhost", "3");
    h_disconnect(&a, false);
    h_advance(h, 1);
    assert_int_equal(count_rows(h), 3);
    h_hold_store(h, true);
    h_advance(h, 601 * 1000); /* the message goes offline; until it is there its row stays */
    assert_int_equal(count_rows(h), 3);
    h_hold_store(h, false);
    assert_int_equal(count_rows(h), 0);
    a = h_login(h, "a@localhost/x");
    enable(a);
    h_advance(h, 300);
    assert_int_equal(count_rows(h), 2);
    assert_int_equal(h_user_delete(h, "a@localhost"), GR_R_OK);
    h_advance(h, 1);
    assert_int_equal(count_rows(h), 0);
    h_stop(&h);
}

static void test_same_resource_again(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    h_disconnect(&a, false);
    message(b, "a@localhost", "1");
    a = h_login(h, "a@localhost/x");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    h_expect_body(a, "b@localhost/y", "1");
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

static void test_queue_is_full(void **state)
{
    struct h *h = h_start(INI "queue_limit = 10\n");
    struct hs *a, *b;
    char id[64], n[16];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    h_disconnect(&a, false);
    for (int i = 1; i <= 11; i++) {
        snprintf(n, sizeof(n), "%d", i);
        message(b, "a@localhost", n);
    }
    assert_int_equal(h_unhandled(b), 0); /* they are in the offline store */
    a = resume(h, "a@localhost", id, 1);
    h_expect_xml(a, "<failed " SM " h='1'><item-not-found xmlns='" GR_NS_STANZAS "'/></failed>");
    assert_int_equal(h_bind(a, "x"), GR_COND_NONE);
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
    for (int i = 1; i <= 11; i++) {
        snprintf(n, sizeof(n), "%d", i);
        h_expect_body(a, "b@localhost/y", n);
    }
    h_stop(&h);
}

/* Connected, but it never acknowledges: after a while its stream ends, at ten times the limit at once. */
static void test_does_not_acknowledge(void **state)
{
    struct h *h = h_start(INI "queue_limit = 10\n");
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    for (int i = 1; i <= 50; i++)
        message(b, "a@localhost", "x");
    assert_null(h_closed(a));
    h_advance(h, 61 * 1000);
    h_drop_all(a);
    h_expect_closed(&a, "connection-timeout");
    a = resume(h, "a@localhost", id, 51);
    h_expect_xmlf(a, "<resumed " SM " h='1' previd='%s'/>", id);
    for (int i = 1; i <= 101; i++)
        message(b, "a@localhost", "x");
    h_drop_all(a);
    h_expect_closed(&a, "resource-constraint");
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

static void test_too_many_wait(void **state)
{
    struct h *h = h_start(INI "kept_sessions = 2\n");
    struct hs *a;
    char id[3][64], full[32];

    (void)state;
    h_user(h, "a@localhost");
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof(full), "a@localhost/%d", i);
        a = h_login(h, full);
        snprintf(id[i], 64, "%s", enable(a));
        h_advance(h, 10);
        h_disconnect(&a, false);
    }
    for (int i = 0; i < 3; i++) {
        a = resume(h, "a@localhost", id[i], 0);
        h_expect_xml(a, i == 0 ? "<failed " SM " h='0' _='any'/>" : "<resumed " SM " h='0' previd='*'/>");
    }
    h_stop(&h);
}

/* Both that got a copy are gone; the one that is there came later and has none. */
static void test_the_last_copy_is_not_thrown_away(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b, *c, *z;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    c = h_login(h, "a@localhost/y");
    enable(c);
    h_send(c, "<presence/>");
    b = h_login(h, "b@localhost/y");
    h_drop_all(a);
    message(b, "a@localhost", "to both");
    h_disconnect(&a, false);
    h_disconnect(&c, false);
    h_advance(h, 1000);
    assert_int_equal(h_unhandled(b), 0);
    z = h_online(h, "a@localhost/z");
    h_drop_all(z);
    h_advance(h, 602 * 1000);
    while (h_peek(z) != NULL && gr_stanza_kind(h_peek(z)) == GR_PRESENCE)
        h_next(z);
    h_expect_body(z, "b@localhost/y", "to both");
    while (h_peek(z) != NULL && gr_stanza_kind(h_peek(z)) == GR_PRESENCE)
        h_next(z);
    h_expect_nothing(z);
    h_stop(&h);
}

/* The module goes while a session waits for its client: it ends, or it would take messages for ever. More:
 * test_sm_ends.c. */
static void test_module_goes(void **state)
{
    struct h *h = h_start(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    h_disconnect(&a, false);
    message(b, "a@localhost", "1");
    h_advance(h, 300);
    assert_int_equal(h_unhandled(b), 0);
    h_reload(h, "[host localhost]\n[mod_presence]\n[mod_roster]\n[mod_offline]\n", NULL);
    message(b, "a@localhost", "2");
    assert_int_equal(h_unhandled(b), 0);
    a = h_login(h, "a@localhost/z");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, "a@localhost/z");
    h_expect_body(a, "b@localhost/y", "1");
    h_expect_body(a, "b@localhost/y", "2");
    h_expect_nothing(a);
    h_stop(&h);
}

/* Two hosts with the module. */
static void test_two_hosts_restart(void **state)
{
    struct h *h = h_start("[host localhost]\n[host other]\n[mod_presence]\n[mod_roster]\n[mod_offline]\n"
                          "[mod_stream_management]\n");
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    a = online(h, "a@localhost/x", id);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    h_restart(h);
    a = resume(h, "a@localhost", id, 1);
    h_expect_xmlf(a, "<resumed " SM " h='1' previd='%s'/>", id);
    h_expect_body(a, "b@localhost/y", "1");
    h_stop(&h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic_scenario),
        cmocka_unit_test(test_h_waits_for_the_disk),
        cmocka_unit_test(test_a_burst_is_asked_about_once),
        cmocka_unit_test(test_the_sender_waits_for_the_recipient),
        cmocka_unit_test(test_order_of_negotiation),
        cmocka_unit_test(test_acknowledges_too_much),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_old_stream_is_still_there),
        cmocka_unit_test(test_waits_for_what_is_under_way),
        cmocka_unit_test(test_vanishes_in_the_middle),
        cmocka_unit_test(test_of_another_account),
        cmocka_unit_test(test_resumes_with_a_wrong_count),
        cmocka_unit_test(test_resumes_after_a_restart),
        cmocka_unit_test(test_modules_remember),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_disk_is_full),
        cmocka_unit_test(test_disk_was_full),
        cmocka_unit_test(test_time_is_up_after_a_restart),
        cmocka_unit_test(test_queue_of_a_session_that_cannot_be_resumed),
        cmocka_unit_test(test_nothing_is_told_that_is_not_on_disk),
        cmocka_unit_test(test_deliver_acknowledge_delete),
        cmocka_unit_test(test_time_is_up),
        cmocka_unit_test(test_clean_end),
        cmocka_unit_test(test_nobody_gets_a_copy_of_a_copy),
        cmocka_unit_test(test_max_and_location),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_writes_in_a_conversation),
        cmocka_unit_test(test_same_resource_again),
        cmocka_unit_test(test_queue_is_full),
        cmocka_unit_test(test_does_not_acknowledge),
        cmocka_unit_test(test_too_many_wait),
        cmocka_unit_test(test_the_last_copy_is_not_thrown_away),
        cmocka_unit_test(test_module_goes),
        cmocka_unit_test(test_two_hosts_restart),
    };
    return H_RUN("stream_management", tests);
}
