/* stream/sasl.c: one SASL negotiation on the server: offers, state, limits, secrets.
 *
 * RFC 6120, 6 (profile), RFC 4422; the mechanisms are in sasl_mech.c and behind struct sasl_mech.
 * Every way to fail goes through sasl_fail, which ends the exchange and wipes it. */
#include "stream/sasl.h"

#include <string.h>

#include "xml/prep.h"

enum wait {
    WAIT_START,   /* no exchange                           */
    WAIT_FIRST,   /* empty challenge sent: message 1 is due */
    WAIT_RESPONSE,
    WAIT_CREDS,
    WAIT_CHECK,
    WAIT_TOKEN,
    WAIT_NOTHING  /* succeeded */
};

struct sasl {
    const struct sasl_props *props;
    const struct sasl_mech *mech;
    void *state;
    enum wait wait;
    bool has_out;
    enum sasl_condition condition;
    unsigned ticket, failures;
    const char *reason;
    char *username, *authzid, *password;
    size_t password_len;
    struct buf out;
};

const char *sasl_condition_name(enum sasl_condition condition)
{
    static const char *const names[] = {
        [SASL_NONE] = "",
        [SASL_ABORTED] = "aborted",
        [SASL_ACCOUNT_DISABLED] = "account-disabled",
        [SASL_CREDENTIALS_EXPIRED] = "credentials-expired",
        [SASL_ENCRYPTION_REQUIRED] = "encryption-required",
        [SASL_INCORRECT_ENCODING] = "incorrect-encoding",
        [SASL_INVALID_AUTHZID] = "invalid-authzid",
        [SASL_INVALID_MECHANISM] = "invalid-mechanism",
        [SASL_MALFORMED_REQUEST] = "malformed-request",
        [SASL_MECHANISM_TOO_WEAK] = "mechanism-too-weak",
        [SASL_NOT_AUTHORIZED] = "not-authorized",
        [SASL_TEMPORARY_AUTH_FAILURE] = "temporary-auth-failure",
    };

    gr_assert((size_t)condition < GR_COUNT(names));
    return names[condition];
}

/* --- what is offered -------------------------------------------------------------------------- */

static enum sasl_condition usable(const struct sasl_mech *mech, const struct sasl_props *props)
{
    for (size_t i = 0; i < props->n_disabled; i++) {
        if (strcmp(props->disabled[i], mech->name) == 0)
            return SASL_INVALID_MECHANISM;
    }
    if (props->encryption_required && !props->secure)
        return SASL_ENCRYPTION_REQUIRED;
    return mech->usable(mech, props);
}

static const struct sasl_mech *nth(const struct sasl_props *props, size_t i)
{
    return i < sasl_n_builtin ? sasl_builtin[i] : props->extra[i - sasl_n_builtin];
}

static size_t n_known(const struct sasl_props *props)
{
    return sasl_n_builtin + props->n_extra;
}

static size_t list(const struct sasl_props *props, bool token, const char **names)
{
    const struct sasl_mech *sorted[SASL_MECHS_MAX];
    size_t n = 0, at;

    gr_assert(n_known(props) <= SASL_MECHS_MAX);
    for (size_t i = 0; i < n_known(props); i++) {
        const struct sasl_mech *mech = nth(props, i);

        if (mech->token != token || usable(mech, props) != SASL_NONE)
            continue;
        for (at = n++; at > 0 && sorted[at - 1]->preference < mech->preference; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = mech;
    }
    for (size_t i = 0; i < n; i++)
        names[i] = sorted[i]->name;
    return n;
}

size_t sasl_mechanisms(const struct sasl_props *props, const char **names)
{
    return list(props, false, names);
}

size_t sasl_token_mechanisms(const struct sasl_props *props, const char **names)
{
    return list(props, true, names);
}

bool sasl_offers_binding(const struct sasl_props *props)
{
    for (size_t i = 0; i < n_known(props); i++) {
        const struct sasl_mech *mech = nth(props, i);

        if (mech->plus && usable(mech, props) == SASL_NONE)
            return true;
    }
    return false;
}

/* --- the exchange ----------------------------------------------------------------------------- */

struct sasl *sasl_new(const struct sasl_props *props)
{
    struct sasl *s = gr_alloc(sizeof(*s));

    gr_assert(props->host != NULL && props->secret_len >= CREDS_SECRET_MIN);
    s->props = props;
    s->reason = "";
    return s;
}

static void drop_password(struct sasl *s)
{
    if (s->password != NULL)
        gr_wipe(s->password, s->password_len);
    gr_free(s->password);
    s->password = NULL;
    s->password_len = 0;
}

static void drop_out(struct sasl *s)
{
    if (s->out.mem != NULL)
        gr_wipe(s->out.mem, s->out.cap);
    buf_fini(&s->out);
    s->has_out = false;
}

/* The mechanism's state and the secrets; who it was about stays, for the log. */
static void end_exchange(struct sasl *s)
{
    if (s->state != NULL) {
        if (s->mech->fini != NULL) /* NOLINT: state comes with a mechanism */
            s->mech->fini(s);
        gr_wipe(s->state, s->mech->state_size);
        gr_free(s->state);
        s->state = NULL;
    }
    drop_password(s);
    s->ticket++;
}

static void forget(struct sasl *s)
{
    end_exchange(s);
    drop_out(s);
    gr_free(s->username);
    gr_free(s->authzid);
    s->username = s->authzid = NULL;
    s->mech = NULL;
    s->wait = WAIT_START;
    s->condition = SASL_NONE;
    s->reason = "";
}

void sasl_free(struct sasl **take)
{
    if (*take == NULL)
        return;
    forget(*take);
    gr_free(*take);
    *take = NULL;
}

static enum sasl_step begin(struct sasl *s, const char *data, size_t len)
{
    if (len > SASL_MESSAGE_MAX)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "message too long");
    s->wait = WAIT_RESPONSE;
    return s->mech->begin(s, data, len);
}

static enum sasl_step start(struct sasl *s, const char *name, const void *data, size_t len,
                            bool token)
{
    const struct sasl_mech *mech = NULL;
    enum sasl_condition condition;

    forget(s);
    for (size_t i = 0; i < n_known(s->props) && mech == NULL && name != NULL; i++) {
        if (strcmp(nth(s->props, i)->name, name) == 0)
            mech = nth(s->props, i);
    }
    if (mech == NULL || (mech->token && !token))
        return sasl_fail(s, SASL_INVALID_MECHANISM, "no such mechanism");
    s->mech = mech;
    condition = usable(mech, s->props);
    if (condition != SASL_NONE)
        return sasl_fail(s, condition, "mechanism not offered");
    if (mech->state_size > 0)
        s->state = gr_alloc(mech->state_size);
    if (!mech->client_first) {
        if (data != NULL)
            return sasl_fail(s, SASL_MALFORMED_REQUEST, "unwanted initial response");
        return begin(s, NULL, 0);
    }
    if (data != NULL)
        return begin(s, data, len);
    s->wait = WAIT_FIRST; /* RFC 6120, 6.3.10: the less efficient mode */
    return SASL_CHALLENGE;
}

enum sasl_step sasl_start(struct sasl *s, const char *name, const void *data, size_t len)
{
    return start(s, name, data, len, false);
}

enum sasl_step sasl_respond(struct sasl *s, const void *data, size_t len)
{
    drop_out(s);
    if (data == NULL)
        data = "";
    if (s->wait == WAIT_FIRST)
        return begin(s, data, len);
    if (s->wait != WAIT_RESPONSE || s->mech->respond == NULL)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "response out of turn");
    if (len > SASL_MESSAGE_MAX)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "message too long");
    return s->mech->respond(s, data, len);
}

enum sasl_step sasl_abort(struct sasl *s)
{
    return sasl_fail(s, SASL_ABORTED, "aborted by the client");
}

unsigned sasl_ticket(const struct sasl *s)
{
    return s->ticket;
}

enum sasl_step sasl_creds(struct sasl *s, unsigned ticket, const struct creds *creds)
{
    if (ticket != s->ticket || s->wait != WAIT_CREDS)
        return SASL_STALE;
    s->ticket++;
    s->wait = WAIT_RESPONSE;
    return s->mech->creds(s, creds);
}

enum sasl_step sasl_checked(struct sasl *s, unsigned ticket, bool ok)
{
    if (ticket != s->ticket || s->wait != WAIT_CHECK)
        return SASL_STALE;
    s->ticket++;
    drop_password(s);
    return s->mech->checked(s, ok);
}

enum sasl_step sasl_token_checked(struct sasl *s, unsigned ticket, bool ok, const void *answer,
                                  size_t len)
{
    if (ticket != s->ticket || s->wait != WAIT_TOKEN)
        return SASL_STALE;
    s->ticket++;
    return s->mech->token_checked(s, ok, answer, len);
}

enum sasl_step sasl_refuse(struct sasl *s, unsigned ticket, enum sasl_condition condition)
{
    gr_assert(condition != SASL_NONE);
    if (ticket != s->ticket || s->wait == WAIT_START)
        return SASL_STALE;
    return sasl_fail(s, condition, "refused by the provider");
}

/* --- for mechanisms --------------------------------------------------------------------------- */

const struct sasl_mech *sasl_mech(const struct sasl *s)
{
    return s->mech;
}

const struct sasl_props *sasl_props(const struct sasl *s)
{
    return s->props;
}

void *sasl_state(struct sasl *s)
{
    return s->state;
}

static void set_out(struct sasl *s, const void *data, size_t len)
{
    drop_out(s);
    s->has_out = data != NULL;
    if (data != NULL)
        buf_append(&s->out, data, len);
}

enum sasl_step sasl_challenge(struct sasl *s, const void *data, size_t len)
{
    set_out(s, data, len);
    s->wait = WAIT_RESPONSE;
    return SASL_CHALLENGE;
}

enum sasl_step sasl_need_creds(struct sasl *s)
{
    gr_assert(s->username != NULL && s->mech->creds != NULL);
    s->wait = WAIT_CREDS;
    s->ticket++;
    return SASL_NEED_CREDS;
}

enum sasl_step sasl_need_check(struct sasl *s, const char *password, size_t len)
{
    gr_assert(s->username != NULL && s->mech->checked != NULL);
    drop_password(s);
    s->password = gr_strndup(password, len);
    s->password_len = len;
    s->wait = WAIT_CHECK;
    s->ticket++;
    return SASL_NEED_CHECK;
}

enum sasl_step sasl_need_token(struct sasl *s)
{
    gr_assert(s->username != NULL && s->mech->token_checked != NULL);
    s->wait = WAIT_TOKEN;
    s->ticket++;
    return SASL_NEED_TOKEN;
}

enum sasl_step sasl_succeed(struct sasl *s, const void *data, size_t len)
{
    gr_assert(s->username != NULL);
    set_out(s, data, len);
    end_exchange(s);
    s->wait = WAIT_NOTHING;
    s->reason = "";
    return SASL_SUCCESS;
}

enum sasl_step sasl_fail(struct sasl *s, enum sasl_condition condition, const char *reason)
{
    end_exchange(s);
    drop_out(s);
    s->wait = WAIT_START;
    s->condition = condition;
    s->reason = reason;
    s->failures++;
    return SASL_FAILURE;
}

bool sasl_set_username(struct sasl *s, const char *name, size_t len)
{
    char prepared[PREP_SIZE];
    int n = prep_node(name, len, prepared, sizeof(prepared));

    gr_assert(s->username == NULL);
    if (n <= 0)
        return false;
    s->username = gr_strndup(prepared, (size_t)n);
    return true;
}

/* RFC 6120, 6.3.8: a bare JID; ours to allow is only the user's own. */
bool sasl_set_authzid(struct sasl *s, const char *authzid, size_t len)
{
    char prepared[PREP_SIZE];
    char own[GR_JID_PART_MAX + 1];
    const char *at, *name = s->username;
    int n;

    if (len == 0)
        return true;
    at = memchr(authzid, '@', len);
    if (at == NULL || name == NULL)
        return false;
    if (s->props->name_of != NULL && s->props->name_of(s->props->host, name, own) == 0)
        name = own;
    n = prep_node(authzid, (size_t)(at - authzid), prepared, sizeof(prepared));
    if (n <= 0 || strcmp(prepared, name) != 0)
        return false;
    at++;
    n = prep_domain(at, (size_t)(authzid + len - at), prepared, sizeof(prepared));
    if (n <= 0 || strcmp(prepared, s->props->host) != 0)
        return false;
    s->authzid = gr_asprintf("%s@%s", name, s->props->host);
    return true;
}

/* --- what the stream reads -------------------------------------------------------------------- */

const char *sasl_mech_name(const struct sasl *s)
{
    return s->mech != NULL ? s->mech->name : "";
}

const char *sasl_username(const struct sasl *s)
{
    return s->username != NULL ? s->username : "";
}

const char *sasl_authzid(const struct sasl *s)
{
    return s->authzid != NULL ? s->authzid : "";
}

const char *sasl_password(const struct sasl *s, size_t *len)
{
    if (len != NULL)
        *len = s->password_len;
    return s->password != NULL ? s->password : "";
}

const char *sasl_out(const struct sasl *s, size_t *len)
{
    *len = buf_len(&s->out);
    if (!s->has_out)
        return NULL;
    return *len > 0 ? buf_data(&s->out) : "";
}

enum sasl_condition sasl_condition(const struct sasl *s)
{
    return s->condition;
}

const char *sasl_reason(const struct sasl *s)
{
    return s->reason;
}

unsigned sasl_failures(const struct sasl *s)
{
    return s->failures;
}

/* --- character data (RFC 6120, 6.3.5, 6.4.2) -------------------------------------------------- */

static int decode(const char *text, size_t len, void *out)
{
    int n;

    if (len > 4 * ((SASL_MESSAGE_MAX + 2) / 3))
        return GR_ELIMIT;
    n = gr_base64_decode(out, text, len);
    if (n < 0)
        return GR_EINVAL;
    return n > SASL_MESSAGE_MAX ? GR_ELIMIT : n;
}

int sasl_decode_text(const char *text, size_t len, void *out)
{
    return len == 1 && text[0] == '=' ? 0 : decode(text, len, out);
}

void sasl_encode_text(struct buf *out, const void *data, size_t len)
{
    size_t n;

    if (data == NULL)
        return;
    if (len == 0) {
        buf_puts(out, "=");
        return;
    }
    n = gr_base64_encode(buf_reserve(out, 4 * ((len + 2) / 3) + 1), data, len);
    buf_produced(out, n);
}

static enum sasl_step bad_text(struct sasl *s, int err)
{
    if (err == GR_ELIMIT)
        return sasl_fail(s, SASL_MALFORMED_REQUEST, "message too long");
    return sasl_fail(s, SASL_INCORRECT_ENCODING, "bad base64");
}

enum sasl_step sasl_start_text(struct sasl *s, const char *mech, const char *text, size_t len)
{
    char data[SASL_MESSAGE_MAX + 3];
    enum sasl_step step;
    int n = sasl_decode_text(text, len, data);

    if (n < 0) {
        forget(s);
        return bad_text(s, n);
    }
    step = sasl_start(s, mech, len > 0 ? data : NULL, (size_t)n);
    gr_wipe(data, (size_t)n);
    return step;
}

enum sasl_step sasl_respond_text(struct sasl *s, const char *text, size_t len)
{
    char data[SASL_MESSAGE_MAX + 3];
    enum sasl_step step;
    int n = sasl_decode_text(text, len, data);

    if (n < 0)
        return bad_text(s, n);
    step = sasl_respond(s, data, (size_t)n);
    gr_wipe(data, (size_t)n);
    return step;
}

/* XEP-0388, 2.2: there should be no white space; its own examples have some around the data. */
int sasl_decode_element(const char *text, size_t len, void *out)
{
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        len--;
    while (len > 0 && strchr(" \t\r\n", *text) != NULL) {
        text++;
        len--;
    }
    return decode(text, len, out);
}

enum sasl_step sasl_start_element(struct sasl *s, const char *mech, const char *text, size_t len,
                                  bool token)
{
    char data[SASL_MESSAGE_MAX + 3];
    enum sasl_step step;
    int n = text != NULL ? sasl_decode_element(text, len, data) : 0;

    if (n < 0) {
        forget(s);
        return bad_text(s, n);
    }
    step = start(s, mech, text != NULL ? data : NULL, (size_t)n, token);
    gr_wipe(data, (size_t)n);
    return step;
}

enum sasl_step sasl_respond_element(struct sasl *s, const char *text, size_t len)
{
    char data[SASL_MESSAGE_MAX + 3];
    enum sasl_step step;
    int n = sasl_decode_element(text, len, data);

    if (n < 0)
        return bad_text(s, n);
    step = sasl_respond(s, data, (size_t)n);
    gr_wipe(data, (size_t)n);
    return step;
}
