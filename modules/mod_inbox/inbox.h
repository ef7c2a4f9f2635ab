/* mod_inbox/inbox.h: what the parts of mod_inbox share.
 *
 * An account's inbox is one row per conversation, addressed by the bare JID of the other side. Rows are
 * read and written on the account's home loop only, through conv.c, which lets changes to one row
 * follow each other and gathers those that come while it is being written. */
#pragma once

#include <grapnel/module.h>

#define NS_INBOX "erlang-solutions.com:xmpp:inbox:0"
#define NS_CONVERSATION NS_INBOX "#conversation"
#define NS_XEP "urn:xmpp:inbox:1"
#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_MAM "urn:xmpp:mam:2"
#define NS_RETRACT "urn:xmpp:message-retract:1"

struct inbox_conf {
    const char *const *boxes, *const *reset_markers, *const *groupchat;
    bool aff_changes, remove_on_kicked;
    int64_t limit, max_result_limit, bin_ttl, bin_clean_after;
};

extern const struct gr_coll collections[];
#define ENTRIES (&collections[0]) /* owner: the account; key: bare JID of the other side */
#define BINNED (&collections[1])  /* owner: the host; key: time, account, NUL, other side */

#define BUCKETS 256
struct inbox { /* the state of an instance */
    struct conv *bucket[BUCKETS];
    struct list *lists;
    struct gr_timer clean;
    bool cleaning;
    bool retired;            /* a successor works: what is read now is written at once */
    int64_t settled_ms;      /* after a reload: the predecessor is done by then */
};

bool in_list(const char *const *list, const char *word);

/* --- entry.c: a conversation --- */

enum { MARKS = 16, BOX_MAX = 64 };

struct entry {
    int64_t time_us;         /* of the latest message */
    uint32_t unread;
    int64_t muted_until_us;  /* 0: not muted */
    int64_t binned_us;       /* when it came into the bin; 0: it is not there */
    char box[BOX_MAX + 1];
    uint32_t mark[MARKS];    /* the latest unread messages, the last one first: mark_of their ids */
    char *archive_id;        /* "" when there is none; gr_alloc'ed, as is: */
    char *xml;               /* the latest message */
    size_t xml_len;
};
void entry_free(struct entry *e); /* what it points to */
/* 0 or GR_EINVAL. The caller frees it. */
int entry_read(struct entry *e, const void *val, size_t len);
void *entry_write(const struct entry *e, size_t *len);
/* The message of the entry as the latest one. */
void entry_set_message(struct entry *e, const struct gr_stanza *st, int64_t time_us,
                       const char *archive_id);
/* That message takes back the entry's (XEP-0424): a tombstone remains. False: another one is meant. */
bool entry_retract(struct entry *e, const struct gr_stanza *by, int64_t now_us);
void entry_set_box(struct entry *e, const char *box, int64_t now_us);
void entry_add_unread(struct entry *e, uint32_t mark);
/* A marker for that message has been sent: it and all before it are read. False: nothing changed. */
bool entry_read_up_to(struct entry *e, uint32_t mark);
uint32_t mark_of(const char *id); /* 0: NULL */
/* <box/>, <archive/>, <mute/>, and <read/> when asked for. */
void entry_props(struct gr_stanza *st, struct gr_el *to, const struct entry *e, bool read);
/* <forwarded/> with time and message. */
void entry_forward(struct gr_stanza *st, struct gr_el *to, const struct entry *e);

/* --- conv.c: changing one --- */

struct conv {
    struct conv *next;       /* in its bucket */
    struct gr_mod *self;
    struct gr_jid *owner;    /* bare */
    char *remote;            /* bare JID */
    struct entry e;
    bool exists;             /* there is one: unset it to delete */
    bool stored;             /* there is a row */
    int64_t binned_us;       /* of the row */
    bool loaded, dirty, writing, checked, gone;
    struct op *ops, **last_op;              /* waiting for the row */
    struct waiter *waiting, *written;       /* for the next commit; for this one */
};

/* Calls f with the row, now or later; ctx is f's to free. f changes c->e and c->exists, and says so
 * with conv_changed. rc other than 0: it cannot be read, c is NULL. */
typedef void (*conv_f)(struct gr_mod *self, struct conv *c, int rc, void *ctx);
void conv_with(struct gr_mod *self, const struct gr_jid *owner, const char *remote, conv_f f,
               void *ctx);
void conv_changed(struct conv *c);
/* When everything that was changed so far is on disk, or could not be written. In f. At a shutdown
 * (GR_ECANCELED) done may only free. */
typedef void (*conv_done_f)(struct gr_mod *self, int rc, void *ctx);
void conv_then(struct conv *c, conv_done_f done, void *ctx);
/* Calls f when what is changing of the account is on disk, perhaps now; ctx is f's to free. */
void convs_wait(struct gr_mod *self, const struct gr_jid *owner,
                void (*f)(struct gr_mod *self, void *ctx), void *ctx);
void convs_forget(struct gr_mod *self, const struct gr_jid *owner); /* the account goes */
void convs_flush(struct inbox *in);   /* a reload: writes what is not written yet */
void convs_free(struct inbox *in);

/* --- room.c: making room for one more --- */

/* For a new conversation: calls conv_commit with the deletion of what has to go for it. */
void make_room(struct conv *c);
/* Takes the transaction, and writes the conversation with it; rc other than 0: it cannot be. */
void conv_commit(struct conv *c, struct gr_txn *take, int rc);

/* --- track.c: messages --- */

enum gr_verdict on_sent(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_received(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_muc(struct gr_mod *self, struct gr_room_ev *ev);
enum gr_verdict on_affiliations(struct gr_mod *self, struct gr_room_ev *ev);

/* --- scan.c: all rows of an account, a page at a time --- */

/* Calls row() for each, then done(); false from row() ends it early. Both own ctx. */
struct scan {
    struct gr_jid *owner;    /* bare; taken */
    bool (*row)(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e);
    void (*done)(struct gr_mod *self, void *ctx, int rc);
    void *ctx;
};
void scan_start(struct gr_mod *self, const struct scan *s);
/* The same, with what is under way now: for whoever asks after having sent something. */
void scan_settled(struct gr_mod *self, const struct scan *s);

/* --- list.c, ask.c: queries --- */

struct ask {
    bool xep;                /* asked as in XEP-0430 */
    int64_t start_us, end_us;
    bool ascending, unread_only, messages;
    const char *box;         /* NULL: all but the bin */
    struct gr_rsm rsm;
    size_t limit;
    const char *queryid;
};
/* The texts live as long as the stanza. */
enum gr_cond ask_read(struct ask *a, const struct gr_stanza *iq, const struct inbox_conf *conf);
void on_form(struct gr_mod *self, struct gr_iq_ev *ev);
void on_list(struct gr_mod *self, struct gr_iq_ev *ev);
void lists_free(struct inbox *in); /* at shutdown: nothing completes any more */
enum gr_verdict on_gone_client(struct gr_mod *self, struct gr_stanza_ev *ev);
/* The options of <field var='box'/>. */
void add_boxes(struct gr_stanza *st, struct gr_el *form, const struct inbox_conf *conf, bool all);
bool is_box(const struct inbox_conf *conf, const char *box);

/* --- props.c: one conversation --- */

void on_conversation(struct gr_mod *self, struct gr_iq_ev *ev);
void on_reset(struct gr_mod *self, struct gr_iq_ev *ev);

/* --- bin.c --- */

void on_empty_bin(struct gr_mod *self, struct gr_iq_ev *ev);
void bin_start(struct gr_mod *self);
/* The row of BINNED for a conversation that came into the bin then (0: there is none) is made, goes. */
void bin_put(struct gr_mod *self, struct gr_txn *t, const struct gr_jid *owner, const char *remote,
             int64_t binned_us);
void bin_del(struct gr_mod *self, struct gr_txn *t, const struct gr_jid *owner, const char *remote,
             int64_t binned_us);

/* --- leave.c --- */

extern const struct gr_slot *const slots[];
bool is_removed(struct gr_mod *self, const struct gr_jid *owner);
void on_register(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev);
enum gr_verdict on_unread_count(struct gr_mod *self, struct gr_inbox_ev *ev);
