/* conf/value.h: the text of a value to the value and back, with its unit. Any thread. */
#pragma once

#include <grapnel/option.h>

/* What a parser says: 0, GR_EINVAL (not of that form), GR_ELIMIT (does not fit 64 bits). */
int value_int(const char *s, int64_t *out);      /* -12                          */
int value_duration(const char *s, int64_t *ms);  /* 0, 500ms, 30s, 5m, 1h30m, 7d, 2w */
int value_size(const char *s, int64_t *bytes);   /* 512, 64K, 64KiB, 1M, 2G, 1T  */
int value_bool(const char *s, bool *out);        /* yes no true false on off 1 0 */

/* The shortest form that the parser of that kind reads back. */
#define VALUE_TEXT_SIZE 32
void value_print(char out[VALUE_TEXT_SIZE], enum gr_opt_kind kind, int64_t value);

/* --- the nearest valid word --- */

/* Edit distance with neighbours exchanged counting once; GR_EINVAL for words over 64 bytes. */
int words_distance(const char *a, const char *b);

struct words_nearest {
    const char *word; /* so far the best; NULL: nothing is near */
    int distance;
};
/* Call once per candidate, with a zeroed struct at first. */
void words_try(struct words_nearest *best, const char *typed, const char *candidate);
