/* xml/parse_build.c: expat's events to headers and stanzas; limits and restrictions are applied
 * here, while parsing.
 *
 * RFC 6120, 4.8 (namespaces) and 11 (restrictions). A payload may be forwarded as raw bytes when
 * nothing in it depends on declarations outside, on the content namespace's name, or on CDATA. */
#include <string.h>
#include <strings.h>

#include "xml/parse_internal.h"
#include "xml/write.h"

struct qname {
    struct span ns, local, prefix;
};

/* expat's "local", "ns SEP local" or "ns SEP local SEP prefix". */
static struct qname split(const char *name)
{
    const char *first = strchr(name, XML_SEP), *second;
    struct qname q = { { "", 0 }, { name, 0 }, { "", 0 } };

    if (first == NULL) {
        q.local.len = strlen(name);
        return q;
    }
    second = strchr(first + 1, XML_SEP);
    q.ns = (struct span){ name, (size_t)(first - name) };
    q.local.s = first + 1;
    q.local.len = second != NULL ? (size_t)(second - first - 1) : strlen(first + 1);
    if (second != NULL)
        q.prefix = (struct span){ second + 1, strlen(second + 1) };
    return q;
}

static bool span_is(struct span s, const char *text)
{
    return strlen(text) == s.len && memcmp(s.s, text, s.len) == 0;
}

static bool is_content_ns(const struct xml_parser *p, struct span ns)
{
    return span_is(ns, GR_NS_CLIENT) || span_is(ns, GR_NS_SERVER) ||
           (p->content_ns != NULL && span_is(ns, p->content_ns));
}

static uint64_t event_at(const struct xml_work *w)
{
    return (uint64_t)XML_GetCurrentByteIndex(w->expat);
}

/* Behind the current event, also in the end handler of an empty element. */
static uint64_t event_end(const struct xml_work *w)
{
    return event_at(w) + (uint64_t)XML_GetCurrentByteCount(w->expat);
}

static void stop(struct xml_parser *p)
{
    p->work->stop_at = event_end(p->work);
    p->halted = true;
    XML_StopParser(p->work->expat, XML_FALSE);
}

void xml_fail(struct xml_parser *p, enum xml_status status)
{
    p->status = (uint8_t)status;
    p->halted = true;
    XML_StopParser(p->work->expat, XML_FALSE);
}

static bool token_too_long(struct xml_parser *p)
{
    if ((uint64_t)XML_GetCurrentByteCount(p->work->expat) <= p->limits[LIM_TOKEN])
        return false;
    xml_fail(p, XML_S_LIMIT);
    return true;
}

static void XMLCALL on_ns_decl(void *ctx, const XML_Char *prefix, const XML_Char *uri)
{
    struct xml_parser *p = ctx;
    struct xml_work *w = p->work;
    struct span ns = { uri != NULL ? uri : "", uri != NULL ? strlen(uri) : 0 };

    if (p->halted || w->replaying)
        return;
    if (++w->decls > (w->depth == 0 ? ROOT_DECLS : p->limits[LIM_NAMESPACES])) {
        xml_fail(p, XML_S_LIMIT);
    } else if (w->depth == 0) {
        buf_puts(&w->root_decls, prefix != NULL ? " xmlns:" : " xmlns");
        buf_puts(&w->root_decls, prefix != NULL ? prefix : "");
        buf_puts(&w->root_decls, "='");
        xml_escape_attr(&w->root_decls, ns.s, ns.len);
        buf_puts(&w->root_decls, "'");
        if (prefix == NULL) {
            gr_free(w->root_default);
            w->root_default = gr_strdup(ns.s);
        }
    } else if (w->depth >= 2 && w->raw_ok) {
        if (is_content_ns(p, ns) || (prefix != NULL && w->n_inner == INNER_DECLS)) {
            w->raw_ok = false;
        } else if (prefix != NULL) {
            w->inner_decls[w->n_inner].depth = w->depth + 1;
            w->inner_decls[w->n_inner++].prefix = arena_strdup(&w->st->arena, prefix);
        }
    }
}

/* Raw bytes may only use prefixes that are declared among them. */
static void note_prefix(struct xml_work *w, struct span prefix)
{
    if (!w->raw_ok || prefix.len == 0 || span_is(prefix, "xml"))
        return;
    for (unsigned i = 0; i < w->n_inner; i++)
        if (span_is(prefix, w->inner_decls[i].prefix))
            return;
    w->raw_ok = false;
}

static bool name_too_long(struct xml_parser *p, const struct qname *q)
{
    size_t max = p->limits[LIM_NAME];

    if (q->local.len <= max && q->prefix.len <= max)
        return false;
    xml_fail(p, XML_S_LIMIT);
    return true;
}

static bool start_allowed(struct xml_parser *p, const struct qname *q, const XML_Char **atts)
{
    size_t n = 0;

    if (token_too_long(p) || name_too_long(p, q))
        return false;
    while (atts[2 * n] != NULL)
        n++;
    if (n <= p->limits[LIM_ATTRS] && p->work->depth <= 1 + (size_t)p->limits[LIM_DEPTH])
        return true;
    xml_fail(p, XML_S_LIMIT);
    return false;
}

static bool read_root_attrs(struct xml_parser *p, struct xml_header *h, const XML_Char **atts)
{
    for (; atts[0] != NULL; atts += 2) {
        struct qname q = split(atts[0]);

        if (name_too_long(p, &q))
            return false;
        if (strcmp(atts[0], "to") == 0)
            h->to_raw = atts[1];
        else if (strcmp(atts[0], "from") == 0)
            h->from_raw = atts[1];
        else if (strcmp(atts[0], "id") == 0)
            h->id = atts[1];
        else if (strcmp(atts[0], "version") == 0)
            h->version = atts[1];
        else if (span_is(q.ns, XML_NS) && span_is(q.local, "lang"))
            h->lang = atts[1];
    }
    return true;
}

static void keep_root(struct xml_parser *p, const struct qname *q)
{
    struct buf tag = { 0 };

    buf_puts(&tag, "<");
    buf_append(&tag, q->prefix.s, q->prefix.len);
    buf_append(&tag, ":", q->prefix.len > 0 ? 1 : 0);
    buf_append(&tag, q->local.s, q->local.len);
    buf_append(&tag, buf_data(&p->work->root_decls), buf_len(&p->work->root_decls));
    buf_puts(&tag, ">");
    p->root_len = (uint32_t)buf_len(&tag);
    p->root = gr_strndup(buf_data(&tag), buf_len(&tag));
    buf_fini(&tag);
}

static void root_start(struct xml_parser *p, const struct qname *q, const XML_Char **atts)
{
    struct xml_work *w = p->work;
    struct arena arena;
    struct gr_jid *to = NULL, *from = NULL;
    struct xml_header h = { .content_ns = w->root_default != NULL ? w->root_default : "" };
    int rc;

    if (buf_len(&w->root_decls) > ROOT_BYTES || event_end(w) > p->limits[LIM_STANZA]) {
        xml_fail(p, XML_S_LIMIT);
        return;
    }
    if (!read_root_attrs(p, &h, atts))
        return;
    keep_root(p, q);
    p->state = XML_OPEN;
    arena_init(&arena, 0);
    h.name = arena_strndup(&arena, q->local.s, q->local.len);
    h.ns = arena_strndup(&arena, q->ns.s, q->ns.len);
    h.prefix = arena_strndup(&arena, q->prefix.s, q->prefix.len);
    if (h.to_raw != NULL && gr_jid_parse(h.to_raw, strlen(h.to_raw), &to) == 0)
        h.to = to;
    if (h.from_raw != NULL && gr_jid_parse(h.from_raw, strlen(h.from_raw), &from) == 0)
        h.from = from;
    rc = p->events->open(p->ctx, &h);
    gr_jid_free(&to);
    gr_jid_free(&from);
    arena_fini(&arena);
    if (rc != 0 || p->restart_due)
        stop(p);
}

static void flush_text(struct xml_work *w)
{
    if (buf_len(&w->text) == 0)
        return;
    stanza_add_text(w->st, w->at, buf_data(&w->text), buf_len(&w->text));
    buf_consume(&w->text, buf_len(&w->text));
}

static void add_attrs(struct xml_parser *p, const XML_Char **atts)
{
    struct xml_work *w = p->work;
    struct arena *arena = &w->st->arena;

    for (; atts[0] != NULL; atts += 2) {
        struct qname q = split(atts[0]);
        const char *ns = NULL;

        if (name_too_long(p, &q))
            return;
        if (q.ns.len > 0)
            ns = span_is(q.ns, XML_NS) ? XML_NS : arena_strndup(arena, q.ns.s, q.ns.len);
        if (w->depth > 2)
            note_prefix(w, q.prefix);
        stanza_add_attr(w->st, w->at, ns, arena_strndup(arena, q.local.s, q.local.len),
                        arena_strdup(arena, atts[1]));
    }
}

static void element_start(struct xml_parser *p, struct qname *q, const XML_Char **atts)
{
    struct xml_work *w = p->work;

    /* RFC 6120, 4.8.5: no prefixes on elements of the content namespace. xml: is for attributes. */
    if (q->prefix.len > 0 && (is_content_ns(p, q->ns) || span_is(q->ns, XML_NS))) {
        xml_fail(p, XML_S_BAD_PREFIX);
        return;
    }
    if (w->depth == 2) {
        w->st = stanza_begin();
        w->at = NULL;
        w->start = event_at(w);
        w->inner = event_end(w);
        w->n_inner = 0;
        /* The payload inherits the default namespace: it must be the one of the root. */
        w->raw_ok = q->prefix.len == 0;
    } else {
        flush_text(w);
        note_prefix(w, q->prefix);
    }
    /* RFC 6120, 4.8.3: re-scoped, so that inside the server all stanzas are jabber:client. */
    if (p->content_ns != NULL && span_is(q->ns, p->content_ns))
        q->ns = (struct span){ GR_NS_CLIENT, strlen(GR_NS_CLIENT) };
    w->at = stanza_add_el(w->st, w->at, q->ns, q->local);
    add_attrs(p, atts);
    /* A tree costs more than its text; a stanza of nothing but <a/> costs twenty times as much. */
    if (!p->whole && w->st->arena.used > xml_element_memory(p))
        xml_fail(p, XML_S_LIMIT);
}

static void XMLCALL on_start(void *ctx, const XML_Char *name, const XML_Char **atts)
{
    struct xml_parser *p = ctx;
    struct xml_work *w = p->work;
    struct qname q;

    if (p->halted)
        return;
    w->depth++;
    w->decls = 0;
    if (w->replaying)
        return;
    q = split(name);
    if (!start_allowed(p, &q, atts))
        return;
    if (w->depth == 1)
        root_start(p, &q, atts);
    else
        element_start(p, &q, atts);
}

/* The payload is [inner, end): what earlier pieces left in w->raw, and the rest from this one. */
static struct span raw_payload(struct xml_work *w, uint64_t end)
{
    if (!w->raw_ok)
        return (struct span){ NULL, 0 };
    if (w->inner >= w->piece_at)
        return (struct span){ w->piece + (w->inner - w->piece_at), (size_t)(end - w->inner) };
    if (end > w->piece_at)
        buf_append(&w->raw, w->piece, (size_t)(end - w->piece_at));
    return (struct span){ buf_data(&w->raw), (size_t)(end - w->inner) };
}

void xml_build_piece_done(struct xml_parser *p)
{
    struct xml_work *w = p->work;
    uint64_t from = w->inner > w->piece_at ? w->inner : w->piece_at;

    if (w->st != NULL && w->raw_ok)
        buf_append(&w->raw, w->piece + (from - w->piece_at), (size_t)(w->fed - from));
    else if (buf_len(&w->raw) > 0)
        buf_fini(&w->raw);
}

static void stanza_end(struct xml_parser *p)
{
    struct xml_work *w = p->work;
    struct gr_stanza *st = w->st;
    struct span raw;

    if (event_end(w) - w->start > p->limits[LIM_STANZA]) {
        xml_fail(p, XML_S_LIMIT);
        return;
    }
    raw = raw_payload(w, event_at(w));
    stanza_finish(st, raw.s, raw.len);
    buf_consume(&w->raw, buf_len(&w->raw));
    w->st = NULL;
    w->at = NULL;
    if (p->events->element(p->ctx, st) != 0 || p->restart_due)
        stop(p);
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
    struct xml_parser *p = ctx;
    struct xml_work *w = p->work;

    (void)name;
    if (p->halted) {
        /* A root that is empty ends in the same token that a callback has just stopped at. */
        if (p->status == XML_S_OK && w->depth == 1)
            p->close_due = true;
        return;
    }
    if (token_too_long(p))
        return;
    if (w->depth > 1) {
        flush_text(w);
        while (w->n_inner > 0 && w->inner_decls[w->n_inner - 1].depth == w->depth)
            w->n_inner--;
        w->at = w->at->parent;
        if (--w->depth == 1)
            stanza_end(p);
        return;
    }
    w->depth = 0;
    p->state = XML_CLOSED;
    p->events->close(p->ctx);
    stop(p);
}

static void XMLCALL on_text(void *ctx, const XML_Char *s, int len)
{
    struct xml_parser *p = ctx;

    /* Plain text comes in pieces and is no token; but a reference to one character is. */
    if (p->halted || (len <= 4 && token_too_long(p)))
        return;
    if (p->work->st != NULL) {
        buf_append(&p->work->text, s, (size_t)len);
        return;
    }
    /* RFC 6120, 11.7: white space may separate stanzas. Other text there is well-formed, yet "XML
     * that cannot be processed": bad-format (4.9.3.1). */
    for (int i = 0; i < len; i++)
        if (s[i] != ' ' && s[i] != '\n' && s[i] != '\t' && s[i] != '\r') {
            xml_fail(p, XML_S_BAD_FORMAT);
            return;
        }
}

static void XMLCALL on_cdata(void *ctx)
{
    struct xml_parser *p = ctx;

    if (p->halted)
        return;
    /* Between stanzas an open section would look just like nothing pending. */
    if (p->work->st == NULL)
        xml_fail(p, XML_S_BAD_FORMAT);
    p->work->raw_ok = false;
}

static void restricted(struct xml_parser *p)
{
    if (!p->halted && !token_too_long(p))
        xml_fail(p, XML_S_RESTRICTED); /* RFC 6120, 11.1 */
}

static void XMLCALL on_comment(void *ctx, const XML_Char *data)
{
    (void)data;
    restricted(ctx);
}

static void XMLCALL on_pi(void *ctx, const XML_Char *target, const XML_Char *data)
{
    (void)target;
    (void)data;
    restricted(ctx);
}

static void XMLCALL on_doctype(void *ctx, const XML_Char *name, const XML_Char *sysid,
                               const XML_Char *pubid, int internal)
{
    (void)name;
    (void)sysid;
    (void)pubid;
    (void)internal;
    restricted(ctx);
}

/* RFC 6120, 11.6: all and only UTF-8. A standalone declaration is ignored (11.5). */
static void XMLCALL on_xml_decl(void *ctx, const XML_Char *version, const XML_Char *encoding,
                                int standalone)
{
    struct xml_parser *p = ctx;

    (void)version;
    (void)standalone;
    if (p->halted || token_too_long(p))
        return;
    if (encoding != NULL && strcasecmp(encoding, "UTF-8") != 0)
        xml_fail(p, XML_S_BAD_ENCODING);
}

void xml_build_attach(struct xml_parser *p)
{
    XML_Parser expat = p->work->expat;

    XML_SetUserData(expat, p);
    XML_SetReturnNSTriplet(expat, 1);
    XML_SetElementHandler(expat, on_start, on_end);
    XML_SetStartNamespaceDeclHandler(expat, on_ns_decl);
    XML_SetCharacterDataHandler(expat, on_text);
    XML_SetCdataSectionHandler(expat, on_cdata, NULL);
    XML_SetCommentHandler(expat, on_comment);
    XML_SetProcessingInstructionHandler(expat, on_pi);
    XML_SetStartDoctypeDeclHandler(expat, on_doctype);
    XML_SetXmlDeclHandler(expat, on_xml_decl);
}
