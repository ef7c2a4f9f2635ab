/* tests/mod/harness.h: grapnel/test.h for tests that are written with cmocka: ours. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <grapnel/test.h>

static inline void h_cmocka_fail(const char *text)
{
    fail_msg("%s", text);
}

/* int main(void) { return H_RUN("roster", cases); } */
#define H_RUN(name, cases) \
    (h_on_fail(h_cmocka_fail), cmocka_run_group_tests_name(name, cases, NULL, NULL))
