/* route/bind.c: how a session comes into the table and leaves it (hooks.md 3.6; RFC 6120, 7). Opening
 * may wait for providers and modules; the session is pinned meanwhile. */
#include "route/session.h"

#include <string.h>

#define BIND_TRIES 5 /* resources tried when the session provider says "in use" */

struct bind_op {
    struct gr_session_ev e;
    struct link link;                /* in the session that it waits for */
    struct post post;
    struct gr_session *s;
    struct gr_jid *full;
    char *resource;                  /* asked for; NULL: none */
    struct gr_stanza *request;
    session_bound_f done;
    int tries;
};

/* --- small runs of hooks about a session --- */

static enum gr_verdict session_hook(struct gr_session *s, enum gr_hook_id id,
                                    enum gr_end_reason reason, const char *text)
{
    struct gr_acc acc;
    struct gr_session_ev e = { .ev.host = s->host, .ev.acc = &acc, .session = s, .jid = s->jid,
                               .text = text, .reason = reason };
    enum gr_verdict v;

    if (s->host == NULL || hook_empty(s->host, id))
        return GR_OK;
    acc_init(&acc, GR_FROM_SERVER);
    v = hook_run_now(id, &e.ev);
    deliver_requests(s, &acc);
    acc_fini(&acc);
    return v;
}

/* --- opening --- */

static void bind_free(struct bind_op *b)
{
    struct gr_session *s = b->s;

    gr_jid_free(&b->full);
    gr_free(b->resource);
    gr_stanza_unref(&b->request);
    acc_free(&b->e.ev.acc);
    gr_free(b);
    session_unpin(s);
}

static void bind_answer(struct bind_op *b, enum gr_cond cond, const char *text)
{
    if (!b->s->ending)
        b->done(b->s, cond, text);
    bind_free(b);
}

/* Without those that only wait for what they have sent. */
static int64_t live_sessions(const struct gr_account *a)
{
    int64_t n = 0;

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s))
        n++;
    return n;
}

/* Sessions that must make room: the same resource, and the oldest ones over the account's limit. */
static void make_room(struct gr_session *s, const struct gr_jid *full)
{
    struct gr_account *a = account_find(full);
    struct gr_session *old;
    int64_t over;

    if (a == NULL)
        return;
    while ((old = gr_account_session(a, full->resource)) != NULL) {
        session_end(old, "conflict", "Replaced by a new session", GR_END_REPLACED);
        if ((a = account_find(full)) == NULL)
            return;
    }
    over = live_sessions(a) + 1 - s->host->conf->max_sessions;
    while (over-- > 0 && (old = gr_account_next(a, NULL)) != NULL) {
        session_end(old, "conflict", "Too many sessions", GR_END_REPLACED);
        if ((a = account_find(full)) == NULL)
            return;
    }
}

static void bind_cancel(struct bind_op *b)
{
    provider_session_unbind(b->s->host, &b->s->providers, b->s, b->full);
    bind_free(b);
}

/* The session of that resource that was ended and still works off what it was sent. */
static struct gr_session *leaving(const struct gr_jid *full)
{
    struct gr_account *a = account_find(full);

    if (a == NULL)
        return NULL;
    list_each(s, &a->sessions, struct gr_session, of_account)
        if (s->ending && strcmp(s->jid->resource, full->resource) == 0)
            return s;
    return NULL;
}

void session_enter(struct gr_session *s, struct gr_jid *take_full)
{
    gr_jid_free(&s->jid);
    s->jid = take_full;
    s->account = account_get(s->jid, s->host);
    list_append(&s->account->sessions, &s->of_account);
    s->account->count++;
    route_loop()->bound++;
    s->state = GR_S_BOUND;
    provider_roster_bind(s->host, &s->providers, s);
}

/* Nobody must see the old session leave after the new one has come. */
static void bind_insert(struct bind_op *b)
{
    struct gr_session *s = b->s, *old;

    make_room(s, b->full);
    if ((old = leaving(b->full)) != NULL) {
        list_append(&old->successors, &b->link);
        return;
    }
    session_enter(s, b->full);
    b->full = NULL;
    session_hook(s, GR_HOOK_sm_register_connection, GR_END_NORMAL, NULL);
    bind_answer(b, GR_COND_NONE, NULL);
}

static void run_successor(struct post *p)
{
    struct bind_op *b = GR_CONTAINER_OF(p, struct bind_op, post);

    if (b->s->ending)
        bind_cancel(b);
    else
        bind_insert(b);
}

static void on_opened(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_session_ev *e = GR_CONTAINER_OF(ev, struct gr_session_ev, ev);
    struct bind_op *b = GR_CONTAINER_OF(e, struct bind_op, e);
    struct gr_session *s = b->s;

    deliver_requests(s, ev->acc);
    if (s->ending) {
        bind_cancel(b);
    } else if (verdict == GR_STOP) {
        provider_session_unbind(s->host, &s->providers, s, b->full);
        hook_run_now(GR_HOOK_forbidden_session, ev);
        bind_answer(b, GR_NOT_ALLOWED, NULL);
    } else {
        bind_insert(b);
    }
}

static void bind_try(struct bind_op *b, const char *resource);

static void on_provided(void *arg, const struct gr_answer *a)
{
    struct bind_op *b = arg;

    if (b->s->ending) {
        if (a->result == GR_R_OK)
            provider_session_unbind(b->s->host, &b->s->providers, b->s, b->full);
        bind_free(b);
    } else if (a->result == GR_R_ERROR) {
        bind_answer(b, a->cond, a->text);
    } else if (a->result == GR_R_FALSE) {
        bind_try(b, NULL);
    } else {
        b->e.ev.host = b->s->host;
        b->e.ev.acc = acc_new(GR_FROM_C2S);
        b->e.session = b->s;
        b->e.jid = b->full;
        b->e.stanza = b->request;
        b->e.allow = true;
        hook_run(GR_HOOK_user_open_session, &b->e.ev, on_opened);
    }
}

/* Conflict policy of the host (RFC 6120, 7.7.2.2). False: refused. */
static bool resolve_conflict(struct bind_op *b)
{
    struct gr_account *a = account_find(b->full);

    if (a == NULL || gr_account_session(a, b->full->resource) == NULL)
        return true;
    switch (b->s->host->conf->resource_conflict) {
    case CONF_REFUSE:
        return false;
    case CONF_NEW_RESOURCE: {
        char id[GR_ID_SIZE];
        gr_random_id(id);
        gr_jid_free(&b->full);
        return gr_jid_with_resource(b->s->jid, id, &b->full) == 0;
    }
    default:
        return true; /* the old session goes when the new one is let in */
    }
}

static void bind_try(struct bind_op *b, const char *resource)
{
    char id[GR_ID_SIZE];

    gr_jid_free(&b->full);
    if (b->tries++ >= BIND_TRIES) {
        bind_answer(b, GR_CONFLICT, NULL);
        return;
    }
    if (resource == NULL || *resource == '\0') {
        gr_random_id(id);
        resource = id;
    }
    if (gr_jid_with_resource(b->s->jid, resource, &b->full) != 0) {
        bind_answer(b, GR_BAD_REQUEST, "not a resource");
        return;
    }
    if (!resolve_conflict(b)) {
        bind_answer(b, GR_CONFLICT, NULL);
        return;
    }
    provider_session_bind(b->s->host, &b->s->providers, b->s, b->full, on_provided, b);
}

void session_turn_away(struct gr_session *s)
{
    session_request_close(s, "not-authorized", "The account may not log in any more", true);
}

static void on_state(void *arg, const struct gr_answer *a)
{
    struct bind_op *b = arg;

    if (a->result == GR_R_OK && !b->s->ending) {
        bind_try(b, b->resource);
    } else if (a->result == GR_R_ERROR) {
        bind_answer(b, a->cond, a->text);
    } else {
        session_turn_away(b->s);
        bind_free(b);
    }
}

/* Who it is was proved a while ago, on another loop. Since it stands on its home loop, a removal of the
 * account ends it (remove_user); whether there was one before, or the account is disabled, the provider is
 * asked from here. Whatever it answers, a removal that it did not know of yet comes later and finds
 * the session. */
void session_bind(struct gr_session *s, const char *resource, struct gr_stanza *request,
                  session_bound_f done)
{
    struct bind_op *b = gr_alloc(sizeof(*b));

    gr_assert(s->state == GR_S_AUTHENTICATED);
    b->s = s;
    b->done = done;
    b->resource = resource != NULL ? gr_strdup(resource) : NULL;
    b->request = gr_stanza_ref(request);
    session_pin(s);
    provider_auth_may_open(s->host, s->jid->node, on_state, b);
}

/* --- ending --- */

struct unsent {
    struct link link;
    struct gr_stanza *st;
    struct receipt *receipt;
};

void session_unsent_held(struct gr_session *s, struct gr_stanza *st, struct receipt *receipt)
{
    struct unsent *u = gr_alloc(sizeof(*u));

    u->st = gr_stanza_ref(st);
    u->receipt = receipt_ref(receipt);
    list_append(&s->unsent, &u->link);
}

void session_unsent(struct gr_session *s, struct gr_stanza *st)
{
    session_unsent_held(s, st, NULL);
}

/* Messages find another resource or the offline store, requests get their error (RFC 6121, 8.5.3.2);
 * presence and answers meant this session alone. */
void session_reroute(struct gr_stanza *st, struct receipt *receipt)
{
    enum gr_kind kind = gr_stanza_kind(st);
    enum gr_type type = gr_stanza_type(st);
    bool again = (kind == GR_MESSAGE && type != GR_TYPE_ERROR) ||
                 (kind == GR_IQ && (type == GR_GET || type == GR_SET));

    if (again && gr_stanza_from(st) != NULL && gr_stanza_to(st) != NULL)
        job_redeliver_held(gr_stanza_ref(st), receipt_ref(receipt));
}

static void reroute_unsent(struct gr_session *s)
{
    while (!list_empty(&s->unsent)) {
        struct unsent *u = list_entry(s->unsent.next, struct unsent, link);

        list_remove(&u->link);
        if (s->account != NULL)
            session_reroute(u->st, u->receipt);
        receipt_release(&u->receipt, true);
        gr_stanza_unref(&u->st);
        gr_free(u);
    }
}

static void call_successors(struct gr_session *s)
{
    while (!list_empty(&s->successors)) {
        struct bind_op *b = list_entry(s->successors.next, struct bind_op, link);

        list_remove(&b->link);
        b->post.run = run_successor;
        loop_defer(&b->post);
    }
}

static void leave_table(struct gr_session *s)
{
    list_remove(&s->of_account);
    s->account->count--;
    route_loop()->bound--;
    session_hook(s, GR_HOOK_sm_remove_connection, s->end_reason, NULL);
    provider_session_unbind(s->host, &s->providers, s, s->jid);
}

static void session_free(struct gr_session *s)
{
    gr_stanza_unref(&s->presence);
    gr_jid_free(&s->jid);
    gr_free(s->lang);
    gr_free(s->auth_mech);
    gr_free(s->http_identity);
    gr_free(s->client_id);
    gr_free(s->client_software);
    gr_free(s->client_device);
    session_counts_free(&s->counts);
    gr_free(s);
}

static void finish(struct gr_session *s)
{
    struct gr_account *a = s->account;

    if (a != NULL) {
        session_hook(s, GR_HOOK_user_terminate, s->end_reason, NULL);
        if (s->available)
            gr_session_set_presence(NULL, s, NULL, NULL);
        leave_table(s);
        session_hook(s, GR_HOOK_reroute_unacked_messages, s->end_reason, NULL);
    }
    provider_insts_fini(&s->providers, s);
    reroute_unsent(s);
    slots_fini(&s->slots);
    table_remove(&route_loop()->sessions, &s->by_id);
    if (a != NULL)
        account_release_if_idle(a);
    call_successors(s);
    session_free(s);
}

static void forget(void *ctx, struct gr_session *s)
{
    (void)ctx;
    if (gr_session_has_stream(s) || s->account == NULL || s->pins > 0)
        return;
    provider_insts_fini(&s->providers, s);
    slots_fini(&s->slots);
    list_remove(&s->of_account);
    s->account->count--;
    route_loop()->bound--;
    account_release_if_idle(s->account);
    table_remove(&route_loop()->sessions, &s->by_id);
    s->account = NULL;
    reroute_unsent(s); /* nowhere */
    session_free(s);
}

void session_forget_kept(void)
{
    session_each(forget, NULL);
}

void session_pin(struct gr_session *s)
{
    s->pins++;
}

void session_unpin(struct gr_session *s)
{
    gr_assert(s->pins > 0);
    if (--s->pins == 0 && s->ending)
        finish(s);
}

void session_terminate(struct gr_session **take, enum gr_end_reason reason)
{
    struct gr_session *s = *take;

    *take = NULL;
    if (s == NULL || s->ending)
        return;
    s->ending = true;
    s->end_reason = reason;
    s->out = &session_gone;
    s->out_ctx = NULL;
    if (s->pins == 0)
        finish(s);
}

void session_end(struct gr_session *s, const char *condition, const char *text,
                 enum gr_end_reason reason)
{
    if (s->ending)
        return;
    s->out->close(s->out_ctx, condition, text);
    session_terminate(&s, reason);
}

bool session_kept(struct gr_session *s, enum session_stop why, const char *reason)
{
    static const enum gr_hook_id hook[] = {
        [SESSION_SOCKET_CLOSED] = GR_HOOK_user_socket_closed,
        [SESSION_SOCKET_ERROR] = GR_HOOK_user_socket_error,
        [SESSION_STOP_REQUEST] = GR_HOOK_user_stop_request,
    };

    if (s->account == NULL || session_hook(s, hook[why], GR_END_NORMAL, reason) != GR_STOP)
        return false;
    if (why != SESSION_STOP_REQUEST) { /* the stream goes all the same */
        s->out = &session_gone;
        s->out_ctx = NULL;
    }
    return true;
}

struct close_post {
    struct post post;
    uint64_t id;
    bool hard;
    char *condition, *text;
};

static void run_close(struct post *p)
{
    struct close_post *c = GR_CONTAINER_OF(p, struct close_post, post);
    struct gr_session *s = session_by_id(c->id);

    if (s != NULL && !s->ending &&
        (c->hard || !session_kept(s, SESSION_STOP_REQUEST, c->condition)))
        session_end(s, c->condition, c->text, GR_END_NORMAL);
    gr_free(c->condition);
    gr_free(c->text);
    gr_free(c);
}

void session_request_close(struct gr_session *s, const char *condition, const char *text, bool hard)
{
    struct close_post *c = gr_alloc(sizeof(*c));

    c->post.run = run_close;
    c->id = s->id;
    c->hard = hard;
    c->condition = condition != NULL ? gr_strdup(condition) : NULL;
    c->text = text != NULL ? gr_strdup(text) : NULL;
    loop_defer(&c->post);
}

void gr_session_close(struct gr_mod *self, struct gr_session *s, const char *condition,
                      const char *text, bool hard)
{
    (void)self;
    session_request_close(s, condition, text, hard);
}
