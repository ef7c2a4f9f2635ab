/* conf/errors.c: collects configuration errors, so that an admin sees all of them at once. */
#include "conf/errors.h"

void conf_errors_add(struct conf_errors *errs, struct conf_place at, const char *fmt, ...)
{
    if (errs->count == CONF_ERRORS_MAX) {
        errs->dropped++;
        return;
    }
    /* Long enough for two longest section names (1023-byte domains) and a sentence. */
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);

    struct conf_error *e = &errs->items[errs->count++];

    e->file = at.file != NULL ? arena_strdup(&errs->mem, at.file) : NULL;
    e->line = at.line;
    e->text = arena_strdup(&errs->mem, text);
}

void conf_errors_print(const struct conf_errors *errs, FILE *out)
{
    for (size_t i = 0; i < errs->count; i++) {
        const struct conf_error *e = &errs->items[i];

        if (e->file == NULL)
            fprintf(out, "%s\n", e->text);
        else if (e->line == 0)
            fprintf(out, "%s: %s\n", e->file, e->text);
        else
            fprintf(out, "%s:%d: %s\n", e->file, e->line, e->text);
    }
    if (errs->dropped > 0)
        fprintf(out, "... and %zu more errors\n", errs->dropped);
}

void conf_errors_fini(struct conf_errors *errs)
{
    arena_fini(&errs->mem);
    *errs = (struct conf_errors){ 0 };
}
