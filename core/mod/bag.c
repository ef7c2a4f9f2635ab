/* mod/bag.c: named values across a reload; see bag.h. */
#include "mod/bag.h"

#include <string.h>

enum bag_kind { BAG_U64, BAG_STR, BAG_BLOB };
struct bag_entry {
    struct bag_entry *next;
    const char *key;
    enum bag_kind kind;
    uint64_t u64;
    const void *data;
    size_t len;
};

static struct bag_entry *find(const struct gr_bag *bag, const char *key)
{
    struct bag_entry *e = bag->first;

    while (e != NULL && strcmp(e->key, key) != 0)
        e = e->next;
    return e;
}

/* A key given twice has the later value. */
static struct bag_entry *put(struct gr_bag *bag, const char *key, enum bag_kind kind)
{
    struct bag_entry *e = find(bag, key);

    if (e == NULL) {
        e = arena_alloc(&bag->mem, sizeof(*e));
        e->next = bag->first;
        e->key = arena_strdup(&bag->mem, key);
        bag->first = e;
    }
    e->kind = kind;
    return e;
}

void gr_bag_put_u64(struct gr_bag *bag, const char *key, uint64_t v)
{
    put(bag, key, BAG_U64)->u64 = v;
}

void gr_bag_put_str(struct gr_bag *bag, const char *key, const char *v)
{
    struct bag_entry *e = put(bag, key, BAG_STR);

    e->data = v != NULL ? arena_strdup(&bag->mem, v) : NULL;
}

void gr_bag_put_blob(struct gr_bag *bag, const char *key, const void *v, size_t len)
{
    struct bag_entry *e = put(bag, key, BAG_BLOB);
    void *copy = arena_alloc(&bag->mem, len + 1);

    if (len > 0)
        memcpy(copy, v, len);
    e->data = copy;
    e->len = len;
}

uint64_t gr_bag_u64(const struct gr_bag *bag, const char *key, uint64_t otherwise)
{
    const struct bag_entry *e = find(bag, key);

    return e != NULL && e->kind == BAG_U64 ? e->u64 : otherwise;
}

const char *gr_bag_str(const struct gr_bag *bag, const char *key)
{
    const struct bag_entry *e = find(bag, key);

    return e != NULL && e->kind == BAG_STR ? e->data : NULL;
}

const void *gr_bag_blob(const struct gr_bag *bag, const char *key, size_t *len)
{
    const struct bag_entry *e = find(bag, key);
    bool there = e != NULL && e->kind == BAG_BLOB;

    if (len != NULL)
        *len = there ? e->len : 0;
    return there ? e->data : NULL;
}

void bag_fini(struct gr_bag *bag)
{
    arena_fini(&bag->mem);
    bag->first = NULL;
}
