/* stream/sasl_mech.c: the built-in mechanisms: SCRAM in six names, PLAIN.
 *
 * Translates between struct sasl and the mechanisms' own rules: RFC 5802 and RFC 7677 (scram.c),
 * RFC 4616 (here). Unknown users, and names that cannot be one, take the same path as others. */
#include "stream/sasl.h"

#include <string.h>

/* --- SCRAM ------------------------------------------------------------------------------------ */

static enum sasl_condition scram_usable(const struct sasl_mech *mech,
                                        const struct sasl_props *props)
{
    if ((props->hashes & SCRAM_BIT(mech->hash)) == 0)
        return SASL_INVALID_MECHANISM;
    if (mech->plus)
        return props->n_bindings > 0 ? SASL_NONE : SASL_INVALID_MECHANISM;
    /* RFC 5802, 6: advertise only -PLUS where the bare name would never succeed. */
    return props->require_binding ? SASL_MECHANISM_TOO_WEAK : SASL_NONE;
}

static enum sasl_step scram_failed(struct sasl *s, enum scram_result rc)
{
    struct scram *scram = sasl_state(s);
    const char *reason = scram->reason;

    if (rc == SCRAM_MALFORMED)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, reason);
    return sasl_fail(s, SASL_NOT_AUTHORIZED, reason);
}

/* XEP-0474, 6.1: over exactly what sasl_mechanisms and props->bindings had us advertise. */
static void list_hash(const struct sasl_props *props, enum scram_hash hash, char *out)
{
    const char *names[SASL_MECHS_MAX], *types[SCRAM_LIST_MAX];
    size_t n = sasl_mechanisms(props, names);
    bool binding = sasl_offers_binding(props);

    gr_assert(props->n_offered <= props->n_bindings && props->n_bindings <= GR_COUNT(types));
    for (size_t i = 0; i < props->n_offered; i++)
        types[i] = props->bindings[i].type;
    scram_list_hash(hash, names, n, binding ? types : NULL, props->n_offered, out);
}

static enum sasl_step scram_got_creds(struct sasl *s, const struct creds *creds)
{
    const struct sasl_props *props = sasl_props(s);
    const uint32_t *counts = props->iterations != NULL ? props->iterations : creds_iterations;
    struct scram *scram = sasl_state(s);
    enum scram_hash hash = scram->hash;
    const char *user = sasl_username(s)[0] != '\0' ? sasl_username(s) : scram->username;
    char lists[SCRAM_LIST_HASH_SIZE];
    struct buf out = { 0 };
    enum sasl_step step;
    struct creds_key key;
    bool decoy;

    /* Made for everybody, so that it costs the same for everybody. An account without keys for
     * this hash is treated as none, or the answer would tell that it exists. */
    creds_decoy_key(props->secret, props->secret_len, user, props->host, hash, counts[hash], &key);
    decoy = creds == NULL || creds->decoy || creds->keys[hash].salt_len == 0;
    if (!decoy)
        key = creds->keys[hash];
    if (props->protect_lists)
        list_hash(props, hash, lists);
    scram_challenge(scram, &key, decoy, NULL, props->protect_lists ? lists : NULL, &out);
    gr_wipe(&key, sizeof(key));
    step = sasl_challenge(s, buf_data(&out), buf_len(&out));
    buf_fini(&out);
    return step;
}

static enum sasl_step scram_begin(struct sasl *s, const char *data, size_t len)
{
    const struct sasl_props *props = sasl_props(s);
    struct scram *scram = sasl_state(s);
    struct scram_offer offer = {
        .plus = sasl_mech(s)->plus,
        .plus_offered = sasl_offers_binding(props),
        .bindings = props->bindings,
        .n_bindings = props->n_bindings,
    };
    enum scram_result rc;
    bool named;

    scram->hash = sasl_mech(s)->hash;
    rc = scram_first(scram, &offer, data, len);
    if (rc != SCRAM_OK)
        return scram_failed(s, rc);
    named = sasl_set_username(s, scram->username, strlen(scram->username));
    if (scram->authzid != NULL && !sasl_set_authzid(s, scram->authzid, strlen(scram->authzid)))
        return sasl_fail(s, SASL_INVALID_AUTHZID, "authzid is not the user's own");
    return named ? sasl_need_creds(s) : scram_got_creds(s, NULL);
}

static enum sasl_step scram_respond(struct sasl *s, const char *data, size_t len)
{
    struct scram *scram = sasl_state(s);
    struct buf out = { 0 };
    enum scram_result rc = scram_final(scram, data, len, &out);
    enum sasl_step step;

    if (rc != SCRAM_OK)
        step = scram_failed(s, rc);
    else
        step = sasl_succeed(s, buf_data(&out), buf_len(&out));
    buf_fini(&out);
    return step;
}

static void scram_end(struct sasl *s)
{
    scram_fini(sasl_state(s));
}

#define SCRAM_MECH(var, text, rank, bound, which)                                                  \
    static const struct sasl_mech var = {                                                          \
        .name = text, .preference = rank, .client_first = true, .plus = bound, .hash = which,      \
        .state_size = sizeof(struct scram), .usable = scram_usable, .begin = scram_begin,          \
        .respond = scram_respond, .creds = scram_got_creds, .fini = scram_end                      \
    }

SCRAM_MECH(scram_sha512_plus, "SCRAM-SHA-512-PLUS", 90, true, SCRAM_SHA512);
SCRAM_MECH(scram_sha256_plus, "SCRAM-SHA-256-PLUS", 80, true, SCRAM_SHA256);
SCRAM_MECH(scram_sha1_plus, "SCRAM-SHA-1-PLUS", 70, true, SCRAM_SHA1);
SCRAM_MECH(scram_sha512, "SCRAM-SHA-512", 60, false, SCRAM_SHA512);
SCRAM_MECH(scram_sha256, "SCRAM-SHA-256", 50, false, SCRAM_SHA256);
SCRAM_MECH(scram_sha1, "SCRAM-SHA-1", 40, false, SCRAM_SHA1);

/* --- PLAIN (RFC 4616) ------------------------------------------------------------------------- */

static enum sasl_condition plain_usable(const struct sasl_mech *mech,
                                        const struct sasl_props *props)
{
    (void)mech;
    if (!props->can_check)
        return SASL_INVALID_MECHANISM;
    if (!props->secure && !props->allow_plain_unencrypted)
        return SASL_ENCRYPTION_REQUIRED;
    return props->require_binding ? SASL_MECHANISM_TOO_WEAK : SASL_NONE;
}

/* message = [authzid] NUL authcid NUL passwd. An empty password is left to the provider where the
 * transport brought a web session, and is nobody's otherwise. */
static enum sasl_step plain_begin(struct sasl *s, const char *data, size_t len)
{
    const char *end = data + len, *authcid, *password;
    size_t authzid_len, authcid_len, password_len;

    authcid = len > 0 ? memchr(data, '\0', len) : NULL;
    if (authcid == NULL)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "not three fields");
    authzid_len = (size_t)(authcid - data);
    authcid++;
    password = authcid < end ? memchr(authcid, '\0', (size_t)(end - authcid)) : NULL;
    if (password == NULL)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "not three fields");
    authcid_len = (size_t)(password - authcid);
    password++;
    password_len = (size_t)(end - password);
    if (authcid_len == 0 || !scram_is_text(data, authzid_len) ||
        !scram_is_text(authcid, authcid_len) || !scram_is_text(password, password_len))
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "not three fields of text");

    if (!sasl_set_username(s, authcid, authcid_len)) {
        if (authzid_len > 0)
            return sasl_fail(s, SASL_INVALID_AUTHZID, "authzid is not the user's own");
        return sasl_fail(s, SASL_NOT_AUTHORIZED, "cannot be an account name");
    }
    if (!sasl_set_authzid(s, data, authzid_len))
        return sasl_fail(s, SASL_INVALID_AUTHZID, "authzid is not the user's own");
    if (password_len == 0 && !sasl_props(s)->http_identity)
        return sasl_fail(s, SASL_NOT_AUTHORIZED, "empty password");
    return sasl_need_check(s, password, password_len);
}

static enum sasl_step plain_checked(struct sasl *s, bool ok)
{
    return ok ? sasl_succeed(s, NULL, 0) : sasl_fail(s, SASL_NOT_AUTHORIZED, "wrong password");
}

static const struct sasl_mech plain = {
    .name = "PLAIN", .preference = 10, .client_first = true, .usable = plain_usable,
    .begin = plain_begin, .checked = plain_checked,
};

const struct sasl_mech *const sasl_builtin[] = {
    &scram_sha512_plus, &scram_sha256_plus, &scram_sha1_plus, &scram_sha512, &scram_sha256,
    &scram_sha1, &plain, &sasl_ht_sha256_expr, &sasl_ht_sha256_endp, &sasl_ht_sha256_uniq,
    &sasl_ht_sha256_none, &sasl_x_oauth,
};
const size_t sasl_n_builtin = GR_COUNT(sasl_builtin);
