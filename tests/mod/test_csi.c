/* tests/mod/test_csi.c: XEP-0352: what an inactive client is spared, and what comes at once. */
#include "harness.h"

#include <stdio.h>

#define INI "[host localhost]\n[mod_presence]\n[mod_roster]\n[mod_offline]\n[mod_csi]\n"
#define INACTIVE "<inactive xmlns='urn:xmpp:csi:0'/>"
#define ACTIVE "<active xmlns='urn:xmpp:csi:0'/>"
#define STATE "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
#define MARKER "<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>"

static struct h *begin(const char *more, struct hs **a, struct hs **b)
{
    char *ini = gr_asprintf(INI "%s", more);
    struct h *h = h_start(ini);

    gr_free(ini);
    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    *a = h_online(h, "a@localhost/x");
    *b = h_online(h, "b@localhost/y");
    return h;
}

static void to_a(struct hs *b, const char *content)
{
    h_sendf(b, "<message type='chat' to='a@localhost/x'>%s</message>", content);
}

static void event(struct hs *b, const char *node, const char *id, const char *text)
{
    h_sendf(b, "<message type='headline' to='a@localhost/x'><event xmlns='http://jabber.org/protocol/"
               "pubsub#event'><items node='%s'><item id='%s'><x xmlns='urn:x'>%s</x></item></items>"
               "</event></message>", node, id, text);
}

static void expect_event(struct hs *a, const char *text)
{
    h_expect_xmlf(a, "<message type='headline' from='b@localhost/y' to='a@localhost/x'>"
                     "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='*'>"
                     "<item id='*'><x xmlns='urn:x'>%s</x></item></items></event></message>", text);
}

static void expect_status(struct hs *a, const char *status)
{
    h_expect_xmlf(a, "<presence from='b@localhost/y' to='a@localhost/x'><status>%s</status>"
                     "</presence>", status);
}

static void status(struct hs *b, const char *text)
{
    h_sendf(b, "<presence to='a@localhost/x'><status>%s</status></presence>", text);
}

static void test_the_last_presence_of_each(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    status(b, "1");
    status(b, "2");
    h_send(b, "<presence to='a@localhost/x' type='subscribe'/>"); /* is for the account */
    status(b, "3");
    h_drop_all(a);
    status(b, "4");
    status(b, "5");
    h_expect_nothing(a);
    h_send(a, ACTIVE);
    expect_status(a, "5");
    h_expect_nothing(a);
    status(b, "6");
    expect_status(a, "6");
    h_stop(&h);
}

static void test_order(void **state) /* XEP-0352, 5.1 */
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    status(b, "1");
    event(b, "n", "1", "one");
    to_a(b, MARKER);
    h_expect_nothing(a);
    to_a(b, "<body>hi</body>"); /* everything before it comes before it */
    expect_status(a, "1");
    expect_event(a, "one");
    h_expect_xml(a, "<message type='chat' from='b@localhost/y' to='a@localhost/x'>" MARKER "</message>");
    h_expect_body(a, "b@localhost/y", "hi");
    status(b, "2");
    h_expect_nothing(a); /* still inactive */
    h_feed(a, ACTIVE);
    h_send(a, "<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
    expect_status(a, "2");
    h_expect(a, GR_IQ, GR_TYPE_INVALID, "localhost");
    h_stop(&h);
}

static void test_chat_states(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    to_a(b, STATE "<no-store xmlns='urn:xmpp:hints'/>");
    to_a(b, "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
            "<message xmlns='jabber:client' type='chat'>" STATE "</message></forwarded></received>");
    assert_int_equal(h_unhandled(b), 0);
    h_send(a, ACTIVE);
    h_expect_nothing(a);
    to_a(b, STATE);
    h_expect(a, GR_MESSAGE, GR_MSG_CHAT, "b@localhost/y");
    h_send(a, INACTIVE);
    to_a(b, STATE "<body>x</body>");
    h_expect_body(a, "b@localhost/y", "x");
    to_a(b, "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
            "<message xmlns='jabber:client' type='chat'><body>x</body></message></forwarded>"
            "</received>");
    h_expect(a, GR_MESSAGE, GR_MSG_CHAT, "b@localhost/y");
    to_a(b, "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"); /* it rings */
    h_expect(a, GR_MESSAGE, GR_MSG_CHAT, "b@localhost/y");
    h_stop(&h);
}

static void test_events(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    event(b, "http://jabber.org/protocol/mood", "1", "glad");
    event(b, "http://jabber.org/protocol/mood", "2", "sad");
    event(b, "urn:xmpp:bookmarks:1", "room1", "r1");
    event(b, "urn:xmpp:bookmarks:1", "room2", "r2");
    event(b, "urn:xmpp:bookmarks:1", "room1", "r1 again");
    h_expect_nothing(a);
    assert_int_equal(h_unhandled(b), 0); /* the node has it */
    h_send(a, ACTIVE);
    expect_event(a, "sad");
    expect_event(a, "r2");
    expect_event(a, "r1 again");
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_markers_do_not_wait_for_ever(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    to_a(b, MARKER);
    h_expect_nothing(a);
    assert_int_equal(h_unhandled(b), 1);
    h_advance(h, 14999);
    h_expect_nothing(a);
    h_advance(h, 1);
    h_expect(a, GR_MESSAGE, GR_MSG_CHAT, "b@localhost/y");
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

static void test_bound(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("queue_limit = 3\n", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    event(b, "n", "1", "1");
    event(b, "n", "2", "2");
    h_expect_nothing(a);
    event(b, "n", "3", "3");
    expect_event(a, "1");
    expect_event(a, "2");
    expect_event(a, "3");
    event(b, "n", "4", "4");
    h_expect_nothing(a);
    h_stop(&h);
}

static void test_what_is_kept_back_survives_the_stream(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("[mod_stream_management]\n", &a, &b);
    char id[64];

    (void)state;
    h_send(a, "<enable xmlns='urn:xmpp:sm:3' resume='1'/>");
    snprintf(id, sizeof(id), "%s", gr_el_attr(gr_stanza_root(h_next(a)), "id"));
    h_send(a, INACTIVE);
    status(b, "1");
    to_a(b, MARKER);
    h_expect_nothing(a);
    h_send(a, "<r xmlns='urn:xmpp:sm:3'/>");
    h_expect_xml(a, "<a xmlns='urn:xmpp:sm:3' h='0'/>"); /* is no stanza, and flushes nothing */
    h_expect_nothing(a);
    h_disconnect(&a, false);
    a = h_connect(h, "a@localhost");
    h_sendf(a, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='%s'/>", id);
    h_expect_xml(a, "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='*'/>");
    expect_status(a, "1");
    h_expect_xml(a, "<message type='chat' from='b@localhost/y' to='a@localhost/x'>" MARKER "</message>");
    h_expect_xml(a, "<r xmlns='urn:xmpp:sm:3'/>");
    status(b, "2"); /* active again */
    expect_status(a, "2");
    h_stop(&h);
}

static void test_ends_inactive(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    status(b, "1");
    to_a(b, "<received xmlns='urn:xmpp:receipts' id='1'/>");
    h_disconnect(&a, true);
    assert_int_equal(h_unhandled(b), 0);
    h_stop(&h);
}

static void test_reload(void **state)
{
    struct hs *a, *b;
    struct h *h = begin("", &a, &b);

    (void)state;
    h_send(a, INACTIVE);
    to_a(b, MARKER);
    h_reload(h, INI "queue_limit = 3\n", NULL);
    h_expect_nothing(a);
    h_advance(h, 15000);
    h_expect(a, GR_MESSAGE, GR_MSG_CHAT, "b@localhost/y");
    h_stop(&h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_presence_of_each),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_chat_states),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_markers_do_not_wait_for_ever),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_what_is_kept_back_survives_the_stream),
        cmocka_unit_test(test_ends_inactive),
        cmocka_unit_test(test_reload),
    };
    return H_RUN("csi", tests);
}
