/* tests/mod/test_reload_requests.c: iqs that a module has not answered yet when it is replaced. Every
 * one is answered exactly once (RFC 6120, 8.2.3), by whoever still can. */
#include "harness.h"

#include "loop/loop.h"
#include "mod/instance.h"

#define NS "urn:test:slow"
#define QUERY "<query xmlns='" NS "'/>"
#define CONF(way) "[host localhost]\n[mod_slow]\nway = " way "\n"

enum way { BY_TIMER, BY_STORE, IN_STOP, NEVER };

struct slow_conf {
    unsigned way;
    bool other;
};
struct slow {
    struct gr_timer timer;
    struct gr_iq_req *req;
};
static const struct gr_opt options[] = {
    GR_OPT_ENUM(struct slow_conf, way, BY_TIMER, GR_WORDS("timer", "store", "stop", "never"), "how"),
    GR_OPT_BOOL(struct slow_conf, other, false, "something else"),
    GR_OPT_END
};
static const struct gr_coll colls[] = { GR_MAP("slow"), GR_COLL_END };

static struct gr_iq_req *last;
static unsigned stops;

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    struct slow *st = gr_state(self);

    (void)t;
    gr_iq_reply_empty(st->req);
    st->req = NULL;
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct slow *st = gr_state(self);

    (void)req, (void)rows;
    gr_iq_reply_empty(st->req);
    st->req = NULL;
}

static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct slow_conf *conf = gr_conf(self);
    struct slow *st = gr_state(self);

    st->req = last = ev->req;
    if (conf->way == BY_TIMER)
        gr_timer_start(self, &st->timer, 1000, on_timer);
    if (conf->way == BY_STORE) {
        struct gr_txn *t = gr_txn_new(self);

        gr_txn_put(t, &colls[0], "x", "k", 1, "v", 1);
        gr_txn_commit(t, gr_req_new(self, 0, on_written));
    }
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS, "query", on_query), GR_IQ_END
};

/* A chain that another module holds, and in which this one's handler comes next. */
static unsigned handled;
static struct gr_hold *held;

static enum gr_verdict on_chain(struct gr_mod *self, struct gr_ev *ev)
{
    (void)ev;
    handled++;
    assert_non_null(gr_conf(self));
    return GR_OK;
}

static enum gr_verdict keep(struct gr_mod *self, struct gr_ev *ev)
{
    held = gr_hold(self, ev);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = { GR_ON_CUSTOM("t.chain", 60, on_chain), GR_HOOK_END };
static const struct gr_hook keeper_hooks[] = { GR_ON_CUSTOM("t.chain", 50, keep), GR_HOOK_END };
static const struct gr_module keeper = { .name = "keeper", .hooks = keeper_hooks };

static void stop(struct gr_mod *self)
{
    const struct slow_conf *conf = gr_conf(self);
    struct slow *st = gr_state(self);

    stops++;
    if (conf->way == IN_STOP && st->req != NULL)
        gr_iq_reply_error(st->req, GR_RESOURCE_CONSTRAINT, NULL);
}

static const struct gr_module slow = {
    .name = "slow", .conf_size = sizeof(struct slow_conf), .state_size = sizeof(struct slow),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = colls, .stop = stop
};

static struct h *begin(const char *ini, struct hs **alice)
{
    struct h *h;

    h_module(&slow);
    h = h_start(ini);
    stops = 0;
    h_user(h, "alice@localhost");
    *alice = h_login(h, "alice@localhost/a");
    return h;
}

static void ask(struct hs *s)
{
    h_send(s, "<iq type='get' id='q1' to='localhost'>" QUERY "</iq>");
    h_expect_nothing(s);
}

#define ERROR(kind, condition)                                                                     \
    "<iq type='error' id='q1' from='localhost' to='alice@localhost/a'>" QUERY                      \
    "<error type='" kind "' _='more'><" condition " xmlns='" GR_NS_STANZAS "'/></error></iq>"

static void what_a_timer_would_have_answered(void **state)
{
    struct hs *alice;
    struct h *h = begin(CONF("timer"), &alice);

    (void)state;
    ask(alice);
    assert_int_equal(h_reload(h, CONF("timer") "other = yes\n", NULL), 0);
    h_advance(h, OWED_MS - 1);
    h_expect_nothing(alice);
    h_advance(h, 1);
    h_expect_xml(alice, ERROR("cancel", "internal-server-error"));
    assert_non_null(strstr(h_log(h), "warn iq.unanswered: mod_slow of localhost has gone without "
                                     "answering alice@localhost/a"));
    assert_int_equal(h_unhandled(alice), 0);
    assert_int_equal(stops, h_loops(h));
    ask(alice); /* the new one is as it should be */
    h_advance(h, 1000);
    h_expect_xml(alice, "<iq type='result' id='q1' from='localhost' to='alice@localhost/a'/>");
    h_stop(&h);
}

static void what_is_under_way_is_awaited(void **state)
{
    struct hs *alice;
    struct h *h = begin(CONF("store"), &alice);

    (void)state;
    h_hold_store(h, true);
    ask(alice);
    assert_int_equal(h_reload(h, CONF("store") "other = yes\n", NULL), 0);
    h_advance(h, 2 * OWED_MS);
    h_expect_nothing(alice);
    h_commit(h);
    h_expect_xml(alice, "<iq type='result' id='q1' from='localhost' to='alice@localhost/a'/>");
    h_advance(h, 2 * OWED_MS);
    h_expect_nothing(alice);
    h_hold_store(h, false);
    assert_int_equal(stops, h_loops(h));
    h_stop(&h);
}

static void stop_is_the_last_chance(void **state)
{
    struct hs *alice;
    struct h *h = begin(CONF("stop"), &alice);

    (void)state;
    ask(alice);
    assert_int_equal(h_reload(h, "[host localhost]\n[mod_slow]\nway = never\n", NULL), 0);
    h_advance(h, OWED_MS);
    h_expect_xml(alice, ERROR("wait", "resource-constraint"));
    h_advance(h, OWED_MS);
    h_expect_nothing(alice);
    assert_null(strstr(h_log(h), "iq.unanswered"));
    h_stop(&h);
}

/* Who only owes an answer stays as long as a chain may still call it. */
static void chains_are_awaited(void **state)
{
    struct gr_ev ev = { .acc = NULL };
    struct hs *alice;

    (void)state;
    h_module(&keeper);
    struct h *h = begin(CONF("never"), &alice);
    handled = 0;
    ask(alice);
    gr_hook_run_custom(h_mod(h, "keeper", "alice@localhost"), "t.chain", &ev, NULL);
    assert_int_equal(h_reload(h, CONF("never") "other = yes\n", NULL), 0);
    h_advance(h, 2 * OWED_MS);
    h_expect_nothing(alice);
    h_enter(h, "alice@localhost");
    gr_resume(held, GR_OK);
    assert_int_equal(handled, 1);
    h_advance(h, OWED_MS);
    h_expect_xml(alice, ERROR("cancel", "internal-server-error"));
    assert_int_equal(stops, h_loops(h));
    h_stop(&h);
}

/* An answer that comes from another loop after that finds an empty shell, as long as there is an old
 * instance anywhere that could give it. */
static void too_late(void **state)
{
    struct hs *alice;
    struct h *h = begin(CONF("never"), &alice);
    struct gr_mod *sibling = h_mod(h, "slow", h_user_near(h, "alice@localhost", h_loops(h) == 1));

    (void)state;
    if (h_loops(h) == 1) {
        h_stop(&h);
        return;
    }
    mod_pend(sibling);
    h_enter(h, "alice@localhost");
    ask(alice);
    assert_int_equal(h_reload(h, CONF("never") "other = yes\n", NULL), 0);
    h_advance(h, OWED_MS);
    h_expect_xml(alice, ERROR("cancel", "internal-server-error"));
    gr_iq_reply_error(last, GR_CONFLICT, gr_iq_req_to(last)->domain);
    h_run(h);
    h_expect_nothing(alice);
    loop_enter(sibling->loop);
    mod_unpend(sibling);
    h_run(h);
    assert_int_equal(stops, h_loops(h));
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_a_timer_would_have_answered),
        cmocka_unit_test(what_is_under_way_is_awaited), cmocka_unit_test(stop_is_the_last_chance),
        cmocka_unit_test(chains_are_awaited), cmocka_unit_test(too_late),
    };

    return H_RUN("reload_requests", cases);
}
