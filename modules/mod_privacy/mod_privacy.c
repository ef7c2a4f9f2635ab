/* mod_privacy: privacy lists (XEP-0016), and what the blocking command (XEP-0191, mod_blocking)
 * sets: both are views of the same lists. This file: the descriptor. */
#include "privacy.h"

static const struct gr_opt options[] = {
    GR_OPT_INT(struct privacy_conf, max_lists, 50, 1, 1000, "privacy lists of an account"),
    GR_OPT_INT(struct privacy_conf, max_items, 1000, 1, 100000,
               "items of a list, and so addresses that an account can block"),
    GR_OPT_BOOL(struct privacy_conf, bounce, true,
                "who is blocked gets service-unavailable for messages; no: they vanish"),
    GR_OPT_END
};

/* --- tasks --- */

void task_add(struct gr_mod *self, struct task *t, void (*drop)(struct task *t))
{
    struct privacy *p = gr_state(self);

    t->drop = drop;
    t->at = &p->tasks;
    t->next = p->tasks;
    if (t->next != NULL)
        t->next->at = &t->next;
    p->tasks = t;
}

void task_leave(struct task *t)
{
    *t->at = t->next;
    if (t->next != NULL)
        t->next->at = t->at;
}

static int start(struct gr_mod *self, const char **why)
{
    struct privacy *p = gr_state(self);

    (void)why;
    p->last = &p->first;
    return 0;
}

/* What a shutdown cut off. */
static void stop(struct gr_mod *self)
{
    struct privacy *p = gr_state(self);

    while (p->tasks != NULL)
        p->tasks->drop(p->tasks);
    change_drop_all(p);
    hidden_free(p);
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_PRIVACY, on_send),
    GR_ON(user_send_presence, GR_PRIO_PRIVACY, on_send),
    GR_ON(user_send_iq, GR_PRIO_PRIVACY, on_send),
    GR_ON(filter_local_packet, GR_PRIO_PRIVACY, on_local),
    GR_ON(user_receive_message, GR_PRIO_PRIVACY, on_receive),
    GR_ON(user_receive_presence, GR_PRIO_PRIVACY, on_receive),
    GR_ON(user_receive_iq, GR_PRIO_PRIVACY, on_receive),
    GR_ON(privacy_check_packet, GR_PRIO_NORMAL, on_check),
    GR_ON(privacy_iq_get, GR_PRIO_NORMAL, on_iq_get),
    GR_ON(privacy_iq_set, GR_PRIO_NORMAL, on_iq_set),
    GR_ON_CUSTOM(BLOCKLIST_HOOK, GR_PRIO_NORMAL, on_blocklist),
    GR_ON(roster_get_subscription_lists, GR_PRIO_PRIVACY, on_subscribers_first),
    GR_ON(roster_get_subscription_lists, GR_PRIO_LATE, on_subscribers_last),
    GR_ON(roster_process_item, GR_PRIO_LAST, on_roster_item),
    GR_ON(roster_push, GR_PRIO_LAST, on_roster_push),
    GR_ON(roster_in_subscription, GR_PRIO_LAST, on_subscription_in),
    GR_ON(roster_out_subscription, GR_PRIO_LAST, on_subscription_out),
    GR_ON(sm_register_connection, GR_PRIO_PRIVACY, on_connect),
    GR_ON(register_user, GR_PRIO_NORMAL, on_register),
    GR_ON(remove_user, GR_PRIO_NORMAL, on_remove),
    GR_ON(anonymous_purge, GR_PRIO_NORMAL, on_remove),
    GR_ON(get_personal_data, GR_PRIO_NORMAL, on_export),
    GR_HOOK_END
};

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET | GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, NS_PRIVACY, "query", on_iq),
    GR_IQ_END
};

GR_MODULE(privacy,
    .summary = "privacy lists (XEP-0016), also behind the blocking command",
    .conf_size = sizeof(struct privacy_conf), .state_size = sizeof(struct privacy),
    .options = options, .hooks = hooks, .iqs = iqs, .collections = privacy_colls,
    .features = (const char *const[]){ NS_PRIVACY, NULL },
    .slots = (const struct gr_slot *const[]){ &book_slot, &seat_slot, NULL },
    .start = start, .stop = stop);
