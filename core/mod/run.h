/* mod/run.h: one running chain; shared by hook.c, hold.c and event.c. Of its loop. */
#pragma once

#include "mod/hook.h"
#include "mod/instance.h"

#define HOLDS_MAX 10000     /* outstanding, per instance */
#define HOLD_MS 30000

/* Large enough for a copy of every event. */
#define RUN_EVENT_MEMBER(name, scope, kind, async, event) struct event name;
union run_event {
    struct gr_ev ev;
    GR_HOOK_LIST(RUN_EVENT_MEMBER)
};

struct gr_run {
    struct gr_ev *ev;
    enum gr_hook_id id;              /* GR_HOOK_COUNT: a custom hook */
    const char *name;
    const struct hook_chain *chain;
    struct hook_table *table;        /* referenced once the run is suspended */
    unsigned next;                   /* handlers[next - 1] runs, or pends */
    bool may_pend, suspended;        /* suspended: the run is on the heap */
    struct gr_hold *hold;            /* of that handler */
    struct gr_mod *asker;            /* NULL: the core */
    union {
        hook_done_f done;
        gr_ran_f ran;                /* asker's; may be NULL */
    };
    struct inner_run *inner;         /* asker's, or NULL */
    /* The savepoint before that handler. */
    const struct acc_note *notes;
    struct acc_request *requests;
    struct gr_stanza *original;      /* the stanza event's reference, once it was exchanged */
    bool private_copy;               /* what the event has instead is this handler's alone */
    unsigned appended;               /* children of the original, its last ones (gr_ev_append) */
    size_t roster_items;
    union run_event before;
};

/* A chain that shares the accumulator of one that is held, or has one of its own. */
struct inner_run {
    struct link of_outer;            /* gr_hold.inner, while it shares */
    struct gr_run *run;
    struct lone_acc *lone;           /* NULL while it shares */
};

struct gr_hold {
    struct link of_self;
    struct timer timer;
    struct gr_mod *self;
    struct gr_run *run;              /* NULL: the chain went on without it */
    struct link inner;               /* inner_run.of_outer: chains run meanwhile */
    bool resumed;                    /* before the handler returned */
    enum gr_verdict verdict;
};

/* The handler that runs or pends, for log lines. */
static inline const struct hook_handler *run_handler(const struct gr_run *run)
{
    return &run->chain->handlers[run->next - 1];
}
void run_save(struct gr_run *run);
void run_keep(struct gr_run *run);  /* the handler did well */
void run_undo(struct gr_run *run);
/* Goes on with a suspended run as if its handler had returned `verdict`. */
void run_continue(struct gr_run *run, enum gr_verdict verdict);
bool hook_is_stanza(enum gr_hook_id id);
size_t hook_event_size(enum gr_hook_id id);
/* hold.c: the handler did not want it after all. */
void hold_abandon(struct gr_hold *h);
void hold_free(struct gr_hold *h);
/* Of a module's chain: it is run in the time of that hold; it has been suspended; nobody looks at its
 * event any more. */
void inner_begin(struct gr_run *run, struct gr_hold *outer);
void inner_suspend(struct gr_run *run);
void inner_free(struct inner_run *inner);
/* Frees those whose chain went on long ago; the instance goes. */
void holds_forget(struct gr_mod *self);
/* roster_list.c */
void roster_list_truncate(struct gr_roster_list *l, size_t count);
