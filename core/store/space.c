/* store/space.c: what happens when the disk is full.
 *
 * LMDB needs new pages even for deletions (copy on write), so a full disk could not be emptied from
 * inside. A ballast file is kept: when a commit finds no room it is removed, everything that adds
 * rows is refused from then on, and deletions live on the room it left. When the file system has
 * room for the ballast and a reserve again, the ballast is made anew and writes go on.
 * A full map (store.h: map_size) has no ballast: each write is tried, and the first that fits ends
 * the state. Committer thread, except for the two questions. */
#include "store/commit.h"

#include <grapnel/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BALLAST "ballast"
enum { BALLAST_SIZE = 4 * 1024 * 1024, RESERVE = 2 * 1024 * 1024 };

static int dir = -1;
static atomic_bool disk_full, map_full;

uint64_t space_free(void)
{
    struct statvfs st;

    if (store_faults != NULL && store_faults->free != NULL)
        return store_faults->free();
    if (dir < 0 || fstatvfs(dir, &st) != 0)
        return UINT64_MAX;
    return (uint64_t)st.f_bavail * st.f_frsize;
}

bool space_full(void)
{
    return disk_full || map_full;
}

/* 0 or an errno; nothing is left behind when there is no room. */
static int make_ballast(void)
{
    int fd, err;

    if (dir < 0)
        return 0;
    fd = openat(dir, BALLAST, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    err = posix_fallocate(fd, 0, BALLAST_SIZE);
    close(fd);
    if (err != 0)
        unlinkat(dir, BALLAST, 0);
    return err;
}

static void set_disk_full(bool full)
{
    if (disk_full == full)
        return;
    disk_full = full;
    if (full)
        gr_error("store.full", "the disk is full: only reading and deleting until there is room");
    else
        gr_info("store.room", "the disk has room again: writing goes on");
}

void space_open(int dir_fd)
{
    int err;

    dir = dir_fd;
    disk_full = map_full = false;
    err = make_ballast();
    if (err == ENOSPC || err == EDQUOT)
        set_disk_full(true);
    else if (err != 0)
        gr_warn("store.ballast", "cannot keep a reserve for a full disk: %s", strerror(err));
}

void space_close(void)
{
    dir = -1;
    disk_full = map_full = false;
}

void space_exhausted(bool map)
{
    if (map) {
        if (!map_full)
            gr_error("store.full", "the store has reached its configured size: only reading and "
                     "deleting until there is room (or raise the size and restart)");
        map_full = true;
        return;
    }
    if (dir >= 0)
        unlinkat(dir, BALLAST, 0);
    set_disk_full(true);
}

void space_fits(void)
{
    if (map_full)
        gr_info("store.room", "the store has room again: writing goes on");
    map_full = false;
}

void space_check(void)
{
    int err;

    if (!disk_full || space_free() < BALLAST_SIZE + RESERVE)
        return;
    err = make_ballast();
    if (err == ENOSPC || err == EDQUOT)
        return;
    if (err != 0)
        gr_warn("store.ballast", "cannot keep a reserve for a full disk: %s", strerror(err));
    set_disk_full(false);
}

bool space_refuses(const struct store_txn *t)
{
    return disk_full && !t->frees;
}
