/* mod_mam/pages.c: the rows of a page: of all that was kept, and of a list of ids. */
#include <string.h>

#include <grapnel/log.h>

#include "lookup.h"

/* Chooses `limit` of the n that there are from the end that is asked for; the first of them. */
static uint64_t choose(struct gr_mam_query *q, uint64_t n)
{
    q->left = n < q->limit ? (size_t)n : q->limit;
    q->complete = q->left == n;
    return q->rsm.before != NULL ? n - q->left : 0;
}

/* --- everything between two numbers --- */

void page_plan(struct lookup *l)
{
    struct gr_mam_query *q = l->q;
    uint64_t low = l->bound[0], high = l->bound[1], from = l->bound[2], to = l->bound[3], first;

    q->count = high > low ? (int64_t)(high - low) : 0;
    if (q->rsm.index >= 0)
        from = q->rsm.index < q->count ? low + (uint64_t)q->rsm.index : to;
    first = from + choose(q, to > from ? to - from : 0);
    if (q->left > 0)
        q->index = (int64_t)(first - low);
    q->cursor = q->flip ? first + q->left : first;
    page_rows(l);
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);
    struct gr_mam_query *q = l->q;
    bool go_on = true;

    (void)self;
    if (lookup_late(l))
        return;
    for (size_t i = 0; i < rows->count && go_on; i++) {
        uint64_t seq = gr_row_seq(&rows->row[i]);
        struct row r;

        q->cursor = q->flip ? seq : seq + 1;
        if (row_get(&r, &rows->row[i]) == 0) {
            go_on = lookup_give(l, &r);
        } else {
            gr_error("mam.damaged", "a message of %s is damaged", l->owner->bare);
            go_on = --q->left > 0;
        }
    }
    if (go_on && !rows->more) /* some have gone meanwhile */
        q->left = 0;
    lookup_end(l, rows->rc);
}

void page_rows(struct lookup *l)
{
    size_t n = l->q->left < CHUNK ? l->q->left : CHUNK;
    uint8_t key[8];

    put_u64(key, l->q->cursor);
    if (n == 0)
        lookup_end(l, 0);
    else if (l->q->flip)
        gr_store_range_back(lookup_request(l, on_rows), MESSAGES, l->owner->bare, key, sizeof(key),
                            n);
    else
        gr_store_range(lookup_request(l, on_rows), MESSAGES, l->owner->bare, key, sizeof(key), n);
}

/* --- a list of ids: in the order of time, which is that of their texts --- */

/* How many of them are within: [*first, result). */
static size_t ids_within(const struct lookup *l, const struct span *s, size_t *first)
{
    size_t last = 0;

    *first = 0;
    for (size_t i = 0; i < l->q->id_count; i++) {
        uint64_t us = 0;
        uint32_t salt;

        id_get(l->q->ids[i], &us, &salt);
        if (us < s->from)
            *first = i + 1;
        if (us <= s->to)
            last = i + 1;
    }
    return last > *first ? last : *first;
}

void ids_plan(struct lookup *l)
{
    struct gr_mam_query *q = l->q;
    size_t low, high = ids_within(l, &l->all, &low), from, to = ids_within(l, &l->page, &from);
    size_t first;

    q->count = (int64_t)(high - low);
    if (q->rsm.index >= 0)
        from = q->rsm.index < q->count ? low + (size_t)q->rsm.index : to;
    first = from + (size_t)choose(q, to > from ? to - from : 0);
    if (q->left > 0)
        q->index = (int64_t)(first - low);
    q->cursor = q->flip ? first + q->left : first;
    ids_rows(l);
}

static void on_id_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);
    struct row r;

    (void)self;
    if (lookup_late(l))
        return;
    if (rows->rc != 0 || row_get(&r, rows->row) != 0) {
        lookup_end(l, rows->rc != 0 ? rows->rc : GR_EIO);
        return;
    }
    if (l->with != NULL && !row_is_of(&r, l->with)) {
        l->q->left--;
        ids_rows(l);
    } else if (lookup_give(l, &r)) {
        ids_rows(l);
    } else {
        lookup_end(l, 0);
    }
}

static void on_id_found(struct lookup *l, uint64_t seq)
{
    uint8_t key[8];

    put_u64(key, seq);
    gr_store_get(lookup_request(l, on_id_row), MESSAGES, l->owner->bare, key, sizeof(key));
}

void ids_rows(struct lookup *l)
{
    struct gr_mam_query *q = l->q;
    uint64_t us;
    uint32_t salt;

    if (q->left == 0) {
        lookup_end(l, 0);
        return;
    }
    id_get(q->ids[q->flip ? --q->cursor : q->cursor++], &us, &salt);
    lookup_search(l, us, on_id_found);
}
