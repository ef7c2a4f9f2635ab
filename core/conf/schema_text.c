/* conf/schema_text.c: values as text that a file could hold, and what differs between two structs.
 *
 * What schema_text writes for a value without secrets, the reader and schema_apply read back. */
#include "conf/schema.h"

#include <string.h>

#include "base/buf.h"
#include "conf/value.h"

/* Quotes where the reader would otherwise cut a comment or blanks, or see a quoted value. */
static const char *quoted(const char *s, struct arena *mem)
{
    size_t len = strlen(s), n = 0;
    char *out;

    if (len == 0 ||
        (s[0] != '"' && strchr(" \t;", s[0]) == NULL && strchr(" \t", s[len - 1]) == NULL &&
         strstr(s, " ;") == NULL && strstr(s, "\t;") == NULL))
        return s;
    out = arena_alloc(mem, 2 * len + 3);
    out[n++] = '"';
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            out[n++] = '\\';
        out[n++] = *s;
    }
    out[n] = '"';
    return out;
}

static const char *list_text(const struct gr_opt *o, const char *const *items, struct arena *mem)
{
    struct buf b = { 0 };
    const char *s;

    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        if (i > 0 && o->sep != 0)
            buf_append(&b, &o->sep, 1);
        else if (i > 0)
            buf_puts(&b, ", ");
        buf_puts(&b, items[i]);
    }
    s = quoted(arena_strndup(mem, buf_len(&b) > 0 ? buf_data(&b) : "", buf_len(&b)), mem);
    buf_fini(&b);
    return s;
}

static const char *number_text(const struct gr_opt *o, int64_t v, struct arena *mem)
{
    char text[VALUE_TEXT_SIZE];

    if (v == 0 && o->zero != NULL)
        return o->zero;
    value_print(text, o->kind, v);
    return arena_strdup(mem, text);
}

/* The value itself, secrets included. */
static const char *plain_text(const struct gr_opt *o, const void *values, struct arena *mem)
{
    const void *at = (const char *)values + o->offset;
    const char *const *items;
    const char *s;
    int64_t v;
    int word;
    bool yes;

    switch (o->kind) {
    case GR_KIND_INT:
    case GR_KIND_DURATION:
    case GR_KIND_SIZE:
        memcpy(&v, at, sizeof v);
        return number_text(o, v, mem);
    case GR_KIND_BOOL:
        memcpy(&yes, at, sizeof yes);
        return yes ? "yes" : "no";
    case GR_KIND_ENUM:
        memcpy(&word, at, sizeof word);
        return o->words[word];
    case GR_KIND_LIST:
    case GR_KIND_JIDLIST:
        memcpy(&items, at, sizeof items);
        return list_text(o, items, mem);
    default:
        memcpy(&s, at, sizeof s);
        return s != NULL ? quoted(s, mem) : "";
    }
}

const char *schema_text(const struct gr_opt *opt, const void *values, struct arena *mem)
{
    const char *text = plain_text(opt, values, mem);

    return opt->secret && text[0] != '\0' ? "***" : text;
}

const char *schema_default(const struct gr_opt *opt, struct arena *mem)
{
    switch (opt->kind) {
    case GR_KIND_INT:
    case GR_KIND_DURATION:
    case GR_KIND_SIZE:
        return number_text(opt, opt->value, mem);
    case GR_KIND_BOOL:
        return opt->value != 0 ? "yes" : "no";
    case GR_KIND_ENUM:
        return opt->words[opt->value];
    default:
        return opt->text != NULL ? quoted(opt->text, mem) : "";
    }
}

void schema_diff(const struct gr_opt *table, const void *before, const void *after,
                 schema_diff_f *change, void *ctx, struct arena *mem)
{
    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        if (strcmp(plain_text(o, before, mem), plain_text(o, after, mem)) != 0)
            change(ctx, o, schema_text(o, before, mem), schema_text(o, after, mem));
    }
}
