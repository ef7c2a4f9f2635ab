/* tests/mod/test_session_provider.c: who is here (backends.md 4): what the core's own table
 * answers, a provider that knows nothing (the mission's default), one of the test's own, and
 * mod_sessiondb. */
#include "harness.h"
#include "trace.h"

#include "loop/loop.h"
#include "mod/node.h"
#include "store/commit.h"
#include "store/store.h"

#include <stdio.h>

/* --- the module --- */

/* for the next start */
static const struct gr_session_provider *provider;
static const struct gr_roster_provider *rosters;
static const struct gr_hook *watched;
static struct gr_module module_t;

static int start_t(struct gr_mod *self, const char **why)
{
    (void)why;
    if (provider != NULL)
        gr_provide_session(self, provider, GR_PROVIDER_DEFAULT_PRIO);
    if (rosters != NULL)
        gr_provide_roster(self, rosters, GR_PROVIDER_DEFAULT_PRIO);
    return 0;
}

static struct h *begin(const char *ini)
{
    module_t = (struct gr_module){ .name = "t", .hooks = watched, .start = start_t,
                                   .state_size = sizeof(struct gr_timer) };
    trace[0] = '\0';
    h_module(&module_t);
    struct h *h = h_start(ini);
    provider = NULL;
    rosters = NULL;
    watched = NULL;
    return h;
}

/* --- asking: the answer in words --- */

static char said[512];

static void say_row(const struct gr_presence_row *r)
{
    const struct gr_el *status = r->stanza != NULL
                                     ? gr_stanza_child(r->stanza, GR_NS_CLIENT, "status") : NULL;

    snprintf(said + strlen(said), sizeof(said) - strlen(said), " %s:%d%s%s", r->jid->full,
             r->priority, r->stanza != NULL ? ":" : "",
             status != NULL ? gr_el_text(status, NULL) : "");
}

static void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    static const char *const word[] = { "ok", "false", "none", "error" };

    (void)self, (void)ask;
    snprintf(said, sizeof(said), "%s", word[a->result]);
    if (a->text != NULL)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), " \"%s\"", a->text);
    if (a->priority != 0 && a->presences == NULL)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), " %d", a->priority);
    for (size_t i = 0; i < a->count; i++)
        say_row(&a->presences[i]);
}

static const char *ask(struct h *h, enum gr_session_op op, const char *jid)
{
    struct gr_mod *self = h_mod(h, "t", jid);

    snprintf(said, sizeof(said), "unanswered");
    gr_session_ask(self, gr_ask_new(self, 1, on_answer), op, h_parse_jid(h, jid));
    h_run(h);
    return said;
}

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

static struct hs *available(struct h *h, const char *full, int priority, const char *status)
{
    struct hs *s = h_login(h, full);

    h_sendf(s, "<presence><priority>%d</priority><status>%s</status></presence>", priority, status);
    h_drop_all(s);
    return s;
}

/* The same questions to the core's table and to mod_sessiondb, for the same answers. */
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
#define PING "<ping xmlns='urn:xmpp:ping'/>"

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

/* --- mod_sessiondb --- */

#define DB "[host localhost]\n[mod_presence]\n[mod_sessiondb]\n"

struct looking {
    struct store_req req;
    size_t rows;
    char text[512];
};

/* server, resource, available, session kept; "-" between rows */
static void on_rows(struct store_req *req)
{
    struct looking *l = GR_CONTAINER_OF(req, struct looking, req);

    for (size_t i = 0; req->rows.rc == 0 && i < req->rows.count; i++) {
        const struct gr_row *r = &req->rows.row[i];
        const char *val = r->val;
        snprintf(l->text + strlen(l->text), sizeof(l->text) - strlen(l->text), "%.*s(%s,%d) ",
                 (int)r->key_len, (const char *)r->key, val + 27, val[1]);
    }
}

static const char *rows_now(struct h *h, const char *bare)
{
    static struct looking l;

    l = (struct looking){ .req.done = on_rows };
    h_enter(h, bare);
    store_range(&l.req, store_coll("sessiondb", GR_COLL_MAP), bare, NULL, 0, 100);
    h_run(h);
    return l.text;
}

/* When what was to be written later has been. */
static const char *rows_of(struct h *h, const char *bare)
{
    h_advance(h, 1000);
    return rows_now(h, bare);
}

static void on_count(struct store_req *req)
{
    GR_CONTAINER_OF(req, struct looking, req)->rows = req->rows.count;
}

static size_t index_rows(struct h *h, const char *server)
{
    struct looking l = { .req.done = on_count };

    h_enter(h, "localhost");
    store_count(&l.req, store_coll("sessiondb_index", GR_COLL_MAP), server);
    h_run(h);
    return l.rows;
}

/* Of a server that is not this one, or of this one's process that died: as the module writes it. */
static void put_row(struct h *h, const char *server, const char *bare, const char *resource,
                    bool login_long_ago)
{
    struct store_txn *t = store_txn_new();
    char val[64] = { 1, 1, (char)128 }, key[128], login[8] = { 0 };
    size_t server_len = strlen(server) + 1, bare_len = strlen(bare) + 1;

    if (!login_long_ago)
        val[11] = login[0] = 0x7f;
    memcpy(val + 27, server, server_len);
    memcpy(key, bare, bare_len);
    memcpy(key + bare_len, resource, strlen(resource));
    h_enter(h, bare);
    store_txn_add(t, STORE_PUT, store_coll("sessiondb", GR_COLL_MAP), bare, resource,
                  strlen(resource), val, 27 + server_len);
    store_txn_add(t, STORE_PUT, store_coll("sessiondb_index", GR_COLL_MAP), server, key,
                  bare_len + strlen(resource), login, sizeof(login));
    store_commit(t, NULL);
    h_run(h);
}

static void rows_follow_the_sessions(void **state)
{
    struct h *h = begin(DB);
    struct hs *s = h_login(h, "bob@localhost/a"), *t = available(h, "bob@localhost/b", 1, "");
    int prio = -1;

    (void)state;
    assert_string_equal(gr_provider_name(gr_mod_host(h_mod(h, "t", "localhost")),
                                         GR_PROVIDER_SESSION, &prio), "sessiondb");
    assert_int_equal(prio, GR_PROVIDER_STORAGE_PRIO);
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) b(local,1) ");
    assert_int_equal(index_rows(h, "local"), 2);
    h_send(s, "<presence/>");
    h_send(t, "<presence type='unavailable'/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) b(local,0) ");
    h_disconnect(&s, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "b(local,0) ");
    h_disconnect(&t, false);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    assert_int_equal(index_rows(h, "local"), 0);
    h_stop(&h);
}

/* Presences are written once a second, together; answers do not wait for that. */
static void presences_are_written_later(void **state)
{
    struct h *h = begin(DB);
    struct hs *s = h_login(h, "bob@localhost/a"), *t = h_login(h, "bob@localhost/b");
    uint64_t commits = batch_stats.commits, ops = batch_stats.ops;

    (void)state;
    for (int i = 0; i < 20; i++) {
        h_sendf(s, "<presence><priority>%d</priority></presence>", i);
        h_send(t, "<presence/>");
    }
    assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "bob@localhost"),
                        "ok bob@localhost/a:19 bob@localhost/b:0");
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,0) b(local,0) ");
    h_advance(h, 998);
    assert_int_equal(batch_stats.commits - commits, 0);
    h_advance(h, 2);
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,1) b(local,1) ");
    assert_int_equal(batch_stats.commits - commits, 1);
    assert_int_equal(batch_stats.ops - ops, 2);
    h_advance(h, 5000); /* nothing changes, nothing is written */
    assert_int_equal(batch_stats.commits - commits, 1);
    h_send(s, "<presence><show>away</show></presence>");
    h_disconnect(&s, true);
    assert_string_equal(rows_now(h, "bob@localhost"), "b(local,1) "); /* at once, and for good */
    assert_string_equal(rows_of(h, "bob@localhost"), "b(local,1) ");
    h_disconnect(&t, true);
    h_stop(&h);
}

/* At the bound they do not wait for their second. */
static void so_many_presences_are_written_now(void **state)
{
    enum { MANY = 1000 };
    struct h *h = begin("[limits]\nsessions_per_account = 1000\n" DB);
    uint64_t ops = 0;
    char full[64];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        h_drop_all(h_login(h, full));
    }
    ops = batch_stats.ops;
    for (int i = 0; i < MANY; i++) {
        struct gr_session *s;

        h_run(h);
        assert_int_equal(batch_stats.ops - ops, 0);
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        h_enter(h, full);
        s = gr_account_session(gr_account_find(NULL, h_parse_jid(h, full)), strchr(full, '/') + 1);
        gr_session_set_presence(NULL, s, NULL, NULL);
    }
    h_run(h);
    assert_int_equal(batch_stats.ops - ops, MANY);
    h_stop(&h);
}

/* Presences of 5 MiB are five transactions, not one: the committer takes up to 4 MiB at once, and
 * what others write need not wait for the rest. */
static void large_presences_are_written_in_parts(void **state)
{
    enum { MANY = 80, SIZE = 64 * 1024 };
    struct h *h = begin("[limits]\nsessions_per_account = 80\n" DB);
    struct gr_stanza *st = gr_presence_new(GR_AVAILABLE, NULL, NULL);
    char *text = gr_alloc(SIZE + 1), full[64];
    uint64_t commits, ops;

    (void)state;
    memset(text, 'x', SIZE);
    gr_el_add_text(st, NULL, NULL, "status", text);
    for (int i = 0; i < MANY; i++) {
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        h_drop_all(h_login(h, full));
    }
    h_enter(h, "bob@localhost");
    for (int i = 0; i < MANY; i++) {
        snprintf(full, sizeof(full), "%d", i);
        gr_session_set_presence(NULL, gr_account_session(gr_account_find(NULL, h_parse_jid(
                                    h, "bob@localhost")), full), st, NULL);
    }
    h_run(h);
    commits = batch_stats.commits;
    ops = batch_stats.ops;
    h_advance(h, 1000);
    assert_int_equal(batch_stats.ops - ops, MANY);
    assert_int_equal(batch_stats.commits - commits, 2);
    gr_stanza_unref(&st);
    gr_free(text);
    h_stop(&h);
}

/* The module goes or a new version comes: what waits is written before. */
static void what_waits_is_written_at_a_reload(void **state)
{
    struct h *h = begin(DB);
    struct hs *s = available(h, "bob@localhost/a", 1, "");

    (void)state;
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,0) ");
    h_reload(h, "[host localhost]\n[mod_presence]\n", NULL);
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,1) ");
    h_disconnect(&s, true);
    h_stop(&h);
}

/* A row that says otherwise than the session table, of this server or of another one. */
static void whose_row_is_believed(void **state)
{
    struct h *h = begin(DB);

    (void)state;
    put_row(h, "local", "bob@localhost", "ghost", true);
    put_row(h, "other", "bob@localhost", "there", true);
    available(h, "bob@localhost/here", 4, "");
    assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "bob@localhost"),
                        "ok bob@localhost/here:4 bob@localhost/there:0");
    assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/ghost"), "none");
    assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/there"),
                        "ok bob@localhost/there:0");
    h_stop(&h);
}

/* The new session's row is not the old one's to change or delete. */
static void a_replaced_session_leaves_the_row_alone(void **state)
{
    struct h *h = begin(DB);
    struct hs *old = available(h, "bob@localhost/a", 1, "old"),
              *s = h_login(h, "bob@localhost/a");

    (void)state;
    h_expect_closed(&old, "conflict");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) ");
    h_send(s, "<presence><status>new</status></presence>");
    assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/a"),
                        "ok bob@localhost/a:0:new");
    h_disconnect(&s, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    h_stop(&h);
}

static void another_servers_resource_is_in_use(void **state)
{
    struct h *h = begin(DB);

    (void)state;
    put_row(h, "other", "bob@localhost", "a", true);
    struct hs *s = h_connect(h, "bob@localhost");
    assert_int_equal(h_bind(s, "a"), GR_COND_NONE);
    assert_string_not_equal(h_jid(s)->resource, "a"); /* another one was found */
    assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/a"), "ok");
    h_restart(h); /* what is not ours stays */
    assert_string_equal(rows_of(h, "bob@localhost"), "a(other,1) ");
    assert_string_equal(ask(h, GR_SESSION_KILL_RESOURCE, "bob@localhost/a"), "ok");
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    assert_int_equal(index_rows(h, "other"), 0);
    h_login(h, "bob@localhost/a");
    h_stop(&h);
}

static enum gr_verdict on_cleanup(struct gr_mod *self, struct gr_session_ev *ev)
{
    assert_ptr_equal(ev->ev.host, gr_mod_host(self));
    assert_true(gr_is_home(ev->jid));
    assert_null(ev->session);
    note("gone(%s) ", ev->jid->full);
    return GR_OK;
}

static const struct gr_hook cleanup_hooks[] = { GR_ON(session_cleanup, 1, on_cleanup),
                                                GR_HOOK_END };

/* More than one page; what is not ours, or younger than we are, stays. */
static void stale_rows_go_at_the_start(void **state)
{
    struct h *h = begin(DB);
    char bare[32];

    (void)state;
    for (int i = 0; i < 1200; i++) {
        snprintf(bare, sizeof(bare), "user%d@localhost", i);
        put_row(h, "local", bare, "x", true);
    }
    put_row(h, "local", "young@localhost", "x", false);
    put_row(h, "another", "bob@localhost", "x", true);
    put_row(h, "local2", "bob@localhost", "y", true);
    assert_int_equal(index_rows(h, "local"), 1201);
    h_restart(h);
    assert_int_equal(index_rows(h, "local"), 1);
    assert_string_equal(rows_of(h, "user0@localhost"), "");
    assert_string_equal(rows_of(h, "user1199@localhost"), "");
    assert_string_equal(rows_of(h, "young@localhost"), "x(local,1) ");
    assert_string_equal(rows_of(h, "bob@localhost"), "x(another,1) y(local2,1) ");
    assert_non_null(strstr(h_log(h), "sessiondb.purged"));
    h_stop(&h);
}

static void count_done(void *arg)
{
    ++*(int *)arg;
}

/* Twice at once, and once more: the rows go, their hosts hear of it; the living keep theirs. */
static void a_server_is_said_to_be_dead(void **state)
{
    watched = cleanup_hooks;
    struct h *h = begin(DB "[host two.example]\n[host three.example]\n"
                        "[mod_sessiondb three.example]\nenabled = no\n");
    struct hs *s = available(h, "bob@localhost/a", 1, "");
    const char *id[] = { "other", "local", "local" };
    int done = 0;

    (void)state;
    put_row(h, "other", "bob@localhost", "b", false);
    for (int i = 0; i < 2; i++) {
        loop_enter(loop_at(0));
        node_cleanup("other", count_done, &done);
    }
    h_run(h);
    assert_int_equal(done, 2);
    assert_true(strstr(trace, "gone(bob@localhost/b) ") == trace);
    trace[0] = '\0';
    put_row(h, "other", "carol@two.example", "c", true);
    put_row(h, "other", "carol@three.example", "c", true); /* no such module there */
    put_row(h, "other", "carol@gone.example", "c", true);
    for (size_t i = 0; i < GR_COUNT(id); i++) {
        loop_enter(loop_at(0));
        node_cleanup(id[i], count_done, &done);
        h_run(h);
    }
    assert_int_equal(done, 5);
    expect_trace("gone(carol@two.example/c) ");
    assert_int_equal(index_rows(h, "other"), 0);
    assert_string_equal(rows_of(h, "carol@three.example"), "");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    h_disconnect(&s, true);
    h_stop(&h);
}

/* The chain waits: nobody connects before the rows are gone. */
static void a_purge_waits_for_the_disk(void **state)
{
    struct h *h = begin(DB);
    int done = 0;

    (void)state;
    put_row(h, "other", "bob@localhost", "b", true);
    h_hold_store(h, true);
    loop_enter(loop_at(0));
    node_cleanup("other", count_done, &done);
    h_run(h);
    assert_int_equal(done, 0);
    h_hold_store(h, false);
    assert_int_equal(done, 1);
    assert_int_equal(index_rows(h, "other"), 0);
    h_stop(&h);
}

/* Of a start that did not wait for the purge: it is taken over. */
static void a_stale_row_is_no_obstacle(void **state)
{
    struct h *h = begin(DB);

    (void)state;
    put_row(h, "local", "bob@localhost", "a", true);
    struct hs *s = h_login(h, "bob@localhost/a");
    h_send(s, "<presence/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    h_stop(&h);
}

/* Enabled while sessions are there: each gets its row with its next presence. */
static void sessions_older_than_the_module(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_presence]\n");
    struct hs *early = available(h, "bob@localhost/early", 2, "");

    (void)state;
    h_reload(h, DB, NULL);
    struct hs *s = available(h, "bob@localhost/a", 3, "");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    h_send(early, "<presence/>"); /* older than the module: from its next presence on */
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) early(local,1) ");
    h_send(s, "<presence type='unavailable'/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) early(local,1) ");
    h_disconnect(&s, true);
    h_disconnect(&early, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    h_stop(&h);
}

static void a_store_that_waits(void **state)
{
    struct h *h = begin(DB "[mod_ping]\n");
    struct hs *bob = h_connect(h, "bob@localhost"), *carol = h_login(h, "carol@localhost/c");

    (void)state;
    h_hold_store(h, true);
    assert_int_equal(h_bind(bob, "b"), (enum gr_cond)-1); /* in the table when it is on disk */
    h_iq_result(carol, "get", "localhost", PING, NULL);
    h_hold_store(h, false);
    assert_int_equal(h_bound(bob), GR_COND_NONE);
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
        cmocka_unit_test(rows_follow_the_sessions),
        cmocka_unit_test(presences_are_written_later),
        cmocka_unit_test(so_many_presences_are_written_now),
        cmocka_unit_test(large_presences_are_written_in_parts),
        cmocka_unit_test(what_waits_is_written_at_a_reload),
        cmocka_unit_test(whose_row_is_believed),
        cmocka_unit_test(a_replaced_session_leaves_the_row_alone),
        cmocka_unit_test(another_servers_resource_is_in_use),
        cmocka_unit_test(stale_rows_go_at_the_start),
        cmocka_unit_test(a_server_is_said_to_be_dead),
        cmocka_unit_test(a_purge_waits_for_the_disk),
        cmocka_unit_test(a_stale_row_is_no_obstacle),
        cmocka_unit_test(sessions_older_than_the_module),
        cmocka_unit_test(a_store_that_waits),
    };

    return H_RUN("session_provider", cases);
}
