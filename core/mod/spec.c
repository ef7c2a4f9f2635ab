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
    atomic_init(&spec->kept, NULL);
    spec->desc = desc;
    spec->image = take_image;
    return spec;
}

struct mod_spec *spec_ref(struct mod_spec *spec)
{
    atomic_fetch_add_explicit(&spec->refs, 1, memory_order_relaxed);
    return spec;
}

void spec_keep(struct mod_spec *spec, struct kept *k, void (*drop)(struct kept *k))
{
    k->drop = drop;
    k->next = atomic_load_explicit(&spec->kept, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&spec->kept, &k->next, k, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static void spec_free(struct mod_spec *spec)
{
    for (struct kept *k = atomic_load_explicit(&spec->kept, memory_order_acquire), *next; k != NULL;
         k = next) {
        next = k->next;
        k->drop(k);
    }
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
