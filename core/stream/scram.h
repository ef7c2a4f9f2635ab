/* stream/scram.h: the server's side of one SCRAM exchange (RFC 5802, RFC 7677), no I/O, any thread.
 *
 * scram_first reads the client's opening and tells whose keys are wanted; scram_challenge answers
 * with them (or with a decoy); scram_final checks the proof. Clients: scram_client.h. */
#pragma once

#include "base/buf.h"
#include "stream/creds.h"

#define SCRAM_NONCE_MAX 512 /* bytes of the client's part that we accept        */
#define SCRAM_NONCE_SIZE 24 /* random bytes in our part                         */

/* Data of one channel-binding type ("tls-exporter", RFC 9266; "tls-server-end-point", RFC 5929). */
struct scram_binding {
    const char *type;
    const void *data;
    size_t len;
};

struct scram_offer {
    bool plus;         /* the client chose the -PLUS name                                  */
    bool plus_offered; /* some -PLUS name was advertised: flag "y" means a downgrade       */
    const struct scram_binding *bindings;
    size_t n_bindings;
};

enum scram_result {
    SCRAM_OK,
    SCRAM_MALFORMED, /* violates the grammar                                               */
    SCRAM_REFUSED    /* well-formed and not acceptable: wrong proof, wrong binding, ...    */
};

/* Start from zeroes plus `hash`; scram_fini wipes and frees. */
struct scram {
    enum scram_hash hash;
    char *username, *authzid; /* unescaped, not prepared; authzid NULL when absent */
    const char *reason;       /* why not SCRAM_OK: static text for logs            */
    struct buf cbind;         /* what c= has to say: gs2 header and binding data   */
    struct buf auth;          /* AuthMessage as far as it has been spoken          */
    struct buf nonce;         /* the client's part, later both                     */
    struct creds_key key;
    bool decoy;
};

enum scram_result scram_first(struct scram *s, const struct scram_offer *offer, const char *msg,
                              size_t len);
/* Appends the server-first-message to out. The key is copied; with `decoy` no proof will do.
 * `nonce` replaces our random part (tests); `list_hash` adds h= (XEP-0474); both may be NULL. */
void scram_challenge(struct scram *s, const struct creds_key *key, bool decoy, const char *nonce,
                     const char *list_hash, struct buf *out);
/* Appends the server-final-message to out when the result is SCRAM_OK. */
enum scram_result scram_final(struct scram *s, const char *msg, size_t len, struct buf *out);
void scram_fini(struct scram *s);

/* XEP-0474, 6.1: base64 of the hash over what was advertised. `types` NULL: no XEP-0440 feature.
 * At most SCRAM_LIST_MAX names each. */
#define SCRAM_LIST_MAX 32
#define SCRAM_LIST_HASH_SIZE (4 * ((CREDS_KEY_MAX + 2) / 3) + 1)
void scram_list_hash(enum scram_hash hash, const char *const *mechs, size_t n_mechs,
                     const char *const *types, size_t n_types, char out[SCRAM_LIST_HASH_SIZE]);

/* --- the grammar of RFC 5802, 7, shared with the client's side -------------------------------- */

/* UTF-8 (RFC 3629: shortest form, no surrogates) without NUL? */
bool scram_is_text(const char *s, size_t len);

struct scram_attr {
    char name;
    const char *value;
    size_t len;
};
/* Takes `X=value` and the comma after it from [*p, end). False: there is no such thing, or a comma
 * with nothing behind it. */
bool scram_next(const char **p, const char *end, struct scram_attr *attr);
/* May an attribute of this name stand where extensions do? */
bool scram_is_extension(char name);
/* Every byte printable ASCII other than a comma (RFC 5802, 7: printable)? */
bool scram_is_nonce(const char *s, size_t len);
/* Appends "name=" base64. */
void scram_put_base64(struct buf *out, const char *name, const void *data, size_t len);
