/* tests/mod/test_logins.c: who may log in, and as whom, beyond passwords (backends.md 2): names
 * that differ from the accounts', tokens, web sessions, and what the log says that the client must
 * not hear. Real streams over socket pairs. */
#include "raw.h"
#include "trace.h"

#include "loop/loop.h"
#include "route/session.h"
#include "store/store.h"
#include "stream/auth.h"
#include "stream/token.h"

#include <stdio.h>

#define HOST "[host localhost]\nplain = always\nscram_iterations = 4096\n"
#define REGISTER(x) "<iq type='set' id='r' to='localhost'><query xmlns='jabber:iq:register'>" x \
                    "</query></iq>"

/* --- the module --- */

static const struct gr_auth_provider *provider; /* for the next start */
static const struct gr_hook *watched;
static struct gr_module module_t;

static int start_t(struct gr_mod *self, const char **why)
{
    (void)why;
    if (provider != NULL)
        gr_provide_auth(self, provider, GR_PROVIDER_DEFAULT_PRIO);
    return 0;
}

static struct h *begin(const char *ini)
{
    static const uint8_t secret[32] = { 1 };

    module_t = (struct gr_module){ .name = "t", .hooks = watched, .start = start_t };
    trace[0] = '\0';
    auth_set_secret(secret, sizeof(secret));
    h_module(&module_t);
    return h_start(ini);
}

static void end(struct h **h)
{
    h_stop(h);
    provider = NULL;
    watched = NULL;
}

static enum gr_result last;
static enum gr_cond last_cond;
static char last_text[256], last_cursor[64];

static void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    last = a->result;
    last_cond = a->cond;
    last_text[0] = '\0';
    snprintf(last_cursor, sizeof(last_cursor), "%s", a->text != NULL ? a->text : "");
    for (size_t i = 0; i < a->count; i++)
        snprintf(last_text + strlen(last_text), sizeof(last_text) - strlen(last_text), "%s%s ",
                 a->items[i].jid->full, a->items[i].groups != NULL ? "(staff)" : "");
}

static struct gr_mod *mod_t(struct h *h)
{
    return h_mod(h, "t", "localhost");
}

static struct gr_ask *ask_of(struct gr_mod *self)
{
    last = GR_R_ERROR;
    return gr_ask_new(self, 1, on_answer);
}

/* A login that is refused; what the client was told. */
static const char *refused(struct h *h, const char *user, const char *password)
{
    static char told[256];
    struct raw r = raw_open(h);

    raw_plain(&r, user, password);
    snprintf(told, sizeof(told), "%.255s", r.got);
    raw_close(&r);
    return told;
}

#define NOT_AUTHORIZED "<failure xmlns='" SASL_NS "'><not-authorized/></failure>"
#define TEMPORARY "<failure xmlns='" SASL_NS "'><temporary-auth-failure/></failure>"

static void accepted(struct h *h, const char *user, const char *password, const char *full)
{
    struct raw r = raw_open(h);
    char want[128];

    raw_plain(&r, user, password);
    raw_expect(&r, "<success");
    raw_header(&r);
    raw_bind(&r, "x");
    snprintf(want, sizeof(want), "<jid>%s</jid>", full);
    raw_expect(&r, want);
    raw_close(&r);
}

static void logged(struct h *h, const char *part)
{
    const char *log = h_log(h);

    if (strstr(log, part) == NULL)
        fail_msg("expected \"%s\" in the log:\n%s", part, log);
}

/* --- names: NAME in addresses is the account "u.NAME"; "al" is another name of alice --- */

static int account_of(struct gr_mod *self, const char *username, char *out)
{
    (void)self;
    if (strncmp(username, "u.", 2) == 0)
        return GR_ENOENT;
    snprintf(out, GR_JID_PART_MAX + 1, "u.%.1000s", strcmp(username, "al") == 0 ? "alice"
                                                                                 : username);
    return 0;
}

static int username_of(struct gr_mod *self, const char *account, char *out)
{
    (void)self;
    if (strncmp(account, "u.", 2) != 0)
        return GR_ENOENT;
    snprintf(out, GR_JID_PART_MAX + 1, "%s", account + 2);
    return 0;
}

static const struct gr_auth_provider mapping = { .name = "map", .account_of = account_of,
                                                 .username_of = username_of };

/* No stream anywhere: what a web page or a notification about a removed account asks. */
static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    char account[GR_JID_PART_MAX + 1];

    assert_int_equal(gr_auth_account_of(self, ev->jid->node, account), 0);
    note("remove(%s,%s) ", ev->jid->full, account);
    return GR_OK;
}

static void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    note("register(%s) ", ev->jid->full);
}

static const struct gr_hook account_hooks[] = { GR_ON(remove_user, 50, on_remove),
                                                GR_ON(register_user, 50, on_register),
                                                GR_HOOK_END };

static void logins_use_the_mapped_name(void **state)
{
    provider = &mapping;
    struct h *h = begin(HOST "[mod_offline]\n");
    struct raw r;

    (void)state;
    h_user(h, "u.alice@localhost"); /* the row of an account */
    accepted(h, "alice", "secret", "alice@localhost/x");
    accepted(h, "al", "secret", "alice@localhost/x");
    assert_string_equal(refused(h, "u.alice", "secret"), NOT_AUTHORIZED);
    assert_string_equal(refused(h, "alice", "wrong"), NOT_AUTHORIZED);
    /* authzid: one's own address, not that of the name one logs in with */
    r = raw_open(h);
    raw_say(&r, PLAIN("YWxpY2VAbG9jYWxob3N0AGFsAHNlY3JldA==")); /* alice@localhost, al */
    raw_expect(&r, "<success");
    raw_close(&r);
    r = raw_open(h);
    raw_say(&r, PLAIN("YWxAbG9jYWxob3N0AGFsAHNlY3JldA==")); /* al@localhost, al */
    raw_expect(&r, "<invalid-authzid/>");
    raw_close(&r);
    end(&h);
}

static void addresses_use_the_mapped_name(void **state)
{
    provider = &mapping;
    struct h *h = begin(HOST "[mod_presence]\n[mod_offline]\n");

    (void)state;
    h_user(h, "u.alice@localhost");
    h_user(h, "u.bob@localhost");
    struct hs *bob = h_online(h, "bob@localhost/b");
    h_send(bob, "<message to='alice@localhost' type='chat'><body>kept</body></message>");
    h_expect_nothing(bob);
    h_send(bob, "<message to='u.alice@localhost' type='chat'><body>lost</body></message>");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "u.alice@localhost");
    h_send(bob, "<message to='al@localhost' type='chat'><body>lost</body></message>");
    h_expect_error(bob, GR_MESSAGE, GR_SERVICE_UNAVAILABLE, "al@localhost"); /* for logins only */
    struct hs *alice = h_login(h, "alice@localhost/a");
    h_send(alice, "<presence/>");
    h_expect_among(alice, "<message from='bob@localhost/b' to='alice@localhost' type='chat' "
                          "_='any'/>");
    end(&h);
}

struct looking {
    struct store_req req;
    char names[128];
};

static void on_rows(struct store_req *req)
{
    struct looking *l = GR_CONTAINER_OF(req, struct looking, req);

    for (size_t i = 0; req->rows.rc == 0 && i < req->rows.count; i++)
        snprintf(l->names + strlen(l->names), sizeof(l->names) - strlen(l->names), "%.*s ",
                 (int)req->rows.row[i].key_len, (const char *)req->rows.row[i].key);
}

static void accounts_are(struct h *h, const char *names)
{
    struct looking l = { .req.done = on_rows };

    loop_enter(loop_at(0));
    store_range(&l.req, store_coll("account", GR_COLL_MAP), "localhost", NULL, 0, 100);
    h_run(h);
    assert_string_equal(l.names, names);
}

static void registration_and_removal_map(void **state)
{
    provider = &mapping;
    watched = account_hooks;
    struct h *h = begin(HOST "[mod_register]\nrequire_tls = no\n");
    struct raw r = raw_open(h);

    (void)state;
    raw_say(&r, REGISTER("<username>carol</username><password>calliope-1</password>"));
    raw_expect(&r, "type='result'");
    expect_trace("register(carol@localhost) ");
    accounts_are(h, "u.carol ");
    struct raw again = raw_open(h);
    raw_say(&again, REGISTER("<username>carol</username><password>calliope-1</password>"));
    raw_expect(&again, "<conflict xmlns=");
    raw_close(&again);
    raw_plain(&r, "carol", "calliope-1");
    raw_expect(&r, "<success");
    raw_header(&r);
    raw_bind(&r, "y");
    raw_say(&r, REGISTER("<username>carol</username><password>terpsichore-2</password>"));
    raw_expect(&r, "type='result'");
    assert_string_equal(refused(h, "carol", "calliope-1"), NOT_AUTHORIZED);
    accepted(h, "carol", "terpsichore-2", "carol@localhost/x");
    raw_say(&r, REGISTER("<remove/>"));
    expect_trace("remove(carol@localhost,u.carol) ");
    accounts_are(h, "");
    raw_close(&r);
    end(&h);
}

/* What commands do: names in, names out. */
static void administration_maps(void **state)
{
    provider = &mapping;
    watched = account_hooks;
    struct h *h = begin(HOST "admins = alice@localhost\n");
    char name[GR_JID_PART_MAX + 1];

    (void)state;
    assert_int_equal(h_user_create(h, "dave@localhost", "pw"), GR_R_OK);
    assert_int_equal(h_user_create(h, "dave@localhost", "pw"), GR_R_FALSE);
    assert_int_equal(h_user_create(h, "u.eve@localhost", "pw"), GR_R_ERROR);
    assert_int_equal(h_user_create(h, "al@localhost", "pw"), GR_R_ERROR);
    h_user(h, "u.alice@localhost");
    h_user(h, "nameless@localhost"); /* an account that nobody can address */
    accounts_are(h, "nameless u.alice u.dave ");
    struct gr_mod *self = mod_t(h);
    gr_auth_list(self, ask_of(self), NULL, 10);
    h_run(h);
    assert_int_equal(last, GR_R_OK);
    assert_string_equal(last_text, "alice@localhost(staff) dave@localhost ");
    gr_auth_list(self, ask_of(self), "alice", 10);
    h_run(h);
    assert_string_equal(last_text, "dave@localhost ");
    assert_int_equal(gr_auth_username_of(self, "u.dave", name), 0);
    assert_string_equal(name, "dave");
    assert_int_equal(gr_auth_username_of(self, "dave", name), GR_ENOENT);
    trace[0] = '\0';
    assert_int_equal(h_user_delete(h, "al@localhost"), GR_R_NONE);
    assert_int_equal(h_user_delete(h, "dave@localhost"), GR_R_OK);
    expect_trace("remove(dave@localhost,u.dave) ");
    accounts_are(h, "nameless u.alice ");
    end(&h);
}

/* A page of disabled accounts only is not the end of the list. */
static void pages_without_accounts_go_on(void **state)
{
    struct h *h = begin(HOST);
    static const char row[] = "\1\1\0\0\0\0\0\0\0\0\1\0"; /* version 1, disabled */
    struct store_txn *txn = store_txn_new();
    char text[16];

    (void)state;
    h_user(h, "zoe@localhost");
    loop_enter(loop_at(0));
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "off%d", i);
        store_txn_add(txn, STORE_PUT, store_coll("account", GR_COLL_MAP), "localhost", text, 4,
                      row, sizeof(row) - 1);
    }
    store_commit(txn, NULL);
    h_run(h);
    struct gr_mod *self = mod_t(h);
    gr_auth_list(self, ask_of(self), NULL, 5);
    h_run(h);
    assert_int_equal(last, GR_R_FALSE);
    assert_string_equal(last_text, "");
    gr_auth_list(self, ask_of(self), last_cursor, 5);
    h_run(h);
    assert_int_equal(last, GR_R_OK);
    assert_string_equal(last_cursor, "");
    assert_string_equal(last_text, "zoe@localhost ");
    end(&h);
}

/* --- tokens --- */

static char token[GR_TOKEN_SIZE];

static char *issue(struct h *h, const char *user)
{
    int n = gr_token_issue(mod_t(h), user, token);

    assert_int_equal(n, strlen(token));
    return token;
}

static enum gr_result check(struct h *h, const char *user, const char *text)
{
    struct gr_mod *self = mod_t(h);

    gr_token_check(self, ask_of(self), user, text);
    h_run(h);
    return last;
}

/* Of an account "off", whatever its password, that may not log in. */
static void off_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)self, (void)inst;
    gr_answer_result(ask, strcmp(user, "off") == 0 ? GR_R_FALSE
                          : strcmp(user, "nobody") == 0 ? GR_R_NONE
                          : strcmp(user, "sick") == 0   ? GR_R_ERROR
                                                        : GR_R_OK);
}

static const struct gr_auth_provider disabling = { .name = "t", .user_state = off_state };

static void tokens_log_in(void **state)
{
    struct h *h = begin(HOST);

    (void)state;
    h_user(h, "bob@localhost");
    assert_int_equal(strncmp(issue(h, "bob"), "//bob@localhost/v1.Ym9iQGxvY2FsaG9zdA.", 38), 0);
    accepted(h, "bob", token, "bob@localhost/x");
    h_advance(h, 30000);
    accepted(h, "bob", token, "bob@localhost/x"); /* as often as one likes, as long as it is good */
    h_advance(h, 1000);
    assert_string_equal(refused(h, "bob", token), NOT_AUTHORIZED);
    logged(h, "user=bob@localhost reason=expired");
    assert_int_equal(gr_token_issue(mod_t(h), "", token), GR_EINVAL);
    end(&h);
}

/* Each the same answer as a wrong password. */
static void tokens_that_are_refused(void **state)
{
    provider = &disabling;
    struct h *h = begin(HOST);
    char *copy = gr_strdup(issue(h, "bob"));
    size_t len = strlen(copy);

    (void)state;
    h_user(h, "bob@localhost");
    h_user(h, "alice@localhost");
    assert_string_equal(refused(h, "bob", "wrong"), NOT_AUTHORIZED);
    accepted(h, "bob", copy, "bob@localhost/x");
    for (size_t i = strlen("//bob@localhost/"); i < len; i++) { /* any character changed */
        copy[i] ^= 1;
        assert_int_equal(check(h, "bob", copy), GR_R_FALSE);
        copy[i] ^= 1;
    }
    copy[len - 1] = '\0'; /* too short, too long */
    assert_string_equal(refused(h, "bob", copy), NOT_AUTHORIZED);
    copy[len - 1] = token[len - 1];
    copy = gr_realloc(copy, len + 2);
    strcpy(copy + len, "A");
    assert_string_equal(refused(h, "bob", copy), NOT_AUTHORIZED);
    assert_string_equal(refused(h, "alice", token), NOT_AUTHORIZED); /* somebody else's */
    assert_string_equal(refused(h, "off", issue(h, "off")), NOT_AUTHORIZED);
    assert_string_equal(refused(h, "nobody", issue(h, "nobody")), NOT_AUTHORIZED);
    logged(h, "no such account");
    assert_string_equal(refused(h, "sick", issue(h, "sick")), TEMPORARY);
    assert_string_equal(refused(h, "bob", "//bob@localhost/"), NOT_AUTHORIZED);
    assert_string_equal(refused(h, "bob", "//bob@localhost/v1..."), NOT_AUTHORIZED);
    assert_string_equal(refused(h, "bob", "//bob@localhost/v1.x.zzzzzzzzzzzzzzz.y"),
                        NOT_AUTHORIZED);
    gr_free(copy);
    end(&h);
}

static void tokens_survive_a_restart(void **state)
{
    struct h *h = begin(HOST);

    (void)state;
    h_user(h, "bob@localhost");
    issue(h, "bob");
    h_restart(h);
    accepted(h, "bob", token, "bob@localhost/x");
    end(&h);
}

static void tokens_that_are_good_once(void **state)
{
    struct h *h = begin(HOST "token_single_use = yes\n");

    (void)state;
    h_user(h, "bob@localhost");
    accepted(h, "bob", issue(h, "bob"), "bob@localhost/x");
    assert_string_equal(refused(h, "bob", token), NOT_AUTHORIZED);
    logged(h, "token.reused: user=bob@localhost");
    h_advance(h, 1000);
    accepted(h, "bob", issue(h, "bob"), "bob@localhost/x");
    h_advance(h, 1000);
    h_restart(h); /* who knows any more? */
    assert_string_equal(refused(h, "bob", token), NOT_AUTHORIZED);
    accepted(h, "bob", issue(h, "bob"), "bob@localhost/x");
    end(&h);
}

/* What is remembered is bounded: nothing more is taken until the oldest is too old anyway. */
static void used_tokens_are_bounded(void **state)
{
    provider = &disabling;
    struct h *h = begin(HOST "token_single_use = yes\n");
    char user[32], full[48];
    int used = 0;

    (void)state;
    for (int i = 0; used <= TOKEN_USED_MAX; i++) {
        snprintf(user, sizeof(user), "user%d", i);
        snprintf(full, sizeof(full), "%s@localhost", user);
        if (h_home(h, full) != 0)
            continue;
        used++;
        assert_int_equal(check(h, user, issue(h, user)),
                         used <= TOKEN_USED_MAX ? GR_R_OK : GR_R_ERROR);
    }
    assert_int_equal(last_cond, GR_RESOURCE_CONSTRAINT);
    assert_int_equal(check(h, "off", issue(h, "off")), GR_R_FALSE);
    issue(h, user);
    assert_string_equal(refused(h, user, token), TEMPORARY);
    h_advance(h, 60000);
    assert_int_equal(check(h, user, issue(h, user)), GR_R_OK);
    assert_int_equal(check(h, user, token), GR_R_FALSE);
    end(&h);
}

/* --- whose key --- */

static struct {
    const char *key, *previous;
    int64_t changed_us;
} keys;

static enum gr_verdict on_get_key(struct gr_mod *self, struct gr_key_ev *ev)
{
    (void)self;
    assert_string_equal(ev->name, "token_secret");
    ev->key = keys.key;
    ev->len = keys.key != NULL ? strlen(keys.key) : 0;
    ev->previous = keys.previous;
    ev->previous_len = keys.previous != NULL ? strlen(keys.previous) : 0;
    ev->changed_us = keys.changed_us;
    return GR_OK;
}

static const struct gr_hook key_hooks[] = { GR_ON(get_key, 50, on_get_key), GR_HOOK_END };
#define KEY1 "the first key, long enough"
#define KEY2 "the second key, long enough"

static void keys_come_from_the_hook_and_change(void **state)
{
    watched = key_hooks;
    struct h *h = begin(HOST);

    (void)state;
    h_user(h, "bob@localhost");
    keys.key = NULL;
    char *ours = gr_strdup(issue(h, "bob"));
    keys.key = "too short";
    assert_string_equal(issue(h, "bob"), ours); /* nobody has one: the core's own */
    keys.key = KEY1;
    char *first = gr_strdup(issue(h, "bob"));
    assert_string_not_equal(first, ours);
    assert_int_equal(check(h, "bob", first), GR_R_OK);
    assert_int_equal(check(h, "bob", ours), GR_R_FALSE);
    keys.key = KEY2;
    assert_int_equal(check(h, "bob", first), GR_R_FALSE);
    keys.previous = KEY1;
    keys.changed_us = gr_wall_us();
    assert_int_equal(check(h, "bob", first), GR_R_OK); /* issued before the change */
    assert_int_equal(check(h, "bob", issue(h, "bob")), GR_R_OK);
    h_advance(h, 2000);
    keys.key = KEY1; /* who has the old key goes on making tokens of it */
    issue(h, "bob");
    keys.key = KEY2;
    assert_int_equal(check(h, "bob", token), GR_R_FALSE);
    assert_int_equal(check(h, "bob", first), GR_R_OK);
    h_advance(h, 29000);
    assert_int_equal(check(h, "bob", first), GR_R_FALSE); /* max_age after the change */
    memset(&keys, 0, sizeof(keys));
    gr_free(ours);
    gr_free(first);
    end(&h);
}

static void own_token(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                      const char *text)
{
    (void)self, (void)inst;
    note("token(%s,%s) ", user, text);
    gr_answer_result(ask, strcmp(text, "open") == 0 ? GR_R_OK : GR_R_FALSE);
}

static const struct gr_auth_provider own_tokens = { .name = "t", .check_token = own_token };

static void a_provider_with_tokens_of_its_own(void **state)
{
    provider = &own_tokens;
    struct h *h = begin(HOST);

    (void)state;
    h_user(h, "bob@localhost"); /* else it would have to say itself that there is one: user_state */
    accepted(h, "bob", "//bob@localhost/open", "bob@localhost/x");
    assert_string_equal(refused(h, "bob", "//bob@localhost/shut"), NOT_AUTHORIZED);
    expect_trace("token(bob,open) token(bob,shut) ");
    end(&h);
}

/* --- web sessions --- */

/* "session=NAME": that user is logged in on the web. */
static void check_http(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                       const char *identity)
{
    (void)self, (void)inst;
    note("http(%s,%s) ", user, identity);
    gr_answer_result(ask, strncmp(identity, "session=", 8) == 0 && strcmp(identity + 8, user) == 0
                              ? GR_R_OK : GR_R_FALSE);
}

static const struct gr_auth_provider web_auth = { .name = "t", .check_http = check_http };

static void find_session(void *ctx, struct gr_session *s)
{
    *(struct gr_session **)ctx = s;
}

/* A transport that has read the cookie before the stream begins. */
static struct raw web_open(struct h *h, const char *identity)
{
    struct raw r = raw_accept(h, 0x7f000001);
    struct gr_session *s = NULL;

    loop_enter(loop_at(0));
    session_each(find_session, &s);
    assert_non_null(s);
    gr_session_set_http_identity(s, "of somebody else");
    gr_session_set_http_identity(s, identity);
    raw_header(&r);
    return r;
}

static void web_sessions_log_in(void **state)
{
    provider = &web_auth;
    struct h *h = begin(HOST);
    struct raw r;

    (void)state;
    h_user(h, "bob@localhost");
    r = web_open(h, "session=bob");
    raw_plain(&r, "alice", "");
    raw_expect(&r, NOT_AUTHORIZED); /* logged in, but not as her */
    raw_plain(&r, "bob", "");
    raw_expect(&r, "<success");
    expect_trace("http(alice,session=bob) http(bob,session=bob) ");
    raw_close(&r);
    r = web_open(h, "session=");
    raw_plain(&r, "bob", "");
    raw_expect(&r, NOT_AUTHORIZED); /* not logged in */
    raw_plain(&r, "bob", "secret");
    raw_expect(&r, "<success"); /* a password is as good as ever */
    raw_close(&r);
    trace[0] = '\0';
    r = web_open(h, NULL);
    raw_plain(&r, "bob", "");
    raw_expect(&r, NOT_AUTHORIZED); /* a transport without web sessions */
    expect_trace("");
    raw_close(&r);
    struct gr_mod *self = mod_t(h); /* an HTTP endpoint */
    gr_auth_check_http(self, ask_of(self), "bob", "session=bob");
    assert_int_equal(last, GR_R_OK);
    gr_auth_check_http(self, ask_of(self), "bob", "session=eve");
    assert_int_equal(last, GR_R_FALSE);
    gr_auth_check_http(self, ask_of(self), "bob", NULL);
    assert_int_equal(last, GR_R_FALSE);
    end(&h);
    h = begin(HOST); /* no provider that knows web sessions */
    r = web_open(h, "session=bob");
    raw_plain(&r, "bob", "");
    raw_expect(&r, NOT_AUTHORIZED);
    raw_close(&r);
    end(&h);
}

/* --- what the log says --- */

static void sick_keys(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)self, (void)inst;
    if (strcmp(user, "sick") == 0)
        gr_answer_error(ask, GR_INTERNAL_SERVER_ERROR, "the database is down");
    else
        gr_answer_result(ask, GR_R_NONE);
}

static const struct gr_auth_provider keys_only = { .name = "t", .get_credentials = sick_keys };

static void unknown_users_differ_in_the_log_only(void **state)
{
    struct h *h = begin(HOST);

    (void)state;
    h_user(h, "bob@localhost");
    h_log(h);
    assert_string_equal(refused(h, "bob", "wrong"), NOT_AUTHORIZED);
    logged(h, "user=bob@localhost mech=PLAIN reason=wrong password");
    assert_string_equal(refused(h, "nobody", "wrong"), NOT_AUTHORIZED);
    logged(h, "user=nobody@localhost mech=PLAIN reason=no such account");
    end(&h);
    provider = &keys_only;
    h = begin(HOST);
    assert_string_equal(refused(h, "nobody", "wrong"), NOT_AUTHORIZED);
    logged(h, "reason=no such account");
    assert_string_equal(refused(h, "sick", "wrong"), TEMPORARY); /* a failure is none of the two */
    logged(h, "auth.unanswered: the auth provider of localhost failed: internal-server-error: "
              "the database is down");
    end(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(logins_use_the_mapped_name),
        cmocka_unit_test(addresses_use_the_mapped_name),
        cmocka_unit_test(registration_and_removal_map),
        cmocka_unit_test(administration_maps),
        cmocka_unit_test(pages_without_accounts_go_on),
        cmocka_unit_test(tokens_log_in),
        cmocka_unit_test(tokens_that_are_refused),
        cmocka_unit_test(tokens_survive_a_restart),
        cmocka_unit_test(tokens_that_are_good_once),
        cmocka_unit_test(used_tokens_are_bounded),
        cmocka_unit_test(keys_come_from_the_hook_and_change),
        cmocka_unit_test(a_provider_with_tokens_of_its_own),
        cmocka_unit_test(web_sessions_log_in),
        cmocka_unit_test(unknown_users_differ_in_the_log_only),
    };

    return H_RUN("logins", cases);
}
