/* mod_ping: answers pings (XEP-0199, 4.2 and 4.3) and, when configured, pings clients that are
 * silent for long (4.1) and ends the sessions of those that do not answer.
 *
 * A session that is watched has one timer. Input only notes the time; the timer looks at it when
 * it fires and goes to sleep again for the rest. Any stanza proves that the client is there, also
 * an error instead of a pong. After an unanswered ping the client is left alone until it speaks. */
#include <stdio.h>
#include <string.h>

#include <grapnel/module.h>

#define NS_PING "urn:xmpp:ping"
#define ID_PREFIX "grapnel-ping-" /* tells our pings among errors that come back */

enum timeout_action { ACTION_NONE, ACTION_KILL };

struct ping_conf {
    bool send_pings;
    int64_t ping_interval, ping_req_timeout;
    unsigned timeout_action;
};

static const struct gr_opt options[] = {
    GR_OPT_BOOL(struct ping_conf, send_pings, false, "ping clients that are silent"),
    GR_OPT_DURATION(struct ping_conf, ping_interval, 60 * GR_SECOND, GR_SECOND, GR_DAY,
                    "silence before a client is pinged"),
    GR_OPT_DURATION(struct ping_conf, ping_req_timeout, 32 * GR_SECOND, GR_SECOND, GR_HOUR,
                    "time a client has to answer"),
    GR_OPT_ENUM(struct ping_conf, timeout_action, ACTION_NONE, GR_WORDS("none", "kill"),
                "what happens to a client that does not answer"),
    GR_OPT_END
};

/* --- answering --- */

static void on_ping(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    gr_iq_reply_empty(ev->req);
}

/* --- asking --- */

struct watch {
    struct gr_timer timer;
    struct gr_jid *jid;
    uint64_t session;
    int64_t heard_ms, sent_ms, due_ms;
    bool armed, waiting;    /* the timer runs; a ping is unanswered */
    char id[sizeof(ID_PREFIX) + GR_ID_SIZE];
};

static void release(void *data)
{
    struct watch *w = data;

    gr_timer_stop(&w->timer);
    gr_jid_free(&w->jid);
}

static void moved(struct gr_mod *self, void *data);
static void on_timer(struct gr_mod *self, struct gr_timer *t);

static const struct gr_slot slot = { .name = "watch", .version = 1, .size = sizeof(struct watch),
                                     .release = release, .moved = moved };
static const struct gr_slot *const slots[] = { &slot, NULL };

static void arm(struct gr_mod *self, struct watch *w, int64_t ms)
{
    w->armed = true;
    w->due_ms = gr_now_ms() + ms;
    gr_timer_start(self, &w->timer, ms, on_timer);
}

/* A reload took the timer away. */
static void moved(struct gr_mod *self, void *data)
{
    const struct ping_conf *conf = gr_conf(self);
    struct watch *w = data;
    int64_t due = w->waiting ? w->due_ms : w->heard_ms + conf->ping_interval;
    int64_t left = due - gr_now_ms();

    if (w->armed && conf->send_pings)
        arm(self, w, left > 0 ? left : 0);
    else
        w->armed = false;
}

static void tell_round_trip(struct gr_mod *self, struct gr_session *s, int64_t ms)
{
    struct gr_session_ev ev = { .session = s, .jid = gr_session_jid(s), .ms = ms };

    gr_hook_run(self, GR_HOOK_user_ping_response, &ev.ev, NULL);
}

static void ping(struct gr_mod *self, struct watch *w)
{
    const struct ping_conf *conf = gr_conf(self);
    char random[GR_ID_SIZE];
    struct gr_stanza *st;

    gr_random_id(random);
    snprintf(w->id, sizeof(w->id), ID_PREFIX "%s", random);
    w->sent_ms = gr_now_ms();
    w->waiting = true;
    st = gr_iq_new(GR_GET, gr_mod_host_jid(self), w->jid, w->id);
    gr_el_add(st, NULL, NS_PING, "ping");
    gr_send(self, st);
    arm(self, w, conf->ping_req_timeout);
}

static void give_up(struct gr_mod *self, struct watch *w)
{
    const struct ping_conf *conf = gr_conf(self);
    struct gr_session *s = gr_session_find(self, w->jid, w->session);

    w->waiting = false;
    if (s == NULL)
        return;
    tell_round_trip(self, s, -1);
    if (conf->timeout_action == ACTION_KILL) /* RFC 6120, 4.9.3.4 */
        gr_session_close(self, s, "connection-timeout", "no answer to a ping", false);
}

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    const struct ping_conf *conf = gr_conf(self);
    struct watch *w = GR_CONTAINER_OF(t, struct watch, timer);
    int64_t silent = gr_now_ms() - w->heard_ms;

    w->armed = false;
    if (w->waiting && w->heard_ms < w->sent_ms) {
        give_up(self, w);
        return;
    }
    w->waiting = false;
    if (!conf->send_pings)
        return;
    if (silent < conf->ping_interval)
        arm(self, w, conf->ping_interval - silent);
    else
        ping(self, w);
}

static void heard(struct gr_mod *self, struct gr_session *s)
{
    const struct ping_conf *conf = gr_conf(self);
    const struct gr_jid *jid = gr_session_jid(s);
    struct watch *w;

    if (!conf->send_pings || jid == NULL || jid->resource == NULL)
        return;
    w = gr_session_slot(self, s, &slot);
    if (w->jid == NULL) {
        w->jid = gr_jid_dup(jid);
        w->session = gr_session_id(s);
    }
    w->heard_ms = gr_now_ms();
    if (!w->armed)
        arm(self, w, conf->ping_interval);
}

static void on_bound(struct gr_mod *self, struct gr_session_ev *ev)
{
    heard(self, ev->session);
}

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    heard(self, ev->session);
    return GR_OK;
}

static bool is_answer(const struct gr_stanza *st)
{
    enum gr_type type = gr_stanza_type(st);

    return gr_stanza_kind(st) == GR_IQ && (type == GR_RESULT || type == GR_TYPE_ERROR);
}

/* The pong goes no further. */
static enum gr_verdict on_iq(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct watch *w;

    if (!is_answer(ev->stanza) || !gr_jid_equal(ev->to, gr_mod_host_jid(self)))
        return GR_OK;
    w = gr_session_slot_peek(self, ev->session, &slot);
    if (w == NULL || w->id[0] == '\0' || gr_stanza_id(ev->stanza) == NULL ||
        strcmp(gr_stanza_id(ev->stanza), w->id) != 0)
        return GR_OK;
    tell_round_trip(self, ev->session, gr_now_ms() - w->sent_ms);
    w->waiting = false;
    w->id[0] = '\0';
    return GR_STOP;
}

/* Pings that met nobody any more come back as errors, which nobody waits for. */
static enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *id;

    if (ev->to->node != NULL || gr_stanza_kind(ev->stanza) != GR_IQ ||
        gr_stanza_type(ev->stanza) != GR_TYPE_ERROR || !gr_jid_equal(ev->to, gr_mod_host_jid(self)))
        return GR_OK;
    id = gr_stanza_id(ev->stanza);
    return id != NULL && strncmp(id, ID_PREFIX, sizeof(ID_PREFIX) - 1) == 0 ? GR_DROP : GR_OK;
}

static enum gr_verdict on_response(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    if (ev->ms < 0)
        gr_debug("ping.timeout", "%s did not answer a ping", ev->jid->full);
    else
        gr_debug("ping.answer", "%s answered after %lld ms", ev->jid->full, (long long)ev->ms);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(sm_register_connection, GR_PRIO_LAST, on_bound),
    GR_ON(user_send_packet, GR_PRIO_LAST, on_packet),
    GR_ON(user_send_iq, GR_PRIO_LAST, on_iq),
    GR_ON(filter_local_packet, GR_PRIO_LAST, on_local),
    GR_ON(user_ping_response, GR_PRIO_LAST, on_response),
    GR_HOOK_END
};

/* Of accounts only one's own (4.2): to strangers an account must look the same whether it exists or
 * not (RFC 6121, 8.5.1). */
static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST | GR_TO_ACCOUNT | GR_OWN, NS_PING, "ping", on_ping),
    GR_IQ_END
};

GR_MODULE(ping,
    .summary = "answers pings, and pings silent clients (XEP-0199)",
    .conf_size = sizeof(struct ping_conf), .options = options, .hooks = hooks, .iqs = iqs,
    .slots = slots);
