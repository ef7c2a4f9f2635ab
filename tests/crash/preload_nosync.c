/* preload_nosync.so, for a control of tests/crash: a process that never syncs what it writes. LMDB
 * syncs with fdatasync and writes its meta page through a descriptor opened with O_DSYNC. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int msync(void *addr, size_t length, int flags)
{
    (void)addr, (void)length, (void)flags;
    return 0;
}

static int open_without_sync(const char *name, const char *path, int flags, mode_t mode)
{
    int (*real)(const char *, int, ...);

    *(void **)&real = dlsym(RTLD_NEXT, name);
    return real(path, flags & ~(O_SYNC | O_DSYNC), mode);
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;               \
        va_end(ap);                                                                                \
        return open_without_sync(#name, path, flags, mode);                                        \
    }

OPEN(open)
OPEN(open64)
