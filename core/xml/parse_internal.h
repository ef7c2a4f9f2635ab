/* xml/parse_internal.h: the two halves of the parser; parse.c feeds, parse_build.c builds. */
#pragma once

#include <expat.h>

#include "base/buf.h"
#include "xml/parse.h"
#include "xml/stanza_internal.h"

#define XML_SEP '\x01'
#define ROOT_DECLS 16
#define ROOT_BYTES 2048
#define KEPT_MAX 16    /* per loop, of 12 KiB each as a rule */
#define INNER_DECLS 16 /* tracked; with more in scope the payload is just not raw */

/* What exists while bytes are being worked on. Positions count bytes given to expat. */
struct xml_work {
    char *root;              /* as the stream's; NULL before it was kept */
    uint32_t root_len;
    XML_Parser expat;
    size_t memory;           /* held by expat */
    uint64_t fed, piece_at;  /* before and at the beginning of the current piece */
    const char *piece;
    uint64_t start, inner;   /* of the current top-level element; behind its start tag */
    uint64_t stop_at;
    unsigned depth, decls;
    struct gr_stanza *st;    /* being built */
    struct gr_el *at;
    struct buf text, raw;    /* unfinished text of `at`; payload bytes of earlier pieces */
    bool raw_ok, replaying;
    struct buf root_decls;   /* before the root: its declarations as text */
    char *root_default;
    unsigned n_inner;
    struct {
        unsigned depth;
        const char *prefix;
    } inner_decls[INNER_DECLS];
};

enum { LIM_STANZA, LIM_DEPTH, LIM_ATTRS, LIM_NAMESPACES, LIM_NAME, LIM_TOKEN,
       LIM_MEMORY, LIM_COUNT };
enum xml_state { XML_HEADER, XML_OPEN, XML_CLOSED };

struct xml_parser {
    struct xml_work *work;   /* NULL when idle */
    char *root;              /* a start tag equal to the stream's, to begin again with */
    const struct xml_events *events;
    void *ctx;
    const char *content_ns;
    uint32_t limits[LIM_COUNT];
    uint32_t root_len;
    uint8_t state, status;
    bool halted;             /* by a callback or an error: nothing is reported any more */
    bool busy, restart_due, close_due, whole;
};

/* Registers the handlers that turn expat's events into ours. */
void xml_build_attach(struct xml_parser *p);
/* Keeps what the finished piece holds of the payload. */
void xml_build_piece_done(struct xml_parser *p);
void xml_fail(struct xml_parser *p, enum xml_status status);
/* Bytes that the element being built may take (parse.c). */
size_t xml_element_memory(const struct xml_parser *p);
void xml_drop_work(struct xml_parser *p);
void xml_work_free(struct xml_work *take);
/* parse_keep.c: gives the work of a parser with nothing pending to the loop; false: it is not worth
 * keeping. And takes one that stands where this stream does; NULL: there is none. */
bool xml_keep(struct xml_parser *p);
struct xml_work *xml_take_kept(const struct xml_parser *p);
