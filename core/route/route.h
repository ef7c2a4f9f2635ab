/* route/route.h: stanzas on their way, seen from the streams below and the loops around. What modules
 * see of it is include/grapnel/route.h and session.h.
 *
 * A job carries one stanza through the hook chains of its sender and of its recipient; a receipt counts
 * everything that still has to do with a stanza and tells its origin when nothing has. */
#pragma once

#include "base/list.h"
#include "base/table.h"
#include "loop/loop.h"
#include "mod/acc.h"
#include "mod/hook.h"
#include "mod/instance.h"
#include "store/store.h"

#include <grapnel/module.h>

#include <stdatomic.h>

/* --- receipts (receipt.c) --- */

struct receipt {
    _Atomic unsigned refs;
    _Atomic unsigned failed;    /* holders that could not do their part (socket gone) */
    bool kept;                  /* the origin holds a durable copy: do not route again on failure */
    uint8_t copies;             /* of one message for several sessions: see gr_held.copy */
    atomic_bool refused;        /* an error was sent for the stanza */
    struct receipt *part_of;    /* of the same stanza, which waits for this one; or NULL */
    struct loop *home;
    struct post post;
    void (*handled)(struct receipt *r, bool ok); /* on `home`, after the last release; frees */
    struct store_bond *bond;    /* its origin counts upon what is stored; or NULL: the rest is not in use */
    _Atomic unsigned open;      /* holders other than transactions that are queued */
    _Atomic bool stored, told;  /* there was one of those; promised() was called */
    struct post early;
    void (*promised)(struct receipt *r); /* on `home`, once: only those have to do with it any more */
};
/* refs 1; embedded in whatever `handled` knows. Home: the calling loop. */
void receipt_init(struct receipt *r, void (*handled)(struct receipt *r, bool ok));
struct receipt *receipt_ref(struct receipt *r);      /* accepts NULL; any thread */
void receipt_release(struct receipt **take, bool ok); /* accepts NULL; any thread */
/* Of the stanza itself: what it is part of. NULL for NULL. */
struct receipt *receipt_whole(struct receipt *r);
/* May an error be sent for the stanza? Once. Accepts NULL (true); any thread. */
bool receipt_refuse(struct receipt *r);
/* From now on, while its origin alone has it: whatever is stored on its behalf counts for that bond. */
void receipt_count_upon(struct receipt *r, struct store_bond *bond);
/* One holder waits only for a transaction, which is queued now: it gives the receipt back as `bound`. */
void receipt_bind(struct receipt *r);
void receipt_give_back(struct receipt **take, bool ok, bool bound); /* accepts NULL */

/* --- jobs (job.c) --- */

enum job_stage {
    JOB_REFUSED, JOB_SEND_PACKET, JOB_SEND_TYPE, JOB_SENT, /* on the sender's home, per session in order */
    JOB_ROUTE,                                       /* filter_packet, then to where `to` lives    */
    JOB_LOCAL, JOB_RECEIVED, JOB_DELIVER,            /* on the recipient's home, per account       */
    JOB_PREFER,                                      /* the session provider chooses, then DELIVER */
    JOB_EXISTS, JOB_EXISTED, JOB_OFFLINE, JOB_SUBSCRIPTION, JOB_SUBSCRIBED, JOB_DONE
};
struct job {
    struct gr_stanza_ev e;
    struct gr_acc acc;               /* e.ev.acc */
    struct gr_user_ev exists;        /* for does_user_exist */
    struct post post;
    struct link link;                /* in the queue of its session or lane */
    struct receipt *receipt;         /* or NULL; from a client: the job's own */
    struct gr_jid *own_from, *own_to;/* what e.from and e.to point to when not into the stanza */
    enum job_stage stage;
    enum gr_hook_id offline_hook;
    enum gr_verdict verdict;
    bool answered, suspended;        /* of the chain in progress */
    bool by_client;                  /* came from a session of this loop: */
    uint64_t sender_id;
    bool counted;                    /* as the client's `number`th stanza (XEP-0198) */
    uint32_t number;
    struct gr_stanza *refusal;       /* JOB_REFUSED: the answer, or NULL */
    struct receipt own;              /* keeps the struct until the session was told */
    bool asked;                      /* JOB_PREFER is over: */
    enum gr_result preference;       /* its answer; ERROR: the core chooses */
    char *preferred;                 /* with OK: the resource, or "" for all */
    struct gr_session *sender;       /* while in its queue */
    struct lane *lane;               /* while it blocks or waits for an account */
    uint64_t turn;                   /* hash of the account whose turn it is */
};

/* A stanza from a client, its addresses checked by the stream. Takes it. */
void job_from_client(struct gr_session *s, struct gr_stanza *take);
/* One that the stream itself answers (take_answer, NULL: with silence): in its turn, and counted. */
void job_refused(struct gr_session *s, struct gr_stanza *take, struct gr_stanza *take_answer);
/* Something that is no stanza, or anything before the session is bound: user_send_xmlel only. */
void job_xmlel(struct gr_session *s, struct gr_stanza *take);
/* Routes (filter_packet first), behind the current event. cause: the accumulator of the stanza on whose
 * behalf it is sent, or NULL. The receipt may be NULL and is taken. */
void job_route(struct gr_stanza *take, const struct gr_acc *cause, struct receipt *take_receipt);
/* Is it about something that this session has sent? */
bool job_is_own(const struct receipt *r, const struct gr_session *s);
/* Straight to the recipient's account (no filters): what a session could not be given any more. */
void job_redeliver(struct gr_stanza *take);
/* The same; the receipt, which may be NULL, is taken. */
void job_redeliver_held(struct gr_stanza *take, struct receipt *take_receipt);
/* Of all loops: stanzas on their way. */
size_t job_count(void);
/* Lanes still blocked, for tests and metrics. */
size_t job_lanes(void);

/* --- deciding (router.c, deliver.c) --- */

/* Where stanzas for domains that are not ours go; takes the job's stanza reference only on true. */
extern bool (*route_remote)(struct job *j);
/* The error for j's stanza, sent back to where it came from (RFC 6120, 8.3). */
void route_bounce(struct job *j, enum gr_cond cond, const char *text);
/* Delivery to an account of this loop (RFC 6121, 8.5): sets the next stage. */
enum job_stage deliver_to_account(struct job *j);
/* A stanza addressed to the host itself. */
void deliver_to_host(struct job *j);
/* Presence for every available resource of the account. */
void deliver_to_available(struct job *j);
/* user_receive_* .. xmpp_send_element for one session: stanza, from, to and reach of `what`; all is
 * borrowed. */
void deliver_stanza(struct gr_session *s, const struct gr_stanza_ev *what, struct gr_acc *acc,
                    struct receipt *receipt);
/* What a module has held back: xmpp_presend_element and what follows. Borrowed. */
void deliver_held(struct gr_session *s, struct gr_held *h);
/* Carries out what handlers asked of the session (hooks.md 2.3); s NULL: a chain without one. */
void deliver_requests(struct gr_session *s, struct gr_acc *acc);

/* --- iqs (iq.c) --- */

/* A get or set for the host or an account: finds the handler or answers the error. */
void iq_request(struct job *j, unsigned where);
/* A result or error for the host or an account: finds who asked. */
void iq_response(struct job *j);
