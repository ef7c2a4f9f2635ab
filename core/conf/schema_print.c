/* conf/schema_print.c: a table of options as --help, sample configuration and manual page. */
#include "conf/schema.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "conf/value.h"

const char *schema_when_text(enum gr_when when)
{
    static const char *const names[] = { "live", "rebind", "restart" };

    return names[when];
}

static void describe_range(const struct gr_opt *o, struct buf *b)
{
    char lo[VALUE_TEXT_SIZE], hi[VALUE_TEXT_SIZE];

    value_print(lo, o->kind, o->min);
    value_print(hi, o->kind, o->max);
    if (o->min != INT64_MIN && o->max != INT64_MAX)
        buf_printf(b, " from %s to %s", lo, hi);
    else if (o->min != INT64_MIN)
        buf_printf(b, " of at least %s", lo);
    else if (o->max != INT64_MAX)
        buf_printf(b, " of at most %s", hi);
}

static void describe_words(const struct gr_opt *o, struct buf *b)
{
    for (size_t i = 0; o->words[i] != NULL; i++)
        buf_printf(b, "%s%s", i == 0 ? "" : o->words[i + 1] == NULL ? " or " : ", ", o->words[i]);
}

static void describe(const struct gr_opt *o, struct buf *b)
{
    long long max = o->max > 0 ? (long long)o->max : o->kind == GR_KIND_STR ? 1023 : 256;

    switch (o->kind) {
    case GR_KIND_INT:
        buf_puts(b, "a whole number");
        describe_range(o, b);
        break;
    case GR_KIND_DURATION:
        buf_puts(b, "a time");
        describe_range(o, b);
        buf_puts(b, " with its unit (ms, s, m, h, d, w)");
        break;
    case GR_KIND_SIZE:
        buf_puts(b, "a size");
        describe_range(o, b);
        buf_puts(b, " (K, M, G; bytes without unit)");
        break;
    case GR_KIND_BOOL:
        buf_puts(b, "yes or no");
        break;
    case GR_KIND_ENUM:
        describe_words(o, b);
        break;
    case GR_KIND_LIST:
        buf_printf(b, "at most %lld words separated by %s", max,
                   o->sep == 0 || o->sep == ',' ? "commas" : o->sep == ':' ? "colons" : "its sign");
        break;
    case GR_KIND_JID:
        buf_puts(b, "an address such as user@example.org");
        break;
    case GR_KIND_JIDLIST:
        buf_printf(b, "at most %lld addresses such as user@example.org, separated by commas", max);
        break;
    default:
        buf_printf(b, "text of at most %lld bytes", max);
    }
    if (o->zero != NULL)
        buf_printf(b, ", or %s", o->zero);
}

const char *schema_describe(const struct gr_opt *opt, struct arena *mem)
{
    struct buf b = { 0 };
    const char *text;

    describe(opt, &b);
    text = arena_strndup(mem, buf_data(&b), buf_len(&b));
    buf_fini(&b);
    return text;
}

/* Words of `text` in lines of at most `width` bytes, each beginning with `lead`. */
static void print_wrapped(FILE *out, const char *lead, const char *text, size_t width)
{
    size_t room = width - strlen(lead);

    while (*text != '\0') {
        size_t len = strlen(text), cut = len;

        if (len > room) {
            for (cut = room; cut > 0 && text[cut] != ' '; cut--)
                ;
            if (cut == 0) /* one long word */
                cut = strcspn(text, " ");
        }
        fprintf(out, "%s%.*s\n", lead, (int)cut, text);
        text += cut;
        text += strspn(text, " ");
    }
}

void schema_print_help(FILE *out, const char *title, const struct gr_opt *table)
{
    struct arena mem = { 0 };

    fprintf(out, "[%s]\n", title);
    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        const char *def = schema_default(o, &mem);

        fprintf(out, "  %s\n", o->name);
        print_wrapped(out, "      ", o->help, 90);
        print_wrapped(out, "      ", arena_printf(&mem, "%s; %s%s; %s", schema_describe(o, &mem),
                                                  o->required ? "required" : "default: ",
                                                  o->required ? "" : def[0] ? def : "none",
                                                  schema_when_text(o->when)), 90);
    }
    arena_fini(&mem);
}

void schema_print_ini(FILE *out, const char *title, const struct gr_opt *table)
{
    struct arena mem = { 0 };

    fprintf(out, "[%s]\n", title);
    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        print_wrapped(out, "; ", o->help, 90);
        print_wrapped(out, ";   ", schema_describe(o, &mem), 90);
        fprintf(out, ";%s = %s\n\n", o->name, schema_default(o, &mem));
    }
    arena_fini(&mem);
}

/* A cell of a markdown table: | would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fprintf(out, "%s%c", *text == '|' ? "\\" : "", *text);
}

void schema_print_markdown(FILE *out, const char *title, const struct gr_opt *table)
{
    struct arena mem = { 0 };

    fprintf(out, "### [%s]\n\n| option | value | default | changes | |\n|---|---|---|---|---|\n",
            title);
    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        const char *def = o->required ? "(required)" : schema_default(o, &mem);

        fprintf(out, "| `%s` | ", o->name);
        print_cell(out, schema_describe(o, &mem));
        fputs(" | ", out);
        if (def[0] != '\0') {
            fputs("`", out);
            print_cell(out, def);
            fputs("`", out);
        }
        fprintf(out, " | %s | ", schema_when_text(o->when));
        print_cell(out, o->help);
        fputs(" |\n", out);
    }
    fputc('\n', out);
    arena_fini(&mem);
}
