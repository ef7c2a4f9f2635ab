/* mod_announce/announce.h: what the files of mod_announce share. */
#pragma once

#include <grapnel/module.h>

struct announce_conf {
    int64_t rate;
};

/* What is announced; strings of the round's or the row's. */
struct words {
    const char *subject, *text; /* subject NULL: none */
};

/* send.c: rounds: announcements under way on this loop, a few accounts at a time. */
struct giving;
struct announce {
    struct giving *givings;     /* motd.c: accounts that are being looked up */
    struct round *rounds;
    unsigned count, sent_id;
};
#define ROUNDS_MAX 8
/* Each sends at its pace and ends the command with a row. To every session that is available / to every
 * account of the host / the message of the day to who is online and has not seen it. */
void send_online(struct gr_mod *self, struct gr_cmd *cmd, const struct words *w);
void send_all(struct gr_mod *self, struct gr_cmd *cmd, const struct words *w);
void send_motd(struct gr_mod *self, struct gr_cmd *cmd);
void sends_stop(struct gr_mod *self);
struct gr_stanza *announcement(struct gr_mod *self, enum gr_type type, const struct gr_jid *to,
                               const struct words *w);

/* motd.c */
extern const struct gr_coll announce_collections[];
/* Sends it to an account of this loop that has not seen it. */
void motd_give(struct gr_mod *self, const struct gr_jid *jid);
void motd_set(struct gr_mod *self, struct gr_cmd *cmd, const struct words *w, bool now);
void motd_delete(struct gr_mod *self, struct gr_cmd *cmd);
void motd_show(struct gr_mod *self, struct gr_cmd *cmd);
enum gr_verdict motd_on_remove(struct gr_mod *self, struct gr_user_ev *ev);
enum gr_verdict motd_on_export(struct gr_mod *self, struct gr_export_ev *ev);
void motd_on_register(struct gr_mod *self, struct gr_user_ev *ev);
