/* mod_announce/motd.c: the message of the day: a row of the host, and for each account which one it has
 * seen, which is told by the time it was set and a number by chance. */
#include "announce.h"

#include <string.h>

#define ROW_VERSION 1

const struct gr_coll announce_collections[] = { GR_MAP("announce"), GR_COLL_END };
static const char motd_key[] = "motd", seen_key[] = "seen";

#define KEY(k) k, sizeof(k) - 1
#define COLL (&announce_collections[0])

#define ID_SIZE 16

struct motd {
    int64_t set_us;             /* 0: there is none, or it cannot be read */
    uint8_t id[ID_SIZE];        /* that time, and 8 bytes more */
    char *subject, *text;
};

static struct motd motd_read(const struct gr_rows *rows)
{
    struct motd m = { 0 };
    struct gr_reader r;
    const char *s;
    size_t len;

    if (rows->rc != 0 || rows->count == 0)
        return m;
    r = gr_reader_of(rows->row[0].val, rows->row[0].val_len);
    if (gr_read_u8(&r) != ROW_VERSION)
        return m;
    gr_read_bytes(&r, m.id, sizeof(m.id));
    m.set_us = (int64_t)gr_get_u64(m.id);
    s = gr_read_str(&r, &len);
    m.subject = gr_strndup(s, len);
    s = gr_read_rest_str(&r, &len);
    m.text = gr_strndup(s, len);
    if (r.failed)
        m.set_us = 0;
    return m;
}

static void motd_free(struct motd *m)
{
    gr_free(m->subject);
    gr_free(m->text);
}

/* --- to an account --- */

/* One at a time for each account: a read that waits for the disk would not show what the one before it
 * has led to. */
struct giving {
    struct giving *next;
    struct gr_jid *jid;
    struct motd motd;
};

static struct giving *giving_of(struct gr_req *req)
{
    return *(struct giving **)gr_req_data(req);
}

static struct gr_req *request_for(struct gr_mod *self, struct giving *g, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(g), done);

    *(struct giving **)gr_req_data(req) = g;
    return req;
}

static void giving_free(struct gr_mod *self, struct giving *g)
{
    struct giving **at = &((struct announce *)gr_state(self))->givings;

    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    gr_jid_free(&g->jid);
    motd_free(&g->motd);
    gr_free(g);
}

static void write_seen(struct gr_mod *self, const struct gr_jid *jid, const struct motd *m)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_put(t, COLL, jid->bare, KEY(seen_key), m->id, sizeof(m->id));
    gr_txn_commit(t, NULL);
}

static bool has_seen(const struct gr_rows *rows, const struct motd *m)
{
    return rows->rc == 0 && rows->count == 1 && rows->row[0].val_len == sizeof(m->id) &&
           memcmp(rows->row[0].val, m->id, sizeof(m->id)) == 0;
}

static void on_seen(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct giving *g = giving_of(req);
    struct words w = { g->motd.subject, g->motd.text };
    bool readable = rows->rc == 0 || rows->rc == GR_ENOENT;

    if (readable && !has_seen(rows, &g->motd)) {
        write_seen(self, g->jid, &g->motd);
        gr_send(self, announcement(self, GR_MSG_NORMAL, g->jid, &w));
    }
    giving_free(self, g);
}

static void on_motd(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct giving *g = giving_of(req);

    g->motd = motd_read(rows);
    if (g->motd.set_us != 0)
        gr_store_get(request_for(self, g, on_seen), COLL, g->jid->bare, KEY(seen_key));
    else
        giving_free(self, g);
}

static void read_motd(struct gr_mod *self, struct gr_req *take)
{
    gr_store_get(take, COLL, gr_mod_host_jid(self)->domain, KEY(motd_key));
}

void motd_give(struct gr_mod *self, const struct gr_jid *jid)
{
    struct announce *a = gr_state(self);
    struct giving *g = a->givings;

    while (g != NULL && !gr_jid_bare_equal(g->jid, jid))
        g = g->next;
    if (g != NULL)
        return;
    g = gr_alloc(sizeof(*g));
    g->jid = gr_jid_dup_bare(jid);
    g->next = a->givings;
    a->givings = g;
    read_motd(self, request_for(self, g, on_motd));
}

/* --- commands, on the home loop of the domain --- */

struct change {
    struct gr_cmd *cmd;
    bool now;
};

static void on_sent(struct gr_mod *self, void *data, const char *error,
                    struct gr_cmd_result *result)
{
    struct gr_cmd *cmd = ((struct change *)data)->cmd;

    (void)self, (void)result;
    if (error != NULL)
        gr_cmd_fail(cmd, "it is set, but: %s", error);
    else
        gr_cmd_done(cmd);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const char *words[] = { "motd", "send", gr_mod_host_jid(self)->domain };
    struct change *c = gr_req_data(req), *next;

    if (rows->rc != 0) {
        gr_cmd_fail(c->cmd, "the store refuses: %s", gr_strerror(rows->rc));
        return;
    }
    if (!c->now) {
        gr_cmd_done(c->cmd);
        return;
    }
    next = gr_alloc(sizeof(*next));
    *next = *c;
    gr_command_run(self, words, GR_COUNT(words), on_sent, next);
}

static struct gr_req *change_new(struct gr_mod *self, struct gr_cmd *cmd, bool now)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct change), on_written);

    *(struct change *)gr_req_data(req) = (struct change){ cmd, now };
    return req;
}

void motd_set(struct gr_mod *self, struct gr_cmd *cmd, const struct words *w, bool now)
{
    struct gr_writer row = gr_writer_new(64);
    uint8_t id[ID_SIZE];
    struct gr_txn *t;
    size_t len;
    void *bytes;

    gr_random(id, sizeof(id));
    gr_put_u64(id, (uint64_t)gr_wall_us());
    gr_write_u8(&row, ROW_VERSION);
    gr_write_bytes(&row, id, sizeof(id));
    gr_write_str(&row, w->subject);
    gr_write_bytes(&row, w->text, strlen(w->text));
    bytes = gr_writer_take(&row, &len);
    if (bytes == NULL) {
        gr_cmd_fail(cmd, "so long a subject cannot be kept");
        return;
    }
    t = gr_txn_new(self);
    gr_txn_put(t, COLL, gr_mod_host_jid(self)->domain, KEY(motd_key), bytes, len);
    gr_free(bytes);
    gr_txn_commit(t, change_new(self, cmd, now));
}

void motd_delete(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del(t, COLL, gr_mod_host_jid(self)->domain, KEY(motd_key));
    gr_txn_commit(t, change_new(self, cmd, false));
}

static void on_show(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct change *)gr_req_data(req))->cmd;
    struct motd m = motd_read(rows);
    char stamp[GR_STAMP_SIZE];

    (void)self;
    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        gr_cmd_fail(cmd, "the store refuses: %s", gr_strerror(rows->rc));
    } else {
        if (m.set_us != 0) {
            gr_stamp(stamp, m.set_us);
            gr_cmd_row(cmd);
            gr_cmd_field(cmd, "set", "%s", stamp);
            gr_cmd_field(cmd, "subject", "%s", m.subject);
            gr_cmd_field(cmd, "text", "%s", m.text);
        }
        gr_cmd_done(cmd);
    }
    motd_free(&m);
}

void motd_show(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct change), on_show);

    ((struct change *)gr_req_data(req))->cmd = cmd;
    read_motd(self, req);
}

/* --- the account goes; its owner wants a copy of everything --- */

struct waiting {
    struct gr_hold *hold;
    struct gr_export_ev *ev;    /* while the hold waits */
};

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(((struct waiting *)gr_req_data(req))->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* Held until it is gone: the next owner of the name has seen nothing. */
enum gr_verdict motd_on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct waiting), on_removed);
    struct gr_txn *t = gr_txn_new(self);

    ((struct waiting *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, COLL, ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* Should a session of the name's last owner have seen one when the account was gone already. */
void motd_on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del_all(t, COLL, ev->jid->bare);
    gr_txn_commit(t, NULL);
}

static void on_exported(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);
    bool ok = rows->rc == 0 || rows->rc == GR_ENOENT;
    char stamp[GR_STAMP_SIZE];
    struct gr_el *motd;

    (void)self;
    if (ok && gr_hold_waits(w->hold) && rows->rc == 0 && rows->row[0].val_len == ID_SIZE) {
        gr_stamp(stamp, (int64_t)gr_get_u64(rows->row[0].val));
        motd = gr_el_add(w->ev->data, NULL, "urn:grapnel:announce", "motd");
        gr_el_set(w->ev->data, motd, "seen", stamp);
    }
    gr_resume(w->hold, ok ? GR_OK : GR_FAIL);
}

enum gr_verdict motd_on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct waiting), on_exported);
    *(struct waiting *)gr_req_data(req) = (struct waiting){ hold, ev };
    gr_store_get(req, COLL, ev->user->bare, KEY(seen_key));
    return GR_PENDING;
}
