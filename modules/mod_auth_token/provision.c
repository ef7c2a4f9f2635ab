/* mod_auth_token/provision.c: tokens that somebody else has issued, with a key that is shared with us
 * (get_key, "provision_pre_shared"): they make the account, with a vCard, and are good once. */
#include "auth_token.h"

#include <string.h>

#define KEY_MIN 16
#define SPENT_KEY (8 + 32)      /* when it ends, and what it is: in the order of their ends */
#define SWEEP 20                /* of those that are over, gone with each use */

struct op {
    struct gr_vcard_ev vcard;
    struct gr_hold *hold;
    struct gr_token_ev *ev;     /* while the hold waits */
    struct gr_jid *jid;
    char *text;                 /* of the vCard */
    struct gr_stanza *st;
};
struct op_ref {
    struct op *op;
};

bool provision_is_right(struct gr_mod *self, const struct token *t)
{
    struct gr_key_ev ev = { .name = "provision_pre_shared" };
    struct gr_jid *jid = NULL;
    bool yes = false;

    gr_hook_run(self, GR_HOOK_get_key, &ev.ev, NULL);
    if (ev.key != NULL && ev.len >= KEY_MIN && gr_jid_parse(t->jid, strlen(t->jid), &jid) == 0)
        yes = token_is_of(t, ev.key, ev.len);
    gr_jid_free(&jid);
    return yes;
}

static void op_end(struct op *take, enum gr_fast_result result)
{
    if (gr_hold_waits(take->hold))
        take->ev->result = result;
    gr_resume(take->hold, GR_OK);
    gr_stanza_unref(&take->st);
    gr_jid_free(&take->jid);
    gr_free(take->text);
    gr_free(take);
}

static void on_vcard(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_vcard_ev *e = GR_CONTAINER_OF(ev, struct gr_vcard_ev, ev);
    struct op *op = GR_CONTAINER_OF(e, struct op, vcard);

    (void)self, (void)verdict;
    if (e->rc != 0) /* the account is there all the same */
        gr_warn("auth_token.no_vcard", "the vCard of %s was not stored: %s", op->jid->bare,
                gr_strerror(e->rc));
    op_end(op, GR_FAST_OK);
}

static void on_created(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct op *op = ((struct op_ref *)gr_ask_data(ask))->op;

    if (a->result == GR_R_ERROR || a->result == GR_R_NONE) {
        op_end(op, GR_FAST_UNKNOWN);
        return;
    }
    if (a->result == GR_R_FALSE || gr_stanza_parse(op->text, strlen(op->text), &op->st) != 0) {
        op_end(op, GR_FAST_OK); /* it is there already and has its own; or there is none */
        return;
    }
    gr_info("auth_token.provisioned", "user=%s", op->jid->bare);
    op->vcard = (struct gr_vcard_ev){ .user = op->jid, .vcard = op->st, .rc = GR_ENOTSUP };
    gr_hook_run(self, GR_HOOK_set_vcard, &op->vcard.ev, on_vcard);
}

/* Nobody knows its password: whoever has the token asks for others of ours. */
static void on_spent(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct op *op = ((struct op_ref *)gr_req_data(req))->op;
    uint8_t chance[24];
    char password[2 * sizeof(chance) + 1];
    struct gr_ask *ask;

    if (rows->rc != 0) {
        op_end(op, rows->rc == GR_EEXIST ? GR_FAST_REFUSED : GR_FAST_UNKNOWN);
        return;
    }
    gr_random(chance, sizeof(chance));
    gr_hex_encode(password, chance, sizeof(chance));
    ask = gr_ask_new(self, sizeof(struct op_ref), on_created);
    ((struct op_ref *)gr_ask_data(ask))->op = op;
    gr_auth_create(self, ask, op->jid->node, password);
    gr_wipe(password, sizeof(password));
}

static void on_old(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const char *owner = gr_mod_host_jid(self)->domain;
    uint64_t now_s = (uint64_t)(gr_wall_us() / 1000000);
    struct gr_txn *t = gr_txn_new(self);

    (void)req;
    for (size_t i = 0; rows->rc == 0 && i < rows->count; i++)
        if (rows->row[i].key_len == SPENT_KEY && gr_get_u64(rows->row[i].key) < now_s)
            gr_txn_del(t, TOKEN_SPENT, owner, rows->row[i].key, rows->row[i].key_len);
    gr_txn_commit(t, NULL);
}

void provision(struct gr_mod *self, struct gr_hold *hold, struct gr_token_ev *ev,
               const struct token *t)
{
    const char *owner = gr_mod_host_jid(self)->domain;
    struct gr_req *req = gr_req_new(self, sizeof(struct op_ref), on_spent);
    struct gr_txn *txn = gr_txn_new(self);
    struct op *op = gr_alloc(sizeof(*op));
    uint8_t key[8 + GR_HASH_MAX];

    op->hold = hold;
    op->ev = ev;
    op->jid = gr_jid_dup(ev->jid);
    op->text = gr_strdup(t->vcard);
    ((struct op_ref *)gr_req_data(req))->op = op;
    gr_put_u64(key, (uint64_t)t->expiry_s);
    gr_hash("sha-256", t->body, t->body_len, key + 8);
    gr_txn_put_new(txn, TOKEN_SPENT, owner, key, SPENT_KEY, "", 0);
    gr_txn_commit(txn, req);
    gr_store_range(gr_req_new(self, 0, on_old), TOKEN_SPENT, owner, NULL, 0, SWEEP);
}
