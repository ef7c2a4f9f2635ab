/* test_overlay: modules switched on and off over a configuration (conf/overlay.c): which hosts have
 * them then, where their options come from, which entries are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "conf/overlay.h"

static const char text[] = "[listen c2s]\ntype = c2s\nport = 0\n"
                           "[host a]\n[host b]\n[host c]\n[mod_one]\n[mod_two b]\n"
                           "[mod_three]\nenabled = no\nx = 1\n[mod_three c]\nenabled = no\nx = 2\n";

static struct conf *load(void)
{
    struct conf_errors errs = { 0 };
    struct conf *conf;

    if (conf_load_text("t.ini", text, strlen(text), &conf, &errs) != 0)
        conf_errors_print(&errs, stderr);
    assert_non_null(conf);
    conf_errors_fini(&errs);
    return conf;
}

/* "one two" for host a. */
static void has(const struct conf *conf, const char *domain, const char *want)
{
    const struct conf_host *h = conf_host(conf, domain);
    char is[200] = "";

    for (size_t i = 0; i < h->module_count; i++) {
        strcat(is, i > 0 ? " " : "");
        strcat(is, h->modules[i].name + 4);
    }
    assert_string_equal(is, want);
}

static void set(struct overlay *o, const char *module, const char *domain, bool on)
{
    struct overlay next = overlay_with(o, module, domain, on);

    overlay_fini(o);
    *o = next;
}

static void nothing_changes_nothing(void **state)
{
    struct overlay o = { NULL, 0 };
    struct conf *conf = load();

    (void)state;
    overlay_apply(&o, conf);
    has(conf, "a", "one");
    has(conf, "b", "one two");
    conf_free(&conf);
}

static void on_and_off(void **state)
{
    struct overlay o = { NULL, 0 };
    struct conf *conf = load();

    (void)state;
    set(&o, "mod_four", NULL, true);
    set(&o, "mod_one", "b", false);
    set(&o, "mod_two", "a", true);
    overlay_apply(&o, conf);
    has(conf, "a", "one four two");
    has(conf, "b", "two four");
    has(conf, "c", "one four");
    assert_true(conf_module(conf_host(conf, "a"), "mod_two")->by_hand);
    assert_false(conf_module(conf_host(conf, "b"), "mod_two")->by_hand);
    assert_int_equal(o.count, 3);
    overlay_fini(&o);
    conf_free(&conf);
}

static void a_later_entry_wins(void **state)
{
    struct overlay o = { NULL, 0 };
    struct conf *conf = load();

    (void)state;
    set(&o, "mod_one", NULL, false);
    set(&o, "mod_one", "c", true); /* off everywhere, but on there */
    set(&o, "mod_two", "b", false);
    set(&o, "mod_two", NULL, true); /* replaces what was said about one */
    assert_int_equal(o.count, 3);
    overlay_apply(&o, conf);
    has(conf, "a", "two");
    has(conf, "b", "two");
    has(conf, "c", "one two");
    overlay_fini(&o);
    conf_free(&conf);
}

static void sections_give_the_options(void **state)
{
    struct overlay o = { NULL, 0 };
    struct conf *conf = load();
    const struct conf_module *m;

    (void)state;
    set(&o, "mod_three", NULL, true);
    set(&o, "mod_four", "a", true);
    overlay_apply(&o, conf);
    m = conf_module(conf_host(conf, "a"), "mod_three");
    assert_string_equal(ini_find(m->global, "x")->value, "1");
    assert_null(m->local);
    m = conf_module(conf_host(conf, "c"), "mod_three");
    assert_string_equal(ini_find(m->local, "x")->value, "2");
    m = conf_module(conf_host(conf, "a"), "mod_four");
    assert_null(m->global->first);
    assert_null(conf_module_place(m).file);
    overlay_fini(&o);
    conf_free(&conf);
}

static void what_says_nothing_is_forgotten(void **state)
{
    struct overlay o = { NULL, 0 };
    struct conf *conf = load();

    (void)state;
    set(&o, "mod_one", NULL, true);       /* is on */
    set(&o, "mod_four", "nowhere", true); /* the host is gone */
    set(&o, "mod_four", NULL, false);     /* is off */
    set(&o, "mod_two", "b", false);
    overlay_apply(&o, conf);
    assert_int_equal(o.count, 1);
    assert_string_equal(o.entries[0].module, "mod_two");
    overlay_fini(&o);
    conf_free(&conf);
}

/* Hosts without sections of their own have one list, however many they are. */
static void shared_lists_stay_shared(void **state)
{
    struct overlay o = { NULL, 0 }, copy;
    struct conf *conf;
    char *many = gr_asprintf("[listen c2s]\ntype = c2s\nport = 0\n[host own]\n[mod_two own]\n");

    (void)state;
    for (int i = 0; i < 100; i++) {
        char *more = gr_asprintf("%s[host h%d]\n", many, i);
        gr_free(many);
        many = more;
    }
    struct conf_errors errs = { 0 };
    assert_int_equal(conf_load_text("t.ini", many, strlen(many), &conf, &errs), 0);
    conf_errors_fini(&errs);
    set(&o, "mod_four", NULL, true);
    set(&o, "mod_one", "h50", true);
    copy = overlay_copy(&o);
    overlay_fini(&o);
    overlay_apply(&copy, conf);
    has(conf, "own", "two four");
    has(conf, "h49", "four");
    has(conf, "h50", "four one");
    has(conf, "h51", "four");
    assert_ptr_equal(conf_host(conf, "h0")->modules, conf_host(conf, "h99")->modules);
    overlay_fini(&copy);
    conf_free(&conf);
    gr_free(many);
}

static void advises(const char *module, const char *domain, bool on, const char *want)
{
    struct conf *conf = load();
    char *is = overlay_advice(conf, module, domain, on);

    assert_string_equal(is, want);
    gr_free(is);
    conf_free(&conf);
}

static void advice_names_the_place(void **state)
{
    (void)state;
    advises("mod_new", NULL, true, "write [mod_new] to t.ini");
    advises("mod_new", "a", true, "write [mod_new a] to t.ini");
    advises("mod_one", NULL, false, "write `enabled = no` in [mod_one] (t.ini:7)");
    advises("mod_one", "a", false, "write [mod_one a] with `enabled = no` to t.ini");
    advises("mod_two", NULL, true, "write [mod_two] to t.ini");
    advises("mod_two", NULL, false, "write `enabled = no` in [mod_two b] (t.ini:8)");
    advises("mod_three", NULL, true, "remove `enabled = no` from [mod_three] (t.ini:10) and "
                                     "remove `enabled = no` from [mod_three c] (t.ini:13)");
    advises("mod_three", "c", true, "remove `enabled = no` from [mod_three c] (t.ini:13)");
    advises("mod_three", "a", true, "write [mod_three a] to t.ini");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(nothing_changes_nothing),   cmocka_unit_test(on_and_off),
        cmocka_unit_test(a_later_entry_wins),        cmocka_unit_test(sections_give_the_options),
        cmocka_unit_test(what_says_nothing_is_forgotten),
        cmocka_unit_test(shared_lists_stay_shared),
        cmocka_unit_test(advice_names_the_place),
    };

    return cmocka_run_group_tests_name("overlay", cases, NULL, NULL);
}
