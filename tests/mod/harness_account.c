/* tests/mod/harness_account.c: accounts. Hashing a password takes milliseconds, so it is done once
 * per server: further accounts get a copy of that row. */
#include "harness_priv.h"

#include <stdio.h>

#define TEMPLATE "harness-template"

/* --- which ones the test knows of --- */

struct known {
    struct table_node by_jid;
    struct gr_jid *jid;
};

/* False: it did already. */
static bool note_account(struct h *h, const struct gr_jid *jid)
{
    struct known *k;

    if (table_find_str(&h->accounts, jid->bare) != NULL)
        return false;
    k = gr_alloc(sizeof(*k));
    k->jid = gr_jid_dup_bare(jid);
    table_insert(&h->accounts, &k->by_jid, k->jid->bare, k->jid->bare_len);
    return true;
}

void h_forget_accounts(struct h *h)
{
    struct table_node *next;

    for (struct table_node *n = table_first(&h->accounts); n != NULL; n = next) {
        struct known *k = GR_CONTAINER_OF(n, struct known, by_jid);

        next = table_after(&h->accounts, n);
        table_remove(&h->accounts, n);
        gr_jid_free(&k->jid);
        gr_free(k);
    }
    table_fini(&h->accounts);
}

/* --- through the provider --- */

static void on_answer(void *arg, const struct gr_answer *a)
{
    *(enum gr_result *)arg = a->result;
}

static void on_module_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    enum gr_result **to = gr_ask_data(ask);

    (void)self;
    **to = a->result;
}

enum gr_result h_user_create(struct h *h, const char *bare, const char *password)
{
    struct gr_mod *self = h_mod(h, "sm", bare);
    struct gr_ask *ask = gr_ask_new(self, sizeof(enum gr_result *), on_module_answer);
    enum gr_result result = GR_R_ERROR;

    *(enum gr_result **)gr_ask_data(ask) = &result;
    note_account(h, h_parse_jid(h, bare));
    gr_auth_create(self, ask, h_parse_jid(h, bare)->node, password);
    h_run(h);
    return result;
}

enum gr_result h_user_check(struct h *h, const char *bare, const char *password)
{
    struct gr_mod *self = h_mod(h, "sm", bare);
    struct gr_ask *ask = gr_ask_new(self, sizeof(enum gr_result *), on_module_answer);
    enum gr_result result = GR_R_ERROR;

    *(enum gr_result **)gr_ask_data(ask) = &result;
    gr_auth_check(self, ask, h_parse_jid(h, bare)->node, password);
    h_run(h);
    return result;
}

enum gr_result h_user_delete(struct h *h, const char *bare)
{
    struct gr_mod *self = h_mod(h, "sm", bare);
    struct gr_ask *ask = gr_ask_new(self, sizeof(enum gr_result *), on_module_answer);
    enum gr_result result = GR_R_ERROR;

    *(enum gr_result **)gr_ask_data(ask) = &result;
    gr_auth_delete(self, ask, h_parse_jid(h, bare)->node);
    h_run(h);
    return result;
}

/* --- by copying the row --- */

struct row_read {
    struct store_req req;
    struct h *h;
};

static void on_row(struct store_req *req)
{
    struct h *h = GR_CONTAINER_OF(req, struct row_read, req)->h;

    if (req->rows.rc != 0)
        return;
    h->template_len = req->rows.row[0].val_len;
    h->template = gr_alloc(h->template_len);
    memcpy(h->template, req->rows.row[0].val, h->template_len);
}

static struct store_coll *accounts(void)
{
    return store_coll("account", GR_COLL_MAP);
}

/* Made without running any hooks, and taken away again. */
static void make_template(struct h *h, const struct gr_jid *jid)
{
    enum gr_result result = GR_R_ERROR;
    struct row_read r = { .req.done = on_row, .h = h };
    char account[GR_JID_PART_MAX + 1];
    struct store_txn *t = store_txn_new();

    provider_create_user(host_find(jid->domain), ask_new(on_answer, &result), TEMPLATE, "secret");
    h_run(h);
    if (result != GR_R_OK)
        h_fail("the provider makes no account: %d", (int)result);
    if (provider_account_of(host_find(jid->domain), TEMPLATE, account) != 0)
        h_fail("no account may be called %s", TEMPLATE);
    store_get(&r.req, accounts(), jid->domain, account, strlen(account));
    h_run(h);
    if (h->template == NULL)
        h_fail("accounts are not where the harness looks for them");
    store_txn_add(t, STORE_DEL, accounts(), jid->domain, account, strlen(account), NULL, 0);
    store_commit(t, NULL);
    h_run(h);
}

static void put_account(struct h *h, const char *domain, const char *account, enum store_op op,
                        const void *row, size_t len)
{
    struct store_txn *t = store_txn_new();
    bool held = h->hold_store;

    h->hold_store = false;
    store_txn_add(t, op, accounts(), domain, account, strlen(account), row, len);
    store_commit(t, NULL);
    h_run(h);
    h->hold_store = held;
}

void h_user(struct h *h, const char *bare)
{
    const struct gr_jid *jid = h_parse_jid(h, bare);

    h_mod(h, "auth", bare);
    if (h->template == NULL)
        make_template(h, jid);
    note_account(h, jid);
    put_account(h, jid->domain, jid->node, STORE_PUT, h->template, h->template_len);
}

/* Without keys: nobody knows its password. */
void h_ensure_account(struct h *h, const struct gr_jid *jid)
{
    static const uint8_t row[10] = { 1 }; /* stream/auth.c: version, flags, created */
    char account[GR_JID_PART_MAX + 1];

    if (!note_account(h, jid) || provider_account_of(host_find(jid->domain), jid->node, account) != 0)
        return;
    put_account(h, jid->domain, account, STORE_PUT_NEW, row, sizeof(row));
}

const char *h_user_near(struct h *h, const char *bare, bool same_loop)
{
    int home = h_home(h, bare);
    char text[64];

    for (;;) {
        snprintf(text, sizeof(text), "near%u@localhost", h->near++);
        if (h->loops == 1 || (h_home(h, text) == home) == same_loop)
            break;
    }
    h_user(h, text);
    return h_parse_jid(h, text)->full;
}
