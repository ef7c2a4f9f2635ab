/* dice.h: the hook of mod_dice, for modules that handle it: GR_ON_CUSTOM(DICE_ROLLED, ...). It runs
 * before the roller hears his result. Handlers may change `eyes`; GR_STOP: he hears not-allowed. */
#pragma once

#include <grapnel/module.h>

#define DICE_ROLLED "dice_rolled"

struct dice_ev {
    struct gr_ev ev; /* first, as in every event */
    const struct gr_jid *who;
    int eyes;
};
