/* conf/schema.h: applies a table of options (grapnel/option.h) to sections of configuration.
 *
 * Main thread. What is filled in points into the given arena. */
#pragma once

#include <grapnel/jid.h>
#include <grapnel/option.h>

#include "conf/ini.h"

/* How addresses are prepared. The xml layer is above this one, so the server sets these two once
 * at start: { gr_jid_parse, gr_jid_free }. Without (grapnelctl, which compares no addresses) ASCII
 * is lower-cased and nothing else is checked. */
struct schema_prep {
    int (*parse)(const char *s, size_t len, struct gr_jid **out);
    void (*free)(struct gr_jid **take);
};
extern struct schema_prep schema_prep;

/* The prepared form of an address or, with `domain`, of a bare domain; NULL when it is none. */
const char *schema_address(struct arena *mem, const char *s, size_t len, bool domain);

/* Fills the zeroed struct *out: defaults, then each section in turn (NULL ones are skipped), later
 * values replacing earlier ones. Unknown keys, wrong types, values out of range and missing
 * required ones are appended to errs; `at` is to blame when there is no section. */
void schema_apply(const struct gr_opt *table, const struct ini_section *const sections[],
                  size_t count, struct conf_place at, void *out, struct arena *mem,
                  struct conf_errors *errs);

/* Whether a table that came with a module can be used: names, help, ranges, defaults. */
void schema_check(const struct gr_opt *table, const char *owner, struct conf_errors *errs);

/* The value of an option in a filled struct as text that could stand in a file; secrets as "***",
 * NULL strings as "". In mem. */
const char *schema_text(const struct gr_opt *opt, const void *values, struct arena *mem);
/* The same for the default. */
const char *schema_default(const struct gr_opt *opt, struct arena *mem);

typedef void schema_diff_f(void *ctx, const struct gr_opt *opt, const char *before,
                           const char *after);
/* Calls `change` for each option whose values differ. */
void schema_diff(const struct gr_opt *table, const void *before, const void *after,
                 schema_diff_f *change, void *ctx, struct arena *mem);

/* --- printing (schema_print.c) --- */

/* `title` is what stands between the brackets, with its argument in capitals: "host DOMAIN". */
void schema_print_help(FILE *out, const char *title, const struct gr_opt *table);
/* A section for the sample configuration: each option with its help, its default as a comment. */
void schema_print_ini(FILE *out, const char *title, const struct gr_opt *table);
/* A table for the manual. */
void schema_print_markdown(FILE *out, const char *title, const struct gr_opt *table);
/* "a number from 1 to 65535", "yes or no", ...: what may stand there; also used in errors. */
const char *schema_describe(const struct gr_opt *opt, struct arena *mem);
const char *schema_when_text(enum gr_when when); /* "live", "rebind", "restart" */
