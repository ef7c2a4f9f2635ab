/* control.c: serves commands over a Unix socket, mode 0600: whoever may open it may do everything.
 * A request is the words of a command line, each ended by NUL, closed by an empty word. The answer is
 * the encoded rows (command.h), closed by "ok" or "error:SENTENCE" and an empty string; then the
 * connection ends. One request per connection, bounded in size and time. */
#include "control.h"

#include "base/buf.h"
#include "command.h"
#include "loop/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX 65536
#define WORDS_MAX 64
#define CLIENTS_MAX 32
#define GONE_MAX 1024 /* commands whose client did not wait for the answer */
#define REQUEST_MS 10000
#define REST_MS 500 /* when there is no file descriptor left */

struct client {
    struct link link;
    struct watch watch;
    struct timer deadline;
    struct buf in, out;
    int fd;
    bool running, gone;
};

static struct {
    struct watch watch;
    struct timer rest;
    int fd, clients, gone;
    char *path;
    struct link all;
} control = { .fd = -1, .all = { &control.all, &control.all } };

static void client_leave(struct client *c)
{
    watch_set(&c->watch, 0);
    timer_stop(&c->deadline);
    close(c->fd);
    gr_wipe(c->in.mem, c->in.cap);
    buf_fini(&c->in);
    control.clients--;
}

static void client_free(struct client *c)
{
    if (c->gone)
        control.gone--;
    else
        client_leave(c);
    buf_fini(&c->out);
    list_remove(&c->link);
    gr_free(c);
}

static void on_deadline(struct timer *t)
{
    client_free(GR_CONTAINER_OF(t, struct client, deadline));
}

static void flush(struct client *c)
{
    ssize_t n = write(c->fd, buf_data(&c->out), buf_len(&c->out));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        n = 0;
    if (n < 0) {
        client_free(c);
        return;
    }
    buf_consume(&c->out, (size_t)n);
    if (buf_len(&c->out) == 0)
        client_free(c);
    else
        watch_set(&c->watch, EV_WRITE);
}

static void on_writable(struct watch *w, int events)
{
    (void)events;
    flush(GR_CONTAINER_OF(w, struct client, watch));
}

static void on_result(void *arg, const char *error, const struct buf *result)
{
    struct client *c = arg;

    c->running = false;
    if (c->gone) {
        client_free(c);
        return;
    }
    buf_append(&c->out, buf_data(result), buf_len(result));
    if (error != NULL)
        buf_printf(&c->out, "error:%s", error);
    else
        buf_puts(&c->out, "ok");
    buf_append(&c->out, "\0", 2);
    watch_set(&c->watch, 0);
    c->watch.ready = on_writable;
    timer_start(&c->deadline, REQUEST_MS, on_deadline);
    flush(c);
}

/* The words, when the closing empty one has arrived; -1: not yet, -2: too many. */
static int words_of(const struct client *c, const char **words)
{
    const char *p = buf_data(&c->in), *end = p + buf_len(&c->in);
    int n = 0;

    while (p < end) {
        const char *nul = memchr(p, 0, (size_t)(end - p));
        if (nul == NULL)
            return -1;
        if (nul == p)
            return n;
        if (n == WORDS_MAX)
            return -2;
        words[n++] = p;
        p = nul + 1;
    }
    return -1;
}

/* While its command runs: a client that has gone gives its place back. One that has only shut down its
 * side, or says more, is not listened to. */
static void on_early_end(struct watch *w, int events)
{
    struct client *c = GR_CONTAINER_OF(w, struct client, watch);
    struct pollfd p = { .fd = c->fd };

    (void)events;
    watch_set(w, 0);
    if (poll(&p, 1, 0) != 1 || (p.revents & (POLLHUP | POLLERR)) == 0 || control.gone == GONE_MAX)
        return;
    client_leave(c);
    c->gone = true; /* the command's answer finds nobody */
    control.gone++;
}

static void on_client(struct watch *w, int events)
{
    struct client *c = GR_CONTAINER_OF(w, struct client, watch);
    const char *words[WORDS_MAX];

    (void)events;
    char *to = buf_reserve(&c->in, 4096);
    ssize_t n = read(c->fd, to, 4096);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        buf_produced(&c->in, (size_t)n);
    int count = n > 0 ? words_of(c, words) : -2;
    if (count == -2 || buf_len(&c->in) > REQUEST_MAX) {
        client_free(c);
        return;
    }
    if (count == -1)
        return;
    c->watch.ready = on_early_end;
    timer_stop(&c->deadline);
    c->running = true;
    command_run(words, (size_t)count, on_result, c);
}

static void on_rested(struct timer *t)
{
    (void)t;
    watch_set(&control.watch, EV_READ);
}

static void on_accept(struct watch *w, int events)
{
    int fd = accept4(control.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0) { /* it stays readable: not looked at again at once */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            watch_set(w, 0);
            timer_start(&control.rest, REST_MS, on_rested);
        }
        return;
    }
    if (control.clients >= CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct client *c = gr_alloc(sizeof(*c));
    c->fd = fd;
    control.clients++;
    list_append(&control.all, &c->link);
    watch_init(&c->watch, fd, on_client);
    watch_set(&c->watch, EV_READ);
    timer_start(&c->deadline, REQUEST_MS, on_deadline);
}

static int bind_to(const char *path, char **why)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    mode_t before;
    int rc;

    if (strlen(path) >= sizeof(a.sun_path)) {
        *why = gr_asprintf("ctl_socket: %s is longer than %zu bytes: choose a shorter path", path,
                           sizeof(a.sun_path) - 1);
        return GR_EINVAL;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    unlink(path); /* the data folder is locked: whoever left it is gone */
    before = umask(0177);
    rc = bind(control.fd, (struct sockaddr *)&a, sizeof(a));
    umask(before);
    if (rc == 0 && listen(control.fd, 16) == 0)
        return 0;
    *why = gr_asprintf("ctl_socket: cannot listen at %s: %s", path, strerror(errno));
    return GR_EIO;
}

int control_open(const char *path, char **why)
{
    int rc;

    control.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (control.fd < 0) {
        *why = gr_asprintf("ctl_socket: %s", strerror(errno));
        return GR_EIO;
    }
    rc = bind_to(path, why);
    if (rc != 0) {
        close(control.fd);
        control.fd = -1;
        return rc;
    }
    control.path = gr_strdup(path);
    watch_init(&control.watch, control.fd, on_accept);
    watch_set(&control.watch, EV_READ);
    return 0;
}

size_t control_busy(void)
{
    size_t n = 0;

    list_each(c, &control.all, struct client, link)
        n += c->running && !c->gone;
    return n;
}

void control_close(void)
{
    list_each(c, &control.all, struct client, link)
        if (!c->running)
            client_free(c);
    if (control.fd < 0)
        return;
    watch_set(&control.watch, 0);
    timer_stop(&control.rest);
    close(control.fd);
    unlink(control.path);
    gr_free(control.path);
    control.path = NULL;
    control.fd = -1;
}
