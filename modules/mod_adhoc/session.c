/* mod_adhoc/session.c: executions that wait for their requester's next step. They are few and short:
 * a list, the one that was used last at its end, and one timer for the first. */
#include "adhoc.h"

#include <string.h>

static struct adhoc *state_of(struct gr_mod *self)
{
    return gr_state(self);
}

static void free_session(struct adhoc_session *s)
{
    gr_free(s->node);
    gr_free(s->from);
    gr_free(s->command);
    rows_free(&s->rows);
    gr_free(s);
}

static void unlink_session(struct adhoc *a, struct adhoc_session *s)
{
    struct adhoc_session **at = &a->sessions;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    a->count--;
}

void session_end(struct gr_mod *self, struct adhoc_session *s)
{
    unlink_session(state_of(self), s);
    free_session(s);
}

void sessions_end(struct gr_mod *self)
{
    while (state_of(self)->sessions != NULL)
        session_end(self, state_of(self)->sessions);
}

/* The first one that nobody works at has waited for longest. */
static void sweep(struct gr_mod *self, struct gr_timer *t)
{
    struct adhoc *a = state_of(self);

    while (a->sessions != NULL && a->sessions->until_ms <= gr_now_ms())
        session_end(self, a->sessions);
    if (a->sessions != NULL)
        gr_timer_start(self, t, a->sessions->until_ms - gr_now_ms(), sweep);
}

static void append(struct gr_mod *self, struct adhoc_session *s)
{
    const struct adhoc_conf *conf = gr_conf(self);
    struct adhoc *a = state_of(self);
    struct adhoc_session **at = &a->sessions;

    if (a->sessions == NULL)
        gr_timer_start(self, &a->sweep, conf->session_timeout, sweep);
    while (*at != NULL)
        at = &(*at)->next;
    s->until_ms = gr_now_ms() + conf->session_timeout;
    s->next = NULL;
    *at = s;
    a->count++;
}

static void make_room(struct gr_mod *self, const char *from)
{
    struct adhoc_session *oldest = NULL, *s = state_of(self)->sessions;
    unsigned n = 0;

    for (; s != NULL; s = s->next) {
        if (strcmp(s->from, from) != 0)
            continue;
        oldest = oldest != NULL ? oldest : s;
        n++;
    }
    if (n >= SESSIONS_OF_ONE)
        session_end(self, oldest);
}

struct adhoc_session *session_new(struct gr_mod *self, const char *from, const char *node)
{
    const struct adhoc_conf *conf = gr_conf(self);
    struct adhoc_session *s;

    make_room(self, from);
    if (state_of(self)->count >= (uint64_t)conf->max_sessions)
        return NULL;
    s = gr_alloc(sizeof(*s));
    s->node = gr_strdup(node);
    s->from = gr_strdup(from);
    gr_random_id(s->id);
    append(self, s);
    return s;
}

struct adhoc_session *session_find(struct gr_mod *self, const char *from, const char *node,
                                   const char *id)
{
    struct adhoc *a = state_of(self);

    for (struct adhoc_session *s = a->sessions; s != NULL; s = s->next) {
        if (strcmp(s->id, id) != 0 || strcmp(s->from, from) != 0 || strcmp(s->node, node) != 0)
            continue;
        unlink_session(a, s);
        append(self, s);
        return s;
    }
    return NULL;
}
