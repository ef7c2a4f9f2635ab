/* mod_mam/mam.h: what the files of the module share.
 *
 *   keep.c     which messages are kept, for whom, and what the delivered one is told of it
 *   query.c, ask.c, result.c, metadata.c  the queries of clients, and the answers
 *   prefs.c    whom to keep (XEP-0441)
 *   mod_mam.c  the descriptor, discovery
 * These four run the mam_ hooks, and know of the archive what those tell. The others answer them
 * (priority 50), for any owner:
 *   archive.c  what is known of an archive while it is in use      row.c  rows as bytes
 *   write.c    a message is put down      lookup.c, pages.c  finding      sweep.c  old ones go
 *   contact.c  ... of one contact      retract.c  tombstones
 *   leave.c, copy.c  an account goes, or wants a copy of everything
 *
 * The rows of an archive are a log, of which only the oldest are deleted: positions and counts are
 * subtractions of their numbers, and as the time in the rows rises strictly, a message is found by
 * its id or time in some twenty steps (lookup.c). In which parts of the log there are some of one
 * contact tells a map beside it, which is written when the first one comes into such a part.
 *
 * Everything runs on the home loop of the archive's owner: nobody else touches it. */
#pragma once

#include <grapnel/module.h>

#define NS_MAM "urn:xmpp:mam:2"
#define NS_SID "urn:xmpp:sid:0"
#define NS_HINTS "urn:xmpp:hints"
#define NS_RETRACT "urn:xmpp:message-retract:1"

struct mam_conf {
    unsigned archive_policy; /* enum gr_mam_when */
    bool chat_markers, message_retraction, user_prefs;
    int64_t size_limit, expire_after; /* bytes, milliseconds; 0: none */
    int64_t page_size, max_page_size;
};

extern const struct gr_coll collections[];
#define MESSAGES (&collections[0]) /* a log */
#define CONTACTS (&collections[1]) /* contact_key, without a value */
#define PREFS (&collections[2])    /* PREFS_KEY -> preferences */
#define PREFS_KEY ""

enum { ARCHIVE_BUCKETS = 4096, ARCHIVES_MAX = 16384 };
struct mam { /* the state of an instance */
    struct archive *bucket[ARCHIVE_BUCKETS];
    struct archive *newest, *oldest; /* by their latest use */
    size_t archives;
    unsigned writing;                /* messages on their way to the disk */
    uint64_t flushed;                /* ... that have arrived, since mam_flush_messages was run */
    struct written *written;         /* they */
    struct sync *syncs;              /* who waits for all of them */
    struct query *queries;           /* that are being answered */
    struct gr_timer round;           /* of sweep.c */
    char *round_at;                  /* the next account of the round, NULL: the first */
};

/* --- mod_mam.c --- */

/* Accounts that were removed while a session of theirs lives a moment longer (removed.h). */
bool is_removed(struct gr_mod *self, const struct gr_jid *owner);
void note_removed(struct gr_mod *self, const struct gr_jid *owner);

/* --- row.c --- */

/* A message as it is kept. Texts are not terminated, and lie in what they were read from. */
struct row {
    uint64_t us;               /* when; no two of an archive have the same */
    uint32_t salt;             /* makes the id unpredictable (XEP-0313, 3) */
    bool outgoing, tombstone;
    const char *peer;          /* the other side's full address */
    const char *name;          /* id of the stanza; len 0: none */
    const char *xml;
    size_t peer_len, name_len, xml_len;
};
enum { ROW_HEAD = 18 };
size_t row_size(const struct row *r);
void row_put(uint8_t *out, const struct row *r);
/* 0, or GR_EIO: damaged. */
int row_get(struct row *out, const struct gr_row *from);
/* Is it from or to that address? A bare one stands for all of its resources. */
bool row_is_of(const struct row *r, const struct gr_jid *jid);

/* The id of a message: time and salt. */
enum { MAM_ID_SIZE = 25 };
void id_put(char out[MAM_ID_SIZE], uint64_t us, uint32_t salt);
int id_get(const char *text, uint64_t *us, uint32_t *salt); /* 0 or GR_ENOENT */

void put_u64(uint8_t *out, uint64_t v);
uint64_t get_u64(const uint8_t *in);
/* A contact as a number (two may have the same), and with a part of the log: BLOCK numbers. */
enum { CONTACT_KEY = 16, BLOCK = 16 };
uint64_t contact_number(const char *bare, size_t len);
void contact_key(uint8_t out[CONTACT_KEY], uint64_t contact, uint64_t block);
/* Of an address: without the resource. */
size_t bare_len(const char *jid, size_t len);

/* --- archive.c --- */

struct prefs {
    int mode;                   /* enum gr_mam_when; -1: none were set */
    const struct gr_jid **always, **never; /* NULL-terminated, or NULL */
};
struct waiting;
struct archive {
    struct archive *next;       /* in its bucket */
    struct archive *newer, *older;
    struct gr_jid *owner;
    uint64_t number;            /* the archive's id in hooks: stays the same */
    bool ready, gone;           /* gone: out of the table, freed when nobody has to do with it */
    bool absent;                /* there is no such account */
    bool stale;                 /* a write failed: what follows is not right any more */
    int64_t read_ms;            /* when it was read */
    unsigned pins;
    struct waiting *waiting;
    struct prefs prefs;
    uint64_t first_us, last_us; /* of the oldest row (0: none), the latest */
    uint64_t last_seq, bytes;   /* last_seq: what the latest row will have */
    uint64_t block;             /* whose contacts are known: */
    uint64_t contact[BLOCK];    /* as numbers */
    unsigned contacts;
    bool sweeping;
    unsigned retracting;        /* retractions that are being looked for */
    char id[MAM_ID_SIZE];       /* of the latest row */
};

/* Runs f with the archive of ev->owner in memory, now or, holding the chain, later; what f returns
 * is the verdict. When it cannot be read ev->rc is set and f is not run. */
typedef enum gr_verdict (*archive_f)(struct gr_mod *self, struct gr_mam_ev *ev,
                                     struct archive *a);
enum gr_verdict with_archive(struct gr_mod *self, struct gr_mam_ev *ev, archive_f f);
/* Only when it is in memory. */
struct archive *archive_find(struct gr_mod *self, const struct gr_jid *owner);
/* Reads it; f(NULL) when that fails. May answer before it returns. */
/* ctx: NULL, or gr_alloc'ed memory, freed at a shutdown in between. */
typedef void (*archive_loaded_f)(struct gr_mod *self, struct archive *a, int rc, void *ctx);
void archive_load(struct gr_mod *self, const struct gr_jid *owner, archive_loaded_f f, void *ctx);
void archive_unpin(struct gr_mod *self, struct archive *a);
/* What is known is not true any more: the next one reads it anew. */
void archive_forget(struct gr_mod *self, const struct gr_jid *owner);
void archives_forget(struct mam *m); /* the same for all */
void archives_free(struct mam *m);
enum gr_verdict on_archive_id(struct gr_mod *self, struct gr_mam_ev *ev);

/* --- prefs.c --- */

int prefs_read(struct prefs *out, const void *val, size_t len);
void prefs_free(struct prefs *p);
enum gr_verdict on_get_behaviour(struct gr_mod *self, struct gr_mam_ev *ev);
enum gr_verdict on_get_prefs(struct gr_mod *self, struct gr_mam_ev *ev);
enum gr_verdict on_set_prefs(struct gr_mod *self, struct gr_mam_ev *ev);
void on_prefs_iq(struct gr_mod *self, struct gr_iq_ev *ev);

/* --- keep.c --- */

enum gr_verdict on_sent(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_received(struct gr_mod *self, struct gr_stanza_ev *ev);

/* --- write.c --- */

enum gr_verdict on_archive_message(struct gr_mod *self, struct gr_mam_ev *ev);
enum gr_verdict on_archive_sync(struct gr_mod *self, struct gr_mam_ev *ev);
void writes_forget(struct mam *m); /* at shutdown: nothing completes any more */

/* --- retract.c --- */

/* The message that was just written may take back an earlier one (XEP-0424). */
void retract(struct gr_mod *self, const struct gr_mam_ev *ev, struct archive *a);

/* --- lookup.c --- */

enum gr_verdict on_lookup(struct gr_mod *self, struct gr_mam_ev *ev);
enum gr_verdict on_size(struct gr_mod *self, struct gr_mam_ev *ev);

/* --- query.c, result.c --- */

void on_query(struct gr_mod *self, struct gr_iq_ev *ev);
void on_metadata(struct gr_mod *self, struct gr_iq_ev *ev);

/* --- metadata.c --- */

/* Of the first row (before: NULL), then of the last one (""). */
struct gr_mam_query metadata_query(const char *before,
                                   void (*row)(struct gr_mam_query *q, const struct gr_mam_row *row));
/* What is found: into the first of both that is still NULL, else into the second; owned. */
void metadata_row(const struct gr_mam_row *row, char **first, char **last);
/* Below `at` (NULL: the root). Writes into the two texts. */
void metadata_put(struct gr_stanza *st, struct gr_el *at, char *first, char *last);
enum gr_verdict on_bind2(struct gr_mod *self, struct gr_inline_ev *ev);
void queries_free(struct mam *m);
/* How each <result/> begins, for result_text; NULL: no queryid. The caller frees both. */
char *result_head(const char *queryid);
/* The <result/> for a row, NULL: the row makes no sense (logged). And the message with it. */
char *result_text(const char *head, const struct gr_mam_row *row, size_t *len);
struct gr_stanza *result_new(const char *head, const struct gr_jid *from, const struct gr_jid *to,
                             const struct gr_mam_row *row);

/* --- sweep.c --- */

/* Deletes what is too old or too much, a little at a time. */
void sweep(struct gr_mod *self, struct archive *a);
void sweep_rounds(struct gr_mod *self); /* and in all archives, once a day */

/* --- leave.c --- */

enum gr_verdict on_remove_user(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_remove_domain(struct gr_mod *self, struct gr_domain_ev *ev);
enum gr_verdict on_remove_archive(struct gr_mod *self, struct gr_mam_ev *ev);

/* --- copy.c --- */

enum gr_verdict on_personal_data(struct gr_mod *self, struct gr_export_ev *ev);
enum gr_verdict on_pm_data(struct gr_mod *self, struct gr_export_ev *ev);
