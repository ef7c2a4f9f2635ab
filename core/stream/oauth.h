/* stream/oauth.h: logging in by showing a token (sasl_oauth.c). Who issues such tokens handles the hook
 * token_check, on the account's home loop. */
#pragma once

#include "stream/c2s.h"

struct oauth_answer {
    enum sasl_condition refusal;    /* SASL_NONE: it is good */
    const void *answer;             /* for the client; NULL: nothing */
    size_t len;
    int64_t until_s;                /* gr_session_auth_until */
};
bool oauth_available(const struct gr_host *h);
/* The login's mechanism waits for it. done runs once, on this loop, later. */
void oauth_ask(struct c2s *c, void (*done)(void *arg, const struct oauth_answer *a), void *arg);
