/* mod_stream_management/queue.c: stanzas that went to a client and are not acknowledged (XEP-0198, 4).
 *
 * <r/> follows a stanza when no <r/> is unanswered, so a burst has one, and it travels in the same
 * write; what an answer has left out is asked for with the next stanza, or a moment later. Too long a
 * queue: a session without a stream ends, and so does one whose client has not acknowledged anything for
 * `ack_timeout` or is at ten times the limit; whoever ends hands it all on. */
#include "sm.h"

#include <grapnel/log.h>

#define HARD_FACTOR 10
#define RESEND_RATE 16 /* bytes in a millisecond */
#define PROMPT_MS 20         /* a client that has not answered <r/> since then does not do so at once */

uint64_t queue_first(const struct sm *sm)
{
    return sm->on_disk ? sm->disk_from : sm->acked;
}

uint32_t queue_sent_count(const struct sm *sm)
{
    return (uint32_t)(sm->acked + sm->count);
}

/* --- bounds --- */

static bool is_over(const struct sm_conf *conf, const struct sm *sm, int64_t factor)
{
    int64_t count = (int64_t)(sm->acked - queue_first(sm)) + sm->count;

    return (conf->queue_limit > 0 && count > conf->queue_limit * factor) ||
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
    if (sm->unwritten == NULL)
        sm->unwritten = take;
    sm->count++;
    if (take->answer)
        sm->answered = sm->acked + sm->count;
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

/* Its client does not acknowledge at once: what comes will have to be written anyway, and when that happens
 * in this turn, it is with whatever else is stored for it. */
static bool is_slow(const struct sm *sm)
{
    return sm->disk_to > sm->acked || (sm->asked && gr_now_ms() - sm->asked_ms >= PROMPT_MS);
}

void queue_sent(struct gr_mod *self, struct gr_session *s, struct gr_held *take)
{
    const struct sm_conf *conf = gr_conf(self);
    struct sm *sm = sm_of(self, s);

    sm->through = sm->through || sm->gone || (take->counted && is_slow(sm));
    append(sm, take);
    if (sm->through)
        gr_session_write_soon(s);
    journal_touch(self, sm, false);
    if (sm->gone)
        tell(self, s, take);
    else if (++sm->since_ask >= conf->ack_frequency)
        queue_ask(self, s, sm);
    look_at_bounds(self, s, sm);
}

/* <r/> stands behind all of it: a client with a slow connection has time to get there. */
void queue_again(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    for (const struct gr_held *h = sm->first; h != NULL; h = h->next)
        gr_session_resend(self, s, h->stanza);
    sm->asked = false;
    queue_ask(self, s, sm);
    sm->asked_ms += (int64_t)sm->bytes / RESEND_RATE;
}

/* --- acknowledgements --- */

enum ack queue_judge(const struct sm *sm, uint32_t h)
{
    uint64_t first = queue_first(sm);
    uint32_t more = h - (uint32_t)first;

    if (more == 0)
        return ACK_SAME;
    if (more <= sm->acked - first + (sm->on_disk ? 0 : sm->count) ||
        (sm->unclean && (int32_t)more > 0))
        return ACK_MORE;
    return (int32_t)more < 0 ? ACK_OLD : ACK_TOO_HIGH;
}

static struct gr_held *take_first(struct sm *sm)
{
    struct gr_held *h = sm->first;

    sm->first = h->next;
    if (sm->first == NULL)
        sm->last = NULL;
    if (sm->unwritten == h)
        sm->unwritten = h->next;
    sm->count--;
    sm->bytes -= gr_stanza_memory(h->stanza);
    return h;
}

void queue_acked(struct sm *sm, uint32_t h)
{
    while ((uint32_t)sm->acked != h) {
        struct gr_held *done = take_first(sm);

        sm->acked++;
        gr_held_settle(done);
        gr_held_free(&done);
    }
    sm->over_ms = 0;
}

void queue_find_unwritten(struct sm *sm)
{
    sm->unwritten = sm->first;
    for (uint64_t n = sm->acked; sm->unwritten != NULL && n < sm->disk_to; n++)
        sm->unwritten = sm->unwritten->next;
}

/* --- the end --- */

void queue_free(struct sm *sm)
{
    while (sm->first != NULL) {
        struct gr_held *h = take_first(sm);
        gr_held_free(&h);
    }
}
