/* mod_roster/roster.h: what the files of the module share.
 *
 *   record.c  stored rows as bytes     state.c  the subscription state machine (RFC 6121, A)
 *   turn.c  one after the other, per owner      provider.c, db*.c, history.c  "rosterdb"
 *   push.c  interested sessions and pushes      iq.c, iq_set.c  jabber:iq:roster
 *   subs.c, subs_in.c  subscription stanzas     chains.c, leave.c  what other modules ask and tell
 *   roster.c  the descriptor */
#pragma once

#include <grapnel/module.h>

#define NS_ROSTER "jabber:iq:roster"
#define PROVIDER_NAME "rosterdb"

struct roster_conf {
    bool storage;
    bool versioning;
    int64_t max_items, max_name, max_group, max_groups, max_requests, max_request;
};
struct roster_state {
    struct turns *turns;               /* outlives a reload */
    struct gr_roster_list *groups[64]; /* what roster_get_jid_info answered lately */
    unsigned groups_next;
};

/* --- record.c --- */

/* An item of the roster as it is stored. */
struct contact {
    bool from, to, ask, approved;
    uint64_t ver;               /* of its last visible change; never 0 */
    const char *name;           /* NULL: none */
    const char *const *groups;  /* NULL-terminated; NULL: none */
    void *mem;                  /* what the two point into, when this owns it */
};
/* gr_alloc'ed bytes; NULL: something is longer than a record can say. */
void *contact_encode(const struct contact *c, size_t *len);
/* 0 or GR_EIO; contact_fini afterwards. */
int contact_decode(const void *data, size_t len, struct contact *out);
void contact_fini(struct contact *c);

/* A subscription request as it arrived, and when. */
struct request {
    int64_t time_us;
    const char *xml;            /* borrowed: not NUL-terminated */
    size_t len;
};
void *request_encode(const struct request *r, size_t *len);
int request_decode(const void *data, size_t len, struct request *out);

/* One row for each owner who has any other. Versions are microseconds of the wall clock, or one
 * more than the last one: so they grow also across the removal of an account or an old backup. */
struct meta {
    uint64_t ver;               /* the latest change; 0: there was none */
    uint64_t floor;             /* changes since any version from here on are known */
    uint32_t items, requests, removed; /* rows in the other collections */
};
enum { META_SIZE = 29 };
#define META_KEY "meta"
void meta_encode(uint8_t out[META_SIZE], const struct meta *m);
int meta_decode(const void *data, size_t len, struct meta *out);

/* --- state.c --- */

/* Where a contact stands: listed in the roster, may see us, we may see it, we asked, approved
 * before it asked, it asked. */
struct bits {
    bool listed, from, to, ask, approved, pending;
};
/* What the operation makes of it (backends.md 3.2, 3.3): OK changed; FALSE, NONE as in
 * provider.h. */
enum gr_result bits_apply(struct bits *b, enum gr_roster_op op);
/* Something that a client sees is different. */
bool bits_visible(const struct bits *before, const struct bits *after);

/* --- turn.c --- */

enum turn_kind {
    TURN_STORE, /* read, change, write: one operation of the provider          */
    TURN_TASK,  /* several calls of the provider that belong together          */
    TURN_KINDS
};
struct turns;
struct turn {
    struct turn *next;
    struct lane *lane;
    void (*run)(struct turn *t);
    bool started;
};
struct turns *turns_new(void);
struct turns *turns_ref(struct turns *ts);
void turns_unref(struct turns **take);
/* run() when all turns of that kind and owner taken before are left; perhaps at once. */
void turn_take(struct turns *ts, enum turn_kind kind, const struct gr_jid *owner, struct turn *t,
               void (*run)(struct turn *t));
/* t may be freed afterwards, also from inside run(). */
void turn_leave(struct turn *t);
/* A resource became unavailable. While something of its owner is under way that is remembered: a
 * contact that loses its subscription in the meantime is not among those who are told of it, and
 * whoever takes the subscription must tell instead (send_presences). */
void turn_note_gone(struct turns *ts, const struct gr_jid *bare, const struct gr_jid *full);
/* The i-th of them, NULL: no more. */
const struct gr_jid *turn_gone(struct turns *ts, const struct gr_jid *bare, unsigned i);

/* --- provider.c, db.c, db_read.c, history.c --- */

enum { COLL_ITEMS, COLL_REQUESTS, COLL_REMOVED, COLL_META, COLL_COUNT };
enum { REMOVED_MAX = 100 }; /* removals that are remembered for versioning */
extern const struct gr_coll roster_colls[COLL_COUNT + 1];
extern const struct gr_roster_provider roster_db;

/* Changes of one contact. */
void db_change(struct gr_mod *self, struct gr_ask *ask, enum gr_roster_op op,
               const struct gr_jid *user, const struct gr_jid *contact, struct gr_stanza *stanza,
               const struct gr_roster_item *item);
/* get_contact and is_pending: the same reads. */
void db_look(struct gr_mod *self, struct gr_ask *ask, enum gr_roster_op op,
             const struct gr_jid *user, const struct gr_jid *contact);
void db_contacts(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user);
/* Everything of the user; ask NULL: nobody waits for it. */
void db_remove(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user);
void db_pending(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user);

/* How far versioning reaches back. rc != 0: unknown. */
struct removal {
    uint64_t ver;
    struct gr_jid *jid;
};
struct history {
    int rc;
    struct meta meta;
    const struct removal *removed; /* ascending */
    size_t count;
};
typedef void (*history_f)(struct gr_mod *self, void *arg, const struct history *h);
void db_history(struct gr_mod *self, const struct gr_jid *user, history_f done, void *arg);

enum gr_subscription sub_of(bool from, bool to);
static inline bool sub_from(enum gr_subscription s) { return s == GR_SUB_FROM || s == GR_SUB_BOTH; }
static inline bool sub_to(enum gr_subscription s) { return s == GR_SUB_TO || s == GR_SUB_BOTH; }

/* --- push.c --- */

extern const struct gr_slot interest_slot;
/* From now on pushes to the session are kept back until the iq result with that id has passed
 * it. */
void interest_await(struct gr_mod *self, struct gr_session *s, const char *id);
/* There will be no such result: it is as interested as it was before. */
void interest_fail(struct gr_mod *self, struct gr_session *s, const char *id);
/* In front of everything kept back: a change that the client missed. */
void interest_add(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take);
bool is_interested(struct gr_mod *self, const struct gr_session *s);
enum gr_verdict on_receive_iq(struct gr_mod *self, struct gr_stanza_ev *ev);

/* An <item/> below query; removed: only the address. */
void item_el(struct gr_stanza *st, struct gr_el *query, const struct gr_roster_item *item,
             bool removed);
/* ver 0: none. */
void ver_attr(struct gr_mod *self, struct gr_stanza *st, struct gr_el *query, uint64_t ver);
struct gr_stanza *push_new(struct gr_mod *self, const struct gr_session *s,
                           const struct gr_roster_item *item, bool removed);
/* The item as it is now, to every interested session of the owner; item->in_roster false:
 * removed. */
void push_item(struct gr_mod *self, const struct gr_jid *owner, const struct gr_roster_item *item);
/* After a change: a push when a client would see it. `contact` is who it was about. */
void push_change(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *contact,
                 const struct gr_answer *a);
/* The stanza to every interested session. */
void to_interested(struct gr_mod *self, const struct gr_jid *owner, struct gr_stanza *st);
/* From every available resource of the account to the contact: its presence, or that it is gone. */
void send_presences(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *contact,
                    bool available);
/* From the bare address; id NULL: a new one. */
void send_subscription(struct gr_mod *self, const struct gr_ev *behalf, enum gr_type type,
                       const struct gr_jid *owner, const struct gr_jid *contact, const char *id);

/* --- iq.c, iq_set.c --- */

void on_roster_get(struct gr_mod *self, struct gr_iq_ev *ev);
void on_roster_set(struct gr_mod *self, struct gr_iq_ev *ev);

/* --- holds --- */

/* A suspended chain. The core may go on without us (gr_hold_waits): the event is not ours then. */
struct held {
    struct gr_hold *hold;
};
static inline bool held_take(struct held *h, struct gr_mod *self, struct gr_ev *ev)
{
    h->hold = gr_hold(self, ev);
    return h->hold != NULL;
}
static inline bool held_valid(const struct held *h) { return gr_hold_waits(h->hold); }

/* --- subs.c, subs_in.c --- */

enum gr_verdict on_out_first(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_out_subscription(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_in_subscription(struct gr_mod *self, struct gr_stanza_ev *ev);

/* --- chains.c, leave.c --- */

enum gr_verdict on_get(struct gr_mod *self, struct gr_roster_ev *ev);
enum gr_verdict on_lists(struct gr_mod *self, struct gr_roster_ev *ev);
enum gr_verdict on_jid_info(struct gr_mod *self, struct gr_jid_info_ev *ev);
enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev);
enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev);

/* --- roster.c --- */

bool is_ours(struct gr_mod *self); /* rosterdb is the host's roster provider */
/* The account was removed; its sessions may live a moment longer. */
bool is_removed(struct gr_mod *self, const struct gr_jid *owner);
void set_removed(struct gr_mod *self, const struct gr_jid *owner, bool removed);
struct turns *turns_of(struct gr_mod *self);
