/* admin_data.h: commands about all that is kept of an account or a host, as a built-in module. */
#pragma once

#include <grapnel/module.h>

extern const struct gr_module admin_data_module;

void admin_user_export(struct gr_mod *self, struct gr_cmd *cmd); /* admin_export.c */
