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

/* Says nothing on its own, or is a marker itself. */
static inline bool marker_is_beside(const struct gr_el *el)
{
    static const char *const beside[] = { NS_CHAT_MARKERS, GR_NS_DELAY, "urn:xmpp:hints",
                                          "urn:xmpp:sid:0", "http://jabber.org/protocol/chatstates" };

    for (size_t i = 0; i < GR_COUNT(beside); i++)
        if (gr_el_is(el, beside[i], NULL))
            return true;
    return gr_el_is(el, GR_NS_CLIENT, "thread") || gr_el_is(el, "urn:xmpp:receipts", "request");
}

/* Does it say something else as well? */
static inline bool marker_has_company(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, NULL, NULL);

    while (el != NULL && marker_is_beside(el))
        el = gr_el_next(el, NULL, NULL);
    return el != NULL;
}

/* "" when there is none. */
static inline const char *marker_thread(const struct gr_stanza *st)
{
    const struct gr_el *el = gr_stanza_child(st, GR_NS_CLIENT, "thread");

    return el != NULL ? gr_el_text(el, NULL) : "";
}
