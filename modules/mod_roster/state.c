/* mod_roster/state.c: the subscription state machine, seen from one user: RFC 6121, appendix A,
 * tables 2 to 9, with pre-approval (3.4). Pure functions over six bits.
 *
 * Only what changes is here; what is routed or delivered follows from the change (subs.c,
 * subs_in.c). A request of a contact excludes its subscription (from) and its pre-approval: none
 * of the operations can set both. */
#include "roster.h"

/* NONE when none of them is set; else all of them are cleared. */
static enum gr_result clear(bool *a, bool *b, bool *c)
{
    if (!*a && !*b && (c == NULL || !*c))
        return GR_R_NONE;
    *a = *b = false;
    if (c != NULL)
        *c = false;
    return GR_R_OK;
}

static enum gr_result out_subscribe(struct bits *b)
{
    if (b->to || b->ask)
        return GR_R_NONE;
    b->listed = b->ask = true;
    return GR_R_OK;
}

static enum gr_result in_subscribe(struct bits *b)
{
    if (b->from)
        return GR_R_NONE;
    if (b->approved) { /* whether that stays noted is ours to decide (3.4.2): it does not */
        b->from = true;
        b->approved = false;
        return GR_R_OK;
    }
    if (b->pending)
        return GR_R_FALSE;
    b->pending = true;
    return GR_R_OK;
}

static enum gr_result out_subscribed(struct bits *b)
{
    if (b->pending) {
        b->pending = false;
        b->from = b->listed = true;
        return GR_R_OK;
    }
    if (b->from || b->approved)
        return GR_R_NONE;
    b->approved = b->listed = true;
    return GR_R_OK;
}

static enum gr_result in_subscribed(struct bits *b)
{
    if (!b->ask)
        return GR_R_NONE;
    b->ask = false;
    b->to = true;
    return GR_R_OK;
}

/* A request stays: it is not the roster's. */
static enum gr_result remove_item(struct bits *b)
{
    if (!b->listed)
        return GR_R_NONE;
    if (b->from || b->to || b->ask)
        return GR_R_FALSE;
    b->listed = b->approved = false;
    return GR_R_OK;
}

enum gr_result bits_apply(struct bits *b, enum gr_roster_op op)
{
    switch (op) {
    case GR_ROSTER_OUT_SUBSCRIBE:
        return out_subscribe(b);
    case GR_ROSTER_IN_SUBSCRIBE:
        return in_subscribe(b);
    case GR_ROSTER_OUT_SUBSCRIBED:
        return out_subscribed(b);
    case GR_ROSTER_IN_SUBSCRIBED:
        return in_subscribed(b);
    case GR_ROSTER_OUT_UNSUBSCRIBE:
    case GR_ROSTER_IN_UNSUBSCRIBED:
        return clear(&b->to, &b->ask, NULL);
    case GR_ROSTER_IN_UNSUBSCRIBE:
        return clear(&b->from, &b->pending, NULL);
    case GR_ROSTER_OUT_UNSUBSCRIBED:
        return clear(&b->from, &b->pending, &b->approved);
    case GR_ROSTER_REMOVE_CONTACT:
        return remove_item(b);
    case GR_ROSTER_UPDATE_CONTACT:
        b->listed = true;
        return GR_R_OK;
    default:
        return GR_R_NONE;
    }
}

bool bits_visible(const struct bits *before, const struct bits *after)
{
    if (before->listed != after->listed)
        return true;
    return after->listed && (before->from != after->from || before->to != after->to ||
                             before->ask != after->ask || before->approved != after->approved);
}
