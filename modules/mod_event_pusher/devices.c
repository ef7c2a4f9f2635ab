/* mod_event_pusher/devices.c: the rows of the devices that an account wants notified, from being
 * written to being forgotten. What requests make of them: enable.c.
 *
 * What becomes of a notification changes a row only if it is there still. A read that has to wait
 * for the disk may show a row whose deletion waits as well: when devices have changed meanwhile, the
 * answer is not noted. */
#include "pusher.h"

#include <string.h>

#define ROW_VERSION 1

struct owner {
    bool removed;
};
const struct gr_slot owner_slot = GR_SLOT(struct owner, 1, NULL);

bool is_removed(struct gr_mod *self, const struct gr_jid *jid)
{
    struct gr_account *a = gr_account_find(self, jid);
    const struct owner *o = a != NULL ? gr_account_slot_peek(self, a, &owner_slot) : NULL;

    return o != NULL && o->removed;
}

static void set_removed(struct gr_mod *self, const struct gr_jid *jid, bool removed)
{
    struct gr_account *a = gr_account_find(self, jid);

    if (a != NULL)
        ((struct owner *)gr_account_slot(self, a, &owner_slot))->removed = removed;
}

void on_register(struct gr_mod *self, struct gr_user_ev *ev)
{
    set_removed(self, ev->jid, false);
}

/* --- rows --- */

char *device_key(const char *service, const char *node, size_t *len)
{
    size_t n = strlen(service), m = strlen(node);
    char *key = gr_alloc(n + 1 + m + 1);

    memcpy(key, service, n);
    memcpy(key + n + 1, node, m);
    *len = n + 1 + m;
    return key;
}

static char *take_str(struct gr_reader *r)
{
    size_t len;
    const char *s = gr_read_str(r, &len);

    return gr_strndup(s, len);
}

bool device_read(const struct gr_row *row, struct device *out)
{
    struct gr_reader r = gr_reader_of(row->val, row->val_len);
    const char *key = row->key, *nul = memchr(key, '\0', row->key_len);
    unsigned version = gr_read_u8(&r);

    *out = (struct device){ .since_us = gr_read_i64(&r) };
    out->errors = gr_read_u32(&r);
    out->resource = take_str(&r);
    out->options = take_str(&r);
    if (nul != NULL) {
        out->service = gr_strdup(key);
        out->node = gr_strndup(nul + 1, row->key_len - (size_t)(nul + 1 - key));
    }
    if (nul != NULL && version == ROW_VERSION && gr_read_done(&r))
        return true;
    device_fini(out);
    return false;
}

void device_fini(struct device *d)
{
    gr_free(d->service);
    gr_free(d->node);
    gr_free(d->resource);
    gr_free(d->options);
    *d = (struct device){ .service = NULL };
}

void device_write(struct gr_txn *t, const char *owner, const struct device *d)
{
    struct gr_writer w = gr_writer_new(64);
    size_t key_len, len;
    char *key = device_key(d->service, d->node, &key_len);
    void *val;

    gr_write_u8(&w, ROW_VERSION);
    gr_write_i64(&w, d->since_us);
    gr_write_u32(&w, d->errors);
    gr_write_str(&w, d->resource);
    gr_write_str(&w, d->options);
    val = gr_writer_take(&w, &len);
    gr_txn_put(t, DEVICES, owner, key, key_len, val, len);
    gr_free(val);
    gr_free(key);
}

/* --- what app servers answer --- */

struct answer {
    enum outcome outcome;
    int64_t since_us;
    uint64_t changes;            /* when the row was asked for */
    char owner[];
};

static void forget(struct gr_mod *self, const char *owner, const struct gr_row *row)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del(t, DEVICES, owner, row->key, row->key_len);
    gr_txn_commit(t, NULL);
    gr_info("event_pusher.forgotten", "a device of %s is not notified any more: its app server %s "
            "refuses", owner, (const char *)row->key);
}

static void note(struct gr_mod *self, const char *owner, struct device *d, uint32_t errors)
{
    struct gr_txn *t = gr_txn_new(self);

    d->errors = errors;
    device_write(t, owner, d);
    gr_txn_commit(t, NULL);
}

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct pusher_conf *conf = gr_conf(self);
    const struct pusher *p = gr_state(self);
    const struct answer *a = gr_req_data(req);
    bool refused = a->outcome != ACCEPTED;
    struct device d;

    if (rows->rc != 0 || a->changes != p->changes || !device_read(rows->row, &d))
        return; /* it was disabled meanwhile, or may have been */
    if (d.since_us != a->since_us) { /* and enabled anew */
        device_fini(&d);
        return;
    }
    if (a->outcome == GONE || (refused && d.errors + 1 >= (uint32_t)conf->push_max_errors))
        forget(self, a->owner, rows->row);
    else if (refused || d.errors > 0)
        note(self, a->owner, &d, refused ? d.errors + 1 : 0);
    device_fini(&d);
}

void device_told(struct gr_mod *self, const struct notified *t, enum outcome outcome)
{
    const struct pusher *p = gr_state(self);
    size_t len = strlen(t->owner) + 1;
    struct gr_req *req = gr_req_new(self, sizeof(struct answer) + len, on_row);
    struct answer *a = gr_req_data(req);

    a->outcome = outcome;
    a->since_us = t->since_us;
    a->changes = p->changes;
    memcpy(a->owner, t->owner, len);
    gr_store_get(req, DEVICES, t->owner, t->key, t->key_len);
}

/* --- the account goes; its owner wants a copy of everything; an admin looks --- */

struct waiting {
    struct gr_hold *hold;
    struct gr_export_ev *ev;     /* while the hold waits */
    struct gr_cmd *cmd;
};

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(((struct waiting *)gr_req_data(req))->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* Held until it is gone, so that the next owner of the name does not inherit it. */
enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct waiting), on_removed);
    struct gr_txn *t = gr_txn_new(self);
    struct pusher *p = gr_state(self);

    p->changes++;
    set_removed(self, ev->jid, true);
    ((struct waiting *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, DEVICES, ev->jid->bare);
    gr_txn_del_all(t, UNREAD, ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* As it was enabled. */
static void add_device(struct gr_stanza *st, const struct device *d)
{
    struct gr_el *enable = gr_el_add(st, NULL, NS_PUSH, "enable");
    struct gr_stanza *form;

    gr_el_set(st, enable, "jid", d->service);
    if (d->node[0] != '\0')
        gr_el_set(st, enable, "node", d->node);
    if (d->options[0] == '\0' || gr_stanza_parse(d->options, strlen(d->options), &form) != 0)
        return;
    gr_el_append(st, enable, gr_stanza_root(form));
    gr_stanza_unref(&form);
}

static void on_export(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);
    bool ok = rows->rc == 0 && gr_hold_waits(w->hold);

    (void)self;
    for (size_t i = 0; ok && i < rows->count; i++) {
        struct device d;

        if (device_read(&rows->row[i], &d)) {
            add_device(w->ev->data, &d);
            device_fini(&d);
        }
    }
    gr_resume(w->hold, ok ? GR_OK : GR_FAIL);
}

enum gr_verdict on_personal_data(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct waiting), on_export);
    *(struct waiting *)gr_req_data(req) = (struct waiting){ .hold = hold, .ev = ev };
    gr_store_range(req, DEVICES, ev->user->bare, NULL, 0, DEVICES_READ);
    return GR_PENDING;
}

static void on_listed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct waiting *)gr_req_data(req))->cmd;
    char stamp[GR_STAMP_SIZE];

    (void)self;
    for (size_t i = 0; i < rows->count; i++) {
        struct device d;

        if (!device_read(&rows->row[i], &d))
            continue;
        gr_stamp(stamp, d.since_us);
        gr_cmd_row(cmd);
        gr_cmd_field(cmd, "service", "%s", d.service);
        gr_cmd_field(cmd, "node", "%s", d.node);
        gr_cmd_field(cmd, "resource", "%s", d.resource);
        gr_cmd_field(cmd, "since", "%s", stamp);
        gr_cmd_number(cmd, "errors", d.errors);
        device_fini(&d);
    }
    if (rows->rc == 0)
        gr_cmd_done(cmd);
    else
        gr_cmd_fail(cmd, "%s", gr_strerror(rows->rc));
}

void on_list(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct waiting), on_listed);

    ((struct waiting *)gr_req_data(req))->cmd = cmd;
    gr_store_range(req, DEVICES, gr_cmd_jid(cmd, "jid")->bare, NULL, 0, DEVICES_READ);
}
