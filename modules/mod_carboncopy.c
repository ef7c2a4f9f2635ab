/* mod_carboncopy: an account's other clients get copies of what one of them sends and receives
 * (XEP-0280, 1.0.1).
 *
 * Copies are made where the message itself is: of sent ones in user_send_message, when nothing refused
 * them before, of received ones when the first session is given the message, or when it is kept
 * because no session is. Each is given to its session right there (gr_ev_request_deliver), so it
 * stands between the other messages where the original does, and the original counts as handled only
 * when its copies are. The message is copied and serialised once, however many clients want it. */
#include <grapnel/module.h>

#include <string.h>

#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_RULES "urn:xmpp:carbons:rules:0"
#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_HINTS "urn:xmpp:hints"
#define NS_MUC_USER "http://jabber.org/protocol/muc#user"
#define NS_INVITATION "jabber:x:conference"
#define NS_SID "urn:xmpp:sid:0"

enum { COPIED_MAX = 32 };

/* Of a session: wants copies. Stays when the client becomes unavailable (XEP-0280, 10.1). */
struct carbons {
    bool enabled;
};
/* Of an account of which somebody wants copies. */
struct copied {
    uint64_t last;              /* gr_acc_ref of the last message that was received */
    uint64_t mark[COPIED_MAX];  /* what was copied last, for the errors that answer it; a ring */
    unsigned next;
};

/* Over a restart (XEP-0198): a client that resumes its session does not ask again. */
static void *persist(const void *data, size_t *len)
{
    const struct carbons *carbons = data;

    *len = 0;
    return carbons->enabled ? gr_strdup("") : NULL;
}

static int revive(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes,
                  size_t len)
{
    (void)self, (void)s, (void)bytes, (void)len;
    ((struct carbons *)data)->enabled = true;
    return 0;
}

static const struct gr_slot session_slot = { .name = "struct carbons", .version = 1,
                                             .size = sizeof(struct carbons),
                                             .persist = persist, .revive = revive };
static const struct gr_slot account_slot = GR_SLOT(struct copied, 1, NULL);
static const struct gr_slot *const slots[] = { &session_slot, &account_slot, NULL };

enum direction { SENT, RECEIVED };

/* One message and who is to get copies of it. */
struct copying {
    struct gr_stanza_ev *ev;
    const struct gr_account *account;
    enum direction direction;
    const struct gr_session *except;    /* who sent it, or gets it; NULL: nobody */
    int reach;                          /* available sessions with this priority get it, too */
    const char *sender;                 /* resource, when one of ours sent it to the account */
};

/* --- which messages (6.1) --- */

/* No cryptography: whoever makes two of them collide gets one copy too many. */
static uint64_t mark_of(const struct gr_jid *peer, const char *id, enum direction direction)
{
    uint64_t mark = peer->hash + (uint64_t)direction;

    for (; *id != '\0'; id++)
        mark = (mark ^ (unsigned char)*id) * 0x100000001b3u;
    return mark | 1; /* 0: none */
}

static const struct gr_jid *peer_of(const struct copying *c)
{
    return c->direction == SENT ? c->ev->to : c->ev->from;
}

static void remember(struct gr_mod *self, const struct copying *c)
{
    const char *id = gr_stanza_id(c->ev->stanza);
    struct copied *copied;

    if (id == NULL)
        return;
    copied = gr_account_slot(self, gr_account_find(self, gr_account_jid(c->account)), &account_slot);
    copied->mark[copied->next++ % COPIED_MAX] = mark_of(peer_of(c), id, c->direction);
}

/* Does this error answer a message that was copied? It came the other way. */
static bool answers_copied(struct gr_mod *self, const struct copying *c)
{
    const struct copied *copied = gr_account_slot_peek(self, c->account, &account_slot);
    const char *id = gr_stanza_id(c->ev->stanza);
    uint64_t mark;

    if (copied == NULL || id == NULL)
        return false;
    mark = mark_of(peer_of(c), id, c->direction == SENT ? RECEIVED : SENT);
    for (size_t i = 0; i < COPIED_MAX; i++)
        if (copied->mark[i] == mark)
            return true;
    return false;
}

static bool has_im_payload(const struct gr_stanza *st)
{
    static const char *const payloads[] = {
        "urn:xmpp:receipts", "http://jabber.org/protocol/chatstates", "urn:xmpp:chat-markers:0"
    };

    for (size_t i = 0; i < GR_COUNT(payloads); i++)
        if (gr_stanza_child(st, payloads[i], NULL) != NULL)
            return true;
    return false;
}

/* A copy already, or what claims to be one; and what its sender wants nobody else to have (9). */
static bool is_excluded(const struct gr_stanza *st)
{
    return gr_stanza_child(st, NS_CARBONS, "sent") != NULL ||
           gr_stanza_child(st, NS_CARBONS, "received") != NULL ||
           gr_stanza_child(st, NS_CARBONS, "private") != NULL ||
           gr_stanza_child(st, NS_HINTS, "no-copy") != NULL;
}

static bool is_eligible(struct gr_mod *self, const struct copying *c)
{
    const struct gr_stanza *st = c->ev->stanza;
    const struct gr_el *muc = gr_stanza_child(st, NS_MUC_USER, "x");
    enum gr_type type = gr_stanza_type(st);

    if (is_excluded(st) || type == GR_MSG_GROUPCHAT)
        return false;
    if (type == GR_TYPE_ERROR)
        return answers_copied(self, c);
    if (muc != NULL && gr_el_child(muc, NULL, "invite") != NULL)
        return true;
    if (muc != NULL && peer_of(c)->resource != NULL) /* the room itself copies what it sends */
        return c->direction == SENT;
    return type == GR_MSG_CHAT ||
           (type == GR_MSG_NORMAL && gr_stanza_child(st, GR_NS_CLIENT, "body") != NULL) ||
           gr_stanza_child(st, NS_INVITATION, "x") != NULL || has_im_payload(st);
}

/* --- copies (7, 8) --- */

/* The list that is in force for the session may deny who wrote the message (XEP-0016, 2.2, rule 1): the
 * copy comes from the own account, which no list denies. What another resource has sent is one's own. */
static bool is_denied(struct gr_mod *self, const struct copying *c, const struct gr_session *s)
{
    struct gr_privacy_ev e = { .owner = gr_session_jid(s), .peer = c->ev->from,
                               .stanza = c->ev->stanza };

    if (c->direction == RECEIVED)
        gr_hook_run(self, GR_HOOK_privacy_check_packet, &e.ev, NULL);
    return e.verdict != GR_ALLOW;
}

/* The next session after s that gets a copy; NULL starts and ends. */
static struct gr_session *next_copy(struct gr_mod *self, const struct copying *c,
                                    struct gr_session *s)
{
    while ((s = gr_account_next(c->account, s)) != NULL) {
        const struct carbons *carbons = gr_session_slot_peek(self, s, &session_slot);

        if (carbons != NULL && carbons->enabled && s != c->except &&
            !(gr_session_available(s) && gr_session_priority(s) >= c->reach) &&
            (c->sender == NULL || strcmp(c->sender, gr_session_jid(s)->resource) != 0) &&
            !is_denied(self, c, s))
            return s;
    }
    return NULL;
}

/* Which the message itself, on its way to somebody else, does not tell (XEP-0313, 3.5). */
static void add_archive_id(struct gr_stanza *copy, struct gr_el *forwarded, const struct copying *c)
{
    const char *id = gr_acc_get(c->ev->ev.acc, "mam", "mam_id");
    struct gr_el *el;

    if (id == NULL)
        return;
    el = gr_el_add(copy, gr_el_child(forwarded, GR_NS_CLIENT, "message"), NS_SID, "stanza-id");
    gr_el_set(copy, el, "by", gr_account_jid(c->account)->bare);
    gr_el_set(copy, el, "id", id);
}

static struct gr_stanza *wrapped(const struct copying *c)
{
    const struct gr_stanza *st = c->ev->stanza;
    struct gr_stanza *copy = gr_message_new(gr_stanza_type(st), gr_account_jid(c->account), NULL);
    bool sent = c->direction == SENT || c->sender != NULL;
    struct gr_el *el = gr_el_add(copy, NULL, NS_CARBONS, sent ? "sent" : "received");

    el = gr_el_add(copy, el, NS_FORWARD, "forwarded");
    gr_el_append(copy, el, gr_stanza_root(st));
    if (c->direction == SENT)
        add_archive_id(copy, el, c);
    return copy;
}

static void copy_to_others(struct gr_mod *self, const struct copying *c)
{
    struct gr_session *s = next_copy(self, c, NULL), *next;
    struct gr_stanza *copy;

    if (s == NULL || !is_eligible(self, c))
        return;
    remember(self, c);
    copy = wrapped(c);
    next = next_copy(self, c, s);
    if (next == NULL) { /* mostly there is one: it needs no text to share */
        gr_stanza_set_to(copy, gr_session_jid(s));
        gr_ev_request_deliver(&c->ev->ev, s, copy);
        return;
    }
    for (; s != NULL; s = next) {
        next = next_copy(self, c, s);
        gr_ev_request_deliver(&c->ev->ev, s, gr_stanza_copy_to(copy, gr_session_jid(s)));
    }
    gr_stanza_unref(&copy);
}

static enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct copying c = { .ev = ev, .account = gr_session_account(ev->session),
                               .direction = SENT, .except = ev->session, .reach = GR_REACH_ONE };

    /* Whom it reaches of the account's own sessions is known when it is received. */
    if (c.account != NULL && !gr_jid_bare_equal(ev->to, ev->from))
        copy_to_others(self, &c);
    return GR_OK;
}

/* Handed out by the offline store: it was copied when it came. */
static bool is_from_store(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_child(ev->stanza, GR_NS_DELAY, "delay");

    if (gr_acc_origin(ev->ev.acc) != GR_FROM_SERVER)
        return false;
    for (; el != NULL; el = gr_el_next(el, GR_NS_DELAY, "delay")) {
        const char *from = gr_el_attr(el, "from");
        if (from != NULL && strcmp(from, gr_mod_host_jid(self)->full) == 0)
            return true;
    }
    return false;
}

static void copy_received(struct gr_mod *self, struct gr_stanza_ev *ev, struct gr_account *a)
{
    const struct copying c = {
        .ev = ev, .account = a, .direction = RECEIVED, .except = ev->session,
        .reach = ev->session != NULL ? ev->reach : GR_REACH_ONE,
        .sender = gr_jid_bare_equal(ev->from, ev->to) ? ev->from->resource : NULL
    };

    if (!gr_acc_again(ev->ev.acc) && !is_from_store(self, ev))
        copy_to_others(self, &c);
}

/* Runs for every session that is given the message; the first one is enough. */
static enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_account *a = gr_session_account(ev->session);

    if (a == NULL || gr_account_next(a, gr_account_next(a, NULL)) == NULL)
        return GR_OK;
    if (ev->reach != GR_REACH_ONE) {
        struct copied *copied = gr_account_slot(self, a, &account_slot);
        uint64_t ref = gr_acc_ref(ev->ev.acc);

        if (copied->last == ref)
            return GR_OK;
        copied->last = ref;
    }
    copy_received(self, ev, a);
    return GR_OK;
}

/* No session takes it, but one with a negative priority may want a copy. */
static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_account *a = gr_account_find(self, ev->to);

    if (a != NULL)
        copy_received(self, ev, a);
    return GR_OK;
}

/* A copy whose session is gone is not for the others, which have theirs. Only the server sends in the
 * name of a bare JID. */
static enum gr_verdict on_missing(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    bool ours = ev->from->resource == NULL && gr_jid_bare_equal(ev->from, ev->to);

    (void)self;
    return ours && gr_stanza_child(ev->stanza, NS_CARBONS, NULL) != NULL ? GR_STOP : GR_OK;
}

/* --- on and off (4, 5) --- */

static void on_switch(struct gr_mod *self, struct gr_iq_ev *ev)
{
    bool enable = gr_el_is(ev->payload, NULL, "enable");
    struct carbons *carbons;

    if (ev->session == NULL || !gr_jid_bare_equal(ev->from, ev->to)) {
        gr_iq_reply_error(ev->req, GR_NOT_ALLOWED, NULL);
        return;
    }
    carbons = gr_session_slot(self, ev->session, &session_slot);
    carbons->enabled = enable;
    gr_session_changed(self, ev->session);
    gr_iq_reply_empty(ev->req);
}

/* The same while a client logs in (XEP-0386, 2). */
static enum gr_verdict on_bind2_features(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    gr_bind2_feature(ev, NS_CARBONS);
    return GR_OK;
}

static enum gr_verdict on_bind2(struct gr_mod *self, struct gr_inline_ev *ev)
{
    struct carbons *carbons;

    if (gr_el_child(ev->request, NS_CARBONS, "enable") == NULL)
        return GR_OK;
    carbons = gr_session_slot(self, ev->session, &session_slot);
    carbons->enabled = true;
    gr_session_changed(self, ev->session);
    return GR_OK;
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT, NS_CARBONS, "enable", on_switch),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT, NS_CARBONS, "disable", on_switch),
    GR_IQ_END
};

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_COPY, on_send),
    GR_ON(user_receive_message, GR_PRIO_COPY, on_receive),
    GR_ON(offline_message, GR_PRIO_POLICY, on_offline),
    GR_ON(sm_filter_offline_message, GR_PRIO_NORMAL, on_missing),
    GR_ON(bind2_stream_features, GR_PRIO_NORMAL, on_bind2_features),
    GR_ON(bind2_enable_features, GR_PRIO_NORMAL, on_bind2),
    GR_HOOK_END
};

static const char *const features[] = { NS_CARBONS, NS_RULES, NULL };
static const char *const account_features[] = { NS_RULES, NULL };

GR_MODULE(carboncopy,
    .summary = "copies of messages for an account's other clients (XEP-0280)",
    .hooks = hooks, .iqs = iqs, .features = features, .account_features = account_features,
    .slots = slots);
