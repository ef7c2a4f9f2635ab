/* route/session.h: sessions and accounts, each on its home loop. */
#pragma once

#include "mod/provider.h"
#include "route/route.h"

/* What a session speaks through; a stream (or a test) fills it in. All on the session's loop. */
struct session_out {
    /* Queues the stanza for the client. With a receipt, one reference is taken and released when the
     * bytes are in the kernel. A message that cannot be written any more comes back through
     * session_unsent. 0 or GR_ECANCELED. */
    int (*write)(void *ctx, struct gr_stanza *st, struct receipt *receipt);
    /* Ends the stream with that stream error (NULL: none). The stream lets go of the session. */
    void (*close)(void *ctx, const char *condition, const char *text);
    /* Handling made progress: input may go on. */
    void (*resume)(void *ctx);
    const char *(*ip)(void *ctx);
    bool (*is_tls)(void *ctx);
    /* A top-level element that no module took (user_send_xmlel was not stopped). */
    void (*unclaimed)(void *ctx, const struct gr_stanza *st);
    /* From now on the stream is that of `s`, which is bound (resumption). NULL: it cannot. */
    void (*adopt)(void *ctx, struct gr_session *s);
    /* Writes what another stream was given and the client has not acknowledged, beyond the bound of the
     * output: whoever answers for the session has bounded it. NULL: as write. */
    void (*resend)(void *ctx, struct gr_stanza *st);
};
/* What a session speaks through that has no stream: nothing can be written, nothing happens. */
extern const struct session_out session_gone;

/* What the client has sent, for XEP-0198: a bit for every stanza from `handled` on. Twice what may be
 * in flight: that much is counted, that much waits in the queue. */
#define COUNTED_MAX 128
#define COUNTED_BITS (2 * COUNTED_MAX)
struct session_counts {
    struct gr_session *session;
    uint32_t received, handled;
    uint64_t done[COUNTED_BITS / 64];
    /* promise.c: handled once what is queued for the store is committed, and all before. */
    uint32_t promised;
    uint64_t sure[COUNTED_BITS / 64]; /* as done: those that wait for nothing else */
    struct store_bond *bond;          /* of all that is stored for them; or NULL: none yet */
    uint32_t promise;                 /* how many bonds there were */
    struct link news;                 /* while its keeper is to be told */
};

struct gr_session {
    struct table_node by_id;
    struct link of_account;
    uint64_t id;
    enum gr_session_state state;
    bool available, queue_busy;
    bool ending;                     /* session_terminate was called; waits for pins */
    enum gr_end_reason end_reason;
    int8_t priority;
    unsigned unhandled;
    unsigned pins;                   /* jobs in the queue, binding in progress */
    struct loop *loop;
    struct gr_host *host;
    struct gr_account *account;
    struct gr_jid *jid;
    const struct session_out *out;
    void *out_ctx;
    char *lang, *auth_mech;
    int64_t auth_until_s;            /* when that by which it logged in ends; 0: not by itself */
    char *client_id, *client_software, *client_device; /* <user-agent/> of XEP-0388; or NULL */
    char *http_identity;             /* whose web session it came with; NULL: none */
    struct gr_stanza *presence;
    int64_t presence_us, available_us, since_us;
    struct slots slots;
    struct session_counts *counts;   /* NULL: nobody counts */
    struct provider_insts providers;
    struct link queue;               /* jobs from the client, in order; the first one runs */
    struct link unsent;              /* stanzas that never reached the socket */
    struct link successors;          /* bindings that wait until it has left the table */
};
struct gr_account {
    struct table_node by_jid;
    struct gr_jid *jid;              /* bare */
    struct gr_host *host;
    struct link sessions;            /* in the order of binding */
    unsigned count;
    struct slots slots;
};

/* What route keeps per loop. */
struct route_loop {
    struct table accounts;           /* with at least one session */
    struct table sessions;           /* by id */
    struct table lanes;              /* accounts with a suspended job */
    struct table asks;               /* iqs sent, waiting for the answer, by id */
    size_t bound;                    /* sessions in the session table */
    struct link promises;            /* session_counts whose keepers are to be told */
    struct flush promise_flush;
};
struct route_loop *route_loop(void);

/* A session for an accepted connection, on the calling loop. */
struct gr_session *session_new(const struct session_out *out, void *ctx);
/* Off the old loop's tables / on the new one's: the stream moves home. Nothing may be in flight. */
void session_detach(struct gr_session *s);
void session_attach(struct gr_session *s);
struct gr_session *session_by_id(uint64_t id);

/* SASL is through: bare JID known. On the home loop. Takes jid. */
void session_authenticated(struct gr_session *s, struct gr_jid *take_bare, const char *mech);

/* Resource binding (RFC 6120, 7): resource NULL or "": the server chooses. done tells the outcome:
 * cond GR_COND_NONE and the session is bound, or the error to answer. Not called when the session
 * ended meanwhile. */
typedef void (*session_bound_f)(struct gr_session *s, enum gr_cond cond, const char *text);
void session_bind(struct gr_session *s, const char *resource, struct gr_stanza *request,
                  session_bound_f done);

/* Its stream ends after the current event: it may not open. */
void session_turn_away(struct gr_session *s);

/* Into the table, under that address, which is free. */
void session_enter(struct gr_session *s, struct gr_jid *take_full);

enum session_stop { SESSION_SOCKET_CLOSED, SESSION_SOCKET_ERROR, SESSION_STOP_REQUEST };
/* Asks the modules first (user_socket_closed, ...); true: somebody keeps the session. */
bool session_kept(struct gr_session *s, enum session_stop why, const char *reason);
/* A stanza that the stream could not write; re-routed when the session ends. */
void session_unsent(struct gr_session *s, struct gr_stanza *st);
/* The same; the receipt (or NULL) is kept until the stanza is somewhere else. */
void session_unsent_held(struct gr_session *s, struct gr_stanza *st, struct receipt *receipt);
/* What a session that is gone was not given goes on elsewhere. Both are borrowed. */
void session_reroute(struct gr_stanza *st, struct receipt *receipt);
/* The end: user_terminate, out of the table, what was queued goes on elsewhere; frees. What the client
 * sent before is worked off first. The stream has let go of the session and is not called again. */
void session_terminate(struct gr_session **take, enum gr_end_reason reason);
/* The same from our side: the stream is told to end with that error first. */
void session_end(struct gr_session *s, const char *condition, const char *text,
                 enum gr_end_reason reason);
/* At the end of the process: sessions that outlive it go from memory, and no hook tells of it. On each
 * loop, after what they had sent is handled. */
void session_forget_kept(void);
/* Stanzas of this loop's sessions that are not handled yet. */
size_t session_unhandled_total(void);
/* Its stream ends, if it has one; the session stays. */
void session_let_go(struct gr_session *s, const char *condition, const char *text);

/* --- keep.c: somebody answers for what is sent to the client --- */
static inline bool session_is_kept_by(const struct gr_session *s)
{
    return s->slots.keeper != NULL;
}
/* Given to the stream; only when session_is_kept_by. */
void session_sent(struct gr_session *s, struct gr_stanza *st, int64_t time_us,
                  struct receipt *receipt);
/* A job's turn has come: when somebody counts and it is a stanza, it gets its number / it is handled. */
void session_count(struct job *j);
void session_counted(struct gr_session *s, const struct job *j);
/* promise.c: the job is handled but for commits / what is stored for it counts / `handled` moves on. */
void session_promised(struct gr_session *s, const struct job *j);
void session_count_upon(struct session_counts *c, struct job *j);
void session_promise_advance(struct session_counts *c);
void session_promise_handled(struct session_counts *c);
void session_counts_free(struct session_counts **take);
/* More is in flight than can be counted: input waits. */
bool session_counts_full(const struct gr_session *s);

/* While pinned a session is not freed. unpin may free it. */
void session_pin(struct gr_session *s);
void session_unpin(struct gr_session *s);
/* Of another session's or command's will: out->close follows after the current event. */
void session_request_close(struct gr_session *s, const char *condition, const char *text, bool hard);

struct gr_account *account_find(const struct gr_jid *jid);
struct gr_account *account_get(const struct gr_jid *jid, struct gr_host *host); /* creates */
void account_release_if_idle(struct gr_account *a);
/* Of this loop, for commands and shutdown. */
void session_each(void (*f)(void *ctx, struct gr_session *s), void *ctx);

/* The built-in module of the session manager (sm.c), what it answers about sessions (sm_provider.c), and
 * the set-up of the layer. */
extern const struct gr_module sm_module;
extern const struct gr_session_provider sm_provider;
void route_init(void);
void route_fini(void);
