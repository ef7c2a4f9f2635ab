/* ctl/ask.c: a command line to the server's Unix socket, and its answer. */
#include "ctl/ctl.h"

#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A call that takes longer than `timeout` seconds (0: may take for ever) then fails with EAGAIN: also
 * connect(), when as many as the server queues wait already (unix(7)). */
static int connect_to(const char *path, long timeout)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    const struct timeval limit = { .tv_sec = timeout };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (strlen(path) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
    } else {
        memcpy(a.sun_path, path, strlen(path) + 1);
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            return fd;
    }
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static bool send_all(int fd, const struct buf *b)
{
    const char *p = buf_data(b);
    size_t left = buf_len(b);

    while (left > 0) {
        ssize_t n = send(fd, p, left, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            p += n;
            left -= (size_t)n;
        }
    }
    return true;
}

/* To the end, which may be a broken connection: the answer tells whether it is whole. False: the time
 * is over. */
static bool read_all(int fd, struct buf *b)
{
    for (;;) {
        char *to = buf_reserve(b, 65536);
        ssize_t n = read(fd, to, 65536);
        if (n == 0 || (n < 0 && errno != EINTR))
            return n == 0 || errno != EAGAIN;
        if (n > 0)
            buf_produced(b, (size_t)n);
    }
}

static int silent(const struct server *s)
{
    fprintf(stderr, "grapnelctl: the server at %s has said nothing for %ld s: it may be at work still, "
                    "or stuck (loop.stuck in its log); --timeout SECONDS waits longer\n",
            s->path, s->timeout);
    return CTL_SILENT;
}

/* --- where the socket is --- */

/* The default of data_dir. */
static const char *default_data_dir(void)
{
    const struct gr_opt *o = conf_sections[0].table; /* [server] */

    while (strcmp(o->name, "data_dir") != 0)
        o++;
    return o->text;
}

static const char *value_of(const struct ini *ini, const char *key)
{
    const struct table_node *n = table_find_str(&ini->sections, "server");
    const struct ini_entry *e =
        n != NULL ? ini_find(GR_CONTAINER_OF(n, struct ini_section, node), key) : NULL;

    return e != NULL && *e->value != '\0' ? e->value : NULL;
}

/* Two values are all we need, so whatever else is wrong with the configuration does not matter
 * here: the server will say. NULL: there is no such file; explained on stderr. */
static char *socket_of(const char *config)
{
    struct conf_errors *errs = gr_alloc(sizeof(*errs));
    struct ini *ini = gr_alloc(sizeof(*ini));
    char *path = NULL;

    ini_load(ini, config, errs);
    const char *socket = value_of(ini, "ctl_socket"), *dir = value_of(ini, "data_dir");
    if (ini->file_count == 0)
        conf_errors_print(errs, stderr);
    else if (socket != NULL)
        path = gr_strdup(socket);
    else
        path = gr_asprintf("%s/grapnel.sock", dir != NULL ? dir : default_data_dir());
    ini_fini(ini);
    conf_errors_fini(errs);
    gr_free(ini);
    gr_free(errs);
    return path;
}

int server_ask(struct server *s, struct buf *request, struct buf *answer)
{
    bool late;
    int fd;

    if (s->path == NULL && (s->path = socket_of(s->config)) == NULL)
        return 1;
    fd = connect_to(s->path, s->timeout);
    if (fd < 0 && errno == EAGAIN)
        return silent(s);
    if (fd < 0) {
        fprintf(stderr, "grapnelctl: no server answers at %s: %s\n", s->path, strerror(errno));
        return 1;
    }
    buf_append(request, "", 1);
    late = send_all(fd, request) ? !read_all(fd, answer) : errno == EAGAIN;
    close(fd);
    return late ? silent(s) : 0;
}

const char *answer_end(const struct buf *answer, const char **error)
{
    const char *p = buf_data(answer), *end = p + buf_len(answer), *last = NULL;

    *error = "the server gave no answer";
    for (const char *q = p; q < end && *q != '\0'; q += strnlen(q, (size_t)(end - q)) + 1)
        last = q;
    if (last != NULL && strcmp(last, "ok") == 0)
        return last;
    if (last != NULL && strncmp(last, "error:", 6) == 0)
        *error = last + 6;
    return NULL;
}
