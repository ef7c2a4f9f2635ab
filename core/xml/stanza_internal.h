/* xml/stanza_internal.h: what a stanza looks like inside; for core/xml only.
 *
 * Character data of an element is one string; its text nodes are ranges of that string, so
 * gr_el_text never has to join anything and a stanza that several threads read stays constant.
 * The parser may keep the bytes between the root's tags (raw): the writer sends them as they are,
 * followed by the children that were appended since (the fresh ones).
 *
 * A copy to another address (gr_stanza_copy_to) has a root of its own, whose children, strings and
 * raw payload are those of its base: it differs in `to` alone, so it is written as the base's text
 * with one attribute exchanged. Below its root the parent pointers lead into the base. The first
 * change makes it a copy like any other. */
#pragma once

#include <grapnel/stanza.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"

#define XML_NS "http://www.w3.org/XML/1998/namespace"

struct node {
    struct node *next;
    const char *name;      /* NULL: a text node */
    uint32_t len;          /* text node: of the range; element: of its text */
    uint32_t off : 31;     /* text node: where the range begins; element: room behind text */
    uint32_t fresh : 1;    /* added to an existing stanza, so not part of raw */
};
struct attr {
    struct attr *next;
    const char *ns;        /* NULL: none */
    const char *name, *value;
};
struct gr_el {
    struct node node;      /* first, so that a node with a name is an element */
    struct gr_el *parent;
    struct node *first, *last;
    const char *ns;        /* "" when in no namespace */
    struct attr *attrs;
    char *text;            /* NULL when none, else with a NUL at node.len */
};

/* Serialised form, made once; immutable after it was published. */
struct xml_cache {
    size_t len;
    size_t to, rest;       /* where the root's ` to='...'` is or could be; what follows it */
    size_t end;            /* where the root's end tag begins; 0: it has none */
    char text[];
};

struct gr_stanza {
    _Atomic uint32_t refs;
    uint8_t kind, type;
    bool from_bad, to_bad; /* an attribute that is no address */
    bool shares;           /* the children are those of base */
    bool opaque;           /* raw says more than the children: it stays */
    _Atomic bool written;  /* at least once */
    struct arena arena;    /* holds this struct too */
    struct gr_el *root;
    const struct gr_jid *from, *to;
    const char *id, *lang;
    const char *raw;       /* NULL: serialise from the tree */
    size_t raw_len;
    _Atomic(struct xml_cache *) cache;
    struct xml_cache *before; /* what was the cache until children were appended; NULL: none */
    const struct node *after; /* the last child that is in it; NULL: it has none */
    struct gr_stanza *base; /* NULL: none; kept to the end, whoever read an element may use it */
};

/* A run of bytes inside some other string. */
struct span {
    const char *s;
    size_t len;
};
static inline struct span span_of(const char *s) { return (struct span){ s, strlen(s) }; }

/* For the parser: a stanza without a root, then elements in document order, then finish. Strings
 * are copied, but the namespace of the parent is shared. */
struct gr_stanza *stanza_begin(void);
struct gr_stanza *stanza_begin_sized(size_t size); /* what it will take in all; 0: not known */
struct gr_el *stanza_add_el(struct gr_stanza *st, struct gr_el *parent, struct span ns,
                            struct span name);
/* `copied` strings already live in the stanza's arena or are literals. */
void stanza_add_attr(struct gr_stanza *st, struct gr_el *el, const char *copied_ns,
                     const char *copied_name, const char *copied_value);
void stanza_add_text(struct gr_stanza *st, struct gr_el *el, const char *text, size_t len);
/* A deep copy of src as the last child of parent, or as the root. */
struct gr_el *stanza_copy_el(struct gr_stanza *st, struct gr_el *parent, const struct gr_el *src);
/* Elements of its own for a copy that had those of its base. */
void stanza_detach(struct gr_stanza *st);
/* Brings what is kept of the root's attributes up to date; NULL: all of them. */
void stanza_refresh(struct gr_stanza *st, const char *attr);
/* NULL for the type that an absent attribute stands for. */
const char *stanza_type_name(enum gr_kind kind, enum gr_type type);
/* Classifies and parses the addresses; raw may be NULL. */
void stanza_finish(struct gr_stanza *st, const char *raw, size_t raw_len);
/* The cached text, made now if need be. Any thread that holds a reference. */
const struct xml_cache *stanza_cached(const struct gr_stanza *st);

static inline struct gr_el *node_el(struct node *n) { return (struct gr_el *)n; }
static inline void append_node(struct gr_el *parent, struct node *n)
{
    if (parent->last == NULL)
        parent->first = n;
    else
        parent->last->next = n;
    parent->last = n;
}
