/* mod/acc.h: the accumulator that travels with a stanza (hooks.md 2). Owned by one job at a time;
 * crosses loops with it. Notes and requests are persistent lists (newest first): a savepoint is a
 * copy of the two heads, so that taking back a failing handler costs nothing. */
#pragma once

#include "base/arena.h"

#include <grapnel/hooks.h>

struct acc_note {
    const struct acc_note *next;
    const char *ns, *key, *value; /* value NULL: deleted */
    bool permanent;
};
enum acc_request_kind { ACC_HARD_STOP, ACC_STOP, ACC_WRITE, ACC_ROUTE, ACC_DELIVER };
struct acc_request {
    struct acc_request *next;
    enum acc_request_kind kind;
    struct gr_stanza *stanza;     /* one reference; NULL for the first two */
    const char *text;             /* condition */
    uint64_t session;             /* ACC_DELIVER: its id */
};
struct acc_base;                  /* memory of several accumulators, to which nobody adds */
struct receipt;
struct gr_acc {
    struct receipt *receipt;      /* the job's, for what handlers send on its behalf; or NULL */
    uint64_t ref;
    int64_t time_us;
    enum gr_origin origin;
    bool again;                   /* a session had it and could not write it */
    bool behalf;                  /* the receipt is that of another stanza, its cause */
    struct arena arena;           /* initialised at first use */
    struct acc_base *base;        /* or NULL; once it was parted: what came before */
    const struct acc_note *notes;
    struct acc_request *requests;
};

/* In memory of the caller's, whatever it holds. */
void acc_init(struct gr_acc *acc, enum gr_origin origin);
/* The same with the time and the permanent notes of another one, for a copy of its stanza. */
void acc_fork(struct gr_acc *fork, const struct gr_acc *acc);
/* The same as it stands, without requests, for a chain that may outlive acc: from here on each has
 * its own. Both may be used at the same time on different loops. */
void acc_part(struct gr_acc *own, struct gr_acc *acc);
/* For one of several sessions that the stanza itself is given to. */
void acc_twin(struct gr_acc *twin, const struct gr_acc *acc);
void acc_fini(struct gr_acc *acc);
struct gr_acc *acc_new(enum gr_origin origin);
/* Entering local delivery: only permanent notes stay (hooks.md 2.2). */
void acc_strip(struct gr_acc *acc);
/* The requests in the order in which they must be carried out; the list is the caller's (its
 * stanzas too; memory stays in the acc's arena). NULL when none. */
struct acc_request *acc_take_requests(struct gr_acc *acc);
/* Takes back what was noted and requested since the two heads were copied. */
void acc_rollback(struct gr_acc *acc, const struct acc_note *notes, struct acc_request *requests);
/* A copy that lives as long as the accumulator, for addresses that outlive their stanza. */
const struct gr_jid *acc_keep_jid(struct gr_acc *acc, const struct gr_jid *jid);
void acc_free(struct gr_acc **take);
