/* mod/slot.c: modules' data in sessions and accounts.
 *
 * A piece is found by (module, slot name, version) and belongs to an instance: the one that is in
 * force, or a retired one that needed it in another version meanwhile. It is on the object's list and
 * on its instance's, so that it is released by the right code whichever goes first. Of the object's
 * loop. */
#include "mod/slot.h"

#include <string.h>

#include "mod/spec.h"
#include "mod/usage.h"

void (*slots_keeper_gone)(struct slots *holder);

struct slot_data {
    struct slot_data *next;
    struct slots *holder;
    struct link of_self;         /* gr_mod.slots */
    struct gr_mod *self;         /* NULL while detached; `spec` keeps the code then */
    struct mod_spec *spec;
    const struct gr_slot *slot;  /* in the image of self or spec */
    max_align_t data[];
};

static bool same_slot(const struct gr_slot *a, const struct gr_slot *b)
{
    return a == b || (a->version == b->version && a->size == b->size &&
                      strcmp(a->name, b->name) == 0);
}

static struct slot_data *find(const struct slots *s, const struct gr_mod *self,
                              const struct gr_slot *slot)
{
    for (struct slot_data *d = s->first; d != NULL; d = d->next) {
        if (d->self == self && d->slot == slot)
            return d;
    }
    /* Old code that finishes looks for what its successor has taken over, or the other way round. */
    for (struct slot_data *d = s->first; d != NULL; d = d->next) {
        if (d->self != NULL && d->self->host == self->host && same_slot(d->slot, slot) &&
            strcmp(d->self->desc->name, self->desc->name) == 0)
            return d;
    }
    return NULL;
}

static void belongs_to(struct slot_data *d, struct gr_mod *self, const struct gr_slot *slot)
{
    d->self = self;
    d->slot = slot;
    list_append(&self->slots, &d->of_self);
    self->bytes += sizeof(*d) + slot->size;
}

static void leave_self(struct slot_data *d)
{
    list_remove(&d->of_self);
    d->self->bytes -= sizeof(*d) + d->slot->size;
    d->self = NULL;
}

void *slots_get(struct slots *s, struct gr_mod *self, const struct gr_slot *slot)
{
    struct slot_data *d = find(s, self, slot);

    if (d != NULL)
        return d->data;
    d = gr_alloc(sizeof(*d) + slot->size);
    d->holder = s;
    d->next = s->first;
    s->first = d;
    belongs_to(d, self, slot);
    return d->data;
}

void *slots_peek(const struct slots *s, const struct gr_mod *self, const struct gr_slot *slot)
{
    struct slot_data *d = find(s, self, slot);

    return d != NULL ? d->data : NULL;
}

static void call_release(struct slot_data *d)
{
    struct gr_mod *self = d->self, *before = NULL;

    if (d->slot->release == NULL || (self != NULL && self->stopped))
        return;
    if (self != NULL) /* detached: no instance to charge */
        before = usage_begin(self);
    d->slot->release(d->data);
    if (self != NULL)
        usage_end(self, before);
}

static void call_moved(struct slot_data *d)
{
    struct gr_mod *self = d->self, *before;

    if (d->slot->moved == NULL)
        return;
    before = usage_begin(self);
    d->slot->moved(self, d->data);
    usage_end(self, before);
}

void slots_keep(struct slots *s, struct gr_mod *self, const struct gr_slot *slot)
{
    s->keeper = find(s, self, slot);
    gr_assert(s->keeper != NULL && slot->keeper != NULL);
}

const struct gr_keeper *slots_keeper(const struct slots *s, struct gr_mod **self)
{
    *self = s->keeper->self;
    return s->keeper->slot->keeper;
}

/* Off its lists; with the code that is in force for it. */
static void release(struct slot_data *d)
{
    struct slot_data **at = &d->holder->first;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    if (d->holder->keeper == d)
        d->holder->keeper = NULL;
    call_release(d);
    if (d->self != NULL)
        leave_self(d);
    spec_unref(&d->spec);
    gr_free(d);
}

void slots_fini(struct slots *s)
{
    while (s->first != NULL)
        release(s->first);
}

/* The entry of `now` that takes over what `slot` describes. */
static const struct gr_slot *successor(const struct gr_mod *now, const struct gr_slot *slot)
{
    const struct gr_slot *const *table = now != NULL ? now->desc->slots : NULL;

    for (; table != NULL && *table != NULL; table++) {
        if (same_slot(*table, slot))
            return *table;
    }
    return NULL;
}

/* False: nobody takes it, it has been released. */
static bool hand_over(struct slot_data *d, struct gr_mod *now)
{
    const struct gr_slot *slot = successor(now, d->slot);
    struct slots *holder = d->holder;

    if (slot == NULL) {
        if (holder->keeper == d && slots_keeper_gone != NULL)
            slots_keeper_gone(holder);
        release(d);
        return false;
    }
    if (d->self != NULL)
        leave_self(d);
    spec_unref(&d->spec);
    belongs_to(d, now, slot);
    return true;
}

void slots_reload(struct slots *s, struct gr_mod *old, struct gr_mod *now)
{
    for (struct slot_data *d = s->first, *next; d != NULL; d = next) {
        next = d->next;
        if (d->self == old)
            hand_over(d, now);
    }
}

void slots_reload_all(struct gr_mod *old, struct gr_mod *now)
{
    while (!list_empty(&old->slots))
        hand_over(list_entry(old->slots.next, struct slot_data, of_self), now);
}

void slots_tell_moved(struct gr_mod *now)
{
    struct link todo = now->slots; /* moved() may use and release slots, also these */

    if (list_empty(&now->slots))
        return;
    todo.next->prev = todo.prev->next = &todo;
    list_init(&now->slots);
    while (!list_empty(&todo)) {
        struct slot_data *d = list_entry(todo.next, struct slot_data, of_self);

        list_remove(&d->of_self);
        list_append(&now->slots, &d->of_self);
        call_moved(d);
    }
}

void slots_detach(struct slots *s)
{
    for (struct slot_data *d = s->first; d != NULL; d = d->next) {
        own_stop_timers_in(d->self, d->data, d->slot->size);
        d->spec = spec_ref(d->self->spec);
        leave_self(d);
    }
}

static struct gr_mod *instance_of(struct gr_host *host, const char *name)
{
    if (host == NULL)
        return NULL;
    list_each (self, &host->instances, struct gr_mod, of_host) {
        if (strcmp(self->desc->name, name) == 0)
            return self;
    }
    return NULL;
}

void slots_attach(struct slots *s, struct gr_host *host)
{
    for (struct slot_data *d = s->first, *next; d != NULL; d = next) {
        struct gr_mod *now = instance_of(host, d->spec->desc->name);

        next = d->next;
        d->holder = s;
        if (hand_over(d, now))
            call_moved(d);
    }
}

void slots_each_lasting(const struct slots *s,
                        void (*f)(void *ctx, const char *module, const struct gr_slot *slot,
                                  const void *data),
                        void *ctx)
{
    for (const struct slot_data *d = s->first; d != NULL; d = d->next)
        if (d->slot->persist != NULL)
            f(ctx, d->self->desc->name, d->slot, d->data);
}

void slots_revive(struct gr_host *host, struct slots *s, struct gr_session *session,
                  const char *module, const char *name, unsigned version, const void *bytes,
                  size_t len)
{
    struct gr_mod *self = instance_of(host, module);
    const struct gr_slot *const *slot = self != NULL ? self->desc->slots : NULL;

    while (slot != NULL && *slot != NULL &&
           ((*slot)->version != version || strcmp((*slot)->name, name) != 0))
        slot++;
    if (slot == NULL || *slot == NULL || (*slot)->revive == NULL)
        return;
    if ((*slot)->revive(self, session, slots_get(s, self, *slot), bytes, len) != 0)
        release(find(s, self, *slot));
}
