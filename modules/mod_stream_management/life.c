/* mod_stream_management/life.c: a session that waits for its client, and another stream that takes it
 * over (XEP-0198, 5).
 *
 * The old stream's stanzas that are still being handled are waited for, so that h in <resumed/> counts
 * them and the client does not send them again. Of several streams that want a session the last wins. */
#include "sm.h"

#include <grapnel/log.h>

#include <string.h>

#define RESUME_WAIT_MS 10000

/* --- time --- */

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    const struct sm_conf *conf = gr_conf(self);
    struct sm *sm = GR_CONTAINER_OF(t, struct sm, timer);
    struct gr_session *s = sm_session(self, sm);

    sm->armed = false;
    if (s == NULL)
        return;
    if (sm->resuming != NULL) {
        resume_cancel(self, sm, GR_RESOURCE_CONSTRAINT);
        life_rearm(self, sm);
    } else if (sm->gone) {
        gr_session_close(self, s, NULL, NULL, true);
    } else if (!sm->asked) {
        return;
    } else if (gr_now_ms() - sm->asked_ms < conf->ack_timeout) {
        life_rearm(self, sm);
    } else {
        gr_info("sm.ack_timeout", "%s does not acknowledge", gr_session_jid(s)->full);
        gr_session_close(self, s, "connection-timeout", "no acknowledgement", false);
    }
}

void life_arm(struct gr_mod *self, struct sm *sm, int64_t ms)
{
    sm->armed = true;
    gr_timer_start(self, &sm->timer, ms > 0 ? ms : 0, on_timer);
}

void life_rearm(struct gr_mod *self, struct sm *sm)
{
    const struct sm_conf *conf = gr_conf(self);

    if (sm->resuming != NULL)
        life_arm(self, sm, RESUME_WAIT_MS);
    else if (sm->gone)
        life_arm(self, sm, sm->gone_ms + sm->timeout_ms - gr_now_ms());
    else if (sm->asked && conf->ack_timeout > 0)
        life_arm(self, sm, sm->asked_ms + conf->ack_timeout - gr_now_ms());
}

/* --- without a stream --- */

/* The longest away ends, when there are more than an account may have. */
static void make_room(struct gr_mod *self, const struct gr_account *a)
{
    const struct sm_conf *conf = gr_conf(self);
    struct gr_session *oldest = NULL;
    int64_t kept = 0, since = 0;

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        const struct sm *sm = sm_of(self, s);

        if (sm == NULL || !sm->gone)
            continue;
        if (kept++ == 0 || sm->gone_ms < since) {
            oldest = s;
            since = sm->gone_ms;
        }
    }
    if (kept > conf->kept_sessions)
        gr_session_close(self, oldest, NULL, NULL, true);
}

static bool keep(struct gr_mod *self, struct gr_session *s)
{
    struct sm *sm = sm_of(self, s);

    if (sm == NULL || sm->timeout_ms == 0)
        return false;
    if (sm->gone)
        return true;
    sm->gone = true;
    sm->gone_ms = gr_now_ms();
    sm->asked = false;
    life_rearm(self, sm);
    make_room(self, gr_session_account(s));
    journal_touch(self, sm, true);
    queue_tell(self, s, sm);
    return true;
}

enum gr_verdict on_stream_lost(struct gr_mod *self, struct gr_session_ev *ev)
{
    return keep(self, ev->session) ? GR_STOP : GR_OK;
}

/* Whoever asks for the end of a session that can be resumed gets the end of its stream. */
enum gr_verdict on_stop_request(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct state *st = gr_state(self);
    struct sm *sm = sm_of(self, ev->session);

    if (ev->text != NULL && strcmp(ev->text, "system-shutdown") == 0)
        st->stopping = true; /* everything is written at once from now on */
    if (sm == NULL || !keep(self, ev->session))
        return GR_OK;
    gr_session_detach(self, ev->session, ev->text, NULL);
    journal_touch(self, sm, true); /* also when it was without a stream before */
    return GR_STOP;
}

/* --- another stream --- */

struct resuming {
    struct gr_hold *hold;        /* of the chain of its <resume/> */
    uint64_t session;
};

/* `sm` goes on over the stream of that session, once nothing of the old one is under way. */
void resume_look(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    struct resuming *r = sm->resuming;
    struct gr_session *fresh;

    if (r == NULL || gr_session_unhandled(s) > 0 || sm->on_disk)
        return;
    if (sm->durable != gr_session_handled(s)) {
        journal_touch(self, sm, true);
        return;
    }
    sm->resuming = NULL;
    fresh = gr_session_find(self, gr_session_jid(s), r->session);
    if (fresh != NULL && gr_session_state(fresh) == GR_S_AUTHENTICATED)
        gr_session_resume(self, s, fresh);
    gr_resume(r->hold, GR_STOP);
    gr_free(r);
    life_rearm(self, sm); /* until it has a stream */
}

void resume_cancel(struct gr_mod *self, struct sm *sm, enum gr_cond cond)
{
    struct resuming *r = sm->resuming;
    struct gr_session *fresh;

    if (r == NULL)
        return;
    sm->resuming = NULL;
    fresh = gr_session_find(self, NULL, r->session);
    if (fresh != NULL && gr_session_state(fresh) == GR_S_AUTHENTICATED)
        failed(self, fresh, cond, NULL);
    gr_resume(r->hold, GR_STOP);
    gr_free(r);
}

static enum gr_verdict wait(struct gr_mod *self, struct gr_stanza_ev *ev, struct sm *sm)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct resuming *r;

    if (hold == NULL) {
        failed(self, ev->session, GR_RESOURCE_CONSTRAINT, NULL);
        return GR_STOP;
    }
    r = gr_alloc(sizeof(*r));
    r->hold = hold;
    r->session = gr_session_id(ev->session);
    sm->resuming = r;
    life_rearm(self, sm);
    return GR_PENDING;
}

static struct gr_session *wanted(struct gr_mod *self, const struct gr_session *fresh,
                                 const uint8_t hash[HASH_SIZE])
{
    const struct gr_account *a = gr_account_find(self, gr_session_jid(fresh));
    struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL;

    for (; s != NULL; s = gr_account_next(a, s)) {
        const struct sm *sm = sm_of(self, s);

        if (sm != NULL && sm->timeout_ms > 0 && gr_equal_secret(sm->hash, hash, HASH_SIZE))
            return s;
    }
    return NULL;
}

static enum gr_verdict take_over(struct gr_mod *self, struct gr_stanza_ev *ev,
                                 struct gr_session *s, uint32_t h)
{
    struct sm *sm = sm_of(self, s);

    if (!sm->on_disk)
        queue_acked(sm, h);
    resume_cancel(self, sm, GR_CONFLICT);
    if (!sm->gone) { /* it came back before we noticed; nothing more is read from the old one */
        keep(self, s);
        gr_session_detach(self, s, "conflict", "Resumed by another stream");
    }
    if (sm->on_disk) {
        enum gr_verdict v = wait(self, ev, sm);
        if (v == GR_PENDING) {
            load(self, sm, h);
            resume_look(self, s, sm);
        }
        return v;
    }
    if (gr_session_unhandled(s) > 0 || sm->durable != gr_session_handled(s)) {
        journal_touch(self, sm, true);
        return wait(self, ev, sm);
    }
    gr_session_resume(self, s, ev->session);
    return GR_STOP;
}

enum gr_verdict resume(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_root(ev->stanza);
    const char *id = gr_el_attr(el, "previd");
    uint8_t hash[HASH_SIZE];
    struct gr_session *s;
    struct sm *sm;
    uint32_t h, old_h;

    if (id == NULL || !attr_u32(el, "h", &h)) {
        failed(self, ev->session, GR_BAD_REQUEST, NULL);
        return GR_STOP;
    }
    hash_of(id, hash);
    s = wanted(self, ev->session, hash);
    if (s == NULL) {
        bool known = stale_find(gr_state(self), hash, gr_session_jid(ev->session), &old_h);
        failed(self, ev->session, GR_ITEM_NOT_FOUND, known ? &old_h : NULL);
        return GR_STOP;
    }
    sm = sm_of(self, s);
    switch (queue_judge(sm, h)) {
    case ACK_TOO_HIGH:
        too_high(self, ev->session, h, queue_sent_count(sm));
        return GR_STOP;
    case ACK_OLD: /* it had acknowledged more, and those are gone */
        failed(self, ev->session, GR_ITEM_NOT_FOUND, &sm->durable);
        return GR_STOP;
    default:
        gr_free(sm->previd);
        sm->previd = gr_strdup(id);
        return take_over(self, ev, s, h);
    }
}

void resumed(struct gr_mod *self, struct gr_session *s)
{
    struct sm *sm = sm_of(self, s);
    struct gr_stanza *st = gr_nonza_new(NS_SM, "resumed");

    sm->gone = sm->unclean = false;
    gr_timer_stop(&sm->timer);
    sm->armed = false;
    gr_el_set_int(st, gr_stanza_root(st), "h", gr_session_handled(s));
    gr_el_set(st, gr_stanza_root(st), "previd", sm->previd);
    gr_free(sm->previd);
    sm->previd = NULL;
    gr_session_write(self, s, st);
    queue_again(self, s, sm);
}
