/* mod/spec.c: counting of specs; see spec.h. */
#include "mod/spec.h"

#include <pthread.h>

#include "mod/image.h"

static pthread_t main_thread;
static bool main_known;

void spec_main_thread(void)
{
    if (main_known && pthread_equal(pthread_self(), main_thread))
        return; /* loops read it */
    main_thread = pthread_self();
    main_known = true;
}

struct mod_spec *spec_new(const struct gr_module *desc, struct image *take_image)
{
    struct mod_spec *spec = gr_alloc(sizeof(*spec));

    atomic_init(&spec->refs, 1);
    spec->desc = desc;
    spec->image = take_image;
    return spec;
}

struct mod_spec *spec_ref(struct mod_spec *spec)
{
    atomic_fetch_add_explicit(&spec->refs, 1, memory_order_relaxed);
    return spec;
}

static void spec_free(struct mod_spec *spec)
{
    arena_fini(&spec->mem);
    image_unref(&spec->image);
    gr_free(spec);
}

static void on_main(struct post *p)
{
    spec_free(GR_CONTAINER_OF(p, struct mod_spec, post));
}

void spec_unref(struct mod_spec **take)
{
    struct mod_spec *spec = *take;

    *take = NULL;
    if (spec == NULL || atomic_fetch_sub_explicit(&spec->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (main_known && pthread_equal(pthread_self(), main_thread)) {
        spec_free(spec);
        return;
    }
    spec->post.run = on_main;
    loop_post(loop_main(), &spec->post);
}
