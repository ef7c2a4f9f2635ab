/* mod/spec.h: a module together with one effective configuration: what the instances of all loops share.
 *
 * Made on the main thread by a reload's test phase; immutable; counted. A module whose image and values
 * are unchanged keeps its spec from one generation to the next, and its instances run on. The last
 * reference goes on the main thread, because an image may be closed there only. */
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "loop/loop.h"

#include <grapnel/module.h>

struct image;
struct store_coll;

/* Memory that old code on any loop may still point to. */
struct kept {
    struct kept *next;
    void (*drop)(struct kept *k);    /* any loop's objects: on the main thread */
};

struct mod_spec {
    _Atomic unsigned refs;
    struct post post;                /* to the main loop, with the last reference */
    const struct gr_module *desc;
    struct image *image;             /* NULL: built in */
    struct arena mem;                /* of conf and colls */
    const void *conf;
    struct store_coll **colls;       /* parallel to desc->collections */
    struct kept *_Atomic kept;
};

struct mod_spec *spec_new(const struct gr_module *desc, struct image *take_image);
struct mod_spec *spec_ref(struct mod_spec *spec);      /* any thread */
void spec_unref(struct mod_spec **take);               /* any loop; accepts NULL */
/* Drops it when the last instance on any loop has gone. Any loop that has a reference. */
void spec_keep(struct mod_spec *spec, struct kept *k, void (*drop)(struct kept *k));
/* The calling thread is the one that loads and closes images. */
void spec_main_thread(void);
