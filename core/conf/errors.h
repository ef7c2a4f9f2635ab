/* conf/errors.h: everything that is wrong with a configuration, each with its place.
 *
 * The caller owns the struct (zeroed is empty) and the strings in it until conf_errors_fini. */
#pragma once

#include <stdio.h>

#include "base/arena.h"

#define CONF_ERRORS_MAX 100 /* more are counted, not kept */

struct conf_error {
    const char *file; /* NULL: no file is to blame  */
    int line;         /* 0: the file as a whole     */
    const char *text; /* one sentence: what to do   */
};

struct conf_errors {
    struct arena mem;
    struct conf_error items[CONF_ERRORS_MAX];
    size_t count;   /* kept */
    size_t dropped; /* not kept */
};

/* Where something was written; borrowed from the ini. */
struct conf_place {
    const char *file;
    int line;
};

void conf_errors_add(struct conf_errors *errs, struct conf_place at, const char *fmt, ...)
    GR_PRINTF(3, 4);
/* "file:line: text" per line. */
void conf_errors_print(const struct conf_errors *errs, FILE *out);
static inline size_t conf_errors_total(const struct conf_errors *errs)
{
    return errs->count + errs->dropped;
}
void conf_errors_fini(struct conf_errors *errs);
