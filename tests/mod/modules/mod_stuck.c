/* mod_stuck: for tests, does not come back while a file is there: in a handler of remove_domain, which
 * the command `stuck hook` runs, in the command `stuck here` itself, or in its start. `stuck never` returns,
 * and never answers. */
#include <grapnel/module.h>

#include <unistd.h>

static void spin(const char *file)
{
    while (access(file, F_OK) == 0)
        usleep(1000); /* where ThreadSanitizer lets signals through */
}

static enum gr_verdict on_domain(struct gr_mod *self, struct gr_domain_ev *ev)
{
    (void)self;
    spin(ev->domain);
    return GR_OK;
}

static int start(struct gr_mod *self, const char **why)
{
    (void)self, (void)why;
    spin("start"); /* in the server's folder */
    return 0;
}

static const struct gr_hook hooks[] = { GR_ON(remove_domain, 50, on_domain), GR_HOOK_END };

static void in_a_hook(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_domain_ev ev = { .domain = gr_cmd_text(cmd, "file") };

    gr_hook_run(self, GR_HOOK_remove_domain, &ev.ev, NULL);
    gr_cmd_done(cmd);
}

static void right_here(struct gr_mod *self, struct gr_cmd *cmd)
{
    (void)self;
    spin(gr_cmd_text(cmd, "file"));
    gr_cmd_done(cmd);
}

static void never(struct gr_mod *self, struct gr_cmd *cmd)
{
    (void)self, (void)cmd;
}

static const struct gr_arg args[] = { GR_ARG(file, TEXT, "as long as it is there"), GR_ARG_END };
static const struct gr_command commands[] = {
    { "stuck hook", "does not come back from a hook", args, GR_RUN_ANY, in_a_hook },
    { "stuck here", "does not come back", args, GR_RUN_ANY, right_here },
    { "stuck never", "never answers", NULL, GR_RUN_ANY, never },
    GR_COMMAND_END
};

GR_MODULE(stuck, .summary = "test", .start = start, .hooks = hooks, .commands = commands);
