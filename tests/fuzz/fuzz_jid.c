/* Fuzz target: addresses and the other prepared strings (core/xml/jid.c, prep.c, precis.c).
 *
 * The first byte chooses what the rest is: an address, or two of them split at the first NUL, or
 * one string for a profile. Beyond not crashing: what comes out is a fixed point, no longer than
 * 3071 bytes, made of the same parts, and addresses are equal exactly when their bytes are. */
#include "fuzz.h"

#include <grapnel/jid.h>

#include "base/table.h"
#include "xml/prep.h"

typedef int prep_f(const char *s, size_t len, char *out, size_t cap);

static void check_part(const char *whole, const char *part, prep_f *prep)
{
    char out[PREP_SIZE];
    size_t len;

    if (part == NULL)
        return;
    len = strlen(part);
    gr_assert(len >= 1 && len <= GR_JID_PART_MAX);
    gr_assert(strstr(whole, part) != NULL);
    gr_assert(prep(part, len, out, sizeof(out)) == (int)len && memcmp(out, part, len) == 0);
}

static struct gr_jid *parse(const char *s, size_t len)
{
    struct gr_jid *jid = NULL, *again = NULL;

    if (gr_jid_parse(s, len, &jid) != 0) {
        gr_assert(jid == NULL);
        return NULL;
    }
    gr_assert(jid->full_len <= GR_JID_MAX && strlen(jid->full) == jid->full_len);
    gr_assert(strlen(jid->bare) == jid->bare_len && jid->bare_len <= jid->full_len);
    gr_assert(memcmp(jid->full, jid->bare, jid->bare_len) == 0);
    gr_assert(jid->hash == hash_bytes(jid->bare, jid->bare_len));
    check_part(jid->full, jid->node, prep_node);
    check_part(jid->full, jid->domain, prep_domain);
    check_part(jid->full, jid->resource, prep_resource);

    gr_assert(gr_jid_parse(jid->full, jid->full_len, &again) == 0);
    gr_assert(gr_jid_equal(jid, again) && strcmp(jid->full, again->full) == 0);
    gr_jid_free(&again);
    gr_assert(gr_jid_make(jid->node, jid->domain, jid->resource, &again) == 0);
    gr_assert(gr_jid_equal(jid, again));
    gr_jid_free(&again);
    again = gr_jid_dup(jid);
    gr_jid_free(&jid);
    jid = gr_jid_dup_bare(again);
    gr_assert(gr_jid_bare_equal(jid, again) && gr_jid_is_bare(jid) && jid->hash == again->hash);
    gr_jid_free(&jid);
    return again;
}

static void check_pair(const char *s, size_t len)
{
    const char *cut = memchr(s, '\0', len);
    struct gr_jid *a, *b;

    if (cut == NULL)
        return;
    a = parse(s, (size_t)(cut - s));
    b = parse(cut + 1, len - (size_t)(cut - s) - 1);
    if (a != NULL && b != NULL) {
        gr_assert(gr_jid_equal(a, b) == (strcmp(a->full, b->full) == 0));
        gr_assert(gr_jid_bare_equal(a, b) == (strcmp(a->bare, b->bare) == 0));
        gr_assert(!gr_jid_bare_equal(a, b) || a->hash == b->hash);
        gr_assert(!gr_jid_equal(a, b) || gr_jid_bare_equal(a, b));
    }
    if (a != NULL)
        gr_jid_free(&a);
    if (b != NULL)
        gr_jid_free(&b);
}

static void check_profile(const char *s, size_t len, prep_f *prep)
{
    char once[PREP_SIZE], twice[PREP_SIZE];
    int n = prep(s, len, once, sizeof(once));

    if (n < 0) {
        gr_assert(n == GR_EINVAL);
        return;
    }
    gr_assert(n >= 1 && n <= GR_JID_PART_MAX && strlen(once) == (size_t)n);
    if (prep != prep_saslprep) /* what two standards prepare by turns is no fixed point */
        gr_assert(prep(once, (size_t)n, twice, sizeof(twice)) == n && strcmp(once, twice) == 0);
}

static void check_profiles(unsigned which, const char *s, size_t len)
{
    prep_f *const preps[] = {
        prep_node, prep_resource, prep_domain, prep_password, prep_saslprep
    };
    char quick[PREP_SIZE], slow[PREP_SIZE];
    enum prep_profile profile = (enum prep_profile)which;

    check_profile(s, len, preps[which]);
    if (which > PREP_PASSWORD || (which == PREP_DOMAIN && len > 0 && s[0] == '['))
        return;
    if (preps[which](s, len, quick, sizeof(quick)) < 0)
        gr_assert(prep_unicode(profile, s, len, slow, sizeof(slow)) < 0);
    else
        gr_assert(prep_unicode(profile, s, len, slow, sizeof(slow)) > 0 &&
                  strcmp(quick, slow) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[16] = { 1 };
    const char *s = (const char *)data + 1;
    struct gr_jid *jid;

    if (size == 0)
        return 0;
    hash_set_key(key);
    size--;
    switch (data[0] % 8) {
    case 0:
        jid = parse(s, size);
        if (jid != NULL)
            gr_jid_free(&jid);
        break;
    case 1:
        check_pair(s, size);
        break;
    case 2: {
        char *node = gr_strndup(s, size);

        if (gr_jid_node_is_portable(node))
            gr_assert(prep_is_nodeprep(node, strlen(node)));
        gr_free(node);
        break;
    }
    default:
        check_profiles(data[0] % 8 - 3u, s, size);
    }
    return 0;
}
