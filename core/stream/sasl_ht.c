/* stream/sasl_ht.c: HT-SHA-256-*: who is it that knows this token? One message each way (XEP-0484;
 * draft-schmaus-kitten-sasl-ht-09).
 *
 *     message = authcid NUL HMAC-SHA-256(token, "Initiator" || cb-data)
 *     answer  =             HMAC-SHA-256(token, "Responder" || cb-data)
 *
 * The channel is bound to by the name of the mechanism, not by what the client says. Which tokens
 * there are is not known here. */
#include "stream/sasl.h"

#include <string.h>

#define PROOF_SIZE 32

struct ht {
    uint8_t proof[PROOF_SIZE];
};

static const struct scram_binding *binding_of(const struct sasl_mech *mech,
                                              const struct sasl_props *props)
{
    for (size_t i = 0; mech->binding != NULL && i < props->n_bindings; i++) {
        if (strcmp(props->bindings[i].type, mech->binding) == 0)
            return &props->bindings[i];
    }
    return NULL;
}

/* XEP-0484, 6: only over a secure connection, for what is sent could be used again. */
static enum sasl_condition usable(const struct sasl_mech *mech, const struct sasl_props *props)
{
    if (!props->can_check_tokens)
        return SASL_INVALID_MECHANISM;
    if (!props->secure && !props->allow_plain_unencrypted)
        return SASL_ENCRYPTION_REQUIRED;
    if (mech->binding == NULL)
        return props->require_binding ? SASL_MECHANISM_TOO_WEAK : SASL_NONE;
    if (strcmp(mech->binding, "tls-unique") == 0 && !props->unique_is_safe)
        return SASL_INVALID_MECHANISM;
    return binding_of(mech, props) != NULL ? SASL_NONE : SASL_INVALID_MECHANISM;
}

static enum sasl_step begin(struct sasl *s, const char *data, size_t len)
{
    const char *end = len > 0 ? memchr(data, '\0', len) : NULL;
    size_t name_len = end != NULL ? (size_t)(end - data) : 0;

    if (name_len == 0 || len - name_len - 1 != PROOF_SIZE || !scram_is_text(data, name_len))
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "not a name and a hash");
    if (!sasl_set_username(s, data, name_len))
        return sasl_fail(s, SASL_NOT_AUTHORIZED, "cannot be an account name");
    memcpy(((struct ht *)sasl_state(s))->proof, end + 1, PROOF_SIZE);
    return sasl_need_token(s);
}

static enum sasl_step token_checked(struct sasl *s, bool ok, const void *answer, size_t len)
{
    return ok ? sasl_succeed(s, answer, len) : sasl_fail(s, SASL_NOT_AUTHORIZED, "wrong token");
}

const uint8_t *sasl_token(struct sasl *s, size_t *len, struct scram_binding *binding)
{
    const struct ht *ht = sasl_state(s);
    const struct scram_binding *b = binding_of(sasl_mech(s), sasl_props(s));

    *binding = b != NULL ? *b : (struct scram_binding){ "", "", 0 };
    *len = PROOF_SIZE;
    return ht->proof;
}

#define HT_MECH(var, text, rank, type)                                                             \
    const struct sasl_mech var = {                                                                 \
        .name = text, .preference = rank, .client_first = true, .token = true, .binding = type,    \
        .state_size = sizeof(struct ht), .usable = usable, .begin = begin,                         \
        .token_checked = token_checked                                                             \
    }

HT_MECH(sasl_ht_sha256_expr, "HT-SHA-256-EXPR", 9, "tls-exporter");
HT_MECH(sasl_ht_sha256_uniq, "HT-SHA-256-UNIQ", 8, "tls-unique");
HT_MECH(sasl_ht_sha256_endp, "HT-SHA-256-ENDP", 7, "tls-server-end-point");
HT_MECH(sasl_ht_sha256_none, "HT-SHA-256-NONE", 6, NULL);
