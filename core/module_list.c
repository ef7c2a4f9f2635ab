/* module_list.c: `modules`, `module list`: what is loaded, with what it has used so far. Main thread. */
#include "module_admin.h"

#include "base/table.h"
#include "conf/overlay.h"
#include "mod/image.h"
#include "mod/instance.h"
#include "mod/reload.h"
#include "server.h"

#include <stdlib.h>
#include <string.h>

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
    bool merged;             /* old instances do not make a row of their own */
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
    char *key = gr_asprintf("%d %d %s %s", loop, m->retired && !l->merged, m->desc->name,
                            gr_host_name(m->host));
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

/* What all loops have, in order; free each, and the array. */
static struct row **gather(struct listing *l, size_t *count)
{
    struct row **sorted;

    loops_call(count_loop, l);
    sorted = gr_alloc((l->rows.count + 1) * sizeof(struct row *));
    *count = 0;
    for (struct table_node *n = table_first(&l->rows); n != NULL; n = table_after(&l->rows, n))
        sorted[(*count)++] = GR_CONTAINER_OF(n, struct row, node);
    qsort(sorted, *count, sizeof(struct row *), compare);
    table_fini(&l->rows);
    return sorted;
}

void module_sums(void (*f)(void *ctx, const struct module_sum *sum), void *ctx)
{
    struct listing l = { .merged = true };
    size_t count;
    struct row **rows = gather(&l, &count);

    for (size_t i = 0; i < count; i++) {
        const struct row *r = rows[i];

        f(ctx, &(struct module_sum){ r->module, r->host, r->calls, r->bytes, r->cpu_us });
        row_free(rows[i]);
    }
    gr_free(rows);
}

char *module_list(const struct gr_cmd *cmd, struct buf *result)
{
    struct listing l = { .loops = gr_cmd_text(cmd, "loops") != NULL,
                         .files = gr_cmd_text(cmd, "files") != NULL };
    const struct overlay *o = server_overlay();
    size_t count;
    struct row **rows = gather(&l, &count);

    for (size_t i = 0; i < count; i++) {
        print_row(rows[i], l.files, result);
        row_free(rows[i]);
    }
    gr_free(rows);
    for (size_t i = 0; i < o->count && !l.loops; i++) {
        if (!o->entries[i].on)
            print_unloaded(&o->entries[i], l.files, result);
    }
    return NULL;
}
