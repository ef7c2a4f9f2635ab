/* tests/mod/provides.h: a module that provides what the case has set before the start, with its
 * hooks. One per program, on the test's thread, on which the harness runs all loops. */
#pragma once

#include "raw.h"
#include "trace.h"

#include "loop/loop.h"
#include "store/store.h"
#include "stream/auth.h"

#include <stdio.h>

#define BOB PLAIN("AGJvYgBzZWNyZXQ=")         /* bob, secret */
#define BOB_WRONG PLAIN("AGJvYgB3cm9uZw==")   /* bob, wrong */
#define GONE PLAIN("AGdvbmUAc2VjcmV0")        /* gone, secret */
#define OFF PLAIN("AG9mZgBzZWNyZXQ=")         /* off, secret */
#define SICK PLAIN("AHNpY2sAc2VjcmV0")        /* sick, secret */
#define HOST "[host localhost]\nplain = always\nscram_iterations = 4096\n"
#define ROSTER(x) "<query xmlns='jabber:iq:roster'>" x "</query>"

/* --- the module: what it provides is set by the test before the start --- */

static struct {
    const struct gr_auth_provider *auth;
    const struct gr_roster_provider *roster;
    const struct gr_session_provider *session;
    const struct gr_hook *hooks;
} t;

static inline int start_t(struct gr_mod *self, const char **why)
{
    (void)why;
    if (t.auth != NULL)
        gr_provide_auth(self, t.auth, GR_PROVIDER_DEFAULT_PRIO);
    if (t.roster != NULL)
        gr_provide_roster(self, t.roster, GR_PROVIDER_DEFAULT_PRIO);
    if (t.session != NULL)
        gr_provide_session(self, t.session, GR_PROVIDER_DEFAULT_PRIO);
    return 0;
}

static struct gr_module module_t;

/* Takes what is in `t`, for this start. */
static inline struct h *begin(const char *ini)
{
    static const uint8_t secret[32] = { 1 };
    bool makes_users = t.auth == NULL || t.auth->create_user == NULL;

    module_t = (struct gr_module){ .name = "t", .hooks = t.hooks, .start = start_t,
                                   .state_size = sizeof(struct gr_timer) };
    trace[0] = '\0';
    auth_set_secret(secret, sizeof(secret));
    h_module(&module_t);
    struct h *h = h_start(ini);
    memset(&t, 0, sizeof(t));
    if (makes_users)
        h_user(h, "bob@localhost");
    trace[0] = '\0';
    return h;
}

static inline enum gr_verdict on_terminate(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self, (void)ev;
    note("terminate ");
    return GR_OK;
}
