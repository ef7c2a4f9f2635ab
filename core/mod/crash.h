/* mod/crash.h: the last line of a process that crashes: the signal, and which module was at work.
 *
 * Written to stderr by a handler of the fatal signals (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT), of a
 * thread that is ready for it. Then the signal does what it would have done without: end the process, with
 * a core file where these are on. */
#pragma once

#include <signal.h>

#include <grapnel/base.h>

#define CRASH_SIGNALS 5
extern const int crash_signals[CRASH_SIGNALS];

/* From here on. Once per process, main thread. */
void crash_watch(void);
/* Handlers of these signals can run on this thread, even when its stack is used up. Idempotent. */
void crash_thread_ready(void);
/* What the code on this thread has done itself: a fault, or abort(). Not what others send (a service
 * manager; base/mem.c, out of memory), nor a page of a file that the disk does not give. */
bool crash_own_doing(int sig, const siginfo_t *info);
