/* route/sm.c: the session manager as a built-in module: the handlers by which the core itself takes
 * part in the chains (hooks.md 4.3 to 4.7), at the places where other modules expect them. */
#include "route/session.h"

/* --- user_open_session(10): may this user open a session at all? --- */

struct opening {
    struct gr_session_ev e;
    struct gr_hold *hold;
};

static void opening_done(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_session_ev *e = GR_CONTAINER_OF(ev, struct gr_session_ev, ev);
    struct opening *o = GR_CONTAINER_OF(e, struct opening, e);
    struct gr_hold *hold = o->hold;
    bool allow = e->allow == true; /* and nothing else that a handler may have left there */

    (void)verdict; /* a value hook: stop only ends the chain */
    acc_free(&o->e.ev.acc);
    gr_free(o);
    gr_resume(hold, allow ? GR_OK : GR_STOP);
}

static enum gr_verdict on_open(struct gr_mod *self, struct gr_session_ev *ev)
{
    if (hook_empty(ev->ev.host, GR_HOOK_session_opening_allowed_for_user))
        return GR_OK;
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_STOP; /* nobody can be asked: refuse rather than let in */
    struct opening *o = gr_alloc(sizeof(*o));
    o->hold = hold;
    o->e = (struct gr_session_ev){ .ev.host = ev->ev.host, .ev.acc = acc_new(GR_FROM_C2S),
                                   .session = ev->session, .jid = ev->jid, .allow = true };
    hook_run(GR_HOOK_session_opening_allowed_for_user, &o->e.ev, opening_done);
    return GR_PENDING;
}

/* --- does_user_exist(50) --- */

struct exists {
    struct gr_user_ev *ev;
    struct gr_hold *hold;
};

static void exists_answered(void *arg, const struct gr_answer *a)
{
    struct exists x = *(struct exists *)arg;

    gr_free(arg);
    if (gr_hold_waits(x.hold))
        x.ev->exists = a->result == GR_R_OK || a->result == GR_R_FALSE;
    gr_resume(x.hold, GR_OK);
}

static enum gr_verdict on_exist(struct gr_mod *self, struct gr_user_ev *ev)
{
    if (ev->exists || ev->jid->node == NULL)
        return GR_OK;
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL;
    struct exists *x = gr_alloc(sizeof(*x));
    *x = (struct exists){ ev, hold };
    provider_auth_state(ev->ev.host, ev->jid->node, exists_answered, x);
    return GR_PENDING;
}

/* --- roster_in_subscription(20): nobody there, nothing to subscribe to --- */

static void target_answered(void *arg, const struct gr_answer *a)
{
    bool exists = a->result == GR_R_OK || a->result == GR_R_FALSE;

    gr_resume(arg, exists ? GR_OK : GR_STOP); /* deliver stays false: ignored, RFC 6121, 8.5.1 */
}

static enum gr_verdict on_subscription(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);

    if (hold == NULL)
        return GR_STOP;
    provider_auth_state(ev->ev.host, ev->to->node, target_answered, hold);
    return GR_PENDING;
}

/* --- offline_message(100), offline_groupchat_message(100): the last word is an error --- */

static enum gr_verdict on_undelivered(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    return gr_ev_refuse(self, ev, GR_SERVICE_UNAVAILABLE, NULL);
}

/* --- remove_user, password_changed: nobody stays or comes in by what was good before ---
 * provider_auth_changes tells those that are still on their way. Sessions go at once with their password,
 * before they can ask for anything else that would let them in again; with their account last, so that
 * replies still reach them. Both are done again at the end: until then modules may have taken the tokens
 * that are going. */

static void end_if_removed(void *ctx, struct gr_session *s)
{
    if (!s->ending && s->jid != NULL && gr_jid_bare_equal(s->jid, ctx))
        session_request_close(s, "not-authorized", "User removed", true);
}

static enum gr_verdict before_removal(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    provider_auth_changed(ev->jid);
    return GR_OK;
}

/* Also those that have not bound a resource, which are in no account. */
static enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    provider_auth_changed(ev->jid);
    session_each(end_if_removed, (void *)(uintptr_t)ev->jid);
    return GR_OK;
}

static void end_if_old(void *ctx, struct gr_session *s)
{
    const struct gr_user_ev *ev = ctx;

    if (!s->ending && s->jid != NULL && s->id != ev->session && gr_jid_bare_equal(s->jid, ev->jid))
        session_request_close(s, "reset", "The password was changed", true);
}

static enum gr_verdict on_password(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    provider_auth_changed(ev->jid);
    session_each(end_if_old, ev);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_open_session, 10, on_open),
    GR_ON(does_user_exist, GR_PRIO_NORMAL, on_exist),
    GR_ON(roster_in_subscription, 20, on_subscription),
    GR_ON(offline_message, GR_PRIO_LAST, on_undelivered),
    GR_ON(offline_groupchat_message, GR_PRIO_LAST, on_undelivered),
    GR_ON(password_changed, GR_PRIO_SECURITY, on_password),
    GR_ON(password_changed, GR_PRIO_LAST, on_password),
    GR_ON(remove_user, GR_PRIO_SECURITY, before_removal),
    GR_ON(remove_user, GR_PRIO_LAST, on_remove_user),
    GR_HOOK_END
};

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    gr_provide_session(self, &sm_provider, 0);
    return 0;
}

const struct gr_module sm_module = {
    .name = "sm", .summary = "sessions: built in", .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG,
    .hooks = hooks, .start = start,
};
