/* mod/provider.h: the installed providers of a host and their instances (backends.md). */
#pragma once

#include "mod/host.h"

/* Embedded in every session: its instances, opened lazily. */
struct provider_insts {
    struct provider_inst *inst[3];
    unsigned bound;              /* bit per type: bind was called; later instances get it as well */
};
/* End of a session, and before it moves to its home loop (instances belong to a loop): unbind and
 * close what was opened; an instance with calls in flight is closed after the last answer. The
 * struct is as new then. */
void provider_insts_fini(struct provider_insts *p, struct gr_session *session);
/* Life-cycle notices to opened or (auth.bind, roster.bind) lazily opened instances. */
void provider_auth_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s);
void provider_roster_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s);

/* The core's own asks (no asking module): done runs on this loop; arg is the caller's. */
typedef void (*provider_done_f)(void *arg, const struct gr_answer *a);
bool provider_auth_serves_keys(struct gr_host *h);   /* SCRAM can be offered */
/* Between the name in an address and the account's (out: GR_JID_PART_MAX + 1 bytes); the same name
 * when no provider maps. 0 or GR_ENOENT. Everything below takes the name in the address. */
int provider_account_of(struct gr_host *h, const char *username, char *out);
int provider_username_of(struct gr_host *h, const char *account, char *out);
/* The name in the address of who logs in under this one. */
int provider_login_name(struct gr_host *h, const char *login, char *out);
/* What the stream layer knows and sets: the credential record, and the server's secret. check_keys
 * compares a password with the record of get_credentials (NULL: nobody's, at the same cost) where
 * the provider that has it brings no check_password of its own: OK, FALSE, or ERROR when it cannot
 * be done now. done runs once, on this loop, perhaps at once; creds and password are borrowed.
 * check_token answers in place of a provider without check_token. */
extern void (*provider_check_keys)(const void *creds, size_t len, const char *password,
                                   void (*done)(void *arg, enum gr_result result), void *arg);
extern void (*provider_check_token)(struct gr_host *h, struct gr_ask *take, const char *user,
                                    const char *token);
void provider_auth_credentials(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                               const char *user, provider_done_f done, void *arg);
/* Can keys be added to what provider_auth_credentials gives (XEP-0480)? Then: OK, FALSE (it is another
 * record by now), NONE, ERROR. */
bool provider_auth_takes_keys(const struct gr_host *h);
void provider_auth_add_keys(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                            const char *user, const struct gr_new_keys *keys, provider_done_f done,
                            void *arg);
enum provider_proof { PROOF_PASSWORD, PROOF_TOKEN, PROOF_HTTP };
/* OK; FALSE: not so, or the account may not log in; NONE: no such account; ERROR: nobody can
 * tell. */
void provider_auth_check(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                         enum provider_proof kind, const char *user, const char *proof,
                         provider_done_f done, void *arg);
/* OK, FALSE (inactive), NONE; straight from the provider (the hook does_user_exist is the
 * caller's). */
void provider_auth_state(struct gr_host *h, const char *user, provider_done_f done, void *arg);
/* The same before a session opens: OK as well where whoever checks passwords does not say. */
void provider_auth_may_open(struct gr_host *h, const char *user, provider_done_f done, void *arg);
/* How often the account was removed or got another password (account.c): asked before who logs in is
 * asked for a proof, and again once the session stands on its home loop. */
uint32_t provider_auth_changes(const struct gr_jid *jid);
void provider_auth_changed(const struct gr_jid *jid); /* on its home loop */
void provider_session_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                           const struct gr_jid *full, provider_done_f done, void *arg);
void provider_session_unbind(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                             const struct gr_jid *full);
void provider_session_presence(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                               const struct gr_jid *full, int priority, struct gr_stanza *stanza);
/* Does somebody above the core's own table want to say who gets a message to an account? */
bool provider_session_prefers(const struct gr_host *h);
/* As gr_session_ask, of that host. */
void provider_session_ask(struct gr_host *h, enum gr_session_op op, const struct gr_jid *jid,
                          provider_done_f done, void *arg);
/* route/session.c tells how a session reaches its embedded instances. */
extern struct provider_insts *(*provider_insts_of)(struct gr_session *s);

struct provider_set *provider_set_new(void);
void provider_set_free(struct provider_set **take);
/* Building a generation: installs, obeying priorities (ties: first stays). */
int provider_install(struct provider_set *set, enum gr_provider_type type, struct gr_mod *self,
                     const void *vtable, int prio);
/* Puts what `self` has installed for the previous generation into the set of the next one. */
void provider_adopt(struct provider_set *set, struct gr_mod *self);
/* Closes every open instance of what `self` has installed, which is in no set any more. */
void provider_close_all(struct gr_mod *self);
void provider_forget(struct gr_mod *self); /* frees what provider_close_all has closed */
