/* mod_event_pusher/told.c: which devices were told of which messages lately. A message may wait for a
 * client more than once: its session loses the connection again, is given up and leaves it to another
 * one, or to the offline store. Each device is told of it once all the same.
 *
 * Kept with the account, as long as it has sessions. Messages without an id cannot be told apart. */
#include "pusher.h"

#include <string.h>

enum { TOLD_MAX = 2048 };        /* what a stream's queue has by default, counted, for one device */

struct told {                    /* of an account; a ring once it is full */
    uint64_t *mark;
    unsigned count, size, next;
};

static void release(void *data)
{
    struct told *t = data;

    gr_free(t->mark);
}

const struct gr_slot told_slot = GR_SLOT(struct told, 1, release);

/* FNV-1a. */
static uint64_t mix(uint64_t h, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(1099511628211);
    return h;
}

uint64_t told_mark(const struct gr_jid *from, const struct gr_stanza *st)
{
    const char *id = gr_stanza_id(st), *body = body_of(st);
    uint64_t h = mix(UINT64_C(14695981039346656037), from->full, from->full_len + 1u);

    return id != NULL ? mix(mix(h, id, strlen(id) + 1), body, strlen(body)) | 1 : 0;
}

static bool has(const struct told *t, uint64_t mark)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->mark[i] == mark)
            return true;
    return false;
}

static void add(struct told *t, uint64_t mark)
{
    if (t->count == t->size && t->size < TOLD_MAX) {
        t->size = t->size == 0 ? 16 : 2 * t->size;
        t->mark = gr_realloc(t->mark, t->size * sizeof(*t->mark));
    }
    if (t->count < t->size)
        t->count++;
    t->mark[t->next++ % TOLD_MAX] = mark;
}

static struct told *told_of(struct gr_mod *self, const struct gr_jid *user, uint64_t mark)
{
    struct gr_account *a = mark != 0 ? gr_account_find(self, user) : NULL;

    return a != NULL ? gr_account_slot(self, a, &told_slot) : NULL;
}

bool told_before(struct gr_mod *self, const struct gr_jid *user, uint64_t mark, const char *what,
                 size_t len)
{
    struct told *t = told_of(self, user, mark);
    uint64_t of = mix(mark, what, len);

    if (t == NULL || has(t, of))
        return t != NULL;
    add(t, of);
    return false;
}

/* A device has no such name. */
static const char kept[] = "kept";

void told_note_kept(struct gr_mod *self, const struct gr_jid *user, uint64_t mark)
{
    told_before(self, user, mark, kept, sizeof(kept));
}

bool told_is_kept(struct gr_mod *self, const struct gr_jid *user, uint64_t mark)
{
    const struct told *t = told_of(self, user, mark);

    return t != NULL && has(t, mix(mark, kept, sizeof(kept)));
}

bool told_count(struct gr_mod *self, const struct gr_jid *user, uint64_t mark)
{
    return !told_before(self, user, mark, "", 0);
}
