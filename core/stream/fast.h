/* stream/fast.h: logging in with a token of XEP-0484. The mechanisms are in sasl_ht.c; who keeps tokens
 * handles the hook fast_check, on the account's home loop. */
#pragma once

#include "mod/host.h"
#include "stream/sasl.h"

#define NS_FAST "urn:xmpp:fast:0"
#define FAST_PROOF_SIZE 32

struct fast_answer {
    enum sasl_condition refusal;       /* SASL_NONE: it is one of theirs */
    bool renew;                        /* and old */
    int64_t until_s;                   /* gr_session_auth_until */
    uint8_t proof[FAST_PROOF_SIZE];    /* that we know it as well */
};
bool fast_available(const struct gr_host *h);
void fast_features(const struct sasl_props *props, struct gr_stanza *f, struct gr_el *in);
