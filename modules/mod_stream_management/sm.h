/* mod_stream_management/sm.h: what the files of the module share.
 *
 * A session that asked for it has a `struct sm`: the queue of what its client has not acknowledged, and
 * the counters. It lives on while the session has no stream. */
#pragma once

#include <grapnel/module.h>

#define NS_SM "urn:xmpp:sm:3"

struct sm_conf {
    int64_t resume_timeout, ack_timeout, queue_limit, queue_size, kept_sessions, ack_frequency;
    const char *location;
};

#define HASH_SIZE 32

struct sm {
    uint64_t session;            /* gr_session_id */
    uint8_t hash[HASH_SIZE];     /* SHA-256 of the SM-ID */
    int64_t timeout_ms;          /* how long it waits for its client; 0: not resumable */

    bool begun;                  /* its client was told, or is about to be: counting has begun */

    /* What went to the client: numbers below `acked` it has, the queue holds those from there on. */
    uint64_t acked;
    unsigned count;
    size_t bytes;
    struct gr_held *first, *last;
    struct gr_held *unwritten;   /* the first that is in no transaction yet */
    uint64_t answered;           /* behind the last that answers something of its client's */
    uint64_t disk_from, disk_to; /* numbers that have rows */
    unsigned since_ask;          /* stanzas sent since the last <r/> */
    bool asked;                  /* that is unanswered */
    int64_t asked_ms;
    int64_t over_ms;             /* since when the queue has been too long; 0: it is not */

    /* Its end: without a stream, when that is up / with one, when <r/> is not answered. */
    struct gr_timer timer;
    bool armed, gone;
    bool closing;                /* there were too many: it ends after this event */
    int64_t gone_ms;             /* since when */

    /* The journal. */
    uint32_t durable;            /* h on disk: what may be told */
    uint32_t claimed;            /* h as it was written last, perhaps not on disk yet */
    uint32_t promise;            /* what that stands on (gr_session_promise) */
    unsigned flights;            /* transactions under way that have rows of it */
    bool through;                /* stanzas for its client are written at the end of this turn */
    bool stored;                 /* something was, for what claimed does not count */
    uint32_t told, wanted;       /* h told last; <r/> has asked up to there */
    bool wants;                  /* and is not answered fully yet */
    bool image_dirty, urgent, touched, rows;
    int64_t touched_ms;
    uint64_t looked_at;          /* the number of the next stanza when it was looked last */
    struct sm *touched_next, **touched_at; /* at: what points to it */

    /* Made again after a restart: the queue up to number disk_to is on disk only. */
    bool on_disk;
    bool unclean;                /* that was a crash: more may have been sent than is known */
    uint64_t crashed_at;         /* unclean: numbers from there on came later, no client has those */
    uint64_t void_from, void_to; /* rows of stanzas that have other numbers now */
    unsigned numbering;          /* how often that was */
    bool revived;                /* and has not been resumed since */
    bool missed;                 /* presence, since that was a crash */

    struct resuming *resuming;   /* a stream that waits to take over */
    char *previd;                /* what its client called it when it resumed last */
};

struct record;
struct flight {                  /* a transaction that is being made */
    struct record *record;
    size_t count, cap;
    struct gr_txn *txn;
};

struct ending;
struct rows;
struct state {
    struct ending *endings;      /* end.c */
    struct rows *rows;           /* rows.c */
    struct sm *touched;          /* who may have something to write */
    struct gr_timer tick;
    int64_t tick_ms;
    bool ticking, stopping, retired, cleaned;
    bool urgent;                 /* one of the touched ones may be; false: none is */
    unsigned flights;            /* transactions of ticks under way */
    struct flight turn;          /* what this turn of the loop writes */
    struct stale *stale;         /* ring of sessions that ended: stale.c */
    unsigned stale_next;
};

extern const struct gr_slot sm_slot;

/* mod_stream_management.c */
struct sm *sm_of(struct gr_mod *self, const struct gr_session *s); /* NULL: not enabled */
struct gr_session *sm_session(struct gr_mod *self, const struct sm *sm);

/* elements.c: what the client says that is no stanza */
enum gr_verdict on_element(struct gr_mod *self, struct gr_stanza_ev *ev);
struct gr_stanza *enable(struct gr_mod *self, struct gr_session *s, const struct gr_el *request);
struct gr_stanza *failure(enum gr_cond cond, const uint32_t *h);
void failed(struct gr_mod *self, struct gr_session *s, enum gr_cond cond, const uint32_t *h);
void too_high(struct gr_mod *self, struct gr_session *s, uint32_t h, uint32_t sent);
void tell_h(struct gr_mod *self, struct gr_session *s, struct sm *sm); /* if somebody asked */
bool attr_u32(const struct gr_el *el, const char *name, uint32_t *out);
void hash_of(const char *id, uint8_t out[HASH_SIZE]);

/* enable.c: <enable/> as an element / in a login, and when that is about to be answered */
enum gr_verdict enable_alone(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict enable_with_bind(struct gr_mod *self, struct gr_inline_ev *ev);
enum gr_verdict enabled_with_bind(struct gr_mod *self, struct gr_inline_ev *ev);

/* queue.c: what went to the client */
void queue_sent(struct gr_mod *self, struct gr_session *s, struct gr_held *take);
uint64_t queue_first(const struct sm *sm); /* the number of the first that is not acknowledged */
uint32_t queue_sent_count(const struct sm *sm);
enum ack { ACK_OLD, ACK_SAME, ACK_MORE, ACK_TOO_HIGH };
enum ack queue_judge(const struct sm *sm, uint32_t h);
void queue_acked(struct sm *sm, uint32_t h);
void queue_ask(struct gr_mod *self, struct gr_session *s, struct sm *sm);
void queue_again(struct gr_mod *self, struct gr_session *s, struct sm *sm); /* sends it all again */
void queue_free(struct sm *sm);
void queue_find_unwritten(struct sm *sm);
/* Tells who wants to know of each message in it. */
void queue_tell(struct gr_mod *self, struct gr_session *s, const struct sm *sm);

/* journal.c: the session has something to write: soon, or in the next transaction / it goes. */
void journal_touch(struct gr_mod *self, struct sm *sm, bool urgent);
/* Does h on disk lag behind what may be written? */
bool journal_has_news(struct gr_session *s, const struct sm *sm);
void journal_write(struct gr_mod *self, struct gr_session *s, bool last); /* keeper.write */
/* The rows of a new session; the image in it, for the caller to free. */
uint8_t *journal_put_first(struct gr_mod *self, struct gr_txn *t, struct gr_session *s, struct sm *sm,
                           size_t *image_len);
void journal_forget(struct sm *sm);
void journal_retire(struct state *st); /* another version takes over */

/* end.c: the session is over; everything goes elsewhere / the same of one that is on disk only / of one of
 * which nobody knows what is there */
void end_session(struct gr_mod *self, const struct gr_jid *full, struct sm *sm);
void end_rows(struct gr_mod *self, const struct gr_jid *full, const uint8_t hash[HASH_SIZE],
              uint64_t from, uint64_t to);
void end_damaged(struct gr_mod *self, const struct gr_jid *full, const uint8_t hash[HASH_SIZE]);
void end_stop(struct state *st);

/* rows.c: what it had on disk, and rows of the queue from number `from` to before `to`, deleted for good */
struct rows *rows_new(const struct gr_jid *full, const uint8_t hash[HASH_SIZE]);
void rows_free(struct rows **take);
void rows_add(struct rows *r, uint64_t from, uint64_t to);
void rows_delete(struct gr_mod *self, struct rows *take);
void rows_save(struct state *st, struct gr_bag *bag);
void rows_restore(struct gr_mod *self, const struct gr_bag *bag);
void rows_stop(struct state *st);

/* revive.c, load.c: after a restart; `h` is what the client has got: then resume_look */
enum gr_verdict on_node_cleanup(struct gr_mod *self, struct gr_domain_ev *ev);
void load(struct gr_mod *self, struct sm *sm, uint32_t h);

/* missed.c: it has been resumed */
void ask_for_missed(struct gr_mod *self, struct gr_session *s, struct sm *sm);

/* life.c: without a stream, and with another one */
enum gr_verdict on_stream_lost(struct gr_mod *self, struct gr_session_ev *ev);
enum gr_verdict on_stop_request(struct gr_mod *self, struct gr_session_ev *ev);
void life_arm(struct gr_mod *self, struct sm *sm, int64_t ms);
void life_rearm(struct gr_mod *self, struct sm *sm);
enum gr_verdict resume(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict resume_inline(struct gr_mod *self, struct gr_inline_ev *ev);
void resume_look(struct gr_mod *self, struct gr_session *s, struct sm *sm);
void resume_cancel(struct gr_mod *self, struct sm *sm, enum gr_cond cond);
void resumed(struct gr_mod *self, struct gr_session *s);

/* stale.c: how much of what they sent was handled, of sessions that ended */
void stale_add(struct state *st, const struct sm *sm, const struct gr_jid *jid, uint32_t h);
bool stale_find(const struct state *st, const uint8_t hash[HASH_SIZE], const struct gr_jid *jid,
                uint32_t *h);
void stale_save(const struct state *st, struct gr_bag *bag);
void stale_restore(struct state *st, const struct gr_bag *bag);
void stale_free(struct state *st);
