/* mod_offline/drain.c: delivering what was kept (XEP-0160, 2, step 5), with a delay stamp
 * (XEP-0203).
 *
 * Rows are read in order, a page at a time, and routed like any message; each is on its way
 * once, however many resources appear meanwhile. A row is deleted when the core says that the
 * message has been handled, which for a client means: written to its socket. A message that
 * finds nobody comes back to offline_message, is recognised there and not kept a second time;
 * one whose connection broke is reported as not delivered. Both stay, and are sent again to the
 * next resource, or, when one is there, after a pause. Messages that arrive live during all this
 * do not wait for the stored ones. */
#include "offline.h"

#include <string.h>

#include <grapnel/log.h>

enum { PAGE = 50, BACKOFF_MS = 1000, BACKOFF_MAX_MS = 60000 };

/* --- telling messages on their way from each other --- */

/* What survives the handlers on the way, which may have made a copy. */
static char *sent_key(struct gr_mod *self, const struct gr_stanza *st)
{
    const struct gr_jid *from = gr_stanza_from(st);
    const struct gr_el *delay = own_delay(self, st);
    const char *id = gr_stanza_id(st), *stamp = delay != NULL ? gr_el_attr(delay, "stamp") : NULL;

    return gr_asprintf("%s\n%s\n%s", from != NULL ? from->full : "", id != NULL ? id : "",
                       stamp != NULL ? stamp : "");
}

static struct sent *same_key(struct queue *q, const char *key)
{
    struct sent *s = q->sent;

    while (s != NULL && (s->state >= DONE || strcmp(s->key, key) != 0)) /* those have none */
        s = s->next;
    return s;
}

bool drain_took_back(struct queue *q, const struct gr_stanza_ev *ev)
{
    struct sent *s = q->sent;

    if (s == NULL || gr_acc_origin(ev->ev.acc) != GR_FROM_SERVER)
        return false;
    while (s != NULL && (s->state != SENT || s->stanza != ev->stanza))
        s = s->next;
    if (s == NULL) {
        char *key = sent_key(q->self, ev->stanza);
        s = same_key(q, key);
        gr_free(key);
    }
    if (s == NULL || s->state != SENT)
        return false;
    s->state = BACK;
    return true;
}

/* --- pauses --- */

static void on_retry(struct gr_mod *self, struct gr_timer *t)
{
    struct queue *q = GR_CONTAINER_OF(t, struct queue, retry);
    struct sent *next;

    (void)self;
    q->armed = q->off = false;
    for (struct sent *s = q->sent; s != NULL; s = next) {
        next = s->next;
        if (s->state == FOREIGN)
            queue_drop_sent(q, s);
    }
    drain(q);
}

void drain_later(struct queue *q, int64_t ms)
{
    q->armed = true;
    gr_timer_start(q->self, &q->retry, ms, on_retry);
}

/* Twice as long each time until something works. */
static void back_off(struct queue *q)
{
    q->backoff_ms = q->backoff_ms == 0 ? BACKOFF_MS : 2 * q->backoff_ms;
    if (q->backoff_ms > BACKOFF_MAX_MS)
        q->backoff_ms = BACKOFF_MAX_MS;
    if (!q->armed)
        drain_later(q, q->backoff_ms);
}

/* --- deleting --- */

static void forget_deleted(struct queue *q)
{
    struct sent *next;

    for (struct sent *s = q->sent; s != NULL; s = next) {
        next = s->next;
        if (s->state == DELETING)
            queue_drop_sent(q, s);
    }
}

/* They stay in memory, so that nobody gets them again, until they can be deleted. */
static void delete_later(struct queue *q, int rc)
{
    for (struct sent *s = q->sent; s != NULL; s = s->next)
        if (s->state == DELETING)
            s->state = DONE;
    gr_warn("offline.not_deleted", "delivered messages of %s cannot be deleted yet: %s",
            q->owner->bare, gr_strerror(rc));
    q->off = true;
    back_off(q);
}

static void on_deleted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct queue *q = *(struct queue **)gr_req_data(req);

    (void)self;
    q->deleting = false;
    if (rows->rc == 0)
        forget_deleted(q);
    else
        delete_later(q, rows->rc);
    drain_continue(q);
}

/* In a transaction that does nothing else: the store takes those even when the disk is full. */
static void delete_now(struct queue *q)
{
    struct gr_txn *t = gr_txn_new(q->self);
    struct gr_req *req;

    for (struct sent *s = q->sent; s != NULL; s = s->next) {
        if (s->state != DONE)
            continue;
        s->state = DELETING;
        gr_txn_del_seq(t, MESSAGES, q->owner->bare, s->seq);
    }
    q->deleting = true;
    req = gr_req_new(q->self, sizeof(struct queue *), on_deleted);
    *(struct queue **)gr_req_data(req) = q;
    gr_txn_commit(t, req);
}

static void on_gathered(struct gr_mod *self, struct gr_timer *t)
{
    struct queue *q = GR_CONTAINER_OF(t, struct queue, gather);

    (void)self;
    q->gathering = false;
    delete_now(q);
}

/* All that is handled in this turn goes together, in the next commit: until then a crash brings it back. */
static void delete_done(struct queue *q)
{
    const struct offline *o = gr_state(q->self);

    if (q->deleting || q->gathering || q->off || queue_count_sent(q, DONE) == 0)
        return;
    q->gathering = !o->retired; /* then no timer runs any more */
    if (q->gathering)
        gr_timer_start(q->self, &q->gather, 0, on_gathered);
    else
        delete_now(q);
}

void drain_delete_gathered(struct queue *q)
{
    if (!q->gathering)
        return;
    gr_timer_stop(&q->gather);
    q->gathering = false;
    delete_now(q);
}

/* --- sending --- */

struct token { /* what comes back with the outcome */
    struct queue *q;
    uint64_t seq;
};

static void on_handled(struct gr_mod *self, void *data, bool delivered)
{
    const struct token *token = data;
    struct queue *q = token->q;
    struct sent *s = queue_sent(q, token->seq);

    (void)self;
    gr_assert(s != NULL);
    if (delivered && s->state == SENT) {
        s->state = DONE;
        q->backoff_ms = 0;
    } else {
        q->failed = true;
        queue_drop_sent(q, s);
    }
    q->blocked = false;
    drain_continue(q);
}

/* False: has to wait until another message, which looks the same, is out of the way. */
static bool send_row(struct queue *q, const struct gr_row *row)
{
    uint64_t seq = gr_row_seq(row);
    struct gr_stanza *st = NULL;
    struct token *token;
    struct sent *s;
    int64_t time_us;
    char *key = NULL;
    bool good = row_parse(row, &time_us, &st) == 0;

    if (good) {
        if (own_delay(q->self, st) == NULL)
            gr_stanza_add_delay(st, gr_mod_host_jid(q->self)->full, time_us);
        if (gr_stanza_to(st) == NULL)
            gr_stanza_set_to(st, q->owner);
        key = sent_key(q->self, st);
        if (same_key(q, key) != NULL) {
            gr_stanza_unref(&st);
            gr_free(key);
            return false;
        }
    } else {
        gr_error("offline.damaged", "a message of %s is damaged and thrown away", q->owner->bare);
    }
    s = gr_alloc(sizeof(*s));
    s->seq = seq;
    s->state = good ? SENT : DONE;
    s->stanza = st;
    s->key = key;
    s->next = q->sent;
    q->sent = s;
    if (!good)
        return true;
    token = gr_alloc(sizeof(*token));
    *token = (struct token){ q, seq };
    gr_send_tracked(q->self, gr_stanza_ref(st), on_handled, token);
    return true;
}

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct queue *q = *(struct queue **)gr_req_data(req);

    (void)self;
    q->reading = false;
    if (rows->rc != 0) {
        gr_error("offline.read", "messages of %s cannot be read: %s", q->owner->bare,
                 gr_strerror(rows->rc));
        q->failed = true;
    }
    for (size_t i = 0; i < rows->count && !q->blocked; i++) {
        uint64_t seq = gr_row_seq(&rows->row[i]);

        if (queue_sent(q, seq) == NULL && !send_row(q, &rows->row[i]))
            q->blocked = true;
        else
            q->cursor = seq + 1;
    }
    q->eof = !rows->more && !q->blocked;
    drain_continue(q);
}

static void read_page(struct queue *q)
{
    struct gr_req *req = gr_req_new(q->self, sizeof(struct queue *), on_page);
    uint8_t from[8];

    for (int i = 0; i < 8; i++)
        from[i] = (uint8_t)(q->cursor >> (56 - 8 * i));
    q->reading = true;
    *(struct queue **)gr_req_data(req) = q;
    gr_store_range(req, MESSAGES, q->owner->bare, from, sizeof(from), PAGE);
}

/* --- when --- */

/* Somebody to whom a message for the account would go (RFC 6121, 8.5.2.1.1), and it is on us to
 * send. */
static bool has_receiver(const struct queue *q)
{
    const struct offline *o = gr_state(q->self);
    const struct gr_account *a = gr_account_find(q->self, q->owner);
    struct gr_session *s = a != NULL && !o->retired && !retrieves_itself(q->self, a)
                               ? gr_account_next(a, NULL)
                               : NULL;

    while (s != NULL && (!gr_session_available(s) || gr_session_priority(s) < 0))
        s = gr_account_next(a, s);
    return s != NULL;
}

static void start(struct queue *q)
{
    if (queue_count_sent(q, FOREIGN) == 0 && !q->off) {
        gr_timer_stop(&q->retry);
        q->armed = false;
    }
    q->again = q->failed = q->eof = q->blocked = false;
    q->draining = true;
    q->cursor = 0;
}

/* Everything was tried; some of it did not arrive. */
static void pause_drain(struct queue *q)
{
    q->draining = false;
    if (has_receiver(q))
        back_off(q); /* else the next one asks for them */
}

static void advance(struct queue *q)
{
    unsigned away = queue_count_sent(q, SENT) + queue_count_sent(q, BACK);

    if (q->failed || q->eof) {
        if (away > 0)
            return;
        if (q->again && has_receiver(q)) {
            start(q);
            read_page(q);
        } else if (q->failed) {
            pause_drain(q);
        } else if (queue_count_sent(q, DONE) + queue_count_sent(q, DELETING) == 0) {
            q->draining = false;
        }
    } else if (!has_receiver(q)) {
        q->draining = false;
    } else if (!q->blocked && away <= PAGE / 2) {
        read_page(q);
    }
}

void drain_continue(struct queue *q)
{
    q->pins++;
    delete_done(q);
    if (q->draining && !q->reading)
        advance(q);
    q->pins--;
    queue_release(q);
}

void drain(struct queue *q)
{
    if (q->draining)
        q->again = true;
    else
        start(q);
    drain_continue(q);
}
