/* watchdog.h: tells in the log which loop does not come back from what it does. */
#pragma once

#include <stdint.h>

#define WATCHDOG_MS 5000

/* From here on a loop, or the main thread, that has been at one thing for limit_ms is reported once
 * (loop.stuck), and once more when it goes on (loop.back). After loops_start. Main thread. */
void watchdog_start(int64_t limit_ms);
/* Before hosts and modules are freed. Idempotent. */
void watchdog_stop(void);
