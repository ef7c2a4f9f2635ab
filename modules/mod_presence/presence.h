/* mod_presence/presence.h: what the parts of mod_presence share. Everything runs on the home
 * loop of the account concerned. */
#pragma once

#include <grapnel/module.h>

/* --- directed.c: to whom a session has shown itself (RFC 6121, 4.6) --- */

#define DIRECTED_MAX 1000 /* entries per session */

struct directed {
    struct gr_jid **jid; /* bare or full, as addressed */
    unsigned count, cap;
};
extern const struct gr_slot directed_slot;

/* False: the set is full. */
bool directed_add(struct directed *d, const struct gr_jid *jid);
void directed_remove(struct directed *d, const struct gr_jid *jid);
/* The entity has gone or refuses: a bare JID stands for all its resources. */
void directed_gone(struct directed *d, const struct gr_jid *jid);
/* Does `jid` know this session: it was addressed itself, or its bare JID was. */
bool directed_has(const struct directed *d, const struct gr_jid *jid);
void directed_clear(struct directed *d);

/* --- broadcast.c: presence for the subscribers (RFC 6121, 4.2, 4.4, 4.5) --- */

struct broadcast;
#define BROADCAST_BUCKETS 256
struct presence { /* the state of an instance */
    struct broadcast *pending[BROADCAST_BUCKETS]; /* waiting for the roster, by hash of the JID */
};

enum broadcast_kind { BROADCAST_INITIAL, BROADCAST_UPDATE, BROADCAST_GONE };
struct broadcast_order {
    enum broadcast_kind kind;
    struct gr_session *session;
    struct gr_stanza *stanza;      /* from the full JID; borrowed */
    struct directed *directed;     /* BROADCAST_GONE: moved from here; may be NULL */
    bool subscribers;              /* false: only those of `directed` */
    bool echo;                     /* BROADCAST_GONE: to the session itself as well */
    bool resend;                   /* offline messages are due (hooks.md 4.6) */
    struct gr_hold *take_hold;     /* resumed with GR_OK at the end; may be NULL */
};
void broadcast(struct gr_mod *self, const struct broadcast_order *order);
void broadcast_stop(struct presence *p);

/* `st` to one of several addresses; not to be changed any more. */
void send_copy(struct gr_mod *self, struct gr_stanza *st, const struct gr_jid *to);

/* --- subscribe.c: outbound subscription stanzas (RFC 6121, 3) --- */

bool is_subscription(enum gr_type type);
enum gr_verdict send_subscription(struct gr_mod *self, struct gr_stanza_ev *ev);

/* --- probe.c: inbound probes (RFC 6121, 4.3.2, 4.6.6) --- */

enum gr_verdict on_local_packet(struct gr_mod *self, struct gr_stanza_ev *ev);
/* What privacy_check_packet says about the session's presence. */
bool may_show(struct gr_mod *self, const struct gr_session *s, const struct gr_jid *to);
/* Runs presence_probe: the session is about to answer, or (stanza NULL) asks about itself. */
void run_presence_probe(struct gr_mod *self, struct gr_acc *acc, struct gr_session *s,
                        const struct gr_jid *from, const struct gr_jid *to,
                        struct gr_stanza *stanza);
