/* mod/trial.c: remembers over a crash which module was being loaded; see trial.h.
 *
 * `module.loading` is mapped, so that naming who comes next costs no system call and cannot fail, and a
 * signal handler can say that it crashed. It has a mark and then a line "<hash> <path>", as has
 * `modules.crashed` for each crash. */
#include "mod/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mod/crash.h"

#include <grapnel/log.h>

#define RECORD_SIZE 8192 /* a mark, a hash and a path */
#define CRASHED '!'      /* the mark of a crash; otherwise '\0' */

static struct {
    char *loading, *notes;
    bool write;
    char *left;          /* for a check: the line that the next start will take up */
    char *record;        /* mapped; NULL: nothing is being loaded */
} trial;

/* On this thread runs what the record names. */
static _Thread_local volatile sig_atomic_t trying;

uint64_t trial_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3;
    return h;
}

static void complain(const char *path)
{
    gr_warn("mod.trial", "%s: cannot be written (%s): should a module crash the server while it is "
            "loaded, the next start will load it again", path, strerror(errno));
}

/* --- the crash --- */

static struct sigaction before[CRASH_SIGNALS];

/* Leaves the end of the process to whoever would have seen to it without us: a fault comes again
 * with the same registers as soon as we return, a signal that was sent must be sent again. */
static void on_fatal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (trying && crash_own_doing(sig, info))
        trial.record[0] = CRASHED;
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        if (crash_signals[i] == sig)
            sigaction(sig, &before[i], NULL);
    }
    if (info->si_code <= 0)
        raise(sig);
}

static void watch(void)
{
    struct sigaction act = { .sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < CRASH_SIGNALS; i++)
        sigaction(crash_signals[i], &act, &before[i]);
}

/* A handler that a module's library has installed meanwhile stays. */
static void unwatch(void)
{
    struct sigaction now;

    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        if (sigaction(crash_signals[i], NULL, &now) == 0 && now.sa_sigaction == on_fatal)
            sigaction(crash_signals[i], &before[i], NULL);
    }
}

/* --- at the start --- */

/* The line of a module in which a process has crashed; NULL: none has. Freed by the caller. */
static char *left_behind(void)
{
    char mark, *line = NULL;
    size_t size = 0;
    FILE *f = fopen(trial.loading, "re");

    if (f == NULL)
        return NULL;
    mark = (char)getc(f);
    if (mark != CRASHED || getline(&line, &size, f) < 2 || strchr(line, '\n') == NULL) {
        free(line);
        line = NULL;
    }
    fclose(f);
    return line;
}

static bool add_note(const char *line)
{
    FILE *f = fopen(trial.notes, "ae");
    bool ok = f != NULL && fputs(line, f) >= 0;

    if (f != NULL)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        complain(trial.notes);
    return ok;
}

void trial_open(const char *dir, bool write)
{
    trial_close();
    trial.loading = gr_asprintf("%s/module.loading", dir);
    trial.notes = gr_asprintf("%s/modules.crashed", dir);
    trial.write = write;
    trial.left = left_behind();
    if (!write || (trial.left != NULL && !add_note(trial.left)))
        return;
    if (unlink(trial.loading) != 0 && errno != ENOENT)
        complain(trial.loading);
    free(trial.left);
    trial.left = NULL;
}

void trial_close(void)
{
    trial_over();
    gr_free(trial.loading);
    gr_free(trial.notes);
    free(trial.left);
    trial.left = NULL;
    trial.loading = trial.notes = NULL;
    trial.write = false;
}


/* --- while loading --- */

static char *map_record(void)
{
    int fd = open(trial.loading, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *at = MAP_FAILED;

    /* The blocks must be there: a full disk would show only when the mapping is written. */
    if (fd >= 0 && (errno = posix_fallocate(fd, 0, RECORD_SIZE)) == 0)
        at = mmap(NULL, RECORD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        complain(trial.loading);
    if (fd >= 0)
        close(fd);
    return at != MAP_FAILED ? at : NULL;
}

void trial_run(const char *path, uint64_t hash)
{
    if (!trial.write)
        return;
    if (trial.record == NULL) {
        trial.record = map_record();
        trial.write = trial.record != NULL; /* otherwise it has been said */
        if (trial.write)
            watch();
    }
    if (!trial.write || strlen(path) > RECORD_SIZE - 32)
        return;
    crash_thread_ready();
    snprintf(trial.record + 1, RECORD_SIZE - 1, "%016" PRIx64 " %s\n", hash, path);
    trying = 1;
}

void trial_rest(void)
{
    trying = 0;
}

void trial_over(void)
{
    trial_rest();
    if (trial.record == NULL)
        return;
    unwatch();
    munmap(trial.record, RECORD_SIZE);
    trial.record = NULL;
    if (unlink(trial.loading) != 0)
        complain(trial.loading);
}

/* --- looking --- */

static bool names(const char *line, const char *path, uint64_t *hash)
{
    size_t len = strlen(path);
    char *end;

    *hash = strtoull(line, &end, 16);
    return *end == ' ' && strncmp(end + 1, path, len) == 0 &&
           (end[1 + len] == '\n' || end[1 + len] == '\0');
}

static bool search(const char *file, const char *path, unsigned *skip, uint64_t *hash)
{
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    FILE *f = fopen(file, "re");

    while (f != NULL && !found && getline(&line, &size, f) > 0)
        found = names(line, path, hash) && (*skip)-- == 0;
    free(line);
    if (f != NULL)
        fclose(f);
    return found;
}

bool trial_crashed(const char *path, unsigned *nth, uint64_t *hash)
{
    unsigned skip = (*nth)++;

    if (trial.notes == NULL)
        return false;
    return search(trial.notes, path, &skip, hash) ||
           (trial.left != NULL && names(trial.left, path, hash) && skip == 0);
}

char *trial_undo(const char *path)
{
    uint64_t hash;

    if (trial.left != NULL && names(trial.left, path, &hash)) /* not taken up yet */
        return gr_asprintf("remove %s", trial.loading);
    return gr_asprintf("remove its line from %s", trial.notes);
}
