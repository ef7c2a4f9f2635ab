/* grapnel/test.h: a server in one process, for the tests of modules: no sockets, no threads, the
 * store in memory, virtual time. Clients are sessions whose output is kept. docs/modules.md,
 * Testing.
 *
 *     static void greets(void)
 *     {
 *         struct h *h = h_start("[host localhost]\n[mod_greet]\n");
 *         struct hs *alice = h_login(h, "alice@localhost/phone");
 *
 *         h_expect_body(alice, "localhost", "Hello!");
 *         h_send(alice, "<message to='bob@localhost'><body>hi</body></message>");
 *         h_expect_nothing(alice);
 *         h_stop(&h);
 *     }
 *
 *     int main(void)
 *     {
 *         return H_MAIN(H_TEST(greets));
 *     }
 *
 * Every function that starts something runs the loops until nothing is left to do, so no test waits
 * or polls. A failed expectation ends the test and prints what arrived instead; h_main goes on with
 * the next one, other frameworks are told through h_on_fail. Link with what `pkg-config --libs
 * grapnel-test` says. Everything is called on one thread, with one server at a time; what is
 * returned as a pointer is the server's (struct h) or the client's (struct hs) and lives as long,
 * unless it says otherwise.
 *
 * Modules are looked for in the folders of GRAPNEL_MODULES (separated by colons), by default in the
 * working directory and in build/modules; H_VERBOSE=1 prints the log. */
#pragma once

#include <grapnel/module.h>

struct h;  /* the server */
struct hs; /* a client */

/* --- the program --- */

struct h_test {
    const char *name;
    void (*run)(void);
};
#define H_TEST(f) { #f, f }
/* Runs every test with one loop and with four (or with GRAPNEL_TEST_LOOPS loops only), whatever
 * becomes of the others, and prints TAP. The exit status for main: 0, or 1 when one failed. */
GR_API int h_main(const struct h_test *tests, size_t count);
#define H_MAIN(...)                                                                               \
    h_main((const struct h_test[]){ __VA_ARGS__ },                                                \
           sizeof((const struct h_test[]){ __VA_ARGS__ }) / sizeof(struct h_test))
/* Ends the test with a message (printf) and what the log said lately. */
GR_API _Noreturn void h_fail(const char *fmt, ...) GR_PRINTF(1, 2);
#define h_check(x) ((x) ? (void)0 : h_fail("%s:%d: not true: %s", __FILE__, __LINE__, #x))
/* Without h_main: who is told of failures, e.g. a function that calls cmocka's fail_msg. It must
 * not return. By default the message is printed and the process ends with status 1. */
GR_API void h_on_fail(void (*f)(const char *text));
/* The number of loops (1 .. 64) of the next h_start; they take turns on this one thread. By default
 * what GRAPNEL_TEST_LOOPS says, else 1. */
GR_API void h_set_loops(int loops);

/* --- the server --- */

/* Registers a module of the test's own, built into every host of the next h_start (and its restarts
 * and reloads), before the modules of the configuration; abi and abi_tag are filled in. At most 8.
 * Forgotten by h_stop. Its handlers may use static data: everything runs on one thread. A module
 * that is linked into the test program, instead of loaded from its .so, comes in this way:
 * h_module(&gr_module_descriptor). */
GR_API void h_module(const struct gr_module *desc);
/* The configuration as in a file; NULL: "[host localhost]". [server] and [listen c2s] are added
 * when there are none. Fails the test when it is refused. */
GR_API struct h *h_start(const char *ini);
/* The same, but hands out the errors (free with gr_free) when the configuration is refused, and
 * returns NULL then; *errors is NULL on success. */
GR_API struct h *h_start_try(const char *ini, char **errors);
/* Ends every client, stops everything and checks that nothing is left: sessions, accounts, lanes,
 * requests in flight (after two minutes at most, in which no hold may time out). Accepts NULL. */
GR_API void h_stop(struct h **take);
/* A restart: all clients are cut off (their struct hs are gone), everything is torn down and
 * started again with the same configuration; what was in the store is still there. */
GR_API void h_restart(struct h *h);
/* Goes over to another configuration, and to modules whose files have changed; the clients stay. 0
 * and the changes, or GR_EINVAL and the errors, in *report (free with gr_free); report may be NULL:
 * then a refusal fails the test. */
GR_API int h_reload(struct h *h, const char *ini, char **report);

/* Runs all loops and the store until nothing is left to do now. */
GR_API void h_run(struct h *h);
/* The same, `ms` milliseconds further, firing timers in order. */
GR_API void h_advance(struct h *h, int64_t ms);
/* From now on the store commits only when h_commit is called (writes stay in flight); false: at
 * once again, which is the default. */
GR_API void h_hold_store(struct h *h, bool hold);
GR_API void h_commit(struct h *h);
GR_API int h_loops(const struct h *h);
/* The loop that `jid` lives on, 0 ..; later calls of gr_... act there. */
GR_API int h_home(struct h *h, const char *jid);
GR_API int h_enter(struct h *h, const char *jid);
/* The instance of a module on the loop of `jid` (of the host when jid is a domain); its loop is
 * entered. Fails the test when there is none. */
GR_API struct gr_mod *h_mod(struct h *h, const char *module, const char *jid);
/* Log lines ("warn c2s.x: ...") since the last call, newline-separated; valid until the next
 * one. */
GR_API const char *h_log(struct h *h);

/* A JID for the time until h_stop; fails the test when the text is none. */
GR_API const struct gr_jid *h_parse_jid(struct h *h, const char *text);

/* A command as grapnelctl would send it, words separated by blanks. The rows of the answer, one
 * line each ("jid=alice@localhost online=yes"), or "error: ..."; valid until the next one. */
GR_API const char *h_command(struct h *h, const char *line);

/* --- accounts --- */

/* An account with the password "secret". */
GR_API void h_user(struct h *h, const char *bare);
/* Through the provider and the hooks: GR_R_... */
GR_API enum gr_result h_user_create(struct h *h, const char *bare, const char *password);
GR_API enum gr_result h_user_delete(struct h *h, const char *bare);
GR_API enum gr_result h_user_check(struct h *h, const char *bare, const char *password);
/* A bare JID of localhost that lives on the same loop as `bare` or (with more than one loop) on
 * another one; an account is created. Valid until h_stop. */
GR_API const char *h_user_near(struct h *h, const char *bare, bool same_loop);

/* --- clients --- */

/* Connected to that host, nobody yet; on some loop. What it sends reaches user_send_xmlel only. */
GR_API struct hs *h_accept(struct h *h, const char *host);
/* Then it is somebody, and moves to its home loop. An account that the test has not made (and perhaps
 * deleted) is made, without a password and without any hook: nobody else gets a session. */
GR_API void h_authenticate(struct hs *s, const char *bare);
/* Both: authenticated, without a resource. */
GR_API struct hs *h_connect(struct h *h, const char *bare);
/* Binds; GR_COND_NONE and bound, or the error. resource NULL: the server chooses. Where a module
 * lets the binding wait: (enum gr_cond)-1, and h_bound tells later. */
GR_API enum gr_cond h_bind(struct hs *s, const char *resource);
GR_API enum gr_cond h_bound(const struct hs *s);
/* Both; fails the test when the server refuses. Sends no presence. */
GR_API struct hs *h_login(struct h *h, const char *full);
/* The same followed by <presence/>, whatever comes back for it thrown away: needs mod_presence. */
GR_API struct hs *h_online(struct h *h, const char *full);
/* Marks the session available without any presence module: as gr_session_set_presence. */
GR_API void h_set_available(struct hs *s, int priority);
GR_API void h_set_unavailable(struct hs *s);

/* What the client sends: any element, its `from` stamped as the stream does. What the stream
 * refuses before any hook runs (malformed addresses and iqs) is not for this harness. Then
 * h_run. */
GR_API void h_send(struct hs *s, const char *xml);
GR_API void h_sendf(struct hs *s, const char *fmt, ...) GR_PRINTF(2, 3);
/* Without h_run: what follows is sent "in the same packet". */
GR_API void h_feed(struct hs *s, const char *xml);
/* An iq with a fresh id; returns the answer, which is taken out from among other stanzas, and fails
 * when there is none. type "get" or "set"; to NULL: absent. Borrowed until the client goes. */
GR_API struct gr_stanza *h_iq(struct hs *s, const char *type, const char *to, const char *payload);
/* The same, expecting the result with that content (as h_expect_xml; NULL: empty) or that error. */
GR_API void h_iq_result(struct hs *s, const char *type, const char *to, const char *payload,
                        const char *result);
GR_API void h_iq_error(struct hs *s, const char *type, const char *to, const char *payload,
                       enum gr_cond cond);

/* Closed by the client: </stream:stream> (clean), or the connection broke. `s` is gone afterwards;
 * its session may live on when a module keeps it (h_stop ends it). */
GR_API void h_disconnect(struct hs **take, bool clean);
/* The server closed the stream: the condition, "" for none; NULL: still open. */
GR_API const char *h_closed(const struct hs *s);
/* Checks that it has, with that condition ("" for none), and forgets the client. */
GR_API void h_expect_closed(struct hs **take, const char *condition);

/* A client that reads nothing more: what the server writes is kept back, with its receipt, until
 * h_flow. */
GR_API void h_stall(struct hs *s);
GR_API void h_flow(struct hs *s);
/* A connection that is broken without the server knowing: writes fail with GR_ECANCELED. */
GR_API void h_break(struct hs *s);
/* Stanzas of the client that are still being handled; how often its input went on after a wait. */
GR_API unsigned h_unhandled(const struct hs *s);
GR_API unsigned h_resumed(const struct hs *s);

GR_API struct gr_session *h_session(const struct hs *s); /* NULL once ended; its loop is entered */
GR_API const struct gr_jid *h_jid(const struct hs *s);
GR_API const char *h_full(const struct hs *s);           /* the JID as text */

/* --- what arrived --- */

/* Next stanza, as parsed from the text that the server wrote; NULL: none. Borrowed until the client
 * goes. h_peek leaves it there. */
GR_API struct gr_stanza *h_next(struct hs *s);
GR_API struct gr_stanza *h_peek(struct hs *s);
GR_API unsigned h_count(const struct hs *s);
GR_API void h_drop_all(struct hs *s); /* throws away what arrived so far */

/* The next one is of that kind, and (each unless NULL, or GR_TYPE_INVALID for the type) of that
 * type and from that address. Returns it. */
GR_API struct gr_stanza *h_expect(struct hs *s, enum gr_kind kind, enum gr_type type,
                                  const char *from);
/* The next one looks like the pattern: an element in which the order of attributes does not matter
 * and GR_NS_CLIENT is the default namespace;
 *   attr='*'     any value, but there
 *   >*<          any text
 *   _='more'     further attributes and children are allowed, children stand in any order
 *   _='any'      as 'more', and the text does not matter
 * White space between elements of the pattern is ignored. */
GR_API struct gr_stanza *h_expect_xml(struct hs *s, const char *pattern);
GR_API struct gr_stanza *h_expect_xmlf(struct hs *s, const char *fmt, ...) GR_PRINTF(2, 3);
/* One of the stanzas waiting looks like it; it is taken out. For orders that nobody promises. */
GR_API struct gr_stanza *h_expect_among(struct hs *s, const char *pattern);
/* The next one is an error of that kind with that condition. */
GR_API struct gr_stanza *h_expect_error(struct hs *s, enum gr_kind kind, enum gr_cond cond,
                                        const char *from);
/* The next one is a message with that body. */
GR_API struct gr_stanza *h_expect_body(struct hs *s, const char *from, const char *body);
GR_API void h_expect_nothing(struct hs *s);

/* The pattern language for any stanza. */
GR_API bool h_matches(const struct gr_stanza *st, const char *pattern);
GR_API void h_assert_xml(const struct gr_stanza *st, const char *pattern);

/* --- requests to web servers (gr_http_send) ---
 * None leaves the test: each waits here, with its defaults filled in, until the test answers it or its
 * time is up. */

GR_API size_t h_http_count(struct h *h);
/* The oldest one, of any loop, borrowed until it has ended; its body is NUL-terminated. NULL: none. */
GR_API const struct gr_http_request *h_http(struct h *h);
/* Answers it: with that status and body, or as gr_http_response.rc says. */
GR_API void h_http_answer(struct h *h, int status, const char *body);
GR_API void h_http_fail(struct h *h, int rc);
