/* stream/creds.c: credential records: making, checking, decoys, stored form; OpenSSL primitives.
 *
 * Pure functions, any thread. RFC 5802, 2.2 and 3; RFC 7677 (SHA-256; SHA-512 likewise). OpenSSL
 * objects are fetched once: fetching per use takes a global lock. A keyed template context per hash
 * is duplicated for each HMAC, which needs neither a fetch nor thread-local state. */
#include "stream/creds.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "xml/prep.h"

#define CREDS_VERSION 1

struct hash_info {
    const char *name;
    const char *digest; /* OpenSSL's name */
    size_t size;
};

static const struct hash_info hashes_known[SCRAM_HASHES] = {
    [SCRAM_SHA1] = { "SHA-1", "SHA1", 20 },
    [SCRAM_SHA256] = { "SHA-256", "SHA256", 32 },
    [SCRAM_SHA512] = { "SHA-512", "SHA512", 64 },
};

const uint32_t creds_iterations[SCRAM_HASHES] = { 10000, 50000, 50000 };

/* Written once under `fetched`, read-only after. */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *digests[SCRAM_HASHES];
static EVP_MAC_CTX *hmacs[SCRAM_HASHES];
static EVP_KDF *pbkdf2;

static void fetch(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);

    gr_assert(mac != NULL);
    for (int h = 0; h < SCRAM_HASHES; h++) {
        char name[16];
        OSSL_PARAM params[2];

        strcpy(name, hashes_known[h].digest);
        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
        params[1] = OSSL_PARAM_construct_end();
        digests[h] = EVP_MD_fetch(NULL, name, NULL);
        hmacs[h] = EVP_MAC_CTX_new(mac);
        /* An unkeyed context cannot be duplicated in OpenSSL 3.0: give it a key of no meaning. */
        gr_assert(digests[h] != NULL && hmacs[h] != NULL &&
                  EVP_MAC_init(hmacs[h], (const unsigned char *)"-", 1, params) == 1);
    }
    EVP_MAC_free(mac);
    pbkdf2 = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_PBKDF2, NULL);
    gr_assert(pbkdf2 != NULL);
}

static void need_fetched(void)
{
    gr_assert(pthread_once(&fetched, fetch) == 0);
}

const char *scram_hash_name(enum scram_hash hash)
{
    gr_assert((unsigned)hash < SCRAM_HASHES);
    return hashes_known[hash].name;
}

size_t scram_hash_size(enum scram_hash hash)
{
    gr_assert((unsigned)hash < SCRAM_HASHES);
    return hashes_known[hash].size;
}

void scram_digest(enum scram_hash hash, const void *data, size_t len, void *out)
{
    need_fetched();
    gr_assert((unsigned)hash < SCRAM_HASHES &&
              EVP_Digest(data, len, out, NULL, digests[hash], NULL) == 1);
}

void scram_hmac(enum scram_hash hash, const void *key, size_t key_len, const void *data, size_t len,
                void *out)
{
    EVP_MAC_CTX *ctx;
    size_t produced = 0;

    need_fetched();
    gr_assert((unsigned)hash < SCRAM_HASHES);
    ctx = EVP_MAC_CTX_dup(hmacs[hash]);
    gr_assert(ctx != NULL && EVP_MAC_init(ctx, key, key_len, NULL) == 1 &&
              EVP_MAC_update(ctx, data, len) == 1 &&
              EVP_MAC_final(ctx, out, &produced, hashes_known[hash].size) == 1 &&
              produced == hashes_known[hash].size);
    EVP_MAC_CTX_free(ctx);
}

int scram_salted_password(enum scram_hash hash, const char *password, size_t len, const void *salt,
                          size_t salt_len, uint32_t iterations, void *out)
{
    EVP_KDF_CTX *ctx;
    char name[16];
    OSSL_PARAM params[5];
    unsigned iter = iterations;

    need_fetched();
    gr_assert((unsigned)hash < SCRAM_HASHES);
    if (iterations == 0 || salt_len == 0)
        return GR_EINVAL;
    strcpy(name, hashes_known[hash].digest);
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)password, len);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len);
    params[2] = OSSL_PARAM_construct_uint(OSSL_KDF_PARAM_ITER, &iter);
    params[3] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0);
    params[4] = OSSL_PARAM_construct_end();
    ctx = EVP_KDF_CTX_new(pbkdf2);
    gr_assert(ctx != NULL && EVP_KDF_derive(ctx, out, hashes_known[hash].size, params) == 1);
    EVP_KDF_CTX_free(ctx);
    return 0;
}

/* The derivation for an already prepared password. */
void creds_key_of_salted(enum scram_hash hash, const void *salted, struct creds_key *key)
{
    uint8_t client_key[CREDS_KEY_MAX];
    size_t size = scram_hash_size(hash);

    scram_hmac(hash, salted, size, "Client Key", 10, client_key);
    scram_digest(hash, client_key, size, key->stored_key);
    scram_hmac(hash, salted, size, "Server Key", 10, key->server_key);
    gr_wipe(client_key, sizeof(client_key));
}

static int derive(const char *prepared, size_t len, enum scram_hash hash, struct creds_key *key)
{
    uint8_t salted[CREDS_KEY_MAX];
    int rc;

    rc = scram_salted_password(hash, prepared, len, key->salt, key->salt_len, key->iterations,
                               salted);
    if (rc < 0)
        return rc;
    creds_key_of_salted(hash, salted, key);
    gr_wipe(salted, sizeof(salted));
    return 0;
}

static bool iterations_valid(uint32_t iterations)
{
    return iterations >= CREDS_ITERATIONS_MIN && iterations <= CREDS_ITERATIONS_MAX;
}

int creds_make(const char *password, size_t len, unsigned hashes, const uint32_t *iterations,
               struct creds *out)
{
    char prepared[PREP_SIZE];
    int n, rc = 0;

    if (iterations == NULL)
        iterations = creds_iterations;
    memset(out, 0, sizeof(*out));
    if (hashes == 0 || (hashes & ~SCRAM_ALL_HASHES) != 0)
        return GR_EINVAL;
    n = prep_saslprep(password, len, prepared, sizeof(prepared));
    if (n < 0)
        rc = n;
    for (int h = 0; h < SCRAM_HASHES && rc == 0; h++) {
        if ((hashes & SCRAM_BIT(h)) == 0)
            continue;
        if (!iterations_valid(iterations[h])) {
            rc = GR_EINVAL;
            break;
        }
        out->keys[h].iterations = iterations[h];
        out->keys[h].salt_len = CREDS_SALT_SIZE;
        gr_random(out->keys[h].salt, CREDS_SALT_SIZE);
        rc = derive(prepared, (size_t)n, (enum scram_hash)h, &out->keys[h]);
    }
    gr_wipe(prepared, sizeof(prepared));
    if (rc < 0)
        creds_wipe(out);
    return rc;
}

int creds_make_key(const char *password, size_t len, enum scram_hash hash, const void *salt,
                   size_t salt_len, uint32_t iterations, struct creds_key *out)
{
    char prepared[PREP_SIZE];
    int n, rc;

    memset(out, 0, sizeof(*out));
    if (salt_len == 0 || salt_len > CREDS_SALT_MAX || !iterations_valid(iterations))
        return GR_EINVAL;
    n = prep_saslprep(password, len, prepared, sizeof(prepared));
    if (n < 0)
        return n;
    out->iterations = iterations;
    out->salt_len = (uint8_t)salt_len;
    memcpy(out->salt, salt, salt_len);
    rc = derive(prepared, (size_t)n, hash, out);
    gr_wipe(prepared, sizeof(prepared));
    return rc;
}

bool creds_check_plain(const struct creds *creds, const char *password, size_t len)
{
    char prepared[PREP_SIZE];
    struct creds_key mine;
    enum scram_hash hash = SCRAM_SHA1;
    bool ok = false;
    int n;

    /* Enum order is cost order. Which hash proves a password is all the same to an online guesser,
     * and who holds the database attacks the cheapest anyway. */
    while (hash < SCRAM_HASHES && creds->keys[hash].salt_len == 0)
        hash++;
    if (hash == SCRAM_HASHES)
        return false;
    n = prep_saslprep(password, len, prepared, sizeof(prepared));
    if (n < 0)
        return false;
    mine = creds->keys[hash];
    if (derive(prepared, (size_t)n, hash, &mine) == 0)
        ok = gr_equal_secret(mine.stored_key, creds->keys[hash].stored_key, scram_hash_size(hash));
    gr_wipe(prepared, sizeof(prepared));
    gr_wipe(&mine, sizeof(mine));
    return ok && !creds->decoy;
}

bool creds_stale(const struct creds *creds, unsigned hashes, const uint32_t *iterations)
{
    if (iterations == NULL)
        iterations = creds_iterations;
    for (int h = 0; h < SCRAM_HASHES; h++) {
        bool want = (hashes & SCRAM_BIT(h)) != 0, have = creds->keys[h].salt_len != 0;

        if (want != have || (want && creds->keys[h].iterations != iterations[h]))
            return true;
    }
    return false;
}

void creds_decoy_key(const void *secret, size_t secret_len, const char *user, const char *host,
                     enum scram_hash hash, uint32_t iterations, struct creds_key *out)
{
    uint8_t digest[CREDS_KEY_MAX];
    size_t user_len = strlen(user), host_len = strlen(host), n = 0;
    char *input = gr_alloc(user_len + host_len + 3);

    gr_assert(secret_len >= CREDS_SECRET_MIN);
    /* NUL keeps the fields apart: none of them can contain it. */
    memcpy(input, user, user_len + 1);
    n = user_len + 1;
    memcpy(input + n, host, host_len + 1);
    n += host_len + 1;
    input[n++] = (char)hash;
    scram_hmac(SCRAM_SHA256, secret, secret_len, input, n, digest);
    gr_free(input);

    memset(out, 0, sizeof(*out));
    out->iterations = iterations;
    out->salt_len = CREDS_SALT_SIZE;
    memcpy(out->salt, digest, CREDS_SALT_SIZE);
    /* Keys no password leads to; random, so that not even the holder of the secret knows them. */
    gr_random(out->stored_key, scram_hash_size(hash));
    gr_random(out->server_key, scram_hash_size(hash));
    gr_wipe(digest, sizeof(digest));
}

void creds_decoy(const void *secret, size_t secret_len, const char *user, const char *host,
                 unsigned hashes, const uint32_t *iterations, struct creds *out)
{
    if (iterations == NULL)
        iterations = creds_iterations;
    memset(out, 0, sizeof(*out));
    out->decoy = true;
    for (int h = 0; h < SCRAM_HASHES; h++) {
        if ((hashes & SCRAM_BIT(h)) != 0)
            creds_decoy_key(secret, secret_len, user, host, (enum scram_hash)h, iterations[h],
                            &out->keys[h]);
    }
}

/* Layout: version, mask of hashes; then per hash in enum order: iterations (32 bits, big endian),
 * salt length, salt, StoredKey, ServerKey. */
size_t creds_encode(const struct creds *creds, void *out, size_t cap)
{
    uint8_t *p = out;

    gr_assert(cap >= CREDS_ENCODED_MAX && !creds->decoy);
    *p++ = CREDS_VERSION;
    *p++ = 0;
    for (int h = 0; h < SCRAM_HASHES; h++) {
        const struct creds_key *key = &creds->keys[h];
        size_t size = hashes_known[h].size;

        if (key->salt_len == 0)
            continue;
        gr_assert(key->salt_len <= CREDS_SALT_MAX && iterations_valid(key->iterations));
        ((uint8_t *)out)[1] |= (uint8_t)SCRAM_BIT(h);
        *p++ = (uint8_t)(key->iterations >> 24);
        *p++ = (uint8_t)(key->iterations >> 16);
        *p++ = (uint8_t)(key->iterations >> 8);
        *p++ = (uint8_t)key->iterations;
        *p++ = key->salt_len;
        memcpy(p, key->salt, key->salt_len);
        p += key->salt_len;
        memcpy(p, key->stored_key, size);
        memcpy(p + size, key->server_key, size);
        p += 2 * size;
    }
    gr_assert(((uint8_t *)out)[1] != 0);
    return (size_t)(p - (uint8_t *)out);
}

/* One hash's entry from *p; false when it is short or out of bounds. */
static bool decode_key(const uint8_t **p, const uint8_t *end, size_t size, struct creds_key *key)
{
    const uint8_t *q = *p;

    if (end - q < 5)
        return false;
    key->iterations = (uint32_t)q[0] << 24 | (uint32_t)q[1] << 16 | (uint32_t)q[2] << 8 | q[3];
    key->salt_len = q[4];
    q += 5;
    if (!iterations_valid(key->iterations) || key->salt_len == 0 || key->salt_len > CREDS_SALT_MAX)
        return false;
    if ((size_t)(end - q) < key->salt_len + 2 * size)
        return false;
    memcpy(key->salt, q, key->salt_len);
    q += key->salt_len;
    memcpy(key->stored_key, q, size);
    memcpy(key->server_key, q + size, size);
    *p = q + 2 * size;
    return true;
}

int creds_decode(const void *data, size_t len, struct creds *out)
{
    const uint8_t *p = data, *end = p + len;
    unsigned mask;

    memset(out, 0, sizeof(*out));
    if (len < 2 || p[0] != CREDS_VERSION)
        return GR_EINVAL;
    mask = p[1];
    p += 2;
    if (mask == 0 || (mask & ~SCRAM_ALL_HASHES) != 0)
        return GR_EINVAL;
    for (int h = 0; h < SCRAM_HASHES; h++) {
        if ((mask & SCRAM_BIT(h)) == 0)
            continue;
        if (!decode_key(&p, end, hashes_known[h].size, &out->keys[h])) {
            creds_wipe(out);
            return GR_EINVAL;
        }
    }
    if (p != end) {
        creds_wipe(out);
        return GR_EINVAL;
    }
    return 0;
}

void creds_wipe(struct creds *creds)
{
    gr_wipe(creds, sizeof(*creds));
}
