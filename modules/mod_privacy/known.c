/* mod_privacy/known.c: what the roster says about the contacts that an account's lists asked about
 * lately, so that not every stanza asks it. An entry goes when its contact changes; what the roster
 * does not tell of (a client that removes a contact without having asked for the roster, a virtual
 * roster) is noticed after a minute. */
#include "privacy.h"

enum { KNOWN_MAX = 256, KNOWN_MS = 60000 };

struct known {
    struct gr_jid *jid;          /* NULL: free */
    struct gr_roster_list *item; /* one; NULL: a stranger */
    int64_t until;
};

static struct known *entry(const struct book *b, const struct gr_jid *peer)
{
    return b->known != NULL ? &b->known[peer->hash % KNOWN_MAX] : NULL;
}

static void forget(struct known *k)
{
    gr_jid_free(&k->jid);
    gr_roster_list_free(&k->item);
}

void known_clear(struct book *b)
{
    for (size_t i = 0; b->known != NULL && i < KNOWN_MAX; i++)
        forget(&b->known[i]);
    gr_free(b->known);
    b->known = NULL;
}

bool known_find(const struct book *b, const struct gr_jid *peer, const struct gr_roster_item **out)
{
    const struct known *k = entry(b, peer);

    *out = NULL;
    if (k == NULL || k->jid == NULL || !gr_jid_bare_equal(k->jid, peer) || k->until < gr_now_ms())
        return false;
    if (k->item != NULL)
        *out = gr_roster_list_at(k->item, 0);
    return true;
}

void known_add(struct book *b, const struct gr_jid *peer, const struct gr_jid_info_ev *info)
{
    struct known *k;

    if (b->known == NULL)
        b->known = gr_alloc(KNOWN_MAX * sizeof(*b->known));
    k = entry(b, peer);
    forget(k);
    k->jid = gr_jid_dup_bare(peer);
    k->until = gr_now_ms() + KNOWN_MS;
    if (info->sub == GR_SUB_NONE && info->groups == NULL)
        return;
    k->item = gr_roster_list_new();
    gr_roster_list_add(k->item, &(struct gr_roster_item){ .jid = k->jid, .sub = info->sub,
                                                          .groups = info->groups });
}

/* --- changes --- */

static void changed(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *contact)
{
    struct book *b = book_find(self, owner);
    struct known *k = b != NULL ? entry(b, contact) : NULL;

    if (b == NULL)
        return;
    b->changes++; /* an answer that is under way may be older */
    if (k != NULL && k->jid != NULL && gr_jid_bare_equal(k->jid, contact))
        forget(k);
}

enum gr_verdict on_roster_item(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    changed(self, ev->owner, ev->item->jid);
    return GR_OK;
}

void on_roster_push(struct gr_mod *self, struct gr_roster_item_ev *ev)
{
    changed(self, ev->owner, ev->item->jid);
}

enum gr_verdict on_subscription_in(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    changed(self, ev->to, ev->from);
    return GR_OK;
}

enum gr_verdict on_subscription_out(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    changed(self, ev->from, ev->to);
    return GR_OK;
}
