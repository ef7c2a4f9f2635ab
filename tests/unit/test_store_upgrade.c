/* Data that other versions wrote: schema 1 is upgraded, all or nothing; newer ones are refused. */
#include "store_ask.h"

#include "base/log.h"
#include "store/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LOG "log/test.log"
#define TOTALS "map/offline.totals"

static char *dir;
static struct store_coll *logc;

static int setup(void **state)
{
    (void)state;
    dir = temp_dir();
    loops_init(1, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    settle();
    store_close();
    loops_fini();
    remove_dir(dir);
    return 0;
}

/* --- the old layout, byte by byte --- */

static MDB_env *env;
static MDB_txn *txn;

static void raw_open(void)
{
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_set_mapsize(env, 64 << 20), 0);
    assert_int_equal(mdb_env_open(env, dir, MDB_NOTLS | MDB_NOSYNC, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
}

static void raw_close(void)
{
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void raw_put(const char *db, const void *key, size_t key_len, const void *val, size_t len)
{
    MDB_val k = { key_len, (void *)(uintptr_t)key }, v = { len, (void *)(uintptr_t)val };
    MDB_dbi dbi;

    assert_int_equal(mdb_dbi_open(txn, db, MDB_CREATE, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
}

static void raw_number(const char *name, uint64_t value)
{
    uint8_t rec[9] = { 0x10 };

    codec_u64(rec + 1, value);
    raw_put("meta", name, strlen(name), rec, sizeof(rec));
}

static void raw_owner(uint64_t id, const char *owner)
{
    uint8_t key[64] = { 0 }, rec[64] = { 0x10 };
    size_t len = strlen(owner);

    memcpy(key + 1, owner, len);
    codec_u64(rec + 1, id);
    memcpy(rec + 9, owner, len);
    raw_put("owners", key, 1 + len, rec, 9 + len);
}

static void raw_head(const char *db, uint64_t id, uint64_t last, uint64_t count)
{
    uint8_t key[8], rec[17] = { 0x10 };

    codec_u64(key, id);
    codec_u64(rec + 1, last);
    codec_u64(rec + 9, count);
    raw_put(db, key, sizeof(key), rec, sizeof(rec));
}

static void raw_row(const char *db, uint64_t id, uint64_t seq, const char *val)
{
    uint8_t key[16], rec[4096] = { 0x10 };

    codec_u64(key, id);
    codec_u64(key + 8, seq);
    memcpy(rec + 1, val, strlen(val));
    raw_put(db, key, sizeof(key), rec, 1 + strlen(val));
}

/* a@x: rows 2 and 4 of 5; b@x: none of 3; c@x: row 1 in another collection. */
static void old_store(void)
{
    raw_open();
    raw_number("schema", 1);
    raw_number("next", 4);
    raw_owner(1, "a@x");
    raw_owner(2, "b@x");
    raw_owner(3, "c@x");
    raw_head(LOG, 1, 5, 2);
    raw_row(LOG, 1, 2, "two");
    raw_row(LOG, 1, 4, "four");
    raw_head(LOG, 2, 3, 0);
    raw_head("log/test.log.more", 3, 1, 1);
    raw_row("log/test.log.more", 3, 1, "other");
    raw_put("map/test.map", "\0\0\0\0\0\0\0\1k", 9, "\x10v", 2);
    raw_put(TOTALS, "\0\0\0\0\0\0\0\1k", 9, "\x10v", 2);
    raw_close();
}

/* What is stored, and 0 for nothing, with the schema's number; the size of the record in *len. */
static uint64_t raw_look(const char *db, const void *key, size_t key_len, size_t *len)
{
    MDB_val k = { key_len, (void *)(uintptr_t)key }, v = { 0, NULL };
    uint64_t number = 0;
    MDB_dbi dbi;

    raw_open();
    if (mdb_dbi_open(txn, db, 0, &dbi) == 0 && mdb_get(txn, dbi, &k, &v) == 0 && v.mv_size >= 9)
        number = codec_get_u64((uint8_t *)v.mv_data + 1);
    *len = v.mv_size;
    raw_close();
    return number;
}

static uint64_t schema(void)
{
    size_t len;

    return raw_look("meta", "schema", 6, &len);
}

static void assert_untouched(void)
{
    size_t len;

    assert_int_equal(schema(), 1);
    assert_int_equal(raw_look(LOG, "\0\0\0\0\0\0\0\1", 8, &len), 5);
    assert_int_equal(len, 17);
    raw_look(TOTALS, "\0\0\0\0\0\0\0\1k", 9, &len);
    assert_int_equal(len, 2);
}

/* --- */

static void open_store(void)
{
    must_open(&(struct store_opts){ .dir = dir, .upgrade = true, .map_size = 64 << 20 });
    logc = store_coll("test.log", GR_COLL_LOG);
    assert_non_null(logc);
}

static void refused(bool upgrade, int want, const char *part)
{
    struct store_opts opts = { .dir = dir, .upgrade = upgrade, .map_size = 64 << 20 };
    char *why = NULL;

    assert_int_equal(store_open(&opts, &why), want);
    if (strstr(why, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, part);
    gr_free(why);
}

/* NULL: has nothing to say. */
static void look(int want, const char *part)
{
    char *say = NULL;

    assert_int_equal(store_look(dir, &say), want);
    if (part == NULL)
        assert_null(say);
    else if (say == NULL || strstr(say, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", say != NULL ? say : "(nothing)", part);
    gr_free(say);
}

/* Whether the log has `bytes`: an append that needs the whole bound, and one that is over it. */
static void assert_bytes(const char *owner, uint64_t bytes)
{
    for (int over = 1; over >= 0; over--) {
        struct store_txn *t = store_txn_new();
        struct log_max max = { .bytes = bytes + 3 };

        store_txn_append_max(t, logc, owner, "four", 3 + (size_t)over, max);
        assert_int_equal(now_commit(t), over == 1 ? GR_ELIMIT : 0);
    }
}

static void assert_upgraded(void)
{
    struct store_coll *more = store_coll("test.log.more", GR_COLL_LOG);

    assert_int_equal(now_count(logc, "a@x"), 2);
    assert_int_equal(now_count(logc, "b@x"), 0);
    assert_answer(now_range(logc, "a@x", NULL, 9), "#2=two;#4=four;");
    assert_answer(now_range(logc, "b@x", NULL, 9), "");
    assert_answer(now_range(more, "c@x", NULL, 9), "#1=other;");
    assert_answer(now_get(store_coll("test.map", GR_COLL_MAP), "a@x", "k"), "k=v;");
}

static void an_old_store_is_upgraded(void **state)
{
    size_t len;

    (void)state;
    old_store();
    open_store();
    assert_upgraded();
    assert_bytes("a@x", 7); /* and it appends #6 */
    assert_bytes("b@x", 0); /* #4 */
    assert_answer(now_range(logc, "a@x", NULL, 9), "#2=two;#4=four;#6=fou;");
    assert_int_equal(now_append(logc, "b@x", "five"), 5);
    assert_int_equal(now_append(logc, "c@x", "new"), 1);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 2)), 0);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 4)), 0);
    assert_int_equal(now_count(logc, "a@x"), 1);
    assert_int_equal(now_commit(one(STORE_DEL_ALL, logc, "a@x", NULL, NULL)), 0);
    assert_int_equal(now_append(logc, "a@x", "seven"), 7);
    store_close();
    assert_int_equal(schema(), 2);
    raw_look(TOTALS, "\0\0\0\0\0\0\0\1k", 9, &len);
    assert_int_equal(len, 0);
    raw_look(LOG, "\0\0\0\0\0\0\0\1", 8, &len);
    assert_int_equal(len, 0);
    open_store(); /* once is enough */
    assert_answer(now_range(logc, "b@x", NULL, 9), "#4=fou;#5=five;");
}

/* A copy as mdb_copy -c makes it, put into an empty directory. */
static void an_old_backup_is_restored(void **state)
{
    char *copy = temp_dir(), *source = dir;

    (void)state;
    old_store();
    raw_open();
    mdb_txn_abort(txn);
    assert_int_equal(mdb_env_copy2(env, copy, MDB_CP_COMPACT), 0);
    mdb_env_close(env);
    dir = copy;
    open_store();
    assert_upgraded();
    store_close();
    remove_dir(copy);
    dir = source;
}

static bool has_lock(void)
{
    char *path = gr_asprintf("%s/lock.mdb", dir);
    bool has = access(path, F_OK) == 0;

    gr_free(path);
    return has;
}

/* Nobody upgrades who does not mean to: other programs, a look. */
static void not_by_accident(void **state)
{
    char *path = gr_asprintf("%s/lock.mdb", dir);

    (void)state;
    look(0, NULL); /* a new one */
    old_store();
    refused(false, GR_EIO, "a start of the server itself upgrades it");
    look(0, "will be upgraded");
    unlink(path);
    look(0, "keep a backup");
    assert_false(has_lock());
    assert_untouched();
    open_store();
    assert_upgraded();
    store_close();
    look(0, NULL);
    gr_free(path);
}

/* As a new server's --check beside the old one. */
static void looked_at_while_in_use(void **state)
{
    pid_t pid;
    int status;

    (void)state;
    old_store();
    raw_open();
    pid = fork();
    if (pid == 0) {
        char *say = NULL;

        _exit(store_look(dir, &say) == 0 && strstr(say, "will be upgraded") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    raw_close();
}

static void a_newer_store_is_refused(void **state)
{
    (void)state;
    old_store();
    raw_open();
    raw_number("schema", 3);
    raw_close();
    refused(true, GR_EIO, "written by a newer version of this server: use that version");
    look(GR_EIO, "cannot be used: it was written by a newer version");
    raw_open();
    raw_number("schema", 0);
    raw_close();
    refused(true, GR_EIO, "schema number is damaged");
    look(GR_EIO, "schema number is damaged");
}

static void damaged_heads_name_their_collection(void **state)
{
    uint8_t owner[8], head[18] = { 0x10 }, head_key[CODEC_HEAD_KEY];

    (void)state;
    codec_u64(owner, 2);
    for (int i = 0; i < 6; i++) {
        old_store();
        raw_open();
        codec_u64(head + 1, 3);
        switch (i) {
        case 0: raw_put(LOG, owner, 8, head, 9); break;       /* half of it */
        case 1: raw_put(LOG, owner, 8, head, 18); break;
        case 2: raw_put(LOG, owner, 8, "", 0); break;
        case 3: raw_head(LOG, 2, 3, 4); break;                /* more rows than numbers */
        case 4: raw_row(LOG, 2, 4, "behind its head"); break;
        case 5: raw_row(LOG, 3, 1, "without a head"); break;
        }
        raw_close();
        refused(true, GR_EIO, "collection test.log is damaged");
        assert_untouched();
        remove_dir(dir);
        dir = temp_dir();
    }
    old_store();
    raw_open();
    codec_head_key(head_key, 2);
    raw_put(LOG, head_key, sizeof(head_key), head, 17); /* as no old version wrote it */
    raw_close();
    refused(true, GR_EIO, "collection test.log is damaged");
    assert_untouched();
}

/* Rows shorter than their own header count for nothing, and can be deleted. */
static void damaged_rows_are_taken_along(void **state)
{
    uint8_t key[16];

    (void)state;
    old_store();
    raw_open();
    codec_u64(key, 1);
    codec_u64(key + 8, 2);
    raw_put(LOG, key, sizeof(key), "", 0);
    raw_close();
    open_store();
    assert_int_equal(now_count(logc, "a@x"), 2);
    assert_bytes("a@x", 4);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 2)), 0);
    assert_answer(now_range(logc, "a@x", NULL, 9), "#4=four;#6=fou;");
    assert_bytes("a@x", 7);
}

/* Also in this version: what a damaged row was counted with goes with the last row. */
static void an_empty_log_has_no_bytes(void **state)
{
    uint8_t key[16];

    (void)state;
    open_store();
    assert_int_equal(now_append(logc, "a@x", "some bytes"), 1);
    assert_int_equal(now_append(logc, "a@x", "some more"), 2);
    store_close();
    raw_open();
    codec_u64(key, 1);
    codec_u64(key + 8, 1);
    raw_put(LOG, key, sizeof(key), "\x10", 1);
    raw_close();
    open_store();
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 1)), 0);
    assert_int_equal(now_commit(one_del_seq(logc, "a@x", 2)), 0);
    assert_int_equal(now_count(logc, "a@x"), 0);
    assert_bytes("a@x", 0);
}

/* --- large ones --- */

enum { OWNERS = 3000, ROWS = 3 };

static void large_old_store(void)
{
    char val[801], owner[16];

    memset(val, 'v', 800);
    val[800] = '\0';
    old_store();
    raw_open();
    raw_number("next", 100 + OWNERS);
    for (uint64_t id = 100; id < 100 + OWNERS; id++) {
        snprintf(owner, sizeof(owner), "o%u@x", (unsigned)id);
        raw_owner(id, owner);
        raw_head(LOG, id, ROWS, ROWS);
        for (uint64_t seq = 1; seq <= ROWS; seq++)
            raw_row(LOG, id, seq, val);
    }
    raw_close();
}

static void assert_large_upgraded(void)
{
    char owner[16];

    assert_upgraded();
    for (unsigned id = 100; id < 100 + OWNERS; id++) {
        snprintf(owner, sizeof(owner), "o%u@x", id);
        assert_int_equal(now_count(logc, owner), ROWS);
        if (id % 100 == 0)
            assert_bytes(owner, ROWS * 800);
    }
}

static void killed_while_upgrading(void **state)
{
    int old = 0, cycles = 0;

    (void)state;
    loops_fini();
    large_old_store();
    for (useconds_t delay = 1000; schema() == 1 && cycles < 50; delay += 3000, cycles++) {
        pid_t pid = fork();

        if (pid == 0) {
            loops_init(1, true);
            open_store();
            _exit(0);
        }
        usleep(delay); /* not for an order: whenever it hits, the result is one or the other */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        if (schema() == 1) {
            assert_untouched();
            old++;
        }
    }
    print_message("# killed %d times, before the end %d times\n", cycles, old);
    assert_true(old >= 1);
    loops_init(1, true);
    open_store();
    assert_large_upgraded();
}

static void upgraded_on_a_full_disk(void **state)
{
    char *filler = gr_asprintf("%s/filler", dir), *buf = gr_alloc(1 << 16);
    int fd;

    (void)state;
    /* In a mount namespace of its own, so that it ends with this process whatever happens. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=64m,mode=0700") != 0) {
        print_message("# skipped: a tmpfs cannot be mounted here: %s\n", strerror(errno));
        gr_free(filler);
        gr_free(buf);
        skip();
    }
    large_old_store();
    fd = open(filler, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    while (write(fd, buf, 1 << 16) > 0) {
    }
    close(fd);
    refused(true, GR_EFULL, "the disk is full: nothing was changed, make room");
    assert_untouched();
    unlink(filler);
    open_store();
    assert_large_upgraded();
    store_close();
    assert_int_equal(umount(dir), 0);
    gr_free(filler);
    gr_free(buf);
}

static void upgraded_in_a_full_map(void **state)
{
    struct store_opts opts = { .upgrade = true, .map_size = 1 << 20 }; /* raised to what is used */
    char *why = NULL;

    (void)state;
    large_old_store();
    opts.dir = dir;
    assert_int_equal(store_open(&opts, &why), GR_EFULL);
    assert_non_null(strstr(why, "map_size is reached"));
    gr_free(why);
    assert_untouched();
    open_store();
    assert_large_upgraded();
}

#define with_dir(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_dir(an_old_store_is_upgraded),
        with_dir(an_old_backup_is_restored),
        with_dir(not_by_accident),
        with_dir(looked_at_while_in_use),
        with_dir(a_newer_store_is_refused),
        with_dir(damaged_heads_name_their_collection),
        with_dir(damaged_rows_are_taken_along),
        with_dir(an_empty_log_has_no_bytes),
        with_dir(killed_while_upgrading),
        with_dir(upgraded_on_a_full_disk),
        with_dir(upgraded_in_a_full_map),
    };
    return cmocka_run_group_tests_name("store_upgrade", tests, NULL, NULL);
}
