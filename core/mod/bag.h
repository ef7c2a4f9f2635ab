/* mod/bag.h: what one instance hands to its successor. Everything is copied, keys too: nothing in it
 * points into the image that goes. One loop. */
#pragma once

#include "base/arena.h"

#include <grapnel/module.h>

struct bag_entry;
struct gr_bag {
    struct arena mem;
    struct bag_entry *first;
};
void bag_fini(struct gr_bag *bag);
