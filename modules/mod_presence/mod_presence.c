/* mod_presence: presence of our users (RFC 6121, 3 and 4). Without it the server carries messages
 * only.
 *
 * This file: what a client sends, what it may receive, and the end of a session. Who is told is
 * decided in broadcast.c; directed.c remembers to whom a session has shown itself, subscribe.c
 * does subscriptions on their way out, probe.c answers for the account. On the account's home
 * loop. */
#include "presence.h"

/* --- from the client: available and unavailable --- */

static bool is_broadcast(const struct gr_stanza_ev *ev)
{
    const struct gr_jid *to = gr_stanza_to(ev->stanza);

    /* One's own bare JID means the same (hooks.md 6.7). */
    return to == NULL || (gr_jid_is_bare(to) && gr_jid_bare_equal(to, ev->from));
}

static void run_user_available(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_session_ev e = { .ev.acc = ev->ev.acc, .session = ev->session,
                               .jid = gr_session_jid(ev->session), .stanza = ev->stanza };

    gr_hook_run(self, GR_HOOK_user_available, &e.ev, NULL);
}

static enum gr_verdict become_available(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_session *s = ev->session;
    bool was = gr_session_available(s), heard = was && gr_session_priority(s) >= 0;
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_stanza *kept;

    if (hold == NULL)
        return gr_ev_refuse(self, ev, GR_RESOURCE_CONSTRAINT, NULL);
    /* For as long as the session: not the parser's roomy block and the text for the subscribers. */
    kept = gr_stanza_copy(ev->stanza);
    gr_session_set_presence(self, s, kept, NULL);
    gr_stanza_unref(&kept);
    if (!was) {
        struct gr_jid *bare = gr_jid_dup_bare(ev->from);
        run_user_available(self, ev);
        run_presence_probe(self, ev->ev.acc, s, ev->from, bare, NULL);
        gr_jid_free(&bare);
    }
    broadcast(self, &(struct broadcast_order){
        .kind = was ? BROADCAST_UPDATE : BROADCAST_INITIAL, .session = s, .stanza = ev->stanza,
        .subscribers = true, .resend = !heard && gr_session_priority(s) >= 0,
        .take_hold = hold });
    return GR_PENDING;
}

static enum gr_verdict become_unavailable(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_session *s = ev->session;
    struct directed *d = gr_session_slot_peek(self, s, &directed_slot);
    struct gr_el *status = gr_stanza_child(ev->stanza, GR_NS_CLIENT, "status");
    bool was = gr_session_available(s);
    struct gr_hold *hold;

    if (!was && (d == NULL || d->count == 0))
        return GR_OK; /* nobody knows that it was ever there */
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return gr_ev_refuse(self, ev, GR_RESOURCE_CONSTRAINT, NULL);
    gr_session_changed(self, s);
    if (was)
        gr_session_set_presence(self, s, NULL, status != NULL ? gr_el_text(status, NULL) : NULL);
    broadcast(self, &(struct broadcast_order){
        .kind = BROADCAST_GONE, .session = s, .stanza = ev->stanza, .directed = d,
        .subscribers = was, .echo = was, .take_hold = hold });
    return GR_PENDING;
}

/* RFC 6121, 4.6.3: the entity is remembered whoever it is; whether it is a subscriber is looked
 * at when the session becomes unavailable. */
static enum gr_verdict send_directed(struct gr_mod *self, struct gr_stanza_ev *ev, bool available)
{
    struct directed *d;
    unsigned before;

    if (!gr_jid_bare_equal(ev->to, ev->from)) {
        d = gr_session_slot(self, ev->session, &directed_slot);
        before = d->count;
        if (!available)
            directed_remove(d, ev->to);
        else if (!directed_add(d, ev->to))
            return gr_ev_refuse(self, ev, GR_RESOURCE_CONSTRAINT, "too much directed presence");
        if (d->count != before)
            gr_session_changed(self, ev->session);
    }
    gr_send_in(self, &ev->ev, gr_stanza_ref(ev->stanza));
    return GR_OK;
}

static enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_type type = gr_stanza_type(ev->stanza);

    switch (type) {
    case GR_AVAILABLE:
        if (gr_presence_priority(ev->stanza) == GR_PRIORITY_INVALID)
            return gr_ev_refuse(self, ev, GR_BAD_REQUEST, "not a priority"); /* RFC 6121, 4.7.2.3 */
        return is_broadcast(ev) ? become_available(self, ev) : send_directed(self, ev, true);
    case GR_UNAVAILABLE:
        return is_broadcast(ev) ? become_unavailable(self, ev) : send_directed(self, ev, false);
    case GR_SUBSCRIBE:
    case GR_SUBSCRIBED:
    case GR_UNSUBSCRIBE:
    case GR_UNSUBSCRIBED:
        return send_subscription(self, ev);
    case GR_PROBE:       /* not a client's business, but to be routed: RFC 6121, 4.3 */
    case GR_TYPE_ERROR:
        if (gr_stanza_to(ev->stanza) != NULL)
            gr_send_in(self, &ev->ev, gr_stanza_ref(ev->stanza));
        return GR_OK;
    default:
        /* RFC 6121, 4.7.1 */
        return gr_ev_refuse(self, ev, GR_BAD_REQUEST, "not a type of presence");
    }
}

/* --- to the client --- */

/* A resource that has not sent presence gets none (hooks.md 6.6), except what is addressed to it
 * by its full JID (RFC 6121, 8.5.3.1): a room that it has joined answers there. */
static bool may_see(const struct gr_stanza_ev *ev, enum gr_type type)
{
    if (gr_session_available(ev->session) || !gr_jid_is_bare(ev->to))
        return true;
    return type != GR_AVAILABLE && type != GR_UNAVAILABLE && type != GR_SUBSCRIBE;
}

static enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_type type = gr_stanza_type(ev->stanza);
    struct directed *d;

    if (type == GR_PROBE)
        return GR_STOP;
    /* A session that was replaced had the same address; its end is not ours (hooks.md 6.11). */
    if (type == GR_UNAVAILABLE && gr_session_available(ev->session) &&
        gr_jid_equal(ev->from, gr_session_jid(ev->session)))
        return GR_STOP;
    if (type == GR_UNAVAILABLE || type == GR_TYPE_ERROR) {
        d = gr_session_slot_peek(self, ev->session, &directed_slot);
        if (d != NULL && d->count > 0) {
            directed_gone(d, ev->from); /* RFC 6121, 4.6.1 */
            gr_session_changed(self, ev->session);
        }
    }
    return may_see(ev, type) ? GR_OK : GR_STOP;
}

/* --- the end of a session --- */

/* RFC 6121, 4.5.2: in the name of a client that did not say so itself. A resumed session goes on
 * elsewhere (hooks.md 6.11). unset_presence is the core's. */
static enum gr_verdict on_terminate(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct directed *d = gr_session_slot_peek(self, ev->session, &directed_slot);
    bool was = gr_session_available(ev->session);
    struct gr_stanza *st;

    if (ev->reason == GR_END_RESUMED || (!was && (d == NULL || d->count == 0)))
        return GR_OK;
    st = gr_presence_new(GR_UNAVAILABLE, ev->jid, NULL);
    broadcast(self, &(struct broadcast_order){ .kind = BROADCAST_GONE, .session = ev->session,
                                               .stanza = st, .directed = d, .subscribers = was });
    gr_stanza_unref(&st);
    return GR_OK;
}

static void stop(struct gr_mod *self)
{
    broadcast_stop(gr_state(self));
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_presence, GR_PRIO_NORMAL, on_send),
    GR_ON(user_receive_presence, GR_PRIO_NORMAL, on_receive),
    GR_ON(user_terminate, GR_PRIO_LATE, on_terminate),
    GR_ON(filter_local_packet, GR_PRIO_NORMAL, on_local_packet),
    GR_HOOK_END
};

static const struct gr_slot *const slots[] = { &directed_slot, NULL };

GR_MODULE(presence,
    .summary = "presence: broadcast, directed presence, probes, subscriptions (RFC 6121)",
    .state_size = sizeof(struct presence), .hooks = hooks, .slots = slots, .stop = stop);
