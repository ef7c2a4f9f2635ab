/* route/deliver.c: which sessions of an account get a stanza (RFC 6121, 8.5), and a stanza's last steps
 * to one of them (hooks.md 3.5). Runs on the account's home loop. */
#include "route/session.h"

/* --- one session --- */

static const enum gr_hook_id receive_hook[] = {
    [GR_MESSAGE] = GR_HOOK_user_receive_message,
    [GR_IQ] = GR_HOOK_user_receive_iq,
    [GR_PRESENCE] = GR_HOOK_user_receive_presence,
    [GR_NONZA] = GR_HOOK_user_receive_xmlel,
};

static void write_to(struct gr_session *s, struct gr_stanza_ev *e, struct receipt *receipt)
{
    bool kept = session_is_kept_by(s) && gr_stanza_kind(e->stanza) != GR_NONZA;

    s->host->stanzas_out++;
    e->send_result = s->out->write(s->out_ctx, e->stanza, kept ? NULL : receipt);
    if (kept) {
        session_sent(s, e->stanza, gr_acc_time_us(e->ev.acc), receipt);
    } else if (e->send_result != 0) {
        if (receipt != NULL && receipt->kept)
            atomic_fetch_add(&receipt->failed, 1);
        else
            session_unsent_held(s, e->stanza, receipt);
    }
    if (!hook_empty(s->host, GR_HOOK_xmpp_send_element))
        hook_run_now(GR_HOOK_xmpp_send_element, &e->ev);
}

void deliver_stanza(struct gr_session *s, const struct gr_stanza_ev *what, struct gr_acc *acc,
                    struct receipt *receipt)
{
    struct gr_stanza_ev e = { .ev.host = s->host, .ev.acc = acc, .session = s, .from = what->from,
                              .to = what->to, .stanza = gr_stanza_ref(what->stanza),
                              .reach = what->reach };

    e.receipt = receipt;
    session_pin(s);
    if (hook_run_now(GR_HOOK_user_receive_packet, &e.ev) != GR_STOP &&
        hook_run_now(receive_hook[gr_stanza_kind(what->stanza)], &e.ev) != GR_STOP &&
        hook_run_now(GR_HOOK_xmpp_presend_element, &e.ev) != GR_STOP)
        write_to(s, &e, receipt);
    deliver_requests(s, acc);
    gr_stanza_unref(&e.stanza);
    session_unpin(s);
}

/* Something for this session alone. */
static void deliver_alone(struct gr_session *s, struct gr_stanza *st, struct gr_acc *acc,
                          struct receipt *receipt)
{
    const struct gr_jid *from = gr_stanza_from(st), *to = gr_stanza_to(st);
    struct gr_stanza_ev what = { .from = from != NULL ? from : s->account->jid,
                                 .to = to != NULL ? to : s->jid, .stanza = st,
                                 .reach = GR_REACH_ONE };

    deliver_stanza(s, &what, acc, receipt);
}

void deliver_held(struct gr_session *s, struct gr_held *h)
{
    struct gr_acc acc;
    struct gr_stanza_ev e = { .ev.host = s->host, .ev.acc = &acc, .session = s,
                              .from = gr_stanza_from(h->stanza), .to = s->jid,
                              .stanza = gr_stanza_ref(h->stanza), .flush = true,
                              .receipt = h->receipt };

    if (e.from == NULL)
        e.from = s->account->jid;
    acc_init(&acc, GR_FROM_SERVER);
    acc.time_us = h->time_us;
    session_pin(s);
    if (hook_run_now(GR_HOOK_xmpp_presend_element, &e.ev) != GR_STOP)
        write_to(s, &e, h->receipt);
    deliver_requests(s, &acc);
    acc_fini(&acc);
    gr_stanza_unref(&e.stanza);
    session_unpin(s);
}

struct deliver_post {
    struct post post;
    uint64_t id;
    struct gr_stanza *st;
};

static void run_deliver(struct post *p)
{
    struct deliver_post *d = GR_CONTAINER_OF(p, struct deliver_post, post);
    struct gr_session *s = session_by_id(d->id);

    if (s != NULL && s->state == GR_S_BOUND) {
        struct gr_acc acc;
        acc_init(&acc, GR_FROM_SERVER);
        deliver_alone(s, d->st, &acc, NULL);
        acc_fini(&acc);
    }
    gr_stanza_unref(&d->st);
    gr_free(d);
}

void gr_session_deliver(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take)
{
    struct deliver_post *d = gr_alloc(sizeof(*d));

    (void)self;
    d->post.run = run_deliver;
    d->id = s->id;
    d->st = take;
    loop_defer(&d->post);
}

void gr_session_write(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take)
{
    struct gr_acc acc;
    struct gr_stanza_ev e = { .ev.host = s->host, .ev.acc = &acc, .session = s, .stanza = take,
                              .from = s->jid, .to = s->jid };

    (void)self;
    if (s->host == NULL) {
        s->out->write(s->out_ctx, take, NULL);
        gr_stanza_unref(&take);
        return;
    }
    if (s->jid == NULL)
        e.from = e.to = s->host->jid;
    acc_init(&acc, GR_FROM_SERVER);
    write_to(s, &e, NULL);
    acc_fini(&acc);
    gr_stanza_unref(&e.stanza);
}

static void deliver_requested(struct gr_acc *acc, const struct acc_request *r)
{
    struct gr_session *s = session_by_id(r->session);
    struct gr_acc fork;

    if (s == NULL || s->state != GR_S_BOUND || s->ending)
        return;
    acc_fork(&fork, acc);
    if (acc->receipt != NULL && !acc->receipt->kept) /* else its origin keeps that stanza, not this */
        fork.receipt = acc->receipt;
    deliver_alone(s, r->stanza, &fork, fork.receipt);
    acc_fini(&fork);
}

void deliver_requests(struct gr_session *s, struct gr_acc *acc)
{
    const struct acc_request *stop = NULL;

    if (acc == NULL || acc->requests == NULL)
        return;
    struct acc_request *first = acc_take_requests(acc);
    for (struct acc_request *r = first; r != NULL; r = r->next)
        if (r->kind == ACC_HARD_STOP || (r->kind == ACC_STOP && stop == NULL))
            stop = r;
    bool hard = stop != NULL && stop->kind == ACC_HARD_STOP;
    for (struct acc_request *r = first; r != NULL; r = r->next) {
        if (r->stanza == NULL)
            continue;
        if (r->kind == ACC_DELIVER)
            deliver_requested(acc, r);
        else if (r->kind == ACC_WRITE && !hard && s != NULL)
            gr_session_write(NULL, s, gr_stanza_ref(r->stanza));
        else if (!hard && s != NULL)
            gr_session_deliver(NULL, s, gr_stanza_ref(r->stanza));
        gr_stanza_unref(&r->stanza);
    }
    if (stop != NULL && s != NULL)
        session_request_close(s, stop->text, NULL, hard);
}

/* --- which sessions --- */

static void to_session(struct gr_session *s, struct job *j)
{
    j->e.reach = GR_REACH_ONE;
    deliver_stanza(s, &j->e, j->e.ev.acc, j->receipt);
}

/* One of several: each its own accumulator, so that handlers do not see each other's notes. */
static void copy_to_session(struct gr_session *s, const struct job *j, struct receipt *receipt)
{
    struct gr_acc acc;

    acc_twin(&acc, &j->acc);
    deliver_stanza(s, &j->e, &acc, receipt);
    acc_fini(&acc);
}

/* Copies of one message: it is lost only when no session could be given any, and then once. */
struct copies {
    struct receipt r;
    struct receipt *whole;   /* of the message itself; may be NULL */
    struct gr_stanza *st;
    unsigned count;
};

static void copies_handled(struct receipt *r, bool ok)
{
    struct copies *c = GR_CONTAINER_OF(r, struct copies, r);
    bool lost = atomic_load(&r->failed) == c->count;
    bool kept = c->whole != NULL && c->whole->kept;

    (void)ok;
    if (lost && !kept)
        session_reroute(c->st, c->whole);
    receipt_release(&c->whole, !lost || !kept);
    gr_stanza_unref(&c->st);
    gr_free(c);
}

static struct receipt *copies_new(const struct job *j, unsigned count, int priority)
{
    struct copies *c = gr_alloc(sizeof(*c));

    receipt_init(&c->r, copies_handled);
    c->r.kept = true; /* here */
    c->r.copies = (uint8_t)(1 + (priority > 0 ? priority : 0));
    c->whole = c->r.part_of = receipt_ref(j->receipt);
    c->st = gr_stanza_ref(j->e.stanza);
    c->count = count;
    return &c->r;
}

static int best_priority(const struct gr_account *a)
{
    int best = -1;

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        if (s->available && s->priority > best)
            best = (int)s->priority; /* NOLINT: a number, not a character */
    return best;
}

/* Every available session of at least that priority. Delivery runs handlers, which may not end a
 * session, so the list holds still. */
static void to_sessions(struct gr_account *a, int priority, struct job *j)
{
    struct receipt *copies = NULL;
    unsigned n = 0;

    j->e.reach = priority;
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        n += s->available && s->priority >= priority;
    if (n > 1 && gr_stanza_kind(j->e.stanza) == GR_MESSAGE)
        copies = copies_new(j, n, priority);
    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        if (s->available && s->priority >= priority)
            copy_to_session(s, j, copies != NULL ? copies : j->receipt);
    receipt_release(&copies, true);
}

void deliver_to_available(struct job *j)
{
    struct gr_account *a = account_find(j->e.to);

    if (a != NULL)
        to_sessions(a, -128, j);
}

/* What a session provider other than the core's table has said: that resource, or "", all. False: the
 * core chooses; also when the resource is none of ours. */
static bool to_preferred(struct job *j, struct gr_account *a)
{
    struct gr_session *s = NULL;

    if (j->preferred == NULL)
        return false;
    if (j->preferred[0] == '\0') {
        if (a != NULL)
            to_sessions(a, 0, j);
        return true;
    }
    if (a != NULL)
        s = gr_account_session(a, j->preferred);
    if (s != NULL && s->available)
        to_session(s, j);
    return s != NULL && s->available;
}

/* RFC 6121, 8.5.2.1.1 and table 1, rows "bare". */
static enum job_stage message_to_bare(struct job *j, struct gr_account *a)
{
    enum gr_type type = gr_stanza_type(j->e.stanza);
    int best = a != NULL ? best_priority(a) : -1;

    switch (type) {
    case GR_TYPE_ERROR:
        return JOB_DONE;
    case GR_MSG_HEADLINE:
        if (best >= 0)
            to_sessions(a, 0, j);
        return JOB_DONE;
    case GR_MSG_GROUPCHAT:
        if (best >= 0) {
            route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL);
            return JOB_DONE;
        }
        j->offline_hook = GR_HOOK_offline_groupchat_message;
        return JOB_EXISTS;
    default:
        if (!j->asked && provider_session_prefers(j->e.ev.host))
            return JOB_PREFER;
        if (to_preferred(j, a))
            return JOB_DONE;
        if (best >= 0 && j->preference != GR_R_NONE) {
            to_sessions(a, best, j);
            return JOB_DONE;
        }
        j->offline_hook = GR_HOOK_offline_message;
        return JOB_EXISTS;
    }
}

/* RFC 6121, 8.5.3.2.1 and table 1, rows "full no match". Errors look the same whether the account
 * exists or not. */
static enum job_stage message_to_missing(struct job *j, struct gr_account *a)
{
    if (!j->asked && hook_run_now(GR_HOOK_sm_filter_offline_message, &j->e.ev) == GR_STOP)
        return JOB_DONE; /* asked: it has been run */
    switch (gr_stanza_type(j->e.stanza)) {
    case GR_MSG_CHAT:
        return message_to_bare(j, a);
    case GR_MSG_NORMAL:
    case GR_MSG_GROUPCHAT:
        route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL);
        return JOB_DONE;
    default:
        return JOB_DONE;
    }
}

static bool is_subscription(enum gr_type type)
{
    return type == GR_SUBSCRIBE || type == GR_SUBSCRIBED || type == GR_UNSUBSCRIBE ||
           type == GR_UNSUBSCRIBED;
}

static enum job_stage presence(struct job *j, struct gr_account *a, struct gr_session *exact)
{
    if (exact != NULL)
        to_session(exact, j);
    if (j->e.to->resource != NULL)
        return JOB_DONE;
    if (is_subscription(gr_stanza_type(j->e.stanza)))
        return JOB_SUBSCRIPTION;
    if (a != NULL)
        to_sessions(a, -128, j);
    return JOB_DONE;
}

static enum job_stage iq(struct job *j, struct gr_session *exact)
{
    enum gr_type type = gr_stanza_type(j->e.stanza);
    bool request = type == GR_GET || type == GR_SET;

    if (exact != NULL)
        to_session(exact, j);
    else if (j->e.to->resource != NULL && request)
        route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL); /* RFC 6121, 8.5.3.2.3 */
    else if (j->e.to->resource == NULL && request)
        iq_request(j, GR_TO_ACCOUNT);
    else if (j->e.to->resource == NULL)
        iq_response(j);
    return JOB_DONE;
}

enum job_stage deliver_to_account(struct job *j)
{
    struct gr_account *a = account_find(j->e.to);
    struct gr_session *exact = NULL;

    if (a != NULL && j->e.to->resource != NULL)
        exact = gr_account_session(a, j->e.to->resource);
    switch (gr_stanza_kind(j->e.stanza)) {
    case GR_MESSAGE:
        if (exact != NULL) {
            to_session(exact, j);
            return JOB_DONE;
        }
        return j->e.to->resource != NULL ? message_to_missing(j, a) : message_to_bare(j, a);
    case GR_PRESENCE:
        return presence(j, a, exact);
    case GR_IQ:
        return iq(j, exact);
    case GR_NONZA:
        break;
    }
    return JOB_DONE;
}

void deliver_to_host(struct job *j)
{
    enum gr_type type = gr_stanza_type(j->e.stanza);

    switch (gr_stanza_kind(j->e.stanza)) {
    case GR_IQ:
        if (type != GR_GET && type != GR_SET)
            iq_response(j);
        else if (j->e.to->resource == NULL)
            iq_request(j, GR_TO_HOST);
        else
            route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL);
        break;
    case GR_MESSAGE: /* nobody reads a host's mail: say so (headlines want silence) */
        if (type == GR_MSG_NORMAL || type == GR_MSG_CHAT || type == GR_MSG_GROUPCHAT)
            route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL);
        break;
    default:
        break;
    }
}
