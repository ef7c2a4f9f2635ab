/* tests/mod/test_offline_chatmarkers.c: of the markers for somebody who is away the latest of each kind
 * is kept, outside of the queue of messages; it is delivered once. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>

#define CONFIG "[host localhost]\n[mod_presence]\n[mod_offline]\n[mod_smart_markers]\n" \
               "[mod_offline_chatmarkers]\n"
#define MARK(type, id) "<" type " xmlns='urn:xmpp:chat-markers:0' id='" id "'/>"
#define DELAY "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/>"

static struct h *start(const char *ini)
{
    struct h *h = h_start(ini != NULL ? ini : CONFIG);

    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static unsigned counted;

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    counted = (unsigned)rows->count;
}

static unsigned count(struct h *h, const char *module, struct gr_coll coll)
{
    static struct gr_coll kept;

    kept = coll;
    gr_store_count(gr_req_new(h_mod(h, module, "bob@localhost"), 1, on_count), &kept,
                   "bob@localhost");
    h_run(h);
    return counted;
}

static unsigned markers(struct h *h)
{
    return count(h, "offline_chatmarkers", (struct gr_coll)GR_MAP("offline_chatmarkers"));
}

static unsigned messages(struct h *h)
{
    return count(h, "offline", (struct gr_coll)GR_LOG("offline.messages"));
}

static struct hs *come(struct h *h, const char *full)
{
    struct hs *s = h_login(h, full);
    struct gr_stanza *st;

    h_send(s, "<presence/>");
    while ((st = h_peek(s)) != NULL && gr_stanza_kind(st) == GR_PRESENCE)
        h_next(s);
    return s;
}

static void the_latest_of_each_kind_is_kept(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    for (int i = 0; i < 10; i++)
        h_sendf(alice, "<message to='bob@localhost' type='chat'><displayed "
                       "xmlns='urn:xmpp:chat-markers:0' id='d%d'/></message>", i);
    h_send(alice, "<message to='bob@localhost'>" MARK("received", "r") "</message>");
    h_send(alice, "<message to='bob@localhost'><thread>t</thread>" MARK("displayed", "t")
                  "</message>");
    h_send(alice, "<message to='bob@localhost'><body>hi</body>" MARK("displayed", "b")
                  "</message>");
    h_expect_nothing(alice);
    assert_int_equal(markers(h), 3);
    assert_int_equal(messages(h), 1);
    struct hs *bob = come(h, "bob@localhost/b");
    assert_int_equal(h_count(bob), 4);
    h_expect_body(bob, "alice@localhost/a", "hi"); /* first what mod_offline has */
    h_expect_among(bob, "<message from='alice@localhost/a' to='bob@localhost' type='chat'>"
                        MARK("displayed", "d9") DELAY "</message>");
    h_expect_among(bob, "<message from='alice@localhost/a' to='bob@localhost'>"
                        MARK("received", "r") DELAY "</message>");
    h_expect_among(bob, "<message from='alice@localhost/a' to='bob@localhost'>"
                        "<thread>t</thread>" MARK("displayed", "t") DELAY "</message>");
    assert_int_equal(markers(h), 0);
    struct hs *again = come(h, "bob@localhost/again");
    for (struct gr_stanza *st = h_next(again); st != NULL; st = h_next(again))
        assert_int_equal(gr_stanza_kind(st), GR_PRESENCE);
    h_stop(&h);
}

/* What is said beside a marker is not replaced by the next marker. */
static void messages_with_a_marker_are_messages(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost' type='chat'><encrypted xmlns='urn:xmpp:omemo:2'/>"
                  MARK("displayed", "1") "<store xmlns='urn:xmpp:hints'/></message>");
    h_send(alice, "<message to='bob@localhost' type='chat'><received xmlns='urn:xmpp:receipts' "
                  "id='1'/>" MARK("displayed", "1") "</message>");
    assert_int_equal(messages(h), 2);
    h_send(alice, "<message to='bob@localhost' type='chat'>" MARK("displayed", "1")
                  "<active xmlns='http://jabber.org/protocol/chatstates'/>"
                  "<store xmlns='urn:xmpp:hints'/></message>");
    assert_int_equal(messages(h), 2);
    assert_int_equal(markers(h), 1);
    h_stop(&h);
}

static void it_survives_a_restart_and_is_acknowledged_then(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_hold_store(h, true);
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    assert_int_equal(h_unhandled(alice), 1);
    for (int i = 0; i < 3; i++) {
        h_commit(h);
        h_run(h);
    }
    assert_int_equal(h_unhandled(alice), 0);
    h_hold_store(h, false);
    h_restart(h);
    struct hs *bob = come(h, "bob@localhost/b");
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost'>"
                      MARK("displayed", "1") DELAY "</message>");
    assert_int_equal(markers(h), 0);
    h_stop(&h);
}

static void at_the_limit(void **state)
{
    struct h *h = start(CONFIG "limit = 5\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    for (int i = 0; i < 20; i++)
        h_sendf(alice, "<message to='bob@localhost'><thread>%d</thread>" MARK("displayed", "1")
                       "</message>", i);
    h_expect_nothing(alice);
    assert_int_equal(markers(h), 5);
    assert_int_equal(messages(h), 0);
    h_send(alice, "<message to='bob@localhost'><thread>3</thread>" MARK("displayed", "2")
                  "</message>"); /* one that is there is replaced all the same */
    struct hs *bob = come(h, "bob@localhost/b");
    assert_int_equal(h_count(bob), 5);
    h_expect_among(bob, "<message from='*' to='*'><thread>3</thread>" MARK("displayed", "2") DELAY
                        "</message>");
    h_stop(&h);
}

static void a_broken_connection_loses_nothing(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_break(bob);
    h_send(bob, "<presence/>");
    h_disconnect(&bob, false);
    h_run(h);
    assert_int_equal(markers(h), 1);
    bob = come(h, "bob@localhost/c");
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost'>"
                      MARK("displayed", "1") DELAY "</message>");
    assert_int_equal(markers(h), 0);
    h_stop(&h);
}

static void a_reload_in_the_middle(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_stall(bob);
    h_send(bob, "<presence/>");
    h_reload(h, CONFIG "limit = 50\n", NULL);
    h_flow(bob);
    h_run(h);
    assert_int_equal(markers(h), 0);
    h_drop_all(bob);
    h_send(bob, "<presence type='unavailable'/>");
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "2") "</message>");
    assert_int_equal(markers(h), 1);
    h_send(bob, "<presence/>");
    h_expect_among(bob, "<message from='alice@localhost/a' to='bob@localhost'>"
                        MARK("displayed", "2") DELAY "</message>");
    assert_int_equal(markers(h), 0);
    h_stop(&h);
}

static int disk_is_full(uint64_t n)
{
    (void)n;
    return ENOSPC;
}

static void a_full_disk_leaves_it_to_mod_offline(void **state)
{
    static const struct store_faults faults = { .commit = disk_is_full };
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    store_faults = &faults;
    h_send(alice, "<message to='bob@localhost' id='1'>" MARK("displayed", "1") "</message>");
    h_expect_error(alice, GR_MESSAGE, GR_RESOURCE_CONSTRAINT, "bob@localhost");
    store_faults = NULL;
    assert_int_equal(markers(h), 0);
    h_stop(&h);
}

static void groupchat_by_option(void **state)
{
    struct h *h = start(CONFIG "store_groupchat_messages = yes\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost' type='groupchat'>" MARK("displayed", "1")
                  "</message>");
    assert_int_equal(markers(h), 1);
    h_stop(&h);
    h = start(NULL);
    alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<message to='bob@localhost' type='groupchat'>" MARK("displayed", "1")
                  "</message>");
    assert_int_equal(markers(h), 0);
    h_stop(&h);
}

static void markers_go_with_the_account(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    assert_int_equal(markers(h), 1);
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    assert_int_equal(markers(h), 0);
    h_stop(&h);
}

static void it_needs_smart_markers(void **state)
{
    char *errors;

    (void)state;
    assert_null(h_start_try("[host localhost]\n[mod_offline_chatmarkers]\n", &errors));
    assert_non_null(strstr(errors, "smart_markers"));
    gr_free(errors);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_latest_of_each_kind_is_kept),
        cmocka_unit_test(messages_with_a_marker_are_messages),
        cmocka_unit_test(it_survives_a_restart_and_is_acknowledged_then),
        cmocka_unit_test(at_the_limit),
        cmocka_unit_test(a_broken_connection_loses_nothing),
        cmocka_unit_test(a_reload_in_the_middle),
        cmocka_unit_test(a_full_disk_leaves_it_to_mod_offline),
        cmocka_unit_test(groupchat_by_option),
        cmocka_unit_test(markers_go_with_the_account),
        cmocka_unit_test(it_needs_smart_markers),
    };

    return H_RUN("offline_chatmarkers", cases);
}
