/* mod_privacy/presence.c: lists and what others see of a session. Broadcasts lose those to whom
 * the list in force denies them, before mod_presence sends anything; when a list in force
 * changes, those whose view changes are told at once (XEP-0016, 2.11; XEP-0191, 3.3 and 3.4). */
#include "privacy.h"

/* --- broadcasts --- */

/* The list that was in force when the broadcast began: its session may be gone when the roster has
 * answered. */
struct hidden {
    struct hidden *next;
    const struct gr_roster_ev *ev;
    struct list *list;
};

static struct list *take_hidden(struct privacy *p, const struct gr_roster_ev *ev)
{
    for (struct hidden **at = &p->hidden, *h; (h = *at) != NULL; at = &h->next) {
        struct list *list = h->list;

        if (h->ev != ev)
            continue;
        *at = h->next;
        gr_free(h);
        return list;
    }
    return NULL;
}

void hidden_free(struct privacy *p)
{
    while (p->hidden != NULL) {
        struct list *list = take_hidden(p, p->hidden->ev);

        list_unref(&list);
    }
}

enum gr_verdict on_subscribers_first(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct privacy *p = gr_state(self);
    const struct book *b = book_find(self, ev->owner);
    const struct gr_session *s =
        ev->session != 0 ? gr_session_find(self, ev->owner, ev->session) : NULL;
    struct list *list = b != NULL ? book_list(self, b, s) : NULL;
    struct list *stale = take_hidden(p, ev); /* of a chain that another module ended */
    struct hidden *h;

    list_unref(&stale);
    if (list == NULL)
        return GR_OK;
    h = gr_alloc(sizeof(*h));
    *h = (struct hidden){ .next = p->hidden, .ev = ev, .list = list_ref(list) };
    p->hidden = h;
    return GR_OK;
}

static enum gr_subscription visible(const struct list *list, const struct gr_roster_item *item)
{
    bool from = item->sub == GR_SUB_FROM || item->sub == GR_SUB_BOTH;
    bool to = item->sub == GR_SUB_TO || item->sub == GR_SUB_BOTH;

    from = from && list_decide(list, item->jid, item, ON_PRESENCE_OUT) == GR_ALLOW;
    to = to && list_decide(list, item->jid, item, ON_PRESENCE_IN) == GR_ALLOW;
    return from && to ? GR_SUB_BOTH : from ? GR_SUB_FROM : to ? GR_SUB_TO : GR_SUB_NONE;
}

/* Who may not see us gets nothing; whose presence would not be let in is not asked for it. */
enum gr_verdict on_subscribers_last(struct gr_mod *self, struct gr_roster_ev *ev)
{
    struct list *list = take_hidden(gr_state(self), ev);
    struct gr_roster_list *left;

    if (list == NULL)
        return GR_OK;
    left = gr_roster_list_new();
    for (size_t i = 0; i < gr_roster_list_count(ev->items); i++) {
        struct gr_roster_item item = *gr_roster_list_at(ev->items, i);

        if (!is_exempt(self, ev->owner, item.jid))
            item.sub = visible(list, &item);
        gr_roster_list_add(left, &item);
    }
    list_unref(&list);
    gr_roster_list_free(&ev->items);
    ev->items = left;
    return GR_OK;
}

/* --- changes --- */

struct view {
    struct gr_jid *full;
    uint64_t session;
    struct list *before, *after;
};
struct effect {
    struct task task;
    struct gr_mod *self;
    struct gr_jid *owner;
    struct gr_roster_ev roster;
    struct view *views;
    size_t count;
};

static void effect_drop(struct task *t)
{
    struct effect *e = GR_CONTAINER_OF(t, struct effect, task);

    task_leave(t);
    for (size_t i = 0; i < e->count; i++) {
        gr_jid_free(&e->views[i].full);
        list_unref(&e->views[i].before);
        list_unref(&e->views[i].after);
    }
    gr_free(e->views);
    gr_roster_ev_clear(&e->roster);
    gr_jid_free(&e->owner);
    gr_free(e);
}

struct effect *effect_begin(struct gr_mod *self, const struct gr_jid *owner)
{
    const struct gr_account *a = gr_account_find(self, owner);
    const struct book *b = book_find(self, owner);
    struct effect *e = gr_alloc(sizeof(*e));

    e->self = self;
    e->owner = gr_jid_dup_bare(owner);
    task_add(self, &e->task, effect_drop);
    for (struct gr_session *s = a != NULL && b != NULL ? gr_account_next(a, NULL) : NULL; s != NULL;
         s = gr_account_next(a, s)) {
        if (!gr_session_available(s))
            continue;
        e->views = gr_realloc(e->views, (e->count + 1) * sizeof(*e->views));
        e->views[e->count++] = (struct view){
            .full = gr_jid_dup(gr_session_jid(s)), .session = gr_session_id(s),
            .before = list_ref(book_list(self, b, s)) };
    }
    return e;
}

/* An unavailable one also in the name of a session that went meanwhile: its own did not go
 * there. */
static void tell(struct effect *e, const struct view *v, const struct gr_jid *contact, bool shown)
{
    struct gr_session *s = gr_session_find(e->self, v->full, v->session);
    struct gr_stanza *st;

    if (!shown) {
        gr_send(e->self, gr_presence_new(GR_UNAVAILABLE, v->full, contact));
        return;
    }
    if (s == NULL || !gr_session_available(s) || gr_session_presence(s) == NULL)
        return;
    st = gr_stanza_copy(gr_session_presence(s));
    gr_stanza_set_from(st, v->full);
    gr_stanza_set_to(st, contact);
    gr_send(e->self, st);
}

/* Most sessions have the same list in force: asked once. */
static void compare(struct effect *e, const struct gr_jid *peer, const struct gr_roster_item *item)
{
    bool was = false, is = false;

    for (size_t i = 0; i < e->count; i++) {
        const struct view *v = &e->views[i];

        if (v->before == v->after)
            continue;
        if (i == 0 || v->before != v[-1].before || v->after != v[-1].after) {
            was = list_decide(v->before, peer, item, ON_PRESENCE_OUT) == GR_ALLOW;
            is = list_decide(v->after, peer, item, ON_PRESENCE_OUT) == GR_ALLOW;
        }
        if (was != is)
            tell(e, v, peer, is);
    }
}

static void compare_resources(struct effect *e, const struct list *l, const struct list *but,
                              const struct gr_roster_item *item)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        const struct gr_jid *jid = l->items[i].jid;

        if (jid != NULL && jid->resource != NULL && gr_jid_bare_equal(jid, item->jid) &&
            !list_names(but, jid))
            compare(e, jid, item);
    }
}

/* A contact, and those of its resources that the lists name. One change puts the same list in the
 * place of another for all sessions that it touches. */
static void compare_contact(struct effect *e, const struct gr_roster_item *item)
{
    const struct view *v = e->views;

    compare(e, item->jid, item);
    while (v->before == v->after)
        v++;
    compare_resources(e, v->before, NULL, item);
    compare_resources(e, v->after, v->before, item);
}

static void on_roster(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_roster_ev *roster = GR_CONTAINER_OF(ev, struct gr_roster_ev, ev);
    struct effect *e = GR_CONTAINER_OF(roster, struct effect, roster);

    (void)verdict;
    for (size_t i = 0; i < gr_roster_list_count(roster->items); i++) {
        const struct gr_roster_item *item = gr_roster_list_at(roster->items, i);

        if ((item->sub == GR_SUB_FROM || item->sub == GR_SUB_BOTH) &&
            !is_exempt(self, e->owner, item->jid))
            compare_contact(e, item);
    }
    effect_drop(&e->task);
}

void effect_end(struct effect *e)
{
    const struct book *b = book_find(e->self, e->owner);
    bool differ = false;

    for (size_t i = 0; i < e->count && b != NULL; i++) {
        struct view *v = &e->views[i];

        v->after = list_ref(book_list(e->self, b, gr_session_find(e->self, v->full, v->session)));
        differ = differ || v->after != v->before;
    }
    if (!differ) {
        effect_drop(&e->task);
        return;
    }
    e->roster.owner = e->owner;
    e->roster.items = gr_roster_list_new();
    gr_hook_run(e->self, GR_HOOK_roster_get, &e->roster.ev, on_roster);
}
