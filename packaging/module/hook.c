/* mod_NAME: tells whoever logs in a text from the configuration, and counts. A handler runs on the
 * loop of the account it is about: nothing in here needs a lock. */
#include <grapnel/module.h>

struct conf { const char *text; int64_t limit; };  /* filled by the core, read-only */
struct state { uint64_t greeted; };                /* one per host and loop         */

static const struct gr_opt options[] = {
    GR_OPT_STR(struct conf, text, "Hello!", "what a new session is told"),
    GR_OPT_INT(struct conf, limit, 0, 1, 1000000, "fall silent after so many on a loop",
               .zero = "unlimited"),
    GR_OPT_END
};

static void on_login(struct gr_mod *self, struct gr_session_ev *ev)
{
    const struct conf *conf = gr_conf(self);
    struct state *state = gr_state(self);
    struct gr_stanza *msg;

    if (conf->limit > 0 && state->greeted >= (uint64_t)conf->limit)
        return;
    state->greeted++;
    msg = gr_message_new(GR_MSG_HEADLINE, gr_mod_host_jid(self), ev->jid);
    gr_el_add_text(msg, NULL, NULL, "body", conf->text);
    gr_send(self, msg); /* takes it */
}

static const struct gr_hook hooks[] = {
    GR_ON(sm_register_connection, GR_PRIO_LATE, on_login),
    GR_HOOK_END
};

/* A reload makes a new instance when the file or the options changed: the count goes over. */
static void save(struct gr_mod *self, struct gr_bag *bag)
{
    gr_bag_put_u64(bag, "greeted", ((const struct state *)gr_state(self))->greeted);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    ((struct state *)gr_state(self))->greeted = gr_bag_u64(bag, "greeted", 0);
}

GR_MODULE(NAME, .summary = "greets whoever logs in", .options = options,
          .conf_size = sizeof(struct conf), .state_size = sizeof(struct state), .hooks = hooks,
          .save = save, .restore = restore);
