/* tests/mod/test_mam.c: mod_mam against XEP-0313, XEP-0359, XEP-0334, XEP-0441 and XEP-0424:
 * what is kept, what delivered messages are told, queries and their pages, preferences,
 * tombstones, bounds, and what happens when something cannot be written. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIG "[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_disco]\n[mod_offline_stub]\n[mod_mam]\n"
#define MAM "urn:xmpp:mam:2"

static struct h *start(const char *options)
{
    char *ini = gr_asprintf(CONFIG "%s", options != NULL ? options : "");
    struct h *h = h_start(ini);

    gr_free(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

/* --- asking --- */

/* What came back: bodies in order, ids, and the answer to the iq. */
static struct {
    char bodies[8192];
    char id[600][32];
    size_t count;
    struct gr_stanza *fin;
} page;

static const char *body_of(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, MAM, "result");

    el = gr_el_child(el, "urn:xmpp:forward:0", "forwarded");
    assert_non_null(gr_el_attr(gr_el_child(el, GR_NS_DELAY, "delay"), "stamp"));
    el = gr_el_child(el, GR_NS_CLIENT, "message");
    assert_non_null(el);
    el = gr_el_child(el, NULL, "body");
    return el != NULL ? gr_el_text(el, NULL) : "-";
}

/* Everything that is waiting must be results of that query. */
static void gather(struct hs *s, const char *queryid)
{
    struct gr_stanza *st;
    size_t n = 0;

    page.count = 0;
    page.bodies[0] = '\0';
    while ((st = h_next(s)) != NULL) {
        const struct gr_el *el = gr_stanza_child(st, MAM, "result");

        if (el == NULL)
            h_fail("not a result: %s", gr_stanza_xml(st, NULL));
        assert_string_equal(gr_stanza_from(st)->full, h_jid(s)->bare);
        if (queryid != NULL)
            assert_string_equal(gr_el_attr(el, "queryid"), queryid);
        snprintf(page.id[page.count++], sizeof(page.id[0]), "%s", gr_el_attr(el, "id"));
        n += (size_t)snprintf(page.bodies + n, sizeof(page.bodies) - n, "%s%s", n > 0 ? " " : "",
                              body_of(st));
    }
}

/* fields: <field/>s; rest: what else is in the query. */
static void ask(struct hs *s, const char *fields, const char *rest)
{
    char *xml = gr_asprintf("<query xmlns='" MAM "' queryid='q1'>%s%s%s%s</query>",
                            fields != NULL ? "<x xmlns='jabber:x:data' type='submit'>"
                                             "<field var='FORM_TYPE' type='hidden'><value>" MAM
                                             "</value></field>"
                                           : "",
                            fields != NULL ? fields : "", fields != NULL ? "</x>" : "",
                            rest != NULL ? rest : "");

    h_drop_all(s);
    page.fin = h_iq(s, "set", NULL, xml);
    gr_free(xml);
    gather(s, "q1");
}

static void field(char *out, size_t size, const char *var, const char *value)
{
    snprintf(out, size, "<field var='%s'><value>%s</value></field>", var, value);
}

static void ask_field(struct hs *s, const char *var, const char *value, const char *rest)
{
    char text[512];

    field(text, sizeof(text), var, value);
    ask(s, text, rest);
}

#define SET(inside) "<set xmlns='http://jabber.org/protocol/rsm'>" inside "</set>"

static void ask_set(struct hs *s, const char *fields, const char *fmt, ...) GR_PRINTF(3, 4);
static void ask_set(struct hs *s, const char *fields, const char *fmt, ...)
{
    char inside[512], *xml;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(inside, sizeof(inside), fmt, ap);
    va_end(ap);
    xml = gr_asprintf(SET("%s"), inside);
    ask(s, fields, xml);
    gr_free(xml);
}

/* first and last are those of the page. */
static void expect_fin(bool complete, int index, int count)
{
    char set[512] = "", *xml;
    size_t n = 0;

    if (page.count > 0 && index >= 0)
        n = (size_t)snprintf(set, sizeof(set), "<first index='%d'>%s</first><last>%s</last>", index,
                             page.id[0], page.id[page.count - 1]);
    else if (page.count > 0)
        n = (size_t)snprintf(set, sizeof(set), "<first>%s</first><last>%s</last>", page.id[0],
                             page.id[page.count - 1]);
    if (count >= 0)
        snprintf(set + n, sizeof(set) - n, "<count>%d</count>", count);
    xml = gr_asprintf("<iq type='result' id='*' _='more'><fin xmlns='" MAM "'%s>" SET("%s")
                      "</fin></iq>", complete ? " complete='true'" : "", set);
    h_assert_xml(page.fin, xml);
    gr_free(xml);
}

static void expect_error(enum gr_cond cond)
{
    assert_int_equal(gr_stanza_type(page.fin), GR_TYPE_ERROR);
    assert_string_equal(gr_cond_name(gr_stanza_cond(page.fin)), gr_cond_name(cond));
    assert_int_equal(page.count, 0);
}

static void expect_bodies(const char *bodies)
{
    assert_string_equal(page.bodies, bodies);
}

static void say(struct hs *s, const char *to, int from, int until)
{
    for (int i = from; i < until; i++) {
        h_sendf(s, "<message to='%s' id='m%d' type='chat'><body>%d</body></message>", to, i, i);
    }
}

/* --- keeping --- */

static void both_sides_keep_it(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    char id[32];

    h_drop_all(alice);
    h_drop_all(bob);
    h_send(alice, "<message to='bob@localhost' id='1' type='chat'><body>hi</body></message>");
    struct gr_stanza *st = h_expect_xml(
        bob, "<message from='alice@localhost/a' to='bob@localhost' id='1' type='chat'>"
             "<body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='*'/>"
             "</message>");
    snprintf(id, sizeof(id), "%s", gr_el_attr(gr_stanza_child(st, "urn:xmpp:sid:0", NULL), "id"));
    ask(bob, NULL, NULL);
    expect_bodies("hi");
    assert_string_equal(page.id[0], id);
    expect_fin(true, 0, 1);
    ask(alice, NULL, NULL);
    expect_bodies("hi");
    assert_string_not_equal(page.id[0], id);
    expect_fin(true, 0, 1);
    assert_int_equal(h_unhandled(alice), 0);
    h_stop(&h);
}

/* The whole stanza comes back, and nothing else. */
static void results_are_as_in_the_text(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    h_drop_all(alice);
    h_send(alice, "<message to='x@other.test/r' id='1&apos;2' type='chat' xml:lang='cs'><body>a &lt; b"
                  "</body><x xmlns='urn:x' y='1'><z xmlns='urn:z'/></x></message>");
    h_drop_all(alice); /* there is no other server */
    h_iq(alice, "set", "alice@localhost", "<query xmlns='" MAM "' queryid='&quot;&lt;q'/>");
    h_expect_xmlf(alice, "<message from='alice@localhost' to='alice@localhost/a'>"
                         "<result xmlns='" MAM "' queryid='&quot;&lt;q' id='*'>"
                         "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' "
                         "stamp='*'/><message xmlns='jabber:client' to='x@other.test/r' "
                         "from='alice@localhost/a' id='1&apos;2' type='chat' xml:lang='cs'>"
                         "<body>a &lt; b</body><x xmlns='urn:x' y='1'><z xmlns='urn:z'/></x>"
                         "</message></forwarded></result></message>");
    h_expect_nothing(alice);
    h_iq(alice, "set", NULL, "<query xmlns='" MAM "'/>");
    assert_null(gr_el_attr(gr_stanza_child(h_next(alice), MAM, "result"), "queryid"));
    h_stop(&h);
}

static void to_oneself_once(void **state)
{
    static const char *const to[] = { " to='alice@localhost'", "", " to='alice@localhost/a'" };
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    for (size_t i = 0; i < GR_COUNT(to); i++) {
        h_drop_all(alice);
        h_sendf(alice, "<message%s type='chat'><body>%zu</body></message>", to[i], i);
        struct gr_stanza *st = h_next(alice);
        char id[32];
        snprintf(id, sizeof(id), "%s",
                 gr_el_attr(gr_stanza_child(st, "urn:xmpp:sid:0", "stanza-id"), "id"));
        h_expect_nothing(alice);
        ask(alice, NULL, NULL);
        assert_int_equal(page.count, i + 1);
        assert_string_equal(page.id[i], id);
    }
    expect_bodies("0 1 2");
    h_stop(&h);
}

/* What is kept, by what is in it. */
static void what_is_kept(void **state)
{
    static const struct {
        const char *type, *inside;
        bool kept;
    } table[] = {
        { "chat", "<body>x</body>", true },
        { "normal", "<body>x</body>", true },
        { "groupchat", "<body>x</body>", false },
        { "headline", "<body>x</body>", false },
        { "error", "<body>x</body>", false },
        { "chat", "<body/>", false },
        { "chat", "<subject>x</subject>", false },
        { "chat", "<active xmlns='http://jabber.org/protocol/chatstates'/>", false },
        { "chat", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", false },
        { "chat", "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>", false },
        { "chat", "<store xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/>", false },
        { "chat", "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>", true },
        { "chat", "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>", true },
        { "chat", "<store xmlns='urn:xmpp:hints'/>", true },
        { "headline", "<store xmlns='urn:xmpp:hints'/>", false },
        { "chat", "<body>x</body><sent xmlns='urn:xmpp:carbons:2'/>", false },
        { "chat", "<body>x</body><received xmlns='urn:xmpp:carbons:2'/>", false },
        { "chat", "<body>x</body><result xmlns='" MAM "'/>", false },
        { "chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", false },
        { "chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", false },
        { "chat", "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", true },
        { "chat", "<body>x</body><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>",
          true },
    };
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    for (size_t i = 0; i < GR_COUNT(table); i++) {
        size_t before[2];

        ask(alice, NULL, NULL);
        before[0] = page.count;
        ask(bob, NULL, NULL);
        before[1] = page.count;
        h_sendf(alice, "<message to='bob@localhost/b' type='%s'>%s</message>", table[i].type,
                table[i].inside);
        ask(alice, NULL, NULL);
        if (page.count != before[0] + table[i].kept)
            h_fail("%s %s: sender", table[i].type, table[i].inside);
        ask(bob, NULL, NULL);
        if (page.count != before[1] + table[i].kept)
            h_fail("%s %s: recipient", table[i].type, table[i].inside);
    }
    h_stop(&h);
}

static void markers_by_option(void **state)
{
    (void)state;
    struct h *h = start("chat_markers = yes\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    h_send(alice, "<message to='bob@localhost'><received xmlns='urn:xmpp:receipts' id='1'/></message>");
    h_send(alice, "<message to='bob@localhost'><request xmlns='urn:xmpp:receipts'/></message>");
    h_send(alice, "<message to='bob@localhost'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"
                  "</message>");
    h_send(alice, "<message to='bob@localhost'><markable xmlns='urn:xmpp:chat-markers:0'/></message>");
    ask(alice, NULL, NULL);
    assert_int_equal(page.count, 2);
    h_stop(&h);
}

static void forged_ids_are_removed(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    h_drop_all(bob);
    h_send(alice, "<message to='bob@localhost/b' type='chat'><body>1</body>"
                  "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='false'/>"
                  "<stanza-id xmlns='urn:xmpp:sid:0' by='Alice@LOCALHOST' id='false'/>"
                  "<stanza-id xmlns='urn:xmpp:sid:0' by='localhost' id='false'/>"
                  "<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.localhost' id='r'/>"
                  "<origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>");
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost/b' type='chat'>"
                      "<body>1</body>"
                      "<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.localhost' id='r'/>"
                      "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>"
                      "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='*'/></message>");
    /* Also from those that are not kept. */
    h_send(alice, "<message to='bob@localhost/b' type='headline'><body>1</body>"
                  "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='false'/></message>");
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost/b' type='headline'>"
                      "<body>1</body></message>");
    h_stop(&h);
}

/* S289: nobody is told that the recipient was away; the archive has it. */
static void away_with_the_stub(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob;

    h_drop_all(alice);
    say(alice, "bob@localhost", 1, 4);
    h_expect_nothing(alice);
    assert_int_equal(h_unhandled(alice), 0);
    bob = h_online(h, "bob@localhost/b");
    ask(bob, NULL, NULL);
    expect_bodies("1 2 3");
    h_stop(&h);
}

static void nobody_at_that_address(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *eve;

    h_drop_all(alice);
    say(alice, "eve@localhost", 1, 3);
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "eve@localhost");
    h_drop_all(alice);
    h_user(h, "eve@localhost");
    eve = h_online(h, "eve@localhost/e");
    ask(eve, NULL, NULL);
    expect_bodies("");
    expect_fin(true, -1, 0);
    say(alice, "eve@localhost", 3, 4);
    ask(eve, NULL, NULL);
    expect_bodies("3");
    h_stop(&h);
}

/* What mod_offline delivers was kept when it came. */
static void offline_messages_once(void **state)
{
    (void)state;
    struct h *h = h_start("[host localhost]\n[mod_presence]\n[mod_offline]\n[mod_mam]\n");
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 1, 3);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_expect_among(bob, "<message _='more'><body>1</body>"
                        "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='*'/></message>");
    h_expect_among(bob, "<message _='more'><body>2</body></message>");
    ask(bob, NULL, NULL);
    expect_bodies("1 2");
    ask(alice, NULL, NULL);
    expect_bodies("1 2");
    h_stop(&h);
}

/* --- pages --- */

static struct hs *with_messages(struct h *h, int n)
{
    struct hs *alice = h_online(h, "alice@localhost/a");

    for (int i = 0; i < n; i++)
        say(alice, i % 3 == 0 ? "bob@localhost/x" : "carol@localhost", i, i + 1);
    h_drop_all(alice);
    return alice;
}

static char all[600][32]; /* ids */

static void learn(struct hs *alice, int n)
{
    int known = 0;

    ask_set(alice, NULL, "<max>250</max>");
    while (page.count > 0) {
        for (size_t i = 0; i < page.count; i++)
            memcpy(all[known++], page.id[i], sizeof(all[0]));
        ask_set(alice, NULL, "<max>250</max><after>%s</after>", all[known - 1]);
    }
    assert_int_equal(known, n);
}

static void expect_range(int from, int until)
{
    char text[8192];
    size_t n = 0;

    text[0] = '\0';
    for (int i = from; i != until; i += from < until ? 1 : -1)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%d", n > 0 ? " " : "", i);
    expect_bodies(text);
}

static void pages(void **state)
{
    (void)state;
    struct h *h = start("max_page_size = 250\n");
    h_user(h, "carol@localhost");
    struct hs *alice = with_messages(h, 120);

    learn(alice, 120);
    ask(alice, NULL, NULL); /* the default */
    expect_range(0, 50);
    expect_fin(false, 0, 120);
    ask_set(alice, NULL, "<max>10</max>");
    expect_range(0, 10);
    expect_fin(false, 0, 120);
    ask_set(alice, NULL, "<max>50</max><after>%s</after>", all[9]);
    expect_range(10, 60);
    expect_fin(false, 10, 120);
    ask_set(alice, NULL, "<max>50</max><after>%s</after>", all[69]);
    expect_range(70, 120);
    expect_fin(true, 70, 120);
    ask_set(alice, NULL, "<max>50</max><after>%s</after>", all[119]);
    expect_bodies("");
    expect_fin(true, -1, 120);
    ask_set(alice, NULL, "<max>7</max><before/>");
    expect_range(113, 120);
    expect_fin(false, -1, 120);
    ask_set(alice, NULL, "<max>50</max><before>%s</before>", all[113]);
    expect_range(63, 113);
    expect_fin(false, 63, 120);
    ask_set(alice, NULL, "<max>50</max><before>%s</before>", all[20]);
    expect_range(0, 20);
    expect_fin(true, 0, 120);
    ask_set(alice, NULL, "<max>50</max><before>%s</before>", all[0]);
    expect_bodies("");
    expect_fin(true, -1, 120);
    ask_set(alice, NULL, "<max>5</max><index>100</index>");
    expect_range(100, 105);
    expect_fin(false, 100, 120);
    ask_set(alice, NULL, "<max>5</max><index>120</index>");
    expect_bodies("");
    ask_set(alice, NULL, "<max>0</max>");
    expect_bodies("");
    expect_fin(false, -1, 120);
    ask_set(alice, NULL, "<max>100000</max>");
    expect_range(0, 120);
    expect_fin(true, 0, 120);
    h_stop(&h);
}

/* 4.3.4: the same messages, the last one first; first and last are not turned. */
static void flipped(void **state)
{
    static const char *const with[] = { NULL, "<field var='with'><value>alice@localhost</value></field>" };
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    say(alice, "alice@localhost", 0, 120);
    learn(alice, 120);
    for (size_t i = 0; i < GR_COUNT(with); i++) {
        char *xml = gr_asprintf(SET("<max>70</max><after>%s</after>") "<flip-page/>", all[9]);
        ask(alice, with[i], xml);
        gr_free(xml);
        expect_range(79, 9);
        h_assert_xml(page.fin, "<iq type='result' id='*' _='more'><fin xmlns='" MAM "'>"
                     "<set xmlns='http://jabber.org/protocol/rsm' _='any'/></fin></iq>");
        const struct gr_el *set = gr_el_child(gr_stanza_payload(page.fin), GR_NS_RSM, "set");
        assert_string_equal(gr_el_text(gr_el_child(set, NULL, "first"), NULL), all[10]);
        assert_string_equal(gr_el_text(gr_el_child(set, NULL, "last"), NULL), all[79]);
        ask(alice, with[i], SET("<max>70</max><before/>") "<flip-page/>");
        expect_range(119, 49);
        ask(alice, with[i], SET("<max>200</max><before/>") "<flip-page/>");
        expect_range(119, -1);
        assert_non_null(gr_el_attr(gr_stanza_payload(page.fin), "complete"));
    }
    h_stop(&h);
}

static void by_contact(void **state)
{
    static const char bob[] = "<field var='with'><value>Bob@localhost</value></field>";
    char want[2048] = "";
    size_t n = 0;
    (void)state;
    struct h *h = start(NULL);
    h_user(h, "carol@localhost");
    struct hs *alice = with_messages(h, 300);

    learn(alice, 300);
    for (int i = 0; i < 300; i += 3)
        n += (size_t)snprintf(want + n, sizeof(want) - n, "%s%d", n > 0 ? " " : "", i);
    ask_set(alice, bob, "<max>200</max>");
    expect_bodies(want);
    expect_fin(true, -1, -1);
    ask_set(alice, bob, "<max>100</max>");
    expect_bodies(want);
    expect_fin(true, -1, -1);
    ask_set(alice, bob, "<max>99</max>");
    expect_fin(false, -1, -1);
    ask_set(alice, bob, "<max>3</max><after>%s</after>", all[100]);
    expect_bodies("102 105 108");
    expect_fin(false, -1, -1);
    ask_set(alice, bob, "<max>3</max><before>%s</before>", all[100]);
    expect_bodies("93 96 99");
    expect_fin(false, -1, -1);
    ask_set(alice, bob, "<max>3</max><before/>");
    expect_bodies("291 294 297");
    ask_set(alice, bob, "<max>3</max><before>%s</before>", all[6]);
    expect_bodies("0 3");
    expect_fin(true, -1, -1);
    ask_set(alice, bob, "<max>60</max><before/>");
    assert_int_equal(page.count, 60);
    assert_int_equal(strncmp(page.bodies, "120 123 ", 8), 0);
    ask_field(alice, "with", "bob@localhost/x", SET("<max>2</max>"));
    expect_bodies("0 3");
    ask_field(alice, "with", "bob@localhost/x", SET("<max>2</max><before/>"));
    expect_bodies("294 297");
    ask_field(alice, "with", "bob@localhost/y", NULL);
    expect_bodies("");
    expect_fin(true, -1, -1);
    ask_field(alice, "with", "bob@localhost/y", SET("<before/>"));
    expect_bodies("");
    ask_field(alice, "with", "nobody@localhost", SET("<max>2</max><before/>"));
    expect_bodies("");
    ask_field(alice, "with", "alice@localhost", NULL); /* not everything */
    expect_bodies("");
    ask_set(alice, bob, "<max>2</max><index>0</index>");
    expect_bodies("0 3");
    ask_set(alice, bob, "<max>2</max><index>1</index>");
    expect_error(GR_FEATURE_NOT_IMPLEMENTED);
    h_stop(&h);
}

static void by_time(void **state)
{
    char from[32], to[32], fields[300];
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    for (int i = 0; i < 10; i++) {
        say(alice, "bob@localhost", i, i + 1);
        if (i == 3)
            gr_stamp(from, gr_wall_us());
        if (i == 6)
            gr_stamp(to, gr_wall_us());
        h_advance(h, 1000);
    }
    ask_field(alice, "start", from, NULL);
    expect_range(3, 10);
    expect_fin(true, 0, 7);
    ask_field(alice, "end", to, NULL);
    expect_range(0, 7);
    expect_fin(true, 0, 7);
    snprintf(fields, sizeof(fields), "<field var='start'><value>%s</value></field>"
             "<field var='end'><value>%s</value></field>", from, to);
    ask(alice, fields, NULL);
    expect_range(3, 7);
    expect_fin(true, 0, 4);
    ask_set(alice, fields, "<max>2</max><before/>");
    expect_range(5, 7);
    expect_fin(false, -1, 4);
    snprintf(fields + strlen(fields), sizeof(fields) - strlen(fields),
             "<field var='with'><value>bob@localhost</value></field>");
    ask(alice, fields, NULL);
    expect_range(3, 7);
    ask_field(alice, "start", "2999-01-01T00:00:00Z", NULL);
    expect_bodies("");
    expect_fin(true, -1, 0);
    ask_field(alice, "end", "1960-01-01T00:00:00Z", NULL);
    expect_bodies("");
    ask_field(alice, "end", "2999-01-01T00:00:00+01:00", NULL);
    expect_range(0, 10);
    h_stop(&h);
}

static void by_id(void **state)
{
    char fields[600];
    (void)state;
    struct h *h = start(NULL);
    h_user(h, "carol@localhost");
    struct hs *alice = with_messages(h, 60);

    learn(alice, 60);
    snprintf(fields, sizeof(fields), "<field var='after-id'><value>%s</value></field>"
             "<field var='before-id'><value>%s</value></field>", all[9], all[50]);
    ask(alice, fields, NULL);
    expect_range(10, 50);
    expect_fin(true, 0, 40);
    ask_set(alice, fields, "<max>5</max><before/>");
    expect_range(45, 50);
    expect_fin(false, -1, 40);
    ask_set(alice, fields, "<max>5</max><after>%s</after>", all[47]);
    expect_range(48, 50);
    expect_fin(true, 38, 40);
    snprintf(fields, sizeof(fields), "<field var='ids'><value>%s</value><value>%s</value>"
             "<value>%s</value><value>%s</value></field>", all[30], all[2], all[59], all[2]);
    ask(alice, fields, NULL);
    expect_bodies("2 30 59");
    expect_fin(true, 0, 3);
    ask(alice, fields, "<flip-page/>");
    expect_bodies("59 30 2");
    ask_set(alice, fields, "<max>1</max><before/>");
    expect_bodies("59");
    expect_fin(false, -1, 3);
    ask_set(alice, fields, "<max>5</max><after>%s</after>", all[2]);
    expect_bodies("30 59");
    h_stop(&h);
}

static void ids_that_are_not_there(void **state)
{
    static const char *const wrong[] = { "x", "", "000000000000000000000000",
                                         "ffffffffffffffffffffffff", "0006000000000000deadbeef",
                                         "0006000000000000DEADBEEF", "&lt;" };
    static const char *const vars[] = { "after-id", "before-id", "ids" };
    char other[32];
    (void)state;
    struct h *h = start(NULL);
    h_user(h, "carol@localhost");
    struct hs *alice = with_messages(h, 5), *bob = h_online(h, "bob@localhost/b");

    learn(alice, 5);
    memcpy(other, all[2], sizeof(other)); /* the right time, another salt */
    other[23] = other[23] == '0' ? '1' : '0';
    for (size_t i = 0; i <= GR_COUNT(wrong); i++) {
        const char *id = i < GR_COUNT(wrong) ? wrong[i] : other;

        for (size_t v = 0; v < GR_COUNT(vars) && id[0] != '\0'; v++) {
            ask_field(alice, vars[v], id, NULL);
            expect_error(GR_ITEM_NOT_FOUND);
            ask_field(alice, vars[v], id, "<flip-page/>");
            expect_error(GR_ITEM_NOT_FOUND);
        }
        if (id[0] == '\0')
            continue;
        ask_set(alice, NULL, "<after>%s</after>", id);
        expect_error(GR_ITEM_NOT_FOUND);
        ask_set(alice, NULL, "<before>%s</before>", id);
        expect_error(GR_ITEM_NOT_FOUND);
    }
    ask_set(bob, NULL, "<after>%s</after>", all[2]); /* somebody else's */
    expect_error(GR_ITEM_NOT_FOUND);
    h_stop(&h);
}

static void wrong_questions(void **state)
{
    (void)state;
    struct h *h = start("page_size = 2\nmax_page_size = 3\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    ask_field(alice, "{urn:x}y", "1", NULL);
    expect_error(GR_FEATURE_NOT_IMPLEMENTED);
    ask_field(alice, "start", "yesterday", NULL);
    expect_error(GR_BAD_REQUEST);
    ask_field(alice, "end", "2026-01-01", NULL);
    expect_error(GR_BAD_REQUEST);
    ask_field(alice, "with", "a@b@c", NULL);
    expect_error(GR_BAD_REQUEST);
    ask_field(alice, "include-groupchat", "maybe", NULL);
    expect_error(GR_BAD_REQUEST);
    ask_field(alice, "include-groupchat", "true", NULL);
    expect_bodies("");
    ask(alice, NULL, SET("<max>x</max>"));
    expect_error(GR_BAD_REQUEST);
    ask(alice, NULL, SET("<max>-1</max>"));
    expect_error(GR_BAD_REQUEST);
    ask(alice, "<field var='ids'><value>1</value><value>2</value><value>3</value><value>4</value>"
               "</field>", NULL);
    expect_error(GR_POLICY_VIOLATION);
    h_iq_error(alice, "set", NULL, "<query xmlns='" MAM "'><x xmlns='jabber:x:data' type='submit'>"
                                   "<field var='FORM_TYPE'><value>urn:other</value></field></x></query>",
               GR_BAD_REQUEST);
    h_iq_error(alice, "set", NULL, "<query xmlns='" MAM "'><x xmlns='jabber:x:data' type='form'>"
                                   "<field var='FORM_TYPE'><value>" MAM "</value></field></x></query>",
               GR_BAD_REQUEST);
    h_iq_error(alice, "set", NULL, "<query xmlns='" MAM "' node='n'/>", GR_FEATURE_NOT_IMPLEMENTED);
    h_iq_error(alice, "set", "bob@localhost", "<query xmlns='" MAM "'/>", GR_FORBIDDEN);
    say(alice, "bob@localhost", 0, 5);
    ask(alice, NULL, NULL);
    expect_range(0, 2);
    ask_set(alice, NULL, "<max>5</max>");
    expect_range(0, 3);
    expect_fin(false, 0, 5);
    h_stop(&h);
}

static void the_form(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    h_iq_result(alice, "get", NULL, "<query xmlns='" MAM "'/>",
                "<query xmlns='" MAM "'><x xmlns='jabber:x:data' type='form'>"
                "<field type='hidden' var='FORM_TYPE'><value>" MAM "</value></field>"
                "<field type='jid-single' var='with'/><field type='text-single' var='start'/>"
                "<field type='text-single' var='end'/><field type='text-single' var='after-id'/>"
                "<field type='text-single' var='before-id'/><field type='list-multi' var='ids'>"
                "<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'>"
                "<open/></validate></field><field type='boolean' var='include-groupchat'/></x>"
                "</query>");
    h_stop(&h);
}

static void metadata(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    h_user(h, "carol@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a");

    h_iq_result(alice, "get", NULL, "<metadata xmlns='" MAM "'/>", "<metadata xmlns='" MAM "'/>");
    say(alice, "bob@localhost", 0, 1);
    learn(alice, 1);
    struct gr_stanza *st = h_iq(alice, "get", NULL, "<metadata xmlns='" MAM "'/>");
    const struct gr_el *el = gr_stanza_payload(st);
    assert_string_equal(gr_el_attr(gr_el_child(el, MAM, "start"), "id"), all[0]);
    assert_string_equal(gr_el_attr(gr_el_child(el, MAM, "end"), "id"), all[0]);
    h_advance(h, 5000);
    say(alice, "bob@localhost", 1, 3);
    learn(alice, 3);
    st = h_iq(alice, "get", NULL, "<metadata xmlns='" MAM "'/>");
    el = gr_stanza_payload(st);
    assert_string_equal(gr_el_attr(gr_el_child(el, MAM, "start"), "id"), all[0]);
    assert_string_equal(gr_el_attr(gr_el_child(el, MAM, "end"), "id"), all[2]);
    assert_non_null(gr_el_attr(gr_el_child(el, MAM, "start"), "timestamp"));
    h_stop(&h);
}

/* --- preferences --- */

#define PREFS(mode, always, never) \
    "<prefs xmlns='" MAM "' default='" mode "'><always>" always "</always><never>" never \
    "</never></prefs>"

static void set_prefs(struct hs *s, const char *prefs)
{
    h_iq_result(s, "set", NULL, prefs, prefs);
}

static void preferences(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    h_user(h, "carol@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a");

    h_iq_result(alice, "get", NULL, "<prefs xmlns='" MAM "'/>", PREFS("always", "", ""));
    say(alice, "bob@localhost", 1, 2);
    set_prefs(alice, PREFS("always", "", "<jid>bob@localhost</jid>"));
    say(alice, "bob@localhost/x", 2, 3);
    say(alice, "carol@localhost", 3, 4);
    set_prefs(alice, PREFS("never", "<jid>bob@localhost/x</jid>", ""));
    h_iq_result(alice, "get", NULL, "<prefs xmlns='" MAM "'/>",
                PREFS("never", "<jid>bob@localhost/x</jid>", ""));
    say(alice, "bob@localhost", 4, 5);
    say(alice, "bob@localhost/x", 5, 6);
    say(alice, "carol@localhost", 6, 7);
    ask(alice, NULL, NULL);
    expect_bodies("1 3 5");
    h_restart(h);
    alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 7, 8);
    say(alice, "bob@localhost/x", 8, 9);
    /* never and always: never */
    set_prefs(alice, PREFS("always", "<jid>bob@localhost</jid>", "<jid>bob@localhost</jid>"));
    say(alice, "bob@localhost", 9, 10);
    ask(alice, NULL, NULL);
    expect_bodies("1 3 5 8");
    h_stop(&h);
}

static void contacts_only(void **state)
{
    (void)state;
    struct h *h = start("archive_policy = roster\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    say(alice, "bob@localhost/x", 1, 2);
    say(alice, "alice@localhost", 2, 3);
    h_iq(alice, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>");
    say(alice, "bob@localhost/x", 3, 4);
    ask(alice, NULL, NULL);
    expect_bodies("2 3");
    h_iq_result(alice, "get", NULL, "<prefs xmlns='" MAM "'/>", PREFS("roster", "", ""));
    h_stop(&h);
}

static void wrong_preferences(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    char *many = gr_alloc(501 * 40 + 200);
    size_t n = (size_t)sprintf(many, "<prefs xmlns='" MAM "' default='never'><always>");

    h_iq_error(alice, "set", NULL, "<prefs xmlns='" MAM "'/>", GR_BAD_REQUEST);
    h_iq_error(alice, "set", NULL, "<prefs xmlns='" MAM "' default='maybe'/>", GR_BAD_REQUEST);
    h_iq_error(alice, "set", NULL, "<prefs xmlns='" MAM "' default='never'><never><jid>a@b@c</jid>"
                                   "</never></prefs>", GR_JID_MALFORMED);
    h_iq_error(alice, "get", "bob@localhost", "<prefs xmlns='" MAM "'/>", GR_SERVICE_UNAVAILABLE);
    /* 500 is the bound; the same twice counts twice. */
    for (int i = 0; i < 500; i++)
        n += (size_t)sprintf(many + n, "<jid>c%d@localhost</jid>", i);
    strcpy(many + n, "</always></prefs>");
    assert_int_equal(gr_stanza_type(h_iq(alice, "set", NULL, many)), GR_RESULT);
    strcpy(many + n, "<jid>c0@localhost</jid></always></prefs>");
    h_iq_error(alice, "set", NULL, many, GR_RESOURCE_CONSTRAINT);
    gr_free(many);
    say(alice, "c499@localhost", 1, 2);
    ask(alice, NULL, NULL);
    expect_bodies("1");
    h_stop(&h);

    h = start("user_prefs = no\n");
    alice = h_online(h, "alice@localhost/a");
    h_iq_error(alice, "get", NULL, "<prefs xmlns='" MAM "'/>", GR_FEATURE_NOT_IMPLEMENTED);
    h_iq_error(alice, "set", NULL, "<prefs xmlns='" MAM "' default='never'/>",
               GR_FEATURE_NOT_IMPLEMENTED);
    h_stop(&h);
}

/* --- tombstones --- */

#define RETRACT(of, id) "<message to='bob@localhost' type='chat' id='" id "'>" \
    "<retract xmlns='urn:xmpp:message-retract:1' id='" of "'/></message>"

static void expect_tombstone(struct hs *s)
{
    h_drop_all(s);
    h_iq(s, "set", NULL, "<query xmlns='" MAM "'>" SET("<max>1</max>") "</query>");
    h_expect_xml(s, "<message from='*' to='*'><result xmlns='" MAM "' id='*'>"
                    "<forwarded xmlns='urn:xmpp:forward:0'>"
                    "<delay xmlns='urn:xmpp:delay' stamp='*'/><message xmlns='jabber:client' "
                    "from='alice@localhost/a' to='bob@localhost' type='chat' id='m1'>"
                    "<retracted xmlns='urn:xmpp:message-retract:1' id='r1' stamp='*'/></message>"
                    "</forwarded></result></message>");
}

static void tombstones(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    say(alice, "bob@localhost", 1, 3);
    h_send(bob, "<message to='alice@localhost' type='chat' id='b1'><body>mine</body></message>");
    h_send(alice, RETRACT("m1", "r1"));
    assert_int_equal(h_unhandled(alice), 0);
    expect_tombstone(alice);
    expect_tombstone(bob);
    ask(alice, NULL, NULL);
    expect_bodies("- 2 mine -"); /* the retraction is kept too */
    expect_fin(true, 0, 4);
    /* Not what somebody else has said, not what nobody said. */
    h_send(alice, RETRACT("b1", "r2"));
    h_send(alice, RETRACT("nothing", "r3"));
    h_send(alice, RETRACT("", "r4"));
    ask(bob, NULL, NULL);
    expect_bodies("- 2 mine - - - -");
    ask_field(bob, "with", "alice@localhost", SET("<max>2</max>"));
    expect_bodies("- 2");
    h_stop(&h);

    h = start("message_retraction = no\n");
    alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 1, 2);
    h_send(alice, RETRACT("m1", "r1"));
    ask(alice, NULL, NULL);
    expect_bodies("1 -");
    h_stop(&h);
}

/* --- the map of contacts: where there are some of one, in blocks of 16 rows --- */

enum { SCATTERED = 260, PEERS = 4 };
static const char *const peer[PEERS] = { "bob@localhost/x", "carol@localhost", "dave@other.test/d",
                                         "eve@other.test" };
static unsigned peer_of[SCATTERED];
static char with[128];

/* Two often, one sometimes, one nearly never; row i + 1. `gap`: milliseconds between them. */
static struct hs *scatter(struct h *h, int64_t gap)
{
    struct hs *alice = h_online(h, "alice@localhost/a");
    unsigned seed = 1;

    h_user(h, "carol@localhost");
    for (int i = 0; i < SCATTERED; i++) {
        unsigned x = (unsigned)rand_r(&seed) % 100;

        peer_of[i] = x < 50 ? 0 : x < 90 ? 1 : x < 98 ? 2 : 3;
        say(alice, peer[peer_of[i]], i, i + 1);
        h_advance(h, gap);
    }
    return alice;
}

/* Those of the peer from i on in that direction, as many as `most`; the one behind the last. */
static int expect_of(unsigned of, int i, int step, size_t most)
{
    int found[SCATTERED];
    char text[2048] = "";
    size_t count = 0, n = 0;

    for (; i >= 0 && i < SCATTERED && count < most; i += step)
        if (peer_of[i] == of)
            found[count++] = i;
    for (size_t k = 0; k < count; k++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%d", n > 0 ? " " : "",
                              found[step > 0 ? k : count - 1 - k]);
    expect_bodies(text);
    return i;
}

static bool any_of(unsigned of, int i, int step)
{
    while (i >= 0 && i < SCATTERED && peer_of[i] != of)
        i += step;
    return i >= 0 && i < SCATTERED;
}

/* From one end to the other, page by page; what is in them and which is the last. */
static void turn_pages(struct hs *alice, unsigned of, bool back)
{
    char at[100] = "";
    int i = back ? SCATTERED - 1 : 0, step = back ? -1 : 1;
    bool more = true;

    if (back)
        snprintf(at, sizeof(at), "<before/>");
    while (more) {
        ask_set(alice, with, "<max>5</max>%s", at);
        i = expect_of(of, i, step, 5);
        more = any_of(of, i, step);
        assert_int_equal(gr_el_attr(gr_stanza_payload(page.fin), "complete") == NULL, more);
        if (back)
            snprintf(at, sizeof(at), "<before>%s</before>", page.id[0]);
        else if (page.count > 0)
            snprintf(at, sizeof(at), "<after>%s</after>", page.id[page.count - 1]);
    }
}

static void scattered_contacts(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = scatter(h, 1);

    for (int again = 0; again < 2; again++) {
        for (unsigned of = 0; of < PEERS; of++) {
            char bare[64];

            snprintf(bare, sizeof(bare), "%s", peer[of]);
            bare[strcspn(bare, "/")] = '\0';
            field(with, sizeof(with), "with", bare);
            turn_pages(alice, of, false);
            turn_pages(alice, of, true);
            field(with, sizeof(with), "with", peer[of]);
            turn_pages(alice, of, false);
            turn_pages(alice, of, true);
        }
        h_restart(h);
        alice = h_online(h, "alice@localhost/a");
    }
    h_stop(&h);
}

static size_t entries;

static void on_entries(struct store_req *req)
{
    entries = req->rows.count;
}

static size_t count_entries(struct h *h)
{
    struct store_req req = { .done = on_entries };

    h_enter(h, "alice@localhost");
    store_count(&req, store_coll("mam.contacts", GR_COLL_MAP), "alice@localhost");
    h_run(h);
    return entries;
}

/* One for each contact of each block, which goes with its last row. */
static void entries_come_and_go(void **state)
{
    (void)state;
    struct h *h = start("expire_after = 1h\n");
    struct hs *alice = scatter(h, 10000);
    bool in[SCATTERED / 16 + 1][PEERS] = { { false } };
    size_t want = 0;

    assert_true(count_entries(h) < SCATTERED / 2);
    h_advance(h, 3600000 - 2600000 + 505000); /* 50 are older than an hour */
    say(alice, "bob@localhost/x", SCATTERED, SCATTERED + 1);
    ask(alice, NULL, SET("<max>1</max>"));
    int first = atoi(page.bodies);
    assert_in_range(first, 45, 55);
    in[(SCATTERED + 1) / 16][0] = true;
    for (int i = first; i < SCATTERED; i++)
        in[(i + 1) / 16][peer_of[i]] = true;
    for (size_t i = 0; i < GR_COUNT(in); i++)
        for (size_t k = 0; k < PEERS; k++)
            want += in[i][k];
    assert_int_equal(count_entries(h), want);
    h_advance(h, 7200000);
    say(alice, "bob@localhost/x", 0, 1);
    assert_int_equal(count_entries(h), 1);
    h_stop(&h);
}

/* --- bounds --- */

static char big[60 * 1024];

static void by_age(void **state)
{
    (void)state;
    struct h *h = start("expire_after = 1h\n");
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob;

    for (int i = 0; i < 300; i++) {
        say(alice, "bob@localhost", i, i + 1);
        h_advance(h, 10000);
    }
    h_advance(h, 3600000 - 3000000 + 500000); /* 50 are older than an hour */
    say(alice, "bob@localhost", 300, 301);
    learn(alice, 251);
    ask(alice, NULL, SET("<max>3</max>"));
    expect_range(50, 53);
    expect_fin(false, 0, 251);
    ask_field(alice, "with", "bob@localhost", SET("<max>3</max>"));
    expect_range(50, 53);
    /* Bob's is not touched by anybody: the round of the day finds it. */
    h_advance(h, 2 * 24 * 3600 * 1000);
    bob = h_login(h, "bob@localhost/b");
    ask(bob, NULL, NULL);
    expect_fin(true, -1, 0);
    h_stop(&h);
}

static void by_size(void **state)
{
    (void)state;
    struct h *h = start("size_limit = 256K\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    memset(big, 'x', 10000);
    for (int i = 0; i < 60; i++)
        h_sendf(alice, "<message to='bob@localhost' id='%d'><body>%s</body></message>", i, big);
    h_iq(alice, "set", NULL, "<query xmlns='" MAM "'>" SET("<max>0</max>") "</query>");
    ask(alice, NULL, SET("<max>0</max>"));
    int count = atoi(gr_el_text(gr_el_child(gr_el_child(gr_stanza_payload(page.fin), GR_NS_RSM,
                                                        "set"), NULL, "count"), NULL));
    assert_in_range(count, 20, 26);
    memset(big, 0, sizeof(big));
    h_stop(&h);
}

/* A page of large messages is read and sent in parts, each when the one before was taken. */
static void large_messages(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    size_t n = 0;

    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 100; i++)
        h_sendf(alice, "<message to='bob@localhost' id='%d'><body>%s</body></message>", i, big);
    h_drop_all(alice);
    h_stall(alice);
    h_feed(alice, "<iq type='set' id='q'><query xmlns='" MAM "'>" SET("<max>100</max>")
                  "</query></iq>");
    h_run(h);
    h_advance(h, 5000);
    h_flow(alice);
    h_run(h);
    for (struct gr_stanza *st; (st = h_next(alice)) != NULL; n++)
        if (gr_stanza_kind(st) == GR_IQ)
            break;
    assert_int_equal(n, 100);
    h_expect_nothing(alice);
    /* Somebody who goes away in the middle. */
    h_stall(alice);
    h_feed(alice, "<iq type='set' id='q'><query xmlns='" MAM "'>" SET("<max>100</max>")
                  "</query></iq>");
    h_run(h);
    h_disconnect(&alice, false);
    h_run(h);
    memset(big, 0, sizeof(big));
    h_stop(&h);
}

/* So large that the rows of one block are more than an answer of the store holds. */
static void a_block_of_large_messages(void **state)
{
    enum { SIZE = 400 * 1024, COUNT = 24 };
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    char *huge = gr_alloc(SIZE + 1);

    memset(huge, 'x', SIZE);
    for (int i = 0; i < COUNT; i++)
        h_sendf(alice, "<message to='bob@localhost' id='%d' type='chat'><subject>%s</subject>"
                       "<body>%d</body></message>", i, huge, i);
    for (int back = 0; back < 2; back++)
        for (int flip = 0; flip < 2; flip++) {
            char rest[200];

            snprintf(rest, sizeof(rest), SET("<max>20</max>%s") "%s", back ? "<before/>" : "",
                     flip ? "<flip-page/>" : "");
            ask_field(alice, "with", "bob@localhost", rest);
            if (flip)
                expect_range(back ? COUNT - 1 : 19, back ? COUNT - 21 : -1);
            else
                expect_range(back ? COUNT - 20 : 0, back ? COUNT : 20);
            assert_null(gr_el_attr(gr_stanza_payload(page.fin), "complete"));
        }
    gr_free(huge);
    h_stop(&h);
}

/* However many are asked at once: one after the other. */
static void one_query_at_a_time(void **state)
{
    int query = 0, results = 0;
    (void)state;
    struct h *h = start("size_limit = 16M\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    memset(big, 'x', 20000);
    for (int i = 0; i < 40; i++)
        h_sendf(alice, "<message to='bob@localhost' id='%d'><body>%s</body></message>", i, big);
    h_drop_all(alice);
    h_stall(alice);
    for (int i = 0; i < 5; i++) {
        char xml[200];
        snprintf(xml, sizeof(xml), "<iq type='set' id='q%d'><query xmlns='" MAM "' queryid='%d'/></iq>",
                 i, i);
        h_feed(alice, xml);
    }
    h_feed(alice, "<iq type='set' id='bad'><query xmlns='" MAM "' node='x'/></iq>");
    h_run(h);
    assert_int_equal(h_unhandled(alice), 6);
    h_flow(alice);
    h_run(h);
    for (struct gr_stanza *st; (st = h_next(alice)) != NULL;) {
        const struct gr_el *el = gr_stanza_child(st, MAM, "result");

        if (el != NULL) {
            assert_int_equal(atoi(gr_el_attr(el, "queryid")), query);
            results++;
        } else if (gr_stanza_type(st) == GR_RESULT) {
            assert_int_equal(atoi(gr_stanza_id(st) + 1), query++);
        }
    }
    assert_int_equal(query, 5);
    assert_int_equal(results, 5 * 40);
    assert_int_equal(h_unhandled(alice), 0);
    memset(big, 0, sizeof(big));
    h_stop(&h);
}

/* Ids are removed in one go, however many a stanza has. */
static void many_forged_ids(void **state)
{
    static char xml[200000];
    size_t n = 0;
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    h_drop_all(bob);
    n += (size_t)sprintf(xml, "<message to='bob@localhost/b'><body>1</body>");
    for (int i = 0; i < 2500; i++)
        n += (size_t)sprintf(xml + n, "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='%d'/>",
                             i);
    strcpy(xml + n, "</message>");
    h_send(alice, xml);
    h_expect_xml(bob, "<message from='*' to='*'><body>1</body>"
                      "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='*'/></message>");
    h_stop(&h);
}

/* The clock is set back: ids and order stay. */
static void the_clock_goes_back(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    struct gr_mod *mam;

    for (int i = 0; i < 3; i++) {
        say(alice, "bob@localhost", i, i + 1);
        h_advance(h, 3600000);
    }
    mam = h_mod(h, "mam", "alice@localhost");
    (void)mam;
    h_restart(h); /* the harness' clock begins anew */
    alice = h_online(h, "alice@localhost/a");
    for (int i = 3; i < 6; i++)
        say(alice, "bob@localhost", i, i + 1);
    learn(alice, 6);
    ask(alice, NULL, NULL);
    expect_range(0, 6);
    for (int i = 0; i < 5; i++)
        assert_true(strcmp(all[i], all[i + 1]) < 0);
    ask_set(alice, NULL, "<after>%s</after>", all[3]);
    expect_range(4, 6);
    h_stop(&h);
}

/* More than an instance keeps in memory: those not used for long are read again. */
static void many_archives(void **state)
{
    char jid[64], id[32];
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    say(alice, "x@other.test", 0, 2);
    h_drop_all(alice);
    learn(alice, 2);
    memcpy(id, all[1], sizeof(id));
    for (int i = 0; i < 16500; i++) {
        snprintf(jid, sizeof(jid), "u%d@localhost/x", i);
        struct hs *u = h_login(h, jid);
        h_send(u, "<message to='x@other.test'><body>1</body></message>");
        h_disconnect(&u, true);
    }
    say(alice, "x@other.test", 2, 4);
    learn(alice, 4);
    assert_string_equal(all[1], id);
    ask_field(alice, "with", "x@other.test", NULL);
    expect_range(0, 4);
    h_stop(&h);
}

/* What the server sends again was kept the first time. */
static void sent_again_by_the_server(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    const struct gr_jid *from = h_parse_jid(h, "bob@localhost/b");
    struct gr_mod *mam = h_mod(h, "mam", "alice@localhost");

    for (int i = 0; i < 4; i++) {
        struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, from, h_jid(alice));
        char body[2] = { (char)('0' + i), '\0' };

        gr_el_add_text(st, NULL, NULL, "body", body);
        if (i == 1 || i == 3) {
            struct gr_el *el = gr_el_add(st, NULL, "urn:xmpp:sid:0", "stanza-id");
            gr_el_set(st, el, "by", i == 1 ? "alice@localhost" : "room@muc.localhost");
            gr_el_set(st, el, "id", "1");
        }
        if (i == 2)
            gr_stanza_add_delay(st, "localhost", gr_wall_us());
        gr_send(mam, st);
        h_run(h);
    }
    ask(alice, NULL, NULL);
    expect_bodies("0 3");
    h_stop(&h);
}

static void known_accounts(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    say(alice, "bob@localhost", 1, 2); /* in memory now */
    h_user_delete(h, "bob@localhost");
    say(alice, "bob@localhost", 2, 3);
    h_user(h, "bob@localhost");
    struct hs *bob = h_login(h, "bob@localhost/b");
    ask(bob, NULL, NULL);
    expect_bodies("");
    /* Long after: what was known is asked again. */
    h_disconnect(&bob, true);
    say(alice, "bob@localhost", 3, 4);
    h_advance(h, 120000);
    say(alice, "bob@localhost", 4, 5);
    bob = h_login(h, "bob@localhost/b");
    ask(bob, NULL, NULL);
    expect_bodies("3 4");
    h_stop(&h);
}

static void add_damaged(struct h *h, const char *bytes, size_t len)
{
    struct store_txn *t = store_txn_new();

    h_enter(h, "alice@localhost");
    store_txn_add(t, STORE_APPEND, store_coll("mam.messages", GR_COLL_LOG), "alice@localhost", NULL,
                  0, bytes, len);
    store_commit(t, NULL);
    h_run(h);
}

/* A row may get another number than it was meant to have: it is found all the same. */
static void not_the_number_it_should_have(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    say(alice, "bob@localhost", 1, 15);
    add_damaged(h, "", 0);
    say(alice, "dave@other.test", 16, 17); /* in the next block */
    ask_field(alice, "with", "dave@other.test", NULL);
    expect_bodies("16");
    h_stop(&h);
}

/* Rows that make no sense are left out, and go with the others. */
static void damaged_rows(void **state)
{
    static const char *const rows[] = { "", "\1", "\2nothing of this version at all",
                                        "\1\0\0\0\0\0\0\0\0\1aaaa\xff\xff\xff\xffx" };
    static const size_t lens[] = { 0, 1, 31, 19 };
    (void)state;
    struct h *h = start("expire_after = 1h\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    for (size_t i = 0; i < GR_COUNT(rows); i++) {
        say(alice, "bob@localhost", (int)i, (int)i + 1);
        add_damaged(h, rows[i], lens[i]);
        h_restart(h); /* the latest row is one of them */
        alice = h_online(h, "alice@localhost/a");
    }
    say(alice, "bob@localhost", 4, 5);
    ask(alice, NULL, NULL);
    expect_range(0, 5);
    ask_field(alice, "with", "bob@localhost", NULL);
    h_advance(h, 7200000);
    say(alice, "bob@localhost", 5, 6);
    ask(alice, NULL, NULL);
    expect_bodies("5");
    expect_fin(true, 0, 1);
    h_stop(&h);
}

/* --- what cannot be written --- */

static int full_disk(uint64_t n)
{
    (void)n;
    return ENOSPC;
}

static void a_full_disk(void **state)
{
    static const struct store_faults full = { .commit = full_disk };
    (void)state;
    struct h *h = start("archive_policy = never\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    set_prefs(alice, PREFS("always", "", ""));
    say(alice, "bob@localhost", 1, 3);
    h_drop_all(alice);
    store_faults = &full;
    say(alice, "bob@localhost", 3, 4);
    h_expect_xml(alice, "<message type='error' from='bob@localhost' to='alice@localhost/a' id='m3'>"
                        "<error type='wait'><resource-constraint xmlns='" GR_NS_STANZAS "'/>"
                        "<text xmlns='" GR_NS_STANZAS "' _='any'/></error></message>");
    h_expect_nothing(alice);
    store_faults = NULL;
    h_advance(h, 2000);
    say(alice, "bob@localhost", 4, 6);
    ask(alice, NULL, NULL);
    expect_bodies("1 2 4 5");
    expect_fin(true, 0, 4);
    ask_field(alice, "with", "bob@localhost", NULL);
    expect_bodies("1 2 4 5");
    h_stop(&h);
}

/* Handled means: in the archive. Delivered at once all the same. */
static void the_disk_is_waited_for(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    say(alice, "bob@localhost", 0, 1);
    h_drop_all(bob);
    h_hold_store(h, true);
    say(alice, "bob@localhost", 1, 3);
    h_expect_body(bob, "alice@localhost/a", "1");
    h_expect_body(bob, "alice@localhost/a", "2");
    assert_int_equal(h_unhandled(alice), 2);
    h_commit(h);
    assert_int_equal(h_unhandled(alice), 0);
    h_hold_store(h, false);
    h_stop(&h);
}

/* --- accounts that go --- */

static void removed_with_the_account(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    for (int i = 0; i < 1200; i++)
        say(alice, "bob@localhost/b", i, i + 1);
    set_prefs(bob, PREFS("roster", "", ""));
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    h_user(h, "bob@localhost");
    h_drop_all(alice);
    bob = h_online(h, "bob@localhost/b");
    ask(bob, NULL, NULL);
    expect_bodies("");
    expect_fin(true, -1, 0);
    ask_field(bob, "with", "alice@localhost", NULL);
    expect_bodies("");
    h_iq_result(bob, "get", NULL, "<prefs xmlns='" MAM "'/>", PREFS("always", "", ""));
    say(alice, "bob@localhost/b", 1, 2);
    ask(bob, NULL, NULL);
    expect_bodies("1");
    ask(alice, NULL, SET("<max>1</max>")); /* hers is as it was */
    expect_fin(false, 0, 1201);
    h_stop(&h);
}

static void on_exported(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self, (void)ev;
    assert_int_equal(verdict, GR_OK);
    assert_int_equal(ev->failed, 0);
}

static void personal_data(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    struct gr_stanza *st = gr_nonza_new("urn:xmpp:pie:0", "user");
    struct gr_export_ev ev = { .user = h_parse_jid(h, "alice@localhost"), .data = st };
    struct gr_el *el;
    int n = 0;

    for (int i = 0; i < 60; i++)
        say(alice, "bob@localhost", i, i + 1);
    h_hold_store(h, true);
    say(alice, "bob@localhost", 60, 61); /* still on its way: waited for */
    gr_hook_run(h_mod(h, "mam", "alice@localhost"), GR_HOOK_get_personal_data, &ev.ev,
                on_exported);
    h_run(h);
    h_hold_store(h, false);
    h_run(h);
    el = gr_stanza_child(st, "urn:xmpp:pie:0#mam", "archive");
    assert_non_null(el);
    for (el = gr_el_child(el, MAM, "result"); el != NULL; el = gr_el_next(el, MAM, "result")) {
        const struct gr_el *m = gr_el_child(gr_el_child(el, NULL, "forwarded"), NULL, "message");
        char want[16];

        snprintf(want, sizeof(want), "%d", n++);
        assert_string_equal(gr_el_text(gr_el_child(m, NULL, "body"), NULL), want);
    }
    assert_int_equal(n, 61);
    gr_stanza_unref(&st);
    h_stop(&h);
}

/* A reload in the middle of everything. */
static void reloaded(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    say(alice, "bob@localhost", 0, 10);
    h_hold_store(h, true);
    say(alice, "bob@localhost", 10, 12);
    h_reload(h, CONFIG "page_size = 20\n", NULL);
    h_hold_store(h, false);
    say(alice, "bob@localhost", 12, 15);
    ask(alice, NULL, NULL);
    expect_range(0, 15);
    ask_field(alice, "with", "bob@localhost", NULL);
    expect_range(0, 15);
    h_stop(&h);
}

static void features(void **state)
{
    (void)state;
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    static const char *const to[] = { "localhost", "alice@localhost" };
    static const char *const want[] = { MAM, MAM "#extended", MAM "#groupchat-field",
                                        "urn:xmpp:sid:0", "urn:xmpp:message-retract:1#tombstone" };

    for (size_t i = 0; i < GR_COUNT(to); i++) {
        struct gr_stanza *st =
            h_iq(alice, "get", to[i], "<query xmlns='http://jabber.org/protocol/disco#info'/>");
        for (size_t w = 0; w < GR_COUNT(want); w++) {
            const struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "feature");
            while (el != NULL && strcmp(gr_el_attr(el, "var"), want[w]) != 0)
                el = gr_el_next(el, NULL, "feature");
            if (el == NULL)
                h_fail("%s has no %s", to[i], want[w]);
        }
    }
    h_stop(&h);
}

static void wrong_configuration(void **state)
{
    char *errors;

    (void)state;
    assert_null(h_start_try(CONFIG "page_size = 100\nmax_page_size = 50\n", &errors));
    assert_non_null(strstr(errors, "page_size is larger"));
    gr_free(errors);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(both_sides_keep_it), cmocka_unit_test(results_are_as_in_the_text),
        cmocka_unit_test(to_oneself_once),    cmocka_unit_test(what_is_kept),
        cmocka_unit_test(markers_by_option),  cmocka_unit_test(forged_ids_are_removed),
        cmocka_unit_test(away_with_the_stub), cmocka_unit_test(nobody_at_that_address),
        cmocka_unit_test(offline_messages_once), cmocka_unit_test(pages),
        cmocka_unit_test(flipped),            cmocka_unit_test(by_contact),
        cmocka_unit_test(by_time),            cmocka_unit_test(by_id),
        cmocka_unit_test(ids_that_are_not_there), cmocka_unit_test(wrong_questions),
        cmocka_unit_test(the_form),           cmocka_unit_test(metadata),
        cmocka_unit_test(preferences),        cmocka_unit_test(contacts_only),
        cmocka_unit_test(wrong_preferences),  cmocka_unit_test(tombstones),
        cmocka_unit_test(by_age),             cmocka_unit_test(by_size),
        cmocka_unit_test(large_messages),     cmocka_unit_test(the_clock_goes_back),
        cmocka_unit_test(a_full_disk),        cmocka_unit_test(the_disk_is_waited_for),
        cmocka_unit_test(removed_with_the_account), cmocka_unit_test(personal_data),
        cmocka_unit_test(reloaded),           cmocka_unit_test(features),
        cmocka_unit_test(wrong_configuration), cmocka_unit_test(many_archives),
        cmocka_unit_test(damaged_rows),      cmocka_unit_test(one_query_at_a_time), cmocka_unit_test(many_forged_ids),
        cmocka_unit_test(sent_again_by_the_server), cmocka_unit_test(known_accounts),
        cmocka_unit_test(scattered_contacts), cmocka_unit_test(entries_come_and_go),
        cmocka_unit_test(not_the_number_it_should_have),
        cmocka_unit_test(a_block_of_large_messages),
    };
    return H_RUN("mam", cases);
}
