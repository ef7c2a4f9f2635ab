/* module_admin.c: loading and unloading by hand: a reload with the configuration as it is and one thing
 * changed, all or nothing, in force until the server stops (conf/overlay.h). */
#include "module_admin.h"

#include "conf/overlay.h"
#include "mod/image.h"
#include "mod/instance.h"
#include "mod/reload.h"
#include "module_provider.h"
#include "server.h"

#include <string.h>

/* What a command is about; fini frees. */
struct target {
    char *module;          /* mod_x */
    const char *domain;    /* of the configuration in force; NULL: every host */
};

static char *full_name(const char *name)
{
    return strncmp(name, "mod_", 4) == 0 ? gr_strdup(name) : gr_asprintf("mod_%s", name);
}

/* As the configuration has them: nothing else may become part of a path. */
static bool is_name(const char *name)
{
    return *name != '\0' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* NULL, or what is wrong with the arguments. */
static char *target_of(const struct gr_cmd *cmd, struct target *t)
{
    const char *host = gr_cmd_text(cmd, "host");
    struct arena mem = { 0 };
    const char *domain = host != NULL ? schema_address(&mem, host, strlen(host), true) : NULL;
    const struct conf_host *there = domain != NULL ? conf_host(mod_current(), domain) : NULL;

    arena_fini(&mem);
    *t = (struct target){ full_name(gr_cmd_text(cmd, "module")), NULL };
    if (!is_name(t->module))
        return gr_asprintf("%s is no name of a module: a-z, 0-9 and _", t->module);
    if (host != NULL && there == NULL)
        return gr_asprintf("%s is not served here", host);
    t->domain = there != NULL ? there->domain : NULL;
    if (mod_is_builtin(t->module))
        return gr_asprintf("%s is a part of the server", t->module + 4);
    return NULL;
}

/* The hosts that the command is about and that have the module, or not. */
static size_t count_hosts(const struct target *t, bool with)
{
    const struct conf *conf = mod_current();
    size_t n = 0;

    for (size_t i = 0; i < conf->host_count; i++) {
        const struct conf_host *h = &conf->hosts[i];

        if (t->domain == NULL || strcmp(t->domain, h->domain) == 0)
            n += mod_runs_on(h->domain, t->module) == with;
    }
    return n;
}

/* The configuration has it on some host, though it may be left out after a crash. */
static bool is_wanted(const char *module)
{
    const struct conf *conf = mod_current();
    size_t i = 0;

    while (i < conf->host_count && conf_module(&conf->hosts[i], module) == NULL)
        i++;
    return i < conf->host_count;
}

static void print_report(struct buf *result, char *report)
{
    char *rest = report;

    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) {
        command_row(result);
        command_text(result, "change", line);
    }
}

static void print_line(struct buf *result, char *take_line)
{
    command_row(result);
    command_text(result, "change", take_line);
    gr_free(take_line);
}

/* After a reload that has left it out, as its report says. */
static char *left_out(const char *module, const char *report)
{
    return gr_asprintf("%s is not loaded, because of a crash:\n%s", module, report);
}

/* How to make it last, unless the configuration says the same: then nothing is remembered. */
static char *advice(const struct target *t, bool on)
{
    const struct overlay *o = server_overlay();
    char *how, *text;
    size_t i = 0;

    while (i < o->count && strcmp(o->entries[i].module, t->module) != 0)
        i++;
    if (i == o->count)
        return gr_asprintf("as %s says", server_config());
    how = overlay_advice(mod_current(), t->module, t->domain, on);
    text = gr_asprintf("until the server stops; to keep it so, %s", how);
    gr_free(how);
    return text;
}

/* --- what is in the way --- */

#define NEEDERS_MAX 8 /* that are named */

/* What one loop tells about a module; the others have the same. */
struct look {
    const struct target *target;
    const struct image *image; /* of an instance of it, or NULL */
    struct needer {
        const char *name, *host; /* without mod_; the first host */
        size_t hosts;
    } needer[NEEDERS_MAX];
    size_t needers;
};

static bool needs(const struct gr_module *desc, const char *module)
{
    for (const char *const *need = desc->needs; need != NULL && *need != NULL; need++) {
        char *name = full_name(*need);
        bool same = strcmp(name, module) == 0;

        gr_free(name);
        if (same)
            return true;
    }
    return false;
}

static void look_at(void *ctx, const struct gr_mod *m)
{
    struct look *l = ctx;
    const char *host = gr_host_name(m->host);
    size_t i = 0;

    if (m->retired || (l->target->domain != NULL && strcmp(l->target->domain, host) != 0))
        return;
    if (m->image != NULL && strcmp(m->desc->name, l->target->module + 4) == 0)
        l->image = m->image;
    if (!needs(m->desc, l->target->module))
        return;
    while (i < l->needers && strcmp(l->needer[i].name, m->desc->name) != 0)
        i++;
    if (i == NEEDERS_MAX)
        return;
    if (i == l->needers)
        l->needer[l->needers++] = (struct needer){ m->desc->name, host, 0 };
    l->needer[i].hosts++;
}

/* Images and hosts go when the main thread lets them: what was seen stays true until then. */
static void look(void *arg)
{
    if (loop_index(loop_self()) == 0)
        mod_each(look_at, arg);
}

/* NULL: nobody needs it. */
static char *needed(const struct look *l)
{
    struct buf out = { 0 };
    char *text;

    if (l->needers == 0)
        return NULL;
    buf_printf(&out, "%s is not unloaded: ", l->target->module);
    for (size_t i = 0; i < l->needers; i++) {
        const struct needer *n = &l->needer[i];

        buf_printf(&out, "%smod_%s (", i > 0 ? ", " : "", n->name);
        if (n->hosts == 1)
            buf_printf(&out, "on %s)", n->host);
        else
            buf_printf(&out, "on %zu hosts)", n->hosts);
    }
    buf_puts(&out, l->needers > 1 ? " need it: unload them first" : " needs it: unload it first");
    text = gr_strdup(buf_str(&out));
    buf_fini(&out);
    return text;
}

/* NULL: go on. */
static char *obstacle(const struct target *t, bool on)
{
    const char *where = t->domain != NULL ? t->domain : on ? "every host" : "any host";
    bool idle = count_hosts(t, !on) == 0;
    struct look l = { .target = t };

    if (idle && !on)
        return gr_asprintf("%s is not loaded on %s", t->module, where);
    if (!idle && on)
        return NULL;
    loops_call(look, &l);
    if (!on)
        return needed(&l);
    if (l.image != NULL && image_outdated(l.image))
        return gr_asprintf("%s is loaded already on %s, from a file that has changed since: "
                           "`module reload %s` takes it over", t->module, where, t->module + 4);
    return gr_asprintf("%s is loaded already on %s", t->module, where);
}

static char *change(const struct target *t, bool on, struct buf *result)
{
    struct overlay o = overlay_with(server_overlay(), t->module, t->domain, on);
    const char *where = t->domain != NULL ? t->domain : "every host";
    struct providers *before = providers_note();
    char *report, *error = server_reload(&o, &report);
    struct buf changes = { 0 };
    char *text;

    providers_tell(&before, &changes);
    if (error != NULL) {
        buf_fini(&changes);
        text = gr_asprintf("%s is not %s, nothing has changed:\n%s", t->module,
                           on ? "loaded" : "unloaded", error);
        gr_free(error);
        return text;
    }
    if (count_hosts(t, !on) > 0) {
        text = left_out(t->module, report);
        gr_free(report);
        buf_fini(&changes);
        return text;
    }
    print_report(result, report);
    gr_free(report);
    print_line(result, gr_asprintf("%s: %s on %s", t->module, on ? "loaded" : "unloaded", where));
    buf_append(result, buf_data(&changes), buf_len(&changes));
    buf_fini(&changes);
    print_line(result, advice(t, on));
    return NULL;
}

static char *load_or_unload(const struct gr_cmd *cmd, bool on, struct buf *result)
{
    struct target t;
    char *error = target_of(cmd, &t);

    if (error == NULL)
        error = obstacle(&t, on);
    if (error == NULL)
        error = change(&t, on, result);
    gr_free(t.module);
    return error;
}

/* --- the commands --- */

const struct gr_arg module_load_args[] = {
    GR_ARG(module, TEXT, "its name, with or without mod_"),
    GR_ARG_OPTIONAL(host, TEXT, "a served domain; without: all of them"),
    GR_ARG_END
};

char *module_load(const struct gr_cmd *cmd, struct buf *result)
{
    return load_or_unload(cmd, true, result);
}

char *module_unload(const struct gr_cmd *cmd, struct buf *result)
{
    return load_or_unload(cmd, false, result);
}

/* --- reloading --- */

const struct gr_arg module_reload_args[] = {
    GR_ARG_OPTIONAL(module, TEXT, "one that must be loaded, and whose changes one wants to see"),
    GR_ARG_END
};

/* Whether the report has a line about it: "[mod_x] ...", "[mod_x DOMAIN] ...", "mod_x: ...". */
static bool is_mentioned(const char *report, const char *module)
{
    size_t len = strlen(module);

    for (const char *p = strstr(report, module); p != NULL; p = strstr(p + 1, module)) {
        bool starts = p == report || p[-1] == '\n' || p[-1] == '[';

        if (starts && strchr("] :", p[len]) != NULL)
            return true;
    }
    return false;
}

char *module_reload(const struct gr_cmd *cmd, struct buf *result)
{
    const char *name = gr_cmd_text(cmd, "module");
    struct target t = { name != NULL ? full_name(name) : NULL, NULL };
    char *report = NULL, *error = NULL;

    if (name != NULL && !is_wanted(t.module))
        error = gr_asprintf("%s is not loaded on any host", t.module);
    else
        error = server_reload(NULL, &report);
    if (error == NULL && name != NULL && count_hosts(&t, true) == 0) {
        error = left_out(t.module, report);
    } else if (error == NULL) {
        bool mentioned = name == NULL || is_mentioned(report, t.module);

        print_report(result, report);
        if (!mentioned)
            print_line(result, gr_asprintf("%s: no change: its file and its options are those "
                                           "in use", t.module));
    }
    gr_free(report);
    gr_free(t.module);
    return error;
}
