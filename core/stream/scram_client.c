/* stream/scram_client.c: client side of SCRAM (RFC 5802, 5 and 7; RFC 7677; XEP-0474, 6.2).
 *
 * Pure state machine over the grammar helpers of scram.c; the server is a peer like any other:
 * its counts and salts are bounded before they cost anything (RFC 5802, 9). */
#include "stream/scram_client.h"

#include <string.h>

#include "xml/prep.h"

static void put_escaped(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == ',')
            buf_puts(out, "=2C");
        else if (*s == '=')
            buf_puts(out, "=3D");
        else
            buf_append(out, s, 1);
    }
}

void scram_client_first(struct scram_client *c, const struct scram_client_conf *conf,
                        struct buf *out)
{
    char own[4 * (SCRAM_NONCE_SIZE / 3) + 1];
    const char *nonce = conf->nonce;

    gr_assert(buf_len(&c->auth) == 0 && strchr("nyp", conf->flag) != NULL && conf->flag != '\0');
    c->conf = *conf;
    if (nonce == NULL) {
        uint8_t random[SCRAM_NONCE_SIZE];

        gr_random(random, sizeof(random));
        gr_base64_encode(own, random, sizeof(random));
        nonce = own;
    }
    buf_puts(&c->nonce, nonce);
    if (conf->flag == 'p')
        buf_printf(&c->cbind, "p=%s,", conf->binding.type);
    else
        buf_printf(&c->cbind, "%c,", conf->flag);
    if (conf->authzid != NULL) {
        buf_puts(&c->cbind, "a=");
        put_escaped(&c->cbind, conf->authzid);
    }
    buf_puts(&c->cbind, ",");
    buf_append(out, buf_data(&c->cbind), buf_len(&c->cbind));
    if (conf->flag == 'p')
        buf_append(&c->cbind, conf->binding.data, conf->binding.len);

    buf_puts(&c->auth, "n=");
    put_escaped(&c->auth, conf->username);
    buf_printf(&c->auth, ",r=%s", nonce);
    buf_append(out, buf_data(&c->auth), buf_len(&c->auth));
}

/* posit-number (RFC 5802, 7) in our bounds; 0 when it is not. */
static uint32_t read_iterations(const struct scram_attr *attr)
{
    uint32_t n = 0;

    if (attr->len > 7 || attr->value[0] == '0')
        return 0;
    for (size_t i = 0; i < attr->len; i++) {
        if (attr->value[i] < '0' || attr->value[i] > '9')
            return 0;
        n = n * 10 + (uint32_t)(attr->value[i] - '0');
    }
    return n >= CREDS_ITERATIONS_MIN && n <= CREDS_ITERATIONS_MAX ? n : 0;
}

static int read_first(struct scram_client *c, const char *msg, size_t len, uint8_t *salt,
                      size_t *salt_len, uint32_t *iterations)
{
    const char *p = msg, *end = msg + len;
    struct scram_attr attr;
    size_t own = buf_len(&c->nonce);
    int n;

    if (!scram_is_text(msg, len) || !scram_next(&p, end, &attr) || attr.name != 'r' ||
        !scram_is_nonce(attr.value, attr.len) || attr.len > 2 * SCRAM_NONCE_MAX)
        return GR_EINVAL;
    /* The server must have added something of its own. */
    if (attr.len <= own || memcmp(attr.value, buf_data(&c->nonce), own) != 0)
        return GR_EINVAL;
    buf_append(&c->nonce, attr.value + own, attr.len - own);
    if (!scram_next(&p, end, &attr) || attr.name != 's')
        return GR_EINVAL;
    if (attr.len > 4 * ((CREDS_SALT_MAX + 2) / 3))
        return GR_ELIMIT;
    n = gr_base64_decode(salt, attr.value, attr.len);
    if (n <= 0)
        return GR_EINVAL;
    *salt_len = (size_t)n;
    if (!scram_next(&p, end, &attr) || attr.name != 'i')
        return GR_EINVAL;
    *iterations = read_iterations(&attr);
    if (*salt_len > CREDS_SALT_MAX || *iterations == 0)
        return GR_ELIMIT;
    while (p < end) {
        if (!scram_next(&p, end, &attr) || !scram_is_extension(attr.name))
            return GR_EINVAL;
        if (attr.name == 'h' && c->conf.list_hash != NULL &&
            (strlen(c->conf.list_hash) != attr.len ||
             memcmp(c->conf.list_hash, attr.value, attr.len) != 0))
            return GR_EINVAL;
    }
    return 0;
}

static void salt_password(const struct scram_client *c, const uint8_t *salt, size_t salt_len,
                          uint32_t iterations, uint8_t *out)
{
    const struct scram_client_conf *conf = &c->conf;
    const char *password = conf->password;
    size_t len = strlen(password);
    char prepared[PREP_SIZE];
    int n = prep_saslprep(password, len, prepared, sizeof(prepared));

    if (n > 0) {
        password = prepared;
        len = (size_t)n;
    }
    gr_assert(scram_salted_password(conf->hash, password, len, salt, salt_len, iterations,
                                    out) == 0);
    gr_wipe(prepared, sizeof(prepared));
}

static void get_salted(const struct scram_client *c, const uint8_t *salt, size_t salt_len,
                       uint32_t iterations, uint8_t *out)
{
    struct scram_cache *cache = c->conf.cache;

    if (cache != NULL && cache->iterations == iterations && cache->hash == c->conf.hash &&
        cache->salt_len == salt_len && memcmp(cache->salt, salt, salt_len) == 0) {
        memcpy(out, cache->salted, CREDS_KEY_MAX);
        return;
    }
    memset(out, 0, CREDS_KEY_MAX);
    salt_password(c, salt, salt_len, iterations, out);
    if (cache != NULL) {
        cache->hash = c->conf.hash;
        cache->iterations = iterations;
        cache->salt_len = salt_len;
        memcpy(cache->salt, salt, salt_len);
        memcpy(cache->salted, out, CREDS_KEY_MAX);
    }
}

int scram_client_final(struct scram_client *c, const char *msg, size_t len, struct buf *out)
{
    uint8_t salt[3 * ((CREDS_SALT_MAX + 2) / 3)], salted[CREDS_KEY_MAX], key[CREDS_KEY_MAX];
    uint8_t stored[CREDS_KEY_MAX], proof[CREDS_KEY_MAX];
    enum scram_hash hash = c->conf.hash;
    size_t size = scram_hash_size(hash), salt_len = 0;
    struct buf final = { 0 };
    uint32_t iterations = 0;
    int rc;

    rc = read_first(c, msg, len, salt, &salt_len, &iterations);
    if (rc < 0)
        return rc;
    scram_put_base64(&final, "c", buf_data(&c->cbind), buf_len(&c->cbind));
    buf_puts(&final, ",r=");
    buf_append(&final, buf_data(&c->nonce), buf_len(&c->nonce));
    buf_puts(&c->auth, ",");
    buf_append(&c->auth, msg, len);
    buf_puts(&c->auth, ",");
    buf_append(&c->auth, buf_data(&final), buf_len(&final));

    get_salted(c, salt, salt_len, iterations, salted);
    scram_hmac(hash, salted, size, "Client Key", 10, key);
    scram_digest(hash, key, size, stored);
    scram_hmac(hash, stored, size, buf_data(&c->auth), buf_len(&c->auth), proof);
    for (size_t i = 0; i < size; i++)
        proof[i] ^= key[i];
    scram_put_base64(&final, ",p", proof, size);
    buf_append(out, buf_data(&final), buf_len(&final));
    buf_fini(&final);

    scram_hmac(hash, salted, size, "Server Key", 10, key);
    scram_hmac(hash, key, size, buf_data(&c->auth), buf_len(&c->auth), c->signature);
    c->proved = true;
    gr_wipe(salted, sizeof(salted));
    gr_wipe(key, sizeof(key));
    gr_wipe(stored, sizeof(stored));
    return 0;
}

int scram_client_verify(struct scram_client *c, const char *msg, size_t len)
{
    uint8_t got[3 * ((CREDS_KEY_MAX + 2) / 3)];
    size_t size = scram_hash_size(c->conf.hash);
    const char *p = msg, *end = msg + len;
    struct scram_attr attr, ext;

    if (!c->proved || !scram_is_text(msg, len) || !scram_next(&p, end, &attr) || attr.name != 'v')
        return GR_EINVAL;
    while (p < end) {
        if (!scram_next(&p, end, &ext) || !scram_is_extension(ext.name))
            return GR_EINVAL;
    }
    if (attr.len != 4 * ((size + 2) / 3) ||
        gr_base64_decode(got, attr.value, attr.len) != (int)size ||
        !gr_equal_secret(got, c->signature, size))
        return GR_EINVAL;
    return 0;
}

void scram_client_fini(struct scram_client *c)
{
    buf_fini(&c->cbind);
    buf_fini(&c->auth);
    buf_fini(&c->nonce);
    gr_wipe(c, sizeof(*c));
}
