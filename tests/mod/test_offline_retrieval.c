/* tests/mod/test_offline_retrieval.c: mod_offline against XEP-0013: a client that asks first gets no
 * flood, reads what it wants, and removes what it has read. */
#include "harness.h"

#include <stdio.h>

#define CONFIG "[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_offline]\n"
#define NS "http://jabber.org/protocol/offline"
#define INFO "http://jabber.org/protocol/disco#info"
#define ITEMS "http://jabber.org/protocol/disco#items"

static struct h *start(int messages)
{
    struct h *h = h_start(CONFIG);

    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (int i = 0; i < messages; i++)
        h_sendf(alice, "<message to='bob@localhost' id='m%d'><body>%d</body></message>", i, i);
    h_expect_nothing(alice);
    return h;
}

static void expect_count(struct hs *s, unsigned n)
{
    char result[600];

    snprintf(result, sizeof(result), "<query xmlns='" INFO "' node='" NS "'><identity "
             "category='automation' type='message-list'/><feature var='" NS "'/>"
             "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>"
             "<value>" NS "</value></field><field var='number_of_messages'><value>%u</value>"
             "</field></x></query>", n);
    h_iq_result(s, "get", NULL, "<query xmlns='" INFO "' node='" NS "'/>", result);
}

/* The nodes of all messages, at most 50. */
static size_t nodes(struct hs *s, char out[50][20])
{
    struct gr_stanza *st = h_iq(s, "get", NULL, "<query xmlns='" ITEMS "' node='" NS "'/>");
    const struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "item");
    size_t n = 0;

    assert_int_equal(gr_stanza_type(st), GR_RESULT);
    for (; el != NULL; el = gr_el_next(el, NULL, "item")) {
        assert_true(n < 50);
        assert_string_equal(gr_el_attr(el, "jid"), "bob@localhost");
        assert_string_equal(gr_el_attr(el, "name"), "alice@localhost/a");
        snprintf(out[n++], 20, "%s", gr_el_attr(el, "node"));
    }
    return n;
}

static void expect_message(struct hs *s, int i, const char *node)
{
    h_expect_xmlf(s, "<message from='alice@localhost/a' to='bob@localhost/b' id='m%d'>"
                     "<body>%d</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/>"
                     "<offline xmlns='" NS "'><item node='%s'/></offline></message>", i, i, node);
}

static void expect_no_message(struct hs *s)
{
    for (struct gr_stanza *st = h_next(s); st != NULL; st = h_next(s))
        assert_int_equal(gr_stanza_kind(st), GR_PRESENCE);
}

static void support_is_announced(void **state)
{
    struct h *h = start(0);
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct gr_stanza *st = h_iq(bob, "get", "localhost", "<query xmlns='" INFO "'/>");
    const struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "feature");

    (void)state;
    while (el != NULL && strcmp(gr_el_attr(el, "var"), NS) != 0)
        el = gr_el_next(el, NULL, "feature");
    assert_non_null(el);
    expect_count(bob, 0);
    h_iq_result(bob, "get", NULL, "<query xmlns='" ITEMS "' node='" NS "'/>",
                "<query xmlns='" ITEMS "' node='" NS "'/>");
    h_stop(&h);
}

static void who_asks_first_gets_no_flood(void **state)
{
    struct h *h = start(3);
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    expect_count(bob, 3);
    h_send(bob, "<presence/>");
    expect_no_message(bob);
    struct hs *other = h_online(h, "bob@localhost/other"); /* 2.2: nor does another one */
    expect_no_message(other);
    struct hs *alice = h_online(h, "alice@localhost/x");
    h_send(alice, "<message to='bob@localhost/b'><body>live</body></message>");
    h_drop_all(other);
    struct gr_stanza *st;
    while ((st = h_next(bob)) != NULL && gr_stanza_kind(st) == GR_PRESENCE)
        ;
    assert_non_null(st); /* what comes now is delivered as ever */
    expect_count(bob, 3);
    h_disconnect(&other, true);
    h_disconnect(&bob, true);
    bob = h_login(h, "bob@localhost/b"); /* the next one who does not ask gets them */
    h_send(bob, "<presence/>");
    h_expect_among(bob, "<message from='*' to='*' id='m2' _='any'/>");
    h_stop(&h);
}

static void messages_are_viewed_and_removed_one_by_one(void **state)
{
    struct h *h = start(4);
    struct hs *bob = h_login(h, "bob@localhost/b");
    char node[50][20], iq[400];

    (void)state;
    assert_int_equal(nodes(bob, node), 4);
    assert_true(strcmp(node[0], node[1]) < 0 && strcmp(node[2], node[3]) < 0);
    snprintf(iq, sizeof(iq), "<offline xmlns='" NS "'><item action='view' node='%s'/>"
             "<item action='view' node='%s'/></offline>", node[2], node[0]);
    h_send(bob, "<presence/>");
    h_drop_all(bob);
    h_sendf(bob, "<iq type='get' id='v'>%s</iq>", iq);
    expect_message(bob, 2, node[2]);
    expect_message(bob, 0, node[0]);
    h_expect_xml(bob, "<iq type='result' id='v' from='*' to='*'/>"); /* then the result */
    expect_count(bob, 4); /* 2.5: they stay */
    snprintf(iq, sizeof(iq), "<offline xmlns='" NS "'><item action='remove' node='%s'/>"
             "<item action='remove' node='%s'/></offline>", node[2], node[0]);
    h_iq_result(bob, "set", NULL, iq, NULL);
    expect_count(bob, 2);
    h_iq_error(bob, "set", NULL, iq, GR_ITEM_NOT_FOUND);
    snprintf(iq, sizeof(iq), "<offline xmlns='" NS "'><item action='remove' node='%s'/>"
             "<item action='remove' node='%s'/></offline>", node[1], node[0]);
    h_iq_error(bob, "set", NULL, iq, GR_ITEM_NOT_FOUND); /* all or nothing */
    expect_count(bob, 2);
    snprintf(iq, sizeof(iq), "<offline xmlns='" NS "'><item action='view' node='%s'/></offline>",
             node[0]);
    h_iq_error(bob, "get", NULL, iq, GR_ITEM_NOT_FOUND);
    h_stop(&h);
}

static void all_are_fetched_and_purged(void **state)
{
    struct h *h = start(45);
    struct hs *bob = h_login(h, "bob@localhost/b");
    char node[50][20];

    (void)state;
    h_send(bob, "<iq type='get' id='f'><offline xmlns='" NS "'><fetch/></offline></iq>");
    h_send(bob, "<presence/>"); /* 2.6: no flood behind it */
    for (int i = 0; i < 45; i++)
        expect_message(bob, i, "*");
    h_expect_xml(bob, "<iq type='result' id='f' from='*' to='*'/>");
    expect_no_message(bob);
    assert_int_equal(nodes(bob, node), 45);
    h_hold_store(h, true);
    h_send(bob, "<iq type='set' id='p'><offline xmlns='" NS "'><purge/></offline></iq>");
    h_expect_nothing(bob);
    h_commit(h);
    h_run(h);
    h_expect(bob, GR_IQ, GR_RESULT, NULL);
    h_hold_store(h, false);
    expect_count(bob, 0);
    h_stop(&h);
}

static void a_client_that_goes_leaves_them_where_they_are(void **state)
{
    struct h *h = start(45);
    struct hs *bob = h_login(h, "bob@localhost/b"), *other;

    (void)state;
    h_stall(bob);
    h_send(bob, "<iq type='get' id='f'><offline xmlns='" NS "'><fetch/></offline></iq>");
    assert_int_equal(h_count(bob), 0);
    h_disconnect(&bob, false);
    h_run(h);
    other = h_login(h, "bob@localhost/c");
    expect_count(other, 45); /* none less, none more */
    h_stop(&h);
}

static void what_it_leaves_is_for_the_others(void **state)
{
    struct h *h = start(2);
    struct hs *bob = h_login(h, "bob@localhost/b"), *phone;

    (void)state;
    expect_count(bob, 2);
    h_send(bob, "<presence/>");
    phone = h_online(h, "bob@localhost/phone");
    expect_no_message(phone);
    h_disconnect(&bob, false);
    h_expect_among(phone, "<message id='m0' _='any'/>");
    h_expect_among(phone, "<message id='m1' _='any'/>");
    bob = h_login(h, "bob@localhost/b");
    expect_count(bob, 0);
    h_stop(&h);
}

static void bad_requests(void **state)
{
    struct h *h = start(1);
    struct hs *bob = h_login(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/x");
    static const char *const bad[] = {
        "<offline xmlns='" NS "'/>",
        "<offline xmlns='" NS "'><item node='0000000000000001'/></offline>",
        "<offline xmlns='" NS "'><item action='x' node='0000000000000001'/></offline>",
        "<offline xmlns='" NS "'><item action='remove' node='0000000000000001'/></offline>",
        "<offline xmlns='" NS "'><purge/></offline>",
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        h_iq_error(bob, "get", NULL, bad[i], GR_BAD_REQUEST);
    h_iq_error(bob, "get", NULL, "<offline xmlns='" NS "'><item action='view' node='1'/>"
                                 "</offline>", GR_ITEM_NOT_FOUND);
    h_iq_error(bob, "get", NULL, "<offline xmlns='" NS "'><item action='view'/></offline>",
               GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "get", "bob@localhost", "<offline xmlns='" NS "'><fetch/></offline>",
               GR_FORBIDDEN);
    h_iq_error(alice, "set", "bob@localhost", "<offline xmlns='" NS "'><purge/></offline>",
               GR_FORBIDDEN);
    struct gr_stanza *st = h_iq(alice, "get", "bob@localhost",
                                "<query xmlns='" ITEMS "' node='" NS "'/>");
    assert_null(gr_el_child(gr_stanza_payload(st), ITEMS, "item"));
    expect_count(bob, 1);
    h_stop(&h);
}

static void a_request_is_bounded(void **state)
{
    struct h *h = start(1);
    struct hs *bob = h_login(h, "bob@localhost/b");
    static const char item[] = "<item action='view' node='0000000000000001'/>";
    char *iq = gr_alloc(1001 * (sizeof(item) + 2) + 200);
    size_t len = (size_t)sprintf(iq, "<offline xmlns='" NS "'>");

    (void)state;
    for (int i = 0; i < 1001; i++)
        len += (size_t)sprintf(iq + len, "%s", item);
    strcpy(iq + len, "</offline>");
    h_iq_error(bob, "get", NULL, iq, GR_POLICY_VIOLATION);
    strcpy(iq + len - (sizeof(item) - 1), "</offline>");
    h_iq_result(bob, "get", NULL, iq, NULL);
    assert_int_equal(h_count(bob), 1000);
    len = (size_t)sprintf(iq, "<offline xmlns='" NS "'>");
    for (int i = 0; i < 1000; i++) /* the same one, however often it is named */
        len += (size_t)sprintf(iq + len, "<item action='remove' node='0000000000000001'/>");
    strcpy(iq + len, "</offline>");
    h_drop_all(bob);
    h_iq_result(bob, "set", NULL, iq, NULL);
    expect_count(bob, 0);
    gr_free(iq);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(support_is_announced),
        cmocka_unit_test(who_asks_first_gets_no_flood),
        cmocka_unit_test(messages_are_viewed_and_removed_one_by_one),
        cmocka_unit_test(all_are_fetched_and_purged),
        cmocka_unit_test(a_client_that_goes_leaves_them_where_they_are),
        cmocka_unit_test(what_it_leaves_is_for_the_others),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(a_request_is_bounded),
    };

    return H_RUN("offline_retrieval", cases);
}
