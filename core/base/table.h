/* base/table.h: intrusive hash table keyed by bytes; keyed hash (SipHash-1-3), since peers choose
 * the keys. Single-threaded per table; zeroed is empty. Grows and shrinks; iteration order is
 * unspecified, but not changed by inserting or removing other nodes meanwhile. */
#pragma once

#include <grapnel/base.h>

struct table_node {
    struct table_node *next;
    uint64_t hash;
    const void *key; /* owned by whoever embeds the node */
    size_t len;
};
struct table {
    struct table_node **slots;
    size_t count, mask;
};

/* SipHash-1-3 with a key drawn once per process. Any thread. */
uint64_t hash_bytes(const void *data, size_t len);
/* For tests that need the same homes every time, and for nothing else. */
void hash_set_key(const uint8_t key[16]);

void table_fini(struct table *t); /* frees the slots, not the nodes */
struct table_node *table_find(const struct table *t, const void *key, size_t len);
struct table_node *table_find_str(const struct table *t, const char *key);
/* The key must not be present (asserted) and must stay valid while the node is in. */
void table_insert(struct table *t, struct table_node *n, const void *key, size_t len);
/* The same two with the hash at hand: hash_bytes of the key, or, where no peer chooses the keys, any
 * that spreads over the upper bits. One table, one kind of hash. */
struct table_node *table_find_hashed(const struct table *t, uint64_t hash, const void *key,
                                     size_t len);
void table_insert_hashed(struct table *t, struct table_node *n, uint64_t hash, const void *key,
                         size_t len);
void table_remove(struct table *t, struct table_node *n);
/* for (n = table_first(t); n != NULL; n = table_after(t, n)); removing the current node inside the
 * loop: fetch the next one before. */
struct table_node *table_first(const struct table *t);
struct table_node *table_after(const struct table *t, const struct table_node *n);
/* The first one in that order whose hash is not below `hash`: to go on later, whatever has come and
 * gone meanwhile. */
struct table_node *table_from(const struct table *t, uint64_t hash);
