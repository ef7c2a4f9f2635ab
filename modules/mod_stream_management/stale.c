/* mod_stream_management/stale.c: of sessions that ended, how much of what they had sent was handled: for
 * h in <failed/> (XEP-0198, 5), so that their clients know what to send again. A ring per loop and host;
 * of what it has forgotten, and after a restart, nothing is told. */
#include "sm.h"

#include <string.h>

#define STALE_MAX 4096

struct stale {
    uint8_t hash[HASH_SIZE];
    uint64_t account;            /* hash of the bare JID; 0: empty */
    uint32_t h;
};

void stale_add(struct state *st, const struct sm *sm, const struct gr_jid *jid, uint32_t h)
{
    struct stale *one;

    if (st->stale == NULL)
        st->stale = gr_alloc(STALE_MAX * sizeof(*st->stale));
    one = &st->stale[st->stale_next++ % STALE_MAX];
    memcpy(one->hash, sm->hash, HASH_SIZE);
    one->account = jid->hash;
    one->h = h;
}

bool stale_find(const struct state *st, const uint8_t hash[HASH_SIZE], const struct gr_jid *jid,
                uint32_t *h)
{
    for (unsigned i = 0; st->stale != NULL && i < STALE_MAX; i++) {
        const struct stale *one = &st->stale[i];

        if (one->account == jid->hash && gr_equal_secret(one->hash, hash, HASH_SIZE)) {
            *h = one->h;
            return true;
        }
    }
    return false;
}

void stale_save(const struct state *st, struct gr_bag *bag)
{
    if (st->stale != NULL)
        gr_bag_put_blob(bag, "stale", st->stale, STALE_MAX * sizeof(*st->stale));
    gr_bag_put_u64(bag, "stale_next", st->stale_next);
}

void stale_restore(struct state *st, const struct gr_bag *bag)
{
    size_t len;
    const void *bytes = gr_bag_blob(bag, "stale", &len);

    if (bytes == NULL || len != STALE_MAX * sizeof(*st->stale))
        return; /* of a version that kept them in another way: forgotten */
    st->stale = gr_alloc(len);
    memcpy(st->stale, bytes, len);
    st->stale_next = (unsigned)gr_bag_u64(bag, "stale_next", 0);
}

void stale_free(struct state *st)
{
    gr_free(st->stale);
    st->stale = NULL;
}
