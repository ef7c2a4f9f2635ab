/* mod_roster/db.h: one change of one contact on its way: read and decided on in db.c, written and
 * answered in db_write.c. */
#pragma once

#include "roster.h"

struct op {
    struct turn turn;
    struct gr_mod *self;
    struct gr_ask *ask;
    enum gr_roster_op what;
    struct gr_jid *user, *contact;
    struct gr_stanza *stanza;
    struct gr_roster_list *update; /* name and groups to be; one entry */
    struct meta meta;
    struct contact old, now;       /* now: texts of old or update */
    struct bits before, after;
    char *oldest;                  /* whose request goes */
    size_t oldest_len;
    int64_t oldest_us;
    uint64_t forgotten;            /* the removal that goes; 0: none */
};

struct gr_req *op_request(struct op *op, gr_store_f done);
struct op *op_of(struct gr_req *req);
/* The answer; the op is gone then. */
void op_ok(struct op *op);
void op_result(struct op *op, enum gr_result r);
void op_fail(struct op *op, enum gr_cond cond, const char *text);
/* From before to after, with what makes room; then the answer. */
void op_write(struct op *op);
