/* mod/plan.c: the test phase of a reload: loads images, applies and checks options, orders modules by
 * their needs, looks for conflicts. Collects every error and changes nothing that runs. Hosts without
 * module sections of their own share one list (conf/modules.c) and are looked at once. Main thread. */
#include "mod/plan.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "conf/value.h"
#include "mod/image.h"
#include "mod/iq_table.h"
#include "mod/trial.h"

struct loaded {
    struct loaded *next;
    const char *name;        /* of the conf: mod_x */
    struct image *image;     /* NULL: it failed, and that has been said */
    bool skipped;            /* it would crash, or needs one that would */
};
struct coll_owner {
    struct coll_owner *next;
    const char *coll, *module;
};
struct maker {
    const struct conf *conf;
    const struct gr_module *const *builtins;
    const struct plan *old;
    struct conf_errors *errs, *skipped;
    struct loaded *loaded;
    struct coll_owner *colls;
};
struct list {
    struct mod_spec **specs;
    const struct conf_module **from;
    size_t count;
};

/* --- finding files --- */

static const char *bare_name(const char *name)
{
    return strncmp(name, "mod_", 4) == 0 ? name + 4 : name;
}

static char *find_file(const struct conf *conf, const char *name)
{
    const char *const *dir = conf->server.module_path;

    for (; dir != NULL && *dir != NULL; dir++) {
        char *path = gr_asprintf("%s/%s.so", *dir, name);

        if (access(path, F_OK) == 0)
            return path;
        gr_free(path);
    }
    return NULL;
}

static void try_names(struct words_nearest *near, struct arena *mem, const char *dir,
                      const char *name)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        size_t len = strlen(e->d_name);

        if (strncmp(e->d_name, "mod_", 4) == 0 && len > 7 && strcmp(e->d_name + len - 3, ".so") == 0)
            words_try(near, name, arena_strndup(mem, e->d_name, len - 3));
    }
    if (d != NULL)
        closedir(d);
}

static void not_found(struct maker *mk, const struct conf_module *m)
{
    const char *const *path = mk->conf->server.module_path;
    struct words_nearest near = { 0 };
    struct arena mem = { 0 };

    for (const char *const *dir = path; dir != NULL && *dir != NULL; dir++)
        try_names(&near, &mem, *dir, m->name);
    if (near.word != NULL)
        conf_errors_add(mk->errs, conf_module_place(m), "there is no module %s: did you mean %s?",
                        m->name, near.word);
    else
        conf_errors_add(mk->errs, conf_module_place(m), "there is no %s.so in module_path (%s%s): "
                        "install it%s", m->name,
                        path != NULL && path[0] != NULL ? path[0] : "which is empty",
                        path != NULL && path[0] != NULL && path[1] != NULL ? ", ..." : "",
                        m->by_hand ? "" : " or remove this section");
    arena_fini(&mem);
}

static bool runs(const struct plan *plan, const char *name)
{
    for (size_t i = 0; plan != NULL && i < plan->count; i++) {
        for (size_t k = 0; k < plan->hosts[i].count; k++) {
            if (strcmp(plan->hosts[i].specs[k]->desc->name, name) == 0)
                return true;
        }
    }
    return false;
}

/* At a start the server does without it; but what runs is not taken away by a reload. */
static void load(struct maker *mk, const struct conf_module *m, struct loaded *l)
{
    char *path = find_file(mk->conf, m->name), *why = NULL;

    if (path == NULL) {
        not_found(mk, m);
        return;
    }
    if (image_crashed(path)) {
        l->skipped = !runs(mk->old, bare_name(m->name));
        conf_errors_add(l->skipped ? mk->skipped : mk->errs, conf_module_place(m),
                        "%s is not loaded: the server crashed in it. Install another version, or to "
                        "try this one again remove its line from %s, then reload", path, trial_notes());
    } else {
        l->image = image_open(path, bare_name(m->name), &why);
        if (l->image == NULL)
            conf_errors_add(mk->errs, conf_module_place(m), "%s %s", path, why);
    }
    gr_free(path);
    gr_free(why);
}

/* --- collections are the server's: no two modules may have one of the same name --- */

static void claim_collection(struct maker *mk, struct conf_place at, const char *coll,
                             const char *module)
{
    struct coll_owner *o = mk->colls;

    while (o != NULL && strcmp(o->coll, coll) != 0)
        o = o->next;
    if (o != NULL && strcmp(o->module, module) != 0) {
        conf_errors_add(mk->errs, at, "mod_%s and mod_%s both have a collection %s: they cannot be "
                        "used together", o->module, module, coll);
    } else if (o == NULL) {
        o = gr_alloc(sizeof(*o));
        *o = (struct coll_owner){ mk->colls, coll, module };
        mk->colls = o;
    }
}

static void claim_collections(struct maker *mk, struct conf_place at, const struct gr_module *desc)
{
    for (const struct gr_coll *c = desc->collections; c != NULL && c->name != NULL; c++)
        claim_collection(mk, at, c->name, desc->name);
}

static struct loaded *loaded_named(const struct maker *mk, const char *name)
{
    struct loaded *l = mk->loaded;

    while (l != NULL && strcmp(bare_name(l->name), bare_name(name)) != 0)
        l = l->next;
    return l;
}

/* Each file once per reload, so that all hosts get the same code. */
static struct image *image_of(struct maker *mk, const struct conf_module *m)
{
    struct loaded *l = loaded_named(mk, m->name);

    if (l == NULL) {
        l = gr_alloc(sizeof(*l));
        l->name = m->name;
        load(mk, m, l);
        l->next = mk->loaded;
        mk->loaded = l;
        if (l->image != NULL)
            claim_collections(mk, conf_module_place(m), image_desc(l->image));
    }
    return l->image;
}

static void forget_loaded(struct maker *mk)
{
    for (struct coll_owner *o = mk->colls, *next; o != NULL; o = next) {
        next = o->next;
        gr_free(o);
    }
    for (struct loaded *l = mk->loaded, *next; l != NULL; l = next) {
        next = l->next;
        image_unref(&l->image);
        gr_free(l);
    }
}

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
        struct image *img = builtin(mk, m->name) == NULL ? image_of(mk, m) : NULL;

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
        const struct loaded *l = loaded_named(mk, *need);

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
        struct loaded *l = need != NULL ? loaded_named(mk, list->specs[i]->desc->name) : NULL;

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

static void check_needs(struct maker *mk, const struct conf_host *host, const struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *const *need = list->specs[i]->desc->needs;

        for (; need != NULL && *need != NULL; need++) {
            char *name = gr_asprintf("mod_%s", bare_name(*need));

            /* One that failed to load has been complained about. */
            if (index_of(list, name) == list->count && conf_module(host, name) == NULL)
                conf_errors_add(mk->errs, place_of(list, i), "mod_%s needs %s on %s: add a section "
                                "[%s]", list->specs[i]->desc->name, name, host->domain, name);
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

    for (; ia != NULL && ia->where != 0; ia++) {
        for (ib = a == b ? ia + 1 : list->specs[b]->desc->iqs; ib != NULL && ib->where != 0; ib++) {
            if (!iq_conflict(ia, ib))
                continue;
            conf_errors_add(mk->errs, place_of(list, b), "mod_%s and mod_%s both answer <%s "
                            "xmlns='%s'/> on %s: disable one of them", list->specs[a]->desc->name,
                            list->specs[b]->desc->name, ia->name != NULL ? ia->name : "*", ia->ns,
                            host->domain);
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
        claim_collections(&mk, (struct conf_place){ NULL, 0 }, *b);
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
    forget_loaded(&mk);
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
