/* test_provider: who answers for accounts, rosters and sessions (reference backends.md; mission
 * rows S2 to S12 and S15 to S17 at unit level). Modules are built in; sessions are an address and a
 * struct provider_insts, since this layer looks at nothing else of them. */
#include "mod_world.h"

#define DOMAIN "a.test"
#define HOSTS "[host a.test]\n"

/* --- two sessions --- */

struct fake {
    struct provider_insts insts;
    char name;
};
static struct fake fakes[2];

static struct gr_session *session(int i)
{
    return (struct gr_session *)(void *)&fakes[i];
}

static struct provider_insts *fake_insts(struct gr_session *s)
{
    return &((struct fake *)(void *)s)->insts;
}

/* --- what happened, in words --- */

static char trace[512];

static void say(const char *fmt, ...) GR_PRINTF(1, 2);
static void say(const char *fmt, ...)
{
    size_t used = strlen(trace);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(trace + used, sizeof(trace) - used, fmt, ap);
    va_end(ap);
}

static void expect(const char *what)
{
    assert_string_equal(trace, what);
    trace[0] = '\0';
}

/* --- providers --- */

static int opened, closed;
static struct gr_ask *waiting;
static bool answer_later;

/* Instances say who opened them. */
static void *open_for(struct gr_mod *self, struct gr_session *s)
{
    struct gr_session **inst = gr_alloc(sizeof(*inst));

    *inst = s;
    opened++;
    say("%s.open%s ", self->desc->name, s == NULL ? "" : s == session(0) ? "0" : "1");
    return inst;
}

static void close_it(struct gr_mod *self, void *inst)
{
    closed++;
    say("%s.close ", self->desc->name);
    gr_free(inst);
}

static void bind_it(struct gr_mod *self, void *inst, struct gr_session *s)
{
    assert_ptr_equal(*(struct gr_session **)inst, s);
    say("%s.bind ", self->desc->name);
}

static void unbind_it(struct gr_mod *self, void *inst, struct gr_session *s)
{
    assert_ptr_equal(*(struct gr_session **)inst, s);
    say("%s.unbind ", self->desc->name);
}

static void answer_ok(struct gr_mod *self, struct gr_ask *ask, const char *what)
{
    say("%s.%s ", self->desc->name, what);
    if (answer_later) {
        waiting = ask;
        return;
    }
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .text = self->desc->name });
}

static void user_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    say("%s.state(%s) ", self->desc->name, user);
    gr_answer_result(ask, strcmp(user, "gone") == 0       ? GR_R_NONE
                          : strcmp(user, "disabled") == 0 ? GR_R_FALSE
                                                          : GR_R_OK);
}

static void create_user(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *password)
{
    (void)inst;
    say("%s.create(%s,%s) ", self->desc->name, user, password);
    if (strcmp(user, "taken") == 0)
        gr_answer_result(ask, GR_R_FALSE);
    else if (strcmp(user, "full") == 0)
        gr_answer_error(ask, GR_RESOURCE_CONSTRAINT, "no room");
    else
        gr_answer_result(ask, GR_R_OK);
}

static void delete_user(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    (void)user;
    answer_ok(self, ask, "delete");
}

static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    (void)inst;
    say("%s.check(%s) ", self->desc->name, user);
    gr_answer_result(ask, strcmp(password, "right") == 0 ? GR_R_OK : GR_R_FALSE);
}

static void get_credentials(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    say("%s.keys(%s) ", self->desc->name, user);
    if (strcmp(user, "gone") == 0)
        gr_answer_result(ask, GR_R_NONE);
    else
        gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .creds = "right", .creds_len = 5 });
}

static void set_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                         const char *password)
{
    (void)inst;
    (void)user;
    (void)password;
    answer_ok(self, ask, "set");
}

static int account_of(struct gr_mod *self, const char *username, char *out)
{
    (void)self;
    if (strncmp(username, "u-", 2) != 0)
        return GR_ENOENT;
    strcpy(out, username + 2);
    return 0;
}

static int username_of(struct gr_mod *self, const char *account, char *out)
{
    (void)self;
    if (strcmp(account, "nameless") == 0)
        return GR_ENOENT;
    sprintf(out, "u-%s", account);
    return 0;
}

/* An account without a name is behind the first page of two. */
static void list_users(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *after,
                       size_t limit)
{
    struct gr_jid *jid[2];
    struct gr_roster_item items[2];

    (void)inst, (void)limit;
    say("%s.list(%s) ", self->desc->name, after != NULL ? after : "");
    assert_int_equal(gr_jid_make("me", DOMAIN, NULL, &jid[0]), 0);
    assert_int_equal(gr_jid_make("nameless", DOMAIN, NULL, &jid[1]), 0);
    items[0] = (struct gr_roster_item){ .jid = jid[0] };
    items[1] = (struct gr_roster_item){ .jid = jid[1] };
    if (after == NULL)
        gr_answer(ask, &(struct gr_answer){ .result = GR_R_FALSE, .items = items, .count = 2,
                                            .text = "nameless" });
    else
        gr_answer_result(ask, GR_R_OK);
    gr_jid_free(&jid[0]);
    gr_jid_free(&jid[1]);
}

static void get_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *user)
{
    (void)inst;
    assert_null(user->resource); /* reduced */
    answer_ok(self, ask, "contacts");
}

static void get_contact(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user, const struct gr_jid *contact)
{
    (void)inst;
    (void)user;
    assert_null(contact->resource);
    answer_ok(self, ask, "contact");
}

static void session_bind(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full)
{
    (void)inst;
    (void)full;
    answer_ok(self, ask, "session_bind");
}

/* The lowest: everything. The others override a few. */
static const struct gr_auth_provider base_auth = {
    .name = "base", .open = open_for, .close = close_it, .bind = bind_it, .unbind = unbind_it,
    .user_state = user_state, .create_user = create_user, .delete_user = delete_user,
    .get_credentials = get_credentials, .set_password = set_password, .list_users = list_users,
};
static const struct gr_auth_provider map_auth = { .name = "map", .account_of = account_of,
                                                  .username_of = username_of };
static const struct gr_auth_provider making_auth = { .name = "making", .account_of = account_of,
                                                     .username_of = username_of,
                                                     .create_user = create_user };
static const struct gr_roster_provider base_roster = {
    .name = "base", .open = open_for, .close = close_it, .bind = bind_it, .unbind = unbind_it,
    .get_contacts = get_contacts, .get_contact = get_contact,
};
static const struct gr_auth_provider mid_auth = {
    .name = "mid", .open = open_for, .close = close_it, .check_password = check_password,
};
static const struct gr_roster_provider mid_roster = {
    .name = "mid", .open = open_for, .close = close_it, .get_contacts = get_contacts,
};
static const struct gr_roster_provider top_roster = { .name = "top", .get_contacts = get_contacts };
static const struct gr_session_provider top_session = { .name = "top", .bind = session_bind };

/* What each module installs and at which priority; set before the world is loaded. */
static struct {
    const struct gr_auth_provider *auth;
    const struct gr_roster_provider *roster;
    const struct gr_session_provider *session;
    int prio, said;
} installs[3];

static int start_n(struct gr_mod *self, int n)
{
    if (installs[n].auth != NULL)
        installs[n].said = gr_provide_auth(self, installs[n].auth, installs[n].prio);
    if (installs[n].roster != NULL)
        installs[n].said = gr_provide_roster(self, installs[n].roster, installs[n].prio);
    if (installs[n].session != NULL)
        installs[n].said = gr_provide_session(self, installs[n].session, installs[n].prio);
    return 0;
}

static int start_base(struct gr_mod *self, const char **why)
{
    (void)why;
    return start_n(self, 0);
}

static int start_mid(struct gr_mod *self, const char **why)
{
    (void)why;
    return start_n(self, 1);
}

static int start_top(struct gr_mod *self, const char **why)
{
    (void)why;
    return start_n(self, 2);
}

static void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    say("register(%s on loop %d) ", ev->jid->full, loop_index(self->loop));
    assert_ptr_equal(self->loop, loop_home(ev->jid->hash));
}

static struct gr_hold *remove_hold;
static bool remove_waits;

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    say("remove(%s) ", ev->jid->full);
    assert_ptr_equal(self->loop, loop_home(ev->jid->hash));
    assert_non_null(ev->ev.acc);
    if (!remove_waits)
        return GR_OK;
    remove_hold = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static enum gr_verdict on_exists(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    say("exists? ");
    ev->exists = strcmp(ev->jid->node, "gone") != 0;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(register_user, 50, on_register), GR_ON(remove_user, 50, on_remove),
    GR_ON(does_user_exist, 50, on_exists), GR_HOOK_END
};

static const struct gr_module base = { .name = "base", .abi = GR_ABI_VERSION,
                                       .abi_tag = GR_ABI_TAG, .start = start_base };
static const struct gr_module mid = { .name = "mid", .abi = GR_ABI_VERSION,
                                      .abi_tag = GR_ABI_TAG, .start = start_mid };
static const struct gr_module top = { .name = "top", .abi = GR_ABI_VERSION,
                                      .abi_tag = GR_ABI_TAG, .start = start_top };
/* Who asks. */
static const struct gr_module asker = { .name = "asker", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG, .hooks = hooks };

/* --- the last answer --- */

static int answers;
static enum gr_result result;
static enum gr_cond cond;
static char text[64], listed[64];

static void got(const struct gr_answer *a)
{
    answers++;
    listed[0] = '\0';
    for (size_t i = 0; i < a->count; i++)
        snprintf(listed + strlen(listed), sizeof(listed) - strlen(listed), "%s ",
                 a->items[i].jid->full);
    result = a->result;
    cond = a->cond;
    snprintf(text, sizeof(text), "%s", a->text != NULL ? a->text : "");
}

static void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    assert_ptr_equal(self, world_mod(DOMAIN, "asker"));
    assert_string_equal(gr_ask_data(ask), "mine");
    got(a);
}

static void on_core_answer(void *arg, const struct gr_answer *a)
{
    assert_ptr_equal(arg, fakes);
    got(a);
}

static struct gr_mod *who(void)
{
    return world_mod(DOMAIN, "asker");
}

static struct gr_ask *ask(void)
{
    struct gr_ask *a = gr_ask_new(who(), 5, on_answer);

    strcpy(gr_ask_data(a), "mine");
    answers = 0;
    return a;
}

static void expect_answer(enum gr_result r, enum gr_cond c)
{
    assert_int_equal(answers, 1);
    assert_int_equal(result, r);
    assert_int_equal(cond, c);
    loops_step();
    assert_int_equal(answers, 1);
    assert_int_equal(who()->pending, 0);
}

/* --- */

static void load(void)
{
    mod_add_builtin(&base);
    mod_add_builtin(&mid);
    mod_add_builtin(&top);
    mod_add_builtin(&asker);
    world_load(HOSTS);
    trace[0] = '\0';
}

static int setup(void **state)
{
    (void)state;
    world_open(4);
    provider_insts_of = fake_insts;
    memset(fakes, 0, sizeof(fakes));
    memset(installs, 0, sizeof(installs));
    opened = closed = 0;
    answer_later = remove_waits = false;
    waiting = NULL;
    provider_check_keys = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        provider_insts_fini(&fakes[i].insts, session(i));
    world_close();
    assert_int_equal(opened, closed); /* S17 */
    return 0;
}

static const char *name_of(enum gr_provider_type type, int *prio)
{
    return gr_provider_name(host_find(DOMAIN), type, prio);
}

/* --- S2 to S10: installing --- */

static void defaults_have_priority_0(void **state)
{
    int prio = 7;

    (void)state;
    load();
    assert_string_equal(name_of(GR_PROVIDER_ROSTER, &prio), "default");
    assert_int_equal(prio, 0);
    assert_int_equal(GR_PROVIDER_DEFAULT_PRIO, 1000);
    assert_int_equal(GR_PROVIDER_STORAGE_PRIO, 1);
}

static void unknown_types_are_refused(void **state)
{
    struct provider_set *set = provider_set_new();

    (void)state;
    load();
    assert_int_equal(provider_install(set, (enum gr_provider_type)3, who(), &top_roster, 1),
                     GR_EINVAL);
    assert_null(name_of((enum gr_provider_type)3, NULL));
    provider_set_free(&set);
}

/* Whatever the order of start, the highest wins and is the only one called. */
static void highest_priority_wins(void **state)
{
    static const int prios[][3] = { { 1, 1000, 500 }, { 1000, 500, 1 }, { 500, 1, 1000 } };
    static const struct gr_module *const names[] = { &base, &mid, &top };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(prios); i++) {
        int best = 0, prio;

        teardown(NULL);
        setup(NULL);
        installs[0].roster = &base_roster;
        installs[1].roster = &mid_roster;
        installs[2].roster = &top_roster;
        for (int k = 0; k < 3; k++) {
            installs[k].prio = prios[i][k];
            best = prios[i][k] > prios[i][best] ? k : best;
        }
        load();
        assert_string_equal(name_of(GR_PROVIDER_ROSTER, &prio), names[best]->name);
        assert_int_equal(prio, 1000);
        gr_roster_ask(who(), ask(), GR_ROSTER_GET_CONTACTS, NULL, who()->host->jid, NULL, NULL);
        expect_answer(GR_R_OK, GR_COND_NONE);
        assert_string_equal(text, names[best]->name);
    }
}

static void what_install_says(void **state)
{
    (void)state;
    installs[0].roster = &base_roster;
    installs[0].prio = 1;
    installs[1].roster = &mid_roster;
    installs[1].prio = 1000;
    installs[2].roster = &top_roster;
    installs[2].prio = 1000;
    load();
    assert_int_equal(installs[0].said, 1);
    assert_int_equal(installs[1].said, 1);
    assert_int_equal(installs[2].said, 0); /* S7: a tie keeps the first */
    assert_string_equal(name_of(GR_PROVIDER_ROSTER, NULL), "mid");
    /* Not from anywhere else but start(). */
    assert_int_equal(gr_provide_roster(who(), &top_roster, 2000), GR_EINVAL);
    assert_true(world_logged("error provider.late: mod_asker"));
}

/* S11: what the winner leaves out is answered by the next below, and at last by the default. */
static void partial_override_falls_through(void **state)
{
    (void)state;
    installs[0].roster = &base_roster;
    installs[0].prio = 1;
    installs[2].roster = &top_roster;
    installs[2].prio = 1000;
    load();
    gr_roster_ask(who(), ask(), GR_ROSTER_GET_CONTACTS, NULL, who()->host->jid, NULL, NULL);
    expect_answer(GR_R_OK, GR_COND_NONE);
    assert_string_equal(text, "top");
    gr_roster_ask(who(), ask(), GR_ROSTER_GET_CONTACT, NULL, who()->host->jid, who()->host->jid,
                  NULL);
    expect_answer(GR_R_OK, GR_COND_NONE);
    assert_string_equal(text, "base");
    gr_roster_ask(who(), ask(), GR_ROSTER_IS_PENDING, NULL, who()->host->jid, who()->host->jid,
                  NULL);
    expect_answer(GR_R_NONE, GR_COND_NONE);
    expect("top.contacts base.open base.contact ");
}

static void hard_defaults(void **state)
{
    static const struct {
        enum gr_roster_op op;
        enum gr_result result;
    } roster[] = {
        { GR_ROSTER_GET_CONTACTS, GR_R_NONE }, { GR_ROSTER_GET_PENDING, GR_R_NONE },
        { GR_ROSTER_IN_SUBSCRIBE, GR_R_FALSE }, { GR_ROSTER_OUT_SUBSCRIBE, GR_R_NONE },
        { GR_ROSTER_IN_UNSUBSCRIBED, GR_R_NONE }, { GR_ROSTER_REMOVE_USER, GR_R_OK },
    };
    const struct gr_jid *jid;

    (void)state;
    load();
    jid = who()->host->jid;
    for (size_t i = 0; i < GR_COUNT(roster); i++) {
        gr_roster_ask(who(), ask(), roster[i].op, NULL, jid, jid, NULL);
        expect_answer(roster[i].result, GR_COND_NONE);
    }
    gr_roster_update(who(), ask(), NULL, jid, &(struct gr_roster_item){ .jid = jid });
    expect_answer(GR_R_ERROR, GR_NOT_ALLOWED);
    gr_auth_check(who(), ask(), "me", "x");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_create(who(), ask(), "me", "x");
    expect_answer(GR_R_ERROR, GR_NOT_ALLOWED);
    gr_auth_set_password(who(), ask(), "me", "x");
    expect_answer(GR_R_ERROR, GR_NOT_ALLOWED);
    gr_auth_list(who(), ask(), NULL, 10);
    expect_answer(GR_R_NONE, GR_COND_NONE);
    answers = 0;
    provider_session_bind(host_find(DOMAIN), &fakes[0].insts, session(0), jid, on_core_answer,
                          fakes);
    expect_answer(GR_R_OK, GR_COND_NONE);
    for (int op = GR_SESSION_GET_PRESENCE; op <= GR_SESSION_KILL_RESOURCE; op++) {
        gr_session_ask(who(), ask(), (enum gr_session_op)op, jid);
        expect_answer(GR_R_NONE, GR_COND_NONE);
    }
    gr_session_ask_all(who(), ask(), &jid, 1);
    loops_step();
    loops_step();
    expect_answer(GR_R_OK, GR_COND_NONE); /* nobody knows of any */
    assert_false(provider_session_prefers(host_find(DOMAIN)));
    gr_token_check(who(), ask(), "me", "x");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    gr_auth_check_http(who(), ask(), "me", "x");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    assert_false(provider_auth_serves_keys(host_find(DOMAIN)));
}

/* --- S12: names --- */

static void check_keys(const void *creds, size_t len, const char *password,
                       void (*done)(void *arg, enum gr_result result), void *arg)
{
    bool right = creds != NULL && strlen(password) == len && memcmp(creds, password, len) == 0;

    say("%s", creds == NULL ? "decoy " : "");
    done(arg, strcmp(password, "busy") == 0 ? GR_R_ERROR : right ? GR_R_OK : GR_R_FALSE);
}

static void names_are_mapped(void **state)
{
    char out[GR_JID_PART_MAX + 1];

    (void)state;
    load();
    assert_int_equal(provider_account_of(host_find(DOMAIN), "me", out), 0);
    assert_string_equal(out, "me");
    teardown(NULL);
    setup(NULL);
    installs[1].auth = &map_auth;
    installs[1].prio = GR_PROVIDER_DEFAULT_PRIO;
    load();
    assert_int_equal(gr_auth_account_of(who(), "u-me", out), 0);
    assert_string_equal(out, "me");
    assert_int_equal(gr_auth_username_of(who(), "me", out), 0);
    assert_string_equal(out, "u-me");
    assert_int_equal(gr_auth_account_of(who(), "me", out), GR_ENOENT); /* does not exist */
    assert_int_equal(provider_login_name(host_find(DOMAIN), "u-me", out), 0);
    assert_string_equal(out, "u-me");
}

/* Every call of the provider below hears of the account; names that map to none do not exist, and
 * may be made only by who maps. */
static void providers_hear_of_accounts(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    installs[1].auth = &map_auth;
    installs[1].prio = GR_PROVIDER_DEFAULT_PRIO;
    provider_check_keys = check_keys;
    load();
    answers = 0;
    provider_auth_state(host_find(DOMAIN), "u-me", on_core_answer, fakes);
    expect_answer(GR_R_OK, GR_COND_NONE);
    gr_auth_valid_contact(who(), ask(), "u-me");
    expect_answer(GR_R_OK, GR_COND_NONE);
    gr_auth_check(who(), ask(), "u-me", "right");
    expect_answer(GR_R_OK, GR_COND_NONE);
    expect("base.open base.state(me) base.state(me) base.keys(me) ");
    gr_auth_create(who(), ask(), "u-new", "x");
    loops_step();
    expect_answer(GR_R_OK, GR_COND_NONE);
    assert_non_null(strstr(trace, "base.create(new,x) register(u-new@a.test on"));
    trace[0] = '\0';
    gr_auth_set_password(who(), ask(), "u-me", "x");
    loops_step();
    expect_answer(GR_R_OK, GR_COND_NONE);
    expect("base.set ");
    answers = 0;
    provider_auth_state(host_find(DOMAIN), "me", on_core_answer, fakes);
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_valid_contact(who(), ask(), "me");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    gr_auth_check(who(), ask(), "me", "right");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_set_password(who(), ask(), "me", "x");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_delete(who(), ask(), "me");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_create(who(), ask(), "me", "x");
    expect_answer(GR_R_ERROR, GR_NOT_ACCEPTABLE);
    gr_auth_check_http(who(), ask(), "u-me", "cookie");
    expect_answer(GR_R_FALSE, GR_COND_NONE); /* nobody knows web sessions */
    expect("decoy "); /* the password of nobody */
    gr_auth_list(who(), ask(), NULL, 2);
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    assert_string_equal(listed, "u-me@a.test ");
    assert_string_equal(text, "nameless");
    gr_auth_list(who(), ask(), "u-me", 2);
    expect_answer(GR_R_OK, GR_COND_NONE);
    expect("base.list() base.list(me) ");
}

/* Who looks names up in a table of its own makes the account for one that is not in it yet. */
static void new_names_are_the_mappers(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    installs[1].auth = &making_auth;
    installs[1].prio = GR_PROVIDER_DEFAULT_PRIO;
    load();
    gr_auth_create(who(), ask(), "new", "x");
    loops_step();
    expect_answer(GR_R_OK, GR_COND_NONE);
    assert_non_null(strstr(trace, "mid.create(new,x) register(new@a.test on"));
}

/* --- S15 to S17: instances --- */

static void instances_are_lazy_and_per_session(void **state)
{
    struct gr_host *h;

    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    h = host_find(DOMAIN);
    expect("");
    provider_auth_credentials(h, &fakes[0].insts, session(0), "me", on_core_answer, fakes);
    provider_auth_credentials(h, &fakes[0].insts, session(0), "me", on_core_answer, fakes);
    expect("base.open0 base.keys(me) base.keys(me) ");
    provider_auth_credentials(h, &fakes[1].insts, session(1), "me", on_core_answer, fakes);
    provider_auth_bind(h, &fakes[0].insts, session(0));
    provider_auth_bind(h, &fakes[0].insts, session(0)); /* once is enough */
    expect("base.open1 base.keys(me) base.bind ");
    provider_insts_fini(&fakes[0].insts, session(0));
    expect("base.unbind base.close ");
    provider_insts_fini(&fakes[0].insts, session(0));
    provider_insts_fini(&fakes[1].insts, session(1)); /* was never bound */
    expect("base.close ");
    provider_auth_state(h, "me", on_core_answer, fakes);
    provider_auth_state(h, "me", on_core_answer, fakes);
    expect("base.open base.state(me) base.state(me) ");
}

static void bind_opens_and_later_instances_are_bound(void **state)
{
    struct gr_host *h;

    (void)state;
    installs[0].roster = &base_roster;
    installs[0].prio = 1;
    installs[1].roster = &mid_roster;
    installs[1].prio = 1000;
    load();
    h = host_find(DOMAIN);
    provider_roster_bind(h, &fakes[0].insts, session(0)); /* mid has no bind: nothing to open */
    expect("");
    gr_roster_ask(who(), ask(), GR_ROSTER_GET_CONTACTS, session(0), h->jid, NULL, NULL);
    gr_roster_ask(who(), ask(), GR_ROSTER_GET_CONTACT, session(0), h->jid, h->jid, NULL);
    expect("mid.open0 mid.contacts base.open0 base.bind base.contact ");
    provider_insts_fini(&fakes[0].insts, session(0));
    expect("base.unbind base.close mid.close ");
}

/* The session ends while its provider is at work: the instance waits for the answer. */
static void instance_outlives_its_session_until_the_answer(void **state)
{
    struct gr_jid *full;

    (void)state;
    installs[0].roster = &base_roster;
    installs[0].prio = 1;
    load();
    assert_int_equal(gr_jid_parse("me@a.test/r", 11, &full), 0);
    answer_later = true;
    gr_roster_ask(who(), ask(), GR_ROSTER_GET_CONTACT, session(0), full, full, NULL);
    gr_jid_free(&full);
    assert_int_equal(who()->pending, 1);
    assert_int_equal(world_mod(DOMAIN, "base")->pending, 1);
    provider_insts_fini(&fakes[0].insts, session(0));
    expect("base.open0 base.contact ");
    assert_int_equal(closed, 0);
    gr_answer_result(waiting, GR_R_NONE);
    expect("base.close ");
    expect_answer(GR_R_NONE, GR_COND_NONE);
}

static void no_answer_in_time(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    answer_later = true;
    gr_auth_set_password(who(), ask(), "me", "new");
    loops_advance(29999);
    assert_int_equal(answers, 0);
    loops_advance(1);
    expect_answer(GR_R_ERROR, GR_REMOTE_SERVER_TIMEOUT);
    assert_true(world_logged("error provider.timeout: mod_base"));
    gr_answer_result(waiting, GR_R_OK); /* late: nobody hears it */
    expect_answer(GR_R_ERROR, GR_REMOTE_SERVER_TIMEOUT);
}

/* Its instance waits for the late answer, and goes with the module. */
static void no_answer_at_all(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    answer_later = true;
    gr_auth_set_password(who(), ask(), "me", "new");
    loops_advance(30000);
    expect_answer(GR_R_ERROR, GR_REMOTE_SERVER_TIMEOUT);
    assert_int_equal(opened - closed, 1);
    mod_stop_all();
    loops_step();
    assert_int_equal(opened, closed);
}

static void never_answered_at_shutdown(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    answer_later = true;
    gr_auth_set_password(who(), ask(), "me", "new");
    provider_auth_state(host_find(DOMAIN), "me", on_core_answer, fakes);
    gr_auth_delete(who(), ask(), "me");
    mod_stop_all();
    loops_step();
}

/* --- passwords --- */

static void passwords_against_keys(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    assert_true(provider_auth_serves_keys(host_find(DOMAIN)));
    gr_auth_check(who(), ask(), "me", "right");
    expect_answer(GR_R_ERROR, GR_FEATURE_NOT_IMPLEMENTED); /* nobody knows the record here */
    provider_check_keys = check_keys;
    gr_auth_check(who(), ask(), "me", "right");
    expect_answer(GR_R_OK, GR_COND_NONE);
    gr_auth_check(who(), ask(), "me", "wrong");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    gr_auth_check(who(), ask(), "me", "busy"); /* the pool is full: not the user's fault */
    expect_answer(GR_R_ERROR, GR_RESOURCE_CONSTRAINT);
    trace[0] = '\0';
    gr_auth_check(who(), ask(), "gone", "right");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    expect("base.keys(gone) decoy "); /* takes as long as for others */
}

/* A provider that checks passwords itself is not undermined by the keys of the one below. */
static void own_password_check_hides_keys_below(void **state)
{
    (void)state;
    provider_check_keys = check_keys;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    installs[1].auth = &mid_auth;
    installs[1].prio = 1000;
    load();
    assert_false(provider_auth_serves_keys(host_find(DOMAIN)));
    answers = 0;
    provider_auth_credentials(host_find(DOMAIN), &fakes[0].insts, session(0), "me", on_core_answer,
                              fakes);
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_check(who(), ask(), "me", "right");
    expect_answer(GR_R_OK, GR_COND_NONE);
    expect("mid.open mid.check(me) ");
}

/* --- accounts --- */

static void creating_runs_the_hook_at_home(void **state)
{
    static const char *const users[] = { "ada", "bob", "cy", "dora", "eve" };

    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    for (size_t i = 0; i < GR_COUNT(users); i++) { /* at several homes */
        char want[64];

        gr_auth_create(who(), ask(), users[i], "pw");
        loops_step();
        expect_answer(GR_R_OK, GR_COND_NONE);
        snprintf(want, sizeof(want), "register(%s@a.test on loop ", users[i]);
        assert_non_null(strstr(trace, want));
        trace[0] = '\0';
    }
}

static void creating_refused(void **state)
{
    static const struct {
        const char *user, *password;
        enum gr_result result;
        enum gr_cond cond;
    } rows[] = {
        { "taken", "pw", GR_R_FALSE, GR_COND_NONE },
        { "full", "pw", GR_R_ERROR, GR_RESOURCE_CONSTRAINT },
        { "", "pw", GR_R_ERROR, GR_JID_MALFORMED },
        { "a b", "pw", GR_R_ERROR, GR_JID_MALFORMED },
        { "a@b", "pw", GR_R_ERROR, GR_JID_MALFORMED },
        { "stra\xc3\x9f" "e", "pw", GR_R_ERROR, GR_NOT_ACCEPTABLE },
        { "me", "", GR_R_ERROR, GR_NOT_ACCEPTABLE },
    };

    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    for (size_t i = 0; i < GR_COUNT(rows); i++) {
        trace[0] = '\0';
        gr_auth_create(who(), ask(), rows[i].user, rows[i].password);
        loops_step();
        expect_answer(rows[i].result, rows[i].cond);
        assert_null(strstr(trace, "register("));
    }
}

static void deleting_answers_after_the_hook(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    remove_waits = true;
    gr_auth_delete(who(), ask(), "Me"); /* prepared */
    loops_step();
    expect("base.open base.delete remove(me@a.test) ");
    assert_int_equal(answers, 0);
    struct gr_jid *jid;
    assert_int_equal(gr_jid_parse("me@a.test", 9, &jid), 0);
    loop_enter(loop_home(jid->hash));
    gr_jid_free(&jid);
    gr_resume(remove_hold, GR_OK);
    loop_enter(loop_at(0));
    loops_step();
    expect_answer(GR_R_OK, GR_COND_NONE);
}

static void exists_asks_the_hook_and_the_provider(void **state)
{
    (void)state;
    installs[0].auth = &base_auth;
    installs[0].prio = 1;
    load();
    gr_auth_exists(who(), ask(), "me");
    expect_answer(GR_R_OK, GR_COND_NONE);
    gr_auth_exists(who(), ask(), "disabled");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    gr_auth_exists(who(), ask(), "gone");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_exists(who(), ask(), "no such/name");
    expect_answer(GR_R_NONE, GR_COND_NONE);
    gr_auth_valid_contact(who(), ask(), "me"); /* nobody has the function: an active account */
    expect_answer(GR_R_OK, GR_COND_NONE);
    gr_auth_valid_contact(who(), ask(), "disabled");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
    gr_auth_valid_contact(who(), ask(), "gone");
    expect_answer(GR_R_FALSE, GR_COND_NONE);
}

static void sessions_are_bound_by_their_provider(void **state)
{
    (void)state;
    installs[2].session = &top_session;
    installs[2].prio = 1000;
    load();
    answers = 0;
    provider_session_bind(host_find(DOMAIN), &fakes[0].insts, session(0), who()->host->jid,
                          on_core_answer, fakes);
    expect_answer(GR_R_OK, GR_COND_NONE);
    assert_string_equal(text, "top");
    provider_session_presence(host_find(DOMAIN), &fakes[0].insts, session(0), who()->host->jid, 5,
                              NULL);
    provider_session_unbind(host_find(DOMAIN), &fakes[0].insts, session(0), who()->host->jid);
    expect("top.session_bind ");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(defaults_have_priority_0), T(unknown_types_are_refused), T(highest_priority_wins),
        T(what_install_says), T(partial_override_falls_through), T(hard_defaults),
        T(names_are_mapped), T(providers_hear_of_accounts), T(new_names_are_the_mappers),
        T(instances_are_lazy_and_per_session),
        T(bind_opens_and_later_instances_are_bound),
        T(instance_outlives_its_session_until_the_answer), T(no_answer_in_time),
        T(no_answer_at_all),
        T(never_answered_at_shutdown), T(passwords_against_keys),
        T(own_password_check_hides_keys_below), T(creating_runs_the_hook_at_home),
        T(creating_refused), T(deleting_answers_after_the_hook),
        T(exists_asks_the_hook_and_the_provider), T(sessions_are_bound_by_their_provider),
    };

    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
