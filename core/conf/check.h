/* conf/check.h: rules across options. Used by conf/conf.c only. */
#pragma once

#include "conf/conf.h"

void conf_check(const struct conf *c, struct conf_errors *errs);
