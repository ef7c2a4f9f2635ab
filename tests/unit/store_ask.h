/* tests/unit/store_ask.h: requests to the store, with answers that stay; virtual time.
 *
 * ask_*() issue a request and return at once; settle() lets store and loops run until nothing is
 * left; now_*() do both and return the result code. */
#pragma once

#include "base/buf.h"
#include "store/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct ask {
    struct store_req req;
    int rc, done;            /* done: how many completions ran before and including this one */
    size_t count;
    bool more;
    struct buf text;         /* "key=value;" of each row; keys of 8 bytes (logs) as "#number" */
};

static int asks_done;

static void ask_done(struct store_req *req)
{
    struct ask *a = GR_CONTAINER_OF(req, struct ask, req);

    a->rc = req->rows.rc;
    a->count = req->rows.count;
    a->more = req->rows.more;
    assert_int_equal(a->done, 0);
    a->done = ++asks_done;
    for (size_t i = 0; req->rows.row != NULL && i < req->rows.count; i++) {
        const struct gr_row *r = &req->rows.row[i];

        if (r->key_len == 8)
            buf_printf(&a->text, "#%llu", (unsigned long long)gr_row_seq(r));
        else
            buf_append(&a->text, r->key, r->key_len);
        buf_puts(&a->text, "=");
        buf_append(&a->text, r->val, r->val_len);
        buf_puts(&a->text, ";");
    }
}

static inline void ask_init(struct ask *a)
{
    buf_fini(&a->text);
    *a = (struct ask){ .req.done = ask_done, .rc = 1 };
}

static inline void settle(void)
{
    bool any = true;

    while (any) {
        any = store_step();
        any |= loops_step();
    }
}

static inline void add(struct store_txn *t, enum store_op op, struct store_coll *c,
                       const char *owner, const char *key, const char *val)
{
    store_txn_add(t, op, c, owner, key, key != NULL ? strlen(key) : 0, val,
                  val != NULL ? strlen(val) : 0);
}

static inline struct store_txn *one(enum store_op op, struct store_coll *c, const char *owner,
                                    const char *key, const char *val)
{
    struct store_txn *t = store_txn_new();

    add(t, op, c, owner, key, val);
    return t;
}

static inline struct store_txn *one_del_seq(struct store_coll *c, const char *owner, uint64_t seq)
{
    struct store_txn *t = store_txn_new();
    uint8_t key[8];

    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(seq >> (56 - 8 * i));
    store_txn_add(t, STORE_DEL, c, owner, key, sizeof(key), NULL, 0);
    return t;
}

static inline void ask_commit(struct ask *a, struct store_txn *t)
{
    ask_init(a);
    store_commit(t, &a->req);
}

static inline int now_commit(struct store_txn *t)
{
    struct ask a = { .rc = 0 };

    ask_commit(&a, t);
    settle();
    assert_true(a.done > 0);
    buf_fini(&a.text);
    return a.rc;
}

static inline int now_put(struct store_coll *c, const char *owner, const char *key,
                          const char *val)
{
    return now_commit(one(STORE_PUT, c, owner, key, val));
}

/* The number given, or the (negative) error. */
static inline int64_t now_append(struct store_coll *c, const char *owner, const char *val)
{
    struct ask a = { .rc = 0 };
    int64_t seq;

    ask_commit(&a, one(STORE_APPEND, c, owner, NULL, val));
    settle();
    seq = a.rc != 0 ? a.rc : atoll(buf_str(&a.text) + 1);
    buf_fini(&a.text);
    return seq;
}

static inline void ask_get(struct ask *a, struct store_coll *c, const char *owner,
                           const char *key)
{
    ask_init(a);
    store_get(&a->req, c, owner, key, strlen(key));
}

/* The answer to a question as text: rows, or the error's name. Free it. */
static inline char *answer(struct ask *a)
{
    char *text;

    settle();
    assert_true(a->done > 0);
    text = a->rc != 0 ? gr_asprintf("E%d", -a->rc)
                      : gr_asprintf("%s%s", buf_str(&a->text), a->more ? "..." : "");
    buf_fini(&a->text);
    return text;
}

static inline char *now_get(struct store_coll *c, const char *owner, const char *key)
{
    struct ask a = { .rc = 0 };

    ask_get(&a, c, owner, key);
    return answer(&a);
}

static inline char *now_range(struct store_coll *c, const char *owner, const char *from,
                              size_t limit)
{
    struct ask a = { .rc = 0 };

    ask_init(&a);
    store_range(&a.req, c, owner, from, from != NULL ? strlen(from) : 0, limit);
    return answer(&a);
}

static inline int64_t now_count(struct store_coll *c, const char *owner)
{
    struct ask a = { .rc = 0 };

    ask_init(&a);
    store_count(&a.req, c, owner);
    settle();
    assert_true(a.done > 0);
    buf_fini(&a.text);
    return a.rc != 0 ? a.rc : (int64_t)a.count;
}

#define assert_answer(expr, want)           \
    do {                                    \
        char *got_ = (expr);                \
        assert_string_equal(got_, (want));  \
        gr_free(got_);                      \
    } while (0)

/* A directory under $TMPDIR, and its end. */
static inline char *temp_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = gr_asprintf("%s/grapnel-store-XXXXXX", tmp != NULL ? tmp : "/tmp");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void remove_dir(char *dir)
{
    static const char *const files[] = { "data.mdb", "lock.mdb", "ballast" };

    for (size_t i = 0; i < GR_COUNT(files); i++) {
        char *path = gr_asprintf("%s/%s", dir, files[i]);

        unlink(path);
        gr_free(path);
    }
    assert_int_equal(rmdir(dir), 0);
    gr_free(dir);
}

static inline void must_open(const struct store_opts *opts)
{
    char *why = NULL;

    if (store_open(opts, &why) != 0)
        fail_msg("store_open: %s", why);
}
