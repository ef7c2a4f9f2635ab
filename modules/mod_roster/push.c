/* mod_roster/push.c: interested resources, and what they are told (RFC 6121, 2.1.6, 2.2).
 *
 * A push goes straight to the session (gr_session_deliver), so that it stands in front of what
 * the contact sends next. The result of a roster get takes the longer way of every iq: a push
 * made meanwhile would overtake it and the client would end with the older state. So from the
 * moment the roster is read pushes to that session are kept back until its result has passed
 * (user_receive_iq). */
#include "roster.h"

#include <stdio.h>
#include <string.h>

enum { KEPT_MAX = 1000 };

struct interest {
    bool on;                  /* has got the roster, or it is on its way: pushes are for it */
    bool was;                 /* was interested before the get that is under way */
    char *awaits;             /* id of the result on its way; NULL: none */
    struct gr_stanza **kept;  /* pushes behind it; the first `missed` are what a version lacked */
    unsigned count, missed;
};

static void drop_kept(struct interest *in)
{
    for (unsigned i = 0; i < in->count; i++)
        gr_stanza_unref(&in->kept[i]);
    gr_free(in->kept);
    gr_free(in->awaits);
    in->kept = NULL;
    in->awaits = NULL;
    in->count = in->missed = 0;
}

static void release(void *data)
{
    drop_kept(data);
}

/* Over a restart (XEP-0198): a resumed session does not ask for the roster again. */
static void *persist(const void *data, size_t *len)
{
    const struct interest *in = data;

    *len = 0;
    return in->on ? gr_strdup("") : NULL;
}

static int revive(struct gr_mod *self, struct gr_session *s, void *data, const void *bytes, size_t len)
{
    (void)self, (void)s, (void)bytes, (void)len;
    ((struct interest *)data)->on = true;
    return 0;
}

const struct gr_slot interest_slot = { .name = "struct interest", .version = 1,
                                       .size = sizeof(struct interest), .release = release,
                                       .persist = persist, .revive = revive };

/* --- the window between reading and the result's arrival --- */

static void flush(struct gr_mod *self, struct gr_session *s, struct interest *in)
{
    for (unsigned i = 0; i < in->count; i++)
        gr_session_deliver(self, s, gr_stanza_ref(in->kept[i]));
    drop_kept(in);
}

void interest_await(struct gr_mod *self, struct gr_session *s, const char *id)
{
    struct interest *in = gr_session_slot(self, s, &interest_slot);

    /* A second get while the first one's result travels: what is kept waits for the second. */
    gr_free(in->awaits);
    in->awaits = gr_strdup(id);
    in->missed = 0;
    in->was = in->on;
    in->on = true;
    gr_session_changed(self, s);
}

void interest_fail(struct gr_mod *self, struct gr_session *s, const char *id)
{
    struct interest *in = gr_session_slot(self, s, &interest_slot);

    if (in->awaits == NULL || id == NULL || strcmp(in->awaits, id) != 0)
        return;
    in->on = in->was;
    gr_session_changed(self, s);
    if (in->on)
        flush(self, s, in);
    else
        drop_kept(in);
}

static void keep(struct gr_mod *self, struct gr_session *s, struct interest *in, unsigned at,
                 struct gr_stanza *take)
{
    if (in->count >= KEPT_MAX + in->missed) {
        gr_stanza_unref(&take);
        gr_session_close(self, s, "resource-constraint", "too many roster changes", true);
        return;
    }
    if ((in->count & (in->count - 1)) == 0)
        in->kept = gr_realloc(in->kept, (in->count > 0 ? 2 * in->count : 1) * sizeof(take));
    memmove(&in->kept[at + 1], &in->kept[at], (in->count - at) * sizeof(take));
    in->kept[at] = take;
    in->count++;
}

void interest_add(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take)
{
    struct interest *in = gr_session_slot(self, s, &interest_slot);

    in->missed++;
    keep(self, s, in, in->missed - 1, take);
}

bool is_interested(struct gr_mod *self, const struct gr_session *s)
{
    const struct interest *in = gr_session_slot_peek(self, s, &interest_slot);

    return in != NULL && in->on;
}

static void to_session(struct gr_mod *self, struct gr_session *s, struct gr_stanza *take)
{
    struct interest *in = gr_session_slot(self, s, &interest_slot);

    if (in->awaits != NULL)
        keep(self, s, in, in->count, take);
    else
        gr_session_deliver(self, s, take);
}

enum gr_verdict on_receive_iq(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct interest *in = gr_session_slot_peek(self, ev->session, &interest_slot);
    const char *id = gr_stanza_id(ev->stanza);
    enum gr_type type = gr_stanza_type(ev->stanza);

    if (in == NULL || in->awaits == NULL || id == NULL || strcmp(in->awaits, id) != 0 ||
        (type != GR_RESULT && type != GR_TYPE_ERROR) || !gr_jid_is_bare(ev->from) ||
        !gr_jid_bare_equal(ev->from, gr_session_jid(ev->session)))
        return GR_OK;
    flush(self, ev->session, in);
    return GR_OK;
}

/* --- pushes --- */

static const char *sub_name(enum gr_subscription sub)
{
    static const char *const name[] = { [GR_SUB_NONE] = "none", [GR_SUB_TO] = "to",
                                        [GR_SUB_FROM] = "from", [GR_SUB_BOTH] = "both" };

    return name[sub];
}

void item_el(struct gr_stanza *st, struct gr_el *query, const struct gr_roster_item *item,
             bool removed)
{
    struct gr_el *el = gr_el_add(st, query, NULL, "item");

    gr_el_set(st, el, "jid", item->jid->bare);
    gr_el_set(st, el, "subscription", removed ? "remove" : sub_name(item->sub));
    if (removed)
        return;
    if (item->name != NULL && item->name[0] != '\0')
        gr_el_set(st, el, "name", item->name);
    if (item->ask)
        gr_el_set(st, el, "ask", "subscribe");
    if (item->approved)
        gr_el_set(st, el, "approved", "true");
    for (size_t i = 0; item->groups != NULL && item->groups[i] != NULL; i++)
        gr_el_add_text(st, el, NULL, "group", item->groups[i]);
}

void ver_attr(struct gr_mod *self, struct gr_stanza *st, struct gr_el *query, uint64_t ver)
{
    const struct roster_conf *conf = gr_conf(self);

    if (conf->versioning && ver != 0)
        gr_el_setf(st, query, "ver", "%llu", (unsigned long long)ver);
}

struct gr_stanza *push_new(struct gr_mod *self, const struct gr_session *s,
                           const struct gr_roster_item *item, bool removed)
{
    const struct gr_jid *full = gr_session_jid(s);
    struct gr_jid *bare = gr_jid_dup_bare(full);
    struct gr_stanza *st = gr_iq_new(GR_SET, bare, full, NULL);
    struct gr_el *query = gr_el_add(st, NULL, NS_ROSTER, "query");

    gr_jid_free(&bare);
    ver_attr(self, st, query, item->ver);
    item_el(st, query, item, removed);
    return st;
}

static void push_hook(struct gr_mod *self, const struct gr_jid *owner,
                      const struct gr_roster_item *item)
{
    struct gr_roster_item copy = *item; /* a notification: what handlers do to it is lost */
    struct gr_roster_item_ev ev = { .owner = owner, .item = &copy };

    gr_hook_run(self, GR_HOOK_roster_push, &ev.ev, NULL);
}

void push_item(struct gr_mod *self, const struct gr_jid *owner, const struct gr_roster_item *item)
{
    struct gr_account *a = gr_account_find(self, owner);
    struct gr_session *s = NULL;

    while (a != NULL && (s = gr_account_next(a, s)) != NULL) {
        if (!is_interested(self, s))
            continue;
        to_session(self, s, push_new(self, s, item, !item->in_roster));
        push_hook(self, owner, item);
    }
}

static bool seen(const struct gr_roster_item *before, const struct gr_roster_item *after)
{
    if (before->in_roster != after->in_roster)
        return true;
    return after->in_roster && (before->sub != after->sub || before->ask != after->ask ||
                                before->approved != after->approved);
}

/* What the answer says, not what a later look would find: the changes of an owner are answered
 * in their order, and every push has a version of its own (RFC 6121, 2.6.3). */
void push_change(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *contact,
                 const struct gr_answer *a)
{
    struct gr_roster_item item = a->after;

    item.jid = contact;
    if (seen(&a->before, &a->after))
        push_item(self, owner, &item);
}

/* --- presence for both sides --- */

void to_interested(struct gr_mod *self, const struct gr_jid *owner, struct gr_stanza *st)
{
    struct gr_account *a = gr_account_find(self, owner);
    struct gr_session *s = NULL;

    while (a != NULL && (s = gr_account_next(a, s)) != NULL) {
        if (is_interested(self, s))
            gr_session_deliver(self, s, gr_stanza_ref(st));
    }
}

void send_presences(struct gr_mod *self, const struct gr_jid *owner, const struct gr_jid *contact,
                    bool available)
{
    struct gr_account *a = gr_account_find(self, owner);
    const struct gr_jid *gone;
    struct gr_session *s = NULL;

    while (a != NULL && (s = gr_account_next(a, s)) != NULL) {
        struct gr_stanza *presence = gr_session_presence(s);

        if (!gr_session_available(s))
            continue;
        if (!available)
            presence = gr_presence_new(GR_UNAVAILABLE, NULL, NULL);
        else if (presence != NULL)
            presence = gr_stanza_copy(presence);
        else
            presence = gr_presence_new(GR_AVAILABLE, NULL, NULL);
        gr_stanza_set_from(presence, gr_session_jid(s));
        gr_stanza_set_to(presence, contact);
        gr_send(self, presence);
    }
    for (unsigned i = 0; !available && (gone = turn_gone(turns_of(self), owner, i)) != NULL; i++)
        gr_send(self, gr_presence_new(GR_UNAVAILABLE, gone, contact));
}

void send_subscription(struct gr_mod *self, const struct gr_ev *behalf, enum gr_type type,
                       const struct gr_jid *owner, const struct gr_jid *contact, const char *id)
{
    struct gr_stanza *st = gr_presence_new(type, owner, contact);
    char fresh[GR_ID_SIZE];

    if (id == NULL)
        gr_random_id(fresh);
    gr_stanza_set_id(st, id != NULL ? id : fresh);
    if (behalf != NULL)
        gr_send_in(self, behalf, st);
    else
        gr_send(self, st);
}
