/* tests/mod/test_sessiondb.c: mod_sessiondb: rows follow the sessions, whose row is believed. */
#include "session_asks.h"

#include "loop/loop.h"
#include "mod/node.h"
#include "store/commit.h"
#include "store/store.h"

/* --- mod_sessiondb --- */

#define DB "[host localhost]\n[mod_presence]\n[mod_sessiondb]\n"

struct looking {
    struct store_req req;
    size_t rows;
    char text[512];
};

/* server, resource, available, session kept; "-" between rows */
static void on_rows(struct store_req *req)
{
    struct looking *l = GR_CONTAINER_OF(req, struct looking, req);

    for (size_t i = 0; req->rows.rc == 0 && i < req->rows.count; i++) {
        const struct gr_row *r = &req->rows.row[i];
        const char *val = r->val;
        snprintf(l->text + strlen(l->text), sizeof(l->text) - strlen(l->text), "%.*s(%s,%d) ",
                 (int)r->key_len, (const char *)r->key, val + 27, val[1]);
    }
}

static const char *rows_now(struct h *h, const char *bare)
{
    static struct looking l;

    l = (struct looking){ .req.done = on_rows };
    h_enter(h, bare);
    store_range(&l.req, store_coll("sessiondb", GR_COLL_MAP), bare, NULL, 0, 100);
    h_run(h);
    return l.text;
}

/* When what was to be written later has been. */
static const char *rows_of(struct h *h, const char *bare)
{
    h_advance(h, 1000);
    return rows_now(h, bare);
}

static void on_count(struct store_req *req)
{
    GR_CONTAINER_OF(req, struct looking, req)->rows = req->rows.count;
}

static size_t index_rows(struct h *h, const char *server)
{
    struct looking l = { .req.done = on_count };

    h_enter(h, "localhost");
    store_count(&l.req, store_coll("sessiondb_index", GR_COLL_MAP), server);
    h_run(h);
    return l.rows;
}

/* Of a server that is not this one, or of this one's process that died: as the module writes it. */
static void put_row(struct h *h, const char *server, const char *bare, const char *resource,
                    bool login_long_ago)
{
    struct store_txn *t = store_txn_new();
    char val[64] = { 1, 1, (char)128 }, key[128], login[8] = { 0 };
    size_t server_len = strlen(server) + 1, bare_len = strlen(bare) + 1;

    if (!login_long_ago)
        val[11] = login[0] = 0x7f;
    memcpy(val + 27, server, server_len);
    memcpy(key, bare, bare_len);
    memcpy(key + bare_len, resource, strlen(resource));
    h_enter(h, bare);
    store_txn_add(t, STORE_PUT, store_coll("sessiondb", GR_COLL_MAP), bare, resource,
                  strlen(resource), val, 27 + server_len);
    store_txn_add(t, STORE_PUT, store_coll("sessiondb_index", GR_COLL_MAP), server, key,
                  bare_len + strlen(resource), login, sizeof(login));
    store_commit(t, NULL);
    h_run(h);
}

static void rows_follow_the_sessions(void **state)
{
    struct h *h = begin(DB);
    struct hs *s = h_login(h, "bob@localhost/a"), *t = available(h, "bob@localhost/b", 1, "");
    int prio = -1;

    (void)state;
    assert_string_equal(gr_provider_name(gr_mod_host(h_mod(h, "t", "localhost")),
                                         GR_PROVIDER_SESSION, &prio), "sessiondb");
    assert_int_equal(prio, GR_PROVIDER_STORAGE_PRIO);
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) b(local,1) ");
    assert_int_equal(index_rows(h, "local"), 2);
    h_send(s, "<presence/>");
    h_send(t, "<presence type='unavailable'/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) b(local,0) ");
    h_disconnect(&s, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "b(local,0) ");
    h_disconnect(&t, false);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    assert_int_equal(index_rows(h, "local"), 0);
    h_stop(&h);
}

/* Presences are written once a second, together; answers do not wait for that. */
static void presences_are_written_later(void **state)
{
    struct h *h = begin(DB);
    struct hs *s = h_login(h, "bob@localhost/a"), *t = h_login(h, "bob@localhost/b");
    uint64_t commits = batch_stats.commits, ops = batch_stats.ops;

    (void)state;
    for (int i = 0; i < 20; i++) {
        h_sendf(s, "<presence><priority>%d</priority></presence>", i);
        h_send(t, "<presence/>");
    }
    assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "bob@localhost"),
                        "ok bob@localhost/a:19 bob@localhost/b:0");
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,0) b(local,0) ");
    h_advance(h, 998);
    assert_int_equal(batch_stats.commits - commits, 0);
    h_advance(h, 2);
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,1) b(local,1) ");
    assert_int_equal(batch_stats.commits - commits, 1);
    assert_int_equal(batch_stats.ops - ops, 2);
    h_advance(h, 5000); /* nothing changes, nothing is written */
    assert_int_equal(batch_stats.commits - commits, 1);
    h_send(s, "<presence><show>away</show></presence>");
    h_disconnect(&s, true);
    assert_string_equal(rows_now(h, "bob@localhost"), "b(local,1) "); /* at once, and for good */
    assert_string_equal(rows_of(h, "bob@localhost"), "b(local,1) ");
    h_disconnect(&t, true);
    h_stop(&h);
}

/* At the bound they do not wait for their second. */
static void so_many_presences_are_written_now(void **state)
{
    enum { MANY = 1000 };
    struct h *h = begin("[limits]\nsessions_per_account = 1000\n" DB);
    uint64_t ops = 0;
    char full[64];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        h_drop_all(h_login(h, full));
    }
    ops = batch_stats.ops;
    for (int i = 0; i < MANY; i++) {
        struct gr_session *s;

        h_run(h);
        assert_int_equal(batch_stats.ops - ops, 0);
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        h_enter(h, full);
        s = gr_account_session(gr_account_find(NULL, h_parse_jid(h, full)), strchr(full, '/') + 1);
        gr_session_set_presence(NULL, s, NULL, NULL);
    }
    h_run(h);
    assert_int_equal(batch_stats.ops - ops, MANY);
    h_stop(&h);
}

/* Presences of 5 MiB are five transactions, not one: the committer takes up to 4 MiB at once, and
 * what others write need not wait for the rest. */
static void large_presences_are_written_in_parts(void **state)
{
    enum { MANY = 80, SIZE = 64 * 1024 };
    struct h *h = begin("[limits]\nsessions_per_account = 80\n" DB);
    struct gr_stanza *st = gr_presence_new(GR_AVAILABLE, NULL, NULL);
    char *text = gr_alloc(SIZE + 1), full[64];
    uint64_t commits, ops;

    (void)state;
    memset(text, 'x', SIZE);
    gr_el_add_text(st, NULL, NULL, "status", text);
    for (int i = 0; i < MANY; i++) {
        snprintf(full, sizeof(full), "bob@localhost/%d", i);
        h_drop_all(h_login(h, full));
    }
    h_enter(h, "bob@localhost");
    for (int i = 0; i < MANY; i++) {
        snprintf(full, sizeof(full), "%d", i);
        gr_session_set_presence(NULL, gr_account_session(gr_account_find(NULL, h_parse_jid(
                                    h, "bob@localhost")), full), st, NULL);
    }
    h_run(h);
    commits = batch_stats.commits;
    ops = batch_stats.ops;
    h_advance(h, 1000);
    assert_int_equal(batch_stats.ops - ops, MANY);
    assert_int_equal(batch_stats.commits - commits, 2);
    gr_stanza_unref(&st);
    gr_free(text);
    h_stop(&h);
}

/* The module goes or a new version comes: what waits is written before. */
static void what_waits_is_written_at_a_reload(void **state)
{
    struct h *h = begin(DB);
    struct hs *s = available(h, "bob@localhost/a", 1, "");

    (void)state;
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,0) ");
    h_reload(h, "[host localhost]\n[mod_presence]\n", NULL);
    assert_string_equal(rows_now(h, "bob@localhost"), "a(local,1) ");
    h_disconnect(&s, true);
    h_stop(&h);
}

/* A row that says otherwise than the session table, of this server or of another one. */
static void whose_row_is_believed(void **state)
{
    struct h *h = begin(DB);

    (void)state;
    put_row(h, "local", "bob@localhost", "ghost", true);
    put_row(h, "other", "bob@localhost", "there", true);
    available(h, "bob@localhost/here", 4, "");
    assert_string_equal(ask(h, GR_SESSION_GET_ALL_RESOURCES, "bob@localhost"),
                        "ok bob@localhost/here:4 bob@localhost/there:0");
    assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/ghost"), "none");
    assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/there"),
                        "ok bob@localhost/there:0");
    h_stop(&h);
}

/* The new session's row is not the old one's to change or delete. */
static void a_replaced_session_leaves_the_row_alone(void **state)
{
    struct h *h = begin(DB);
    struct hs *old = available(h, "bob@localhost/a", 1, "old"),
              *s = h_login(h, "bob@localhost/a");

    (void)state;
    h_expect_closed(&old, "conflict");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) ");
    h_send(s, "<presence><status>new</status></presence>");
    assert_string_equal(ask(h, GR_SESSION_GET_PRESENCE, "bob@localhost/a"),
                        "ok bob@localhost/a:0:new");
    h_disconnect(&s, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    h_stop(&h);
}

static void another_servers_resource_is_in_use(void **state)
{
    struct h *h = begin(DB);

    (void)state;
    put_row(h, "other", "bob@localhost", "a", true);
    struct hs *s = h_connect(h, "bob@localhost");
    assert_int_equal(h_bind(s, "a"), GR_COND_NONE);
    assert_string_not_equal(h_jid(s)->resource, "a"); /* another one was found */
    assert_string_equal(ask(h, GR_SESSION_GET_RESOURCE, "bob@localhost/a"), "ok");
    h_restart(h); /* what is not ours stays */
    assert_string_equal(rows_of(h, "bob@localhost"), "a(other,1) ");
    assert_string_equal(ask(h, GR_SESSION_KILL_RESOURCE, "bob@localhost/a"), "ok");
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    assert_int_equal(index_rows(h, "other"), 0);
    h_login(h, "bob@localhost/a");
    h_stop(&h);
}

/* Two at once want what a third has: both find another one, and each has its row. */
static void two_want_another_servers_resource(void **state)
{
    struct h *h = begin(DB);
    const char *rows;

    (void)state;
    put_row(h, "other", "bob@localhost", "a", true);
    struct hs *one = h_connect(h, "bob@localhost"), *two = h_connect(h, "bob@localhost");
    h_hold_store(h, true);
    assert_int_equal(h_bind(one, "a"), (enum gr_cond)-1);
    assert_int_equal(h_bind(two, "a"), (enum gr_cond)-1);
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(h_bound(one), GR_COND_NONE);
    assert_int_equal(h_bound(two), GR_COND_NONE);
    h_send(one, "<presence/>");
    h_send(two, "<presence/>");
    rows = strstr(rows_of(h, "bob@localhost"), "(local,1)");
    assert_non_null(rows);
    assert_non_null(strstr(rows + 1, "(local,1)"));
    h_disconnect(&one, true);
    h_disconnect(&two, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "a(other,1) ");
    h_stop(&h);
}

static bool closed_to_new;

static enum gr_verdict on_open(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self, (void)ev;
    return closed_to_new ? GR_STOP : GR_OK;
}

static const struct gr_hook open_hooks[] = { GR_ON(user_open_session, 1, on_open), GR_HOOK_END };

/* Somebody who would have replaced it is not let in: the row is again that of who was there. */
static void a_successor_that_is_refused(void **state)
{
    (void)state;
    watched = open_hooks;
    closed_to_new = false;
    struct h *h = begin(DB);
    struct hs *there = available(h, "bob@localhost/a", 1, ""), *late;

    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    closed_to_new = true;
    late = h_connect(h, "bob@localhost");
    assert_int_equal(h_bind(late, "a"), GR_NOT_ALLOWED);
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    assert_int_equal(index_rows(h, "local"), 1);
    h_send(there, "<presence type='unavailable'/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) ");
    h_disconnect(&there, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    assert_int_equal(index_rows(h, "local"), 0);
    h_stop(&h);
}

static enum gr_verdict on_cleanup(struct gr_mod *self, struct gr_session_ev *ev)
{
    assert_ptr_equal(ev->ev.host, gr_mod_host(self));
    assert_true(gr_is_home(ev->jid));
    assert_null(ev->session);
    note("gone(%s) ", ev->jid->full);
    return GR_OK;
}

static const struct gr_hook cleanup_hooks[] = { GR_ON(session_cleanup, 1, on_cleanup),
                                                GR_HOOK_END };

/* More than one page; what is not ours, or younger than we are, stays. */
static void stale_rows_go_at_the_start(void **state)
{
    struct h *h = begin(DB);
    char bare[32];

    (void)state;
    for (int i = 0; i < 1200; i++) {
        snprintf(bare, sizeof(bare), "user%d@localhost", i);
        put_row(h, "local", bare, "x", true);
    }
    put_row(h, "local", "young@localhost", "x", false);
    put_row(h, "another", "bob@localhost", "x", true);
    put_row(h, "local2", "bob@localhost", "y", true);
    assert_int_equal(index_rows(h, "local"), 1201);
    h_restart(h);
    assert_int_equal(index_rows(h, "local"), 1);
    assert_string_equal(rows_of(h, "user0@localhost"), "");
    assert_string_equal(rows_of(h, "user1199@localhost"), "");
    assert_string_equal(rows_of(h, "young@localhost"), "x(local,1) ");
    assert_string_equal(rows_of(h, "bob@localhost"), "x(another,1) y(local2,1) ");
    assert_non_null(strstr(h_log(h), "sessiondb.purged"));
    h_stop(&h);
}

static void count_done(void *arg)
{
    ++*(int *)arg;
}

/* Twice at once, and once more: the rows go, their hosts hear of it; the living keep theirs. */
static void a_server_is_said_to_be_dead(void **state)
{
    watched = cleanup_hooks;
    struct h *h = begin(DB "[host two.example]\n[host three.example]\n"
                        "[mod_sessiondb three.example]\nenabled = no\n");
    struct hs *s = available(h, "bob@localhost/a", 1, "");
    const char *id[] = { "other", "local", "local" };
    int done = 0;

    (void)state;
    put_row(h, "other", "bob@localhost", "b", false);
    for (int i = 0; i < 2; i++) {
        loop_enter(loop_at(0));
        node_cleanup("other", count_done, &done);
    }
    h_run(h);
    assert_int_equal(done, 2);
    assert_true(strstr(trace, "gone(bob@localhost/b) ") == trace);
    trace[0] = '\0';
    put_row(h, "other", "carol@two.example", "c", true);
    put_row(h, "other", "carol@three.example", "c", true); /* no such module there */
    put_row(h, "other", "carol@gone.example", "c", true);
    for (size_t i = 0; i < GR_COUNT(id); i++) {
        loop_enter(loop_at(0));
        node_cleanup(id[i], count_done, &done);
        h_run(h);
    }
    assert_int_equal(done, 5);
    expect_trace("gone(carol@two.example/c) ");
    assert_int_equal(index_rows(h, "other"), 0);
    assert_string_equal(rows_of(h, "carol@three.example"), "");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    h_disconnect(&s, true);
    h_stop(&h);
}

/* The chain waits: nobody connects before the rows are gone. */
static void a_purge_waits_for_the_disk(void **state)
{
    struct h *h = begin(DB);
    int done = 0;

    (void)state;
    put_row(h, "other", "bob@localhost", "b", true);
    h_hold_store(h, true);
    loop_enter(loop_at(0));
    node_cleanup("other", count_done, &done);
    h_run(h);
    assert_int_equal(done, 0);
    h_hold_store(h, false);
    assert_int_equal(done, 1);
    assert_int_equal(index_rows(h, "other"), 0);
    h_stop(&h);
}

/* Of a start that did not wait for the purge: it is taken over. */
static void a_stale_row_is_no_obstacle(void **state)
{
    struct h *h = begin(DB);

    (void)state;
    put_row(h, "local", "bob@localhost", "a", true);
    struct hs *s = h_login(h, "bob@localhost/a");
    h_send(s, "<presence/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    h_stop(&h);
}

/* Enabled while sessions are there: each gets its row with its next presence. */
static void sessions_older_than_the_module(void **state)
{
    struct h *h = begin("[host localhost]\n[mod_presence]\n");
    struct hs *early = available(h, "bob@localhost/early", 2, "");

    (void)state;
    h_reload(h, DB, NULL);
    struct hs *s = available(h, "bob@localhost/a", 3, "");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) ");
    h_send(early, "<presence/>"); /* older than the module: from its next presence on */
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,1) early(local,1) ");
    h_send(s, "<presence type='unavailable'/>");
    assert_string_equal(rows_of(h, "bob@localhost"), "a(local,0) early(local,1) ");
    h_disconnect(&s, true);
    h_disconnect(&early, true);
    assert_string_equal(rows_of(h, "bob@localhost"), "");
    h_stop(&h);
}

static void a_store_that_waits(void **state)
{
    struct h *h = begin(DB "[mod_ping]\n");
    struct hs *bob = h_connect(h, "bob@localhost"), *carol = h_login(h, "carol@localhost/c");

    (void)state;
    h_hold_store(h, true);
    assert_int_equal(h_bind(bob, "b"), (enum gr_cond)-1); /* in the table when it is on disk */
    h_iq_result(carol, "get", "localhost", PING, NULL);
    h_hold_store(h, false);
    assert_int_equal(h_bound(bob), GR_COND_NONE);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(rows_follow_the_sessions),
        cmocka_unit_test(presences_are_written_later),
        cmocka_unit_test(so_many_presences_are_written_now),
        cmocka_unit_test(large_presences_are_written_in_parts),
        cmocka_unit_test(what_waits_is_written_at_a_reload),
        cmocka_unit_test(whose_row_is_believed),
        cmocka_unit_test(a_replaced_session_leaves_the_row_alone),
        cmocka_unit_test(another_servers_resource_is_in_use),
        cmocka_unit_test(a_successor_that_is_refused),
        cmocka_unit_test(two_want_another_servers_resource),
        cmocka_unit_test(stale_rows_go_at_the_start),
        cmocka_unit_test(a_server_is_said_to_be_dead),
        cmocka_unit_test(a_purge_waits_for_the_disk),
        cmocka_unit_test(a_stale_row_is_no_obstacle),
        cmocka_unit_test(sessions_older_than_the_module),
        cmocka_unit_test(a_store_that_waits),
    };

    return H_RUN("sessiondb", cases);
}
