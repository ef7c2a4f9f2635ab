/* xml/stanza_copy.c: copies of stanzas and elements; of whole stanzas two kinds: in one piece that
 * fits, and for many addresses one that shares all but the root with its base. As deep as the
 * source, which the parser bounds. */
#include <stdalign.h>
#include <string.h>

#include "xml/jid.h"
#include "xml/stanza_internal.h"

static void copy_attrs(struct gr_stanza *st, struct gr_el *el, const struct gr_el *src)
{
    struct attr **at = &el->attrs;

    for (const struct attr *a = src->attrs; a != NULL; a = a->next) {
        struct attr *copy = arena_alloc(&st->arena, sizeof(*copy));

        copy->ns = a->ns != NULL ? arena_strdup(&st->arena, a->ns) : NULL;
        copy->name = arena_strdup(&st->arena, a->name);
        copy->value = arena_strdup(&st->arena, a->value);
        *at = copy;
        at = &copy->next;
    }
}

static void copy_text_node(struct gr_stanza *st, struct gr_el *el, const struct node *src)
{
    struct node *n = arena_alloc(&st->arena, sizeof(*n));

    n->len = src->len;
    n->off = src->off;
    append_node(el, n);
}

static void copy_content(struct gr_stanza *st, struct gr_el *el, const struct gr_el *src)
{
    copy_attrs(st, el, src);
    if (src->text != NULL) {
        el->text = arena_strndup(&st->arena, src->text, src->node.len);
        el->node.len = src->node.len;
        el->node.off = (src->node.len + 1) & 0x7fffffff;
    }
    for (const struct node *n = src->first; n != NULL; n = n->next)
        if (n->name != NULL)
            stanza_copy_el(st, el, (const struct gr_el *)n);
        else
            copy_text_node(st, el, n);
}

struct gr_el *stanza_copy_el(struct gr_stanza *st, struct gr_el *parent, const struct gr_el *src)
{
    struct gr_el *el = stanza_add_el(st, parent, span_of(src->ns), span_of(src->node.name));

    el->node.fresh = src->node.fresh;
    copy_content(st, el, src);
    return el;
}

/* What a struct takes of an arena at most; strings are packed. */
#define ROOM(size) ((size) + alignof(max_align_t) - 1)

static size_t copy_size(const struct gr_el *el)
{
    size_t size = ROOM(sizeof(*el)) + strlen(el->node.name) + 1;

    if (el->parent == NULL || el->parent->ns != el->ns)
        size += strlen(el->ns) + 1;
    for (const struct attr *a = el->attrs; a != NULL; a = a->next)
        size += ROOM(sizeof(*a)) + (a->ns != NULL ? strlen(a->ns) + 1 : 0) + strlen(a->name) + 1 +
                strlen(a->value) + 1;
    if (el->text != NULL)
        size += el->node.len + 1u;
    for (const struct node *n = el->first; n != NULL; n = n->next)
        size += n->name != NULL ? copy_size((const struct gr_el *)n) : ROOM(sizeof(*n));
    return size;
}

/* In one piece that fits: copies are also what is kept for long. */
struct gr_stanza *gr_stanza_copy(const struct gr_stanza *st)
{
    size_t size = sizeof(*st) + copy_size(st->root);
    struct gr_stanza *copy;

    size += st->from != NULL ? ROOM(jid_size(st->from)) : 0;
    size += st->to != NULL ? ROOM(jid_size(st->to)) : 0;
    size += st->raw != NULL ? st->raw_len + 1 : 0;
    copy = stanza_begin_sized(size);
    stanza_copy_el(copy, NULL, st->root);
    copy->kind = st->kind;
    copy->type = st->type;
    copy->id = gr_el_attr(copy->root, "id");
    copy->lang = gr_el_attr(copy->root, "xml:lang");
    copy->from = st->from != NULL ? jid_dup_in(&copy->arena, st->from) : NULL;
    copy->to = st->to != NULL ? jid_dup_in(&copy->arena, st->to) : NULL;
    copy->from_bad = st->from_bad;
    copy->to_bad = st->to_bad;
    if (st->raw != NULL) {
        copy->raw = arena_strndup(&copy->arena, st->raw, st->raw_len);
        copy->raw_len = st->raw_len;
        copy->opaque = st->opaque;
    }
    return copy;
}

/* --- copies that differ in their address --- */

/* The attributes of src, its strings shared, with another `to` in its place or at the end. */
static void share_attrs(struct gr_stanza *st, const struct gr_el *src)
{
    struct attr **at = &st->root->attrs, *to = NULL;

    for (const struct attr *a = src->attrs; a != NULL; a = a->next) {
        *at = arena_alloc(&st->arena, sizeof(**at));
        **at = *a;
        if (a->ns == NULL && strcmp(a->name, "to") == 0)
            to = *at;
        at = &(*at)->next;
    }
    if (to == NULL) {
        to = *at = arena_alloc(&st->arena, sizeof(*to));
        to->name = "to";
    }
    to->value = st->to->full;
}

struct gr_stanza *gr_stanza_copy_to(struct gr_stanza *st, const struct gr_jid *to)
{
    struct gr_stanza *base = st->shares ? st->base : st, *copy;
    size_t size = sizeof(*st) + ROOM(sizeof(*st->root)) + ROOM(sizeof(struct attr)) +
                  ROOM(jid_size(to));

    gr_assert(st->kind != GR_NONZA);
    for (const struct attr *a = base->root->attrs; a != NULL; a = a->next)
        size += ROOM(sizeof(*a));
    copy = stanza_begin_sized(size);
    copy->base = gr_stanza_ref(base);
    copy->shares = true;
    copy->kind = base->kind;
    copy->type = base->type;
    copy->from = base->from;
    copy->from_bad = base->from_bad;
    copy->to = jid_dup_in(&copy->arena, to);
    copy->id = base->id;
    copy->lang = base->lang;
    copy->raw = base->raw;
    copy->raw_len = base->raw_len;
    copy->opaque = base->opaque;
    copy->root = arena_alloc(&copy->arena, sizeof(*copy->root));
    *copy->root = *base->root;
    copy->root->attrs = NULL;
    share_attrs(copy, base->root);
    return copy;
}

/* The root stays where it is: the caller may have it already. */
void stanza_detach(struct gr_stanza *st)
{
    struct gr_el src = *st->root, *root = st->root;

    st->shares = false;
    *root = (struct gr_el){ .node.name = src.node.name, .ns = src.ns };
    copy_content(st, root, &src);
    if (st->raw != NULL)
        st->raw = arena_strndup(&st->arena, st->raw, st->raw_len);
}
