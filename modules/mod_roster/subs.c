/* mod_roster/subs.c: roster_out_subscription: what our users send (RFC 6121, 3 and A.2). The
 * presence module runs the chain before it routes; ev->deliver says whether it is to. Home loop
 * of the sender.
 *
 * In turn with the sets of the same owner, because a removal is several steps (iq_set.c). */
#include "roster.h"

#include <string.h>

struct out {
    struct turn turn;
    struct held held;
    struct gr_mod *self;
    struct gr_stanza_ev *ev;         /* only while held_valid */
    struct gr_stanza *stanza;
    struct gr_jid *owner, *contact;
    struct gr_jid *reply_to;         /* the resource that sent it, when known */
    enum gr_type type;
};

static struct out *out_of(struct gr_ask *ask)
{
    return *(struct out **)gr_ask_data(ask);
}

static struct gr_ask *ask_for(struct out *o, gr_answer_f done)
{
    struct gr_ask *ask = gr_ask_new(o->self, sizeof(o), done);

    *(struct out **)gr_ask_data(ask) = o;
    return ask;
}

static void finish(struct out *o, bool route)
{
    if (held_valid(&o->held))
        o->ev->deliver = route;
    gr_resume(o->held.hold, GR_OK);
    turn_leave(&o->turn);
    gr_stanza_unref(&o->stanza);
    gr_jid_free(&o->owner);
    gr_jid_free(&o->contact);
    gr_jid_free(&o->reply_to);
    gr_free(o);
}

/* To whoever sent it, as if from the contact. */
static void tell_refused(struct gr_mod *self, const struct gr_stanza *st, const struct gr_jid *from,
                         const struct gr_jid *to, enum gr_cond cond, const char *text)
{
    struct gr_stanza *reply = gr_error_reply(st, cond, text);

    if (reply == NULL)
        return;
    gr_stanza_set_from(reply, from);
    gr_stanza_set_to(reply, to);
    gr_send(self, reply);
}

static void refuse(struct out *o, enum gr_cond cond, const char *text)
{
    tell_refused(o->self, o->stanza, o->contact, o->reply_to, cond, text);
    finish(o, false);
}

/* --- A.2, column "route", from what changed --- */

/* Table 4: an approval is routed when there was a request; else it is one in advance (3.4.2). */
static bool approved(struct out *o, const struct gr_answer *a)
{
    bool gained = !sub_from(a->before.sub) && sub_from(a->after.sub);

    if (gained && held_valid(&o->held) && o->ev->ev.acc != NULL)
        gr_acc_set(o->ev->ev.acc, "roster", "granted", "1"); /* presences follow the approval */
    return gained;
}

/* Table 5 and 3.2.2: while it is still subscribed, the contact learns that we are gone. */
static bool cancelled(struct out *o, const struct gr_answer *a)
{
    bool lost = sub_from(a->before.sub);

    if (lost)
        send_presences(o->self, o->owner, o->contact, false);
    return lost || a->before.pending_in;
}

static bool routed(struct out *o, const struct gr_answer *a)
{
    switch (o->type) {
    case GR_SUBSCRIBE:
    case GR_UNSUBSCRIBE: /* also without a change: it repairs what the other side believes */
        return a->result == GR_R_OK || a->result == GR_R_NONE;
    case GR_SUBSCRIBED:
        return a->result == GR_R_OK && approved(o, a);
    default:
        return a->result == GR_R_OK && cancelled(o, a);
    }
}

static void answered(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct out *o = out_of(ask);
    bool route;

    if (a->result == GR_R_ERROR) {
        refuse(o, a->cond, a->text);
        return;
    }
    route = routed(o, a);
    if (a->result == GR_R_OK)
        push_change(self, o->owner, o->contact, a);
    finish(o, route);
}

static void change(struct out *o)
{
    enum gr_roster_op op = o->type == GR_SUBSCRIBE     ? GR_ROSTER_OUT_SUBSCRIBE
                           : o->type == GR_SUBSCRIBED  ? GR_ROSTER_OUT_SUBSCRIBED
                           : o->type == GR_UNSUBSCRIBE ? GR_ROSTER_OUT_UNSUBSCRIBE
                                                       : GR_ROSTER_OUT_UNSUBSCRIBED;

    gr_roster_ask(o->self, ask_for(o, answered), op, NULL, o->owner, o->contact, o->stanza);
}

static void contact_known(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct out *o = out_of(ask);

    (void)self;
    if (a->result == GR_R_OK)
        change(o);
    else
        refuse(o, a->result == GR_R_ERROR ? a->cond : GR_ITEM_NOT_FOUND, NULL);
}

static void run_out(struct turn *t)
{
    struct out *o = GR_CONTAINER_OF(t, struct out, turn);

    if (is_removed(o->self, o->owner))
        finish(o, false);
    else if (gr_jid_equal(o->owner, o->contact) && o->type == GR_SUBSCRIBE)
        refuse(o, GR_NOT_ALLOWED, "one sees one's own presence anyway");
    else if (gr_jid_equal(o->owner, o->contact))
        finish(o, false);
    else if (o->type == GR_SUBSCRIBE && o->contact->node != NULL &&
             strcmp(o->contact->domain, gr_mod_host_jid(o->self)->domain) == 0)
        gr_auth_valid_contact(o->self, ask_for(o, contact_known), o->contact->node);
    else
        change(o);
}

static bool is_subscription(enum gr_type type)
{
    return type == GR_SUBSCRIBE || type == GR_SUBSCRIBED || type == GR_UNSUBSCRIBE ||
           type == GR_UNSUBSCRIBED;
}

/* What is not recorded does not travel, also when there is no hold or it timed out: GR_FAIL gives
 * the event back as it was before the handler. */
enum gr_verdict on_out_first(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    if (gr_stanza_kind(ev->stanza) == GR_PRESENCE && is_subscription(gr_stanza_type(ev->stanza)))
        ev->deliver = false;
    return GR_OK;
}

enum gr_verdict on_out_subscription(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_type type = gr_stanza_type(ev->stanza);
    const struct gr_jid *sender = ev->session != NULL ? gr_session_jid(ev->session) : ev->from;
    struct held held;
    struct out *o;

    if (gr_stanza_kind(ev->stanza) != GR_PRESENCE || !is_subscription(type))
        return GR_OK;
    if (!held_take(&held, self, &ev->ev)) {
        tell_refused(self, ev->stanza, ev->to, sender, GR_RESOURCE_CONSTRAINT, NULL);
        return GR_OK;
    }
    o = gr_alloc(sizeof(*o));
    o->held = held;
    o->self = self;
    o->ev = ev;
    o->type = type;
    o->stanza = gr_stanza_ref(ev->stanza);
    o->owner = gr_jid_dup_bare(ev->from);
    o->contact = gr_jid_dup_bare(ev->to);
    o->reply_to = gr_jid_dup(sender);
    turn_take(turns_of(self), TURN_TASK, o->owner, &o->turn, run_out);
    return GR_PENDING;
}
