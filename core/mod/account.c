/* mod/account.c: accounts come, change and go: the auth provider first, then the hooks that tell everybody,
 * then the answer (hooks.md 4.4: remove_user runs after the account was deleted from the auth store).
 *
 * The provider is asked on the asker's loop; register_user, password_changed and remove_user run on the
 * account's home loop; the answer goes back to where it was asked. */
#include <string.h>

#include "mod/provider_priv.h"

/* --- which accounts are not what they were ---
 * A login that began before a removal or a new password is not to end behind it. Those that stand on
 * the home loop by then are ended (route/sm.c); the others were still being proved elsewhere, and
 * compare this count from before the proof with the one that they find at home. Accounts may share one:
 * then a login has to be repeated. */
#define COUNTS 4096
static _Atomic uint32_t counts[COUNTS];

uint32_t provider_auth_changes(const struct gr_jid *jid)
{
    return counts[jid->hash % COUNTS];
}

void provider_auth_changed(const struct gr_jid *jid)
{
    counts[jid->hash % COUNTS]++;
}

struct account_op {
    struct gr_user_ev ev;
    struct post post;
    struct loop *back;
    struct gr_ask *outer;
    struct gr_jid *jid;
    enum gr_hook_id hook;
};

static void op_free(struct account_op *op)
{
    gr_jid_free(&op->jid);
    gr_free(op);
}

/* The provider that answers inside its function may still look at the name. */
static void op_free_post(struct post *p)
{
    op_free(GR_CONTAINER_OF(p, struct account_op, post));
}

static void answer_back(struct post *p)
{
    struct account_op *op = GR_CONTAINER_OF(p, struct account_op, post);
    struct gr_ask *outer = op->outer;
    bool half = op->hook == GR_HOOK_password_changed && op->ev.ev.failed > 0;

    op_free(op);
    if (half) /* what logs in without it may still be good */
        gr_answer_error(outer, GR_INTERNAL_SERVER_ERROR,
                        "the password is changed, but not all that was given out under the old one "
                        "could be taken back");
    else
        gr_answer_result(outer, GR_R_OK);
}

static void hooks_done(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct account_op *op = GR_CONTAINER_OF(ev, struct account_op, ev.ev);

    (void)verdict;
    acc_free(&op->ev.ev.acc);
    op->post.run = answer_back;
    loop_post(op->back, &op->post);
}

/* On the home loop. */
static void run_hooks(struct post *p)
{
    struct account_op *op = GR_CONTAINER_OF(p, struct account_op, post);

    op->ev.ev.host = host_find(op->jid->domain);
    op->ev.jid = op->jid;
    if (op->ev.ev.host == NULL) { /* gone by a reload meanwhile */
        hooks_done(&op->ev.ev, GR_OK);
        return;
    }
    if (op->hook == GR_HOOK_remove_user)
        op->ev.ev.acc = acc_new(GR_FROM_SERVER);
    hook_run(op->hook, &op->ev.ev, hooks_done);
}

static void provider_answered(void *arg, const struct gr_answer *a)
{
    struct account_op *op = arg;

    if (a->result != GR_R_OK) {
        gr_answer(op->outer, a);
        op->post.run = op_free_post;
        loop_defer(&op->post);
        return;
    }
    op->back = loop_self();
    op->post.run = run_hooks;
    loop_post(loop_home(op->jid->hash), &op->post);
}

/* NULL: answered already, the name is none. */
static struct account_op *op_new(struct gr_mod *self, struct gr_ask *outer, const char *user,
                                 enum gr_hook_id hook)
{
    struct account_op *op;
    struct gr_jid *jid;

    if (user == NULL || user[0] == '\0' ||
        gr_jid_make(user, self->host->jid->domain, NULL, &jid) != 0) {
        gr_answer_error(outer, GR_JID_MALFORMED, NULL);
        return NULL;
    }
    op = gr_alloc(sizeof(*op));
    op->outer = outer;
    op->jid = jid;
    op->hook = hook;
    return op;
}

void gr_auth_create(struct gr_mod *self, struct gr_ask *take, const char *user,
                    const char *password)
{
    struct account_op *op;

    ask_issue(take);
    op = op_new(self, take, user, GR_HOOK_register_user);
    if (op == NULL)
        return;
    if (!gr_jid_node_is_portable(op->jid->node)) { /* old peers would write it differently */
        gr_answer_error(take, GR_NOT_ACCEPTABLE, "the name is not usable on all servers");
        op_free(op);
        return;
    }
    if (password == NULL || password[0] == '\0') {
        gr_answer_error(take, GR_NOT_ACCEPTABLE, "the password is empty");
        op_free(op);
        return;
    }
    provider_create_user(self->host, ask_new(provider_answered, op), op->jid->node, password);
}

static void set_password(struct gr_mod *self, struct gr_ask *take, const char *user,
                         const char *password, uint64_t session)
{
    struct account_op *op;

    ask_issue(take);
    if (password[0] == '\0') {
        gr_answer_error(take, GR_NOT_ACCEPTABLE, "the password is empty");
        return;
    }
    op = op_new(self, take, user, GR_HOOK_password_changed);
    if (op == NULL)
        return;
    op->ev.session = session;
    provider_set_password(self->host, ask_new(provider_answered, op), op->jid->node, password);
}

void gr_auth_set_password(struct gr_mod *self, struct gr_ask *take, const char *user,
                          const char *password)
{
    set_password(self, take, user, password, 0);
}

void gr_auth_change_password(struct gr_mod *self, struct gr_ask *take, const struct gr_session *own,
                             const char *password)
{
    set_password(self, take, gr_session_jid(own)->node, password, gr_session_id(own));
}

void gr_auth_delete(struct gr_mod *self, struct gr_ask *take, const char *user)
{
    struct account_op *op;

    ask_issue(take);
    op = op_new(self, take, user, GR_HOOK_remove_user);
    if (op != NULL)
        provider_delete_user(self->host, ask_new(provider_answered, op), op->jid->node);
}

/* --- does it exist --- */

struct exists_op {
    struct gr_user_ev ev;
    struct post post;
    struct gr_ask *outer;
    struct gr_jid *jid;
};

static void exists_free(struct post *p)
{
    struct exists_op *op = GR_CONTAINER_OF(p, struct exists_op, post);

    gr_jid_free(&op->jid);
    gr_free(op);
}

static void exists_state(void *arg, const struct gr_answer *a)
{
    struct exists_op *op = arg;

    /* A handler may know accounts that the provider does not; only it knows inactive ones. */
    if (a->result == GR_R_ERROR && !op->ev.exists)
        gr_answer(op->outer, a);
    else
        gr_answer_result(op->outer, a->result == GR_R_FALSE ? GR_R_FALSE
                                    : op->ev.exists         ? GR_R_OK
                                                            : GR_R_NONE);
    op->post.run = exists_free;
    loop_defer(&op->post);
}

static void exists_done(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct exists_op *op = GR_CONTAINER_OF(ev, struct exists_op, ev.ev);

    (void)verdict;
    provider_auth_state(ev->host, op->jid->node, exists_state, op);
}

void gr_auth_exists(struct gr_mod *self, struct gr_ask *take, const char *user)
{
    struct exists_op *op;
    struct gr_jid *jid;

    ask_issue(take);
    if (user == NULL || user[0] == '\0' ||
        gr_jid_make(user, self->host->jid->domain, NULL, &jid) != 0) {
        gr_answer_result(take, GR_R_NONE);
        return;
    }
    op = gr_alloc(sizeof(*op));
    op->outer = take;
    op->jid = jid;
    op->ev.ev.host = self->host;
    op->ev.jid = jid;
    hook_run(GR_HOOK_does_user_exist, &op->ev.ev, exists_done);
}
