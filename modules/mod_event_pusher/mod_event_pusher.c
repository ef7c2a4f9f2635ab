/* mod_event_pusher: tells the outside what happens: web servers (http.c) and devices (push.c).
 *
 * This file: hooks become events. Other modules are told by the hook push_event; unless one of them
 * stops it, so are the back ends of this one. What these do goes on in the background, and no
 * message ever waits for them. */
#include "pusher.h"

#include <string.h>

static const struct gr_opt options[] = {
    GR_OPT_LIST(struct pusher_conf, http_handlers, "",
                "URLs that are told, each followed by what of: sent, received, unacked, online, "
                "offline, chat, groupchat, normal", .secret = true),
    GR_OPT_STR(struct pusher_conf, http_authorization, "", "sent as the header Authorization",
               .secret = true),
    GR_OPT_STR(struct pusher_conf, http_ca_file, "",
               "certificates (PEM) that are trusted instead of the system's"),
    GR_OPT_INT(struct pusher_conf, http_pool, 10, 1, 100,
               "requests of a handler under way at a time, per loop"),
    GR_OPT_INT(struct pusher_conf, http_queue, 1000, 1, 100000,
               "events that wait for a handler, per loop; the oldest one makes room"),
    GR_OPT_SIZE(struct pusher_conf, http_queue_size, 4 * GR_MIB, 64 * GR_KIB, GR_GIB,
                "bytes of these"),
    GR_OPT_DURATION(struct pusher_conf, http_timeout, 5 * GR_SECOND, GR_SECOND, 5 * GR_MINUTE,
                    "how long a web server may take"),
    GR_OPT_BOOL(struct pusher_conf, push, true, "notify devices (XEP-0357)"),
    GR_OPT_INT(struct pusher_conf, push_max_devices, 5, 1, DEVICES_MAX,
               "devices per account; the one that was enabled first makes room"),
    GR_OPT_INT(struct pusher_conf, push_max_errors, 16, 1, 1000,
               "refused notifications in a row after which a device is forgotten"),
    GR_OPT_INT(struct pusher_conf, push_max_pending, 1000, 1, 100000,
               "notifications under way, per loop; further messages are not pushed"),
    GR_OPT_DURATION(struct pusher_conf, push_timeout, 30 * GR_SECOND, GR_SECOND, 5 * GR_MINUTE,
                    "how long an app server may take to answer"),
    GR_OPT_BOOL(struct pusher_conf, push_with_sender, false, "tell who has written"),
    GR_OPT_BOOL(struct pusher_conf, push_with_body, false, "tell what was written"),
    GR_OPT_STR(struct pusher_conf, push_text, "New message",
               "told instead of what was written; empty: nothing"),
    GR_OPT_LIST(struct pusher_conf, push_virtual_hosts, "",
                "app servers that a module answers for (push_notifications)"),
    GR_OPT_END
};

const struct gr_coll collections[] = {
    GR_MAP("event_pusher.devices"), GR_MAP("event_pusher.unread"), GR_COLL_END
};

const char *const event_name[] = {
    [GR_EVENT_SENT] = "sent", [GR_EVENT_RECEIVED] = "received", [GR_EVENT_UNACKED] = "unacked",
    [GR_EVENT_ONLINE] = "online", [GR_EVENT_OFFLINE] = "offline"
};

const char *body_of(const struct gr_stanza *st)
{
    const struct gr_el *body = gr_stanza_child(st, GR_NS_CLIENT, "body");

    return body != NULL ? gr_el_text(body, NULL) : "";
}

/* --- hooks become events --- */

static void on_told(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    const struct gr_event_ev *event = GR_CONTAINER_OF(ev, struct gr_event_ev, ev);

    if (verdict == GR_STOP)
        return;
    http_event(self, event);
    push_event(self, event);
}

static void tell(struct gr_mod *self, enum gr_event event, const struct gr_jid *from,
                 const struct gr_stanza_ev *about)
{
    struct gr_event_ev ev = { .event = event, .from = from };

    if (about != NULL) {
        ev.ev.acc = about->ev.acc;
        ev.to = about->to;
        ev.stanza = about->stanza;
    }
    gr_hook_run(self, GR_HOOK_push_event, &ev.ev, on_told);
}

/* Kept and only now delivered: of it an event was made when it came (XEP-0203: the delay is the host's
 * own). */
static bool was_kept(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    const struct gr_el *delay;
    const char *from;

    if (ev->ev.acc == NULL || gr_acc_origin(ev->ev.acc) != GR_FROM_SERVER)
        return false;
    delay = gr_stanza_child(ev->stanza, GR_NS_DELAY, "delay");
    from = delay != NULL ? gr_el_attr(delay, "from") : NULL;
    return from != NULL && strcmp(from, gr_mod_host_jid(self)->full) == 0;
}

/* Of which events are made. */
static bool is_message(const struct gr_stanza_ev *ev)
{
    enum gr_type type = gr_stanza_type(ev->stanza);

    return gr_stanza_kind(ev->stanza) == GR_MESSAGE && type != GR_TYPE_ERROR &&
           type != GR_MSG_HEADLINE;
}

static enum gr_verdict on_send(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    if (is_message(ev) && !was_kept(self, ev))
        tell(self, GR_EVENT_SENT, ev->from, ev);
    return GR_OK;
}

static enum gr_verdict on_receive(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    if (ev->to->node == NULL || !is_message(ev))
        return GR_OK;
    if (was_kept(self, ev))
        told_note_kept(self, ev->to, told_mark(ev->from, ev->stanza));
    else
        tell(self, GR_EVENT_RECEIVED, ev->from, ev);
    return GR_OK;
}

static enum gr_verdict on_unacked(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_stanza_ev to_session = *ev;

    if (ev->session != NULL)
        to_session.to = gr_session_jid(ev->session);
    if (is_message(ev))
        tell(self, GR_EVENT_UNACKED, ev->from, &to_session);
    return GR_OK;
}

static enum gr_verdict on_available(struct gr_mod *self, struct gr_session_ev *ev)
{
    tell(self, GR_EVENT_ONLINE, ev->jid, NULL);
    return GR_OK;
}

static enum gr_verdict on_unavailable(struct gr_mod *self, struct gr_session_ev *ev)
{
    tell(self, GR_EVENT_OFFLINE, ev->jid, NULL);
    return GR_OK;
}

/* XEP-0357, 4.1; hooks.md 4.9: who may not see the account gets the answer of one that does not
 * exist. */
static enum gr_verdict on_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct pusher_conf *conf = gr_conf(self);

    if (conf->push && ev->subscribed && (ev->node == NULL || ev->node[0] == '\0'))
        gr_disco_feature(ev, NS_PUSH);
    return GR_OK;
}

/* --- what was done --- */

static void on_counts(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct pusher *p = gr_state(self);

    gr_cmd_row(cmd);
    http_counts(self, cmd);
    gr_cmd_number(cmd, "push_sent", (int64_t)p->pushed);
    gr_cmd_number(cmd, "push_refused", (int64_t)p->refused);
    gr_cmd_number(cmd, "push_unanswered", (int64_t)p->unanswered);
    gr_cmd_number(cmd, "push_dropped", (int64_t)p->dropped);
    gr_cmd_number(cmd, "push_waiting", p->pending);
    gr_cmd_done(cmd);
}

static const struct gr_arg of_host[] = { GR_ARG(host, JID, "a domain"), GR_ARG_END };
static const struct gr_arg of_account[] = { GR_ARG(jid, JID, "an account"), GR_ARG_END };
static const struct gr_command commands[] = {
    { "event_pusher counts", "events told, not told and waiting, since the module was loaded",
      of_host, GR_RUN_ALL, on_counts },
    { "event_pusher devices", "devices that an account has enabled", of_account, GR_RUN_HOME,
      on_list },
    GR_COMMAND_END
};

/* --- the module --- */

static int check(const void *conf, const char **why)
{
    return http_check(conf, why);
}

static int start(struct gr_mod *self, const char **why)
{
    return http_start(self, why);
}

static void stop(struct gr_mod *self)
{
    http_stop(self);
    push_stop(self);
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_LATE, on_send),
    GR_ON(filter_local_packet, 80, on_receive),
    GR_ON(unacknowledged_message, GR_PRIO_LATE, on_unacked),
    GR_ON(user_available, GR_PRIO_LATE, on_available),
    GR_ON(unset_presence, GR_PRIO_LATE, on_unavailable),
    GR_ON(disco_sm_features, GR_PRIO_NORMAL, on_features),
    GR_ON(register_user, GR_PRIO_NORMAL, on_register),
    GR_ON(remove_user, GR_PRIO_LATE, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_LATE, on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_personal_data),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN | GR_UNLISTED, NS_PUSH, "enable", on_enable),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN | GR_UNLISTED, NS_PUSH, "disable", on_disable),
    GR_IQ_END
};

GR_MODULE(event_pusher,
    .summary = "tells web servers and devices what happens (XEP-0357)",
    .conf_size = sizeof(struct pusher_conf), .state_size = sizeof(struct pusher),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = collections,
    .commands = commands, .slots = (const struct gr_slot *const[]){ &owner_slot, &told_slot, NULL },
    .check = check, .start = start, .stop = stop, .save = http_save, .restore = http_restore);
