/* mod_amp: rules that a sender attaches to a message (XEP-0079): what is to be done when it would be
 * delivered, stored or lost, or reach another resource than the one it is for.
 *
 * A client's message waits until it is known what would happen to it (hook amp_determine_strategy); then
 * its rules are judged, the first that matches counts (2.2.3). */
#include <string.h>

#include "amp.h"

#define NS_FEATURE "http://jabber.org/features/amp"

/* --- what would happen to it? --- */

struct presences { /* of a gr_ask */
    struct gr_hold *hold;
    struct gr_amp_ev *ev;       /* while the hold waits */
    struct gr_jid *user;
};

/* What is not delivered is lost, as long as nobody behind says that it is kept. */
static void determine(struct gr_amp_ev *ev, const struct gr_answer *a)
{
    ev->deliver = "none";
    ev->match_resource = "none";
    for (size_t i = 0; a->result == GR_R_OK && i < a->count; i++) {
        bool exact = gr_jid_equal(a->presences[i].jid, ev->to);

        if (!exact && (a->presences[i].priority < 0 || strcmp(ev->deliver, "none") != 0))
            continue;
        ev->deliver = "direct";
        ev->match_resource = exact ? "exact" : "other";
    }
}

static void on_presences(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct presences *p = gr_ask_data(ask);

    (void)self;
    if (gr_hold_waits(p->hold))
        determine(p->ev, a);
    gr_jid_free(&p->user);
    gr_resume(p->hold, GR_OK);
}

static enum gr_verdict on_strategy(struct gr_mod *self, struct gr_amp_ev *ev)
{
    const struct gr_jid *users[1];
    struct presences *p;
    struct gr_hold *hold;
    struct gr_ask *ask;

    if (ev->deliver != NULL)
        return GR_OK;
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL;
    ask = gr_ask_new(self, sizeof(*p), on_presences);
    p = gr_ask_data(ask);
    *p = (struct presences){ hold, ev, gr_jid_dup_bare(ev->to) };
    users[0] = p->user;
    gr_session_ask_all(self, ask, users, 1);
    return GR_PENDING;
}

struct waiting {
    struct gr_amp_ev ev;
    struct gr_jid_info_ev contact;
    struct gr_hold *hold;
    struct gr_jid *to;
    struct gr_stanza *st;       /* as it came */
};

static void waiting_end(struct waiting *w, enum gr_verdict verdict)
{
    gr_resume(w->hold, verdict);
    gr_jid_free(&w->to);
    gr_stanza_unref(&w->st);
    gr_free(w);
}

/* Where nobody could tell, nothing matches. */
static void on_determined(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_amp_ev *e = GR_CONTAINER_OF(ev, struct gr_amp_ev, ev);
    struct waiting *w = GR_CONTAINER_OF(e, struct waiting, ev);
    bool told = e->deliver != NULL && e->match_resource != NULL;
    bool on = !gr_hold_waits(w->hold) || !told ||
              judge(self, w->st, amp_of(w->st), e->deliver, e->match_resource);

    (void)verdict;
    waiting_end(w, on ? GR_OK : GR_STOP);
}

static void determine_then_judge(struct gr_mod *self, struct waiting *w)
{
    gr_hook_run(self, GR_HOOK_amp_determine_strategy, &w->ev.ev, on_determined);
}

/* The first rule whose answer would say whether the recipient is online. */
static const struct gr_el *telling_rule(const struct gr_stanza *st)
{
    const struct gr_el *rule = gr_el_child(amp_of(st), NS_AMP, "rule");

    for (; rule != NULL; rule = gr_el_next(rule, NS_AMP, "rule")) {
        struct gr_amp_ev ev = event_of(rule);

        if (is_known(ev.condition) && strcmp(ev.action, "drop") != 0)
            break;
    }
    return rule;
}

/* As the sender's own roster has it, which the recipient's server has written. */
static void on_contact(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_jid_info_ev *info = GR_CONTAINER_OF(ev, struct gr_jid_info_ev, ev);
    struct waiting *w = GR_CONTAINER_OF(info, struct waiting, contact);

    (void)verdict;
    if (info->sub == GR_SUB_TO || info->sub == GR_SUB_BOTH) {
        determine_then_judge(self, w);
        return;
    }
    refuse(self, w->st, telling_rule(w->st), GR_NOT_ACCEPTABLE, NS_AMP, "invalid-rules");
    waiting_end(w, GR_STOP);
}

/* What is not for this host is sent to the next hop (table 1), whatever is there. */
static enum gr_verdict send_on(struct gr_mod *self, struct gr_stanza *take)
{
    bool on = judge(self, take, amp_of(take), "direct", "none");

    gr_stanza_unref(&take);
    return on ? GR_OK : GR_STOP;
}

static enum gr_verdict wait_for(struct gr_mod *self, struct gr_stanza_ev *ev, struct gr_stanza *take)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct waiting *w;

    if (hold == NULL) {
        gr_stanza_unref(&take);
        return gr_ev_refuse(self, ev, GR_RESOURCE_CONSTRAINT, "too many messages with rules");
    }
    w = gr_alloc(sizeof(*w));
    w->hold = hold;
    w->st = take;
    w->to = gr_jid_dup(gr_stanza_to(take));
    w->ev = (struct gr_amp_ev){ .from = gr_stanza_from(take), .to = w->to, .stanza = take,
                                .event = "initial_check" };
    w->contact.owner = w->ev.from;
    w->contact.contact = w->to;
    if (telling_rule(take) == NULL || gr_jid_bare_equal(w->ev.from, w->to))
        determine_then_judge(self, w);
    else /* 9: only who may see the recipient's presence */
        gr_hook_run(self, GR_HOOK_roster_get_jid_info, &w->contact.ev, on_contact);
    return GR_PENDING;
}

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_el *amp = amp_of(ev->stanza);
    struct gr_stanza *before, *st;

    if (amp == NULL || gr_el_attr(amp, "status") != NULL ||
        gr_stanza_type(ev->stanza) == GR_TYPE_ERROR)
        return GR_OK;
    if (gr_el_child(amp, NS_AMP, "rule") == NULL)
        return gr_ev_refuse(self, ev, GR_BAD_REQUEST, "there is no rule");
    if (!verify(self, ev))
        return GR_STOP;
    before = gr_stanza_copy(ev->stanza);
    gr_stanza_set_from(before, ev->from);
    gr_stanza_set_to(before, ev->to);
    st = gr_ev_edit(ev);
    gr_el_remove(st, amp_of(st)); /* it ends here: nobody behind us knows rules */
    note_expiry(&ev->ev, before);
    if (strcmp(gr_stanza_to(before)->domain, gr_mod_host_jid(self)->domain) != 0)
        return send_on(self, before);
    return wait_for(self, ev, before);
}

/* --- discovery (2.1.1, 8) --- */

static enum gr_verdict on_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (ev->node[0] != '\0' && strcmp(ev->node, NS_AMP) != 0)
        return GR_OK;
    gr_disco_feature(ev, NS_AMP);
    for (size_t i = 0; ev->node[0] != '\0' && actions[i] != NULL; i++) {
        char *var = gr_asprintf(NS_AMP "?action=%s", actions[i]);

        gr_disco_feature(ev, var);
        gr_free(var);
    }
    if (ev->node[0] != '\0') {
        gr_disco_feature(ev, NS_AMP "?condition=deliver");
        gr_disco_feature(ev, NS_AMP "?condition=expire-at");
        gr_disco_feature(ev, NS_AMP "?condition=match-resource");
    }
    return GR_OK;
}

static enum gr_verdict on_identity(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (strcmp(ev->node, NS_AMP) == 0)
        gr_disco_identity(ev, "server", "im", NULL);
    return GR_OK;
}

static enum gr_verdict on_stream(struct gr_mod *self, struct gr_features_ev *ev)
{
    (void)self;
    if (gr_session_state(ev->session) != GR_S_CONNECTED)
        gr_el_add(ev->features, NULL, NS_FEATURE, "amp");
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_SECURITY, on_message),
    GR_ON(filter_local_packet, GR_PRIO_SECURITY, on_stored),
    GR_ON(offline_message, 45, on_offline), /* in front of who stores */
    GR_ON(amp_verify_support, GR_PRIO_PRIVACY, on_verify),
    GR_ON(amp_determine_strategy, GR_PRIO_PRIVACY, on_strategy),
    GR_ON(amp_check_condition, GR_PRIO_PRIVACY, on_condition),
    GR_ON(disco_local_identity, 99, on_identity),
    GR_ON(disco_local_features, 99, on_features),
    GR_ON(c2s_stream_features, GR_PRIO_NORMAL, on_stream),
    GR_HOOK_END
};

GR_MODULE(amp, .summary = "rules for messages (XEP-0079)", .hooks = hooks);
