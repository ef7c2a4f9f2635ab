/* mod/node.h: this server among those that share a store. */
#pragma once

/* Main thread, before the first module starts; what gr_server_id tells from then on. */
void node_set_id(const char *id);
/* Runs node_cleanup in the global chain of the calling loop: the leftovers of server `id` (copied) are
 * to go. done is called there once, perhaps before this returns. Handlers may hold the chain. */
void node_cleanup(const char *id, void (*done)(void *arg), void *arg);
