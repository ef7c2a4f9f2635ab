/* mod_mam/query.c: answering a client. A page comes a few messages at a time: the next ones are
 * read when the last of those before has been written to the client's socket, and the queries of
 * a resource are answered one after the other: so they take the same memory whatever the size
 * and number of the pages, and however slowly they are read. */
#include "ask.h"

#include <stdio.h>
#include <string.h>

#include <grapnel/log.h>

struct query {
    struct query *next, **at;   /* at: what points to it */
    struct gr_mam_ev ev;
    struct ask ask;
    struct gr_mod *self;
    struct gr_iq_req *req;
    struct gr_jid *caller;
    void (*begin)(struct query *x); /* NULL: it has begun */
    char *head;                 /* of each result */
    struct gr_stanza *held;     /* the latest result: it may be the last one of this part */
    char *first, *last;         /* ids, in the order of sending */
    int64_t sent;
};

static void query_drop(struct query *x)
{
    *x->at = x->next;
    if (x->next != NULL)
        x->next->at = x->at;
    ask_free(&x->ask);
    gr_stanza_unref(&x->held);
    gr_free(x->head);
    gr_free(x->first);
    gr_free(x->last);
    gr_jid_free(&x->caller);
    gr_free(x);
}

/* At shutdown: nothing is answered any more. */
void queries_free(struct mam *m)
{
    while (m->queries != NULL)
        query_drop(m->queries);
}

static void begin(struct query *x)
{
    void (*f)(struct query *x) = x->begin;

    x->begin = NULL;
    f(x);
}

/* The oldest one of that resource; they are in the list the other way round. */
static struct query *oldest_of(const struct mam *m, const struct gr_jid *caller)
{
    struct query *oldest = NULL;

    for (struct query *x = m->queries; x != NULL; x = x->next)
        if (gr_jid_equal(x->caller, caller))
            oldest = x;
    return oldest;
}

/* Answered: the next one. */
static void query_free(struct query *x)
{
    struct mam *m = gr_state(x->self);
    struct gr_jid *caller = x->caller;
    struct query *next;

    x->caller = NULL;
    query_drop(x);
    next = oldest_of(m, caller);
    gr_jid_free(&caller);
    if (next != NULL && next->begin != NULL)
        begin(next);
}

static struct query *query_new(struct gr_mod *self, struct gr_iq_req *req)
{
    struct query *x = gr_alloc(sizeof(*x));
    struct mam *m = gr_state(self);

    x->self = self;
    x->req = req;
    x->caller = gr_jid_dup(gr_iq_req_from(req));
    x->ev = (struct gr_mam_ev){ .owner = gr_iq_req_to(req), .caller = x->caller,
                                .query = &x->ask.q };
    x->next = m->queries;
    x->at = &m->queries;
    if (x->next != NULL)
        x->next->at = &x->next;
    m->queries = x;
    return x;
}

static void query_start(struct query *x, void (*f)(struct query *x))
{
    x->begin = f;
    if (oldest_of(gr_state(x->self), x->caller) == x)
        begin(x);
}

static void refuse(struct query *x, enum gr_cond cond)
{
    gr_iq_reply_error(x->req, cond, NULL);
    query_free(x);
}

/* --- a page --- */

static void on_row(struct gr_mam_query *q, const struct gr_mam_row *row)
{
    struct query *x = GR_CONTAINER_OF(q, struct query, ask.q);
    struct gr_stanza *st = result_new(x->head, x->ev.owner, x->ev.caller, row);

    if (st == NULL)
        return;
    if (x->held != NULL)
        gr_send(x->self, x->held);
    x->held = st;
    x->sent++;
    if (x->first == NULL)
        x->first = gr_strdup(row->id);
    gr_free(x->last);
    x->last = gr_strdup(row->id);
}

/* XEP-0059 asks for it, XEP-0313 leaves it open (4.3.2). A client in wide use (slixmpp) takes
 * the last page for the end, also when it comes from there: on that one the index is left out. */
static int64_t index_to_tell(const struct query *x)
{
    const struct gr_mam_query *q = &x->ask.q;

    return q->rsm.before != NULL && !q->complete && q->index + x->sent == q->count ? -1
                                                                                   : q->index;
}

static void answer(struct query *x)
{
    const struct gr_mam_query *q = &x->ask.q;
    struct gr_stanza *result = gr_iq_result(gr_iq_req_stanza(x->req));
    struct gr_el *fin = gr_el_add(result, NULL, NS_MAM, "fin");

    if (q->complete)
        gr_el_set(result, fin, "complete", "true");
    gr_rsm_add(result, fin,
               &(struct gr_rsm_page){ .first = q->flip ? x->last : x->first,
                                      .last = q->flip ? x->first : x->last,
                                      .index = index_to_tell(x), .count = q->count });
    gr_iq_reply(x->req, result);
    query_free(x);
}

/* A page of everything: how much there is says the hook that is for that. */
static bool asks_for_all(const struct gr_mam_query *q)
{
    return q->rsm.asked && q->with == NULL && q->ids == NULL && q->after_id == NULL &&
           q->before_id == NULL && q->start_us == INT64_MIN && q->end_us == INT64_MAX;
}

static void on_counted(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct query *x = GR_CONTAINER_OF(ev, struct query, ev.ev);

    (void)self, (void)verdict;
    if (x->ev.rc == 0)
        x->ask.q.count = (int64_t)x->ev.count;
    answer(x);
}

static void look_up(struct query *x);

/* The last one of a part was written, or nobody is there any more. */
static void on_handled(struct gr_mod *self, void *data, bool delivered)
{
    struct query *x = *(struct query **)data;

    if (delivered && gr_session_find(self, x->caller, 0) != NULL)
        look_up(x);
    else
        refuse(x, GR_RECIPIENT_UNAVAILABLE);
}

static void send_part(struct query *x)
{
    struct gr_stanza *st = x->held;
    struct query **data = gr_alloc(sizeof(*data));

    x->held = NULL;
    *data = x;
    gr_send_tracked(x->self, st, on_handled, data);
}

static void on_looked_up(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct query *x = GR_CONTAINER_OF(ev, struct query, ev.ev);

    (void)verdict;
    if (x->ev.rc != 0) {
        refuse(x, gr_cond_of(x->ev.rc));
        return;
    }
    x->ask.q.begun = true;
    if (x->ask.q.left > 0 && x->held != NULL) {
        send_part(x);
        return;
    }
    if (x->held != NULL)
        gr_send(self, x->held);
    x->held = NULL;
    if (asks_for_all(&x->ask.q))
        gr_hook_run(self, GR_HOOK_mam_archive_size, &x->ev.ev, on_counted);
    else
        answer(x);
}

static void look_up(struct query *x)
{
    x->ev.rc = GR_ENOTSUP;
    gr_hook_run(x->self, GR_HOOK_mam_lookup_messages, &x->ev.ev, on_looked_up);
}

static void on_id(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct query *x = GR_CONTAINER_OF(ev, struct query, ev.ev);

    (void)self, (void)verdict;
    if (x->ev.rc != 0)
        refuse(x, gr_cond_of(x->ev.rc));
    else
        look_up(x);
}

static void ask_id(struct query *x)
{
    gr_hook_run(x->self, GR_HOOK_mam_archive_id, &x->ev.ev, on_id);
}

static void tell_form(struct gr_iq_req *req)
{
    struct gr_stanza *result = gr_iq_result(gr_iq_req_stanza(req));

    ask_form(result, gr_el_add(result, NULL, NS_MAM, "query"));
    gr_iq_reply(req, result);
}

void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct gr_el *el = gr_stanza_payload(gr_iq_req_stanza(ev->req));
    enum gr_cond cond;
    struct query *x;

    if (ev->type == GR_GET) {
        tell_form(ev->req);
        return;
    }
    x = query_new(self, ev->req);
    cond = ask_read(&x->ask, el, gr_conf(self));
    if (cond != GR_COND_NONE) { /* at once */
        gr_iq_reply_error(ev->req, cond, NULL);
        query_drop(x);
        return;
    }
    x->ask.q.row = on_row;
    x->head = result_head(gr_el_attr(el, "queryid"));
    query_start(x, ask_id);
}

/* --- metadata (5): the first row, the last row --- */

static void on_end(struct gr_mam_query *q, const struct gr_mam_row *row)
{
    struct query *x = GR_CONTAINER_OF(q, struct query, ask.q);

    metadata_row(row, &x->first, &x->last);
}

static void ask_end(struct query *x, const char *before);

static void on_end_found(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct query *x = GR_CONTAINER_OF(ev, struct query, ev.ev);
    struct gr_stanza *result;

    (void)self, (void)verdict;
    if (x->ev.rc != 0) {
        refuse(x, gr_cond_of(x->ev.rc));
        return;
    }
    if (x->first != NULL && x->ask.q.rsm.before == NULL) {
        ask_end(x, "");
        return;
    }
    result = gr_iq_result(gr_iq_req_stanza(x->req));
    metadata_put(result, NULL, x->first, x->last);
    gr_iq_reply(x->req, result);
    query_free(x);
}

static void ask_end(struct query *x, const char *before)
{
    x->ev.rc = GR_ENOTSUP;
    x->ask.q = metadata_query(before, on_end);
    gr_hook_run(x->self, GR_HOOK_mam_lookup_messages, &x->ev.ev, on_end_found);
}

static void ask_first(struct query *x)
{
    ask_end(x, NULL);
}

void on_metadata(struct gr_mod *self, struct gr_iq_ev *ev)
{
    query_start(query_new(self, ev->req), ask_first);
}
