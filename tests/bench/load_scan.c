/* tests/bench/load_scan.c: where a stanza ends, and what a load generator looks for inside. What
 * servers write is well-formed; comments and CDATA do not occur in streams (RFC 6120, 11.1). */
#include "load.h"

#include <string.h>

/* Behind the '>' of the tag at p; NULL: incomplete. */
static const char *tag_end(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '>')
            return p + 1;
        if (*p == '\'' || *p == '"') {
            p = memchr(p + 1, *p, (size_t)(end - p - 1));
            if (p == NULL)
                return NULL;
        }
    }
    return NULL;
}

size_t scan_stanza(const char *p, size_t len)
{
    const char *start = p, *end = p + len;
    int depth = 0;

    while ((p = memchr(p, '<', (size_t)(end - p))) != NULL) {
        if (end - p < 2)
            return 0;
        bool closing = p[1] == '/';
        const char *tag = p;
        p = closing ? memchr(p, '>', (size_t)(end - p)) : tag_end(p, end);
        if (p == NULL)
            return 0;
        if (closing)
            p++;
        if (closing && depth == 0)
            return SCAN_CLOSED;
        if (tag[1] == '?')
            continue;
        if (closing)
            depth--;
        else if (p[-2] != '/')
            depth++;
        if (depth == 0)
            return (size_t)(p - start);
    }
    return 0;
}

const char *find(const char *p, size_t len, const char *what)
{
    return memmem(p, len, what, strlen(what));
}

bool scan_attr(const char *p, size_t len, const char *name, char *out, size_t size)
{
    const char *end = tag_end(p, p + len);
    size_t n = strlen(name);

    if (end == NULL)
        return false;
    for (; p + n + 2 < end; p++) {
        if (*p != ' ' || memcmp(p + 1, name, n) != 0 || p[n + 1] != '=')
            continue;
        const char *value = p + n + 3, *stop = memchr(value, p[n + 2], (size_t)(end - value));
        if (stop == NULL || (size_t)(stop - value) >= size)
            return false;
        memcpy(out, value, (size_t)(stop - value));
        out[stop - value] = '\0';
        return true;
    }
    return false;
}
