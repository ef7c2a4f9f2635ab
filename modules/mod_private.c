/* mod_private: XML that clients keep on the server for themselves (XEP-0049): old bookmarks, notes.
 *
 * One row per namespace: its elements, one after the other, as text. A set is one transaction.
 * The bounds (bytes per namespace, namespaces per account) are checked before it; the answer
 * follows the commit. */
#include <stdlib.h>
#include <string.h>

#include <grapnel/module.h>

#define NS_PRIVATE "jabber:iq:private"
#define READ_MAX 10000 /* namespaces read at once */

struct private_conf {
    int64_t max_size, max_namespaces;
};

static const struct gr_opt options[] = {
    GR_OPT_SIZE(struct private_conf, max_size, 64 * GR_KIB, 1 * GR_KIB, 16 * GR_MIB,
                "most bytes kept per namespace"),
    GR_OPT_INT(struct private_conf, max_namespaces, 100, 1, READ_MAX,
               "most namespaces kept per account"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("private"), GR_COLL_END };

/* --- what is to be written --- */

struct piece {
    const char *ns;  /* of the request */
    char *xml;
    size_t len;
};
struct change {
    struct gr_iq_req *req;
    struct piece *piece;
    size_t count;
};

static void change_clear(struct change *c)
{
    for (size_t i = 0; i < c->count; i++)
        gr_free(c->piece[i].xml);
    gr_free(c->piece);
    c->piece = NULL;
    c->count = 0;
}

static struct piece *piece_of(struct change *c, const char *ns)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->piece[i].ns, ns) == 0)
            return &c->piece[i];
    }
    c->piece[c->count].ns = ns;
    return &c->piece[c->count++];
}

/* XEP-0049, 2.3: each element is scoped by a namespace of its own. */
static bool has_namespace(const struct gr_el *el)
{
    return gr_el_ns(el)[0] != '\0' && strcmp(gr_el_ns(el), NS_PRIVATE) != 0;
}

static void append(struct piece *p, const struct gr_el *el)
{
    size_t len;
    char *xml = gr_el_xml(el, &len);

    p->xml = gr_realloc(p->xml, p->len + len);
    memcpy(p->xml + p->len, xml, len);
    p->len += len;
    gr_free(xml);
}

/* The condition to refuse it with, or GR_COND_NONE. */
static enum gr_cond gather(const struct private_conf *conf, struct change *c,
                           const struct gr_el *query)
{
    const struct gr_el *el;
    size_t n = 0;

    for (el = gr_el_child(query, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL)) {
        if (!has_namespace(el))
            return GR_NOT_ACCEPTABLE;
        n++;
    }
    if (n == 0)
        return GR_NOT_ACCEPTABLE;
    c->piece = gr_alloc(n * sizeof(*c->piece));
    for (el = gr_el_child(query, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL)) {
        struct piece *p = piece_of(c, gr_el_ns(el));

        append(p, el);
        if (p->len > (size_t)conf->max_size)
            return GR_POLICY_VIOLATION;
    }
    return GR_COND_NONE;
}

/* --- set --- */

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = ((struct change *)gr_req_data(req))->req;

    (void)self;
    if (rows->rc == 0)
        gr_iq_reply_empty(iq);
    else
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
}

static void write_all(struct gr_mod *self, struct change *c)
{
    struct gr_txn *t = gr_txn_new(self);
    struct gr_req *req = gr_req_new(self, sizeof(struct change), on_written);

    ((struct change *)gr_req_data(req))->req = c->req;
    for (size_t i = 0; i < c->count; i++)
        gr_txn_put(t, &collections[0], gr_iq_req_to(c->req)->bare, c->piece[i].ns,
                   strlen(c->piece[i].ns), c->piece[i].xml, c->piece[i].len);
    gr_txn_commit(t, req);
    change_clear(c);
}

static void refuse(struct change *c, enum gr_cond cond, const char *text)
{
    gr_iq_reply_error(c->req, cond, text);
    change_clear(c);
}

static bool is_kept(const struct gr_rows *rows, const char *ns)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->row[i].key_len == strlen(ns) && memcmp(rows->row[i].key, ns, strlen(ns)) == 0)
            return true;
    }
    return false;
}

/* The account is near its bound: what is replaced does not count twice. */
static void on_namespaces(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct private_conf *conf = gr_conf(self);
    struct change *c = gr_req_data(req);
    size_t more = 0;

    if (rows->rc != 0) {
        refuse(c, gr_cond_of(rows->rc), NULL);
        return;
    }
    for (size_t i = 0; i < c->count; i++)
        more += !is_kept(rows, c->piece[i].ns);
    if (more > 0 && rows->count + more > (size_t)conf->max_namespaces)
        refuse(c, GR_RESOURCE_CONSTRAINT, "too many namespaces");
    else
        write_all(self, c);
}

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct private_conf *conf = gr_conf(self);
    struct change *c = gr_req_data(req);
    struct gr_req *list;

    if (rows->rc != 0) {
        refuse(c, gr_cond_of(rows->rc), NULL);
    } else if (rows->count + c->count <= (size_t)conf->max_namespaces) {
        write_all(self, c);
    } else {
        list = gr_req_new(self, sizeof(*c), on_namespaces);
        *(struct change *)gr_req_data(list) = *c;
        gr_store_range(list, &collections[0], gr_iq_req_to(c->req)->bare, NULL, 0, READ_MAX);
    }
}

static void set(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct change c = { .req = ev->req };
    enum gr_cond cond = gather(gr_conf(self), &c, ev->payload);
    struct gr_req *req;

    if (cond != GR_COND_NONE) {
        refuse(&c, cond, cond == GR_POLICY_VIOLATION ? "too large" : NULL);
        return;
    }
    req = gr_req_new(self, sizeof(c), on_count);
    *(struct change *)gr_req_data(req) = c;
    gr_store_count(req, &collections[0], ev->to->bare);
}

/* --- get --- */

/* Appends the elements of a row. False: the row makes no sense. */
static bool append_row(struct gr_stanza *st, struct gr_el *parent, const struct gr_row *row)
{
    static const char head[] = "<query xmlns='" NS_PRIVATE "'>", tail[] = "</query>";
    size_t len = sizeof(head) - 1 + row->val_len + sizeof(tail) - 1;
    char *xml = gr_alloc(len + 1);
    struct gr_stanza *kept = NULL;
    int rc;

    memcpy(xml, head, sizeof(head) - 1);
    memcpy(xml + sizeof(head) - 1, row->val, row->val_len);
    memcpy(xml + sizeof(head) - 1 + row->val_len, tail, sizeof(tail));
    rc = gr_stanza_parse(xml, len, &kept);
    gr_free(xml);
    if (rc != 0) {
        gr_error("private.row", "a stored element cannot be read: %s", gr_strerror(rc));
        return false;
    }
    for (const struct gr_el *el = gr_el_child(gr_stanza_root(kept), NULL, NULL); el != NULL;
         el = gr_el_next(el, NULL, NULL))
        gr_el_append(st, parent, el);
    gr_stanza_unref(&kept);
    return true;
}

struct reading {
    struct gr_iq_req *req;
};

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = ((struct reading *)gr_req_data(req))->req;
    const struct gr_el *asked = gr_stanza_payload(gr_iq_req_stanza(iq));
    struct gr_stanza *result;
    struct gr_el *query;

    (void)self;
    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
        return;
    }
    result = gr_iq_result(gr_iq_req_stanza(iq));
    query = gr_el_add(result, NULL, NS_PRIVATE, "query");
    if (rows->rc == GR_ENOENT) { /* nothing stored: the element as it was asked for, empty */
        asked = gr_el_child(asked, NULL, NULL);
        gr_el_add(result, query, gr_el_ns(asked), gr_el_name(asked));
    } else if (!append_row(result, query, rows->row)) {
        gr_stanza_unref(&result);
        gr_iq_reply_error(iq, GR_INTERNAL_SERVER_ERROR, NULL);
        return;
    }
    gr_iq_reply(iq, result);
}

static void get(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct gr_el *el = gr_el_child(ev->payload, NULL, NULL);
    struct gr_req *req;

    if (el == NULL || !has_namespace(el)) {
        gr_iq_reply_error(ev->req, GR_NOT_ACCEPTABLE, NULL);
        return;
    }
    if (gr_el_next(el, NULL, NULL) != NULL) {
        gr_iq_reply_error(ev->req, GR_BAD_REQUEST, "one namespace per request");
        return;
    }
    req = gr_req_new(self, sizeof(struct reading), on_row);
    ((struct reading *)gr_req_data(req))->req = ev->req;
    gr_store_get(req, &collections[0], ev->to->bare, gr_el_ns(el), strlen(gr_el_ns(el)));
}

static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    if (ev->type == GR_SET)
        set(self, ev);
    else
        get(self, ev);
}

/* --- the account goes; its owner wants a copy of everything --- */

struct waiting {
    struct gr_hold *hold;
    struct gr_export_ev *ev;
};

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self;
    gr_resume(((struct waiting *)gr_req_data(req))->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* Held until it is gone, so that the next owner of the name does not inherit it. */
static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct waiting), on_removed);
    struct gr_txn *t = gr_txn_new(self);

    ((struct waiting *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

static void on_all(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);
    bool ok = rows->rc == 0;

    (void)self;
    if (ok && rows->count > 0 && gr_hold_waits(w->hold)) { /* as in XEP-0227, 4.6 */
        struct gr_el *query = gr_el_add(w->ev->data, NULL, NS_PRIVATE, "query");

        for (size_t i = 0; i < rows->count; i++)
            ok = append_row(w->ev->data, query, &rows->row[i]) && ok;
    }
    gr_resume(w->hold, ok ? GR_OK : GR_FAIL);
}

static enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct waiting), on_all);
    *(struct waiting *)gr_req_data(req) = (struct waiting){ hold, ev };
    gr_store_range(req, &collections[0], ev->user->bare, NULL, 0, READ_MAX);
    return GR_PENDING;
}

static const struct gr_hook hooks[] = {
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_PRIVATE, "query", on_query),
    GR_IQ_END
};

GR_MODULE(private,
    .summary = "XML that clients keep on the server (XEP-0049)",
    .conf_size = sizeof(struct private_conf), .options = options, .hooks = hooks, .iqs = iqs,
    .collections = collections);
