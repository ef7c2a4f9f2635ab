/* tests/mod/test_usage.c: the processor time of a module's code is the module's, by whatever way it was
 * called, and in nested calls that of the inner one. Real time: the harness's clock stands still. */
#include "harness.h"

#include "metrics.h"
#include "mod/instance.h"
#include "mod/usage.h"

#include <stdio.h>
#include <time.h>

#define MS 30
#define NS "urn:test:usage"

static int64_t cpu_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void compute(void)
{
    for (int64_t start = cpu_ms(); cpu_ms() - start < MS;)
        continue;
}

static const struct gr_coll colls[] = { GR_MAP("usage"), GR_COLL_END };

static void on_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    compute();
    gr_iq_reply_empty(ev->req);
}

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    (void)self, (void)t;
    compute();
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)req, (void)rows;
    compute();
}

static void on_post(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    (void)self, (void)jid, (void)data, (void)len;
    compute();
}

static void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self, (void)ask, (void)a;
    compute();
}

static void on_reply(struct gr_mod *self, void *data, const struct gr_stanza *reply)
{
    (void)self, (void)data, (void)reply;
    compute();
}

static void on_handled(struct gr_mod *self, void *data, bool delivered)
{
    (void)self, (void)data, (void)delivered;
    compute();
}

static void nothing(void *data)
{
    (void)data;
}

static void on_worked(struct gr_mod *self, void *data)
{
    (void)self, (void)data;
    compute();
}

static void on_command(struct gr_mod *self, struct gr_cmd *cmd)
{
    (void)self;
    compute();
    gr_cmd_done(cmd);
}

static void check_password(struct gr_mod *self, void *inst, struct gr_ask *ask, const char *user,
                           const char *password)
{
    (void)self, (void)inst, (void)user, (void)password;
    compute();
    gr_answer_result(ask, GR_R_FALSE);
}

static const struct gr_auth_provider provider = { .name = "t", .check_password = check_password };

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    return gr_provide_auth(self, &provider, 5000) == 1 ? 0 : GR_EEXIST;
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS, "work", on_iq), GR_IQ_END
};
static const struct gr_command commands[] = {
    { "usage", "computes", NULL, GR_RUN_ANY, on_command }, GR_COMMAND_END
};
struct state { struct gr_timer timer; };
static const struct gr_module worker = {
    .name = "worker", .summary = "test", .iqs = iqs, .collections = colls, .commands = commands,
    .start = start, .state_size = sizeof(struct state),
};

/* The other one: its hook asks the worker, a provider, and computes before and after that. */
static enum gr_verdict outer_hook(struct gr_mod *self, struct gr_domain_ev *ev)
{
    struct gr_ask *ask = gr_ask_new(self, 0, NULL);

    (void)ev;
    compute();
    gr_auth_check(self, ask, "nobody", "x"); /* the worker computes */
    compute();
    return GR_OK;
}

static const struct gr_hook hooks[] = { GR_ON(remove_domain, 7, outer_hook), GR_HOOK_END };
static const struct gr_module other = { .name = "other", .summary = "test", .hooks = hooks };

/* Of the instances of all loops; each is found by the address of somebody who lives there. */
static uint64_t total_cpu(struct h *h, const char *module)
{
    bool seen[64] = { false };
    uint64_t sum = 0;
    char jid[64];

    for (int i = 0; i < 64; i++) {
        snprintf(jid, sizeof(jid), "u%d@localhost", i);
        if (seen[h_home(h, jid)])
            continue;
        seen[h_home(h, jid)] = true;
        sum += h_mod(h, module, jid)->cpu_us;
    }
    return sum;
}

/* One tick more or less on either side. */
static void expect_rise(struct h *h, const char *module, uint64_t *last, int times)
{
    uint64_t now = total_cpu(h, module);

    assert_in_range(now - *last, (uint64_t)(times * MS - 12) * 1000,
                    (uint64_t)(times * MS + 25) * 1000);
    *last = now;
}

static void every_way_in_is_counted(void **state)
{
    (void)state;
    h_module(&worker);
    struct h *h = h_start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_mod *self;
    uint64_t last = total_cpu(h, "worker");

    h_iq_result(alice, "get", "localhost", "<work xmlns='" NS "'/>", NULL);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    gr_timer_start(self, &((struct state *)gr_state(self))->timer, 10, on_timer);
    h_advance(h, 20);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    gr_store_get(gr_req_new(self, 0, on_row), &colls[0], "localhost", "k", 1);
    h_run(h);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    gr_post(self, h_parse_jid(h, "bob@localhost"), on_post, NULL, 0);
    h_run(h);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    gr_auth_exists(self, gr_ask_new(self, 0, on_answer), "alice");
    h_run(h);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    gr_iq_ask(self, gr_iq_new(GR_GET, gr_mod_host_jid(self), h_jid(alice), NULL), 100, on_reply,
              NULL);
    h_advance(h, 200);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    gr_send_tracked(self, gr_message_new(GR_MSG_CHAT, gr_mod_host_jid(self), h_jid(alice)),
                    on_handled, NULL);
    h_run(h);
    expect_rise(h, "worker", &last, 1);

    self = h_mod(h, "worker", "alice@localhost");
    assert_int_equal(gr_work(self, NULL, 0, nothing, on_worked), 0);
    h_run(h);
    expect_rise(h, "worker", &last, 1);

    h_command(h, "usage");
    expect_rise(h, "worker", &last, 1);
    h_stop(&h);
}

static bool named(struct h *h, const char *module)
{
    char text[64];

    snprintf(text, sizeof(text), "warn mod.slow: %s of localhost kept its loop for about", module);
    return strstr(h_log(h), text) != NULL;
}

/* Also where no hook is run. */
static void slow_calls_are_named(void **state)
{
    (void)state;
    h_module(&worker);
    h_module(&other);
    struct h *h = h_start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_domain_ev ev = { .domain = "x" };
    struct gr_mod *self;

    h_log(h);
    h_iq_result(alice, "get", "localhost", "<work xmlns='" NS "'/>", NULL);
    assert_true(named(h, "worker"));
    self = h_mod(h, "worker", "alice@localhost");
    gr_timer_start(self, &((struct state *)gr_state(self))->timer, 10, on_timer);
    h_advance(h, 20);
    assert_true(named(h, "worker"));
    gr_hook_run(h_mod(h, "other", "localhost"), GR_HOOK_remove_domain, &ev.ev, NULL);
    assert_true(named(h, "other")); /* before it asked the worker; after that it is the hook's */
    h_stop(&h);
}

static void nested_calls_are_told_apart(void **state)
{
    (void)state;
    h_module(&worker);
    h_module(&other);
    struct h *h = h_start(NULL);
    struct gr_domain_ev ev = { .domain = "x" };
    uint64_t inner = total_cpu(h, "worker"), outer = total_cpu(h, "other");

    gr_hook_run(h_mod(h, "other", "localhost"), GR_HOOK_remove_domain, &ev.ev, NULL);
    h_run(h);
    expect_rise(h, "worker", &inner, 1);
    expect_rise(h, "other", &outer, 2);
    h_stop(&h);
}

/* What somebody who looks from outside would see, in calls within calls. */
static char seen[400];

static void look(const char *where)
{
    struct usage_seen now;
    size_t len = strlen(seen);

    usage_seen(loop_index(loop_self()), &now);
    snprintf(seen + len, sizeof(seen) - len, "%s: %s %s\n", where, now.module,
             now.hook != NULL ? now.hook : "-");
}

static enum gr_verdict inner_seen(struct gr_mod *self, struct gr_domain_ev *ev)
{
    (void)self, (void)ev;
    look("inner");
    return GR_OK;
}

static enum gr_verdict outer_seen(struct gr_mod *self, struct gr_domain_ev *ev)
{
    struct gr_domain_ev other_ev = { .domain = ev->domain };

    look("before");
    gr_hook_run(self, GR_HOOK_remove_domain, &other_ev.ev, NULL);
    look("after");
    return GR_OK;
}

static void timer_seen(struct gr_mod *self, struct gr_timer *t)
{
    (void)self, (void)t;
    look("timer");
}

static const struct gr_hook outer_hooks[] = { GR_ON(node_cleanup, 7, outer_seen), GR_HOOK_END };
static const struct gr_hook inner_hooks[] = { GR_ON(remove_domain, 7, inner_seen), GR_HOOK_END };
static const struct gr_module outer_module = {
    .name = "outer", .summary = "test", .hooks = outer_hooks, .state_size = sizeof(struct state),
};
static const struct gr_module inner_module = {
    .name = "inner", .summary = "test", .hooks = inner_hooks,
};

static void who_is_at_work_can_be_seen(void **state)
{
    (void)state;
    h_module(&outer_module);
    h_module(&inner_module);
    struct h *h = h_start(NULL);
    struct gr_domain_ev ev = { .domain = "x" };
    struct gr_mod *self;

    *seen = '\0';
    h_run(h);
    self = h_mod(h, "outer", "localhost");
    gr_hook_run(self, GR_HOOK_node_cleanup, &ev.ev, NULL);
    look("core");
    self = h_mod(h, "outer", "localhost");
    gr_timer_start(self, &((struct state *)gr_state(self))->timer, 10, timer_seen);
    h_advance(h, 20);
    assert_string_equal(seen, "before: outer node_cleanup\n"
                              "inner: inner remove_domain\n"
                              "after: outer node_cleanup\n"
                              "core:  -\n"
                              "timer: outer -\n");
    h_stop(&h);
}

/* --- from start to stop --- */

/* Calls that are over too soon, or whose instance goes too soon, to be measured: whoever is at work
 * then is charged. */
enum way { START, STOP, SAVE, RESTORE, OPEN, CLOSE, BIND, UNBIND, RELEASE, MOVED, WAYS };
static unsigned charged[WAYS], missed[WAYS];

static void called(enum way way)
{
    const struct gr_mod *by = usage_by(mod_loop());

    if (by != NULL && strcmp(by->desc->name, "life") == 0)
        charged[way]++;
    else
        missed[way]++;
}

static void life_release(void *data)
{
    (void)data;
    called(RELEASE);
}

static void life_moved(struct gr_mod *self, void *data)
{
    (void)self, (void)data;
    called(MOVED);
}

static const struct gr_slot piece = { .name = "piece", .version = 1, .size = 8,
                                      .release = life_release, .moved = life_moved };
static const struct gr_slot *const pieces[] = { &piece, NULL };

static void *life_open(struct gr_mod *self, struct gr_session *session)
{
    (void)self, (void)session;
    called(OPEN);
    return NULL;
}

static void life_close(struct gr_mod *self, void *inst)
{
    (void)self, (void)inst;
    called(CLOSE);
}

static void life_bind(struct gr_mod *self, void *inst, struct gr_session *session)
{
    (void)self, (void)inst, (void)session;
    called(BIND);
}

static void life_unbind(struct gr_mod *self, void *inst, struct gr_session *session)
{
    (void)self, (void)inst, (void)session;
    called(UNBIND);
}

static void life_unbound(struct gr_mod *self, void *inst, const struct gr_jid *full)
{
    (void)self, (void)inst, (void)full;
    called(UNBIND);
}

static const struct gr_auth_provider life_auth = {
    .name = "life", .open = life_open, .close = life_close, .bind = life_bind,
    .unbind = life_unbind,
};
static const struct gr_roster_provider life_roster = {
    .name = "life", .open = life_open, .close = life_close, .bind = life_bind,
    .unbind = life_unbind,
};
static const struct gr_session_provider life_session = {
    .name = "life", .open = life_open, .close = life_close, .unbind = life_unbound,
};

static int life_start(struct gr_mod *self, const char **why)
{
    (void)why;
    called(START);
    gr_provide_auth(self, &life_auth, 6000);
    gr_provide_roster(self, &life_roster, 6000);
    gr_provide_session(self, &life_session, 6000);
    return 0;
}

static void life_stop(struct gr_mod *self)
{
    (void)self;
    called(STOP);
}

static void life_save(struct gr_mod *self, struct gr_bag *bag)
{
    (void)self, (void)bag;
    called(SAVE);
}

static void life_restore(struct gr_mod *self, const struct gr_bag *bag)
{
    (void)self, (void)bag;
    called(RESTORE);
}

struct life_conf { int64_t n; };
static const struct gr_opt life_options[] = {
    GR_OPT_INT(struct life_conf, n, 0, 0, 9, "changes"), GR_OPT_END
};
static const struct gr_module life = {
    .name = "life", .summary = "test", .conf_size = sizeof(struct life_conf),
    .options = life_options, .slots = pieces, .start = life_start,
    .stop = life_stop, .save = life_save, .restore = life_restore,
};

static void everything_from_start_to_stop_is_counted(void **state)
{
    (void)state;
    memset(charged, 0, sizeof(charged));
    memset(missed, 0, sizeof(missed));
    h_module(&life);
    struct h *h = h_start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct hs *bob = h_login(h, "bob@localhost/b");

    gr_session_slot(h_mod(h, "life", "alice@localhost"), h_session(alice), &piece);
    gr_session_slot(h_mod(h, "life", "bob@localhost"), h_session(bob), &piece);
    h_disconnect(&bob, true);
    h_reload(h, "[host localhost]\n[mod_life]\nn = 1\n", NULL);
    h_stop(&h);
    for (int way = 0; way < WAYS; way++) {
        if (charged[way] == 0 || missed[way] > 0)
            fail_msg("way %d: %u calls were charged, %u were not", way, charged[way], missed[way]);
    }
}

/* --- metrics --- */

static const struct main_command mains[] = { { "metrics", "what is counted", NULL, metrics } };

/* Of the line that begins so, in the answer to `metrics`; 0: there is none. */
static double metric(struct h *h, const char *name)
{
    char *start = gr_asprintf("line=%s ", name);
    const char *text, *at;
    double value;

    command_add_main(mains, 1);
    text = h_command(h, "metrics");
    at = strstr(text, start);
    value = at != NULL ? strtod(at + strlen(start), NULL) : 0;
    if (at != NULL && strstr(at + 1, start) != NULL)
        fail_msg("%s is there twice", name);
    gr_free(start);
    return value;
}

static const struct gr_module quiet = { .name = "quiet", .summary = "test" };

static void metrics_are_sums_of_all_loops(void **state)
{
    (void)state;
    h_module(&worker);
    h_module(&quiet);
    struct h *h = h_start("[host localhost]\n[host other.test]\n");
    const char *far = h_user_near(h, "alice@localhost", false);
    struct hs *alice = h_login(h, "alice@localhost/a"), *bob, *carol;
    char *full = gr_asprintf("%s/b", far);
    double filtered = metric(h, "grapnel_hook_runs_total{hook=\"filter_packet\"}");
    double cpu = metric(h, "grapnel_module_cpu_seconds_total{module=\"worker\",host=\"localhost\"}");

    bob = h_login(h, full);
    h_user(h, "carol@other.test");
    carol = h_login(h, "carol@other.test/c");
    for (int i = 0; i < 3; i++)
        h_sendf(alice, "<message to='%s'><body>x</body></message>", full);
    h_sendf(bob, "<message to='carol@other.test/c'><body>x</body></message>");
    h_sendf(carol, "<message to='alice@localhost/a'><body>x</body></message>");
    h_sendf(bob, "<iq type='get' id='w' to='localhost'><work xmlns='" NS "'/></iq>");
    gr_free(full);

    assert_true(metric(h, "grapnel_hook_runs_total{hook=\"user_send_message\","
                          "host=\"localhost\"}") == 4);
    assert_true(metric(h, "grapnel_hook_runs_total{hook=\"user_send_message\","
                          "host=\"other.test\"}") == 1);
    assert_true(metric(h, "grapnel_hook_runs_total{hook=\"user_send_iq\","
                          "host=\"localhost\"}") == 1);
    assert_true(metric(h, "grapnel_hook_runs_total{hook=\"filter_packet\"}") == filtered + 7);
    assert_true(metric(h, "grapnel_stanzas_received_total{host=\"localhost\"}") == 5);
    assert_true(metric(h, "grapnel_stanzas_received_total{host=\"other.test\"}") == 1);
    assert_true(metric(h, "grapnel_stanzas_sent_total{host=\"localhost\"}") == 5);
    assert_true(metric(h, "grapnel_stanzas_sent_total{host=\"other.test\"}") == 1);
    assert_true(metric(h, "grapnel_sessions") == 3);
    assert_true(metric(h, "grapnel_accounts_online") == 3);
    cpu = metric(h, "grapnel_module_cpu_seconds_total{module=\"worker\",host=\"localhost\"}") - cpu;
    assert_true(cpu > (MS - 12) / 1e3 && cpu < (MS + 25) / 1e3);
    assert_true(metric(h, "grapnel_module_calls_total{module=\"quiet\",host=\"localhost\"}") == 0);
    assert_true(metric(h, "grapnel_module_memory_bytes{module=\"quiet\",host=\"localhost\"}") ==
                (double)(mod_memory(h_mod(h, "quiet", "localhost")) * (unsigned)h_loops(h)));
    h_stop(&h);
}

struct plain_conf { bool other; };
static const struct gr_opt plain_options[] = {
    GR_OPT_BOOL(struct plain_conf, other, false, "something"), GR_OPT_END
};
static const struct gr_module plain = {
    .name = "plain", .summary = "test", .iqs = iqs, .conf_size = sizeof(struct plain_conf),
    .options = plain_options,
};

/* A counter that became less for a moment would be read as one that began anew. */
static void counters_outlive_a_reload(void **state)
{
    static const char name[] = "grapnel_module_calls_total{module=\"plain\",host=\"localhost\"}";
    (void)state;
    h_module(&plain);
    struct h *h = h_start(NULL);
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_mod *old;

    h_iq_result(alice, "get", "localhost", "<work xmlns='" NS "'/>", NULL);
    assert_true(metric(h, name) == 1);
    old = h_mod(h, "plain", "alice@localhost");
    mod_pend(old);
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_plain]\nother = yes\n", NULL), 0);
    assert_true(metric(h, name) == 1);
    h_iq_result(alice, "get", "localhost", "<work xmlns='" NS "'/>", NULL);
    assert_true(metric(h, name) == 2);
    h_enter(h, "alice@localhost");
    mod_unpend(old);
    h_run(h);
    assert_true(metric(h, name) == 2);
    assert_true(metric(h, "grapnel_module_cpu_seconds_total{module=\"plain\",host=\"localhost\"}") >
                (2 * MS - 25) / 1e3);
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_way_in_is_counted),
        cmocka_unit_test(slow_calls_are_named),
        cmocka_unit_test(nested_calls_are_told_apart),
        cmocka_unit_test(who_is_at_work_can_be_seen),
        cmocka_unit_test(everything_from_start_to_stop_is_counted),
        cmocka_unit_test(metrics_are_sums_of_all_loops),
        cmocka_unit_test(counters_outlive_a_reload),
    };
    return H_RUN("usage", cases);
}
