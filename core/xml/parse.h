/* xml/parse.h: bytes of a stream to top-level elements. One thread per parser.
 *
 * A stream that is quiet between elements holds no expat parser and no buffers; only this struct's
 * few bytes and the root tag, from which an equal one is made when bytes arrive. A loop keeps a few
 * expat parsers for that, each for any stream with the same root.
 *
 * Events depend on the bytes, not on how they are cut into reads; only where two mistakes meet may
 * it differ which one is reported. */
#pragma once

#include <grapnel/stanza.h>

struct xml_limits { /* 0: the default */
    size_t stanza_bytes; /* of one top-level element, or of the stream header; 262144 */
    size_t depth;        /* of elements; a stanza is 1; 64 */
    size_t attrs;        /* per element, without declarations; 64 */
    size_t namespaces;   /* declared per element; 32. A stream header: 16 and 2 KiB. */
    size_t name;         /* bytes of a local name or a prefix; 512 */
    size_t token;        /* bytes of one tag, comment, ...; 16384 */
    size_t memory;       /* of parser and element together; 80 KiB + 14 * stanza_bytes */
};

struct xml_header {
    const char *name, *ns, *prefix; /* of the root; "" for no namespace or no prefix */
    const char *content_ns;         /* the default namespace declared there; "" when none */
    const struct gr_jid *to, *from; /* NULL when absent or malformed */
    const char *to_raw, *from_raw;  /* these attributes as they came; NULL when absent */
    const char *id, *version, *lang;
};

/* Called from within xml_parser_feed; non-zero stops parsing behind what was just reported, and
 * whatever follows stays unconsumed. From inside, only set_limits, set_content_ns and restart (in
 * which case non-zero must be returned) may be called. */
struct xml_events {
    int (*open)(void *ctx, const struct xml_header *h);      /* the root's start tag */
    int (*element)(void *ctx, struct gr_stanza *take);       /* a complete child of the root */
    int (*close)(void *ctx);                                 /* the root's end tag; always stops */
};

enum xml_status {
    XML_S_OK,             /* all consumed */
    XML_S_STOPPED,        /* by a callback; feed the rest again to go on */
    XML_S_NOT_WELL_FORMED,
    XML_S_BAD_FORMAT,     /* text between stanzas */
    XML_S_RESTRICTED,     /* comment, PI, DTD, entity reference */
    XML_S_LIMIT,
    XML_S_BAD_ENCODING,
    XML_S_BAD_PREFIX,     /* a prefix on an element of the content namespace, or xml: */
    XML_S_NO_MEMORY
};
/* The stream error condition (RFC 6120, 4.9.3) for a status that is an error. */
const char *xml_status_condition(enum xml_status status);

struct xml_parser;
/* The limits are copied; the events stay the caller's. */
struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_events *events,
                                  void *ctx);
void xml_parser_free(struct xml_parser **p); /* accepts NULL, sets NULL; not from a callback */
void xml_parser_set_limits(struct xml_parser *p, const struct xml_limits *limits);
/* Elements of this namespace (jabber:server, jabber:component:accept) become jabber:client in the
 * tree. Static memory; NULL (as after restart): nothing is mapped. */
void xml_parser_set_content_ns(struct xml_parser *p, const char *ns);
/* Expects the header of a new stream, on the same connection or after an error. */
void xml_parser_restart(struct xml_parser *p);
/* Takes up to len bytes. After an error nothing is called any more and the same error is returned;
 * after close everything is refused with XML_S_STOPPED and *consumed = 0. */
enum xml_status xml_parser_feed(struct xml_parser *p, const char *data, size_t len,
                                size_t *consumed);
/* What the parser holds beside itself, in bytes: 0 before a stream, the root tag's text between
 * elements. For metrics and tests. */
size_t xml_parser_idle_bytes(const struct xml_parser *p);
bool xml_parser_is_idle(const struct xml_parser *p); /* no expat parser, nothing pending */
size_t xml_parsers_kept(void); /* on the calling loop, with nothing pending */
