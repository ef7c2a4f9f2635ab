/* mod_sessiondb/read.c: who is there: sessions of this process as its session table knows them,
 * those of other servers as their rows say. A row of this server without a session is not believed.
 * On the home loop of who is asked about. */
#include "sessiondb.h"

#include <string.h>

#define ROWS_MAX 10000

/* --- one resource --- */

struct one {
    struct gr_ask *ask;
    struct gr_jid *full;
    bool stanza;
};

/* Another server's, of somebody available. */
static bool is_theirs(const struct gr_row *row, struct row *r)
{
    return row_decode(row->val, row->val_len, r) == 0 && r->available &&
           strcmp(r->server, gr_server_id()) != 0;
}

/* The presence of a row; NULL: none is kept. */
static struct gr_stanza *presence_of(const struct row *r)
{
    struct gr_stanza *st;

    return r->xml_len > 0 && gr_stanza_parse(r->xml, r->xml_len, &st) == 0 ? st : NULL;
}

static void answer_one(struct gr_ask *ask, const struct gr_presence_row *presence, bool stanza)
{
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .priority = presence->priority,
                                        .presences = stanza ? presence : NULL, .count = stanza });
}

static void on_one(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct one *o = gr_req_data(req);
    struct row r;

    (void)self;
    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        gr_answer_error(o->ask, gr_cond_of(rows->rc), NULL);
    } else if (rows->rc == 0 && is_theirs(&rows->row[0], &r)) {
        struct gr_presence_row presence = { o->full, r.priority,
                                            o->stanza ? presence_of(&r) : NULL };
        answer_one(o->ask, &presence, o->stanza);
        gr_stanza_unref(&presence.stanza);
    } else {
        gr_answer_result(o->ask, GR_R_NONE);
    }
    gr_jid_free(&o->full);
}

static void ask_one(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *full, bool stanza)
{
    const struct gr_account *a = gr_account_find(self, full);
    struct gr_session *s = a != NULL ? gr_account_session(a, full->resource) : NULL;
    struct gr_req *req;

    if (s != NULL && gr_session_available(s)) {
        answer_one(ask, &(struct gr_presence_row){ full, gr_session_priority(s),
                                                   gr_session_presence(s) }, stanza);
    } else if (s != NULL) {
        gr_answer_result(ask, GR_R_NONE);
    } else {
        req = gr_req_new(self, sizeof(struct one), on_one);
        *(struct one *)gr_req_data(req) = (struct one){ ask, gr_jid_dup(full), stanza };
        gr_store_get(req, ROWS, full->bare, full->resource, strlen(full->resource));
    }
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

/* --- all of a user --- */

struct all {
    struct gr_ask *ask;
    struct gr_jid *user;
    bool stanzas;
};

/* Returns how many of ours; borrowed from the table. */
static size_t add_ours(struct gr_mod *self, const struct all *all, size_t more,
                       struct gr_presence_row **out)
{
    const struct gr_account *a = gr_account_find(self, all->user);
    size_t n = 0;

    for (struct gr_session *s = NULL; a != NULL && (s = gr_account_next(a, s)) != NULL;)
        n++;
    *out = gr_alloc((n + more + 1) * sizeof(**out));
    n = 0;
    for (struct gr_session *s = NULL; a != NULL && (s = gr_account_next(a, s)) != NULL;)
        if (gr_session_available(s))
            (*out)[n++] = (struct gr_presence_row){
                gr_session_jid(s), gr_session_priority(s),
                all->stanzas ? gr_session_presence(s) : NULL
            };
    return n;
}

/* False: nobody's. Else a copy of the address and a reference to the presence. */
static bool theirs(const struct all *all, const struct gr_row *row, struct gr_presence_row *out)
{
    char *resource = gr_strndup(row->key, row->key_len);
    struct gr_jid *full = NULL;
    struct row r;
    bool is = is_theirs(row, &r) && gr_jid_with_resource(all->user, resource, &full) == 0;

    if (is)
        *out = (struct gr_presence_row){ full, r.priority, all->stanzas ? presence_of(&r) : NULL };
    gr_free(resource);
    return is;
}

static void on_all(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct all *all = gr_req_data(req);
    struct gr_answer a = { .result = GR_R_OK };
    struct gr_presence_row *row;
    size_t ours;

    if (rows->rc != 0) {
        gr_answer_error(all->ask, gr_cond_of(rows->rc), NULL);
        gr_jid_free(&all->user);
        return;
    }
    a.count = ours = add_ours(self, all, rows->count, &row);
    a.presences = row;
    for (size_t i = 0; i < rows->count; i++)
        a.count += theirs(all, &rows->row[i], &row[a.count]);
    gr_answer(all->ask, &a);
    for (size_t i = ours; i < a.count; i++) {
        struct gr_jid *jid = (struct gr_jid *)(uintptr_t)row[i].jid;
        gr_jid_free(&jid);
        gr_stanza_unref(&row[i].stanza);
    }
    gr_free(row);
    gr_jid_free(&all->user);
}

static void ask_all(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user,
                    bool stanzas)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct all), on_all);

    *(struct all *)gr_req_data(req) = (struct all){ ask, gr_jid_dup(user), stanzas };
    gr_store_range(req, ROWS, user->bare, NULL, 0, ROWS_MAX);
}

void get_all_presences(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user)
{
    (void)inst;
    ask_all(self, ask, user, true);
}

void get_all_resources(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user)
{
    (void)inst;
    ask_all(self, ask, user, false);
}
