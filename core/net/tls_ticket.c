/* net/tls_ticket.c: the keys of session tickets (RFC 8446, 4.6.1): a client brings back, sealed, what a
 * shorter handshake needs, and nothing is kept here for it.
 *
 * The keys exist in memory only. The main thread makes one every 12 hours, and each loop has a copy of
 * it and of the one before it: a ticket is good for 12 hours, a key is gone after 24, and with it what
 * could be done with a ticket that somebody has recorded. */
#include "net/tls_priv.h"

#include "loop/loop.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

#define NAME_SIZE 16 /* OpenSSL's form of a ticket: name, IV, session, MAC (as RFC 5077, 4) */
#define IV_SIZE   16

struct key {
    uint8_t name[NAME_SIZE], cipher[32], mac[32];
};

struct keys {
    struct key key[2]; /* the one that seals, the one before */
    size_t count;
};

static struct keys newest, keys_of[LOOPS_MAX];
static struct timer rotation;
static EVP_CIPHER *aes; /* looking it up each time costs more than using it */

static void take_keys(void *arg)
{
    (void)arg;
    keys_of[loop_index(loop_self())] = newest;
}

static void rotate(struct timer *t)
{
    newest.key[1] = newest.key[0];
    gr_random(&newest.key[0], sizeof(newest.key[0]));
    newest.count += newest.count < GR_COUNT(newest.key);
    loops_call(take_keys, NULL);
    timer_start(t, TLS_TICKET_S * 1000, rotate);
}

void tls_tickets_start(void)
{
    aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    gr_assert(aes != NULL);
    rotate(&rotation);
}

void tls_tickets_stop(void)
{
    timer_stop(&rotation);
    gr_wipe(&newest, sizeof(newest));
    gr_wipe(keys_of, sizeof(keys_of));
    EVP_CIPHER_free(aes);
    aes = NULL;
}

/* NULL: too old, or not one of ours. */
static const struct key *find(const struct keys *k, const uint8_t *name)
{
    for (size_t i = 0; i < k->count; i++)
        if (memcmp(k->key[i].name, name, NAME_SIZE) == 0)
            return &k->key[i];
    return NULL;
}

static bool use(const struct key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                int seal)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, aes, NULL, key->cipher, iv, seal) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 0: no ticket is made, or the full handshake takes place. */
int tls_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seal)
{
    const struct keys *k = &keys_of[loop_index(loop_self())];
    const struct key *key = seal ? &k->key[0] : find(k, name);

    if (k->count == 0 || key == NULL || SSL_version(ssl) < TLS1_3_VERSION)
        return 0;
    if (seal) {
        memcpy(name, key->name, NAME_SIZE);
        gr_random(iv, IV_SIZE);
    }
    if (use(key, iv, cipher, mac, seal))
        return 1;
    ERR_clear_error();
    return 0;
}
