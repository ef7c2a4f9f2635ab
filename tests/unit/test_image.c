/* test_image: a module's file is judged before any code of it runs (reliability.md 6.9). Modules are
 * compiled here, by the compiler that built the server (GRAPNEL_TEST_CC), from tests/modules. */
#include "mod_world.h"

#include <elf.h>
#include <unistd.h>

#include "base/elf.h"
#include "mod/image.h"
#include "mod_compile.h"

struct file {
    char *data;
    size_t len;
};
static struct file good;    /* tests/modules/mod_tally.c */

static struct file file_read(const char *path)
{
    struct file f = { NULL, 0 };
    FILE *in = fopen(path, "rb");
    long len;

    assert_non_null(in);
    fseek(in, 0, SEEK_END);
    len = ftell(in);
    rewind(in);
    f.len = (size_t)len;
    f.data = gr_alloc(f.len + 1);
    assert_int_equal(fread(f.data, 1, f.len, in), f.len);
    fclose(in);
    return f;
}

static void file_write(const char *path, const char *data, size_t len)
{
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    fclose(out);
}

/* In memory of exactly that size, so that the sanitizer sees every byte too far. */
static int check(const char *data, size_t len, const char *name, char **why)
{
    char *exact = malloc(len > 0 ? len : 1);
    int rc;

    memcpy(exact, data, len);
    *why = NULL;
    rc = elf_check(exact, len, name, why);
    free(exact);
    return rc;
}

static char *refused(const char *data, size_t len, const char *name)
{
    char *why = NULL;

    assert_int_not_equal(check(data, len, name, &why), 0);
    assert_non_null(why);
    return why;
}

static void expect_refused(const char *data, size_t len, const char *name, const char *says)
{
    char *why = refused(data, len, name);

    if (strstr(why, says) == NULL)
        fail_msg("expected \"%s\", got \"%s\"", says, why);
    gr_free(why);
}

/* The note's place in the file: where its header starts. */
static size_t note_at(const struct file *f)
{
    for (size_t i = 0; i + 80 <= f->len; i += 4) {
        if (memcmp(f->data + i + 12, "Grapnel", 8) == 0)
            return i;
    }
    fail_msg("no note");
    return 0;
}

static int setup(void **state)
{
    char *so = mod_compile("tally", "mod_tally.c", "");

    (void)state;
    good = file_read(so);
    gr_free(so);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_free(good.data);
    mod_compile_clean();
    return 0;
}

static void the_right_file_passes(void **state)
{
    char *why = NULL;

    (void)state;
    assert_int_equal(check(good.data, good.len, "tally", &why), 0);
    assert_int_equal(check(good.data, good.len, NULL, &why), 0);
    assert_null(why);
}

/* Wherever it is cut: refused, or everything the loader would map is there. */
static void truncated_at_every_length(void **state)
{
    Elf64_Ehdr eh;
    size_t needed = 0;

    (void)state;
    memcpy(&eh, good.data, sizeof(eh));
    for (unsigned i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;

        memcpy(&ph, good.data + eh.e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type == PT_LOAD && ph.p_offset + ph.p_filesz > needed)
            needed = ph.p_offset + ph.p_filesz;
    }
    assert_true(needed > 0 && needed < good.len);
    for (size_t len = 0; len <= good.len; len++) {
        char *why = NULL;
        int rc = check(good.data, len, "tally", &why);

        assert_int_equal(rc == 0, len >= needed);
        assert_int_equal(why == NULL, rc == 0);
        gr_free(why);
    }
}

static void every_byte_of_the_headers_damaged(void **state)
{
    static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    size_t end = sizeof(Elf64_Ehdr) + 16 * sizeof(Elf64_Phdr), note = note_at(&good);
    char *copy = gr_alloc(good.len);

    (void)state;
    memcpy(copy, good.data, good.len);
    for (size_t i = 0; i < note + 80; i = i + 1 == end && end < note ? note : i + 1) {
        for (size_t v = 0; v < GR_COUNT(values); v++) {
            char *why = NULL;

            copy[i] = (char)values[v];
            check(copy, good.len, "tally", &why); /* must not read outside; the verdict is free */
            gr_free(why);
        }
        copy[i] = good.data[i];
    }
    gr_free(copy);
}

static void patched(size_t offset, const void *bytes, size_t len, const char *says)
{
    char *copy = gr_alloc(good.len);

    memcpy(copy, good.data, good.len);
    memcpy(copy + note_at(&good) + offset, bytes, len);
    expect_refused(copy, good.len, "tally", says);
    gr_free(copy);
}

static void wrong_notes(void **state)
{
    const uint32_t abi = GR_ABI_VERSION + 1, type = 2, size = 60, huge = 0xfffffff0;
    char tag[20], name[40];

    (void)state;
    patched(12, "Granpel", 8, "it has no GR_MODULE");         /* somebody else's note */
    patched(8, &type, 4, "it has no GR_MODULE");
    patched(4, &size, 4, "another version of the module interface: rebuild it");
    patched(4, &huge, 4, "it has no GR_MODULE");
    patched(0, &huge, 4, "it has no GR_MODULE");
    patched(20, &abi, 4, "is for version 2 of the module interface, this server has 1: rebuild it");
    patched(24, "x", 1, "built with the headers of another server: rebuild it");
    memset(tag, 'a', sizeof(tag)); /* not terminated */
    patched(24, tag, sizeof(tag), "is damaged: rebuild it");
    memset(name, 'a', sizeof(name));
    patched(44, name, sizeof(name), "is damaged: rebuild it");
    expect_refused(good.data, good.len, "other", "says that it is mod_tally: rename the file");
}

static void not_even_elf(void **state)
{
    struct file self = file_read("/proc/self/exe");
    char copy[sizeof(Elf64_Ehdr)];

    (void)state;
    expect_refused("", 0, NULL, "is not a shared object");
    expect_refused("#!/bin/sh\n", 10, NULL, "is not a shared object");
    expect_refused(self.data, self.len, NULL, "it has no GR_MODULE");
    memcpy(copy, good.data, sizeof(copy));
    copy[EI_CLASS] = ELFCLASS32;
    expect_refused(copy, sizeof(copy), NULL, "for another kind of machine");
    memcpy(copy, good.data, sizeof(copy));
    copy[offsetof(Elf64_Ehdr, e_type)] = ET_EXEC;
    expect_refused(copy, sizeof(copy), NULL, "is not a shared object");
    gr_free(self.data);
}

/* --- looking --- */

struct said {
    unsigned refused, warned;
};

static void on_said(void *ctx, bool refused, const char *sentence)
{
    struct said *s = ctx;

    assert_non_null(sentence);
    s->refused += refused;
    s->warned += !refused;
}

static bool there(void *ctx, const char *symbol)
{
    (void)ctx;
    return *symbol != '\0';
}

/* In memory of exactly that size. */
static struct said look(const char *data, size_t len)
{
    struct said s = { 0, 0 };
    const struct elf_look how = { on_said, there, &s };
    char *exact = malloc(len), *why = NULL;

    memcpy(exact, data, len);
    if (elf_check(exact, len, NULL, &why) == 0)
        elf_look(exact, len, &how);
    gr_free(why);
    free(exact);
    return s;
}

static void a_look_stays_inside(void **state)
{
    static const unsigned char values[] = { 0x00, 0x7f, 0x80, 0xff };
    char *copy = gr_alloc(good.len);
    Elf64_Ehdr eh;

    (void)state;
    assert_int_equal(look(good.data, good.len).refused, 0);
    assert_int_equal(look(good.data, good.len).warned, 1); /* it counts in static data, for tests */
    memcpy(&eh, good.data, sizeof(eh));
    for (size_t len = good.len; len > good.len - 4000; len--)
        look(good.data, len);
    memcpy(copy, good.data, good.len);
    for (size_t i = eh.e_shoff; i < good.len; i++) {
        for (size_t v = 0; v < GR_COUNT(values); v++) {
            copy[i] = (char)values[v];
            look(copy, good.len);
        }
        copy[i] = good.data[i];
    }
    gr_free(copy);
}

/* --- loading --- */

static void open_refused(const char *path, const char *name, const char *says)
{
    char *why = NULL;

    assert_null(image_open(path, name, &why));
    assert_non_null(why);
    if (strstr(why, says) == NULL)
        fail_msg("expected \"%s\", got \"%s\"", says, why);
    gr_free(why);
    assert_int_equal(image_count(), 0);
}

/* The constructor would end this process. */
static void constructor_of_a_stranger_never_runs(void **state)
{
    char *so = mod_compile("tally", "mod_trap.c", "");

    (void)state;
    open_refused(so, "tally", "says that it is mod_trap");
    gr_free(so);
    so = mod_compile("trap", "mod_trap.c", "-DTRAP_TAG");
    open_refused(so, "trap", "built with the headers of another server: rebuild it");
    gr_free(so);
    so = mod_compile("trap", "mod_trap.c", "-DTRAP_NO_NOTE");
    open_refused(so, "trap", "it has no GR_MODULE");
    gr_free(so);
}

static void missing_symbol_is_named(void **state)
{
    char *so = mod_compile("lost", "mod_lost.c", "");

    (void)state;
    open_refused(so, "lost", "cannot be loaded (undefined symbol: gr_no_such_function): rebuild it");
    gr_free(so);
}

static void unusable_tables_are_refused(void **state)
{
    static const char *const wrong[][2] = {
        { "-DWRONG_PRIO", "priority below 1" },
        { "-DWRONG_FN", "without function" },
        { "-DWRONG_HOOK", "names a hook that does not exist" },
        { "-DWRONG_IQ", "incomplete entry in its table of iqs, number 1" },
        { "-DWRONG_CONF", "has options and no conf_size" },
        { "-DWRONG_COLL", "has a collection wrong of no kind" },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(wrong); i++) {
        char *so = mod_compile("wrong", "mod_wrong.c", wrong[i][0]);

        open_refused(so, "wrong", wrong[i][1]);
        gr_free(so);
    }
}

static void odd_files_are_refused(void **state)
{
    char *path = mod_compile_path("mod_odd.so");

    (void)state;
    open_refused("/nonexistent/mod_odd.so", "odd", "cannot be read: No such file");
    open_refused("/tmp", "odd", "is not a file");
    file_write(path, "", 0);
    open_refused(path, "odd", "is empty or too large");
    file_write(path, good.data, good.len);
    chmod(path, 0666);
    open_refused(path, "tally", "can be written by everybody: chmod o-w");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    open_refused(path, "odd", "is not a file");
    unlink(path);
    gr_free(path);
}

/* The same path with new contents is new code, whatever happens to the file meanwhile. */
static void same_path_new_code(void **state)
{
    char *so = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=1"), *why = NULL;
    struct image *first = image_open(so, "tally", &why), *same, *second;

    (void)state;
    assert_non_null(first);
    same = image_open(so, "tally", &why);
    assert_ptr_equal(same, first); /* unchanged: no second copy */
    image_unref(&same);
    assert_int_equal(truncate(so, 100), 0); /* in place, while it is mapped */
    assert_string_equal(image_desc(first)->summary, "tally 1");
    gr_free(so);
    so = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=2");
    second = image_open(so, "tally", &why);
    assert_non_null(second);
    assert_ptr_not_equal(second, first);
    assert_string_equal(image_desc(first)->summary, "tally 1");
    assert_string_equal(image_desc(second)->summary, "tally 2");
    assert_int_equal(image_count(), 2);
    image_unref(&first);
    assert_int_equal(image_count(), 1);
    assert_string_equal(image_desc(second)->summary, "tally 2");
    image_unref(&second);
    assert_int_equal(image_count(), 0);
    gr_free(so);
}

/* For sanitizers and debuggers: the code stays mapped. The one image here that is never closed. */
static void images_can_be_kept(void **state)
{
    char *so = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=9"), *why = NULL;
    struct image *img = image_open(so, "tally", &why);
    const struct gr_module *desc;

    (void)state;
    assert_non_null(img);
    desc = image_desc(img);
    setenv("GR_KEEP_IMAGES", "1", 1);
    image_unref(&img);
    unsetenv("GR_KEEP_IMAGES");
    assert_int_equal(image_count(), 0);
    assert_string_equal(desc->summary, "tally 9");
    gr_free(so);
}

static void opened_and_closed_many_times(void **state)
{
    char *one = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=1"), *why = NULL;
    struct file a = file_read(one), b;
    char *two = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=2");
    struct image *now = NULL;

    (void)state;
    b = file_read(two);
    for (int i = 0; i < 100; i++) {
        struct image *next;

        file_write(one, i % 2 == 0 ? a.data : b.data, i % 2 == 0 ? a.len : b.len);
        next = image_open(one, "tally", &why);
        assert_non_null(next);
        assert_string_equal(image_desc(next)->summary, i % 2 == 0 ? "tally 1" : "tally 2");
        image_unref(&now); /* the old one goes after the new one came */
        now = next;
    }
    image_unref(&now);
    assert_int_equal(image_count(), 0);
    gr_free(a.data);
    gr_free(b.data);
    gr_free(one);
    gr_free(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_file_passes),
        cmocka_unit_test(truncated_at_every_length),
        cmocka_unit_test(every_byte_of_the_headers_damaged),
        cmocka_unit_test(wrong_notes),
        cmocka_unit_test(not_even_elf),
        cmocka_unit_test(a_look_stays_inside),
        cmocka_unit_test(constructor_of_a_stranger_never_runs),
        cmocka_unit_test(missing_symbol_is_named),
        cmocka_unit_test(unusable_tables_are_refused),
        cmocka_unit_test(odd_files_are_refused),
        cmocka_unit_test(same_path_new_code),
        cmocka_unit_test(images_can_be_kept),
        cmocka_unit_test(opened_and_closed_many_times),
    };

    return cmocka_run_group_tests_name("image", tests, setup, teardown);
}
