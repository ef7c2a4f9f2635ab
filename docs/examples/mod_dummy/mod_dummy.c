/* mod_dummy: <dummy xmlns='xmpp:xep:example'>Romeo</dummy>: answers sets to bare addresses, and
 * keeps in the store what each account has sent and received. */
#include <grapnel/module.h>

#define NS "xmpp:xep:example"

struct dummy_conf { int64_t max_items; };
enum list { RECEIVED, SENT };

static const struct gr_opt options[] = {
    GR_OPT_INT(struct dummy_conf, max_items, 100, 1, 1000, "entries of a list of an account"),
    GR_OPT_END
};

static const struct gr_coll collections[] = {
    [RECEIVED] = GR_LOG("dummy_received"), [SENT] = GR_LOG("dummy_sent"), GR_COLL_END
};

/* A question to the store that remembers the iq which waits for it. */
static struct gr_req *req_for(struct gr_mod *self, struct gr_iq_req *iq, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(iq), done);

    *(struct gr_iq_req **)gr_req_data(req) = iq;
    return req;
}

/* --- keeping: entries are <entry from='romeo@localhost'><dummy/></entry>, or with `to` --- */

static void kept(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = *(struct gr_iq_req **)gr_req_data(req);

    (void)self;
    if (iq == NULL)
        return; /* nobody waits; a list that is full is no error */
    if (rows->rc == 0)
        gr_iq_reply_empty(iq);
    else
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
}

static void keep(struct gr_mod *self, enum list list, const struct gr_jid *owner,
                 const struct gr_jid *peer, const struct gr_el *dummy, struct gr_req *req)
{
    const struct dummy_conf *conf = gr_conf(self);
    struct gr_stanza *entry = gr_nonza_new(NS, "entry");
    struct gr_txn *t = gr_txn_new(self);
    const char *xml;
    size_t len;

    gr_el_set(entry, gr_stanza_root(entry), list == SENT ? "to" : "from", peer->bare);
    gr_el_append(entry, NULL, dummy);
    xml = gr_stanza_xml(entry, &len);
    gr_txn_append_max(t, &collections[list], owner->bare, xml, len, (uint64_t)conf->max_items,
                      GR_MIB);
    gr_txn_commit(t, req);
    gr_stanza_unref(&entry);
}

static void on_set(struct gr_mod *self, struct gr_iq_ev *ev)
{
    keep(self, RECEIVED, ev->to, ev->from, ev->payload, req_for(self, ev->req, kept));
}

/* Every iq that a client of ours sends comes through here, to whomever. */
static enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_payload(ev->stanza);

    if (gr_stanza_type(ev->stanza) == GR_SET && el != NULL && gr_el_is(el, NS, "dummy"))
        keep(self, SENT, ev->from, ev->to, el, req_for(self, NULL, kept));
    return GR_OK;
}

/* --- telling: <received xmlns='xmpp:xep:example'/> or <sent/>, of one's own account --- */

static void listed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = *(struct gr_iq_req **)gr_req_data(req);
    struct gr_stanza *result, *entry;

    (void)self;
    if (rows->rc != 0) {
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
        return;
    }
    result = gr_iq_result(gr_iq_req_stanza(iq));
    gr_el_add(result, NULL, NS, gr_el_name(gr_stanza_payload(gr_iq_req_stanza(iq))));
    for (size_t i = 0; i < rows->count; i++) {
        if (gr_stanza_parse(rows->row[i].val, rows->row[i].val_len, &entry) != 0)
            continue;
        gr_el_append(result, gr_stanza_payload(result), gr_stanza_root(entry));
        gr_stanza_unref(&entry);
    }
    gr_iq_reply(iq, result);
}

static void on_get(struct gr_mod *self, struct gr_iq_ev *ev)
{
    enum list list = gr_el_is(ev->payload, NS, "sent") ? SENT : RECEIVED;

    gr_store_range(req_for(self, ev->req, listed), &collections[list], ev->to->bare, NULL, 0, 1000);
}

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_txn *t = gr_txn_new(self);

    gr_txn_del_all(t, &collections[RECEIVED], ev->jid->bare);
    gr_txn_del_all(t, &collections[SENT], ev->jid->bare);
    gr_txn_commit(t, NULL);
    return GR_OK;
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT, NS, "dummy", on_set),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS, "received", on_get),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS, "sent", on_get),
    GR_IQ_END
};

static const struct gr_hook hooks[] = {
    GR_ON(user_send_iq, GR_PRIO_ARCHIVE, on_send),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_HOOK_END
};

GR_MODULE(dummy, .summary = "dummies for accounts (XEP-9999)", .options = options, .iqs = iqs,
          .conf_size = sizeof(struct dummy_conf), .hooks = hooks, .collections = collections);
