/* mod_presence/directed.c: the entities to which a session has sent directed presence (RFC 6121,
 * 4.6): told when the session becomes unavailable, and allowed to probe it. A plain array in a
 * session slot: it is short, and the JID's hash makes looking through it cheap. */
#include "presence.h"

#include <string.h>

static void release(void *data)
{
    directed_clear(data);
}

/* Over a restart: addresses, each with its NUL. */
static void *persist(const void *data, size_t *len)
{
    const struct directed *d = data;
    char *out = NULL;

    *len = 0;
    for (unsigned i = 0; i < d->count; i++) {
        size_t n = strlen(d->jid[i]->full) + 1;
        out = gr_realloc(out, *len + n);
        memcpy(out + *len, d->jid[i]->full, n);
        *len += n;
    }
    return out;
}

static int revive(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes, size_t len)
{
    const char *at = bytes, *end = at + len;
    struct gr_jid *jid;

    (void)self, (void)s;
    if (len == 0 || end[-1] != '\0')
        return GR_EINVAL;
    for (; at < end; at += strlen(at) + 1) {
        if (gr_jid_parse(at, strlen(at), &jid) != 0)
            continue;
        directed_add(data, jid);
        gr_jid_free(&jid);
    }
    return 0;
}

const struct gr_slot directed_slot = { .name = "directed", .version = 1,
                                       .size = sizeof(struct directed), .release = release,
                                       .persist = persist, .revive = revive };

bool directed_add(struct directed *d, const struct gr_jid *jid)
{
    for (unsigned i = 0; i < d->count; i++)
        if (gr_jid_equal(d->jid[i], jid))
            return true;
    if (d->count >= DIRECTED_MAX)
        return false;
    if (d->count == d->cap) {
        d->cap = d->cap > 0 ? 2 * d->cap : 4;
        d->jid = gr_realloc(d->jid, d->cap * sizeof(struct gr_jid *));
    }
    d->jid[d->count++] = gr_jid_dup(jid);
    return true;
}

static void drop(struct directed *d, unsigned i)
{
    gr_jid_free(&d->jid[i]);
    d->jid[i] = d->jid[--d->count];
    if (d->count == 0)
        directed_clear(d);
}

void directed_remove(struct directed *d, const struct gr_jid *jid)
{
    for (unsigned i = d->count; i-- > 0;)
        if (gr_jid_equal(d->jid[i], jid)) {
            drop(d, i);
            return;
        }
}

void directed_gone(struct directed *d, const struct gr_jid *jid)
{
    for (unsigned i = d->count; i-- > 0;)
        if (gr_jid_is_bare(jid) ? gr_jid_bare_equal(d->jid[i], jid) : gr_jid_equal(d->jid[i], jid))
            drop(d, i);
}

bool directed_has(const struct directed *d, const struct gr_jid *jid)
{
    for (unsigned i = 0; i < d->count; i++)
        if (gr_jid_bare_equal(d->jid[i], jid) &&
            (gr_jid_is_bare(d->jid[i]) || gr_jid_equal(d->jid[i], jid)))
            return true;
    return false;
}

void directed_clear(struct directed *d)
{
    for (unsigned i = 0; i < d->count; i++)
        gr_jid_free(&d->jid[i]);
    gr_free(d->jid);
    *d = (struct directed){ 0 };
}
