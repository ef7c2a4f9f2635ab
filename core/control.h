/* control.h: the Unix socket that grapnelctl talks to. Main loop. */
#pragma once

#include <stddef.h>

/* Listens at path (mode 0600; a leftover of a dead process is replaced). 0, or a gr_err and one
 * sentence in *why (caller frees). */
int control_open(const char *path, char **why);
/* Nobody is listened to any more; commands that run are still answered. Idempotent. */
void control_close(void);
size_t control_busy(void); /* commands that run */
