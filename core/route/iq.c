/* route/iq.c: iqs to hosts and accounts: to the one handler of (where, namespace, name), and answers to
 * what modules asked (RFC 6120, 8.2.3: every get and set is answered exactly once). */
#include "route/session.h"

#include "mod/spec.h"
#include "mod/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gr_iq_req {
    struct owed owed;
    struct kept kept;
    struct gr_mod *self;          /* NULL: the core has answered, because the module went */
    struct gr_host *host;
    struct gr_stanza *stanza;
    struct gr_jid *from, *to;
    struct receipt *receipt;
};

/* --- requests --- */

static void req_give_up(struct owed *o);

static struct gr_iq_req *req_new(struct gr_mod *self, const struct job *j)
{
    struct gr_iq_req *req = gr_alloc(sizeof(*req));

    req->self = self;
    req->host = j->e.ev.host;
    req->stanza = gr_stanza_ref(j->e.stanza);
    req->from = gr_jid_dup(j->e.from);
    req->to = gr_jid_dup(j->e.to);
    req->receipt = receipt_ref(j->receipt);
    mod_owe(self, &req->owed, req_give_up);
    return req;
}

static void req_free(struct gr_iq_req *req)
{
    gr_stanza_unref(&req->stanza);
    gr_jid_free(&req->from);
    gr_jid_free(&req->to);
    gr_free(req);
}

static void on_drop(struct kept *k)
{
    req_free(GR_CONTAINER_OF(k, struct gr_iq_req, kept));
}

static void reply(struct gr_iq_req *req, struct gr_stanza *take_result)
{
    gr_stanza_set_from(take_result, req->to); /* also when the request left `to` out */
    gr_stanza_set_to(take_result, req->from);
    job_route(take_result, NULL, req->receipt); /* handled when the answer is out */
    req->receipt = NULL;
}

/* The code that could have answered on this loop is gone; on another it may still hold the pointer, so
 * the shell stays with the spec. At shutdown nobody is there to be told. */
static void req_give_up(struct owed *o)
{
    struct gr_iq_req *req = GR_CONTAINER_OF(o, struct gr_iq_req, owed);
    struct gr_mod *self = req->self;

    if (!mod_loop()->stopping) {
        gr_warn("iq.unanswered", "mod_%s of %s has gone without answering %s", gr_mod_name(self),
                gr_host_name(req->host), req->from->full);
        reply(req, gr_error_reply(req->stanza, GR_INTERNAL_SERVER_ERROR,
                                  "the module was replaced before it answered"));
    }
    receipt_release(&req->receipt, false);
    req->self = NULL;
    spec_keep(self->spec, &req->kept, on_drop);
    mod_settle(self, o);
}

const struct gr_stanza *gr_iq_req_stanza(const struct gr_iq_req *req)
{
    return req->stanza;
}

const struct gr_jid *gr_iq_req_from(const struct gr_iq_req *req)
{
    return req->from;
}

const struct gr_jid *gr_iq_req_to(const struct gr_iq_req *req)
{
    return req->to;
}

struct gr_host *gr_iq_req_host(const struct gr_iq_req *req)
{
    return req->host;
}

void gr_iq_reply(struct gr_iq_req *take, struct gr_stanza *take_result)
{
    struct gr_mod *self = take->self;

    if (self == NULL) { /* too late */
        gr_stanza_unref(&take_result);
        return;
    }
    reply(take, take_result);
    mod_settle(self, &take->owed);
    req_free(take);
}

void gr_iq_reply_empty(struct gr_iq_req *take)
{
    gr_iq_reply(take, gr_iq_result(take->stanza));
}

void gr_iq_reply_error(struct gr_iq_req *take, enum gr_cond cond, const char *text)
{
    gr_iq_reply(take, gr_error_reply(take->stanza, cond, text));
}

void iq_request(struct job *j, unsigned where)
{
    const struct gr_el *payload = gr_stanza_payload(j->e.stanza);
    enum gr_type type = gr_stanza_type(j->e.stanza);
    unsigned bit = type == GR_GET ? GR_IQ_GET : GR_IQ_SET;
    struct gr_mod *self;
    const struct gr_iq *h;

    if (payload == NULL) {
        route_bounce(j, GR_BAD_REQUEST, NULL);
        return;
    }
    h = iq_find(j->e.ev.host, where, gr_el_ns(payload), gr_el_name(payload), &self);
    if (h == NULL) {
        route_bounce(j, GR_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    if ((h->where & GR_OWN) && where == GR_TO_ACCOUNT && !gr_jid_bare_equal(j->e.from, j->e.to)) {
        route_bounce(j, type == GR_SET ? GR_FORBIDDEN : GR_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    if ((h->types & bit) == 0) {
        route_bounce(j, GR_NOT_ALLOWED, NULL);
        return;
    }
    struct gr_account *a = account_find(j->e.from);
    struct gr_iq_ev ev = {
        .ev = j->e.ev, .from = j->e.from, .to = j->e.to, .stanza = j->e.stanza,
        .payload = payload, .type = type, .req = req_new(self, j),
        .session = a != NULL && j->e.from->resource != NULL
                       ? gr_account_session(a, j->e.from->resource) : NULL,
    };
    struct gr_mod *before = usage_begin(self);
    h->handle(self, &ev);
    usage_end(self, before);
}

/* --- asking --- */

struct ask {
    struct table_node by_id;
    struct timer timer;
    struct gr_mod *self;
    gr_iq_f f;
    void *data;
    struct gr_jid *to;
    char id[GR_ID_SIZE + 8]; /* "<loop>-<random>": answers to a host arrive on any loop */
};

static void ask_end(struct ask *a, const struct gr_stanza *reply)
{
    struct gr_mod *self = a->self;

    timer_stop(&a->timer);
    table_remove(&route_loop()->asks, &a->by_id);
    if (!self->stopped) {
        struct gr_mod *before = usage_begin(self);
        a->f(self, a->data, reply);
        usage_end(self, before);
    }
    gr_free(a->data);
    gr_jid_free(&a->to);
    gr_free(a);
    mod_unpend(self);
}

static void ask_timeout(struct timer *t)
{
    ask_end(GR_CONTAINER_OF(t, struct ask, timer), NULL);
}

void gr_iq_ask(struct gr_mod *self, struct gr_stanza *take, int64_t timeout_ms, gr_iq_f f,
               void *take_data)
{
    struct ask *a = gr_alloc(sizeof(*a));
    char random[GR_ID_SIZE];

    gr_random_id(random);
    snprintf(a->id, sizeof(a->id), "%d-%s", loop_index(loop_self()), random);
    a->self = self;
    a->f = f;
    a->data = take_data;
    a->to = gr_jid_dup(gr_stanza_to(take));
    mod_pend(self);
    table_insert(&route_loop()->asks, &a->by_id, a->id, strlen(a->id));
    timer_start(&a->timer, timeout_ms, ask_timeout);
    gr_stanza_set_id(take, a->id);
    job_route(take, NULL, NULL);
}

static void match(const struct gr_stanza *st, const char *id)
{
    struct table_node *n = table_find_str(&route_loop()->asks, id);
    struct ask *a = n != NULL ? GR_CONTAINER_OF(n, struct ask, by_id) : NULL;

    /* An id alone proves nothing: the answer must come from whom we asked. */
    if (a != NULL && gr_jid_equal(a->to, gr_stanza_from(st)))
        ask_end(a, st);
}

struct forward {
    struct post post;
    struct gr_stanza *st;
};

static void run_forward(struct post *p)
{
    struct forward *f = GR_CONTAINER_OF(p, struct forward, post);

    match(f->st, gr_stanza_id(f->st));
    gr_stanza_unref(&f->st);
    gr_free(f);
}

void iq_response(struct job *j)
{
    const char *id = gr_stanza_id(j->e.stanza);
    char *end;

    if (id == NULL || gr_stanza_from(j->e.stanza) == NULL)
        return;
    long loop = strtol(id, &end, 10);
    if (end == id || *end != '-' || loop < 0 || loop >= loop_count())
        return;
    if (loop_at((int)loop) == loop_self()) {
        match(j->e.stanza, id);
        return;
    }
    struct forward *f = gr_alloc(sizeof(*f));
    f->post.run = run_forward;
    f->st = gr_stanza_ref(j->e.stanza);
    loop_post(loop_at((int)loop), &f->post);
}
