/* base/codec.c: base64 (RFC 4648, 4), hexadecimal, and XEP-0082 time stamps, and SHA-256. Any thread. */
#include <grapnel/base.h>

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t gr_base64_encode(char *out, const void *in, size_t len)
{
    const uint8_t *p = in;
    char *o = out;

    for (; len >= 3; len -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

        *o++ = base64_alphabet[v >> 18];
        *o++ = base64_alphabet[v >> 12 & 63];
        *o++ = base64_alphabet[v >> 6 & 63];
        *o++ = base64_alphabet[v & 63];
    }
    if (len > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);

        *o++ = base64_alphabet[v >> 18];
        *o++ = base64_alphabet[v >> 12 & 63];
        *o++ = len == 2 ? base64_alphabet[v >> 6 & 63] : '=';
        *o++ = '=';
    }
    *o = '\0';
    return (size_t)(o - out);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* One text for each content: unused bits must be zero (RFC 4648, 3.5), padding is required. */
int gr_base64_decode(void *out, const char *in, size_t len)
{
    uint8_t *o = out;
    size_t pad = 0, i;
    uint32_t v = 0;

    if (len % 4 != 0 || len / 4 > INT_MAX / 3)
        return GR_EINVAL;
    if (len > 0 && in[len - 1] == '=')
        pad = in[len - 2] == '=' ? 2 : 1;
    for (i = 0; i < len - pad; i++) {
        int bits = base64_value(in[i]);

        if (bits < 0)
            return GR_EINVAL;
        v = v << 6 | (uint32_t)bits;
        if (i % 4 == 3) {
            *o++ = (uint8_t)(v >> 16);
            *o++ = (uint8_t)(v >> 8);
            *o++ = (uint8_t)v;
            v = 0;
        }
    }
    if (pad == 1) { /* 18 bits, 16 of them used */
        if ((v & 3) != 0)
            return GR_EINVAL;
        *o++ = (uint8_t)(v >> 10);
        *o++ = (uint8_t)(v >> 2);
    } else if (pad == 2) { /* 12 bits, 8 used */
        if ((v & 15) != 0)
            return GR_EINVAL;
        *o++ = (uint8_t)(v >> 4);
    }
    return (int)(o - (uint8_t *)out);
}

void gr_sha256(uint8_t out[32], const void *in, size_t len)
{
    gr_assert(EVP_Digest(in, len, out, NULL, EVP_sha256(), NULL) == 1);
}

void gr_hex_encode(char *out, const void *in, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = in;

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = '\0';
}

/* Own calendar rather than gmtime_r, which takes the C library's time zone lock. Days are counted
 * from 1 March of year 0, so that the leap day comes last in its year. */
void gr_stamp(char out[GR_STAMP_SIZE], int64_t wall_us)
{
    int64_t sec = wall_us / 1000000, us = wall_us % 1000000;
    int64_t days, era, year;
    unsigned day_of_era, year_of_era, day_of_year, month_from_march, month, rest;

    if (us < 0) {
        us += 1000000;
        sec--;
    }
    days = sec / 86400;
    if (sec % 86400 < 0)
        days--;
    rest = (unsigned)(sec - days * 86400);
    days += 719468; /* from 0000-03-01 to 1970-01-01 */
    era = (days >= 0 ? days : days - 146096) / 146097;
    day_of_era = (unsigned)(days - era * 146097);
    year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    month_from_march = (5 * day_of_year + 2) / 153;
    month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);
    snprintf(out, GR_STAMP_SIZE, "%04lld-%02u-%02uT%02u:%02u:%02u.%03uZ", (long long)year,
             month % 100, (day_of_year - (153 * month_from_march + 2) / 5 + 1) % 100,
             rest / 3600 % 100, rest / 60 % 60, rest % 60, (unsigned)(us / 1000) % 1000);
}

/* --- reading a stamp: each reads its part and moves *s behind it --- */

static bool read_digits(const char **s, unsigned count, int64_t *out)
{
    for (*out = 0; count > 0; count--, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        *out = *out * 10 + (**s - '0');
    }
    return true;
}

static bool read_mark(const char **s, char mark)
{
    return *(*s)++ == mark; /* the caller stops when it is not, perhaps behind the end */
}

/* Days since 1970, counted as gr_stamp does. */
static bool read_date(const char **s, int64_t *days)
{
    static const uint8_t longest[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t year, month, day, from_march;
    bool leap;

    if (!read_digits(s, 4, &year) || !read_mark(s, '-') || !read_digits(s, 2, &month) ||
        !read_mark(s, '-') || !read_digits(s, 2, &day))
        return false;
    leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12 || day < 1 || day > longest[month - 1] ||
        (month == 2 && day == 29 && !leap))
        return false;
    if (month <= 2)
        year--;
    from_march = (month + 9) % 12;
    *days = year * 365 + (year >= 0 ? year / 4 - year / 100 + year / 400 : -1) +
            (153 * from_march + 2) / 5 + day - 1 - 719468;
    return true;
}

static bool read_hours(const char **s, int64_t *minutes)
{
    int64_t hour, minute;

    if (!read_digits(s, 2, &hour) || !read_mark(s, ':') || !read_digits(s, 2, &minute))
        return false;
    *minutes = hour * 60 + minute;
    return hour < 24 && minute < 60;
}

/* ":ss" and perhaps a fraction. A leap second is the first one of the next minute. */
static bool read_seconds(const char **s, int64_t *us)
{
    int64_t unit = 100000;

    if (!read_mark(s, ':') || !read_digits(s, 2, us) || *us > 60)
        return false;
    *us *= 1000000;
    if (**s != '.')
        return true;
    (*s)++;
    if (**s < '0' || **s > '9')
        return false;
    for (; **s >= '0' && **s <= '9'; (*s)++, unit /= 10)
        *us += unit * (**s - '0');
    return true;
}

static bool read_zone(const char **s, int64_t *minutes)
{
    char sign = *(*s)++;

    *minutes = 0;
    if (sign == 'Z')
        return true;
    if ((sign != '+' && sign != '-') || !read_hours(s, minutes))
        return false;
    if (sign == '-')
        *minutes = -*minutes;
    return true;
}

int gr_stamp_parse(const char *s, int64_t *wall_us)
{
    int64_t days, minutes, us, zone;

    if (!read_date(&s, &days) || !read_mark(&s, 'T') || !read_hours(&s, &minutes) ||
        !read_seconds(&s, &us) || !read_zone(&s, &zone) || *s != '\0')
        return GR_EINVAL;
    *wall_us = (days * 1440 + minutes - zone) * 60000000 + us;
    return 0;
}
