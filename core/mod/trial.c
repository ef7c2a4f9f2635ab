/* mod/trial.c: remembers over a crash which module was being loaded; see trial.h.
 *
 * `module.loading` is mapped, so that naming who comes next costs no system call and cannot fail. Both
 * files have lines "<hash> <path>". */
#include "mod/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <grapnel/log.h>

#define RECORD_SIZE 8192 /* a hash and a path */

static struct {
    char *loading, *notes;
    bool write;
    char *record;        /* mapped; NULL: nothing is being loaded */
} trial;

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

/* --- at the start --- */

/* The line that a process has left behind; NULL: it ended well. Freed by the caller. */
static char *left_behind(void)
{
    char *line = NULL;
    size_t size = 0;
    FILE *f = fopen(trial.loading, "re");

    if (f == NULL)
        return NULL;
    if (getline(&line, &size, f) < 2 || strchr(line, '\n') == NULL) {
        free(line);
        line = NULL;
    }
    fclose(f);
    return line;
}

static void add_note(const char *line)
{
    FILE *f = fopen(trial.notes, "ae");
    bool ok = f != NULL && fputs(line, f) >= 0;

    if (f != NULL)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        complain(trial.notes);
    else if (unlink(trial.loading) != 0)
        complain(trial.loading);
}

void trial_open(const char *dir, bool write)
{
    char *line;

    trial_close();
    trial.loading = gr_asprintf("%s/module.loading", dir);
    trial.notes = gr_asprintf("%s/modules.crashed", dir);
    trial.write = write;
    line = write ? left_behind() : NULL;
    if (line != NULL)
        add_note(line);
    free(line);
}

void trial_close(void)
{
    trial_over();
    gr_free(trial.loading);
    gr_free(trial.notes);
    trial.loading = trial.notes = NULL;
    trial.write = false;
}

const char *trial_notes(void)
{
    return trial.notes;
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
    if (trial.record == NULL)
        trial.record = map_record();
    if (trial.record == NULL)
        trial.write = false; /* has been said */
    else if (strlen(path) < RECORD_SIZE - 32)
        snprintf(trial.record, RECORD_SIZE, "%016" PRIx64 " %s\n", hash, path);
}

void trial_rest(void)
{
    if (trial.record != NULL)
        trial.record[0] = '\0';
}

void trial_over(void)
{
    if (trial.record == NULL)
        return;
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
    /* A check looks at what the next start will take up. */
    return search(trial.notes, path, &skip, hash) ||
           (!trial.write && search(trial.loading, path, &skip, hash));
}
