/* store/txn.c: gathering the operations of a transaction; on the loop that will commit it. */
#include "store/txn.h"

#include "store/codec.h"

#include <stdatomic.h>
#include <string.h>

enum { OWNERS_COMPARED = 16 };

struct store_txn *store_txn_new(void)
{
    struct store_txn *t = gr_alloc(sizeof(*t));

    t->op = t->op_few;
    t->ops_cap = TXN_OPS_FEW;
    t->owner = t->owner_few;
    t->owners_cap = TXN_OWNERS_FEW;
    t->frees = true;
    return t;
}

/* Twice as many, of which the first were in the transaction itself (`few`). */
static void *more(void *now, const void *few, size_t *cap, size_t size)
{
    void *bigger = gr_realloc(now != few ? now : NULL, *cap * 2 * size);

    if (now == few)
        memcpy(bigger, few, *cap * size);
    *cap *= 2;
    return bigger;
}

/* data NULL: room for it. */
static size_t keep(struct store_txn *t, const void *data, size_t len)
{
    size_t at = buf_len(&t->bytes);

    if (data != NULL)
        buf_append(&t->bytes, data, len);
    else
        buf_produced(&t->bytes, len);
    return at;
}

/* Index of the owner, added when it is not among the latest ones: a transaction that touches
 * hundreds (an import) may list one twice. */
static uint32_t owner_index(struct store_txn *t, const char *owner, size_t len)
{
    size_t i = t->owners, last = i > OWNERS_COMPARED ? i - OWNERS_COMPARED : 0;

    while (i-- > last) {
        if (t->owner[i].len == len && memcmp(txn_owner(t, i), owner, len) == 0)
            return (uint32_t)i;
    }
    if (t->owners == t->owners_cap)
        t->owner = more(t->owner, t->owner_few, &t->owners_cap, sizeof(*t->owner));
    t->owner[t->owners] = (struct txn_owner){ keep(t, owner, len + 1), (uint32_t)len, 0 };
    return (uint32_t)t->owners++;
}

static bool fits(const struct store_txn *t, size_t owner_len, size_t key_len, size_t val_len)
{
    return owner_len >= 1 && owner_len <= CODEC_OWNER_MAX && key_len <= CODEC_MAP_KEY_MAX &&
           val_len <= STORE_VAL_MAX && t->ops < TXN_OPS_MAX &&
           txn_size(t) + owner_len + key_len + val_len < TXN_BYTES_MAX;
}

void store_txn_add(struct store_txn *t, enum store_op op, struct store_coll *coll,
                   const char *owner, const void *key, size_t key_len, const void *val,
                   size_t val_len)
{
    size_t owner_len = strlen(owner);
    struct txn_op *o;

    if (coll->kind == GR_COLL_LOG)
        gr_assert(op != STORE_PUT && op != STORE_PUT_NEW);
    else
        gr_assert(op != STORE_APPEND && op != STORE_REPLACE);
    if (!fits(t, owner_len, key_len, val_len) ||
        (coll->kind == GR_COLL_LOG && (op == STORE_DEL || op == STORE_REPLACE) &&
         key_len != CODEC_ID)) {
        t->rc = GR_ELIMIT;
        return;
    }
    if (t->ops == t->ops_cap)
        t->op = more(t->op, t->op_few, &t->ops_cap, sizeof(*t->op));
    buf_reserve(&t->bytes, owner_len + 1 + key_len + val_len);
    o = &t->op[t->ops++];
    *o = (struct txn_op){ .op = op, .coll = coll, .owner = owner_index(t, owner, owner_len),
                          .key_len = (uint32_t)key_len, .val_len = (uint32_t)val_len,
                          .only_if = t->only_if };
    o->key = keep(t, key, key_len);
    o->val = keep(t, val, val_len);
    t->results += op == STORE_APPEND || op == STORE_ADD;
    if (op != STORE_DEL && op != STORE_DEL_ALL)
        t->frees = false;
}

void *store_txn_append_room(struct store_txn *t, struct store_coll *coll, const char *owner,
                            size_t val_len)
{
    size_t before = t->ops;

    store_txn_add(t, STORE_APPEND, coll, owner, NULL, 0, NULL, val_len);
    return t->ops > before ? t->bytes.mem + t->bytes.start + t->op[before].val : NULL;
}

void store_txn_append_max(struct store_txn *t, struct store_coll *coll, const char *owner,
                          const void *val, size_t val_len, struct log_max max)
{
    size_t before = t->ops;

    store_txn_add(t, STORE_APPEND, coll, owner, NULL, 0, val, val_len);
    if (t->ops > before)
        t->op[before].max = max;
}

void store_txn_add_to(struct store_txn *t, struct store_coll *coll, const char *owner,
                      const void *key, size_t key_len, int64_t n)
{
    uint8_t val[CODEC_ID];

    codec_u64(val, (uint64_t)n);
    store_txn_add(t, STORE_ADD, coll, owner, key, key_len, val, sizeof(val));
}

/* --- bonds and riders --- */

struct store_bond *store_bond_new(void)
{
    struct store_bond *b = gr_alloc(sizeof(*b));

    atomic_init(&b->refs, 1);
    return b;
}

struct store_bond *store_bond_ref(struct store_bond *b)
{
    if (b != NULL)
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void store_bond_release(struct store_bond **take)
{
    struct store_bond *b = *take;

    *take = NULL;
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        gr_free(b);
}

bool store_bond_broken(const struct store_bond *b)
{
    return b->broken;
}

static void bind(struct store_txn *t, struct store_bond *b, bool counts)
{
    struct txn_bond *last = t->bonds > 0 ? &t->bond[t->bonds - 1] : NULL;

    if (last != NULL && last->bond == b && last->counts == counts && last->only_if == t->only_if)
        return;
    if (t->bonds == t->bonds_cap) {
        t->bonds_cap = t->bonds_cap > 0 ? 2 * t->bonds_cap : 1;
        t->bond = gr_realloc(t->bond, t->bonds_cap * sizeof(*t->bond));
    }
    t->bond[t->bonds++] = (struct txn_bond){ store_bond_ref(b), t->only_if, counts };
}

void store_txn_for(struct store_txn *t, struct store_bond *b)
{
    bind(t, b, true);
}

void store_txn_if(struct store_txn *t, struct store_bond *b)
{
    if (b != NULL)
        bind(t, b, false);
    t->only_if = b;
}

void txn_fail(struct store_txn *t, int rc)
{
    t->rc = rc;
    for (size_t i = 0; i < t->bonds && rc != 0; i++)
        if (t->bond[i].counts)
            t->bond[i].bond->broken = true;
}

void txn_happens(struct store_txn *t)
{
    for (size_t i = 0; i < t->bonds; i++)
        if (t->bond[i].counts && t->bond[i].only_if != NULL && t->bond[i].only_if->broken)
            t->bond[i].bond->broken = true;
}

void store_txn_ride(struct store_txn *t, struct store_rider *r)
{
    r->next = t->riders;
    t->riders = r;
}

void txn_dismount(struct store_rider **take)
{
    struct store_rider *r = *take, *next;

    *take = NULL;
    for (; r != NULL; r = next) {
        next = r->next;
        r->decided(r);
    }
}

bool store_txn_empty(const struct store_txn *t)
{
    return t->ops == 0 && t->rc == 0;
}

size_t txn_size(const struct store_txn *t)
{
    return sizeof(*t) + t->ops * sizeof(*t->op) + t->owners * sizeof(*t->owner) +
           buf_len(&t->bytes);
}

struct engine_op txn_engine_op(const struct store_txn *t, size_t i)
{
    const struct txn_op *o = &t->op[i];
    const char *bytes = buf_data(&t->bytes);

    return (struct engine_op){
        .op = o->op, .coll = o->coll,
        .owner = txn_owner(t, o->owner), .owner_len = t->owner[o->owner].len,
        .owner_hash = t->owner[o->owner].hash,
        .key = bytes + o->key, .key_len = o->key_len,
        .val = bytes + o->val, .val_len = o->val_len, .max = o->max,
    };
}

void txn_rows(struct store_txn *t, struct gr_row *out)
{
    for (size_t i = 0; i < t->ops; i++) {
        struct txn_op *o = &t->op[i];
        bool key = o->op == STORE_APPEND;

        if (!key && o->op != STORE_ADD)
            continue;
        codec_u64(o->number, o->result);
        *out++ = (struct gr_row){ .key = o->number, .key_len = key ? CODEC_ID : 0,
                                  .val = o->number, .val_len = key ? 0 : CODEC_ID };
    }
}

void store_txn_free(struct store_txn **take)
{
    struct store_txn *t = *take;

    if (t == NULL)
        return;
    txn_dismount(&t->riders);
    for (size_t i = 0; i < t->bonds; i++)
        store_bond_release(&t->bond[i].bond);
    gr_free(t->bond);
    if (t->op != t->op_few)
        gr_free(t->op);
    if (t->owner != t->owner_few)
        gr_free(t->owner);
    buf_fini(&t->bytes);
    gr_free(t);
    *take = NULL;
}

uint64_t gr_row_seq(const struct gr_row *row)
{
    gr_assert(row->key_len == CODEC_ID);
    return codec_get_u64(row->key);
}

int64_t gr_row_counter(const struct gr_row *row)
{
    gr_assert(row->val_len == CODEC_ID);
    return (int64_t)codec_get_u64(row->val);
}
