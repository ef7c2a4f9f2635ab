/* mod_sessiondb/sessiondb.h: what the files of the module share.
 *
 * Two rows per bound session: in `sessiondb` (owner: bare JID, key: resource) what there is to
 * know; in `sessiondb_index` (owner: server id, key: bare JID, resource) only that it is there, so
 * that a server's rows are found, whatever their hosts. Both are written and deleted together. */
#pragma once

#include <grapnel/module.h>

/* A row. Strings point into what it was decoded from. */
struct row {
    bool available;
    int priority;
    uint64_t session;            /* gr_session_id, of that server's process */
    int64_t login_us, updated_us;
    const char *server;          /* id of the server that holds the session */
    const char *xml;             /* last presence; xml_len 0: none */
    size_t xml_len;
};

/* Of a session: the provider's instance. */
struct inst {
    struct inst *next;
    struct gr_jid *full;             /* the row that it wrote; NULL: none */
    uint64_t session;
    int64_t login_us;
    bool replaced;                   /* a later one has written that row */
    bool indexed;                    /* the index tells of it */
    struct inst *dirty_next, **dirty_at; /* dirty_at NULL: nothing waits to be written */
};

#define BUCKETS 1024
struct sessiondb {
    struct inst *bucket[BUCKETS];    /* those with a row, by address */
    struct inst *dirty;              /* whose presence is to be written */
    unsigned dirty_count;
    struct gr_timer later;
};

extern const struct gr_coll sessiondb_colls[3];
#define ROWS (&sessiondb_colls[0])
#define INDEX (&sessiondb_colls[1])

/* row.c. The bytes are the caller's (gr_free); decode: 0 or GR_EINVAL. */
void *row_encode(const struct row *r, size_t *len);
int row_decode(const void *val, size_t len, struct row *r);
void *index_key(const struct gr_jid *full, size_t *len);
/* The address in an index key; NULL: it is damaged. */
struct gr_jid *index_jid(const struct gr_row *row);
/* Adds the row, or its entry in the index, to a transaction / takes both away. `fresh`: fails when
 * there is one already. */
void row_put(struct gr_txn *t, const struct gr_jid *full, const struct row *r, bool fresh);
void index_put(struct gr_txn *t, const struct gr_jid *full, const struct row *r);
void row_del(struct gr_txn *t, const struct gr_jid *full, const char *server);

/* mod_sessiondb.c */
struct row row_of(const struct inst *inst);

/* lazy.c: the presence of a session is written within a second / now, as of every session on this
 * loop that waits for it / not at all. */
void presence_later(struct gr_mod *self, struct inst *inst);
void presence_flush(struct gr_mod *self);
void presence_cancel(struct gr_mod *self, struct inst *inst);

/* read.c: answers: of sessions here from the session table, of other servers' from their rows */
void get_presence(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *full);
void get_resource(struct gr_mod *self, void *inst, struct gr_ask *ask, const struct gr_jid *full);
void get_all_presences(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user);
void get_all_resources(struct gr_mod *self, void *inst, struct gr_ask *ask,
                       const struct gr_jid *user);

extern const struct gr_command sessiondb_commands[]; /* commands.c */

/* purge.c: what a server that died has left */
enum gr_verdict on_node_cleanup(struct gr_mod *self, struct gr_domain_ev *ev);
