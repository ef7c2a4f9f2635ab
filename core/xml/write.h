/* xml/write.h: elements to text. Any thread that holds a reference to the stanza.
 *
 * Output is well-formed whatever modules put in: bytes that are no XML character (or no UTF-8)
 * become U+FFFD. */
#pragma once

#include <grapnel/stanza.h>

#include "base/buf.h"

/* As a child of a stream whose default namespace is its content namespace: a stanza carries no
 * xmlns, so the same text is right on c2s, s2s and component streams (RFC 6120, 4.8.3). Elements
 * of the stream namespace get the prefix stream:. */
void stanza_write(struct buf *out, const struct gr_stanza *st);

/* Escaped for a quoted attribute value (either quote), or for character data. */
void xml_escape_attr(struct buf *out, const char *s, size_t len);
void xml_escape_text(struct buf *out, const char *s, size_t len);

/* The attribute is there but is no address; gr_stanza_to then returns NULL and gr_el_attr what
 * was sent. */
bool stanza_to_malformed(const struct gr_stanza *st);
bool stanza_from_malformed(const struct gr_stanza *st);
