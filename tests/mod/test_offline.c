/* tests/mod/test_offline.c: mod_offline and mod_offline_stub against XEP-0160, XEP-0203,
 * XEP-0334, hooks.md 4.6 and 6.2 to 6.5. Whatever happens on the way, a message is delivered,
 * kept or answered with an error. Sending what was kept: test_offline_drain.c. */
#include "offline_world.h"

#include "store/engine.h"

#include <errno.h>

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

/* What follows a message that takes back another stays behind it, while that one is looked for. */
static void order_behind_what_takes_back(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob;

    (void)state;
    h_hold_store(h, true);
    h_send(alice, "<message to='bob@localhost' id='1' type='chat'><body>1</body></message>");
    h_send(alice, "<message to='bob@localhost' id='2' type='chat'>"
                  "<retract xmlns='urn:xmpp:message-retract:1' id='1'/></message>");
    h_send(alice, "<message to='bob@localhost' id='3' type='chat'><body>3</body></message>");
    h_hold_store(h, false);
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    drop_presence(bob);
    h_expect_xml(bob, "<message id='2' _='any'/>");
    h_expect_xml(bob, "<message id='3' _='any'/>");
    h_expect_nothing(bob);
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
        cmocka_unit_test(order_behind_what_takes_back),
        cmocka_unit_test(kept_over_a_restart),
        cmocka_unit_test(nothing_is_acknowledged_before_it_is_on_disk),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(the_limit_is_exact_under_load),
        cmocka_unit_test(the_size_limit_is_exact),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(a_full_disk_during_redelivery),
        cmocka_unit_test(a_row_of_an_earlier_version),
        cmocka_unit_test(damaged_rows),
        cmocka_unit_test(removed_with_the_account),
        cmocka_unit_test(is_discoverable),
        cmocka_unit_test(is_exported),
        cmocka_unit_test(not_with_the_stub), cmocka_unit_test(the_stub_says_nothing),
        cmocka_unit_test(without_both_it_is_an_error),
    };

    return H_RUN("offline", cases);
}
