/* tests/mod/test_upgrade.c: accounts get the SCRAM keys that they lack (XEP-0480). Real streams over socket
 * pairs, without TLS ("sasl2 = always"). */
#include "raw.h"

#include "stream/auth.h"
#include "stream/token.h"

#include <stdio.h>

#define HOST "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n[mod_fast]\n"
#define S2 "urn:xmpp:sasl:2"
#define AGENT "d4565fa7-4d72-4749-b3d3-740edbf87770"
#define WANT(name) "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>" name "</upgrade>"
#define BOTH WANT("UPGR-SCRAM-SHA-512") WANT("UPGR-SCRAM-SHA-256")
#define CONTINUE(name) "<continue xmlns='" S2 "'><tasks><task>" name "</task></tasks></continue>"
#define NEXT(name) "<next xmlns='" S2 "' task='" name "'/>"
#define PASSWORD "secret"

static struct gr_mod *auth(struct h *h)
{
    return h_mod(h, "auth", "localhost");
}

/* The account's record, read or (len > 0) written. */
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

static void read_keys(struct h *h, struct creds *out)
{
    gr_store_get(gr_req_new(auth(h), 0, on_row), &auth_module.collections[0], "localhost", "juliet",
                 6);
    h_run(h);
    assert_int_equal(creds_decode(row + 10, row_len - 10, out), 0);
}

static void write_row(struct h *h)
{
    struct gr_txn *t = gr_txn_new(auth(h));

    gr_txn_put(t, &auth_module.collections[0], "localhost", "juliet", 6, row, row_len);
    gr_txn_commit(t, gr_req_new(auth(h), 0, on_row));
    h_run(h);
}

/* As after an import: SHA-1 alone. */
static void forget_keys(struct h *h)
{
    struct creds creds;

    read_keys(h, &creds);
    assert_int_equal(creds_make(PASSWORD, strlen(PASSWORD), SCRAM_BIT(SCRAM_SHA1),
                                (uint32_t[]){ 4096, 4096, 4096 }, &creds), 0);
    row_len = 10 + creds_encode(&creds, row + 10, sizeof(row) - 10);
    write_row(h);
}

static struct h *begin(void)
{
    static const uint8_t secret[32] = { 1 };
    struct h *h;

    auth_set_secret(secret, sizeof(secret));
    h = h_start(HOST);
    h_user(h, "juliet@localhost");
    forget_keys(h);
    return h;
}

static void say_plain(struct raw *r, const char *password, const char *more)
{
    char text[GR_TOKEN_SIZE + 16], coded[2 * sizeof(text)], *xml;
    int n = snprintf(text, sizeof(text), " juliet %s", password);

    text[0] = text[7] = '\0';
    gr_base64_encode(coded, text, (size_t)n);
    xml = gr_asprintf("<authenticate xmlns='" S2 "' mechanism='PLAIN'><initial-response>%s"
                      "</initial-response><user-agent id='" AGENT "'/>%s</authenticate>", coded,
                      more);
    raw_say(r, xml);
    gr_free(xml);
}

static struct raw begin_upgrade(struct h *h, const char *more)
{
    struct raw r = raw_open(h);

    raw_expect(&r, WANT("UPGR-SCRAM-SHA-256") WANT("UPGR-SCRAM-SHA-512") "</authentication>");
    say_plain(&r, PASSWORD, more);
    return r;
}

/* The SaltedPassword that the task asks for (XEP-0480, 3), `len` bytes of it. */
static void answer(struct raw *r, enum scram_hash hash, size_t len)
{
    char coded[200], *xml;
    uint8_t salt[200], salted[CREDS_KEY_MAX + 1] = { 0 };
    const char *at = strstr(r->got, "iterations='4096'>"), *end;
    int n;

    raw_expect(r, "<task-data xmlns='" S2 "'><salt xmlns='urn:xmpp:scram-upgrade:0' "
                  "iterations='4096'>");
    at += strlen("iterations='4096'>");
    end = strstr(at, "</salt></task-data>");
    assert_non_null(end);
    n = gr_base64_decode(salt, at, (size_t)(end - at));
    assert_int_equal(n, CREDS_SALT_SIZE);
    assert_int_equal(scram_salted_password(hash, PASSWORD, strlen(PASSWORD), salt, (size_t)n, 4096,
                                           salted), 0);
    gr_base64_encode(coded, salted, len);
    xml = gr_asprintf("<task-data xmlns='" S2 "'><hash xmlns='urn:xmpp:scram-upgrade:0'>%s</hash>"
                      "</task-data>", coded);
    raw_say(r, xml);
    gr_free(xml);
}

static void expect_key(const struct creds *creds, enum scram_hash hash)
{
    const struct creds_key *have = &creds->keys[hash];
    struct creds_key want;

    assert_int_not_equal(have->salt_len, 0);
    assert_int_equal(creds_make_key(PASSWORD, strlen(PASSWORD), hash, have->salt, have->salt_len,
                                    have->iterations, &want), 0);
    assert_memory_equal(have->stored_key, want.stored_key, scram_hash_size(hash));
    assert_memory_equal(have->server_key, want.server_key, scram_hash_size(hash));
}

static void expect_sha1_only(struct h *h)
{
    struct creds creds;

    read_keys(h, &creds);
    expect_key(&creds, SCRAM_SHA1);
    assert_int_equal(creds.keys[SCRAM_SHA256].salt_len, 0);
    assert_int_equal(creds.keys[SCRAM_SHA512].salt_len, 0);
}

static void keys_are_added(void **state)
{
    struct h *h = begin();
    struct raw r = begin_upgrade(h, BOTH);
    struct creds before, creds;

    (void)state;
    assert_string_equal(r.got, CONTINUE("UPGR-SCRAM-SHA-256"));
    raw_say(&r, NEXT("UPGR-SCRAM-SHA-256"));
    answer(&r, SCRAM_SHA256, 32);
    assert_string_equal(r.got, CONTINUE("UPGR-SCRAM-SHA-512"));
    raw_say(&r, NEXT("UPGR-SCRAM-SHA-512"));
    answer(&r, SCRAM_SHA512, 64);
    raw_expect(&r, "<success xmlns='" S2 "'><authorization-identifier>juliet@localhost<");
    raw_close(&r);
    read_keys(h, &before);
    for (enum scram_hash hash = 0; hash < SCRAM_HASHES; hash++)
        expect_key(&before, hash);

    r = begin_upgrade(h, BOTH); /* nothing to do any more */
    raw_expect(&r, "<success");
    raw_close(&r);
    read_keys(h, &creds);
    assert_memory_equal(&creds, &before, sizeof(creds));
    h_stop(&h);
}

/* A key that is not on disk is no key: the client hears of success behind it. */
static void success_waits_for_the_disk(void **state)
{
    struct h *h = begin();
    struct raw r = begin_upgrade(h, WANT("UPGR-SCRAM-SHA-256"));

    (void)state;
    raw_say(&r, NEXT("UPGR-SCRAM-SHA-256"));
    h_hold_store(h, true);
    answer(&r, SCRAM_SHA256, 32);
    assert_string_equal(r.got, "");
    h_hold_store(h, false);
    raw_run(&r);
    raw_expect(&r, "<success");
    raw_close(&r);
    h_stop(&h);
}

static void what_the_client_gets_wrong(void **state)
{
    static const struct {
        const char *say, *told;
        bool task;
    } cases[] = {
        { NEXT("UPGR-SCRAM-SHA-512"), "<malformed-request", false },
        { "<next xmlns='" S2 "'/>", "<malformed-request", false },
        { "<task-data xmlns='" S2 "'/>", "<malformed-request", false },
        { "<response xmlns='" S2 "'/>", "<policy-violation", false },
        { "<abort xmlns='" S2 "'/>", "<aborted", false },
        { "<authenticate xmlns='" S2 "'/>", "<policy-violation", false },
        { NEXT("UPGR-SCRAM-SHA-256"), "<malformed-request", true },
        { "<task-data xmlns='" S2 "'/>", "<malformed-request", true },
        { "<task-data xmlns='" S2 "'><hash xmlns='urn:xmpp:scram-upgrade:0'/></task-data>",
          "<malformed-request", true },
        { "<task-data xmlns='" S2 "'><hash xmlns='urn:xmpp:scram-upgrade:0'>!</hash></task-data>",
          "<malformed-request", true },
        { "<abort xmlns='" S2 "'/>", "<aborted", true },
        { "<presence/>", "<policy-violation", false },
        { "<presence/>", "<policy-violation", true },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct h *h = begin();
        struct raw r = begin_upgrade(h, BOTH);

        if (cases[i].task)
            raw_say(&r, NEXT("UPGR-SCRAM-SHA-256"));
        raw_say(&r, cases[i].say);
        raw_expect(&r, cases[i].told);
        assert_null(strstr(r.got, "<success"));
        if (strstr(r.got, "<failure") != NULL) { /* as before (XEP-0388, 2.6) */
            say_plain(&r, PASSWORD, "");
            raw_expect(&r, "<success");
        }
        raw_close(&r);
        expect_sha1_only(h);
        h_stop(&h);
    }
}

static void hashes_of_another_length(void **state)
{
    static const size_t lens[] = { 1, 20, 31, 33, 64 };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(lens); i++) {
        struct h *h = begin();
        struct raw r = begin_upgrade(h, BOTH);

        raw_say(&r, NEXT("UPGR-SCRAM-SHA-256"));
        answer(&r, SCRAM_SHA256, lens[i]);
        raw_expect(&r, "<malformed-request");
        raw_close(&r);
        expect_sha1_only(h);
        h_stop(&h);
    }
}

/* The password was changed while the client computed: the old one must not come back. */
static void a_record_that_has_changed(void **state)
{
    struct h *h = begin();
    struct raw r = begin_upgrade(h, WANT("UPGR-SCRAM-SHA-256"));
    uint8_t now[sizeof(row)];
    size_t len;

    (void)state;
    raw_say(&r, NEXT("UPGR-SCRAM-SHA-256"));
    forget_keys(h); /* with another salt */
    memcpy(now, row, len = row_len);
    answer(&r, SCRAM_SHA256, 32);
    raw_expect(&r, "<temporary-auth-failure");
    raw_close(&r);
    expect_sha1_only(h);
    assert_int_equal(row_len, len);
    assert_memory_equal(row, now, len);
    h_stop(&h);
}

/* Who has a token, and not the password, must not be able to set keys. */
static void not_with_a_token(void **state)
{
    struct h *h = begin();
    struct raw r = raw_open(h);
    char token[64] = "", text[64] = "juliet", coded[200], *xml, session_token[GR_TOKEN_SIZE];
    uint8_t mac[CREDS_KEY_MAX];
    const char *at;

    (void)state;
    say_plain(&r, PASSWORD, "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>");
    at = strstr(r.got, " token='");
    assert_non_null(at);
    snprintf(token, sizeof(token), "%.44s", at + 8);
    raw_close(&r);

    scram_hmac(SCRAM_SHA256, token, strlen(token), "Initiator", 9, mac);
    memcpy(text + 7, mac, 32);
    gr_base64_encode(coded, text, 39);
    xml = gr_asprintf("<authenticate xmlns='" S2 "' mechanism='HT-SHA-256-NONE'><initial-response>%s"
                      "</initial-response><user-agent id='" AGENT "'/><fast xmlns='urn:xmpp:fast:0'/>"
                      BOTH "</authenticate>", coded);
    r = raw_open(h);
    raw_say(&r, xml);
    raw_expect(&r, "<success");
    raw_close(&r);
    gr_free(xml);

    gr_token_issue(auth(h), "juliet", session_token);
    r = raw_open(h);
    say_plain(&r, session_token, BOTH);
    raw_expect(&r, "<success");
    raw_close(&r);
    expect_sha1_only(h);
    h_stop(&h);
}

static void names_that_are_no_tasks(void **state)
{
    struct h *h = begin();
    struct raw r = begin_upgrade(h, WANT("UPGR-SCRAM-SHA-1") WANT("x") WANT(""));

    (void)state;
    raw_expect(&r, "<success");
    raw_close(&r);
    r = raw_open(h);
    say_plain(&r, "wrong", BOTH);
    raw_expect(&r, "<not-authorized");
    raw_close(&r);
    expect_sha1_only(h);
    h_stop(&h);
}

static void gone_in_the_middle(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct h *h = begin();
        struct raw r = raw_open(h);

        h_hold_store(h, i == 0);
        say_plain(&r, PASSWORD, BOTH);
        if (i > 0)
            raw_expect(&r, "<continue");
        if (i > 1)
            raw_say(&r, NEXT("UPGR-SCRAM-SHA-256"));
        if (i > 2) {
            h_hold_store(h, true);
            answer(&r, SCRAM_SHA256, 32);
        }
        raw_close(&r);
        h_hold_store(h, false);
        h_stop(&h);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(keys_are_added),
        cmocka_unit_test(success_waits_for_the_disk),
        cmocka_unit_test(what_the_client_gets_wrong),
        cmocka_unit_test(hashes_of_another_length),
        cmocka_unit_test(a_record_that_has_changed),
        cmocka_unit_test(not_with_a_token),
        cmocka_unit_test(names_that_are_no_tasks),
        cmocka_unit_test(gone_in_the_middle),
    };

    return H_RUN("upgrade", cases);
}
