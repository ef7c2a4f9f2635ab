/* tests/bench/load_scram.c: SCRAM (RFC 5802, 7677) of a client. PBKDF2 is done once per salt:
 * accounts made in bulk share theirs, and the others pay at their first login only. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

enum { KEY_MAX = 64, SALTS = 1 << 17 };

struct salted {
    char *salt;
    unsigned iterations;
    unsigned char client[KEY_MAX], stored[KEY_MAX], server[KEY_MAX];
};

struct scram {
    char nonce[32];
    char *bare, *auth;
    const struct salted *keys;
};

static struct salted table[SALTS];

static const EVP_MD *digest(void)
{
    return strstr(opts.mech, "SHA-256") != NULL ? EVP_sha256() : EVP_sha1();
}

static unsigned size(void)
{
    return (unsigned)EVP_MD_get_size(digest());
}

static char *base64(const void *data, size_t len)
{
    char *out = malloc(len * 4 / 3 + 8);

    EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

static int unbase64(const char *text, size_t len, unsigned char *out)
{
    int n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);

    while (n > 0 && len > 0 && text[len - 1] == '=') {
        n--;
        len--;
    }
    return n;
}

static void hmac(const void *key, const char *text, unsigned char *out)
{
    HMAC(digest(), key, (int)size(), (const unsigned char *)text, strlen(text), out, NULL);
}

static const struct salted *salted(const char *salt, unsigned iterations)
{
    uint32_t at = 2166136261u ^ iterations;
    unsigned char raw[256], password[KEY_MAX];

    for (const char *p = salt; *p != '\0'; p++)
        at = (at ^ (unsigned char)*p) * 16777619u;
    for (at %= SALTS; table[at].salt != NULL; at = (at + 1) % SALTS)
        if (table[at].iterations == iterations && strcmp(table[at].salt, salt) == 0)
            return &table[at];
    struct salted *s = &table[at];
    int n = strlen(salt) < 300 ? unbase64(salt, strlen(salt), raw) : -1;
    if (n <= 0 || iterations == 0)
        return NULL;
    PKCS5_PBKDF2_HMAC(opts.password, (int)strlen(opts.password), raw, n, (int)iterations, digest(),
                      (int)size(), password);
    s->salt = strdup(salt);
    s->iterations = iterations;
    hmac(password, "Client Key", s->client);
    hmac(password, "Server Key", s->server);
    EVP_Digest(s->client, size(), s->stored, NULL, digest(), NULL);
    return s;
}

char *scram_first(struct conn *c, const char *user)
{
    struct scram *s = calloc(1, sizeof(*s));
    unsigned char random[15];
    char *text;

    RAND_bytes(random, sizeof(random));
    char *nonce = base64(random, sizeof(random));
    strcpy(s->nonce, nonce);
    free(nonce);
    c->scram = s;
    if (asprintf(&s->bare, "n=%s,r=%s", user, s->nonce) < 0 ||
        asprintf(&text, "n,,%s", s->bare) < 0)
        abort();
    char *out = base64(text, strlen(text));
    free(text);
    return out;
}

char *scram_final(struct conn *c, const char *challenge, size_t len)
{
    struct scram *s = c->scram;
    char *text = calloc(1, len + 8), *without, *final;
    unsigned char signature[KEY_MAX];

    if (unbase64(challenge, len, (unsigned char *)text) <= 0 || s == NULL)
        return NULL;
    char *first = strdup(text), *save, *nonce = strtok_r(text, ",", &save);
    char *salt = strtok_r(NULL, ",", &save), *count = strtok_r(NULL, ",", &save);
    if (count == NULL || strncmp(nonce, "r=", 2) != 0 ||
        strncmp(nonce + 2, s->nonce, strlen(s->nonce)) != 0)
        return NULL;
    s->keys = salted(salt + 2, (unsigned)atoi(count + 2));
    if (s->keys == NULL || asprintf(&without, "c=biws,%s", nonce) < 0 ||
        asprintf(&s->auth, "%s,%s,%s", s->bare, first, without) < 0)
        return NULL;
    hmac(s->keys->stored, s->auth, signature);
    for (unsigned i = 0; i < size(); i++)
        signature[i] ^= s->keys->client[i];
    char *proof = base64(signature, size());
    if (asprintf(&final, "%s,p=%s", without, proof) < 0)
        abort();
    char *out = base64(final, strlen(final));
    free(final);
    free(proof);
    free(without);
    free(first);
    free(text);
    return out;
}

bool scram_check(struct conn *c, const char *success, size_t len)
{
    char text[256] = "", *expected;
    unsigned char signature[KEY_MAX];
    struct scram *s = c->scram;

    if (s == NULL || s->auth == NULL || len > 300 || unbase64(success, len, (void *)text) <= 2)
        return false;
    hmac(s->keys->server, s->auth, signature);
    expected = base64(signature, size());
    bool same = strncmp(text + 2, expected, strlen(expected)) == 0;
    free(expected);
    return same;
}

void scram_free(struct conn *c)
{
    if (c->scram == NULL)
        return;
    free(c->scram->bare);
    free(c->scram->auth);
    free(c->scram);
    c->scram = NULL;
}
