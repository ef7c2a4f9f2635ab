/* tests/bench/relay.c: the floor: a server that does nothing but move bytes. One thread, epoll,
 * OpenSSL and its memory (net/tls_mem.c) as the server uses them, one read per wake-up and
 * connection, output gathered and written once per turn. A client says HELLO index group; bytes of an index go to all others of its group.
 * A group of 2 is a chat, a larger one a presence broadcast, which its sender gets as well (RFC 6121,
 * 4.4.2), and a client that leaves at once a bare handshake.
 *
 *     relay PORT [CERTIFICATE.pem] */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { READ_SIZE = 16384, INDEX_MAX = 1 << 20 };

struct peer {
    int fd, index, group;
    SSL *ssl;
    bool handshaken, greeted, dirty, blocked, dead;
    char *out;
    size_t len, cap;
    struct peer *next;
};

static struct peer *by_index[INDEX_MAX], *dirty, *dead;
static int epoll_fd;
static SSL_CTX *ctx;

static void watch(struct peer *p, int op, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = p };

    epoll_ctl(epoll_fd, op, p->fd, &e);
}

static void drop(struct peer *p)
{
    if (p->dead)
        return;
    p->dead = true;
    if (p->greeted && by_index[p->index] == p)
        by_index[p->index] = NULL;
    if (!p->dirty) { /* else conns are freed once they were flushed */
        p->next = dead;
        dead = p;
    }
}

static void put(struct peer *p, const char *data, size_t len)
{
    if (p->len + len > p->cap) {
        p->cap = 2 * (p->len + len);
        p->out = realloc(p->out, p->cap);
    }
    memcpy(p->out + p->len, data, len);
    p->len += len;
    if (!p->dirty) {
        p->dirty = true;
        p->next = dirty;
        dirty = p;
    }
}

static void write_out(struct peer *p)
{
    size_t done = 0;
    bool was = p->blocked;

    while (done < p->len) {
        ssize_t n = p->ssl != NULL ? SSL_write(p->ssl, p->out + done, (int)(p->len - done))
                                   : write(p->fd, p->out + done, p->len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    ERR_clear_error();
    memmove(p->out, p->out + done, p->len - done);
    p->len -= done;
    p->blocked = p->len > 0;
    if (was != p->blocked)
        watch(p, EPOLL_CTL_MOD, EPOLLIN | (p->blocked ? EPOLLOUT : 0));
    if (p->len == 0) { /* an idle connection holds no buffer */
        free(p->out);
        p->out = NULL;
        p->cap = 0;
    }
}

static void flush(void)
{
    while (dirty != NULL) {
        struct peer *p = dirty;
        dirty = p->next;
        p->dirty = false;
        if (!p->dead) {
            write_out(p);
        } else {
            p->next = dead;
            dead = p;
        }
    }
    while (dead != NULL) {
        struct peer *p = dead;
        dead = p->next;
        SSL_free(p->ssl);
        close(p->fd);
        free(p->out);
        free(p);
    }
}

static void greet(struct peer *p, const char *data)
{
    if (sscanf(data, "HELLO %d %d", &p->index, &p->group) != 2 || p->index < 0 ||
        p->index >= INDEX_MAX || p->group < 2) {
        drop(p);
        return;
    }
    p->greeted = true;
    by_index[p->index] = p;
    put(p, "OK\n", 3);
}

static void relay(struct peer *p, const char *data, size_t len)
{
    int base = p->index - p->index % p->group;

    for (int i = base; i < base + p->group && i < INDEX_MAX; i++)
        if ((i != p->index || p->group > 2) && by_index[i] != NULL)
            put(by_index[i], data, len);
}

static void read_in(struct peer *p)
{
    static char buf[READ_SIZE + 1];
    bool more = true;

    while (more && !p->dead) {
        ssize_t n = p->ssl != NULL ? SSL_read(p->ssl, buf, READ_SIZE) : read(p->fd, buf, READ_SIZE);
        if (n <= 0) {
            bool again = p->ssl != NULL ? SSL_get_error(p->ssl, (int)n) == SSL_ERROR_WANT_READ
                                        : n < 0 && errno == EAGAIN;
            ERR_clear_error();
            if (!again)
                drop(p);
            return;
        }
        buf[n] = '\0';
        if (p->greeted)
            relay(p, buf, (size_t)n);
        else
            greet(p, buf);
        more = p->ssl != NULL && SSL_has_pending(p->ssl);
    }
}

static void on_ready(struct peer *p, uint32_t events)
{
    if (p->dead)
        return;
    if (p->ssl != NULL && !p->handshaken) {
        int rc = SSL_do_handshake(p->ssl), err = SSL_get_error(p->ssl, rc);
        ERR_clear_error();
        p->handshaken = rc == 1;
        if (rc != 1 && err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
            drop(p);
        if (rc != 1)
            return;
        events |= EPOLLIN;
    }
    if ((events & EPOLLOUT) != 0)
        write_out(p);
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        read_in(p);
}

static void accept_all(int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *p = calloc(1, sizeof(*p));
        p->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (ctx != NULL) {
            p->ssl = SSL_new(ctx);
            SSL_set_fd(p->ssl, fd);
            SSL_set_accept_state(p->ssl);
        }
        watch(p, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void tls_init(const char *pem)
{
    ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                  "TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
    if (SSL_CTX_use_certificate_chain_file(ctx, pem) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, pem, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event events[512];
    struct rlimit files;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (argc < 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    tls_keep_buffers();
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (argc > 2)
        tls_init(argv[2]);
    at.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 4096) != 0) {
        perror("relay");
        return 1;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(listener);
            else
                on_ready(events[i].data.ptr, events[i].events);
        }
        flush();
    }
}
