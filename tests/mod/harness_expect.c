/* tests/mod/harness_expect.c: what arrived, and whether it is what the test expects. */
#include "harness_priv.h"

#include "xml/stanza_internal.h"

#include <ctype.h>
#include <stdio.h>

struct gr_stanza *h_parse(const char *xml)
{
    struct gr_stanza *st;

    if (gr_stanza_parse(xml, strlen(xml), &st) != 0)
        h_fail("not one well-formed element: %s", xml);
    return st;
}

/* --- the queue --- */

struct gr_stanza *h_peek(struct hs *s)
{
    return s->first < s->count ? s->got[s->first] : NULL;
}

struct gr_stanza *h_next(struct hs *s)
{
    return s->first < s->count ? s->got[s->first++] : NULL;
}

/* Behind what was looked at, so that it stays alive. */
struct gr_stanza *hs_take(struct hs *s, size_t i)
{
    struct gr_stanza *st = s->got[i];

    memmove(&s->got[s->first + 1], &s->got[s->first], (i - s->first) * sizeof(struct gr_stanza *));
    s->got[s->first++] = st;
    return st;
}

unsigned h_count(const struct hs *s)
{
    return (unsigned)(s->count - s->first);
}

void h_drop_all(struct hs *s)
{
    s->first = s->count;
}

void hs_print(struct buf *out, const struct hs *s)
{
    if (s->first == s->count)
        buf_puts(out, "  nothing\n");
    for (size_t i = s->first; i < s->count; i++)
        buf_printf(out, "  %s\n", gr_stanza_xml(s->got[i], NULL));
    if (s->closed != NULL)
        buf_printf(out, "  </stream:stream> (%s)\n", s->closed);
    buf_str(out);
}

static struct gr_stanza *need(struct hs *s, const char *what)
{
    struct gr_stanza *st = h_next(s);

    if (st == NULL)
        h_fail("%s expected %s\nbut got nothing%s%s", s->jid->full, what,
               s->closed != NULL ? ", and was closed with " : "",
               s->closed != NULL ? s->closed : "");
    return st;
}

/* --- patterns --- */

static const struct attr *find_attr(const struct gr_el *el, const struct attr *like)
{
    for (const struct attr *a = el->attrs; a != NULL; a = a->next)
        if (strcmp(a->name, like->name) == 0 &&
            strcmp(a->ns != NULL ? a->ns : "", like->ns != NULL ? like->ns : "") == 0)
            return a;
    return NULL;
}

static bool is_flag(const struct attr *a)
{
    return a->ns == NULL && strcmp(a->name, "_") == 0;
}

static char *attrs_differ(const struct gr_el *el, const struct gr_el *like, bool more)
{
    for (const struct attr *p = like->attrs; p != NULL; p = p->next) {
        const struct attr *a = find_attr(el, p);
        if (is_flag(p))
            continue;
        if (a == NULL)
            return gr_asprintf("<%s> has no %s", gr_el_name(el), p->name);
        if (strcmp(p->value, "*") != 0 && strcmp(p->value, a->value) != 0)
            return gr_asprintf("<%s %s='%s'>, not '%s'", gr_el_name(el), p->name, a->value,
                               p->value);
    }
    for (const struct attr *a = el->attrs; a != NULL && !more; a = a->next)
        if (find_attr(like, a) == NULL)
            return gr_asprintf("<%s> has %s='%s' as well", gr_el_name(el), a->name, a->value);
    return NULL;
}

static bool blank(const char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    return *s == '\0';
}

static char *text_differs(const struct gr_el *el, const struct gr_el *like)
{
    const char *text = gr_el_text(el, NULL), *want = gr_el_text(like, NULL);

    if (strcmp(want, "*") == 0 || strcmp(text, want) == 0 || (blank(text) && blank(want)))
        return NULL;
    return gr_asprintf("<%s> says \"%s\", not \"%s\"", gr_el_name(el), text, want);
}

static char *differs(const struct gr_el *el, const struct gr_el *like);

static char *in_order(const struct gr_el *el, const struct gr_el *like)
{
    const struct gr_el *c = gr_el_child(el, NULL, NULL), *p = gr_el_child(like, NULL, NULL);

    for (; c != NULL && p != NULL;
         c = gr_el_next(c, NULL, NULL), p = gr_el_next(p, NULL, NULL)) {
        char *why = differs(c, p);
        if (why != NULL)
            return why;
    }
    if (p != NULL)
        return gr_asprintf("<%s> has no <%s xmlns='%s'>", gr_el_name(el), gr_el_name(p),
                           gr_el_ns(p));
    if (c != NULL)
        return gr_asprintf("<%s> has <%s xmlns='%s'> as well", gr_el_name(el), gr_el_name(c),
                           gr_el_ns(c));
    return NULL;
}

/* Each child of the pattern finds one of its own. */
static char *among(const struct gr_el *el, const struct gr_el *like)
{
    const struct gr_el *used[256];
    size_t n = 0;

    for (const struct gr_el *p = gr_el_child(like, NULL, NULL); p != NULL;
         p = gr_el_next(p, NULL, NULL)) {
        char *why = NULL;
        const struct gr_el *c = gr_el_child(el, NULL, NULL);
        for (; c != NULL; c = gr_el_next(c, NULL, NULL)) {
            size_t i = 0;
            while (i < n && used[i] != c)
                i++;
            if (i < n)
                continue;
            char *mine = differs(c, p);
            if (mine == NULL)
                break;
            if (why == NULL || gr_el_is(c, gr_el_ns(p), gr_el_name(p))) {
                gr_free(why);
                why = mine;
            } else {
                gr_free(mine);
            }
        }
        if (c == NULL) {
            char *text = gr_asprintf("<%s> has no fitting <%s xmlns='%s'>%s%s", gr_el_name(el),
                                     gr_el_name(p), gr_el_ns(p), why != NULL ? ": " : "",
                                     why != NULL ? why : "");
            gr_free(why);
            return text;
        }
        gr_free(why);
        gr_assert(n < GR_COUNT(used));
        used[n++] = c;
    }
    return NULL;
}

static char *differs(const struct gr_el *el, const struct gr_el *like)
{
    const char *flag = gr_el_attr(like, "_");
    bool any = flag != NULL && strcmp(flag, "any") == 0;
    bool more = any || (flag != NULL && strcmp(flag, "more") == 0);
    char *why;

    if (flag != NULL && !more)
        return gr_asprintf("the pattern has _='%s', which means nothing", flag);
    if (!gr_el_is(el, gr_el_ns(like), gr_el_name(like)))
        return gr_asprintf("<%s xmlns='%s'>, not <%s xmlns='%s'>", gr_el_name(el), gr_el_ns(el),
                           gr_el_name(like), gr_el_ns(like));
    if ((why = attrs_differ(el, like, more)) != NULL)
        return why;
    if (!any && (why = text_differs(el, like)) != NULL)
        return why;
    return more ? among(el, like) : in_order(el, like);
}

char *h_difference(const struct gr_stanza *st, const char *pattern)
{
    struct gr_stanza *like = h_parse(pattern);
    char *why = differs(gr_stanza_root(st), gr_stanza_root(like));

    gr_stanza_unref(&like);
    return why;
}

bool h_matches(const struct gr_stanza *st, const char *pattern)
{
    char *why = h_difference(st, pattern);
    bool yes = why == NULL;

    gr_free(why);
    return yes;
}

void h_assert_xml(const struct gr_stanza *st, const char *pattern)
{
    char *why = h_difference(st, pattern);

    if (why != NULL)
        h_fail("expected %s\nbut got  %s\nthat is: %s", pattern, gr_stanza_xml(st, NULL), why);
}

/* --- expectations --- */

struct gr_stanza *h_expect_xml(struct hs *s, const char *pattern)
{
    struct gr_stanza *st = need(s, pattern);
    char *why = h_difference(st, pattern);
    struct buf rest = { 0 };

    if (why != NULL) {
        hs_print(&rest, s);
        h_fail("%s expected %s\nbut got  %s\nthat is: %s\nand then\n%s", s->jid->full, pattern,
               gr_stanza_xml(st, NULL), why, buf_str(&rest));
    }
    return st;
}

struct gr_stanza *h_expect_xmlf(struct hs *s, const char *fmt, ...)
{
    struct gr_stanza *st;
    va_list ap;
    char *xml;

    va_start(ap, fmt);
    if (vasprintf(&xml, fmt, ap) < 0)
        abort();
    va_end(ap);
    st = h_expect_xml(s, xml);
    free(xml);
    return st;
}

struct gr_stanza *h_expect_among(struct hs *s, const char *pattern)
{
    struct buf all = { 0 };

    for (size_t i = s->first; i < s->count; i++)
        if (h_matches(s->got[i], pattern))
            return hs_take(s, i);
    hs_print(&all, s);
    h_fail("%s expected %s\namong\n%s", s->jid->full, pattern, buf_str(&all));
}

static const char *kind_name(enum gr_kind kind)
{
    static const char *const name[] = { "message", "iq", "presence", "other element" };

    return name[kind];
}

struct gr_stanza *h_expect(struct hs *s, enum gr_kind kind, enum gr_type type, const char *from)
{
    const char *type_name = stanza_type_name(kind, type);
    char what[4200];

    snprintf(what, sizeof(what), "a %s of type %s from %s", kind_name(kind),
             type == GR_TYPE_INVALID ? "any" : type_name != NULL ? type_name : "none",
             from != NULL ? from : "anybody");
    struct gr_stanza *st = need(s, what);
    const struct gr_jid *is = gr_stanza_from(st);
    if (gr_stanza_kind(st) != kind ||
        (type != GR_TYPE_INVALID && gr_stanza_type(st) != type) ||
        (from != NULL && (is == NULL || strcmp(is->full, from) != 0)))
        h_fail("%s expected %s\nbut got %s", s->jid->full, what, gr_stanza_xml(st, NULL));
    return st;
}

struct gr_stanza *h_expect_error(struct hs *s, enum gr_kind kind, enum gr_cond cond,
                                 const char *from)
{
    struct gr_stanza *st = h_expect(s, kind, GR_TYPE_ERROR, from);

    if (gr_stanza_cond(st) != cond)
        h_fail("%s expected the error %s but got\n%s", s->jid->full, gr_cond_name(cond),
               gr_stanza_xml(st, NULL));
    return st;
}

struct gr_stanza *h_expect_body(struct hs *s, const char *from, const char *body)
{
    struct gr_stanza *st = h_expect(s, GR_MESSAGE, GR_TYPE_INVALID, from);
    const struct gr_el *el = gr_stanza_child(st, GR_NS_CLIENT, "body");

    if (el == NULL || strcmp(gr_el_text(el, NULL), body) != 0)
        h_fail("%s expected the body \"%s\" but got\n%s", s->jid->full, body,
               gr_stanza_xml(st, NULL));
    return st;
}

void h_expect_nothing(struct hs *s)
{
    struct buf all = { 0 };

    if (s->first == s->count)
        return;
    hs_print(&all, s);
    h_fail("%s expected nothing but got\n%s", s->jid->full, buf_str(&all));
}

/* --- iqs --- */

void h_iq_result(struct hs *s, const char *type, const char *to, const char *payload,
                 const char *result)
{
    struct gr_stanza *st = h_iq(s, type, to, payload);
    const struct gr_el *got = gr_stanza_payload(st);

    if (gr_stanza_type(st) != GR_RESULT || (got != NULL) != (result != NULL))
        h_fail("%s expected the result %s but got\n%s", s->jid->full,
               result != NULL ? result : "without content", gr_stanza_xml(st, NULL));
    if (result == NULL)
        return;
    struct gr_stanza *like = h_parse(result);
    char *why = differs(got, gr_stanza_root(like));
    if (why != NULL)
        h_fail("%s expected the result %s\nbut got %s\nthat is: %s", s->jid->full, result,
               gr_stanza_xml(st, NULL), why);
    gr_stanza_unref(&like);
}

void h_iq_error(struct hs *s, const char *type, const char *to, const char *payload,
                enum gr_cond cond)
{
    struct gr_stanza *st = h_iq(s, type, to, payload);

    if (gr_stanza_type(st) != GR_TYPE_ERROR || gr_stanza_cond(st) != cond)
        h_fail("%s expected the error %s but got\n%s", s->jid->full, gr_cond_name(cond),
               gr_stanza_xml(st, NULL));
}
