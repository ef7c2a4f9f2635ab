/* tests/mod/test_push.c: devices that are notified (XEP-0357): enabling, what is told and when, and
 * what app servers answer. The app server is a client of the same host. */
#include "harness.h"

#include <stdio.h>

#include "store/store.h"

#define CONF "[host localhost]\n[mod_presence]\n[mod_disco]\n[mod_event_pusher]\n"
#define PUSH "urn:xmpp:push:0"
#define OPTIONS "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>" \
                "<value>http://jabber.org/protocol/pubsub#publish-options</value></field>" \
                "<field var='secret'><value>abc</value></field></x>"

/* --- two hooks of others --- */

static struct {
    uint64_t unread;             /* 0: as it is */
    bool takes, gone;            /* push_notifications: sent; no longer registered */
    unsigned asked;
    char told[512];
} other;

static enum gr_verdict on_unread(struct gr_mod *self, struct gr_inbox_ev *ev)
{
    (void)self;
    if (other.unread > 0)
        ev->unread = other.unread;
    return GR_OK;
}

static enum gr_verdict on_push(struct gr_mod *self, struct gr_push_ev *ev)
{
    (void)self;
    other.asked++;
    snprintf(other.told, sizeof(other.told), "%s %s %s %s %s", ev->user->bare, ev->service,
             ev->node, gr_form_value(ev->form, "message-count"),
             ev->options != NULL ? gr_form_value(ev->options, "secret") : "-");
    ev->rc = other.takes ? 0 : GR_EIO;
    ev->device_gone = other.gone;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(inbox_unread_count, 80, on_unread), GR_ON(push_notifications, 10, on_push), GR_HOOK_END
};
static const struct gr_module others = { .name = "others", .summary = "inbox, gateway",
                                         .hooks = hooks };

/* --- the world: alice writes, bob has a phone, app is its app server --- */

static struct h *h;
static struct hs *alice, *bob, *app;

static void start(const char *options)
{
    char *ini = gr_asprintf("%s%s", CONF, options);

    memset(&other, 0, sizeof(other));
    h_module(&others);
    h = h_start(ini);
    gr_free(ini);
    h_user(h, "bob@localhost");
    alice = h_online(h, "alice@localhost/a");
    app = h_login(h, "app@localhost/srv");
    bob = h_online(h, "bob@localhost/phone");
}

static void enable(struct hs *who, const char *node)
{
    char *xml = gr_asprintf("<enable xmlns='" PUSH "' jid='app@localhost/srv' node='%s'/>", node);

    h_iq_result(who, "set", NULL, xml, NULL);
    gr_free(xml);
}

static void write_to_bob(const char *body)
{
    h_sendf(alice, "<message to='bob@localhost' type='chat'><body>%s</body></message>", body);
    h_drop_all(alice); /* nobody keeps it */
}

/* The next notification, its count and node; answered with `answer`, NULL: the result. */
static void expect_push(const char *node, int count, const char *answer)
{
    struct gr_stanza *st = h_next(app);
    const struct gr_el *form;
    char number[16];

    if (st == NULL)
        h_fail("no notification");
    assert_int_equal(gr_stanza_kind(st), GR_IQ);
    assert_string_equal(gr_stanza_from(st)->full, "localhost");
    form = gr_el_child(gr_stanza_payload(st), NULL, "publish");
    assert_string_equal(gr_el_attr(form, "node"), node);
    form = gr_el_child(gr_el_child(gr_el_child(form, NULL, "item"), PUSH, "notification"),
                       GR_NS_FORM, "x");
    snprintf(number, sizeof(number), "%d", count);
    assert_string_equal(gr_form_value(form, "message-count"), number);
    h_sendf(app, "<iq to='localhost' id='%s' type='%s'>%s</iq>", gr_stanza_id(st),
            answer != NULL ? "error" : "result", answer != NULL ? answer : "");
}

#define ERROR(type, cond) "<error type='" type "'><" cond " xmlns='" GR_NS_STANZAS "'/></error>"

static const char *devices(void)
{
    return h_command(h, "event_pusher devices bob@localhost");
}

static unsigned count_devices(void)
{
    const char *p = devices();
    unsigned n = 0;

    while ((p = strstr(p, "service=")) != NULL)
        n++, p++;
    return n;
}

/* --- tests --- */

static void told_when_away(void **state)
{
    (void)state;
    start("");
    h_iq_result(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='app@localhost/srv' node='n1'>"
                OPTIONS "</enable>", NULL);
    write_to_bob("here");
    h_expect_body(bob, NULL, "here");
    h_expect_nothing(app);
    h_disconnect(&bob, true);
    write_to_bob("away");
    h_expect_xml(app,
                 "<iq type='set' from='localhost' to='app@localhost/srv' id='*'>"
                 "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n1'><item>"
                 "<notification xmlns='" PUSH "'><x xmlns='jabber:x:data' type='submit'>"
                 "<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>"
                 "<field var='message-count'><value>1</value></field>"
                 "<field var='last-message-body'><value>New message</value></field>"
                 "</x></notification></item></publish>"
                 "<publish-options>" OPTIONS "</publish-options></pubsub></iq>");
    h_stop(&h);
}

static void what_is_told(void **state)
{
    (void)state;
    start("push_with_sender = yes\npush_with_body = yes\n");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    write_to_bob("away");
    h_expect_xml(app, "<iq _='more'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                      "<publish node='n1'><item><notification xmlns='" PUSH "'>"
                      "<x xmlns='jabber:x:data' _='more'>"
                      "<field var='last-message-sender'><value>alice@localhost</value></field>"
                      "<field var='last-message-body'><value>away</value></field>"
                      "</x></notification></item></publish></pubsub></iq>");
    h_send(alice, "<message to='bob@localhost' type='groupchat'><body>all</body></message>");
    h_expect_xml(app, "<iq _='more'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                      "<publish node='n1'><item><notification xmlns='" PUSH "'>"
                      "<x xmlns='jabber:x:data' _='more'>"
                      "<field var='last-message-sender'><value>alice@localhost/a</value></field>"
                      "</x></notification></item></publish></pubsub></iq>");
    h_stop(&h);
}

/* 1024 bytes at most, and whole characters. */
static void a_long_body_is_cut(void **state)
{
    char *written = gr_asprintf("%01023d\xc3\xa4 and more", 0), *told = gr_asprintf("%01023d", 0);

    (void)state;
    start("push_with_body = yes\n");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    write_to_bob(written);
    h_expect_xmlf(app, "<iq _='more'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                       "<publish node='n1'><item><notification xmlns='" PUSH "'>"
                       "<x xmlns='jabber:x:data' _='more'>"
                       "<field var='last-message-body'><value>%s</value></field>"
                       "</x></notification></item></publish></pubsub></iq>", told);
    gr_free(written);
    gr_free(told);
    h_stop(&h);
}

static void of_what(void **state)
{
    static const char *const nothing[] = {
        "<message to='bob@localhost'><body>normal</body></message>",
        "<message to='bob@localhost' type='headline'><body>news</body></message>",
        "<message to='bob@localhost' type='error'><body>error</body></message>",
        "<message to='bob@localhost' type='chat'><body/></message>",
        "<message to='bob@localhost' type='chat'><composing xmlns='t'/></message>",
        "<presence to='bob@localhost'/>",
    };
    struct hs *laptop;

    (void)state;
    start("");
    enable(bob, "n1");
    laptop = h_online(h, "bob@localhost/laptop");
    h_disconnect(&bob, true);
    write_to_bob("to the laptop");
    h_expect_nothing(app);
    h_send(laptop, "<presence><priority>-1</priority></presence>"); /* takes none */
    write_to_bob("to nobody");
    expect_push("n1", 1, NULL);
    h_send(alice, "<message to='bob@localhost/laptop' type='chat'><body>to it</body></message>");
    h_expect_nothing(app);
    h_disconnect(&laptop, true);
    for (size_t i = 0; i < GR_COUNT(nothing); i++)
        h_send(alice, nothing[i]);
    h_expect_nothing(app);
    h_stop(&h);
}

static void counted(void **state)
{
    (void)state;
    start("");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    for (int i = 1; i <= 3; i++) {
        write_to_bob("away");
        expect_push("n1", i, NULL);
    }
    h_restart(h);
    alice = h_online(h, "alice@localhost/a");
    app = h_login(h, "app@localhost/srv");
    write_to_bob("still away");
    expect_push("n1", 4, NULL);
    bob = h_online(h, "bob@localhost/phone");
    h_disconnect(&bob, true);
    write_to_bob("again");
    expect_push("n1", 1, NULL);
    other.unread = 42; /* somebody knows better */
    write_to_bob("again");
    expect_push("n1", 42, NULL);
    h_stop(&h);
}

/* Several at once: each has its number, nothing is lost while the disk is slow. */
static void counted_in_flight(void **state)
{
    (void)state;
    start("");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    h_hold_store(h, true);
    for (int i = 0; i < 3; i++)
        write_to_bob("away");
    h_expect_nothing(app);
    h_commit(h);
    h_commit(h);
    h_hold_store(h, false);
    for (int i = 1; i <= 3; i++)
        expect_push("n1", i, NULL);
    h_expect_nothing(app);
    h_stop(&h);
}

static void several_devices(void **state)
{
    (void)state;
    start("push_max_devices = 3\n");
    for (int i = 1; i <= 3; i++) {
        char node[16];

        snprintf(node, sizeof(node), "n%d", i);
        enable(bob, node);
        h_advance(h, 10);
    }
    enable(bob, "n1"); /* is the youngest now */
    assert_int_equal(count_devices(), 3);
    h_advance(h, 10);
    enable(bob, "n4"); /* in the place of n2 */
    assert_int_equal(count_devices(), 3);
    assert_null(strstr(devices(), "node=n2"));
    h_iq_result(bob, "set", NULL, "<disable xmlns='" PUSH "' jid='app@localhost/srv' node='n3'/>",
                NULL);
    h_iq_result(bob, "set", NULL, "<disable xmlns='" PUSH "' jid='app@localhost/srv' node='no'/>",
                NULL);
    h_iq_result(bob, "set", NULL, "<disable xmlns='" PUSH "' jid='app@localhost'/>", NULL);
    h_disconnect(&bob, true);
    write_to_bob("away");
    expect_push("n1", 1, NULL);
    expect_push("n4", 1, NULL);
    h_expect_nothing(app);
    bob = h_online(h, "bob@localhost/phone");
    h_iq_result(bob, "set", NULL, "<disable xmlns='" PUSH "' jid='app@localhost/srv'/>", NULL);
    assert_int_equal(count_devices(), 0);
    h_disconnect(&bob, true);
    write_to_bob("away");
    h_expect_nothing(app);
    h_stop(&h);
}

/* Many at once do not pass the bound together. */
static void enabled_at_once(void **state)
{
    (void)state;
    start("push_max_devices = 3\n");
    h_hold_store(h, true);
    for (int i = 0; i < 20; i++) {
        char *xml = gr_asprintf("<iq type='set' id='%d'><enable xmlns='" PUSH "' jid='a.example' "
                                "node='%d'/></iq>", i, i);
        h_send(bob, xml);
        gr_free(xml);
    }
    assert_int_equal(h_count(bob), 0); /* answered when it is on disk */
    h_hold_store(h, false);
    assert_int_equal(h_count(bob), 20);
    assert_int_equal(count_devices(), 3);
    h_stop(&h);
}

static void what_is_refused(void **state)
{
    char *xml;

    (void)state;
    start("");
    h_iq_error(bob, "set", NULL, "<enable xmlns='" PUSH "' node='x'/>", GR_BAD_REQUEST);
    h_iq_error(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='@' node='x'/>", GR_JID_MALFORMED);
    h_iq_error(bob, "set", NULL, "<disable xmlns='" PUSH "'/>", GR_BAD_REQUEST);
    h_iq_error(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='a.example' node='x'>"
               "<x xmlns='jabber:x:data' type='submit'/></enable>", GR_BAD_REQUEST);
    h_iq_error(bob, "set", "alice@localhost", "<enable xmlns='" PUSH "' jid='a.example'/>",
               GR_FORBIDDEN);
    xml = gr_asprintf("<enable xmlns='" PUSH "' jid='a.example' node='%01024d'/>", 0);
    h_iq_error(bob, "set", NULL, xml, GR_POLICY_VIOLATION);
    gr_free(xml);
    xml = gr_asprintf("<enable xmlns='" PUSH "' jid='a.example'><x xmlns='jabber:x:data' "
                      "type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/"
                      "pubsub#publish-options</value></field><field var='s'><value>%04096d</value>"
                      "</field></x></enable>", 0);
    h_iq_error(bob, "set", NULL, xml, GR_POLICY_VIOLATION);
    gr_free(xml);
    assert_int_equal(count_devices(), 0);
    h_iq_result(bob, "get", "bob@localhost",
                "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                "<query xmlns='http://jabber.org/protocol/disco#info' _='more'>"
                "<feature var='" PUSH "'/></query>");
    h_stop(&h);
}

static void switched_off(void **state)
{
    (void)state;
    start("push = no\n");
    h_iq_error(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='a.example'/>",
               GR_SERVICE_UNAVAILABLE);
    assert_false(h_matches(h_iq(bob, "get", "bob@localhost",
                                "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
                           "<iq _='more'><query xmlns='http://jabber.org/protocol/disco#info' "
                           "_='more'><feature var='" PUSH "'/></query></iq>"));
    h_stop(&h);
}

/* Refusals in a row; what may pass does not count, a success starts anew. */
static void refused_by_the_app_server(void **state)
{
    (void)state;
    start("push_max_errors = 3\n");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    for (int i = 1; i <= 7; i++) {
        write_to_bob("away");
        expect_push("n1", i, i == 3   ? NULL
                             : i == 6 ? ERROR("wait", "resource-constraint")
                                      : ERROR("cancel", "item-not-found"));
        if (i == 4)
            assert_non_null(strstr(devices(), "errors=1"));
    }
    assert_int_equal(count_devices(), 0); /* 4, 5 and 7 */
    assert_non_null(strstr(h_log(h), "event_pusher.forgotten"));
    write_to_bob("away");
    h_expect_nothing(app);
    h_stop(&h);
}

static void no_answer(void **state)
{
    (void)state;
    start("push_max_errors = 1\n");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    write_to_bob("away");
    assert_non_null(h_next(app));
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"), "push_waiting=1"));
    h_advance(h, 30000);
    assert_non_null(strstr(h_command(h, "event_pusher counts localhost"),
                           "push_unanswered=1 push_dropped=0 push_waiting=0"));
    assert_int_equal(count_devices(), 1);
    write_to_bob("away");
    expect_push("n1", 2, ERROR("auth", "forbidden"));
    assert_int_equal(count_devices(), 0);
    h_stop(&h);
}

/* Disabled, or the account removed, while the app server thinks: nothing comes back. */
static void gone_meanwhile(void **state)
{
    struct gr_stanza *st;

    (void)state;
    start("");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    write_to_bob("away");
    st = h_next(app);
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    h_sendf(app, "<iq to='localhost' id='%s' type='error'>" ERROR("cancel", "gone") "</iq>",
            gr_stanza_id(st));
    h_user(h, "bob@localhost");
    assert_int_equal(count_devices(), 0);
    write_to_bob("to the next one");
    h_expect_nothing(app);
    h_stop(&h);
}

/* An answer is about to be noted when the account is removed: a row that was read before, of which the
 * deletion is not on disk yet, is not written again. */
static void removed_while_the_disk_is_slow(void **state)
{
    struct gr_user_ev ev = { .jid = NULL };
    struct gr_stanza *st;

    (void)state;
    start("");
    enable(bob, "n1");
    h_send(bob, "<presence type='unavailable'/>");
    write_to_bob("away");
    st = h_next(app);
    h_hold_store(h, true);
    h_send(bob, "<iq type='set' id='e'><enable xmlns='" PUSH "' jid='a.example' node='2'/></iq>");
    h_sendf(app, "<iq to='localhost' id='%s' type='error'>" ERROR("cancel", "gone") "</iq>",
            gr_stanza_id(st)); /* waits behind that */
    store_step(); /* it is on disk, which the loop hears next */
    ev.jid = h_parse_jid(h, "bob@localhost");
    gr_hook_run(h_mod(h, "event_pusher", "bob@localhost"), GR_HOOK_remove_user, &ev.ev, NULL);
    h_run(h);
    h_hold_store(h, false);
    assert_int_equal(count_devices(), 0);
    h_stop(&h);
}

/* "Disable all, then enable this one", without waiting in between. */
static void disabled_and_enabled_again(void **state)
{
    (void)state;
    start("");
    enable(bob, "n1");
    h_advance(h, 10);
    h_hold_store(h, true);
    h_send(bob, "<iq type='set' id='1'><enable xmlns='" PUSH "' jid='a.example' node='2'/></iq>");
    h_send(bob, "<iq type='set' id='2'><disable xmlns='" PUSH "' jid='app@localhost/srv'/></iq>");
    h_advance(h, 10);
    h_send(bob, "<iq type='set' id='3'><enable xmlns='" PUSH "' jid='app@localhost/srv' "
                "node='n3'/></iq>");
    h_hold_store(h, false);
    assert_int_equal(count_devices(), 2);
    assert_non_null(strstr(devices(), "node=n3"));
    assert_null(strstr(devices(), "node=n1"));
    h_stop(&h);
}

/* What is said about a registration does not concern the one that came after. */
static void enabled_anew_meanwhile(void **state)
{
    struct gr_stanza *st;

    (void)state;
    start("push_max_errors = 1\n");
    enable(bob, "n1");
    h_send(bob, "<presence type='unavailable'/>");
    write_to_bob("away");
    st = h_next(app);
    h_advance(h, 10);
    enable(bob, "n1");
    h_sendf(app, "<iq to='localhost' id='%s' type='error'>" ERROR("cancel", "gone") "</iq>",
            gr_stanza_id(st));
    assert_int_equal(count_devices(), 1);
    write_to_bob("away");
    expect_push("n1", 2, ERROR("cancel", "gone"));
    assert_int_equal(count_devices(), 0);
    h_stop(&h);
}

/* The longest addresses and nodes there may be. */
static void long_names(void **state)
{
    char node[1024], jid[1 + 1023 + 1 + 1023 + 1 + 1023];
    char *xml;

    (void)state;
    start("");
    memset(node, 'n', 1023);
    node[1023] = '\0';
    snprintf(jid, sizeof(jid), "%.1023s@a.example/%.1023s", node, node);
    for (int i = 0; i < 3; i++) {
        node[1022] = (char)('0' + i);
        xml = gr_asprintf("<enable xmlns='" PUSH "' jid='%s' node='%s'/>", jid, node);
        h_iq_result(bob, "set", NULL, xml, NULL);
        gr_free(xml);
    }
    assert_int_equal(count_devices(), 3);
    xml = gr_asprintf("<disable xmlns='" PUSH "' jid='%s' node='%s'/>", jid, node);
    h_iq_result(bob, "set", NULL, xml, NULL);
    gr_free(xml);
    assert_int_equal(count_devices(), 2);
    xml = gr_asprintf("<disable xmlns='" PUSH "' jid='%s'/>", jid);
    h_iq_result(bob, "set", NULL, xml, NULL);
    gr_free(xml);
    assert_int_equal(count_devices(), 0);
    h_stop(&h);
}

static void removed_with_the_account(void **state)
{
    (void)state;
    start("");
    enable(bob, "n1");
    h_hold_store(h, true);
    h_send(bob, "<iq type='set' id='e'><enable xmlns='" PUSH "' jid='a.example' node='2'/></iq>");
    h_hold_store(h, false);
    h_drop_all(bob);
    assert_int_equal(count_devices(), 2);
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    assert_int_equal(count_devices(), 0);
    h_user(h, "bob@localhost");
    bob = h_online(h, "bob@localhost/phone");
    h_disconnect(&bob, true);
    write_to_bob("to the next one");
    h_expect_nothing(app);
    h_stop(&h);
}

/* While the account goes, its sessions are still there; then somebody has the name again. */
static void nothing_behind_the_removal(void **state)
{
    struct gr_user_ev ev = { .jid = NULL };

    (void)state;
    start("");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    write_to_bob("one");
    write_to_bob("two");
    h_drop_all(app);
    bob = h_login(h, "bob@localhost/phone"); /* nothing is counted anew: it is not available */
    ev.jid = h_parse_jid(h, "bob@localhost");
    h_hold_store(h, true);
    gr_hook_run(h_mod(h, "event_pusher", "bob@localhost"), GR_HOOK_remove_user, &ev.ev, NULL);
    h_run(h);
    h_iq_error(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='a.example'/>", GR_FORBIDDEN);
    gr_hook_run(h_mod(h, "event_pusher", "bob@localhost"), GR_HOOK_register_user, &ev.ev, NULL);
    h_send(bob, "<iq type='set' id='r'><enable xmlns='" PUSH "' jid='a.example'/></iq>");
    h_hold_store(h, false);
    assert_int_equal(count_devices(), 1);
    h_user(h, "bob@localhost");
    bob = h_login(h, "bob@localhost/phone");
    h_iq_result(bob, "set", NULL, "<disable xmlns='" PUSH "' jid='a.example'/>", NULL);
    enable(bob, "n2");
    h_disconnect(&bob, true);
    write_to_bob("to the next one");
    expect_push("n2", 1, NULL);
    h_stop(&h);
}

static void exported(void **state)
{
    struct gr_export_ev ev = { .user = NULL };

    (void)state;
    start("");
    h_iq_result(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='app@localhost/srv' node='n1'>"
                OPTIONS "</enable>", NULL);
    ev.user = h_parse_jid(h, "bob@localhost");
    ev.data = gr_nonza_new("urn:xmpp:pie:0", "user");
    gr_hook_run(h_mod(h, "event_pusher", "bob@localhost"), GR_HOOK_get_personal_data, &ev.ev, NULL);
    h_run(h);
    h_assert_xml(ev.data, "<user xmlns='urn:xmpp:pie:0'><enable xmlns='" PUSH "' "
                          "jid='app@localhost/srv' node='n1'>" OPTIONS "</enable></user>");
    gr_stanza_unref(&ev.data);
    h_stop(&h);
}

/* A client without a connection: its own devices, if it has some. */
static void unacknowledged(void **state)
{
    struct hs *laptop;
    struct gr_stanza_ev ev = { .from = NULL };

    (void)state;
    start("");
    enable(bob, "phone");
    laptop = h_online(h, "bob@localhost/laptop");
    enable(laptop, "laptop");
    for (int i = 0; i < 2; i++) {
        struct hs *s = i == 0 ? bob : laptop;

        ev.stanza = gr_message_new(GR_MSG_CHAT, h_jid(alice), h_jid(s));
        gr_el_add_text(ev.stanza, NULL, NULL, "body", "hi");
        ev.session = h_session(s);
        ev.from = gr_stanza_from(ev.stanza);
        ev.to = gr_stanza_to(ev.stanza);
        gr_hook_run(h_mod(h, "event_pusher", "bob@localhost"), GR_HOOK_unacknowledged_message,
                    &ev.ev, NULL);
        gr_stanza_unref(&ev.stanza);
        h_run(h);
        expect_push(i == 0 ? "phone" : "laptop", i + 1, NULL);
        h_expect_nothing(app);
    }
    h_stop(&h);
}

#define SM "xmlns='urn:xmpp:sm:3'"

/* The same by mod_stream_management: told once, when it comes, and not again when the client is given
 * up and the message is kept for the next one. */
static void waiting_for_its_client(void **state)
{
    (void)state;
    start("[mod_offline]\n[mod_stream_management]\n");
    enable(bob, "phone");
    h_send(bob, "<enable " SM " resume='true'/>");
    h_disconnect(&bob, false);
    write_to_bob("one");
    expect_push("phone", 1, NULL);
    write_to_bob("two");
    expect_push("phone", 2, NULL);
    h_advance(h, 700 * 1000);
    h_expect_nothing(app);
    bob = h_login(h, "bob@localhost/phone");
    h_send(bob, "<presence/>");
    h_expect_among(bob, "<message from='*' to='*' type='chat' _='more'><body>one</body></message>");
    h_expect_among(bob, "<message from='*' to='*' type='chat' _='more'><body>two</body></message>");
    h_expect_nothing(app);
    h_stop(&h);
}

/* --- once --- */

/* Available, with a stream that can be resumed; its id, until the next call. */
static const char *managed(struct hs *s)
{
    static char id[64];
    const struct gr_stanza *st;

    h_send(s, "<enable " SM " resume='true'/>");
    st = h_expect_among(s, "<enabled " SM " _='more'/>");
    snprintf(id, sizeof(id), "%s", gr_el_attr(gr_stanza_root(st), "id"));
    return id;
}

static void write_id(const char *id)
{
    h_sendf(alice, "<message to='bob@localhost' id='%s' type='chat'><body>hi</body></message>", id);
}

/* It waits for a client that loses its connection twice, is given up, and comes from the store. */
static void told_once_of_a_message(void **state)
{
    const char *id;

    (void)state;
    start("[mod_stream_management]\n[mod_offline]\n");
    enable(bob, "phone");
    id = managed(bob);
    h_disconnect(&bob, false);
    write_id("1");
    expect_push("phone", 1, NULL);
    write_id("2");
    expect_push("phone", 2, NULL);
    bob = h_connect(h, "bob@localhost");
    h_sendf(bob, "<resume " SM " h='0' previd='%s'/>", id);
    h_disconnect(&bob, false); /* nothing was acknowledged */
    h_expect_nothing(app);
    h_advance(h, 700 * 1000); /* to the offline store */
    h_expect_nothing(app);
    bob = h_login(h, "bob@localhost/phone");
    managed(bob);
    h_send(bob, "<presence/>");
    h_disconnect(&bob, false);
    h_expect_nothing(app);
    write_id("3"); /* the count began again when he came */
    expect_push("phone", 1, NULL);
    h_expect_nothing(app);
    h_stop(&h);
}

/* A client that says it is not looked at (XEP-0352) has its connection: it is told by that. */
static void an_inactive_client(void **state)
{
    (void)state;
    start("[mod_csi]\n");
    enable(bob, "phone");
    h_send(bob, "<inactive xmlns='urn:xmpp:csi:0'/>");
    write_to_bob("one");
    h_expect_nothing(app);
    h_stop(&h);
}

/* Two clients wait for it; one is given up. Their devices are one and the same, or not. */
static void told_once_of_a_message_for_two(void **state)
{
    struct hs *laptop;

    (void)state;
    start("[mod_stream_management]\n[mod_offline]\n");
    enable(bob, "phone");
    laptop = h_online(h, "bob@localhost/laptop");
    managed(laptop);
    h_disconnect(&laptop, false);
    managed(bob);
    h_disconnect(&bob, false);
    write_id("1");
    expect_push("phone", 1, NULL);
    h_expect_nothing(app);
    h_advance(h, 700 * 1000);
    h_expect_nothing(app);
    laptop = h_login(h, "bob@localhost/laptop");
    enable(laptop, "laptop");
    managed(laptop);
    h_send(laptop, "<presence/>");
    bob = h_online(h, "bob@localhost/phone");
    managed(bob);
    h_disconnect(&laptop, false);
    h_disconnect(&bob, false);
    h_expect_nothing(app); /* of the first message */
    write_id("2");
    expect_push("laptop", 1, NULL);
    expect_push("phone", 1, NULL);
    h_expect_nothing(app);
    h_stop(&h);
}

static void waits(unsigned n)
{
    struct gr_stanza_ev ev = { .from = h_jid(alice), .to = h_jid(bob), .session = h_session(bob) };
    char id[16];

    snprintf(id, sizeof(id), "%u", n);
    ev.stanza = gr_message_new(GR_MSG_CHAT, ev.from, ev.to);
    gr_stanza_set_id(ev.stanza, id);
    gr_el_add_text(ev.stanza, NULL, NULL, "body", "hi");
    gr_hook_run(h_mod(h, "event_pusher", "bob@localhost"), GR_HOOK_unacknowledged_message, &ev.ev,
                NULL);
    gr_stanza_unref(&ev.stanza);
    h_run(h);
}

/* 2048 notices: of 1024 messages, with one device, since each is counted as well. */
static void as_many_as_are_remembered(void **state)
{
    (void)state;
    start("push_virtual_hosts = push.example\n");
    h_iq_result(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='push.example' node='n'/>", NULL);
    other.takes = true;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned n = 0; n < 1024; n++)
            waits(n);
    assert_int_equal(other.asked, 1024);
    waits(1024);
    waits(1023);
    assert_int_equal(other.asked, 1025);
    waits(0); /* the oldest one made room */
    assert_int_equal(other.asked, 1026);
    h_stop(&h);
}

static void virtual_hosts(void **state)
{
    (void)state;
    start("push_virtual_hosts = push.example, other.example\n");
    enable(bob, "real");
    h_iq_result(bob, "set", NULL, "<enable xmlns='" PUSH "' jid='push.example' node='n1'>"
                OPTIONS "</enable>", NULL);
    h_disconnect(&bob, true);
    write_to_bob("away"); /* cannot now */
    assert_string_equal(other.told, "bob@localhost push.example n1 1 abc");
    assert_int_equal(count_devices(), 2);
    expect_push("real", 1, NULL);
    assert_int_equal(other.asked, 1);
    other.takes = true;
    write_to_bob("away");
    assert_int_equal(other.asked, 2);
    assert_int_equal(count_devices(), 2);
    other.gone = true;
    write_to_bob("away");
    assert_int_equal(other.asked, 3);
    assert_int_equal(count_devices(), 1);
    h_stop(&h);
}

/* So many under way at a time; messages are kept and bounced as ever. */
static void bounds(void **state)
{
    (void)state;
    start("push_max_pending = 2\n");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    for (int i = 0; i < 3; i++)
        write_to_bob("away");
    assert_int_equal(h_count(app), 2);
    assert_non_null(strstr(h_log(h), "event_pusher.push_dropped"));
    expect_push("n1", 1, NULL);
    write_to_bob("away");
    expect_push("n1", 2, NULL);
    expect_push("n1", 3, NULL);
    h_expect_nothing(app);
    h_stop(&h);
}

/* Many devices do not pass it together. */
static void bounds_of_many_devices(void **state)
{
    (void)state;
    start("push_max_pending = 3\n");
    for (int i = 0; i < 5; i++) {
        char node[16];

        snprintf(node, sizeof(node), "n%d", i);
        enable(bob, node);
    }
    h_disconnect(&bob, true);
    write_to_bob("away");
    assert_int_equal(h_count(app), 3);
    h_stop(&h);
}

/* One account's app server that does not answer: the others are told, up to the bound of all. */
static void bound_of_an_account(void **state)
{
    const struct gr_jid *other_one = NULL;
    struct hs *carol;
    char jid[40];

    (void)state;
    start("push_max_pending = 20\n");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    for (int i = 0; i < 12; i++)
        write_to_bob("away");
    assert_int_equal(h_count(app), 10);
    assert_non_null(strstr(h_log(h), "event_pusher.push_dropped"));
    h_drop_all(app);
    for (int i = 0; other_one == NULL || h_home(h, jid) != h_home(h, "bob@localhost") ||
                    other_one->hash >> 56 == h_parse_jid(h, "bob@localhost")->hash >> 56; i++) {
        snprintf(jid, sizeof(jid), "carol%d@localhost", i);
        other_one = h_parse_jid(h, jid);
    }
    h_user(h, jid);
    strcat(jid, "/phone");
    carol = h_online(h, jid);
    enable(carol, "c1");
    h_disconnect(&carol, true);
    h_sendf(alice, "<message to='%s' type='chat'><body>hi</body></message>", jid);
    expect_push("c1", 1, NULL);
    h_stop(&h);
}

/* A new version while notifications are under way and messages are counted. */
static void reloaded(void **state)
{
    (void)state;
    start("");
    enable(bob, "n1");
    h_disconnect(&bob, true);
    write_to_bob("answered by the old one");
    h_hold_store(h, true);
    write_to_bob("counted by the old one");
    h_reload(h, CONF "push_max_devices = 7\n", NULL);
    h_hold_store(h, false);
    expect_push("n1", 1, NULL);
    expect_push("n1", 2, ERROR("cancel", "item-not-found"));
    write_to_bob("new");
    expect_push("n1", 3, NULL);
    assert_non_null(strstr(devices(), "errors=0"));
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(told_when_away), cmocka_unit_test(what_is_told), cmocka_unit_test(a_long_body_is_cut),
        cmocka_unit_test(of_what),
        cmocka_unit_test(counted), cmocka_unit_test(counted_in_flight),
        cmocka_unit_test(several_devices), cmocka_unit_test(enabled_at_once),
        cmocka_unit_test(what_is_refused), cmocka_unit_test(switched_off),
        cmocka_unit_test(refused_by_the_app_server), cmocka_unit_test(no_answer),
        cmocka_unit_test(gone_meanwhile), cmocka_unit_test(removed_with_the_account),
        cmocka_unit_test(nothing_behind_the_removal), cmocka_unit_test(exported),
        cmocka_unit_test(unacknowledged),
        cmocka_unit_test(waiting_for_its_client), cmocka_unit_test(an_inactive_client),
        cmocka_unit_test(virtual_hosts), cmocka_unit_test(bounds), cmocka_unit_test(reloaded),
        cmocka_unit_test(removed_while_the_disk_is_slow), cmocka_unit_test(enabled_anew_meanwhile),
        cmocka_unit_test(disabled_and_enabled_again),
        cmocka_unit_test(long_names), cmocka_unit_test(bound_of_an_account),
        cmocka_unit_test(bounds_of_many_devices),
        cmocka_unit_test(told_once_of_a_message),
        cmocka_unit_test(told_once_of_a_message_for_two),
        cmocka_unit_test(as_many_as_are_remembered),
    };
    return H_RUN("push", cases);
}
