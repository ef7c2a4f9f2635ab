/* mod_privacy/privacy.h: what the files of the module share.
 *
 *   list.c   one list: from XML, to XML, what it says about a stanza     block.c  as a block list
 *   book.c   what is known of an account's lists, read from the store    known.c  of its contacts
 *   seat.c   of a session
 *   check.c, wait.c  stanzas that come and go     presence.c  what others see: broadcasts, changes
 *   change.c, change_store.c  changes, one after the other               iq.c  jabber:iq:privacy
 *   mod_privacy.c  the descriptor
 *
 * Everything runs on the account's home loop. */
#pragma once

#include "../privacy_blocklist.h"

#define NS_PRIVACY "jabber:iq:privacy"
#define NAME_MAX_BYTES 255 /* of a list */

struct privacy_conf {
    int64_t max_lists, max_items;
    bool bounce;
};

/* --- list.c --- */

/* What an item can be about (XEP-0016, 2.1). Without any of the first four it is about everything,
 * and only then about the rest: subscriptions, probes, errors, messages and iqs that go out. */
enum { ON_MESSAGE = 1, ON_IQ = 2, ON_PRESENCE_IN = 4, ON_PRESENCE_OUT = 8, ON_REST = 16,
       ON_ALL = 31 };

enum item_type { ITEM_ANY, ITEM_JID, ITEM_GROUP, ITEM_SUBSCRIPTION };
struct item {
    enum item_type type;
    bool allow;
    unsigned on;
    uint32_t order;
    struct gr_jid *jid;
    char *group;
    enum gr_subscription sub;
};
struct list {           /* counted; not changed once it is in use */
    unsigned refs;
    char *name;
    bool asks_roster;   /* has items that need to know the contact */
    bool closed;        /* stands for one that cannot be read: denies everybody until it is set anew */
    size_t count;
    struct item *items; /* in their order */
};

struct list *list_new(const char *name, size_t room);
struct list *list_closed(const char *name);
struct list *list_ref(struct list *l); /* accepts NULL */
void list_unref(struct list **take);
/* A copy of the item at the end of a list that is being made; there is room. */
void list_add(struct list *l, const struct item *item);
/* <list/> as a client sent it or as it was stored. GR_COND_NONE and *out, or what is wrong. */
enum gr_cond list_parse(const struct gr_el *el, size_t max_items, struct list **out);
void list_write(struct gr_stanza *st, struct gr_el *parent, const struct list *l);
/* contact: NULL for a stranger. */
enum gr_privacy list_decide(const struct list *l, const struct gr_jid *peer,
                            const struct gr_roster_item *contact, unsigned on);
bool list_names(const struct list *l, const struct gr_jid *jid); /* in an item of its own */
bool list_names_group(const struct list *l);
bool list_groups_exist(const struct list *l, const struct gr_roster_list *roster);

/* --- block.c --- */

struct change;

/* XEP-0191, 5: an item for an address that denies everything. */
bool item_blocks(const struct item *item);
/* `l` (may be NULL) with these addresses blocked, or without them (count 0: without any). New; may
 * be empty. */
struct list *list_block(const struct list *l, const char *name, const struct gr_jid *const *jids,
                        size_t count);
struct list *list_unblock(const struct list *l, const struct gr_jid *const *jids, size_t count);
/* Runs mod_privacy.blocklist_changed when they differ. */
void blocklist_compare(const struct change *c, const struct list *before, const struct list *after);
enum gr_verdict on_blocklist(struct gr_mod *self, struct gr_ev *base);

/* --- book.c --- */

struct known;
struct book {            /* of an account */
    bool read, removed;
    char **names;        /* of all its lists */
    size_t count;
    struct list *def;    /* the default list; NULL: none */
    struct known *known; /* contacts that lists asked about lately */
    unsigned changes;    /* of the roster */
};
struct seat {            /* of a session */
    struct list *active; /* NULL: none */
    bool interested;     /* has used jabber:iq:privacy */
};
extern const struct gr_slot book_slot, seat_slot;
extern const struct gr_coll privacy_colls[2];

/* What a shutdown cuts off is found here. */
struct task {
    struct task *next, **at;
    void (*drop)(struct task *t);
};
struct check;
struct hidden;
enum { BARE_MAX = 1024 };
struct privacy {                /* the state of an instance */
    struct task *tasks;
    struct change *first, **last;
    const struct check *check;  /* what privacy_check_packet is asked just now */
    struct hidden *hidden;      /* broadcasts that wait for their subscribers */
    uint64_t bare[BARE_MAX];    /* hashes of accounts that were found to have no default list */
};
void task_add(struct gr_mod *self, struct task *t, void (*drop)(struct task *t));
void task_leave(struct task *t);

/* NULL: not read, or nobody is online there. */
struct book *book_find(struct gr_mod *self, const struct gr_jid *owner);
struct seat *seat_of(struct gr_mod *self, struct gr_session *s); /* seat.c */
/* The list that is in force for a session (XEP-0016, 2.2); NULL: none. s NULL: the account's. */
struct list *book_list(struct gr_mod *self, const struct book *b, const struct gr_session *s);
bool book_has(const struct book *b, const char *name);
void book_clear(struct book *b);
/* rc 0, and what is read is moved out of *take; or a gr_err. */
typedef void (*book_f)(struct gr_mod *self, void *ctx, struct book *take, int rc);
void book_load(struct gr_mod *self, const struct gr_jid *owner, book_f f, void *ctx);
/* For the account's sessions, unless it has been read meanwhile. False: there are none. */
bool book_adopt(struct gr_mod *self, const struct gr_jid *owner, struct book *take);
void on_connect(struct gr_mod *self, struct gr_session_ev *ev);
void book_want(struct gr_mod *self, const struct gr_jid *owner); /* reads it, unless it has been */
/* Rows: the index, and one for each list. */
struct gr_stanza *index_new(const struct book *b, const char *def);
char *list_key(const char *name, size_t *len);
struct list *list_of_row(const struct gr_row *row);
#define INDEX_KEY "index"

/* --- known.c --- */

/* False: not known. *out NULL: a stranger. */
bool known_find(const struct book *b, const struct gr_jid *peer, const struct gr_roster_item **out);
void known_add(struct book *b, const struct gr_jid *peer, const struct gr_jid_info_ev *info);
void known_clear(struct book *b);
enum gr_verdict on_roster_item(struct gr_mod *self, struct gr_roster_item_ev *ev);
void on_roster_push(struct gr_mod *self, struct gr_roster_item_ev *ev);
enum gr_verdict on_subscription_in(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_subscription_out(struct gr_mod *self, struct gr_stanza_ev *ev);

/* --- wait.c --- */

/* A verdict, or ASK: the roster must be asked about the peer first. */
typedef int (*judge_f)(struct gr_mod *self, struct gr_stanza_ev *ev, const struct book *b);
enum { ASK = -1 };
/* Reads what is missing and asks judge again. owner: of ours; peer: the other one. */
enum gr_verdict judge_later(struct gr_mod *self, struct gr_stanza_ev *ev, judge_f judge,
                            const struct gr_jid *owner, const struct gr_jid *peer);

/* --- check.c --- */

/* It cannot be told whether the stanza may pass: it does not. */
enum gr_verdict close_gate(struct gr_mod *self, struct gr_stanza_ev *ev, enum gr_cond cond);

/* One's own account and server are never locked out. */
bool is_exempt(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *peer);
enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_local(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_check(struct gr_mod *self, struct gr_privacy_ev *ev);

/* --- presence.c --- */

enum gr_verdict on_subscribers_first(struct gr_mod *self, struct gr_roster_ev *ev);
enum gr_verdict on_subscribers_last(struct gr_mod *self, struct gr_roster_ev *ev);
void hidden_free(struct privacy *p);
/* What is in force for each session, before a change; afterwards those whom it hides from are told
 * "unavailable", those whom it shows itself to again its presence (XEP-0191, 3.3 and 3.4). */
struct effect;
struct effect *effect_begin(struct gr_mod *self, const struct gr_jid *owner);
void effect_end(struct effect *take);

/* --- change.c, change_store.c --- */

enum change_op { CHANGE_LIST, CHANGE_REMOVE, CHANGE_DEFAULT, CHANGE_ACTIVE, CHANGE_BLOCK,
                 CHANGE_UNBLOCK };
struct change {
    struct change *next;
    struct gr_mod *self;
    enum change_op op;
    struct gr_jid *owner, *who; /* bare; the resource that asked */
    char *name;                 /* NULL: CHANGE_DEFAULT and CHANGE_ACTIVE: none from now on */
    struct list *list;          /* CHANGE_LIST: the new one; the others: found on the way */
    struct gr_jid **jids;
    size_t count;
    void (*done)(struct change *c, enum gr_cond cond); /* afterwards it is freed */
    struct gr_hold *hold;       /* the asker's */
    struct gr_ev *ev;
    struct gr_roster_ev roster;
};
struct change *change_new(struct gr_mod *self, enum change_op op, const struct gr_jid *owner,
                          const struct gr_jid *who);
/* Behind the others of the account. */
void change_start(struct change *take);
void change_end(struct change *c, enum gr_cond cond);
void change_drop_all(struct privacy *p);
void change_write(struct change *c);
enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev);
void on_register(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev);

/* --- iq.c --- */

enum gr_verdict on_iq_get(struct gr_mod *self, struct gr_privacy_ev *ev);
enum gr_verdict on_iq_set(struct gr_mod *self, struct gr_privacy_ev *ev);
void on_iq(struct gr_mod *self, struct gr_iq_ev *ev);
