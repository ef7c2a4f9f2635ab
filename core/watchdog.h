/* watchdog.h: tells in the log which loop does not come back from what it does, and ends the process
 * when a stop has to wait for it. */
#pragma once

#include <stdint.h>

#define WATCHDOG_MS 5000

/* From here on a loop, or the main thread, that has been at one thing for limit_ms is reported once
 * (loop.stuck), and once more when it goes on (loop.back). After loops_init. Main thread. */
void watchdog_start(int64_t limit_ms);
/* Before hosts and modules are freed. Idempotent. */
void watchdog_stop(void);

/* A stop was asked for, or has begun. From three times limit_ms after the first of them on the process
 * ends, with status 1, when a loop is stuck, or when the stop has not even begun (server.given_up).
 * Never goes back. Any thread, and signal handlers. */
enum watchdog_stop { WATCHDOG_NO_STOP, WATCHDOG_STOP_ASKED, WATCHDOG_STOP_BEGUN };
void watchdog_stopping(enum watchdog_stop how);
