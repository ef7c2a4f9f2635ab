/* route/receipt.c: counting who still has to do with a stanza. The last holder, on whatever thread,
 * sends the receipt home; the origin then advances its acknowledgement (XEP-0198), reads on, or
 * deletes its stored copy. */
#include "route/route.h"

static void come_home(struct post *p)
{
    struct receipt *r = GR_CONTAINER_OF(p, struct receipt, post);

    r->handled(r, atomic_load_explicit(&r->failed, memory_order_relaxed) == 0);
}

static void early(struct receipt *r)
{
    r->promised(r);
}

static void come_early(struct post *p)
{
    struct receipt *r = GR_CONTAINER_OF(p, struct receipt, early);

    early(r);
    receipt_give_back(&r, true, true);
}

/* Once: nobody but transactions that are queued has it any more, of which the caller holds one. */
static void promise(struct receipt *r)
{
    if (atomic_exchange(&r->told, true))
        return;
    if (loop_is_self(r->home)) {
        early(r);
        return;
    }
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    r->early.run = come_early;
    loop_post(r->home, &r->early);
}

/* One holder less that does more than wait for a transaction; the caller still has it. */
static bool is_last_open(struct receipt *r)
{
    return atomic_fetch_sub(&r->open, 1) == 1;
}

void receipt_init(struct receipt *r, void (*handled)(struct receipt *r, bool ok))
{
    atomic_init(&r->refs, 1);
    atomic_init(&r->failed, 0);
    atomic_init(&r->refused, false);
    r->home = loop_self();
    r->handled = handled;
}

void receipt_count_upon(struct receipt *r, struct store_bond *bond)
{
    r->bond = store_bond_ref(bond);
    atomic_store(&r->open, atomic_load(&r->refs));
}

void receipt_bind(struct receipt *r)
{
    if (r->bond == NULL)
        return;
    r->stored = true;
    if (is_last_open(r))
        promise(r);
}

struct receipt *receipt_ref(struct receipt *r)
{
    if (r == NULL)
        return NULL;
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    if (r->bond != NULL)
        atomic_fetch_add_explicit(&r->open, 1, memory_order_relaxed);
    return r;
}

void receipt_release(struct receipt **take, bool ok)
{
    receipt_give_back(take, ok, false);
}

void receipt_give_back(struct receipt **take, bool ok, bool bound)
{
    struct receipt *r = *take;

    *take = NULL;
    if (r == NULL)
        return;
    if (!ok)
        atomic_fetch_add_explicit(&r->failed, 1, memory_order_relaxed);
    if (r->bond != NULL && !bound && is_last_open(r) && r->stored && atomic_load(&r->refs) > 1)
        promise(r);
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    r->post.run = come_home;
    loop_post(r->home, &r->post);
}

struct receipt *receipt_whole(struct receipt *r)
{
    while (r != NULL && r->part_of != NULL)
        r = r->part_of;
    return r;
}

bool receipt_refuse(struct receipt *part)
{
    struct receipt *r = receipt_whole(part);

    return r == NULL || !atomic_exchange_explicit(&r->refused, true, memory_order_relaxed);
}
