/* xml/jid.c: XMPP addresses (RFC 7622): taken apart, prepared, put together once, then immutable.
 *
 * An address is one allocation: the struct, then "node@domain/resource", the bare text when there
 * is a resource, and the node. The resource is the tail of the full text and the domain the tail
 * of the bare one. Any thread; an address itself may be read by many at the same time. */
#include "xml/jid.h"

#include <string.h>

#include "base/table.h"
#include "xml/prep.h"

/* Prepared text of one part; len 0: absent. */
struct part {
    const char *s;
    size_t len;
};

static size_t node_len(const struct gr_jid *jid)
{
    return jid->node == NULL ? 0 : (size_t)(jid->domain - jid->bare) - 1;
}

static size_t block_size(size_t full_len, size_t bare_len, size_t node)
{
    size_t size = sizeof(struct gr_jid) + full_len + 1;

    if (full_len > bare_len)
        size += bare_len + 1;
    return node > 0 ? size + node + 1 : size;
}

/* In an arena or, NULL, on its own. */
static void *room(struct arena *a, size_t size)
{
    return a != NULL ? arena_alloc(a, size) : gr_alloc(size);
}

static struct gr_jid *build(struct arena *a, struct part node, struct part domain,
                            struct part resource)
{
    size_t bare_len = node.len + (node.len > 0 ? 1 : 0) + domain.len;
    size_t full_len = bare_len + (resource.len > 0 ? 1 : 0) + resource.len;
    struct gr_jid *jid = room(a, block_size(full_len, bare_len, node.len));
    char *full = (char *)(jid + 1), *bare = full, *p = full;

    if (node.len > 0) {
        memcpy(p, node.s, node.len);
        p[node.len] = '@';
        p += node.len + 1;
    }
    memcpy(p, domain.s, domain.len);
    p += domain.len;
    if (resource.len > 0) {
        *p++ = '/';
        memcpy(p, resource.s, resource.len);
        jid->resource = p;
        p += resource.len;
    }
    p++; /* the NUL; memory came zeroed */
    if (resource.len > 0) {
        bare = p;
        memcpy(bare, full, bare_len);
        p += bare_len + 1;
    }
    if (node.len > 0) {
        memcpy(p, node.s, node.len);
        jid->node = p;
    }
    jid->full = full;
    jid->bare = bare;
    jid->domain = bare + bare_len - domain.len;
    jid->full_len = (uint16_t)full_len;
    jid->bare_len = (uint16_t)bare_len;
    jid->hash = hash_bytes(bare, bare_len);
    return jid;
}

static int prepare(struct arena *a, struct part node, struct part domain, struct part resource,
                   struct gr_jid **out)
{
    char n[PREP_SIZE], d[PREP_SIZE], r[PREP_SIZE];
    int n_len = 0, d_len, r_len = 0;

    if (node.s != NULL)
        n_len = prep_node(node.s, node.len, n, sizeof(n));
    d_len = prep_domain(domain.s, domain.len, d, sizeof(d));
    if (resource.s != NULL)
        r_len = prep_resource(resource.s, resource.len, r, sizeof(r));
    if (n_len < 0 || d_len < 0 || r_len < 0)
        return GR_EINVAL;
    *out = build(a, (struct part){ n, (size_t)n_len }, (struct part){ d, (size_t)d_len },
                 (struct part){ r, (size_t)r_len });
    return 0;
}

/* A part whose s is NULL is absent; an empty one is an error of its preparation. Most addresses
 * come prepared. */
static int make(struct arena *a, struct part node, struct part domain, struct part resource,
                struct gr_jid **out)
{
    *out = NULL;
    if (domain.s == NULL)
        return GR_EINVAL;
    if ((node.s != NULL && !prep_is_plain(PREP_NODE, node.s, node.len)) ||
        !prep_is_plain(PREP_DOMAIN, domain.s, domain.len) ||
        (resource.s != NULL && !prep_is_plain(PREP_RESOURCE, resource.s, resource.len)))
        return prepare(a, node, domain, resource, out);
    *out = build(a, node, domain, resource);
    return 0;
}

/* First the resource is cut off, then the node (RFC 7622, 3.2): a resource may contain both
 * separators. Separators are looked for before any mapping (3.1). */
int jid_parse_in(struct arena *a, const char *s, size_t len, struct gr_jid **out)
{
    struct part node = { NULL, 0 }, domain = { s, len }, resource = { NULL, 0 };
    const char *cut;

    *out = NULL;
    if (len == 0)
        return GR_EINVAL;
    cut = memchr(s, '/', len);
    if (cut != NULL) {
        domain.len = (size_t)(cut - s);
        resource.s = cut + 1;
        resource.len = len - domain.len - 1;
    }
    cut = memchr(s, '@', domain.len);
    if (cut != NULL) {
        node.s = s;
        node.len = (size_t)(cut - s);
        domain.s = cut + 1;
        domain.len -= node.len + 1;
    }
    return make(a, node, domain, resource, out);
}

int gr_jid_parse(const char *s, size_t len, struct gr_jid **out)
{
    return jid_parse_in(NULL, s, len, out);
}

static struct part text(const char *s)
{
    return (struct part){ s, s == NULL ? 0 : strlen(s) };
}

int gr_jid_make(const char *node, const char *domain, const char *resource, struct gr_jid **out)
{
    return make(NULL, text(node), text(domain), text(resource), out);
}

bool gr_jid_node_is_portable(const char *node)
{
    size_t len = strlen(node);
    char prepared[PREP_SIZE];
    int n = prep_node(node, len, prepared, sizeof(prepared));

    return n > 0 && (size_t)n == len && memcmp(prepared, node, len) == 0 &&
           prep_is_nodeprep(node, len);
}

/* Where p, a pointer into `from`, is in its copy. */
static const char *moved(const char *p, const struct gr_jid *from, const struct gr_jid *to)
{
    return p == NULL ? NULL : (const char *)to + (p - (const char *)from);
}

size_t jid_size(const struct gr_jid *jid)
{
    return block_size(jid->full_len, jid->bare_len, node_len(jid));
}

struct gr_jid *jid_dup_in(struct arena *a, const struct gr_jid *jid)
{
    size_t size = jid_size(jid);
    struct gr_jid *copy = room(a, size);

    memcpy(copy, jid, size);
    copy->full = moved(jid->full, jid, copy);
    copy->bare = moved(jid->bare, jid, copy);
    copy->node = moved(jid->node, jid, copy);
    copy->domain = moved(jid->domain, jid, copy);
    copy->resource = moved(jid->resource, jid, copy);
    return copy;
}

struct gr_jid *gr_jid_dup(const struct gr_jid *jid)
{
    return jid_dup_in(NULL, jid);
}

static struct part domain_of(const struct gr_jid *jid)
{
    return (struct part){ jid->domain, (size_t)(jid->bare + jid->bare_len - jid->domain) };
}

struct gr_jid *jid_dup_bare_in(struct arena *a, const struct gr_jid *jid)
{
    if (jid->resource == NULL)
        return jid_dup_in(a, jid);
    return build(a, (struct part){ jid->node, node_len(jid) }, domain_of(jid),
                 (struct part){ NULL, 0 });
}

struct gr_jid *gr_jid_dup_bare(const struct gr_jid *jid)
{
    return jid_dup_bare_in(NULL, jid);
}

int gr_jid_with_resource(const struct gr_jid *jid, const char *resource, struct gr_jid **out)
{
    char r[PREP_SIZE];
    int r_len;

    *out = NULL;
    if (resource == NULL)
        return GR_EINVAL;
    r_len = prep_resource(resource, strlen(resource), r, sizeof(r));
    if (r_len < 0)
        return GR_EINVAL;
    *out = build(NULL, (struct part){ jid->node, node_len(jid) }, domain_of(jid),
                 (struct part){ r, (size_t)r_len });
    return 0;
}

void gr_jid_free(struct gr_jid **take)
{
    gr_free(*take);
    *take = NULL;
}

bool gr_jid_equal(const struct gr_jid *a, const struct gr_jid *b)
{
    return a->full_len == b->full_len && memcmp(a->full, b->full, a->full_len) == 0;
}

bool gr_jid_bare_equal(const struct gr_jid *a, const struct gr_jid *b)
{
    return a->bare_len == b->bare_len && memcmp(a->bare, b->bare, a->bare_len) == 0;
}

bool gr_jid_in_list(const char *const *list, const struct gr_jid *jid)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, jid->bare) == 0 || strcmp(*list, jid->full) == 0)
            return true;
    }
    return false;
}
