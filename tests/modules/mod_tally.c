/* mod_tally: counts messages, over reloads. Compiled by the tests in two versions (TALLY_VERSION) and in
 * versions that must be refused. What it has seen is asked with the custom hook "tally.ask". */
#include <string.h>

#include <grapnel/module.h>

#ifndef TALLY_VERSION
#define TALLY_VERSION 1
#endif
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#ifndef TALLY_SLOT
#define TALLY_SLOT 1
#endif

struct tally_conf {
    const char *word;
    int64_t step, limit;
    const char *fixed;
    const char *const *fixed_list;
};
struct tally {
    uint64_t count, saved;
    uint64_t ticks;
    struct gr_timer timer;
    struct gr_hold *hold;
};
struct mark {
    uint64_t times;
    uint64_t moved; /* the versions that took it over, as decimal digits */
    struct gr_timer timer;
};

/* The answer of "tally.ask"; the test has the same struct. */
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

static const struct gr_opt options[] = {
    GR_OPT_STR(struct tally_conf, word, "tally", "a word"),
    GR_OPT_INT(struct tally_conf, step, 1, 1, 100, "what a message counts"),
    GR_OPT_INT(struct tally_conf, limit, 1000, 1, 1000, "not below step"),
    GR_OPT_STR(struct tally_conf, fixed, "first", "keeps its value", .when = GR_RESTART),
    GR_OPT_LIST(struct tally_conf, fixed_list, "a, b", "so does this", .when = GR_RESTART),
    GR_OPT_END
};

static unsigned released;

static void mark_release(void *data)
{
    struct mark *m = data;

    gr_timer_stop(&m->timer);
    m->times = 0;
    released++;
}

static void on_mark(struct gr_mod *self, struct gr_timer *t)
{
    struct mark *m = GR_CONTAINER_OF(t, struct mark, timer);

    m->times += 100;
    gr_timer_start(self, t, 1000, on_mark);
}

static void mark_moved(struct gr_mod *self, void *data)
{
    struct mark *m = data;

    m->moved = 10 * m->moved + TALLY_VERSION;
    gr_timer_start(self, &m->timer, 1000, on_mark);
}

static const struct gr_slot mark_slot = {
    .name = "mark", .version = TALLY_SLOT, .size = sizeof(struct mark), .release = mark_release,
    .moved = mark_moved
};

/* Called by the test as if it were a handler. */
static void do_mark(struct gr_mod *self, void *data)
{
    struct mark *m = data;

    (void)self;
    m->times += 1;
}

static void on_tick(struct gr_mod *self, struct gr_timer *t)
{
    struct tally *st = gr_state(self);

    st->ticks += TALLY_VERSION;
    gr_timer_start(self, t, 1000, on_tick);
}

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct tally_conf *conf = gr_conf(self);
    struct tally *st = gr_state(self);

    (void)ev;
    st->count += (uint64_t)conf->step;
    return GR_OK;
}

/* Waits; the test finds the hold in the state. */
static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct tally *st = gr_state(self);

    st->hold = gr_hold(self, &ev->ev);
    return st->hold != NULL ? GR_PENDING : GR_FAIL;
}

static enum gr_verdict on_offline_late(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    gr_acc_set(ev->ev.acc, "tally", "late", TEXT(TALLY_VERSION));
    return GR_OK;
}

static enum gr_verdict on_ask(struct gr_mod *self, struct gr_ev *ev)
{
    struct tally_ask *ask = (struct tally_ask *)(void *)ev;
    const struct tally_conf *conf = gr_conf(self);
    const struct tally *st = gr_state(self);

    ask->count = st->count;
    ask->ticks = st->ticks;
    ask->version = TALLY_VERSION;
    ask->word = conf->word;
    ask->fixed = conf->fixed;
    ask->fixed_first = conf->fixed_list[0];
    ask->step = conf->step;
    ask->self = self;
    ask->slot = &mark_slot;
    ask->do_mark = do_mark;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_NORMAL, on_message),
    GR_ON(filter_packet, GR_PRIO_NORMAL, on_message),
    GR_ON(offline_message, GR_PRIO_NORMAL, on_offline),
    GR_ON(offline_message, GR_PRIO_LATE, on_offline_late),
    GR_ON_CUSTOM("tally.ask", GR_PRIO_NORMAL, on_ask),
    GR_HOOK_END
};

static void on_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    (void)ev;
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST | GR_TO_ACCOUNT, "urn:test:tally", "query", on_iq),
    GR_IQ_END
};

static const struct gr_coll collections[] = { GR_MAP("tally"), GR_COLL_END };
static const struct gr_slot *const slots[] = { &mark_slot, NULL };

/* A roster provider, to see instances come and go. */
static void *roster_open(struct gr_mod *self, struct gr_session *session)
{
    (void)self;
    (void)session;
    gr_info("tally.open", "version %d", TALLY_VERSION);
    return gr_alloc(1);
}

static void roster_close(struct gr_mod *self, void *inst)
{
    (void)self;
    gr_info("tally.close", "version %d", TALLY_VERSION);
    gr_free(inst);
}

static void roster_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                            const struct gr_jid *user)
{
    (void)self;
    (void)inst;
    (void)user;
    gr_answer(ask, &(struct gr_answer){ .result = GR_R_OK, .text = TEXT(TALLY_VERSION) });
}

static const struct gr_roster_provider roster = {
    .name = "tally", .open = roster_open, .close = roster_close, .get_contacts = roster_contacts
};

static int check(const void *values, const char **why)
{
    const struct tally_conf *conf = values;

    if (conf->step <= conf->limit)
        return 0;
    *why = "limit must not be below step";
    return GR_EINVAL;
}

static int start(struct gr_mod *self, const char **why)
{
    const struct tally_conf *conf = gr_conf(self);
    struct tally *st = gr_state(self);

    gr_timer_start(self, &st->timer, 1000, on_tick);
    gr_provide_roster(self, &roster, GR_PROVIDER_DEFAULT_PRIO);
    if (strcmp(conf->word, "no start") != 0)
        return 0;
    *why = "the word is no";
    return GR_EIO;
}

/* The word "third": the third loop that starts this image fails. */
static int start_third(struct gr_mod *self, const char **why)
{
    static unsigned starts;
    const struct tally_conf *conf = gr_conf(self);

    if (strcmp(conf->word, "third") == 0 && ++starts == 3) {
        *why = "the third is one too many";
        return GR_EIO;
    }
    return start(self, why);
}

static void stop(struct gr_mod *self)
{
    struct tally *st = gr_state(self);

    gr_info("tally.stop", "version %d at %llu, released %u", TALLY_VERSION,
            (unsigned long long)st->count, released);
}

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    const struct tally *st = gr_state(self);

    gr_bag_put_u64(bag, "count", st->count);
    gr_bag_put_str(bag, "version", TEXT(TALLY_VERSION));
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    struct tally *st = gr_state(self);

    st->count = gr_bag_u64(bag, "count", 0);
    gr_info("tally.restore", "version %d from %s", TALLY_VERSION, gr_bag_str(bag, "version"));
}

GR_MODULE(tally, .summary = "tally " TEXT(TALLY_VERSION), .conf_size = sizeof(struct tally_conf),
          .state_size = sizeof(struct tally), .options = options, .hooks = hooks, .iqs = iqs,
          .collections = collections, .slots = slots, .check = check, .start = start_third, .stop = stop,
          .save = save, .restore = restore,
          .features = (const char *const[]){ "urn:test:tally#feature", NULL });
