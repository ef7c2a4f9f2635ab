/* conf/overlay.c: see overlay.h. A module that is switched on takes its options from its sections
 * when there are any, perhaps with `enabled = no` in them. */
#include "conf/overlay.h"

#include "base/buf.h"
#include "conf/modules.h"

#include <stdlib.h>
#include <string.h>

static void add(struct overlay *o, const char *module, const char *domain, bool on)
{
    o->entries = gr_realloc(o->entries, (o->count + 1) * sizeof(*o->entries));
    o->entries[o->count++] = (struct overlay_entry){
        gr_strdup(module), domain != NULL ? gr_strdup(domain) : NULL, on };
}

static void entry_fini(struct overlay_entry *e)
{
    gr_free((char *)e->module);
    gr_free((char *)e->domain);
}

/* Whether what `e` says is overruled by an entry for that module and host. */
static bool is_replaced(const struct overlay_entry *e, const char *module, const char *domain)
{
    return strcmp(e->module, module) == 0 &&
           (domain == NULL || (e->domain != NULL && strcmp(e->domain, domain) == 0));
}

struct overlay overlay_with(const struct overlay *from, const char *module, const char *domain,
                            bool on)
{
    struct overlay o = { NULL, 0 };

    for (size_t i = 0; i < from->count; i++) {
        const struct overlay_entry *e = &from->entries[i];

        if (!is_replaced(e, module, domain))
            add(&o, e->module, e->domain, e->on);
    }
    add(&o, module, domain, on);
    return o;
}

struct overlay overlay_copy(const struct overlay *from)
{
    struct overlay o = { NULL, 0 };

    for (size_t i = 0; i < from->count; i++)
        add(&o, from->entries[i].module, from->entries[i].domain, from->entries[i].on);
    return o;
}

void overlay_fini(struct overlay *o)
{
    for (size_t i = 0; i < o->count; i++)
        entry_fini(&o->entries[i]);
    gr_free(o->entries);
    *o = (struct overlay){ NULL, 0 };
}

/* --- applying --- */

/* [module] or, with a domain, [module DOMAIN]; NULL: not there. */
static const struct ini_section *find_section(struct conf *c, const char *module,
                                              const char *domain)
{
    for (const struct ini_section *s = c->ini.first; s != NULL; s = s->next) {
        const char *is;

        if (strcmp(s->name, module) != 0 || (s->arg == NULL) != (domain == NULL))
            continue;
        if (domain == NULL)
            return s;
        is = schema_address(&c->mem, s->arg, strlen(s->arg), true);
        if (is != NULL && strcmp(is, domain) == 0)
            return s;
    }
    return NULL;
}

static struct conf_module module_by_hand(struct conf *c, const char *name, const char *domain)
{
    struct conf_module m = { .name = arena_strdup(&c->mem, name), .by_hand = true };
    struct ini_section *empty;

    m.global = find_section(c, name, NULL);
    m.local = find_section(c, name, domain);
    if (m.global == NULL && m.local == NULL) {
        empty = arena_alloc(&c->mem, sizeof(*empty)); /* every option has its default */
        empty->title = empty->name = m.name;
        m.global = empty;
    }
    return m;
}

struct modules {
    struct conf_module *list;
    size_t count;
};

static size_t index_of(const struct modules *m, const char *name)
{
    size_t i = 0;

    while (i < m->count && strcmp(m->list[i].name, name) != 0)
        i++;
    return i;
}

/* Whether it changed anything. */
static bool apply_entry(struct conf *c, struct modules *m, const struct overlay_entry *e,
                        const char *domain)
{
    size_t i = index_of(m, e->module);

    if ((i < m->count) == e->on)
        return false;
    if (e->on) {
        m->list[m->count++] = module_by_hand(c, e->module, domain);
    } else {
        memmove(&m->list[i], &m->list[i + 1], (m->count - i - 1) * sizeof(*m->list));
        m->count--;
    }
    return true;
}

static bool concerns(const struct overlay_entry *e, const struct conf_host *host)
{
    return e->domain == NULL || strcmp(e->domain, host->domain) == 0;
}

/* Marks in `used` the entries that changed something. */
static void apply_to(struct conf *c, struct conf_host *host, const struct overlay *o, bool *used)
{
    struct modules m = { .count = host->module_count };
    bool changed = false;

    m.list = arena_alloc(&c->mem, (host->module_count + o->count + 1) * sizeof(*m.list));
    if (m.count > 0)
        memcpy(m.list, host->modules, m.count * sizeof(*m.list));
    for (size_t i = 0; i < o->count; i++) {
        if (concerns(&o->entries[i], host) && apply_entry(c, &m, &o->entries[i], host->domain))
            changed = used[i] = true;
    }
    if (changed) {
        host->modules = m.list;
        host->module_count = m.count;
    }
}

static void remove_unused(struct overlay *o, const bool *used)
{
    size_t kept = 0;

    for (size_t i = 0; i < o->count; i++) {
        if (used[i])
            o->entries[kept++] = o->entries[i];
        else
            entry_fini(&o->entries[i]);
    }
    o->count = kept;
}

static bool has_own(const struct overlay *o, const struct conf_host *host)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->entries[i].domain != NULL && strcmp(o->entries[i].domain, host->domain) == 0)
            return true;
    }
    return false;
}

void overlay_apply(struct overlay *o, struct conf *conf)
{
    bool *used = gr_alloc(o->count + 1);
    const struct conf_module *shared = NULL; /* hosts that share a list (conf/modules.c) still do */
    const struct conf_host *first = NULL;

    for (size_t i = 0; o->count > 0 && i < conf->host_count; i++) {
        struct conf_host *host = &conf->hosts[i];
        const struct conf_module *before = host->modules;

        if (has_own(o, host)) {
            apply_to(conf, host, o, used);
        } else if (first != NULL && before == shared) {
            host->modules = first->modules;
            host->module_count = first->module_count;
        } else {
            apply_to(conf, host, o, used);
            first = host;
            shared = before;
        }
    }
    remove_unused(o, used);
    gr_free(used);
}

/* --- making it last --- */

static bool is_about(const struct ini_section *s, const char *domain)
{
    struct arena mem = { 0 };
    const char *is = s->arg != NULL ? schema_address(&mem, s->arg, strlen(s->arg), true) : NULL;
    bool same = is != NULL && strcmp(is, domain) == 0;

    arena_fini(&mem);
    return same;
}

/* Whoever reads it is in another folder than the server. */
static void put_file(struct buf *out, const char *file)
{
    char *full = realpath(file, NULL);

    buf_puts(out, full != NULL ? full : file);
    free(full);
}

static void put_change(struct buf *out, const struct ini_section *s, bool on)
{
    const struct conf_place at = on ? ini_find(s, "enabled")->at : s->at;

    buf_puts(out, buf_len(out) > 0 ? " and " : "");
    if (on)
        buf_printf(out, "remove `enabled = no` from [%s] (", s->title);
    else
        buf_printf(out, "write `enabled = no` in [%s] (", s->title);
    put_file(out, at.file);
    buf_printf(out, ":%d)", at.line);
}

char *overlay_advice(const struct conf *conf, const char *module, const char *domain, bool on)
{
    const char *blank = domain != NULL ? " " : "", *arg = domain != NULL ? domain : "";
    struct buf out = { 0 };
    bool there = false; /* the section that is meant, among those that have a say */
    char *text;

    for (const struct ini_section *s = conf->ini.first; s != NULL; s = s->next) {
        if (strcmp(s->name, module) != 0 || (domain != NULL && !is_about(s, domain)))
            continue;
        there = there || domain != NULL || s->arg == NULL;
        if (conf_section_enabled(s) != on)
            put_change(&out, s, on);
    }
    if (!there && (on || domain != NULL)) {
        buf_puts(&out, buf_len(&out) > 0 ? " and " : "");
        buf_printf(&out, "write [%s%s%s]%s to ", module, blank, arg,
                   on ? "" : " with `enabled = no`");
        put_file(&out, conf->ini.files[0].path);
    }
    text = gr_strdup(buf_str(&out));
    buf_fini(&out);
    return text;
}
