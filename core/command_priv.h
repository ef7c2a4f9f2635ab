/* command_priv.h: what the command*.c share. */
#pragma once

#include "command.h"
#include "loop/loop.h"
#include "mod/instance.h"
#include "mod/spec.h"

#include <grapnel/jid.h>

#define ARGS_MAX 16

/* One invocation; lives on the main loop while parts of it work elsewhere. */
struct invocation {
    struct post post;
    command_done_f done;
    void *arg;
    int parts;                /* not back yet */
    char *error;
    struct gr_cmd *part[LOOPS_MAX];
    int part_count;
};
struct gr_cmd {
    struct post post;
    struct invocation *inv;   /* NULL: the core has answered, because the module went */
    int place;                /* in inv->part */
    struct gr_mod *self;      /* NULL: not found yet, or finished */
    struct owed owed;         /* by self */
    struct kept kept;
    const struct gr_command *command;
    const char *module, *host;
    struct loop *loop;
    char *value[ARGS_MAX];    /* by position in command->args */
    struct gr_jid *jid[ARGS_MAX];
    struct buf out;
    unsigned rows;
    char *error;
};

/* command.c: the commands of the process. */
const struct main_command *command_mains(size_t *count);

/* command_args.c: NULL, or what is wrong with the words (caller frees). */
char *cmd_take_args(struct gr_cmd *cmd, const char *const *words, size_t count);
/* The first argument that is an address; NULL: none. */
const struct gr_jid *cmd_first_jid(const struct gr_cmd *cmd);
void cmd_args_fini(struct gr_cmd *cmd); /* wiped: there may be a password */

/* command_rows.c: what the parts have answered, as one result. */
void command_gather(const struct invocation *inv, struct buf *out);
/* The row that `help` shows about a command. */
void command_help_row(struct buf *out, const char *name, const struct gr_arg *args,
                      const char *help);
