/* ctl/ctl.h: what the files of grapnelctl share. */
#pragma once

#include "base/buf.h"

#define CTL_CONFIG "/etc/grapnel/grapnel.ini"

#define CTL_TIMEOUT 60 /* seconds */
#define CTL_SILENT 3   /* the exit status when there was no answer in time */

/* Whom to ask. */
struct server {
    const char *config;
    char *path;   /* of the socket; NULL: the configuration tells */
    long timeout; /* seconds without a byte from the server; 0: for ever */
    bool json;
};

/* "grapnelctl: WHAT: WHY" on stderr; 1, the exit status. */
int ctl_fail(const char *what, const char *why);

/* ask.c: sends the words of `request` (each ended by NUL; the closing empty one is added) and waits
 * for the answer. 0, or the exit status after saying on stderr why there is none: 1, CTL_SILENT. */
int server_ask(struct server *s, struct buf *request, struct buf *answer);
/* The items of an answer up to the closing one; NULL: there is none, or an error, put into *error
 * (borrowed from the answer). */
const char *answer_end(const struct buf *answer, const char **error);

/* print.c: the exit status. command: its first word; some are printed in a way of their own. */
int print_answer(const struct buf *answer, bool json, const char *command);

/* `grapnelctl module new|check|watch ...`: argv[0] is the word behind "module". The exit status. */
int module_new(int argc, char **argv);
int module_check(int argc, char **argv);
int module_watch(struct server *s, int argc, char **argv);
/* Prints the findings and the verdict; whether the server would load it. */
bool module_file_fits(const char *path);
