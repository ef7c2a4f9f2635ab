/* mod_mam/retract.c: a message that was taken back leaves a tombstone in its place (XEP-0424,
 * 4). It is looked for among the latest messages, by the id that its sender gave it; only who
 * sent it may take it back (5). The sender's acknowledgement waits for it. */
#include "mam.h"

#include <string.h>

#include <grapnel/log.h>

/* Rows that are looked at; at a time; retractions of an archive at once, more leave no tombstone. */
enum { LATEST = 1000, PART = 50, RETRACTING_MAX = 100 };

struct retraction {
    struct gr_mam_ev ev;
    struct gr_mod *self;
    struct archive *a;
    struct gr_receipt *receipt;
    struct gr_stanza *stanza;  /* that takes back */
    struct gr_jid *remote;
    char *name;                /* of the message that goes */
    bool outgoing;
    unsigned seen;
    uint64_t seq;              /* where it is; its row: */
    struct row found;
    char *xml, id[MAM_ID_SIZE];
};

static void end(struct retraction *x)
{
    x->a->retracting--;
    archive_unpin(x->self, x->a);
    gr_receipt_give(&x->receipt);
    gr_stanza_unref(&x->stanza);
    gr_jid_free(&x->remote);
    gr_free(x->name);
    gr_free(x->xml);
    gr_free(x);
}

static struct gr_req *request(struct retraction *x, gr_store_f done)
{
    struct gr_req *req = gr_req_new(x->self, sizeof(struct retraction *), done);

    *(struct retraction **)gr_req_data(req) = x;
    return req;
}

/* --- the tombstone --- */

static void on_replaced(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct retraction *x = *(struct retraction **)gr_req_data(req);

    (void)self;
    if (rows->rc != 0)
        gr_warn("mam.not_retracted", "a message of %s stays in the archive: %s",
                x->a->owner->bare, gr_strerror(rows->rc));
    end(x);
}

static void copy_attr(struct gr_stanza *to, const struct gr_stanza *from, const char *name)
{
    gr_el_set(to, gr_stanza_root(to), name, gr_el_attr(gr_stanza_root(from), name));
}

static struct gr_stanza *tombstone_new(const struct retraction *x, const struct gr_stanza *of)
{
    struct gr_stanza *st = gr_message_new(gr_stanza_type(of), gr_stanza_from(of),
                                          gr_stanza_to(of));
    struct gr_el *el = gr_el_add(st, NULL, NS_RETRACT, "retracted");
    char stamp[GR_STAMP_SIZE];

    copy_attr(st, of, "id");
    gr_stamp(stamp, (int64_t)x->a->last_us);
    gr_el_set(st, el, "stamp", stamp);
    gr_el_set(st, el, "id", gr_stanza_id(x->stanza));
    return st;
}

static void put_tombstone(struct retraction *x)
{
    struct gr_stanza *of = NULL, *st;
    struct gr_txn *t;
    struct row r = x->found;
    uint8_t *val;

    if (gr_stanza_parse(x->xml, x->found.xml_len, &of) != 0) {
        end(x);
        return;
    }
    st = tombstone_new(x, of);
    r.tombstone = true;
    r.peer = x->remote->full;
    r.peer_len = x->remote->full_len;
    r.name = x->name;
    r.name_len = strlen(x->name);
    r.xml = gr_stanza_xml(st, &r.xml_len);
    val = gr_alloc(row_size(&r));
    row_put(val, &r);
    t = gr_txn_new(x->self);
    gr_txn_replace(t, MESSAGES, x->a->owner->bare, x->seq, val, row_size(&r));
    gr_txn_commit(t, request(x, on_replaced));
    gr_free(val);
    gr_stanza_unref(&st);
    gr_stanza_unref(&of);
}

static void on_allowed(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct retraction *x = GR_CONTAINER_OF(ev, struct retraction, ev.ev);

    (void)self, (void)verdict;
    if (x->ev.rc == 0)
        put_tombstone(x);
    else
        end(x);
}

/* --- looking for it --- */

static bool is_meant(const struct retraction *x, const struct row *r)
{
    size_t len = bare_len(r->peer, r->peer_len);

    return !r->tombstone && r->outgoing == x->outgoing && len == x->remote->bare_len &&
           memcmp(r->peer, x->remote->bare, len) == 0 && r->name_len == strlen(x->name) &&
           memcmp(r->name, x->name, r->name_len) == 0;
}

static void found(struct retraction *x, uint64_t seq, const struct row *r)
{
    struct gr_jid *peer = NULL;

    if (gr_jid_parse(r->peer, r->peer_len, &peer) == 0) { /* the resource may be another one */
        gr_jid_free(&x->remote);
        x->remote = peer;
    }
    x->seq = seq;
    x->found = *r;
    x->xml = gr_strndup(r->xml, r->xml_len);
    id_put(x->id, r->us, r->salt);
    x->ev = (struct gr_mam_ev){ .owner = x->a->owner, .remote = x->remote, .message_id = x->id,
                                .origin_id = x->name, .stanza = x->stanza,
                                .outgoing = x->outgoing };
    gr_hook_run(x->self, GR_HOOK_mam_retraction, &x->ev.ev, on_allowed);
}

static void look_back(struct retraction *x, uint64_t before);

static void on_part(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct retraction *x = *(struct retraction **)gr_req_data(req);
    uint64_t seq = 0;

    (void)self;
    for (size_t i = 0; i < rows->count; i++) {
        struct row r;

        seq = gr_row_seq(&rows->row[i]);
        if (row_get(&r, &rows->row[i]) == 0 && is_meant(x, &r)) {
            found(x, seq, &r);
            return;
        }
    }
    x->seen += (unsigned)rows->count;
    if (rows->rc == 0 && rows->more && x->seen < LATEST)
        look_back(x, seq);
    else
        end(x);
}

static void look_back(struct retraction *x, uint64_t before)
{
    uint8_t key[8];

    put_u64(key, before);
    gr_store_range_back(request(x, on_part), MESSAGES, x->a->owner->bare, key, sizeof(key), PART);
}

void retract(struct gr_mod *self, const struct gr_mam_ev *ev, struct archive *a)
{
    const struct mam_conf *conf = gr_conf(self);
    const struct gr_el *el = gr_stanza_child(ev->stanza, NS_RETRACT, "retract");
    const char *name = el != NULL ? gr_el_attr(el, "id") : NULL;
    struct retraction *x;

    if (name == NULL || name[0] == '\0' || !conf->message_retraction ||
        a->retracting >= RETRACTING_MAX)
        return;
    x = gr_alloc(sizeof(*x));
    x->self = self;
    x->a = a;
    x->receipt = gr_receipt_take(&ev->ev);
    x->stanza = gr_stanza_copy(ev->stanza);
    x->remote = gr_jid_dup(ev->remote);
    x->name = gr_strdup(name);
    x->outgoing = ev->outgoing;
    a->retracting++;
    a->pins++;
    look_back(x, a->last_seq);
}
