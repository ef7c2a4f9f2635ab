/* stream/auth.c: the default auth provider: accounts in the store, SCRAM keys instead of passwords
 * (backends.md 2; reliability 6.8). A built-in module, so that it is one provider among others. One
 * row per account: owner = domain, key = user name. Hashing runs in the pool; unknown users cost the
 * same work and give the same answers as wrong passwords. */
#include "stream/auth.h"

#include "loop/work.h"
#include "mod/instance.h"
#include "mod/provider.h"
#include "stream/creds.h"
#include "stream/token.h"

#include <stdio.h>
#include <string.h>

#define RECORD_VERSION 1
#define RECORD_HEAD 10 /* version, flags, created (microseconds, big-endian) */
#define RECORD_MAX (RECORD_HEAD + CREDS_ENCODED_MAX)
#define FLAG_DISABLED 1

static const struct gr_coll collections[] = { GR_MAP("account"), GR_COLL_END };
static uint8_t secret[32];

static void check_keys(const void *data, size_t len, const char *password,
                       void (*done)(void *arg, enum gr_result result), void *arg);

void auth_set_secret(const void *bytes, size_t len)
{
    gr_assert(len == sizeof(secret));
    memcpy(secret, bytes, len);
    provider_check_keys = check_keys;
    provider_check_token = token_check;
}

void auth_derive_key(const char *purpose, const char *host, uint8_t out[AUTH_KEY_SIZE])
{
    char *text = gr_asprintf("%s %s", purpose, host);

    scram_hmac(SCRAM_SHA256, secret, sizeof(secret), text, strlen(text), out);
    gr_free(text);
}

static const char *domain(struct gr_mod *self)
{
    return gr_host_name(gr_mod_host(self));
}

const uint32_t *auth_iterations(const struct conf_host *host, uint32_t out[SCRAM_HASHES])
{
    for (int i = 0; i < SCRAM_HASHES; i++)
        out[i] = host->scram_iterations > 0 ? (uint32_t)host->scram_iterations
                                            : creds_iterations[i];
    return out;
}

/* --- records --- */

struct record {
    uint8_t flags;
    int64_t created_us;
    const uint8_t *creds;
    size_t creds_len;
};

static int record_decode(const void *data, size_t len, struct record *r)
{
    const uint8_t *p = data;
    uint64_t t = 0;

    if (len < RECORD_HEAD || p[0] != RECORD_VERSION)
        return GR_EINVAL;
    for (int i = 2; i < RECORD_HEAD; i++)
        t = t << 8 | p[i];
    *r = (struct record){ p[1], (int64_t)t, p + RECORD_HEAD, len - RECORD_HEAD };
    return 0;
}

static size_t record_encode(uint8_t flags, int64_t created_us, const struct creds *c, uint8_t *out)
{
    out[0] = RECORD_VERSION;
    out[1] = flags;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)((uint64_t)created_us >> (56 - 8 * i));
    return RECORD_HEAD + creds_encode(c, out + RECORD_HEAD, CREDS_ENCODED_MAX);
}

/* --- one row for one question --- */

struct call {
    struct gr_ask *ask;
    void (*go)(struct gr_mod *self, struct call *c, const struct record *r); /* r NULL: no account */
    char *user, *password;
};

static void call_fini(struct call *c)
{
    if (c->password != NULL)
        gr_wipe(c->password, strlen(c->password));
    gr_free(c->password);
    gr_free(c->user);
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct call *c = gr_req_data(req);
    struct record r;

    if (rows->rc != 0 && rows->rc != GR_ENOENT)
        gr_answer_error(c->ask, gr_cond_of(rows->rc), NULL);
    else if (rows->rc == GR_ENOENT || rows->count == 0)
        c->go(self, c, NULL);
    else if (record_decode(rows->row[0].val, rows->row[0].val_len, &r) != 0)
        gr_answer_error(c->ask, GR_INTERNAL_SERVER_ERROR, NULL);
    else
        c->go(self, c, &r);
    call_fini(c);
}

static void look_up(struct gr_mod *self, struct gr_ask *ask, const char *user, const char *password,
                    void (*go)(struct gr_mod *self, struct call *c, const struct record *r))
{
    struct gr_req *req = gr_req_new(self, sizeof(struct call), on_row);
    struct call *c = gr_req_data(req);

    c->ask = ask;
    c->go = go;
    c->user = gr_strdup(user);
    c->password = password != NULL ? gr_strdup(password) : NULL;
    gr_store_get(req, &collections[0], domain(self), user, strlen(user));
}

static void go_credentials(struct gr_mod *self, struct call *c, const struct record *r)
{
    struct gr_answer a = { .result = GR_R_NONE };

    (void)self;
    if (r != NULL)
        a = (struct gr_answer){ .result = r->flags & FLAG_DISABLED ? GR_R_FALSE : GR_R_OK,
                                .creds = r->creds, .creds_len = r->creds_len };
    gr_answer(c->ask, &a);
}

static void get_credentials(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    look_up(self, ask, user, NULL, go_credentials);
}

static void go_state(struct gr_mod *self, struct call *c, const struct record *r)
{
    (void)self;
    gr_answer_result(c->ask, r == NULL ? GR_R_NONE
                             : r->flags & FLAG_DISABLED ? GR_R_FALSE : GR_R_OK);
}

static void user_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    look_up(self, ask, user, NULL, go_state);
}

/* --- hashing in the pool --- */

struct hashing {
    struct gr_ask *ask;
    struct creds creds;
    bool check, exists, disabled, is_new;
    int rc;
    int64_t created_us;
    uint8_t flags;
    uint32_t iterations[SCRAM_HASHES];
    char user[GR_JID_PART_MAX + 1];
    char password[GR_JID_PART_MAX + 1];
};

static void hash(void *data)
{
    struct hashing *h = data;
    size_t len = strlen(h->password);

    if (h->check)
        h->rc = creds_check_plain(&h->creds, h->password, len) ? 0 : GR_ENOENT;
    else
        h->rc = creds_make(h->password, len, SCRAM_ALL_HASHES, h->iterations, &h->creds);
    gr_wipe(h->password, sizeof(h->password));
}

static void submit(struct gr_mod *self, struct hashing *h,
                   void (*done)(struct gr_mod *self, void *data))
{
    if (gr_work(self, h, sizeof(*h), hash, done) != 0)
        gr_answer_error(h->ask, GR_RESOURCE_CONSTRAINT, "too many password operations");
    gr_wipe(h, sizeof(*h));
    gr_free(h);
}

static struct hashing *hashing_new(struct gr_mod *self, const struct call *c)
{
    struct hashing *h = gr_alloc(sizeof(*h));
    size_t len = strlen(c->password);

    auth_iterations(self->host->conf, h->iterations);
    h->ask = c->ask;
    snprintf(h->user, sizeof(h->user), "%s", c->user);
    if (len < sizeof(h->password)) /* longer ones are refused by preparation, as "" is */
        memcpy(h->password, c->password, len + 1);
    return h;
}

static void checked(struct gr_mod *self, void *data)
{
    struct hashing *h = data;
    bool ok = h->exists && h->rc == 0;

    (void)self;
    creds_wipe(&h->creds);
    gr_answer_result(h->ask, !h->exists           ? GR_R_NONE
                             : ok && !h->disabled ? GR_R_OK
                                                  : GR_R_FALSE);
}

static void go_check(struct gr_mod *self, struct call *c, const struct record *r)
{
    struct hashing *h = hashing_new(self, c);

    h->check = true;
    h->exists = r != NULL && creds_decode(r->creds, r->creds_len, &h->creds) == 0;
    h->disabled = r != NULL && (r->flags & FLAG_DISABLED);
    if (!h->exists)
        creds_decoy(secret, sizeof(secret), c->user, domain(self), SCRAM_ALL_HASHES, h->iterations,
                    &h->creds);
    submit(self, h, checked);
}

static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    (void)inst;
    look_up(self, ask, user, password, go_check);
}

/* --- for providers that serve keys and leave checking passwords to the core --- */

struct key_check {
    struct work work;
    struct creds creds;
    bool usable;
    enum gr_result result;
    void (*done)(void *arg, enum gr_result result);
    void *arg;
    char password[GR_JID_PART_MAX + 1];
};

static void key_check_run(struct work *w)
{
    struct key_check *k = GR_CONTAINER_OF(w, struct key_check, work);

    k->result = creds_check_plain(&k->creds, k->password, strlen(k->password)) && k->usable
                    ? GR_R_OK : GR_R_FALSE;
}

static void key_check_done(struct work *w)
{
    struct key_check *k = GR_CONTAINER_OF(w, struct key_check, work);

    k->done(k->arg, k->result);
    gr_wipe(k, sizeof(*k));
    gr_free(k);
}

static void check_keys(const void *data, size_t len, const char *password,
                       void (*done)(void *arg, enum gr_result result), void *arg)
{
    struct key_check *k = gr_alloc(sizeof(*k));

    k->result = GR_R_ERROR; /* the pool is full */
    k->done = done;
    k->arg = arg;
    k->work.run = key_check_run;
    k->work.done = key_check_done;
    k->usable = data != NULL && creds_decode(data, len, &k->creds) == 0;
    if (!k->usable) /* nobody's keys: the same work, and no */
        creds_decoy(secret, sizeof(secret), "", "", SCRAM_ALL_HASHES, creds_iterations, &k->creds);
    if (strlen(password) < sizeof(k->password))
        memcpy(k->password, password, strlen(password) + 1);
    if (work_submit(&k->work) != 0)
        key_check_done(&k->work);
}

/* --- writing --- */

struct write {
    struct gr_ask *ask;
};

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct write *w = gr_req_data(req);

    (void)self;
    if (rows->rc == 0)
        gr_answer_result(w->ask, GR_R_OK);
    else if (rows->rc == GR_EEXIST)
        gr_answer_result(w->ask, GR_R_FALSE);
    else
        gr_answer_error(w->ask, gr_cond_of(rows->rc), NULL);
}

static void commit(struct gr_mod *self, struct gr_txn *t, struct gr_ask *ask)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct write), on_written);

    ((struct write *)gr_req_data(req))->ask = ask;
    gr_txn_commit(t, req);
}

static void hashed(struct gr_mod *self, void *data)
{
    struct hashing *h = data;
    uint8_t record[RECORD_MAX];

    if (h->rc != 0) { /* the password itself cannot be one */
        gr_answer_error(h->ask, GR_NOT_ACCEPTABLE, "this password cannot be used");
        return;
    }
    size_t len = record_encode(h->flags, h->created_us, &h->creds, record);
    struct gr_txn *t = gr_txn_new(self);
    (h->is_new ? gr_txn_put_new : gr_txn_put)(t, &collections[0], domain(self), h->user,
                                              strlen(h->user), record, len);
    creds_wipe(&h->creds);
    gr_wipe(record, sizeof(record));
    commit(self, t, h->ask);
}

static void go_create(struct gr_mod *self, struct call *c, const struct record *r)
{
    if (r != NULL) {
        gr_answer_result(c->ask, GR_R_FALSE);
        return;
    }
    struct hashing *h = hashing_new(self, c);
    h->is_new = true;
    h->created_us = gr_wall_us();
    submit(self, h, hashed);
}

static void create_user(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                        const char *password)
{
    (void)inst;
    look_up(self, ask, user, password, go_create);
}

static void go_set_password(struct gr_mod *self, struct call *c, const struct record *r)
{
    if (r == NULL) {
        gr_answer_result(c->ask, GR_R_NONE);
        return;
    }
    struct hashing *h = hashing_new(self, c);
    h->created_us = r->created_us;
    h->flags = r->flags;
    submit(self, h, hashed);
}

static void set_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                         const char *password)
{
    (void)inst;
    look_up(self, ask, user, password, go_set_password);
}

/* --- keys added by a client that has just proved the password --- */

struct addition {
    struct gr_ask *ask;
    size_t known_len, creds_len;
    char user[GR_JID_PART_MAX + 1];
    uint8_t known[CREDS_ENCODED_MAX], creds[CREDS_ENCODED_MAX];
};

static void on_row_to_add(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct addition *n = gr_req_data(req);
    uint8_t record[RECORD_MAX];
    struct record r;
    struct gr_txn *t;

    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        gr_answer_error(n->ask, gr_cond_of(rows->rc), NULL);
    } else if (rows->count == 0 ||
               record_decode(rows->row[0].val, rows->row[0].val_len, &r) != 0) {
        gr_answer_result(n->ask, GR_R_NONE);
    } else if (r.creds_len != n->known_len || memcmp(r.creds, n->known, n->known_len) != 0) {
        gr_answer_result(n->ask, GR_R_FALSE);
    } else {
        memcpy(record, rows->row[0].val, RECORD_HEAD);
        memcpy(record + RECORD_HEAD, n->creds, n->creds_len);
        t = gr_txn_new(self);
        gr_txn_put(t, &collections[0], domain(self), n->user, strlen(n->user), record,
                   RECORD_HEAD + n->creds_len);
        commit(self, t, n->ask);
        gr_wipe(record, sizeof(record));
    }
    gr_wipe(n, sizeof(*n));
}

static void add_keys(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                     const struct gr_new_keys *keys)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct addition), on_row_to_add);
    struct addition *n = gr_req_data(req);

    (void)inst;
    gr_assert(keys->known_len <= sizeof(n->known) && keys->creds_len <= sizeof(n->creds));
    n->ask = ask;
    snprintf(n->user, sizeof(n->user), "%s", user);
    n->known_len = keys->known_len;
    memcpy(n->known, keys->known, keys->known_len);
    n->creds_len = keys->creds_len;
    memcpy(n->creds, keys->creds, keys->creds_len);
    gr_store_get(req, &collections[0], domain(self), user, strlen(user));
}

static void go_delete(struct gr_mod *self, struct call *c, const struct record *r)
{
    if (r == NULL) {
        gr_answer_result(c->ask, GR_R_NONE);
        return;
    }
    struct gr_txn *t = gr_txn_new(self);
    gr_txn_del(t, &collections[0], domain(self), c->user, strlen(c->user));
    commit(self, t, c->ask);
}

static void delete_user(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)inst;
    look_up(self, ask, user, NULL, go_delete);
}

/* --- listing --- */

#define LIST_MAX 1000

/* Admins are written as addresses. */
static bool is_admin(struct gr_mod *self, const char *account)
{
    const char *const *admin = self->host->conf->admins;
    char name[GR_JID_PART_MAX + 1];
    size_t len;

    if (admin == NULL || provider_username_of(self->host, account, name) != 0)
        return false;
    len = strlen(name);
    for (; *admin != NULL; admin++)
        if (strncmp(*admin, name, len) == 0 && (*admin)[len] == '@' &&
            strcmp(*admin + len + 1, domain(self)) == 0)
            return true;
    return false;
}

static void on_list(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    static const char *const staff[] = { "staff", NULL };
    struct write *w = gr_req_data(req);
    struct gr_roster_item *items = gr_alloc((rows->count + 1) * sizeof(*items));
    struct gr_jid **jids = gr_alloc((rows->count + 1) * sizeof(struct gr_jid *));
    struct gr_answer a = { .result = rows->more ? GR_R_FALSE : GR_R_OK, .items = items };
    char cursor[GR_JID_PART_MAX + 1] = "";
    struct record r;

    for (size_t i = 0; i < rows->count; i++) {
        const struct gr_row *row = &rows->row[i];
        char *user = gr_strndup(row->key, row->key_len);
        snprintf(cursor, sizeof(cursor), "%s", user);
        if (record_decode(row->val, row->val_len, &r) == 0 && !(r.flags & FLAG_DISABLED) &&
            gr_jid_make(user, domain(self), NULL, &jids[a.count]) == 0) {
            struct gr_roster_item *it = &items[a.count];
            it->jid = jids[a.count];
            it->groups = is_admin(self, user) ? staff : NULL;
            a.count++;
        }
        gr_free(user);
    }
    a.text = rows->more ? cursor : NULL; /* the last account may be a disabled one */
    if (rows->rc == 0)
        gr_answer(w->ask, &a);
    else
        gr_answer_error(w->ask, gr_cond_of(rows->rc), NULL);
    for (size_t i = 0; i < a.count; i++)
        gr_jid_free(&jids[i]);
    gr_free(jids);
    gr_free(items);
}

static void list_users(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *after,
                       size_t limit)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct write), on_list);
    size_t len = after != NULL ? strlen(after) + 1 : 0; /* the NUL: strictly behind it */

    (void)inst;
    ((struct write *)gr_req_data(req))->ask = ask;
    gr_store_range(req, &collections[0], domain(self), after, len,
                   limit < LIST_MAX ? limit : LIST_MAX);
}

static const struct gr_auth_provider provider = {
    .name = "internal", .get_credentials = get_credentials, .check_password = check_password,
    .user_state = user_state, .valid_contact = user_state,
    .create_user = create_user, .set_password = set_password, .delete_user = delete_user,
    .add_keys = add_keys,
    .list_users = list_users,
};

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    ((struct token_used *)gr_state(self))->since_s = gr_wall_us() / 1000000;
    gr_provide_auth(self, &provider, 0);
    return 0;
}

static void stop(struct gr_mod *self)
{
    token_used_fini(gr_state(self));
}

const struct gr_module auth_module = {
    .name = "auth", .summary = "accounts: built in", .abi = GR_ABI_VERSION,
    .abi_tag = GR_ABI_TAG, .state_size = sizeof(struct token_used), .collections = collections,
    .start = start, .stop = stop,
};
