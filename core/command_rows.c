/* command_rows.c: rows of a result: how they are written, and how those of several loops become one
 * result. */
#include "command_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct buf *out, char kind, const char *name, const char *value)
{
    buf_printf(out, "%c:%s=%s", kind, name, value);
    buf_append(out, "", 1);
}

void command_row(struct buf *result)
{
    buf_append(result, "row", 4);
}

void command_text(struct buf *result, const char *name, const char *value)
{
    put(result, 's', name, value);
}

void command_number(struct buf *result, const char *name, int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    put(result, 'n', name, text);
}

void gr_cmd_row(struct gr_cmd *cmd)
{
    command_row(&cmd->out);
    cmd->rows++;
}

void gr_cmd_field(struct gr_cmd *cmd, const char *name, const char *fmt, ...)
{
    char value[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    put(&cmd->out, 's', name, value);
}

void gr_cmd_number(struct gr_cmd *cmd, const char *name, int64_t value)
{
    command_number(&cmd->out, name, value);
}

/* --- of several loops --- */

/* Value of a number field in a part's only row; 0 when it is not there. */
static int64_t number_in(const struct gr_cmd *cmd, const char *field, size_t name_len)
{
    const char *p = buf_data(&cmd->out), *end = p + buf_len(&cmd->out);

    for (; p < end; p += strlen(p) + 1)
        if (strncmp(p, field, name_len) == 0)
            return strtoll(p + name_len, NULL, 10);
    return 0;
}

/* One row from each loop is one row about the server: numbers add up. */
static void add_up(const struct invocation *inv, struct buf *out)
{
    const struct gr_cmd *first = inv->part[0];
    const char *p = buf_data(&first->out), *end = p + buf_len(&first->out);

    for (; p < end; p += strlen(p) + 1) {
        const char *eq = strchr(p, '=');
        if (p[0] != 'n' || eq == NULL) {
            buf_append(out, p, strlen(p) + 1);
            continue;
        }
        size_t name_len = (size_t)(eq - p) + 1;
        int64_t sum = 0;
        for (int i = 0; i < inv->part_count; i++)
            sum += number_in(inv->part[i], p, name_len);
        buf_append(out, p, name_len);
        buf_printf(out, "%lld", (long long)sum);
        buf_append(out, "", 1);
    }
}

void command_gather(const struct invocation *inv, struct buf *out)
{
    bool single = inv->part_count > 1;

    for (int i = 0; i < inv->part_count; i++)
        single = single && inv->part[i]->rows == 1;
    if (single) {
        add_up(inv, out);
        return;
    }
    for (int i = 0; i < inv->part_count; i++)
        buf_append(out, buf_data(&inv->part[i]->out), buf_len(&inv->part[i]->out));
}

/* --- help --- */

static void put_option(struct buf *out, const char *name)
{
    buf_printf(out, " [--%s ", name);
    for (; *name != '\0'; name++)
        buf_printf(out, "%c", *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
    buf_puts(out, "]");
}

/* What may be left out is shown by its name, as it is best given, but for one that comes first. */
static void usage(struct buf *out, const char *name, const struct gr_arg *args)
{
    const struct gr_arg *first = args;

    buf_puts(out, name);
    for (; args != NULL && args->name != NULL; args++) {
        if (args->kind == GR_ARG_SECRET)
            buf_printf(out, " [--%s-stdin | --%s TEXT]", args->name, args->name);
        else if (args->kind == GR_ARG_FLAG)
            buf_printf(out, " [--%s]", args->name);
        else if (args->optional && args != first)
            put_option(out, args->name);
        else
            buf_printf(out, args->optional ? " [%s]" : " %s", args->name);
    }
}

void command_help_row(struct buf *out, const char *name, const struct gr_arg *args,
                      const char *help)
{
    struct buf line = { 0 };

    usage(&line, name, args);
    command_row(out);
    command_text(out, "command", buf_str(&line));
    command_text(out, "help", help);
    buf_fini(&line);
}
