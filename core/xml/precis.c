/* xml/precis.c: which code points a PRECIS string class has (RFC 8264, 8 and 9), in which contexts
 * (RFC 5892, appendix A), and the Bidi Rule (RFC 5893, 2). Derived from ICU's Unicode properties,
 * as the RFC wants it, rather than from a table of one Unicode version. Any thread. */
#include "xml/precis.h"

#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/utf16.h>

/* RFC 5892, 2.6. */
static bool exception_of(UChar32 c, enum precis_class *out)
{
    switch (c) {
    case 0xdf: case 0x3c2: case 0x6fd: case 0x6fe: case 0xf0b: case 0x3007:
        *out = PRECIS_PVALID;
        return true;
    case 0xb7: case 0x375: case 0x5f3: case 0x5f4: case 0x30fb:
        *out = PRECIS_CONTEXT;
        return true;
    case 0x640: case 0x7fa: case 0x302e: case 0x302f: case 0x303b:
        *out = PRECIS_DISALLOWED;
        return true;
    }
    if ((c >= 0x660 && c <= 0x669) || (c >= 0x6f0 && c <= 0x6f9)) {
        *out = PRECIS_CONTEXT;
        return true;
    }
    *out = PRECIS_DISALLOWED;
    return c >= 0x3031 && c <= 0x3035;
}

/* RFC 8264, 8; the letters are its categories of section 9. The order matters. */
enum precis_class precis_class_of(UChar32 c)
{
    uint32_t gc = U_MASK(u_charType(c));
    enum precis_class klass;

    if (exception_of(c, &klass)) /* F */
        return klass;
    if (c >= 0x21 && c <= 0x7e) /* K */
        return PRECIS_PVALID;
    if (c == 0x200c || c == 0x200d) /* H */
        return PRECIS_CONTEXT;
    switch (u_getIntPropertyValue(c, UCHAR_HANGUL_SYLLABLE_TYPE)) { /* I */
    case U_HST_LEADING_JAMO: case U_HST_VOWEL_JAMO: case U_HST_TRAILING_JAMO:
        return PRECIS_DISALLOWED;
    }
    if ((gc & (U_GC_CN_MASK | U_GC_CC_MASK)) != 0 || /* J, noncharacters of M, L */
        u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT)) /* M */
        return PRECIS_DISALLOWED;
    /* Q. A lone code point that NFKC leaves alone can only be "yes" or "maybe". */
    if (u_getIntPropertyValue(c, UCHAR_NFKC_QUICK_CHECK) == UNORM_NO)
        return PRECIS_FREE_PVAL;
    if ((gc & (U_GC_LL_MASK | U_GC_LU_MASK | U_GC_LO_MASK | U_GC_ND_MASK | U_GC_LM_MASK |
               U_GC_MN_MASK | U_GC_MC_MASK)) != 0) /* A */
        return PRECIS_PVALID;
    if ((gc & (U_GC_LT_MASK | U_GC_NL_MASK | U_GC_NO_MASK | U_GC_ME_MASK | U_GC_ZS_MASK |
               U_GC_S_MASK | U_GC_P_MASK)) != 0) /* R, N, O, P */
        return PRECIS_FREE_PVAL;
    return PRECIS_DISALLOWED;
}

static bool is_script(UChar32 c, UScriptCode script)
{
    UErrorCode rc = U_ZERO_ERROR;

    return c >= 0 && uscript_getScript(c, &rc) == script && U_SUCCESS(rc);
}

static int joining_type(UChar32 c)
{
    return u_getIntPropertyValue(c, UCHAR_JOINING_TYPE);
}

/* RFC 5892, A.1: ({L,D} T* ZWNJ T* {R,D}), around s[at..after). */
static bool breaks_cursive(const UChar *s, int n, int at, int after)
{
    UChar32 c;
    int type = U_JT_TRANSPARENT;

    while (at > 0 && type == U_JT_TRANSPARENT) {
        U16_PREV(s, 0, at, c);
        type = joining_type(c);
    }
    if (type != U_JT_LEFT_JOINING && type != U_JT_DUAL_JOINING)
        return false;
    type = U_JT_TRANSPARENT;
    while (after < n && type == U_JT_TRANSPARENT) {
        U16_NEXT(s, after, n, c);
        type = joining_type(c);
    }
    return type == U_JT_RIGHT_JOINING || type == U_JT_DUAL_JOINING;
}

/* Does any code point lie in first..last or, when last is 0, in a script of Japanese (A.7)? */
static bool contains(const UChar *s, int n, UChar32 first, UChar32 last)
{
    UChar32 c;

    for (int i = 0; i < n;) {
        U16_NEXT(s, i, n, c);
        if (last != 0 ? c >= first && c <= last
                      : is_script(c, USCRIPT_HIRAGANA) || is_script(c, USCRIPT_KATAKANA) ||
                            is_script(c, USCRIPT_HAN))
            return true;
    }
    return false;
}

/* RFC 5892, appendix A, for c = s[at..after). */
static bool context_ok(const UChar *s, int n, UChar32 c, int at, int after)
{
    UChar32 before = -1, next = -1;
    int i = at;

    if (at > 0)
        U16_PREV(s, 0, i, before);
    i = after;
    if (after < n)
        U16_NEXT(s, i, n, next);
    switch (c) {
    case 0x200c: case 0x200d: /* A.1, A.2; 9 is Virama */
        if (before >= 0 && u_getCombiningClass(before) == 9)
            return true;
        return c == 0x200c && breaks_cursive(s, n, at, after);
    case 0xb7: /* A.3 */
        return before == 'l' && next == 'l';
    case 0x375: /* A.4 */
        return is_script(next, USCRIPT_GREEK);
    case 0x5f3: case 0x5f4: /* A.5, A.6 */
        return is_script(before, USCRIPT_HEBREW);
    case 0x30fb: /* A.7 */
        return contains(s, n, 0, 0);
    }
    if (c >= 0x660 && c <= 0x669) /* A.8 */
        return !contains(s, n, 0x6f0, 0x6f9);
    return !contains(s, n, 0x660, 0x669); /* A.9, the only ones left */
}

bool precis_in_class(const UChar *s, int n, bool identifier)
{
    UChar32 c;

    for (int i = 0, at = 0; i < n; at = i) {
        U16_NEXT(s, i, n, c);
        switch (precis_class_of(c)) {
        case PRECIS_PVALID:
            break;
        case PRECIS_FREE_PVAL:
            if (identifier)
                return false;
            break;
        case PRECIS_CONTEXT:
            if (!context_ok(s, n, c, at, i))
                return false;
            break;
        case PRECIS_DISALLOWED:
            return false;
        }
    }
    return true;
}

/* RFC 5893, 2; the numbers are its conditions. Only for strings with right-to-left code points. */
bool precis_bidi_ok(const UChar *s, int n)
{
    const uint32_t rtl = U_MASK(U_RIGHT_TO_LEFT) | U_MASK(U_RIGHT_TO_LEFT_ARABIC);
    const uint32_t en = U_MASK(U_EUROPEAN_NUMBER), an = U_MASK(U_ARABIC_NUMBER);
    const uint32_t neutral = U_MASK(U_EUROPEAN_NUMBER_SEPARATOR) |
                             U_MASK(U_EUROPEAN_NUMBER_TERMINATOR) |
                             U_MASK(U_COMMON_NUMBER_SEPARATOR) | U_MASK(U_OTHER_NEUTRAL) |
                             U_MASK(U_BOUNDARY_NEUTRAL) | U_MASK(U_DIR_NON_SPACING_MARK);
    uint32_t all = 0, first = 0, last = 0;
    UChar32 c;

    for (int i = 0; i < n;) {
        uint32_t dir;

        U16_NEXT(s, i, n, c);
        dir = U_MASK(u_charDirection(c));
        if (first == 0)
            first = dir;
        if (dir != U_MASK(U_DIR_NON_SPACING_MARK))
            last = dir;
        all |= dir;
    }
    if ((all & (rtl | an)) == 0)
        return true;
    if ((first & rtl) != 0)                                      /* 1 */
        return (all & ~(rtl | an | en | neutral)) == 0           /* 2 */
               && (last & (rtl | en | an)) != 0                  /* 3 */
               && ((all & en) == 0 || (all & an) == 0);          /* 4 */
    return false; /* 1, or 5: a left-to-right label has none of R, AL, AN */
}
