/* The store with real threads: loops that hammer it while the committer works. Run it with thread
 * sanitizer: nothing here depends on time, everything on order. */
#include "store_ask.h"

#include <stdatomic.h>

enum { LOOPS = 2, CHAINS = 16, ROUNDS = 150 };

static char *dir;
static struct store_coll *map, *logc;

/* One owner's life on one loop: write, read back, count, over and over; others do the same. */
struct chain {
    struct post start;
    struct store_req write, read, count;
    int id, round;
    char owner[24];
};
static struct chain chains[LOOPS * CHAINS];
static atomic_int left, wrong;
static char payload[8192];
static size_t payload_len = 1; /* of each appended row */

static void begin_round(struct chain *c);

static void on_finished(struct post *p)
{
    (void)p;
    loop_stop_main();
}
static struct post finished = { .run = on_finished };

static void check(bool ok)
{
    if (!ok)
        atomic_fetch_add(&wrong, 1);
}

static void written(struct store_req *req)
{
    struct chain *c = GR_CONTAINER_OF(req, struct chain, write);

    check(req->rows.rc == 0 && req->rows.count == 1 &&
          gr_row_seq(&req->rows.row[0]) == (uint64_t)c->round + 1);
    check(loop_index(loop_self()) == c->id % LOOPS);
}

static void was_read(struct store_req *req)
{
    struct chain *c = GR_CONTAINER_OF(req, struct chain, read);

    check(req->rows.rc == 0 && req->rows.count == 1 &&
          memcmp(req->rows.row[0].val, &c->round, sizeof(c->round)) == 0);
}

static void counted(struct store_req *req)
{
    struct chain *c = GR_CONTAINER_OF(req, struct chain, count);

    check(req->rows.rc == 0 && req->rows.count == (size_t)c->round + 1);
    if (++c->round < ROUNDS)
        begin_round(c);
    else if (atomic_fetch_sub(&left, 1) == 1)
        loop_post(loop_main(), &finished);
}

/* Both reads are issued while the write is under way, and must see it. */
static void begin_round(struct chain *c)
{
    struct store_txn *t = store_txn_new();

    store_txn_add(t, STORE_PUT, map, c->owner, "k", 1, &c->round, sizeof(c->round));
    store_txn_add(t, STORE_APPEND, logc, c->owner, NULL, 0, payload, payload_len);
    store_commit(t, &c->write);
    store_get(&c->read, map, c->owner, "k", 1);
    store_count(&c->count, logc, c->owner);
}

static void on_start(struct post *p)
{
    begin_round(GR_CONTAINER_OF(p, struct chain, start));
}

static void hammer(const struct store_opts *opts)
{
    struct store_stats st;

    loops_init(LOOPS, false);
    must_open(opts);
    map = store_coll("test.map", GR_COLL_MAP);
    logc = store_coll("test.log", GR_COLL_LOG);
    left = LOOPS * CHAINS;
    wrong = 0;
    for (int i = 0; i < LOOPS * CHAINS; i++) {
        struct chain *c = &chains[i];

        *c = (struct chain){ .id = i, .start.run = on_start, .write.done = written,
                             .read.done = was_read, .count.done = counted };
        snprintf(c->owner, sizeof(c->owner), "owner-%d@x", i);
    }
    loops_start();
    for (int i = 0; i < LOOPS * CHAINS; i++)
        loop_post(loop_at(i % LOOPS), &chains[i].start);
    loop_run_main();
    assert_int_equal(wrong, 0);
    store_stats(&st);
    assert_int_equal(st.ops, 2 * LOOPS * CHAINS * ROUNDS);
    assert_true(st.commits >= 1 && st.commits <= st.ops / 2);
    print_message("# %llu operations in %llu commits\n", (unsigned long long)st.ops,
                  (unsigned long long)st.commits);
    store_flush();
    loops_stop();
    store_close();
    loops_fini();
}

static void memory(void **state)
{
    (void)state;
    hammer(&(struct store_opts){ .commit_delay_us = -1 });
}

static void lmdb(void **state)
{
    (void)state;
    dir = temp_dir();
    hammer(&(struct store_opts){ .dir = dir, .sync = true });
    remove_dir(dir);
}

/* The map moves while loops read. */
static void lmdb_that_grows(void **state)
{
    (void)state;
    dir = temp_dir();
    payload_len = sizeof(payload);
    hammer(&(struct store_opts){ .dir = dir, .map_start = 64 << 10, .map_size = 256 << 20,
                                 .commit_delay_us = -1 });
    payload_len = 1;
    remove_dir(dir);
}

/* --- shutdown: what was queued is committed and told, whether or not loops still turn --- */

static atomic_int told;
static void tell(struct store_req *req)
{
    check(req->rows.rc == 0 && loop_index(loop_self()) == 1);
    atomic_fetch_add(&told, 1);
}

static void burst(struct post *p)
{
    static struct store_req req[1000];

    for (int i = 0; i < 1000; i++) {
        req[i] = (struct store_req){ .done = tell };
        store_commit(one(STORE_APPEND, logc, "a@x", NULL, "v"), &req[i]);
    }
    loop_post(loop_main(), &finished);
    (void)p;
}

static void shut_down_with_a_full_queue(void **state)
{
    enum { CLOSE_FIRST, FLUSH_FIRST, STOP_FIRST };
    struct post go = { .run = burst };

    (void)state;
    for (int how = CLOSE_FIRST; how <= STOP_FIRST; how++) {
        dir = temp_dir();
        loops_init(2, false);
        must_open(&(struct store_opts){ .dir = dir });
        logc = store_coll("test.log", GR_COLL_LOG);
        wrong = told = 0;
        loops_start();
        loop_post(loop_at(1), &go);
        loop_run_main();
        if (how == FLUSH_FIRST)
            store_flush();
        if (how != CLOSE_FIRST)
            loops_stop();
        if (how == FLUSH_FIRST)
            assert_int_equal(told, 1000);
        store_close();
        assert_int_equal(told, 1000);
        loops_stop();
        assert_int_equal(wrong, 0);
        loops_fini();
        remove_dir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),
        cmocka_unit_test(lmdb),
        cmocka_unit_test(lmdb_that_grows),
        cmocka_unit_test(shut_down_with_a_full_queue),
    };
    return cmocka_run_group_tests_name("store_threads", tests, NULL, NULL);
}
