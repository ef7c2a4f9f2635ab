/* tests/unit/test_sasl.c: SCRAM by the RFCs' examples, both sides against each other, every way to
 * fail, PLAIN, offers, tickets, character data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "stream/sasl.h"
#include "stream/scram_client.h"

#define HOST "example.org"

static const uint32_t counts[SCRAM_HASHES] = { 4096, 4096, 4096 };
static const char binding_data[] = "0123456789abcdef0123456789abcdef";
static const struct scram_binding bindings[] = {
    { "tls-exporter", binding_data, 32 },
    { "tls-server-end-point", "END POINT", 9 },
};
static struct creds romeo; /* password "pencil" */

static struct sasl_props props_tls(void)
{
    return (struct sasl_props){
        .host = HOST, .secure = true, .can_check = true, .hashes = SCRAM_ALL_HASHES,
        .bindings = bindings, .n_bindings = GR_COUNT(bindings),
        .n_offered = GR_COUNT(bindings), .secret = "0123456789abcdef",
        .secret_len = 16, .iterations = counts,
    };
}

static int setup(void **state)
{
    (void)state;
    return creds_make("pencil", 6, SCRAM_ALL_HASHES, counts, &romeo);
}

/* --- the RFCs' examples ----------------------------------------------------------------------- */

struct vector {
    enum scram_hash hash;
    const char *binding, *cnonce, *snonce, *salt, *list_hash;
    const char *first, *challenge, *final, *verifier;
};

static const struct vector vectors[] = {
    { /* RFC 5802, 5 */
      SCRAM_SHA1, NULL, "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92", NULL,
      "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
      "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
    { /* RFC 7677, 3 */
      SCRAM_SHA256, NULL, "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
      "W22ZaJ0SNY7soEsUEjb6gQ==", NULL, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
    { /* XEP-0474, 6.3: channel binding, h=, and an unknown extension before the proof */
      SCRAM_SHA1, "THIS IS FAKE CB DATA", "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6",
      "a09117a6-ac50-4f2f-93f1-93799c2bddf6", "QSXCR+Q6sek8bf92", "G6k/rBLDqgOhRRaCuuatSDFkJ08=",
      "p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6",
      "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,"
      "s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=",
      "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,"
      "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,"
      "x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4=",
      "v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c=" },
};

static void server_by_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct scram_binding b = { "tls-exporter", v->binding, 0 };
        struct scram_offer offer = { .plus = v->binding != NULL, .bindings = &b };
        struct scram s = { .hash = v->hash };
        struct buf out = { 0 };
        struct creds_key key;
        char salt[64];
        int n = gr_base64_decode(salt, v->salt, strlen(v->salt));

        if (v->binding != NULL) {
            b.len = strlen(v->binding);
            offer.n_bindings = 1;
        }
        assert_int_equal(creds_make_key("pencil", 6, v->hash, salt, (size_t)n, 4096, &key), 0);
        assert_int_equal(scram_first(&s, &offer, v->first, strlen(v->first)), SCRAM_OK);
        assert_string_equal(s.username, "user");
        assert_null(s.authzid);
        scram_challenge(&s, &key, false, v->snonce, v->list_hash, &out);
        assert_string_equal(buf_str(&out), v->challenge);
        buf_fini(&out);
        assert_int_equal(scram_final(&s, v->final, strlen(v->final), &out), SCRAM_OK);
        assert_string_equal(buf_str(&out), v->verifier);
        buf_fini(&out);
        scram_fini(&s);
    }
}

static void client_by_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) { /* the third has an extension that ours does not send */
        const struct vector *v = &vectors[i];
        struct scram_client_conf conf = { .hash = v->hash, .username = "user",
                                          .password = "pencil", .flag = 'n', .nonce = v->cnonce };
        struct scram_client c = { 0 };
        struct buf out = { 0 };

        scram_client_first(&c, &conf, &out);
        assert_string_equal(buf_str(&out), v->first);
        buf_fini(&out);
        assert_int_equal(scram_client_final(&c, v->challenge, strlen(v->challenge), &out), 0);
        assert_string_equal(buf_str(&out), v->final);
        buf_fini(&out);
        assert_int_equal(scram_client_verify(&c, v->verifier, strlen(v->verifier)), 0);
        assert_int_equal(scram_client_verify(&c, v->verifier, strlen(v->verifier) - 1), GR_EINVAL);
        assert_int_equal(scram_client_verify(&c, "e=other-error", 13), GR_EINVAL);
        assert_int_equal(scram_client_verify(&c, "", 0), GR_EINVAL);
        scram_client_fini(&c);
    }
}

static void list_hash_by_vector(void **state)
{
    const char *mechs[] = { "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1" };
    const char *types[] = { "tls-server-end-point", "tls-exporter" };
    char out[SCRAM_LIST_HASH_SIZE], none[SCRAM_LIST_HASH_SIZE];

    (void)state;
    scram_list_hash(SCRAM_SHA1, mechs, 2, types, 2, out);
    assert_string_equal(out, "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
    scram_list_hash(SCRAM_SHA1, mechs, 2, NULL, 0, none);
    assert_string_not_equal(out, none);
}

/* --- client against server -------------------------------------------------------------------- */

static struct creds *lookup(const char *username)
{
    return strcmp(username, "romeo") == 0 ? &romeo : NULL;
}

/* A whole login in character data; what the last step was. */
static enum sasl_step login(struct sasl *s, const char *mech, struct scram_client_conf *conf)
{
    struct scram_client c = { 0 };
    struct buf msg = { 0 }, text = { 0 };
    char data[SASL_MESSAGE_MAX + 3];
    enum sasl_step step;
    const char *out;
    size_t len;

    scram_client_first(&c, conf, &msg);
    sasl_encode_text(&text, buf_data(&msg), buf_len(&msg));
    step = sasl_start_text(s, mech, buf_data(&text), buf_len(&text));
    if (step == SASL_NEED_CREDS)
        step = sasl_creds(s, sasl_ticket(s), lookup(sasl_username(s)));
    if (step == SASL_CHALLENGE) {
        int n;

        out = sasl_out(s, &len);
        buf_fini(&text);
        sasl_encode_text(&text, out, len);
        n = sasl_decode_text(buf_data(&text), buf_len(&text), data);
        assert_int_equal(n, len);
        buf_fini(&msg);
        assert_int_equal(scram_client_final(&c, data, (size_t)n, &msg), 0);
        buf_fini(&text);
        sasl_encode_text(&text, buf_data(&msg), buf_len(&msg));
        step = sasl_respond_text(s, buf_data(&text), buf_len(&text));
    }
    if (step == SASL_SUCCESS) {
        out = sasl_out(s, &len);
        assert_non_null(out);
        assert_int_equal(scram_client_verify(&c, out, len), 0);
    }
    buf_fini(&msg);
    buf_fini(&text);
    scram_client_fini(&c);
    return step;
}

static const struct {
    const char *name;
    enum scram_hash hash;
    char flag;
} scrams[] = {
    { "SCRAM-SHA-512-PLUS", SCRAM_SHA512, 'p' }, { "SCRAM-SHA-256-PLUS", SCRAM_SHA256, 'p' },
    { "SCRAM-SHA-1-PLUS", SCRAM_SHA1, 'p' },     { "SCRAM-SHA-512", SCRAM_SHA512, 'n' },
    { "SCRAM-SHA-256", SCRAM_SHA256, 'n' },      { "SCRAM-SHA-1", SCRAM_SHA1, 'n' },
};

static void all_scrams(void **state)
{
    struct sasl_props props = props_tls();

    (void)state;
    for (size_t i = 0; i < GR_COUNT(scrams); i++) {
        for (size_t b = 0; b < GR_COUNT(bindings); b++) {
            struct scram_client_conf conf = { .hash = scrams[i].hash, .username = "romeo",
                                              .password = "pencil", .flag = scrams[i].flag,
                                              .binding = bindings[b] };
            struct sasl *s = sasl_new(&props);

            assert_string_equal(sasl_mech_name(s), "");
            assert_int_equal(login(s, scrams[i].name, &conf), SASL_SUCCESS);
            assert_string_equal(sasl_mech_name(s), scrams[i].name);
            assert_string_equal(sasl_username(s), "romeo");
            assert_string_equal(sasl_authzid(s), "");
            assert_int_equal(sasl_condition(s), SASL_NONE);

            /* The same stream, next attempt: a wrong password, a wrong user, other binding data. */
            conf.password = "pencik";
            assert_int_equal(login(s, scrams[i].name, &conf), SASL_FAILURE);
            assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
            conf.password = "pencil";
            conf.username = "juliet";
            assert_int_equal(login(s, scrams[i].name, &conf), SASL_FAILURE);
            assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
            assert_int_equal(sasl_failures(s), 2);
            if (scrams[i].flag == 'p') {
                conf.username = "romeo";
                conf.binding.data = "another connection's data.......";
                assert_int_equal(login(s, scrams[i].name, &conf), SASL_FAILURE);
                assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
                conf.binding.type = "tls-unique";
                assert_int_equal(login(s, scrams[i].name, &conf), SASL_FAILURE);
                assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
            }
            sasl_free(&s);
            assert_null(s);
        }
    }
}

/* RFC 5802, 6: "y" is fine where nothing was offered, and an attack where it was. */
static void downgrade(void **state)
{
    struct scram_client_conf conf = { .hash = SCRAM_SHA256, .username = "romeo",
                                      .password = "pencil", .flag = 'y' };
    const char *off[] = { "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS" };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);

    (void)state;
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
    assert_string_equal(sasl_reason(s), "channel binding downgrade");
    props.n_bindings = props.n_offered = 0;
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_SUCCESS);
    props.n_bindings = props.n_offered = 2;
    props.disabled = off;
    props.n_disabled = 2;
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_FAILURE);
    props.n_disabled = 3;
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_SUCCESS);
    sasl_free(&s);
}

static void flags_and_names(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    static const char plus_n[] = "n,,n=romeo,r=x", bare_p[] = "p=tls-exporter,,n=romeo,r=x";

    (void)state;
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1-PLUS", plus_n, sizeof(plus_n) - 1), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", bare_p, sizeof(bare_p) - 1), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    sasl_free(&s);
}

static void list_protection(void **state)
{
    struct scram_client_conf conf = { .hash = SCRAM_SHA256, .username = "romeo",
                                      .password = "pencil", .flag = 'n' };
    const char *names[SASL_MECHS_MAX], *types[2] = { bindings[0].type, bindings[1].type };
    char want[SCRAM_LIST_HASH_SIZE];
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    size_t n;

    (void)state;
    props.protect_lists = true;
    n = sasl_mechanisms(&props, names);
    scram_list_hash(SCRAM_SHA256, names, n, types, 2, want);
    conf.list_hash = want;
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_SUCCESS);
    props.n_bindings = props.n_offered = 0;
    n = sasl_mechanisms(&props, names);
    scram_list_hash(SCRAM_SHA256, names, n, NULL, 0, want);
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_SUCCESS);
    sasl_free(&s);
}

static void usernames_and_authzids(void **state)
{
    static const struct {
        const char *username, *authzid;
        enum sasl_condition want;
    } cases[] = {
        { "ROMEO", NULL, SASL_NONE }, /* prepared, and hashed as it was sent */
        { "romeo", "romeo@example.org", SASL_NONE },
        { "romeo", "Romeo@EXAMPLE.org", SASL_NONE },
        { "romeo", "juliet@example.org", SASL_INVALID_AUTHZID },
        { "romeo", "romeo@example.com", SASL_INVALID_AUTHZID },
        { "romeo", "romeo@example.org/orchard", SASL_INVALID_AUTHZID },
        { "romeo", "romeo", SASL_INVALID_AUTHZID },
        { "romeo", "@example.org", SASL_INVALID_AUTHZID },
        { "romeo", "example.org", SASL_INVALID_AUTHZID },
        { "juliet", "romeo@example.org", SASL_INVALID_AUTHZID },
        { "romeo@example.org", NULL, SASL_NOT_AUTHORIZED },
        { "romeo@example.org", "romeo@example.org", SASL_INVALID_AUTHZID },
        { "a,b=c", NULL, SASL_NOT_AUTHORIZED },
        { "ro meo", NULL, SASL_NOT_AUTHORIZED },
    };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct scram_client_conf conf = { .hash = SCRAM_SHA1, .username = cases[i].username,
                                          .authzid = cases[i].authzid, .password = "pencil",
                                          .flag = 'n' };
        enum sasl_step step = login(s, "SCRAM-SHA-1", &conf);

        assert_int_equal(step, cases[i].want == SASL_NONE ? SASL_SUCCESS : SASL_FAILURE);
        assert_int_equal(sasl_condition(s), cases[i].want);
        if (step == SASL_SUCCESS) {
            assert_string_equal(sasl_username(s), "romeo");
            assert_string_equal(sasl_authzid(s),
                                cases[i].authzid != NULL ? "romeo@example.org" : "");
        }
    }
    sasl_free(&s);
}

/* --- what is malformed ------------------------------------------------------------------------ */

static void bad_first_messages(void **state)
{
    static const struct {
        const char *msg;
        enum sasl_condition want; /* SASL_NONE: fine */
    } cases[] = {
        { "n,,n=romeo,r=abc", SASL_NONE },
        { "n,,n=romeo,r=abc,z=ext,y=more=", SASL_NONE },
        { "n,,n=a=2Cb=3Dc,r=abc", SASL_NONE },
        { "", SASL_MALFORMED_REQUEST },
        { ",", SASL_MALFORMED_REQUEST },
        { "n", SASL_MALFORMED_REQUEST },
        { "n,", SASL_MALFORMED_REQUEST },
        { "n,,", SASL_MALFORMED_REQUEST },
        { "x,,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "nn,,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "p=,,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "p=a b,,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "n,a=,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "n,x=y,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "n,a=ro=meo,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "n,n=romeo,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,r=abc,n=romeo", SASL_MALFORMED_REQUEST },
        { "n,,n=,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=a b", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=a\x7f", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=\xc3\xa9", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=abc,", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=abc,z", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=abc,z=", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=abc,1=x", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=abc,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo,r=abc,p=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=ro=meo,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo=,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo=2,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=romeo=2c,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=rom\xc3,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=rom\xed\xa0\x80,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=rom\xc0\xaf,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,n=rom\xf4\x90\x80\x80,r=abc", SASL_MALFORMED_REQUEST },
        { "n,,m=must,n=romeo,r=abc", SASL_NOT_AUTHORIZED },
        { "n,,n=romeo,r=abc,m=must", SASL_NOT_AUTHORIZED },
        { "n,a=juliet@example.org,n=romeo,r=abc", SASL_INVALID_AUTHZID },
    };
    static const char with_nul[] = "n,,n=ro\0meo,r=abc";
    struct sasl_props props = props_tls();
    struct sasl *s;

    (void)state;
    props.n_bindings = props.n_offered = 0;
    s = sasl_new(&props);
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        enum sasl_step step = sasl_start(s, "SCRAM-SHA-1", cases[i].msg, strlen(cases[i].msg));

        if (sasl_condition(s) != cases[i].want)
            fail_msg("%s: %s", cases[i].msg, sasl_condition_name(sasl_condition(s)));
        assert_int_equal(step == SASL_FAILURE, cases[i].want != SASL_NONE);
    }
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", with_nul, sizeof(with_nul) - 1), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    sasl_free(&s);
}

static void nonce_bound(void **state)
{
    char msg[SCRAM_NONCE_MAX + 32];
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    int n = sprintf(msg, "n,,n=romeo,r=");

    (void)state;
    memset(msg + n, 'x', SCRAM_NONCE_MAX + 1);
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", msg, (size_t)n + SCRAM_NONCE_MAX),
                     SASL_NEED_CREDS);
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", msg, (size_t)n + SCRAM_NONCE_MAX + 1),
                     SASL_FAILURE);
    sasl_free(&s);
}

/* A right client-final-message, and what each change of it comes to. %R is the nonce, %P the
 * proof over just that message by a client that knows the password. */
static enum sasl_step final_like(struct sasl *s, const char *pattern)
{
    uint8_t salted[64], key[64], stored[64], sig[64], salt[64];
    struct buf msg = { 0 }, auth = { 0 };
    const char *out, *nonce, *comma;
    size_t len, n;
    enum sasl_step step;

    assert_int_equal(sasl_start(s, "SCRAM-SHA-256", "n,,n=romeo,r=abc", 16), SASL_NEED_CREDS);
    assert_int_equal(sasl_creds(s, sasl_ticket(s), &romeo), SASL_CHALLENGE);
    out = sasl_out(s, &len);
    buf_puts(&auth, "n=romeo,r=abc,");
    buf_append(&auth, out, len);
    buf_puts(&auth, ",");
    nonce = out + 2;
    comma = memchr(out, ',', len);
    n = (size_t)(comma - nonce);
    memcpy(salt, romeo.keys[SCRAM_SHA256].salt, 16);
    scram_salted_password(SCRAM_SHA256, "pencil", 6, salt, 16, 4096, salted);
    scram_hmac(SCRAM_SHA256, salted, 32, "Client Key", 10, key);
    scram_digest(SCRAM_SHA256, key, 32, stored);
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '%' && p[1] == 'R') {
            buf_append(&msg, nonce, n);
            p++;
        } else if (p[0] == ',' && p[1] == '%' && p[2] == 'P') {
            buf_append(&auth, buf_data(&msg), buf_len(&msg));
            scram_hmac(SCRAM_SHA256, stored, 32, buf_data(&auth), buf_len(&auth), sig);
            for (int i = 0; i < 32; i++)
                sig[i] ^= key[i];
            scram_put_base64(&msg, ",p", sig, 32);
            p += 2;
        } else {
            buf_append(&msg, p, 1);
        }
    }
    step = sasl_respond(s, buf_str(&msg), buf_len(&msg));
    buf_fini(&msg);
    buf_fini(&auth);
    return step;
}

static void bad_final_messages(void **state)
{
    static const struct {
        const char *msg;
        enum sasl_condition want;
    } cases[] = {
        { "c=biws,r=%R,%P", SASL_NONE },
        { "c=biws,r=%R,x=ext,y=2,%P", SASL_NONE },
        { "c=biws,r=%R,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SASL_NOT_AUTHORIZED },
        { "c=biws,r=%Rx,%P", SASL_NOT_AUTHORIZED },
        { "c=biws,r=abc,%P", SASL_NOT_AUTHORIZED },
        { "c=eSws,r=%R,%P", SASL_NOT_AUTHORIZED }, /* "y,,": not what was said first */
        { "c=biwsbg==,r=%R,%P", SASL_NOT_AUTHORIZED },
        { "c=biw=,r=%R,%P", SASL_NOT_AUTHORIZED },
        { "c=biw,r=%R,%P", SASL_MALFORMED_REQUEST },
        { "c=b i=,r=%R,%P", SASL_MALFORMED_REQUEST },
        { "m=must,c=biws,r=%R,%P", SASL_NOT_AUTHORIZED },
        { "c=biws,r=%R,m=must,%P", SASL_NOT_AUTHORIZED },
        { "", SASL_MALFORMED_REQUEST },
        { "r=%R,c=biws,%P", SASL_MALFORMED_REQUEST },
        { "c=biws,%P", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,x=1", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,%P,x=1", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,%P,", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,n=romeo,%P", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,p=", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,p=AAAA", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndV==", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7An*VQ=", SASL_MALFORMED_REQUEST },
        { "c=biws,r=%R,x=\xff,%P", SASL_MALFORMED_REQUEST },
    };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        enum sasl_step step = final_like(s, cases[i].msg);

        if (sasl_condition(s) != cases[i].want)
            fail_msg("%s: %s", cases[i].msg, sasl_condition_name(sasl_condition(s)));
        assert_int_equal(step, cases[i].want == SASL_NONE ? SASL_SUCCESS : SASL_FAILURE);
        /* After any end, one more message is out of turn. */
        assert_int_equal(sasl_respond(s, "c=biws", 6), SASL_FAILURE);
        assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    }
    sasl_free(&s);
}

/* --- unknown accounts ------------------------------------------------------------------------- */

static void take_challenge(struct sasl *s, const char *first, const struct creds *creds, char *out)
{
    enum sasl_step step = sasl_start(s, "SCRAM-SHA-256", first, strlen(first));
    const char *data;
    size_t len;

    if (step == SASL_NEED_CREDS)
        step = sasl_creds(s, sasl_ticket(s), creds);
    assert_int_equal(step, SASL_CHALLENGE);
    data = sasl_out(s, &len);
    memcpy(out, data, len);
    out[len] = '\0';
}

static void decoys_look_alike(void **state)
{
    char real[256], none[256], again[256], sha1_only[256], bad_name[256];
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    struct creds one;

    (void)state;
    memset(&one, 0, sizeof(one));
    one.keys[SCRAM_SHA1] = romeo.keys[SCRAM_SHA1];
    take_challenge(s, "n,,n=romeo,r=abc", &romeo, real);
    take_challenge(s, "n,,n=tybalt,r=abc", NULL, none);
    take_challenge(s, "n,,n=tybalt,r=abc", NULL, again);
    take_challenge(s, "n,,n=paris,r=abc", &one, sha1_only);
    take_challenge(s, "n,,n=not a name,r=abc", NULL, bad_name);
    /* r=abc and 32 characters, s= and 24, i=4096: all of one shape. */
    for (size_t i = 0; i < 5; i++) {
        const char *c = (const char *const[]){ real, none, again, sha1_only, bad_name }[i];

        assert_int_equal(strlen(c), 2 + 3 + 32 + 3 + 24 + 7);
        assert_memory_equal(c, "r=abc", 5);
        assert_memory_equal(c + 37, ",s=", 3);
        assert_string_equal(c + 64, ",i=4096");
    }
    /* The salt of nobody is as stable as that of somebody; nonces are fresh. */
    assert_string_equal(none + 37, again + 37);
    assert_memory_not_equal(none + 5, again + 5, 32);
    assert_string_not_equal(none + 37, sha1_only + 37);
    assert_string_not_equal(none + 37, bad_name + 37);
    sasl_free(&s);
    /* Also in another process with the same secret: nothing but the secret goes in. */
    s = sasl_new(&props);
    take_challenge(s, "n,,n=tybalt,r=def", NULL, again);
    assert_string_equal(none + 37, again + 37);
    sasl_free(&s);
}

/* --- PLAIN ------------------------------------------------------------------------------------ */

#define PLAIN(s, text) sasl_start(s, "PLAIN", text, sizeof(text) - 1)

static void plain_fields(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    size_t len;

    (void)state;
    assert_int_equal(PLAIN(s, "\0Romeo\0pencil"), SASL_NEED_CHECK);
    assert_string_equal(sasl_username(s), "romeo");
    assert_string_equal(sasl_password(s, &len), "pencil");
    assert_int_equal(len, 6);
    assert_int_equal(sasl_checked(s, sasl_ticket(s), true), SASL_SUCCESS);
    assert_null(sasl_out(s, &len));
    assert_int_equal(len, 0);
    assert_string_equal(sasl_password(s, &len), "");
    assert_int_equal(PLAIN(s, "romeo@example.org\0romeo\0pencil"), SASL_NEED_CHECK);
    assert_string_equal(sasl_authzid(s), "romeo@example.org");
    assert_int_equal(sasl_checked(s, sasl_ticket(s), false), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_NOT_AUTHORIZED);
    assert_string_equal(sasl_password(s, &len), "");

#define REFUSED(text, why)                                                                         \
    do {                                                                                           \
        assert_int_equal(PLAIN(s, text), SASL_FAILURE);                                            \
        assert_string_equal(sasl_condition_name(sasl_condition(s)), why);                          \
    } while (0)
    REFUSED("", "malformed-request");
    REFUSED("romeo", "malformed-request");
    REFUSED("\0romeo", "malformed-request");
    REFUSED("\0", "malformed-request");
    REFUSED("\0\0", "malformed-request");
    REFUSED("\0\0pencil", "malformed-request");
    REFUSED("\0romeo\0pen\0cil", "malformed-request");
    REFUSED("\0romeo\0pencil\0", "malformed-request");
    REFUSED("\0romeo\0\xff", "malformed-request");
    REFUSED("\0rom\xc3\0pencil", "malformed-request");
    REFUSED("\xc3\0romeo\0pencil", "malformed-request");
    REFUSED("\0romeo\0", "not-authorized");
    REFUSED("\0ro@meo\0pencil", "not-authorized");
    REFUSED("juliet@example.org\0romeo\0pencil", "invalid-authzid");
    REFUSED("romeo@example.org/x\0romeo\0pencil", "invalid-authzid");
    REFUSED("x\0ro@meo\0pencil", "invalid-authzid");
#undef REFUSED
    props.http_identity = true;
    assert_int_equal(PLAIN(s, "\0romeo\0"), SASL_NEED_CHECK);
    assert_string_equal(sasl_password(s, &len), "");
    assert_int_equal(sasl_checked(s, sasl_ticket(s), true), SASL_SUCCESS);
    sasl_free(&s);
}

/* RFC 4616, 2: 255 octets in each field must do. */
static void plain_long_fields(void **state)
{
    char host[256], msg[3 * 256], *p = msg;
    struct sasl_props props = props_tls();
    struct sasl *s;
    size_t len;

    (void)state;
    /* authzid: 63 + @ + 191 (three labels of 63) = 255; authcid 63; password 255 */
    memset(host, 'h', 191);
    host[63] = host[127] = '.';
    host[191] = '\0';
    props.host = host;
    s = sasl_new(&props);
    memset(p, 'u', 63);
    p += 63;
    *p++ = '@';
    memcpy(p, host, 192);
    p += 192;
    memset(p, 'u', 63);
    p += 63;
    *p++ = '\0';
    memset(p, 'p', 255);
    p += 255;
    assert_int_equal(sasl_start(s, "PLAIN", msg, (size_t)(p - msg)), SASL_NEED_CHECK);
    sasl_password(s, &len);
    assert_int_equal(len, 255);
    sasl_free(&s);
}

static void plain_against_record(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    const char *password;
    struct creds decoy;
    size_t len;

    (void)state;
    assert_int_equal(PLAIN(s, "\0romeo\0pencil"), SASL_NEED_CHECK);
    password = sasl_password(s, &len);
    assert_int_equal(sasl_checked(s, sasl_ticket(s), creds_check_plain(&romeo, password, len)),
                     SASL_SUCCESS);
    assert_int_equal(PLAIN(s, "\0juliet\0pencil"), SASL_NEED_CHECK);
    password = sasl_password(s, &len);
    creds_decoy("0123456789abcdef", 16, "juliet", HOST, SCRAM_ALL_HASHES, counts, &decoy);
    assert_int_equal(sasl_checked(s, sasl_ticket(s), creds_check_plain(&decoy, password, len)),
                     SASL_FAILURE);
    sasl_free(&s);
}

/* --- offers, order of messages ---------------------------------------------------------------- */

static void offers(struct sasl_props *props, const char *want)
{
    const char *names[SASL_MECHS_MAX];
    size_t n = sasl_mechanisms(props, names);
    struct buf b = { 0 };

    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i > 0 ? " " : "", names[i]);
    assert_string_equal(buf_str(&b), want);
    buf_fini(&b);
}

static enum sasl_condition external_usable(const struct sasl_mech *mech,
                                           const struct sasl_props *props)
{
    (void)mech;
    return props->secure ? SASL_NONE : SASL_ENCRYPTION_REQUIRED;
}

/* A mechanism where the server speaks first. */
static enum sasl_step external_begin(struct sasl *s, const char *data, size_t len)
{
    assert_null(data);
    assert_int_equal(len, 0);
    strcpy(sasl_state(s), "asked");
    return sasl_challenge(s, "who?", 4);
}

static enum sasl_step external_respond(struct sasl *s, const char *data, size_t len)
{
    assert_string_equal(sasl_state(s), "asked");
    if (!sasl_set_username(s, data, len))
        return sasl_fail(s, SASL_NOT_AUTHORIZED, "no name");
    return sasl_succeed(s, "", 0);
}

static const struct sasl_mech external = {
    .name = "X-WHO", .preference = 100, .state_size = 8, .usable = external_usable,
    .begin = external_begin, .respond = external_respond,
};

static void offered_lists(void **state)
{
    const char *off[] = { "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "PLAIN" };
    const struct sasl_mech *const extra[] = { &external };
    struct sasl_props props = props_tls();

    (void)state;
    offers(&props, "SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS "
                   "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 PLAIN");
    assert_true(sasl_offers_binding(&props));
    props.disabled = off;
    props.n_disabled = 3;
    offers(&props, "SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-512 SCRAM-SHA-256");
    props.n_disabled = 0;
    props.require_binding = true;
    offers(&props, "SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS");
    props.require_binding = false;
    props.hashes = SCRAM_BIT(SCRAM_SHA1);
    offers(&props, "SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN");
    props.hashes = 0; /* a provider that can only verify */
    offers(&props, "PLAIN");
    assert_false(sasl_offers_binding(&props));
    props.can_check = false;
    offers(&props, "");
    props = props_tls();
    props.extra = extra;
    props.n_extra = 1;
    props.secure = false;
    props.n_bindings = props.n_offered = 0;
    offers(&props, "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1");
    props.allow_plain_unencrypted = true;
    offers(&props, "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 PLAIN");
    props.encryption_required = true;
    offers(&props, "");
    props.secure = true;
    offers(&props, "X-WHO SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 PLAIN");
}

static void asking_for_what_is_not_offered(void **state)
{
    const char *off[] = { "SCRAM-SHA-1" };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);

    (void)state;
#define ASKING(mech, why)                                                                          \
    do {                                                                                           \
        assert_int_equal(sasl_start(s, mech, "\0romeo\0pencil", 13), SASL_FAILURE);                \
        assert_string_equal(sasl_condition_name(sasl_condition(s)), why);                          \
    } while (0)
    ASKING("CRAM-MD5", "invalid-mechanism");
    ASKING("plain", "invalid-mechanism");
    ASKING("", "invalid-mechanism");
    ASKING(NULL, "invalid-mechanism");
    props.disabled = off;
    props.n_disabled = 1;
    ASKING("SCRAM-SHA-1", "invalid-mechanism");
    props.require_binding = true;
    ASKING("PLAIN", "mechanism-too-weak");
    ASKING("SCRAM-SHA-256", "mechanism-too-weak");
    props.require_binding = false;
    props.secure = false;
    ASKING("PLAIN", "encryption-required");
    props.encryption_required = true;
    ASKING("SCRAM-SHA-256", "encryption-required");
    props = props_tls();
    props.n_bindings = props.n_offered = 0;
    ASKING("SCRAM-SHA-256-PLUS", "invalid-mechanism");
    props.hashes = SCRAM_BIT(SCRAM_SHA256);
    ASKING("SCRAM-SHA-512", "invalid-mechanism");
    props.can_check = false;
    ASKING("PLAIN", "invalid-mechanism");
    assert_int_equal(sasl_failures(s), 12);
#undef ASKING
    sasl_free(&s);
}

static void server_first_mechanism(void **state)
{
    const struct sasl_mech *const extra[] = { &external };
    struct sasl_props props = props_tls();
    struct buf text = { 0 };
    struct sasl *s;
    size_t len;

    (void)state;
    props.extra = extra;
    props.n_extra = 1;
    s = sasl_new(&props);
    assert_int_equal(sasl_start(s, "X-WHO", "me", 2), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_start(s, "X-WHO", NULL, 0), SASL_CHALLENGE);
    assert_memory_equal(sasl_out(s, &len), "who?", 4);
    assert_int_equal(sasl_respond_text(s, "bWU=", 4), SASL_SUCCESS);
    assert_string_equal(sasl_username(s), "me");
    /* Additional data of zero length: "=" (RFC 6120, 6.4.6). */
    assert_non_null(sasl_out(s, &len));
    sasl_encode_text(&text, sasl_out(s, &len), len);
    assert_string_equal(buf_str(&text), "=");
    buf_fini(&text);
    sasl_encode_text(&text, NULL, 0);
    assert_int_equal(buf_len(&text), 0);
    assert_int_equal(sasl_start_text(s, "X-WHO", "", 0), SASL_CHALLENGE);
    assert_int_equal(sasl_respond_text(s, "=", 1), SASL_FAILURE);
    assert_int_equal(sasl_start_text(s, "X-WHO", "=", 1), SASL_FAILURE);
    buf_fini(&text);
    sasl_free(&s);
}

/* RFC 6120, 6.3.10: both mechanisms also without initial response. */
static void without_initial_response(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    size_t len;

    (void)state;
    assert_int_equal(sasl_start_text(s, "PLAIN", "", 0), SASL_CHALLENGE);
    assert_null(sasl_out(s, &len));
    assert_int_equal(sasl_respond_text(s, "AHJvbWVvAHBlbmNpbA==", 20), SASL_NEED_CHECK);
    assert_string_equal(sasl_username(s), "romeo");
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", NULL, 0), SASL_CHALLENGE);
    assert_int_equal(sasl_respond(s, "n,,n=romeo,r=abc", 16), SASL_NEED_CREDS);
    /* An empty one is there, and wrong. */
    assert_int_equal(sasl_start_text(s, "PLAIN", "=", 1), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    sasl_free(&s);
}

static void order_and_tickets(void **state)
{
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    struct creds other;
    unsigned ticket;

    (void)state;
    /* Nothing is under way. */
    assert_int_equal(sasl_respond(s, "", 0), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_creds(s, sasl_ticket(s), &romeo), SASL_STALE);
    assert_int_equal(sasl_checked(s, sasl_ticket(s), true), SASL_STALE);
    assert_int_equal(sasl_refuse(s, sasl_ticket(s), SASL_TEMPORARY_AUTH_FAILURE), SASL_STALE);
    assert_int_equal(sasl_abort(s), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_ABORTED);

    /* The answer to the first question must not serve the second. */
    assert_int_equal(creds_make("evil", 4, SCRAM_ALL_HASHES, counts, &other), 0);
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", "n,,n=mallory,r=abc", 18), SASL_NEED_CREDS);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", "n,,n=romeo,r=abc", 16), SASL_NEED_CREDS);
    assert_int_equal(sasl_creds(s, ticket, &other), SASL_STALE);
    assert_int_equal(sasl_checked(s, sasl_ticket(s), true), SASL_STALE);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_creds(s, ticket, &romeo), SASL_CHALLENGE);
    assert_int_equal(sasl_creds(s, ticket, &romeo), SASL_STALE);

    assert_int_equal(PLAIN(s, "\0mallory\0evil"), SASL_NEED_CHECK);
    ticket = sasl_ticket(s);
    assert_int_equal(PLAIN(s, "\0romeo\0evil"), SASL_NEED_CHECK);
    assert_int_equal(sasl_checked(s, ticket, true), SASL_STALE);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_abort(s), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_ABORTED);
    assert_int_equal(sasl_checked(s, ticket, true), SASL_STALE);

    /* Talking while we are looking. */
    assert_int_equal(PLAIN(s, "\0romeo\0evil"), SASL_NEED_CHECK);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_respond(s, "x", 1), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_checked(s, ticket, true), SASL_STALE);
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", "n,,n=romeo,r=abc", 16), SASL_NEED_CREDS);
    ticket = sasl_ticket(s);
    assert_int_equal(sasl_respond(s, "c=biws,r=abc,p=AAAA", 19), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_creds(s, ticket, &romeo), SASL_STALE);

    /* What the provider may say instead. */
    assert_int_equal(sasl_start(s, "SCRAM-SHA-1", "n,,n=romeo,r=abc", 16), SASL_NEED_CREDS);
    assert_int_equal(sasl_refuse(s, sasl_ticket(s), SASL_TEMPORARY_AUTH_FAILURE), SASL_FAILURE);
    assert_string_equal(sasl_condition_name(sasl_condition(s)), "temporary-auth-failure");
    assert_int_equal(PLAIN(s, "\0romeo\0pencil"), SASL_NEED_CHECK);
    assert_int_equal(sasl_checked(s, sasl_ticket(s), true), SASL_SUCCESS);
    assert_int_equal(sasl_refuse(s, sasl_ticket(s), SASL_ACCOUNT_DISABLED), SASL_FAILURE);
    assert_string_equal(sasl_condition_name(sasl_condition(s)), "account-disabled");
    assert_string_equal(sasl_username(s), "romeo"); /* for the log */
    assert_string_equal(sasl_condition_name(SASL_CREDENTIALS_EXPIRED), "credentials-expired");
    sasl_free(&s);
    sasl_free(&s); /* NULL: nothing */
}

/* --- character data --------------------------------------------------------------------------- */

static void character_data(void **state)
{
    static const char *const bad[] = { "A", "AA", "AAA", "AA=A", "A===", "====", "==", "AA==AA==",
                                       " AAA", "AAA\n", "AAA-", "AB==", "AAB=", "AAAA=" };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);
    char out[SASL_MESSAGE_MAX + 3];
    char *big = gr_alloc(4 * SASL_MESSAGE_MAX);
    size_t most = 4 * ((SASL_MESSAGE_MAX + 2) / 3);

    (void)state;
    assert_int_equal(sasl_decode_text("", 0, out), 0);
    assert_int_equal(sasl_decode_text("=", 1, out), 0);
    assert_int_equal(sasl_decode_text("YWJj", 4, out), 3);
    for (size_t i = 0; i < GR_COUNT(bad); i++) {
        assert_int_equal(sasl_decode_text(bad[i], strlen(bad[i]), out), GR_EINVAL);
        assert_int_equal(sasl_start_text(s, "PLAIN", bad[i], strlen(bad[i])), SASL_FAILURE);
        assert_int_equal(sasl_condition(s), SASL_INCORRECT_ENCODING);
        assert_int_equal(sasl_start(s, "PLAIN", NULL, 0), SASL_CHALLENGE);
        assert_int_equal(sasl_respond_text(s, bad[i], strlen(bad[i])), SASL_FAILURE);
        assert_int_equal(sasl_condition(s), SASL_INCORRECT_ENCODING);
        /* and that exchange is over */
        assert_int_equal(sasl_respond_text(s, "AHJvbWVvAHBlbmNpbA==", 20), SASL_FAILURE);
    }
    memset(big, 'A', 4 * SASL_MESSAGE_MAX);
    assert_int_equal(sasl_decode_text(big, most, out), GR_ELIMIT); /* one byte over */
    assert_int_equal(sasl_decode_text(big, most - 4, out), 3 * (most - 4) / 4);
    assert_int_equal(sasl_decode_text(big, 4 * SASL_MESSAGE_MAX, out), GR_ELIMIT);
    assert_int_equal(sasl_start_text(s, "PLAIN", big, 4 * SASL_MESSAGE_MAX), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    assert_int_equal(sasl_start(s, "PLAIN", big, SASL_MESSAGE_MAX + 1), SASL_FAILURE);
    assert_int_equal(sasl_condition(s), SASL_MALFORMED_REQUEST);
    gr_free(big);
    sasl_free(&s);
}

/* --- the client's own caution ----------------------------------------------------------------- */

static void client_distrusts(void **state)
{
    static const struct {
        const char *msg;
        int want;
    } cases[] = {
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096", 0 },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096,z=1", 0 },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096,h=right", 0 },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096,h=wrong", GR_EINVAL },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096,m=1", GR_EINVAL },
        { "m=1,r=abcdef,s=QSXCR+Q6sek8bf92,i=4096", GR_EINVAL },
        { "r=abc,s=QSXCR+Q6sek8bf92,i=4096", GR_EINVAL }, /* nothing of its own */
        { "r=xyzdef,s=QSXCR+Q6sek8bf92,i=4096", GR_EINVAL },
        { "r=abcdef,s=QSX,i=4096", GR_EINVAL },
        { "r=abcdef,i=4096", GR_EINVAL },
        { "r=abcdef,s=QSXCR+Q6sek8bf92", GR_EINVAL },
        { "e=other-error", GR_EINVAL },
        { "", GR_EINVAL },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4095", GR_ELIMIT },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=1000001", GR_ELIMIT },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=04096", GR_ELIMIT },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=4096x", GR_ELIMIT },
        { "r=abcdef,s=QSXCR+Q6sek8bf92,i=99999999999999999999", GR_ELIMIT },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(cases); i++) {
        struct scram_client_conf conf = { .hash = SCRAM_SHA1, .username = "user",
                                          .password = "pencil", .flag = 'n', .nonce = "abc",
                                          .list_hash = "right" };
        struct scram_client c = { 0 };
        struct buf out = { 0 };

        scram_client_first(&c, &conf, &out);
        buf_fini(&out);
        assert_int_equal(scram_client_final(&c, cases[i].msg, strlen(cases[i].msg), &out),
                         cases[i].want);
        buf_fini(&out);
        if (cases[i].want < 0)
            assert_int_equal(scram_client_verify(&c, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", 30),
                             GR_EINVAL);
        scram_client_fini(&c);
    }
}

static void client_cache(void **state)
{
    struct scram_cache cache = { 0 };
    struct scram_client_conf conf = { .hash = SCRAM_SHA512, .username = "romeo",
                                      .password = "pencil", .flag = 'n', .cache = &cache };
    struct sasl_props props = props_tls();
    struct sasl *s = sasl_new(&props);

    (void)state;
    assert_int_equal(login(s, "SCRAM-SHA-512", &conf), SASL_SUCCESS);
    assert_int_equal(cache.iterations, 4096);
    assert_int_equal(login(s, "SCRAM-SHA-512", &conf), SASL_SUCCESS);
    cache.salted[0] ^= 1; /* it is really used */
    assert_int_equal(login(s, "SCRAM-SHA-512", &conf), SASL_FAILURE);
    conf.hash = SCRAM_SHA256; /* and only where it belongs */
    assert_int_equal(login(s, "SCRAM-SHA-256", &conf), SASL_SUCCESS);
    sasl_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_by_vectors),
        cmocka_unit_test(client_by_vectors),
        cmocka_unit_test(list_hash_by_vector),
        cmocka_unit_test(all_scrams),
        cmocka_unit_test(downgrade),
        cmocka_unit_test(flags_and_names),
        cmocka_unit_test(list_protection),
        cmocka_unit_test(usernames_and_authzids),
        cmocka_unit_test(bad_first_messages),
        cmocka_unit_test(nonce_bound),
        cmocka_unit_test(bad_final_messages),
        cmocka_unit_test(decoys_look_alike),
        cmocka_unit_test(plain_fields),
        cmocka_unit_test(plain_long_fields),
        cmocka_unit_test(plain_against_record),
        cmocka_unit_test(offered_lists),
        cmocka_unit_test(asking_for_what_is_not_offered),
        cmocka_unit_test(server_first_mechanism),
        cmocka_unit_test(without_initial_response),
        cmocka_unit_test(order_and_tickets),
        cmocka_unit_test(character_data),
        cmocka_unit_test(client_distrusts),
        cmocka_unit_test(client_cache),
    };

    return cmocka_run_group_tests_name("sasl", tests, setup, NULL);
}
