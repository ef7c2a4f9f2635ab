/* mod_offline_chatmarkers: displayed markers (XEP-0333) for users who are away. Of each sender, thread
 * and type only the latest one is of interest: it replaces the one before, instead of filling the
 * queue of offline messages.
 *
 * A row: version, time, the message as text. It is written before the sender's server is told that the
 * marker was handled, and deleted when the marker has been written to a client. */
#include <grapnel/log.h>
#include <grapnel/module.h>

#include "chat_marker.h"
#include "removed.h"

enum { ROW_VERSION = 1, KEY_MAX = 440, PAGE = 100 };

struct chatmarkers_conf {
    int64_t limit;
    bool store_groupchat_messages;
};

static const struct gr_opt options[] = {
    GR_OPT_INT(struct chatmarkers_conf, limit, 500, 1, 10000, "most markers kept for an account"),
    GR_OPT_BOOL(struct chatmarkers_conf, store_groupchat_messages, false,
                "keep markers of type groupchat as well"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("offline_chatmarkers"), GR_COLL_END };

/* --- keeping --- */

struct keeping {
    struct gr_hold *hold;
    struct gr_jid *owner;
    size_t key_len, len;
    char key[KEY_MAX];
    void *row;
};

static struct gr_req *request(struct gr_mod *self, struct keeping *k, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(k), done);

    *(struct keeping **)gr_req_data(req) = k;
    return req;
}

/* GR_OK: whoever comes next in the chain sees to it. */
static void kept(struct keeping *k, enum gr_verdict verdict)
{
    gr_resume(k->hold, verdict);
    gr_jid_free(&k->owner);
    gr_free(k->row);
    gr_free(k);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    kept(*(struct keeping **)gr_req_data(req), rows->rc == 0 ? GR_STOP : GR_OK);
}

static void write_row(struct gr_mod *self, struct keeping *k)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_put(t, &collections[0], k->owner->bare, k->key, k->key_len, k->row, k->len);
    gr_txn_commit(t, request(self, k, on_written));
}

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct chatmarkers_conf *conf = gr_conf(self);
    struct keeping *k = *(struct keeping **)gr_req_data(req);

    if (rows->rc != 0)
        kept(k, GR_OK);
    else if (rows->count >= (size_t)conf->limit)
        kept(k, GR_STOP); /* a marker is no loss: the next one says the same and more */
    else
        write_row(self, k);
}

static void on_previous(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct keeping *k = *(struct keeping **)gr_req_data(req);

    if (rows->rc == 0)
        write_row(self, k);
    else if (rows->rc == GR_ENOENT)
        gr_store_count(request(self, k, on_count), &collections[0], k->owner->bare);
    else
        kept(k, GR_OK);
}

/* Sender, thread, type. False: too long; mod_offline keeps those. */
static bool make_key(struct keeping *k, const struct gr_stanza_ev *ev, enum marker_type type)
{
    struct gr_writer w = gr_writer_on(k->key, sizeof(k->key));
    const char *thread = marker_thread(ev->stanza);
    bool room = gr_stanza_type(ev->stanza) == GR_MSG_GROUPCHAT; /* the resource says who */
    const char *from = room ? ev->from->full : ev->from->bare;

    gr_write_bytes(&w, from, strlen(from) + 1);
    gr_write_bytes(&w, thread, strlen(thread) + 1);
    gr_write_u8(&w, (uint8_t)type);
    k->key_len = w.len;
    return !w.failed;
}

static void make_row(struct keeping *k, const struct gr_stanza_ev *ev)
{
    struct gr_stanza *st = gr_stanza_copy(ev->stanza);
    struct gr_el *delay;
    struct gr_writer w;
    const char *xml;
    size_t len;

    while ((delay = gr_stanza_child(st, GR_NS_DELAY, "delay")) != NULL)
        gr_el_remove(st, delay); /* of the time when it was sent out before, or made up */
    xml = gr_stanza_xml(st, &len);
    w = gr_writer_new(9 + len);
    gr_write_u8(&w, ROW_VERSION);
    gr_write_i64(&w, gr_acc_time_us(ev->ev.acc));
    gr_write_bytes(&w, xml, len);
    k->row = gr_writer_take(&w, &k->len);
    gr_stanza_unref(&st);
}

static enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    enum marker_type type;
    struct keeping *k;

    if (marker_of(ev->stanza, &type) == NULL || marker_has_company(ev->stanza))
        return GR_OK;
    if (account_removed(self, ev->to))
        return GR_STOP;
    k = gr_alloc(sizeof(*k));
    k->hold = make_key(k, ev, type) ? gr_hold(self, &ev->ev) : NULL;
    if (k->hold == NULL) {
        gr_free(k);
        return GR_OK;
    }
    k->owner = gr_jid_dup_bare(ev->to);
    make_row(k, ev);
    gr_store_get(request(self, k, on_previous), &collections[0], k->owner->bare, k->key, k->key_len);
    return GR_PENDING;
}

static enum gr_verdict on_groupchat(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct chatmarkers_conf *conf = gr_conf(self);

    return conf->store_groupchat_messages ? on_offline(self, ev) : GR_OK;
}

/* --- delivering --- */

/* Of an account: what is on its way is not sent a second time. */
struct replay {
    unsigned away;
    bool reading;
};
static const struct gr_slot replay_slot = GR_SLOT(struct replay, 1, NULL);

static struct replay *replay_of(struct gr_mod *self, const struct gr_jid *owner)
{
    struct gr_account *a = gr_account_find(self, owner);

    return a != NULL ? gr_account_slot(self, a, &replay_slot) : NULL;
}

static int row_read(struct gr_mod *self, const struct gr_row *row, const struct gr_jid *owner,
                    int64_t *time_us, struct gr_stanza **out)
{
    struct gr_reader r = gr_reader_of(row->val, row->val_len);
    unsigned version = gr_read_u8(&r);
    const char *xml;
    size_t len;

    *time_us = gr_read_i64(&r);
    xml = gr_read_rest(&r, &len);
    if (!gr_read_done(&r) || version != ROW_VERSION || gr_stanza_parse(xml, len, out) != 0)
        return GR_EINVAL;
    if (gr_stanza_kind(*out) != GR_MESSAGE || gr_stanza_from(*out) == NULL) {
        gr_stanza_unref(out);
        return GR_EINVAL;
    }
    gr_stanza_set_to(*out, owner);
    gr_stanza_add_delay(*out, gr_mod_host_jid(self)->full, *time_us);
    return 0;
}

/* Points to nothing: at a shutdown the core frees it as it is. */
struct sent {
    int64_t time_us;
    size_t key_len;
    char key[KEY_MAX];
    char owner[GR_JID_MAX + 1];
};

/* The row is deleted unless a later marker has taken its place. */
static void on_look(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct sent *s = gr_req_data(req);
    struct gr_reader r;

    if (rows->rc == 0) {
        r = gr_reader_of(rows->row->val, rows->row->val_len);
        gr_read_u8(&r);
        if (gr_read_i64(&r) == s->time_us) {
            struct gr_txn *t = gr_txn_new(self);

            gr_txn_del(t, &collections[0], s->owner, s->key, s->key_len);
            gr_txn_commit(t, NULL);
        }
    }
}

static void on_sent(struct gr_mod *self, void *data, bool delivered)
{
    const struct sent *s = data;
    struct replay *p = NULL;
    struct gr_jid *owner;
    struct gr_req *req;

    if (gr_jid_parse(s->owner, strlen(s->owner), &owner) == 0) {
        p = replay_of(self, owner);
        gr_jid_free(&owner);
    }
    if (p != NULL && p->away > 0)
        p->away--;
    if (!delivered)
        return;
    req = gr_req_new(self, sizeof(*s), on_look);
    *(struct sent *)gr_req_data(req) = *s;
    gr_store_get(req, &collections[0], s->owner, s->key, s->key_len);
}

static void send_row(struct gr_mod *self, const struct gr_jid *owner, const struct gr_row *row,
                     struct replay *p)
{
    struct gr_stanza *st;
    struct sent *s;
    int64_t time_us;

    if (row->key_len > KEY_MAX || row_read(self, row, owner, &time_us, &st) != 0) {
        struct gr_txn *t = gr_txn_new(self);

        gr_error("offline_chatmarkers.damaged", "a marker for %s is damaged and thrown away",
                 owner->bare);
        gr_txn_del(t, &collections[0], owner->bare, row->key, row->key_len);
        gr_txn_commit(t, NULL);
        return;
    }
    s = gr_alloc(sizeof(*s));
    memcpy(s->owner, owner->bare, owner->bare_len + 1u);
    s->time_us = time_us;
    s->key_len = row->key_len;
    memcpy(s->key, row->key, row->key_len);
    p->away++;
    gr_send_tracked(self, st, on_sent, s);
}

static void read_page(struct gr_mod *self, struct gr_jid *take_owner, const struct gr_row *last);

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_jid *owner = *(struct gr_jid **)gr_req_data(req);
    struct replay *p = replay_of(self, owner);

    for (size_t i = 0; i < rows->count && p != NULL; i++)
        send_row(self, owner, &rows->row[i], p);
    if (rows->more && rows->count > 0 && p != NULL) {
        read_page(self, owner, &rows->row[rows->count - 1]);
        return;
    }
    if (p != NULL)
        p->reading = false;
    gr_jid_free(&owner);
}

static void read_page(struct gr_mod *self, struct gr_jid *take_owner, const struct gr_row *last)
{
    struct gr_req *req = gr_req_new(self, sizeof(take_owner), on_page);
    char from[KEY_MAX + 1] = "";
    size_t len = last != NULL && last->key_len <= KEY_MAX ? last->key_len + 1 : 0;

    if (len > 0)
        memcpy(from, last->key, len - 1); /* and a NUL: the next key that there can be */
    *(struct gr_jid **)gr_req_data(req) = take_owner;
    gr_store_range(req, &collections[0], take_owner->bare, len > 0 ? from : NULL, len, PAGE);
}

static enum gr_verdict on_resend(struct gr_mod *self, struct gr_session_ev *ev)
{
    struct replay *p = replay_of(self, ev->jid);

    if (p == NULL || p->reading || p->away > 0)
        return GR_OK;
    p->reading = true;
    read_page(self, gr_jid_dup_bare(ev->jid), NULL);
    return GR_OK;
}

/* --- the account goes; its owner wants a copy of everything --- */

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(*(struct gr_hold **)gr_req_data(req), rows->rc == 0 ? GR_OK : GR_FAIL);
}

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = NULL;
    struct gr_txn *t = gr_txn_new(self);

    account_note_removed(self, ev->jid, true);
    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    if (hold != NULL) {
        req = gr_req_new(self, sizeof(hold), on_removed);
        *(struct gr_hold **)gr_req_data(req) = hold;
    }
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

struct exporting {
    struct gr_export_ev *ev;
    struct gr_hold *hold;
};

static void on_exported(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct exporting *x = gr_req_data(req);
    struct gr_el *list = NULL;

    if (!gr_hold_waits(x->hold) || rows->rc != 0) {
        gr_resume(x->hold, GR_FAIL);
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        struct gr_stanza *st;
        int64_t time_us;

        if (row_read(self, &rows->row[i], x->ev->user, &time_us, &st) != 0)
            continue;
        if (list == NULL)
            list = gr_el_add(x->ev->data, NULL, NS_CHAT_MARKERS, "offline-markers");
        gr_el_append(x->ev->data, list, gr_stanza_root(st));
        gr_stanza_unref(&st);
    }
    gr_resume(x->hold, rows->more ? GR_FAIL : GR_OK);
}

static enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    const struct chatmarkers_conf *conf = gr_conf(self);
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct exporting), on_exported);
    *(struct exporting *)gr_req_data(req) = (struct exporting){ ev, hold };
    gr_store_range(req, &collections[0], ev->user->bare, NULL, 0, (size_t)conf->limit + PAGE);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = {
    GR_ON(offline_message, 40, on_offline),
    GR_ON(offline_groupchat_message, 40, on_groupchat),
    GR_ON(resend_offline_messages, 60, on_resend),
    GR_ON(register_user, GR_PRIO_NORMAL, account_on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_HOOK_END
};

GR_MODULE(offline_chatmarkers,
    .summary = "displayed markers for users who are away (XEP-0333)",
    .conf_size = sizeof(struct chatmarkers_conf), .options = options, .hooks = hooks,
    .collections = collections, .needs = (const char *const[]){ "smart_markers", NULL },
    .slots = (const struct gr_slot *const[]){ &removed_slot, &replay_slot, NULL });
