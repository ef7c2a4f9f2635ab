/* xml/parse.c: feeding expat, and living without it.
 *
 * expat never gives memory back inside a stream, so a quiet stream has no expat parser: whenever it
 * stands between two elements with nothing pending, it gives its parser away, to go on with another
 * like it (parse_keep.c) or with a new one and the root tag that was kept. A callback that stops
 * parsing ends the expat parser: it can only do so at such a place, which is why nothing is ever
 * lost or seen twice. RFC 6120, 4.9.3 and 11. */
#include "xml/parse.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "xml/parse_internal.h"

#define PIECE 4096            /* expat's buffer grows with what it is given at once */
#define EXPAT_MEMORY 65536    /* and twice the stanza limit */

/* Debian's expat has this although it calls itself 2.5; others may not. Deferral would hold back a
 * stanza whose last token came in several reads until more bytes come. */
extern XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled)
    __attribute__((weak));

static const uint32_t default_limits[LIM_COUNT] = { 262144, 64, 64, 32, 512, 16384, 0 };

/* expat's memory functions have no context: set around every call into it. */
static _Thread_local struct budget {
    size_t *held;
    size_t max;
} budget;

/* Of limits.memory five eighths are for expat, the rest for the element. */
static size_t parser_memory(const struct xml_parser *p)
{
    size_t all = p->limits[LIM_MEMORY];

    return all > 0 ? all / 8 * 5 : EXPAT_MEMORY + 2 * (size_t)p->limits[LIM_STANZA];
}

size_t xml_element_memory(const struct xml_parser *p)
{
    size_t all = p->limits[LIM_MEMORY];

    return all > 0 ? all / 8 * 3 : 12 * (size_t)p->limits[LIM_STANZA] + 16384;
}

static struct budget budget_for(struct xml_parser *p)
{
    struct budget before = budget;

    budget.held = &p->work->memory;
    budget.max = p->whole ? SIZE_MAX : parser_memory(p);
    return before;
}

static void *expat_realloc(void *old, size_t size)
{
    size_t had = old != NULL ? malloc_usable_size(old) : 0;
    void *mem;

    if (size == 0) /* expat never asks for nothing */
        return NULL;
    if (size > had && (*budget.held > budget.max || size - had > budget.max - *budget.held))
        return NULL;
    mem = realloc(old, size);
    if (mem != NULL)
        *budget.held += malloc_usable_size(mem) - had;
    return mem;
}

static void *expat_malloc(size_t size)
{
    return expat_realloc(NULL, size);
}

static void expat_free(void *mem)
{
    if (mem != NULL)
        *budget.held -= malloc_usable_size(mem);
    free(mem);
}

/* One salt per process: names come from peers. */
static unsigned long hash_salt(void)
{
    static _Atomic unsigned long salt;
    unsigned long known = atomic_load(&salt), fresh;

    if (known != 0)
        return known;
    gr_random(&fresh, sizeof(fresh));
    fresh |= 1;
    return atomic_compare_exchange_strong(&salt, &known, fresh) ? fresh : known;
}

const char *xml_status_condition(enum xml_status status)
{
    switch (status) {
    case XML_S_NOT_WELL_FORMED:
        return "not-well-formed";
    case XML_S_BAD_FORMAT:
        return "bad-format";
    case XML_S_RESTRICTED:
        return "restricted-xml";
    case XML_S_LIMIT:
        return "policy-violation";
    case XML_S_BAD_ENCODING:
        return "unsupported-encoding";
    case XML_S_BAD_PREFIX:
        return "bad-namespace-prefix";
    case XML_S_NO_MEMORY:
        return "resource-constraint";
    case XML_S_OK:
    case XML_S_STOPPED:
        break;
    }
    return "undefined-condition";
}

struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_events *events,
                                  void *ctx)
{
    struct xml_parser *p = gr_alloc(sizeof(*p));

    p->events = events;
    p->ctx = ctx;
    xml_parser_set_limits(p, limits);
    return p;
}

static uint32_t limit(size_t wanted, int which)
{
    if (wanted == 0)
        return default_limits[which];
    return wanted < INT32_MAX ? (uint32_t)wanted : INT32_MAX;
}

void xml_parser_set_limits(struct xml_parser *p, const struct xml_limits *limits)
{
    p->limits[LIM_STANZA] = limit(limits->stanza_bytes, LIM_STANZA);
    p->limits[LIM_DEPTH] = limit(limits->depth, LIM_DEPTH);
    p->limits[LIM_ATTRS] = limit(limits->attrs, LIM_ATTRS);
    p->limits[LIM_NAMESPACES] = limit(limits->namespaces, LIM_NAMESPACES);
    p->limits[LIM_NAME] = limit(limits->name, LIM_NAME);
    p->limits[LIM_TOKEN] = limit(limits->token, LIM_TOKEN);
    p->limits[LIM_MEMORY] = limit(limits->memory, LIM_MEMORY);
}

void xml_parser_set_content_ns(struct xml_parser *p, const char *ns)
{
    p->content_ns = ns;
}

void xml_work_free(struct xml_work *take)
{
    struct budget before = budget;

    budget.held = &take->memory;
    if (take->expat != NULL)
        XML_ParserFree(take->expat);
    budget = before;
    gr_stanza_unref(&take->st);
    buf_fini(&take->text);
    buf_fini(&take->raw);
    buf_fini(&take->root_decls);
    gr_free(take->root_default);
    gr_free(take->root);
    gr_free(take);
}

void xml_drop_work(struct xml_parser *p)
{
    if (p->work != NULL)
        xml_work_free(p->work);
    p->work = NULL;
}

void xml_parser_restart(struct xml_parser *p)
{
    if (p->busy) { /* from a callback: as soon as expat has returned */
        p->restart_due = true;
        return;
    }
    xml_drop_work(p);
    gr_free(p->root);
    p->root = NULL;
    p->root_len = 0;
    p->content_ns = NULL;
    p->state = XML_HEADER;
    p->status = XML_S_OK;
    p->halted = p->restart_due = p->close_due = false;
}

void xml_parser_free(struct xml_parser **p)
{
    if (*p == NULL)
        return;
    gr_assert(!(*p)->busy);
    xml_drop_work(*p);
    gr_free((*p)->root);
    gr_free(*p);
    *p = NULL;
}

static int expat_feed(struct xml_parser *p, const char *data, size_t len)
{
    struct xml_work *w = p->work;
    struct budget before = budget_for(p);
    int rc;

    w->piece = data;
    w->piece_at = w->fed;
    w->fed += len;
    p->busy = true;
    rc = XML_Parse(w->expat, data, (int)len, 0);
    budget = before;
    p->busy = false;
    return rc;
}

/* An expat parser that stands where the stream does. */
static enum xml_status wake(struct xml_parser *p)
{
    static const XML_Memory_Handling_Suite memory = { expat_malloc, expat_realloc, expat_free };
    static const char sep[] = { XML_SEP, '\0' };
    struct xml_work *w = xml_take_kept(p);
    struct budget before;

    p->halted = false;
    p->work = w;
    if (w != NULL) {
        XML_SetUserData(w->expat, p);
        return XML_S_OK;
    }
    w = p->work = gr_alloc(sizeof(*w));
    before = budget_for(p);
    w->expat = XML_ParserCreate_MM("UTF-8", &memory, sep);
    budget = before;
    if (w->expat == NULL)
        return XML_S_NO_MEMORY;
    XML_SetHashSalt(w->expat, hash_salt());
    if (XML_SetReparseDeferralEnabled != NULL)
        XML_SetReparseDeferralEnabled(w->expat, XML_FALSE);
    xml_build_attach(p);
    if (p->state == XML_HEADER)
        return XML_S_OK;
    w->replaying = true;
    if (expat_feed(p, p->root, p->root_len) != XML_STATUS_OK)
        return XML_S_NO_MEMORY; /* it parsed before */
    w->replaying = false;
    return XML_S_OK;
}

/* Bytes that are no UTF-8 are an encoding error (RFC 6120, 4.9.3.22), not one of syntax. */
static bool bad_utf8(const unsigned char *s, size_t len)
{
    size_t n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

    if (s[0] < 0x80)
        return false;
    for (size_t i = 1; i < n && i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return true;
    return n == 0 || (len > 1 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
                                  (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)));
}

static enum xml_status expat_error(struct xml_work *w)
{
    const char *context;
    int at = 0, size = 0;

    switch (XML_GetErrorCode(w->expat)) {
    case XML_ERROR_NO_MEMORY:
        return XML_S_NO_MEMORY;
    case XML_ERROR_UNDEFINED_ENTITY: /* no DTD, so any reference but the predefined ones */
        return XML_S_RESTRICTED;
    case XML_ERROR_UNKNOWN_ENCODING:
    case XML_ERROR_INCORRECT_ENCODING:
        return XML_S_BAD_ENCODING;
    case XML_ERROR_INVALID_TOKEN:
        context = XML_GetInputContext(w->expat, &at, &size);
        if (context != NULL && at < size &&
            bad_utf8((const unsigned char *)context + at, (size_t)(size - at)))
            return XML_S_BAD_ENCODING;
        return XML_S_NOT_WELL_FORMED;
    default: /* also unbound prefixes: RFC 6120, 4.9.3.13 gives that very example */
        return XML_S_NOT_WELL_FORMED;
    }
}

/* Bytes that belong to the unfinished token. */
static uint64_t pending(const struct xml_work *w)
{
    XML_Index at = XML_GetCurrentByteIndex(w->expat);

    return at < 0 ? w->fed : w->fed - (uint64_t)at;
}

static bool over_limit(const struct xml_parser *p)
{
    const struct xml_work *w = p->work;
    uint64_t token = pending(w), stanza = token;

    if (w->st != NULL)
        stanza = w->fed - w->start;
    else if (p->state == XML_HEADER)
        stanza = w->fed;
    return token > p->limits[LIM_TOKEN] || stanza > p->limits[LIM_STANZA];
}

/* Told "UTF-8", expat still takes a NUL among the first two bytes, or a byte order mark, for the
 * sign of UTF-16. A mark counts as any other character (RFC 6120, 11.6), so that a stream which
 * begins with one is not well-formed. `at` bytes came before. */
static enum xml_status first_bytes(uint64_t at, const char *data, size_t len)
{
    unsigned char c = (unsigned char)data[0];

    if ((at == 0 && len > 1 && data[1] == '\0') || c == 0)
        return XML_S_BAD_ENCODING;
    if (at > 0 || c == '<' || c == ' ' || c == '\n' || c == '\r' || c == '\t')
        return XML_S_OK;
    return c >= 0xf0 ? XML_S_BAD_ENCODING : XML_S_NOT_WELL_FORMED;
}

static enum xml_status feed_piece(struct xml_parser *p, const char *data, size_t len, size_t *used)
{
    struct xml_work *w = p->work;
    int rc;

    *used = len;
    if (p->state == XML_HEADER && w->fed < 2 &&
        (p->status = (uint8_t)first_bytes(w->fed, data, len)) != XML_S_OK)
        return p->status;
    rc = expat_feed(p, data, len);
    if (p->status != XML_S_OK)
        return p->status;
    if (p->halted) {
        *used = (size_t)(w->stop_at - w->piece_at);
        xml_drop_work(p);
        if (p->restart_due)
            xml_parser_restart(p);
        return XML_S_STOPPED;
    }
    if (rc != XML_STATUS_OK)
        return expat_error(w);
    xml_build_piece_done(p);
    return over_limit(p) ? XML_S_LIMIT : XML_S_OK;
}

/* White space between stanzas (keepalives) wakes nobody up, and nothing is kept for it. */
static size_t skip_space(const struct xml_parser *p, const char *data, size_t len)
{
    size_t n = 0;

    if (p->state == XML_OPEN && p->work == NULL)
        while (n < len && (data[n] == ' ' || data[n] == '\n' || data[n] == '\r' ||
                           data[n] == '\t'))
            n++;
    return n;
}

enum xml_status xml_parser_feed(struct xml_parser *p, const char *data, size_t len,
                                size_t *consumed)
{
    enum xml_status status = p->status;
    size_t done = 0, n, used;

    gr_assert(!p->busy);
    *consumed = 0;
    if (status == XML_S_OK && p->close_due) {
        p->close_due = false;
        p->state = XML_CLOSED;
        p->events->close(p->ctx);
    }
    if (status == XML_S_OK && p->state == XML_CLOSED)
        return XML_S_STOPPED;
    while (status == XML_S_OK && (done += skip_space(p, data + done, len - done)) < len) {
        if (p->work == NULL && (status = wake(p)) != XML_S_OK)
            break;
        n = len - done < PIECE || p->whole ? len - done : PIECE;
        status = feed_piece(p, data + done, n, &used);
        done += used;
    }
    *consumed = done;
    if (status != XML_S_OK && status != XML_S_STOPPED) {
        p->status = (uint8_t)status;
        xml_drop_work(p);
    } else if (p->work != NULL && p->work->depth == 1 && pending(p->work) == 0 && !xml_keep(p)) {
        xml_drop_work(p);
    }
    return status;
}

size_t xml_parser_idle_bytes(const struct xml_parser *p)
{
    return p->root != NULL ? p->root_len + (size_t)1 : 0;
}

bool xml_parser_is_idle(const struct xml_parser *p)
{
    return p->work == NULL;
}
