/* tests/mod/test_sm_ends.c: XEP-0198 where things end or meet: two streams for one session, too many that
 * wait, rows that cannot be deleted or read, counters that wrap, the module itself that goes. */
#include "raw.h"

#include "../../modules/mod_stream_management/journal.h"
#include "mod/instance.h"
#include "route/session.h"
#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

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
    };
    return H_RUN("sm_ends", tests);
}
