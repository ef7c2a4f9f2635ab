/* tests/bench/hook_cost.c: what a chain of hooks costs the core: an empty one, asked in place
 * (hook_empty: a load and a branch once the table is known) and run, and one of ten handlers that
 * do nothing on user_send_message, for one message. Best of several rounds: other work on the
 * machine only ever adds.
 *
 *     hook_cost [json]     exit status 1: ten handlers cost more than they may */
#include "harness_priv.h"

#include "mod/hook.h"

#include <stdio.h>
#include <time.h>

enum { HANDLERS = 10, TURNS = 1000000, ROUNDS = 7, TEN_MAY_NS = 500 };

static uint64_t called, finished;

static enum gr_verdict nothing(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self, (void)ev;
    called++;
    return GR_OK;
}

static void done(struct gr_ev *ev, enum gr_verdict verdict)
{
    (void)ev;
    finished += verdict == GR_OK;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- what is measured: one turn each --- */

static void no_turn(struct gr_stanza_ev *e)
{
    (void)e;
}

static void ask_empty(struct gr_stanza_ev *e)
{
    if (!hook_empty(e->ev.host, GR_HOOK_user_send_presence))
        called++;
}

static void run_empty(struct gr_stanza_ev *e)
{
    hook_run(GR_HOOK_user_send_presence, &e->ev, done);
}

static void run_ten(struct gr_stanza_ev *e)
{
    hook_run(GR_HOOK_user_send_message, &e->ev, done);
}

/* Nanoseconds per turn. Inlined with each turn; the barrier keeps loads inside the loop. */
static inline __attribute__((always_inline)) double cost(void (*turn)(struct gr_stanza_ev *),
                                                         struct gr_stanza_ev *e)
{
    double best = 1e18;

    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (int i = 0; i < TURNS; i++) {
            turn(e);
            __asm__ volatile("" ::: "memory");
        }
        double took = (now() - start) / TURNS;
        best = took < best ? took : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    static struct gr_hook hooks[HANDLERS + 1];
    static const struct gr_module module = { .name = "bench_nothing",
                                             .summary = "handlers that do nothing",
                                             .hooks = hooks };

    for (int i = 0; i < HANDLERS; i++)
        hooks[i] = (struct gr_hook)GR_ON(user_send_message, 50 + i, nothing);
    h_module(&module);
    struct h *h = h_start("[host localhost]\n");
    struct hs *alice = h_login(h, "alice@localhost/a");
    struct gr_session *s = h_session(alice);
    struct gr_stanza *st = h_parse("<message xmlns='jabber:client' to='bob@localhost' "
                                   "type='chat'><body>hi</body></message>");
    struct gr_acc *acc = acc_new(GR_FROM_C2S);
    struct gr_stanza_ev e = { .ev.host = s->host, .ev.acc = acc, .session = s,
                              .from = s->jid, .to = gr_stanza_to(st), .stanza = st };
    double loop = cost(no_turn, &e);
    double asked = cost(ask_empty, &e) - loop, ran = cost(run_empty, &e) - loop;
    double ten = cost(run_ten, &e) - loop;
    bool right = called == (uint64_t)HANDLERS * TURNS * ROUNDS &&
                 finished == 2ull * TURNS * ROUNDS;

    acc_free(&acc);
    gr_stanza_unref(&st);
    h_stop(&h);
    if (!right) {
        fprintf(stderr, "hook_cost: %llu handlers, %llu runs\n", (unsigned long long)called,
                (unsigned long long)finished);
        return 2;
    }
    if (argc > 1 && strcmp(argv[1], "json") == 0)
        printf("{\"empty_ns\": %.2f, \"empty_run_ns\": %.2f, \"ten_ns\": %.1f}\n", asked, ran, ten);
    else
        printf("empty chain, asked in place               %7.2f ns\n"
               "empty chain, run                          %7.2f ns\n"
               "ten handlers on user_send_message         %7.1f ns (at most %d)\n",
               asked, ran, ten, TEN_MAY_NS);
    return ten > TEN_MAY_NS;
}
