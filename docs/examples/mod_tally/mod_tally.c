/* mod_tally: counts messages per session and on the whole, over reloads. Both numbers survive: the
 * session's because slots stay, the total because save and restore carry it. */
#include <grapnel/module.h>

#define NS "urn:example:tally"

struct tally { uint64_t total; };           /* per host and loop */
struct session_tally { uint64_t messages; };

/* Raise the 1 when the struct's meaning changes: then sessions start from zero. */
static const struct gr_slot tally_slot = GR_SLOT(struct session_tally, 1, NULL);
static const struct gr_slot *const slots[] = { &tally_slot, NULL };

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct tally *state = gr_state(self);
    struct session_tally *mine = gr_session_slot(self, ev->session, &tally_slot);

    state->total++;
    mine->messages++;
    return GR_OK;
}

/* ev->session is NULL when the asking session does not live on this server. */
static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct tally *state = gr_state(self);
    const struct session_tally *mine =
        ev->session != NULL ? gr_session_slot_peek(self, ev->session, &tally_slot) : NULL;
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *el = gr_el_add(result, NULL, NS, "tally");

    gr_el_setf(result, el, "total", "%llu", (unsigned long long)state->total);
    gr_el_setf(result, el, "mine", "%llu", mine != NULL ? (unsigned long long)mine->messages : 0);
    gr_iq_reply(ev->req, result);
}

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    const struct tally *state = gr_state(self);

    gr_bag_put_u64(bag, "total", state->total);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    struct tally *state = gr_state(self);

    state->total = gr_bag_u64(bag, "total", 0);
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_LATE, on_message),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS, "tally", on_query),
    GR_IQ_END
};

GR_MODULE(tally, .summary = "counts messages", .state_size = sizeof(struct tally), .hooks = hooks,
          .iqs = iqs, .slots = slots, .save = save, .restore = restore);
