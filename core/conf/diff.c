/* conf/diff.c: what changes from one generation to the next, for the report of a reload.
 *
 * The core's sections are compared by value (30s and 30000ms are equal), those of modules as they
 * are written, since a module that is being replaced may have another schema. What needs a restart is
 * compared with what the process started with, so that it is said until there was one. */
#include "conf/conf.h"

#include <string.h>

#include "conf/modules.h"

struct walk {
    const struct conf_diff *diff;
    struct arena mem;
    const char *section;
};

static void report(struct walk *w, const char *key, const char *before, const char *after,
                   enum gr_when when)
{
    const struct conf_change change = { w->section, key, before, after, when };

    w->diff->change(w->diff->ctx, &change);
}

/* --- what the process started with --- */

struct pin {
    struct pin *next;
    const struct gr_opt *opt; /* of a table of the core */
    const char *text;
};
struct conf_started {
    struct arena mem;
    struct pin *pins;
};

static void pin_all(struct conf_started *st, const struct gr_opt *table, const void *values)
{
    for (const struct gr_opt *o = table; o->name != NULL; o++) {
        struct pin *p;

        if (o->when != GR_RESTART)
            continue;
        p = arena_alloc(&st->mem, sizeof *p);
        *p = (struct pin){ st->pins, o, arena_strdup(&st->mem, schema_text(o, values, &st->mem)) };
        st->pins = p;
    }
}

static const struct conf_section *section_named(const char *name)
{
    const struct conf_section *s = conf_sections;

    while (strcmp(s->name, name) != 0)
        s++;
    return s;
}

struct conf_started *conf_started_new(const struct conf *c)
{
    struct conf_started *st = gr_alloc(sizeof *st);

    pin_all(st, section_named("server")->table, &c->server);
    pin_all(st, section_named("limits")->table, &c->limits);
    return st;
}

void conf_started_free(struct conf_started **take)
{
    if (*take != NULL)
        arena_fini(&(*take)->mem);
    gr_free(*take);
    *take = NULL;
}

static const struct pin *pinned(const struct walk *w, const struct gr_opt *o)
{
    const struct pin *p = w->diff->started != NULL ? w->diff->started->pins : NULL;

    while (p != NULL && p->opt != o)
        p = p->next;
    return p;
}

/* --- the core's sections --- */

static void on_change(void *ctx, const struct gr_opt *o, const char *before, const char *after)
{
    struct walk *w = ctx;
    const struct pin *p = pinned(w, o);

    if (p == NULL)
        report(w, o->name, before, after, o->when);
    else if (strcmp(p->text, after) == 0) /* taken back in time */
        report(w, o->name, before, after, GR_LIVE);
}

static void restarts(struct walk *w, const struct gr_opt *table, const void *after)
{
    for (const struct gr_opt *o = table; o->name != NULL; o++) {
        const struct pin *p = pinned(w, o);
        const char *now = p != NULL ? schema_text(o, after, &w->mem) : NULL;

        if (p != NULL && strcmp(p->text, now) != 0)
            report(w, o->name, p->text, now, GR_RESTART);
    }
}

static void values(struct walk *w, const char *name, const char *title, const void *before,
                   const void *after)
{
    const struct gr_opt *table = section_named(name)->table;

    w->section = title;
    schema_diff(table, before, after, on_change, w, &w->mem);
    restarts(w, table, after);
}

/* A section that is only in one of them; `there` is the new side. */
static void whole(struct walk *w, const char *title, bool there, enum gr_when when)
{
    w->section = title;
    report(w, NULL, there ? NULL : "there", there ? "there" : NULL, when);
}

static const struct conf_listen *listen_find(const struct conf *c, const char *name)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        if (strcmp(c->listens[i].name, name) == 0)
            return &c->listens[i];
    }
    return NULL;
}

static const struct conf_component *component_find(const struct conf *c, const char *domain)
{
    for (size_t i = 0; i < c->component_count; i++) {
        if (strcmp(c->components[i].domain, domain) == 0)
            return &c->components[i];
    }
    return NULL;
}

static void listens(struct walk *w, const struct conf *a, const struct conf *b, bool forward)
{
    for (size_t i = 0; i < a->listen_count; i++) {
        const struct conf_listen *l = &a->listens[i], *other = listen_find(b, l->name);
        const char *title = arena_printf(&w->mem, "listen %s", l->name);

        if (other == NULL)
            whole(w, title, !forward, GR_REBIND);
        else if (forward)
            values(w, "listen", title, l, other);
    }
}

static void components(struct walk *w, const struct conf *a, const struct conf *b, bool forward)
{
    for (size_t i = 0; i < a->component_count; i++) {
        const struct conf_component *k = &a->components[i];
        const struct conf_component *other = component_find(b, k->domain);
        const char *title = arena_printf(&w->mem, "component %s", k->domain);

        if (other == NULL)
            whole(w, title, !forward, GR_LIVE);
        else if (forward)
            values(w, "component", title, k, other);
    }
}

static void hosts(struct walk *w, const struct conf *a, const struct conf *b, bool forward)
{
    for (size_t i = 0; i < a->host_count; i++) {
        const struct conf_host *h = &a->hosts[i], *other = conf_host(b, h->domain);
        const char *title = arena_printf(&w->mem, "host %s", h->domain);

        if (other == NULL)
            whole(w, title, !forward, GR_LIVE);
        else if (forward)
            values(w, "host", title, h, other);
    }
}

/* --- modules: as written --- */

static const struct gr_opt *option_of(const struct walk *w, const char *module, const char *key)
{
    const struct gr_opt *o =
        w->diff->options != NULL ? w->diff->options(w->diff->ctx, module) : NULL;

    while (o != NULL && o->name != NULL && strcmp(o->name, key) != 0)
        o++;
    return o != NULL && o->name != NULL ? o : NULL;
}

static void entry(struct walk *w, const char *module, const char *key, const struct ini_entry *a,
                  const struct ini_entry *b)
{
    const struct gr_opt *o = option_of(w, module, key);
    /* What has no schema any more may be a password. */
    bool hide = o == NULL || o->secret;

    report(w, key, a == NULL ? NULL : hide ? "***" : a->value,
           b == NULL ? NULL : hide ? "***" : b->value, o != NULL ? o->when : GR_LIVE);
}

static void entries(struct walk *w, const struct ini_section *a, const struct ini_section *b)
{
    w->section = a->title;
    if (conf_section_enabled(a) != conf_section_enabled(b))
        whole(w, a->title, conf_section_enabled(b), GR_LIVE);
    for (const struct ini_entry *e = a->first; e != NULL; e = e->next) {
        const struct ini_entry *other = ini_find(b, e->key);

        if (strcmp(e->key, "enabled") != 0 &&
            (other == NULL || strcmp(e->value, other->value) != 0))
            entry(w, a->name, e->key, e, other);
    }
    for (const struct ini_entry *e = b->first; e != NULL; e = e->next) {
        if (strcmp(e->key, "enabled") != 0 && ini_find(a, e->key) == NULL)
            entry(w, a->name, e->key, NULL, e);
    }
}

/* Whether the module is enabled in both on the host that the section of `a` is about. */
static bool stays(const struct conf *a, const struct conf *b, const struct ini_section *s)
{
    for (size_t i = 0; i < a->host_count; i++) {
        const struct conf_module *m = conf_module(&a->hosts[i], s->name);
        const struct conf_host *other = conf_host(b, a->hosts[i].domain);

        if (m != NULL && m->local == s)
            return other != NULL && conf_module(other, s->name) != NULL;
    }
    return false;
}

/* A section of one host that is only in `a`: what it says of a module that stays is taken over with it,
 * but for this. */
static void restarts_of(struct walk *w, const struct conf *b, const struct ini_section *s,
                        bool forward)
{
    struct table_node *n = table_find_str(&b->ini.sections, s->name);

    for (const struct ini_entry *e = s->first; e != NULL; e = e->next) {
        const struct gr_opt *o = option_of(w, s->name, e->key);
        const struct ini_entry *other =
            n != NULL ? ini_find(GR_CONTAINER_OF(n, struct ini_section, node), e->key) : NULL;

        if (o != NULL && o->when == GR_RESTART &&
            (other == NULL || strcmp(e->value, other->value) != 0))
            entry(w, s->name, e->key, forward ? e : other, forward ? other : e);
    }
}

static void modules(struct walk *w, const struct conf *a, const struct conf *b, bool forward)
{
    for (const struct ini_section *s = a->ini.first; s != NULL; s = s->next) {
        struct table_node *n;

        if (!conf_is_module(s))
            continue;
        n = table_find_str(&b->ini.sections, s->title);
        if (n == NULL && (s->arg != NULL || conf_section_enabled(s)))
            whole(w, s->title, !forward == conf_section_enabled(s), GR_LIVE);
        if (n == NULL && s->arg != NULL && stays(a, b, s))
            restarts_of(w, b, s, forward);
        else if (n != NULL && forward)
            entries(w, s, GR_CONTAINER_OF(n, struct ini_section, node));
    }
}

void conf_diff(const struct conf *before, const struct conf *after, const struct conf_diff *diff)
{
    struct walk w = { .diff = diff };

    values(&w, "server", "server", &before->server, &after->server);
    values(&w, "limits", "limits", &before->limits, &after->limits);
    listens(&w, before, after, true);
    listens(&w, after, before, false);
    components(&w, before, after, true);
    components(&w, after, before, false);
    hosts(&w, before, after, true);
    hosts(&w, after, before, false);
    modules(&w, before, after, true);
    modules(&w, after, before, false);
    arena_fini(&w.mem);
}

void conf_change_print(const struct conf_change *c, FILE *out)
{
    const char *when = c->when == GR_LIVE     ? "live"
                       : c->when == GR_REBIND ? "the listener is opened anew"
                                              : "needs a restart";

    if (c->key == NULL)
        fprintf(out, "[%s]: %s (%s)\n", c->section, c->after != NULL ? "added" : "removed", when);
    else
        fprintf(out, "[%s] %s: %s -> %s (%s)\n", c->section, c->key,
                c->before != NULL ? c->before : "(default)",
                c->after != NULL ? c->after : "(default)", when);
}
