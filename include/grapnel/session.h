/* grapnel/session.h: hosts, accounts with live sessions, and sessions.
 *
 * A session is a client's stay on the server: it exists from the accepted connection on and gets
 * its bare JID at authentication and its full JID at resource binding. From authentication on it
 * lives on the home loop of its account, with all other sessions of that account, and only there
 * may it be touched. Handlers get borrowed pointers; nobody but the core destroys a session: ask
 * with gr_session_close. Keep (jid, gr_session_id) across events, never the pointer. */
#pragma once

#include <grapnel/stanza.h>

struct gr_mod;
struct gr_host;
struct gr_account;
struct gr_session;

GR_API const char *gr_host_name(const struct gr_host *host);
/* A host of this server by its (prepared) domain, as the calling loop has it; NULL: none of ours. */
GR_API struct gr_host *gr_host_find(const char *domain);
/* Does the calling loop own what belongs to this address? For work that every loop does its share
 * of. */
GR_API bool gr_is_home(const struct gr_jid *jid);

enum gr_session_state {
    GR_S_CONNECTED,      /* a stream, nobody yet                         */
    GR_S_AUTHENTICATED,  /* bare JID known                               */
    GR_S_BOUND,          /* full JID known, in the session table         */
    GR_S_CLOSING         /* output only; nothing will be delivered       */
};

GR_API uint64_t gr_session_id(const struct gr_session *s);    /* unique per process, never reused */
GR_API enum gr_session_state gr_session_state(const struct gr_session *s);
GR_API struct gr_host *gr_session_host(const struct gr_session *s); /* NULL before stream header */
GR_API const struct gr_jid *gr_session_jid(const struct gr_session *s); /* NULL, bare, then full */
GR_API struct gr_account *gr_session_account(const struct gr_session *s); /* NULL until bound */
/* Text lives as long as the session. */
GR_API const char *gr_session_ip(const struct gr_session *s);
GR_API bool gr_session_is_tls(const struct gr_session *s);
GR_API const char *gr_session_auth_mech(const struct gr_session *s); /* NULL before SASL */
/* When that by which it logged in ends, in seconds since 1970; 0: not by itself, it was a password. What
 * lets somebody in must not be given to it for longer. */
GR_API int64_t gr_session_auth_until(const struct gr_session *s);
GR_API const char *gr_session_lang(const struct gr_session *s);  /* stream's xml:lang or NULL */
/* What a client said of itself when it logged in (XEP-0388, 2.3), for its own account's eyes only: the id
 * of its installation, a UUID in lower case; its name; the device it runs on. NULL: nothing. */
GR_API const char *gr_session_client_id(const struct gr_session *s);
GR_API const char *gr_session_client_software(const struct gr_session *s);
GR_API const char *gr_session_client_device(const struct gr_session *s);

/* Presence as the session table knows it. set_presence with an available presence stores it (and
 * runs `set_presence`); with NULL marks the session unavailable (and runs `unset_presence`, only
 * when it was available; status may be NULL). The presence module is the one caller. */
GR_API bool gr_session_available(const struct gr_session *s);
GR_API int gr_session_priority(const struct gr_session *s);      /* -128..127, 0 when unavailable */
GR_API struct gr_stanza *gr_session_presence(const struct gr_session *s); /* borrowed, or NULL */
GR_API int64_t gr_session_presence_us(const struct gr_session *s); /* wall time it arrived */
GR_API int64_t gr_session_available_us(const struct gr_session *s); /* ... the first with that priority */
GR_API void gr_session_set_presence(struct gr_mod *self, struct gr_session *s,
                                    struct gr_stanza *presence, const char *status);

/* The account that lives here (on this loop) with at least one session, else NULL. Of any host of the
 * server, not only of self's: compare jid->domain when that matters. */
GR_API struct gr_account *gr_account_find(struct gr_mod *self, const struct gr_jid *jid);
GR_API const struct gr_jid *gr_account_jid(const struct gr_account *a); /* bare */
/* Bound sessions in the order of binding; prev NULL starts. */
GR_API struct gr_session *gr_account_next(const struct gr_account *a, struct gr_session *prev);
/* By resource, or by gr_session_id (0: by the resource of `full`); of this loop, NULL when gone. */
GR_API struct gr_session *gr_account_session(const struct gr_account *a, const char *resource);
GR_API struct gr_session *gr_session_find(struct gr_mod *self, const struct gr_jid *full,
                                          uint64_t id);

/* Calls f for every bound session of self's host that lives on this loop, in no order; GR_RUN_ALL or a
 * timer of every instance covers the host. f may send, write and close, which is done later. */
GR_API void gr_each_session(struct gr_mod *self,
                            void (*f)(struct gr_mod *self, struct gr_session *s, void *ctx),
                            void *ctx);
/* The same for a part of them, so that many do not keep the loop: looks at up to `limit` sessions, of
 * whatever host, behind *at, which begins with 0 and is moved on; f returns false to stop behind that
 * one. Whether there are more. Who comes or goes between two calls is seen or not, nobody twice. */
GR_API bool gr_some_sessions(struct gr_mod *self, uint64_t *at, size_t limit,
                             bool (*f)(struct gr_mod *self, struct gr_session *s, void *ctx),
                             void *ctx);

/* To the client behind `s`: takes the stanza. deliver runs user_receive_* and what follows (as the
 * session's next event); write goes straight to the stream, running only xmpp_send_element. */
GR_API void gr_session_deliver(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take);
GR_API void gr_session_write(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take);
/* Ends the session after the current event with that stream error (RFC 6120, 4.9.3; NULL: none),
 * e.g. "not-authorized". Passes user_stop_request unless `hard`. */
GR_API void gr_session_close(struct gr_mod *self, struct gr_session *s, const char *condition,
                             const char *text, bool hard);
/* Something for the handlers of foreign_event on the session with that gr_session_id, of the account
 * `jid` (its resource does not matter). From any loop; tag and data are copied and reach the session
 * on its home loop, in the order of the calls of one loop, authenticated or bound. A handler that
 * knows the tag (start it with the module's name) returns GR_STOP; when none does, or the session is
 * gone, that is logged. 0, GR_ELIMIT (longer than the bounds below) or GR_EAGAIN (10000 are on
 * their way on this server). */
#define GR_POST_MAX 65536
#define GR_POST_TAG_MAX 255
GR_API int gr_session_post(struct gr_mod *self, const struct gr_jid *jid, uint64_t id,
                           const char *tag, const void *data, size_t len);
/* How many stanzas this session sent that are not handled yet: not stored, written, answered. */
GR_API unsigned gr_session_unhandled(const struct gr_session *s);

/* --- a stanza on its way to a client, in the hands of a module ---
 *
 * Its receipt stays open: the sender's stanza is not handled (acknowledged), or the stored copy not
 * deleted, until gr_held_settle. Not across a reload in anything but a slot, whose release frees it. */
struct gr_held {
    struct gr_held *next;      /* for lists of the holder's */
    struct gr_stanza *stanza;
    int64_t time_us;           /* of the stanza (gr_acc_time_us) */
    uint8_t copy;              /* 0, or other sessions of the account were given it as well, those of
                                * this priority (less 1) or more */
    bool answer;               /* to something that this client has sent */
    bool counted;              /* by its sender's session (gr_session_promised), which waits for it */
    bool bound;                /* the core's */
    void *receipt;             /* the core's; NULL: nobody waits */
};
/* In xmpp_presend_element: takes the stanza out of its way; return GR_STOP then. */
struct gr_stanza_ev;
GR_API struct gr_held *gr_ev_hold_back(struct gr_stanza_ev *ev);
/* One for which nobody waits. Takes the stanza. */
GR_API struct gr_held *gr_held_new(struct gr_stanza *take, int64_t time_us);
/* It goes on: xmpp_presend_element again, with ev->flush set, and out. */
GR_API void gr_held_go_on(struct gr_mod *self, struct gr_session *s, struct gr_held *take);
/* Whoever waits for it need not wait any longer: the client has it, or it is on disk. Idempotent. */
GR_API void gr_held_settle(struct gr_held *h);
/* gr_held_settle follows once t is committed, or another after it (gr_txn_settles). Before
 * gr_txn_commit, which h must live to see. */
struct gr_txn;
GR_API void gr_txn_settles_held(struct gr_txn *t, struct gr_held *h);
/* Without gr_held_settle an origin that keeps a copy will send that again. Accepts NULL. */
GR_API void gr_held_free(struct gr_held **take);
/* Its session is gone: a message goes to another resource or to offline_message, a request gets its
 * error, the rest is dropped (RFC 6121, 8.5.3.2); what its origin has a copy of is left to the origin.
 * f is called as by gr_send_tracked when nobody has to do with it any more; f may be NULL. */
typedef void (*gr_rerouted_f)(struct gr_mod *self, void *data, bool delivered);
GR_API void gr_held_reroute(struct gr_mod *self, struct gr_held *take, gr_rerouted_f f,
                            void *take_data);

/* --- answering for a session's stanzas (XEP-0198) ---
 *
 * From gr_session_keep on the core neither reports nor routes again what it could not write to this
 * session: it gives every stanza for the client to the module whose slot was named, which is called in
 * the order of the stream, on the session's loop, and counts what the client sends. */
struct gr_keeper {
    /* Written to the stream, or there is none. May write, e.g. <r/>. */
    void (*sent)(struct gr_mod *self, struct gr_session *s, struct gr_held *take);
    /* Something that the client sent is handled: gr_session_handled may have grown. `stored`: something
     * was stored for it (gr_txn_settles), so that it must not come again. */
    void (*handled)(struct gr_mod *self, struct gr_session *s, bool stored);
    /* At the end of the loop's turn: gr_session_promised has grown, or gr_session_write_soon was called.
     * `last`: no other session of this keeper follows, so one transaction can be committed for all. */
    void (*write)(struct gr_mod *self, struct gr_session *s, bool last);
    /* What gr_session_image says has changed: presence, or a slot with `persist`. */
    void (*changed)(struct gr_mod *self, struct gr_session *s);
    /* The session goes on over another stream (gr_session_resume); nothing is written to it yet. */
    void (*resumed)(struct gr_mod *self, struct gr_session *s);
    /* The module goes (a reload without it, or with another version of the slot): the last word about
     * what it holds. The slot is released next; a session without a stream ends after this event. May be
     * NULL. */
    void (*leaves)(struct gr_mod *self, struct gr_session *s);
};
/* Counting starts with h: 0, or what the session's counter was (nothing may be in flight then). The
 * slot must be in use in this session, and have a keeper. */
struct gr_slot;
GR_API void gr_session_keep(struct gr_mod *self, struct gr_session *s, const struct gr_slot *slot,
                            uint32_t h);
/* How many stanzas the client has sent since, modulo 2^32 / how many of those are handled and all
 * before them: XEP-0198's h. In the order of the stream; stanzas that the stream refuses count. */
GR_API uint32_t gr_session_received(const struct gr_session *s);
GR_API uint32_t gr_session_handled(const struct gr_session *s);
/* The same with those that are handled once the store has committed what it was given to write for them
 * (gr_txn_settles): what may be written behind it with gr_txn_upon. Goes back to gr_session_handled when
 * something of that fails. */
GR_API uint32_t gr_session_promised(struct gr_session *s);
/* What is added to t from now on (puts and deletions) happens only when everything was committed on which
 * gr_session_promised stands, and every earlier transaction that was written upon it. Others in t are not
 * concerned. */
GR_API void gr_txn_upon(struct gr_txn *t, struct gr_session *s);
/* keeper.write is called at the end of this turn of the loop. */
GR_API void gr_session_write_soon(struct gr_session *s);
/* A number for what gr_session_promised stands on. When t was committed (rc 0) and it is still what it
 * was at gr_txn_upon, what was added then has happened; otherwise perhaps not. */
GR_API uint32_t gr_session_promise(struct gr_session *s);
/* What a slot's `persist` would say is another thing now. Costs nothing when nobody keeps it. */
GR_API void gr_session_changed(struct gr_mod *self, struct gr_session *s);
/* What is needed to make the session again after a restart; the caller frees it. */
GR_API void *gr_session_image(struct gr_mod *self, struct gr_session *s, size_t *len);
/* Makes it: bound and as available as it was, without a stream, slots with `revive` filled in; no hook
 * tells of it. On the account's home loop. f gets NULL when it cannot be: its host is gone, somebody has
 * the address, the bytes are damaged; take_data (gr_alloc'ed or NULL) is freed by the core afterwards. */
typedef void (*gr_revived_f)(struct gr_mod *self, struct gr_session *s, void *data);
GR_API void gr_session_revive(struct gr_mod *self, const void *image, size_t len, gr_revived_f f,
                              void *take_data);
/* Writes to the stream without telling anybody: what was sent before and is sent again, beyond the bound
 * of the output (limits.output_hard): the caller has bounded it. */
GR_API void gr_session_resend(struct gr_mod *self, struct gr_session *s, struct gr_stanza *st);
/* False: the session outlives its stream (a handler of user_socket_closed, ... wants it). */
GR_API bool gr_session_has_stream(const struct gr_session *s);
/* Takes the stream away with that error (RFC 6120, 4.9.3; NULL: none); the session stays. For handlers
 * of user_stop_request that return GR_STOP, and time-outs. Not while the stream's input is handled. */
GR_API void gr_session_detach(struct gr_mod *self, struct gr_session *s, const char *condition,
                              const char *text);
/* After the current event the stream of `fresh` (authenticated as the same account, not bound) becomes
 * that of `kept`; a stream that `kept` still has ends with <conflict/> (XEP-0198, 5). `fresh` is gone
 * then, without user_terminate; keeper.resumed follows. When one of them ends before, nothing
 * happens. GR_EINVAL: fresh is not in that state. */
GR_API int gr_session_resume(struct gr_mod *self, struct gr_session *kept,
                             struct gr_session *fresh);

/* Data of a module's own per session or account: zeroed on first use, released with the object (or
 * at a reload to a version that changed `version` or dropped the slot: then by the old code).
 * Timers in it stop when another instance takes the data over: at a reload the new version's, when a
 * session moves to its home loop the one there. */
struct gr_slot {
    const char *name;
    unsigned version;
    size_t size;
    void (*release)(void *data); /* what data points to, not data itself; may be NULL */
    /* `self` has taken `data` over and is in force: the place to start its timers again. May be NULL. */
    void (*moved)(struct gr_mod *self, void *data);
    /* Of a session that outlives the process: what to keep of `data` (gr_alloc'ed; NULL: nothing), and
     * how to get it back into zeroed `data`, by code with the same name and version: 0 or a gr_err. Tell
     * changes with gr_session_changed. May be NULL. */
    void *(*persist)(const void *data, size_t *len);
    int (*revive)(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes,
                  size_t len);
    /* Of the module that answers for the session's stanzas (gr_session_keep); else NULL. */
    const struct gr_keeper *keeper;
};
#define GR_SLOT(type, ver, rel) { .name = #type, .version = (ver), .size = sizeof(type), \
                                  .release = (rel) }
GR_API void *gr_session_slot(struct gr_mod *self, struct gr_session *s, const struct gr_slot *slot);
GR_API void *gr_account_slot(struct gr_mod *self, struct gr_account *a, const struct gr_slot *slot);
/* As above without creating: NULL when never used. */
GR_API void *gr_session_slot_peek(struct gr_mod *self, const struct gr_session *s,
                                  const struct gr_slot *slot);
GR_API void *gr_account_slot_peek(struct gr_mod *self, const struct gr_account *a,
                                  const struct gr_slot *slot);
