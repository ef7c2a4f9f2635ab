/* conf/modules.c: the modules of each host, from the sections [mod_x] and [mod_x DOMAIN].
 *
 * A section enables its module, on every host or on one. `enabled = no` in it says the contrary,
 * and the host's own section has the last word: [mod_x] with `enabled = no` and [mod_x DOMAIN]
 * without it run the module on DOMAIN only, with the options of both. The order is that of first
 * appearance. Hosts without sections of their own share one list, so that ten thousand of them
 * cost nothing. */
#include "conf/modules.h"

#include <string.h>

#include "conf/value.h"

struct item {
    struct item *next;
    const struct ini_section *section;
    size_t order;
    bool enabled;
};
struct items {
    struct item *first, **last;
    size_t count;
};

static void items_add(struct items *list, struct item *it)
{
    if (list->last == NULL)
        list->last = &list->first;
    *list->last = it;
    list->last = &it->next;
    list->count++;
}

static const struct item *items_find(const struct items *list, const char *name)
{
    for (const struct item *it = list->first; it != NULL; it = it->next) {
        if (strcmp(it->section->name, name) == 0)
            return it;
    }
    return NULL;
}

bool conf_section_enabled(const struct ini_section *s)
{
    const struct ini_entry *e = ini_find(s, "enabled");
    bool yes = true;

    if (e != NULL)
        (void)value_bool(e->value, &yes); /* checked */
    return yes;
}

static bool section_enabled(const struct ini_section *s, struct conf_errors *errs)
{
    bool yes = true;

    for (struct ini_entry *e = s->first; e != NULL; e = e->next) {
        if (strcmp(e->key, "enabled") != 0)
            continue;
        e->used = true;
        if (value_bool(e->value, &yes) != 0)
            conf_errors_add(errs, e->at, "`enabled = %.60s`: write yes or no", e->value);
    }
    return yes;
}

/* The host that a [mod_x DOMAIN] is for; NULL: an error was added. */
static const struct conf_host *section_host(struct conf *c, const struct ini_section *s,
                                            struct conf_errors *errs)
{
    const char *domain = schema_address(&c->mem, s->arg, strlen(s->arg), true);
    const struct conf_host *host = domain != NULL ? conf_host(c, domain) : NULL;
    struct words_nearest near = { 0 };

    if (host != NULL)
        return host;
    for (size_t i = 0; i < c->host_count; i++)
        words_try(&near, domain != NULL ? domain : s->arg, c->hosts[i].domain);
    if (near.word != NULL)
        conf_errors_add(errs, s->at, "[%s]: there is no [host %s], did you mean %s?", s->title,
                        s->arg, near.word);
    else
        conf_errors_add(errs, s->at, "[%s]: there is no [host %s]: add it or remove this section",
                        s->title, s->arg);
    return NULL;
}

static void module_add(struct conf_module *out, size_t *n, const struct item *global,
                       const struct item *local)
{
    if (!(local != NULL ? local->enabled : global->enabled))
        return;
    out[(*n)++] = (struct conf_module){
        .name = (local != NULL ? local : global)->section->name,
        .global = global != NULL ? global->section : NULL,
        .local = local != NULL ? local->section : NULL,
    };
}

/* Both lists are in order of appearance; a module of both stands where it appeared first. */
static void host_merge(struct conf *c, struct conf_host *host, const struct items *globals,
                       const struct items *locals)
{
    const struct item *g = globals->first, *l = locals->first;
    struct conf_module *out =
        arena_alloc(&c->mem, (globals->count + locals->count + 1) * sizeof *out);

    while (g != NULL || l != NULL) {
        if (l == NULL || (g != NULL && g->order < l->order)) {
            const struct item *local = items_find(locals, g->section->name);

            if (local == NULL || local->order > g->order)
                module_add(out, &host->module_count, g, local);
            g = g->next;
        } else {
            const struct item *global = items_find(globals, l->section->name);

            if (global == NULL || global->order > l->order)
                module_add(out, &host->module_count, global, l);
            l = l->next;
        }
    }
    host->modules = out;
}

static void section_sort(struct conf *c, const struct ini_section *s, size_t order,
                         struct items *globals, struct items *locals, struct conf_errors *errs)
{
    struct item *it = arena_alloc(&c->mem, sizeof *it);
    const struct conf_host *host;
    const struct item *same;

    *it = (struct item){ NULL, s, order, section_enabled(s, errs) };
    if (s->name[4] == '\0') {
        conf_errors_add(errs, s->at, "[%s] has no module name: write for instance [mod_roster]",
                        s->title);
        return;
    }
    if (s->arg == NULL) {
        items_add(globals, it);
        return;
    }
    host = section_host(c, s, errs);
    if (host == NULL)
        return;
    same = items_find(&locals[host - c->hosts], s->name);
    if (same != NULL) /* two spellings of one domain */
        conf_errors_add(errs, s->at, "[%s] is for the same host as [%s] at %s:%d: join them",
                        s->title, same->section->title, same->section->at.file,
                        same->section->at.line);
    else
        items_add(&locals[host - c->hosts], it);
}

void conf_modules_build(struct conf *c, struct conf_errors *errs)
{
    struct items globals = { 0 }, none = { 0 };
    struct items *locals = gr_alloc((c->host_count + 1) * sizeof *locals);
    struct conf_host shared = { 0 };
    size_t order = 0;

    for (const struct ini_section *s = c->ini.first; s != NULL; s = s->next) {
        if (conf_is_module(s))
            section_sort(c, s, order++, &globals, locals, errs);
    }
    host_merge(c, &shared, &globals, &none);
    for (size_t i = 0; i < c->host_count; i++) {
        if (locals[i].count > 0) {
            host_merge(c, &c->hosts[i], &globals, &locals[i]);
        } else {
            c->hosts[i].modules = shared.modules;
            c->hosts[i].module_count = shared.module_count;
        }
    }
    gr_free(locals);
}

const struct conf_module *conf_module(const struct conf_host *host, const char *name)
{
    for (size_t i = 0; i < host->module_count; i++) {
        if (strcmp(host->modules[i].name, name) == 0)
            return &host->modules[i];
    }
    return NULL;
}

struct conf_place conf_module_place(const struct conf_module *m)
{
    return (m->local != NULL ? m->local : m->global)->at;
}

void conf_module_apply(const struct conf_module *m, const struct gr_opt *table, void *out,
                       struct arena *mem, struct conf_errors *errs)
{
    const struct ini_section *sections[] = { m->global, m->local };

    schema_apply(table, sections, 2, conf_module_place(m), out, mem, errs);
}
