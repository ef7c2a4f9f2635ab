/* module_admin.h: the commands about modules: modules, module list, load, unload, reload. Main
 * thread. */
#pragma once

#include "command.h"

extern const struct gr_arg module_list_args[], module_load_args[], module_reload_args[];

/* Of a module on a host: the sums of its instances on all loops, old ones too. */
struct module_sum {
    const char *module, *host;
    int64_t calls, bytes, cpu_us;
};
/* In the order of `modules`. */
void module_sums(void (*f)(void *ctx, const struct module_sum *sum), void *ctx);

char *module_list(const struct gr_cmd *cmd, struct buf *result);
char *module_load(const struct gr_cmd *cmd, struct buf *result);
char *module_unload(const struct gr_cmd *cmd, struct buf *result);
char *module_reload(const struct gr_cmd *cmd, struct buf *result);
