/* mod_caps/caps.h: what the files of mod_caps share. Everything belongs to one loop. */
#pragma once

#include <grapnel/module.h>

#define NS_CAPS "http://jabber.org/protocol/caps"
#define NS_CAPS2 "urn:xmpp:caps"
#define NS_HASHES "urn:xmpp:hashes:2"
#define NS_INFO "http://jabber.org/protocol/disco#info"
#define NS_FORM "jabber:x:data"

enum {
    VALUE_SIZE = 4 * ((GR_HASH_MAX + 2) / 3) + 1, /* a hash in base64 */
    ALGO_MAX = 32, NODE_MAX = 1023,
    FEATURES_MAX = 1000, FEATURES_BYTES_MAX = 16384 /* of one answer, else it is not kept */
};

struct caps_conf {
    const char *const *versions;
    int64_t cache_size, iq_response_timeout;
};

/* What an entity says about itself in a presence: a hash, by XEP-0115 or XEP-0390. */
struct announced {
    bool v2;
    const char *node;  /* XEP-0115: of the software */
    const char *algo, *value;
};

/* --- hash.c --- */

/* Does the answer have the hash that was announced? lang: of what it came in; or NULL. */
bool hash_matches(const struct announced *a, const struct gr_el *query, const char *lang);
/* The hash of an answer in base64; false: it is ill-formed, or the function unknown. */
bool hash_of(bool v2, const char *algo, const struct gr_el *query, const char *lang,
             char out[VALUE_SIZE]);

/* --- cache.c: hashes and what they stand for, least recently used ones first out --- */

struct client;
struct cache;
/* Held by everybody who announces it. Features are there while it is in the cache. */
struct caps {
    unsigned refs;
    struct cache *cache;           /* where it belongs: of the instance in force */
    struct caps *next;             /* in its bucket */
    struct caps *newer, *older;    /* by last use */
    bool cached, asked, failed;    /* in the cache; asked for now; nobody gave the right answer */
    struct client *clients;        /* who waits for the answer */
    const char **features;         /* sorted, in one piece; NULL: not known */
    size_t count;
    uint64_t hash;
    char key[];
};
struct cache {
    struct caps **buckets;
    size_t mask, count, size;
    struct caps *newest, *oldest;
    uint64_t seed;
};
void cache_init(struct cache *c, size_t size);
void cache_fini(struct cache *c);
struct caps *cache_find(struct cache *c, const char *key); /* borrowed; NULL: not known */
/* Keeps what has become known, and forgets the one that was not used for the longest time. */
void cache_keep(struct caps *caps);
/* To another instance's, after a reload. */
void cache_move(struct caps *caps, struct cache *to);
struct caps *caps_new(struct cache *c, const char *key);
struct caps *caps_ref(struct caps *caps);   /* accepts NULL */
void caps_unref(struct caps **take);        /* accepts NULL in it */
/* The features of an answer; false: too many. */
bool caps_learn(struct caps *caps, const struct gr_el *query);
bool caps_has(struct caps *caps, const char *feature); /* accepts NULL; counts as a use */

/* --- ask.c: asking for what is not known --- */

struct ask;
struct asks {
    struct ask *first;
    unsigned count;
};
/* What jid announces now, instead of what it did before (or NULL; taken): known, or asked for. The
 * caller's; NULL: too many questions for now, the next announcement tries again. */
struct caps *learn(struct gr_mod *self, const struct announced *what, const struct gr_jid *jid,
                   struct caps *take_before);
void asks_stop(struct gr_mod *self);

/* --- own.c: what the host announces --- */

enum { OWN_SETS = 4 }; /* XEP-0390, 6.1: of at least the last three */

struct own_set {
    char ver[VALUE_SIZE], hash[2][VALUE_SIZE];
    struct gr_stanza *info;
};
struct own {
    struct own_set set[OWN_SETS]; /* newest first; info NULL: none */
    bool good;                    /* the first is of now */
    int64_t made_ms;
    uint64_t reloads;             /* when it was looked at */
};
enum gr_verdict own_features(struct gr_mod *self, struct gr_features_ev *ev);
enum gr_verdict own_identity(struct gr_mod *self, struct gr_disco_ev *ev);
enum gr_verdict own_disco_features(struct gr_mod *self, struct gr_disco_ev *ev);
enum gr_verdict own_forms(struct gr_mod *self, struct gr_disco_ev *ev);
void own_stop(struct own *own);

/* --- contacts.c: hashes of those whose presence an account gets --- */

extern const struct gr_slot contacts_slot;
enum gr_verdict contacts_presence(struct gr_mod *self, struct gr_stanza_ev *ev);
struct caps *contacts_find(struct gr_mod *self, const struct gr_account *a,
                           const struct gr_jid *full); /* borrowed, or NULL */
/* Adds those with that feature. */
void contacts_with(struct gr_mod *self, const struct gr_account *a, struct gr_caps_ev *ev);

/* --- mod_caps.c --- */

struct state {
    struct cache cache;
    struct asks asks;
    struct own own;
    bool v1, v2;
};
/* Of a session: what its client announced. */
struct client {
    struct caps *caps;
    bool told;                     /* caps_recognised was run for it */
    struct client *next, **at;     /* among those who wait; at NULL: does not */
    uint64_t session;
};
/* The first hash that we can check; false: none. */
bool announced_in(struct gr_mod *self, const struct gr_stanza *presence, struct announced *out);
/* Tells everybody who waits for it: it is known, or (no features) will not be. */
void tell_clients(struct gr_mod *self, struct caps *caps);
