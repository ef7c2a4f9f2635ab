/* mod_stream_management/journal.c: what must outlive the process: a row for each session (what it is), one
 * for its counters, and one for each stanza that its client has not acknowledged.
 *
 * h goes with what was stored for the stanzas that it counts: at the end of the loop's turn in which that
 * was queued, upon the condition that it is committed (gr_txn_upon), so that after a crash none of them
 * comes again that was stored. What nothing was stored for is counted lazily, and what was sent is
 * written lazily: a client that acknowledges at once costs no write for it; for one that does not, what
 * comes next is written at the end of the turn, too. When something is due, every session of the loop that
 * has something gets into one transaction, in which counters and stanzas agree: whatever h says is
 * handled, the answers to it are on disk with it. h is told, and senders stop waiting for the recipient's
 * acknowledgement, when that is committed. Stopping, each change is written at once. */
#include "journal.h"

#include <grapnel/log.h>

#include <string.h>

/* Looked at every TICK_MS: a stanza that was there at the last look is due, h and the rest after LAZY_MS. */
enum { TICK_MS = 125, LAZY_MS = 1000, LAZY_STANZAS = 64, RETRY_MS = 1000 };

const struct gr_coll sm_colls[4] = { GR_MAP("stream_management.sessions"),
                                     GR_MAP("stream_management.counters"),
                                     GR_MAP("stream_management.queue"), GR_COLL_END };

/* --- rows --- */

void put_u64(uint8_t *out, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

uint64_t get_u64(const uint8_t *in)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

void queue_key(const uint8_t hash[HASH_SIZE], uint64_t number, uint8_t out[QUEUE_KEY])
{
    memcpy(out, hash, HASH_SIZE);
    put_u64(out + HASH_SIZE, number);
}

/* The caller frees what it returns. */
static uint8_t *put_image(struct gr_mod *self, struct gr_txn *t, struct gr_session *s,
                          const struct sm *sm, size_t *image_len)
{
    const char *full = gr_session_jid(s)->full;
    uint8_t *image = gr_session_image(self, s, image_len);
    size_t jid_len = strlen(full) + 1, len = *image_len;
    uint8_t *row = gr_alloc(IMAGE_HEAD + jid_len + len);

    row[0] = ROW_VERSION;
    put_u64(row + 1, (uint64_t)sm->timeout_ms);
    memcpy(row + IMAGE_HEAD, full, jid_len);
    memcpy(row + IMAGE_HEAD + jid_len, image, len);
    gr_txn_put(t, SESSIONS, gr_server_id(), sm->hash, HASH_SIZE, row, IMAGE_HEAD + jid_len + len);
    gr_free(row);
    return image;
}

static void put_counters(struct gr_txn *t, const struct sm *sm, uint32_t h, uint64_t sent, bool clean)
{
    uint8_t row[COUNTERS_ROW] = { ROW_VERSION, clean };

    put_u64(row + 2, h);
    put_u64(row + 10, queue_first(sm));
    put_u64(row + 18, sent);
    put_u64(row + 26, sm->unclean ? sm->crashed_at : sent);
    gr_txn_put(t, COUNTERS, gr_server_id(), sm->hash, HASH_SIZE, row, sizeof(row));
}

static void put_stanza(struct gr_txn *t, const struct sm *sm, uint64_t number,
                       const struct gr_held *h)
{
    uint8_t key[QUEUE_KEY], *row;
    const char *xml;
    size_t len;

    xml = gr_stanza_xml(h->stanza, &len);
    row = gr_alloc(STANZA_HEAD + len);
    row[0] = ROW_VERSION;
    row[1] = h->copy;
    put_u64(row + 2, (uint64_t)h->time_us);
    memcpy(row + STANZA_HEAD, xml, len);
    queue_key(sm->hash, number, key);
    gr_txn_put(t, QUEUE, gr_server_id(), key, sizeof(key), row, STANZA_HEAD + len);
    gr_free(row);
}

static void del_stanza(struct gr_txn *t, const uint8_t hash[HASH_SIZE], uint64_t number)
{
    uint8_t key[QUEUE_KEY];

    queue_key(hash, number, key);
    gr_txn_del(t, QUEUE, gr_server_id(), key, sizeof(key));
}

/* --- a transaction --- */

struct record {
    uint64_t session, to;        /* stanzas before number `to` are in it */
    uint64_t disk_from, disk_to, void_from; /* what it was before */
    unsigned numbering;
    uint32_t h, promise;
    bool image;
};
struct landing {                 /* its records, with the request */
    bool tick;
    size_t count;
    struct record record[];
};

bool journal_has_news(struct gr_session *s, const struct sm *sm)
{
    return sm->timeout_ms > 0 && (int32_t)(gr_session_promised(s) - sm->claimed) > 0;
}

/* What was written upon a promise that was broken may be on disk or not: once that is known. */
static bool may_write(struct gr_session *s, const struct sm *sm)
{
    return sm->flights == 0 || sm->promise == gr_session_promise(s);
}

static bool needs_write(const struct sm *sm, struct gr_session *s)
{
    return sm->image_dirty || sm->unwritten != NULL || sm->void_from < sm->void_to ||
           journal_has_news(s, sm) ||
           sm->disk_from < (sm->on_disk ? 0 : sm->disk_to < sm->acked ? sm->disk_to : sm->acked);
}

/* h, and all that is handled when everything queued before is committed, on the condition that it is. */
static uint32_t count_to_write(struct gr_session *s, const struct sm *sm)
{
    uint32_t h = gr_session_promised(s);

    return (int32_t)(h - sm->durable) > 0 ? h : sm->durable; /* whose commit is known here before theirs */
}

/* What was acknowledged before it was due has never been written. */
static uint64_t first_unwritten(const struct sm *sm)
{
    return sm->disk_to > sm->acked ? sm->disk_to : sm->acked;
}

/* stanzas: with those that are not written yet; else h alone, and what h brings with it. */
static void write_one(struct gr_mod *self, struct flight *f, struct gr_session *s, struct sm *sm,
                      bool stanzas)
{
    const struct state *st = gr_state(self);
    uint64_t to = stanzas ? sm->acked + sm->count : first_unwritten(sm);
    struct record *r;
    size_t image_len;

    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 8 : 2 * f->cap;
        f->record = gr_realloc(f->record, f->cap * sizeof(*f->record));
    }
    r = &f->record[f->count++];
    sm->flights++;
    sm->promise = gr_session_promise(s);
    sm->claimed = count_to_write(s, sm);
    sm->stored = false;
    *r = (struct record){ sm->session, to, sm->disk_from, sm->disk_to, sm->void_from, sm->numbering,
                          sm->claimed, sm->promise, sm->image_dirty };
    if (f->txn == NULL)
        f->txn = gr_txn_new(self);
    gr_txn_upon(f->txn, s);
    if (sm->image_dirty)
        gr_free(put_image(self, f->txn, s, sm, &image_len));
    put_counters(f->txn, sm, r->h, to, st->stopping && !sm->unclean);
    while (sm->void_from < sm->void_to)
        del_stanza(f->txn, sm->hash, sm->void_from++);
    while (!sm->on_disk && sm->disk_from < sm->disk_to && sm->disk_from < sm->acked)
        del_stanza(f->txn, sm->hash, sm->disk_from++);
    if (sm->disk_to < sm->acked)
        sm->disk_from = sm->disk_to = sm->acked;
    for (struct gr_held *h = sm->unwritten; stanzas && h != NULL; h = h->next) {
        put_stanza(f->txn, sm, sm->disk_to++, h);
        gr_txn_settles_held(f->txn, h);
    }
    if (stanzas)
        sm->unwritten = NULL;
    sm->image_dirty = sm->urgent = false;
    sm->rows = true;
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows);

uint8_t *journal_put_first(struct gr_mod *self, struct gr_txn *t, struct gr_session *s, struct sm *sm,
                           size_t *image_len)
{
    put_counters(t, sm, sm->claimed, first_unwritten(sm), false);
    sm->rows = true;
    sm->image_dirty = false;
    return put_image(self, t, s, sm, image_len);
}

static void take_off(struct gr_mod *self, struct flight *f, bool tick)
{
    struct state *st = gr_state(self);
    struct landing *l;
    struct gr_req *req;

    if (f->txn == NULL)
        return;
    st->flights += tick;
    req = gr_req_new(self, sizeof(*l) + f->count * sizeof(*f->record), on_written);
    l = gr_req_data(req);
    l->tick = tick;
    l->count = f->count;
    memcpy(l->record, f->record, f->count * sizeof(*f->record));
    gr_free(f->record);
    gr_txn_commit(f->txn, req);
    *f = (struct flight){ 0 };
}

/* The answer to what h says is handled is on disk with it. */
static bool has_unwritten_answer(const struct sm *sm)
{
    return sm->unwritten != NULL && sm->answered > first_unwritten(sm);
}

void journal_write(struct gr_mod *self, struct gr_session *s, bool last)
{
    struct state *st = gr_state(self);
    struct sm *sm = sm_of(self, s);

    if (!sm->through && !journal_has_news(s, sm)) {
        /* it was written meanwhile */
    } else if (may_write(s, sm)) {
        write_one(self, &st->turn, s, sm, sm->through || st->stopping || has_unwritten_answer(sm));
    } else {
        journal_touch(self, sm, true);
    }
    sm->through = false;
    if (last)
        take_off(self, &st->turn, false);
}

/* --- who has something to write --- */

static void on_tick(struct gr_mod *self, struct gr_timer *t);

static void tick_in(struct gr_mod *self, struct state *st, int64_t ms)
{
    int64_t due = gr_now_ms() + ms;

    if (st->retired || (st->ticking && st->tick_ms <= due))
        return;
    st->ticking = true;
    st->tick_ms = due;
    gr_timer_start(self, &st->tick, ms, on_tick);
}

void journal_forget(struct sm *sm)
{
    sm->touched = false;
    if (sm->touched_at == NULL)
        return;
    *sm->touched_at = sm->touched_next;
    if (sm->touched_next != NULL)
        sm->touched_next->touched_at = sm->touched_at;
    sm->touched_at = NULL;
}

static void link_sm(struct state *st, struct sm *sm)
{
    sm->touched = true;
    sm->touched_ms = gr_now_ms();
    st->urgent = st->urgent || sm->urgent;
    sm->touched_next = st->touched;
    sm->touched_at = &st->touched;
    if (sm->touched_next != NULL)
        sm->touched_next->touched_at = &sm->touched_next;
    st->touched = sm;
}

void journal_retire(struct state *st)
{
    struct sm *next;

    st->retired = true;
    for (struct sm *sm = st->touched; sm != NULL; sm = next) {
        next = sm->touched_next;
        sm->touched_at = NULL; /* but touched: the next version puts it into its own list */
    }
    st->touched = NULL;
}

static void write_now(struct gr_mod *self, struct sm *sm)
{
    struct gr_session *s = sm_session(self, sm);
    struct flight f = { 0 };

    if (s != NULL && may_write(s, sm))
        write_one(self, &f, s, sm, true);
    take_off(self, &f, true);
}

/* Something comes to an end in code that has been replaced: its list is looked at by nobody. */
static void leave_to_successor(struct gr_mod *self, struct sm *sm)
{
    struct gr_session *s = sm_session(self, sm);

    sm->through = true;
    if (s != NULL)
        gr_session_write_soon(s); /* calls the version that is in force */
}

void journal_touch(struct gr_mod *self, struct sm *sm, bool urgent)
{
    struct state *st = gr_state(self);

    if (st->retired) {
        leave_to_successor(self, sm);
        return;
    }
    sm->urgent = sm->urgent || urgent || sm->acked + sm->count - first_unwritten(sm) >= LAZY_STANZAS;
    st->urgent = st->urgent || sm->urgent;
    if (!sm->touched)
        link_sm(st, sm);
    if (st->stopping)
        write_now(self, sm);
    else if (!sm->urgent)
        tick_in(self, st, TICK_MS);
    else if (st->flights == 0)
        tick_in(self, st, 0);
}

/* A client that acknowledges in time has nothing that is due. */
static bool is_due(const struct sm *sm)
{
    return sm->urgent || sm->stored || (sm->unwritten != NULL && first_unwritten(sm) < sm->looked_at) ||
           gr_now_ms() - sm->touched_ms >= LAZY_MS;
}

static void on_tick(struct gr_mod *self, struct gr_timer *t)
{
    struct state *st = GR_CONTAINER_OF(t, struct state, tick);
    struct flight f = { 0 };
    struct sm *next;

    st->ticking = false;
    if (st->flights > 0)
        return; /* one after the other; when it has landed it is looked again */
    st->urgent = false;
    for (struct sm *sm = st->touched; sm != NULL; sm = next) {
        struct gr_session *s = sm_session(self, sm);
        bool due = is_due(sm), needed = s != NULL && needs_write(sm, s);

        if (needed && !may_write(s, sm))
            due = false; /* until it has landed */

        next = sm->touched_next;
        if (s != NULL)
            queue_ask(self, s, sm);
        if (due && needed)
            write_one(self, &f, s, sm, true);
        if (due || !needed) {
            journal_forget(sm);
            sm->urgent = false;
        }
        st->urgent = st->urgent || sm->urgent;
        sm->looked_at = sm->acked + sm->count;
    }
    take_off(self, &f, true);
    if (st->touched != NULL)
        tick_in(self, st, TICK_MS);
}

/* --- it is on disk, or not --- */

static void settle(struct sm *sm, uint64_t to)
{
    struct gr_held *h = sm->first;

    for (uint64_t n = sm->acked; h != NULL && n < to; n++, h = h->next)
        gr_held_settle(h);
}

static void written(struct gr_mod *self, struct gr_session *s, struct sm *sm,
                    const struct record *r)
{
    if (sm->numbering != r->numbering || sm->disk_to < r->to)
        return; /* an earlier one failed: what it had is written again first */
    if ((int32_t)(r->h - sm->durable) > 0)
        sm->durable = r->h;
    settle(sm, r->to);
    tell_h(self, s, sm);
    resume_look(self, s, sm);
}

/* Nothing was acknowledged; it is tried again. */
static void not_written(struct sm *sm, const struct record *r)
{
    sm->image_dirty = sm->image_dirty || r->image;
    sm->claimed = sm->durable;
    sm->urgent = true;
    if (sm->numbering != r->numbering)
        return; /* all of it is still to be written */
    if (sm->void_from > r->void_from)
        sm->void_from = r->void_from;
    if (sm->disk_from > r->disk_from)
        sm->disk_from = r->disk_from;
    if (sm->disk_to > r->disk_to)
        sm->disk_to = r->disk_to;
    if (sm->disk_to < sm->acked)
        sm->disk_to = sm->acked; /* those need not be written any more */
    queue_find_unwritten(sm);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct landing *f = gr_req_data(req);
    struct state *st = gr_state(self);

    st->flights -= f->tick;
    if (rows->rc != 0)
        gr_warn("sm.not_written", "%zu sessions cannot be written, nothing is acknowledged: %s",
                f->count, gr_strerror(rows->rc));
    for (size_t i = 0; i < f->count; i++) {
        const struct record *r = &f->record[i];
        struct gr_session *s = gr_session_find(self, NULL, r->session);
        struct sm *sm = s != NULL ? sm_of(self, s) : NULL;
        bool ok;

        if (sm == NULL)
            continue;
        sm->flights--;
        ok = rows->rc == 0 && r->promise == gr_session_promise(s);
        if (ok)
            written(self, s, sm, r);
        else
            not_written(sm, r);
        st->urgent = st->urgent || !ok;
        if (!ok && st->retired)
            leave_to_successor(self, sm);
        else if (!ok && !sm->touched)
            link_sm(st, sm);
    }
    if (st->touched != NULL)
        tick_in(self, st, rows->rc != 0 ? RETRY_MS : st->urgent ? 0 : TICK_MS);
}
