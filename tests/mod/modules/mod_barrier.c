/* mod_barrier: for tests, tells a client without XEP-0198 that everything it sent before has been
 * handled: stored and committed, written to a socket, or answered with an error.
 *
 *     <iq type='get' id='1'><barrier xmlns='urn:grapnel:test:barrier'/></iq>
 *
 * is answered when none of the session's stanzas is in flight but its barriers. Stanzas that follow
 * a barrier delay it, so a client waits for the answer before it goes on. Polls: what a session has
 * in flight changes without an event that modules see. Runs on the session's loop. */
#include <grapnel/module.h>

#define NS "urn:grapnel:test:barrier"
#define POLL_MS 1

struct barrier {
    struct barrier *next;
    struct gr_iq_req *req;
    struct gr_jid *jid;
    uint64_t session;
};
struct state {
    struct gr_timer timer;
    struct barrier *first, **tail;
    bool polling;
};

/* Only requests that are themselves in flight wait here, so they are part of the number. */
static unsigned barriers_of(const struct state *st, uint64_t session)
{
    unsigned n = 0;

    for (const struct barrier *b = st->first; b != NULL; b = b->next)
        n += b->session == session;
    return n;
}

/* Also when the session is gone: then nobody reads the answer, but the request must have one. */
static bool is_over(struct gr_mod *self, const struct state *st, const struct barrier *b)
{
    const struct gr_session *s = gr_session_find(self, b->jid, b->session);

    return s == NULL || gr_session_unhandled(s) <= barriers_of(st, b->session);
}

static void poll_barriers(struct gr_mod *self, struct gr_timer *t)
{
    struct state *st = gr_state(self);
    struct barrier **at = &st->first;

    while (*at != NULL) {
        struct barrier *b = *at;
        if (!is_over(self, st, b)) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        gr_iq_reply_empty(b->req);
        gr_jid_free(&b->jid);
        gr_free(b);
    }
    st->tail = at;
    st->polling = st->first != NULL;
    if (st->polling)
        gr_timer_start(self, t, POLL_MS, poll_barriers);
}

static void on_barrier(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct state *st = gr_state(self);
    struct barrier *b;

    if (ev->session == NULL) {
        gr_iq_reply_error(ev->req, GR_NOT_ALLOWED, "only for sessions of this server");
        return;
    }
    b = gr_alloc(sizeof(*b));
    b->req = ev->req;
    b->jid = gr_jid_dup(ev->from);
    b->session = gr_session_id(ev->session);
    *st->tail = b;
    st->tail = &b->next;
    if (!st->polling) {
        st->polling = true;
        gr_timer_start(self, &st->timer, POLL_MS, poll_barriers);
    }
}

static int start(struct gr_mod *self, const char **why)
{
    struct state *st = gr_state(self);

    (void)why;
    st->tail = &st->first;
    return 0;
}

static void stop(struct gr_mod *self)
{
    struct state *st = gr_state(self);

    gr_timer_stop(&st->timer);
    while (st->first != NULL) {
        struct barrier *b = st->first;
        st->first = b->next;
        gr_iq_reply_error(b->req, GR_SERVICE_UNAVAILABLE, NULL);
        gr_jid_free(&b->jid);
        gr_free(b);
    }
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST | GR_TO_ACCOUNT | GR_OWN, NS, "barrier", on_barrier),
    GR_IQ_END
};

GR_MODULE(barrier, .summary = "tells when a session's stanzas are handled (tests only)",
          .state_size = sizeof(struct state), .iqs = iqs, .start = start, .stop = stop);
