/* mod_sessiondb/read.c: what the rows say about who is there. On any loop: everything comes from
 * the store. */
#include "sessiondb.h"

#include <grapnel/log.h>

#include <string.h>

#define PAGE 1000

/* --- one resource --- */

struct one {
    struct gr_ask *ask;
    struct gr_jid *full;
    bool stanza;
};

/* The presence of a row; NULL: none is kept. */
static struct gr_stanza *presence_of(const struct row *r)
{
    struct gr_stanza *st;

    return r->xml_len > 0 && gr_stanza_parse(r->xml, r->xml_len, &st) == 0 ? st : NULL;
}

static void answer_one(const struct one *o, const struct row *r)
{
    struct gr_presence_row presence = { o->full, r->priority, o->stanza ? presence_of(r) : NULL };

    gr_answer(o->ask, &(struct gr_answer){ .result = GR_R_OK, .priority = r->priority,
                                           .presences = o->stanza ? &presence : NULL,
                                           .count = o->stanza });
    gr_stanza_unref(&presence.stanza);
}

static void on_one(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct one *o = gr_req_data(req);
    struct row r;

    (void)self;
    if (rows->rc != 0 && rows->rc != GR_ENOENT)
        gr_answer_error(o->ask, gr_cond_of(rows->rc), NULL);
    else if (rows->rc == 0 && row_decode(rows->row[0].val, rows->row[0].val_len, &r) == 0 &&
             r.available)
        answer_one(o, &r);
    else
        gr_answer_result(o->ask, GR_R_NONE);
    gr_jid_free(&o->full);
}

static void ask_one(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *full, bool stanza)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct one), on_one);

    *(struct one *)gr_req_data(req) = (struct one){ ask, gr_jid_dup(full), stanza };
    gr_store_get(req, ROWS, full->bare, full->resource, strlen(full->resource));
}

void get_presence(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *full)
{
    (void)inst;
    ask_one(self, ask, full, true);
}

void get_resource(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *full)
{
    (void)inst;
    ask_one(self, ask, full, false);
}

/* --- all of some users --- */

struct collect {
    struct gr_ask *ask;
    bool stanzas;
    bool going, came;                /* collect_go is running; the answer has come already */
    int rc;
    struct gr_jid **user;            /* copies */
    size_t users, next;
    char *from;                      /* where this user's next page begins; NULL: at the start */
    size_t from_len;
    struct gr_presence_row *row;     /* copies and references */
    size_t rows, room;
};

static void collect_end(struct collect *c)
{
    const struct gr_answer a = { .result = GR_R_OK, .presences = c->row, .count = c->rows };

    if (c->rc == 0)
        gr_answer(c->ask, &a);
    else
        gr_answer_error(c->ask, gr_cond_of(c->rc), NULL);
    for (size_t i = 0; i < c->users; i++)
        gr_jid_free(&c->user[i]);
    for (size_t i = 0; i < c->rows; i++) {
        struct gr_jid *jid = (struct gr_jid *)(uintptr_t)c->row[i].jid;
        gr_jid_free(&jid);
        gr_stanza_unref(&c->row[i].stanza);
    }
    gr_free(c->from);
    gr_free(c->user);
    gr_free(c->row);
    gr_free(c);
}

static void collect_row(struct collect *c, const struct gr_row *row)
{
    const struct gr_jid *user = c->user[c->next];
    char *resource = gr_strndup(row->key, row->key_len);
    struct gr_jid *full;
    struct row r;

    if (row_decode(row->val, row->val_len, &r) == 0 && r.available &&
        gr_jid_with_resource(user, resource, &full) == 0) {
        if (c->rows == c->room) {
            c->room = c->room > 0 ? 2 * c->room : 8;
            c->row = gr_realloc(c->row, c->room * sizeof(*c->row));
        }
        c->row[c->rows++] = (struct gr_presence_row){ full, r.priority,
                                                      c->stanzas ? presence_of(&r) : NULL };
    }
    gr_free(resource);
}

static void collect_go(struct gr_mod *self, struct collect *c);

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct collect *c = *(struct collect **)gr_req_data(req);

    for (size_t i = 0; rows->rc == 0 && i < rows->count; i++)
        collect_row(c, &rows->row[i]);
    gr_free(c->from);
    c->from = NULL;
    c->rc = rows->rc;
    if (rows->rc == 0 && rows->more) { /* right behind the last key */
        const struct gr_row *last = &rows->row[rows->count - 1];
        c->from_len = last->key_len + 1;
        c->from = gr_alloc(c->from_len);
        memcpy(c->from, last->key, last->key_len);
    } else {
        c->next++;
    }
    c->came = true;
    if (!c->going)
        collect_go(self, c);
}

static void collect_go(struct gr_mod *self, struct collect *c)
{
    c->going = true;
    while (c->rc == 0 && c->next < c->users) {
        struct gr_req *req = gr_req_new(self, sizeof(c), on_page);
        *(struct collect **)gr_req_data(req) = c;
        c->came = false;
        gr_store_range(req, ROWS, c->user[c->next]->bare, c->from,
                       c->from != NULL ? c->from_len : 0, PAGE);
        if (!c->came) {
            c->going = false;
            return;
        }
    }
    collect_end(c);
}

static void collect(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *const *users,
                    size_t count, bool stanzas)
{
    struct collect *c = gr_alloc(sizeof(*c));

    c->ask = ask;
    c->stanzas = stanzas;
    c->user = gr_alloc((count + 1) * sizeof(struct gr_jid *));
    c->users = count;
    for (size_t i = 0; i < count; i++)
        c->user[i] = gr_jid_dup_bare(users[i]);
    collect_go(self, c);
}

void get_all_presences(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user)
{
    (void)inst;
    collect(self, ask, &user, 1, true);
}

void get_all_resources(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user)
{
    (void)inst;
    collect(self, ask, &user, 1, false);
}

void get_all_roster_presences(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *const *users, size_t count)
{
    (void)inst;
    collect(self, ask, users, count, true);
}
