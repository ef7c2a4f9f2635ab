/* stream/creds.h: what an account keeps instead of a password, and the hashing SCRAM needs.
 *
 * A record holds for each hash its own salt, an iteration count, StoredKey and ServerKey (RFC 5802,
 * 3); the password itself is never kept. Everything here is pure and may run on any thread; calls
 * marked [worker] cost milliseconds and belong in the worker pool, never on a loop. */
#pragma once

#include <grapnel/base.h>

enum scram_hash { SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512, SCRAM_HASHES };

#define SCRAM_BIT(hash) (1u << (hash))
#define SCRAM_ALL_HASHES (SCRAM_BIT(SCRAM_HASHES) - 1)

#define CREDS_KEY_MAX 64  /* bytes of the longest hash                                        */
#define CREDS_SALT_SIZE 16
#define CREDS_SALT_MAX 64 /* imported records bring their own salts                           */
#define CREDS_ITERATIONS_MIN 4096 /* RFC 7677, 4 */
#define CREDS_ITERATIONS_MAX 1000000
#define CREDS_SECRET_MIN 16     /* bytes of server secret that decoys ask for                 */

struct creds_key {
    uint32_t iterations;
    uint8_t salt_len; /* 0: no keys for this hash */
    uint8_t salt[CREDS_SALT_MAX];
    uint8_t stored_key[CREDS_KEY_MAX];
    uint8_t server_key[CREDS_KEY_MAX];
};

struct creds {
    struct creds_key keys[SCRAM_HASHES];
    bool decoy; /* of nobody: every check fails, after the same work */
};

/* The default counts: 10 000, 50 000, 50 000. */
extern const uint32_t creds_iterations[SCRAM_HASHES];

/* Hashes a password under fresh salts for each hash in the mask. `iterations` has one entry per
 * hash; NULL means the defaults. 0; GR_EINVAL: no hash, a count out of bounds, a password that is
 * empty, over-long or refused by SASLprep (what clients hash: RFC 5802, 2.2). [worker] */
int creds_make(const char *password, size_t len, unsigned hashes, const uint32_t *iterations,
               struct creds *out);
/* As creds_make for one hash under a given salt: for imports, clients and tests. [worker] */
int creds_make_key(const char *password, size_t len, enum scram_hash hash, const void *salt,
                   size_t salt_len, uint32_t iterations, struct creds_key *out);
/* The keys of a SaltedPassword (RFC 5802, 3) of scram_hash_size bytes; salt and count of *key are the
 * caller's. */
void creds_key_of_salted(enum scram_hash hash, const void *salted, struct creds_key *key);
/* Is it the password of this record? Uses the cheapest keys there are. [worker] */
bool creds_check_plain(const struct creds *creds, const char *password, size_t len);
/* Would creds_make with these parameters give other hashes or counts? Then a PLAIN login is the
 * moment to make the record anew. */
bool creds_stale(const struct creds *creds, unsigned hashes, const uint32_t *iterations);

/* Keys for an account that is not there: the same salt each time for the same secret, user, host
 * and hash, and keys nobody can prove. `secret` is CREDS_SECRET_MIN bytes or more. */
void creds_decoy_key(const void *secret, size_t secret_len, const char *user, const char *host,
                     enum scram_hash hash, uint32_t iterations, struct creds_key *out);
/* The same as a whole record, for creds_check_plain; arguments as in creds_make. */
void creds_decoy(const void *secret, size_t secret_len, const char *user, const char *host,
                 unsigned hashes, const uint32_t *iterations, struct creds *out);

/* The stored form. Encode returns the length, at most CREDS_ENCODED_MAX; decode 0 or GR_EINVAL
 * for anything that encode cannot have written (then *out is empty). */
#define CREDS_ENCODED_MAX (2 + SCRAM_HASHES * (6 + CREDS_SALT_MAX + 2 * CREDS_KEY_MAX))
size_t creds_encode(const struct creds *creds, void *out, size_t cap);
int creds_decode(const void *data, size_t len, struct creds *out);
void creds_wipe(struct creds *creds);

/* "SHA-1", "SHA-256", "SHA-512"; bytes of a digest. */
const char *scram_hash_name(enum scram_hash hash);
size_t scram_hash_size(enum scram_hash hash);

/* Primitives (out: scram_hash_size bytes). They stop the process when OpenSSL cannot do them. */
void scram_digest(enum scram_hash hash, const void *data, size_t len, void *out);
void scram_hmac(enum scram_hash hash, const void *key, size_t key_len, const void *data, size_t len,
                void *out);
/* RFC 5802, 2.2: Hi(), of the password as it is. GR_EINVAL: no iterations, no salt. [worker] */
int scram_salted_password(enum scram_hash hash, const char *password, size_t len, const void *salt,
                          size_t salt_len, uint32_t iterations, void *out);
