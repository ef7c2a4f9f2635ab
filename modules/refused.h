/* refused.h: messages that the core will refuse. Who keeps, counts or tells of messages before they are
 * delivered leaves those alone: their sender is told that nobody got them. */
#pragma once

#include <grapnel/module.h>

/* In filter_local_packet: for a resource that is not there, of a type that goes to no other one
 * (RFC 6121, 8.5.3.2.1). */
static inline bool message_is_refused(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    const struct gr_account *a;

    if (ev->to->resource == NULL || gr_stanza_type(ev->stanza) == GR_MSG_CHAT)
        return false;
    a = gr_account_find(self, ev->to);
    return a == NULL || gr_account_session(a, ev->to->resource) == NULL;
}
