/* mod_roster/chains.c: chains by which other modules learn about a roster: the items, one
 * contact, who is subscribed and who asks, everything for an export. Whichever provider the host
 * has is asked. */
#include "roster.h"

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

enum gr_verdict on_get(struct gr_mod *self, struct gr_roster_ev *ev)
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

static void got_subscriptions(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    (void)self;
    if (!held_valid(&l->held) || a->result == GR_R_ERROR) {
        look_end(l, GR_FAIL);
        return;
    }
    for (size_t i = 0; a->result == GR_R_OK && i < a->count; i++) {
        const struct gr_roster_item *item = &a->items[i];

        if (item->in_roster && (item->sub != GR_SUB_NONE || item->ask))
            gr_roster_list_add(roster_ev(l)->items, item);
    }
    look_end(l, GR_OK);
}

/* The requests first: nothing may come between the items and what is done with them, or somebody
 * who was just unsubscribed gets a presence behind the unavailable one. */
static void got_requests(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct look *l = look_of(ask);

    if (!held_valid(&l->held) || a->result == GR_R_ERROR) {
        look_end(l, GR_FAIL);
        return;
    }
    for (size_t i = 0; a->result == GR_R_OK && i < a->count; i++)
        gr_roster_ev_pending(roster_ev(l), gr_stanza_ref(a->stanzas[i]));
    gr_roster_ask(self, ask_for(self, l, got_subscriptions), GR_ROSTER_GET_CONTACTS, NULL,
                  l->owner, NULL, NULL);
}

enum gr_verdict on_lists(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->owner);

    if (l == NULL)
        return GR_FAIL;
    if (ev->items == NULL)
        ev->items = gr_roster_list_new();
    gr_roster_ask(self, ask_for(self, l, got_requests), GR_ROSTER_GET_PENDING, NULL, l->owner, NULL,
                  NULL);
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

enum gr_verdict on_jid_info(struct gr_mod *self, struct gr_jid_info_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->owner);

    if (l == NULL)
        return GR_FAIL;
    gr_roster_ask(self, ask_for(self, l, got_contact), GR_ROSTER_GET_CONTACT, NULL, l->owner,
                  ev->contact, NULL);
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

enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct look *l = look_new(self, &ev->ev, ev->user);

    if (l == NULL)
        return GR_FAIL;
    gr_roster_ask(self, ask_for(self, l, export_items), GR_ROSTER_GET_CONTACTS, NULL, l->owner,
                  NULL, NULL);
    return GR_PENDING;
}
