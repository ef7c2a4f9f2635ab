/* mod/plan_priv.h: a plan in the making; shared by plan.c and plan_load.c. Main thread. */
#pragma once

#include <string.h>

#include "mod/plan.h"

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

static inline const char *bare_name(const char *name)
{
    return strncmp(name, "mod_", 4) == 0 ? name + 4 : name;
}

/* Each file once per reload, so that all hosts get the same code. NULL: left out, or an error was added. */
struct image *plan_image(struct maker *mk, const struct conf_module *m);
/* What plan_image has looked at before, or NULL. `name` with or without mod_. */
struct loaded *plan_loaded(const struct maker *mk, const char *name);
void plan_claim_collections(struct maker *mk, struct conf_place at, const struct gr_module *desc);
void plan_forget(struct maker *mk);
