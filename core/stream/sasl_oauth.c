/* stream/sasl_oauth.c: X-OAUTH: the client shows a token, which says itself whose it is. One message:
 *
 *     message = type NUL bare JID NUL rest
 *     answer  = nothing, or another token
 *
 * What types there are, and which tokens are good, is not known here. */
#include "stream/sasl.h"

#include <string.h>

struct shown {
    char *token;
    size_t len;
};

/* What is sent could be used again by whoever reads it, as with PLAIN. */
static enum sasl_condition usable(const struct sasl_mech *mech, const struct sasl_props *props)
{
    (void)mech;
    if (!props->can_check_oauth)
        return SASL_INVALID_MECHANISM;
    if (!props->secure && !props->allow_plain_unencrypted)
        return SASL_ENCRYPTION_REQUIRED;
    return props->require_binding ? SASL_MECHANISM_TOO_WEAK : SASL_NONE;
}

static enum sasl_step begin(struct sasl *s, const char *data, size_t len)
{
    const char *end = data + len, *jid = len > 0 ? memchr(data, '\0', len) : NULL, *jid_end, *at;
    struct shown *shown = sasl_state(s);

    if (jid == NULL || ++jid == end || (jid_end = memchr(jid, '\0', (size_t)(end - jid))) == NULL)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "not a token");
    at = memchr(jid, '@', (size_t)(jid_end - jid));
    if (at == NULL || !scram_is_text(jid, (size_t)(jid_end - jid)))
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "not the token of an account");
    if (!sasl_set_username(s, jid, (size_t)(at - jid)) ||
        !sasl_set_authzid(s, jid, (size_t)(jid_end - jid)))
        return sasl_fail(s, SASL_NOT_AUTHORIZED, "not the token of an account here");
    shown->token = gr_alloc(len);
    memcpy(shown->token, data, len);
    shown->len = len;
    return sasl_need_token(s);
}

static enum sasl_step token_checked(struct sasl *s, bool ok, const void *answer, size_t len)
{
    return ok ? sasl_succeed(s, answer, len) : sasl_fail(s, SASL_NOT_AUTHORIZED, "wrong token");
}

const void *sasl_shown_token(struct sasl *s, size_t *len)
{
    const struct shown *shown = sasl_mech(s) == &sasl_x_oauth ? sasl_state(s) : NULL;

    *len = shown != NULL ? shown->len : 0;
    return shown != NULL ? shown->token : NULL;
}

static void fini(struct sasl *s)
{
    struct shown *shown = sasl_state(s);

    if (shown->token != NULL)
        gr_wipe(shown->token, shown->len);
    gr_free(shown->token);
}

const struct sasl_mech sasl_x_oauth = {
    .name = "X-OAUTH", .preference = 5, .client_first = true, .state_size = sizeof(struct shown),
    .usable = usable, .begin = begin, .token_checked = token_checked, .fini = fini,
};
