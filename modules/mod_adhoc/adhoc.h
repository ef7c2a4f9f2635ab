/* mod_adhoc/adhoc.h: what the files of mod_adhoc share. */
#pragma once

#include <grapnel/form.h>
#include <grapnel/module.h>

#define NS_COMMANDS "http://jabber.org/protocol/commands"
#define NS_ADMIN "http://jabber.org/protocol/admin"
#define FIELDS_MAX 20

struct adhoc_conf {
    bool report_commands_node, server_commands;
    const char *const *withheld;
    int64_t page, max_result, session_timeout, max_sessions;
};

/* A field of a command's form, and the argument of the command that it becomes. */
enum field_use {
    FIELD_VALUE,        /* its value, lines joined                                        */
    FIELD_FLAG,         /* a boolean: "--arg" when true                                   */
    FIELD_EACH,         /* the command is run for each of its values, addresses of the host */
    FIELD_ACCOUNT,      /* one address of the host                                        */
    FIELD_SAME,         /* must say the same as the field before; no argument             */
    FIELD_IGNORED,      /* asked for by XEP-0133, of no use here                          */
    FIELD_LIMIT         /* a number, or "none"                                            */
};
struct field {
    const char *var, *type, *label, *arg;
    enum field_use use;
    bool required;
};
/* A node: a form, a command of the server's, and a form of what it answers. */
struct recipe {
    const char *title, *command;
    struct field field[FIELDS_MAX + 1]; /* var NULL ends it */
    bool about_host;                    /* the argument "domain" is the host                    */
    const char *form_type;              /* NULL: none                                           */
    struct { const char *column, *var; } out[4]; /* values of var; none: a table of all rows    */
    bool roster;                        /* the rows are a roster                                */
};

/* admin.c: XEP-0133. */
bool admin_recipe(struct gr_mod *self, const char *node, struct recipe *out);
void admin_each(struct gr_mod *self, void (*f)(void *ctx, const char *node, const char *title),
                void *ctx);
/* registry.c: any command of the server as a node of its own; `out` has the strings of the command's
 * tables. */
bool registry_recipe(struct gr_mod *self, const char *node, struct recipe *out);
void registry_each(struct gr_mod *self, void (*f)(void *ctx, const char *node, const char *title),
                   void *ctx);
bool registry_has(struct gr_mod *self, const char *command); /* and it is not withheld */

/* session.c: executions that are not at their end (XEP-0050, 3.3). Of the loop. */
struct adhoc_session {
    struct adhoc_session *next;     /* the one that was used last is the last */
    char *node, *from, *command;
    int64_t until_ms;
    size_t stage;                   /* 0: the form; then the pages of the result, from 1 */
    bool form, running;             /* there is a form before the pages */
    struct rows *rows;
    char id[GR_ID_SIZE];
};
struct adhoc {
    struct job *jobs;               /* run.c: commands that run */
    struct adhoc_session *sessions;
    unsigned count;
    struct gr_timer sweep;
};
#define SESSIONS_OF_ONE 8
/* NULL: there are max_sessions already. The oldest one of somebody who has SESSIONS_OF_ONE goes. */
struct adhoc_session *session_new(struct gr_mod *self, const char *from, const char *node);
/* NULL: not there, somebody else's, or of another node; else it has the whole time-out again. */
struct adhoc_session *session_find(struct gr_mod *self, const char *from, const char *node,
                                   const char *id);
void session_end(struct gr_mod *self, struct adhoc_session *s);
void sessions_end(struct gr_mod *self);

/* result.c: the rows of an answer. */
struct rows;
struct rows *rows_new(size_t max_bytes);
void rows_free(struct rows **take);
void rows_add(struct rows *r, struct gr_cmd_result *from);
size_t rows_count(const struct rows *r);
bool rows_cut(const struct rows *r);    /* there were more than may be kept */
/* Adds rows first .. first + count as a form (or what the recipe wants) to the <command/>. */
void rows_write(const struct rows *r, const struct recipe *recipe, struct gr_stanza *st,
                struct gr_el *command, size_t first, size_t count);

/* What a shutdown cut off. */
void jobs_end(struct gr_mod *self);
/* run.c: one step of an execution; answers and ends the request. */
enum action { EXECUTE, NEXT, PREV, COMPLETE, CANCEL };
void run_first(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
               const char *node);
void run_step(struct gr_mod *self, struct gr_iq_req *req, const struct recipe *recipe,
              struct adhoc_session *s, enum action action);

/* mod_adhoc.c */
struct gr_stanza *command_reply(const struct gr_iq_req *req, const char *node, const char *id,
                                const char *status, struct gr_el **command);
/* An error with its condition of XEP-0050, table 5. */
void command_refuse(struct gr_iq_req *take, enum gr_cond cond, const char *specific,
                    const char *text);

/* commands.c: what the server's commands lack for XEP-0133. */
extern const struct gr_command adhoc_commands[];
