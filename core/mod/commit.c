/* mod/commit.c: see commit.h and docs: prepare, commit, retire (style.md, Reload).
 *
 * Between prepare and commit the loop goes on with its old tables; what was prepared waits in a stage.
 * An instance whose spec is in the new plan as well is simply carried over. The exchange itself is
 * pointer work: save and restore, then tables, then the old instances retire. On each loop. */
#include "mod/commit.h"

#include <string.h>

#include "mod/bag.h"
#include "mod/image.h"
#include "mod/instance.h"
#include "mod/iq_table.h"
#include "mod/provider.h"
#include "mod/reload.h"
#include "mod/usage.h"

void (*mod_reload_objects)(struct gr_mod *old, struct gr_mod *now);
void (*mod_host_gone)(struct gr_host *host);

struct stage_host {
    struct gr_host *host;
    struct gr_mod **mods;        /* in start order */
    size_t count;
    struct provider_set *providers;
};
struct stage {
    struct stage_host *hosts;
    size_t count;
};
static struct stage *stages[LOOPS_MAX]; /* each of its loop */

/* --- prepare --- */

static struct gr_mod *with_spec(const struct gr_host *host, const struct mod_spec *spec)
{
    list_each (self, &host->instances, struct gr_mod, of_host) {
        if (self->spec == spec)
            return self;
    }
    return NULL;
}

/* Not in force yet: in no table and on no list. */
static bool is_new(const struct gr_mod *self)
{
    return self->of_host.next == NULL;
}

static struct conf_place place_of(const struct conf_host *host, const char *name)
{
    struct conf_place none = { NULL, 0 };
    char *section = gr_asprintf("mod_%s", name);
    const struct conf_module *m = conf_module(host, section);

    gr_free(section);
    return m != NULL ? conf_module_place(m) : none;
}

static void start_new(struct stage_host *sh, struct mod_spec *spec, const struct conf_host *conf,
                      struct conf_errors *errs)
{
    struct gr_mod *self = instance_new(spec, sh->host);
    const char *why = NULL;
    int rc = instance_start(self, sh->providers, &why);

    sh->mods[sh->count++] = self;
    if (rc != 0)
        conf_errors_add(errs, place_of(conf, spec->desc->name), "mod_%s cannot start on %s: %s",
                        spec->desc->name, conf->domain, why != NULL ? why : gr_strerror(rc));
}

static void prepare_host(struct stage_host *sh, const struct plan_host *ph,
                         struct conf_errors *errs)
{
    sh->host = host_get(ph->conf->domain);
    sh->mods = gr_alloc((ph->count + 1) * sizeof(struct gr_mod *));
    sh->providers = provider_set_new();
    for (size_t i = 0; i < ph->count; i++) {
        struct gr_mod *self = with_spec(sh->host, ph->specs[i]);

        if (self == NULL) {
            start_new(sh, ph->specs[i], ph->conf, errs);
            continue;
        }
        sh->mods[sh->count++] = self;
        provider_adopt(sh->providers, self);
    }
}

void commit_prepare(const struct plan *plan, struct conf_errors *errs)
{
    struct stage *st;

    if (conf_errors_total(errs) > 0)
        return;
    st = gr_alloc(sizeof(*st));
    stages[loop_index(loop_self())] = st;
    st->hosts = gr_alloc((plan->count + 1) * sizeof(*st->hosts));
    for (size_t i = 0; i < plan->count; i++)
        prepare_host(&st->hosts[st->count++], &plan->hosts[i], errs);
}

static void stage_free(void)
{
    struct stage **at = &stages[loop_index(loop_self())];

    for (size_t i = 0; i < (*at)->count; i++) {
        gr_free((*at)->hosts[i].mods);
        provider_set_free(&(*at)->hosts[i].providers);
    }
    gr_free((*at)->hosts);
    gr_free(*at);
    *at = NULL;
}

void commit_discard(void)
{
    struct stage *st = stages[loop_index(loop_self())];

    if (st == NULL)
        return;
    for (size_t i = st->count; i-- > 0;) {
        struct stage_host *sh = &st->hosts[i];

        for (size_t k = sh->count; k-- > 0;) {
            if (is_new(sh->mods[k]))
                instance_retire(sh->mods[k]);
        }
    }
    stage_free();
}

/* --- commit --- */

static struct gr_mod *named(struct gr_mod *const *mods, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(mods[i]->desc->name, name) == 0)
            return mods[i];
    }
    return NULL;
}

static void hand_over(struct gr_mod *old, struct gr_mod *now)
{
    struct gr_bag bag = { 0 };

    if (now != NULL && old->desc->save != NULL && now->desc->restore != NULL) {
        struct gr_mod *before = usage_begin(old);
        old->desc->save(old, &bag);
        usage_end(old, before);
        before = usage_begin(now);
        image_enter(now->image);
        now->desc->restore(now, &bag);
        image_leave(now->image);
        usage_end(now, before);
    }
    bag_fini(&bag);
    slots_reload_all(old, now);
    if (mod_reload_objects != NULL)
        mod_reload_objects(old, now);
}

/* Off the host, on to the list of those that go: what is not in `sh` any more. */
static void replace_instances(struct gr_host *host, struct stage_host *sh, struct link *going)
{
    list_each (old, &host->instances, struct gr_mod, of_host) {
        struct gr_mod *now = named(sh->mods, sh->count, old->desc->name);

        list_remove(&old->of_host);
        if (now == old)
            continue;
        list_append(going, &old->of_host);
        hand_over(old, now);
    }
    for (size_t i = 0; i < sh->count; i++)
        list_append(&host->instances, &sh->mods[i]->of_host);
}

static void exchange_tables(struct gr_host *host, struct stage_host *sh)
{
    struct hook_builder *builder = hook_builder_new();
    struct hook_table *old_hooks = host->hooks;

    iq_table_free(&host->iqs);
    host->iqs = iq_table_new();
    for (size_t i = 0; i < sh->count; i++) {
        hook_builder_add(builder, sh->mods[i], sh->mods[i]->desc->hooks, false);
        iq_table_add(host->iqs, sh->mods[i]);
    }
    host->hooks = hook_builder_finish(&builder);
    hook_table_unref(&old_hooks);
    provider_set_free(&host->providers);
    host->providers = sh->providers;
    sh->providers = NULL;
}

static void commit_host(struct stage_host *sh, const struct conf_host *conf)
{
    struct gr_host *host = sh->host;
    struct link going;

    list_init(&going);
    replace_instances(host, sh, &going);
    exchange_tables(host, sh);
    host->conf = conf;
    host->served = conf != NULL;
    list_each (old, &going, struct gr_mod, of_host) {
        struct gr_mod *now = named(sh->mods, sh->count, old->desc->name);

        instance_retire(old);
        if (now == NULL)
            continue;
        image_enter(now->image);
        slots_tell_moved(now);
        image_leave(now->image);
    }
}

/* A domain that the configuration has dropped: ended as if with no modules at all. */
static void drop_host(struct gr_host *host)
{
    struct stage_host none = { .host = host, .providers = provider_set_new() };

    if (mod_host_gone != NULL)
        mod_host_gone(host);
    commit_host(&none, NULL);
}

static bool in_plan(const struct plan *plan, const struct gr_host *host)
{
    return plan != NULL && conf_host(plan->conf, host->jid->domain) != NULL;
}

static void drop_hosts(const struct plan *plan)
{
    struct mod_loop *ml = mod_loop();

    for (struct table_node *n = table_first(&ml->hosts); n != NULL; n = table_after(&ml->hosts, n)) {
        struct gr_host *host = GR_CONTAINER_OF(n, struct gr_host, by_name);

        if (plan != NULL)
            host->gen = plan->conf;
        if (host->served && !in_plan(plan, host))
            drop_host(host);
    }
}

/* Hooks of scope G: each module once, as its first host's instance (hooks.md 1.1). */
static void exchange_global(const struct stage *st)
{
    struct mod_loop *ml = mod_loop();
    struct hook_builder *builder = hook_builder_new();
    struct hook_table *old = ml->global;
    struct arena mem = { 0 };
    struct table seen = { 0 };

    for (size_t i = 0; i < st->count; i++) {
        for (size_t k = 0; k < st->hosts[i].count; k++) {
            struct gr_mod *self = st->hosts[i].mods[k];
            struct table_node *n;

            if (table_find_str(&seen, self->desc->name) != NULL)
                continue;
            n = arena_alloc(&mem, sizeof(*n));
            table_insert(&seen, n, self->desc->name, strlen(self->desc->name));
            hook_builder_add(builder, self, self->desc->hooks, true);
        }
    }
    table_fini(&seen);
    arena_fini(&mem);
    ml->global = hook_builder_finish(&builder);
    hook_table_unref(&old);
}

void commit_carry_out(const struct plan *plan)
{
    struct stage *st = stages[loop_index(loop_self())];
    struct mod_loop *ml = mod_loop();

    for (size_t i = 0; i < st->count; i++)
        commit_host(&st->hosts[i], plan->hosts[i].conf);
    exchange_global(st);
    drop_hosts(plan);
    ml->first = st->count > 0 ? st->hosts[0].host : NULL;
    ml->gen = plan->conf;
    ml->reloads++;
    stage_free();
}

uint64_t gr_reloads(void)
{
    return mod_loop()->reloads;
}

/* --- the end --- */

static void drop_all_holds(void)
{
    struct mod_loop *ml = mod_loop();

    for (struct table_node *n = table_first(&ml->hosts); n != NULL; n = table_after(&ml->hosts, n)) {
        struct gr_host *host = GR_CONTAINER_OF(n, struct gr_host, by_name);

        list_each (self, &host->instances, struct gr_mod, of_host)
            hook_drop_holds(self);
    }
    list_each (self, &ml->retired, struct gr_mod, of_host)
        hook_drop_holds(self);
}

static struct gr_mod *not_stopped(const struct mod_loop *ml)
{
    list_each (self, &ml->retired, struct gr_mod, of_host) {
        if (!self->stopped)
            return self;
    }
    return NULL;
}

static void stop_host(struct gr_host *host)
{
    while (!list_empty(&host->instances))
        instance_stop(list_entry(host->instances.prev, struct gr_mod, of_host));
}

void commit_stop_all(void)
{
    struct stage_host none = { 0 };
    const struct stage nothing = { NULL, 0 };
    struct mod_loop *ml = mod_loop();
    struct gr_mod *self;

    ml->stopping = true;
    drop_all_holds();
    exchange_global(&nothing);
    for (struct table_node *n = table_first(&ml->hosts); n != NULL; n = table_after(&ml->hosts, n)) {
        struct gr_host *host = GR_CONTAINER_OF(n, struct gr_host, by_name);

        none.providers = provider_set_new();
        exchange_tables(host, &none);
        host->served = false;
        stop_host(host);
    }
    while ((self = not_stopped(ml)) != NULL)
        instance_stop(self);
    ml->first = NULL;
}
