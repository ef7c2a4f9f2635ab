/* mod/provider_ask.c: a call of whoever has the function; and what roster providers are asked, with
 * the answers of the default of priority 0, which has no rosters (backends.md 3). On the calling
 * loop. */
#include <string.h>

#include "mod/provider_priv.h"

void provider_call_to(struct provider_call *c, struct gr_ask *ask, struct provider *p,
                      struct provider_insts *insts, struct gr_session *s)
{
    struct provider_inst *pi = provider_open(p, insts, s);

    ask_to(ask, pi);
    *c = (struct provider_call){ p->vt, p->self, pi->inst };
}

bool provider_call_find(struct provider_call *c, struct gr_ask *ask, const struct gr_host *h,
                        enum gr_provider_type type, size_t offset, struct provider_insts *insts,
                        struct gr_session *s)
{
    struct provider *p = provider_find(h, type, offset);

    if (p != NULL)
        provider_call_to(c, ask, p, insts, s);
    return p != NULL;
}

#define ROSTER(f) GR_PROVIDER_ROSTER, offsetof(struct gr_roster_provider, f)

/* --- rosters --- */

typedef void (*plain_f)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user, const struct gr_jid *contact);

/* Where the function stands, and the answer when it is nowhere: there is no roster, subscriptions
 * are ignored (backends.md 3.4). */
static const struct {
    size_t offset;
    enum gr_result otherwise;
} roster_op[] = {
#define OP(op, f, r) [GR_ROSTER_##op] = { offsetof(struct gr_roster_provider, f), r }
    OP(GET_CONTACTS, get_contacts, GR_R_NONE),
    OP(GET_CONTACT, get_contact, GR_R_NONE),
    OP(REMOVE_CONTACT, remove_contact, GR_R_NONE),
    OP(GET_PENDING, get_pending, GR_R_NONE),
    OP(IS_PENDING, is_pending, GR_R_NONE),
    OP(OUT_SUBSCRIBE, outbound_subscribe, GR_R_NONE),
    OP(IN_SUBSCRIBE, inbound_subscribe, GR_R_FALSE),
    OP(OUT_SUBSCRIBED, outbound_subscribed, GR_R_NONE),
    OP(IN_SUBSCRIBED, inbound_subscribed, GR_R_NONE),
    OP(OUT_UNSUBSCRIBE, outbound_unsubscribe, GR_R_NONE),
    OP(IN_UNSUBSCRIBE, inbound_unsubscribe, GR_R_NONE),
    OP(OUT_UNSUBSCRIBED, outbound_unsubscribed, GR_R_NONE),
    OP(IN_UNSUBSCRIBED, inbound_unsubscribed, GR_R_NONE),
    OP(REMOVE_USER, remove_user, GR_R_OK),
    OP(UPDATE_CONTACT, update_contact, GR_R_NONE),
};

static struct provider_insts *insts_of(struct gr_session *s)
{
    return s != NULL && provider_insts_of != NULL ? provider_insts_of(s) : NULL;
}

/* Providers see bare addresses only (backends.md 3.1); *made is freed after the call. */
static const struct gr_jid *bare(const struct gr_jid *jid, struct gr_jid **made)
{
    *made = NULL;
    if (jid == NULL || jid->resource == NULL)
        return jid;
    return *made = gr_jid_dup_bare(jid);
}

static void call_roster(const struct provider_call *c, struct gr_ask *ask, enum gr_roster_op op,
                        const struct gr_jid *user, const struct gr_jid *contact,
                        struct gr_stanza *stanza)
{
    const struct gr_roster_provider *vt = c->vt;
    plain_f f = NULL;

    switch (op) {
    case GR_ROSTER_GET_CONTACTS:
        vt->get_contacts(c->self, c->inst, ask, user);
        return;
    case GR_ROSTER_GET_PENDING:
        vt->get_pending(c->self, c->inst, ask, user);
        return;
    case GR_ROSTER_OUT_SUBSCRIBE:
        vt->outbound_subscribe(c->self, c->inst, ask, user, contact, stanza);
        return;
    case GR_ROSTER_IN_SUBSCRIBE:
        vt->inbound_subscribe(c->self, c->inst, ask, user, contact, stanza);
        return;
    default: /* the others have one type */
        memcpy(&f, (const char *)vt + roster_op[op].offset, sizeof(f));
        f(c->self, c->inst, ask, user, contact);
    }
}

/* Nobody has the function. Of a roster that cannot be changed the contacts stay, and subscription
 * stanzas go nowhere (NONE would have them routed). */
static void answer_otherwise(struct gr_ask *ask, const struct gr_host *h, enum gr_roster_op op)
{
    bool fixed = h->providers->count[GR_PROVIDER_ROSTER] > 0;

    if (fixed && op == GR_ROSTER_REMOVE_CONTACT)
        gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
    else if (fixed && (op == GR_ROSTER_OUT_SUBSCRIBE || op == GR_ROSTER_OUT_UNSUBSCRIBE))
        gr_answer_result(ask, GR_R_FALSE);
    else
        gr_answer_result(ask, roster_op[op].otherwise);
}

void gr_roster_ask(struct gr_mod *self, struct gr_ask *take, enum gr_roster_op op,
                   struct gr_session *session, const struct gr_jid *user,
                   const struct gr_jid *contact, struct gr_stanza *stanza)
{
    struct gr_jid *made_user, *made_contact;
    struct provider_call c;

    gr_assert((unsigned)op < GR_COUNT(roster_op) && op != GR_ROSTER_UPDATE_CONTACT);
    ask_issue(take);
    if (!provider_call_find(&c, take, self->host, GR_PROVIDER_ROSTER, roster_op[op].offset,
                            insts_of(session), session)) {
        answer_otherwise(take, self->host, op);
        return;
    }
    user = bare(user, &made_user);
    contact = bare(contact, &made_contact);
    call_roster(&c, take, op, user, contact, stanza);
    gr_jid_free(&made_user);
    gr_jid_free(&made_contact);
    ask_sent(take);
}

void gr_roster_update(struct gr_mod *self, struct gr_ask *take, struct gr_session *session,
                      const struct gr_jid *user, const struct gr_roster_item *item)
{
    struct gr_roster_item copy = *item;
    struct gr_jid *made_user, *made_contact;
    struct provider_call c;

    ask_issue(take);
    if (!provider_call_find(&c, take, self->host, ROSTER(update_contact), insts_of(session),
                            session)) {
        gr_answer_error(take, GR_NOT_ALLOWED, NULL);
        return;
    }
    user = bare(user, &made_user);
    copy.jid = bare(item->jid, &made_contact);
    ((const struct gr_roster_provider *)c.vt)->update_contact(c.self, c.inst, take, user, &copy);
    gr_jid_free(&made_user);
    gr_jid_free(&made_contact);
    ask_sent(take);
}
