/* net/bind.c: numeric addresses, listening sockets, and in words for an admin why one cannot be
 * had. */
#include "net/bind.h"

#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

int bind_explain(const char *name, const struct sockaddr_storage *a, uint16_t port, int err,
                 char **why)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t key[16];

    peers_key(a, key, text);
    if (err == EADDRINUSE)
        *why = gr_asprintf("%s: port %u on %s is in use by another program: stop it (ss -ltnp "
                           "tells which) or choose another port",
                           name, port, text);
    else if (err == EACCES || err == EPERM)
        *why = gr_asprintf("%s: no right to listen on port %u: ports below 1024 need "
                           "CAP_NET_BIND_SERVICE",
                           name, port);
    else if (err == EADDRNOTAVAIL)
        *why = gr_asprintf("%s: this machine has no address %s", name, text);
    else
        *why = gr_asprintf("%s: cannot listen on %s port %u: %s", name, text, port, strerror(err));
    return err == EADDRINUSE ? GR_EEXIST : GR_EIO;
}

uint16_t bind_port(const struct sockaddr_storage *a)
{
    return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                          : ((const struct sockaddr_in *)a)->sin_port);
}

int bind_parse(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)out)->sin_addr) == 1)
        out->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)out)->sin6_addr) == 1)
        out->ss_family = AF_INET6;
    else
        return GR_EINVAL;
    if (out->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)out)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)out)->sin_port = htons(port);
    return 0;
}

static socklen_t addr_len(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

int bind_socket(const struct sockaddr_storage *a, bool shared)
{
    const int on = 1;
    int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
        (a->ss_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
        bind(fd, (const struct sockaddr *)a, addr_len(a)) == 0)
        return fd;
    err = errno;
    close(fd);
    return -err;
}

int bind_probe(const struct sockaddr_storage *a)
{
    int fd;

    if (bind_port(a) == 0)
        return 0;
    fd = bind_socket(a, false);
    if (fd < 0)
        return fd;
    if (listen(fd, 1) != 0) {
        int err = errno;

        close(fd);
        return -err;
    }
    close(fd);
    return 0;
}
