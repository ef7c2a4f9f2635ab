/* mod_clock: tells some accounts the time, again and again, while they are there. */
#include <grapnel/module.h>

struct clock_conf { const char *const *jids; int64_t interval; };
struct clock { struct gr_timer timer; int64_t ticks; }; /* per host and loop */

static const struct gr_opt options[] = {
    GR_OPT_JIDLIST(struct clock_conf, jids, "", "accounts that are told the time"),
    GR_OPT_DURATION(struct clock_conf, interval, GR_HOUR, 100, GR_DAY, "how often"),
    GR_OPT_END
};

static void tell(struct gr_mod *self, struct gr_session *session, void *ctx)
{
    const struct clock_conf *conf = gr_conf(self);
    const struct clock *state = gr_state(self);
    const struct gr_jid *jid = gr_session_jid(session);
    struct gr_stanza *msg;
    char stamp[GR_STAMP_SIZE];

    (void)ctx;
    if (!gr_session_available(session) || !gr_jid_in_list(conf->jids, jid))
        return;
    msg = gr_message_new(GR_MSG_HEADLINE, gr_mod_host_jid(self), jid);
    gr_stamp(stamp, gr_wall_us());
    gr_el_add_text(msg, NULL, NULL, "body", stamp);
    gr_el_set_int(msg, gr_el_add(msg, NULL, "urn:example:clock", "tick"), "number", state->ticks);
    gr_send(self, msg);
}

/* A timer fires once. Every host and loop has this one, and each tells the sessions that it has. */
static void tick(struct gr_mod *self, struct gr_timer *timer)
{
    const struct clock_conf *conf = gr_conf(self);
    struct clock *state = gr_state(self);

    state->ticks++;
    gr_each_session(self, tell, NULL);
    gr_timer_start(self, timer, conf->interval, tick);
}

/* Runs at every start of an instance, so also at a reload, which stops the timer of the old one. */
static int start(struct gr_mod *self, const char **why)
{
    const struct clock_conf *conf = gr_conf(self);
    struct clock *state = gr_state(self);

    (void)why;
    gr_timer_start(self, &state->timer, conf->interval, tick);
    return 0;
}

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    const struct clock *state = gr_state(self);

    gr_bag_put_u64(bag, "ticks", (uint64_t)state->ticks);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    struct clock *state = gr_state(self);

    state->ticks = (int64_t)gr_bag_u64(bag, "ticks", 0);
}

GR_MODULE(clock, .summary = "tells the time", .options = options,
          .conf_size = sizeof(struct clock_conf), .state_size = sizeof(struct clock),
          .start = start, .save = save, .restore = restore);
