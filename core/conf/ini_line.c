/* conf/ini_line.c: one line of configuration, taken apart or refused with a sentence.
 *
 * Lines are UTF-8 without control characters, so what is printed back in an error cannot upset a
 * terminal or a log. Names of sections and keys are a-z, 0-9 and _. */
#include "conf/ini_line.h"

#include <string.h>

#include "conf/utf8.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **s, size_t *len)
{
    while (*len > 0 && is_blank((*s)[*len - 1]))
        (*len)--;
    while (*len > 0 && is_blank(**s)) {
        (*s)++;
        (*len)--;
    }
}

bool ini_line_check(const char **line, size_t *len, struct conf_place at,
                    struct conf_errors *errs)
{
    if (*len > 0 && (*line)[*len - 1] == '\r')
        (*len)--;
    if (*len > INI_LINE_MAX) {
        conf_errors_add(errs, at, "this line has %zu bytes, %d are possible: shorten it", *len,
                        INI_LINE_MAX);
        return false;
    }
    for (size_t i = 0; i < *len; i++) {
        unsigned char c = (unsigned char)(*line)[i];

        if ((c < 0x20 && c != '\t') || c == 0x7F) {
            conf_errors_add(errs, at, "this line contains the control character %d at byte %zu: "
                            "remove it", c, i + 1);
            return false;
        }
    }
    if (!utf8_is_text(*line, *len)) {
        conf_errors_add(errs, at, "this line is not UTF-8 text: save the file as UTF-8");
        return false;
    }
    trim(line, len);
    return true;
}

enum ini_kind ini_line_kind(const char *line, size_t len)
{
    if (len == 0 || line[0] == ';' || line[0] == '#')
        return INI_BLANK;
    return line[0] == '[' ? INI_HEADER : INI_PAIR;
}

/* Cuts a comment, which is a semicolon after a blank, and the blanks around what is left. */
static void cut_comment(const char **s, size_t *len)
{
    for (size_t i = 1; i < *len; i++) {
        if ((*s)[i] == ';' && is_blank((*s)[i - 1])) {
            *len = i;
            break;
        }
    }
    trim(s, len);
}

static size_t name_span(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && s[n] != '\0' && strchr("abcdefghijklmnopqrstuvwxyz0123456789_", s[n]) != NULL)
        n++;
    return n;
}

/* False: an error was added. */
static bool name_check(const char *what, const char *s, size_t len, struct conf_place at,
                       struct conf_errors *errs)
{
    int shown = len > 60 ? 60 : (int)len;

    if (len > INI_NAME_MAX) {
        conf_errors_add(errs, at, "the %s `%.*s...` has %zu bytes, %d are possible: shorten it",
                        what, (int)utf8_cut(s, (size_t)shown), s, len, INI_NAME_MAX);
        return false;
    }
    if (len == 0 || name_span(s, len) != len) {
        conf_errors_add(errs, at, "`%.*s` is not a %s: write it with a-z, 0-9 and _ only", shown,
                        s, what);
        return false;
    }
    return true;
}

bool ini_line_header(const char *line, size_t len, struct conf_place at, struct conf_errors *errs,
                     struct ini_header *out)
{
    cut_comment(&line, &len);
    if (line[len - 1] != ']') {
        conf_errors_add(errs, at, "a section line ends with ]: write [section] or "
                        "[section argument] and nothing behind it but a ; comment");
        return false;
    }
    line++;
    len -= 2;
    trim(&line, &len);
    if (len == 0) {
        conf_errors_add(errs, at, "the section has no name: write for instance [server]");
        return false;
    }
    *out = (struct ini_header){ .name = line, .arg = line };
    while (out->name_len < len && !is_blank(line[out->name_len]))
        out->name_len++;
    if (!name_check("section name", line, out->name_len, at, errs))
        return false;
    out->arg += out->name_len;
    out->arg_len = len - out->name_len;
    trim(&out->arg, &out->arg_len);
    if (out->arg_len > INI_ARG_MAX) {
        conf_errors_add(errs, at, "what follows `%.*s` has %zu bytes, %d are possible: shorten it",
                        (int)out->name_len, line, out->arg_len, INI_ARG_MAX);
        return false;
    }
    return true;
}

/* "text with \" and \\", then nothing but a comment. */
static bool value_unquote(const char *s, size_t len, struct conf_place at,
                          struct conf_errors *errs, struct ini_pair *out)
{
    size_t n = 0, i = 1;

    while (i < len && s[i] != '"') {
        if (s[i] == '\\' && i + 1 < len && (s[i + 1] == '"' || s[i + 1] == '\\'))
            i++;
        out->value[n++] = s[i++];
    }
    out->value[n] = '\0';
    if (i == len) {
        conf_errors_add(errs, at, "the value of `%s` has no closing quote: end it with \"",
                        out->key);
        return false;
    }
    s += i + 1;
    len -= i + 1;
    cut_comment(&s, &len);
    if (len > 0) {
        conf_errors_add(errs, at, "there is text behind the closing quote of `%s`: write "
                        "\\\" for a quote inside", out->key);
        return false;
    }
    return true;
}

bool ini_line_pair(const char *line, size_t len, struct conf_place at, struct conf_errors *errs,
                   struct ini_pair *out)
{
    const char *eq = memchr(line, '=', len), *key = line, *value;
    size_t key_len, value_len, quote;

    if (eq == NULL) {
        conf_errors_add(errs, at, "this line is neither `key = value` nor [section] nor a "
                        "comment: start it with ; to make it one");
        return false;
    }
    key_len = (size_t)(eq - line);
    trim(&key, &key_len);
    if (key_len == 0) {
        conf_errors_add(errs, at, "there is no key before the =: write `key = value`");
        return false;
    }
    if (!name_check("key", key, key_len, at, errs))
        return false;
    memcpy(out->key, key, key_len);
    out->key[key_len] = '\0';
    value = eq + 1;
    value_len = len - (size_t)(value - line);
    while (value_len > 1 && is_blank(value[0]) && is_blank(value[1])) {
        value++; /* one blank stays for cut_comment: `key = ; comment` has no value */
        value_len--;
    }
    quote = value_len > 0 && is_blank(value[0]) ? 1 : 0;
    if (value_len > quote && value[quote] == '"')
        return value_unquote(value + quote, value_len - quote, at, errs, out);
    cut_comment(&value, &value_len);
    memcpy(out->value, value, value_len);
    out->value[value_len] = '\0';
    return true;
}
