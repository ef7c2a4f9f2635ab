/* removed.h: accounts that were removed while sessions of theirs live a moment longer: until the
 * session manager ends them (remove_user, 100), and then for what their end sets off. What they
 * write meanwhile would be there for the next owner of the name. For modules that keep rows of
 * accounts; each includes it once, everything in it is static. On the account's home loop. */
#pragma once

#include <grapnel/module.h>

struct removed_note {
    bool removed;
};
static const struct gr_slot removed_slot = GR_SLOT(struct removed_note, 1, NULL);

static bool account_removed(struct gr_mod *self, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);
    const struct removed_note *n = a != NULL ? gr_account_slot_peek(self, a, &removed_slot) : NULL;

    return n != NULL && n->removed;
}

static void account_note_removed(struct gr_mod *self, const struct gr_jid *owner, bool removed)
{
    struct gr_account *a = gr_account_find(self, owner);

    if (a != NULL)
        ((struct removed_note *)gr_account_slot(self, a, &removed_slot))->removed = removed;
}

/* register_user: somebody has the name again. */
static void account_on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    account_note_removed(self, ev->jid, false);
}
