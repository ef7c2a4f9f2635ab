/* route/resume.c: sessions without a stream, and how they come by another one (XEP-0198, 5). On the
 * session's loop. */
#include "route/session.h"

static int gone_write(void *ctx, struct gr_stanza *st, struct receipt *receipt)
{
    (void)ctx, (void)st, (void)receipt;
    return GR_ECANCELED;
}

static void gone_close(void *ctx, const char *condition, const char *text)
{
    (void)ctx, (void)condition, (void)text;
}

static void gone_resume(void *ctx)
{
    (void)ctx;
}

static const char *gone_ip(void *ctx)
{
    (void)ctx;
    return "";
}

static bool gone_is_tls(void *ctx)
{
    (void)ctx;
    return false;
}

static void gone_unclaimed(void *ctx, const struct gr_stanza *st)
{
    (void)ctx, (void)st;
}

const struct session_out session_gone = { gone_write, gone_close, gone_resume,
                                         gone_ip, gone_is_tls, gone_unclaimed, NULL, NULL };

bool gr_session_has_stream(const struct gr_session *s)
{
    return s->out != &session_gone;
}

void session_let_go(struct gr_session *s, const char *condition, const char *text)
{
    const struct session_out *out = s->out;
    void *ctx = s->out_ctx;

    s->out = &session_gone;
    s->out_ctx = NULL;
    out->close(ctx, condition, text);
}

void gr_session_detach(struct gr_mod *self, struct gr_session *s, const char *condition,
                       const char *text)
{
    (void)self;
    session_let_go(s, condition, text);
}

struct resume_post {
    struct post post;
    uint64_t kept, fresh;
    enum gr_result state;            /* of the account */
};

static void exchange(char **a, char **b)
{
    char *old = *a;

    *a = *b;
    *b = old;
}

static void tell_resumed(struct gr_session *s)
{
    struct gr_mod *self;
    const struct gr_keeper *k;

    if (!session_is_kept_by(s))
        return;
    k = slots_keeper(&s->slots, &self);
    k->resumed(self, s);
}

static void take_over(struct gr_session *s, struct gr_session *fresh)
{
    session_let_go(s, "conflict", "Resumed by another stream");
    s->out = fresh->out;
    s->out_ctx = fresh->out_ctx;
    exchange(&s->auth_mech, &fresh->auth_mech);
    s->auth_until_s = fresh->auth_until_s;
    exchange(&s->lang, &fresh->lang);
    exchange(&s->http_identity, &fresh->http_identity);
    exchange(&s->client_id, &fresh->client_id);
    exchange(&s->client_software, &fresh->client_software);
    exchange(&s->client_device, &fresh->client_device);
    gr_session_changed(NULL, s);
    s->out->adopt(s->out_ctx, s);
    session_terminate(&fresh, GR_END_RESUMED);
    tell_resumed(s);
    s->out->resume(s->out_ctx);
}

static bool may_be_taken(const struct gr_session *s)
{
    return s != NULL && !s->ending && s->state == GR_S_AUTHENTICATED && s->out->adopt != NULL;
}

static void run_resume(struct post *p)
{
    struct resume_post *r = GR_CONTAINER_OF(p, struct resume_post, post);
    struct gr_session *kept = session_by_id(r->kept), *fresh = session_by_id(r->fresh);
    bool open = may_be_taken(fresh);

    if (fresh != NULL)
        fresh->unhandled--;
    if (open && (r->state == GR_R_NONE || r->state == GR_R_FALSE)) {
        session_turn_away(fresh);
        if (kept != NULL)
            session_turn_away(kept);
    } else if (open && r->state != GR_R_OK) { /* nobody can tell: it tries again */
        session_request_close(fresh, "reset", NULL, true);
    } else if (open && kept != NULL && !kept->ending) {
        take_over(kept, fresh);
    } else if (fresh != NULL) { /* its keeper has answered; what was sent behind that is read */
        fresh->out->resume(fresh->out_ctx);
    }
    gr_free(r);
}

static void on_state(void *arg, const struct gr_answer *a)
{
    struct resume_post *r = arg;

    r->state = a->result;
    r->post.run = run_resume;
    loop_defer(&r->post);
}

int gr_session_resume(struct gr_mod *self, struct gr_session *kept, struct gr_session *fresh)
{
    struct resume_post *r;

    (void)self;
    if (fresh->state != GR_S_AUTHENTICATED || fresh->out->adopt == NULL ||
        !gr_jid_bare_equal(kept->jid, fresh->jid))
        return GR_EINVAL;
    r = gr_alloc(sizeof(*r));
    r->kept = kept->id;
    r->fresh = fresh->id;
    fresh->unhandled++; /* nothing more is read from it meanwhile */
    provider_auth_may_open(fresh->host, fresh->jid->node, on_state, r); /* as in session_bind */
    return 0;
}
