/* mod/hook.c: runs chains (hooks.md 1.2, 1.3).
 *
 * A run lives on the stack of its caller until a handler suspends it; only then it moves to the heap
 * and takes a reference to its table, so that a reload meanwhile changes nothing for it. Before each
 * handler the event, the heads of the accumulator and the stanza are remembered (savepoint.c); GR_FAIL
 * goes back there. Handlers are called through functions generated from the list of hooks, each with
 * the handler's true type. Runs on the loop of the table. */
#include "mod/hook.h"

#include "mod/run.h"
#include "mod/usage.h"

#include <grapnel/log.h>

/* --- what the list says --- */

#define SCOPE_H false
#define SCOPE_G true
#define ASYNC_0 false
#define ASYNC_P true
static const struct {
    const char *name;
    bool global, async, stanza;
    size_t size;
} info[GR_HOOK_COUNT + 1] = {
#define INFO(hook, scope, kind, asyn, event)                                                     \
    { #hook, SCOPE_##scope, ASYNC_##asyn,                                                        \
      _Generic((struct event *)NULL, struct gr_stanza_ev *: true, default: false),               \
      sizeof(struct event) },
    GR_HOOK_LIST(INFO)
    { "custom", false, true, false, sizeof(struct gr_ev) }
};

typedef enum gr_verdict (*call_f)(const struct hook_handler *h, struct gr_ev *ev);
#define CALL_V(hook, event) return h->fn.hook(h->self, (struct event *)(void *)ev)
#define CALL_A(hook, event) return h->fn.hook(h->self, (struct event *)(void *)ev)
#define CALL_N(hook, event)                                                                       \
    h->fn.hook(h->self, (struct event *)(void *)ev);                                             \
    return GR_OK
#define CALL(hook, scope, kind, asyn, event)                                                      \
    static enum gr_verdict call_##hook(const struct hook_handler *h, struct gr_ev *ev)           \
    {                                                                                             \
        CALL_##kind(hook, event);                                                                 \
    }
GR_HOOK_LIST(CALL)

static enum gr_verdict call_custom(const struct hook_handler *h, struct gr_ev *ev)
{
    return h->fn.custom(h->self, ev);
}

static const call_f call[GR_HOOK_COUNT + 1] = {
#define CALL_ENTRY(hook, scope, kind, asyn, event) call_##hook,
    GR_HOOK_LIST(CALL_ENTRY) call_custom
};

const char *hook_name(enum gr_hook_id id)
{
    return info[id].name;
}

bool hook_is_global(enum gr_hook_id id)
{
    return info[id].global;
}

bool hook_is_stanza(enum gr_hook_id id)
{
    return info[id].stanza;
}

size_t hook_event_size(enum gr_hook_id id)
{
    return info[id].size;
}

/* --- one handler --- */

static enum gr_verdict call_handler(struct gr_run *run, struct gr_mod *before)
{
    const struct hook_handler *h = run_handler(run);
    struct mod_loop *ml = h->self->host->of;
    unsigned outer = atomic_load_explicit(&ml->used.hook, memory_order_relaxed);
    enum gr_verdict verdict;
    int64_t slow;

    usage_set(ml, h->self);
    atomic_store_explicit(&ml->used.hook, run->id + 1, memory_order_relaxed);
    h->self->calls++;
    verdict = call[run->id](h, run->ev);
    atomic_store_explicit(&ml->used.hook, outer, memory_order_relaxed);
    slow = usage_turn(ml, before);
    if (slow > 0)
        gr_warn("hook.slow", "%s: mod_%s (%d) kept its loop for about %lld ms", run->name,
                h->self->desc->name, h->prio, (long long)(slow / 1000000));
    return verdict;
}

static void fail(struct gr_run *run, const char *why)
{
    const struct hook_handler *h = run_handler(run);

    gr_warn("hook.failed", "%s: mod_%s (%d) %s; its changes are taken back", run->name,
            h->self->desc->name, h->prio, why);
    run_undo(run);
    run->ev->failed++;
}

/* False: the chain ends with *verdict. */
static bool judge(struct gr_run *run, enum gr_verdict *verdict)
{
    bool filter = run->id == GR_HOOK_filter_packet || run->id == GR_HOOK_filter_local_packet;

    switch (*verdict) {
    case GR_OK:
        run_keep(run);
        return true;
    case GR_DROP:
        if (!filter)
            break;
        run_keep(run);
        return false;
    case GR_STOP:
        run_keep(run);
        return false;
    case GR_FAIL:
        fail(run, "failed");
        return true;
    case GR_PENDING:
        fail(run, "returned GR_PENDING without a hold that this hook allows");
        return true;
    default:
        break;
    }
    fail(run, *verdict == GR_DROP ? "returned GR_DROP, which is for filters" :
              "returned a value that is no verdict");
    return true;
}

/* What a hold taken by the handler makes of its verdict. GR_PENDING: suspended. */
static enum gr_verdict settle_hold(struct gr_run *run, enum gr_verdict verdict)
{
    struct gr_hold *h = run->hold;

    run->hold = NULL;
    if (verdict != GR_PENDING) {
        hold_abandon(h);
        return verdict;
    }
    if (h->resumed) { /* the completion came before the handler returned */
        verdict = h->verdict == GR_PENDING ? GR_FAIL : h->verdict;
        hold_free(h);
        return verdict;
    }
    run->hold = h;
    return GR_PENDING;
}

/* Handlers from `next` on. GR_PENDING: suspended, run->hold says by whom. */
static enum gr_verdict advance(struct gr_run *run)
{
    struct mod_loop *ml = mod_loop();
    struct gr_mod *before = usage_by(ml);
    enum gr_verdict verdict;
    int64_t slow = usage_turn(ml, before);

    if (slow > 0 && before != NULL)
        usage_slow(before, slow);
    while (run->next < run->chain->count) {
        run->next++;
        run_save(run);
        verdict = call_handler(run, before);
        if (run->hold != NULL) {
            verdict = settle_hold(run, verdict);
            if (run->hold != NULL)
                return GR_PENDING;
        }
        if (!judge(run, &verdict))
            return verdict;
    }
    return GR_OK;
}

/* --- runs --- */

static void finish(struct gr_run *run, enum gr_verdict verdict)
{
    run->ev->run = NULL;
    if (run->asker == NULL) {
        run->done(run->ev, verdict);
        return;
    }
    if (run->inner != NULL)
        list_remove(&run->inner->of_outer);
    if (run->ran != NULL) {
        struct gr_mod *before = usage_begin(run->asker);
        run->ran(run->asker, run->ev, verdict);
        usage_end(run->asker, before);
    }
    inner_free(run->inner);
}

/* From the caller's stack to the heap. */
static void suspend(struct gr_run *run)
{
    struct gr_run *heap = gr_alloc(sizeof(*heap));

    *heap = *run;
    heap->suspended = true;
    heap->hold->run = heap;
    heap->ev->run = heap;
    hook_table_ref(heap->table);
    if (heap->asker == NULL)
        return;
    inner_suspend(heap);
    mod_pend(heap->asker);
}

void run_continue(struct gr_run *run, enum gr_verdict verdict)
{
    struct hook_table *table = run->table;
    struct gr_mod *asker = run->asker;
    bool more;

    run->hold = NULL;
    run->suspended = false;
    if (verdict == GR_PENDING)
        verdict = GR_FAIL;
    more = judge(run, &verdict);
    if (more) {
        verdict = advance(run);
        if (verdict == GR_PENDING) {
            run->suspended = true;
            return;
        }
    }
    finish(run, verdict);
    gr_free(run);
    hook_table_unref(&table);
    if (asker != NULL)
        mod_unpend(asker);
}

/* The fields that matter, one by one: the savepoint is large and set by run_save. */
static void run_init(struct gr_run *run, enum gr_hook_id id, struct gr_ev *ev,
                     struct hook_table *table, const struct hook_chain *chain)
{
    run->ev = ev;
    run->id = id;
    run->name = info[id].name;
    run->chain = chain;
    run->table = table;
    run->next = 0;
    run->may_pend = info[id].async;
    run->suspended = false;
    run->hold = NULL;
    run->asker = NULL;
    run->original = NULL;
    run->private_copy = false;
    run->appended = 0;
    ev->run = run;
}

/* The table to run it from; NULL: there is nothing to run. Every run is counted (hooks.md 1.2). */
static struct hook_table *table_for(enum gr_hook_id id, struct gr_ev *ev)
{
    struct hook_table *t;

    ev->run = NULL;
    ev->failed = 0;
    if (info[id].global) {
        struct mod_loop *ml = mod_loop();
        ml->runs[id]++;
        t = ml->global;
    } else if (ev->host != NULL) {
        ev->host->runs[id]++;
        t = ev->host->hooks;
    } else {
        gr_error("hook.no_host", "%s was run without a host; nobody was asked", info[id].name);
        return NULL;
    }
    return t->chain[id] != NULL ? t : NULL;
}

static void go(struct gr_run *run)
{
    enum gr_verdict verdict = advance(run);

    if (verdict == GR_PENDING)
        suspend(run);
    else
        finish(run, verdict);
}

/* The two that have a run on their stack are functions of their own: it is large, the compiler clears
 * it (-ftrivial-auto-var-init), and most chains are empty. */
static __attribute__((noinline)) void run_chain(enum gr_hook_id id, struct gr_ev *ev,
                                                struct hook_table *t, hook_done_f done)
{
    struct gr_run run;

    run_init(&run, id, ev, t, t->chain[id]);
    run.done = done;
    go(&run);
}

static __attribute__((noinline)) enum gr_verdict run_chain_now(enum gr_hook_id id,
                                                               struct gr_ev *ev,
                                                               struct hook_table *t)
{
    struct gr_run run;
    enum gr_verdict verdict;

    run_init(&run, id, ev, t, t->chain[id]);
    run.may_pend = false;
    verdict = advance(&run);
    ev->run = NULL;
    return verdict;
}

void hook_run(enum gr_hook_id id, struct gr_ev *ev, hook_done_f done)
{
    struct hook_table *t = table_for(id, ev);

    if (t != NULL)
        run_chain(id, ev, t, done);
    else
        done(ev, GR_OK);
}

enum gr_verdict hook_run_now(enum gr_hook_id id, struct gr_ev *ev)
{
    struct hook_table *t = table_for(id, ev);

    return t != NULL ? run_chain_now(id, ev, t) : GR_OK;
}

/* --- for modules --- */

/* outer: the hold that keeps the accumulator's chain waiting, or NULL. */
static void run_for(struct gr_mod *self, enum gr_hook_id id, const char *name, struct gr_ev *ev,
                    struct hook_table *t, const struct hook_chain *chain, struct gr_hold *outer,
                    gr_ran_f done)
{
    struct gr_run run;

    if (chain == NULL) {
        if (done != NULL)
            done(self, ev, GR_OK);
        return;
    }
    run_init(&run, id, ev, t, chain);
    run.name = name;
    run.asker = self;
    run.ran = done;
    run.inner = NULL;
    if (outer != NULL)
        inner_begin(&run, outer);
    go(&run);
}

static void run_listed(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev,
                       struct gr_hold *outer, gr_ran_f done)
{
    struct hook_table *t;

    gr_assert((unsigned)id < GR_HOOK_COUNT);
    ev->host = info[id].global ? NULL : self->host;
    t = table_for(id, ev);
    run_for(self, id, info[id].name, ev, t, t != NULL ? t->chain[id] : NULL, outer, done);
}

void gr_hook_run(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev, gr_ran_f done)
{
    run_listed(self, id, ev, NULL, done);
}

bool gr_hook_is_own(struct gr_mod *self, enum gr_hook_id id)
{
    const struct hook_chain *chain;

    gr_assert((unsigned)id < GR_HOOK_COUNT && !info[id].global);
    chain = self->host->hooks->chain[id];
    if (chain == NULL || chain->only != self)
        return false;
    self->host->runs[id]++;
    return true;
}

void gr_hook_run_held(struct gr_mod *self, struct gr_hold *hold, enum gr_hook_id id,
                      struct gr_ev *ev, gr_ran_f done)
{
    ev->acc = hold->run != NULL ? hold->run->ev->acc : NULL;
    run_listed(self, id, ev, ev->acc != NULL ? hold : NULL, done);
}

void gr_hook_run_custom(struct gr_mod *self, const char *name, struct gr_ev *ev, gr_ran_f done)
{
    struct hook_table *t = self->host->hooks;
    struct table_node *n = table_find_str(&t->custom, name);

    ev->host = self->host;
    ev->run = NULL;
    ev->failed = 0;
    self->host->runs[GR_HOOK_COUNT]++;
    run_for(self, GR_HOOK_COUNT, n != NULL ? n->key : name, ev, t,
            n != NULL ? GR_CONTAINER_OF(n, struct hook_custom, by_name)->chain : NULL, NULL, done);
}
