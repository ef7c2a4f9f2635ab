/* mod/reload.c: from a configuration to running instances: test, prepare, commit, retire (style.md,
 * Reload). Test happens here, on the main thread; the rest on each loop (commit.c). Two generations are
 * kept: the one in force, and the one before for whoever still looks at it. */
#include "mod/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "conf/schema.h"
#include "loop/loop.h"
#include "mod/commit.h"
#include "mod/image.h"
#include "mod/instance.h"
#include "mod/node.h"
#include "mod/trial.h"

#define BUILTINS_MAX 16

static const struct gr_module *builtins[BUILTINS_MAX + 1];
static struct plan *current;
static struct conf *in_force;
static struct conf *before; /* the generation before that */
static struct conf_started *started;
static int64_t started_ms = -1;

void mod_add_builtin(const struct gr_module *desc)
{
    size_t n = 0;
    char *wrong = image_check_desc(desc, desc->name);

    gr_assert(wrong == NULL);
    while (builtins[n] != NULL && builtins[n] != desc)
        n++;
    gr_assert(n < BUILTINS_MAX);
    builtins[n] = desc;
}

bool mod_is_builtin(const char *name)
{
    size_t n = 0;

    while (builtins[n] != NULL && strcmp(builtins[n]->name, name + 4) != 0)
        n++;
    return builtins[n] != NULL;
}

const struct conf *mod_current(void)
{
    return in_force;
}

bool mod_runs_on(const char *domain, const char *name)
{
    for (size_t i = 0; i < current->count; i++) {
        const struct plan_host *h = &current->hosts[i];

        for (size_t k = 0; strcmp(h->conf->domain, domain) == 0 && k < h->count; k++) {
            if (strcmp(h->specs[k]->desc->name, name + 4) == 0)
                return true;
        }
    }
    return false;
}

int64_t gr_uptime_ms(void)
{
    return started_ms >= 0 ? clock_monotonic_ms() - started_ms : 0;
}

/* --- what is told --- */

static bool said_before(const struct conf_errors *errs, size_t i)
{
    const struct conf_error *e = &errs->items[i];

    for (size_t k = 0; k < i; k++) {
        const struct conf_error *o = &errs->items[k];

        if (o->file == e->file && o->line == e->line && strcmp(o->text, e->text) == 0)
            return true;
    }
    return false;
}

/* Hosts that share a section have its errors in common. */
static char *errors_text(const struct conf_errors *errs)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    gr_assert(f != NULL);
    for (size_t i = 0; i < errs->count; i++) {
        const struct conf_error *e = &errs->items[i];

        if (said_before(errs, i))
            continue;
        if (e->file != NULL)
            fprintf(f, "%s:%d: ", e->file, e->line);
        fprintf(f, "%s\n", e->text);
    }
    if (errs->dropped > 0)
        fprintf(f, "and %zu more\n", errs->dropped);
    fclose(f);
    return text;
}

/* How long the loop that stood still longest did so, in microseconds. */
struct pause {
    int64_t prepare, commit;
};

struct differ {
    FILE *out;
    const struct plan *old, *now;
};

static const struct gr_opt *options_of(void *ctx, const char *module)
{
    const struct differ *d = ctx;
    const struct gr_opt *table = plan_options(d->now, module);

    return table != NULL ? table : plan_options(d->old, module);
}

/* Of the first host that has it, whose number is put into *host; NULL: none has. */
static const struct mod_spec *spec_named(const struct plan *plan, const char *name, size_t *host)
{
    for (*host = 0; *host < plan->count; ++*host) {
        const struct plan_host *h = &plan->hosts[*host];

        for (size_t k = 0; k < h->count; k++) {
            if (strcmp(h->specs[k]->desc->name, name) == 0)
                return h->specs[k];
        }
    }
    return NULL;
}

/* New code has what is written (spec_next). */
static void print_change(void *ctx, const struct conf_change *change)
{
    const struct differ *d = ctx;
    char *name = gr_strndup(change->section, strcspn(change->section, " "));
    const char *module = strncmp(name, "mod_", 4) == 0 ? name + 4 : "";
    size_t host;
    const struct mod_spec *old = spec_named(d->old, module, &host);
    const struct mod_spec *now = spec_named(d->now, module, &host);
    struct conf_change c = *change;

    if (old != NULL && now != NULL && old->desc != now->desc)
        c.when = GR_LIVE;
    if (*module != '\0' && now == NULL && c.key == NULL && c.after != NULL)
        fprintf(d->out, "[%s]: added, but not loaded\n", c.section); /* the reason follows */
    else
        conf_change_print(&c, d->out);
    gr_free(name);
}

/* It was wanted before, and could not be had (it had crashed). */
static bool was_left_out(const struct plan *old, const char *name)
{
    char *section = gr_asprintf("mod_%s", name);
    bool yes = false;

    for (size_t i = 0; i < old->count && old->skipped.count > 0; i++)
        yes = yes || conf_module(old->hosts[i].conf, section) != NULL;
    gr_free(section);
    return yes;
}

/* Modules that were wanted before as well and have other code now. */
static void print_code(const struct differ *d)
{
    for (size_t i = 0; i < d->now->count; i++) {
        for (size_t k = 0; k < d->now->hosts[i].count; k++) {
            const struct mod_spec *now = d->now->hosts[i].specs[k];
            size_t old_host, first;
            const struct mod_spec *old = spec_named(d->old, now->desc->name, &old_host);

            spec_named(d->now, now->desc->name, &first);
            if (first != i)
                continue; /* of another host, has been said */
            if (old != NULL ? old->desc != now->desc : was_left_out(d->old, now->desc->name))
                fprintf(d->out, "mod_%s: new code\n", now->desc->name);
        }
    }
}

static char *diff_text(const struct plan *old, const struct plan *now, const struct pause *pause)
{
    struct differ d = { .old = old, .now = now };
    const struct conf_diff diff = { print_change, options_of, &d, started };
    char *text = NULL;
    size_t size;

    d.out = open_memstream(&text, &size);
    gr_assert(d.out != NULL);
    conf_diff(old->conf, now->conf, &diff);
    print_code(&d);
    conf_errors_print(&now->skipped, d.out);
    if (ftell(d.out) > 0)
        fprintf(d.out, "loops paused for %lld us to prepare and %lld us to change over, at most\n",
                (long long)pause->prepare, (long long)pause->commit);
    fclose(d.out);
    return text;
}

/* --- the phases on all loops --- */

struct change {
    const struct plan *plan;
    struct conf_errors *errs;
    struct pause pause;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void note_pause(int64_t *longest, int64_t since)
{
    int64_t us = now_us() - since;

    if (us > *longest)
        *longest = us;
}

static void do_prepare(void *arg)
{
    struct change *ch = arg;
    int64_t since = now_us();

    commit_prepare(ch->plan, ch->errs);
    note_pause(&ch->pause.prepare, since);
}

static void do_discard(void *arg)
{
    (void)arg;
    commit_discard();
}

static void do_commit(void *arg)
{
    struct change *ch = arg;
    int64_t since = now_us();

    commit_carry_out(ch->plan);
    note_pause(&ch->pause.commit, since);
}

static void do_stop(void *arg)
{
    (void)arg;
    commit_stop_all();
}

static void log_skipped(const struct conf_errors *skipped)
{
    for (size_t i = 0; i < skipped->count; i++)
        gr_error("mod.skipped", "%s", skipped->items[i].text);
}

/* NULL: nothing has changed, errs says why. */
static struct plan *go_over(struct conf *conf, struct conf_errors *errs, struct pause *pause)
{
    struct plan *plan = plan_make(conf, builtins, current, errs);
    struct change ch = { plan, errs, { 0, 0 } };

    if (conf_errors_total(errs) == 0) {
        loops_call(do_prepare, &ch);
        loops_call(conf_errors_total(errs) == 0 ? do_commit : do_discard, &ch);
    }
    *pause = ch.pause;
    image_trials_over(conf_errors_total(errs) == 0);
    if (conf_errors_total(errs) > 0)
        plan_free(&plan);
    else
        log_skipped(&plan->skipped);
    return plan;
}

int mod_load_first(struct conf *conf, char **errors)
{
    struct conf_errors errs = { 0 };
    struct pause pause;

    gr_assert(current == NULL);
    spec_main_thread();
    node_set_id(conf->server.server_id);
    current = go_over(conf, &errs, &pause);
    in_force = current != NULL ? conf : NULL;
    *errors = current == NULL ? errors_text(&errs) : NULL;
    if (current != NULL && started_ms < 0) {
        started_ms = clock_monotonic_ms();
        started = conf_started_new(conf);
    }
    conf_errors_fini(&errs);
    return current != NULL ? 0 : GR_EINVAL;
}

int mod_reload(struct conf *conf, char **report)
{
    struct conf_errors errs = { 0 };
    struct plan *plan;
    struct pause pause;

    gr_assert(current != NULL);
    spec_main_thread();
    plan = go_over(conf, &errs, &pause);
    *report = plan == NULL ? errors_text(&errs) : diff_text(current, plan, &pause);
    conf_errors_fini(&errs);
    if (plan == NULL)
        return GR_EINVAL;
    conf_free(&before);
    before = in_force;
    in_force = conf;
    plan_free(&current);
    current = plan;
    return 0;
}

void mod_stop_all(void)
{
    spec_main_thread();
    loops_call(do_stop, NULL);
}

void mod_fini(void)
{
    hosts_fini();
    plan_free(&current);
    conf_free(&in_force);
    conf_free(&before);
    conf_started_free(&started);
    trial_close();
    memset(builtins, 0, sizeof(builtins));
    started_ms = -1;
}

/* --- looking --- */

void mod_each(void (*f)(void *ctx, const struct gr_mod *self), void *ctx)
{
    struct mod_loop *ml = mod_loop();

    for (struct table_node *n = table_first(&ml->hosts); n != NULL; n = table_after(&ml->hosts, n)) {
        struct gr_host *host = GR_CONTAINER_OF(n, struct gr_host, by_name);

        list_each (self, &host->instances, struct gr_mod, of_host)
            f(ctx, self);
    }
    list_each (self, &ml->retired, struct gr_mod, of_host)
        f(ctx, self);
}

int mod_check_conf(const struct conf *conf, char **errors)
{
    struct conf_errors errs = { 0 };
    struct plan *plan;
    int rc;

    spec_main_thread();
    plan = plan_make(conf, builtins, NULL, &errs);
    image_trials_over(false);
    for (size_t i = 0; i < plan->skipped.count; i++) {
        const struct conf_error *e = &plan->skipped.items[i];

        conf_errors_add(&errs, (struct conf_place){ e->file, e->line }, "%s", e->text);
    }
    rc = errs.count > 0 ? GR_EINVAL : 0;
    *errors = rc != 0 ? errors_text(&errs) : NULL;
    plan_free(&plan);
    conf_errors_fini(&errs);
    return rc;
}

static void print_options(const struct plan *plan, FILE *out)
{
    for (size_t i = 0; i < plan->count; i++) {
        for (size_t k = 0; k < plan->hosts[i].count; k++) {
            const struct gr_module *desc = plan->hosts[i].specs[k]->desc;
            char *title = gr_asprintf("mod_%s", desc->name);
            size_t first;

            spec_named(plan, desc->name, &first);
            if (first == i && !mod_is_builtin(title)) {
                fprintf(out, "; --- %s ---\n", desc->summary != NULL ? desc->summary : title);
                schema_print_ini(out, title, desc->options);
            }
            gr_free(title);
        }
    }
}

int mod_print_options(const struct conf *conf, FILE *out, char **errors)
{
    struct conf_errors errs = { 0 };
    struct plan *plan;
    int rc;

    spec_main_thread();
    plan = plan_make(conf, builtins, NULL, &errs);
    image_trials_over(false);
    print_options(plan, out);
    rc = errs.count > 0 ? GR_EINVAL : 0;
    *errors = rc != 0 ? errors_text(&errs) : NULL;
    plan_free(&plan);
    conf_errors_fini(&errs);
    return rc;
}
