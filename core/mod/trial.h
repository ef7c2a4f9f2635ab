/* mod/trial.h: a file whose code crashes the process while it is loaded is left out at the next start.
 *
 * While code of a new image runs for the first time (its constructors, check(), start(), restore(),
 * moved()) the data folder has a file `module.loading` that names it. When the thread that runs it gets
 * a fatal signal for what it does (SIGSEGV, SIGBUS, SIGILL, SIGFPE, or SIGABRT by abort()), a handler
 * marks the file. A start that finds it marked adds the line to `modules.crashed`; what stands in that
 * is not loaded as long as the file has the same contents.
 *
 * Nobody is blamed for any other end meanwhile: SIGKILL, a signal from outside, a crash of another
 * thread, a machine that goes down. So code that ends the server by exit() or never returns is not
 * detected. Nothing is synced: the kernel keeps what was written when a process dies.
 *
 * Main thread, or a loop that the main thread waits for. */
#pragma once

#include <grapnel/base.h>

/* Of a file's contents; the same in every process. */
uint64_t trial_hash(const void *data, size_t len);
/* Takes up what an earlier process has left. Until then, and without `write` (for a check), nothing is
 * written. `dir` is copied. */
void trial_open(const char *dir, bool write);
void trial_close(void);
/* From here on code of that file runs, until trial_rest. */
void trial_run(const char *path, uint64_t hash);
void trial_rest(void);
/* The load has come to its end, good or bad. */
void trial_over(void);
/* The hash under which `path` is known to crash: false when it is not. There may be several: start with
 * *nth = 0 and call again. */
bool trial_crashed(const char *path, unsigned *nth, uint64_t *hash);
/* What makes the server forget that it crashed in `path`, as half a sentence (caller frees). */
char *trial_undo(const char *path);
