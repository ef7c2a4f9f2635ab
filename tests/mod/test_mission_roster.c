/* tests/mod/test_mission_roster.c: rows of the mission's section D (roster.md), and of A about
 * rosters, that no other test performs: two users, mod_roster and mod_presence together. */
#include "harness.h"

#include "store/store.h"

#include <stdio.h>

#define CONF "[host localhost]\n[mod_roster]\n[mod_presence]\n"
#define ROSTER(x) "<query xmlns='jabber:iq:roster'>" x "</query>"
#define A "alice@localhost"

static struct h *h;
static struct hs *a, *b;
static const char *bob; /* alice's contact; on another loop where there are several */

/* --- two users --- */

static struct hs *online(const char *bare, const char *resource)
{
    char full[96];

    snprintf(full, sizeof(full), "%s/%s", bare, resource);
    struct hs *s = h_login(h, full);
    h_iq(s, "get", NULL, ROSTER(""));
    h_send(s, "<presence/>");
    h_drop_all(s);
    return s;
}

static int start(void **state)
{
    (void)state;
    h = h_start(CONF);
    h_user(h, A);
    bob = h_user_near(h, A, false);
    a = online(A, "a");
    b = online(bob, "b");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    h_stop(&h);
    return 0;
}

static void presence(struct hs *s, const char *type, const char *to)
{
    h_sendf(s, "<presence type='%s' to='%s'/>", type, to);
}

static void drop_both(void)
{
    h_drop_all(a);
    h_drop_all(b);
}

/* What the roster says about that contact: "none", ..., NULL: not in it. */
static const char *subscription(struct hs *s, const char *jid)
{
    struct gr_stanza *st = h_iq(s, "get", NULL, ROSTER(""));
    struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "item");

    for (; el != NULL; el = gr_el_next(el, NULL, "item"))
        if (strcmp(gr_el_attr(el, "jid"), jid) == 0)
            return gr_el_attr(el, "subscription");
    return NULL;
}

static void expect_state(const char *of_a, const char *of_b)
{
    assert_string_equal(subscription(a, bob), of_a);
    assert_string_equal(subscription(b, A), of_b);
    drop_both();
}

/* s asks, the other one agrees. */
static void ask_and_agree(struct hs *s, struct hs *other)
{
    presence(s, "subscribe", h_jid(other)->bare);
    h_expect_among(other, "<presence type='subscribe' _='more'/>");
    presence(other, "subscribed", h_jid(s)->bare);
    h_expect_among(s, "<presence type='subscribed' _='more'/>");
    drop_both();
}

/* --- subscriptions both ways --- */

static void four_steps(void **state)
{
    (void)state;
    ask_and_agree(a, b);
    expect_state("to", "from");
    ask_and_agree(b, a);
    expect_state("both", "both");
    presence(a, "unsubscribe", bob);
    h_expect_among(b, "<presence type='unsubscribe' from='" A "' _='more'/>");
    drop_both();
    expect_state("from", "to");
    presence(b, "unsubscribed", A); /* says what the server has done already */
    h_expect_nothing(a);
    presence(b, "unsubscribe", A);
    h_expect_among(a, "<presence type='unsubscribe' _='more'/>");
    drop_both();
    expect_state("none", "none"); /* kept in both rosters */
}

static void the_other_side_begins(void **state)
{
    (void)state;
    ask_and_agree(b, a);
    expect_state("from", "to");
    ask_and_agree(a, b);
    expect_state("both", "both");
}

/* Who sees whom in each state. */
static void presence_flows_as_subscribed(void **state)
{
    static const struct { bool a_asks, b_asks; const char *of_a, *of_b; } cases[] = {
        { false, false, "none", "none" }, { true, false, "to", "from" },
        { false, true, "from", "to" }, { true, true, "both", "both" },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        if (cases[i].a_asks)
            ask_and_agree(a, b);
        if (cases[i].b_asks)
            ask_and_agree(b, a);
        h_iq(a, "set", NULL, ROSTER("<item jid='x@remote.example'/>"));
        if (i > 0)
            expect_state(cases[i].of_a, cases[i].of_b);
        drop_both();
        h_send(a, "<presence><show>dnd</show></presence>");
        h_expect(a, GR_PRESENCE, GR_AVAILABLE, h_full(a)); /* one's own */
        if (cases[i].b_asks)
            h_expect_xmlf(b, "<presence from='%s' to='%s'><show>dnd</show></presence>", h_full(a),
                          bob);
        h_expect_nothing(b);
        h_send(b, "<presence><show>xa</show></presence>");
        h_expect(b, GR_PRESENCE, GR_AVAILABLE, h_full(b));
        if (cases[i].a_asks)
            h_expect_xmlf(a, "<presence from='%s' to='" A "'><show>xa</show></presence>",
                          h_full(b));
        h_expect_nothing(a);
        stop(NULL);
        start(NULL);
    }
}

static void all_resources_of_a_contact(void **state)
{
    (void)state;
    ask_and_agree(a, b);
    struct hs *two = online(bob, "two");
    h_send(b, "<presence><show>away</show><status>first</status></presence>");
    h_send(b, "<presence><show>dnd</show><status>busy</status><priority>5</priority></presence>");
    h_send(two, "<presence><show>chat</show><status>talk</status><priority>-3</priority>"
                "</presence>");
    h_send(a, "<presence type='unavailable'/>");
    h_drop_all(a);
    h_send(a, "<presence/>");
    char xml[400];
    snprintf(xml, sizeof(xml), "<presence from='%s/b' _='more'><show>dnd</show><status>busy"
             "</status><priority>5</priority></presence>", bob);
    h_expect_among(a, xml);
    snprintf(xml, sizeof(xml), "<presence from='%s/two' _='more'><show>chat</show><status>talk"
             "</status><priority>-3</priority></presence>", bob);
    h_expect_among(a, xml);
    h_expect(a, GR_PRESENCE, GR_AVAILABLE, h_full(a));
    h_expect_nothing(a); /* the last one of each, and nothing else */
}

/* --- items --- */

static void set_item(const char *name, const char *group)
{
    char xml[300];

    snprintf(xml, sizeof(xml), ROSTER("<item jid='%s' name='%s'><group>%s</group></item>"), bob,
             name, group);
    h_iq_result(a, "set", NULL, xml, NULL);
    h_drop_all(a);
}

static void expect_item(const char *name, const char *sub, const char *group)
{
    char xml[400];

    snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='*'><item jid='%s' name='%s' "
             "subscription='%s'><group>%s</group></item></query>", bob, name, sub, group);
    h_iq_result(a, "get", NULL, ROSTER(""), xml);
}

static void name_and_groups_at_any_time(void **state)
{
    (void)state;
    set_item("Before", "Some");
    expect_item("Before", "none", "Some");
    ask_and_agree(a, b);
    ask_and_agree(b, a);
    expect_item("Before", "both", "Some");
    set_item("After", "Others");
    expect_item("After", "both", "Others");
}

static void the_nick_of_a_request(void **state)
{
    (void)state;
    h_sendf(a, "<presence type='subscribe' to='%s'><nick xmlns='http://jabber.org/protocol/nick'>"
               "Al</nick></presence>", bob);
    for (int i = 0; i < 2; i++) { /* at once, and after a time away */
        h_expect_among(b, "<presence type='subscribe' from='" A "' _='more'><nick "
                          "xmlns='http://jabber.org/protocol/nick'>Al</nick></presence>");
        h_disconnect(&b, true);
        char full[96];
        snprintf(full, sizeof(full), "%s/b", bob);
        b = h_login(h, full);
        h_send(b, "<presence/>");
    }
}

static void what_is_pending_is_there_after_a_login(void **state)
{
    (void)state;
    presence(a, "subscribe", bob);
    for (int i = 0; i < 2; i++) {
        h_disconnect(&a, true);
        a = h_login(h, A "/a");
        char xml[300];
        snprintf(xml, sizeof(xml), "<query xmlns='jabber:iq:roster' ver='*'><item jid='%s' "
                 "subscription='none' ask='subscribe'/></query>", bob);
        h_iq_result(a, "get", NULL, ROSTER(""), xml);
        h_disconnect(&b, true);
        snprintf(xml, sizeof(xml), "%s/b", bob);
        b = h_login(h, xml);
        assert_null(subscription(b, A));
        h_send(b, "<presence/>");
        h_expect_among(b, "<presence type='subscribe' from='" A "' _='more'/>");
    }
}

/* --- bots: what a client library does by itself with requests --- */

/* Says what it does with the requests that have arrived; everything else is thrown away. */
static void play_bot(struct hs *s, bool authorize, bool subscribe)
{
    for (struct gr_stanza *st; (st = h_next(s)) != NULL;) {
        if (gr_stanza_kind(st) != GR_PRESENCE || gr_stanza_type(st) != GR_SUBSCRIBE)
            continue;
        presence(s, authorize ? "subscribed" : "unsubscribed", gr_stanza_from(st)->bare);
        if (authorize && subscribe)
            presence(s, "subscribe", gr_stanza_from(st)->bare);
    }
}

static void a_bot_that_authorizes_only(void **state)
{
    (void)state;
    presence(a, "subscribe", bob);
    for (int i = 0; i < 5; i++)
        play_bot(b, true, false);
    h_expect_among(a, "<presence type='subscribed' _='more'/>");
    expect_state("to", "from");
}

static void a_bot_that_subscribes_back(void **state)
{
    (void)state;
    presence(a, "subscribe", bob);
    for (int i = 0; i < 5; i++) {
        play_bot(b, true, true);
        play_bot(a, true, true);
    }
    assert_int_equal(h_count(a) + h_count(b), 0);
    expect_state("both", "both");
}

static void a_bot_that_declines(void **state)
{
    (void)state;
    presence(a, "subscribe", bob);
    play_bot(b, false, false);
    h_expect_among(a, "<presence type='unsubscribed' _='more'/>");
    assert_string_equal(subscription(a, bob), "none");
    assert_null(subscription(b, A));
}

/* A policy of the client's own: it must see all four. */
static void all_four_types_reach_the_client(void **state)
{
    static const char *const steps[] = { "subscribe", "subscribed", "unsubscribed", "subscribe",
                                         "subscribed", "unsubscribe" };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(steps); i++) {
        bool of_b = strcmp(steps[i], "subscribed") == 0 || strcmp(steps[i], "unsubscribed") == 0;
        char xml[200];

        drop_both();
        presence(of_b ? b : a, steps[i], of_b ? A : bob);
        snprintf(xml, sizeof(xml), "<presence type='%s' from='%s' to='%s' _='more'/>", steps[i],
                 of_b ? bob : A, of_b ? A : bob);
        h_expect_among(of_b ? a : b, xml);
    }
}

/* --- pushes --- */

enum { PEERS = 6 };
static struct local { bool there; char name[16], sub[8]; bool ask; } local[PEERS];

static void apply(struct local *to, const struct gr_el *item)
{
    const char *jid = gr_el_attr(item, "jid"), *name = gr_el_attr(item, "name");
    const char *sub = gr_el_attr(item, "subscription");
    struct local *l = &to[jid[1] - '0'];

    memset(l, 0, sizeof(*l));
    if (strcmp(sub, "remove") == 0)
        return;
    l->there = true;
    l->ask = gr_el_attr(item, "ask") != NULL;
    snprintf(l->name, sizeof(l->name), "%s", name != NULL ? name : "");
    snprintf(l->sub, sizeof(l->sub), "%s", sub);
}

static void from_outside(const char *type, int peer)
{
    char xml[200];
    struct gr_stanza *st;

    snprintf(xml, sizeof(xml), "<presence type='%s' from='p%d@remote.example' to='" A "'/>", type,
             peer);
    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    gr_send(h_mod(h, "sm", "localhost"), st);
    h_run(h);
}

static void random_operation(unsigned *seed)
{
    static const char *const types[] = { "subscribe", "subscribed", "unsubscribe", "unsubscribed" };
    int peer = rand_r(seed) % PEERS, what = rand_r(seed) % 10;
    struct hs *other = b; /* alice's second client */
    char xml[200];

    if (what < 4) {
        snprintf(xml, sizeof(xml), "p%d@remote.example", peer);
        presence(other, types[what], xml);
    } else if (what < 8) {
        from_outside(types[what - 4], peer);
    } else {
        snprintf(xml, sizeof(xml), "n%d", rand_r(seed) % 100);
        h_sendf(other, "<iq type='set' id='r'>" ROSTER("<item jid='p%d@remote.example' %s='%s'/>")
                "</iq>", peer, what == 8 ? "name" : "subscription", what == 8 ? xml : "remove");
    }
}

static void a_copy_kept_by_pushes(void **state)
{
    unsigned seed = 20261120;

    (void)state;
    h_disconnect(&b, true);
    b = h_login(h, A "/other");
    memset(local, 0, sizeof(local));
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 50; i++)
            random_operation(&seed);
        for (struct gr_stanza *st; (st = h_next(a)) != NULL;)
            if (gr_stanza_kind(st) == GR_IQ && gr_stanza_type(st) == GR_SET)
                apply(local, gr_el_child(gr_stanza_payload(st), NULL, "item"));
        struct local fresh[PEERS];
        unsigned there = 0;
        memset(fresh, 0, sizeof(fresh));
        struct gr_stanza *st = h_iq(b, "get", NULL, ROSTER(""));
        for (struct gr_el *el = gr_el_child(gr_stanza_payload(st), NULL, "item"); el != NULL;
             el = gr_el_next(el, NULL, "item"), there++)
            apply(fresh, el);
        assert_true(there > 0);
        assert_memory_equal(local, fresh, sizeof(fresh));
    }
}

/* --- storage --- */

struct counting {
    struct store_req req;
    uint64_t rows;
};

static void on_count(struct store_req *req)
{
    assert_int_equal(req->rows.rc, 0);
    GR_CONTAINER_OF(req, struct counting, req)->rows = req->rows.count;
}

static uint64_t rows_of(const char *collection)
{
    struct counting c = { .req.done = on_count };

    h_enter(h, A);
    store_count(&c.req, store_coll(collection, GR_COLL_MAP), A);
    h_run(h);
    return c.rows;
}

static void ten_thousand_times(void **state)
{
    uint64_t at_first = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        h_sendf(a, "<iq type='set' id='s'>" ROSTER("<item jid='c%d@remote.example' name='N'/>")
                "</iq>", i);
        h_sendf(a, "<iq type='set' id='r'>" ROSTER("<item jid='c%d@remote.example' "
                "subscription='remove'/>") "</iq>", i);
        h_drop_all(a);
        if (i == 500)
            at_first = rows_of("roster_items") + rows_of("roster_removed") + rows_of("roster_meta");
    }
    assert_true(at_first > 0);
    assert_true(rows_of("roster_items") + rows_of("roster_removed") + rows_of("roster_meta") <=
                at_first);
    assert_int_equal(rows_of("roster_items"), 0);
    assert_null(subscription(a, "c9999@remote.example"));
}

/* --- the provider's questions --- */

static struct { enum gr_result result; size_t count; char from[4][40]; } answer;

static void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *ans)
{
    (void)self, (void)ask;
    answer.result = ans->result;
    answer.count = ans->stanzas != NULL ? ans->count : 0;
    for (size_t i = 0; i < answer.count && i < 4; i++) {
        assert_int_equal(gr_stanza_type(ans->stanzas[i]), GR_SUBSCRIBE);
        snprintf(answer.from[i], sizeof(answer.from[i]), "%s",
                 gr_stanza_from(ans->stanzas[i])->full);
    }
}

static void question(enum gr_roster_op op, const char *contact)
{
    struct gr_mod *self = h_mod(h, "sm", A);

    memset(&answer, 0, sizeof(answer));
    answer.result = GR_R_ERROR;
    gr_roster_ask(self, gr_ask_new(self, 1, on_answer), op, NULL, h_parse_jid(h, A),
                  contact != NULL ? h_parse_jid(h, contact) : NULL, NULL);
    h_run(h);
}

static void requests_while_away(void **state)
{
    (void)state;
    h_disconnect(&a, true);
    from_outside("subscribe", 1);
    from_outside("subscribe", 2);
    question(GR_ROSTER_GET_PENDING, NULL);
    assert_int_equal(answer.result, GR_R_OK);
    assert_int_equal(answer.count, 2);
    assert_string_equal(answer.from[0], "p1@remote.example");
    assert_string_equal(answer.from[1], "p2@remote.example");
}

static void three_answers_about_a_request(void **state)
{
    (void)state;
    from_outside("subscribe", 1);
    h_iq(a, "set", NULL, ROSTER("<item jid='p2@remote.example'/>"));
    question(GR_ROSTER_IS_PENDING, "p1@remote.example");
    assert_int_equal(answer.result, GR_R_OK);
    question(GR_ROSTER_IS_PENDING, "p2@remote.example");
    assert_int_equal(answer.result, GR_R_FALSE);
    question(GR_ROSTER_IS_PENDING, "p3@remote.example");
    assert_int_equal(answer.result, GR_R_NONE);
}

/* --- virtual rosters --- */

static void staff_see_staff(void **state)
{
    (void)state;
    stop(NULL);
    h = h_start("[host localhost]\nadmins = alice@localhost, carol@localhost\n[mod_roster]\n"
                "[mod_presence]\n[mod_staff_roster]\n");
    h_user(h, A);
    h_user(h, "carol@localhost");
    a = online(A, "a");
    struct hs *staff = h_login(h, "carol@localhost/c");
    h_send(staff, "<presence><show>chat</show></presence>");
    h_expect_xml(a, "<presence from='carol@localhost/c' to='" A "'><show>chat</show></presence>");
    struct hs *later = h_login(h, A "/later"); /* and who comes afterwards */
    h_send(later, "<presence/>");
    h_expect_among(later, "<presence from='carol@localhost/c' _='more'><show>chat</show>"
                          "</presence>");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(four_steps), CASE(the_other_side_begins), CASE(presence_flows_as_subscribed),
        CASE(all_resources_of_a_contact), CASE(name_and_groups_at_any_time),
        CASE(the_nick_of_a_request), CASE(what_is_pending_is_there_after_a_login),
        CASE(a_bot_that_authorizes_only), CASE(a_bot_that_subscribes_back),
        CASE(a_bot_that_declines), CASE(all_four_types_reach_the_client),
        CASE(a_copy_kept_by_pushes), CASE(ten_thousand_times), CASE(requests_while_away),
        CASE(three_answers_about_a_request), CASE(staff_see_staff),
    };

    return H_RUN("mission_roster", tests);
}
