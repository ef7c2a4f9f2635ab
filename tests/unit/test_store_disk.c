/* The store on a disk that fills up, fails, is damaged or is pulled away; kill -9. */
#include "store_ask.h"

#include "base/log.h"
#include "store/codec.h"
#include "store/dir.h"
#include "store/lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char *dir;
static struct store_coll *map, *logc;
static int failed_calls;

static void on_failed(void)
{
    failed_calls++;
}

static void open_store(struct store_opts opts)
{
    opts.dir = dir;
    opts.failed = on_failed;
    must_open(&opts);
    map = store_coll("test.map", GR_COLL_MAP);
    logc = store_coll("test.log", GR_COLL_LOG);
    assert_non_null(map);
    assert_non_null(logc);
}

static int setup(void **state)
{
    (void)state;
    dir = temp_dir();
    failed_calls = 0;
    loops_init(1, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    settle();
    store_close();
    store_faults = NULL;
    loops_fini();
    remove_dir(dir);
    dir = NULL;
    return 0;
}

static bool exists(const char *name)
{
    char *path = gr_asprintf("%s/%s", dir, name);
    struct stat st;
    bool there = stat(path, &st) == 0;

    if (there)
        assert_int_equal(st.st_mode & 0777, 0600);
    gr_free(path);
    return there;
}

static bool read_only(void)
{
    struct store_stats st;

    store_stats(&st);
    return st.read_only;
}

/* --- injected errors --- */

static uint64_t fail_at, free_now, commits_seen;
static int fail_with;

static int fail_commit(uint64_t n)
{
    commits_seen = n;
    return n == fail_at ? fail_with : 0;
}
static uint64_t fake_free(void)
{
    return free_now;
}
static const struct store_faults faults = { .commit = fail_commit, .free = fake_free };

/* A full disk: what adds is refused, deletions go on, and it ends by itself. */
static void full_disk(void **state)
{
    struct ask a[3] = { { .rc = 0 } };

    (void)state;
    open_store((struct store_opts){ .sync = true });
    assert_true(exists("ballast"));
    assert_int_equal(now_put(map, "a@x", "old", "1"), 0);
    assert_int_equal(now_put(map, "a@x", "kept", "1"), 0);
    store_faults = &faults;
    fail_at = 1;
    fail_with = ENOSPC;
    free_now = 0;
    ask_commit(&a[0], one(STORE_PUT, map, "a@x", "new", "1"));
    ask_commit(&a[1], one(STORE_DEL, map, "a@x", "old", NULL));
    ask_commit(&a[2], one(STORE_APPEND, logc, "a@x", NULL, "1"));
    settle();
    assert_int_equal(a[0].rc, GR_EFULL);
    assert_int_equal(a[1].rc, 0);
    assert_int_equal(a[2].rc, GR_EFULL);
    assert_true(read_only());
    assert_false(exists("ballast"));
    assert_answer(now_range(map, "a@x", NULL, 9), "kept=1;");
    assert_int_equal(now_put(map, "a@x", "new", "1"), GR_EFULL);
    assert_int_equal(now_commit(one(STORE_DEL, map, "a@x", "kept", NULL)), 0);
    free_now = 100 << 20;
    assert_int_equal(now_put(map, "a@x", "new", "1"), 0);
    assert_false(read_only());
    assert_true(exists("ballast"));
    assert_int_equal(failed_calls, 0);
}

/* Room for some but not for all of a batch: each gets its own answer. */
static void small_writes_pass_where_a_batch_does_not(void **state)
{
    struct ask a[3] = { { .rc = 0 } };

    (void)state;
    open_store((struct store_opts){ .sync = false });
    store_faults = &faults;
    fail_at = 1;
    fail_with = EDQUOT;
    free_now = 100 << 20;
    for (int i = 0; i < 3; i++)
        ask_commit(&a[i], one(i < 2 ? STORE_PUT_NEW : STORE_PUT, map, "a@x", "k", "1"));
    settle();
    assert_int_equal(a[0].rc, 0);
    assert_int_equal(a[1].rc, GR_EEXIST); /* decided again, not taken from the attempt */
    assert_int_equal(a[2].rc, 0);
    assert_false(read_only());
}

/* A failing disk: never tried again. */
static void failed_disk(void **state)
{
    struct ask a[2] = { { .rc = 0 } };
    struct store_stats st;

    (void)state;
    open_store((struct store_opts){ .sync = true });
    assert_int_equal(now_put(map, "a@x", "k", "1"), 0);
    store_faults = &faults;
    fail_at = 2;
    fail_with = EIO;
    free_now = 100 << 20;
    assert_int_equal(now_put(map, "a@x", "k", "2"), 0);
    ask_commit(&a[0], one(STORE_PUT, map, "a@x", "k", "3"));
    ask_commit(&a[1], one(STORE_DEL, map, "a@x", "k", NULL));
    settle();
    assert_int_equal(a[0].rc, GR_EIO);
    assert_int_equal(a[1].rc, GR_EIO);
    assert_int_equal(failed_calls, 1);
    assert_int_equal(now_put(map, "a@x", "k", "4"), GR_EIO);
    assert_int_equal(failed_calls, 1);
    assert_int_equal(commits_seen, 2);
    store_stats(&st);
    assert_true(st.failed);
    assert_answer(now_get(map, "a@x", "k"), "k=2;"); /* reads go on */
    store_close();
    store_faults = NULL;
    open_store((struct store_opts){ .sync = true });
    assert_answer(now_get(map, "a@x", "k"), "k=2;");
}

/* --- the map --- */

static void fill(int *n, int want)
{
    char key[16], *val = gr_alloc(65537);
    int rc;

    memset(val, 'v', 65536);
    do {
        snprintf(key, sizeof(key), "%06d", *n);
        rc = now_put(map, "a@x", key, val);
        *n += rc == 0;
    } while (rc == 0 && *n < 1000);
    assert_int_equal(rc, want);
    gr_free(val);
}

/* The map grows under way up to its limit; then as with a full disk, deletions included. */
static void map_grows_then_is_full(void **state)
{
    struct store_stats st;
    char key[16];
    int n = 0, before;

    (void)state;
    open_store((struct store_opts){ .map_size = 8 << 20, .map_start = 1 << 20, .sync = false });
    fill(&n, GR_EFULL);
    store_stats(&st);
    assert_true(st.map_used > (6 << 20) && st.map_used <= (8 << 20));
    assert_true(st.read_only);
    for (int round = 0; round < 20; round++) { /* over and over: deletions always get through */
        before = n;
        assert_answer(now_range(map, "a@x", "999999", 9), "");
        assert_int_equal(now_count(map, "a@x"), n);
        for (int i = 0; i < 8; i++) {
            snprintf(key, sizeof(key), "%06d", --n);
            assert_int_equal(now_commit(one(STORE_DEL, map, "a@x", key, NULL)), 0);
        }
        fill(&n, GR_EFULL);
        assert_true(n > before - 8);
        assert_true(read_only());
    }
    store_stats(&st);
    assert_true(st.map_used <= (12 << 20));
    assert_int_equal(now_commit(one(STORE_DEL_ALL, map, "a@x", NULL, NULL)), 0);
    assert_int_equal(now_put(map, "a@x", "k", "v"), 0);
    assert_false(read_only());
    assert_int_equal(failed_calls, 0);
}

/* To the last page, then a single deletion: what it freed can be used by the next write. */
static void map_full_to_the_brim(void **state)
{
    char key[16];
    int n = 0, rc;

    (void)state;
    open_store((struct store_opts){ .map_size = 1 << 20, .sync = false });
    fill(&n, GR_EFULL);
    for (int i = 0; i < 3; i++) {
        int m = 0;

        do {
            snprintf(key, sizeof(key), "s%d", m++);
            rc = now_put(map, "b@x", key, "some text, not very long");
        } while (rc == 0);
        assert_int_equal(rc, GR_EFULL);
        assert_int_equal(now_commit(one(STORE_DEL_ALL, map, "b@x", NULL, NULL)), 0);
        assert_int_equal(now_put(map, "b@x", "k", "v"), 0);
    }
    assert_int_equal(now_count(map, "a@x"), n);
}

/* --- a real full disk --- */

static void full_file_system(void **state)
{
    char *mnt = dir, *filler, *buf;
    int fd, n = 0;

    (void)state;
    /* In a mount namespace of its own, so that it ends with this process whatever happens. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", mnt, "tmpfs", 0, "size=16m,mode=0700") != 0) {
        print_message("# skipped: a tmpfs cannot be mounted here: %s\n", strerror(errno));
        skip();
    }
    open_store((struct store_opts){ .map_size = 64 << 20, .sync = true });
    fill(&n, GR_EFULL);
    assert_true(n > 50);
    assert_true(read_only());
    assert_false(exists("ballast"));
    assert_int_equal(now_count(map, "a@x"), n);
    /* Another process takes what the ballast left. */
    filler = gr_asprintf("%s/filler", mnt);
    buf = gr_alloc(1 << 20);
    fd = open(filler, O_WRONLY | O_CREAT, 0600);
    while (write(fd, buf, 64 << 10) > 0) {
    }
    close(fd);
    assert_int_equal(now_commit(one(STORE_PUT, map, "a@x", "new", "v")), GR_EFULL);
    assert_answer(now_range(map, "a@x", "999999", 9), "");
    unlink(filler);
    assert_int_equal(now_commit(one(STORE_PUT, map, "a@x", "new", "v")), GR_EFULL);
    for (int i = 0; i < n; i++) { /* deletions live on the ballast's room */
        char key[16];

        snprintf(key, sizeof(key), "%06d", i);
        assert_int_equal(now_commit(one(STORE_DEL, map, "a@x", key, NULL)), 0);
    }
    /* LMDB's file does not shrink: room comes from elsewhere. */
    assert_int_equal(mount("none", mnt, "tmpfs", MS_REMOUNT, "size=32m,mode=0700"), 0);
    assert_int_equal(now_commit(one(STORE_PUT, map, "a@x", "new", "v")), 0);
    assert_false(read_only());
    assert_true(exists("ballast"));
    assert_int_equal(failed_calls, 0);
    settle();
    store_close();
    open_store((struct store_opts){ .map_size = 64 << 20, .sync = true });
    assert_int_equal(now_count(map, "a@x"), 1);
    store_close();
    assert_int_equal(umount(mnt), 0);
    gr_free(filler);
    gr_free(buf);
}

/* --- damage --- */

static int logged_damage;
static void look_for_damage(void *ctx, enum gr_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    logged_damage += strstr(line, "store.damaged") != NULL && strstr(line, "test.") != NULL;
}

static void damaged_records_are_errors(void **state)
{
    struct bytes bad = { "\x7f?", 2 };
    uint8_t key[16], head[CODEC_HEAD_KEY];
    struct ask a[2] = { { .rc = 0 } };

    (void)state;
    open_store((struct store_opts){ .sync = false });
    assert_int_equal(now_put(map, "a@x", "k", "v"), 0); /* the first owner: id 1 */
    assert_int_equal(now_append(logc, "a@x", "v"), 1);
    store_close();
    /* Below the front, where damage happens. */
    struct engine *e = NULL;
    char *why = NULL;
    struct store_coll *both[] = { &(struct store_coll){ .name = "test.map", .kind = GR_COLL_MAP },
                                  &(struct store_coll){ .name = "test.log",
                                                        .kind = GR_COLL_LOG } };

    assert_int_equal(engine_lmdb_open(&(struct store_opts){ .dir = dir }, &e, &why), 0);
    assert_int_equal(e->ops->coll_open(e, both[0]), 0);
    assert_int_equal(e->ops->coll_open(e, both[1]), 0);
    codec_u64(key, 1);
    key[8] = 'k';
    codec_head_key(head, 1);
    assert_int_equal(lmdb_raw(e, "map/test.map", (struct bytes){ key, 9 }, &bad), 0);
    assert_int_equal(lmdb_raw(e, "log/test.log", (struct bytes){ head, sizeof(head) }, &bad), 0);
    e->ops->close(e);

    log_set_sink(look_for_damage, NULL);
    logged_damage = 0;
    open_store((struct store_opts){ .sync = false });
    assert_answer(now_get(map, "a@x", "k"), "E4");
    assert_int_equal(logged_damage, 1);
    assert_answer(now_range(map, "a@x", NULL, 9), "E4");
    assert_int_equal(now_count(logc, "a@x"), GR_EIO);
    log_set_sink(NULL, NULL);
    /* Writing into a damaged log fails alone; others of the batch and the store go on. */
    ask_commit(&a[0], one(STORE_APPEND, logc, "a@x", NULL, "v"));
    ask_commit(&a[1], one(STORE_PUT, map, "a@x", "k", "healed"));
    settle();
    assert_int_equal(a[0].rc, GR_EIO);
    assert_int_equal(a[1].rc, 0);
    assert_answer(now_get(map, "a@x", "k"), "k=healed;");
    assert_int_equal(failed_calls, 0);
}

static void cannot_open(const char *part)
{
    char *why = NULL;

    assert_true(store_open(&(struct store_opts){ .dir = dir }, &why) < 0);
    assert_non_null(why);
    if (strstr(why, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, part);
    gr_free(why);
}

static void truncated_file_is_refused(void **state)
{
    char *path = gr_asprintf("%s/data.mdb", dir);
    struct stat st;
    int n = 0;

    (void)state;
    open_store((struct store_opts){ .map_size = 8 << 20, .sync = false });
    fill(&n, GR_EFULL);
    store_close();
    assert_int_equal(stat(path, &st), 0);
    for (off_t left = st.st_size - 4096; left > 8192; left -= st.st_size / 7) {
        assert_int_equal(truncate(path, left), 0);
        cannot_open("damaged");
    }
    assert_int_equal(truncate(path, 100), 0);
    cannot_open("data.mdb");
    gr_free(path);
}

/* Missing pages that nobody uses are no damage. */
static void short_but_sound_file_is_opened(void **state)
{
    char *path = gr_asprintf("%s/data.mdb", dir), *why = NULL;
    struct store_opts opts = { .map_size = 8 << 20, .dir = dir };
    struct stat st;
    int n = 0, opened = 0;

    (void)state;
    open_store(opts);
    fill(&n, GR_EFULL);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, map, "a@x", NULL, NULL)), 0);
    for (int i = 0; i < 8; i++) /* what is in use moves to the front */
        assert_int_equal(now_put(map, "b@x", "k", "v"), 0);
    store_close();
    assert_int_equal(stat(path, &st), 0);
    for (;; opened++) { /* page by page, until one goes that is needed */
        assert_int_equal(truncate(path, st.st_size -= 4096), 0);
        if (store_open(&opts, &why) != 0)
            break;
        map = store_coll("test.map", GR_COLL_MAP);
        assert_answer(now_get(map, "b@x", "k"), "k=v;");
        store_close();
    }
    assert_non_null(strstr(why, "damaged"));
    assert_true(opened >= 1);
    print_message("# opened with up to %d pages missing\n", opened);
    gr_free(why);
    gr_free(path);
}

/* So that most commits do not make it longer; but not without end. */
static void file_is_longer_than_its_pages(void **state)
{
    char *path = gr_asprintf("%s/data.mdb", dir);
    struct store_stats now;
    struct stat st;
    off_t before = 0;
    int n = 0, grown = 0;

    (void)state;
    open_store((struct store_opts){ .map_size = 4 << 20, .sync = true });
    for (int i = 0; i < 200; i++) {
        static char val[3000];

        memset(val, 'v', sizeof(val) - 1);
        assert_true(now_append(logc, "a@x", val) > 0);
        store_stats(&now);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size > (off_t)now.map_used);
        assert_true(st.st_size <= (off_t)now.map_used + 512 * 1024);
        grown += st.st_size != before;
        before = st.st_size;
    }
    assert_in_range(grown, 2, 6);
    fill(&n, GR_EFULL); /* the map's end is the file's */
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= 4 << 20);
    store_close();
    open_store((struct store_opts){ .map_size = 4 << 20, .sync = false });
    assert_int_equal(now_count(logc, "a@x"), 200);
    gr_free(path);
}

/* --- the directory --- */

static void directory_is_private_and_exclusive(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(chmod(dir, 0755), 0);
    open_store((struct store_opts){ .sync = false });
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(exists("data.mdb"));
    assert_true(exists("ballast"));
    char *why = NULL; /* the lock is the open file's: a second one is as good as a second process */
    int fd;

    assert_int_equal(dir_open(dir, &fd, &why), GR_EAGAIN);
    assert_non_null(strstr(why, "in use"));
    gr_free(why);
}

static void kinds_are_remembered(void **state)
{
    (void)state;
    open_store((struct store_opts){ .sync = false });
    store_close();
    must_open(&(struct store_opts){ .dir = dir });
    assert_null(store_coll("test.map", GR_COLL_LOG));
    assert_non_null(store_coll("test.map", GR_COLL_MAP));
    assert_null(store_coll("a name of more than 64 bytes ......................................",
                           GR_COLL_MAP));
}

static void backup_is_a_store(void **state)
{
    char *copy = gr_asprintf("%s-copy", dir), *source = dir, *why = NULL;

    (void)state;
    open_store((struct store_opts){ .sync = false });
    assert_int_equal(now_put(map, "a@x", "k", "v"), 0);
    assert_int_equal(now_append(logc, "a@x", "v"), 1);
    assert_int_equal(store_backup(copy, &why), 0);
    assert_int_equal(store_backup(copy, &why), GR_EEXIST);
    assert_non_null(strstr(why, "not empty"));
    gr_free(why);
    assert_int_equal(now_put(map, "a@x", "k", "later"), 0);
    store_close();
    dir = copy;
    open_store((struct store_opts){ .sync = false });
    assert_answer(now_get(map, "a@x", "k"), "k=v;");
    assert_int_equal(now_append(logc, "a@x", "v"), 2);
    store_close();
    remove_dir(copy);
    dir = source;
}

/* --- kill -9 --- */

enum { CYCLES = 12, CHAINS = 8 };

struct writer {
    struct store_req req;
    int owner, pipe;
    uint64_t next;
};

static void write_next(struct writer *w);
static void writer_done(struct store_req *req)
{
    struct writer *w = GR_CONTAINER_OF(req, struct writer, req);
    uint64_t msg[2] = { (uint64_t)w->owner, 0 };

    if (req->rows.rc != 0 || req->rows.count != 1)
        _exit(3);
    msg[1] = gr_row_seq(&req->rows.row[0]);
    if (write(w->pipe, msg, sizeof(msg)) != sizeof(msg)) /* acknowledged */
        _exit(4);
    write_next(w);
}
static void write_next(struct writer *w)
{
    char owner[16], key[32];
    struct store_txn *t = store_txn_new();

    snprintf(owner, sizeof(owner), "w%d@x", w->owner);
    snprintf(key, sizeof(key), "%016llu", (unsigned long long)w->next++);
    add(t, STORE_APPEND, logc, owner, NULL, key);
    add(t, STORE_PUT, map, owner, key, key);
    store_commit(t, &w->req);
}

static void write_until_killed(int fd)
{
    static struct writer w[CHAINS];

    loops_init(1, false);
    open_store((struct store_opts){ .sync = true, .commit_delay_us = -1 });
    for (int i = 0; i < CHAINS; i++) {
        char owner[16];
        struct ask a = { .rc = 0 };

        snprintf(owner, sizeof(owner), "w%d@x", i);
        ask_init(&a);
        store_count(&a.req, map, owner); /* answered at once */
        w[i] = (struct writer){ .req.done = writer_done, .owner = i, .pipe = fd,
                                .next = a.count };
        write_next(&w[i]);
    }
    loop_run_main();
    _exit(5);
}

/* Everything acknowledged must be there, and of each transaction everything or nothing. What is
 * there without having been acknowledged counts from now on. */
static void check_kept(uint64_t acked[CHAINS])
{
    loops_init(1, true);
    open_store((struct store_opts){ .sync = true });
    for (int i = 0; i < CHAINS; i++) {
        char owner[16], key[32], *want;
        int64_t rows;

        snprintf(owner, sizeof(owner), "w%d@x", i);
        rows = now_count(logc, owner);
        assert_true(rows >= (int64_t)acked[i]);
        assert_int_equal(rows, now_count(map, owner));
        acked[i] = (uint64_t)rows;
        if (rows == 0)
            continue;
        snprintf(key, sizeof(key), "%016llu", (unsigned long long)rows - 1);
        want = gr_asprintf("%s=%s;", key, key);
        assert_answer(now_range(map, owner, key, 2), want);
        gr_free(want);
    }
    store_close();
    loops_fini();
}

static void killed_at_any_instant(void **state)
{
    uint64_t acked[CHAINS] = { 0 }, msg[2], total = 0;
    unsigned seed = 20261120;
    const char *env = getenv("GR_SEED");

    (void)state;
    if (env != NULL)
        seed = (unsigned)strtoul(env, NULL, 10);
    print_message("# seed %u\n", seed);
    loops_fini(); /* of setup */
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        int fd[2], status, until = 1 + rand_r(&seed) % 400;
        volatile unsigned spin = (unsigned)rand_r(&seed) % 400000;
        pid_t pid;

        assert_int_equal(pipe(fd), 0);
        pid = fork();
        if (pid == 0) {
            close(fd[0]);
            write_until_killed(fd[1]);
        }
        close(fd[1]);
        for (int n = 0; read(fd[0], msg, sizeof(msg)) == sizeof(msg); n++) {
            assert_true(msg[0] < CHAINS && msg[1] == acked[msg[0]] + 1);
            acked[msg[0]] = msg[1];
            total++;
            if (n + 1 == until) {
                while (spin > 0)
                    spin--;
                kill(pid, SIGKILL);
            }
        }
        close(fd[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        check_kept(acked);
    }
    assert_true(total > CYCLES);
    print_message("# %llu acknowledged in %d cycles, none lost\n", (unsigned long long)total,
                  CYCLES);
    loops_init(1, true);
    open_store((struct store_opts){ .sync = false });
}

#define with_dir(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_dir(full_disk),
        with_dir(small_writes_pass_where_a_batch_does_not),
        with_dir(failed_disk),
        with_dir(map_grows_then_is_full),
        with_dir(map_full_to_the_brim),
        with_dir(full_file_system),
        with_dir(damaged_records_are_errors),
        with_dir(truncated_file_is_refused),
        with_dir(short_but_sound_file_is_opened),
        with_dir(file_is_longer_than_its_pages),
        with_dir(directory_is_private_and_exclusive),
        with_dir(kinds_are_remembered),
        with_dir(backup_is_a_store),
        with_dir(killed_at_any_instant),
    };
    return cmocka_run_group_tests_name("store_disk", tests, NULL, NULL);
}
