/* mod_trap: a stranger whose constructor must never run. With TRAP_TAG its note is of other headers;
 * with TRAP_NO_NOTE it has none. */
#include <stdlib.h>

#include <grapnel/module.h>

__attribute__((constructor)) static void spring(void)
{
    abort();
}

#if defined(TRAP_TAG)
#undef GR_ABI_TAG
#define GR_ABI_TAG "0000000000000000"
GR_MODULE(trap, .summary = "never loaded");
#elif defined(TRAP_NO_NOTE)
GR_API extern const struct gr_module gr_module_descriptor;
const struct gr_module gr_module_descriptor = { .name = "trap", .abi = GR_ABI_VERSION,
                                                .abi_tag = GR_ABI_TAG };
#else
GR_MODULE(trap, .summary = "never loaded");
#endif
