/* mod_inbox/room.c: no more than `limit` conversations per account. For a new one beyond it others
 * leave: those in the bin, then the ones that were read, then the others, each time the ones that have
 * rested longest; a few more than needed, so that the next ones find room. */
#include <stdlib.h>
#include <string.h>

#include "inbox.h"

struct candidate {
    int rank;
    int64_t time_us, binned_us;
    char *remote;
};
struct room {
    struct conv *c;
    struct candidate *list;
    size_t n, size;
};

static int by_value(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank - y->rank;
    return (x->time_us > y->time_us) - (x->time_us < y->time_us);
}

static bool on_row(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e)
{
    struct room *r = ctx;
    int rank = e->binned_us != 0 ? 0 : e->unread == 0 ? 1 : 2;

    (void)self;
    if (r->n == r->size) {
        r->size = 2 * r->size + 64;
        r->list = gr_realloc(r->list, r->size * sizeof(*r->list));
    }
    r->list[r->n++] = (struct candidate){ rank, e->time_us, e->binned_us, gr_strdup(remote) };
    return true;
}

static void on_all(struct gr_mod *self, void *ctx, int rc)
{
    const struct inbox_conf *conf = gr_conf(self);
    size_t limit = (size_t)conf->limit;
    struct gr_txn *t = gr_txn_new(self);
    struct room *r = ctx;

    if (rc == 0 && r->n >= limit) {
        size_t leave = r->n - limit + 1 + limit / 32;

        qsort(r->list, r->n, sizeof(*r->list), by_value);
        for (size_t i = 0; i < leave && i < r->n; i++) {
            const struct candidate *x = &r->list[i];

            gr_txn_del(t, ENTRIES, r->c->owner->bare, x->remote, strlen(x->remote));
            bin_del(self, t, r->c->owner, x->remote, x->binned_us);
        }
    }
    conv_commit(r->c, t, rc);
    for (size_t i = 0; i < r->n; i++)
        gr_free(r->list[i].remote);
    gr_free(r->list);
    gr_free(r);
}

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct inbox_conf *conf = gr_conf(self);
    struct conv *c = *(struct conv **)gr_req_data(req);
    struct room *r;

    if (rows->rc != 0 || rows->count < (size_t)conf->limit) {
        conv_commit(c, gr_txn_new(self), rows->rc);
        return;
    }
    r = gr_alloc(sizeof(*r));
    r->c = c;
    scan_start(self, &(struct scan){ gr_jid_dup(c->owner), on_row, on_all, r });
}

void make_room(struct conv *c)
{
    struct gr_req *req = gr_req_new(c->self, sizeof(c), on_count);

    *(struct conv **)gr_req_data(req) = c;
    gr_store_count(req, ENTRIES, c->owner->bare);
}
