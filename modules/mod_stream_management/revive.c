/* mod_stream_management/revive.c: sessions of the last process, made again before anybody can connect
 * (node_cleanup, before mod_sessiondb looks for what is dead): each at home, without a stream, and with
 * the queue left on disk until its client comes or does not. That of a session that could not be
 * resumed goes elsewhere at once. */
#include "journal.h"

#include <grapnel/log.h>

#include <stdio.h>
#include <string.h>

enum { PAGE = 200, START_MS = 60000 };

/* --- one session, at home --- */

struct cleanup;
struct found {
    struct cleanup *cleanup;     /* of the loop that looks for them */
    struct gr_jid *back;         /* lives there */
    uint8_t hash[HASH_SIZE];
    int64_t timeout_ms;
    uint32_t h;
    uint64_t acked, sent, crashed_at;
    bool clean;
    struct gr_jid *full;
    size_t image_len;
    uint8_t *image;
};

static void on_done(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len);

static void found_end(struct gr_mod *self, struct found *f)
{
    gr_post_host(self, f->back, on_done, &f->cleanup, sizeof(f->cleanup));
    gr_jid_free(&f->back);
    gr_jid_free(&f->full);
    gr_free(f->image);
    gr_free(f);
}

static void on_revived(struct gr_mod *self, struct gr_session *s, void *data)
{
    struct found *f = *(struct found **)data;
    struct sm *sm;

    if (s == NULL) {
        gr_warn("sm.not_revived", "%s", f->full->full);
        end_rows(self, f->full, f->hash, f->acked, f->sent);
        found_end(self, f);
        return;
    }
    sm = gr_session_slot(self, s, &sm_slot);
    memcpy(sm->hash, f->hash, HASH_SIZE);
    sm->session = gr_session_id(s);
    sm->timeout_ms = f->timeout_ms;
    sm->disk_from = f->acked;
    sm->acked = sm->disk_to = f->sent;
    sm->on_disk = f->acked != f->sent || !f->clean;
    sm->unclean = sm->missed = !f->clean;
    sm->crashed_at = f->crashed_at;
    sm->durable = sm->claimed = f->h;
    sm->begun = sm->rows = sm->gone = sm->revived = true;
    sm->gone_ms = gr_now_ms();
    gr_session_keep(self, s, &sm_slot, f->h);
    life_rearm(self, sm);
    found_end(self, f);
}

/* False: they make no sense. */
static bool read_counters(const uint8_t *v, struct found *f)
{
    f->clean = v[1] != 0;
    f->h = (uint32_t)get_u64(v + 2);
    f->acked = get_u64(v + 10);
    f->sent = get_u64(v + 18);
    f->crashed_at = get_u64(v + 26);
    return v[0] == ROW_VERSION && f->sent - f->acked <= INT32_MAX &&
           f->crashed_at - f->acked <= f->sent - f->acked;
}

static void on_counters(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct found *f = *(struct found **)gr_req_data(req);
    const uint8_t *v = rows->rc == 0 ? rows->row[0].val : NULL;
    struct found **data;

    if (v == NULL || rows->row[0].val_len != COUNTERS_ROW || !read_counters(v, f)) {
        gr_error("sm.damaged", "%s cannot be resumed: no counters", f->full->full);
        end_damaged(self, f->full, f->hash);
        found_end(self, f);
        return;
    }
    if (f->timeout_ms == 0) {
        end_rows(self, f->full, f->hash, f->acked, f->sent);
        found_end(self, f);
        return;
    }
    data = gr_alloc(sizeof(*data));
    *data = f;
    gr_session_revive(self, f->image, f->image_len, on_revived, data);
}

static void on_found(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    struct found *f = *(struct found *const *)data;
    struct gr_req *req;

    (void)jid, (void)len;
    if (f->image == NULL) {
        end_damaged(self, f->full, f->hash);
        found_end(self, f);
        return;
    }
    req = gr_req_new(self, sizeof(f), on_counters);
    *(struct found **)gr_req_data(req) = f;
    gr_store_get(req, COUNTERS, gr_server_id(), f->hash, HASH_SIZE);
}

/* --- all of them --- */

struct cleanup {
    struct gr_hold *hold;
    struct gr_jid *back;
    unsigned away;
    uint64_t count;
    uint8_t from[HASH_SIZE + 1];
    bool more;
};

static void read_page(struct gr_mod *self, struct cleanup *c);

static void leave(struct gr_mod *self, struct cleanup *c)
{
    if (--c->away > 0)
        return;
    if (c->more) {
        read_page(self, c);
        return;
    }
    if (c->count > 0)
        gr_info("sm.revived", "%llu sessions wait for their clients", (unsigned long long)c->count);
    gr_resume(c->hold, GR_OK);
    gr_jid_free(&c->back);
    gr_free(c);
}

static void on_done(struct gr_mod *self, const struct gr_jid *jid, const void *data, size_t len)
{
    (void)jid, (void)len;
    leave(self, *(struct cleanup *const *)data);
}

/* To where it lives. Its host may be gone; then nothing is known of its accounts. */
static void send_home(struct gr_mod *self, struct cleanup *c, struct found *f)
{
    f->cleanup = c;
    f->back = gr_jid_dup(c->back);
    if (gr_post_host(self, f->full, on_found, &f, sizeof(struct found *)) == 0) {
        c->away++;
        c->count += f->image != NULL;
        return;
    }
    gr_warn("sm.not_revived", "%s: its host is not served any more, or without this module; what "
            "it has not acknowledged stays in the store", f->full->full);
    gr_jid_free(&f->back);
    gr_jid_free(&f->full);
    gr_free(f->image);
    gr_free(f);
}

/* False: it makes no sense. */
static bool read_session(const struct gr_row *row, struct found *f)
{
    const uint8_t *v = row->val, *jid = v + IMAGE_HEAD;
    const uint8_t *nul = row->val_len > IMAGE_HEAD && v[0] == ROW_VERSION
                             ? memchr(jid, 0, row->val_len - IMAGE_HEAD) : NULL;

    if (nul == NULL || gr_jid_parse((const char *)jid, (size_t)(nul - jid), &f->full) != 0)
        return false;
    f->timeout_ms = (int64_t)get_u64(v + 1);
    f->image_len = row->val_len - (size_t)(nul + 1 - v);
    f->image = gr_alloc(f->image_len + 1);
    memcpy(f->image, nul + 1, f->image_len);
    return true;
}

/* Whose it was, what it was sent tells: to whom the first stanza is that can be read. */
static void on_first(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct found *f = *(struct found **)gr_req_data(req);
    struct cleanup *c = f->cleanup;

    for (size_t i = 0; f->full == NULL && i < rows->count &&
                       row_is_of(&rows->row[i], f->hash, UINT64_MAX); i++) {
        struct gr_held *h = stanza_of_row(&rows->row[i]);

        if (h != NULL && gr_stanza_to(h->stanza) != NULL)
            f->full = gr_jid_dup(gr_stanza_to(h->stanza));
        gr_held_free(&h);
    }
    if (f->full == NULL) /* for nobody: the rows are deleted */
        f->full = gr_jid_dup(c->back);
    gr_error("sm.damaged", "a session of %s cannot be resumed", f->full->bare);
    send_home(self, c, f);
    leave(self, c);
}

static void find_owner(struct gr_mod *self, struct cleanup *c, struct found *f)
{
    struct gr_req *req = gr_req_new(self, sizeof(f), on_first);
    uint8_t key[QUEUE_KEY];

    f->cleanup = c;
    c->away++;
    *(struct found **)gr_req_data(req) = f;
    queue_key(f->hash, 0, key);
    gr_store_range(req, QUEUE, gr_server_id(), key, sizeof(key), PAGE);
}

static void look_at(struct gr_mod *self, struct cleanup *c, const struct gr_row *row)
{
    struct found *f = gr_alloc(sizeof(*f));

    memcpy(f->hash, row->key, row->key_len < HASH_SIZE ? row->key_len : HASH_SIZE);
    if (read_session(row, f))
        send_home(self, c, f);
    else
        find_owner(self, c, f);
}

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct cleanup *c = *(struct cleanup **)gr_req_data(req);

    if (rows->rc != 0)
        gr_error("sm.not_revived", "sessions cannot be read: %s", gr_strerror(rows->rc));
    c->more = rows->rc == 0 && rows->more;
    if (c->more) { /* right behind the last key */
        memset(c->from, 0, sizeof(c->from));
        memcpy(c->from, rows->row[rows->count - 1].key, HASH_SIZE);
    }
    c->away = 1; /* this page */
    for (size_t i = 0; i < rows->count; i++)
        look_at(self, c, &rows->row[i]);
    leave(self, c);
}

static void read_page(struct gr_mod *self, struct cleanup *c)
{
    struct gr_req *req = gr_req_new(self, sizeof(c), on_page);

    *(struct cleanup **)gr_req_data(req) = c;
    gr_store_range(req, SESSIONS, gr_server_id(), c->more ? c->from : NULL,
                   c->more ? sizeof(c->from) : 0, PAGE);
}

/* An address whose home is this loop, to come back to. */
static struct gr_jid *address_here(struct gr_mod *self)
{
    struct gr_jid *jid = NULL;
    char text[GR_JID_PART_MAX + 32];

    for (unsigned i = 0; jid == NULL || !gr_is_home(jid); i++) {
        gr_jid_free(&jid);
        snprintf(text, sizeof(text), "%u@%s", i, gr_mod_host_jid(self)->domain);
        gr_jid_parse(text, strlen(text), &jid);
    }
    return jid;
}

enum gr_verdict on_node_cleanup(struct gr_mod *self, struct gr_domain_ev *ev)
{
    struct state *st = gr_state(self);
    struct gr_hold *hold;
    struct cleanup *c;

    if (strcmp(ev->node, gr_server_id()) != 0 || st->cleaned || gr_uptime_ms() > START_MS)
        return GR_OK; /* another server's, whose sessions nobody can resume here */
    st->cleaned = true;
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL)
        return GR_FAIL;
    c = gr_alloc(sizeof(*c));
    c->hold = hold;
    c->back = address_here(self);
    read_page(self, c);
    return GR_PENDING;
}
