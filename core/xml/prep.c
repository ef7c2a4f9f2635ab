/* xml/prep.c: PRECIS (RFC 8264, 8265), IDNA2008 (RFC 5890-5893, UTS 46) and stringprep on ICU.
 *
 * ASCII, which is nearly everything, is answered without ICU. Otherwise the rules of a profile are
 * applied until the result is stable (RFC 8264, 7), so that outputs are fixed points. ICU objects
 * are opened once and only read afterwards: any thread.
 *
 * Lower case is mapped code point by code point: capital sigma always becomes the small one, never
 * the final one, as RFC 7622, 3.5 explains for its examples 9 to 11. That is also what nodeprep
 * makes of it, so old and new peers agree. */
#include "xml/prep.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <unicode/uchar.h>
#include <unicode/uidna.h>
#include <unicode/unorm2.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

#include "xml/precis.h"

/* UTF-16 units: of an input and its mappings (never more units than bytes came in), of a result. */
#define WORK_UNITS (PREP_INPUT_MAX + 4)
#define OUT_UNITS PREP_SIZE
#define ROUNDS 4 /* RFC 8264, 7: once, and three more times */

static const UNormalizer2 *nfc, *nfkc;
static UIDNA *idna;
static UStringPrepProfile *nodeprep, *saslprep;
static pthread_once_t icu_once = PTHREAD_ONCE_INIT;

static void open_icu(void)
{
    UErrorCode rc = U_ZERO_ERROR;

    nfc = unorm2_getNFCInstance(&rc);
    nfkc = unorm2_getNFKCInstance(&rc);
    idna = uidna_openUTS46(UIDNA_USE_STD3_RULES | UIDNA_CHECK_BIDI | UIDNA_CHECK_CONTEXTJ |
                               UIDNA_CHECK_CONTEXTO | UIDNA_NONTRANSITIONAL_TO_ASCII |
                               UIDNA_NONTRANSITIONAL_TO_UNICODE,
                           &rc);
    nodeprep = usprep_openByType(USPREP_RFC3920_NODEPREP, &rc);
    saslprep = usprep_openByType(USPREP_RFC4013_SASLPREP, &rc);
    gr_assert(U_SUCCESS(rc)); /* ICU without its data: a broken installation */
}

/* Strict UTF-8 to UTF-16. */
static int from_utf8(const char *s, size_t len, UChar out[WORK_UNITS])
{
    UErrorCode rc = U_ZERO_ERROR;
    int32_t n;

    if (len > PREP_INPUT_MAX)
        return GR_EINVAL;
    u_strFromUTF8(out, WORK_UNITS, &n, s, (int32_t)len, &rc);
    return U_SUCCESS(rc) ? n : GR_EINVAL;
}

static int to_utf8(const UChar *s, int n, char *out, size_t cap)
{
    UErrorCode rc = U_ZERO_ERROR;
    int32_t len;

    if (cap > PREP_SIZE)
        cap = PREP_SIZE;
    u_strToUTF8(out, (int32_t)cap, &len, s, n, &rc);
    /* Not terminated means that it filled cap exactly: one byte too long. */
    if (U_FAILURE(rc) || rc == U_STRING_NOT_TERMINATED_WARNING || len == 0)
        return GR_EINVAL;
    return len;
}

/* Fullwidth and halfwidth code points decompose to exactly one other. */
static UChar32 map_width(UChar32 c)
{
    int type = u_getIntPropertyValue(c, UCHAR_DECOMPOSITION_TYPE);
    UErrorCode rc = U_ZERO_ERROR;
    UChar to[4];
    int i = 0, n;

    if (type != U_DT_WIDE && type != U_DT_NARROW)
        return c;
    n = unorm2_getRawDecomposition(nfkc, c, to, GR_COUNT(to), &rc);
    if (U_SUCCESS(rc) && n > 0)
        U16_NEXT(to, i, n, c);
    return c;
}

static int normalize(const UChar *s, int n, UChar out[OUT_UNITS])
{
    UErrorCode rc = U_ZERO_ERROR;

    /* More units than fit are more bytes than are allowed. */
    n = unorm2_normalize(nfc, s, n, out, OUT_UNITS, &rc);
    return U_SUCCESS(rc) ? n : GR_EINVAL;
}

/* RFC 8265, 3.3.2 and 3.3.3, once. */
static int username_once(const UChar *s, int n, UChar out[OUT_UNITS])
{
    UChar mapped[WORK_UNITS], lower[WORK_UNITS];
    int len = 0, low = 0;
    UChar32 c;

    for (int i = 0; i < n;) {
        U16_NEXT(s, i, n, c);
        c = map_width(c);
        U16_APPEND_UNSAFE(mapped, len, c);
    }
    if (len == 0 || !precis_in_class(mapped, len, true))
        return GR_EINVAL;
    for (int i = 0; i < len;) {
        U16_NEXT(mapped, i, len, c);
        if (low + 2 > WORK_UNITS)
            return GR_EINVAL;
        if (c == 0x130) { /* the only one whose lower case is two: SpecialCasing.txt */
            lower[low++] = 'i';
            lower[low++] = 0x307;
        } else {
            c = u_tolower(c);
            U16_APPEND_UNSAFE(lower, low, c);
        }
    }
    n = normalize(lower, low, out);
    return n >= 0 && precis_bidi_ok(out, n) ? n : GR_EINVAL;
}

/* RFC 8265, 4.2.1 and 4.2.2, once. */
static int opaque_once(const UChar *s, int n, UChar out[OUT_UNITS])
{
    UChar mapped[WORK_UNITS];
    int len = 0;
    UChar32 c;

    if (!precis_in_class(s, n, false))
        return GR_EINVAL;
    for (int i = 0; i < n;) {
        U16_NEXT(s, i, n, c);
        if (u_charType(c) == U_SPACE_SEPARATOR)
            c = ' ';
        U16_APPEND_UNSAFE(mapped, len, c);
    }
    n = normalize(mapped, len, out);
    gr_wipe(mapped, (size_t)len * sizeof(mapped[0])); /* may be a password */
    return n;
}

/* One label separator at the end is stripped, before anything else (RFC 7622, 3.2). The other
 * three dots of IDNA are recognised only after mapping, so that is looked at again. Of several
 * dots the rest are empty labels. */
static int idna_once(const UChar *s, int n, UChar out[OUT_UNITS])
{
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    UErrorCode rc = U_ZERO_ERROR;
    bool stripped = n > 0 && s[n - 1] == '.';
    UChar32 c;

    n = uidna_nameToUnicode(idna, s, stripped ? n - 1 : n, out, OUT_UNITS, &info, &rc);
    if (U_FAILURE(rc) || info.errors != 0)
        return GR_EINVAL;
    if (n > 0 && out[n - 1] == '.') {
        if (stripped)
            return GR_EINVAL;
        n--;
    }
    /* UTS 46 alone lets symbols pass, which IDNA2008 does not (RFC 5892, 2.4 and 3). What needs a
     * context has been seen in it. */
    for (int i = 0; i < n;) {
        enum precis_class klass;

        U16_NEXT(out, i, n, c);
        klass = precis_class_of(c);
        if ((klass != PRECIS_PVALID && klass != PRECIS_CONTEXT) || (c >= 0x20d0 && c <= 0x20ff) ||
            (c >= 0x1d100 && c <= 0x1d24f))
            return GR_EINVAL;
    }
    return n;
}

static int until_stable(int (*once)(const UChar *s, int n, UChar out[OUT_UNITS]), const char *s,
                        size_t len, char *out, size_t cap)
{
    UChar now[WORK_UNITS], next[OUT_UNITS];
    int n = from_utf8(s, len, now), used = n, result = GR_EINVAL;

    for (int round = 0; n > 0 && round < ROUNDS; round++) {
        int m = once(now, n, next);

        if (m == n && u_memcmp(now, next, n) == 0) {
            result = to_utf8(now, n, out, cap);
            break;
        }
        if (m > 0)
            u_memcpy(now, next, m);
        n = m;
        used = n > used ? n : used;
    }
    if (used > 0) { /* it may have been a password */
        gr_wipe(now, (size_t)used * sizeof(now[0]));
        gr_wipe(next, sizeof(next));
    }
    return result;
}

/* RFC 7622, 3.3.1. */
static bool excluded_from_node(char c)
{
    return c == '"' || c == '&' || c == '\'' || c == '/' || c == ':' || c == '<' || c == '>' ||
           c == '@';
}

static int node_unicode(const char *s, size_t len, char *out, size_t cap)
{
    int n = until_stable(username_once, s, len, out, cap);

    for (int i = 0; i < n; i++)
        if (excluded_from_node(out[i]))
            return GR_EINVAL;
    return n;
}

/* Example 18 of RFC 7622, 3.5 refuses a leading space, though OpaqueString has no such rule. */
static int resource_unicode(const char *s, size_t len, char *out, size_t cap)
{
    int n = until_stable(opaque_once, s, len, out, cap);

    return n > 0 && out[0] == ' ' ? GR_EINVAL : n;
}

/* RFC 3986, 3.2.2 with RFC 6874: "[" IPv6 [ "%25" zone ] "]". The address is written as RFC 5952
 * has it, so that one address has one form. IPvFuture has no user. */
static int ip_literal(const char *s, size_t len, char *out, size_t cap)
{
    char text[INET6_ADDRSTRLEN], canon[INET6_ADDRSTRLEN];
    const char *end = s + len - 1, *zone = memchr(s, '%', len);
    size_t text_len = (size_t)((zone != NULL ? zone : end) - s) - 1, canon_len, zone_len = 0;
    struct in6_addr addr;

    if (len < 4 || *end != ']' || text_len >= sizeof(text))
        return GR_EINVAL;
    if (zone != NULL) {
        zone_len = (size_t)(end - zone);
        if (zone_len < 4 || memcmp(zone, "%25", 3) != 0)
            return GR_EINVAL;
        for (const char *z = zone + 3; z < end; z++) /* "unreserved"; nobody escapes here */
            if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~",
                       *z) == NULL || *z == '\0')
                return GR_EINVAL;
    }
    memcpy(text, s + 1, text_len);
    text[text_len] = '\0';
    if (memchr(text, '\0', text_len) != NULL || inet_pton(AF_INET6, text, &addr) != 1)
        return GR_EINVAL;
    inet_ntop(AF_INET6, &addr, canon, sizeof(canon));
    canon_len = strlen(canon);
    if (canon_len + zone_len + 2 > GR_JID_PART_MAX || canon_len + zone_len + 3 > cap)
        return GR_EINVAL;
    out[0] = '[';
    memcpy(out + 1, canon, canon_len);
    if (zone_len > 0)
        memcpy(out + 1 + canon_len, zone, zone_len);
    memcpy(out + 1 + canon_len + zone_len, "]", 2);
    return (int)(canon_len + zone_len + 2);
}

int prep_unicode(enum prep_profile profile, const char *s, size_t len, char *out, size_t cap)
{
    pthread_once(&icu_once, open_icu);
    switch (profile) {
    case PREP_NODE:
        return node_unicode(s, len, out, cap);
    case PREP_RESOURCE:
        return resource_unicode(s, len, out, cap);
    case PREP_DOMAIN:
        return until_stable(idna_once, s, len, out, cap);
    case PREP_PASSWORD:
        return until_stable(opaque_once, s, len, out, cap);
    }
    return GR_EINVAL;
}

/* Room for the result of an ASCII short cut, which is never longer than the input. */
static bool fits(size_t len, size_t cap)
{
    return len > 0 && len <= GR_JID_PART_MAX && len < cap;
}

int prep_node(const char *s, size_t len, char *out, size_t cap)
{
    size_t i;

    for (i = 0; i < len; i++) {
        char c = s[i];

        if ((unsigned char)c >= 0x80)
            return prep_unicode(PREP_NODE, s, len, out, cap);
        if (c <= ' ' || c == 0x7f || excluded_from_node(c) || i >= PREP_INPUT_MAX)
            return GR_EINVAL;
    }
    if (!fits(len, cap))
        return GR_EINVAL;
    for (i = 0; i < len; i++)
        out[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
    out[len] = '\0';
    return (int)len;
}

static int opaque(enum prep_profile profile, const char *s, size_t len, char *out, size_t cap)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] >= 0x80)
            return prep_unicode(profile, s, len, out, cap);
        if (s[i] < ' ' || s[i] == 0x7f || i >= PREP_INPUT_MAX)
            return GR_EINVAL;
    }
    if (!fits(len, cap))
        return GR_EINVAL;
    memcpy(out, s, len);
    out[len] = '\0';
    return (int)len;
}

int prep_resource(const char *s, size_t len, char *out, size_t cap)
{
    if (len > 0 && s[0] == ' ')
        return GR_EINVAL;
    return opaque(PREP_RESOURCE, s, len, out, cap);
}

int prep_password(const char *s, size_t len, char *out, size_t cap)
{
    return opaque(PREP_PASSWORD, s, len, out, cap);
}

/* Labels of letters, digits and inner hyphens, the third and fourth not both hyphens (RFC 5890,
 * 2.3.1: those are A-labels, or reserved). Whatever else it is, ICU decides. */
static bool plain_domain(const char *s, size_t len)
{
    size_t label = 0;

    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (c == '.') {
            if (i == label || s[i - 1] == '-')
                return false;
            label = i + 1;
        } else if (c == '-') {
            if (i == label || (i == label + 3 && s[i - 1] == '-'))
                return false;
        } else if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) {
            return false;
        }
    }
    return len > label && s[len - 1] != '-';
}

int prep_domain(const char *s, size_t len, char *out, size_t cap)
{
    size_t bare = len > 0 && s[len - 1] == '.' ? len - 1 : len;

    if (len > PREP_INPUT_MAX)
        return GR_EINVAL;
    if (len > 0 && s[0] == '[')
        return ip_literal(s, len, out, cap);
    if (!plain_domain(s, bare))
        return prep_unicode(PREP_DOMAIN, s, len, out, cap);
    if (!fits(bare, cap))
        return GR_EINVAL;
    for (size_t i = 0; i < bare; i++)
        out[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
    out[bare] = '\0';
    return (int)bare;
}

bool prep_is_plain(enum prep_profile profile, const char *s, size_t len)
{
    bool any = profile == PREP_RESOURCE; /* of the visible ones */
    bool domain = profile == PREP_DOMAIN;

    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (any && c > ' ' && c < 0x7f) ||
              c == '.' || (c == '-' && !domain)))
            return false;
        if (c == '.' && domain && (i == 0 || s[i - 1] == '.'))
            return false;
    }
    return len > 0 && len <= GR_JID_PART_MAX && !(domain && s[len - 1] == '.');
}

int prep_saslprep(const char *s, size_t len, char *out, size_t cap)
{
    UChar in[WORK_UNITS], prepared[OUT_UNITS];
    UErrorCode rc = U_ZERO_ERROR;
    bool ascii = true;
    int n;

    for (size_t i = 0; ascii && i < len; i++)
        ascii = (unsigned char)s[i] < 0x80;
    if (ascii)
        return prep_password(s, len, out, cap);
    pthread_once(&icu_once, open_icu);
    n = from_utf8(s, len, in);
    if (n < 0)
        return GR_EINVAL;
    n = usprep_prepare(saslprep, in, n, prepared, OUT_UNITS, USPREP_DEFAULT, NULL, &rc);
    if (rc == U_STRINGPREP_UNASSIGNED_ERROR)
        n = prep_password(s, len, out, cap);
    else
        n = U_SUCCESS(rc) ? to_utf8(prepared, n, out, cap) : GR_EINVAL;
    gr_wipe(in, sizeof(in));
    gr_wipe(prepared, sizeof(prepared));
    return n;
}

bool prep_is_nodeprep(const char *s, size_t len)
{
    UChar in[WORK_UNITS], prepared[OUT_UNITS];
    UErrorCode rc = U_ZERO_ERROR;
    int n, m;

    pthread_once(&icu_once, open_icu);
    n = from_utf8(s, len, in);
    if (n <= 0)
        return false;
    m = usprep_prepare(nodeprep, in, n, prepared, OUT_UNITS, USPREP_DEFAULT, NULL, &rc);
    return U_SUCCESS(rc) && m == n && u_memcmp(in, prepared, n) == 0;
}
