/* mod_offline/queue.c: what is known about an account while its messages are sent and deleted.
 * It exists only then: keeping a message needs nothing in memory. */
#include "offline.h"

#include <stdio.h>
#include <string.h>

/* How long a successor waits for what its predecessor has sent: longer than a client may keep a
 * connection busy without reading. */
#define FOREIGN_MS (5 * GR_MINUTE)

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
    q->next = *first;
    *first = q;
    return q;
}

static void queue_free(struct queue *q)
{
    gr_timer_stop(&q->retry);
    gr_timer_stop(&q->gather);
    while (q->sent != NULL)
        queue_drop_sent(q, q->sent);
    gr_jid_free(&q->owner);
    gr_free(q);
}

void queues_free(struct offline *o)
{
    for (int i = 0; i < QUEUE_BUCKETS; i++)
        while (o->bucket[i] != NULL) {
            struct queue *q = o->bucket[i];
            o->bucket[i] = q->next;
            drain_delete_gathered(q);
            queue_free(q);
        }
}

void queue_release(struct queue *q)
{
    struct queue **at = bucket(q->self, q->owner);

    if (q->reading || q->draining || q->deleting || q->pins > 0 || q->sent != NULL ||
        q->armed)
        return;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    queue_free(q);
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
    struct gr_writer w = gr_writer_new(256);
    char key[16];

    gr_write_bytes(&w, q->owner->bare, q->owner->bare_len + 1u);
    for (const struct sent *s = q->sent; s != NULL; s = s->next)
        gr_write_u64(&w, s->seq);
    snprintf(key, sizeof(key), "%u", n);
    gr_bag_put_blob(bag, key, w.data, w.len);
    gr_free(w.data);
}

void queues_save(struct offline *o, struct gr_bag *bag)
{
    unsigned n = 0;

    o->retired = true;
    for (int i = 0; i < QUEUE_BUCKETS; i++)
        for (struct queue *q = o->bucket[i]; q != NULL; q = q->next) {
            drain_delete_gathered(q);
            if (q->sent != NULL || q->armed || q->draining)
                save_queue(q, bag, n++);
        }
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

        s->seq = gr_get_u64(blob + at);
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
