/* test_hook: running chains (reference hooks.md 1): order, verdicts, taking back, waiting. */
#include "mod_world.h"

#include <time.h>

#define DOMAIN "a.test"
#define HOSTS "[host a.test]\n[host b.test]\n"

/* What ran, one letter per handler. */
static char trace[64];
static struct gr_hold *held;
static struct gr_mod *holder;
static enum gr_verdict give;     /* what the playing handler returns */
static void (*play)(struct gr_mod *self, struct gr_stanza_ev *ev);

static void ran(char c)
{
    size_t n = strlen(trace);

    if (n + 1 == sizeof(trace)) /* thousands of runs: nobody reads it then */
        return;
    trace[n] = c;
    trace[n + 1] = '\0';
}

#define SIMPLE(letter)                                                                          \
    static enum gr_verdict h_##letter(struct gr_mod *self, struct gr_stanza_ev *ev)             \
    {                                                                                           \
        (void)self;                                                                             \
        (void)ev;                                                                               \
        ran(#letter[0]);                                                                        \
        return GR_OK;                                                                           \
    }
SIMPLE(a)
SIMPLE(b)
SIMPLE(c)
SIMPLE(d)

/* Plays what the test wants and says so. */
static enum gr_verdict h_x(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    ran('x');
    if (play != NULL)
        play(self, ev);
    return give;
}

static void h_note(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    (void)ev;
    ran('n');
}

static enum gr_verdict h_refuse(struct gr_mod *self, struct gr_session_ev *ev)
{
    (void)self;
    ran('r');
    ev->allow = false;
    return give;
}

static enum gr_verdict h_custom(struct gr_mod *self, struct gr_ev *ev)
{
    (void)self;
    (void)ev;
    ran('C');
    return give;
}

static enum gr_verdict h_custom_late(struct gr_mod *self, struct gr_ev *ev)
{
    (void)self;
    (void)ev;
    ran('L');
    return GR_OK;
}

static enum gr_verdict h_roster(struct gr_mod *self, struct gr_roster_ev *ev)
{
    static const char *const groups[] = { "Friends", NULL };
    struct gr_jid *jid;

    (void)self;
    ran('R');
    assert_int_equal(gr_jid_parse("x@b.test/r", 10, &jid), 0);
    gr_roster_list_add(ev->items, &(struct gr_roster_item){ .jid = jid, .name = "X",
                                                            .groups = groups });
    gr_roster_ev_pending(ev, gr_presence_new(GR_SUBSCRIBE, jid, ev->owner));
    gr_jid_free(&jid);
    return give;
}

static const struct gr_hook first_hooks[] = {
    GR_ON(user_send_message, 50, h_b),
    GR_ON(user_send_message, 10, h_a),
    GR_ON(user_send_message, 10, h_a), /* twice: once will do */
    GR_ON(user_send_message, 60, h_x),
    GR_ON(user_send_message, 99, h_d),
    GR_ON(filter_packet, 10, h_a),
    GR_ON(filter_packet, 60, h_x),
    GR_ON(filter_local_packet, 60, h_x),
    GR_ON(filter_local_packet, 90, h_d),
    GR_ON(user_send_packet, 10, h_x),
    GR_ON(user_send_packet, 20, h_d),
    GR_ON(auth_failed, 50, h_note),
    GR_ON(session_opening_allowed_for_user, 50, h_refuse),
    GR_ON(roster_get, 50, h_roster),
    GR_ON(roster_get, 60, h_roster),
    GR_ON_CUSTOM("first.custom", 50, h_custom),
    GR_ON_CUSTOM("first.custom", 60, h_custom_late),
    GR_HOOK_END
};
static const struct gr_hook second_hooks[] = {
    GR_ON(user_send_message, 50, h_c), /* a tie: after the first module's */
    GR_ON(filter_packet, 70, h_d),
    GR_HOOK_END
};
static const struct gr_module first_module = {
    .name = "first", .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG, .hooks = first_hooks,
};
static const struct gr_module second_module = {
    .name = "second", .abi = GR_ABI_VERSION, .abi_tag = GR_ABI_TAG, .hooks = second_hooks,
};

/* --- the event --- */

struct run {
    struct gr_stanza_ev e;
    struct gr_jid *from, *to;
    enum gr_verdict verdict;
    unsigned done;
};

static void on_done(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct run *r = GR_CONTAINER_OF(ev, struct run, e.ev);

    r->verdict = verdict;
    r->done++;
}

static struct run *run_new(void)
{
    struct run *r = gr_alloc(sizeof(*r));

    assert_int_equal(gr_jid_parse("me@a.test/r", 11, &r->from), 0);
    assert_int_equal(gr_jid_parse("you@b.test", 10, &r->to), 0);
    r->e.stanza = gr_message_new(GR_MSG_CHAT, r->from, r->to);
    r->e.from = gr_stanza_from(r->e.stanza);
    r->e.to = gr_stanza_to(r->e.stanza);
    r->e.ev.host = host_find(DOMAIN);
    r->e.ev.acc = acc_new(GR_FROM_C2S);
    trace[0] = '\0';
    return r;
}

static void run_free(struct run *r)
{
    gr_stanza_unref(&r->e.stanza);
    acc_free(&r->e.ev.acc);
    gr_jid_free(&r->from);
    gr_jid_free(&r->to);
    gr_free(r);
}

static int setup(void **state)
{
    (void)state;
    world_open(2);
    mod_add_builtin(&first_module);
    mod_add_builtin(&second_module);
    world_load(HOSTS);
    play = NULL;
    give = GR_OK;
    held = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close();
    return 0;
}

/* --- order --- */

static void order_is_priority_then_start(void **state)
{
    struct run *r = run_new();

    (void)state;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->done, 1);
    assert_int_equal(r->verdict, GR_OK);
    assert_string_equal(trace, "abcxd");
    assert_null(r->e.ev.run);
    run_free(r);
}

static void a_chain_may_be_of_one_module(void **state)
{
    struct gr_mod *first = world_mod(DOMAIN, "first"), *second = world_mod(DOMAIN, "second");
    struct gr_host *host = host_find(DOMAIN);
    uint64_t runs = host->runs[GR_HOOK_user_send_packet];

    (void)state;
    assert_true(gr_hook_is_own(first, GR_HOOK_user_send_packet));
    assert_int_equal(host->runs[GR_HOOK_user_send_packet], runs + 1);
    assert_false(gr_hook_is_own(second, GR_HOOK_user_send_packet));
    assert_false(gr_hook_is_own(first, GR_HOOK_user_send_message)); /* of both */
    assert_false(gr_hook_is_own(first, GR_HOOK_user_send_iq));      /* of nobody */
    assert_int_equal(host->runs[GR_HOOK_user_send_packet], runs + 1);
}

static void duplicates_are_ignored_with_a_warning(void **state)
{
    (void)state;
    assert_true(world_logged("warn hook.duplicate: mod_first"));
}

static void empty_chain_is_ok(void **state)
{
    struct gr_run *const stale = (struct gr_run *)(void *)trace;
    struct run *r = run_new();
    const uint64_t *runs = &r->e.ev.host->runs[GR_HOOK_offline_message], before = *runs;

    (void)state;
    assert_true(hook_empty(r->e.ev.host, GR_HOOK_offline_message));
    assert_false(hook_empty(r->e.ev.host, GR_HOOK_user_send_message));
    r->e.ev.run = stale; /* whoever makes the event need not clear it */
    r->e.ev.failed = 3;
    hook_run(GR_HOOK_offline_message, &r->e.ev, on_done);
    assert_int_equal(r->done, 1);
    assert_int_equal(r->verdict, GR_OK);
    assert_null(r->e.ev.run);
    assert_int_equal(r->e.ev.failed, 0);
    r->e.ev.run = stale;
    assert_int_equal(hook_run_now(GR_HOOK_offline_message, &r->e.ev), GR_OK);
    assert_null(r->e.ev.run);
    assert_int_equal(*runs, before + 2);
    run_free(r);
}

static void host_hook_without_host_asks_nobody(void **state)
{
    struct run *r = run_new();

    (void)state;
    r->e.ev.host = NULL;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->verdict, GR_OK);
    assert_string_equal(trace, "");
    assert_true(world_logged("error hook.no_host"));
    run_free(r);
}

/* Scope G: one entry per module whatever the number of hosts; scope H: each host its own. */
static void global_and_host_chains_are_separate(void **state)
{
    struct run *r = run_new();

    (void)state;
    r->e.ev.host = NULL;
    assert_int_equal(hook_run_now(GR_HOOK_filter_packet, &r->e.ev), GR_OK);
    assert_string_equal(trace, "axd");
    trace[0] = '\0';
    r->e.ev.host = host_find("b.test");
    assert_int_equal(hook_run_now(GR_HOOK_user_send_message, &r->e.ev), GR_OK);
    assert_string_equal(trace, "abcxd");
    assert_null(host_find(DOMAIN)->hooks->chain[GR_HOOK_filter_packet]);
    assert_null(mod_loop()->global->chain[GR_HOOK_user_send_message]);
    run_free(r);
}

static void every_loop_has_its_own(void **state)
{
    struct gr_host *here = host_find(DOMAIN), *there;

    (void)state;
    loop_enter(loop_at(1));
    there = host_find(DOMAIN);
    assert_ptr_not_equal(here, there);
    assert_ptr_equal(there->of, mod_loop());
    assert_ptr_not_equal(here->hooks, there->hooks);
    assert_ptr_equal(host_default(), there);
    assert_null(host_find("nobody.test"));
    assert_ptr_equal(host_find(DOMAIN), there);
    there->served = false;
    assert_null(host_find(DOMAIN));
    there->served = true;
    loop_enter(loop_at(0));
    assert_ptr_equal(host_find(DOMAIN), here);
}

static void notifications_cannot_veto(void **state)
{
    struct gr_session_ev ev = { .ev.host = host_find(DOMAIN) };

    (void)state;
    trace[0] = '\0';
    assert_int_equal(hook_run_now(GR_HOOK_auth_failed, &ev.ev), GR_OK);
    assert_string_equal(trace, "n");
}

/* --- verdicts --- */

static void stop_ends_the_chain(void **state)
{
    struct run *r = run_new();

    (void)state;
    give = GR_STOP;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->verdict, GR_STOP);
    assert_string_equal(trace, "abcx");
    run_free(r);
}

static void drop_is_for_filters(void **state)
{
    struct run *r = run_new();

    (void)state;
    give = GR_DROP;
    assert_int_equal(hook_run_now(GR_HOOK_filter_packet, &r->e.ev), GR_DROP);
    assert_string_equal(trace, "ax");
    trace[0] = '\0';
    hook_run(GR_HOOK_filter_local_packet, &r->e.ev, on_done);
    assert_int_equal(r->verdict, GR_DROP);
    assert_string_equal(trace, "x");
    trace[0] = '\0';
    assert_int_equal(hook_run_now(GR_HOOK_user_send_packet, &r->e.ev), GR_OK);
    assert_string_equal(trace, "xd");
    assert_true(world_logged("warn hook.failed: user_send_packet: mod_first (10) returned GR_DROP"));
    run_free(r);
}

static void unknown_verdict_is_a_failure(void **state)
{
    struct run *r = run_new();

    (void)state;
    give = (enum gr_verdict)77;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->verdict, GR_OK);
    assert_string_equal(trace, "abcxd");
    assert_true(world_logged("a value that is no verdict"));
    run_free(r);
}

/* --- taking back --- */

static void mess(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_stanza *st;

    (void)self;
    gr_acc_set(ev->ev.acc, "t", "kept", "changed");
    gr_acc_set(ev->ev.acc, "t", "fresh", "1");
    gr_ev_request_write(&ev->ev, gr_nonza_new("urn:x", "y"));
    gr_ev_request_hard_stop(&ev->ev, "conflict");
    st = gr_ev_edit(ev);
    gr_el_add_text(st, NULL, NULL, "body", "changed");
    assert_ptr_equal(gr_ev_edit(ev), st); /* one copy per handler */
    assert_string_equal(ev->from->full, "me@a.test/r");
    struct gr_jid *bare = gr_jid_dup_bare(ev->from); /* what was kept is an address like any other */
    assert_string_equal(bare->full, "me@a.test");
    assert_string_equal(bare->domain, "a.test");
    gr_jid_free(&bare);
    gr_ev_replace(ev, gr_message_new(GR_MSG_NORMAL, ev->to, ev->from));
    gr_el_add_text(gr_ev_edit(ev), NULL, NULL, "body", "replaced");
    ev->deliver = true;
}

static void failure_takes_everything_back(void **state)
{
    struct run *r = run_new();
    struct gr_stanza *original = r->e.stanza;

    (void)state;
    gr_acc_set(r->e.ev.acc, "t", "kept", "as it was");
    gr_ev_request_stop(&r->e.ev, "policy-violation");
    play = mess;
    give = GR_FAIL;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->verdict, GR_OK);
    assert_string_equal(trace, "abcxd"); /* the next one runs */
    assert_ptr_equal(r->e.stanza, original);
    assert_ptr_equal(r->e.from, gr_stanza_from(original));
    assert_null(gr_stanza_child(original, NULL, "body"));
    assert_string_equal(gr_acc_get(r->e.ev.acc, "t", "kept"), "as it was");
    assert_null(gr_acc_get(r->e.ev.acc, "t", "fresh"));
    assert_false(r->e.deliver);
    struct acc_request *req = acc_take_requests(r->e.ev.acc);
    assert_non_null(req);
    assert_int_equal(req->kind, ACC_STOP);
    assert_null(req->next);
    assert_true(world_logged("warn hook.failed: user_send_message: mod_first (60) failed"));
    run_free(r);
}

static void success_keeps_everything(void **state)
{
    struct run *r = run_new();
    struct gr_stanza *original = gr_stanza_ref(r->e.stanza);
    struct acc_request *req;

    (void)state;
    play = mess;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_ptr_not_equal(r->e.stanza, original);
    assert_null(gr_stanza_child(original, NULL, "body"));
    assert_string_equal(gr_el_text(gr_stanza_child(r->e.stanza, NULL, "body"), NULL), "replaced");
    assert_string_equal(gr_acc_get(r->e.ev.acc, "t", "kept"), "changed");
    assert_true(r->e.deliver);
    gr_stanza_unref(&original);
    /* The addresses outlive the stanza they pointed into. */
    assert_string_equal(r->e.from->full, "me@a.test/r");
    assert_string_equal(r->e.to->full, "you@b.test");
    req = acc_take_requests(r->e.ev.acc);
    assert_int_equal(req->kind, ACC_HARD_STOP);
    assert_string_equal(req->text, "conflict");
    assert_int_equal(req->next->kind, ACC_WRITE);
    gr_stanza_unref(&req->next->stanza);
    run_free(r);
}

static struct gr_stanza *given; /* the appending handler's reference, when it keeps one */

static void append_two(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_el *el = gr_ev_append(ev, "urn:x", "one");

    (void)self;
    gr_el_set(ev->stanza, el, "id", "1");
    gr_ev_append(ev, "urn:x", "two");
}

static void append_and_give(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    append_two(self, ev);
    given = gr_stanza_ref(ev->stanza);
}

static void append_and_edit(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    append_two(self, ev);
    gr_el_add(gr_ev_edit(ev), NULL, "urn:x", "three");
    gr_ev_append(ev, "urn:x", "four");
}

/* What a handler appended to a stanza that is only the event's is in that stanza. */
static void appending_needs_no_copy(void **state)
{
    struct run *r = run_new();
    struct gr_stanza *original = r->e.stanza, *other;

    (void)state;
    play = append_two;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_ptr_equal(r->e.stanza, original);
    assert_string_equal(gr_el_attr(gr_stanza_child(original, "urn:x", "one"), "id"), "1");
    assert_non_null(gr_stanza_child(original, "urn:x", "two"));
    other = gr_stanza_ref(original);
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_ptr_not_equal(r->e.stanza, original); /* not so when somebody else has it */
    assert_null(gr_el_next(gr_stanza_child(original, "urn:x", "one"), "urn:x", "one"));
    assert_non_null(gr_el_next(gr_stanza_child(r->e.stanza, "urn:x", "one"), "urn:x", "one"));
    gr_stanza_unref(&other);
    run_free(r);
}

static void appended_is_taken_back(void **state)
{
    void (*const plays[])(struct gr_mod *, struct gr_stanza_ev *) = { append_two, append_and_edit,
                                                                      append_and_give };

    (void)state;
    give = GR_FAIL;
    for (size_t i = 0; i < GR_COUNT(plays); i++) {
        struct run *r = run_new();
        struct gr_stanza *original = r->e.stanza;
        char *before = gr_strdup(gr_stanza_xml(original, NULL));

        play = plays[i];
        hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
        assert_int_equal(r->done, 1);
        assert_string_equal(gr_stanza_xml(r->e.stanza, NULL), before);
        if (given != NULL) { /* whoever has it keeps what he was given */
            assert_ptr_equal(given, original);
            assert_non_null(gr_stanza_child(given, "urn:x", "two"));
            gr_stanza_unref(&given);
        } else {
            assert_ptr_equal(r->e.stanza, original);
        }
        assert_string_equal(r->e.from->full, "me@a.test/r");
        gr_free(before);
        run_free(r);
    }
}

static void plain_results_are_taken_back(void **state)
{
    struct gr_session_ev ev = { .ev.host = host_find(DOMAIN), .allow = true };

    (void)state;
    give = GR_FAIL;
    assert_int_equal(hook_run_now(GR_HOOK_session_opening_allowed_for_user, &ev.ev), GR_OK);
    assert_true(ev.allow);
    give = GR_OK;
    assert_int_equal(hook_run_now(GR_HOOK_session_opening_allowed_for_user, &ev.ev), GR_OK);
    assert_false(ev.allow);
}

static void roster_results_are_taken_back(void **state)
{
    struct gr_roster_ev ev = { .ev.host = host_find(DOMAIN), .items = gr_roster_list_new() };

    (void)state;
    assert_int_equal(gr_jid_parse("me@a.test", 9, (struct gr_jid **)&ev.owner), 0);
    give = GR_FAIL;
    hook_run_now(GR_HOOK_roster_get, &ev.ev);
    assert_int_equal(gr_roster_list_count(ev.items), 0);
    assert_int_equal(ev.pending_count, 0);
    give = GR_OK;
    for (int i = 0; i < 20; i++)
        hook_run_now(GR_HOOK_roster_get, &ev.ev);
    assert_int_equal(gr_roster_list_count(ev.items), 40);
    assert_int_equal(ev.pending_count, 40);
    const struct gr_roster_item *item = gr_roster_list_at(ev.items, 39);
    assert_string_equal(item->jid->full, "x@b.test");
    assert_string_equal(item->name, "X");
    assert_string_equal(item->groups[0], "Friends");
    assert_null(item->groups[1]);
    gr_roster_ev_clear(&ev);
    gr_jid_free((struct gr_jid **)&ev.owner);
}

/* --- redirecting --- */

static void redirect(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_jid *to;

    (void)self;
    assert_int_equal(gr_jid_parse("other@b.test", 12, &to), 0);
    gr_ev_redirect(ev, NULL, to);
    gr_jid_free(&to);
}

static void filters_redirect(void **state)
{
    struct run *r = run_new();

    (void)state;
    play = redirect;
    assert_int_equal(hook_run_now(GR_HOOK_filter_packet, &r->e.ev), GR_OK);
    assert_string_equal(r->e.to->full, "other@b.test");
    assert_string_equal(gr_stanza_to(r->e.stanza)->full, "other@b.test");
    assert_string_equal(r->e.from->full, "me@a.test/r");
    run_free(r);
    r = run_new();
    assert_int_equal(hook_run_now(GR_HOOK_user_send_packet, &r->e.ev), GR_OK);
    assert_string_equal(r->e.to->full, "you@b.test");
    assert_true(world_logged("error mod.redirect"));
    run_free(r);
}

/* --- waiting --- */

static void take_hold(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    holder = self;
    held = gr_hold(self, &ev->ev);
}

static struct run *run_held(void)
{
    struct run *r = run_new();

    play = take_hold;
    give = GR_PENDING;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_non_null(held);
    assert_int_equal(r->done, 0);
    assert_string_equal(trace, "abcx");
    assert_int_equal(hook_holds(holder), 1);
    assert_int_equal(holder->pending, 1);
    return r;
}

static void resume_later(void **state)
{
    static const enum gr_verdict verdicts[] = { GR_OK, GR_STOP, GR_FAIL, GR_PENDING };
    static const enum gr_verdict results[] = { GR_OK, GR_STOP, GR_OK, GR_OK };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(verdicts); i++) {
        struct run *r = run_held();

        play = NULL;
        loops_step();
        assert_int_equal(r->done, 0);
        gr_resume(held, verdicts[i]);
        assert_int_equal(r->done, 1);
        assert_int_equal(r->verdict, results[i]);
        assert_string_equal(trace, verdicts[i] == GR_STOP ? "abcx" : "abcxd");
        assert_int_equal(hook_holds(holder), 0);
        assert_int_equal(holder->pending, 0);
        run_free(r);
    }
}

static void failing_after_a_wait_takes_back(void **state)
{
    struct run *r = run_held();
    struct gr_stanza *original = r->e.stanza;

    (void)state;
    gr_acc_set(r->e.ev.acc, "t", "k", "v");
    gr_el_add_text(gr_ev_edit(&r->e), NULL, NULL, "body", "late");
    assert_ptr_not_equal(r->e.stanza, original);
    gr_resume(held, GR_FAIL);
    assert_ptr_equal(r->e.stanza, original);
    assert_null(gr_acc_get(r->e.ev.acc, "t", "k"));
    run_free(r);
}

static void resume_inline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_hold *h = gr_hold(self, &ev->ev);

    assert_non_null(h);
    gr_resume(h, GR_STOP);
}

static void completion_before_the_return(void **state)
{
    struct run *r = run_new();

    (void)state;
    play = resume_inline;
    give = GR_PENDING;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->done, 1);
    assert_int_equal(r->verdict, GR_STOP);
    assert_int_equal(world_mod(DOMAIN, "first")->pending, 0);
    assert_int_equal(world_mod(DOMAIN, "first")->hold_count, 0);
    run_free(r);
}

static void time_out_fails_the_handler(void **state)
{
    struct run *r = run_held();

    (void)state;
    loops_advance(29999);
    assert_int_equal(r->done, 0);
    loops_advance(1);
    assert_int_equal(r->done, 1);
    assert_int_equal(r->verdict, GR_OK);
    assert_string_equal(trace, "abcxd");
    assert_true(world_logged("error hook.timeout: user_send_message: mod_first"));
    assert_int_equal(hook_holds(holder), 0);
    run_free(r);
    assert_int_equal(holder->hold_count, 1);
    gr_resume(held, GR_STOP); /* late: frees the shell and does nothing else */
    assert_int_equal(holder->hold_count, 0);
}

static void pending_needs_a_hold(void **state)
{
    struct run *r = run_new();

    (void)state;
    give = GR_PENDING;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->done, 1);
    assert_string_equal(trace, "abcxd");
    assert_true(world_logged("returned GR_PENDING without a hold"));
    /* A hook that cannot wait gives none. */
    trace[0] = '\0';
    play = take_hold;
    hook_run(GR_HOOK_user_send_packet, &r->e.ev, on_done);
    assert_null(held);
    assert_string_equal(trace, "xd");
    assert_true(world_logged("error hook.hold: mod_first cannot hold user_send_packet"));
    /* And one that can, run by somebody who cannot. */
    trace[0] = '\0';
    assert_int_equal(hook_run_now(GR_HOOK_user_send_message, &r->e.ev), GR_OK);
    assert_null(held);
    assert_string_equal(trace, "abcxd");
    run_free(r);
}

static void unused_hold_is_harmless(void **state)
{
    struct run *r = run_new();

    (void)state;
    play = take_hold;
    give = GR_OK;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_int_equal(r->done, 1);
    assert_string_equal(trace, "abcxd");
    gr_resume(held, GR_STOP);
    assert_int_equal(r->done, 1);
    run_free(r);
}

static void holds_are_bounded(void **state)
{
    enum { MANY = 10000 };
    struct run **runs = gr_alloc((MANY + 1) * sizeof(struct run *));

    (void)state;
    play = take_hold;
    give = GR_PENDING;
    for (int i = 0; i <= MANY; i++) {
        runs[i] = run_new();
        hook_run(GR_HOOK_user_send_message, &runs[i]->e.ev, on_done);
        assert_int_equal(held == NULL, i == MANY);
        assert_int_equal(runs[i]->done, i == MANY); /* the last one was not held */
    }
    assert_true(world_logged("warn hook.holds: mod_first has 10000 holds"));
    hook_drop_holds(holder);
    for (int i = 0; i <= MANY; i++) {
        assert_int_equal(runs[i]->done, 1);
        run_free(runs[i]);
    }
    assert_int_equal(hook_holds(holder), 0);
    gr_free(runs);
}

/* --- custom hooks, and modules that run hooks --- */

static enum gr_verdict custom_verdict;
static unsigned custom_done;

static void on_custom(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)ev;
    assert_ptr_equal(self, world_mod(DOMAIN, "second"));
    custom_verdict = verdict;
    custom_done++;
}

static void custom_hooks_run(void **state)
{
    struct gr_mod *self = world_mod(DOMAIN, "second");
    struct gr_ev ev = { .acc = NULL };

    (void)state;
    trace[0] = '\0';
    custom_done = 0;
    gr_hook_run_custom(self, "first.custom", &ev, on_custom);
    assert_string_equal(trace, "CL");
    assert_int_equal(custom_done, 1);
    assert_int_equal(custom_verdict, GR_OK);
    give = GR_STOP;
    trace[0] = '\0';
    gr_hook_run_custom(self, "first.custom", &ev, on_custom);
    assert_string_equal(trace, "C");
    assert_int_equal(custom_verdict, GR_STOP);
    gr_hook_run_custom(self, "nobody.knows", &ev, on_custom);
    assert_int_equal(custom_done, 3);
    assert_int_equal(custom_verdict, GR_OK);
}

static void modules_run_hooks_of_their_host(void **state)
{
    struct run *r = run_new();

    (void)state;
    r->e.ev.host = NULL;
    custom_done = 0;
    gr_hook_run(world_mod(DOMAIN, "second"), GR_HOOK_user_send_message, &r->e.ev, on_custom);
    assert_int_equal(custom_done, 1);
    assert_string_equal(trace, "abcxd");
    run_free(r);
}

/* --- chains within chains --- */

static const char *word; /* what the playing handler notes */

static void note_and_hold(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    gr_acc_set(ev->ev.acc, "t", "word", word);
    gr_ev_request_stop(&ev->ev, word);
    take_hold(self, ev);
}

static const struct gr_acc *inner_acc;
static char inner_word[16];
static unsigned inner_done;

static void on_inner(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)self;
    (void)verdict;
    inner_done++;
    inner_acc = ev->acc;
    snprintf(inner_word, sizeof(inner_word), "%s",
             ev->acc != NULL ? gr_acc_get(ev->acc, "t", "word") : "none");
}

/* Held by its third handler, which has noted the word. */
static struct run *outer_held(void)
{
    struct run *r = run_new();

    play = note_and_hold;
    give = GR_PENDING;
    word = "outer";
    inner_done = 0;
    hook_run(GR_HOOK_user_send_message, &r->e.ev, on_done);
    assert_non_null(held);
    return r;
}

static struct run *inner_held(struct gr_hold *outer, const char *its_word)
{
    struct run *r = run_new();

    acc_free(&r->e.ev.acc);
    word = its_word;
    gr_hook_run_held(holder, outer, GR_HOOK_user_send_message, &r->e.ev, on_inner);
    return r;
}

/* Its accumulator is not its own. */
static void inner_free(struct run *r)
{
    r->e.ev.acc = NULL;
    run_free(r);
}

static void an_inner_chain_has_the_accumulator(void **state)
{
    struct run *outer = outer_held(), *inner;
    struct gr_hold *hold = held;

    (void)state;
    inner = inner_held(hold, "inner");
    assert_ptr_equal(inner->e.ev.acc, outer->e.ev.acc);
    gr_resume(held, GR_OK);
    assert_int_equal(inner_done, 1);
    assert_ptr_equal(inner_acc, outer->e.ev.acc);
    assert_string_equal(inner_word, "inner");
    inner_free(inner);
    inner = inner_held(hold, "failed");
    gr_resume(held, GR_FAIL);
    assert_int_equal(inner_done, 2);
    assert_string_equal(inner_word, "inner");
    assert_string_equal(gr_acc_get(outer->e.ev.acc, "t", "word"), "inner");
    inner_free(inner);
    gr_resume(hold, GR_OK);
    assert_int_equal(outer->done, 1);
    assert_string_equal(gr_acc_get(outer->e.ev.acc, "t", "word"), "inner");
    run_free(outer);
}

static void an_inner_chain_outlives_the_accumulator(void **state)
{
    struct run *outer = outer_held(), *inner, *innermost;
    struct gr_hold *hold[3] = { held };

    (void)state;
    loops_advance(10000);
    inner = inner_held(hold[0], "inner");
    hold[1] = held;
    innermost = inner_held(hold[1], "innermost");
    hold[2] = held;
    loops_advance(20000);
    assert_int_equal(outer->done, 1);
    assert_null(gr_acc_get(outer->e.ev.acc, "t", "word")); /* the handler has failed */
    assert_null(acc_take_requests(outer->e.ev.acc));
    run_free(outer);
    assert_int_equal(inner_done, 0);
    assert_ptr_equal(innermost->e.ev.acc, inner->e.ev.acc); /* these two share still */
    gr_resume(hold[2], GR_FAIL);
    assert_int_equal(inner_done, 1);
    assert_string_equal(inner_word, "inner");
    inner_free(innermost);
    gr_resume(hold[1], GR_FAIL); /* back to what was when it began, in memory of the outer one's */
    assert_int_equal(inner_done, 2);
    assert_string_equal(inner_word, "outer");
    inner_free(inner);
    play = NULL;
    give = GR_OK;
    inner = inner_held(hold[0], "late");
    assert_int_equal(inner_done, 3);
    assert_string_equal(inner_word, "none"); /* the hold keeps nothing waiting */
    inner_free(inner);
    gr_resume(hold[0], GR_OK);
}

/* Its hold, given back too early, is the same. */
static void an_inner_chain_that_nobody_waits_for(void **state)
{
    struct run *outer = outer_held(), *inner, *alone;
    struct gr_hold *hold = held;

    (void)state;
    inner = inner_held(hold, "inner");
    gr_resume(hold, GR_OK);
    assert_int_equal(outer->done, 1);
    assert_ptr_not_equal(inner->e.ev.acc, outer->e.ev.acc);
    run_free(outer);
    gr_resume(held, GR_OK);
    assert_string_equal(inner_word, "inner");
    inner_free(inner);
    /* And run without a hold, it has its own as soon as a handler waits. */
    outer = run_new();
    alone = run_new();
    acc_free(&alone->e.ev.acc);
    alone->e.ev.acc = outer->e.ev.acc;
    word = "alone";
    gr_hook_run(holder, GR_HOOK_user_send_message, &alone->e.ev, on_inner);
    assert_ptr_not_equal(alone->e.ev.acc, outer->e.ev.acc);
    run_free(outer);
    gr_resume(held, GR_OK);
    assert_int_equal(inner_done, 2);
    assert_string_equal(inner_word, "alone");
    inner_free(alone);
}

/* Two at a time: what one takes back is not the other's. */
static void inner_chains_of_one_hold(void **state)
{
    struct run *outer = outer_held(), *first, *second;
    struct gr_hold *hold = held, *hold_first;

    (void)state;
    first = inner_held(hold, "first");
    hold_first = held;
    second = inner_held(hold, "second");
    assert_ptr_equal(first->e.ev.acc, outer->e.ev.acc);
    assert_ptr_not_equal(second->e.ev.acc, outer->e.ev.acc);
    gr_resume(hold_first, GR_FAIL);
    assert_string_equal(inner_word, "outer");
    gr_resume(held, GR_OK);
    assert_int_equal(inner_done, 2);
    assert_string_equal(inner_word, "second");
    inner_free(second);
    second = inner_held(hold, "next"); /* alone again */
    assert_ptr_equal(second->e.ev.acc, outer->e.ev.acc);
    gr_resume(held, GR_OK);
    inner_free(first);
    inner_free(second);
    gr_resume(hold, GR_FAIL);
    assert_int_equal(outer->done, 1);
    run_free(outer);
}

static void inner_chains_that_both_fail(void **state)
{
    struct run *outer = outer_held(), *first, *second;
    struct gr_hold *hold = held, *hold_first;

    (void)state;
    first = inner_held(hold, "first");
    hold_first = held;
    second = inner_held(hold, "second");
    gr_resume(hold_first, GR_FAIL);
    gr_resume(held, GR_FAIL);
    assert_int_equal(inner_done, 2);
    inner_free(first);
    inner_free(second);
    gr_resume(hold, GR_FAIL);
    run_free(outer);
}

/* --- listing and slowness --- */

static void list_one(void *ctx, const char *hook, int prio, const struct gr_mod *self)
{
    char *out = ctx;

    if (strcmp(hook, "user_send_message") == 0)
        sprintf(out + strlen(out), "%d:%s ", prio, self->desc->name);
}

static void chains_can_be_printed(void **state)
{
    char text[256] = "";

    (void)state;
    hook_each(host_find(DOMAIN)->hooks, list_one, text);
    assert_string_equal(text, "10:first 50:first 50:second 60:first 99:first ");
}

/* 60 ms of this thread's own time, however busy the machine is. */
static void spin(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct timespec t0, t;

    (void)self;
    (void)ev;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while ((t.tv_sec - t0.tv_sec) * 1000 + (t.tv_nsec - t0.tv_nsec) / 1000000 < 60);
}

static void slow_handlers_are_named(void **state)
{
    struct run *r = run_new();

    (void)state;
    world_log[0] = '\0';
    play = spin;
    hook_run_now(GR_HOOK_user_send_message, &r->e.ev);
    assert_true(world_logged("warn hook.slow: user_send_message: mod_first (60)"));
    assert_true(world_mod(DOMAIN, "first")->cpu_us >= 30000);
    assert_int_equal(world_mod(DOMAIN, "second")->calls, 1);
    run_free(r);
}

/* --- the accumulator by itself --- */

static void notes_and_strip(void **state)
{
    struct gr_acc *acc = acc_new(GR_FROM_S2S), fork;

    (void)state;
    assert_int_equal(gr_acc_origin(acc), GR_FROM_S2S);
    gr_acc_set(acc, "a", "x", "1");
    gr_acc_set(acc, "b", "x", "2");
    gr_acc_set_permanent(acc, "a", "p", "3");
    gr_acc_set(acc, "a", "p", "4"); /* stays permanent */
    gr_acc_set_permanent(acc, "a", "q", "5");
    gr_acc_set(acc, "a", "q", NULL);
    assert_string_equal(gr_acc_get(acc, "a", "x"), "1");
    assert_string_equal(gr_acc_get(acc, "b", "x"), "2");
    assert_null(gr_acc_get(acc, "a", "q"));
    loops_advance(7);
    acc_fork(&fork, acc);
    assert_true(gr_acc_time_us(acc) < gr_wall_us());
    assert_true(gr_acc_ref(&fork) != gr_acc_ref(acc));
    assert_int_equal(gr_acc_time_us(&fork), gr_acc_time_us(acc));
    acc_strip(acc);
    for (int i = 0; i < 2; i++) {
        const struct gr_acc *a = i == 0 ? acc : &fork;

        assert_null(gr_acc_get(a, "a", "x"));
        assert_null(gr_acc_get(a, "b", "x"));
        assert_string_equal(gr_acc_get(a, "a", "p"), "4");
        assert_null(gr_acc_get(a, "a", "q"));
    }
    acc_free(&acc);
    acc_fini(&fork);
}

static void requests_in_their_order(void **state)
{
    static const enum acc_request_kind want[] = { ACC_HARD_STOP, ACC_STOP, ACC_WRITE, ACC_WRITE,
                                                  ACC_ROUTE };
    static const char *const names[] = { NULL, NULL, "one", "two", "three" };
    struct gr_acc *acc = acc_new(GR_FROM_SERVER);
    struct gr_ev ev = { .acc = acc };
    struct acc_request *r;

    (void)state;
    gr_ev_request_route(&ev, gr_nonza_new("x", "three"));
    gr_ev_request_write(&ev, gr_nonza_new("x", "one"));
    gr_ev_request_stop(&ev, "reset");
    gr_ev_request_write(&ev, gr_nonza_new("x", "two"));
    gr_ev_request_hard_stop(&ev, "conflict");
    r = acc_take_requests(acc);
    for (size_t i = 0; i < GR_COUNT(want); i++, r = r->next) {
        assert_non_null(r);
        assert_int_equal(r->kind, want[i]);
        if (names[i] != NULL)
            assert_string_equal(gr_el_name(gr_stanza_root(r->stanza)), names[i]);
        gr_stanza_unref(&r->stanza);
    }
    assert_null(r);
    assert_null(acc_take_requests(acc));
    gr_ev_request_write(&ev, gr_nonza_new("x", "left")); /* freed with it */
    acc_free(&acc);
}

static void shutdown_ends_what_waits(void **state)
{
    struct run *r = run_held();

    (void)state;
    play = NULL;
    mod_stop_all();
    assert_int_equal(r->done, 1);
    assert_int_equal(r->verdict, GR_OK);
    assert_string_equal(trace, "abcxd");
    run_free(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(order_is_priority_then_start), T(duplicates_are_ignored_with_a_warning),
        T(empty_chain_is_ok), T(host_hook_without_host_asks_nobody),
        T(global_and_host_chains_are_separate), T(every_loop_has_its_own),
        T(notifications_cannot_veto), T(stop_ends_the_chain), T(drop_is_for_filters),
        T(unknown_verdict_is_a_failure), T(failure_takes_everything_back),
        T(success_keeps_everything), T(plain_results_are_taken_back),
        T(appending_needs_no_copy), T(appended_is_taken_back), T(a_chain_may_be_of_one_module),
        T(roster_results_are_taken_back), T(filters_redirect), T(resume_later),
        T(failing_after_a_wait_takes_back), T(completion_before_the_return),
        T(time_out_fails_the_handler), T(pending_needs_a_hold), T(unused_hold_is_harmless),
        T(holds_are_bounded), T(custom_hooks_run), T(modules_run_hooks_of_their_host),
        T(an_inner_chain_has_the_accumulator), T(an_inner_chain_outlives_the_accumulator),
        T(an_inner_chain_that_nobody_waits_for), T(inner_chains_of_one_hold),
        T(inner_chains_that_both_fail),
        T(chains_can_be_printed), T(slow_handlers_are_named), T(notes_and_strip),
        T(requests_in_their_order), T(shutdown_ends_what_waits),
    };

    return cmocka_run_group_tests_name("hook", tests, NULL, NULL);
}
