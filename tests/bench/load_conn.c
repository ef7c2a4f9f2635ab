/* tests/bench/load_conn.c: sockets and TLS of the load engine. Reads go through one shared buffer;
 * a connection keeps bytes only when a stanza is incomplete, and writes what gathered during a
 * wake-up in one call, so the server sees a client that behaves like a good one. */
#include "load.h"
#include "load_epoll.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

struct conn *conns;
int conns_ready, conns_pending, conns_failed, epoll_fd;
SSL_CTX *tls_ctx;

static struct conn *dirty;
static char shared[READ_SIZE + IN_MAX];

/* --- life --- */

static void watch(struct conn *c, int op, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = c };

    epoll_ctl(epoll_fd, op, c->fd, &e);
}

void conn_start(struct conn *c, int index)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opts.port) };
    struct sockaddr_in from = { .sin_family = AF_INET };
    int on = 1;

    memset(c, 0, sizeof(*c));
    c->index = index;
    c->started_ns = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, opts.host, &to.sin_addr);
    if (strncmp(opts.host, "127.", 4) == 0) { /* many clients, not one that is limited */
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        from.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(index % 200) * 256u);
        bind(c->fd, (struct sockaddr *)&from, sizeof(from));
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->state = C_CONNECTING;
    conns_pending++;
    if (c->fd < 0 ||
        (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)) {
        login_failed(c, strerror(errno), "", 0);
        return;
    }
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

void conn_close(struct conn *c, bool clean)
{
    if (c->state == C_DEAD || c->state == C_IDLE)
        return;
    if (c->state == C_READY)
        conns_ready--;
    else if (c->state != C_CLOSING)
        conns_pending--;
    if (clean && c->state == C_READY) {
        conn_puts(c, opts.raw ? "" : "</stream:stream>");
        c->state = C_CLOSING;
        if (!opts.raw)
            return;
    }
    c->state = C_DEAD;
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
    c->in_len = c->out_len = c->out_cap = 0;
    scram_free(c);
}

/* --- out --- */

bool conn_blocked(const struct conn *c)
{
    return c->want_write;
}

void conn_put(struct conn *c, const char *data, size_t len)
{
    if (c->out_len + len > c->out_cap) {
        c->out_cap = 2 * (c->out_len + len);
        c->out = realloc(c->out, c->out_cap);
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
    if (!c->dirty) {
        c->dirty = true;
        c->next_dirty = dirty;
        dirty = c;
    }
}

void conn_puts(struct conn *c, const char *text)
{
    conn_put(c, text, strlen(text));
}

static void write_out(struct conn *c)
{
    size_t done = 0;
    bool had = c->want_write;

    while (done < c->out_len) {
        ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, c->out + done, (int)(c->out_len - done))
                                   : write(c->fd, c->out + done, c->out_len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    ERR_clear_error();
    memmove(c->out, c->out + done, c->out_len - done);
    c->out_len -= done;
    c->want_write = c->out_len > 0;
    if (had != c->want_write)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | (c->want_write ? EPOLLOUT : 0));
}

void conns_flush(void)
{
    while (dirty != NULL) {
        struct conn *c = dirty;
        dirty = c->next_dirty;
        c->dirty = false;
        if (c->state != C_DEAD && c->state != C_CONNECTING && c->state != C_HANDSHAKE &&
            c->out_len > 0)
            write_out(c);
    }
}

/* --- in --- */

/* XEP-0198: all that came so far. */
static void acknowledge(struct conn *c)
{
    char text[64];

    snprintf(text, sizeof(text), "<a xmlns='urn:xmpp:sm:3' h='%llu'/>", (unsigned long long)c->got);
    conn_puts(c, text);
}

static void handle(struct conn *c, const char *p, size_t len)
{
    if (c->state == C_CLOSING)
        return;
    if (c->state > C_SM && len > 3 && strchr("mip", p[1]) != NULL)
        c->got++;
    if (c->state > C_SM && len > 3 && memcmp(p, "<r ", 3) == 0) {
        acknowledge(c);
        return;
    }
    /* What was kept may come before the presence does. */
    if (c->state == C_READY || (c->state == C_PRESENCE && len > 3 && memcmp(p, "<me", 3) == 0))
        run_stanza(c, p, len);
    else
        login_stanza(c, p, len);
}

/* The stream header of the answer, once per stream: everything up to its '>'. */
static size_t skip_header(struct conn *c, const char *p, size_t len)
{
    const char *at = find(p, len, "<stream:stream"), *end;

    if (at == NULL || (end = memchr(at, '>', len - (size_t)(at - p))) == NULL)
        return 0;
    c->header_seen = true;
    return (size_t)(end + 1 - p);
}

static void consume(struct conn *c, char *p, size_t len)
{
    while (len > 0 && c->state != C_DEAD) {
        size_t n;
        if (!c->header_seen && !opts.raw) {
            n = skip_header(c, p, len);
        } else if (opts.raw && c->state == C_HELLO) {
            const char *line = memchr(p, '\n', len);
            n = line != NULL ? (size_t)(line + 1 - p) : 0;
            if (n > 0)
                handle(c, p, n);
        } else {
            n = scan_stanza(p, len);
            if (n == SCAN_CLOSED) {
                if (c->state != C_CLOSING)
                    login_failed(c, "the server closed the stream", p, len);
                else
                    conn_close(c, false);
                return;
            }
            if (n > 0)
                handle(c, p, n);
        }
        if (n == 0)
            break;
        p += n;
        len -= n;
    }
    if (c->state == C_DEAD)
        return;
    free(c->in);
    c->in = NULL;
    c->in_len = len;
    if (len > 0)
        c->in = memcpy(malloc(len), p, len);
}

static void read_in(struct conn *c)
{
    bool more = true;

    while (more && c->state != C_DEAD) {
        size_t have = c->in_len;
        if (have > IN_MAX) {
            login_failed(c, "a stanza without end", c->in, 100);
            return;
        }
        if (have > 0)
            memcpy(shared, c->in, have);
        ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, shared + have, READ_SIZE)
                                   : read(c->fd, shared + have, READ_SIZE);
        if (n <= 0) {
            bool again = c->ssl != NULL ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ
                                        : n < 0 && errno == EAGAIN;
            ERR_clear_error();
            if (!again && c->state == C_CLOSING)
                conn_close(c, false);
            else if (!again)
                login_failed(c, "the connection broke", "", 0);
            return;
        }
        consume(c, shared, have + (size_t)n);
        more = c->state != C_DEAD && c->ssl != NULL && SSL_has_pending(c->ssl);
    }
}

static void handshake(struct conn *c)
{
    if (c->ssl == NULL) {
        c->ssl = SSL_new(tls_ctx);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_connect_state(c->ssl);
        SSL_set_tlsext_host_name(c->ssl, opts.domain);
        fast_tls_offer(c);
    }
    int rc = SSL_do_handshake(c->ssl);
    if (rc == 1) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        fast_tls_stands(c);
        login_opened(c);
        return;
    }
    int err = SSL_get_error(c->ssl, rc);
    ERR_clear_error();
    if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
        login_failed(c, "TLS handshake", "", 0);
    else
        watch(c, EPOLL_CTL_MOD, err == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
}

void conn_handshake(struct conn *c)
{
    c->state = C_HANDSHAKE;
    handshake(c);
}

void conn_event(struct conn *c, uint32_t events)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (c->state == C_DEAD)
        return;
    if (c->state == C_CONNECTING) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err != 0) {
            login_failed(c, strerror(err), "", 0);
            return;
        }
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        if (opts.tls == TLS_DIRECT)
            conn_handshake(c);
        else
            login_opened(c);
        return;
    }
    if (c->state == C_HANDSHAKE) {
        handshake(c);
        return;
    }
    if ((events & EPOLLOUT) != 0) {
        write_out(c);
        if (!c->want_write && c->state == C_READY)
            run_writable(c);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        read_in(c);
}
