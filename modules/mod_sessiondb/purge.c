/* mod_sessiondb/purge.c: the rows of our own server id that a process left which died: at each
 * start, each loop deletes those of its accounts. A row is stale when its session began before we
 * did and is not in the session table: after a reload the sessions are still there. */
#include "sessiondb.h"

#include <grapnel/log.h>

#include <string.h>

#define PAGE 500

static bool is_stale(struct gr_mod *self, const struct gr_jid *full, int64_t login_us)
{
    struct sessiondb *st = gr_state(self);
    const struct gr_account *a = gr_account_find(self, full);

    if (a != NULL && gr_account_session(a, full->resource) != NULL)
        return false;
    for (const struct inst *i = *bucket_of(st, full); i != NULL; i = i->next)
        if (gr_jid_equal(i->full, full))
            return false; /* being bound just now */
    return login_us < st->began_us;
}

static void read_page(struct gr_mod *self, const void *from, size_t len);

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct sessiondb_conf *conf = gr_conf(self);
    struct sessiondb *st = gr_state(self);
    struct gr_txn *t;
    bool ours = true;

    (void)req;
    if (rows->rc != 0) {
        gr_error("sessiondb.purge", "sessions of an earlier run stay: %s", gr_strerror(rows->rc));
        return;
    }
    t = gr_txn_new(self);
    for (size_t i = 0; i < rows->count && ours; i++) {
        const struct gr_row *row = &rows->row[i];
        struct gr_jid *full = index_jid(conf->server_id, row);
        ours = row->key_len > strlen(conf->server_id) &&
               memcmp(row->key, conf->server_id, strlen(conf->server_id) + 1) == 0;
        if (full != NULL && gr_is_home(full) &&
            is_stale(self, full, (int64_t)get_u64(row->val))) {
            row_del(self, t, full, conf->server_id);
            st->purged++;
        }
        gr_jid_free(&full);
    }
    gr_txn_commit(t, NULL);
    if (rows->more && ours) {
        const struct gr_row *last = &rows->row[rows->count - 1];
        char *from = gr_alloc(last->key_len + 1);
        memcpy(from, last->key, last->key_len);
        read_page(self, from, last->key_len + 1);
        gr_free(from);
    } else if (st->purged > 0) {
        gr_info("sessiondb.purged", "%llu sessions of an earlier run of \"%s\"",
                (unsigned long long)st->purged, conf->server_id);
    }
}

static void read_page(struct gr_mod *self, const void *from, size_t len)
{
    gr_store_range(gr_req_new(self, 0, on_page), INDEX, gr_host_name(gr_mod_host(self)), from, len,
                   PAGE);
}

void purge(struct gr_mod *self)
{
    const struct sessiondb_conf *conf = gr_conf(self);

    read_page(self, conf->server_id, strlen(conf->server_id) + 1);
}
