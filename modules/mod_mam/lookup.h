/* mod_mam/lookup.h: a page being looked for: lookup.c finds where it begins, pages.c gives its
 * rows, contact.c does both when only the messages of one contact are wanted. */
#pragma once

#include "mam.h"

/* Times of rows, both belong to it; from > to: nothing. */
struct span {
    uint64_t from, to;
};
struct place {
    uint64_t us, seq;
    uint32_t salt;
};
enum { CHUNK = 32, CHUNK_BYTES = 256 * 1024, PLACES = 5 };
enum { ALL_FROM, ALL_END, PAGE_FROM, PAGE_END, BOUNDS };

struct lookup {
    struct gr_mod *self;
    struct gr_mam_ev *ev;
    struct gr_mam_query *q;
    struct gr_hold *hold;        /* NULL while the handler has not returned */
    bool done, abandoned;
    struct gr_jid *owner, *with; /* with: NULL when all contacts are wanted */
    struct span all, page;       /* what matches; of that, what the page is taken from */
    uint64_t first, last;        /* numbers of the rows that there are */
    size_t bytes;                /* of the rows given in this run */
    size_t at;                   /* the id, or the bound, that is looked for */
    uint64_t bound[BOUNDS];      /* numbers: the first ones, and those behind the ends */
    struct place place[PLACES];  /* times whose number is known already */
    size_t places;
    /* The search in progress: the number of the first row that is not before `us`. */
    uint64_t us, low, high;
    struct row found;            /* its row, when there is one: us and salt only */
    void (*then)(struct lookup *l, uint64_t seq);
    /* contact.c */
    uint64_t block[CHUNK];       /* that have some of the contact's */
    size_t blocks, block_at;
    bool more, back;             /* blocks behind these; they are read backwards */
    size_t matches;
    uint64_t far;                /* the latest of them */
    bool finding;                /* the far end of the page, not giving rows */
};

/* Ends it; 0 or a gr_err. */
void lookup_end(struct lookup *l, int rc);
/* In every completion first: true when nobody waits any more (it is freed then). */
bool lookup_late(struct lookup *l);
struct gr_req *lookup_request(struct lookup *l, gr_store_f done);
struct lookup *lookup_of(struct gr_req *req);
void lookup_search(struct lookup *l, uint64_t us, void (*then)(struct lookup *l, uint64_t seq));
/* Gives one to whoever asked; false: that is enough for this run. */
bool lookup_give(struct lookup *l, const struct row *r);

void page_plan(struct lookup *l);  /* bound is known: index, count, where it begins */
void page_rows(struct lookup *l);  /* its rows, as many as fit into this run */
void ids_plan(struct lookup *l);   /* the same for a list of ids */
void ids_rows(struct lookup *l);
void contact_plan(struct lookup *l);
void contact_rows(struct lookup *l);
