/* grapnel/rsm.h: result set management (XEP-0059): what page was asked for, and what came of it. */
#pragma once

#include <grapnel/stanza.h>

#define GR_NS_RSM "http://jabber.org/protocol/rsm"

struct gr_rsm {
    bool asked;         /* there was a <set/>; else the rest is as below */
    int64_t max;        /* most items, 0: only the count is wanted (2.7); -1: nothing said */
    const char *after;  /* the item before the page (2.2); NULL: from the first one */
    const char *before; /* the item behind it (2.3), "": the last page (2.5); NULL: forwards */
    int64_t index;      /* of the first item (2.6); -1: nothing said */
};

/* Reads the <set/> below `parent`. 0, or GR_EINVAL: a number that is none, an element twice, or an
 * index together with before or after. An empty <after/> is as if there was none. What before and
 * after together mean is up to the protocol (XEP-0059 does not say). The texts live as long as the
 * stanza. */
GR_API int gr_rsm_read(struct gr_rsm *out, const struct gr_el *parent);
/* The limit to use: what was asked for, else `otherwise`, but `most` at most. */
GR_API size_t gr_rsm_limit(const struct gr_rsm *rsm, size_t otherwise, size_t most);

/* <set/> of an answer. */
struct gr_rsm_page {
    const char *first, *last; /* NULL: the page is empty */
    int64_t index, count;     /* -1: left out (2.2: when finding out would cost too much) */
};
GR_API void gr_rsm_add(struct gr_stanza *st, struct gr_el *parent,
                       const struct gr_rsm_page *page);
