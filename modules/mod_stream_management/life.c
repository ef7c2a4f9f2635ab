/* mod_stream_management/life.c: a session that waits for its client, and another stream that takes it
 * over (XEP-0198, 5).
 *
 * The old stream's stanzas that are still being handled are waited for, so that h in <resumed/> counts
 * them and the client does not send them again. Of several streams that want a session the last wins. */
#include "sm.h"

#include <grapnel/log.h>

#include <string.h>

#define RESUME_WAIT_MS 20000 /* mod_csi holds what does not press for 15 s */

/* A stream that wants the session: with <resume/>, or as part of its login (XEP-0198, 9.2). */
struct resuming {
    struct gr_hold *hold;
    struct gr_inline_ev *login;  /* NULL: it came as an element of its own */
    uint64_t session;
    bool going;                  /* keeper.resumed comes next */
};

/* Its next stream is about to take it: whoever comes in this moment has to try again. Unless that one
 * has gone meanwhile. */
static bool is_going(struct gr_mod *self, const struct gr_session *s)
{
    const struct resuming *r = sm_of(self, s)->resuming;
    const struct gr_session *fresh =
        r != NULL && r->going ? gr_session_find(self, NULL, r->session) : NULL;

    return fresh != NULL && gr_session_state(fresh) == GR_S_AUTHENTICATED;
}

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
        if (is_going(self, s)) /* what it was told must not be followed by <resumed/> */
            gr_session_close(self, gr_session_find(self, NULL, sm->resuming->session), "reset", NULL, true);
        resume_cancel(self, sm, GR_RESOURCE_CONSTRAINT);
        life_rearm(self, sm);
    } else if (sm->gone) {
        if (gr_now_ms() - sm->gone_ms < sm->timeout_ms)
            life_rearm(self, sm);
        else
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
    const struct state *st = gr_state(self);

    if (st->retired)
        return; /* the timer is the next version's, which looks what time is left */
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

/* Who has been away longest, of those that nobody has ended yet; and how many they are. */
static struct gr_session *longest_away(struct gr_mod *self, const struct gr_account *a,
                                       int64_t *kept)
{
    struct gr_session *oldest = NULL;
    int64_t since = 0;

    *kept = 0;
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        const struct sm *sm = sm_of(self, s);

        if (sm == NULL || !sm->gone || sm->closing)
            continue;
        if ((*kept)++ == 0 || sm->gone_ms < since) {
            oldest = s;
            since = sm->gone_ms;
        }
    }
    return oldest;
}

/* The longest away end, as many as there are more than an account may have: in this order, but not
 * before the current event is over. */
static void make_room(struct gr_mod *self, const struct gr_account *a)
{
    const struct sm_conf *conf = gr_conf(self);
    struct gr_session *oldest;
    int64_t kept;

    while ((oldest = longest_away(self, a, &kept)) != NULL && kept > conf->kept_sessions) {
        sm_of(self, oldest)->closing = true;
        gr_session_close(self, oldest, NULL, NULL, true);
    }
}

static bool keep(struct gr_mod *self, struct gr_session *s)
{
    struct sm *sm = sm_of(self, s);

    if (sm == NULL || sm->timeout_ms == 0 || !sm->begun)
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

static void answer_inline(struct resuming *r, struct gr_stanza *take, bool resumed)
{
    if (gr_hold_waits(r->hold)) {
        gr_el_append(r->login->answer, r->login->at, gr_stanza_root(take));
        r->login->resumed = resumed;
    }
    gr_stanza_unref(&take);
}

static void let_go(struct sm *sm)
{
    struct resuming *r = sm->resuming;

    sm->resuming = NULL;
    gr_resume(r->hold, r->login != NULL ? GR_OK : GR_STOP);
    gr_free(r);
}

/* It goes on over the stream of that session, once nothing of the old one is under way. */
void resume_look(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    struct resuming *r = sm->resuming;
    struct gr_session *fresh;

    if (r == NULL || r->going || gr_session_unhandled(s) > 0 || sm->on_disk)
        return;
    if ((int32_t)(gr_session_handled(s) - sm->durable) > 0) {
        journal_touch(self, sm, true);
        return;
    }
    fresh = gr_session_find(self, gr_session_jid(s), r->session);
    r->going = fresh != NULL && gr_session_state(fresh) == GR_S_AUTHENTICATED &&
               gr_hold_waits(r->hold) && gr_session_resume(self, s, fresh) == 0;
    if (r->going)
        return; /* the time that it has goes on */
    let_go(sm);
    life_rearm(self, sm);
}

void resume_cancel(struct gr_mod *self, struct sm *sm, enum gr_cond cond)
{
    struct resuming *r = sm->resuming;
    struct gr_session *fresh;

    if (r == NULL)
        return;
    fresh = gr_session_find(self, NULL, r->session);
    if (r->login != NULL)
        answer_inline(r, failure(cond, NULL), false);
    else if (fresh != NULL && gr_session_state(fresh) == GR_S_AUTHENTICATED)
        failed(self, fresh, cond, NULL);
    let_go(sm);
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

/* What the client says of itself and of the session. */
struct claim {
    const char *id;
    struct gr_session *s;        /* NULL: there is none */
    uint32_t h, old_h, sent;
    bool knows_h, too_high;      /* old_h is right; h is not */
    enum gr_cond cond;           /* why it cannot be resumed */
};

static void judge(struct gr_mod *self, const struct gr_session *fresh, const struct gr_el *el,
                  struct claim *c)
{
    uint8_t hash[HASH_SIZE];
    const struct sm *sm;
    enum ack ack;

    *c = (struct claim){ .id = gr_el_attr(el, "previd"), .cond = GR_BAD_REQUEST };
    if (c->id == NULL || !attr_u32(el, "h", &c->h))
        return;
    c->cond = GR_ITEM_NOT_FOUND;
    hash_of(c->id, hash);
    c->s = wanted(self, fresh, hash);
    if (c->s == NULL) {
        c->knows_h = stale_find(gr_state(self), hash, gr_session_jid(fresh), &c->old_h);
        return;
    }
    sm = sm_of(self, c->s);
    c->old_h = sm->durable;
    c->sent = queue_sent_count(sm);
    c->knows_h = true;
    ack = queue_judge(sm, c->h);
    c->too_high = ack == ACK_TOO_HIGH;
    if (ack == ACK_SAME || ack == ACK_MORE) /* ACK_OLD: it had acknowledged more, and those are gone */
        c->cond = GR_COND_NONE;
}

/* The old stream ends, what it has sent is waited for, the queue comes from the disk if need be. */
static void begin(struct gr_mod *self, const struct claim *c, struct resuming *take)
{
    struct sm *sm = sm_of(self, c->s);

    gr_free(sm->previd);
    sm->previd = gr_strdup(c->id);
    resume_cancel(self, sm, GR_CONFLICT);
    if (!sm->gone) { /* the client came back before we noticed */
        keep(self, c->s);
        gr_session_detach(self, c->s, "conflict", "Resumed by another stream");
    }
    sm->resuming = take;
    life_rearm(self, sm);
    if (sm->on_disk)
        load(self, sm, c->h);
    else
        queue_acked(sm, c->h);
    resume_look(self, c->s, sm);
}

static struct resuming *resuming_new(struct gr_hold *hold, const struct gr_session *fresh,
                                     struct gr_inline_ev *login)
{
    struct resuming *r = gr_alloc(sizeof(*r));

    r->hold = hold;
    r->login = login;
    r->session = gr_session_id(fresh);
    return r;
}

enum gr_verdict resume(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_hold *hold;
    struct claim c;

    judge(self, ev->session, gr_stanza_root(ev->stanza), &c);
    if (c.too_high) {
        too_high(self, ev->session, c.h, c.sent);
        return GR_STOP;
    }
    if (c.cond == GR_COND_NONE && (is_going(self, c.s) || (hold = gr_hold(self, &ev->ev)) == NULL))
        c.cond = GR_RESOURCE_CONSTRAINT;
    if (c.cond != GR_COND_NONE) {
        failed(self, ev->session, c.cond, c.knows_h ? &c.old_h : NULL);
        return GR_STOP;
    }
    begin(self, &c, resuming_new(hold, ev->session, NULL));
    return GR_PENDING;
}

/* The first thing in a login; when it cannot be, the rest goes on (XEP-0198, 9.2.1). */
enum gr_verdict resume_inline(struct gr_mod *self, struct gr_inline_ev *ev)
{
    const struct gr_el *el = gr_el_child(ev->request, NS_SM, "resume");
    struct gr_stanza *no;
    struct gr_hold *hold;
    struct claim c;

    if (el == NULL)
        return GR_OK;
    judge(self, ev->session, el, &c);
    if (c.cond == GR_COND_NONE && (is_going(self, c.s) || (hold = gr_hold(self, &ev->ev)) == NULL))
        c.cond = GR_RESOURCE_CONSTRAINT;
    if (c.cond != GR_COND_NONE) {
        no = failure(c.cond, c.knows_h ? &c.old_h : NULL);
        gr_el_append(ev->answer, ev->at, gr_stanza_root(no));
        gr_stanza_unref(&no);
        return GR_OK;
    }
    begin(self, &c, resuming_new(hold, ev->session, ev));
    return GR_PENDING;
}

void resumed(struct gr_mod *self, struct gr_session *s)
{
    struct sm *sm = sm_of(self, s);
    struct resuming *r = sm->resuming;
    struct gr_stanza *st = gr_nonza_new(NS_SM, "resumed");

    sm->gone = false;
    gr_timer_stop(&sm->timer);
    sm->armed = false;
    gr_el_set_int(st, gr_stanza_root(st), "h", gr_session_handled(s));
    gr_el_set(st, gr_stanza_root(st), "previd", sm->previd);
    if (r != NULL && r->login != NULL)
        answer_inline(r, st, true);
    else
        gr_session_write(self, s, st);
    queue_again(self, s, sm);
    if (r != NULL)
        let_go(sm);
    ask_for_missed(self, s, sm);
}
