/* mod_presence/probe.c: what arrives for an account before anybody looks at its resources: probes
 * are answered here (RFC 6121, 4.3.2 and 4.6.6) and go no further, subscription stanzas lose their
 * resource (3.1.3).
 *
 * An account that does not exist and one that the asker may not see give the same answer: type
 * "unsubscribed", from the bare JID. The time of the last unavailable presence is not told (a
 * SHOULD): nothing keeps it here. On the home loop of the account. */
#include "presence.h"

struct probe {
    struct gr_jid_info_ev info;
    struct gr_hold *hold;
    struct gr_acc *acc; /* of the held event */
    struct gr_jid *from, *to, *asker, *owner; /* as addressed, and bare */
    struct gr_stanza *stanza;
};

void run_presence_probe(struct gr_mod *self, struct gr_acc *acc, struct gr_session *s,
                        const struct gr_jid *from, const struct gr_jid *to,
                        struct gr_stanza *stanza)
{
    struct gr_stanza_ev e = { .ev.acc = acc, .session = s, .from = from, .to = to };

    e.stanza = stanza != NULL ? gr_stanza_ref(stanza) : gr_presence_new(GR_PROBE, from, to);
    if (acc != NULL)
        gr_hook_run(self, GR_HOOK_presence_probe, &e.ev, NULL);
    gr_stanza_unref(&e.stanza);
}

/* --- answers --- */

/* RFC 6121, 4.3.2, case 4: everything, with the id it had (4.3.2.1) and its time (XEP-0203). */
static void send_presence(struct gr_mod *self, struct gr_session *s, const struct gr_jid *to)
{
    struct gr_stanza *copy = gr_stanza_copy(gr_session_presence(s));

    gr_stanza_set_to(copy, to);
    gr_stanza_add_delay(copy, gr_session_jid(s)->full, gr_session_presence_us(s));
    gr_send(self, copy);
}

/* Mere presence, no details. */
static void send_mere(struct gr_mod *self, struct gr_session *s, const struct gr_jid *to)
{
    struct gr_stanza *st = gr_presence_new(GR_AVAILABLE, gr_session_jid(s), to);
    const struct gr_stanza *last = gr_session_presence(s);

    if (last != NULL && gr_stanza_id(last) != NULL)
        gr_stanza_set_id(st, gr_stanza_id(last));
    gr_send(self, st);
}

/* A state of the whole account, with the probe's own id (4.3.2.1). */
static void send_state(struct gr_mod *self, enum gr_type type, const struct gr_jid *from,
                       const struct gr_jid *to, const struct gr_stanza *probe)
{
    struct gr_stanza *st = gr_presence_new(type, from, to);

    if (gr_stanza_id(probe) != NULL)
        gr_stanza_set_id(st, gr_stanza_id(probe));
    gr_send(self, st);
}

/* A privacy list may hide one resource and not another. */
bool may_show(struct gr_mod *self, const struct gr_session *s, const struct gr_jid *to)
{
    struct gr_privacy_ev ev = { .owner = gr_session_jid(s), .peer = to, .outgoing = true };

    ev.stanza = gr_session_presence(s);
    if (ev.stanza == NULL) /* not available: nothing that a list could hide */
        return true;
    gr_hook_run(self, GR_HOOK_privacy_check_packet, &ev.ev, NULL);
    return ev.verdict == GR_ALLOW;
}

static bool asked_for(const struct gr_session *s, const struct gr_jid *to)
{
    return gr_jid_is_bare(to) || gr_jid_equal(gr_session_jid(s), to);
}

static void answer_subscriber(struct gr_mod *self, const struct probe *p, struct gr_acc *acc)
{
    const struct gr_account *a = gr_account_find(self, p->to);
    struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL;
    bool any = false;

    for (; s != NULL; s = gr_account_next(a, s)) {
        if (!gr_session_available(s) || !asked_for(s, p->to) || !may_show(self, s, p->from))
            continue;
        any = true;
        run_presence_probe(self, acc, s, p->from, p->to, p->stanza);
        if (gr_jid_is_bare(p->to))
            send_presence(self, s, p->from);
        else
            send_mere(self, s, p->from);
    }
    if (!any)
        send_state(self, GR_UNAVAILABLE, p->to, p->from, p->stanza);
}

/* RFC 6121, 4.6.6: somebody to whom a resource has shown itself may ask about that resource. */
static void answer_stranger(struct gr_mod *self, const struct probe *p)
{
    const struct gr_account *a = gr_account_find(self, p->to);
    struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL;
    bool any = false;

    for (; s != NULL; s = gr_account_next(a, s)) {
        const struct directed *d = gr_session_slot_peek(self, s, &directed_slot);

        if (d == NULL || !asked_for(s, p->to) || !directed_has(d, p->from))
            continue;
        any = true;
        send_mere(self, s, p->from);
    }
    if (!any)
        send_state(self, GR_UNSUBSCRIBED, p->owner, p->asker, p->stanza);
}

/* --- asking the roster --- */

static void probe_free(struct probe *p)
{
    gr_stanza_unref(&p->stanza);
    gr_jid_free(&p->from);
    gr_jid_free(&p->to);
    gr_jid_free(&p->asker);
    gr_jid_free(&p->owner);
    gr_free(p);
}

static void on_info(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_jid_info_ev *info = GR_CONTAINER_OF(ev, struct gr_jid_info_ev, ev);
    struct probe *p = GR_CONTAINER_OF(info, struct probe, info);
    bool fresh = gr_hold_waits(p->hold);

    (void)verdict; /* a value hook */
    if (info->sub == GR_SUB_FROM || info->sub == GR_SUB_BOTH || gr_jid_equal(p->asker, p->owner))
        answer_subscriber(self, p, fresh ? p->acc : NULL);
    else
        answer_stranger(self, p);
    gr_resume(p->hold, GR_DROP);
    probe_free(p);
}

static enum gr_verdict on_probe(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct probe *p;

    if (hold == NULL) /* too much to do: silence is an answer too (RFC 6121, 8.5.1) */
        return GR_DROP;
    p = gr_alloc(sizeof(*p));
    p->hold = hold;
    p->acc = ev->ev.acc;
    p->from = gr_jid_dup(ev->from);
    p->to = gr_jid_dup(ev->to);
    p->asker = gr_jid_dup_bare(ev->from);
    p->owner = gr_jid_dup_bare(ev->to);
    p->stanza = gr_stanza_ref(ev->stanza);
    p->info.owner = p->owner;
    p->info.contact = p->asker;
    gr_hook_run(self, GR_HOOK_roster_get_jid_info, &p->info.ev, on_info);
    return GR_PENDING;
}

/* RFC 6121, 3.1.3: as if it had been sent to the bare JID; 8.5.3.2.2: but only "subscribe" when
 * there is no such resource. */
static enum gr_verdict reduce(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_account *a = gr_account_find(self, ev->to);
    struct gr_jid *bare;

    if (gr_stanza_type(ev->stanza) != GR_SUBSCRIBE &&
        (a == NULL || gr_account_session(a, ev->to->resource) == NULL))
        return GR_DROP;
    bare = gr_jid_dup_bare(ev->to);
    gr_ev_redirect(ev, NULL, bare);
    gr_jid_free(&bare);
    return GR_OK;
}

enum gr_verdict on_local_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_type type;

    if (gr_stanza_kind(ev->stanza) != GR_PRESENCE || ev->to->node == NULL)
        return GR_OK;
    type = gr_stanza_type(ev->stanza);
    if (type == GR_PROBE)
        return on_probe(self, ev);
    if (is_subscription(type) && !gr_jid_is_bare(ev->to))
        return reduce(self, ev);
    return GR_OK;
}
