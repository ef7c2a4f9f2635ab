/* route/job.c: one stanza's way through the chains (hooks.md 3), as a little state machine that a
 * chain may suspend at any step. On the sender's home loop a session's stanzas go one after the
 * other; on the recipient's home loop stanzas of an account wait behind a suspended one in a lane,
 * which exists only while something is suspended. */
#include "route/session.h"

#include <string.h>

struct lane {
    struct table_node by_jid;
    struct link waiting;
    char jid[];
};

static void step(struct job *j);
static atomic_size_t alive;

/* --- making and freeing --- */

/* Its accumulator is the caller's to begin. */
static struct job *job_new(struct gr_stanza *take, enum job_stage stage)
{
    struct job *j = gr_alloc(sizeof(*j));

    atomic_fetch_add_explicit(&alive, 1, memory_order_relaxed);
    j->e.stanza = take;
    j->e.from = gr_stanza_from(take);
    j->e.to = gr_stanza_to(take);
    j->e.ev.acc = &j->acc;
    j->stage = stage;
    return j;
}

static void give_receipt(struct job *j, struct receipt *take)
{
    j->receipt = j->acc.receipt = take;
}

static void job_free(struct job *j)
{
    struct receipt *receipt = j->receipt;

    gr_stanza_unref(&j->e.stanza);
    gr_jid_free(&j->own_from);
    gr_jid_free(&j->own_to);
    acc_fini(&j->acc);
    j->acc.receipt = NULL; /* a client's job outlives its accumulator */
    gr_free(j->preferred);
    if (!j->by_client)
        gr_free(j);
    receipt_release(&receipt, true);
    atomic_fetch_sub_explicit(&alive, 1, memory_order_relaxed);
}

/* --- running a chain that may suspend --- */

static void on_verdict(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_stanza_ev *e = GR_CONTAINER_OF(ev, struct gr_stanza_ev, ev);
    struct job *j = GR_CONTAINER_OF(e, struct job, e);

    j->verdict = verdict;
    j->answered = true;
    if (j->suspended)
        step(j);
}

static void on_exists(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_user_ev *e = GR_CONTAINER_OF(ev, struct gr_user_ev, ev);
    struct job *j = GR_CONTAINER_OF(e, struct job, exists);

    j->verdict = verdict;
    j->answered = true;
    if (j->suspended)
        step(j);
}

static void block_lane(struct job *j);

/* False: suspended; step() goes on when the answer has come. */
static bool has_answer(struct job *j)
{
    if (j->answered)
        return true;
    j->suspended = true;
    if (j->sender == NULL)
        block_lane(j);
    return false;
}

static bool run(struct job *j, enum gr_hook_id id, struct gr_ev *ev, hook_done_f done)
{
    j->answered = j->suspended = false;
    hook_run(id, ev, done);
    return has_answer(j);
}

static void on_preferred(void *arg, const struct gr_answer *a)
{
    struct job *j = arg;

    j->asked = true;
    j->preference = a->result;
    if (a->result == GR_R_OK && a->text != NULL)
        j->preferred = gr_strdup(a->text);
    j->answered = true;
    if (j->suspended)
        step(j);
}

static bool prefer(struct job *j)
{
    j->answered = j->suspended = false;
    provider_session_ask(j->e.ev.host, GR_SESSION_GET_PREFERRED_RESOURCE, j->e.to, on_preferred, j);
    return has_answer(j);
}

/* --- lanes --- */

static struct lane *lane_of(const struct gr_jid *to)
{
    struct table_node *n =
        table_find_hashed(&route_loop()->lanes, to->hash, to->bare, to->bare_len);

    return n != NULL ? GR_CONTAINER_OF(n, struct lane, by_jid) : NULL;
}

static void block_lane(struct job *j)
{
    if (j->lane != NULL || j->e.to->node == NULL || lane_of(j->e.to) != NULL)
        return; /* the last: redirected in this chain to an account whose lane another job holds */
    struct lane *l = gr_alloc(sizeof(*l) + j->e.to->bare_len + 1);
    memcpy(l->jid, j->e.to->bare, j->e.to->bare_len + 1u);
    list_init(&l->waiting);
    table_insert(&route_loop()->lanes, &l->by_jid, l->jid, j->e.to->bare_len);
    j->lane = l;
}

static bool wait_in_lane(struct job *j)
{
    struct lane *l = lane_of(j->e.to); /* of a host: none, block_lane makes no lane for it */

    if (l == NULL)
        return false;
    list_append(&l->waiting, &j->link);
    return true;
}

static void run_posted(struct post *p)
{
    step(GR_CONTAINER_OF(p, struct job, post));
}

/* The next job of the account gets its turn as an event of its own, or the lane disappears. */
static void leave_lane(struct job *j)
{
    struct lane *l = j->lane;

    j->lane = NULL;
    if (l == NULL)
        return;
    if (list_empty(&l->waiting)) {
        table_remove(&route_loop()->lanes, &l->by_jid);
        gr_free(l);
        return;
    }
    struct job *next = list_entry(l->waiting.next, struct job, link);
    list_remove(&next->link);
    next->lane = l;
    next->post.run = run_posted;
    loop_defer(&next->post);
}

size_t job_count(void)
{
    return atomic_load_explicit(&alive, memory_order_relaxed);
}

size_t job_lanes(void)
{
    return route_loop()->lanes.count;
}

/* --- the sender's side --- */

static const enum gr_hook_id send_hook[] = {
    [GR_MESSAGE] = GR_HOOK_user_send_message,
    [GR_IQ] = GR_HOOK_user_send_iq,
    [GR_PRESENCE] = GR_HOOK_user_send_presence,
    [GR_NONZA] = GR_HOOK_user_send_xmlel,
};

/* Out of the session's queue; the next stanza's turn comes as an event of its own, so that a long
 * queue does not keep other sessions waiting. May free the session. */
static void leave_queue(struct job *j)
{
    struct gr_session *s = j->sender;

    j->sender = NULL;
    j->e.session = NULL;
    list_remove(&j->link);
    s->queue_busy = false;
    deliver_requests(s, &j->acc);
    if (!list_empty(&s->queue) && !s->queue_busy) {
        struct job *next = list_entry(s->queue.next, struct job, link);
        s->queue_busy = true;
        next->post.run = run_posted;
        loop_defer(&next->post);
    }
    session_unpin(s);
}

/* The job's own receipt has come home: nobody has to do with its stanza any more. */
static void client_handled(struct receipt *r, bool ok)
{
    struct job *j = GR_CONTAINER_OF(r, struct job, own);
    struct gr_session *s = session_by_id(j->sender_id);

    (void)ok;
    if (s != NULL) {
        s->unhandled--;
        if (s->counts != NULL)
            session_counted(s, j);
        s->out->resume(s->out_ctx);
    }
    store_bond_release(&j->own.bond);
    gr_free(j);
}

/* What is left of it is for the store to do. */
static void client_promised(struct receipt *r)
{
    const struct job *j = GR_CONTAINER_OF(r, struct job, own);
    struct gr_session *s = session_by_id(j->sender_id);

    if (s != NULL && s->counts != NULL)
        session_promised(s, j);
}

bool job_is_own(const struct receipt *r, const struct gr_session *s)
{
    return r->handled == client_handled && GR_CONTAINER_OF(r, struct job, own)->sender_id == s->id;
}

static void enqueue(struct gr_session *s, struct job *j)
{
    receipt_init(&j->own, client_handled);
    j->own.promised = client_promised;
    acc_init(&j->acc, GR_FROM_C2S);
    give_receipt(j, &j->own);
    s->unhandled++;
    session_pin(s);
    j->sender = s;
    j->sender_id = s->id;
    j->by_client = true;
    j->e.session = s;
    j->e.ev.host = s->host;
    list_append(&s->queue, &j->link);
    if (s->queue_busy)
        return;
    s->queue_busy = true;
    step(j);
}

void job_from_client(struct gr_session *s, struct gr_stanza *take)
{
    struct job *j = job_new(take, JOB_SEND_PACKET);

    if (j->e.from == NULL) { /* no stanza: the stream has not stamped it */
        j->own_from = gr_jid_dup(s->jid);
        j->e.from = j->own_from;
    }
    if (j->e.to == NULL) { /* the sender's own account, RFC 6120, 10.3 */
        j->own_to = gr_jid_dup_bare(s->jid);
        j->e.to = j->own_to;
    }
    s->host->stanzas_in++;
    enqueue(s, j);
}

void job_refused(struct gr_session *s, struct gr_stanza *take, struct gr_stanza *take_answer)
{
    struct job *j = job_new(take, JOB_REFUSED);

    j->refusal = take_answer;
    enqueue(s, j);
}

void job_xmlel(struct gr_session *s, struct gr_stanza *take)
{
    if (s->host == NULL) { /* nobody to ask before the stream header named a host */
        gr_stanza_unref(&take);
        return;
    }
    struct job *j = job_new(take, JOB_SEND_TYPE);
    j->e.from = j->e.to = s->host->jid;
    enqueue(s, j);
}

/* --- the recipient's side --- */

static void arrive(struct post *p)
{
    struct job *j = GR_CONTAINER_OF(p, struct job, post);

    if (!wait_in_lane(j))
        step(j);
}

static void post_home(struct job *j, enum job_stage stage)
{
    j->stage = stage;
    j->post.run = arrive;
    if (j->e.to->node != NULL)
        loop_post(loop_home(j->e.to->hash), &j->post);
    else
        loop_defer(&j->post); /* a host has an instance on every loop */
}

/* What a client asks of its own account or of its host is done before anything it sent later: no queue
 * in between, in which a presence (handled at once) could overtake it (RFC 6120, 10.1). */
static bool is_for_own_side(const struct job *j)
{
    return j->by_client && gr_stanza_kind(j->e.stanza) == GR_IQ && j->e.to->resource == NULL &&
           (j->e.to->node == NULL || gr_jid_bare_equal(j->e.from, j->e.to));
}

/* filter_packet, then the home of `to`. False: the job has left, or waits. */
static bool route(struct job *j)
{
    j->e.session = NULL;
    j->e.ev.host = NULL;
    j->stage = JOB_DONE;
    if (hook_run_now(GR_HOOK_filter_packet, &j->e.ev) == GR_DROP)
        return true;
    if (host_find(j->e.to->domain) == NULL) {
        if (route_remote == NULL || !route_remote(j))
            route_bounce(j, GR_REMOTE_SERVER_NOT_FOUND, NULL);
        return true;
    }
    if (!is_for_own_side(j)) {
        post_home(j, JOB_LOCAL);
        return false;
    }
    j->stage = JOB_LOCAL;
    return !wait_in_lane(j);
}

/* filter_local_packet has let it through; a handler may have changed where it goes. */
static bool received(struct job *j)
{
    if (j->verdict == GR_DROP)
        return true;
    struct gr_host *host = host_find(j->e.to->domain);
    if (host == NULL) {
        route_bounce(j, GR_REMOTE_SERVER_NOT_FOUND, NULL);
        return true;
    }
    j->e.ev.host = host;
    if (j->e.to->node == NULL) {
        deliver_to_host(j);
        return true;
    }
    if (j->e.to->hash != j->turn) { /* redirected: behind what waits there */
        leave_lane(j);
        post_home(j, JOB_DELIVER);
        return false;
    }
    j->stage = JOB_DELIVER;
    return true;
}

/* By a reload, while the stanza travelled. */
static void host_went(struct job *j)
{
    route_bounce(j, GR_REMOTE_SERVER_NOT_FOUND, NULL);
    j->stage = JOB_DONE;
}

/* The account exists or not: offline_message, or the sender is told (RFC 6121, 8.5.1). */
static enum job_stage after_exists(struct job *j)
{
    if (j->exists.exists)
        return JOB_OFFLINE;
    route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL);
    return JOB_DONE;
}

/* --- the machine --- */

/* One step; false: the job is suspended, or it has left this loop. */
static bool advance(struct job *j)
{
    switch (j->stage) {
    case JOB_REFUSED:
        session_count(j);
        if (j->refusal != NULL)
            gr_session_write(NULL, j->sender, j->refusal);
        j->refusal = NULL;
        j->stage = JOB_DONE;
        return true;
    case JOB_SEND_PACKET:
        session_count(j);
        j->stage = JOB_SEND_TYPE;
        if (hook_run_now(GR_HOOK_user_send_packet, &j->e.ev) == GR_STOP)
            j->stage = JOB_DONE;
        return true;
    case JOB_SEND_TYPE:
        j->stage = JOB_SENT;
        return run(j, j->sender->state == GR_S_BOUND ? send_hook[gr_stanza_kind(j->e.stanza)]
                                                     : GR_HOOK_user_send_xmlel,
                   &j->e.ev, on_verdict);
    case JOB_SENT: {
        enum gr_kind kind = gr_stanza_kind(j->e.stanza);
        bool routed = (kind == GR_MESSAGE || kind == GR_IQ) && j->verdict != GR_STOP &&
                      j->sender->state == GR_S_BOUND;
        if (j->verdict != GR_STOP && (kind == GR_NONZA || j->sender->state != GR_S_BOUND))
            j->sender->out->unclaimed(j->sender->out_ctx, j->e.stanza);
        leave_queue(j);
        j->stage = routed ? JOB_ROUTE : JOB_DONE;
        if (!routed || is_for_own_side(j))
            return true;
        /* Behind what handlers sent for earlier stanzas (job_route): RFC 6120, 10.1. */
        j->post.run = run_posted;
        loop_defer(&j->post);
        return false;
    }
    case JOB_ROUTE:
        return route(j);
    case JOB_LOCAL:
        acc_strip(&j->acc);
        j->e.ev.host = host_find(j->e.to->domain);
        if (j->e.ev.host == NULL) {
            host_went(j);
            return true;
        }
        j->turn = j->e.to->hash;
        j->stage = JOB_RECEIVED;
        return run(j, GR_HOOK_filter_local_packet, &j->e.ev, on_verdict);
    case JOB_RECEIVED:
        j->stage = JOB_DONE;
        return received(j);
    case JOB_DELIVER:
        j->e.ev.host = host_find(j->e.to->domain);
        if (j->e.ev.host != NULL)
            j->stage = deliver_to_account(j);
        else
            host_went(j);
        return true;
    case JOB_PREFER:
        j->stage = JOB_DELIVER;
        return prefer(j);
    case JOB_EXISTS:
        j->exists = (struct gr_user_ev){ .ev.host = j->e.ev.host, .jid = j->e.to };
        j->stage = JOB_EXISTED;
        return run(j, GR_HOOK_does_user_exist, &j->exists.ev, on_exists);
    case JOB_EXISTED:
        j->stage = after_exists(j);
        return true;
    case JOB_OFFLINE:
        j->stage = JOB_DONE;
        return run(j, j->offline_hook, &j->e.ev, on_verdict);
    case JOB_SUBSCRIPTION:
        j->e.deliver = false;
        j->stage = JOB_SUBSCRIBED;
        return run(j, GR_HOOK_roster_in_subscription, &j->e.ev, on_verdict);
    case JOB_SUBSCRIBED:
        if (j->e.deliver)
            deliver_to_available(j);
        j->stage = JOB_DONE;
        return true;
    case JOB_DONE:
        break;
    }
    return true;
}

static void step(struct job *j)
{
    j->suspended = false;
    while (j->stage != JOB_DONE || j->sender != NULL) {
        if (j->stage == JOB_DONE) { /* stopped while still in its session's queue */
            leave_queue(j);
            continue;
        }
        if (!advance(j))
            return;
    }
    deliver_requests(NULL, &j->acc); /* what handlers of filters and offline_message asked for */
    leave_lane(j);
    job_free(j);
}

void job_route(struct gr_stanza *take, const struct gr_acc *cause, struct receipt *take_receipt)
{
    struct job *j = job_new(take, JOB_ROUTE);

    if (cause != NULL)
        acc_fork(&j->acc, cause);
    else
        acc_init(&j->acc, GR_FROM_SERVER);
    j->acc.behalf = cause != NULL;
    give_receipt(j, take_receipt);
    gr_assert(j->e.from != NULL && j->e.to != NULL);
    j->post.run = run_posted;
    loop_defer(&j->post);
}

void job_redeliver_held(struct gr_stanza *take, struct receipt *take_receipt)
{
    struct job *j = job_new(take, JOB_DELIVER);

    acc_init(&j->acc, GR_FROM_SERVER);
    j->acc.again = true;
    give_receipt(j, take_receipt);
    post_home(j, JOB_DELIVER);
}

void job_redeliver(struct gr_stanza *take)
{
    job_redeliver_held(take, NULL);
}
