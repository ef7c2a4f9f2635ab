/* ctl/module_watch.c: `grapnelctl module watch`: for whoever edits a module: whenever its file has
 * been written, it is judged and reloaded, and one sees what came of it. The folder is watched, not
 * the file: compilers and install replace files. */
#include "ctl/ctl.h"

#include "base/elf.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define QUIET_MS 50 /* a file that was copied gets its mode a moment later */

static const char usage[] =
    "usage: grapnelctl [--config FILE | --socket PATH] [--timeout SECONDS] module watch NAME|FILE.so\n"
    "\n"
    "Whenever the file of a module has been written: checks it (as `module check`), has the\n"
    "server reload, prints what changed; until ^C. With NAME: the file that the server has\n"
    "loaded.\n";

struct watched {
    struct server *server;
    char *name;     /* without mod_ */
    char *path, *folder;
    const char *file; /* of path, without its folder */
    int fd;
};

/* --- the server --- */

/* 0, or an exit status when the server is not there, silent, or refuses (said on stderr). Words end
 * with NULL. */
static int ask(struct server *s, const char *const *words, struct buf *answer, const char **end)
{
    struct buf request = { 0 };
    const char *error;
    int rc;

    for (; *words != NULL; words++)
        buf_append(&request, *words, strlen(*words) + 1);
    rc = server_ask(s, &request, answer);
    buf_fini(&request);
    if (rc != 0)
        return rc;
    *end = answer_end(answer, &error);
    return *end != NULL ? 0 : ctl_fail(error, "");
}

/* What stands behind "s:NAME=" in an item; NULL: it is another one. */
static const char *value_of(const char *item, const char *name)
{
    size_t len = strlen(name);

    return strncmp(item, "s:", 2) == 0 && strncmp(item + 2, name, len) == 0 &&
           item[2 + len] == '=' ? item + 3 + len : NULL;
}

/* The file that the server has loaded as mod_NAME; *path NULL: none. 0, or a status as above. */
static int loaded_file(struct server *s, const char *name, char **path)
{
    static const char *const words[] = { "module", "list", "--files", NULL };
    struct buf answer = { 0 };
    const char *end = NULL;
    bool mine = false;
    int rc = ask(s, words, &answer, &end);

    *path = NULL;
    for (const char *p = buf_data(&answer); rc == 0 && p < end; p += strlen(p) + 1) {
        const char *module = value_of(p, "module"), *file = value_of(p, "file");

        if (module != NULL)
            mine = strncmp(module, "mod_", 4) == 0 && strcmp(module + 4, name) == 0;
        if (mine && *path == NULL && file != NULL && *file != '\0')
            *path = gr_strdup(file);
    }
    buf_fini(&answer);
    return rc;
}

static void reload(const struct watched *w)
{
    const char *const words[] = { "module", "reload", w->name, NULL };
    struct buf answer = { 0 };
    const char *end;

    if (ask(w->server, words, &answer, &end) == 0) {
        for (const char *p = buf_data(&answer); p < end; p += strlen(p) + 1) {
            const char *line = value_of(p, "change");

            if (line != NULL)
                printf("  %s\n", line);
        }
    }
    buf_fini(&answer);
    fflush(stdout);
}

/* --- the file --- */

/* Reads what has happened; whether it was about our file. -1: the folder is gone. */
static int read_events(const struct watched *w)
{
    _Alignas(struct inotify_event) char space[8192];
    ssize_t n = read(w->fd, space, sizeof(space));
    const struct inotify_event *e;
    int ours = 0;

    for (char *p = space; n > 0 && p < space + n; p += sizeof(*e) + e->len) {
        e = (const struct inotify_event *)(const void *)p;
        if ((e->mask & IN_IGNORED) != 0)
            return -1;
        if (e->len > 0 && strcmp(e->name, w->file) == 0)
            ours = 1;
    }
    return ours;
}

/* Until it has been written and is left alone for a moment. 0, or 1 when it cannot be watched. */
static int wait_for_it(const struct watched *w)
{
    struct pollfd p = { .fd = w->fd, .events = POLLIN };
    bool written = false;

    for (;;) {
        int ready = poll(&p, 1, written ? QUIET_MS : -1);

        if (ready == 0)
            return 0;
        if (ready < 0 && errno == EINTR)
            continue;
        int ours = ready > 0 ? read_events(w) : -1;
        if (ours < 0)
            return ctl_fail(w->folder, "cannot be watched any more");
        written = written || ours > 0;
    }
}

static int watch(struct watched *w)
{
    w->fd = inotify_init1(IN_CLOEXEC);
    if (w->fd < 0 ||
        inotify_add_watch(w->fd, w->folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB) < 0)
        return ctl_fail(w->folder, strerror(errno));
    printf("watching %s until ^C\n", w->path);
    fflush(stdout);
    while (wait_for_it(w) == 0) {
        time_t now = time(NULL);
        struct tm tm;
        char clock[16];

        strftime(clock, sizeof(clock), "%T", localtime_r(&now, &tm));
        printf("%s ", clock);
        if (access(w->path, F_OK) != 0)
            printf("%s is gone\n", w->path);
        else if (module_file_fits(w->path))
            reload(w);
        fflush(stdout);
    }
    return 1;
}

/* --- the command line --- */

/* What the word on the command line means: 0, or a status after saying why it means nothing. */
static int find(struct watched *w, const char *word)
{
    bool is_file = strchr(word, '/') != NULL || strstr(word, ".so") != NULL;
    char *loaded;
    int rc;

    w->name = is_file ? module_name_of(word) :
                        gr_strdup(strncmp(word, "mod_", 4) == 0 ? word + 4 : word);
    if (w->name == NULL)
        return ctl_fail(word, "is not called mod_NAME.so");
    if ((rc = loaded_file(w->server, w->name, &loaded)) != 0)
        return rc;
    if (!is_file && loaded == NULL)
        return ctl_fail(w->name, "is not loaded: `module load` it first, or name its file");
    w->path = is_file ? gr_strdup(word) : gr_strdup(loaded);
    if (loaded == NULL) {
        printf("mod_%s is not loaded: `grapnelctl module load %s`, when it is in module_path\n",
               w->name, w->name);
    } else {
        char here[PATH_MAX], there[PATH_MAX];
        bool known = realpath(w->path, here) != NULL && realpath(loaded, there) != NULL;

        if (known && strcmp(here, there) != 0)
            printf("the server has mod_%s from %s: install it there\n", w->name, there);
    }
    gr_free(loaded);
    return 0;
}

static void split(struct watched *w)
{
    const char *slash = strrchr(w->path, '/');

    w->file = slash != NULL ? slash + 1 : w->path;
    w->folder = slash != NULL ? gr_strndup(w->path, (size_t)(slash - w->path) + 1) : gr_strdup(".");
}

int module_watch(struct server *s, int argc, char **argv)
{
    struct watched w = { .server = s, .fd = -1 };
    int rc;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc != 2 || argv[1][0] == '-' || *argv[1] == '\0') {
        fputs(usage, stderr);
        return 2;
    }
    rc = find(&w, argv[1]);
    if (rc == 0 && w.path != NULL) {
        split(&w);
        rc = watch(&w);
    }
    if (w.fd >= 0)
        close(w.fd);
    gr_free(w.name);
    gr_free(w.path);
    gr_free(w.folder);
    return rc;
}
