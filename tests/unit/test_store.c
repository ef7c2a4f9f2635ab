/* The store's front, with both engines: results, order, atomicity, bounds. Virtual time. */
#include "store_ask.h"

enum { LONG = 600 };

static char *dir; /* of the current test; NULL: memory */
static struct store_coll *map, *logc;

static void open_store(void)
{
    must_open(&(struct store_opts){ .dir = dir, .sync = false });
    map = store_coll("test.map", GR_COLL_MAP);
    logc = store_coll("test.log", GR_COLL_LOG);
    assert_non_null(map);
    assert_non_null(logc);
}

static int setup_mem(void **state)
{
    (void)state;
    loops_init(2, true);
    open_store();
    return 0;
}

static int setup_lmdb(void **state)
{
    dir = temp_dir();
    return setup_mem(state);
}

static int teardown(void **state)
{
    (void)state;
    settle();
    store_close();
    loops_fini();
    if (dir != NULL)
        remove_dir(dir);
    dir = NULL;
    return 0;
}

static void map_rows(void **state)
{
    (void)state;
    assert_answer(now_get(map, "a@x", "k"), "E5");
    assert_answer(now_range(map, "a@x", NULL, 10), "");
    assert_int_equal(now_put(map, "a@x", "k2", "two"), 0);
    assert_int_equal(now_put(map, "a@x", "k1", "one"), 0);
    assert_int_equal(now_put(map, "a@x", "k", "none"), 0);
    assert_int_equal(now_put(map, "a@x", "", "empty key"), 0);
    assert_int_equal(now_put(map, "b@x", "k1", ""), 0);
    assert_answer(now_get(map, "a@x", "k1"), "k1=one;");
    assert_answer(now_get(map, "a@x", ""), "=empty key;");
    assert_answer(now_get(map, "b@x", "k1"), "k1=;");
    assert_answer(now_range(map, "a@x", NULL, 10), "=empty key;k=none;k1=one;k2=two;");
    assert_answer(now_range(map, "a@x", NULL, 2), "=empty key;k=none;...");
    assert_answer(now_range(map, "a@x", "k1", 10), "k1=one;k2=two;");
    assert_answer(now_range(map, "a@x", "k11", 1), "k2=two;");
    assert_answer(now_range(map, "a@x", NULL, 0), "...");
    assert_int_equal(now_count(map, "a@x"), 4);
    assert_int_equal(now_count(map, "nobody@x"), 0);
    assert_int_equal(now_put(map, "a@x", "k1", "uno"), 0);
    assert_int_equal(now_commit(one(STORE_DEL, map, "a@x", "k2", NULL)), 0);
    assert_int_equal(now_commit(one(STORE_DEL, map, "a@x", "not there", NULL)), 0);
    assert_answer(now_range(map, "a@x", "k", 10), "k=none;k1=uno;");
    assert_int_equal(now_commit(one(STORE_DEL_ALL, map, "a@x", NULL, NULL)), 0);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, map, "nobody@x", NULL, NULL)), 0);
    assert_int_equal(now_count(map, "a@x"), 0);
    assert_int_equal(now_count(map, "b@x"), 1);
}

static void log_numbers_are_never_reused(void **state)
{
    (void)state;
    assert_int_equal(now_append(logc, "a@x", "one"), 1);
    assert_int_equal(now_append(logc, "a@x", "two"), 2);
    assert_int_equal(now_append(logc, "b@x", "other"), 1);
    assert_answer(now_range(logc, "a@x", NULL, 10), "#1=one;#2=two;");
    assert_answer(now_range(logc, "a@x", NULL, 1), "#1=one;...");
    assert_answer(now_range(logc, "a@x", "\0\0\0\0\0\0\0\2", 1), "E2"); /* a text, cut at its NUL */
    assert_int_equal(now_count(logc, "a@x"), 2);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 2)), 0);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 2)), 0);
    assert_int_equal(now_commit(one_del_seq(logc, "c@x", 2)), 0);
    assert_int_equal(now_count(logc, "a@x"), 1);
    assert_int_equal(now_append(logc, "a@x", "three"), 3);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, logc, "a@x", NULL, NULL)), 0);
    assert_int_equal(now_count(logc, "a@x"), 0);
    assert_answer(now_range(logc, "a@x", NULL, 10), "");
    assert_int_equal(now_append(logc, "a@x", "four"), 4);
    assert_int_equal(now_count(logc, "a@x"), 1);
    if (dir == NULL)
        return;
    assert_int_equal(now_commit(one(STORE_DEL_ALL, logc, "a@x", NULL, NULL)), 0);
    store_close();
    open_store();
    assert_int_equal(now_append(logc, "a@x", "five"), 5);
}

static char *now_back(struct store_coll *c, const char *owner, const char *before, size_t len,
                      size_t limit)
{
    struct ask a;

    memset(&a, 0, sizeof(a));
    ask_init(&a);
    store_range_back(&a.req, c, owner, before, len, limit);
    return answer(&a);
}

/* The last row of the map. */
static void now_check_back(int rc)
{
    struct ask a;

    memset(&a, 0, sizeof(a));
    ask_init(&a);
    store_range_back(&a.req, map, "a@x", NULL, 0, 1);
    settle();
    assert_int_equal(a.rc, rc);
    buf_fini(&a.text);
}

static void backwards(void **state)
{
    char *key = gr_alloc(473);

    (void)state;
    assert_answer(now_back(map, "a@x", NULL, 0, 10), "");
    for (char k = 'a'; k <= 'e'; k++) {
        assert_int_equal(now_put(map, "a@x", (char[]){ k, '\0' }, "v"), 0);
        assert_int_equal(now_append(logc, "a@x", (char[]){ k, '\0' }), k - 'a' + 1);
    }
    assert_answer(now_back(map, "a@x", NULL, 0, 2), "e=v;d=v;...");
    assert_answer(now_back(map, "a@x", "c", 1, 9), "b=v;a=v;");
    assert_answer(now_back(map, "a@x", "cc", 2, 1), "c=v;...");
    assert_answer(now_back(map, "a@x", "a", 1, 9), "");
    assert_answer(now_back(map, "a@x", "z", 1, 1), "e=v;...");
    assert_answer(now_back(logc, "a@x", NULL, 0, 2), "#5=e;#4=d;...");
    assert_answer(now_back(logc, "a@x", "\0\0\0\0\0\0\0\3", 8, 9), "#2=b;#1=a;");
    assert_answer(now_back(logc, "a@x", "\0\0\0\0\0\0\0\1", 8, 9), "");
    assert_answer(now_back(logc, "a@x", "\0\0\0\0\0\0\1\0", 8, 9), "#5=e;#4=d;#3=c;#2=b;#1=a;");
    assert_answer(now_back(logc, "a@x", "1", 1, 9), "E2"); /* no number */
    /* Neighbours on both sides. */
    assert_int_equal(now_append(logc, "b@x", "other"), 1);
    assert_int_equal(now_put(map, "b@x", "k", "other"), 0);
    assert_answer(now_back(logc, "a@x", NULL, 0, 1), "#5=e;...");
    assert_answer(now_back(map, "a@x", NULL, 0, 1), "e=v;...");
    assert_answer(now_back(logc, "b@x", NULL, 0, 9), "#1=other;");
    assert_answer(now_back(map, "b@x", NULL, 0, 9), "k=other;");
    assert_int_equal(now_commit(one(STORE_DEL_ALL, logc, "b@x", NULL, NULL)), 0);
    assert_answer(now_back(logc, "b@x", NULL, 0, 9), ""); /* its head is there */
    assert_answer(now_back(logc, "nobody@x", NULL, 0, 9), "");
    memset(key, 'f', 471);
    assert_int_equal(now_put(map, "a@x", key, "fits"), 0);
    assert_answer(now_back(map, "a@x", "f", 1, 1), "e=v;...");
    now_check_back(0);
    key[471] = 'f';
    assert_int_equal(now_put(map, "a@x", key, "too long"), 0);
    now_check_back(GR_ENOTSUP);
    gr_free(key);
}

static struct store_txn *one_replace(const char *owner, uint64_t seq, const char *val)
{
    struct store_txn *t = store_txn_new();
    uint8_t key[8] = { 0, 0, 0, 0, 0, 0, 0, (uint8_t)seq };

    store_txn_add(t, STORE_REPLACE, logc, owner, key, sizeof(key), val, strlen(val));
    return t;
}

static void check_log(const char *owner, size_t count, uint64_t last, uint64_t bytes)
{
    struct ask a;

    memset(&a, 0, sizeof(a));
    ask_init(&a);
    store_count(&a.req, logc, owner);
    settle();
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.req.rows.count, count);
    assert_int_equal(a.req.rows.last, last);
    assert_int_equal(a.req.rows.bytes, bytes);
}

static void a_row_of_a_log_is_replaced(void **state)
{
    (void)state;
    check_log("a@x", 0, 0, 0);
    assert_int_equal(now_append(logc, "a@x", "one"), 1);
    assert_int_equal(now_append(logc, "a@x", "two"), 2);
    check_log("a@x", 2, 2, 6);
    assert_int_equal(now_commit(one_replace("a@x", 1, "a longer one")), 0);
    assert_answer(now_range(logc, "a@x", NULL, 10), "#1=a longer one;#2=two;");
    check_log("a@x", 2, 2, 15);
    assert_int_equal(now_commit(one_replace("a@x", 1, "")), 0);
    assert_int_equal(now_commit(one_replace("a@x", 3, "not there")), 0);
    assert_int_equal(now_commit(one_replace("nobody@x", 1, "not there")), 0);
    assert_answer(now_range(logc, "a@x", NULL, 10), "#1=;#2=two;");
    check_log("a@x", 2, 2, 3);
    check_log("nobody@x", 0, 0, 0);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 1)), 0);
    check_log("a@x", 1, 2, 3);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, logc, "a@x", NULL, NULL)), 0);
    check_log("a@x", 0, 2, 0);
}

/* A transaction happens as a whole; those of the same batch are not its victims. */
static void failed_put_new_takes_nobody_along(void **state)
{
    struct ask a[6] = { { .rc = 0 } };
    struct store_txn *t;

    (void)state;
    assert_int_equal(now_put(map, "a@x", "there", "1"), 0);
    ask_commit(&a[0], one(STORE_PUT, map, "a@x", "before", "1"));
    t = one(STORE_PUT, map, "a@x", "half", "1");
    add(t, STORE_APPEND, logc, "a@x", NULL, "half");
    add(t, STORE_PUT_NEW, map, "a@x", "there", "2");
    ask_commit(&a[1], t);
    ask_commit(&a[2], one(STORE_PUT_NEW, map, "a@x", "new", "1"));
    ask_commit(&a[3], one(STORE_PUT_NEW, map, "a@x", "new", "2")); /* sees the one before */
    t = one(STORE_PUT_NEW, map, "a@x", "twice", "1");
    add(t, STORE_PUT_NEW, map, "a@x", "twice", "2");
    ask_commit(&a[4], t);
    t = one(STORE_DEL, map, "a@x", "there", NULL);
    add(t, STORE_PUT_NEW, map, "a@x", "there", "3");
    ask_commit(&a[5], t);
    settle();
    assert_int_equal(a[0].rc, 0);
    assert_int_equal(a[1].rc, GR_EEXIST);
    assert_int_equal(a[2].rc, 0);
    assert_int_equal(a[3].rc, GR_EEXIST);
    assert_int_equal(a[4].rc, GR_EEXIST);
    assert_int_equal(a[5].rc, 0);
    assert_answer(now_range(map, "a@x", NULL, 10), "before=1;new=1;there=3;");
    assert_int_equal(now_append(logc, "a@x", "first"), 1);
    for (size_t i = 0; i < GR_COUNT(a); i++) {
        assert_int_equal(a[i].done, a[0].done + (int)i); /* completions in the order of the calls */
        buf_fini(&a[i].text);
    }
}

static int append_max(const char *val, uint64_t rows, uint64_t bytes)
{
    struct store_txn *t = store_txn_new();

    store_txn_append_max(t, logc, "a@x", val, strlen(val), (struct log_max){ rows, bytes });
    return now_commit(t);
}

static void a_log_has_bounds(void **state)
{
    struct ask a[4] = { { .rc = 0 } };
    struct store_txn *t;

    (void)state;
    assert_int_equal(append_max("12345", 2, 0), 0);
    assert_int_equal(append_max("123456", 2, 10), GR_ELIMIT); /* one byte too many */
    assert_int_equal(append_max("12345", 2, 10), 0);
    assert_int_equal(append_max("", 2, 0), GR_ELIMIT);
    assert_int_equal(append_max("", 3, 10), 0);
    assert_int_equal(append_max("1", UINT64_MAX, 10), GR_ELIMIT);
    assert_int_equal(append_max("1", UINT64_MAX, UINT64_MAX), 0);
    assert_answer(now_range(logc, "a@x", NULL, 10), "#1=12345;#2=12345;#3=;#4=1;");
    /* What goes makes room, of either kind; what is not there does not. */
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 9)), 0);
    assert_int_equal(append_max("12345", 4, 0), GR_ELIMIT);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 1)), 0);
    assert_int_equal(append_max("12345", 4, 10), GR_ELIMIT);
    assert_int_equal(append_max("1234", 4, 10), 0);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, logc, "a@x", NULL, NULL)), 0);
    assert_int_equal(append_max("1234567890", 1, 10), 0);
    /* The whole transaction fails, and nobody else in its batch. */
    ask_commit(&a[0], one(STORE_PUT, map, "a@x", "before", "1"));
    t = one(STORE_PUT, map, "a@x", "with", "1");
    store_txn_append_max(t, logc, "a@x", "v", 1, (struct log_max){ 1, 0 });
    ask_commit(&a[1], t);
    t = one(STORE_DEL_ALL, logc, "a@x", NULL, NULL);
    store_txn_append_max(t, logc, "a@x", "v", 1, (struct log_max){ 1, 0 });
    ask_commit(&a[2], t);
    t = store_txn_new();
    store_txn_append_max(t, logc, "a@x", "v", 1, (struct log_max){ 1, 0 });
    add(t, STORE_PUT, map, "a@x", "after", "1");
    ask_commit(&a[3], t);
    settle();
    assert_int_equal(a[0].rc, 0);
    assert_int_equal(a[1].rc, GR_ELIMIT);
    assert_int_equal(a[2].rc, 0);
    assert_int_equal(a[3].rc, GR_ELIMIT);
    assert_answer(now_range(map, "a@x", NULL, 10), "before=1;");
    assert_answer(now_range(logc, "a@x", NULL, 10), "#7=v;"); /* a refused one takes no number */
    for (size_t i = 0; i < GR_COUNT(a); i++)
        buf_fini(&a[i].text);
}

static void values_are_written_in_place(void **state)
{
    struct store_txn *t = one(STORE_PUT, map, "a@x", "k", "v");
    char *at = store_txn_append_room(t, logc, "a@x", 3);

    (void)state;
    memcpy(at, "abc", 3);
    at = store_txn_append_room(t, logc, "b@x", 1000);
    memset(at, 'x', 1000);
    assert_non_null(store_txn_append_room(t, logc, "a@x", 0));
    add(t, STORE_APPEND, logc, "a@x", NULL, "last");
    assert_int_equal(now_commit(t), 0);
    assert_answer(now_range(map, "a@x", NULL, 10), "k=v;");
    assert_answer(now_range(logc, "a@x", NULL, 10), "#1=abc;#2=;#3=last;");
    t = one(STORE_PUT, map, "a@x", "k", "w");
    assert_null(store_txn_append_room(t, logc, "a@x", 16 * 1024 * 1024 + 1));
    assert_int_equal(now_commit(t), GR_ELIMIT);
    assert_answer(now_range(map, "a@x", NULL, 10), "k=v;");
}

static void appended_numbers_come_back(void **state)
{
    struct ask a = { .rc = 0 };
    struct store_txn *t = one(STORE_APPEND, logc, "a@x", NULL, "x");

    (void)state;
    add(t, STORE_PUT, map, "a@x", "k", "v");
    add(t, STORE_APPEND, logc, "b@x", NULL, "x");
    add(t, STORE_APPEND, logc, "a@x", NULL, "y");
    ask_commit(&a, t);
    assert_answer(answer(&a), "#1=;#1=;#2=;");
}

static void reads_wait_for_writes_before_them(void **state)
{
    struct ask w1 = { .rc = 0 }, r1 = w1, w2 = w1, r2 = w1, other = w1, foreign = w1;

    (void)state;
    ask_commit(&w1, one(STORE_PUT, map, "a@x", "k", "1"));
    ask_get(&r1, map, "a@x", "k");
    ask_commit(&w2, one(STORE_PUT, map, "a@x", "j", "2"));
    ask_get(&r2, map, "a@x", "j");
    ask_get(&other, map, "b@x", "k"); /* nothing to wait for: answered inside the call */
    assert_int_equal(other.rc, GR_ENOENT);
    loop_enter(loop_at(1));
    ask_get(&foreign, map, "a@x", "k"); /* another loop's writes are not waited for */
    assert_int_equal(foreign.rc, GR_ENOENT);
    loop_enter(loop_at(0));
    assert_int_equal(r1.done, 0);
    settle();
    assert_true(w1.done < r1.done && r1.done < w2.done && w2.done < r2.done);
    assert_answer(answer(&r1), "k=1;");
    assert_answer(answer(&r2), "j=2;");
    ask_get(&r1, map, "a@x", "k"); /* nothing under way any more */
    assert_true(r1.done > 0);
    buf_fini(&r1.text);
}

/* Keys and owners that the engine cannot take as they are. */
static void long_keys_and_owners(void **state)
{
    char key[4][LONG + 1], owner[2][3001], want[4 * LONG + 64];

    (void)state;
    for (int i = 0; i < 4; i++) {
        memset(key[i], 'k', LONG);
        key[i][LONG] = '\0';
    }
    key[0][480] = '\0';      /* short, and in between by its order */
    key[1][LONG - 1] = 'a';
    key[2][LONG - 1] = 'b';
    key[3][100] = 'z';       /* behind the others */
    for (int i = 0; i < 2; i++) {
        memset(owner[i], 'o', 3000);
        owner[i][3000] = '\0';
        owner[i][2999] = (char)('0' + i);
    }
    for (int i = 3; i >= 0; i--) {
        assert_int_equal(now_put(map, owner[0], key[i], "v"), 0);
        assert_int_equal(now_commit(one(STORE_PUT_NEW, map, owner[0], key[i], "w")), GR_EEXIST);
    }
    assert_int_equal(now_put(map, owner[1], key[1], "other"), 0);
    snprintf(want, sizeof(want), "%s=v;%s=v;%s=v;%s=v;", key[0], key[1], key[2], key[3]);
    assert_answer(now_range(map, owner[0], NULL, 10), want);
    snprintf(want, sizeof(want), "%s=v;...", key[1]);
    assert_answer(now_range(map, owner[0], key[1], 1), want);
    snprintf(want, sizeof(want), "%s=v;%s=v;", key[2], key[3]);
    assert_answer(now_range(map, owner[0], key[2], 9), want);
    snprintf(want, sizeof(want), "%s=other;", key[1]);
    assert_answer(now_get(map, owner[1], key[1]), want);
    assert_int_equal(now_commit(one(STORE_DEL, map, owner[0], key[1], NULL)), 0);
    assert_answer(now_get(map, owner[0], key[1]), "E5");
    assert_int_equal(now_count(map, owner[0]), 3);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, map, owner[0], NULL, NULL)), 0);
    assert_int_equal(now_count(map, owner[0]), 0);
    assert_int_equal(now_count(map, owner[1]), 1);
}

static void sizes_are_bounded(void **state)
{
    static char big[20000], owner[5001];
    struct ask a = { .rc = 0 };

    (void)state;
    memset(big, 'k', sizeof(big) - 1);
    memset(owner, 'o', sizeof(owner) - 1);
    assert_int_equal(now_put(map, "a@x", big, "v"), GR_ELIMIT);
    assert_int_equal(now_put(map, owner, "k", "v"), GR_ELIMIT);
    assert_int_equal(now_put(map, "", "k", "v"), GR_ELIMIT);
    assert_answer(now_get(map, "a@x", big), "E9");
    assert_answer(now_get(map, owner, "k"), "E9");
    ask_commit(&a, store_txn_new()); /* nothing to do is done */
    settle();
    assert_int_equal(a.rc, 0);
    assert_null(store_coll("test.map", GR_COLL_LOG));
    assert_ptr_equal(store_coll("test.map", GR_COLL_MAP), map);
}

/* An answer holds 4 MiB at most, but never nothing. */
static void answers_are_bounded(void **state)
{
    size_t len = 3 * 1024 * 1024;
    char *val = gr_alloc(len + 1);
    struct ask a = { .rc = 0 };

    (void)state;
    memset(val, 'v', len);
    assert_int_equal(now_put(map, "a@x", "1", val), 0);
    assert_int_equal(now_put(map, "a@x", "2", val), 0);
    ask_init(&a);
    store_range(&a.req, map, "a@x", NULL, 0, 10);
    settle();
    assert_int_equal(a.count, 1);
    assert_true(a.more);
    gr_free(val);
    buf_fini(&a.text);
}

static void queue_is_bounded(void **state)
{
    struct ask *a = gr_alloc(100 * sizeof(*a));
    size_t len = 1024 * 1024;
    char *val = gr_alloc(len + 1);
    struct store_stats st;
    int ok = 0, again = 0;

    (void)state;
    memset(val, 'v', len);
    for (int i = 0; i < 100; i++)
        ask_commit(&a[i], one(STORE_PUT, map, "a@x", "k", val));
    store_stats(&st);
    assert_true(st.queue_bytes > 60 * len && st.queue_bytes <= 64 * len);
    settle();
    for (int i = 0; i < 100; i++) {
        ok += a[i].rc == 0;
        again += a[i].rc == GR_EAGAIN;
    }
    assert_true(ok >= 60 && ok <= 64);
    assert_int_equal(ok + again, 100);
    store_stats(&st);
    assert_int_equal(st.queue_bytes, 0);
    assert_int_equal(now_put(map, "a@x", "k", "v"), 0);
    gr_free(val);
    gr_free(a);
}

/* Reads that ask for the next one from their completion: no recursion without end. */
struct chain {
    struct store_req req;
    int left;
};
static void chain_done(struct store_req *req)
{
    struct chain *c = GR_CONTAINER_OF(req, struct chain, req);

    if (c->left-- > 0)
        store_get(req, map, "a@x", "k", 1);
}

static void chained_reads_do_not_eat_the_stack(void **state)
{
    struct chain c = { .req.done = chain_done, .left = 200000 };

    (void)state;
    store_get(&c.req, map, "a@x", "k", 1);
    assert_true(c.left > 0);
    settle();
    assert_int_equal(c.left, -1);
}

static void large_owner_is_deleted_at_once(void **state)
{
    char key[32];
    struct store_txn *t;

    (void)state;
    for (int i = 0; i < 20; i++) {
        t = store_txn_new();
        for (int j = 0; j < 1000; j++) {
            snprintf(key, sizeof(key), "%08d", i * 1000 + j);
            add(t, STORE_PUT, map, "a@x", key, "some value of some length");
            add(t, STORE_APPEND, logc, "a@x", NULL, "some value of some length");
        }
        assert_int_equal(now_commit(t), 0);
    }
    assert_int_equal(now_count(map, "a@x"), 20000);
    assert_int_equal(now_count(logc, "a@x"), 20000);
    t = one(STORE_DEL_ALL, map, "a@x", NULL, NULL);
    add(t, STORE_DEL_ALL, logc, "a@x", NULL, NULL);
    assert_int_equal(now_commit(t), 0);
    assert_int_equal(now_count(map, "a@x"), 0);
    assert_int_equal(now_count(logc, "a@x"), 0);
    assert_int_equal(now_append(logc, "a@x", "x"), 20001);
}

/* What is queued when the store closes is kept, and told. */
static void close_commits_what_is_queued(void **state)
{
    struct ask w = { .rc = 0 }, r = w;

    (void)state;
    ask_commit(&w, one(STORE_PUT, map, "a@x", "k", "v"));
    ask_get(&r, map, "a@x", "k");
    store_close();
    assert_int_equal(w.rc, 0);
    assert_int_equal(r.rc, 0);
    buf_fini(&r.text);
    ask_get(&r, map, "a@x", "k");
    assert_int_equal(r.rc, GR_ECANCELED);
    ask_commit(&w, store_txn_new());
    assert_int_equal(w.rc, GR_ECANCELED);
    open_store();
    assert_answer(now_get(map, "a@x", "k"), dir != NULL ? "k=v;" : "E5");
}

/* --- the owners of a domain --- */

struct owners {
    struct store_req req;
    bool done, more, marker;         /* marker: of so many looked at none belongs to it */
    size_t count;
    char *owner[100];
    char last[600];
    size_t last_len;
};

static void on_owners(struct store_req *req)
{
    struct owners *o = GR_CONTAINER_OF(req, struct owners, req);

    assert_int_equal(req->rows.rc, 0);
    o->done = true;
    o->more = req->rows.more;
    o->last_len = 0;
    for (size_t i = 0; i < req->rows.count; i++) {
        const struct gr_row *row = &req->rows.row[i];
        if (row->val_len > 0)
            o->owner[o->count++] = gr_strndup(row->val, row->val_len);
        else
            o->marker = true;
        memcpy(o->last, row->key, row->key_len);
        o->last_len = row->key_len;
    }
}

/* Lists and deletes, page by page; how many there were. */
static size_t delete_domain(struct store_coll *coll, const char *domain, bool *marker)
{
    struct owners o = { .last_len = 0 };
    size_t total = 0;

    do {
        o.req = (struct store_req){ .done = on_owners };
        store_owners(&o.req, coll, domain, o.last_len > 0 ? o.last : NULL, o.last_len, 100);
        settle();
        assert_true(o.done);
        struct store_txn *t = store_txn_new();
        for (; o.count > 0; total++) {
            char *owner = o.owner[--o.count];
            assert_true(strcmp(owner, domain) == 0 || strstr(owner, "@two") != NULL);
            store_txn_add(t, STORE_DEL_ALL, coll, owner, NULL, 0, NULL, 0);
            gr_free(owner);
        }
        assert_int_equal(now_commit(t), 0);
    } while (o.more);
    *marker = o.marker;
    return total;
}

static void owners_of_a_domain(void **state)
{
    static const char *const others[] = { "two.x", "xtwo", "a@xtwo", "a@two.x", "@", "wo" };
    char owner[600], big[600];
    bool marker;

    (void)state;
    memset(big, 'b', 500);
    strcpy(big + 500, "@two"); /* its record's key is a hash */
    struct store_txn *t = store_txn_new();
    for (int i = 0; i < 9000; i++) {
        snprintf(owner, sizeof(owner), i < 250 ? "z%d@two" : "%d@three", i);
        add(t, STORE_PUT, map, owner, "k", "v");
    }
    add(t, STORE_PUT, map, "two", "k", "v");
    add(t, STORE_PUT, map, big, "k", "v");
    add(t, STORE_APPEND, logc, "a@two", NULL, "v");
    for (size_t i = 0; i < GR_COUNT(others); i++)
        add(t, STORE_PUT, map, others[i], "k", "v");
    assert_int_equal(now_commit(t), 0);
    assert_int_equal(delete_domain(map, "two", &marker), 252);
    assert_int_equal(marker, dir != NULL); /* only a part of all is looked at in one go */
    assert_int_equal(delete_domain(map, "two", &marker), 0);
    assert_int_equal(delete_domain(logc, "two", &marker), 1);
    assert_int_equal(delete_domain(logc, "two", &marker), 0); /* its head is no row */
    assert_int_equal(now_count(map, "two"), 0);
    assert_int_equal(now_count(map, big), 0);
    assert_int_equal(now_count(map, "z249@two"), 0);
    assert_int_equal(now_count(map, "250@three"), 1);
    for (size_t i = 0; i < GR_COUNT(others); i++)
        assert_int_equal(now_count(map, others[i]), 1);
}

/* --- the same calls to both engines: the same answers --- */

static struct store_txn *adding(const char *owner, const char *key, int64_t n)
{
    struct store_txn *t = store_txn_new();

    store_txn_add_to(t, map, owner, key, strlen(key), n);
    return t;
}

/* The i-th of the sums that it was answered with: "=", 8 bytes, ";" each. */
static int64_t sum_of(const struct ask *a, size_t i)
{
    const struct gr_row row = { .val = buf_data(&a->text) + 10 * i + 1, .val_len = 8 };

    assert_int_equal(a->rc, 0);
    assert_true(buf_len(&a->text) >= 10 * (i + 1));
    return gr_row_counter(&row);
}

static int64_t now_add(const char *key, int64_t n)
{
    struct ask a = { .rc = 0 };
    int64_t sum;

    ask_commit(&a, adding("a@x", key, n));
    settle();
    sum = sum_of(&a, 0);
    buf_fini(&a.text);
    return sum;
}

static void counters_add_up(void **state)
{
    char longest[LONG + 1] = "";
    struct ask a[2] = { { .rc = 0 } };
    struct store_txn *t;

    (void)state;
    assert_int_equal(now_add("n", 3), 3);
    assert_int_equal(now_add("n", -5), -2);
    assert_int_equal(now_add("n", 0), -2);
    assert_int_equal(now_add("other", INT64_MAX), INT64_MAX);
    memset(longest, 'k', LONG);
    assert_int_equal(now_add(longest, 1), 1);
    assert_int_equal(now_add(longest, 1), 2);
    /* Big-endian, as it is read and as it may be put. */
    store_txn_add(t = store_txn_new(), STORE_PUT, map, "a@x", "n", 1, "\0\0\0\0\0\0\1\2", 8);
    assert_int_equal(now_commit(t), 0);
    assert_int_equal(now_add("n", 1), 0x103);
    ask_get(&a[0], map, "a@x", "n");
    settle();
    assert_memory_equal(buf_data(&a[0].text), "n=\0\0\0\0\0\0\1\3;", 11);
    /* Several in a transaction, and two transactions at a time; then with a log's number. */
    t = adding("a@x", "n", 1);
    add(t, STORE_DEL, map, "a@x", "other", NULL);
    store_txn_add_to(t, map, "b@x", "n", 1, 7);
    store_txn_add_to(t, map, "a@x", "n", 1, 1);
    ask_commit(&a[0], t);
    ask_commit(&a[1], adding("a@x", "other", 4));
    settle();
    assert_int_equal(a[0].count, 3);
    assert_int_equal(sum_of(&a[0], 0), 0x104);
    assert_int_equal(sum_of(&a[0], 1), 7);
    assert_int_equal(sum_of(&a[0], 2), 0x105);
    assert_int_equal(sum_of(&a[1], 0), 4);
    t = one(STORE_APPEND, logc, "a@x", NULL, "v");
    store_txn_add_to(t, map, "a@x", "n", 1, 1);
    ask_commit(&a[0], t);
    settle();
    assert_memory_equal(buf_data(&a[0].text), "#1=;=\0\0\0\0\0\0\1\6;", 14);
    for (size_t i = 0; i < GR_COUNT(a); i++)
        buf_fini(&a[i].text);
}

static void a_counter_has_bounds(void **state)
{
    struct ask a[4] = { { .rc = 0 } };
    struct store_txn *t;

    (void)state;
    assert_int_equal(now_add("n", INT64_MAX - 1), INT64_MAX - 1);
    assert_int_equal(now_add("n", 1), INT64_MAX);
    assert_int_equal(now_commit(adding("a@x", "n", 1)), GR_ELIMIT);
    assert_int_equal(now_add("low", INT64_MIN), INT64_MIN);
    assert_int_equal(now_commit(adding("a@x", "low", -1)), GR_ELIMIT);
    assert_int_equal(now_put(map, "a@x", "text", "1234567"), 0);
    assert_int_equal(now_commit(adding("a@x", "text", 1)), GR_EINVAL);
    assert_int_equal(now_put(map, "a@x", "empty", ""), 0);
    assert_int_equal(now_commit(adding("a@x", "empty", 1)), GR_EINVAL);
    /* The whole transaction fails, and nobody else in its batch. */
    t = one(STORE_PUT, map, "b@x", "with", "1");
    store_txn_add_to(t, map, "a@x", "n", 1, 1);
    ask_commit(&a[0], t);
    ask_commit(&a[1], adding("b@x", "n", 1));
    t = adding("b@x", "n", 1);
    store_txn_add_to(t, map, "a@x", "text", 4, 1);
    ask_commit(&a[2], t);
    ask_commit(&a[3], adding("b@x", "n", 1));
    settle();
    assert_int_equal(a[0].rc, GR_ELIMIT);
    assert_int_equal(sum_of(&a[1], 0), 1);
    assert_int_equal(a[2].rc, GR_EINVAL);
    assert_int_equal(sum_of(&a[3], 0), 2);
    assert_answer(now_get(map, "b@x", "with"), "E5");
    assert_int_equal(now_add("n", 0), INT64_MAX);
    assert_answer(now_get(map, "a@x", "text"), "text=1234567;");
    for (size_t i = 0; i < GR_COUNT(a); i++)
        buf_fini(&a[i].text);
}

static unsigned rnd(unsigned *seed, unsigned below)
{
    return (unsigned)rand_r(seed) % below;
}

/* Short keys, prefixes of each other, and long ones around the lengths where formats change. */
static char *random_key(unsigned *seed)
{
    static const unsigned lens[] = { 0,   1,   2,   470, 471, 472, 473,
                                     490, 492, 493, 494, 503, 504, 700 };
    unsigned len = lens[rnd(seed, GR_COUNT(lens))];
    char *key = gr_alloc(len + 1);

    memset(key, 'k', len);
    for (unsigned i = 0; i < 2 && len > 0; i++)
        key[len - 1 - rnd(seed, len < 12 ? len : 12)] = (char)('j' + rnd(seed, 3));
    return key;
}

static void random_op(struct store_txn *t, unsigned *seed, const char *owner)
{
    static const enum store_op ops[] = { STORE_PUT, STORE_PUT, STORE_PUT, STORE_PUT_NEW, STORE_DEL,
                                         STORE_APPEND, STORE_APPEND, STORE_DEL, STORE_ADD,
                                         STORE_REPLACE,
                                         STORE_DEL_ALL };
    unsigned which = rnd(seed, GR_COUNT(ops));
    char *key = random_key(seed), val[16];
    uint8_t seq[8] = { 0 };

    snprintf(val, sizeof(val), "%u", rnd(seed, 1000));
    if (ops[which] == STORE_DEL_ALL && rnd(seed, 8) > 0)
        which = 0;
    if (which == 7) {
        seq[7] = (uint8_t)rnd(seed, 200);
        store_txn_add(t, STORE_DEL, logc, owner, seq, sizeof(seq), NULL, 0);
    } else if (ops[which] == STORE_REPLACE) {
        seq[7] = (uint8_t)rnd(seed, 200);
        store_txn_add(t, STORE_REPLACE, logc, owner, seq, sizeof(seq), val, strlen(val));
    } else if (which == 6) {
        store_txn_append_max(t, logc, owner, val, strlen(val),
                             (struct log_max){ rnd(seed, 60), rnd(seed, 200) });
    } else if (which == 8) {
        store_txn_add_to(t, map, owner, key, strlen(key), rnd(seed, 2) == 0 ? -1 : INT64_MAX / 3);
    } else {
        add(t, ops[which], ops[which] == STORE_APPEND ? logc : rnd(seed, 9) == 0 &&
            ops[which] == STORE_DEL_ALL ? logc : map, owner, key, val);
    }
    gr_free(key);
}

static void random_read(struct ask *a, unsigned *seed, const char *owner)
{
    char *key = random_key(seed);
    uint8_t seq[8] = { 0 };

    ask_init(a);
    seq[7] = (uint8_t)rnd(seed, 100);
    switch (rnd(seed, 8)) {
    case 0: store_get(&a->req, map, owner, key, strlen(key)); break;
    case 1: store_range(&a->req, map, owner, NULL, 0, 1000); break;
    case 2: store_range(&a->req, map, owner, key, strlen(key), rnd(seed, 5)); break;
    case 3: store_count(&a->req, map, owner); break;
    case 4: store_get(&a->req, logc, owner, seq, sizeof(seq)); break;
    case 5: store_range(&a->req, logc, owner, seq, sizeof(seq), rnd(seed, 5)); break;
    case 6: store_range_back(&a->req, logc, owner, seq, sizeof(seq), rnd(seed, 5)); break;
    default: store_count(&a->req, logc, owner); break;
    }
    gr_free(key);
}

static void transcript(unsigned seed, struct buf *out)
{
    struct ask a[8] = { { .rc = 0 } };

    for (int round = 0; round < 400; round++) {
        int n = 1 + (int)rnd(&seed, GR_COUNT(a));

        for (int i = 0; i < n; i++) {
            char owner[600] = "o";

            if (rnd(&seed, 3) == 0)
                memset(owner, 'o', 500);
            if (rnd(&seed, 2) == 0) {
                struct store_txn *t = store_txn_new();

                for (unsigned k = rnd(&seed, 5); k > 0; k--)
                    random_op(t, &seed, owner);
                ask_commit(&a[i], t);
            } else {
                random_read(&a[i], &seed, owner);
            }
        }
        settle();
        for (int i = 0; i < n; i++) {
            buf_printf(out, "%d %d %zu %d ", round, a[i].rc, a[i].count, a[i].more);
            buf_append(out, buf_data(&a[i].text), buf_len(&a[i].text));
            buf_puts(out, "\n");
            buf_fini(&a[i].text);
        }
    }
}

/* Logs of many pages: rows of all sizes, many transactions in each commit, deletions between. */
static void log_transcript(unsigned seed, struct buf *out)
{
    static char val[3000];
    uint64_t last[30] = { 0 };

    memset(val, 'v', sizeof(val));
    for (int i = 0; i < 3000; i++) {
        unsigned of = rnd(&seed, GR_COUNT(last)), what = rnd(&seed, 100);
        char owner[2] = { (char)('A' + of), '\0' };
        size_t len = rnd(&seed, rnd(&seed, 8) == 0 ? sizeof(val) : 400);
        struct store_txn *t = store_txn_new();
        uint8_t seq[8];

        codec_u64(seq, 1 + rnd(&seed, (unsigned)last[of] + 1));
        if (what < 70)
            store_txn_add(t, STORE_APPEND, logc, owner, NULL, 0, val, len);
        else if (what < 99)
            store_txn_add(t, what < 90 ? STORE_DEL : STORE_REPLACE, logc, owner, seq, sizeof(seq),
                          val, what < 90 ? 0 : len);
        else
            store_txn_add(t, STORE_DEL_ALL, logc, owner, NULL, 0, NULL, 0);
        last[of] += what < 70;
        store_commit(t, NULL);
        if (rnd(&seed, 30) == 0)
            settle();
    }
    for (unsigned of = 0; of < GR_COUNT(last); of++) {
        char owner[2] = { (char)('A' + of), '\0' };
        char *rows = now_range(logc, owner, NULL, 1000);

        buf_printf(out, "%s %lld %s\n", owner, (long long)now_count(logc, owner), rows);
        gr_free(rows);
    }
}

static void agree(void (*transcript_of)(unsigned seed, struct buf *out))
{
    unsigned seed = 4711;

    for (int i = 0; i < 6; i++, seed++) {
        struct buf mem = { NULL, 0, 0, 0 }, lmdb = mem;
        char *keep = dir;

        transcript_of(seed, &lmdb);
        store_close();
        dir = NULL;
        open_store();
        transcript_of(seed, &mem);
        store_close();
        dir = keep;
        if (buf_len(&mem) != buf_len(&lmdb) ||
            memcmp(buf_data(&mem), buf_data(&lmdb), buf_len(&mem)) != 0) {
            size_t at = 0, line;

            while (buf_data(&mem)[at] == buf_data(&lmdb)[at])
                at++;
            for (line = at; line > 0 && buf_data(&mem)[line - 1] != '\n'; line--) {
            }
            fail_msg("seed %u: memory \"%.200s\", lmdb \"%.200s\"", seed, buf_data(&mem) + line,
                     buf_data(&lmdb) + line);
        }
        buf_fini(&mem);
        buf_fini(&lmdb);
        remove_dir(dir);
        dir = temp_dir();
        open_store();
    }
}

static void engines_agree(void **state)
{
    (void)state;
    agree(transcript);
}

static void engines_agree_about_long_logs(void **state)
{
    (void)state;
    agree(log_transcript);
}

#define both(f)                                          \
    { #f " (memory)", f, setup_mem, teardown, NULL },    \
        { #f " (lmdb)", f, setup_lmdb, teardown, NULL }

int main(void)
{
    const struct CMUnitTest tests[] = {
        both(map_rows),
        both(log_numbers_are_never_reused),
        both(failed_put_new_takes_nobody_along),
        both(a_log_has_bounds),
        both(counters_add_up),
        both(a_counter_has_bounds),
        both(a_row_of_a_log_is_replaced),
        both(backwards),
        both(values_are_written_in_place),
        both(appended_numbers_come_back),
        both(reads_wait_for_writes_before_them),
        both(long_keys_and_owners),
        both(sizes_are_bounded),
        both(answers_are_bounded),
        both(queue_is_bounded),
        both(chained_reads_do_not_eat_the_stack),
        both(large_owner_is_deleted_at_once),
        both(close_commits_what_is_queued),
        both(owners_of_a_domain),
        cmocka_unit_test_setup_teardown(engines_agree, setup_lmdb, teardown),
        cmocka_unit_test_setup_teardown(engines_agree_about_long_logs, setup_lmdb, teardown),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
