/* conf/ini.c: lines to sections and entries, by libinih with a reader of our own.
 *
 * libinih 55 as Debian builds it cuts lines at 199 and section names at 49 bytes, treats an
 * indented line as the continuation of the previous value, reports no line numbers and no empty
 * sections, and leaves the keys after a broken [section in the section before. Therefore the
 * reader takes each line apart itself, refuses what libinih would misread, and hands over only
 * "[n]" and "key=": short, unindented, free of comments. The value and the open section of the
 * line that libinih sees are kept here; it works strictly line by line. */
#include "conf/ini.h"

#include <ini.h>
#include <string.h>

#include "conf/ini_file.h"
#include "conf/ini_line.h"

struct reader {
    struct ini *ini;
    struct conf_errors *errs;
    const char *file;
    const char *text;            /* what is left */
    size_t len;
    int line;                    /* of the line handed out last */
    unsigned sections;           /* handed out                  */
    struct ini_section *section; /* open; NULL before the first and after a broken one */
    bool broken;                 /* the last header was refused: its keys go nowhere   */
    struct ini_pair pair;        /* of the line handed out last */
    struct ini_includes *includes;
};

static struct conf_place here(const struct reader *r)
{
    return (struct conf_place){ r->file, r->line };
}

static struct ini_section *section_open(struct reader *r, const struct ini_header *h)
{
    struct ini *ini = r->ini;
    char title[INI_NAME_MAX + 1 + INI_ARG_MAX + 1];
    struct ini_section *s;
    struct table_node *n;

    snprintf(title, sizeof title, "%.*s%s%.*s", (int)h->name_len, h->name,
             h->arg_len > 0 ? " " : "", (int)h->arg_len, h->arg_len > 0 ? h->arg : "");
    n = table_find_str(&ini->sections, title);
    if (n != NULL)
        return GR_CONTAINER_OF(n, struct ini_section, node);
    s = arena_alloc(&ini->mem, sizeof *s);
    s->title = arena_strdup(&ini->mem, title);
    s->name = arena_strndup(&ini->mem, h->name, h->name_len);
    if (h->arg_len > 0)
        s->arg = arena_strndup(&ini->mem, h->arg, h->arg_len);
    s->at = here(r);
    s->last = &s->first;
    *ini->last = s;
    ini->last = &s->next;
    table_insert(&ini->sections, &s->node, s->title, strlen(s->title));
    return s;
}

/* True when the line is one for libinih, written to `out`. */
static bool line_prepare(struct reader *r, const char *line, size_t len, char *out, size_t size)
{
    struct ini_header header;

    switch (ini_line_kind(line, len)) {
    case INI_BLANK:
        return false;
    case INI_HEADER:
        r->section = NULL;
        r->broken = !ini_line_header(line, len, here(r), r->errs, &header);
        if (r->broken)
            return false;
        r->section = section_open(r, &header);
        snprintf(out, size, "[%u]\n", ++r->sections);
        return true;
    case INI_PAIR:
        break;
    }
    if (!ini_line_pair(line, len, here(r), r->errs, &r->pair) || r->broken)
        return false;
    if (r->section == NULL) {
        conf_errors_add(r->errs, here(r), "`%s` stands before any section: put it below "
                        "a line such as [server]", r->pair.key);
        return false;
    }
    snprintf(out, size, "%s=\n", r->pair.key);
    return true;
}

/* Called by libinih for its next line; size is 200 in Debian's build, INI_NAME_MAX + 2 needed. */
static char *next_line(char *out, int size, void *ctx)
{
    struct reader *r = ctx;

    while (r->len > 0) {
        const char *line = r->text;
        const char *end = memchr(line, '\n', r->len);
        size_t len = end != NULL ? (size_t)(end - line) : r->len;
        size_t step = end != NULL ? len + 1 : len;

        r->text += step;
        r->len -= step;
        r->line++;
        if (ini_line_check(&line, &len, here(r), r->errs) &&
            line_prepare(r, line, len, out, (size_t)size))
            return out;
    }
    return NULL;
}

static void entry_add(struct reader *r, const char *key)
{
    struct ini_section *s = r->section;
    bool include = strcmp(s->title, "server") == 0 && strcmp(key, "include") == 0;
    const struct ini_entry *old = ini_find(s, key);
    struct ini_entry *e;

    if (include)
        ini_includes_add(r->includes, r->pair.value, here(r), r->errs);
    if (old != NULL && !include) {
        conf_errors_add(r->errs, here(r), "`%s` of [%s] is given twice, first at %s:%d: remove "
                        "one of them", key, s->title, old->at.file, old->at.line);
        return;
    }
    if (s->count == INI_KEYS_MAX) {
        conf_errors_add(r->errs, here(r), "[%s] has more than %d keys: remove some", s->title,
                        INI_KEYS_MAX);
        return;
    }
    e = arena_alloc(&r->ini->mem, sizeof *e);
    e->key = arena_strdup(&r->ini->mem, key);
    e->value = arena_strdup(&r->ini->mem, r->pair.value);
    e->at = here(r);
    *s->last = e;
    s->last = &e->next;
    s->count++;
}

/* libinih's callback; `section` and `value` are the short forms made by line_prepare. */
static int on_pair(void *ctx, const char *section, const char *key, const char *value)
{
    struct reader *r = ctx;

    (void)section;
    (void)value;
    if (key != NULL) /* NULL: a build of libinih that also announces sections */
        entry_add(r, key);
    return 1;
}

void ini_read_text(struct ini *ini, const char *file, const char *text, size_t len,
                   struct ini_includes *includes, struct conf_errors *errs)
{
    struct reader r = {
        .ini = ini, .errs = errs, .file = file, .text = text, .len = len, .includes = includes
    };
    int rc;

    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        r.text += 3;
        r.len -= 3;
    }
    rc = ini_parse_stream(next_line, &r, on_pair, &r);
    if (rc != 0) /* Not seen: the reader hands over nothing that libinih refuses. */
        conf_errors_add(errs, (struct conf_place){ file, 0 }, "libinih cannot read this (%d)", rc);
}

void ini_init(struct ini *ini)
{
    *ini = (struct ini){ .last = NULL };
    ini->last = &ini->first;
}

void ini_load_text(struct ini *ini, const char *name, const char *text, size_t len,
                   struct conf_errors *errs)
{
    ini_init(ini);
    ini->files[ini->file_count++].path = arena_strdup(&ini->mem, name);
    ini_read_text(ini, ini->files[0].path, text, len, NULL, errs);
}

const struct ini_entry *ini_find(const struct ini_section *s, const char *key)
{
    if (s == NULL)
        return NULL;
    for (const struct ini_entry *e = s->first; e != NULL; e = e->next) {
        if (strcmp(e->key, key) == 0)
            return e;
    }
    return NULL;
}

void ini_fini(struct ini *ini)
{
    table_fini(&ini->sections);
    arena_fini(&ini->mem);
    ini_init(ini);
}
