/* mod/plan.h: which module with which values on which host: a configuration after everything that can be
 * wrong with it was looked at. Main thread makes and frees; loops read while it lives. */
#pragma once

#include "conf/conf.h"
#include "mod/spec.h"

struct plan_host {
    const struct conf_host *conf;
    struct mod_spec **specs;     /* in start order; each counted */
    size_t count;
};
struct plan {
    const struct conf *conf;     /* not owned */
    struct plan_host *hosts;
    size_t count;
    struct conf_errors skipped;  /* modules that are left out, because the server crashed in them */
};

/* builtins: NULL-terminated. `old` may be NULL; what is unchanged keeps its spec. Never NULL; of use
 * when errs did not grow. */
struct plan *plan_make(const struct conf *conf, const struct gr_module *const *builtins,
                       const struct plan *old, struct conf_errors *errs);
void plan_free(struct plan **take);
/* Of the plan's modules, any; NULL: not there. `name` with or without mod_. */
const struct gr_opt *plan_options(const struct plan *plan, const char *name);

/* spec_make.c: values, check(), collections. NULL: errors were added. `m` NULL: a built-in module that
 * no section mentions. */
struct mod_spec *spec_make(const struct gr_module *desc, struct image *image,
                           const struct conf_module *m, struct conf_errors *errs);
/* The spec to go on with: `old` when nothing but options marked restart differs; else a new reference
 * to `now`, or a copy of it that keeps the old values of those. */
struct mod_spec *spec_next(struct mod_spec *old, struct mod_spec *now);
