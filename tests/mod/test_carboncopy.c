/* tests/mod/test_carboncopy.c: mod_carboncopy against XEP-0280, 1.0.1. */
#include "harness.h"

#include <stdio.h>

#define CONFIG "[host localhost]\n[mod_carboncopy]\n"
#define NS "urn:xmpp:carbons:2"
#define ENABLE "<enable xmlns='" NS "'/>"
#define DISABLE "<disable xmlns='" NS "'/>"
#define X_MUC "<x xmlns='http://jabber.org/protocol/muc#user'"

/* What bob's clients and alice hear of a message that says nothing else. */
#define COPY(dir, type, to, inner)                                                                \
    "<message from='bob@localhost' to='bob@localhost/" to "' type='" type "'><" dir               \
    " xmlns='" NS "'><forwarded xmlns='urn:xmpp:forward:0'>" inner "</forwarded></" dir           \
    "></message>"
#define MSG(attrs, inner) "<message xmlns='jabber:client' " attrs ">" inner "</message>"

struct world {
    struct h *h;
    struct hs *alice, *phone, *desk;
};

static struct hs *client(struct h *h, const char *jid, int priority)
{
    struct hs *s = h_login(h, jid);

    h_set_available(s, priority);
    h_drop_all(s);
    return s;
}

static void enable(struct hs *s)
{
    h_iq_result(s, "set", NULL, ENABLE, NULL);
}

/* alice, and bob with a phone in front of him and a desk that wants copies. */
static struct world begin(const char *ini)
{
    struct world w = { .h = h_start(ini != NULL ? ini : CONFIG) };

    h_user(w.h, "alice@localhost");
    h_user(w.h, "bob@localhost");
    w.alice = client(w.h, "alice@localhost/a", 0);
    w.phone = client(w.h, "bob@localhost/phone", 5);
    w.desk = client(w.h, "bob@localhost/desk", 0);
    enable(w.desk);
    return w;
}

static void end(struct world *w)
{
    h_expect_nothing(w->alice);
    h_expect_nothing(w->phone);
    h_expect_nothing(w->desk);
    h_stop(&w->h);
}

/* --- on and off --- */

static void found_by_disco(void **state)
{
    struct h *h = h_start(CONFIG "[mod_disco]\n");
    struct hs *bob = h_login(h, "bob@localhost/a");
    (void)state;

    h_iq_result(bob, "get", "localhost", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                "<query xmlns='http://jabber.org/protocol/disco#info' _='more'>"
                "<feature var='" NS "'/><feature var='urn:xmpp:carbons:rules:0'/></query>");
    h_iq_result(bob, "get", NULL, "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                "<query xmlns='http://jabber.org/protocol/disco#info' _='more'>"
                "<feature var='" NS "'/><feature var='urn:xmpp:carbons:rules:0'/></query>");
    h_stop(&h);
}

static void on_and_off_as_often_as_one_likes(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    for (int i = 0; i < 2; i++) {
        enable(w.desk);
        enable(w.desk);
        h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>1</body></message>");
        h_expect_body(w.alice, "bob@localhost/phone", "1");
        h_expect_xml(w.desk, COPY("sent", "chat", "desk", MSG("from='bob@localhost/phone' "
                     "to='alice@localhost/a' type='chat'", "<body>1</body>")));
        h_iq_result(w.desk, "set", "bob@localhost", DISABLE, NULL);
        h_iq_result(w.desk, "set", NULL, DISABLE, NULL);
        h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>2</body></message>");
        h_expect_body(w.alice, "bob@localhost/phone", "2");
        h_expect_nothing(w.desk);
    }
    end(&w);
}

static void only_for_oneself(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_iq_error(w.alice, "set", "bob@localhost", ENABLE, GR_NOT_ALLOWED);
    h_iq_error(w.alice, "set", "bob@localhost", DISABLE, GR_NOT_ALLOWED);
    h_iq_error(w.alice, "get", NULL, ENABLE, GR_NOT_ALLOWED);
    h_iq_error(w.alice, "set", NULL, "<other xmlns='" NS "'/>", GR_SERVICE_UNAVAILABLE);
    h_send(w.alice, "<message to='bob@localhost/phone' type='chat'><body>1</body></message>");
    h_expect_body(w.phone, NULL, "1");
    h_expect(w.desk, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost"); /* still on */
    end(&w);
}

/* XEP-0280, 10.1: until it disables them, and over a reload. */
static void stays_on(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_set_unavailable(w.desk);
    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>1</body></message>");
    h_expect_body(w.alice, NULL, "1");
    h_expect(w.desk, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_reload(w.h, CONFIG "[mod_ping]\n", NULL);
    h_set_available(w.desk, 0);
    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>2</body></message>");
    h_expect_body(w.alice, NULL, "2");
    h_expect(w.desk, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_reload(w.h, "[host localhost]\n", NULL);
    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>3</body></message>");
    h_expect_body(w.alice, NULL, "3");
    end(&w);
}

/* --- to whom --- */

static void sent_ones_to_all_but_the_sender(void **state)
{
    struct world w = begin(NULL);
    struct hs *tablet = client(w.h, "bob@localhost/tablet", -1);
    struct hs *quiet = h_login(w.h, "bob@localhost/quiet"); /* never available */
    (void)state;

    enable(w.phone);
    enable(tablet);
    enable(quiet);
    h_send(w.phone, "<message to='alice@localhost' id='m1' type='chat' xml:lang='en'>"
           "<body>What &lt;man&gt;</body><thread>t</thread></message>");
    h_expect_body(w.alice, "bob@localhost/phone", "What <man>");
#define INNER MSG("from='bob@localhost/phone' to='alice@localhost' id='m1' type='chat' xml:lang='en'",\
                  "<body>What &lt;man&gt;</body><thread>t</thread>")
    h_expect_xml(w.desk, COPY("sent", "chat", "desk", INNER));
    h_expect_xml(tablet, COPY("sent", "chat", "tablet", INNER));
    h_expect_xml(quiet, COPY("sent", "chat", "quiet", INNER));
#undef INNER
    h_expect_nothing(tablet);
    h_expect_nothing(quiet);
    end(&w);
}

static void received_ones_to_who_did_not_get_it(void **state)
{
    struct world w = begin(NULL);
    struct hs *second = client(w.h, "bob@localhost/second", 5);
    struct hs *tablet = client(w.h, "bob@localhost/tablet", -1);
    (void)state;

    enable(w.phone);
    enable(second);
    enable(tablet);
    h_send(w.alice, "<message to='bob@localhost' type='chat'><body>all</body></message>");
#define INNER MSG("from='alice@localhost/a' to='bob@localhost' type='chat'", "<body>all</body>")
    h_expect_body(w.phone, "alice@localhost/a", "all");
    h_expect_body(second, "alice@localhost/a", "all");
    h_expect_xml(w.desk, COPY("received", "chat", "desk", INNER));
    h_expect_xml(tablet, COPY("received", "chat", "tablet", INNER));
#undef INNER
    h_send(w.alice, "<message to='bob@localhost/tablet' type='chat'><body>one</body></message>");
    h_expect_body(tablet, "alice@localhost/a", "one");
#define INNER MSG("from='alice@localhost/a' to='bob@localhost/tablet' type='chat'", "<body>one</body>")
    h_expect_xml(w.phone, COPY("received", "chat", "phone", INNER));
    h_expect_xml(second, COPY("received", "chat", "second", INNER));
    h_expect_xml(w.desk, COPY("received", "chat", "desk", INNER));
#undef INNER
    h_expect_nothing(second);
    h_expect_nothing(tablet);
    end(&w);
}

/* A full JID that is gone: as to the account (RFC 6121, 8.5.3.2.1). */
static void the_addressee_is_gone(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_send(w.alice, "<message to='bob@localhost/old' type='chat'><body>1</body></message>");
    h_expect_body(w.phone, NULL, "1");
    h_expect_xml(w.desk, COPY("received", "chat", "desk", MSG("from='alice@localhost/a' "
                 "to='bob@localhost/old' type='chat'", "<body>1</body>")));
    h_send(w.alice, "<message to='bob@localhost/old'><body>2</body></message>");
    h_expect_error(w.alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost/old");
    end(&w);
}

/* Nobody's own message comes to a client twice, or back to who sent it. */
static void to_oneself(void **state)
{
    struct world w = begin(NULL);
    struct hs *tablet = client(w.h, "bob@localhost/tablet", 0);
    (void)state;

    enable(w.phone);
    enable(tablet);
    h_send(w.desk, "<message to='bob@localhost' type='chat'><body>note</body></message>");
    h_expect_body(w.phone, "bob@localhost/desk", "note");
    h_expect_xml(tablet, COPY("sent", "chat", "tablet", MSG("from='bob@localhost/desk' "
                 "to='bob@localhost' type='chat'", "<body>note</body>")));
    h_send(w.desk, "<message to='bob@localhost/tablet' type='chat'><body>2</body></message>");
    h_expect_body(tablet, "bob@localhost/desk", "2");
    h_expect_xml(w.phone, COPY("sent", "chat", "phone", MSG("from='bob@localhost/desk' "
                 "to='bob@localhost/tablet' type='chat'", "<body>2</body>")));
    h_expect_nothing(tablet);
    end(&w);
}

static void kept_for_later_and_copied_once(void **state)
{
    struct world w = begin(CONFIG "[mod_offline]\n[mod_presence]\n");
    (void)state;

    h_set_unavailable(w.phone);
    h_set_available(w.desk, -1);
    enable(w.phone);
    h_send(w.alice, "<message to='bob@localhost' type='chat'><body>1</body></message>");
#define INNER MSG("from='alice@localhost/a' to='bob@localhost' type='chat'", "<body>1</body>")
    h_expect_xml(w.desk, COPY("received", "chat", "desk", INNER));
    h_expect_xml(w.phone, COPY("received", "chat", "phone", INNER));
#undef INNER
    h_send(w.phone, "<presence><priority>1</priority></presence>");
    h_expect_among(w.phone, "<message from='alice@localhost/a' to='bob@localhost' type='chat'>"
                   "<body>1</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></message>");
    h_drop_all(w.phone);
    for (struct gr_stanza *st; (st = h_next(w.desk)) != NULL;)
        assert_int_equal(gr_stanza_kind(st), GR_PRESENCE);
    end(&w);
}

/* --- which (6.1) --- */

struct kind {
    const char *attrs, *inner;
    bool copied;
};

static const struct kind kinds[] = {
    { "type='chat'", "<body>1</body>", true },
    { "type='chat'", "", true },
    { "type='chat'", "<active xmlns='http://jabber.org/protocol/chatstates'/>", true },
    { "", "<body>1</body>", true },
    { "type='normal'", "<body/>", true },
    { "type='sonnet'", "<body>1</body>", true }, /* RFC 6121, 5.2.2: as normal */
    { "", "<subject>1</subject>", false },
    { "", "<x xmlns='jabber:x:data' type='form'/>", false },
    { "", "<received xmlns='urn:xmpp:receipts' id='1'/>", true },
    { "", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", true },
    { "", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true },
    { "type='headline'", "<body>1</body>", false },
    { "type='headline'", "<request xmlns='urn:xmpp:receipts'/>", true },
    { "type='groupchat'", "<body>1</body>", false },
    { "type='groupchat'", "<request xmlns='urn:xmpp:receipts'/>", false },
    { "", "<x xmlns='jabber:x:conference' jid='room@rooms'/>", true },
    { "", X_MUC "><invite from='a@b'/></x>", true },
    { "type='chat'", "<body>1</body><private xmlns='" NS "'/>", false },
    { "type='chat'", "<body>1</body><no-copy xmlns='urn:xmpp:hints'/>", false },
    { "type='chat'", "<body>1</body><no-store xmlns='urn:xmpp:hints'/>", true },
    { "type='chat'", "<body>1</body><sent xmlns='" NS "'/>", false },
    { "type='chat'", "<body>1</body><received xmlns='" NS "'><forwarded "
      "xmlns='urn:xmpp:forward:0'/></received>", false },
};

static void which_messages(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        const struct kind *k = &kinds[i];

        h_sendf(w.phone, "<message to='alice@localhost/a' %s>%s</message>", k->attrs, k->inner);
        h_expect(w.alice, GR_MESSAGE, GR_TYPE_INVALID, "bob@localhost/phone");
        h_sendf(w.alice, "<message to='bob@localhost/phone' %s>%s</message>", k->attrs, k->inner);
        h_expect(w.phone, GR_MESSAGE, GR_TYPE_INVALID, "alice@localhost/a");
        if (h_count(w.desk) != (k->copied ? 2 : 0))
            fail_msg("<message %s>%s: %u copies", k->attrs, k->inner, h_count(w.desk));
        h_drop_all(w.desk);
    }
    end(&w);
}

/* What a room's participants say in private is copied by the room, what one says oneself is not. */
static void private_messages_in_rooms(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>1</body>" X_MUC "/></message>");
    h_expect_body(w.alice, NULL, "1");
    h_expect_xml(w.desk, COPY("sent", "chat", "desk", MSG("from='bob@localhost/phone' "
                 "to='alice@localhost/a' type='chat'", "<body>1</body>" X_MUC "/>")));
    h_send(w.alice, "<message to='bob@localhost/phone' type='chat'><body>2</body>" X_MUC "/></message>");
    h_expect_body(w.phone, NULL, "2");
    end(&w);
}

/* An error in response to a message that was copied, either way; 32 of them are remembered. */
static void errors(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_send(w.phone, "<message to='nobody@localhost' id='e1' type='chat'><body>1</body></message>");
    h_expect_error(w.phone, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "nobody@localhost");
    h_expect(w.desk, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_expect_xml(w.desk, "<message from='bob@localhost' to='bob@localhost/desk' type='error'>"
                 "<received xmlns='" NS "'><forwarded xmlns='urn:xmpp:forward:0'>"
                 "<message from='nobody@localhost' id='e1' to='bob@localhost/phone' type='error' "
                 "xmlns='jabber:client' _='any'/></forwarded></received></message>");
    h_send(w.phone, "<message to='nobody@localhost' id='e2'><subject>1</subject></message>");
    h_expect_error(w.phone, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "nobody@localhost");
    h_send(w.alice, "<message to='bob@localhost/phone' type='error' id='e1'><error/></message>");
    h_expect(w.phone, GR_MESSAGE, GR_TYPE_ERROR, "alice@localhost/a");
    h_expect_nothing(w.desk);

    h_send(w.alice, "<message to='bob@localhost' id='e3' type='chat'><body>1</body></message>");
    h_expect_body(w.phone, NULL, "1");
    h_drop_all(w.desk);
    h_send(w.phone, "<message to='alice@localhost/a' id='e3' type='error'><error/></message>");
    h_expect(w.alice, GR_MESSAGE, GR_TYPE_ERROR, "bob@localhost/phone");
    h_expect(w.desk, GR_MESSAGE, GR_TYPE_ERROR, "bob@localhost");
    h_send(w.alice, "<message to='bob@localhost/phone' id='e3' type='error'><error/></message>");
    h_expect(w.phone, GR_MESSAGE, GR_TYPE_ERROR, NULL); /* not to a message of the phone's */

    for (int i = 0; i < 33; i++)
        h_sendf(w.phone, "<message to='alice@localhost/a' id='f%d' type='chat'/>", i);
    h_drop_all(w.alice);
    h_drop_all(w.desk);
    h_send(w.alice, "<message to='bob@localhost/phone' id='f0' type='error'><error/></message>");
    h_expect(w.phone, GR_MESSAGE, GR_TYPE_ERROR, NULL);
    h_expect_nothing(w.desk);
    h_send(w.alice, "<message to='bob@localhost/phone' id='f1' type='error'><error/></message>");
    h_expect(w.phone, GR_MESSAGE, GR_TYPE_ERROR, NULL);
    h_expect(w.desk, GR_MESSAGE, GR_TYPE_ERROR, "bob@localhost");
    end(&w);
}

/* 10.3: nobody else hears that a copy bounced; 11: nobody sends copies but the account itself. */
static void bounced_and_forged_copies(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_send(w.phone, "<message to='alice@localhost/a' id='m' type='chat'><body>1</body></message>");
    h_expect_body(w.alice, NULL, "1");
    h_expect(w.desk, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_send(w.desk, "<message to='bob@localhost' type='error'><error/></message>");
    h_expect_nothing(w.alice);
    h_expect_nothing(w.phone);
    h_send(w.alice, "<message from='bob@localhost' to='bob@localhost' type='chat'><received "
           "xmlns='" NS "'><forwarded xmlns='urn:xmpp:forward:0'>" MSG("from='eve@localhost' "
           "to='bob@localhost'", "<body>lie</body>") "</forwarded></received></message>");
    h_expect(w.phone, GR_MESSAGE, GR_MSG_CHAT, "alice@localhost/a");
    end(&w);
}

/* --- how --- */

/* Messages of one sender arrive in their order, whether as copies or themselves. */
static void order(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    for (int i = 0; i < 10; i++) {
        char xml[128];
        snprintf(xml, sizeof(xml), "<message to='bob@localhost/%s' id='%d' type='chat'/>",
                 i % 3 == 0 ? "phone" : "desk", i);
        h_feed(w.alice, xml);
    }
    h_run(w.h);
    for (int i = 0; i < 10; i++) {
        const struct gr_stanza *st = h_next(w.desk);
        const struct gr_el *el = gr_stanza_child(st, NS, "received");
        char id[4];

        snprintf(id, sizeof(id), "%d", i);
        assert_int_equal(el != NULL, i % 3 == 0);
        if (el != NULL)
            el = gr_el_child(gr_el_child(el, NULL, "forwarded"), NULL, "message");
        assert_string_equal(gr_el_attr(el != NULL ? el : gr_stanza_root(st), "id"), id);
    }
    h_drop_all(w.phone);
    end(&w);
}

/* A message is handled when its copies are, too: sent ones of the client's, received ones of the
 * other's. */
static void acknowledged_with_its_copies(void **state)
{
    struct world w = begin(NULL);
    (void)state;

    h_stall(w.desk);
    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>1</body></message>");
    h_expect_body(w.alice, NULL, "1");
    assert_int_equal(h_unhandled(w.phone), 1);
    h_send(w.alice, "<message to='bob@localhost/phone' type='chat'><body>2</body></message>");
    h_expect_body(w.phone, NULL, "2");
    assert_int_equal(h_unhandled(w.alice), 1);
    h_flow(w.desk);
    assert_int_equal(h_unhandled(w.phone), 0);
    assert_int_equal(h_unhandled(w.alice), 0);
    h_drop_all(w.desk);
    end(&w);
}

/* A connection breaks. A copy is for its client alone: the others have theirs, and the store is not for
 * it; the message itself goes on to the others, and is not copied again. */
static void broken_connections(void **state)
{
    struct world w = begin(CONFIG "[mod_offline]\n");
    struct hs *tablet = client(w.h, "bob@localhost/tablet", -1);
    (void)state;

    enable(tablet);
    h_break(w.desk);
    h_send(w.alice, "<message to='bob@localhost/phone' type='chat'><body>1</body></message>");
    h_expect_body(w.phone, NULL, "1");
    h_expect(tablet, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_disconnect(&w.desk, false);
    h_expect_nothing(w.phone);
    h_expect_nothing(tablet);
    assert_int_equal(h_unhandled(w.alice), 0);

    w.desk = client(w.h, "bob@localhost/desk", 0);
    enable(w.desk);
    h_break(w.phone);
    h_send(w.alice, "<message to='bob@localhost' type='chat'><body>2</body></message>");
    h_expect(w.desk, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_expect(tablet, GR_MESSAGE, GR_MSG_CHAT, "bob@localhost");
    h_disconnect(&w.phone, false);
    h_expect_body(w.desk, "alice@localhost/a", "2");
    h_expect_nothing(tablet);
    w.phone = client(w.h, "bob@localhost/phone", 0);
    end(&w);
}

/* --- other modules on the way --- */

static bool refuse;

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    if (gr_stanza_child(ev->stanza, GR_NS_CLIENT, "body") == NULL)
        return GR_OK;
    if (refuse)
        return GR_STOP;
    gr_el_add(gr_ev_edit(ev), NULL, "urn:x", "id");
    return GR_OK;
}

static const struct gr_hook way_hooks[] = {
    GR_ON(user_send_message, GR_PRIO_PRIVACY, on_message),
    GR_ON(user_receive_message, GR_PRIO_PRIVACY, on_message),
    GR_HOOK_END
};
static const struct gr_module way_module = { .name = "way", .summary = "test", .hooks = way_hooks };

static void copies_are_of_what_was_let_through(void **state)
{
    h_module(&way_module);
    struct world w = begin(CONFIG "[mod_way]\n");
    (void)state;

    refuse = false;
    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>1</body></message>");
    h_expect(w.alice, GR_MESSAGE, GR_MSG_CHAT, NULL);
    h_expect_xml(w.desk, COPY("sent", "chat", "desk", MSG("from='bob@localhost/phone' "
                 "to='alice@localhost/a' type='chat'", "<body>1</body><id xmlns='urn:x'/>")));
    refuse = true;
    h_send(w.phone, "<message to='alice@localhost/a' type='chat'><body>1</body></message>");
    h_send(w.alice, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    end(&w);
}

/* --- within the login (XEP-0386), as the stream runs it --- */

static void enabled_while_binding(void **state)
{
    h_module(&way_module);
    struct world w = begin(CONFIG "[mod_way]\n");
    struct gr_mod *way = h_mod(w.h, "way", "bob@localhost");
    struct gr_stanza *answer = gr_nonza_new("t", "features"), *without, *with;
    struct gr_inline_ev ev = { .answer = answer, .at = gr_stanza_root(answer) };
    const char *bind = "<bind xmlns='urn:xmpp:bind:0'/>";
    (void)state;

    refuse = false;
    gr_hook_run(way, GR_HOOK_bind2_stream_features, &ev.ev, NULL);
    assert_string_equal(gr_el_attr(gr_stanza_child(answer, NULL, "feature"), "var"), NS);
    assert_int_equal(gr_stanza_parse(bind, strlen(bind), &without), 0);
    bind = "<bind xmlns='urn:xmpp:bind:0'>" ENABLE "</bind>";
    assert_int_equal(gr_stanza_parse(bind, strlen(bind), &with), 0);
    for (int i = 0; i < 2; i++) {
        ev = (struct gr_inline_ev){ .session = h_session(w.phone),
                                    .request = gr_stanza_root(i == 0 ? without : with),
                                    .answer = answer, .at = gr_stanza_root(answer) };
        gr_hook_run(way, GR_HOOK_bind2_enable_features, &ev.ev, NULL);
        h_send(w.desk, "<message to='alice@localhost/a' type='chat'><body>1</body></message>");
        h_expect(w.alice, GR_MESSAGE, GR_MSG_CHAT, NULL);
        assert_int_equal(h_count(w.phone), i);
    }
    h_drop_all(w.phone);
    gr_stanza_unref(&answer);
    gr_stanza_unref(&without);
    gr_stanza_unref(&with);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(found_by_disco),
        cmocka_unit_test(on_and_off_as_often_as_one_likes),
        cmocka_unit_test(only_for_oneself),
        cmocka_unit_test(stays_on),
        cmocka_unit_test(sent_ones_to_all_but_the_sender),
        cmocka_unit_test(received_ones_to_who_did_not_get_it),
        cmocka_unit_test(the_addressee_is_gone),
        cmocka_unit_test(to_oneself),
        cmocka_unit_test(kept_for_later_and_copied_once),
        cmocka_unit_test(which_messages),
        cmocka_unit_test(private_messages_in_rooms),
        cmocka_unit_test(errors),
        cmocka_unit_test(bounced_and_forged_copies),
        cmocka_unit_test(order),
        cmocka_unit_test(acknowledged_with_its_copies),
        cmocka_unit_test(broken_connections),
        cmocka_unit_test(copies_are_of_what_was_let_through),
        cmocka_unit_test(enabled_while_binding),
    };

    return H_RUN("carboncopy", cases);
}
