/* tests/mod/test_session_provider.c: who is here (backends.md 4): what the core's own table
 * answers, a provider that knows nothing (the mission's default), and some of the test's own. */
#include "session_asks.h"

#include "loop/loop.h"

/* --- the same questions to the core's table and to mod_sessiondb --- */

static const char *ask_all(struct h *h, const char *const *users, size_t count)
{
    struct gr_mod *self = h_mod(h, "t", "localhost");
    const struct gr_jid *jid[8];

    for (size_t i = 0; i < count; i++)
        jid[i] = h_parse_jid(h, users[i]);
    h_enter(h, "localhost");
    snprintf(said, sizeof(said), "unanswered");
    gr_session_ask_all(self, gr_ask_new(self, 1, on_answer), jid, count);
    h_run(h);
    return said;
}

static const char *const kinds[] = { "[host localhost]\n[mod_presence]\n",
                                     "[host localhost]\n[mod_presence]\n[mod_sessiondb]\n" };

static void questions_about_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        struct h *h = begin(kinds[i]);
        struct hs *s = available(h, "bob@localhost/a", 5, "here");

        h_login(h, "bob@localhost/silent");
        assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/a"),
                            "ok bob@localhost/a:5:here");
        assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/silent"), "none");
        assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/gone"), "none");
        assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost"), "none");
        assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/a"), "ok 5");
        assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/silent"), "none");
        assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "eve@localhost/a"), "none");
        h_send(s, "<presence><priority>-3</priority></presence>");
        assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/a"),
                            "ok bob@localhost/a:-3:");
        h_send(s, "<presence type='unavailable'/>");
        assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/a"), "none");
        assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/a"), "none");
        h_stop(&h);
    }
}

static void questions_about_all(void **state)
{
    static const char *const users[] = { "bob@localhost", "carol@localhost", "nobody@localhost",
                                         "dave@elsewhere.example", "eve@localhost" };
    static const char bob[] = " bob@localhost/a:5:x bob@localhost/b:-1:y",
                      carol[] = " carol@localhost/c:0:z", eve[] = " eve@localhost/e:9:w";

    (void)state;
    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        struct h *h = begin(kinds[i]);

        available(h, "bob@localhost/a", 5, "x");
        available(h, "bob@localhost/b", -1, "y");
        available(h, "carol@localhost/c", 0, "z");
        available(h, "eve@localhost/e", 9, "w");
        h_login(h, "bob@localhost/silent");
        assert_string_equal(ask(h, GR_SESSION_GET_ALL_PRESENCES, "bob@localhost"),
                            "ok bob@localhost/a:5:x bob@localhost/b:-1:y");
        assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "bob@localhost/whatever"),
                            "ok bob@localhost/a:5 bob@localhost/b:-1");
        assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "nobody@localhost"), "ok");
        /* Of several homes: by a query of the provider's, or by asking for one after the other. */
        ask_all(h, users, GR_COUNT(users));
        assert_int_equal(strlen(said), strlen("ok") + strlen(bob) + strlen(carol) + strlen(eve));
        assert_true(strstr(said, bob) && strstr(said, carol) && strstr(said, eve));
        assert_string_equal(ask_all(h, users, 0), "ok");
        h_stop(&h);
    }
}

/* --- S84: many at once, by a provider that can or by asking at each home --- */

static struct {
    int calls, visits, last;        /* visits: how often the loop was another one than before */
    bool late;                      /* every third answers later */
    struct gr_ask *waiting;
    char waiting_for[64];
} homes;

static void note_home(struct gr_mod *self, void *inst, struct gr_ask *ask,
                      const struct gr_jid *user)
{
    const struct gr_presence_row row = { user, 1, NULL };

    (void)self, (void)inst;
    assert_ptr_equal(loop_home(user->hash), loop_self());
    homes.visits += homes.last != loop_index(loop_self());
    homes.last = loop_index(loop_self());
    if (++homes.calls % 3 == 0 && homes.late) {
        homes.waiting = ask;
        snprintf(homes.waiting_for, sizeof(homes.waiting_for), "%s", user->bare);
    } else {
        gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .presences = &row, .count = 1 });
    }
}

static void answer_for_all(struct gr_mod *self, void *inst, struct gr_ask *ask,
                           const struct gr_jid *const *users, size_t count)
{
    const struct gr_presence_row row = { users[count - 1], 7, NULL };

    (void)self, (void)inst;
    homes.calls++;
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .presences = &row, .count = 1 });
}

static const struct gr_session_provider one_by_one = { .name = "one",
                                                       .get_all_presences = note_home };
static const struct gr_session_provider at_once = {
    .name = "all", .get_all_presences = note_home, .get_all_roster_presences = answer_for_all
};

static size_t answered;

static void count_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    answered += a->result == GR_R_OK ? a->count : 0;
}

static void ask_for_many(struct h *h, size_t count)
{
    struct gr_mod *self = h_mod(h, "t", "localhost");
    const struct gr_jid **jid = gr_alloc(count * sizeof(*jid));
    char name[64];

    homes.calls = homes.visits = 0;
    homes.last = -2;
    answered = 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "user%zu@localhost", i);
        jid[i] = h_parse_jid(h, name);
    }
    h_enter(h, "localhost");
    gr_session_ask_all(self, gr_ask_new(self, 1, count_answer), jid, count);
    h_run(h);
    gr_free(jid);
}

static void a_journey_visits_each_home_once(void **state)
{
    enum { MANY = 3000 }; /* more than one visit asks about without a pause */

    (void)state;
    for (int late = 0; late < 2; late++) {
        provider = &one_by_one;
        struct h *h = begin("[host localhost]\n");

        homes.late = late;
        ask_for_many(h, MANY);
        while (homes.waiting != NULL) {
            struct gr_ask *ask = homes.waiting;
            struct gr_presence_row row = { h_parse_jid(h, homes.waiting_for), 1, NULL };

            assert_int_equal(answered, 0);
            homes.waiting = NULL;
            h_enter(h, homes.waiting_for);
            gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .presences = &row,
                                                .count = 1 });
            h_run(h);
        }
        assert_int_equal(answered, MANY);
        assert_int_equal(homes.calls, MANY);
        assert_int_equal(homes.visits, h_loops(h));
        h_stop(&h);
    }
}

static void a_provider_that_can_is_asked_once(void **state)
{
    provider = &at_once;
    struct h *h = begin("[host localhost]\n");

    (void)state;
    ask_for_many(h, 100);
    assert_int_equal(homes.calls, 1);
    assert_int_equal(answered, 1);
    h_stop(&h);
}

static void the_preferred_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        struct h *h = begin(kinds[i]);

        assert_string_equal(ask(h, GR_SESSION_GET_PREFERRED_RESOURCE, "bob@localhost"), "none");
        available(h, "bob@localhost/minus", -1, "");
        assert_string_equal(ask(h, GR_SESSION_GET_PREFERRED_RESOURCE, "bob@localhost"), "none");
        available(h, "bob@localhost/zero", 0, "");
        assert_string_equal(ask(h, GR_SESSION_GET_PREFERRED_RESOURCE, "bob@localhost"),
                            "ok \"zero\"");
        available(h, "bob@localhost/five", 5, "");
        assert_string_equal(ask(h, GR_SESSION_GET_PREFERRED_RESOURCE, "bob@localhost"),
                            "ok \"five\" 5");
        available(h, "bob@localhost/another", 5, "");
        assert_string_equal(ask(h, GR_SESSION_GET_PREFERRED_RESOURCE, "bob@localhost"),
                            "ok \"\" 5"); /* both */
        h_stop(&h);
    }
}

static void killing_a_resource(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(kinds); i++) {
        struct h *h = begin(kinds[i]);
        struct hs *s = available(h, "bob@localhost/a", 5, "");

        assert_string_equal(ask(h, GR_SESSION_KILL_RESOURCE, "bob@localhost/b"), "none");
        assert_null(h_closed(s));
        assert_string_equal(ask(h, GR_SESSION_KILL_RESOURCE, "bob@localhost/a"), "ok");
        h_expect_closed(&s, "conflict");
        assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/a"), "none");
        assert_string_equal(ask(h, GR_SESSION_KILL_RESOURCE, "bob@localhost/a"), "none");
        h_stop(&h);
    }
}

/* --- a provider that knows nothing: the mission's default --- */

static void know_nothing(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *jid)
{
    (void)self, (void)inst, (void)jid;
    gr_answer_result(ask, GR_R_NONE);
}

static void always_there(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *jid)
{
    (void)self, (void)inst, (void)jid;
    gr_answer_result(ask, GR_R_OK);
}

static void prefer_all(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user)
{
    (void)self, (void)inst, (void)user;
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .text = "" });
}

static const struct gr_session_provider minimal = {
    .name = "minimal", .bind = always_there, .get_presence = know_nothing,
    .get_all_presences = know_nothing, .get_resource = always_there,
    .get_all_resources = know_nothing, .get_preferred_resource = prefer_all,
    .kill_resource = know_nothing,
};

#define FULL "[host localhost]\n[mod_roster]\n[mod_presence]\n"

/* Sees each other's presence by probing, knows no resources; whatever the provider does not
 * know. */
static void reduced_features(void **state)
{
    (void)state;
    for (int reduced = 0; reduced < 2; reduced++) {
        provider = reduced ? &minimal : NULL;
        struct h *h = begin(FULL);
        h_user(h, "alice@localhost");
        h_user(h, "bob@localhost");
        struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/a");

        h_send(alice, "<presence type='subscribe' to='bob@localhost'/>");
        h_send(bob, "<presence type='subscribed' to='alice@localhost'/>");
        h_disconnect(&alice, true);
        alice = h_login(h, "alice@localhost/a");
        h_send(alice, "<presence/>");
        h_expect_among(alice, "<presence from='bob@localhost/b' to='alice@localhost/a' _='any'/>");
        assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "bob@localhost"),
                            reduced ? "none" : "ok bob@localhost/b:0");
        assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/nobody"),
                            reduced ? "ok" : "none");
        h_stop(&h);
    }
}

/* "" means all that are available, and no error when there are none. */
static void a_message_to_everybody_who_is_there(void **state)
{
    provider = &minimal;
    struct h *h = begin(FULL);
    h_user(h, "bob@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a");

    (void)state;
    h_send(alice, "<message to='bob@localhost' type='chat'><body>lost</body></message>");
    h_expect_nothing(alice); /* as documented: no error for messages to offline users */
    struct hs *five = available(h, "bob@localhost/five", 5, ""),
              *zero = available(h, "bob@localhost/zero", 0, ""),
              *minus = available(h, "bob@localhost/minus", -1, "");
    h_drop_all(five);
    h_drop_all(zero);
    h_send(alice, "<message to='bob@localhost' type='chat'><body>hi</body></message>");
    h_expect_body(five, "alice@localhost/a", "hi");
    h_expect_body(zero, "alice@localhost/a", "hi");
    h_expect_nothing(minus); /* never by the bare address: RFC 6121, 8.5.2.1.1 */
    h_send(alice, "<message to='bob@localhost/gone' type='chat'><body>again</body></message>");
    h_expect_body(five, "alice@localhost/a", "again");
    h_stop(&h);
}

/* Bounced with the table, with sessiondb, and where the provider says that nobody is there; only
 * one that says "all" of nobody loses it. */
static const struct gr_session_provider nobody = { .name = "t",
                                                   .get_preferred_resource = know_nothing };

static void messages_to_offline_users(void **state)
{
    static const struct {
        const char *ini;
        const struct gr_session_provider *provider;
        bool bounced;
    } with[] = { { FULL, NULL, true }, { FULL "[mod_sessiondb]\n", NULL, true },
                 { FULL, &nobody, true }, { FULL, &minimal, false } };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(with); i++) {
        provider = with[i].provider;
        struct h *h = begin(with[i].ini);
        h_user(h, "bob@localhost");
        struct hs *alice = h_online(h, "alice@localhost/a");
        h_send(alice, "<message to='bob@localhost' type='chat'><body>hi</body></message>");
        if (with[i].bounced)
            h_expect_error(alice, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "bob@localhost");
        h_expect_nothing(alice);
        h_stop(&h);
    }
}

/* None: offline handling, though somebody is there. */
static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    note("offline(%s) ", ev->to->full);
    return GR_STOP;
}

static const struct gr_hook offline_hooks[] = { GR_ON(offline_message, 1, on_offline),
                                                GR_HOOK_END };

static void nobody_is_preferred(void **state)
{
    provider = &nobody;
    watched = offline_hooks;
    struct h *h = begin(FULL);
    h_user(h, "bob@localhost");
    struct hs *alice = h_online(h, "alice@localhost/a"), *bob = h_online(h, "bob@localhost/b");

    (void)state;
    h_send(alice, "<message to='bob@localhost' type='chat'><body>kept</body></message>");
    h_expect_nothing(alice);
    h_expect_nothing(bob);
    expect_trace("offline(bob@localhost) ");
    h_stop(&h);
}

/* --- one of the test's own --- */

static struct gr_ask *slow;
static const char *choice;
static enum gr_result choice_result;

static void choose(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *user)
{
    (void)self, (void)inst;
    note("preferred?(%s) ", user->full);
    if (choice == NULL)
        slow = ask;
    else if (choice_result == GR_R_ERROR)
        gr_answer_error(ask, GR_INTERNAL_SERVER_ERROR, NULL);
    else
        gr_answer(ask, &(struct gr_answer){ .result = choice_result, .text = choice });
}

static const struct gr_session_provider choosing = { .name = "t",
                                                     .get_preferred_resource = choose };

static void the_provider_chooses(void **state)
{
    provider = &choosing;
    struct h *h = begin(FULL);
    struct hs *alice = h_online(h, "alice@localhost/a");
    struct hs *five = available(h, "bob@localhost/five", 5, ""),
              *zero = available(h, "bob@localhost/zero", 0, "");

    (void)state;
    h_drop_all(five);
    trace[0] = '\0';
    choice_result = GR_R_OK;
    choice = "zero";
    h_send(alice, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    expect_trace("preferred?(bob@localhost) ");
    h_expect_body(zero, "alice@localhost/a", "1");
    h_expect_nothing(five);
    choice = "gone"; /* none of ours: the table knows better */
    h_send(alice, "<message to='bob@localhost' type='chat'><body>2</body></message>");
    h_expect_body(five, "alice@localhost/a", "2");
    choice_result = GR_R_ERROR;
    h_send(alice, "<message to='bob@localhost' type='chat'><body>3</body></message>");
    h_expect_body(five, "alice@localhost/a", "3");
    trace[0] = '\0';
    h_send(alice, "<message to='bob@localhost/zero' type='chat'><body>4</body></message>");
    h_expect_body(zero, "alice@localhost/a", "4");
    expect_trace(""); /* only where there is a choice */
    h_stop(&h);
}

/* While it thinks, what comes later waits in order; others do not; it may never answer. */
static void a_slow_choice_keeps_the_order(void **state)
{
    provider = &choosing;
    struct h *h = begin(FULL "[mod_ping]\n");
    struct hs *alice = h_online(h, "alice@localhost/a"), *carol = h_online(h, "carol@localhost/c");
    struct hs *bob = available(h, "bob@localhost/b", 0, "");
    int64_t began = gr_now_ms();

    (void)state;
    h_drop_all(bob);
    choice = NULL;
    choice_result = GR_R_OK;
    h_send(alice, "<message to='bob@localhost' type='chat'><body>1</body></message>");
    h_send(alice, "<message to='bob@localhost/b' type='chat'><body>2</body></message>");
    h_expect_nothing(bob);
    h_iq_result(carol, "get", "localhost", "<ping xmlns='urn:xmpp:ping'/>", NULL);
    assert_in_range(gr_now_ms() - began, 0, 99);
    h_enter(h, "bob@localhost");
    gr_answer(slow, &(struct gr_answer){ .result = GR_R_OK, .text = "b" });
    h_run(h);
    h_expect_body(bob, "alice@localhost/a", "1");
    h_expect_body(bob, "alice@localhost/a", "2");
    h_send(alice, "<message to='bob@localhost' type='chat'><body>3</body></message>");
    h_expect_nothing(bob);
    h_advance(h, 30000);
    h_expect_body(bob, "alice@localhost/a", "3");
    h_enter(h, "bob@localhost");
    gr_answer_result(slow, GR_R_NONE); /* too late */
    choice = "";
    h_stop(&h);
}

/* Two seconds for a binding, two for a roster, and a ping of somebody else in between. */
static void slow_fire(struct gr_mod *self, struct gr_timer *timer)
{
    (void)self, (void)timer;
    gr_answer_result(slow, slow != NULL ? GR_R_OK : GR_R_NONE);
}

static void slow_bind(struct gr_mod *self, void *inst, struct gr_ask *ask,
                      const struct gr_jid *full)
{
    (void)inst;
    if (strcmp(full->resource, "slow") != 0) {
        gr_answer_result(ask, GR_R_OK);
        return;
    }
    slow = ask;
    gr_timer_start(self, gr_state(self), 2000, slow_fire);
}

static void slow_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                          const struct gr_jid *user)
{
    (void)inst, (void)user;
    slow = ask;
    gr_timer_start(self, gr_state(self), 2000, slow_fire);
}

static const struct gr_session_provider slow_sessions = { .name = "t", .bind = slow_bind };
static const struct gr_roster_provider slow_rosters = { .name = "t",
                                                        .get_contacts = slow_contacts };

static void slow_providers_delay_nobody_else(void **state)
{
    provider = &slow_sessions;
    rosters = &slow_rosters;
    struct h *h = begin("[host localhost]\n[mod_roster]\n[mod_ping]\n");
    struct hs *bob = h_connect(h, "bob@localhost"), *carol = h_login(h, "carol@localhost/c");
    int64_t began = gr_now_ms();

    (void)state;
    assert_int_equal(h_bind(bob, "slow"), (enum gr_cond)-1);
    h_iq_result(carol, "get", "localhost", PING, NULL);
    assert_in_range(gr_now_ms() - began, 0, 99);
    h_advance(h, 2000);
    assert_int_equal(h_bound(bob), GR_COND_NONE);
    began = gr_now_ms();
    h_send(bob, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
    h_expect_nothing(bob);
    h_iq_result(carol, "get", "localhost", PING, NULL);
    assert_in_range(gr_now_ms() - began, 0, 99);
    h_advance(h, 2000);
    h_expect_xml(bob, "<iq type='result' id='1' to='bob@localhost/slow' _='any'/>");
    h_stop(&h);
}

/* --- no rosters anywhere --- */

static void a_host_without_rosters(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_roster]\nstorage = no\n[mod_presence]\n");
    int prio = -1;

    (void)state;
    assert_string_equal(gr_provider_name(gr_mod_host(h_mod(h, "t", "localhost")),
                                         GR_PROVIDER_ROSTER, &prio), "default");
    assert_int_equal(prio, 0);
    h_user(h, "alice@localhost");
    struct hs *bob = h_online(h, "bob@localhost/b"), *alice = h_online(h, "alice@localhost/a");
    h_iq_error(bob, "get", NULL, "<query xmlns='jabber:iq:roster'/>", GR_ITEM_NOT_FOUND);
    h_iq_error(bob, "set", NULL,
               "<query xmlns='jabber:iq:roster'><item jid='x@y.example'/></query>",
               GR_NOT_ALLOWED);
    h_send(bob, "<presence type='subscribe' to='alice@localhost'/>");
    h_expect_nothing(alice);
    h_send(bob, "<message to='alice@localhost' type='chat'><body>hi</body></message>");
    h_expect_body(alice, "bob@localhost/b", "hi"); /* everything else goes on */
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(questions_about_one),
        cmocka_unit_test(questions_about_all),
        cmocka_unit_test(a_journey_visits_each_home_once),
        cmocka_unit_test(a_provider_that_can_is_asked_once),
        cmocka_unit_test(the_preferred_one),
        cmocka_unit_test(killing_a_resource),
        cmocka_unit_test(reduced_features),
        cmocka_unit_test(a_message_to_everybody_who_is_there),
        cmocka_unit_test(messages_to_offline_users),
        cmocka_unit_test(nobody_is_preferred),
        cmocka_unit_test(the_provider_chooses),
        cmocka_unit_test(a_slow_choice_keeps_the_order),
        cmocka_unit_test(slow_providers_delay_nobody_else),
        cmocka_unit_test(a_host_without_rosters),
    };

    return H_RUN("session_provider", cases);
}
