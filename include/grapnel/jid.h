/* grapnel/jid.h: XMPP addresses (RFC 7622, and RFC 6122 for what old peers send).
 *
 * A gr_jid is prepared once at the border and immutable afterwards: only prepared forms travel
 * inside the server, so that equal addresses are equal bytes. */
#pragma once

#include <grapnel/base.h>

#define GR_JID_PART_MAX 1023 /* bytes, RFC 7622, 3.1 */
#define GR_JID_MAX 3071

struct gr_jid {
    uint64_t hash;        /* keyed hash of `bare`; picks the home loop; equal within a process */
    const char *full;     /* node@domain/resource */
    const char *bare;     /* node@domain          */
    const char *node;     /* NULL when absent     */
    const char *domain;
    const char *resource; /* NULL when absent     */
    uint16_t full_len, bare_len;
};

/* Parses and prepares `len` bytes. 0, or GR_EINVAL (malformed, forbidden code point, empty or
 * over-long part). The caller owns *out (gr_jid_free). */
GR_API int gr_jid_parse(const char *s, size_t len, struct gr_jid **out);
/* From parts, each prepared; node and resource may be NULL. 0 or GR_EINVAL. */
GR_API int gr_jid_make(const char *node, const char *domain, const char *resource,
                       struct gr_jid **out);
/* An account name that is the same under RFC 7622 and RFC 6122: what new accounts need. */
GR_API bool gr_jid_node_is_portable(const char *node);
/* Copies of the caller's own (gr_jid_free); never NULL. dup_bare leaves the resource out. */
GR_API struct gr_jid *gr_jid_dup(const struct gr_jid *jid);
GR_API struct gr_jid *gr_jid_dup_bare(const struct gr_jid *jid);
/* The same account with another resource (prepared here). 0 or GR_EINVAL. */
GR_API int gr_jid_with_resource(const struct gr_jid *jid, const char *resource,
                                struct gr_jid **out);
GR_API void gr_jid_free(struct gr_jid **take); /* accepts NULL in it */
GR_API bool gr_jid_equal(const struct gr_jid *a, const struct gr_jid *b);      /* full */
GR_API bool gr_jid_bare_equal(const struct gr_jid *a, const struct gr_jid *b);
/* Is it in a list of prepared addresses (the value of a GR_OPT_JIDLIST)? An entry without resource
 * stands for every resource. */
GR_API bool gr_jid_in_list(const char *const *list, const struct gr_jid *jid);
static inline bool gr_jid_is_bare(const struct gr_jid *jid) { return jid->resource == NULL; }
static inline bool gr_jid_is_domain(const struct gr_jid *jid)
{
    return jid->node == NULL && jid->resource == NULL;
}
