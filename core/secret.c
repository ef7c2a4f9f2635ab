/* secret.c: reads or makes the server's secret. */
#include "secret.h"

#include "stream/auth.h"
#include "stream/c2s.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Under another name until it is whole: a crash in between must not leave half of it. */
static int make_secret(const char *path, const uint8_t *secret, size_t len)
{
    char *fresh = gr_asprintf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 || write(fd, secret, len) != (ssize_t)len || fsync(fd) != 0 ||
             rename(fresh, path) != 0 ? GR_EIO : 0;

    if (fd >= 0)
        close(fd);
    gr_free(fresh);
    return rc;
}

int secret_load(const char *data_dir, char **why)
{
    char *path = gr_asprintf("%s/secret", data_dir);
    uint8_t secret[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    errno = fd < 0 ? errno : 0;
    if (fd < 0 && errno == ENOENT) {
        gr_random(secret, sizeof(secret));
        rc = make_secret(path, secret, sizeof(secret));
    } else if (fd < 0 || read(fd, secret, sizeof(secret)) != (ssize_t)sizeof(secret)) {
        rc = GR_EIO;
    }
    if (rc != 0)
        *why = gr_asprintf("%s: cannot be read or made: %s", path,
                           errno != 0 ? strerror(errno) : "it is too short: remove it");
    if (fd >= 0)
        close(fd);
    c2s_set_secret(secret, sizeof(secret));
    auth_set_secret(secret, sizeof(secret));
    gr_wipe(secret, sizeof(secret));
    gr_free(path);
    return rc;
}
