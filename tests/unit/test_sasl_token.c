/* tests/unit/test_sasl_token.c: mechanisms that prove a token (XEP-0484; draft-schmaus-kitten-sasl-ht-09), and
 * the form of messages in XEP-0388. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "stream/sasl.h"

#define PROOF_SIZE 32

static const struct scram_binding bindings[] = {
    { "tls-exporter", "EXPORTED", 8 },
    { "tls-server-end-point", "ENDPOINT", 8 },
    { "tls-unique", "UNIQUE", 6 },
};

static struct sasl_props props_tls(void)
{
    return (struct sasl_props){
        .host = "example.org", .secure = true, .can_check = true, .can_check_tokens = true,
        .unique_is_safe = true, .hashes = SCRAM_ALL_HASHES, .bindings = bindings,
        .n_bindings = GR_COUNT(bindings), .n_offered = 2, .secret = "0123456789abcdef",
        .secret_len = 16,
    };
}

static void expect_offers(const struct sasl_props *props, const char *want)
{
    const char *names[SASL_MECHS_MAX];
    char got[256] = "";
    size_t n = sasl_token_mechanisms(props, names);

    for (size_t i = 0; i < n; i++) {
        strcat(got, names[i]);
        strcat(got, " ");
    }
    assert_string_equal(got, want);
    n = sasl_mechanisms(props, names);
    for (size_t i = 0; i < n; i++) /* never beside those that prove a password */
        assert_null(strstr(names[i], "HT-"));
}

static void offers(void **state)
{
    static const char *const disabled[] = { "HT-SHA-256-NONE" };
    struct sasl_props props = props_tls();

    (void)state;
    expect_offers(&props, "HT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE ");
    props.unique_is_safe = false;
    expect_offers(&props, "HT-SHA-256-EXPR HT-SHA-256-ENDP HT-SHA-256-NONE ");
    props.disabled = disabled;
    props.n_disabled = 1;
    expect_offers(&props, "HT-SHA-256-EXPR HT-SHA-256-ENDP ");
    props = props_tls();
    props.n_bindings = props.n_offered = 0;
    expect_offers(&props, "HT-SHA-256-NONE ");
    props.require_binding = true;
    expect_offers(&props, "");
    props = props_tls();
    props.can_check_tokens = false;
    expect_offers(&props, "");
    props = props_tls();
    props.secure = false;
    expect_offers(&props, "");
    props.allow_plain_unencrypted = true;
    expect_offers(&props, "HT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE ");
}

/* What it shows could be shown again by whoever reads it. */
static void oauth_as_plain(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    static const char shown[] = "access\0juliet@example.org\0rest";

    (void)state;
    assert_int_equal(sasl_start(s, "X-OAUTH", shown, sizeof(shown)), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_INVALID_MECHANISM);
    props.can_check_oauth = true;
    assert_int_equal(sasl_start(s, "X-OAUTH", shown, sizeof(shown)), SASL_NEED_TOKEN);
    props.require_binding = true;
    assert_int_equal(sasl_start(s, "X-OAUTH", shown, sizeof(shown)), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MECHANISM_TOO_WEAK);
    props.secure = props.require_binding = false;
    assert_int_equal(sasl_start(s, "X-OAUTH", shown, sizeof(shown)), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_ENCRYPTION_REQUIRED);
    props.allow_plain_unencrypted = true;
    assert_int_equal(sasl_start(s, "X-OAUTH", shown, sizeof(shown)), SASL_NEED_TOKEN);
    sasl_free(&s);
}

/* name NUL proof, as an element's text. */
static enum sasl_step start(struct sasl *s, const char *mech, const char *name, size_t proof_len,
                            bool token)
{
    uint8_t data[400] = { 0 };
    char text[600];
    size_t len = strlen(name);

    memcpy(data, name, len);
    memset(data + len + 1, 7, proof_len);
    gr_base64_encode(text, data, len + 1 + proof_len);
    return sasl_start_element(s, mech, text, strlen(text), token);
}

static void an_exchange(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    struct scram_binding binding;
    uint8_t sevens[PROOF_SIZE];
    unsigned ticket;
    size_t len;

    (void)state;
    memset(sevens, 7, sizeof(sevens));
    assert_int_equal(start(s, "HT-SHA-256-EXPR", "Juliet", PROOF_SIZE, true), SASL_NEED_TOKEN);
    assert_string_equal(sasl_username(s), "juliet");
    assert_memory_equal(sasl_token(s, &len, &binding), sevens, PROOF_SIZE);
    assert_int_equal(len, PROOF_SIZE);
    assert_string_equal(binding.type, "tls-exporter");
    assert_memory_equal(binding.data, "EXPORTED", binding.len);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_checked(s, ticket, true), SASL_STALE);
    assert_int_equal(sasl_token_checked(s, ticket + 1, true, "x", 1), SASL_STALE);
    assert_int_equal(sasl_token_checked(s, ticket, true, "answer", 6), SASL_SUCCESS);
    assert_memory_equal(sasl_out(s, &len), "answer", 6);
    assert_int_equal(len, 6);
    assert_int_equal(sasl_token_checked(s, ticket, true, "answer", 6), SASL_STALE);

    assert_int_equal(start(s, "HT-SHA-256-NONE", "juliet", PROOF_SIZE, true), SASL_NEED_TOKEN);
    sasl_token(s, &len, &binding);
    assert_int_equal(binding.len, 0);
    assert_int_equal(sasl_token_checked(s, sasl_ticket(s), false, "", 0), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
    assert_null(sasl_out(s, &len));

    assert_int_equal(start(s, "HT-SHA-256-UNIQ", "juliet", PROOF_SIZE, true), SASL_NEED_TOKEN);
    assert_int_equal(sasl_respond_element(s, "", 0), SASL_FAILURE); /* one message each way */
    assert_int_equal(start(s, "HT-SHA-256-ENDP", "juliet", PROOF_SIZE, true), SASL_NEED_TOKEN);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_abort(s), SASL_FAILURE);
    assert_int_equal(sasl_token_checked(s, ticket, true, "x", 1), SASL_STALE);
    sasl_free(&s);
}

static void malformed_messages(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    char name[300];

    (void)state;
    assert_int_equal(start(s, "HT-SHA-256-NONE", "", PROOF_SIZE, true), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    for (size_t len = 0; len < 70; len++) {
        if (len == PROOF_SIZE)
            continue;
        assert_int_equal(start(s, "HT-SHA-256-NONE", "juliet", len, true), SASL_FAILURE);
        assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    }
    assert_int_equal(start(s, "HT-SHA-256-NONE", "\xff\xfe", PROOF_SIZE, true), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(start(s, "HT-SHA-256-NONE", "a@b", PROOF_SIZE, true), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
    assert_int_equal(sasl_start_element(s, "HT-SHA-256-NONE", "anVsaWV0", 8, true), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST); /* no NUL */
    assert_int_equal(start(s, "HT-SHA-256-NONE", name, PROOF_SIZE, true), SASL_NEED_TOKEN);
    sasl_free(&s);
}

/* XEP-0484, 3.4: the client has to say that it proves a token; the classic profile knows of none. */
static void only_for_who_says_so(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);

    (void)state;
    assert_int_equal(start(s, "HT-SHA-256-NONE", "juliet", PROOF_SIZE, false), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_INVALID_MECHANISM);
    assert_int_equal(sasl_start_text(s, "HT-SHA-256-NONE", "AAAA", 4), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_INVALID_MECHANISM);
    props.can_check_tokens = false;
    assert_int_equal(start(s, "HT-SHA-256-NONE", "juliet", PROOF_SIZE, true), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_INVALID_MECHANISM);
    sasl_free(&s);
}

/* XEP-0388, 2.2: an element that is not there, an empty one, white space; "=" is no data. */
static void texts_of_elements(void **state)
{
    static const struct {
        const char *text;
        int len;
    } cases[] = {
        { "", 0 }, { "  \n\t", 0 }, { "AGEAYg==", 4 }, { "\n  AGEAYg==\r\n ", 4 },
        { "=", GR_EINVAL }, { "AGEA Yg==", GR_EINVAL }, { "AGEAYg=", GR_EINVAL },
        { "AGEAYg==\v", GR_EINVAL },
    };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    char out[SASL_MESSAGE_MAX + 3], *large = gr_alloc(2 * SASL_MESSAGE_MAX + 1);

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++)
        assert_int_equal(sasl_decode_element(cases[i].text, strlen(cases[i].text), out),
                         cases[i].len);
    memset(large, 'A', 2 * SASL_MESSAGE_MAX);
    assert_int_equal(sasl_decode_element(large, 2 * SASL_MESSAGE_MAX, out), GR_ELIMIT);

    assert_int_equal(sasl_start_element(s, "PLAIN", NULL, 0, false), SASL_CHALLENGE);
    assert_int_equal(sasl_respond_element(s, "AGEAYg==", 8), SASL_NEED_CHECK);
    assert_string_equal(sasl_username(s), "a");
    assert_int_equal(sasl_start_element(s, "PLAIN", "", 0, false), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_start_element(s, "PLAIN", "=", 1, false), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_INCORRECT_ENCODING);
    assert_int_equal(sasl_start_element(s, "PLAIN", large, 2 * SASL_MESSAGE_MAX, false),
                     SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    gr_free(large);
    sasl_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers),
        cmocka_unit_test(oauth_as_plain),
        cmocka_unit_test(an_exchange),
        cmocka_unit_test(malformed_messages),
        cmocka_unit_test(only_for_who_says_so),
        cmocka_unit_test(texts_of_elements),
    };

    return cmocka_run_group_tests_name("sasl_token", tests, NULL, NULL);
}
