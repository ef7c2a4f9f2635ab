/* tests/mod/test_sm_ends.c: XEP-0198 where things end or meet: two streams for one session, too many that
 * wait, rows that cannot be deleted or read, counters that wrap, the module itself that goes.
 * test-timeout: 240 */
#include "raw.h"

#include "../../modules/mod_stream_management/journal.h"
#include "mod/instance.h"
#include "route/session.h"
#include "store/engine.h"
#include "stream/sasl2.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define MODULES "[mod_presence]\n[mod_roster]\n[mod_offline]\n[mod_stream_management]\n"
#define INI "[host localhost]\n" MODULES
#define SM "xmlns='urn:xmpp:sm:3'"
#define R "<r " SM "/>"
#define COND(x) "<" x " xmlns='" GR_NS_STANZAS "'/>"

static struct h *begin(const char *ini)
{
    struct h *h = h_start(ini);

    h_user(h, "a@localhost");
    h_user(h, "b@localhost");
    return h;
}

/* Bound, with an SM-ID, and nothing said yet. */
static struct hs *enabled(struct h *h, const char *full, char id[64])
{
    struct hs *s = h_login(h, full);
    struct gr_stanza *st;

    h_send(s, "<enable " SM " resume='true'/>");
    st = h_expect_xml(s, "<enabled " SM " _='any'/>");
    snprintf(id, 64, "%s", gr_el_attr(gr_stanza_root(st), "id"));
    return s;
}

/* The same, available; its own presence is acknowledged. */
static struct hs *online(struct h *h, const char *full, char id[64], int priority)
{
    struct hs *s = enabled(h, full, id);

    h_sendf(s, "<presence><priority>%d</priority></presence>", priority);
    h_drop_all(s);
    h_send(s, "<a " SM " h='1'/>");
    return s;
}

static void ask_to_resume(struct hs *s, const char *id, unsigned got)
{
    char xml[160];

    snprintf(xml, sizeof(xml), "<resume " SM " h='%u' previd='%s'/>", got, id);
    h_feed(s, xml);
}

static struct hs *resume_again(struct h *h, const char *id, unsigned got)
{
    struct hs *s = h_connect(h, "a@localhost");

    ask_to_resume(s, id, got);
    h_run(h);
    return s;
}

static void message(struct hs *from, const char *to, const char *body)
{
    h_sendf(from, "<message type='chat' to='%s' id='%s'><body>%s</body></message>", to, body, body);
}

static void fill(struct h *h, struct hs *from, unsigned count, size_t size)
{
    char *xml = gr_alloc(size + 200);

    for (unsigned i = 0; i < count; i++) {
        size_t len = (size_t)sprintf(xml, "<message type='chat' to='a@localhost' id='%u'><body>", i);

        memset(xml + len, 'x', size);
        strcpy(xml + len + size, "</body></message>");
        h_feed(from, xml);
        if (i % 50 == 49)
            h_run(h);
    }
    h_run(h);
    gr_free(xml);
}

/* Presence apart, nothing but these messages has come (NULL: none), in this order. */
static void expect_bodies(struct hs *s, const char *const *bodies)
{
    for (; h_peek(s) != NULL; h_next(s)) {
        const struct gr_stanza *st = h_peek(s);

        if (gr_stanza_kind(st) != GR_MESSAGE)
            continue;
        if (bodies == NULL || *bodies == NULL)
            h_fail("one message too many: %s", gr_stanza_xml(st, NULL));
        assert_string_equal(gr_stanza_id(st), *bodies++);
    }
    if (bodies != NULL && *bodies != NULL)
        h_fail("no message \"%s\"", *bodies);
}
#define EXPECT_BODIES(s, ...) expect_bodies(s, (const char *const[]){ __VA_ARGS__, NULL })

/* --- two streams, one session --- */

static void test_two_in_one_turn(void **state)
{
    struct h *h = begin(INI);
    struct hs *a, *b, *one, *two;
    char id[64];

    (void)state;
    a = online(h, "a@localhost/x", id, 0);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    h_disconnect(&a, false);
    message(b, "a@localhost", "2");
    h_advance(h, 1000);
    one = h_connect(h, "a@localhost");
    two = h_connect(h, "a@localhost");
    ask_to_resume(one, id, 1);
    ask_to_resume(two, id, 2);
    h_run(h);
    h_expect_xmlf(one, "<resumed " SM " h='1' previd='%s'/>", id);
    EXPECT_BODIES(one, "1", "2"); /* what it has said counts, not what the other one has */
    h_expect_xml(two, "<failed " SM " h='1'>" COND("resource-constraint") "</failed>");
    h_expect_nothing(two);
    ask_to_resume(two, id, 2); /* again: now it wins */
    h_run(h);
    h_expect_closed(&one, "conflict");
    h_expect_xmlf(two, "<resumed " SM " h='1' previd='%s'/>", id);
    EXPECT_BODIES(two, "2");
    h_stop(&h);
}

static struct gr_hold *login_hold;
static struct gr_session *login_session;
static enum gr_verdict wait_login(struct gr_mod *self, struct gr_inline_ev *ev)
{
    login_hold = gr_hold(self, &ev->ev);
    login_session = ev->session;
    return GR_PENDING;
}

static const struct gr_hook waiting[] = { GR_ON(sasl2_success, GR_PRIO_FIRST, wait_login),
                                          GR_HOOK_END };
static const struct gr_module waits = { .name = "waits", .hooks = waiting };

#define JULIET "AGEAc2VjcmV0" /* NUL a NUL secret */

/* A login that resumes, and waits before it does; its stream. */
static struct raw login_that_waits(struct h *h, const char *id, unsigned got)
{
    struct raw r = raw_open(h);
    char text[600];

    login_hold = NULL;
    snprintf(text, sizeof(text),
             "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" JULIET
             "</initial-response><user-agent id='D4565fa7-4d72-4749-b3d3-740edbf87770'/>"
             "<resume " SM " h='%u' previd='%s'/></authenticate>", got, id);
    raw_say(&r, text);
    assert_non_null(login_hold);
    r.got[0] = '\0';
    return r;
}

static unsigned times(const char *text, const char *part)
{
    unsigned n = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        n++;
    return n;
}

static void test_login_and_stream_in_one_turn(void **state)
{
    struct h *h;
    struct hs *a, *b, *stream;
    struct raw login;
    char id[64];

    (void)state;
    for (int login_first = 0; login_first < 2; login_first++) {
        h_module(&waits);
        h = begin("[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n" MODULES);
        a = online(h, "a@localhost/x", id, 0);
        b = h_login(h, "b@localhost/y");
        h_disconnect(&a, false);
        message(b, "a@localhost", "1");
        h_advance(h, 1000);
        stream = h_connect(h, "a@localhost");
        login = login_that_waits(h, id, 1);
        h_enter(h, "a@localhost");
        if (login_first)
            gr_resume(login_hold, GR_OK);
        ask_to_resume(stream, id, 1);
        h_enter(h, "a@localhost");
        if (!login_first)
            gr_resume(login_hold, GR_OK);
        raw_run(&login);
        assert_int_equal(times(login.got, "<resumed "), login_first);
        assert_int_equal(times(login.got, "<failed "), !login_first);
        assert_int_equal(times(login.got, "<body>1</body>"), login_first);
        assert_int_equal(times(login.got, "<success "), 1);
        if (login_first) {
            h_expect_xml(stream, "<failed " SM " h='1'>" COND("resource-constraint") "</failed>");
            EXPECT_BODIES(stream, NULL);
        } else {
            h_expect_xmlf(stream, "<resumed " SM " h='1' previd='%s'/>", id);
            EXPECT_BODIES(stream, "1");
        }
        raw_close(&login);
        h_stop(&h);
    }
}

/* The login that was to have it goes in this moment: the next one need not wait. */
static void test_the_winner_goes(void **state)
{
    struct hs *a, *two;
    struct raw login;
    struct h *h;
    char id[64];

    (void)state;
    h_module(&waits);
    h = begin("[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n" MODULES);
    a = online(h, "a@localhost/x", id, 0);
    h_disconnect(&a, false);
    h_advance(h, 1000);
    login = login_that_waits(h, id, 1);
    two = h_connect(h, "a@localhost");
    h_enter(h, "a@localhost");
    gr_session_close(h_mod(h, "waits", "a@localhost"), login_session, "reset", NULL, true);
    gr_resume(login_hold, GR_OK); /* the end is before the other stream's turn */
    raw_run(&login);
    raw_expect(&login, "<reset ");
    ask_to_resume(two, id, 1);
    h_run(h);
    h_expect_xmlf(two, "<resumed " SM " h='1' previd='%s'/>", id);
    raw_close(&login);
    h_stop(&h);
}

/* The session ends in this moment: who wants it is told, and may go on. */
static void test_the_session_ends_meanwhile(void **state)
{
    struct h *h = begin(INI);
    struct hs *a, *one;
    char id[64];

    (void)state;
    a = online(h, "a@localhost/x", id, 0);
    h_advance(h, 1000);
    one = h_connect(h, "a@localhost");
    h_enter(h, "a@localhost");
    gr_session_close(h_mod(h, "presence", "a@localhost"), h_session(a), "reset", NULL, true);
    ask_to_resume(one, id, 1);
    h_run(h);
    h_expect_xml(one, "<failed " SM ">" COND("item-not-found") "</failed>");
    assert_int_equal(h_bind(one, "x"), GR_COND_NONE);
    h_stop(&h);
}

/* --- too many wait --- */

/* Connections of several sessions break in one turn: as many wait as may, those that waited longest end,
 * and what they had got comes in their order. */
static void test_the_bound_holds_in_one_turn(void **state)
{
    struct h *h = begin(INI "kept_sessions = 2\n");
    struct hs *s[5], *b;
    char id[5][64], full[32];
    size_t left = 0;

    (void)state;
    b = h_login(h, "b@localhost/y");
    for (int i = 0; i < 5; i++) {
        snprintf(full, sizeof(full), "a@localhost/%d", i);
        s[i] = online(h, full, id[i], -1);
        message(b, full, full + 12);
        h_advance(h, 1000);
    }
    h_disconnect(&s[3], false); /* waits longest */
    h_advance(h, 10);
    h_enter(h, "a@localhost");
    for (int i = 0; i < 5; i++)
        if (i != 3)
            gr_session_close(h_mod(h, "presence", "a@localhost"), h_session(s[i]), "reset", NULL,
                             false);
    h_run(h);
    for (int i = 0; i < 5; i++) {
        struct hs *again = resume_again(h, id[i], 1);
        bool there = gr_el_is(gr_stanza_root(h_peek(again)), NULL, "resumed");

        assert_int_equal(there, i == 2 || i == 4);
        left += there;
        if (!there)
            h_disconnect(&again, true);
    }
    assert_int_equal(left, 2);
    s[0] = h_login(h, "a@localhost/z");
    h_send(s[0], "<presence/>");
    EXPECT_BODIES(s[0], "3", "0", "1");
    h_stop(&h);
}

/* --- copies --- */

/* Two of the highest priority got a message, the third, which was there, did not: it is no copy for it. */
static void test_a_copy_of_another_priority(void **state)
{
    struct h *h = begin(INI);
    struct hs *x, *y, *low, *b;
    char id[64];

    (void)state;
    for (int round = 0; round < 4; round++) {
        low = online(h, "a@localhost/low", id, 0);
        x = online(h, "a@localhost/x", id, 5);
        y = online(h, "a@localhost/y", id, 5);
        b = h_login(h, "b@localhost/y");
        h_drop_all(low);
        message(b, "a@localhost", "high");
        if (round & 1)
            h_advance(h, 1000); /* in the journal */
        if (round & 2)
            h_send(low, "<presence><priority>5</priority></presence>"); /* that is too late */
        h_disconnect(&x, true);
        EXPECT_BODIES(y, "high");
        expect_bodies(low, NULL); /* the other one has it */
        h_disconnect(&y, true);
        EXPECT_BODIES(low, "high");
        h_disconnect(&low, true);
        h_disconnect(&b, true);
        x = h_online(h, "a@localhost/x"); /* what nobody has acknowledged */
        h_disconnect(&x, true);
    }
    h_stop(&h);
}

/* The same from the rows: one of the two that had got it hands it on. */
static void test_a_copy_over_a_restart(void **state)
{
    struct h *h = begin(INI);
    struct hs *z, *b;
    char id[64];

    (void)state;
    online(h, "a@localhost/low", id, 0);
    online(h, "a@localhost/x", id, 5);
    online(h, "a@localhost/y", id, 5);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "high");
    h_advance(h, 1000);
    h_restart(h);
    h_advance(h, 601 * 1000);
    z = h_login(h, "a@localhost/z");
    h_send(z, "<presence/>");
    EXPECT_BODIES(z, "high");
    h_stop(&h);
}

/* --- where a queue ends up --- */

/* What means one resource alone comes from the account itself; others may say what they like. And a time is
 * stamped once. */
static void test_what_is_handed_on(void **state)
{
    struct h *h = begin(INI);
    struct hs *x, *z, *b;
    char id[64];

    (void)state;
    b = h_online(h, "b@localhost/y");
    message(b, "a@localhost", "stored");
    z = enabled(h, "a@localhost/z", id);
    h_send(z, "<presence><priority>-1</priority></presence>");
    x = online(h, "a@localhost/x", id, 0);
    h_drop_all(x);
    h_sendf(b, "<message id='forged' to='a@localhost/x' type='chat'><body>x</body>"
               "<result xmlns='urn:xmpp:mam:2'/></message>");
    h_drop_all(z);
    h_send(z, "<presence><priority>1</priority></presence>");
    h_advance(h, 1000);
    h_drop_all(z);
    h_disconnect(&x, true);
    while (gr_stanza_kind(h_peek(z)) == GR_PRESENCE)
        h_next(z);
    h_expect_xml(z, "<message id='stored' type='chat' from='b@localhost/y' to='a@localhost'>"
                    "<body>stored</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/>"
                    "</message>");
    EXPECT_BODIES(z, "forged");
    h_stop(&h);
}

/* --- numbers of the client's --- */

static void test_numbers_that_are_none(void **state)
{
    static const char *const bad[] = { "4294967296", "18446744073709551616", "00000000001", "1x", "",
                                       "+1", " 1" };
    struct h *h = begin(INI);
    struct hs *a;
    char id[64];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(bad); i++) {
        a = online(h, "a@localhost/x", id, 0);
        h_drop_all(a);
        h_sendf(a, "<a " SM " h='%s'/>", bad[i]);
        h_expect_closed(&a, "invalid-xml");
    }
    a = h_login(h, "a@localhost/y");
    h_send(a, "<enable " SM " resume='true' max='4294967295'/>"); /* it is the server that allows */
    h_expect_xml(a, "<enabled " SM " id='*' resume='true' max='600'/>");
    h_stop(&h);
}

/* --- bounds of a queue --- */

static struct sm *sm_of_client(struct h *h, struct gr_session *s)
{
    struct gr_mod *self = h_mod(h, "stream_management", "a@localhost");

    return gr_session_slot_peek(self, s, self->desc->slots[0]);
}

static void test_bytes_of_a_queue(void **state)
{
    struct h *h = begin(INI "queue_size = 64K\n");
    struct gr_session *s;
    struct hs *a, *b;
    char id[64], *body = gr_alloc(4001);
    size_t bytes = 0, one = 0;

    (void)state;
    memset(body, 'x', 4000);
    a = online(h, "a@localhost/x", id, 0);
    b = h_login(h, "b@localhost/y");
    s = h_session(a);
    h_disconnect(&a, false);
    h_enter(h, "a@localhost");
    for (int i = 0; i < 100 && gr_session_find(NULL, h_parse_jid(h, "a@localhost/x"), 0) == s; i++) {
        one = sm_of_client(h, s)->bytes - bytes;
        bytes += one;
        assert_true(bytes <= 64 * GR_KIB);
        h_sendf(b, "<message to='a@localhost' type='chat' id='1'><body>%s</body></message>", body);
        h_enter(h, "a@localhost");
    }
    assert_true(one > 4000 && bytes + one > 64 * GR_KIB); /* the next one was too much */
    assert_int_equal(h_unhandled(b), 0);
    gr_free(body);
    h_stop(&h);
}

/* Too long a queue, of which the client acknowledges some now and then: that is not "nothing". */
static void test_a_slow_client_acknowledges(void **state)
{
    struct h *h = begin(INI "queue_limit = 10\n");
    struct hs *a, *b;
    char id[64];

    (void)state;
    a = online(h, "a@localhost/x", id, 0);
    b = h_login(h, "b@localhost/y");
    fill(h, b, 40, 1);
    for (unsigned got = 3; got < 13; got += 2) {
        h_advance(h, 40 * 1000);
        h_sendf(a, "<a " SM " h='%u'/>", got);
        message(b, "a@localhost", "x");
        assert_null(h_closed(a));
    }
    h_drop_all(a);
    h_send(a, "<a " SM " h='100'/>");
    h_expect_xml(a, "<error xmlns='" GR_NS_STREAM "'><undefined-condition xmlns='" GR_NS_STREAMS
                    "'/><text xmlns='" GR_NS_STREAMS "' xml:lang='en'>You acknowledged 100 stanzas, "
                    "but I only sent you 46 so far.</text>"
                    "<handled-count-too-high " SM " h='100' send-count='46'/></error>");
    h_stop(&h);
}

static void test_ask_now_and_then(void **state)
{
    struct h *h = begin(INI "ack_frequency = 3\n");
    struct hs *a, *b;
    char id[64];

    (void)state;
    a = online(h, "a@localhost/x", id, 0);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1"); /* the presence was the first */
    h_expect_body(a, NULL, "1");
    for (unsigned n = 3; n < 12; n += 3) {
        message(b, "a@localhost", "3");
        h_expect_body(a, NULL, "3");
        h_expect_xml(a, R);
        h_sendf(a, "<a " SM " h='%u'/>", n);
        message(b, "a@localhost", "1");
        message(b, "a@localhost", "2");
        h_expect_body(a, NULL, "1");
        h_expect_body(a, NULL, "2");
        h_expect_nothing(a);
    }
    h_stop(&h);
}

/* What <resumed/> says is on disk, or the next process would say less. */
static void test_resumed_says_what_is_on_disk(void **state)
{
    struct h *h = begin(INI);
    struct hs *a, *b;
    char id[64];

    (void)state;
    a = online(h, "a@localhost/x", id, 0);
    b = h_login(h, "b@localhost/y");
    h_advance(h, 2000);
    h_hold_store(h, true);
    message(a, "b@localhost/y", "1");
    EXPECT_BODIES(b, "1");
    h_disconnect(&a, false);
    a = resume_again(h, id, 1);
    h_expect_nothing(a);
    for (int i = 0; i < 3; i++) {
        h_commit(h);
        h_advance(h, 1);
    }
    h_expect_xmlf(a, "<resumed " SM " h='2' previd='%s'/>", id);
    h_hold_store(h, false);
    h_stop(&h);
}

/* --- rows --- */

static size_t rows_found;
static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *r)
{
    (void)self, (void)req;
    assert_int_equal(r->rc, 0);
    rows_found += r->count;
}

static size_t count_rows(struct h *h)
{
    struct gr_mod *self = h_mod(h, "stream_management", "localhost");

    rows_found = 0;
    for (int i = 0; i < 3; i++)
        gr_store_count(gr_req_new(self, 0, on_count), &self->desc->collections[i], gr_server_id());
    h_run(h);
    return rows_found;
}

static int full(uint64_t n)
{
    (void)n;
    return ENOSPC;
}

/* A session ends while nothing can be written: the sender hears of its message, and nobody gets it after
 * the next start, since the rows go when there is room again; also by another version of the module. */
static void test_rows_that_cannot_be_deleted(void **state)
{
    static const struct store_faults faults = { .commit = full };
    struct h *h = begin(INI);
    struct hs *a, *b, *w;
    char id[64];

    (void)state;
    for (int reload = 0; reload < 2; reload++) {
        w = enabled(h, "a@localhost/w", id);
        a = online(h, "a@localhost/x", id, 0);
        b = h_online(h, "b@localhost/y");
        message(b, "a@localhost", "1");
        h_advance(h, 1000);
        assert_int_equal(count_rows(h), 3 + 2);
        store_faults = &faults;
        h_disconnect(&w, true);
        h_disconnect(&a, true);
        h_expect_error(b, GR_MESSAGE, GR_RESOURCE_CONSTRAINT, "a@localhost");
        h_advance(h, 10 * 1000);
        if (reload)
            h_reload(h, INI "ack_timeout = 2m\n", NULL);
        h_advance(h, 60 * 1000);
        store_faults = NULL;
        assert_int_equal(count_rows(h), 3 + 2);
        h_advance(h, 61 * 1000);
        assert_int_equal(count_rows(h), 0);
        h_restart(h);
        a = h_login(h, "a@localhost/x");
        h_send(a, "<presence/>");
        expect_bodies(a, NULL);
        h_disconnect(&a, true);
    }
    h_stop(&h);
}

/* --- rows that nobody can read --- */

static const uint8_t lost_hash[HASH_SIZE] = { 0x11, 0x22 };

enum lost { NO_COUNTERS, BAD_COUNTERS, FAR_COUNTERS, BAD_IMAGE, BAD_SESSION, EMPTY_SESSION, LOST_END };

static void put(struct gr_mod *self, struct gr_txn *t, int coll, const void *key, size_t key_len,
                const void *val, size_t len)
{
    gr_txn_put(t, &self->desc->collections[coll], gr_server_id(), key, key_len, val, len);
}

static void put_number(uint8_t *out, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

static void put_queue(struct gr_mod *self, struct gr_txn *t, const uint8_t hash[HASH_SIZE])
{
    for (unsigned i = 0; i < 150; i++) {
        uint8_t key[QUEUE_KEY], row[256] = { ROW_VERSION };
        int len = snprintf((char *)row + STANZA_HEAD, sizeof(row) - STANZA_HEAD,
                           "<message xmlns='jabber:client' type='chat' id='%u' from='b@localhost' "
                           "to='a@localhost'><body>%u</body></message>", i, i);

        memcpy(key, hash, HASH_SIZE);
        put_number(key + HASH_SIZE, i);
        if (i == 0 || i == 60)
            row[STANZA_HEAD] = '?';
        if (i != 50)
            put(self, t, 2, key, sizeof(key), row, STANZA_HEAD + (size_t)len);
    }
}

/* What a process has left of a session of a@localhost/x. */
static void put_lost(struct h *h, enum lost how)
{
    struct gr_mod *self = h_mod(h, "stream_management", "a@localhost");
    struct gr_txn *t = gr_txn_new(self);
    uint8_t session[] = "\1" "\0\0\0\0\0\1\0\0" "a@localhost/x\0" "no image";
    uint8_t counters[COUNTERS_ROW] = { ROW_VERSION };

    if (how >= BAD_SESSION)
        session[0] = 99;
    put(self, t, 0, lost_hash, HASH_SIZE, session, sizeof(session) - 1);
    if (how == BAD_COUNTERS)
        counters[0] = 99;
    put_number(counters + 18, how == FAR_COUNTERS ? UINT64_MAX : 150);
    put_number(counters + 26, 150);
    if (how != NO_COUNTERS)
        put(self, t, 1, lost_hash, HASH_SIZE, counters, sizeof(counters));
    if (how != EMPTY_SESSION)
        put_queue(self, t, lost_hash);
    gr_txn_commit(t, NULL);
    h_run(h);
}

static void test_damaged_rows(void **state)
{
    static const uint8_t next_hash[HASH_SIZE] = { 0x11, 0x23 }; /* whose rows are right behind */
    struct h *h = begin(INI);
    struct gr_txn *t;
    struct hs *a;

    (void)state;
    t = gr_txn_new(h_mod(h, "stream_management", "a@localhost"));
    put_queue(h_mod(h, "stream_management", "a@localhost"), t, next_hash);
    gr_txn_commit(t, NULL);
    for (enum lost how = 0; how < LOST_END; how++) {
        put_lost(h, how);
        assert_true(count_rows(h) > 149);
        h_restart(h);
        assert_non_null(strstr(h_log(h), "sm.damaged"));
        assert_int_equal(count_rows(h), 149);
        a = h_login(h, "a@localhost/x");
        h_send(a, "<presence/>");
        h_expect(a, GR_PRESENCE, GR_AVAILABLE, NULL);
        for (unsigned i = 1; i < 150 && how != EMPTY_SESSION; i++) {
            char n[8];

            snprintf(n, sizeof(n), "%u", i);
            if (i != 50 && i != 60)
                assert_string_equal(gr_stanza_id(h_expect_body(a, "b@localhost", n)), n);
        }
        h_expect_nothing(a);
        h_disconnect(&a, true);
        h_restart(h); /* not a word any more */
        assert_null(strstr(h_log(h), "sm.damaged"));
    }
    h_stop(&h);
}

/* It is found out only when the client is back: the session ends, what can be read waits elsewhere. */
static void test_a_stanza_is_missing(void **state)
{
    struct h *h = begin(INI);
    struct hs *a, *b;
    struct gr_mod *self;
    struct gr_txn *t;
    uint8_t key[QUEUE_KEY];
    char id[64];

    (void)state;
    online(h, "a@localhost/x", id, 0);
    b = h_login(h, "b@localhost/y");
    message(b, "a@localhost", "1");
    message(b, "a@localhost", "2");
    message(b, "a@localhost", "3");
    h_advance(h, 1000);
    h_restart(h);
    self = h_mod(h, "stream_management", "a@localhost");
    gr_sha256(key, id, strlen(id));
    put_number(key + HASH_SIZE, 2);
    t = gr_txn_new(self);
    gr_txn_del(t, &self->desc->collections[2], gr_server_id(), key, sizeof(key));
    gr_txn_commit(t, NULL);
    h_run(h);
    a = resume_again(h, id, 1);
    h_expect_xml(a, "<failed " SM ">" COND("internal-server-error") "</failed>");
    assert_int_equal(count_rows(h), 0);
    assert_int_equal(h_bind(a, "x"), GR_COND_NONE);
    h_send(a, "<presence/>");
    EXPECT_BODIES(a, "1", "3");
    h_stop(&h);
}

/* --- long queues --- */

/* All that a stream has to say when it is read at last. */
static char *read_all(struct raw *r)
{
    size_t len = 0, room = 64 * GR_MIB;
    char *all = gr_alloc(room);
    ssize_t n;

    do {
        h_run(r->h);
        while ((n = read(r->fd, all + len, room - len - 1)) > 0)
            len += (size_t)n;
        h_run(r->h);
        n = read(r->fd, all + len, room - len - 1);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    r->eof = n == 0;
    all[len] = '\0';
    return all;
}

#define STREAMS "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n" MODULES

/* A client that has said that it is back, and reads nothing. */
static struct raw resume_unread(struct h *h, const char *id, unsigned got, bool login)
{
    struct raw r;
    char text[160];

    if (login) {
        r = login_that_waits(h, id, got);
        h_enter(h, "a@localhost");
        gr_resume(login_hold, GR_OK);
        h_run(h);
        return r;
    }
    r = raw_open(h);
    raw_authenticate(&r, PLAIN(JULIET));
    snprintf(text, sizeof(text), "<resume " SM " h='%u' previd='%s'/>", got, id);
    assert_int_equal(write(r.fd, text, strlen(text)), strlen(text));
    h_run(h);
    return r;
}

/* What waits in the queue may be more than a connection may have unread: all of it comes, in order, however
 * slowly it is read. */
static void test_more_than_the_output_holds(void **state)
{
    static const struct { const char *ini; unsigned count; size_t size; } one[] = {
        { STREAMS "queue_size = 16M\nqueue_limit = 599\n", 599, 10000 }, /* limits.output_hard is 4M */
        { STREAMS "queue_limit = 20000\nqueue_size = 1G\n", SASL2_HELD_MAX + 10, 1 },
    };

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct h *h;
        struct hs *a, *b;
        struct raw r;
        char id[64], n[64], *all, *at;

        h_module(&waits);
        h = begin(one[i / 2].ini);
        a = online(h, "a@localhost/x", id, 0);
        b = h_login(h, "b@localhost/y");
        h_disconnect(&a, false);
        fill(h, b, one[i / 2].count, one[i / 2].size);
        h_advance(h, 1000);
        r = resume_unread(h, id, 1, i % 2 != 0);
        h_advance(h, 100 * 1000); /* longer than it has to acknowledge a stanza */
        message(b, "a@localhost", "behind");
        all = read_all(&r);
        assert_false(r.eof);
        at = strstr(all, "<resumed ");
        if (at == NULL)
            h_fail("%d: %.200s", i, all);
        for (unsigned k = 0; k < one[i / 2].count; k++) {
            snprintf(n, sizeof(n), " id='%u'", k);
            at = strstr(at, n);
            if (at == NULL)
                h_fail("%d: no message %u", i, k);
        }
        assert_non_null(strstr(at, "behind"));
        gr_free(all);
        raw_close(&r);
        h_stop(&h);
    }
}

/* --- a crash --- */

static int works_again(struct gr_mod *self, const char **why)
{
    (void)self, (void)why;
    store_faults = NULL;
    return 0;
}

static const struct gr_module recovers = { .name = "recovers", .start = works_again };

/* Nothing of the end is written. */
static void crash(struct h *h)
{
    static const struct store_faults faults = { .commit = full };

    store_faults = &faults;
    h_restart(h);
}

static unsigned take_stanzas(struct hs *s)
{
    unsigned n = 0;

    for (; h_peek(s) != NULL; h_next(s))
        n += gr_stanza_kind(h_peek(s)) != GR_NONZA;
    return n;
}

/* Presence that was kept back for an inactive client, and that of contacts who went with the process: the
 * client hears how it is now, once, and only after a crash. */
static void test_presence_after_a_crash(void **state)
{
    struct h *h;
    struct hs *a, *b, *c;
    char id[64];
    unsigned got;

    (void)state;
    h_module(&recovers);
    h = begin(INI "[mod_csi]\n");
    h_user(h, "c@localhost");
    a = online(h, "a@localhost/x", id, 0);
    b = h_online(h, "b@localhost/y");
    c = h_online(h, "c@localhost/y");
    h_send(a, "<presence type='subscribe' to='b@localhost'/>");
    h_send(b, "<presence type='subscribed' to='a@localhost'/>");
    h_send(a, "<presence type='subscribe' to='c@localhost'/>");
    h_send(c, "<presence type='subscribed' to='a@localhost'/>");
    h_send(a, "<inactive xmlns='urn:xmpp:csi:0'/>");
    h_drop_all(a);
    h_advance(h, 2000);
    h_send(b, "<presence><show>away</show></presence>"); /* kept back */
    h_expect_nothing(a);
    crash(h);
    b = h_online(h, "b@localhost/y");
    h_send(b, "<presence><show>dnd</show></presence>");
    h_advance(h, 1000);
    a = resume_again(h, id, 5);
    h_expect_xml(a, "<resumed " SM " _='any'/>");
    h_expect_among(a, "<presence from='b@localhost/y' to='a@localhost/x' _='more'><show>dnd</show>"
                      "<delay xmlns='urn:xmpp:delay' _='any'/></presence>");
    h_expect_among(a, "<presence type='unavailable' from='c@localhost' to='a@localhost/x' _='more'/>");
    got = 5 + 2 + take_stanzas(a);
    h_sendf(a, "<a " SM " h='%u'/>", got);
    h_advance(h, 2000);
    got += take_stanzas(a);
    for (int restart = 0; restart < 2; restart++) {
        if (restart)
            h_restart(h);
        else
            h_disconnect(&a, false);
        a = resume_again(h, id, got);
        h_expect_xml(a, "<resumed " SM " _='any'/>");
        for (; h_peek(a) != NULL; h_next(a)) /* what happened while it was away, not a second probe */
            assert_false(gr_stanza_kind(h_peek(a)) == GR_PRESENCE &&
                         (gr_stanza_child(h_peek(a), GR_NS_DELAY, "delay") != NULL ||
                          gr_jid_is_bare(gr_stanza_from(h_peek(a)))));
    }
    h_stop(&h);
}

static unsigned commits_left;
static int full_after_some(uint64_t n)
{
    (void)n;
    if (commits_left == 0)
        return ENOSPC;
    commits_left--;
    return 0;
}

/* Stored messages are written down as unacknowledged in one commit, and leave the store in the next one
 * (mod_offline.md). The process may die before, between and after: none is lost, and only between the two
 * do they come twice. */
static void test_stored_messages_and_a_crash(void **state)
{
    static const struct store_faults faults = { .commit = full_after_some };
    unsigned twice = 0;

    (void)state;
    for (unsigned commits = 0; commits < 4; commits++) {
        unsigned seen[2] = { 0, 0 };
        struct h *h;
        struct hs *a, *b;
        char id[64];

        h_module(&recovers);
        h = begin(INI);
        b = h_online(h, "b@localhost/y");
        message(b, "a@localhost", "0");
        message(b, "a@localhost", "1");
        a = enabled(h, "a@localhost/x", id);
        h_send(a, "<presence/>");
        h_drop_all(a);
        h_send(a, "<a " SM " h='1'/>"); /* the presence alone; now the messages are unacknowledged */
        commits_left = commits;
        store_faults = &faults;
        h_advance(h, 500);
        store_faults = commits_left == 0 ? &faults : NULL;
        crash(h);
        a = resume_again(h, id, 1);
        if (strcmp(gr_el_attr(gr_stanza_root(h_peek(a)), "h"), "0") == 0)
            h_send(a, "<presence/>"); /* the server does not know of it: sent again */
        h_advance(h, 1000);
        for (; h_peek(a) != NULL; h_next(a))
            if (gr_stanza_kind(h_peek(a)) == GR_MESSAGE)
                seen[gr_stanza_id(h_peek(a))[0] - '0']++;
        assert_true(seen[0] >= 1 && seen[1] >= 1);
        assert_true(seen[0] <= 2 && seen[1] <= 2);
        twice += seen[0] + seen[1] > 2;
        h_stop(&h);
    }
    assert_int_equal(twice, 1);
}

/* --- 2^32 stanzas --- */

/* As if so many had gone both ways; nothing may be open. */
static void set_counters(struct h *h, struct hs *client, uint32_t n)
{
    struct gr_mod *self = h_mod(h, "stream_management", "a@localhost");
    struct gr_session *s = h_session(client);
    struct sm *sm = gr_session_slot_peek(self, s, self->desc->slots[0]);

    assert_int_equal(sm->count, 0);
    s->counts->received = s->counts->handled = s->counts->promised = n;
    sm->durable = sm->claimed = sm->told = sm->wanted = n;
    sm->acked = sm->disk_from = sm->disk_to = sm->looked_at = n;
    sm->image_dirty = true;
}

static void expect_answer(struct hs *s, const char *h)
{
    h_send(s, R);
    h_expect_xmlf(s, "<a " SM " h='%s'/>", h);
}

/* XEP-0198, 4: "in the unlikely case that the number of stanzas handled during a stream management session
 * exceeds the number of digits that can be represented by the unsignedInt datatype ..., the value of 'h'
 * SHALL be reset from 2^32-1 back to zero". */
static void test_counters_wrap(void **state)
{
    struct h *h;
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_module(&recovers);
    h = begin(INI);
    b = h_login(h, "b@localhost/y");
    a = online(h, "a@localhost/x", id, 0);
    h_advance(h, 2000);
    set_counters(h, a, UINT32_MAX - 1); /* 4294967294 */
    h_hold_store(h, true);
    h_send(a, "<message to='b@localhost/y'/>");
    expect_answer(a, "4294967294");
    h_advance(h, 1); /* on its way to the disk */
    h_send(a, "<message to='b@localhost/y'/>");
    expect_answer(a, "4294967294");
    h_commit(h);
    h_expect_xml(a, "<a " SM " h='4294967295'/>"); /* unasked, and that is not all */
    h_advance(h, 1);
    h_commit(h);
    h_expect_xml(a, "<a " SM " h='0'/>");
    h_hold_store(h, false);
    h_send(a, "<message to='b@localhost/y'/>");
    h_advance(h, 2000);
    expect_answer(a, "1");
    message(b, "a@localhost", "1"); /* 4294967295 are with the client then */
    message(b, "a@localhost", "2"); /* 0 */
    message(b, "a@localhost", "3"); /* 1 */
    EXPECT_BODIES(a, "1", "2", "3");
    h_send(a, "<a " SM " h='0'/>");
    assert_int_equal(h_unhandled(b), 1);
    h_send(a, "<a " SM " h='4294967295'/>"); /* behind, not too high */
    h_advance(h, 1000); /* written down */
    assert_int_equal(h_unhandled(b), 0);
    h_expect_xml(a, R);
    h_expect_nothing(a);
    h_disconnect(&a, false);
    a = resume_again(h, id, UINT32_MAX); /* had acknowledged more: that one is gone */
    h_expect_xml(a, "<failed " SM " h='1'>" COND("item-not-found") "</failed>");
    ask_to_resume(a, id, 0);
    h_run(h);
    h_expect_xmlf(a, "<resumed " SM " h='1' previd='%s'/>", id);
    EXPECT_BODIES(a, "3");
    h_send(a, "<a " SM " h='2'/>");
    h_expect_xml(a, "<error xmlns='" GR_NS_STREAM "' _='any'/>");
    h_expect_closed(&a, "");
    h_stop(&h);
}

/* The same from the rows, by a process that ended in order and by one that did not. */
static void test_counters_wrap_over_a_restart(void **state)
{
    struct h *h;
    struct hs *a, *b;
    char id[64];

    (void)state;
    h_module(&recovers);
    h = begin(INI);
    for (int crashed = 0; crashed < 2; crashed++) {
        b = h_online(h, "b@localhost/y");
        a = online(h, "a@localhost/x", id, 0);
        h_advance(h, 2000);
        set_counters(h, a, UINT32_MAX - 1);
        h_send(a, "<message to='b@localhost/y'/>");
        h_send(a, "<message to='b@localhost/y'/>");
        message(b, "a@localhost", "1");
        message(b, "a@localhost", "2");
        message(b, "a@localhost", "3");
        h_advance(h, 2000);
        expect_bodies(a, (const char *const[]){ "1", "2", "3", NULL });
        if (crashed)
            crash(h);
        else
            h_restart(h);
        b = h_online(h, "b@localhost/y");
        message(b, "a@localhost", "4"); /* 2 */
        h_advance(h, 2000);
        if (!crashed) { /* what came since the restart has not been sent to anybody */
            a = resume_again(h, id, 2);
            h_expect_xml(a, "<error xmlns='" GR_NS_STREAM "' _='any'/>");
            h_expect_closed(&a, "");
        }
        a = resume_again(h, id, UINT32_MAX - 2);
        h_expect_xml(a, "<failed " SM " h='0'>" COND("item-not-found") "</failed>");
        ask_to_resume(a, id, 0); /* it has two of three */
        h_run(h);
        h_expect_xmlf(a, "<resumed " SM " h='0' previd='%s'/>", id);
        EXPECT_BODIES(a, "3", "4");
        h_send(a, "<a " SM " h='2'/>");
        h_advance(h, 2000);
        assert_int_equal(count_rows(h), 2);
        h_disconnect(&a, true);
        h_disconnect(&b, true);
    }
    h_stop(&h);
}

/* --- the module goes --- */

#define WITHOUT "[host localhost]\n[mod_presence]\n[mod_roster]\n[mod_offline]\n"

/* Sessions that wait end, those of the last process as well (whose queue is on disk only), and one that is
 * about to be resumed; connected ones go on. With the module back, and after a restart, nobody is there. */
static void test_the_module_goes(void **state)
{
    struct h *h = begin(INI);
    struct hs *a, *b, *c, *e, *back, *here;
    char id[64], other[64];

    (void)state;
    h_user(h, "c@localhost");
    h_user(h, "d@localhost");
    h_user(h, "e@localhost");
    b = h_login(h, "b@localhost/y");
    a = online(h, "a@localhost/x", id, 0);
    message(b, "a@localhost", "1");
    message(b, "a@localhost", "2");
    h_advance(h, 1000);
    h_restart(h);
    b = h_online(h, "b@localhost/y");
    message(b, "a@localhost", "3");
    c = online(h, "c@localhost/x", other, 0);
    h_disconnect(&c, false);
    message(b, "c@localhost", "4");
    here = online(h, "d@localhost/x", other, 0);
    message(b, "d@localhost", "5");
    h_advance(h, 1000);
    e = online(h, "e@localhost/x", id, 0);
    h_hold_store(h, true);
    message(e, "c@localhost/nobody", "stored");
    h_disconnect(&e, false);
    back = h_connect(h, "e@localhost");
    ask_to_resume(back, id, 1); /* waits for the disk */
    h_run(h);
    h_expect_nothing(back);
    h_reload(h, WITHOUT, NULL);
    h_hold_store(h, false);
    h_expect_xml(back, "<failed " SM ">" COND("item-not-found") "</failed>");
    assert_int_equal(h_unhandled(b), 0);
    assert_null(h_closed(here));
    EXPECT_BODIES(here, "5");
    message(b, "d@localhost", "6");
    EXPECT_BODIES(here, "6");
    h_reload(h, INI, NULL);
    assert_int_equal(count_rows(h), 0);
    h_restart(h);
    a = h_login(h, "a@localhost/x");
    h_send(a, "<presence/>");
    EXPECT_BODIES(a, "1", "2", "3");
    c = h_login(h, "c@localhost/x");
    h_send(c, "<presence/>");
    EXPECT_BODIES(c, "4", "stored");
    h_stop(&h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_in_one_turn),
        cmocka_unit_test(test_login_and_stream_in_one_turn),
        cmocka_unit_test(test_the_winner_goes),
        cmocka_unit_test(test_the_session_ends_meanwhile),
        cmocka_unit_test(test_the_bound_holds_in_one_turn),
        cmocka_unit_test(test_a_copy_of_another_priority),
        cmocka_unit_test(test_a_copy_over_a_restart),
        cmocka_unit_test(test_what_is_handed_on),
        cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test(test_bytes_of_a_queue),
        cmocka_unit_test(test_a_slow_client_acknowledges),
        cmocka_unit_test(test_ask_now_and_then),
        cmocka_unit_test(test_resumed_says_what_is_on_disk),
        cmocka_unit_test(test_rows_that_cannot_be_deleted),
        cmocka_unit_test(test_damaged_rows),
        cmocka_unit_test(test_a_stanza_is_missing),
        cmocka_unit_test(test_presence_after_a_crash),
        cmocka_unit_test(test_stored_messages_and_a_crash),
        cmocka_unit_test(test_counters_wrap),
        cmocka_unit_test(test_counters_wrap_over_a_restart),
        cmocka_unit_test(test_the_module_goes),
        cmocka_unit_test(test_more_than_the_output_holds),
    };
    return H_RUN("sm_ends", tests);
}
