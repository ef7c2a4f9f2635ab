/* mod/hook_table.c: immutable tables of chains, built once per generation (hooks.md 1.1).
 *
 * The builder collects handlers in module start order; finishing sorts them by (hook, priority), ties
 * as collected. A table names the instances in it, so that none of them goes while a suspended run
 * may still call it. On the loop the table belongs to. */
#include "mod/hook.h"

#include <stdlib.h>
#include <string.h>

#include <grapnel/log.h>

#include "mod/instance.h"

struct entry {
    enum gr_hook_id id;
    const char *custom;
    size_t order;
    struct hook_handler h;
};
struct hook_builder {
    struct entry *entries;
    size_t count, cap;
};

struct hook_builder *hook_builder_new(void)
{
    return gr_alloc(sizeof(struct hook_builder));
}

static bool same_chain(const struct entry *e, enum gr_hook_id id, const char *custom)
{
    return e->id == id && (id != GR_HOOK_COUNT || strcmp(e->custom, custom) == 0);
}

/* An instance's handlers are collected one after the other. */
static bool is_duplicate(const struct hook_builder *b, const struct gr_mod *self,
                         const struct gr_hook *hook)
{
    for (size_t i = b->count; i-- > 0 && b->entries[i].h.self == self;) {
        const struct entry *e = &b->entries[i];

        if (e->h.prio == hook->prio && same_chain(e, hook->id, hook->custom) &&
            memcmp(&e->h.fn, &hook->fn, sizeof(hook->fn)) == 0)
            return true;
    }
    return false;
}

static void add(struct hook_builder *b, struct gr_mod *self, const struct gr_hook *hook)
{
    if (is_duplicate(b, self, hook)) {
        gr_warn("hook.duplicate", "mod_%s has the same handler of %s twice at %d; once will do",
                self->desc->name, hook->custom != NULL ? hook->custom : hook_name(hook->id),
                hook->prio);
        return;
    }
    if (b->count == b->cap) {
        b->cap = b->cap > 0 ? 2 * b->cap : 64;
        b->entries = gr_realloc(b->entries, b->cap * sizeof(*b->entries));
    }
    b->entries[b->count] =
        (struct entry){ hook->id, hook->custom, b->count, { self, hook->prio, hook->fn } };
    b->count++;
}

void hook_builder_add(struct hook_builder *b, struct gr_mod *self, const struct gr_hook *hooks,
                      bool global)
{
    for (const struct gr_hook *hook = hooks; hook != NULL && hook->prio != 0; hook++) {
        if (hook_is_global(hook->id) == global)
            add(b, self, hook);
    }
}

static int by_chain(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int names;

    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    names = a->id == GR_HOOK_COUNT ? strcmp(a->custom, b->custom) : 0;
    if (names != 0)
        return names;
    if (a->h.prio != b->h.prio)
        return a->h.prio < b->h.prio ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static struct hook_chain *chain_new(const struct entry *first, size_t count)
{
    struct hook_chain *c = gr_alloc(sizeof(*c) + count * sizeof(c->handlers[0]));

    c->count = (unsigned)count;
    c->only = first->h.self;
    for (size_t i = 0; i < count; i++) {
        c->handlers[i] = first[i].h;
        if (first[i].h.self != c->only)
            c->only = NULL;
    }
    return c;
}

static void table_add(struct hook_table *t, const struct entry *first, size_t count)
{
    struct hook_chain *chain = chain_new(first, count);

    if (first->id != GR_HOOK_COUNT) {
        t->chain[first->id] = chain;
        return;
    }
    /* The name is copied: the module's own goes with its image. */
    size_t len = strlen(first->custom);
    struct hook_custom *c = gr_alloc(sizeof(*c) + len + 1);

    memcpy(c->name, first->custom, len + 1);
    c->chain = chain;
    table_insert(&t->custom, &c->by_name, c->name, len);
}

static void name_self(struct hook_table *t, struct gr_mod *self)
{
    for (unsigned i = 0; i < t->self_count; i++) {
        if (t->selfs[i] == self)
            return;
    }
    t->selfs[t->self_count++] = self;
    self->tables++;
}

struct hook_table *hook_builder_finish(struct hook_builder **take)
{
    struct hook_builder *b = *take;
    struct hook_table *t = gr_alloc(sizeof(*t));
    size_t end;

    *take = NULL;
    t->refs = 1;
    t->selfs = gr_alloc((b->count + 1) * sizeof(*t->selfs));
    if (b->count > 0)
        qsort(b->entries, b->count, sizeof(*b->entries), by_chain);
    for (size_t i = 0; i < b->count; i = end) {
        for (end = i; end < b->count && same_chain(&b->entries[end], b->entries[i].id,
                                                   b->entries[i].custom); end++)
            name_self(t, b->entries[end].h.self);
        table_add(t, &b->entries[i], end - i);
    }
    gr_free(b->entries);
    gr_free(b);
    return t;
}

struct hook_table *hook_table_ref(struct hook_table *t)
{
    t->refs++;
    return t;
}

void hook_table_unref(struct hook_table **take)
{
    struct hook_table *t = *take;
    struct table_node *next;

    *take = NULL;
    if (t == NULL || --t->refs > 0)
        return;
    for (int id = 0; id < GR_HOOK_COUNT; id++)
        gr_free(t->chain[id]);
    for (struct table_node *n = table_first(&t->custom); n != NULL; n = next) {
        struct hook_custom *c = GR_CONTAINER_OF(n, struct hook_custom, by_name);

        next = table_after(&t->custom, n);
        gr_free(c->chain);
        gr_free(c);
    }
    table_fini(&t->custom);
    for (unsigned i = 0; i < t->self_count; i++) {
        t->selfs[i]->tables--;
        mod_may_go(t->selfs[i]);
    }
    gr_free(t->selfs);
    gr_free(t);
}

static void each_of(const struct hook_chain *c, const char *name,
                    void (*f)(void *ctx, const char *hook, int prio, const struct gr_mod *self),
                    void *ctx)
{
    for (unsigned i = 0; c != NULL && i < c->count; i++)
        f(ctx, name, c->handlers[i].prio, c->handlers[i].self);
}

void hook_each(const struct hook_table *t, void (*f)(void *ctx, const char *hook, int prio,
                                                     const struct gr_mod *self), void *ctx)
{
    for (int id = 0; id < GR_HOOK_COUNT; id++)
        each_of(t->chain[id], hook_name((enum gr_hook_id)id), f, ctx);
    for (const struct table_node *n = table_first(&t->custom); n != NULL;
         n = table_after(&t->custom, n)) {
        const struct hook_custom *c = GR_CONTAINER_OF(n, struct hook_custom, by_name);

        each_of(c->chain, c->name, f, ctx);
    }
}
