/* tests/fuzz/fuzz_tree.h: a stanza as its tree says, not as it arrived; free it. */
#pragma once

#include "xml/stanza_internal.h"

static inline char *fuzz_tree(const struct gr_stanza *st)
{
    struct gr_stanza *copy = gr_stanza_copy(st);
    char *text;

    copy->raw = NULL;
    text = gr_strdup(gr_stanza_xml(copy, NULL));
    gr_stanza_unref(&copy);
    return text;
}

/* The same of a text, which must be a stanza. */
static inline char *fuzz_tree_of(const char *xml, size_t len)
{
    struct gr_stanza *st = NULL;
    char *text;

    gr_assert(gr_stanza_parse(xml, len, &st) == 0);
    text = fuzz_tree(st);
    gr_stanza_unref(&st);
    return text;
}
