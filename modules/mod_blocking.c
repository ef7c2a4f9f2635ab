/* mod_blocking: the blocking command (XEP-0191): a view of the default privacy list, which
 * mod_privacy keeps and puts in force. Here: the protocol, and pushes to the resources that
 * asked for the block list. Reports of abuse (XEP-0377) that come with a block are logged. */
#include "privacy_blocklist.h"
#include "privacy_request.h"

#include <string.h>

#define NS_BLOCKING "urn:xmpp:blocking"
#define NS_REPORTING "urn:xmpp:reporting:1"

struct asked {
    bool list; /* wants to hear of changes */
};
static const struct gr_slot asked_slot = GR_SLOT(struct asked, 1, NULL);

/* --- asking mod_privacy --- */

struct order {
    struct blocklist_ev e;
    struct gr_hold *hold;
    struct gr_privacy_ev *ev; /* while the hold waits */
    struct gr_jid *owner, *who;
    struct gr_jid **jids;
};

static void answer_list(struct gr_privacy_ev *ev, const struct blocklist_ev *e)
{
    struct gr_stanza *st = gr_iq_result(ev->stanza);
    struct gr_el *list = gr_el_add(st, NULL, NS_BLOCKING, "blocklist");

    for (size_t i = 0; i < e->blocked_count; i++)
        gr_el_set(st, gr_el_add(st, list, NULL, "item"), "jid", e->blocked[i]->full);
    ev->reply = st;
}

static void on_order(struct gr_mod *self, struct gr_ev *base, enum gr_verdict verdict)
{
    struct blocklist_ev *e = GR_CONTAINER_OF(base, struct blocklist_ev, ev);
    struct order *o = GR_CONTAINER_OF(e, struct order, e);
    struct gr_hold *hold = o->hold;

    (void)self, (void)verdict;
    if (gr_hold_waits(hold)) {
        o->ev->cond = e->answered ? e->cond : GR_INTERNAL_SERVER_ERROR;
        if (o->ev->cond == GR_COND_NONE && e->op == BLOCKLIST_GET)
            answer_list(o->ev, e);
        else if (o->ev->cond == GR_COND_NONE)
            o->ev->reply = gr_iq_result(o->ev->stanza);
    }
    for (size_t i = 0; i < e->count; i++)
        gr_jid_free(&o->jids[i]);
    gr_free(o->jids);
    gr_free(e->blocked);
    gr_jid_free(&o->owner);
    gr_jid_free(&o->who);
    gr_free(o);
    gr_resume(hold, GR_STOP);
}

static enum gr_verdict refuse(struct gr_privacy_ev *ev, enum gr_cond cond)
{
    ev->cond = cond;
    return GR_STOP;
}

static enum gr_verdict order(struct gr_mod *self, struct gr_privacy_ev *ev, enum blocklist_op op,
                             struct gr_jid **take_jids, size_t count)
{
    struct order *o = gr_alloc(sizeof(*o));

    o->hold = gr_hold(self, &ev->ev);
    o->ev = ev;
    o->owner = gr_jid_dup(ev->owner);
    o->who = gr_jid_dup(ev->peer);
    o->jids = take_jids;
    o->e.op = op;
    o->e.owner = o->owner;
    o->e.who = o->who;
    o->e.jids = (const struct gr_jid *const *)o->jids;
    o->e.count = count;
    if (o->hold == NULL) {
        on_order(self, &o->e.ev, GR_FAIL);
        return refuse(ev, GR_RESOURCE_CONSTRAINT);
    }
    gr_hook_run_custom(self, BLOCKLIST_HOOK, &o->e.ev, on_order);
    return GR_PENDING;
}

/* --- get --- */

static enum gr_verdict on_get(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    const struct gr_el *payload = privacy_payload(ev, NS_BLOCKING);
    struct gr_session *s;

    if (payload == NULL)
        return GR_OK;
    if (!gr_el_is(payload, NULL, "blocklist"))
        return refuse(ev, GR_BAD_REQUEST);
    s = gr_session_find(self, ev->peer, 0);
    if (s != NULL)
        ((struct asked *)gr_session_slot(self, s, &asked_slot))->list = true;
    return order(self, ev, BLOCKLIST_GET, NULL, 0);
}

/* --- set --- */

static const char *reason_of(const struct gr_el *report)
{
    const char *reason = gr_el_attr(report, "reason");

    if (reason != NULL && strcmp(reason, "urn:xmpp:reporting:spam") == 0)
        return "spam";
    return reason != NULL && strcmp(reason, "urn:xmpp:reporting:abuse") == 0 ? "abuse"
                                                                             : "something";
}

static void note_report(const struct gr_privacy_ev *ev, const struct gr_el *item,
                        const struct gr_jid *jid)
{
    const struct gr_el *report = gr_el_child(item, NS_REPORTING, "report");

    if (report != NULL)
        gr_info("blocking.report", "%s reports %s by %s", ev->owner->bare, reason_of(report),
                jid->full);
}

/* The number of items, or what is wrong with one of them. */
static enum gr_cond take_items(const struct gr_privacy_ev *ev, const struct gr_el *payload,
                               struct gr_jid ***out, size_t *count)
{
    size_t n = 0;

    for (const struct gr_el *el = gr_el_child(payload, NS_BLOCKING, "item"); el != NULL;
         el = gr_el_next(el, NS_BLOCKING, "item"))
        n++;
    *out = gr_alloc((n + 1) * sizeof(**out));
    for (const struct gr_el *el = gr_el_child(payload, NS_BLOCKING, "item"); el != NULL;
         el = gr_el_next(el, NS_BLOCKING, "item")) {
        const char *text = gr_el_attr(el, "jid");

        if (text == NULL)
            return GR_BAD_REQUEST;
        if (gr_jid_parse(text, strlen(text), &(*out)[*count]) != 0)
            return GR_JID_MALFORMED;
        note_report(ev, el, (*out)[(*count)++]);
    }
    return GR_COND_NONE;
}

static enum gr_verdict on_set(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    const struct gr_el *payload = privacy_payload(ev, NS_BLOCKING);
    bool block = payload != NULL && gr_el_is(payload, NULL, "block");
    struct gr_jid **jids = NULL;
    size_t count = 0;
    enum gr_cond cond;

    if (payload == NULL)
        return GR_OK;
    if (!block && !gr_el_is(payload, NULL, "unblock"))
        return refuse(ev, GR_BAD_REQUEST);
    cond = take_items(ev, payload, &jids, &count);
    if (cond == GR_COND_NONE && block && count == 0)
        cond = GR_BAD_REQUEST;
    if (cond == GR_COND_NONE)
        return order(self, ev, block ? BLOCKLIST_BLOCK : BLOCKLIST_UNBLOCK, jids, count);
    while (count > 0)
        gr_jid_free(&jids[--count]);
    gr_free(jids);
    return refuse(ev, cond);
}

/* --- pushes (XEP-0191, 3.3 to 3.5): they go as results do, and so overtake none --- */

static void push(struct gr_mod *self, const struct gr_session *s, const struct gr_jid *owner,
                 const char *what, const struct gr_jid *const *jids, size_t count)
{
    struct gr_stanza *st = gr_iq_new(GR_SET, owner, gr_session_jid(s), NULL);
    struct gr_el *el = gr_el_add(st, NULL, NS_BLOCKING, what);

    for (size_t i = 0; i < count; i++)
        gr_el_set(st, gr_el_add(st, el, NULL, "item"), "jid", jids[i]->full);
    gr_send(self, st);
}

static enum gr_verdict on_changed(struct gr_mod *self, struct gr_ev *base)
{
    const struct blocklist_changed_ev *ev = GR_CONTAINER_OF(base, struct blocklist_changed_ev, ev);
    const struct gr_account *a = gr_account_find(self, ev->owner);
    struct gr_session *s = NULL;

    while (a != NULL && (s = gr_account_next(a, s)) != NULL) {
        const struct asked *asked = gr_session_slot_peek(self, s, &asked_slot);

        if (asked == NULL || !asked->list)
            continue;
        if (ev->unblocked_count > 0)
            push(self, s, ev->owner, "unblock", ev->unblocked, ev->all ? 0 : ev->unblocked_count);
        if (ev->blocked_count > 0)
            push(self, s, ev->owner, "block", ev->blocked, ev->blocked_count);
    }
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(privacy_iq_get, GR_PRIO_NORMAL, on_get),
    GR_ON(privacy_iq_set, GR_PRIO_NORMAL, on_set),
    GR_ON_CUSTOM(BLOCKLIST_CHANGED_HOOK, GR_PRIO_NORMAL, on_changed),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_BLOCKING, NULL, privacy_request),
    GR_IQ_END
};

GR_MODULE(blocking,
    .summary = "the blocking command (XEP-0191)",
    .hooks = hooks, .iqs = iqs,
    .features = (const char *const[]){ NS_BLOCKING, NS_REPORTING, NULL },
    .needs = (const char *const[]){ "privacy", NULL },
    .slots = (const struct gr_slot *const[]){ &asked_slot, NULL });
