/* xml/parse_keep.c: which streams keep their expat parser from one read to the next.
 *
 * To make a parser, replay the stream's root and free it again costs more than a message. So each
 * loop lets the streams that spoke last keep theirs, up to a number; one that was quiet for a few
 * seconds gives it up, and so does one whose parser has grown. A stream that has hardly said
 * anything keeps nothing: a thousand logins would leave their parsers' holes between all that a
 * session keeps. The list is ordered by the end of the last read. Threads without a loop keep
 * nothing. */
#include "xml/parse_internal.h"

#include "loop/loop.h"

#define KEPT_MAX 1024      /* per loop, of 12 KiB each as a rule */
#define KEPT_MEMORY 24576  /* expat remembers every name it ever saw */
#define QUIET_MS 3000
#define SWEEP_MS 1000
#define ACTIVE_MS 1000

struct xml_keeper {
    struct link oldest;
    size_t count;
    struct timer sweep;
};
static struct xml_keeper keepers[LOOPS_MAX];

static struct xml_keeper *own_keeper(void)
{
    struct loop *self = loop_self();

    return self != NULL && self != loop_main() ? &keepers[loop_index(self)] : NULL;
}

static struct xml_work *oldest(const struct xml_keeper *k)
{
    return list_entry(k->oldest.next, struct xml_work, kept);
}

static bool quiet_for(const struct xml_work *w, int64_t ms)
{
    return gr_now_ms() - w->kept_at >= ms;
}

static void sweep(struct timer *t)
{
    struct xml_keeper *k = GR_CONTAINER_OF(t, struct xml_keeper, sweep);

    while (k->count > 0 && quiet_for(oldest(k), QUIET_MS))
        xml_drop_work(oldest(k)->parser);
    if (k->count > 0)
        timer_start(t, SWEEP_MS, sweep);
}

/* With more active streams than places, always the next one needed would be pushed out. */
static bool has_place(struct xml_keeper *k)
{
    if (k->count < KEPT_MAX)
        return true;
    if (!quiet_for(oldest(k), ACTIVE_MS))
        return false;
    xml_drop_work(oldest(k)->parser);
    return true;
}

bool xml_keep(struct xml_parser *p)
{
    struct xml_keeper *k = own_keeper();
    struct xml_work *w = p->work;

    /* Where memory is bounded closely, the whole of it is there for the next element. */
    if (k == NULL || p->whole || p->woken < KEPT_AFTER || p->limits[LIM_MEMORY] > 0 ||
        w->memory + w->text.cap + w->raw.cap > KEPT_MEMORY || !has_place(k))
        return false;
    if (k->oldest.next == NULL)
        list_init(&k->oldest);
    list_append(&k->oldest, &w->kept);
    k->count++;
    w->keeper = k;
    w->parser = p;
    w->kept_at = gr_now_ms();
    if (!timer_running(&k->sweep))
        timer_start(&k->sweep, SWEEP_MS, sweep);
    return true;
}

void xml_unkeep(struct xml_work *w)
{
    if (w->keeper == NULL)
        return;
    gr_assert(w->keeper == own_keeper());
    list_remove(&w->kept);
    w->keeper->count--;
    w->keeper = NULL;
}

size_t xml_parsers_kept(void)
{
    return own_keeper()->count;
}
