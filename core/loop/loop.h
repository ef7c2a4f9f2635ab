/* loop/loop.h: event-loop threads, timers, file descriptors and the mailboxes between loops.
 *
 * N loops run the server's entities; one more (loop_main) belongs to the main thread. Everything
 * here but loop_post and the questions about the set of loops is for the calling loop only. */
#pragma once

#include "base/list.h"

#include <ev.h>

#define LOOPS_MAX 64

struct loop;

/* A message: embedded in whatever carries it. From loop_post until run() it belongs to the loop;
 * run() may free it. FIFO per (sending thread, loop): RFC 6120, 10.1 for every pair of entities. */
struct post {
    struct post *next;
    void (*run)(struct post *p);
};

/* --- the set of loops (constant after loops_init) --- */
int loop_count(void);
struct loop *loop_at(int index);              /* 0 .. loop_count() - 1 */
struct loop *loop_main(void);
struct loop *loop_self(void);                 /* of this thread; NULL on pool and committer */
int loop_index(const struct loop *l);         /* -1 for the main loop */
struct loop *loop_home(uint64_t hash);        /* the loop that owns what hashes so */
/* Counts each beginning and end of work: odd while it is at work, even while it sleeps or does not
 * run. The same odd number again and again: stuck. Any thread. */
uint64_t loop_turns(const struct loop *l);
static inline bool loop_is_self(const struct loop *l) { return l == loop_self(); }

/* Any thread. Never blocks; wakes the loop when its mailbox was empty. */
void loop_post(struct loop *to, struct post *p);
/* On this loop, after the current event, in order with other deferred messages. */
void loop_defer(struct post *p);

/* --- timers: one-shot, embedded, cancelled by timer_stop (idempotent) --- */
struct timer {
    int64_t due;                              /* gr_now_ms() clock */
    int heap;                                 /* 1-based index in the loop's heap, 0: not running */
    struct loop *loop;
    void (*fire)(struct timer *t);
};
void timer_start(struct timer *t, int64_t delay_ms, void (*fire)(struct timer *t));
void timer_stop(struct timer *t);
static inline bool timer_running(const struct timer *t) { return t->heap != 0; }

/* --- file descriptors --- */
struct watch {
    ev_io io;
    struct loop *loop;
    void (*ready)(struct watch *w, int events); /* EV_READ | EV_WRITE */
};
void watch_init(struct watch *w, int fd, void (*ready)(struct watch *w, int events));
/* Starts, changes or (events = 0) stops watching, on the calling loop. No system call when nothing
 * changes. */
void watch_set(struct watch *w, int events);

/* --- once per wake-up, before the loop sleeps: where output gathered during it is written --- */
struct flush {
    struct link link;                         /* zeroed when not queued */
    void (*flush)(struct flush *f);
};
void loop_flush_later(struct flush *f);       /* idempotent until it has run */
void loop_flush_cancel(struct flush *f);
/* The same behind all that, once nothing more is done before the loop sleeps or looks at its sockets. */
void loop_flush_last(struct flush *f);

/* --- life; main thread --- */
/* n loops, threads not started. `virtual_time`: no threads at all, everything runs inside
 * loops_step() on the caller's thread (tests). */
void loops_init(int n, bool virtual_time);
void loops_start(void);
/* Runs the main loop until loop_stop_main(); the caller is the main thread. */
void loop_run_main(void);
void loop_stop_main(void);
/* Stops and joins all loop threads; pending messages are run first. */
void loops_stop(void);
/* After loops_stop: runs what was still posted, on the caller's thread. */
void loops_drain(void);
void loops_fini(void);
bool loop_is_virtual(void);
/* Runs fn(arg) on every loop, one after the other, and returns when all have: for commands and
 * reload. Main thread only. */
void loops_call(void (*fn)(void *arg), void *arg);
/* Virtual mode: runs until no loop has anything to do now; loops_advance moves the clock, firing
 * timers in order. Returns whether anything ran. */
bool loops_step(void);
void loops_advance(int64_t ms);
/* Makes `l` the current loop of this thread in virtual mode (what tests act as). */
void loop_enter(struct loop *l);
struct ev_loop *loop_ev(struct loop *l);
