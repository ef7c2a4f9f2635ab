/* stream/scram.c: server side of SCRAM-SHA-1, -256, -512 and their -PLUS forms.
 *
 * RFC 5802 (5: exchange, 6: channel binding, 7: grammar), RFC 7677, XEP-0474. Pure state machine;
 * messages arrive decoded from base64 and bounded by the caller. Nothing here answers differently
 * for accounts that exist and accounts that do not. */
#include "stream/scram.h"

#include <stdlib.h>
#include <string.h>

static enum scram_result malformed(struct scram *s, const char *reason)
{
    s->reason = reason;
    return SCRAM_MALFORMED;
}

static enum scram_result refused(struct scram *s, const char *reason)
{
    s->reason = reason;
    return SCRAM_REFUSED;
}

bool scram_is_text(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + len;

    while (p < end) {
        unsigned c = *p++;
        unsigned low = 0x80, high = 0xbf; /* of the second byte */
        int more;

        if (c == 0)
            return false;
        if (c < 0x80)
            continue;
        if (c < 0xc2 || c > 0xf4)
            return false;
        more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if (c == 0xe0)
            low = 0xa0;
        else if (c == 0xed)
            high = 0x9f;
        else if (c == 0xf0)
            low = 0x90;
        else if (c == 0xf4)
            high = 0x8f;
        for (; more > 0; more--) {
            if (p == end || *p < low || *p > high)
                return false;
            p++;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

bool scram_is_nonce(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] < 0x21 || s[i] > 0x7e || s[i] == ',')
            return false;
    }
    return len > 0;
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool scram_next(const char **p, const char *end, struct scram_attr *attr)
{
    const char *comma;

    if (end - *p < 3 || !is_alpha((*p)[0]) || (*p)[1] != '=')
        return false;
    attr->name = (*p)[0];
    attr->value = *p + 2;
    comma = memchr(attr->value, ',', (size_t)(end - attr->value));
    attr->len = (size_t)((comma != NULL ? comma : end) - attr->value);
    *p = comma != NULL ? comma + 1 : end;
    return attr->len > 0 && (comma == NULL || *p < end);
}

bool scram_is_extension(char name)
{
    return is_alpha(name) && strchr("amnrcsipve", name) == NULL;
}

void scram_put_base64(struct buf *out, const char *name, const void *data, size_t len)
{
    size_t n;

    buf_puts(out, name);
    buf_puts(out, "=");
    n = gr_base64_encode(buf_reserve(out, 4 * ((len + 2) / 3) + 1), data, len);
    buf_produced(out, n);
}

/* saslname (RFC 5802, 7) to a new string; NULL when '=' is not followed by 2C or 3D. */
static char *unescape(const char *s, size_t len)
{
    char *out = gr_alloc(len + 1), *o = out;

    for (size_t i = 0; i < len; i++) {
        if (s[i] != '=') {
            *o++ = s[i];
            continue;
        }
        if (len - i < 3 || (memcmp(s + i, "=2C", 3) != 0 && memcmp(s + i, "=3D", 3) != 0)) {
            gr_free(out);
            return NULL;
        }
        *o++ = s[i + 1] == '2' ? ',' : '=';
        i += 2;
    }
    return out;
}

/* Binding data for the type the client named, put behind the gs2 header later. */
static const struct scram_binding *find_binding(const struct scram_offer *offer, const char *type,
                                                size_t len)
{
    for (size_t i = 0; i < offer->n_bindings; i++) {
        const struct scram_binding *b = &offer->bindings[i];

        if (strlen(b->type) == len && memcmp(b->type, type, len) == 0)
            return b;
    }
    return NULL;
}

static bool is_binding_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_alpha(s[i]) && (s[i] < '0' || s[i] > '9') && s[i] != '.' && s[i] != '-')
            return false;
    }
    return len > 0;
}

/* gs2-cbind-flag and the comma behind it. Section 6: "y" from a client that was offered -PLUS is
 * the mark of somebody who took the offer out; "p" is for the -PLUS names and these need it. */
static enum scram_result read_flag(struct scram *s, const struct scram_offer *offer,
                                   const char **p, const char *end,
                                   const struct scram_binding **binding)
{
    const char *comma = memchr(*p, ',', (size_t)(end - *p));
    const char *flag = *p;
    size_t len;

    *binding = NULL;
    if (comma == NULL)
        return malformed(s, "no gs2 header");
    len = (size_t)(comma - flag);
    *p = comma + 1;
    if (len == 1 && (flag[0] == 'n' || flag[0] == 'y')) {
        if (offer->plus)
            return malformed(s, "-PLUS without channel binding");
        if (flag[0] == 'y' && offer->plus_offered)
            return refused(s, "channel binding downgrade");
        return SCRAM_OK;
    }
    if (len < 2 || memcmp(flag, "p=", 2) != 0 || !is_binding_name(flag + 2, len - 2))
        return malformed(s, "bad gs2 flag");
    if (!offer->plus)
        return malformed(s, "channel binding without -PLUS");
    *binding = find_binding(offer, flag + 2, len - 2);
    if (*binding == NULL)
        return refused(s, "channel binding type not supported");
    return SCRAM_OK;
}

/* The rest of a message: extensions, ignored; a mandatory one (m=) is refused wherever it is. */
static enum scram_result read_extensions(struct scram *s, const char *p, const char *end)
{
    struct scram_attr attr;

    while (p < end) {
        if (!scram_next(&p, end, &attr))
            return malformed(s, "bad attribute");
        if (attr.name == 'm')
            return refused(s, "mandatory extension");
        if (!scram_is_extension(attr.name))
            return malformed(s, "attribute out of place");
    }
    return SCRAM_OK;
}

/* client-first-message-bare. */
static enum scram_result read_bare(struct scram *s, const char *p, const char *end)
{
    struct scram_attr attr;

    if (!scram_next(&p, end, &attr))
        return malformed(s, "no username");
    if (attr.name == 'm')
        return refused(s, "mandatory extension");
    if (attr.name != 'n')
        return malformed(s, "no username");
    s->username = unescape(attr.value, attr.len);
    if (s->username == NULL)
        return malformed(s, "bad escape in username");
    if (!scram_next(&p, end, &attr) || attr.name != 'r' || !scram_is_nonce(attr.value, attr.len))
        return malformed(s, "no nonce");
    if (attr.len > SCRAM_NONCE_MAX)
        return refused(s, "nonce too long");
    buf_append(&s->nonce, attr.value, attr.len);
    return read_extensions(s, p, end);
}

enum scram_result scram_first(struct scram *s, const struct scram_offer *offer, const char *msg,
                              size_t len)
{
    const char *p = msg, *end = msg + len, *comma;
    const struct scram_binding *binding;
    enum scram_result rc;

    gr_assert(s->username == NULL && buf_len(&s->auth) == 0);
    if (!scram_is_text(msg, len))
        return malformed(s, "not UTF-8");
    rc = read_flag(s, offer, &p, end, &binding);
    if (rc != SCRAM_OK)
        return rc;
    comma = memchr(p, ',', (size_t)(end - p));
    if (comma == NULL)
        return malformed(s, "no gs2 header");
    if (comma > p) {
        if (comma - p < 3 || memcmp(p, "a=", 2) != 0)
            return malformed(s, "bad authzid");
        s->authzid = unescape(p + 2, (size_t)(comma - p) - 2);
        if (s->authzid == NULL)
            return malformed(s, "bad escape in authzid");
    }
    p = comma + 1;
    buf_append(&s->cbind, msg, (size_t)(p - msg));
    if (binding != NULL)
        buf_append(&s->cbind, binding->data, binding->len);
    buf_append(&s->auth, p, (size_t)(end - p));
    return read_bare(s, p, end);
}

void scram_challenge(struct scram *s, const struct creds_key *key, bool decoy, const char *nonce,
                     const char *list_hash, struct buf *out)
{
    char own[4 * (SCRAM_NONCE_SIZE / 3) + 1];
    struct buf first = { 0 };

    gr_assert(s->username != NULL && key->salt_len > 0);
    if (nonce == NULL) {
        uint8_t random[SCRAM_NONCE_SIZE];

        gr_random(random, sizeof(random));
        gr_base64_encode(own, random, sizeof(random));
        nonce = own;
    }
    s->key = *key;
    s->decoy = decoy;
    buf_puts(&s->nonce, nonce);
    buf_puts(&first, "r=");
    buf_append(&first, buf_data(&s->nonce), buf_len(&s->nonce));
    scram_put_base64(&first, ",s", key->salt, key->salt_len);
    buf_printf(&first, ",i=%u", (unsigned)key->iterations);
    if (list_hash != NULL)
        buf_printf(&first, ",h=%s", list_hash);
    buf_puts(&s->auth, ",");
    buf_append(&s->auth, buf_data(&first), buf_len(&first));
    buf_append(out, buf_data(&first), buf_len(&first));
    buf_fini(&first);
}

/* Section 6: c= is compared with what it must be, never interpreted. */
static enum scram_result check_binding(struct scram *s, const struct scram_attr *attr)
{
    char *data = gr_alloc(3 * (attr->len / 4) + 1);
    int n = gr_base64_decode(data, attr->value, attr->len);
    bool same = n >= 0 && (size_t)n == buf_len(&s->cbind) &&
                gr_equal_secret(data, buf_data(&s->cbind), (size_t)n);

    gr_free(data);
    if (n < 0)
        return malformed(s, "bad base64 in c=");
    return same ? SCRAM_OK : refused(s, "channel bindings do not match");
}

/* ClientKey := ClientProof XOR HMAC(StoredKey, AuthMessage); H(ClientKey) must be StoredKey. The
 * server's signature goes to `signature` in any case: the work is the same for everybody. */
static bool check_proof(const struct scram *s, const uint8_t *proof, uint8_t *signature)
{
    uint8_t client_key[CREDS_KEY_MAX], digest[CREDS_KEY_MAX];
    size_t size = scram_hash_size(s->hash);
    bool ok;

    scram_hmac(s->hash, s->key.stored_key, size, buf_data(&s->auth), buf_len(&s->auth),
               client_key);
    for (size_t i = 0; i < size; i++)
        client_key[i] ^= proof[i];
    scram_digest(s->hash, client_key, size, digest);
    ok = gr_equal_secret(digest, s->key.stored_key, size);
    scram_hmac(s->hash, s->key.server_key, size, buf_data(&s->auth), buf_len(&s->auth), signature);
    gr_wipe(client_key, sizeof(client_key));
    gr_wipe(digest, sizeof(digest));
    return ok && !s->decoy;
}

/* The attributes of a client-final-message; *proof_at is the comma before p=, which comes last. */
static enum scram_result read_final(struct scram *s, const char *msg, size_t len,
                                    struct scram_attr *proof, const char **proof_at)
{
    const char *p = msg, *end = msg + len, *at;
    struct scram_attr attr, nonce;
    enum scram_result rc;

    if (!scram_is_text(msg, len) || !scram_next(&p, end, &attr))
        return malformed(s, "no channel binding");
    if (attr.name == 'm')
        return refused(s, "mandatory extension");
    if (attr.name != 'c')
        return malformed(s, "no channel binding");
    if (!scram_next(&p, end, &nonce) || nonce.name != 'r')
        return malformed(s, "no nonce");
    do {
        at = p - 1;
        if (!scram_next(&p, end, proof))
            return malformed(s, "no proof");
        if (proof->name == 'm')
            return refused(s, "mandatory extension");
        if (proof->name != 'p' && !scram_is_extension(proof->name))
            return malformed(s, "attribute out of place");
    } while (proof->name != 'p');
    if (p != end)
        return malformed(s, "attribute after proof");
    *proof_at = at;
    rc = check_binding(s, &attr);
    if (rc != SCRAM_OK)
        return rc;
    if (nonce.len != buf_len(&s->nonce) ||
        !gr_equal_secret(nonce.value, buf_data(&s->nonce), nonce.len))
        return refused(s, "nonce does not match");
    return SCRAM_OK;
}

enum scram_result scram_final(struct scram *s, const char *msg, size_t len, struct buf *out)
{
    uint8_t proof[3 * ((CREDS_KEY_MAX + 2) / 3)], signature[CREDS_KEY_MAX];
    size_t size = scram_hash_size(s->hash);
    struct scram_attr attr;
    const char *proof_at;
    enum scram_result rc;
    bool ok;

    gr_assert(s->key.salt_len > 0);
    rc = read_final(s, msg, len, &attr, &proof_at);
    if (rc != SCRAM_OK)
        return rc;
    if (attr.len != 4 * ((size + 2) / 3) ||
        gr_base64_decode(proof, attr.value, attr.len) != (int)size)
        return malformed(s, "bad proof");
    buf_puts(&s->auth, ",");
    buf_append(&s->auth, msg, (size_t)(proof_at - msg));
    ok = check_proof(s, proof, signature);
    if (ok)
        scram_put_base64(out, "v", signature, size);
    gr_wipe(signature, sizeof(signature));
    return ok ? SCRAM_OK : refused(s, "wrong proof");
}

void scram_fini(struct scram *s)
{
    gr_free(s->username);
    gr_free(s->authzid);
    buf_fini(&s->cbind);
    buf_fini(&s->auth);
    buf_fini(&s->nonce);
    gr_wipe(s, sizeof(*s));
}

static int by_octets(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_sorted(struct buf *b, const char *const *names, size_t n)
{
    const char *sorted[SCRAM_LIST_MAX];

    gr_assert(n <= SCRAM_LIST_MAX);
    if (n == 0)
        return;
    memcpy(sorted, names, n * sizeof(*names));
    qsort(sorted, n, sizeof(*sorted), by_octets);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_puts(b, "\x1e");
        buf_puts(b, sorted[i]);
    }
}

void scram_list_hash(enum scram_hash hash, const char *const *mechs, size_t n_mechs,
                     const char *const *types, size_t n_types, char out[SCRAM_LIST_HASH_SIZE])
{
    uint8_t digest[CREDS_KEY_MAX];
    struct buf list = { 0 };

    put_sorted(&list, mechs, n_mechs);
    if (types != NULL) {
        buf_puts(&list, "\x1f");
        put_sorted(&list, types, n_types);
    }
    scram_digest(hash, buf_str(&list), buf_len(&list), digest);
    gr_base64_encode(out, digest, scram_hash_size(hash));
    buf_fini(&list);
}
