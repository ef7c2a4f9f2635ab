/* mod_mam/sweep.c: old messages go: those over the age, and the oldest when an archive has
 * become too large (XEP-0313, 3.2). A little at a time, each a transaction that deletes and
 * nothing else: those are taken also when the disk is full. Archives in use are swept when
 * something is put into them; once a day all accounts are looked at. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

enum { PART = 100, ACCOUNTS = 100 };
#define PAUSE_MS 1000                  /* between two parts of a round */
#define ROUND_MS (24 * GR_HOUR)

/* --- one archive --- */

struct sweeping {
    struct archive *a;
    uint64_t bytes;                    /* what there is */
    uint64_t first;                    /* time of the oldest row that stays; 0: none does */
    bool more;
};

/* Rows before this are too old; 0: none are. */
static uint64_t age_limit(const struct mam_conf *conf)
{
    int64_t us = gr_wall_us() - conf->expire_after * 1000;

    return conf->expire_after > 0 && us > 0 ? (uint64_t)us : 0;
}

static bool is_due(const struct mam_conf *conf, const struct archive *a)
{
    return (conf->size_limit > 0 && a->bytes > (uint64_t)conf->size_limit) ||
           (a->first_us > 0 && a->first_us < age_limit(conf));
}

static struct gr_req *request(struct gr_mod *self, const struct sweeping *s, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(*s), done);

    *(struct sweeping *)gr_req_data(req) = *s;
    return req;
}

static void begin(struct gr_mod *self, struct archive *a);

static void end(struct gr_mod *self, struct archive *a)
{
    a->sweeping = false;
    archive_unpin(self, a);
}

static void on_deleted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct sweeping *s = gr_req_data(req);

    if (rows->rc != 0) {
        gr_error("mam.not_swept", "old messages of %s cannot be deleted: %s", s->a->owner->bare,
                 gr_strerror(rows->rc));
        end(self, s->a);
        return;
    }
    s->a->bytes = s->bytes;
    s->a->first_us = s->first;
    if (s->more && !s->a->gone)
        begin(self, s->a);
    else
        end(self, s->a);
}

static uint64_t block_of(const struct gr_rows *rows, size_t i)
{
    return gr_row_seq(&rows->row[i]) / BLOCK;
}

static uint64_t contact_of(const struct row *r)
{
    return contact_number(r->peer, bare_len(r->peer, r->peer_len));
}

/* Is it known that no later row has the same entry of the map? */
static bool is_last(const struct gr_rows *rows, size_t i, uint64_t contact)
{
    size_t k = i + 1;
    struct row r;

    for (; k < rows->count && block_of(rows, k) == block_of(rows, i); k++) {
        if (row_get(&r, &rows->row[k]) == 0 && contact_of(&r) == contact)
            return false;
    }
    return k < rows->count || !rows->more;
}

/* r: NULL when the row is damaged. */
static void delete_row(struct gr_txn *t, const struct archive *a, const struct gr_rows *rows,
                       size_t i, const struct row *r)
{
    uint8_t key[CONTACT_KEY];

    gr_txn_del_seq(t, MESSAGES, a->owner->bare, gr_row_seq(&rows->row[i]));
    if (r == NULL || !is_last(rows, i, contact_of(r)))
        return;
    contact_key(key, contact_of(r), block_of(rows, i));
    gr_txn_del(t, CONTACTS, a->owner->bare, key, sizeof(key));
}

/* How many of the rows may go at once: not those of a block that has others behind these, unless
 * they are so large that there is nothing else; then its entries of the map stay. */
static size_t deletable(const struct gr_rows *rows)
{
    size_t n = rows->count;

    if (!rows->more)
        return n;
    while (n > 0 && block_of(rows, n - 1) == block_of(rows, rows->count - 1))
        n--;
    return n > 0 ? n : rows->count;
}

/* Room is made for a while, not for the next message alone. */
static void on_oldest(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct mam_conf *conf = gr_conf(self);
    struct sweeping s = *(struct sweeping *)gr_req_data(req);
    uint64_t oldest = age_limit(conf), most = (uint64_t)conf->size_limit;
    struct gr_txn *t = gr_txn_new(self);
    size_t n = 0, most_rows = deletable(rows);
    struct row r = { .us = 0 };

    if (s.bytes > most)
        most -= most / 32;
    for (; n < most_rows; n++) {
        bool good = row_get(&r, &rows->row[n]) == 0;

        if (good && r.us >= oldest && (conf->size_limit == 0 || s.bytes <= most))
            break;
        delete_row(t, s.a, rows, n, good ? &r : NULL);
        s.bytes -= rows->row[n].val_len < s.bytes ? rows->row[n].val_len : s.bytes;
    }
    s.first = n < rows->count && row_get(&r, &rows->row[n]) == 0 ? r.us : 0;
    s.more = rows->more && n == most_rows;
    if (n > 0) {
        gr_txn_commit(t, request(self, &s, on_deleted));
    } else {
        gr_txn_drop(&t);
        s.a->first_us = s.first;
        end(self, s.a);
    }
}

static void on_head(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct sweeping *s = gr_req_data(req);

    if (rows->rc != 0) {
        end(self, s->a);
        return;
    }
    s->bytes = s->a->bytes = rows->bytes;
    gr_store_range(request(self, s, on_oldest), MESSAGES, s->a->owner->bare, NULL, 0, PART);
}

static void begin(struct gr_mod *self, struct archive *a)
{
    gr_store_count(request(self, &(struct sweeping){ .a = a }, on_head), MESSAGES,
                   a->owner->bare);
}

void sweep(struct gr_mod *self, struct archive *a)
{
    if (a->sweeping || !is_due(gr_conf(self), a))
        return;
    a->sweeping = true;
    a->pins++;
    begin(self, a);
}

/* --- all of them --- */

static void on_loaded(struct gr_mod *self, struct archive *a, int rc, void *ctx)
{
    (void)rc, (void)ctx;
    if (a != NULL)
        sweep(self, a);
}

struct look {
    struct gr_jid *owner;
};

static void on_first(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct look *look = gr_req_data(req);
    struct row r;

    if (rows->rc == 0 && rows->count > 0 && row_get(&r, rows->row) == 0 &&
        r.us < age_limit(gr_conf(self)))
        archive_load(self, look->owner, on_loaded, NULL);
    gr_jid_free(&look->owner);
}

static void look_at(struct gr_mod *self, const char *account)
{
    char username[GR_JID_PART_MAX + 1];
    struct gr_jid *owner = NULL;
    struct gr_req *req;

    if (gr_auth_username_of(self, account, username) != 0 ||
        gr_jid_make(username, gr_mod_host_jid(self)->full, NULL, &owner) != 0)
        return;
    if (!gr_is_home(owner)) {
        gr_jid_free(&owner);
        return;
    }
    req = gr_req_new(self, sizeof(struct look), on_first);
    ((struct look *)gr_req_data(req))->owner = owner;
    gr_store_range(req, MESSAGES, owner->bare, NULL, 0, 1);
}

static void next_part(struct gr_mod *self, struct gr_timer *t);

static void on_accounts(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct mam *m = gr_state(self);
    bool more = a->result == GR_R_FALSE && a->text != NULL;

    (void)ask;
    for (size_t i = 0; i < a->count; i++)
        look_at(self, a->items[i].jid->node);
    gr_free(m->round_at);
    m->round_at = more ? gr_strdup(a->text) : NULL;
    gr_timer_start(self, &m->round, more ? PAUSE_MS : ROUND_MS, next_part);
}

static void next_part(struct gr_mod *self, struct gr_timer *t)
{
    struct mam *m = gr_state(self);

    (void)t;
    gr_auth_list(self, gr_ask_new(self, 0, on_accounts), m->round_at, ACCOUNTS);
}

void sweep_rounds(struct gr_mod *self)
{
    const struct mam_conf *conf = gr_conf(self);
    struct mam *m = gr_state(self);

    if (conf->expire_after > 0)
        gr_timer_start(self, &m->round, GR_HOUR, next_part);
}
