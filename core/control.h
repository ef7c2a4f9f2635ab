/* control.h: the Unix socket that grapnelctl talks to. Main loop. */
#pragma once

/* Listens at path (mode 0600; a leftover of a dead process is replaced). 0, or a gr_err and one
 * sentence in *why (caller frees). */
int control_open(const char *path, char **why);
void control_close(void);
