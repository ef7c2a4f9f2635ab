/* mod/reload.h: from a configuration to running instances, the first time and every time after:
 * test, prepare, commit, retire (style.md, Reload). Main thread. */
#pragma once

#include "conf/conf.h"

#include <grapnel/module.h>

#include <stdio.h>

/* Descriptors compiled into the server (sessions, accounts): instantiated on every host, before the
 * others. Call before mod_load_first. */
void mod_add_builtin(const struct gr_module *desc);
bool mod_is_builtin(const char *name); /* mod_x */
/* Whether that host has mod_x: not when it is left out after a crash, whatever the configuration says. */
bool mod_runs_on(const char *domain, const char *name);

/* Loads and starts everything of `conf` on all loops (which exist and may be running). On failure
 * nothing is left behind and *errors (caller frees) holds one line per problem. Takes conf when it
 * succeeds. */
int mod_load_first(struct conf *conf, char **errors);
/* Goes over to a new configuration and to changed images; on failure the running server is exactly
 * as before. *report (caller frees): errors, or the diff that was carried out. Takes conf when it
 * succeeds. The generation that was in force stays in memory until the next reload. */
int mod_reload(struct conf *conf, char **report);
/* Stops every instance, on its loop, in reverse order of start, whatever is pending: completions that
 * come later find nobody. Chains that wait go on with GR_FAIL first. Before the loops stop. */
void mod_stop_all(void);
/* Frees what is left: hosts, configurations. After loops_stop (and store_close), before loops_fini. */
void mod_fini(void);
const struct conf *mod_current(void);

/* route's part in a commit, on each loop: slots of live objects (they have gone over already when it
 * is called; for whatever else route keeps by module), and sessions of hosts that are gone: these end
 * in the call, while the chains of the host are still in force. Set by route before mod_load_first. */
extern void (*mod_reload_objects)(struct gr_mod *old, struct gr_mod *now);
extern void (*mod_host_gone)(struct gr_host *host);

/* For `grapnelctl modules`. */
void mod_each(void (*f)(void *ctx, const struct gr_mod *self), void *ctx); /* this loop's */
/* Judges everything a start with this configuration would need (images, schemas, dependencies), without
 * starting anything. 0, or errors in *errors (caller frees). */
int mod_check_conf(const struct conf *conf, char **errors);
/* The options of every module that is enabled on some host, as schema_print_ini has them. 0, or errors. */
int mod_print_options(const struct conf *conf, FILE *out, char **errors);
