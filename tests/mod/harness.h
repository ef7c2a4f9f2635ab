/* tests/mod/harness.h: the server's core in one process for module tests: no sockets, no threads,
 * the memory store, virtual time. Clients are sessions whose output the harness keeps.
 *
 *     struct h *h = h_start("[host localhost]\n[mod_roster]\n");
 *     h_user(h, "alice@localhost");
 *     struct hs *alice = h_login(h, "alice@localhost/phone");
 *     h_send(alice, "<presence/>");
 *     h_expect_xml(alice, "<presence from='alice@localhost/phone' to='alice@localhost/phone'/>");
 *     h_expect_nothing(alice);
 *     h_stop(&h);
 *
 * Every function that starts something runs the loops until nothing is left to do, so no test waits
 * or polls. A failed expectation fails the cmocka test and prints what arrived instead.
 * GRAPNEL_TEST_LOOPS (default 1) is the number of loops; they take turns on this one thread.
 * Modules are taken from GRAPNEL_MODULES, else $GRAPNEL_BUILD/modules, else build/modules. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <grapnel/module.h>

struct h;  /* the server */
struct hs; /* a client */

/* --- the server --- */

/* Registers a module of the test's own, built into every host of the next h_start (and its restarts
 * and reloads), before the modules of the configuration; abi and abi_tag are filled in. At most 8.
 * Forgotten by h_stop. Its handlers may use static data: everything runs on one thread. */
void h_module(const struct gr_module *desc);
/* The configuration as in a file; NULL: "[host localhost]". [server] and [listen c2s] are added
 * when there are none. Fails the test when it is refused. */
struct h *h_start(const char *ini);
/* The same, but hands out the errors (free with gr_free) when the configuration is refused, and
 * returns NULL then; *errors is NULL on success. */
struct h *h_start_try(const char *ini, char **errors);
/* Ends every client, stops everything and checks that nothing is left: sessions, accounts, lanes,
 * requests in flight (after two minutes at most, in which no hold may time out). Accepts NULL. */
void h_stop(struct h **take);
/* A restart: all clients are cut off (their struct hs are gone), everything is torn down and
 * started again with the same configuration; what was in the store is still there. */
void h_restart(struct h *h);
/* The clients stay. 0 or what mod_reload says; report (gr_free it) may be NULL: then a refusal
 * fails the test. */
int h_reload(struct h *h, const char *ini, char **report);

/* Runs all loops and the store until nothing is left to do now. */
void h_run(struct h *h);
/* The same, `ms` milliseconds further, firing timers in order. */
void h_advance(struct h *h, int64_t ms);
/* From now on the store commits only when h_commit is called (writes stay in flight); false: at
 * once again, which is the default. */
void h_hold_store(struct h *h, bool hold);
void h_commit(struct h *h);
int h_loops(const struct h *h);
/* The loop that `jid` lives on, 0 ..; later calls of gr_... act there. */
int h_home(struct h *h, const char *jid);
int h_enter(struct h *h, const char *jid);
/* The instance of a module on the loop of `jid` (of the host when jid is a domain); its loop is
 * entered. Fails the test when there is none. */
struct gr_mod *h_mod(struct h *h, const char *module, const char *jid);
/* Log lines ("warn c2s.x: ...") since the last call, newline-separated; valid until the next
 * one. */
const char *h_log(struct h *h);

/* --- accounts --- */

/* An account with the password "secret". */
void h_user(struct h *h, const char *bare);
/* Through the provider and the hooks: GR_R_... */
enum gr_result h_user_create(struct h *h, const char *bare, const char *password);
enum gr_result h_user_delete(struct h *h, const char *bare);
/* A bare JID of localhost that lives on the same loop as `bare` or (with more than one loop) on
 * another one; an account is created. Valid until h_stop. */
const char *h_user_near(struct h *h, const char *bare, bool same_loop);

/* --- clients --- */

/* Connected to that host, nobody yet; on some loop. What it sends reaches user_send_xmlel only. */
struct hs *h_accept(struct h *h, const char *host);
/* Then it is somebody, and moves to its home loop. The account need not exist. */
void h_authenticate(struct hs *s, const char *bare);
/* Both: authenticated, without a resource. */
struct hs *h_connect(struct h *h, const char *bare);
/* Binds; GR_COND_NONE and bound, or the error. resource NULL: the server chooses. Where a module
 * lets the binding wait: (enum gr_cond)-1, and h_bound tells later. */
enum gr_cond h_bind(struct hs *s, const char *resource);
enum gr_cond h_bound(const struct hs *s);
/* Both; fails the test when the server refuses. Sends no presence. */
struct hs *h_login(struct h *h, const char *full);
/* The same followed by <presence/>, whatever comes back for it thrown away: needs mod_presence. */
struct hs *h_online(struct h *h, const char *full);
/* Marks the session available without any presence module: as gr_session_set_presence. */
void h_set_available(struct hs *s, int priority);
void h_set_unavailable(struct hs *s);

/* What the client sends: any element, its `from` stamped as the stream does. What the stream refuses
 * before any hook runs (malformed addresses and iqs) is not for this harness. Then h_run. */
void h_send(struct hs *s, const char *xml);
void h_sendf(struct hs *s, const char *fmt, ...) GR_PRINTF(2, 3);
/* Without h_run: what follows is sent "in the same packet". */
void h_feed(struct hs *s, const char *xml);
/* An iq with a fresh id; returns the answer, which is taken out from among other stanzas, and fails
 * when there is none. type "get" or "set"; to NULL: absent. Borrowed until the client goes. */
struct gr_stanza *h_iq(struct hs *s, const char *type, const char *to, const char *payload);
/* The same, expecting the result with that content (as h_expect_xml; NULL: empty) or that error. */
void h_iq_result(struct hs *s, const char *type, const char *to, const char *payload,
                 const char *result);
void h_iq_error(struct hs *s, const char *type, const char *to, const char *payload,
                enum gr_cond cond);

/* Closed by the client: </stream:stream> (clean), or the connection broke. `s` is gone afterwards;
 * its session may live on when a module keeps it (h_stop ends it). */
void h_disconnect(struct hs **take, bool clean);
/* The server closed the stream: the condition, "" for none; NULL: still open. */
const char *h_closed(const struct hs *s);
/* Checks that it has, with that condition ("" for none), and forgets the client. */
void h_expect_closed(struct hs **take, const char *condition);

/* A client that reads nothing more: what the server writes is kept back, with its receipt, until
 * h_flow. */
void h_stall(struct hs *s);
void h_flow(struct hs *s);
/* A connection that is broken without the server knowing: writes fail with GR_ECANCELED. */
void h_break(struct hs *s);
/* Stanzas of the client that are still being handled; calls of session_out.resume so far. */
unsigned h_unhandled(const struct hs *s);
unsigned h_resumed(const struct hs *s);

struct gr_session *h_session(const struct hs *s); /* NULL once ended; its loop is entered */
const struct gr_jid *h_jid(const struct hs *s);
const char *h_full(const struct hs *s);           /* the JID as text */

/* --- what arrived --- */

/* Next stanza, as parsed from the text that the server wrote; NULL: none. Borrowed until the client
 * goes. h_peek leaves it there. */
struct gr_stanza *h_next(struct hs *s);
struct gr_stanza *h_peek(struct hs *s);
unsigned h_count(const struct hs *s);
void h_drop_all(struct hs *s); /* throws away what arrived so far */

/* The next one is of that kind, and (each unless NULL, or GR_TYPE_INVALID for the type) of that
 * type and from that address. Returns it. */
struct gr_stanza *h_expect(struct hs *s, enum gr_kind kind, enum gr_type type, const char *from);
/* The next one looks like the pattern: an element in which the order of attributes does not matter
 * and GR_NS_CLIENT is the default namespace;
 *   attr='*'     any value, but there
 *   >*<          any text
 *   _='more'     further attributes and children are allowed, children stand in any order
 *   _='any'      as 'more', and the text does not matter
 * White space between elements of the pattern is ignored. */
struct gr_stanza *h_expect_xml(struct hs *s, const char *pattern);
struct gr_stanza *h_expect_xmlf(struct hs *s, const char *fmt, ...) GR_PRINTF(2, 3);
/* One of the stanzas waiting looks like it; it is taken out. For orders that nobody promises. */
struct gr_stanza *h_expect_among(struct hs *s, const char *pattern);
/* The next one is an error of that kind with that condition. */
struct gr_stanza *h_expect_error(struct hs *s, enum gr_kind kind, enum gr_cond cond,
                                 const char *from);
/* The next one is a message with that body. */
struct gr_stanza *h_expect_body(struct hs *s, const char *from, const char *body);
void h_expect_nothing(struct hs *s);

/* The pattern language for any stanza. */
bool h_matches(const struct gr_stanza *st, const char *pattern);
void h_assert_xml(const struct gr_stanza *st, const char *pattern);

/* --- cmocka --- */

/* int main(void) { return H_RUN("roster", cases); } */
#define H_RUN(name, cases) cmocka_run_group_tests_name(name, cases, NULL, NULL)
/* A JID for the time until h_stop. */
const struct gr_jid *h_parse_jid(struct h *h, const char *text);
