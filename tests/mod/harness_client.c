/* tests/mod/harness_client.c: clients: sessions that speak through the harness instead of a stream.
 * What the output does here is what stream/c2s_out.c and c2s.c do with a connection. */
#include "harness_priv.h"

#include "xml/write.h"

#include <stdio.h>

/* --- the way out --- */

static void keep(struct hs *s, struct gr_stanza *st)
{
    struct buf text = { 0 };

    stanza_write(&text, st);
    bool of_stream = strcmp(gr_el_ns(gr_stanza_root(st)), GR_NS_STREAM) == 0; /* its prefix is outside */
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 16 : 2 * s->cap;
        s->got = gr_realloc(s->got, s->cap * sizeof(struct gr_stanza *));
    }
    s->got[s->count++] = of_stream ? gr_stanza_copy(st) : h_parse(buf_str(&text));
    buf_fini(&text);
}

static int out_write(void *ctx, struct gr_stanza *st, struct receipt *receipt)
{
    struct hs *s = ctx;

    gr_assert(loop_is_self(s->loop));
    if (s->broken || s->closed != NULL)
        return GR_ECANCELED;
    if (!s->stalled) {
        keep(s, st);
        return 0;
    }
    struct h_mark *m = gr_alloc(sizeof(*m));
    m->receipt = receipt_ref(receipt);
    m->st = gr_stanza_ref(st);
    m->answered_for = session_is_kept_by(s->s);
    list_append(&s->marks, &m->link);
    return 0;
}

static void closed(struct hs *s, const char *condition)
{
    if (s->closed == NULL)
        s->closed = gr_strdup(condition != NULL ? condition : "");
}

static void out_close(void *ctx, const char *condition, const char *text)
{
    struct hs *s = ctx;

    (void)text;
    gr_assert(loop_is_self(s->loop));
    s->s = NULL; /* the caller ends it */
    closed(s, condition);
}

static void out_resume(void *ctx)
{
    ((struct hs *)ctx)->resumed++;
}

static const char *out_ip(void *ctx)
{
    (void)ctx;
    return "127.0.0.1";
}

static bool out_is_tls(void *ctx)
{
    (void)ctx;
    return true;
}

static void out_unclaimed(void *ctx, const struct gr_stanza *st)
{
    struct hs *s = ctx;
    bool open = s->s->state == GR_S_BOUND;

    closed(s, open || gr_stanza_kind(st) == GR_NONZA ? "unsupported-stanza-type"
                                                     : "not-authorized");
    session_terminate(&s->s, GR_END_ERROR);
}

static void out_adopt(void *ctx, struct gr_session *session)
{
    struct hs *s = ctx;

    s->s = session;
    s->id = session->id;
    gr_jid_free(&s->jid);
    s->jid = gr_jid_dup(session->jid);
}

static const struct session_out out = { out_write, out_close, out_resume, out_ip, out_is_tls,
                                        out_unclaimed, out_adopt, NULL };

void h_stall(struct hs *s)
{
    s->stalled = true;
}

static void mark_free(struct h_mark *m, bool ok)
{
    list_remove(&m->link);
    receipt_release(&m->receipt, ok);
    gr_stanza_unref(&m->st);
    gr_free(m);
}

void h_flow(struct hs *s)
{
    loop_enter(s->loop);
    s->stalled = false;
    list_each (m, &s->marks, struct h_mark, link) {
        keep(s, m->st);
        mark_free(m, true);
    }
    h_run(s->h);
}

void h_break(struct hs *s)
{
    s->broken = true;
}

void hs_lose(struct hs *s)
{
    loop_enter(s->loop);
    list_each (m, &s->marks, struct h_mark, link) {
        struct gr_session *session = session_by_id(s->id);
        bool kept = m->answered_for || (m->receipt != NULL && m->receipt->kept);
        bool counts = m->receipt != NULL || gr_stanza_kind(m->st) == GR_MESSAGE;

        if (!kept && counts && session != NULL)
            session_unsent(session, m->st);
        else if (!kept && gr_stanza_kind(m->st) == GR_MESSAGE &&
                 gr_stanza_type(m->st) != GR_TYPE_ERROR && gr_stanza_from(m->st) != NULL &&
                 gr_stanza_to(m->st) != NULL)
            job_redeliver(gr_stanza_ref(m->st));
        mark_free(m, !kept);
    }
}

/* --- beginning --- */

struct hs *h_accept(struct h *h, const char *host)
{
    struct hs *s = gr_alloc(sizeof(*s));

    s->h = h;
    s->jid = gr_jid_dup(h_parse_jid(h, host));
    list_init(&s->marks);
    list_append(&h->clients, &s->link);
    s->loop = loop_at(h->loops - 1);
    loop_enter(s->loop);
    s->s = session_new(&out, s);
    s->id = s->s->id;
    s->s->host = host_find(s->jid->domain);
    if (s->s->host == NULL)
        h_fail("%s is not served", s->jid->domain);
    return s;
}

void h_authenticate(struct hs *s, const char *bare)
{
    gr_jid_free(&s->jid);
    s->jid = gr_jid_dup(h_parse_jid(s->h, bare));
    loop_enter(loop_home(s->jid->hash));
    h_ensure_account(s->h, s->jid);
    loop_enter(s->loop);
    session_detach(s->s);
    s->loop = loop_home(s->jid->hash);
    loop_enter(s->loop);
    session_attach(s->s);
    session_authenticated(s->s, gr_jid_dup_bare(s->jid), "SCRAM-SHA-256");
    h_run(s->h);
}

struct hs *h_connect(struct h *h, const char *bare)
{
    struct hs *s = h_accept(h, h_parse_jid(h, bare)->domain);

    h_authenticate(s, bare);
    return s;
}

static void on_bound(struct gr_session *session, enum gr_cond cond, const char *text)
{
    struct hs *s = session->out_ctx;

    (void)text;
    s->bound = cond;
    if (cond != GR_COND_NONE)
        return;
    gr_jid_free(&s->jid);
    s->jid = gr_jid_dup(session->jid);
}

enum gr_cond h_bind(struct hs *s, const char *resource)
{
    char *xml = gr_asprintf("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:"
                            "xmpp-bind'><resource>%s</resource></bind></iq>",
                            resource != NULL ? resource : "");
    struct gr_stanza *request = h_parse(xml);

    gr_free(xml);
    if (s->s == NULL)
        h_fail("%s is closed already", s->jid->full);
    loop_enter(s->loop);
    s->bound = H_WAITING;
    session_bind(s->s, resource, request, on_bound);
    gr_stanza_unref(&request);
    h_run(s->h);
    return s->bound;
}

enum gr_cond h_bound(const struct hs *s)
{
    return s->bound;
}

struct hs *h_login(struct h *h, const char *full)
{
    const struct gr_jid *jid = h_parse_jid(h, full);
    struct hs *s = h_connect(h, jid->bare);
    enum gr_cond cond = h_bind(s, jid->resource);

    if (cond == H_WAITING)
        h_fail("binding %s waits for something", full);
    if (cond != GR_COND_NONE)
        h_fail("binding %s: %s", full, gr_cond_name(cond));
    return s;
}

struct hs *h_online(struct h *h, const char *full)
{
    struct hs *s = h_login(h, full);

    h_send(s, "<presence/>");
    if (s->s == NULL || !s->s->available)
        h_fail("%s is not available after its presence: is mod_presence there?", full);
    h_drop_all(s);
    return s;
}

void h_set_available(struct hs *s, int priority)
{
    struct gr_stanza *st = gr_presence_new(GR_AVAILABLE, s->jid, NULL);
    char text[16];

    snprintf(text, sizeof(text), "%d", priority);
    gr_el_add_text(st, NULL, GR_NS_CLIENT, "priority", text);
    loop_enter(s->loop);
    gr_session_set_presence(NULL, s->s, st, NULL);
    gr_stanza_unref(&st);
    h_run(s->h);
}

void h_set_unavailable(struct hs *s)
{
    loop_enter(s->loop);
    gr_session_set_presence(NULL, s->s, NULL, NULL);
    h_run(s->h);
}

/* --- the way in --- */

void h_feed(struct hs *s, const char *xml)
{
    struct gr_stanza *st = h_parse(xml);

    if (s->s == NULL)
        h_fail("%s is closed (%s) and cannot send %s", s->jid->full,
               s->closed != NULL ? s->closed : "gone", xml);
    loop_enter(s->loop);
    if (s->s->state != GR_S_BOUND) {
        job_xmlel(s->s, st);
        return;
    }
    if (gr_stanza_kind(st) != GR_NONZA)
        gr_stanza_set_from(st, s->s->jid);
    job_from_client(s->s, st);
}

void h_send(struct hs *s, const char *xml)
{
    h_feed(s, xml);
    h_run(s->h);
}

void h_sendf(struct hs *s, const char *fmt, ...)
{
    va_list ap;
    char *xml;

    va_start(ap, fmt);
    if (vasprintf(&xml, fmt, ap) < 0)
        abort();
    va_end(ap);
    h_send(s, xml);
    free(xml);
}

struct gr_stanza *h_iq(struct hs *s, const char *type, const char *to, const char *payload)
{
    char id[32], *at = to != NULL ? gr_asprintf(" to='%s'", to) : gr_strdup("");

    snprintf(id, sizeof(id), "hiq%u", ++s->iqs);
    char *xml = gr_asprintf("<iq type='%s' id='%s'%s>%s</iq>", type, id, at, payload);
    h_send(s, xml);
    gr_free(at);
    for (size_t i = s->first; i < s->count; i++) {
        const char *got = gr_stanza_id(s->got[i]);
        enum gr_type t = gr_stanza_type(s->got[i]);
        if (gr_stanza_kind(s->got[i]) == GR_IQ && (t == GR_RESULT || t == GR_TYPE_ERROR) &&
            got != NULL && strcmp(got, id) == 0) {
            gr_free(xml);
            return hs_take(s, i);
        }
    }
    struct buf text = { 0 };
    hs_print(&text, s);
    h_fail("%s got no answer to %s but\n%s", s->jid->full, xml, buf_str(&text));
}

/* --- the end --- */

static void forget(struct hs *s)
{
    hs_lose(s);
    s->closed = s->closed != NULL ? s->closed : gr_strdup("");
    h_run(s->h);
}

void h_disconnect(struct hs **take, bool clean)
{
    struct hs *s = *take;

    *take = NULL;
    loop_enter(s->loop);
    if (s->s != NULL && clean) {
        closed(s, NULL);
        session_terminate(&s->s, GR_END_NORMAL);
    } else if (s->s != NULL) {
        bool kept = session_kept(s->s, SESSION_SOCKET_ERROR, NULL);
        s->broken = true;
        hs_lose(s);
        if (!kept)
            session_terminate(&s->s, GR_END_ERROR);
    }
    forget(s);
    hs_free(&s);
}

const char *h_closed(const struct hs *s)
{
    return s->closed;
}

void h_expect_closed(struct hs **take, const char *condition)
{
    struct hs *s = *take;
    struct buf text = { 0 };

    if (s->closed == NULL || strcmp(s->closed, condition) != 0) {
        hs_print(&text, s);
        h_fail("%s should have been closed with \"%s\" but %s%s; it got\n%s", s->jid->full,
               condition, s->closed != NULL ? "was with " : "is open",
               s->closed != NULL ? s->closed : "", buf_str(&text));
    }
    *take = NULL;
    forget(s);
    hs_free(&s);
}

void hs_free(struct hs **take)
{
    struct hs *s = *take;

    *take = NULL;
    list_remove(&s->link);
    for (size_t i = 0; i < s->count; i++)
        gr_stanza_unref(&s->got[i]);
    gr_free(s->got);
    gr_jid_free(&s->jid);
    gr_free(s->closed);
    gr_free(s);
}

static void end_session(void *ctx, struct gr_session *s)
{
    enum gr_end_reason reason = *(enum gr_end_reason *)ctx;

    if (reason == GR_END_SHUTDOWN && session_kept(s, SESSION_STOP_REQUEST, "system-shutdown")) {
        session_let_go(s, "system-shutdown", NULL); /* as c2s_shutdown */
        return;
    }
    session_end(s, reason == GR_END_SHUTDOWN ? "system-shutdown" : NULL, NULL, reason);
}

static void end_sessions(void *ctx)
{
    session_each(end_session, ctx);
}

void hs_end_all(struct h *h, enum gr_end_reason reason)
{
    loops_call(end_sessions, &reason);
    h_run(h);
    list_each (s, &h->clients, struct hs, link)
        hs_lose(s);
    h_run(h);
    while (!list_empty(&h->clients)) {
        struct hs *s = list_entry(h->clients.next, struct hs, link);
        hs_free(&s);
    }
}

/* --- questions --- */

unsigned h_unhandled(const struct hs *s)
{
    return s->s != NULL ? s->s->unhandled : 0;
}

unsigned h_resumed(const struct hs *s)
{
    return s->resumed;
}

struct gr_session *h_session(const struct hs *s)
{
    loop_enter(s->loop);
    return session_by_id(s->id);
}

const struct gr_jid *h_jid(const struct hs *s)
{
    return s->jid;
}

const char *h_full(const struct hs *s)
{
    return s->jid->full;
}
