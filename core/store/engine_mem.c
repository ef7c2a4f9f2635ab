/* store/engine_mem.c: the engine of tests: sorted arrays per owner, gone when closed.
 *
 * Same results and the same order as LMDB. The writer keeps readers out from begin to commit, so
 * nobody sees half a transaction; abort plays a list of what was there before backwards. Insertion
 * in the middle moves the rows behind it: fine for tests, not for millions of rows. */
#include "store/engine.h"

#include "store/codec.h"

#include <pthread.h>
#include <string.h>

struct mem_row {
    uint8_t *bytes; /* key, then value */
    size_t key_len, val_len;
};
struct mem_owner {
    struct table_node node;
    char *owner;
    struct mem_row *row;
    size_t count, cap, bytes; /* bytes: of the values */
    uint64_t last;  /* of a log: the last number given out */
};
struct undo {
    struct mem_owner *owner;
    uint64_t last;
    struct mem_row row; /* what was there, or only the key when nothing was */
    bool had;
};
struct mem {
    struct engine base;
    pthread_rwlock_t lock;
    struct undo *undo;
    size_t undos, undos_cap;
};

static int compare(const struct mem_row *row, const void *key, size_t len)
{
    size_t n = row->key_len < len ? row->key_len : len;
    int c = n > 0 ? memcmp(row->bytes, key, n) : 0;

    return c != 0 ? c : (row->key_len > len) - (row->key_len < len);
}

/* The first row that is not before the key. */
static size_t lower_bound(const struct mem_owner *mo, const void *key, size_t len)
{
    size_t from = 0, to = mo->count;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (compare(&mo->row[mid], key, len) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static bool at(const struct mem_owner *mo, size_t i, const void *key, size_t len)
{
    return i < mo->count && compare(&mo->row[i], key, len) == 0;
}

static struct mem_owner *find(const struct store_coll *coll, const char *owner, size_t len)
{
    struct table_node *n = table_find(&coll->owners, owner, len);

    return n != NULL ? GR_CONTAINER_OF(n, struct mem_owner, node) : NULL;
}

static struct mem_owner *find_or_add(struct store_coll *coll, const char *owner, size_t len)
{
    struct mem_owner *mo = find(coll, owner, len);

    if (mo == NULL) {
        mo = gr_alloc(sizeof(*mo));
        mo->owner = gr_strndup(owner, len);
        table_insert(&coll->owners, &mo->node, mo->owner, len);
    }
    return mo;
}

static void insert(struct mem_owner *mo, size_t i, struct mem_row row)
{
    if (mo->count == mo->cap) {
        mo->cap = mo->cap > 0 ? mo->cap * 2 : 4;
        mo->row = gr_realloc(mo->row, mo->cap * sizeof(*mo->row));
    }
    memmove(&mo->row[i + 1], &mo->row[i], (mo->count - i) * sizeof(*mo->row));
    mo->row[i] = row;
    mo->count++;
    mo->bytes += row.val_len;
}

static struct mem_row take_row(struct mem_owner *mo, size_t i)
{
    struct mem_row row = mo->row[i];

    mo->count--;
    mo->bytes -= row.val_len;
    memmove(&mo->row[i], &mo->row[i + 1], (mo->count - i) * sizeof(*mo->row));
    return row;
}

static struct mem_row new_row(const void *key, size_t key_len, const void *val, size_t val_len)
{
    struct mem_row row = { gr_alloc(key_len + val_len + 1), key_len, val_len };

    if (key_len > 0)
        memcpy(row.bytes, key, key_len);
    if (val_len > 0)
        memcpy(row.bytes + key_len, val, val_len);
    return row;
}

/* Remembers how to undo: `row` is what was there, or a key that was not. Takes the row. */
static void remember(struct mem *m, struct mem_owner *mo, struct mem_row row, bool had)
{
    if (m->undos == m->undos_cap) {
        m->undos_cap = m->undos_cap > 0 ? m->undos_cap * 2 : 16;
        m->undo = gr_realloc(m->undo, m->undos_cap * sizeof(*m->undo));
    }
    m->undo[m->undos++] = (struct undo){ .owner = mo, .last = mo->last, .row = row, .had = had };
}

static void put(struct mem *m, struct mem_owner *mo, const void *key, size_t key_len,
                const void *val, size_t val_len)
{
    size_t i = lower_bound(mo, key, key_len);

    if (at(mo, i, key, key_len))
        remember(m, mo, take_row(mo, i), true);
    else
        remember(m, mo, new_row(key, key_len, NULL, 0), false);
    insert(mo, i, new_row(key, key_len, val, val_len));
}

static int add_to_counter(struct mem *m, struct mem_owner *mo, struct engine_op *op)
{
    size_t i = lower_bound(mo, op->key, op->key_len);
    struct bytes was = { NULL, 0 };
    uint8_t sum[CODEC_ID];
    int rc;

    if (at(mo, i, op->key, op->key_len))
        was = (struct bytes){ mo->row[i].bytes + op->key_len, mo->row[i].val_len };
    rc = engine_sum(op, was);
    if (rc != 0)
        return rc;
    codec_u64(sum, op->result);
    put(m, mo, op->key, op->key_len, sum, sizeof(sum));
    return 0;
}

static int mem_begin(struct engine *e)
{
    pthread_rwlock_wrlock(&GR_CONTAINER_OF(e, struct mem, base)->lock);
    return 0;
}

static int mem_exists(struct engine *e, const struct engine_op *op)
{
    struct mem_owner *mo = find(op->coll, op->owner, op->owner_len);

    (void)e;
    return mo != NULL && at(mo, lower_bound(mo, op->key, op->key_len), op->key, op->key_len);
}

static int mem_apply(struct engine *e, struct engine_op *op)
{
    struct mem *m = GR_CONTAINER_OF(e, struct mem, base);
    struct mem_owner *mo;
    uint8_t seq[CODEC_ID];
    size_t i;

    if (op->op == STORE_PUT_NEW && mem_exists(e, op))
        return GR_EEXIST;
    if (op->op == STORE_DEL || op->op == STORE_DEL_ALL || op->op == STORE_REPLACE)
        mo = find(op->coll, op->owner, op->owner_len);
    else
        mo = find_or_add(op->coll, op->owner, op->owner_len);
    if (mo == NULL)
        return 0;
    switch (op->op) {
    case STORE_PUT:
    case STORE_PUT_NEW:
        put(m, mo, op->key, op->key_len, op->val, op->val_len);
        break;
    case STORE_ADD:
        return add_to_counter(m, mo, op);
    case STORE_APPEND:
        if (!engine_log_room(op, mo->count, mo->bytes))
            return ENGINE_LIMIT;
        op->result = mo->last + 1;
        codec_u64(seq, op->result);
        put(m, mo, seq, sizeof(seq), op->val, op->val_len);
        mo->last = op->result;
        break;
    case STORE_REPLACE:
        if (at(mo, lower_bound(mo, op->key, op->key_len), op->key, op->key_len))
            put(m, mo, op->key, op->key_len, op->val, op->val_len);
        break;
    case STORE_DEL:
        i = lower_bound(mo, op->key, op->key_len);
        if (at(mo, i, op->key, op->key_len))
            remember(m, mo, take_row(mo, i), true);
        break;
    case STORE_DEL_ALL:
        while (mo->count > 0)
            remember(m, mo, take_row(mo, mo->count - 1), true);
        break;
    }
    return 0;
}

static void finish(struct mem *m)
{
    for (size_t i = 0; i < m->undos; i++)
        gr_free(m->undo[i].row.bytes);
    m->undos = 0;
    pthread_rwlock_unlock(&m->lock);
}

static int mem_commit(struct engine *e)
{
    finish(GR_CONTAINER_OF(e, struct mem, base));
    return 0;
}

static void mem_abort(struct engine *e)
{
    struct mem *m = GR_CONTAINER_OF(e, struct mem, base);

    while (m->undos > 0) {
        struct undo *u = &m->undo[--m->undos];
        size_t i = lower_bound(u->owner, u->row.bytes, u->row.key_len);

        if (at(u->owner, i, u->row.bytes, u->row.key_len))
            gr_free(take_row(u->owner, i).bytes);
        if (u->had)
            insert(u->owner, i, u->row);
        else
            gr_free(u->row.bytes);
        u->owner->last = u->last;
    }
    finish(m);
}

static void read_range(const struct mem_owner *mo, const struct engine_query *q,
                       struct engine_answer *out)
{
    for (size_t i = lower_bound(mo, q->key, q->key_len); i < mo->count; i++) {
        const struct mem_row *row = &mo->row[i];

        if (out->rows.count == q->limit ||
            !rowset_add(&out->rows, row->bytes, row->key_len, row->bytes + row->key_len,
                        row->val_len)) {
            out->more = true;
            return;
        }
    }
}

static int read_back(const struct mem_owner *mo, const struct engine_query *q,
                     struct engine_answer *out)
{
    size_t i = q->key != NULL ? lower_bound(mo, q->key, q->key_len) : mo->count;

    while (i-- > 0) {
        const struct mem_row *row = &mo->row[i];

        if (row->key_len > CODEC_MAP_PREFIX)
            return GR_ENOTSUP;
        if (out->rows.count == q->limit ||
            !rowset_add(&out->rows, row->bytes, row->key_len, row->bytes + row->key_len,
                        row->val_len)) {
            out->more = true;
            break;
        }
    }
    return 0;
}

static void list_owners(const struct engine_query *q, struct engine_answer *out)
{
    const struct table *owners = &q->coll->owners;

    for (struct table_node *n = table_first(owners); n != NULL; n = table_after(owners, n)) {
        const struct mem_owner *mo = GR_CONTAINER_OF(n, struct mem_owner, node);
        size_t len = strlen(mo->owner);

        if (mo->count == 0 || !engine_of_domain(mo->owner, len, q->owner, q->owner_len))
            continue;
        if (out->rows.count == q->limit ||
            !rowset_add(&out->rows, mo->owner, len, mo->owner, len)) {
            out->more = true;
            return;
        }
    }
}

static int mem_read(struct engine *e, int reader, const struct engine_query *q,
                    struct engine_answer *out)
{
    struct mem *m = GR_CONTAINER_OF(e, struct mem, base);
    struct mem_owner *mo;
    int rc = 0;
    size_t i;

    (void)reader;
    pthread_rwlock_rdlock(&m->lock);
    if (q->what == ENGINE_OWNERS) {
        list_owners(q, out);
        pthread_rwlock_unlock(&m->lock);
        return 0;
    }
    mo = find(q->coll, q->owner, q->owner_len);
    if (q->what == ENGINE_GET) {
        i = mo != NULL ? lower_bound(mo, q->key, q->key_len) : 0;
        if (mo == NULL || !at(mo, i, q->key, q->key_len))
            rc = GR_ENOENT;
        else
            rowset_add(&out->rows, mo->row[i].bytes, mo->row[i].key_len,
                       mo->row[i].bytes + mo->row[i].key_len, mo->row[i].val_len);
    } else if (mo != NULL && q->what == ENGINE_RANGE) {
        read_range(mo, q, out);
    } else if (mo != NULL && q->what == ENGINE_RANGE_BACK) {
        rc = read_back(mo, q, out);
    } else if (mo != NULL) {
        out->count = mo->count;
        out->last = mo->last;
        out->bytes = mo->bytes;
    }
    pthread_rwlock_unlock(&m->lock);
    return rc;
}

static int mem_coll_open(struct engine *e, struct store_coll *coll)
{
    (void)e;
    (void)coll;
    return 0;
}

static void mem_coll_close(struct engine *e, struct store_coll *coll)
{
    struct table_node *n;

    (void)e;
    while ((n = table_first(&coll->owners)) != NULL) {
        struct mem_owner *mo = GR_CONTAINER_OF(n, struct mem_owner, node);

        table_remove(&coll->owners, n);
        for (size_t i = 0; i < mo->count; i++)
            gr_free(mo->row[i].bytes);
        gr_free(mo->row);
        gr_free(mo->owner);
        gr_free(mo);
    }
    table_fini(&coll->owners);
}

static int mem_grow(struct engine *e, bool deletes)
{
    (void)e;
    (void)deletes;
    return GR_EFULL;
}

static int mem_backup(struct engine *e, const char *dir, char **why)
{
    (void)e;
    (void)dir;
    *why = gr_strdup("the memory engine keeps nothing that could be copied");
    return GR_ENOTSUP;
}

static uint64_t mem_used(struct engine *e)
{
    (void)e;
    return 0;
}

static void mem_idle(struct engine *e)
{
    (void)e;
}

static void mem_close(struct engine *e)
{
    struct mem *m = GR_CONTAINER_OF(e, struct mem, base);

    pthread_rwlock_destroy(&m->lock);
    gr_free(m->undo);
    gr_free(m);
}

static const struct engine_ops mem_ops = {
    .close = mem_close, .coll_open = mem_coll_open, .coll_close = mem_coll_close,
    .begin = mem_begin, .exists = mem_exists, .apply = mem_apply, .commit = mem_commit,
    .abort = mem_abort, .grow = mem_grow, .read = mem_read, .backup = mem_backup,
    .used = mem_used, .idle = mem_idle,
};

struct engine *engine_mem_open(void)
{
    struct mem *m = gr_alloc(sizeof(*m));
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&m->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    m->base.ops = &mem_ops;
    return &m->base;
}
