/* tests/mod/session_asks.h: a module that may provide sessions and rosters, and questions about who
 * is here, with the answer in words. One per program, on the test's thread, on which the harness
 * runs all loops. */
#pragma once

#include "harness.h"
#include "trace.h"

#include <stdio.h>

#define PING "<ping xmlns='urn:xmpp:ping'/>"

/* --- the module --- */

/* for the next start */
static const struct gr_session_provider *provider;
static const struct gr_roster_provider *rosters;
static const struct gr_hook *watched;
static struct gr_module module_t;

static inline int start_t(struct gr_mod *self, const char **why)
{
    (void)why;
    if (provider != NULL)
        gr_provide_session(self, provider, GR_PROVIDER_DEFAULT_PRIO);
    if (rosters != NULL)
        gr_provide_roster(self, rosters, GR_PROVIDER_DEFAULT_PRIO);
    return 0;
}

static inline struct h *begin(const char *ini)
{
    module_t = (struct gr_module){ .name = "t", .hooks = watched, .start = start_t,
                                   .state_size = sizeof(struct gr_timer) };
    trace[0] = '\0';
    h_module(&module_t);
    struct h *h = h_start(ini);
    provider = NULL;
    rosters = NULL;
    watched = NULL;
    return h;
}

/* --- asking: the answer in words --- */

static char said[512];

static inline void say_row(const struct gr_presence_row *r)
{
    const struct gr_el *status = r->stanza != NULL
                                     ? gr_stanza_child(r->stanza, GR_NS_CLIENT, "status") : NULL;

    snprintf(said + strlen(said), sizeof(said) - strlen(said), " %s:%d%s%s", r->jid->full,
             r->priority, r->stanza != NULL ? ":" : "",
             status != NULL ? gr_el_text(status, NULL) : "");
}

static inline void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    static const char *const word[] = { "ok", "false", "none", "error" };

    (void)self, (void)ask;
    snprintf(said, sizeof(said), "%s", word[a->result]);
    if (a->text != NULL)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), " \"%s\"", a->text);
    if (a->priority != 0 && a->presences == NULL)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), " %d", a->priority);
    for (size_t i = 0; i < a->count; i++)
        say_row(&a->presences[i]);
}

static inline const char *ask(struct h *h, enum gr_session_op op, const char *jid)
{
    struct gr_mod *self = h_mod(h, "t", jid);

    snprintf(said, sizeof(said), "unanswered");
    gr_session_ask(self, gr_ask_new(self, 1, on_answer), op, h_parse_jid(h, jid));
    h_run(h);
    return said;
}

static inline struct hs *available(struct h *h, const char *full, int priority, const char *status)
{
    struct hs *s = h_login(h, full);

    h_sendf(s, "<presence><priority>%d</priority><status>%s</status></presence>", priority, status);
    h_drop_all(s);
    return s;
}
