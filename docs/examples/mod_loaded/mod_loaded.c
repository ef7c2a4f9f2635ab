/* mod_loaded: handles the hook of mod_dice: some people always roll a six, some never roll. */
#include "../mod_dice/dice.h"

struct loaded_conf { const char *const *lucky, *const *banned; };

static const struct gr_opt options[] = {
    GR_OPT_JIDLIST(struct loaded_conf, lucky, "", "who rolls a six"),
    GR_OPT_JIDLIST(struct loaded_conf, banned, "", "who may not roll"),
    GR_OPT_END
};

static enum gr_verdict on_rolled(struct gr_mod *self, struct gr_ev *ev)
{
    const struct loaded_conf *conf = gr_conf(self);
    struct dice_ev *dice = (struct dice_ev *)ev;

    if (gr_jid_in_list(conf->banned, dice->who))
        return GR_STOP;
    if (gr_jid_in_list(conf->lucky, dice->who))
        dice->eyes = 6;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON_CUSTOM(DICE_ROLLED, GR_PRIO_NORMAL, on_rolled),
    GR_HOOK_END
};

GR_MODULE(loaded, .summary = "loaded dice", .options = options, .hooks = hooks,
          .conf_size = sizeof(struct loaded_conf), .needs = (const char *const[]){ "dice", NULL });
