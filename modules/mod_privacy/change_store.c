/* mod_privacy/change_store.c: a change that may be done: written, then put in force for all
 * sessions at once, then told. Also what becomes of the rows when the account goes, or is
 * exported. */
#include "privacy.h"

#include <string.h>

#define PAGE 1000 /* rows; a page may be shorter and still have others behind it */

/* --- what the change leaves --- */

static bool is_same(const struct list *l, const char *name)
{
    return l != NULL && name != NULL && strcmp(l->name, name) == 0;
}

/* An empty list does not exist (XEP-0016, 2.1). */
static bool removes(const struct change *c)
{
    return c->op == CHANGE_REMOVE || (c->op == CHANGE_UNBLOCK && c->list->count == 0);
}

static bool defines(const struct change *c)
{
    return c->op == CHANGE_LIST || c->op == CHANGE_BLOCK ||
           (c->op == CHANGE_UNBLOCK && !removes(c));
}

/* The list that is changed; NULL: only which one is in force. */
static const char *changed_name(const struct change *c)
{
    return c->op == CHANGE_REMOVE ? c->name : defines(c) || removes(c) ? c->list->name : NULL;
}

static struct list *default_after(const struct change *c, const struct book *b)
{
    if (c->op == CHANGE_DEFAULT || c->op == CHANGE_BLOCK)
        return c->list;
    if (!is_same(b->def, changed_name(c)))
        return b->def;
    return removes(c) ? NULL : c->list;
}

/* Borrowed names; the array is the caller's. */
static struct book names_after(const struct change *c, const struct book *b)
{
    const char *name = changed_name(c);
    struct book after = { .names = gr_alloc((b->count + 1) * sizeof(*after.names)) };

    for (size_t i = 0; i < b->count; i++) {
        if (!removes(c) || strcmp(b->names[i], name) != 0)
            after.names[after.count++] = b->names[i];
    }
    if (defines(c) && !book_has(b, name))
        after.names[after.count++] = (char *)(uintptr_t)name;
    return after;
}

/* --- in force --- */

static void set_list(struct list **at, struct list *l)
{
    struct list *old = *at;

    *at = list_ref(l);
    list_unref(&old);
}

static void put_names(struct book *b, struct book after)
{
    char **old = b->names;
    size_t count = b->count;

    for (size_t i = 0; i < after.count; i++)
        after.names[i] = gr_strdup(after.names[i]);
    b->names = after.names;
    b->count = after.count;
    for (size_t i = 0; i < count; i++)
        gr_free(old[i]);
    gr_free(old);
}

static void tell_updated(struct change *c, struct gr_session *s, const char *name)
{
    struct gr_privacy_ev ev = { .owner = c->owner, .peer = gr_session_jid(s), .list = name };

    if (!gr_jid_equal(ev.peer, c->who))
        gr_hook_run(c->self, GR_HOOK_privacy_updated_list, &ev.ev, NULL);
}

/* XEP-0016, 2.2, rule 8. */
static void put_sessions(struct change *c, const struct book *b)
{
    const struct gr_account *a = gr_account_find(c->self, c->owner);
    const char *name = changed_name(c);

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        struct seat *seat = gr_session_slot_peek(c->self, s, &seat_slot);

        if (c->op == CHANGE_ACTIVE && gr_jid_equal(gr_session_jid(s), c->who)) {
            set_list(&seat_of(c->self, s)->active, c->list);
            gr_session_changed(c->self, s);
        } else if (seat != NULL && is_same(seat->active, name)) {
            set_list(&seat->active, removes(c) ? NULL : c->list);
            gr_session_changed(c->self, s);
        }
        if (name != NULL && is_same(book_list(c->self, b, s), name))
            tell_updated(c, s, name);
    }
}

/* XEP-0016, 2.6: to every connected resource. A client that knows only the blocking command does
 * not hear of it in this way when it was used. */
static void push(struct change *c)
{
    const struct gr_account *a = gr_account_find(c->self, c->owner);
    struct gr_privacy_ev ev = { .owner = c->owner, .peer = c->who, .list = changed_name(c) };

    for (struct gr_session *s = gr_account_next(a, NULL); s != NULL; s = gr_account_next(a, s)) {
        const struct seat *seat = gr_session_slot_peek(c->self, s, &seat_slot);
        struct gr_stanza *st;

        if (c->op != CHANGE_LIST && (seat == NULL || !seat->interested))
            continue;
        st = gr_iq_new(GR_SET, c->owner, gr_session_jid(s), NULL);
        gr_el_set(st, gr_el_add(st, gr_el_add(st, NULL, NS_PRIVACY, "query"), NULL, "list"), "name",
                  ev.list);
        gr_send(c->self, st);
    }
    gr_hook_run(c->self, GR_HOOK_privacy_list_push, &ev.ev, NULL);
}

static void apply(struct change *c, struct book *b)
{
    struct effect *effect = effect_begin(c->self, c->owner);
    struct list *before = list_ref(b->def), *after = list_ref(default_after(c, b));

    put_names(b, names_after(c, b));
    set_list(&b->def, after);
    put_sessions(c, b);
    blocklist_compare(c, before, after);
    if (defines(c))
        push(c);
    effect_end(effect);
    list_unref(&before);
    list_unref(&after);
}

/* --- on disk --- */

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct change *c = *(struct change **)gr_req_data(req);
    struct privacy *p = gr_state(self);
    struct book *b = book_find(self, c->owner);

    if (rows->rc == 0) {
        p->bare[c->owner->hash % BARE_MAX] = 0;
        if (b != NULL && !b->removed)
            apply(c, b);
    }
    change_end(c, rows->rc != 0 ? gr_cond_of(rows->rc) : GR_COND_NONE);
}

static void put_stanza(struct gr_txn *t, const struct change *c, const char *key, size_t key_len,
                       const struct gr_stanza *st)
{
    size_t len;
    const char *xml = gr_stanza_xml(st, &len);

    gr_txn_put(t, &privacy_colls[0], c->owner->bare, key, key_len, xml, len);
}

static void put_list(struct gr_txn *t, const struct change *c)
{
    size_t len;
    char *key = list_key(changed_name(c), &len);

    if (removes(c)) {
        gr_txn_del(t, &privacy_colls[0], c->owner->bare, key, len);
    } else {
        struct gr_stanza *st = gr_nonza_new(NS_PRIVACY, "list");

        list_write(st, gr_stanza_root(st), c->list);
        put_stanza(t, c, key, len, st);
        gr_stanza_unref(&st);
    }
    gr_free(key);
}

static void put_index(struct gr_txn *t, const struct change *c, const struct book *b)
{
    const struct list *def = default_after(c, b);
    struct book after = names_after(c, b);
    struct gr_stanza *st = index_new(&after, def != NULL ? def->name : NULL);

    if (after.count == 0)
        gr_txn_del(t, &privacy_colls[0], c->owner->bare, INDEX_KEY, sizeof(INDEX_KEY) - 1);
    else
        put_stanza(t, c, INDEX_KEY, sizeof(INDEX_KEY) - 1, st);
    gr_stanza_unref(&st);
    gr_free(after.names);
}

void change_write(struct change *c)
{
    struct book *b = book_find(c->self, c->owner);
    struct gr_req *req;
    struct gr_txn *t;

    if (b == NULL || b->removed) { /* its last session ended, or the account */
        change_end(c, GR_FORBIDDEN);
        return;
    }
    if (c->op == CHANGE_ACTIVE) { /* nothing of it is kept */
        apply(c, b);
        change_end(c, GR_COND_NONE);
        return;
    }
    t = gr_txn_new(c->self);
    if (changed_name(c) != NULL)
        put_list(t, c);
    put_index(t, c, b);
    req = gr_req_new(c->self, sizeof(c), on_written);
    *(struct change **)gr_req_data(req) = c;
    gr_txn_commit(t, req);
}

/* --- the account goes --- */

struct held {
    struct gr_hold *hold;
    struct gr_export_ev *ev;
    struct gr_el *query;
};

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(((struct held *)gr_req_data(req))->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* Held until it is gone, so that the next owner of the name does not inherit it. */
enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct held), on_removed);
    struct gr_account *a = gr_account_find(self, ev->jid);
    struct gr_txn *t = gr_txn_new(self);

    if (a != NULL) {
        struct book *b = gr_account_slot(self, a, &book_slot);

        book_clear(b);
        b->read = b->removed = true;
    }
    ((struct held *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, &privacy_colls[0], ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* Somebody has the name again, perhaps while a session of the last owner ends. */
void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct book *b = book_find(self, ev->jid);

    if (b != NULL)
        b->removed = false;
}

/* --- export: as in XEP-0227 --- */

static bool export_row(struct held *x, const struct gr_row *row)
{
    struct gr_stanza *st = NULL;
    const struct gr_el *el;

    if (gr_stanza_parse(row->val, row->val_len, &st) != 0)
        return false;
    if (x->query == NULL)
        x->query = gr_el_add(x->ev->data, NULL, NS_PRIVACY, "query");
    if (row->key_len != sizeof(INDEX_KEY) - 1 || memcmp(row->key, INDEX_KEY, row->key_len) != 0)
        gr_el_append(x->ev->data, x->query, gr_stanza_root(st));
    else if ((el = gr_stanza_child(st, NS_PRIVACY, "default")) != NULL)
        gr_el_append(x->ev->data, x->query, el);
    gr_stanza_unref(&st);
    return true;
}

static void read_page(struct gr_req *req, const struct gr_jid *owner, const struct gr_row *last)
{
    char *from = last != NULL ? gr_strndup(last->key, last->key_len) : NULL;

    gr_store_range(req, &privacy_colls[0], owner->bare, from, last != NULL ? last->key_len + 1 : 0,
                   PAGE);
    gr_free(from);
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct held *x = gr_req_data(req);
    bool ok = rows->rc == 0 && gr_hold_waits(x->hold);
    struct gr_req *more;

    for (size_t i = 0; ok && i < rows->count; i++)
        ok = export_row(x, &rows->row[i]);
    if (!ok || !rows->more || rows->count == 0) {
        gr_resume(x->hold, ok ? GR_OK : GR_FAIL);
        return;
    }
    more = gr_req_new(self, sizeof(*x), on_rows);
    *(struct held *)gr_req_data(more) = *x;
    read_page(more, x->ev->user, &rows->row[rows->count - 1]);
}

enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct held), on_rows);
    *(struct held *)gr_req_data(req) = (struct held){ .hold = hold, .ev = ev };
    read_page(req, ev->user, NULL);
    return GR_PENDING;
}
