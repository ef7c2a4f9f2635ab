/* route/router.c: sending on behalf of modules, and errors on the way back. */
#include "route/session.h"

#include "mod/usage.h"

#include <string.h>

bool (*route_remote)(struct job *j);

/* One stanza has one error at most, whoever finds what is wrong with it. */
static bool may_refuse(const struct gr_acc *acc)
{
    return acc == NULL || acc->behalf || receipt_refuse(acc->receipt);
}

void route_bounce(struct job *j, enum gr_cond cond, const char *text)
{
    struct gr_stanza *reply = gr_error_reply(j->e.stanza, cond, text);

    if (reply == NULL) /* never an error for an error or a result: RFC 6120, 8.3.1 */
        return;
    if (!may_refuse(&j->acc)) {
        gr_stanza_unref(&reply);
        return;
    }
    /* From the address that could not be served, also when it was only implied. */
    gr_stanza_set_from(reply, j->e.to);
    gr_stanza_set_to(reply, j->e.from);
    job_route(reply, NULL, receipt_ref(j->receipt)); /* handled when the error is out */
}

static bool addressed(struct gr_mod *self, const struct gr_stanza *st)
{
    if (gr_stanza_from(st) != NULL && gr_stanza_to(st) != NULL)
        return true;
    gr_error("route.unaddressed", "mod_%s sends a stanza without from or to: dropped",
             gr_mod_name(self));
    return false;
}

void gr_send(struct gr_mod *self, struct gr_stanza *take)
{
    if (addressed(self, take))
        job_route(take, NULL, NULL);
    else
        gr_stanza_unref(&take);
}

void gr_send_in(struct gr_mod *self, const struct gr_ev *ev, struct gr_stanza *take)
{
    struct receipt *r = ev->acc != NULL ? ev->acc->receipt : NULL;

    if (r != NULL && r->kept) /* its origin keeps that stanza, not this one */
        r = NULL;
    if (addressed(self, take))
        job_route(take, ev->acc, receipt_ref(r));
    else
        gr_stanza_unref(&take);
}

/* struct gr_receipt is only a name for struct receipt in public. */
struct gr_receipt *gr_receipt_take(const struct gr_ev *ev)
{
    return (struct gr_receipt *)receipt_ref(ev->acc != NULL ? ev->acc->receipt : NULL);
}

void gr_receipt_give(struct gr_receipt **take)
{
    struct receipt *r = (struct receipt *)*take;

    *take = NULL;
    receipt_release(&r, true);
}

bool gr_receipt_refuse(struct gr_receipt *r)
{
    return receipt_refuse((struct receipt *)r);
}

void gr_receipt_answer(struct gr_mod *self, struct gr_receipt *r, struct gr_stanza *take)
{
    struct receipt *whole = receipt_whole((struct receipt *)r);

    if (whole != NULL && whole->kept) /* its origin keeps that stanza, not this one */
        whole = NULL;
    if (addressed(self, take))
        job_route(take, NULL, receipt_ref(whole));
    else
        gr_stanza_unref(&take);
}

/* --- sending with the outcome told --- */

enum gr_verdict gr_ev_refuse(struct gr_mod *self, struct gr_stanza_ev *ev, enum gr_cond cond,
                             const char *text)
{
    struct gr_stanza *reply = gr_error_reply(ev->stanza, cond, text);

    if (reply == NULL || !may_refuse(ev->ev.acc)) {
        gr_stanza_unref(&reply);
        return GR_STOP;
    }
    gr_stanza_set_from(reply, ev->to); /* also when the stanza left it out */
    gr_stanza_set_to(reply, ev->from);
    gr_send_in(self, &ev->ev, reply);
    return GR_STOP;
}

struct tracked {
    struct receipt r;
    struct gr_mod *self;
    gr_handled_f f;
    void *data;
};

static void tracked_handled(struct receipt *r, bool ok)
{
    struct tracked *t = GR_CONTAINER_OF(r, struct tracked, r);

    if (!t->self->stopped) {
        struct gr_mod *before = usage_begin(t->self);
        t->f(t->self, t->data, ok);
        usage_end(t->self, before);
    }
    mod_unpend(t->self);
    gr_free(t->data);
    gr_free(t);
}

void gr_send_tracked(struct gr_mod *self, struct gr_stanza *take, gr_handled_f f, void *take_data)
{
    struct tracked *t = gr_alloc(sizeof(*t));
    struct receipt *r = &t->r;

    t->self = self;
    t->f = f;
    t->data = take_data;
    mod_pend(self);
    receipt_init(r, tracked_handled);
    r->kept = true;
    if (addressed(self, take)) {
        job_route(take, NULL, r);
        return;
    }
    gr_stanza_unref(&take);
    receipt_release(&r, false);
}

/* --- from loop to loop, within one module --- */

struct mod_post {
    struct post post;
    struct gr_mod *from;
    const char *module, *host;
    struct gr_jid *jid;
    struct loop *home;
    gr_post_f f;
    size_t len;
    max_align_t data[];
};

static void post_back(struct post *p)
{
    struct mod_post *m = GR_CONTAINER_OF(p, struct mod_post, post);

    mod_unpend(m->from);
    gr_jid_free(&m->jid);
    gr_free(m);
}

static struct gr_mod *instance_on(const struct gr_host *host, const struct gr_mod *like)
{
    if (host == NULL)
        return NULL;
    list_each(mod, &host->instances, struct gr_mod, of_host)
        if (mod->desc == like->desc)
            return mod;
    return NULL;
}

static void post_there(struct post *p)
{
    struct mod_post *m = GR_CONTAINER_OF(p, struct mod_post, post);
    struct gr_mod *self = instance_on(host_find(m->host), m->from);

    if (self != NULL) {
        struct gr_mod *before = usage_begin(self);
        m->f(self, m->jid, m->data, m->len);
        usage_end(self, before);
    } else {
        gr_warn("mod.post_lost", "mod_%s was replaced while a message of its own travelled",
                m->module);
    }
    m->post.run = post_back;
    loop_post(m->home, &m->post);
}

/* A stanza takes this step as well (job_route), so that the order of calls is kept. */
static void post_away(struct post *p)
{
    struct mod_post *m = GR_CONTAINER_OF(p, struct mod_post, post);

    m->post.run = post_there;
    loop_post(loop_home(m->jid->hash), &m->post);
}

static void post_to(struct gr_mod *self, const struct gr_host *host, const struct gr_jid *jid,
                    gr_post_f f, const void *data, size_t len)
{
    struct mod_post *m = gr_alloc(sizeof(*m) + len);

    m->from = self;
    m->module = gr_mod_name(self);
    m->host = gr_host_name(host);
    m->jid = gr_jid_dup(jid);
    m->home = loop_self();
    m->f = f;
    m->len = len;
    if (len > 0)
        memcpy(m->data, data, len);
    m->post.run = post_away;
    mod_pend(self);
    loop_defer(&m->post);
}

void gr_post(struct gr_mod *self, const struct gr_jid *jid, gr_post_f f, const void *data,
             size_t len)
{
    post_to(self, gr_mod_host(self), jid, f, data, len);
}

int gr_post_host(struct gr_mod *self, const struct gr_jid *jid, gr_post_f f, const void *data,
                 size_t len)
{
    struct gr_host *host = host_find(jid->domain);

    if (instance_on(host, self) == NULL)
        return GR_ENOENT;
    post_to(self, host, jid, f, data, len);
    return 0;
}
