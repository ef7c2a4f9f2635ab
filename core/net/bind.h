/* net/bind.h: one listening socket at a time, for net/listen.c. */
#pragma once

#include <grapnel/base.h>

#include <sys/socket.h>

/* A numeric IPv4 or IPv6 address; 0 or GR_EINVAL. */
int bind_parse(const char *text, uint16_t port, struct sockaddr_storage *out);
uint16_t bind_port(const struct sockaddr_storage *a);
/* A bound socket or a negative errno; shared: with SO_REUSEPORT. IPv6 means IPv6 only. The sockets
 * it will accept inherit keepalive and nodelay. */
int bind_socket(const struct sockaddr_storage *a, bool shared);
/* Whether another program listens there: 0 or a negative errno. SO_REUSEPORT would let a second
 * server of the same user share the port in silence; one bind without it tells. */
int bind_probe(const struct sockaddr_storage *a);
/* The sentence for an errno; returns the gr_err. */
int bind_explain(const char *name, const struct sockaddr_storage *a, uint16_t port, int err,
                 char **why);
