/* mod_roster: rosters and subscriptions (RFC 6121, 2, 3 and A; roster versioning 2.6).
 *
 * Three parts: the provider "rosterdb" that keeps rosters (db.c), the protocol that clients
 * speak with them (iq.c, push.c) and the chains by which other modules ask for them and
 * subscription stanzas pass through (here, subs.c). The last two ask whichever roster provider
 * the host has. */
#include "roster.h"

#include <string.h>

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct roster_conf, storage, true,
                "rosters are kept in the store; no: another provider has them, or nobody"),
    GR_OPT_BOOL(struct roster_conf, versioning, true,
                "clients that know an earlier version get only the changes"),
    GR_OPT_INT(struct roster_conf, max_items, 1000, 1, 100000, "contacts in a roster"),
    GR_OPT_SIZE(struct roster_conf, max_name, 1023, 1, 16384, "bytes of a contact's name"),
    GR_OPT_SIZE(struct roster_conf, max_group, 256, 1, 16384, "bytes of a group's name"),
    GR_OPT_INT(struct roster_conf, max_groups, 32, 1, 1000, "groups of a contact"),
    GR_OPT_INT(struct roster_conf, max_requests, 200, 1, 10000,
               "subscription requests that wait for an answer; the oldest makes room"),
    GR_OPT_SIZE(struct roster_conf, max_request, 8 * GR_KIB, 512, GR_MIB,
                "of a longer request only sender and id are kept"),
    GR_OPT_END
};

/* --- accounts that are gone, while their sessions still are not --- */

struct account_note {
    bool removed;
};
static const struct gr_slot account_slot = GR_SLOT(struct account_note, 1, NULL);

bool is_removed(struct gr_mod *self, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);
    const struct account_note *note = a != NULL ? gr_account_slot_peek(self, a, &account_slot)
                                                : NULL;

    return note != NULL && note->removed;
}

void set_removed(struct gr_mod *self, const struct gr_jid *owner, bool removed)
{
    struct gr_account *a = gr_account_find(self, owner);

    if (a != NULL && removed != is_removed(self, owner))
        ((struct account_note *)gr_account_slot(self, a, &account_slot))->removed = removed;
}

static void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    set_removed(self, ev->jid, false);
}

bool is_ours(struct gr_mod *self)
{
    const char *name = gr_provider_name(gr_mod_host(self), GR_PROVIDER_ROSTER, NULL);

    return strcmp(name, PROVIDER_NAME) == 0;
}

struct turns *turns_of(struct gr_mod *self)
{
    return ((struct roster_state *)gr_state(self))->turns;
}

/* --- features, and pushes of other modules --- */

static enum gr_verdict on_versioning(struct gr_mod *self, struct gr_features_ev *ev)
{
    const struct roster_conf *conf = gr_conf(self);

    if (conf->versioning)
        gr_el_add(ev->features, NULL, "urn:xmpp:features:rosterver", "ver");
    return GR_OK;
}

static enum gr_verdict on_features(struct gr_mod *self, struct gr_features_ev *ev)
{
    (void)self;
    if (ev->session != NULL && gr_session_state(ev->session) != GR_S_CONNECTED)
        gr_el_add(ev->features, NULL, "urn:xmpp:features:pre-approval", "sub");
    return GR_OK;
}

static enum gr_verdict on_unset_presence(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct gr_jid *bare = gr_jid_dup_bare(ev->jid);

    turn_note_gone(turns_of(self), bare, ev->jid);
    gr_jid_free(&bare);
    return GR_OK;
}

/* Virtual rosters change: a gr_roster_item_ev, in_roster false for an item that went. */
static enum gr_verdict on_push_request(struct gr_mod *self, struct gr_ev *ev)
{
    struct gr_roster_item_ev *e = GR_CONTAINER_OF(ev, struct gr_roster_item_ev, ev);

    push_item(self, e->owner, e->item);
    return GR_OK;
}

/* --- the descriptor --- */

static void on_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    if (ev->type == GR_GET)
        on_roster_get(self, ev);
    else
        on_roster_set(self, ev);
}

static int start(struct gr_mod *self, const char **why)
{
    const struct roster_conf *conf = gr_conf(self);
    struct roster_state *st = gr_state(self);

    (void)why;
    st->turns = turns_new();
    if (conf->storage)
        gr_provide_roster(self, &roster_db, GR_PROVIDER_STORAGE_PRIO);
    return 0;
}

static void stop(struct gr_mod *self)
{
    struct roster_state *st = gr_state(self);

    turns_unref(&st->turns);
    for (size_t i = 0; i < GR_COUNT(st->groups); i++)
        gr_roster_list_free(&st->groups[i]);
}

/* The owners that have something under way. Within one process: the table itself (turn.c). A
 * version that changes struct turn or lane changes the key. */
#define TURNS_KEY "turns-2"

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    const struct roster_state *st = gr_state(self);
    struct turns *ts = turns_ref(st->turns);

    gr_bag_put_blob(bag, TURNS_KEY, &ts, sizeof(ts));
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    struct roster_state *st = gr_state(self);
    size_t len;
    const void *blob = gr_bag_blob(bag, TURNS_KEY, &len);

    if (blob == NULL || len != sizeof(st->turns))
        return;
    turns_unref(&st->turns);
    memcpy(&st->turns, blob, sizeof(st->turns));
}

static const struct gr_hook hooks[] = {
    GR_ON(roster_get, GR_PRIO_NORMAL, on_get),
    GR_ON(roster_get_jid_info, GR_PRIO_NORMAL, on_jid_info),
    GR_ON(roster_get_subscription_lists, GR_PRIO_NORMAL, on_lists),
    GR_ON(roster_in_subscription, GR_PRIO_NORMAL, on_in_subscription),
    GR_ON(roster_out_subscription, GR_PRIO_FIRST, on_out_first),
    GR_ON(roster_out_subscription, GR_PRIO_NORMAL, on_out_subscription),
    GR_ON(roster_get_versioning_feature, GR_PRIO_NORMAL, on_versioning),
    GR_ON(c2s_stream_features, GR_PRIO_NORMAL, on_features),
    GR_ON(unset_presence, GR_PRIO_NORMAL, on_unset_presence),
    GR_ON(user_receive_iq, GR_PRIO_LATE, on_receive_iq),
    GR_ON(register_user, GR_PRIO_NORMAL, on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove_user),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove_user),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_ON_CUSTOM("roster_push_item", GR_PRIO_NORMAL, on_push_request),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_ROSTER, "query", on_iq),
    GR_IQ_END
};

GR_MODULE(roster,
    .summary = "rosters, subscriptions and roster versioning",
    .conf_size = sizeof(struct roster_conf), .state_size = sizeof(struct roster_state),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = roster_colls,
    .slots = (const struct gr_slot *const[]){ &interest_slot, &account_slot, NULL },
    .start = start, .stop = stop, .save = save, .restore = restore);
