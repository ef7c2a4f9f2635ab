/* tests/mod/test_api.c: calls for modules that no module of the tree needs: sessions of this loop,
 * refusing a stanza, providers that are complete, counters in the store, commands that outlive a
 * module. */
#include "harness.h"

#include "command.h"
#include "loop/loop.h"
#include "mod/instance.h"

#include <stdio.h>

#define ROSTER "<query xmlns='jabber:iq:roster'>"

/* --- gr_each_session --- */

static void count(struct gr_mod *self, struct gr_session *s, void *ctx)
{
    assert_ptr_equal(gr_session_host(s), gr_mod_host(self));
    assert_int_equal(gr_session_state(s), GR_S_BOUND);
    assert_true(gr_is_home(gr_session_jid(s)));
    ++*(int64_t *)ctx;
}

static void run_count(struct gr_mod *self, struct gr_cmd *cmd)
{
    int64_t n = 0;

    gr_each_session(self, count, &n);
    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "sessions", n);
    gr_cmd_done(cmd);
}

static void close_it(struct gr_mod *self, struct gr_session *s, void *ctx)
{
    (void)ctx;
    gr_session_close(self, s, "policy-violation", NULL, true);
}

static void run_close(struct gr_mod *self, struct gr_cmd *cmd)
{
    gr_each_session(self, close_it, NULL);
    gr_cmd_done(cmd);
}

/* Of each row. */
static int numbers(const char *text, const char *name)
{
    int sum = 0;

    while ((text = strstr(text, name)) != NULL)
        sum += atoi(text += strlen(name));
    return sum;
}

/* One row more on the first loop than on the others. */
static void run_rows(struct gr_mod *self, struct gr_cmd *cmd)
{
    (void)self;
    for (int i = loop_index(loop_self()) == 0 ? 2 : 1; i > 0; i--) {
        gr_cmd_row(cmd);
        gr_cmd_number(cmd, "n", 1);
    }
    gr_cmd_done(cmd);
}

/* At most two at a time, and one that is of this host. */
struct part {
    int64_t seen, calls;
    char jids[512];
};

static bool see_one(struct gr_mod *self, struct gr_session *s, void *ctx)
{
    struct part *p = ctx;
    const char *jid = gr_session_jid(s)->full;

    assert_ptr_equal(gr_session_host(s), gr_mod_host(self));
    assert_null(strstr(p->jids, jid)); /* nobody twice */
    strcat(strcat(p->jids, jid), " ");
    p->seen++;
    return false;
}

static void run_some(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct part p = { .seen = 0 };
    uint64_t at = 0;
    bool more;

    do {
        more = gr_some_sessions(self, &at, 2, see_one, &p);
        p.calls++;
    } while (more);
    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "sessions", p.seen);
    gr_cmd_number(cmd, "calls", p.calls);
    gr_cmd_done(cmd);
}

static const struct gr_arg domain[] = { GR_ARG(domain, JID, "a host"), GR_ARG_END };
static const struct gr_command commands[] = {
    { "each count", "counts", domain, GR_RUN_ALL, run_count },
    { "each some", "counts", domain, GR_RUN_ALL, run_some },
    { "each rows", "has several", domain, GR_RUN_ALL, run_rows },
    { "each close", "closes", domain, GR_RUN_ALL, run_close },
    GR_COMMAND_END
};

static enum gr_verdict refuse(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *body = gr_stanza_child(ev->stanza, NULL, "body");

    if (body != NULL && strcmp(gr_el_text(body, NULL), "bad") == 0)
        return gr_ev_refuse(self, ev, GR_NOT_ACCEPTABLE, "no");
    return GR_OK;
}

static enum gr_verdict refuse_sent(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    return gr_stanza_child(ev->stanza, "urn:test", "sent") != NULL ? refuse(self, ev) : GR_OK;
}

static enum gr_verdict refuse_received(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    return gr_stanza_child(ev->stanza, "urn:test", "sent") == NULL ? refuse(self, ev) : GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_POLICY, refuse_sent),
    GR_ON(user_receive_message, GR_PRIO_POLICY, refuse_received),
    GR_HOOK_END
};
static const struct gr_module each = { .name = "each", .summary = "test", .hooks = hooks,
                                       .commands = commands };

static void sessions_of_a_host(void **state)
{
    struct hs *s[8];
    char jid[64];

    (void)state;
    h_module(&each);
    struct h *h = h_start("[host localhost]\n[host other.test]\n");
    for (int i = 0; i < 8; i++) {
        snprintf(jid, sizeof(jid), "u%d@%s/r", i, i < 5 ? "localhost" : "other.test");
        s[i] = h_login(h, jid);
    }
    h_connect(h, "u0@localhost"); /* nobody yet */
    assert_string_equal(h_command(h, "each count localhost"), "sessions=5");
    assert_string_equal(h_command(h, "each count other.test"), "sessions=3");
    /* five on one loop: one each time, and at most one call more than there are sessions */
    const char *some = h_command(h, "each some localhost");
    assert_int_equal(numbers(some, "sessions="), 5);
    assert_true(h_loops(h) > 1 || numbers(some, "calls=") <= 9);
    h_command(h, "each close localhost");
    h_run(h);
    for (int i = 0; i < 5; i++)
        h_expect_closed(&s[i], "policy-violation");
    assert_null(h_closed(s[5]));
    assert_string_equal(h_command(h, "each count localhost"), "sessions=0");
    h_stop(&h);
}

/* --- gr_ev_refuse --- */

#define SENT "<sent xmlns='urn:test'/>"
#define REFUSED "<message type='error' from='%s' to='%s' id='1'><error type='modify'>"  \
                "<not-acceptable xmlns='" GR_NS_STANZAS "'/>"                           \
                "<text xmlns='" GR_NS_STANZAS "' xml:lang='en'>no</text></error></message>"

static void rows_of_all_loops(void **state)
{
    unsigned rows = 0;

    (void)state;
    h_module(&each);
    struct h *h = h_start(NULL);
    for (const char *p = h_command(h, "each rows localhost"); (p = strstr(p, "n=1")) != NULL; p++)
        rows++;
    assert_int_equal(rows, (unsigned)h_loops(h) + 1); /* nothing is added up */
    h_stop(&h);
}

static void refused_stanzas_are_answered(void **state)
{
    (void)state;
    h_module(&each);
    struct h *h = h_start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob = h_login(h, "bob@localhost/b");

    h_set_available(bob, 0);
    h_send(alice, "<message to='bob@localhost' id='1'><body>bad</body>" SENT "</message>");
    h_expect_xmlf(alice, REFUSED, "bob@localhost", h_full(alice));
    h_send(alice, "<message id='1'><body>bad</body>" SENT "</message>");
    h_expect_xmlf(alice, REFUSED, "alice@localhost", h_full(alice));
    h_send(alice, "<message to='bob@localhost/b' id='1'><body>bad</body></message>");
    h_expect_xmlf(alice, REFUSED, "bob@localhost/b", h_full(alice));
    h_send(alice, "<message to='bob@localhost/b' id='1' type='error'><body>bad</body></message>");
    h_expect_nothing(alice);
    h_expect_nothing(bob);
    assert_int_equal(h_unhandled(alice), 0);
    h_send(alice, "<message to='bob@localhost/b'><body>good</body></message>");
    h_expect_body(bob, "alice@localhost/a", "good");
    h_stop(&h);
}

/* --- gr_receipt_take --- */

static struct gr_receipt *receipts[2];

static enum gr_verdict take_receipt(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    receipts[0] = gr_receipt_take(&ev->ev);
    return GR_OK;
}

static enum gr_verdict take_another(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    receipts[1] = gr_receipt_take(&ev->ev);
    return GR_DROP;
}

static const struct gr_hook receipt_hooks[] = {
    GR_ON(user_send_message, GR_PRIO_NORMAL, take_receipt),
    GR_ON(filter_local_packet, GR_PRIO_NORMAL, take_another),
    GR_HOOK_END
};
static const struct gr_module taking = { .name = "taking", .summary = "test",
                                         .hooks = receipt_hooks };

static void a_stanza_waits_for_its_receipts(void **state)
{
    (void)state;
    h_module(&taking);
    struct h *h = h_start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");

    h_send(alice, "<message to='bob@localhost'><body>1</body></message>");
    assert_int_equal(h_unhandled(alice), 1);
    gr_receipt_give(&receipts[1]);
    h_run(h);
    assert_null(receipts[1]);
    assert_int_equal(h_unhandled(alice), 1);
    gr_receipt_give(&receipts[0]);
    h_run(h);
    assert_int_equal(h_unhandled(alice), 0);
    h_enter(h, "alice@localhost");
    gr_send(h_mod(h, "taking", "localhost"),
            gr_message_new(GR_MSG_CHAT, h_jid(alice), h_parse_jid(h, "bob@localhost")));
    h_run(h);
    assert_null(receipts[1]); /* nobody waits */
    gr_receipt_give(&receipts[1]);
    h_stop(&h);
}

/* --- complete providers --- */

static void get_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *user)
{
    const struct gr_roster_item item = { .jid = gr_mod_host_jid(self), .sub = GR_SUB_BOTH,
                                         .in_roster = true };
    const struct gr_answer a = { .items = &item, .count = 1 };

    (void)inst, (void)user;
    gr_answer(ask, &a);
}

static void get_contact(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user, const struct gr_jid *contact)
{
    const struct gr_answer a = { .after = { .jid = contact, .sub = GR_SUB_BOTH,
                                            .in_roster = true } };

    (void)inst, (void)user;
    if (gr_jid_equal(contact, gr_mod_host_jid(self)))
        gr_answer(ask, &a);
    else
        gr_answer_result(ask, GR_R_NONE);
}

static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    gr_answer_result(ask, GR_R_OK);
}

static void user_state(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user)
{
    (void)self, (void)inst, (void)user;
    gr_answer_result(ask, GR_R_OK);
}

static const struct gr_roster_provider rosters = { .name = "fixed", .complete = true,
                                                   .get_contacts = get_contacts,
                                                   .get_contact = get_contact };
static const struct gr_auth_provider accounts = { .name = "fixed", .complete = true,
                                                  .check_password = check_password,
                                                  .user_state = user_state };

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    return gr_provide_roster(self, &rosters, GR_PROVIDER_DEFAULT_PRIO) == 1 &&
           gr_provide_auth(self, &accounts, GR_PROVIDER_DEFAULT_PRIO) == 1 ? 0 : GR_EEXIST;
}

static const struct gr_module fixed = { .name = "fixed", .summary = "test", .start = start };

static void nothing_below_is_asked(void **state)
{
    (void)state;
    h_module(&fixed);
    struct h *h = h_start("[host localhost]\n[mod_roster]\n[mod_presence]\n");
    struct hs *alice = h_online(h, "alice@localhost/a");

    h_iq_result(alice, "get", NULL, "<query xmlns='jabber:iq:roster'/>",
                ROSTER "<item jid='localhost' subscription='both'/></query>");
    h_iq_error(alice, "set", NULL, ROSTER "<item jid='x@localhost'/></query>", GR_NOT_ALLOWED);
    h_iq_error(alice, "set", NULL, ROSTER "<item jid='localhost' subscription='remove'/></query>",
               GR_NOT_ALLOWED);
    struct hs *x = h_online(h, "x@localhost/x");
    h_send(alice, "<presence type='subscribe' to='x@localhost'/>");
    h_send(alice, "<presence type='subscribe' to='x@remote.example'/>"); /* routed, it comes back */
    h_send(alice, "<presence type='unsubscribe' to='x@remote.example'/>");
    h_expect_nothing(alice);
    h_expect_nothing(x);
    assert_int_equal(h_user_create(h, "new@localhost", "secret"), GR_R_ERROR);
    assert_int_equal(h_user_delete(h, "alice@localhost"), GR_R_ERROR);
    h_stop(&h);
}

/* --- counters in the store --- */

static const struct gr_coll counts[] = { GR_MAP("counts"), GR_COLL_END };
static const struct gr_module counter = {
    .name = "counter", .summary = "test", .collections = counts,
};
static const struct gr_coll not_mine = GR_MAP("not_mine");

struct sums { int rc; size_t count; int64_t sum[2]; };

static void on_sums(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct sums *to = *(struct sums **)gr_req_data(req);

    (void)self;
    to->rc = rows->rc;
    to->count = rows->count;
    for (size_t i = 0; i < rows->count && i < 2; i++)
        to->sum[i] = gr_row_counter(&rows->row[i]);
}

static struct gr_req *sums_to(struct gr_mod *self, struct sums *to)
{
    struct gr_req *req = gr_req_new(self, sizeof(to), on_sums);

    *(struct sums **)gr_req_data(req) = to;
    return req;
}

static void add_at(struct h *h, const char *jid, const struct gr_coll *coll, int64_t n,
                   struct sums *to)
{
    struct gr_mod *self = h_mod(h, "counter", jid);
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_add(t, coll, "localhost", "n", 1, n);
    gr_txn_add(t, coll, "localhost", "each", 4, 1);
    gr_txn_commit(t, sums_to(self, to));
}

/* From two loops, when there are: in one commit, and neither is lost. */
static void counters_of_all_loops(void **state)
{
    (void)state;
    struct sums one, two, all;

    h_module(&counter);
    struct h *h = h_start(NULL);
    const char *far = h_user_near(h, "alice@localhost", false);

    h_hold_store(h, true);
    add_at(h, "alice@localhost", &counts[0], 40, &one);
    add_at(h, far, &counts[0], -2, &two);
    h_hold_store(h, false);
    h_run(h);
    assert_int_equal(one.rc, 0);
    assert_int_equal(two.rc, 0);
    assert_int_equal(one.count, 2);
    assert_int_equal(one.sum[1] + two.sum[1], 3); /* one came first, the other second */
    assert_int_equal(one.sum[1] == 2 ? one.sum[0] : two.sum[0], 38);

    struct gr_mod *self = h_mod(h, "counter", far);
    gr_store_get(sums_to(self, &all), &counts[0], "localhost", "n", 1);
    h_run(h);
    assert_int_equal(all.rc, 0);
    assert_int_equal(all.sum[0], 38);
    add_at(h, far, &counts[0], INT64_MAX, &two);
    h_run(h);
    assert_int_equal(two.rc, GR_ELIMIT);
    add_at(h, far, &not_mine, 1, &two);
    h_run(h);
    assert_int_equal(two.rc, GR_ENOTSUP);
    h_stop(&h);
}

/* --- commands of a module that is replaced --- */

struct later_conf { bool in_stop, other; };
struct later { struct gr_timer timer; struct gr_cmd *cmd; };
static const struct gr_opt later_options[] = {
    GR_OPT_BOOL(struct later_conf, in_stop, false, "stop() ends the command"),
    GR_OPT_BOOL(struct later_conf, other, false, "something else"),
    GR_OPT_END
};

static void later_now(struct gr_mod *self, struct gr_timer *t)
{
    struct later *st = gr_state(self);

    (void)t;
    gr_cmd_row(st->cmd);
    gr_cmd_number(st->cmd, "n", 1);
    gr_cmd_done(st->cmd);
    st->cmd = NULL;
}

static struct gr_cmd *unfinished;

static void run_later(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct later *st = gr_state(self);

    unfinished = st->cmd = cmd;
    gr_timer_start(self, &st->timer, 1000, later_now);
}

static void later_stop(struct gr_mod *self)
{
    const struct later_conf *conf = gr_conf(self);
    struct later *st = gr_state(self);

    if (conf->in_stop && st->cmd != NULL)
        later_now(self, NULL);
}

static const struct gr_arg later_args[] = { GR_ARG(jid, JID, "whose loop"), GR_ARG_END };
static const struct gr_command later_commands[] = {
    { "later", "ends after a second", later_args, GR_RUN_HOME, run_later }, GR_COMMAND_END
};
static const struct gr_module later = {
    .name = "later", .conf_size = sizeof(struct later_conf), .state_size = sizeof(struct later),
    .options = later_options, .commands = later_commands, .stop = later_stop,
};

struct ended { unsigned times; char error[128], rows[64]; };

static void on_end(void *arg, const char *error, const struct buf *result)
{
    struct ended *e = arg;

    e->times++;
    snprintf(e->error, sizeof(e->error), "%s", error != NULL ? error : "");
    snprintf(e->rows, sizeof(e->rows), "%s", buf_len(result) > 4 ? buf_data(result) + 4 : "");
}

static struct h *start_later(const char *ini, struct ended *e)
{
    static const char *const words[] = { "later", "alice@localhost" };
    struct h *h;

    memset(e, 0, sizeof(*e));
    h_module(&later);
    h = h_start(ini);
    h_enter(h, "alice@localhost");
    loop_enter(loop_main());
    command_run(words, 2, on_end, e);
    loop_enter(loop_at(0));
    h_run(h);
    assert_int_equal(e->times, 0);
    return h;
}

static void a_command_that_only_a_timer_would_end(void **state)
{
    struct ended e;
    struct h *h = start_later("[host localhost]\n", &e);
    struct gr_mod *sibling = h_mod(h, "later", h_user_near(h, "alice@localhost", false));
    bool shared = h_loops(h) > 1;

    (void)state;
    if (shared)
        mod_pend(sibling); /* another loop's instance is still there */
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_later]\nother = yes\n", NULL), 0);
    h_advance(h, OWED_MS - 1);
    assert_int_equal(e.times, 0);
    h_advance(h, 1);
    assert_int_equal(e.times, 1);
    assert_string_equal(e.error, "mod_later has gone without finishing \"later\"");
    if (shared) { /* and could still have the pointer */
        h_enter(h, "alice@localhost");
        assert_null(gr_cmd_jid(unfinished, "jid"));
        gr_cmd_row(unfinished);
        gr_cmd_fail(unfinished, "too late");
        gr_cmd_done(unfinished);
        h_run(h);
        assert_int_equal(e.times, 1);
        loop_enter(sibling->loop);
        mod_unpend(sibling);
    }
    h_run(h);
    h_stop(&h);
}

static void a_command_that_stop_ends(void **state)
{
    struct ended e;
    struct h *h = start_later("[host localhost]\n[mod_later]\nin_stop = yes\n", &e);

    (void)state;
    assert_int_equal(h_reload(h, "[host localhost]\n", NULL), 0);
    h_advance(h, OWED_MS);
    assert_int_equal(e.times, 1);
    assert_string_equal(e.error, "");
    assert_string_equal(e.rows, "n:n=1");
    h_stop(&h);
}

/* What has been replaced and waits for something is asked no more. */
static void commands_of_what_has_gone(void **state)
{
    struct ended e;
    struct h *h = start_later("[host localhost]\n", &e);
    unsigned times = 0;

    (void)state;
    loop_enter(loop_at(0));
    struct gr_mod *old = list_entry(host_default()->instances.prev, struct gr_mod, of_host);
    assert_string_equal(gr_mod_name(old), "later");
    mod_pend(old);
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_later]\nother = yes\n", NULL), 0);
    for (const char *p = h_command(h, "help"); (p = strstr(p, "command=later ")) != NULL; p++)
        times++;
    assert_int_equal(times, 1);
    loop_enter(loop_at(0));
    mod_unpend(old);
    h_advance(h, OWED_MS);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(sessions_of_a_host),
        cmocka_unit_test(rows_of_all_loops),
        cmocka_unit_test(refused_stanzas_are_answered),
        cmocka_unit_test(a_stanza_waits_for_its_receipts),
        cmocka_unit_test(nothing_below_is_asked),
        cmocka_unit_test(counters_of_all_loops),
        cmocka_unit_test(a_command_that_only_a_timer_would_end),
        cmocka_unit_test(a_command_that_stop_ends),
        cmocka_unit_test(commands_of_what_has_gone),
    };
    return H_RUN("api", cases);
}
