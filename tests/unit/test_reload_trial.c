/* test_reload_trial: what core/mod/trial.c remembers for the next process. Here a process that ends is a
 * trial_open without a trial_over before it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "mod/trial.h"

static char dir[] = "/tmp/grapnel-trial-XXXXXX";
static char said[1024];

static void sink(void *ctx, enum gr_log_level level, const char *line)
{
    (void)ctx, (void)level;
    snprintf(said, sizeof(said), "%s", line);
}

static char *in_dir(const char *name)
{
    return gr_asprintf("%s/%s", dir, name);
}

static bool exists(const char *name)
{
    char *path = in_dir(name);
    bool yes = access(path, F_OK) == 0;

    gr_free(path);
    return yes;
}

static void forget(const char *name)
{
    char *path = in_dir(name);

    unlink(path);
    gr_free(path);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    assert_non_null(mkdtemp(dir));
    said[0] = '\0';
    log_set_sink(sink, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    trial_close();
    forget("module.loading");
    forget("modules.crashed");
    rmdir(dir);
    log_set_sink(NULL, NULL);
    return 0;
}

static unsigned crashed(const char *path, uint64_t *last)
{
    unsigned nth = 0, found = 0;

    while (trial_crashed(path, &nth, last))
        found++;
    return found;
}

/* The files as a process leaves them that dies here. */
static void die(void)
{
    char *from = in_dir("module.loading"), *to = in_dir("kept");

    assert_int_equal(link(from, to), 0);
    trial_close();
    assert_int_equal(rename(to, from), 0);
    gr_free(from);
    gr_free(to);
}

static void who_was_running_is_noted(void **state)
{
    uint64_t hash = 0;

    (void)state;
    trial_open(dir, true);
    trial_run("/m/a b.so", 1);
    trial_run("/m/mod_x.so", 0xfedcba9876543210);
    die();
    trial_open(dir, false); /* a check says so before the start */
    assert_int_equal(crashed("/m/mod_x.so", &hash), 1);
    assert_true(exists("module.loading"));
    trial_open(dir, true);
    assert_false(exists("module.loading"));
    assert_int_equal(crashed("/m/mod_x.so", &hash), 1);
    assert_true(hash == 0xfedcba9876543210);
    assert_int_equal(crashed("/m/mod_x.s", &hash), 0);
    assert_int_equal(crashed("/m/mod_x.so2", &hash), 0);
    assert_int_equal(crashed("/m/a b.so", &hash), 0);
    trial_run("/m/mod_x.so", 2); /* another version of it */
    die();
    trial_open(dir, true);
    assert_int_equal(crashed("/m/mod_x.so", &hash), 2);
    forget("modules.crashed");
    assert_int_equal(crashed("/m/mod_x.so", &hash), 0);
}

static void nobody_else_is_blamed(void **state)
{
    uint64_t hash;

    (void)state;
    trial_open(dir, true);
    assert_false(exists("module.loading")); /* nothing new, nothing written */
    trial_run("/m/mod_x.so", 1);
    trial_rest();
    die();
    trial_open(dir, true);
    assert_int_equal(crashed("/m/mod_x.so", &hash), 0);
    assert_false(exists("modules.crashed"));
    trial_run("/m/mod_x.so", 1);
    trial_over();
    assert_false(exists("module.loading"));
    assert_string_equal(said, "");
}

static void a_folder_that_cannot_be_written(void **state)
{
    char *missing = in_dir("missing");

    (void)state;
    trial_open(missing, true);
    trial_run("/m/mod_x.so", 1);
    assert_non_null(strstr(said, "warn mod.trial: "));
    assert_non_null(strstr(said, "missing/module.loading: cannot be written"));
    said[0] = '\0';
    trial_run("/m/mod_x.so", 1); /* once is enough */
    trial_rest();
    trial_over();
    assert_string_equal(said, "");
    gr_free(missing);
}

static void rubbish_is_no_note(void **state)
{
    char *path = in_dir("modules.crashed"), *loading = in_dir("module.loading");
    FILE *f = fopen(path, "w");
    uint64_t hash;

    (void)state;
    fputs("\n/m/mod_x.so\nzz /m/mod_x.so\n12  /m/mod_x.so\n7 /m/mod_x.so", f);
    fclose(f);
    f = fopen(loading, "w");
    fputs("7 /m/mod_y.s", f); /* half a line */
    fclose(f);
    trial_open(dir, true);
    assert_int_equal(crashed("/m/mod_x.so", &hash), 1);
    assert_int_equal(hash, 7);
    assert_int_equal(crashed("/m/mod_y.so", &hash), 0);
    gr_free(path);
    gr_free(loading);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(who_was_running_is_noted), T(nobody_else_is_blamed), T(a_folder_that_cannot_be_written),
        T(rubbish_is_no_note),
    };

    return cmocka_run_group_tests_name("reload_trial", tests, NULL, NULL);
}
