/* tests/mod/test_fast.c: mod_fast: tokens are given, used, rotated, used up, counted, bounded and taken
 * away (XEP-0484), in virtual time. Real streams over socket pairs, without TLS ("sasl2 = always"), so
 * HT-SHA-256-NONE; the bindings are tests/wire/test_fast.py's. */
#include "raw.h"

#include "store/engine.h"
#include "stream/auth.h"
#include "stream/creds.h"

#include <errno.h>
#include <stdio.h>

#define HOST "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n"
#define FAST "[mod_fast]\n"
#define S2 "urn:xmpp:sasl:2"
#define AGENT "d4565fa7-4d72-4749-b3d3-740edbf87770"
#define OTHER "00000000-4d72-4749-b3d3-740edbf87770"
#define REQUEST "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
#define TOKEN 64

static struct h *begin(const char *ini)
{
    static const uint8_t secret[32] = { 1 };

    auth_set_secret(secret, sizeof(secret));
    struct h *h = h_start(ini);
    h_user(h, "juliet@localhost");
    return h;
}

static void copy_between(const struct raw *r, const char *from, char *out)
{
    const char *at = strstr(r->got, from), *stop;

    out[0] = '\0';
    if (at != NULL && (stop = strchr(at + strlen(from), '\'')) != NULL)
        snprintf(out, TOKEN, "%.*s", (int)(stop - at - (long)strlen(from)), at + strlen(from));
}

static void say_login(struct raw *r, const char *user, const char *password, const char *agent,
                      const char *more)
{
    char text[256], coded[400], *xml;
    int n = snprintf(text, sizeof(text), " %s %s", user, password);

    text[0] = text[strlen(user) + 1] = '\0';
    gr_base64_encode(coded, text, (size_t)n);
    xml = gr_asprintf("<authenticate xmlns='" S2 "' mechanism='PLAIN'><initial-response>%s"
                      "</initial-response><user-agent id='%s'><software>S</software></user-agent>"
                      "%s</authenticate>", coded, agent, more);
    raw_say(r, xml);
    gr_free(xml);
}

/* The token that a login with the password brings; "": none. */
static void get_token(struct h *h, const char *agent, const char *more, char out[TOKEN])
{
    struct raw r = raw_open(h);

    say_login(&r, "juliet", "secret", agent, more);
    raw_expect(&r, "<success");
    copy_between(&r, " token='", out);
    raw_close(&r);
}

/* What a login with the token is told; a new token, if any, goes to `fresh`. */
static const char *use_as(struct h *h, const char *user, const char *token, const char *agent,
                          const char *mechanism, const char *attributes, const char *more,
                          char *fresh)
{
    static char told[512];
    uint8_t text[128], mac[CREDS_KEY_MAX];
    size_t len = strlen(user) + 1;
    struct raw r = raw_open(h);
    char coded[400], *xml;

    memcpy(text, user, len);
    scram_hmac(SCRAM_SHA256, token, strlen(token), "Initiator", 9, mac);
    memcpy(text + len, mac, 32);
    gr_base64_encode(coded, text, len + 32);
    xml = gr_asprintf("<authenticate xmlns='" S2 "' mechanism='%s'><initial-response>%s"
                      "</initial-response>%s%s%s<fast xmlns='urn:xmpp:fast:0' %s/>%s"
                      "</authenticate>", mechanism, coded, agent != NULL ? "<user-agent id='" : "",
                      agent != NULL ? agent : "", agent != NULL ? "'/>" : "", attributes, more);
    raw_say(&r, xml);
    gr_free(xml);
    snprintf(told, sizeof(told), "%.511s", r.got);
    if (fresh != NULL)
        copy_between(&r, " token='", fresh);
    if (strstr(told, "<success") != NULL) {
        char proof[200], want[300];

        scram_hmac(SCRAM_SHA256, token, strlen(token), "Responder", 9, mac);
        gr_base64_encode(proof, mac, 32);
        snprintf(want, sizeof(want), "<additional-data>%s</additional-data>", proof);
        raw_expect(&r, want);
        snprintf(told, sizeof(told), "success");
    } else {
        const char *at = strstr(told, "'><");

        memmove(told, at != NULL ? at + 3 : "", strlen(at != NULL ? at + 3 : "") + 1);
        told[strcspn(told, " /")] = '\0';
    }
    raw_close(&r);
    return told;
}

static const char *use(struct h *h, const char *token, const char *attributes, char *fresh)
{
    return use_as(h, "juliet", token, AGENT, "HT-SHA-256-NONE", attributes, "", fresh);
}

#define expect_use(h, token, attributes, what) \
    assert_string_equal(use(h, token, attributes, NULL), what)

static void a_token_logs_in(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN], again[TOKEN];

    (void)state;
    get_token(h, AGENT, "", token);
    assert_string_equal(token, ""); /* nobody has asked for it */
    get_token(h, AGENT, REQUEST, token);
    assert_int_equal(strlen(token), 44);
    assert_string_equal(use(h, token, "", again), "success");
    assert_string_equal(again, ""); /* not due */
    expect_use(h, token, "", "success");
    h_restart(h);
    expect_use(h, token, "", "success");
    h_stop(&h);
}

static void tokens_that_are_refused(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN], wrong[TOKEN];

    (void)state;
    h_user(h, "romeo@localhost");
    get_token(h, AGENT, REQUEST, token);
    snprintf(wrong, sizeof(wrong), "%s", token);
    wrong[5] = wrong[5] == 'a' ? 'b' : 'a';
    expect_use(h, wrong, "", "not-authorized");
    expect_use(h, "", "", "not-authorized");
    assert_string_equal(use_as(h, "romeo", token, AGENT, "HT-SHA-256-NONE", "", "", NULL),
                        "not-authorized");
    assert_string_equal(use_as(h, "nobody", token, AGENT, "HT-SHA-256-NONE", "", "", NULL),
                        "not-authorized");
    assert_string_equal(use_as(h, "juliet", token, OTHER, "HT-SHA-256-NONE", "", "", NULL),
                        "not-authorized");
    /* XEP-0484, 4.1: who does not say which client it is has no token. */
    assert_string_equal(use_as(h, "juliet", token, NULL, "HT-SHA-256-NONE", "", "", NULL),
                        "malformed-request");
    assert_string_equal(use_as(h, "juliet", token, "not-a-uuid", "HT-SHA-256-NONE", "", "", NULL),
                        "malformed-request");
    /* Nothing to bind to here, so these are not offered. */
    assert_string_equal(use_as(h, "juliet", token, AGENT, "HT-SHA-256-EXPR", "", "", NULL),
                        "invalid-mechanism");
    expect_use(h, token, "count='x'", "malformed-request");
    expect_use(h, token, "count='-1'", "malformed-request");
    expect_use(h, token, "count='99999999999'", "malformed-request");
    expect_use(h, token, "", "success");
    h_stop(&h);
}

/* A mechanism that is not there, or a client that does not say who it is: no token, no error. */
static void requests_that_bring_nothing(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, "<request-token xmlns='urn:xmpp:fast:0' mechanism='PLAIN'/>", token);
    assert_string_equal(token, "");
    get_token(h, AGENT, "<request-token xmlns='urn:xmpp:fast:0'/>", token);
    assert_string_equal(token, "");
    get_token(h, "nobody", REQUEST, token);
    assert_string_equal(token, "");
    h_stop(&h);
}

/* A token is bound to the mechanism that it was asked for (3.4). */
static void bound_to_a_mechanism(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>",
              token);
    assert_int_equal(strlen(token), 44);
    expect_use(h, token, "", "not-authorized");
    h_stop(&h);
}

static void not_without_the_module_or_the_element(void **state)
{
    struct h *h = begin(HOST);
    struct raw r = raw_open(h);

    (void)state;
    assert_null(strstr(r.got, "urn:xmpp:fast:0"));
    raw_close(&r);
    expect_use(h, "x", "", "invalid-mechanism");
    h_stop(&h);

    h = begin(HOST FAST);
    r = raw_open(h);
    raw_expect(&r, "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast>");
    raw_say(&r, "<authenticate xmlns='" S2 "' mechanism='HT-SHA-256-NONE'><initial-response>AAA="
                "</initial-response></authenticate>");
    raw_expect(&r, "<invalid-mechanism");
    raw_say(&r, "<auth xmlns='" SASL_NS "' mechanism='HT-SHA-256-NONE'>AAA=</auth>");
    raw_expect(&r, "<invalid-mechanism/>");
    raw_close(&r);
    h_stop(&h);
}

static void tokens_expire(void **state)
{
    struct h *h = begin(HOST FAST "token_lifetime = 10d\ntoken_rotation = 9d\n");
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    h_advance(h, 8 * GR_DAY);
    expect_use(h, token, "", "success");
    h_advance(h, 2 * GR_DAY - 1000);
    expect_use(h, token, "", "success");
    h_advance(h, 2000);
    expect_use(h, token, "", "credentials-expired"); /* 4.2 */
    h_stop(&h);
}

/* 3.5: the old one is good until the new one is used. */
static void tokens_rotate(void **state)
{
    struct h *h = begin(HOST FAST);
    char first[TOKEN], lost[TOKEN], second[TOKEN], none[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, first);
    assert_string_equal(use(h, first, "", none), "success");
    assert_string_equal(none, "");
    h_advance(h, GR_DAY + 1000);
    assert_string_equal(use(h, first, "", lost), "success");
    assert_int_equal(strlen(lost), 44);
    assert_string_not_equal(lost, first);
    assert_string_equal(use(h, first, "", second), "success"); /* the answer was lost */
    assert_string_not_equal(second, lost);
    expect_use(h, lost, "", "not-authorized"); /* never used, and another was given out */
    expect_use(h, first, "", "success");
    assert_string_equal(use(h, first, "", second), "success");
    assert_string_equal(use(h, second, "", none), "success");
    assert_string_equal(none, "");
    expect_use(h, first, "", "not-authorized");
    h_stop(&h);
}

/* A count is larger than any before, also after a restart (3.4). */
static void counts_are_kept(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    expect_use(h, token, "count='5'", "success");
    expect_use(h, token, "count='5'", "not-authorized");
    expect_use(h, token, "count='4'", "not-authorized");
    h_restart(h);
    expect_use(h, token, "count='5'", "not-authorized");
    expect_use(h, token, "count='6'", "success");
    expect_use(h, token, "", "success"); /* not from early data: it need not count */
    h_stop(&h);
}

/* Two at once with one count, whose reads wait behind one write and are answered together: only one
 * is let in, and it not before the disk has the count. */
static void a_count_is_good_once(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN], *xml, coded[400];
    uint8_t text[64] = "juliet", mac[CREDS_KEY_MAX];
    struct raw r[2], other;
    int in = 0;

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    scram_hmac(SCRAM_SHA256, token, strlen(token), "Initiator", 9, mac);
    memcpy(text + 7, mac, 32);
    gr_base64_encode(coded, text, 39);
    xml = gr_asprintf("<authenticate xmlns='" S2 "' mechanism='HT-SHA-256-NONE'><initial-response>%s"
                      "</initial-response><user-agent id='" AGENT "'/><fast xmlns='urn:xmpp:fast:0' "
                      "count='7'/></authenticate>", coded);
    for (int i = 0; i < 2; i++)
        r[i] = raw_open(h);
    other = raw_open(h);
    h_hold_store(h, true);
    say_login(&other, "juliet", "secret", OTHER, REQUEST);
    for (int i = 0; i < 2; i++) {
        raw_say(&r[i], xml);
        assert_null(strstr(r[i].got, "<success"));
    }
    h_hold_store(h, false);
    for (int i = 0; i < 2; i++) {
        raw_run(&r[i]);
        in += strstr(r[i].got, "<success") != NULL;
        raw_close(&r[i]);
    }
    assert_int_equal(in, 1);
    raw_close(&other);
    gr_free(xml);
    h_stop(&h);
}

static void clients_may_give_theirs_back(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN], fresh[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    h_advance(h, 2 * GR_DAY);
    assert_string_equal(use(h, token, "invalidate='true'", fresh), "success");
    assert_string_equal(fresh, ""); /* not even if one is due (3.6) */
    expect_use(h, token, "", "not-authorized");
    get_token(h, AGENT, REQUEST, token);
    assert_string_equal(use_as(h, "juliet", token, AGENT, "HT-SHA-256-NONE", "invalidate='1'",
                               REQUEST, fresh), "success");
    assert_int_equal(strlen(fresh), 44);
    expect_use(h, token, "", "not-authorized");
    expect_use(h, fresh, "invalidate='no'", "success");
    h_stop(&h);
}

/* At the bound the client seen longest ago has to give the password again. */
static void clients_are_bounded(void **state)
{
    struct h *h = begin(HOST FAST "max_clients = 3\n");
    char token[5][TOKEN], agent[5][40];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(agent[i], sizeof(agent[i]), "%08x-4d72-4749-b3d3-740edbf87770", 9 - (unsigned)i);
        get_token(h, agent[i], REQUEST, token[i]);
        h_advance(h, GR_DAY / 4);
        if (i == 2)
            expect_use(h, "", "", "not-authorized");
    }
    for (int i = 0; i < 5; i++)
        assert_string_equal(use_as(h, "juliet", token[i], agent[i], "HT-SHA-256-NONE", "", "", NULL),
                            i < 2 ? "not-authorized" : "success");
    get_token(h, agent[2], REQUEST, token[2]); /* no new one */
    for (int i = 2; i < 5; i++)
        assert_string_equal(use_as(h, "juliet", token[i], agent[i], "HT-SHA-256-NONE", "", "", NULL),
                            "success");
    h_stop(&h);
}

/* --- who takes them away --- */

static enum gr_result result;

static void on_done(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    result = a->result;
}

static struct gr_ask *ask_of(struct gr_mod *self)
{
    result = GR_R_ERROR;
    return gr_ask_new(self, 1, on_done);
}

static void set_password(struct h *h, const char *password)
{
    struct gr_mod *self = h_mod(h, "fast", "juliet@localhost");

    gr_auth_set_password(self, ask_of(self), "juliet", password);
    h_run(h);
    assert_int_equal(result, GR_R_OK);
}

static void they_end_with_password_and_account(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    set_password(h, "other");
    expect_use(h, token, "", "not-authorized");
    set_password(h, "secret");
    get_token(h, AGENT, REQUEST, token);
    assert_int_equal(h_user_delete(h, "juliet@localhost"), GR_R_OK);
    expect_use(h, token, "", "not-authorized");
    assert_int_equal(h_user_create(h, "juliet@localhost", "secret"), GR_R_OK);
    expect_use(h, token, "", "not-authorized"); /* the next owner of the name */
    h_stop(&h);
}

/* The account goes while it logs in: whatever comes first, no token is left behind. */
static void removed_while_it_is_given_out(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct h *h = begin(HOST FAST);
        struct raw r = raw_open(h);
        struct gr_mod *self;
        char token[TOKEN];

        (void)state;
        h_hold_store(h, true);
        if (i == 0)
            say_login(&r, "juliet", "secret", AGENT, REQUEST);
        self = h_mod(h, "fast", "juliet@localhost");
        gr_auth_delete(self, ask_of(self), "juliet");
        h_run(h);
        if (i == 1)
            say_login(&r, "juliet", "secret", AGENT, REQUEST);
        h_hold_store(h, false);
        raw_run(&r);
        copy_between(&r, " token='", token);
        raw_close(&r);
        assert_int_equal(h_user_create(h, "juliet@localhost", "secret"), GR_R_OK);
        expect_use(h, token, "", "not-authorized");
        assert_string_equal(h_command(h, "user tokens juliet@localhost"), "");
        h_stop(&h);
    }
}

static void admins_see_and_revoke(void **state)
{
    struct h *h = begin(HOST FAST);
    char token[TOKEN], other[TOKEN];
    const char *rows;

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    get_token(h, OTHER, REQUEST, other);
    expect_use(h, token, "", "success");
    rows = h_command(h, "user tokens juliet@localhost");
    assert_non_null(strstr(rows, "client=" AGENT));
    assert_non_null(strstr(rows, "client=" OTHER));
    assert_non_null(strstr(rows, "software=S"));
    assert_non_null(strstr(rows, "mechanism=HT-SHA-256-NONE"));
    assert_non_null(strstr(rows, "used=never"));
    assert_null(strstr(rows, token));
    h_command(h, "user tokens revoke juliet@localhost " OTHER);
    assert_string_equal(use_as(h, "juliet", other, OTHER, "HT-SHA-256-NONE", "", "", NULL),
                        "not-authorized");
    expect_use(h, token, "", "success");
    h_command(h, "user tokens revoke juliet@localhost");
    expect_use(h, token, "", "not-authorized");
    assert_string_equal(h_command(h, "user tokens juliet@localhost"), "");
    h_stop(&h);
}

static struct gr_stanza *exported;

static void on_exported(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self, (void)ev, (void)verdict;
}

static void export_names_clients_not_tokens(void **state)
{
    struct h *h = begin(HOST FAST);
    struct gr_export_ev e = { .user = h_parse_jid(h, "juliet@localhost") };
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    e.data = exported = gr_nonza_new("urn:t", "data");
    gr_hook_run(h_mod(h, "fast", "juliet@localhost"), GR_HOOK_get_personal_data, &e.ev,
                on_exported);
    h_run(h);
    assert_non_null(strstr(gr_stanza_xml(exported, NULL), AGENT));
    assert_null(strstr(gr_stanza_xml(exported, NULL), token));
    gr_stanza_unref(&exported);
    h_stop(&h);
}

/* --- what the store says --- */

static void options_that_make_no_sense(void **state)
{
    char *errors = NULL;

    (void)state;
    assert_null(h_start_try(HOST FAST "token_lifetime = 1d\n", &errors));
    assert_non_null(strstr(errors, "token_rotation"));
    gr_free(errors);
}

/* Of another secret (a copy of the store without it): nobody can make the token of a row. */
static void the_store_alone_is_worth_nothing(void **state)
{
    static const uint8_t elsewhere[32] = { 2 };
    struct h *h = begin(HOST FAST);
    char token[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    auth_set_secret(elsewhere, sizeof(elsewhere));
    expect_use(h, token, "", "not-authorized");
    h_stop(&h);
}

/* The token is in the answer only when it is on disk. */
static void it_is_on_disk_before_it_is_given(void **state)
{
    struct h *h = begin(HOST FAST);
    struct raw r = raw_open(h);

    (void)state;
    h_hold_store(h, true);
    say_login(&r, "juliet", "secret", AGENT, REQUEST);
    assert_string_equal(r.got, "");
    h_hold_store(h, false);
    raw_run(&r);
    raw_expect(&r, " token='");
    raw_close(&r);
    h_stop(&h);
}

/* A full disk: the login succeeds without a token; but a count that cannot be kept lets nobody in. */
static bool disk_is_full;

static int commit_fault(uint64_t n)
{
    (void)n;
    return disk_is_full ? ENOSPC : 0;
}

static uint64_t free_fault(void)
{
    return disk_is_full ? 0 : (uint64_t)1 << 30;
}

static void nothing_can_be_written(void **state)
{
    static const struct store_faults faults = { .commit = commit_fault, .free = free_fault };
    struct h *h = begin(HOST FAST);
    char token[TOKEN], none[TOKEN];

    (void)state;
    get_token(h, AGENT, REQUEST, token);
    store_faults = &faults;
    disk_is_full = true;
    get_token(h, OTHER, REQUEST, none);
    assert_string_equal(none, "");
    assert_non_null(strstr(h_log(h), "warn fast.not_stored"));
    expect_use(h, token, "count='1'", "temporary-auth-failure");
    disk_is_full = false;
    h_advance(h, 10000); /* the store looks again now and then */
    expect_use(h, token, "count='1'", "success");
    store_faults = NULL;
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_token_logs_in),
        cmocka_unit_test(tokens_that_are_refused),
        cmocka_unit_test(requests_that_bring_nothing),
        cmocka_unit_test(bound_to_a_mechanism),
        cmocka_unit_test(not_without_the_module_or_the_element),
        cmocka_unit_test(tokens_expire),
        cmocka_unit_test(tokens_rotate),
        cmocka_unit_test(counts_are_kept),
        cmocka_unit_test(a_count_is_good_once),
        cmocka_unit_test(clients_may_give_theirs_back),
        cmocka_unit_test(clients_are_bounded),
        cmocka_unit_test(they_end_with_password_and_account),
        cmocka_unit_test(removed_while_it_is_given_out),
        cmocka_unit_test(admins_see_and_revoke),
        cmocka_unit_test(export_names_clients_not_tokens),
        cmocka_unit_test(options_that_make_no_sense),
        cmocka_unit_test(the_store_alone_is_worth_nothing),
        cmocka_unit_test(it_is_on_disk_before_it_is_given),
        cmocka_unit_test(nothing_can_be_written),
    };

    return H_RUN("fast", cases);
}
