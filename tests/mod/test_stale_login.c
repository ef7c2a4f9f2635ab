/* tests/mod/test_stale_login.c: logins that were begun with keys which are not the account's any more when
 * they end: the password was changed meanwhile, or the account is gone, is somebody else's, or may not log
 * in. A client can wait with its proof as long as the login may take. */
#include "raw.h"

#include "stream/auth.h"
#include "stream/scram_client.h"

#include <stdio.h>

#define HOST "[host localhost]\nplain = always\nsasl2 = always\nscram_iterations = 4096\n[mod_fast]\n"
#define S2 "urn:xmpp:sasl:2"
#define AGENT "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
#define REQUEST "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
#define BIND2 "<bind xmlns='urn:xmpp:bind:0'/>"

static struct h *begin(void)
{
    static const uint8_t secret[32] = { 1 };
    struct h *h;

    auth_set_secret(secret, sizeof(secret));
    h = h_start(HOST);
    h_user(h, "juliet@localhost");
    return h;
}

/* What answers the server's challenge; gr_free. */
static char *proof(struct scram_client *client, const struct raw *r)
{
    const char *at = strstr(r->got, "<challenge"), *end;
    char message[512], *text;
    struct buf out = { 0 };
    int n;

    assert_non_null(at);
    at = strchr(at, '>') + 1;
    end = strstr(at, "</challenge>");
    assert_non_null(end);
    n = gr_base64_decode(message, at, (size_t)(end - at));
    assert_true(n > 0);
    assert_int_equal(scram_client_final(client, message, (size_t)n, &out), 0);
    text = gr_alloc(2 * buf_len(&out));
    gr_base64_encode(text, buf_data(&out), buf_len(&out));
    buf_fini(&out);
    return text;
}

/* A login up to the server's challenge. */
static struct raw begin_login(struct h *h, struct scram_client *client, bool sasl2)
{
    const struct scram_client_conf conf = { .hash = SCRAM_SHA256, .username = "juliet",
                                            .password = "secret", .flag = 'n' };
    struct raw r = raw_open(h);
    struct buf first = { 0 };
    char coded[400], *xml;

    *client = (struct scram_client){ 0 };
    scram_client_first(client, &conf, &first);
    gr_base64_encode(coded, buf_data(&first), buf_len(&first));
    buf_fini(&first);
    if (sasl2)
        xml = gr_asprintf("<authenticate xmlns='" S2 "' mechanism='SCRAM-SHA-256'><initial-response>"
                          "%s</initial-response>" AGENT BIND2 REQUEST "</authenticate>", coded);
    else
        xml = gr_asprintf("<auth xmlns='" SASL_NS "' mechanism='SCRAM-SHA-256'>%s</auth>", coded);
    raw_say(&r, xml);
    gr_free(xml);
    return r;
}

static void end_login(struct raw *r, struct scram_client *client, bool sasl2)
{
    char *text = proof(client, r);
    char *xml = gr_asprintf("<response xmlns='%s'>%s</response>", sasl2 ? S2 : SASL_NS, text);

    raw_say(r, xml);
    gr_free(xml);
    gr_free(text);
    scram_client_fini(client);
}

static enum gr_result result;

static void on_done(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask;
    result = a->result;
}

static void set_password(struct h *h, const char *password)
{
    struct gr_mod *self = h_mod(h, "fast", "juliet@localhost");

    result = GR_R_ERROR;
    gr_auth_set_password(self, gr_ask_new(self, 1, on_done), "juliet", password);
    h_run(h);
    assert_int_equal(result, GR_R_OK);
}

static void nobody_is_disturbed(void **state)
{
    struct h *h = begin();
    struct scram_client client;

    (void)state;
    for (int sasl2 = 0; sasl2 < 2; sasl2++) {
        struct raw r = begin_login(h, &client, sasl2);

        end_login(&r, &client, sasl2);
        raw_expect(&r, "<success");
        raw_close(&r);
    }
    h_stop(&h);
}

static void expect_refused(struct h *h, void (*meanwhile)(struct h *h), const char *condition)
{
    for (int sasl2 = 0; sasl2 < 2; sasl2++) {
        struct scram_client client;
        struct raw r = begin_login(h, &client, sasl2);

        meanwhile(h);
        end_login(&r, &client, sasl2);
        assert_null(strstr(r.got, "<success"));
        raw_expect(&r, condition);
        raw_close(&r);
        if (h_user_create(h, "juliet@localhost", "secret") != GR_R_OK)
            set_password(h, "secret");
    }
}

static void change(struct h *h)
{
    set_password(h, "another");
}

static void after_a_change_of_the_password(void **state)
{
    struct h *h = begin();

    (void)state;
    expect_refused(h, change, "<not-authorized");
    h_stop(&h);
}

static void delete(struct h *h)
{
    assert_int_equal(h_user_delete(h, "juliet@localhost"), GR_R_OK);
}

static void after_the_account_was_removed(void **state)
{
    struct h *h = begin();

    (void)state;
    expect_refused(h, delete, "<not-authorized");
    h_stop(&h);
}

static void replace(struct h *h)
{
    delete(h);
    assert_int_equal(h_user_create(h, "juliet@localhost", "hers"), GR_R_OK);
}

/* Whoever has the name now must not find the last owner at home. */
static void after_the_name_has_got_another_owner(void **state)
{
    struct h *h = begin();

    (void)state;
    expect_refused(h, replace, "<not-authorized");
    h_stop(&h);
}

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
    gr_txn_commit(t, gr_req_new(self, 0, on_row));
    h_run(h);
}

/* Told only to who knows the password; for PLAIN it is a wrong one. */
static void when_the_account_may_not_log_in(void **state)
{
    struct h *h = begin();
    struct scram_client client;
    struct raw r;

    (void)state;
    expect_refused(h, disable, "<account-disabled");
    r = begin_login(h, &client, false);
    end_login(&r, &client, false);
    raw_expect(&r, "<account-disabled");
    raw_plain(&r, "juliet", "secret");
    raw_expect(&r, "<not-authorized");
    raw_close(&r);
    h_stop(&h);
}

/* A failed attempt leaves nothing behind by which the next one would be measured. */
static void after_another_attempt(void **state)
{
    struct h *h = begin();
    struct scram_client client;
    struct raw r = begin_login(h, &client, false);

    (void)state;
    scram_client_fini(&client);
    raw_say(&r, "<response xmlns='" SASL_NS "'>=</response>");
    raw_expect(&r, "<failure");
    raw_plain(&r, "juliet", "secret");
    raw_expect(&r, "<success");
    raw_close(&r);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(nobody_is_disturbed),
        cmocka_unit_test(after_a_change_of_the_password),
        cmocka_unit_test(after_the_account_was_removed),
        cmocka_unit_test(after_the_name_has_got_another_owner),
        cmocka_unit_test(when_the_account_may_not_log_in),
        cmocka_unit_test(after_another_attempt),
    };

    return H_RUN("stale_login", cases);
}
