/* mod_lost: wants a function that the server does not have. */
#include <grapnel/module.h>

void gr_no_such_function(struct gr_mod *self);

static void stop(struct gr_mod *self)
{
    gr_no_such_function(self);
}

GR_MODULE(lost, .summary = "cannot be linked", .stop = stop);
