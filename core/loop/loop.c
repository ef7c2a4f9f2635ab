/* loop/loop.c: one thread, one libev loop, one mailbox, one timer heap; N of these and one for the
 * main thread. Mailboxes are a lock-free stack per loop that the owner takes as a whole and turns
 * round, which keeps the order of each sender. Loops are created with epoll and without LIBEV_FLAGS:
 * libev's io_uring backend loses events. */
#include "loop/loop.h"

#include "base/clock.h"
#include "loop/loop_internal.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Of messages to itself between two looks at its sockets: what a flush has told (receipts come home) is
 * done before the loop sleeps, and no chain of messages keeps the sockets waiting. */
#define ROUNDS 3

struct loop {
    struct ev_loop *ev;
    int index;
    pthread_t thread;
    bool started, stop, firing;
    ev_async wake;
    ev_prepare prepare;
    ev_check check;
    ev_idle busy;                  /* keeps the loop from sleeping while messages are deferred */
    ev_timer tick;                 /* the earliest timer of the heap */
    int64_t tick_due;              /* what `tick` is set for, INT64_MAX: stopped */
    _Atomic(struct post *) inbox;  /* newest first */
    struct post *first, *last;     /* deferred, oldest first */
    struct timer_heap timers;
    struct link flushes, lasts;
    uint64_t ran;                  /* things done, for the virtual mode's "until quiet" */
    _Atomic uint64_t turns;        /* written by its thread only */
};

static struct loop main_loop = { .index = -1 };
static struct loop *loops[LOOPS_MAX];
static int count;
static bool virtual_mode;
static _Thread_local struct loop *self;

int loop_count(void)
{
    return count;
}

struct loop *loop_at(int index)
{
    gr_assert(index >= 0 && index < count);
    return loops[index];
}

struct loop *loop_main(void)
{
    return &main_loop;
}

struct loop *loop_self(void)
{
    return self;
}

int loop_index(const struct loop *l)
{
    return l->index;
}

struct loop *loop_home(uint64_t hash)
{
    return loops[hash % (uint64_t)count];
}

struct ev_loop *loop_ev(struct loop *l)
{
    return l->ev;
}

uint64_t loop_turns(const struct loop *l)
{
    return atomic_load_explicit(&l->turns, memory_order_relaxed);
}

static void count_turn(struct loop *l, bool at_work)
{
    uint64_t next = loop_turns(l) + 1;

    next += (next % 2 == 1) != at_work;
    atomic_store_explicit(&l->turns, next, memory_order_relaxed);
}

bool loop_is_virtual(void)
{
    return virtual_mode;
}

void loop_enter(struct loop *l)
{
    self = l;
}

/* --- messages --- */

void loop_post(struct loop *to, struct post *p)
{
    if (to == self) {
        loop_defer(p);
        return;
    }
    struct post *head = atomic_load_explicit(&to->inbox, memory_order_relaxed);
    do {
        p->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&to->inbox, &head, p, memory_order_release,
                                                    memory_order_relaxed));
    if (head == NULL && !virtual_mode)
        ev_async_send(to->ev, &to->wake);
}

void loop_defer(struct post *p)
{
    struct loop *l = self;

    p->next = NULL;
    if (l->last != NULL)
        l->last->next = p;
    else
        l->first = p;
    l->last = p;
}

/* Moves the mailbox behind what is deferred already: one queue, in order of arrival per sender. */
static void take_inbox(struct loop *l)
{
    struct post *p = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire);
    struct post *oldest = NULL;

    while (p != NULL) {
        struct post *next = p->next;
        p->next = oldest;
        oldest = p;
        p = next;
    }
    while (oldest != NULL) {
        struct post *next = oldest->next;
        loop_defer(oldest);
        oldest = next;
    }
}

/* What was queued when it started; what is queued meanwhile waits for the next round, so that sockets
 * and timers get their turn. */
static void run_deferred(struct loop *l)
{
    struct post *p = l->first;

    l->first = l->last = NULL;
    while (p != NULL) {
        struct post *next = p->next;
        l->ran++;
        p->run(p);
        p = next;
    }
}

static void run_flushes(struct loop *l, struct link *flushes)
{
    while (!list_empty(flushes)) {
        struct flush *f = list_entry(flushes->next, struct flush, link);
        list_remove(&f->link);
        l->ran++;
        f->flush(f);
    }
}

void loop_flush_later(struct flush *f)
{
    if (f->link.next == NULL)
        list_append(&self->flushes, &f->link);
}

void loop_flush_last(struct flush *f)
{
    if (f->link.next == NULL)
        list_append(&self->lasts, &f->link);
}

void loop_flush_cancel(struct flush *f)
{
    list_remove(&f->link);
}

/* --- timers --- */

void timer_start(struct timer *t, int64_t delay_ms, void (*fire)(struct timer *t))
{
    timer_stop(t);
    t->loop = self;
    /* From inside a timer never due at once: run_timers would not come to an end. */
    t->due = gr_now_ms() + (delay_ms > 0 ? delay_ms : self->firing);
    t->fire = fire;
    timer_heap_add(&self->timers, t);
}

void timer_stop(struct timer *t)
{
    if (t->heap == 0)
        return;
    gr_assert(t->loop == self);
    timer_heap_remove(&t->loop->timers, t);
}

/* Only timers that were due when it began, so that a zero delay cannot spin. */
static void run_timers(struct loop *l)
{
    int64_t now = gr_now_ms();
    struct timer *t;

    l->firing = true;
    while ((t = timer_heap_first(&l->timers)) != NULL && t->due <= now) {
        timer_heap_remove(&l->timers, t);
        l->ran++;
        t->fire(t);
    }
    l->firing = false;
}

static void set_tick(struct loop *l)
{
    struct timer *t = timer_heap_first(&l->timers);
    int64_t due = t != NULL ? t->due : INT64_MAX;

    if (due == l->tick_due)
        return;
    l->tick_due = due;
    ev_timer_stop(l->ev, &l->tick);
    if (t == NULL)
        return;
    int64_t wait = due - clock_monotonic_ms();
    ev_now_update(l->ev);
    ev_timer_set(&l->tick, wait > 0 ? (double)wait / 1000.0 : 0.0, 0.0);
    ev_timer_start(l->ev, &l->tick);
}

/* --- file descriptors --- */

static void on_io(struct ev_loop *ev, ev_io *io, int events)
{
    struct watch *w = (struct watch *)(void *)io;

    (void)ev;
    w->loop->ran++;
    w->ready(w, events);
}

void watch_init(struct watch *w, int fd, void (*ready)(struct watch *w, int events))
{
    ev_io_init(&w->io, on_io, fd, 0);
    w->ready = ready;
    w->loop = NULL;
}

void watch_set(struct watch *w, int events)
{
    int now = ev_is_active(&w->io) ? w->io.events & (EV_READ | EV_WRITE) : 0;

    if (now == events)
        return;
    if (now != 0) {
        gr_assert(w->loop == self);
        ev_io_stop(self->ev, &w->io);
    }
    w->loop = self;
    if (events != 0) {
        ev_io_set(&w->io, w->io.fd, events);
        ev_io_start(self->ev, &w->io);
    }
}

/* --- the thread --- */

static void on_wake(struct ev_loop *ev, ev_async *a, int events)
{
    (void)ev, (void)a, (void)events; /* the mailbox is read in on_prepare */
}

static void on_busy(struct ev_loop *ev, ev_idle *i, int events)
{
    (void)ev, (void)i, (void)events;
}

static void on_tick(struct ev_loop *ev, ev_timer *t, int events)
{
    struct loop *l = ev_userdata(ev);

    (void)t, (void)events;
    l->tick_due = INT64_MAX;
    run_timers(l);
}

static void on_check(struct ev_loop *ev, ev_check *c, int events)
{
    (void)c, (void)events;
    count_turn(ev_userdata(ev), true);
    clock_set_loop_now(clock_monotonic_ms());
}

static void on_prepare(struct ev_loop *ev, ev_prepare *p, int events)
{
    struct loop *l = ev_userdata(ev);

    (void)p, (void)events;
    take_inbox(l);
    for (int round = 0; round < ROUNDS && (round == 0 || l->first != NULL); round++) {
        run_deferred(l);
        run_flushes(l, &l->flushes);
    }
    run_flushes(l, &l->lasts);
    set_tick(l);
    if (l->first != NULL || !list_empty(&l->flushes))
        ev_idle_start(ev, &l->busy);
    else
        ev_idle_stop(ev, &l->busy);
    if (l->stop)
        ev_break(ev, EVBREAK_ALL);
    count_turn(l, false);
}

static void loop_open(struct loop *l)
{
    l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (l->ev == NULL) {
        fprintf(stderr, "grapnel: cannot create an event loop: is epoll available?\n");
        _exit(1);
    }
    ev_set_userdata(l->ev, l);
    list_init(&l->flushes);
    list_init(&l->lasts);
    atomic_store(&l->inbox, NULL);
    l->tick_due = INT64_MAX;
    ev_async_init(&l->wake, on_wake);
    ev_async_start(l->ev, &l->wake);
    ev_prepare_init(&l->prepare, on_prepare);
    ev_check_init(&l->check, on_check);
    ev_set_priority(&l->check, EV_MAXPRI); /* the clock first, then what looks at it */
    ev_idle_init(&l->busy, on_busy);
    ev_timer_init(&l->tick, on_tick, 0.0, 0.0);
    if (virtual_mode)
        return;
    ev_prepare_start(l->ev, &l->prepare);
    ev_check_start(l->ev, &l->check);
}

static void loop_close(struct loop *l)
{
    timer_heap_fini(&l->timers);
    ev_loop_destroy(l->ev);
    l->ev = NULL;
    l->stop = false;
}

void loops_init(int n, bool virtual_time)
{
    gr_assert(n >= 1 && n <= LOOPS_MAX && count == 0);
    virtual_mode = virtual_time;
    signal(SIGPIPE, SIG_IGN);
    if (virtual_time)
        clock_set_virtual(1000, gr_wall_us());
    for (int i = 0; i < n; i++) {
        loops[i] = gr_alloc(sizeof(*loops[i]));
        loops[i]->index = i;
        loop_open(loops[i]);
    }
    loop_open(&main_loop);
    count = n;
    self = virtual_time ? loops[0] : &main_loop;
}

static void *thread_main(void *arg)
{
    struct loop *l = arg;
    char name[16];

    self = l;
    snprintf(name, sizeof(name), "loop-%d", l->index);
    pthread_setname_np(pthread_self(), name);
    clock_set_loop_now(clock_monotonic_ms());
    count_turn(l, true);
    ev_run(l->ev, 0);
    return NULL;
}

void loops_start(void)
{
    sigset_t all, before;

    if (virtual_mode)
        return;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (int i = 0; i < count; i++) {
        int err = pthread_create(&loops[i]->thread, NULL, thread_main, loops[i]);
        gr_assert(err == 0);
        loops[i]->started = true;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void loop_run_main(void)
{
    self = &main_loop;
    clock_set_loop_now(clock_monotonic_ms());
    main_loop.stop = false;
    count_turn(&main_loop, true);
    ev_run(main_loop.ev, 0);
}

void loop_stop_main(void)
{
    main_loop.stop = true;
}

/* --- calls from the main thread --- */

struct call {
    struct post post;
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static void run_call(struct post *p)
{
    struct call *c = GR_CONTAINER_OF(p, struct call, post);

    c->fn(c->arg);
    sem_post(&c->done);
}

void loops_call(void (*fn)(void *arg), void *arg)
{
    for (int i = 0; i < count; i++) {
        if (!loops[i]->started) {
            struct loop *before = self;
            self = loops[i];
            fn(arg);
            self = before;
            continue;
        }
        struct call c = { .post.run = run_call, .fn = fn, .arg = arg };
        sem_init(&c.done, 0, 0);
        loop_post(loops[i], &c.post);
        while (sem_wait(&c.done) != 0)
            ; /* EINTR */
        sem_destroy(&c.done);
    }
}

static void run_stop(struct post *p)
{
    self->stop = true;
    gr_free(p);
}

/* One round of one loop without a thread of its own. */
static bool step(struct loop *l)
{
    uint64_t before = l->ran;

    self = l;
    ev_run(l->ev, EVRUN_NOWAIT);
    take_inbox(l);
    run_deferred(l);
    run_timers(l);
    run_flushes(l, &l->flushes);
    run_flushes(l, &l->lasts);
    return l->ran != before || l->first != NULL;
}

void loops_stop(void)
{
    for (int i = 0; i < count; i++) {
        if (!loops[i]->started)
            continue;
        struct post *p = gr_alloc(sizeof(*p));
        p->run = run_stop;
        loop_post(loops[i], p);
    }
    for (int i = 0; i < count; i++) {
        if (loops[i]->started)
            pthread_join(loops[i]->thread, NULL);
        loops[i]->started = false;
    }
}

void loops_drain(void)
{
    struct loop *before = self;
    bool busy = true;

    for (int round = 0; busy && round < 1000; round++) {
        busy = false;
        for (int i = 0; i < count; i++) {
            struct loop *l = loops[i];
            uint64_t ran = l->ran;
            self = l;
            take_inbox(l);
            run_deferred(l);
            busy = busy || l->ran != ran;
        }
    }
    self = before;
}

void loops_fini(void)
{
    loops_drain();
    for (int i = 0; i < count; i++) {
        loop_close(loops[i]);
        gr_free(loops[i]);
    }
    loop_close(&main_loop);
    count = 0;
    self = NULL;
    if (virtual_mode)
        clock_set_virtual(-1, 0);
    virtual_mode = false;
}

/* --- virtual time --- */

bool loops_step(void)
{
    struct loop *before = self;
    bool any = false, busy = true;

    gr_assert(virtual_mode);
    while (busy) {
        busy = step(&main_loop);
        for (int i = 0; i < count; i++)
            busy = step(loops[i]) || busy;
        any = any || busy;
    }
    self = before;
    return any;
}

void loops_advance(int64_t ms)
{
    int64_t target = clock_monotonic_ms() + ms;

    gr_assert(virtual_mode);
    loops_step();
    for (;;) {
        int64_t due = INT64_MAX;
        for (int i = -1; i < count; i++) {
            struct timer *t = timer_heap_first(i < 0 ? &main_loop.timers : &loops[i]->timers);
            if (t != NULL && t->due < due)
                due = t->due;
        }
        int64_t now = clock_monotonic_ms();
        int64_t to = due < target ? due : target;
        if (to > now)
            clock_set_virtual(to, gr_wall_us() + (to - now) * 1000);
        loops_step();
        if (due > target)
            return;
    }
}
