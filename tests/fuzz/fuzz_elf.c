/* fuzz_elf: the judge of module files (core/mod/elf.c) sees whatever lies in the module folder. It must
 * not read outside, and must give a reason for every refusal. */
#include "mod/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { NULL, "hello" };

    for (size_t i = 0; i < GR_COUNT(names); i++) {
        char *why = NULL;
        int rc = elf_check(data, size, names[i], &why);

        gr_assert((rc == 0) == (why == NULL));
        gr_free(why);
    }
    return 0;
}
