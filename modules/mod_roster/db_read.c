/* mod_roster/db_read.c: "rosterdb": listing a roster and its stored requests. In turn with the
 * changes (db.c), so that what is listed is one state of the roster, not a mixture. */
#include "roster.h"

#include <string.h>

enum { PAGE = 500 };

struct listing {
    struct turn turn;
    struct gr_mod *self;
    struct gr_ask *ask;
    struct gr_jid *user;
    bool stanzas;                   /* get_pending: the requests themselves */
    char **asking;                  /* who has a request stored, ascending */
    size_t asking_count, asking_next;
    struct gr_stanza **pending;
    size_t pending_count;
    struct gr_roster_list *items;
};

static struct listing *listing_of(struct gr_req *req)
{
    return *(struct listing **)gr_req_data(req);
}

static struct gr_req *request_for(struct listing *l, gr_store_f done)
{
    struct gr_req *req = gr_req_new(l->self, sizeof(l), done);

    *(struct listing **)gr_req_data(req) = l;
    return req;
}

/* The rows behind `last`; NULL: from the first one. */
static void read_page(struct listing *l, int coll, const struct gr_row *last, gr_store_f done)
{
    char *from = last != NULL ? gr_strndup(last->key, last->key_len) : NULL;

    gr_store_range(request_for(l, done), &roster_colls[coll], l->user->bare, from,
                   last != NULL ? last->key_len + 1 : 0, PAGE);
    gr_free(from);
}

static void leave(struct listing *l)
{
    turn_leave(&l->turn);
    for (size_t i = 0; i < l->asking_count; i++)
        gr_free(l->asking[i]);
    gr_free(l->asking);
    while (l->pending_count > 0)
        gr_stanza_unref(&l->pending[--l->pending_count]);
    gr_free(l->pending);
    gr_roster_list_free(&l->items);
    gr_jid_free(&l->user);
    gr_free(l);
}

static void fail(struct listing *l, int rc, const char *what)
{
    if (rc == GR_EIO)
        gr_error("roster.damaged", "%s of %s cannot be read", what, l->user->bare);
    gr_answer_error(l->ask, gr_cond_of(rc), NULL);
    leave(l);
}

/* --- get_contacts --- */

static void answer_items(struct listing *l)
{
    size_t n = gr_roster_list_count(l->items);
    struct gr_roster_item *flat = gr_alloc((n + 1) * sizeof(*flat));
    struct gr_answer a = { .result = GR_R_OK, .items = flat, .count = n };

    for (size_t i = 0; i < n; i++)
        flat[i] = *gr_roster_list_at(l->items, i);
    gr_answer(l->ask, &a);
    gr_free(flat);
    leave(l);
}

static int add_item(struct listing *l, const char *key, size_t key_len, const struct contact *c,
                    bool pending)
{
    struct gr_roster_item item = { .in_roster = c != NULL, .pending_in = pending };
    struct gr_jid *jid;

    if (gr_jid_parse(key, key_len, &jid) != 0)
        return GR_EIO;
    item.jid = jid;
    if (c != NULL) {
        item.name = c->name;
        item.groups = c->groups;
        item.sub = sub_of(c->from, c->to);
        item.ask = c->ask;
        item.approved = c->approved;
        item.ver = c->ver;
    }
    gr_roster_list_add(l->items, &item);
    gr_jid_free(&jid);
    return 0;
}

/* Strangers who asked, up to and without `key` (NULL: all that are left). True: the next is
 * `key`. */
static bool strangers_until(struct listing *l, const struct gr_row *row, int *rc)
{
    while (l->asking_next < l->asking_count) {
        const char *who = l->asking[l->asking_next];
        size_t len = strlen(who), common = row == NULL || len < row->key_len ? len : row->key_len;
        int order = row == NULL ? -1 : memcmp(who, row->key, common);

        if (row != NULL && order == 0)
            order = len < row->key_len ? -1 : len > row->key_len;
        if (order > 0)
            return false;
        l->asking_next++;
        if (order == 0)
            return true;
        if (add_item(l, who, len, NULL, true) != 0)
            *rc = GR_EIO;
    }
    return false;
}

static int add_row(struct listing *l, const struct gr_row *row)
{
    struct contact c;
    int rc = contact_decode(row->val, row->val_len, &c);

    if (rc != 0)
        return rc;
    bool pending = strangers_until(l, row, &rc);
    if (rc == 0)
        rc = add_item(l, row->key, row->key_len, &c, pending);
    contact_fini(&c);
    return rc;
}

static void got_items(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct listing *l = listing_of(req);
    int rc = rows->rc;

    (void)self;
    for (size_t i = 0; i < rows->count && rc == 0; i++)
        rc = add_row(l, &rows->row[i]);
    if (rc == 0 && rows->more) {
        read_page(l, COLL_ITEMS, &rows->row[rows->count - 1], got_items);
        return;
    }
    if (rc == 0)
        strangers_until(l, NULL, &rc);
    if (rc == 0)
        answer_items(l);
    else
        fail(l, rc, "an item");
}

/* --- get_pending, and who asks --- */

static void *grow(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0) /* full at every power of two */
        return array;
    return gr_realloc(array, (count > 0 ? 2 * count : 1) * size);
}

/* XEP-0203: that and since when it waited here. One that cannot be read is left out: the others
 * of that account must not wait for it. */
static void add_stanza(struct listing *l, const struct gr_row *row)
{
    struct gr_stanza *st;
    struct request r;

    if (request_decode(row->val, row->val_len, &r) != 0 ||
        gr_stanza_parse(r.xml, r.len, &st) != 0) {
        gr_error("roster.damaged", "a request of %s cannot be read", l->user->bare);
        return;
    }
    gr_stanza_add_delay(st, l->user->domain, r.time_us);
    l->pending = grow(l->pending, l->pending_count, sizeof(struct gr_stanza *));
    l->pending[l->pending_count++] = st;
}

static void got_requests(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct listing *l = listing_of(req);
    struct gr_answer a = { .result = GR_R_OK };

    (void)self;
    if (rows->rc != 0) {
        fail(l, rows->rc, "a request");
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (l->stanzas) {
            add_stanza(l, &rows->row[i]);
            continue;
        }
        l->asking = grow(l->asking, l->asking_count, sizeof(char *));
        l->asking[l->asking_count++] = gr_strndup(rows->row[i].key, rows->row[i].key_len);
    }
    if (rows->more) {
        read_page(l, COLL_REQUESTS, &rows->row[rows->count - 1], got_requests);
    } else if (l->stanzas) {
        a.stanzas = l->pending;
        a.count = l->pending_count;
        gr_answer(l->ask, &a);
        leave(l);
    } else {
        read_page(l, COLL_ITEMS, NULL, got_items);
    }
}

static void run_requests(struct turn *t)
{
    read_page(GR_CONTAINER_OF(t, struct listing, turn), COLL_REQUESTS, NULL, got_requests);
}

static struct listing *start(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user)
{
    struct listing *l = gr_alloc(sizeof(*l));

    l->self = self;
    l->ask = ask;
    l->user = gr_jid_dup_bare(user);
    l->items = gr_roster_list_new();
    return l;
}

void db_contacts(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user)
{
    struct listing *l = start(self, ask, user);

    turn_take(turns_of(self), TURN_STORE, l->user, &l->turn, run_requests);
}

void db_pending(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user)
{
    struct listing *l = start(self, ask, user);

    l->stanzas = true;
    turn_take(turns_of(self), TURN_STORE, l->user, &l->turn, run_requests);
}
