/* tests/mod/trace.h: what happened, in words, for a test to compare: handlers and providers note it, the
 * case expects it. One per program, on the test's thread, on which the harness runs all loops. */
#pragma once

#include "harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char trace[2048];

static void note(const char *fmt, ...) GR_PRINTF(1, 2);
static void note(const char *fmt, ...)
{
    size_t n = strlen(trace);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(trace + n, sizeof(trace) - n, fmt, ap);
    va_end(ap);
}

static void expect_trace(const char *what)
{
    assert_string_equal(trace, what);
    trace[0] = '\0';
}
