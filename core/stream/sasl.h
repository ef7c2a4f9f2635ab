/* stream/sasl.h: server side of SASL, whatever the mechanism (RFC 4422, RFC 6120 section 6).
 *
 * A `struct sasl` lives as long as negotiation on a stream may go on. It does no I/O and knows no
 * XML and no storage: each call returns a step that says what to do next. It belongs to one thread
 * at a time. While a step asks for something (NEED_CREDS, NEED_CHECK) the caller finds it out,
 * later and elsewhere if need be, and hands it in with the ticket of the asking. */
#pragma once

#include "base/buf.h"
#include "stream/creds.h"
#include "stream/scram.h"

#define SASL_MESSAGE_MAX 8192 /* bytes of one decoded message */
#define SASL_MECHS_MAX 32

enum sasl_step {
    SASL_CHALLENGE,  /* send <challenge/> with sasl_out                                       */
    SASL_SUCCESS,    /* send <success/> with sasl_out; sasl_username is who it is             */
    SASL_FAILURE,    /* send <failure/> with sasl_condition; another sasl_start may follow    */
    SASL_NEED_CREDS, /* look up the record of sasl_username, then sasl_creds                  */
    SASL_NEED_CHECK, /* verify sasl_username and sasl_password, then sasl_checked             */
    SASL_NEED_TOKEN, /* compare sasl_token with the user's tokens, then sasl_token_checked    */
    SASL_STALE       /* the ticket is of an exchange given up meanwhile: do nothing           */
};

/* RFC 6120, 6.5; SASL_NONE is none of them. */
enum sasl_condition {
    SASL_NONE,
    SASL_ABORTED,
    SASL_ACCOUNT_DISABLED,
    SASL_CREDENTIALS_EXPIRED,
    SASL_ENCRYPTION_REQUIRED,
    SASL_INCORRECT_ENCODING,
    SASL_INVALID_AUTHZID,
    SASL_INVALID_MECHANISM,
    SASL_MALFORMED_REQUEST,
    SASL_MECHANISM_TOO_WEAK,
    SASL_NOT_AUTHORIZED,
    SASL_TEMPORARY_AUTH_FAILURE
};

struct sasl;
struct sasl_mech;

/* What a stream knows when it offers mechanisms. Borrowed, with all it points to, by each call and
 * by a struct sasl until sasl_free; must not change between the offer and the end. */
struct sasl_props {
    const char *host; /* prepared domain; never NULL */
    bool secure;                  /* under TLS, or a proxy vouches for it                         */
    bool encryption_required;     /* no mechanism at all unless secure                            */
    bool allow_plain_unencrypted; /* PLAIN even when not secure                                   */
    bool require_binding;         /* only -PLUS mechanisms                                        */
    bool can_check;               /* the auth provider verifies clear passwords                   */
    bool http_identity;           /* the transport came with a web session: PLAIN may say ""      */
    /* The name in the address of who logs in under this one (GR_JID_PART_MAX + 1 bytes); NULL: the
     * same. Not 0: nobody. */
    int (*name_of)(const char *host, const char *login, char *out);
    bool protect_lists;           /* SCRAM sends h= (XEP-0474)                                    */
    bool can_check_oauth;         /* somebody knows tokens of X-OAUTH                             */
    bool can_check_tokens;        /* somebody keeps tokens: the HT mechanisms of XEP-0484         */
    bool unique_is_safe;          /* tls-unique means one handshake (RFC 7627); not in TLS 1.3    */
    unsigned hashes;              /* SCRAM_BIT of each hash the provider has keys for             */
    const struct scram_binding *bindings; /* channel bindings of this connection                  */
    size_t n_bindings, n_offered;         /* accepted; the first so many are advertised (XEP-0440) */
    const char *const *disabled; /* mechanism names switched off by configuration                 */
    size_t n_disabled;
    const struct sasl_mech *const *extra; /* mechanisms beside the built-in ones                  */
    size_t n_extra;
    const void *secret; /* for decoys: CREDS_SECRET_MIN bytes or more, stable over restarts       */
    size_t secret_len;
    const uint32_t *iterations; /* what new accounts get, so what decoys show; NULL: defaults     */
};

/* Names to advertise, most wanted first; how many. `names` has SASL_MECHS_MAX places; the strings
 * are static. */
size_t sasl_mechanisms(const struct sasl_props *props, const char **names);
/* The same for those that prove a token (XEP-0484): advertised elsewhere, or not at all. */
size_t sasl_token_mechanisms(const struct sasl_props *props, const char **names);
/* Is a -PLUS mechanism among them? Then, and only then, advertise bindings (XEP-0440). */
bool sasl_offers_binding(const struct sasl_props *props);

struct sasl *sasl_new(const struct sasl_props *props);
void sasl_free(struct sasl **take);

/* <auth/>: drops an exchange under way (RFC 6120, 6.4.2). `data` NULL: no initial response. */
enum sasl_step sasl_start(struct sasl *s, const char *name, const void *data, size_t len);
/* <response/>. */
enum sasl_step sasl_respond(struct sasl *s, const void *data, size_t len);
/* <abort/>: always SASL_FAILURE with `aborted`. */
enum sasl_step sasl_abort(struct sasl *s);
/* The same three for the character data of the RFC 6120 profile: base64, "=" for empty. */
enum sasl_step sasl_start_text(struct sasl *s, const char *mech, const char *text, size_t len);
enum sasl_step sasl_respond_text(struct sasl *s, const char *text, size_t len);
/* The same for XEP-0388, 2.2: an element that is not there is NULL, one that is empty is empty.
 * `token`: the client says that it proves a token, without which those mechanisms are refused. */
enum sasl_step sasl_start_element(struct sasl *s, const char *mech, const char *text, size_t len,
                                  bool token);
enum sasl_step sasl_respond_element(struct sasl *s, const char *text, size_t len);

/* Identifies the question that a NEED_ step asks; valid until the next call for `s`. */
unsigned sasl_ticket(const struct sasl *s);
/* The record of the user asked for (copied); NULL when there is none: goes on with a decoy. */
enum sasl_step sasl_creds(struct sasl *s, unsigned ticket, const struct creds *creds);
/* Was the password right? An unknown user costs the same: creds_check_plain on a creds_decoy. */
enum sasl_step sasl_checked(struct sasl *s, unsigned ticket, bool ok);
/* Has a token of the user this proof? `answer` is what proves in turn that we know it. */
enum sasl_step sasl_token_checked(struct sasl *s, unsigned ticket, bool ok, const void *answer,
                                  size_t len);
/* Ends the exchange with a condition: a provider that is down (temporary-auth-failure), or, in
 * place of a success not yet sent, account-disabled and the like: not before the proof is right,
 * for it tells that the account is there. */
enum sasl_step sasl_refuse(struct sasl *s, unsigned ticket, enum sasl_condition condition);

/* What the last step is about; borrowed until the next call. Strings are never NULL. */
const char *sasl_mech_name(const struct sasl *s); /* "" before the first <auth/> */
const char *sasl_username(const struct sasl *s);  /* prepared; "" while unknown or not a name */
const char *sasl_authzid(const struct sasl *s);   /* prepared bare JID; "" when not given */
const char *sasl_password(const struct sasl *s, size_t *len); /* for NEED_CHECK; wiped after */
/* For NEED_TOKEN: HMAC(token, "Initiator" || binding); the binding is what *binding says. */
const uint8_t *sasl_token(struct sasl *s, size_t *len, struct scram_binding *binding);
/* For NEED_TOKEN: the token itself, where the client shows it (X-OAUTH); NULL: it does not. */
const void *sasl_shown_token(struct sasl *s, size_t *len);
/* Challenge or additional data with success; NULL when there is none. */
const char *sasl_out(const struct sasl *s, size_t *len);
enum sasl_condition sasl_condition(const struct sasl *s);
const char *sasl_reason(const struct sasl *s); /* for logs: why, without secrets or names */
unsigned sasl_failures(const struct sasl *s);  /* so far: the stream bounds retries (6.4.5) */
const char *sasl_condition_name(enum sasl_condition condition); /* element name of <failure/> */

/* Strict base64, "=" and "" for empty. `out` has SASL_MESSAGE_MAX + 3 places. The length,
 * GR_EINVAL (incorrect-encoding) or GR_ELIMIT (malformed-request). */
int sasl_decode_text(const char *text, size_t len, void *out);
/* The same without the "=" and with white space around it (XEP-0388, 2.2). */
int sasl_decode_element(const char *text, size_t len, void *out);
/* Appends the text for data from sasl_out: nothing for NULL, "=" for empty, else base64. */
void sasl_encode_text(struct buf *out, const void *data, size_t len);

/* --- for mechanisms ----------------------------------------------------------------------------
 * Static and const; reached through the table in sasl_mech.c or through props->extra. A mechanism
 * keeps its state in sasl_state(s): zeroed before begin, wiped and freed after fini. */
struct sasl_mech {
    const char *name;
    int preference;      /* larger is offered earlier; EXTERNAL above all (RFC 6120, 6.3.4)       */
    bool client_first;   /* begin gets the first message; else begin gets NULL and challenges     */
    bool plus;           /* binds to the channel                                                  */
    bool token;          /* proves a token, not a password (XEP-0484)                             */
    const char *binding; /* of token mechanisms: the one type they bind to; NULL: to nothing      */
    enum scram_hash hash; /* for the SCRAM family                                                 */
    size_t state_size;
    /* SASL_NONE: can succeed with these properties; else how to answer who asks for it. */
    enum sasl_condition (*usable)(const struct sasl_mech *mech, const struct sasl_props *props);
    enum sasl_step (*begin)(struct sasl *s, const char *data, size_t len);
    /* NULL where the mechanism never gets there. */
    enum sasl_step (*respond)(struct sasl *s, const char *data, size_t len);
    enum sasl_step (*creds)(struct sasl *s, const struct creds *creds);
    enum sasl_step (*checked)(struct sasl *s, bool ok);
    enum sasl_step (*token_checked)(struct sasl *s, bool ok, const void *answer, size_t len);
    void (*fini)(struct sasl *s);
};

extern const struct sasl_mech *const sasl_builtin[];
extern const size_t sasl_n_builtin;
extern const struct sasl_mech sasl_ht_sha256_expr, sasl_ht_sha256_endp, sasl_ht_sha256_uniq,
    sasl_ht_sha256_none; /* sasl_ht.c */
extern const struct sasl_mech sasl_x_oauth; /* sasl_oauth.c */

const struct sasl_mech *sasl_mech(const struct sasl *s);
const struct sasl_props *sasl_props(const struct sasl *s);
void *sasl_state(struct sasl *s);
/* The way out of a callback: return one of these. */
enum sasl_step sasl_challenge(struct sasl *s, const void *data, size_t len);
enum sasl_step sasl_need_creds(struct sasl *s);
enum sasl_step sasl_need_check(struct sasl *s, const char *password, size_t len);
enum sasl_step sasl_need_token(struct sasl *s);
/* `data` NULL: no additional data. */
enum sasl_step sasl_succeed(struct sasl *s, const void *data, size_t len);
enum sasl_step sasl_fail(struct sasl *s, enum sasl_condition condition, const char *reason);
/* Prepares and sets who this is about. False: cannot be an account name; nothing is set. */
bool sasl_set_username(struct sasl *s, const char *name, size_t len);
/* After sasl_set_username: is this the user's own bare JID, or empty? Then sets it. */
bool sasl_set_authzid(struct sasl *s, const char *authzid, size_t len);
