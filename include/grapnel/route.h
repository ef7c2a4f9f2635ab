/* grapnel/route.h: sending stanzas, asking other entities, answering iqs. */
#pragma once

#include <grapnel/hooks.h>

/* Routes a stanza with from and to set: filter_packet, then to wherever `to` lives. Queued behind
 * the current event, never run inside the caller. Takes it. Home loop of `from` (or any loop when
 * `from` is the host). */
GR_API void gr_send(struct gr_mod *self, struct gr_stanza *take);
/* The same on behalf of the stanza in `ev`: keeps its permanent notes and time, and that stanza counts as
 * handled (acknowledged) only when this one is. */
GR_API void gr_send_in(struct gr_mod *self, const struct gr_ev *ev, struct gr_stanza *take);

/* The stanza of `ev` does not count as handled (acknowledged) before this is given back: for what goes
 * on in the background on its behalf, a write that nobody waits for. NULL when nobody asks. Give it back
 * on any loop; accepts NULL, sets NULL. */
struct gr_receipt;
GR_API struct gr_receipt *gr_receipt_take(const struct gr_ev *ev);
GR_API void gr_receipt_give(struct gr_receipt **take);
/* Once t is committed, whoever took the receipt has nothing more to do for the stanza. The core gives it
 * back when t is decided, behind its request's done(). Until then a count that says that the stanza is
 * handled can be written for the same commit (gr_txn_upon), provided that all others who have to do with it
 * have done the same; when t fails it is not. Before gr_txn_commit. Accepts NULL, sets NULL; done() may
 * still ask gr_receipt_refuse. */
struct gr_txn;
GR_API void gr_txn_settles(struct gr_txn *t, struct gr_receipt **take);

/* May an error be sent for the stanza whose receipt that is? Asked by who sends one by other means than
 * gr_ev_refuse, when it does: one of those who have to do with a stanza is told yes, the others are not
 * to answer it. NULL: yes. */
GR_API bool gr_receipt_refuse(struct gr_receipt *r);
/* gr_send for the error, or another answer to that stanza: it does not count as handled before that is out,
 * so that no h says so without it. The receipt is borrowed, NULL: as gr_send. */
GR_API void gr_receipt_answer(struct gr_mod *self, struct gr_receipt *r, struct gr_stanza *take);

/* Answers the stanza of `ev` with an error, from ev->to to ev->from, as gr_send_in; nothing is sent for
 * what must not be answered (errors, iq results), nor when somebody else has. Returns GR_STOP: return
 * gr_ev_refuse(...). */
GR_API enum gr_verdict gr_ev_refuse(struct gr_mod *self, struct gr_stanza_ev *ev, enum gr_cond cond,
                                    const char *text);

/* Sends a stanza of which the caller holds a durable copy, and tells when nobody has to do with it any
 * more: delivered means it was written to a client's socket, stored, answered or dropped by policy;
 * otherwise the recipient's connection broke first and the copy is still needed. f runs on this loop;
 * take_data (gr_alloc'ed or NULL) is freed by the core afterwards. */
typedef void (*gr_handled_f)(struct gr_mod *self, void *data, bool delivered);
GR_API void gr_send_tracked(struct gr_mod *self, struct gr_stanza *take, gr_handled_f f,
                            void *take_data);

/* --- answering: iq handlers --- */

enum gr_iq_where {
    GR_TO_HOST = 1,     /* to = our host                                                       */
    GR_TO_ACCOUNT = 2,  /* to = an account's bare JID, or absent: the sender's own             */
    GR_OWN = 4,         /* with GR_TO_ACCOUNT: only one's own account; others: forbidden for sets,
                         * service-unavailable for gets */
    GR_UNLISTED = 8     /* the namespace is no feature by itself (service discovery): an option says
                         * whether it is, and a handler of disco_sm_features or so tells it */
};
struct gr_iq_req;
struct gr_iq_ev {
    struct gr_ev ev;
    struct gr_session *session;       /* the sender's, when it lives on this loop; else NULL */
    const struct gr_jid *from, *to;   /* to: host or bare JID, never NULL: use these two, as
                                       * gr_stanza_to is NULL when a client asks its own account */
    const struct gr_stanza *stanza;   /* this and the rest: for the call; gr_iq_req_... for later */
    const struct gr_el *payload;
    enum gr_type type;                /* GR_GET or GR_SET */
    struct gr_iq_req *req;            /* answer it exactly once, now or later (RFC 6120, 8.2.3) */
};
struct gr_iq {
    unsigned types;                   /* GR_IQ_GET | GR_IQ_SET; the other type: not-allowed. One entry
                                       * per element and place: two for the same are refused */
    unsigned where;                   /* 0 ends the table */
    const char *ns, *name;            /* name NULL: any */
    void (*handle)(struct gr_mod *self, struct gr_iq_ev *ev);
};
#define GR_IQ_GET 1u
#define GR_IQ_SET 2u
#define GR_IQ(t, w, n, el, f) { .types = (t), .where = (w), .ns = (n), .name = (el), .handle = (f) }
#define GR_IQ_END { .where = 0 }

/* The request stays valid until it is answered, also past the handler. */
GR_API const struct gr_stanza *gr_iq_req_stanza(const struct gr_iq_req *req);
GR_API const struct gr_jid *gr_iq_req_from(const struct gr_iq_req *req);
GR_API const struct gr_jid *gr_iq_req_to(const struct gr_iq_req *req);
GR_API struct gr_host *gr_iq_req_host(const struct gr_iq_req *req);
/* Each answers and ends the request, on the loop of the handler. The result (gr_iq_result, or an error)
 * is taken; its addresses are set here. A module that is replaced without having answered has
 * internal-server-error answered for it; an answer after that is dropped. */
GR_API void gr_iq_reply(struct gr_iq_req *take, struct gr_stanza *take_result);
GR_API void gr_iq_reply_empty(struct gr_iq_req *take);
GR_API void gr_iq_reply_error(struct gr_iq_req *take, enum gr_cond cond, const char *text);

/* --- asking --- */

/* `reply` (a result or an error, borrowed) is NULL after the time-out. */
typedef void (*gr_iq_f)(struct gr_mod *self, void *data, const struct gr_stanza *reply);
/* Sends an iq get or set (from: the host or an account of this loop) and calls back with the answer
 * or after timeout_ms. The stanza's id is replaced. `data` (gr_alloc'ed or NULL) is freed by the core
 * afterwards. */
GR_API void gr_iq_ask(struct gr_mod *self, struct gr_stanza *take, int64_t timeout_ms, gr_iq_f f,
                      void *take_data);

/* Runs f in this module's instance on the home loop of jid, in order with stanzas sent from here to
 * there. `data` is len bytes, copied. Lost (and logged) when the module is replaced on the way: what
 * must not be lost goes through the store or a stanza. */
typedef void (*gr_post_f)(struct gr_mod *self, const struct gr_jid *jid, const void *data,
                          size_t len);
GR_API void gr_post(struct gr_mod *self, const struct gr_jid *jid, gr_post_f f, const void *data,
                    size_t len);
/* As gr_post, in the instance of the host of jid: for handlers of the global chain. 0, or GR_ENOENT:
 * that is no host of ours, or one without the module. */
GR_API int gr_post_host(struct gr_mod *self, const struct gr_jid *jid, gr_post_f f,
                        const void *data, size_t len);
