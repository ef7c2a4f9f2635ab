/* chat_marker.h: telling displayed markers (XEP-0333) from other messages, for the modules that
 * have to do with them. Everything in it is static inline. */
#pragma once

#include <string.h>

#include <grapnel/stanza.h>

#define NS_CHAT_MARKERS "urn:xmpp:chat-markers:0"

/* <received/> and <acknowledged/> are of earlier versions (XEP-0333, 11) and still sent. */
enum marker_type { MARKER_RECEIVED, MARKER_DISPLAYED, MARKER_ACKNOWLEDGED, MARKER_NONE };

static inline const char *marker_name(enum marker_type type)
{
    static const char *const name[] = { "received", "displayed", "acknowledged" };

    return type < MARKER_NONE ? name[type] : "";
}

/* The marker that a message carries: an element that names a message; NULL: none. */
static inline struct gr_el *marker_of(const struct gr_stanza *st, enum marker_type *type)
{
    struct gr_el *el;

    if (gr_stanza_kind(st) != GR_MESSAGE || gr_stanza_type(st) == GR_TYPE_ERROR)
        return NULL;
    for (el = gr_stanza_child(st, NS_CHAT_MARKERS, NULL); el != NULL;
         el = gr_el_next(el, NS_CHAT_MARKERS, NULL)) {
        const char *id = gr_el_attr(el, "id");

        for (*type = 0; id != NULL && id[0] != '\0' && *type < MARKER_NONE; ++*type)
            if (strcmp(gr_el_name(el), marker_name(*type)) == 0)
                return el;
    }
    return NULL;
}

/* Does it say something else as well? */
static inline bool marker_has_company(const struct gr_stanza *st)
{
    return gr_stanza_child(st, GR_NS_CLIENT, "body") != NULL ||
           gr_stanza_child(st, GR_NS_CLIENT, "subject") != NULL;
}

/* "" when there is none. */
static inline const char *marker_thread(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, GR_NS_CLIENT, "thread");

    return el != NULL ? gr_el_text(el, NULL) : "";
}
