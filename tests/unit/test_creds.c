/* tests/unit/test_creds.c: credential records: derivation, plain check, decoys, stored form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "stream/creds.h"

static const uint32_t few[SCRAM_HASHES] = { 4096, 4096, 4097 };
static const char secret[] = "0123456789abcdef";

static void is_hex(const void *data, size_t len, const char *want)
{
    char hex[2 * CREDS_KEY_MAX + 1];

    gr_hex_encode(hex, data, len);
    assert_string_equal(hex, want);
}

/* RFC 2202 and RFC 4231, test case 2; RFC 6070, case 4096. */
static void primitives(void **state)
{
    uint8_t out[CREDS_KEY_MAX];

    (void)state;
    scram_hmac(SCRAM_SHA1, "Jefe", 4, "what do ya want for nothing?", 28, out);
    is_hex(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    scram_hmac(SCRAM_SHA256, "Jefe", 4, "what do ya want for nothing?", 28, out);
    is_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    scram_hmac(SCRAM_SHA512, "Jefe", 4, "what do ya want for nothing?", 28, out);
    is_hex(out, 64, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                    "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
    scram_digest(SCRAM_SHA256, "abc", 3, out);
    is_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(scram_salted_password(SCRAM_SHA1, "password", 8, "salt", 4, 4096, out), 0);
    is_hex(out, 20, "4b007901b765489abead49d926f721d065a429c1");
    assert_int_equal(scram_salted_password(SCRAM_SHA1, "password", 8, "salt", 4, 0, out),
                     GR_EINVAL);
    assert_int_equal(scram_salted_password(SCRAM_SHA1, "password", 8, "", 0, 4096, out),
                     GR_EINVAL);
    assert_string_equal(scram_hash_name(SCRAM_SHA512), "SHA-512");
    assert_int_equal(scram_hash_size(SCRAM_SHA1), 20);
}

static void make_and_check(void **state)
{
    struct creds a, b;

    (void)state;
    assert_int_equal(creds_make("pencil", 6, SCRAM_ALL_HASHES, few, &a), 0);
    assert_int_equal(creds_make("pencil", 6, SCRAM_ALL_HASHES, few, &b), 0);
    for (int h = 0; h < SCRAM_HASHES; h++) {
        assert_int_equal(a.keys[h].iterations, few[h]);
        assert_int_equal(a.keys[h].salt_len, CREDS_SALT_SIZE);
        assert_memory_not_equal(a.keys[h].salt, b.keys[h].salt, CREDS_SALT_SIZE);
        assert_memory_not_equal(a.keys[h].salt, a.keys[(h + 1) % 3].salt, CREDS_SALT_SIZE);
    }
    assert_true(creds_check_plain(&a, "pencil", 6));
    assert_false(creds_check_plain(&a, "pencil", 5));
    assert_false(creds_check_plain(&a, "Pencil", 6));
    assert_false(creds_check_plain(&a, "", 0));
    /* Each hash by itself must prove the password. */
    for (int h = 0; h < SCRAM_HASHES; h++) {
        struct creds one;

        memset(&one, 0, sizeof(one));
        one.keys[h] = a.keys[h];
        assert_true(creds_check_plain(&one, "pencil", 6));
        assert_false(creds_check_plain(&one, "pencik", 6));
        one.keys[h].stored_key[scram_hash_size((enum scram_hash)h) - 1] ^= 1;
        assert_false(creds_check_plain(&one, "pencil", 6));
    }
    memset(&b, 0, sizeof(b));
    assert_false(creds_check_plain(&b, "pencil", 6));
}

static void make_refuses(void **state)
{
    static const struct creds empty;
    const uint32_t low[SCRAM_HASHES] = { 4095, 4096, 4096 };
    const uint32_t high[SCRAM_HASHES] = { 4096, 4096, 1000001 };
    char longest[2000];
    struct creds c;

    (void)state;
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(creds_make("", 0, SCRAM_ALL_HASHES, few, &c), GR_EINVAL);
    assert_int_equal(creds_make("x", 1, 0, few, &c), GR_EINVAL);
    assert_int_equal(creds_make("x", 1, 8, few, &c), GR_EINVAL);
    assert_int_equal(creds_make("x", 1, SCRAM_ALL_HASHES, low, &c), GR_EINVAL);
    assert_int_equal(creds_make("x", 1, SCRAM_ALL_HASHES, high, &c), GR_EINVAL);
    assert_memory_equal(&c, &empty, sizeof(c));
    assert_int_equal(creds_make("\xff\xfe", 2, SCRAM_ALL_HASHES, few, &c), GR_EINVAL);
    assert_int_equal(creds_make("a\0b", 3, SCRAM_ALL_HASHES, few, &c), GR_EINVAL);
    assert_int_equal(creds_make(longest, sizeof(longest), SCRAM_ALL_HASHES, few, &c), GR_EINVAL);
    /* A count that is not asked for does not matter. */
    assert_int_equal(creds_make("x", 1, SCRAM_BIT(SCRAM_SHA256), low, &c), 0);
    assert_int_equal(c.keys[SCRAM_SHA1].salt_len, 0);
}

static void password_is_prepared(void **state)
{
    struct creds c;

    (void)state;
    /* e + combining acute equals the composed letter; a no-break space is a space. */
    assert_int_equal(creds_make("caf\xc3\xa9 x", 7, SCRAM_BIT(SCRAM_SHA1), few, &c), 0);
    assert_true(creds_check_plain(&c, "cafe\xcc\x81 x", 8));
    assert_true(creds_check_plain(&c, "caf\xc3\xa9\xc2\xa0x", 8));
    assert_false(creds_check_plain(&c, "cafe x", 6));
}

static void defaults_and_stale(void **state)
{
    const uint32_t more[SCRAM_HASHES] = { 4096, 8192, 4097 };
    struct creds c;

    (void)state;
    assert_int_equal(creds_iterations[SCRAM_SHA1], 10000);
    assert_int_equal(creds_iterations[SCRAM_SHA256], 50000);
    assert_int_equal(creds_iterations[SCRAM_SHA512], 50000);
    assert_int_equal(creds_make("x", 1, SCRAM_BIT(SCRAM_SHA1), NULL, &c), 0);
    assert_int_equal(c.keys[SCRAM_SHA1].iterations, 10000);
    assert_false(creds_stale(&c, SCRAM_BIT(SCRAM_SHA1), NULL));
    assert_true(creds_stale(&c, SCRAM_BIT(SCRAM_SHA1), few));
    assert_true(creds_stale(&c, SCRAM_ALL_HASHES, NULL));
    assert_int_equal(creds_make("x", 1, SCRAM_ALL_HASHES, few, &c), 0);
    assert_false(creds_stale(&c, SCRAM_ALL_HASHES, few));
    assert_true(creds_stale(&c, SCRAM_ALL_HASHES, more));
    assert_true(creds_stale(&c, SCRAM_BIT(SCRAM_SHA256), few));
}

static void decoys(void **state)
{
    struct creds a, b;
    struct creds_key k;

    (void)state;
    creds_decoy(secret, 16, "romeo", "example.org", SCRAM_ALL_HASHES, few, &a);
    creds_decoy(secret, 16, "romeo", "example.org", SCRAM_ALL_HASHES, few, &b);
    assert_true(a.decoy);
    for (int h = 0; h < SCRAM_HASHES; h++) {
        assert_int_equal(a.keys[h].salt_len, CREDS_SALT_SIZE);
        assert_int_equal(a.keys[h].iterations, few[h]);
        assert_memory_equal(a.keys[h].salt, b.keys[h].salt, CREDS_SALT_SIZE);
        assert_memory_not_equal(a.keys[h].salt, a.keys[(h + 1) % 3].salt, CREDS_SALT_SIZE);
    }
    /* Another secret, user or host: another salt; fields do not run together. */
    creds_decoy_key("fedcba9876543210", 16, "romeo", "example.org", SCRAM_SHA1, 4096, &k);
    assert_memory_not_equal(k.salt, a.keys[SCRAM_SHA1].salt, CREDS_SALT_SIZE);
    creds_decoy_key(secret, 16, "juliet", "example.org", SCRAM_SHA1, 4096, &k);
    assert_memory_not_equal(k.salt, a.keys[SCRAM_SHA1].salt, CREDS_SALT_SIZE);
    creds_decoy_key(secret, 16, "rome", "oexample.org", SCRAM_SHA1, 4096, &k);
    assert_memory_not_equal(k.salt, a.keys[SCRAM_SHA1].salt, CREDS_SALT_SIZE);
    /* Even with keys that fit, a decoy proves nothing. */
    assert_false(creds_check_plain(&a, "x", 1));
    assert_int_equal(creds_make("x", 1, SCRAM_BIT(SCRAM_SHA1), few, &b), 0);
    b.decoy = true;
    assert_false(creds_check_plain(&b, "x", 1));
}

static void encode_decode(void **state)
{
    struct creds all, part, back;
    uint8_t bytes[CREDS_ENCODED_MAX];

    (void)state;
    assert_int_equal(creds_make("pencil", 6, SCRAM_ALL_HASHES, few, &all), 0);
    for (unsigned mask = 1; mask <= SCRAM_ALL_HASHES; mask++) {
        size_t len;

        part = all;
        for (int h = 0; h < SCRAM_HASHES; h++) {
            if ((mask & SCRAM_BIT(h)) == 0)
                memset(&part.keys[h], 0, sizeof(part.keys[h]));
        }
        len = creds_encode(&part, bytes, sizeof(bytes));
        assert_int_equal(creds_decode(bytes, len, &back), 0);
        assert_memory_equal(&back, &part, sizeof(back));
        /* Cut anywhere, or one byte more: refused, and nothing is left in it. */
        for (size_t cut = 0; cut < len; cut++) {
            static const struct creds empty;
            uint8_t *exact = gr_alloc(cut + 1); /* so that ASan sees a read beyond */

            memcpy(exact, bytes, cut);
            exact = gr_realloc(exact, cut > 0 ? cut : 1);
            assert_int_equal(creds_decode(exact, cut, &back), GR_EINVAL);
            assert_memory_equal(&back, &empty, sizeof(back));
            gr_free(exact);
        }
        bytes[len] = 0;
        assert_int_equal(creds_decode(bytes, len + 1, &back), GR_EINVAL);
    }
}

static void decode_refuses(void **state)
{
    struct creds c, back;
    uint8_t bytes[CREDS_ENCODED_MAX];
    size_t len;

    (void)state;
    assert_int_equal(creds_make("pencil", 6, SCRAM_BIT(SCRAM_SHA1), few, &c), 0);
    len = creds_encode(&c, bytes, sizeof(bytes));
    assert_int_equal(len, 2 + 5 + 16 + 40);
#define BROKEN(at, value)                                                                          \
    do {                                                                                           \
        uint8_t was = bytes[at];                                                                   \
        bytes[at] = (value);                                                                       \
        assert_int_equal(creds_decode(bytes, len, &back), GR_EINVAL);                              \
        bytes[at] = was;                                                                           \
    } while (0)
    BROKEN(0, 0);    /* version */
    BROKEN(0, 2);
    BROKEN(1, 0);    /* mask: none, another hash, unknown bits */
    BROKEN(1, 2);
    BROKEN(1, 3);
    BROKEN(1, 8);
    BROKEN(1, 9);
    BROKEN(2, 1);    /* iterations over a million */
    BROKEN(4, 0);    /* and under 4096 */
    BROKEN(6, 0);    /* salt: none, too long, running out */
    BROKEN(6, 65);
    BROKEN(6, 15);
    BROKEN(6, 17);
    assert_int_equal(creds_decode(bytes, len, &back), 0);
}

static void make_key_for_imports(void **state)
{
    struct creds_key k;
    struct creds c;

    (void)state;
    assert_int_equal(creds_make_key("pencil", 6, SCRAM_SHA256, "a salt of another size", 22, 4096,
                                    &k), 0);
    memset(&c, 0, sizeof(c));
    c.keys[SCRAM_SHA256] = k;
    assert_true(creds_check_plain(&c, "pencil", 6));
    assert_int_equal(creds_make_key("pencil", 6, SCRAM_SHA256, "", 0, 4096, &k), GR_EINVAL);
    assert_int_equal(creds_make_key("pencil", 6, SCRAM_SHA256, secret, 16, 4095, &k), GR_EINVAL);
    assert_int_equal(creds_make_key("pencil", 6, SCRAM_SHA256, secret, CREDS_SALT_MAX + 1, 4096,
                                    &k), GR_EINVAL);
    assert_int_equal(creds_make_key("", 0, SCRAM_SHA256, secret, 16, 4096, &k), GR_EINVAL);
}

static void *check_many(void *arg)
{
    const struct creds *c = arg;

    for (int i = 0; i < 20; i++) {
        if (!creds_check_plain(c, "pencil", 6) || creds_check_plain(c, "pen", 3))
            return (void *)c;
    }
    return NULL;
}

/* The worker pool calls this from several threads at once. */
static void threads(void **state)
{
    pthread_t t[4];
    struct creds c;

    (void)state;
    assert_int_equal(creds_make("pencil", 6, SCRAM_ALL_HASHES, few, &c), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, check_many, &c), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong = &c;

        assert_int_equal(pthread_join(t[i], &wrong), 0);
        assert_null(wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads), /* first: also races for the fetching */
        cmocka_unit_test(primitives),
        cmocka_unit_test(make_and_check),
        cmocka_unit_test(make_refuses),
        cmocka_unit_test(password_is_prepared),
        cmocka_unit_test(defaults_and_stale),
        cmocka_unit_test(decoys),
        cmocka_unit_test(encode_decode),
        cmocka_unit_test(decode_refuses),
        cmocka_unit_test(make_key_for_imports),
    };

    return cmocka_run_group_tests_name("creds", tests, NULL, NULL);
}
