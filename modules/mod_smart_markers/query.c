/* mod_smart_markers/query.c: telling what the markers of a conversation are. */
#include <grapnel/log.h>

#include "markers.h"

enum { ANSWER_MAX = 2000 }; /* markers of a large room; `after` asks for fewer */

struct gr_el *add_marker(struct gr_stanza *st, struct gr_el *parent, const struct marker *m,
                         const char *from)
{
    struct gr_el *el = gr_el_add(st, parent, NS_SMART, "marker");
    char stamp[GR_STAMP_SIZE];

    gr_stamp(stamp, m->time_us);
    gr_el_set(st, el, "from", from);
    gr_el_set(st, el, "id", m->id);
    gr_el_set(st, el, "type", marker_name(m->type));
    gr_el_set(st, el, "timestamp", stamp);
    if (m->thread[0] != '\0')
        gr_el_set(st, el, "thread", m->thread);
    return el;
}

struct query {
    struct gr_mod *self;
    struct gr_iq_req *req;
    struct gr_room_ev room;  /* for the hook */
    struct gr_jid *peer, *user;
    int64_t after_us;
    struct key prefix;       /* of the rows that are wanted */
    struct gr_stanza *result;
    struct gr_el *list;
    size_t n;
};

static void query_end(struct query *q, enum gr_cond cond)
{
    if (cond == GR_COND_NONE) {
        gr_iq_reply(q->req, q->result);
    } else {
        gr_iq_reply_error(q->req, cond, NULL);
        gr_stanza_unref(&q->result);
    }
    gr_jid_free(&q->peer);
    gr_jid_free(&q->user);
    gr_free(q);
}

static const char *thread_of(const struct query *q)
{
    const struct gr_stanza *iq = gr_iq_req_stanza(q->req);
    const char *thread = gr_el_attr(gr_stanza_payload(iq), "thread");

    return thread != NULL ? thread : "";
}

static struct gr_req *request(struct query *q, gr_store_f done)
{
    struct gr_req *req = gr_req_new(q->self, sizeof(q), done);

    *(struct query **)gr_req_data(req) = q;
    return req;
}

static bool is_wanted(const struct query *q, const struct gr_row *row)
{
    return row->key_len >= q->prefix.len &&
           memcmp(row->key, q->prefix.text, q->prefix.len) == 0;
}

/* Adds the rows that begin with the prefix; false: these were the last ones. A room's rows tell the
 * sender themselves (from NULL). */
static bool add_rows(struct query *q, const struct gr_rows *rows, const char *from)
{
    for (size_t i = 0; i < rows->count; i++) {
        struct marker m;
        char *hold;

        if (!is_wanted(q, &rows->row[i]) || q->n == ANSWER_MAX)
            return false;
        if (marker_read(&m, &rows->row[i], &hold) != 0)
            continue;
        /* A room that does not let the user in is not asked through the other half of a chat. */
        if (m.time_us > q->after_us && (from == NULL || from == q->user->bare || !m.room)) {
            add_marker(q->result, q->list, &m, from != NULL ? from : m.with);
            q->n++;
        }
        gr_free(hold);
    }
    return rows->more && rows->count > 0;
}

/* --- a chat: what both have sent to each other --- */

static void on_peers(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct query *q = *(struct query **)gr_req_data(req);

    (void)self;
    add_rows(q, rows, q->peer->bare);
    query_end(q, rows->rc == 0 ? GR_COND_NONE : gr_cond_of(rows->rc));
}

static void on_own(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct markers_conf *conf = gr_conf(self);
    struct query *q = *(struct query **)gr_req_data(req);

    add_rows(q, rows, q->user->bare);
    if (rows->rc != 0 || conf->keep_private || gr_jid_equal(q->user, q->peer) ||
        !key_make(&q->prefix, thread_of(q), q->user->bare, MARKER_NONE))
        query_end(q, rows->rc == 0 ? GR_COND_NONE : gr_cond_of(rows->rc));
    else
        gr_store_range(request(q, on_peers), MARKERS, q->peer->bare, q->prefix.text, q->prefix.len,
                       MARKER_NONE);
}

/* --- a room --- */

static void on_room(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct query *q = *(struct query **)gr_req_data(req);

    (void)self;
    if (add_rows(q, rows, NULL) && rows->rc == 0)
        read_behind(request(q, on_room), q->peer->bare, &rows->row[rows->count - 1]);
    else
        query_end(q, rows->rc == 0 ? GR_COND_NONE : gr_cond_of(rows->rc));
}

static void on_access(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    const struct markers_conf *conf = gr_conf(self);
    struct query *q = GR_CONTAINER_OF(ev, struct query, room.ev);
    bool room = q->room.yes && !conf->keep_private;
    const char *with = room ? NULL : q->peer->bare;

    (void)verdict;
    if (!key_make(&q->prefix, thread_of(q), with, MARKER_NONE))
        query_end(q, GR_COND_NONE); /* there are none so long */
    else if (room)
        gr_store_range(request(q, on_room), MARKERS, q->peer->bare, q->prefix.text, q->prefix.len,
                       PAGE);
    else
        gr_store_range(request(q, on_own), MARKERS, q->user->bare, q->prefix.text, q->prefix.len,
                       MARKER_NONE);
}

void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const char *peer = gr_el_attr(ev->payload, "peer"), *after = gr_el_attr(ev->payload, "after");
    int64_t after_us = INT64_MIN;
    struct gr_jid *jid = NULL;
    struct query *q;

    if (peer == NULL || gr_jid_parse(peer, strlen(peer), &jid) != 0 || !gr_jid_is_bare(jid) ||
        (after != NULL && gr_stamp_parse(after, &after_us) != 0)) {
        gr_jid_free(&jid);
        gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "peer is a bare JID, after a time");
        return;
    }
    q = gr_alloc(sizeof(*q));
    q->self = self;
    q->req = ev->req;
    q->peer = jid;
    q->user = gr_jid_dup_bare(ev->to);
    q->after_us = after_us;
    q->result = gr_iq_result(ev->stanza);
    q->list = gr_el_add(q->result, NULL, NS_SMART, "query");
    gr_el_set(q->result, q->list, "peer", jid->bare);
    q->room.room = q->peer;
    q->room.user = q->user;
    gr_hook_run(self, GR_HOOK_can_access_room, &q->room.ev, on_access);
}

/* --- get_personal_data: what the account has sent --- */

struct export {
    struct gr_export_ev *ev;
    struct gr_hold *hold;
    struct gr_jid *owner;
    struct gr_el *list;
};

static void on_rows(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct export *x = gr_req_data(req);
    bool ok = rows->rc == 0 && gr_hold_waits(x->hold);
    struct gr_req *more;

    for (size_t i = 0; ok && i < rows->count; i++) {
        struct marker m;
        char *hold;

        if (marker_read(&m, &rows->row[i], &hold) != 0)
            continue;
        if (x->list == NULL)
            x->list = gr_el_add(x->ev->data, NULL, NS_SMART, "markers");
        gr_el_set(x->ev->data, add_marker(x->ev->data, x->list, &m, x->owner->bare), "peer",
                  m.with);
        gr_free(hold);
    }
    if (ok && rows->more && rows->count > 0) {
        more = gr_req_new(self, sizeof(*x), on_rows);
        *(struct export *)gr_req_data(more) = *x;
        read_behind(more, x->owner->bare, &rows->row[rows->count - 1]);
        return;
    }
    gr_resume(x->hold, ok ? GR_OK : GR_FAIL);
    gr_jid_free(&x->owner);
}

enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct export), on_rows);
    *(struct export *)gr_req_data(req) =
        (struct export){ ev, hold, gr_jid_dup_bare(ev->user), NULL };
    read_behind(req, ev->user->bare, NULL);
    return GR_PENDING;
}
