/* command.h: running commands (include/grapnel/command.h) for whoever serves them. Main thread. */
#pragma once

#include "base/buf.h"

#include <grapnel/command.h>

/* A command line as words, e.g. {"user", "add", "a@b", "--password", "x"}. done is called once, on the
 * main loop. error: NULL or one sentence; result: encoded rows (control.c's wire format):
 * "row\0" starts a row, "n:name=value\0" a number, "s:name=value\0" a text. */
typedef void (*command_done_f)(void *arg, const char *error, const struct buf *result);
void command_run(const char *const *words, size_t count, command_done_f done, void *arg);

/* Commands of the process itself (reload, stop): run on the main thread. */
struct main_command {
    const char *name, *help;
    const struct gr_arg *args; /* NULL: none */
    /* NULL, or an error sentence (caller frees); may append rows. gr_cmd_text has the arguments. */
    char *(*run)(const struct gr_cmd *cmd, struct buf *result);
};
void command_add_main(const struct main_command *table, size_t count);
void command_row(struct buf *result);
void command_text(struct buf *result, const char *name, const char *value);
void command_number(struct buf *result, const char *name, int64_t value);
