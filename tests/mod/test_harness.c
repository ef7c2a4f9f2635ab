/* tests/mod/test_harness.c: the harness itself: what its patterns accept and refuse, virtual time,
 * the store that commits when told to, restarts, reloads. */
#include "harness.h"

#include "loop/loop.h"

/* --- patterns --- */

static bool fits(const char *xml, const char *pattern)
{
    struct gr_stanza *st;

    assert_int_equal(gr_stanza_parse(xml, strlen(xml), &st), 0);
    bool yes = h_matches(st, pattern);
    gr_stanza_unref(&st);
    return yes;
}

#define MESSAGE "<message from='a@x' to='b@y' id='1'><body>hi</body><x xmlns='n' k='v'/></message>"

static void test_patterns(void **state)
{
    (void)state;
    assert_true(fits(MESSAGE, MESSAGE));
    assert_true(fits(MESSAGE, "<message id='*' to='b@y' from='a@x'> <body>*</body>\n"
                              " <x k='v' xmlns='n'/> </message>"));
    assert_false(fits(MESSAGE, "<iq from='a@x' to='b@y' id='1'/>"));
    assert_false(fits(MESSAGE, "<message to='b@y' from='a@x'><body>hi</body><x k='v' xmlns='n'/>"
                               "</message>")); /* an attribute too many */
    assert_false(fits(MESSAGE, "<message id='1' to='b@y' from='a@x' type='*'><body>hi</body>"
                               "<x k='v' xmlns='n'/></message>")); /* one missing */
    assert_false(fits(MESSAGE, "<message id='2' to='b@y' from='a@x'><body>hi</body>"
                               "<x k='v' xmlns='n'/></message>"));
    assert_false(fits(MESSAGE, "<message id='1' to='b@y' from='a@x'><body>ho</body>"
                               "<x k='v' xmlns='n'/></message>"));
    assert_false(fits(MESSAGE, "<message id='1' to='b@y' from='a@x'><body>hi</body>"
                               "<x k='v' xmlns='m'/></message>")); /* another namespace */
    assert_false(fits(MESSAGE, "<message id='1' to='b@y' from='a@x'><body>hi</body></message>"));
    assert_false(fits(MESSAGE, "<message id='1' to='b@y' from='a@x'><x k='v' xmlns='n'/>"
                               "<body>hi</body></message>")); /* the order counts */
}

static void test_loose_patterns(void **state)
{
    (void)state;
    assert_true(fits(MESSAGE, "<message _='more'/>"));
    assert_true(fits(MESSAGE, "<message _='more' id='1'><x k='v' xmlns='n'/><body>hi</body>"
                              "</message>"));
    assert_false(fits(MESSAGE, "<message _='more' id='2'/>"));
    assert_false(fits(MESSAGE, "<message _='more'><body>ho</body></message>"));
    assert_false(fits(MESSAGE, "<message _='more'><x xmlns='n'/></message>")); /* only the root */
    assert_true(fits(MESSAGE, "<message _='more'><x xmlns='n' _='more'/></message>"));
    assert_false(fits(MESSAGE, "<message _='more'><body>hi</body><body>hi</body></message>"));
    assert_true(fits("<a>t<b/></a>", "<a _='any'><b/></a>"));
    assert_false(fits("<a>t<b/></a>", "<a _='more'><b/></a>"));
    assert_false(fits("<a/>", "<a _='whatever'/>"));
}

/* --- the server --- */

static const struct gr_coll kept[] = { GR_MAP("test_kept"), GR_COLL_END };
static int done_rc;
static size_t found;

static void on_done(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req;
    done_rc = rows->rc;
    found = rows->count;
}

static const struct gr_module storer = { .name = "storer", .summary = "test",
                                         .collections = kept };

static void put(struct h *h)
{
    struct gr_mod *self = h_mod(h, "storer", "localhost");
    struct gr_txn *t = gr_txn_new(self);

    done_rc = 1;
    gr_txn_put(t, kept, "localhost", "k", 1, "v", 1);
    gr_txn_commit(t, gr_req_new(self, 0, on_done));
    h_run(h);
}

static void get(struct h *h)
{
    struct gr_mod *self = h_mod(h, "storer", "localhost");

    done_rc = 1;
    gr_store_get(gr_req_new(self, 0, on_done), kept, "localhost", "k", 1);
    h_run(h);
}

static void test_store_commits_when_told(void **state)
{
    (void)state;
    h_module(&storer);
    struct h *h = h_start(NULL);
    h_hold_store(h, true);
    put(h);
    assert_int_equal(done_rc, 1);
    h_advance(h, 10000);
    assert_int_equal(done_rc, 1);
    h_commit(h);
    assert_int_equal(done_rc, 0);
    h_hold_store(h, false);
    put(h);
    assert_int_equal(done_rc, 0);
    h_stop(&h);
    h_module(&storer); /* the next server knows nothing of it */
    h = h_start(NULL);
    get(h);
    assert_int_equal(done_rc, GR_ENOENT);
    h_stop(&h);
}

static void test_restart_keeps_the_store(void **state)
{
    (void)state;
    h_module(&storer);
    struct h *h = h_start(NULL);
    h_user(h, "alice@localhost");
    h_login(h, "alice@localhost/phone");
    put(h);
    h_restart(h);
    h_enter(h, "alice@localhost");
    assert_null(gr_account_find(NULL, h_parse_jid(h, "alice@localhost")));
    get(h);
    assert_int_equal(done_rc, 0);
    assert_int_equal(found, 1);
    assert_int_equal(h_user_create(h, "alice@localhost", "pw"), GR_R_FALSE); /* still there */
    h_stop(&h);
}

static void test_accounts(void **state)
{
    (void)state;
    struct h *h = h_start(NULL);
    h_user(h, "alice@localhost");
    assert_int_equal(h_user_create(h, "alice@localhost", "x"), GR_R_FALSE);
    assert_int_equal(h_user_create(h, "bob@localhost", "x"), GR_R_OK);
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_OK);
    assert_int_equal(h_user_delete(h, "bob@localhost"), GR_R_NONE);
    const char *near = h_user_near(h, "alice@localhost", true);
    assert_int_equal(h_home(h, near), h_home(h, "alice@localhost"));
    const char *far = h_user_near(h, "alice@localhost", false);
    assert_true(h_loops(h) == 1 || h_home(h, far) != h_home(h, "alice@localhost"));
    h_stop(&h);
}

static void test_commands(void **state)
{
    (void)state;
    struct h *h = h_start("[host localhost]\nscram_iterations = 4096\n");
    assert_string_equal(h_command(h, "user list localhost"), "");
    assert_string_equal(h_command(h, "user add alice@localhost --password x"), "");
    assert_string_equal(h_command(h, "user add bob@localhost --password y"), "");
    assert_string_equal(h_command(h, "user list localhost"),
                        "jid=alice@localhost admin=no\njid=bob@localhost admin=no");
    assert_int_equal(h_user_check(h, "alice@localhost", "x"), GR_R_OK);
    assert_int_equal(h_user_check(h, "alice@localhost", "y"), GR_R_FALSE);
    assert_string_equal(h_command(h, "user add alice@localhost --password x"),
                        "error: alice@localhost exists already");
    assert_non_null(strstr(h_command(h, "no such thing"), "error: unknown command"));
    h_stop(&h);
}

static void test_configuration(void **state)
{
    char *errors;

    (void)state;
    assert_null(h_start_try("[host localhost]\nno_such_option = 1\n", &errors));
    assert_non_null(strstr(errors, "test.ini:2"));
    gr_free(errors);
    assert_null(h_start_try("[host localhost]\n[mod_does_not_exist]\n", &errors));
    assert_non_null(strstr(errors, "mod_does_not_exist"));
    gr_free(errors);
    struct h *h = h_start("[host localhost]\n");
    struct hs *c = h_login(h, "alice@localhost/x");
    assert_int_equal(h_reload(h, "[host localhost]\nno_such_option = 1\n", &errors), GR_EINVAL);
    gr_free(errors);
    assert_int_equal(h_reload(h, "[host localhost]\nmax_sessions = 7\n", &errors), 0);
    assert_non_null(strstr(errors, "max_sessions"));
    gr_free(errors);
    assert_null(h_closed(c));
    h_stop(&h);
}

static void fire(struct gr_mod *self, struct gr_timer *t)
{
    (void)self, (void)t;
    done_rc++;
}

static void test_virtual_time(void **state)
{
    struct gr_timer t = { .self = NULL };

    (void)state;
    h_module(&storer);
    struct h *h = h_start(NULL);
    int64_t start = gr_now_ms();
    done_rc = 0;
    gr_timer_start(h_mod(h, "storer", "localhost"), &t, 7 * 24 * 3600 * 1000LL, fire);
    h_advance(h, 7 * 24 * 3600 * 1000LL - 1);
    assert_int_equal(done_rc, 0);
    h_advance(h, 1);
    assert_int_equal(done_rc, 1);
    assert_int_equal(gr_now_ms() - start, 7 * 24 * 3600 * 1000LL);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_loose_patterns),
        cmocka_unit_test(test_store_commits_when_told),
        cmocka_unit_test(test_restart_keeps_the_store),
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_virtual_time),
    };

    return H_RUN("harness", cases);
}
