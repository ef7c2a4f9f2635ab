/* mod/provider_auth.c: what auth providers are asked, and what is answered when nobody has the
 * function (backends.md 2: the defaults of priority 0). Everybody else speaks of users by the name
 * in their address; only here it becomes the account's, which is what providers hear. On the
 * calling loop. */
#include <string.h>

#include "mod/provider_priv.h"

void (*provider_check_keys)(const void *creds, size_t len, const char *password,
                            void (*done)(void *arg, enum gr_result result), void *arg);
void (*provider_check_token)(struct gr_host *h, struct gr_ask *take, const char *user,
                             const char *token);

#define AUTH(f) GR_PROVIDER_AUTH, offsetof(struct gr_auth_provider, f)

/* --- names --- */

static int map_name(struct gr_host *h, size_t offset, bool to_account, const char *name, char *out)
{
    struct provider *p = provider_find(h, GR_PROVIDER_AUTH, offset);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;
    size_t len = strlen(name);

    if (len > GR_JID_PART_MAX)
        return GR_ENOENT;
    if (vt != NULL)
        return (to_account ? vt->account_of : vt->username_of)(p->self, name, out);
    memcpy(out, name, len + 1);
    return 0;
}

int provider_account_of(struct gr_host *h, const char *username, char *out)
{
    return map_name(h, offsetof(struct gr_auth_provider, account_of), true, username, out);
}

int provider_username_of(struct gr_host *h, const char *account, char *out)
{
    return map_name(h, offsetof(struct gr_auth_provider, username_of), false, account, out);
}

int provider_login_name(struct gr_host *h, const char *login, char *out)
{
    char account[GR_JID_PART_MAX + 1];
    int rc = provider_account_of(h, login, account);

    return rc != 0 ? rc : provider_username_of(h, account, out);
}

int gr_auth_account_of(struct gr_mod *self, const char *username, char *out)
{
    return provider_account_of(self->host, username, out);
}

int gr_auth_username_of(struct gr_mod *self, const char *account, char *out)
{
    return provider_username_of(self->host, account, out);
}

/* --- keys and passwords ---
 * Both answer "who knows this secret", so one provider answers both: the first that has either. */

static struct provider *secrets(const struct gr_host *h)
{
    const struct provider_set *set = h->providers;

    for (unsigned i = 0; i < set->count[GR_PROVIDER_AUTH]; i++) {
        const struct gr_auth_provider *vt = set->list[GR_PROVIDER_AUTH][i]->vt;

        if (vt->get_credentials != NULL || vt->check_password != NULL)
            return set->list[GR_PROVIDER_AUTH][i];
        if (vt->complete)
            break;
    }
    return NULL;
}

bool provider_auth_serves_keys(struct gr_host *h)
{
    const struct provider *p = secrets(h);

    return p != NULL && ((const struct gr_auth_provider *)p->vt)->get_credentials != NULL;
}

/* Who asks: the session and its instances, or nobody. */
struct who {
    struct gr_host *host;
    struct provider_insts *insts;
    struct gr_session *session;
};

static void ask_credentials(struct gr_ask *ask, const struct who *w, const char *account)
{
    struct provider *p = secrets(w->host);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;
    struct provider_call c;

    if (vt == NULL || vt->get_credentials == NULL) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    provider_call_to(&c, ask, p, w->insts, w->session);
    vt->get_credentials(c.self, c.inst, ask, account);
    ask_sent(ask);
}

void provider_auth_credentials(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                               const char *user, provider_done_f done, void *arg)
{
    const struct who w = { h, p, s };
    struct gr_ask *ask = ask_new(done, arg);
    char account[GR_JID_PART_MAX + 1];

    if (provider_account_of(h, user, account) != 0)
        gr_answer_result(ask, GR_R_NONE);
    else
        ask_credentials(ask, &w, account);
}

bool provider_auth_takes_keys(const struct gr_host *h)
{
    const struct provider *p = secrets(h);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;

    return vt != NULL && vt->get_credentials != NULL && vt->add_keys != NULL;
}

void provider_auth_add_keys(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                            const char *user, const struct gr_new_keys *keys, provider_done_f done,
                            void *arg)
{
    struct gr_ask *ask = ask_new(done, arg);
    char account[GR_JID_PART_MAX + 1];
    struct provider_call c;

    if (!provider_auth_takes_keys(h) || provider_account_of(h, user, account) != 0) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    provider_call_to(&c, ask, secrets(h), p, s);
    ((const struct gr_auth_provider *)c.vt)->add_keys(c.self, c.inst, ask, account, keys);
    ask_sent(ask);
}

struct key_check {
    struct gr_ask *outer;
    enum gr_result otherwise;  /* what a wrong password is */
    size_t len;
    char password[];
};

static void keys_done(struct key_check *k)
{
    gr_wipe(k->password, k->len);
    gr_free(k);
}

static void keys_checked(void *arg, enum gr_result result)
{
    struct key_check *k = arg;

    if (result == GR_R_ERROR)
        gr_answer_error(k->outer, GR_RESOURCE_CONSTRAINT, "too many password operations");
    else
        gr_answer_result(k->outer, result == GR_R_OK ? GR_R_OK : k->otherwise);
    keys_done(k);
}

/* An account that is not there or may not log in costs the same work. */
static void got_keys(void *arg, const struct gr_answer *a)
{
    struct key_check *k = arg;

    if (a->result == GR_R_ERROR) {
        gr_answer(k->outer, a);
        keys_done(k);
        return;
    }
    k->otherwise = a->result == GR_R_NONE ? GR_R_NONE : GR_R_FALSE;
    if (a->result == GR_R_OK)
        provider_check_keys(a->creds, a->creds_len, k->password, keys_checked, k);
    else
        provider_check_keys(NULL, 0, k->password, keys_checked, k);
}

static struct key_check *key_check_new(struct gr_ask *outer, const char *password)
{
    size_t len = strlen(password) + 1;
    struct key_check *k = gr_alloc(sizeof(*k) + len);

    k->outer = outer;
    k->len = len;
    memcpy(k->password, password, len);
    return k;
}

/* account NULL: there is none of that name. */
static void ask_password(struct gr_ask *ask, const struct who *w, const char *account,
                         const char *password)
{
    struct provider *p = secrets(w->host);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;
    struct provider_call c;

    if (vt == NULL) {
        gr_answer_result(ask, GR_R_NONE);
    } else if (vt->check_password != NULL && account != NULL) {
        provider_call_to(&c, ask, p, w->insts, w->session);
        vt->check_password(c.self, c.inst, ask, account, password);
        ask_sent(ask);
    } else if (provider_check_keys == NULL) {
        gr_answer_error(ask, GR_FEATURE_NOT_IMPLEMENTED, NULL);
    } else if (account != NULL) {
        ask_credentials(ask_new(got_keys, key_check_new(ask, password)), w, account);
    } else {
        got_keys(key_check_new(ask, password), &(struct gr_answer){ .result = GR_R_NONE });
    }
}

/* --- the other ways to prove who one is --- */

static void ask_token(struct gr_ask *ask, const struct who *w, const char *user,
                      const char *account, const char *token)
{
    struct provider_call c;

    if (account == NULL) {
        gr_answer_result(ask, GR_R_NONE);
    } else if (provider_call_find(&c, ask, w->host, AUTH(check_token), w->insts, w->session)) {
        ((const struct gr_auth_provider *)c.vt)->check_token(c.self, c.inst, ask, account, token);
        ask_sent(ask);
    } else if (provider_check_token != NULL) {
        provider_check_token(w->host, ask, user, token);
    } else {
        gr_answer_result(ask, GR_R_FALSE);
    }
}

static void ask_http(struct gr_ask *ask, const struct who *w, const char *account,
                     const char *identity)
{
    struct provider_call c;

    if (account == NULL) {
        gr_answer_result(ask, GR_R_NONE);
    } else if (identity == NULL) {
        gr_answer_result(ask, GR_R_FALSE);
    } else if (provider_call_find(&c, ask, w->host, AUTH(check_http), w->insts, w->session)) {
        ((const struct gr_auth_provider *)c.vt)->check_http(c.self, c.inst, ask, account, identity);
        ask_sent(ask);
    } else {
        gr_answer_result(ask, GR_R_FALSE); /* nobody knows web sessions */
    }
}

static void ask_proof(struct gr_ask *ask, const struct who *w, enum provider_proof kind,
                      const char *user, const char *proof)
{
    char buf[GR_JID_PART_MAX + 1];
    const char *account = provider_account_of(w->host, user, buf) == 0 ? buf : NULL;

    switch (kind) {
    case PROOF_PASSWORD:
        ask_password(ask, w, account, proof);
        break;
    case PROOF_TOKEN:
        ask_token(ask, w, user, account, proof);
        break;
    case PROOF_HTTP:
        ask_http(ask, w, account, proof);
        break;
    }
}

void provider_auth_check(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                         enum provider_proof kind, const char *user, const char *proof,
                         provider_done_f done, void *arg)
{
    ask_proof(ask_new(done, arg), &(struct who){ h, p, s }, kind, user, proof);
}

void gr_auth_check(struct gr_mod *self, struct gr_ask *take, const char *user, const char *password)
{
    ask_issue(take);
    ask_proof(take, &(struct who){ .host = self->host }, PROOF_PASSWORD, user, password);
}

void gr_token_check(struct gr_mod *self, struct gr_ask *take, const char *user, const char *token)
{
    ask_issue(take);
    ask_proof(take, &(struct who){ .host = self->host }, PROOF_TOKEN, user, token);
}

void gr_auth_check_http(struct gr_mod *self, struct gr_ask *take, const char *user,
                        const char *identity)
{
    ask_issue(take);
    ask_proof(take, &(struct who){ .host = self->host }, PROOF_HTTP, user, identity);
}

/* --- accounts --- */

/* The account of an address: another name that one may log in with is no address (false), or mail to
 * it would be kept for nobody. */
static bool addressed(struct gr_host *h, const char *user, char *account)
{
    char name[GR_JID_PART_MAX + 1];

    return provider_account_of(h, user, account) == 0 &&
           provider_username_of(h, account, name) == 0 && strcmp(name, user) == 0;
}

static void ask_state(struct gr_ask *ask, struct gr_host *h, const char *user)
{
    char account[GR_JID_PART_MAX + 1];
    struct provider_call c;

    if (!addressed(h, user, account) ||
        !provider_call_find(&c, ask, h, AUTH(user_state), NULL, NULL)) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->user_state(c.self, c.inst, ask, account);
    ask_sent(ask);
}

void provider_auth_state(struct gr_host *h, const char *user, provider_done_f done, void *arg)
{
    ask_state(ask_new(done, arg), h, user);
}

void provider_auth_may_open(struct gr_host *h, const char *user, provider_done_f done, void *arg)
{
    const struct provider *knows = provider_find(h, AUTH(user_state)), *checks = secrets(h);
    struct gr_ask *ask = ask_new(done, arg);

    if (checks != NULL && (knows == NULL || knows->prio < checks->prio))
        gr_answer_result(ask, GR_R_OK);
    else
        ask_state(ask, h, user);
}

static void contact_state(void *arg, const struct gr_answer *a)
{
    if (a->result == GR_R_ERROR)
        gr_answer(arg, a);
    else
        gr_answer_result(arg, a->result == GR_R_OK ? GR_R_OK : GR_R_FALSE);
}

/* Default: an active account (backends.md 2). */
void gr_auth_valid_contact(struct gr_mod *self, struct gr_ask *take, const char *user)
{
    char account[GR_JID_PART_MAX + 1];
    struct provider_call c;

    ask_issue(take);
    if (!addressed(self->host, user, account)) {
        gr_answer_result(take, GR_R_FALSE);
        return;
    }
    if (!provider_call_find(&c, take, self->host, AUTH(valid_contact), NULL, NULL)) {
        ask_state(ask_new(contact_state, take), self->host, user);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->valid_contact(c.self, c.inst, take, account);
    ask_sent(take);
}

void provider_set_password(struct gr_host *h, struct gr_ask *ask, const char *user,
                           const char *password)
{
    char account[GR_JID_PART_MAX + 1];
    struct provider_call c;

    if (!addressed(h, user, account)) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    if (!provider_call_find(&c, ask, h, AUTH(set_password), NULL, NULL)) {
        gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->set_password(c.self, c.inst, ask, account, password);
    ask_sent(ask);
}

/* A provider that looks names up knows none for an account that is yet to be made: it is given the
 * name as it is. One below it would make an account that nobody could be. */
void provider_create_user(struct gr_host *h, struct gr_ask *ask, const char *user,
                          const char *password)
{
    const struct provider *mapper = provider_find(h, AUTH(account_of));
    char account[GR_JID_PART_MAX + 1];
    struct provider_call c;

    if (!provider_call_find(&c, ask, h, AUTH(create_user), NULL, NULL)) {
        gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
        return;
    }
    if (addressed(h, user, account)) {
        user = account;
    } else if (mapper == NULL || mapper->self != c.self ||
               provider_account_of(h, user, account) == 0) {
        gr_answer_error(ask, GR_NOT_ACCEPTABLE, "no account can have this name");
        ask_sent(ask);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->create_user(c.self, c.inst, ask, user, password);
    ask_sent(ask);
}

void provider_delete_user(struct gr_host *h, struct gr_ask *ask, const char *user)
{
    char account[GR_JID_PART_MAX + 1];
    struct provider_call c;

    if (!addressed(h, user, account)) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    if (!provider_call_find(&c, ask, h, AUTH(delete_user), NULL, NULL)) {
        gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->delete_user(c.self, c.inst, ask, account);
    ask_sent(ask);
}

/* --- listing --- */

/* Accounts become users; one without a name among them cannot be addressed and is left out. */
static void list_named(void *arg, const struct gr_answer *a)
{
    struct gr_ask *outer = arg;
    struct gr_host *h = outer->asker->host;
    struct gr_roster_item *items = gr_alloc((a->count + 1) * sizeof(*items));
    struct gr_jid **jids = gr_alloc((a->count + 1) * sizeof(struct gr_jid *));
    char name[GR_JID_PART_MAX + 1];
    char cursor[GR_JID_PART_MAX + 1];
    struct gr_answer mine = *a;

    mine.items = items;
    mine.count = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (provider_username_of(h, a->items[i].jid->node, name) != 0 ||
            gr_jid_make(name, h->jid->domain, NULL, &jids[mine.count]) != 0)
            continue;
        items[mine.count] = a->items[i];
        items[mine.count].jid = jids[mine.count];
        mine.count++;
    }
    if (a->result == GR_R_FALSE && a->text != NULL &&
        provider_username_of(h, a->text, cursor) == 0)
        mine.text = cursor;
    gr_answer(outer, &mine);
    for (size_t i = 0; i < mine.count; i++)
        gr_jid_free(&jids[i]);
    gr_free(jids);
    gr_free(items);
}

static void ask_list(struct gr_ask *ask, struct gr_host *h, const char *after, size_t limit)
{
    struct provider_call c;

    if (!provider_call_find(&c, ask, h, AUTH(list_users), NULL, NULL)) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->list_users(c.self, c.inst, ask, after, limit);
    ask_sent(ask);
}

void gr_auth_list(struct gr_mod *self, struct gr_ask *take, const char *after, size_t limit)
{
    char account[GR_JID_PART_MAX + 1];

    ask_issue(take);
    if (after != NULL && provider_account_of(self->host, after, account) == 0)
        after = account;
    if (provider_find(self->host, AUTH(username_of)) == NULL)
        ask_list(take, self->host, after, limit);
    else
        ask_list(ask_new(list_named, take), self->host, after, limit);
}
