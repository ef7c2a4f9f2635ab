/* tests/mod/test_privacy.c: mod_privacy (XEP-0016), and that the block list (XEP-0191) is a view
 * of it. */
#include "privacy.h"

#include "store/engine.h"
#include "store/store.h"

#include <errno.h>

#define DENY(jid, order) "<item type='jid' value='" jid "' action='deny' order='" order "'/>"
#define ALLOW_REST "<item action='allow' order='99'/>"
#define BLOCKLIST(x) "<blocklist xmlns='urn:xmpp:blocking'>" x "</blocklist>"

static void set(struct hs *s, const char *what)
{
    char payload[4096];

    snprintf(payload, sizeof(payload), PRIVACY("%s"), what);
    h_iq_result(s, "set", NULL, payload, NULL);
}

static void set_error(struct hs *s, const char *what, enum gr_cond cond)
{
    char payload[4096];

    snprintf(payload, sizeof(payload), PRIVACY("%s"), what);
    h_iq_error(s, "set", NULL, payload, cond);
}

static void get(struct hs *s, const char *what, const char *result)
{
    char payload[1024], expected[4096];

    snprintf(payload, sizeof(payload), PRIVACY("%s"), what);
    snprintf(expected, sizeof(expected), PRIVACY("%s"), result);
    h_iq_result(s, "get", NULL, payload, expected);
}

/* 2.3, 2.6 to 2.8. */
static void lists_are_kept(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");

    (void)state;
    get(a, "", "");
    set(a, "<list name='one'>" ALLOW_REST DENY("Bob@localhost", "7")
           "<item type='subscription' value='both' action='allow' order='8'><iq/><message/></item>"
           "</list>");
    h_expect_xml(a, "<iq type='set' id='*' from='alice@localhost' to='alice@localhost/a'>"
                    PRIVACY("<list name='one'/>") "</iq>");
    h_expect_xml(b, "<iq type='set' id='*' _='more'>" PRIVACY("<list name='one'/>") "</iq>");
    assert_int_equal(seen.pushes, 1);
    set(a, "<list name='two'>" DENY("x.y", "1") "</list>");
    set(a, "<active name='two'/>");
    set(a, "<default name='one'/>");
    h_drop_all(a);
    get(a, "", "<active name='two'/><default name='one'/><list name='one'/><list name='two'/>");
    get(a, "<list name='one'/>", "<list name='one'>" DENY("bob@localhost", "7")
        "<item type='subscription' value='both' action='allow' order='8'><message/><iq/></item>"
        ALLOW_REST "</list>");
    assert_int_equal(seen.gets, 3);
    assert_int_equal(seen.sets, 4);
    h_restart(h);
    a = h_login(h, "alice@localhost/a");
    get(a, "", "<default name='one'/><list name='one'/><list name='two'/>");
    set(a, "<list name='two'/>");
    set(a, "<list name='one'/>");
    get(a, "", "");
    h_stop(&h);
}

static void wrong_requests(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a");
    char name[257], payload[512];

    (void)state;
    set(a, "<list name='one'>" ALLOW_REST "</list>");
    h_drop_all(a);
    h_iq_error(a, "get", NULL, PRIVACY("<list name='none'/>"), GR_ITEM_NOT_FOUND);
    h_iq_error(a, "get", NULL, PRIVACY("<list name='one'/><list name='one'/>"), GR_BAD_REQUEST);
    h_iq_error(a, "get", NULL, PRIVACY("<active/>"), GR_BAD_REQUEST);
    set_error(a, "", GR_BAD_REQUEST);
    set_error(a, "<list name='one'/><active/>", GR_BAD_REQUEST);
    set_error(a, "<other/>", GR_BAD_REQUEST);
    set_error(a, "<list>" ALLOW_REST "</list>", GR_BAD_REQUEST);
    set_error(a, "<list name='none'/>", GR_ITEM_NOT_FOUND);
    set_error(a, "<active name='none'/>", GR_ITEM_NOT_FOUND);
    set_error(a, "<default name='none'/>", GR_ITEM_NOT_FOUND);
    set_error(a, "<list name='x'>" DENY("a.b", "1") DENY("c.b", "1") "</list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'>" DENY("a.b", "-1") "</list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'>" DENY("a.b", "4294967296") "</list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'>" DENY("a.b", "1x") "</list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'>" DENY("a@b@c", "1") "</list>", GR_JID_MALFORMED);
    set_error(a, "<list name='x'><item order='1'/></list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'><item action='deny'/></list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'><item action='hide' order='1'/></list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'><item action='deny' order='1' type='jid'/></list>",
              GR_BAD_REQUEST);
    set_error(a, "<list name='x'><item action='deny' order='1' type='age' value='1'/></list>",
              GR_BAD_REQUEST);
    set_error(a, "<list name='x'><item action='deny' order='1' type='subscription' value='all'/>"
                 "</list>", GR_BAD_REQUEST);
    set_error(a, "<list name='x'><item action='deny' order='1' type='group' value='Enemies'/>"
                 "</list>", GR_ITEM_NOT_FOUND);
    memset(name, 'n', 256);
    name[256] = '\0';
    snprintf(payload, sizeof(payload), "<list name='%s'>" ALLOW_REST "</list>", name);
    set_error(a, payload, GR_BAD_REQUEST);
    set(a, "<list name='ok'>" ALLOW_REST "</list>");
    h_drop_all(a);
    h_iq_error(a, "set", "bob@localhost", PRIVACY("<active/>"), GR_FORBIDDEN);
    get(a, "", "<list name='one'/><list name='ok'/>");
    h_stop(&h);
}

/* 2.2, rules 1, 2, 8 and 11; 2.4, 2.5, 2.8. */
static void which_list_applies(void **state)
{
    struct h *h = start();
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "alice@localhost/b");
    struct hs *bob = h_online(h, "bob@localhost/x");

    (void)state;
    set(a, "<list name='nobob'>" DENY("bob@localhost", "1") "</list>");
    set(a, "<list name='all'>" ALLOW_REST "</list>");
    says(bob, "alice@localhost/a", "chat", "a list alone does nothing");
    set(a, "<default name='nobob'/>");
    set(b, "<active name='all'/>");
    h_drop_all(a);
    h_drop_all(b);
    says(bob, "alice@localhost/a", "chat", "1");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost/a");
    says(bob, "alice@localhost/b", "chat", "2");
    h_expect_body(b, "bob@localhost/x", "2");
    says(bob, "alice@localhost", "chat", "3"); /* one of the two wants it */
    h_expect_body(b, "bob@localhost/x", "3");
    h_expect_nothing(a);
    h_expect_nothing(bob);
    h_send(bob, "<presence to='alice@localhost'/>");
    h_expect(b, GR_PRESENCE, GR_AVAILABLE, "bob@localhost/x");
    h_expect_nothing(a);
    says(b, "bob@localhost", "chat", "4");
    h_expect_body(bob, "alice@localhost/b", "4");
    says(a, "bob@localhost", "chat", "5");
    h_expect_error(a, GR_MESSAGE, GR_NOT_ACCEPTABLE, "bob@localhost");
    /* Conflicts: the list applies to the other resource. */
    set_error(b, "<default name='all'/>", GR_CONFLICT);
    set_error(b, "<default/>", GR_CONFLICT);
    set_error(b, "<list name='nobob'/>", GR_CONFLICT);
    set_error(a, "<list name='all'/>", GR_CONFLICT);
    set(a, "<default name='nobob'/>"); /* no change */
    /* Rule 8: changed by another resource. */
    seen.updates = 0;
    set(a, "<list name='all'>" DENY("carol@localhost", "1") "</list>");
    assert_int_equal(seen.updates, 1);
    set(a, "<list name='all'>" DENY("bob@localhost", "1") "</list>");
    h_drop_all(b);
    says(bob, "alice@localhost", "chat", "6");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    set(b, "<active/>");
    set(a, "<active name='all'/>");
    set(a, "<list name='all'/>"); /* only its own: from now on the default list */
    h_drop_all(a);
    get(a, "", "<default name='nobob'/><list name='nobob'/>");
    h_disconnect(&b, true);
    set(a, "<default/>");
    says(bob, "alice@localhost", "chat", "7");
    h_expect_among(a, "<message from='bob@localhost/x' _='any'/>");
    h_stop(&h);
}

/* An account without sessions has its default list. */
static void offline_the_default_list_applies(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");

    (void)state;
    set(alice, "<list name='l'><item action='deny' order='1'><message/></item></list>");
    set(alice, "<active name='l'/>");
    h_disconnect(&alice, true);
    says(bob, "alice@localhost", "chat", "1");
    assert_int_equal(seen.stored, 1);
    alice = h_online(h, "alice@localhost/a");
    set(alice, "<default name='l'/>");
    h_disconnect(&alice, true);
    says(bob, "alice@localhost", "chat", "2");
    assert_int_equal(seen.stored, 1);
    assert_int_equal(seen.not_stored, 1);
    h_expect_among(bob, "<message type='error' from='alice@localhost' _='any'/>");
    says(bob, "alice@localhost/gone", "normal", "3"); /* would not have been stored */
    assert_int_equal(seen.not_stored, 1);
    h_stop(&h);
}

/* 2.9 to 2.12: what an item is about. */
static void parts(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");

    (void)state;
    befriend(alice, bob);
    set(alice, "<list name='l'>" "<item type='jid' value='bob@localhost' action='deny' order='1'>"
               "<message/></item></list>");
    set(alice, "<default name='l'/>");
    h_drop_all(alice);
    says(bob, "alice@localhost", "chat", "no");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    says(bob, "alice@localhost/a", "error", "errors pass");
    h_expect(alice, GR_MESSAGE, GR_TYPE_ERROR, "bob@localhost/x");
    says(alice, "bob@localhost", "chat", "out");
    h_expect_body(bob, "alice@localhost/a", "out");
    h_send(bob, "<presence to='alice@localhost'/>");
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "bob@localhost/x");
    set(alice, "<list name='l'><item action='deny' order='1'><presence-in/></item></list>");
    h_drop_all(alice);
    h_send(bob, "<presence to='alice@localhost'/>");
    h_expect_nothing(alice);
    says(bob, "alice@localhost", "chat", "yes");
    h_expect_body(alice, "bob@localhost/x", "yes");
    set(alice, "<list name='l'><item action='deny' order='1'><iq/></item></list>");
    h_drop_all(alice);
    h_iq_error(bob, "get", "alice@localhost/a", "<query xmlns='jabber:iq:version'/>",
               GR_SERVICE_UNAVAILABLE);
    h_send(bob, "<iq type='result' id='x' to='alice@localhost/a'/>");
    h_expect_nothing(alice);
    /* One's own server still answers. */
    assert_int_equal(gr_stanza_type(h_iq(alice, "get", NULL, "<query xmlns='jabber:iq:roster'/>")),
                     GR_RESULT);
    h_stop(&h);
}

/* 2.11: who sees the presence, with sessions that differ; nothing is told at the end. */
static void invisible(void **state)
{
    struct h *h = start();
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "alice@localhost/b");
    struct hs *bob = h_online(h, "bob@localhost/x");

    (void)state;
    befriend(a, bob);
    set(a, "<list name='invisible'><item action='deny' order='1'><presence-out/></item></list>");
    set(a, "<active name='invisible'/>");
    h_expect_xml(bob, "<presence type='unavailable' from='alice@localhost/a' to='bob@localhost'/>");
    h_expect_nothing(bob);
    h_drop_all(a);
    h_send(a, "<presence to='bob@localhost'/>");
    h_expect_xml(a, "<presence type='error' from='bob@localhost' _='any'><error type='cancel'>"
                    "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
                    "</presence>");
    h_send(a, "<presence><show>away</show></presence>");
    h_expect_nothing(bob);
    h_send(bob, "<presence type='probe' to='alice@localhost'/>");
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/b");
    h_expect_nothing(bob);
    h_disconnect(&b, true);
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/b");
    h_send(bob, "<presence type='probe' to='alice@localhost'/>");
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost");
    set(a, "<active/>");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost' _='more'>"
                      "<show>away</show></presence>");
    set(a, "<active name='invisible'/>");
    h_drop_all(bob);
    h_disconnect(&a, false);
    h_expect_nothing(bob);
    h_stop(&h);
}

/* 2.1, 2.2 rule 9: groups and subscriptions, as they are now. */
static void roster_items(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");

    (void)state;
    h_iq(alice, "get", NULL, "<query xmlns='jabber:iq:roster'/>");
    set(alice, "<list name='l'><item type='subscription' value='none' action='deny' order='1'/>"
               "</list>");
    set(alice, "<default name='l'/>");
    says(bob, "alice@localhost", "chat", "1");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    says(bob, "alice@localhost", "chat", "1");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    set(alice, "<default/>");
    befriend(alice, bob);
    set(alice, "<default name='l'/>");
    h_drop_all(alice);
    says(bob, "alice@localhost", "chat", "2");
    h_expect_body(alice, "bob@localhost/x", "2");
    h_iq(alice, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'>"
                             "<group>Enemies</group></item></query>");
    set(alice, "<list name='g'><item type='group' value='Enemies' action='deny' order='1'>"
               "<message/></item></list>");
    set(alice, "<active name='g'/>");
    says(bob, "alice@localhost", "chat", "3");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_iq(alice, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'>"
                             "<group>Friends</group></item></query>");
    h_drop_all(alice);
    says(bob, "alice@localhost", "chat", "4");
    h_expect_body(alice, "bob@localhost/x", "4");
    set(alice, "<active/>");
    h_iq(alice, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' "
                             "subscription='remove'/></query>");
    h_drop_all(bob);
    says(bob, "alice@localhost", "chat", "5");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_disconnect(&alice, true); /* offline the roster is asked as well */
    says(bob, "alice@localhost", "chat", "6");
    h_expect_among(bob, "<message type='error' from='alice@localhost' _='any'/>");
    assert_int_equal(seen.stored, 0);
    h_stop(&h);
}

static void roster_answers(struct h *h, const char *owner)
{
    assert_true(seen.count > 0);
    h_enter(h, owner);
    gr_resume(seen.holds[--seen.count], GR_OK);
    h_run(h);
}

/* Stanzas wait for it, in order, and only those that need it; not for ever. */
static void a_slow_roster(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");
    struct hs *carol = h_online(h, "carol@localhost/c");

    (void)state;
    befriend(alice, bob);
    set(alice, "<list name='l'><item type='subscription' value='none' action='deny' order='1'/>"
               "</list>");
    set(alice, "<default name='l'/>");
    h_drop_all(alice);
    seen.wait = true;
    says(bob, "alice@localhost", "chat", "1");
    says(bob, "alice@localhost", "chat", "2");
    h_expect_nothing(alice);
    roster_answers(h, "alice@localhost");
    h_expect_body(alice, "bob@localhost/x", "1");
    h_expect_body(alice, "bob@localhost/x", "2");
    says(carol, "alice@localhost", "chat", "3");
    h_reload(h, "[host localhost]\n" MODULES "[mod_privacy localhost]\nmax_lists = 9\n", NULL);
    roster_answers(h, "alice@localhost");
    h_expect_error(carol, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_advance(h, 70000); /* nothing is remembered for long */
    says(bob, "alice@localhost", "chat", "4");
    says(alice, "carol@localhost", "chat", "5");
    h_expect_nothing(bob);
    h_advance(h, 25000);
    h_expect_error(bob, GR_MESSAGE, GR_RESOURCE_CONSTRAINT, "alice@localhost");
    h_expect_nothing(carol);
    h_expect_error(alice, GR_MESSAGE, GR_RESOURCE_CONSTRAINT, "carol@localhost");
    while (seen.count > 0) /* too late */
        roster_answers(h, "alice@localhost");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* More senders than are remembered. */
static void many_strangers(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");
    char jid[64];

    (void)state;
    befriend(alice, bob);
    set(alice, "<list name='l'><item type='subscription' value='none' action='deny' order='1'>"
               "<presence-out/></item></list>");
    set(alice, "<default name='l'/>");
    h_drop_all(alice);
    for (int i = 0; i < 600; i++) {
        snprintf(jid, sizeof(jid), "u%d@remote.example", i);
        h_sendf(alice, "<presence to='%s'/>", jid);
        h_expect_error(alice, GR_PRESENCE, GR_NOT_ACCEPTABLE, jid);
    }
    h_send(alice, "<presence to='bob@localhost'><show>dnd</show></presence>");
    h_expect_xml(bob, "<presence from='alice@localhost/a' _='more'><show>dnd</show></presence>");
    h_stop(&h);
}

/* XEP-0191, 5: both protocols see the same. */
static void both_views_agree(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(a, "get", NULL, BLOCKLIST(""), BLOCKLIST(""));
    h_iq_result(a, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='a.b'/></block>", NULL);
    h_drop_all(a);
    get(a, "", "<default name='blocked'/><list name='blocked'/>");
    get(a, "<list name='blocked'/>", "<list name='blocked'>" DENY("a.b", "1") "</list>");
    /* 2 and 3: changed by the other protocol. */
    set(a, "<list name='blocked'><item type='jid' value='a.b' action='allow' order='3'/>"
           DENY("c.d", "5") "<item type='jid' value='e.f' action='deny' order='9'><message/></item>"
           "</list>");
    h_expect_among(a, "<iq type='set' id='*' _='more'><unblock xmlns='urn:xmpp:blocking'>"
                      "<item jid='a.b'/></unblock></iq>");
    h_expect_among(a, "<iq type='set' id='*' _='more'><block xmlns='urn:xmpp:blocking'>"
                      "<item jid='c.d'/></block></iq>");
    h_expect_among(a, "<iq type='set' id='*' _='more'>" PRIVACY("<list name='blocked'/>") "</iq>");
    h_iq_result(a, "get", NULL, BLOCKLIST(""), BLOCKLIST("<item jid='c.d'/>"));
    /* Blocked addresses come first, also before what would allow them. */
    h_iq_result(a, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='a.b'/></block>", NULL);
    h_drop_all(a);
    get(a, "<list name='blocked'/>", "<list name='blocked'>" DENY("c.d", "1") DENY("a.b", "2")
        "<item type='jid' value='a.b' action='allow' order='3'/>"
        "<item type='jid' value='e.f' action='deny' order='4'><message/></item></list>");
    /* 4: another default list. */
    set(a, "<list name='other'>" DENY("g.h", "1") "</list>");
    set(a, "<default name='other'/>");
    h_iq_result(a, "get", NULL, BLOCKLIST(""), BLOCKLIST("<item jid='g.h'/>"));
    h_iq_result(a, "set", NULL, "<unblock xmlns='urn:xmpp:blocking'/>", NULL);
    h_drop_all(a);
    get(a, "", "<list name='blocked'/>"); /* without items there is no list */
    h_iq_result(a, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='a.b'/></block>", NULL);
    h_drop_all(a);
    get(a, "", "<default name='blocked-2'/><list name='blocked'/><list name='blocked-2'/>");
    h_stop(&h);
}

/* --- hooks --- */

static void others_take_part(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");

    (void)state;
    says(bob, "alice@localhost", "chat", "1");
    assert_int_equal(seen.checks, 0); /* without a list nobody is asked */
    h_drop_all(alice);
    set(alice, "<list name='l'>" ALLOW_REST "</list>");
    set(alice, "<default name='l'/>");
    h_drop_all(alice);
    says(bob, "alice@localhost", "chat", "2");
    assert_int_equal(seen.checks, 1);
    assert_string_equal(seen.list, "l");
    h_expect_body(alice, "bob@localhost/x", "2");
    seen.verdict = GR_DENY;
    says(bob, "alice@localhost", "chat", "3");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    says(alice, "bob@localhost", "chat", "4");
    h_expect_error(alice, GR_MESSAGE, GR_NOT_ACCEPTABLE, "bob@localhost");
    seen.verdict = GR_BLOCK;
    says(alice, "bob@localhost", "chat", "5");
    h_expect_xml(alice, "<message type='error' id='m1' from='bob@localhost' to='alice@localhost/a' "
                        "_='any'>" BLOCKED_ERROR "</message>");
    seen.verdict = -1;
    /* Another default list than the stored one, or none. */
    set(alice, "<list name='nobob'>" DENY("bob@localhost", "1") "</list>");
    h_disconnect(&alice, true);
    seen.instead = "nobob";
    seen.lists = 0;
    says(bob, "alice@localhost", "chat", "6");
    assert_int_equal(seen.lists, 1);
    h_expect_among(bob, "<message type='error' from='alice@localhost' _='any'/>");
    assert_int_equal(seen.stored, 0);
    seen.instead = "";
    says(bob, "alice@localhost", "chat", "7");
    says(bob, "alice@localhost", "chat", "8");
    assert_int_equal(seen.lists, 2); /* that there is none is remembered */
    assert_int_equal(seen.stored, 2);
    h_stop(&h);
}

/* --- bounds, failures, ends --- */

static void bounded(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a");
    char item[128], *list = gr_strdup(PRIVACY("<list name='long'>"));
    size_t len = strstr(list, "</query>") - list;

    (void)state;
    list = gr_realloc(list, 200000);
    for (int i = 0; i < 1000; i++) {
        snprintf(item, sizeof(item), "<item type='jid' value='u%d@b.c' action='deny' order='%d'/>",
                 i, i);
        len += (size_t)snprintf(list + len, 200000 - len, "%s", item);
    }
    snprintf(list + len, 200000 - len, "</list></query>");
    h_iq_result(a, "set", NULL, list, NULL);
    snprintf(list + len, 200000 - len, ALLOW_REST "</list></query>");
    snprintf(strstr(list, "order='99'/></list>"), 40, "order='1000'/></list></query>");
    h_iq_error(a, "set", NULL, list, GR_RESOURCE_CONSTRAINT);
    gr_free(list);
    set(a, "<default name='long'/>");
    says(a, "u999@b.c", "chat", "hi");
    h_expect_among(a, "<message type='error' from='u999@b.c' _='any'/>");
    for (int i = 1; i < 50; i++) {
        snprintf(item, sizeof(item), "<list name='l%d'>" ALLOW_REST "</list>", i);
        set(a, item);
    }
    set_error(a, "<list name='l50'>" ALLOW_REST "</list>", GR_RESOURCE_CONSTRAINT);
    set(a, "<list name='l49'>" DENY("a.b", "1") "</list>");
    set(a, "<list name='l49'/>");
    set(a, "<list name='l50'>" ALLOW_REST "</list>");
    h_stop(&h);
}

static int broken_disk(uint64_t n)
{
    (void)n;
    return EIO;
}
static const struct store_faults broken = { .commit = broken_disk };

static void a_failing_store(void **state)
{
    struct h *h = start();
    struct hs *a = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");

    (void)state;
    set(a, "<list name='l'>" DENY("bob@localhost", "1") "</list>");
    h_drop_all(a);
    store_faults = &broken;
    set_error(a, "<default name='l'/>", GR_INTERNAL_SERVER_ERROR);
    set_error(a, "<list name='m'>" ALLOW_REST "</list>", GR_INTERNAL_SERVER_ERROR);
    set_error(a, "<list name='l'/>", GR_INTERNAL_SERVER_ERROR);
    store_faults = NULL;
    h_expect_nothing(a);
    get(a, "", "<list name='l'/>");
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_body(a, "bob@localhost/x", "hi");
    h_stop(&h);
}

static void put_row(struct h *h, const char *key, const char *row)
{
    struct store_txn *t = store_txn_new();

    h_enter(h, "alice@localhost");
    store_txn_add(t, STORE_PUT, store_coll("privacy", GR_COLL_MAP), "alice@localhost", key,
                  strlen(key), row, strlen(row));
    store_commit(t, NULL);
    h_run(h);
}

/* A row that makes no sense: what it would deny is not known, so nothing passes but what is one's
 * own; until the account says again what it wants. */
static void an_unreadable_list(void **state)
{
    static const struct { const char *key, *row, *names, *request; } how[] = {
        { "index", "<query", "<default name='damaged'/>", PRIVACY("<default/>") },
        { "index", "<query", "<default name='damaged'/>", "<unblock xmlns='urn:xmpp:blocking'/>" },
        { "list:l", "<list", "<default name='l'/><list name='l'/>", PRIVACY("<default/>") },
        { "list:l", "<list", "<default name='l'/><list name='l'/>",
          PRIVACY("<list name='l'><item action='allow' order='1'/></list>") },
        { "list:l", "<list", "<default name='l'/><list name='l'/>",
          "<block xmlns='urn:xmpp:blocking'><item jid='carol@localhost'/></block>" },
        { "list:l", "<list", "<default name='l'/><list name='l'/>",
          "<unblock xmlns='urn:xmpp:blocking'/>" },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(how); i++) {
        struct h *h = start();
        struct hs *bob = h_online(h, "bob@localhost/x"), *alice;

        if (how[i].key[0] == 'l')
            put_row(h, "index",
                    "<query xmlns='jabber:iq:privacy'><default name='l'/><list name='l'/></query>");
        put_row(h, how[i].key, how[i].row);
        says(bob, "alice@localhost", "chat", "1");
        h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
        alice = h_login(h, "alice@localhost/a");
        says(bob, "alice@localhost/a", "chat", "2");
        h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost/a");
        says(alice, "bob@localhost", "chat", "3");
        h_expect_error(alice, GR_MESSAGE, GR_NOT_ACCEPTABLE, "bob@localhost");
        h_send(alice, "<presence/>");
        h_drop_all(alice);
        assert_int_equal(gr_stanza_type(h_iq(alice, "get", NULL, "<query xmlns='jabber:iq:roster'/>")),
                         GR_RESULT);
        get(alice, "", how[i].names);
        h_iq_result(alice, "get", NULL, BLOCKLIST(""), BLOCKLIST(""));
        h_expect_nothing(bob);
        assert_int_equal(gr_stanza_type(h_iq(alice, "set", NULL, how[i].request)), GR_RESULT);
        h_drop_all(alice);
        says(bob, "alice@localhost", "chat", "4");
        h_expect_body(alice, "bob@localhost/x", "4");
        h_restart(h);
        alice = h_online(h, "alice@localhost/a");
        bob = h_login(h, "bob@localhost/x");
        says(bob, "alice@localhost", "chat", "5");
        h_expect_body(alice, "bob@localhost/x", "5");
        h_stop(&h);
    }
}

static void exported_and_removed(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a");
    struct gr_stanza *st = gr_nonza_new("urn:xmpp:pie:0", "user");

    (void)state;
    set(a, "<list name='l'>" DENY("a.b", "1") "</list>");
    set(a, "<default name='l'/>");
    struct gr_mod *self = h_mod(h, "privacy", "alice@localhost");
    struct gr_export_ev ev = { .user = h_parse_jid(h, "alice@localhost"), .data = st };
    gr_hook_run(self, GR_HOOK_get_personal_data, &ev.ev, NULL);
    h_run(h);
    h_assert_xml(st, "<user xmlns='urn:xmpp:pie:0' _='more'>"
                     PRIVACY("<default name='l'/><list name='l'>" DENY("a.b", "1") "</list>")
                     "</user>");
    gr_stanza_unref(&st);
    /* Deleted under a session that is changing something. */
    h_hold_store(h, true);
    h_send(a, "<iq type='set' id='1'>" PRIVACY("<list name='m'>" ALLOW_REST "</list>") "</iq>");
    h_send(a, "<iq type='set' id='2'>" PRIVACY("<list name='n'>" ALLOW_REST "</list>") "</iq>");
    h_hold_store(h, false);
    h_user_delete(h, "alice@localhost");
    h_drop_all(a);
    h_expect_closed(&a, "not-authorized");
    h_user_create(h, "alice@localhost", "secret");
    a = h_login(h, "alice@localhost/a");
    get(a, "", "");
    h_stop(&h);
}

static void reload_keeps_active_lists(void **state)
{
    struct h *h = start();
    struct hs *a = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/x");

    (void)state;
    set(a, "<list name='l'>" DENY("bob@localhost", "1") "</list>");
    set(a, "<active name='l'/>");
    h_drop_all(a);
    h_reload(h, "[host localhost]\n" MODULES "[mod_privacy localhost]\nmax_lists = 2\n", NULL);
    get(a, "", "<active name='l'/><list name='l'/>");
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    set(a, "<list name='l'>" DENY("carol@localhost", "1") "</list>");
    h_drop_all(a);
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_body(a, "bob@localhost/x", "hi");
    h_stop(&h);
}

static int teardown(void **state)
{
    (void)state;
    store_faults = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(lists_are_kept), cmocka_unit_test(wrong_requests),
        cmocka_unit_test(which_list_applies), cmocka_unit_test(offline_the_default_list_applies),
        cmocka_unit_test(parts), cmocka_unit_test(invisible), cmocka_unit_test(roster_items),
        cmocka_unit_test(a_slow_roster),
        cmocka_unit_test(many_strangers), cmocka_unit_test(both_views_agree),
        cmocka_unit_test(others_take_part), cmocka_unit_test(bounded),
        cmocka_unit_test_teardown(a_failing_store, teardown),
        cmocka_unit_test(an_unreadable_list), cmocka_unit_test(exported_and_removed),
        cmocka_unit_test(reload_keeps_active_lists),
    };

    return H_RUN("privacy", cases);
}
