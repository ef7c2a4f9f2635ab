/* mod/crash.c: see crash.h. The handler takes no lock and no memory: it looks at its own thread's loop,
 * which nobody else changes. Should even that fault, the signal's own action comes at once. */
#include "mod/crash.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mod/usage.h"

#define STACK_SIZE 65536 /* for a handler, should the thread's own be used up */

const int crash_signals[CRASH_SIGNALS] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
static const char *const signal_names[CRASH_SIGNALS] = { "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE",
                                                         "SIGABRT" };
static struct sigaction before[CRASH_SIGNALS];

bool crash_own_doing(int sig, const siginfo_t *info)
{
    if (info->si_code == SI_TKILL)
        return info->si_pid == getpid();
    return info->si_code > 0 &&
           (sig != SIGBUS || info->si_code == BUS_ADRALN || info->si_code == SI_KERNEL);
}

static void add(char *line, size_t size, const char *text)
{
    size_t len = strlen(line), more = strlen(text);

    if (len + more < size)
        memcpy(line + len, text, more + 1);
}

static void say(const char *signal_name)
{
    char line[256] = "grapnel: crashed: ";
    struct loop *here = loop_self();
    const struct mod_loop *ml =
        here != NULL && here != loop_main() ? mod_loop_at(loop_index(here)) : NULL;
    const struct gr_mod *by = ml != NULL ? usage_by(ml) : NULL;
    unsigned hook = ml != NULL ? atomic_load_explicit(&ml->used.hook, memory_order_relaxed) : 0;

    add(line, sizeof(line), signal_name);
    add(line, sizeof(line), by == NULL ? " in the core" : by->image != NULL ? " in mod_" : " in ");
    add(line, sizeof(line), by != NULL ? by->desc->name : "");
    if (hook > 0) {
        add(line, sizeof(line), ", hook ");
        add(line, sizeof(line), hook_name((enum gr_hook_id)(hook - 1)));
    }
    add(line, sizeof(line), "\n");
    if (write(STDERR_FILENO, line, strlen(line)) < 0)
        return; /* there is nobody to tell */
}

/* Leaves the end of the process to whoever would have seen to it without us: a fault comes again with
 * the same registers as soon as we return, a signal that was sent must be sent again. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
    size_t i = 0;

    (void)context;
    while (crash_signals[i] != sig)
        i++;
    sigaction(sig, &before[i], NULL);
    if (crash_own_doing(sig, info))
        say(signal_names[i]);
    if (info->si_code <= 0)
        raise(sig);
}

void crash_watch(void)
{
    struct sigaction act = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < CRASH_SIGNALS; i++)
        sigaction(crash_signals[i], &act, &before[i]);
    crash_thread_ready();
}

/* Loops block all signals; a fault that is blocked ends the process past every handler. The stack
 * is the thread's as long as it lives, and no page of it is used before a crash. */
void crash_thread_ready(void)
{
    static _Thread_local bool ready;
    stack_t stack;
    sigset_t set;

    if (ready)
        return;
    ready = true;
    sigemptyset(&set);
    for (size_t i = 0; i < CRASH_SIGNALS; i++)
        sigaddset(&set, crash_signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    if (sigaltstack(NULL, &stack) != 0 || (stack.ss_flags & SS_DISABLE) == 0)
        return; /* a sanitizer's */
    stack = (stack_t){ .ss_size = STACK_SIZE };
    stack.ss_sp = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp != MAP_FAILED)
        sigaltstack(&stack, NULL);
}
