/* conf/value.c: values with units, and the nearest valid word for a mistyped one.
 *
 * A duration always has a unit (a bare 30 would be read as seconds by one admin and minutes by
 * the next), a size is bytes without one. Units are powers of 1024: K and KiB are the same, KB is
 * refused because people disagree about it. */
#include "conf/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Descending, so that value_print finds the largest that fits. */
static const struct unit durations[] = {
    { "w", 7 * GR_DAY }, { "d", GR_DAY },    { "h", GR_HOUR }, { "m", GR_MINUTE },
    { "s", GR_SECOND },  { "ms", 1 },        { NULL, 0 }
};
static const struct unit sizes[] = {
    { "T", 1024 * GR_GIB }, { "G", GR_GIB }, { "M", GR_MIB }, { "K", GR_KIB }, { "", 1 },
    { NULL, 0 }
};

/* Digits at *s; moves on. */
static int digits(const char **s, int64_t *out)
{
    int64_t v = 0;
    const char *p = *s;

    if (*p < '0' || *p > '9')
        return GR_EINVAL;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_add_overflow(v, (int64_t)(*p - '0'), &v)) {
            *s = p + strspn(p, "0123456789");
            return GR_ELIMIT;
        }
    }
    *s = p;
    *out = v;
    return 0;
}

int value_int(const char *s, int64_t *out)
{
    bool minus = *s == '-';
    int rc;

    s += minus;
    rc = digits(&s, out);
    if (rc != GR_EINVAL && *s != '\0')
        return GR_EINVAL;
    if (rc == 0 && minus)
        *out = -*out;
    return rc;
}

static const struct unit *unit_find(const struct unit *units, const char *s, size_t len)
{
    for (; units->name != NULL; units++) {
        if (strlen(units->name) == len && strncasecmp(units->name, s, len) == 0)
            return units;
    }
    return NULL;
}

int value_duration(const char *s, int64_t *ms)
{
    int64_t sum = 0, last = INT64_MAX;
    bool large = false;

    if (strcmp(s, "0") == 0) {
        *ms = 0;
        return 0;
    }
    do {
        int64_t n = 0;
        int rc = digits(&s, &n);
        size_t len = strcspn(s, "0123456789");
        const struct unit *u = unit_find(durations, s, len);

        if (rc == GR_EINVAL || u == NULL || u->factor >= last)
            return GR_EINVAL; /* also 30m1h and 1h1h: a typing error rather than a sum */
        last = u->factor;
        large = large || rc == GR_ELIMIT || __builtin_mul_overflow(n, u->factor, &n) ||
                __builtin_add_overflow(sum, n, &sum);
        s += len;
    } while (*s != '\0');
    *ms = sum;
    return large ? GR_ELIMIT : 0;
}

int value_size(const char *s, int64_t *bytes)
{
    int64_t n = 0;
    int rc = digits(&s, &n);
    size_t len = strlen(s);
    const struct unit *u;

    if (rc == GR_EINVAL)
        return rc;
    if (len == 3 && strcasecmp(s + 1, "iB") == 0)
        len = 1;
    u = unit_find(sizes, s, len);
    if (u == NULL)
        return GR_EINVAL;
    if (rc != 0 || __builtin_mul_overflow(n, u->factor, bytes))
        return GR_ELIMIT;
    return 0;
}

int value_bool(const char *s, bool *out)
{
    static const char *const yes[] = { "yes", "true", "on", "1" };
    static const char *const no[] = { "no", "false", "off", "0" };

    for (size_t i = 0; i < GR_COUNT(yes); i++) {
        if (strcasecmp(s, yes[i]) == 0 || strcasecmp(s, no[i]) == 0) {
            *out = strcasecmp(s, yes[i]) == 0;
            return 0;
        }
    }
    return GR_EINVAL;
}

void value_print(char out[VALUE_TEXT_SIZE], enum gr_opt_kind kind, int64_t value)
{
    const struct unit *u = kind == GR_KIND_DURATION ? durations
                           : kind == GR_KIND_SIZE   ? sizes
                                                    : NULL;

    if (kind == GR_KIND_BOOL) {
        snprintf(out, VALUE_TEXT_SIZE, "%s", value ? "yes" : "no");
        return;
    }
    while (u != NULL && u[1].name != NULL && (value % u->factor != 0 || value == 0))
        u++;
    if (u == NULL || value == 0)
        snprintf(out, VALUE_TEXT_SIZE, "%" PRId64, value);
    else
        snprintf(out, VALUE_TEXT_SIZE, "%" PRId64 "%s", value / u->factor, u->name);
}

int words_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    uint8_t row[3][65]; /* two rows back, one back, this one */

    if (la > 64 || lb > 64)
        return GR_EINVAL;
    for (size_t j = 0; j <= lb; j++)
        row[0][j] = row[1][j] = (uint8_t)j;
    for (size_t i = 1; i <= la; i++) {
        row[2][0] = (uint8_t)i;
        for (size_t j = 1; j <= lb; j++) {
            int d = row[1][j - 1] + (a[i - 1] != b[j - 1]);

            if (row[1][j] + 1 < d)
                d = row[1][j] + 1;
            if (row[2][j - 1] + 1 < d)
                d = row[2][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                row[0][j - 2] + 1 < d)
                d = row[0][j - 2] + 1;
            row[2][j] = (uint8_t)d;
        }
        memcpy(row[0], row[1], sizeof row[0]);
        memcpy(row[1], row[2], sizeof row[1]);
    }
    return row[1][lb];
}

void words_try(struct words_nearest *best, const char *typed, const char *candidate)
{
    int d = words_distance(typed, candidate);
    size_t longer = strlen(typed) > strlen(candidate) ? strlen(typed) : strlen(candidate);

    /* More than a third wrong, or more than three places, is another word, not a typing error. */
    if (d < 0 || d > 3 || d * 3 > (int)longer)
        return;
    if (best->word == NULL || d < best->distance)
        *best = (struct words_nearest){ candidate, d };
}
