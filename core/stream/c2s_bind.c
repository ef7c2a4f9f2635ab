/* stream/c2s_bind.c: resource binding (RFC 6120, 7): the one iq that an authenticated stream without a
 * resource may send. */
#include "stream/c2s.h"

static void answer(struct c2s *c, struct gr_stanza *take)
{
    if (take != NULL)
        c2s_write_el(c, take);
    gr_stanza_unref(&take);
}

static void bound(struct c2s *c)
{
    struct gr_stanza *result = gr_iq_result(c->login->bind);
    struct gr_el *bind = gr_el_add(result, NULL, NS_BIND, "bind");

    gr_stanza_set_from(result, NULL);
    gr_stanza_set_to(result, NULL);
    gr_el_add_text(result, bind, NS_BIND, "jid", c->session->jid->full);
    answer(c, result);
    c2s_login_free(c);
    c->state = C2S_OPEN;
}

static void refused(struct c2s *c, struct gr_stanza *take)
{
    answer(c, take);
    gr_stanza_unref(&c->login->bind);
    if (++c->login->bind_tries >= C2S_BIND_TRIES)
        c2s_error(c, "policy-violation", "too many failed attempts to bind");
}

static void on_bound(struct gr_session *s, enum gr_cond cond, const char *text)
{
    struct c2s *c = s->out_ctx;

    c->waiting = false;
    if (cond == GR_COND_NONE) {
        bound(c);
    } else {
        refused(c, gr_error_reply(c->login->bind, cond, text));
    }
    c2s_continue(c);
}

void c2s_bind_element(struct c2s *c, struct gr_stanza *take)
{
    const struct gr_el *bind = gr_stanza_child(take, NS_BIND, "bind");
    enum gr_kind kind = gr_stanza_kind(take);

    if (kind == GR_MESSAGE || kind == GR_PRESENCE) { /* RFC 6120, 7.1 */
        c2s_error(c, "not-authorized", "bind a resource first");
        gr_stanza_unref(&take);
    } else if (kind != GR_IQ) {
        job_xmlel(c->session, take);
    } else if (gr_stanza_type(take) != GR_SET || bind == NULL || gr_stanza_id(take) == NULL) {
        refused(c, gr_error_reply(take, GR_BAD_REQUEST, NULL));
        gr_stanza_unref(&take);
    } else {
        const struct gr_el *resource = gr_el_child(bind, NS_BIND, "resource");
        c->login->bind = take;
        c->waiting = true;
        session_bind(c->session, resource != NULL ? gr_el_text(resource, NULL) : NULL, take,
                     on_bound);
    }
}
