/* Unit tests of core/base: memory, arenas, buffers, tables, lists, log, clock, random, codecs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/table.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

/* ---- mem ---- */

static void test_mem(void **state)
{
    uint8_t *p = gr_alloc(4096);
    char *s;

    (void)state;
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(p[i], 0);
    memset(p, 7, 4096);
    p = gr_realloc(p, 8192);
    assert_int_equal(p[4095], 7);
    gr_wipe(p, 4095);
    assert_int_equal(p[4094], 0);
    assert_int_equal(p[4095], 7);
    gr_free(p);
    gr_free(NULL);
    p = gr_alloc(0);
    assert_non_null(p);
    gr_free(p);
    for (int round = 0; round < 2; round++) { /* the second time a block that was in use */
        p = gr_alloc(100);
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(p[i], 0);
        memset(p, 7, 100);
        gr_free(p);
    }
#ifndef SANITIZED /* sanitizers abort on such a size */
    assert_null(gr_try_alloc(SIZE_MAX / 2));
#endif

    s = gr_strndup("abc\0def", 7);
    assert_string_equal(s, "abc");
    gr_free(s);
    s = gr_strndup("abcdef", 2);
    assert_string_equal(s, "ab");
    gr_free(s);
    s = gr_asprintf("%d-%s", 42, "x");
    assert_string_equal(s, "42-x");
    gr_free(s);

    assert_true(gr_equal_secret("secret", "secret", 6));
    assert_false(gr_equal_secret("secret", "secreT", 6));
    assert_false(gr_equal_secret("Secret", "secret", 6));
    assert_true(gr_equal_secret("a", "b", 0));
}

static void test_strerror(void **state)
{
    (void)state;
    for (int err = GR_ENOTSUP; err <= 0; err++) {
        assert_string_not_equal(gr_strerror(err), "unknown error");
        for (int other = GR_ENOTSUP; other < err; other++)
            assert_string_not_equal(gr_strerror(err), gr_strerror(other));
    }
    assert_string_equal(gr_strerror(-99), "unknown error");
    assert_string_equal(gr_strerror(3), gr_strerror(0));
}

/* A broken promise says where, and ends with SIGABRT. */
static void test_assert(void **state)
{
    char text[512] = "";
    int fds[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        gr_assert(1 + 1 == 3);
        _exit(0);
    }
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "1 + 1 == 3"));
    assert_non_null(strstr(text, "test_base.c:"));
}

/* ---- arena ---- */

static void test_arena(void **state)
{
    struct arena a;
    char *first, *big, *s;

    (void)state;
    arena_init(&a, 64);
    assert_null(a.last);
    first = arena_alloc(&a, 3);
    assert_int_equal((uintptr_t)first % _Alignof(max_align_t), 0);
    memset(first, 'x', 3);
    /* An oversized piece does not waste the current block. */
    big = arena_alloc(&a, 100000);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(big[i], 0);
    memset(big, 'y', 100000);
    s = arena_strdup(&a, "packed");
    assert_ptr_equal(s, first + 3);
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_memory_equal(arena_strndup(&a, "a\0b", 3), "a\0b", 4);
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_string_equal(arena_printf(&a, "%s/%d", "n", 7), "n/7");
    assert_int_equal(a.used, 3 + 100000 + 7 + 4 + 4 + 1 + 4);
    for (int i = 0; i < 2000; i++) {
        uint64_t *p = arena_alloc(&a, sizeof(*p) * (size_t)(1 + i % 40));

        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        assert_int_equal(*p, 0);
        memset(p, 0xff, sizeof(*p) * (size_t)(1 + i % 40));
    }
    assert_memory_equal(first, "xxxpacked", 10);
    assert_int_equal(big[99999], 'y');
    arena_fini(&a);
    assert_null(a.last);
    assert_int_equal(a.used, 0);
    assert_string_equal(arena_strdup(&a, "again"), "again");
    arena_fini(&a);
}

static void test_arena_zeroed(void **state)
{
    struct arena a = { .last = NULL };
    char *text;

    (void)state;
    text = arena_printf(&a, "%0*d", 5000, 1);
    assert_int_equal(strlen(text), 5000);
    arena_fini(&a);
}

/* ---- buf ---- */

static void test_buf(void **state)
{
    struct buf b = { .mem = NULL };
    char big[10000], *room;

    (void)state;
    assert_int_equal(buf_len(&b), 0);
    assert_non_null(buf_data(&b));
    buf_consume(&b, 0);
    assert_string_equal(buf_str(&b), "");
    buf_puts(&b, "hello");
    buf_append(&b, " world", 6);
    buf_append(&b, NULL, 0);
    buf_printf(&b, " %d", 12345);
    assert_string_equal(buf_str(&b), "hello world 12345");
    assert_int_equal(buf_len(&b), 17);
    buf_consume(&b, 6);
    assert_memory_equal(buf_data(&b), "world 12345", 11);
    memset(big, 'z', sizeof(big));
    buf_append(&b, big, sizeof(big));
    assert_int_equal(buf_len(&b), 11 + sizeof(big));
    assert_memory_equal(buf_data(&b), "world 12345zzz", 14);
    buf_consume(&b, 11);
    assert_memory_equal(buf_data(&b), big, sizeof(big));
    buf_consume(&b, sizeof(big));
    assert_int_equal(buf_len(&b), 0);
    assert_true(b.cap <= 4096);

    room = buf_reserve(&b, 100);
    memcpy(room, "direct", 6);
    buf_produced(&b, 6);
    assert_string_equal(buf_str(&b), "direct");
    buf_printf(&b, "%s", ""); /* nothing */
    buf_printf(&b, "%.*s", (int)sizeof(big), big);
    assert_int_equal(buf_len(&b), 6 + sizeof(big));
    buf_fini(&b);
    assert_int_equal(buf_len(&b), 0);
    buf_fini(&b);
}

/* A queue that never empties neither grows without need nor loses bytes. */
static void test_buf_sliding(void **state)
{
    struct buf b = { .mem = NULL };
    uint32_t in = 0, out = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        buf_append(&b, &in, sizeof(in));
        in++;
        if (i >= 100) {
            assert_memory_equal(buf_data(&b), &out, sizeof(out));
            buf_consume(&b, sizeof(out));
            out++;
        }
    }
    assert_int_equal(buf_len(&b), 400);
    assert_true(b.cap <= 2048);
    buf_fini(&b);
}

/* ---- list ---- */

struct item {
    int value;
    struct link link;
    struct table_node node;
    char key[24];
};

static void test_list(void **state)
{
    struct item items[4] = { { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 } };
    struct link head;
    int sum = 0;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    list_remove(&items[0].link); /* in no list: harmless */
    for (int i = 0; i < 4; i++)
        list_append(&head, &items[i].link);
    list_each(it, &head, struct item, link) {
        sum = sum * 10 + it->value;
        if (it->value % 2 == 0)
            list_remove(&it->link);
    }
    assert_int_equal(sum, 1234);
    sum = 0;
    list_each(it, &head, struct item, link)
        sum = sum * 10 + it->value;
    assert_int_equal(sum, 13);
    list_remove(&items[0].link);
    list_remove(&items[0].link);
    list_remove(&items[2].link);
    assert_true(list_empty(&head));
}

/* ---- table ---- */

static struct item *items_new(int n)
{
    struct item *items = gr_alloc(sizeof(*items) * (size_t)n);

    for (int i = 0; i < n; i++) {
        items[i].value = i;
        snprintf(items[i].key, sizeof(items[i].key), "key-%d", i);
    }
    return items;
}

static void item_insert(struct table *t, struct item *it)
{
    table_insert(t, &it->node, it->key, strlen(it->key));
}

static struct item *item_find(struct table *t, const char *key)
{
    struct table_node *n = table_find_str(t, key);

    return n == NULL ? NULL : GR_CONTAINER_OF(n, struct item, node);
}

static void test_table(void **state)
{
    enum { N = 5000 };
    struct item *items = items_new(N);
    struct table t = { .slots = NULL };
    size_t largest;
    int seen = 0;

    (void)state;
    assert_null(table_find_str(&t, "key-0"));
    assert_null(table_first(&t));
    for (int i = 0; i < N; i++) {
        assert_null(item_find(&t, items[i].key));
        item_insert(&t, &items[i]);
        assert_int_equal(t.count, i + 1);
    }
    largest = t.mask;
    assert_true(largest >= N / 2 && largest < 4 * N);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(item_find(&t, items[i].key), &items[i]);
    assert_null(item_find(&t, "key"));
    assert_null(item_find(&t, "key-5000"));
    for (struct table_node *n = table_first(&t); n != NULL; n = table_after(&t, n))
        seen++;
    assert_int_equal(seen, N);
    for (int i = 0; i < N - 10; i++) {
        table_remove(&t, &items[i].node);
        assert_null(item_find(&t, items[i].key));
        assert_ptr_equal(item_find(&t, items[N - 1].key), &items[N - 1]);
    }
    assert_true(t.mask < largest / 16);
    for (int i = N - 10; i < N; i++)
        table_remove(&t, &items[i].node);
    assert_int_equal(t.count, 0);
    assert_null(table_first(&t));
    item_insert(&t, &items[3]);
    assert_ptr_equal(item_find(&t, "key-3"), &items[3]);
    table_fini(&t);
    assert_null(t.slots);
    assert_null(table_find_str(&t, "key-3"));
    gr_free(items);
}

/* Binary keys, the empty key, prefixes. */
static void test_table_keys(void **state)
{
    struct table t = { .slots = NULL };
    struct table_node n[3];

    (void)state;
    table_insert(&t, &n[0], "a\0b", 3);
    table_insert(&t, &n[1], "a", 1);
    table_insert(&t, &n[2], NULL, 0);
    assert_ptr_equal(table_find(&t, "a\0b", 3), &n[0]);
    assert_ptr_equal(table_find_str(&t, "a"), &n[1]);
    assert_ptr_equal(table_find(&t, "", 0), &n[2]);
    assert_null(table_find(&t, "a\0c", 3));
    assert_ptr_equal(table_find_hashed(&t, hash_bytes("a", 1), "a", 1), &n[1]);
    assert_null(table_find_hashed(&t, hash_bytes("b", 1), "a", 1));
    table_fini(&t);
}

/* Removing every second node while iterating, which shrinks the table on the way, and inserting,
 * which grows it: each node that stays is met exactly once. */
static void test_table_iteration(void **state)
{
    enum { N = 4000 };
    struct item *items = items_new(2 * N);
    struct table t = { .slots = NULL };
    struct table_node *n, *after;
    int met = 0, added = 0;
    size_t before;

    (void)state;
    for (int i = 0; i < N; i++)
        item_insert(&t, &items[i]);
    before = t.mask;
    for (n = table_first(&t); n != NULL; n = after) {
        struct item *it = GR_CONTAINER_OF(n, struct item, node);

        after = table_after(&t, n);
        met++;
        if (it->value % 50 != 0)
            table_remove(&t, n);
    }
    assert_int_equal(met, N);
    assert_int_equal(t.count, N / 50);
    assert_true(t.mask < before);

    met = 0;
    for (n = table_first(&t); n != NULL; n = table_after(&t, n)) {
        struct item *it = GR_CONTAINER_OF(n, struct item, node);

        met += it->value < N;
        for (int i = 0; i < 20 && added < N; i++)
            item_insert(&t, &items[N + added++]);
    }
    assert_int_equal(met, N / 50);

    /* Going on where one was, in a table that shrinks meanwhile. */
    n = table_first(&t);
    assert_ptr_equal(table_from(&t, 0), n);
    for (met = 0; n != NULL; n = after != NULL ? table_from(&t, after->hash) : NULL) {
        struct item *it = GR_CONTAINER_OF(n, struct item, node);

        after = table_after(&t, n);
        assert_ptr_equal(table_from(&t, n->hash), n);
        if (it->value >= N)
            table_remove(&t, n);
        met++;
    }
    assert_int_equal(met, N / 50 + added);
    assert_null(table_from(&t, UINT64_MAX));
    table_fini(&t);
    assert_null(table_from(&t, 0));
    gr_free(items);
}

/* Vectors from CPython 3.11's hash() of bytes, an independent SipHash-1-3 (PYTHONHASHSEED=0). */
static void test_siphash(void **state)
{
    static const uint8_t zero[16];

    (void)state;
    hash_set_key(zero);
    assert_true(hash_bytes("a", 1) == 0x407448d2b89b1813);
    assert_true(hash_bytes("abcdefg", 7) == 0x6db12aae9070f506);
    assert_true(hash_bytes("abcdefgh", 8) == 0x3f7b849c0b8e35ea);
    assert_true(hash_bytes("hello world, this is long", 25) == 0x6a2d504ce82dfaf0);
}

/* ---- clock ---- */

static void *now_elsewhere(void *arg)
{
    *(int64_t *)arg = gr_now_ms();
    return NULL;
}

static void test_clock(void **state)
{
    int64_t there = 0, real = clock_monotonic_ms();
    pthread_t thread;

    (void)state;
    assert_true(real > 0);
    assert_true(gr_now_ms() >= real); /* never set on this thread */
    assert_true(gr_wall_us() > INT64_C(1600000000000000));

    clock_set_loop_now(5);
    assert_int_equal(gr_now_ms(), 5);
    assert_int_equal(pthread_create(&thread, NULL, now_elsewhere, &there), 0);
    pthread_join(thread, NULL);
    assert_true(there >= real); /* another thread's loop has its own */

    clock_set_virtual(1000, 42);
    assert_int_equal(clock_monotonic_ms(), 1000);
    assert_int_equal(gr_now_ms(), 1000);
    assert_int_equal(gr_wall_us(), 42);
    clock_set_virtual(2000, 43);
    assert_int_equal(gr_now_ms(), 2000);
    assert_int_equal(gr_wall_us(), 43);
    clock_set_virtual(-1, 0);
    assert_int_equal(gr_now_ms(), 5);
    clock_set_loop_now(-1);
    assert_true(gr_now_ms() >= real);
}

/* ---- log ---- */

struct capture {
    char lines[64][9000];
    enum gr_log_level levels[64];
    int n;
};

static void capture(void *ctx, enum gr_log_level level, const char *line)
{
    struct capture *c = ctx;

    if (c->n < 64) {
        snprintf(c->lines[c->n], sizeof(c->lines[0]), "%s", line);
        c->levels[c->n] = level;
    }
    c->n++;
}

static int log_setup(void **state)
{
    *state = gr_alloc(sizeof(struct capture));
    clock_set_virtual(100000, 0);
    log_set_level(GR_LOG_INFO);
    log_set_sink(capture, *state);
    return 0;
}

static int log_teardown(void **state)
{
    log_set_sink(NULL, NULL);
    log_set_level(GR_LOG_INFO);
    clock_set_virtual(-1, 0);
    gr_free(*state);
    return 0;
}

static void test_log_levels(void **state)
{
    struct capture *c = *state;

    gr_debug("x.debug", "not shown");
    gr_info("x.info", "n=%d", 1);
    gr_error("x.error", "bad");
    assert_int_equal(c->n, 2);
    assert_string_equal(c->lines[0], "info x.info: n=1");
    assert_int_equal(c->levels[0], GR_LOG_INFO);
    assert_string_equal(c->lines[1], "error x.error: bad");
    log_set_level(GR_LOG_DEBUG);
    assert_true(gr_log_enabled(GR_LOG_DEBUG));
    gr_debug("x.debug", "shown");
    assert_string_equal(c->lines[2], "debug x.debug: shown");
    log_set_level(GR_LOG_ERROR);
    gr_warn("x.warn", "not shown");
    assert_int_equal(c->n, 3);
}

static void test_log_escapes(void **state)
{
    static const struct {
        const char *in, *out;
    } table[] = {
        { "two\nlines", "two\\nlines" },
        { "\r\t\x1b[31m\x7f", "\\x0d\\x09\\x1b[31m\\x7f" },
        { "back\\slash", "back\\\\slash" },
        { "g\xc3\xbcltig \xf0\x9f\x98\x80", "g\xc3\xbcltig \xf0\x9f\x98\x80" },
        { "\xc2\x85 \xc2\x9b", "\\xc2\\x85 \\xc2\\x9b" },     /* C1 */
        { "\xe2\x80\xa8 \xe2\x80\xae", "\\xe2\\x80\\xa8 \\xe2\\x80\\xae" }, /* U+2028, U+202E */
        { "\xe2\x81\xa6", "\\xe2\\x81\\xa6" },                /* U+2066 */
        { "\xe2\x82\xac", "\xe2\x82\xac" },                   /* the euro sign is plain */
        { "bad \xff\xc3", "bad \\xff\\xc3" },
        { "\xed\xa0\x80", "\\xed\\xa0\\x80" },                /* a surrogate */
        { "\xc0\xaf", "\\xc0\\xaf" },                         /* overlong */
    };
    struct capture *c = *state;
    char want[200], *big = gr_alloc(5001);

    for (size_t i = 0; i < GR_COUNT(table); i++) {
        snprintf(want, sizeof(want), "error x.escape: %s", table[i].out);
        gr_error("x.escape", "%s", table[i].in);
        assert_string_equal(c->lines[i], want);
    }
    memset(big, '\n', 5000);
    gr_error("x.long", "%s", big);
    assert_true(strlen(c->lines[GR_COUNT(table)]) > 4000);
    assert_string_equal(c->lines[GR_COUNT(table)] + strlen(c->lines[GR_COUNT(table)]) - 5,
                        "\\n...");
    gr_free(big);
}

static void test_log_rate_limit(void **state)
{
    struct capture *c = *state;

    for (int i = 0; i < 50; i++)
        gr_warn("x.flood", "%d", i);
    assert_int_equal(c->n, 20);
    gr_info("x.other", "another id is not held back");
    gr_info("x.flood", "nor another level");
    assert_int_equal(c->n, 22);
    clock_set_virtual(109999, 0);
    gr_warn("x.flood", "still the same window");
    assert_int_equal(c->n, 22);
    clock_set_virtual(110999, 0); /* looked for once a second */
    gr_info("x.third", "any line ends what is over");
    assert_int_equal(c->n, 24);
    assert_string_equal(c->lines[22], "warn log.suppressed: 31 more warn lines of x.flood were "
                                      "left out");
    assert_string_equal(c->lines[23], "info x.third: any line ends what is over");
    gr_warn("x.flood", "new window");
    assert_string_equal(c->lines[24], "warn x.flood: new window");
}

static void test_log_rate_limit_error_and_debug(void **state)
{
    struct capture *c = *state;

    log_set_level(GR_LOG_DEBUG);
    for (int i = 0; i < 500; i++)
        gr_error("x.disk_full", "%d", i);
    assert_int_equal(c->n, 200);
    for (int i = 0; i < 500; i++)
        gr_debug("x.trace", "%d", i);
    assert_int_equal(c->n, 700);
}

/* More ids than the table has places: lines may be more, none of the first ones is lost. */
static void test_log_many_ids(void **state)
{
    struct capture *c = *state;
    char id[32];

    for (int i = 0; i < 2000; i++) {
        snprintf(id, sizeof(id), "x.id_%d", i);
        gr_warn(id, "hello");
    }
    assert_int_equal(c->n, 2000);
}

static void *log_much(void *arg)
{
    for (int i = 0; i < 200; i++)
        gr_log(GR_LOG_DEBUG, arg, "%d", i);
    return NULL;
}

static void test_log_threads(void **state)
{
    static const char *const ids[] = { "t.0", "t.1", "t.2", "t.3" };
    struct capture *c = *state;
    pthread_t threads[4];

    log_set_level(GR_LOG_DEBUG);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, (void *)(uintptr_t)ids[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(c->n, 800);
}

/* To stderr, in a child: time stamp, level, id; under systemd a priority instead. Runs before the
 * other tests of the log, since a process looks for the journal once. */
static void read_child_line(bool journal, char *text, size_t cap)
{
    int fds[2], status;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        char stream[64];
        struct stat st;

        dup2(fds[1], STDERR_FILENO);
        if (journal) {
            if (fstat(STDERR_FILENO, &st) != 0)
                _exit(1);
            snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
                     (unsigned long long)st.st_ino);
            setenv("JOURNAL_STREAM", stream, 1);
        } else {
            setenv("JOURNAL_STREAM", "1:1", 1);
        }
        clock_set_virtual(0, INT64_C(1795155057123456));
        gr_warn("x.line", "a\nb");
        _exit(0);
    }
    close(fds[1]);
    n = read(fds[0], text, cap - 1);
    assert_true(n > 0);
    text[n] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_log_stderr(void **state)
{
    char text[512];

    (void)state;
    read_child_line(false, text, sizeof(text));
    assert_string_equal(text, "2026-11-20T06:10:57.123Z warn x.line: a\\nb\n");
    read_child_line(true, text, sizeof(text));
    assert_string_equal(text, "<4>x.line: a\\nb\n");
}

/* ---- random ---- */

static void test_random(void **state)
{
    uint8_t a[64], b[64], big[4096];
    char ids[500][GR_ID_SIZE];
    unsigned counts[256] = { 0 };
    int zeros = 0;

    (void)state;
    gr_random(a, 0);
    for (size_t len = 16; len <= 64; len += 16) { /* crosses the pool's end several times */
        for (int i = 0; i < 50; i++) {
            gr_random(a, len);
            gr_random(b, len);
            assert_memory_not_equal(a, b, len);
        }
    }
    memset(big, 0, sizeof(big));
    gr_random(big, sizeof(big));
    for (size_t i = 0; i < sizeof(big); i++)
        zeros += big[i] == 0;
    assert_true(zeros < 100);

    for (int i = 0; i < 500; i++) {
        gr_random_id(ids[i]);
        assert_int_equal(strlen(ids[i]), GR_ID_SIZE - 1);
        assert_int_equal(strspn(ids[i], "abcdefghijklmnopqrstuvwxyz0123456789"), GR_ID_SIZE - 1);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    /* 200000 letters: 5556 of each, deviation 73. A byte modulo 36 would favour four by 694. */
    for (int i = 0; i < 12500; i++) {
        gr_random_id(ids[0]);
        for (int j = 0; j < GR_ID_SIZE - 1; j++)
            counts[(unsigned char)ids[0][j]]++;
    }
    for (const char *c = "abcdefghijklmnopqrstuvwxyz0123456789"; *c != '\0'; c++)
        assert_in_range(counts[(unsigned char)*c], 5556 - 550, 5556 + 550);
}

/* A forked child does not draw the numbers its parent will draw. */
static void test_random_fork(void **state)
{
    uint8_t mine[16], theirs[16];
    int fds[2];
    pid_t pid;

    (void)state;
    gr_random(mine, sizeof(mine)); /* the pool is filled now */
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        gr_random(theirs, sizeof(theirs));
        _exit(write(fds[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
    }
    gr_random(mine, sizeof(mine));
    assert_int_equal(read(fds[0], theirs, sizeof(theirs)), sizeof(theirs));
    assert_memory_not_equal(mine, theirs, sizeof(mine));
    waitpid(pid, NULL, 0);
    close(fds[0]);
    close(fds[1]);
}

/* ---- codec ---- */

static void test_base64(void **state)
{
    static const struct {
        const char *plain, *coded;
    } table[] = { /* RFC 4648, 10 */
        { "", "" },           { "f", "Zg==" },         { "fo", "Zm8=" },  { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
    };
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zg==Zg==", "Zm=v", "Zm9v\n", "Zm9v Zm9",
        "Zm9-", "Zm9_", "Zh==", "Zm9=", "Zg=a", "\xc3\xbcZZ", "Zm8=Zm8=",
    };
    char text[400];
    uint8_t bytes[256], back[256];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        size_t len = strlen(table[i].plain);

        assert_int_equal(gr_base64_encode(text, table[i].plain, len), strlen(table[i].coded));
        assert_string_equal(text, table[i].coded);
        assert_int_equal(gr_base64_decode(back, text, strlen(text)), len);
        assert_memory_equal(back, table[i].plain, len);
    }
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        assert_int_equal(gr_base64_decode(back, bad[i], strlen(bad[i])), GR_EINVAL);
    assert_int_equal(gr_base64_decode(back, "AA\0A", 4), GR_EINVAL);
    for (size_t i = 0; i < 256; i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= 256; len++) {
        size_t coded = gr_base64_encode(text, bytes, len);

        assert_int_equal(coded, 4 * ((len + 2) / 3));
        assert_int_equal(gr_base64_decode(back, text, coded), len);
        assert_memory_equal(back, bytes, len);
    }
}

static void test_hex(void **state)
{
    char text[9];

    (void)state;
    gr_hex_encode(text, "\x00\x9f\xab\xff", 4);
    assert_string_equal(text, "009fabff");
    gr_hex_encode(text, "", 0);
    assert_string_equal(text, "");
}

static void test_stamp(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } table[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { -1, "1969-12-31T23:59:59.999Z" },
        { INT64_C(1795155057123999), "2026-11-20T06:10:57.123Z" },
        { INT64_C(951782400000000), "2000-02-29T00:00:00.000Z" },
        { INT64_C(951868799999999), "2000-02-29T23:59:59.999Z" },
        { INT64_C(951868800000000), "2000-03-01T00:00:00.000Z" },
        { INT64_C(4107542400000000), "2100-03-01T00:00:00.000Z" }, /* 2100 has no leap day */
        { INT64_C(4107456000000000), "2100-02-28T00:00:00.000Z" },
        { INT64_C(1704067199000000), "2023-12-31T23:59:59.000Z" },
        { INT64_C(-62135596800000000), "0001-01-01T00:00:00.000Z" },
    };
    char text[GR_STAMP_SIZE];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(table); i++) {
        gr_stamp(text, table[i].us);
        assert_string_equal(text, table[i].text);
    }
    gr_stamp(text, INT64_MAX);
    assert_string_equal(text, "294247-01-10T04:00:54.775Z");
    gr_stamp(text, INT64_MIN);
    assert_true(strlen(text) < GR_STAMP_SIZE);
}

/* FIPS 180-4 and FIPS 202 examples, RFC 7693, A, all of "abc". */
static void test_hash(void **state)
{
    static const struct {
        const char *name, *hex;
    } known[] = {
        { "sha-1", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "sha-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532" },
        { "blake2b-512", "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                         "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923" },
    };
    uint8_t out[GR_HASH_MAX];
    char hex[2 * GR_HASH_MAX + 1];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(known); i++) {
        int len = gr_hash(known[i].name, "abc", 3, out);

        assert_int_equal(len, strlen(known[i].hex) / 2);
        assert_int_equal(gr_hash_size(known[i].name), len);
        gr_hex_encode(hex, out, (size_t)len);
        assert_string_equal(hex, known[i].hex);
    }
    assert_int_equal(gr_hash("sha-512", "", 0, out), 64);
    assert_int_equal(gr_hash("md5", "abc", 3, out), GR_ENOTSUP);
    assert_int_equal(gr_hash_size("SHA-1"), 0);
}

static void test_stamp_parse(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1969-12-31T23:59:59.999999Z", -1 },
        { "2026-11-20T06:10:57.1239999Z", INT64_C(1795155057123999) },
        { "2026-11-20T07:10:57+01:00", INT64_C(1795155057000000) },
        { "2026-11-19T22:40:57.5-07:30", INT64_C(1795155057500000) },
        { "1969-07-21T02:56:15Z", INT64_C(-14159025000000) },
        { "1969-07-20T21:56:15-05:00", INT64_C(-14159025000000) }, /* XEP-0082, examples 2 and 3 */
        { "2000-02-29T23:59:60Z", INT64_C(951868800000000) },
        { "2100-03-01T00:00:00Z", INT64_C(4107542400000000) },
        { "0001-01-01T00:00:00Z", INT64_C(-62135596800000000) },
    };
    static const char *const bad[] = {
        "", "2026", "2026-11-20", "2026-11-20T06:10:57", "2026-11-20 06:10:57Z",
        "20261120T06:10:57", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
        "2026-11-20T24:00:00Z", "2026-11-20T06:60:00Z", "2026-11-20T06:10:61Z",
        "2026-11-20T06:10:57.Z", "2026-11-20T06:10:57+1:00", "2026-11-20T06:10:57+01:00Z",
        "2026-11-20T06:10:57z", "2026-11-20T06:10:57Z ", "2026-11-20T06:10", "-026-11-20T06:10:57Z",
    };
    char text[GR_STAMP_SIZE];
    int64_t us;

    (void)state;
    for (size_t i = 0; i < GR_COUNT(good); i++) {
        assert_int_equal(gr_stamp_parse(good[i].text, &us), 0);
        assert_int_equal(us, good[i].us);
    }
    for (size_t i = 0; i < GR_COUNT(bad); i++)
        assert_int_equal(gr_stamp_parse(bad[i], &us), GR_EINVAL);
    for (int64_t day = -719162; day < 2932896; day += 997) { /* years 1 to 9999 */
        gr_stamp(text, day * 86400000000);
        assert_int_equal(gr_stamp_parse(text, &us), 0);
        assert_int_equal(us, day * 86400000000);
    }
}

/* RFC 2202, 3 (test case 2) and RFC 4231, 4.3. */
static void test_hmac(void **state)
{
    static const struct {
        const char *name, *hex;
    } known[] = {
        { "sha-1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79" },
        { "sha-256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { "sha-384", "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                     "8e2240ca5e69e2c78b3239ecfab21649" },
    };
    static const char data[] = "what do ya want for nothing?";
    uint8_t out[GR_HASH_MAX];
    char hex[2 * GR_HASH_MAX + 1];

    (void)state;
    for (size_t i = 0; i < GR_COUNT(known); i++) {
        int n = gr_hmac(known[i].name, "Jefe", 4, data, sizeof(data) - 1, out);

        assert_int_equal(n, gr_hash_size(known[i].name));
        gr_hex_encode(hex, out, (size_t)n);
        assert_string_equal(hex, known[i].hex);
    }
    assert_int_equal(gr_hmac("md5", "x", 1, "", 0, out), GR_ENOTSUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem),
        cmocka_unit_test(test_strerror),
        cmocka_unit_test(test_assert),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_zeroed),
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_buf_sliding),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_keys),
        cmocka_unit_test(test_table_iteration),
        cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_log_stderr),
        cmocka_unit_test_setup_teardown(test_log_levels, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_escapes, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_rate_limit, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_rate_limit_error_and_debug, log_setup,
                                        log_teardown),
        cmocka_unit_test_setup_teardown(test_log_many_ids, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_threads, log_setup, log_teardown),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_fork),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_stamp_parse),
        cmocka_unit_test(test_hmac),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
