/* mod_mam/keep.c: which messages are kept, and for whom (XEP-0313, 6.1; XEP-0334, 4; XEP-0441): a
 * sent one for its sender, one that arrives for its recipient, one to oneself once. The recipient
 * learns its id (XEP-0359), of which nobody else can have told a false one. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

#include "../refused.h"

#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_MARKERS "urn:xmpp:chat-markers:0"
#define NS_RECEIPTS "urn:xmpp:receipts"

/* --- which --- */

enum worth { NOTHING, WORTH, NEVER };

static enum worth worth_of(const struct mam_conf *conf, const struct gr_el *el)
{
    const char *ns = gr_el_ns(el);
    size_t len;

    if (gr_el_is(el, GR_NS_CLIENT, "body")) {
        gr_el_text(el, &len);
        return len > 0 ? WORTH : NOTHING;
    }
    if (strcmp(ns, NS_HINTS) == 0) {
        if (gr_el_is(el, NULL, "no-store") || gr_el_is(el, NULL, "no-permanent-store"))
            return NEVER;
        return gr_el_is(el, NULL, "store") ? WORTH : NOTHING;
    }
    /* Copies and answers of archives: what is in them is kept elsewhere. */
    if ((strcmp(ns, NS_CARBONS) == 0 && !gr_el_is(el, NULL, "private")) ||
        gr_el_is(el, NS_MAM, "result"))
        return NEVER;
    if (gr_el_is(el, NS_RETRACT, "retract")) /* XEP-0424, 5 */
        return WORTH;
    if (strcmp(ns, NS_MARKERS) == 0)
        return conf->chat_markers && !gr_el_is(el, NULL, "markable") ? WORTH : NOTHING;
    if (strcmp(ns, NS_RECEIPTS) == 0)
        return conf->chat_markers && gr_el_is(el, NULL, "received") ? WORTH : NOTHING;
    return NOTHING;
}

static bool is_storable(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_child(ev->stanza, NULL, NULL);
    enum gr_type type = gr_stanza_type(ev->stanza);
    enum worth most = NOTHING;

    if (gr_stanza_kind(ev->stanza) != GR_MESSAGE ||
        (type != GR_MSG_NORMAL && type != GR_MSG_CHAT))
        return false;
    for (; el != NULL && most != NEVER; el = gr_el_next(el, NULL, NULL)) {
        enum worth w = worth_of(gr_conf(self), el);

        most = w > most ? w : most;
    }
    return most == WORTH;
}

/* --- stanza ids --- */

/* Says that an address of this host has given it. */
static bool is_ours(struct gr_mod *self, const struct gr_el *id)
{
    const char *by = gr_el_attr(id, "by");
    struct gr_jid *jid = NULL;
    bool ours;

    if (by == NULL || gr_jid_parse(by, strlen(by), &jid) != 0)
        return false;
    ours = strcmp(jid->domain, gr_mod_host_jid(self)->full) == 0;
    gr_jid_free(&jid);
    return ours;
}

static bool has_forged(struct gr_mod *self, const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, NS_SID, "stanza-id");

    while (el != NULL && !is_ours(self, el))
        el = gr_el_next(el, NS_SID, "stanza-id");
    return el != NULL;
}

/* XEP-0359, 3: also when nothing is put in its place. What the server itself sends has a right one,
 * from its first way through here. */
static void remove_forged(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum gr_origin origin = gr_acc_origin(ev->ev.acc);
    struct gr_el *el, *next;
    struct gr_stanza *st;

    if (origin == GR_FROM_SERVER || origin == GR_FROM_ADMIN || !has_forged(self, ev->stanza))
        return;
    st = gr_ev_edit(ev);
    for (el = gr_stanza_child(st, NS_SID, "stanza-id"); el != NULL; el = next) {
        next = gr_el_next(el, NS_SID, "stanza-id");
        if (is_ours(self, el))
            gr_el_remove(st, el);
    }
}

static void add_id(struct gr_stanza_ev *ev, const struct gr_jid *owner, const char *id)
{
    struct gr_el *el = gr_ev_append(ev, NS_SID, "stanza-id");

    gr_el_set(ev->stanza, el, "by", owner->bare);
    gr_el_set(ev->stanza, el, "id", id);
}

/* What the server itself sends may have been through here: what was kept for a user who was
 * away, or has not arrived. It has the id that it got then. */
static bool was_kept(const struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_child(ev->stanza, NS_SID, "stanza-id");
    const char *by;

    if (gr_acc_origin(ev->ev.acc) != GR_FROM_SERVER)
        return false;
    for (; el != NULL; el = gr_el_next(el, NS_SID, "stanza-id")) {
        by = gr_el_attr(el, "by");
        if (by != NULL && strcmp(by, ev->to->bare) == 0)
            return true;
    }
    return gr_stanza_child(ev->stanza, GR_NS_DELAY, "delay") != NULL;
}

/* --- keeping one: the hooks, one after the other --- */

struct keeping {
    struct gr_mam_ev ev;
    struct gr_mod *self;
    struct gr_stanza_ev *of;
    const struct gr_jid *owner;
    struct archive *archive;   /* which has the owner's address; NULL: it is not in memory */
    struct gr_jid *copied;     /* ... and the address is ours */
    struct gr_hold *hold;      /* NULL while the handler has not returned */
    bool done, abandoned;
    enum gr_verdict verdict;
};

static struct keeping *keeping_new(struct gr_mod *self, const struct gr_jid *owner)
{
    struct keeping *k = gr_alloc(sizeof(*k));

    k->self = self;
    k->archive = archive_find(self, owner);
    if (k->archive != NULL)
        k->archive->pins++;
    else
        k->copied = gr_jid_dup_bare(owner);
    k->owner = k->archive != NULL ? k->archive->owner : k->copied;
    return k;
}

static void keeping_free(struct keeping *k)
{
    if (k->archive != NULL)
        archive_unpin(k->self, k->archive);
    gr_jid_free(&k->copied);
    gr_free(k);
}

/* Runs a hook of which the handler here is one. While no other module answers it, and the archive is
 * in memory still, this one is all of it, and does not wait. Once the message is held, what is run
 * uses its accumulator: the receipt of what is written is in there. */
static void run(struct keeping *k, enum gr_hook_id id,
                enum gr_verdict (*ours)(struct gr_mod *self, struct gr_mam_ev *ev), gr_ran_f then)
{
    if (k->archive == NULL || k->archive->stale || k->archive->gone ||
        !gr_hook_is_own(k->self, id)) {
        if (k->hold != NULL)
            gr_hook_run_held(k->self, k->hold, id, &k->ev.ev, then);
        else
            gr_hook_run(k->self, id, &k->ev.ev, then);
    } else {
        then(k->self, &k->ev.ev, ours(k->self, &k->ev));
    }
}

static void finish(struct keeping *k, enum gr_verdict verdict)
{
    k->done = true;
    k->verdict = verdict == GR_STOP && !k->ev.outgoing ? GR_DROP : verdict;
    if (k->hold != NULL)
        gr_resume(k->hold, k->verdict);
    if (k->hold != NULL || k->abandoned)
        keeping_free(k);
}

/* Has the message gone on without us? */
static bool is_late(const struct keeping *k)
{
    return k->abandoned || (k->hold != NULL && !gr_hold_waits(k->hold));
}

static void on_archived(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct keeping *k = GR_CONTAINER_OF(ev, struct keeping, ev.ev);

    (void)verdict;
    if (is_late(k)) {
        finish(k, GR_OK);
        return;
    }
    if (k->ev.rc != 0) {
        finish(k, gr_ev_refuse(self, k->of, gr_cond_of(k->ev.rc), NULL));
        return;
    }
    if (k->ev.message_id != NULL) {
        /* For whoever makes copies; permanent when the recipient's side must not keep it again. */
        if (k->ev.outgoing && gr_jid_bare_equal(k->owner, k->ev.remote))
            gr_acc_set_permanent(k->of->ev.acc, "mam", "mam_id", k->ev.message_id);
        else
            gr_acc_set(k->of->ev.acc, "mam", "mam_id", k->ev.message_id);
        if (!k->ev.outgoing)
            add_id(k->of, k->owner, k->ev.message_id);
    }
    finish(k, GR_OK);
}

static void archive_it(struct keeping *k, bool yes)
{
    if (!yes || is_late(k))
        finish(k, GR_OK);
    else
        run(k, GR_HOOK_mam_archive_message, on_archive_message, on_archived);
}

static void on_contact(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct keeping *k = *(struct keeping **)gr_ask_data(ask);

    (void)self;
    archive_it(k, a->result == GR_R_ERROR || (a->result == GR_R_OK && a->after.in_roster));
}

static void ask_roster(struct keeping *k)
{
    struct gr_ask *ask = gr_ask_new(k->self, sizeof(struct keeping *), on_contact);
    struct gr_jid *contact = gr_jid_dup_bare(k->ev.remote);

    *(struct keeping **)gr_ask_data(ask) = k;
    gr_roster_ask(k->self, ask, GR_ROSTER_GET_CONTACT, NULL, k->owner, contact, NULL);
    gr_jid_free(&contact);
}

static void on_behaviour(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct keeping *k = GR_CONTAINER_OF(ev, struct keeping, ev.ev);

    (void)self, (void)verdict;
    if (k->ev.behaviour != GR_MAM_ROSTER || gr_jid_bare_equal(k->owner, k->ev.remote) ||
        is_late(k))
        archive_it(k, k->ev.behaviour != GR_MAM_NEVER);
    else
        ask_roster(k);
}

static void on_id(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct keeping *k = GR_CONTAINER_OF(ev, struct keeping, ev.ev);

    (void)verdict;
    if (k->ev.rc != 0 && !is_late(k))
        finish(k, gr_ev_refuse(self, k->of, gr_cond_of(k->ev.rc), NULL));
    else if (k->ev.archive_id == 0 || is_late(k))
        finish(k, GR_OK);
    else
        run(k, GR_HOOK_mam_get_behaviour, on_get_behaviour, on_behaviour);
}

static enum gr_verdict keep(struct gr_mod *self, struct gr_stanza_ev *of, bool outgoing)
{
    const struct mam_conf *conf = gr_conf(self);
    struct keeping *k = keeping_new(self, outgoing ? of->from : of->to);
    enum gr_verdict verdict;

    k->of = of;
    k->ev = (struct gr_mam_ev){
        .ev.acc = of->ev.acc, .owner = k->owner, .remote = outgoing ? of->to : of->from,
        .source = of->from, .stanza = of->stanza, .outgoing = outgoing,
        .behaviour = conf->archive_policy, .origin_id = gr_stanza_id(of->stanza),
    };
    run(k, GR_HOOK_mam_archive_id, on_archive_id, on_id);
    if (!k->done) {
        k->hold = gr_hold(self, &of->ev);
        k->abandoned = k->hold == NULL;
        if (!k->abandoned)
            return GR_PENDING;
        gr_ev_refuse(self, of, GR_RESOURCE_CONSTRAINT, NULL);
        return outgoing ? GR_STOP : GR_DROP;
    }
    verdict = k->verdict;
    keeping_free(k);
    return verdict;
}

/* --- the two places --- */

enum gr_verdict on_sent(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    remove_forged(self, ev);
    if (!is_storable(self, ev) || is_removed(self, ev->from))
        return GR_OK;
    return keep(self, ev, true);
}

enum gr_verdict on_received(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *id;

    if (gr_stanza_kind(ev->stanza) != GR_MESSAGE)
        return GR_OK;
    remove_forged(self, ev);
    if (ev->to->node == NULL || !is_storable(self, ev) || was_kept(ev) ||
        is_removed(self, ev->to) || message_is_refused(self, ev))
        return GR_OK;
    id = gr_acc_get(ev->ev.acc, "mam", "mam_id");
    if (id == NULL || !gr_jid_bare_equal(ev->from, ev->to))
        return keep(self, ev, false);
    add_id(ev, ev->to, id); /* to oneself: kept when it was sent */
    return GR_OK;
}
