/* tests/unit/test_loop.c: mailboxes, timers, deferred messages, flushes, descriptors and the pool,
 * with real threads (for the thread sanitizer) and in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/loop.h"
#include "loop/work.h"

/* --- mailboxes, real threads --- */

#define SENDERS 5 /* loops 1 to 3, the main thread, a foreign thread */
#define EACH 20000

struct letter {
    struct post post;
    int sender, number;
};
static int next_number[SENDERS]; /* of loop 0 */
static int arrived, out_of_order;
static bool wrong_loop;

static void end_main(struct post *p)
{
    gr_free(p);
    loop_stop_main();
}

static void tell_main(void)
{
    struct post *p = gr_alloc(sizeof(*p));

    p->run = end_main;
    loop_post(loop_main(), p);
}

static void receive(struct post *p)
{
    struct letter *l = GR_CONTAINER_OF(p, struct letter, post);

    if (next_number[l->sender]++ != l->number)
        out_of_order++;
    if (loop_self() != loop_at(0))
        wrong_loop = true;
    gr_free(l);
    if (++arrived == SENDERS * EACH)
        tell_main();
}

static void send_all(int sender)
{
    for (int i = 0; i < EACH; i++) {
        struct letter *l = gr_alloc(sizeof(*l));
        l->post.run = receive;
        l->sender = sender;
        l->number = i;
        loop_post(loop_at(0), &l->post);
    }
}

static void send_from_loop(struct post *p)
{
    send_all(loop_index(loop_self()) - 1);
    gr_free(p);
}

static void *send_from_thread(void *arg)
{
    (void)arg;
    assert_null(loop_self());
    send_all(SENDERS - 1);
    return NULL;
}

static void test_mailbox_keeps_order_of_each_sender(void **state)
{
    pthread_t thread;

    (void)state;
    memset(next_number, 0, sizeof(next_number));
    arrived = out_of_order = 0;
    wrong_loop = false;
    loops_init(4, false);
    loops_start();
    for (int i = 1; i < 4; i++) {
        struct post *p = gr_alloc(sizeof(*p));
        p->run = send_from_loop;
        loop_post(loop_at(i), p);
    }
    assert_int_equal(pthread_create(&thread, NULL, send_from_thread, NULL), 0);
    send_all(SENDERS - 2);
    loop_run_main();
    pthread_join(thread, NULL);
    loops_stop();
    loops_fini();
    assert_int_equal(arrived, SENDERS * EACH);
    assert_int_equal(out_of_order, 0);
    assert_false(wrong_loop);
}

/* Between two loops in both directions, each answer waking a sleeping loop. */
#define BOUNCES 2000
static int bounces; /* travels with the message */

static void bounce(struct post *p)
{
    if (++bounces == BOUNCES)
        tell_main();
    else
        loop_post(loop_at(1 - loop_index(loop_self())), p);
}

static void test_messages_wake_a_sleeping_loop(void **state)
{
    struct post p = { .run = bounce };

    (void)state;
    bounces = 0;
    loops_init(2, false);
    loops_start();
    loop_post(loop_at(0), &p);
    loop_run_main();
    loops_stop();
    loops_fini();
    assert_int_equal(bounces, BOUNCES);
}

static _Atomic int counted;

static void count_post(struct post *p)
{
    atomic_fetch_add(&counted, 1);
    gr_free(p);
}

static void test_stop_runs_what_was_posted_before(void **state)
{
    (void)state;
    atomic_store(&counted, 0);
    loops_init(3, false);
    loops_start();
    for (int i = 0; i < 3000; i++) {
        struct post *p = gr_alloc(sizeof(*p));
        p->run = count_post;
        loop_post(loop_at(i % 3), p);
    }
    loops_stop();
    assert_int_equal(atomic_load(&counted), 3000);
    for (int i = 0; i < 30; i++) { /* nobody is there any more to run these */
        struct post *p = gr_alloc(sizeof(*p));
        p->run = count_post;
        loop_post(loop_at(i % 3), p);
    }
    assert_int_equal(atomic_load(&counted), 3000);
    loops_drain();
    assert_int_equal(atomic_load(&counted), 3030);
    loops_fini();
}

/* --- calls --- */

static struct loop *called_on[8];
static int calls;
static _Atomic int inside;

static void on_call(void *arg)
{
    assert_ptr_equal(arg, called_on);
    assert_int_equal(atomic_fetch_add(&inside, 1), 0); /* one after the other */
    called_on[calls++] = loop_self();
    atomic_fetch_sub(&inside, 1);
}

static void test_call_runs_on_every_loop(void **state)
{
    (void)state;
    for (int virtual_time = 0; virtual_time < 2; virtual_time++) {
        calls = 0;
        loops_init(4, virtual_time);
        loops_start();
        struct loop *before = loop_self();
        loops_call(on_call, called_on);
        assert_ptr_equal(loop_self(), before);
        assert_int_equal(calls, 4);
        for (int i = 0; i < 4; i++)
            assert_ptr_equal(called_on[i], loop_at(i));
        loops_stop();
        loops_call(on_call, called_on); /* still, without threads */
        assert_int_equal(calls, 8);
        loops_fini();
    }
}

static void test_loops_know_each_other(void **state)
{
    (void)state;
    loops_init(3, true);
    assert_int_equal(loop_count(), 3);
    assert_true(loop_is_virtual());
    assert_int_equal(loop_index(loop_main()), -1);
    for (uint64_t hash = 0; hash < 100; hash++) {
        struct loop *home = loop_home(hash * 0x9e3779b97f4a7c15u);
        assert_in_range(loop_index(home), 0, 2);
        assert_ptr_equal(loop_at(loop_index(home)), home);
        assert_ptr_equal(loop_home(hash * 0x9e3779b97f4a7c15u), home);
    }
    loop_enter(loop_at(2));
    assert_true(loop_is_self(loop_at(2)));
    assert_false(loop_is_self(loop_at(1)));
    loops_fini();
    assert_null(loop_self());
}

/* --- a record of what happened, in virtual time --- */

static char record[256];

static void note(char c)
{
    size_t n = strlen(record);

    assert_true(n + 1 < sizeof(record));
    record[n] = c;
}

static void begin(int loops)
{
    memset(record, 0, sizeof(record));
    loops_init(loops, true);
}

struct named {
    struct post post;
    struct timer timer;
    struct flush flush;
    struct named *other;
    char name;
};

static void run_named(struct post *p)
{
    note(GR_CONTAINER_OF(p, struct named, post)->name);
}

static void run_and_defer(struct post *p)
{
    struct named *n = GR_CONTAINER_OF(p, struct named, post);

    note(n->name);
    loop_defer(&n->other->post);
}

static void test_deferred_messages_run_in_order(void **state)
{
    struct named d = { .post.run = run_named, .name = 'd' };
    struct named a = { .post.run = run_and_defer, .name = 'a', .other = &d };
    struct named b = { .post.run = run_named, .name = 'b' };
    struct named c = { .post.run = run_named, .name = 'c' };

    (void)state;
    begin(1);
    loop_defer(&a.post);
    loop_defer(&b.post);
    loop_post(loop_self(), &c.post); /* to oneself is the same */
    assert_string_equal(record, ""); /* not inside the caller */
    assert_true(loops_step());
    assert_string_equal(record, "abcd");
    assert_false(loops_step());
    loops_fini();
}

static void test_mailbox_goes_behind_what_is_deferred(void **state)
{
    struct named a = { .post.run = run_named, .name = 'a' };
    struct named b = { .post.run = run_named, .name = 'b' };
    struct named c = { .post.run = run_named, .name = 'c' };

    (void)state;
    begin(2);
    loop_enter(loop_at(1));
    loop_post(loop_at(0), &b.post);
    loop_post(loop_at(0), &c.post);
    loop_enter(loop_at(0));
    loop_defer(&a.post);
    loops_step();
    assert_string_equal(record, "abc");
    assert_ptr_equal(loop_self(), loop_at(0)); /* as before the call */
    loops_fini();
}

/* --- timers --- */

static int64_t fired_at;

static void fire(struct timer *t)
{
    assert_false(timer_running(t));
    note(GR_CONTAINER_OF(t, struct named, timer)->name);
    fired_at = gr_now_ms();
}

static void test_timers_fire_in_order_of_time(void **state)
{
    struct named a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };
    int64_t start, wall;

    (void)state;
    begin(2);
    start = gr_now_ms();
    wall = gr_wall_us();
    timer_start(&a.timer, 3000, fire);
    loop_enter(loop_at(1));
    timer_start(&b.timer, 1000, fire);
    timer_start(&c.timer, 2000, fire);
    loops_advance(999);
    assert_string_equal(record, "");
    loops_advance(1);
    assert_string_equal(record, "b");
    assert_int_equal(fired_at, start + 1000);
    loops_advance(60000);
    assert_string_equal(record, "bca");
    assert_int_equal(fired_at, start + 3000); /* saw the time it was due at */
    assert_int_equal(gr_now_ms(), start + 61000);
    assert_int_equal(gr_wall_us(), wall + 61000 * 1000);
    loops_fini();
}

static void test_timer_stop_and_restart(void **state)
{
    struct named a = { .name = 'a' };

    (void)state;
    begin(1);
    timer_stop(&a.timer); /* never started */
    timer_start(&a.timer, 100, fire);
    assert_true(timer_running(&a.timer));
    timer_stop(&a.timer);
    timer_stop(&a.timer);
    assert_false(timer_running(&a.timer));
    loops_advance(1000);
    assert_string_equal(record, "");
    timer_start(&a.timer, 100, fire);
    loops_advance(50);
    timer_start(&a.timer, 100, fire); /* from now */
    loops_advance(60);
    assert_string_equal(record, "");
    loops_advance(40);
    assert_string_equal(record, "a");
    loops_advance(1000);
    assert_string_equal(record, "a"); /* once */
    timer_start(&a.timer, -5, fire);  /* the past is now */
    loops_step();
    assert_string_equal(record, "aa");
    loops_fini();
}

static void fire_again(struct timer *t)
{
    struct named *n = GR_CONTAINER_OF(t, struct named, timer);

    note(n->name);
    if (strlen(record) < 5)
        timer_start(t, 10, fire_again);
}

static void fire_and_stop_other(struct timer *t)
{
    struct named *n = GR_CONTAINER_OF(t, struct named, timer);

    note(n->name);
    timer_stop(&n->other->timer);
}

static void test_timers_from_within_timers(void **state)
{
    struct named a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c', .other = &b };

    (void)state;
    begin(1);
    timer_start(&a.timer, 10, fire_again);
    loops_advance(30);
    assert_string_equal(record, "aaa");
    loops_advance(1000);
    assert_string_equal(record, "aaaaa");
    memset(record, 0, sizeof(record));
    timer_start(&c.timer, 5, fire_and_stop_other);
    timer_start(&b.timer, 6, fire); /* stopped by c, both being due in one go */
    clock_set_virtual(gr_now_ms() + 10, gr_wall_us());
    loops_step();
    assert_string_equal(record, "c");
    loops_fini();
}

static int zero_fires;

static void fire_zero(struct timer *t)
{
    if (++zero_fires < 100)
        timer_start(t, 0, fire_zero);
}

/* A zero delay lets everything else have its turn in between. */
static void test_zero_delay_does_not_starve(void **state)
{
    struct named z = { .name = 'z' }, p = { .post.run = run_named, .name = 'p' };

    (void)state;
    begin(1);
    zero_fires = 0;
    timer_start(&z.timer, 0, fire_zero);
    loop_defer(&p.post);
    loops_step();
    assert_string_equal(record, "p");
    assert_true(zero_fires < 3); /* again in the next turn, not in this one */
    loops_advance(200);
    assert_int_equal(zero_fires, 100);
    loops_fini();
}

/* Against a plain array: whatever is started, stopped and moved, the due ones fire, in order. */
#define MANY 500
static struct timer many[MANY];
static int64_t due[MANY], last_due; /* due 0: not running */
static int wrong;

static void fire_many(struct timer *t)
{
    int i = (int)(t - many);

    if (due[i] != gr_now_ms() || due[i] < last_due)
        wrong++;
    last_due = due[i];
    due[i] = 0;
}

static void test_many_timers_against_a_model(void **state)
{
    unsigned seed = 1;

    (void)state;
    begin(1);
    memset(many, 0, sizeof(many));
    memset(due, 0, sizeof(due));
    wrong = 0;
    for (int round = 0; round < 20000; round++) {
        int i = rand_r(&seed) % MANY, what = rand_r(&seed) % 8;
        if (what < 5) {
            int64_t delay = 1 + rand_r(&seed) % 1000;
            timer_start(&many[i], delay, fire_many);
            due[i] = gr_now_ms() + delay;
        } else if (what < 7) {
            timer_stop(&many[i]);
            due[i] = 0;
        } else {
            last_due = 0;
            loops_advance(rand_r(&seed) % 50);
        }
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(timer_running(&many[i]), due[i] != 0);
        assert_true(due[i] == 0 || due[i] > gr_now_ms());
    }
    last_due = 0;
    loops_advance(2000);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(due[i], 0);
    assert_int_equal(wrong, 0);
    loops_fini();
}

static int64_t real_due;
static bool early;

static void fire_real(struct timer *t)
{
    (void)t;
    if (clock_monotonic_ms() < real_due)
        early = true;
    tell_main();
}

static void start_real(struct post *p)
{
    struct named *n = GR_CONTAINER_OF(p, struct named, post);

    real_due = gr_now_ms() + 20;
    timer_start(&n->timer, 20, fire_real);
}

static void test_timer_of_a_real_loop(void **state)
{
    struct named n = { .post.run = start_real };

    (void)state;
    early = false;
    loops_init(1, false);
    loops_start();
    loop_post(loop_at(0), &n.post);
    loop_run_main();
    loops_stop();
    loops_fini();
    assert_false(early);
}

/* --- flushes --- */

static void flush_named(struct flush *f)
{
    note(GR_CONTAINER_OF(f, struct named, flush)->name);
}

static void run_and_flush(struct post *p)
{
    struct named *n = GR_CONTAINER_OF(p, struct named, post);

    note(n->name);
    loop_flush_later(&n->other->flush);
}

static void test_flush_once_behind_the_messages(void **state)
{
    struct named f = { .flush.flush = flush_named, .name = 'f' };
    struct named a = { .post.run = run_and_flush, .name = 'a', .other = &f };
    struct named b = { .post.run = run_and_flush, .name = 'b', .other = &f };

    (void)state;
    begin(1);
    loop_defer(&a.post);
    loop_defer(&b.post);
    loops_step();
    assert_string_equal(record, "abf");
    loop_flush_later(&f.flush);
    loop_flush_cancel(&f.flush);
    loop_flush_cancel(&f.flush);
    loops_step();
    assert_string_equal(record, "abf");
    loop_flush_later(&f.flush); /* usable again */
    loops_step();
    assert_string_equal(record, "abff");
    loops_fini();
}

/* --- descriptors --- */

static int seen_events;
static struct loop *seen_on;

static void ready(struct watch *w, int events)
{
    char c;

    seen_events |= events;
    seen_on = loop_self();
    if (events & EV_READ)
        assert_int_equal(read(w->io.fd, &c, 1), 1);
    if (events & EV_WRITE)
        watch_set(w, 0);
    if (!loop_is_virtual())
        tell_main();
}

static void test_descriptors(void **state)
{
    struct watch r, w;
    int fd[2];

    (void)state;
    begin(2);
    assert_int_equal(pipe(fd), 0);
    watch_init(&r, fd[0], ready);
    watch_init(&w, fd[1], ready);
    loop_enter(loop_at(1));
    seen_events = 0;
    watch_set(&r, EV_READ);
    watch_set(&r, EV_READ);
    assert_false(loops_step());
    assert_int_equal(write(fd[1], "xy", 2), 2);
    assert_true(loops_step()); /* level-triggered: both */
    assert_int_equal(seen_events, EV_READ);
    assert_ptr_equal(seen_on, loop_at(1));
    assert_int_equal(write(fd[1], "z", 1), 1);
    watch_set(&r, 0);
    assert_false(loops_step());
    watch_set(&w, EV_WRITE); /* stops itself */
    assert_true(loops_step());
    assert_int_equal(seen_events, EV_READ | EV_WRITE);
    assert_false(loops_step());
    close(fd[0]);
    close(fd[1]);
    loops_fini();
}

struct there {
    struct post post;
    struct watch watch;
    int end;
};

static void watch_there(struct post *p)
{
    struct there *t = GR_CONTAINER_OF(p, struct there, post);

    watch_set(&t->watch, EV_READ);
    assert_int_equal(write(t->end, "x", 1), 1);
}

static void test_descriptor_of_a_real_loop(void **state)
{
    struct there t = { .post.run = watch_there };
    int fd[2];

    (void)state;
    seen_events = 0;
    assert_int_equal(pipe(fd), 0);
    loops_init(2, false);
    loops_start();
    watch_init(&t.watch, fd[0], ready);
    t.end = fd[1];
    loop_post(loop_at(1), &t.post);
    loop_run_main();
    loops_stop();
    assert_int_equal(seen_events, EV_READ);
    assert_ptr_equal(seen_on, loop_at(1));
    loops_fini();
    close(fd[0]);
    close(fd[1]);
}

/* A flush sends a message, as a receipt that comes home does; it is done before sockets are looked at
 * again, but messages without end do not keep these from their turn. */
struct endless {
    struct post post;
    struct watch watch;
    struct flush flush;
    int messages, before;    /* before: the sockets had their turn */
};

static void noted_ready(struct watch *w, int events)
{
    struct endless *e = GR_CONTAINER_OF(w, struct endless, watch);
    char c;

    (void)events;
    e->before = e->messages;
    assert_int_equal(read(w->io.fd, &c, 1), 1);
    watch_set(w, 0);
    note('r');
    tell_main();
}

static void again(struct post *p)
{
    struct endless *e = GR_CONTAINER_OF(p, struct endless, post);

    if (e->messages++ == 0)
        note('m');
    if (strchr(record, 'r') == NULL)
        loop_defer(p);
}

static void flush_and_tell(struct flush *f)
{
    struct endless *e = GR_CONTAINER_OF(f, struct endless, flush);

    note('f');
    e->post.run = again;
    loop_defer(&e->post);
}

static void start_endless(struct post *p)
{
    struct endless *e = GR_CONTAINER_OF(p, struct endless, post);

    watch_set(&e->watch, EV_READ);
    loop_flush_later(&e->flush);
}

static void test_messages_between_looks_at_the_sockets(void **state)
{
    struct endless e = { .post.run = start_endless, .flush.flush = flush_and_tell };
    int fd[2];

    (void)state;
    memset(record, 0, sizeof(record));
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    loops_init(1, false);
    watch_init(&e.watch, fd[0], noted_ready);
    loops_start();
    loop_post(loop_at(0), &e.post);
    loop_run_main();
    loops_stop();
    loops_fini();
    assert_string_equal(record, "fmr");
    assert_int_equal(e.before, 2); /* the flush's, and one more round */
    close(fd[0]);
    close(fd[1]);
}

/* --- the pool --- */

static sem_t started, go_on;
static _Atomic int executed;
static int done_count;

struct job {
    struct work work;
    pthread_t ran_on;
    bool ran, blocks;
    int all;
};

static void job_run(struct work *w)
{
    struct job *j = GR_CONTAINER_OF(w, struct job, work);

    assert_null(loop_self()); /* a pool thread has no loop */
    if (j->blocks) {
        sem_post(&started);
        while (sem_wait(&go_on) != 0)
            ;
    }
    j->ran_on = pthread_self();
    j->ran = true;
    atomic_fetch_add(&executed, 1);
}

static void job_done(struct work *w)
{
    struct job *j = GR_CONTAINER_OF(w, struct job, work);

    assert_true(j->ran);
    assert_ptr_equal(loop_self(), loop_main());
    assert_false(pthread_equal(j->ran_on, pthread_self()));
    if (++done_count == j->all)
        loop_stop_main();
}

#define JOBS 200

static void test_pool_runs_elsewhere_and_answers_here(void **state)
{
    static struct job jobs[JOBS];

    (void)state;
    memset(jobs, 0, sizeof(jobs));
    atomic_store(&executed, 0);
    done_count = 0;
    loops_init(1, false);
    loops_start();
    work_init(3, JOBS);
    for (int i = 0; i < JOBS; i++) {
        jobs[i].work.run = job_run;
        jobs[i].work.done = job_done;
        jobs[i].all = JOBS;
        assert_int_equal(work_submit(&jobs[i].work), 0);
    }
    loop_run_main();
    assert_int_equal(done_count, JOBS);
    work_fini();
    loops_stop();
    loops_fini();
}

static void test_pool_is_bounded(void **state)
{
    struct job jobs[7] = { 0 };

    (void)state;
    atomic_store(&executed, 0);
    done_count = 0;
    sem_init(&started, 0, 0);
    sem_init(&go_on, 0, 0);
    loops_init(1, false);
    loops_start();
    work_init(2, 4);
    for (int i = 0; i < 7; i++) {
        jobs[i].work.run = job_run;
        jobs[i].work.done = job_done;
        jobs[i].all = 6;
        jobs[i].blocks = i < 2;
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(work_submit(&jobs[i].work), 0);
    for (int i = 0; i < 2; i++) /* both threads are busy now, the queue is empty */
        while (sem_wait(&started) != 0)
            ;
    for (int i = 2; i < 6; i++)
        assert_int_equal(work_submit(&jobs[i].work), 0);
    assert_int_equal(work_submit(&jobs[6].work), GR_EAGAIN);
    for (int i = 0; i < 2; i++)
        sem_post(&go_on);
    loop_run_main();
    assert_int_equal(done_count, 6);
    assert_int_equal(atomic_load(&executed), 6);
    assert_false(jobs[6].ran);
    jobs[6].all = 7;
    assert_int_equal(work_submit(&jobs[6].work), 0); /* there is room again */
    loop_run_main();
    assert_int_equal(done_count, 7);
    work_fini();
    loops_stop();
    loops_fini();
    sem_destroy(&started);
    sem_destroy(&go_on);
}

/* What is queued when the pool ends is done, and its answers are on their way. */
static void test_pool_finishes_its_queue(void **state)
{
    struct job jobs[50] = { 0 };

    (void)state;
    atomic_store(&executed, 0);
    done_count = 0;
    loops_init(1, false);
    work_init(2, 50);
    for (int i = 0; i < 50; i++) {
        jobs[i].work.run = job_run;
        jobs[i].work.done = job_done;
        jobs[i].all = 50;
        assert_int_equal(work_submit(&jobs[i].work), 0);
    }
    work_fini();
    assert_int_equal(atomic_load(&executed), 50);
    loop_run_main();
    assert_int_equal(done_count, 50);
    loops_fini();
}

static void virtual_run(struct work *w)
{
    GR_CONTAINER_OF(w, struct job, work)->ran = true;
}

static void virtual_done(struct work *w)
{
    assert_true(GR_CONTAINER_OF(w, struct job, work)->ran);
    assert_ptr_equal(loop_self(), loop_at(1));
    note('d');
}

static void test_pool_in_virtual_time(void **state)
{
    struct job j = { .work.run = virtual_run, .work.done = virtual_done };

    (void)state;
    begin(2);
    work_init(2, 1);
    loop_enter(loop_at(1));
    assert_int_equal(work_submit(&j.work), 0);
    assert_string_equal(record, ""); /* never inside the caller */
    loops_step();
    assert_string_equal(record, "d");
    work_fini();
    loops_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mailbox_keeps_order_of_each_sender),
        cmocka_unit_test(test_messages_wake_a_sleeping_loop),
        cmocka_unit_test(test_stop_runs_what_was_posted_before),
        cmocka_unit_test(test_call_runs_on_every_loop),
        cmocka_unit_test(test_loops_know_each_other),
        cmocka_unit_test(test_deferred_messages_run_in_order),
        cmocka_unit_test(test_mailbox_goes_behind_what_is_deferred),
        cmocka_unit_test(test_timers_fire_in_order_of_time),
        cmocka_unit_test(test_timer_stop_and_restart),
        cmocka_unit_test(test_timers_from_within_timers),
        cmocka_unit_test(test_zero_delay_does_not_starve),
        cmocka_unit_test(test_many_timers_against_a_model),
        cmocka_unit_test(test_timer_of_a_real_loop),
        cmocka_unit_test(test_flush_once_behind_the_messages),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_descriptor_of_a_real_loop),
        cmocka_unit_test(test_messages_between_looks_at_the_sockets),
        cmocka_unit_test(test_pool_runs_elsewhere_and_answers_here),
        cmocka_unit_test(test_pool_is_bounded),
        cmocka_unit_test(test_pool_finishes_its_queue),
        cmocka_unit_test(test_pool_in_virtual_time),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
