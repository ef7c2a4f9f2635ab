/* ports.h: the server's listeners. Main thread. */
#pragma once

#include "base/list.h"
#include "conf/conf.h"

/* Binds what `conf` wants and is not open yet, into `fresh`. 0, or a gr_err and one sentence in *why
 * (caller frees), and fresh is empty again. */
int ports_open(const struct conf *conf, struct link *fresh, char **why);
/* Closes what `conf` no longer names and starts the new ones; cannot fail. Empties fresh. */
void ports_use(const struct conf *conf, struct link *fresh);
/* Gives up what ports_open bound. */
void ports_drop(struct link *ports);
/* Closes everything that is open. Loops are running. */
void ports_close(void);
