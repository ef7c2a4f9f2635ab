/* tests/mod/test_smart_markers.c: mod_smart_markers: which markers are kept, who is told of them, and
 * that they go with their sender and their room. */
#include "harness.h"

#include <stdio.h>

#define NS "esl:xmpp:smart-markers:0"
#define CONFIG "[host localhost]\n[mod_presence]\n[mod_smart_markers]\n"
#define MARK(type, id) "<" type " xmlns='urn:xmpp:chat-markers:0' id='" id "'/>"

/* --- rooms: what a room module would answer --- */

static enum gr_verdict on_access(struct gr_mod *self, struct gr_room_ev *ev)
{
    (void)self;
    ev->yes = strcmp(ev->room->bare, "room@muc.localhost") == 0 &&
              strcmp(ev->user->bare, "carol@localhost") != 0;
    return GR_OK;
}

static const struct gr_hook room_hooks[] = { GR_ON(can_access_room, 50, on_access), GR_HOOK_END };
static const struct gr_module room_module = { .name = "room", .summary = "test",
                                              .hooks = room_hooks };

static struct h *start(const char *ini)
{
    h_module(&room_module);
    struct h *h = h_start(ini != NULL ? ini : CONFIG);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
    return h;
}

static void expect_markers(struct hs *s, const char *peer, const char *more, const char *markers)
{
    char query[300], result[2000];

    snprintf(query, sizeof(query), "<query xmlns='" NS "' peer='%s' %s/>", peer, more);
    snprintf(result, sizeof(result), "<query xmlns='" NS "' peer='%s'>%s</query>", peer, markers);
    h_iq_result(s, "get", NULL, query, result);
}

static unsigned counted;

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    counted = (unsigned)rows->count;
}

static unsigned rows_of(struct h *h, const char *owner)
{
    static const struct gr_coll coll = GR_MAP("smart_markers");

    gr_store_count(gr_req_new(h_mod(h, "smart_markers", "alice@localhost"), 1, on_count), &coll,
                   owner);
    h_run(h);
    return counted;
}

#define ALICE(type, id) \
    "<marker from='alice@localhost' type='" type "' id='" id "' timestamp='*'/>"
#define BOB(type, id) "<marker from='bob@localhost' type='" type "' id='" id "' timestamp='*'/>"

/* --- a chat --- */

static void both_see_the_latest_markers(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    expect_markers(alice, "bob@localhost", "", "");
    h_send(alice, "<message to='bob@localhost/b' type='chat'>" MARK("received", "1") "</message>");
    h_send(alice, "<message to='bob@localhost' type='chat'>" MARK("displayed", "1") "</message>");
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "2") "</message>");
    assert_int_equal(h_count(bob), 3);
    h_drop_all(bob);
    h_send(bob, "<message to='alice@localhost'>" MARK("displayed", "3") "</message>");
    h_drop_all(alice);
    expect_markers(alice, "bob@localhost", "",
                   ALICE("received", "1") ALICE("displayed", "2") BOB("displayed", "3"));
    expect_markers(bob, "alice@localhost", "",
                   BOB("displayed", "3") ALICE("received", "1") ALICE("displayed", "2"));
    expect_markers(alice, "carol@localhost", "", "");
    assert_int_equal(rows_of(h, "alice@localhost"), 2);
    h_stop(&h);
}

static void threads_and_times(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost'><thread>t</thread>" MARK("displayed", "1")
                  "</message>");
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "2") "</message>");
    expect_markers(alice, "bob@localhost", "", ALICE("displayed", "2"));
    expect_markers(alice, "bob@localhost", "thread='t'",
                   "<marker from='alice@localhost' type='displayed' id='1' timestamp='*' "
                   "thread='t'/>");
    expect_markers(alice, "bob@localhost", "after='2001-01-01T00:00:00Z'",
                   ALICE("displayed", "2"));
    expect_markers(alice, "bob@localhost", "after='2999-01-01T00:00:00Z'", "");
    h_stop(&h);
}

static void what_is_not_kept(void **state)
{
    static const char *const messages[] = {
        "<message to='bob@localhost' type='error'>" MARK("displayed", "1") "</message>",
        "<message to='bob@localhost'><displayed xmlns='urn:xmpp:chat-markers:0'/></message>",
        "<message to='bob@localhost'><markable xmlns='urn:xmpp:chat-markers:0'/></message>",
        "<message to='bob@localhost'><displayed xmlns='urn:x' id='1'/></message>",
        "<message to='localhost'>" MARK("displayed", "1") "</message>",
    };
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    for (size_t i = 0; i < GR_COUNT(messages); i++)
        h_send(alice, messages[i]);
    assert_int_equal(rows_of(h, "alice@localhost"), 0);
    char longid[300];
    memset(longid, 'x', sizeof(longid) - 1);
    longid[sizeof(longid) - 1] = '\0';
    h_sendf(alice, "<message to='bob@localhost'><displayed xmlns='urn:xmpp:chat-markers:0' "
                   "id='%s'/></message>", longid);
    assert_int_equal(rows_of(h, "alice@localhost"), 0);
    assert_int_equal(h_unhandled(alice), 0);
    h_stop(&h);
}

static void bad_questions(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_iq_error(alice, "get", NULL, "<query xmlns='" NS "'/>", GR_BAD_REQUEST);
    h_iq_error(alice, "get", NULL, "<query xmlns='" NS "' peer='a@b@c'/>", GR_BAD_REQUEST);
    h_iq_error(alice, "get", NULL, "<query xmlns='" NS "' peer='bob@localhost/x'/>",
               GR_BAD_REQUEST);
    h_iq_error(alice, "get", NULL, "<query xmlns='" NS "' peer='bob@localhost' after='x'/>",
               GR_BAD_REQUEST);
    h_iq_error(alice, "set", NULL, "<query xmlns='" NS "' peer='bob@localhost'/>",
               GR_NOT_ALLOWED);
    h_iq_error(alice, "get", "bob@localhost", "<query xmlns='" NS "' peer='carol@localhost'/>",
               GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static void a_marker_is_acknowledged_when_it_is_on_disk(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_hold_store(h, true);
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    h_expect(bob, GR_MESSAGE, GR_MSG_NORMAL, "alice@localhost/a"); /* not kept waiting */
    assert_int_equal(h_unhandled(alice), 1);
    h_commit(h);
    h_run(h);
    assert_int_equal(h_unhandled(alice), 0);
    h_hold_store(h, false);
    h_stop(&h);
}

static void the_oldest_leave(void **state)
{
    struct h *h = start(CONFIG "limit = 16\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    for (int i = 1; i <= 16; i++) {
        h_advance(h, 10);
        h_sendf(alice, "<message to='u%d@localhost'>" MARK("displayed", "1") "</message>", i);
    }
    assert_int_equal(rows_of(h, "alice@localhost"), 16);
    for (int i = 0; i < 40; i++) /* the same one again: no more of them */
        h_send(alice, "<message to='u16@localhost'>" MARK("displayed", "2") "</message>");
    assert_int_equal(rows_of(h, "alice@localhost"), 16);
    h_advance(h, 10);
    h_send(alice, "<message to='u17@localhost'>" MARK("displayed", "1") "</message>");
    assert_int_equal(rows_of(h, "alice@localhost"), 14);
    expect_markers(alice, "u3@localhost", "", "");
    expect_markers(alice, "u4@localhost", "", ALICE("displayed", "1"));
    expect_markers(alice, "u17@localhost", "", ALICE("displayed", "1"));
    for (int i = 18; i < 100; i++) {
        h_advance(h, 10);
        h_sendf(alice, "<message to='u%d@localhost'>" MARK("displayed", "1") "</message>", i);
        assert_true(rows_of(h, "alice@localhost") <= 16);
    }
    h_stop(&h);
}

/* --- keep_private --- */

static void private_markers_stay_with_their_sender(void **state)
{
    struct h *h = start(CONFIG "keep_private = yes\n");
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *tablet = h_online(h, "alice@localhost/t");

    (void)state;
    h_drop_all(alice);
    h_send(alice, "<message to='bob@localhost' type='chat'>" MARK("displayed", "1") "</message>");
    h_expect_nothing(bob);
    h_expect_nothing(alice);
    h_expect_xml(tablet, "<message from='alice@localhost' to='alice@localhost/t' type='headline'>"
                         "<query xmlns='" NS "' peer='bob@localhost'>" ALICE("displayed", "1")
                         "</query></message>");
    h_expect_nothing(tablet);
    h_send(alice, "<message to='bob@localhost'><body>x</body>" MARK("displayed", "2")
                  "</message>");
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost'><body>x</body>"
                      "</message>");
    h_send(alice, "<message to='bob@localhost'><encrypted xmlns='urn:xmpp:omemo:2'/>"
                  MARK("displayed", "2") "</message>"); /* says something as well */
    h_expect_xml(bob, "<message from='alice@localhost/a' to='bob@localhost'><encrypted "
                      "xmlns='urn:xmpp:omemo:2'/></message>");
    h_send(alice, "<message to='x@elsewhere.example'>" MARK("displayed", "3") "</message>");
    h_expect_nothing(alice); /* no answer of that server: it was not asked */
    expect_markers(alice, "bob@localhost", "", ALICE("displayed", "2"));
    expect_markers(bob, "alice@localhost", "", "");
    assert_int_equal(h_unhandled(alice), 0);
    h_stop(&h);
}

/* --- rooms --- */

#define ROOM "room@muc.localhost"

static void run_room_hook(struct h *h, enum gr_hook_id id, struct gr_room_ev *ev)
{
    gr_hook_run(h_mod(h, "smart_markers", "localhost"), id, &ev->ev, NULL);
    h_run(h);
}

static void rooms(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    struct hs *carol = h_online(h, "carol@localhost/c");

    (void)state;
    h_send(alice, "<message to='" ROOM "' type='groupchat'>" MARK("displayed", "1") "</message>");
    h_send(bob, "<message to='" ROOM "' type='groupchat'>" MARK("displayed", "2") "</message>");
    h_drop_all(alice);
    h_drop_all(bob);
    expect_markers(alice, ROOM, "", ALICE("displayed", "1") BOB("displayed", "2"));
    expect_markers(carol, ROOM, "", "");
    h_send(carol, "<message to='" ROOM "' type='groupchat'>" MARK("displayed", "3") "</message>");
    h_drop_all(carol);
    expect_markers(carol, ROOM, "", "<marker from='carol@localhost' type='displayed' id='3' "
                                    "timestamp='*'/>");
    struct gr_affiliate out = { h_parse_jid(h, "bob@localhost"), GR_AFF_NONE };
    struct gr_room_ev ev = { .room = h_parse_jid(h, ROOM), .affiliates = &out,
                             .affiliate_count = 1 };
    run_room_hook(h, GR_HOOK_room_new_affiliations, &ev);
    assert_int_equal(rows_of(h, ROOM), 2);
    assert_int_equal(h_user_delete(h, "carol@localhost"), GR_R_OK);
    assert_int_equal(rows_of(h, "carol@localhost"), 0);
    expect_markers(alice, ROOM, "", ALICE("displayed", "1"));
    run_room_hook(h, GR_HOOK_forget_room, &ev);
    assert_int_equal(rows_of(h, ROOM), 0);
    h_stop(&h);
}

/* A user is no room: nobody writes down there what bob has read. */
static void nobody_marks_for_others(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_send(bob, "<message to='alice@localhost'>" MARK("displayed", "1") "</message>");
    h_send(alice, "<message to='bob@localhost' type='groupchat'>" MARK("displayed", "9") "</message>");
    h_send(alice, "<message to='bob@localhost' type='groupchat'><thread>t</thread>"
                  MARK("displayed", "9") "</message>");
    h_drop_all(bob);
    assert_int_equal(rows_of(h, "bob@localhost"), 1);
    expect_markers(bob, "alice@localhost", "", BOB("displayed", "1") ALICE("displayed", "9"));
    h_stop(&h);
}

/* --- the account goes --- */

static void markers_go_with_the_account(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    for (int i = 0; i < 300; i++)
        h_sendf(alice, "<message to='bob@localhost'><thread>%d</thread>" MARK("displayed", "1")
                       "</message>", i);
    h_drop_all(bob);
    expect_markers(bob, "alice@localhost", "thread='7'",
                   "<marker from='alice@localhost' type='displayed' id='1' timestamp='*' "
                   "thread='7'/>");
    assert_int_equal(rows_of(h, "alice@localhost"), 300);
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    assert_int_equal(rows_of(h, "alice@localhost"), 0);
    expect_markers(bob, "alice@localhost", "thread='7'", "");
    h_stop(&h);
}

static void they_outlive_a_restart(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    h_restart(h);
    struct hs *bob = h_online(h, "bob@localhost/b");
    expect_markers(bob, "alice@localhost", "", ALICE("displayed", "1"));
    h_stop(&h);
}

struct exported {
    struct gr_export_ev ev;
    enum gr_verdict verdict;
};

static void on_exported(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self;
    GR_CONTAINER_OF(ev, struct exported, ev.ev)->verdict = verdict;
}

static void an_account_can_be_exported(void **state)
{
    struct h *h = start(NULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    struct exported x = { .verdict = GR_PENDING };

    (void)state;
    h_send(alice, "<message to='bob@localhost'>" MARK("displayed", "1") "</message>");
    struct gr_mod *self = h_mod(h, "smart_markers", "alice@localhost");
    x.ev.user = h_parse_jid(h, "alice@localhost");
    x.ev.data = gr_nonza_new("urn:x", "data");
    gr_hook_run(self, GR_HOOK_get_personal_data, &x.ev.ev, on_exported);
    h_run(h);
    assert_int_equal(x.verdict, GR_OK);
    h_assert_xml(x.ev.data, "<data xmlns='urn:x'><markers xmlns='" NS "'><marker "
                            "from='alice@localhost' peer='bob@localhost' type='displayed' id='1' "
                            "timestamp='*'/></markers></data>");
    gr_stanza_unref(&x.ev.data);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(both_see_the_latest_markers),
        cmocka_unit_test(threads_and_times),
        cmocka_unit_test(what_is_not_kept),
        cmocka_unit_test(bad_questions),
        cmocka_unit_test(a_marker_is_acknowledged_when_it_is_on_disk),
        cmocka_unit_test(the_oldest_leave),
        cmocka_unit_test(private_markers_stay_with_their_sender),
        cmocka_unit_test(rooms),
        cmocka_unit_test(nobody_marks_for_others),
        cmocka_unit_test(markers_go_with_the_account),
        cmocka_unit_test(they_outlive_a_restart),
        cmocka_unit_test(an_account_can_be_exported),
    };

    return H_RUN("smart_markers", cases);
}
