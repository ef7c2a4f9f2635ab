/* mod_wrong: tables that compile and cannot be used; one mistake per macro. */
#include <grapnel/module.h>

struct wrong_conf {
    int64_t n;
};

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    (void)ev;
    return GR_OK;
}

static void on_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    (void)ev;
}

static const struct gr_opt options[] = {
    GR_OPT_INT(struct wrong_conf, n, 1, 0, 10, "a number"),
    GR_OPT_END
};

static const struct gr_hook hooks[] = {
#if defined(WRONG_PRIO)
    GR_ON(user_send_message, -5, on_message),
#elif defined(WRONG_FN)
    GR_ON(user_send_message, 5, NULL),
#elif defined(WRONG_HOOK)
    { .id = GR_HOOK_COUNT + 1, .prio = 5, .fn.user_send_message = on_message },
#endif
    GR_ON(user_send_message, 10, on_message),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
#if defined(WRONG_IQ)
    GR_IQ(0, GR_TO_HOST, "urn:test:wrong", "a", on_iq),
#endif
    GR_IQ(GR_IQ_GET, GR_TO_HOST, "urn:test:wrong", "b", on_iq),
    GR_IQ_END
};

static const struct gr_coll collections[] = {
#if defined(WRONG_COLL)
    { .name = "wrong", .kind = 0 },
#endif
    GR_COLL_END
};

GR_MODULE(wrong, .summary = "unusable", .options = options, .hooks = hooks, .iqs = iqs,
          .collections = collections,
#if !defined(WRONG_CONF)
          .conf_size = sizeof(struct wrong_conf),
#endif
);
