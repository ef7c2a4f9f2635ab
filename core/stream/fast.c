/* stream/fast.c: is this the proof of one of the account's tokens (XEP-0484, 3.4)? Asked on the
 * account's home loop, where its tokens are looked after, and answered on the loop that asks. */
#include "stream/fast.h"

#include "stream/sasl2.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define BINDING_MAX 64

struct fast_op {
    struct gr_fast_ev e;
    struct post post;
    struct loop *back;
    struct gr_jid *jid;
    char *agent;
    struct fast_answer answer;
    void (*done)(void *arg, const struct fast_answer *a);
    void *arg;
    size_t binding_len;
    uint8_t proof[FAST_PROOF_SIZE], binding[BINDING_MAX];
};

bool fast_available(const struct gr_host *h)
{
    return h->conf->sasl2 != CONF_NEVER && !hook_empty(h, GR_HOOK_fast_check);
}

void fast_features(const struct sasl_props *props, struct gr_stanza *f, struct gr_el *in)
{
    const char *names[SASL_MECHS_MAX];
    size_t n = sasl_token_mechanisms(props, names);
    struct gr_el *fast;

    if (n == 0)
        return;
    fast = gr_el_add(f, in, NS_FAST, "fast");
    for (size_t i = 0; i < n; i++)
        gr_el_add_text(f, fast, NULL, "mechanism", names[i]);
}

/* --- at home --- */

static void prove(const struct fast_op *op, const char *who, const char *token,
                  uint8_t out[CREDS_KEY_MAX])
{
    uint8_t text[16 + BINDING_MAX];
    size_t len = strlen(who);

    memcpy(text, who, len);
    memcpy(text + len, op->binding, op->binding_len);
    scram_hmac(SCRAM_SHA256, token, strlen(token), text, len + op->binding_len, out);
}

bool gr_fast_matches(struct gr_fast_ev *ev, const char *token)
{
    struct fast_op *op = GR_CONTAINER_OF(ev, struct fast_op, e);
    uint8_t mac[CREDS_KEY_MAX];
    bool yes;

    prove(op, "Initiator", token, mac);
    yes = gr_equal_secret(mac, op->proof, FAST_PROOF_SIZE);
    if (yes) {
        prove(op, "Responder", token, mac);
        memcpy(op->answer.proof, mac, FAST_PROOF_SIZE);
    }
    gr_wipe(mac, sizeof(mac));
    return yes;
}

static void returned(struct post *p)
{
    struct fast_op *op = GR_CONTAINER_OF(p, struct fast_op, post);

    op->done(op->arg, &op->answer);
    gr_jid_free(&op->jid);
    gr_free(op->agent);
    gr_wipe(op, sizeof(*op));
    gr_free(op);
}

static void go_back(struct fast_op *op, enum sasl_condition refusal)
{
    op->answer.refusal = refusal;
    op->answer.renew = op->e.renew;
    op->answer.until_s = op->e.until_s;
    op->post.run = returned;
    loop_post(op->back, &op->post);
}

/* Asked last, so that accounts that are not there are answered like wrong tokens. */
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
    struct gr_fast_ev *e = GR_CONTAINER_OF(ev, struct gr_fast_ev, ev);
    struct fast_op *op = GR_CONTAINER_OF(e, struct fast_op, e);

    (void)verdict;
    if (ev->failed > 0 || e->result == GR_FAST_UNKNOWN)
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
    struct fast_op *op = GR_CONTAINER_OF(p, struct fast_op, post);

    op->e.ev.host = host_find(op->jid->domain);
    if (op->e.ev.host == NULL) /* gone by a reload meanwhile */
        go_back(op, SASL_TEMPORARY_AUTH_FAILURE);
    else
        hook_run(GR_HOOK_fast_check, &op->e.ev, checked);
}

/* --- where the stream is --- */

/* A positive integer (XEP-0484, 3.4; its schema: xs:int). False: something else. */
static bool read_count(const struct gr_el *fast, int64_t *count)
{
    const char *text = gr_el_attr(fast, "count");
    char *end;

    *count = -1;
    if (text == NULL)
        return true;
    if (*text < '0' || *text > '9')
        return false;
    *count = strtoll(text, &end, 10);
    return *end == '\0' && *count <= INT_MAX;
}

static bool is_true(const char *text)
{
    return text != NULL && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
}

/* SASL_NONE, or why nobody needs to be asked. */
static enum sasl_condition read_request(struct c2s *c, struct fast_op *op)
{
    const struct gr_el *fast = sasl2_asked(c->login->sasl2, NS_FAST, "fast");
    const char *domain = c->login->props.host;
    char name[GR_JID_PART_MAX + 1];
    struct scram_binding binding;
    const uint8_t *proof;
    size_t len;

    if (!read_count(fast, &op->e.count) || c->session->client_id == NULL) /* 4.1: the client MUST */
        return SASL_MALFORMED_REQUEST;
    if (provider_login_name(c->session->host, sasl_username(c->login->sasl), name) != 0 ||
        gr_jid_make(name, domain, NULL, &op->jid) != 0)
        return SASL_NOT_AUTHORIZED;
    proof = sasl_token(c->login->sasl, &len, &binding);
    gr_assert(len == FAST_PROOF_SIZE && binding.len <= BINDING_MAX);
    memcpy(op->proof, proof, len);
    memcpy(op->binding, binding.data, binding.len);
    op->binding_len = binding.len;
    op->agent = gr_strdup(c->session->client_id);
    op->e.jid = op->jid;
    op->e.client = op->agent;
    op->e.mechanism = sasl_mech_name(c->login->sasl);
    op->e.invalidate = is_true(gr_el_attr(fast, "invalidate"));
    return SASL_NONE;
}

void sasl2_ask_token(struct c2s *c, void (*done)(void *arg, const struct fast_answer *a), void *arg)
{
    struct fast_op *op = gr_alloc(sizeof(*op));
    enum sasl_condition refusal;

    op->done = done;
    op->arg = arg;
    op->back = loop_self();
    refusal = read_request(c, op);
    if (refusal != SASL_NONE) {
        go_back(op, refusal);
        return;
    }
    op->post.run = at_home;
    loop_post(loop_home(op->jid->hash), &op->post);
}
