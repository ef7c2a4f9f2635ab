/* route/receipt.c: counting who still has to do with a stanza. The last holder, on whatever thread,
 * sends the receipt home; the origin then advances its acknowledgement (XEP-0198), reads on, or
 * deletes its stored copy. */
#include "route/route.h"

static void come_home(struct post *p)
{
    struct receipt *r = GR_CONTAINER_OF(p, struct receipt, post);

    r->handled(r, atomic_load_explicit(&r->failed, memory_order_relaxed) == 0);
}

void receipt_init(struct receipt *r, void (*handled)(struct receipt *r, bool ok))
{
    atomic_init(&r->refs, 1);
    atomic_init(&r->failed, 0);
    atomic_init(&r->refused, false);
    r->home = loop_self();
    r->handled = handled;
}

struct receipt *receipt_ref(struct receipt *r)
{
    if (r != NULL)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void receipt_release(struct receipt **take, bool ok)
{
    struct receipt *r = *take;

    *take = NULL;
    if (r == NULL)
        return;
    if (!ok)
        atomic_fetch_add_explicit(&r->failed, 1, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    r->post.run = come_home;
    loop_post(r->home, &r->post);
}

bool receipt_refuse(struct receipt *r)
{
    while (r != NULL && r->part_of != NULL)
        r = r->part_of;
    return r == NULL || !atomic_exchange_explicit(&r->refused, true, memory_order_relaxed);
}
