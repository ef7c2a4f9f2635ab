/* ctl/print.c: the rows that come back, as a table or as JSON. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_json_text(const char *s)
{
    putchar('"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            printf("\\u%04x", *s);
        else
            putchar(*s);
    }
    putchar('"');
}

/* Items of the answer: "row", "s:name=value", "n:name=value". */
static void print_json(const char *p, const char *end)
{
    bool any = false, field = false;

    putchar('[');
    for (; p < end; p += strlen(p) + 1) {
        if (strcmp(p, "row") == 0) {
            fputs(any ? "}, {" : "{", stdout);
            any = true;
            field = false;
            continue;
        }
        const char *eq = strchr(p, '=');
        if (eq == NULL)
            continue;
        char *name = gr_strndup(p + 2, (size_t)(eq - p - 2));
        fputs(field ? ", " : "", stdout);
        print_json_text(name);
        fputs(": ", stdout);
        if (p[0] == 'n')
            fputs(eq + 1, stdout);
        else
            print_json_text(eq + 1);
        field = true;
        gr_free(name);
    }
    puts(any ? "}]" : "]");
}

#define COLUMNS_MAX 16

static size_t count_rows(const char *p, const char *end)
{
    size_t n = 0;

    for (; p < end; p += strlen(p) + 1)
        n += strcmp(p, "row") == 0;
    return n;
}

static void print_single(const char *p, const char *end)
{
    for (; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (eq != NULL)
            printf("%-18.*s %s\n", (int)(eq - p - 2), p + 2, eq + 1);
    }
}

struct layout {
    int width[COLUMNS_MAX];
    int columns;
};

static struct layout measure(const char *start, const char *end)
{
    struct layout l = { .columns = 0 };
    int column = 0;

    for (const char *p = start; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0 || eq == NULL || column >= COLUMNS_MAX) {
            column = 0;
            continue;
        }
        int name = (int)(eq - p - 2), value = (int)strlen(eq + 1);
        int w = name > value ? name : value;
        l.width[column] = w > l.width[column] ? w : l.width[column];
        if (++column > l.columns)
            l.columns = column;
    }
    return l;
}

static void print_cell(const struct layout *l, int column, const char *text, int len)
{
    if (column + 1 < l->columns)
        printf("%-*.*s  ", l->width[column], len, text);
    else
        printf("%.*s\n", len, text);
}

/* One line a row; names above unless there is a single column, which speaks for itself. */
static void print_table(const char *start, const char *end)
{
    struct layout l = measure(start, end);
    int column = 0;

    for (const char *p = start + strlen(start) + 1; p < end && l.columns > 1; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0)
            break;
        if (eq != NULL && column < COLUMNS_MAX)
            print_cell(&l, column++, p + 2, (int)(eq - p - 2));
    }
    column = 0;
    for (const char *p = start; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (strcmp(p, "row") == 0)
            column = 0;
        else if (eq != NULL && column < COLUMNS_MAX)
            print_cell(&l, column++, eq + 1, (int)strlen(eq + 1));
    }
}

int print_answer(const struct buf *answer, bool json, const char *command)
{
    const char *error, *p = buf_data(answer), *end = answer_end(answer, &error);

    if (end == NULL)
        return ctl_fail(error, "");
    size_t rows = count_rows(p, end);
    if (json)
        print_json(p, end);
    else if (rows == 1 && strcmp(command, "status") == 0)
        print_single(p, end);
    else if (rows > 0)
        print_table(p, end);
    else if (strcmp(command, "sessions") == 0)
        puts("nobody is online");
    else if (isatty(STDOUT_FILENO))
        puts("done");
    return fflush(stdout) == 0 ? 0 : ctl_fail("writing the result", strerror(errno));
}
