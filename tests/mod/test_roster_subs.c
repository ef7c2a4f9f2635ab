/* tests/mod/test_roster_subs.c: mod_roster: subscriptions (RFC 6121, 3), the scenarios of roster.md
 * 7: requests that wait, approval beforehand, removal, two accounts of this server, accounts that
 * go. The state machine cell by cell is test_roster_states.c. */
#include "roster_client.h"

/* --- 5, 6: requests --- */

static void test_request_offline(void **state)
{
    struct h *h = start();
    struct hs *a;

    (void)state;
    h_user(h, "alice@localhost");
    inject(h, "<presence type='subscribe' from='bob@remote.example' to='alice@localhost' id='r1'>"
              "<nick xmlns='http://jabber.org/protocol/nick'>Bob</nick></presence>");
    inject(h, "<presence type='subscribe' from='bob@remote.example' to='alice@localhost' "
              "id='r2'/>");
    expect_sent("");
    for (int i = 0; i < 3; i++) { /* at every initial presence, also behind a restart */
        if (i == 1)
            h_restart(h);
        a = login(h, "alice@localhost/a");
        expect_roster(a, ""); /* not in the roster */
        h_send(a, "<presence/>");
        h_expect_among(a, "<presence type='subscribe' from='bob@remote.example' "
                          "to='alice@localhost' id='r1'>"
                          "<nick xmlns='http://jabber.org/protocol/nick'>Bob</nick>"
                          "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></presence>");
        h_drop_all(a);
        h_send(a, "<presence><show>away</show></presence>"); /* not the initial one */
        h_expect_xml(a, "<presence from='alice@localhost/a' to='alice@localhost' _='more'/>");
        h_expect_nothing(a);
        if (i < 2 && i != 0)
            h_disconnect(&a, true);
    }
    /* An item of one's own: the request stays, the item shows nothing of it. */
    set(a, "<item jid='bob@remote.example' name='Bob'/>");
    expect_push(a, "<item jid='bob@remote.example' name='Bob' subscription='none'/>");
    h_disconnect(&a, true);
    a = login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect_among(a, "<presence type='subscribe' id='r1' _='more'/>");
    h_drop_all(a);
    sent[0] = '\0';
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' name='Bob' subscription='from'/>");
    expect_sent("subscribed alice@localhost>bob@remote.example\n"
                "available alice@localhost/a>bob@remote.example\n");
    h_disconnect(&a, true);
    a = login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_drop_all(a);
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost"); /* answered by the server */
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_request_from_full(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    injectf(h, "subscribe", "bob@remote.example/phone", "alice@localhost");
    h_expect_xml(a, "<presence type='subscribe' from='bob@remote.example' to='alice@localhost' "
                    "id='x'/>");
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_request_bounds(void **state)
{
    struct h *h = start_with("[host localhost]\n[mod_roster]\nmax_requests = 3\n"
                             "max_request = 512\n[mod_presence]\n");
    struct hs *a;
    char xml[2000], text[1000];

    (void)state;
    h_user(h, "alice@localhost");
    for (int i = 0; i < 5; i++) { /* not in the order of the addresses */
        snprintf(xml, sizeof(xml), "c%d@remote.example", (i * 3 + 2) % 5);
        injectf(h, "subscribe", xml, "alice@localhost");
        h_advance(h, 10);
    }
    /* c2 c0 c3 c1 c4: the first two had to go; the next one is too long to be kept whole. */
    text_of(text, 600);
    snprintf(xml, sizeof(xml), "<presence type='subscribe' from='long@remote.example' id='l' "
             "to='alice@localhost'><status>%s</status></presence>", text);
    inject(h, xml);
    a = login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect_among(a, "<presence from='alice@localhost/a' _='more'/>");
    h_expect_xml(a, "<presence type='subscribe' from='c1@remote.example' _='more'/>");
    h_expect_xml(a, "<presence type='subscribe' from='c4@remote.example' _='more'/>");
    h_expect_xml(a, "<presence type='subscribe' from='long@remote.example' to='alice@localhost' "
                    "id='l'><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></presence>");
    h_expect_nothing(a);
    h_stop(&h);
}

/* --- 7: pre-approval --- */

static void test_preapproval(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='none' approved='true'/>");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    h_expect_nothing(a);
    /* Cancelled: not routed either. */
    h_send(a, "<presence type='unsubscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='none'/>");
    expect_sent("");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    h_drop_all(a);
    h_restart(h);
    a = online(h, "alice@localhost/a");
    injectf(h, "unsubscribed", "bob@remote.example", "alice@localhost"); /* does not cancel it */
    sent[0] = '\0';
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    expect_push(a, "<item jid='bob@remote.example' subscription='from'/>");
    h_expect_nothing(a);
    expect_sent("subscribed alice@localhost>bob@remote.example\n"
                "available alice@localhost/a>bob@remote.example\n");
    /* Removing the item takes a pre-approval away as well. */
    h_send(a, "<presence type='subscribed' to='eve@remote.example'/>");
    set(a, "<item jid='eve@remote.example' subscription='remove'/>");
    h_drop_all(a);
    injectf(h, "subscribe", "eve@remote.example", "alice@localhost");
    h_expect_xml(a, "<presence type='subscribe' from='eve@remote.example' _='more'/>");
    expect_sent("");
    h_stop(&h);
}

/* --- 8: removal --- */

static void test_remove(void **state)
{
    static const struct {
        bool to, from;
        const char *sent;
    } cases[] = {
        { false, false, "unsubscribe alice@localhost>bob@remote.example\n" }, /* none + ask */
        { true, false, "unsubscribe alice@localhost>bob@remote.example\n" },
        { false, true, "unavailable alice@localhost/a>bob@remote.example\n"
                       "unsubscribed alice@localhost>bob@remote.example\n" },
        { true, true, "unsubscribe alice@localhost>bob@remote.example\n"
                      "unavailable alice@localhost/a>bob@remote.example\n"
                      "unsubscribed alice@localhost>bob@remote.example\n" },
    };
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        befriend(h, a, "bob@remote.example", cases[i].to, cases[i].from);
        set(a, "<item jid='bob@remote.example' subscription='remove'/>");
        expect_push(a, "<item jid='bob@remote.example' subscription='remove'/>");
        h_expect_nothing(a); /* no pushes of the steps in between */
        expect_sent(cases[i].sent);
        expect_roster(a, "");
        injectf(h, "subscribed", "bob@remote.example", "alice@localhost");
        h_expect_nothing(a);
    }
    set_error(a, "<item jid='bob@remote.example' subscription='remove'/>", GR_ITEM_NOT_FOUND);
    /* A request is not the roster's: it survives the item. */
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    set(a, "<item jid='bob@remote.example'/>");
    set(a, "<item jid='bob@remote.example' subscription='remove'/>");
    h_drop_all(a);
    expect_sent("");
    h_send(a, "<presence type='subscribed' to='bob@remote.example'/>");
    expect_push(a, "<item jid='bob@remote.example' subscription='from'/>");
    h_stop(&h);
}

/* --- 10, 11, 12: between two --- */

static void test_local_order(void **state)
{
    struct h *h = start();
    const char *bob = NULL;

    (void)state;
    h_user(h, "alice@localhost");
    bob = h_user_near(h, "alice@localhost", false);
    struct hs *a = online(h, "alice@localhost/a");
    char full[128];
    snprintf(full, sizeof(full), "%s/b", bob);
    struct hs *b = online(h, full);

    h_sendf(a, "<presence type='subscribe' id='s1' to='%s/any'/>", bob);
    h_expect_xmlf(a, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='%s' subscription='none' ask='subscribe'/></query></iq>", bob);
    h_expect_xmlf(b, "<presence type='subscribe' id='s1' from='alice@localhost' to='%s'/>", bob);
    h_expect_nothing(b);
    h_send(b, "<presence type='subscribed' id='s2' to='alice@localhost'/>");
    h_expect_xmlf(b, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='alice@localhost' subscription='from'/></query></iq>");
    h_expect_nothing(b);
    /* stanza, push, presence */
    h_expect_xmlf(a, "<presence type='subscribed' id='s2' from='%s' to='alice@localhost'/>", bob);
    h_expect_xmlf(a, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='%s' subscription='to'/></query></iq>", bob);
    h_expect_xmlf(a, "<presence from='%s/b' to='alice@localhost' _='more'/>", bob);
    h_expect_nothing(a);
    /* unavailable, unsubscribed, push */
    h_send(b, "<presence type='unsubscribed' id='s3' to='alice@localhost'/>");
    h_expect_xmlf(b, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='alice@localhost' subscription='none'/></query></iq>");
    h_expect_xmlf(a, "<presence type='unavailable' from='%s/b' to='alice@localhost' _='more'/>",
                  bob);
    h_expect_xmlf(a, "<presence type='unsubscribed' id='s3' from='%s' to='alice@localhost'/>", bob);
    h_expect_xmlf(a, "<iq type='set' _='more'><query xmlns='jabber:iq:roster' ver='*'>"
                  "<item jid='%s' subscription='none'/></query></iq>", bob);
    h_expect_nothing(a), h_expect_nothing(b);
    h_stop(&h);
}

/* Who is only interested, or only available, gets that half. */
static void test_halves(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *interested = login(h, "alice@localhost/i");
    struct hs *available = h_online(h, "alice@localhost/a");

    (void)state;
    h_drop_all(interested);
    injectf(h, "subscribe", "bob@remote.example", "alice@localhost");
    h_expect_xml(available, "<presence type='subscribe' _='more'/>");
    h_expect_nothing(interested);
    h_send(available, "<presence type='subscribed' to='bob@remote.example'/>");
    h_send(available, "<presence type='subscribe' to='bob@remote.example'/>");
    expect_push(interested, "<item jid='bob@remote.example' subscription='from'/>");
    expect_push(interested,
                "<item jid='bob@remote.example' subscription='from' ask='subscribe'/>");
    injectf(h, "subscribed", "bob@remote.example", "alice@localhost");
    h_expect_xml(interested, "<presence type='subscribed' _='more'/>");
    expect_push(interested, "<item jid='bob@remote.example' subscription='both'/>");
    h_expect_nothing(interested), h_expect_nothing(available);
    sent[0] = '\0';
    injectf(h, "unsubscribe", "bob@remote.example", "alice@localhost");
    h_expect_xml(interested, "<presence type='unsubscribe' _='more'/>");
    expect_push(interested, "<item jid='bob@remote.example' subscription='to'/>");
    h_expect_nothing(interested), h_expect_nothing(available);
    expect_sent("unavailable alice@localhost/a>bob@remote.example\n"
                "unsubscribed alice@localhost>bob@remote.example\n");
    h_stop(&h);
}

/* Each accepts and subscribes back, whatever the other does: the servers are what ends it. */
static void test_bots(void **state)
{
    struct h *h = start();
    const char *bob;
    struct hs *bot[2];
    char full[128];
    int handled = 0;

    (void)state;
    h_user(h, "alice@localhost");
    bob = h_user_near(h, "alice@localhost", false);
    bot[0] = online(h, "alice@localhost/bot");
    snprintf(full, sizeof(full), "%s/bot", bob);
    bot[1] = online(h, full);
    h_sendf(bot[0], "<presence type='subscribe' to='%s'/>", bob);
    for (int turn = 0; h_count(bot[0]) + h_count(bot[1]) > 0; turn = 1 - turn) {
        struct gr_stanza *st = h_next(bot[turn]);

        assert_true(++handled < 60);
        if (st == NULL || gr_stanza_kind(st) != GR_PRESENCE ||
            gr_stanza_type(st) != GR_SUBSCRIBE)
            continue;
        h_sendf(bot[turn], "<presence type='subscribed' to='%s'/>", gr_stanza_from(st)->bare);
        h_sendf(bot[turn], "<presence type='subscribe' to='%s'/>", gr_stanza_from(st)->bare);
    }
    snprintf(full, sizeof(full), "<item jid='%s' subscription='both'/>", bob);
    expect_roster(bot[0], full);
    expect_roster(bot[1], "<item jid='alice@localhost' subscription='both'/>");
    h_stop(&h);
}

static void test_unknown_contact(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    h_send(a, "<presence type='subscribe' id='s' to='nobody@localhost'/>");
    h_expect_error(a, GR_PRESENCE, GR_ITEM_NOT_FOUND, "nobody@localhost");
    h_expect_nothing(a);
    expect_roster(a, "");
    /* Another server's answer comes back to the account. */
    h_send(a, "<presence type='subscribe' id='s' to='x@elsewhere.example'/>");
    expect_push(a, "<item jid='x@elsewhere.example' subscription='none' ask='subscribe'/>");
    h_expect_error(a, GR_PRESENCE, GR_REMOTE_SERVER_NOT_FOUND, "x@elsewhere.example");
    h_expect_nothing(a);
    h_send(a, "<presence type='subscribe' to='alice@localhost'/>");
    h_expect_error(a, GR_PRESENCE, GR_NOT_ALLOWED, "alice@localhost");
    h_stop(&h);
}

/* --- 15: an account goes --- */

static void test_account_removed(void **state)
{
    struct h *h = start();
    const char *bob;
    char full[128], ver[32];

    (void)state;
    h_user(h, "alice@localhost");
    bob = h_user_near(h, "alice@localhost", false);
    struct hs *a = online(h, "alice@localhost/a");
    snprintf(full, sizeof(full), "%s/b", bob);
    struct hs *b = online(h, full);
    h_sendf(b, "<presence type='subscribe' to='alice@localhost'/>");
    h_sendf(a, "<presence type='subscribed' to='%s'/>", bob);
    h_sendf(a, "<presence type='subscribe' to='%s'/>", bob);
    h_sendf(b, "<presence type='subscribed' to='alice@localhost'/>");
    befriend(h, a, "to@remote.example", true, false);
    befriend(h, a, "from@remote.example", false, true);
    befriend(h, a, "ask@remote.example", false, false);
    injectf(h, "subscribe", "stranger@remote.example", "alice@localhost");
    set(a, "<item jid='none@remote.example'/>");
    version(a, ver);
    h_drop_all(b);
    sent[0] = '\0';
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    h_expect_closed(&a, "not-authorized");
    h_expect_among(b, "<presence type='unsubscribe' from='alice@localhost' _='more'/>");
    h_expect_among(b, "<presence type='unsubscribed' from='alice@localhost' _='more'/>");
    h_drop_all(b);
    expect_roster(b, "<item jid='alice@localhost' subscription='none'/>");
    assert_non_null(strstr(sent, "unsubscribe alice@localhost>to@remote.example\n"));
    assert_non_null(strstr(sent, "unsubscribed alice@localhost>from@remote.example\n"));
    assert_non_null(strstr(sent, "unsubscribe alice@localhost>ask@remote.example\n"));
    assert_non_null(strstr(sent, "unsubscribed alice@localhost>stranger@remote.example\n"));
    assert_null(strstr(sent, "none@"));
    /* Nothing is left for who takes the name next, and an old version is not taken for a known
     * one. */
    assert_int_equal(h_user_create(h, "alice@localhost", "secret"), GR_R_OK);
    a = online(h, "alice@localhost/a");
    expect_roster(a, "");
    set(a, "<item jid='new@remote.example'/>");
    h_drop_all(a);
    get_full(a, ver, "<item jid='new@remote.example' subscription='none'/>");
    h_stop(&h);
}

/* --- 13: blocked --- */

static void test_blocked(void **state)
{
    struct h *h = start();
    h_user(h, "alice@localhost");
    struct hs *a = online(h, "alice@localhost/a");

    (void)state;
    injectf(h, "subscribe", "blocked@remote.example", "alice@localhost");
    h_expect_nothing(a);
    h_disconnect(&a, true);
    a = h_login(h, "alice@localhost/a");
    h_send(a, "<presence/>");
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(a);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_offline),
        cmocka_unit_test(test_request_from_full),
        cmocka_unit_test(test_request_bounds),
        cmocka_unit_test(test_preapproval),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_local_order),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_bots),
        cmocka_unit_test(test_unknown_contact),
        cmocka_unit_test(test_account_removed),
        cmocka_unit_test(test_blocked),
    };

    return H_RUN("roster_subs", tests);
}
