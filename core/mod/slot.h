/* mod/slot.h: modules' data in sessions and accounts. Embedded; of the object's loop. */
#pragma once

#include <grapnel/module.h>

struct slots {
    struct slot_data *first;
    struct slot_data *keeper;    /* of a session: whose module answers for its stanzas; may be NULL */
};
struct gr_host;
void *slots_get(struct slots *s, struct gr_mod *self, const struct gr_slot *slot); /* creates */
void *slots_peek(const struct slots *s, const struct gr_mod *self, const struct gr_slot *slot);
/* The piece of `slot`, which is there, becomes the keeper; with whom to call for it. */
void slots_keep(struct slots *s, struct gr_mod *self, const struct gr_slot *slot);
/* The keeper goes and nobody takes its place: for route, which sets it. */
extern void (*slots_keeper_gone)(struct slots *holder);
const struct gr_keeper *slots_keeper(const struct slots *s, struct gr_mod **self);
/* Data with `persist` / gets it back, into a new slot, where module, name and version fit. */
void slots_each_lasting(const struct slots *s,
                        void (*f)(void *ctx, const char *module, const struct gr_slot *slot,
                                  const void *data),
                        void *ctx);
void slots_revive(struct gr_host *host, struct slots *s, struct gr_session *session,
                  const char *module, const char *name, unsigned version, const void *bytes,
                  size_t len);
/* Releases everything, with the code that is in force for each. */
void slots_fini(struct slots *s);
/* A session moves to its home loop. Detach on the old loop; attach on the new one, where the same
 * modules of `host` take the data over (without them it is released). The struct may be copied in
 * between. */
void slots_detach(struct slots *s);
void slots_attach(struct slots *s, struct gr_host *host);
/* All data of `old`, wherever it is: the same as slots_reload for every live object. */
void slots_reload_all(struct gr_mod *old, struct gr_mod *now);
/* Tells the code of `now` what it has taken over; when it is in force. */
void slots_tell_moved(struct gr_mod *now);
/* Reload: data of `old` goes over to `now` where (name, version) match, else the old code releases
 * it. now NULL: the module is gone. Called by route for each live object of the loop. */
void slots_reload(struct slots *s, struct gr_mod *old, struct gr_mod *now);
