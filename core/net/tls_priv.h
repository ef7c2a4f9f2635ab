/* net/tls_priv.h: the OpenSSL side of net/tls.h, for the files of net/ only. */
#pragma once

#include "net/tls.h"

#include <openssl/ssl.h>

/* A server session of the default certificate; the caller sets the BIOs. NULL: no memory. */
SSL *tls_session(struct tls_ctx *t);
/* The client is sent a ticket with the next output; nothing happens where that cannot be. */
void tls_offer_ticket(const struct tls_ctx *t, SSL *ssl);
/* RFC 5929, 4.1: hash of the certificate this session presented. Length or GR_E. */
int tls_endpoint(SSL *ssl, uint8_t out[64]);
/* RFC 9266, 2. 32 or GR_E. */
int tls_exporter(SSL *ssl, uint8_t out[32]);
/* What the oldest error in this thread's queue says, in English; empties the queue. */
const char *tls_error(void);

/* net/tls_ticket.c: finds the key that opens a ticket, or gives the one that seals it. */
#define TLS_TICKET_S (12 * 3600)
int tls_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seal);

/* net/cert.c: says so when a certificate does not name the domain. */
void cert_warn_name(X509 *x, const struct tls_cert *cert);
/* net/cert.c: puts one certificate with its key into `into` and judges both. Problems that must
 * stop us are appended to *why, one sentence each; 0 when there was none. */
int cert_load(SSL_CTX *into, const struct tls_cert *cert, char **why);
/* The name as it appears in SNI and certificates: A-labels, lower case (caller frees); NULL: not
 * a host name. */
char *cert_host(const char *domain);
/* Appends a line to *why. */
void cert_problem(char **why, const char *fmt, ...) GR_PRINTF(2, 3);
