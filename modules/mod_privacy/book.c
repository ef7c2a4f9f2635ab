/* mod_privacy/book.c: what is known of an account's lists: their names, and the ones that are in
 * force. It is read when the account's first session connects and stays in its slot; for an account
 * without sessions it is read for each stanza, except that most accounts have no default list,
 * which is remembered (privacy.bare).
 *
 * Rows are XML (list.c): the index, <query/> as a client gets it, and a <list/> for each name. */
#include "privacy.h"

#include <string.h>

const struct gr_coll privacy_colls[2] = { GR_MAP("privacy"), GR_COLL_END };

/* --- the slot: a version that changes the struct, or struct list, changes the version --- */

void book_clear(struct book *b)
{
    for (size_t i = 0; i < b->count; i++)
        gr_free(b->names[i]);
    gr_free(b->names);
    list_unref(&b->def);
    known_clear(b);
    *b = (struct book){ .removed = b->removed, .changes = b->changes };
}

static void release_book(void *data)
{
    book_clear(data);
}

const struct gr_slot book_slot = GR_SLOT(struct book, 2, release_book);

struct book *book_find(struct gr_mod *self, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);
    struct book *b = a != NULL ? gr_account_slot_peek(self, a, &book_slot) : NULL;

    return b != NULL && b->read ? b : NULL;
}

struct list *book_list(struct gr_mod *self, const struct book *b, const struct gr_session *s)
{
    const struct seat *seat = NULL;

    if (s != NULL && b->count > 0)
        seat = gr_session_slot_peek(self, s, &seat_slot);
    return seat != NULL && seat->active != NULL ? seat->active : b->def;
}

bool book_has(const struct book *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->names[i], name) == 0)
            return true;
    }
    return false;
}

bool book_adopt(struct gr_mod *self, const struct gr_jid *owner, struct book *take)
{
    struct gr_account *a = gr_account_find(self, owner);
    struct book *b;

    if (a == NULL)
        return false;
    b = gr_account_slot(self, a, &book_slot);
    if (!b->read) {
        *take = (struct book){ .read = true, .removed = b->removed, .changes = b->changes,
                               .names = take->names, .count = take->count, .def = take->def };
        *b = *take;
        *take = (struct book){ 0 };
    }
    return true;
}

/* --- rows --- */

struct gr_stanza *index_new(const struct book *b, const char *def)
{
    struct gr_stanza *st = gr_nonza_new(NS_PRIVACY, "query");

    if (def != NULL)
        gr_el_set(st, gr_el_add(st, NULL, NULL, "default"), "name", def);
    for (size_t i = 0; i < b->count; i++)
        gr_el_set(st, gr_el_add(st, NULL, NULL, "list"), "name", b->names[i]);
    return st;
}

char *list_key(const char *name, size_t *len)
{
    char *key = gr_asprintf("list:%s", name);

    *len = strlen(key);
    return key;
}

struct list *list_of_row(const struct gr_row *row)
{
    struct gr_stanza *st = NULL;
    struct list *l = NULL;

    if (gr_stanza_parse(row->val, row->val_len, &st) != 0 ||
        list_parse(gr_stanza_root(st), SIZE_MAX, &l) != GR_COND_NONE)
        gr_error("privacy.row", "a stored privacy list cannot be read");
    gr_stanza_unref(&st);
    return l;
}

/* --- reading --- */

struct load {
    struct task task;
    struct gr_privacy_ev e;
    struct gr_mod *self;
    struct gr_jid *owner;
    struct book book;
    char *def;          /* its name, as stored, then as chosen */
    book_f f;
    void *ctx;
};

static void load_drop(struct task *t)
{
    struct load *l = GR_CONTAINER_OF(t, struct load, task);

    task_leave(t);
    book_clear(&l->book);
    gr_jid_free(&l->owner);
    gr_free(l->def);
    gr_free(l);
}

static void load_end(struct load *l, int rc)
{
    if (rc != 0)
        gr_error("privacy.read", "the privacy lists of %s cannot be read: %s", l->owner->bare,
                 gr_strerror(rc));
    l->f(l->self, l->ctx, &l->book, rc);
    load_drop(&l->task);
}

static struct gr_req *request_for(struct load *l, gr_store_f done)
{
    struct gr_req *req = gr_req_new(l->self, sizeof(l), done);

    *(struct load **)gr_req_data(req) = l;
    return req;
}

/* What a damaged row denied is not known: everybody is, until the account sets its lists anew. */
static void load_closed(struct load *l, const char *name)
{
    gr_error("privacy.damaged", "the privacy lists of %s are damaged: nobody gets through until they "
             "are set anew", l->owner->bare);
    l->book.def = list_closed(name);
    load_end(l, 0);
}

static void on_default(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct load *l = *(struct load **)gr_req_data(req);

    (void)self;
    if (rows->rc == 0)
        l->book.def = list_of_row(&rows->row[0]);
    if (l->book.def != NULL || (rows->rc != 0 && rows->rc != GR_ENOENT))
        load_end(l, rows->rc);
    else
        load_closed(l, l->def);
}

/* privacy_get_user_list has been run: its handlers may have chosen another list, or none. */
static void on_chosen(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_privacy_ev *e = GR_CONTAINER_OF(ev, struct gr_privacy_ev, ev);
    struct load *l = GR_CONTAINER_OF(e, struct load, e);
    size_t len;
    char *key, *name;

    (void)self, (void)verdict;
    if (e->list == NULL || !book_has(&l->book, e->list)) {
        load_end(l, 0);
        return;
    }
    name = gr_strdup(e->list);
    gr_free(l->def);
    l->def = name;
    key = list_key(name, &len);
    gr_store_get(request_for(l, on_default), &privacy_colls[0], l->owner->bare, key, len);
    gr_free(key);
}

static bool take_index(struct load *l, const struct gr_row *row)
{
    struct gr_stanza *st = NULL;
    const struct gr_el *el;
    size_t n = 0;

    if (gr_stanza_parse(row->val, row->val_len, &st) != 0)
        return false;
    for (el = gr_stanza_child(st, NS_PRIVACY, "list"); el != NULL;
         el = gr_el_next(el, NS_PRIVACY, "list"))
        n++;
    l->book.names = gr_alloc((n + 1) * sizeof(*l->book.names));
    for (el = gr_stanza_child(st, NS_PRIVACY, "list"); el != NULL;
         el = gr_el_next(el, NS_PRIVACY, "list"))
        l->book.names[l->book.count++] = gr_strdup(gr_el_attr(el, "name"));
    el = gr_stanza_child(st, NS_PRIVACY, "default");
    if (el != NULL)
        l->def = gr_strdup(gr_el_attr(el, "name"));
    gr_stanza_unref(&st);
    return true;
}

static void on_index(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct load *l = *(struct load **)gr_req_data(req);

    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        load_end(l, rows->rc);
        return;
    }
    if (rows->rc == 0 && !take_index(l, &rows->row[0])) {
        load_closed(l, "damaged");
        return;
    }
    l->e.owner = l->owner;
    l->e.list = l->def;
    gr_hook_run(self, GR_HOOK_privacy_get_user_list, &l->e.ev, on_chosen);
}

void book_load(struct gr_mod *self, const struct gr_jid *owner, book_f f, void *ctx)
{
    struct load *l = gr_alloc(sizeof(*l));

    l->self = self;
    l->owner = gr_jid_dup_bare(owner);
    l->f = f;
    l->ctx = ctx;
    task_add(self, &l->task, load_drop);
    gr_store_get(request_for(l, on_index), &privacy_colls[0], l->owner->bare, INDEX_KEY,
                 sizeof(INDEX_KEY) - 1);
}

struct connecting {
    struct task task;
    struct gr_jid *owner;
};

static void connecting_drop(struct task *t)
{
    struct connecting *c = GR_CONTAINER_OF(t, struct connecting, task);

    task_leave(t);
    gr_jid_free(&c->owner);
    gr_free(c);
}

static void on_loaded(struct gr_mod *self, void *ctx, struct book *take, int rc)
{
    struct connecting *c = ctx;

    if (rc == 0) /* else the first stanza tries again */
        book_adopt(self, c->owner, take);
    connecting_drop(&c->task);
}

void book_want(struct gr_mod *self, const struct gr_jid *owner)
{
    struct connecting *c;

    if (book_find(self, owner) != NULL)
        return;
    c = gr_alloc(sizeof(*c));
    c->owner = gr_jid_dup_bare(owner);
    task_add(self, &c->task, connecting_drop);
    book_load(self, c->owner, on_loaded, c);
}

void on_connect(struct gr_mod *self, struct gr_session_ev *ev)
{
    book_want(self, ev->jid);
}
