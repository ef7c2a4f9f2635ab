/* tests/bench/load_run.h: between the scenarios and the main loop. */
#pragma once

#include "load.h"

struct scenario {
    const char *name;
    int before; /* so often all log in and go first; what comes then counts */
    bool cut;   /* they go without a goodbye */
    void (*ready)(struct conn *c);
    void (*stanza)(struct conn *c, const char *p, size_t len);
    void (*writable)(struct conn *c);
    void (*tick)(int64_t now); /* every millisecond */
    int (*main)(void);         /* once all sessions stand */
};
extern const struct scenario chat_scenario, presence_scenario, befriend_scenario, storm_scenario,
    offline_scenario, drain_scenario, soak_scenario;

/* Before the first session. */
extern struct sample empty;

/* Runs until then, or until done() says so; false: not done in time. */
bool loop_for(double seconds, bool (*done)(void));
/* Until the server does nothing more; the time when it stopped, or 0 when it did not. */
int64_t wait_quiet(double seconds);
/* Sends at opts.rate: how many are due now. */
uint64_t due(int64_t now);
void due_reset(void);
/* The usual figures of what happened between two samples. */
void report_cpu(const struct sample *a, const struct sample *b, double units, const char *unit);
void report_latency(const struct hist *h);
/* The number at the start of a body: when it was sent. */
bool stamp_of(const char *p, size_t len, int64_t *ns);
void message_put(struct conn *c, int to, bool bare);
