/* mod/commit.h: a loop's part in a reload: prepare beside what runs, then exchange or discard. Each
 * function runs on the loop it is about, called with loops_call, one loop after the other. */
#pragma once

#include "mod/plan.h"

/* Makes and starts the instances that are new in `plan`. Errors are added; then nothing else happens on
 * further loops, and commit_discard must follow. */
void commit_prepare(const struct plan *plan, struct conf_errors *errs);
void commit_discard(void);
/* Exchanges everything between two events. Cannot fail. */
void commit_carry_out(const struct plan *plan);
void commit_stop_all(void);
