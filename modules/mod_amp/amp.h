/* mod_amp/amp.h: what the files of the module share.
 *
 *   rules.c    rules: are they supported, do they match, what the sender is told
 *   expire.c   those about the time of delivery, for messages that are stored
 *   mod_amp.c  messages as they arrive, what would happen to them, discovery */
#pragma once

#include <grapnel/module.h>

#define NS_AMP "http://jabber.org/protocol/amp"
#define NS_ERRORS "http://jabber.org/protocol/amp#errors"

/* --- rules.c --- */

struct gr_el *amp_of(const struct gr_stanza *st); /* NULL: none */
extern const char *const actions[]; /* NULL at the end */
enum gr_verdict on_verify(struct gr_mod *self, struct gr_amp_ev *ev);
enum gr_verdict on_condition(struct gr_mod *self, struct gr_amp_ev *ev);
struct gr_amp_ev event_of(const struct gr_el *rule);
bool is_known(const char *condition);
/* False: the rules are not supported; the sender has been told. */
bool verify(struct gr_mod *self, const struct gr_stanza_ev *from);
/* Under `rules`, the first that matches: what it says is done. True: the message goes on. */
bool judge(struct gr_mod *self, const struct gr_stanza *st, const struct gr_el *rules,
           const char *deliver, const char *match);
void add_rule(struct gr_stanza *to, struct gr_el *parent, const struct gr_el *rule);
/* An error whose condition `specific` names a rule. */
void refuse(struct gr_mod *self, const struct gr_stanza *st, const struct gr_el *rule,
            enum gr_cond cond, const char *ns, const char *specific);

/* --- expire.c --- */

bool is_time(const char *value, int64_t *us);
/* The rules of `before` that are about time go with the message, wherever it is stored. */
void note_expiry(const struct gr_ev *ev, const struct gr_stanza *before);
enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev);
enum gr_verdict on_stored(struct gr_mod *self, struct gr_stanza_ev *ev);
