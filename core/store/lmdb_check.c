/* store/lmdb_check.c: is the data file all there, and whose layout has it? Main thread, before
 * anything is opened.
 *
 * LMDB maps the file; a page behind its end is SIGBUS. The last page number in the header usually
 * says how long the file must be, but pages that were taken and given back within one transaction
 * are never written, so a sound file may end earlier: then every page that is missing must be on
 * the free list. That list may itself be gone, which only a child process can try safely. */
#include "store/lmdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FREE_LIST = 0 }; /* LMDB's own database of free pages: transaction id -> { n, page... } */

/* How many of the pages from `first` on are free. */
static size_t count_free(MDB_txn *txn, size_t first)
{
    MDB_cursor *cur;
    MDB_val k, v;
    size_t found = 0;

    if (mdb_cursor_open(txn, FREE_LIST, &cur) != 0)
        return 0;
    while (mdb_cursor_get(cur, &k, &v, MDB_NEXT) == 0) {
        const size_t *list = v.mv_data;

        for (size_t i = 1; i < v.mv_size / sizeof(*list) && i <= list[0]; i++)
            found += list[i] >= first;
    }
    mdb_cursor_close(cur);
    return found;
}

static int open_read_only(const char *dir, unsigned flags, MDB_env **env)
{
    int rc = mdb_env_create(env);

    if (rc == 0)
        mdb_env_set_mapsize(*env, 1 << 20); /* raised to what the header asks for, not to its map */
    if (rc == 0)
        mdb_env_set_maxdbs(*env, 1);
    if (rc == 0)
        rc = mdb_env_open(*env, dir, MDB_RDONLY | flags, 0600);
    if (rc != 0 && *env != NULL)
        mdb_env_close(*env);
    return rc;
}

/* In the child: whether the missing pages are all free. Ends by SIGBUS when it cannot be told. */
static bool tail_is_free(const char *dir, size_t first, size_t missing)
{
    MDB_env *env = NULL;
    MDB_txn *txn;
    bool is_free = false;

    if (open_read_only(dir, MDB_NOLOCK, &env) != 0)
        return false;
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0) {
        is_free = count_free(txn, first) == missing;
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    return is_free;
}

static bool ask_child(const char *dir, size_t first, size_t missing)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(tail_is_free(dir, first, missing) ? 0 : 1);
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int lmdb_check_file(const char *dir, char **why)
{
    char *path = gr_asprintf("%s/data.mdb", dir);
    MDB_env *env = NULL;
    MDB_envinfo info;
    MDB_stat st;
    struct stat file;
    size_t have;
    int rc = 0, err;

    if (stat(path, &file) != 0 || file.st_size == 0)
        goto out; /* new */
    err = open_read_only(dir, MDB_NOLOCK, &env);
    if (err != 0) {
        *why = gr_asprintf("%s cannot be opened: %s", path, mdb_strerror(err));
        rc = GR_EIO;
        goto out;
    }
    mdb_env_info(env, &info);
    mdb_env_stat(env, &st);
    mdb_env_close(env);
    have = (size_t)file.st_size / st.ms_psize;
    if (have > info.me_last_pgno || ask_child(dir, have, info.me_last_pgno + 1 - have))
        goto out;
    *why = gr_asprintf("%s is damaged: it ends after page %zu of %zu. Restore it from a backup",
                       path, have, info.me_last_pgno + 1);
    rc = GR_EIO;
out:
    gr_free(path);
    return rc;
}

/* --- the layout --- */

/* NULL, or what there is to say about it. */
static char *look_inside(MDB_txn *txn, int *rc)
{
    MDB_val k = lmdb_val("schema", 6), v;
    MDB_dbi meta;
    int err = mdb_dbi_open(txn, "meta", 0, &meta);

    if (err == 0)
        err = mdb_get(txn, meta, &k, &v);
    if (err == 0)
        return lmdb_judge_schema(lmdb_bytes(v), rc);
    *rc = err == MDB_NOTFOUND ? 0 : GR_EIO; /* no data yet, or a start will say what is missing */
    return err == MDB_NOTFOUND ? NULL : gr_strdup(mdb_strerror(err));
}

/* A server may be running on it: then its lock file keeps what is read here from being overwritten.
 * Without one none is made: it would belong to whoever asked. */
static int look_at(const char *dir, char **say)
{
    char *lock = gr_asprintf("%s/lock.mdb", dir), *text = NULL;
    MDB_env *env = NULL;
    MDB_txn *txn;
    int rc = 0, err = open_read_only(dir, access(lock, F_OK) == 0 ? 0 : MDB_NOLOCK, &env);

    gr_free(lock);
    if (err == 0) {
        err = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
        if (err == 0) {
            text = look_inside(txn, &rc);
            mdb_txn_abort(txn);
        }
        mdb_env_close(env);
    }
    if (err != 0) {
        text = gr_strdup(mdb_strerror(err));
        rc = GR_EIO;
    }
    if (text != NULL)
        *say = gr_asprintf("the store in %s %s: %s", dir,
                           rc == 0 ? "will be upgraded" : "cannot be used", text);
    gr_free(text);
    return rc;
}

int store_look(const char *dir, char **say)
{
    char *path = gr_asprintf("%s/data.mdb", dir);
    struct stat file;
    bool is_new = stat(path, &file) != 0 || file.st_size == 0;
    int rc;

    *say = NULL;
    gr_free(path);
    if (is_new)
        return 0;
    rc = lmdb_check_file(dir, say);
    return rc != 0 ? rc : look_at(dir, say);
}
