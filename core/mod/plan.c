/* mod/plan.c: the test phase of a reload: has images loaded (plan_load.c), applies and checks options,
 * orders modules by their needs, looks for conflicts. Collects every error and changes nothing that
 * runs. Hosts without module sections of their own share one list (conf/modules.c) and are looked at
 * once. Main thread. */
#include "mod/plan_priv.h"

#include <string.h>

#include "mod/image.h"
#include "mod/iq_table.h"

struct list {
    struct mod_spec **specs;
    const struct conf_module **from;
    size_t count;
};

/* --- one host's list --- */

static void list_add(struct list *list, struct mod_spec *spec, const struct conf_module *m)
{
    if (spec == NULL)
        return;
    list->specs[list->count] = spec;
    list->from[list->count++] = m;
}

static const struct gr_module *builtin(const struct maker *mk, const char *name)
{
    for (const struct gr_module *const *b = mk->builtins; *b != NULL; b++) {
        if (strcmp((*b)->name, bare_name(name)) == 0)
            return *b;
    }
    return NULL;
}

static struct list list_make(struct maker *mk, const struct conf_host *host)
{
    struct list list = { 0 };
    size_t n = host->module_count;

    while (mk->builtins[n - host->module_count] != NULL)
        n++;
    list.specs = gr_alloc((n + 1) * sizeof(struct mod_spec *));
    list.from = gr_alloc((n + 1) * sizeof(struct conf_module *));
    for (const struct gr_module *const *b = mk->builtins; *b != NULL; b++) {
        char *name = gr_asprintf("mod_%s", (*b)->name);
        const struct conf_module *m = conf_module(host, name);

        list_add(&list, spec_make(*b, NULL, m, mk->errs), m);
        gr_free(name);
    }
    for (size_t i = 0; i < host->module_count; i++) {
        const struct conf_module *m = &host->modules[i];
        struct image *img = builtin(mk, m->name) == NULL ? plan_image(mk, m) : NULL;

        if (img != NULL)
            list_add(&list, spec_make(image_desc(img), img, m, mk->errs), m);
    }
    return list;
}

static struct conf_place place_of(const struct list *list, size_t i)
{
    return list->from[i] != NULL ? conf_module_place(list->from[i]) : (struct conf_place){ NULL, 0 };
}

static void list_drop(struct list *list, size_t i)
{
    spec_unref(&list->specs[i]);
    list->count--;
    memmove(&list->specs[i], &list->specs[i + 1], (list->count - i) * sizeof(list->specs[0]));
    memmove(&list->from[i], &list->from[i + 1], (list->count - i) * sizeof(list->from[0]));
}

/* The needed module that is left out, or NULL. */
static const struct loaded *skipped_need(const struct maker *mk, const struct gr_module *desc)
{
    for (const char *const *need = desc->needs; need != NULL && *need != NULL; need++) {
        const struct loaded *l = plan_loaded(mk, *need);

        if (l != NULL && l->skipped)
            return l;
    }
    return NULL;
}

/* What needs a module that is left out is left out as well, and so on. */
static void drop_needy(struct maker *mk, struct list *list)
{
    for (size_t i = 0; i < list->count;) {
        const struct loaded *need = skipped_need(mk, list->specs[i]->desc);
        struct loaded *l = need != NULL ? plan_loaded(mk, list->specs[i]->desc->name) : NULL;

        if (l == NULL) {
            i++;
            continue;
        }
        if (!l->skipped)
            conf_errors_add(mk->skipped, place_of(list, i), "%s is not loaded either: it needs %s",
                            l->name, need->name);
        l->skipped = true;
        list_drop(list, i);
        i = 0; /* others may need this one */
    }
}

static void list_free(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        spec_unref(&list->specs[i]);
    gr_free(list->specs);
    gr_free(list->from);
}

/* --- order by needs --- */

static size_t index_of(const struct list *list, const char *name)
{
    size_t i = 0;

    while (i < list->count && strcmp(list->specs[i]->desc->name, bare_name(name)) != 0)
        i++;
    return i;
}

static void miss(struct maker *mk, const struct list *list, size_t i, const char *name,
                 const char *domain)
{
    bool by_hand = list->from[i] != NULL && list->from[i]->by_hand;
    char *what = gr_asprintf("mod_%s needs %s on %s", list->specs[i]->desc->name, name, domain);
    struct conf_place at = place_of(list, i);

    if (by_hand)
        conf_errors_add(mk->errs, at, "%s: `module load %s` first", what, bare_name(name));
    else if (table_find_str(&mk->conf->ini.sections, name) != NULL)
        conf_errors_add(mk->errs, at, "%s, where that is switched off: switch it on, or this one off",
                        what);
    else
        conf_errors_add(mk->errs, at, "%s: add a section [%s]", what, name);
    gr_free(what);
}

static void check_needs(struct maker *mk, const struct conf_host *host, const struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *const *need = list->specs[i]->desc->needs;

        for (; need != NULL && *need != NULL; need++) {
            char *name = gr_asprintf("mod_%s", bare_name(*need));

            /* One that failed to load has been complained about. */
            if (index_of(list, name) == list->count && conf_module(host, name) == NULL)
                miss(mk, list, i, name, host->domain);
            gr_free(name);
        }
    }
}

static bool needs_placed(const struct list *list, size_t i, const bool *placed)
{
    const char *const *need = list->specs[i]->desc->needs;

    for (; need != NULL && *need != NULL; need++) {
        size_t k = index_of(list, *need);

        if (k < list->count && !placed[k])
            return false;
    }
    return true;
}

/* What is needed comes first; otherwise the order stays as it was written. */
static void order(struct maker *mk, struct list *list)
{
    struct list sorted = { gr_alloc((list->count + 1) * sizeof(struct mod_spec *)),
                           gr_alloc((list->count + 1) * sizeof(struct conf_module *)), 0 };
    bool *placed = gr_alloc(list->count + 1);

    while (sorted.count < list->count) {
        size_t i = 0;

        while (i < list->count && (placed[i] || !needs_placed(list, i, placed)))
            i++;
        if (i == list->count)
            break;
        placed[i] = true;
        list_add(&sorted, list->specs[i], list->from[i]);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (placed[i])
            continue;
        conf_errors_add(mk->errs, place_of(list, i), "mod_%s and what it needs need each other: "
                        "correct the modules", list->specs[i]->desc->name);
        list_add(&sorted, list->specs[i], list->from[i]);
    }
    gr_free(placed);
    gr_free(list->specs);
    gr_free(list->from);
    *list = sorted;
}

/* --- conflicts --- */

static bool names(const char *const *list, const char *module)
{
    while (list != NULL && *list != NULL && strcmp(bare_name(*list), module) != 0)
        list++;
    return list != NULL && *list != NULL;
}

static void check_pair(struct maker *mk, const struct conf_host *host, const struct list *list,
                       size_t a, size_t b)
{
    const struct gr_module *da = list->specs[a]->desc, *db = list->specs[b]->desc;

    if (a != b && (names(da->conflicts, db->name) || names(db->conflicts, da->name)))
        conf_errors_add(mk->errs, place_of(list, b), "mod_%s and mod_%s cannot both be enabled on %s: "
                        "disable one of them", da->name, db->name, host->domain);
}

static void check_iq(struct maker *mk, const struct conf_host *host, const struct list *list,
                     size_t a, size_t b)
{
    const struct gr_iq *ia = list->specs[a]->desc->iqs, *ib;
    const char *name;

    for (; ia != NULL && ia->where != 0; ia++) {
        for (ib = a == b ? ia + 1 : list->specs[b]->desc->iqs; ib != NULL && ib->where != 0; ib++) {
            if (!iq_conflict(ia, ib))
                continue;
            name = ia->name != NULL ? ia->name : "*";
            if (a == b)
                conf_errors_add(mk->errs, place_of(list, b), "mod_%s has two entries for <%s "
                                "xmlns='%s'/>: one of them must do for gets and sets",
                                list->specs[a]->desc->name, name, ia->ns);
            else
                conf_errors_add(mk->errs, place_of(list, b), "mod_%s and mod_%s both answer <%s "
                                "xmlns='%s'/> on %s: disable one of them",
                                list->specs[a]->desc->name, list->specs[b]->desc->name, name,
                                ia->ns, host->domain);
            return;
        }
    }
}

static void check_conflicts(struct maker *mk, const struct conf_host *host, const struct list *list)
{
    for (size_t a = 0; a < list->count; a++) {
        for (size_t b = a; b < list->count; b++) {
            check_pair(mk, host, list, a, b);
            check_iq(mk, host, list, a, b);
        }
    }
}

/* --- hosts --- */

static struct mod_spec *old_spec(const struct plan *old, const char *domain, const char *name)
{
    const struct conf_host *host = old != NULL ? conf_host(old->conf, domain) : NULL;
    const struct plan_host *h;

    if (host == NULL)
        return NULL;
    h = &old->hosts[host - old->conf->hosts]; /* in the same order */
    for (size_t i = 0; i < h->count; i++) {
        if (strcmp(h->specs[i]->desc->name, name) == 0)
            return h->specs[i];
    }
    return NULL;
}

static void host_fill(struct maker *mk, struct plan_host *h, const struct list *list)
{
    h->specs = gr_alloc((list->count + 1) * sizeof(struct mod_spec *));
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->specs[i]->desc->name;

        h->specs[i] = spec_next(old_spec(mk->old, h->conf->domain, name), list->specs[i]);
    }
    h->count = list->count;
}

static struct list host_list(struct maker *mk, const struct conf_host *host)
{
    struct list list = list_make(mk, host);

    drop_needy(mk, &list);
    check_needs(mk, host, &list);
    order(mk, &list);
    check_conflicts(mk, host, &list);
    return list;
}

struct plan *plan_make(const struct conf *conf, const struct gr_module *const *builtins,
                       const struct plan *old, struct conf_errors *errs)
{
    struct plan *plan = gr_alloc(sizeof(*plan));
    struct maker mk = { conf, builtins, old, errs, &plan->skipped, NULL, NULL };
    const struct conf_module *shared = NULL;
    struct list list = { 0 };

    plan->conf = conf;
    plan->hosts = gr_alloc((conf->host_count + 1) * sizeof(*plan->hosts));
    for (const struct gr_module *const *b = builtins; *b != NULL; b++)
        plan_claim_collections(&mk, (struct conf_place){ NULL, 0 }, *b);
    for (size_t i = 0; i < conf->host_count; i++) {
        const struct conf_host *host = &conf->hosts[i];

        if (i == 0 || host->modules != shared) {
            list_free(&list);
            list = host_list(&mk, host);
            shared = host->modules;
        }
        plan->hosts[i].conf = host;
        host_fill(&mk, &plan->hosts[i], &list);
        plan->count++;
    }
    list_free(&list);
    plan_forget(&mk);
    return plan;
}

void plan_free(struct plan **take)
{
    struct plan *plan = *take;

    *take = NULL;
    if (plan == NULL)
        return;
    for (size_t i = 0; i < plan->count; i++) {
        for (size_t k = 0; k < plan->hosts[i].count; k++)
            spec_unref(&plan->hosts[i].specs[k]);
        gr_free(plan->hosts[i].specs);
    }
    gr_free(plan->hosts);
    conf_errors_fini(&plan->skipped);
    gr_free(plan);
}

const struct gr_opt *plan_options(const struct plan *plan, const char *name)
{
    for (size_t i = 0; plan != NULL && i < plan->count; i++) {
        for (size_t k = 0; k < plan->hosts[i].count; k++) {
            const struct gr_module *desc = plan->hosts[i].specs[k]->desc;

            if (strcmp(desc->name, bare_name(name)) == 0)
                return desc->options;
        }
    }
    return NULL;
}
