/* mod_mam/contact.c: a page of the messages of one contact. The map says in which blocks of the log
 * there are some (BLOCK numbers each); these are read, and what is of somebody else is passed over.
 * Index and count are not told: they would have to be counted. */
#include <string.h>

#include <grapnel/log.h>

#include "lookup.h"

static void block_next(struct lookup *l);

/* --- the map --- */

static void on_entries(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);
    uint8_t key[CONTACT_KEY];

    (void)self;
    if (lookup_late(l))
        return;
    if (rows->rc != 0) {
        lookup_end(l, rows->rc);
        return;
    }
    contact_key(key, contact_number(l->with->bare, l->with->bare_len), 0);
    l->blocks = l->block_at = 0;
    l->more = rows->more;
    for (size_t i = 0; i < rows->count; i++) {
        const struct gr_row *row = &rows->row[i];
        uint64_t block;

        if (row->key_len != CONTACT_KEY)
            continue;
        block = get_u64((const uint8_t *)row->key + 8);
        if (memcmp(row->key, key, 8) != 0 || block < l->bound[PAGE_FROM] / BLOCK ||
            block > (l->bound[PAGE_END] - 1) / BLOCK) {
            l->more = false;
            break;
        }
        l->block[l->blocks++] = block;
    }
    block_next(l);
}

/* Reads on from the cursor, in the direction in which the rows are needed. */
static void entries_read(struct lookup *l)
{
    uint8_t key[CONTACT_KEY];
    uint64_t block = (l->q->cursor + (l->back ? BLOCK - 1 : 0)) / BLOCK;

    contact_key(key, contact_number(l->with->bare, l->with->bare_len), block);
    if (l->back)
        gr_store_range_back(lookup_request(l, on_entries), CONTACTS, l->owner->bare, key,
                            sizeof(key), CHUNK);
    else
        gr_store_range(lookup_request(l, on_entries), CONTACTS, l->owner->bare, key, sizeof(key),
                       CHUNK);
}

/* --- what is found --- */

/* Pages whose rows are given in the order in which they are found; for the others the far end is
 * found first. */
static bool is_straight(const struct gr_mam_query *q)
{
    return q->flip == (q->rsm.before != NULL);
}

/* The far end of the page is known (or there is nothing): the rows, from there. */
static void found_end(struct lookup *l, bool complete)
{
    l->q->complete = complete;
    l->q->left = l->matches;
    l->finding = false;
    l->back = !l->back;
    l->q->cursor = l->back ? l->far + 1 : l->far;
    if (l->matches == 0)
        lookup_end(l, 0);
    else
        entries_read(l);
}

/* True: the lookup has ended, or goes on elsewhere. A page is complete when there is none after the
 * last one wanted, so that is looked for. */
static bool match(struct lookup *l, uint64_t seq, const struct row *r)
{
    if (l->finding) {
        if (l->matches == l->q->limit) {
            found_end(l, false);
            return true;
        }
        l->matches++;
        l->far = seq;
        return false;
    }
    if (l->q->left == 0) {
        l->q->complete = false;
        lookup_end(l, 0);
        return true;
    }
    if (lookup_give(l, r) || (l->q->left == 0 && is_straight(l->q)))
        return false;
    lookup_end(l, 0);
    return true;
}

static void no_more(struct lookup *l)
{
    if (l->finding) {
        found_end(l, true);
        return;
    }
    if (is_straight(l->q))
        l->q->complete = true;
    l->q->left = 0;
    lookup_end(l, 0);
}

/* --- one block after the other --- */

static bool is_wanted(const struct lookup *l, uint64_t seq)
{
    return seq >= l->bound[PAGE_FROM] && seq < l->bound[PAGE_END] &&
           seq / BLOCK == l->block[l->block_at];
}

static void on_block(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);
    uint64_t seq, block = l->block[l->block_at];
    struct row r;
    size_t i;

    (void)self;
    if (lookup_late(l))
        return;
    if (rows->rc != 0) {
        lookup_end(l, rows->rc);
        return;
    }
    for (i = 0; i < rows->count; i++) {
        seq = gr_row_seq(&rows->row[i]);
        if (!is_wanted(l, seq))
            break;
        l->q->cursor = l->back ? seq : seq + 1;
        if (row_get(&r, &rows->row[i]) == 0 && row_is_of(&r, l->with) && match(l, seq, &r))
            return;
    }
    if (i < rows->count || !rows->more || l->q->cursor % BLOCK == 0) {
        l->q->cursor = (l->back ? block : block + 1) * BLOCK;
        l->block_at++;
    } /* else its rows are so large that they take several readings */
    block_next(l);
}

static void block_next(struct lookup *l)
{
    uint64_t from = l->q->cursor, first;
    uint8_t key[8];

    if (l->block_at == l->blocks) {
        if (l->more)
            entries_read(l);
        else
            no_more(l);
        return;
    }
    first = l->block[l->block_at] * BLOCK;
    if (from < first || from > first + BLOCK)
        from = l->back ? first + BLOCK : first;
    put_u64(key, from);
    if (l->back)
        gr_store_range_back(lookup_request(l, on_block), MESSAGES, l->owner->bare, key, sizeof(key),
                            from - first);
    else
        gr_store_range(lookup_request(l, on_block), MESSAGES, l->owner->bare, key, sizeof(key),
                       first + BLOCK - from);
}

void contact_plan(struct lookup *l)
{
    bool from_end = l->q->rsm.before != NULL;

    l->q->left = l->q->limit;
    l->q->complete = false;
    if (l->q->rsm.index > 0) {
        lookup_end(l, GR_ENOTSUP); /* XEP-0059, 2.6 */
        return;
    }
    if (l->q->limit == 0 || l->bound[PAGE_FROM] >= l->bound[PAGE_END]) {
        l->q->left = 0;
        l->q->complete = l->bound[PAGE_FROM] >= l->bound[PAGE_END];
        lookup_end(l, 0);
        return;
    }
    l->finding = !is_straight(l->q);
    l->back = from_end;
    l->q->cursor = from_end ? l->bound[PAGE_END] : l->bound[PAGE_FROM];
    entries_read(l);
}

void contact_rows(struct lookup *l)
{
    l->back = l->q->flip;
    entries_read(l);
}
