/* tests/mod/hooks_recorder.h: a module that handles every hook of the core, notes that it ran, and
 * says, waits or does what a case wants; and the accounts it watches. One per program, on the
 * test's thread, on which the harness runs all loops. */
#pragma once

#include "harness.h"

#include "loop/loop.h"
#include "route/route.h"

#include <stdio.h>

/* --- the recorder --- */

#define STANZA_HOOKS(X)                                                                            \
    X(user_send_packet) X(user_send_message) X(user_send_iq) X(user_send_presence)                 \
    X(user_send_xmlel) X(user_receive_packet) X(user_receive_message) X(user_receive_iq)           \
    X(user_receive_presence) X(user_receive_xmlel) X(xmpp_presend_element) X(xmpp_send_element)    \
    X(filter_packet) X(filter_local_packet) X(offline_message) X(offline_groupchat_message)        \
    X(sm_filter_offline_message) X(roster_in_subscription)
#define SESSION_HOOKS(X)                                                                           \
    X(user_open_session) X(session_opening_allowed_for_user) X(forbidden_session)                  \
    X(sm_remove_connection) X(set_presence) X(unset_presence) X(user_stop_request)                 \
    X(user_socket_closed) X(user_socket_error) X(user_terminate) X(reroute_unacked_messages)

#define HOLDS 16
static struct {
    char trace[8192];
    bool names;                              /* trace says which stanza and which session */
    enum gr_verdict verdict[GR_HOOK_COUNT];
    bool hold[GR_HOOK_COUNT];                /* stanzas whose body begins with "hold", all others */
    enum gr_verdict (*act[GR_HOOK_COUNT])(struct gr_mod *self, void *ev);
    struct gr_hold *held[HOLDS];
    struct loop *held_on[HOLDS];
    unsigned holds;
    const char *wrong;                       /* a handler found something that must not be */
} rec;

static inline void check(bool right, const char *what)
{
    if (!right && rec.wrong == NULL)
        rec.wrong = what;
}

static inline void note(const char *name, const char *detail)
{
    size_t n = strlen(rec.trace);

    if (rec.names && detail != NULL)
        snprintf(rec.trace + n, sizeof(rec.trace) - n, "%s%s(%s)", n > 0 ? " " : "", name, detail);
    else
        snprintf(rec.trace + n, sizeof(rec.trace) - n, "%s%s", n > 0 ? " " : "", name);
}

static inline enum gr_verdict hold(struct gr_mod *self, struct gr_ev *ev)
{
    struct gr_hold *h = gr_hold(self, ev);

    if (h == NULL || rec.holds == HOLDS)
        return GR_FAIL;
    rec.held_on[rec.holds] = loop_self();
    rec.held[rec.holds++] = h;
    return GR_PENDING;
}

static inline enum gr_verdict decide(struct gr_mod *self, enum gr_hook_id id, struct gr_ev *ev,
                                     bool wait)
{
    if (rec.act[id] != NULL)
        return rec.act[id](self, ev);
    return wait ? hold(self, ev) : rec.verdict[id];
}

static inline bool lives_here(const struct gr_jid *jid)
{
    return jid->node == NULL || loop_home(jid->hash) == loop_self();
}

static inline const char *body_of(const struct gr_stanza *st)
{
    const struct gr_el *body = gr_stanza_child(st, GR_NS_CLIENT, "body");

    return body != NULL ? gr_el_text(body, NULL) : "";
}

static inline enum gr_verdict on_stanza(struct gr_mod *self, enum gr_hook_id id, const char *name,
                                        struct gr_stanza_ev *ev)
{
    bool sending = strncmp(name, "user_send", 9) == 0;
    bool receiving = strncmp(name, "user_receive", 12) == 0 || strncmp(name, "xmpp_", 5) == 0;

    note(name, body_of(ev->stanza));
    check(ev->from != NULL && ev->to != NULL, "an event has both addresses");
    check(ev->ev.acc != NULL, "a stanza event has an accumulator");
    check((ev->session != NULL) == (sending || receiving), "the session of a stanza event");
    check((ev->ev.host == NULL) == (id == GR_HOOK_filter_packet), "the host of a chain");
    if (sending)
        check(lives_here(ev->from), "user_send_* runs where the sender lives");
    else if (id != GR_HOOK_filter_packet)
        check(lives_here(ev->to), "it runs where the recipient lives");
    if (ev->session != NULL)
        check(gr_session_host(ev->session) == ev->ev.host, "the session's host");
    return decide(self, id, &ev->ev, rec.hold[id] && strncmp(body_of(ev->stanza), "hold", 4) == 0);
}

static inline enum gr_verdict on_session(struct gr_mod *self, enum gr_hook_id id, const char *name,
                                         struct gr_session_ev *ev)
{
    note(name, ev->jid->resource);
    check(ev->session != NULL && ev->ev.host != NULL, "a session event has its session");
    check(lives_here(ev->jid), "a session lives at home");
    return decide(self, id, &ev->ev, rec.hold[id]);
}

#define STANZA_HANDLER(hook)                                                                       \
    static enum gr_verdict on_##hook(struct gr_mod *self, struct gr_stanza_ev *ev)                 \
    {                                                                                              \
        return on_stanza(self, GR_HOOK_##hook, #hook, ev);                                         \
    }
#define SESSION_HANDLER(hook)                                                                      \
    static enum gr_verdict on_##hook(struct gr_mod *self, struct gr_session_ev *ev)                \
    {                                                                                              \
        return on_session(self, GR_HOOK_##hook, #hook, ev);                                        \
    }
STANZA_HOOKS(STANZA_HANDLER)
SESSION_HOOKS(SESSION_HANDLER)

static inline void on_register(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    note("sm_register_connection", ev->jid->resource);
    check(gr_session_state(ev->session) == GR_S_BOUND, "bound when it is registered");
    check(gr_account_find(self, ev->jid) != NULL, "in the table when it is registered");
}

static inline enum gr_verdict on_exist(struct gr_mod *self, struct gr_user_ev *ev)
{
    note("does_user_exist", ev->jid->node);
    return decide(self, GR_HOOK_does_user_exist, &ev->ev, rec.hold[GR_HOOK_does_user_exist]);
}

static inline void on_registered(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    note("register_user", ev->jid->node);
    check(lives_here(ev->jid), "register_user runs where the account lives");
}

static inline enum gr_verdict on_removed(struct gr_mod *self, struct gr_user_ev *ev)
{
    (void)self;
    note("remove_user", ev->jid->node);
    check(lives_here(ev->jid), "remove_user runs where the account lives");
    return GR_OK;
}

#define ON(hook) GR_ON(hook, 5, on_##hook),
static const struct gr_hook recorder_hooks[] = {
    STANZA_HOOKS(ON) SESSION_HOOKS(ON)
    GR_ON(sm_register_connection, 5, on_register),
    GR_ON(does_user_exist, 5, on_exist),
    GR_ON(register_user, 5, on_registered),
    GR_ON(remove_user, 5, on_removed),
    GR_HOOK_END
};
static const struct gr_module recorder = { .name = "recorder", .summary = "test",
                                           .hooks = recorder_hooks };

/* A module behind it in the chain of user_send_message. */
static void (*second_look)(struct gr_stanza_ev *ev);
static unsigned second_calls;

static inline enum gr_verdict on_second(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    second_calls++;
    if (second_look != NULL)
        second_look(ev);
    return GR_OK;
}

static const struct gr_hook second_hooks[] = {
    GR_ON(user_send_message, 60, on_second), GR_HOOK_END
};
static const struct gr_module second = { .name = "second", .summary = "test",
                                         .hooks = second_hooks };

static inline void clear(void)
{
    rec.trace[0] = '\0';
}

static inline void expect_trace(const char *expected)
{
    if (rec.wrong != NULL)
        fail_msg("wrong in a handler: %s", rec.wrong);
    if (strcmp(rec.trace, expected) != 0)
        fail_msg("expected the hooks\n  %s\nbut there ran\n  %s", expected, rec.trace);
    clear();
}

/* Goes on with the hold that was taken as number n. */
static inline void resume(struct h *h, unsigned n, enum gr_verdict verdict)
{
    assert_true(n < rec.holds);
    loop_enter(rec.held_on[n]);
    gr_resume(rec.held[n], verdict);
    h_run(h);
}

/* --- alice with her phone, bob with x; neither trace nor output so far --- */

struct setting {
    struct h *h;
    struct hs *alice, *bob;
    char *bob_bare;
};

static inline void begin(struct setting *s, bool same_loop)
{
    memset(&rec, 0, sizeof(rec));
    second_look = NULL;
    second_calls = 0;
    h_module(&recorder);
    h_module(&second);
    s->h = h_start(NULL);
    h_user(s->h, "alice@localhost");
    s->bob_bare = gr_strdup(h_user_near(s->h, "alice@localhost", same_loop));
    char *full = gr_asprintf("%s/x", s->bob_bare);
    s->alice = h_login(s->h, "alice@localhost/phone");
    s->bob = h_login(s->h, full);
    gr_free(full);
    clear();
}

static inline void end(struct setting *s)
{
    second_look = NULL;
    h_stop(&s->h);
    gr_free(s->bob_bare);
    if (rec.wrong != NULL)
        fail_msg("wrong in a handler: %s", rec.wrong);
}

static inline void say(struct setting *s, const char *body)
{
    h_sendf(s->alice, "<message to='%s/x' type='chat'><body>%s</body></message>", s->bob_bare,
            body);
}

static inline void feed(struct hs *from, const char *to, const char *body)
{
    char *xml = gr_asprintf("<message to='%s' type='chat'><body>%s</body></message>", to, body);

    h_feed(from, xml);
    gr_free(xml);
}

#define SEND "user_send_packet user_send_message"
#define ROUTE "filter_packet filter_local_packet"
#define RECEIVE "user_receive_packet user_receive_message xmpp_presend_element xmpp_send_element"
