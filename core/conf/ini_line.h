/* conf/ini_line.h: the grammar of one line of configuration. Used by conf/ini.c only. */
#pragma once

#include "conf/ini.h"

enum ini_kind { INI_BLANK, INI_HEADER, INI_PAIR };

struct ini_header {
    const char *name, *arg; /* point into the line */
    size_t name_len, arg_len;
};

struct ini_pair {
    char key[INI_NAME_MAX + 1];
    char value[INI_LINE_MAX + 1];
};

/* Cuts the line end and the blanks around it. False (an error was added): not to be read. */
bool ini_line_check(const char **line, size_t *len, struct conf_place at,
                    struct conf_errors *errs);
enum ini_kind ini_line_kind(const char *line, size_t len);
/* False: an error was added. */
bool ini_line_header(const char *line, size_t len, struct conf_place at, struct conf_errors *errs,
                     struct ini_header *out);
bool ini_line_pair(const char *line, size_t len, struct conf_place at, struct conf_errors *errs,
                   struct ini_pair *out);
