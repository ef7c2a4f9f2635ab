/* grapnel/stanza.h: stanzas and other XML elements.
 *
 * A gr_stanza is one top-level element with everything below it, in one arena. It is counted and,
 * once routed, immutable: whoever is its only holder before the first hop may change it; everybody
 * else takes a copy (gr_stanza_copy; in a hook handler gr_ev_edit). Counting is safe on any
 * thread; changing belongs to the single holder. Elements and strings live as long as the stanza.
 *
 * Untouched payload is forwarded as the bytes that arrived. Attributes of the stanza element and
 * children appended to it leave that so; any other change below makes the writer serialise the
 * stanza from the tree.
 *
 * Attribute names may be written "xml:lang"; other attributes with a namespace are kept and
 * written, but cannot be named here. */
#pragma once

#include <grapnel/jid.h>

#define GR_NS_CLIENT "jabber:client"
#define GR_NS_SERVER "jabber:server"
#define GR_NS_STANZAS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define GR_NS_STREAM "http://etherx.jabber.org/streams"
#define GR_NS_STREAMS "urn:ietf:params:xml:ns:xmpp-streams"
#define GR_NS_DELAY "urn:xmpp:delay"

enum gr_kind { GR_MESSAGE, GR_IQ, GR_PRESENCE, GR_NONZA };

enum gr_type {
    GR_TYPE_INVALID, /* an attribute value that the RFCs do not define */
    GR_TYPE_ERROR,   /* of every kind */
    /* message (RFC 6121, 5.2.2); absent or unknown is normal */
    GR_MSG_NORMAL, GR_MSG_CHAT, GR_MSG_GROUPCHAT, GR_MSG_HEADLINE,
    /* iq (RFC 6120, 8.2.3) */
    GR_GET, GR_SET, GR_RESULT,
    /* presence (RFC 6121, 4.7.1); absent is available */
    GR_AVAILABLE, GR_UNAVAILABLE, GR_SUBSCRIBE, GR_SUBSCRIBED, GR_UNSUBSCRIBE, GR_UNSUBSCRIBED,
    GR_PROBE
};

/* Stanza error conditions, RFC 6120, 8.3.3, in its order. The error type (auth, cancel, continue,
 * modify, wait) is the one which that section gives for the condition. */
enum gr_cond {
    GR_COND_NONE,
    GR_BAD_REQUEST, GR_CONFLICT, GR_FEATURE_NOT_IMPLEMENTED, GR_FORBIDDEN, GR_GONE,
    GR_INTERNAL_SERVER_ERROR, GR_ITEM_NOT_FOUND, GR_JID_MALFORMED, GR_NOT_ACCEPTABLE,
    GR_NOT_ALLOWED, GR_NOT_AUTHORIZED, GR_POLICY_VIOLATION, GR_RECIPIENT_UNAVAILABLE, GR_REDIRECT,
    GR_REGISTRATION_REQUIRED, GR_REMOTE_SERVER_NOT_FOUND, GR_REMOTE_SERVER_TIMEOUT,
    GR_RESOURCE_CONSTRAINT, GR_SERVICE_UNAVAILABLE, GR_SUBSCRIPTION_REQUIRED,
    GR_UNDEFINED_CONDITION, GR_UNEXPECTED_REQUEST
};
GR_API const char *gr_cond_name(enum gr_cond cond); /* "bad-request", ... */
GR_API const char *gr_cond_type(enum gr_cond cond); /* "modify", ...      */
/* The stanza error for a failed store or provider call (GR_EFULL: resource-constraint, ...). */
GR_API enum gr_cond gr_cond_of(int err);

struct gr_stanza;
struct gr_el;

/* --- making; the caller is the sole holder --- */

/* from and to may be NULL; they are copied. Kind and type must fit. A fresh random id is set on
 * GR_GET and GR_SET when `id` is NULL. */
GR_API struct gr_stanza *gr_message_new(enum gr_type type, const struct gr_jid *from,
                                        const struct gr_jid *to);
GR_API struct gr_stanza *gr_presence_new(enum gr_type type, const struct gr_jid *from,
                                         const struct gr_jid *to);
GR_API struct gr_stanza *gr_iq_new(enum gr_type type, const struct gr_jid *from,
                                   const struct gr_jid *to, const char *id);
/* Any other top-level element, e.g. for stream features. */
GR_API struct gr_stanza *gr_nonza_new(const char *ns, const char *name);
/* The answer to an iq get or set: addresses swapped, id kept, no payload (RFC 6120, 8.2.3). The
 * stanza must be an iq. */
GR_API struct gr_stanza *gr_iq_result(const struct gr_stanza *iq);
/* The error for a stanza: addresses swapped, id kept, the offending payload included for iq.
 * NULL when an error must not be sent (to an error or an iq result: RFC 6120, 8.3.1). `text` may be
 * NULL. For a presence the reply is type error as well. */
GR_API struct gr_stanza *gr_error_reply(const struct gr_stanza *st, enum gr_cond cond,
                                        const char *text);
/* The same with another error type ("auth", "cancel", "modify", "wait") than gr_cond_type, where
 * the RFC leaves a choice: policy-violation with "wait" for what may be sent again later. */
GR_API struct gr_stanza *gr_error_reply_type(const struct gr_stanza *st, enum gr_cond cond,
                                             const char *type, const char *text);
/* One element of text, e.g. from the store, with GR_NS_CLIENT as the default namespace. 0, or
 * GR_EINVAL, GR_ELIMIT. */
GR_API int gr_stanza_parse(const char *xml, size_t len, struct gr_stanza **out);
/* All of it again, for the caller alone. */
GR_API struct gr_stanza *gr_stanza_copy(const struct gr_stanza *st);
/* A copy with another `to` (which is copied), for one stanza that goes to many addresses: it reads,
 * routes and writes like any other, but shares the elements of `st` and its text. `st` must not be
 * changed any more while it lives (asserted). The first change to the copy gives it elements of its
 * own; those read from it before are still the ones of `st` then, and not for changing. */
GR_API struct gr_stanza *gr_stanza_copy_to(struct gr_stanza *st, const struct gr_jid *to);
/* One more reference / one less; any thread. */
GR_API struct gr_stanza *gr_stanza_ref(struct gr_stanza *st);
/* Has it other references than the caller's? Then nobody may change it. */
GR_API bool gr_stanza_is_shared(const struct gr_stanza *st);
GR_API void gr_stanza_unref(struct gr_stanza **take); /* accepts NULL, sets NULL */

/* --- reading --- */

GR_API enum gr_kind gr_stanza_kind(const struct gr_stanza *st);
GR_API enum gr_type gr_stanza_type(const struct gr_stanza *st);
GR_API const struct gr_jid *gr_stanza_from(const struct gr_stanza *st); /* NULL when absent */
GR_API const struct gr_jid *gr_stanza_to(const struct gr_stanza *st);   /* NULL when absent */
GR_API const char *gr_stanza_id(const struct gr_stanza *st);            /* NULL when absent */
GR_API const char *gr_stanza_lang(const struct gr_stanza *st);          /* xml:lang or NULL */
/* The stanza element itself. */
GR_API struct gr_el *gr_stanza_root(const struct gr_stanza *st);
/* The payload of an iq: its first child element that is not <error/>; NULL when none. */
GR_API struct gr_el *gr_stanza_payload(const struct gr_stanza *st);
/* First child element of the stanza with that namespace and name; NULL for either means any. */
GR_API struct gr_el *gr_stanza_child(const struct gr_stanza *st, const char *ns, const char *name);
/* The condition of an error stanza; GR_UNDEFINED_CONDITION when it names none that we know. */
GR_API enum gr_cond gr_stanza_cond(const struct gr_stanza *st);
/* Presence priority (RFC 6121, 4.7.2.3): -128..127, 0 when absent, GR_PRIORITY_INVALID when not a
 * number in that range. */
#define GR_PRIORITY_INVALID (-1000)
GR_API int gr_presence_priority(const struct gr_stanza *st);

GR_API const char *gr_el_name(const struct gr_el *el);
GR_API const char *gr_el_ns(const struct gr_el *el);
GR_API bool gr_el_is(const struct gr_el *el, const char *ns, const char *name); /* NULL: any */
/* Value of an attribute without namespace, or of "xml:lang"; NULL when absent. */
GR_API const char *gr_el_attr(const struct gr_el *el, const char *name);
/* Child elements in document order; NULL for ns or name means any. */
GR_API struct gr_el *gr_el_child(const struct gr_el *el, const char *ns, const char *name);
GR_API struct gr_el *gr_el_next(const struct gr_el *el, const char *ns, const char *name);
/* All character data directly below el, in one piece, "" when none; *len may be NULL. */
GR_API const char *gr_el_text(const struct gr_el *el, size_t *len);

/* --- changing; sole holder only (asserted) --- */

GR_API void gr_stanza_set_from(struct gr_stanza *st, const struct gr_jid *from); /* NULL removes */
GR_API void gr_stanza_set_to(struct gr_stanza *st, const struct gr_jid *to);
GR_API void gr_stanza_set_id(struct gr_stanza *st, const char *id);
/* Appends a child; parent NULL means the root; ns NULL means the parent's. Returns it. */
GR_API struct gr_el *gr_el_add(struct gr_stanza *st, struct gr_el *parent, const char *ns,
                               const char *name);
/* Appends <name>text</name>; text NULL leaves it empty. */
GR_API struct gr_el *gr_el_add_text(struct gr_stanza *st, struct gr_el *parent, const char *ns,
                                    const char *name, const char *text);
/* Value NULL removes the attribute. */
GR_API void gr_el_set(struct gr_stanza *st, struct gr_el *el, const char *attr, const char *value);
GR_API void gr_el_setf(struct gr_stanza *st, struct gr_el *el, const char *attr, const char *fmt,
                       ...) GR_PRINTF(4, 5);
GR_API void gr_el_set_int(struct gr_stanza *st, struct gr_el *el, const char *attr, int64_t value);
/* Instead of the text directly below el, behind its child elements; NULL: none. */
GR_API void gr_el_set_text(struct gr_stanza *st, struct gr_el *el, const char *text);
GR_API void gr_el_append_text(struct gr_stanza *st, struct gr_el *el, const char *text,
                              size_t len);
/* Deep copy of an element, of any stanza, as the last child of parent (NULL: root). */
GR_API struct gr_el *gr_el_append(struct gr_stanza *st, struct gr_el *parent,
                                  const struct gr_el *src);
/* Out of its parent; its memory stays with the stanza. Not for the root. */
GR_API void gr_el_remove(struct gr_stanza *st, struct gr_el *child);
/* Text that is written in the place of the children that st has now: for what is kept as text and only
 * the recipient reads, so that it need not be parsed. Others still see those children (the name, the
 * namespace and some attributes of what is in the text, say); changes to them have no effect. The
 * text is one element or several, declaring their namespaces. It is copied. */
GR_API void gr_stanza_set_payload(struct gr_stanza *st, const char *xml, size_t len);
/* <delay xmlns='urn:xmpp:delay' from= stamp=> (XEP-0203); from may be NULL. */
GR_API void gr_stanza_add_delay(struct gr_stanza *st, const char *from, int64_t wall_us);

/* About how many bytes of memory it takes; grows with what is added. */
GR_API size_t gr_stanza_memory(const struct gr_stanza *st);

/* The element as text with GR_NS_CLIENT as the outer default namespace (what the store keeps and
 * clients get). Kept in the stanza; *len may be NULL. */
GR_API const char *gr_stanza_xml(const struct gr_stanza *st, size_t *len);
/* The same for one element inside, declaring its own namespace. The caller frees it. */
GR_API char *gr_el_xml(const struct gr_el *el, size_t *len);
