/* tests/mod/test_presence.c: mod_presence against RFC 6121, 3.1, 4.2 to 4.7 and 8.5, and
 * hooks.md 4.3, 4.7 and 6. The roster is a table of the test's own, which can keep everybody
 * waiting. */
#include "harness.h"

#include <stdio.h>

/* --- a roster, and a witness --- */

struct entry {
    const char *owner, *contact;
    enum gr_subscription sub;
};
static struct {
    struct entry entry[16];
    size_t entries;
    const char *request;    /* stored subscription request, of every owner */
    bool refuse;            /* roster_out_subscription */
    bool wait;              /* every question waits for go_on */
    struct { struct gr_hold *hold; char home[64]; } held[16];
    size_t holds;
} roster;
static struct {
    unsigned available, probes_answered, resent, unset, outbound;
    char status[64];
    char routed_probes[256]; /* "from>to " */
    char out_from[64], out_to[64];
} seen;

static void knows(const char *owner, const char *contact, enum gr_subscription sub)
{
    roster.entry[roster.entries++] = (struct entry){ owner, contact, sub };
}

/* About an account, whose loop it is. */
static enum gr_verdict answer(struct gr_mod *self, struct gr_ev *ev, const struct gr_jid *jid)
{
    if (!roster.wait)
        return GR_OK;
    assert_true(roster.holds < GR_COUNT(roster.held));
    snprintf(roster.held[roster.holds].home, sizeof(roster.held[0].home), "%s", jid->bare);
    roster.held[roster.holds++].hold = gr_hold(self, ev);
    return GR_PENDING;
}

/* Question n (the oldest is 0) is answered now. */
static void go_on_with(struct h *h, size_t n)
{
    struct gr_hold *hold = roster.held[n].hold;

    assert_true(roster.holds > n);
    h_enter(h, roster.held[n].home);
    memmove(roster.held + n, roster.held + n + 1, (--roster.holds - n) * sizeof(roster.held[0]));
    gr_resume(hold, GR_OK);
    h_run(h);
}

static void go_on(struct h *h)
{
    go_on_with(h, 0);
}

static enum gr_verdict on_lists(struct gr_mod *self, struct gr_roster_ev *ev)
{
    for (size_t i = 0; i < roster.entries; i++) {
        struct gr_jid *contact;

        if (strcmp(roster.entry[i].owner, ev->owner->bare) != 0)
            continue;
        assert_int_equal(gr_jid_parse(roster.entry[i].contact, strlen(roster.entry[i].contact),
                                      &contact), 0);
        gr_roster_list_add(ev->items, &(struct gr_roster_item){ .jid = contact, .in_roster = true,
                                                               .sub = roster.entry[i].sub });
        gr_jid_free(&contact);
    }
    if (roster.request != NULL) {
        struct gr_stanza *st;
        assert_int_equal(gr_stanza_parse(roster.request, strlen(roster.request), &st), 0);
        gr_roster_ev_pending(ev, st);
    }
    return answer(self, &ev->ev, ev->owner);
}

static enum gr_verdict on_info(struct gr_mod *self, struct gr_jid_info_ev *ev)
{
    for (size_t i = 0; i < roster.entries; i++)
        if (strcmp(roster.entry[i].owner, ev->owner->bare) == 0 &&
            strcmp(roster.entry[i].contact, ev->contact->bare) == 0)
            ev->sub = roster.entry[i].sub;
    return answer(self, &ev->ev, ev->owner);
}

static enum gr_verdict on_out(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    assert_int_equal(gr_acc_origin(ev->ev.acc), GR_FROM_C2S); /* the client's stanza's */
    seen.outbound++;
    snprintf(seen.out_from, sizeof(seen.out_from), "%s", ev->from->full);
    snprintf(seen.out_to, sizeof(seen.out_to), "%s", ev->to->full);
    if (roster.refuse)
        ev->deliver = false;
    return answer(self, &ev->ev, ev->from);
}

static enum gr_verdict on_in(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    ev->deliver = true;
    return GR_OK;
}

static enum gr_verdict on_available(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    assert_true(gr_session_available(ev->session));
    assert_non_null(ev->ev.acc);
    seen.available++;
    return GR_OK;
}

static enum gr_verdict on_probe(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    assert_non_null(ev->session);
    assert_non_null(ev->ev.acc);
    seen.probes_answered++;
    return GR_OK;
}

static enum gr_verdict on_resend(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    assert_true(gr_session_priority(ev->session) >= 0);
    assert_true(gr_jid_equal(ev->jid, gr_session_jid(ev->session)));
    seen.resent++;
    return GR_OK;
}

static enum gr_verdict on_unset(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    seen.unset++;
    snprintf(seen.status, sizeof(seen.status), "%s", ev->text != NULL ? ev->text : "");
    return GR_OK;
}

static enum gr_verdict on_route(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    size_t len = strlen(seen.routed_probes);

    (void)self;
    if (gr_stanza_kind(ev->stanza) == GR_PRESENCE && gr_stanza_type(ev->stanza) == GR_PROBE)
        snprintf(seen.routed_probes + len, sizeof(seen.routed_probes) - len, "%s>%s ",
                 ev->from->full, ev->to->full);
    return GR_OK;
}

static const struct gr_hook roster_hooks[] = {
    GR_ON(roster_get_subscription_lists, 50, on_lists),
    GR_ON(roster_get_jid_info, 50, on_info),
    GR_ON(roster_out_subscription, 50, on_out),
    GR_ON(roster_in_subscription, 50, on_in),
    GR_ON(user_available, 90, on_available),
    GR_ON(presence_probe, 80, on_probe),
    GR_ON(resend_offline_messages, 50, on_resend),
    GR_ON(unset_presence, 50, on_unset),
    GR_ON(filter_packet, 50, on_route),
    GR_HOOK_END
};
static const struct gr_module roster_module = { .name = "tableroster", .summary = "test",
                                                .hooks = roster_hooks };

static struct h *start(void)
{
    memset(&roster, 0, sizeof(roster));
    memset(&seen, 0, sizeof(seen));
    h_module(&roster_module);
    struct h *h = h_start("[host localhost]\n[mod_presence]\n");
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    h_user(h, "carol@localhost");
    return h;
}

/* --- 4.2: initial presence --- */

static void initial_presence_reaches_oneself_and_subscribers(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    knows("alice@localhost", "carol@localhost", GR_SUB_TO);
    struct hs *bob1 = h_online(h, "bob@localhost/1"), *bob2 = h_online(h, "bob@localhost/2");
    h_drop_all(bob1);
    struct hs *carol = h_online(h, "carol@localhost/c"), *alice = h_login(h, "alice@localhost/a");
    seen.available = 0;
    h_send(alice, "<presence id='p1'><show>away</show><x xmlns='urn:x'>y</x></presence>");
    h_expect_xml(alice, "<presence from='alice@localhost/a' to='alice@localhost' id='p1'>"
                        "<show>away</show><x xmlns='urn:x'>y</x></presence>");
    for (int i = 0; i < 2; i++)
        h_expect_xml(i == 0 ? bob1 : bob2,
                     "<presence from='alice@localhost/a' to='bob@localhost' id='p1'>"
                     "<show>away</show><x xmlns='urn:x'>y</x></presence>");
    h_expect_nothing(bob1);
    h_expect_nothing(carol);
    assert_int_equal(seen.available, 1);
    h_stop(&h);
}

static void resources_learn_about_each_other(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *one = h_login(h, "alice@localhost/1"), *two = h_login(h, "alice@localhost/2");
    h_send(one, "<presence id='first'><status>here</status></presence>");
    h_expect(one, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/1");
    h_expect_nothing(two); /* not available yet */
    h_send(two, "<presence><priority>5</priority></presence>");
    h_expect_xml(one, "<presence from='alice@localhost/2' to='alice@localhost'>"
                      "<priority>5</priority></presence>");
    h_expect_among(two, "<presence from='alice@localhost/2' to='alice@localhost'>"
                        "<priority>5</priority></presence>");
    h_expect_among(two, "<presence from='alice@localhost/1' to='alice@localhost/2' id='first'>"
                        "<status>here</status><delay xmlns='urn:xmpp:delay' "
                        "from='alice@localhost/1' stamp='*'/></presence>");
    h_expect_nothing(one);
    h_expect_nothing(two);
    h_stop(&h);
}

static void presence_to_ones_own_bare_jid_is_a_broadcast(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<presence to='alice@localhost'/>");
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_among(bob, "<presence from='alice@localhost/a' to='bob@localhost'/>");
    h_send(alice, "<presence to='alice@localhost' type='unavailable'/>");
    h_expect(alice, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost' "
                      "type='unavailable'/>");
    h_stop(&h);
}

static void contacts_are_probed_once(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_TO);
    knows("bob@localhost", "alice@localhost", GR_SUB_FROM);
    knows("alice@localhost", "juliet@elsewhere.example", GR_SUB_BOTH);
    knows("alice@localhost", "carol@localhost", GR_SUB_FROM);
    struct hs *bob = h_login(h, "bob@localhost/b");
    h_send(bob, "<presence id='pb'><show>dnd</show></presence>");
    struct hs *old = h_online(h, "alice@localhost/old"), *alice = h_login(h, "alice@localhost/a");
    h_drop_all(old);
    seen.routed_probes[0] = '\0';
    h_send(alice, "<presence/>");
    h_expect_among(alice, "<presence from='bob@localhost/b' to='alice@localhost/a' id='pb'>"
                          "<show>dnd</show><delay xmlns='urn:xmpp:delay' from='bob@localhost/b' "
                          "stamp='*'/></presence>");
    assert_string_equal(seen.routed_probes, "alice@localhost/a>bob@localhost "
                                            "alice@localhost>juliet@elsewhere.example ");
    h_drop_all(alice);
    seen.routed_probes[0] = '\0';
    h_send(alice, "<presence><show>xa</show></presence>");
    assert_string_equal(seen.routed_probes, "");
    h_expect_among(alice, "<presence from='alice@localhost/a' to='alice@localhost'>"
                          "<show>xa</show></presence>");
    h_stop(&h);
}

static void stored_requests_come_with_initial_presence(void **state)
{
    struct h *h = start();
    static const char request[] = "<presence type='subscribe' from='eve@x.example' "
                                  "to='alice@localhost'><nick xmlns='urn:nick'>E</nick></presence>";

    (void)state;
    roster.request = request;
    struct hs *alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<presence/>");
    h_expect_among(alice, request);
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(alice);
    h_send(alice, "<presence><show>away</show></presence>");
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(alice);
    h_send(alice, "<presence type='unavailable'/>"); /* a new presence session: 4.5.2 */
    h_send(alice, "<presence/>");
    h_expect(alice, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_expect_among(alice, request);
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* --- 4.5: unavailable --- */

static void unavailable_is_broadcast(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_BOTH);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/a");
    struct hs *other = h_online(h, "alice@localhost/o");
    h_drop_all(alice);
    h_drop_all(bob);
    h_send(alice, "<presence type='unavailable' id='u'><status>gone</status></presence>");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost' type='unavailable' "
                      "id='u'><status>gone</status></presence>");
    h_expect_xml(other, "<presence from='alice@localhost/a' to='alice@localhost' "
                        "type='unavailable' id='u'><status>gone</status></presence>");
    h_expect_xml(alice, "<presence from='alice@localhost/a' to='alice@localhost/a' "
                        "type='unavailable' id='u'><status>gone</status></presence>");
    assert_int_equal(seen.unset, 1);
    assert_string_equal(seen.status, "gone");
    h_send(alice, "<presence type='unavailable'/>"); /* nobody needs to hear it again */
    h_disconnect(&alice, true);
    h_expect_nothing(bob);
    h_expect_nothing(other);
    assert_int_equal(seen.unset, 1);
    h_stop(&h);
}

static void the_end_of_a_session_is_broadcast(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b");
    for (int clean = 0; clean < 2; clean++) {
        struct hs *other = h_online(h, "alice@localhost/o");
        struct hs *alice = h_online(h, "alice@localhost/a");
        h_drop_all(bob);
        h_drop_all(other);
        h_disconnect(&alice, clean != 0);
        h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost' "
                          "type='unavailable'/>");
        h_expect_xml(other, "<presence from='alice@localhost/a' to='alice@localhost' "
                            "type='unavailable'/>");
        h_disconnect(&other, true);
        h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/o");
        h_expect_nothing(bob);
    }
    assert_int_equal(seen.unset, 4);
    h_stop(&h);
}

static void a_replaced_session_ends_before_its_successor_appears(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b"), *old = h_online(h, "alice@localhost/a");
    h_drop_all(bob);
    roster.wait = true; /* the old session's farewell takes its time */
    struct hs *alice = h_login(h, "alice@localhost/a");
    h_expect_closed(&old, "conflict");
    h_send(alice, "<presence><show>chat</show></presence>");
    h_expect_nothing(bob);
    /* Answered in the wrong order. */
    go_on_with(h, 1);
    h_expect_nothing(bob);
    go_on(h);
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost'>"
                      "<show>chat</show></presence>");
    /* Not told that it has gone itself. */
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_nothing(alice);
    roster.wait = false;
    h_stop(&h);
}

/* --- 4.6: directed presence --- */

static void directed_presence_ends_with_the_session(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *carol = h_online(h, "carol@localhost/c");
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<presence to='bob@localhost/b'><show>dnd</show></presence>");
    h_send(alice, "<presence to='carol@localhost'/>");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost/b'>"
                      "<show>dnd</show></presence>");
    h_expect_xml(carol, "<presence from='alice@localhost/a' to='carol@localhost'/>");
    h_send(alice, "<presence><show>away</show></presence>"); /* 4.6.3, 2: not for them */
    h_expect_nothing(bob);
    h_expect_nothing(carol);
    h_send(alice, "<presence to='carol@localhost' type='unavailable'/>");
    h_expect(carol, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_send(alice, "<presence type='unavailable'><status>bye</status></presence>");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost/b' "
                      "type='unavailable'><status>bye</status></presence>");
    h_expect_nothing(carol);
    h_disconnect(&alice, true);
    h_expect_nothing(bob); /* the list was cleared: 4.6.1 */
    h_stop(&h);
}

static void directed_presence_without_initial_presence(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "carol@localhost", GR_SUB_BOTH);
    struct hs *carol = h_online(h, "carol@localhost/c"), *bob = h_online(h, "bob@localhost/b");
    struct hs *alice = h_login(h, "alice@localhost/a");
    h_drop_all(carol);
    h_send(alice, "<presence to='bob@localhost/b'/>");
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_disconnect(&alice, false);
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_expect_nothing(carol); /* 4.6.3, 3: a subscriber has never seen it */
    assert_int_equal(seen.unset, 0);
    h_stop(&h);
}

static void a_subscriber_hears_the_end_once(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<presence to='bob@localhost/b'/>");
    h_drop_all(bob);
    h_disconnect(&alice, true);
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_expect_nothing(bob);
    h_stop(&h);
}

static void a_partner_that_leaves_or_refuses_is_forgotten(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *carol = h_online(h, "carol@localhost/c");
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<presence to='bob@localhost/b'/>");
    h_send(alice, "<presence to='carol@localhost/c'/>");
    h_send(bob, "<presence to='alice@localhost/a' type='unavailable'/>");
    h_send(carol, "<presence to='alice@localhost/a' type='error'><error type='cancel'><gone "
                  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>");
    h_expect(alice, GR_PRESENCE, GR_UNAVAILABLE, "bob@localhost/b");
    h_expect(alice, GR_PRESENCE, GR_TYPE_ERROR, "carol@localhost/c");
    h_drop_all(bob);
    h_drop_all(carol);
    h_disconnect(&alice, true);
    h_expect_nothing(bob);
    h_expect_nothing(carol);
    h_stop(&h);
}

static void directed_presence_is_bounded(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (int i = 0; i < 1000; i++)
        h_sendf(alice, "<presence to='bob@localhost/%d'/>", i);
    h_expect_nothing(alice);
    h_send(alice, "<presence to='bob@localhost/more' id='x'/>");
    h_expect_error(alice, GR_PRESENCE, GR_RESOURCE_CONSTRAINT, "bob@localhost/more");
    h_send(alice, "<presence to='bob@localhost/7'/>"); /* there already */
    h_expect_nothing(alice);
    h_send(alice, "<presence to='bob@localhost/7' type='unavailable'/>");
    h_send(alice, "<presence to='bob@localhost/more'/>");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* --- 4.7: syntax --- */

static void priorities(void **state)
{
    static const struct { const char *text; bool ok; int value; } cases[] = {
        { "-128", true, -128 }, { "127", true, 127 }, { "0", true, 0 }, { "+1", true, 1 },
        { " 3 ", true, 3 }, { "-0", true, 0 }, { "128", false, 0 }, { "-129", false, 0 },
        { "", false, 0 }, { "x", false, 0 }, { "1x", false, 0 }, { "1.5", false, 0 },
        { "99999999999999999999", false, 0 }, { "- 1", false, 0 },
    };
    struct h *h = start();

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        h_sendf(alice, "<presence id='p'><priority>%s</priority></presence>", cases[i].text);
        if (cases[i].ok) {
            h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
            assert_int_equal(gr_session_priority(h_session(alice)), cases[i].value);
        } else {
            h_expect_error(alice, GR_PRESENCE, GR_BAD_REQUEST, "alice@localhost");
        }
        h_expect_nothing(alice);
    }
    h_stop(&h);
}

static void unknown_types_are_refused(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<presence type='invisible' id='i'/>");
    h_expect_xml(alice, "<presence type='error' id='i' from='alice@localhost' "
                        "to='alice@localhost/a' _='more'><error type='modify' _='more'>"
                        "<bad-request "
                        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>");
    h_send(alice, "<presence type='available' to='bob@localhost'/>");
    h_expect_error(alice, GR_PRESENCE, GR_BAD_REQUEST, "bob@localhost");
    h_expect_nothing(bob);
    assert_false(gr_session_available(h_session(alice)));
    h_stop(&h);
}

/* --- availability --- */

static void offline_messages_are_due_when_messages_may_come(void **state)
{
    static const struct { const char *presence; unsigned resent, available; } steps[] = {
        { "<presence><priority>-1</priority></presence>", 0, 1 },
        { "<presence><priority>-5</priority></presence>", 0, 1 },
        { "<presence/>", 1, 1 },
        { "<presence><priority>3</priority></presence>", 1, 1 },
        { "<presence><priority>-1</priority></presence>", 1, 1 },
        { "<presence><priority>0</priority></presence>", 2, 1 },
        { "<presence type='unavailable'/>", 2, 1 },
        { "<presence/>", 3, 2 },
        { "<presence to='bob@localhost'/>", 3, 2 },
    };
    struct h *h = start();

    (void)state;
    struct hs *alice = h_login(h, "alice@localhost/a");
    for (size_t i = 0; i < GR_COUNT(steps); i++) {
        h_send(alice, steps[i].presence);
        assert_int_equal(seen.resent, steps[i].resent);
        assert_int_equal(seen.available, steps[i].available);
    }
    h_stop(&h);
}

/* hooks.md 6.6; RFC 6121, 8.5.3.1. */
static void who_is_not_available_gets_no_presence(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    h_send(bob, "<presence to='alice@localhost'/>");
    h_send(bob, "<presence to='alice@localhost' type='subscribe'/>");
    h_expect_nothing(alice);
    h_send(bob, "<presence to='alice@localhost/a'/>"); /* a room answers a join like this */
    h_expect(alice, GR_PRESENCE, GR_AVAILABLE, "bob@localhost/b");
    h_send(bob, "<presence to='alice@localhost/a' type='unavailable'/>");
    h_expect(alice, GR_PRESENCE, GR_UNAVAILABLE, "bob@localhost/b");
    /* What is delivered to it all the same. */
    h_enter(h, "alice@localhost");
    const struct gr_jid *from = h_parse_jid(h, "bob@localhost/b"),
                        *to = h_parse_jid(h, "alice@localhost");
    struct gr_mod *self = h_mod(h, "presence", "alice@localhost");
    gr_session_deliver(self, h_session(alice), gr_presence_new(GR_AVAILABLE, from, to));
    gr_session_deliver(self, h_session(alice), gr_presence_new(GR_UNAVAILABLE, from, to));
    gr_session_deliver(self, h_session(alice), gr_presence_new(GR_PROBE, from, to));
    gr_session_deliver(self, h_session(alice), gr_presence_new(GR_SUBSCRIBED, from, to));
    h_run(h);
    h_expect(alice, GR_PRESENCE, GR_SUBSCRIBED, "bob@localhost/b");
    h_expect_nothing(alice);
    h_stop(&h);
}

/* --- 3: subscriptions on their way out --- */

static void subscriptions_travel_between_bare_jids(void **state)
{
    static const char *const types[] = { "subscribe", "subscribed", "unsubscribe",
                                         "unsubscribed" };
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    for (size_t i = 0; i < GR_COUNT(types); i++) {
        h_sendf(alice, "<presence to='bob@localhost/x' type='%s' id='s'><status>hi</status>"
                       "</presence>", types[i]);
        h_expect_xmlf(bob, "<presence from='alice@localhost' to='bob@localhost' type='%s' id='s'>"
                           "<status>hi</status></presence>", types[i]);
        assert_string_equal(seen.out_from, "alice@localhost");
        assert_string_equal(seen.out_to, "bob@localhost");
        roster.refuse = true;
        h_sendf(alice, "<presence to='bob@localhost' type='%s'/>", types[i]);
        h_expect_nothing(bob);
        roster.refuse = false;
    }
    h_expect_nothing(alice);
    assert_int_equal(seen.outbound, 8);
    h_stop(&h);
}

static void subscriptions_without_an_address(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<presence type='subscribe'/>");
    h_expect_error(alice, GR_PRESENCE, GR_BAD_REQUEST, "alice@localhost");
    h_send(alice, "<presence type='subscribe' to='alice@localhost'/>");
    h_expect_error(alice, GR_PRESENCE, GR_NOT_ALLOWED, "alice@localhost");
    assert_int_equal(seen.outbound, 0);
    h_stop(&h);
}

/* 3.1.5 */
static void a_new_subscriber_gets_current_presence(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *one = h_login(h, "alice@localhost/1");
    struct hs *two = h_login(h, "alice@localhost/2"), *three = h_login(h, "alice@localhost/3");
    h_send(one, "<presence id='p1'><show>dnd</show></presence>");
    h_send(two, "<presence id='p2'/>");
    h_send(three, "<presence to='alice@localhost' type='unavailable'/>");
    h_send(one, "<presence type='subscribed' to='bob@localhost'/>");
    h_expect(bob, GR_PRESENCE, GR_SUBSCRIBED, "alice@localhost");
    h_expect_among(bob, "<presence from='alice@localhost/1' to='bob@localhost' id='p1'>"
                        "<show>dnd</show></presence>");
    h_expect_among(bob, "<presence from='alice@localhost/2' to='bob@localhost' id='p2'/>");
    h_expect_nothing(bob);
    roster.refuse = true; /* not granted, or in advance (3.4) */
    h_send(one, "<presence type='subscribed' to='bob@localhost'/>");
    h_expect_nothing(bob);
    h_stop(&h);
}

/* 3.1.3: whatever resource it was sent to. */
static void inbound_subscriptions_lose_their_resource(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *one = h_online(h, "alice@localhost/1"), *two = h_online(h, "alice@localhost/2");
    struct gr_mod *self = h_mod(h, "presence", "bob@localhost");
    const struct gr_jid *from = h_parse_jid(h, "bob@localhost");
    h_drop_all(one);
    gr_send(self, gr_presence_new(GR_SUBSCRIBE, from, h_parse_jid(h, "alice@localhost/1")));
    gr_send(self, gr_presence_new(GR_SUBSCRIBE, from, h_parse_jid(h, "alice@localhost/none")));
    gr_send(self, gr_presence_new(GR_UNSUBSCRIBED, from, h_parse_jid(h, "alice@localhost/2")));
    gr_send(self, gr_presence_new(GR_UNSUBSCRIBED, from, h_parse_jid(h, "alice@localhost/none")));
    h_run(h);
    for (int i = 0; i < 2; i++) {
        struct hs *s = i == 0 ? one : two;
        h_expect_xml(s, "<presence from='bob@localhost' to='alice@localhost' type='subscribe'/>");
        h_expect_xml(s, "<presence from='bob@localhost' to='alice@localhost' type='subscribe'/>");
        h_expect_xml(s, "<presence from='bob@localhost' to='alice@localhost' "
                        "type='unsubscribed'/>");
        h_expect_nothing(s);
    }
    h_stop(&h);
}

/* --- 4.3.2: probes --- */

static void probe(struct h *h, const char *from, const char *to)
{
    struct gr_mod *self = h_mod(h, "presence", from);
    struct gr_stanza *st = gr_presence_new(GR_PROBE, h_parse_jid(h, from), h_parse_jid(h, to));

    gr_stanza_set_id(st, "q");
    gr_send(self, st);
    h_run(h);
}

static void probes_of_subscribers(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b");
    probe(h, "bob@localhost", "alice@localhost");
    h_expect_xml(bob, "<presence from='alice@localhost' to='bob@localhost' type='unavailable' "
                      "id='q'/>");
    struct hs *silent = h_login(h, "alice@localhost/silent");
    probe(h, "bob@localhost", "alice@localhost");
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost");
    assert_int_equal(seen.probes_answered, 1); /* bob's own, at his initial presence */
    struct hs *one = h_login(h, "alice@localhost/1"), *two = h_online(h, "alice@localhost/2");
    h_send(one, "<presence id='p1'><show>away</show></presence>");
    h_drop_all(bob);
    seen.probes_answered = 0;
    probe(h, "bob@localhost", "alice@localhost");
    h_expect_among(bob, "<presence from='alice@localhost/1' to='bob@localhost' id='p1'>"
                        "<show>away</show><delay xmlns='urn:xmpp:delay' stamp='*' "
                        "from='alice@localhost/1'/></presence>");
    h_expect_among(bob, "<presence from='alice@localhost/2' to='bob@localhost'><delay "
                        "xmlns='urn:xmpp:delay' stamp='*' from='alice@localhost/2'/></presence>");
    h_expect_nothing(bob);
    assert_int_equal(seen.probes_answered, 2);
    /* A full JID: only that one, and no details. */
    probe(h, "bob@localhost", "alice@localhost/1");
    h_expect_xml(bob, "<presence from='alice@localhost/1' to='bob@localhost' id='p1'/>");
    probe(h, "bob@localhost", "alice@localhost/silent");
    h_expect_xml(bob, "<presence from='alice@localhost/silent' to='bob@localhost' "
                      "type='unavailable' id='q'/>");
    probe(h, "bob@localhost", "alice@localhost/none");
    h_expect_xml(bob, "<presence from='alice@localhost/none' to='bob@localhost' "
                      "type='unavailable' id='q'/>");
    /* From a full JID, as older servers do: to there. */
    probe(h, "bob@localhost/b", "alice@localhost");
    h_expect_among(bob, "<presence from='alice@localhost/1' to='bob@localhost/b' _='more'/>");
    h_expect_among(bob, "<presence from='alice@localhost/2' to='bob@localhost/b' _='more'/>");
    h_expect_nothing(bob);
    h_drop_all(two);
    h_expect_nothing(silent);
    h_stop(&h);
}

/* An account that does not exist, one that is away and one that is there look the same. */
static void probes_of_strangers(void **state)
{
    static const char *const targets[] = { "nobody@localhost", "carol@localhost",
                                           "alice@localhost" };
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_TO);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/a");
    seen.probes_answered = 0;
    h_drop_all(bob);
    for (size_t i = 0; i < GR_COUNT(targets); i++) {
        char full[64];

        snprintf(full, sizeof(full), "%s/a", targets[i]);
        for (int j = 0; j < 3; j++) {
            probe(h, j == 2 ? "bob@localhost/b" : "bob@localhost", j == 1 ? full : targets[i]);
            h_expect_xmlf(bob, "<presence from='%s' to='bob@localhost' type='unsubscribed' "
                               "id='q'/>", targets[i]);
            h_expect_nothing(bob);
        }
    }
    h_expect_nothing(alice);
    assert_int_equal(seen.probes_answered, 0);
    h_stop(&h);
}

/* 4.6.6 */
static void probes_of_partners(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *other = h_online(h, "bob@localhost/o");
    struct hs *alice = h_login(h, "alice@localhost/a"), *two = h_online(h, "alice@localhost/2");
    h_send(alice, "<presence to='bob@localhost/b'><show>dnd</show></presence>");
    h_drop_all(bob);
    h_drop_all(other);
    probe(h, "bob@localhost/b", "alice@localhost/a");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost/b'/>");
    probe(h, "bob@localhost/b", "alice@localhost");
    h_expect_xml(bob, "<presence from='alice@localhost/a' to='bob@localhost/b'/>");
    probe(h, "bob@localhost/b", "alice@localhost/2");
    h_expect(bob, GR_PRESENCE, GR_UNSUBSCRIBED, "alice@localhost");
    probe(h, "bob@localhost/o", "alice@localhost/a");
    h_expect(bob, GR_PRESENCE, GR_UNSUBSCRIBED, "alice@localhost");
    probe(h, "bob@localhost", "alice@localhost/a");
    h_expect(bob, GR_PRESENCE, GR_UNSUBSCRIBED, "alice@localhost");
    h_drop_all(other);
    h_send(alice, "<presence to='bob@localhost'/>"); /* now all of bob may ask */
    h_drop_all(bob);
    h_drop_all(other);
    probe(h, "bob@localhost/o", "alice@localhost/a");
    h_expect_xml(other, "<presence from='alice@localhost/a' to='bob@localhost/o'/>");
    probe(h, "bob@localhost", "alice@localhost/a");
    h_expect_xml(other, "<presence from='alice@localhost/a' to='bob@localhost'/>");
    h_drop_all(bob);
    h_send(alice, "<presence to='bob@localhost/b' type='unavailable'/>");
    h_send(alice, "<presence to='bob@localhost' type='unavailable'/>");
    h_drop_all(bob);
    probe(h, "bob@localhost/b", "alice@localhost/a");
    h_expect(bob, GR_PRESENCE, GR_UNSUBSCRIBED, "alice@localhost");
    h_expect_nothing(two);
    h_stop(&h);
}

static void probes_of_oneself(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *one = h_online(h, "alice@localhost/1"), *two = h_login(h, "alice@localhost/2");
    h_send(two, "<presence to='alice@localhost/1' type='probe'/>"); /* a client's: 4.3 */
    h_expect_xml(two, "<presence from='alice@localhost/1' to='alice@localhost/2'/>");
    h_expect_nothing(one);
    h_send(two, "<presence type='probe'/>"); /* no error, no answer */
    h_expect_nothing(two);
    h_stop(&h);
}

/* --- waiting for the roster --- */

static void later_stanzas_wait_for_the_broadcast(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    roster.wait = true;
    h_feed(alice, "<presence/>");
    h_send(alice, "<message to='bob@localhost/b'><body>after</body></message>");
    h_expect_nothing(bob);
    assert_int_equal(h_unhandled(alice), 2);
    go_on(h);
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    h_expect_body(bob, "alice@localhost/a", "after");
    assert_int_equal(h_unhandled(alice), 0);
    h_drop_all(alice);
    /* The same with a subscription. */
    h_feed(alice, "<presence type='subscribe' to='bob@localhost'/>");
    h_send(alice, "<message to='bob@localhost/b'><body>again</body></message>");
    h_expect_nothing(bob);
    go_on(h);
    h_expect(bob, GR_PRESENCE, GR_SUBSCRIBE, "alice@localhost");
    h_expect_body(bob, "alice@localhost/a", "again");
    roster.wait = false;
    h_stop(&h);
}

static void a_session_ends_while_the_roster_is_asked(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    knows("alice@localhost", "carol@localhost", GR_SUB_TO);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    roster.wait = true;
    h_send(alice, "<presence/>");
    h_disconnect(&alice, false);
    h_expect_nothing(bob);
    go_on(h);      /* its presence, and a question for its end */
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, "alice@localhost/a");
    while (roster.holds > 0)
        go_on(h);
    h_expect(bob, GR_PRESENCE, GR_UNAVAILABLE, "alice@localhost/a");
    h_expect_nothing(bob);
    roster.wait = false;
    h_stop(&h);
}

/* The core gives up after 30 s; the answer that comes later must find nothing freed. */
static void a_roster_that_never_answers(void **state)
{
    struct h *h = start();

    (void)state;
    knows("alice@localhost", "bob@localhost", GR_SUB_FROM);
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    roster.wait = true;
    h_feed(alice, "<presence/>");
    h_send(alice, "<message to='bob@localhost/b'><body>after</body></message>");
    h_advance(h, 31000);
    h_expect_among(bob, "<message from='alice@localhost/a' to='bob@localhost/b'><body>after"
                        "</body></message>");
    go_on(h); /* late */
    assert_true(gr_session_available(h_session(alice)));
    probe(h, "bob@localhost", "alice@localhost");
    h_advance(h, 31000);
    while (roster.holds > 0)
        go_on(h);
    roster.wait = false;
    h_stop(&h);
}

static void a_roster_that_never_records(void **state)
{
    struct h *h = start();

    (void)state;
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/a");
    roster.wait = true;
    h_feed(alice, "<presence type='subscribed' to='bob@localhost'/>");
    h_send(alice, "<message to='bob@localhost/b'><body>after</body></message>");
    h_expect_nothing(bob);
    h_advance(h, 31000);
    h_expect_among(bob, "<message from='alice@localhost/a' to='bob@localhost/b'><body>after"
                        "</body></message>");
    go_on(h);
    roster.wait = false;
    h_stop(&h);
}

/* --- together with mod_roster: roster.md 5 --- */

static void the_handshake(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n");

    (void)state;
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");
    h_iq(alice, "get", NULL, "<query xmlns='jabber:iq:roster'/>");
    h_iq(bob, "get", NULL, "<query xmlns='jabber:iq:roster'/>");
    h_drop_all(alice);
    h_drop_all(bob);

    h_send(alice, "<presence type='subscribe' to='bob@localhost'/>");
    h_expect_among(alice, "<iq type='set' id='*' to='alice@localhost/a' _='more'><query "
                          "xmlns='jabber:iq:roster' _='more'><item jid='bob@localhost' "
                          "subscription='none' ask='subscribe'/></query></iq>");
    h_expect(bob, GR_PRESENCE, GR_SUBSCRIBE, "alice@localhost");
    h_expect_nothing(bob);
    h_send(bob, "<presence type='subscribed' to='alice@localhost'/>");
    h_expect_among(alice, "<presence type='subscribed' from='bob@localhost' "
                          "to='alice@localhost' _='more'/>");
    h_expect_among(alice, "<presence from='bob@localhost/b' to='alice@localhost'/>");
    h_expect_among(alice, "<iq type='set' id='*' to='alice@localhost/a' _='more'><query "
                          "xmlns='jabber:iq:roster' _='more'><item jid='bob@localhost' "
                          "subscription='to'/></query></iq>");
    h_expect_nothing(alice);
    h_expect(bob, GR_IQ, GR_SET, NULL);
    h_expect_nothing(bob);

    h_send(bob, "<presence><show>away</show></presence>");
    h_expect(bob, GR_PRESENCE, GR_AVAILABLE, "bob@localhost/b");
    h_expect_xml(alice, "<presence from='bob@localhost/b' to='alice@localhost'>"
                        "<show>away</show></presence>");
    /* Comes back: the probe is answered from the roster. */
    h_send(alice, "<presence type='unavailable'/>");
    h_expect_nothing(bob);
    h_drop_all(alice);
    h_send(alice, "<presence/>");
    h_expect_among(alice, "<presence from='bob@localhost/b' to='alice@localhost/a' _='more'>"
                          "<show>away</show></presence>");
    h_drop_all(alice);

    h_send(bob, "<presence type='unsubscribed' to='alice@localhost'/>");
    h_expect(alice, GR_PRESENCE, GR_UNAVAILABLE, "bob@localhost/b");
    h_expect(alice, GR_PRESENCE, GR_UNSUBSCRIBED, "bob@localhost");
    h_drop_all(alice);
    h_drop_all(bob);
    h_send(bob, "<presence><show>xa</show></presence>");
    h_expect_nothing(alice);
    h_stop(&h);
}

static void a_request_waits_for_its_target(void **state)
{
    struct h *h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n");

    (void)state;
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a");
    h_send(alice, "<presence type='subscribe' to='bob@localhost' id='s'><status>please</status>"
                  "</presence>");
    for (int i = 0; i < 2; i++) {
        struct hs *bob = h_login(h, "bob@localhost/b");
        h_expect_nothing(bob);
        h_send(bob, "<presence/>");
        h_expect_among(bob, "<presence type='subscribe' from='alice@localhost' id='s' _='more'>"
                            "<status>please</status></presence>");
        h_disconnect(&bob, true);
        if (i == 0)
            h_restart(h);
    }
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(initial_presence_reaches_oneself_and_subscribers),
        cmocka_unit_test(resources_learn_about_each_other),
        cmocka_unit_test(presence_to_ones_own_bare_jid_is_a_broadcast),
        cmocka_unit_test(contacts_are_probed_once),
        cmocka_unit_test(stored_requests_come_with_initial_presence),
        cmocka_unit_test(unavailable_is_broadcast),
        cmocka_unit_test(the_end_of_a_session_is_broadcast),
        cmocka_unit_test(a_replaced_session_ends_before_its_successor_appears),
        cmocka_unit_test(directed_presence_ends_with_the_session),
        cmocka_unit_test(directed_presence_without_initial_presence),
        cmocka_unit_test(a_subscriber_hears_the_end_once),
        cmocka_unit_test(a_partner_that_leaves_or_refuses_is_forgotten),
        cmocka_unit_test(directed_presence_is_bounded),
        cmocka_unit_test(priorities),
        cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(offline_messages_are_due_when_messages_may_come),
        cmocka_unit_test(who_is_not_available_gets_no_presence),
        cmocka_unit_test(subscriptions_travel_between_bare_jids),
        cmocka_unit_test(subscriptions_without_an_address),
        cmocka_unit_test(a_new_subscriber_gets_current_presence),
        cmocka_unit_test(inbound_subscriptions_lose_their_resource),
        cmocka_unit_test(probes_of_subscribers),
        cmocka_unit_test(probes_of_strangers),
        cmocka_unit_test(probes_of_partners),
        cmocka_unit_test(probes_of_oneself),
        cmocka_unit_test(later_stanzas_wait_for_the_broadcast),
        cmocka_unit_test(a_session_ends_while_the_roster_is_asked),
        cmocka_unit_test(a_roster_that_never_answers),
        cmocka_unit_test(a_roster_that_never_records),
        cmocka_unit_test(the_handshake),
        cmocka_unit_test(a_request_waits_for_its_target),
    };

    return H_RUN("presence", cases);
}
