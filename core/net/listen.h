/* net/listen.h: listening sockets, one per loop and address (SO_REUSEPORT), and what is refused
 * before a stream exists: connections per IP, unauthenticated connections in all. */
#pragma once

#include "net/conn.h"

struct listener; /* one configured listener: its sockets on every loop */

struct listen_opts {
    const char *name;
    const char *const *addresses; /* NULL-terminated numeric addresses, IPv4 or IPv6 (v6only) */
    uint16_t port;                /* 0: any (tests); listener_port() tells */
    bool direct_tls; /* only TLS; otherwise a first byte of 0x16 selects it (tls_sniff) */
    bool sniff_tls;
    /* 0: no limit. The rate allows a burst of three seconds. */
    int max_per_ip, max_unauthenticated_per_ip, max_unauthenticated, new_per_ip_per_s;
    /* Called on the accepting loop for each accepted connection; takes fd. first_is_tls tells what
     * the first byte was (sniff_tls) or must be (direct_tls): the acceptor calls conn_start_tls.
     * The connection is counted: the acceptor owes peers_gone for its conn_peer_key. */
    void (*accepted)(void *ctx, int fd, const struct sockaddr_storage *peer, bool first_is_tls);
    void *ctx;
};
/* Binds all addresses on all loops. 0, or a gr_err and one sentence (port in use by..., no right)
 * in *why (caller frees). An address that another listener of ours still holds may be opened again:
 * reload opens the new one first. The options are copied. Main thread. */
int listener_open(const struct listen_opts *opts, struct listener **out, char **why);
void listener_start(struct listener *l); /* begin accepting (posts to the loops) */
uint16_t listener_port(const struct listener *l);
/* Stops accepting on all loops, closes; accepted() is not called afterwards. What the kernel had
 * queued is accepted first. Main thread, before loops_stop. */
void listener_close(struct listener **take);

/* Per-IP accounting, shared by all loops: a locked table of bounded size in net/. Any thread. */
/* The /32 or /64 an address is accounted under, and its text without port (may be NULL). peer NULL
 * or not IP: the zero key. IPv4 mapped into IPv6 is IPv4. */
void peers_key(const struct sockaddr_storage *peer, uint8_t key[16], char text[INET6_ADDRSTRLEN]);
bool peers_admit(const uint8_t key[16], const struct listen_opts *o); /* counts a connection     */
void peers_authenticated(const uint8_t key[16]);
void peers_gone(const uint8_t key[16], bool was_authenticated);
/* Connections counted now: in all, and not yet authenticated; addresses remembered. */
void peers_totals(size_t *connections, size_t *unauthenticated, size_t *addresses);
