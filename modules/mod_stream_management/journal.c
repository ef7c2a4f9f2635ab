/* mod_stream_management/journal.c: what must outlive the process: a row for each session (what it is), one
 * for its counters, and one for each stanza that its client has not acknowledged.
 *
 * Written lazily: a client that acknowledges at once costs no write for what it was sent. When something
 * is due, every session of the loop that has something gets into one transaction, in which counters and
 * stanzas agree: whatever h says is handled, the answers to it are on disk with it. h is told, and senders
 * stop waiting for the recipient's acknowledgement, when that is committed. Stopping, each change is
 * written at once. */
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

static void put_image(struct gr_mod *self, struct gr_txn *t, struct gr_session *s,
                      const struct sm *sm)
{
    const char *full = gr_session_jid(s)->full;
    size_t jid_len = strlen(full) + 1, len;
    uint8_t *image = gr_session_image(self, s, &len);
    uint8_t *row = gr_alloc(IMAGE_HEAD + jid_len + len);

    row[0] = ROW_VERSION;
    put_u64(row + 1, (uint64_t)sm->timeout_ms);
    memcpy(row + IMAGE_HEAD, full, jid_len);
    memcpy(row + IMAGE_HEAD + jid_len, image, len);
    gr_txn_put(t, SESSIONS, gr_server_id(), sm->hash, HASH_SIZE, row, IMAGE_HEAD + jid_len + len);
    gr_free(image);
    gr_free(row);
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
    uint32_t h;
    bool image;
};
struct flight {
    struct record *record;
    size_t count, cap;
    struct gr_txn *txn;
};
struct landing {                 /* its records, with the request */
    size_t count;
    struct record record[];
};

static bool needs_write(const struct sm *sm, const struct gr_session *s)
{
    return sm->image_dirty || sm->unwritten != NULL || sm->void_from < sm->void_to ||
           (sm->timeout_ms > 0 && sm->durable != gr_session_handled(s)) ||
           sm->disk_from < (sm->on_disk ? 0 : sm->disk_to < sm->acked ? sm->disk_to : sm->acked);
}

static void write_one(struct gr_mod *self, struct flight *f, struct gr_session *s, struct sm *sm)
{
    const struct state *st = gr_state(self);
    uint64_t to = sm->acked + sm->count;
    struct record *r;

    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 8 : 2 * f->cap;
        f->record = gr_realloc(f->record, f->cap * sizeof(*f->record));
    }
    r = &f->record[f->count++];
    *r = (struct record){ sm->session, to, sm->disk_from, sm->disk_to, sm->void_from, sm->numbering,
                          gr_session_handled(s), sm->image_dirty };
    if (f->txn == NULL)
        f->txn = gr_txn_new(self);
    if (sm->image_dirty)
        put_image(self, f->txn, s, sm);
    put_counters(f->txn, sm, r->h, to, st->stopping && !sm->unclean);
    while (sm->void_from < sm->void_to)
        del_stanza(f->txn, sm->hash, sm->void_from++);
    while (!sm->on_disk && sm->disk_from < sm->disk_to && sm->disk_from < sm->acked)
        del_stanza(f->txn, sm->hash, sm->disk_from++);
    if (sm->disk_to < sm->acked)
        sm->disk_from = sm->disk_to = sm->acked;
    for (struct gr_held *h = sm->unwritten; h != NULL; h = h->next)
        put_stanza(f->txn, sm, sm->disk_to++, h);
    sm->unwritten = NULL;
    sm->image_dirty = sm->urgent = false;
    sm->rows = true;
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows);

static void take_off(struct gr_mod *self, struct flight *f)
{
    struct state *st = gr_state(self);
    struct landing *l;
    struct gr_req *req;

    if (f->txn == NULL)
        return;
    st->flights++;
    req = gr_req_new(self, sizeof(*l) + f->count * sizeof(*f->record), on_written);
    l = gr_req_data(req);
    l->count = f->count;
    memcpy(l->record, f->record, f->count * sizeof(*f->record));
    gr_free(f->record);
    gr_txn_commit(f->txn, req);
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

    if (s != NULL)
        write_one(self, &f, s, sm);
    take_off(self, &f);
}

/* What was acknowledged before it was due has never been written. */
static uint64_t first_unwritten(const struct sm *sm)
{
    return sm->disk_to > sm->acked ? sm->disk_to : sm->acked;
}

void journal_touch(struct gr_mod *self, struct sm *sm, bool urgent)
{
    struct state *st = gr_state(self);

    sm->urgent = sm->urgent || urgent || sm->acked + sm->count - first_unwritten(sm) >= LAZY_STANZAS;
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
    return sm->urgent || (sm->unwritten != NULL && first_unwritten(sm) < sm->looked_at) ||
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
    for (struct sm *sm = st->touched; sm != NULL; sm = next) {
        struct gr_session *s = sm_session(self, sm);
        bool due = is_due(sm), needed = s != NULL && needs_write(sm, s);

        next = sm->touched_next;
        if (s != NULL)
            queue_ask(self, s, sm);
        if (due && needed)
            write_one(self, &f, s, sm);
        if (due || !needed) {
            journal_forget(sm);
            sm->urgent = false;
        }
        sm->looked_at = sm->acked + sm->count;
    }
    take_off(self, &f);
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
    sm->durable = r->h;
    settle(sm, r->to);
    tell_h(self, s, sm);
    resume_look(self, s, sm);
}

/* Nothing was acknowledged; it is tried again. */
static void not_written(struct sm *sm, const struct record *r)
{
    sm->image_dirty = sm->image_dirty || r->image;
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
    bool urgent = false;

    st->flights--;
    if (rows->rc != 0)
        gr_warn("sm.not_written", "%zu sessions cannot be written, nothing is acknowledged: %s",
                f->count, gr_strerror(rows->rc));
    for (size_t i = 0; i < f->count; i++) {
        struct gr_session *s = gr_session_find(self, NULL, f->record[i].session);
        struct sm *sm = s != NULL ? sm_of(self, s) : NULL;

        if (sm == NULL)
            continue;
        if (rows->rc == 0)
            written(self, s, sm, &f->record[i]);
        else
            not_written(sm, &f->record[i]);
        if (rows->rc != 0 && !st->retired && !sm->touched)
            link_sm(st, sm); /* retired: with whatever the next version has to write for it */
    }
    for (const struct sm *sm = st->touched; sm != NULL && !urgent; sm = sm->touched_next)
        urgent = sm->urgent;
    if (st->touched != NULL)
        tick_in(self, st, rows->rc != 0 ? RETRY_MS : urgent ? 0 : TICK_MS);
}
