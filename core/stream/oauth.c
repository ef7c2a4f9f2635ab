/* stream/oauth.c: is this token good? Asked on the account's home loop, where its tokens are looked
 * after, and answered on the loop that asks. */
#include "stream/oauth.h"

#include <string.h>

struct oauth_op {
    struct gr_token_ev e;
    struct post post;
    struct loop *back;
    struct gr_jid *jid;
    void *token;
    enum sasl_condition refusal;
    void (*done)(void *arg, const struct oauth_answer *a);
    void *arg;
};

bool oauth_available(const struct gr_host *h)
{
    return !hook_empty(h, GR_HOOK_token_check);
}

static void forget(void *secret, size_t len)
{
    if (secret != NULL)
        gr_wipe(secret, len);
    gr_free(secret);
}

static void returned(struct post *p)
{
    struct oauth_op *op = GR_CONTAINER_OF(p, struct oauth_op, post);
    struct oauth_answer a = { op->refusal, op->e.answer, op->e.answer_len, op->e.until_s };

    op->done(op->arg, &a);
    forget(op->e.answer, op->e.answer_len);
    forget(op->token, op->e.len);
    gr_jid_free(&op->jid);
    gr_free(op);
}

static void go_back(struct oauth_op *op, enum sasl_condition refusal)
{
    op->refusal = refusal;
    op->post.run = returned;
    loop_post(op->back, &op->post);
}

/* Asked last: a token may have made the account; and accounts that are not there are answered like wrong
 * tokens. */
static void got_state(void *arg, const struct gr_answer *a)
{
    static const enum sasl_condition of[] = {
        [GR_R_OK] = SASL_NONE, [GR_R_FALSE] = SASL_ACCOUNT_DISABLED,
        [GR_R_NONE] = SASL_NOT_AUTHORIZED, [GR_R_ERROR] = SASL_TEMPORARY_AUTH_FAILURE,
    };

    go_back(arg, of[a->result]);
}

static void checked(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_token_ev *e = GR_CONTAINER_OF(ev, struct gr_token_ev, ev);
    struct oauth_op *op = GR_CONTAINER_OF(e, struct oauth_op, e);

    (void)verdict;
    if (e->result == GR_FAST_UNKNOWN) /* nobody, or whoever could tell has failed */
        go_back(op, SASL_TEMPORARY_AUTH_FAILURE);
    else if (e->result == GR_FAST_EXPIRED)
        go_back(op, SASL_CREDENTIALS_EXPIRED);
    else if (e->result == GR_FAST_REFUSED)
        go_back(op, SASL_NOT_AUTHORIZED);
    else
        provider_auth_state(ev->host, op->jid->node, got_state, op);
}

static void at_home(struct post *p)
{
    struct oauth_op *op = GR_CONTAINER_OF(p, struct oauth_op, post);

    op->e.ev.host = host_find(op->jid->domain);
    if (op->e.ev.host == NULL) /* gone by a reload meanwhile */
        go_back(op, SASL_TEMPORARY_AUTH_FAILURE);
    else
        hook_run(GR_HOOK_token_check, &op->e.ev, checked);
}

void oauth_ask(struct c2s *c, void (*done)(void *arg, const struct oauth_answer *a), void *arg)
{
    struct oauth_op *op = gr_alloc(sizeof(*op));
    const void *token = sasl_shown_token(c->login->sasl, &op->e.len);
    char name[GR_JID_PART_MAX + 1];

    op->token = gr_alloc(op->e.len);
    memcpy(op->token, token, op->e.len);
    op->e.token = op->token;
    op->done = done;
    op->arg = arg;
    op->back = loop_self();
    if (provider_login_name(c->session->host, sasl_username(c->login->sasl), name) != 0 ||
        gr_jid_make(name, c->login->props.host, NULL, &op->jid) != 0) {
        go_back(op, SASL_NOT_AUTHORIZED);
        return;
    }
    op->e.jid = op->jid;
    op->post.run = at_home;
    loop_post(loop_home(op->jid->hash), &op->post);
}
