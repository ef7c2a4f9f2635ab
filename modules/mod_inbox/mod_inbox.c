/* mod_inbox: the list of an account's conversations, each with its latest message and how much of it is
 * unread: what a client shows first. Asked for as MongooseIM's clients do, or as XEP-0430 says.
 *
 * This file: options, tables. track.c: what messages do; conv.c: changing a conversation; list.c and
 * ask.c: queries; props.c: one conversation; bin.c, room.c, leave.c: how they go. */
#include <string.h>

#include "inbox.h"

static const struct gr_opt options[] = {
    GR_OPT_LIST(struct inbox_conf, boxes, NULL, "boxes besides inbox, archive and bin", .max = 20),
    GR_OPT_LIST(struct inbox_conf, reset_markers, "displayed",
                "markers that make messages read: received, displayed, acknowledged", .max = 3),
    GR_OPT_LIST(struct inbox_conf, groupchat, "muclight",
                "rooms that stand in the inbox: muclight, muc", .max = 2),
    GR_OPT_BOOL(struct inbox_conf, aff_changes, true,
                "changes of membership in light rooms count as messages"),
    GR_OPT_BOOL(struct inbox_conf, remove_on_kicked, true,
                "a room leaves the inbox with one's membership"),
    GR_OPT_INT(struct inbox_conf, limit, 10000, 10, 100000, "most conversations per account"),
    GR_OPT_INT(struct inbox_conf, max_result_limit, 0, 1, 1000000,
               "most conversations per answer", .zero = "unlimited"),
    GR_OPT_DURATION(struct inbox_conf, bin_ttl, 30 * GR_DAY, GR_MINUTE, 3650 * GR_DAY,
                    "how long conversations stay in the bin"),
    GR_OPT_DURATION(struct inbox_conf, bin_clean_after, GR_HOUR, GR_MINUTE, 30 * GR_DAY,
                    "pause between two looks into the bins"),
    GR_OPT_END
};

const struct gr_coll collections[] = { GR_MAP("inbox"), GR_MAP("inbox.binned"), GR_COLL_END };

static bool all_in(const char *const *list, const char *const *words)
{
    for (; list != NULL && *list != NULL; list++)
        if (!in_list(words, *list))
            return false;
    return true;
}

static int check(const void *data, const char **why)
{
    static const char *const markers[] = { "received", "displayed", "acknowledged", NULL };
    static const char *const rooms[] = { "muclight", "muc", NULL };
    static const char *const taken[] = { "all", "inbox", "archive", "bin", NULL };
    const struct inbox_conf *conf = data;

    *why = "reset_markers are received, displayed, acknowledged";
    if (!all_in(conf->reset_markers, markers))
        return GR_EINVAL;
    *why = "groupchat is muclight, muc";
    if (!all_in(conf->groupchat, rooms))
        return GR_EINVAL;
    *why = "boxes have names of up to 64 bytes, other than all, inbox, archive, bin";
    for (const char *const *box = conf->boxes; box != NULL && *box != NULL; box++)
        if (in_list(taken, *box) || strlen(*box) > BOX_MAX)
            return GR_EINVAL;
    return 0;
}

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    bin_start(self);
    return 0;
}

static void stop(struct gr_mod *self)
{
    lists_free(gr_state(self));
    convs_free(gr_state(self));
}

/* Nothing crosses a reload but the store: the successor reads what is written here. */
static void save(struct gr_mod *self, struct gr_bag *bag)
{
    (void)bag;
    convs_flush(gr_state(self));
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    struct inbox *in = gr_state(self);

    (void)bag;
    in->settled_ms = gr_now_ms() + GR_MINUTE;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, 70, on_sent),
    GR_ON(filter_local_packet, GR_PRIO_LATE, on_received),
    GR_ON(update_inbox_for_muc, GR_PRIO_LATE, on_muc),
    GR_ON(room_new_affiliations, GR_PRIO_LATE, on_affiliations),
    GR_ON(sm_filter_offline_message, GR_PRIO_NORMAL, on_gone_client),
    GR_ON(inbox_unread_count, 80, on_unread_count),
    GR_ON(register_user, GR_PRIO_NORMAL, on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS_INBOX, "query", on_form),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_INBOX, "inbox", on_list),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_INBOX, "reset", on_reset),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_INBOX, "empty-bin", on_empty_bin),
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_CONVERSATION, "query",
          on_conversation),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS_XEP, "inbox", on_list),
    GR_IQ_END
};

GR_MODULE(inbox,
    .summary = "the conversations of an account and what is unread in them (XEP-0430)",
    .conf_size = sizeof(struct inbox_conf), .state_size = sizeof(struct inbox),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = collections, .slots = slots,
    .features = (const char *const[]){ NS_INBOX, NS_XEP, NULL }, .check = check, .start = start,
    .stop = stop, .save = save, .restore = restore);
