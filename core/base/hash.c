/* base/hash.c: hash functions by the names that XMPP gives them. Any thread. OpenSSL's are fetched once:
 * fetching per use takes a global lock. */
#include <grapnel/base.h>

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

static struct {
    const char *name, *digest; /* digest: OpenSSL's name */
    size_t size;
    EVP_MD *md;
} hashes[] = {
    { "sha-1", "SHA1", 20, NULL },         { "sha-224", "SHA2-224", 28, NULL },
    { "sha-256", "SHA2-256", 32, NULL },   { "sha-384", "SHA2-384", 48, NULL },
    { "sha-512", "SHA2-512", 64, NULL },   { "sha3-224", "SHA3-224", 28, NULL },
    { "sha3-256", "SHA3-256", 32, NULL },  { "sha3-384", "SHA3-384", 48, NULL },
    { "sha3-512", "SHA3-512", 64, NULL },  { "blake2b-512", "BLAKE2B-512", 64, NULL },
};
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    for (size_t i = 0; i < GR_COUNT(hashes); i++) {
        hashes[i].md = EVP_MD_fetch(NULL, hashes[i].digest, NULL);
        gr_assert(hashes[i].md != NULL && EVP_MD_get_size(hashes[i].md) == (int)hashes[i].size);
    }
}

size_t gr_hash_size(const char *name)
{
    for (size_t i = 0; i < GR_COUNT(hashes); i++)
        if (strcmp(hashes[i].name, name) == 0)
            return hashes[i].size;
    return 0;
}

static const EVP_MD *digest_of(const char *name)
{
    size_t i = 0;

    while (i < GR_COUNT(hashes) && strcmp(hashes[i].name, name) != 0)
        i++;
    if (i == GR_COUNT(hashes))
        return NULL;
    pthread_once(&fetched, fetch);
    return hashes[i].md;
}

int gr_hash(const char *name, const void *in, size_t len, uint8_t out[GR_HASH_MAX])
{
    const EVP_MD *md = digest_of(name);

    if (md == NULL)
        return GR_ENOTSUP;
    gr_assert(EVP_Digest(in, len, out, NULL, md, NULL) == 1);
    return EVP_MD_get_size(md);
}

int gr_hmac(const char *name, const void *key, size_t key_len, const void *in, size_t len,
            uint8_t out[GR_HASH_MAX])
{
    const EVP_MD *md = digest_of(name);

    if (md == NULL)
        return GR_ENOTSUP;
    gr_assert(HMAC(md, key, (int)key_len, in, len, out, NULL) != NULL);
    return EVP_MD_get_size(md);
}
