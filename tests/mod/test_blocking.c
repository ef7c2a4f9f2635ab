/* tests/mod/test_blocking.c: mod_blocking (XEP-0191). */
#include "privacy.h"

#include "store/engine.h"

#include <errno.h>

#define BLOCK(x) "<block xmlns='urn:xmpp:blocking'>" x "</block>"
#define UNBLOCK(x) "<unblock xmlns='urn:xmpp:blocking'>" x "</unblock>"
#define LIST(x) "<blocklist xmlns='urn:xmpp:blocking'>" x "</blocklist>"
#define ITEMS "<query xmlns='http://jabber.org/protocol/disco#items'/>"
#define ITEM(jid) "<item jid='" jid "'/>"

static void block(struct hs *s, const char *jid)
{
    char payload[4096];

    snprintf(payload, sizeof(payload), BLOCK("<item jid='%s'/>"), jid);
    h_iq_result(s, "set", NULL, payload, NULL);
}

static void expect_list(struct hs *s, const char *items)
{
    char result[4096];

    snprintf(result, sizeof(result), LIST("%s"), items);
    h_iq_result(s, "get", NULL, LIST(""), result);
}

/* 3.1: discovered. 3.2 to 3.5: the commands and their pushes. */
static void commands_and_pushes(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");
    struct hs *c = h_login(h, "alice@localhost/c");

    (void)state;
    assert_non_null(strstr(gr_stanza_xml(h_iq(a, "get", "localhost",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>"), NULL), "'urn:xmpp:blocking'"));
    expect_list(a, "");
    expect_list(b, "");
    h_iq_result(a, "set", NULL, BLOCK(ITEM("Bob@localhost") ITEM("spam.example")), NULL);
    h_expect_xml(a, "<iq type='set' id='*' from='alice@localhost' to='alice@localhost/a'>"
                    BLOCK(ITEM("bob@localhost") ITEM("spam.example")) "</iq>");
    h_expect_xml(b, "<iq type='set' id='*' _='more'>"
                    BLOCK(ITEM("bob@localhost") ITEM("spam.example")) "</iq>");
    h_expect_nothing(c); /* did not ask for the list */
    expect_list(c, ITEM("bob@localhost") ITEM("spam.example"));
    h_iq_result(c, "set", NULL, BLOCK(ITEM("bob@localhost")), NULL); /* already */
    expect_list(c, ITEM("bob@localhost") ITEM("spam.example"));
    h_drop_all(c);
    h_iq_result(c, "set", NULL, UNBLOCK(ITEM("spam.example")), NULL);
    h_expect_xml(c, "<iq type='set' id='*' _='more'>" UNBLOCK(ITEM("spam.example")) "</iq>");
    h_iq_result(c, "set", NULL, BLOCK(ITEM("room@muc.example/nick")), NULL);
    h_drop_all(a);
    h_iq_result(c, "set", NULL, UNBLOCK(""), NULL);
    h_expect_xml(a, "<iq type='set' id='*' _='more'>" UNBLOCK("") "</iq>");
    expect_list(a, "");
    h_iq_result(a, "set", NULL, UNBLOCK(""), NULL); /* nobody is */
    h_stop(&h);
}

/* A push does not overtake the list that it changes. */
static void pushes_follow_the_list(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");

    (void)state;
    h_feed(a, "<iq type='get' id='list'>" LIST("") "</iq>");
    h_feed(b, "<iq type='set' id='block'>" BLOCK(ITEM("bob@localhost")) "</iq>");
    h_run(h);
    h_expect_xml(a, "<iq type='result' id='list' _='more'>" LIST("") "</iq>");
    h_expect_xml(a, "<iq type='set' id='*' _='more'>" BLOCK(ITEM("bob@localhost")) "</iq>");
    h_stop(&h);
}

static void wrong_requests(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(a, "set", NULL, BLOCK(""), GR_BAD_REQUEST);
    h_iq_error(a, "set", NULL, BLOCK("<item/>"), GR_BAD_REQUEST);
    h_iq_error(a, "set", NULL, BLOCK("<item jid='a@b@c'/>"), GR_JID_MALFORMED);
    h_iq_error(a, "set", NULL, BLOCK(ITEM("bob@localhost") "<item jid=''/>"), GR_JID_MALFORMED);
    h_iq_error(a, "set", NULL, LIST(""), GR_BAD_REQUEST);
    h_iq_error(a, "get", NULL, BLOCK(ITEM("bob@localhost")), GR_BAD_REQUEST);
    h_iq_error(a, "set", "bob@localhost", BLOCK(ITEM("carol@localhost")), GR_FORBIDDEN);
    h_iq_error(a, "get", "bob@localhost", LIST(""), GR_SERVICE_UNAVAILABLE);
    expect_list(a, "");
    h_stop(&h);
}

/* 3.3: what a blocked contact sends. */
static void nothing_comes_in(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    befriend(alice, bob);
    block(alice, "bob@localhost");
    h_expect_xml(bob, "<presence type='unavailable' from='alice@localhost/a' to='bob@localhost'/>");
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_xml(bob, "<message type='error' id='m1' from='alice@localhost' to='bob@localhost/b' "
                      "_='any'><error type='cancel' _='more'><service-unavailable "
                      "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>");
    says(bob, "alice@localhost/a", "normal", "hi");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost/a");
    says(bob, "alice@localhost/a", "groupchat", "hi");
    says(bob, "alice@localhost", "headline", "hi");
    says(bob, "alice@localhost/a", "error", "hi");
    h_send(bob, "<iq type='result' id='x' to='alice@localhost/a'/>");
    h_send(bob, "<presence><status>here</status></presence>");
    h_send(bob, "<presence to='alice@localhost/a'/>");
    h_send(bob, "<presence type='subscribe' to='alice@localhost'/>");
    h_send(bob, "<presence type='probe' to='alice@localhost'/>");
    while (h_count(bob) > 0) /* its own presence */
        assert_null(strstr(gr_stanza_xml(h_next(bob), NULL), "from='alice"));
    h_iq_error(bob, "get", "alice@localhost/a", "<query xmlns='jabber:iq:version'/>",
               GR_SERVICE_UNAVAILABLE);
    h_iq_error(bob, "get", "alice@localhost", "<query xmlns='jabber:iq:last'/>",
               GR_SERVICE_UNAVAILABLE);
    h_expect_nothing(alice);
    h_stop(&h);
}

/* 3.3: what the user sends; 3.4: and when unblocked. */
static void nothing_goes_out(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *carol = h_online(h, "carol@localhost/c");

    (void)state;
    befriend(alice, bob);
    befriend(alice, carol);
    block(alice, "bob@localhost");
    h_drop_all(bob);
    says(alice, "bob@localhost", "chat", "hi");
    h_expect_xml(alice, "<message type='error' id='m1' from='bob@localhost' to='alice@localhost/a' "
                        "_='any'>" BLOCKED_ERROR "</message>");
    h_send(alice, "<presence to='bob@localhost/b'/>");
    h_expect_xml(alice, "<presence type='error' from='bob@localhost/b' _='any'>" BLOCKED_ERROR
                        "</presence>");
    h_iq_error(alice, "get", "bob@localhost/b", "<query xmlns='jabber:iq:version'/>",
               GR_NOT_ACCEPTABLE);
    h_drop_all(carol);
    h_send(alice, "<presence><show>away</show></presence>");
    h_expect_xml(carol, "<presence from='alice@localhost/a' _='more'><show>away</show></presence>");
    h_send(alice, "<presence type='unavailable'/>");
    h_expect(carol, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_send(alice, "<presence><show>dnd</show></presence>");
    h_expect_nothing(bob);
    h_drop_all(alice);
    h_iq_result(alice, "set", NULL, UNBLOCK(ITEM("bob@localhost")), NULL);
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost' _='more'>"
                      "<show>dnd</show></presence>");
    says(alice, "bob@localhost", "chat", "hi");
    h_expect_body(bob, "alice@localhost/a", "hi");
    says(bob, "alice@localhost", "chat", "you");
    h_expect_among(alice, "<message from='bob@localhost/b' _='any'/>");
    h_stop(&h);
}

/* Only those who may see the presence are told; each available resource says it. */
static void who_is_told(void **state)
{
    struct h *h = start();
    struct hs *a = h_online(h, "alice@localhost/a"), *b = h_online(h, "alice@localhost/b");
    struct hs *bob = h_online(h, "bob@localhost/x"), *carol = h_online(h, "carol@localhost/x");
    struct hs *silent = h_login(h, "alice@localhost/silent");

    (void)state;
    befriend(a, bob);
    h_drop_all(b);
    h_iq_result(a, "set", NULL, BLOCK(ITEM("localhost")), NULL); /* a domain: everybody in it */
    h_expect_among(bob, "<presence type='unavailable' from='alice@localhost/a' _='more'/>");
    h_expect_among(bob, "<presence type='unavailable' from='alice@localhost/b' _='more'/>");
    h_expect_nothing(bob);
    h_expect_nothing(carol);
    /* Not from one's own account and server. */
    says(a, "alice@localhost/b", "chat", "mine");
    h_expect_body(b, "alice@localhost/a", "mine");
    h_iq_result(silent, "get", "localhost", ITEMS, ITEMS);
    says(carol, "alice@localhost", "chat", "hi");
    h_expect_error(carol, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_iq_result(a, "set", NULL, UNBLOCK(""), NULL);
    h_expect_among(bob, "<presence from='alice@localhost/a' to='bob@localhost' _='more'/>");
    h_expect_among(bob, "<presence from='alice@localhost/b' to='bob@localhost' _='more'/>");
    h_expect_nothing(bob);
    h_stop(&h);
}

/* 3.3: the address that was blocked is told, here one resource of a contact, and once. */
static void a_resource_is_told(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *b = h_online(h, "bob@localhost/b");
    struct hs *other = h_online(h, "bob@localhost/other");

    (void)state;
    befriend(alice, b);
    h_drop_all(other);
    block(alice, "bob@localhost/b");
    h_expect_xml(b, "<presence type='unavailable' from='alice@localhost/a' to='bob@localhost/b'/>");
    h_expect_nothing(b);
    h_iq_result(alice, "set", NULL, BLOCK(ITEM("x.example")), NULL);
    h_expect_nothing(b);
    h_iq_result(alice, "set", NULL, UNBLOCK(ITEM("bob@localhost/b")), NULL);
    h_expect(b, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(b);
    h_expect_nothing(other);
    h_stop(&h);
}

/* What is blocked does not reach what is kept for an account without sessions. */
static void also_when_offline(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *carol = h_online(h, "carol@localhost/c");

    (void)state;
    befriend(alice, bob);
    block(alice, "bob@localhost");
    h_disconnect(&alice, true);
    h_drop_all(bob);
    h_restart(h);
    bob = h_online(h, "bob@localhost/b");
    carol = h_online(h, "carol@localhost/c");
    h_drop_all(bob);
    says(bob, "alice@localhost", "chat", "blocked");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    assert_int_equal(seen.not_stored, 1);
    assert_int_equal(seen.stored, 0);
    h_send(bob, "<presence type='probe' to='alice@localhost'/>");
    h_send(bob, "<presence type='subscribe' to='alice@localhost'/>");
    h_iq_error(bob, "get", "alice@localhost", "<query xmlns='jabber:iq:last'/>",
               GR_SERVICE_UNAVAILABLE);
    says(carol, "alice@localhost", "chat", "welcome");
    assert_int_equal(seen.stored, 1);
    alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<presence/>");
    h_expect_among(alice, "<message from='carol@localhost/c' _='any'/>");
    while (h_count(alice) > 0)
        assert_null(strstr(gr_stanza_xml(h_next(alice), NULL), "bob@localhost"));
    expect_list(alice, ITEM("bob@localhost"));
    h_stop(&h);
}

/* bounce = no: who is blocked hears nothing. */
static void silence_on_request(void **state)
{
    struct h *h = start_with("[mod_roster]\n[mod_presence]\n[mod_offline]\n[mod_privacy]\n"
                             "bounce = no\n[mod_blocking]\n");
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    block(alice, "bob@localhost");
    says(bob, "alice@localhost", "chat", "one");
    h_disconnect(&alice, true);
    says(bob, "alice@localhost", "chat", "two");
    h_expect_nothing(bob);
    assert_int_equal(seen.not_stored, 1);
    h_iq_error(bob, "get", "alice@localhost", "<query xmlns='jabber:iq:last'/>",
               GR_SERVICE_UNAVAILABLE);
    alice = h_online(h, "alice@localhost/a");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* A subscription request that waits is not shown while its sender is blocked. */
static void requests_wait(void **state)
{
    struct h *h = start();
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice;

    (void)state;
    h_send(bob, "<presence type='subscribe' to='alice@localhost'/>");
    alice = h_login(h, "alice@localhost/a");
    block(alice, "bob@localhost");
    h_send(alice, "<presence/>");
    while (h_count(alice) > 0)
        assert_false(h_matches(h_next(alice), "<presence type='subscribe' _='any'/>"));
    h_iq_result(alice, "set", NULL, UNBLOCK(""), NULL);
    h_send(alice, "<presence type='unavailable'/>");
    h_drop_all(alice);
    h_send(alice, "<presence/>");
    h_expect_among(alice, "<presence type='subscribe' from='bob@localhost' _='any'/>");
    h_stop(&h);
}

/* 6: what an address stands for. */
static void addresses(void **state)
{
    static const struct { const char *blocked; bool bare, full, other; } cases[] = {
        { "bob@localhost/b", false, true, false },
        { "bob@localhost", true, true, true },
        { "localhost/b", false, false, false },
    };
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *b = h_online(h, "bob@localhost/b");
    struct hs *other = h_online(h, "bob@localhost/other");

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        h_iq_result(alice, "set", NULL, UNBLOCK(""), NULL);
        block(alice, cases[i].blocked);
        h_drop_all(alice);
        h_drop_all(b);
        h_drop_all(other);
        says(b, "alice@localhost", "chat", "b");
        assert_int_equal(h_count(alice), cases[i].full ? 0 : 1);
        h_drop_all(alice);
        says(other, "alice@localhost", "chat", "other");
        assert_int_equal(h_count(alice), cases[i].other ? 0 : 1);
        h_drop_all(alice);
        says(alice, "bob@localhost", "chat", "out");
        assert_int_equal(h_count(alice), cases[i].bare ? 1 : 0);
    }
    h_stop(&h);
}

/* --- bounds, failures, ends --- */

static void bounded(void **state)
{
    struct h *h = start_with("[mod_privacy]\nmax_items = 3\nmax_lists = 1\n[mod_blocking]\n");
    struct hs *a = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_error(a, "set", NULL, BLOCK(ITEM("a.b") ITEM("b.b") ITEM("c.b") ITEM("d.b")),
               GR_RESOURCE_CONSTRAINT);
    expect_list(a, "");
    h_iq_result(a, "set", NULL, BLOCK(ITEM("a.b") ITEM("b.b") ITEM("c.b")), NULL);
    h_drop_all(a);
    h_iq_error(a, "set", NULL, BLOCK(ITEM("d.b")), GR_RESOURCE_CONSTRAINT);
    h_iq_result(a, "set", NULL, BLOCK(ITEM("c.b")), NULL); /* no more of them */
    expect_list(a, ITEM("a.b") ITEM("b.b") ITEM("c.b"));
    h_iq_result(a, "set", NULL, UNBLOCK(ITEM("b.b")), NULL);
    h_iq_result(a, "set", NULL, BLOCK(ITEM("d.b")), NULL);
    expect_list(a, ITEM("a.b") ITEM("c.b") ITEM("d.b"));
    h_iq_result(a, "set", NULL, UNBLOCK(""), NULL);
    h_iq_result(a, "set", NULL,
                PRIVACY("<list name='x'><item action='allow' order='1'/></list>"), NULL);
    h_iq_error(a, "set", NULL, BLOCK(ITEM("d.b")), GR_RESOURCE_CONSTRAINT); /* needs a list */
    h_stop(&h);
}

static int full_disk(uint64_t n)
{
    (void)n;
    return ENOSPC;
}
static const struct store_faults full = { .commit = full_disk };

static void a_failing_store(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    befriend(alice, bob);
    expect_list(alice, "");
    store_faults = &full;
    h_iq_error(alice, "set", NULL, BLOCK(ITEM("bob@localhost")), GR_RESOURCE_CONSTRAINT);
    store_faults = NULL;
    h_expect_nothing(alice);
    h_expect_nothing(bob);
    expect_list(alice, "");
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_body(alice, "bob@localhost/b", "hi");
    h_stop(&h);
}

/* In force when the answer comes, not before it is on disk. */
static void answered_after_the_commit(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_hold_store(h, true);
    h_send(alice, "<iq type='set' id='1'>" BLOCK(ITEM("bob@localhost")) "</iq>");
    h_send(alice, "<iq type='set' id='2'>" BLOCK(ITEM("carol@localhost")) "</iq>");
    h_expect_nothing(alice);
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_body(alice, "bob@localhost/b", "hi");
    h_commit(h);
    h_expect_xml(alice, "<iq type='result' id='1' _='more'/>");
    h_commit(h);
    h_expect_xml(alice, "<iq type='result' id='2' _='more'/>");
    h_hold_store(h, false);
    expect_list(alice, ITEM("bob@localhost") ITEM("carol@localhost"));
    h_stop(&h);
}

/* The session that blocks ends before the disk has it. */
static void gone_before_the_commit(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_hold_store(h, true);
    h_send(alice, "<iq type='set' id='1'>" BLOCK(ITEM("bob@localhost")) "</iq>");
    h_disconnect(&alice, false);
    says(bob, "alice@localhost", "chat", "hi"); /* waits for what is being written */
    h_hold_store(h, false);
    h_commit(h);
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    h_stop(&h);
}

static void reload_keeps_it(void **state)
{
    struct h *h = start();
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    expect_list(alice, "");
    block(alice, "bob@localhost");
    h_drop_all(alice);
    h_reload(h, "[host localhost]\n" MODULES "[mod_privacy localhost]\nmax_items = 2\n", NULL);
    says(bob, "alice@localhost", "chat", "hi");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "alice@localhost");
    block(alice, "carol@localhost");
    h_expect_xml(alice, "<iq type='set' id='*' _='more'>" BLOCK(ITEM("carol@localhost")) "</iq>");
    h_iq_error(alice, "set", NULL, BLOCK(ITEM("x.y")), GR_RESOURCE_CONSTRAINT);
    expect_list(alice, ITEM("bob@localhost") ITEM("carol@localhost"));
    h_stop(&h);
}

static void removed_with_the_account(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    block(alice, "bob@localhost");
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_expect_closed(&alice, "not-authorized");
    assert_int_equal(h_user_create(h, "alice@localhost", "secret"), GR_R_OK);
    alice = h_login(h, "alice@localhost/a");
    expect_list(alice, "");
    h_stop(&h);
}

/* XEP-0377: a report does not change the block. */
static void reports(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_log(h);
    h_iq_result(alice, "set", NULL, BLOCK("<item jid='bob@localhost'>"
        "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>"
        "<text>Never came trouble like this.</text></report></item>"), NULL);
    assert_non_null(strstr(h_log(h), "alice@localhost reports spam by bob@localhost"));
    expect_list(alice, ITEM("bob@localhost"));
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
        cmocka_unit_test(commands_and_pushes), cmocka_unit_test(wrong_requests),
        cmocka_unit_test(pushes_follow_the_list),
        cmocka_unit_test(nothing_comes_in), cmocka_unit_test(nothing_goes_out),
        cmocka_unit_test(who_is_told), cmocka_unit_test(a_resource_is_told),
        cmocka_unit_test(also_when_offline),
        cmocka_unit_test(silence_on_request), cmocka_unit_test(requests_wait),
        cmocka_unit_test(addresses), cmocka_unit_test(bounded),
        cmocka_unit_test_teardown(a_failing_store, teardown),
        cmocka_unit_test(answered_after_the_commit),
        cmocka_unit_test(gone_before_the_commit), cmocka_unit_test(reload_keeps_it),
        cmocka_unit_test(removed_with_the_account), cmocka_unit_test(reports),
    };

    return H_RUN("blocking", cases);
}
