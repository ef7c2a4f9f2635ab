/* mod_presence/subscribe.c: subscription stanzas from our users (RFC 6121, 3.1.2, 3.1.5, 3.2.2,
 * 3.3.2).
 *
 * Both addresses are reduced to bare JIDs, roster_out_subscription records the new state and says
 * whether the stanza travels; it is routed after that, because a subscription that travels without
 * being on disk would be answered by a contact that we then do not know. The session's next stanza
 * waits meanwhile. */
#include "presence.h"

struct outbound {
    struct gr_stanza_ev e;
    struct gr_hold *hold;
    struct gr_jid *from, *to; /* bare */
};

bool is_subscription(enum gr_type type)
{
    return type == GR_SUBSCRIBE || type == GR_SUBSCRIBED || type == GR_UNSUBSCRIBE ||
           type == GR_UNSUBSCRIBED;
}

/* RFC 6121, 3.1.5: the new subscriber learns about every available resource. */
static void show_presence(struct gr_mod *self, const struct outbound *o)
{
    const struct gr_account *a = gr_account_find(self, o->from);

    if (a == NULL)
        return;
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        if (gr_session_available(s) && may_show(self, s, o->to))
            send_copy(self, gr_session_presence(s), o->to);
}

static void recorded(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_stanza_ev *e = GR_CONTAINER_OF(ev, struct gr_stanza_ev, ev);
    struct outbound *o = GR_CONTAINER_OF(e, struct outbound, e);

    (void)verdict; /* a value hook */
    if (e->deliver)
        gr_send_in(self, ev, gr_stanza_ref(e->stanza));
    /* An approval travels only when it grants something (A.2, table 4). */
    if (e->deliver && gr_stanza_type(e->stanza) == GR_SUBSCRIBED)
        show_presence(self, o);
    gr_resume(o->hold, GR_OK);
    gr_stanza_unref(&e->stanza);
    gr_jid_free(&o->from);
    gr_jid_free(&o->to);
    gr_free(o);
}

enum gr_verdict send_subscription(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct outbound *o;
    struct gr_hold *hold;

    if (gr_stanza_to(ev->stanza) == NULL)
        return gr_ev_refuse(self, ev, GR_BAD_REQUEST, "a subscription needs an address");
    if (gr_jid_bare_equal(ev->from, ev->to)) /* one sees oneself anyway: RFC 6121, 4.2.2 */
        return gr_ev_refuse(self, ev, GR_NOT_ALLOWED, "this is your own address");
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return gr_ev_refuse(self, ev, GR_RESOURCE_CONSTRAINT, NULL);
    o = gr_alloc(sizeof(*o));
    o->hold = hold;
    o->from = gr_jid_dup_bare(ev->from);
    o->to = gr_jid_dup_bare(ev->to);
    o->e.session = ev->session;
    o->e.from = o->from;
    o->e.to = o->to;
    o->e.stanza = gr_stanza_copy(ev->stanza);
    gr_stanza_set_from(o->e.stanza, o->from);
    gr_stanza_set_to(o->e.stanza, o->to);
    o->e.deliver = true; /* without a roster nothing is recorded, and everything travels */
    gr_hook_run_held(self, hold, GR_HOOK_roster_out_subscription, &o->e.ev, recorded);
    return GR_PENDING;
}
