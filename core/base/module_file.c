/* base/module_file.c: reads the file of a module, at once and only if nobody else can change it. */
#include "base/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64 << 20)

static int read_all(int fd, struct module_file *f)
{
    size_t got = 0;

    while (got < f->len) {
        ssize_t n = read(fd, f->data + got, f->len - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return GR_EIO;
        got += (size_t)n;
    }
    return 0;
}

static char *why_not(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return gr_strdup("is not a file");
    if ((st->st_mode & S_IWOTH) != 0)
        return gr_strdup("can be written by everybody: chmod o-w");
    if (st->st_size <= 0 || st->st_size > FILE_MAX)
        return gr_strdup("is empty or too large: install it again");
    return NULL;
}

int module_file_read(struct module_file *f, const char *path, char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int rc = GR_EINVAL;

    if (fd < 0 || fstat(fd, &st) != 0) {
        *why = gr_asprintf("cannot be read: %s", strerror(errno));
        goto out;
    }
    *why = why_not(&st);
    if (*why != NULL)
        goto out;
    f->len = (size_t)st.st_size;
    f->data = gr_try_alloc(f->len);
    if (f->data != NULL && read_all(fd, f) == 0) {
        rc = 0;
        goto out;
    }
    gr_free(f->data);
    f->data = NULL;
    *why = gr_strdup("cannot be read completely: try again");
out:
    if (fd >= 0)
        close(fd);
    return rc;
}

void module_file_fini(struct module_file *f)
{
    gr_free(f->data);
    *f = (struct module_file){ NULL, 0 };
}

char *module_name_of(const char *path)
{
    const char *file = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    size_t len = strlen(file);
    bool usual = len > 7 && strncmp(file, "mod_", 4) == 0 && strcmp(file + len - 3, ".so") == 0;

    return usual ? gr_strndup(file + 4, len - 7) : NULL;
}
