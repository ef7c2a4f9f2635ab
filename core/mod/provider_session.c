/* mod/provider_session.c: what session providers are asked. What nobody else answers is answered by
 * the table of this process: route/sm.c installs it at priority 0 (backends.md 4). On the calling
 * loop. */
#include "mod/provider_priv.h"
#include "mod/usage.h"

#include <stdlib.h>
#include <string.h>

#define SESSION(f) GR_PROVIDER_SESSION, offsetof(struct gr_session_provider, f)

/* --- the core's own calls --- */

void provider_session_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                           const struct gr_jid *full, provider_done_f done, void *arg)
{
    struct gr_ask *ask = ask_new(done, arg);
    struct provider_call c;

    if (!provider_call_find(&c, ask, h, SESSION(bind), p, s)) {
        gr_answer_result(ask, GR_R_OK);
        return;
    }
    ((const struct gr_session_provider *)c.vt)->bind(c.self, c.inst, ask, full);
    ask_sent(ask);
}

void provider_session_unbind(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                             const struct gr_jid *full)
{
    struct provider *pr = provider_find(h, SESSION(unbind));
    struct provider_inst *pi;
    struct gr_mod *before;

    if (pr == NULL)
        return;
    pi = provider_open(pr, p, s);
    before = usage_begin(pr->self);
    ((const struct gr_session_provider *)pr->vt)->unbind(pr->self, pi->inst, full);
    usage_end(pr->self, before);
}

void provider_session_presence(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                               const struct gr_jid *full, int priority, struct gr_stanza *stanza)
{
    struct gr_ask *ask = ask_new(NULL, NULL);
    struct provider_call c;

    if (!provider_call_find(&c, ask, h, SESSION(set_presence), p, s)) {
        gr_answer_result(ask, GR_R_OK);
        return;
    }
    ((const struct gr_session_provider *)c.vt)->set_presence(c.self, c.inst, ask, full, priority,
                                                             stanza);
    ask_sent(ask);
}

/* --- questions --- */

typedef void (*question_f)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                           const struct gr_jid *jid);

static const size_t question[] = {
#define OP(op, f) [GR_SESSION_##op] = offsetof(struct gr_session_provider, f)
    OP(GET_PRESENCE, get_presence),
    OP(GET_ALL_PRESENCES, get_all_presences),
    OP(GET_RESOURCE, get_resource),
    OP(GET_ALL_RESOURCES, get_all_resources),
    OP(GET_PREFERRED_RESOURCE, get_preferred_resource),
    OP(KILL_RESOURCE, kill_resource),
};

static void ask_about(struct gr_ask *ask, struct gr_host *h, enum gr_session_op op,
                      const struct gr_jid *jid)
{
    bool of_resource = op == GR_SESSION_GET_PRESENCE || op == GR_SESSION_GET_RESOURCE ||
                       op == GR_SESSION_KILL_RESOURCE;
    struct provider_call c;
    struct gr_jid *bare;
    question_f f;

    gr_assert((unsigned)op < GR_COUNT(question));
    if ((of_resource && jid->resource == NULL) ||
        !provider_call_find(&c, ask, h, GR_PROVIDER_SESSION, question[op], NULL, NULL)) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    memcpy(&f, (const char *)c.vt + question[op], sizeof(f));
    bare = of_resource ? NULL : gr_jid_dup_bare(jid);
    f(c.self, c.inst, ask, bare != NULL ? bare : jid);
    gr_jid_free(&bare);
    ask_sent(ask);
}

bool provider_session_prefers(const struct gr_host *h)
{
    const struct provider *p = provider_find(h, SESSION(get_preferred_resource));

    return p != NULL && p->prio > 0;
}

void provider_session_ask(struct gr_host *h, enum gr_session_op op, const struct gr_jid *jid,
                          provider_done_f done, void *arg)
{
    ask_about(ask_new(done, arg), h, op, jid);
}

void gr_session_ask(struct gr_mod *self, struct gr_ask *take, enum gr_session_op op,
                    const struct gr_jid *jid)
{
    ask_issue(take);
    ask_about(take, self->host, op, jid);
}

/* --- the presences of many --- */

/* Without get_all_roster_presences each user is asked about at home: a journey that visits each loop
 * once and ends where it began. */
enum { STOP_USERS = 500 };           /* asked about before others get their turn */
struct tour {
    struct post post;
    struct loop *back;
    struct gr_ask *outer;
    struct gr_jid **user;            /* copies */
    size_t users, next;              /* sorted by home */
    bool asking, answered;           /* the call has not returned / its answer is there */
    struct gr_presence_row *row;     /* of copies, and references to the stanzas */
    size_t rows;
};

static void tour_end(struct post *p)
{
    struct tour *t = GR_CONTAINER_OF(p, struct tour, post);
    const struct gr_answer a = { .result = GR_R_OK, .presences = t->row, .count = t->rows };

    gr_answer(t->outer, &a);
    for (size_t i = 0; i < t->users; i++)
        gr_jid_free(&t->user[i]);
    for (size_t i = 0; i < t->rows; i++) {
        struct gr_jid *jid = (struct gr_jid *)(uintptr_t)t->row[i].jid;
        gr_jid_free(&jid);
        gr_stanza_unref(&t->row[i].stanza);
    }
    gr_free(t->user);
    gr_free(t->row);
    gr_free(t);
}

static void tour_stop(struct post *p);

static void tour_go(struct tour *t)
{
    if (t->next == t->users) {
        t->post.run = tour_end;
        loop_post(t->back, &t->post);
        return;
    }
    t->post.run = tour_stop;
    loop_post(loop_home(t->user[t->next]->hash), &t->post);
}

static int by_home(const void *a, const void *b)
{
    int x = loop_index(loop_home((*(struct gr_jid *const *)a)->hash));
    int y = loop_index(loop_home((*(struct gr_jid *const *)b)->hash));

    return x - y;
}

static void tour_answered(void *arg, const struct gr_answer *a)
{
    struct tour *t = arg;

    if (a->result == GR_R_OK && a->count > 0)
        t->row = gr_realloc(t->row, (t->rows + a->count) * sizeof(*t->row));
    for (size_t i = 0; a->result == GR_R_OK && i < a->count; i++) {
        const struct gr_presence_row *r = &a->presences[i];
        t->row[t->rows++] = (struct gr_presence_row){
            gr_jid_dup(r->jid), r->priority, r->stanza != NULL ? gr_stanza_ref(r->stanza) : NULL
        };
    }
    t->next++;
    t->answered = true;
    if (!t->asking)
        tour_go(t);
}

static void tour_ask(struct tour *t)
{
    const struct gr_jid *user = t->user[t->next];
    struct gr_host *h = host_find(user->domain);

    t->asking = true;
    t->answered = false;
    if (h != NULL)
        provider_session_ask(h, GR_SESSION_GET_ALL_PRESENCES, user, tour_answered, t);
    else /* somebody else's user */
        tour_answered(t, &(struct gr_answer){ .result = GR_R_NONE });
    t->asking = false;
}

static void tour_stop(struct post *p)
{
    struct tour *t = GR_CONTAINER_OF(p, struct tour, post);
    size_t n = 0;

    do
        tour_ask(t);
    while (t->answered && ++n < STOP_USERS && t->next < t->users &&
           loop_home(t->user[t->next]->hash) == loop_self());
    if (t->answered)
        tour_go(t);
}

void gr_session_ask_all(struct gr_mod *self, struct gr_ask *take, const struct gr_jid *const *users,
                        size_t count)
{
    struct provider_call c;
    struct tour *t;

    ask_issue(take);
    if (provider_call_find(&c, take, self->host, SESSION(get_all_roster_presences), NULL, NULL)) {
        ((const struct gr_session_provider *)c.vt)->get_all_roster_presences(c.self, c.inst, take,
                                                                             users, count);
        ask_sent(take);
        return;
    }
    t = gr_alloc(sizeof(*t));
    t->back = loop_self();
    t->outer = take;
    t->user = gr_alloc((count + 1) * sizeof(struct gr_jid *));
    t->users = count;
    for (size_t i = 0; i < count; i++)
        t->user[i] = gr_jid_dup_bare(users[i]);
    qsort(t->user, count, sizeof(*t->user), by_home);
    tour_go(t);
}
