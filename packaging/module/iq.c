/* mod_NAME: keeps one short text per account: <note xmlns='urn:example:NAME'>text</note> in an iq
 * to one's own account stores it (set) or asks for it (get). */
#include <grapnel/module.h>

#define NS "urn:example:NAME"
#define KEY "note"

struct conf { int64_t max_size; };

static const struct gr_opt options[] = {
    GR_OPT_SIZE(struct conf, max_size, 1024, 1, 16 * GR_KIB, "bytes of a text"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("NAME"), GR_COLL_END };

/* What a request to the store needs when it comes back. */
struct asked { struct gr_iq_req *iq; };

static struct gr_req *request(struct gr_mod *self, struct gr_iq_ev *ev, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct asked), done);

    ((struct asked *)gr_req_data(req))->iq = ev->req;
    return req;
}

/* Every iq is answered exactly once, now or later (RFC 6120, 8.2.3). */
static void on_stored(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct asked *a = gr_req_data(req);

    (void)self;
    if (rows->rc == 0) /* it is on disk */
        gr_iq_reply_empty(a->iq);
    else
        gr_iq_reply_error(a->iq, gr_cond_of(rows->rc), NULL);
}

static void on_set(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct conf *conf = gr_conf(self);
    struct gr_txn *t;
    size_t len;
    const char *text = gr_el_text(ev->payload, &len);

    if (len > (size_t)conf->max_size) {
        gr_iq_reply_error(ev->req, GR_POLICY_VIOLATION, "the text is too long");
        return;
    }
    t = gr_txn_new(self);
    gr_txn_put(t, &collections[0], ev->from->bare, KEY, sizeof(KEY) - 1, text, len);
    gr_txn_commit(t, request(self, ev, on_stored));
}

static void on_read(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct asked *a = gr_req_data(req);
    struct gr_stanza *result;
    struct gr_el *note;

    (void)self;
    if (rows->rc != 0) { /* GR_ENOENT becomes item-not-found */
        gr_iq_reply_error(a->iq, gr_cond_of(rows->rc), NULL);
        return;
    }
    result = gr_iq_result(gr_iq_req_stanza(a->iq));
    note = gr_el_add(result, NULL, NS, "note");
    gr_el_append_text(result, note, rows->row->val, rows->row->val_len);
    gr_iq_reply(a->iq, result);
}

static void on_get(struct gr_mod *self, struct gr_iq_ev *ev)
{
    gr_store_get(request(self, ev, on_read), &collections[0], ev->from->bare, KEY,
                 sizeof(KEY) - 1);
}

/* get and set of one element are one entry. */
static void on_note(struct gr_mod *self, struct gr_iq_ev *ev)
{
    if (ev->type == GR_SET)
        on_set(self, ev);
    else
        on_get(self, ev);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS, "note", on_note),
    GR_IQ_END
};

/* An account that goes leaves nothing behind. */
static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    gr_txn_commit(t, NULL);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_HOOK_END
};

GR_MODULE(NAME, .summary = "a short text per account", .options = options,
          .conf_size = sizeof(struct conf), .collections = collections, .iqs = iqs, .hooks = hooks);
