/* stream/sasl2.h: logging in with everything in one round trip: XEP-0388 (SASL2) and what it carries,
 * XEP-0386 (Bind 2), XEP-0480 (upgrades), XEP-0484 (tokens), XEP-0509 (pipelining).
 *
 * The exchange is on the loop that accepted the connection (sasl2.c, upgrade.c, fast.c). Then the stream
 * goes home, without a restart, and there, before <success/>, carries out what came with the request
 * (sasl2_home.c, bind2.c). */
#pragma once

#include "stream/c2s.h"
#include "stream/fast.h"

#define NS_SASL2 "urn:xmpp:sasl:2"
#define NS_BIND2 "urn:xmpp:bind:0"
#define NS_IAP "urn:xmpp:iap:0"

#define SASL2_HELD_MAX 10000 /* stanzas for a client that has not been told yet who it is */

/* One <authenticate/> until its <success/> or <failure/>. */
struct sasl2 {
    struct c2s *stream;         /* NULL: it ended while handlers were at work */
    struct gr_stanza *request;
    struct gr_stanza *success;  /* as far as it is made */
    struct gr_el *identifier, *bound; /* in it */
    struct upgrade *upgrade;    /* tasks that come before it; NULL: none */
    /* at home: */
    struct gr_inline_ev e;
    struct gr_session *session; /* pinned */
    bool busy;                  /* a chain of handlers has this struct */
    struct link held;           /* what is to be written behind <success/> */
    size_t n_held;
};

bool sasl2_offered(const struct c2s *c);
void sasl2_features(struct c2s *c, struct gr_stanza *f);
/* With the version of all the others behind them (XEP-0509). */
void sasl2_write_features(struct c2s *c, const struct gr_stanza *f);
/* Is this element for sasl2_element? During an exchange every one is. */
bool sasl2_claims(const struct c2s *c, const struct gr_el *root);
void sasl2_element(struct c2s *c, const struct gr_stanza *st);
void sasl2_free(struct sasl2 **take);
const struct gr_el *sasl2_asked(const struct sasl2 *s, const char *ns, const char *name);
void sasl2_write_failure(struct c2s *c, const char *condition, const char *more);
/* fast.c: the proof that sasl.c asks for, compared at the account's home. */
void sasl2_ask_token(struct c2s *c, void (*done)(void *arg, const struct fast_answer *a), void *arg);

/* upgrade.c: the proof was right. True: the client, or the provider, is asked for something first;
 * c2s_sasl_succeed or a failure follows. */
bool sasl2_has_tasks(struct c2s *c);
void upgrade_element(struct c2s *c, const struct gr_stanza *st);
void upgrade_free(struct upgrade **take);
void upgrade_features(struct c2s *c, struct gr_stanza *f, struct gr_el *authentication);

/* sasl2_home.c */
void sasl2_at_home(struct c2s *c);
int sasl2_hold(struct c2s *c, struct gr_stanza *st, struct receipt *receipt);
void sasl2_hold_again(struct c2s *c, struct gr_stanza *st); /* for c2s_out.resend: however many */
void sasl2_drop_held(struct sasl2 *s, struct c2s *c); /* c NULL: they go elsewhere */

/* bind2.c */
void bind2_features(struct c2s *c, struct gr_stanza *f, struct gr_el *in);
/* The resource for this session (XEP-0386, 3.2.1); the caller frees it. */
char *bind2_resource(const struct gr_session *s, const struct gr_el *bind);
/* Ends the account's other sessions of the same client. */
void bind2_replace(struct gr_session *s);
