/* mod_inbox/leave.c: the account goes; its owner wants a copy of everything; how much is unread. */
#include <stdio.h>

#include "../removed.h"
#include "inbox.h"

const struct gr_slot *const slots[] = { &removed_slot, NULL };

bool is_removed(struct gr_mod *self, const struct gr_jid *owner)
{
    return account_removed(self, owner);
}

void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    account_on_register(self, ev);
}

struct leaving {
    struct gr_hold *hold;
    struct gr_jid *owner;
    struct gr_txn *t;
};

static void on_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_hold *hold = *(struct gr_hold **)gr_req_data(req);

    (void)self;
    if (hold != NULL)
        gr_resume(hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

static bool leave_row(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e)
{
    struct leaving *l = ctx;

    bin_del(self, l->t, l->owner, remote, e->binned_us);
    return true;
}

static void leave_all(struct gr_mod *self, void *ctx, int rc)
{
    struct leaving *l = ctx;
    struct gr_req *req = gr_req_new(self, sizeof(l->hold), on_gone);

    (void)rc; /* what cannot be read is deleted all the same */
    convs_forget(self, l->owner); /* those that were begun meanwhile */
    *(struct gr_hold **)gr_req_data(req) = l->hold;
    gr_txn_del_all(l->t, ENTRIES, l->owner->bare);
    gr_txn_commit(l->t, req);
    gr_jid_free(&l->owner);
    gr_free(l);
}

/* Held until it is gone, so that the next owner of the name does not inherit it. */
enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct leaving *l = gr_alloc(sizeof(*l));
    struct gr_hold *hold = gr_hold(self, &ev->ev);

    account_note_removed(self, ev->jid, true);
    convs_forget(self, ev->jid);
    *l = (struct leaving){ hold, gr_jid_dup_bare(ev->jid), gr_txn_new(self) };
    scan_start(self, &(struct scan){ gr_jid_dup_bare(ev->jid), leave_row, leave_all, l });
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* --- get_personal_data --- */

struct export {
    struct gr_export_ev *ev;
    struct gr_hold *hold;
    struct gr_el *list;
};

static bool export_row(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e)
{
    struct export *x = ctx;
    struct gr_stanza *st;
    struct gr_el *el;

    (void)self;
    if (!gr_hold_waits(x->hold))
        return false;
    st = x->ev->data;
    if (x->list == NULL)
        x->list = gr_el_add(st, NULL, NS_INBOX, "inbox");
    el = gr_el_add(st, x->list, NULL, "result");
    gr_el_set(st, el, "jid", remote);
    gr_el_set_int(st, el, "unread", e->unread);
    entry_forward(st, el, e);
    entry_props(st, el, e, false);
    return true;
}

static void export_done(struct gr_mod *self, void *ctx, int rc)
{
    struct export *x = ctx;

    (void)self;
    gr_resume(x->hold, rc == 0 ? GR_OK : GR_FAIL);
    gr_free(x);
}

enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct export *x;

    if (hold == NULL)
        return GR_FAIL;
    x = gr_alloc(sizeof(*x));
    *x = (struct export){ .ev = ev, .hold = hold };
    scan_settled(self, &(struct scan){ gr_jid_dup_bare(ev->user), export_row, export_done, x });
    return GR_PENDING;
}

/* --- inbox_unread_count: for push notifications --- */

struct counting {
    struct gr_inbox_ev *ev;
    struct gr_hold *hold;
    uint64_t unread;
};

static bool count_row(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e)
{
    struct counting *x = ctx;

    (void)self, (void)remote;
    if (e->binned_us == 0)
        x->unread += e->unread;
    return true;
}

static void count_done(struct gr_mod *self, void *ctx, int rc)
{
    struct counting *x = ctx;
    char text[24];

    (void)self;
    if (rc == 0 && gr_hold_waits(x->hold)) {
        x->ev->unread = x->unread;
        if (x->ev->ev.acc != NULL) {
            snprintf(text, sizeof(text), "%llu", (unsigned long long)x->unread);
            gr_acc_set(x->ev->ev.acc, "inbox", "unread_count", text);
        }
    }
    gr_resume(x->hold, rc == 0 ? GR_OK : GR_FAIL);
    gr_free(x);
}

enum gr_verdict on_unread_count(struct gr_mod *self, struct gr_inbox_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct counting *x;

    if (hold == NULL)
        return GR_FAIL;
    x = gr_alloc(sizeof(*x));
    *x = (struct counting){ .ev = ev, .hold = hold };
    scan_settled(self, &(struct scan){ gr_jid_dup_bare(ev->user), count_row, count_done, x });
    return GR_PENDING;
}
