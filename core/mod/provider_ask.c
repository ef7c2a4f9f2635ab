/* mod/provider_ask.c: what the installed providers are asked, and what is answered when nobody has the
 * function (backends.md 2 to 4: the defaults of priority 0). On the calling loop. */
#include <string.h>

#include "mod/provider_priv.h"

void (*provider_check_keys)(const void *creds, size_t len, const char *password,
                            void (*done)(void *arg, bool right), void *arg);

struct call {
    const void *vt;
    struct gr_mod *self;
    void *inst;
};

#define AUTH(f) GR_PROVIDER_AUTH, offsetof(struct gr_auth_provider, f)
#define ROSTER(f) GR_PROVIDER_ROSTER, offsetof(struct gr_roster_provider, f)
#define SESSION(f) GR_PROVIDER_SESSION, offsetof(struct gr_session_provider, f)

static void call_on(struct call *c, struct gr_ask *ask, struct provider *p,
                    struct provider_insts *insts, struct gr_session *s)
{
    struct provider_inst *pi = provider_open(p, insts, s);

    ask_to(ask, pi);
    *c = (struct call){ p->vt, p->self, pi->inst };
}

/* Whoever has the function, ready to be called; false: nobody. */
static bool call_find(struct call *c, struct gr_ask *ask, const struct gr_host *h,
                      enum gr_provider_type type, size_t offset, struct provider_insts *insts,
                      struct gr_session *s)
{
    struct provider *p = provider_find(h, type, offset);

    if (p != NULL)
        call_on(c, ask, p, insts, s);
    return p != NULL;
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
    }
    return NULL;
}

bool provider_auth_serves_keys(struct gr_host *h)
{
    const struct provider *p = secrets(h);

    return p != NULL && ((const struct gr_auth_provider *)p->vt)->get_credentials != NULL;
}

static void ask_credentials(struct gr_ask *ask, struct gr_host *h, struct provider_insts *insts,
                            struct gr_session *s, const char *user)
{
    struct provider *p = secrets(h);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;
    struct call c;

    if (vt == NULL || vt->get_credentials == NULL) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    call_on(&c, ask, p, insts, s);
    vt->get_credentials(c.self, c.inst, ask, user);
    ask_sent(ask);
}

struct key_check {
    struct gr_ask *outer;
    size_t len;
    char password[];
};

static void keys_checked(void *arg, bool right)
{
    struct key_check *k = arg;

    gr_answer_result(k->outer, right ? GR_R_OK : GR_R_FALSE);
    gr_wipe(k->password, k->len);
    gr_free(k);
}

static void got_keys(void *arg, const struct gr_answer *a)
{
    struct key_check *k = arg;

    if (a->result == GR_R_OK && a->creds != NULL) {
        provider_check_keys(a->creds, a->creds_len, k->password, keys_checked, k);
        return;
    }
    if (a->result == GR_R_OK)
        gr_answer_result(k->outer, GR_R_FALSE);
    else
        gr_answer(k->outer, a);
    gr_wipe(k->password, k->len);
    gr_free(k);
}

static void ask_password(struct gr_ask *ask, struct gr_host *h, struct provider_insts *insts,
                         struct gr_session *s, const char *user, const char *password)
{
    struct provider *p = secrets(h);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;
    struct key_check *k;
    struct call c;

    if (vt == NULL) {
        gr_answer_result(ask, GR_R_NONE);
    } else if (vt->check_password != NULL) {
        call_on(&c, ask, p, insts, s);
        vt->check_password(c.self, c.inst, ask, user, password);
        ask_sent(ask);
    } else if (provider_check_keys == NULL) {
        gr_answer_error(ask, GR_FEATURE_NOT_IMPLEMENTED, NULL);
    } else {
        size_t len = strlen(password) + 1;

        k = gr_alloc(sizeof(*k) + len);
        k->outer = ask;
        k->len = len;
        memcpy(k->password, password, len);
        ask_credentials(ask_new(got_keys, k), h, insts, s, user);
    }
}

void provider_auth_credentials(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                               const char *user, provider_done_f done, void *arg)
{
    ask_credentials(ask_new(done, arg), h, p, s, user);
}

void provider_auth_check(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                         const char *user, const char *password, provider_done_f done, void *arg)
{
    ask_password(ask_new(done, arg), h, p, s, user, password);
}

void gr_auth_check(struct gr_mod *self, struct gr_ask *take, const char *user, const char *password)
{
    ask_issue(take);
    ask_password(take, self->host, NULL, NULL, user, password);
}

/* --- names --- */

static int map_name(struct gr_host *h, size_t offset, bool to_account, const char *name, char *out)
{
    struct provider *p = provider_find(h, GR_PROVIDER_AUTH, offset);
    const struct gr_auth_provider *vt = p != NULL ? p->vt : NULL;
    size_t len = strlen(name);

    if (vt != NULL)
        return (to_account ? vt->account_of : vt->username_of)(p->self, name, out);
    if (len > GR_JID_PART_MAX)
        return GR_ENOENT;
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

/* --- accounts --- */

static void ask_state(struct gr_ask *ask, struct gr_host *h, const char *user)
{
    struct call c;

    if (!call_find(&c, ask, h, AUTH(user_state), NULL, NULL)) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->user_state(c.self, c.inst, ask, user);
    ask_sent(ask);
}

void provider_auth_state(struct gr_host *h, const char *user, provider_done_f done, void *arg)
{
    ask_state(ask_new(done, arg), h, user);
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
    struct call c;

    ask_issue(take);
    if (!call_find(&c, take, self->host, AUTH(valid_contact), NULL, NULL)) {
        ask_state(ask_new(contact_state, take), self->host, user);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->valid_contact(c.self, c.inst, take, user);
    ask_sent(take);
}

void gr_auth_set_password(struct gr_mod *self, struct gr_ask *take, const char *user,
                          const char *password)
{
    struct call c;

    ask_issue(take);
    if (password[0] == '\0') {
        gr_answer_error(take, GR_NOT_ACCEPTABLE, "the password is empty");
        return;
    }
    if (!call_find(&c, take, self->host, AUTH(set_password), NULL, NULL)) {
        gr_answer_error(take, GR_NOT_ALLOWED, NULL);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->set_password(c.self, c.inst, take, user, password);
    ask_sent(take);
}

void gr_auth_list(struct gr_mod *self, struct gr_ask *take, const char *after, size_t limit)
{
    struct call c;

    ask_issue(take);
    if (!call_find(&c, take, self->host, AUTH(list_users), NULL, NULL)) {
        gr_answer_result(take, GR_R_NONE);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->list_users(c.self, c.inst, take, after, limit);
    ask_sent(take);
}

void provider_create_user(struct gr_host *h, struct gr_ask *ask, const char *user,
                          const char *password)
{
    struct call c;

    if (!call_find(&c, ask, h, AUTH(create_user), NULL, NULL)) {
        gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->create_user(c.self, c.inst, ask, user, password);
    ask_sent(ask);
}

void provider_delete_user(struct gr_host *h, struct gr_ask *ask, const char *user)
{
    struct call c;

    if (!call_find(&c, ask, h, AUTH(delete_user), NULL, NULL)) {
        gr_answer_error(ask, GR_NOT_ALLOWED, NULL);
        return;
    }
    ((const struct gr_auth_provider *)c.vt)->delete_user(c.self, c.inst, ask, user);
    ask_sent(ask);
}

/* --- rosters --- */

typedef void (*plain_f)(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user, const struct gr_jid *contact);

/* Where the function stands, and the answer when it is nowhere: there is no roster, subscriptions are
 * ignored (backends.md 3.4). */
static const struct {
    size_t offset;
    enum gr_result otherwise;
} roster_op[] = {
#define OP(op, f, r) [GR_ROSTER_##op] = { offsetof(struct gr_roster_provider, f), r }
    OP(GET_CONTACTS, get_contacts, GR_R_NONE),
    OP(GET_CONTACT, get_contact, GR_R_NONE),
    OP(REMOVE_CONTACT, remove_contact, GR_R_NONE),
    OP(GET_PENDING, get_pending, GR_R_NONE),
    OP(IS_PENDING, is_pending, GR_R_NONE),
    OP(OUT_SUBSCRIBE, outbound_subscribe, GR_R_NONE),
    OP(IN_SUBSCRIBE, inbound_subscribe, GR_R_FALSE),
    OP(OUT_SUBSCRIBED, outbound_subscribed, GR_R_NONE),
    OP(IN_SUBSCRIBED, inbound_subscribed, GR_R_NONE),
    OP(OUT_UNSUBSCRIBE, outbound_unsubscribe, GR_R_NONE),
    OP(IN_UNSUBSCRIBE, inbound_unsubscribe, GR_R_NONE),
    OP(OUT_UNSUBSCRIBED, outbound_unsubscribed, GR_R_NONE),
    OP(IN_UNSUBSCRIBED, inbound_unsubscribed, GR_R_NONE),
    OP(REMOVE_USER, remove_user, GR_R_OK),
    OP(UPDATE_CONTACT, update_contact, GR_R_NONE),
};

static struct provider_insts *insts_of(struct gr_session *s)
{
    return s != NULL && provider_insts_of != NULL ? provider_insts_of(s) : NULL;
}

/* Providers see bare addresses only (backends.md 3.1); *made is freed after the call. */
static const struct gr_jid *bare(const struct gr_jid *jid, struct gr_jid **made)
{
    *made = NULL;
    if (jid == NULL || jid->resource == NULL)
        return jid;
    return *made = gr_jid_dup_bare(jid);
}

static void call_roster(const struct call *c, struct gr_ask *ask, enum gr_roster_op op,
                        const struct gr_jid *user, const struct gr_jid *contact,
                        struct gr_stanza *stanza)
{
    const struct gr_roster_provider *vt = c->vt;
    plain_f f = NULL;

    switch (op) {
    case GR_ROSTER_GET_CONTACTS:
        vt->get_contacts(c->self, c->inst, ask, user);
        return;
    case GR_ROSTER_GET_PENDING:
        vt->get_pending(c->self, c->inst, ask, user);
        return;
    case GR_ROSTER_OUT_SUBSCRIBE:
        vt->outbound_subscribe(c->self, c->inst, ask, user, contact, stanza);
        return;
    case GR_ROSTER_IN_SUBSCRIBE:
        vt->inbound_subscribe(c->self, c->inst, ask, user, contact, stanza);
        return;
    default: /* the others have one type */
        memcpy(&f, (const char *)vt + roster_op[op].offset, sizeof(f));
        f(c->self, c->inst, ask, user, contact);
    }
}

void gr_roster_ask(struct gr_mod *self, struct gr_ask *take, enum gr_roster_op op,
                   struct gr_session *session, const struct gr_jid *user,
                   const struct gr_jid *contact, struct gr_stanza *stanza)
{
    struct gr_jid *made_user, *made_contact;
    struct call c;

    gr_assert((unsigned)op < GR_COUNT(roster_op) && op != GR_ROSTER_UPDATE_CONTACT);
    ask_issue(take);
    if (!call_find(&c, take, self->host, GR_PROVIDER_ROSTER, roster_op[op].offset,
                   insts_of(session), session)) {
        gr_answer_result(take, roster_op[op].otherwise);
        return;
    }
    user = bare(user, &made_user);
    contact = bare(contact, &made_contact);
    call_roster(&c, take, op, user, contact, stanza);
    gr_jid_free(&made_user);
    gr_jid_free(&made_contact);
    ask_sent(take);
}

void gr_roster_update(struct gr_mod *self, struct gr_ask *take, struct gr_session *session,
                      const struct gr_jid *user, const struct gr_roster_item *item)
{
    struct gr_roster_item copy = *item;
    struct gr_jid *made_user, *made_contact;
    struct call c;

    ask_issue(take);
    if (!call_find(&c, take, self->host, ROSTER(update_contact), insts_of(session), session)) {
        gr_answer_error(take, GR_NOT_ALLOWED, NULL);
        return;
    }
    user = bare(user, &made_user);
    copy.jid = bare(item->jid, &made_contact);
    ((const struct gr_roster_provider *)c.vt)->update_contact(c.self, c.inst, take, user, &copy);
    gr_jid_free(&made_user);
    gr_jid_free(&made_contact);
    ask_sent(take);
}

/* --- sessions --- */

void provider_session_bind(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                           const struct gr_jid *full, provider_done_f done, void *arg)
{
    struct gr_ask *ask = ask_new(done, arg);
    struct call c;

    if (!call_find(&c, ask, h, SESSION(bind), p, s)) {
        gr_answer_result(ask, GR_R_OK);
        return;
    }
    ((const struct gr_session_provider *)c.vt)->bind(c.self, c.inst, ask, full);
    ask_sent(ask);
}

void provider_session_unbind(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                             const struct gr_jid *full)
{
    struct provider *pr = provider_find(h, SESSION(unbind));
    struct provider_inst *pi;

    if (pr == NULL)
        return;
    pi = provider_open(pr, p, s);
    ((const struct gr_session_provider *)pr->vt)->unbind(pr->self, pi->inst, full);
}

void provider_session_presence(struct gr_host *h, struct provider_insts *p, struct gr_session *s,
                               const struct gr_jid *full, int priority, struct gr_stanza *stanza)
{
    struct gr_ask *ask = ask_new(NULL, NULL);
    struct call c;

    if (!call_find(&c, ask, h, SESSION(set_presence), p, s)) {
        gr_answer_result(ask, GR_R_OK);
        return;
    }
    ((const struct gr_session_provider *)c.vt)->set_presence(c.self, c.inst, ask, full, priority,
                                                             stanza);
    ask_sent(ask);
}
