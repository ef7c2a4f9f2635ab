/* stream/auth.h: the accounts of this server: the default auth provider (priority 0). */
#pragma once

#include <grapnel/module.h>

/* A built-in module, to be given to mod_add_builtin. */
extern const struct gr_module auth_module;
/* Secret for decoys of unknown users; before any stream. */
void auth_set_secret(const void *secret, size_t len);
