/* privacy_blocklist.h: the block list (XEP-0191) as a view of the default privacy list,
 * which mod_privacy keeps: what mod_blocking asks for and is told of, as two hooks of
 * mod_privacy's own. */
#pragma once

#include <grapnel/module.h>

enum blocklist_op { BLOCKLIST_GET, BLOCKLIST_BLOCK, BLOCKLIST_UNBLOCK };

/* mod_privacy.blocklist: mod_privacy answers. Blocking and unblocking are on disk then. */
#define BLOCKLIST_HOOK "mod_privacy.blocklist"
struct blocklist_ev {
    struct gr_ev ev;
    enum blocklist_op op;
    const struct gr_jid *owner, *who;   /* bare; the resource that asks */
    const struct gr_jid *const *jids;   /* to block or to unblock */
    size_t count;                       /* BLOCKLIST_UNBLOCK: 0 for all of them */
    bool answered;
    enum gr_cond cond;                  /* why it failed */
    const struct gr_jid **blocked;      /* BLOCKLIST_GET: borrowed while the hook runs; the array */
    size_t blocked_count;               /* is the caller's (gr_free) */
};

/* mod_privacy.blocklist_changed: by whichever protocol. Handlers may not wait. */
#define BLOCKLIST_CHANGED_HOOK "mod_privacy.blocklist_changed"
struct blocklist_changed_ev {
    struct gr_ev ev;
    const struct gr_jid *owner;
    const struct gr_jid *const *blocked, *const *unblocked;
    size_t blocked_count, unblocked_count;
    bool all;                           /* all of them were unblocked by one command */
};
