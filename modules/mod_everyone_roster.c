/* mod_everyone_roster: everybody's roster is everybody on the host (backends.md 3.4). The work
 * is in virtual_roster.h; mod_roster speaks the protocol. */
#include "virtual_roster.h"

static const struct gr_roster_provider provider = VIRTUAL_PROVIDER("everyone");

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    return virtual_start(self, &provider, false);
}

GR_MODULE(everyone_roster,
    .summary = "everybody's roster is everybody on the host",
    .conf_size = sizeof(struct virtual_conf), .state_size = sizeof(struct virtual_state),
    .options = virtual_options, .hooks = virtual_hooks,
    .needs = (const char *const[]){ "roster", NULL },
    .conflicts = (const char *const[]){ "staff_roster", NULL }, .start = start, .stop = virtual_stop);
