/* xml/precis.h: PRECIS code point classes, contextual rules and the Bidi Rule, for prep.c. Strings
 * are well-formed UTF-16. Any thread. */
#pragma once

#include <stdbool.h>
#include <unicode/uchar.h>

/* RFC 8264, 8: derived property values. Unassigned is disallowed. */
enum precis_class {
    PRECIS_DISALLOWED,
    PRECIS_PVALID,
    PRECIS_FREE_PVAL, /* FreeformClass only */
    PRECIS_CONTEXT    /* where RFC 5892, appendix A allows it */
};

enum precis_class precis_class_of(UChar32 c);
/* Every code point is in the IdentifierClass (else the FreeformClass), contexts included. */
bool precis_in_class(const UChar *s, int n, bool identifier);
/* RFC 5893, 2; true for strings without right-to-left code points. */
bool precis_bidi_ok(const UChar *s, int n);
