/* conf/ini.h: configuration text as sections and entries, each with its file and line.
 *
 *     ; a comment, also at the end of a line after a blank; # only at the start of a line
 *     [section argument]
 *     key = value
 *     key = "  quoted: blanks, a \" and a ; are kept"
 *
 * A section may be opened again, also in another file; a key may be given once per section.
 * `include = pattern` in [server] reads more files (relative to the including file, in the order
 * of their names) after the including one. Every error is collected. Main thread. */
#pragma once

#include "base/table.h"
#include "conf/errors.h"

#define INI_LINE_MAX 8192      /* bytes of a line                           */
#define INI_NAME_MAX 48        /* bytes of a section name or a key          */
#define INI_ARG_MAX 1023       /* bytes of a section argument: a JID's part */
#define INI_FILE_MAX (4 << 20) /* bytes of a file                           */
#define INI_FILES_MAX 1024
#define INI_DEPTH_MAX 4 /* files including files */
#define INI_KEYS_MAX 256 /* per section */

struct ini_entry {
    struct ini_entry *next;
    const char *key, *value;
    struct conf_place at;
    bool used; /* read by the generic part; not for the schema */
};

struct ini_section {
    struct ini_section *next;
    struct table_node node; /* by `title` */
    const char *title;      /* as in [title], one blank before the argument */
    const char *name;
    const char *arg; /* NULL when absent */
    struct conf_place at;
    struct ini_entry *first, **last;
    size_t count;
};

struct ini_file {
    const char *path;
    uint64_t dev, ino;
    struct conf_place included_at;
};

struct ini {
    struct arena mem;
    struct ini_section *first, **last; /* in order of appearance */
    struct table sections;
    struct ini_file files[INI_FILES_MAX];
    size_t file_count;
};

/* Reads `path` and what it includes. Errors are appended; what is right is kept anyway, so that
 * later checks find more errors. The caller owns *ini in every case (ini_fini). */
void ini_load(struct ini *ini, const char *path, struct conf_errors *errs);
/* The same for text in memory; `name` stands for the file; includes are errors. */
void ini_load_text(struct ini *ini, const char *name, const char *text, size_t len,
                   struct conf_errors *errs);
const struct ini_entry *ini_find(const struct ini_section *s, const char *key);
void ini_fini(struct ini *ini);
