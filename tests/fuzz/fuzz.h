/* tests/fuzz/fuzz.h: what the fuzz targets share. Whoever calls them (libFuzzer, replay.c) hands out
 * memory of exactly the input's size, so that a sanitizer sees a read past its end. */
#pragma once

#include <stdint.h>
#include <string.h>

#include <grapnel/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What was accepted is what we would have written. */
static inline void fuzz_same(const void *made, size_t len, const uint8_t *data, size_t size)
{
    gr_assert(made != NULL && len == size && memcmp(made, data, size) == 0);
}
