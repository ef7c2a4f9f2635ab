/* stream/auth.h: the accounts of this server: the default auth provider (priority 0). */
#pragma once

#include "conf/conf.h"
#include "stream/creds.h"

#include <grapnel/module.h>

/* A built-in module, to be given to mod_add_builtin. */
extern const struct gr_module auth_module;
/* What new passwords of a host are hashed with; fills and returns `out`. */
const uint32_t *auth_iterations(const struct conf_host *host, uint32_t out[SCRAM_HASHES]);
/* The server's secret, for decoys of unknown users and for keys; before any stream. */
void auth_set_secret(const void *bytes, size_t len);
#define AUTH_KEY_SIZE 32
/* A key made of the server's secret, the same at every start. */
void auth_derive_key(const char *purpose, const char *host, uint8_t out[AUTH_KEY_SIZE]);
