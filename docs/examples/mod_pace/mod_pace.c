/* mod_pace: at most so many messages of a session in a time; what is more is sent back. */
#include <grapnel/module.h>

struct pace_conf { int64_t messages, time; };
struct pace { int64_t since; int64_t count; }; /* of the time that runs */

static const struct gr_opt options[] = {
    GR_OPT_INT(struct pace_conf, messages, 10, 1, 100000, "messages of a session in this time"),
    GR_OPT_DURATION(struct pace_conf, time, 10 * GR_SECOND, GR_SECOND, GR_DAY, "the time"),
    GR_OPT_END
};

/* A slot is memory per session: zeroed at its first use, gone with the session. */
static const struct gr_slot pace_slot = GR_SLOT(struct pace, 1, NULL);
static const struct gr_slot *const slots[] = { &pace_slot, NULL };

static bool allowed(struct gr_mod *self, struct pace *pace)
{
    const struct pace_conf *conf = gr_conf(self);
    int64_t now = gr_now_ms();

    if (pace->count == 0 || now - pace->since >= conf->time) {
        pace->since = now;
        pace->count = 0;
    }
    if (pace->count >= conf->messages)
        return false;
    pace->count++;
    return true;
}

/* policy-violation is of type "modify" unless something else fits better, as here "wait": the same
 * message may be sent again later (RFC 6120, 8.3.3.12). */
static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_stanza *error;

    if (allowed(self, gr_session_slot(self, ev->session, &pace_slot)))
        return GR_OK;
    error = gr_error_reply_type(ev->stanza, GR_POLICY_VIOLATION, "wait", "not so fast");
    if (error != NULL) /* there is none for an error */
        gr_ev_request_write(&ev->ev, error);
    return GR_STOP;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_SECURITY, on_message),
    GR_HOOK_END
};

GR_MODULE(pace, .summary = "limits messages per session", .options = options,
          .conf_size = sizeof(struct pace_conf), .hooks = hooks, .slots = slots);
