/* xml/stanza_build.c: making and changing stanzas; for the sole holder, which is asserted.
 *
 * Changes drop the cached text; that from before children were appended to the root is kept as the
 * beginning of the next. The raw payload of a parsed stanza survives changes to the root's attributes
 * and children appended to the root (the writer adds those behind it); any other change below the
 * root drops it too. RFC 6120, 8.1 and 8.2; XEP-0203. */
#include <stdio.h>
#include <string.h>

#include "xml/jid.h"
#include "xml/stanza_internal.h"

#define TEXT_MAX ((size_t)INT32_MAX)

/* Names come from code or from a parsed tree, never straight from a peer. */
static bool name_ok(const char *name)
{
    if (*name == '\0' || *name == '-' || *name == '.' || (*name >= '0' && *name <= '9'))
        return false;
    for (; *name != '\0'; name++)
        if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
              (*name >= '0' && *name <= '9') || *name == '_' || *name == '-' || *name == '.' ||
              (unsigned char)*name >= 0x80))
            return false;
    return true;
}

static struct gr_el *append_el(struct gr_stanza *st, struct gr_el *parent, const char *copied_ns,
                               const char *copied_name)
{
    struct gr_el *el = arena_alloc(&st->arena, sizeof(*el));

    el->node.name = copied_name;
    el->ns = copied_ns;
    el->parent = parent;
    if (parent == NULL)
        st->root = el;
    else
        append_node(parent, &el->node);
    return el;
}

struct gr_el *stanza_add_el(struct gr_stanza *st, struct gr_el *parent, struct span ns,
                            struct span name)
{
    const char *copied = "";

    if (parent != NULL && strlen(parent->ns) == ns.len && memcmp(parent->ns, ns.s, ns.len) == 0)
        copied = parent->ns;
    else if (ns.len == strlen(GR_NS_CLIENT) && memcmp(ns.s, GR_NS_CLIENT, ns.len) == 0)
        copied = GR_NS_CLIENT;
    else if (ns.len > 0)
        copied = arena_strndup(&st->arena, ns.s, ns.len);
    /* xml: cannot be a default namespace, which is how elements are written (XML-NAMES, 3). */
    gr_assert(strcmp(copied, XML_NS) != 0);
    return append_el(st, parent, copied, arena_strndup(&st->arena, name.s, name.len));
}

void stanza_add_attr(struct gr_stanza *st, struct gr_el *el, const char *copied_ns,
                     const char *copied_name, const char *copied_value)
{
    struct attr *attr = arena_alloc(&st->arena, sizeof(*attr)), **at = &el->attrs;

    *attr = (struct attr){ .ns = copied_ns, .name = copied_name, .value = copied_value };
    while (*at != NULL)
        at = &(*at)->next;
    *at = attr;
}

static void text_room(struct gr_stanza *st, struct gr_el *el, size_t len)
{
    size_t need = el->node.len + len + 1, room = (size_t)el->node.off * 2;
    char *text;

    gr_assert(len <= TEXT_MAX && need <= TEXT_MAX);
    if (el->text != NULL && need <= el->node.off)
        return;
    room = room > need && room <= TEXT_MAX ? room : need;
    text = arena_alloc(&st->arena, room);
    if (el->text != NULL)
        memcpy(text, el->text, el->node.len);
    el->text = text;
    el->node.off = (uint32_t)room & 0x7fffffff;
}

void stanza_add_text(struct gr_stanza *st, struct gr_el *el, const char *text, size_t len)
{
    struct node *n = el->last;

    if (len == 0)
        return;
    if (el->text == NULL) { /* the usual case: everything in one piece, no room to grow */
        gr_assert(len < TEXT_MAX);
        el->text = arena_strndup(&st->arena, text, len);
        el->node.off = ((uint32_t)len + 1) & 0x7fffffff;
    } else {
        text_room(st, el, len);
        memcpy(el->text + el->node.len, text, len);
        el->text[el->node.len + len] = '\0';
    }
    if (n == NULL || n->name != NULL || n->off + n->len != el->node.len) {
        n = arena_alloc(&st->arena, sizeof(*n));
        n->off = el->node.len & 0x7fffffff;
        append_node(el, n);
    }
    n->len += (uint32_t)len;
    el->node.len += (uint32_t)len;
}

/* Is that child of the root none of those in st->before? */
static bool is_late(const struct gr_stanza *st, const struct gr_el *child)
{
    const struct node *n = st->after != NULL ? st->after->next : st->root->first;

    while (n != NULL && n != &child->node)
        n = n->next;
    return n != NULL;
}

enum change { APPEND, ROOT, INSIDE }; /* a child to the root; its attributes; anything else */

/* What was written so far is the beginning of what will be written when children come behind. */
static void change_text(struct gr_stanza *st, const struct gr_el *child, enum change what)
{
    struct xml_cache *cache = atomic_exchange_explicit(&st->cache, NULL, memory_order_relaxed);

    if (what == APPEND && cache != NULL && cache->end > 0 && st->before == NULL && !st->shares) {
        st->before = cache;
        st->after = st->root->last;
        return;
    }
    gr_free(cache);
    if (what != APPEND && st->before != NULL && (child == NULL || !is_late(st, child))) {
        gr_free(st->before);
        st->before = NULL;
    }
}

/* A change at or below `at`, which must belong to st. */
static void changing(struct gr_stanza *st, const struct gr_el *at, enum change what)
{
    const struct gr_el *top = at, *child = NULL;

    gr_assert(atomic_load_explicit(&st->refs, memory_order_acquire) == 1);
    for (; top->parent != NULL; top = top->parent)
        child = top;
    gr_assert(top == st->root);
    change_text(st, child, what);
    if (st->shares)
        stanza_detach(st);
    if (what == INSIDE && !at->node.fresh && !st->opaque)
        st->raw = NULL;
}

struct gr_el *gr_el_add(struct gr_stanza *st, struct gr_el *parent, const char *ns,
                        const char *name)
{
    struct gr_el *el;

    if (parent == NULL)
        parent = st->root;
    gr_assert(name_ok(name));
    changing(st, parent, parent == st->root ? APPEND : INSIDE);
    el = stanza_add_el(st, parent, span_of(ns != NULL ? ns : parent->ns), span_of(name));
    el->node.fresh = 1;
    return el;
}

struct gr_el *gr_el_add_text(struct gr_stanza *st, struct gr_el *parent, const char *ns,
                             const char *name, const char *text)
{
    struct gr_el *el = gr_el_add(st, parent, ns, name);

    if (text != NULL)
        stanza_add_text(st, el, text, strlen(text));
    return el;
}

void gr_el_append_text(struct gr_stanza *st, struct gr_el *el, const char *text, size_t len)
{
    changing(st, el, INSIDE);
    stanza_add_text(st, el, text, len);
}

void gr_el_set_text(struct gr_stanza *st, struct gr_el *el, const char *text)
{
    struct node **at = &el->first;

    changing(st, el, INSIDE);
    el->last = NULL;
    while (*at != NULL) {
        if ((*at)->name == NULL) {
            *at = (*at)->next;
        } else {
            el->last = *at;
            at = &(*at)->next;
        }
    }
    el->text = NULL;
    el->node.len = 0;
    if (text != NULL)
        stanza_add_text(st, el, text, strlen(text));
}

/* `copied` is a value in the arena, or NULL to remove the attribute. */
static void set_attr(struct gr_stanza *st, struct gr_el *el, const char *name, const char *copied)
{
    bool xml = strncmp(name, "xml:", 4) == 0;
    const char *local = xml ? name + 4 : name;
    struct attr **at = &el->attrs;

    gr_assert(name_ok(local) && strcmp(name, "xmlns") != 0);
    changing(st, el, el == st->root ? ROOT : INSIDE);
    while (*at != NULL && !(strcmp((*at)->name, local) == 0 &&
                            (xml ? (*at)->ns != NULL && strcmp((*at)->ns, XML_NS) == 0
                                 : (*at)->ns == NULL)))
        at = &(*at)->next;
    if (*at == NULL && copied != NULL)
        stanza_add_attr(st, el, xml ? XML_NS : NULL, arena_strdup(&st->arena, local), copied);
    else if (copied != NULL)
        (*at)->value = copied;
    else if (*at != NULL)
        *at = (*at)->next;
}

void gr_el_set(struct gr_stanza *st, struct gr_el *el, const char *attr, const char *value)
{
    set_attr(st, el, attr, value != NULL ? arena_strdup(&st->arena, value) : NULL);
    if (el == st->root)
        stanza_refresh(st, attr);
}

void gr_el_setf(struct gr_stanza *st, struct gr_el *el, const char *attr, const char *fmt, ...)
{
    va_list args;
    char *value;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    gr_assert(len >= 0);
    value = arena_alloc(&st->arena, (size_t)len + 1);
    va_start(args, fmt);
    vsnprintf(value, (size_t)len + 1, fmt, args);
    va_end(args);
    set_attr(st, el, attr, value);
    if (el == st->root)
        stanza_refresh(st, attr);
}

void gr_el_set_int(struct gr_stanza *st, struct gr_el *el, const char *attr, int64_t value)
{
    gr_el_setf(st, el, attr, "%lld", (long long)value);
}

static void set_address(struct gr_stanza *st, const char *attr, const struct gr_jid **slot,
                        bool *bad, const struct gr_jid *jid)
{
    const struct gr_jid *copy = jid != NULL ? jid_dup_in(&st->arena, jid) : NULL;

    set_attr(st, st->root, attr, copy != NULL ? copy->full : NULL);
    *slot = copy;
    *bad = false;
}

void gr_stanza_set_from(struct gr_stanza *st, const struct gr_jid *from)
{
    set_address(st, "from", &st->from, &st->from_bad, from);
}

void gr_stanza_set_to(struct gr_stanza *st, const struct gr_jid *to)
{
    set_address(st, "to", &st->to, &st->to_bad, to);
}

void gr_stanza_set_id(struct gr_stanza *st, const char *id)
{
    gr_el_set(st, st->root, "id", id);
}

struct gr_el *gr_el_append(struct gr_stanza *st, struct gr_el *parent, const struct gr_el *src)
{
    struct gr_el *el;

    if (parent == NULL)
        parent = st->root;
    for (const struct gr_el *up = parent; up != NULL; up = up->parent)
        gr_assert(up != src); /* it would never end */
    changing(st, parent, parent == st->root ? APPEND : INSIDE);
    el = stanza_copy_el(st, parent, src);
    el->node.fresh = 1;
    return el;
}

void gr_stanza_set_payload(struct gr_stanza *st, const char *xml, size_t len)
{
    changing(st, st->root, ROOT);
    for (struct node *n = st->root->first; n != NULL; n = n->next)
        n->fresh = 0;
    st->raw = arena_strndup(&st->arena, xml, len);
    st->raw_len = len;
    st->opaque = true;
}

void gr_el_remove(struct gr_stanza *st, struct gr_el *child)
{
    struct gr_el *parent = child->parent;
    struct node **at, *before = NULL;

    gr_assert(parent != NULL);
    changing(st, child, INSIDE);
    for (at = &parent->first; *at != &child->node; at = &before->next)
        before = *at;
    *at = child->node.next;
    if (parent->last == &child->node)
        parent->last = before;
    child->node.next = NULL;
    child->parent = NULL;
}

struct gr_stanza *gr_nonza_new(const char *ns, const char *name)
{
    struct gr_stanza *st = stanza_begin();

    gr_assert(name_ok(name));
    stanza_add_el(st, NULL, span_of(ns != NULL ? ns : ""), span_of(name));
    stanza_finish(st, NULL, 0);
    return st;
}

static struct gr_stanza *stanza_new(enum gr_kind kind, const char *name, enum gr_type type,
                                    const struct gr_jid *from, const struct gr_jid *to)
{
    struct gr_stanza *st = gr_nonza_new(GR_NS_CLIENT, name);
    const char *value = stanza_type_name(kind, type);

    gr_assert(value != NULL || (kind == GR_PRESENCE && type == GR_AVAILABLE));
    if (from != NULL)
        gr_stanza_set_from(st, from);
    if (to != NULL)
        gr_stanza_set_to(st, to);
    if (value != NULL && type != GR_MSG_NORMAL)
        gr_el_set(st, st->root, "type", value);
    return st;
}

struct gr_stanza *gr_message_new(enum gr_type type, const struct gr_jid *from,
                                 const struct gr_jid *to)
{
    return stanza_new(GR_MESSAGE, "message", type, from, to);
}

struct gr_stanza *gr_presence_new(enum gr_type type, const struct gr_jid *from,
                                  const struct gr_jid *to)
{
    return stanza_new(GR_PRESENCE, "presence", type, from, to);
}

struct gr_stanza *gr_iq_new(enum gr_type type, const struct gr_jid *from, const struct gr_jid *to,
                            const char *id)
{
    struct gr_stanza *st = stanza_new(GR_IQ, "iq", type, from, to);
    char fresh[GR_ID_SIZE];

    if (id == NULL && (type == GR_GET || type == GR_SET)) {
        gr_random_id(fresh);
        id = fresh;
    }
    if (id != NULL)
        gr_stanza_set_id(st, id);
    return st;
}

void gr_stanza_add_delay(struct gr_stanza *st, const char *from, int64_t wall_us)
{
    struct gr_el *delay = gr_el_add(st, NULL, GR_NS_DELAY, "delay");
    char stamp[GR_STAMP_SIZE];

    gr_stamp(stamp, wall_us);
    if (from != NULL)
        gr_el_set(st, delay, "from", from);
    gr_el_set(st, delay, "stamp", stamp);
}
