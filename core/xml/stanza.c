/* xml/stanza.c: life and reading of stanzas.
 *
 * A stanza lives in its own arena, this struct included; only the cached text is separate. Reading
 * never changes anything but the cache, which is published by one compare-exchange, so that holders
 * on several threads need no lock.
 * RFC 6120, 8 (attributes, errors); RFC 6121, 4.7 and 5.2 (types). */
#include "xml/stanza_internal.h"

#include <string.h>

#include "xml/jid.h"
#include "xml/write.h"

struct type_name {
    uint8_t kind, type;
    const char *name;
};
static const struct type_name types[] = {
    { GR_MESSAGE, GR_MSG_NORMAL, "normal" },     { GR_MESSAGE, GR_MSG_CHAT, "chat" },
    { GR_MESSAGE, GR_MSG_GROUPCHAT, "groupchat" }, { GR_MESSAGE, GR_MSG_HEADLINE, "headline" },
    { GR_MESSAGE, GR_TYPE_ERROR, "error" },      { GR_IQ, GR_GET, "get" },
    { GR_IQ, GR_SET, "set" },                    { GR_IQ, GR_RESULT, "result" },
    { GR_IQ, GR_TYPE_ERROR, "error" },           { GR_PRESENCE, GR_UNAVAILABLE, "unavailable" },
    { GR_PRESENCE, GR_SUBSCRIBE, "subscribe" },  { GR_PRESENCE, GR_SUBSCRIBED, "subscribed" },
    { GR_PRESENCE, GR_UNSUBSCRIBE, "unsubscribe" },
    { GR_PRESENCE, GR_UNSUBSCRIBED, "unsubscribed" }, { GR_PRESENCE, GR_PROBE, "probe" },
    { GR_PRESENCE, GR_TYPE_ERROR, "error" },
};

const char *stanza_type_name(enum gr_kind kind, enum gr_type type)
{
    for (size_t i = 0; i < GR_COUNT(types); i++)
        if (types[i].kind == kind && types[i].type == type)
            return types[i].name;
    return NULL;
}

static enum gr_type type_of(enum gr_kind kind, const char *value)
{
    if (kind == GR_NONZA)
        return GR_TYPE_INVALID;
    if (value == NULL && kind == GR_PRESENCE)
        return GR_AVAILABLE;
    for (size_t i = 0; value != NULL && i < GR_COUNT(types); i++)
        if (types[i].kind == kind && strcmp(types[i].name, value) == 0)
            return types[i].type;
    /* RFC 6121, 5.2.2: a message type that is absent or not understood is normal. */
    return kind == GR_MESSAGE ? GR_MSG_NORMAL : GR_TYPE_INVALID;
}

static enum gr_kind kind_of(const struct gr_el *root)
{
    if (strcmp(root->ns, GR_NS_CLIENT) != 0)
        return GR_NONZA;
    if (strcmp(root->node.name, "message") == 0)
        return GR_MESSAGE;
    if (strcmp(root->node.name, "iq") == 0)
        return GR_IQ;
    return strcmp(root->node.name, "presence") == 0 ? GR_PRESENCE : GR_NONZA;
}

struct gr_stanza *stanza_begin_sized(size_t size)
{
    struct arena arena;
    struct gr_stanza *st;

    arena_init(&arena, size);
    st = arena_alloc(&arena, sizeof(*st));
    st->arena = arena;
    atomic_init(&st->refs, 1);
    atomic_init(&st->cache, NULL);
    return st;
}

struct gr_stanza *stanza_begin(void)
{
    return stanza_begin_sized(0);
}

static struct gr_jid *address(struct gr_stanza *st, const char *attr, bool *bad)
{
    const char *value = gr_el_attr(st->root, attr);
    struct gr_jid *jid = NULL;

    *bad = value != NULL && jid_parse_in(&st->arena, value, strlen(value), &jid) != 0;
    return jid;
}

void stanza_refresh(struct gr_stanza *st, const char *attr)
{
    if (attr == NULL || strcmp(attr, "type") == 0) {
        st->kind = (uint8_t)kind_of(st->root);
        st->type = (uint8_t)type_of(st->kind, gr_el_attr(st->root, "type"));
    }
    if (attr == NULL || strcmp(attr, "id") == 0)
        st->id = gr_el_attr(st->root, "id");
    if (attr == NULL || strcmp(attr, "xml:lang") == 0)
        st->lang = gr_el_attr(st->root, "xml:lang");
    if (attr == NULL || strcmp(attr, "from") == 0)
        st->from = address(st, "from", &st->from_bad);
    if (attr == NULL || strcmp(attr, "to") == 0)
        st->to = address(st, "to", &st->to_bad);
}

void stanza_finish(struct gr_stanza *st, const char *raw, size_t raw_len)
{
    stanza_refresh(st, NULL);
    if (raw != NULL) {
        st->raw = arena_strndup(&st->arena, raw, raw_len);
        st->raw_len = raw_len;
    }
}

struct gr_stanza *gr_stanza_ref(struct gr_stanza *st)
{
    uint32_t before = atomic_fetch_add_explicit(&st->refs, 1, memory_order_relaxed);

    gr_assert(before > 0 && before < UINT32_MAX);
    return st;
}

size_t gr_stanza_memory(const struct gr_stanza *st)
{
    return st->arena.used + (st->base != NULL ? st->base->arena.used : 0);
}

bool gr_stanza_is_shared(const struct gr_stanza *st)
{
    return atomic_load_explicit(&st->refs, memory_order_acquire) > 1;
}

void gr_stanza_unref(struct gr_stanza **take)
{
    struct gr_stanza *st = *take, *base;
    struct arena arena;

    *take = NULL;
    if (st == NULL || atomic_fetch_sub_explicit(&st->refs, 1, memory_order_acq_rel) > 1)
        return;
    gr_free(atomic_load_explicit(&st->cache, memory_order_relaxed));
    gr_free(st->before);
    base = st->base;
    arena = st->arena; /* which holds st */
    arena_fini(&arena);
    gr_stanza_unref(&base);
}

enum gr_kind gr_stanza_kind(const struct gr_stanza *st)
{
    return st->kind;
}

enum gr_type gr_stanza_type(const struct gr_stanza *st)
{
    return st->type;
}

const struct gr_jid *gr_stanza_from(const struct gr_stanza *st)
{
    return st->from;
}

const struct gr_jid *gr_stanza_to(const struct gr_stanza *st)
{
    return st->to;
}

bool stanza_from_malformed(const struct gr_stanza *st)
{
    return st->from_bad;
}

bool stanza_to_malformed(const struct gr_stanza *st)
{
    return st->to_bad;
}

const char *gr_stanza_id(const struct gr_stanza *st)
{
    return st->id;
}

const char *gr_stanza_lang(const struct gr_stanza *st)
{
    return st->lang;
}

struct gr_el *gr_stanza_root(const struct gr_stanza *st)
{
    return st->root;
}

struct gr_el *gr_stanza_child(const struct gr_stanza *st, const char *ns, const char *name)
{
    return gr_el_child(st->root, ns, name);
}

struct gr_el *gr_stanza_payload(const struct gr_stanza *st)
{
    struct gr_el *el = gr_el_child(st->root, NULL, NULL);

    while (el != NULL && gr_el_is(el, GR_NS_CLIENT, "error"))
        el = gr_el_next(el, NULL, NULL);
    return el;
}

/* An xs:byte (RFC 6121, A.2.2, on <priority/>): white space around, a sign, digits. */
int gr_presence_priority(const struct gr_stanza *st)
{
    static const char space[] = " \t\r\n";
    const struct gr_el *el = gr_stanza_child(st, GR_NS_CLIENT, "priority");
    const char *s, *digits;
    int value = 0;
    bool minus;

    if (el == NULL)
        return 0;
    s = gr_el_text(el, NULL);
    s += strspn(s, space);
    minus = *s == '-';
    if (*s == '-' || *s == '+')
        s++;
    for (digits = s; *s >= '0' && *s <= '9'; s++) {
        value = value * 10 + (*s - '0');
        if (value > 128)
            return GR_PRIORITY_INVALID;
    }
    if (s == digits || s[strspn(s, space)] != '\0' || (value == 128 && !minus))
        return GR_PRIORITY_INVALID;
    return minus ? -value : value;
}

const char *gr_el_name(const struct gr_el *el)
{
    return el->node.name;
}

const char *gr_el_ns(const struct gr_el *el)
{
    return el->ns;
}

bool gr_el_is(const struct gr_el *el, const char *ns, const char *name)
{
    return (name == NULL || strcmp(el->node.name, name) == 0) &&
           (ns == NULL || el->ns == ns || strcmp(el->ns, ns) == 0);
}

const char *gr_el_attr(const struct gr_el *el, const char *name)
{
    const char *ns = NULL;

    if (strncmp(name, "xml:", 4) == 0) {
        ns = XML_NS;
        name += 4;
    }
    for (const struct attr *a = el->attrs; a != NULL; a = a->next)
        if ((a->ns == NULL) == (ns == NULL) && strcmp(a->name, name) == 0 &&
            (ns == NULL || strcmp(a->ns, ns) == 0))
            return a->value;
    return NULL;
}

static struct gr_el *matching(struct node *n, const char *ns, const char *name)
{
    while (n != NULL && (n->name == NULL || !gr_el_is(node_el(n), ns, name)))
        n = n->next;
    return n != NULL ? node_el(n) : NULL;
}

struct gr_el *gr_el_child(const struct gr_el *el, const char *ns, const char *name)
{
    return matching(el->first, ns, name);
}

struct gr_el *gr_el_next(const struct gr_el *el, const char *ns, const char *name)
{
    return matching(el->node.next, ns, name);
}

const char *gr_el_text(const struct gr_el *el, size_t *len)
{
    if (len != NULL)
        *len = el->text != NULL ? el->node.len : 0;
    return el->text != NULL ? el->text : "";
}
