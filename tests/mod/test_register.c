/* tests/mod/test_register.c: mod_register (XEP-0077): before login, by a client of the test's own
 * that is nobody yet, and after it. */
#include "harness.h"

#include "mod/host.h"
#include "route/session.h"
#include "stream/auth.h"

#include <stdio.h>

#define QUERY(x) "<query xmlns='jabber:iq:register'>" x "</query>"
#define ASK(user, pass) QUERY("<username>" user "</username><password>" pass "</password>")

/* --- somebody who has not logged in --- */

struct guest {
    struct h *h;
    struct loop *loop;
    struct gr_session *s;
    const char *ip;
    bool plain;
    char *closed;
    struct gr_stanza *got;  /* the last one */
    unsigned count;
};

static int out_write(void *ctx, struct gr_stanza *st, struct receipt *receipt)
{
    struct guest *g = ctx;

    (void)receipt;
    gr_stanza_unref(&g->got);
    g->got = gr_stanza_ref(st);
    g->count++;
    return 0;
}

static void out_close(void *ctx, const char *condition, const char *text)
{
    struct guest *g = ctx;

    (void)text;
    g->s = NULL;
    g->closed = gr_strdup(condition != NULL ? condition : "");
}

static void out_resume(void *ctx)
{
    (void)ctx;
}

static const char *out_ip(void *ctx)
{
    return ((struct guest *)ctx)->ip;
}

static bool out_is_tls(void *ctx)
{
    return !((struct guest *)ctx)->plain;
}

static void out_unclaimed(void *ctx, const struct gr_stanza *st)
{
    struct guest *g = ctx;

    (void)st;
    g->closed = gr_strdup("not-authorized");
    session_terminate(&g->s, GR_END_ERROR);
}

static const struct session_out out = { out_write, out_close, out_resume, out_ip, out_is_tls,
                                        out_unclaimed, NULL, NULL };

static struct guest guest(struct h *h, const char *ip)
{
    return (struct guest){ .h = h, .ip = ip };
}

/* Where it was accepted: on any loop. */
static void arrive(struct guest *g, int loop)
{
    g->loop = loop_at(loop % h_loops(g->h));
    loop_enter(g->loop);
    g->s = session_new(&out, g);
    g->s->host = host_find("localhost");
}

static void leave(struct guest *g)
{
    loop_enter(g->loop);
    if (g->s != NULL)
        session_terminate(&g->s, GR_END_NORMAL);
    h_run(g->h);
    gr_stanza_unref(&g->got);
    gr_free(g->closed);
    g->closed = NULL;
}

static void feed(struct guest *g, const char *xml)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    loop_enter(g->loop);
    assert_non_null(g->s);
    job_xmlel(g->s, st);
}

static void say(struct guest *g, const char *type, const char *payload)
{
    char *xml = gr_asprintf("<iq type='%s' id='r' to='localhost'>%s</iq>", type, payload);

    feed(g, xml);
    gr_free(xml);
    h_run(g->h);
}

static void expect_result(struct guest *g, const char *type, const char *payload,
                          const char *result)
{
    char *pattern = gr_asprintf("<iq type='result' id='r' from='localhost'>%s</iq>", result);
    unsigned before = g->count;

    say(g, type, payload);
    assert_int_equal(g->count, before + 1);
    h_assert_xml(g->got, pattern);
    gr_free(pattern);
}

/* Errors carry no copy of the request: it has a password in it. */
static void expect_error(struct guest *g, const char *payload, enum gr_cond cond)
{
    unsigned before = g->count;

    say(g, "set", payload);
    assert_int_equal(g->count, before + 1);
    assert_int_equal(gr_stanza_type(g->got), GR_TYPE_ERROR);
    assert_string_equal(gr_cond_name(gr_stanza_cond(g->got)), gr_cond_name(cond));
    assert_null(gr_stanza_child(g->got, "jabber:iq:register", NULL));
    assert_null(strstr(gr_stanza_xml(g->got, NULL), "calliope-1"));
}

/* --- a witness --- */

static struct {
    unsigned registered, removed;
    char name[64];
    bool wait;
    struct gr_hold *hold;
    bool result_first;          /* a removal's result had arrived when the session was to end */
    struct hs *who;
} seen;

static void on_registered(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    seen.registered++;
    snprintf(seen.name, sizeof(seen.name), "%s", ev->jid->full);
}

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    seen.removed++;
    if (!seen.wait)
        return GR_OK;
    seen.hold = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

/* The session manager has just asked for the end of the sessions. */
static enum gr_verdict on_end(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    (void)ev;
    seen.result_first = seen.who != NULL && h_count(seen.who) == 1;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(register_user, 50, on_registered),
    GR_ON(remove_user, 50, on_remove),
    GR_ON(remove_user, 100, on_end),
    GR_HOOK_END
};

/* An account provider without a single function of use: for what others cannot do. */
static struct gr_auth_provider provider = { .name = "odd" };
static bool provide;

static int start_tester(struct gr_mod *self, const char **why)
{
    (void)why;
    if (provide)
        gr_provide_auth(self, &provider, GR_PROVIDER_DEFAULT_PRIO);
    return 0;
}

static const struct gr_module tester = { .name = "tester", .hooks = hooks, .start = start_tester };

static struct h *start(const char *options)
{
    char ini[1024];

    memset(&seen, 0, sizeof(seen));
    provider.create_user = provider.set_password = NULL;
    snprintf(ini, sizeof(ini), "[host localhost]\n[mod_register]\n%s", options);
    h_module(&tester);
    struct h *h = h_start(ini);
    h_user(h, "alice@localhost");
    h_user(h, "bob@localhost");
    return h;
}

#define FREE "per_ip = unlimited\ntotal = unlimited\n"

static bool password_is(struct h *h, const char *bare, const char *password);

/* --- before login --- */

static void an_account_is_made(void **state)
{
    struct h *h = start("");

    (void)state;
    for (int i = 0; i < h_loops(h); i++) {
        char user[32], *ask;
        struct guest g = guest(h, i % 2 ? "192.0.2.1" : "192.0.2.2");

        arrive(&g, i);
        snprintf(user, sizeof(user), "carol%d@localhost", i);
        ask = gr_asprintf(ASK("Carol%d", "calliope-1"), i);
        expect_result(&g, "get", QUERY(""),
                      QUERY("<instructions>*</instructions><username/><password/>"));
        expect_result(&g, "set", ask, "");
        assert_int_equal(seen.registered, i + 1);
        assert_string_equal(seen.name, user);
        assert_true(password_is(h, user, "calliope-1"));
        assert_int_equal(g.s->unhandled, 0);
        gr_free(ask);
        leave(&g);
    }
    h_stop(&h);
}

static void the_stream_waits_meanwhile(void **state)
{
    struct h *h = start(FREE);
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    feed(&g, "<iq type='set' id='1'>" ASK("carol", "calliope-1") "</iq>");
    assert_int_equal(g.s->unhandled, 1);
    feed(&g, "<iq type='get' id='2'>" QUERY("") "</iq>");
    assert_int_equal(g.count, 0);
    h_run(h);
    assert_int_equal(g.count, 2);
    assert_string_equal(gr_stanza_id(g.got), "2");
    assert_int_equal(g.s->unhandled, 0);
    leave(&g);
    h_stop(&h);
}

/* The connection breaks while the account is being made: it is made, nobody is told. */
static void the_stream_breaks_meanwhile(void **state)
{
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    feed(&g, "<iq type='set' id='1'>" ASK("carol", "calliope-1") "</iq>");
    session_terminate(&g.s, GR_END_ERROR);
    h_run(h);
    assert_int_equal(g.count, 0);
    assert_int_equal(seen.registered, 1);
    leave(&g);
    h_stop(&h);
}

static void fields_that_are_not_acceptable(void **state)
{
    static const char *const bad[] = {
        QUERY(""), QUERY("<username>carol</username>"), QUERY("<password>calliope-1</password>"),
        ASK("", "calliope-1"), ASK("carol", ""),
        ASK("carol", "2short4"), ASK("carol", "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"),
        ASK("caroline", "caroline"), ASK("caroline", "CAROLINE"),
    };
    static const char *const names[] = {
        ASK("a@b", "calliope-1"), ASK("a b", "calliope-1"), ASK("a/b", "calliope-1"),
        ASK("admin", "calliope-1"), ASK("Postmaster", "calliope-1"),
        "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'/></query>",
    };
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1"), n = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        expect_error(&g, bad[i], GR_NOT_ACCEPTABLE);
    leave(&g);
    arrive(&n, 0);
    for (size_t i = 0; i < GR_COUNT(names); i++)
        expect_error(&n, names[i], GR_NOT_ACCEPTABLE);
    assert_int_equal(seen.registered, 0);
    /* None of these counts as an account made. */
    expect_result(&n, "set", ASK("carol", "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"), "");
    leave(&n);
    h_stop(&h);
}

/* Names that other servers would write differently (RFC 7622 and 6122). */
static void a_name_that_is_not_portable(void **state)
{
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    assert_false(gr_jid_node_is_portable("stra\u00dfe"));
    expect_error(&g, ASK("stra\u00dfe", "calliope-1"), GR_NOT_ACCEPTABLE);
    leave(&g);
    h_stop(&h);
}

static void the_name_is_taken(void **state)
{
    struct h *h = start("per_ip = 1\n");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    expect_error(&g, ASK("alice", "calliope-1"), GR_CONFLICT);
    expect_error(&g, ASK("ALICE", "calliope-1"), GR_CONFLICT);
    assert_true(password_is(h, "alice@localhost", "secret"));
    /* That did not use up the one that is allowed. */
    expect_result(&g, "set", ASK("carol", "calliope-1"), "");
    leave(&g);
    h_stop(&h);
}

static void one_account_per_stream(void **state)
{
    struct h *h = start(FREE);
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    expect_result(&g, "set", ASK("carol", "calliope-1"), "");
    expect_error(&g, ASK("dave", "calliope-1"), GR_NOT_ACCEPTABLE);
    assert_int_equal(seen.registered, 1);
    leave(&g);
    h_stop(&h);
}

static void too_many_attempts(void **state)
{
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    for (int i = 0; i < 10; i++) {
        assert_null(g.closed);
        expect_error(&g, ASK("alice", "calliope-1"), GR_CONFLICT);
    }
    assert_string_equal(g.closed, "policy-violation");
    leave(&g);
    h_stop(&h);
}

static enum gr_cond try_from(struct h *h, const char *ip, const char *user, int loop)
{
    struct guest g = guest(h, ip);
    char *ask = gr_asprintf(ASK("%s", "calliope-1"), user);
    enum gr_cond cond;

    arrive(&g, loop);
    say(&g, "set", ask);
    gr_free(ask);
    assert_int_equal(g.count, 1);
    cond = gr_stanza_type(g.got) == GR_RESULT ? GR_COND_NONE : gr_stanza_cond(g.got);
    leave(&g);
    return cond;
}

static void accounts_per_address(void **state)
{
    struct h *h = start("per_ip = 2\n");

    (void)state;
    assert_int_equal(try_from(h, "192.0.2.1", "u1", 0), GR_COND_NONE);
    assert_int_equal(try_from(h, "192.0.2.1", "u2", 1), GR_COND_NONE);
    assert_int_equal(try_from(h, "192.0.2.1", "u3", 2), GR_RESOURCE_CONSTRAINT);
    assert_int_equal(try_from(h, "::ffff:192.0.2.1", "u3", 3), GR_RESOURCE_CONSTRAINT);
    assert_int_equal(try_from(h, "192.0.2.2", "u4", 0), GR_COND_NONE);
    /* One /64 is one address. */
    assert_int_equal(try_from(h, "2001:db8::1", "u5", 0), GR_COND_NONE);
    assert_int_equal(try_from(h, "2001:db8::ffff:1", "u6", 1), GR_COND_NONE);
    assert_int_equal(try_from(h, "2001:db8::2", "u7", 2), GR_RESOURCE_CONSTRAINT);
    assert_int_equal(try_from(h, "2001:db8:0:1::2", "u8", 3), GR_COND_NONE);
    /* A restart does not help. */
    h_restart(h);
    assert_int_equal(try_from(h, "192.0.2.1", "u9", 0), GR_RESOURCE_CONSTRAINT);
    assert_int_equal(seen.registered, 6);
    h_stop(&h);
}

static void accounts_in_all(void **state)
{
    struct h *h = start("per_ip = unlimited\ntotal = 3\n");

    (void)state;
    assert_int_equal(try_from(h, "192.0.2.1", "u1", 0), GR_COND_NONE);
    assert_int_equal(try_from(h, "192.0.2.2", "u2", 1), GR_COND_NONE);
    assert_int_equal(try_from(h, "192.0.2.2", "u3", 2), GR_COND_NONE);
    assert_int_equal(try_from(h, "192.0.2.3", "u4", 3), GR_RESOURCE_CONSTRAINT);
    h_stop(&h);
}

static void only_over_tls(void **state)
{
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    g.plain = true;
    arrive(&g, 0);
    expect_error(&g, ASK("carol", "calliope-1"), GR_NOT_AUTHORIZED);
    leave(&g);
    h_stop(&h);
    h = start("require_tls = no\n");
    g = guest(h, "192.0.2.1");
    g.plain = true;
    arrive(&g, 0);
    expect_result(&g, "set", ASK("carol", "calliope-1"), "");
    leave(&g);
    h_stop(&h);
}

static bool offered(struct h *h, bool plain)
{
    struct guest g = guest(h, "192.0.2.1");
    struct gr_stanza *features = gr_nonza_new(GR_NS_STREAM, "features");
    bool yes;

    g.plain = plain;
    arrive(&g, 0);
    struct gr_features_ev ev = { .session = g.s, .features = features };
    gr_hook_run(h_mod(h, "tester", "localhost"), GR_HOOK_c2s_stream_features, &ev.ev, NULL);
    yes = gr_stanza_child(features, "http://jabber.org/features/iq-register", "register") != NULL;
    gr_stanza_unref(&features);
    leave(&g);
    return yes;
}

static void the_stream_feature(void **state)
{
    struct h *h = start("");

    (void)state;
    assert_true(offered(h, false));
    assert_false(offered(h, true));
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_stanza *features = gr_nonza_new(GR_NS_STREAM, "features");
    struct gr_features_ev ev = { .session = h_session(alice), .features = features };
    gr_hook_run(h_mod(h, "tester", "alice@localhost"), GR_HOOK_c2s_stream_features, &ev.ev, NULL);
    h_assert_xml(features, "<features xmlns='" GR_NS_STREAM "'/>");
    gr_stanza_unref(&features);
    h_stop(&h);
    h = start("create = no\n");
    assert_false(offered(h, false));
    h_stop(&h);
}

static void expect_ignored(struct h *h, const char *xml)
{
    struct guest g = guest(h, "192.0.2.1");

    arrive(&g, 0);
    feed(&g, xml);
    h_run(h);
    assert_int_equal(g.count, 0);
    assert_string_equal(g.closed, "not-authorized");
    leave(&g);
}

/* RFC 6120, 4.9.3.12: what nobody knows ends the stream. */
static void what_is_not_ours(void **state)
{
    struct h *h = start("");

    (void)state;
    expect_ignored(h, "<iq type='get' id='1' to='elsewhere.example'>" QUERY("") "</iq>");
    expect_ignored(h, "<iq type='result' id='1' to='localhost'>" QUERY("") "</iq>");
    expect_ignored(h, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
    expect_ignored(h, "<message to='bob@localhost'><body>x</body></message>");
    h_stop(&h);
    h = start("create = no\n");
    expect_ignored(h, "<iq type='get' id='1'>" QUERY("") "</iq>");
    expect_ignored(h, "<iq type='set' id='1'>" ASK("carol", "calliope-1") "</iq>");
    assert_int_equal(seen.registered, 0);
    h_stop(&h);
}

static void removal_before_login(void **state)
{
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    expect_error(&g, QUERY("<remove/>"), GR_UNEXPECTED_REQUEST);
    feed(&g, "<iq type='get'>" QUERY("") "</iq>");
    h_run(h);
    assert_int_equal(gr_stanza_cond(g.got), GR_BAD_REQUEST);
    leave(&g);
    h_stop(&h);
}

/* XEP-0077, 5. */
static void redirection(void **state)
{
    struct h *h = start("redirect_url = https://example.org/join\n");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    arrive(&g, 0);
    expect_result(&g, "get", QUERY(""),
                  QUERY("<instructions>*</instructions><x xmlns='jabber:x:oob'>"
                        "<url>https://example.org/join</url></x>"));
    expect_error(&g, ASK("carol", "calliope-1"), GR_NOT_ALLOWED);
    leave(&g);
    h_stop(&h);
}

/* Behind the server's back: sessions stay. */
static void drop_account(struct h *h, const char *name)
{
    struct gr_txn *t = gr_txn_new(h_mod(h, "auth", "localhost"));

    gr_txn_del(t, &auth_module.collections[0], "localhost", name, strlen(name));
    gr_txn_commit(t, NULL);
    h_run(h);
}

static void welcome_and_watchers(void **state)
{
    struct h *h = start("welcome_subject = Hi\nwelcome_message = Welcome, all <of> you!\n"
                        "watchers = bob@localhost, alice@localhost\n");
    struct hs *bob = h_login(h, "bob@localhost/b"), *alice = h_login(h, "alice@localhost/a");
    struct guest g = guest(h, "192.0.2.7");

    (void)state;
    h_set_available(bob, 0);
    h_set_available(alice, 0);
    struct hs *carol = h_login(h, "carol@localhost/c");
    h_set_available(carol, 0);
    drop_account(h, "carol");
    arrive(&g, 0);
    expect_result(&g, "set", ASK("carol", "calliope-1"), "");
    h_expect_xml(carol, "<message from='localhost' to='carol@localhost'>"
                        "<subject>Hi</subject><body>Welcome, all &lt;of&gt; you!</body></message>");
    h_expect_body(bob, "localhost", "The account carol@localhost was registered from 192.0.2.7.");
    h_expect_body(alice, "localhost", "The account carol@localhost was registered from 192.0.2.7.");
    leave(&g);
    h_stop(&h);
}

static void a_provider_that_makes_no_accounts(void **state)
{
    provide = true;
    struct h *h = start("");
    provide = false;
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    /* The built-in one below it answers. */
    arrive(&g, 0);
    expect_result(&g, "set", ASK("carol", "calliope-1"), "");
    leave(&g);
    h_stop(&h);
}

static void refuse_create(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                          const char *password)
{
    (void)self;
    (void)inst;
    (void)user;
    (void)password;
    gr_answer_error(ask, GR_NOT_ALLOWED, "not here");
}

static void a_provider_that_refuses(void **state)
{
    provide = true;
    struct h *h = start("");
    provide = false;
    provider.create_user = provider.set_password = refuse_create;
    struct guest g = guest(h, "192.0.2.1");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    arrive(&g, 0);
    expect_error(&g, ASK("carol", "calliope-1"), GR_NOT_ALLOWED);
    leave(&g);
    h_iq_error(alice, "set", "localhost", ASK("alice", "calliope-2"), GR_NOT_ALLOWED);
    h_stop(&h);
}

static struct gr_ask *unanswered;

static void never_create(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                         const char *password)
{
    (void)self;
    (void)inst;
    (void)user;
    (void)password;
    unanswered = ask;
}

/* The chain goes on without us after 30 s, which ends the stream; then there is nobody to tell. */
static void an_answer_that_comes_too_late(void **state)
{
    provide = true;
    struct h *h = start("");
    struct guest g = guest(h, "192.0.2.1");

    (void)state;
    provide = false;
    provider.create_user = never_create;
    arrive(&g, 0);
    say(&g, "set", ASK("carol", "calliope-1"));
    h_advance(h, 31 * GR_SECOND);
    assert_int_equal(g.count, 0);
    assert_string_equal(g.closed, "not-authorized");
    assert_null(g.s);
    loop_enter(g.loop);
    gr_answer_result(unanswered, GR_R_OK);
    h_run(h);
    assert_int_equal(g.count, 0);
    leave(&g);
    h_log(h); /* says hook.timeout, as it should */
    h_stop(&h);
}

/* --- after login --- */

static void on_checked(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self;
    **(enum gr_result **)gr_ask_data(ask) = a->result;
}

static bool password_is(struct h *h, const char *bare, const char *password)
{
    struct gr_mod *self = h_mod(h, "tester", bare);
    struct gr_ask *ask = gr_ask_new(self, sizeof(enum gr_result *), on_checked);
    enum gr_result result = GR_R_ERROR;

    *(enum gr_result **)gr_ask_data(ask) = &result;
    gr_auth_check(self, ask, h_parse_jid(h, bare)->node, password);
    h_run(h);
    return result == GR_R_OK;
}

static void what_is_on_file(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "get", "localhost", QUERY(""),
                QUERY("<registered/><username>alice</username><password/>"));
    h_iq_result(alice, "get", NULL, QUERY(""),
                QUERY("<registered/><username>alice</username><password/>"));
    h_iq_error(alice, "get", "bob@localhost", QUERY(""), GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static void change_fails(struct hs *s, const char *to, const char *payload, enum gr_cond cond)
{
    struct gr_stanza *st = h_iq(s, "set", to, payload);

    assert_int_equal(gr_stanza_type(st), GR_TYPE_ERROR);
    assert_string_equal(gr_cond_name(gr_stanza_cond(st)), gr_cond_name(cond));
    assert_null(gr_stanza_child(st, "jabber:iq:register", NULL)); /* XEP-0077, 3.3 */
}

static void the_password_is_changed(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_iq_result(alice, "set", "localhost", ASK("alice", "calliope-2"), NULL);
    assert_true(password_is(h, "alice@localhost", "calliope-2"));
    assert_false(password_is(h, "alice@localhost", "secret"));
    h_iq_result(alice, "set", NULL, ASK("ALICE", "calliope-3"), NULL);
    assert_true(password_is(h, "alice@localhost", "calliope-3"));
    assert_true(password_is(h, "bob@localhost", "secret"));
    h_stop(&h);
}

static void the_password_is_not_changed(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    change_fails(alice, "localhost", QUERY("<username>alice</username>"), GR_BAD_REQUEST);
    change_fails(alice, "localhost", QUERY("<password>calliope-2</password>"), GR_BAD_REQUEST);
    change_fails(alice, "localhost", ASK("alice", ""), GR_BAD_REQUEST);
    change_fails(alice, "localhost", QUERY(""), GR_BAD_REQUEST);
    change_fails(alice, "localhost", ASK("alice", "short"), GR_NOT_ACCEPTABLE);
    change_fails(alice, "localhost", ASK("bob", "calliope-2"), GR_NOT_ALLOWED);
    change_fails(alice, "localhost", ASK("carol", "calliope-2"), GR_NOT_ALLOWED);
    change_fails(alice, "localhost", ASK("@", "calliope-2"), GR_NOT_ALLOWED);
    h_iq_error(alice, "set", "bob@localhost", ASK("bob", "calliope-2"), GR_FORBIDDEN);
    assert_true(password_is(h, "alice@localhost", "secret"));
    assert_true(password_is(h, "bob@localhost", "secret"));
    assert_int_equal(seen.registered, 0);
    h_stop(&h);
}

static void users_may_be_refused(void **state)
{
    struct h *h = start("change_password = no\nremove = no\n");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    change_fails(alice, "localhost", ASK("alice", "calliope-2"), GR_NOT_ALLOWED);
    change_fails(alice, "localhost", QUERY("<remove/>"), GR_NOT_ALLOWED);
    assert_true(password_is(h, "alice@localhost", "secret"));
    h_stop(&h);
}

static void strangers_of_another_host(void **state)
{
    struct h *h;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    h_module(&tester);
    h = h_start("[host localhost]\n[mod_register localhost]\n[host other.example]\n");
    h_user(h, "alice@other.example");
    struct hs *alice = h_login(h, "alice@other.example/a");
    h_iq_error(alice, "get", "localhost", QUERY(""), GR_SERVICE_UNAVAILABLE);
    change_fails(alice, "localhost", ASK("alice", "calliope-2"), GR_NOT_ALLOWED);
    change_fails(alice, "localhost", QUERY("<remove/>"), GR_REGISTRATION_REQUIRED);
    h_stop(&h);
}

static void an_account_removes_itself(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a"), *other = h_login(h, "alice@localhost/b");
    struct hs *bob = h_login(h, "bob@localhost/b");

    (void)state;
    change_fails(alice, NULL, QUERY("<remove/><username>alice</username>"), GR_BAD_REQUEST);
    h_iq_error(alice, "set", "bob@localhost", QUERY("<remove/>"), GR_FORBIDDEN);
    assert_int_equal(seen.removed, 0);
    seen.who = alice;
    h_send(alice, "<iq type='set' id='bye'>" QUERY("<remove/>") "</iq>");
    assert_int_equal(seen.removed, 1);
    assert_true(seen.result_first);
    h_expect_xml(alice, "<iq type='result' id='bye' from='alice@localhost' "
                        "to='alice@localhost/a'/>");
    h_expect_nothing(alice);
    h_expect_closed(&alice, "not-authorized");
    h_expect_closed(&other, "not-authorized");
    assert_null(h_closed(bob));
    assert_false(password_is(h, "alice@localhost", "secret"));
    h_stop(&h);
}

static void removal_through_the_host(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    seen.who = alice;
    h_send(alice, "<iq type='set' id='bye' to='localhost'>" QUERY("<remove/>") "</iq>");
    assert_true(seen.result_first);
    h_expect_xml(alice, "<iq type='result' id='bye' from='localhost' to='alice@localhost/a'/>");
    h_expect_closed(&alice, "not-authorized");
    h_stop(&h);
}

/* Two clients want the same; both are told, once. */
static void removal_twice(void **state)
{
    struct h *h = start("");
    struct hs *a = h_login(h, "alice@localhost/a"), *b = h_login(h, "alice@localhost/b");

    (void)state;
    h_feed(a, "<iq type='set' id='1'>" QUERY("<remove/>") "</iq>");
    h_feed(b, "<iq type='set' id='2'>" QUERY("<remove/>") "</iq>");
    h_run(h);
    h_expect(a, GR_IQ, GR_TYPE_INVALID, NULL);
    h_expect_nothing(a);
    h_expect(b, GR_IQ, GR_TYPE_INVALID, NULL);
    h_expect_nothing(b);
    h_expect_closed(&a, "not-authorized");
    h_expect_closed(&b, "not-authorized");
    assert_int_equal(seen.removed, 1);
    h_stop(&h);
}

/* The client goes before the modules are through. */
static void removal_and_the_client_goes(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    seen.wait = true;
    h_send(alice, "<iq type='set' id='bye'>" QUERY("<remove/>") "</iq>");
    h_expect_nothing(alice);
    h_disconnect(&alice, false);
    h_enter(h, "alice@localhost");
    gr_resume(seen.hold, GR_OK);
    h_run(h);
    assert_false(password_is(h, "alice@localhost", "secret"));
    h_stop(&h);
}

/* An account without a row of its own, as LDAP would have it. */
static void removal_of_no_account(void **state)
{
    struct h *h = start("");
    struct hs *nobody = h_login(h, "nobody@localhost/a");

    (void)state;
    drop_account(h, "nobody");
    change_fails(nobody, NULL, QUERY("<remove/>"), GR_REGISTRATION_REQUIRED);
    change_fails(nobody, NULL, ASK("nobody", "calliope-2"), GR_REGISTRATION_REQUIRED);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(an_account_is_made),
        cmocka_unit_test(the_stream_waits_meanwhile),
        cmocka_unit_test(the_stream_breaks_meanwhile),
        cmocka_unit_test(fields_that_are_not_acceptable),
        cmocka_unit_test(a_name_that_is_not_portable),
        cmocka_unit_test(the_name_is_taken),
        cmocka_unit_test(one_account_per_stream),
        cmocka_unit_test(too_many_attempts),
        cmocka_unit_test(accounts_per_address),
        cmocka_unit_test(accounts_in_all),
        cmocka_unit_test(only_over_tls),
        cmocka_unit_test(the_stream_feature),
        cmocka_unit_test(what_is_not_ours),
        cmocka_unit_test(removal_before_login),
        cmocka_unit_test(redirection),
        cmocka_unit_test(welcome_and_watchers),
        cmocka_unit_test(a_provider_that_makes_no_accounts),
        cmocka_unit_test(a_provider_that_refuses),
        cmocka_unit_test(an_answer_that_comes_too_late),
        cmocka_unit_test(what_is_on_file),
        cmocka_unit_test(the_password_is_changed),
        cmocka_unit_test(the_password_is_not_changed),
        cmocka_unit_test(users_may_be_refused),
        cmocka_unit_test(strangers_of_another_host),
        cmocka_unit_test(an_account_removes_itself),
        cmocka_unit_test(removal_through_the_host),
        cmocka_unit_test(removal_twice),
        cmocka_unit_test(removal_and_the_client_goes),
        cmocka_unit_test(removal_of_no_account),
    };

    return H_RUN("register", cases);
}
