/* stream/scram_client.h: the client's side of a SCRAM exchange (RFC 5802), no I/O, any thread.
 *
 * For streams that we open, the client library, the load generator and tests. Order of calls:
 * scram_client_first, _final, _verify; each appends or checks one message. */
#pragma once

#include "base/buf.h"
#include "stream/scram.h"

/* The expensive part, kept over logins of one account while salt and count stay (RFC 5802, 5.1). */
struct scram_cache {
    enum scram_hash hash;
    uint32_t iterations; /* 0: empty */
    size_t salt_len;
    uint8_t salt[CREDS_SALT_MAX];
    uint8_t salted[CREDS_KEY_MAX];
};

struct scram_client_conf {
    enum scram_hash hash;
    const char *username, *password; /* a password that SASLprep refuses is used as it is     */
    const char *authzid;             /* NULL: none                                             */
    char flag;                       /* 'n', 'y', or 'p' with a binding (RFC 5802, 6)          */
    struct scram_binding binding;
    const char *nonce;         /* NULL: random                                                 */
    const char *list_hash;     /* what h= must be if it comes (XEP-0474); NULL: not looked at  */
    struct scram_cache *cache; /* NULL: none                                                   */
};

/* Start from zeroes; scram_client_fini wipes and frees. */
struct scram_client {
    struct scram_client_conf conf; /* strings borrowed until scram_client_fini */
    struct buf cbind, auth, nonce;
    uint8_t signature[CREDS_KEY_MAX]; /* what v= has to be */
    bool proved;
};

void scram_client_first(struct scram_client *c, const struct scram_client_conf *conf,
                        struct buf *out);
/* Reads the server-first-message, appends the client-final-message. Costs a PBKDF2 unless cached:
 * [worker]. 0; GR_EINVAL: malformed, foreign nonce, mandatory extension, h= mismatch; GR_ELIMIT: an
 * iteration count or salt out of CREDS_ bounds. */
int scram_client_final(struct scram_client *c, const char *msg, size_t len, struct buf *out);
/* 0: the server knows the account's ServerKey. GR_EINVAL: it does not, or answered e=. */
int scram_client_verify(struct scram_client *c, const char *msg, size_t len);
void scram_client_fini(struct scram_client *c);
