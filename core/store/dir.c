/* store/dir.c: the data directory. The lock is an flock on the directory itself: it goes with the
 * process, however that ends, and a second writer would bypass this one's order and caches. */
#include "store/dir.h"

#include <grapnel/log.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_dir(const char *path, int *fd, char **why)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        *why = gr_asprintf("cannot create the directory %s: %s", path, strerror(errno));
        return GR_EIO;
    }
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        *why = gr_asprintf("cannot open the directory %s: %s", path, strerror(errno));
        return GR_EIO;
    }
    return 0;
}

int dir_open(const char *path, int *fd, char **why)
{
    struct stat st;
    int rc = open_dir(path, fd, why);

    if (rc != 0)
        return rc;
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        *why = errno == EWOULDBLOCK
                   ? gr_asprintf("the data directory %s is in use by another process: stop that "
                                 "one, or give this one another directory", path)
                   : gr_asprintf("cannot lock the data directory %s: %s", path, strerror(errno));
        dir_close(fd);
        return GR_EAGAIN;
    }
    if (fstat(*fd, &st) == 0 && (st.st_mode & 077) != 0) {
        if (fchmod(*fd, 0700) != 0) {
            *why = gr_asprintf("the data directory %s is open to other users and cannot be closed "
                               "to them (chmod 700): %s", path, strerror(errno));
            dir_close(fd);
            return GR_EIO;
        }
        gr_warn("store.dir_mode", "the data directory %s was open to other users: now mode 0700",
                path);
    }
    return 0;
}

void dir_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int dir_open_empty(const char *path, int *fd, char **why)
{
    struct dirent *entry;
    bool empty = true;
    DIR *dir;
    int rc = open_dir(path, fd, why);

    if (rc != 0)
        return rc;
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    if (dir != NULL && empty) {
        closedir(dir);
        return 0;
    }
    *why = gr_asprintf(dir != NULL ? "the directory %s is not empty" : "cannot read %s", path);
    if (dir != NULL)
        closedir(dir);
    dir_close(fd);
    return GR_EEXIST;
}
