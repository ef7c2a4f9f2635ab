/* route/sm_provider.c: the session provider of priority 0: answers from the session table of this
 * process (backends.md 4). It needs no calls of its own to stay up to date. On the home loop of who
 * is asked about. */
#include "route/session.h"

#include <string.h>

static struct gr_session *available(const struct gr_jid *full)
{
    const struct gr_account *a = account_find(full);
    struct gr_session *s = a != NULL ? gr_account_session(a, full->resource) : NULL;

    return s != NULL && s->available ? s : NULL;
}

static void get_presence(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full)
{
    const struct gr_session *s = available(full);
    struct gr_presence_row row;

    (void)self, (void)inst;
    if (s == NULL) {
        gr_answer_result(ask, GR_R_NONE);
        return;
    }
    row = (struct gr_presence_row){ s->jid, s->priority, s->presence };
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .priority = s->priority,
                                        .presences = &row, .count = 1 });
}

static void answer_all(struct gr_ask *ask, const struct gr_jid *user, bool stanzas)
{
    const struct gr_account *a = account_find(user);
    struct gr_presence_row *rows = gr_alloc(((a != NULL ? a->count : 0) + 1) * sizeof(*rows));
    struct gr_answer answer = { .result = GR_R_OK, .presences = rows };
    struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL;

    for (; s != NULL; s = gr_account_next(a, s))
        if (s->available)
            rows[answer.count++] = (struct gr_presence_row){ s->jid, s->priority,
                                                             stanzas ? s->presence : NULL };
    gr_answer(ask, &answer);
    gr_free(rows);
}

static void get_all_presences(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user)
{
    (void)self, (void)inst;
    answer_all(ask, user, true);
}

static void get_all_resources(struct gr_mod *self, void *inst, struct gr_ask *ask,
                              const struct gr_jid *user)
{
    (void)self, (void)inst;
    answer_all(ask, user, false);
}

static void get_resource(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *full)
{
    const struct gr_session *s = available(full);

    (void)self, (void)inst;
    gr_answer(ask, &(struct gr_answer){ .result = s != NULL ? GR_R_OK : GR_R_NONE,
                                        .priority = s != NULL ? s->priority : 0 });
}

/* The highest priority of 0 or more; several of the same: "", all of them. */
static void get_preferred_resource(struct gr_mod *self, void *inst, struct gr_ask *ask,
                                   const struct gr_jid *user)
{
    const struct gr_account *a = account_find(user);
    struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL, *best = NULL;
    bool tie = false;

    (void)self, (void)inst;
    for (; s != NULL; s = gr_account_next(a, s)) {
        if (!s->available || s->priority < 0 || (best != NULL && s->priority < best->priority))
            continue;
        tie = best != NULL && s->priority == best->priority;
        best = s;
    }
    if (best == NULL)
        gr_answer_result(ask, GR_R_NONE);
    else
        gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .priority = best->priority,
                                            .text = tie ? "" : best->jid->resource });
}

static void kill_resource(struct gr_mod *self, void *inst, struct gr_ask *ask,
                          const struct gr_jid *full)
{
    const struct gr_account *a = account_find(full);
    struct gr_session *s = a != NULL ? gr_account_session(a, full->resource) : NULL;

    (void)self, (void)inst;
    if (s != NULL)
        session_request_close(s, "conflict", "Session ended by the server", true);
    gr_answer_result(ask, s != NULL ? GR_R_OK : GR_R_NONE);
}

const struct gr_session_provider sm_provider = {
    .name = "default", .get_presence = get_presence, .get_all_presences = get_all_presences,
    .get_resource = get_resource, .get_all_resources = get_all_resources,
    .get_preferred_resource = get_preferred_resource, .kill_resource = kill_resource,
};
