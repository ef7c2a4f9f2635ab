/* tests/unit/test_ini.c: lines, sections, includes; the sentence for each way to get them wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/ini.h"

struct fixture {
    struct ini ini;
    struct conf_errors errs;
    char dir[64];
};

static int setup(void **state)
{
    struct fixture *f = gr_alloc(sizeof *f);

    strcpy(f->dir, "/tmp/grapnel-ini-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char cmd[96];

    ini_fini(&f->ini);
    conf_errors_fini(&f->errs);
    snprintf(cmd, sizeof cmd, "rm -r %s", f->dir);
    assert_int_equal(system(cmd), 0);
    gr_free(f);
    return 0;
}

static void read_text(struct fixture *f, const char *text)
{
    ini_fini(&f->ini);
    conf_errors_fini(&f->errs);
    ini_load_text(&f->ini, "t", text, strlen(text), &f->errs);
}

static const char *path_in(struct fixture *f, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    return path;
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
    FILE *out = fopen(path_in(f, name), "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static const struct ini_section *section(const struct fixture *f, const char *title)
{
    for (const struct ini_section *s = f->ini.first; s != NULL; s = s->next) {
        if (strcmp(s->title, title) == 0)
            return s;
    }
    fail_msg("no section [%s]", title);
    return NULL;
}

static const char *value(const struct fixture *f, const char *title, const char *key)
{
    const struct ini_entry *e = ini_find(section(f, title), key);

    if (e == NULL)
        fail_msg("no key %s in [%s]", key, title);
    return e->value;
}

static void no_errors(const struct fixture *f)
{
    if (f->errs.count > 0)
        fail_msg("%s:%d: %s", f->errs.items[0].file, f->errs.items[0].line, f->errs.items[0].text);
}

/* The n-th error is on that line and contains the text. */
static void error_is(const struct fixture *f, size_t n, int line, const char *text)
{
    assert_true(f->errs.count > n);
    if (f->errs.items[n].line != line || strstr(f->errs.items[n].text, text) == NULL)
        fail_msg("expected line %d with \"%s\", got line %d: %s", line, text,
                 f->errs.items[n].line, f->errs.items[n].text);
}

static void one_error(struct fixture *f, const char *text, int line, const char *words)
{
    read_text(f, text);
    error_is(f, 0, line, words);
    assert_int_equal(f->errs.count, 1);
}

static void reads_sections_in_order_with_places(void **state)
{
    struct fixture *f = *state;

    read_text(f, "; head\n[server]\nloops = 4\n\n# more\n[mod_roster]\n[host  example.org ] ; c\n"
                 "admins = a@b, c@d\n[mod_x example.org]\n[server]\nworkers=2");
    no_errors(f);
    assert_string_equal(f->ini.first->title, "server");
    assert_string_equal(f->ini.first->next->title, "mod_roster");
    assert_null(f->ini.first->next->arg);
    assert_int_equal(f->ini.first->next->count, 0);
    assert_string_equal(f->ini.first->next->next->arg, "example.org");
    assert_string_equal(f->ini.first->next->next->next->title, "mod_x example.org");
    assert_null(f->ini.first->next->next->next->next); /* [server] was opened again */
    assert_string_equal(value(f, "server", "loops"), "4");
    assert_string_equal(value(f, "server", "workers"), "2");
    assert_int_equal(ini_find(section(f, "server"), "workers")->at.line, 11);
    assert_int_equal(section(f, "host example.org")->at.line, 7);
    assert_string_equal(value(f, "host example.org", "admins"), "a@b, c@d");
}

static void reads_comments_quotes_and_line_ends(void **state)
{
    struct fixture *f = *state;

    read_text(f, "\xEF\xBB\xBF[a]\r\n  one = 1 ; c\r\n\ttwo\t=\tx;y\t;z\r\nthree = \r\n"
                 "four = ; c\r\nfive = \" a ; \\\"b\\\\\" ; c\r\nsix = a = b\r\nseven=;x\r\n"
                 "eight = we are #1 # x\n"
                 "nine = C:\\x [y] \"z\"\nten = \"\"");
    no_errors(f);
    assert_string_equal(value(f, "a", "one"), "1");
    assert_string_equal(value(f, "a", "two"), "x;y");
    assert_string_equal(value(f, "a", "three"), "");
    assert_string_equal(value(f, "a", "four"), "");
    assert_string_equal(value(f, "a", "five"), " a ; \"b\\");
    assert_string_equal(value(f, "a", "six"), "a = b");
    assert_string_equal(value(f, "a", "seven"), ";x");
    assert_string_equal(value(f, "a", "eight"), "we are #1 # x");
    assert_string_equal(value(f, "a", "nine"), "C:\\x [y] \"z\"");
    assert_string_equal(value(f, "a", "ten"), "");
}

/* What libinih alone would cut: 49 bytes of section, 199 of line. */
static void keeps_long_names_and_values(void **state)
{
    struct fixture *f = *state;
    char text[12000], domain[1024], val[8001];

    memset(domain, 'd', 1023);
    domain[1023] = '\0';
    memset(val, 'v', 8000);
    val[8000] = '\0';
    snprintf(text, sizeof text, "[host %s]\nkey = %s\n[host %.1022s]\nkey = 2\n", domain, val,
             domain);
    read_text(f, text);
    no_errors(f);
    assert_string_equal(f->ini.first->arg, domain);
    assert_string_equal(f->ini.first->first->value, val);
    assert_string_equal(f->ini.first->next->first->value, "2");

    snprintf(text, sizeof text, "[server]\n[host %se]\nkey = 1\n", domain);
    one_error(f, text, 2, "1024 bytes, 1023 are possible");
    assert_null(f->ini.first->first); /* the key went nowhere */
    snprintf(text, sizeof text, "[a]\nkey = %s%.300s\n", val, val);
    one_error(f, text, 2, "this line has 8306 bytes, 8192 are possible");
    one_error(f, "[a234567890123456789012345678901234567890123456789]\n", 1,
              "49 bytes, 48 are possible");
    one_error(f, "[a]\nk234567890123456789012345678901234567890123456789 = 1\n", 2,
              "49 bytes, 48 are possible");
    read_text(f, "[a]\nk23456789012345678901234567890123456789012345678 = 1\n");
    no_errors(f);
    assert_string_equal(f->ini.first->first->key,
                        "k23456789012345678901234567890123456789012345678");
}

static void refuses_each_kind_of_line(void **state)
{
    struct fixture *f = *state;

    one_error(f, "\nloops = 2\n[server]\n", 2, "`loops` stands before any section");
    one_error(f, "[a]\nword\n", 2, "neither `key = value` nor [section]");
    one_error(f, "[a]\nport : 5\n", 2, "neither `key = value`");
    one_error(f, "[a]\n= 1\n", 2, "no key before the =");
    one_error(f, "[a]\nMy-Key = 1\n", 2, "`My-Key` is not a key: write it with a-z, 0-9 and _");
    one_error(f, "[a\nb = 1\n", 1, "a section line ends with ]");
    one_error(f, "[a] x\n", 1, "a section line ends with ]");
    one_error(f, "[]\n", 1, "the section has no name");
    one_error(f, "[ ; x ]\n", 1, "a section line ends with ]");
    one_error(f, "[Host x]\n", 1, "`Host` is not a section name");
    one_error(f, "[a]\nb = \"c\n", 2, "no closing quote");
    one_error(f, "[a]\nb = \"c\" d\n", 2, "text behind the closing quote");
    one_error(f, "[a]\n\nb = x\x01\n", 3, "control character 1 at byte 6");
    one_error(f, "[a]\nb = \xC3\n", 2, "not UTF-8");
    one_error(f, "[a]\nb = \xED\xA0\x80\n", 2, "not UTF-8");
    one_error(f, "[server]\ninclude = x\n", 2, "works only in a file");
}

static void reports_every_error(void **state)
{
    struct fixture *f = *state;

    read_text(f, "x = 1\n[a\ny = 2\n[b]\nz\nk = 1\nk = 2\n");
    assert_int_equal(f->errs.count, 4);
    error_is(f, 0, 1, "before any section");
    error_is(f, 1, 2, "ends with ]");
    error_is(f, 2, 5, "neither");
    error_is(f, 3, 7, "`k` of [b] is given twice, first at t:6");
    assert_string_equal(value(f, "b", "k"), "1");
}

static void bounds_errors_and_keys(void **state)
{
    struct fixture *f = *state;
    char *text = gr_alloc(64 * 1024);
    size_t n = 0;

    for (int i = 0; i < 300; i++)
        n += (size_t)sprintf(text + n, "bad\n");
    read_text(f, text);
    assert_int_equal(f->errs.count, CONF_ERRORS_MAX);
    assert_int_equal(conf_errors_total(&f->errs), 300);

    n = (size_t)sprintf(text, "[a]\n");
    for (int i = 0; i < INI_KEYS_MAX + 1; i++)
        n += (size_t)sprintf(text + n, "k%d = 1\n", i);
    read_text(f, text);
    assert_int_equal(f->errs.count, 1);
    error_is(f, 0, INI_KEYS_MAX + 2, "more than 256 keys");
    gr_free(text);
}

static void binary_zero_is_an_error(void **state)
{
    struct fixture *f = *state;

    ini_load_text(&f->ini, "t", "[a]\nb = \0c\n", 11, &f->errs);
    error_is(f, 0, 2, "control character 0");
}

static void includes_in_order_of_names(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir(path_in(f, "conf.d"), 0700), 0);
    assert_int_equal(mkdir(path_in(f, "empty"), 0700), 0);
    write_file(f, "main.ini", "[server]\ninclude = conf.d/*.ini ; drop-ins\ninclude = empty/*\n"
                              "include = missing/*.ini\nloops = 3\n[mod_z]\n");
    write_file(f, "conf.d/b.ini", "[mod_b]\n");
    write_file(f, "conf.d/a.ini", "[mod_a]\n[server]\ninclude = ../more.ini\n");
    write_file(f, "conf.d/not.txt", "error\n");
    write_file(f, "more.ini", "[mod_m]\nx = 1\n");
    ini_load(&f->ini, path_in(f, "main.ini"), &f->errs);
    no_errors(f);
    assert_string_equal(f->ini.first->title, "server");
    assert_string_equal(f->ini.first->next->title, "mod_z");
    assert_string_equal(f->ini.first->next->next->title, "mod_a");
    assert_string_equal(f->ini.first->next->next->next->title, "mod_m");
    assert_string_equal(f->ini.first->next->next->next->next->title, "mod_b");
    assert_string_equal(section(f, "mod_m")->at.file + strlen(f->dir), "/conf.d/../more.ini");
    assert_string_equal(value(f, "server", "loops"), "3");
}

static void refuses_bad_includes(void **state)
{
    struct fixture *f = *state;

    write_file(f, "main.ini", "[server]\ninclude = nothing.ini\ninclude =\ninclude = main.ini\n"
                              "include = d\ninclude = a.ini\nk = 1\n");
    assert_int_equal(mkdir(path_in(f, "d"), 0700), 0);
    write_file(f, "a.ini", "[server]\nk = 2\ninclude = b.ini\n");
    write_file(f, "b.ini", "[server]\ninclude = c.ini\n");
    write_file(f, "c.ini", "[server]\ninclude = d.ini\n");
    write_file(f, "d.ini", "[server]\ninclude = e.ini\n");
    write_file(f, "e.ini", "");
    ini_load(&f->ini, path_in(f, "main.ini"), &f->errs);
    error_is(f, 0, 3, "names no file");
    error_is(f, 1, 2, "there is no file nothing.ini");
    error_is(f, 2, 4, "main.ini is read already as the main file");
    error_is(f, 3, 5, "is not a regular file");
    error_is(f, 4, 2, "`k` of [server] is given twice, first at");
    assert_non_null(strstr(f->errs.items[4].text, "main.ini:7"));
    error_is(f, 5, 2, "files include files 4 deep");
    assert_string_equal(f->errs.items[5].file + strlen(f->dir), "/d.ini");
    assert_int_equal(f->errs.count, 6);
}

/* The folder's own name is no pattern; a FIFO must not block; a missing main file is one error. */
static void odd_files(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir(path_in(f, "a[b]*"), 0700), 0);
    write_file(f, "a[b]*/main.ini", "[server]\ninclude = x*.ini\n");
    write_file(f, "a[b]*/x1.ini", "[mod_x]\n");
    ini_load(&f->ini, path_in(f, "a[b]*/main.ini"), &f->errs);
    no_errors(f);
    section(f, "mod_x");
    ini_fini(&f->ini);

    assert_int_equal(mkfifo(path_in(f, "fifo"), 0600), 0);
    ini_load(&f->ini, path_in(f, "fifo"), &f->errs);
    error_is(f, 0, 0, "is not a regular file");
    ini_fini(&f->ini);
    ini_load(&f->ini, path_in(f, "none.ini"), &f->errs);
    error_is(f, 1, 0, "cannot read");
    assert_int_equal(f->errs.count, 2);
}

static void prints_errors_with_places(void **state)
{
    struct fixture *f = *state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    read_text(f, "[a]\nx\n");
    conf_errors_add(&f->errs, (struct conf_place){ "u", 0 }, "two %d", 2);
    conf_errors_add(&f->errs, (struct conf_place){ NULL, 0 }, "three");
    conf_errors_print(&f->errs, out);
    fclose(out);
    assert_string_equal(text, "t:2: this line is neither `key = value` nor [section] nor a "
                              "comment: start it with ; to make it one\nu: two 2\nthree\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_sections_in_order_with_places, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_comments_quotes_and_line_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_long_names_and_values, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_each_kind_of_line, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_every_error, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_errors_and_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(binary_zero_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(includes_in_order_of_names, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_includes, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_files, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_errors_with_places, setup, teardown),
    };

    return cmocka_run_group_tests_name("ini", tests, NULL, NULL);
}
