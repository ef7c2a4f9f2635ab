/* tests/mod/test_sm_exact.c: what the server says of itself after a crash (XEP-0198, 5): h is committed
 * with what was stored for the stanzas that it counts, never before, and not when that fails; who was
 * told an SM-ID can resume. One h_commit is one commit; h_restart keeps what was committed. */
#include "raw.h"

#include "store/commit.h"
#include "store/engine.h"

#include <errno.h>
#include <stdio.h>

#define SM "xmlns='urn:xmpp:sm:3'"
#define R "<r " SM "/>"
#define HOST "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n"
#define INI HOST "[mod_presence]\n[mod_roster]\n[mod_offline]\nlimit = 1\n[mod_stream_management]\n"
#define INI_MAM INI "[mod_mam]\n"
#define LOGIN "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>AGEAc2VjcmV0" \
              "</initial-response><bind xmlns='urn:xmpp:bind:0'><enable " SM " resume='true'/></bind>" \
              "</authenticate>"

static struct h *begin(const char *ini)
{
    static const char *const users[] = { "a@localhost", "b@localhost", "c@localhost" };
    struct h *h = h_start(ini);

    for (size_t i = 0; i < GR_COUNT(users); i++)
        h_user(h, users[i]);
    return h;
}

static struct hs *online(struct h *h, const char *full, char id[64])
{
    struct hs *s = h_login(h, full);
    struct gr_stanza *st;

    h_send(s, "<enable " SM " resume='true'/>");
    st = h_expect_xml(s, "<enabled " SM " id='*' resume='true' max='600'/>");
    snprintf(id, 64, "%s", gr_el_attr(gr_stanza_root(st), "id"));
    h_send(s, "<presence/>");
    h_expect(s, GR_PRESENCE, GR_AVAILABLE, full);
    h_expect_xml(s, R);
    h_send(s, "<a " SM " h='1'/>");
    h_advance(h, 1200); /* all of that is on disk */
    h_drop_all(s);
    return s;
}

static void message(struct hs *from, const char *to, const char *body)
{
    h_sendf(from, "<message type='chat' to='%s' id='%s'><body>%s</body></message>", to, body, body);
}

static int full(uint64_t n)
{
    (void)n;
    return ENOSPC;
}
static const struct store_faults no_commit = { .commit = full };

/* The process ends here, whatever it still tries; what it had committed is what the client hears. */
static struct hs *crash(struct h *h, const char *bare, const char *id, unsigned got, unsigned count)
{
    struct hs *s;

    store_faults = &no_commit;
    h_restart(h);
    store_faults = NULL;
    h_hold_store(h, false);
    h_advance(h, 1001);
    s = h_connect(h, bare);
    h_sendf(s, "<resume " SM " h='%u' previd='%s'/>", got, id);
    h_expect_xmlf(s, "<resumed " SM " h='%u' previd='%s'/>", count, id);
    return s;
}

static uint64_t commits(void)
{
    return batch_stats.commits;
}

/* --- h and the effects --- */

/* The archives of both, the stored message and h: one commit, and the sender hears of it with that. */
static void test_one_commit(void **state)
{
    struct h *h = begin(INI_MAM);
    uint64_t before;
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    h_hold_store(h, true);
    message(a, "b@localhost", "1");
    before = commits();
    h_commit(h);
    assert_int_equal(commits() - before, 1);
    h_send(a, R);
    h_expect_xml(a, "<a " SM " h='2'/>");
    crash(h, "a@localhost", id, 1, 2);
    h_stop(&h);
}

static void test_not_before_the_effects(void **state)
{
    struct h *h = begin(INI_MAM);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    h_hold_store(h, true);
    message(a, "b@localhost", "1");
    h_advance(h, 5000);
    h_send(a, R);
    h_expect_xml(a, "<a " SM " h='1'/>");
    crash(h, "a@localhost", id, 1, 1);
    h_stop(&h);
}

/* The second does not fit: neither it nor what follows may be counted with that commit. */
static void test_not_when_they_fail(void **state)
{
    struct h *h = begin(INI);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    message(a, "b@localhost", "1");
    h_hold_store(h, true);
    message(a, "b@localhost", "2");
    message(a, "c@localhost", "3");
    h_commit(h);
    h_drop_all(a);
    crash(h, "a@localhost", id, 1, 2);
    h_stop(&h);
}

/* ... but when its sender has got the error, and that is on disk. */
static void test_goes_on_behind_the_error(void **state)
{
    struct h *h = begin(INI);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    message(a, "b@localhost", "1");
    message(a, "b@localhost", "2");
    h_expect_xml(a, "<message type='error' id='2' from='b@localhost' _='any'/>");
    h_send(a, R);
    h_drop_all(a);
    message(a, "c@localhost", "3"); /* a promise again */
    a = crash(h, "a@localhost", id, 1, 4);
    h_expect_xml(a, "<message type='error' id='2' from='b@localhost' _='any'/>");
    h_stop(&h);
}

/* The recipient has not acknowledged the first; the archives of both have it, and the second is on disk. */
static void test_an_earlier_one_waits(void **state)
{
    struct h *h = begin(INI_MAM);
    char id[64], other[64];
    struct hs *a = online(h, "a@localhost/x", id), *b = online(h, "b@localhost/y", other);

    (void)state;
    message(a, "b@localhost", "1");
    message(a, "c@localhost", "2");
    h_send(a, R);
    h_expect_xml(a, "<a " SM " h='1'/>");
    h_send(b, "<a " SM " h='2'/>");
    h_expect_xml(a, "<a " SM " h='3'/>");
    crash(h, "a@localhost", id, 1, 3);
    h_stop(&h);
}

/* ... and not counted either when the session's row is written for another reason. */
static void test_an_earlier_one_waits_meanwhile(void **state)
{
    struct h *h = begin(INI "ack_timeout = 1h\n");
    char id[64], other[64];
    struct hs *a = online(h, "a@localhost/x", id), *b = online(h, "b@localhost/y", other);
    uint64_t before;

    (void)state;
    message(b, "a@localhost", "0");
    h_advance(h, 1200); /* a does not acknowledge: what comes is written at once */
    message(a, "b@localhost", "1");
    message(a, "c@localhost", "2");
    before = commits();
    message(b, "a@localhost", "3");
    assert_int_equal(commits() - before, 1);
    crash(h, "a@localhost", id, 1, 1);
    h_stop(&h);
}

/* Who does not acknowledge at once: what waits for him is written at once, with the sender's h. */
static void test_a_slow_recipient(void **state)
{
    struct h *h = begin(INI_MAM);
    uint64_t before;
    char id[64], other[64];
    struct hs *a = online(h, "a@localhost/x", id), *b = online(h, "b@localhost/y", other);

    (void)state;
    message(a, "b@localhost", "1");
    h_advance(h, 1200);
    h_hold_store(h, true);
    before = commits();
    message(a, "b@localhost", "2");
    h_commit(h);
    assert_int_equal(commits() - before, 1);
    crash(h, "a@localhost", id, 1, 3);
    b = h_connect(h, "b@localhost");
    h_sendf(b, "<resume " SM " h='1' previd='%s'/>", other);
    h_expect_xmlf(b, "<resumed " SM " h='1' previd='%s'/>", other);
    h_expect_body(b, "a@localhost/x", "1");
    h_expect_body(b, "a@localhost/x", "2");
    h_stop(&h);
}

/* Its rows could not be written: the sender's stanza is not handled, whatever else of it was stored. */
static void test_a_slow_recipient_and_a_full_disk(void **state)
{
    struct h *h = begin(INI);
    char id[64], other[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    online(h, "b@localhost/y", other);
    message(a, "b@localhost", "1");
    h_advance(h, 1200);
    h_drop_all(a);
    store_faults = &no_commit;
    message(a, "b@localhost", "2");
    h_send(a, R);
    h_advance(h, 5000);
    h_expect_xml(a, "<a " SM " h='2'/>");
    h_expect_nothing(a);
    store_faults = NULL;
    h_advance(h, 2000);
    h_expect_xml(a, "<a " SM " h='3'/>");
    crash(h, "a@localhost", id, 1, 3);
    h_stop(&h);
}

/* Two sessions in one transaction: that the one's message could not be stored does not concern the other. */
static void test_a_failure_is_its_own(void **state)
{
    struct h *h = begin(INI);
    char id[64], other[64];
    struct hs *a = online(h, "a@localhost/x", id), *c = online(h, "c@localhost/z", other);

    (void)state;
    message(a, "b@localhost", "1");
    h_advance(h, 1200);
    h_hold_store(h, true);
    message(a, "b@localhost", "2"); /* does not fit */
    h_send(c, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_send(a, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_advance(h, 1200);
    h_commit(h);
    h_drop_all(c);
    h_send(c, R);
    h_expect_xml(c, "<a " SM " h='2'/>");
    h_stop(&h);
}

/* What counts a message that failed has the error for it with it, whatever brings the count. */
static void test_no_count_without_the_error(void **state)
{
    struct h *h = begin(INI);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    message(a, "b@localhost", "1");
    h_hold_store(h, true);
    message(a, "b@localhost", "2");
    h_commit(h);
    h_expect_xml(a, "<message type='error' id='2' from='b@localhost' _='any'/>");
    message(a, "c@localhost", "3");
    h_commit(h);
    a = crash(h, "a@localhost", id, 1, 4);
    h_expect_xml(a, "<message type='error' id='2' from='b@localhost' _='any'/>");
    h_stop(&h);
}

/* ... also when its client waits for the count. */
static void test_no_count_before_the_error(void **state)
{
    struct h *h = begin(INI_MAM);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id);

    (void)state;
    message(a, "b@localhost", "1");
    h_hold_store(h, true);
    message(a, "b@localhost", "2");
    h_send(a, R);
    h_commit(h);
    h_commit(h);
    a = crash(h, "a@localhost", id, 1, 3);
    h_expect_xml(a, "<message type='error' id='2' from='b@localhost' _='any'/>");
    h_stop(&h);
}

static void test_nothing_stored_costs_nothing(void **state)
{
    struct h *h = begin(INI);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id), *b = h_login(h, "b@localhost/y");
    uint64_t before;

    (void)state;
    h_send(b, "<presence/>");
    h_drop_all(b);
    before = commits();
    for (int i = 0; i < 20; i++) {
        message(a, "b@localhost", "x");
        h_advance(h, 40);
        h_expect_body(b, "a@localhost/x", "x");
    }
    assert_int_equal(commits() - before, 0);
    h_advance(h, 1200); /* later, all of them together */
    assert_int_equal(commits() - before, 1);
    crash(h, "a@localhost", id, 1, 21);
    h_stop(&h);
}

/* --- <enabled/> --- */

/* The answer comes to code that has been replaced: the session is its successor's all the same. */
static void test_enabled_over_a_reload(void **state)
{
    struct h *h = begin(INI);
    struct hs *s = h_login(h, "a@localhost/x"), *b = h_login(h, "b@localhost/y");

    (void)state;
    h_send(b, "<enable " SM "/>");
    h_expect_xml(b, "<enabled " SM "/>");
    h_hold_store(h, true);
    h_send(s, "<enable " SM " resume='true'/>");
    assert_int_equal(h_reload(h, INI "ack_timeout = 1h\n", NULL), 0);
    store_faults = &no_commit;
    h_hold_store(h, false);
    h_advance(h, 10);
    store_faults = NULL;
    h_expect_xml(s, "<enabled " SM "/>");
    message(b, "a@localhost/x", "1");
    h_expect_body(s, "b@localhost/y", "1");
    h_advance(h, 2000); /* not acknowledged: it is written down */
    h_send(b, R);
    h_expect_xml(b, "<a " SM " h='1'/>");
    h_disconnect(&s, true);
    h_stop(&h);
}

static void test_enabled_waits_for_the_row(void **state)
{
    struct h *h = begin(INI);
    struct hs *s = h_login(h, "a@localhost/x");
    struct gr_stanza *st;
    char id[64];

    (void)state;
    h_hold_store(h, true);
    h_send(s, "<enable " SM " resume='true'/>");
    h_send(s, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>"); /* behind it */
    h_expect_nothing(s);
    h_commit(h);
    st = h_expect_xml(s, "<enabled " SM " id='*' resume='true' max='600'/>");
    snprintf(id, sizeof(id), "%s", gr_el_attr(gr_stanza_root(st), "id"));
    h_expect_xml(s, "<iq type='error' id='1' _='any'/>");
    crash(h, "a@localhost", id, 0, 0);
    h_stop(&h);
}

/* The stream ends before its row is on disk: no session waits, and none is left for the next process. */
static void test_the_stream_ends_before(void **state)
{
    struct h *h = begin(INI);
    struct hs *s = h_login(h, "a@localhost/x");
    struct gr_jid *jid;

    (void)state;
    assert_int_equal(gr_jid_parse("a@localhost", 11, &jid), 0);
    h_hold_store(h, true);
    h_send(s, "<enable " SM " resume='true'/>");
    h_disconnect(&s, false);
    h_hold_store(h, false);
    h_enter(h, "a@localhost");
    assert_null(gr_account_find(h_mod(h, "stream_management", "a@localhost"), jid));
    gr_jid_free(&jid);
    h_restart(h);
    h_enter(h, "a@localhost");
    assert_null(strstr(h_log(h), "sm.revived"));
    h_stop(&h);
}

static void test_success_waits_for_the_row(void **state)
{
    struct h *h = begin(INI);
    struct raw r = raw_open(h);

    (void)state;
    h_hold_store(h, true);
    raw_say(&r, LOGIN);
    assert_null(strstr(r.got, "<success"));
    h_commit(h);
    raw_run(&r);
    raw_expect(&r, "<success");
    raw_expect(&r, "resume='true'");
    raw_close(&r);
    h_hold_store(h, false);
    store_faults = &no_commit;
    r = raw_open(h);
    raw_say(&r, LOGIN);
    store_faults = NULL;
    raw_expect(&r, "<enabled xmlns='urn:xmpp:sm:3'/>");
    raw_close(&r);
    h_stop(&h);
}

/* --- time --- */

static bool waits(struct h *h)
{
    struct gr_jid *jid;
    bool found;

    assert_int_equal(gr_jid_parse("a@localhost", 11, &jid), 0);
    h_enter(h, "a@localhost");
    found = gr_account_find(h_mod(h, "stream_management", "a@localhost"), jid) != NULL;
    gr_jid_free(&jid);
    return found;
}

/* What the code that was replaced still learns does not take the session's time from its successor. */
static void test_time_over_a_reload(void **state)
{
    struct h *h = begin(INI);
    char id[64];
    struct hs *a = online(h, "a@localhost/x", id), *s;

    (void)state;
    h_hold_store(h, true);
    h_send(a, "<iq type='get' id='1' to='localhost'><query xmlns='urn:nobody'/></iq>");
    h_drop_all(a);
    h_disconnect(&a, false);
    s = h_connect(h, "a@localhost");
    h_sendf(s, "<resume " SM " h='1' previd='%s'/>", id); /* waits for the store */
    assert_int_equal(h_reload(h, INI "ack_timeout = 2m\n", NULL), 0);
    h_disconnect(&s, false);
    h_hold_store(h, false);
    h_advance(h, 30 * 1000);
    assert_true(waits(h));
    h_advance(h, 571 * 1000);
    assert_false(waits(h));
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_commit),
        cmocka_unit_test(test_not_before_the_effects),
        cmocka_unit_test(test_not_when_they_fail),
        cmocka_unit_test(test_goes_on_behind_the_error),
        cmocka_unit_test(test_an_earlier_one_waits),
        cmocka_unit_test(test_an_earlier_one_waits_meanwhile),
        cmocka_unit_test(test_a_slow_recipient),
        cmocka_unit_test(test_a_slow_recipient_and_a_full_disk),
        cmocka_unit_test(test_a_failure_is_its_own),
        cmocka_unit_test(test_no_count_without_the_error),
        cmocka_unit_test(test_no_count_before_the_error),
        cmocka_unit_test(test_nothing_stored_costs_nothing),
        cmocka_unit_test(test_enabled_over_a_reload),
        cmocka_unit_test(test_enabled_waits_for_the_row),
        cmocka_unit_test(test_the_stream_ends_before),
        cmocka_unit_test(test_success_waits_for_the_row),
        cmocka_unit_test(test_time_over_a_reload),
    };
    return H_RUN("sm_exact", tests);
}
