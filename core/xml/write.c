/* xml/write.c: elements to text, without recursion.
 *
 * Every element declares its namespace as the default one when it differs from its parent's; only
 * attributes get (generated) prefixes, and top-level elements of the stream namespace get stream:.
 * A parsed stanza with untouched payload is a new start tag around the bytes that came, a copy to
 * another address its base's text with that address, and one that was written and then got more
 * children that text with them.
 * RFC 6120, 4.8 (namespaces), 11 (what may be sent); XML 1.0, 2.2 and 3.3.3. */
#include "xml/write.h"

#include <stdio.h>
#include <string.h>

#include "xml/stanza_internal.h"

/* Length of the XML character at s (XML 1.0, 2.2, in strict UTF-8), 0 when it is none. */
static size_t xml_char(const unsigned char *s, size_t len)
{
    uint32_t c = s[0];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (n <= 1)
        return n == 1 && (c >= 0x20 || c == '\t' || c == '\n' || c == '\r') ? 1 : 0;
    if (n > len)
        return 0;
    c &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
        return 0;
    return (c >= 0xd800 && c <= 0xdfff) || c == 0xfffe || c == 0xffff ? 0 : n;
}

static const char *entity(unsigned char c, bool attr)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>': /* for ]]> */
        return "&gt;";
    case '\r': /* a parser would make it \n (XML 1.0, 2.11) */
        return "&#xD;";
    case '\'':
        return attr ? "&apos;" : NULL;
    case '"':
        return attr ? "&quot;" : NULL;
    case '\t': /* in values a parser makes these spaces (3.3.3) */
        return attr ? "&#x9;" : NULL;
    case '\n':
        return attr ? "&#xA;" : NULL;
    default:
        return NULL;
    }
}

/* Printable ASCII that never needs escaping (all but & < > ' and "), a bit each: nearly everything
 * that is written. */
static inline bool plain(unsigned char c)
{
    static const uint32_t bits[8] = { 0, 0xafffff3b, 0xffffffff, 0x7fffffff };

    return bits[c >> 5] >> (c & 31) & 1;
}

static void escape(struct buf *out, const char *str, size_t len, bool attr)
{
    const unsigned char *s = (const unsigned char *)str;
    size_t from = 0, i = 0, n;
    const char *instead;

    while (i < len) {
        if (plain(s[i])) {
            i++;
            continue;
        }
        n = xml_char(s + i, len - i);
        instead = n == 0 ? "\xef\xbf\xbd" : entity(s[i], attr);
        if (instead != NULL) {
            buf_append(out, s + from, i - from);
            buf_puts(out, instead);
            from = i + (n != 0 ? n : 1);
        }
        i += n != 0 ? n : 1;
    }
    buf_append(out, s + from, len - from);
}

void xml_escape_attr(struct buf *out, const char *s, size_t len)
{
    escape(out, s, len, true);
}

void xml_escape_text(struct buf *out, const char *s, size_t len)
{
    escape(out, s, len, false);
}

static char *put(char *at, const char *s, size_t len)
{
    memcpy(at, s, len);
    return at + len;
}

/* Nearly a half of what is written of stanzas are attributes, so these are put down in one go. */
static void put_attr(struct buf *out, const char *prefix, const char *name, const char *value)
{
    size_t prefix_len = strlen(prefix), name_len = strlen(name), len = strlen(value);
    char *at = buf_reserve(out, prefix_len + name_len + len + 4), *from = at;

    *at++ = ' ';
    at = put(at, prefix, prefix_len);
    at = put(at, name, name_len);
    at = put(at, "='", 2);
    buf_produced(out, (size_t)(at - from));
    escape(out, value, len, true);
    buf_append(out, "'", 1);
}

/* Prefixes are named after the position of the first attribute with that namespace, which
 * declares it. */
static void put_ns_attr(struct buf *out, const struct gr_el *el, const struct attr *attr)
{
    const struct attr *first = el->attrs;
    char prefix[24];
    unsigned at = 1;

    if (strcmp(attr->ns, XML_NS) == 0) {
        put_attr(out, "xml:", attr->name, attr->value);
        return;
    }
    for (; first->ns == NULL || strcmp(first->ns, attr->ns) != 0; first = first->next)
        at++;
    snprintf(prefix, sizeof(prefix), "ns%u", at);
    if (first == attr)
        put_attr(out, "xmlns:", prefix, attr->ns);
    snprintf(prefix, sizeof(prefix), "ns%u:", at);
    put_attr(out, prefix, attr->name, attr->value);
}

/* "<name" and what is inside the tag, without its end. */
static void put_start(struct buf *out, const struct gr_el *el, const char *outer_ns)
{
    buf_append(out, "<", 1);
    buf_puts(out, el->node.name);
    if (outer_ns == NULL || (el->ns != outer_ns && strcmp(el->ns, outer_ns) != 0))
        put_attr(out, "", "xmlns", el->ns);
    for (const struct attr *a = el->attrs; a != NULL; a = a->next)
        if (a->ns == NULL)
            put_attr(out, "", a->name, a->value);
        else
            put_ns_attr(out, el, a);
}

static void put_end(struct buf *out, const char *prefix, const char *name)
{
    buf_append(out, "</", 2);
    buf_puts(out, prefix);
    buf_puts(out, name);
    buf_append(out, ">", 1);
}

/* What is inside el, for which `inner_ns` is the default namespace in force; first: its first child
 * node to write. Walks by the parent pointers: how deep it goes does not matter. The outermost ones
 * lead to el or to what it shares its children with (stanza_internal.h). */
static void put_nodes(struct buf *out, const struct gr_el *el, const struct node *first,
                      const char *inner_ns)
{
    const struct gr_el *at = el, *child;
    const struct node *n = first;
    size_t depth = 0;

    for (;;) {
        if (n == NULL) { /* the end of `at` */
            if (depth-- == 0)
                return;
            put_end(out, "", at->node.name);
            n = at->node.next;
            at = at->parent;
            continue;
        }
        if (n->name == NULL) {
            escape(out, at->text + n->off, n->len, false);
            n = n->next;
            continue;
        }
        child = (const struct gr_el *)n;
        put_start(out, child, depth == 0 ? inner_ns : at->ns);
        if (child->first == NULL) {
            buf_append(out, "/>", 2);
            n = n->next;
        } else {
            buf_append(out, ">", 1);
            at = child;
            n = child->first;
            depth++;
        }
    }
}

static void put_rest(struct buf *out, const struct gr_el *el, const char *prefix,
                     const char *inner_ns)
{
    if (el->first == NULL) {
        buf_append(out, "/>", 2);
        return;
    }
    buf_append(out, ">", 1);
    put_nodes(out, el, el->first, inner_ns);
    put_end(out, prefix, el->node.name);
}

/* After the root's start tag: the raw payload and what was appended to it, or the tree. */
static void put_root_rest(struct buf *out, const struct gr_stanza *st, struct xml_cache *mark)
{
    const struct gr_el *root = st->root;
    const struct node *n = root->first;

    while (st->raw != NULL && n != NULL && !(n->name != NULL && n->fresh))
        n = n->next;
    if (root->first == NULL && (st->raw == NULL || st->raw_len == 0)) {
        buf_append(out, "/>", 2);
        return;
    }
    buf_append(out, ">", 1);
    if (st->raw != NULL && (st->raw_len > 0 || n != NULL))
        buf_append(out, st->raw, st->raw_len);
    else
        n = root->first;
    put_nodes(out, root, n, root->ns);
    mark->end = buf_len(out);
    put_end(out, "", root->node.name);
}

/* Addresses of stanzas go out in their prepared form. mark: where `to` is, if out was empty. */
static void put_root_start(struct buf *out, const struct gr_stanza *st, struct xml_cache *mark)
{
    const struct gr_el *root = st->root;
    const char *value;

    mark->rest = 0;
    buf_append(out, "<", 1);
    buf_puts(out, root->node.name);
    if (strcmp(root->ns, GR_NS_CLIENT) != 0)
        put_attr(out, "", "xmlns", root->ns);
    for (const struct attr *a = root->attrs; a != NULL; a = a->next) {
        if (a->ns != NULL) {
            put_ns_attr(out, root, a);
        } else if (strcmp(a->name, "to") == 0) {
            value = st->kind != GR_NONZA && st->to != NULL ? st->to->full : a->value;
            mark->to = buf_len(out);
            put_attr(out, "", "to", value);
            mark->rest = buf_len(out);
        } else {
            bool from = st->kind != GR_NONZA && st->from != NULL && strcmp(a->name, "from") == 0;
            put_attr(out, "", a->name, from ? st->from->full : a->value);
        }
    }
    if (mark->rest == 0)
        mark->to = mark->rest = buf_len(out);
}

/* What was written before, and the children that came since. */
static void put_longer(struct buf *out, const struct gr_stanza *st, struct xml_cache *mark)
{
    const struct gr_el *root = st->root;

    *mark = *st->before;
    buf_append(out, st->before->text, st->before->end);
    put_nodes(out, root, st->after != NULL ? st->after->next : root->first, root->ns);
    mark->end = buf_len(out);
    put_end(out, "", root->node.name);
}

static void put_stanza(struct buf *out, const struct gr_stanza *st, struct xml_cache *mark)
{
    const struct xml_cache *base;

    if (st->before != NULL) {
        put_longer(out, st, mark);
        return;
    }
    if (!st->shares) {
        put_root_start(out, st, mark);
        put_root_rest(out, st, mark);
        return;
    }
    base = stanza_cached(st->base);
    buf_append(out, base->text, base->to);
    put_attr(out, "", "to", st->to->full);
    buf_append(out, base->text + base->rest, base->len - base->rest);
}

/* About what a stanza takes, so that the text is not moved while it grows. */
static size_t guess(const struct gr_stanza *st)
{
    return 256 + st->raw_len + (st->before != NULL ? st->before->len : 0);
}

const struct xml_cache *stanza_cached(const struct gr_stanza *st)
{
    /* The cache is the one thing that readers may change: hence not const in truth. */
    _Atomic(struct xml_cache *) *slot = &((struct gr_stanza *)st)->cache;
    struct xml_cache *cache = atomic_load_explicit(slot, memory_order_acquire), *made;
    struct xml_cache mark = { 0 };
    struct buf text = { 0 };

    if (cache != NULL)
        return cache;
    buf_reserve(&text, guess(st));
    put_stanza(&text, st, &mark);
    made = gr_realloc(NULL, sizeof(*made) + buf_len(&text) + 1);
    *made = mark;
    made->len = buf_len(&text);
    memcpy(made->text, buf_data(&text), made->len);
    made->text[made->len] = '\0';
    buf_fini(&text);
    if (atomic_compare_exchange_strong_explicit(slot, &cache, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    gr_free(made); /* another thread was faster */
    return cache;
}

/* <stream:features/>, <stream:error/>: for their children the content namespace is the default. */
static void write_prefixed(struct buf *out, const struct gr_el *root)
{
    buf_append(out, "<stream:", 8);
    buf_puts(out, root->node.name);
    for (const struct attr *a = root->attrs; a != NULL; a = a->next)
        if (a->ns == NULL)
            put_attr(out, "", a->name, a->value);
        else
            put_ns_attr(out, root, a);
    put_rest(out, root, "stream:", GR_NS_CLIENT);
}

/* A tree that is written again is going to several places: from then on it is kept as text. */
static bool written_before(const struct gr_stanza *st)
{
    _Atomic bool *written = &((struct gr_stanza *)st)->written; /* as the cache: not const */

    if (atomic_load_explicit(written, memory_order_relaxed))
        return true;
    atomic_store_explicit(written, true, memory_order_relaxed);
    return false;
}

void stanza_write(struct buf *out, const struct gr_stanza *st)
{
    const struct xml_cache *cache = atomic_load_explicit(&st->cache, memory_order_acquire);

    if (strcmp(st->root->ns, GR_NS_STREAM) == 0) {
        write_prefixed(out, st->root);
        return;
    }
    if (cache == NULL && st->raw == NULL && !st->shares && written_before(st))
        cache = stanza_cached(st);
    if (cache != NULL)
        buf_append(out, cache->text, cache->len);
    else
        put_stanza(out, st, &(struct xml_cache){ 0 });
}

const char *gr_stanza_xml(const struct gr_stanza *st, size_t *len)
{
    const struct xml_cache *cache = stanza_cached(st);

    if (len != NULL)
        *len = cache->len;
    return cache->text;
}

char *gr_el_xml(const struct gr_el *el, size_t *len)
{
    struct buf text = { 0 };
    char *copy;

    put_start(&text, el, NULL);
    put_rest(&text, el, "", el->ns);
    if (len != NULL)
        *len = buf_len(&text);
    copy = gr_strndup(buf_data(&text), buf_len(&text));
    buf_fini(&text);
    return copy;
}
