/* mod_private: XML that clients keep on the server for themselves (XEP-0049): old bookmarks, notes.
 *
 * One row per namespace: its elements, one after the other, as text. A set is one transaction.
 * The bounds (bytes per namespace, namespaces per account) are checked before it; the answer
 * follows the commit. The sets of an account are done one after the other: several that count
 * before any of them writes would pass the bound together. */
#include <stdlib.h>
#include <string.h>

#include "removed.h"

#define NS_PRIVATE "jabber:iq:private"
#define NAMESPACES_MAX 10000
#define PAGE 1000 /* rows; a page may be shorter and still have others behind it */

struct private_conf {
    int64_t max_size, max_namespaces;
};

static const struct gr_opt options[] = {
    GR_OPT_SIZE(struct private_conf, max_size, 64 * GR_KIB, 1 * GR_KIB, 16 * GR_MIB,
                "most bytes kept per namespace"),
    GR_OPT_INT(struct private_conf, max_namespaces, 100, 1, NAMESPACES_MAX,
               "most namespaces kept per account"),
    GR_OPT_END
};

static const struct gr_coll collections[] = { GR_MAP("private"), GR_COLL_END };

/* --- what is to be written --- */

struct piece {
    const char *ns;  /* of the request */
    char *xml;
    size_t len;
    bool kept;       /* the namespace is there already */
};
struct change {
    struct change *next;
    struct gr_mod *self;
    struct gr_iq_req *req;
    struct gr_jid *owner;
    struct piece *piece;
    size_t count, rows; /* rows: namespaces that the account has */
};
struct private_state {
    struct change *first, **last; /* every set that is not answered, in the order of arrival */
};

static void change_free(struct change *c)
{
    for (size_t i = 0; i < c->count; i++)
        gr_free(c->piece[i].xml);
    gr_free(c->piece);
    gr_jid_free(&c->owner);
    gr_free(c);
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

        if (c->count > (size_t)conf->max_namespaces)
            return GR_RESOURCE_CONSTRAINT;
        append(p, el);
        if (p->len > (size_t)conf->max_size)
            return GR_POLICY_VIOLATION;
    }
    return GR_COND_NONE;
}

/* --- set --- */

static struct change *change_of(struct gr_req *req)
{
    return *(struct change **)gr_req_data(req);
}

static struct gr_req *request_for(struct change *c, gr_store_f done)
{
    struct gr_req *req = gr_req_new(c->self, sizeof(c), done);

    *(struct change **)gr_req_data(req) = c;
    return req;
}

/* The first one of that account, from c on; NULL: none. */
static struct change *first_of(struct change *c, const struct gr_jid *owner)
{
    while (c != NULL && !gr_jid_equal(c->owner, owner))
        c = c->next;
    return c;
}

static void begin(struct change *c);

/* Answered: the next one of the account. */
static void leave(struct change *c)
{
    struct private_state *st = gr_state(c->self);
    struct change **at = &st->first, *next = first_of(c->next, c->owner);

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->next == NULL)
        st->last = at;
    change_free(c);
    if (next != NULL)
        begin(next);
}

static void refuse(struct change *c, enum gr_cond cond, const char *text)
{
    gr_iq_reply_error(c->req, cond, text);
    leave(c);
}

static void on_written(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct change *c = change_of(req);

    (void)self;
    if (rows->rc != 0) {
        refuse(c, gr_cond_of(rows->rc), NULL);
        return;
    }
    gr_iq_reply_empty(c->req);
    leave(c);
}

static void write_all(struct change *c)
{
    struct gr_txn *t;

    if (account_removed(c->self, c->owner)) {
        refuse(c, GR_FORBIDDEN, "the account was removed");
        return;
    }
    t = gr_txn_new(c->self);
    for (size_t i = 0; i < c->count; i++)
        gr_txn_put(t, &collections[0], c->owner->bare, c->piece[i].ns, strlen(c->piece[i].ns),
                   c->piece[i].xml, c->piece[i].len);
    gr_txn_commit(t, request_for(c, on_written));
}

/* The rows behind `last`; NULL: from the first one. */
static void read_page(struct gr_req *req, const struct gr_jid *owner, const struct gr_row *last)
{
    char *from = last != NULL ? gr_strndup(last->key, last->key_len) : NULL;

    gr_store_range(req, &collections[0], owner->bare, from, last != NULL ? last->key_len + 1 : 0,
                   PAGE);
    gr_free(from);
}

static void mark_kept(struct change *c, const struct gr_row *row)
{
    for (size_t i = 0; i < c->count; i++) {
        if (row->key_len == strlen(c->piece[i].ns) &&
            memcmp(row->key, c->piece[i].ns, row->key_len) == 0)
            c->piece[i].kept = true;
    }
}

/* The account is near its bound: what is replaced does not count twice. */
static void on_namespaces(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct private_conf *conf = gr_conf(self);
    struct change *c = change_of(req);
    size_t more = 0;

    if (rows->rc != 0) {
        refuse(c, gr_cond_of(rows->rc), NULL);
        return;
    }
    for (size_t i = 0; i < rows->count; i++)
        mark_kept(c, &rows->row[i]);
    if (rows->more && rows->count > 0) {
        read_page(request_for(c, on_namespaces), c->owner, &rows->row[rows->count - 1]);
        return;
    }
    for (size_t i = 0; i < c->count; i++)
        more += !c->piece[i].kept;
    if (more > 0 && c->rows + more > (size_t)conf->max_namespaces)
        refuse(c, GR_RESOURCE_CONSTRAINT, "too many namespaces");
    else
        write_all(c);
}

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct private_conf *conf = gr_conf(self);
    struct change *c = change_of(req);

    c->rows = rows->count;
    if (rows->rc != 0)
        refuse(c, gr_cond_of(rows->rc), NULL);
    else if (c->rows + c->count <= (size_t)conf->max_namespaces)
        write_all(c);
    else
        read_page(request_for(c, on_namespaces), c->owner, NULL);
}

static void begin(struct change *c)
{
    gr_store_count(request_for(c, on_count), &collections[0], c->owner->bare);
}

static void set(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct private_state *st = gr_state(self);
    struct change *c = gr_alloc(sizeof(*c));
    enum gr_cond cond;

    c->self = self;
    c->req = ev->req;
    c->owner = gr_jid_dup_bare(ev->to);
    cond = gather(gr_conf(self), c, ev->payload);
    if (cond != GR_COND_NONE) {
        gr_iq_reply_error(c->req, cond, cond == GR_POLICY_VIOLATION ? "too large" : NULL);
        change_free(c);
        return;
    }
    *st->last = c;
    st->last = &c->next;
    if (first_of(st->first, c->owner) == c)
        begin(c);
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
    struct gr_export_ev *ev;    /* while the hold waits */
    struct gr_el *query;
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

    account_note_removed(self, ev->jid, true);
    ((struct waiting *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

static void on_all(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct waiting *w = gr_req_data(req);
    bool ok = rows->rc == 0 && gr_hold_waits(w->hold);
    struct gr_req *more;

    if (ok && rows->count > 0 && w->query == NULL) /* as in XEP-0227, 4.6 */
        w->query = gr_el_add(w->ev->data, NULL, NS_PRIVATE, "query");
    for (size_t i = 0; ok && i < rows->count; i++)
        ok = append_row(w->ev->data, w->query, &rows->row[i]);
    if (!ok || !rows->more || rows->count == 0) {
        gr_resume(w->hold, ok ? GR_OK : GR_FAIL);
        return;
    }
    more = gr_req_new(self, sizeof(*w), on_all);
    *(struct waiting *)gr_req_data(more) = *w;
    read_page(more, w->ev->user, &rows->row[rows->count - 1]);
}

static enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct waiting), on_all);
    *(struct waiting *)gr_req_data(req) = (struct waiting){ .hold = hold, .ev = ev };
    read_page(req, ev->user, NULL);
    return GR_PENDING;
}

static int start(struct gr_mod *self, const char **why)
{
    struct private_state *st = gr_state(self);

    (void)why;
    st->last = &st->first;
    return 0;
}

/* What a shutdown cut off. */
static void stop(struct gr_mod *self)
{
    struct private_state *st = gr_state(self);

    while (st->first != NULL) {
        struct change *c = st->first;

        st->first = c->next;
        change_free(c);
    }
}

static const struct gr_hook hooks[] = {
    GR_ON(register_user, GR_PRIO_NORMAL, account_on_register),
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
    .conf_size = sizeof(struct private_conf), .state_size = sizeof(struct private_state),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = collections,
    .slots = (const struct gr_slot *const[]){ &removed_slot, NULL }, .start = start, .stop = stop);
