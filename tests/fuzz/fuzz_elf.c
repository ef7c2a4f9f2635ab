/* fuzz_elf: the judges of module files (core/base/elf.c, elf_look.c) see whatever lies in the module
 * folder. They must not read outside, and give a reason for every refusal. */
#include "fuzz.h"

#include "base/elf.h"

static void say(void *ctx, bool refused, const char *sentence)
{
    (void)ctx, (void)refused;
    gr_assert(*sentence != '\0');
}

static bool has(void *ctx, const char *symbol)
{
    (void)ctx;
    return *symbol != '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct elf_look how = { say, has, NULL };
    static const char *const names[] = { NULL, "hello" };

    for (size_t i = 0; i < GR_COUNT(names); i++) {
        char *why = NULL;
        int rc = elf_check(data, size, names[i], &why);

        gr_assert((rc == 0) == (why == NULL));
        gr_free(why);
        if (rc == 0)
            elf_look(data, size, &how);
    }
    return 0;
}
