/* grapnel/form.h: data forms (XEP-0004): reading what was submitted, writing forms.
 *
 * A form is an element <x xmlns='jabber:x:data'/> of some stanza; what is read from it lives as
 * long as that. */
#pragma once

#include <grapnel/stanza.h>

#define GR_NS_FORM "jabber:x:data"
#define GR_NS_VALIDATE "http://jabber.org/protocol/xdata-validate"

/* --- reading --- */

/* The first form below `parent`; NULL: none. */
GR_API const struct gr_el *gr_form_child(const struct gr_el *parent);
/* Is it filled in for this purpose: type "submit" and this FORM_TYPE (XEP-0068, 3.1)? */
GR_API bool gr_form_submitted(const struct gr_el *form, const char *form_type);
GR_API const struct gr_el *gr_form_field(const struct gr_el *form, const char *var);
/* Text of the field's first <value/>, "" when that is empty; NULL: no such field, or no value. */
GR_API const char *gr_form_value(const struct gr_el *form, const char *var);
/* Each value of a field: prev NULL starts; the text is gr_el_text. */
GR_API const struct gr_el *gr_form_next_value(const struct gr_el *field,
                                              const struct gr_el *prev);
/* 0 and "true", "1", "false" or "0" in *out; GR_ENOENT: no such field, or no value (*out is left
 * alone); GR_EINVAL: another text. */
GR_API int gr_form_bool(const struct gr_el *form, const char *var, bool *out);
/* A field that is not in `known` (NULL-terminated), for protocols that must refuse those: its name,
 * "" when it has none. FORM_TYPE and fields of type fixed are always known. NULL: all are. */
GR_API const char *gr_form_unknown(const struct gr_el *form, const char *const *known);

/* --- writing, into a stanza of which the caller is the sole holder --- */

/* A form of that type ("form", "submit", "result", "cancel") as the last child of parent (NULL: the
 * root); form_type NULL: without FORM_TYPE. Title and the like: gr_el_add_text. */
GR_API struct gr_el *gr_form_add(struct gr_stanza *st, struct gr_el *parent, const char *type,
                                 const char *form_type);
/* A field; type, label and value NULL: left out. */
GR_API struct gr_el *gr_form_add_field(struct gr_stanza *st, struct gr_el *form, const char *type,
                                       const char *var, const char *label, const char *value);
/* One more value of a field; one more option of a list, label NULL: none. */
GR_API void gr_form_add_value(struct gr_stanza *st, struct gr_el *field, const char *value);
GR_API void gr_form_add_option(struct gr_stanza *st, struct gr_el *field, const char *label,
                               const char *value);
