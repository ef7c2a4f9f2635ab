/* mod_stream_management/load.c: the queue of a session that was made again after a restart comes from the
 * disk when its client is back and has said what it got. */
#include "journal.h"

#include <grapnel/log.h>

struct loading {
    uint64_t session, from, acked; /* rows from there on; what the client calls the first of them */
};

/* What was read stands before what came since the restart. From now on it is known again what the client
 * has; where it had more than anybody wrote down, what is left of the queue gets the numbers behind that. */
static void put_in_front(struct gr_mod *self, struct sm *sm, const struct loading *l,
                         struct gr_held *first, struct gr_held *last)
{
    for (const struct gr_held *h = first; h != NULL; h = h->next) {
        sm->count++;
        sm->bytes += gr_stanza_memory(h->stanza);
    }
    if (first != NULL) {
        last->next = sm->first;
        sm->first = first;
        if (sm->last == NULL)
            sm->last = last;
    }
    if (l->from != l->acked) {
        sm->numbering++;
        sm->void_from = sm->disk_from;
        sm->void_to = sm->disk_to;
        sm->disk_from = sm->disk_to = l->acked;
        sm->unwritten = sm->first;
    }
    sm->acked = l->acked;
    sm->on_disk = false;
    journal_touch(self, sm, sm->unclean);
    sm->unclean = false;
}

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct loading *l = gr_req_data(req);
    struct gr_session *s = gr_session_find(self, NULL, l->session);
    struct sm *sm = s != NULL ? sm_of(self, s) : NULL;
    struct gr_held *first = NULL, *last = NULL;
    uint64_t count = 0;

    if (sm == NULL || !sm->on_disk)
        return;
    for (size_t i = 0; i < rows->count && row_is_of(&rows->row[i], sm->hash, sm->acked); i++) {
        struct gr_held *h = stanza_of_row(&rows->row[i]);

        if (h == NULL)
            break;
        *(last != NULL ? &last->next : &first) = h;
        last = h;
        count++;
    }
    if (count == sm->acked - l->from) {
        put_in_front(self, sm, l, first, last);
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
    if (rows->rc == 0) /* nor will it ever be: what can be read goes elsewhere */
        gr_session_close(self, s, NULL, NULL, true);
}

void load(struct gr_mod *self, struct sm *sm, uint32_t h)
{
    struct loading l = { .session = sm->session };
    struct gr_req *req;
    uint8_t key[QUEUE_KEY];

    l.acked = l.from = sm->disk_from + (uint32_t)(h - (uint32_t)sm->disk_from);
    if (sm->unclean && l.from > sm->crashed_at)
        l.from = sm->crashed_at;
    if (l.from == sm->acked) { /* nothing of it is left */
        put_in_front(self, sm, &l, NULL, NULL);
        return;
    }
    req = gr_req_new(self, sizeof(l), on_rows);
    *(struct loading *)gr_req_data(req) = l;
    queue_key(sm->hash, l.from, key);
    gr_store_range(req, QUEUE, gr_server_id(), key, sizeof(key), (size_t)(sm->acked - l.from));
}
