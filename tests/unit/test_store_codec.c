/* Stored formats: what is encoded comes back; what is damaged is refused. */
#include "store/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *text(size_t len, char c)
{
    char *s = gr_alloc(len + 1);

    memset(s, c, len);
    return s;
}

static void numbers_are_big_endian(void **state)
{
    uint8_t out[8];

    (void)state;
    codec_u64(out, 0x0102030405060708u);
    assert_memory_equal(out, "\1\2\3\4\5\6\7\10", 8);
    assert_true(codec_get_u64(out) == 0x0102030405060708u);
    codec_u64(out, UINT64_MAX);
    assert_true(codec_get_u64(out) == UINT64_MAX);
}

static void owner_keys(void **state)
{
    static const size_t lens[] = { 1, 399, 400, 401, 2047, 4096 };
    uint8_t a[CODEC_KEY_MAX], b[CODEC_KEY_MAX];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(lens); i++) {
        char *owner = text(lens[i], 'x');
        size_t n = codec_owner_key(a, owner, lens[i]), m;

        assert_true(n <= CODEC_KEY_MAX);
        assert_int_equal(a[0], lens[i] > CODEC_OWNER_DIRECT);
        owner[lens[i] - 1] = 'y';
        m = codec_owner_key(b, owner, lens[i]);
        assert_false(n == m && memcmp(a, b, n) == 0);
        gr_free(owner);
    }
}

static void owner_records(void **state)
{
    uint8_t rec[64];
    uint64_t id = 0;
    size_t len = codec_owner_size(5);

    (void)state;
    codec_owner(rec, 77, "a@b.c", 5);
    assert_int_equal(codec_get_owner((struct bytes){ rec, len }, "a@b.c", 5, &id), 0);
    assert_true(id == 77);
    assert_int_equal(codec_get_owner((struct bytes){ rec, len }, "a@b.d", 5, &id), GR_EIO);
    assert_int_equal(codec_get_owner((struct bytes){ rec, len }, "a@b.", 4, &id), GR_EIO);
    assert_int_equal(codec_get_owner((struct bytes){ rec, len - 1 }, "a@b.c", 5, &id), GR_EIO);
    assert_int_equal(codec_get_owner((struct bytes){ NULL, 0 }, "a@b.c", 5, &id), GR_EIO);
    rec[0] = 0x20;
    assert_int_equal(codec_get_owner((struct bytes){ rec, len }, "a@b.c", 5, &id), GR_EIO);
    codec_owner(rec, 0, "a@b.c", 5);
    assert_int_equal(codec_get_owner((struct bytes){ rec, len }, "a@b.c", 5, &id), GR_EIO);
}

static void counters_and_heads(void **state)
{
    uint8_t c[CODEC_COUNTER], h[CODEC_LOG_HEAD];
    struct log_head head;
    uint64_t a;

    (void)state;
    codec_counter(c, 5);
    assert_int_equal(codec_get_counter((struct bytes){ c, sizeof(c) }, &a), 0);
    assert_true(a == 5);
    assert_int_equal(codec_get_counter((struct bytes){ c, sizeof(c) - 1 }, &a), GR_EIO);
    assert_int_equal(codec_get_counter((struct bytes){ NULL, 0 }, &a), GR_EIO);
    c[0] ^= 1;
    assert_int_equal(codec_get_counter((struct bytes){ c, sizeof(c) }, &a), GR_EIO);

    codec_log_head(h, &(struct log_head){ .last = 9, .count = 4, .bytes = 77 });
    assert_int_equal(codec_get_log_head((struct bytes){ h, sizeof(h) }, &head), 0);
    assert_true(head.last == 9 && head.count == 4 && head.bytes == 77);
    assert_int_equal(codec_get_log_head((struct bytes){ h, 9 }, &head), GR_EIO);
    /* more rows than numbers given out */
    codec_log_head(h, &(struct log_head){ .last = 4, .count = 9 });
    assert_int_equal(codec_get_log_head((struct bytes){ h, sizeof(h) }, &head), GR_EIO);
}

/* Every length around the limits, and the longest; encode, decode, compare. */
static void map_rows(void **state)
{
    static const size_t lens[] = { 0, 1, 8, 470, 471, 472, 491, 492, 493, 503, 504, 1000, 16384 };
    uint8_t skey[CODEC_KEY_MAX];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(lens); i++) {
        char *key = text(lens[i], 'k');
        size_t klen = codec_map_key(skey, 3, key, lens[i]);
        size_t vlen = codec_row_size(lens[i], 5);
        uint8_t *sval = gr_alloc(vlen);
        struct bytes k, v;

        assert_true(klen <= CODEC_KEY_MAX);
        assert_int_equal(klen == CODEC_KEY_MAX, codec_long_key(lens[i]));
        codec_row(sval, key, lens[i], "value", 5);
        assert_int_equal(codec_get_map_row((struct bytes){ skey, klen },
                                           (struct bytes){ sval, vlen }, &k, &v), 0);
        assert_int_equal(k.len, lens[i]);
        assert_memory_equal(k.data, key, k.len);
        assert_int_equal(v.len, 5);
        assert_memory_equal(v.data, "value", 5);
        gr_free(sval);
        gr_free(key);
    }
}

static void long_rows_are_checked(void **state)
{
    char *key = text(600, 'k');
    uint8_t skey[CODEC_KEY_MAX];
    size_t klen = codec_map_key(skey, 3, key, 600), vlen = codec_row_size(600, 5);
    uint8_t *sval = gr_alloc(vlen);
    struct bytes k, v;

    (void)state;
    codec_row(sval, key, 600, "value", 5);
    for (size_t len = 0; len < vlen - 5; len++) /* cut anywhere in front of the value */
        assert_int_equal(codec_get_map_row((struct bytes){ skey, klen },
                                           (struct bytes){ sval, len }, &k, &v), GR_EIO);
    for (size_t bit = 0; bit < (vlen - 5) * 8; bit++) {
        sval[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(codec_get_map_row((struct bytes){ skey, klen },
                                           (struct bytes){ sval, vlen }, &k, &v), GR_EIO);
        sval[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 64; bit < klen * 8; bit++) { /* behind the owner's id */
        skey[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(codec_get_map_row((struct bytes){ skey, klen },
                                           (struct bytes){ sval, vlen }, &k, &v), GR_EIO);
        skey[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    gr_free(sval);
    gr_free(key);
}

static void short_rows_are_checked(void **state)
{
    uint8_t skey[CODEC_KEY_MAX] = { 0 };
    struct bytes k, v;

    (void)state;
    assert_int_equal(codec_get_map_row((struct bytes){ skey, 7 }, (struct bytes){ "\x10v", 2 }, &k,
                                       &v), GR_EIO);
    assert_int_equal(codec_get_map_row((struct bytes){ skey, 9 }, (struct bytes){ "", 0 }, &k, &v),
                     GR_EIO);
    assert_int_equal(codec_get_map_row((struct bytes){ skey, 9 }, (struct bytes){ "\x20v", 2 }, &k,
                                       &v), GR_EIO);
    assert_int_equal(codec_get_map_row((struct bytes){ skey, 9 }, (struct bytes){ "\x11v", 2 }, &k,
                                       &v), GR_EIO);
    assert_int_equal(codec_get_map_row((struct bytes){ skey, 505 }, (struct bytes){ "\x10v", 2 },
                                       &k, &v), GR_EIO);
    assert_int_equal(codec_get_map_row((struct bytes){ skey, 9 }, (struct bytes){ "\x10", 1 }, &k,
                                       &v), 0);
    assert_int_equal(v.len, 0);
}

static void log_rows(void **state)
{
    uint8_t skey[16];
    struct bytes k, v;

    (void)state;
    codec_log_key(skey, 1, 2);
    assert_int_equal(codec_get_log_row((struct bytes){ skey, 16 }, (struct bytes){ "\x10v", 2 },
                                       &k, &v), 0);
    assert_true(codec_get_u64(k.data) == 2 && k.len == 8 && v.len == 1);
    assert_int_equal(codec_get_log_row((struct bytes){ skey, 15 }, (struct bytes){ "\x10v", 2 },
                                       &k, &v), GR_EIO);
    assert_int_equal(codec_get_log_row((struct bytes){ skey, 16 }, (struct bytes){ "\x11v", 2 },
                                       &k, &v), GR_EIO);
    codec_log_key(skey, 1, 0);
    assert_int_equal(codec_get_log_row((struct bytes){ skey, 16 }, (struct bytes){ "\x10v", 2 },
                                       &k, &v), GR_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(owner_keys),
        cmocka_unit_test(owner_records),
        cmocka_unit_test(counters_and_heads),
        cmocka_unit_test(map_rows),
        cmocka_unit_test(long_rows_are_checked),
        cmocka_unit_test(short_rows_are_checked),
        cmocka_unit_test(log_rows),
    };
    return cmocka_run_group_tests_name("store_codec", tests, NULL, NULL);
}
