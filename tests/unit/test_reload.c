/* test_reload: configurations and images exchanged while everything runs (style.md, Reload). The module
 * tests/modules/mod_tally.c is compiled here in two versions; see its head. */
#include "mod_world.h"

#include <sys/stat.h>
#include <unistd.h>

#include "mod/image.h"
#include "mod/slot.h"
#include "mod_compile.h"

#define ONE "[host a.test]\n"
#define TWO ONE "[host b.test]\n"

/* As in mod_tally.c. */
struct tally_ask {
    struct gr_ev ev;
    uint64_t count, ticks;
    int version;
    const char *word, *fixed, *fixed_first;
    int64_t step;
    struct gr_mod *self;
    const struct gr_slot *slot;
    void (*do_mark)(struct gr_mod *self, void *data);
};

static char *ini(const char *rest)
{
    return gr_asprintf("[server]\nmodule_path = %s\n%s", mod_compile_folder(), rest);
}

static void load(const char *rest)
{
    char *text = ini(rest);

    world_load(text);
    gr_free(text);
}

static char *refused_load(const char *rest)
{
    char *text = ini(rest), *errors = world_refused(text);

    gr_free(text);
    return errors;
}

/* The report; the caller frees. */
static char *reload(const char *rest, int want)
{
    char *text = ini(rest), *report = NULL;
    int rc = world_reload(text, &report);

    if ((rc == 0) != (want == 0))
        fail_msg("%d, and the report is: %s", rc, report);
    assert_non_null(report);
    gr_free(text);
    loops_step();
    return report;
}

static void reload_ok(const char *rest, const char *says)
{
    char *report = reload(rest, 0);

    if (strstr(report, says) == NULL)
        fail_msg("expected \"%s\", got \"%s\"", says, report);
    gr_free(report);
}

static void reload_refused(const char *rest, const char *says)
{
    char *report = reload(rest, GR_EINVAL);

    if (strstr(report, says) == NULL)
        fail_msg("expected \"%s\", got \"%s\"", says, report);
    gr_free(report);
}

static void compile(const char *flags)
{
    gr_free(mod_compile("tally", "mod_tally.c", flags));
}

static struct tally_ask ask_on(int loop, const char *domain)
{
    struct tally_ask ask = { .version = 0 };
    struct loop *before = loop_self();
    struct gr_mod *any;

    loop_enter(loop_at(loop));
    any = world_mod(domain, "asker");
    assert_non_null(any);
    gr_hook_run_custom(any, "tally.ask", &ask.ev, NULL);
    loop_enter(before);
    return ask;
}

static struct tally_ask ask(void)
{
    return ask_on(0, "a.test");
}

static void message(int loop, const char *domain)
{
    struct loop *before = loop_self();
    struct gr_jid *jid;
    struct gr_stanza_ev ev = { .session = NULL };

    loop_enter(loop_at(loop));
    assert_int_equal(gr_jid_parse("me@a.test", 9, &jid), 0);
    ev.ev.host = host_find(domain);
    ev.ev.acc = acc_new(GR_FROM_C2S);
    ev.stanza = gr_message_new(GR_MSG_CHAT, jid, jid);
    ev.from = ev.to = jid;
    hook_run_now(GR_HOOK_user_send_message, &ev.ev);
    gr_stanza_unref(&ev.stanza);
    acc_free(&ev.ev.acc);
    gr_jid_free(&jid);
    loop_enter(before);
}

/* --- built-in helpers: one that asks, one that can be told to fail or to conflict --- */

static const struct gr_module asker = { .name = "asker", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG };

static int setup(void **state)
{
    (void)state;
    compile("-DTALLY_VERSION=1");
    world_open(4);
    mod_add_builtin(&asker);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close();
    assert_int_equal(image_count(), 0); /* nothing of any module is left */
    mod_compile_clean();
    return 0;
}

static void first_load(void **state)
{
    (void)state;
    load(TWO "[mod_tally]\nword = x\n[mod_tally b.test]\nstep = 5\n");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask_on(i, "a.test").version, 1);
        assert_string_equal(ask_on(i, "a.test").word, "x");
        assert_int_equal(ask_on(i, "a.test").step, 1);
        assert_string_equal(ask_on(i, "b.test").word, "x");
        assert_int_equal(ask_on(i, "b.test").step, 5);
    }
    message(0, "a.test");
    message(2, "a.test");
    message(2, "b.test");
    assert_int_equal(ask_on(0, "a.test").count, 1);
    assert_int_equal(ask_on(1, "a.test").count, 0);
    assert_int_equal(ask_on(2, "a.test").count, 1);
    assert_int_equal(ask_on(2, "b.test").count, 5);
    assert_ptr_equal(mod_current(), mod_loop()->gen);
    assert_int_equal(image_count(), 1);
}

static void iqs_and_features_are_found(void **state)
{
    struct gr_mod *self;
    const struct gr_iq *iq;

    (void)state;
    load(ONE "[mod_tally]\n");
    iq = iq_find(host_find("a.test"), GR_TO_HOST, "urn:test:tally", "query", &self);
    assert_non_null(iq);
    assert_ptr_equal(self, world_mod("a.test", "tally"));
    assert_int_equal(iq->types, GR_IQ_GET);
    assert_non_null(iq_find(host_find("a.test"), GR_TO_ACCOUNT, "urn:test:tally", "query", &self));
    assert_null(iq_find(host_find("a.test"), GR_TO_HOST, "urn:test:tally", "other", &self));
    assert_null(iq_find(host_find("a.test"), GR_TO_HOST, "urn:test", "query", &self));
    assert_null(self);
}

/* Every way in which a first load can be wrong leaves nothing behind. */
static void bad_first_loads(void **state)
{
    static const struct {
        const char *ini, *says;
    } rows[] = {
        { "[mod_tallly]\n", "test.ini:8: there is no module mod_tallly: did you mean mod_tally?" },
        { "[mod_zzz]\n", "there is no mod_zzz.so in module_path" },
        { "[mod_tally]\nstep = 999\n", "step" },
        { "[mod_tally]\nstop = 9\n", "step" }, /* the nearest word */
        { "[mod_tally]\nstep = 50\nlimit = 49\n", "test.ini:8: mod_tally: limit must not be below" },
        { "[mod_tally]\nword = no start\n", "mod_tally cannot start on a.test: the word is no" },
    };

    (void)state;
    for (size_t i = 0; i < GR_COUNT(rows); i++) {
        char *text = gr_asprintf(ONE "%s", rows[i].ini), *errors = refused_load(text);

        if (strstr(errors, rows[i].says) == NULL)
            fail_msg("expected \"%s\", got \"%s\"", rows[i].says, errors);
        gr_free(errors);
        gr_free(text);
        loops_step();
        assert_int_equal(image_count(), 0);
        assert_null(host_find("a.test"));
    }
    load(ONE "[mod_tally]\n");
}

static void all_errors_at_once(void **state)
{
    char *errors = refused_load(TWO "[mod_zzz]\n[mod_tally]\nstep = 999\n[mod_yyy]\n");

    (void)state;
    assert_non_null(strstr(errors, "mod_zzz"));
    assert_non_null(strstr(errors, "mod_yyy"));
    assert_non_null(strstr(errors, "step"));
    /* Once, though two hosts have it. */
    assert_null(strstr(strstr(errors, "no mod_zzz.so") + 1, "no mod_zzz.so"));
    gr_free(errors);
}

/* --- new code --- */

static void new_code_takes_over_and_keeps_its_state(void **state)
{
    struct tally_ask a;

    (void)state;
    load(TWO "[mod_tally]\n");
    for (int i = 0; i < 7; i++)
        message(1, "a.test");
    message(1, "b.test");
    compile("-DTALLY_VERSION=2");
    reload_ok(TWO "[mod_tally]\n", "mod_tally: new code");
    for (int i = 0; i < 4; i++) {
        a = ask_on(i, "a.test");
        assert_int_equal(a.version, 2);
        assert_int_equal(a.count, i == 1 ? 7 : 0);
        assert_int_equal(ask_on(i, "b.test").count, i == 1 ? 1 : 0);
    }
    message(1, "a.test");
    assert_int_equal(ask_on(1, "a.test").count, 8);
    assert_true(world_logged("info tally.stop: version 1 at 7"));
    assert_int_equal(image_count(), 1); /* the old one is closed */
}

static void unchanged_modules_run_on(void **state)
{
    struct gr_mod *before;

    (void)state;
    load(ONE "[mod_tally]\n");
    before = ask().self;
    message(0, "a.test");
    reload_ok(ONE "[mod_tally]\n", "");
    assert_ptr_equal(ask().self, before);
    compile("-DTALLY_VERSION=1"); /* the same bytes again */
    reload_ok(ONE "[mod_tally]\n", "");
    assert_ptr_equal(ask().self, before);
    reload_ok(TWO "[mod_tally]\nstep = 1\n", "[host b.test]: added"); /* the default */
    assert_ptr_equal(ask().self, before);
    assert_int_equal(ask().count, 1);
    world_log[0] = '\0';
    loops_step();
    assert_false(world_logged("tally.stop"));
    assert_int_equal(ask_on(3, "b.test").version, 1);
}

static void changed_options_give_a_new_instance(void **state)
{
    struct tally_ask a;

    (void)state;
    load(ONE "[mod_tally]\nword = one\n");
    message(0, "a.test");
    reload_ok(ONE "[mod_tally]\nword = two\nstep = 3\n",
              "[mod_tally] word: one -> two (live)\n[mod_tally] step: (default) -> 3 (live)\n"
              "loops paused for ");
    a = ask();
    assert_string_equal(a.word, "two");
    assert_int_equal(a.count, 1);
    message(0, "a.test");
    assert_int_equal(ask().count, 4);
    assert_int_equal(image_count(), 1);
}

static void restart_options_wait(void **state)
{
    struct gr_mod *before;
    struct tally_ask a;

    (void)state;
    load(ONE "[mod_tally]\nfixed = old\nfixed_list = x, y\n");
    before = ask().self;
    reload_ok(ONE "[mod_tally]\nfixed = new\nfixed_list = z\n",
              "[mod_tally] fixed: old -> new (needs a restart)\n");
    a = ask();
    assert_ptr_equal(a.self, before); /* nothing else differs */
    assert_string_equal(a.fixed, "old");
    reload_ok(ONE "[mod_tally]\nfixed = newer\nfixed_list = z\nword = w\n", "word: ");
    a = ask();
    assert_ptr_not_equal(a.self, before);
    assert_string_equal(a.word, "w");
    assert_string_equal(a.fixed, "old");
    assert_string_equal(a.fixed_first, "x");
}

/* A section of one host that comes or goes says the same of its keys. */
static void restart_options_of_one_host(void **state)
{
    struct tally_ask a;

    (void)state;
    load(ONE "[mod_tally]\nfixed = old\n");
    reload_ok(ONE "[mod_tally]\nfixed = old\n[mod_tally a.test]\nfixed = new\nword = w\n",
              "[mod_tally a.test] fixed: old -> new (needs a restart)\n");
    a = ask();
    assert_string_equal(a.fixed, "old");
    assert_string_equal(a.word, "w");
    reload_ok(ONE "[mod_tally]\nfixed = third\n",
              "[mod_tally a.test] fixed: new -> third (needs a restart)\n");
    assert_string_equal(ask().fixed, "old");
}

static void new_code_has_what_is_written(void **state)
{
    struct tally_ask a;

    (void)state;
    load(ONE "[mod_tally]\nfixed = old\n");
    compile("-DTALLY_VERSION=2");
    reload_ok(ONE "[mod_tally]\nfixed = new\n", "[mod_tally] fixed: old -> new (live)\n");
    a = ask();
    assert_int_equal(a.version, 2);
    assert_string_equal(a.fixed, "new");
}

/* --- what must not work, and must not harm --- */

static void expect_untouched(struct gr_mod *self, uint64_t count)
{
    struct tally_ask a = ask();

    loops_step();
    assert_ptr_equal(a.self, self);
    assert_int_equal(a.version, 1);
    assert_int_equal(a.count, count);
    assert_int_equal(image_count(), 1);
    assert_false(world_logged("tally.stop: version 1"));
}

static void failures_leave_the_old_running(void **state)
{
    char *so = mod_compile_path("mod_tally.so");
    struct gr_mod *self;

    (void)state;
    load(ONE "[mod_tally]\n");
    message(0, "a.test");
    self = ask().self;
    world_log[0] = '\0';
    /* check() */
    reload_refused(ONE "[mod_tally]\nstep = 9\nlimit = 8\n", "limit must not be below step");
    expect_untouched(self, 1);
    /* start() */
    reload_refused(ONE "[mod_tally]\nword = no start\n", "cannot start on a.test: the word is no");
    expect_untouched(self, 1);
    /* the schema */
    reload_refused(ONE "[mod_tally]\nstep = x\n", "step");
    expect_untouched(self, 1);
    /* another's missing file */
    reload_refused(ONE "[mod_tally]\nword = two\n[mod_zzz]\n", "mod_zzz");
    expect_untouched(self, 1);
    /* other headers */
    gr_free(mod_compile("tally", "mod_trap.c", "-DTRAP_TAG"));
    reload_refused(ONE "[mod_tally]\n", "headers of another server: rebuild it");
    expect_untouched(self, 1);
    /* a missing symbol */
    gr_free(mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=3 -Dgr_timer_start=gr_no_such"));
    reload_refused(ONE "[mod_tally]\n", "undefined symbol: gr_no_such");
    expect_untouched(self, 1);
    /* new code whose start() fails on the first loop only after others were prepared */
    compile("-DTALLY_VERSION=2");
    reload_refused(ONE "[mod_tally]\nword = no start\n", "the word is no");
    expect_untouched(self, 1);
    /* a start() that fails on the third loop, after two have prepared theirs */
    compile("-DTALLY_VERSION=1");
    world_log[0] = '\0';
    reload_refused(ONE "[mod_tally]\nword = third\n", "the third is one too many");
    assert_non_null(strstr(world_log, "tally.stop: version 1 at 0"));
    world_log[0] = '\0';
    expect_untouched(self, 1);
    /* half a file */
    assert_int_equal(truncate(so, 5000), 0);
    reload_refused(ONE "[mod_tally]\n", "is damaged or incomplete: install it again");
    expect_untouched(self, 1);
    unlink(so);
    reload_refused(ONE "[mod_tally]\n", "there is no mod_tally.so");
    expect_untouched(self, 1);
    compile("-DTALLY_VERSION=2");
    reload_ok(ONE "[mod_tally]\n", "new code");
    assert_int_equal(ask().version, 2);
    assert_int_equal(ask().count, 1);
    gr_free(so);
}

/* --- old code that is still needed --- */

struct waiting {
    struct gr_stanza_ev e;
    struct gr_jid *jid;
    unsigned done;
};

static void on_done(struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)verdict;
    GR_CONTAINER_OF(ev, struct waiting, e.ev)->done++;
}

/* In struct tally: three counters and a timer stand before it. */
static struct gr_hold *hold_of(struct gr_mod *self)
{
    struct gr_hold *h;

    memcpy(&h, (char *)gr_state(self) + 3 * sizeof(uint64_t) + sizeof(struct gr_timer), sizeof(h));
    return h;
}

static void suspended_chain_finishes_in_old_code(void **state)
{
    struct waiting w = { .done = 0 };
    struct gr_mod *old;

    (void)state;
    load(ONE "[mod_tally]\n");
    assert_int_equal(gr_jid_parse("me@a.test", 9, &w.jid), 0);
    w.e.ev.host = host_find("a.test");
    w.e.ev.acc = acc_new(GR_FROM_C2S);
    w.e.stanza = gr_message_new(GR_MSG_CHAT, w.jid, w.jid);
    w.e.from = w.e.to = w.jid;
    hook_run(GR_HOOK_offline_message, &w.e.ev, on_done);
    assert_int_equal(w.done, 0);
    old = ask().self;
    compile("-DTALLY_VERSION=2");
    reload_ok(ONE "[mod_tally]\n", "new code");
    assert_int_equal(ask().version, 2);
    assert_int_equal(image_count(), 2); /* the chain keeps the old code */
    assert_true(old->retired);
    world_log[0] = '\0';
    gr_resume(hold_of(old), GR_OK);
    assert_int_equal(w.done, 1);
    assert_string_equal(gr_acc_get(w.e.ev.acc, "tally", "late"), "1"); /* its other handler too */
    loops_step();
    assert_int_equal(image_count(), 1);
    assert_true(world_logged("tally.stop: version 1"));
    gr_stanza_unref(&w.e.stanza);
    acc_free(&w.e.ev.acc);
    gr_jid_free(&w.jid);
}

static void timers_of_the_old_stop(void **state)
{
    (void)state;
    load(ONE "[mod_tally]\n");
    loops_advance(3000);
    assert_int_equal(ask().ticks, 3);
    compile("-DTALLY_VERSION=2");
    reload_ok(ONE "[mod_tally]\n", "new code");
    assert_int_equal(ask().ticks, 0); /* not saved */
    loops_advance(3000);
    assert_int_equal(ask().ticks, 6); /* the new code's own */
}

static void slots_stay_or_are_released_by_old_code(void **state)
{
    struct slots object = { NULL };
    struct tally_ask a;
    uint64_t *times;

    (void)state;
    load(ONE "[mod_tally]\n");
    a = ask();
    times = slots_get(&object, a.self, a.slot);
    assert_int_equal(*times, 0);
    a.do_mark(a.self, times);
    a.do_mark(a.self, times);
    compile("-DTALLY_VERSION=2");
    reload_ok(ONE "[mod_tally]\n", "new code");
    a = ask();
    assert_ptr_equal(slots_peek(&object, a.self, a.slot), times); /* same name and version */
    assert_int_equal(*times, 2);
    world_log[0] = '\0';
    compile("-DTALLY_VERSION=3 -DTALLY_SLOT=2");
    reload_ok(ONE "[mod_tally]\n", "new code");
    assert_true(world_logged("version 2 at 0, released 1"));
    a = ask();
    assert_null(slots_peek(&object, a.self, a.slot));
    assert_null(object.first);
    slots_get(&object, a.self, a.slot);
    reload_ok(ONE, "[mod_tally]: removed");
    assert_null(object.first);
    assert_true(world_logged("version 3 at 0, released 1"));
}

/* Timers in slots go on, in the new code: here each adds 100 a second, on every loop. */
static void moved_slots_are_told(void **state)
{
    struct slots object[4] = { { NULL } };
    uint64_t *times[4];

    (void)state;
    load(ONE "[mod_tally]\n");
    for (int i = 0; i < 4; i++) {
        struct tally_ask a = ask_on(i, "a.test");

        times[i] = slots_get(&object[i], a.self, a.slot);
    }
    loops_advance(3000);
    assert_int_equal(times[0][0], 0); /* never moved, never started */
    compile("-DTALLY_VERSION=2");
    reload_ok(ONE "[mod_tally]\n", "new code");
    loops_advance(3000);
    reload_ok(ONE "[mod_tally]\nword = other\n", "other"); /* the same code, another instance */
    loops_advance(2000);
    reload_ok(ONE "[mod_tally]\nword = other\n", ""); /* unchanged: nobody is told */
    loops_advance(1000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(times[i][0], 600);
        assert_int_equal(times[i][1], 22);
    }
    reload_ok(ONE, "removed");
    for (int i = 0; i < 4; i++)
        assert_null(object[i].first);
}

static void timers_do_not_move_to_another_loop(void **state)
{
    struct slots object = { NULL };
    struct tally_ask a = { .version = 0 };
    uint64_t *times;

    (void)state;
    load(ONE "[mod_tally]\n");
    a = ask_on(0, "a.test");
    times = slots_get(&object, a.self, a.slot);
    slots_detach(&object);
    slots_attach(&object, host_find("a.test")); /* starts it */
    loops_advance(2000);
    assert_int_equal(times[0], 200);
    slots_detach(&object);
    loops_advance(2000); /* on its way */
    assert_int_equal(times[0], 200);
    loop_enter(loop_at(2));
    slots_attach(&object, host_find("a.test"));
    loops_advance(2000);
    assert_int_equal(times[0], 400);
    assert_int_equal(times[1], 11);
    loop_enter(loop_at(2));
    slots_fini(&object);
    loop_enter(loop_at(0));
}

static void slots_move_between_loops(void **state)
{
    struct slots object = { NULL };
    struct tally_ask a = { .version = 0 }, b;
    uint64_t *times;

    (void)state;
    load(ONE "[mod_tally]\n");
    a = ask_on(0, "a.test");
    b = ask_on(2, "a.test");
    times = slots_get(&object, a.self, a.slot);
    *times = 41;
    slots_detach(&object);
    loop_enter(loop_at(2));
    slots_attach(&object, host_find("a.test"));
    assert_ptr_equal(slots_peek(&object, b.self, b.slot), times);
    b.do_mark(b.self, times);
    assert_int_equal(*times, 42);
    slots_fini(&object);
    loop_enter(loop_at(0));
}

/* --- providers --- */

static char answered[8];

static void on_answer(struct gr_mod *self, struct gr_ask *a, const struct gr_answer *answer)
{
    (void)self;
    (void)a;
    snprintf(answered, sizeof(answered), "%s", answer->text != NULL ? answer->text : "none");
}

static const char *contacts(struct gr_session *s)
{
    struct gr_mod *self = world_mod("a.test", "asker");

    gr_roster_ask(self, gr_ask_new(self, 0, on_answer), GR_ROSTER_GET_CONTACTS, s,
                  self->host->jid, NULL, NULL);
    return answered;
}

static struct provider_insts *insts_of(struct gr_session *s)
{
    return (struct provider_insts *)(void *)s;
}

static void provider_instances_are_closed_by_their_own_code(void **state)
{
    struct provider_insts insts = { .bound = 0 };
    struct gr_session *s = (struct gr_session *)(void *)&insts;

    (void)state;
    provider_insts_of = insts_of;
    load(ONE "[mod_tally]\n");
    assert_string_equal(contacts(s), "1");
    assert_string_equal(contacts(NULL), "1");
    compile("-DTALLY_VERSION=2");
    world_log[0] = '\0';
    reload_ok(ONE "[mod_tally]\n", "new code");
    assert_null(insts.inst[GR_PROVIDER_ROSTER]);
    assert_non_null(strstr(world_log, "tally.close: version 1\ninfo tally.close: version 1\n"));
    assert_false(world_logged("tally.open"));
    assert_string_equal(contacts(s), "2");
    assert_true(world_logged("tally.open: version 2"));
    reload_ok(ONE, "removed");
    assert_null(insts.inst[GR_PROVIDER_ROSTER]);
    assert_true(world_logged("tally.close: version 2"));
    assert_string_equal(contacts(s), "none"); /* whoever was below: the default */
    assert_string_equal(gr_provider_name(host_find("a.test"), GR_PROVIDER_ROSTER, NULL), "default");
}

/* --- modules and hosts that come and go --- */

static void modules_come_and_go(void **state)
{
    (void)state;
    load(TWO);
    assert_int_equal(ask().version, 0);
    reload_ok(TWO "[mod_tally b.test]\n", "[mod_tally b.test]: added");
    assert_int_equal(ask().version, 0);
    assert_int_equal(ask_on(1, "b.test").version, 1);
    assert_non_null(mod_loop()->global->chain[GR_HOOK_filter_packet]);
    assert_int_equal(mod_loop()->global->chain[GR_HOOK_filter_packet]->count, 1);
    assert_ptr_equal(mod_loop()->global->chain[GR_HOOK_filter_packet]->handlers[0].self,
                     world_mod("b.test", "tally"));
    reload_ok(TWO "[mod_tally]\n", "added");
    assert_int_equal(mod_loop()->global->chain[GR_HOOK_filter_packet]->count, 1);
    assert_ptr_equal(mod_loop()->global->chain[GR_HOOK_filter_packet]->handlers[0].self,
                     world_mod("a.test", "tally"));
    reload_ok(TWO, "removed");
    assert_int_equal(ask_on(1, "b.test").version, 0);
    assert_null(mod_loop()->global->chain[GR_HOOK_filter_packet]);
    assert_int_equal(image_count(), 0);
}

static unsigned gone;

static void on_host_gone(struct gr_host *host)
{
    assert_string_equal(gr_host_name(host), "b.test");
    assert_false(hook_empty(host, GR_HOOK_user_send_message)); /* still in force */
    gone++;
}

static void hosts_come_and_go(void **state)
{
    struct gr_host *b;

    (void)state;
    load(TWO "[mod_tally]\n");
    b = host_find("b.test");
    mod_host_gone = on_host_gone;
    gone = 0;
    reload_ok(ONE "[mod_tally]\n", "[host b.test]: removed");
    mod_host_gone = NULL;
    assert_int_equal(gone, 4); /* on each loop */
    assert_null(host_find("b.test"));
    assert_true(list_empty(&b->instances));
    assert_true(hook_empty(b, GR_HOOK_user_send_message));
    assert_ptr_equal(b->gen, mod_current());
    reload_ok("[host c.test]\n" TWO "[mod_tally]\n", "[host c.test]: added");
    assert_ptr_equal(host_find("b.test"), b); /* the same object again */
    assert_string_equal(gr_host_name(host_default()), "c.test");
    assert_int_equal(ask_on(2, "b.test").version, 1);
    assert_int_equal(ask_on(2, "c.test").version, 1);
}

/* --- rules between modules --- */

static const char *const needs_tally[] = { "tally", NULL };
static const char *const needs_late[] = { "mod_late", NULL };
static const struct gr_module early = { .name = "early", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG, .needs = needs_late };
static const struct gr_module late = { .name = "late", .abi = GR_ABI_VERSION,
                                       .abi_tag = GR_ABI_TAG };
static const struct gr_module needy = { .name = "needy", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG, .needs = needs_tally };

static void needs_are_met_and_order_the_start(void **state)
{
    char names[128] = "";
    char *errors;

    (void)state;
    mod_add_builtin(&early);
    mod_add_builtin(&late);
    mod_add_builtin(&needy);
    errors = refused_load(ONE);
    assert_non_null(strstr(errors, "mod_needy needs mod_tally on a.test: add a section [mod_tally]"));
    gr_free(errors);
    errors = refused_load(ONE "[mod_tally]\nenabled = no\n");
    assert_non_null(strstr(errors, "mod_needy needs mod_tally on a.test, where that is switched off"));
    assert_null(strstr(errors, "add a section"));
    gr_free(errors);
    load(ONE "[mod_tally]\n");
    list_each (self, &host_find("a.test")->instances, struct gr_mod, of_host) {
        strcat(names, self->desc->name);
        strcat(names, " ");
    }
    assert_string_equal(names, "asker late early tally needy ");
}

static const char *const needs_ring[] = { "ring", NULL };
static const char *const needs_gnir[] = { "gnir", NULL };
static const struct gr_module ring = { .name = "ring", .abi = GR_ABI_VERSION,
                                       .abi_tag = GR_ABI_TAG, .needs = needs_gnir };
static const struct gr_module gnir = { .name = "gnir", .abi = GR_ABI_VERSION,
                                       .abi_tag = GR_ABI_TAG, .needs = needs_ring };

static void circles_are_refused(void **state)
{
    char *errors;

    (void)state;
    mod_add_builtin(&ring);
    mod_add_builtin(&gnir);
    errors = refused_load(ONE);
    assert_non_null(strstr(errors, "mod_ring and what it needs need each other"));
    gr_free(errors);
    world_close();
    world_open(4);
}

static void no_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    (void)ev;
}

static const struct gr_iq rival_iqs[] = {
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT, "urn:test:tally", "query", no_iq), GR_IQ_END
};
static const struct gr_module rival = { .name = "rival", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG, .iqs = rival_iqs };
static const struct gr_coll thief_colls[] = { GR_MAP("tally"), GR_COLL_END };
static const struct gr_module thief = { .name = "thief", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG, .collections = thief_colls };

static const char *const hates_tally[] = { "mod_tally", "hater", NULL };
static const struct gr_module hater = { .name = "hater", .abi = GR_ABI_VERSION,
                                        .abi_tag = GR_ABI_TAG, .conflicts = hates_tally };

static void modules_that_contradict_each_other(void **state)
{
    char *errors;

    (void)state;
    mod_add_builtin(&hater);
    errors = refused_load(TWO "[mod_tally b.test]\n");
    assert_string_equal(errors, "test.ini:9: mod_hater and mod_tally cannot both be enabled on b.test: "
                                "disable one of them\n");
    gr_free(errors);
    load(ONE);
    reload_refused(ONE "[mod_tally]\n", "mod_hater and mod_tally cannot both be enabled on a.test");
}

static void conflicts_are_named(void **state)
{
    char *errors;

    (void)state;
    mod_add_builtin(&rival);
    mod_add_builtin(&thief);
    errors = refused_load(ONE "[mod_tally]\n");
    assert_non_null(strstr(errors, "mod_rival and mod_tally both answer <query "
                           "xmlns='urn:test:tally'/> on a.test: disable one of them"));
    assert_non_null(strstr(errors, "mod_thief and mod_tally both have a collection tally"));
    gr_free(errors);
    load(ONE);
}

static void one_entry_per_iq(void **state)
{
    static const struct gr_iq iqs[] = {
        GR_IQ(GR_IQ_GET, GR_TO_HOST, "urn:test:twice", "query", no_iq),
        GR_IQ(GR_IQ_SET, GR_TO_HOST | GR_TO_ACCOUNT, "urn:test:twice", "query", no_iq), GR_IQ_END
    };
    static const struct gr_module twice = { .name = "twice", .iqs = iqs, .abi = GR_ABI_VERSION,
                                            .abi_tag = GR_ABI_TAG };
    char *errors;

    (void)state;
    mod_add_builtin(&twice);
    errors = refused_load(ONE);
    assert_non_null(strstr(errors, "mod_twice has two entries for <query xmlns='urn:test:twice'/>"));
    gr_free(errors);
}

static void checking_changes_nothing(void **state)
{
    char *text = ini(ONE "[mod_tally]\nstep = 9\nlimit = 8\n"), *errors = NULL;
    struct conf *conf = world_conf(text);

    (void)state;
    assert_int_equal(mod_check_conf(conf, &errors), GR_EINVAL);
    assert_non_null(strstr(errors, "limit must not be below step"));
    gr_free(errors);
    gr_free(text);
    conf_free(&conf);
    text = ini(ONE "[mod_tally]\n");
    conf = world_conf(text);
    assert_int_equal(mod_check_conf(conf, &errors), 0);
    assert_null(errors);
    conf_free(&conf);
    gr_free(text);
    assert_int_equal(image_count(), 0);
    assert_null(host_find("a.test"));
}

/* Two versions back and forth: nothing grows, nothing is lost. */
static void many_reloads(void **state)
{
    (void)state;
    load(TWO "[mod_tally]\n");
    for (int i = 0; i < 20; i++) {
        message(i % 4, "b.test");
        compile(i % 2 == 0 ? "-DTALLY_VERSION=2" : "-DTALLY_VERSION=1");
        reload_ok(TWO "[mod_tally]\n", "new code");
        assert_int_equal(image_count(), 1);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask_on(i, "b.test").count, 5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(first_load), T(iqs_and_features_are_found), T(bad_first_loads), T(all_errors_at_once),
        T(new_code_takes_over_and_keeps_its_state), T(unchanged_modules_run_on),
        T(changed_options_give_a_new_instance), T(restart_options_wait),
        T(restart_options_of_one_host), T(new_code_has_what_is_written),
        T(failures_leave_the_old_running), T(suspended_chain_finishes_in_old_code),
        T(timers_of_the_old_stop), T(slots_stay_or_are_released_by_old_code),
        T(slots_move_between_loops), T(moved_slots_are_told), T(timers_do_not_move_to_another_loop),
        T(provider_instances_are_closed_by_their_own_code), T(modules_come_and_go), T(hosts_come_and_go),
        T(needs_are_met_and_order_the_start), T(circles_are_refused), T(conflicts_are_named), T(one_entry_per_iq),
        T(modules_that_contradict_each_other),
        T(checking_changes_nothing), T(many_reloads),
    };

    return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
