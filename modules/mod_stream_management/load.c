/* mod_stream_management/load.c: the queue of a session that was made again after a restart comes from the
 * disk when its client is back and has said what it got. */
#include "journal.h"

#include <grapnel/log.h>

struct loading {
    uint64_t session, from;
};

/* Those before `from` the client has; what was read stands before what came since the restart. */
static void put_in_front(struct sm *sm, uint64_t from, struct gr_held *first, struct gr_held *last,
                         unsigned count, size_t bytes)
{
    if (first != NULL) {
        last->next = sm->first;
        sm->first = first;
        if (sm->last == NULL)
            sm->last = last;
    }
    sm->acked = from;
    sm->count += count;
    sm->bytes += bytes;
    sm->on_disk = false;
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct loading *l = gr_req_data(req);
    struct gr_session *s = gr_session_find(self, NULL, l->session);
    struct sm *sm = s != NULL ? sm_of(self, s) : NULL;
    struct gr_held *first = NULL, *last = NULL;
    unsigned count = 0;
    size_t bytes = 0;

    if (sm == NULL || !sm->on_disk)
        return;
    for (size_t i = 0; i < rows->count && row_is_of(&rows->row[i], sm->hash, sm->acked); i++) {
        struct gr_held *h = stanza_of_row(&rows->row[i]);

        if (h == NULL)
            break;
        *(last != NULL ? &last->next : &first) = h;
        last = h;
        count++;
        bytes += gr_stanza_memory(h->stanza);
    }
    if (count == sm->acked - l->from) {
        put_in_front(sm, l->from, first, last, count, bytes);
        resume_look(self, s, sm);
        return;
    }
    gr_error("sm.damaged", "%s cannot be resumed: %s", gr_session_jid(s)->full,
             rows->rc != 0 ? gr_strerror(rows->rc) : "a stanza is missing");
    while (first != NULL) {
        last = first;
        first = last->next;
        gr_held_free(&last);
    }
    resume_cancel(self, sm, GR_INTERNAL_SERVER_ERROR);
}

/* After a crash the client may have got more than anybody wrote down; the rest of the numbers follow. */
static void begin_anew(struct gr_mod *self, struct sm *sm, uint64_t from)
{
    struct gr_txn *t = gr_txn_new(self);

    for (uint64_t n = sm->disk_from; n < sm->disk_to; n++) {
        uint8_t key[QUEUE_KEY];

        queue_key(sm->hash, n, key);
        gr_txn_del(t, QUEUE, gr_server_id(), key, sizeof(key));
    }
    gr_txn_commit(t, NULL);
    sm->acked = sm->disk_from = sm->disk_to = from;
    sm->unwritten = sm->first;
    sm->on_disk = false;
    journal_touch(self, sm, true);
}

void load(struct gr_mod *self, struct sm *sm, uint32_t h)
{
    uint64_t from = sm->disk_from + (uint32_t)(h - (uint32_t)sm->disk_from);
    struct gr_req *req;
    uint8_t key[QUEUE_KEY];

    if (from >= sm->acked) {
        begin_anew(self, sm, from);
        return;
    }
    req = gr_req_new(self, sizeof(struct loading), on_rows);
    *(struct loading *)gr_req_data(req) = (struct loading){ sm->session, from };
    queue_key(sm->hash, from, key);
    gr_store_range(req, QUEUE, gr_server_id(), key, sizeof(key), (size_t)(sm->acked - from));
}
