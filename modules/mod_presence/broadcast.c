/* mod_presence/broadcast.c: who gets a session's presence (RFC 6121, 4.2.2, 4.4.2, 4.5.2).
 *
 * The subscribers are asked for each time (roster_get_subscription_lists), which may take a
 * while; what it needs then is kept here and not looked up in the event, which the core may have
 * given up. The broadcasts of one account go out in the order in which they were ordered: the
 * "unavailable" of a session that was replaced must not overtake or follow the presence of its
 * successor. */
#include "presence.h"

#include <string.h>

struct broadcast {
    struct gr_roster_ev lists;
    struct broadcast *next;
    enum broadcast_kind kind;
    bool ready, subscribers, echo, resend;
    struct gr_jid *jid, *bare;
    uint64_t session;
    struct gr_stanza *stanza;
    struct directed directed;
    struct gr_hold *hold;
};

static void broadcast_free(struct broadcast *b)
{
    gr_roster_ev_clear(&b->lists);
    gr_stanza_unref(&b->stanza);
    directed_clear(&b->directed);
    gr_jid_free(&b->jid);
    gr_jid_free(&b->bare);
    gr_free(b);
}

void send_copy(struct gr_mod *self, struct gr_stanza *st, const struct gr_jid *to)
{
    gr_send(self, gr_stanza_copy_to(st, to));
}

/* --- the recipients --- */

static bool sees_us(const struct gr_roster_item *item)
{
    return item->sub == GR_SUB_FROM || item->sub == GR_SUB_BOTH;
}

static bool seen_by_us(const struct gr_roster_item *item)
{
    return item->sub == GR_SUB_TO || item->sub == GR_SUB_BOTH;
}

static void to_subscribers(struct gr_mod *self, const struct broadcast *b)
{
    for (size_t i = 0; i < gr_roster_list_count(b->lists.items); i++) {
        const struct gr_roster_item *item = gr_roster_list_at(b->lists.items, i);

        if (sees_us(item) && !gr_jid_bare_equal(item->jid, b->bare))
            send_copy(self, b->stanza, item->jid);
    }
}

static bool is_subscriber(const struct broadcast *b, const struct gr_jid *jid)
{
    for (size_t i = 0; i < gr_roster_list_count(b->lists.items); i++) {
        const struct gr_roster_item *item = gr_roster_list_at(b->lists.items, i);

        if (sees_us(item) && gr_jid_bare_equal(item->jid, jid))
            return true;
    }
    return false;
}

/* RFC 6121, 4.6.3, cases 2 and 3; a subscriber (case 1) has got it already. */
static void to_directed(struct gr_mod *self, const struct broadcast *b)
{
    for (unsigned i = 0; i < b->directed.count; i++)
        if (!b->subscribers || !is_subscriber(b, b->directed.jid[i]))
            send_copy(self, b->stanza, b->directed.jid[i]);
}

static struct gr_stanza *probe_from(const struct gr_jid *from)
{
    struct gr_stanza *probe = gr_presence_new(GR_PROBE, from, NULL);
    char id[GR_ID_SIZE];

    gr_random_id(id);
    gr_stanza_set_id(probe, id);
    return probe;
}

/* RFC 6121, 4.3.1: from bare JID to bare JID. Within our own domain the probe never leaves the
 * server (the RFC asks for none at all), and only the new resource needs the answer: from its
 * full JID. */
static void probe_contacts(struct gr_mod *self, const struct broadcast *b)
{
    struct gr_stanza *near = probe_from(b->jid), *far = probe_from(b->bare);

    for (size_t i = 0; i < gr_roster_list_count(b->lists.items); i++) {
        const struct gr_roster_item *item = gr_roster_list_at(b->lists.items, i);
        bool local = strcmp(item->jid->domain, gr_mod_host_jid(self)->domain) == 0;

        if (seen_by_us(item) && !gr_jid_bare_equal(item->jid, b->bare))
            send_copy(self, local ? near : far, item->jid);
    }
    gr_stanza_unref(&near);
    gr_stanza_unref(&far);
}

/* What the newly available resource has missed of the others (roster.md 4.6). */
static void show_others(struct gr_mod *self, const struct broadcast *b, struct gr_session *s)
{
    const struct gr_account *a = gr_session_account(s);

    for (struct gr_session *o = gr_account_next(a, NULL); o != NULL; o = gr_account_next(a, o)) {
        if (o == s || !gr_session_available(o))
            continue;
        struct gr_stanza *copy = gr_stanza_copy(gr_session_presence(o));
        gr_stanza_set_to(copy, b->jid);
        gr_stanza_add_delay(copy, gr_session_jid(o)->full, gr_session_presence_us(o));
        gr_session_deliver(self, s, copy);
    }
}

/* RFC 6121, 3.1.3: until the user has answered, at every initial presence. */
static void show_requests(struct gr_mod *self, struct broadcast *b, struct gr_session *s)
{
    for (size_t i = 0; i < b->lists.pending_count; i++)
        gr_session_deliver(self, s, gr_stanza_ref(b->lists.pending[i]));
}

/* --- offline messages --- */

static void resent(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_session_ev *e = GR_CONTAINER_OF(ev, struct gr_session_ev, ev);
    struct gr_jid *jid = (struct gr_jid *)(uintptr_t)e->jid;

    (void)self, (void)verdict;
    gr_jid_free(&jid);
    gr_free(e);
}

/* The event carries no accumulator: nothing of the presence stanza's own lives as long as a handler
 * may take. */
static void resend_offline(struct gr_mod *self, struct gr_session *s)
{
    struct gr_session_ev *e = gr_alloc(sizeof(*e));

    e->session = s;
    e->jid = gr_jid_dup(gr_session_jid(s));
    gr_hook_run(self, GR_HOOK_resend_offline_messages, &e->ev, resent);
}

/* --- when the roster has answered --- */

static struct gr_session *live_session(struct gr_mod *self, const struct broadcast *b)
{
    struct gr_session *s = gr_session_find(self, b->jid, b->session);

    return s != NULL && gr_session_state(s) == GR_S_BOUND ? s : NULL;
}

static void carry_out(struct gr_mod *self, struct broadcast *b)
{
    struct gr_session *s = live_session(self, b);

    if (b->subscribers) {
        send_copy(self, b->stanza, b->bare); /* all own available resources */
        if (b->echo)
            send_copy(self, b->stanza, b->jid); /* 4.5.2: itself, though it is not available now */
        to_subscribers(self, b);
    }
    to_directed(self, b);
    if (b->kind == BROADCAST_INITIAL) {
        probe_contacts(self, b);
        if (s != NULL && gr_session_available(s)) {
            show_others(self, b, s);
            show_requests(self, b, s);
        }
    }
    if (b->resend && s != NULL && gr_session_available(s) && gr_session_priority(s) >= 0)
        resend_offline(self, s);
    gr_resume(b->hold, GR_OK);
    broadcast_free(b);
}

static struct broadcast **bucket(struct presence *p, const struct gr_jid *jid)
{
    return &p->pending[jid->hash % BROADCAST_BUCKETS];
}

/* The first one that is ready and has none of its account before it; NULL: none. */
static struct broadcast *take_ready(struct broadcast **first)
{
    for (struct broadcast **at = first; *at != NULL; at = &(*at)->next) {
        struct broadcast *b = *at, *before = *first;

        if (!b->ready)
            continue;
        while (before != b && !gr_jid_bare_equal(before->bare, b->bare))
            before = before->next;
        if (before != b)
            continue;
        *at = b->next;
        return b;
    }
    return NULL;
}

static void on_lists(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_roster_ev *lists = GR_CONTAINER_OF(ev, struct gr_roster_ev, ev);
    struct broadcast *b = GR_CONTAINER_OF(lists, struct broadcast, lists);
    struct broadcast **first = bucket(gr_state(self), b->bare);

    (void)verdict; /* a value hook */
    b->ready = true;
    while ((b = take_ready(first)) != NULL)
        carry_out(self, b);
}

void broadcast(struct gr_mod *self, const struct broadcast_order *order)
{
    struct broadcast *b = gr_alloc(sizeof(*b)), **at;

    b->kind = order->kind;
    b->subscribers = order->subscribers;
    b->echo = order->echo;
    b->resend = order->resend;
    b->hold = order->take_hold;
    b->session = gr_session_id(order->session);
    b->jid = gr_jid_dup(gr_session_jid(order->session));
    b->bare = gr_jid_dup_bare(b->jid);
    b->stanza = gr_stanza_ref(order->stanza);
    if (order->directed != NULL) {
        b->directed = *order->directed;
        *order->directed = (struct directed){ 0 };
    }
    b->lists.owner = b->bare;
    b->lists.session = b->session;
    b->lists.items = gr_roster_list_new();
    for (at = bucket(gr_state(self), b->bare); *at != NULL; at = &(*at)->next) {
    }
    *at = b;
    gr_hook_run(self, GR_HOOK_roster_get_subscription_lists, &b->lists.ev, on_lists);
}

void broadcast_stop(struct presence *p)
{
    for (int i = 0; i < BROADCAST_BUCKETS; i++)
        while (p->pending[i] != NULL) {
            struct broadcast *b = p->pending[i];
            p->pending[i] = b->next;
            broadcast_free(b);
        }
}
