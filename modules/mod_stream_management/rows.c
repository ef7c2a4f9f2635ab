/* mod_stream_management/rows.c: the rows of sessions that are over, deleted at once or, while the disk takes
 * nothing, later: those that stayed would be a session again at the next start, and what went elsewhere
 * long ago would go there once more. Another version of the module goes on with it. */
#include "journal.h"

#include <grapnel/log.h>

#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 1000, RETRY_MAX_MS = 60000 };

struct range {                   /* numbers of rows of the queue: from there on, and before */
    uint64_t from, to;
};
struct rows {
    struct rows *next, **at;     /* those that are being deleted; at: what points to it */
    uint8_t hash[HASH_SIZE];
    struct gr_jid *full;
    struct range *range;
    size_t count;
    struct gr_timer retry;
    int64_t retry_ms;            /* 0: it has not failed yet */
    bool deleting;
};

struct rows *rows_new(const struct gr_jid *full, const uint8_t hash[HASH_SIZE])
{
    struct rows *r = gr_alloc(sizeof(*r));

    memcpy(r->hash, hash, HASH_SIZE);
    r->full = gr_jid_dup(full);
    return r;
}

void rows_free(struct rows **take)
{
    struct rows *r = *take;

    *take = NULL;
    if (r == NULL)
        return;
    if (r->at != NULL)
        *r->at = r->next;
    if (r->next != NULL)
        r->next->at = r->at;
    gr_timer_stop(&r->retry);
    gr_jid_free(&r->full);
    gr_free(r->range);
    gr_free(r);
}

void rows_add(struct rows *r, uint64_t from, uint64_t to)
{
    struct range *last = r->count > 0 ? &r->range[r->count - 1] : NULL;

    if (from >= to)
        return;
    if (last != NULL && last->to == from) {
        last->to = to;
        return;
    }
    r->range = gr_realloc(r->range, (r->count + 1) * sizeof(*r->range));
    r->range[r->count++] = (struct range){ from, to };
}

/* --- deleting --- */

static void delete_now(struct gr_mod *self, struct rows *r);

static void on_retry(struct gr_mod *self, struct gr_timer *t)
{
    delete_now(self, GR_CONTAINER_OF(t, struct rows, retry));
}

/* Of a version that has been replaced no timer runs: these are found at the next start. */
static void on_deleted(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct rows *r = *(struct rows **)gr_req_data(req);
    const struct state *st = gr_state(self);

    r->deleting = false;
    if (rows->rc != 0)
        gr_warn("sm.not_deleted", "what is left of %s, which is over, cannot be deleted%s: %s",
                r->full->full, st->retired ? "" : " yet", gr_strerror(rows->rc));
    if (rows->rc == 0 || st->retired) {
        rows_free(&r);
        return;
    }
    r->retry_ms = r->retry_ms == 0 ? RETRY_MS : 2 * r->retry_ms;
    if (r->retry_ms > RETRY_MAX_MS)
        r->retry_ms = RETRY_MAX_MS;
    gr_timer_start(self, &r->retry, r->retry_ms, on_retry);
}

/* In a transaction that does nothing else: the store takes those even when the disk is full. */
static void delete_now(struct gr_mod *self, struct rows *r)
{
    struct gr_txn *t = gr_txn_new(self);
    struct gr_req *req = gr_req_new(self, sizeof(r), on_deleted);
    uint8_t key[QUEUE_KEY];

    *(struct rows **)gr_req_data(req) = r;
    r->deleting = true;
    for (size_t i = 0; i < r->count; i++)
        for (uint64_t n = r->range[i].from; n < r->range[i].to; n++) {
            queue_key(r->hash, n, key);
            gr_txn_del(t, QUEUE, gr_server_id(), key, sizeof(key));
        }
    gr_txn_del(t, SESSIONS, gr_server_id(), r->hash, HASH_SIZE);
    gr_txn_del(t, COUNTERS, gr_server_id(), r->hash, HASH_SIZE);
    gr_txn_commit(t, req);
}

static void link_rows(struct state *st, struct rows *r)
{
    r->next = st->rows;
    r->at = &st->rows;
    if (r->next != NULL)
        r->next->at = &r->next;
    st->rows = r;
}

void rows_delete(struct gr_mod *self, struct rows *take)
{
    link_rows(gr_state(self), take);
    delete_now(self, take);
}

void rows_stop(struct state *st)
{
    while (st->rows != NULL) {
        struct rows *r = st->rows;
        rows_free(&r);
    }
}

/* --- reload --- */

/* "rows0", ...: hash, address with NUL, ranges; of those that wait for the disk. */
void rows_save(struct state *st, struct gr_bag *bag)
{
    unsigned n = 0;
    char key[24];

    for (struct rows *r = st->rows, *next; r != NULL; r = next) {
        struct gr_writer w;

        next = r->next;
        if (r->deleting)
            continue;
        w = gr_writer_new(256);
        gr_write_bytes(&w, r->hash, HASH_SIZE);
        gr_write_bytes(&w, r->full->full, strlen(r->full->full) + 1);
        for (size_t i = 0; i < r->count; i++) {
            gr_write_u64(&w, r->range[i].from);
            gr_write_u64(&w, r->range[i].to);
        }
        snprintf(key, sizeof(key), "rows%u", n++);
        gr_bag_put_blob(bag, key, w.data, w.len);
        gr_free(w.data);
        rows_free(&r);
    }
}

static void restore_one(struct gr_mod *self, const uint8_t *blob, size_t len)
{
    const uint8_t *nul = len > HASH_SIZE ? memchr(blob + HASH_SIZE, 0, len - HASH_SIZE) : NULL;
    const char *text = (const char *)blob + HASH_SIZE;
    struct gr_jid *full;
    struct rows *r;

    if (nul == NULL || gr_jid_parse(text, strlen(text), &full) != 0)
        return;
    r = rows_new(full, blob);
    gr_jid_free(&full);
    for (const uint8_t *at = nul + 1; at + 16 <= blob + len; at += 16)
        rows_add(r, gr_get_u64(at), gr_get_u64(at + 8));
    link_rows(gr_state(self), r);
    r->retry_ms = RETRY_MS;
    gr_timer_start(self, &r->retry, r->retry_ms, on_retry);
}

void rows_restore(struct gr_mod *self, const struct gr_bag *bag)
{
    char key[24] = "rows0";
    const void *blob;
    size_t len;

    for (unsigned n = 1; (blob = gr_bag_blob(bag, key, &len)) != NULL; n++) {
        restore_one(self, blob, len);
        snprintf(key, sizeof(key), "rows%u", n);
    }
}
