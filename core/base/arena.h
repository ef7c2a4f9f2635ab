/* base/arena.h: memory that lives and dies together. Single-threaded per arena. */
#pragma once

#include <grapnel/base.h>

struct arena_block;
struct arena {
    struct arena_block *last;
    size_t used;      /* bytes handed out, for limits and metrics */
    size_t next_size; /* of the next regular block; 0: the default */
};

/* Blocks grow from first_size (bytes, 0: a default of 1 KiB) by doubling up to 32 KiB. Allocates
 * nothing yet; a zeroed arena is one with the default size. */
void arena_init(struct arena *a, size_t first_size);
void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for any type */
char *arena_strndup(struct arena *a, const char *s, size_t len); /* exactly len bytes, and NUL */
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) GR_PRINTF(2, 3);
void arena_fini(struct arena *a); /* frees everything; the struct is as new, default size */
