/* tests/mod/test_together.c: the modules that have to do with messages, all of them at once, as a server
 * has them: one message is delivered, archived, listed, copied and kept once each, whatever becomes of
 * its recipient, its sender and the disk. */
#include "harness.h"

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

/* Each with options of these. */
#define WITH(offline, mam, inbox)                                                                  \
    "[host localhost]\n[mod_roster]\n[mod_presence]\n[mod_carboncopy]\n[mod_disco]\n[mod_caps]\n"  \
    "[mod_ping]\n[mod_last]\n[mod_private]\n[mod_vcard]\n[mod_privacy]\n[mod_blocking]\n"           \
    "[mod_stream_management]\n[mod_csi]\n[mod_smart_markers]\n[mod_offline_chatmarkers]\n"         \
    "[mod_amp]\n[mod_offline]\n" offline "[mod_mam]\n" mam "[mod_inbox]\n" inbox
#define MODULES WITH("", "", "")

#define NS_MAM "urn:xmpp:mam:2"
#define NS_SID "urn:xmpp:sid:0"
#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_INBOX "erlang-solutions.com:xmpp:inbox:0"
#define SM "xmlns='urn:xmpp:sm:3'"
#define MARKERS "urn:xmpp:chat-markers:0"
#define RULE "<rule condition='deliver' action='notify' value='stored'/>"
#define CARBONS "<enable xmlns='" NS_CARBONS "'/>"

static struct h *start(void)
{
    struct h *h = h_start(MODULES);

    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

/* --- clients --- */

static struct hs *online(struct h *h, const char *full)
{
    struct hs *s = h_online(h, full);

    h_iq_result(s, "set", NULL, CARBONS, NULL);
    h_drop_all(s);
    return s;
}

/* With a stream that can be resumed. */
static struct hs *managed(struct h *h, const char *full)
{
    struct hs *s = online(h, full);

    h_send(s, "<enable " SM " resume='true'/>");
    h_drop_all(s);
    return s;
}

static void say(struct hs *s, const char *to, const char *id)
{
    h_sendf(s, "<message to='%s' id='%s' type='chat'><body>%s</body></message>", to, id, id);
}

static bool is_message(const struct gr_stanza *st)
{
    return gr_stanza_kind(st) == GR_MESSAGE;
}

/* The next message, whatever else has come. */
static struct gr_stanza *next_message(struct hs *s)
{
    struct gr_stanza *st = h_next(s);

    while (st != NULL && !is_message(st))
        st = h_next(s);
    return st;
}

static const struct gr_el *copied(const struct gr_stanza *st, const char *direction)
{
    const struct gr_el *el = gr_stanza_child(st, NS_CARBONS, direction);

    if (el == NULL)
        return NULL;
    return gr_el_child(gr_el_child(el, "urn:xmpp:forward:0", "forwarded"), GR_NS_CLIENT, "message");
}

static const char *sid_of(const struct gr_el *message, const char *by)
{
    const struct gr_el *el = gr_el_child(message, NS_SID, "stanza-id");
    const char *id = NULL;

    for (; el != NULL; el = gr_el_next(el, NS_SID, "stanza-id")) {
        if (strcmp(gr_el_attr(el, "by"), by) != 0)
            continue;
        if (id != NULL)
            h_fail("two ids of %s", by);
        id = gr_el_attr(el, "id");
    }
    return id;
}

static const char *body_of(const struct gr_el *message)
{
    const struct gr_el *body = message != NULL ? gr_el_child(message, GR_NS_CLIENT, "body") : NULL;

    return body != NULL ? gr_el_text(body, NULL) : "";
}

/* The next message is that one itself, or a copy of it. Its id in the archive of `owner`, until the next
 * call; "" for none. */
static const char *expect(struct hs *s, const char *direction, const char *body, const char *owner)
{
    static char id[64];
    const struct gr_stanza *st = next_message(s);
    const struct gr_el *message;
    const char *sid;

    if (st == NULL)
        h_fail("%s did not get \"%s\"", h_full(s), body);
    message = direction != NULL ? copied(st, direction) : gr_stanza_root(st);
    if (strcmp(body_of(message), body) != 0)
        h_fail("%s got %s", h_full(s), gr_stanza_xml(st, &(size_t){ 0 }));
    sid = sid_of(message, owner);
    snprintf(id, sizeof(id), "%s", sid != NULL ? sid : "");
    return id;
}

static void expect_no_message(struct hs *s)
{
    const struct gr_stanza *st = next_message(s);

    if (st != NULL)
        h_fail("%s got %s", h_full(s), gr_stanza_xml(st, &(size_t){ 0 }));
}

/* --- what is kept --- */

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

static void expect_rows(struct h *h, const char *owner, unsigned archived, unsigned offline)
{
    static const struct gr_coll archive = GR_LOG("mam.messages"), queue = GR_LOG("offline.messages");

    assert_int_equal(rows_of(h, "mam", &archive, owner), archived);
    assert_int_equal(rows_of(h, "offline", &queue, owner), offline);
}

/* Unread messages from that address, -1: there is no conversation. */
static int unread(struct hs *s, const char *remote)
{
    struct gr_stanza *st;
    int n = -1;

    h_drop_all(s);
    h_iq(s, "set", NULL, "<inbox xmlns='" NS_INBOX "'/>");
    while ((st = next_message(s)) != NULL) {
        const struct gr_el *el = gr_stanza_child(st, NS_INBOX, "result"), *message;

        assert_non_null(el);
        message = gr_el_child(gr_el_child(el, "urn:xmpp:forward:0", "forwarded"), GR_NS_CLIENT,
                              "message");
        if (strncmp(gr_el_attr(message, "from"), remote, strlen(remote)) == 0 ||
            strncmp(gr_el_attr(message, "to"), remote, strlen(remote)) == 0)
            n = atoi(gr_el_attr(el, "unread"));
    }
    return n;
}

/* The id of the n-th message of the archive, until the next call. */
static const char *archived(struct hs *s, unsigned n, const char *body)
{
    static char id[64];
    struct gr_stanza *st;

    h_drop_all(s);
    h_iq(s, "set", NULL, "<query xmlns='" NS_MAM "'/>");
    for (unsigned i = 0; (st = next_message(s)) != NULL; i++) {
        const struct gr_el *el = gr_stanza_child(st, NS_MAM, "result");

        if (i != n)
            continue;
        assert_non_null(el);
        snprintf(id, sizeof(id), "%s", gr_el_attr(el, "id"));
        el = gr_el_child(gr_el_child(el, "urn:xmpp:forward:0", "forwarded"), GR_NS_CLIENT, "message");
        assert_string_equal(body_of(el), body);
        h_drop_all(s);
        return id;
    }
    h_fail("there is no message %u in the archive of %s", n, h_full(s));
}

/* --- delivery --- */

static void two_resources_and_their_copies(void **state)
{
    struct h *h = start();
    struct hs *a1 = online(h, "alice@localhost/1"), *a2 = online(h, "alice@localhost/2");
    struct hs *csi = online(h, "bob@localhost/csi"), *gone = managed(h, "bob@localhost/gone");
    char id[64];

    (void)state;
    h_send(csi, "<inactive xmlns='urn:xmpp:csi:0'/>");
    h_disconnect(&gone, false);
    say(a1, "bob@localhost/gone", "1");
    snprintf(id, sizeof(id), "%s", expect(csi, "received", "1", "bob@localhost"));
    assert_string_not_equal(id, "");
    assert_string_equal(id, archived(csi, 0, "1"));
    expect_no_message(csi);
    /* XEP-0313, 3.5: copies of sent ones tell the id, too */
    snprintf(id, sizeof(id), "%s", expect(a2, "sent", "1", "alice@localhost"));
    assert_string_equal(id, archived(a2, 0, "1"));
    expect_no_message(a1);
    expect_rows(h, "alice@localhost", 1, 0);
    expect_rows(h, "bob@localhost", 1, 0);
    assert_int_equal(unread(csi, "alice@localhost"), 1);
    assert_int_equal(unread(a1, "bob@localhost"), 0);
    /* The resource does not come back: what it has not acknowledged goes to the other one. */
    h_advance(h, 700 * 1000);
    snprintf(id, sizeof(id), "%s", expect(csi, NULL, "1", "bob@localhost"));
    assert_string_equal(id, archived(csi, 0, "1"));
    expect_no_message(csi);
    expect_no_message(a1);
    expect_no_message(a2);
    expect_rows(h, "alice@localhost", 1, 0);
    expect_rows(h, "bob@localhost", 1, 0);
    assert_int_equal(unread(csi, "alice@localhost"), 1);
    h_stop(&h);
}

/* To the account: each gets it, and who is there when the other one is given up does not get it twice. */
static void copies_of_one_message(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1");
    struct hs *csi = online(h, "bob@localhost/csi"), *gone = managed(h, "bob@localhost/gone");
    struct hs *low = managed(h, "bob@localhost/low"); /* gets copies only */
    char id[64];

    (void)state;
    h_send(csi, "<inactive xmlns='urn:xmpp:csi:0'/>");
    h_send(low, "<presence><priority>-1</priority></presence>");
    h_drop_all(low);
    h_disconnect(&low, false);
    h_disconnect(&gone, false);
    say(a, "bob@localhost", "1");
    snprintf(id, sizeof(id), "%s", expect(csi, NULL, "1", "bob@localhost"));
    h_advance(h, 700 * 1000);
    expect_no_message(csi);
    expect_no_message(a);
    expect_rows(h, "bob@localhost", 1, 0);
    assert_string_equal(archived(csi, 0, "1"), id);
    assert_int_equal(unread(csi, "alice@localhost"), 1);
    h_stop(&h);
}

static void a_user_who_is_away(void **state)
{
    struct h *h = start();
    struct hs *a1 = online(h, "alice@localhost/1"), *a2 = online(h, "alice@localhost/2"), *b, *b2;
    char id[64];

    (void)state;
    say(a1, "bob@localhost", "1");
    assert_int_equal(h_unhandled(a1), 0);
    expect(a2, "sent", "1", "alice@localhost");
    expect_rows(h, "bob@localhost", 1, 1);
    b2 = h_login(h, "bob@localhost/2"); /* wants copies, and is not available */
    h_iq_result(b2, "set", NULL, CARBONS, NULL);
    b = h_login(h, "bob@localhost/1");
    h_iq_result(b, "set", NULL, CARBONS, NULL);
    h_send(b, "<presence/>");
    snprintf(id, sizeof(id), "%s", expect(b, NULL, "1", "bob@localhost"));
    assert_string_equal(id, archived(b, 0, "1"));
    expect_no_message(b);
    expect_no_message(b2);
    expect_no_message(a1);
    expect_no_message(a2);
    expect_rows(h, "bob@localhost", 1, 0);
    expect_rows(h, "alice@localhost", 1, 0);
    assert_int_equal(unread(b, "alice@localhost"), 1);
    h_stop(&h);
}

/* From the queue of a stream to the offline store, to the next stream, and so on. */
static void from_store_to_stream_and_back(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b;
    char id[64] = "";

    (void)state;
    b = managed(h, "bob@localhost/1");
    say(a, "bob@localhost", "1");
    for (int round = 0; round < 3; round++) {
        const char *now = expect(b, NULL, "1", "bob@localhost");

        if (id[0] != '\0')
            assert_string_equal(now, id);
        snprintf(id, sizeof(id), "%s", now);
        h_disconnect(&b, false);
        h_advance(h, 700 * 1000);
        expect_rows(h, "bob@localhost", 1, 1);
        b = h_login(h, "bob@localhost/1");
        h_send(b, "<enable " SM " resume='true'/>");
        h_send(b, "<presence/>");
    }
    expect(b, NULL, "1", "bob@localhost");
    expect_no_message(b);
    h_disconnect(&b, true);
    b = online(h, "bob@localhost/1");
    expect_no_message(b);
    assert_int_equal(unread(b, "alice@localhost"), 1);
    expect_no_message(a);
    h_stop(&h);
}

/* The same without any of that: what a broken connection did not take is kept. */
static void a_connection_that_breaks(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *a2 = online(h, "alice@localhost/2"), *b, *low;
    char id[64];

    (void)state;
    low = online(h, "bob@localhost/low");
    h_send(low, "<presence><priority>-1</priority></presence>");
    for (int alone = 0; alone < 2; alone++) {
        const char *to = alone ? "bob@localhost/1" : "bob@localhost";

        b = online(h, "bob@localhost/1");
        h_drop_all(low);
        h_break(b);
        say(a, to, "1");
        expect(a2, "sent", "1", "alice@localhost");
        snprintf(id, sizeof(id), "%s", expect(low, "received", "1", "bob@localhost"));
        h_disconnect(&b, false);
        h_run(h);
        expect_no_message(low);
        expect_no_message(a2);
        expect_rows(h, "bob@localhost", alone + 1u, 1);
        b = online(h, "bob@localhost/1");
        expect_rows(h, "bob@localhost", alone + 1u, 0);
        h_disconnect(&b, true);
        assert_int_equal(unread(low, "alice@localhost"), alone + 1);
        assert_string_equal(archived(low, (unsigned)alone, "1"), id);
    }
    expect_no_message(a);
    h_stop(&h);
}

/* A message of type normal to a resource that is given up. */
static void given_up_messages_of_type_normal(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = managed(h, "bob@localhost/1");

    (void)state;
    h_disconnect(&b, false);
    h_send(a, "<message to='bob@localhost/1' id='1'><body>1</body></message>");
    h_send(a, "<message to='bob@localhost' id='2'><body>2</body></message>");
    h_advance(h, 700 * 1000);
    b = h_login(h, "bob@localhost/1");
    h_send(b, "<presence/>");
    expect(b, NULL, "2", "bob@localhost");
    expect_no_message(b);
    h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost/1"); /* RFC 6121, 8.5.3.2.1 */
    expect_no_message(a);
    assert_int_equal(unread(b, "alice@localhost"), 2);
    h_stop(&h);
}

/* It goes while what its stream has not acknowledged waits. */
static void an_account_goes_with_its_queue(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = managed(h, "bob@localhost/1");
    static const struct gr_coll entries = GR_MAP("inbox"), contacts = GR_MAP("mam.contacts"),
                                marks = GR_MAP("offline_chatmarkers");

    (void)state;
    h_disconnect(&b, false);
    for (int i = 0; i < 5; i++)
        say(a, "bob@localhost", "1");
    h_send(a, "<message to='bob@localhost'><displayed xmlns='" MARKERS "' id='1'/></message>");
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    h_advance(h, 700 * 1000);
    expect_rows(h, "bob@localhost", 0, 0);
    assert_int_equal(rows_of(h, "inbox", &entries, "bob@localhost"), 0);
    assert_int_equal(rows_of(h, "mam", &contacts, "bob@localhost"), 0);
    assert_int_equal(rows_of(h, "offline_chatmarkers", &marks, "bob@localhost"), 0);
    for (int i = 0; i < 6; i++)
        h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
    h_user(h, "bob@localhost");
    b = online(h, "bob@localhost/1");
    expect_no_message(b);
    h_stop(&h);
}

/* One's only client is not available. */
static void to_oneself_later(void **state)
{
    struct h *h = start();
    struct hs *a = h_login(h, "alice@localhost/1");

    (void)state;
    h_iq_result(a, "set", NULL, CARBONS, NULL);
    say(a, "alice@localhost", "1");
    expect_no_message(a);
    expect_rows(h, "alice@localhost", 1, 1);
    h_send(a, "<presence/>");
    expect(a, NULL, "1", "alice@localhost");
    expect_no_message(a);
    expect_rows(h, "alice@localhost", 1, 0);
    assert_int_equal(unread(a, "alice@localhost"), 0);
    h_stop(&h);
}

static void to_a_resource_that_went(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = online(h, "bob@localhost/1");

    (void)state;
    say(a, "bob@localhost/old", "1"); /* chat: as if for the account */
    expect(b, NULL, "1", "bob@localhost");
    expect_no_message(b);
    h_send(a, "<message to='bob@localhost/old' id='2'><body>2</body></message>");
    h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost/old");
    expect_no_message(b);
    assert_int_equal(unread(b, "alice@localhost") >= 1, 1);
    h_disconnect(&b, true);
    say(a, "bob@localhost/old", "3");
    static const struct gr_coll queue = GR_LOG("offline.messages");
    assert_int_equal(rows_of(h, "offline", &queue, "bob@localhost"), 1);
    expect_no_message(a);
    h_stop(&h);
}

static void to_oneself(void **state)
{
    static const char *const to[] = { "alice@localhost", "alice@localhost/1", "alice@localhost/2",
                                      "alice@localhost/old" };
    struct h *h = start();
    struct hs *a1 = online(h, "alice@localhost/1"), *a2 = online(h, "alice@localhost/2");
    struct hs *a3 = online(h, "alice@localhost/3");

    (void)state;
    h_send(a3, "<presence><priority>-1</priority></presence>");
    for (unsigned i = 0; i < GR_COUNT(to); i++) {
        char body[8], id[64];
        bool all = strstr(to[i], "/1") == NULL && strstr(to[i], "/2") == NULL;

        snprintf(body, sizeof(body), "%u", i);
        h_drop_all(a1);
        h_drop_all(a2);
        h_drop_all(a3);
        say(a1, to[i], body);
        expect_rows(h, "alice@localhost", i + 1, 0);
        snprintf(id, sizeof(id), "%s", expect(a3, "sent", body, "alice@localhost"));
        assert_string_not_equal(id, "");
        if (all || i == 1)
            assert_string_equal(expect(a1, NULL, body, "alice@localhost"), id);
        if (all || i == 2)
            assert_string_equal(expect(a2, NULL, body, "alice@localhost"), id);
        else
            assert_string_equal(expect(a2, "sent", body, "alice@localhost"), id);
        expect_no_message(a1);
        expect_no_message(a2);
        expect_no_message(a3);
        assert_string_equal(archived(a1, i, body), id);
    }
    assert_int_equal(unread(a1, "alice@localhost"), 0);
    h_stop(&h);
}

/* --- what is not wanted, and what is forged --- */

static void blocked(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = online(h, "bob@localhost/1");

    (void)state;
    h_iq_result(b, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>",
                NULL);
    h_drop_all(b);
    for (int away = 0; away < 2; away++) {
        say(a, "bob@localhost", "1");
        h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
        h_send(a, "<message to='bob@localhost'><displayed xmlns='" MARKERS "' id='m'/></message>");
        h_drop_all(a);
        expect_rows(h, "bob@localhost", 0, 0);
        if (away == 0)
            h_disconnect(&b, true);
    }
    b = online(h, "bob@localhost/1");
    expect_no_message(b);
    assert_int_equal(unread(b, "alice@localhost"), -1);
    /* XEP-0191, 3.3: the blocker's own messages are refused as well, and leave nothing */
    say(b, "alice@localhost", "2");
    h_expect_error(b, GR_MESSAGE, GR_NOT_ACCEPTABLE, NULL);
    expect_no_message(a);
    expect_rows(h, "bob@localhost", 0, 0);
    assert_int_equal(unread(b, "alice@localhost"), -1);
    h_stop(&h);
}

static void errors_leave_nothing(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/a@room"), *b = online(h, "bob@localhost/1");

    (void)state;
    h_send(a, "<message to='bob@localhost/1' type='error' id='e'><body>x</body><store xmlns='"
              "urn:xmpp:hints'/><error type='cancel'><gone xmlns='" GR_NS_STANZAS "'/></error></message>");
    assert_non_null(next_message(b));
    h_send(a, "<message to='bob@localhost' type='groupchat' id='g'><body>x</body></message>");
    h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, NULL);
    h_send(a, "<message to='bob@localhost' type='headline'><body>x</body></message>");
    assert_non_null(next_message(b));
    h_disconnect(&b, true);
    h_send(a, "<message to='bob@localhost' type='error' id='e'><body>x</body><error type='cancel'><gone "
              "xmlns='" GR_NS_STANZAS "'/></error></message>");
    h_send(a, "<message to='bob@localhost' type='headline'><body>x</body></message>");
    h_send(a, "<message to='bob@localhost' type='groupchat' id='g'><body>x</body></message>");
    h_expect_error(a, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, NULL);
    expect_no_message(a);
    expect_rows(h, "bob@localhost", 0, 0);
    expect_rows(h, "alice@localhost", 0, 0);
    b = online(h, "bob@localhost/1");
    assert_int_equal(unread(b, "alice@localhost"), -1);
    h_stop(&h);
}

static void what_is_forged(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *a2 = online(h, "alice@localhost/2");
    struct hs *b = online(h, "bob@localhost/1"), *b2 = online(h, "bob@localhost/2");
    const struct gr_stanza *st;

    (void)state;
    h_send(b2, "<presence><priority>-1</priority></presence>");
    h_drop_all(b);
    h_drop_all(b2);
    h_send(a, "<message to='bob@localhost' type='chat' id='1'><body>1</body>"
              "<stanza-id xmlns='" NS_SID "' by='bob@localhost' id='false'/>"
              "<stanza-id xmlns='" NS_SID "' by='alice@localhost' id='false'/></message>");
    st = next_message(b);
    assert_string_not_equal(sid_of(gr_stanza_root(st), "bob@localhost"), "false");
    assert_null(sid_of(gr_stanza_root(st), "alice@localhost"));
    st = next_message(b2);
    assert_null(sid_of(copied(st, "received"), "alice@localhost"));
    assert_string_equal(sid_of(copied(st, "received"), "bob@localhost"), archived(b, 0, "1"));
    st = next_message(a2);
    assert_null(sid_of(copied(st, "sent"), "bob@localhost"));
    /* Of a copy nothing is kept but the delivery. */
    h_send(a, "<message to='bob@localhost' type='chat' id='2'><received xmlns='" NS_CARBONS "'>"
              "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='carol@localhost' "
              "to='bob@localhost' type='chat'><body>f</body></message></forwarded></received>"
              "<body>2</body></message>");
    expect(b, NULL, "2", "bob@localhost");
    expect_no_message(b2);
    expect_no_message(a2);
    expect_rows(h, "bob@localhost", 1, 0);
    assert_int_equal(unread(b, "alice@localhost"), 1);
    /* A marker of somebody else reads nothing here. */
    h_send(a, "<message to='bob@localhost' type='chat'><displayed xmlns='" MARKERS "' id='1'/></message>");
    assert_int_equal(unread(b, "alice@localhost"), 1);
    h_send(b, "<message to='alice@localhost' type='chat'><displayed xmlns='" MARKERS "' id='1'/></message>");
    assert_int_equal(unread(b, "alice@localhost"), 0);
    h_stop(&h);
}

static void delays_are_no_way_around(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = online(h, "bob@localhost/1");

    (void)state;
    h_send(a, "<message to='bob@localhost' type='chat' id='1'><body>1</body><delay xmlns='urn:xmpp:delay' "
              "from='localhost' stamp='2001-01-01T00:00:00Z'/></message>");
    expect(b, NULL, "1", "bob@localhost");
    expect_rows(h, "bob@localhost", 1, 0);
    assert_int_equal(unread(b, "alice@localhost"), 1);
    h_stop(&h);
}

static void retracted(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b;

    (void)state;
    say(a, "bob@localhost", "1");
    say(a, "bob@localhost", "2");
    h_feed(a, "<message to='bob@localhost' type='chat' id='r1'><body>r1</body>"
              "<retract xmlns='urn:xmpp:message-retract:1' id='1'/></message>");
    h_feed(a, "<message to='bob@localhost' type='chat' id='r2'><body>r2</body>"
              "<retract xmlns='urn:xmpp:message-retract:1' id='2'/></message>");
    h_run(h);
    assert_int_equal(h_unhandled(a), 0);
    expect_rows(h, "alice@localhost", 4, 0);
    expect_rows(h, "bob@localhost", 4, 2); /* mod_offline keeps only the retractions */
    b = online(h, "bob@localhost/1");
    archived(a, 0, ""); /* tombstones */
    archived(a, 1, "");
    archived(b, 0, "");
    archived(b, 1, "");
    archived(b, 2, "r1");
    h_stop(&h);
}

/* While both are on their way to the disk. */
static void retracted_at_once(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b;

    (void)state;
    say(a, "bob@localhost", "0");
    h_hold_store(h, true);
    h_feed(a, "<message to='bob@localhost' type='chat' id='1'><body>1</body></message>");
    h_feed(a, "<message to='bob@localhost' type='chat' id='r1'><body>r1</body>"
              "<retract xmlns='urn:xmpp:message-retract:1' id='1'/></message>");
    for (int i = 0; i < 20; i++)
        h_commit(h);
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(h_unhandled(a), 0);
    b = online(h, "bob@localhost/1");
    archived(a, 0, "0");
    archived(a, 1, "");
    archived(b, 1, "");
    archived(b, 2, "r1");
    h_stop(&h);
}

/* --- the disk --- */

static uint64_t good_commits;

static int fails_later(uint64_t n)
{
    (void)n;
    if (good_commits == 0)
        return ENOSPC;
    good_commits--;
    return 0;
}

/* The disk fills up before the first write, before the second one, ... */
static void a_disk_that_fails(void **state)
{
    static const struct store_faults faults = { .commit = fails_later };

    (void)state;
    for (unsigned good = 0; good < 6; good++) {
        struct h *h = start();
        struct hs *a = managed(h, "alice@localhost/1");
        const struct gr_stanza *st;
        unsigned errors = 0;

        h_advance(h, 1000);
        h_drop_all(a);
        good_commits = good;
        store_faults = &faults;
        say(a, "bob@localhost", "1");
        h_advance(h, 10);
        while ((st = next_message(a)) != NULL) {
            assert_int_equal(gr_stanza_type(st), GR_TYPE_ERROR);
            assert_string_equal(gr_stanza_id(st), "1");
            errors++;
        }
        store_faults = NULL;
        static const struct gr_coll archive = GR_LOG("mam.messages"),
                                    queue = GR_LOG("offline.messages");
        uint64_t all = rows_of(h, "mam", &archive, "alice@localhost") +
                       rows_of(h, "mam", &archive, "bob@localhost") +
                       rows_of(h, "offline", &queue, "bob@localhost");
        if (all < 3 && errors == 0)
            h_fail("after %u commits: %llu rows and no error", good, (unsigned long long)all);
        h_stop(&h);
    }
}

static void handled_when_all_is_on_disk(void **state)
{
    struct h *h = start();
    struct hs *a = managed(h, "alice@localhost/1");

    (void)state;
    h_advance(h, 1000);
    h_hold_store(h, true);
    say(a, "bob@localhost", "1");
    for (int i = 0; i < 6 && h_unhandled(a) > 0; i++)
        h_commit(h);
    assert_int_equal(h_unhandled(a), 0);
    h_restart(h); /* nothing more was committed */
    h_hold_store(h, false);
    expect_rows(h, "alice@localhost", 1, 0);
    expect_rows(h, "bob@localhost", 1, 1);
    struct hs *b = online(h, "bob@localhost/1");
    assert_int_equal(unread(b, "alice@localhost"), 1);
    h_stop(&h);
}

/* --- a reload, and what different owners want --- */

static void a_reload_on_the_way(void **state)
{
    static const char *const id[] = { "0", "1", "2" };
    static const char *const next[] = { WITH("limit = 10\n", "", "bin_ttl = 5d\n"),
                                        WITH("", "page_size = 20\n", ""),
                                        WITH("limit = 20\n", "page_size = 30\n", "bin_ttl = 6d\n") };
    struct h *h = start();
    struct hs *a1 = online(h, "alice@localhost/1"), *a2 = online(h, "alice@localhost/2"), *b;

    (void)state;
    h_hold_store(h, true);
    for (size_t i = 0; i < GR_COUNT(id); i++) {
        say(a1, "bob@localhost", id[i]);
        h_reload(h, next[i], NULL);
        h_commit(h); /* the old instances hear of it */
    }
    for (int i = 0; i < 20 && h_unhandled(a1) > 0; i++)
        h_commit(h);
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(h_unhandled(a1), 0);
    expect_no_message(a1);
    expect_rows(h, "alice@localhost", 3, 0);
    expect_rows(h, "bob@localhost", 3, 3);
    for (size_t i = 0; i < GR_COUNT(id); i++)
        expect(a2, "sent", id[i], "alice@localhost");
    b = online(h, "bob@localhost/1");
    assert_int_equal(unread(b, "alice@localhost"), 3);
    for (unsigned i = 0; i < GR_COUNT(id); i++)
        archived(b, i, id[i]);
    h_stop(&h);
}

/* With everything under way, at each of the first steps: nothing is told, nothing is left (ASan). */
static void a_stop_on_the_way(void **state)
{
    static const char *const iqs[] = {
        "<query xmlns='" NS_MAM "'/>", "<prefs xmlns='" NS_MAM "' default='always'><always/><never/></prefs>",
        "<inbox xmlns='" NS_INBOX "'/>", "<empty-bin xmlns='" NS_INBOX "'/>",
        "<query xmlns='" NS_INBOX "#conversation' jid='bob@localhost'><read>true</read></query>",
        "<offline xmlns='http://jabber.org/protocol/offline'><purge/></offline>",
        "<block xmlns='urn:xmpp:blocking'><item jid='c@localhost'/></block>",
        "<query xmlns='jabber:iq:privacy'><default/></query>",
    };
    static const char *const messages[] = {
        "<body>1</body>", "<displayed xmlns='" MARKERS "' id='1'/>",
        "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
        "<body>2</body><amp xmlns='http://jabber.org/protocol/amp'>" RULE "</amp>",
    };

    (void)state;
    for (int steps = 0; steps < 5; steps++) {
        struct h *h = start();
        struct hs *a = online(h, "alice@localhost/1"), *b;

        h_user(h, "carol@localhost");
        b = online(h, "bob@localhost/1"); /* it has a stored message on its way */
        h_disconnect(&b, true);
        say(a, "bob@localhost", "0");
        h_hold_store(h, true);
        b = h_login(h, "bob@localhost/1");
        h_feed(b, "<presence/>");
        for (size_t i = 0; i < GR_COUNT(messages); i++) {
            char *xml = gr_asprintf("<message to='carol@localhost' id='1' type='chat'>%s</message>",
                                    messages[i]);

            h_feed(a, xml);
            gr_free(xml);
        }
        for (size_t i = 0; i < GR_COUNT(iqs); i++) {
            char *xml = gr_asprintf("<iq type='set' id='i%zu'>%s</iq>", i, iqs[i]);

            h_feed(a, xml);
            gr_free(xml);
        }
        h_feed(a, "<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#items' "
                  "node='http://jabber.org/protocol/offline'/></iq>");
        h_run(h);
        for (int i = 0; i < steps; i++)
            h_commit(h);
        h_restart(h);
        h_hold_store(h, false);
        a = online(h, "alice@localhost/1");
        say(a, "bob@localhost", "2");
        assert_int_equal(h_unhandled(a), 0);
        h_stop(&h);
    }
}

/* What alice's archive calls it is nothing for bob, who wants no archive. */
static void one_archives_and_the_other_does_not(void **state)
{
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = online(h, "bob@localhost/1");
    struct gr_stanza *st;

    (void)state;
    h_iq(b, "set", NULL, "<prefs xmlns='" NS_MAM "' default='never'><always/><never/></prefs>");
    say(a, "bob@localhost", "1");
    assert_string_equal(expect(b, NULL, "1", "bob@localhost"), "");
    expect_rows(h, "bob@localhost", 0, 0);
    h_iq(b, "get", NULL, "<inbox xmlns='urn:xmpp:inbox:1'/>");
    st = next_message(b);
    assert_null(gr_el_attr(gr_stanza_child(st, "urn:xmpp:inbox:1", "entry"), "id"));
    h_stop(&h);
}

/* They come to the end also when the client acknowledges nothing, and looks away. */
static void long_answers(void **state)
{
    struct h *h = start();
    struct hs *b = managed(h, "bob@localhost/1");
    unsigned n = 0;

    (void)state;
    for (int i = 0; i < 60; i++) {
        char to[40];

        snprintf(to, sizeof(to), "u%d@localhost", i);
        say(b, to, "1");
    }
    h_send(b, "<inactive xmlns='urn:xmpp:csi:0'/>");
    h_drop_all(b);
    h_send(b, "<iq type='set' id='q'><query xmlns='" NS_MAM "'><set xmlns='http://jabber.org/protocol/"
              "rsm'><max>60</max></set></query></iq>");
    h_send(b, "<iq type='set' id='i'><inbox xmlns='" NS_INBOX "'/></iq>");
    for (int ms = 0; ms < 3000; ms += 250)
        h_advance(h, 250);
    for (const struct gr_stanza *st = h_next(b); st != NULL; st = h_next(b)) {
        n += is_message(st) && gr_stanza_child(st, NS_MAM, "result") != NULL;
        n += is_message(st) && gr_stanza_child(st, NS_INBOX, "result") != NULL;
        if (gr_stanza_kind(st) == GR_IQ)
            n += 1000;
    }
    assert_int_equal(n, 2120);
    h_stop(&h);
}

/* --- the account goes --- */

static void nothing_is_left_of_an_account(void **state)
{
    static const struct { const char *module; struct gr_coll coll; } all[] = {
        { "mam", GR_LOG("mam.messages") }, { "mam", GR_MAP("mam.contacts") },
        { "mam", GR_MAP("mam.prefs") }, { "offline", GR_LOG("offline.messages") },
        { "inbox", GR_MAP("inbox") }, { "smart_markers", GR_MAP("smart_markers") },
        { "offline_chatmarkers", GR_MAP("offline_chatmarkers") }, { "privacy", GR_MAP("privacy") },
        { "private", GR_MAP("private") }, { "vcard", GR_MAP("vcard") }, { "last", GR_MAP("last") },
        { "roster", GR_MAP("roster_items") }, { "roster", GR_MAP("roster_requests") },
        { "roster", GR_MAP("roster_removed") }, { "roster", GR_MAP("roster_meta") },
    };
    struct h *h = start();
    struct hs *a = online(h, "alice@localhost/1"), *b = managed(h, "bob@localhost/1");

    (void)state;
    h_iq(b, "set", NULL, "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>");
    h_iq(b, "set", NULL, "<vCard xmlns='vcard-temp'><FN>b</FN></vCard>");
    h_iq(b, "set", NULL, "<query xmlns='jabber:iq:roster'><item jid='alice@localhost'/></query>");
    h_iq(b, "set", NULL, "<prefs xmlns='" NS_MAM "' default='always'><always/><never/></prefs>");
    h_iq(b, "set", NULL, "<block xmlns='urn:xmpp:blocking'><item jid='c@localhost'/></block>");
    say(b, "alice@localhost", "1");
    say(a, "bob@localhost", "2");
    h_send(b, "<message to='alice@localhost'><displayed xmlns='" MARKERS "' id='2'/></message>");
    h_iq(b, "set", NULL, "<query xmlns='" NS_INBOX "#conversation' jid='alice@localhost'><box>bin</box></query>");
    h_disconnect(&b, true);
    h_advance(h, 700 * 1000);
    say(a, "bob@localhost", "3");
    h_send(a, "<presence to='bob@localhost' type='subscribe'/>");
    h_send(a, "<message to='bob@localhost'><displayed xmlns='" MARKERS "' id='1'/></message>");
    b = h_login(h, "bob@localhost/2"); /* somebody is there while it goes */
    for (size_t i = 0; i < GR_COUNT(all); i++)
        if (rows_of(h, all[i].module, &all[i].coll, "bob@localhost") == 0 &&
            strcmp(all[i].coll.name, "roster_removed") != 0)
            h_fail("nothing in %s that could go", all[i].coll.name);
    h_feed(b, "<message to='alice@localhost' id='9' type='chat'><body>9</body></message>");
    h_feed(a, "<message to='bob@localhost' id='8' type='chat'><body>8</body></message>");
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    h_advance(h, 5000);
    for (size_t i = 0; i < GR_COUNT(all); i++)
        if (rows_of(h, all[i].module, &all[i].coll, "bob@localhost") != 0)
            h_fail("%llu rows in %s", (unsigned long long)counted, all[i].coll.name);
    static const struct gr_coll binned = GR_MAP("inbox.binned");
    assert_int_equal(rows_of(h, "inbox", &binned, "localhost"), 0);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(two_resources_and_their_copies),
        cmocka_unit_test(copies_of_one_message),
        cmocka_unit_test(a_user_who_is_away),
        cmocka_unit_test(from_store_to_stream_and_back),
        cmocka_unit_test(a_connection_that_breaks),
        cmocka_unit_test(given_up_messages_of_type_normal),
        cmocka_unit_test(an_account_goes_with_its_queue),
        cmocka_unit_test(to_oneself_later),
        cmocka_unit_test(to_a_resource_that_went),
        cmocka_unit_test(to_oneself),
        cmocka_unit_test(blocked),
        cmocka_unit_test(errors_leave_nothing),
        cmocka_unit_test(what_is_forged),
        cmocka_unit_test(delays_are_no_way_around),
        cmocka_unit_test(retracted),
        cmocka_unit_test(retracted_at_once),
        cmocka_unit_test(a_disk_that_fails),
        cmocka_unit_test(handled_when_all_is_on_disk),
        cmocka_unit_test(a_reload_on_the_way),
        cmocka_unit_test(a_stop_on_the_way),
        cmocka_unit_test(one_archives_and_the_other_does_not),
        cmocka_unit_test(long_answers),
        cmocka_unit_test(nothing_is_left_of_an_account),
    };

    return H_RUN("together", cases);
}
