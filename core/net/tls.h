/* net/tls.h: certificates and TLS policy (reliability 6.7). Contexts are counted and shared by all
 * loops; established connections keep the one they started with. */
#pragma once

#include <grapnel/base.h>

struct tls_ctx; /* all certificates of one configuration generation: SNI picks one */
enum tls_alpn { TLS_ALPN_CLIENT, TLS_ALPN_SERVER }; /* xmpp-client / xmpp-server */

struct tls_cert {
    const char *domain;               /* prepared host name */
    const char *cert_file, *key_file; /* PEM; key_file NULL: in cert_file */
};
struct tls_opts {
    const struct tls_cert *certs; /* the first is the default for unknown names */
    size_t count;
    bool modern;  /* TLS 1.3 only */
    bool tickets; /* sessions can be resumed, in TLS 1.3 */
    enum tls_alpn alpn;
};
/* Saves the malloc and free of a record buffer per read and write. Before OpenSSL is used for
 * anything, once; false: too late, works without. */
bool tls_keep_buffers(void);
/* The keys of session tickets, and their renewal. Main thread; after loops_init / loops_stop. */
void tls_tickets_start(void);
void tls_tickets_stop(void);
/* Loads everything; 0 or a gr_err with one sentence per problem in *why (caller frees): unreadable
 * file, key does not match, RSA < 2048 bits, world-readable key, expired (warning only: logged). */
int tls_ctx_new(const struct tls_opts *opts, struct tls_ctx **out, char **why);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *t);
void tls_ctx_unref(struct tls_ctx **take);
