/* mod_privacy/change.c: changes of an account's lists, one after the other: what a change would
 * do is judged by what the one before it has done. In force once they are on disk
 * (change_store.c). */
#include "privacy.h"

#include <string.h>

struct change *change_new(struct gr_mod *self, enum change_op op, const struct gr_jid *owner,
                          const struct gr_jid *who)
{
    struct change *c = gr_alloc(sizeof(*c));

    c->self = self;
    c->op = op;
    c->owner = gr_jid_dup_bare(owner);
    c->who = gr_jid_dup(who);
    return c;
}

static void change_free(struct change *c)
{
    for (size_t i = 0; i < c->count; i++)
        gr_jid_free(&c->jids[i]);
    gr_free(c->jids);
    gr_free(c->name);
    list_unref(&c->list);
    gr_roster_ev_clear(&c->roster);
    gr_jid_free(&c->owner);
    gr_jid_free(&c->who);
    gr_free(c);
}

void change_drop_all(struct privacy *p)
{
    while (p->first != NULL) {
        struct change *c = p->first;

        p->first = c->next;
        change_free(c);
    }
}

/* --- in turn --- */

static struct change *first_of(struct change *c, const struct gr_jid *owner)
{
    while (c != NULL && !gr_jid_equal(c->owner, owner))
        c = c->next;
    return c;
}

static void begin(struct change *c);

void change_start(struct change *take)
{
    struct privacy *p = gr_state(take->self);

    *p->last = take;
    p->last = &take->next;
    if (first_of(p->first, take->owner) == take)
        begin(take);
}

void change_end(struct change *c, enum gr_cond cond)
{
    struct privacy *p = gr_state(c->self);
    struct change **at = &p->first, *next = first_of(c->next, c->owner);

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->next == NULL)
        p->last = at;
    c->done(c, cond);
    change_free(c);
    if (next != NULL)
        begin(next);
}

/* --- may it be done? --- */

/* XEP-0016, 2.2, rule 11. */
static bool applies_elsewhere(const struct change *c, const struct book *b, const char *name)
{
    const struct gr_account *a = gr_account_find(c->self, c->owner);

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        const struct list *list = book_list(c->self, b, s);

        if (list != NULL && strcmp(list->name, name) == 0 &&
            !gr_jid_equal(gr_session_jid(s), c->who))
            return true;
    }
    return false;
}

static bool fits(const struct change *c, const struct book *b)
{
    const struct privacy_conf *conf = gr_conf(c->self);

    return c->list->count <= (size_t)conf->max_items &&
           (book_has(b, c->list->name) || b->count < (size_t)conf->max_lists);
}

static void on_roster(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_roster_ev *roster = GR_CONTAINER_OF(ev, struct gr_roster_ev, ev);
    struct change *c = GR_CONTAINER_OF(roster, struct change, roster);

    (void)self, (void)verdict;
    if (!list_groups_exist(c->list, roster->items))
        change_end(c, GR_ITEM_NOT_FOUND);
    else
        change_write(c);
}

static void begin_list(struct change *c, const struct book *b)
{
    if (!fits(c, b)) {
        change_end(c, GR_RESOURCE_CONSTRAINT);
        return;
    }
    if (!list_names_group(c->list)) {
        change_write(c);
        return;
    }
    c->roster.owner = c->owner;
    c->roster.items = gr_roster_list_new();
    gr_hook_run(c->self, GR_HOOK_roster_get, &c->roster.ev, on_roster);
}

static void on_list(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct change *c = *(struct change **)gr_req_data(req);

    (void)self;
    if (rows->rc == 0)
        c->list = list_of_row(&rows->row[0]);
    if (c->list == NULL)
        change_end(c, rows->rc != 0 ? gr_cond_of(rows->rc) : GR_INTERNAL_SERVER_ERROR);
    else
        change_write(c);
}

/* The list that is to be the active or the default one. */
static void begin_choice(struct change *c, const struct book *b)
{
    struct gr_req *req;
    size_t len;
    char *key;

    if (c->name == NULL) {
        change_write(c);
        return;
    }
    if (!book_has(b, c->name)) {
        change_end(c, GR_ITEM_NOT_FOUND);
        return;
    }
    req = gr_req_new(c->self, sizeof(c), on_list);
    *(struct change **)gr_req_data(req) = c;
    key = list_key(c->name, &len);
    gr_store_get(req, &privacy_colls[0], c->owner->bare, key, len);
    gr_free(key);
}

static void begin_default(struct change *c, const struct book *b)
{
    const char *now = b->def != NULL ? b->def->name : NULL;
    bool same = now != NULL && c->name != NULL && strcmp(now, c->name) == 0;

    if (same || (now == NULL && c->name == NULL))
        change_end(c, GR_COND_NONE);
    else if (now != NULL && applies_elsewhere(c, b, now))
        change_end(c, GR_CONFLICT);
    else
        begin_choice(c, b);
}

static void begin_remove(struct change *c, const struct book *b)
{
    if (!book_has(b, c->name))
        change_end(c, GR_ITEM_NOT_FOUND);
    else if (applies_elsewhere(c, b, c->name))
        change_end(c, GR_CONFLICT);
    else
        change_write(c);
}

/* Where nobody has made a default list, blocking makes one. */
static char *new_name(const struct book *b)
{
    char *name = gr_strdup("blocked");

    for (unsigned n = 2; book_has(b, name); n++) {
        gr_free(name);
        name = gr_asprintf("blocked-%u", n);
    }
    return name;
}

static void begin_block(struct change *c, const struct book *b)
{
    const struct gr_jid *const *jids = (const struct gr_jid *const *)c->jids;
    char *name = b->def != NULL ? gr_strdup(b->def->name) : new_name(b);

    c->list = list_block(b->def, name, jids, c->count);
    gr_free(name);
    if (fits(c, b))
        change_write(c);
    else
        change_end(c, GR_RESOURCE_CONSTRAINT);
}

static void begin_unblock(struct change *c, const struct book *b)
{
    if (b->def == NULL) {
        change_end(c, GR_COND_NONE);
        return;
    }
    c->list = list_unblock(b->def, (const struct gr_jid *const *)c->jids, c->count);
    if (c->list->count == b->def->count)
        change_end(c, GR_COND_NONE);
    else
        change_write(c);
}

static void begin(struct change *c)
{
    const struct book *b = book_find(c->self, c->owner);

    if (b == NULL || b->removed) {
        change_end(c, b == NULL ? GR_INTERNAL_SERVER_ERROR : GR_FORBIDDEN);
        return;
    }
    switch (c->op) {
    case CHANGE_LIST:
        begin_list(c, b);
        break;
    case CHANGE_REMOVE:
        begin_remove(c, b);
        break;
    case CHANGE_DEFAULT:
        begin_default(c, b);
        break;
    case CHANGE_ACTIVE:
        begin_choice(c, b);
        break;
    case CHANGE_BLOCK:
        begin_block(c, b);
        break;
    case CHANGE_UNBLOCK:
        begin_unblock(c, b);
        break;
    }
}
