/* mod_privacy/check.c: stanzas that our users send and get, against the list that is in force
 * (XEP-0016, 2.2 and 2.14; XEP-0191, 3.3).
 *
 * What comes is judged before it is known who gets it (filter_local_packet), so that nothing of
 * it is stored, answered or archived, and once more for each session, which may have a list of
 * its own. Judging is plain work on what is in memory; where something has to be read first, the
 * stanza is held and judged again then. What cannot be read lets nothing through: whoever blocks
 * somebody relies on it. */
#include "privacy.h"

#include <string.h>

#define NS_ERRORS "urn:xmpp:blocking:errors"

bool is_exempt(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *peer)
{
    return gr_jid_bare_equal(owner, peer) ||
           (peer->node == NULL && strcmp(peer->domain, gr_mod_host_jid(self)->domain) == 0);
}

static unsigned part_of(const struct gr_stanza *st, bool outgoing)
{
    enum gr_type type = gr_stanza_type(st);

    switch (gr_stanza_kind(st)) {
    case GR_PRESENCE:
        if (type != GR_AVAILABLE && type != GR_UNAVAILABLE)
            return ON_REST;
        return outgoing ? ON_PRESENCE_OUT : ON_PRESENCE_IN;
    case GR_MESSAGE:
        return outgoing || type == GR_TYPE_ERROR ? ON_REST : ON_MESSAGE;
    default:
        return outgoing ? ON_REST : ON_IQ;
    }
}

/* --- privacy_check_packet --- */

struct check {
    struct gr_privacy_ev e;
    const struct list *list;
    const struct gr_roster_item *contact;
};

static enum gr_privacy decide(struct gr_mod *self, const struct list *list, const struct book *b,
                              const struct gr_stanza_ev *ev, bool outgoing)
{
    struct privacy *p = gr_state(self);
    struct check c = { .list = list };

    c.e.owner = outgoing ? ev->from : ev->to;
    c.e.peer = outgoing ? ev->to : ev->from;
    c.e.stanza = ev->stanza;
    c.e.outgoing = outgoing;
    c.e.list = list->name;
    known_find(b, c.e.peer, &c.contact);
    p->check = &c;
    gr_hook_run(self, GR_HOOK_privacy_check_packet, &c.e.ev, NULL);
    p->check = NULL;
    return c.e.verdict;
}

/* A module asks on its own account: what is in force for that resource, as far as it is known. */
static enum gr_privacy look_up(struct gr_mod *self, const struct gr_privacy_ev *ev, unsigned part)
{
    const struct book *b = book_find(self, ev->owner);
    const struct gr_roster_item *contact;
    const struct gr_session *s;

    if (b == NULL || is_exempt(self, ev->owner, ev->peer))
        return GR_ALLOW;
    s = ev->owner->resource != NULL ? gr_session_find(self, ev->owner, 0) : NULL;
    known_find(b, ev->peer, &contact);
    return list_decide(book_list(self, b, s), ev->peer, contact, part);
}

enum gr_verdict on_check(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    const struct privacy *p = gr_state(self);
    unsigned part = part_of(ev->stanza, ev->outgoing);

    if (p->check != NULL && &p->check->e == ev)
        ev->verdict = list_decide(p->check->list, ev->peer, p->check->contact, part);
    else
        ev->verdict = look_up(self, ev, part);
    return GR_OK;
}

/* --- what happens to it --- */

/* An error in the name of who is blocked must reach our user. */
static void note_ours(const struct gr_stanza_ev *ev)
{
    gr_acc_set_permanent(ev->ev.acc, "privacy", "ours", "yes");
}

static bool is_ours(const struct gr_acc *acc)
{
    return gr_acc_get(acc, "privacy", "ours") != NULL;
}

static enum gr_verdict refuse_sending(struct gr_mod *self, struct gr_stanza_ev *ev, bool blocked)
{
    struct gr_stanza *reply = gr_error_reply_type(ev->stanza, GR_NOT_ACCEPTABLE, "cancel", NULL);

    if (reply == NULL)
        return GR_STOP;
    if (blocked)
        gr_el_add(reply, gr_stanza_child(reply, NULL, "error"), NS_ERRORS, "blocked");
    gr_stanza_set_from(reply, ev->to);
    gr_stanza_set_to(reply, ev->from);
    note_ours(ev);
    gr_send_in(self, &ev->ev, reply);
    return GR_STOP;
}

/* Has the filter judged it by that list, on its way to this account? */
static bool is_judged(const struct gr_acc *acc, const struct list *list)
{
    const char *by = gr_acc_get(acc, "privacy", "judged");

    return by != NULL && strcmp(by, list->name) == 0;
}

/* Does the sender hear of it? An error for a message of a room would end the stay there; a
 * headline is not answered when nobody is online either (RFC 6121, 8.5.2.2.1). */
static bool is_answered(struct gr_mod *self, const struct gr_stanza *st)
{
    const struct privacy_conf *conf = gr_conf(self);
    enum gr_type type = gr_stanza_type(st);

    switch (gr_stanza_kind(st)) {
    case GR_IQ:
        return type == GR_GET || type == GR_SET;
    case GR_MESSAGE:
        return conf->bounce && (type == GR_MSG_NORMAL || type == GR_MSG_CHAT);
    default:
        return false;
    }
}

static enum gr_verdict refuse(struct gr_mod *self, struct gr_stanza_ev *ev, enum gr_cond cond)
{
    if (is_answered(self, ev->stanza))
        gr_ev_refuse(self, ev, cond, NULL);
    return GR_DROP;
}

enum gr_verdict close_gate(struct gr_mod *self, struct gr_stanza_ev *ev, enum gr_cond cond)
{
    if (ev->session == NULL)
        return refuse(self, ev, cond);
    note_ours(ev);
    return gr_ev_refuse(self, ev, cond, NULL);
}

/* --- out --- */

static bool must_ask(const struct list *list, const struct book *b, const struct gr_jid *peer)
{
    const struct gr_roster_item *contact;

    return list != NULL && list->asks_roster && !known_find(b, peer, &contact);
}

static int judge_out(struct gr_mod *self, struct gr_stanza_ev *ev, const struct book *b)
{
    const struct list *list = book_list(self, b, ev->session);
    enum gr_privacy verdict;

    if (list == NULL || gr_stanza_to(ev->stanza) == NULL || is_exempt(self, ev->from, ev->to))
        return GR_OK;
    if (must_ask(list, b, ev->to))
        return ASK;
    verdict = decide(self, list, b, ev, true);
    return verdict == GR_ALLOW ? GR_OK : refuse_sending(self, ev, verdict == GR_BLOCK);
}

/* A presence for everybody is not exempt: who gets it is told from what was read (presence.c). */
static bool must_read(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    return gr_stanza_kind(ev->stanza) == GR_PRESENCE || !is_exempt(self, ev->from, ev->to);
}

enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct book *b = gr_account_slot_peek(self, gr_session_account(ev->session), &book_slot);
    int verdict = ASK;

    if (b != NULL && b->read)
        verdict = judge_out(self, ev, b);
    else if (!must_read(self, ev))
        verdict = GR_OK;
    return verdict != ASK ? (enum gr_verdict)verdict
                          : judge_later(self, ev, judge_out, ev->from, ev->to);
}

/* --- in --- */

/* Would the core deliver it there? (RFC 6121, 8.5.2.1) */
static bool is_target(const struct gr_session *s, const struct gr_stanza *st, int best)
{
    if (!gr_session_available(s) || gr_stanza_kind(st) == GR_PRESENCE)
        return gr_session_available(s);
    return gr_session_priority(s) >= 0 &&
           (gr_stanza_type(st) == GR_MSG_HEADLINE || gr_session_priority(s) == best);
}

static int best_priority(const struct gr_account *a)
{
    int best = -1;

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        if (gr_session_available(s) && gr_session_priority(s) > best)
            best = gr_session_priority(s);
    }
    return best;
}

/* An offline message that its recipient does not want. */
static void not_stored(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    struct gr_stanza_ev e = { .ev.acc = ev->ev.acc, .from = ev->from, .to = ev->to,
                              .stanza = ev->stanza };

    gr_hook_run(self, GR_HOOK_failed_to_store_message, &e.ev, NULL);
}

static bool would_be_stored(const struct gr_stanza *st, const struct gr_jid *to)
{
    enum gr_type type = gr_stanza_type(st);

    return gr_stanza_kind(st) == GR_MESSAGE &&
           (type == GR_MSG_CHAT || (type == GR_MSG_NORMAL && to->resource == NULL));
}

/* By one list: enum gr_privacy, or ASK. */
static int judge_by(struct gr_mod *self, struct gr_stanza_ev *ev, const struct book *b,
                    const struct list *list)
{
    if (list == NULL)
        return GR_ALLOW;
    if (must_ask(list, b, ev->from))
        return ASK;
    gr_acc_set_permanent(ev->ev.acc, "privacy", "judged", list->name); /* also in copies */
    return (int)decide(self, list, b, ev, false);
}

/* A message or a presence for the account goes to the sessions that the core chooses: it is let
 * in when one of them wants it; the others' own lists keep it away from them. */
static int judge_sessions(struct gr_mod *self, struct gr_stanza_ev *ev, const struct book *b,
                          const struct gr_account *a, bool *online)
{
    int best = best_priority(a), verdict = GR_ALLOW;

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        if (!is_target(s, ev->stanza, best))
            continue;
        verdict = judge_by(self, ev, b, book_list(self, b, s));
        *online = true;
        if (verdict == GR_ALLOW || verdict == ASK)
            return verdict;
    }
    return *online ? verdict : judge_by(self, ev, b, b->def);
}

/* Who gets only a copy (XEP-0280) is asked about it with what is known then: its list, too, has to know
 * the contact. */
static bool copies_must_ask(struct gr_mod *self, const struct gr_stanza_ev *ev, const struct book *b,
                            const struct gr_account *a)
{
    if (a == NULL || gr_stanza_kind(ev->stanza) != GR_MESSAGE)
        return false;
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        if (must_ask(book_list(self, b, s), b, ev->from))
            return true;
    return false;
}

/* The rest is the account's own business. */
static bool is_for_sessions(const struct gr_stanza *st)
{
    enum gr_type type = gr_stanza_type(st);

    return gr_stanza_kind(st) == GR_MESSAGE ||
           (gr_stanza_kind(st) == GR_PRESENCE && (type == GR_AVAILABLE || type == GR_UNAVAILABLE));
}

static int judge_in(struct gr_mod *self, struct gr_stanza_ev *ev, const struct book *b)
{
    const struct gr_account *a = gr_account_find(self, ev->to);
    const struct gr_session *s = a != NULL && ev->to->resource != NULL
                                     ? gr_account_session(a, ev->to->resource) : NULL;
    bool online = s != NULL;
    int verdict;

    if (a != NULL && s == NULL && is_for_sessions(ev->stanza))
        verdict = judge_sessions(self, ev, b, a, &online);
    else
        verdict = judge_by(self, ev, b, book_list(self, b, s));
    if (verdict == ASK || (verdict == GR_ALLOW && copies_must_ask(self, ev, b, a)))
        return ASK;
    if (verdict == GR_ALLOW)
        return GR_OK;
    if (!online && would_be_stored(ev->stanza, ev->to))
        not_stored(self, ev);
    return refuse(self, ev, GR_SERVICE_UNAVAILABLE);
}

/* Nothing that an account without sessions would see or answer. */
static bool is_idle(const struct gr_stanza *st)
{
    enum gr_type type = gr_stanza_type(st);

    switch (gr_stanza_kind(st)) {
    case GR_PRESENCE:
        return type == GR_AVAILABLE || type == GR_UNAVAILABLE || type == GR_TYPE_ERROR;
    case GR_IQ:
        return type == GR_RESULT || type == GR_TYPE_ERROR;
    default:
        return type == GR_TYPE_ERROR;
    }
}

/* Are lists of any session or of the account in force? */
static bool is_open(struct gr_mod *self, const struct gr_account *a, const struct book *b)
{
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL && b->count > 0;
         s = gr_account_next(a, s)) {
        if (book_list(self, b, s) != NULL)
            return false;
    }
    return b->def == NULL;
}

enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct privacy *p = gr_state(self);
    struct gr_account *a;
    const struct book *b;
    int verdict = ASK;

    if (ev->to->node == NULL)
        return GR_OK;
    a = gr_account_find(self, ev->to);
    if (a == NULL && (is_idle(ev->stanza) || p->bare[ev->to->hash % BARE_MAX] == ev->to->hash))
        return GR_OK;
    b = a != NULL ? gr_account_slot_peek(self, a, &book_slot) : NULL;
    if (b != NULL && b->read && is_open(self, a, b))
        return GR_OK;
    if (is_exempt(self, ev->to, ev->from) || is_ours(ev->ev.acc))
        return GR_OK;
    if (b != NULL && b->read)
        verdict = judge_in(self, ev, b);
    return verdict != ASK ? (enum gr_verdict)verdict
                          : judge_later(self, ev, judge_in, ev->to, ev->from);
}

/* A session's own list; and what was kept for the account and comes without passing the filter,
 * such as a subscription request of somebody who was blocked since. Where the roster's answer is
 * not at hand the sender counts as a stranger: such a request is one's. */
enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct book *b = gr_account_slot_peek(self, gr_session_account(ev->session), &book_slot);
    const struct list *list = b != NULL && b->read ? book_list(self, b, ev->session) : NULL;

    if (list == NULL || is_exempt(self, gr_session_jid(ev->session), ev->from) ||
        is_ours(ev->ev.acc) || is_judged(ev->ev.acc, list))
        return GR_OK;
    return decide(self, list, b, ev, false) == GR_ALLOW ? GR_OK : GR_STOP;
}
