/* tests/fuzz/fuzz_ini.c: random text as a configuration.
 *
 * Beyond "no crash": either there is a configuration and no error, or none and every error has a
 * sentence and a line of the text (0: the text as a whole); reading twice gives the same; what
 * schema_text says about a value reads back as that value. Includes are off: no file is opened. */
#include "fuzz.h"

#include <stdio.h>

#include "conf/conf.h"

struct everything {
    const char *text, *jid;
    int64_t number, time, size;
    bool yes;
    int word;
    const char *const *list, *const *path, *const *jids;
};
static const struct gr_opt options[] = {
    GR_OPT_STR(struct everything, text, "x", "text"),
    GR_OPT_JID(struct everything, jid, NULL, "address"),
    GR_OPT_INT(struct everything, number, 0, INT64_MIN, INT64_MAX, "number"),
    GR_OPT_DURATION(struct everything, time, 0, 0, INT64_MAX, "time", .zero = "never"),
    GR_OPT_SIZE(struct everything, size, 0, 0, INT64_MAX, "size"),
    GR_OPT_BOOL(struct everything, yes, false, "flag"),
    GR_OPT_ENUM(struct everything, word, 0, GR_WORDS("one", "two", "three"), "word"),
    GR_OPT_LIST(struct everything, list, "a, b", "list"),
    GR_OPT_LIST(struct everything, path, "/a:/b", "path", .sep = ':'),
    GR_OPT_JIDLIST(struct everything, jids, NULL, "addresses"),
    GR_OPT_END
};

static void errors_check(const struct conf_errors *errs, const uint8_t *data, size_t size)
{
    int lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    for (size_t i = 0; i < errs->count; i++) {
        gr_assert(errs->items[i].text[0] != '\0');
        gr_assert(errs->items[i].line >= 0 && errs->items[i].line <= lines);
        for (const char *p = errs->items[i].text; *p != '\0'; p++)
            gr_assert((unsigned char)*p >= 0x20 || *p == '\t');
    }
}

/* The value of each option, written as a line and read again. */
static void values_check(const struct everything *values, struct arena *mem)
{
    struct conf_errors errs = { 0 };
    struct everything again = { 0 };
    static struct ini ini;
    const struct ini_section *section;
    char *text = gr_strdup("[mod_all]\n");

    for (const struct gr_opt *o = options; o->name != NULL; o++) {
        char *longer = gr_asprintf("%s%s = %s\n", text, o->name, schema_text(o, values, mem));

        gr_free(text);
        text = longer;
    }
    ini_load_text(&ini, "again", text, strlen(text), &errs);
    section = ini.first;
    schema_apply(options, &section, 1, section->at, &again, mem, &errs);
    for (size_t i = 0; i < errs.count; i++) /* a value of full length may not fit with its quotes */
        gr_assert(strstr(errs.items[i].text, "this line has") != NULL);
    for (const struct gr_opt *o = options; errs.count == 0 && o->name != NULL; o++)
        gr_assert(strcmp(schema_text(o, values, mem), schema_text(o, &again, mem)) == 0);
    conf_errors_fini(&errs);
    ini_fini(&ini);
    gr_free(text);
}

static void on_change(void *ctx, const struct conf_change *change)
{
    (void)ctx;
    (void)change;
    gr_assert(!"equal text, another value");
}

static void modules_check(const struct conf *c)
{
    for (size_t i = 0; i < c->host_count; i++) {
        for (size_t j = 0; j < c->hosts[i].module_count; j++) {
            struct everything values = { 0 };
            struct conf_errors errs = { 0 };
            struct arena mem = { 0 };

            conf_module_apply(&c->hosts[i].modules[j], options, &values, &mem, &errs);
            values_check(&values, &mem);
            conf_errors_fini(&errs);
            arena_fini(&mem);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_errors errs = { 0 }, same = { 0 };
    struct conf *c, *twin;
    int rc = conf_load_text("fuzz", (const char *)data, size, &c, &errs);

    gr_assert((rc == 0) == (c != NULL) && (rc == 0) == (conf_errors_total(&errs) == 0));
    gr_assert(conf_load_text("fuzz", (const char *)data, size, &twin, &same) == rc);
    gr_assert(conf_errors_total(&same) == conf_errors_total(&errs));
    errors_check(&errs, data, size);
    if (c != NULL) {
        conf_diff(c, twin, &(struct conf_diff){ .change = on_change });
        modules_check(c);
    }
    conf_free(&c);
    conf_free(&twin);
    conf_errors_fini(&errs);
    conf_errors_fini(&same);
    return 0;
}
