/* test_reload_threads: reloads while four loops run chains, holds and provider calls. What it counts must
 * be complete at the end: nothing is lost by an exchange, and nothing waits for ever. */
#include "mod_world.h"

#include <stdatomic.h>

#include "mod/image.h"
#include "mod_compile.h"

#define LOOPS 4
#define RELOADS 30
#define INI "[host a.test]\n[mod_tally]\n"

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

/* One stanza going round on each loop, as events of their own. */
struct traffic {
    struct post post;
    struct gr_stanza_ev e;
    struct gr_jid *jid;
    uint64_t sent;           /* this loop's */
    bool stopped;
};
static struct traffic traffic[LOOPS];
static struct gr_hold *held[LOOPS];
static atomic_bool enough;
static atomic_int answered, stopped;

static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    held[loop_index(self->loop)] = gr_hold(self, &ev->ev);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = { GR_ON(offline_groupchat_message, 50, on_offline),
                                        GR_HOOK_END };
static const struct gr_module driver = { .name = "driver", .abi = GR_ABI_VERSION,
                                         .abi_tag = GR_ABI_TAG, .hooks = hooks };

static void on_answer(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    (void)self;
    (void)ask;
    if (a->result == GR_R_OK)
        atomic_fetch_add(&answered, 1);
}

static void go_round(struct post *p);

static void round_done(struct gr_ev *ev, enum gr_verdict verdict)
{
    struct traffic *t = GR_CONTAINER_OF(ev, struct traffic, e.ev);

    (void)verdict;
    acc_free(&t->e.ev.acc);
    gr_stanza_unref(&t->e.stanza);
    if (atomic_load(&enough)) {
        t->stopped = true;
        atomic_fetch_add(&stopped, 1);
        return;
    }
    t->post.run = go_round;
    loop_defer(&t->post);
}

static void end_hold(struct post *p)
{
    struct traffic *t = GR_CONTAINER_OF(p, struct traffic, post);
    struct gr_hold *h = held[t - traffic];

    held[t - traffic] = NULL;
    gr_resume(h, GR_OK);
}

static void go_round(struct post *p)
{
    struct traffic *t = GR_CONTAINER_OF(p, struct traffic, post);
    struct gr_mod *self = world_mod("a.test", "driver");

    t->e.ev.host = self->host;
    t->e.ev.acc = acc_new(GR_FROM_C2S);
    t->e.stanza = gr_message_new(GR_MSG_CHAT, t->jid, t->jid);
    t->e.from = t->e.to = t->jid;
    hook_run_now(GR_HOOK_user_send_message, &t->e.ev);
    t->sent++;
    gr_roster_ask(self, gr_ask_new(self, 0, on_answer), GR_ROSTER_GET_CONTACTS, NULL, t->jid, NULL,
                  NULL);
    t->post.run = end_hold;
    loop_defer(&t->post);
    hook_run(GR_HOOK_offline_groupchat_message, &t->e.ev, round_done);
}

static void start_traffic(void *arg)
{
    struct traffic *t = &traffic[loop_index(loop_self())];

    (void)arg;
    t->post.run = go_round;
    loop_defer(&t->post);
}

static void count_here(void *arg)
{
    struct tally_ask ask = { .version = 0 };
    struct traffic *t = &traffic[loop_index(loop_self())];

    (void)arg;
    gr_hook_run_custom(world_mod("a.test", "driver"), "tally.ask", &ask.ev, NULL);
    assert_int_equal(ask.count, t->sent);
    assert_int_equal(ask.version, RELOADS % 2 + 1);
}

/* Loops without the virtual clock: the main loop's mailbox is emptied by running it. */
static void on_main_wake(struct post *p)
{
    (void)p;
    loop_stop_main();
}

static char *conf_text(void)
{
    return gr_asprintf("[server]\nmodule_path = %s\n" INI, mod_compile_folder());
}

static void install(const char *from)
{
    char *so = mod_compile_path("mod_tally.so"), *src = mod_compile_path(from);
    char *cmd = gr_asprintf("cp %s %s.new && mv %s.new %s", src, so, so, so);

    assert_int_equal(system(cmd), 0);
    gr_free(cmd);
    gr_free(src);
    gr_free(so);
}

static void reload_once(int i)
{
    char *text = conf_text(), *report = NULL;
    struct conf *conf = world_conf(text);

    install(i % 2 == 0 ? "two.so" : "one.so");
    if (mod_reload(conf, &report) != 0)
        fail_msg("%s", report);
    assert_non_null(strstr(report, "mod_tally: new code"));
    gr_free(report);
    gr_free(text);
}

static void prepare_files(void)
{
    char *so = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=1");
    char *cmd = gr_asprintf("cd %s && cp mod_tally.so one.so", mod_compile_folder());

    assert_int_equal(system(cmd), 0);
    gr_free(cmd);
    gr_free(so);
    so = mod_compile("tally", "mod_tally.c", "-DTALLY_VERSION=2");
    cmd = gr_asprintf("cd %s && cp mod_tally.so two.so", mod_compile_folder());
    assert_int_equal(system(cmd), 0);
    gr_free(cmd);
    gr_free(so);
    install("one.so");
}

static void reloads_under_traffic(void **state)
{
    const struct store_opts memory = { .dir = NULL };
    char *why = NULL, *text;
    struct post wake = { .run = on_main_wake };
    uint64_t sent = 0;

    (void)state;
    prepare_files();
    schema_prep.parse = gr_jid_parse;
    schema_prep.free = gr_jid_free;
    loops_init(LOOPS, false);
    loop_enter(loop_main());
    assert_int_equal(store_open(&memory, &why), 0);
    mod_add_builtin(&driver);
    text = conf_text();
    world_load(text);
    gr_free(text);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(gr_jid_parse("me@a.test", 9, &traffic[i].jid), 0);
    loops_start();
    loops_call(start_traffic, NULL);
    for (int i = 0; i < RELOADS; i++)
        reload_once(i);
    atomic_store(&enough, true);
    while (atomic_load(&stopped) < LOOPS)
        usleep(1000); /* for the loops' last round */
    loops_call(count_here, NULL);
    mod_stop_all();
    loops_stop();
    loops_drain();
    loop_post(loop_main(), &wake);
    loop_run_main(); /* specs whose last reference went on a loop */
    store_close();
    assert_int_equal(held[0] == NULL, 1);
    for (int i = 0; i < LOOPS; i++) {
        sent += traffic[i].sent;
        gr_jid_free(&traffic[i].jid);
    }
    assert_true(sent > 0);
    assert_int_equal(atomic_load(&answered), sent);
    mod_fini();
    assert_int_equal(image_count(), 0);
    loops_fini();
    mod_compile_clean();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reloads_under_traffic) };

    return cmocka_run_group_tests_name("reload_threads", tests, NULL, NULL);
}
