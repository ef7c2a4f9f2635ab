/* stream/c2s.c: a client stream from the accepted connection to its end: dispatch of elements by state,
 * stream errors, timers (RFC 6120, 4). Every way of giving up goes through
 * c2s_error or c2s_end. */
#include "stream/c2s.h"

#include "base/clock.h"
#include "stream/sasl2.h"
#include "xml/write.h"

#include <string.h>

#define CLOSING_MS 30000    /* for answers to what was sent before </stream:stream> */
#define LINGER_MS 5000      /* for the peer's </stream:stream> and FIN */
#define LINGER_STOP_MS 1000 /* the same when the server stops */

static struct tls_ctx *tls_of[LOOPS_MAX];
static size_t streams[LOOPS_MAX];
static bool stopping[LOOPS_MAX];

const struct conf_limits *c2s_limits(void)
{
    return &mod_loop()->gen->limits;
}

void c2s_counted(int change)
{
    streams[loop_index(loop_self())] += (size_t)change;
}

bool c2s_stopping(void)
{
    return stopping[loop_index(loop_self())];
}

void c2s_set_tls(struct tls_ctx *tls)
{
    struct tls_ctx **slot = &tls_of[loop_index(loop_self())];

    tls_ctx_unref(slot);
    *slot = tls != NULL ? tls_ctx_ref(tls) : NULL;
}

bool c2s_tls_available(const struct c2s *c)
{
    (void)c;
    return tls_of[loop_index(loop_self())] != NULL;
}

size_t c2s_count(void)
{
    return streams[loop_index(loop_self())];
}

/* --- the end --- */

static void run_free(struct post *p)
{
    struct c2s *c = GR_CONTAINER_OF(p, struct c2s, post);

    xml_parser_free(&c->parser);
    gr_free(c);
}

/* Everything but the connection, which the caller has dealt with. The struct goes after the current
 * event: callbacks further up the stack still look at it. */
static void release(struct c2s *c, enum gr_end_reason reason)
{
    bool posted = c->state == C2S_MOVING; /* about to leave the loop: its message is queued */

    if (c->freeing)
        return;
    c->freeing = true;
    c->state = C2S_CLOSED;
    timer_stop(&c->idle);
    c2s_login_free(c);
    peers_gone(c->peer, c->authenticated);
    c2s_counted(-1);
    if (c->session != NULL)
        session_terminate(&c->session, reason);
    c->post.run = run_free;
    if (!posted)
        loop_defer(&c->post);
}

void c2s_login_free(struct c2s *c)
{
    struct c2s_login *l = c->login;

    if (l == NULL)
        return;
    timer_stop(&l->deadline);
    c2s_sasl_fini(l);
    sasl2_free(&l->sasl2);
    gr_jid_free(&l->from);
    gr_stanza_unref(&l->bind);
    gr_free(l);
    c->login = NULL;
}

/* --- elements --- */

static void start_tls(struct c2s *c)
{
    if (conn_is_tls(c->conn) || !c2s_tls_available(c)) { /* RFC 6120, 5.4.2.2 */
        c2s_write(c, "<failure xmlns='" NS_TLS "'/>");
        c2s_error(c, NULL, NULL);
        return;
    }
    c2s_write(c, "<proceed xmlns='" NS_TLS "'/>");
    c->login->start_tls = true;
}

static void before_auth(struct c2s *c, struct gr_stanza *st)
{
    const struct gr_el *root = gr_stanza_root(st);

    if (sasl2_claims(c, root))
        sasl2_element(c, st);
    else if (gr_el_is(root, NS_TLS, "starttls") && c->state == C2S_FEATURES)
        start_tls(c);
    else if (gr_el_is(root, NS_SASL, NULL))
        c2s_sasl_element(c, st);
    else if (gr_el_is(root, NULL, "auth") && gr_stanza_kind(st) == GR_NONZA &&
             strcmp(gr_el_ns(root), GR_NS_CLIENT) == 0)
        c2s_error(c, "invalid-namespace", NULL);
    else if (c->login->tls == CONF_TLS_REQUIRED && !conn_is_tls(c->conn))
        c2s_error(c, "policy-violation", "TLS is required");
    else
        job_xmlel(c->session, gr_stanza_ref(st));
}

static void on_idle(struct timer *t);

/* More must wait: an answer decides how the next element is to be read, or too much is in flight. */
static bool must_wait(const struct c2s *c)
{
    if (c->paused || c->closing)
        return true;
    if (c->state == C2S_OPEN) /* the second: answers to what it asks would pile up */
        return c->session->unhandled >= C2S_UNHANDLED_MAX || session_counts_full(c->session) ||
               conn_is_full(c->conn);
    return c->waiting || c->state == C2S_MOVING || c->state == C2S_INLINE ||
           (c->session != NULL && c->session->unhandled > 0);
}

static int on_element(void *ctx, struct gr_stanza *take)
{
    struct c2s *c = ctx;

    switch (c->state) {
    case C2S_FEATURES:
    case C2S_SASL:
        before_auth(c, take);
        gr_stanza_unref(&take);
        break;
    case C2S_BIND:
        c2s_bind_element(c, take);
        break;
    case C2S_OPEN:
        c2s_stanza(c, take);
        break;
    default:
        gr_stanza_unref(&take);
        break;
    }
    return c->state == C2S_CLOSED || must_wait(c) || (c->login != NULL && c->login->start_tls);
}

/* </stream:stream>: what was sent before it is worked off and answered, then we say the same (RFC 6120,
 * 4.4). */
static int on_close(void *ctx)
{
    struct c2s *c = ctx;

    c->closing = true;
    if (c->session->unhandled == 0 && !c->waiting)
        c2s_error(c, NULL, NULL);
    else
        timer_start(&c->idle, CLOSING_MS, on_idle);
    return 1;
}

static const struct xml_events events = { c2s_open, on_element, on_close };

/* --- bytes --- */

/* Bytes behind <starttls/> came in clear: never interpreted, and the stream ends (reliability 6.7). */
static void handshake(struct c2s *c, bool more)
{
    c->login->start_tls = false;
    if (more) {
        gr_info("c2s.starttls_injection", "%s sent data behind <starttls/>", conn_peer(c->conn));
        c2s_error(c, "policy-violation", "data after starttls");
        return;
    }
    xml_parser_restart(c->parser);
    gr_jid_free(&c->login->from); /* RFC 6120, 5.4.3.3: nothing is kept that was said in clear */
    gr_free(c->session->lang);
    c->session->lang = NULL;
    c->state = C2S_HEADER;
    c->header_sent = false;
    if (conn_start_tls(c->conn, tls_of[loop_index(loop_self())]) != 0)
        c2s_error(c, "internal-server-error", NULL);
}

/* A bucket that fills at rate_c2s up to burst_c2s. Overdrawn: nothing is read until it is level again
 * (reliability 6.5: over a rate we stop reading, and nobody is disconnected). */
static void charge(struct c2s *c, size_t bytes)
{
    const struct conf_limits *lim = c2s_limits();
    int64_t now = gr_now_ms();

    if (lim->rate_c2s > 0) {
        c->credit += (now - c->last_input_ms) * lim->rate_c2s / 1000;
        if (c->credit > lim->burst_c2s)
            c->credit = lim->burst_c2s;
        c->credit -= (int64_t)bytes;
        if (c->credit < 0) {
            c->paused = true;
            timer_start(&c->idle, -c->credit * 1000 / lim->rate_c2s + 1, on_idle);
        }
    }
    c->last_input_ms = now;
}

/* Some clients end <starttls/> and <auth/> with a line feed; it must not come before the next XML
 * declaration. RFC 6120, 5.3.3 and 6.3.3 forbid them that; it does no harm. */
static size_t blanks(const char *data, size_t len)
{
    size_t n = 0;

    while (n < len && strchr(" \t\r\n", data[n]) != NULL && data[n] != '\0')
        n++;
    return n;
}

static size_t on_data(void *ctx, const char *data, size_t len)
{
    struct c2s *c = ctx;
    size_t taken = 0;

    if (c->state == C2S_HEADER && xml_parser_is_idle(c->parser))
        taken = blanks(data, len);
    while (taken < len && c->state != C2S_CLOSED && !must_wait(c)) {
        size_t n;
        enum xml_status status = xml_parser_feed(c->parser, data + taken, len - taken, &n);
        taken += n;
        if (c->state == C2S_CLOSED)
            break;
        if (c->login != NULL && c->login->start_tls) {
            taken += blanks(data + taken, len - taken);
            handshake(c, taken < len);
            break;
        }
        if (status != XML_S_OK && status != XML_S_STOPPED) {
            c2s_error(c, xml_status_condition(status), NULL);
            break;
        }
    }
    if (c->state == C2S_CLOSED)
        return len;
    charge(c, taken);
    return taken;
}

void c2s_continue(struct c2s *c)
{
    if (c->closing && c->state != C2S_CLOSED && c->session->unhandled == 0 && !c->waiting)
        c2s_error(c, NULL, NULL);
    else if (c->state != C2S_CLOSED && c->conn != NULL && !must_wait(c))
        conn_resume(c->conn);
}

static void on_secured(void *ctx)
{
    (void)ctx; /* the client speaks next: a new stream header */
}

static void on_ended(void *ctx, enum conn_end why)
{
    struct c2s *c = ctx;
    enum session_stop stop = why == CONN_CLOSED ? SESSION_SOCKET_CLOSED : SESSION_SOCKET_ERROR;

    if (c->session != NULL && !c->closing && session_kept(c->session, stop, NULL))
        c->session = NULL; /* a module resumes it later */
    conn_free(&c->conn);
    release(c, why == CONN_CLOSED ? GR_END_NORMAL : GR_END_ERROR);
}

static void on_drained(void *ctx)
{
    c2s_continue(ctx); /* other senders wait for receipts, not for us */
}

static const struct conn_events conn_ev = { on_data, on_secured, on_ended, on_drained };

void c2s_write(struct c2s *c, const char *xml)
{
    if (c->conn != NULL)
        conn_write(c->conn, xml, strlen(xml));
}

void c2s_write_el(struct c2s *c, const struct gr_stanza *st)
{
    if (c->conn == NULL)
        return;
    stanza_write(conn_out(c->conn), st);
    conn_wrote(c->conn);
}

void c2s_error(struct c2s *c, const char *condition, const char *text)
{
    if (c->state == C2S_CLOSED || c->conn == NULL)
        return;
    if (!c->header_sent)
        c2s_write_header(c, NULL);
    if (condition != NULL && c->session != NULL && /* XEP-0198, 7: not cleanly closed */
        session_kept(c->session, SESSION_SOCKET_ERROR, condition))
        c->session = NULL; /* before the error: modules may write what they held back */
    if (condition != NULL) {
        struct buf *out = conn_out(c->conn);
        buf_printf(out, "<stream:error><%s xmlns='" GR_NS_STREAMS "'/>", condition);
        if (text != NULL) {
            buf_puts(out, "<text xmlns='" GR_NS_STREAMS "' xml:lang='en'>");
            xml_escape_text(out, text, strlen(text));
            buf_puts(out, "</text>");
        }
        buf_puts(out, "</stream:error>");
        conn_wrote(c->conn);
        gr_debug("c2s.stream_error", "%s: %s", conn_peer(c->conn), condition);
    }
    c2s_write(c, "</stream:stream>");
    conn_finish(&c->conn, c2s_stopping() ? LINGER_STOP_MS : LINGER_MS);
    release(c, condition != NULL ? GR_END_ERROR : GR_END_NORMAL);
}

/* --- beginning --- */

static void on_deadline(struct timer *t)
{
    struct c2s_login *l = GR_CONTAINER_OF(t, struct c2s_login, deadline);

    c2s_error(l->stream, "connection-timeout", NULL);
}

/* A client that was quiet gets a blank (RFC 6120, 4.6.1): to one that is gone it is the write that
 * fails. One lazy timer; nothing is re-armed per stanza. */
static void on_idle(struct timer *t)
{
    struct c2s *c = GR_CONTAINER_OF(t, struct c2s, idle);
    int64_t quiet = gr_now_ms() - c->last_input_ms;

    if (c->closing) { /* something it asked for takes too long */
        c2s_error(c, NULL, NULL);
        return;
    }
    if (c->paused) {
        c->paused = false;
        c2s_continue(c);
    }
    if (quiet < c2s_limits()->idle_timeout) {
        timer_start(t, c2s_limits()->idle_timeout - quiet, on_idle);
        return;
    }
    if (c->state == C2S_OPEN)
        c2s_write(c, " ");
    timer_start(t, c2s_limits()->idle_timeout, on_idle);
}

static bool refused(const struct sockaddr_storage *peer, const char *ip)
{
    struct gr_ip_ev e = { .ip = ip };

    (void)peer;
    hook_run_now(GR_HOOK_check_bl_c2s, &e.ev);
    return e.refuse;
}

void c2s_accept(enum conf_tls tls, int take_fd, const struct sockaddr_storage *peer,
                bool first_is_tls)
{
    const struct conf_limits *lim = c2s_limits();
    struct conn_limits cl = { (size_t)lim->output_high, (size_t)lim->output_hard,
                              lim->output_timeout };
    struct c2s *c = gr_alloc(sizeof(*c));
    struct c2s_login *l = gr_alloc(sizeof(*l));

    c->login = l;
    l->stream = c;
    l->tls = tls;
    c->last_input_ms = gr_now_ms();
    c->credit = lim->burst_c2s;
    c->conn = conn_new(take_fd, peer, &cl, &conn_ev, c);
    conn_peer_key(c->conn, c->peer);
    c->parser = xml_parser_new(&(struct xml_limits){
        .stanza_bytes = (size_t)lim->stanza_before_login, .depth = (size_t)lim->xml_depth,
        .attrs = (size_t)lim->xml_attributes, .name = (size_t)lim->xml_name,
        .token = (size_t)lim->stanza_before_login,
        .memory = (size_t)lim->memory_before_login }, &events, c);
    c->session = session_new(&c2s_out, c);
    c2s_counted(1);
    l->deadline.fire = on_deadline;
    c->idle.fire = on_idle;
    timer_start(&l->deadline, lim->login_timeout, on_deadline);
    timer_start(&c->idle, lim->idle_timeout, on_idle);
    if (refused(peer, conn_peer(c->conn))) {
        conn_free(&c->conn);
        release(c, GR_END_NORMAL);
    } else if (first_is_tls &&
               (!c2s_tls_available(c) ||
                conn_start_tls(c->conn, tls_of[loop_index(loop_self())]) != 0)) {
        conn_free(&c->conn);
        release(c, GR_END_ERROR);
    }
}

static void shut_down(void *ctx, struct gr_session *s)
{
    (void)ctx;
    if (session_kept(s, SESSION_STOP_REQUEST, "system-shutdown"))
        session_let_go(s, "system-shutdown", NULL); /* it outlives the process */
    else
        session_end(s, "system-shutdown", NULL, GR_END_SHUTDOWN);
}

void c2s_shutdown(void)
{
    stopping[loop_index(loop_self())] = true;
    session_each(shut_down, NULL);
}
