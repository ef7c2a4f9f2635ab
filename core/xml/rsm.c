/* xml/rsm.c: result set management (XEP-0059). */
#include <grapnel/rsm.h>

#include <stdio.h>
#include <string.h>

/* A whole number without sign, as xs:int has it; larger ones are cut down. */
static int read_number(const char *s, int64_t *out)
{
    int64_t n = 0;

    if (*s == '\0')
        return GR_EINVAL;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return GR_EINVAL;
        n = n < INT32_MAX ? n * 10 + (*s - '0') : n;
    }
    *out = n;
    return 0;
}

/* The text of a child that may be there once. */
static int read_text(const struct gr_el *set, const char *name, const char **out)
{
    const struct gr_el *el = gr_el_child(set, GR_NS_RSM, name);

    *out = el != NULL ? gr_el_text(el, NULL) : NULL;
    return el != NULL && gr_el_next(el, GR_NS_RSM, name) != NULL ? GR_EINVAL : 0;
}

static int read_count(const struct gr_el *set, const char *name, int64_t *out)
{
    const char *text;
    int rc = read_text(set, name, &text);

    return rc == 0 && text != NULL ? read_number(text, out) : rc;
}

int gr_rsm_read(struct gr_rsm *out, const struct gr_el *parent)
{
    const struct gr_el *set = gr_el_child(parent, GR_NS_RSM, "set");

    *out = (struct gr_rsm){ .asked = set != NULL, .max = -1, .index = -1 };
    if (set == NULL)
        return 0;
    if (read_text(set, "after", &out->after) != 0 || read_text(set, "before", &out->before) != 0 ||
        read_count(set, "max", &out->max) != 0 || read_count(set, "index", &out->index) != 0)
        return GR_EINVAL;
    if (out->after != NULL && out->after[0] == '\0')
        out->after = NULL;
    return out->index >= 0 && (out->before != NULL || out->after != NULL) ? GR_EINVAL : 0;
}

size_t gr_rsm_limit(const struct gr_rsm *rsm, size_t otherwise, size_t most)
{
    size_t limit = rsm->max >= 0 ? (size_t)rsm->max : otherwise;

    return limit < most ? limit : most;
}

void gr_rsm_add(struct gr_stanza *st, struct gr_el *parent, const struct gr_rsm_page *page)
{
    struct gr_el *set = gr_el_add(st, parent, GR_NS_RSM, "set"), *el;
    char text[24];

    if (page->first != NULL) {
        el = gr_el_add_text(st, set, NULL, "first", page->first);
        if (page->index >= 0)
            gr_el_set_int(st, el, "index", page->index);
        gr_el_add_text(st, set, NULL, "last", page->last);
    }
    if (page->count >= 0) {
        snprintf(text, sizeof(text), "%lld", (long long)page->count);
        gr_el_add_text(st, set, NULL, "count", text);
    }
}
