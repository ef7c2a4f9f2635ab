/* mod_roster/turn.c: what concerns one owner is done one after the other.
 *
 * A change reads, computes and writes; the store keeps a read behind the writes issued before
 * it, but two reads may be answered before either write is issued (reads can be put off
 * together). So the next operation of an owner starts only when the one before has been
 * committed and answered. Owners that have nothing under way are not in the table. On the
 * owner's home loop.
 *
 * The table is handed from the old to the new instance at a reload: the old one still has
 * operations under way and in line, and finishes them in its own code, in turn with those of the
 * new one. An operation keeps its instance alive until it is answered, so every run() in line
 * can be called. */
#include "roster.h"

#include <string.h>

enum { BUCKETS = 256, GONE_MAX = 100 };

struct lane {
    struct lane *next;
    struct lane **bucket;
    struct turn *head, **tail;
    bool pumping;
    enum turn_kind kind;
    struct gr_jid **gone;           /* NULL or GONE_MAX of them */
    unsigned gone_count;
    char owner[];
};
struct turns {
    unsigned refs;
    struct lane *lane[BUCKETS];
};

struct turns *turns_new(void)
{
    struct turns *ts = gr_alloc(sizeof(*ts));

    ts->refs = 1;
    return ts;
}

struct turns *turns_ref(struct turns *ts)
{
    ts->refs++;
    return ts;
}

static void lane_drop(struct lane *l)
{
    while (l->gone_count > 0)
        gr_jid_free(&l->gone[--l->gone_count]);
    gr_free(l->gone);
    gr_free(l);
}

/* The last instance is stopped after its last answer; what a shutdown cut off stays in line. */
void turns_unref(struct turns **take)
{
    struct turns *ts = *take;

    *take = NULL;
    if (ts == NULL || --ts->refs > 0)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (ts->lane[i] != NULL) {
            struct lane *l = ts->lane[i];

            ts->lane[i] = l->next;
            lane_drop(l);
        }
    }
    gr_free(ts);
}

static struct lane *lane_find(struct turns *ts, enum turn_kind kind, const struct gr_jid *owner)
{
    struct lane *l = ts->lane[owner->hash % BUCKETS];

    while (l != NULL && (l->kind != kind || strcmp(l->owner, owner->bare) != 0))
        l = l->next;
    return l;
}

static struct lane *lane_get(struct turns *ts, enum turn_kind kind, const struct gr_jid *owner)
{
    struct lane **bucket = &ts->lane[owner->hash % BUCKETS], *l = lane_find(ts, kind, owner);

    if (l != NULL)
        return l;
    l = gr_alloc(sizeof(*l) + owner->bare_len + 1u);
    l->kind = kind;
    memcpy(l->owner, owner->bare, owner->bare_len + 1u);
    l->bucket = bucket;
    l->tail = &l->head;
    l->next = *bucket;
    *bucket = l;
    return l;
}

static void lane_free(struct lane *l)
{
    struct lane **at = l->bucket;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    lane_drop(l);
}

/* A loop, not a recursion: a long line of turns that end at once must not eat the stack. */
static void pump(struct lane *l)
{
    l->pumping = true;
    while (l->head != NULL && !l->head->started) {
        l->head->started = true;
        l->head->run(l->head);
    }
    l->pumping = false;
    if (l->head == NULL)
        lane_free(l);
}

void turn_take(struct turns *ts, enum turn_kind kind, const struct gr_jid *owner, struct turn *t,
               void (*run)(struct turn *t))
{
    struct lane *l = lane_get(ts, kind, owner);

    *t = (struct turn){ .lane = l, .run = run };
    *l->tail = t;
    l->tail = &t->next;
    if (!l->pumping && l->head == t)
        pump(l);
}

void turn_leave(struct turn *t)
{
    struct lane *l = t->lane;

    gr_assert(l->head == t && t->started);
    l->head = t->next;
    if (l->head == NULL)
        l->tail = &l->head;
    if (!l->pumping)
        pump(l);
}

/* --- resources that went meanwhile --- */

void turn_note_gone(struct turns *ts, const struct gr_jid *bare, const struct gr_jid *full)
{
    struct lane *l = lane_find(ts, TURN_STORE, bare);

    if (l == NULL || l->gone_count == GONE_MAX)
        return;
    for (unsigned i = 0; i < l->gone_count; i++) {
        if (gr_jid_equal(l->gone[i], full))
            return;
    }
    if (l->gone == NULL)
        l->gone = gr_alloc(GONE_MAX * sizeof(struct gr_jid *));
    l->gone[l->gone_count++] = gr_jid_dup(full);
}

const struct gr_jid *turn_gone(struct turns *ts, const struct gr_jid *bare, unsigned i)
{
    const struct lane *l = lane_find(ts, TURN_STORE, bare);

    return l != NULL && i < l->gone_count ? l->gone[i] : NULL;
}
