/* tests/mod/test_amp.c: mod_amp against XEP-0079: rules that are not supported, conditions, actions,
 * and the hooks amp_verify_support, amp_determine_strategy, amp_check_condition. */
#include "harness.h"

#include <stdio.h>

#define NS "http://jabber.org/protocol/amp"
#define ERRORS "http://jabber.org/protocol/amp#errors"
#define STANZAS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define RULE(cond, action, value) \
    "<rule condition='" cond "' action='" action "' value='" value "'/>"

static struct { unsigned verified, determined, checked; bool custom, fail; } seen;

static enum gr_verdict on_verify(struct gr_mod *self, struct gr_amp_ev *ev)
{
    (void)self;
    seen.verified++;
    if (seen.custom && strcmp(ev->condition, "moon") == 0)
        ev->supported = true;
    return GR_OK;
}

static enum gr_verdict on_determine(struct gr_mod *self, struct gr_amp_ev *ev)
{
    (void)self;
    seen.determined++;
    assert_string_equal(ev->event, "initial_check");
    return seen.fail ? GR_FAIL : GR_OK;
}

static enum gr_verdict on_check(struct gr_mod *self, struct gr_amp_ev *ev)
{
    (void)self;
    seen.checked++;
    if (seen.custom && strcmp(ev->condition, "moon") == 0)
        ev->match = 1;
    return GR_OK;
}

/* Behind mod_amp, which has changed the stanza: its addresses can be kept. */
static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_jid *from = gr_jid_dup_bare(ev->from), *to = gr_jid_dup(ev->to);

    (void)self;
    assert_string_equal(from->full, from->node[0] == 'a' ? "alice@localhost" : "carol@localhost");
    assert_string_equal(from->domain, "localhost");
    assert_string_equal(to->bare, to->node[0] == 'b' ? "bob@localhost" : "carol@localhost");
    assert_string_equal(to->domain, "localhost");
    gr_jid_free(&from);
    gr_jid_free(&to);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, 50, on_message),
    GR_ON(amp_verify_support, 50, on_verify),
    GR_ON(amp_determine_strategy, 50, on_determine),
    GR_ON(amp_check_condition, 50, on_check),
    GR_HOOK_END
};
static const struct gr_module tester = { .name = "tester", .hooks = hooks };

/* alice sees bob's presence. */
static void subscribe(struct h *h)
{
    struct hs *alice = h_login(h, "alice@localhost/x"), *bob = h_login(h, "bob@localhost/x");

    h_send(alice, "<presence to='bob@localhost' type='subscribe'/>");
    h_send(bob, "<presence to='alice@localhost' type='subscribed'/>");
    h_disconnect(&alice, true);
    h_disconnect(&bob, true);
}

static struct h *start(void)
{
    struct h *h;

    memset(&seen, 0, sizeof(seen));
    h_module(&tester);
    h = h_start("[host localhost]\n[mod_disco]\n[mod_roster]\n[mod_presence]\n[mod_offline]\n"
                "[mod_amp]\n");
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
    subscribe(h);
    return h;
}

static void say(struct hs *s, const char *to, const char *rules)
{
    h_sendf(s, "<message type='chat' id='m' to='%s'><body>hi</body><amp xmlns='" NS "'>%s</amp>"
            "</message>", to, rules);
}

static void expect_status(struct hs *s, const char *status, const char *to, const char *rule)
{
    h_expect_xmlf(s, "<message from='localhost' to='%s' id='m'><amp xmlns='" NS "' status='%s' "
                  "from='%s' to='%s'>%s</amp></message>", h_full(s), status, h_full(s), to, rule);
}

static void expect_error(struct hs *s, const char *cond, const char *ns, const char *specific,
                         const char *rule)
{
    h_expect_xmlf(s, "<message type='error' from='localhost' id='m' _='more'>"
                  "<amp xmlns='" NS "' _='any'/><error type='modify' _='more'>"
                  "<%s xmlns='" STANZAS "'/><%s xmlns='%s'>%s</%s></error></message>", cond,
                  specific, ns, rule, specific);
}

static void not_supported(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost", RULE("deliver", "explode", "direct"));
    expect_error(alice, "bad-request", NS, "unsupported-actions",
                 RULE("deliver", "explode", "direct"));
    say(alice, "bob@localhost", RULE("mood", "drop", "good"));
    expect_error(alice, "bad-request", NS, "unsupported-conditions", RULE("mood", "drop", "good"));
    say(alice, "bob@localhost", RULE("expire-at", "drop", "tomorrow"));
    expect_error(alice, "not-acceptable", NS, "invalid-rules", RULE("expire-at", "drop", "tomorrow"));
    say(alice, "bob@localhost", RULE("expire-at", "drop", "2044-01-01T00:00:00+01:00")); /* 3.3.2: UTC */
    expect_error(alice, "not-acceptable", NS, "invalid-rules",
                 RULE("expire-at", "drop", "2044-01-01T00:00:00+01:00"));
    say(alice, "bob@localhost", RULE("deliver", "drop", "gateway"));
    expect_error(alice, "not-acceptable", NS, "invalid-rules",
                 RULE("deliver", "drop", "gateway"));
    say(alice, "bob@localhost", "");
    h_expect_error(alice, GR_MESSAGE, GR_BAD_REQUEST, "bob@localhost");
    h_expect_nothing(bob);
    h_stop(&h);
}

static void as_many_rules_as_there_may_be(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    char rules[4096] = "";

    (void)state;
    for (int i = 0; i < 20; i++)
        strcat(rules, RULE("deliver", "drop", "none"));
    say(alice, "bob@localhost", rules);
    h_expect_body(bob, "alice@localhost/a", "hi");
    h_expect_nothing(alice);
    strcat(rules, RULE("deliver", "drop", "none"));
    say(alice, "bob@localhost", rules);
    expect_error(alice, "not-acceptable", NS, "invalid-rules", RULE("deliver", "drop", "none"));
    h_expect_nothing(bob);
    h_stop(&h);
}

static void delivered(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost", RULE("deliver", "error", "stored")
        RULE("deliver", "notify", "direct") RULE("deliver", "drop", "direct"));
    expect_status(alice, "notify", "bob@localhost", RULE("deliver", "notify", "direct"));
    h_expect_xml(bob, "<message type='chat' id='m' from='*' to='*'><body>hi</body></message>");
    say(alice, "bob@localhost", RULE("deliver", "error", "direct"));
    expect_error(alice, "undefined-condition", ERRORS, "failed-rules",
                 RULE("deliver", "error", "direct"));
    say(alice, "bob@localhost", RULE("deliver", "alert", "direct"));
    expect_status(alice, "alert", "bob@localhost", RULE("deliver", "alert", "direct"));
    say(alice, "bob@localhost", RULE("deliver", "drop", "direct"));
    h_expect_nothing(alice);
    h_expect_nothing(bob);
    h_stop(&h);
}

static void stored_or_lost(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob;

    (void)state;
    say(alice, "bob@localhost", RULE("deliver", "error", "stored"));
    expect_error(alice, "undefined-condition", ERRORS, "failed-rules",
                 RULE("deliver", "error", "stored"));
    say(alice, "bob@localhost", RULE("deliver", "notify", "stored"));
    expect_status(alice, "notify", "bob@localhost", RULE("deliver", "notify", "stored"));
    say(alice, "bobby@localhost", RULE("deliver", "drop", "none"));
    h_expect_nothing(alice);
    bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence/>");
    h_expect_among(bob, "<message type='chat' id='m' _='more'><body>hi</body></message>");
    for (struct gr_stanza *st = h_next(bob); st != NULL; st = h_next(bob))
        assert_int_not_equal(gr_stanza_kind(st), GR_MESSAGE); /* once */
    h_stop(&h);
}

static void resources(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    say(alice, "bob@localhost/b", RULE("match-resource", "drop", "other")
        RULE("match-resource", "notify", "exact"));
    expect_status(alice, "notify", "bob@localhost/b", RULE("match-resource", "notify", "exact"));
    h_expect_body(bob, NULL, "hi");
    say(alice, "bob@localhost/gone", RULE("match-resource", "error", "other"));
    expect_error(alice, "undefined-condition", ERRORS, "failed-rules",
                 RULE("match-resource", "error", "other"));
    say(alice, "bob@localhost/b", RULE("match-resource", "drop", "any"));
    h_expect_nothing(bob);
    h_stop(&h);
}

/* Who may not see the recipient's presence does not learn it like this (9). */
static void strangers(void **state)
{
    struct h *h = start();
    struct hs *carol = h_login(h, "carol@localhost/c"), *bob;

    (void)state;
    for (int online = 0; online < 2; online++) {
        if (online == 1)
            bob = h_online(h, "bob@localhost/b");
        say(carol, "bob@localhost", RULE("deliver", "notify", "direct"));
        expect_error(carol, "not-acceptable", NS, "invalid-rules",
                     RULE("deliver", "notify", "direct"));
        say(carol, "nobody@localhost", RULE("deliver", "drop", "direct")
            RULE("match-resource", "error", "exact"));
        expect_error(carol, "not-acceptable", NS, "invalid-rules",
                     RULE("match-resource", "error", "exact"));
    }
    h_expect_nothing(bob);
    say(carol, "bob@localhost", RULE("deliver", "drop", "stored"));
    h_expect_body(bob, NULL, "hi");
    say(carol, "carol@localhost", RULE("deliver", "notify", "stored"));
    h_expect(carol, GR_MESSAGE, GR_TYPE_INVALID, "localhost");
    h_stop(&h);
}

/* A condition of another module; one that fails. */
/* --- expire-at (3.3.2) --- */

/* A rule about the time in so many seconds; until the next call. */
static const char *expires(int seconds, const char *action)
{
    static char rule[200];
    char stamp[GR_STAMP_SIZE];

    gr_stamp(stamp, gr_wall_us() + (int64_t)seconds * 1000000);
    snprintf(rule, sizeof(rule), RULE("expire-at", "%s", "%s"), action, stamp);
    return rule;
}

/* bob comes: the message that he finds has no rules; and he goes. */
static void finds(struct h *h, bool message)
{
    struct hs *bob = h_login(h, "bob@localhost/b");
    const struct gr_stanza *st;

    h_send(bob, "<presence/>");
    while ((st = h_next(bob)) != NULL && gr_stanza_kind(st) != GR_MESSAGE)
        ;
    assert_int_equal(st != NULL, message);
    if (message)
        h_assert_xml(st, "<message from='*' to='bob@localhost' id='m' type='chat'><body>hi</body>"
                         "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></message>");
    h_disconnect(&bob, true);
}

/* In time, or never; also when the server was started again in between. */
static void stored_and_late(void **state)
{
    static const char *const actions[] = { "drop", "alert", "error", "notify" };
    struct h *h = start();

    (void)state;
    for (size_t i = 0; i < 2 * GR_COUNT(actions); i++) {
        const char *action = actions[i / 2], *rule;
        struct hs *alice = h_login(h, "alice@localhost/a");
        bool late = i % 2 == 1;

        rule = expires(60, action);
        say(alice, "bob@localhost", rule);
        h_expect_nothing(alice);
        if (i < 4) {
            h_restart(h);
            alice = h_login(h, "alice@localhost/a");
        }
        h_advance(h, late ? 61000 : 30000);
        finds(h, !late || i == 7);
        if (i == 3 || i == 7)
            expect_status(alice, action, "bob@localhost", rule);
        else if (i == 5)
            expect_error(alice, "undefined-condition", ERRORS, "failed-rules", rule);
        h_expect_nothing(alice);
        h_advance(h, 61000);
        finds(h, false);
        h_disconnect(&alice, true);
    }
    h_stop(&h);
}

static void not_stored_and_late(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob, *carol;

    (void)state;
    say(alice, "bob@localhost", expires(-1, "error")); /* it is too late already */
    expect_error(alice, "undefined-condition", ERRORS, "failed-rules", "<rule _='more'/>");
    finds(h, false);
    /* Somebody else's words in our name are none, and whoever has no business with bob's presence gets no
     * answer that tells of it (9). */
    carol = h_login(h, "carol@localhost/c");
    h_sendf(carol, "<message to='bob@localhost' id='m' type='chat'><body>hi</body>"
            "<kept xmlns='urn:grapnel:amp'>%s</kept></message>", expires(-1, "alert"));
    say(carol, "bob@localhost", expires(60, "alert"));
    expect_error(carol, "not-acceptable", NS, "invalid-rules", "<rule _='more'/>");
    finds(h, true);
    say(carol, "bob@localhost", expires(60, "drop"));
    h_advance(h, 61000);
    finds(h, false);
    h_expect_nothing(carol);
    /* It is delivered at once. */
    bob = h_online(h, "bob@localhost/b");
    say(alice, "bob@localhost", expires(60, "error"));
    h_expect_xml(bob, "<message from='*' to='bob@localhost' id='m' type='chat'><body>hi</body></message>");
    h_expect_nothing(alice);
    h_stop(&h);
}

static void handlers_of_others(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    seen.custom = true;
    say(alice, "bob@localhost", RULE("moon", "error", "full"));
    expect_error(alice, "undefined-condition", ERRORS, "failed-rules",
                 RULE("moon", "error", "full"));
    assert_int_equal(seen.verified, 1);
    assert_int_equal(seen.determined, 1);
    assert_int_equal(seen.checked, 1);
    seen.fail = true;
    say(alice, "bob@localhost", RULE("deliver", "error", "none"));
    h_expect_body(bob, NULL, "hi");
    h_stop(&h);
}

static void discovery(void **state)
{
    struct h *h = start();
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost",
                "<query xmlns='http://jabber.org/protocol/disco#info' node='" NS "'/>",
                "<query xmlns='http://jabber.org/protocol/disco#info' node='" NS "'>"
                "<identity category='server' type='im'/><feature var='" NS "'/>"
                "<feature var='" NS "?action=alert'/><feature var='" NS "?action=drop'/>"
                "<feature var='" NS "?action=error'/><feature var='" NS "?action=notify'/>"
                "<feature var='" NS "?condition=deliver'/><feature var='" NS "?condition=expire-at'/>"
                "<feature var='" NS "?condition=match-resource'/></query>");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(not_supported),
        cmocka_unit_test(as_many_rules_as_there_may_be),
        cmocka_unit_test(delivered),
        cmocka_unit_test(stored_or_lost),
        cmocka_unit_test(resources),
        cmocka_unit_test(strangers),
        cmocka_unit_test(stored_and_late),
        cmocka_unit_test(not_stored_and_late),
        cmocka_unit_test(handlers_of_others),
        cmocka_unit_test(discovery),
    };

    return H_RUN("amp", cases);
}
