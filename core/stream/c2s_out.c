/* stream/c2s_out.c: stanzas to the client. What matters (messages, anything with a receipt) is marked in
 * the output, so that its origin learns when the bytes are in the kernel, and gets it back when they
 * never will be. */
#include "stream/sasl2.h"
#include "xml/write.h"

struct out_mark {
    struct conn_mark mark;
    struct receipt *receipt;
    struct gr_stanza *st;   /* what must not be lost */
    uint64_t session;
};

static void lost(struct out_mark *m)
{
    struct gr_session *s = session_by_id(m->session);

    if (m->receipt != NULL && m->receipt->kept)
        return; /* its origin has a copy and learns of the failure */
    if (s != NULL && !session_is_kept_by(s))
        session_unsent_held(s, m->st, m->receipt);
    else /* one that is kept may stay for long: again, to whoever answers for it now */
        session_reroute(m->st, m->receipt);
}

static void reached(struct conn_mark *cm, bool ok)
{
    struct out_mark *m = GR_CONTAINER_OF(cm, struct out_mark, mark);
    bool kept = m->receipt != NULL && m->receipt->kept;

    if (!ok)
        lost(m);
    receipt_release(&m->receipt, ok || !kept);
    gr_stanza_unref(&m->st);
    gr_free(m);
}

static int out_write(void *ctx, struct gr_stanza *st, struct receipt *receipt)
{
    struct c2s *c = ctx;

    if (c->conn == NULL || c->state == C2S_CLOSED)
        return GR_ECANCELED;
    if (c->state == C2S_INLINE)
        return sasl2_hold(c, st, receipt);
    stanza_write(conn_out(c->conn), st);
    conn_wrote(c->conn);
    if (session_is_kept_by(c->session)) {
        conn_offer_ticket(c->conn); /* the session outlives this connection: the client will be back */
        return 0;
    }
    if (receipt == NULL && gr_stanza_kind(st) != GR_MESSAGE)
        return 0;
    struct out_mark *m = gr_alloc(sizeof(*m));
    m->mark.reached = reached;
    m->receipt = receipt_ref(receipt);
    m->st = gr_stanza_ref(st);
    m->session = c->session->id;
    conn_mark(c->conn, &m->mark);
    return 0;
}

static void out_resend(void *ctx, struct gr_stanza *st)
{
    struct c2s *c = ctx;
    size_t before;

    if (c->conn == NULL || c->state == C2S_CLOSED)
        return;
    if (c->state == C2S_INLINE) {
        sasl2_hold_again(c, st);
        return;
    }
    before = buf_len(conn_out(c->conn));
    stanza_write(conn_out(c->conn), st);
    conn_allow(c->conn, buf_len(conn_out(c->conn)) - before);
    conn_wrote(c->conn);
}

static void out_close(void *ctx, const char *condition, const char *text)
{
    struct c2s *c = ctx;

    /* What the client does not read goes elsewhere now, in order, not when the connection at last breaks
     * and newer messages have overtaken it. */
    if (c->conn != NULL)
        conn_cut(c->conn);
    c->session = NULL; /* the caller ends it */
    c2s_error(c, condition, text);
}

static void out_resume(void *ctx)
{
    c2s_continue(ctx);
}

static const char *out_ip(void *ctx)
{
    const struct c2s *c = ctx;

    return c->conn != NULL ? conn_peer(c->conn) : "";
}

static bool out_is_tls(void *ctx)
{
    const struct c2s *c = ctx;

    return c->conn != NULL && conn_is_tls(c->conn);
}

/* Nobody knew it. Before the resource is bound only negotiation is allowed (RFC 6120, 4.9.3.12). */
static void out_unclaimed(void *ctx, const struct gr_stanza *st)
{
    struct c2s *c = ctx;

    c2s_error(c, c->state == C2S_OPEN || gr_stanza_kind(st) == GR_NONZA
                     ? "unsupported-stanza-type" : "not-authorized", NULL);
}

/* The parser is this connection's: what an earlier one left half-read is no concern of ours. */
static void out_adopt(void *ctx, struct gr_session *s)
{
    struct c2s *c = ctx;

    c->session = s;
    if (c->state == C2S_INLINE) /* <success/> comes first: sasl2_home.c */
        return;
    c->waiting = false;
    c2s_login_free(c);
    c->state = C2S_OPEN;
}

const struct session_out c2s_out = { out_write, out_close, out_resume, out_ip, out_is_tls,
                                     out_unclaimed, out_adopt, out_resend };
