/* mod/iq_table.h: which module answers which iq payload on a host. Of a loop; immutable once built. */
#pragma once

#include "mod/host.h"

struct iq_table *iq_table_new(void);
void iq_table_free(struct iq_table **take);
/* All entries of an instance. Conflicts were found by iq_conflict before; the first one stays. */
void iq_table_add(struct iq_table *t, struct gr_mod *self);
/* Whether two entries claim the same payload at the same place. Any thread. */
bool iq_conflict(const struct gr_iq *a, const struct gr_iq *b);
