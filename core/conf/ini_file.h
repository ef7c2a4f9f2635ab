/* conf/ini_file.h: files of configuration and their includes. Used by conf/ini.c only. */
#pragma once

#include "conf/ini.h"

/* The include lines of one file, read after it. NULL: includes are not possible here. */
struct ini_includes {
    struct {
        const char *pattern;
        struct conf_place at;
    } items[INI_KEYS_MAX];
    size_t count;
    struct arena *mem;
};

void ini_init(struct ini *ini);
void ini_includes_add(struct ini_includes *inc, const char *pattern, struct conf_place at,
                      struct conf_errors *errs);
/* One text into the ini; in ini.c. */
void ini_read_text(struct ini *ini, const char *file, const char *text, size_t len,
                   struct ini_includes *includes, struct conf_errors *errs);
