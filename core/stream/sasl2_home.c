/* stream/sasl2_home.c: what came with a login is carried out on the account's home loop; then the client
 * hears of all of it at once (XEP-0388, 2.6.1; XEP-0386, 3.2; XEP-0198, 9).
 *
 *     sasl2_success -> [resumed] ---------------------------------------> <success/>
 *                   -> [bind] -> session_bind -> bind2_enable_features -> <success/>, features
 *
 * Handlers may take their time. Stanzas for the session that arrive meanwhile wait behind the
 * answer: before it the client does not know who it is. The stream may end at any moment; then this
 * struct is what the handlers' answer finds. */
#include "stream/sasl2.h"

#include "xml/write.h"

#include <string.h>

/* --- what waits behind the answer --- */

struct held {
    struct link link;
    struct gr_stanza *st;
    struct receipt *receipt;
    bool answered_for;           /* by a module (gr_session_keep): not to be routed again */
    bool again;                  /* resent */
};

static struct held *hold(struct c2s *c, struct gr_stanza *st)
{
    struct held *h = gr_alloc(sizeof(*h));

    h->st = gr_stanza_ref(st);
    h->answered_for = session_is_kept_by(c->session);
    list_append(&c->login->sasl2->held, &h->link);
    return h;
}

int sasl2_hold(struct c2s *c, struct gr_stanza *st, struct receipt *receipt)
{
    struct sasl2 *s = c->login->sasl2;

    if (s->n_held >= SASL2_HELD_MAX)
        return GR_ECANCELED;
    s->n_held++;
    hold(c, st)->receipt = receipt_ref(receipt);
    return 0;
}

void sasl2_hold_again(struct c2s *c, struct gr_stanza *st)
{
    hold(c, st)->again = true;
}

static bool write_held(struct c2s *c, const struct held *h)
{
    if (!h->again)
        return c2s_out.write(c, h->st, h->receipt) == 0;
    c2s_out.resend(c, h->st);
    return true;
}

/* What cannot be written finds its way as if the connection had broken under it. */
void sasl2_drop_held(struct sasl2 *s, struct c2s *c)
{
    while (s->held.next != NULL && !list_empty(&s->held)) {
        struct held *h = list_entry(s->held.next, struct held, link);
        bool kept = h->receipt != NULL && h->receipt->kept;
        bool written = c != NULL && write_held(c, h);

        list_remove(&h->link);
        s->n_held -= !h->again;
        if (!written && !kept && !h->answered_for && (gr_stanza_kind(h->st) == GR_MESSAGE || h->receipt != NULL))
            session_reroute(h->st, h->receipt);
        receipt_release(&h->receipt, written || !kept);
        gr_stanza_unref(&h->st);
        gr_free(h);
    }
}

/* --- the answer --- */

/* Whoever has a token means to come back. */
static bool has_token(const struct sasl2 *s)
{
    return sasl2_asked(s, NS_FAST, "fast") != NULL ||
           gr_stanza_child(s->success, NS_FAST, "token") != NULL;
}

static void answer(struct c2s *c)
{
    struct sasl2 *s = c->login->sasl2;
    struct gr_session *session = c->session; /* not s->session where an older one goes on */
    struct gr_acc *acc = s->e.ev.acc;
    bool bound = session->state == GR_S_BOUND;

    s->e.ev.acc = NULL;
    gr_el_set_text(s->success, s->identifier, bound ? session->jid->full : session->jid->bare);
    if (c->conn != NULL && has_token(s))
        conn_offer_ticket(c->conn);
    c2s_write_el(c, s->success);
    c->state = bound ? C2S_OPEN : C2S_BIND;
    if (!s->e.resumed)
        c2s_features(c);
    sasl2_drop_held(s, c);
    session_pin(session);
    if (bound)
        c2s_login_free(c);
    else
        sasl2_free(&c->login->sasl2);
    deliver_requests(session, acc); /* may end the stream */
    acc_free(&acc);
    session_unpin(session);
    c2s_continue(c);
}

/* --- the handlers --- */

/* True: the stream has ended meanwhile. */
static bool is_over(struct sasl2 *s)
{
    s->busy = false;
    if (s->stream != NULL)
        return false;
    sasl2_free(&s); /* nobody else knows it */
    return true;
}

static struct sasl2 *of_event(struct gr_ev *ev)
{
    struct gr_inline_ev *e = GR_CONTAINER_OF(ev, struct gr_inline_ev, ev);

    return GR_CONTAINER_OF(e, struct sasl2, e);
}

static void run(struct sasl2 *s, enum gr_hook_id id, const struct gr_el *request,
                struct gr_el *at, hook_done_f done)
{
    s->e.ev.host = s->stream->session->host;
    s->e.session = s->stream->session;
    s->e.request = request;
    s->e.answer = s->success;
    s->e.at = at;
    s->busy = true;
    hook_run(id, &s->e.ev, done);
}

static void enabled(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct sasl2 *s = of_event(ev);

    (void)verdict;
    if (!is_over(s))
        answer(s->stream);
}

/* Not bound: <success/> names the bare JID and lacks <bound/>; the client may bind as of old. */
static void on_bound(struct gr_session *session, enum gr_cond cond, const char *text)
{
    struct c2s *c = session->out_ctx;
    struct sasl2 *s = c->login->sasl2;

    if (cond != GR_COND_NONE) {
        gr_info("c2s.bind_refused", "user=%s reason=%s%s%s", session->jid->bare,
                gr_cond_name(cond), text != NULL ? ": " : "", text != NULL ? text : "");
        answer(c);
        return;
    }
    s->bound = gr_el_add(s->success, NULL, NS_BIND2, "bound");
    run(s, GR_HOOK_bind2_enable_features, sasl2_asked(s, NS_BIND2, "bind"), s->bound, enabled);
}

static void succeeded(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct sasl2 *s = of_event(ev);
    const struct gr_el *bind;
    char *resource;

    (void)verdict;
    if (is_over(s))
        return;
    bind = sasl2_asked(s, NS_BIND2, "bind");
    if (s->e.resumed || bind == NULL) {
        answer(s->stream);
        return;
    }
    bind2_replace(s->stream->session);
    resource = bind2_resource(s->stream->session, bind);
    session_bind(s->stream->session, resource, s->request, on_bound);
    gr_free(resource);
}

void sasl2_at_home(struct c2s *c)
{
    struct sasl2 *s = c->login->sasl2;

    c->state = C2S_INLINE;
    conn_output_waits(c->conn);
    s->session = c->session;
    session_pin(s->session);
    s->e.ev.acc = acc_new(GR_FROM_C2S);
    run(s, GR_HOOK_sasl2_success, gr_stanza_root(s->request), gr_stanza_root(s->success),
        succeeded);
}
