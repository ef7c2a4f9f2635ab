/* conf/schema.c: checks the keys of a section against a table of options and fills a struct.
 *
 * Tables are const and come from the core or a module's descriptor; the struct they fill is part
 * of one generation of configuration and read-only afterwards. A secret's value is never part of a
 * message. */
#include "conf/schema.h"

#include <inttypes.h>
#include <string.h>

#include "conf/utf8.h"
#include "conf/value.h"

#define STR_MAX 1023
#define ITEMS_MAX 256

struct schema_prep schema_prep;

const char *schema_address(struct arena *mem, const char *s, size_t len, bool domain)
{
    struct gr_jid *jid = NULL;
    char *out = NULL;

    if (len == 0 || len > GR_JID_MAX || (domain && (memchr(s, '@', len) || memchr(s, '/', len))))
        return NULL;
    if (schema_prep.parse == NULL) {
        out = arena_strndup(mem, s, len);
        for (char *p = out; *p != '\0'; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;
        return out;
    }
    if (schema_prep.parse(s, len, &jid) == 0) {
        if (!domain || gr_jid_is_domain(jid))
            out = arena_strndup(mem, jid->full, jid->full_len);
        schema_prep.free(&jid);
    }
    return out;
}

/* --- one value --- */

static int store_number(const struct gr_opt *o, const char *text, void *at)
{
    int64_t v = 0;
    int rc;

    if (o->zero != NULL && strcmp(text, o->zero) == 0)
        rc = 0;
    else if (o->kind == GR_KIND_INT)
        rc = value_int(text, &v);
    else if (o->kind == GR_KIND_DURATION)
        rc = value_duration(text, &v);
    else
        rc = value_size(text, &v);
    if (rc == 0 && (v < o->min || v > o->max) && !(v == 0 && o->zero != NULL))
        rc = GR_ELIMIT;
    if (rc == 0)
        memcpy(at, &v, sizeof v);
    return rc;
}

static int store_enum(const struct gr_opt *o, const char *text, void *at)
{
    for (int i = 0; o->words[i] != NULL; i++) {
        if (strcmp(o->words[i], text) == 0) {
            memcpy(at, &i, sizeof i);
            return 0;
        }
    }
    return GR_ENOENT;
}

static int store_list(const struct gr_opt *o, const char *text, void *at, struct arena *mem)
{
    const char sep[2] = { o->sep != 0 ? o->sep : ',', '\0' };
    size_t limit = o->max > 0 ? (size_t)o->max : ITEMS_MAX, count = 1;
    const char **items;

    for (const char *p = text; (p = strchr(p, sep[0])) != NULL; p++)
        count++;
    if (text[strspn(text, " \t")] == '\0')
        count = 0;
    if (count > limit)
        return GR_ELIMIT;
    items = arena_alloc(mem, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(text, sep), cut = strspn(text, " \t");
        const char *item = text + cut;

        text += len + (text[len] != '\0');
        if (cut >= len)
            return GR_EINVAL; /* nothing between two separators */
        len -= cut;
        while (item[len - 1] == ' ' || item[len - 1] == '\t')
            len--;
        items[i] = o->kind == GR_KIND_JIDLIST ? schema_address(mem, item, len, false)
                                              : arena_strndup(mem, item, len);
        if (items[i] == NULL)
            return GR_EINVAL;
    }
    memcpy(at, &items, sizeof items);
    return 0;
}

static int store_text(const struct gr_opt *o, const char *text, void *at, struct arena *mem)
{
    size_t len = strlen(text);
    const char *s;

    if (o->kind == GR_KIND_STR && len > (size_t)(o->max > 0 ? o->max : STR_MAX))
        return GR_ELIMIT;
    if (o->kind == GR_KIND_JID)
        s = len > 0 ? schema_address(mem, text, len, false) : NULL;
    else
        s = arena_strndup(mem, text, len);
    if (s == NULL && (len > 0 || o->required))
        return GR_EINVAL; /* an empty line means nobody, unless somebody is needed */
    memcpy(at, &s, sizeof s);
    return 0;
}

/* 0, GR_EINVAL (not of that kind), GR_ELIMIT (out of range), GR_ENOENT (no such word). */
static int store(const struct gr_opt *o, const char *text, void *values, struct arena *mem)
{
    void *at = (char *)values + o->offset;

    switch (o->kind) {
    case GR_KIND_INT:
    case GR_KIND_DURATION:
    case GR_KIND_SIZE:
        return store_number(o, text, at);
    case GR_KIND_BOOL:
        return value_bool(text, at);
    case GR_KIND_ENUM:
        return store_enum(o, text, at);
    case GR_KIND_LIST:
    case GR_KIND_JIDLIST:
        return store_list(o, text, at, mem);
    case GR_KIND_STR:
    case GR_KIND_JID:
        return store_text(o, text, at, mem);
    case GR_KIND_END:
        break;
    }
    return GR_EINVAL;
}

static int store_default(const struct gr_opt *o, void *values, struct arena *mem)
{
    void *at = (char *)values + o->offset;
    int word = (int)o->value;
    bool yes = o->value != 0;

    switch (o->kind) {
    case GR_KIND_INT:
    case GR_KIND_DURATION:
    case GR_KIND_SIZE:
        memcpy(at, &o->value, sizeof o->value);
        return 0;
    case GR_KIND_BOOL:
        memcpy(at, &yes, sizeof yes);
        return 0;
    case GR_KIND_ENUM:
        memcpy(at, &word, sizeof word);
        return 0;
    case GR_KIND_LIST:
    case GR_KIND_JIDLIST:
        return store_list(o, o->text != NULL ? o->text : "", at, mem);
    default:
        return o->text != NULL ? store_text(o, o->text, at, mem) : 0; /* zeroed: NULL */
    }
}

/* --- what is wrong with it --- */

static void value_refused(const struct gr_opt *o, const struct ini_entry *e, int rc,
                          struct conf_errors *errs)
{
    struct arena mem = { 0 };
    struct words_nearest near = { 0 };
    const char *what = rc == GR_ELIMIT ? " is out of range" : "";
    char shown[128];
    size_t len = strlen(e->value);

    for (size_t i = 0; rc == GR_ENOENT && o->words[i] != NULL; i++)
        words_try(&near, e->value, o->words[i]);
    if (o->secret)
        snprintf(shown, sizeof shown, "%s", o->name);
    else
        snprintf(shown, sizeof shown, "%s = %.*s%s", o->name,
                 (int)(len > 60 ? utf8_cut(e->value, 60) : len), e->value, len > 60 ? "..." : "");
    if (len == 0)
        conf_errors_add(errs, e->at, "`%s` has no value: write %s", o->name,
                        schema_describe(o, &mem));
    else if (near.word != NULL)
        conf_errors_add(errs, e->at, "`%s`: did you mean `%s`? Write %s", shown, near.word,
                        schema_describe(o, &mem));
    else
        conf_errors_add(errs, e->at, "`%s`%s: write %s%s", shown, what, schema_describe(o, &mem),
                        strstr(e->value, " #") != NULL
                            ? " (a comment behind a value starts with ;)" : "");
    arena_fini(&mem);
}

static void key_unknown(const struct gr_opt *table, const struct ini_section *s,
                        const struct ini_entry *e, struct conf_errors *errs)
{
    bool module = strncmp(s->name, "mod_", 4) == 0;
    struct words_nearest near = { 0 };
    char all[512] = "";
    size_t used = 0;

    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        words_try(&near, e->key, o->name);
        if (used < sizeof all - 80)
            used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used > 0 ? ", " : "",
                                     o->name);
        else if (strcmp(all + used - 5, ", ...") != 0)
            used += (size_t)snprintf(all + used, sizeof all - used, ", ...");
    }
    if (module) {
        words_try(&near, e->key, "enabled");
        snprintf(all + used, sizeof all - used, "%senabled", used > 0 ? ", " : "");
    }
    if (near.word != NULL)
        conf_errors_add(errs, e->at, "[%s] has no option `%s`: did you mean `%s`?", s->title,
                        e->key, near.word);
    else
        conf_errors_add(errs, e->at, "[%s] has no option `%s`: it has %s", s->title, e->key,
                        all[0] != '\0' ? all : "none");
}

static const struct gr_opt *option_find(const struct gr_opt *table, const char *name)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (strcmp(table->name, name) == 0)
            return table;
    }
    return NULL;
}

static void section_apply(const struct gr_opt *table, const struct ini_section *s, void *out,
                          struct arena *mem, struct conf_errors *errs)
{
    for (const struct ini_entry *e = s->first; e != NULL; e = e->next) {
        const struct gr_opt *o = option_find(table, e->key);
        int rc;

        if (e->used)
            continue;
        if (o == NULL) {
            key_unknown(table, s, e, errs);
            continue;
        }
        rc = store(o, e->value, out, mem);
        if (rc != 0)
            value_refused(o, e, rc, errs);
    }
}

void schema_apply(const struct gr_opt *table, const struct ini_section *const sections[],
                  size_t count, struct conf_place at, void *out, struct arena *mem,
                  struct conf_errors *errs)
{
    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        if (store_default(o, out, mem) != 0)
            conf_errors_add(errs, at, "the default of `%s` is not %s", o->name,
                            schema_describe(o, mem));
    }
    for (size_t i = 0; i < count; i++) {
        if (sections[i] != NULL)
            section_apply(table, sections[i], out, mem, errs);
    }
    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        const struct ini_section *last = NULL;
        bool given = !o->required;

        for (size_t i = 0; i < count; i++) {
            given = given || ini_find(sections[i], o->name) != NULL;
            last = sections[i] != NULL ? sections[i] : last;
        }
        if (!given && last != NULL)
            conf_errors_add(errs, last->at, "[%s] needs a line `%s = ...`: %s", last->title,
                            o->name, o->help);
        else if (!given)
            conf_errors_add(errs, at, "`%s` must be given: %s", o->name, o->help);
    }
}

/* --- a table from elsewhere --- */

static const char *option_wrong(const struct gr_opt *table, const struct gr_opt *o,
                                struct arena *mem)
{
    size_t len = strlen(o->name);
    _Alignas(8) char scratch[8] = { 0 };
    struct gr_opt alone = *o;

    alone.offset = 0;
    if (len == 0 || len > INI_NAME_MAX ||
        strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
        return "has a name that cannot be a key (a-z, 0-9 and _, at most 48 bytes)";
    if (strcmp(o->name, "enabled") == 0)
        return "has a reserved name";
    if (option_find(table, o->name) != o)
        return "is declared twice";
    if (o->help == NULL || o->help[0] == '\0')
        return "has no help";
    if (o->kind <= GR_KIND_END || o->kind > GR_KIND_JIDLIST)
        return "has no kind";
    if (o->when < GR_LIVE || o->when > GR_RESTART)
        return "does not say when a change applies";
    if (o->kind == GR_KIND_ENUM) {
        if (o->words == NULL || o->words[0] == NULL)
            return "has no words";
        for (int64_t i = 0; i <= o->value; i++) {
            if (o->words[i] == NULL)
                return "has a default that is no word";
        }
    }
    if (o->kind == GR_KIND_INT || o->kind == GR_KIND_DURATION || o->kind == GR_KIND_SIZE) {
        if (o->min > o->max || (o->kind != GR_KIND_INT && o->min < 0))
            return "has an impossible range";
        if ((o->value < o->min || o->value > o->max) && !(o->value == 0 && o->zero != NULL))
            return "has a default out of its range";
    }
    for (const char *p = o->text; p != NULL && *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return "has a default with control characters, which cannot stand in a file";
    }
    return store_default(&alone, scratch, mem) == 0 ? NULL : "has a default that is not valid";
}

void schema_check(const struct gr_opt *table, const char *owner, struct conf_errors *errs)
{
    struct arena mem = { 0 };

    for (const struct gr_opt *o = table; o != NULL && o->name != NULL; o++) {
        const char *wrong = option_wrong(table, o, &mem);

        if (wrong != NULL)
            conf_errors_add(errs, (struct conf_place){ NULL, 0 },
                            "%s: the option `%s` %s: correct the module", owner, o->name, wrong);
    }
    arena_fini(&mem);
}
