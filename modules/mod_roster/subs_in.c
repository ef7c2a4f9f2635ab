/* mod_roster/subs_in.c: roster_in_subscription: what arrives for our users (RFC 6121, 3 and
 * A.3).
 *
 * Run by the core on the recipient's home loop, behind its own check that the account exists. A
 * request goes to every available resource, which the core does when ev->deliver says so; the
 * other three go to the interested ones, in front of the push that they cause (3.1.6, 3.2.3,
 * 3.3.3): those we deliver. */
#include "roster.h"

struct in {
    struct held held;
    struct gr_stanza_ev *ev;         /* only while held_valid */
    struct gr_stanza *stanza;
    struct gr_jid *owner, *contact;
    enum gr_type type;
};

/* What is sent while the chain waits belongs to the stanza that asked for it. */
static const struct gr_ev *on_behalf(const struct in *in)
{
    return held_valid(&in->held) && in->ev->ev.acc != NULL ? &in->ev->ev : NULL;
}

static void finish(struct in *in, bool deliver)
{
    if (held_valid(&in->held))
        in->ev->deliver = deliver;
    gr_resume(in->held.hold, GR_OK);
    gr_stanza_unref(&in->stanza);
    gr_jid_free(&in->owner);
    gr_jid_free(&in->contact);
    gr_free(in);
}

/* Table 6. True: to be delivered. */
static bool subscribe(struct gr_mod *self, struct in *in, const struct gr_answer *a)
{
    bool gained = a->result == GR_R_OK && !sub_from(a->before.sub) && sub_from(a->after.sub);

    if (a->result == GR_R_FALSE)
        return false; /* has asked before, or nobody may ask */
    if (a->result == GR_R_OK && !gained)
        return true;
    send_subscription(self, on_behalf(in), GR_SUBSCRIBED, in->owner, in->contact, gr_stanza_id(in->stanza));
    if (!gained)
        return false;
    push_change(self, in->owner, in->contact, a);
    send_presences(self, in->owner, in->contact, true);
    return false;
}

/* Tables 7 to 9: something changed. */
static void notice(struct gr_mod *self, struct in *in, const struct gr_answer *a)
{
    to_interested(self, in->owner, in->stanza);
    push_change(self, in->owner, in->contact, a);
    if (in->type != GR_UNSUBSCRIBE)
        return;
    if (sub_from(a->before.sub))
        send_presences(self, in->owner, in->contact, false);
    send_subscription(self, on_behalf(in), GR_UNSUBSCRIBED, in->owner, in->contact, gr_stanza_id(in->stanza));
}

/* A request that cannot be kept was not made: the other side must know (RFC 6121, 3.1.2). */
static void failed(struct gr_mod *self, struct in *in, const struct gr_answer *a)
{
    struct gr_stanza *reply;

    gr_warn("roster.subscription", "%s of %s for %s: %s", gr_el_attr(gr_stanza_root(in->stanza),
            "type"), in->contact->bare, in->owner->bare, gr_cond_name(a->cond));
    if (in->type != GR_SUBSCRIBE)
        return;
    reply = gr_error_reply(in->stanza, a->cond, NULL);
    if (reply == NULL)
        return;
    gr_stanza_set_from(reply, in->owner);
    gr_stanza_set_to(reply, in->contact);
    gr_send(self, reply);
}

static void answered(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct in *in = *(struct in **)gr_ask_data(ask);
    bool deliver = false;

    if (a->result == GR_R_ERROR)
        failed(self, in, a);
    else if (in->type == GR_SUBSCRIBE)
        deliver = subscribe(self, in, a);
    else if (a->result == GR_R_OK)
        notice(self, in, a);
    finish(in, deliver);
}

/* NULL: none of the four. */
static const enum gr_roster_op *op_of(enum gr_type type)
{
    static const enum gr_roster_op ops[] = { GR_ROSTER_IN_SUBSCRIBE, GR_ROSTER_IN_SUBSCRIBED,
                                             GR_ROSTER_IN_UNSUBSCRIBE,
                                             GR_ROSTER_IN_UNSUBSCRIBED };

    return type == GR_SUBSCRIBE     ? &ops[0]
           : type == GR_SUBSCRIBED  ? &ops[1]
           : type == GR_UNSUBSCRIBE ? &ops[2]
           : type == GR_UNSUBSCRIBED ? &ops[3] : NULL;
}

/* From the bare address, also when a server forgot (RFC 6121, 3): that is what is stored and
 * shown. */
static void strip(struct gr_stanza_ev *ev, const struct gr_jid *contact)
{
    const struct gr_jid *from = gr_stanza_from(ev->stanza);

    if (from == NULL || from->resource != NULL)
        gr_stanza_set_from(gr_ev_edit(ev), contact);
}

enum gr_verdict on_in_subscription(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const enum gr_roster_op *op = op_of(gr_stanza_type(ev->stanza));
    struct held held;
    struct gr_ask *ask;
    struct in *in;

    if (op == NULL || gr_jid_bare_equal(ev->from, ev->to))
        return GR_OK; /* deliver stays false */
    if (!held_take(&held, self, &ev->ev))
        return GR_FAIL;
    in = gr_alloc(sizeof(*in));
    in->held = held;
    in->ev = ev;
    in->type = gr_stanza_type(ev->stanza);
    in->owner = gr_jid_dup_bare(ev->to);
    in->contact = gr_jid_dup_bare(ev->from);
    strip(ev, in->contact);
    in->stanza = gr_stanza_ref(ev->stanza);
    ask = gr_ask_new(self, sizeof(in), answered);
    *(struct in **)gr_ask_data(ask) = in;
    gr_roster_ask(self, ask, *op, NULL, in->owner, in->contact, in->stanza);
    return GR_PENDING;
}
