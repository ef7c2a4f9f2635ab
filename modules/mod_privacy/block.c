/* mod_privacy/block.c: the default list as a block list (XEP-0191, 5): those of its items that deny
 * everything for an address. They stand in front, in the order in which they were blocked. */
#include "privacy.h"

bool item_blocks(const struct item *item)
{
    return item->type == ITEM_JID && !item->allow && item->on == ON_ALL;
}

static bool is_among(const struct gr_jid *jid, const struct gr_jid *const *jids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (gr_jid_equal(jids[i], jid))
            return true;
    }
    return false;
}

static bool list_blocks(const struct list *l, const struct gr_jid *jid)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        if (item_blocks(&l->items[i]) && gr_jid_equal(l->items[i].jid, jid))
            return true;
    }
    return false;
}

/* Those that block and are not to go, or the others. */
static void copy_items(struct list *to, const struct list *l, bool blocking,
                       const struct gr_jid *const *gone, size_t gone_count)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        const struct item *item = &l->items[i];

        if (item_blocks(item) == blocking &&
            !(blocking && is_among(item->jid, gone, gone_count)))
            list_add(to, item);
    }
}

/* XEP-0016, 2.6: the values of `order` are not fixed. */
static struct list *number(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        l->items[i].order = (uint32_t)i + 1;
    return l;
}

struct list *list_block(const struct list *l, const char *name, const struct gr_jid *const *jids,
                        size_t count)
{
    struct list *to = list_new(name, (l != NULL ? l->count : 0) + count);

    if (l != NULL && l->closed)
        l = NULL; /* set anew */
    copy_items(to, l, true, NULL, 0);
    for (size_t i = 0; i < count; i++) {
        struct item item = { .type = ITEM_JID, .on = ON_ALL,
                             .jid = (struct gr_jid *)(uintptr_t)jids[i] };

        if (!list_blocks(to, jids[i]))
            list_add(to, &item);
    }
    copy_items(to, l, false, NULL, 0);
    return number(to);
}

struct list *list_unblock(const struct list *l, const struct gr_jid *const *jids, size_t count)
{
    struct list *to = list_new(l->name, l->count);

    if (count > 0)
        copy_items(to, l, true, jids, count);
    if (count > 0 || !l->closed)
        copy_items(to, l, false, NULL, 0);
    return number(to);
}

/* The addresses that are blocked in a and not in b. */
static const struct gr_jid **blocked_only_in(const struct list *a, const struct list *b,
                                             size_t *count)
{
    size_t most = a != NULL ? a->count : 0;
    const struct gr_jid **out = gr_alloc((most + 1) * sizeof(*out));

    *count = 0;
    for (size_t i = 0; a != NULL && i < a->count; i++) {
        if (item_blocks(&a->items[i]) && !list_blocks(b, a->items[i].jid))
            out[(*count)++] = a->items[i].jid;
    }
    return out;
}

void blocklist_compare(const struct change *c, const struct list *before, const struct list *after)
{
    struct blocklist_changed_ev ev = { .owner = c->owner,
                                       .all = c->op == CHANGE_UNBLOCK && c->count == 0 };
    const struct gr_jid **more = blocked_only_in(after, before, &ev.blocked_count);
    const struct gr_jid **less = blocked_only_in(before, after, &ev.unblocked_count);

    ev.blocked = more;
    ev.unblocked = less;
    if (ev.blocked_count > 0 || ev.unblocked_count > 0)
        gr_hook_run_custom(c->self, BLOCKLIST_CHANGED_HOOK, &ev.ev, NULL);
    gr_free(more);
    gr_free(less);
}

/* --- mod_privacy.blocklist --- */

static void changed(struct change *c, enum gr_cond cond)
{
    struct blocklist_ev *ev = GR_CONTAINER_OF(c->ev, struct blocklist_ev, ev);

    if (gr_hold_waits(c->hold)) {
        ev->cond = cond;
        ev->answered = true;
    }
    gr_resume(c->hold, GR_OK);
}

static enum gr_verdict get(struct gr_mod *self, struct blocklist_ev *ev)
{
    const struct book *b = book_find(self, ev->owner);

    ev->answered = true;
    if (b == NULL)
        ev->cond = GR_INTERNAL_SERVER_ERROR;
    else
        ev->blocked = blocked_only_in(b->def, NULL, &ev->blocked_count);
    return GR_STOP;
}

enum gr_verdict on_blocklist(struct gr_mod *self, struct gr_ev *base)
{
    struct blocklist_ev *ev = GR_CONTAINER_OF(base, struct blocklist_ev, ev);
    struct gr_hold *hold;
    struct change *c;

    if (ev->op == BLOCKLIST_GET)
        return get(self, ev);
    hold = gr_hold(self, base);
    if (hold == NULL) {
        ev->cond = GR_RESOURCE_CONSTRAINT;
        ev->answered = true;
        return GR_STOP;
    }
    c = change_new(self, ev->op == BLOCKLIST_BLOCK ? CHANGE_BLOCK : CHANGE_UNBLOCK, ev->owner,
                   ev->who);
    c->jids = gr_alloc((ev->count + 1) * sizeof(*c->jids));
    for (; c->count < ev->count; c->count++)
        c->jids[c->count] = gr_jid_dup(ev->jids[c->count]);
    c->hold = hold;
    c->ev = base;
    c->done = changed;
    change_start(c);
    return GR_PENDING;
}
