/* grapnel/command.h: a command is declared once and served by grapnelctl (later by ad-hoc commands
 * and HTTP as well). */
#pragma once

#include <grapnel/provider.h>

enum gr_arg_kind {
    GR_ARG_TEXT,
    GR_ARG_JID,
    GR_ARG_INT,
    GR_ARG_SECRET,
    GR_ARG_FLAG         /* --name, without a value; gr_cmd_text is not NULL when it was given */
};
struct gr_arg {
    const char *name;   /* NULL ends the table */
    enum gr_arg_kind kind;
    bool optional;
    const char *help;
};
/* GR_ARG(jid, JID, "an account"): must be given; GR_ARG_OPTIONAL(limit, INT, "at most so many") */
#define GR_ARG(arg, type, text) { .name = #arg, .kind = GR_ARG_##type, .help = (text) }
#define GR_ARG_OPTIONAL(arg, type, text) \
    { .name = #arg, .kind = GR_ARG_##type, .optional = true, .help = (text) }
#define GR_ARG_END { .name = NULL }
enum gr_where_runs {
    GR_RUN_ANY,         /* one loop                                             */
    GR_RUN_HOME,        /* home loop of the first JID argument                  */
    GR_RUN_ALL          /* every loop; rows are joined, number fields are summed */
};
/* A command runs in the instance of the host that its first JID argument names. Without one it runs in
 * the instance of a single host (the first that has the module), also with GR_RUN_ALL: what is about
 * every host, or about one that is to be chosen, takes an address or the domain as a JID. */
struct gr_cmd; /* one run of it, until gr_cmd_done or gr_cmd_fail; of the loop of run() */
struct gr_command {
    const char *name;   /* "mod ping now"; words separated by blanks; NULL ends the table */
    const char *help;
    const struct gr_arg *args;
    enum gr_where_runs where;
    void (*run)(struct gr_mod *self, struct gr_cmd *cmd); /* finish it once, now or later */
};
#define GR_COMMAND_END { .name = NULL }

/* The arguments, by name; borrowed until the command is finished. What is not a JID or not a number has
 * been refused before run(). text: as it was written, NULL: not given; jid: prepared, NULL: not given
 * (or not a GR_ARG_JID). */
GR_API const char *gr_cmd_text(const struct gr_cmd *cmd, const char *arg);
GR_API const struct gr_jid *gr_cmd_jid(const struct gr_cmd *cmd, const char *arg);
GR_API int64_t gr_cmd_int(const struct gr_cmd *cmd, const char *arg, int64_t otherwise);
/* A row of the result; fields follow in order. Rows print as a table or as JSON objects. */
GR_API void gr_cmd_row(struct gr_cmd *cmd);
GR_API void gr_cmd_field(struct gr_cmd *cmd, const char *name, const char *fmt, ...)
    GR_PRINTF(3, 4);
GR_API void gr_cmd_number(struct gr_cmd *cmd, const char *name, int64_t value);
/* The end, exactly once, on the loop of run(): with the rows so far, or with a sentence for the
 * person who asked, and no rows. When the module is replaced or switched off, what comes by itself
 * (the store, asks) is awaited, a timer is not: stop() is the last chance, then the core ends it. */
GR_API void gr_cmd_done(struct gr_cmd *take);
GR_API void gr_cmd_fail(struct gr_cmd *take, const char *fmt, ...) GR_PRINTF(2, 3);

/* --- serving commands: for modules that offer them elsewhere (ad-hoc commands) --- */

/* Calls f for every command that there is for self's host: those of the process, the core's and those of
 * the host's modules, on any loop. What f is given lives as long as the module that has the command:
 * copy it. */
GR_API void gr_command_each(struct gr_mod *self,
                            void (*f)(void *ctx, const char *name, const char *help,
                                      const struct gr_arg *args),
                            void *ctx);
/* What a command has answered; valid during the callback. */
struct gr_cmd_result {
    const char *at, *end;
};
/* The next piece: a row begins with *name NULL, its fields follow. False: that was all. */
GR_API bool gr_cmd_result_next(struct gr_cmd_result *r, const char **name, const char **value);
/* error: NULL, or a sentence for the person who asked (the result is empty then). */
typedef void (*gr_command_f)(struct gr_mod *self, void *data, const char *error,
                             struct gr_cmd_result *result);
/* Runs a command, given as the words of a command line: its name, then the arguments, best as "--name"
 * and the value (words that begin with "--" are names wherever they stand); 64 words at most. The words
 * are copied, and wiped afterwards. f runs on this loop, later, however long the command takes, but 5 s at
 * most after the module was replaced, and not after its stop(); take_data (gr_alloc'ed or NULL) is freed by
 * the core in any case. Who may run what is the caller's business. */
GR_API void gr_command_run(struct gr_mod *self, const char *const *words, size_t count,
                           gr_command_f f, void *take_data);
/* May this account administer: is it in `admins` of self's host? */
GR_API bool gr_is_admin(const struct gr_mod *self, const struct gr_jid *jid);
