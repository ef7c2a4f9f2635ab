/* conf/overlay.h: modules switched on and off by hand, over what the configuration says, until the
 * server stops. Main thread. */
#pragma once

#include "conf/conf.h"

struct overlay_entry {
    const char *module; /* mod_x */
    const char *domain; /* prepared; NULL: every host */
    bool on;
};
/* In the order in which they were made: a later entry wins over an earlier one. Zeroed is empty. */
struct overlay {
    struct overlay_entry *entries;
    size_t count;
};

/* A copy of `from` in which `module` is on or off on that host (NULL: on all, whatever was said
 * about single ones before). */
struct overlay overlay_with(const struct overlay *from, const char *module, const char *domain,
                            bool on);
struct overlay overlay_copy(const struct overlay *from);
/* Changes which modules the hosts of a generation have, before it is used by anybody. Entries that
 * change nothing, because the configuration says the same by now or the host is gone, are
 * removed. */
void overlay_apply(struct overlay *o, struct conf *conf);
void overlay_fini(struct overlay *o);
/* What to write, and into which file, for `conf` to say by itself that the module is on or off there:
 * half a sentence (caller frees). */
char *overlay_advice(const struct conf *conf, const char *module, const char *domain, bool on);
