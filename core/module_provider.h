/* module_provider.h: who answers for accounts, rosters and sessions, before and after a change by hand.
 * Main thread. */
#pragma once

#include "base/buf.h"

struct providers;

/* Of every host, as they are now. */
struct providers *providers_note(void);
/* A row ("change") for each type that another provider has now, with the hosts; frees the note. */
void providers_tell(struct providers **take, struct buf *result);
