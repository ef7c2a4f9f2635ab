/* mod_csi: a client that says that nobody looks at it is spared what can wait (XEP-0352).
 *
 * While it is inactive presence is kept back, the last of each sender; events of personal nodes, the last
 * of each item; markers and receipts for a short while; chat states are thrown away. Whatever else comes,
 * a message with a body above all, goes out behind what was kept back, so that nothing is overtaken. All
 * this is before XEP-0198 counts. What is kept back in the session goes out when the stream is lost, and
 * then waits with everything else for the client. */
#include <grapnel/module.h>

#include <string.h>

#define NS_CSI "urn:xmpp:csi:0"
#define NS_CHATSTATES "http://jabber.org/protocol/chatstates"
#define NS_MARKERS "urn:xmpp:chat-markers:0"
#define NS_RECEIPTS "urn:xmpp:receipts"
#define NS_HINTS "urn:xmpp:hints"
#define NS_STANZA_ID "urn:xmpp:sid:0"
#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_EVENT "http://jabber.org/protocol/pubsub#event"
#define NS_MUC_USER "http://jabber.org/protocol/muc#user"

struct csi_conf {
    bool queue_presence, queue_pep, drop_chat_states;
    int64_t queue_limit, message_delay;
};

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct csi_conf, queue_presence, true, "keep presence back, the last of each sender"),
    GR_OPT_BOOL(struct csi_conf, queue_pep, true, "keep events of personal nodes back"),
    GR_OPT_BOOL(struct csi_conf, drop_chat_states, true, "throw away chat states"),
    GR_OPT_DURATION(struct csi_conf, message_delay, 15 * GR_SECOND, 100, GR_HOUR,
                    "time for which markers and receipts are kept back", .zero = "never"),
    GR_OPT_INT(struct csi_conf, queue_limit, 256, 1, 100000,
               "stanzas kept back at which all of them are sent"),
    GR_OPT_END
};

struct csi {
    uint64_t session;
    bool inactive, armed;
    unsigned count;
    struct gr_held *first, *last;
    struct gr_timer timer;           /* while a message waits */
};

/* --- the queue --- */

static void unlink_held(struct csi *c, struct gr_held *before, struct gr_held *h)
{
    *(before != NULL ? &before->next : &c->first) = h->next;
    if (c->last == h)
        c->last = before;
    c->count--;
}

static struct gr_held *take_first(struct csi *c)
{
    struct gr_held *h = c->first;

    unlink_held(c, NULL, h);
    return h;
}

static void release(void *data)
{
    struct csi *c = data;

    gr_timer_stop(&c->timer);
    while (c->first != NULL) {
        struct gr_held *h = take_first(c);
        gr_held_free(&h);
    }
}

static void moved(struct gr_mod *self, void *data);
static const struct gr_slot slot = { .name = "csi", .version = 1, .size = sizeof(struct csi),
                                     .release = release, .moved = moved };
static const struct gr_slot *const slots[] = { &slot, NULL };

/* What comes while it runs, from handlers, stands behind. */
static void flush(struct gr_mod *self, struct gr_session *s, struct csi *c)
{
    for (unsigned n = c->count; n > 0 && c->first != NULL; n--)
        gr_held_go_on(self, s, take_first(c));
}

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    struct csi *c = GR_CONTAINER_OF(t, struct csi, timer);
    struct gr_session *s = gr_session_find(self, NULL, c->session);

    c->armed = false;
    if (s != NULL)
        flush(self, s, c);
}

static void arm(struct gr_mod *self, struct csi *c)
{
    const struct csi_conf *conf = gr_conf(self);

    if (c->armed)
        return;
    c->armed = true;
    gr_timer_start(self, &c->timer, conf->message_delay, on_timer);
}

static void moved(struct gr_mod *self, void *data)
{
    struct csi *c = data;

    if (!c->armed)
        return;
    c->armed = false;
    arm(self, c);
}

/* --- what is important? --- */

enum kind { IMPORTANT, PRESENCE, EVENT, MESSAGE, CHAT_STATE };

/* Joining, leaving and being thrown out of rooms is news for the one it happens to. */
static bool is_own_presence(const struct gr_stanza *st)
{
    const struct gr_el *x = gr_stanza_child(st, NS_MUC_USER, "x");

    return x != NULL && gr_el_child(x, NS_MUC_USER, "status") != NULL;
}

static enum kind presence_kind(const struct gr_stanza *st)
{
    enum gr_type type = gr_stanza_type(st);

    return (type == GR_AVAILABLE || type == GR_UNAVAILABLE) && !is_own_presence(st) ? PRESENCE
                                                                                  : IMPORTANT;
}

/* The message's own children, or those of the one in a carbon copy. */
static enum kind children_kind(const struct gr_el *message)
{
    const struct gr_el *el = gr_el_child(message, NULL, NULL);
    enum kind kind = IMPORTANT;
    bool state = false;

    for (; el != NULL; el = gr_el_next(el, NULL, NULL)) {
        if (gr_el_is(el, NS_CHATSTATES, NULL))
            state = true;
        else if (gr_el_is(el, NS_MARKERS, NULL) || gr_el_is(el, NS_RECEIPTS, "received"))
            kind = MESSAGE;
        else if (!gr_el_is(el, NS_HINTS, NULL) && !gr_el_is(el, NS_STANZA_ID, NULL) &&
                 !gr_el_is(el, GR_NS_DELAY, NULL) && !gr_el_is(el, GR_NS_CLIENT, "thread"))
            return IMPORTANT; /* a body, an invitation, a call, whatever comes to people's minds */
    }
    return kind == IMPORTANT && state ? CHAT_STATE : kind;
}

static const struct gr_el *in_carbon(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, NS_CARBONS, NULL);

    if (el != NULL)
        el = gr_el_child(el, NS_FORWARD, "forwarded");
    return el != NULL ? gr_el_child(el, GR_NS_CLIENT, "message") : NULL;
}

static enum kind kind_of(const struct gr_stanza *st)
{
    const struct gr_el *inner;

    if (gr_stanza_kind(st) == GR_PRESENCE)
        return presence_kind(st);
    if (gr_stanza_kind(st) != GR_MESSAGE || gr_stanza_type(st) == GR_TYPE_ERROR)
        return IMPORTANT;
    if (gr_stanza_child(st, NS_EVENT, "event") != NULL)
        return gr_stanza_child(st, GR_NS_CLIENT, "body") == NULL ? EVENT : IMPORTANT;
    inner = in_carbon(st);
    return children_kind(inner != NULL ? inner : gr_stanza_root(st));
}

/* --- the last one only --- */

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const struct gr_el *items_of(const struct gr_stanza *st)
{
    const struct gr_el *event = gr_stanza_child(st, NS_EVENT, "event");

    return event != NULL ? gr_el_child(event, NS_EVENT, "items") : NULL;
}

/* One item, published or retracted; else NULL. */
static const struct gr_el *only_item(const struct gr_el *items)
{
    const struct gr_el *el = gr_el_child(items, NULL, NULL);

    return el != NULL && gr_el_next(el, NULL, NULL) == NULL ? el : NULL;
}

/* Nodes of which only the last item counts; of others the last with the same id. */
static bool holds_one_item(const char *node)
{
    static const char *const nodes[] = {
        "http://jabber.org/protocol/mood", "http://jabber.org/protocol/activity",
        "http://jabber.org/protocol/tune", "http://jabber.org/protocol/geoloc",
        "http://jabber.org/protocol/nick", "urn:xmpp:avatar:metadata",
    };

    for (size_t i = 0; i < GR_COUNT(nodes); i++)
        if (strcmp(node, nodes[i]) == 0)
            return true;
    return false;
}

static bool same_item(const struct gr_stanza *a, const struct gr_stanza *b)
{
    const struct gr_el *in_a = items_of(a), *in_b = items_of(b), *item_a, *item_b;
    const char *node;

    if (in_a == NULL || in_b == NULL)
        return false;
    node = gr_el_attr(in_a, "node");
    if (node == NULL || !same(node, gr_el_attr(in_b, "node")))
        return false;
    item_a = only_item(in_a);
    item_b = only_item(in_b);
    return item_a != NULL && item_b != NULL &&
           (holds_one_item(node) || (gr_el_attr(item_a, "id") != NULL &&
                                     same(gr_el_attr(item_a, "id"), gr_el_attr(item_b, "id"))));
}

static bool replaces(const struct gr_stanza *fresh, enum kind kind, const struct gr_stanza *old)
{
    const struct gr_jid *from = gr_stanza_from(fresh), *old_from = gr_stanza_from(old);

    if (from == NULL || old_from == NULL || !gr_jid_equal(from, old_from) || kind_of(old) != kind)
        return false;
    return kind == PRESENCE || (kind == EVENT && same_item(fresh, old));
}

static void drop_replaced(struct csi *c, const struct gr_stanza *st, enum kind kind)
{
    struct gr_held *before = NULL;

    for (struct gr_held *h = c->first; h != NULL; before = h, h = h->next) {
        if (!replaces(st, kind, h->stanza))
            continue;
        unlink_held(c, before, h);
        gr_held_settle(h);
        gr_held_free(&h);
        return; /* there is at most one */
    }
}

/* --- keeping back --- */

/* State that is kept elsewhere lets go of who sent it; a message is not handled before it is sent. */
static void keep_back(struct gr_mod *self, struct gr_stanza_ev *ev, struct csi *c, enum kind kind)
{
    struct gr_held *h = gr_ev_hold_back(ev);

    drop_replaced(c, ev->stanza, kind);
    *(c->last != NULL ? &c->last->next : &c->first) = h;
    c->last = h;
    c->count++;
    if (kind == MESSAGE)
        arm(self, c);
    else
        gr_held_settle(h);
}

static bool can_wait(const struct csi_conf *conf, enum kind kind)
{
    return (kind == PRESENCE && conf->queue_presence) || (kind == EVENT && conf->queue_pep) ||
           (kind == MESSAGE && conf->message_delay > 0);
}

static enum gr_verdict on_presend(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct csi_conf *conf = gr_conf(self);
    struct csi *c = gr_session_slot_peek(self, ev->session, &slot);
    enum kind kind;

    if (c == NULL || !c->inactive || ev->flush)
        return GR_OK;
    kind = kind_of(ev->stanza);
    if (kind == CHAT_STATE && conf->drop_chat_states)
        return GR_STOP;
    if (can_wait(conf, kind)) {
        keep_back(self, ev, c, kind);
        if (c->count >= conf->queue_limit)
            flush(self, ev->session, c);
        return GR_STOP;
    }
    if (kind != CHAT_STATE)
        flush(self, ev->session, c);
    return GR_OK;
}

/* --- the client --- */

static void become_inactive(struct gr_mod *self, struct gr_session *s)
{
    struct csi *c = gr_session_slot(self, s, &slot);

    c->session = gr_session_id(s);
    c->inactive = true;
}

static enum gr_verdict on_element(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_root(ev->stanza);
    struct csi *c;

    if (!gr_el_is(el, NS_CSI, NULL) || gr_session_state(ev->session) != GR_S_BOUND)
        return GR_OK;
    if (gr_el_is(el, NULL, "inactive")) {
        become_inactive(self, ev->session);
        return GR_STOP;
    }
    if (!gr_el_is(el, NULL, "active"))
        return GR_OK;
    c = gr_session_slot_peek(self, ev->session, &slot);
    if (c != NULL) {
        c->inactive = false;
        flush(self, ev->session, c);
    }
    return GR_STOP;
}

/* XEP-0352, 4.1 */
static enum gr_verdict on_features(struct gr_mod *self, struct gr_features_ev *ev)
{
    (void)self;
    if (ev->session != NULL && gr_session_state(ev->session) == GR_S_AUTHENTICATED)
        gr_el_add(ev->features, NULL, NS_CSI, "csi");
    return GR_OK;
}

/* The same within a login, which begins in the state that it names (XEP-0386, 3.2, example 3). */
static enum gr_verdict on_bind_features(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    gr_bind2_feature(ev, NS_CSI);
    return GR_OK;
}

static enum gr_verdict on_bind(struct gr_mod *self, struct gr_inline_ev *ev)
{
    if (gr_el_child(ev->request, NS_CSI, "inactive") != NULL)
        become_inactive(self, ev->session);
    return GR_OK;
}

/* Another stream begins active (XEP-0352, 5.2). */
static enum gr_verdict on_stream_lost(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct csi *c = gr_session_slot_peek(self, ev->session, &slot);

    if (c != NULL) {
        c->inactive = false;
        flush(self, ev->session, c);
    }
    return GR_OK;
}

static enum gr_verdict on_gone(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct csi *c = gr_session_slot_peek(self, ev->session, &slot);

    while (c != NULL && c->first != NULL)
        gr_held_reroute(self, take_first(c), NULL, NULL);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(c2s_stream_features, 60, on_features),
    GR_ON(bind2_stream_features, 60, on_bind_features),
    GR_ON(bind2_enable_features, 60, on_bind),
    GR_ON(user_send_xmlel, 60, on_element),
    GR_ON(xmpp_presend_element, 45, on_presend),
    GR_ON(user_stop_request, 95, on_stream_lost),
    GR_ON(user_socket_closed, 95, on_stream_lost),
    GR_ON(user_socket_error, 95, on_stream_lost),
    GR_ON(reroute_unacked_messages, 70, on_gone),
    GR_HOOK_END
};

GR_MODULE(csi,
    .summary = "spares inactive clients what can wait (XEP-0352)",
    .conf_size = sizeof(struct csi_conf), .options = options, .hooks = hooks, .slots = slots);
