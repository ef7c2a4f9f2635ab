/* mod_offline/queue.c: what is known about an account while its messages are written, sent or
 * deleted.
 *
 * It exists only then. The totals are kept in a row of their own and written in the same
 * transaction as the message they count, so a limit costs no counting; between reading that row
 * and the last write the numbers in memory are the truth, because only this loop writes for this
 * account. */
#include "offline.h"

#include <stdio.h>
#include <string.h>

/* How long a successor waits for what its predecessor has sent: longer than a client may keep a
 * connection busy without reading. */
#define FOREIGN_MS (5 * GR_MINUTE)

static const char totals_key[] = "total";

static struct queue **bucket(struct gr_mod *self, const struct gr_jid *jid)
{
    struct offline *o = gr_state(self);

    return &o->bucket[jid->hash % QUEUE_BUCKETS];
}

struct queue *queue_find(struct gr_mod *self, const struct gr_jid *jid)
{
    struct queue *q = *bucket(self, jid);

    while (q != NULL && !gr_jid_bare_equal(q->owner, jid))
        q = q->next;
    return q;
}

struct queue *queue_get(struct gr_mod *self, const struct gr_jid *jid)
{
    struct queue *q = queue_find(self, jid), **first = bucket(self, jid);

    if (q != NULL)
        return q;
    q = gr_alloc(sizeof(*q));
    q->self = self;
    q->owner = gr_jid_dup_bare(jid);
    q->tail = &q->waiting;
    q->next = *first;
    *first = q;
    return q;
}

static void queue_free(struct queue *q)
{
    gr_timer_stop(&q->retry);
    while (q->sent != NULL)
        queue_drop_sent(q, q->sent);
    keep_forget(q);
    gr_jid_free(&q->owner);
    gr_free(q);
}

void queues_free(struct offline *o)
{
    for (int i = 0; i < QUEUE_BUCKETS; i++)
        while (o->bucket[i] != NULL) {
            struct queue *q = o->bucket[i];
            o->bucket[i] = q->next;
            queue_free(q);
        }
}

static void totals_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct queue *q = *(struct queue **)gr_req_data(req);

    (void)self;
    q->writes--;
    if (rows->rc != 0)
        gr_warn("offline.totals", "the number of offline messages of %s may be wrong: %s",
                q->owner->bare, gr_strerror(rows->rc));
    queue_release(q);
}

/* A failed transaction has left a later one with numbers that were too high. */
static void write_totals(struct queue *q)
{
    struct gr_txn *t = gr_txn_new(q->self);
    struct gr_req *req = gr_req_new(q->self, sizeof(struct queue *), totals_written);

    *(struct queue **)gr_req_data(req) = q;
    q->writes++;
    queue_put_totals(q, t);
    gr_txn_commit(t, req);
}

void queue_release(struct queue *q)
{
    struct queue **at = bucket(q->self, q->owner);

    if (q->loading || q->reading || q->draining || q->deleting || q->writes > 0 || q->pins > 0 ||
        q->waiting != NULL || q->sent != NULL || q->armed)
        return;
    if (q->stale && !((struct offline *)gr_state(q->self))->retired) {
        write_totals(q);
        return;
    }
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    queue_free(q);
}

/* --- the totals --- */

static void put_u64(uint8_t *out, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

static uint64_t get_u64(const uint8_t *in)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

void queue_put_totals(struct queue *q, struct gr_txn *t)
{
    const struct offline *o = gr_state(q->self);
    uint8_t row[16];

    q->stale = false;
    if (o->retired)
        return;
    if (q->count == 0) {
        gr_txn_del(t, TOTALS, q->owner->bare, totals_key, sizeof(totals_key) - 1);
        return;
    }
    put_u64(row, q->count);
    put_u64(row + 8, q->bytes);
    gr_txn_put(t, TOTALS, q->owner->bare, totals_key, sizeof(totals_key) - 1, row, sizeof(row));
}

static void on_totals(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct queue *q = *(struct queue **)gr_req_data(req);
    int rc = rows->rc;

    (void)self;
    q->loading = false;
    if (rc == 0 && rows->row[0].val_len == 16) {
        q->count = get_u64(rows->row[0].val);
        q->bytes = get_u64((const uint8_t *)rows->row[0].val + 8);
    } else if (rc == 0) {
        gr_error("offline.damaged", "the totals of %s are damaged", q->owner->bare);
    } else if (rc == GR_ENOENT) {
        rc = 0;
    }
    q->loaded = rc == 0;
    q->plain = rc != 0;
    keep_waiting(q, rc);
    drain_continue(q);
}

void queue_load(struct queue *q)
{
    struct gr_req *req;

    if (q->loading)
        return;
    q->loading = true;
    req = gr_req_new(q->self, sizeof(struct queue *), on_totals);
    *(struct queue **)gr_req_data(req) = q;
    gr_store_get(req, TOTALS, q->owner->bare, totals_key, sizeof(totals_key) - 1);
}

void queue_purged(struct queue *q)
{
    q->loaded = true;
    q->plain = q->stale = false;
    q->count = q->bytes = 0;
    for (struct sent *s = q->sent; s != NULL; s = s->next)
        s->size = 0;
}

/* --- messages on their way --- */

struct sent *queue_sent(struct queue *q, uint64_t seq)
{
    struct sent *s = q->sent;

    while (s != NULL && s->seq != seq)
        s = s->next;
    return s;
}

unsigned queue_count_sent(const struct queue *q, enum sent_state state)
{
    unsigned n = 0;

    for (const struct sent *s = q->sent; s != NULL; s = s->next)
        n += s->state == state;
    return n;
}

void queue_drop_sent(struct queue *q, struct sent *take)
{
    struct sent **at = &q->sent;

    while (*at != take)
        at = &(*at)->next;
    *at = take->next;
    gr_stanza_unref(&take->stanza);
    gr_free(take->key);
    gr_free(take);
}

/* --- reload --- */

/* "0": bare JID, NUL, numbers; "1": the next one; ... */
static void save_queue(const struct queue *q, struct gr_bag *bag, unsigned n)
{
    size_t len = q->owner->bare_len + 1u, at = len;
    uint8_t *blob;
    char key[16];

    for (const struct sent *s = q->sent; s != NULL; s = s->next)
        len += 8;
    blob = gr_alloc(len);
    memcpy(blob, q->owner->bare, at);
    for (const struct sent *s = q->sent; s != NULL; s = s->next, at += 8)
        put_u64(blob + at, s->seq);
    snprintf(key, sizeof(key), "%u", n);
    gr_bag_put_blob(bag, key, blob, len);
    gr_free(blob);
}

void queues_save(struct offline *o, struct gr_bag *bag)
{
    unsigned n = 0;

    o->retired = true;
    for (int i = 0; i < QUEUE_BUCKETS; i++)
        for (const struct queue *q = o->bucket[i]; q != NULL; q = q->next)
            if (q->sent != NULL || q->armed || q->draining)
                save_queue(q, bag, n++);
}

static void restore_queue(struct gr_mod *self, const uint8_t *blob, size_t len)
{
    size_t at = strnlen((const char *)blob, len);
    struct gr_jid *owner;
    struct queue *q;

    if (at == len || gr_jid_parse((const char *)blob, at, &owner) != 0)
        return;
    q = queue_get(self, owner);
    gr_jid_free(&owner);
    for (at++; at + 8 <= len; at += 8) {
        struct sent *s = gr_alloc(sizeof(*s));

        s->seq = get_u64(blob + at);
        s->state = FOREIGN;
        s->next = q->sent;
        q->sent = s;
    }
    drain_later(q, q->sent != NULL ? FOREIGN_MS : 1);
}

void queues_restore(struct gr_mod *self, const struct gr_bag *bag)
{
    const uint8_t *blob;
    char key[16] = "0";
    size_t len;

    for (unsigned n = 1; (blob = gr_bag_blob(bag, key, &len)) != NULL; n++) {
        restore_queue(self, blob, len);
        snprintf(key, sizeof(key), "%u", n);
    }
}
