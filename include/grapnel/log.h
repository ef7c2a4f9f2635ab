/* grapnel/log.h: one line per event, with a stable id. Any thread.
 *
 * `id` is stable text such as "c2s.login_failed" that admins may match; the message is English.
 * Never pass bodies, passwords, tokens or keys. Control characters are escaped; lines whose id a
 * stranger can trigger are rate-limited per id with the suppressed count reported. */
#pragma once

#include <grapnel/base.h>

enum gr_log_level { GR_LOG_ERROR, GR_LOG_WARN, GR_LOG_INFO, GR_LOG_DEBUG };

GR_API void gr_log(enum gr_log_level level, const char *id, const char *fmt, ...) GR_PRINTF(3, 4);
/* Would a line of this level be written? For what is costly to put together. */
GR_API bool gr_log_enabled(enum gr_log_level level);

#define gr_error(id, ...) gr_log(GR_LOG_ERROR, id, __VA_ARGS__)
#define gr_warn(id, ...) gr_log(GR_LOG_WARN, id, __VA_ARGS__)
#define gr_info(id, ...) gr_log(GR_LOG_INFO, id, __VA_ARGS__)
#define gr_debug(id, ...) \
    (gr_log_enabled(GR_LOG_DEBUG) ? gr_log(GR_LOG_DEBUG, id, __VA_ARGS__) : (void)0)
