/* mod/event.c: results that handlers of several modules build up together: roster items, stored
 * requests, discovery answers. They belong to whoever runs the chain. */
#include <string.h>

#include "mod/run.h"

#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"

/* --- roster lists --- */

struct roster_entry {
    struct gr_roster_item item; /* what it points to is `mem` and `jid` */
    struct gr_jid *jid;
    void *mem;                  /* groups, then the texts; one block */
};
struct gr_roster_list {
    struct roster_entry **entries; /* each on its own: modules keep pointers while they add */
    size_t count, cap;
};

struct gr_roster_list *gr_roster_list_new(void)
{
    return gr_alloc(sizeof(struct gr_roster_list));
}

static char *place(char **at, const char *s)
{
    size_t len = strlen(s) + 1;
    char *to = memcpy(*at, s, len);

    *at += len;
    return to;
}

/* Copies name and groups into one block. */
static void keep_texts(struct roster_entry *e, const struct gr_roster_item *item)
{
    size_t groups = 0, bytes = item->name != NULL ? strlen(item->name) + 1 : 0;
    const char **list;
    char *at;

    for (; item->groups != NULL && item->groups[groups] != NULL; groups++)
        bytes += strlen(item->groups[groups]) + 1;
    if (bytes == 0 && item->groups == NULL)
        return;
    e->mem = gr_alloc((groups + 1) * sizeof(*list) + bytes);
    list = e->mem;
    at = (char *)(list + groups + 1);
    if (item->name != NULL)
        e->item.name = place(&at, item->name);
    if (item->groups == NULL)
        return;
    for (size_t i = 0; i < groups; i++)
        list[i] = place(&at, item->groups[i]);
    e->item.groups = list;
}

void gr_roster_list_add(struct gr_roster_list *l, const struct gr_roster_item *item)
{
    struct roster_entry *e = gr_alloc(sizeof(*e));

    e->item = *item;
    e->item.name = NULL;
    e->item.groups = NULL;
    keep_texts(e, item);
    e->jid = item->jid != NULL ? gr_jid_dup_bare(item->jid) : NULL;
    e->item.jid = e->jid;
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? 2 * l->cap : 16;
        l->entries = gr_realloc(l->entries, l->cap * sizeof(struct roster_entry *));
    }
    l->entries[l->count++] = e;
}

size_t gr_roster_list_count(const struct gr_roster_list *l)
{
    return l->count;
}

const struct gr_roster_item *gr_roster_list_at(const struct gr_roster_list *l, size_t i)
{
    gr_assert(i < l->count);
    return &l->entries[i]->item;
}

void roster_list_truncate(struct gr_roster_list *l, size_t count)
{
    while (l->count > count) {
        struct roster_entry *e = l->entries[--l->count];

        gr_jid_free(&e->jid);
        gr_free(e->mem);
        gr_free(e);
    }
}

void gr_roster_list_free(struct gr_roster_list **take)
{
    struct gr_roster_list *l = *take;

    *take = NULL;
    if (l == NULL)
        return;
    roster_list_truncate(l, 0);
    gr_free(l->entries);
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
