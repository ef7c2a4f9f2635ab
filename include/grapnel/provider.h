/* grapnel/provider.h: who answers for accounts, rosters and sessions.
 *
 * Exactly one provider per type and host answers all calls; one of strictly higher priority replaces
 * it, an equal or lower one is ignored. Functions left NULL fall through to the built-in default.
 * An instance is opened per session, lazily at its first use, and closed with the session; calls that
 * concern an account without a session get an instance of the loop (opened with session NULL).
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
    enum gr_cond cond;        /* with GR_R_ERROR */
    const char *text;         /* with GR_R_ERROR; or a user name, a resource ("" = broadcast) */
    /* roster: items of get_contacts; before/after of a change (jid NULL: no item and nothing pending) */
    const struct gr_roster_item *items;
    size_t count;
    struct gr_roster_item before, after;
    struct gr_stanza *const *stanzas; /* get_pending: stored requests */
    const struct gr_presence_row *presences;
    int priority;
    /* auth: an encoded credential record (core/stream/creds.h) for get_credentials */
    const void *creds;
    size_t creds_len;
};

struct gr_ask;
typedef void (*gr_answer_f)(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a);
/* A call with `size` zeroed bytes of the asker's own, freed by the core after done(). */
GR_API struct gr_ask *gr_ask_new(struct gr_mod *self, size_t size, gr_answer_f done);
GR_API void *gr_ask_data(struct gr_ask *ask);
/* The provider's side: completes the call. Everything in `a` is borrowed for the call. */
GR_API void gr_answer(struct gr_ask *take, const struct gr_answer *a);
GR_API void gr_answer_result(struct gr_ask *take, enum gr_result result);
GR_API void gr_answer_error(struct gr_ask *take, enum gr_cond cond, const char *text);

struct gr_auth_provider {
    const char *name;
    void *(*open)(struct gr_mod *self, struct gr_session *session);
    void (*close)(struct gr_mod *self, void *inst);
    void (*bind)(struct gr_mod *self, void *inst, struct gr_session *session);   /* authenticated */
    void (*unbind)(struct gr_mod *self, void *inst, struct gr_session *session);
    /* Mapping between the name logged in with and the account name; synchronous, inst may be NULL.
     * 0 or GR_ENOENT; out has room for GR_JID_PART_MAX + 1 bytes. */
    int (*account_of)(struct gr_mod *self, const char *username, char *out);
    int (*username_of)(struct gr_mod *self, const char *account, char *out);
    /* OK: creds; NONE: no such account; FALSE: the account is disabled; or this provider cannot
     * serve keys: leave the slot NULL together with check_password set, and only PLAIN is offered. */
    void (*get_credentials)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    void (*check_password)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password);
    void (*check_token)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *token);
    void (*check_http)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                       const char *identity);
    /* OK: exists and is active; FALSE: exists, is not; NONE: does not exist. */
    void (*user_state)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    void (*valid_contact)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    /* create_user: FALSE = taken */
    void (*create_user)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *password);
    void (*set_password)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                         const char *password);
    void (*delete_user)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user);
    /* Accounts in name order behind `after` (NULL: from the start): items with jid and name (display
     * name or NULL); groups of one entry "staff" mark staff. At most `limit`; FALSE: there are more. */
    void (*list_users)(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *after,
                       size_t limit);
};

/* backends.md 3; `user` is always the local account (bare). Changes answer OK with before and after,
 * NONE for "nothing to do", TRUE cases of the tables as said there. */
struct gr_roster_provider {
    const char *name;
    void *(*open)(struct gr_mod *self, struct gr_session *session);
    void (*close)(struct gr_mod *self, void *inst);
    void (*bind)(struct gr_mod *self, void *inst, struct gr_session *session);   /* full JID known */
    void (*unbind)(struct gr_mod *self, void *inst, struct gr_session *session);
#define GR_ROSTER_CALL(f) \
    void (*f)(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *user, \
              const struct gr_jid *contact)
    /* OK: items (in_roster ones; with pending-in ones flagged in_roster = false); NONE: no roster. */
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
    void (*outbound_subscribe)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                               const struct gr_jid *user, const struct gr_jid *contact,
                               struct gr_stanza *stanza); /* OK before/after; NONE */
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

/* backends.md 4. The default (priority 0) is the core's own table. */
struct gr_session_provider {
    const char *name;
    void *(*open)(struct gr_mod *self, struct gr_session *session);
    void (*close)(struct gr_mod *self, void *inst);
    void (*bind)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                 const struct gr_jid *full); /* OK; FALSE: in use; ERROR */
    void (*unbind)(struct gr_mod *self, void *inst, const struct gr_jid *full);
    void (*set_presence)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full, int priority, struct gr_stanza *stanza);
    void (*get_presence)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full);
    void (*get_all_presences)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user);
    void (*get_all_roster_presences)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                                     const struct gr_jid *const *users, size_t count);
    void (*get_resource)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full);
    void (*get_all_resources)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user);
    void (*get_preferred_resource)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                                   const struct gr_jid *user);
    void (*kill_resource)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                          const struct gr_jid *full);
};

/* Installs for self's host, from start(). 1: installed; 0: one of equal or higher priority stays.
 * It is taken back when the module goes, and whoever was below answers again. */
GR_API int gr_provide_auth(struct gr_mod *self, const struct gr_auth_provider *p, int prio);
GR_API int gr_provide_roster(struct gr_mod *self, const struct gr_roster_provider *p, int prio);
GR_API int gr_provide_session(struct gr_mod *self, const struct gr_session_provider *p, int prio);
GR_API const char *gr_provider_name(const struct gr_host *host, enum gr_provider_type type,
                                    int *prio);

/* --- asking the installed provider (of self's host) --- */

/* user: account name on self's host. create/delete also run register_user / remove_user and end the
 * deleted account's sessions. */
GR_API void gr_auth_create(struct gr_mod *self, struct gr_ask *take, const char *user,
                           const char *password);
GR_API void gr_auth_set_password(struct gr_mod *self, struct gr_ask *take, const char *user,
                                 const char *password);
GR_API void gr_auth_delete(struct gr_mod *self, struct gr_ask *take, const char *user);
GR_API void gr_auth_check(struct gr_mod *self, struct gr_ask *take, const char *user,
                          const char *password);
/* Through the hook does_user_exist: OK, FALSE (inactive), NONE. */
GR_API void gr_auth_exists(struct gr_mod *self, struct gr_ask *take, const char *user);
GR_API void gr_auth_valid_contact(struct gr_mod *self, struct gr_ask *take, const char *user);
GR_API void gr_auth_list(struct gr_mod *self, struct gr_ask *take, const char *after, size_t limit);

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
