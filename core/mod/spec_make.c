/* mod/spec_make.c: a module's values for one host, and whether they differ from those in force. Main
 * thread. */
#include <string.h>

#include "mod/image.h"
#include "mod/plan.h"
#include "store/store.h"

static bool add_collections(struct mod_spec *spec, struct conf_place at, struct conf_errors *errs)
{
    const struct gr_coll *coll = spec->desc->collections;
    size_t n = 0;

    while (coll != NULL && coll[n].name != NULL)
        n++;
    spec->colls = arena_alloc(&spec->mem, (n + 1) * sizeof(struct store_coll *));
    for (size_t i = 0; i < n; i++) {
        spec->colls[i] = store_coll(coll[i].name, coll[i].kind);
        if (spec->colls[i] == NULL) {
            conf_errors_add(errs, at, "mod_%s: the store refuses the collection %s: its kind on "
                            "disk may be another", spec->desc->name, coll[i].name);
            return false;
        }
    }
    return true;
}

/* --- values --- */

static const struct gr_opt no_options[] = { GR_OPT_END };

static const struct gr_opt *options_of(const struct gr_module *desc)
{
    return desc->options != NULL ? desc->options : no_options;
}

static bool add_values(struct mod_spec *spec, const struct conf_module *m, struct conf_place at,
                       struct conf_errors *errs)
{
    size_t before = conf_errors_total(errs);
    const char *why = NULL;
    void *values = arena_alloc(&spec->mem, spec->desc->conf_size + 1);
    int rc = 0;

    spec->conf = values;
    if (m != NULL)
        conf_module_apply(m, options_of(spec->desc), values, &spec->mem, errs);
    else
        schema_apply(options_of(spec->desc), NULL, 0, at, values, &spec->mem, errs);
    if (conf_errors_total(errs) > before)
        return false;
    image_enter(spec->image);
    if (spec->desc->check != NULL)
        rc = spec->desc->check(values, &why);
    image_leave(spec->image);
    if (rc == 0)
        return true;
    conf_errors_add(errs, at, "mod_%s: %s", spec->desc->name,
                    why != NULL ? why : "does not accept these options");
    return false;
}

struct mod_spec *spec_make(const struct gr_module *desc, struct image *image,
                           const struct conf_module *m, struct conf_errors *errs)
{
    struct conf_place at = m != NULL ? conf_module_place(m) : (struct conf_place){ NULL, 0 };
    struct mod_spec *spec = spec_new(desc, image_ref(image));

    if (add_values(spec, m, at, errs) && add_collections(spec, at, errs))
        return spec;
    spec_unref(&spec);
    return NULL;
}

/* --- comparing --- */

struct differences {
    bool live, restart;
};

static void on_difference(void *ctx, const struct gr_opt *opt, const char *before,
                          const char *after)
{
    struct differences *d = ctx;

    (void)before;
    (void)after;
    if (opt->when == GR_RESTART)
        d->restart = true;
    else
        d->live = true;
}

static const char *const *copy_list(const char *const *list, struct arena *mem)
{
    const char **copy;
    size_t n = 0;

    if (list == NULL)
        return NULL;
    while (list[n] != NULL)
        n++;
    copy = arena_alloc(mem, (n + 1) * sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_strdup(mem, list[i]);
    return copy;
}

static void copy_value(const struct gr_opt *opt, const void *from, void *to, struct arena *mem)
{
    const char *src = (const char *)from + opt->offset;
    char *dst = (char *)to + opt->offset;

    switch (opt->kind) {
    case GR_KIND_STR:
    case GR_KIND_JID: {
        const char *s = *(const char *const *)(const void *)src;
        *(const char **)(void *)dst = s != NULL ? arena_strdup(mem, s) : NULL;
        break;
    }
    case GR_KIND_LIST:
    case GR_KIND_JIDLIST:
        *(const char *const **)(void *)dst =
            copy_list(*(const char *const *const *)(const void *)src, mem);
        break;
    case GR_KIND_BOOL:
        memcpy(dst, src, sizeof(bool));
        break;
    case GR_KIND_ENUM:
        memcpy(dst, src, sizeof(int));
        break;
    default:
        memcpy(dst, src, sizeof(int64_t));
        break;
    }
}

static struct mod_spec *copy_pinned(const struct mod_spec *old, const struct mod_spec *now)
{
    struct mod_spec *spec = spec_new(now->desc, image_ref(now->image));
    void *values = arena_alloc(&spec->mem, now->desc->conf_size + 1);
    size_t n = 0;

    for (const struct gr_opt *o = options_of(now->desc); o->kind != GR_KIND_END; o++)
        copy_value(o, o->when == GR_RESTART ? old->conf : now->conf, values, &spec->mem);
    while (now->desc->collections != NULL && now->desc->collections[n].name != NULL)
        n++;
    spec->colls = arena_alloc(&spec->mem, (n + 1) * sizeof(struct store_coll *));
    memcpy(spec->colls, now->colls, n * sizeof(struct store_coll *));
    spec->conf = values;
    return spec;
}

struct mod_spec *spec_next(struct mod_spec *old, struct mod_spec *now)
{
    struct differences d = { false, false };
    struct arena mem = { 0 };

    if (old == NULL || old->desc != now->desc) /* new code starts with what is written */
        return spec_ref(now);
    schema_diff(options_of(now->desc), old->conf, now->conf, on_difference, &d, &mem);
    arena_fini(&mem);
    if (!d.live)
        return spec_ref(old);
    return d.restart ? copy_pinned(old, now) : spec_ref(now);
}
