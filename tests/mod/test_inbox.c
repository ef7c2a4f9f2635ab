/* tests/mod/test_inbox.c: mod_inbox: what messages do to conversations, queries of both kinds, boxes,
 * muting, reading, the bin, the bounds, and that nothing acknowledged is lost. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

#define NS "erlang-solutions.com:xmpp:inbox:0"
#define CONV NS "#conversation"
#define XEP "urn:xmpp:inbox:1"
#define CONFIG "[host localhost]\n[mod_presence]\n[mod_inbox]\n"
#define MARK(id) "<displayed xmlns='urn:xmpp:chat-markers:0' id='" id "'/>"
#define FORM(fields) "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>" \
                     "<value>" NS "</value></field>" fields "</x>"
#define FIELD(var, value) "<field var='" var "'><value>" value "</value></field>"

static struct h *start(const char *ini)
{
    struct h *h = h_start(ini != NULL ? ini : CONFIG);

    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
    return h;
}

static void say(struct hs *s, const char *to, const char *id)
{
    h_sendf(s, "<message to='%s' id='%s' type='chat'><body>%s</body></message>", to, id, id);
}

/* Asks, leaves the entries in the queue of the client and checks the totals. */
static void ask(struct hs *s, const char *content, unsigned count, unsigned unread,
                unsigned active)
{
    char iq[1500], fin[400];

    h_drop_all(s);
    snprintf(iq, sizeof(iq), "<inbox xmlns='" NS "' queryid='q'>%s</inbox>", content);
    struct gr_stanza *st = h_iq(s, "set", NULL, iq);
    snprintf(fin, sizeof(fin),
             "<iq type='result' id='*' from='*' to='*'><fin xmlns='" NS "' _='more'><count>%u</count>"
             "<unread-messages>%u</unread-messages>"
             "<active-conversations>%u</active-conversations></fin></iq>", count, unread, active);
    h_assert_xml(st, fin);
}

static void expect_entry(struct hs *s, const char *remote, unsigned unread, const char *body)
{
    struct gr_stanza *st = h_next(s);
    const struct gr_el *el, *message;
    char text[16];

    assert_non_null(st);
    el = gr_stanza_child(st, NS, "result");
    assert_non_null(el);
    snprintf(text, sizeof(text), "%u", unread);
    assert_string_equal(gr_el_attr(el, "unread"), text);
    assert_string_equal(gr_el_attr(el, "queryid"), "q");
    el = gr_el_child(el, "urn:xmpp:forward:0", "forwarded");
    message = gr_el_child(el, "jabber:client", "message");
    assert_non_null(gr_el_child(el, "urn:xmpp:delay", "delay"));
    assert_string_equal(gr_el_text(gr_el_child(message, NULL, "body"), NULL), body);
    if (strncmp(gr_el_attr(message, "from"), remote, strlen(remote)) != 0)
        assert_string_equal(gr_el_attr(message, "to"), remote);
}

static void expect_unread(struct hs *s, unsigned unread)
{
    ask(s, "", 1, unread, unread > 0);
    h_drop_all(s);
}

static unsigned counted;

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    counted = (unsigned)rows->count;
}

static unsigned rows_of(struct h *h, const char *coll, const char *owner)
{
    struct gr_coll c = GR_MAP(coll);

    gr_store_count(gr_req_new(h_mod(h, "inbox", "alice@localhost"), 1, on_count), &c, owner);
    h_run(h);
    return counted;
}

/* --- messages --- */

static void both_sides_have_an_entry(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost/b", "1");
    say(alice, "bob@localhost", "2");
    ask(alice, "", 1, 0, 0);
    h_expect_xml(alice, "<message from='alice@localhost' to='alice@localhost/a' id='*'><result "
                        "xmlns='" NS "' unread='0' queryid='q'><forwarded "
                        "xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='*'/>"
                        "<message xmlns='jabber:client' from='alice@localhost/a' "
                        "to='bob@localhost' id='2' type='chat'><body>2</body></message>"
                        "</forwarded><box>inbox</box><archive>false</archive><mute>0</mute>"
                        "</result></message>");
    h_expect_nothing(alice);
    ask(bob, "", 1, 2, 1);
    expect_entry(bob, "alice@localhost", 2, "2");
    say(bob, "alice@localhost", "3"); /* an answer: he has read */
    ask(bob, "", 1, 0, 0);
    ask(alice, "", 1, 1, 1);
    expect_entry(alice, "bob@localhost", 1, "3");
    h_stop(&h);
}

static void users_who_are_away_and_nobody(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    say(alice, "carol@localhost", "1");
    say(alice, "nobody@localhost", "2");
    assert_int_equal(rows_of(h, "inbox", "nobody@localhost"), 0);
    assert_int_equal(rows_of(h, "inbox", "carol@localhost"), 1);
    h_restart(h);
    struct hs *carol = h_online(h, "carol@localhost/c");
    ask(carol, "", 1, 1, 1);
    expect_entry(carol, "alice@localhost", 1, "1");
    h_stop(&h);
}

static void markers_read_up_to_their_message(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    char id[16];

    (void)state;
    for (int i = 1; i <= 5; i++) {
        snprintf(id, sizeof(id), "%d", i);
        say(alice, "bob@localhost", id);
    }
    h_send(bob, "<message to='alice@localhost'>" MARK("unknown") "</message>");
    expect_unread(bob, 5);
    h_send(bob, "<message to='alice@localhost'><received xmlns='urn:xmpp:chat-markers:0' id='5'/>"
                "</message>");
    expect_unread(bob, 5);
    h_send(bob, "<message to='alice@localhost'>" MARK("3") "</message>");
    expect_unread(bob, 2);
    h_send(bob, "<message to='alice@localhost'>" MARK("2") "</message>"); /* only forwards */
    expect_unread(bob, 2);
    h_send(bob, "<message to='alice@localhost'>" MARK("5") "</message>");
    expect_unread(bob, 0);
    ask(alice, "", 1, 0, 0); /* a marker is no message */
    expect_entry(alice, "bob@localhost", 0, "5");
    h_stop(&h);
}

static void what_counts(void **state)
{
    static const struct { const char *content; const char *type; bool counts; } cases[] = {
        { "<body>x</body>", "chat", true },
        { "<body>x</body>", "normal", true },
        { "<body>x</body>", "headline", false },
        { "<body>x</body>", "error", false },
        { "<body>x</body>", "groupchat", false },
        { "<body/>", "chat", false },
        { "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "chat", false },
        { "<received xmlns='urn:xmpp:receipts' id='1'/>", "chat", false },
        { "<encrypted xmlns='urn:xmpp:omemo:2'/>", "chat", true },
        { "<x xmlns='urn:x'/><store xmlns='urn:xmpp:hints'/>", "chat", true },
        { "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", "chat", false },
        { "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>", "chat", false },
        { "<body>x</body><sent xmlns='urn:xmpp:carbons:2'/>", "chat", false },
        { "<result xmlns='urn:xmpp:mam:2'/><body>x</body>", "chat", false },
        { "<body>x</body><delay xmlns='urn:xmpp:delay' stamp='2001-01-01T00:00:00Z'/>", "chat",
          true }, /* a client's own */
    };
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        char to[32];

        snprintf(to, sizeof(to), "u%zu@localhost", i);
        h_user(h, to);
        h_sendf(alice, "<message to='%s' type='%s'>%s</message>", to, cases[i].type,
                cases[i].content);
        if (rows_of(h, "inbox", to) != cases[i].counts)
            fail_msg("%s %s", cases[i].type, cases[i].content);
    }
    say(alice, "alice@localhost", "self");
    h_drop_all(bob);
    ask(alice, FORM(FIELD("hidden_read", "true")), 0, 0, 0); /* to oneself is read */
    h_stop(&h);
}

static void a_light_room(void **state)
{
    struct h *h = start(CONFIG "aff_changes = no\n");
    struct hs *alice = h_online(h, "alice@localhost/a");
    static const char *const in[] = {
        "<message from='r@light.localhost/bob@localhost' to='alice@localhost' type='groupchat' "
        "id='1'><body>1</body></message>",
        "<message from='r@light.localhost' to='alice@localhost' type='groupchat' id='2'><x "
        "xmlns='urn:xmpp:muclight:0#affiliations'/></message>",
        "<message from='r@light.localhost/alice@localhost' to='alice@localhost' "
        "type='groupchat' id='3'><body>3</body></message>",
    };

    (void)state;
    for (unsigned i = 0; i < GR_COUNT(in); i++) {
        struct gr_stanza *st;

        assert_int_equal(gr_stanza_parse(in[i], strlen(in[i]), &st), 0);
        gr_send(h_mod(h, "inbox", "alice@localhost"), st);
        h_run(h);
        ask(alice, "", 1, i < 2 ? 1 : 0, i < 2); /* then her own message comes back */
    }
    expect_entry(alice, "r@light.localhost", 0, "3");
    h_stop(&h);
}

static void offline_messages_count_once(void **state)
{
    struct h *h = start(CONFIG "[mod_offline]\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    say(alice, "bob@localhost", "1");
    struct hs *bob = h_online(h, "bob@localhost/b");
    expect_unread(bob, 1);
    h_stop(&h);
}

static void large_messages_are_shortened(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    char *big = gr_alloc(20001);

    (void)state;
    for (int i = 0; i < 20000; i += 2)
        memcpy(big + i, "\xc3\xa4", 2);
    big[0] = big[1] = 'x'; /* the cut would fall into a character otherwise, or not */
    h_sendf(alice, "<message to='bob@localhost' id='1' type='chat'><body>y%s</body></message>",
            big);
    gr_free(big);
    ask(alice, "", 1, 0, 0);
    struct gr_stanza *st = h_next(alice);
    const struct gr_el *el = gr_el_child(gr_stanza_child(st, NS, "result"), NULL, "forwarded");
    el = gr_el_child(gr_el_child(el, "jabber:client", "message"), NULL, "body");
    size_t len;
    gr_el_text(el, &len);
    assert_int_equal(len, 1999);
    h_stop(&h);
}

/* --- what is acknowledged is kept --- */

static void messages_are_handled_when_the_entry_is_on_disk(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost", "0");
    h_drop_all(bob);
    h_hold_store(h, true);
    for (int i = 1; i <= 9; i++)
        h_sendf(alice, "<message to='bob@localhost' id='%d'><body>%d</body></message>", i, i);
    assert_int_equal(h_count(bob), 9); /* nobody waits for it */
    assert_int_equal(h_unhandled(alice), 9);
    h_commit(h);
    h_run(h);
    assert_int_equal(h_unhandled(alice), 8); /* the first ones; the others together */
    h_commit(h);
    h_run(h);
    assert_int_equal(h_unhandled(alice), 0);
    h_hold_store(h, false);
    expect_unread(bob, 10);
    h_stop(&h);
}

static void a_reload_loses_nothing(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *carol = h_online(h, "carol@localhost/c");

    (void)state;
    say(alice, "bob@localhost", "1");
    h_hold_store(h, true);
    for (int i = 2; i <= 4; i++) /* one is being written, two wait */
        h_sendf(alice, "<message to='bob@localhost' id='%d'><body>x</body></message>", i);
    say(carol, "alice@localhost", "new"); /* room is still made for this one */
    h_reload(h, CONFIG "limit = 50\n", NULL);
    say(carol, "alice@localhost", "newer");
    say(alice, "bob@localhost", "5");
    for (int i = 0; i < 5; i++) {
        h_commit(h);
        h_run(h);
    }
    assert_int_equal(h_unhandled(alice), 0);
    h_hold_store(h, false);
    expect_unread(bob, 5);
    ask(alice, FORM(FIELD("hidden_read", "true")), 1, 2, 1);
    h_stop(&h);
}

static int disk_is_full(uint64_t n)
{
    (void)n;
    return ENOSPC;
}

static void a_full_disk(void **state)
{
    static const struct store_faults faults = { .commit = disk_is_full };
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost", "1");
    store_faults = &faults;
    say(alice, "bob@localhost", "2");
    assert_int_equal(h_count(bob), 2);
    assert_int_equal(h_unhandled(alice), 0); /* it was delivered */
    h_iq_error(alice, "set", NULL,
               "<query xmlns='" CONV "' jid='bob@localhost'><mute>5</mute></query>",
               GR_RESOURCE_CONSTRAINT);
    store_faults = NULL;
    expect_unread(bob, 1);
    say(alice, "bob@localhost", "3");
    expect_unread(bob, 2);
    h_stop(&h);
}

/* --- queries --- */

static void the_form(void **state)
{
    struct h *h = start("[host localhost]\n[mod_inbox]\nboxes = work\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", NULL, "<query xmlns='" NS "'/>",
        "<query xmlns='" NS "'><x xmlns='jabber:x:data' type='form'>"
        "<field var='FORM_TYPE' type='hidden'><value>" NS "</value></field>"
        "<field var='start' type='text-single'/><field var='end' type='text-single'/>"
        "<field var='order' type='list-single'><value>desc</value>"
        "<option label='Ascending by timestamp'><value>asc</value></option>"
        "<option label='Descending by timestamp'><value>desc</value></option></field>"
        "<field var='hidden_read' type='text-single'><value>false</value></field>"
        "<field var='box' type='list-single'><value>all</value>"
        "<option label='all'><value>all</value></option>"
        "<option label='inbox'><value>inbox</value></option>"
        "<option label='archive'><value>archive</value></option>"
        "<option label='bin'><value>bin</value></option>"
        "<option label='work'><value>work</value></option></field>"
        "<field var='archive' type='boolean'/></x></query>");
    h_stop(&h);
}

/* alice has heard from u0 .. u(n-1), in this order. */
static struct hs *with_many(struct h *h, int n)
{
    for (int i = 0; i < n; i++) {
        char bare[32], full[40], id[16];

        snprintf(bare, sizeof(bare), "u%d@localhost", i);
        snprintf(full, sizeof(full), "%s/r", bare);
        snprintf(id, sizeof(id), "%d", i);
        h_user(h, bare);
        struct hs *s = h_login(h, full);
        h_advance(h, 1000);
        say(s, "alice@localhost", id);
        h_disconnect(&s, true);
    }
    h_advance(h, 1000);
    return h_online(h, "alice@localhost/a");
}

static void expect_from(struct hs *s, int n)
{
    char remote[32], body[8];

    snprintf(remote, sizeof(remote), "u%d@localhost", n);
    snprintf(body, sizeof(body), "%d", n);
    expect_entry(s, remote, 1, body);
}

static void order_and_pages(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = with_many(h, 30);
    char set[400];

    (void)state;
    ask(alice, "", 30, 30, 30);
    for (int i = 29; i >= 0; i--)
        expect_from(alice, i);
    h_expect_nothing(alice);
    ask(alice, FORM(FIELD("order", "asc")), 30, 30, 30);
    for (int i = 0; i < 30; i++)
        expect_from(alice, i);
    struct gr_stanza *st = h_iq(alice, "set", NULL,
        "<inbox xmlns='" NS "' queryid='q'><set xmlns='http://jabber.org/protocol/rsm'>"
        "<max>4</max></set></inbox>");
    for (int i = 29; i >= 26; i--)
        expect_from(alice, i);
    h_expect_nothing(alice);
    const struct gr_el *page = gr_el_child(gr_stanza_payload(st), NULL, "set");
    assert_string_equal(gr_el_text(gr_el_child(page, NULL, "count"), NULL), "30");
    snprintf(set, sizeof(set), "<set xmlns='http://jabber.org/protocol/rsm'><max>2</max>"
             "<after>%s</after></set>", gr_el_text(gr_el_child(page, NULL, "last"), NULL));
    ask(alice, set, 30, 30, 30);
    expect_from(alice, 25);
    expect_from(alice, 24);
    h_expect_nothing(alice);
    snprintf(set, sizeof(set), "<set xmlns='http://jabber.org/protocol/rsm'><max>2</max>"
             "<before>%s</before></set>", gr_el_text(gr_el_child(page, NULL, "last"), NULL));
    ask(alice, set, 30, 30, 30);
    expect_from(alice, 28);
    expect_from(alice, 27);
    ask(alice, "<set xmlns='http://jabber.org/protocol/rsm'><max>2</max><before/></set>", 30, 30,
        30);
    expect_from(alice, 1);
    expect_from(alice, 0);
    ask(alice, "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>", 30, 30, 30);
    h_expect_nothing(alice);
    ask(alice, "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max><index>7</index></set>",
        30, 30, 30);
    expect_from(alice, 22);
    h_iq_error(alice, "set", NULL, "<inbox xmlns='" NS "'><set "
               "xmlns='http://jabber.org/protocol/rsm'><after>x</after></set></inbox>",
               GR_ITEM_NOT_FOUND);
    h_stop(&h);
}

static void no_answer_is_longer_than_the_limit(void **state)
{
    struct h *h = start(CONFIG "max_result_limit = 3\n");
    struct hs *alice = with_many(h, 5);

    (void)state;
    ask(alice, "", 5, 5, 5);
    assert_int_equal(h_count(alice), 3);
    ask(alice, "<set xmlns='http://jabber.org/protocol/rsm'><max>4</max></set>", 5, 5, 5);
    assert_int_equal(h_count(alice), 3);
    h_stop(&h);
}

static void filters(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = with_many(h, 3);

    (void)state;
    say(alice, "u1@localhost", "answer");
    ask(alice, FORM(FIELD("hidden_read", "true")), 2, 2, 2);
    expect_from(alice, 2);
    expect_from(alice, 0);
    ask(alice, FORM(FIELD("start", "2999-01-01T00:00:00Z")), 0, 0, 0);
    ask(alice, FORM(FIELD("start", "2001-01-01T00:00:00Z")), 3, 2, 2);
    ask(alice, FORM(FIELD("end", "2001-01-01T00:00:00Z")), 0, 0, 0);
    h_drop_all(alice);
    static const char *const bad[] = {
        FORM(FIELD("start", "x")), FORM(FIELD("order", "x")), FORM(FIELD("box", "x")),
        FORM(FIELD("hidden_read", "x")), FORM(FIELD("archive", "x")), FORM(FIELD("x", "x")),
        "<set xmlns='http://jabber.org/protocol/rsm'><max>x</max></set>",
    };
    for (size_t i = 0; i < GR_COUNT(bad); i++) {
        char iq[700];

        snprintf(iq, sizeof(iq), "<inbox xmlns='" NS "'>%s</inbox>", bad[i]);
        h_iq_error(alice, "set", NULL, iq, GR_BAD_REQUEST);
    }
    h_iq_error(alice, "set", "bob@localhost", "<inbox xmlns='" NS "'/>", GR_FORBIDDEN);
    h_iq_error(alice, "get", NULL, "<inbox xmlns='" NS "'/>", GR_NOT_ALLOWED);
    h_stop(&h);
}

static void as_xep_0430(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = with_many(h, 2);

    (void)state;
    say(alice, "u0@localhost", "answer");
    struct gr_stanza *fin = h_iq(alice, "get", NULL, "<inbox xmlns='" XEP "'/>");
    h_assert_xml(fin, "<iq type='result' id='*' from='*' to='*'><fin xmlns='" XEP "' total='2' "
                      "unread='1' all-unread='1'/></iq>");
    h_drop_all(alice);
    fin = h_iq(alice, "get", NULL, "<inbox xmlns='" XEP "' unread-only='true'/>");
    h_assert_xml(fin, "<iq type='result' id='*' from='*' to='*'><fin xmlns='" XEP "' total='2' "
                      "unread='1' all-unread='1' _='more'/></iq>");
    h_expect_xml(alice, "<message from='alice@localhost' to='alice@localhost/a' id='*'><entry "
                        "xmlns='" XEP "' unread='1' jid='u1@localhost'/><result "
                        "xmlns='urn:xmpp:mam:2' queryid='*'><forwarded "
                        "xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='*'/>"
                        "<message xmlns='jabber:client' from='u1@localhost/r' "
                        "to='alice@localhost' id='1' type='chat'><body>1</body></message>"
                        "</forwarded></result></message>");
    h_iq(alice, "get", NULL, "<inbox xmlns='" XEP "' messages='false'><set "
                             "xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></inbox>");
    h_expect_xml(alice, "<message from='alice@localhost' to='alice@localhost/a' id='*'><entry "
                        "xmlns='" XEP "' unread='0' jid='u0@localhost'/></message>");
    h_expect_nothing(alice);
    h_iq_error(alice, "get", NULL, "<inbox xmlns='" XEP "' unread-only='x'/>", GR_BAD_REQUEST);
    h_stop(&h);
}

/* --- hooks --- */

static enum gr_verdict on_extend(struct gr_mod *self, struct gr_inbox_ev *ev)
{
    (void)self;
    assert_string_equal(ev->user->domain, "localhost");
    assert_non_null(gr_stanza_payload(ev->iq));
    gr_el_add(ev->result, NULL, "urn:x", "extra");
    return GR_OK;
}

static const struct gr_hook ext_hooks[] = { GR_ON(extend_inbox_result, 50, on_extend),
                                            GR_HOOK_END };
static const struct gr_module ext_module = { .name = "ext", .summary = "test",
                                             .hooks = ext_hooks };

static void on_ran(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self, (void)ev, (void)verdict;
}

static void a_handler_may_edit_an_entry(void **state)
{
    h_module(&ext_module);
    struct h *h = start(NULL);
    struct hs *alice = with_many(h, 2);

    (void)state;
    ask(alice, "", 2, 2, 2);
    assert_non_null(gr_stanza_child(h_next(alice), "urn:x", "extra"));
    assert_non_null(gr_stanza_child(h_next(alice), "urn:x", "extra"));
    h_stop(&h);
}

static void the_unread_messages_are_counted_for_others(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = with_many(h, 3);

    (void)state;
    say(alice, "u1@localhost", "answer");
    struct gr_inbox_ev ev = { .user = h_parse_jid(h, "alice@localhost") };
    gr_hook_run(h_mod(h, "inbox", "alice@localhost"), GR_HOOK_inbox_unread_count, &ev.ev, on_ran);
    h_run(h);
    assert_int_equal(ev.unread, 2);
    h_stop(&h);
}

static void rooms_stand_in_the_inbox_of_their_members(void **state)
{
    struct h *h = start(CONFIG "groupchat = muc\n");
    struct hs *alice = with_many(h, 2);

    (void)state;
    struct gr_affiliate all[] = { { h_parse_jid(h, "alice@localhost"), GR_AFF_OWNER },
                                  { h_parse_jid(h, "bob@localhost"), GR_AFF_MEMBER },
                                  { h_parse_jid(h, "carol@localhost"), GR_AFF_OUTCAST },
                                  { h_parse_jid(h, "x@elsewhere.example"), GR_AFF_MEMBER } };
    struct gr_room_ev room = { .room = h_parse_jid(h, "r@muc.localhost"),
                               .user = h_parse_jid(h, "bob@localhost/b"), .affiliates = all,
                               .affiliate_count = GR_COUNT(all) };
    const char *xml = "<message from='r@muc.localhost/nick' to='r@muc.localhost' "
                      "type='groupchat' id='1'><body>hi</body><stanza-id "
                      "xmlns='urn:xmpp:sid:0' by='r@muc.localhost' id='room-1'/></message>";
    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &room.stanza), 0);
    gr_hook_run(h_mod(h, "inbox", "localhost"), GR_HOOK_update_inbox_for_muc, &room.ev, on_ran);
    h_run(h);
    gr_stanza_unref(&room.stanza);
    ask(alice, "", 3, 3, 3);
    expect_entry(alice, "r@muc.localhost", 1, "hi");
    struct hs *bob = h_online(h, "bob@localhost/b");
    ask(bob, "", 1, 0, 0); /* his own */
    assert_int_equal(rows_of(h, "inbox", "carol@localhost"), 0);
    h_send(alice, "<message to='r@muc.localhost' type='groupchat'>" MARK("room-1") "</message>");
    ask(alice, "", 3, 2, 2);
    all[0].affiliation = GR_AFF_NONE; /* kicked */
    room.affiliate_count = 1;
    gr_hook_run(h_mod(h, "inbox", "localhost"), GR_HOOK_room_new_affiliations, &room.ev, on_ran);
    h_run(h);
    ask(alice, "", 2, 2, 2);
    h_stop(&h);
}

/* --- properties --- */

#define SET(props) "<query xmlns='" CONV "' jid='bob@localhost'>" props "</query>"

static void properties_are_told_and_changed(void **state)
{
    struct h *h = start(CONFIG "boxes = work\n");
    struct hs *alice = h_online(h, "alice@localhost/a"), *tablet = h_online(h, "alice@localhost/t");
    struct hs *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_iq_error(alice, "get", NULL, SET(""), GR_ITEM_NOT_FOUND);
    h_iq_error(alice, "set", NULL, SET("<read>true</read>"), GR_ITEM_NOT_FOUND);
    say(bob, "alice@localhost/a", "1");
    h_drop_all(alice);
    h_drop_all(tablet);
    h_iq_result(alice, "get", NULL, SET(""),
                SET("<box>inbox</box><archive>false</archive><mute>0</mute><read>false</read>"));
    h_iq_result(alice, "set", NULL, SET("<read>true</read><box>work</box>"),
                SET("<box>work</box><archive>false</archive><mute>0</mute><read>true</read>"));
    h_expect_xml(tablet, "<message from='alice@localhost' to='alice@localhost' id='*'><x "
                         "xmlns='" CONV "' jid='bob@localhost'><box>work</box>"
                         "<archive>false</archive><mute>0</mute><read>true</read></x></message>");
    h_iq_result(alice, "set", NULL, SET("<archive>true</archive><mute>60</mute>"),
                SET("<box>archive</box><archive>true</archive><mute>*</mute><read>true</read>"));
    h_iq_result(alice, "set", NULL, SET("<mute>0</mute><read>false</read>"),
                SET("<box>archive</box><archive>true</archive><mute>0</mute><read>false</read>"));
    h_iq_result(alice, "set", NULL, "<reset xmlns='" NS "' jid='bob@localhost'/>",
                "<reset xmlns='" NS "'/>");
    ask(alice, FORM(FIELD("box", "archive")), 1, 0, 0);
    ask(alice, FORM(FIELD("archive", "false")), 0, 0, 0);
    say(bob, "alice@localhost/a", "2"); /* comes back */
    ask(alice, FORM(FIELD("box", "inbox")), 1, 1, 1);
    h_iq_result(alice, "set", NULL, SET("<box>work</box>"), "<query xmlns='" CONV "' _='any'/>");
    say(bob, "alice@localhost/a", "3"); /* a box of one's own is left alone */
    ask(alice, FORM(FIELD("box", "work")), 1, 2, 1);
    h_drop_all(alice);
    struct gr_stanza *st = h_iq(alice, "get", NULL, "<query xmlns='" CONV "' jid='bob@localhost' "
                                                    "complete='true'/>");
    assert_non_null(gr_el_child(gr_stanza_payload(st), "urn:xmpp:forward:0", "forwarded"));
    st = h_iq(alice, "get", NULL, "<query xmlns='" CONV "'/>");
    assert_non_null(gr_form_child(gr_stanza_payload(st)));
    static const char *const bad[] = {
        SET(""), SET("<box>x</box>"), SET("<box>all</box>"), SET("<mute>-1</mute>"),
        SET("<mute>x</mute>"), SET("<mute/>"), SET("<mute>999999999999</mute>"),
        SET("<read>x</read>"), SET("<archive>x</archive>"), SET("<x/>"),
        "<query xmlns='" CONV "'><read>true</read></query>",
        "<query xmlns='" CONV "' jid='@'><read>true</read></query>",
    };
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        h_iq_error(alice, "set", NULL, bad[i], GR_BAD_REQUEST);
    h_stop(&h);
}

static void a_set_is_answered_after_its_commit(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    say(alice, "bob@localhost", "1");
    h_drop_all(alice);
    h_hold_store(h, true);
    h_send(alice, "<iq type='set' id='1'>" SET("<mute>60</mute>") "</iq>");
    h_expect_nothing(alice);
    h_commit(h);
    h_run(h);
    h_expect(alice, GR_MESSAGE, GR_MSG_NORMAL, "alice@localhost");
    h_expect(alice, GR_IQ, GR_RESULT, NULL);
    h_hold_store(h, false);
    h_stop(&h);
}

/* --- the bin --- */

static void the_bin(void **state)
{
    struct h *h = start(CONFIG "bin_ttl = 1d\nbin_clean_after = 1h\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    for (int i = 0; i < 120; i++) {
        char to[32];

        snprintf(to, sizeof(to), "x%d@elsewhere.example", i);
        say(alice, to, "1");
        char iq[300];
        snprintf(iq, sizeof(iq), "<query xmlns='" CONV "' jid='%s'><box>bin</box></query>", to);
        h_iq_result(alice, "set", NULL, iq, "<query xmlns='" CONV "' _='any'/>");
    }
    say(alice, "bob@localhost", "1");
    for (int i = 0; i < 5; i++) { /* in and out: one row at most */
        h_iq_result(alice, "set", NULL, SET("<box>bin</box>"), "<query xmlns='" CONV "' _='any'/>");
        h_iq_result(alice, "set", NULL, SET("<box>inbox</box>"),
                    "<query xmlns='" CONV "' _='any'/>");
    }
    assert_int_equal(rows_of(h, "inbox.binned", "localhost"), 120);
    ask(alice, "", 1, 0, 0);
    ask(alice, FORM(FIELD("box", "bin")), 120, 0, 0);
    say(alice, "x7@elsewhere.example", "2"); /* out of it again */
    ask(alice, "", 2, 0, 0);
    assert_int_equal(rows_of(h, "inbox.binned", "localhost"), 119);
    h_advance(h, 23 * GR_HOUR);
    assert_int_equal(rows_of(h, "inbox", "alice@localhost"), 121);
    h_iq_result(alice, "set", NULL, SET("<box>bin</box>"), "<query xmlns='" CONV "' _='any'/>");
    h_advance(h, 2 * GR_HOUR + GR_MINUTE);
    assert_int_equal(rows_of(h, "inbox", "alice@localhost"), 2);
    assert_int_equal(rows_of(h, "inbox.binned", "localhost"), 1);
    h_iq_result(alice, "set", NULL, "<empty-bin xmlns='" NS "'/>",
                "<empty-bin xmlns='" NS "'><num>1</num></empty-bin>");
    assert_int_equal(rows_of(h, "inbox", "alice@localhost"), 1);
    assert_int_equal(rows_of(h, "inbox.binned", "localhost"), 0);
    h_stop(&h);
}

/* --- bounds --- */

static void at_the_limit_the_oldest_that_were_read_leave(void **state)
{
    struct h *h = start(CONFIG "limit = 40\n");
    struct hs *alice = with_many(h, 20); /* unread */

    (void)state;
    for (int i = 0; i < 20; i++) {
        h_advance(h, 1000);
        h_sendf(alice, "<message to='y%d@elsewhere.example'><body>x</body></message>", i);
    }
    assert_int_equal(rows_of(h, "inbox", "alice@localhost"), 40);
    h_iq_result(alice, "set", NULL,
                "<query xmlns='" CONV "' jid='y19@elsewhere.example'><box>bin</box></query>",
                "<query xmlns='" CONV "' _='any'/>");
    say(alice, "bob@localhost", "1");
    assert_int_equal(rows_of(h, "inbox", "alice@localhost"), 39); /* the bin, the oldest, a new one */
    assert_int_equal(rows_of(h, "inbox.binned", "localhost"), 0);
    ask(alice, FORM(FIELD("hidden_read", "true")), 20, 20, 20);
    h_drop_all(alice);
    h_iq_error(alice, "get", NULL, "<query xmlns='" CONV "' jid='y0@elsewhere.example'/>",
               GR_ITEM_NOT_FOUND);
    h_iq_result(alice, "get", NULL, "<query xmlns='" CONV "' jid='y1@elsewhere.example'/>",
                "<query xmlns='" CONV "' _='any'/>");
    for (int i = 0; i < 100; i++) {
        h_sendf(alice, "<message to='z%d@elsewhere.example'><body>x</body></message>", i);
        assert_true(rows_of(h, "inbox", "alice@localhost") <= 40);
    }
    h_stop(&h);
}

static void a_shutdown_in_the_middle(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost", "1");
    say(alice, "carol@localhost", "1");
    h_iq_result(alice, "set", NULL, SET("<box>bin</box>"), "<query xmlns='" CONV "' _='any'/>");
    h_hold_store(h, true);
    say(alice, "carol@localhost", "2");
    h_send(alice, "<iq type='set' id='1'>" SET("<mute>60</mute>") "</iq>");
    h_send(alice, "<iq type='set' id='2'><inbox xmlns='" NS "'/></iq>");
    h_send(alice, "<iq type='set' id='3'><empty-bin xmlns='" NS "'/></iq>");
    h_stall(bob);
    h_send(bob, "<iq type='set' id='4'><inbox xmlns='" NS "'/></iq>");
    h_restart(h);
    h_hold_store(h, false);
    h_stop(&h);
}

static void bad_options(void **state)
{
    static const char *const bad[] = { "boxes = bin", "reset_markers = x", "groupchat = x" };
    char ini[200], *errors;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(bad); i++) {
        snprintf(ini, sizeof(ini), "[host localhost]\n[mod_inbox]\n%s\n", bad[i]);
        assert_null(h_start_try(ini, &errors));
        gr_free(errors);
    }
}

/* --- the account goes --- */

static void the_inbox_goes_with_the_account(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    say(alice, "bob@localhost", "1");
    h_iq_result(alice, "set", NULL, SET("<box>bin</box>"), "<query xmlns='" CONV "' _='any'/>");
    say(alice, "carol@localhost", "1");
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    assert_int_equal(rows_of(h, "inbox", "alice@localhost"), 0);
    assert_int_equal(rows_of(h, "inbox.binned", "localhost"), 0);
    assert_int_equal(rows_of(h, "inbox", "carol@localhost"), 1); /* hers */
    h_stop(&h);
}

static void an_account_can_be_exported(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = with_many(h, 2);
    struct gr_export_ev ev = { .user = h_parse_jid(h, "alice@localhost") };

    (void)state, (void)alice;
    ev.data = gr_nonza_new("urn:x", "data");
    gr_hook_run(h_mod(h, "inbox", "alice@localhost"), GR_HOOK_get_personal_data, &ev.ev, on_ran);
    h_run(h);
    h_assert_xml(ev.data, "<data xmlns='urn:x'><inbox xmlns='" NS "'>"
                          "<result jid='u0@localhost' unread='1' _='more'/>"
                          "<result jid='u1@localhost' unread='1' _='more'/></inbox></data>");
    gr_stanza_unref(&ev.data);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(both_sides_have_an_entry),
        cmocka_unit_test(users_who_are_away_and_nobody),
        cmocka_unit_test(markers_read_up_to_their_message),
        cmocka_unit_test(what_counts),
        cmocka_unit_test(a_light_room),
        cmocka_unit_test(offline_messages_count_once),
        cmocka_unit_test(large_messages_are_shortened),
        cmocka_unit_test(messages_are_handled_when_the_entry_is_on_disk),
        cmocka_unit_test(a_reload_loses_nothing),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(the_form),
        cmocka_unit_test(order_and_pages),
        cmocka_unit_test(no_answer_is_longer_than_the_limit),
        cmocka_unit_test(filters),
        cmocka_unit_test(as_xep_0430),
        cmocka_unit_test(a_handler_may_edit_an_entry),
        cmocka_unit_test(the_unread_messages_are_counted_for_others),
        cmocka_unit_test(rooms_stand_in_the_inbox_of_their_members),
        cmocka_unit_test(properties_are_told_and_changed),
        cmocka_unit_test(a_set_is_answered_after_its_commit),
        cmocka_unit_test(the_bin),
        cmocka_unit_test(at_the_limit_the_oldest_that_were_read_leave),
        cmocka_unit_test(a_shutdown_in_the_middle),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(the_inbox_goes_with_the_account),
        cmocka_unit_test(an_account_can_be_exported),
    };

    return H_RUN("inbox", cases);
}
