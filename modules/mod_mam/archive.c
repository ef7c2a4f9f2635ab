/* mod_mam/archive.c: what is known of an archive while it is in use: preferences, the latest
 * row, how much there is. Read from the store at its first use, kept up to date from then on
 * (this loop is the only one that writes), and dropped when others were used more lately. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

#define TRUST_MS GR_MINUTE

/* Somebody who needs an archive that is being read. */
struct waiting {
    struct waiting *next;
    archive_loaded_f f;
    void *ctx;
};

/* --- the table --- */

static struct archive **bucket(struct mam *m, const struct gr_jid *owner)
{
    return &m->bucket[owner->hash % ARCHIVE_BUCKETS];
}

static struct archive *find(struct mam *m, const struct gr_jid *owner)
{
    struct archive *a = *bucket(m, owner);

    while (a != NULL && !gr_jid_bare_equal(a->owner, owner))
        a = a->next;
    return a;
}

static void link_newest(struct mam *m, struct archive *a)
{
    a->newer = NULL;
    a->older = m->newest;
    *(m->newest != NULL ? &m->newest->newer : &m->oldest) = a;
    m->newest = a;
}

static void unlink_use(struct mam *m, struct archive *a)
{
    *(a->newer != NULL ? &a->newer->older : &m->newest) = a->older;
    *(a->older != NULL ? &a->older->newer : &m->oldest) = a->newer;
}

static void archive_free(struct archive *a)
{
    prefs_free(&a->prefs);
    gr_jid_free(&a->owner);
    gr_free(a);
}

/* Out of the table; gone as soon as nobody has to do with it. */
static void drop(struct mam *m, struct archive *a)
{
    struct archive **at = bucket(m, a->owner);

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    unlink_use(m, a);
    m->archives--;
    a->gone = true;
    if (a->pins == 0)
        archive_free(a);
}

static void make_room(struct mam *m)
{
    struct archive *a = m->oldest;

    while (m->archives >= ARCHIVES_MAX && a != NULL) {
        struct archive *newer = a->newer;

        if (a->pins == 0)
            drop(m, a);
        a = newer;
    }
}

static struct archive *add(struct mam *m, const struct gr_jid *owner)
{
    struct archive *a = gr_alloc(sizeof(*a)), **at = bucket(m, owner);

    make_room(m);
    a->owner = gr_jid_dup_bare(owner);
    a->number = contact_number(owner->bare, owner->bare_len) | 1;
    a->next = *at;
    *at = a;
    link_newest(m, a);
    m->archives++;
    return a;
}

void archive_unpin(struct gr_mod *self, struct archive *a)
{
    (void)self;
    if (--a->pins == 0 && a->gone)
        archive_free(a);
}

/* Nobody of the account is here, and what its absence would mean was asked some time ago: the
 * host's data may have been deleted since. */
static bool is_old(struct gr_mod *self, const struct archive *a)
{
    return a->pins == 0 && gr_now_ms() - a->read_ms > TRUST_MS &&
           gr_account_find(self, a->owner) == NULL;
}

struct archive *archive_find(struct gr_mod *self, const struct gr_jid *owner)
{
    struct mam *m = gr_state(self);
    struct archive *a = find(m, owner);

    if (a == NULL || !a->ready || a->stale || is_old(self, a))
        return NULL;
    if (a != m->newest) {
        unlink_use(m, a);
        link_newest(m, a);
    }
    return a;
}

void archive_forget(struct gr_mod *self, const struct gr_jid *owner)
{
    struct mam *m = gr_state(self);
    struct archive *a = find(m, owner);

    if (a == NULL)
        return;
    if (a->ready)
        drop(m, a);
    else
        a->stale = true;
}

void archives_forget(struct mam *m)
{
    struct archive *a, *older;

    for (a = m->newest; a != NULL; a = older) {
        older = a->older;
        if (a->ready)
            drop(m, a);
        else
            a->stale = true;
    }
}

void archives_free(struct mam *m)
{
    for (size_t i = 0; i < ARCHIVE_BUCKETS; i++)
        while (m->bucket[i] != NULL) {
            struct archive *a = m->bucket[i];

            m->bucket[i] = a->next;
            while (a->waiting != NULL) {
                struct waiting *w = a->waiting;

                a->waiting = w->next;
                gr_free(w->ctx);
                gr_free(w);
            }
            archive_free(a);
        }
}

/* --- reading it: preferences, the log's head, its last row, its first --- */

struct reading {
    struct archive *a;
};

static struct gr_req *request(struct gr_mod *self, struct archive *a, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct reading), done);

    ((struct reading *)gr_req_data(req))->a = a;
    return req;
}

/* Everybody who waits is told, in the order in which they came. */
static void finish(struct gr_mod *self, struct archive *a, int rc)
{
    struct waiting *w = a->waiting, *next;

    a->waiting = NULL;
    a->ready = true;
    a->read_ms = gr_now_ms();
    if (rc == 0 && a->stale) /* removed meanwhile */
        rc = GR_EAGAIN;
    else if (rc != 0)
        gr_error("mam.read", "the archive of %s cannot be read: %s", a->owner->bare,
                 gr_strerror(rc));
    for (; w != NULL; w = next) {
        next = w->next;
        w->f(self, rc == 0 ? a : NULL, rc, w->ctx);
        gr_free(w);
    }
    if ((rc != 0 || a->absent || a->stale) && !a->gone)
        drop(gr_state(self), a);
    archive_unpin(self, a);
}

static void on_first(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct archive *a = ((struct reading *)gr_req_data(req))->a;
    struct row r;

    if (rows->rc == 0 && rows->count > 0 && row_get(&r, rows->row) == 0)
        a->first_us = r.us;
    finish(self, a, rows->rc);
}

static void on_last(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct archive *a = ((struct reading *)gr_req_data(req))->a;
    struct row r;

    if (rows->rc != 0 || rows->count == 0) {
        finish(self, a, rows->rc);
        return;
    }
    if (row_get(&r, rows->row) == 0) {
        a->last_us = r.us;
    } else { /* what is sent from now on is kept all the same */
        gr_error("mam.damaged", "the latest message of %s is damaged", a->owner->bare);
        a->last_us = (uint64_t)gr_wall_us();
    }
    gr_store_range(request(self, a, on_first), MESSAGES, a->owner->bare, NULL, 0, 1);
}

static void on_exists(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *answer)
{
    struct archive *a = ((struct reading *)gr_ask_data(ask))->a;

    a->absent = answer->result == GR_R_NONE;
    finish(self, a, answer->result == GR_R_ERROR ? GR_EAGAIN : 0);
}

/* Nothing is kept for addresses that nobody has. */
static void ask_existence(struct gr_mod *self, struct archive *a)
{
    struct gr_ask *ask;

    if (gr_account_find(self, a->owner) != NULL) {
        finish(self, a, 0);
        return;
    }
    ask = gr_ask_new(self, sizeof(struct reading), on_exists);
    ((struct reading *)gr_ask_data(ask))->a = a;
    gr_auth_exists(self, ask, a->owner->node);
}

static void on_head(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct archive *a = ((struct reading *)gr_req_data(req))->a;

    a->last_seq = rows->last;
    a->bytes = rows->bytes;
    if (rows->rc != 0)
        finish(self, a, rows->rc);
    else if (rows->count == 0)
        ask_existence(self, a);
    else
        gr_store_range_back(request(self, a, on_last), MESSAGES, a->owner->bare, NULL, 0, 1);
}

/* As if they had never been set: an account must not stand still for them. */
static void forget_prefs(struct gr_mod *self, struct archive *a)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_error("mam.damaged", "the preferences of %s are damaged and thrown away", a->owner->bare);
    prefs_free(&a->prefs);
    a->prefs.mode = -1;
    gr_txn_del(t, PREFS, a->owner->bare, PREFS_KEY, sizeof(PREFS_KEY) - 1);
    gr_txn_commit(t, NULL);
}

static void on_prefs(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct archive *a = ((struct reading *)gr_req_data(req))->a;

    if (rows->rc == 0 && prefs_read(&a->prefs, rows->row->val, rows->row->val_len) != 0)
        forget_prefs(self, a);
    if (rows->rc != 0 && rows->rc != GR_ENOENT)
        finish(self, a, rows->rc);
    else
        gr_store_count(request(self, a, on_head), MESSAGES, a->owner->bare);
}

void archive_load(struct gr_mod *self, const struct gr_jid *owner, archive_loaded_f f, void *ctx)
{
    struct mam *m = gr_state(self);
    struct archive *a = archive_find(self, owner);
    struct waiting *w, **at;
    bool begun;

    if (a != NULL) {
        f(self, a, 0, ctx);
        return;
    }
    a = find(m, owner);
    if (a != NULL && a->ready) { /* stale, or old */
        drop(m, a);
        a = NULL;
    }
    begun = a != NULL;
    if (!begun) {
        a = add(m, owner);
        a->prefs.mode = -1;
        a->pins++;
    }
    w = gr_alloc(sizeof(*w));
    *w = (struct waiting){ .f = f, .ctx = ctx };
    for (at = &a->waiting; *at != NULL; at = &(*at)->next)
        ;
    *at = w;
    if (!begun)
        gr_store_get(request(self, a, on_prefs), PREFS, a->owner->bare, PREFS_KEY,
                     sizeof(PREFS_KEY) - 1);
}

/* --- for handlers --- */

struct chain {
    struct gr_mam_ev *ev;
    struct gr_hold *hold;      /* NULL while the handler has not returned */
    archive_f f;
    bool done, abandoned;
    enum gr_verdict verdict;
};

static void on_loaded(struct gr_mod *self, struct archive *a, int rc, void *ctx)
{
    struct chain *c = ctx;
    bool late = c->abandoned || (c->hold != NULL && !gr_hold_waits(c->hold));

    c->done = true;
    c->verdict = GR_OK;
    if (!late && a != NULL)
        c->verdict = c->f(self, c->ev, a);
    else if (!late)
        c->ev->rc = rc;
    if (c->hold != NULL)
        gr_resume(c->hold, c->verdict);
    if (c->hold != NULL || c->abandoned)
        gr_free(c);
}

enum gr_verdict with_archive(struct gr_mod *self, struct gr_mam_ev *ev, archive_f f)
{
    struct archive *a = archive_find(self, ev->owner);
    enum gr_verdict verdict;
    struct chain *c;

    if (a != NULL)
        return f(self, ev, a);
    c = gr_alloc(sizeof(*c));
    *c = (struct chain){ .ev = ev, .f = f };
    archive_load(self, ev->owner, on_loaded, c);
    if (!c->done) {
        c->hold = gr_hold(self, &ev->ev);
        c->abandoned = c->hold == NULL;
        return c->abandoned ? GR_FAIL : GR_PENDING;
    }
    verdict = c->verdict;
    gr_free(c);
    return verdict;
}

/* Any number that stays the same; who asks for it also has the archive read, so that the other
 * handlers find it. */
static enum gr_verdict tell_id(struct gr_mod *self, struct gr_mam_ev *ev, struct archive *a)
{
    (void)self;
    ev->archive_id = a->absent ? 0 : a->number;
    return GR_OK;
}

enum gr_verdict on_archive_id(struct gr_mod *self, struct gr_mam_ev *ev)
{
    return with_archive(self, ev, tell_id);
}
