/* base/log.h: where log lines go. Main thread sets up; writing is safe on any thread. */
#pragma once

#include <grapnel/log.h>

/* A line on stderr: "2026-11-20T06:10:57.123Z warn c2s.login_failed: message"; under systemd the
 * journal has the time, so the line starts with its "<N>" priority instead.
 *
 * Rate limits, per id and level, in windows of 10 s that start with the first line: 20 lines of
 * warn or info, 200 of error (what a stranger can trigger is never an error of ours, but a full
 * disk must not fill another one), debug without limit. The count of what was left out is reported
 * as "log.suppressed" with the next line of any id after the window, looked for once a second. */

void log_set_level(enum gr_log_level level);
/* NULL restores stderr. A test captures lines with this; called under the log's lock, so it must
 * not log. `line` is "LEVEL ID: MESSAGE" (error, warn, info, debug), escaped, without time and
 * newline. Setting a sink also forgets what the rate limits have counted. */
void log_set_sink(void (*sink)(void *ctx, enum gr_log_level level, const char *line), void *ctx);
