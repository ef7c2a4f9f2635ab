/* Stored records that are anything: errors or valid rows, never a crash, never rows out of order.
 *
 * Input: (database, key form, key length, value length, key, value)*; these pairs are put under the
 * engine, which is then read and written through, and taken out again. The pairs also go straight
 * to the decoders. */
#include "fuzz.h"

#include "base/log.h"
#include "store/lmdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OWNER "o@x"
enum { PAIRS_MAX = 8 };

static const char *const dbs[] = { "meta", "owners", "map/m", "log/l" };
static struct engine *e;
static struct store_coll map = { .name = "m", .kind = GR_COLL_MAP };
static struct store_coll logc = { .name = "l", .kind = GR_COLL_LOG };
static char dir[] = "/tmp/grapnel-fuzz-XXXXXX";

struct pair {
    unsigned db;
    uint8_t key[CODEC_KEY_MAX];
    struct bytes k, v;
};

static void no_log(void *ctx, enum gr_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
}

static void clean(void)
{
    static const char *const files[] = { "data.mdb", "lock.mdb" };

    e->ops->close(e);
    for (size_t i = 0; i < GR_COUNT(files); i++) {
        char *path = gr_asprintf("%s/%s", dir, files[i]);

        unlink(path);
        gr_free(path);
    }
    rmdir(dir);
}

static void raw(unsigned db, struct bytes k, const struct bytes *v)
{
    lmdb_raw(e, dbs[db], k, v);
}

/* What every input starts from. */
static void restore(void)
{
    uint8_t key[CODEC_KEY_MAX], rec[64];
    size_t n = codec_owner_key(key, OWNER, strlen(OWNER));

    codec_owner(rec, 1, OWNER, strlen(OWNER));
    raw(1, (struct bytes){ key, n }, &(struct bytes){ rec, codec_owner_size(strlen(OWNER)) });
    codec_counter(rec, 2);
    raw(0, (struct bytes){ "next", 4 }, &(struct bytes){ rec, CODEC_COUNTER });
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char *why = NULL;

    (void)argc;
    (void)argv;
    log_set_sink(no_log, NULL);
    gr_assert(mkdtemp(dir) != NULL);
    gr_assert(engine_lmdb_open(&(struct store_opts){ .dir = dir, .map_size = 16 << 20 }, &e,
                               &why) == 0);
    gr_assert(e->ops->coll_open(e, &map) == 0 && e->ops->coll_open(e, &logc) == 0);
    restore();
    atexit(clean);
    return 0;
}

static void decode(const struct pair *p)
{
    struct bytes k, v;
    struct log_head head;
    uint64_t a;

    if (codec_get_map_row(p->k, p->v, &k, &v) == 0) { /* what is accepted is what we would write */
        uint8_t skey[CODEC_KEY_MAX];
        uint8_t *sval = gr_alloc(codec_row_size(k.len, v.len) + 1);
        size_t n = codec_map_key(skey, codec_get_u64(p->k.data), k.data, k.len);

        codec_row(sval, k.data, k.len, v.data, v.len);
        fuzz_same(skey, n, p->k.data, p->k.len);
        fuzz_same(sval, codec_row_size(k.len, v.len), p->v.data, p->v.len);
        gr_free(sval);
    }
    if (codec_get_log_row(p->k, p->v, &k, &v) == 0)
        gr_assert(k.len == CODEC_ID && v.len == p->v.len - 1);
    codec_get_owner(p->v, OWNER, strlen(OWNER), &a);
    codec_get_counter(p->v, &a);
    if (codec_get_log_head(p->v, &head) == 0)
        gr_assert(head.count <= head.last);
}

static void check(struct engine_query q)
{
    struct engine_answer a = { .count = 0 };
    int rc;

    q.owner = OWNER;
    q.owner_len = strlen(OWNER);
    q.limit = 5;
    rc = e->ops->read(e, 0, &q, &a);
    gr_assert(rc == 0 || rc == GR_EIO || (rc == GR_ENOENT && q.what == ENGINE_GET));
    gr_assert(a.rows.count <= q.limit);
    if (rc == 0)
        rowset_seal(&a.rows);
    for (size_t i = 0; rc == 0 && i + 1 < a.rows.count; i++) {
        const struct gr_row *x = &a.rows.row[i], *y = x + 1;
        size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
        int c = memcmp(x->key, y->key, n);

        gr_assert(c < 0 || (c == 0 && x->key_len < y->key_len));
    }
    rowset_fini(&a.rows);
}

static void read_all(const struct pair *p)
{
    const uint8_t *key = p->k.len > CODEC_ID ? p->key + CODEC_ID : (const uint8_t *)"";
    size_t len = p->k.len > CODEC_ID ? p->k.len - CODEC_ID : 0;
    uint8_t long_key[CODEC_KEY_MAX + 200] = { 0 };

    memcpy(long_key, key, len);
    check((struct engine_query){ .what = ENGINE_GET, .coll = &map, .key = key, .key_len = len });
    check((struct engine_query){ .what = ENGINE_GET, .coll = &map, .key = long_key,
                                 .key_len = sizeof(long_key) });
    check((struct engine_query){ .what = ENGINE_RANGE, .coll = &map });
    check((struct engine_query){ .what = ENGINE_RANGE, .coll = &map, .key = key, .key_len = len });
    check((struct engine_query){ .what = ENGINE_COUNT, .coll = &map });
    check((struct engine_query){ .what = ENGINE_COUNT, .coll = &logc });
    check((struct engine_query){ .what = ENGINE_RANGE, .coll = &logc });
    check((struct engine_query){ .what = ENGINE_GET, .coll = &logc, .key = long_key,
                                 .key_len = CODEC_ID });
    check((struct engine_query){ .what = ENGINE_RANGE, .coll = &logc, .key = long_key,
                                 .key_len = CODEC_ID });
}

/* Every kind of write over what is there; taken back. */
static void write_all(const struct pair *p)
{
    static const enum store_op map_ops[] = { STORE_PUT_NEW, STORE_PUT, STORE_DEL, STORE_DEL_ALL };
    static const enum store_op log_ops[] = { STORE_APPEND, STORE_DEL, STORE_DEL_ALL };
    uint8_t key[CODEC_KEY_MAX + CODEC_ID] = { 0 };

    if (p->k.len > CODEC_ID)
        memcpy(key, p->key + CODEC_ID, p->k.len - CODEC_ID);
    for (int owner = 0; owner < 2; owner++) {
        struct engine_op op = { .owner = owner ? "new@x" : OWNER, .val = "v", .val_len = 1,
                                .key = key };
        int rc;

        op.owner_len = strlen(op.owner);
        gr_assert(e->ops->begin(e) == 0);
        for (size_t i = 0; i < GR_COUNT(map_ops); i++) {
            op.coll = &map;
            op.op = map_ops[i];
            op.key_len = p->k.len > CODEC_ID ? p->k.len - CODEC_ID : 0;
            rc = e->ops->exists(e, &op);
            gr_assert(rc == 0 || rc == 1 || rc == GR_EIO);
            rc = e->ops->apply(e, &op);
            gr_assert(rc == 0 || rc == GR_EIO || (rc == GR_EEXIST && op.op == STORE_PUT_NEW));
        }
        for (size_t i = 0; i < GR_COUNT(log_ops); i++) {
            op.coll = &logc;
            op.op = log_ops[i];
            op.key_len = CODEC_ID;
            rc = e->ops->apply(e, &op);
            gr_assert(rc == 0 || rc == GR_EIO);
        }
        e->ops->abort(e);
    }
}

/* Key forms: as given; behind the owner's id; one of the fixed keys; a long key made right. */
static size_t next_pair(struct pair *p, const uint8_t *data, size_t size)
{
    size_t klen, vlen, n;

    if (size < 4)
        return 0;
    p->db = data[0] % GR_COUNT(dbs);
    klen = data[2];
    vlen = data[3] * (data[0] & 0x80 ? 8u : 1u);
    n = 4 + klen + vlen;
    if (n > size)
        return 0;
    p->v = (struct bytes){ data + 4 + klen, vlen };
    p->k = (struct bytes){ p->key, klen };
    memset(p->key, 'k', sizeof(p->key));
    switch (data[1] % 4) {
    case 0:
        memcpy(p->key, data + 4, klen);
        break;
    case 1:
        codec_u64(p->key, 1);
        memcpy(p->key + CODEC_ID, data + 4, klen);
        p->k.len = CODEC_ID + klen;
        break;
    case 2:
        p->k.len = p->db == 0 ? 4 : codec_owner_key(p->key, OWNER, strlen(OWNER));
        if (p->db == 0)
            memcpy(p->key, "next", 4);
        break;
    default: /* the value is a long row; its key decides where it lies */
        if (vlen > 5 + CODEC_MAP_DIRECT)
            p->k.len = codec_map_key(p->key, 1, data + 4 + klen + 5,
                                     vlen - 5 < 600 ? vlen - 5 : 600);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pair pair[PAIRS_MAX];
    size_t n = 0, used;

    for (; n < PAIRS_MAX && (used = next_pair(&pair[n], data, size)) > 0; n++) {
        data += used;
        size -= used;
        decode(&pair[n]);
        raw(pair[n].db, pair[n].k, &pair[n].v);
    }
    for (size_t i = 0; i < n; i++) {
        read_all(&pair[i]);
        write_all(&pair[i]);
    }
    for (size_t i = 0; i < n; i++)
        raw(pair[i].db, pair[i].k, NULL);
    restore();
    return 0;
}
