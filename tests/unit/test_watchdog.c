/* tests/unit/test_watchdog.c: a loop that does not come back is told about, once, and once more when it
 * does; loops that sleep or work in pieces are not. Real threads and real time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/loop.h"
#include "watchdog.h"

#define LIMIT_MS 500 /* a thread may have to wait for a processor, too */
#define LINES 16

static struct {
    char text[LINES][200];
    atomic_int count;
    int read;
    sem_t came;
} lines;

static void on_line(void *ctx, enum gr_log_level level, const char *line)
{
    int n = atomic_load(&lines.count);

    (void)ctx, (void)level;
    if (strstr(line, " loop.") == NULL || n == LINES)
        return;
    snprintf(lines.text[n], sizeof(lines.text[n]), "%s", line);
    atomic_store(&lines.count, n + 1);
    sem_post(&lines.came);
}

static const char *next_line(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(sem_timedwait(&lines.came, &until), 0);
    return lines.text[lines.read++];
}

/* Keeps its loop until it is let go. */
struct weight {
    struct post post;
    sem_t lies, go;
};

static void lie(struct post *p)
{
    struct weight *w = GR_CONTAINER_OF(p, struct weight, post);

    sem_post(&w->lies);
    while (sem_wait(&w->go) != 0)
        ;
}

static struct weight *put_on(struct loop *l)
{
    struct weight *w = gr_alloc(sizeof(*w));

    sem_init(&w->lies, 0, 0);
    sem_init(&w->go, 0, 0);
    w->post.run = lie;
    loop_post(l, &w->post);
    while (sem_wait(&w->lies) != 0)
        ;
    return w;
}

static int set_up(void **state)
{
    (void)state;
    memset(&lines, 0, sizeof(lines));
    sem_init(&lines.came, 0, 0);
    log_set_sink(on_line, NULL);
    loops_init(3, false);
    loops_start();
    watchdog_start(LIMIT_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loops_stop();
    watchdog_stop();
    watchdog_stop(); /* once more does no harm */
    loops_fini();
    log_set_sink(NULL, NULL);
    return 0;
}

static void whoever_does_not_come_back_is_named_once(void **state)
{
    struct weight *one, *two;

    (void)state;
    one = put_on(loop_at(1));
    assert_non_null(strstr(next_line(), "error loop.stuck: loop 1 has been at one thing for 500 ms, in "
                                        "the core: "));
    two = put_on(loop_at(2));
    assert_non_null(strstr(next_line(), "error loop.stuck: loop 2 ")); /* and loop 1 not again */
    sem_post(&one->go);
    assert_non_null(strstr(next_line(), "info loop.back: loop 1 goes on after more than "));
    sem_post(&two->go);
    assert_non_null(strstr(next_line(), "info loop.back: loop 2 "));
    gr_free(one);
    gr_free(two);
}

static void it_may_happen_again(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct weight *w = put_on(loop_at(0));

        assert_non_null(strstr(next_line(), "loop.stuck: loop 0 "));
        sem_post(&w->go);
        assert_non_null(strstr(next_line(), "loop.back: loop 0 "));
        gr_free(w);
    }
}

static void wait_and_end(struct post *p)
{
    (void)p;
    assert_non_null(strstr(next_line(), "error loop.stuck: the main thread has been at one thing "));
    loop_stop_main();
}

static void the_main_thread_is_watched_as_well(void **state)
{
    struct post post = { .run = wait_and_end };

    (void)state;
    loop_post(loop_main(), &post);
    loop_run_main();
    assert_non_null(strstr(next_line(), "info loop.back: the main thread goes on "));
}

/* Loop 0 and 1 pass a ball, which keeps both at work most of the time; loop 2 sleeps. */
struct ball {
    struct post post;
    int64_t until;
    sem_t done;
};

static int64_t real_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pass(struct post *p)
{
    struct ball *b = GR_CONTAINER_OF(p, struct ball, post);

    if (real_ms() < b->until)
        loop_post(loop_at(1 - loop_index(loop_self())), p);
    else
        sem_post(&b->done);
}

static void who_works_or_sleeps_is_left_alone(void **state)
{
    struct ball b = { .post.run = pass, .until = real_ms() + 3 * LIMIT_MS };

    (void)state;
    sem_init(&b.done, 0, 0);
    loop_post(loop_at(0), &b.post);
    while (sem_wait(&b.done) != 0)
        ;
    assert_int_equal(atomic_load(&lines.count), 0);
}

/* --- a stop --- */

#define SHORT_MS 100

/* What a process ends with of which a loop is stuck, or none, and a stop is under way so far. It ends
 * by itself, with 0, after a time in which it should have been ended. */
static int end_of(bool stuck, enum watchdog_stop how)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0) {
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
    }
    loops_init(2, false);
    loops_start();
    watchdog_start(SHORT_MS);
    if (stuck)
        put_on(loop_at(1));
    watchdog_stopping(how);
    poll(NULL, 0, 10 * SHORT_MS);
    _exit(0);
}

static void a_stop_does_not_wait_for_a_stuck_loop(void **state)
{
    (void)state;
    assert_int_equal(end_of(true, WATCHDOG_STOP_BEGUN), 1);
    assert_int_equal(end_of(true, WATCHDOG_STOP_ASKED), 1);
}

static void who_is_not_stuck_may_take_its_time(void **state)
{
    (void)state;
    assert_int_equal(end_of(false, WATCHDOG_STOP_BEGUN), 0);
    assert_int_equal(end_of(true, WATCHDOG_NO_STOP), 0);
}

static void a_stop_that_never_begins_is_an_end(void **state)
{
    (void)state;
    assert_int_equal(end_of(false, WATCHDOG_STOP_ASKED), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest cases[] = {
        T(whoever_does_not_come_back_is_named_once), T(it_may_happen_again),
        T(the_main_thread_is_watched_as_well), T(who_works_or_sleeps_is_left_alone),
        cmocka_unit_test(a_stop_does_not_wait_for_a_stuck_loop),
        cmocka_unit_test(who_is_not_stuck_may_take_its_time),
        cmocka_unit_test(a_stop_that_never_begins_is_an_end),
    };
    return cmocka_run_group_tests_name("watchdog", cases, NULL, NULL);
}
