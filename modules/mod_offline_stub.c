/* mod_offline_stub: where an archive keeps the messages, nobody needs to be told that the
 * recipient was away: takes undeliverable messages and says nothing (hooks.md 4.6, modules.md
 * C). It stands behind mod_offline (50) and before the error (100). */
#include <grapnel/module.h>

static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    return GR_STOP;
}

static const struct gr_hook hooks[] = {
    GR_ON(offline_message, 75, on_offline),
    GR_HOOK_END
};

GR_MODULE(offline_stub, .summary = "no error for messages to users who are offline",
          .hooks = hooks, .conflicts = (const char *const[]){ "offline", NULL });
