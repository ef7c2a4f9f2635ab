/* mod_sessiondb/lazy.c: presences reach their rows within a second, many in one transaction.
 *
 * After a crash nobody is online, so that the last second is worth nothing, and while the process
 * lives questions are answered from the session table (read.c). A change only marks the session;
 * what is written is what the table says when the time has come. */
#include "sessiondb.h"

enum { LATER_MS = 1000, DIRTY_MAX = 1000, TXN_BYTES = 1024 * 1024 };

static void flush_now(struct gr_mod *self, struct gr_timer *t)
{
    (void)t;
    presence_flush(self);
}

void presence_later(struct gr_mod *self, struct inst *inst)
{
    struct sessiondb *st = gr_state(self);

    if (inst->dirty_at != NULL)
        return;
    inst->dirty_next = st->dirty;
    inst->dirty_at = &st->dirty;
    if (st->dirty != NULL)
        st->dirty->dirty_at = &inst->dirty_next;
    st->dirty = inst;
    if (++st->dirty_count == DIRTY_MAX)
        presence_flush(self);
    else if (st->dirty_count == 1)
        gr_timer_start(self, &st->later, LATER_MS, flush_now);
}

void presence_cancel(struct gr_mod *self, struct inst *inst)
{
    struct sessiondb *st = gr_state(self);

    if (inst->dirty_at == NULL)
        return;
    *inst->dirty_at = inst->dirty_next;
    if (inst->dirty_next != NULL)
        inst->dirty_next->dirty_at = inst->dirty_at;
    inst->dirty_at = NULL;
    if (--st->dirty_count == 0)
        gr_timer_stop(&st->later);
}

/* Returns the bytes of the presence. */
static size_t add_row(struct gr_mod *self, struct gr_txn *t, struct inst *inst)
{
    const struct gr_session *s = gr_session_find(self, inst->full, inst->session);
    struct row r = row_of(inst);

    if (s == NULL) /* its end deletes the row */
        return 0;
    if (gr_session_available(s)) {
        r.available = true;
        r.priority = gr_session_priority(s);
        r.xml = gr_stanza_xml(gr_session_presence(s), &r.xml_len);
    }
    row_put(t, inst->full, &r, false);
    if (!inst->indexed) /* bound before this version of the module came */
        index_put(t, inst->full, &r);
    inst->indexed = true;
    return r.xml_len;
}

void presence_flush(struct gr_mod *self)
{
    struct sessiondb *st = gr_state(self);

    while (st->dirty != NULL) {
        struct gr_txn *t = gr_txn_new(self);

        for (size_t bytes = 0; st->dirty != NULL && bytes < TXN_BYTES;) {
            struct inst *inst = st->dirty;

            presence_cancel(self, inst);
            bytes += add_row(self, t, inst);
        }
        gr_txn_commit(t, NULL);
    }
}
