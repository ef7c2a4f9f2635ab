/* tests/mod/test_offline.c: mod_offline and mod_offline_stub against XEP-0160, XEP-0203,
 * XEP-0334, hooks.md 4.6 and 6.2 to 6.5. Whatever happens on the way, a message is delivered,
 * kept or answered with an error, and nobody gets one twice. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

#define CONFIG "[host localhost]\n[mod_presence]\n[mod_offline]\n"

/* --- a module on the way --- */

static struct {
    bool copy;              /* filter_local_packet makes every message a copy */
    bool hold;              /* ... or keeps those for bob */
    struct gr_hold *held[256];
    size_t holds;
    unsigned offline;       /* messages that reached the end of the chain */
} way;

static enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    if (gr_stanza_kind(ev->stanza) != GR_MESSAGE)
        return GR_OK;
    if (way.copy)
        gr_el_add(gr_ev_edit(ev), NULL, "urn:x", "seen");
    if (!way.hold || strcmp(ev->to->bare, "bob@localhost") != 0)
        return GR_OK;
    assert_true(way.holds < GR_COUNT(way.held));
    way.held[way.holds++] = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict on_last(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    way.offline++;
    return GR_OK;
}

static const struct gr_hook way_hooks[] = {
    GR_ON(filter_local_packet, 60, on_local),
    GR_ON(offline_message, 99, on_last),
    GR_HOOK_END
};
static const struct gr_module way_module = { .name = "way", .summary = "test",
                                             .hooks = way_hooks };

static void let_one_go(struct h *h, const char *jid)
{
    struct gr_hold *hold = way.held[0];

    assert_true(way.holds > 0);
    memmove(way.held, way.held + 1, --way.holds * sizeof(way.held[0]));
    h_enter(h, jid);
    gr_resume(hold, GR_OK);
    h_run(h);
}

static struct h *start(const char *ini)
{
    memset(&way, 0, sizeof(way));
    h_module(&way_module);
    struct h *h = h_start(ini != NULL ? ini : CONFIG);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static void say(struct hs *s, const char *to, int from, int until)
{
    for (int i = from; i < until; i++)
        h_sendf(s, "<message to='%s' id='m%d'><body>%d</body></message>", to, i, i);
}

/* Their own presence comes in between. */
static void drop_presence(struct hs *s)
{
    struct gr_stanza *st = h_peek(s);

    while (st != NULL && gr_stanza_kind(st) == GR_PRESENCE) {
        h_next(s);
        st = h_peek(s);
    }
}

static void expect_numbers(struct hs *s, int from, int until)
{
    char body[16];

    for (int i = from; i < until; i++) {
        drop_presence(s);
        snprintf(body, sizeof(body), "%d", i);
        h_expect_body(s, "alice@localhost/a", body);
    }
}

/* Comes, sends that presence, and gets messages from..until and nothing else. */
static struct hs *fetch(struct h *h, const char *full, int from, int until)
{
    struct hs *s = h_login(h, full);

    h_send(s, "<presence/>");
    drop_presence(s);
    expect_numbers(s, from, until);
    drop_presence(s);
    h_expect_nothing(s);
    return s;
}

/* Rows of bob: what the module keeps. */
struct count { uint64_t rows, bytes; };
static struct count counted;

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    counted.rows = rows->count;
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    assert_false(rows->more);
    for (size_t i = 0; i < rows->count; i++)
        counted.bytes += rows->row[i].val_len;
}

static struct count count(struct h *h, const char *bare)
{
    static const struct gr_coll messages = GR_LOG("offline.messages");
    struct gr_mod *self = h_mod(h, "offline", bare);

    memset(&counted, 0, sizeof(counted));
    gr_store_count(gr_req_new(self, 1, on_count), &messages, bare);
    gr_store_range(gr_req_new(self, 1, on_rows), &messages, bare, NULL, 0, 100000);
    h_run(h);
    return counted;
}

static void expect_kept(struct h *h, uint64_t rows)
{
    assert_int_equal(count(h, "bob@localhost").rows, rows);
}

/* --- XEP-0160, 2 and 3 --- */

static void a_message_waits_for_its_recipient(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<message to='bob@localhost' id='1' type='chat' xml:lang='de'><body>a &lt; b"
                  "</body><subject>s</subject><x xmlns='urn:x' a='1'><y/></x></message>");
    h_expect_nothing(alice);
    expect_kept(h, 1);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_expect_nothing(bob);
    h_send(bob, "<presence><priority>-1</priority></presence>");
    drop_presence(bob);
    h_expect_nothing(bob);
    h_send(bob, "<presence><priority>1</priority></presence>");
    drop_presence(bob);
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost' id='1' type='chat' "
                      "xml:lang='de'><body>a &lt; b</body><subject>s</subject>"
                      "<x xmlns='urn:x' a='1'><y/></x><delay xmlns='urn:xmpp:delay' "
                      "from='localhost' stamp='*'/></message>");
    h_expect_nothing(bob);
    expect_kept(h, 0);
    h_send(bob, "<presence type='unavailable'/>");
    h_send(bob, "<presence/>");
    drop_presence(bob);
    h_expect_nothing(bob);
    h_stop(&h);
}

#define HINT(name) "<" name " xmlns='urn:xmpp:hints'/>"
#define STATE "<composing xmlns='http://jabber.org/protocol/chatstates'/>"

static void what_is_kept(void **state)
{
    static const struct { const char *type, *content; bool kept; } cases[] = {
        { "normal", "<body>x</body>", true },
        { "chat", "<body>x</body>", true },
        { "strange", "<body>x</body>", true }, /* treated as normal: RFC 6121, 5.2.2 */
        { "headline", "<body>x</body>", false },
        { "error", "<body>x</body>", false },
        { "chat", STATE, false },
        { "chat", STATE "<thread>t</thread>", false },
        { "chat", STATE "<body/>", false },
        { "normal", STATE, false },
        { "normal", "", false },
        { "normal", "<body/>", false },
        { "chat", STATE "<body>x</body>", true },
        { "normal", "<subject>s</subject>", true },
        { "normal", "<received xmlns='urn:xmpp:receipts' id='1'/>", true },
        { "chat", "<encrypted xmlns='urn:xmpp:omemo:2'/>", true },
        { "chat", "<body>x</body>" HINT("no-store"), false },
        { "chat", "<body>x</body>" HINT("no-permanent-store"), true },
        { "chat", STATE HINT("store"), true },
        { "headline", "<body>x</body>" HINT("store"), false },
        { "chat", "<body>x</body>" HINT("no-store") HINT("store"), false },
        { "chat", HINT("no-copy"), false },
        { "chat", "<sent xmlns='urn:xmpp:carbons:2'><x/></sent>", false },
        { "normal", "<result xmlns='urn:xmpp:mam:2' id='1'/>", false },
        { "normal", "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>", false },
    };
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        h_sendf(alice, "<message to='bob@localhost' type='%s'>%s</message>", cases[i].type,
                cases[i].content);
        if (count(h, "bob@localhost").rows != (cases[i].kept ? 1 : 0))
            fail_msg("%s %s", cases[i].type, cases[i].content);
        h_expect_nothing(alice); /* nor is any of them answered: hooks.md 6.3 */
        struct hs *bob = h_login(h, "bob@localhost/b");
        h_send(bob, "<presence/>");
        drop_presence(bob);
        if (cases[i].kept)
            h_expect(bob, GR_MESSAGE, GR_TYPE_INVALID, "alice@localhost/a");
        h_expect_nothing(bob);
        h_disconnect(&bob, true);
    }
    assert_int_equal(way.offline, 0);
    h_stop(&h);
}

static void groupchat_is_kept_only_when_asked_for(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        struct h *h = start(on ? CONFIG "store_groupchat = yes\n" : CONFIG);
        struct hs *alice = h_online(h, "alice@localhost/a");
        h_send(alice, "<message to='bob@localhost' type='groupchat' id='g'><body>x</body>"
                      "</message>");
        if (!on)
            h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
        h_expect_nothing(alice);
        expect_kept(h, on ? 1 : 0);
        h_stop(&h);
    }
}

static void nobody_there_is_an_error(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<message to='nobody@localhost'><body>x</body></message>");
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "nobody@localhost");
    assert_int_equal(count(h, "nobody@localhost").rows, 0);
    h_stop(&h);
}

static void a_message_to_oneself(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<message id='1'><body>0</body></message>"); /* no address: one's own account */
    h_expect_nothing(alice);
    h_send(alice, "<presence/>");
    drop_presence(alice);
    h_expect_xml(alice, "<message from='alice@localhost/a' to='alice@localhost' id='1'>"
                        "<body>0</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/>"
                        "</message>");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* --- XEP-0203 --- */

static void delays(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<message to='bob@localhost'><body>x</body><delay xmlns='urn:xmpp:delay' "
                  "from='room@elsewhere.example' stamp='2002-09-10T23:08:25Z'/>"
                  "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='2002-09-10T23:08:26Z'/>"
                  "</message>");
    h_advance(h, 3600 * 1000);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    drop_presence(bob);
    struct gr_stanza *st = h_next(bob);
    unsigned ours = 0, theirs = 0;
    for (struct gr_el *el = gr_stanza_child(st, GR_NS_DELAY, "delay"); el != NULL;
         el = gr_el_next(el, GR_NS_DELAY, "delay")) {
        const char *from = gr_el_attr(el, "from"), *stamp = gr_el_attr(el, "stamp");
        char sent[GR_STAMP_SIZE];

        gr_stamp(sent, gr_wall_us() - 3600ll * 1000000);
        if (strcmp(from, "localhost") != 0) {
            assert_string_equal(stamp, "2002-09-10T23:08:25Z");
            theirs++;
            continue;
        }
        assert_memory_equal(stamp, sent, 16); /* when it arrived, not the forged one: 5 */
        ours++;
    }
    assert_int_equal(ours, 1);
    assert_int_equal(theirs, 1);
    h_stop(&h);
}

/* --- order, pages, restart --- */

static void order_over_many_pages(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 333);
    expect_kept(h, 333);
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 333);
    expect_kept(h, 0);
    say(alice, "bob@localhost", 333, 335);
    expect_numbers(bob, 333, 335);
    h_stop(&h);
}

static void kept_over_a_restart(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 5);
    h_restart(h);
    expect_kept(h, 5);
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 5);
    (void)bob;
    h_restart(h);
    expect_kept(h, 0);
    bob = fetch(h, "bob@localhost/b", 0, 0);
    h_stop(&h);
}

static void nothing_is_acknowledged_before_it_is_on_disk(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_hold_store(h, true);
    say(alice, "bob@localhost", 0, 2);
    assert_int_equal(h_unhandled(alice), 2);
    h_commit(h);
    h_run(h);
    h_commit(h);
    h_run(h);
    assert_int_equal(h_unhandled(alice), 0);
    h_hold_store(h, false);
    expect_kept(h, 2);
    h_stop(&h);
}

/* --- limits --- */

static void the_limit_is_exact(void **state)
{
    struct h *h = start(CONFIG "limit = 3\n");

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (int round = 0; round < 3; round++) {
        say(alice, "bob@localhost", 0, 3);
        h_expect_nothing(alice);
        h_send(alice, "<message to='bob@localhost' id='more'><body>x</body></message>");
        struct gr_stanza *error = h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE,
                                                 "bob@localhost");
        assert_string_equal(gr_stanza_id(error), "more");
        if (round == 1)
            h_restart(h);
        expect_kept(h, 3);
        struct hs *bob = fetch(h, "bob@localhost/b", 0, 3);
        h_disconnect(&bob, true);
        if (round == 1)
            alice = h_online(h, "alice@localhost/a");
    }
    h_stop(&h);
}

/* All of them in flight at once. */
static void the_limit_is_exact_under_load(void **state)
{
    struct h *h = start(CONFIG "limit = 10\n");
    unsigned errors = 0;

    (void)state;
    struct hs *from[4];
    for (int i = 0; i < 4; i++) {
        char full[64];
        snprintf(full, sizeof(full), "alice@localhost/%d", i);
        from[i] = h_login(h, full);
    }
    h_hold_store(h, true);
    for (int n = 0; n < 5; n++)
        for (int i = 0; i < 4; i++)
            h_feed(from[i], "<message to='bob@localhost'><body>x</body></message>");
    h_run(h);
    for (int n = 0; n < 40; n++) {
        h_commit(h);
        h_run(h);
    }
    h_hold_store(h, false);
    h_run(h);
    for (int i = 0; i < 4; i++) {
        errors += h_count(from[i]);
        assert_int_equal(h_unhandled(from[i]), 0);
    }
    assert_int_equal(errors, 10);
    expect_kept(h, 10);
    h_stop(&h);
}

static void the_size_limit_is_exact(void **state)
{
    struct h *h = start(CONFIG "size_limit = 64K\n");
    static char text[20001];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (int i = 0; i < 3; i++)
        h_sendf(alice, "<message to='bob@localhost'><body>%s</body></message>", text);
    h_expect_nothing(alice);
    h_sendf(alice, "<message to='bob@localhost'><body>%s</body></message>", text);
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    struct count c = count(h, "bob@localhost");
    assert_int_equal(c.rows, 3);
    /* Exactly as much as still fits, by the size that the rows have; then one byte too many. */
    text[65536 - c.bytes - (c.bytes / 3 - 20000)] = '\0';
    h_sendf(alice, "<message to='bob@localhost'><body>%sy</body></message>", text);
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_sendf(alice, "<message to='bob@localhost'><body>%s</body></message>", text);
    h_expect_nothing(alice);
    c = count(h, "bob@localhost");
    assert_int_equal(c.rows, 4);
    assert_int_equal(c.bytes, 65536);
    h_stop(&h);
}

/* --- a store that fails --- */

static int fault;
static int fail_commit(uint64_t n)
{
    (void)n;
    return fault;
}

static void a_full_disk(void **state)
{
    static const struct store_faults faults = { .commit = fail_commit };
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 2);
    store_faults = &faults;
    fault = ENOSPC;
    h_send(alice, "<message to='bob@localhost' id='full'><body>x</body></message>");
    struct gr_stanza *error = h_expect_error(alice, GR_MESSAGE, GR_RESOURCE_CONSTRAINT,
                                             "bob@localhost");
    assert_string_equal(gr_stanza_id(error), "full");
    h_assert_xml(error, "<message type='error' _='more'><error type='wait' _='more'/></message>");
    fault = 0;
    store_faults = NULL;
    h_advance(h, 60000);
    expect_kept(h, 2);
    say(alice, "bob@localhost", 2, 3);
    h_expect_nothing(alice);
    expect_kept(h, 3);
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 3);
    (void)bob;
    expect_kept(h, 0);
    h_stop(&h);
}

/* On a full disk only pure deletions go through, and nothing is delivered twice for that. */
static unsigned faults_left;
static int fail_some(uint64_t n)
{
    (void)n;
    return faults_left > 0 && faults_left-- > 0 ? ENOSPC : 0;
}

static void a_full_disk_during_redelivery(void **state)
{
    static const struct store_faults faults = { .commit = fail_some };

    (void)state;
    for (unsigned n = 1; n < 6; n++) {
        struct h *h = start(NULL);
        struct hs *alice = h_online(h, "alice@localhost/a");
        say(alice, "bob@localhost", 0, 120);
        faults_left = n;
        store_faults = &faults;
        struct hs *bob = fetch(h, "bob@localhost/b", 0, 120);
        h_advance(h, 120000);
        store_faults = NULL;
        h_disconnect(&bob, true);
        expect_kept(h, 0);
        bob = fetch(h, "bob@localhost/b", 0, 0);
        h_stop(&h);
    }
}

/* What earlier versions have stored, to the byte: version, time, text. */
static void a_row_of_an_earlier_version(void **state)
{
    static const struct gr_coll messages = GR_LOG("offline.messages");
    static const char row[] = "\1" "\0\0\0\0\0\x1e\x84\x80" /* 2 s after 1970 */
                              "<message xmlns='jabber:client' from='a@b' to='bob@localhost'>"
                              "<body>x</body></message>";
    struct h *h = start(NULL);
    struct gr_txn *t = gr_txn_new(h_mod(h, "offline", "bob@localhost"));

    (void)state;
    gr_txn_append(t, &messages, "bob@localhost", row, sizeof(row) - 1);
    gr_txn_commit(t, NULL);
    h_run(h);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    drop_presence(bob);
    const struct gr_stanza *st = h_expect_body(bob, "a@b", "x");
    const struct gr_el *delay = gr_stanza_child(st, GR_NS_DELAY, "delay");
    assert_string_equal(gr_el_attr(delay, "stamp"), "1970-01-01T00:00:02.000Z");
    h_stop(&h);
}

static void damaged_rows(void **state)
{
    static const struct gr_coll messages = GR_LOG("offline.messages");
    static const char *const rows[] = { "", "\1", "\1" "12345678", "\1" "12345678<message",
                                        "\1" "12345678<message/>", "\2" "12345678<message "
                                        "from='a@b'/>", "\1" "12345678<presence from='a@b'/>" };
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    struct gr_mod *self = h_mod(h, "offline", "bob@localhost");
    for (size_t i = 0; i < GR_COUNT(rows); i++) {
        struct gr_txn *t = gr_txn_new(self);
        gr_txn_append(t, &messages, "bob@localhost", rows[i], strlen(rows[i]));
        gr_txn_commit(t, NULL);
    }
    h_run(h);
    say(alice, "bob@localhost", 0, 2);
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 2);
    assert_non_null(strstr(h_log(h), "offline.damaged"));
    h_disconnect(&bob, true);
    expect_kept(h, 0);
    h_stop(&h);
}

/* --- vanishing recipients --- */

/* Between "send them" and the delivery: they come back to offline_message. */
static void nobody_there_any_more(void **state)
{
    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        struct h *h = start(NULL);
        struct hs *alice = h_online(h, "alice@localhost/a");
        say(alice, "bob@localhost", 0, 80);
        way.hold = true;
        way.copy = copy != 0;
        struct hs *bob = h_login(h, "bob@localhost/b");
        h_send(bob, "<presence/>");
        assert_true(way.holds > 0);
        h_disconnect(&bob, false);
        while (way.holds > 0)
            let_one_go(h, "bob@localhost");
        expect_kept(h, 80);
        assert_int_equal(way.offline, 0);
        way.hold = way.copy = false;
        h_expect_nothing(alice);
        if (copy)
            h_restart(h);
        bob = fetch(h, "bob@localhost/b", 0, 80);
        expect_kept(h, 0);
        h_stop(&h);
    }
}

static void going_unavailable_on_the_way(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    way.hold = true;
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_send(bob, "<presence><priority>-1</priority></presence>");
    while (way.holds > 0)
        let_one_go(h, "bob@localhost");
    expect_kept(h, 120);
    way.hold = false;
    drop_presence(bob);
    h_expect_nothing(bob);
    h_send(bob, "<presence/>");
    drop_presence(bob);
    expect_numbers(bob, 0, 120);
    h_expect_nothing(bob);
    expect_kept(h, 0);
    h_stop(&h);
}

/* The client reads slowly and its connection breaks: what it may not have seen stays. */
static void a_connection_that_breaks(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 130);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    expect_kept(h, 130);
    h_disconnect(&bob, false);
    expect_kept(h, 130);
    bob = fetch(h, "bob@localhost/b", 0, 130);
    expect_kept(h, 0);
    h_stop(&h);
}

/* The server goes while they are on their way. */
static void a_restart_during_redelivery(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 130);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    h_restart(h);
    expect_kept(h, 130);
    bob = fetch(h, "bob@localhost/b", 0, 130);
    expect_kept(h, 0);
    h_stop(&h);
}

/* Written rows go, the others stay. */
static void a_connection_that_breaks_half_way(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 130);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    h_flow(bob);
    h_stall(bob);
    drop_presence(bob);
    unsigned got = h_count(bob);
    h_disconnect(&bob, false);
    assert_true(got > 0);
    bob = fetch(h, "bob@localhost/b", (int)got, 130);
    expect_kept(h, 0);
    h_stop(&h);
}

/* Nobody tells that another resource is there already: tried again after a pause. */
static void another_resource_gets_what_one_lost(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 3);
    struct hs *one = h_login(h, "bob@localhost/1"), *two;
    h_send(one, "<presence><priority>-1</priority></presence>");
    h_stall(one);
    h_send(one, "<presence><priority>5</priority></presence>");
    two = h_online(h, "bob@localhost/2");
    h_expect_nothing(two); /* they are on their way to the other one */
    h_disconnect(&one, false);
    drop_presence(two);
    h_advance(h, 1500);
    expect_numbers(two, 0, 3);
    h_expect_nothing(two);
    expect_kept(h, 0);
    h_stop(&h);
}

/* The same when the other one was there all the time, so that nobody asks for anything again. */
static void a_present_resource_gets_what_one_lost(void **state)
{
    static const struct gr_coll messages = GR_LOG("offline.messages");
    static const char row[] = "\1" "12345678<message from='alice@localhost/a' to='bob@localhost'>"
                              "<body>0</body></message>";
    struct h *h = start(NULL);

    (void)state;
    struct hs *one = h_login(h, "bob@localhost/1"), *two = h_online(h, "bob@localhost/2");
    h_send(one, "<presence><priority>-1</priority></presence>");
    struct gr_mod *self = h_mod(h, "offline", "bob@localhost");
    struct gr_txn *t = gr_txn_new(self);
    gr_txn_append(t, &messages, "bob@localhost", row, sizeof(row) - 1);
    gr_txn_commit(t, NULL);
    h_run(h);
    h_stall(one);
    h_send(one, "<presence><priority>5</priority></presence>");
    h_disconnect(&one, false);
    drop_presence(two);
    h_expect_nothing(two);
    h_advance(h, 1500);
    expect_numbers(two, 0, 1);
    h_advance(h, 3600 * 1000);
    drop_presence(two);
    h_expect_nothing(two);
    expect_kept(h, 0);
    h_stop(&h);
}

/* A broken connection that nobody has noticed does not make the server try without end. */
static void a_dead_connection_is_not_tried_all_the_time(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 3);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_break(bob);
    h_feed(bob, "<presence/>");
    h_run(h);
    h_advance(h, 3600 * 1000);
    expect_kept(h, 3);
    h_disconnect(&bob, false);
    bob = fetch(h, "bob@localhost/b", 0, 3);
    expect_kept(h, 0);
    h_advance(h, 3600 * 1000);
    h_expect_nothing(bob);
    h_stop(&h);
}

/* --- a reload in the middle --- */

/* The old instance's messages are on their way: the new one must not send them again, and what
 * comes back is kept by it. */
static void a_reload_during_redelivery(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct h *h = start(NULL);
        struct hs *alice = h_online(h, "alice@localhost/a");
        say(alice, "bob@localhost", 0, 120);
        struct hs *bob = h_login(h, "bob@localhost/b"), *two;
        h_stall(bob);
        h_send(bob, "<presence/>");
        assert_int_equal(h_reload(h, CONFIG "limit = 500\n", NULL), 0);
        two = h_login(h, "bob@localhost/2");
        h_send(two, "<presence><priority>-1</priority></presence>");
        h_send(bob, "<presence><priority>-1</priority></presence>");
        h_send(bob, "<presence><priority>7</priority></presence>"); /* asks for them again */
        if (!lost) {
            h_flow(bob);
            drop_presence(bob);
            expect_numbers(bob, 0, 120);
        } else {
            h_disconnect(&bob, false);
            h_advance(h, 600 * 1000);
            drop_presence(two);
            h_expect_nothing(two);
            h_send(two, "<presence/>");
            drop_presence(two);
            expect_numbers(two, 0, 120);
        }
        h_advance(h, 600 * 1000);
        drop_presence(two);
        h_expect_nothing(two);
        assert_int_equal(count(h, "bob@localhost").rows, 0);
        h_stop(&h);
    }
}

/* --- each of them once --- */

static void two_resources_at_once(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    struct hs *one = h_login(h, "bob@localhost/1"), *two = h_login(h, "bob@localhost/2");
    h_feed(one, "<presence><priority>1</priority></presence>");
    h_feed(two, "<presence/>");
    h_run(h);
    unsigned messages = 0;
    for (int i = 0; i < 2; i++) {
        struct gr_stanza *st;
        while ((st = h_next(i == 0 ? one : two)) != NULL)
            messages += gr_stanza_kind(st) == GR_MESSAGE;
    }
    assert_int_equal(messages, 120);
    expect_kept(h, 0);
    h_stop(&h);
}

static void toggling_priority(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    way.hold = true;
    struct hs *bob = h_login(h, "bob@localhost/b");
    for (int i = 0; i < 5; i++) {
        h_feed(bob, "<presence/>");
        h_feed(bob, "<presence><priority>-1</priority></presence>");
    }
    h_send(bob, "<presence/>");
    way.hold = false;
    while (way.holds > 0)
        let_one_go(h, "bob@localhost");
    drop_presence(bob);
    expect_numbers(bob, 0, 120);
    drop_presence(bob);
    h_expect_nothing(bob);
    expect_kept(h, 0);
    h_stop(&h);
}

/* While the deletions are not on disk yet. */
static void coming_again_before_the_rows_are_gone(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 20);
    h_hold_store(h, true);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_send(bob, "<presence type='unavailable'/>");
    h_send(bob, "<presence/>");
    struct hs *two = h_login(h, "bob@localhost/2");
    h_send(two, "<presence/>");
    for (int i = 0; i < 10; i++) {
        h_commit(h);
        h_run(h);
    }
    h_hold_store(h, false);
    drop_presence(bob);
    expect_numbers(bob, 0, 20);
    drop_presence(bob);
    h_expect_nothing(bob);
    drop_presence(two);
    h_expect_nothing(two);
    expect_kept(h, 0);
    h_stop(&h);
}

/* Same sender, no id, same millisecond: told apart all the same. */
static void messages_that_look_alike(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (int i = 0; i < 5; i++)
        h_sendf(alice, "<message to='bob@localhost'><body>%d</body></message>", i);
    way.copy = true;
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 5);
    expect_kept(h, 0);
    h_disconnect(&bob, true);
    way.copy = false;
    for (int i = 0; i < 5; i++)
        h_sendf(alice, "<message to='bob@localhost'><body>%d</body></message>", i);
    way.copy = way.hold = true;
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_disconnect(&bob, true);
    while (way.holds > 0)
        let_one_go(h, "bob@localhost");
    expect_kept(h, 5);
    way.hold = false;
    bob = fetch(h, "bob@localhost/b", 0, 5);
    expect_kept(h, 0);
    h_stop(&h);
}

/* What comes while the stored ones are on their way goes straight through; nothing is lost. */
static void a_message_during_redelivery(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 120);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_feed(bob, "<presence/>");
    h_feed(alice, "<message to='bob@localhost'><body>live</body></message>");
    h_run(h);
    unsigned n = 0, live = 0;
    for (struct gr_stanza *st; (st = h_next(bob)) != NULL;) {
        if (gr_stanza_kind(st) != GR_MESSAGE)
            continue;
        const char *body = gr_el_text(gr_stanza_child(st, NULL, "body"), NULL);
        if (strcmp(body, "live") == 0)
            live++;
        else
            assert_int_equal(atoi(body), n++);
    }
    assert_int_equal(n, 120);
    assert_int_equal(live, 1);
    expect_kept(h, 0);
    h_stop(&h);
}

/* --- the account goes --- */

static void removed_with_the_account(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 4);
    expect_kept(h, 4);
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    expect_kept(h, 0);
    h_user(h, "bob@localhost");
    struct hs *bob = fetch(h, "bob@localhost/b", 0, 0);
    h_disconnect(&bob, true);
    say(alice, "bob@localhost", 0, 2);
    expect_kept(h, 2);
    /* In the middle of a redelivery. */
    bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    h_run(h);
    expect_kept(h, 0);
    h_stop(&h);
}

/* --- discovery, export --- */

static struct gr_stanza *disco(struct h *h, enum gr_hook_id id, bool subscribed)
{
    struct gr_mod *self = h_mod(h, "offline", "bob@localhost");
    struct gr_stanza *st = gr_iq_new(GR_RESULT, NULL, NULL, "d");
    struct gr_disco_ev ev = { .node = "", .result = st, .subscribed = subscribed,
                              .from = h_parse_jid(h, "alice@localhost"),
                              .to = h_parse_jid(h, "bob@localhost") };

    gr_el_add(st, NULL, "http://jabber.org/protocol/disco#info", "query");
    gr_hook_run(self, id, &ev.ev, NULL);
    return st;
}

static void is_discoverable(void **state)
{
    static const char with[] = "<iq type='result' id='d'><query xmlns='http://jabber.org/protocol/"
                               "disco#info'><feature var='msgoffline'/></query></iq>";
    static const char without[] = "<iq type='result' id='d'><query "
                                  "xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    struct h *h = start(NULL);
    struct gr_stanza *st;

    (void)state;
    st = disco(h, GR_HOOK_disco_local_features, false);
    h_assert_xml(st, with);
    gr_stanza_unref(&st);
    st = disco(h, GR_HOOK_disco_sm_features, true);
    h_assert_xml(st, with);
    gr_stanza_unref(&st);
    st = disco(h, GR_HOOK_disco_sm_features, false);
    h_assert_xml(st, without);
    gr_stanza_unref(&st);
    h_stop(&h);
}

static void is_exported(void **state)
{
    struct h *h = start(NULL);

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 150);
    struct gr_mod *self = h_mod(h, "offline", "bob@localhost");
    struct gr_stanza *st = gr_nonza_new("urn:xmpp:pie:0", "user");
    struct gr_export_ev ev = { .user = h_parse_jid(h, "bob@localhost"), .data = st };
    gr_hook_run(self, GR_HOOK_get_personal_data, &ev.ev, NULL);
    h_run(h);
    struct gr_el *list = gr_stanza_child(st, "urn:xmpp:pie:0", "offline-messages");
    assert_non_null(list);
    unsigned n = 0;
    for (struct gr_el *el = gr_el_child(list, GR_NS_CLIENT, "message"); el != NULL;
         el = gr_el_next(el, NULL, NULL)) {
        assert_int_equal(atoi(gr_el_text(gr_el_child(el, NULL, "body"), NULL)), n++);
        assert_non_null(gr_el_child(el, GR_NS_DELAY, "delay"));
    }
    assert_int_equal(n, 150);
    gr_stanza_unref(&st);
    h_stop(&h);
}

/* --- mod_offline_stub --- */

static void not_with_the_stub(void **state)
{
    char *errors;

    (void)state;
    assert_null(h_start_try("[host localhost]\n[mod_offline]\n[mod_offline_stub]\n", &errors));
    assert_non_null(strstr(errors, "mod_offline and mod_offline_stub cannot both be enabled"));
    gr_free(errors);
}

static void the_stub_says_nothing(void **state)
{
    struct h *h = start("[host localhost]\n[mod_presence]\n[mod_offline_stub]\n");

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 1);
    h_expect_nothing(alice);
    assert_int_equal(way.offline, 0);
    h_send(alice, "<message to='bob@localhost' type='groupchat'><body>x</body></message>");
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_stop(&h);
}

static void without_both_it_is_an_error(void **state)
{
    struct h *h = start("[host localhost]\n[mod_presence]\n");

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    say(alice, "bob@localhost", 0, 1);
    h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    assert_int_equal(way.offline, 1);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_message_waits_for_its_recipient),
        cmocka_unit_test(what_is_kept),
        cmocka_unit_test(groupchat_is_kept_only_when_asked_for),
        cmocka_unit_test(nobody_there_is_an_error),
        cmocka_unit_test(a_message_to_oneself),
        cmocka_unit_test(delays),
        cmocka_unit_test(order_over_many_pages),
        cmocka_unit_test(kept_over_a_restart),
        cmocka_unit_test(nothing_is_acknowledged_before_it_is_on_disk),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(the_limit_is_exact_under_load),
        cmocka_unit_test(the_size_limit_is_exact),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(a_full_disk_during_redelivery),
        cmocka_unit_test(a_row_of_an_earlier_version),
        cmocka_unit_test(damaged_rows),
        cmocka_unit_test(nobody_there_any_more),
        cmocka_unit_test(going_unavailable_on_the_way),
        cmocka_unit_test(a_connection_that_breaks),
        cmocka_unit_test(a_restart_during_redelivery),
        cmocka_unit_test(a_connection_that_breaks_half_way),
        cmocka_unit_test(another_resource_gets_what_one_lost),
        cmocka_unit_test(a_present_resource_gets_what_one_lost),
        cmocka_unit_test(a_dead_connection_is_not_tried_all_the_time),
        cmocka_unit_test(a_reload_during_redelivery),
        cmocka_unit_test(two_resources_at_once),
        cmocka_unit_test(toggling_priority),
        cmocka_unit_test(coming_again_before_the_rows_are_gone),
        cmocka_unit_test(messages_that_look_alike),
        cmocka_unit_test(a_message_during_redelivery),
        cmocka_unit_test(removed_with_the_account),
        cmocka_unit_test(is_discoverable),
        cmocka_unit_test(is_exported),
        cmocka_unit_test(not_with_the_stub), cmocka_unit_test(the_stub_says_nothing),
        cmocka_unit_test(without_both_it_is_an_error),
    };

    return H_RUN("offline", cases);
}
