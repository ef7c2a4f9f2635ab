/* grapnel/hooks.h: every hook, its kind and its event.
 *
 * A chain belongs to one host, or is the global chain (scope G). Handlers run in ascending priority,
 * ties in module start order. On return:
 *   GR_OK       the next handler runs
 *   GR_STOP     the chain ends; for verdict hooks (kind V) the caller acts on it
 *   GR_DROP     filter_packet and filter_local_packet only: the stanza disappears silently
 *   GR_FAIL     logged; the accumulator, the stanza and the members of the event are as before this
 *               handler (only elements added to features or disco results stay); the next one runs
 *   GR_PENDING  hooks marked P: the chain waits for gr_resume() of a hold taken with gr_hold();
 *               later stanzas of the same entity wait behind it, in order
 * Kind V: verdict and accumulator count. Kind A: only the accumulator. Kind N: nothing; the handler
 * returns void. Events are borrowed until the handler returns, or, after GR_PENDING, until resume. */
#pragma once

#include <grapnel/hook_list.h>
#include <grapnel/rsm.h>
#include <grapnel/session.h>

enum gr_verdict { GR_OK, GR_STOP, GR_DROP, GR_FAIL, GR_PENDING };

/* Where handlers usually stand; any number from 1 is legal, smaller runs earlier. */
enum gr_prio {
    GR_PRIO_FIRST = 1, GR_PRIO_SECURITY = 5, GR_PRIO_PRIVACY = 10, GR_PRIO_POLICY = 20,
    GR_PRIO_NORMAL = 50, GR_PRIO_ARCHIVE = 60, GR_PRIO_COPY = 89, GR_PRIO_LATE = 90,
    GR_PRIO_LAST = 100
};

/* --- the accumulator of a stanza --- */

enum gr_origin { GR_FROM_C2S, GR_FROM_S2S, GR_FROM_COMPONENT, GR_FROM_SERVER, GR_FROM_ADMIN };

struct gr_acc;
/* Unique per process; the same for all sessions that one stanza is given to. */
GR_API uint64_t gr_acc_ref(const struct gr_acc *acc);
GR_API int64_t gr_acc_time_us(const struct gr_acc *acc);    /* *the* time of the message */
GR_API enum gr_origin gr_acc_origin(const struct gr_acc *acc);
/* Was it given to a session already that could not write it? Then user_receive_* has run once for it. */
GR_API bool gr_acc_again(const struct gr_acc *acc);
/* Keyed notes from handler to handler. Values are copied text. Ordinary ones vanish when the stanza
 * leaves the sender's context (entering local delivery), permanent ones stay. NULL value deletes.
 * GR_FAIL takes back what the failing handler noted. */
GR_API void gr_acc_set(struct gr_acc *acc, const char *ns, const char *key, const char *value);
GR_API void gr_acc_set_permanent(struct gr_acc *acc, const char *ns, const char *key,
                                 const char *value);
GR_API const char *gr_acc_get(const struct gr_acc *acc, const char *ns, const char *key);

/* --- events --- */

struct gr_run; /* the core's bookkeeping of one running chain */

struct gr_ev {            /* first member of every event */
    struct gr_host *host; /* whose chain runs; NULL in the global chain */
    struct gr_acc *acc;   /* NULL where hooks.md gives the hook no stanza accumulator */
    struct gr_run *run;
    unsigned failed;      /* handlers of this run that failed so far */
};

/* A stanza on its way. `session` is the sender's in user_send_*, the recipient's in user_receive_*,
 * else NULL. from and to are the routing addresses (always set); the stanza's attributes agree. */
struct gr_stanza_ev {
    struct gr_ev ev;
    struct gr_session *session;
    const struct gr_jid *from, *to;
    struct gr_stanza *stanza;   /* borrowed; gr_ev_edit() for a changeable one */
    bool flush;                 /* xmpp_presend_element: a buffered stanza on its second way */
    bool deliver;               /* roster_in_subscription: result, "deliver to the client" */
    int send_result;            /* xmpp_send_element: 0 or a gr_err */
    int reach;                  /* user_receive_*: every available session of the account with this
                                 * priority or a higher one is given the stanza, not only `session` */
    void *receipt;              /* the core's: who waits for it (gr_ev_hold_back) */
};
#define GR_REACH_ONE 128        /* higher than any priority: `session` alone */
/* The event's stanza for changing (a copy when it is shared); goes on instead of the old one. Also
 * usable to redirect in the filter hooks. */
GR_API struct gr_stanza *gr_ev_edit(struct gr_stanza_ev *ev);
/* Appends a child to the event's stanza, as gr_el_add does, for gr_el_set(ev->stanza, ...) and the like
 * in the same handler: without the copy when nobody else has the stanza. NULL: its parent's. */
GR_API struct gr_el *gr_ev_append(struct gr_stanza_ev *ev, const char *ns, const char *name);
GR_API void gr_ev_replace(struct gr_stanza_ev *ev, struct gr_stanza *take);
GR_API void gr_ev_redirect(struct gr_stanza_ev *ev, const struct gr_jid *from,
                           const struct gr_jid *to); /* NULL keeps; filter hooks only */

/* Requests to the session engine, carried out after the chain, in this order: hard stop; stop;
 * socket sends; routes; deliveries (hooks.md 2.3). Part of the accumulator: GR_FAIL takes them back. */
GR_API void gr_ev_request_stop(struct gr_ev *ev, const char *condition);
GR_API void gr_ev_request_hard_stop(struct gr_ev *ev, const char *condition);
GR_API void gr_ev_request_write(struct gr_ev *ev, struct gr_stanza *take);
GR_API void gr_ev_request_route(struct gr_ev *ev, struct gr_stanza *take);
/* To a session of this loop, with the user_receive_* hooks: at once, so that nothing else that comes
 * for it later overtakes it, and on behalf of the stanza in `ev`, as gr_send_in. The one request that
 * hooks without a session of their own can make, too: carried out when they and what waits for them
 * are done (user_send_*: before the stanza is routed; offline_message: when it goes to the store). */
GR_API void gr_ev_request_deliver(struct gr_ev *ev, const struct gr_session *s,
                                  struct gr_stanza *take);

enum gr_end_reason { GR_END_NORMAL, GR_END_ERROR, GR_END_REPLACED, GR_END_RESUMED, GR_END_SHUTDOWN };

/* Something about one session. jid is never NULL where the session is authenticated. */
struct gr_session_ev {
    struct gr_ev ev;
    struct gr_session *session;
    const struct gr_jid *jid;
    struct gr_stanza *stanza;   /* user_open_session: the request; set_presence: the presence */
    const char *text;           /* unset_presence: status; stop requests: reason; auth_failed: name */
    enum gr_end_reason reason;  /* sm_remove_connection, user_terminate */
    int64_t ms;                 /* user_ping_response: round trip, -1 time-out */
    int allow;                  /* session_opening_allowed_for_user: starts true; whatever is not true
                                 * refuses */
};
struct gr_foreign_ev {          /* a message posted to a session */
    struct gr_ev ev;
    struct gr_session *session;
    const char *tag;
    const void *data;
    size_t len;
};
struct gr_features_ev {         /* stream features: append elements to `features` */
    struct gr_ev ev;
    struct gr_session *session; /* its state tells the phase; NULL on s2s */
    const char *remote;         /* s2s: the other domain */
    struct gr_stanza *features;
};
/* What is negotiated within a login (XEP-0388, 2.1 and 2.6.1; XEP-0386). Handlers add to `at`, which is in
 * `answer`: gr_el_add(ev->answer, ev->at, ...). Features and sasl2_start are on the loop that accepted
 * the connection; sasl2_success and bind2_enable_features on the account's home loop, before anything is
 * said to the client: what is written to it meanwhile comes behind <success/>. */
struct gr_inline_ev {
    struct gr_ev ev;
    struct gr_session *session;
    const struct gr_el *request; /* <authenticate/>; bind2_enable_features: <bind/>; features: NULL */
    struct gr_stanza *answer;    /* NULL in sasl2_start */
    struct gr_el *at;            /* <inline/>, <success/> or <bound/> */
    bool resumed;                /* sasl2_success, result: the stream speaks for an older session now
                                  * (which `session` is not), so that nothing is bound and no features
                                  * follow (XEP-0198, 9.2) */
    bool renew;                  /* sasl2_success: fast_check said so of the token that was used */
};
GR_API void gr_bind2_feature(struct gr_inline_ev *ev, const char *var); /* <feature var=/> */
/* A login with a token (XEP-0484, 3.4): is it one of the client's, and good? Asked for what nobody has
 * proved yet. A count that is not larger than one used before is refused. */
enum gr_fast_result {
    GR_FAST_UNKNOWN,            /* cannot be told now */
    GR_FAST_OK,
    GR_FAST_EXPIRED,            /* it was one; the client is to use its password */
    GR_FAST_REFUSED
};
struct gr_fast_ev {
    struct gr_ev ev;
    const struct gr_jid *jid;   /* bare */
    const char *client;         /* id of its user agent */
    const char *mechanism;      /* "HT-SHA-256-EXPR": a token is good for one only */
    int64_t count;              /* against replay; -1: none given */
    bool invalidate;            /* it is used for the last time */
    enum gr_fast_result result; /* starts GR_FAST_UNKNOWN */
    bool renew;                 /* result: it is time for another; sasl2_success hears of it */
    int64_t until_s;            /* result: gr_session_auth_until, where the token comes from such a login */
};
/* A login shows a token (X-OAUTH): is it this account's, and good? */
struct gr_token_ev {
    struct gr_ev ev;
    const struct gr_jid *jid;   /* bare */
    const void *token;          /* as it came, decoded from base64 */
    size_t len;
    enum gr_fast_result result; /* starts GR_FAST_UNKNOWN */
    void *answer;               /* result: told to the client with the success; gr_alloc'ed, the core
                                 * frees it */
    size_t answer_len;
    int64_t until_s;            /* result: when it ends (gr_session_auth_until); 0: it is as a password */
};
/* Is the proof that came made with this token? Takes the same time whatever the answer. */
GR_API bool gr_fast_matches(struct gr_fast_ev *ev, const char *token);
struct gr_ip_ev { struct gr_ev ev; const char *ip; bool refuse; };
struct gr_user_ev {             /* about an account, with or without sessions */
    struct gr_ev ev;
    const struct gr_jid *jid;
    bool with_anonymous;        /* does_user_exist: anonymous sessions count */
    bool exists;                /* does_user_exist: result */
    uint64_t session;           /* password_changed: who changed it, and goes on; 0: no session */
};
struct gr_domain_ev {
    struct gr_ev ev;
    const char *domain, *remote;/* s2s_allow_host: ours and theirs */
    const char *node;           /* node_cleanup: the server id whose leftovers are to go */
    bool hidden;                /* register_subhost */
    bool allow;                 /* s2s_allow_host: starts true */
};

/* roster */
enum gr_subscription { GR_SUB_NONE, GR_SUB_TO, GR_SUB_FROM, GR_SUB_BOTH };
struct gr_roster_item {         /* strings belong to whoever made the item */
    const struct gr_jid *jid;   /* bare */
    const char *name;           /* NULL: none */
    const char *const *groups;  /* NULL-terminated; NULL: none */
    enum gr_subscription sub;
    bool ask, approved;         /* pending out; pre-approved */
    bool in_roster, pending_in; /* what only the server sees */
    uint64_t ver;               /* version at which the item last changed, 0: unversioned */
};
struct gr_roster_list;          /* growing list of items, copied in */
GR_API struct gr_roster_list *gr_roster_list_new(void);
GR_API void gr_roster_list_free(struct gr_roster_list **take);
GR_API void gr_roster_list_add(struct gr_roster_list *l, const struct gr_roster_item *item);
GR_API size_t gr_roster_list_count(const struct gr_roster_list *l);
GR_API const struct gr_roster_item *gr_roster_list_at(const struct gr_roster_list *l, size_t i);
struct gr_roster_ev {
    struct gr_ev ev;
    const struct gr_jid *owner; /* bare */
    uint64_t session;           /* ..._subscription_lists: gr_session_id of whose presence it is, or 0 */
    bool full;                  /* include pending-in-only items */
    bool none;                  /* result: the owner has no roster at all (item-not-found) */
    struct gr_roster_list *items; /* roster_get: append; lists: every item that has a subscription */
    struct gr_stanza **pending; /* roster_get_subscription_lists: stored requests; handlers add
                                 * with gr_roster_ev_pending */
    size_t pending_count;
};
GR_API void gr_roster_ev_pending(struct gr_roster_ev *ev, struct gr_stanza *take);
GR_API void gr_roster_ev_clear(struct gr_roster_ev *ev); /* caller of the hook: frees the results */
struct gr_roster_item_ev {      /* roster_process_item, roster_push, roster_set */
    struct gr_ev ev;
    const struct gr_jid *owner;
    struct gr_roster_item *item;
};
struct gr_jid_info_ev {         /* roster_get_jid_info */
    struct gr_ev ev;
    const struct gr_jid *owner, *contact;
    enum gr_subscription sub;
    bool ask;
    const char *const *groups;  /* valid while the event is */
};
struct gr_names_ev { struct gr_ev ev; const char *const *names; size_t count; }; /* roster_groups */

/* privacy */
enum gr_privacy { GR_ALLOW, GR_DENY, GR_BLOCK };
struct gr_privacy_ev {
    struct gr_ev ev;
    const struct gr_jid *owner, *peer;
    struct gr_stanza *stanza;
    bool outgoing;
    enum gr_privacy verdict;    /* starts GR_ALLOW */
    const char *list;           /* name of the list asked about or changed */
    enum gr_cond cond;          /* privacy_iq_*: error instead of result */
    struct gr_stanza *reply;    /* privacy_iq_*: result */
};

/* discovery and commands. `answered` tells an empty answer from none. */
struct gr_disco_ev {
    struct gr_ev ev;
    const struct gr_jid *from, *to;
    const char *node;           /* "" for the root */
    const char *lang;
    bool subscribed;            /* disco_sm_*: asker may see (subscriber or the account itself) */
    bool answered;
    struct gr_stanza *result;   /* add <feature/>, <identity/>, <item/> or forms with gr_disco_* */
};
GR_API void gr_disco_feature(struct gr_disco_ev *ev, const char *var); /* folds duplicates */
GR_API void gr_disco_identity(struct gr_disco_ev *ev, const char *category, const char *type,
                              const char *name);
GR_API void gr_disco_item(struct gr_disco_ev *ev, const char *jid, const char *node,
                          const char *name);
struct gr_adhoc_ev {
    struct gr_ev ev;
    const struct gr_jid *from, *to;
    const char *node, *action, *session_id;
    const struct gr_stanza *request;
    struct gr_stanza *reply;    /* NULL: nobody knew the node */
};
struct gr_caps_ev {             /* caps_recognised and PEP recipients */
    struct gr_ev ev;
    struct gr_session *session;
    const char *feature;        /* "node+notify" */
    const char *const *features;
    size_t count;
    const struct gr_jid *to;
    struct gr_jid **recipients; /* get_pep_recipients: result, added with gr_caps_ev_recipient */
    size_t recipient_count;
    bool drop;                  /* filter_pep_recipient: result */
};
GR_API void gr_caps_ev_recipient(struct gr_caps_ev *ev, const struct gr_jid *jid); /* copied */
GR_API void gr_caps_ev_clear(struct gr_caps_ev *ev); /* caller of the hook: frees the results */

/* rooms */
enum gr_affiliation { GR_AFF_NONE, GR_AFF_OUTCAST, GR_AFF_MEMBER, GR_AFF_ADMIN, GR_AFF_OWNER };
struct gr_affiliate { const struct gr_jid *jid; enum gr_affiliation affiliation; };
struct gr_room_ev {
    struct gr_ev ev;
    const struct gr_jid *room, *user, *occupant;
    const char *nick, *reason, *stable_id, *version;
    struct gr_stanza *stanza;
    enum gr_affiliation affiliation;
    int64_t time_us;
    const struct gr_affiliate *affiliates;
    size_t affiliate_count;
    bool yes;                   /* can_access_*, is_muc_room_owner, room_exists: result */
};

/* archive */
enum gr_mam_when { GR_MAM_ALWAYS, GR_MAM_NEVER, GR_MAM_ROSTER };
struct gr_mam_row {             /* a message as it is kept */
    const char *id;
    int64_t time_us;
    const char *xml;            /* of the whole stanza, as gr_stanza_xml gives it */
    size_t len;
};
/* A page (XEP-0313, 4). mam_lookup_messages is run for the same page again and again while `left` is not
 * 0, so that nobody has to hold a large one in memory. */
struct gr_mam_query {
    /* what is asked for */
    const struct gr_jid *with;  /* NULL: everybody */
    int64_t start_us, end_us;   /* both belong to it; INT64_MIN, INT64_MAX: open */
    const char *after_id, *before_id; /* not themselves; NULL: open. GR_ENOENT when not there */
    const char *const *ids;     /* these only; GR_ENOENT when one is not there; NULL: all */
    size_t id_count;
    struct gr_rsm rsm;          /* before and after: as the two above, of what matched */
    size_t limit;               /* most rows of the page; 0: none, index and count only */
    bool flip;                  /* the last one of the page first (4.3.4) */
    /* what came of it: the handler gives rows to row(), in order, and leaves the rest for the next
     * time */
    void (*row)(struct gr_mam_query *q, const struct gr_mam_row *row);
    bool begun;                 /* it was run for this page before: */
    size_t left;                /* rows that the page still lacks */
    uint64_t cursor;            /* whatever the handler needs to go on */
    int64_t index, count;       /* of the first row of the page; of all that match; -1: not known */
    bool complete;              /* no rows behind the page (with rsm.before: in front of it) */
};
struct gr_mam_ev {
    struct gr_ev ev;            /* acc: that of the stanza, in archive_message */
    const struct gr_jid *owner, *remote, *source, *caller;
    uint64_t archive_id;        /* 0: there is none, nothing is kept */
    const char *message_id;     /* archive_message: result, its id in the archive; retraction: of what goes */
    const char *origin_id;      /* the stanza's id, or what the sender calls it (XEP-0359) */
    struct gr_stanza *stanza;
    bool outgoing, groupchat;
    int rc;                     /* 0 or a gr_err; retraction: other than 0 leaves the message alone */
    uint64_t count;             /* size, flushed messages */
    enum gr_mam_when behaviour; /* also the default of prefs */
    const struct gr_jid *const *always, *const *never; /* prefs; NULL-terminated */
    struct gr_mam_query *query;
};

/* advanced message processing, inbox, push, keys, vCard, export */
struct gr_amp_ev {
    struct gr_ev ev;
    const struct gr_jid *from, *to;
    struct gr_stanza *stanza;
    const char *event;          /* initial_check, archived, mam_failed, ... */
    const char *deliver, *match_resource; /* strategy so far */
    const char *condition, *value, *action;
    bool supported;
    int match;                  /* amp_check_condition: 0 no, 1 match, -1 undecided */
};
struct gr_inbox_ev { struct gr_ev ev; const struct gr_jid *user; const struct gr_stanza *iq;
                     struct gr_stanza *result; uint64_t unread; };
enum gr_event { GR_EVENT_SENT, GR_EVENT_RECEIVED, GR_EVENT_UNACKED, GR_EVENT_ONLINE, GR_EVENT_OFFLINE };
struct gr_event_ev {            /* push_event */
    struct gr_ev ev;            /* acc: of the stanza, if it has one */
    enum gr_event event;
    const struct gr_jid *from;  /* online, offline: which resource */
    const struct gr_jid *to;    /* unacked: the session that ought to have it; NULL: online, offline */
    const struct gr_stanza *stanza; /* a message of type chat, groupchat or normal; NULL as `to` */
};
struct gr_push_ev {             /* push_notifications */
    struct gr_ev ev;
    const struct gr_jid *user;
    const struct gr_el *form;   /* urn:xmpp:push:summary (XEP-0357, 11.3.1) */
    const struct gr_el *options;/* publish-options that the client gave with it; NULL: none */
    const char *service, *node; /* node "": none */
    int rc;                     /* result: 0, it was sent; starts GR_ENOTSUP, nobody cared */
    bool device_gone;           /* result: it is no longer registered, forget it */
};
struct gr_key_ev {              /* get_key: secret key material of the host, by name */
    struct gr_ev ev;
    const char *name;           /* "token_secret" */
    const void *key;            /* result: 16 bytes or more, the handler's; NULL: the core's own */
    size_t len;
    const void *previous;       /* after a change: what it was until then */
    size_t previous_len;
    int64_t changed_us;         /* wall time of the change */
};
struct gr_vcard_ev { struct gr_ev ev; const struct gr_jid *user; const struct gr_stanza *vcard;
                     int rc; };
struct gr_export_ev { struct gr_ev ev; const struct gr_jid *user; struct gr_stanza *data; };

/* --- the list (hook_list.h) as numbers --- */

#define GR_HOOK_ENUM(name, scope, kind, async, event) GR_HOOK_##name,
enum gr_hook_id { GR_HOOK_LIST(GR_HOOK_ENUM) GR_HOOK_COUNT };

/* One typed member per hook: a handler with the wrong prototype does not compile. */
#define GR_HOOK_RETURN_V enum gr_verdict
#define GR_HOOK_RETURN_A enum gr_verdict
#define GR_HOOK_RETURN_N void
#define GR_HOOK_MEMBER(name, scope, kind, async, event) \
    GR_HOOK_RETURN_##kind (*name)(struct gr_mod *self, struct event *ev);
union gr_hook_fn {
    GR_HOOK_LIST(GR_HOOK_MEMBER)
    enum gr_verdict (*custom)(struct gr_mod *self, struct gr_ev *ev);
};

struct gr_hook {
    enum gr_hook_id id;
    const char *custom; /* name of a module-defined hook; id is GR_HOOK_COUNT then */
    int prio;           /* 1.. ; 0 ends the table */
    union gr_hook_fn fn;
};
#define GR_ON(hook, priority, f) { .id = GR_HOOK_##hook, .prio = (priority), .fn.hook = (f) }
#define GR_ON_CUSTOM(hook, priority, f) \
    { .id = GR_HOOK_COUNT, .custom = (hook), .prio = (priority), .fn.custom = (f) }
#define GR_HOOK_END { .prio = 0 }

/* --- holding and running --- */

struct gr_hold;
/* Suspends the chain that runs `ev` (hooks marked P); the handler then returns GR_PENDING. Holds are
 * bounded in number and time: NULL when this instance has 10000 of them (or the hook cannot wait, or
 * the handler holds already): return GR_FAIL then; after 30 s the core goes on with GR_FAIL and logs
 * the module, whose gr_resume then only frees the hold. A hold that is not used (another verdict is
 * returned) is still ended with gr_resume. */
GR_API struct gr_hold *gr_hold(struct gr_mod *self, struct gr_ev *ev);
/* False once the chain went on without the hold (time-out): its event is gone then, and must not be
 * looked at; the hold still has to be given back with gr_resume. */
GR_API bool gr_hold_waits(const struct gr_hold *hold);
/* Ends a hold, on the loop it was taken on. The event is valid again until this returns. */
GR_API void gr_resume(struct gr_hold *take, enum gr_verdict verdict);

/* A hook of a module's own is a name, "module.something", that others handle with
 * GR_ON_CUSTOM(name, prio, f). It is of kind V and may wait (P). The event is a struct of the
 * module's, published in a header of its own, with struct gr_ev as its first member; who runs the hook
 * fills in the members behind that one, sets ev->acc to NULL or to the accumulator of the stanza that
 * it is about, reads the results in done() and frees the event there. host, run and failed are set by
 * the core; GR_FAIL takes back only notes and requests, not members, whose size it does not know.
 *
 * Runs a chain of the module's own host that only modules run (roster_*, resend_offline_messages,
 * disco_*, ...), or a custom hook. `done` is called with the final verdict, perhaps before this
 * returns; ev must stay valid until then (allocate it unless no handler can pend). An accumulator is
 * the stanza's until a handler waits: the event has its own from there on, with the notes so far, and
 * what that is asked for (gr_ev_request_...) nobody does. */
typedef void (*gr_ran_f)(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict);
GR_API void gr_hook_run(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev, gr_ran_f done);
/* Has the chain handlers, and none but self's? For a module that both runs and answers a hook, once or
 * more per stanza: it may then call its own function, which is to be one that does not hold, instead of
 * running the chain. True counts as a run. */
GR_API bool gr_hook_is_own(struct gr_mod *self, enum gr_hook_id id);
/* The same for the stanza whose chain waits for `hold`, which is of self: ev->acc is set to its
 * accumulator, and remains it while both wait. Should the held chain go on first (time-out), or another
 * such chain of this hold wait already, the event has its own as above. End the hold in done(). */
GR_API void gr_hook_run_held(struct gr_mod *self, struct gr_hold *hold, enum gr_hook_id id,
                             struct gr_ev *ev, gr_ran_f done);
GR_API void gr_hook_run_custom(struct gr_mod *self, const char *name, struct gr_ev *ev,
                               gr_ran_f done);
