/* mod_auth_token/auth_token.h: what the files of mod_auth_token share. */
#pragma once

#include <grapnel/module.h>

#define NS_TOKEN "erlang-solutions.com:xmpp:token-auth:0"
#define ID_SIZE 16
#define MAC_SIZE 48             /* HMAC-SHA-384 */
#define MAC_TEXT (2 * MAC_SIZE)

struct token_conf {
    int64_t access_validity, refresh_validity;
};

extern const struct gr_coll token_collections[];
#define TOKEN_ACCOUNTS (&token_collections[0])
#define TOKEN_SPENT (&token_collections[1])

/* What the store has of an account: both are gone with it, and with its password. */
struct secrets {
    bool there;
    uint8_t id[ID_SIZE];        /* of which its tokens are made; by chance */
    int64_t sequence;           /* refresh tokens of another one are revoked */
};
/* Asks for both rows of an account; read them in done(). */
void secrets_get(struct gr_req *take, const struct gr_jid *jid);
struct secrets secrets_read(const struct gr_rows *rows);

/* format.c: type NUL bare JID NUL expiry [NUL sequence | NUL vCard] NUL MAC. */
enum token_type { TOKEN_ACCESS, TOKEN_REFRESH, TOKEN_PROVISION };
struct token {
    enum token_type type;
    const char *jid;            /* into the copy, as the rest */
    int64_t expiry_s, sequence;
    const char *vcard;          /* "" where there is none */
    const char *body, *mac;
    size_t body_len;
    char *copy;
    size_t len;
};
/* 0 or GR_EINVAL; token_free in any case. */
int token_parse(const void *data, size_t len, struct token *out);
void token_free(struct token *t);
/* Does the MAC say that we have made it for this account? */
bool token_is_ours(struct gr_mod *self, const struct token *t, const struct gr_jid *jid,
                   const struct secrets *s);
/* The same for somebody else who has this key. */
bool token_is_of(const struct token *t, const void *key, size_t len);
/* It ends at until_s at the latest (0: when the configuration says). gr_alloc'ed. */
char *token_make(struct gr_mod *self, enum token_type type, const struct gr_jid *jid,
                 const struct secrets *s, int64_t until_s, size_t *len);

/* provision.c: a token from outside, whose MAC is right: makes the account. Ends the hold. */
void provision(struct gr_mod *self, struct gr_hold *hold, struct gr_token_ev *ev,
               const struct token *t);
/* The key that they are made with, shared with who makes them. False: there is none. */
bool provision_is_right(struct gr_mod *self, const struct token *t);
