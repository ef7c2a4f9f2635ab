/* xml/parse_keep.c: expat parsers between two elements, for whichever stream speaks next.
 *
 * To make a parser, replay the stream's root and free it again costs more than a message. But between
 * two elements an expat parser with nothing pending is what its root tag made of it and no more, and
 * most clients send the same one. So it stays with its loop, and the next stream with such a root that
 * has something to say goes on with it: a few serve thousands of streams, and stay in the
 * processor's caches meanwhile. Not those before login, which nobody else's input shall meet.
 *
 * expat remembers every name it ever saw: a parser that has grown is not kept. Threads without a loop
 * keep nothing. */
#include "xml/parse_internal.h"

#include "loop/loop.h"

#define KEPT_MEMORY 24576

struct keeper {
    struct xml_work *work[KEPT_MAX]; /* the latest comes last */
    size_t count;
};
static struct keeper keepers[LOOPS_MAX]; /* each its loop's; for the process's life */

static struct keeper *own_keeper(void)
{
    struct loop *self = loop_self();

    return self != NULL && self != loop_main() ? &keepers[loop_index(self)] : NULL;
}

/* NULL: this one has a parser of its own each time. */
static struct keeper *keeper_of(const struct xml_parser *p)
{
    return p->state == XML_OPEN && !p->whole && p->limits[LIM_MEMORY] == 0 ? own_keeper() : NULL;
}

static struct xml_work *take_at(struct keeper *k, size_t i)
{
    struct xml_work *w = k->work[i];

    memmove(&k->work[i], &k->work[i + 1], (--k->count - i) * sizeof(k->work[0]));
    return w;
}

struct xml_work *xml_take_kept(const struct xml_parser *p)
{
    struct keeper *k = keeper_of(p);

    for (size_t i = k != NULL ? k->count : 0; i-- > 0;) {
        const struct xml_work *w = k->work[i];

        if (w->root_len == p->root_len && memcmp(w->root, p->root, w->root_len) == 0)
            return take_at(k, i);
    }
    return NULL;
}

bool xml_keep(struct xml_parser *p)
{
    struct keeper *k = keeper_of(p);
    struct xml_work *w = p->work;

    if (k == NULL || w->memory + w->text.cap + w->raw.cap > KEPT_MEMORY)
        return false;
    if (w->root == NULL) {
        w->root = gr_strndup(p->root, p->root_len);
        w->root_len = p->root_len;
    }
    if (k->count == KEPT_MAX)
        xml_work_free(take_at(k, 0));
    k->work[k->count++] = w;
    p->work = NULL;
    return true;
}

size_t xml_parsers_kept(void)
{
    return own_keeper()->count;
}
