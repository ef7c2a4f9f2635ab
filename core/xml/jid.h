/* xml/jid.h: addresses that live inside something larger and go with it: not for gr_jid_free. Any
 * thread. */
#pragma once

#include <grapnel/jid.h>

#include "base/arena.h"

/* Bytes that a copy takes. */
size_t jid_size(const struct gr_jid *jid);
struct gr_jid *jid_dup_in(struct arena *a, const struct gr_jid *jid);
struct gr_jid *jid_dup_bare_in(struct arena *a, const struct gr_jid *jid);
/* As gr_jid_parse. */
int jid_parse_in(struct arena *a, const char *s, size_t len, struct gr_jid **out);
