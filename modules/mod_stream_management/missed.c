/* mod_stream_management/missed.c: what a session may not have been given, since the last process ended in
 * the middle: stored messages that it was handing over, and presence that was not written down. Asked
 * for when its client is back. */
#include "sm.h"

#include <string.h>

/* --- stored messages --- */

static void asked(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_session_ev *e = GR_CONTAINER_OF(ev, struct gr_session_ev, ev);
    struct gr_jid *jid = (struct gr_jid *)(uintptr_t)e->jid;

    (void)self, (void)verdict;
    gr_jid_free(&jid);
    gr_free(e);
}

/* Messages are stored for a session that is there when the process ended between two of those it was
 * handing over: nobody else would begin again, since the client's presence counts as handled. */
static void ask_for_stored(struct gr_mod *self, struct gr_session *s)
{
    struct gr_session_ev *e;

    if (gr_session_priority(s) < 0)
        return;
    e = gr_alloc(sizeof(*e));
    e->session = s;
    e->jid = gr_jid_dup(gr_session_jid(s));
    gr_hook_run(self, GR_HOOK_resend_offline_messages, &e->ev, asked);
}

/* --- presence --- */

struct lists {
    struct gr_roster_ev ev;
    struct gr_jid *bare, *full;
};

static bool is_seen(const struct gr_roster_item *item)
{
    return item->sub == GR_SUB_TO || item->sub == GR_SUB_BOTH;
}

static void probe(struct gr_mod *self, const struct lists *l, const struct gr_jid *contact)
{
    bool local = strcmp(contact->domain, gr_mod_host_jid(self)->domain) == 0;

    /* RFC 6121, 4.3.1; of our own domain only this resource needs the answer */
    gr_send(self, gr_presence_new(GR_PROBE, local ? l->full : l->bare, contact));
}

static void on_lists(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_roster_ev *lists = GR_CONTAINER_OF(ev, struct gr_roster_ev, ev);
    struct lists *l = GR_CONTAINER_OF(lists, struct lists, ev);

    (void)verdict; /* a value hook */
    for (size_t i = 0; i < gr_roster_list_count(lists->items); i++) {
        const struct gr_roster_item *item = gr_roster_list_at(lists->items, i);

        if (is_seen(item) && !gr_jid_bare_equal(item->jid, l->bare))
            probe(self, l, item->jid);
    }
    gr_roster_ev_clear(&l->ev);
    gr_jid_free(&l->bare);
    gr_jid_free(&l->full);
    gr_free(l);
}

/* After a crash: contacts that were connected then have gone without a word, and what mod_csi had kept
 * back of others is lost. They are asked anew, as for a resource that comes. */
static void ask_for_presence(struct gr_mod *self, struct gr_session *s)
{
    struct lists *l = gr_alloc(sizeof(*l));

    l->full = gr_jid_dup(gr_session_jid(s));
    l->bare = gr_jid_dup_bare(l->full);
    l->ev.owner = l->bare;
    l->ev.session = gr_session_id(s);
    l->ev.items = gr_roster_list_new();
    gr_hook_run(self, GR_HOOK_roster_get_subscription_lists, &l->ev.ev, on_lists);
}

void ask_for_missed(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    if (sm->revived && gr_session_available(s))
        ask_for_stored(self, s);
    if (sm->missed && gr_session_available(s))
        ask_for_presence(self, s);
    sm->revived = sm->missed = false;
}
