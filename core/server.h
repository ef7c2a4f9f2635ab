/* server.h: the server as a whole: start, reload, stop. Main thread. */
#pragma once

/* Checks a configuration without touching anything: 0, or errors are printed to stderr. */
int server_check(const char *config);
/* Every option of the core, and of the modules that `config` (may be NULL) enables, as a commented ini
 * file. 0, or errors are printed to stderr. */
int server_print_options(const char *config);
/* Starts everything and runs until stopped; the exit status. */
int server_run(const char *config);

struct overlay;
/* Goes over to the configuration as it is now, to changed modules, and to what was loaded by hand:
 * `take` (emptied), or with NULL what is in force. NULL and a line per change in *report, or why nothing
 * has changed (caller frees both). */
char *server_reload(struct overlay *take, char **report);
const struct overlay *server_overlay(void);
const char *server_config(void); /* the file's name */
