/* mod_roster/leave.c: an account goes, and both sides forget (roster.md 6): its rows first, then
 * its contacts are told; a crash between the two is repaired by their next probe. Home loop of
 * the account. */
#include "roster.h"

struct leaving {
    struct gr_hold *hold;
    struct gr_jid *owner;
    struct gr_roster_list *contacts;
};

static struct leaving *leaving_of(struct gr_ask *ask)
{
    return *(struct leaving **)gr_ask_data(ask);
}

static void farewell(struct gr_mod *self, const struct gr_jid *owner,
                     const struct gr_roster_item *item)
{
    if (sub_from(item->sub))
        send_presences(self, owner, item->jid, false);
    if (sub_to(item->sub) || item->ask)
        send_subscription(self, NULL, GR_UNSUBSCRIBE, owner, item->jid, NULL);
    if (sub_from(item->sub) || item->pending_in)
        send_subscription(self, NULL, GR_UNSUBSCRIBED, owner, item->jid, NULL);
}

/* FALSE: there was nothing stored, the roster was a virtual one, and nobody needs to be told. */
static void rows_gone(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct leaving *l = leaving_of(ask);
    struct gr_hold *hold = l->hold;

    /* From before another provider took over: not for whoever takes the name next. */
    if (!is_ours(self))
        db_remove(self, NULL, l->owner);
    for (size_t i = 0; a->result == GR_R_OK && i < gr_roster_list_count(l->contacts); i++)
        farewell(self, l->owner, gr_roster_list_at(l->contacts, i));
    gr_roster_list_free(&l->contacts);
    gr_jid_free(&l->owner);
    gr_free(l);
    gr_resume(hold, a->result == GR_R_ERROR ? GR_FAIL : GR_OK);
}

static void got_contacts(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct leaving *l = leaving_of(ask);
    struct gr_ask *next = gr_ask_new(self, sizeof(l), rows_gone);

    for (size_t i = 0; a->result == GR_R_OK && i < a->count; i++)
        gr_roster_list_add(l->contacts, &a->items[i]);
    *(struct leaving **)gr_ask_data(next) = l;
    gr_roster_ask(self, next, GR_ROSTER_REMOVE_USER, NULL, l->owner, NULL, NULL);
}

enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct leaving *l;
    struct gr_ask *ask;

    if (hold == NULL)
        return GR_FAIL;
    set_removed(self, ev->jid, true);
    l = gr_alloc(sizeof(*l));
    l->hold = hold;
    l->owner = gr_jid_dup_bare(ev->jid);
    l->contacts = gr_roster_list_new();
    ask = gr_ask_new(self, sizeof(l), got_contacts);
    *(struct leaving **)gr_ask_data(ask) = l;
    gr_roster_ask(self, ask, GR_ROSTER_GET_CONTACTS, NULL, l->owner, NULL, NULL);
    return GR_PENDING;
}
