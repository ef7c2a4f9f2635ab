/* mod/ask.c: one call of a provider: who asked, who answers, and what becomes of both.
 *
 * An ask counts as in flight for the asking and for the answering instance, so neither goes before it
 * is over. It is freed after the current event, not in gr_answer: the second answer of a mistaken
 * provider is caught. One that is not answered in time is answered by the core and kept as a shell for
 * the late answer. On one loop. */
#include <grapnel/log.h>

#include "mod/provider_priv.h"
#include "mod/usage.h"

static struct gr_ask *ask_alloc(size_t size)
{
    struct gr_ask *ask = gr_alloc(sizeof(*ask) + size);

    ask->loop = loop_self();
    return ask;
}

struct gr_ask *gr_ask_new(struct gr_mod *self, size_t size, gr_answer_f done)
{
    struct gr_ask *ask = ask_alloc(size);

    ask->asker = self;
    ask->done = done;
    return ask;
}

struct gr_ask *ask_new(provider_done_f done, void *arg)
{
    struct gr_ask *ask = ask_alloc(0);

    ask->core_done = done;
    ask->arg = arg;
    ask_issue(ask);
    return ask;
}

void *gr_ask_data(struct gr_ask *ask)
{
    return ask->data;
}

void ask_issue(struct gr_ask *ask)
{
    list_append(&mod_loop()->asks, &ask->in_loop);
    if (ask->asker != NULL)
        mod_pend(ask->asker);
}

void ask_to(struct gr_ask *ask, struct provider_inst *pi)
{
    ask->inst = pi;
    ask->answerer = pi->self;
    pi->calls++;
    mod_pend(pi->self);
    ask->before = usage_begin(pi->self);
}

static void tell(struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_mod *before = usage_begin(ask->asker);

    ask->done(ask->asker, ask, a);
    usage_end(ask->asker, before);
}

/* A failure always has a condition (backends.md 1, "Errors"). */
static void deliver(struct gr_ask *ask, const struct gr_answer *a)
{
    struct gr_answer failed;

    if (a->result == GR_R_ERROR && a->cond == GR_COND_NONE) {
        failed = *a;
        failed.cond = GR_INTERNAL_SERVER_ERROR;
        a = &failed;
    }
    if (ask->core_done != NULL)
        ask->core_done(ask->arg, a);
    else if (ask->done != NULL && !ask->asker->stopped)
        tell(ask, a);
}

/* The two modules may go. */
static void let_go(struct gr_ask *ask)
{
    if (ask->answerer != NULL)
        mod_unpend(ask->answerer);
    if (ask->asker != NULL)
        mod_unpend(ask->asker);
}

static void free_later(struct post *p)
{
    gr_free(GR_CONTAINER_OF(p, struct gr_ask, post));
}

void gr_answer(struct gr_ask *take, const struct gr_answer *a)
{
    gr_assert(!take->answered && take->loop == loop_self());
    take->answered = true;
    list_remove(&take->in_loop);
    timer_stop(&take->timer);
    if (!take->expired)
        deliver(take, a);
    if (take->inst != NULL)
        provider_inst_done(take->inst);
    if (!take->expired)
        let_go(take);
    take->post.run = free_later;
    loop_defer(&take->post);
}

/* Answered by the core in the provider's place. */
static void expire(struct gr_ask *ask, enum gr_cond cond)
{
    const struct gr_answer a = { .result = GR_R_ERROR, .cond = cond };

    timer_stop(&ask->timer);
    ask->expired = true;
    deliver(ask, &a);
    let_go(ask);
}

/* The provider may still be at work on its instance, which therefore stays. */
static void on_timeout(struct timer *t)
{
    struct gr_ask *ask = GR_CONTAINER_OF(t, struct gr_ask, timer);

    gr_error("provider.timeout", "mod_%s has not answered for %d s", ask->answerer->desc->name,
             ASK_MS / 1000);
    expire(ask, GR_REMOTE_SERVER_TIMEOUT);
}

void ask_sent(struct gr_ask *ask)
{
    usage_end(ask->answerer, ask->before);
    if (!ask->answered)
        timer_start(&ask->timer, ASK_MS, on_timeout);
}

static struct gr_ask *unfinished(const struct gr_mod *answerer)
{
    list_each (ask, &mod_loop()->asks, struct gr_ask, in_loop) {
        if (ask->answerer == answerer && (!ask->expired || ask->inst != NULL))
            return ask;
    }
    return NULL;
}

void asks_expire(const struct gr_mod *answerer)
{
    struct gr_ask *ask;

    while ((ask = unfinished(answerer)) != NULL) {
        struct provider_inst *pi = ask->inst;

        ask->inst = NULL;
        if (!ask->expired)
            expire(ask, GR_SERVICE_UNAVAILABLE);
        provider_inst_done(pi);
    }
}

void asks_forget(const struct gr_mod *answerer)
{
    list_each (ask, &mod_loop()->asks, struct gr_ask, in_loop) {
        if (ask->answerer != answerer)
            continue;
        gr_assert(ask->expired && ask->inst == NULL);
        list_remove(&ask->in_loop);
        gr_free(ask);
    }
}

void gr_answer_result(struct gr_ask *take, enum gr_result result)
{
    const struct gr_answer a = { .result = result };

    gr_answer(take, &a);
}

void gr_answer_error(struct gr_ask *take, enum gr_cond cond, const char *text)
{
    const struct gr_answer a = { .result = GR_R_ERROR, .cond = cond, .text = text };

    gr_answer(take, &a);
}
