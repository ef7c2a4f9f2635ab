/* mod_stream_management: acknowledgements and resumption (XEP-0198).
 *
 * This file: the hooks and the session's slot. enable.c begins a session, elements.c answers the client,
 * queue.c holds what it has not acknowledged, journal.c writes it down and rows.c deletes it, life.c keeps
 * sessions without a stream and gives them another one, end.c hands on what is left of those that ended,
 * stale.c remembers them; revive.c, load.c and missed.c are for what comes after a restart. What of the
 * client's stanzas is handled, the core counts. */
#include "journal.h"

static const struct gr_opt options[] = {
    GR_OPT_DURATION(struct sm_conf, resume_timeout, 10 * GR_MINUTE, GR_SECOND, GR_DAY,
                    "time a session waits for its client", .zero = "never"),
    GR_OPT_DURATION(struct sm_conf, ack_timeout, GR_MINUTE, GR_SECOND, GR_HOUR,
                    "time a client has to acknowledge", .zero = "unlimited"),
    GR_OPT_INT(struct sm_conf, ack_frequency, 1, 1, 1000,
               "stanzas after which an acknowledgement is asked for"),
    GR_OPT_INT(struct sm_conf, queue_limit, 1000, 10, 1000000,
               "most unacknowledged stanzas of a session", .zero = "unlimited"),
    GR_OPT_SIZE(struct sm_conf, queue_size, 4 * GR_MIB, 64 * GR_KIB, GR_GIB,
                "most memory for the unacknowledged stanzas of a session", .zero = "unlimited"),
    GR_OPT_INT(struct sm_conf, kept_sessions, 10, 1, 1000,
               "most sessions of an account that wait for their client"),
    GR_OPT_STR(struct sm_conf, location, NULL, "where clients should come back to, host:port"),
    GR_OPT_END
};

/* --- the slot --- */

static void release(void *data)
{
    struct sm *sm = data;

    gr_timer_stop(&sm->timer);
    journal_forget(sm);
    queue_free(sm);
    gr_free(sm->previd);
}

static void moved(struct gr_mod *self, void *data)
{
    struct sm *sm = data;

    if (sm->armed)
        life_rearm(self, sm);
    if (sm->touched) { /* it was in the old one's list */
        sm->touched = false;
        journal_touch(self, sm, sm->urgent);
    }
}

/* Not resumable: nothing needs to be on disk first. */
static void handled(struct gr_mod *self, struct gr_session *s, bool stored)
{
    struct sm *sm = sm_of(self, s);

    if (sm->timeout_ms == 0) {
        tell_h(self, s, sm);
    } else if (journal_has_news(s, sm)) {
        sm->stored = sm->stored || stored;
        journal_touch(self, sm, sm->wants || sm->resuming != NULL);
    }
    resume_look(self, s, sm);
}

static void changed(struct gr_mod *self, struct gr_session *s)
{
    struct sm *sm = sm_of(self, s);

    sm->image_dirty = true;
    journal_touch(self, sm, false);
}

/* A connected client counts as one without this extension: what was written to it has arrived. */
static void leaves(struct gr_mod *self, struct gr_session *s)
{
    struct sm *sm = sm_of(self, s);

    resume_cancel(self, sm, GR_ITEM_NOT_FOUND);
    if (gr_session_has_stream(s))
        queue_free(sm);
    end_session(self, gr_session_jid(s), sm);
}

static const struct gr_keeper keeper = { .sent = queue_sent, .handled = handled,
                                         .write = journal_write, .changed = changed,
                                         .resumed = resumed, .leaves = leaves };
const struct gr_slot sm_slot = { .name = "sm", .version = 2, .size = sizeof(struct sm),
                                 .release = release, .moved = moved, .keeper = &keeper };
static const struct gr_slot *const slots[] = { &sm_slot, NULL };

struct sm *sm_of(struct gr_mod *self, const struct gr_session *s)
{
    return gr_session_slot_peek(self, s, &sm_slot);
}

struct gr_session *sm_session(struct gr_mod *self, const struct sm *sm)
{
    return gr_session_find(self, NULL, sm->session);
}

/* --- hooks --- */

/* XEP-0198, 2: once the client is somebody. */
static enum gr_verdict on_features(struct gr_mod *self, struct gr_features_ev *ev)
{
    (void)self;
    if (ev->session != NULL && gr_session_state(ev->session) == GR_S_AUTHENTICATED)
        gr_el_add(ev->features, NULL, NS_SM, "sm");
    return GR_OK;
}

/* XEP-0198, 9: within a login. */
static enum gr_verdict on_login_features(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    gr_el_add(ev->answer, ev->at, NS_SM, "sm");
    return GR_OK;
}

static enum gr_verdict on_bind_features(struct gr_mod *self, struct gr_inline_ev *ev)
{
    (void)self;
    gr_bind2_feature(ev, NS_SM);
    return GR_OK;
}

static enum gr_verdict on_gone(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct sm *sm = sm_of(self, ev->session);

    if (sm == NULL)
        return GR_OK;
    resume_cancel(self, sm, GR_ITEM_NOT_FOUND);
    if (sm->timeout_ms > 0)
        stale_add(gr_state(self), sm, ev->jid, gr_session_handled(ev->session));
    end_session(self, ev->jid, sm);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(c2s_stream_features, GR_PRIO_NORMAL, on_features),
    GR_ON(sasl2_stream_features, GR_PRIO_NORMAL, on_login_features),
    GR_ON(sasl2_success, GR_PRIO_FIRST, resume_inline),
    GR_ON(bind2_stream_features, GR_PRIO_NORMAL, on_bind_features),
    GR_ON(bind2_enable_features, GR_PRIO_FIRST, enable_with_bind),
    GR_ON(bind2_enable_features, GR_PRIO_LAST, enabled_with_bind),
    GR_ON(user_send_xmlel, GR_PRIO_NORMAL, on_element),
    GR_ON(user_stop_request, GR_PRIO_LAST, on_stop_request),
    GR_ON(user_socket_closed, GR_PRIO_LAST, on_stream_lost),
    GR_ON(user_socket_error, GR_PRIO_LAST, on_stream_lost),
    GR_ON(reroute_unacked_messages, 80, on_gone),
    GR_ON(node_cleanup, 40, on_node_cleanup), /* before mod_sessiondb looks for the dead */
    GR_HOOK_END
};

/* What is under way ends with the old code; the lists are the new one's (moved). */
static void save(struct gr_mod *self, struct gr_bag *bag)
{
    struct state *st = gr_state(self);

    journal_retire(st);
    gr_bag_put_u64(bag, "cleaned", st->cleaned);
    stale_save(st, bag);
    rows_save(st, bag);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    struct state *st = gr_state(self);

    st->cleaned = gr_bag_u64(bag, "cleaned", 0) != 0;
    stale_restore(st, bag);
    rows_restore(self, bag);
}

static void stop(struct gr_mod *self)
{
    rows_stop(gr_state(self));
    end_stop(gr_state(self)); /* their rows are still there, and found again at the next start */
    stale_free(gr_state(self));
}

GR_MODULE(stream_management,
    .summary = "acknowledgements and resumption of streams (XEP-0198)",
    .conf_size = sizeof(struct sm_conf), .options = options, .state_size = sizeof(struct state),
    .hooks = hooks, .slots = slots, .collections = sm_colls, .stop = stop, .save = save,
    .restore = restore);
