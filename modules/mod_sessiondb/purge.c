/* mod_sessiondb/purge.c: the rows that a server left which died (node_cleanup): those of this
 * server's id before anybody can connect, those of another one whenever it is said to be dead. Each
 * row's host hears of it (session_cleanup), then the row goes: a crash in between repeats both. The
 * next page waits until this one is on disk, so that not more than a page is queued. */
#include "sessiondb.h"

#include <grapnel/log.h>

#include <string.h>

#define PAGE 500

struct purge {
    struct gr_hold *hold;
    char *node;
    int64_t before_us;   /* sessions that began later live */
    uint64_t count;
    char *from;          /* where the next page begins; NULL: at the start */
    size_t from_len;
    bool more;
};

static void end(struct purge *p, int rc)
{
    if (rc != 0)
        gr_error("sessiondb.purge", "sessions of \"%s\" stay: %s", p->node, gr_strerror(rc));
    if (p->count > 0)
        gr_info("sessiondb.purged", "%llu sessions of an earlier run of \"%s\"",
                (unsigned long long)p->count, p->node);
    gr_resume(p->hold, rc == 0 ? GR_OK : GR_FAIL);
    gr_free(p->from);
    gr_free(p->node);
    gr_free(p);
}

/* At home, on its host. */
static void on_gone(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    struct gr_session_ev ev = { .jid = jid };

    (void)data, (void)len;
    gr_hook_run(self, GR_HOOK_session_cleanup, &ev.ev, NULL);
}

static void remove_row(struct gr_mod *self, struct purge *p, struct gr_txn *t,
                       const struct gr_row *row)
{
    struct gr_jid *full = index_jid(row);

    if (full != NULL && (int64_t)gr_get_u64(row->val) < p->before_us) {
        row_del(t, full, p->node);
        gr_post_host(self, full, on_gone, NULL, 0); /* else its host is gone as well */
        p->count++;
    }
    gr_jid_free(&full);
}

static void read_page(struct gr_mod *self, struct purge *p);

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct purge *p = *(struct purge **)gr_req_data(req);

    if (rows->rc == 0 && p->more)
        read_page(self, p);
    else
        end(p, rows->rc);
}

static struct gr_req *purge_req(struct gr_mod *self, struct purge *p, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(p), done);

    *(struct purge **)gr_req_data(req) = p;
    return req;
}

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct purge *p = *(struct purge **)gr_req_data(req);
    struct gr_txn *t;

    if (rows->rc != 0) {
        end(p, rows->rc);
        return;
    }
    t = gr_txn_new(self);
    for (size_t i = 0; i < rows->count; i++)
        remove_row(self, p, t, &rows->row[i]);
    p->more = rows->more;
    if (p->more) { /* right behind the last key */
        const struct gr_row *last = &rows->row[rows->count - 1];
        gr_free(p->from);
        p->from_len = last->key_len + 1;
        p->from = gr_alloc(p->from_len);
        memcpy(p->from, last->key, last->key_len);
    }
    gr_txn_commit(t, purge_req(self, p, on_removed));
}

static void read_page(struct gr_mod *self, struct purge *p)
{
    gr_store_range(purge_req(self, p, on_page), INDEX, p->node, p->from, p->from_len, PAGE);
}

enum gr_verdict on_node_cleanup(struct gr_mod *self, struct gr_domain_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    bool ours = strcmp(ev->node, gr_server_id()) == 0;
    struct purge *p;

    if (hold == NULL)
        return GR_FAIL;
    p = gr_alloc(sizeof(*p));
    p->hold = hold;
    p->node = gr_strdup(ev->node);
    p->before_us = ours ? gr_wall_us() - gr_uptime_ms() * 1000 : INT64_MAX;
    read_page(self, p);
    return GR_PENDING;
}
