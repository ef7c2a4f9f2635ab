/* mod/plan_load.c: the files that a plan needs: finds and loads each of them once. Main thread. */
#include "mod/plan_priv.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "conf/value.h"
#include "mod/image.h"
#include "mod/trial.h"

/* --- finding files --- */

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
            words_try(near, bare_name(name), arena_strndup(mem, e->d_name + 4, len - 7));
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
        conf_errors_add(mk->errs, conf_module_place(m), "there is no module %s: did you mean mod_%s?",
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
        char *undo = trial_undo(path);

        l->skipped = !runs(mk->old, bare_name(m->name));
        conf_errors_add(l->skipped ? mk->skipped : mk->errs, conf_module_place(m),
                        "%s is not loaded: the server crashed in it. Install another version, or to "
                        "try this one again %s, then reload", path, undo);
        gr_free(undo);
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

void plan_claim_collections(struct maker *mk, struct conf_place at, const struct gr_module *desc)
{
    for (const struct gr_coll *c = desc->collections; c != NULL && c->name != NULL; c++)
        claim_collection(mk, at, c->name, desc->name);
}

struct loaded *plan_loaded(const struct maker *mk, const char *name)
{
    struct loaded *l = mk->loaded;

    while (l != NULL && strcmp(bare_name(l->name), bare_name(name)) != 0)
        l = l->next;
    return l;
}

struct image *plan_image(struct maker *mk, const struct conf_module *m)
{
    struct loaded *l = plan_loaded(mk, m->name);

    if (l == NULL) {
        l = gr_alloc(sizeof(*l));
        l->name = m->name;
        load(mk, m, l);
        l->next = mk->loaded;
        mk->loaded = l;
        if (l->image != NULL)
            plan_claim_collections(mk, conf_module_place(m), image_desc(l->image));
    }
    return l->image;
}

void plan_forget(struct maker *mk)
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
