/* mod_smart_markers/keep.c: writing markers, and taking them away: with their sender, with their room,
 * with the membership in it, or because the sender has too many.
 *
 * The rows of an account are counted when it sends its first marker, and over-counted from then on (a
 * marker that replaces another one is one more). At the limit they are looked through; when there
 * really are as many, the oldest ones leave, an eighth at once, so that this happens rarely. */
#include <stdlib.h>

#include <grapnel/log.h>

#include "../removed.h"
#include "markers.h"

struct marker_count {
    bool known, trimming;
    int64_t n;
};
static const struct gr_slot count_slot = GR_SLOT(struct marker_count, 1, NULL);
const struct gr_slot *const slots[] = { &removed_slot, &count_slot, NULL };

static struct marker_count *count_of(struct gr_mod *self, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);

    return a != NULL ? gr_account_slot(self, a, &count_slot) : NULL;
}

/* --- too many --- */

struct old {
    int64_t time_us;
    char *thread, *with; /* one allocation: thread */
    enum marker_type type;
    bool room;
};
struct trim {
    struct gr_jid *owner;
    struct old *old;
    size_t n, size;
};

static int by_time(const void *a, const void *b)
{
    const struct old *x = a, *y = b;

    return (x->time_us > y->time_us) - (x->time_us < y->time_us);
}

static void trim_free(struct trim *t)
{
    for (size_t i = 0; i < t->n; i++)
        gr_free(t->old[i].thread);
    gr_free(t->old);
    gr_jid_free(&t->owner);
    gr_free(t);
}

static void delete_marker(struct gr_txn *t, const char *owner, const char *thread, const char *with,
                          enum marker_type type)
{
    struct key key;

    if (key_make(&key, thread, with, type))
        gr_txn_del(t, MARKERS, owner, key.text, key.len);
}

/* A row of the sender, and that of the room. */
static void delete_both(struct gr_txn *t, const char *owner, const struct old *o)
{
    delete_marker(t, owner, o->thread, o->with, o->type);
    if (o->room)
        delete_marker(t, o->with, o->thread, owner, o->type);
}

static void trim_end(struct gr_mod *self, struct trim *t, bool good)
{
    const struct markers_conf *conf = gr_conf(self);
    struct marker_count *count = count_of(self, t->owner);
    size_t keep = (size_t)(conf->limit - conf->limit / 8), gone = 0;

    if (good && t->n > (size_t)conf->limit) {
        struct gr_txn *txn = gr_txn_new(self);

        qsort(t->old, t->n, sizeof(*t->old), by_time);
        for (gone = 0; gone < t->n - keep; gone++)
            delete_both(txn, t->owner->bare, &t->old[gone]);
        gr_txn_commit(txn, NULL);
    }
    if (count != NULL) {
        count->trimming = false;
        count->n = good ? (int64_t)(t->n - gone) : count->n;
    }
    trim_free(t);
}

static void on_old(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct trim *t = *(struct trim **)gr_req_data(req);
    struct gr_req *more;

    if (t->n + rows->count > t->size) {
        t->size = 2 * (t->n + rows->count);
        t->old = gr_realloc(t->old, t->size * sizeof(*t->old));
    }
    for (size_t i = 0; i < rows->count; i++) {
        struct marker m;
        char *hold;

        if (marker_read(&m, &rows->row[i], &hold) == 0)
            t->old[t->n++] = (struct old){ m.time_us, hold, hold + (m.with - m.thread), m.type,
                                           m.room };
    }
    if (!rows->more || rows->count == 0) {
        trim_end(self, t, rows->rc == 0);
        return;
    }
    more = gr_req_new(self, sizeof(t), on_old);
    *(struct trim **)gr_req_data(more) = t;
    read_behind(more, t->owner->bare, &rows->row[rows->count - 1]);
}

static void trim(struct gr_mod *self, const struct gr_jid *owner, struct marker_count *count)
{
    struct trim *t = gr_alloc(sizeof(*t));
    struct gr_req *req = gr_req_new(self, sizeof(t), on_old);

    count->trimming = true;
    t->owner = gr_jid_dup_bare(owner);
    *(struct trim **)gr_req_data(req) = t;
    read_behind(req, t->owner->bare, NULL);
}

struct counting {
    struct gr_jid *owner;
};

static void on_counted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_jid *owner = ((struct counting *)gr_req_data(req))->owner;
    struct marker_count *count = count_of(self, owner);

    if (count != NULL)
        count->n += (int64_t)rows->count;
    gr_jid_free(&owner);
}

/* One more. */
static void count_one(struct gr_mod *self, const struct gr_jid *owner)
{
    const struct markers_conf *conf = gr_conf(self);
    struct marker_count *count = count_of(self, owner);
    struct gr_req *req;

    if (count == NULL)
        return;
    if (!count->known) {
        count->known = true;
        req = gr_req_new(self, sizeof(struct counting), on_counted);
        ((struct counting *)gr_req_data(req))->owner = gr_jid_dup_bare(owner);
        gr_store_count(req, MARKERS, owner->bare);
    }
    if (++count->n > conf->limit && !count->trimming)
        trim(self, owner, count);
}

/* --- keeping --- */

static void on_kept(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    if (rows->rc != 0)
        gr_warn("smart_markers.not_kept", "a marker could not be kept: %s", gr_strerror(rows->rc));
    gr_receipt_give(gr_req_data(req));
}

void keep_marker(struct gr_mod *self, const struct gr_jid *owner, const struct marker *m,
                 struct gr_receipt *take)
{
    uint8_t row[ROW_MAX];
    size_t len = marker_write(m, row, sizeof(row));
    struct key own, rooms;
    struct gr_req *req;
    struct gr_txn *t;

    if (len == 0 || !key_make(&own, m->thread, m->with, m->type) ||
        !key_make(&rooms, m->thread, owner->bare, m->type) || account_removed(self, owner)) {
        gr_receipt_give(&take);
        return;
    }
    t = gr_txn_new(self);
    gr_txn_put(t, MARKERS, owner->bare, own.text, own.len, row, len);
    if (m->room)
        gr_txn_put(t, MARKERS, m->with, rooms.text, rooms.len, row, len);
    req = gr_req_new(self, sizeof(struct gr_receipt *), on_kept);
    *(struct gr_receipt **)gr_req_data(req) = take;
    gr_txn_commit(t, req);
    count_one(self, owner);
}

/* --- the sender goes --- */

struct leaving {
    struct gr_hold *hold;
    struct gr_jid *owner;
};

static void left(struct leaving *l, int rc)
{
    if (l->hold != NULL)
        gr_resume(l->hold, rc == 0 ? GR_OK : GR_FAIL);
    gr_jid_free(&l->owner);
}

static void on_all_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    left(gr_req_data(req), rows->rc);
}

/* Only the rooms' rows have to be looked for. */
static void on_leaving(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct leaving *l = gr_req_data(req);
    bool more = rows->more && rows->count > 0;
    struct gr_txn *t = gr_txn_new(self);
    struct gr_req *next = gr_req_new(self, sizeof(*l), more ? on_leaving : on_all_gone);

    for (size_t i = 0; i < rows->count; i++) {
        struct marker m;
        char *hold;

        if (marker_read(&m, &rows->row[i], &hold) != 0)
            continue;
        if (m.room)
            delete_marker(t, m.with, m.thread, l->owner->bare, m.type);
        gr_free(hold);
    }
    *(struct leaving *)gr_req_data(next) = *l;
    if (more) {
        gr_txn_commit(t, NULL);
        read_behind(next, l->owner->bare, &rows->row[rows->count - 1]);
        return;
    }
    gr_txn_del_all(t, MARKERS, l->owner->bare);
    gr_txn_commit(t, next);
}

void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    account_on_register(self, ev);
}

enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct leaving), on_leaving);

    account_note_removed(self, ev->jid, true);
    *(struct leaving *)gr_req_data(req) = (struct leaving){ hold, gr_jid_dup_bare(ev->jid) };
    read_behind(req, ev->jid->bare, NULL);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* --- the room goes, or somebody leaves it --- */

static void on_room_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(*(struct gr_hold **)gr_req_data(req), rows->rc == 0 ? GR_OK : GR_FAIL);
}

enum gr_verdict on_forget_room(struct gr_mod *self, struct gr_room_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;
    struct gr_txn *t;

    if (hold == NULL)
        return GR_FAIL;
    t = gr_txn_new(self);
    gr_txn_del_all(t, MARKERS, ev->room->bare);
    req = gr_req_new(self, sizeof(hold), on_room_gone);
    *(struct gr_hold **)gr_req_data(req) = hold;
    gr_txn_commit(t, req);
    return GR_PENDING;
}

struct expelled {
    struct gr_jid *room, *user;
};

static void on_members(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct expelled *x = gr_req_data(req);
    struct gr_txn *t = gr_txn_new(self);
    struct gr_req *more;

    for (size_t i = 0; i < rows->count; i++) {
        struct marker m;
        char *hold;

        if (marker_read(&m, &rows->row[i], &hold) != 0)
            continue;
        if (strcmp(m.with, x->user->bare) == 0)
            gr_txn_del(t, MARKERS, x->room->bare, rows->row[i].key, rows->row[i].key_len);
        gr_free(hold);
    }
    gr_txn_commit(t, NULL);
    if (rows->more && rows->count > 0) {
        more = gr_req_new(self, sizeof(*x), on_members);
        *(struct expelled *)gr_req_data(more) = *x;
        read_behind(more, x->room->bare, &rows->row[rows->count - 1]);
        return;
    }
    gr_jid_free(&x->room);
    gr_jid_free(&x->user);
}

enum gr_verdict on_affiliations(struct gr_mod *self, struct gr_room_ev *ev)
{
    for (size_t i = 0; i < ev->affiliate_count; i++) {
        const struct gr_affiliate *a = &ev->affiliates[i];
        struct gr_req *req;

        if (a->affiliation > GR_AFF_OUTCAST)
            continue;
        req = gr_req_new(self, sizeof(struct expelled), on_members);
        *(struct expelled *)gr_req_data(req) =
            (struct expelled){ gr_jid_dup_bare(ev->room), gr_jid_dup_bare(a->jid) };
        read_behind(req, ev->room->bare, NULL);
    }
    return GR_OK;
}
