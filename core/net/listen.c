/* net/listen.c: accepting connections: a socket per loop and address, the kernel spreads them.
 *
 * Out of file descriptors is an ordinary state: a spare one is given up to accept and close what
 * waits, then the socket rests for a while, longer each time (reliability 3.2). The first byte is
 * looked at, not read, to tell TLS from a stream header (XEP-0368 and STARTTLS clients on one
 * port); who says nothing meanwhile is closed after SNIFF_MS. */
#include "net/listen.h"

#include "net/bind.h"

#include <grapnel/log.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG     1024
#define BATCH       16 /* accepts per socket and wake-up */
#define REST_MIN_MS 50
#define REST_MAX_MS 2000
#define SNIFF_MS    10000
#define TLS_RECORD  0x16 /* RFC 8446, 5.1: handshake */

struct lsock { /* one socket; belongs to its loop */
    struct post start;
    struct watch watch;
    struct timer rest;
    struct listener *l;
    struct loop *loop;
    struct link sniffs; /* struct sniff */
    int64_t rest_ms;
    int fd, spare;
};

struct sniff { /* accepted, has not said anything yet */
    struct link link;
    struct watch watch;
    struct timer timer;
    struct lsock *s;
    struct sockaddr_storage peer;
    int fd;
};

struct listener {
    struct link link;        /* in `open` */
    struct listen_opts opts; /* name is ours, addresses is not kept */
    struct sockaddr_storage *addr;
    size_t addr_count;
    struct lsock *sock;
    size_t count;
    uint16_t port;
    bool started;
    atomic_int refs; /* the owner's and each start message under way */
};

/* Ours, so that a reload may bind again what nobody else may hold. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct link open_list = { &open_list, &open_list };

/* --- telling TLS --- */

static void refuse(int fd, const struct sockaddr_storage *peer)
{
    uint8_t key[16];

    close(fd);
    peers_key(peer, key, NULL);
    peers_gone(key, false);
}

static int sniff_end(struct sniff *n)
{
    int fd = n->fd;

    watch_set(&n->watch, 0);
    timer_stop(&n->timer);
    list_remove(&n->link);
    gr_free(n);
    return fd;
}

static void sniff_refuse(struct sniff *n)
{
    struct sockaddr_storage peer = n->peer;

    refuse(sniff_end(n), &peer);
}

static void on_silence(struct timer *t)
{
    sniff_refuse(GR_CONTAINER_OF(t, struct sniff, timer));
}

static void on_first_byte(struct watch *w, int events)
{
    struct sniff *n = GR_CONTAINER_OF(w, struct sniff, watch);
    struct sockaddr_storage peer = n->peer;
    const struct listen_opts *o = &n->s->l->opts;
    unsigned char first;
    ssize_t got = recv(n->fd, &first, 1, MSG_PEEK);

    (void)events;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0)
        sniff_refuse(n);
    else
        o->accepted(o->ctx, sniff_end(n), &peer, first == TLS_RECORD);
}

static void sniff_begin(struct lsock *s, int fd, const struct sockaddr_storage *peer)
{
    struct sniff *n = gr_alloc(sizeof(*n));

    n->s = s;
    n->fd = fd;
    n->peer = *peer;
    list_append(&s->sniffs, &n->link);
    watch_init(&n->watch, fd, on_first_byte);
    watch_set(&n->watch, EV_READ);
    timer_start(&n->timer, SNIFF_MS, on_silence);
}

/* --- accepting --- */

static void admit(struct lsock *s, int fd, const struct sockaddr_storage *peer)
{
    const struct listen_opts *o = &s->l->opts;
    char text[INET6_ADDRSTRLEN];
    uint8_t key[16];

    peers_key(peer, key, text);
    if (!peers_admit(key, o)) {
        gr_info("listen.refused", "%s: connection from %s refused: too many, or too fast", o->name,
                text);
        close(fd);
    } else if (o->sniff_tls && !o->direct_tls) {
        sniff_begin(s, fd, peer);
    } else {
        o->accepted(o->ctx, fd, peer, o->direct_tls);
    }
}

/* The fd, or a negative errno. */
static int accept_one(struct lsock *s, struct sockaddr_storage *peer)
{
    socklen_t len = sizeof(*peer);
    int fd;

    memset(peer, 0, sizeof(*peer));
    fd = accept4(s->fd, (struct sockaddr *)peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

static void open_spare(struct lsock *s)
{
    if (s->spare < 0)
        s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_readable(struct watch *w, int events);

static void on_rested(struct timer *t)
{
    struct lsock *s = GR_CONTAINER_OF(t, struct lsock, rest);

    open_spare(s);
    watch_set(&s->watch, EV_READ);
}

/* The waiting are sent away with the spare descriptor rather than left to their timeouts; then the
 * socket, which stays readable, is not looked at for a while. */
static void out_of_descriptors(struct lsock *s, int err)
{
    gr_warn("listen.no_descriptors", "%s: cannot accept: %s; raise LimitNOFILE", s->l->opts.name,
            strerror(err));
    for (int i = 0; i < BATCH && s->spare >= 0; i++) {
        struct sockaddr_storage peer;
        int fd;

        close(s->spare);
        s->spare = -1;
        fd = accept_one(s, &peer);
        if (fd >= 0)
            close(fd);
        open_spare(s);
        if (fd < 0)
            break;
    }
    watch_set(&s->watch, 0);
    timer_start(&s->rest, s->rest_ms, on_rested);
    s->rest_ms = s->rest_ms * 2 < REST_MAX_MS ? s->rest_ms * 2 : REST_MAX_MS;
}

/* Whether more may wait. */
static bool accept_batch(struct lsock *s)
{
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage peer;
        int fd = accept_one(s, &peer);

        if (fd == -EAGAIN || fd == -EWOULDBLOCK)
            return false;
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            out_of_descriptors(s, -fd);
            return false;
        }
        if (fd < 0)
            continue; /* accept(2): errors of the connection, treat like EAGAIN and retry */
        s->rest_ms = REST_MIN_MS;
        admit(s, fd, &peer);
    }
    return true;
}

static void on_readable(struct watch *w, int events)
{
    (void)events;
    accept_batch(GR_CONTAINER_OF(w, struct lsock, watch));
}

static void unref(struct listener *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    gr_free(l->sock);
    gr_free(l->addr);
    gr_free((char *)(uintptr_t)l->opts.name);
    gr_free(l);
}

static void on_start(struct post *p)
{
    struct lsock *s = GR_CONTAINER_OF(p, struct lsock, start);

    if (s->fd >= 0) { /* else closed before it began */
        watch_init(&s->watch, s->fd, on_readable);
        watch_set(&s->watch, EV_READ);
    }
    unref(s->l);
}

void listener_start(struct listener *l)
{
    gr_assert(!l->started);
    l->started = true;
    for (size_t i = 0; i < l->count; i++) {
        l->sock[i].start.run = on_start;
        atomic_fetch_add(&l->refs, 1);
        loop_post(l->sock[i].loop, &l->sock[i].start);
    }
}

/* --- binding --- */

static bool ours_already(const struct sockaddr_storage *a)
{
    bool found = false;

    pthread_mutex_lock(&open_lock);
    list_each(l, &open_list, struct listener, link) for (size_t i = 0; i < l->addr_count; i++)
        found = found || memcmp(&l->addr[i], a, sizeof(*a)) == 0;
    pthread_mutex_unlock(&open_lock);
    return found;
}

static int listen_on(struct listener *l, struct lsock *s, struct sockaddr_storage *a)
{
    socklen_t len = sizeof(*a);

    s->fd = bind_socket(a, true);
    if (s->fd < 0)
        return s->fd;
    if (listen(s->fd, BACKLOG) != 0)
        return -errno;
    if (l->port == 0) { /* any: the first socket's, for all */
        if (getsockname(s->fd, (struct sockaddr *)a, &len) != 0)
            return -errno;
        l->port = bind_port(a);
    }
    open_spare(s);
    return 0;
}

static void close_all(struct listener *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->sock[i].fd >= 0)
            close(l->sock[i].fd);
        if (l->sock[i].spare >= 0)
            close(l->sock[i].spare);
        l->sock[i].fd = l->sock[i].spare = -1;
    }
    pthread_mutex_lock(&open_lock);
    list_remove(&l->link);
    pthread_mutex_unlock(&open_lock);
    unref(l);
}

static int bind_all(struct listener *l, const struct listen_opts *o, char **why)
{
    int loops = loop_count();

    for (size_t i = 0; i < l->addr_count; i++) {
        struct sockaddr_storage *a = &l->addr[i];
        int err;

        if (bind_parse(o->addresses[i], l->port, a) != 0) {
            *why = gr_asprintf("%s: \"%s\" is not a numeric IPv4 or IPv6 address", o->name,
                               o->addresses[i]);
            return GR_EINVAL;
        }
        err = ours_already(a) ? 0 : bind_probe(a);
        for (int k = 0; k < loops && err == 0; k++) {
            struct lsock *s = &l->sock[i * (size_t)loops + (size_t)k];

            err = listen_on(l, s, a);
            s->loop = loop_at(k);
        }
        if (err != 0)
            return bind_explain(o->name, a, l->port, -err, why);
    }
    return 0;
}

int listener_open(const struct listen_opts *opts, struct listener **out, char **why)
{
    struct listener *l = gr_alloc(sizeof(*l));
    int rc;

    *out = NULL;
    *why = NULL;
    l->opts = *opts;
    l->opts.name = gr_strdup(opts->name);
    l->opts.addresses = NULL;
    l->port = opts->port;
    atomic_init(&l->refs, 1);
    while (opts->addresses[l->addr_count] != NULL)
        l->addr_count++;
    l->count = l->addr_count * (size_t)loop_count();
    l->addr = gr_alloc((l->addr_count + 1) * sizeof(*l->addr));
    l->sock = gr_alloc((l->count + 1) * sizeof(*l->sock));
    for (size_t i = 0; i < l->count; i++) {
        l->sock[i].l = l;
        l->sock[i].fd = l->sock[i].spare = -1;
        l->sock[i].rest_ms = REST_MIN_MS;
        list_init(&l->sock[i].sniffs);
    }
    rc = bind_all(l, opts, why);
    if (rc != 0) {
        close_all(l);
        return rc;
    }
    pthread_mutex_lock(&open_lock);
    list_append(&open_list, &l->link);
    pthread_mutex_unlock(&open_lock);
    *out = l;
    return 0;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

/* On each loop in turn. Connections that completed in the kernel are not reset with the socket. */
static void stop_here(void *arg)
{
    struct listener *l = arg;

    for (size_t i = 0; i < l->count; i++) {
        struct lsock *s = &l->sock[i];

        if (s->loop != loop_self())
            continue;
        while (!timer_running(&s->rest) && accept_batch(s))
            ;
        timer_stop(&s->rest);
        watch_set(&s->watch, 0);
        list_each(n, &s->sniffs, struct sniff, link) sniff_refuse(n);
        close(s->fd);
        s->fd = -1;
    }
}

void listener_close(struct listener **take)
{
    struct listener *l = *take;

    *take = NULL;
    if (l == NULL)
        return;
    if (l->started)
        loops_call(stop_here, l);
    close_all(l);
}
