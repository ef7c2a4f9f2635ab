/* test_reload_trial: what core/mod/trial.c remembers for the next process. Processes that end are
 * children of this one. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/* --- ways to end --- */

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

static void fault(void)
{
    *(volatile char *)mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
}

static void beyond_the_file(void)
{
    char *path = in_dir("short");
    int fd = open(path, O_RDONLY | O_CREAT, 0600);

    *(volatile char *)mmap(NULL, 1, PROT_WRITE | PROT_READ, MAP_PRIVATE, fd, 0) = 1;
}

static void illegal(void)
{
    raise(SIGILL);
}

static void division(void)
{
    raise(SIGFPE);
}

static void use_stack(volatile char *above)
{
    volatile char here[4096];

    here[0] = above[0];
    if (here[0] == 0)
        use_stack(here);
    above[0] = here[0];
}

static void overflow(void)
{
    volatile char first = 0;

    use_stack(&first);
}

static void ask_to_end(void)
{
    kill(getpid(), SIGKILL);
}

static void watchdog(void)
{
    kill(getppid(), SIGUSR1); /* blocked there */
    for (;;)
        pause();
}

static void leave(void)
{
    _exit(1);
}

static void after_trial(void)
{
    trial_rest();
    abort();
}

static void out_of_memory(void)
{
    gr_alloc(SIZE_MAX / 4);
}

static void *run_thread(void *end)
{
    (*(void (**)(void))end)();
    return NULL;
}

static void start_thread(void (*end)(void))
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run_thread, &end) == 0)
        pthread_join(thread, NULL);
}

static void other_thread_faults(void)
{
    start_thread(fault);
}

static void other_thread_aborts(void)
{
    start_thread(abort);
}

/* --- the process --- */

static void (*how)(void);

static void load_on_this_thread(void)
{
    trial_run("/m/mod_x.so", 1);
    how();
}

/* As a loop: with all signals blocked. */
static void load_on_a_thread(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    start_thread(load_on_this_thread);
}

/* The signal that ended a process which ended like that; 0: an exit. */
static int ended_by(void (*load)(void), void (*end)(void), int from_outside)
{
    sigset_t usr1;
    int status, signum;
    pid_t child;

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        for (size_t i = 0; i < GR_COUNT(signals); i++)
            signal(signals[i], SIG_DFL); /* no reports of the sanitizers */
        how = end;
        trial_open(dir, true);
        load();
        _exit(99);
    }
    if (from_outside != 0) {
        sigwait(&usr1, &signum);
        kill(child, from_outside);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool blamed(void)
{
    uint64_t hash;
    bool yes;

    assert_true(exists("module.loading"));
    trial_open(dir, false);
    yes = crashed("/m/mod_x.so", &hash) > 0;
    trial_open(dir, true);
    assert_int_equal(crashed("/m/mod_x.so", &hash), yes);
    assert_int_equal(exists("modules.crashed"), yes);
    assert_false(exists("module.loading"));
    trial_close();
    forget("modules.crashed");
    return yes;
}

static void a_crash_of_its_own_is_blamed(void **state)
{
    const struct {
        void (*end)(void);
        int signum;
    } ways[] = {
        { fault, SIGSEGV }, { overflow, SIGSEGV }, { abort, SIGABRT }, { illegal, SIGILL },
        { division, SIGFPE },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(ways); i++) {
        assert_int_equal(ended_by(load_on_this_thread, ways[i].end, 0), ways[i].signum);
        assert_true(blamed());
        assert_int_equal(ended_by(load_on_a_thread, ways[i].end, 0), ways[i].signum);
        assert_true(blamed());
    }
}

static void what_it_does_not_do_is_not_blamed(void **state)
{
    const struct {
        void (*end)(void);
        int signum;
    } ways[] = {
        { ask_to_end, SIGKILL }, { leave, 0 }, { after_trial, SIGABRT },
        { other_thread_faults, SIGSEGV }, { other_thread_aborts, SIGABRT },
        { beyond_the_file, SIGBUS },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(ways); i++) {
        assert_int_equal(ended_by(load_on_this_thread, ways[i].end, 0), ways[i].signum);
        assert_false(blamed());
        assert_int_equal(ended_by(load_on_a_thread, ways[i].end, 0), ways[i].signum);
        assert_false(blamed());
    }
    forget("short");
}

static void a_signal_from_outside_is_not_blamed(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_COUNT(signals); i++) {
        assert_int_equal(ended_by(load_on_this_thread, watchdog, signals[i]), signals[i]);
        assert_false(blamed());
        assert_int_equal(ended_by(load_on_a_thread, watchdog, signals[i]), signals[i]);
        assert_false(blamed());
    }
}

static void want_of_memory_is_not_blamed(void **state)
{
    (void)state;
    if (getenv("GRAPNEL_SAN") != NULL)
        skip(); /* sanitizers have another end for it */
    assert_int_equal(ended_by(load_on_this_thread, out_of_memory, 0), SIGABRT);
    assert_false(blamed());
    assert_int_equal(ended_by(load_on_a_thread, out_of_memory, 0), SIGABRT);
    assert_false(blamed());
}

/* --- handlers --- */

static void mine(int signum)
{
    (void)signum;
}

static void handlers_are_given_back(void **state)
{
    struct sigaction was[GR_COUNT(signals)], now;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(signals); i++)
        sigaction(signals[i], NULL, &was[i]);
    trial_open(dir, true);
    trial_run("/m/mod_x.so", 1);
    sigaction(SIGFPE, NULL, &now);
    assert_true(now.sa_handler != was[3].sa_handler);
    signal(SIGILL, mine); /* the module's */
    trial_over();
    for (size_t i = 0; i < GR_COUNT(signals); i++) {
        sigaction(signals[i], NULL, &now);
        assert_true(now.sa_handler == (signals[i] == SIGILL ? mine : was[i].sa_handler));
    }
    sigaction(SIGILL, &was[2], NULL);
}

static void chained(int signum)
{
    _exit(signum == SIGSEGV ? 7 : 8);
}

static void who_had_a_handler_gets_the_signal(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, chained);
        trial_open(dir, true);
        trial_run("/m/mod_x.so", 1);
        fault();
        _exit(99);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    assert_true(blamed());
}

/* --- the files --- */

/* The child's part of who_was_running_is_noted. */
static void second_of_two(void)
{
    trial_rest();
    trial_run("/m/a b.so", 1);
    trial_rest();
    trial_run("/m/mod_x.so", 0xfedcba9876543210);
    abort();
}

static void second_version(void)
{
    trial_run("/m/mod_x.so", 2);
    abort();
}

static void who_was_running_is_noted(void **state)
{
    uint64_t hash = 0;

    (void)state;
    assert_int_equal(ended_by(load_on_this_thread, second_of_two, 0), SIGABRT);
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
    trial_close();
    assert_int_equal(ended_by(load_on_this_thread, second_version, 0), SIGABRT);
    trial_open(dir, true);
    assert_int_equal(crashed("/m/mod_x.so", &hash), 2);
    forget("modules.crashed");
    assert_int_equal(crashed("/m/mod_x.so", &hash), 0);
}

static void nothing_is_left_of_a_good_load(void **state)
{
    (void)state;
    trial_open(dir, true);
    assert_false(exists("module.loading")); /* nothing new, nothing written */
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
    fputs("!7 /m/mod_y.s", f); /* half a line */
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
        T(a_crash_of_its_own_is_blamed), T(what_it_does_not_do_is_not_blamed),
        T(a_signal_from_outside_is_not_blamed), T(want_of_memory_is_not_blamed),
        T(handlers_are_given_back), T(who_had_a_handler_gets_the_signal),
        T(who_was_running_is_noted), T(nothing_is_left_of_a_good_load), T(a_folder_that_cannot_be_written),
        T(rubbish_is_no_note),
    };

    return cmocka_run_group_tests_name("reload_trial", tests, NULL, NULL);
}
