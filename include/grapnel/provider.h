/* grapnel/provider.h: who answers for accounts, rosters and sessions.
 *
 * Exactly one provider per type and host answers all calls; one of strictly higher priority
 * replaces it, an equal or lower one is ignored. Functions left NULL fall through to the provider
 * below and in the end to the built-in default, unless the provider is `complete`. An instance is
 * opened per session, lazily at its first use, and closed with the session; calls that concern an
 * account without a session get an instance of the loop (opened with session NULL).
 *
 * Every call carries a gr_ask and is answered once with gr_answer(), at once or later, on the same
 * loop. Strings are prepared (RFC 7622). */
#pragma once

#include <grapnel/route.h>

enum gr_provider_type { GR_PROVIDER_AUTH, GR_PROVIDER_ROSTER, GR_PROVIDER_SESSION };
#define GR_PROVIDER_DEFAULT_PRIO 1000
#define GR_PROVIDER_STORAGE_PRIO 1

/* Absence (NONE) and refusal (FALSE) are not errors. */
enum gr_result { GR_R_OK, GR_R_FALSE, GR_R_NONE, GR_R_ERROR };

struct gr_presence_row {
    const struct gr_jid *jid; /* full */
    int priority;
    struct gr_stanza *stanza; /* borrowed; NULL: none kept */
};
struct gr_answer {
    enum gr_result result;
    enum gr_cond cond;        /* with GR_R_ERROR; left out: internal-server-error */
    const char *text;         /* with GR_R_ERROR; or a cursor, a resource ("" = broadcast) */
    /* roster: items of get_contacts; before/after of a change (jid NULL: no item and nothing
     * pending) */
    const struct gr_roster_item *items;
    size_t count;
    struct gr_roster_item before, after;
    struct gr_stanza *const *stanzas; /* get_pending: stored requests */
    const struct gr_presence_row *presences; /* `count` of them */
    int priority;
    /* auth: an encoded credential record (core/stream/creds.h) for get_credentials */
    const void *creds;
    size_t creds_len;
};

struct gr_ask;
typedef void (*gr_answer_f)(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a);
/* A call with `size` zeroed bytes of the asker's own, freed by the core after done(). */
GR_API struct gr_ask *gr_ask_new(struct gr_mod *self, size_t size, gr_answer_f done);
/* The caller's bytes (in done() as well) / what it has asked is answered with after 30 s at the latest:
 * remote-server-timeout. */
GR_API void *gr_ask_data(struct gr_ask *ask);
/* The provider's side: completes the call. Everything in `a` is borrowed for the call. */
GR_API void gr_answer(struct gr_ask *take, const struct gr_answer *a);
GR_API void gr_answer_result(struct gr_ask *take, enum gr_result result);
GR_API void gr_answer_error(struct gr_ask *take, enum gr_cond cond, const char *text);

struct gr_new_keys {         /* encoded credential records */
    const void *known;
    size_t known_len;
    const void *creds;
    size_t creds_len;
};

/* `user` is always the name of an account: the core has translated it from the name in the
 * address. */
struct gr_auth_provider {
    const char *name;
    bool complete;  /* no provider below is asked: changes that are left out are not-allowed, the rest
                     * is answered as if nobody knew */
    void *(*open)(struct gr_mod *self, struct gr_session *session);
    void (*close)(struct gr_mod *self, void *inst);
    void (*bind)(struct gr_mod *self, void *inst, struct gr_session *session);   /* authenticated */
    void (*unbind)(struct gr_mod *self, void *inst, struct gr_session *session);
    /* Mapping between the name in the address (of logins, stanzas, commands) and the account's,
     * where they differ: both or neither. Synchronous, of any loop, without instance. 0 or
     * GR_ENOENT ("does not exist"); out has room for GR_JID_PART_MAX + 1 bytes. A login may use
     * several names of one account: its address gets the one that username_of says, and only that
     * one can be written to, registered or removed. */
    int (*account_of)(struct gr_mod *self, const char *username, char *out);
    int (*username_of)(struct gr_mod *self, const char *account, char *out);
    /* OK: creds; NONE: no such account; FALSE: the account is disabled; or this provider cannot
     * serve keys: leave the slot NULL together with check_password set, and only PLAIN is
     * offered. */
    void (*get_credentials)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    /* OK: right, and the account is active; FALSE: not so; NONE: no such account; ERROR: cannot be
     * told now (temporary-auth-failure). The client is told the same of FALSE and NONE, the log is
     * not. */
    void (*check_password)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password);
    /* Instead of the core's own tokens (gr_token_issue); answers as check_password. */
    void (*check_token)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *token);
    /* Does the web session that came with the HTTP request (its cookie, as the transport gave it to
     * gr_session_set_http_identity) belong to this user? Answers as check_password. */
    void (*check_http)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                       const char *identity);
    /* OK: exists and is active; FALSE: exists, is not; NONE: does not exist. Also asked whenever a
     * session is about to open, or to go on over another connection: whoever lets accounts in that
     * nobody below knows has this as well. (Not asked then of one below whoever checks passwords.) */
    void (*user_state)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    void (*valid_contact)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    /* FALSE: taken. A provider that maps names itself gets one that maps to nothing yet as it
     * is. */
    void (*create_user)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *password);
    void (*set_password)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                         const char *password);
    /* A record of get_credentials gets keys that it lacks (XEP-0480): `creds` in the place of `known`.
     * FALSE: it is not `known` any more; NONE: no such account. NULL: never asked. */
    void (*add_keys)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                     const struct gr_new_keys *keys);
    void (*delete_user)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    /* Accounts in name order behind `after` (NULL: from the start): items with jid (node: the
     * account) and name (display name or NULL); groups of one entry "staff" mark staff. At most
     * `limit`; FALSE: there are more, behind `text` (an account's name; the page itself may be
     * empty). */
    void (*list_users)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *after,
                       size_t limit);
};

/* backends.md 3; `user` is always the local account (bare). Changes answer OK with before and
 * after, NONE for "nothing to do", TRUE cases of the tables as said there. */
struct gr_roster_provider {
    const char *name;
    bool complete;  /* no provider below is asked: update_contact and remove_contact left out are
                     * not-allowed, subscription stanzas have no effect; so get_contacts and get_contact
                     * are all that a roster needs which no client can change */
    void *(*open)(struct gr_mod *self, struct gr_session *session);
    void (*close)(struct gr_mod *self, void *inst);
    void (*bind)(struct gr_mod *self, void *inst, struct gr_session *session);   /* full JID known */
    void (*unbind)(struct gr_mod *self, void *inst, struct gr_session *session);
#define GR_ROSTER_CALL(f) \
    void (*f)(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *user, \
              const struct gr_jid *contact)
    /* OK: items (in_roster ones; with pending-in ones flagged in_roster = false); NONE: no
     * roster. */
    void (*get_contacts)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *user);
    GR_ROSTER_CALL(get_contact);       /* OK: after; NONE */
    /* name and groups of item; OK: before/after; NONE: refused, treat as removed; ERROR */
    void (*update_contact)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                           const struct gr_jid *user, const struct gr_roster_item *item);
    GR_ROSTER_CALL(remove_contact);    /* OK removed; FALSE subscriptions exist; NONE no item */
    void (*get_pending)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user); /* OK: stanzas; NONE: unsupported */
    GR_ROSTER_CALL(is_pending);        /* OK, FALSE, NONE */
    /* OK before/after and NONE: the request is routed; FALSE: it is not. So outbound_unsubscribe. */
    void (*outbound_subscribe)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                               const struct gr_jid *user, const struct gr_jid *contact,
                               struct gr_stanza *stanza);
    /* OK: now pending, deliver; FALSE: already pending; NONE: already subscribed, answer
     * subscribed; OK with after.sub changed (pre-approved): answer subscribed and push. */
    void (*inbound_subscribe)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user, const struct gr_jid *contact,
                              struct gr_stanza *stanza);
    GR_ROSTER_CALL(outbound_subscribed);
    GR_ROSTER_CALL(inbound_subscribed);
    GR_ROSTER_CALL(outbound_unsubscribe);
    GR_ROSTER_CALL(inbound_unsubscribe);
    GR_ROSTER_CALL(outbound_unsubscribed);
    GR_ROSTER_CALL(inbound_unsubscribed);
    GR_ROSTER_CALL(remove_user);       /* contact NULL: everything of `user`; OK */
};

/* Who is here. The default (priority 0) answers from the core's own table of this process and has
 * no bind, unbind and set_presence: those are calls *to* a provider that wants to know as well. */
struct gr_session_provider {
    const char *name;
    void *(*open)(struct gr_mod *self, struct gr_session *session);
    void (*close)(struct gr_mod *self, void *inst);
    void (*bind)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                 const struct gr_jid *full); /* OK; FALSE: in use; ERROR */
    void (*unbind)(struct gr_mod *self, void *inst, const struct gr_jid *full);
    /* stanza NULL: unavailable */
    void (*set_presence)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full, int priority, struct gr_stanza *stanza);
    /* OK: one presence; NONE: unavailable */
    void (*get_presence)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full);
    /* OK: presences of the available resources; NONE: this provider does not keep them */
    void (*get_all_presences)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user);
    /* The same of many at once, of any home; left out: the core asks for each */
    void (*get_all_roster_presences)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                                     const struct gr_jid *const *users, size_t count);
    /* OK: priority; NONE: not available */
    void (*get_resource)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full);
    /* OK: presences without stanzas; NONE: not kept */
    void (*get_all_resources)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user);
    /* Who gets a message to the account. OK: the resource in `text`, "" = all that are available;
     * NONE: nobody, it is treated as an offline message. Not asked for each message unless
     * provided. */
    void (*get_preferred_resource)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                                   const struct gr_jid *user);
    /* Drops what is known of a resource whose server seems dead, and closes the stream if it is
     * ours. OK; NONE: nothing was known */
    void (*kill_resource)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                          const struct gr_jid *full);
};

/* Installs for self's host, from start() only (GR_EINVAL elsewhere). `p` is static data of the module.
 * 1: installed; 0: one of equal or higher priority stays, and this one is below it. Both are about the
 * modules that stand before self in the order of starting, also at a reload, where the version that
 * is being replaced does not count; a later module of a higher priority still comes above. It is taken
 * back when the module goes, and whoever was below answers again. */
GR_API int gr_provide_auth(struct gr_mod *self, const struct gr_auth_provider *p, int prio);
GR_API int gr_provide_roster(struct gr_mod *self, const struct gr_roster_provider *p, int prio);
GR_API int gr_provide_session(struct gr_mod *self, const struct gr_session_provider *p, int prio);
/* Of the one in force ("default" when there is none) and, unless prio is NULL, its priority. */
GR_API const char *gr_provider_name(const struct gr_host *host, enum gr_provider_type type,
                                    int *prio);

/* --- asking the installed provider (of self's host) --- */

/* user: a name as in addresses of self's host; the core translates it (account_of) for the
 * provider. Translating without a stream, for web pages and the like: as the provider's functions;
 * the same name where nobody maps. On any loop. */
GR_API int gr_auth_account_of(struct gr_mod *self, const char *username, char *out);
GR_API int gr_auth_username_of(struct gr_mod *self, const char *account, char *out);
/* create/delete also run register_user / remove_user and end the deleted account's sessions;
 * set_password runs password_changed: ERROR may mean that only its handlers failed. The account's
 * sessions end with it, which were opened with the old one. */
GR_API void gr_auth_create(struct gr_mod *self, struct gr_ask *take, const char *user,
                           const char *password);
GR_API void gr_auth_set_password(struct gr_mod *self, struct gr_ask *take, const char *user,
                                 const char *password);
/* The same for the account of this session, which goes on. The session's loop. */
GR_API void gr_auth_change_password(struct gr_mod *self, struct gr_ask *take,
                                    const struct gr_session *own, const char *password);
GR_API void gr_auth_delete(struct gr_mod *self, struct gr_ask *take, const char *user);
GR_API void gr_auth_check(struct gr_mod *self, struct gr_ask *take, const char *user,
                          const char *password);
/* Through the hook does_user_exist: OK, FALSE (inactive), NONE. */
GR_API void gr_auth_exists(struct gr_mod *self, struct gr_ask *take, const char *user);
GR_API void gr_auth_valid_contact(struct gr_mod *self, struct gr_ask *take, const char *user);
/* A page of users. FALSE: there are more; `text`, given as `after`, continues (so does a user's
 * name). */
GR_API void gr_auth_list(struct gr_mod *self, struct gr_ask *take, const char *after, size_t limit);
/* Does this web session belong to the user? For HTTP endpoints; streams ask by themselves. */
GR_API void gr_auth_check_http(struct gr_mod *self, struct gr_ask *take, const char *user,
                               const char *identity);
/* The transport of a stream that came over HTTP tells who the request's web session says it is: any
 * text the auth provider's check_http understands, copied; NULL: nobody. PLAIN with an empty
 * password then asks it. Before the stream header; the session's loop. */
GR_API void gr_session_set_http_identity(struct gr_session *s, const char *identity);

/* Tokens: a password that is good for a short while, for somebody who has proved who he is
 * elsewhere (docs/modules.md). Issue writes what PLAIN takes as the password, of GR_TOKEN_SIZE
 * bytes at most, and returns its length; user is a name as above, which need not exist. GR_EINVAL:
 * not a name. Any loop. Check takes that text, or the token in it: OK, FALSE, NONE, ERROR as
 * check_password. */
#define GR_TOKEN_SIZE 5000
GR_API int gr_token_issue(struct gr_mod *self, const char *user, char *out);
GR_API void gr_token_check(struct gr_mod *self, struct gr_ask *take, const char *user,
                           const char *token);

/* 32 bytes that only this server's host can make, the same each time for the same name and data:
 * HMAC-SHA-256 under its key of that name (hook get_key; else one made of the server's secret). For
 * secrets that are handed out and need not be kept. Any loop. */
#define GR_DERIVED_SIZE 32
GR_API void gr_derive(struct gr_mod *self, const char *name, const void *data, size_t len,
                      uint8_t out[GR_DERIVED_SIZE]);

enum gr_roster_op {
    GR_ROSTER_GET_CONTACTS, GR_ROSTER_GET_CONTACT, GR_ROSTER_REMOVE_CONTACT, GR_ROSTER_GET_PENDING,
    GR_ROSTER_IS_PENDING, GR_ROSTER_OUT_SUBSCRIBE, GR_ROSTER_IN_SUBSCRIBE,
    GR_ROSTER_OUT_SUBSCRIBED, GR_ROSTER_IN_SUBSCRIBED, GR_ROSTER_OUT_UNSUBSCRIBE,
    GR_ROSTER_IN_UNSUBSCRIBE, GR_ROSTER_OUT_UNSUBSCRIBED, GR_ROSTER_IN_UNSUBSCRIBED,
    GR_ROSTER_REMOVE_USER, GR_ROSTER_UPDATE_CONTACT
};
/* `session` picks the instance (NULL: the loop's); contact and stanza where the operation has them.
 * Home loop of user. */
GR_API void gr_roster_ask(struct gr_mod *self, struct gr_ask *take, enum gr_roster_op op,
                          struct gr_session *session, const struct gr_jid *user,
                          const struct gr_jid *contact, struct gr_stanza *stanza);
GR_API void gr_roster_update(struct gr_mod *self, struct gr_ask *take, struct gr_session *session,
                             const struct gr_jid *user, const struct gr_roster_item *item);

enum gr_session_op {
    GR_SESSION_GET_PRESENCE, GR_SESSION_GET_ALL_PRESENCES, GR_SESSION_GET_RESOURCE,
    GR_SESSION_GET_ALL_RESOURCES, GR_SESSION_GET_PREFERRED_RESOURCE, GR_SESSION_KILL_RESOURCE
};
/* jid: the full address (of a resource) or the account's. Home loop of jid. */
GR_API void gr_session_ask(struct gr_mod *self, struct gr_ask *take, enum gr_session_op op,
                           const struct gr_jid *jid);
/* OK: the presences of every available resource of these users, of whatever home and in no order;
 * users that are not of this server have none. Any loop. */
GR_API void gr_session_ask_all(struct gr_mod *self, struct gr_ask *take,
                               const struct gr_jid *const *users, size_t count);
