/* mod_event_pusher/enable.c: requests to notify a device, or no longer (XEP-0357, 5 and 6).
 *
 * An answer follows the commit. The bound on devices holds without reading beforehand: what is too
 * much afterwards goes, oldest first, before the answer. */
#include "pusher.h"

#include <string.h>

#define NODE_MAX 1023            /* bytes */
#define OPTIONS_MAX 4096         /* bytes of the form, as text */

/* What is read before a write of ours and heard of after it is out of date: devices.c. */
static void note_change(struct gr_mod *self)
{
    struct pusher *p = gr_state(self);

    p->changes++;
}

/* --- enable --- */

struct change {                  /* of a request, until it is answered */
    struct gr_iq_req *req;
    int64_t asked_us;            /* disable: when, and */
    uint64_t changes;            /* what was known then */
};

static struct gr_req *request_for(struct gr_mod *self, struct gr_iq_req *iq, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct change), done);

    ((struct change *)gr_req_data(req))->req = iq;
    return req;
}

static struct gr_iq_req *iq_of(struct gr_req *req)
{
    return ((struct change *)gr_req_data(req))->req;
}

static void on_done(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    if (rows->rc == 0)
        gr_iq_reply_empty(iq_of(req));
    else
        gr_iq_reply_error(iq_of(req), gr_cond_of(rows->rc), NULL);
}

/* A damaged one is the oldest of all. */
static int64_t age_of(const struct gr_row *row)
{
    struct device d;
    int64_t since = INT64_MIN;

    if (device_read(row, &d)) {
        since = d.since_us;
        device_fini(&d);
    }
    return since;
}

static size_t oldest(const int64_t *since, size_t count)
{
    size_t best = 0;

    for (size_t i = 1; i < count; i++)
        best = since[i] < since[best] ? i : best;
    return best;
}

static void on_devices(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct gr_iq_req *iq = iq_of(req);
    int64_t since[DEVICES_READ];
    struct gr_txn *t;

    if (rows->rc != 0 || rows->count <= (size_t)conf->push_max_devices) {
        on_done(self, req, rows);
        return;
    }
    for (size_t i = 0; i < rows->count; i++)
        since[i] = age_of(&rows->row[i]);
    note_change(self);
    t = gr_txn_new(self);
    for (size_t n = rows->count; n > (size_t)conf->push_max_devices; n--) {
        size_t i = oldest(since, rows->count);

        since[i] = INT64_MAX;
        gr_txn_del(t, DEVICES, gr_iq_req_to(iq)->bare, rows->row[i].key, rows->row[i].key_len);
    }
    gr_txn_commit(t, request_for(self, iq, on_done));
}

static void on_enabled(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = iq_of(req);

    if (rows->rc != 0)
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
    else
        gr_store_range(request_for(self, iq, on_devices), DEVICES, gr_iq_req_to(iq)->bare, NULL, 0,
                       DEVICES_READ);
}

/* The address of the app server, and the node, "" when there is none; false: it was refused. */
static bool read_target(struct gr_iq_ev *ev, struct gr_jid **service, const char **node)
{
    const char *jid = gr_el_attr(ev->payload, "jid");

    *node = gr_el_attr(ev->payload, "node");
    if (*node == NULL)
        *node = "";
    if (jid == NULL) {
        gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "no jid");
        return false;
    }
    if (strlen(*node) > NODE_MAX) {
        gr_iq_reply_error(ev->req, GR_POLICY_VIOLATION, "the node is too long");
        return false;
    }
    if (gr_jid_parse(jid, strlen(jid), service) == 0)
        return true;
    gr_iq_reply_error(ev->req, GR_JID_MALFORMED, NULL);
    return false;
}

static bool is_offered(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct pusher_conf *conf = gr_conf(self);

    if (!conf->push)
        gr_iq_reply_error(ev->req, GR_SERVICE_UNAVAILABLE, NULL);
    else if (is_removed(self, ev->to))
        gr_iq_reply_error(ev->req, GR_FORBIDDEN, "the account was removed");
    else
        return true;
    return false;
}

void on_enable(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct gr_el *form = gr_form_child(ev->payload);
    struct device d = { .since_us = gr_wall_us() };
    struct gr_jid *service;
    const char *node;
    size_t len = 0;

    if (!is_offered(self, ev) || !read_target(ev, &service, &node))
        return;
    d.options = form != NULL ? gr_el_xml(form, &len) : NULL;
    if (form != NULL && !gr_form_submitted(form, FORM_OPTIONS)) {
        gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "not a form of publish-options");
    } else if (len > OPTIONS_MAX) {
        gr_iq_reply_error(ev->req, GR_POLICY_VIOLATION, "the form is too large");
    } else {
        struct gr_txn *t = gr_txn_new(self);

        note_change(self);
        d.service = (char *)service->full;
        d.node = (char *)node;
        d.resource = (char *)ev->from->resource;
        device_write(t, ev->to->bare, &d);
        gr_txn_commit(t, request_for(self, ev->req, on_enabled));
    }
    gr_free(d.options);
    gr_jid_free(&service);
}

/* --- disable: one node, or all of a service --- */

/* Enabled behind the request, which waited for the disk? */
static bool is_newer(struct gr_mod *self, const struct change *c, const struct gr_row *row)
{
    const struct pusher *p = gr_state(self);

    return p->changes != c->changes && age_of(row) > c->asked_us;
}

static void on_found(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = iq_of(req);
    const char *text = gr_el_attr(gr_stanza_payload(gr_iq_req_stanza(iq)), "jid");
    struct gr_jid *service = NULL;
    struct gr_txn *t;

    if (rows->rc != 0 || gr_jid_parse(text, strlen(text), &service) != 0) {
        gr_iq_reply_error(iq, rows->rc != 0 ? gr_cond_of(rows->rc) : GR_JID_MALFORMED, NULL);
        return;
    }
    t = gr_txn_new(self);
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->row[i].key_len > service->full_len &&
            memcmp(rows->row[i].key, service->full, service->full_len + 1u) == 0 &&
            !is_newer(self, gr_req_data(req), &rows->row[i]))
            gr_txn_del(t, DEVICES, gr_iq_req_to(iq)->bare, rows->row[i].key, rows->row[i].key_len);
    }
    gr_jid_free(&service);
    note_change(self);
    gr_txn_commit(t, request_for(self, iq, on_done));
}

void on_disable(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const char *owner = ev->to->bare, *node;
    struct gr_jid *service;

    if (!is_offered(self, ev) || !read_target(ev, &service, &node))
        return;
    if (gr_el_attr(ev->payload, "node") == NULL) {
        struct gr_req *req = request_for(self, ev->req, on_found);
        struct change *c = gr_req_data(req);

        c->asked_us = gr_wall_us();
        c->changes = ((const struct pusher *)gr_state(self))->changes;
        gr_store_range(req, DEVICES, owner, NULL, 0, DEVICES_READ);
    } else {
        struct gr_txn *t = gr_txn_new(self);
        size_t len;
        char *key = device_key(service->full, node, &len);

        note_change(self);
        gr_txn_del(t, DEVICES, owner, key, len);
        gr_txn_commit(t, request_for(self, ev->req, on_done));
        gr_free(key);
    }
    gr_jid_free(&service);
}
