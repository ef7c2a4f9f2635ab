/* grapnel/record.h: what is written is read again, nothing is written or read past an end, and the
 * rows of mod_roster and mod_sessiondb are, to the byte, those of the stores that there are. */
#include <grapnel/record.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VERSION ROSTER_VERSION
#include "../../modules/mod_roster/record.c"
#undef VERSION
#include "../../modules/mod_sessiondb/row.c"

const struct gr_coll sessiondb_colls[3];

static void write_all(struct gr_writer *w)
{
    gr_write_u8(w, 1);
    gr_write_u16(w, 0x0203);
    gr_write_u32(w, 0x04050607);
    gr_write_u64(w, 0x08090a0b0c0d0e0f);
    gr_write_i64(w, -2);
    gr_write_bytes(w, "xy", 2);
    gr_write_bytes(w, NULL, 0);
    gr_write_blob(w, "a\0b", 3);
    gr_write_str(w, "text");
    gr_write_str(w, NULL);
    gr_write_bytes(w, "rest", 4);
}

static const char all[] = "\1" "\2\3" "\4\5\6\7" "\10\11\12\13\14\15\16\17"
                          "\377\377\377\377\377\377\377\376" "xy" "\0\0\0\3" "a\0b" "\0\4text"
                          "\0\0" "rest";
enum { ALL = sizeof(all) - 1 };

/* Reads it all; true when nothing was missing. What is missing is 0 or empty. */
static bool read_all(const void *data, size_t len)
{
    struct gr_reader r = gr_reader_of(data, len);
    char two[2] = "??";
    size_t blob_len, text_len, none_len, rest_len;

    uint8_t u8 = gr_read_u8(&r);
    uint16_t u16 = gr_read_u16(&r);
    uint32_t u32 = gr_read_u32(&r);
    uint64_t u64 = gr_read_u64(&r);
    int64_t i64 = gr_read_i64(&r);
    gr_read_bytes(&r, two, 2);
    const void *blob = gr_read_blob(&r, &blob_len);
    const char *text = gr_read_str(&r, &text_len);
    const char *none = gr_read_str(&r, &none_len);
    const char *rest = gr_read_rest_str(&r, &rest_len);

    assert_true(u8 == (len < 1 ? 0 : 1) && u16 == (len < 3 ? 0 : 0x0203));
    assert_true(u32 == (len < 7 ? 0 : 0x04050607));
    assert_true(u64 == (len < 15 ? 0 : 0x08090a0b0c0d0e0f) && i64 == (len < 23 ? 0 : -2));
    assert_memory_equal(two, len < 25 ? "\0\0" : "xy", 2);
    assert_int_equal(blob_len, len < 32 ? 0 : 3);
    assert_memory_equal(blob, "a\0b", blob_len);
    assert_int_equal(text_len, len < 38 ? 0 : 4);
    assert_memory_equal(text, "text", text_len);
    assert_true(none != NULL && none_len == 0);
    assert_int_equal(rest_len, len < 40 ? 0 : len - 40);
    assert_memory_equal(rest, "rest", rest_len);
    return gr_read_done(&r);
}

static void what_is_written_is_read(void **state)
{
    struct gr_writer w = gr_writer_new(0);
    size_t len;
    void *data;

    (void)state;
    write_all(&w);
    data = gr_writer_take(&w, &len);
    assert_int_equal(len, ALL);
    assert_memory_equal(data, all, ALL);
    assert_true(read_all(data, len));
    gr_free(data);
}

/* Cut anywhere: exactly as much memory, so that a sanitizer sees a step too far. */
static void a_cut_record_is_damaged(void **state)
{
    struct gr_reader none = gr_reader_of(NULL, 0);

    (void)state;
    assert_true(gr_read_done(&none));
    for (size_t len = 0; len < ALL; len++) {
        uint8_t *cut = malloc(len > 0 ? len : 1);

        memcpy(cut, all, len);
        assert_true(read_all(cut, len) == (len >= 40)); /* the rest may have any length */
        free(cut);
    }
}

static void the_first_failure_stays(void **state)
{
    struct gr_reader r = gr_reader_of("\1\2\3", 3);
    size_t len;

    (void)state;
    assert_int_equal(gr_read_u32(&r), 0);
    assert_int_equal(gr_read_u8(&r), 0); /* though a byte is there */
    assert_string_equal(gr_read_rest(&r, &len), "");
    assert_int_equal(len, 0);
    assert_false(gr_read_done(&r));
    r = gr_reader_of("\0\3a\0b", 5);
    assert_string_equal(gr_read_str(&r, &len), ""); /* a text with a NUL */
    assert_false(gr_read_done(&r));
    r = gr_reader_of("a\0b", 3);
    assert_string_equal(gr_read_rest_str(&r, &len), "");
    assert_false(gr_read_done(&r));
    r = gr_reader_of("ab", 2);
    gr_read_u8(&r);
    assert_false(gr_read_done(&r)); /* something is left */
}

static void a_fixed_buffer_is_not_left(void **state)
{
    (void)state;
    for (size_t size = 0; size <= ALL; size++) {
        uint8_t *buf = malloc(size > 0 ? size : 1);
        struct gr_writer w = gr_writer_on(buf, size);

        write_all(&w);
        assert_true(w.failed == (size < ALL));
        assert_true(w.len <= size);
        assert_memory_equal(buf, all, w.len);
        free(buf);
    }
}

static void a_text_has_65535_bytes(void **state)
{
    char *text = gr_alloc(65537);
    size_t len;

    (void)state;
    memset(text, 'x', 65535);
    for (int more = 0; more < 2; more++) {
        struct gr_writer w = gr_writer_new(16);
        void *data;

        text[65535] = more ? 'x' : '\0';
        gr_write_str(&w, text);
        data = gr_writer_take(&w, &len);
        assert_true((data != NULL) == !more && len == (more ? 0 : 65537));
        gr_free(data);
    }
    gr_free(text);
}

static void numbers_as_keys(void **state)
{
    uint8_t key[8];

    (void)state;
    gr_put_u64(key, 0x0102030405060708);
    assert_memory_equal(key, "\1\2\3\4\5\6\7\10", 8);
    assert_true(gr_get_u64(key) == 0x0102030405060708);
    gr_put_u64(key, UINT64_MAX);
    assert_true(gr_get_u64(key) == UINT64_MAX);
}

/* --- stored formats --- */

static void roster_rows(void **state)
{
    static const char item[] = "\1" "\5" "\0\0\0\0\0\0\1\2" "\0\3Bob" "\0\2" "\0\1g" "\0\2hi";
    static const char asked[] = "\1" "\0\0\0\0\0\0\1\0" "<presence/>";
    static const char counts[] = "\1" "\0\0\0\0\0\0\0\11" "\0\0\0\0\0\0\0\10" "\0\0\0\1"
                                 "\0\0\0\2" "\0\0\1\0";
    struct contact c;
    struct request r;
    struct meta m;
    uint8_t meta[META_SIZE];
    size_t len;
    void *row;

    (void)state;
    assert_int_equal(contact_decode(item, sizeof(item) - 1, &c), 0);
    assert_true(c.from && !c.to && c.ask && !c.approved && c.ver == 0x102);
    assert_string_equal(c.name, "Bob");
    assert_string_equal(c.groups[0], "g");
    assert_string_equal(c.groups[1], "hi");
    assert_null(c.groups[2]);
    row = contact_encode(&c, &len);
    assert_int_equal(len, sizeof(item) - 1);
    assert_memory_equal(row, item, len);
    gr_free(row);
    contact_fini(&c);

    assert_int_equal(request_decode(asked, sizeof(asked) - 1, &r), 0);
    assert_true(r.time_us == 256 && r.len == 11);
    row = request_encode(&r, &len);
    assert_int_equal(len, sizeof(asked) - 1);
    assert_memory_equal(row, asked, len);
    gr_free(row);

    assert_int_equal(meta_decode(counts, sizeof(counts) - 1, &m), 0);
    assert_true(m.ver == 9 && m.floor == 8 && m.items == 1 && m.requests == 2 && m.removed == 256);
    meta_encode(meta, &m);
    assert_memory_equal(meta, counts, META_SIZE);
    assert_int_equal(meta_decode(counts, sizeof(counts), &m), GR_EIO); /* one byte more */
}

static void sessiondb_rows(void **state)
{
    static const char val[] = "\1" "\1" "\177" "\0\0\0\0\0\0\0\7" "\0\0\0\0\0\0\1\0"
                              "\0\0\0\0\0\0\1\1" "node\0" "<presence/>";
    struct row r;
    size_t len;
    void *row;

    (void)state;
    assert_int_equal(row_decode(val, sizeof(val) - 1, &r), 0);
    assert_true(r.available && r.priority == -1 && r.session == 7);
    assert_true(r.login_us == 256 && r.updated_us == 257 && r.xml_len == 11);
    assert_string_equal(r.server, "node");
    row = row_encode(&r, &len);
    assert_int_equal(len, sizeof(val) - 1);
    assert_memory_equal(row, val, len);
    gr_free(row);
    assert_int_equal(row_decode(val, 31, &r), GR_EINVAL); /* the server's id without its NUL */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_cut_record_is_damaged),
        cmocka_unit_test(the_first_failure_stays),
        cmocka_unit_test(a_fixed_buffer_is_not_left),
        cmocka_unit_test(a_text_has_65535_bytes),
        cmocka_unit_test(numbers_as_keys),
        cmocka_unit_test(roster_rows),
        cmocka_unit_test(sessiondb_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
