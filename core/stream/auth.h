/* stream/auth.h: the accounts of this server: the default auth provider (priority 0). */
#pragma once

#include "conf/conf.h"
#include "stream/creds.h"

#include <grapnel/module.h>

/* A built-in module, to be given to mod_add_builtin. */
extern const struct gr_module auth_module;
/* What new passwords of a host are hashed with; fills and returns `out`. */
const uint32_t *auth_iterations(const struct conf_host *host, uint32_t out[SCRAM_HASHES]);
/* Secret for decoys of unknown users; before any stream. */
void auth_set_secret(const void *bytes, size_t len);
