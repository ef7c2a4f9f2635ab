/* admin.h: the core's own commands, as a built-in module. */
#pragma once

#include <grapnel/module.h>

extern const struct gr_module admin_module;
