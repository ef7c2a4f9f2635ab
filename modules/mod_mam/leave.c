/* mod_mam/leave.c: an account goes, and its archive with it, a little at a time; the chain is held
 * until it is gone, so that the next owner of the name does not inherit it. */
#include "mam.h"

#include <grapnel/log.h>

enum { PART = 500 }; /* rows of each kind in a transaction */

/* --- the account --- */

struct leaving {
    struct gr_mam_ev ev;
    struct gr_jid *owner;
    struct gr_hold *hold;
};

static void on_removed(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct leaving *x = GR_CONTAINER_OF(ev, struct leaving, ev.ev);

    (void)self, (void)verdict;
    if (x->ev.rc != 0)
        gr_error("mam.not_removed", "the archive of a removed account remains: %s",
                 gr_strerror(x->ev.rc));
    if (x->hold != NULL)
        gr_resume(x->hold, x->ev.rc == 0 ? GR_OK : GR_FAIL);
    gr_jid_free(&x->owner);
    gr_free(x);
}

enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct leaving *x = gr_alloc(sizeof(*x));
    struct gr_hold *hold = gr_hold(self, &ev->ev);

    note_removed(self, ev->jid);
    x->owner = gr_jid_dup_bare(ev->jid);
    x->hold = hold;
    x->ev.owner = x->owner;
    gr_hook_run(self, GR_HOOK_mam_remove_archive, &x->ev.ev, on_removed);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* The core deletes the rows. Other loops find out by themselves (archive.c). */
enum gr_verdict on_remove_domain(struct gr_mod *self, struct gr_domain_ev *ev)
{
    (void)ev;
    archives_forget(gr_state(self));
    return GR_OK;
}

/* --- the archive --- */

struct removing {
    struct gr_mam_ev *ev;
    struct gr_hold *hold;
    struct gr_jid *owner;
    uint64_t first, count;     /* numbers of the messages that are left */
};

static struct gr_req *request(struct gr_mod *self, const struct removing *x, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(*x), done);

    *(struct removing *)gr_req_data(req) = *x;
    return req;
}

static void end(struct gr_mod *self, struct removing *x, int rc)
{
    archive_forget(self, x->owner); /* once more: a message may have come in between */
    if (gr_hold_waits(x->hold))
        x->ev->rc = rc;
    gr_resume(x->hold, GR_OK);
    gr_jid_free(&x->owner);
}

static void on_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    end(self, gr_req_data(req), rows->rc);
}

static void on_part_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows);

/* Some messages, and some entries of the map: these in any order, it all goes. */
static void on_entries(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct removing *x = gr_req_data(req);
    struct gr_txn *t;

    if (rows->rc != 0) {
        end(self, x, rows->rc);
        return;
    }
    t = gr_txn_new(self);
    if (rows->more || x->count > PART) {
        for (size_t i = 0; i < rows->count; i++)
            gr_txn_del(t, CONTACTS, x->owner->bare, rows->row[i].key, rows->row[i].key_len);
        for (size_t i = 0; i < PART && x->count > 0; i++, x->count--)
            gr_txn_del_seq(t, MESSAGES, x->owner->bare, x->first++);
        gr_txn_commit(t, request(self, x, on_part_gone));
        return;
    }
    gr_txn_del_all(t, MESSAGES, x->owner->bare);
    gr_txn_del_all(t, CONTACTS, x->owner->bare);
    gr_txn_del_all(t, PREFS, x->owner->bare);
    gr_txn_commit(t, request(self, x, on_gone));
}

static void remove_part(struct gr_mod *self, const struct removing *x)
{
    gr_store_range(request(self, x, on_entries), CONTACTS, x->owner->bare, NULL, 0, PART);
}

static void on_part_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct removing *x = gr_req_data(req);

    if (rows->rc == 0)
        remove_part(self, x);
    else
        end(self, x, rows->rc);
}

static void on_head(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct removing *x = gr_req_data(req);

    if (rows->rc != 0) {
        end(self, x, rows->rc);
        return;
    }
    x->count = rows->count;
    x->first = rows->last - rows->count + 1;
    remove_part(self, x);
}

enum gr_verdict on_remove_archive(struct gr_mod *self, struct gr_mam_ev *ev)
{
    struct removing x = { .ev = ev, .hold = gr_hold(self, &ev->ev) };

    if (x.hold == NULL) {
        ev->rc = GR_EAGAIN;
        return GR_OK;
    }
    x.owner = gr_jid_dup_bare(ev->owner);
    archive_forget(self, ev->owner);
    gr_store_count(request(self, &x, on_head), MESSAGES, x.owner->bare);
    return GR_PENDING;
}
