/* stream/c2s_home.c: after SASL a stream moves, connection and TLS session included, to the home loop of
 * its account. Between leave() and arrive() it is in a mailbox and nobody looks at it. Where it is at
 * home already its connection stays as it is. */
#include "stream/sasl2.h"

static void settle(struct c2s *c)
{
    struct gr_jid *jid = c->session->jid;
    char *mech = c->session->auth_mech;

    c->state = C2S_HEADER; /* the message has arrived */
    c2s_counted(1);
    session_attach(c->session);
    c->session->jid = NULL;
    c->session->auth_mech = NULL;
    if (c->session->host == NULL) { /* the host went by a reload on the way */
        gr_jid_free(&jid);
        gr_free(mech);
        c2s_error(c, "host-gone", NULL);
        return;
    }
    session_authenticated(c->session, jid, mech);
    gr_free(mech);
    c->paused = false;
    timer_start(&c->idle, c2s_limits()->idle_timeout, c->idle.fire);
    timer_start(&c->login->deadline, c2s_limits()->login_timeout, c->login->deadline.fire);
    if (c2s_stopping())
        c2s_error(c, "system-shutdown", NULL);
    else if (c->login->changes != provider_auth_changes(c->session->jid))
        c2s_error(c, "reset", "The account was changed meanwhile");
    else if (c->login->sasl2 != NULL)
        sasl2_at_home(c);
    else
        c2s_continue(c);
}

static void arrive(struct post *p)
{
    struct c2s *c = GR_CONTAINER_OF(p, struct c2s, post);

    conn_attach(c->conn);
    settle(c);
}

static void leave(struct post *p)
{
    struct c2s *c = GR_CONTAINER_OF(p, struct c2s, post);
    struct loop *home = loop_home(c->session->jid->hash);

    gr_assert(xml_parser_is_idle(c->parser));
    timer_stop(&c->idle);
    timer_stop(&c->login->deadline);
    session_detach(c->session);
    c2s_counted(-1);
    if (loop_is_self(home)) {
        settle(c);
        return;
    }
    conn_detach(c->conn);
    c->post.run = arrive;
    loop_post(home, &c->post);
}

/* SASL is through (the session knows its bare JID): a new stream on the account's home loop, or the same
 * one (XEP-0388, 2.6.1). A parser that its callback has stopped, or that waits for an answer, has let
 * go of what belongs to this loop; there it goes on behind the root tag that it keeps. */
void c2s_go_home(struct c2s *c)
{
    c->state = C2S_MOVING;
    c->authenticated = true;
    peers_authenticated(c->peer);
    if (c->login->sasl2 == NULL) {
        c->header_sent = false;
        xml_parser_restart(c->parser);
    }
    xml_parser_set_limits(c->parser, &(struct xml_limits){
        .stanza_bytes = (size_t)c2s_limits()->stanza_c2s, .depth = (size_t)c2s_limits()->xml_depth,
        .attrs = (size_t)c2s_limits()->xml_attributes, .name = (size_t)c2s_limits()->xml_name,
        .token = (size_t)c2s_limits()->xml_token });
    c->post.run = leave;
    loop_defer(&c->post);
}
