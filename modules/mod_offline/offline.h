/* mod_offline/offline.h: what the parts of mod_offline share. Everything runs on the home loop
 * of the account concerned, of which there is one instance per host: nobody else touches its
 * messages. */
#pragma once

#include <grapnel/module.h>

struct offline_conf {
    int64_t limit, size_limit;
    bool store_groupchat;
};

extern const struct gr_coll collections[];
#define MESSAGES (&collections[0]) /* a log per account: version, arrival time, stanza */
#define TOTALS (&collections[1])   /* one row per account: number of messages, bytes    */

/* --- queue.c: one account's messages while something happens to them --- */

/* A stored message on its way to the recipient. */
enum sent_state {
    SENT,     /* routed; nothing known yet                            */
    BACK,     /* came back to offline_message: nobody was there       */
    DONE,     /* handled: the row is to be deleted                    */
    DELETING,
    FOREIGN   /* sent by the instance before the reload, which sees to it */
};
struct sent {
    struct sent *next;
    uint64_t seq;
    size_t size;              /* of the row; 0: counts no more */
    enum sent_state state;
    struct gr_stanza *stanza; /* as sent */
    char *key;                /* tells it from the others on their way: see sent_key */
};
struct queue {
    struct queue *next;       /* in its bucket */
    struct gr_mod *self;
    struct gr_jid *owner;     /* bare */
    /* The totals, right in memory from `loaded` on; stale: the row on disk is not. */
    bool loading, loaded, stale;
    uint64_t count, bytes;
    struct keep *waiting, **tail; /* messages that came before the totals */
    struct keep *writing;     /* those whose transaction is in flight */
    unsigned writes;          /* transactions in flight */
    unsigned pins;            /* callers that look at it again */
    /* Redelivery (drain.c). */
    bool draining, reading, again, failed, eof, blocked, appended;
    bool deleting, plain;     /* plain: delete without writing totals */
    bool off;                 /* not even that works now: after the pause */
    uint64_t cursor;          /* rows before it were looked at */
    struct sent *sent;
    struct gr_timer retry;
    bool armed;
    int64_t backoff_ms;
};
#define QUEUE_BUCKETS 256
struct offline { /* the state of an instance */
    struct queue *bucket[QUEUE_BUCKETS];
    bool retired; /* after a reload the totals are the successor's */
};

struct queue *queue_find(struct gr_mod *self, const struct gr_jid *jid);
struct queue *queue_get(struct gr_mod *self, const struct gr_jid *jid); /* creates */
/* Frees it when nothing happens any more. */
void queue_release(struct queue *q);
void queues_free(struct offline *o);
/* A reload: what is on its way is named to the successor, which leaves it alone for a while. */
void queues_save(struct offline *o, struct gr_bag *bag);
void queues_restore(struct gr_mod *self, const struct gr_bag *bag);
/* Adds the totals to a transaction that changes them. */
void queue_put_totals(struct queue *q, struct gr_txn *t);
/* Asks for the totals; keep_waiting and drain_continue follow, perhaps at once. */
void queue_load(struct queue *q);
/* Everything of the owner has been deleted. */
void queue_purged(struct queue *q);
struct sent *queue_sent(struct queue *q, uint64_t seq);
unsigned queue_count_sent(const struct queue *q, enum sent_state state);
void queue_drop_sent(struct queue *q, struct sent *take);

/* --- keep.c: storing --- */

enum gr_verdict keep_message(struct gr_mod *self, struct gr_stanza_ev *ev);
/* The totals are known (or could not be read: rc): what waited for them goes on. */
void keep_waiting(struct queue *q, int rc);
void keep_forget(struct queue *q); /* of a queue that is freed at shutdown */

#define ROW_VERSION 1
#define ROW_HEAD 9 /* version, 8 bytes of arrival time */
/* 0 or GR_EINVAL: damaged. */
int row_parse(const struct gr_row *row, int64_t *time_us, struct gr_stanza **out);

/* --- drain.c: delivering --- */

void drain(struct queue *q);
/* The same after a pause. */
void drain_later(struct queue *q, int64_t ms);
/* Looks what can be done now; may free the queue. */
void drain_continue(struct queue *q);
/* Is it one of those on their way, which found nobody? Then it is marked. */
bool drain_took_back(struct queue *q, const struct gr_stanza_ev *ev);

/* The delay that this host has put into a message, NULL: none (XEP-0203). */
struct gr_el *own_delay(struct gr_mod *self, const struct gr_stanza *st);
