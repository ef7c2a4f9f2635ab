/* stream/token.h: session tokens (backends.md 2): "//JID/v1.JID.TIME.MAC" as the password of PLAIN.
 * The MAC says that this server's host issued it for that address at that time; nothing is
 * stored. */
#pragma once

#include "mod/provider.h"

/* The token in a password; NULL: it is an ordinary one. */
const char *token_in_password(const char *password);
/* The token of that address and time under that key, without the marker; out: GR_TOKEN_SIZE
 * bytes. */
size_t token_text(char *out, const void *key, size_t len, const char *bare, int64_t seconds);
/* When it says it was issued: seconds since 1970; -1: it does not, or not with 8 digits at most. */
int64_t token_time(const char *token);
/* provider_check_token: the tokens of gr_token_issue. user: the name in the address. */
void token_check(struct gr_host *h, struct gr_ask *take, const char *user, const char *token);

/* Tokens that were used, where each is good once: state of the built-in auth module. */
#define TOKEN_USED_MAX 10000
struct token_used {
    struct table by_mac;
    struct link in_order;    /* struct spent, oldest first; 0: nothing yet */
    int64_t since_s;         /* what was used before is not known */
};
void token_used_fini(struct token_used *used);
