/* mod_roster: rosters and subscriptions (RFC 6121, 2, 3 and A; roster versioning 2.6).
 *
 * Three parts: the provider "rosterdb" that keeps rosters (db.c), the protocol that clients speak with
 * them (iq.c, push.c) and the chains by which other modules ask for them and subscription stanzas pass
 * through (here, subs.c). The last two ask whichever roster provider the host has. */
#include "roster.h"

#include <string.h>

static const struct gr_opt options[] = {
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

static void set_removed(struct gr_mod *self, const struct gr_jid *owner, bool removed)
{
    struct gr_account *a = gr_account_find(self, owner);

    if (a != NULL && removed != is_removed(self, owner))
        ((struct account_note *)gr_account_slot(self, a, &account_slot))->removed = removed;
}

static void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    set_removed(self, ev->jid, false);
}

struct turns *turns_of(struct gr_mod *self)
{
    return ((struct roster_state *)gr_state(self))->turns;
}

/* --- chains that ask for a roster --- */

struct look {
    struct held held;
    struct gr_ev *ev;               /* only while held_valid */
    struct gr_jid *owner;
};

static struct look *look_of(struct gr_ask *ask)
{
    return *(struct look **)gr_ask_data(ask);
}

static struct gr_ask *ask_for(struct gr_mod *self, struct look *l, gr_answer_f done)
{
    struct gr_ask *ask = gr_ask_new(self, sizeof(l), done);

    *(struct look **)gr_ask_data(ask) = l;
    return ask;
}

static struct look *look_new(struct gr_mod *self, struct gr_ev *ev, const struct gr_jid *owner)
{
    struct held held;
    struct look *l;

    if (!held_take(&held, self, ev))
        return NULL;
    l = gr_alloc(sizeof(*l));
    l->held = held;
    l->ev = ev;
    l->owner = gr_jid_dup_bare(owner);
    return l;
}

static void look_end(struct look *l, enum gr_verdict verdict)
{
    struct gr_hold *hold = l->held.hold;

    gr_jid_free(&l->owner);
    gr_free(l);
    gr_resume(hold, verdict);
}

static struct gr_roster_ev *roster_ev(const struct look *l)
{
    return GR_CONTAINER_OF(l->ev, struct gr_roster_ev, ev);
}

static void got_roster(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    (void)self;
    if (!held_valid(&l->held)) {
        look_end(l, GR_FAIL);
        return;
    }
    struct gr_roster_ev *ev = roster_ev(l);
    if (a->result != GR_R_OK) { /* the reader must not take an unreadable roster for an empty one */
        ev->none = true;
    } else {
        for (size_t i = 0; i < a->count; i++) {
            if (a->items[i].in_roster || ev->full)
                gr_roster_list_add(ev->items, &a->items[i]);
        }
    }
    look_end(l, GR_OK);
}

static enum gr_verdict on_get(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->owner);

    if (l == NULL) {
        ev->none = true;
        return GR_OK;
    }
    if (ev->items == NULL)
        ev->items = gr_roster_list_new();
    gr_roster_ask(self, ask_for(self, l, got_roster), GR_ROSTER_GET_CONTACTS, NULL, l->owner, NULL,
                  NULL);
    return GR_PENDING;
}

static void got_requests(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    (void)self;
    if (held_valid(&l->held) && a->result == GR_R_OK) {
        for (size_t i = 0; i < a->count; i++)
            gr_roster_ev_pending(roster_ev(l), gr_stanza_ref(a->stanzas[i]));
    }
    look_end(l, a->result == GR_R_ERROR ? GR_FAIL : GR_OK);
}

static void got_subscriptions(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    if (!held_valid(&l->held) || a->result == GR_R_ERROR) {
        look_end(l, GR_FAIL);
        return;
    }
    for (size_t i = 0; a->result == GR_R_OK && i < a->count; i++) {
        const struct gr_roster_item *item = &a->items[i];

        if (item->in_roster && (item->sub != GR_SUB_NONE || item->ask))
            gr_roster_list_add(roster_ev(l)->items, item);
    }
    gr_roster_ask(self, ask_for(self, l, got_requests), GR_ROSTER_GET_PENDING, NULL, l->owner,
                  NULL, NULL);
}

static enum gr_verdict on_lists(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->owner);

    if (l == NULL)
        return GR_FAIL;
    if (ev->items == NULL)
        ev->items = gr_roster_list_new();
    gr_roster_ask(self, ask_for(self, l, got_subscriptions), GR_ROSTER_GET_CONTACTS, NULL,
                  l->owner, NULL, NULL);
    return GR_PENDING;
}

/* --- one contact --- */

/* The event has nobody who would free the groups: they are the module's, the latest of them. */
static const char *const *keep_groups(struct gr_mod *self, const char *const *groups)
{
    struct roster_state *st = gr_state(self);
    struct gr_roster_list **at = &st->groups[st->groups_next++ % GR_COUNT(st->groups)];
    struct gr_roster_item item = { .groups = groups };

    gr_roster_list_free(at);
    if (groups == NULL)
        return NULL;
    *at = gr_roster_list_new();
    gr_roster_list_add(*at, &item);
    return gr_roster_list_at(*at, 0)->groups;
}

static void got_contact(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    if (held_valid(&l->held) && a->result == GR_R_OK) {
        struct gr_jid_info_ev *ev = GR_CONTAINER_OF(l->ev, struct gr_jid_info_ev, ev);

        ev->sub = a->after.sub;
        ev->ask = a->after.ask;
        ev->groups = keep_groups(self, a->after.groups);
    }
    look_end(l, a->result == GR_R_ERROR ? GR_FAIL : GR_OK);
}

static enum gr_verdict on_jid_info(struct gr_mod *self, struct gr_jid_info_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->owner);

    if (l == NULL)
        return GR_FAIL;
    gr_roster_ask(self, ask_for(self, l, got_contact), GR_ROSTER_GET_CONTACT, NULL, l->owner,
                  ev->contact, NULL);
    return GR_PENDING;
}

/* --- an account goes: both sides forget (roster.md 6) --- */

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
        send_subscription(self, GR_UNSUBSCRIBE, owner, item->jid, NULL);
    if (sub_from(item->sub) || item->pending_in)
        send_subscription(self, GR_UNSUBSCRIBED, owner, item->jid, NULL);
}

/* FALSE: there was nothing stored, the roster was a virtual one, and nobody needs to be told. */
static void rows_gone(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct leaving *l = leaving_of(ask);
    struct gr_hold *hold = l->hold;

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

static enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev)
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

/* --- export: as in XEP-0227 --- */

static struct gr_export_ev *export_ev(const struct look *l)
{
    return GR_CONTAINER_OF(l->ev, struct gr_export_ev, ev);
}

static void export_requests(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    (void)self;
    for (size_t i = 0; held_valid(&l->held) && a->result == GR_R_OK && i < a->count; i++)
        gr_el_append(export_ev(l)->data, NULL, gr_stanza_root(a->stanzas[i]));
    look_end(l, GR_OK);
}

static void export_items(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);
    struct gr_stanza *data;
    struct gr_el *query;

    if (!held_valid(&l->held) || a->result != GR_R_OK) {
        look_end(l, a->result == GR_R_NONE ? GR_OK : GR_FAIL);
        return;
    }
    data = export_ev(l)->data;
    query = gr_el_add(data, NULL, NS_ROSTER, "query");
    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].in_roster)
            item_el(data, query, &a->items[i], false);
    }
    gr_roster_ask(self, ask_for(self, l, export_requests), GR_ROSTER_GET_PENDING, NULL, l->owner,
                  NULL, NULL);
}

static enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->user);

    if (l == NULL)
        return GR_FAIL;
    gr_roster_ask(self, ask_for(self, l, export_items), GR_ROSTER_GET_CONTACTS, NULL, l->owner,
                  NULL, NULL);
    return GR_PENDING;
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
    if (ev->session != NULL && gr_session_state(ev->session) == GR_S_AUTHENTICATED)
        gr_el_add(ev->features, NULL, "urn:xmpp:features:pre-approval", "sub");
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
    struct roster_state *st = gr_state(self);

    (void)why;
    st->turns = turns_new();
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

/* The owners that have something under way. Within one process: the table itself (turn.c). A version
 * that changes struct turn or lane changes the key. */
#define TURNS_KEY "turns-1"

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
    GR_ON(roster_out_subscription, GR_PRIO_NORMAL, on_out_subscription),
    GR_ON(roster_get_versioning_feature, GR_PRIO_NORMAL, on_versioning),
    GR_ON(c2s_stream_features, GR_PRIO_NORMAL, on_features),
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
