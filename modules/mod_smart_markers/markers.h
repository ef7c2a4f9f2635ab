/* mod_smart_markers/markers.h: what the parts of mod_smart_markers share.
 *
 * A marker is a row of its sender: thread, partner, type -> time and message id; the last one wins.
 * One for a room is also a row of the room: thread, sender, type. Rows of a sender are written on
 * its home loop, those of a room by the senders' loops: never the same row by two of them, but when
 * the room or one of its members goes. */
#pragma once

#include <grapnel/module.h>

#include "../chat_marker.h"

#define NS_SMART "esl:xmpp:smart-markers:0"

struct markers_conf {
    bool keep_private;
    int64_t limit;
};

extern const struct gr_coll collections[];
#define MARKERS (&collections[0])

struct marker {
    const char *thread;     /* "": the main one */
    const char *with;       /* bare JID */
    enum marker_type type;
    int64_t time_us;
    bool room;
    const char *id;         /* of the message */
};

/* --- rows.c --- */

/* So that nobody keeps much in a row: thread and address together, message id. Markers that do not fit
 * are not kept. */
enum { KEY_MAX = 440, ID_MAX = 256, PAGE = 200 };

struct key {
    size_t len;
    char text[KEY_MAX];
};
/* The key of a marker. MARKER_NONE leaves the type out, `with` NULL the partner: what all keys of the
 * pair, or of the thread, begin with. False: too long. */
bool key_make(struct key *out, const char *thread, const char *with, enum marker_type type);
/* 0 or GR_EINVAL. The texts are in *hold, which the caller frees. */
int marker_read(struct marker *out, const struct gr_row *row, char **hold);
/* The value of a row; its length, 0: the id is too long. */
#define ROW_MAX (10 + ID_MAX)
size_t marker_write(const struct marker *m, uint8_t *buf, size_t size);
/* A page of all rows of an owner: those behind `last` (NULL: from the first one). */
void read_behind(struct gr_req *take, const char *owner, const struct gr_row *last);

/* --- keep.c --- */

extern const struct gr_slot *const slots[];

/* Takes the receipt, and gives it back when the marker is on disk. */
void keep_marker(struct gr_mod *self, const struct gr_jid *owner, const struct marker *m,
                 struct gr_receipt *take);
void on_register(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict on_forget_room(struct gr_mod *self, struct gr_room_ev *ev);
enum gr_verdict on_affiliations(struct gr_mod *self, struct gr_room_ev *ev);

/* --- query.c --- */

void on_query(struct gr_mod *self, struct gr_iq_ev *ev);
struct gr_el *add_marker(struct gr_stanza *st, struct gr_el *parent, const struct marker *m,
                         const char *from);
enum gr_verdict on_export(struct gr_mod *self, struct gr_export_ev *ev);
