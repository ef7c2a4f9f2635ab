/* mod_offline: keeps messages for users who are away and delivers them when they come (XEP-0160).
 *
 * This file: the hooks. keep.c decides what is kept and writes it, drain.c delivers, queue.c
 * holds what is known about an account meanwhile; retrieve.c is for clients that fetch their messages
 * themselves (XEP-0013). */
#include "offline.h"

#include <grapnel/log.h>

static const struct gr_opt options[] = {
    GR_OPT_INT(struct offline_conf, limit, 2000, 1, 10000000, "most messages kept for an account",
               .zero = "unlimited"),
    GR_OPT_SIZE(struct offline_conf, size_limit, 20 * GR_MIB, 64 * GR_KIB, 1024 * GR_GIB,
                "most bytes kept for an account", .zero = "unlimited"),
    GR_OPT_BOOL(struct offline_conf, store_groupchat, false,
                "keep messages of type groupchat as well"),
    GR_OPT_END
};

const struct gr_coll collections[] = { GR_LOG("offline.messages"), GR_COLL_END };

/* --- messages --- */

static enum gr_verdict on_groupchat(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct offline_conf *conf = gr_conf(self);

    return conf->store_groupchat ? keep_message(self, ev) : GR_OK;
}

static enum gr_verdict on_resend(struct gr_mod *self, struct gr_session_ev *ev)
{
    drain(queue_get(self, ev->jid));
    return GR_OK;
}

/* --- the account goes --- */

static void on_removed(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_hold *hold = *(struct gr_hold **)gr_req_data(req);

    (void)self;
    if (rows->rc != 0)
        gr_error("offline.not_removed", "messages of a removed account remain: %s",
                 gr_strerror(rows->rc));
    gr_resume(hold, GR_OK);
}

static enum gr_verdict on_remove(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct gr_txn *t = gr_txn_new(self);
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req = gr_req_new(self, sizeof(struct gr_hold *), on_removed);

    gr_txn_del_all(t, MESSAGES, ev->jid->bare);
    *(struct gr_hold **)gr_req_data(req) = hold;
    gr_txn_commit(t, req);
    return hold != NULL ? GR_PENDING : GR_OK;
}

/* --- get_personal_data: XEP-0227, 4.5, <offline-messages/> --- */

enum { EXPORT_PAGE = 100 };

struct export {
    struct gr_export_ev *ev;
    struct gr_hold *hold;
    struct gr_jid *owner;
    struct gr_el *list;
};

static void export_page(struct gr_mod *self, struct export *x, uint64_t from);

static void on_export(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct export *x = *(struct export **)gr_req_data(req);
    bool late = !gr_hold_waits(x->hold);
    uint64_t last = 0;

    for (size_t i = 0; i < rows->count && !late; i++) {
        struct gr_stanza *st;
        int64_t time_us;

        last = gr_row_seq(&rows->row[i]);
        if (row_parse(&rows->row[i], &time_us, &st) != 0)
            continue;
        if (own_delay(self, st) == NULL)
            gr_stanza_add_delay(st, gr_mod_host_jid(self)->full, time_us);
        if (x->list == NULL)
            x->list = gr_el_add(x->ev->data, NULL, "urn:xmpp:pie:0", "offline-messages");
        gr_el_append(x->ev->data, x->list, gr_stanza_root(st));
        gr_stanza_unref(&st);
    }
    if (rows->rc == 0 && rows->more && !late) {
        export_page(self, x, last + 1);
        return;
    }
    gr_resume(x->hold, rows->rc == 0 ? GR_OK : GR_FAIL);
    gr_jid_free(&x->owner);
    gr_free(x);
}

static void export_page(struct gr_mod *self, struct export *x, uint64_t from)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct export *), on_export);
    uint8_t key[8];

    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(from >> (56 - 8 * i));
    *(struct export **)gr_req_data(req) = x;
    gr_store_range(req, MESSAGES, x->owner->bare, key, sizeof(key), EXPORT_PAGE);
}

static enum gr_verdict on_personal_data(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct export *x;

    if (hold == NULL)
        return GR_FAIL;
    x = gr_alloc(sizeof(*x));
    x->ev = ev;
    x->hold = hold;
    x->owner = gr_jid_dup_bare(ev->user);
    export_page(self, x, 0);
    return GR_PENDING;
}

/* --- XEP-0160, 4 --- */

static enum gr_verdict on_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    (void)self;
    if (ev->node == NULL || ev->node[0] == '\0')
        gr_disco_feature(ev, "msgoffline");
    return GR_OK;
}

/* hooks.md 4.9: who may not see the account gets the answer of one that does not exist. */
static enum gr_verdict on_account_features(struct gr_mod *self, struct gr_disco_ev *ev)
{
    return ev->subscribed ? on_features(self, ev) : GR_OK;
}

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    queues_save(gr_state(self), bag);
}

static void stop(struct gr_mod *self)
{
    keep_forget(gr_state(self));
    retrievals_free(gr_state(self));
    queues_free(gr_state(self));
}

static const struct gr_hook hooks[] = {
    GR_ON(offline_message, GR_PRIO_NORMAL, keep_message),
    GR_ON(offline_groupchat_message, GR_PRIO_NORMAL, on_groupchat),
    GR_ON(resend_offline_messages, GR_PRIO_NORMAL, on_resend),
    GR_ON(user_send_iq, GR_PRIO_NORMAL, retrieve_disco),
    GR_ON(sm_filter_offline_message, GR_PRIO_NORMAL, retrieve_gone),
    GR_ON(sm_remove_connection, GR_PRIO_NORMAL, retrieve_left),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(disco_local_features, GR_PRIO_NORMAL, on_features),
    GR_ON(disco_sm_features, GR_PRIO_NORMAL, on_account_features),
    GR_ON(amp_determine_strategy, 30, keep_strategy),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_personal_data),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT, NS_OFFLINE, "offline", retrieve),
    GR_IQ_END
};

GR_MODULE(offline,
    .summary = "keeps messages for users who are away (XEP-0160, XEP-0013)",
    .conf_size = sizeof(struct offline_conf), .state_size = sizeof(struct offline),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = collections,
    .slots = retrieve_slots, .features = (const char *const[]){ NS_OFFLINE, NULL }, .stop = stop,
    .save = save, .restore = queues_restore);
