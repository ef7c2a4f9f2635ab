/* mod_caps/cache.c: what hashes stand for. Only what was verified, or belongs to one address, is kept;
 * of each the features. The least recently used goes first; who holds it then knows the hash only. */
#include "caps.h"

#include <stdlib.h>
#include <string.h>

/* --- one --- */

struct caps *caps_new(struct cache *c, const char *key)
{
    struct caps *caps = gr_alloc(sizeof(*caps) + strlen(key) + 1);

    caps->refs = 1;
    caps->cache = c;
    strcpy(caps->key, key);
    return caps;
}

struct caps *caps_ref(struct caps *caps)
{
    if (caps != NULL)
        caps->refs++;
    return caps;
}

void caps_unref(struct caps **take)
{
    struct caps *caps = *take;

    *take = NULL;
    if (caps == NULL || --caps->refs > 0)
        return;
    gr_free(caps->features);
    gr_free(caps);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool caps_learn(struct caps *caps, const struct gr_el *query)
{
    const struct gr_el *el;
    size_t n = 0, bytes = 0;
    char *text;

    for (el = gr_el_child(query, NS_INFO, "feature"); el != NULL;
         el = gr_el_next(el, NS_INFO, "feature")) {
        const char *var = gr_el_attr(el, "var");
        n += var != NULL;
        bytes += var != NULL ? strlen(var) + 1 : 0;
    }
    if (n > FEATURES_MAX || bytes > FEATURES_BYTES_MAX)
        return false;
    caps->features = gr_alloc((n + 1) * sizeof(char *) + bytes);
    text = (char *)&caps->features[n + 1];
    for (el = gr_el_child(query, NS_INFO, "feature"); el != NULL;
         el = gr_el_next(el, NS_INFO, "feature")) {
        const char *var = gr_el_attr(el, "var");

        if (var == NULL)
            continue;
        caps->features[caps->count++] = strcpy(text, var);
        text += strlen(var) + 1;
    }
    qsort(caps->features, caps->count, sizeof(char *), by_text);
    return true;
}

/* --- the cache --- */

void cache_init(struct cache *c, size_t size)
{
    size_t buckets = 16;

    while (buckets < size)
        buckets *= 2;
    c->buckets = gr_alloc(buckets * sizeof(struct caps *));
    c->mask = buckets - 1;
    c->size = size;
    gr_random(&c->seed, sizeof(c->seed));
}

/* Seeded, so that nobody can choose hashes that meet in one bucket. */
static uint64_t key_hash(const struct cache *c, const char *key)
{
    uint64_t hash = c->seed;

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static void take_out(struct caps *caps)
{
    struct cache *c = caps->cache;
    struct caps **at = &c->buckets[caps->hash & c->mask];

    while (*at != caps)
        at = &(*at)->next;
    *at = caps->next;
    *(caps->newer != NULL ? &caps->newer->older : &c->newest) = caps->older;
    *(caps->older != NULL ? &caps->older->newer : &c->oldest) = caps->newer;
    caps->cached = false;
    c->count--;
}

static void put_in(struct cache *c, struct caps *caps)
{
    struct caps **at;

    caps->hash = key_hash(c, caps->key);
    at = &c->buckets[caps->hash & c->mask];
    caps->next = *at;
    *at = caps;
    caps->newer = NULL;
    caps->older = c->newest;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = caps;
    c->newest = caps;
    caps->cached = true;
    c->count++;
}

static void forget(struct caps *caps)
{
    take_out(caps);
    gr_free(caps->features);
    caps->features = NULL;
    caps->count = 0;
    caps_unref(&caps);
}

static void used(struct caps *caps)
{
    if (!caps->cached || caps->cache->newest == caps)
        return;
    take_out(caps);
    put_in(caps->cache, caps);
}

static struct caps *look(const struct cache *c, const char *key)
{
    struct caps *caps = c->buckets[key_hash(c, key) & c->mask];

    while (caps != NULL && strcmp(caps->key, key) != 0)
        caps = caps->next;
    return caps;
}

struct caps *cache_find(struct cache *c, const char *key)
{
    struct caps *caps = look(c, key);

    if (caps != NULL)
        used(caps);
    return caps;
}

void cache_keep(struct caps *caps)
{
    struct cache *c = caps->cache;
    struct caps *other = look(c, caps->key);

    if (other == caps)
        return;
    if (other != NULL)
        forget(other);
    if (c->count >= c->size)
        forget(c->oldest);
    put_in(c, caps_ref(caps));
}

void cache_move(struct caps *caps, struct cache *to)
{
    if (caps->cache == to)
        return;
    if (caps->cached) {
        take_out(caps);
        caps->cache = to;
        cache_keep(caps);
        caps_unref(&(struct caps *){ caps }); /* the old one's */
    }
    caps->cache = to;
}

void cache_fini(struct cache *c)
{
    while (c->newest != NULL)
        forget(c->newest);
    gr_free(c->buckets);
}

bool caps_has(struct caps *caps, const char *feature)
{
    if (caps == NULL || caps->features == NULL)
        return false;
    used(caps);
    return bsearch(&feature, caps->features, caps->count, sizeof(char *), by_text) != NULL;
}
