/* server.h: the server as a whole: start, reload, stop. Main thread. */
#pragma once

/* Checks a configuration without touching anything: 0, or errors are printed to stderr. */
int server_check(const char *config);
/* Starts everything and runs until stopped; the exit status. */
int server_run(const char *config);
