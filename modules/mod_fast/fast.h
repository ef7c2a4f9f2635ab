/* mod_fast/fast.h: tokens that log a client in (XEP-0484).
 *
 *   mod_fast.c  the hooks: a token is checked, given out, taken away
 *   record.c    what the store keeps of a client, and the token made from it
 *   admin.c     commands and export
 *
 * One row per client (user agent) of an account, on the account's home loop. A change reads the row,
 * computes and writes in one go; where somebody wrote between its beginning and its read, it
 * begins anew (`writes`), so that no use of a token is counted twice. */
#pragma once

#include <grapnel/module.h>

#define NS_FAST "urn:xmpp:fast:0"
#define SALT_SIZE 16
#define NAME_SIZE 129           /* of what a client calls itself, with NUL */
#define RECORD_MAX 512
#define TOKEN_SIZE 45           /* base64 of 32 bytes, with NUL */
#define RETRIES_MAX 100
#define BUCKETS 256

struct fast_conf {
    int64_t token_lifetime, token_rotation, max_clients;
};
struct fast_state {
    uint32_t writes[BUCKETS];   /* begun, by hash of the account's address */
};

/* A token, as the store knows it: what it was made from, not the token. */
struct token {
    uint8_t mechanism;          /* 0: none */
    uint8_t salt[SALT_SIZE];
    int64_t issued_s, expires_s;
    int64_t count;              /* the largest that it was used with; -1: none */
    int64_t until_s;            /* nor do those that come after it live longer; 0: as long as they like */
};
/* XEP-0484, 5.1: `next` was given out and not used yet; when it is, it becomes `current`. */
struct client {
    struct token current, next;
    int64_t used_s;             /* about when it logged in last, to a day */
    char software[NAME_SIZE], device[NAME_SIZE];
};

extern const struct gr_coll fast_collections[];
#define FAST_TOKENS (&fast_collections[0])

/* --- record.c --- */

uint8_t mechanism_number(const char *name); /* 0: none of ours */
const char *mechanism_name(uint8_t number);
size_t client_encode(const struct client *c, uint8_t out[RECORD_MAX]);
int client_decode(const void *data, size_t len, struct client *out); /* 0 or GR_EINVAL */
/* What the client is given: made of the server's secret and of what the row says. */
void token_text(struct gr_mod *self, const struct gr_jid *jid, const char *id,
                const struct token *t, char out[TOKEN_SIZE]);
int64_t last_seen_s(const struct client *c); /* used, or given a token */

/* --- mod_fast.c --- */

uint32_t *writes_of(struct gr_mod *self, const struct gr_jid *jid);

/* --- admin.c --- */

extern const struct gr_command fast_commands[];
enum gr_verdict fast_export(struct gr_mod *self, struct gr_export_ev *ev);
