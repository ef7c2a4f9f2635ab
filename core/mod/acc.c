/* mod/acc.c: the accumulator of a stanza (hooks.md 2): notes, and requests to the session engine.
 *
 * Both are lists whose newest entry comes first and whose entries are never changed: a savepoint is
 * the two heads. Nothing is allocated until the first note or request, and the struct itself is a part
 * of whatever carries the stanza. One job owns it at a time; it crosses loops with the job. */
#include "mod/acc.h"

#include "xml/jid.h"

#include <stdatomic.h>
#include <string.h>

#include "xml/jid.h"

#include <grapnel/log.h>

struct acc_base {
    _Atomic unsigned refs;
    struct arena arena;
    struct acc_base *before;     /* one reference */
};

/* Most have a note or two, if any, and live as long as their stanza is under way. */
#define FIRST_NOTES 224

static _Atomic uint64_t last_ref;

static void init(struct gr_acc *acc, enum gr_origin origin, int64_t time_us)
{
    uint64_t ref = atomic_fetch_add_explicit(&last_ref, 1, memory_order_relaxed) + 1;

    *acc = (struct gr_acc){ .ref = ref, .time_us = time_us, .origin = origin };
    arena_init(&acc->arena, FIRST_NOTES);
}

void acc_init(struct gr_acc *acc, enum gr_origin origin)
{
    init(acc, origin, gr_wall_us());
}

struct gr_acc *acc_new(enum gr_origin origin)
{
    struct gr_acc *acc = gr_alloc(sizeof(*acc));

    acc_init(acc, origin);
    return acc;
}

static const char *keep(struct gr_acc *acc, const char *s)
{
    return s != NULL ? arena_strdup(&acc->arena, s) : NULL;
}

static void note(struct gr_acc *acc, const char *ns, const char *key, const char *value,
                 bool permanent)
{
    size_t ns_size = strlen(ns) + 1, key_size = strlen(key) + 1;
    size_t value_size = value != NULL ? strlen(value) + 1 : 0;
    struct acc_note *n = arena_alloc(&acc->arena, sizeof(*n) + ns_size + key_size + value_size);
    char *text = (char *)(n + 1);

    *n = (struct acc_note){ acc->notes, memcpy(text, ns, ns_size),
                            memcpy(text + ns_size, key, key_size), NULL, permanent };
    if (value != NULL)
        n->value = memcpy(text + ns_size + key_size, value, value_size);
    acc->notes = n;
}

static const struct acc_note *find(const struct gr_acc *acc, const char *ns, const char *key)
{
    for (const struct acc_note *n = acc->notes; n != NULL; n = n->next) {
        if (strcmp(n->key, key) == 0 && strcmp(n->ns, ns) == 0)
            return n;
    }
    return NULL;
}

/* The notes in force that are permanent, copied in their order into `to` (an empty accumulator). */
static void copy_permanent(struct gr_acc *to, const struct gr_acc *from)
{
    const struct acc_note **tail = &to->notes;

    for (const struct acc_note *n = from->notes; n != NULL; n = n->next) {
        if (!n->permanent || n->value == NULL || find(from, n->ns, n->key) != n)
            continue;
        struct acc_note *copy = arena_alloc(&to->arena, sizeof(*copy));

        *copy = (struct acc_note){ NULL, keep(to, n->ns), keep(to, n->key), keep(to, n->value), true };
        *tail = copy;
        tail = &copy->next;
    }
}

void acc_fork(struct gr_acc *fork, const struct gr_acc *acc)
{
    init(fork, acc->origin, acc->time_us);
    copy_permanent(fork, acc);
}

void acc_twin(struct gr_acc *twin, const struct gr_acc *acc)
{
    *twin = (struct gr_acc){ .ref = acc->ref, .time_us = acc->time_us, .origin = acc->origin,
                             .again = acc->again, .receipt = acc->receipt };
    copy_permanent(twin, acc);
}

/* Relinks instead of copying: addresses kept in the arena must stay. */
void acc_strip(struct gr_acc *acc)
{
    struct gr_acc before = *acc;
    const struct acc_note **tail = &acc->notes;

    acc->notes = NULL;
    for (const struct acc_note *n = before.notes; n != NULL; n = n->next) {
        if (!n->permanent || n->value == NULL || find(&before, n->ns, n->key) != n)
            continue;
        struct acc_note *copy = arena_alloc(&acc->arena, sizeof(*copy));

        *copy = *n;
        copy->next = NULL;
        *tail = copy;
        tail = &copy->next;
    }
}

struct acc_request *acc_take_requests(struct gr_acc *acc)
{
    struct acc_request *of[ACC_DELIVER + 1] = { NULL }; /* newest first in, oldest first out */
    struct acc_request *first = NULL, **tail = &first;

    for (struct acc_request *r = acc->requests, *next; r != NULL; r = next) {
        next = r->next;
        r->next = of[r->kind];
        of[r->kind] = r;
    }
    acc->requests = NULL;
    for (int kind = ACC_HARD_STOP; kind <= ACC_DELIVER; kind++) {
        *tail = of[kind];
        while (*tail != NULL)
            tail = &(*tail)->next;
    }
    return first;
}

void acc_rollback(struct gr_acc *acc, const struct acc_note *notes, struct acc_request *requests)
{
    acc->notes = notes;
    for (; acc->requests != requests; acc->requests = acc->requests->next)
        gr_stanza_unref(&acc->requests->stanza);
}

const struct gr_jid *acc_keep_jid(struct gr_acc *acc, const struct gr_jid *jid)
{
    return jid_dup_in(&acc->arena, jid); /* in one piece, as whoever copies it expects */
}

void acc_part(struct gr_acc *own, struct gr_acc *acc)
{
    struct acc_base *base = gr_alloc(sizeof(*base));

    base->refs = 2;
    base->arena = acc->arena;
    base->before = acc->base;
    acc->arena = (struct arena){ NULL, 0, 0 };
    acc->base = base;
    *own = (struct gr_acc){ .ref = acc->ref, .time_us = acc->time_us, .origin = acc->origin,
                            .base = base, .notes = acc->notes };
}

/* Rare; not in the way of those that were never parted. */
static __attribute__((noinline)) void release_base(struct gr_acc *acc)
{
    struct acc_base *base = acc->base;

    acc->base = NULL;
    while (base != NULL && atomic_fetch_sub(&base->refs, 1) == 1) {
        struct acc_base *before = base->before;

        arena_fini(&base->arena);
        gr_free(base);
        base = before;
    }
}

void acc_fini(struct gr_acc *acc)
{
    acc_rollback(acc, NULL, NULL);
    arena_fini(&acc->arena);
    if (acc->base != NULL)
        release_base(acc);
}

void acc_free(struct gr_acc **take)
{
    struct gr_acc *acc = *take;

    *take = NULL;
    if (acc == NULL)
        return;
    acc_fini(acc);
    gr_free(acc);
}

/* --- what modules see --- */

uint64_t gr_acc_ref(const struct gr_acc *acc)
{
    return acc->ref;
}

int64_t gr_acc_time_us(const struct gr_acc *acc)
{
    return acc->time_us;
}

enum gr_origin gr_acc_origin(const struct gr_acc *acc)
{
    return acc->origin;
}

bool gr_acc_again(const struct gr_acc *acc)
{
    return acc->again;
}

void gr_acc_set(struct gr_acc *acc, const char *ns, const char *key, const char *value)
{
    const struct acc_note *before = find(acc, ns, key);

    /* What is permanent stays so when only its value changes. */
    note(acc, ns, key, value, before != NULL && before->value != NULL && before->permanent);
}

void gr_acc_set_permanent(struct gr_acc *acc, const char *ns, const char *key, const char *value)
{
    note(acc, ns, key, value, true);
}

const char *gr_acc_get(const struct gr_acc *acc, const char *ns, const char *key)
{
    const struct acc_note *n = find(acc, ns, key);

    return n != NULL ? n->value : NULL;
}

static struct acc_request *request(struct gr_ev *ev, enum acc_request_kind kind,
                                   struct gr_stanza *take, const char *text)
{
    struct acc_request *r;

    if (ev->acc == NULL) {
        gr_error("mod.request", "a handler made a request in a hook that carries none; ignored");
        gr_stanza_unref(&take);
        return NULL;
    }
    r = arena_alloc(&ev->acc->arena, sizeof(*r));
    *r = (struct acc_request){ ev->acc->requests, kind, take, keep(ev->acc, text), 0 };
    ev->acc->requests = r;
    return r;
}

void gr_ev_request_stop(struct gr_ev *ev, const char *condition)
{
    request(ev, ACC_STOP, NULL, condition);
}

void gr_ev_request_hard_stop(struct gr_ev *ev, const char *condition)
{
    request(ev, ACC_HARD_STOP, NULL, condition);
}

void gr_ev_request_write(struct gr_ev *ev, struct gr_stanza *take)
{
    request(ev, ACC_WRITE, take, NULL);
}

void gr_ev_request_route(struct gr_ev *ev, struct gr_stanza *take)
{
    request(ev, ACC_ROUTE, take, NULL);
}

void gr_ev_request_deliver(struct gr_ev *ev, const struct gr_session *s, struct gr_stanza *take)
{
    struct acc_request *r = request(ev, ACC_DELIVER, take, NULL);

    if (r != NULL)
        r->session = gr_session_id(s);
}
