/* tests/mod/test_mission_providers.c: rows of the mission's section A (providers, backends.md) that
 * need a real stream: bytes over a socket pair into the server's own stream code, virtual time, no
 * TLS ("plain = always"). A test module provides accounts, rosters and sessions, and watches. */
#include "provides.h"

/* --- installing --- */

static void name_is(struct h *h, enum gr_provider_type type, const char *name, int prio)
{
    int is = -1;

    assert_string_equal(gr_provider_name(gr_mod_host(h_mod(h, "sm", "localhost")), type, &is),
                        name);
    assert_int_equal(is, prio);
}

static const struct gr_auth_provider empty_auth = { .name = "t" };
static const struct gr_roster_provider empty_roster = { .name = "t" };
static const struct gr_session_provider empty_session = { .name = "t" };

static void who_is_installed(void **state)
{
    struct h *h = begin(HOST); /* nothing but what is built in */

    (void)state;
    name_is(h, GR_PROVIDER_AUTH, "internal", 0);
    name_is(h, GR_PROVIDER_ROSTER, "default", 0);
    name_is(h, GR_PROVIDER_SESSION, "default", 0);
    h_stop(&h);
    h = begin(HOST "[mod_roster]\n");
    name_is(h, GR_PROVIDER_ROSTER, "rosterdb", GR_PROVIDER_STORAGE_PRIO);
    h_stop(&h);
    t.auth = &empty_auth;
    t.roster = &empty_roster;
    t.session = &empty_session;
    h = begin(HOST "[mod_roster]\n");
    name_is(h, GR_PROVIDER_AUTH, "t", 1000);
    name_is(h, GR_PROVIDER_ROSTER, "t", 1000);
    name_is(h, GR_PROVIDER_SESSION, "t", 1000);
    h_stop(&h);
}

/* --- accounts --- */

struct inst {
    int number;
    char user[32];
};
static int opened, instances;

static void *open_inst(struct gr_mod *self, struct gr_session *s)
{
    struct inst *i = gr_alloc(sizeof(*i));

    (void)self;
    i->number = ++opened;
    instances++;
    note("%s ", s != NULL ? "open" : "open_loop");
    return i;
}

static void close_inst(struct gr_mod *self, void *inst)
{
    (void)self;
    instances--;
    gr_free(inst);
}

static void bind_auth(struct gr_mod *self, void *inst, struct gr_session *s)
{
    (void)self;
    assert_null(gr_session_jid(s)->resource);
    snprintf(((struct inst *)inst)->user, sizeof(((struct inst *)inst)->user), "%s",
             gr_session_jid(s)->node);
    note("auth.bind(%s) ", gr_session_jid(s)->full);
}

static void unbind_auth(struct gr_mod *self, void *inst, struct gr_session *s)
{
    (void)self;
    note("auth.unbind(%s,%s) ", ((struct inst *)inst)->user, gr_session_jid(s)->bare);
}

/* "gone" does not exist, "off" may not, "sick" nobody can tell. */
static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    (void)self;
    note("check(%d,%s) ", ((struct inst *)inst)->number, user);
    if (strcmp(user, "sick") == 0)
        gr_answer_error(ask, GR_INTERNAL_SERVER_ERROR, "the database is down");
    else
        gr_answer_result(ask, strcmp(user, "gone") == 0          ? GR_R_NONE
                              : strcmp(user, "off") == 0         ? GR_R_FALSE
                              : strcmp(password, "secret") == 0 ? GR_R_OK
                                                                 : GR_R_FALSE);
}

static const struct gr_auth_provider own_auth = {
    .name = "t", .open = open_inst, .close = close_inst, .bind = bind_auth, .unbind = unbind_auth,
    .check_password = check_password,
};

static enum gr_verdict on_open_session(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self, (void)ev;
    note("session ");
    return GR_OK;
}

static enum gr_verdict read_account(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    note("from(%s,%s) ", gr_session_jid(ev->session)->node,
         gr_account_jid(gr_session_account(ev->session))->full);
    return GR_OK;
}

static const struct gr_hook life_hooks[] = {
    GR_ON(user_open_session, 50, on_open_session),
    GR_ON(user_terminate, 50, on_terminate),
    GR_ON(user_send_message, 50, read_account),
    GR_HOOK_END
};

/* The very first connection already: its passwords, and only PLAIN, since it has no keys. */
static void logins_follow_the_provider(void **state)
{
    t.auth = &own_auth;
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    raw_expect(&r, "<mechanism>PLAIN</mechanism>");
    assert_null(strstr(r.got, "SCRAM"));
    raw_say(&r, BOB_WRONG);
    raw_expect(&r, "<not-authorized/>");
    raw_say(&r, OFF); /* the right password of an account that is not active */
    raw_expect(&r, "<not-authorized/>");
    raw_close(&r);
    r = raw_open(h);
    raw_say(&r, SICK); /* no answer is not "no" */
    raw_expect(&r, "<temporary-auth-failure/>");
    raw_say(&r, BOB);
    raw_expect(&r, "<success");
    raw_close(&r);
    h_stop(&h);
}

/* Also with the built-in accounts: a disabled one cannot log in. */
static void serve_disabled(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)self, (void)inst;
    note("keys(%s) ", user);
    gr_answer_result(ask, GR_R_FALSE);
}

static const struct gr_auth_provider disabling = { .name = "t", .get_credentials = serve_disabled };

static void an_inactive_account(void **state)
{
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    raw_authenticate(&r, BOB); /* out of the box */
    raw_close(&r);
    h_stop(&h);
    t.auth = &disabling;
    h = begin(HOST);
    r = raw_open(h);
    raw_say(&r, BOB);
    raw_expect(&r, "<not-authorized/>");
    expect_trace("keys(bob) ");
    raw_close(&r);
    h_stop(&h);
}

static void instances_of_two_streams(void **state)
{
    t.auth = &own_auth;
    struct h *h = begin(HOST);
    struct raw a = raw_open(h), b = raw_open(h);

    (void)state;
    instances = opened = 0;
    assert_int_equal(instances, 0); /* connected, and nobody has asked anything */
    raw_say(&a, BOB);
    assert_int_equal(instances, 1);
    raw_say(&b, BOB_WRONG);
    assert_int_equal(instances, 2);
    raw_say(&b, BOB); /* the same stream, the same instance */
    assert_int_equal(instances, 2);
    assert_non_null(strstr(trace, "check(1,bob) "));
    assert_non_null(strstr(trace, "check(3,bob) "));
    raw_close(&a);
    assert_int_equal(instances, 1);
    raw_close(&b);
    assert_int_equal(instances, 0);
    h_stop(&h);
}

/* bind behind success and before the resource; unbind once, at the end, also of a broken one. */
static void bound_and_unbound_once(void **state)
{
    (void)state;
    for (int clean = 0; clean < 2; clean++) {
        t.auth = &own_auth;
        t.hooks = life_hooks;
        struct h *h = begin(HOST);
        struct raw r = raw_open(h);

        opened = 0;
        raw_say(&r, BOB);
        raw_expect(&r, "<success");
        /* The second one is opened where the account lives: the stream has moved there. */
        expect_trace("open check(1,bob) open auth.bind(bob@localhost) ");
        raw_header(&r);
        raw_bind(&r, "x");
        expect_trace("session ");
        raw_say(&r, "<message to='localhost' type='headline'/>");
        expect_trace("from(bob,bob@localhost) ");
        if (clean)
            raw_say(&r, "</stream:stream>");
        raw_close(&r); /* TCP is cut */
        expect_trace("terminate auth.unbind(bob,bob@localhost) ");
        h_stop(&h);
    }
}

/* Two functions of its own; everything else is answered by the accounts below. */
static void no_contact(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)self, (void)inst;
    note("valid_contact(%s) ", user);
    gr_answer_result(ask, GR_R_FALSE);
}

static void no_new_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                            const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
}

static const struct gr_auth_provider two_functions = { .name = "t", .valid_contact = no_contact,
                                                       .set_password = no_new_password };

static enum gr_result last_result;

static void on_result(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    last_result = a->result;
}

static void two_functions_of_a_provider(void **state)
{
    t.auth = &two_functions;
    struct h *h = begin(HOST "[mod_roster]\n[mod_presence]\n");
    struct raw r = raw_open(h);

    (void)state;
    h_user(h, "carol@localhost");
    raw_expect(&r, "SCRAM-SHA-1<"); /* keys come from below */
    raw_authenticate(&r, BOB);
    raw_close(&r);
    struct hs *bob = h_online(h, "bob@localhost/b");
    h_send(bob, "<presence type='subscribe' to='carol@localhost' id='s'/>");
    expect_trace("valid_contact(carol) ");
    h_expect_error(bob, GR_PRESENCE, GR_ITEM_NOT_FOUND, "carol@localhost");
    struct gr_mod *self = h_mod(h, "t", "bob@localhost");
    gr_auth_set_password(self, gr_ask_new(self, 1, on_result), "bob", "new");
    h_run(h);
    assert_int_equal(last_result, GR_R_ERROR);
    assert_int_equal(h_user_create(h, "dave@localhost", "pw"), GR_R_OK);
    h_stop(&h);
}

/* --- taking time --- */

static struct gr_ask *slow_ask;

static void slow_fire(struct gr_mod *self, struct gr_timer *timer)
{
    (void)self, (void)timer;
    gr_answer_result(slow_ask, GR_R_OK);
}

static void slow_check(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                       const char *password)
{
    (void)inst, (void)user, (void)password;
    slow_ask = ask;
    gr_timer_start(self, gr_state(self), 2000, slow_fire);
}

static const struct gr_auth_provider slow_auth = { .name = "t", .check_password = slow_check };

static void a_slow_provider_delays_nobody_else(void **state)
{
    t.auth = &slow_auth;
    struct h *h = begin(HOST "[mod_ping]\n");
    struct raw a = raw_open(h), c = raw_open(h);
    struct hs *b = h_login(h, "carol@localhost/c");
    int64_t began = gr_now_ms();

    (void)state;
    raw_say(&a, BOB);
    assert_string_equal(a.got, ""); /* nobody has answered */
    h_iq_result(b, "get", "localhost", "<ping xmlns='urn:xmpp:ping'/>", NULL);
    raw_say(&c, PLAIN("!")); /* another stream on its way in */
    raw_expect(&c, "<incorrect-encoding/>");
    assert_in_range(gr_now_ms() - began, 0, 99);
    h_advance(h, 2000);
    raw_run(&a);
    raw_expect(&a, "<success");
    raw_close(&a);
    raw_close(&c);
    h_stop(&h);
}

struct password_job {
    struct gr_ask *ask;
    char password[32];
    bool right, on_loop;
};

/* On a thread of the pool, where a database may be waited for. */
static void blocking_check(void *data)
{
    struct password_job *j = data;

    j->on_loop = loop_self() != NULL && !loop_is_virtual();
    j->right = strcmp(j->password, "secret") == 0;
}

static void blocking_done(struct gr_mod *self, void *data)
{
    struct password_job *j = data;

    (void)self;
    assert_false(j->on_loop);
    gr_answer_result(j->ask, j->right ? GR_R_OK : GR_R_FALSE);
}

static void offloaded_check(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                            const char *password)
{
    struct password_job j = { .ask = ask };

    (void)inst, (void)user;
    snprintf(j.password, sizeof(j.password), "%s", password);
    if (gr_work(self, &j, sizeof(j), blocking_check, blocking_done) != 0)
        gr_answer_error(ask, GR_RESOURCE_CONSTRAINT, NULL);
}

static const struct gr_auth_provider offloading = { .name = "t",
                                                    .check_password = offloaded_check };

static void a_provider_that_uses_the_pool(void **state)
{
    t.auth = &offloading;
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, BOB_WRONG);
    raw_expect(&r, "<not-authorized/>");
    raw_say(&r, BOB);
    raw_expect(&r, "<success");
    raw_close(&r);
    h_stop(&h);
}

/* --- registration over the stream --- */

#define REGISTER(user) "<iq type='set' id='r' to='localhost'><query xmlns='jabber:iq:register'>" \
                       "<username>" user "</username><password>calliope-1</password></query></iq>"

static void create_nobody(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                          const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    gr_answer_error(ask, GR_RESOURCE_CONSTRAINT, "full");
}

static const struct gr_auth_provider full_auth = { .name = "t", .create_user = create_nobody };

static void registration_before_login(void **state)
{
    struct h *h = begin(HOST "[mod_register]\nrequire_tls = no\n");
    struct raw r = raw_open(h);

    (void)state;
    raw_expect(&r, "<register xmlns='http://jabber.org/features/iq-register'/>");
    raw_expect(&r, "<mechanism>SCRAM-SHA-1</mechanism>");
    raw_say(&r, REGISTER("carol"));
    raw_expect(&r, "type='result'");
    raw_authenticate(&r, PLAIN("AGNhcm9sAGNhbGxpb3BlLTE=")); /* on the same stream */
    raw_close(&r);
    r = raw_open(h);
    raw_say(&r, REGISTER("carol"));
    raw_expect(&r, "<conflict xmlns=");
    raw_close(&r);
    h_stop(&h);
    h = begin(HOST);
    r = raw_open(h);
    assert_null(strstr(r.got, "iq-register"));
    raw_close(&r);
    h_stop(&h);
}

static void registration_that_the_provider_refuses(void **state)
{
    t.auth = &full_auth;
    struct h *h = begin(HOST "[mod_register]\nrequire_tls = no\n");
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, REGISTER("carol"));
    raw_expect(&r, "<resource-constraint xmlns=");
    raw_close(&r);
    h_stop(&h);
}

/* What is in the store proves a password and does not tell it. */
struct looking {
    struct store_req req;
    size_t rows;
};

static bool holds(const void *data, size_t len, const char *text)
{
    return data != NULL && memmem(data, len, text, strlen(text)) != NULL;
}

static void on_rows(struct store_req *req)
{
    struct looking *l = GR_CONTAINER_OF(req, struct looking, req);

    for (size_t i = 0; req->rows.rc == 0 && i < req->rows.count; i++, l->rows++) {
        assert_false(holds(req->rows.row[i].key, req->rows.row[i].key_len, "Unmistakable"));
        assert_false(holds(req->rows.row[i].val, req->rows.row[i].val_len, "Unmistakable"));
    }
}

static void no_password_in_the_store(void **state)
{
    struct h *h = begin(HOST);
    struct looking l = { .req.done = on_rows };

    (void)state;
    assert_int_equal(h_user_create(h, "carol@localhost", "Unmistakable"), GR_R_OK);
    store_range(&l.req, store_coll("account", GR_COLL_MAP), "localhost", NULL, 0, 100);
    h_run(h);
    assert_int_equal(l.rows, 2); /* bob and carol */
    h_stop(&h);
}

/* --- rosters --- */

static void bind_roster(struct gr_mod *self, void *inst, struct gr_session *s)
{
    (void)self, (void)inst;
    note("roster.bind(%s) ", gr_session_jid(s)->full);
}

static void unbind_roster(struct gr_mod *self, void *inst, struct gr_session *s)
{
    (void)self, (void)inst;
    note("roster.unbind(%s) ", gr_session_jid(s)->full);
}

static bool no_roster;

static void get_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *user)
{
    struct gr_jid *jid;

    (void)self, (void)inst;
    note("get_contacts(%s) ", user->bare);
    if (no_roster) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    assert_int_equal(gr_jid_parse("x@remote.example", 16, &jid), 0);
    struct gr_roster_item item = { .jid = jid, .in_roster = true, .name = "X" };
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .items = &item, .count = 1 });
    gr_jid_free(&jid);
}

static void refuse_update(struct gr_mod *self, void *inst, struct gr_ask *ask,
                          const struct gr_jid *user, const struct gr_roster_item *item)
{
    (void)self, (void)inst, (void)user, (void)item;
    gr_answer_error(ask, GR_NOT_ACCEPTABLE, "not that one");
}

static const struct gr_roster_provider own_roster = {
    .name = "t", .open = open_inst, .close = close_inst, .bind = bind_roster,
    .unbind = unbind_roster, .get_contacts = get_contacts, .update_contact = refuse_update,
};

static const struct gr_hook bind_hooks[] = { GR_ON(user_open_session, 50, on_open_session),
                                             GR_HOOK_END };

static void rosters_are_bound_with_the_full_address(void **state)
{
    t.roster = &own_roster;
    t.hooks = bind_hooks;
    struct h *h = begin(HOST "[mod_roster]\n");
    struct raw r = raw_open(h);

    (void)state;
    raw_authenticate(&r, BOB);
    expect_trace("");
    raw_bind(&r, "x");
    expect_trace("session open roster.bind(bob@localhost/x) ");
    raw_close(&r);
    expect_trace("roster.unbind(bob@localhost/x) ");
    h_stop(&h);
}

/* Another provider's items instead of the stored ones; its errors and its "no roster" are told. */
static void a_roster_provider_of_ones_own(void **state)
{
    t.roster = &own_roster;
    struct h *h = begin(HOST "[mod_roster]\n");
    struct hs *bob = h_login(h, "bob@localhost/x");

    (void)state;
    h_iq_result(bob, "get", NULL, ROSTER(""),
                ROSTER("<item jid='x@remote.example' name='X' subscription='none'/>"));
    h_iq_error(bob, "set", NULL, ROSTER("<item jid='y@remote.example'/>"), GR_NOT_ACCEPTABLE);
    h_expect_nothing(bob);
    no_roster = true;
    h_iq_error(bob, "get", NULL, ROSTER(""), GR_ITEM_NOT_FOUND);
    no_roster = false;
    h_stop(&h);
}

static enum gr_verdict ask_through_the_stream(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    gr_roster_ask(self, gr_ask_new(self, 1, on_result), GR_ROSTER_GET_CONTACTS, ev->session,
                  gr_session_jid(ev->session), NULL, NULL);
    return GR_OK;
}

static const struct gr_hook asking_hooks[] = {
    GR_ON(user_send_message, 50, ask_through_the_stream), GR_HOOK_END
};

static void modules_reach_the_instance_of_a_stream(void **state)
{
    t.roster = &own_roster;
    t.hooks = asking_hooks;
    struct h *h = begin(HOST "[mod_roster]\n");
    struct hs *bob = h_login(h, "bob@localhost/x");

    (void)state;
    last_result = GR_R_ERROR;
    opened = 0;
    trace[0] = '\0';
    h_send(bob, "<message to='localhost' type='headline'/>");
    expect_trace("get_contacts(bob@localhost) "); /* by the instance that bind opened */
    assert_int_equal(last_result, GR_R_OK);
    assert_int_equal(opened, 0);
    h_stop(&h);
}

/* --- sessions --- */

static void bind_session(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full)
{
    (void)self, (void)inst;
    note("bind(%s) ", strlen(full->resource) > 12 ? "generated" : full->resource);
    if (strcmp(full->resource, "broken") == 0)
        gr_answer_error(ask, GR_RESOURCE_CONSTRAINT, "no room");
    else
        gr_answer_result(ask, strcmp(full->resource, "used") == 0 ? GR_R_FALSE : GR_R_OK);
}

static void unbind_session(struct gr_mod *self, void *inst, const struct gr_jid *full)
{
    (void)self, (void)inst;
    note("unbind(%s) ", full->resource);
}

static void set_presence(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full, int priority, struct gr_stanza *stanza)
{
    (void)self, (void)inst;
    if (stanza != NULL)
        note("presence(%s,%d,%s) ", full->resource, priority,
             gr_el_text(gr_stanza_child(stanza, GR_NS_CLIENT, "status"), NULL));
    else
        note("presence(%s,none) ", full->resource);
    gr_answer_result(ask, GR_R_OK);
}

static const struct gr_session_provider own_session = {
    .name = "t", .bind = bind_session, .unbind = unbind_session, .set_presence = set_presence,
};

static void the_session_provider_decides_about_resources(void **state)
{
    t.session = &own_session;
    struct h *h = begin(HOST);
    struct hs *s = h_connect(h, "bob@localhost");

    (void)state;
    assert_int_equal(h_bind(s, "broken"), GR_RESOURCE_CONSTRAINT);
    expect_trace("bind(broken) ");
    assert_int_equal(h_bind(s, "used"), GR_COND_NONE); /* the server finds another one */
    expect_trace("bind(used) bind(generated) ");
    assert_string_not_equal(h_jid(s)->resource, "used");
    h_disconnect(&s, true);
    trace[0] = '\0';
    s = h_login(h, "bob@localhost/mine");
    expect_trace("bind(mine) ");
    assert_ptr_equal(gr_session_find(NULL, h_jid(s), gr_session_id(h_session(s))), h_session(s));
    uint64_t id = gr_session_id(h_session(s));
    const struct gr_jid *full = h_parse_jid(h, "bob@localhost/mine");
    h_disconnect(&s, false);
    expect_trace("unbind(mine) ");
    h_enter(h, "bob@localhost");
    assert_null(gr_session_find(NULL, full, id));
    h_stop(&h);
}

static void the_session_provider_hears_of_presence(void **state)
{
    t.session = &own_session;
    struct h *h = begin(HOST "[mod_presence]\n");
    struct hs *s = h_login(h, "bob@localhost/x");

    (void)state;
    trace[0] = '\0';
    h_send(s, "<presence><priority>7</priority><status>here</status></presence>");
    expect_trace("presence(x,7,here) ");
    assert_true(gr_session_available(h_session(s)));
    assert_int_equal(gr_session_priority(h_session(s)), 7);
    assert_non_null(gr_session_presence(h_session(s)));
    h_send(s, "<presence type='unavailable'/>");
    expect_trace("presence(x,none) ");
    assert_false(gr_session_available(h_session(s)));
    assert_null(gr_session_presence(h_session(s)));
    h_stop(&h);
}

/* 5, 0 and -1: messages to the account go to 5, then to 0, then to the offline chain. */
static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    note("offline ");
    return GR_STOP;
}

static const struct gr_hook offline_hooks[] = { GR_ON(offline_message, 1, on_offline),
                                                GR_HOOK_END };

static void the_preferred_resource(void **state)
{
    t.hooks = offline_hooks;
    struct h *h = begin(HOST);
    struct hs *alice = h_login(h, "alice@localhost/a"), *s[3];
    static const int priority[] = { 5, 0, -1 };
    char full[32];

    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        s[i] = h_login(h, full);
        h_set_available(s[i], priority[i]);
    }
    for (int i = 0; i < 3; i++) {
        h_send(alice, "<message to='bob@localhost' type='chat'><body>x</body></message>");
        for (int k = i; k < 3; k++) {
            if (k == i && i < 2)
                h_expect_body(s[k], "alice@localhost/a", "x");
            h_expect_nothing(s[k]);
        }
        h_disconnect(&s[i], true);
    }
    expect_trace("offline ");
    h_send(alice, "<message to='bob@localhost' type='chat'><body>x</body></message>");
    expect_trace("offline ");
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(who_is_installed),
        cmocka_unit_test(logins_follow_the_provider),
        cmocka_unit_test(an_inactive_account),
        cmocka_unit_test(instances_of_two_streams),
        cmocka_unit_test(bound_and_unbound_once),
        cmocka_unit_test(two_functions_of_a_provider),
        cmocka_unit_test(a_slow_provider_delays_nobody_else),
        cmocka_unit_test(a_provider_that_uses_the_pool),
        cmocka_unit_test(registration_before_login),
        cmocka_unit_test(registration_that_the_provider_refuses),
        cmocka_unit_test(no_password_in_the_store),
        cmocka_unit_test(rosters_are_bound_with_the_full_address),
        cmocka_unit_test(a_roster_provider_of_ones_own),
        cmocka_unit_test(modules_reach_the_instance_of_a_stream),
        cmocka_unit_test(the_session_provider_decides_about_resources),
        cmocka_unit_test(the_session_provider_hears_of_presence),
        cmocka_unit_test(the_preferred_resource),
    };

    return H_RUN("mission_providers", cases);
}
