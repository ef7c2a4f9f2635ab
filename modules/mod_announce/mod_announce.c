/* mod_announce: messages from the admins to everybody: as commands (grapnelctl, mod_adhoc), or as a
 * message to HOST/announce/... */
#include "announce.h"

#include <string.h>

static const struct gr_opt options[] = {
    GR_OPT_INT(struct announce_conf, rate, 2000, 1, 20000,
               "messages per second of an announcement, per loop"),
    GR_OPT_END
};

/* --- commands --- */

static bool about_host(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *domain = gr_cmd_jid(cmd, "domain");

    if (gr_jid_equal(domain, gr_mod_host_jid(self)))
        return true;
    gr_cmd_fail(cmd, "%s is not a domain", domain->full);
    return false;
}

static bool words_of(struct gr_mod *self, struct gr_cmd *cmd, struct words *out)
{
    *out = (struct words){ gr_cmd_text(cmd, "subject"), gr_cmd_text(cmd, "text") };
    return about_host(self, cmd);
}

static void announce_online(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct words w;

    if (words_of(self, cmd, &w))
        send_online(self, cmd, &w);
}

static void announce_all(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct words w;

    if (words_of(self, cmd, &w))
        send_all(self, cmd, &w);
}

static void run_motd_set(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct words w;

    if (words_of(self, cmd, &w))
        motd_set(self, cmd, &w, true);
}

static void run_motd_edit(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct words w;

    if (words_of(self, cmd, &w))
        motd_set(self, cmd, &w, false);
}

static void run_motd_delete(struct gr_mod *self, struct gr_cmd *cmd)
{
    if (about_host(self, cmd))
        motd_delete(self, cmd);
}

static void run_motd_show(struct gr_mod *self, struct gr_cmd *cmd)
{
    if (about_host(self, cmd))
        motd_show(self, cmd);
}

static void run_motd_send(struct gr_mod *self, struct gr_cmd *cmd)
{
    if (about_host(self, cmd))
        send_motd(self, cmd);
}

static const struct gr_arg host[] = { GR_ARG(domain, JID, "a served domain"), GR_ARG_END };
static const struct gr_arg message[] = {
    GR_ARG(domain, JID, "a served domain"),
    GR_ARG(text, TEXT, "what is said"),
    GR_ARG_OPTIONAL(subject, TEXT, "its subject"),
    GR_ARG_END
};
static const struct gr_command commands[] = {
    { "announce online", "a message to everybody who is online", message, GR_RUN_ALL,
      announce_online },
    { "announce all", "a message to every account of a domain", message, GR_RUN_HOME,
      announce_all },
    { "motd set", "set the message of the day and send it to who is online", message, GR_RUN_HOME,
      run_motd_set },
    { "motd edit", "set the message of the day for who comes online from now on", message,
      GR_RUN_HOME, run_motd_edit },
    { "motd delete", "no message of the day any more", host, GR_RUN_HOME, run_motd_delete },
    { "motd show", "the message of the day", host, GR_RUN_HOME, run_motd_show },
    { "motd send", "the message of the day to who is online and has not seen it", host, GR_RUN_ALL,
      run_motd_send },
    GR_COMMAND_END
};

/* --- messages to HOST/announce/... --- */

static const struct door {
    const char *resource;
    const char *word[2];
    bool text;
} doors[] = {
    { "announce/online", { "announce", "online" }, true },
    { "announce/all", { "announce", "all" }, true },
    { "announce/motd", { "motd", "set" }, true },
    { "announce/motd/update", { "motd", "edit" }, true },
    { "announce/motd/delete", { "motd", "delete" }, false },
};

static const struct door *door_of(const struct gr_jid *to)
{
    for (size_t i = 0; to->resource != NULL && i < GR_COUNT(doors); i++)
        if (strcmp(to->resource, doors[i].resource) == 0)
            return &doors[i];
    return NULL;
}

struct sender { /* hears of what went wrong, from where he wrote to */
    const struct door *door;
    char jid[];
};

static void on_done(struct gr_mod *self, void *data, const char *error,
                    struct gr_cmd_result *result)
{
    const struct sender *s = data;
    struct gr_jid *from = NULL, *to = NULL;
    struct gr_stanza *reply;

    (void)result;
    if (error == NULL)
        return;
    if (gr_jid_with_resource(gr_mod_host_jid(self), s->door->resource, &from) == 0 &&
        gr_jid_parse(s->jid, strlen(s->jid), &to) == 0) {
        reply = gr_message_new(GR_MSG_NORMAL, from, to);
        gr_el_add_text(reply, NULL, NULL, "body", error);
        gr_send(self, reply);
    }
    gr_jid_free(&from);
    gr_jid_free(&to);
}

static const char *text_of(const struct gr_stanza *st, const char *name)
{
    const struct gr_el *el = gr_stanza_child(st, GR_NS_CLIENT, name);

    return el != NULL ? gr_el_text(el, NULL) : "";
}

static void enter(struct gr_mod *self, const struct door *door, const struct gr_stanza_ev *ev)
{
    const char *words[8] = { door->word[0], door->word[1], "--domain",
                             gr_mod_host_jid(self)->domain, "--text", text_of(ev->stanza, "body"),
                             "--subject", text_of(ev->stanza, "subject") };
    size_t size = strlen(ev->from->full) + 1;
    struct sender *s = gr_alloc(sizeof(*s) + size);

    gr_info("announce", "jid=%s to=%s", ev->from->full, ev->to->resource);
    s->door = door;
    memcpy(s->jid, ev->from->full, size);
    gr_command_run(self, words, door->text ? 8 : 4, on_done, s);
}

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct door *door;

    if (ev->to->node != NULL || gr_stanza_kind(ev->stanza) != GR_MESSAGE ||
        gr_stanza_type(ev->stanza) == GR_TYPE_ERROR)
        return GR_OK;
    door = door_of(ev->to);
    if (door == NULL)
        return GR_OK;
    if (!gr_is_admin(self, ev->from))
        gr_ev_refuse(self, ev, GR_FORBIDDEN, NULL);
    else if (door->text && text_of(ev->stanza, "body")[0] == '\0')
        gr_ev_refuse(self, ev, GR_BAD_REQUEST, "there is nothing to say");
    else
        enter(self, door, ev);
    return GR_DROP;
}

static enum gr_verdict on_available(struct gr_mod *self, struct gr_session_ev *ev)
{
    motd_give(self, ev->jid);
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(filter_local_packet, GR_PRIO_NORMAL, on_message),
    GR_ON(user_available, GR_PRIO_NORMAL, on_available),
    GR_ON(register_user, GR_PRIO_NORMAL, motd_on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, motd_on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, motd_on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, motd_on_export),
    GR_HOOK_END
};

GR_MODULE(announce, .summary = "messages to everybody, the message of the day",
    .conf_size = sizeof(struct announce_conf), .state_size = sizeof(struct announce),
    .options = options, .hooks = hooks, .commands = commands,
    .collections = announce_collections, .stop = sends_stop);
