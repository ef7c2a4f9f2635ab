/* module_admin.c: what is loaded, and loading and unloading by hand: a reload with the
 * configuration as it is and one thing changed, all or nothing, in force until the server stops
 * (conf/overlay.h). */
#include "module_admin.h"

#include "base/table.h"
#include "conf/overlay.h"
#include "mod/image.h"
#include "mod/instance.h"
#include "mod/reload.h"
#include "server.h"

#include <stdlib.h>
#include <string.h>

/* --- listing --- */

/* Instances that make one row: of a module on a host, on all loops or on one. */
struct row {
    struct table_node node;
    char *key;
    size_t place, number;    /* of the host in the configuration; in the order of starting */
    char *module, *host, *summary, *file;
    bool going;
    int loop;                /* -1: all of them */
    int64_t calls, pending, bytes, cpu_us;
};
struct listing {
    struct table rows;
    bool loops, files;
};

static size_t place_of(const char *domain)
{
    const struct conf *conf = mod_current();
    const struct conf_host *host = conf_host(conf, domain);

    return host != NULL ? (size_t)(host - conf->hosts) : conf->host_count;
}

static struct row *row_of(struct listing *l, const struct gr_mod *m)
{
    int loop = l->loops ? loop_index(m->loop) : -1;
    char *key = gr_asprintf("%d %d %s %s", loop, m->retired, m->desc->name, gr_host_name(m->host));
    struct table_node *n = table_find_str(&l->rows, key);
    struct row *row;

    if (n != NULL) {
        gr_free(key);
        return GR_CONTAINER_OF(n, struct row, node);
    }
    row = gr_alloc(sizeof(*row));
    row->key = key;
    row->module = gr_asprintf("%s%s", m->image != NULL ? "mod_" : "", m->desc->name);
    row->host = gr_strdup(gr_host_name(m->host));
    row->summary = gr_strdup(m->desc->summary != NULL ? m->desc->summary : "");
    row->file = gr_strdup(m->image != NULL ? image_path(m->image) : "");
    row->going = m->retired;
    row->loop = loop;
    row->place = place_of(row->host);
    row->number = l->rows.count;
    table_insert(&l->rows, &row->node, row->key, strlen(row->key));
    return row;
}

static void row_free(struct row *row)
{
    gr_free(row->key);
    gr_free(row->module);
    gr_free(row->host);
    gr_free(row->summary);
    gr_free(row->file);
    gr_free(row);
}

static void count_instance(void *ctx, const struct gr_mod *m)
{
    struct row *row = row_of(ctx, m);

    row->calls += (int64_t)m->calls;
    row->pending += m->pending;
    row->bytes += (int64_t)m->bytes;
    row->cpu_us += (int64_t)m->cpu_us;
}

/* On each loop in turn, while the main thread waits. */
static void count_loop(void *arg)
{
    mod_each(count_instance, arg);
}

static const struct conf_module *configured(const char *module, const char *domain)
{
    const struct conf_host *host = conf_host(mod_current(), domain);

    return host != NULL ? conf_module(host, module) : NULL;
}

static const char *state_of(const struct row *row)
{
    const struct conf_module *m = configured(row->module, row->host);

    if (row->going)
        return "going";
    return m != NULL && m->by_hand ? "by hand" : "";
}

static void print_row(const struct row *row, bool files, struct buf *out)
{
    command_row(out);
    command_text(out, "module", row->module);
    command_text(out, "host", row->host);
    if (row->loop >= 0)
        command_number(out, "loop", row->loop);
    command_number(out, "calls", row->calls);
    command_number(out, "pending", row->pending);
    command_number(out, "cpu_ms", row->cpu_us / 1000);
    command_number(out, "bytes", row->bytes);
    command_text(out, "state", state_of(row));
    if (files)
        command_text(out, "file", row->file);
    else
        command_text(out, "summary", row->summary);
}

/* What the configuration has and somebody switched off. */
static void print_unloaded(const struct overlay_entry *e, bool files, struct buf *out)
{
    command_row(out);
    command_text(out, "module", e->module);
    command_text(out, "host", e->domain != NULL ? e->domain : "*");
    command_number(out, "calls", 0);
    command_number(out, "pending", 0);
    command_number(out, "cpu_ms", 0);
    command_number(out, "bytes", 0);
    command_text(out, "state", "unloaded by hand");
    command_text(out, files ? "file" : "summary", "");
}

const struct gr_arg module_list_args[] = {
    GR_ARG_OPTIONAL(loops, FLAG, "one row per loop as well"),
    GR_ARG_OPTIONAL(files, FLAG, "where each was loaded from, instead of what it is"),
    GR_ARG_END
};

static int compare(const void *a, const void *b)
{
    const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void print_rows(const struct listing *l, struct buf *result)
{
    struct row **sorted = gr_alloc((l->rows.count + 1) * sizeof(struct row *));
    size_t count = 0;

    for (struct table_node *n = table_first(&l->rows); n != NULL; n = table_after(&l->rows, n))
        sorted[count++] = GR_CONTAINER_OF(n, struct row, node);
    qsort(sorted, count, sizeof(struct row *), compare);
    for (size_t i = 0; i < count; i++) {
        print_row(sorted[i], l->files, result);
        row_free(sorted[i]);
    }
    gr_free(sorted);
}

char *module_list(const struct gr_cmd *cmd, struct buf *result)
{
    struct listing l = { .loops = gr_cmd_text(cmd, "loops") != NULL,
                         .files = gr_cmd_text(cmd, "files") != NULL };
    const struct overlay *o = server_overlay();

    loops_call(count_loop, &l);
    print_rows(&l, result);
    table_fini(&l.rows);
    for (size_t i = 0; i < o->count && !l.loops; i++) {
        if (!o->entries[i].on)
            print_unloaded(&o->entries[i], l.files, result);
    }
    return NULL;
}

/* --- loading and unloading --- */

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
            n += (conf_module(h, t->module) != NULL) == with;
    }
    return n;
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

/* How to make it last, unless the configuration says the same: then nothing is remembered. */
static char *advice(const struct target *t, bool on)
{
    const char *blank = t->domain != NULL ? " " : "", *domain = t->domain != NULL ? t->domain : "";
    const struct overlay *o = server_overlay();
    size_t i = 0;

    while (i < o->count && strcmp(o->entries[i].module, t->module) != 0)
        i++;
    if (i == o->count)
        return gr_asprintf("as %s says", server_config());
    return gr_asprintf("until the server stops; to keep it so, write %s[%s%s%s] to %s",
                       on ? "" : "`enabled = no` in ", t->module, blank, domain, server_config());
}

static char *change(const struct target *t, bool on, struct buf *result)
{
    struct overlay o = overlay_with(server_overlay(), t->module, t->domain, on);
    const char *where = t->domain != NULL ? t->domain : "every host";
    char *report, *error = server_reload(&o, &report);
    char *text;

    if (error != NULL) {
        text = gr_asprintf("%s is not %s, nothing has changed:\n%s", t->module,
                           on ? "loaded" : "unloaded", error);
        gr_free(error);
        return text;
    }
    print_report(result, report);
    print_line(result, gr_asprintf("%s: %s on %s", t->module, on ? "loaded" : "unloaded", where));
    print_line(result, advice(t, on));
    gr_free(report);
    return NULL;
}

static char *load_or_unload(const struct gr_cmd *cmd, bool on, struct buf *result)
{
    struct target t;
    char *error = target_of(cmd, &t);

    if (error == NULL && count_hosts(&t, !on) == 0)
        error = gr_asprintf("%s is %s on %s", t.module, on ? "loaded already" : "not loaded",
                            t.domain != NULL ? t.domain : on ? "every host" : "any host");
    if (error == NULL)
        error = change(&t, on, result);
    gr_free(t.module);
    return error;
}

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

    if (name != NULL && count_hosts(&t, true) == 0)
        error = gr_asprintf("%s is not loaded on any host", t.module);
    else
        error = server_reload(NULL, &report);
    if (error == NULL && report != NULL) {
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
