/* mod_mam/ask.h: a client's question. */
#pragma once

#include "mam.h"

struct ask {
    struct gr_mam_query q;
    struct gr_jid *with;
    const char **ids;           /* the texts are the stanza's */
};

/* The condition to refuse it with, or GR_COND_NONE. From zeroes; ask_free in either case. The texts
 * live as long as the stanza. */
enum gr_cond ask_read(struct ask *x, const struct gr_el *query, const struct mam_conf *conf);
void ask_free(struct ask *x);
/* The form of what may be asked. */
void ask_form(struct gr_stanza *st, struct gr_el *query);
