/* metrics.h: the command `metrics`. Main thread. */
#pragma once

#include "command.h"

char *metrics(const struct gr_cmd *cmd, struct buf *out);
