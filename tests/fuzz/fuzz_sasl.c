/* tests/fuzz/fuzz_sasl.c: SASL server, SCRAM client and stored records against arbitrary bytes.
 *
 * Byte 0: mechanism (low 3 bits), character data or decoded (bit 3), TLS (bit 4), what else to feed
 * (bits 5-7). Then messages, separated by newlines. In a message `%R` becomes the server's nonce,
 * `%C` the c= that belongs to the first message, `%P` a proof by somebody who knows the password
 * ("pencil", user "romeo"), `%Q` the same with another password, `%0` a NUL.
 * Property: success only after %P for romeo, or PLAIN with his password. */
#include "fuzz.h"

#include "stream/sasl.h"
#include "stream/scram_client.h"

static const uint32_t counts[SCRAM_HASHES] = { 4096, 4096, 4096 };
static const struct scram_binding bindings[] = { { "tls-exporter", "EXPORTED", 8 } };
static const char *const names[8] = {
    "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-512-PLUS", "PLAIN", "X-OTHER",
};

/* Per hash: keys of the right and of a wrong password under romeo's salt. */
static struct creds romeo;
static uint8_t client_key[2][SCRAM_HASHES][CREDS_KEY_MAX];
static uint8_t stored_key[2][SCRAM_HASHES][CREDS_KEY_MAX];
static struct scram_cache cache;

static void prepare(void)
{
    static const char *const passwords[2] = { "pencil", "wrong" };
    static bool done;
    uint8_t salted[CREDS_KEY_MAX];

    if (done)
        return;
    done = true;
    for (int h = 0; h < SCRAM_HASHES; h++) {
        enum scram_hash hash = (enum scram_hash)h;

        gr_assert(creds_make_key("pencil", 6, hash, "0123456789abcdef", 16, 4096,
                                 &romeo.keys[h]) == 0);
        for (int w = 0; w < 2; w++) {
            scram_salted_password(hash, passwords[w], strlen(passwords[w]), "0123456789abcdef", 16,
                                  4096, salted);
            scram_hmac(hash, salted, scram_hash_size(hash), "Client Key", 10, client_key[w][h]);
            scram_digest(hash, client_key[w][h], scram_hash_size(hash), stored_key[w][h]);
        }
    }
}

struct run {
    struct sasl *s;
    unsigned mech;
    bool text, proved, checked;
    struct buf first, challenge; /* the client's first message; the server's */
};

static enum scram_hash hash_of(const struct run *r)
{
    return (enum scram_hash)(r->mech % 3);
}

/* What comes before client-first-message-bare: up to the second comma. */
static size_t gs2_len(const struct run *r)
{
    const char *p = buf_data(&r->first), *end = p + buf_len(&r->first);
    int commas = 0;

    while (p < end && commas < 2) {
        if (*p++ == ',')
            commas++;
    }
    return (size_t)(p - buf_data(&r->first));
}

static void put_proof(const struct run *r, int who, struct buf *msg)
{
    uint8_t sig[CREDS_KEY_MAX];
    enum scram_hash hash = hash_of(r);
    size_t size = scram_hash_size(hash), gs2 = gs2_len(r);
    struct buf auth = { 0 };

    buf_append(&auth, buf_data(&r->first) + gs2, buf_len(&r->first) - gs2);
    buf_puts(&auth, ",");
    buf_append(&auth, buf_data(&r->challenge), buf_len(&r->challenge));
    buf_puts(&auth, ",");
    buf_append(&auth, buf_data(msg), buf_len(msg));
    scram_hmac(hash, stored_key[who][hash], size, buf_data(&auth), buf_len(&auth), sig);
    for (size_t i = 0; i < size; i++)
        sig[i] ^= client_key[who][hash][i];
    scram_put_base64(msg, ",p", sig, size);
    buf_fini(&auth);
}

static void put_binding(const struct run *r, struct buf *msg)
{
    struct buf c = { 0 };

    buf_append(&c, buf_data(&r->first), gs2_len(r));
    if (r->mech >= 3)
        buf_append(&c, bindings[0].data, bindings[0].len);
    scram_put_base64(msg, "c", buf_data(&c), buf_len(&c));
    buf_fini(&c);
}

static void expand(struct run *r, const char *p, size_t len, struct buf *msg)
{
    bool answered = buf_len(&r->challenge) > 2 && buf_len(&r->first) > 0 && r->mech < 6;

    buf_reserve(msg, 1);
    for (const char *end = p + len; p < end; p++) {
        char what = *p == '%' && end - p > 1 ? p[1] : 0;

        if (what == '0') {
            buf_append(msg, "", 1);
        } else if (what == 'R' && answered) {
            const char *nonce = buf_data(&r->challenge) + 2;
            const char *comma = memchr(nonce, ',', buf_len(&r->challenge) - 2);

            buf_append(msg, nonce, comma != NULL ? (size_t)(comma - nonce) : 0);
        } else if (what == 'C' && answered) {
            put_binding(r, msg);
        } else if ((what == 'P' || what == 'Q') && answered) {
            put_proof(r, what == 'Q', msg);
            r->proved |= what == 'P';
        } else {
            buf_append(msg, p, 1);
            continue;
        }
        p++;
    }
}

static enum sasl_step settle(struct run *r, enum sasl_step step)
{
    size_t len;

    if (step == SASL_NEED_CREDS) {
        const char *user = sasl_username(r->s);

        gr_assert(user[0] != '\0');
        step = sasl_creds(r->s, sasl_ticket(r->s), strcmp(user, "romeo") == 0 ? &romeo : NULL);
        gr_assert(step == SASL_CHALLENGE);
    }
    if (step == SASL_NEED_CHECK) {
        const char *password = sasl_password(r->s, &len);

        r->checked = strcmp(sasl_username(r->s), "romeo") == 0 && len == 6 &&
                     memcmp(password, "pencil", 6) == 0;
        step = sasl_checked(r->s, sasl_ticket(r->s), r->checked);
    }
    if (step == SASL_CHALLENGE) {
        const char *out = sasl_out(r->s, &len);

        buf_fini(&r->challenge);
        buf_append(&r->challenge, out, len);
    }
    return step;
}

static enum sasl_step feed(struct run *r, const char *p, size_t len, bool start)
{
    struct buf msg = { 0 }, text = { 0 };
    enum sasl_step step;
    bool first = start || (buf_len(&r->first) == 0 && r->mech < 6);

    expand(r, p, len, &msg);
    if (first) {
        buf_fini(&r->first);
        buf_append(&r->first, buf_data(&msg), buf_len(&msg));
    }
    if (r->text)
        buf_append(&text, p, len); /* raw: for the decoder */
    else
        sasl_encode_text(&text, buf_data(&msg), buf_len(&msg));
    buf_reserve(&text, 1);
    if (start)
        step = sasl_start_text(r->s, names[r->mech], buf_data(&text), buf_len(&text));
    else
        step = sasl_respond_text(r->s, buf_data(&text), buf_len(&text));
    buf_fini(&msg);
    buf_fini(&text);
    return settle(r, step);
}

static void check(const struct run *r, enum sasl_step step)
{
    if (step == SASL_FAILURE) {
        gr_assert(sasl_condition(r->s) != SASL_NONE && sasl_reason(r->s)[0] != '\0');
    } else if (step == SASL_SUCCESS) {
        gr_assert(strcmp(sasl_username(r->s), "romeo") == 0);
        gr_assert(sasl_authzid(r->s)[0] == '\0' ||
                  strcmp(sasl_authzid(r->s), "romeo@example.org") == 0);
        gr_assert(r->mech == 6 ? r->checked : r->mech < 6 && r->proved);
    } else {
        gr_assert(step == SASL_CHALLENGE);
    }
}

static void fuzz_server(uint8_t how, const char *p, size_t len)
{
    struct sasl_props props = {
        .host = "example.org", .secure = (how & 16) != 0, .can_check = true,
        .hashes = SCRAM_ALL_HASHES, .bindings = bindings, .n_bindings = (how & 16) != 0,
        .protect_lists = (how & 32) != 0, .http_identity = (how & 32) != 0,
        .secret = "0123456789abcdef", .secret_len = 16, .iterations = counts,
    };
    struct run r = { .s = sasl_new(&props), .mech = how & 7, .text = (how & 8) != 0 };
    bool start = true;

    for (const char *end = p + len; p < end;) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((line != NULL ? line : end) - p);

        check(&r, feed(&r, p, n, start));
        start = false;
        p += n + (line != NULL ? 1 : 0);
    }
    gr_assert(sasl_abort(r.s) == SASL_FAILURE);
    buf_fini(&r.first);
    buf_fini(&r.challenge);
    sasl_free(&r.s);
}

/* A record is refused or comes out as it went in. */
static void fuzz_record(const uint8_t *p, size_t len)
{
    uint8_t back[CREDS_ENCODED_MAX];
    struct creds c;

    if (creds_decode(p, len, &c) < 0)
        return;
    fuzz_same(back, creds_encode(&c, back, sizeof(back)), p, len);
}

/* The client against a server that says anything: never a verified server without the keys. */
static void fuzz_client(const char *p, size_t len)
{
    struct scram_client_conf conf = { .hash = SCRAM_SHA256, .username = "romeo",
                                      .password = "pencil", .flag = 'y', .nonce = "abc",
                                      .cache = &cache };
    const char *line = memchr(p, '\n', len);
    struct scram_client c = { 0 };
    struct buf out = { 0 };
    size_t n = line != NULL ? (size_t)(line - p) : len;

    scram_client_first(&c, &conf, &out);
    if (scram_client_final(&c, p, n, &out) == 0 && line != NULL)
        gr_assert(scram_client_verify(&c, line + 1, len - n - 1) < 0);
    buf_fini(&out);
    scram_client_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    prepare();
    switch (data[0] >> 6) {
    case 3:
        fuzz_record(data + 1, size - 1);
        break;
    case 2:
        /* An expensive count is not what this looks for. */
        if (memmem(data, size, "i=", 2) == NULL || memmem(data, size, "i=4096", 6) != NULL)
            fuzz_client((const char *)data + 1, size - 1);
        break;
    default:
        fuzz_server(data[0], (const char *)data + 1, size - 1);
    }
    return 0;
}
