/* mod_crash: for tests, crashes when it is told to: `crash hook` in a handler of remove_domain, `crash deep`
 * with a stack that is used up, `crash abort`. */
#include <grapnel/module.h>

#include <stdlib.h>
#include <string.h>

static volatile int *volatile nowhere = (volatile int *)64; /* a sanitizer would look for NULL */

static enum gr_verdict on_domain(struct gr_mod *self, struct gr_domain_ev *ev)
{
    (void)self;
    if (strcmp(ev->domain, "crash") == 0)
        *nowhere = 1;
    return GR_OK;
}

static const struct gr_hook hooks[] = { GR_ON(remove_domain, 50, on_domain), GR_HOOK_END };

static void in_a_hook(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_domain_ev ev = { .domain = "crash" };

    gr_hook_run(self, GR_HOOK_remove_domain, &ev.ev, NULL);
    gr_cmd_done(cmd);
}

static int fall(volatile int *above)
{
    volatile int here[1000] = { *above + 1 };

    return *above < 0 ? 0 : fall(here) + here[0];
}

static void deep(struct gr_mod *self, struct gr_cmd *cmd)
{
    volatile int zero = 0;

    (void)self;
    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "deep", fall(&zero));
    gr_cmd_done(cmd);
}

static void give_up(struct gr_mod *self, struct gr_cmd *cmd)
{
    (void)self, (void)cmd;
    abort();
}

static const struct gr_command commands[] = {
    { "crash hook", "crashes in a hook", NULL, GR_RUN_ANY, in_a_hook },
    { "crash deep", "uses up the stack", NULL, GR_RUN_ANY, deep },
    { "crash abort", "calls abort()", NULL, GR_RUN_ANY, give_up },
    GR_COMMAND_END
};

GR_MODULE(crash, .summary = "test", .hooks = hooks, .commands = commands);
