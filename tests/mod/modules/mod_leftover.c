/* mod_leftover: for tests, takes its time over node_cleanup: option `wait`. Says in the log when it has
 * begun and when it is done. */
#include <grapnel/module.h>

struct leftover_conf { int64_t wait; };
struct state {
    struct gr_timer timer;
    struct gr_hold *hold;
};

static const struct gr_opt options[] = {
    GR_OPT_DURATION(struct leftover_conf, wait, 300, 0, GR_MINUTE, "how long it takes"), GR_OPT_END
};

static void fire(struct gr_mod *self, struct gr_timer *t)
{
    (void)t;
    gr_info("leftover.done", "cleaned up");
    gr_resume(((struct state *)gr_state(self))->hold, GR_OK);
}

static enum gr_verdict on_node(struct gr_mod *self, struct gr_domain_ev *ev)
{
    struct state *st = gr_state(self);
    const struct leftover_conf *conf = gr_conf(self);

    st->hold = gr_hold(self, &ev->ev);
    if (st->hold == NULL)
        return GR_FAIL;
    gr_info("leftover.begun", "cleaning up after %s", ev->node);
    gr_timer_start(self, &st->timer, conf->wait, fire);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = { GR_ON(node_cleanup, 50, on_node), GR_HOOK_END };

GR_MODULE(leftover, .summary = "test", .conf_size = sizeof(struct leftover_conf),
          .state_size = sizeof(struct state), .options = options, .hooks = hooks);
