/* conf/ini_file.c: reads a configuration file and, after it, the files that it includes.
 *
 * A pattern is relative to the file that names it. A pattern with wildcards may match nothing (an
 * empty or missing conf.d is fine); a plain name must exist. The same file twice is an error, so
 * that a circle of includes ends and a key is never "given twice" by itself. */
#include "conf/ini_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void ini_includes_add(struct ini_includes *inc, const char *pattern, struct conf_place at,
                      struct conf_errors *errs)
{
    if (inc == NULL) {
        conf_errors_add(errs, at, "`include` works only in a file: remove it");
        return;
    }
    if (pattern[0] == '\0') {
        conf_errors_add(errs, at, "`include` names no file: write for instance "
                        "include = conf.d/*.ini");
        return;
    }
    if (inc->count == GR_COUNT(inc->items)) {
        conf_errors_add(errs, at, "there are more than %zu include lines: use a pattern such as "
                        "conf.d/*.ini", GR_COUNT(inc->items));
        return;
    }
    inc->items[inc->count].pattern = arena_strdup(inc->mem, pattern);
    inc->items[inc->count++].at = at;
}

/* Notes that this file is read; false (an error was added) when it may not be. */
static bool file_note(struct ini *ini, const char *path, const struct stat *st,
                      struct conf_place from, struct conf_errors *errs)
{
    struct conf_place at = from.file != NULL ? from : (struct conf_place){ path, 0 };

    if (!S_ISREG(st->st_mode)) {
        conf_errors_add(errs, at, "%s is not a regular file: name a file", path);
        return false;
    }
    if (st->st_size > INI_FILE_MAX) {
        conf_errors_add(errs, at, "%s has %lld bytes, %d are possible: split it", path,
                        (long long)st->st_size, INI_FILE_MAX);
        return false;
    }
    for (size_t i = 0; i < ini->file_count; i++) {
        const struct ini_file *f = &ini->files[i];

        if (f->dev == st->st_dev && f->ino == st->st_ino) {
            conf_errors_add(errs, at, "%s is read already%s: include it once", path,
                            f->included_at.file == NULL ? " as the main file" : "");
            return false;
        }
    }
    if (ini->file_count == INI_FILES_MAX) {
        conf_errors_add(errs, at, "more than %d files: join some", INI_FILES_MAX);
        return false;
    }
    ini->files[ini->file_count++] = (struct ini_file){ path, st->st_dev, st->st_ino, from };
    return true;
}

/* The content, to be freed with gr_free; NULL: an error was added. */
static char *file_slurp(struct ini *ini, const char *path, struct conf_place from,
                        struct conf_errors *errs, size_t *len)
{
    struct conf_place at = from.file != NULL ? from : (struct conf_place){ path, 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hang us */
    struct stat st;
    char *text = NULL;
    ssize_t n = 0;

    *len = 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        conf_errors_add(errs, at, "cannot read %s (%s): check the name and its permissions", path,
                        strerror(errno));
        goto out;
    }
    if (!file_note(ini, path, &st, from, errs))
        goto out;
    text = gr_alloc((size_t)st.st_size + 1);
    while (*len < (size_t)st.st_size &&
           ((n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0 ||
            (n < 0 && errno == EINTR))) {
        if (n > 0)
            *len += (size_t)n;
    }
    if (n < 0) {
        conf_errors_add(errs, at, "cannot read %s (%s)", path, strerror(errno));
        gr_free(text);
        text = NULL;
    }
out:
    if (fd >= 0)
        close(fd);
    return text;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* glob stops at a directory that is there and cannot be read. */
static int on_glob_error(const char *path, int err)
{
    (void)path;
    return err != ENOENT && err != ENOTDIR;
}

/* The pattern as seen from the directory of the including file, whose own name is no pattern. */
static const char *pattern_from(struct arena *mem, const char *file, const char *pattern)
{
    const char *slash = strrchr(file, '/');
    size_t n = 0, dir = slash != NULL ? (size_t)(slash - file) + 1 : 0;
    char *out;

    if (pattern[0] == '/' || dir == 0)
        return pattern;
    out = arena_alloc(mem, 2 * dir + strlen(pattern) + 1);
    for (size_t i = 0; i < dir; i++) {
        if (strchr("\\*?[", file[i]) != NULL)
            out[n++] = '\\';
        out[n++] = file[i];
    }
    memcpy(out + n, pattern, strlen(pattern) + 1);
    return out;
}

static void file_read(struct ini *ini, const char *path, struct conf_place from, int depth,
                      struct conf_errors *errs);

static void include_read(struct ini *ini, const char *file, const char *pattern,
                         struct conf_place at, int depth, struct conf_errors *errs)
{
    glob_t found = { 0 };
    int rc;

    if (depth == INI_DEPTH_MAX) {
        conf_errors_add(errs, at, "files include files %d deep: include this one from the main "
                        "file", INI_DEPTH_MAX);
        return;
    }
    rc = glob(pattern_from(&ini->mem, file, pattern), GLOB_NOSORT, on_glob_error, &found);
    if (rc == GLOB_NOMATCH) {
        if (strpbrk(pattern, "*?[") == NULL)
            conf_errors_add(errs, at, "there is no file %s: create it or remove the include",
                            pattern);
    } else if (rc != 0) {
        conf_errors_add(errs, at, "cannot list %s: check the permissions of its folder", pattern);
    } else {
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_name);
        for (size_t i = 0; i < found.gl_pathc; i++)
            file_read(ini, arena_strdup(&ini->mem, found.gl_pathv[i]), at, depth + 1, errs);
    }
    globfree(&found);
}

static void file_read(struct ini *ini, const char *path, struct conf_place from, int depth,
                      struct conf_errors *errs)
{
    struct ini_includes *inc = gr_alloc(sizeof *inc);
    size_t len;
    char *text = file_slurp(ini, path, from, errs, &len);

    inc->mem = &ini->mem;
    if (text != NULL) {
        ini_read_text(ini, path, text, len, inc, errs);
        gr_free(text);
        for (size_t i = 0; i < inc->count; i++)
            include_read(ini, path, inc->items[i].pattern, inc->items[i].at, depth, errs);
    }
    gr_free(inc);
}

void ini_load(struct ini *ini, const char *path, struct conf_errors *errs)
{
    ini_init(ini);
    file_read(ini, arena_strdup(&ini->mem, path), (struct conf_place){ NULL, 0 }, 0, errs);
}
