/* tests/mod/test_hooks_slow.c: a handler that keeps its loop for more than 5 ms is named in the log,
 * whether it computes or sleeps, also while others want the processors. Real time: the harness's clock
 * stands still meanwhile. */
#include "harness.h"

#include "mod/hook.h"
#include "mod/instance.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, COMPUTE, SLEEP };
static int what;

static int64_t cpu_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static enum gr_verdict handle(struct gr_mod *self, struct gr_domain_ev *ev)
{
    int64_t start = cpu_ms();

    (void)self, (void)ev;
    if (what == COMPUTE)
        while (cpu_ms() - start < 40)
            continue;
    if (what == SLEEP)
        nanosleep(&(struct timespec){ .tv_nsec = 40000000 }, NULL);
    return GR_OK;
}

static const struct gr_hook hooks[] = { GR_ON(remove_domain, 7, handle), GR_HOOK_END };
static const struct gr_module tester = { .name = "t", .summary = "test", .hooks = hooks };

static bool logged(struct h *h, int doing)
{
    struct gr_mod *self = h_mod(h, "t", "localhost");
    struct gr_domain_ev ev = { .domain = "x" };

    what = doing;
    h_log(h);
    gr_hook_run(self, GR_HOOK_remove_domain, &ev.ev, NULL);
    return strstr(h_log(h), "hook.slow: remove_domain: mod_t (7) kept its loop") != NULL;
}

static void slow_handlers_are_named(void **state)
{
    pid_t busy[4];

    (void)state;
    h_module(&tester);
    struct h *h = h_start(NULL);
    struct gr_mod *self = h_mod(h, "t", "localhost");
    uint64_t cpu = self->cpu_us, calls = self->calls;
    assert_true(logged(h, COMPUTE));
    assert_in_range(self->cpu_us - cpu, 20000, 200000);
    cpu = self->cpu_us;
    assert_true(logged(h, SLEEP));
    assert_in_range(self->cpu_us - cpu, 0, 30000);
    assert_int_equal(self->calls - calls, 2);
    for (size_t i = 0; i < GR_COUNT(busy); i++)
        if ((busy[i] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
            for (;;)
                continue;
        }
    for (int i = 0; i < 3; i++) {
        assert_true(logged(h, COMPUTE));
        assert_true(logged(h, SLEEP));
    }
    int named = 0; /* quick ones are not, however long they waited for a processor */
    for (int i = 0; i < 100000; i++)
        named += logged(h, NOTHING);
    assert_in_range(named, 0, 2);
    for (size_t i = 0; i < GR_COUNT(busy); i++) {
        kill(busy[i], SIGKILL);
        waitpid(busy[i], NULL, 0);
    }
    h_stop(&h);
}

int main(void)
{
    const struct CMUnitTest cases[] = { cmocka_unit_test(slow_handlers_are_named) };

    return H_RUN("hooks_slow", cases);
}
