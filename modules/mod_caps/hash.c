/* mod_caps/hash.c: the hash of a disco#info answer, by XEP-0115 (5.1, 5.4) and by XEP-0390 (4.1).
 *
 * Both are made of sorted lists of strings. Where XEP-0115 sorts by one part after the other, the parts
 * are joined with a character that sorts before all that XML allows, and get their separator when
 * they are sorted. */
#include "caps.h"

#include <stdlib.h>
#include <string.h>

#define PART "\1" /* no XML character */

/* --- growing strings, lists of them --- */

struct text {
    char *s;
    size_t len, room;
};

static void add_bytes(struct text *t, const char *s, size_t len)
{
    if (t->len + len + 1 > t->room) {
        t->room = 2 * (t->len + len + 1);
        t->s = gr_realloc(t->s, t->room);
    }
    if (len > 0)
        memcpy(t->s + t->len, s, len);
    t->len += len;
    t->s[t->len] = '\0';
}

static void add(struct text *t, const char *s)
{
    add_bytes(t, s != NULL ? s : "", s != NULL ? strlen(s) : 0);
}

/* XEP-0115, 5.1, note: a '<' that was escaped stays so, else it could stand for the separator. */
static void add_escaped(struct text *t, const char *s)
{
    const char *lt;

    for (; s != NULL && (lt = strchr(s, '<')) != NULL; s = lt + 1) {
        add_bytes(t, s, (size_t)(lt - s));
        add(t, "&lt;");
    }
    add(t, s);
}

struct list {
    struct text *at;
    size_t count, room;
};

static struct text *list_add(struct list *l)
{
    if (l->count == l->room) {
        l->room = l->room > 0 ? 2 * l->room : 8;
        l->at = gr_realloc(l->at, l->room * sizeof(*l->at));
    }
    l->at[l->count] = (struct text){ 0 };
    add(&l->at[l->count], NULL);
    return &l->at[l->count++];
}

/* i;octet: no string has a NUL, and strcmp compares bytes. */
static int by_octets(const void *a, const void *b)
{
    return strcmp(((const struct text *)a)->s, ((const struct text *)b)->s);
}

static void list_sort(struct list *l)
{
    if (l->count > 1)
        qsort(l->at, l->count, sizeof(*l->at), by_octets);
}

static void list_free(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        gr_free(l->at[i].s);
    gr_free(l->at);
}

/* Sorted, each with `part` where the parts meet and `after` behind it. */
static void add_list(struct text *t, struct list *l, char part, const char *after)
{
    list_sort(l);
    for (size_t i = 0; i < l->count; i++) {
        size_t from = t->len;

        add_bytes(t, l->at[i].s, l->at[i].len);
        for (char *p = t->s + from; (p = strchr(p, PART[0])) != NULL; p++)
            *p = part;
        add(t, after);
    }
}

static const char *lang_of(const struct gr_el *identity, const char *otherwise)
{
    const char *lang = gr_el_attr(identity, "xml:lang");

    return lang != NULL ? lang : otherwise;
}

static const struct gr_el *form_type(const struct gr_el *form)
{
    const struct gr_el *f = gr_el_child(form, NS_FORM, "field");

    for (; f != NULL; f = gr_el_next(f, NS_FORM, "field")) {
        const char *var = gr_el_attr(f, "var"), *type = gr_el_attr(f, "type");

        if (var != NULL && strcmp(var, "FORM_TYPE") == 0)
            return type != NULL && strcmp(type, "hidden") == 0 &&
                   gr_el_child(f, NS_FORM, "value") != NULL ? f : NULL;
    }
    return NULL;
}

/* --- XEP-0115 --- */

static bool has_twins(struct list *l)
{
    list_sort(l);
    for (size_t i = 1; i < l->count; i++)
        if (strcmp(l->at[i - 1].s, l->at[i].s) == 0)
            return true;
    return false;
}

/* 5.4, 3.5: one FORM_TYPE, and no other form with it. */
static bool form_is_odd(const struct list *forms, const struct gr_el *type)
{
    const struct gr_el *value = gr_el_child(type, NS_FORM, "value"), *v = value;
    const char *text = gr_el_text(value, NULL);

    while ((v = gr_el_next(v, NS_FORM, "value")) != NULL)
        if (strcmp(gr_el_text(v, NULL), text) != 0)
            return true;
    for (size_t i = 0; i < forms->count; i++)
        if (strncmp(forms->at[i].s, text, strlen(text)) == 0 &&
            forms->at[i].s[strlen(text)] == PART[0])
            return true;
    return false;
}

static void add_form_v1(struct list *forms, const struct gr_el *form, const struct gr_el *type)
{
    struct list fields = { 0 };
    struct text *t;

    for (struct gr_el *f = gr_el_child(form, NS_FORM, "field"); f != NULL;
         f = gr_el_next(f, NS_FORM, "field")) {
        struct list values = { 0 };

        if (f == type)
            continue;
        for (struct gr_el *v = gr_el_child(f, NS_FORM, "value"); v != NULL;
             v = gr_el_next(v, NS_FORM, "value"))
            add_escaped(list_add(&values), gr_el_text(v, NULL));
        t = list_add(&fields);
        add_escaped(t, gr_el_attr(f, "var"));
        add(t, PART);
        add_list(t, &values, PART[0], PART);
        list_free(&values);
    }
    t = list_add(forms);
    add_escaped(t, gr_el_text(gr_el_child(type, NS_FORM, "value"), NULL));
    add(t, PART);
    add_list(t, &fields, PART[0], "");
    list_free(&fields);
}

static bool input_v1(struct text *out, const struct gr_el *query, const char *lang)
{
    struct list identities = { 0 }, features = { 0 }, forms = { 0 };
    const struct gr_el *el, *type;
    bool good = true;

    for (el = gr_el_child(query, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL)) {
        if (gr_el_is(el, NS_INFO, "identity")) {
            struct text *t = list_add(&identities);
            const char *parts[] = { gr_el_attr(el, "category"), gr_el_attr(el, "type"),
                                    lang_of(el, lang), gr_el_attr(el, "name") };
            for (size_t i = 0; i < GR_COUNT(parts); i++) {
                add(t, i > 0 ? PART : NULL);
                add_escaped(t, parts[i]);
            }
        } else if (gr_el_is(el, NS_INFO, "feature")) {
            add_escaped(list_add(&features), gr_el_attr(el, "var"));
        } else if (gr_el_is(el, NS_FORM, "x") && (type = form_type(el)) != NULL) {
            good = good && !form_is_odd(&forms, type);
            add_form_v1(&forms, el, type);
        }
    }
    good = good && !has_twins(&identities) && !has_twins(&features);
    add_list(out, &identities, '/', "<");
    add_list(out, &features, '/', "<");
    add_list(out, &forms, '<', "");
    list_free(&identities);
    list_free(&features);
    list_free(&forms);
    return good;
}

/* --- XEP-0390: the separators sort before all other characters but white space --- */

#define US "\x1f"
#define RS "\x1e"
#define GS "\x1d"
#define FS "\x1c"

static bool add_form_v2(struct list *forms, const struct gr_el *form)
{
    struct list fields = { 0 };
    struct text *t;

    if (form_type(form) == NULL || gr_el_child(form, NS_FORM, "reported") != NULL ||
        gr_el_child(form, NS_FORM, "item") != NULL)
        return false;
    for (struct gr_el *f = gr_el_child(form, NS_FORM, "field"); f != NULL;
         f = gr_el_next(f, NS_FORM, "field")) {
        struct list values = { 0 };

        for (struct gr_el *v = gr_el_child(f, NS_FORM, "value"); v != NULL;
             v = gr_el_next(v, NS_FORM, "value")) {
            t = list_add(&values);
            add(t, gr_el_text(v, NULL));
            add(t, US);
        }
        t = list_add(&fields);
        add(t, gr_el_attr(f, "var"));
        add(t, US);
        add_list(t, &values, PART[0], "");
        add(t, RS);
        list_free(&values);
    }
    t = list_add(forms);
    add_list(t, &fields, PART[0], "");
    add(t, GS);
    list_free(&fields);
    return true;
}

static bool input_v2(struct text *out, const struct gr_el *query, const char *lang)
{
    struct list identities = { 0 }, features = { 0 }, forms = { 0 };
    struct list *const lists[] = { &features, &identities, &forms };
    bool good = true;
    struct text *t;

    for (struct gr_el *el = gr_el_child(query, NULL, NULL); el != NULL;
         el = gr_el_next(el, NULL, NULL)) {
        if (gr_el_is(el, NS_INFO, "identity")) {
            const char *parts[] = { gr_el_attr(el, "category"), gr_el_attr(el, "type"),
                                    lang_of(el, lang), gr_el_attr(el, "name") };
            t = list_add(&identities);
            for (size_t i = 0; i < GR_COUNT(parts); i++) {
                add(t, parts[i]);
                add(t, US);
            }
            add(t, RS);
        } else if (gr_el_is(el, NS_INFO, "feature")) {
            t = list_add(&features);
            add(t, gr_el_attr(el, "var"));
            add(t, US);
        } else {
            good = good && gr_el_is(el, NS_FORM, "x") && add_form_v2(&forms, el);
        }
    }
    for (size_t i = 0; i < GR_COUNT(lists); i++) {
        add_list(out, lists[i], PART[0], "");
        add(out, FS);
        list_free(lists[i]);
    }
    return good;
}

/* --- both --- */

bool hash_of(bool v2, const char *algo, const struct gr_el *query, const char *lang,
             char out[VALUE_SIZE])
{
    struct text input = { 0 };
    uint8_t digest[GR_HASH_MAX];
    int len = GR_EINVAL;

    add(&input, NULL);
    if (v2 ? input_v2(&input, query, lang) : input_v1(&input, query, lang))
        len = gr_hash(algo, input.s, input.len, digest);
    gr_free(input.s);
    if (len > 0)
        gr_base64_encode(out, digest, (size_t)len);
    return len > 0;
}

/* Most entities leave out what xml:lang an identity inherits (XEP-0390, 4.1), some do not. */
bool hash_matches(const struct announced *a, const struct gr_el *query, const char *lang)
{
    char value[VALUE_SIZE];

    if (hash_of(a->v2, a->algo, query, NULL, value) && strcmp(value, a->value) == 0)
        return true;
    return lang != NULL && hash_of(a->v2, a->algo, query, lang, value) &&
           strcmp(value, a->value) == 0;
}
