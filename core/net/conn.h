/* net/conn.h: one TCP connection: bytes in, bytes out, TLS in between, bounds on both.
 *
 * A conn belongs to one loop at a time; conn_detach/conn_attach move it, TLS session and buffers
 * included, between two events. While idle it holds no buffers. The upper layer owns the conn and
 * frees it. */
#pragma once

#include "base/buf.h"
#include "loop/loop.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct conn;
struct tls_ctx; /* net/tls.h */

enum conn_end {
    CONN_CLOSED, /* the peer closed, in order (FIN; under TLS: close_notify). Output queued may
                        still reach it: conn_finish */
    CONN_ERROR,  /* reset, broken pipe, TLS failure, a TLS connection cut without close_notify */
    CONN_STALLED /* no output progress for too long, or over the hard output bound */
};

/* Called on the conn's loop, from events of the loop only, never from inside a conn_ function.
 * Every conn_ function but conn_detach may be called inside; conn_free and conn_finish take effect
 * when the callback has returned. secured and drained may be NULL. */
struct conn_events {
    /* Plaintext arrived (at most 64 KB per wake-up, then others get their turn). Returns how many
     * bytes were taken: fewer than len means "hold": the rest is kept and nothing is read until
     * conn_resume, which may have been called inside already. */
    size_t (*data)(void *ctx, const char *data, size_t len);
    /* Handshake finished (STARTTLS or direct); the first data follows. */
    void (*secured)(void *ctx);
    /* The connection is over; no event follows. Called once; not after conn_free, conn_finish. What
     * the peer sent before has been given to data(). The owner frees the conn, now or later. */
    void (*ended)(void *ctx, enum conn_end why);
    /* Output fell to half of the high-water mark after it had been above it. */
    void (*drained)(void *ctx);
};

struct conn_limits {
    size_t out_high;      /* bytes of queued output at which conn_is_full() turns true */
    size_t out_hard;      /* bytes at which the connection ends with CONN_STALLED      */
    int64_t out_stall_ms; /* same when nothing could be written for so long; 0: never  */
};

/* Takes fd (connected, non-blocking), on the calling loop. peer NULL: not an IP address (tests).
 * Sniffing of the first byte (0x16: TLS ClientHello) is the listener's: who accepts calls
 * conn_start_tls at once when it saw one. */
struct conn *conn_new(int take_fd, const struct sockaddr_storage *peer,
                      const struct conn_limits *limits, const struct conn_events *ev, void *ctx);
void conn_set_events(struct conn *c, const struct conn_events *ev, void *ctx);
/* Server-side handshake from the next byte on; what was written before leaves in the clear first,
 * what is written after waits for the handshake. 0, GR_ENOMEM, or GR_EINVAL when bytes are held.
 * Inside data() the whole input must be taken; bytes left over are an injection (reliability 6.7)
 * and end the conn with CONN_ERROR: the caller that wants to say why looks before. */
int conn_start_tls(struct conn *c, struct tls_ctx *ctx);
/* The next handshake of this client may go on from this one: a ticket leaves with the next output, once,
 * where there is TLS 1.3 and the configuration has tickets on. */
void conn_offer_ticket(struct conn *c);
void conn_resume(struct conn *c); /* after a hold; safe at any time, never calls back */
/* Appends to the output; written once per wake-up, before the loop sleeps. Quietly nothing once the
 * connection is broken: ended() says so. */
void conn_write(struct conn *c, const void *data, size_t len);
/* The buffer itself, for writers that serialise in place; follow with conn_wrote(). */
struct buf *conn_out(struct conn *c);
void conn_wrote(struct conn *c);
/* `len` bytes behind what waits now may wait beyond out_hard: what has a bound of its own. Before they
 * are written. */
void conn_allow(struct conn *c, size_t len);
/* More follows soon: what there is leaves with it. Until then nothing does, so it has to be sure. */
void conn_output_waits(struct conn *c);
bool conn_is_full(const struct conn *c);
/* Calls mark->reached once everything queued so far is in the kernel (ok) or never will be. Always
 * exactly once: from an event (also after conn_finish, while it flushes) or, with what did not
 * leave, inside conn_free or before ended(). list_remove(&m->link) withdraws a mark. */
struct conn_mark {
    struct link link;
    uint64_t offset;
    void (*reached)(struct conn_mark *m, bool ok);
};
void conn_mark(struct conn *c, struct conn_mark *m);
/* Takes back what the kernel has not taken, up to the next mark: the marks behind it are reached with
 * ok = false before this returns. For an end that must not leave things lingering in a buffer. */
void conn_cut(struct conn *c);
/* Flush, then close in order (TLS close_notify, FIN), waiting at most `linger_ms` for the peer in
 * all; 0: what the kernel takes now. The conn frees itself; no event but marks follows. */
void conn_finish(struct conn **take, int64_t linger_ms);
void conn_free(struct conn **take); /* at once */

/* Moving home: nothing is watched between the two. detach on the old loop, attach on the new, with
 * a loop_post in between; not inside one of the conn's own callbacks (asserted), whose frame still
 * needs it. Attaching resumes a held conn; what waits in it or in OpenSSL is given up there. */
void conn_detach(struct conn *c);
void conn_attach(struct conn *c);
/* The same in one, also inside a callback: when it has returned, the conn goes to `to`, is attached
 * there and calls arrived(ctx) before any data. Until then nobody may touch it, with one exception:
 * it may still end in the same callback, then ended() is called here and arrived() is not. */
void conn_move(struct conn *c, struct loop *to, void (*arrived)(void *ctx));

bool conn_is_tls(const struct conn *c);                    /* after the handshake */
const char *conn_peer(const struct conn *c);               /* "203.0.113.5" or IPv6, no port */
void conn_peer_key(const struct conn *c, uint8_t key[16]); /* /32 or /64 prefix for limits */
/* Channel-binding data (RFC 9266 tls-exporter, RFC 5929 tls-server-end-point): length, or
 * GR_ENOTSUP where the RFCs do not define it (TLS 1.2 without EMS; Ed25519 certificates). */
int conn_cb_exporter(struct conn *c, uint8_t out[32]);
int conn_cb_endpoint(struct conn *c, uint8_t out[64]);
int conn_cb_unique(struct conn *c, uint8_t out[64]); /* the client's Finished message */
const char *conn_sni(const struct conn *c);         /* as sent; NULL when none */
const char *conn_tls_version(const struct conn *c); /* "TLSv1.3", NULL without TLS */
const char *conn_tls_cipher(const struct conn *c);
size_t conn_memory(const struct conn *c); /* buffers held now, for tests and metrics */
size_t conn_count(void); /* conns of the process, lingering ones included; any thread */
