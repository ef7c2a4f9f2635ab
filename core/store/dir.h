/* store/dir.h: the data directory: made, private, and one process's at a time. */
#pragma once

#include <grapnel/base.h>

/* Creates it when missing (its parent must exist), takes away the rights of others, locks it. */
int dir_open(const char *path, int *fd, char **why);
void dir_close(int *fd);     /* gives up the lock; -1 afterwards and accepted */
/* An existing empty directory or a new one, for a backup. Not locked. */
int dir_open_empty(const char *path, int *fd, char **why);
