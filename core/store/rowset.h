/* store/rowset.h: rows on their way from an engine to a request, copied out of the snapshot. */
#pragma once

#include "base/buf.h"

#include <grapnel/store.h>

enum { ROWSET_MAX = 4 * 1024 * 1024 }; /* bytes of one answer, beyond its first row */

struct rowset {
    struct gr_row *row;
    size_t count, cap;
    struct buf bytes;  /* keys and values back to back; rows point into it once sealed */
};

/* false: the answer is full, the row was not added. The first row always is. */
bool rowset_add(struct rowset *rs, const void *key, size_t key_len, const void *val,
                size_t val_len);
/* Rows get their pointers; nothing may be added afterwards. */
void rowset_seal(struct rowset *rs);
void rowset_fini(struct rowset *rs);
