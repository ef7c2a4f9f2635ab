/* mod/event.c: results that handlers of several modules build up together: roster items, stored
 * requests, discovery answers. They belong to whoever runs the chain. */
#include <string.h>

#include "mod/run.h"
#include "xml/jid.h"

#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"

/* --- roster lists --- */

struct gr_roster_list {
    struct arena arena;            /* the items and what they point to */
    struct gr_roster_item **items; /* modules keep pointers to items while they add */
    size_t count, cap;
};

struct gr_roster_list *gr_roster_list_new(void)
{
    return gr_alloc(sizeof(struct gr_roster_list));
}

static const char *const *keep_groups(struct arena *a, const char *const *groups)
{
    const char **list;
    size_t n = 0;

    while (groups[n] != NULL)
        n++;
    list = arena_alloc(a, (n + 1) * sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = arena_strdup(a, groups[i]);
    return list;
}

void gr_roster_list_add(struct gr_roster_list *l, const struct gr_roster_item *item)
{
    struct gr_roster_item *copy = arena_alloc(&l->arena, sizeof(*copy));

    *copy = *item;
    if (item->jid != NULL)
        copy->jid = jid_dup_bare_in(&l->arena, item->jid);
    if (item->name != NULL)
        copy->name = arena_strdup(&l->arena, item->name);
    if (item->groups != NULL)
        copy->groups = keep_groups(&l->arena, item->groups);
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? 2 * l->cap : 16;
        l->items = gr_realloc(l->items, l->cap * sizeof(struct gr_roster_item *));
    }
    l->items[l->count++] = copy;
}

size_t gr_roster_list_count(const struct gr_roster_list *l)
{
    return l->count;
}

const struct gr_roster_item *gr_roster_list_at(const struct gr_roster_list *l, size_t i)
{
    gr_assert(i < l->count);
    return l->items[i];
}

/* The memory goes with the list. */
void roster_list_truncate(struct gr_roster_list *l, size_t count)
{
    if (count < l->count)
        l->count = count;
}

void gr_roster_list_free(struct gr_roster_list **take)
{
    struct gr_roster_list *l = *take;

    *take = NULL;
    if (l == NULL)
        return;
    arena_fini(&l->arena);
    gr_free(l->items);
    gr_free(l);
}

void gr_roster_ev_pending(struct gr_roster_ev *ev, struct gr_stanza *take)
{
    size_t n = ev->pending_count;

    if ((n & (n - 1)) == 0) /* full at every power of two */
        ev->pending = gr_realloc(ev->pending, (n > 0 ? 2 * n : 1) * sizeof(struct gr_stanza *));
    ev->pending[ev->pending_count++] = take;
}

void gr_roster_ev_clear(struct gr_roster_ev *ev)
{
    gr_roster_list_free(&ev->items);
    while (ev->pending_count > 0)
        gr_stanza_unref(&ev->pending[--ev->pending_count]);
    gr_free(ev->pending);
    ev->pending = NULL;
}

/* --- discovery (XEP-0030, 3 and 4) --- */

static struct gr_el *query(struct gr_disco_ev *ev, const char *ns)
{
    return gr_stanza_child(ev->result, ns, "query");
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

void gr_bind2_feature(struct gr_inline_ev *ev, const char *var)
{
    gr_el_set(ev->answer, gr_el_add(ev->answer, ev->at, NULL, "feature"), "var", var);
}

void gr_disco_feature(struct gr_disco_ev *ev, const char *var)
{
    struct gr_el *q = query(ev, NS_DISCO_INFO), *el;

    gr_assert(q != NULL);
    ev->answered = true;
    for (el = gr_el_child(q, NULL, "feature"); el != NULL; el = gr_el_next(el, NULL, "feature")) {
        if (same(gr_el_attr(el, "var"), var))
            return;
    }
    el = gr_el_add(ev->result, q, NULL, "feature");
    gr_el_set(ev->result, el, "var", var);
}

void gr_disco_identity(struct gr_disco_ev *ev, const char *category, const char *type,
                       const char *name)
{
    struct gr_el *q = query(ev, NS_DISCO_INFO), *el;

    gr_assert(q != NULL);
    ev->answered = true;
    /* XEP-0030, 3.1: no two of the same category, type and (here: no) language. */
    for (el = gr_el_child(q, NULL, "identity"); el != NULL; el = gr_el_next(el, NULL, "identity")) {
        if (same(gr_el_attr(el, "category"), category) && same(gr_el_attr(el, "type"), type))
            return;
    }
    el = gr_el_add(ev->result, q, NULL, "identity");
    gr_el_set(ev->result, el, "category", category);
    gr_el_set(ev->result, el, "type", type);
    if (name != NULL)
        gr_el_set(ev->result, el, "name", name);
}

void gr_disco_item(struct gr_disco_ev *ev, const char *jid, const char *node, const char *name)
{
    struct gr_el *q = query(ev, NS_DISCO_ITEMS), *el;

    gr_assert(q != NULL);
    ev->answered = true;
    el = gr_el_add(ev->result, q, NULL, "item");
    gr_el_set(ev->result, el, "jid", jid);
    if (node != NULL)
        gr_el_set(ev->result, el, "node", node);
    if (name != NULL)
        gr_el_set(ev->result, el, "name", name);
}
