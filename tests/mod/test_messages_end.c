/* tests/mod/test_messages_end.c: what becomes of messages where something goes wrong, or comes late: the
 * sender hears of it once, nobody keeps what was refused, and what was taken back is gone everywhere. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

#define BASE "[host localhost]\n[mod_roster]\n[mod_presence]\n"
#define WITH_OFFLINE BASE "[mod_offline]\n"
#define WITH_INBOX WITH_OFFLINE "[mod_inbox]\n"
#define ALL WITH_INBOX "[mod_mam]\n[mod_privacy]\n[mod_blocking]\n[mod_carboncopy]\n"                \
                       "[mod_stream_management]\n"

#define NS_INBOX "erlang-solutions.com:xmpp:inbox:0"
#define NS_RETRACT "urn:xmpp:message-retract:1"
#define MARKERS "urn:xmpp:chat-markers:0"

static const struct gr_coll archive = GR_LOG("mam.messages"), queue = GR_LOG("offline.messages"),
                            entries = GR_MAP("inbox");

static struct h *start(const char *ini)
{
    struct h *h = h_start(ini);

    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

static void say(struct hs *s, const char *to, const char *id)
{
    h_sendf(s, "<message to='%s' id='%s' type='chat'><body>%s</body></message>", to, id, id);
}

static struct gr_stanza *next_message(struct hs *s)
{
    struct gr_stanza *st = h_next(s);

    while (st != NULL && gr_stanza_kind(st) != GR_MESSAGE)
        st = h_next(s);
    return st;
}

/* Errors for that message among all that has come. */
static unsigned errors(struct hs *s, const char *id)
{
    const struct gr_stanza *st;
    unsigned n = 0;

    while ((st = next_message(s)) != NULL)
        n += gr_stanza_type(st) == GR_TYPE_ERROR && strcmp(gr_stanza_id(st), id) == 0;
    return n;
}

static uint64_t counted;

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    assert_int_equal(rows->rc, 0);
    counted = rows->count;
}

static uint64_t rows_of(struct h *h, const char *module, const struct gr_coll *coll,
                        const char *owner)
{
    gr_store_count(gr_req_new(h_mod(h, module, owner), 1, on_count), coll, owner);
    h_run(h);
    return counted;
}

/* Unread messages of the only conversation, -1: there is none. */
static int unread(struct hs *s)
{
    struct gr_stanza *st;
    int n = -1;

    h_drop_all(s);
    h_iq(s, "set", NULL, "<inbox xmlns='" NS_INBOX "'/>");
    while ((st = next_message(s)) != NULL)
        n = atoi(gr_el_attr(gr_stanza_child(st, NS_INBOX, "result"), "unread"));
    return n;
}

/* --- the disk fails --- */

static uint64_t good_commits;

static int fails_later(uint64_t n)
{
    (void)n;
    if (good_commits == 0)
        return ENOSPC;
    good_commits--;
    return 0;
}
static const struct store_faults faults = { .commit = fails_later };

static void disk_takes(uint64_t commits)
{
    good_commits = commits;
    store_faults = &faults;
}

/* Both archives, both inboxes and the offline store cannot take it: one error. */
static void one_error_for_a_message(void **state)
{
    static const char *const to[] = { "bob@localhost", "bob@localhost/1", "carol@localhost",
                                      "nobody@localhost", "alice@localhost" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(to); i++)
        for (unsigned good = 0; good < 6; good++) {
            struct h *h = start(ALL);
            struct hs *a = h_online(h, "alice@localhost/1"), *b;
            unsigned n, told, kept;

            h_user(h, "carol@localhost");
            b = h_online(h, "carol@localhost/1"); /* blocks alice */
            h_iq_result(b, "set", NULL,
                        "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>", NULL);
            h_drop_all(a);
            disk_takes(good);
            say(a, to[i], "1");
            h_advance(h, 10);
            store_faults = NULL;
            n = h_count(a);
            told = errors(a, "1");
            kept = (unsigned)(rows_of(h, "mam", &archive, "alice@localhost") +
                              rows_of(h, "mam", &archive, "bob@localhost") +
                              rows_of(h, "offline", &queue, "bob@localhost"));
            assert_int_equal(h_unhandled(a), 0);
            if (told > 1 || (told == 0 && kept < (i == 4 ? 1u : 3u)))
                h_fail("to %s, %u commits: %u errors of %u stanzas, %u rows", to[i], good, told, n, kept);
            h_stop(&h);
        }
}

/* Without an archive the conversation was all that there was. */
static void an_inbox_that_cannot_be_written(void **state)
{
    (void)state;
    for (int with_archive = 0; with_archive < 2; with_archive++) {
        struct h *h = start(with_archive ? WITH_INBOX "[mod_mam]\n" : WITH_INBOX);
        struct hs *a = h_online(h, "alice@localhost/1"), *b = h_online(h, "bob@localhost/1");
        unsigned told = 0;

        for (unsigned good = 0; good < 8; good++) {
            char id[8];

            snprintf(id, sizeof(id), "%u", good);
            h_drop_all(a);
            disk_takes(good);
            say(a, "bob@localhost", id);
            store_faults = NULL;
            assert_int_equal(h_unhandled(a), 0);
            told = errors(a, id);
            if (with_archive)
                assert_true(told <= 1); /* the archive's; the inbox alone says nothing: the last */
            else
                assert_int_equal(told, good < 2);
        }
        assert_int_equal(told, 0);
        h_drop_all(b);
        disk_takes(0); /* what one has read is not kept: one's own client hears of it */
        h_send(b, "<message to='alice@localhost' id='m'><displayed xmlns='" MARKERS "' id='7'/></message>");
        store_faults = NULL;
        assert_int_equal(errors(b, "m"), 1);
        h_send(b, "<message to='alice@localhost' id='m'><displayed xmlns='" MARKERS "' id='7'/></message>");
        assert_int_equal(errors(b, "m"), 0);
        assert_int_equal(unread(b), 0);
        h_stop(&h);
    }
}

/* Somebody else takes his time to say whether the message is to be kept. */
static struct gr_hold *slow;

static enum gr_verdict on_behaviour(struct gr_mod *self, struct gr_mam_ev *ev)
{
    slow = gr_hold(self, &ev->ev);
    assert_non_null(slow);
    return GR_PENDING;
}
static const struct gr_hook slow_hooks[] = { GR_ON(mam_get_behaviour, 10, on_behaviour), GR_HOOK_END };
static const struct gr_module slow_module = { .name = "slow", .hooks = slow_hooks };

static void archived_late_and_acknowledged_then(void **state)
{
    struct h *h;
    struct hs *a;

    (void)state;
    h_module(&slow_module);
    h = start(BASE "[mod_offline_stub]\n[mod_mam]\n");
    a = h_online(h, "alice@localhost/1");
    h_hold_store(h, true);
    say(a, "alice@localhost", "1");
    h_enter(h, "alice@localhost");
    gr_resume(slow, GR_OK);
    h_run(h);
    assert_int_equal(h_unhandled(a), 1);
    h_commit(h);
    h_run(h);
    assert_int_equal(h_unhandled(a), 0);
    h_hold_store(h, false);
    assert_int_equal(rows_of(h, "mam", &archive, "alice@localhost"), 1);
    h_stop(&h);
}

/* --- damaged rows --- */

static void damage(struct h *h, const char *module, const struct gr_coll *coll, const char *owner,
                   const char *key, size_t key_len)
{
    struct gr_txn *t = gr_txn_new(h_mod(h, module, owner));

    gr_txn_put(t, coll, owner, key, key_len, "\x7fno row", 7);
    gr_txn_commit(t, NULL);
    h_run(h);
}

static unsigned times(const char *log, const char *what)
{
    unsigned n = 0;

    for (const char *at = log; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

/* They are told of once and thrown away, and nobody is kept waiting by them. */
static void damaged_rows_go(void **state)
{
    static const struct gr_coll marks = GR_MAP("offline_chatmarkers"), prefs = GR_MAP("mam.prefs");
    struct h *h = start(ALL "[mod_smart_markers]\n[mod_offline_chatmarkers]\n");
    struct hs *a, *b;

    (void)state;
    damage(h, "offline_chatmarkers", &marks, "bob@localhost", "alice@localhost\0\0\2", 18);
    damage(h, "inbox", &entries, "bob@localhost", "carol@localhost", 15);
    damage(h, "inbox", &entries, "bob@localhost", "alice@localhost", 15);
    damage(h, "mam", &prefs, "bob@localhost", "", 0);
    h_log(h);
    a = h_online(h, "alice@localhost/1");
    for (int i = 0; i < 2; i++) {
        b = h_online(h, "bob@localhost/1");
        say(a, "bob@localhost", "1"); /* kept, and counted from 1 on */
        h_expect_nothing(a);
        assert_int_equal(unread(b), i + 1);
        h_disconnect(&b, true);
    }
    assert_int_equal(rows_of(h, "offline_chatmarkers", &marks, "bob@localhost"), 0);
    assert_int_equal(rows_of(h, "inbox", &entries, "bob@localhost"), 1);
    assert_int_equal(rows_of(h, "mam", &prefs, "bob@localhost"), 0);
    assert_int_equal(rows_of(h, "mam", &archive, "bob@localhost"), 2);
    assert_int_equal(times(h_log(h), ".damaged:"), 4);
    h_stop(&h);
}

/* --- refused --- */

/* RFC 6121, 8.5.3.2.1: only chat finds another resource. */
static void refused_messages_are_not_kept(void **state)
{
    struct h *h = start(ALL);
    struct hs *a = h_online(h, "alice@localhost/1"), *b;

    (void)state;
    for (int online = 0; online < 2; online++) {
        if (online)
            b = h_online(h, "bob@localhost/1");
        h_send(a, "<message to='bob@localhost/old' id='1'><body>1</body></message>");
        h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost/old");
        assert_int_equal(rows_of(h, "mam", &archive, "bob@localhost"), 0);
        assert_int_equal(rows_of(h, "inbox", &entries, "bob@localhost"), 0);
    }
    h_send(a, "<message to='bob@localhost/1' id='2'><body>2</body></message>");
    h_send(a, "<message to='bob@localhost/old' id='3' type='chat'><body>3</body></message>");
    assert_int_equal(rows_of(h, "mam", &archive, "bob@localhost"), 2);
    assert_int_equal(unread(b), 2);
    h_expect_nothing(a);
    h_stop(&h);
}

/* --- taken back --- */

#define TOMB "<retracted xmlns='" NS_RETRACT "' id='r' stamp='*'/>"
#define RETRACT(id) "<retract xmlns='" NS_RETRACT "' id='" id "'/>"

/* The message of the only conversation: does it look like this? */
static void expect_entry(struct hs *s, const char *pattern)
{
    struct gr_stanza *st, *copy;
    const struct gr_el *el;
    char *wrapped;

    h_drop_all(s);
    h_iq(s, "set", NULL, "<inbox xmlns='" NS_INBOX "'/>");
    st = next_message(s);
    el = gr_el_child(gr_stanza_child(st, NS_INBOX, "result"), NULL, "forwarded");
    copy = gr_nonza_new(GR_NS_CLIENT, "x");
    el = gr_el_append(copy, NULL, gr_el_child(el, GR_NS_CLIENT, "message"));
    wrapped = gr_asprintf("<x>%s</x>", pattern);
    h_assert_xml(copy, wrapped);
    gr_free(wrapped);
    gr_stanza_unref(&copy);
}

/* Without a text: the latest message of the conversation, for both, and what waits for who is away. */
static void a_retracted_message_is_gone_everywhere(void **state)
{
    static const char tomb[] = "<message from='alice@localhost/1' to='bob@localhost' id='2' type='chat'>"
                               TOMB "</message>";
    struct h *h = start(WITH_INBOX);
    struct hs *a = h_online(h, "alice@localhost/1"), *b, *c;
    const struct gr_stanza *st;

    (void)state;
    h_user(h, "carol@localhost");
    c = h_online(h, "carol@localhost/1");
    say(a, "bob@localhost", "1");
    say(c, "bob@localhost", "2");
    say(a, "bob@localhost", "2");
    h_send(c, "<message to='bob@localhost' type='chat' id='x'>" RETRACT("1") "</message>"); /* not hers */
    h_send(a, "<message to='bob@localhost' type='chat' id='y'>" RETRACT("0") "</message>");
    assert_int_equal(rows_of(h, "offline", &queue, "bob@localhost"), 5);
    h_send(a, "<message to='bob@localhost' type='chat' id='r'>" RETRACT("2") "</message>");
    assert_int_equal(rows_of(h, "offline", &queue, "bob@localhost"), 5);
    expect_entry(a, tomb);
    b = h_login(h, "bob@localhost/1");
    h_send(b, "<presence/>");
    for (const char *const *id = (const char *const[]){ "1", "2", "x", "y", "r", NULL }; *id != NULL; id++) {
        st = next_message(b);
        assert_string_equal(gr_stanza_id(st), *id);
        assert_true(strcmp(*id, "2") != 0 || strcmp(gr_stanza_from(st)->bare, "carol@localhost") == 0);
    }
    assert_null(next_message(b));
    h_stop(&h);
}

/* It is looked for among the latest 1000. */
static void retracted_too_late(void **state)
{
    (void)state;
    for (unsigned between = 999; between < 1001; between++) {
        struct h *h = start(WITH_OFFLINE);
        struct hs *a = h_online(h, "alice@localhost/1");

        say(a, "bob@localhost", "0");
        for (unsigned i = 0; i < between; i++)
            h_feed(a, "<message to='bob@localhost' id='x' type='chat'><body>x</body></message>");
        h_send(a, "<message to='bob@localhost' type='chat' id='r'>" RETRACT("0") "</message>");
        assert_int_equal(rows_of(h, "offline", &queue, "bob@localhost"),
                         between == 999 ? between + 1 : between + 2);
        h_stop(&h);
    }
}

static void retracted_in_the_inbox(void **state)
{
    struct h *h = start(WITH_INBOX);
    struct hs *a = h_online(h, "alice@localhost/1"), *b = h_online(h, "bob@localhost/1");

    (void)state;
    say(a, "bob@localhost", "1");
    h_send(b, "<message to='alice@localhost' type='chat' id='x'>" RETRACT("1") "</message>");
    expect_entry(b, "<message _='any'><body>1</body></message>"); /* not his */
    h_send(a, "<message to='bob@localhost/1' type='chat' id='r'>" RETRACT("1")
              "<store xmlns='urn:xmpp:hints'/></message>");
    expect_entry(b, "<message id='1' _='more'>" TOMB "</message>");
    assert_int_equal(unread(b), 1);
    say(a, "bob@localhost", "2");
    h_send(a, "<message to='bob@localhost' type='chat' id='r'><body>gone</body>" RETRACT("2") "</message>");
    expect_entry(b, "<message id='r' _='any'><body>gone</body></message>");
    say(a, "bob@localhost", "3");
    h_send(a, "<message to='bob@localhost' type='chat' id='r'><body>gone</body><no-store xmlns='urn:xmpp:"
              "hints'/>" RETRACT("3") "</message>");
    expect_entry(b, "<message id='3' _='more'>" TOMB "</message>");
    h_stop(&h);
}

/* --- copies and lists --- */

#define CARBONS "<enable xmlns='urn:xmpp:carbons:2'/>"
#define PRIVACY(what) "<query xmlns='jabber:iq:privacy'>" what "</query>"
#define LIST(name, items) "<list name='" name "'>" items "</list>"
#define ITEM(action, what, order) "<item action='" action "' " what " order='" order "'/>"
#define LIST_NO_CAROL                                                                              \
    "<list xmlns='jabber:iq:privacy' name='no'>"                                                   \
    ITEM("deny", "type='jid' value='carol@localhost'", "1") "</list>"
#define NO_ALICE ITEM("deny", "type='jid' value='alice@localhost'", "1")

static void privacy(struct hs *s, const char *what)
{
    char *xml = gr_asprintf("<query xmlns='jabber:iq:privacy'>%s</query>", what);

    h_iq_result(s, "set", NULL, xml, NULL);
    h_drop_all(s);
    gr_free(xml);
}

/* A session that wants copies and gets messages for the account only as such. */
static struct hs *copies_for(struct h *h, const char *full)
{
    struct hs *s = h_online(h, full);

    h_iq_result(s, "set", NULL, CARBONS, NULL);
    h_send(s, "<presence><priority>-1</priority></presence>");
    h_drop_all(s);
    return s;
}

/* XEP-0016, 2.2, rules 1 and 2: the list in force for a session is about what it gets, however that comes. */
static void copies_pass_the_list_of_their_session(void **state)
{
    struct h *h = start(ALL);
    struct hs *a = h_online(h, "alice@localhost/1"), *b = h_online(h, "bob@localhost/1");
    struct hs *c = copies_for(h, "bob@localhost/2");

    (void)state;
    privacy(b, LIST("no", NO_ALICE));
    privacy(b, LIST("all", ITEM("allow", "", "1")));
    privacy(b, LIST("friends", ITEM("allow", "type='subscription' value='to'", "1")
                    ITEM("deny", "", "2")));
    say(a, "bob@localhost", "copied");
    assert_non_null(next_message(c));
    privacy(c, "<active name='no'/>");
    h_drop_all(b);
    say(a, "bob@localhost", "1");
    say(a, "bob@localhost/1", "2");
    assert_non_null(next_message(b));
    assert_non_null(next_message(b));
    assert_null(next_message(c));
    say(b, "alice@localhost", "own");
    assert_non_null(next_message(c)); /* what one has said oneself */
    /* Blocked for the account; one session has said that it wants them all the same. */
    privacy(c, "<active/>");
    privacy(b, "<active name='all'/>");
    h_iq_result(b, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>",
                NULL);
    h_drop_all(b);
    h_drop_all(c);
    say(a, "bob@localhost", "3");
    assert_non_null(next_message(b));
    assert_null(next_message(c));
    /* A list that has to ask the roster: she is none, then a contact. */
    privacy(c, "<active name='friends'/>");
    say(a, "bob@localhost", "4");
    assert_null(next_message(c));
    h_iq_result(b, "set", NULL, "<unblock xmlns='urn:xmpp:blocking'/>", NULL);
    h_send(b, "<presence type='subscribe' to='alice@localhost'/>");
    h_send(a, "<presence type='subscribed' to='bob@localhost'/>");
    h_drop_all(c);
    say(a, "bob@localhost", "5");
    assert_non_null(next_message(c));
    h_stop(&h);
}

#define SM "xmlns='urn:xmpp:sm:3'"

/* With a stream that can be resumed, the id that it takes in id. */
static struct hs *managed(struct h *h, const char *full, char id[64])
{
    struct hs *s = h_online(h, full);
    const struct gr_stanza *st;

    h_send(s, "<enable " SM " resume='true'/>");
    st = h_expect_among(s, "<enabled " SM " _='more'/>");
    snprintf(id, 64, "%s", gr_el_attr(gr_stanza_root(st), "id"));
    h_drop_all(s);
    return s;
}

static struct hs *resumed(struct h *h, const char *bare, const char *id)
{
    struct hs *s = h_connect(h, bare);
    char *xml = gr_asprintf("<resume " SM " h='0' previd='%s'/>", id);

    h_send(s, xml);
    h_expect_among(s, "<resumed " SM " _='more'/>");
    gr_free(xml);
    return s;
}

/* A session that is made again after a restart has its list, as it was changed last. */
static void the_active_list_outlives_a_restart(void **state)
{
    static const struct gr_coll lists = GR_MAP("privacy");
    struct h *h = start(ALL);
    struct hs *a, *b;
    struct gr_txn *t;
    char id[64];

    (void)state;
    b = managed(h, "bob@localhost/1", id);
    privacy(b, LIST("no", ITEM("deny", "type='jid' value='carol@localhost'", "1")));
    privacy(b, "<active name='no'/>");
    privacy(b, LIST("no", NO_ALICE));
    privacy(b, LIST("yes", ITEM("allow", "", "1")));
    for (int round = 0; round < 3; round++) {
        h_advance(h, 2000);
        if (round == 1) { /* a change of which only the row was written */
            t = gr_txn_new(h_mod(h, "privacy", "bob@localhost"));
            gr_txn_put(t, &lists, "bob@localhost", "list:no", 7, LIST_NO_CAROL, sizeof(LIST_NO_CAROL) - 1);
            gr_txn_commit(t, NULL);
            h_run(h);
        }
        if (round == 2)
            privacy(b, "<active/>");
        h_restart(h);
        a = h_online(h, "alice@localhost/1");
        say(a, "bob@localhost/1", "1");
        assert_int_equal(errors(a, "1"), round == 0);
        b = resumed(h, "bob@localhost", id);
        h_drop_all(b);
        h_iq_result(b, "get", NULL, PRIVACY(""),
                    round == 2 ? PRIVACY("<list name='no'/><list name='yes'/>")
                               : PRIVACY("<active name='no'/><list name='no'/><list name='yes'/>"));
    }
    h_stop(&h);
}

/* --- another incarnation --- */

/* A module has something for a session that ends, and asks for a copy to it a moment later still. */
static struct {
    uint64_t id;
    unsigned posted;
    struct gr_hold *hold;
} old;

static struct gr_stanza *for_old(const struct gr_jid *to)
{
    struct gr_stanza *st = gr_message_new(GR_MSG_CHAT, to, to);

    gr_el_add_text(st, NULL, NULL, "body", "for the old one");
    return st;
}

static enum gr_verdict on_copying(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_jid *bob = gr_jid_is_bare(ev->to) ? NULL : ev->to;
    struct gr_session *s = bob != NULL ? gr_session_find(self, bob, 0) : NULL;

    if (s == NULL || old.id != 0)
        return GR_OK;
    old.id = gr_session_id(s);
    gr_ev_request_deliver(&ev->ev, s, for_old(bob));
    old.hold = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict on_end(struct gr_mod *self, struct gr_session_ev *ev)
{
    if (gr_session_id(ev->session) != old.id)
        return GR_OK;
    gr_session_deliver(self, ev->session, for_old(ev->jid));
    assert_int_equal(gr_session_post(self, ev->jid, old.id, "ends.x", "x", 1), 0);
    return GR_OK;
}

static enum gr_verdict on_foreign(struct gr_mod *self, struct gr_foreign_ev *ev)
{
    (void)self;
    old.posted += strcmp(ev->tag, "ends.x") == 0;
    return GR_OK;
}

static const struct gr_hook ends_hooks[] = {
    GR_ON(filter_local_packet, 95, on_copying), GR_ON(user_terminate, 50, on_end),
    GR_ON(foreign_event, 50, on_foreign), GR_HOOK_END
};
static const struct gr_module ends_module = { .name = "ends", .hooks = ends_hooks };

/* The same address, another session: what was meant for the one before is dropped. */
static void for_another_incarnation(void **state)
{
    struct h *h;
    struct hs *a, *b, *again;

    (void)state;
    memset(&old, 0, sizeof(old));
    h_module(&ends_module);
    h = start(BASE);
    a = h_online(h, "alice@localhost/1");
    b = h_online(h, "bob@localhost/1");
    say(a, "bob@localhost/1", "1"); /* waits, and with it the copy */
    assert_non_null(old.hold);
    again = h_login(h, "bob@localhost/1");
    h_expect_closed(&b, "conflict");
    h_enter(h, "bob@localhost");
    assert_null(gr_session_find(h_mod(h, "ends", "bob@localhost"), h_jid(again), old.id));
    gr_resume(old.hold, GR_OK);
    h_run(h);
    h_expect_body(again, "alice@localhost/1", "1"); /* for the address: whoever has it */
    h_expect_nothing(again);
    assert_int_equal(old.posted, 0);
    h_stop(&h);
}

/* --- the inbox tells the push how much is unread --- */

static void push_tells_what_the_inbox_counts(void **state)
{
    struct h *h = start(WITH_INBOX "[mod_event_pusher]\n");
    struct hs *a = h_online(h, "alice@localhost/1"), *b = h_online(h, "bob@localhost/1");
    struct hs *app = h_login(h, "app@localhost/1"), *c;

    (void)state;
    h_user(h, "carol@localhost");
    c = h_online(h, "carol@localhost/1");
    h_iq_result(b, "set", NULL, "<enable xmlns='urn:xmpp:push:0' jid='app@localhost/1' node='n'/>", NULL);
    say(a, "bob@localhost", "1");
    say(c, "bob@localhost", "2"); /* unread, and never pushed */
    h_disconnect(&b, true);
    say(a, "bob@localhost", "3");
    h_expect_xml(app, "<iq type='set' from='localhost' _='more'><pubsub xmlns='http://jabber.org/protocol/"
                      "pubsub'><publish node='n'><item><notification xmlns='urn:xmpp:push:0'>"
                      "<x xmlns='jabber:x:data' type='submit' _='more'><field var='message-count' _='more'>"
                      "<value>3</value></field></x></notification></item></publish></pubsub></iq>");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(one_error_for_a_message),
        cmocka_unit_test(an_inbox_that_cannot_be_written),
        cmocka_unit_test(archived_late_and_acknowledged_then),
        cmocka_unit_test(damaged_rows_go),
        cmocka_unit_test(refused_messages_are_not_kept),
        cmocka_unit_test(a_retracted_message_is_gone_everywhere),
        cmocka_unit_test(retracted_too_late),
        cmocka_unit_test(retracted_in_the_inbox),
        cmocka_unit_test(copies_pass_the_list_of_their_session),
        cmocka_unit_test(the_active_list_outlives_a_restart),
        cmocka_unit_test(for_another_incarnation),
        cmocka_unit_test(push_tells_what_the_inbox_counts),
    };

    return H_RUN("messages_end", cases);
}
