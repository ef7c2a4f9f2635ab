/* base/table.c: intrusive hash table with a keyed hash.
 *
 * A slot is chosen by the top bits of the hash and a chain is sorted by hash, so the order of
 * iteration is the order of hashes and no resize changes it: inserting and removing while
 * iterating neither skips nor repeats a node that stays. SipHash (Aumasson, Bernstein) with one
 * compression and three finalisation rounds keeps strangers from choosing colliding keys. */
#include "base/table.h"

#include <pthread.h>
#include <string.h>

#define SLOTS_MIN 8

static uint64_t key0, key1;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static uint64_t load64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i]; /* compilers make this one load */
    return v;
}

static void use_key(const uint8_t key[16])
{
    key0 = load64(key);
    key1 = load64(key + 8);
}

static void draw_key(void)
{
    uint8_t key[16];

    gr_random(key, sizeof(key));
    use_key(key);
}

void hash_set_key(const uint8_t key[16])
{
    pthread_once(&key_once, draw_key); /* so that nobody draws over it later */
    use_key(key);
}

static inline uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

uint64_t hash_bytes(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t v[4], word;
    size_t left = len;

    pthread_once(&key_once, draw_key);
    v[0] = key0 ^ 0x736f6d6570736575u;
    v[1] = key1 ^ 0x646f72616e646f6du;
    v[2] = key0 ^ 0x6c7967656e657261u;
    v[3] = key1 ^ 0x7465646279746573u;
    for (; left >= 8; left -= 8, p += 8) {
        word = load64(p);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)p[i] << (8 * i);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* mask is 2^k - 1 and at least SLOTS_MIN - 1, so this is hash / 2^(64 - k). */
static inline size_t slot_of(const struct table *t, uint64_t hash)
{
    return (size_t)(hash >> __builtin_clzll(t->mask));
}

/* Relinks everything into `want` slots. The nodes come in order, so each goes to a tail. */
static void resize(struct table *t, size_t want)
{
    struct table_node *n = table_first(t), *after;
    struct table next = { .count = t->count, .mask = want - 1 };
    struct table_node **tail = NULL;
    size_t tail_slot = SIZE_MAX;

    next.slots = gr_alloc(want * sizeof(struct table_node *));
    for (; n != NULL; n = after) {
        size_t slot = slot_of(&next, n->hash);

        after = table_after(t, n);
        if (slot != tail_slot)
            tail = &next.slots[slot];
        tail_slot = slot;
        *tail = n; /* NOLINT: no slot is SIZE_MAX, so tail is set the first time */
        tail = &n->next;
        /* The old chain ran on through n->next; `after` was fetched before it is cut here. */
        n->next = NULL;
    }
    gr_free(t->slots);
    *t = next;
}

void table_fini(struct table *t)
{
    gr_free(t->slots);
    *t = (struct table){ .slots = NULL };
}

struct table_node *table_find_hashed(const struct table *t, uint64_t hash, const void *key,
                                     size_t len)
{
    if (t->count == 0)
        return NULL;
    for (struct table_node *n = t->slots[slot_of(t, hash)]; n != NULL; n = n->next) {
        if (n->hash > hash)
            break;
        if (n->hash == hash && n->len == len && (len == 0 || memcmp(n->key, key, len) == 0))
            return n;
    }
    return NULL;
}

struct table_node *table_find(const struct table *t, const void *key, size_t len)
{
    return t->count > 0 ? table_find_hashed(t, hash_bytes(key, len), key, len) : NULL;
}

struct table_node *table_find_str(const struct table *t, const char *key)
{
    return table_find(t, key, strlen(key));
}

void table_insert(struct table *t, struct table_node *n, const void *key, size_t len)
{
    table_insert_hashed(t, n, hash_bytes(key, len), key, len);
}

void table_insert_hashed(struct table *t, struct table_node *n, uint64_t hash, const void *key,
                         size_t len)
{
    struct table_node **at;

    if (t->slots == NULL)
        resize(t, SLOTS_MIN);
    else if (t->count > t->mask)
        resize(t, (t->mask + 1) * 2);
    n->hash = hash;
    n->key = key;
    n->len = len;
    for (at = &t->slots[slot_of(t, n->hash)]; *at != NULL; at = &(*at)->next) {
        if ((*at)->hash > n->hash)
            break;
        gr_assert((*at)->hash != n->hash || (*at)->len != len ||
                  (len > 0 && memcmp((*at)->key, key, len) != 0));
    }
    n->next = *at;
    *at = n;
    t->count++;
}

void table_remove(struct table *t, struct table_node *n)
{
    struct table_node **at;

    gr_assert(t->slots != NULL);
    for (at = &t->slots[slot_of(t, n->hash)]; *at != n; at = &(*at)->next)
        gr_assert(*at != NULL);
    *at = n->next;
    n->next = NULL;
    t->count--;
    /* Far below the growth point, so that a table around a size does not go to and fro. */
    if (t->mask >= SLOTS_MIN * 4 && t->count < (t->mask + 1) / 8)
        resize(t, (t->mask + 1) / 4);
}

static struct table_node *first_from(const struct table *t, size_t slot)
{
    for (; slot <= t->mask; slot++)
        if (t->slots[slot] != NULL)
            return t->slots[slot];
    return NULL;
}

struct table_node *table_first(const struct table *t)
{
    return t->count == 0 ? NULL : first_from(t, 0);
}

struct table_node *table_after(const struct table *t, const struct table_node *n)
{
    return n->next != NULL ? n->next : first_from(t, slot_of(t, n->hash) + 1);
}

struct table_node *table_from(const struct table *t, uint64_t hash)
{
    struct table_node *n = t->count > 0 ? first_from(t, slot_of(t, hash)) : NULL;

    while (n != NULL && n->hash < hash)
        n = table_after(t, n);
    return n;
}
