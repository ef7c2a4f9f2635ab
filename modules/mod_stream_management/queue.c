/* mod_stream_management/queue.c: stanzas that went to a client and are not acknowledged (XEP-0198, 4).
 *
 * <r/> follows a stanza when no <r/> is unanswered, so a burst has one, and it travels in the same
 * write. Too long a queue: a session without a stream ends, and so does one whose client has not
 * acknowledged anything for `ack_timeout` or is at ten times the limit; whoever ends hands it all on. */
#include "sm.h"

#include <grapnel/log.h>

#include <string.h>

#define HARD_FACTOR 10

uint32_t queue_sent_count(const struct sm *sm)
{
    return sm->acked + sm->count;
}

/* --- bounds --- */

static bool is_over(const struct sm_conf *conf, const struct sm *sm, int64_t factor)
{
    return (conf->queue_limit > 0 && sm->count > conf->queue_limit * factor) ||
           (conf->queue_size > 0 && (int64_t)sm->bytes > conf->queue_size * factor);
}

static void look_at_bounds(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    const struct sm_conf *conf = gr_conf(self);

    if (!is_over(conf, sm, 1)) {
        sm->over_ms = 0;
        return;
    }
    if (sm->over_ms == 0)
        sm->over_ms = gr_now_ms();
    if (!sm->gone && !is_over(conf, sm, HARD_FACTOR) &&
        (conf->ack_timeout == 0 || gr_now_ms() - sm->over_ms < conf->ack_timeout))
        return;
    gr_info("sm.queue_full", "%s: %u stanzas are not acknowledged", gr_session_jid(s)->full,
            sm->count);
    gr_session_close(self, s, "resource-constraint", "too many unacknowledged stanzas", true);
}

/* --- sending --- */

void queue_ask(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    const struct sm_conf *conf = gr_conf(self);

    if (sm->asked || sm->count == 0 || sm->gone)
        return;
    sm->asked = true;
    sm->asked_ms = gr_now_ms();
    sm->since_ask = 0;
    gr_session_write(self, s, gr_nonza_new(NS_SM, "r"));
    if (!sm->armed && conf->ack_timeout > 0)
        life_arm(self, sm, conf->ack_timeout);
}

static void append(struct sm *sm, struct gr_held *take)
{
    take->next = NULL;
    if (sm->last != NULL)
        sm->last->next = take;
    else
        sm->first = take;
    sm->last = take;
    sm->count++;
    sm->bytes += gr_stanza_memory(take->stanza);
}

static void tell(struct gr_mod *self, struct gr_session *s, struct gr_held *h)
{
    struct gr_stanza_ev ev = { .session = s, .from = gr_stanza_from(h->stanza),
                               .to = gr_session_jid(s), .stanza = h->stanza };

    if (gr_stanza_kind(h->stanza) != GR_MESSAGE || gr_stanza_type(h->stanza) == GR_TYPE_ERROR)
        return;
    if (ev.from == NULL)
        ev.from = ev.to;
    gr_hook_run(self, GR_HOOK_unacknowledged_message, &ev.ev, NULL);
}

void queue_tell(struct gr_mod *self, struct gr_session *s, const struct sm *sm)
{
    for (struct gr_held *h = sm->first; h != NULL; h = h->next)
        tell(self, s, h);
}

void queue_sent(struct gr_mod *self, struct gr_session *s, struct gr_held *take)
{
    const struct sm_conf *conf = gr_conf(self);
    struct sm *sm = sm_of(self, s);

    append(sm, take);
    if (sm->gone)
        tell(self, s, take);
    else if (++sm->since_ask >= conf->ack_frequency)
        queue_ask(self, s, sm);
    look_at_bounds(self, s, sm);
}

void queue_again(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    for (const struct gr_held *h = sm->first; h != NULL; h = h->next)
        gr_session_resend(self, s, h->stanza);
    sm->asked = false;
    queue_ask(self, s, sm);
}

/* --- acknowledgements --- */

enum ack queue_judge(const struct sm *sm, uint32_t h)
{
    uint32_t more = h - sm->acked;

    if (more == 0)
        return ACK_SAME;
    if (more <= sm->count)
        return ACK_MORE;
    return (int32_t)more < 0 ? ACK_OLD : ACK_TOO_HIGH;
}

static struct gr_held *take_first(struct sm *sm)
{
    struct gr_held *h = sm->first;

    sm->first = h->next;
    if (sm->first == NULL)
        sm->last = NULL;
    sm->count--;
    sm->bytes -= gr_stanza_memory(h->stanza);
    return h;
}

void queue_acked(struct sm *sm, uint32_t h)
{
    while (sm->acked != h) {
        struct gr_held *done = take_first(sm);

        sm->acked++;
        gr_held_free(&done);
    }
    sm->over_ms = 0;
}

/* --- the end --- */

void queue_free(struct sm *sm)
{
    while (sm->first != NULL) {
        struct gr_held *h = take_first(sm);
        gr_held_free(&h);
    }
}

static bool has_own_delay(const char *host, const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, GR_NS_DELAY, "delay");

    for (; el != NULL; el = gr_el_next(el, GR_NS_DELAY, "delay"))
        if (gr_el_attr(el, "from") != NULL && strcmp(gr_el_attr(el, "from"), host) == 0)
            return true;
    return false;
}

/* A message may be changed by whoever has archived it, and says when it was sent (XEP-0198, 4). */
static void prepare(struct gr_mod *self, const struct gr_jid *to, struct gr_held *h)
{
    const char *host = gr_mod_host_jid(self)->full;
    struct gr_stanza_ev ev = { .from = gr_stanza_from(h->stanza), .to = to, .stanza = h->stanza };

    if (gr_stanza_kind(h->stanza) != GR_MESSAGE)
        return;
    if (ev.from == NULL)
        ev.from = to;
    gr_hook_run(self, GR_HOOK_filter_unacknowledged_messages, &ev.ev, NULL);
    h->stanza = ev.stanza;
    if (has_own_delay(host, h->stanza))
        return;
    struct gr_stanza *late = gr_stanza_copy(h->stanza);
    gr_stanza_add_delay(late, host, h->time_us);
    gr_stanza_unref(&h->stanza);
    h->stanza = late;
}

void queue_reroute(struct gr_mod *self, const struct gr_jid *full, struct sm *sm)
{
    while (sm->first != NULL) {
        struct gr_held *h = take_first(sm);

        prepare(self, full, h);
        gr_held_reroute(self, h, NULL, NULL);
    }
}
