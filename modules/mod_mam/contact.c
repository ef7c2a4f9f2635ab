/* mod_mam/contact.c: a page of the messages of one contact. The map says at what times there are
 * some, and which rows these were given; when a row is not the one that was expected (a write
 * before it had failed) it is searched for. Index and count are not told: they would have to be
 * counted. */
#include <string.h>

#include <grapnel/log.h>

#include "lookup.h"

static void entry_next(struct lookup *l);

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
    contact_key(key, l->with->bare, l->with->bare_len, 0);
    l->entries = l->entry_at = 0;
    l->more = rows->more;
    for (size_t i = 0; i < rows->count && l->entries < CHUNK + 1; i++) {
        const struct gr_row *row = &rows->row[i];
        uint64_t us;

        if (row->key_len != CONTACT_KEY || row->val_len != 8)
            continue;
        us = get_u64((const uint8_t *)row->key + 8);
        if (memcmp(row->key, key, 8) != 0 || us < l->page.from || us > l->page.to) {
            l->more = false;
            break;
        }
        l->entry[l->entries++] = (struct place){ .us = us, .seq = get_u64(row->val) };
    }
    entry_next(l);
}

/* Reads on from the cursor, in the direction in which the entries are needed. */
static void entries_read(struct lookup *l)
{
    uint8_t key[CONTACT_KEY];

    contact_key(key, l->with->bare, l->with->bare_len, l->q->cursor);
    if (l->back)
        gr_store_range_back(lookup_request(l, on_entries), CONTACTS, l->owner->bare, key,
                            sizeof(key), CHUNK + 1);
    else
        gr_store_range(lookup_request(l, on_entries), CONTACTS, l->owner->bare, key, sizeof(key),
                       CHUNK + 1);
}

/* --- one entry after the other --- */

/* The far end of the page is known (or there is nothing): the rows, from there. */
static void found_end(struct lookup *l, bool complete)
{
    l->q->complete = complete;
    l->q->left = l->matches;
    l->finding = false;
    l->back = !l->back;
    l->q->cursor = l->back ? l->us + 1 : l->us;
    if (l->matches == 0)
        lookup_end(l, 0);
    else
        entries_read(l);
}

/* True: it was the last one wanted, in the find or in the page. */
static bool match(struct lookup *l, const struct row *r)
{
    bool go_on;

    if (!l->finding) {
        go_on = lookup_give(l, r);
        if (l->q->left == 0 && (l->q->flip == (l->q->rsm.before != NULL)))
            l->q->complete = l->entry_at == l->entries && !l->more;
        return !go_on;
    }
    l->us = r->us;
    return ++l->matches == l->q->limit;
}

static void entry_done(struct lookup *l, const struct row *r)
{
    const struct place *e = &l->entry[l->entry_at++];
    bool enough;

    l->q->cursor = l->back ? e->us : e->us + 1;
    enough = r != NULL && match(l, r);
    if (!enough)
        entry_next(l);
    else if (l->finding)
        found_end(l, l->entry_at == l->entries && !l->more);
    else
        lookup_end(l, 0);
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows);

static void on_moved(struct lookup *l, uint64_t seq)
{
    uint8_t key[8];

    if (l->found.us != l->entry[l->entry_at].us) { /* it has gone */
        entry_done(l, NULL);
        return;
    }
    l->entry[l->entry_at].seq = seq;
    put_u64(key, seq);
    gr_store_get(lookup_request(l, on_row), MESSAGES, l->owner->bare, key, sizeof(key));
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);
    const struct place *e = &l->entry[l->entry_at];
    struct row r = { .us = 0 };

    (void)self;
    if (lookup_late(l))
        return;
    if (rows->rc != 0 && rows->rc != GR_ENOENT)
        lookup_end(l, rows->rc);
    else if (rows->rc == 0 && row_get(&r, rows->row) == 0 && r.us == e->us)
        entry_done(l, row_is_of(&r, l->with) ? &r : NULL);
    else
        lookup_search(l, e->us, on_moved);
}

static void entry_next(struct lookup *l)
{
    uint8_t key[8];

    if (l->entry_at < l->entries) {
        if (l->finding && gr_jid_is_bare(l->with)) { /* no need to look at it */
            entry_done(l, &(struct row){ .us = l->entry[l->entry_at].us });
            return;
        }
        put_u64(key, l->entry[l->entry_at].seq);
        gr_store_get(lookup_request(l, on_row), MESSAGES, l->owner->bare, key, sizeof(key));
    } else if (l->more) {
        entries_read(l);
    } else if (l->finding) {
        found_end(l, true);
    } else {
        if (l->q->flip == (l->q->rsm.before != NULL))
            l->q->complete = true;
        l->q->left = 0;
        lookup_end(l, 0);
    }
}

/* A page that is given in the order in which it is found needs no preparation. */
void contact_plan(struct lookup *l)
{
    bool from_end = l->q->rsm.before != NULL;

    l->q->left = l->q->limit;
    l->q->complete = false;
    if (l->q->rsm.index > 0) {
        lookup_end(l, GR_ENOTSUP); /* XEP-0059, 2.6 */
        return;
    }
    if (l->q->limit == 0 || l->page.from > l->page.to) {
        l->q->left = 0;
        l->q->complete = l->page.from > l->page.to;
        lookup_end(l, 0);
        return;
    }
    l->finding = from_end != l->q->flip;
    l->back = from_end;
    l->q->cursor = from_end ? (l->page.to < INT64_MAX ? l->page.to + 1 : UINT64_MAX)
                            : l->page.from;
    entries_read(l);
}

void contact_rows(struct lookup *l)
{
    l->back = l->q->flip;
    entries_read(l);
}
