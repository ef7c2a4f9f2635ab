/* mod_event_pusher/pusher.h: what the files of mod_event_pusher share.
 *
 *   mod_event_pusher.c  hooks become events (push_event)
 *   http.c              back end: web servers are told
 *   push.c              back end: devices are told (XEP-0357): which, and with what
 *   publish.c           one notification for one device, and what its app server says to it
 *   enable.c            requests to enable and disable a device
 *   devices.c           the rows of devices
 *   told.c              which devices know of which messages */
#pragma once

#include <grapnel/module.h>

#define NS_PUSH "urn:xmpp:push:0"
#define FORM_OPTIONS "http://jabber.org/protocol/pubsub#publish-options"

struct pusher_conf {
    const char *const *http_handlers;
    const char *http_authorization, *http_ca_file;
    int64_t http_pool, http_queue, http_queue_size, http_timeout;
    bool push;
    int64_t push_max_devices, push_max_errors, push_max_pending, push_timeout;
    bool push_with_sender, push_with_body;
    const char *push_text;
    const char *const *push_virtual_hosts;
};

struct handler;
struct push;
struct pusher {
    struct handler *handlers;        /* http.c: as many as the option has */
    size_t handler_count;
    struct gr_timer retry;           /* a client of this loop that is full is asked again */
    bool saved;                      /* what waits goes to the next version */
    struct push *pushes;             /* push.c: until every device's app server was asked */
    unsigned pending;                /* these, and answers that have not come */
    unsigned pending_of[256];        /* of these, those of the accounts with that pending_share */
    uint64_t changes;                /* devices.c: how often devices came or went by request */
    uint64_t pushed, refused, unanswered, dropped; /* notifications; dropped: messages too */
};

#define DEVICES_MAX 100              /* most that an account may have, whatever the option says */
#define DEVICES_READ (2 * DEVICES_MAX) /* as long as several are being enabled there may be more */

/* --- collections --- */

extern const struct gr_coll collections[];
#define DEVICES (&collections[0]) /* key: app server, NUL, node */
#define UNREAD (&collections[1])  /* one counter: messages pushed since the account was online */

/* --- mod_event_pusher.c --- */

extern const char *const event_name[]; /* by enum gr_event */
/* The text of the first <body/>, "" when there is none. */
const char *body_of(const struct gr_stanza *st);

/* --- http.c --- */

int http_check(const struct pusher_conf *conf, const char **why);
int http_start(struct gr_mod *self, const char **why);
void http_stop(struct gr_mod *self);
void http_save(struct gr_mod *self, struct gr_bag *bag);
void http_restore(struct gr_mod *self, const struct gr_bag *bag);
void http_event(struct gr_mod *self, const struct gr_event_ev *ev);
/* Of all handlers, into the row. */
void http_counts(struct gr_mod *self, struct gr_cmd *cmd);

/* --- push.c --- */

void push_event(struct gr_mod *self, const struct gr_event_ev *ev);
/* Is there room for another one of that share? An account has its part of push_max_pending, which it
 * may have in common with others: an app server that does not answer keeps few from theirs. */
uint8_t pending_share(const struct gr_jid *user);
bool pending_room(struct gr_mod *self, uint8_t share);
void pending_add(struct pusher *p, uint8_t share, int n);
void push_stop(struct gr_mod *self);

/* --- told.c --- */

/* Names a message among those of an account; 0: cannot. */
uint64_t told_mark(const struct gr_jid *from, const struct gr_stanza *st);
/* Notes that the device with that key is told; true: it was before. */
bool told_before(struct gr_mod *self, const struct gr_jid *user, uint64_t mark, const char *key,
                 size_t key_len);
/* It comes from the offline store: all were told when it went there. */
void told_note_kept(struct gr_mod *self, const struct gr_jid *user, uint64_t mark);
bool told_is_kept(struct gr_mod *self, const struct gr_jid *user, uint64_t mark);
/* Is it one more unread message? Once. */
bool told_count(struct gr_mod *self, const struct gr_jid *user, uint64_t mark);
extern const struct gr_slot told_slot;

/* --- publish.c --- */

/* What a notification says; borrowed. */
struct summary {
    const struct gr_jid *user;
    const char *sender, *body;       /* "": is not told */
    uint64_t count;
};
/* A row of DEVICES; borrowed, terminated texts. */
struct device {
    char *service, *node, *resource, *options;
    int64_t since_us;
    uint32_t errors;                 /* refusals in a row */
};
void publish(struct gr_mod *self, const struct device *d, const struct summary *s);

/* --- enable.c --- */

void on_enable(struct gr_mod *self, struct gr_iq_ev *ev);
void on_disable(struct gr_mod *self, struct gr_iq_ev *ev);

/* --- devices.c --- */

/* False: the row is damaged. device_fini frees the texts. */
bool device_read(const struct gr_row *row, struct device *out);
void device_fini(struct device *d);
void device_write(struct gr_txn *t, const char *owner, const struct device *d);
/* What became of a notification for a device. One that has refused once too often in a row, or is
 * gone, is forgotten. */
enum outcome { ACCEPTED, REFUSED, GONE };
struct notified {
    int64_t since_us;            /* the registration: another one with that key is not meant */
    uint8_t share;
    size_t key_len;
    char *key;                   /* behind the owner */
    char owner[];
};
void device_told(struct gr_mod *self, const struct notified *t, enum outcome outcome);
/* The key of a device; free it. */
char *device_key(const char *service, const char *node, size_t *len);

/* Of an account: it was removed, and its last sessions live a moment longer. */
extern const struct gr_slot owner_slot;
bool is_removed(struct gr_mod *self, const struct gr_jid *jid);
void on_register(struct gr_mod *self, struct gr_user_ev *ev);

enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_personal_data(struct gr_mod *self, struct gr_export_ev *ev);
void on_list(struct gr_mod *self, struct gr_cmd *cmd);
