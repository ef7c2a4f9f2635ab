/* mod_roster/history.c: what roster versioning knows: the current version, how far back changes are
 * known, and which items were removed since. In turn with the changes (turn.c). */
#include "roster.h"

#include <string.h>

struct reading {
    struct turn turn;
    struct gr_mod *self;
    struct gr_jid *user;
    history_f done;
    void *arg;
    struct history history;
    struct removal *removed;
};

static struct reading *reading_of(struct gr_req *req)
{
    return *(struct reading **)gr_req_data(req);
}

static struct gr_req *request_for(struct reading *r, gr_store_f done)
{
    struct gr_req *req = gr_req_new(r->self, sizeof(r), done);

    *(struct reading **)gr_req_data(req) = r;
    return req;
}

static void known(struct reading *r, int rc)
{
    if (rc == GR_EIO)
        gr_error("roster.damaged", "the history of %s cannot be read", r->user->bare);
    r->history.rc = rc;
    r->history.removed = r->removed;
    r->done(r->self, r->arg, &r->history);
    turn_leave(&r->turn);
    for (size_t i = 0; i < r->history.count; i++)
        gr_jid_free(&r->removed[i].jid);
    gr_free(r->removed);
    gr_jid_free(&r->user);
    gr_free(r);
}

static void got_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct reading *r = reading_of(req);
    int rc = rows->rc;

    (void)self;
    r->removed = gr_alloc((rows->count + 1) * sizeof(*r->removed));
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        const struct gr_row *row = &rows->row[i];
        struct removal one = { 0 };

        if (row->key_len != 8 || gr_jid_parse(row->val, row->val_len, &one.jid) != 0) {
            rc = GR_EIO;
            break;
        }
        one.ver = gr_get_u64(row->key);
        r->removed[r->history.count++] = one;
    }
    known(r, rc);
}

static void got_meta(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct reading *r = reading_of(req);
    int rc = rows->rc;

    (void)self;
    if (rc == 0)
        rc = meta_decode(rows->row[0].val, rows->row[0].val_len, &r->history.meta);
    if (rc == 0)
        gr_store_range(request_for(r, got_removed), &roster_colls[COLL_REMOVED], r->user->bare,
                       NULL, 0, 2 * REMOVED_MAX);
    else
        known(r, rc == GR_ENOENT ? 0 : rc); /* never changed: version 0 */
}

static void run_history(struct turn *t)
{
    struct reading *r = GR_CONTAINER_OF(t, struct reading, turn);

    gr_store_get(request_for(r, got_meta), &roster_colls[COLL_META], r->user->bare, META_KEY,
                 strlen(META_KEY));
}

void db_history(struct gr_mod *self, const struct gr_jid *user, history_f done, void *arg)
{
    struct reading *r = gr_alloc(sizeof(*r));

    r->self = self;
    r->user = gr_jid_dup_bare(user);
    r->done = done;
    r->arg = arg;
    turn_take(turns_of(self), TURN_STORE, r->user, &r->turn, run_history);
}
