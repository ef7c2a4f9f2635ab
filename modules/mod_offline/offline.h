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

/* --- queue.c: one account's messages while they are delivered --- */

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
    enum sent_state state;
    struct gr_stanza *stanza; /* as sent */
    char *key;                /* tells it from the others on their way: see sent_key */
};
struct queue {
    struct queue *next;       /* in its bucket */
    struct gr_mod *self;
    struct gr_jid *owner;     /* bare */
    bool draining, reading, again, failed, eof, blocked, deleting;
    unsigned pins;            /* callers that look at it again */
    bool off;                 /* deleting does not work now: after the pause */
    bool gathering;           /* what is handled: deleted after this turn */
    struct gr_timer gather;
    uint64_t cursor;          /* rows before it were looked at */
    struct sent *sent;
    struct gr_timer retry;
    bool armed;
    int64_t backoff_ms;
};
#define QUEUE_BUCKETS 256
struct offline { /* the state of an instance */
    struct queue *bucket[QUEUE_BUCKETS];
    struct keep *keeping;     /* messages on their way to the disk */
    struct retrieval *retrievals;
    bool retired; /* after a reload: the successor delivers */
};

struct queue *queue_find(struct gr_mod *self, const struct gr_jid *jid);
struct queue *queue_get(struct gr_mod *self, const struct gr_jid *jid); /* creates */
/* Frees it when nothing happens any more. */
void queue_release(struct queue *q);
void queues_free(struct offline *o);
/* A reload: what is on its way is named to the successor, which leaves it alone for a while. */
void queues_save(struct offline *o, struct gr_bag *bag);
void queues_restore(struct gr_mod *self, const struct gr_bag *bag);
struct sent *queue_sent(struct queue *q, uint64_t seq);
unsigned queue_count_sent(const struct queue *q, enum sent_state state);
void queue_drop_sent(struct queue *q, struct sent *take);

/* --- keep.c: storing --- */

enum gr_verdict keep_message(struct gr_mod *self, struct gr_stanza_ev *ev);
/* XEP-0079: a message that nobody would get is stored, if it is one that is. */
enum gr_verdict keep_strategy(struct gr_mod *self, struct gr_amp_ev *ev);
void keep_forget(struct offline *o); /* at shutdown: nothing completes any more */

/* 0 or GR_EINVAL: damaged. */
int row_parse(const struct gr_row *row, int64_t *time_us, struct gr_stanza **out);

/* --- drain.c: delivering --- */

void drain(struct queue *q);
/* The same after a pause. */
void drain_later(struct queue *q, int64_t ms);
/* Deletes at once what was to be deleted after this turn. */
void drain_delete_gathered(struct queue *q);
/* Looks what can be done now; may free the queue. */
void drain_continue(struct queue *q);
/* Is it one of those on their way, which found nobody? Then it is marked. */
bool drain_took_back(struct queue *q, const struct gr_stanza_ev *ev);

/* --- retrieve.c: XEP-0013 --- */

#define NS_OFFLINE "http://jabber.org/protocol/offline"
extern const struct gr_slot *const retrieve_slots[];
enum gr_verdict retrieve_disco(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict retrieve_gone(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict retrieve_left(struct gr_mod *self, struct gr_session_ev *ev);
void retrieve(struct gr_mod *self, struct gr_iq_ev *ev);
void retrievals_free(struct offline *o); /* at shutdown: nothing completes any more */
/* Does a client of the account see to its messages itself? Then none are sent. */
bool retrieves_itself(struct gr_mod *self, const struct gr_account *a);

/* The delay that this host has put into a message, NULL: none (XEP-0203). */
struct gr_el *own_delay(struct gr_mod *self, const struct gr_stanza *st);
