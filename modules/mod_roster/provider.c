/* mod_roster/provider.c: "rosterdb" as a table of functions (backends.md 3), its collections,
 * and the removal of everything of a user. Home loop of the user. */
#include "roster.h"

const struct gr_coll roster_colls[COLL_COUNT + 1] = {
    [COLL_ITEMS] = GR_MAP("roster_items"),
    [COLL_REQUESTS] = GR_MAP("roster_requests"),
    [COLL_REMOVED] = GR_MAP("roster_removed"),
    [COLL_META] = GR_MAP("roster_meta"),
    GR_COLL_END,
};

/* --- removal --- */

struct removing {
    struct turn turn;
    struct gr_mod *self;
    struct gr_ask *ask;             /* NULL: nobody waits */
    struct gr_jid *user;
};

static void removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct removing *r = *(struct removing **)gr_req_data(req);

    (void)self;
    if (r->ask == NULL && rows->rc != 0)
        gr_warn("roster.left_over", "the rows of %s stay: %s", r->user->bare,
                gr_strerror(rows->rc));
    else if (rows->rc != 0)
        gr_answer_error(r->ask, gr_cond_of(rows->rc), NULL);
    else if (r->ask != NULL)
        gr_answer_result(r->ask, GR_R_OK);
    turn_leave(&r->turn);
    gr_jid_free(&r->user);
    gr_free(r);
}

static void run_remove(struct turn *t)
{
    struct removing *r = GR_CONTAINER_OF(t, struct removing, turn);
    struct gr_req *req = gr_req_new(r->self, sizeof(r), removed);
    struct gr_txn *txn = gr_txn_new(r->self);

    for (int i = 0; i < COLL_COUNT; i++)
        gr_txn_del_all(txn, &roster_colls[i], r->user->bare);
    *(struct removing **)gr_req_data(req) = r;
    gr_txn_commit(txn, req);
}

void db_remove(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user)
{
    struct removing *r = gr_alloc(sizeof(*r));

    r->self = self;
    r->ask = ask;
    r->user = gr_jid_dup_bare(user);
    turn_take(turns_of(self), TURN_STORE, r->user, &r->turn, run_remove);
}

static void remove_user(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user, const struct gr_jid *contact)
{
    (void)inst;
    (void)contact;
    db_remove(self, ask, user);
}

/* --- the table --- */

static void get_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                         const struct gr_jid *user)
{
    (void)inst;
    db_contacts(self, ask, user);
}

static void get_pending(struct gr_mod *self, void *inst, struct gr_ask *ask,
                        const struct gr_jid *user)
{
    (void)inst;
    db_pending(self, ask, user);
}

static void update_contact(struct gr_mod *self, void *inst, struct gr_ask *ask,
                           const struct gr_jid *user, const struct gr_roster_item *item)
{
    (void)inst;
    db_change(self, ask, GR_ROSTER_UPDATE_CONTACT, user, item->jid, NULL, item);
}

#define CONTACT(f, op, call)                                                                      \
    static void f(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *user, \
                  const struct gr_jid *contact)                                                   \
    {                                                                                             \
        (void)inst;                                                                               \
        call;                                                                                     \
    }
#define CHANGE(f, op) CONTACT(f, op, db_change(self, ask, op, user, contact, NULL, NULL))
#define LOOK(f, op) CONTACT(f, op, db_look(self, ask, op, user, contact))
#define REQUEST(f, op)                                                                            \
    static void f(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *user, \
                  const struct gr_jid *contact, struct gr_stanza *stanza)                         \
    {                                                                                             \
        (void)inst;                                                                               \
        db_change(self, ask, op, user, contact, stanza, NULL);                                    \
    }
LOOK(get_contact, GR_ROSTER_GET_CONTACT)
LOOK(is_pending, GR_ROSTER_IS_PENDING)
CHANGE(remove_contact, GR_ROSTER_REMOVE_CONTACT)
REQUEST(outbound_subscribe, GR_ROSTER_OUT_SUBSCRIBE)
REQUEST(inbound_subscribe, GR_ROSTER_IN_SUBSCRIBE)
CHANGE(outbound_subscribed, GR_ROSTER_OUT_SUBSCRIBED)
CHANGE(inbound_subscribed, GR_ROSTER_IN_SUBSCRIBED)
CHANGE(outbound_unsubscribe, GR_ROSTER_OUT_UNSUBSCRIBE)
CHANGE(inbound_unsubscribe, GR_ROSTER_IN_UNSUBSCRIBE)
CHANGE(outbound_unsubscribed, GR_ROSTER_OUT_UNSUBSCRIBED)
CHANGE(inbound_unsubscribed, GR_ROSTER_IN_UNSUBSCRIBED)

const struct gr_roster_provider roster_db = {
    .name = PROVIDER_NAME,
    .get_contacts = get_contacts,
    .get_contact = get_contact,
    .update_contact = update_contact,
    .remove_contact = remove_contact,
    .get_pending = get_pending,
    .is_pending = is_pending,
    .outbound_subscribe = outbound_subscribe,
    .inbound_subscribe = inbound_subscribe,
    .outbound_subscribed = outbound_subscribed,
    .inbound_subscribed = inbound_subscribed,
    .outbound_unsubscribe = outbound_unsubscribe,
    .inbound_unsubscribe = inbound_unsubscribe,
    .outbound_unsubscribed = outbound_unsubscribed,
    .inbound_unsubscribed = inbound_unsubscribed,
    .remove_user = remove_user,
};
