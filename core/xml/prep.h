/* xml/prep.h: preparation of strings that are compared: address parts, passwords. Any thread.
 *
 * Each function writes the prepared form and a NUL to out, which has cap bytes (PREP_SIZE is
 * always enough), and returns its length without the NUL: 1 to 1023. GR_EINVAL: not UTF-8, a
 * forbidden or unassigned code point, empty, or longer than 1023 bytes or cap afterwards. The
 * output is a fixed point, preparing it again changes nothing (prep_saslprep does not promise
 * that). Input may not overlap output. */
#pragma once

#include <grapnel/jid.h>

#define PREP_SIZE (GR_JID_PART_MAX + 1)
/* Longest input that is looked at: more than the result's limit, since NFC may shorten. */
#define PREP_INPUT_MAX (4 * GR_JID_PART_MAX)

enum prep_profile { PREP_NODE, PREP_RESOURCE, PREP_DOMAIN, PREP_PASSWORD };

/* RFC 8265, 3.3 (UsernameCaseMapped) and RFC 7622, 3.3.1. */
int prep_node(const char *s, size_t len, char *out, size_t cap);
/* RFC 8265, 4.2 (OpaqueString) and RFC 7622, 3.5 (no leading space). */
int prep_resource(const char *s, size_t len, char *out, size_t cap);
/* RFC 7622, 3.2: IDNA2008 U-labels, LDH labels, IPv4, [IPv6]; a trailing dot is stripped. */
int prep_domain(const char *s, size_t len, char *out, size_t cap);

/* One of the above would change nothing, which a look at the bytes shows; false: it may. */
bool prep_is_plain(enum prep_profile profile, const char *s, size_t len);

/* RFC 8265, 4.2 (OpaqueString): a password as PLAIN, registration or the command line gave it. */
int prep_password(const char *s, size_t len, char *out, size_t cap);
/* RFC 4013: what SCRAM clients hash (RFC 5802, 2.2), so what their keys must be derived from. It
 * differs from prep_password in that compatibility characters are folded (NFKC: fullwidth and
 * ligatures become plain letters), soft hyphens and their like are dropped, and mixed-direction
 * text is refused. SASLprep knows Unicode 3.2 only; a password with younger characters (emoji) is
 * prepared by prep_password, as clients do that cannot apply it either. */
int prep_saslprep(const char *s, size_t len, char *out, size_t cap);

/* Is this a fixed point of nodeprep (RFC 6122, appendix A; unassigned code points refused)? */
bool prep_is_nodeprep(const char *s, size_t len);

/* The same results without the short cuts for ASCII; for tests that compare the two. */
int prep_unicode(enum prep_profile profile, const char *s, size_t len, char *out, size_t cap);
