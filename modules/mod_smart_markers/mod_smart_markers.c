/* mod_smart_markers: up to where everybody has read (XEP-0333): the latest marker that each account has
 * sent, per conversation, thread and type, to be asked for by clients that come later.
 *
 * This file: what happens to a marker on its way. keep.c writes and removes, query.c answers, rows.c
 * knows how they are kept. A marker that was kept carries a note (mod_smart_markers, timestamp). */
#include <inttypes.h>
#include <stdio.h>

#include "markers.h"

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct markers_conf, keep_private, false,
                "markers are the sender's own: nobody else gets them"),
    GR_OPT_INT(struct markers_conf, limit, 5000, 8, 100000, "most markers kept for an account"),
    GR_OPT_END
};

const struct gr_coll collections[] = { GR_MAP("smart_markers"), GR_COLL_END };

/* --- keep_private --- */

/* The other resources of the sender learn what it has read. */
static void tell_own(struct gr_mod *self, const struct gr_stanza_ev *ev, const struct marker *m)
{
    struct gr_account *a = gr_account_find(self, ev->from);
    struct gr_jid *own = gr_jid_dup_bare(ev->from);

    for (struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL; s != NULL;
         s = gr_account_next(a, s)) {
        struct gr_stanza *st;
        struct gr_el *el;

        if (s == ev->session || !gr_session_available(s))
            continue;
        st = gr_message_new(GR_MSG_HEADLINE, own, gr_session_jid(s));
        el = gr_el_add(st, NULL, NS_SMART, "query");
        gr_el_set(st, el, "peer", m->with);
        add_marker(st, el, m, own->bare);
        gr_session_deliver(self, s, st);
    }
    gr_jid_free(&own);
}

/* Without its markers; false: nothing is left of it. */
static bool strip_markers(struct gr_stanza_ev *ev)
{
    enum marker_type type;
    struct gr_stanza *st;
    struct gr_el *el;

    if (!marker_has_company(ev->stanza))
        return false;
    st = gr_ev_edit(ev);
    while ((el = marker_of(st, &type)) != NULL)
        gr_el_remove(st, el);
    return true;
}

/* --- on their way --- */

/* Where accounts are there is no room, whatever type the sender chose: a row of that name would be the
 * account's own. */
static bool is_for_room(const struct gr_stanza_ev *ev)
{
    return gr_stanza_type(ev->stanza) == GR_MSG_GROUPCHAT && gr_host_find(ev->to->domain) == NULL;
}

static enum gr_verdict on_sent(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct markers_conf *conf = gr_conf(self);
    enum gr_verdict verdict = GR_OK;
    struct marker m = { .time_us = gr_acc_time_us(ev->ev.acc) };
    const struct gr_el *el = marker_of(ev->stanza, &m.type);
    struct gr_stanza *st;
    char stamp[24];

    if (el == NULL || ev->to->node == NULL)
        return GR_OK;
    st = gr_stanza_ref(ev->stanza); /* what `m` points into */
    m.thread = marker_thread(st);
    m.with = ev->to->bare;
    m.room = is_for_room(ev);
    m.id = gr_el_attr(el, "id");
    keep_marker(self, ev->from, &m, gr_receipt_take(&ev->ev));
    snprintf(stamp, sizeof(stamp), "%" PRId64, m.time_us);
    gr_acc_set_permanent(ev->ev.acc, "mod_smart_markers", "timestamp", stamp);
    if (conf->keep_private) {
        tell_own(self, ev, &m);
        verdict = strip_markers(ev) ? GR_OK : GR_STOP;
    }
    gr_stanza_unref(&st);
    return verdict;
}

/* Those of other servers, and of our hosts that do not keep them private. */
static enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct markers_conf *conf = gr_conf(self);
    enum marker_type type;

    if (!conf->keep_private || marker_of(ev->stanza, &type) == NULL)
        return GR_OK;
    return strip_markers(ev) ? GR_OK : GR_DROP;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_LATE, on_sent),
    GR_ON(filter_local_packet, GR_PRIO_POLICY, on_local),
    GR_ON(register_user, GR_PRIO_NORMAL, on_register),
    GR_ON(remove_user, 60, on_remove),
    GR_ON(anonymous_purge, 60, on_remove),
    GR_ON(room_new_affiliations, 60, on_affiliations),
    GR_ON(forget_room, 85, on_forget_room),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS_SMART, "query", on_query),
    GR_IQ_END
};

GR_MODULE(smart_markers,
    .summary = "the latest displayed markers of a conversation (XEP-0333)",
    .conf_size = sizeof(struct markers_conf), .options = options, .hooks = hooks, .iqs = iqs,
    .collections = collections, .features = (const char *const[]){ NS_SMART, NULL },
    .slots = slots);
