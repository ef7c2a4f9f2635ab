/* tests/bench/load_stat.c: what the kernel knows about the server (CPU time in nanoseconds by its
 * process clock, memory from smaps_rollup), latency histograms, results as text and JSON. */
#include "load.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    return clock_gettime(clock, &t) == 0 ? t.tv_sec * 1000000000LL + t.tv_nsec : 0;
}

int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t own_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t servers_cpu_ns(void)
{
    int64_t sum = 0;
    clockid_t clock;

    for (int i = 0; i < opts.pid_count; i++)
        if (clock_getcpuclockid(opts.pids[i], &clock) == 0)
            sum += clock_ns(clock);
    return sum;
}

static void threads(struct sample *s, int pid)
{
    char path[300];
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL && s->thread_count < 64;) {
        long long ns;
        int tid = atoi(e->d_name);
        if (tid == 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
        FILE *f = fopen(path, "r");
        if (f != NULL && fscanf(f, "%lld", &ns) == 1) {
            s->threads[s->thread_count] = tid;
            s->thread_ns[s->thread_count++] = ns;
        }
        if (f != NULL)
            fclose(f);
    }
    if (d != NULL)
        closedir(d);
}

static void memory(struct sample *s, int pid)
{
    char path[64], line[256];
    long long kb;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Rss: %lld", &kb) == 1)
            s->rss += kb * 1024;
        else if (sscanf(line, "Anonymous: %lld", &kb) == 1)
            s->anon += kb * 1024;
    }
    if (f != NULL)
        fclose(f);
}

void sample_take(struct sample *s, bool with_memory)
{
    memset(s, 0, sizeof(*s));
    for (int i = 0; i < opts.pid_count; i++) {
        threads(s, opts.pids[i]);
        if (with_memory)
            memory(s, opts.pids[i]);
    }
    s->cpu_ns = servers_cpu_ns();
    s->own_ns = own_cpu_ns();
    s->wall_ns = now_ns();
}

int64_t busiest_between(const struct sample *a, const struct sample *b)
{
    int64_t most = 0;

    for (int i = 0; i < b->thread_count; i++) {
        int64_t ns = b->thread_ns[i];
        for (int j = 0; j < a->thread_count; j++)
            if (a->threads[j] == b->threads[i])
                ns -= a->thread_ns[j];
        most = ns > most ? ns : most;
    }
    return most;
}

/* --- histograms: 64 steps per power of two, 1.6 % wide --- */

void hist_add(struct hist *h, int64_t ns)
{
    uint64_t v = ns > 0 ? (uint64_t)ns : 1;
    int top = 63 - __builtin_clzll(v);
    unsigned step = top >= 6 ? (unsigned)(v >> (top - 6)) & 63 : (unsigned)v & 63;

    h->bucket[top * 64 + (int)step]++;
    h->count++;
    h->max = ns > h->max ? ns : h->max;
}

double hist_us(const struct hist *h, double fraction)
{
    uint64_t need = (uint64_t)((double)h->count * fraction), seen = 0;

    if (h->count == 0)
        return 0;
    for (int i = 0; i < 64 * 64; i++) {
        seen += h->bucket[i];
        if (seen > need) {
            int top = i / 64;
            double base = (double)(1ull << top);
            return (top >= 6 ? base + base * (i % 64) / 64 : (double)(i % 64)) / 1000;
        }
    }
    return (double)h->max / 1000;
}

/* --- results --- */

static struct {
    const char *key;
    double value;
} results[64];
static int result_count;

void result_num(const char *key, double value, const char *unit)
{
    printf("  %-26s %14.3f %s\n", key, value, unit);
    if (result_count < 64) {
        results[result_count].key = key;
        results[result_count++].value = value;
    }
}

void result_write(void)
{
    FILE *f = opts.json == NULL ? NULL : fopen(opts.json, "w");

    if (f == NULL)
        return;
    fprintf(f, "{\"scenario\": \"%s\", \"label\": \"%s\"", opts.scenario, opts.label);
    for (int i = 0; i < result_count; i++)
        fprintf(f, ", \"%s\": %.6g", results[i].key, results[i].value);
    fprintf(f, "}\n");
    fclose(f);
}
