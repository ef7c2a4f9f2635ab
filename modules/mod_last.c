/* mod_last: when an account was last online (XEP-0012), and the server's uptime.
 *
 * Each time a resource goes offline the time and its last status are written; nobody waits for
 * that. Who may not see a user's presence may not ask, neither the account nor one of its resources
 * (XEP-0012, 3, 4 and 8), and gets the same answer whether they exist or not. */
#include <stdlib.h>
#include <string.h>

#include "removed.h"

#define NS_LAST "jabber:iq:last"
#define STATUS_MAX 1024     /* bytes of a status that are kept */
#define PASSES_MAX 1000     /* requests on their second way to a resource */

static const struct gr_coll collections[] = { GR_MAP("last"), GR_COLL_END };
static const char row_key[] = "last";

/* A request to a resource whose sender was found to be a contact: it may pass the next time. */
struct pass {
    struct pass *next;
    uint64_t session;
    char *from, *id;
};
struct last {
    struct pass *passes; /* oldest first */
    unsigned count;
};

/* --- writing --- */

/* At most STATUS_MAX bytes, not ending inside a character. */
static size_t status_len(const char *status)
{
    size_t len = strlen(status);

    if (len <= STATUS_MAX)
        return len;
    for (len = STATUS_MAX; len > 0 && ((unsigned char)status[len] & 0xc0) == 0x80; len--)
        ;
    return len;
}

/* The value: time in microseconds (8 bytes, big-endian), then the status. */
static void remember(struct gr_mod *self, const struct gr_jid *jid, const char *status)
{
    uint8_t value[8 + STATUS_MAX];
    struct gr_writer w = gr_writer_on(value, sizeof(value));
    struct gr_txn *t = gr_txn_new(self);

    gr_write_i64(&w, gr_wall_us());
    gr_write_bytes(&w, status, status != NULL ? status_len(status) : 0);
    gr_txn_put(t, &collections[0], jid->bare, row_key, sizeof(row_key) - 1, w.data, w.len);
    gr_txn_commit(t, NULL);
}

/* A removed account's last session ends behind its rows. */
static enum gr_verdict on_unset(struct gr_mod *self, struct gr_session_ev *ev)
{
    if (!account_removed(self, ev->jid))
        remember(self, ev->jid, ev->text);
    return GR_OK;
}

/* Its owner died without a word. */
static enum gr_verdict on_cleanup(struct gr_mod *self, struct gr_session_ev *ev)
{
    remember(self, ev->jid, NULL);
    return GR_OK;
}

struct removal {
    struct gr_hold *hold;
};

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct removal *r = gr_req_data(req);

    (void)self;
    gr_resume(r->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
}

/* Held until it is gone, so that the next owner of the name does not inherit it. */
static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_txn *t = gr_txn_new(self);
    struct gr_req *req = gr_req_new(self, sizeof(struct removal), on_removed);

    account_note_removed(self, ev->jid, true);
    ((struct removal *)gr_req_data(req))->hold = hold;
    gr_txn_del_all(t, &collections[0], ev->jid->bare);
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_FAIL;
}

/* --- reading --- */

/* When, and with which status (of the row); false: never, or the row is damaged. */
static bool read_row(const struct gr_rows *rows, int64_t *us, const char **status, size_t *len)
{
    struct gr_reader r = rows->rc == 0 ? gr_reader_of(rows->row->val, rows->row->val_len)
                                       : gr_reader_of(NULL, 0);

    *us = gr_read_i64(&r);
    *status = gr_read_rest(&r, len);
    return gr_read_done(&r);
}

/* XEP-0012, 2. */
static void add_query(struct gr_stanza *st, int64_t seconds, const char *status, size_t len)
{
    struct gr_el *query = gr_el_add(st, NULL, NS_LAST, "query");

    gr_el_setf(st, query, "seconds", "%lld", (long long)(seconds > 0 ? seconds : 0));
    if (len > 0)
        gr_el_append_text(st, query, status, len);
}

static int64_t seconds_since(int64_t us)
{
    return (gr_wall_us() - us) / 1000000;
}

/* Its owner wants a copy of everything. */
struct export {
    struct gr_hold *hold;
    struct gr_export_ev *ev;    /* while the hold waits */
};

static void on_exported(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct export *x = gr_req_data(req);
    bool ok = rows->rc == 0 || rows->rc == GR_ENOENT;
    const char *status;
    int64_t us;
    size_t len;

    (void)self;
    if (ok && gr_hold_waits(x->hold) && read_row(rows, &us, &status, &len))
        add_query(x->ev->data, seconds_since(us), status, len);
    gr_resume(x->hold, ok ? GR_OK : GR_FAIL);
}

static enum gr_verdict on_personal_data(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;

    if (hold == NULL)
        return GR_FAIL;
    req = gr_req_new(self, sizeof(struct export), on_exported);
    *(struct export *)gr_req_data(req) = (struct export){ hold, ev };
    gr_store_get(req, &collections[0], ev->user->bare, row_key, sizeof(row_key) - 1);
    return GR_PENDING;
}

/* --- may they see the user's presence? --- */

struct asking;
typedef void (*asked_f)(struct gr_mod *self, struct asking *take, bool allowed);
struct asking {
    struct gr_jid_info_ev info;
    struct gr_jid *owner, *contact;
    asked_f done;
    struct gr_iq_req *req;      /* to the account */
    struct gr_stanza *st;       /* to a resource */
    struct gr_jid *full;
    uint64_t session;
};

static void asking_free(struct asking *a)
{
    gr_jid_free(&a->owner);
    gr_jid_free(&a->contact);
    gr_jid_free(&a->full);
    gr_stanza_unref(&a->st);
    gr_free(a);
}

static void on_roster(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_jid_info_ev *info = GR_CONTAINER_OF(ev, struct gr_jid_info_ev, ev);
    struct asking *a = GR_CONTAINER_OF(info, struct asking, info);

    (void)verdict;
    a->done(self, a, info->sub == GR_SUB_FROM || info->sub == GR_SUB_BOTH);
}

static struct asking *asking_new(const struct gr_jid *owner, const struct gr_jid *contact,
                                 asked_f done)
{
    struct asking *a = gr_alloc(sizeof(*a));

    a->owner = gr_jid_dup_bare(owner);
    a->contact = gr_jid_dup_bare(contact);
    a->info.owner = a->owner;
    a->info.contact = a->contact;
    a->done = done;
    return a;
}

static void ask(struct gr_mod *self, struct asking *a)
{
    gr_hook_run(self, GR_HOOK_roster_get_jid_info, &a->info.ev, on_roster);
}

/* --- the account --- */

static void reply(struct gr_iq_req *req, int64_t seconds, const char *status, size_t len)
{
    struct gr_stanza *result = gr_iq_result(gr_iq_req_stanza(req));

    add_query(result, seconds, status, len);
    gr_iq_reply(req, result);
}

struct reading {
    struct gr_iq_req *req;
};

static void on_row(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_iq_req *iq = ((struct reading *)gr_req_data(req))->req;
    const char *status;
    int64_t us;
    size_t len;

    (void)self;
    if (rows->rc != 0 && rows->rc != GR_ENOENT)
        gr_iq_reply_error(iq, gr_cond_of(rows->rc), NULL);
    else if (read_row(rows, &us, &status, &len))
        reply(iq, seconds_since(us), status, len);
    else
        gr_iq_reply_error(iq, GR_SERVICE_UNAVAILABLE, NULL); /* never was online */
}

static void answer(struct gr_mod *self, struct gr_iq_req *req)
{
    const struct gr_jid *to = gr_iq_req_to(req);
    struct gr_req *get;

    if (gr_account_find(self, to) != NULL) { /* connected: XEP-0012, 3 */
        reply(req, 0, NULL, 0);
        return;
    }
    get = gr_req_new(self, sizeof(struct reading), on_row);
    ((struct reading *)gr_req_data(get))->req = req;
    gr_store_get(get, &collections[0], to->bare, row_key, sizeof(row_key) - 1);
}

static void account_asked(struct gr_mod *self, struct asking *take, bool allowed)
{
    if (allowed)
        answer(self, take->req);
    else
        gr_iq_reply_error(take->req, GR_FORBIDDEN, NULL);
    asking_free(take);
}

static void on_account(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct asking *a;

    if (gr_jid_bare_equal(ev->from, ev->to) || gr_jid_equal(ev->from, gr_mod_host_jid(self))) {
        answer(self, ev->req);
        return;
    }
    a = asking_new(ev->to, ev->from, account_asked);
    a->req = ev->req;
    ask(self, a);
}

static void on_host(struct gr_mod *self, struct gr_iq_ev *ev)
{
    (void)self;
    reply(ev->req, gr_uptime_ms() / 1000, NULL, 0);
}

/* --- requests to a resource: they wait outside until the roster was asked --- */

static void pass_free(struct pass *p)
{
    gr_free(p->from);
    gr_free(p->id);
    gr_free(p);
}

static void drop_first(struct last *l)
{
    struct pass *p = l->passes;

    l->passes = p->next;
    l->count--;
    pass_free(p);
}

static void let_pass(struct last *l, uint64_t session, const struct gr_stanza *st)
{
    struct pass **at = &l->passes, *p;

    if (l->count >= PASSES_MAX) /* delivered to sessions that ended: never claimed */
        drop_first(l);
    while (*at != NULL)
        at = &(*at)->next;
    p = gr_alloc(sizeof(*p));
    p->session = session;
    p->from = gr_strdup(gr_stanza_from(st)->full);
    p->id = gr_strdup(gr_stanza_id(st));
    *at = p;
    l->count++;
}

static bool may_pass(struct last *l, uint64_t session, const struct gr_jid *from, const char *id)
{
    for (struct pass **at = &l->passes; *at != NULL; at = &(*at)->next) {
        struct pass *p = *at;

        if (p->session != session || strcmp(p->id, id) != 0 || strcmp(p->from, from->full) != 0)
            continue;
        *at = p->next;
        l->count--;
        pass_free(p);
        return true;
    }
    return false;
}

static void refuse(struct gr_mod *self, const struct gr_stanza *st, const struct gr_jid *from,
                   const struct gr_jid *to, enum gr_cond cond)
{
    struct gr_stanza *error = gr_error_reply(st, cond, NULL);

    gr_stanza_set_from(error, from);
    gr_stanza_set_to(error, to);
    gr_send(self, error);
}

static void resource_asked(struct gr_mod *self, struct asking *take, bool allowed)
{
    const struct gr_jid *from = gr_stanza_from(take->st);
    struct gr_session *s = gr_session_find(self, take->full, take->session);

    if (!allowed) {
        refuse(self, take->st, take->full, from, GR_FORBIDDEN);
    } else if (s == NULL) {
        refuse(self, take->st, take->full, from, GR_SERVICE_UNAVAILABLE);
    } else {
        let_pass(gr_state(self), take->session, take->st);
        gr_session_deliver(self, s, gr_stanza_ref(take->st));
    }
    asking_free(take);
}

static enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *payload;
    const char *id = gr_stanza_id(ev->stanza);
    const struct gr_jid *own = gr_session_jid(ev->session);
    struct asking *a;

    if (gr_stanza_type(ev->stanza) != GR_GET || id == NULL ||
        gr_stanza_from(ev->stanza) == NULL || own->resource == NULL)
        return GR_OK;
    payload = gr_stanza_payload(ev->stanza);
    if (payload == NULL || !gr_el_is(payload, NS_LAST, "query"))
        return GR_OK;
    if (gr_jid_bare_equal(ev->from, own) || gr_jid_equal(ev->from, gr_mod_host_jid(self)) ||
        may_pass(gr_state(self), gr_session_id(ev->session), ev->from, id))
        return GR_OK;
    a = asking_new(own, ev->from, resource_asked);
    a->st = gr_stanza_ref(ev->stanza);
    a->full = gr_jid_dup(own);
    a->session = gr_session_id(ev->session);
    ask(self, a);
    return GR_STOP;
}

static void stop(struct gr_mod *self)
{
    struct last *l = gr_state(self);

    while (l->passes != NULL)
        drop_first(l);
}

static const struct gr_hook hooks[] = {
    GR_ON(user_receive_iq, GR_PRIO_NORMAL, on_receive),
    GR_ON(unset_presence, GR_PRIO_NORMAL, on_unset),
    GR_ON(session_cleanup, GR_PRIO_NORMAL, on_cleanup),
    GR_ON(register_user, GR_PRIO_NORMAL, account_on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_personal_data),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS_LAST, "query", on_host),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT, NS_LAST, "query", on_account),
    GR_IQ_END
};

GR_MODULE(last,
    .summary = "when an account was last online, and the server's uptime (XEP-0012)",
    .state_size = sizeof(struct last), .hooks = hooks, .iqs = iqs, .collections = collections,
    .slots = (const struct gr_slot *const[]){ &removed_slot, NULL }, .stop = stop);
