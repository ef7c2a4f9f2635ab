/* mod_dice: <dice xmlns='urn:example:dice'/> rolls a die. What comes up passes a hook of its own,
 * which other modules handle (dice.h; mod_loaded is one). */
#include "dice.h"

#define NS "urn:example:dice"

struct roll { struct dice_ev e; struct gr_iq_req *req; };

static void rolled(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct roll *roll = (struct roll *)ev; /* ev is its first member */
    struct gr_stanza *result;

    (void)self;
    if (verdict == GR_STOP) {
        gr_iq_reply_error(roll->req, GR_NOT_ALLOWED, "no dice");
    } else {
        result = gr_iq_result(gr_iq_req_stanza(roll->req));
        gr_el_set_int(result, gr_el_add(result, NULL, NS, "dice"), "eyes", roll->e.eyes);
        gr_iq_reply(roll->req, result);
    }
    gr_free(roll);
}

/* A handler may wait (GR_PENDING), so the event must outlive this function. */
static void on_roll(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct roll *roll = gr_alloc(sizeof(*roll));
    unsigned char byte;

    gr_random(&byte, 1);
    roll->req = ev->req;
    roll->e.who = gr_iq_req_from(ev->req); /* lives as long as the request */
    roll->e.eyes = byte % 6 + 1;
    gr_hook_run_custom(self, DICE_ROLLED, &roll->e.ev, rolled);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, NS, "dice", on_roll),
    GR_IQ_END
};

GR_MODULE(dice, .summary = "rolls dice", .iqs = iqs);
