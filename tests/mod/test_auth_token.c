/* tests/mod/test_auth_token.c: mod_auth_token: issuing, logging in with X-OAUTH over real streams, what
 * makes a token worthless: time, revocation, another password, a deleted account; provision tokens. */
#include "raw.h"

#include "stream/auth.h"

#include <stdio.h>

#define NS "erlang-solutions.com:xmpp:token-auth:0"
#define HOST "[host localhost]\nplain = always\nscram_iterations = 4096\n"
#define MODULES "[mod_disco]\n[mod_vcard]\n[mod_auth_token]\n"
#define SECRET "a key of sixteen bytes or more"

static bool shared;

static enum gr_verdict on_key(struct gr_mod *self, struct gr_key_ev *ev)
{
    (void)self;
    if (shared && strcmp(ev->name, "provision_pre_shared") == 0) {
        ev->key = SECRET;
        ev->len = sizeof(SECRET) - 1;
    }
    return GR_OK;
}

static const struct gr_hook hooks[] = { GR_ON(get_key, 50, on_key), GR_HOOK_END };
static const struct gr_module tester = { .name = "tester", .hooks = hooks };

static struct h *start(const char *options)
{
    static const uint8_t secret[32] = { 1 };
    char ini[512];
    struct h *h;

    shared = true;
    auth_set_secret(secret, sizeof(secret));
    h_module(&tester);
    snprintf(ini, sizeof(ini), HOST MODULES "%s", options);
    h = h_start(ini);
    h_user(h, "alice@localhost");
    return h;
}

struct pair {
    char access[512], refresh[512];
};

static struct pair ask(struct hs *s)
{
    struct gr_stanza *st = h_iq(s, "get", NULL, "<query xmlns='" NS "'/>");
    const struct gr_el *items = gr_stanza_payload(st);
    struct pair p;

    assert_int_equal(gr_stanza_type(st), GR_RESULT);
    snprintf(p.access, sizeof(p.access), "%s",
             gr_el_text(gr_el_child(items, NS, "access_token"), NULL));
    snprintf(p.refresh, sizeof(p.refresh), "%s",
             gr_el_text(gr_el_child(items, NS, "refresh_token"), NULL));
    return p;
}

static struct pair tokens_of(struct h *h, const char *full)
{
    struct hs *s = h_login(h, full);
    struct pair p = ask(s);

    h_disconnect(&s, true);
    return p;
}

/* What the client is told. */
static const char *login(struct h *h, const char *token)
{
    static char told[2048];
    struct raw r = raw_open(h);
    char auth[2048];

    raw_expect(&r, "<mechanism>X-OAUTH</mechanism>");
    snprintf(auth, sizeof(auth), "<auth xmlns='" SASL_NS "' mechanism='X-OAUTH'>%s</auth>", token);
    raw_say(&r, auth);
    snprintf(told, sizeof(told), "%.2000s", r.got);
    raw_close(&r);
    return told;
}

#define EXPECT(text, part) \
    do { \
        const char *told_ = (text); \
        if (strstr(told_, (part)) == NULL) \
            fail_msg("%s: not in %s", (part), told_); \
    } while (0)
#define SUCCESS "<success xmlns='" SASL_NS "'"
#define REFUSED "<failure xmlns='" SASL_NS "'><not-authorized/></failure>"

static void issued_and_used(void **state)
{
    struct h *h = start("");
    struct hs *bob = h_login(h, "bob@localhost/b");
    struct pair p = tokens_of(h, "alice@localhost/a");
    const char *told;
    char access[512];

    (void)state;
    EXPECT(login(h, p.access), SUCCESS "></success>");
    EXPECT(login(h, p.access), SUCCESS "></success>"); /* stateless, until it ends */
    /* A refresh token brings an access token. */
    told = login(h, p.refresh);
    EXPECT(told, SUCCESS ">");
    told = strchr(strstr(told, "<success"), '>') + 1;
    snprintf(access, sizeof(access), "%.*s", (int)strcspn(told, "<"), told);
    EXPECT(login(h, access), SUCCESS "></success>");
    h_iq_error(bob, "get", "alice@localhost", "<query xmlns='" NS "'/>", GR_SERVICE_UNAVAILABLE);
    h_stop(&h);
}

static void tampered(void **state)
{
    struct h *h = start("");
    struct pair p = tokens_of(h, "alice@localhost/a"), q;
    char bytes[512], text[768];
    int len;

    (void)state;
    h_user(h, "bob@localhost");
    q = tokens_of(h, "bob@localhost/b");
    len = gr_base64_decode(bytes, p.access, strlen(p.access));
    /* The last digit of the MAC; another account; another type; without end. */
    bytes[len - 1] = bytes[len - 1] == '0' ? '1' : '0';
    gr_base64_encode(text, bytes, (size_t)len);
    EXPECT(login(h, text), REFUSED);
    len = gr_base64_decode(bytes, q.access, strlen(q.access));
    memcpy(bytes + 7, "eve", 3);
    gr_base64_encode(text, bytes, (size_t)len);
    EXPECT(login(h, text), REFUSED);
    len = gr_base64_decode(bytes, p.access, strlen(p.access));
    bytes[strlen("access") + 1 + strlen("alice@localhost") + 1] = '9';
    gr_base64_encode(text, bytes, (size_t)len);
    EXPECT(login(h, text), REFUSED);
    gr_base64_encode(text, "access\0alice@localhost\0", 23);
    EXPECT(login(h, text), REFUSED);
    gr_base64_encode(text, "access\0alice@other.test\0001\0x", 27);
    EXPECT(login(h, text), REFUSED);
    gr_base64_encode(text, "access", 6);
    EXPECT(login(h, text), "<malformed-request/>");
    EXPECT(login(h, "="), "<malformed-request/>");
    h_stop(&h);
}

static void they_end(void **state)
{
    struct h *h = start("access_validity = 1m\nrefresh_validity = 2m\n");
    struct pair p = tokens_of(h, "alice@localhost/a");

    (void)state;
    h_advance(h, 59000);
    EXPECT(login(h, p.access), SUCCESS);
    h_advance(h, 2000);
    EXPECT(login(h, p.access), "<credentials-expired/>");
    EXPECT(login(h, p.refresh), SUCCESS);
    h_advance(h, 60000);
    EXPECT(login(h, p.refresh), "<credentials-expired/>");
    h_stop(&h);
}

static void revoked(void **state)
{
    struct h *h = start("");
    struct pair p = tokens_of(h, "alice@localhost/a"), q;

    (void)state;
    assert_string_equal(h_command(h, "token revoke alice@localhost"), "");
    EXPECT(login(h, p.refresh), REFUSED);
    EXPECT(login(h, p.access), SUCCESS); /* cannot be revoked */
    q = tokens_of(h, "alice@localhost/a");
    EXPECT(login(h, q.refresh), SUCCESS);
    h_restart(h);
    EXPECT(login(h, p.refresh), REFUSED);
    EXPECT(login(h, q.refresh), SUCCESS);
    h_stop(&h);
}

static void on_set(struct gr_mod *self, struct gr_ask *a, const struct gr_answer *answer)
{
    (void)self, (void)a;
    assert_int_equal(answer->result, GR_R_OK);
}

static void another_password(void **state)
{
    struct h *h = start("");
    struct pair p = tokens_of(h, "alice@localhost/a");
    struct gr_mod *self = h_mod(h, "auth_token", "alice@localhost");

    (void)state;
    gr_auth_set_password(self, gr_ask_new(self, 0, on_set), "alice", "new");
    h_run(h);
    EXPECT(login(h, p.access), REFUSED);
    EXPECT(login(h, p.refresh), REFUSED);
    h_stop(&h);
}

/* Of no use to anybody, also not when the name has another owner, who has tokens. */
static void of_a_deleted_account(void **state)
{
    struct h *h = start("");
    struct pair p = tokens_of(h, "alice@localhost/a");

    (void)state;
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_OK);
    EXPECT(login(h, p.access), REFUSED);
    EXPECT(login(h, p.refresh), REFUSED);
    h_user_create(h, "alice@localhost", "secret");
    EXPECT(login(h, p.access), REFUSED);
    EXPECT(login(h, tokens_of(h, "alice@localhost/a").access), SUCCESS);
    EXPECT(login(h, p.access), REFUSED);
    EXPECT(login(h, p.refresh), REFUSED);
    h_stop(&h);
}

/* --- provision --- */

static const char *provision_token(const char *jid, int64_t expiry_s, const char *vcard)
{
    static char text[2048];
    struct gr_writer w = gr_writer_new(256);
    uint8_t mac[GR_HASH_MAX];
    char number[24], hex[2 * GR_HASH_MAX + 1];
    size_t len;
    void *bytes;

    snprintf(number, sizeof(number), "%lld", (long long)expiry_s);
    gr_write_bytes(&w, "provision", 10);
    gr_write_bytes(&w, jid, strlen(jid) + 1);
    gr_write_bytes(&w, number, strlen(number) + 1);
    gr_write_bytes(&w, vcard, strlen(vcard));
    gr_hmac("sha-384", SECRET, sizeof(SECRET) - 1, w.data, w.len, mac);
    gr_hex_encode(hex, mac, 48);
    gr_write_bytes(&w, "", 1);
    gr_write_bytes(&w, hex, 96);
    bytes = gr_writer_take(&w, &len);
    gr_base64_encode(text, bytes, len);
    gr_free(bytes);
    return text;
}

#define VCARD "<vCard xmlns='vcard-temp'><FN>Carol</FN></vCard>"

static void provisioned(void **state)
{
    struct h *h = start("");
    int64_t soon = gr_wall_us() / 1000000 + 60;
    struct hs *carol;

    (void)state;
    EXPECT(login(h, provision_token("carol@localhost", soon, VCARD)), SUCCESS);
    carol = h_login(h, "carol@localhost/c");
    h_iq_result(carol, "get", NULL, "<vCard xmlns='vcard-temp'/>", VCARD);
    /* Once. */
    EXPECT(login(h, provision_token("carol@localhost", soon, VCARD)), REFUSED);
    /* Another one does not change what is there. */
    EXPECT(login(h, provision_token("carol@localhost", soon + 1,
                                    "<vCard xmlns='vcard-temp'><FN>X</FN></vCard>")), SUCCESS);
    h_iq_result(carol, "get", NULL, "<vCard xmlns='vcard-temp'/>", VCARD);
    /* A deleted account is not made again by the token that made it. */
    h_disconnect(&carol, true);
    h_user_delete(h, "carol@localhost");
    EXPECT(login(h, provision_token("carol@localhost", soon, VCARD)), REFUSED);
    assert_int_equal(h_user_check(h, "carol@localhost", "x"), GR_R_NONE);
    EXPECT(login(h, provision_token("dave@localhost", soon, "no card")), SUCCESS);
    h_advance(h, 61000);
    EXPECT(login(h, provision_token("erin@localhost", soon, VCARD)), "<credentials-expired/>");
    shared = false;
    EXPECT(login(h, provision_token("erin@localhost", soon + 600, VCARD)), REFUSED);
    assert_int_equal(h_user_check(h, "erin@localhost", "x"), GR_R_NONE);
    h_stop(&h);
}

static void a_store_that_waits(void **state)
{
    struct h *h = start("");
    struct hs *alice = h_login(h, "alice@localhost/a");

    (void)state;
    h_hold_store(h, true); /* two ask before the first number is on disk */
    h_feed(alice, "<iq type='get' id='1'><query xmlns='" NS "'/></iq>");
    h_feed(alice, "<iq type='get' id='2'><query xmlns='" NS "'/></iq>");
    h_run(h);
    h_expect_nothing(alice);
    h_hold_store(h, false);
    h_commit(h);
    h_run(h);
    struct gr_stanza *a = h_expect(alice, GR_IQ, GR_RESULT, NULL);
    struct gr_stanza *b = h_expect(alice, GR_IQ, GR_RESULT, NULL);
    assert_string_equal(gr_el_text(gr_el_child(gr_stanza_payload(a), NS, "access_token"), NULL),
                        gr_el_text(gr_el_child(gr_stanza_payload(b), NS, "access_token"), NULL));
    h_stop(&h);
}

static void not_offered_without_it(void **state)
{
    struct h *h = h_start(HOST);
    struct raw r = raw_open(h);

    (void)state;
    assert_null(strstr(r.got, "X-OAUTH"));
    raw_say(&r, "<auth xmlns='" SASL_NS "' mechanism='X-OAUTH'>YQBiAGM=</auth>");
    raw_expect(&r, "<invalid-mechanism/>");
    raw_close(&r);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(issued_and_used),
        cmocka_unit_test(tampered),
        cmocka_unit_test(they_end),
        cmocka_unit_test(revoked),
        cmocka_unit_test(another_password),
        cmocka_unit_test(of_a_deleted_account),
        cmocka_unit_test(provisioned),
        cmocka_unit_test(a_store_that_waits),
        cmocka_unit_test(not_offered_without_it),
    };

    return H_RUN("auth_token", cases);
}
