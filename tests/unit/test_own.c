/* test_own: what an instance creates at run time: timers, work, store requests, bags; and what becomes of
 * it when the instance retires or is stopped. */
#include "mod_world.h"

#include "mod/bag.h"

#define HOSTS "[host a.test]\n"

static const struct gr_coll colls[] = { GR_MAP("own.map"), GR_LOG("own.log"), GR_COLL_END };
static const struct gr_coll stranger = GR_MAP("somebody.elses");
static char trace[256];

static void say(const char *what)
{
    assert_true(strlen(trace) + strlen(what) + 2 < sizeof(trace));
    strcat(trace, what);
    strcat(trace, " ");
}

static void expect(const char *what)
{
    assert_string_equal(trace, what);
    trace[0] = '\0';
}

struct state {
    struct gr_timer a, b;
};

static void on_stop(struct gr_mod *self)
{
    (void)self;
    say("stop");
}

static const struct gr_module own = { .name = "own", .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG,
                                      .state_size = sizeof(struct state), .collections = colls,
                                      .stop = on_stop };

static struct gr_mod *self_of(void)
{
    return world_mod("a.test", "own");
}

static int setup(void **state)
{
    (void)state;
    world_open(2);
    mod_add_builtin(&own);
    world_load(HOSTS);
    trace[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close();
    return 0;
}

/* The store's committer runs on this thread in virtual time. */
static void settle(void)
{
    do
        loops_step();
    while (store_step());
    loops_step();
}

/* --- timers --- */

static void fire_a(struct gr_mod *self, struct gr_timer *t)
{
    struct state *st = gr_state(self);

    assert_ptr_equal(t, &st->a);
    say("a");
    gr_timer_stop(&st->b);
}

static void fire_b(struct gr_mod *self, struct gr_timer *t)
{
    say("b");
    gr_timer_start(self, t, 10, fire_b);
}

static void timers_fire_restart_and_stop(void **state)
{
    struct gr_mod *self = self_of();
    struct state *st = gr_state(self);

    (void)state;
    gr_timer_stop(&st->a); /* never started */
    gr_timer_start(self, &st->a, 35, fire_a);
    gr_timer_start(self, &st->b, 1000, fire_b);
    gr_timer_start(self, &st->b, 10, fire_b); /* replaces */
    loops_advance(30);
    expect("b b b ");
    loops_advance(100);
    expect("a ");
    gr_timer_stop(&st->a);
    assert_true(list_empty(&self->timers));
}

static void retired_instances_have_no_timers(void **state)
{
    struct gr_mod *self = self_of();
    struct state *st = gr_state(self);
    char *report;

    (void)state;
    gr_timer_start(self, &st->b, 10, fire_b);
    mod_pend(self);
    assert_int_equal(world_reload("[host b.test]\n", &report), 0);
    gr_free(report);
    gr_timer_start(self, &st->a, 1, fire_a);
    loops_advance(1000);
    expect("stop "); /* of the other loop's, which had nothing pending */
    assert_true(self->retired);
    mod_unpend(self);
    loops_step();
    expect("stop ");
}

/* --- work --- */

struct job {
    int in, out;
};

static void job_run(void *data)
{
    struct job *j = data;

    j->out = 2 * j->in;
}

static void job_done(struct gr_mod *self, void *data)
{
    const struct job *j = data;

    assert_ptr_equal(self, self_of());
    assert_int_equal(j->out, 42);
    say("done");
}

static void work_is_copied_and_comes_back(void **state)
{
    struct job j = { 21, 0 };

    (void)state;
    assert_int_equal(gr_work(self_of(), &j, sizeof(j), job_run, job_done), 0);
    j.in = 0;
    assert_int_equal(self_of()->pending, 1);
    for (int i = 0; i < 1000 && trace[0] == '\0'; i++)
        loops_step();
    expect("done ");
    assert_int_equal(j.out, 0);
    assert_int_equal(self_of()->pending, 0);
}

static void work_after_stopping_finds_nobody(void **state)
{
    struct job j = { 21, 0 };

    (void)state;
    assert_int_equal(gr_work(self_of(), &j, sizeof(j), job_run, job_done), 0);
    assert_int_equal(self_of()->pending, 1);
    mod_stop_all();
    expect("stop stop "); /* two loops */
    loops_step();
    expect("");
}

/* --- the store --- */

static int last_rc;
static size_t last_count;
static uint64_t last_seq;
static char last_val[32];

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    assert_int_equal(self->pending, 1);
    assert_string_equal(gr_req_data(req), "mine");
    last_rc = rows->rc;
    last_count = rows->count;
    if (rows->count > 0 && rows->row != NULL) {
        last_seq = rows->row[0].key_len == 8 ? gr_row_seq(&rows->row[0]) : 0;
        snprintf(last_val, sizeof(last_val), "%.*s", (int)rows->row[0].val_len,
                 rows->row[0].val != NULL ? (const char *)rows->row[0].val : "");
    }
    say("rows");
}

static struct gr_req *req(void)
{
    struct gr_req *r = gr_req_new(self_of(), 5, on_rows);

    strcpy(gr_req_data(r), "mine");
    last_rc = 1;
    return r;
}

static void expect_rows(int rc, size_t count)
{
    settle();
    expect("rows ");
    assert_int_equal(last_rc, rc);
    assert_int_equal(last_count, count);
    assert_int_equal(self_of()->pending, 0);
}

static void maps(void **state)
{
    struct gr_txn *t = gr_txn_new(self_of());
    struct gr_req *dropped = req();

    (void)state;
    gr_req_drop(&dropped);
    assert_null(dropped);
    gr_store_get(req(), &colls[0], "me@a.test", "k", 1);
    expect_rows(GR_ENOENT, 0);
    gr_txn_put(t, &colls[0], "me@a.test", "k", 1, "value", 5);
    gr_txn_put(t, &colls[0], "me@a.test", "l", 1, "other", 5);
    gr_txn_commit(t, req());
    expect_rows(0, 0);
    gr_store_get(req(), &colls[0], "me@a.test", "k", 1);
    expect_rows(0, 1);
    assert_string_equal(last_val, "value");
    gr_store_range(req(), &colls[0], "me@a.test", NULL, 0, 10);
    expect_rows(0, 2);
    gr_store_count(req(), &colls[0], "me@a.test");
    expect_rows(0, 2);
    t = gr_txn_new(self_of());
    gr_txn_put_new(t, &colls[0], "me@a.test", "k", 1, "x", 1);
    gr_txn_commit(t, req());
    expect_rows(GR_EEXIST, 0);
    t = gr_txn_new(self_of());
    gr_txn_del(t, &colls[0], "me@a.test", "k", 1);
    gr_txn_commit(t, NULL); /* nobody waits for it */
    settle();
    gr_store_count(req(), &colls[0], "me@a.test");
    expect_rows(0, 1);
    t = gr_txn_new(self_of());
    gr_txn_del_all(t, &colls[0], "me@a.test");
    gr_txn_drop(&t);
    gr_store_count(req(), &colls[0], "me@a.test");
    expect_rows(0, 1);
}

static void logs(void **state)
{
    struct gr_txn *t = gr_txn_new(self_of());

    (void)state;
    gr_txn_append(t, &colls[1], "me@a.test", "first", 5);
    gr_txn_commit(t, req());
    expect_rows(0, 1);
    uint64_t seq = last_seq;
    assert_true(seq > 0);
    gr_store_range(req(), &colls[1], "me@a.test", NULL, 0, 10);
    expect_rows(0, 1);
    assert_string_equal(last_val, "first");
    assert_true(last_seq == seq);
    t = gr_txn_new(self_of());
    gr_txn_del_seq(t, &colls[1], "me@a.test", seq);
    gr_txn_commit(t, req());
    expect_rows(0, 0);
    gr_store_count(req(), &colls[1], "me@a.test");
    expect_rows(0, 0);
}

static void undeclared_collections_are_refused(void **state)
{
    struct gr_txn *t = gr_txn_new(self_of());

    (void)state;
    gr_store_get(req(), &stranger, "me@a.test", "k", 1);
    expect_rows(GR_ENOTSUP, 0);
    gr_txn_put(t, &colls[0], "me@a.test", "k", 1, "v", 1);
    gr_txn_put(t, &stranger, "me@a.test", "k", 1, "v", 1);
    gr_txn_commit(t, req());
    expect_rows(GR_ENOTSUP, 0);
    gr_store_count(req(), &colls[0], "me@a.test");
    expect_rows(0, 0);
    assert_true(world_logged("error mod.collection: mod_own uses the collection somebody.elses"));
}

/* A reload while a write is on its way: the completion comes, in order, before stop(). */
static void completion_after_retiring(void **state)
{
    struct gr_txn *t = gr_txn_new(self_of());
    char *report;

    (void)state;
    gr_txn_put(t, &colls[0], "me@a.test", "k", 1, "v", 1);
    gr_txn_commit(t, req());
    assert_int_equal(world_reload("[host b.test]\n", &report), 0);
    gr_free(report);
    settle();
    assert_non_null(strstr(trace, "rows "));
    assert_string_equal(strstr(trace, "rows "), "rows stop ");
    assert_int_equal(last_rc, 0);
}

static void completion_after_stopping_is_dropped(void **state)
{
    struct gr_txn *t = gr_txn_new(self_of());

    (void)state;
    gr_txn_put(t, &colls[0], "me@a.test", "k", 1, "v", 1);
    gr_txn_commit(t, req());
    mod_stop_all();
    settle();
    expect("stop stop "); /* two loops; no rows */
}

/* --- bags --- */

static void bags_copy_everything(void **state)
{
    struct gr_bag bag = { .first = NULL };
    char key[] = "key", text[] = "text", blob[] = { 1, 0, 2 };
    size_t len = 9;

    (void)state;
    gr_bag_put_u64(&bag, "n", UINT64_MAX);
    gr_bag_put_str(&bag, key, text);
    gr_bag_put_blob(&bag, "b", blob, sizeof(blob));
    gr_bag_put_blob(&bag, "empty", NULL, 0);
    gr_bag_put_str(&bag, "null", NULL);
    memset(key, 'x', 3);
    memset(text, 'x', 4);
    memset(blob, 9, 3);
    assert_true(gr_bag_u64(&bag, "n", 1) == UINT64_MAX);
    assert_int_equal(gr_bag_u64(&bag, "m", 1), 1);
    assert_int_equal(gr_bag_u64(&bag, "key", 7), 7); /* of another kind */
    assert_string_equal(gr_bag_str(&bag, "key"), "text");
    assert_null(gr_bag_str(&bag, "xxx"));
    assert_null(gr_bag_str(&bag, "null"));
    assert_memory_equal(gr_bag_blob(&bag, "b", &len), "\1\0\2", 3);
    assert_int_equal(len, 3);
    assert_non_null(gr_bag_blob(&bag, "empty", &len));
    assert_int_equal(len, 0);
    assert_null(gr_bag_blob(&bag, "n", &len));
    gr_bag_put_str(&bag, "key", "later");
    assert_string_equal(gr_bag_str(&bag, "key"), "later");
    bag_fini(&bag);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(timers_fire_restart_and_stop), T(retired_instances_have_no_timers),
        T(work_is_copied_and_comes_back), T(work_after_stopping_finds_nobody), T(maps), T(logs),
        T(undeclared_collections_are_refused), T(completion_after_retiring),
        T(completion_after_stopping_is_dropped), T(bags_copy_everything),
    };

    return cmocka_run_group_tests_name("own", tests, NULL, NULL);
}
