/* tests/bench/load_run.c: the main loop, logging in, and the scenarios that only log in. */
#include "load_run.h"
#include "load_epoll.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static const struct scenario *scenario;
static bool starting;
static int started;
static int64_t ramp_ns, first_ready_ns, last_tick;
struct sample empty;

/* --- the loop --- */

static void start_more(int64_t now)
{
    while (starting && started < opts.sessions && conns_pending < opts.parallel) {
        if (opts.login_rate > 0 &&
            (double)started > (double)(now - ramp_ns) / 1e9 * opts.login_rate)
            return;
        conn_start(&conns[started], opts.first + started);
        started++;
    }
}

static void turn(void)
{
    struct epoll_event events[512];
    int64_t now = now_ns();

    start_more(now);
    if (now - last_tick >= 1000000) {
        last_tick = now;
        if (scenario->tick != NULL)
            scenario->tick(now);
    }
    conns_flush();
    int n = epoll_wait(epoll_fd, events, 512, 1);
    for (int i = 0; i < n; i++)
        conn_event(events[i].data.ptr, events[i].events);
    conns_flush();
}

bool loop_for(double seconds, bool (*done)(void))
{
    int64_t end = now_ns() + (int64_t)(seconds * 1e9);

    while (now_ns() < end) {
        if (done != NULL && done())
            return true;
        turn();
    }
    return done == NULL || done();
}

int64_t wait_quiet(double seconds)
{
    int64_t end = now_ns() + (int64_t)(seconds * 1e9), since = now_ns(), cpu = servers_cpu_ns();
    int calm = 0;

    if (opts.pid_count == 0) {
        loop_for(2, NULL);
        return now_ns() - 2000000000;
    }
    while (now_ns() < end && calm < 5) {
        loop_for(0.1, NULL);
        int64_t then = servers_cpu_ns();
        if (then - cpu > 5000000) {
            calm = 0;
            since = now_ns();
        } else {
            calm++;
        }
        cpu = then;
    }
    return calm == 5 ? since : 0;
}

static double due_frac;
static int64_t due_at;

void due_reset(void)
{
    due_frac = 0;
    due_at = now_ns();
}

uint64_t due(int64_t now)
{
    due_frac += (double)(now - due_at) * opts.rate / 1e9;
    due_at = now;
    uint64_t n = (uint64_t)due_frac;
    due_frac -= (double)n;
    return n;
}

/* --- reports --- */

void report_cpu(const struct sample *a, const struct sample *b, double units, const char *unit)
{
    double wall = (double)(b->wall_ns - a->wall_ns) / 1e9;

    printf(" per %s:\n", unit);
    result_num("units", units, unit);
    result_num("seconds", wall, "s");
    result_num("units_per_s", units / wall, "/s");
    if (opts.pid_count > 0 && units > 0) {
        result_num("cpu_us", (double)(b->cpu_ns - a->cpu_ns) / 1e3 / units, "us CPU");
        result_num("busiest_us", (double)busiest_between(a, b) / 1e3 / units, "us, busiest thread");
        result_num("cpu_share", (double)(b->cpu_ns - a->cpu_ns) / 1e9 / wall, "cores");
    }
    if (units > 0)
        result_num("load_us", (double)(b->own_ns - a->own_ns) / 1e3 / units, "us CPU of the load");
}

void report_latency(const struct hist *h)
{
    result_num("p50_us", hist_us(h, 0.5), "us");
    result_num("p99_us", hist_us(h, 0.99), "us");
    result_num("p999_us", hist_us(h, 0.999), "us");
    result_num("max_us", (double)h->max / 1000, "us");
}

/* --- messages --- */

bool stamp_of(const char *p, size_t len, int64_t *ns)
{
    const char *at = find(p, len, ">T");
    char hex[17];

    if (at == NULL || (size_t)(p + len - at) < 18)
        return false;
    memcpy(hex, at + 2, 16);
    hex[16] = '\0';
    *ns = (int64_t)strtoull(hex, NULL, 16);
    return *ns != 0;
}

/* A relay stamps nothing: there the message carries the address that a server would add. */
void message_put(struct conn *c, int to, bool bare)
{
    static char filler[8192];
    char head[512], from[200] = "";
    int fill = opts.body > 17 ? opts.body - 17 : 0;

    if (filler[0] == '\0')
        memset(filler, 'x', sizeof(filler));
    if (opts.raw)
        snprintf(from, sizeof(from), " from='%s%d@%s/%s'", opts.prefix, c->index, opts.domain,
                 opts.resource);
    c->sent++;
    int n = snprintf(head, sizeof(head),
                     "<message%s to='%s%d@%s%s%s' type='chat' id='m%llu'><body>T%016llx", from,
                     opts.prefix, to, opts.domain, bare ? "" : "/", bare ? "" : opts.resource,
                     (unsigned long long)c->sent, (unsigned long long)now_ns());
    conn_put(c, head, (size_t)n);
    conn_put(c, filler, (size_t)fill);
    conn_puts(c, "</body></message>");
}

/* --- logging in, holding --- */

static bool all_in(void)
{
    return started == opts.sessions && conns_pending == 0;
}

static bool all_out(void)
{
    for (int i = 0; i < opts.sessions; i++)
        if (conns[i].state != C_DEAD && conns[i].state != C_IDLE)
            return false;
    return true;
}

void run_ready(struct conn *c)
{
    if (first_ready_ns == 0)
        first_ready_ns = now_ns();
    if (scenario->ready != NULL)
        scenario->ready(c);
}

void run_stanza(struct conn *c, const char *p, size_t len)
{
    if (scenario->stanza != NULL)
        scenario->stanza(c, p, len);
}

void run_writable(struct conn *c)
{
    if (scenario->writable != NULL)
        scenario->writable(c);
}

static struct sample full;

static int idle_main(void)
{
    struct sample a, b;

    if (opts.pid_count > 0) {
        result_num("anon_per_session", (double)(full.anon - empty.anon) / conns_ready, "bytes");
        result_num("rss_per_session", (double)(full.rss - empty.rss) / conns_ready, "bytes");
        result_num("anon_empty", (double)empty.anon, "bytes");
    }
    sample_take(&a, false);
    loop_for(opts.duration, NULL);
    sample_take(&b, false);
    result_num("idle_cpu_percent",
               100.0 * (double)(b.cpu_ns - a.cpu_ns) / (double)(b.wall_ns - a.wall_ns),
               "% of a core");
    return 0;
}

static int login_main(void)
{
    return 0;
}

static int resumed_main(void)
{
    result_num("tls_resumed", fast_tls_resumed, "with the TLS session of before");
    return 0;
}

/* With a token: the first login gets it, the second writes down that it is in use, the third is like all
 * that follow. */
static const struct scenario idle_scenario = { "idle", .main = idle_main },
                             login_scenario = { "login", .main = login_main },
                             fast_scenario = { "login_fast", .before = 2, .main = login_main },
                             resumed_scenario = { "login_resumed", .before = 2, .cut = true,
                                                  .main = resumed_main },
                             register_scenario = { "register", .main = login_main };

static const struct scenario *const all[] = {
    &idle_scenario,     &login_scenario, &register_scenario, &chat_scenario,  &presence_scenario,
    &befriend_scenario, &storm_scenario, &offline_scenario,  &drain_scenario,
    &soak_scenario,     &fast_scenario,  &resumed_scenario,
};

static bool ramp(bool counts)
{
    struct sample in;

    sample_take(&empty, true);
    started = 0;
    fast_tls_resumed = 0;
    first_ready_ns = 0;
    starting = true;
    ramp_ns = now_ns();
    bool ok = loop_for(600, all_in);
    wait_quiet(10);
    sample_take(&in, false);
    starting = false;
    if (!ok || conns_ready == 0) {
        fprintf(stderr, "grapnel-load: %d of %d sessions stand, %d failed\n", conns_ready,
                opts.sessions, conns_failed);
        return false;
    }
    printf(" %d sessions stand, %d failed\n", conns_ready, conns_failed);
    if (!counts)
        return true;
    result_num("sessions", conns_ready, "");
    result_num("first_ready_ms", (double)(first_ready_ns - ramp_ns) / 1e6, "ms");
    result_num("login_cpu_us", (double)(in.cpu_ns - empty.cpu_ns) / 1e3 / conns_ready, "us CPU");
    result_num("login_load_us", (double)(in.own_ns - empty.own_ns) / 1e3 / conns_ready,
               "us CPU of the load");
    result_num("logins_per_s", conns_ready / ((double)(in.wall_ns - empty.wall_ns) / 1e9 - 0.5),
               "/s");
    loop_for(opts.settle, NULL);
    sample_take(&full, true);
    return true;
}

static bool leave(bool cut)
{
    for (int i = 0; i < opts.sessions; i++) {
        if (cut)
            fast_cut(&conns[i]);
        conn_close(&conns[i], !cut);
    }
    return loop_for(5, all_out) && (!cut || wait_quiet(10) != 0);
}

int run(void)
{
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i]->name, opts.scenario) == 0)
            scenario = all[i];
    if (scenario == NULL) {
        fprintf(stderr, "grapnel-load: no scenario \"%s\"; see --help\n", opts.scenario);
        return 2;
    }
    printf("%s%s%s\n", opts.scenario, *opts.label != '\0' ? ": " : "", opts.label);
    for (int i = 0; i < scenario->before; i++)
        if (!ramp(false) || !leave(scenario->cut))
            return 1;
    if (!ramp(true))
        return 1;
    fflush(stdout);
    int rc = scenario->main();
    result_num("failed", conns_failed, "");
    leave(false);
    result_write();
    return rc == 0 && conns_failed > 0 ? 1 : rc;
}
