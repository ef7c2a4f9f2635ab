/* mod_roster/iq_set.c: roster set: add, update, remove (RFC 6121, 2.3 to 2.5). Home loop of the
 * owner.
 *
 * A removal walks the subscriptions down first, by the provider's own steps, so that it works
 * with every provider. It is several calls; sets and outbound subscription stanzas of an owner
 * take turns so that none comes in between. */
#include "roster.h"

#include <string.h>

enum { WALKS_MAX = 3 };

struct set {
    struct turn turn;
    struct gr_mod *self;
    struct gr_iq_req *req;
    struct gr_jid *owner, *contact;
    struct gr_roster_item item;     /* texts: the request's */
    const char **groups;
    enum gr_cond cond;              /* what is wrong with it */
    const char *text;
    bool remove, walked;            /* walked: a step of the removal has changed the item */
    unsigned walks;                 /* a contact that answers faster than we remove must not win */
};

static struct set *set_of(struct gr_ask *ask)
{
    return *(struct set **)gr_ask_data(ask);
}

static struct gr_ask *ask_for(struct set *set, gr_answer_f done)
{
    struct gr_ask *ask = gr_ask_new(set->self, sizeof(set), done);

    *(struct set **)gr_ask_data(ask) = set;
    return ask;
}

static void leave(struct set *set)
{
    turn_leave(&set->turn);
    gr_jid_free(&set->owner);
    gr_jid_free(&set->contact);
    gr_free(set->groups);
    gr_free(set);
}

static void fail(struct set *set, enum gr_cond cond, const char *text)
{
    gr_iq_reply_error(set->req, cond, text);
    leave(set);
}

/* --- what may be asked for (RFC 6121, 2.3.3) --- */

static enum gr_cond wrong(struct set *set, enum gr_cond cond, const char *text)
{
    set->text = text;
    return cond;
}

static bool known_group(const struct set *set, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(set->groups[i], name) == 0)
            return true;
    }
    return false;
}

static enum gr_cond take_groups(struct set *set, const struct gr_el *item)
{
    const struct roster_conf *conf = gr_conf(set->self);
    size_t count = 0, n = 0, len;
    struct gr_el *el;

    for (el = gr_el_child(item, NS_ROSTER, "group"); el; el = gr_el_next(el, NS_ROSTER, "group"))
        count++;
    if (count > (size_t)conf->max_groups)
        return wrong(set, GR_NOT_ACCEPTABLE, "too many groups");
    set->groups = gr_alloc((count + 1) * sizeof(char *));
    for (el = gr_el_child(item, NS_ROSTER, "group"); el; el = gr_el_next(el, NS_ROSTER, "group")) {
        const char *name = gr_el_text(el, &len);

        if (len == 0)
            return wrong(set, GR_NOT_ACCEPTABLE, "a group without a name");
        if (len > (size_t)conf->max_group)
            return wrong(set, GR_NOT_ACCEPTABLE, "the name of a group is too long");
        if (known_group(set, n, name))
            return wrong(set, GR_BAD_REQUEST, "a group is named twice");
        set->groups[n++] = name;
    }
    set->item.groups = n > 0 ? set->groups : NULL;
    return GR_COND_NONE;
}

static enum gr_cond take_contact(struct set *set, const struct gr_el *item)
{
    const char *jid = gr_el_attr(item, "jid");
    struct gr_jid *full;

    if (jid == NULL)
        return wrong(set, GR_BAD_REQUEST, "an item without an address");
    if (gr_jid_parse(jid, strlen(jid), &full) != 0)
        return wrong(set, GR_JID_MALFORMED, NULL);
    set->contact = gr_jid_dup_bare(full);
    gr_jid_free(&full);
    if (gr_jid_equal(set->contact, set->owner))
        return wrong(set, GR_NOT_ALLOWED, "the roster is for others");
    return GR_COND_NONE;
}

static enum gr_cond take_item(struct set *set, const struct gr_el *query)
{
    const struct roster_conf *conf = gr_conf(set->self);
    struct gr_el *item = gr_el_child(query, NS_ROSTER, "item");
    const char *sub;
    enum gr_cond cond;

    if (item == NULL || gr_el_next(item, NS_ROSTER, "item") != NULL)
        return wrong(set, GR_BAD_REQUEST, "exactly one item, please");
    cond = take_contact(set, item);
    if (cond != GR_COND_NONE)
        return cond;
    sub = gr_el_attr(item, "subscription"); /* anything else is ignored: 2.1.2.5 */
    set->remove = sub != NULL && strcmp(sub, "remove") == 0;
    set->item.jid = set->contact;
    if (set->remove)
        return GR_COND_NONE;
    set->item.name = gr_el_attr(item, "name");
    if (set->item.name != NULL && strlen(set->item.name) > (size_t)conf->max_name)
        return wrong(set, GR_NOT_ACCEPTABLE, "the name is too long");
    if (set->item.name != NULL && set->item.name[0] == '\0')
        set->item.name = NULL;
    return take_groups(set, item);
}

/* --- adding and updating --- */

static void process_item(struct gr_mod *self, const struct gr_jid *owner,
                         struct gr_roster_item *item)
{
    struct gr_roster_item_ev ev = { .owner = owner, .item = item };

    gr_hook_run(self, GR_HOOK_roster_process_item, &ev.ev, NULL);
}

/* The push first: the answer may point into the request, which goes with the reply. */
static void done(struct set *set, const struct gr_roster_item *now)
{
    struct gr_roster_item item = *now;

    item.jid = set->contact;
    if (item.in_roster)
        process_item(set->self, set->owner, &item);
    push_item(set->self, set->owner, &item);
    gr_iq_reply_empty(set->req);
    leave(set);
}

static void updated(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct set *set = set_of(ask);

    (void)self;
    switch (a->result) {
    case GR_R_OK:
        done(set, &a->after);
        break;
    case GR_R_NONE: /* refused: to the client it is as if it had been removed */
        done(set, &(struct gr_roster_item){ .in_roster = false });
        break;
    case GR_R_FALSE:
        fail(set, GR_NOT_ALLOWED, NULL);
        break;
    case GR_R_ERROR:
        fail(set, a->cond, a->text);
        break;
    }
}

/* --- removing --- */

static void walk(struct set *set, const struct gr_roster_item *item);

static void removed(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a);

static void step(struct set *set, enum gr_roster_op op, gr_answer_f answered)
{
    gr_roster_ask(set->self, ask_for(set, answered), op, NULL, set->owner, set->contact, NULL);
}

static void what_is_left(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct set *set = set_of(ask);
    struct gr_roster_item item = a->after;

    item.jid = set->contact;
    if (a->result == GR_R_OK)
        push_item(self, set->owner, &item);
    fail(set, set->cond, NULL);
}

/* The steps push nothing on their own: when a later one fails, clients must hear what they did. */
static void give_up(struct set *set, enum gr_cond cond, const char *text)
{
    set->cond = cond;
    if (set->walked)
        step(set, GR_ROSTER_GET_CONTACT, what_is_left);
    else
        fail(set, cond, text);
}

static void looked_again(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct set *set = set_of(ask);

    (void)self;
    if (a->result == GR_R_OK)
        walk(set, &a->after);
    else if (a->result == GR_R_ERROR)
        give_up(set, a->cond, a->text);
    else
        fail(set, GR_ITEM_NOT_FOUND, NULL);
}

static void removed(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct set *set = set_of(ask);

    (void)self;
    switch (a->result) {
    case GR_R_OK:
        done(set, &(struct gr_roster_item){ .in_roster = false, .ver = a->after.ver });
        break;
    case GR_R_FALSE:
        if (++set->walks < WALKS_MAX)
            step(set, GR_ROSTER_GET_CONTACT, looked_again);
        else
            give_up(set, GR_RESOURCE_CONSTRAINT, NULL);
        break;
    case GR_R_NONE:
        fail(set, GR_ITEM_NOT_FOUND, NULL);
        break;
    case GR_R_ERROR:
        give_up(set, a->cond, a->text);
        break;
    }
}

/* The contact no longer sees us. Whoever refuses the step (FALSE) has nothing to undo. */
static void cancelled(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct set *set = set_of(ask);

    if (a->result == GR_R_ERROR) {
        give_up(set, a->cond, a->text);
        return;
    }
    set->walked = set->walked || a->result == GR_R_OK;
    if (a->result == GR_R_OK && sub_from(a->before.sub)) {
        send_presences(self, set->owner, set->contact, false);
        send_subscription(self, NULL, GR_UNSUBSCRIBED, set->owner, set->contact, NULL);
    }
    step(set, GR_ROSTER_REMOVE_CONTACT, removed);
}

/* We no longer see the contact, or no longer ask. */
static void unsubscribed(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct set *set = set_of(ask);

    if (a->result == GR_R_ERROR) {
        give_up(set, a->cond, a->text);
        return;
    }
    set->walked = set->walked || a->result == GR_R_OK;
    if (a->result == GR_R_OK)
        send_subscription(self, NULL, GR_UNSUBSCRIBE, set->owner, set->contact, NULL);
    if (a->result == GR_R_OK && sub_from(a->after.sub))
        step(set, GR_ROSTER_OUT_UNSUBSCRIBED, cancelled);
    else
        step(set, GR_ROSTER_REMOVE_CONTACT, removed);
}

/* A request of the contact is not the roster's: it stays, so unsubscribed is only for `from`. */
static void walk(struct set *set, const struct gr_roster_item *item)
{
    if (sub_to(item->sub) || item->ask)
        step(set, GR_ROSTER_OUT_UNSUBSCRIBE, unsubscribed);
    else if (sub_from(item->sub))
        step(set, GR_ROSTER_OUT_UNSUBSCRIBED, cancelled);
    else
        step(set, GR_ROSTER_REMOVE_CONTACT, removed);
}

/* --- the request --- */

static void set_hook(struct set *set)
{
    struct gr_roster_item copy = set->item;
    struct gr_roster_item_ev ev = { .owner = set->owner, .item = &copy };

    gr_hook_run(set->self, GR_HOOK_roster_set, &ev.ev, NULL);
}

static void run_set(struct turn *t)
{
    struct set *set = GR_CONTAINER_OF(t, struct set, turn);

    if (is_removed(set->self, set->owner)) {
        fail(set, GR_FORBIDDEN, "the account was removed");
        return;
    }
    set_hook(set);
    if (set->remove)
        step(set, GR_ROSTER_GET_CONTACT, looked_again);
    else
        gr_roster_update(set->self, ask_for(set, updated), NULL, set->owner, &set->item);
}

void on_roster_set(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct set *set = gr_alloc(sizeof(*set));

    set->self = self;
    set->req = ev->req;
    set->owner = gr_jid_dup_bare(ev->to);
    set->cond = take_item(set, ev->payload);
    if (set->cond == GR_COND_NONE) {
        turn_take(turns_of(self), TURN_TASK, set->owner, &set->turn, run_set);
        return;
    }
    gr_iq_reply_error(set->req, set->cond, set->text);
    gr_jid_free(&set->owner);
    gr_jid_free(&set->contact);
    gr_free(set->groups);
    gr_free(set);
}
