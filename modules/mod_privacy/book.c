/* mod_privacy/book.c: what is known of an account's lists: their names, and the ones that are in
 * force. It is read when the account's first session connects and stays in its slot; for an account
 * without sessions it is read for each stanza, except that most accounts have no default list,
 * which is remembered (privacy.bare).
 *
 * Rows are XML (list.c): the index, <query/> as a client gets it, and a <list/> for each name. */
#include "privacy.h"

#include <string.h>

const struct gr_coll privacy_colls[2] = { GR_MAP("privacy"), GR_COLL_END };

/* --- slots: a version that changes these structs, or struct list, changes the version --- */

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

static void release_seat(void *data)
{
    list_unref(&((struct seat *)data)->active);
}

static void *seat_persist(const void *data, size_t *len);
static int seat_revive(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes,
                       size_t len);

const struct gr_slot book_slot = GR_SLOT(struct book, 1, release_book);
const struct gr_slot seat_slot = { .name = "struct seat", .version = 1, .size = sizeof(struct seat),
                                   .release = release_seat, .persist = seat_persist,
                                   .revive = seat_revive };

struct book *book_find(struct gr_mod *self, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);
    struct book *b = a != NULL ? gr_account_slot_peek(self, a, &book_slot) : NULL;

    return b != NULL && b->read ? b : NULL;
}

struct seat *seat_of(struct gr_mod *self, struct gr_session *s)
{
    return gr_session_slot(self, s, &seat_slot);
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
    char *def;          /* as stored */
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

static void on_default(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct load *l = *(struct load **)gr_req_data(req);

    (void)self;
    if (rows->rc == 0)
        l->book.def = list_of_row(&rows->row[0]);
    load_end(l, rows->rc != 0 ? rows->rc : l->book.def == NULL ? GR_EIO : 0);
}

/* privacy_get_user_list has been run: its handlers may have chosen another list, or none. */
static void on_chosen(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_privacy_ev *e = GR_CONTAINER_OF(ev, struct gr_privacy_ev, ev);
    struct load *l = GR_CONTAINER_OF(e, struct load, e);
    size_t len;
    char *key;

    (void)self, (void)verdict;
    if (e->list == NULL || !book_has(&l->book, e->list)) {
        load_end(l, 0);
        return;
    }
    key = list_key(e->list, &len);
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
        load_end(l, GR_EIO);
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

static void book_want(struct gr_mod *self, const struct gr_jid *owner)
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

/* --- over a restart (XEP-0198): the active list as it was is in force again at once. A change just before
 * a crash may have reached its row and not the session's. --- */

static void *seat_persist(const void *data, size_t *len)
{
    const struct seat *seat = data;
    struct gr_stanza *st = gr_nonza_new(NS_PRIVACY, "list");
    struct gr_writer w = gr_writer_new(256);
    const char *xml;
    size_t xml_len;

    gr_write_u8(&w, seat->interested);
    if (seat->active != NULL) {
        list_write(st, gr_stanza_root(st), seat->active);
        xml = gr_stanza_xml(st, &xml_len);
        gr_write_bytes(&w, xml, xml_len);
    }
    gr_stanza_unref(&st);
    return gr_writer_take(&w, len);
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_session *s = gr_session_find(self, NULL, *(uint64_t *)gr_req_data(req));
    struct list *l = rows->rc == 0 ? list_of_row(&rows->row[0]) : NULL;

    if (s != NULL && (l != NULL || rows->rc == GR_ENOENT)) {
        struct seat *seat = seat_of(self, s);

        list_unref(&seat->active);
        seat->active = list_ref(l);
    }
    list_unref(&l);
}

static void read_again(struct gr_mod *self, const struct gr_session *s, const struct list *active)
{
    struct gr_req *req = gr_req_new(self, sizeof(uint64_t), on_row);
    size_t len;
    char *key = list_key(active->name, &len);

    *(uint64_t *)gr_req_data(req) = gr_session_id(s);
    gr_store_get(req, &privacy_colls[0], gr_session_jid(s)->bare, key, len);
    gr_free(key);
}

static int seat_revive(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes,
                       size_t len)
{
    struct gr_reader r = gr_reader_of(bytes, len);
    struct gr_stanza *st = NULL;
    struct seat *seat = data;
    const char *xml;

    seat->interested = gr_read_u8(&r) != 0;
    xml = gr_read_rest(&r, &len);
    book_want(self, gr_session_jid(s));
    if (len == 0)
        return 0;
    if (gr_stanza_parse(xml, len, &st) == 0)
        list_parse(gr_stanza_root(st), SIZE_MAX, &seat->active);
    gr_stanza_unref(&st);
    if (seat->active == NULL)
        return GR_EINVAL;
    read_again(self, s, seat->active);
    return 0;
}
