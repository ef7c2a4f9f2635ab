/* tests/mod/test_login_removed.c: accounts that are removed, get another password or owner, or are disabled
 * between the auth provider's yes and the open session; what becomes of sessions and of tokens then.
 * First with a provider of the test's own, which does all that in the very moment of its answer; then with
 * the built-in one. */
#include "raw.h"

#include "mod/instance.h"
#include "route/session.h"
#include "store/engine.h"
#include "stream/auth.h"
#include "stream/scram_client.h"

#include <stdio.h>

#define HOST "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n"
#define MODULES "[mod_fast]\ntoken_rotation = 10m\n[mod_auth_token]\nrefresh_validity = 2d\n" \
                "[mod_register]\nrequire_tls = no\n[mod_stream_management]\n"
#define S2 "urn:xmpp:sasl:2"
#define SM "urn:xmpp:sm:3"
#define NS_TOKENS "erlang-solutions.com:xmpp:token-auth:0"
#define AGENT "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
#define REQUEST "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
#define BIND2 "<bind xmlns='urn:xmpp:bind:0'/>"
#define MAY_NOT "The account may not log in any more"

/* --- a provider with one account, juliet, whose fate turns when it is asked --- */

enum fate { LIVES, REMOVED, CHANGED, REPLACED, DISABLED, VANISHED };
enum place { NOWHERE, AT_CHECK, AT_KEYS, AT_STATE };

static bool ours;               /* it is installed at the next start */
static struct {
    enum gr_result state;
    uint8_t keys[CREDS_ENCODED_MAX];
    size_t keys_len;
    enum fate fate;
    enum place place;
    unsigned asked;             /* so many times more, then it is met */
    bool hold;                  /* user_state waits */
    struct gr_ask *held;
    enum gr_result held_result;
    bool broken;                /* user_state cannot tell */
} juliet;

static void on_done(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    assert_int_equal(a->result, GR_R_OK);
}

static void meet(struct gr_mod *self, enum place place)
{
    enum fate fate = juliet.fate;

    if (juliet.place != place || --juliet.asked > 0)
        return;
    juliet.place = NOWHERE;
    if (fate == DISABLED)
        juliet.state = GR_R_FALSE;
    if (fate == VANISHED) /* behind the server's back */
        juliet.state = GR_R_NONE;
    if (fate == CHANGED)
        gr_auth_set_password(self, gr_ask_new(self, 1, on_done), "juliet", "other");
    if (fate == REMOVED || fate == REPLACED)
        gr_auth_delete(self, gr_ask_new(self, 1, on_done), "juliet");
    if (fate == REPLACED)
        gr_auth_create(self, gr_ask_new(self, 1, on_done), "juliet", "hers");
}

static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    enum gr_result result = strcmp(password, "secret") == 0 ? juliet.state : GR_R_FALSE;

    (void)inst, (void)user;
    meet(self, AT_CHECK);
    gr_answer_result(ask, result);
}

static void get_credentials(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    struct gr_answer a = { .result = juliet.state, .creds = juliet.keys, .creds_len = juliet.keys_len };

    (void)inst, (void)user;
    meet(self, AT_KEYS);
    gr_answer(ask, &a);
}

static void user_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    enum gr_result result = juliet.state;

    (void)inst, (void)user;
    meet(self, AT_STATE);
    if (juliet.broken) {
        gr_answer_error(ask, GR_SERVICE_UNAVAILABLE, NULL);
    } else if (juliet.hold) {
        juliet.held = ask;
        juliet.held_result = result;
        juliet.hold = false;
    } else {
        gr_answer_result(ask, result);
    }
}

static void create_user(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    juliet.state = GR_R_OK;
    gr_answer_result(ask, GR_R_OK);
}

static void set_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                         const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    gr_answer_result(ask, GR_R_OK);
}

static void delete_user(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)self, (void)inst, (void)user;
    juliet.state = GR_R_NONE;
    gr_answer_result(ask, GR_R_OK);
}

static const struct gr_auth_provider provider = {
    .name = "fateful", .complete = true, .check_password = check_password,
    .get_credentials = get_credentials, .user_state = user_state, .create_user = create_user,
    .set_password = set_password, .delete_user = delete_user,
};
static const struct gr_auth_provider says_little = {
    .name = "terse", .check_password = check_password,
};
static const struct gr_auth_provider *installed;

static int start_tester(struct gr_mod *self, const char **why)
{
    (void)why;
    if (ours)
        gr_provide_auth(self, installed, 1000);
    return 0;
}

/* Somebody who takes his time, in front of those whose tokens are to go. */
static bool slow;
static struct gr_hold *slow_hold;

static enum gr_verdict on_change(struct gr_mod *self, struct gr_user_ev *ev)
{
    slow_hold = slow ? gr_hold(self, &ev->ev) : NULL;
    return slow_hold != NULL ? GR_PENDING : GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(password_changed, GR_PRIO_POLICY, on_change), GR_HOOK_END
};
static const struct gr_module tester = { .name = "tester", .start = start_tester, .hooks = hooks };

static struct h *begin(const struct gr_auth_provider *with)
{
    static const uint8_t secret[32] = { 1 };
    static const uint32_t iterations[SCRAM_HASHES] = { 4096, 4096, 4096 };
    struct creds creds;
    struct h *h;

    memset(&juliet, 0, sizeof(juliet));
    juliet.state = GR_R_OK;
    assert_int_equal(creds_make("secret", 6, SCRAM_BIT(SCRAM_SHA256), iterations, &creds), 0);
    juliet.keys_len = creds_encode(&creds, juliet.keys, sizeof(juliet.keys));
    auth_set_secret(secret, sizeof(secret));
    ours = with != NULL;
    installed = with;
    h_module(&tester);
    h = h_start(HOST MODULES);
    if (with == NULL)
        h_user(h, "juliet@localhost");
    return h;
}

static void destine(enum fate fate, enum place place, unsigned asked)
{
    juliet.state = GR_R_OK;
    juliet.fate = fate;
    juliet.place = place;
    juliet.asked = asked;
}

/* --- logging in --- */

static const char *known = "secret"; /* what the client takes for the password */

/* What stands behind `from` in what came, up to `end`. */
static void copy_from(const struct raw *r, const char *from, char end, char *out, size_t size)
{
    const char *at = strstr(r->got, from);

    if (at == NULL)
        fail_msg("no \"%s\" in \"%s\"", from, r->got);
    at += strlen(from);
    snprintf(out, size, "%.*s", (int)(strchr(at, end) - at), at);
}

static char *base64(const void *data, size_t len)
{
    char *text = gr_alloc(4 * ((len + 2) / 3) + 1);

    gr_base64_encode(text, data, len);
    return text;
}

static void say_first(struct raw *r, bool sasl2, const char *mech, const char *coded, const char *more)
{
    char *xml = sasl2 ? gr_asprintf("<authenticate xmlns='" S2 "' mechanism='%s'><initial-response>%s"
                                    "</initial-response>" AGENT "%s</authenticate>", mech, coded, more)
                      : gr_asprintf("<auth xmlns='" SASL_NS "' mechanism='%s'>%s</auth>", mech, coded);

    raw_say(r, xml);
    gr_free(xml);
}

static void say_plain(struct raw *r, bool sasl2, const char *password, const char *more)
{
    size_t len = 8 + strlen(password);
    char *text = gr_asprintf(" juliet %s", password), *coded;

    text[0] = text[7] = '\0';
    coded = base64(text, len);
    say_first(r, sasl2, "PLAIN", coded, more);
    gr_free(coded);
    gr_free(text);
}

static void say_scram(struct raw *r, bool sasl2, const char *more)
{
    const struct scram_client_conf conf = { .hash = SCRAM_SHA256, .username = "juliet",
                                            .password = known, .flag = 'n' };
    struct scram_client client = { 0 };
    struct buf out = { 0 };
    char challenge[512], message[512], *coded, *xml;
    int n;

    scram_client_first(&client, &conf, &out);
    coded = base64(buf_data(&out), buf_len(&out));
    say_first(r, sasl2, "SCRAM-SHA-256", coded, more);
    gr_free(coded);
    buf_fini(&out);
    copy_from(r, sasl2 ? "<challenge xmlns='" S2 "'>" : "<challenge xmlns='" SASL_NS "'>", '<',
              challenge, sizeof(challenge));
    n = gr_base64_decode(message, challenge, strlen(challenge));
    assert_true(n > 0);
    assert_int_equal(scram_client_final(&client, message, (size_t)n, &out), 0);
    coded = base64(buf_data(&out), buf_len(&out));
    xml = gr_asprintf("<response xmlns='%s'>%s</response>", sasl2 ? S2 : SASL_NS, coded);
    raw_say(r, xml);
    gr_free(xml);
    gr_free(coded);
    buf_fini(&out);
    scram_client_fini(&client);
}

static void say_fast(struct raw *r, const char *token, const char *attributes, const char *more)
{
    uint8_t text[64] = "juliet", mac[CREDS_KEY_MAX];
    char *all = gr_asprintf("<fast xmlns='urn:xmpp:fast:0' %s/>%s", attributes, more), *coded;

    scram_hmac(SCRAM_SHA256, token, strlen(token), "Initiator", 9, mac);
    memcpy(text + 7, mac, 32);
    coded = base64(text, 39);
    say_first(r, true, "HT-SHA-256-NONE", coded, all);
    gr_free(coded);
    gr_free(all);
}

enum way { PLAIN_1, PLAIN_2, SCRAM_1, SCRAM_2, FAST, OAUTH_1, OAUTH_2, WAYS };

struct tokens {
    char fast[64], access[512], refresh[512];
};

static bool is_sasl2(enum way way)
{
    return way == PLAIN_2 || way == SCRAM_2 || way == FAST || way == OAUTH_2;
}

static void log_in(struct raw *r, enum way way, const struct tokens *t, const char *more)
{
    if (way == PLAIN_1 || way == PLAIN_2)
        say_plain(r, is_sasl2(way), known, more);
    else if (way == SCRAM_1 || way == SCRAM_2)
        say_scram(r, is_sasl2(way), more);
    else if (way == FAST)
        say_fast(r, t->fast, "", more);
    else
        say_first(r, is_sasl2(way), "X-OAUTH", t->access, more);
}

static void ask_tokens(struct raw *r)
{
    raw_say(r, "<iq type='get' id='t'><query xmlns='" NS_TOKENS "'/></iq>");
}

static struct tokens get_tokens(struct h *h)
{
    struct raw r = raw_open(h);
    struct tokens t;

    say_plain(&r, true, "secret", BIND2 REQUEST);
    copy_from(&r, " token='", '\'', t.fast, sizeof(t.fast));
    ask_tokens(&r);
    copy_from(&r, "<access_token>", '<', t.access, sizeof(t.access));
    copy_from(&r, "<refresh_token>", '<', t.refresh, sizeof(t.refresh));
    raw_say(&r, "</stream:stream>");
    raw_close(&r);
    return t;
}

static void expect_nothing_of(const struct raw *r, const char *part)
{
    if (strstr(r->got, part) != NULL)
        fail_msg("\"%s\" in \"%s\"", part, r->got);
}

/* Up to the resource, or to where it is refused. */
static void bind_if_asked(struct raw *r, enum way way)
{
    if (is_sasl2(way) || strstr(r->got, "<stream:error>") != NULL)
        return;
    raw_expect(r, "<success");
    raw_header(r);
    raw_expect(r, BIND_NS);
    raw_bind(r, "x");
}

static size_t bound(struct h *h)
{
    loop_enter(loop_at(h_home(h, "juliet@localhost")));
    return route_loop()->bound;
}

/* --- in the moment of the provider's answer --- */

static const struct { enum place place; unsigned asked; } last_word[WAYS] = {
    [PLAIN_1] = { AT_CHECK, 1 }, [PLAIN_2] = { AT_CHECK, 1 },
    [SCRAM_1] = { AT_KEYS, 2 }, [SCRAM_2] = { AT_KEYS, 2 },
    [FAST] = { AT_STATE, 1 }, [OAUTH_1] = { AT_STATE, 1 }, [OAUTH_2] = { AT_STATE, 1 },
};

static void nobody_is_disturbed(void **state)
{
    struct h *h = begin(&provider);
    struct tokens t = get_tokens(h);

    (void)state;
    for (enum way way = 0; way < WAYS; way++) {
        struct raw r = raw_open(h);

        log_in(&r, way, &t, BIND2);
        bind_if_asked(&r, way);
        raw_expect(&r, is_sasl2(way) ? "<bound" : "<jid>juliet@localhost/x</jid>");
        assert_int_equal(bound(h), 1);
        raw_close(&r);
    }
    h_stop(&h);
}

/* The proof was right, and is worth nothing by the time it has come home. */
static void no_session_opens(void **state)
{
    static const enum fate fates[] = { REMOVED, CHANGED, REPLACED };
    struct h *h = begin(&provider);

    (void)state;
    for (size_t i = 0; i < GR_COUNT(fates); i++) {
        for (enum way way = 0; way < WAYS; way++) {
            struct tokens t;
            struct raw r;

            destine(LIVES, NOWHERE, 0);
            t = get_tokens(h);
            r = raw_open(h);
            destine(fates[i], last_word[way].place, last_word[way].asked);
            log_in(&r, way, &t, BIND2 REQUEST);
            assert_int_equal(juliet.place, NOWHERE);
            raw_expect(&r, "<reset");
            expect_nothing_of(&r, "<token");
            expect_nothing_of(&r, "<bound");
            assert_true(r.eof);
            assert_int_equal(bound(h), 0);
            raw_close(&r);
        }
    }
    h_stop(&h);
}

/* Nobody tells when an account is disabled: it is asked before the session opens. */
static void not_for_one_that_is_disabled(void **state)
{
    struct h *h = begin(&provider);

    (void)state;
    for (enum way way = 0; way < WAYS; way++) {
        struct tokens t;
        struct raw r;

        destine(LIVES, NOWHERE, 0);
        t = get_tokens(h);
        r = raw_open(h);
        destine(DISABLED, last_word[way].place, last_word[way].asked);
        log_in(&r, way, &t, BIND2 REQUEST);
        bind_if_asked(&r, way);
        raw_expect(&r, MAY_NOT);
        expect_nothing_of(&r, "<token");
        assert_true(r.eof);
        assert_int_equal(bound(h), 0);
        raw_close(&r);
    }
    h_stop(&h);
}

/* The provider says yes, late; the account goes in between, and its removal finds the session. */
static void removed_while_the_provider_thinks(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct h *h = begin(&provider);
        struct raw r = raw_open(h);
        struct gr_mod *self;

        if (i == 0) {
            say_plain(&r, false, "secret", "");
            raw_header(&r);
            juliet.hold = true;
            raw_bind(&r, "x");
        } else {
            juliet.hold = true;
            say_plain(&r, true, "secret", BIND2);
            expect_nothing_of(&r, "<success");
        }
        assert_non_null(juliet.held);
        self = h_mod(h, "tester", "juliet@localhost");
        gr_auth_delete(self, gr_ask_new(self, 1, on_done), "juliet");
        raw_run(&r);
        raw_expect(&r, "User removed");
        h_enter(h, "juliet@localhost");
        gr_answer_result(juliet.held, juliet.held_result);
        raw_run(&r);
        expect_nothing_of(&r, "<jid>");
        expect_nothing_of(&r, "<bound");
        assert_int_equal(bound(h), 0);
        raw_close(&r);
        h_stop(&h);
    }
}

/* Not let in, and not thrown out either. */
static void the_provider_cannot_tell(void **state)
{
    struct h *h = begin(&provider);
    struct raw r = raw_open(h);

    (void)state;
    say_plain(&r, false, "secret", "");
    raw_header(&r);
    juliet.broken = true;
    raw_bind(&r, "x");
    raw_expect(&r, "<service-unavailable");
    assert_int_equal(bound(h), 0);
    juliet.broken = false;
    raw_bind(&r, "x");
    raw_expect(&r, "<jid>juliet@localhost/x</jid>");
    raw_close(&r);
    h_stop(&h);
}

/* The built-in one below knows no such account; whoever checked the password does. */
static void the_provider_does_not_say(void **state)
{
    struct h *h = begin(&says_little);
    struct raw r = raw_open(h);

    (void)state;
    say_plain(&r, false, "secret", "");
    bind_if_asked(&r, PLAIN_1);
    raw_expect(&r, "<jid>juliet@localhost/x</jid>");
    raw_close(&r);
    h_stop(&h);
}

/* --- sessions that are resumed --- */

/* A session with that resource, which can be resumed; its id. */
static struct raw resumable(struct h *h, const char *password, const char *resource, char id[64])
{
    struct raw r = raw_open(h);

    say_plain(&r, false, password, "");
    raw_expect(&r, "<success");
    raw_header(&r);
    raw_bind(&r, resource);
    raw_expect(&r, "<jid>");
    raw_say(&r, "<enable xmlns='" SM "' resume='true'/>");
    copy_from(&r, " id='", '\'', id, 64);
    return r;
}

static void resume(struct raw *r, struct h *h, const char *password, const char *id, bool within)
{
    char *el = gr_asprintf("<resume xmlns='" SM "' h='0' previd='%s'/>", id);

    *r = raw_open(h);
    say_plain(r, within, password, el);
    if (!within && strstr(r->got, "<success") != NULL) {
        raw_header(r);
        raw_say(r, el);
    }
    gr_free(el);
}

/* Disabled or gone after its login, of which nobody was told. */
static void resumption_asks_as_well(void **state)
{
    static const enum fate fates[] = { DISABLED, VANISHED };
    struct h *h = begin(&provider);

    (void)state;
    for (size_t i = 0; i < 2 * GR_COUNT(fates); i++) {
        char id[64], *el;
        struct raw r = resumable(h, "secret", "x", id), again = raw_open(h);

        raw_close(&r);
        el = gr_asprintf("<resume xmlns='" SM "' h='0' previd='%s'/>", id);
        destine(fates[i / 2], AT_CHECK, 1);
        say_plain(&again, i % 2 == 1, "secret", el);
        if (i % 2 == 0) {
            raw_expect(&again, "<success");
            raw_header(&again);
            raw_say(&again, el);
        }
        gr_free(el);
        raw_expect(&again, MAY_NOT);
        expect_nothing_of(&again, "<resumed");
        assert_true(again.eof);
        assert_int_equal(bound(h), 0); /* nobody can come back to the other one either */
        raw_close(&again);
        destine(LIVES, NOWHERE, 0);
    }
    h_stop(&h);
}

/* The account went while the server was down. */
static void no_session_comes_back_without_an_account(void **state)
{
    static const enum gr_result now[] = { GR_R_OK, GR_R_NONE, GR_R_FALSE };
    struct h *h = begin(&provider);

    (void)state;
    for (size_t i = 0; i < GR_COUNT(now); i++) {
        char id[64];
        struct raw r = resumable(h, "secret", "x", id);

        raw_close(&r);
        assert_int_equal(bound(h), 1);
        juliet.state = now[i];
        h_restart(h);
        assert_int_equal(bound(h), now[i] == GR_R_OK);
        destine(LIVES, NOWHERE, 0);
        resume(&r, h, "secret", id, false);
        raw_expect(&r, now[i] == GR_R_OK ? "<resumed" : "<item-not-found");
        raw_say(&r, "</stream:stream>");
        raw_close(&r);
    }
    h_stop(&h);
}

/* Stanzas behind <resume/> wait for the provider, too. */
static void resumption_waits_for_the_answer(void **state)
{
    struct h *h = begin(&provider);
    char id[64], *xml;
    struct raw r = resumable(h, "secret", "x", id), again = raw_open(h);

    (void)state;
    raw_close(&r);
    say_plain(&again, false, "secret", "");
    raw_header(&again);
    juliet.hold = true;
    xml = gr_asprintf("<resume xmlns='" SM "' h='0' previd='%s'/>"
                      "<iq type='get' id='t'><query xmlns='" NS_TOKENS "'/></iq>", id);
    raw_say(&again, xml);
    gr_free(xml);
    assert_string_equal(again.got, "");
    h_enter(h, "juliet@localhost");
    gr_answer_result(juliet.held, juliet.held_result);
    raw_run(&again);
    raw_expect(&again, "<resumed");
    raw_expect(&again, "<access_token>");
    raw_close(&again);
    h_stop(&h);
}

/* The session ends while the provider is asked whether it may be resumed: what its client sends next is read. */
static void it_ends_before_it_is_resumed(void **state)
{
    struct h *h = begin(&provider);
    char id[64], *xml;
    struct raw r = resumable(h, "secret", "x", id), again = raw_open(h);
    struct gr_jid *jid;
    struct gr_mod *self;

    (void)state;
    raw_close(&r);
    say_plain(&again, false, "secret", "");
    raw_header(&again);
    juliet.hold = true;
    xml = gr_asprintf("<resume xmlns='" SM "' h='0' previd='%s'/>"
                      "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", id);
    raw_say(&again, xml);
    gr_free(xml);
    assert_int_equal(gr_jid_parse("juliet@localhost", 16, &jid), 0);
    self = h_mod(h, "stream_management", "juliet@localhost");
    gr_session_close(self, gr_account_next(gr_account_find(self, jid), NULL), NULL, NULL, true);
    gr_jid_free(&jid);
    raw_run(&again);
    raw_expect(&again, "<item-not-found");
    h_enter(h, "juliet@localhost");
    gr_answer_result(juliet.held, juliet.held_result);
    raw_run(&again);
    raw_expect(&again, "<jid>");
    raw_close(&again);
    h_stop(&h);
}

/* It is told to try again, and nothing that comes later makes another thing of it. */
static void resumption_does_not_wait_for_ever(void **state)
{
    struct h *h = begin(&provider);

    (void)state;
    for (int within = 0; within < 2; within++) {
        char id[64], *xml;
        struct raw r = resumable(h, "secret", within ? "y" : "x", id), again = raw_open(h);

        raw_close(&r);
        xml = gr_asprintf("<resume xmlns='" SM "' h='0' previd='%s'/>", id);
        if (within)
            juliet.hold = true;
        say_plain(&again, within, "secret", within ? xml : "");
        if (!within) {
            raw_header(&again);
            juliet.hold = true;
            raw_say(&again, xml);
        }
        gr_free(xml);
        assert_false(juliet.hold);
        h_advance(h, 20001);
        raw_run(&again);
        raw_expect(&again, "<resource-constraint");
        h_enter(h, "juliet@localhost");
        gr_answer_result(juliet.held, juliet.held_result);
        raw_run(&again);
        expect_nothing_of(&again, "<resumed");
        assert_true(again.eof);
        raw_close(&again);
        resume(&r, h, "secret", id, false);
        raw_expect(&r, "<resumed");
        raw_close(&r);
    }
    h_stop(&h);
}

/* --- a new password --- */

static void expect_tokens_refused(struct h *h, const struct tokens *t, const char *condition)
{
    struct raw r = raw_open(h);

    say_fast(&r, t->fast, "", BIND2);
    raw_expect(&r, condition);
    say_first(&r, true, "X-OAUTH", t->access, BIND2);
    raw_expect(&r, condition);
    raw_close(&r);
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", t->refresh, BIND2);
    raw_expect(&r, condition);
    raw_close(&r);
}

static void change_password(struct raw *r, const char *password)
{
    char *xml = gr_asprintf("<iq type='set' id='p'><query xmlns='jabber:iq:register'><username>juliet"
                            "</username><password>%s</password></query></iq>", password);

    raw_say(r, xml);
    raw_expect(r, "type='result' id='p'");
    gr_free(xml);
}

/* Whoever came in with the old one is out: connected, waiting for its client, about to bind. */
static void other_sessions_end(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);
    char own[64], kept[64], live[64];
    struct raw mine = resumable(h, "secret", "own", own), gone = resumable(h, "secret", "kept", kept);
    struct raw other = resumable(h, "secret", "live", live), nearly = raw_open(h), r;

    (void)state;
    raw_close(&gone);
    say_plain(&nearly, false, "secret", "");
    raw_header(&nearly);
    assert_int_equal(bound(h), 3);
    change_password(&mine, "calliope-2");
    raw_run(&other);
    raw_expect(&other, "<reset");
    assert_true(other.eof);
    raw_run(&nearly);
    raw_expect(&nearly, "<reset");
    assert_true(nearly.eof);
    assert_int_equal(bound(h), 1);
    /* Nothing of theirs is good for anything. */
    for (int within = 0; within < 2; within++) {
        resume(&r, h, "calliope-2", within ? kept : live, within);
        raw_expect(&r, "<item-not-found");
        raw_close(&r);
    }
    expect_tokens_refused(h, &t, "<not-authorized");
    /* The one that changed it goes on as before. */
    ask_tokens(&mine);
    raw_expect(&mine, "<access_token>");
    raw_close(&mine);
    resume(&mine, h, "calliope-2", own, false);
    raw_expect(&mine, "<resumed");
    raw_close(&mine);
    raw_close(&other);
    raw_close(&nearly);
    h_stop(&h);
}

/* An admin has changed it: all are out, before the old tokens are: a session that outlived those could
 * ask for new ones. */
static void all_sessions_end(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);
    struct raw r = raw_open(h);
    struct gr_mod *self;

    (void)state;
    say_plain(&r, true, "secret", BIND2);
    raw_expect(&r, "<bound");
    h_hold_store(h, true);
    self = h_mod(h, "fast", "juliet@localhost");
    gr_auth_set_password(self, gr_ask_new(self, 1, on_done), "juliet", "calliope-2");
    h_run(h);
    h_commit(h); /* the password; the tokens go with the next commit */
    raw_run(&r);
    raw_expect(&r, "<reset");
    assert_true(r.eof);
    raw_close(&r);
    h_hold_store(h, false);
    expect_tokens_refused(h, &t, "<not-authorized");
    h_stop(&h);
}

/* The old tokens go one after the other; who logs in with one that is still there does not stay. */
static void in_the_midst_of_a_change(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);
    struct gr_mod *self = h_mod(h, "fast", "juliet@localhost");
    struct raw r;

    (void)state;
    slow = true;
    gr_auth_set_password(self, gr_ask_new(self, 1, on_done), "juliet", "calliope-2");
    h_run(h);
    slow = false;
    assert_non_null(slow_hold);
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", t.access, BIND2);
    raw_expect(&r, "<bound");
    h_enter(h, "juliet@localhost");
    gr_resume(slow_hold, GR_OK);
    raw_run(&r);
    raw_expect(&r, "<reset");
    assert_true(r.eof);
    raw_close(&r);
    expect_tokens_refused(h, &t, "<not-authorized");
    h_stop(&h);
}

/* --- tokens of accounts that are not what they were --- */

static void tokens_of_a_disabled_account(void **state)
{
    struct h *h = begin(&provider);
    struct tokens t = get_tokens(h);
    struct raw r;

    (void)state;
    juliet.state = GR_R_FALSE;
    expect_tokens_refused(h, &t, "<account-disabled");
    juliet.state = GR_R_OK; /* and again they are good */
    r = raw_open(h);
    say_fast(&r, t.fast, "", BIND2);
    raw_expect(&r, "<bound");
    raw_close(&r);
    h_stop(&h);
}

static void tokens_of_the_last_owner(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);

    (void)state;
    assert_int_equal(h_user_delete(h, "juliet@localhost"), GR_R_OK);
    expect_tokens_refused(h, &t, "<not-authorized");
    assert_int_equal(h_user_create(h, "juliet@localhost", "secret"), GR_R_OK);
    expect_tokens_refused(h, &t, "<not-authorized");
    get_tokens(h);
    expect_tokens_refused(h, &t, "<not-authorized");
    h_stop(&h);
}

/* The host goes while a login with a token is under way, and comes back. */
static void tokens_of_a_host_that_went(void **state)
{
    static const char others[] = "[host example.net]\nsasl2 = always\nplain = always\n";
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);
    char *with = gr_asprintf(HOST MODULES "%s", others);
    struct raw r = raw_open(h);

    (void)state;
    h_reload(h, others, NULL);
    raw_run(&r);
    raw_expect(&r, "<host-gone");
    raw_close(&r);
    r = raw_accept(h, 0x7f000001);
    raw_header(&r);
    raw_expect(&r, "<host-unknown");
    raw_close(&r);
    h_reload(h, with, NULL); /* nothing was deleted */
    r = raw_open(h);
    say_fast(&r, t.fast, "", BIND2);
    raw_expect(&r, "<bound");
    raw_close(&r);
    raw_run(&r);
    h_command(h, "host purge localhost --yes");
    gr_free(with);
    h_stop(&h);
}

/* --- what a login with a token brings: nothing that is good for longer --- */

static void take(const struct raw *r, struct tokens *t)
{
    copy_from(r, "<access_token>", '<', t->access, sizeof(t->access));
    copy_from(r, "<refresh_token>", '<', t->refresh, sizeof(t->refresh));
}

static void expect_ended(struct h *h, const struct tokens *t)
{
    expect_tokens_refused(h, t, "<credentials-expired");
}

/* Whatever is fetched with it, and with what was fetched with that: it ends with the first one. */
static void nothing_outlives_an_access_token(void **state)
{
    struct h *h = begin(NULL);
    struct tokens first = get_tokens(h), second, third;
    struct raw r, late = raw_open(h);

    (void)state;
    say_first(&late, false, "X-OAUTH", first.access, "");
    bind_if_asked(&late, OAUTH_1);
    raw_expect(&late, "<jid>");
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", first.access, BIND2 REQUEST);
    copy_from(&r, " token='", '\'', second.fast, sizeof(second.fast));
    ask_tokens(&r);
    take(&r, &second);
    raw_close(&r);
    h_advance(h, 30 * GR_MINUTE);
    r = raw_open(h);
    say_fast(&r, second.fast, "", BIND2); /* brings another one, for it is time to */
    copy_from(&r, " token='", '\'', third.fast, sizeof(third.fast));
    ask_tokens(&r);
    take(&r, &third);
    raw_close(&r);
    h_advance(h, 29 * GR_MINUTE);
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", third.refresh, BIND2);
    raw_expect(&r, "<bound");
    raw_close(&r);
    r = raw_open(h);
    say_fast(&r, third.fast, "", BIND2);
    raw_expect(&r, "<bound");
    copy_from(&r, " token='", '\'', third.fast, sizeof(third.fast));
    h_advance(h, GR_MINUTE);
    ask_tokens(&late);
    raw_expect(&late, "<not-authorized");
    expect_nothing_of(&late, "_token>");
    ask_tokens(&r);
    raw_expect(&r, "<not-authorized");
    raw_close(&r);
    raw_close(&late);
    expect_ended(h, &third);
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", second.refresh, BIND2);
    raw_expect(&r, "<credentials-expired");
    say_first(&r, true, "X-OAUTH", first.refresh, BIND2); /* got with the password */
    raw_expect(&r, "<bound");
    raw_close(&r);
    h_stop(&h);
}

/* Used as often as one likes, but not prolonged by that. */
static void nothing_outlives_a_refresh_token(void **state)
{
    struct h *h = begin(NULL);
    struct tokens first = get_tokens(h), second, third;
    struct raw r;

    (void)state;
    h_advance(h, 2 * GR_DAY - GR_HOUR / 2);
    for (int i = 0; i < 2; i++) {
        r = raw_open(h);
        say_first(&r, true, "X-OAUTH", first.refresh, BIND2 REQUEST);
        copy_from(&r, " token='", '\'', second.fast, sizeof(second.fast));
        copy_from(&r, "<additional-data>", '<', third.access, sizeof(third.access));
        ask_tokens(&r);
        take(&r, &second);
        raw_close(&r);
    }
    h_advance(h, GR_HOUR / 2);
    expect_ended(h, &second);
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", third.access, BIND2);
    raw_expect(&r, "<credentials-expired");
    raw_close(&r);
    h_stop(&h);
}

/* What is good for a short while, nobody knows how short, brings nothing at all. */
static void nothing_for_a_session_token(void **state)
{
    struct h *h = begin(NULL);
    struct raw r = raw_open(h);
    char token[GR_TOKEN_SIZE];

    (void)state;
    assert_true(gr_token_issue(h_mod(h, "fast", "localhost"), "juliet", token) > 0);
    say_plain(&r, true, token, BIND2 REQUEST);
    raw_expect(&r, "<bound");
    expect_nothing_of(&r, "<token");
    ask_tokens(&r);
    raw_expect(&r, "<not-authorized");
    raw_close(&r);
    h_stop(&h);
}

/* The session was opened with the password, the one who has it now was not. */
static void resumption_lends_no_password(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h), got;
    char id[64], *el;
    struct raw r = resumable(h, "secret", "x", id);

    (void)state;
    raw_close(&r);
    r = raw_open(h);
    el = gr_asprintf("<resume xmlns='" SM "' h='0' previd='%s'/>", id);
    say_first(&r, true, "X-OAUTH", t.access, el);
    raw_expect(&r, "<resumed");
    gr_free(el);
    ask_tokens(&r);
    take(&r, &got);
    h_advance(h, GR_HOUR);
    raw_close(&r);
    r = raw_open(h);
    say_first(&r, true, "X-OAUTH", got.refresh, BIND2);
    raw_expect(&r, "<credentials-expired");
    raw_close(&r);
    h_stop(&h);
}

/* --- rows of before that was so --- */

static uint8_t row[1024];
static size_t row_len;

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    assert_int_equal(rows->rc, 0);
    if (rows->count == 0)
        return;
    row_len = rows->row[0].val_len;
    memcpy(row, rows->row[0].val, row_len);
}

static void rows_of_earlier_versions(void **state)
{
    static const char id[] = "d4565fa7-4d72-4749-b3d3-740edbf87770";
    const size_t token = 1 + 16 + 3 * 8; /* then came the eight bytes that are new */
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);
    struct gr_mod *self = h_mod(h, "fast", "juliet@localhost");
    const struct gr_coll *coll = &self->desc->collections[0];
    struct gr_txn *txn;
    struct raw r;

    (void)state;
    gr_store_get(gr_req_new(self, 0, on_row), coll, "juliet@localhost", id, sizeof(id) - 1);
    h_run(h);
    assert_int_equal(row[0], 2);
    row[0] = 1;
    for (size_t at = 1 + token, i = 0; i < 2; at += token, i++, row_len -= 8)
        memmove(row + at, row + at + 8, row_len - at - 8);
    h_enter(h, "juliet@localhost");
    txn = gr_txn_new(self);
    gr_txn_put(txn, coll, "juliet@localhost", id, sizeof(id) - 1, row, row_len);
    gr_txn_commit(txn, NULL);
    h_run(h);
    h_advance(h, GR_DAY);
    r = raw_open(h);
    say_fast(&r, t.fast, "", BIND2);
    raw_expect(&r, " token='");
    raw_close(&r);
    h_stop(&h);
}

/* --- who is told what --- */

static void disable(struct h *h)
{
    struct gr_mod *self = h_mod(h, "auth", "localhost");
    const struct gr_coll *accounts = &auth_module.collections[0];
    struct gr_txn *t;

    gr_store_get(gr_req_new(self, 0, on_row), accounts, "localhost", "juliet", 6);
    h_run(h);
    row[1] = 1; /* its flag */
    t = gr_txn_new(self);
    gr_txn_put(t, accounts, "localhost", "juliet", 6, row, row_len);
    gr_txn_commit(t, NULL);
    h_run(h);
}

/* A proof that is wrong, to an account that may log in, may not, or is not there: all are told the
 * same, word for word. So is the right password of one that may not, where it is said in clear. */
static void strangers_learn_nothing(void **state)
{
    static char told[WAYS][sizeof(((struct raw *)NULL)->got)];
    struct h *h = begin(NULL);

    (void)state;
    for (int round = 0; round < 3; round++) {
        static const struct tokens wrong = { .fast = "x" };

        if (round == 1)
            disable(h);
        if (round == 2)
            assert_int_equal(h_user_delete(h, "juliet@localhost"), GR_R_OK);
        for (enum way way = 0; way < WAYS; way++) {
            struct tokens t = wrong;
            struct raw r = raw_open(h);
            static const char shown[] = "access\0juliet@localhost\09999999999\0"
                                        "0000000000000000000000000000000000000000000000000000000000000"
                                        "00000000000000000000000000000000000";
            char *coded = base64(shown, sizeof(shown) - 1);

            snprintf(t.access, sizeof(t.access), "%s", coded);
            gr_free(coded);
            known = round == 1 && way <= PLAIN_2 ? "secret" : "wrong";
            log_in(&r, way, &t, BIND2);
            known = "secret";
            raw_expect(&r, "<not-authorized");
            if (round == 0)
                memcpy(told[way], r.got, sizeof(r.got));
            assert_string_equal(told[way], r.got);
            raw_close(&r);
        }
    }
    h_stop(&h);
}

/* Wrong tokens count as wrong passwords do. */
static void guesses_at_tokens_are_bounded(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct raw r = raw_open(h);

        for (int n = 0; n < 3; n++) {
            assert_false(r.eof);
            if (i == 0)
                say_fast(&r, "guessed", "", BIND2);
            else
                say_first(&r, true, "X-OAUTH", "YWNjZXNzAGp1bGlldEBsb2NhbGhvc3QAeA==", BIND2);
            raw_expect(&r, "<not-authorized");
        }
        raw_expect(&r, "<policy-violation");
        assert_true(r.eof);
        raw_close(&r);
    }
    struct raw r = raw_open(h); /* and take nothing away from who has it */
    say_fast(&r, t.fast, "", BIND2);
    raw_expect(&r, "<bound");
    raw_close(&r);
    h_stop(&h);
}

/* The very bytes of a login, once more: refused where it counts, also after a crash, before which the
 * count was on disk. Without a count it is TLS that nobody can play again. */
static void a_login_played_again(void **state)
{
    struct h *h = begin(NULL);
    struct tokens t = get_tokens(h);

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct raw r = raw_open(h);

        say_fast(&r, t.fast, "count='1'", BIND2);
        raw_expect(&r, i == 0 ? "<bound" : "<not-authorized");
        raw_close(&r);
        if (i == 1)
            h_restart(h);
    }
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(nobody_is_disturbed),
        cmocka_unit_test(no_session_opens),
        cmocka_unit_test(not_for_one_that_is_disabled),
        cmocka_unit_test(removed_while_the_provider_thinks),
        cmocka_unit_test(the_provider_cannot_tell),
        cmocka_unit_test(the_provider_does_not_say),
        cmocka_unit_test(resumption_asks_as_well),
        cmocka_unit_test(no_session_comes_back_without_an_account),
        cmocka_unit_test(resumption_waits_for_the_answer),
        cmocka_unit_test(it_ends_before_it_is_resumed),
        cmocka_unit_test(resumption_does_not_wait_for_ever),
        cmocka_unit_test(other_sessions_end),
        cmocka_unit_test(all_sessions_end),
        cmocka_unit_test(in_the_midst_of_a_change),
        cmocka_unit_test(tokens_of_a_disabled_account),
        cmocka_unit_test(tokens_of_the_last_owner),
        cmocka_unit_test(tokens_of_a_host_that_went),
        cmocka_unit_test(nothing_outlives_an_access_token),
        cmocka_unit_test(nothing_outlives_a_refresh_token),
        cmocka_unit_test(nothing_for_a_session_token),
        cmocka_unit_test(resumption_lends_no_password),
        cmocka_unit_test(rows_of_earlier_versions),
        cmocka_unit_test(strangers_learn_nothing),
        cmocka_unit_test(guesses_at_tokens_are_bounded),
        cmocka_unit_test(a_login_played_again),
    };

    return H_RUN("login_removed", cases);
}
