/* metrics.c: `metrics`: what the server counts, as lines of Prometheus' text format (version 0.0.4).
 *
 * Every loop counts for itself and without locks; the sums are made when somebody asks, on one loop
 * after the other while the main thread waits. Domains and names of modules and hooks need no
 * escaping. */
#include "metrics.h"

#include "base/table.h"
#include "mod/hook.h"
#include "mod/reload.h"
#include "module_admin.h"
#include "net/http.h"
#include "route/session.h"
#include "store/store.h"
#include "stream/c2s.h"

#include <string.h>

/* --- what the loops have --- */

struct host_sum {
    struct table_node by_name;
    const char *domain;          /* of a struct gr_host, which stays */
    uint64_t runs[GR_HOOK_COUNT + 1];
    uint64_t in, out;
};
struct sums {
    struct table hosts;
    uint64_t runs[GR_HOOK_COUNT];
    size_t streams, sessions, accounts, lanes;
    struct http_stats http;
};

static struct host_sum *sum_of(struct sums *sums, const char *domain)
{
    struct table_node *n = table_find_str(&sums->hosts, domain);
    struct host_sum *h;

    if (n != NULL)
        return GR_CONTAINER_OF(n, struct host_sum, by_name);
    h = gr_alloc(sizeof(*h));
    h->domain = domain;
    table_insert(&sums->hosts, &h->by_name, domain, strlen(domain));
    return h;
}

static void add_host(struct sums *sums, const struct gr_host *host)
{
    struct host_sum *h = sum_of(sums, host->jid->domain);

    for (int id = 0; id <= GR_HOOK_COUNT; id++)
        h->runs[id] += host->runs[id];
    h->in += host->stanzas_in;
    h->out += host->stanzas_out;
}

static void add_loop(void *arg)
{
    struct sums *sums = arg;
    struct mod_loop *ml = mod_loop();
    struct http_stats http = http_stats();

    for (int id = 0; id < GR_HOOK_COUNT; id++)
        sums->runs[id] += ml->runs[id];
    for (struct table_node *n = table_first(&ml->hosts); n != NULL; n = table_after(&ml->hosts, n))
        add_host(sums, GR_CONTAINER_OF(n, struct gr_host, by_name));
    sums->streams += c2s_count();
    sums->sessions += route_loop()->bound;
    sums->accounts += route_loop()->accounts.count;
    sums->lanes += job_lanes();
    sums->http.answered += http.answered;
    sums->http.failed += http.failed;
    sums->http.waiting += http.waiting;
}

/* --- lines --- */

static void line(struct buf *out, const char *fmt, ...) GR_PRINTF(2, 3);
static void line(struct buf *out, const char *fmt, ...)
{
    char text[1024]; /* a domain has 255 bytes at most, one of Unicode three times as many */
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    command_row(out);
    command_text(out, "line", text);
}

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    line(out, "# HELP %s %s", name, help);
    line(out, "# TYPE %s %s", name, type);
}

static void single(struct buf *out, const char *name, const char *type, uint64_t value,
                   const char *help)
{
    family(out, name, type, help);
    line(out, "%s %llu", name, (unsigned long long)value);
}

/* Those that have run: nobody wants zeros of every hook for a thousand hosts. */
static void hook_lines(struct buf *out, const struct sums *sums)
{
    family(out, "grapnel_hook_runs_total", "counter", "Runs of a hook's chain.");
    for (int id = 0; id < GR_HOOK_COUNT; id++) {
        if (sums->runs[id] > 0)
            line(out, "grapnel_hook_runs_total{hook=\"%s\"} %llu", hook_name((enum gr_hook_id)id),
                 (unsigned long long)sums->runs[id]);
    }
    for (struct table_node *n = table_first(&sums->hosts); n != NULL;
         n = table_after(&sums->hosts, n)) {
        const struct host_sum *h = GR_CONTAINER_OF(n, struct host_sum, by_name);

        for (int id = 0; id <= GR_HOOK_COUNT; id++) {
            if (h->runs[id] > 0)
                line(out, "grapnel_hook_runs_total{hook=\"%s\",host=\"%s\"} %llu",
                     hook_name((enum gr_hook_id)id), h->domain, (unsigned long long)h->runs[id]);
        }
    }
}

static void stanza_lines(struct buf *out, const struct sums *sums, bool in)
{
    const char *name = in ? "grapnel_stanzas_received_total" : "grapnel_stanzas_sent_total";

    family(out, name, "counter", in ? "Stanzas from clients." : "Stanzas to clients.");
    for (struct table_node *n = table_first(&sums->hosts); n != NULL;
         n = table_after(&sums->hosts, n)) {
        const struct host_sum *h = GR_CONTAINER_OF(n, struct host_sum, by_name);

        line(out, "%s{host=\"%s\"} %llu", name, h->domain,
             (unsigned long long)(in ? h->in : h->out));
    }
}

/* Three families at once: each wants its lines together. */
struct module_lines {
    struct buf calls, cpu, memory;
};

static void add_module(void *ctx, const struct module_sum *s)
{
    struct module_lines *l = ctx;

    line(&l->calls, "grapnel_module_calls_total{module=\"%s\",host=\"%s\"} %lld", s->module,
         s->host, (long long)s->calls);
    line(&l->cpu, "grapnel_module_cpu_seconds_total{module=\"%s\",host=\"%s\"} %lld.%06lld",
         s->module, s->host, (long long)s->cpu_us / 1000000, (long long)s->cpu_us % 1000000);
    line(&l->memory, "grapnel_module_memory_bytes{module=\"%s\",host=\"%s\"} %lld", s->module,
         s->host, (long long)s->bytes);
}

static void take_lines(struct buf *out, struct buf *take)
{
    buf_append(out, buf_data(take), buf_len(take));
    buf_fini(take);
}

static void module_lines(struct buf *out)
{
    struct module_lines l = { .calls = { 0 } };

    module_sums(add_module, &l);
    family(out, "grapnel_module_calls_total", "counter", "Calls of a module's code.");
    take_lines(out, &l.calls);
    family(out, "grapnel_module_cpu_seconds_total", "counter", "Processor time of its code.");
    take_lines(out, &l.cpu);
    family(out, "grapnel_module_memory_bytes", "gauge", "What the core keeps for a module.");
    take_lines(out, &l.memory);
}

static void store_lines(struct buf *out)
{
    struct store_stats st;

    store_stats(&st);
    single(out, "grapnel_store_commits_total", "counter", st.commits, "Commits of the store.");
    single(out, "grapnel_store_operations_total", "counter", st.ops, "Operations committed.");
    single(out, "grapnel_store_queue_bytes", "gauge", st.queue_bytes, "Waiting for a commit.");
    single(out, "grapnel_store_used_bytes", "gauge", st.map_used, "Of the store's file.");
    single(out, "grapnel_store_disk_free_bytes", "gauge", st.disk_free, "On the store's disk.");
    single(out, "grapnel_store_read_only", "gauge", st.read_only, "1: no space, writes refused.");
}

char *metrics(const struct gr_cmd *cmd, struct buf *out)
{
    struct sums sums = { .streams = 0 };
    struct table_node *n;

    (void)cmd;
    loops_call(add_loop, &sums);
    family(out, "grapnel_info", "gauge", "The version.");
    line(out, "grapnel_info{version=\"%s\"} 1", GR_VERSION_TEXT);
    single(out, "grapnel_uptime_seconds", "gauge", (uint64_t)gr_uptime_ms() / 1000,
           "Since the start.");
    single(out, "grapnel_streams", "gauge", sums.streams, "Connections of clients.");
    single(out, "grapnel_sessions", "gauge", sums.sessions, "Sessions with a resource.");
    single(out, "grapnel_accounts_online", "gauge", sums.accounts, "Accounts with a session.");
    single(out, "grapnel_stanzas_under_way", "gauge", job_count(), "Stanzas not yet delivered.");
    single(out, "grapnel_accounts_waiting", "gauge", sums.lanes,
           "Accounts whose stanzas wait for a handler.");
    single(out, "grapnel_http_answered_total", "counter", sums.http.answered,
           "Requests to web servers that were answered.");
    single(out, "grapnel_http_failed_total", "counter", sums.http.failed, "Those that were not.");
    single(out, "grapnel_http_waiting", "gauge", sums.http.waiting, "Those that wait for an answer.");
    stanza_lines(out, &sums, true);
    stanza_lines(out, &sums, false);
    hook_lines(out, &sums);
    module_lines(out);
    store_lines(out);
    while ((n = table_first(&sums.hosts)) != NULL) {
        table_remove(&sums.hosts, n);
        gr_free(GR_CONTAINER_OF(n, struct host_sum, by_name));
    }
    table_fini(&sums.hosts);
    return NULL;
}
