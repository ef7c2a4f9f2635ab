/* mod_mam: an archive of messages for every account (XEP-0313). This file: the descriptor and
 * discovery; mam.h says where the rest is. */
#include "mam.h"

#include "../removed.h"

static const struct gr_opt options[] = {
    GR_OPT_ENUM(struct mam_conf, archive_policy, GR_MAM_ALWAYS,
                GR_WORDS("always", "never", "roster"),
                "whom to keep, unless the account has said otherwise: everybody, nobody, contacts"),
    GR_OPT_BOOL(struct mam_conf, user_prefs, true, "accounts may say otherwise (XEP-0441)"),
    GR_OPT_BOOL(struct mam_conf, chat_markers, false,
                "keep delivery receipts and chat markers as well (XEP-0184, XEP-0333)"),
    GR_OPT_BOOL(struct mam_conf, message_retraction, true,
                "a retracted message is replaced by a tombstone (XEP-0424)"),
    GR_OPT_SIZE(struct mam_conf, size_limit, GR_GIB, 64 * GR_KIB, 1024 * GR_GIB,
                "most bytes kept for an account: the oldest messages go", .zero = "unlimited"),
    GR_OPT_DURATION(struct mam_conf, expire_after, 365 * GR_DAY, GR_HOUR, 36500 * GR_DAY,
                    "how long a message is kept", .zero = "never"),
    GR_OPT_INT(struct mam_conf, page_size, 50, 1, 1000,
               "messages in the answer to a query that does not say how many"),
    GR_OPT_INT(struct mam_conf, max_page_size, 250, 1, 1000, "most messages in one answer"),
    GR_OPT_END
};

const struct gr_coll collections[] = { GR_LOG("mam.messages"), GR_MAP("mam.contacts"),
                                       GR_MAP("mam.prefs"), GR_COLL_END };

bool is_removed(struct gr_mod *self, const struct gr_jid *owner)
{
    return account_removed(self, owner);
}

void note_removed(struct gr_mod *self, const struct gr_jid *owner)
{
    account_note_removed(self, owner, true);
}

/* --- discovery: XEP-0313, 7; XEP-0359, 5; XEP-0424, 4 --- */

static void add_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    const struct mam_conf *conf = gr_conf(self);

    gr_disco_feature(ev, NS_MAM);
    gr_disco_feature(ev, NS_MAM "#extended");
    gr_disco_feature(ev, NS_MAM "#groupchat-field");
    gr_disco_feature(ev, NS_SID);
    gr_disco_feature(ev, GR_NS_RSM);
    if (conf->message_retraction)
        gr_disco_feature(ev, NS_RETRACT "#tombstone");
}

/* Clients of old ask the host. */
static enum gr_verdict on_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    if (ev->node == NULL || ev->node[0] == '\0')
        add_features(self, ev);
    return GR_OK;
}

/* hooks.md 4.9: who may not see the account gets the answer of one that does not exist. */
static enum gr_verdict on_account_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    return ev->subscribed ? on_features(self, ev) : GR_OK;
}

/* Answers to a query are for the resource that asked, and for nobody else. */
static enum gr_verdict on_nobody(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    return gr_stanza_child(ev->stanza, NS_MAM, "result") != NULL ? GR_STOP : GR_OK;
}

/* --- the instance --- */

static int check(const void *conf, const char **why)
{
    const struct mam_conf *c = conf;

    if (c->page_size <= c->max_page_size)
        return 0;
    *why = "page_size is larger than max_page_size";
    return GR_EINVAL;
}

static int start(struct gr_mod *self, const char **why)
{
    (void)why;
    sweep_rounds(self);
    return 0;
}

static void stop(struct gr_mod *self)
{
    struct mam *m = gr_state(self);

    queries_free(m);
    writes_forget(m);
    archives_free(m);
    gr_free(m->round_at);
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_ARCHIVE, on_sent),
    GR_ON(filter_local_packet, GR_PRIO_ARCHIVE, on_received),
    GR_ON(sm_filter_offline_message, GR_PRIO_NORMAL, on_nobody),
    GR_ON(register_user, GR_PRIO_NORMAL, account_on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove_user),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove_user),
    GR_ON(remove_domain, GR_PRIO_NORMAL, on_remove_domain),
    GR_ON(disco_local_features, 99, on_features),
    GR_ON(disco_sm_features, 99, on_account_features),
    GR_ON(bind2_enable_features, GR_PRIO_NORMAL, on_bind2),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_personal_data),
    GR_ON(mam_archive_id, GR_PRIO_NORMAL, on_archive_id),
    GR_ON(mam_archive_message, GR_PRIO_NORMAL, on_archive_message),
    GR_ON(mam_archive_size, GR_PRIO_NORMAL, on_size),
    GR_ON(mam_archive_sync, GR_PRIO_NORMAL, on_archive_sync),
    GR_ON(mam_get_behaviour, GR_PRIO_NORMAL, on_get_behaviour),
    GR_ON(mam_get_prefs, GR_PRIO_NORMAL, on_get_prefs),
    GR_ON(mam_set_prefs, GR_PRIO_NORMAL, on_set_prefs),
    GR_ON(mam_lookup_messages, GR_PRIO_NORMAL, on_lookup),
    GR_ON(mam_remove_archive, GR_PRIO_NORMAL, on_remove_archive),
    GR_ON(get_mam_pm_gdpr_data, GR_PRIO_NORMAL, on_pm_data),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_MAM, "query", on_query),
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_MAM, "prefs", on_prefs_iq),
    GR_IQ(GR_IQ_GET, GR_TO_ACCOUNT | GR_OWN, NS_MAM, "metadata", on_metadata),
    GR_IQ_END
};

GR_MODULE(mam,
    .summary = "an archive of messages (XEP-0313)",
    .conf_size = sizeof(struct mam_conf), .state_size = sizeof(struct mam), .options = options,
    .hooks = hooks, .iqs = iqs, .collections = collections,
    .slots = (const struct gr_slot *const[]){ &removed_slot, NULL }, .check = check,
    .start = start, .stop = stop);
