/* mod_caps/contacts.c: what an account knows of those whose presence it gets: by full JID the hash that
 * was announced last. A table per account, as the presences come one by one. Rooms are left out: who is
 * in them is the room's business, and can be asked by nobody else. */
#include "caps.h"

#include <string.h>

#define NS_MUC_USER "http://jabber.org/protocol/muc#user"

enum { CONTACTS_MAX = 1000, ROOM_FIRST = 8 };

struct contact {
    struct caps *caps;
    uint64_t hash;
    char jid[];
};
struct contacts {
    struct contact **at;   /* open addressing, at most half full */
    size_t room, count;
    uint64_t last;         /* gr_acc_ref of the last presence: each session of the account gets it */
};

static void contact_free(struct contact *c)
{
    caps_unref(&c->caps);
    gr_free(c);
}

static void release(void *data)
{
    struct contacts *all = data;

    for (size_t i = 0; i < all->room; i++)
        if (all->at[i] != NULL)
            contact_free(all->at[i]);
    gr_free(all->at);
}

static void moved(struct gr_mod *self, void *data)
{
    struct contacts *all = data;
    struct state *state = gr_state(self);

    for (size_t i = 0; i < all->room; i++)
        if (all->at[i] != NULL)
            cache_move(all->at[i]->caps, &state->cache);
}

const struct gr_slot contacts_slot = {
    .name = "contacts", .version = 1, .size = sizeof(struct contacts), .release = release,
    .moved = moved
};

/* --- the table --- */

/* jid->hash is keyed, so nobody can choose what meets. */
static uint64_t full_hash(const struct gr_jid *full)
{
    uint64_t hash = full->hash;

    for (const char *p = full->resource; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* Where it is or would be; the table is not empty. */
static size_t place(const struct contacts *all, const char *full, uint64_t hash)
{
    size_t i = hash & (all->room - 1);

    while (all->at[i] != NULL && (all->at[i]->hash != hash || strcmp(all->at[i]->jid, full) != 0))
        i = (i + 1) & (all->room - 1);
    return i;
}

static struct contact *find(const struct contacts *all, const struct gr_jid *full)
{
    return all->room > 0 ? all->at[place(all, full->full, full_hash(full))] : NULL;
}

static void grow(struct contacts *all)
{
    struct contacts old = *all;

    all->room = old.room > 0 ? 2 * old.room : ROOM_FIRST;
    all->at = gr_alloc(all->room * sizeof(struct contact *));
    for (size_t i = 0; i < old.room; i++)
        if (old.at[i] != NULL)
            all->at[place(all, old.at[i]->jid, old.at[i]->hash)] = old.at[i];
    gr_free(old.at);
}

static void insert(struct contacts *all, const struct gr_jid *full, struct caps *take)
{
    struct contact *c = gr_alloc(sizeof(*c) + full->full_len + 1u);

    if (2 * (all->count + 1) > all->room)
        grow(all);
    c->caps = take;
    c->hash = full_hash(full);
    memcpy(c->jid, full->full, full->full_len + 1u);
    all->at[place(all, c->jid, c->hash)] = c;
    all->count++;
}

/* What stands behind it without a gap may have wanted its place. */
static void take_out(struct contacts *all, struct contact *c)
{
    size_t i = place(all, c->jid, c->hash);

    all->at[i] = NULL;
    all->count--;
    contact_free(c);
    while (all->at[i = (i + 1) & (all->room - 1)] != NULL) {
        c = all->at[i];
        all->at[i] = NULL;
        all->at[place(all, c->jid, c->hash)] = c;
    }
}

/* --- presences --- */

static void announce(struct gr_mod *self, struct contacts *all, const struct announced *what,
                     const struct gr_jid *full)
{
    struct contact *c = find(all, full);
    struct caps *caps;

    if (c == NULL && all->count >= CONTACTS_MAX)
        return;
    caps = learn(self, what, full, c != NULL ? caps_ref(c->caps) : NULL);
    if (c == NULL && caps != NULL) {
        insert(all, full, caps);
    } else if (c != NULL && caps != NULL) {
        caps_unref(&c->caps);
        c->caps = caps;
    } else if (c != NULL) {
        take_out(all, c);
    }
}

/* Without a hash an available presence changes nothing (XEP-0115, 8.4). */
enum gr_verdict contacts_presence(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_account *a = gr_session_account(ev->session);
    enum gr_type type = gr_stanza_type(ev->stanza);
    struct announced what;
    struct contacts *all;

    if (a == NULL || ev->from->resource == NULL || gr_jid_bare_equal(ev->from, ev->to))
        return GR_OK;
    all = gr_account_slot_peek(self, a, &contacts_slot);
    if (type == GR_UNAVAILABLE && all != NULL) {
        struct contact *c = find(all, ev->from);
        if (c != NULL)
            take_out(all, c);
    } else if (type == GR_AVAILABLE && (all == NULL || all->last != gr_acc_ref(ev->ev.acc)) &&
               announced_in(self, ev->stanza, &what) &&
               gr_stanza_child(ev->stanza, NS_MUC_USER, "x") == NULL) {
        all = gr_account_slot(self, a, &contacts_slot);
        all->last = gr_acc_ref(ev->ev.acc);
        announce(self, all, &what, ev->from);
    }
    return GR_OK;
}

struct caps *contacts_find(struct gr_mod *self, const struct gr_account *a,
                           const struct gr_jid *full)
{
    const struct contacts *all = gr_account_slot_peek(self, a, &contacts_slot);
    const struct contact *c = all != NULL && full->resource != NULL ? find(all, full) : NULL;

    return c != NULL ? c->caps : NULL;
}

void contacts_with(struct gr_mod *self, const struct gr_account *a, struct gr_caps_ev *ev)
{
    const struct contacts *all = gr_account_slot_peek(self, a, &contacts_slot);

    for (size_t i = 0; all != NULL && i < all->room; i++) {
        const struct contact *c = all->at[i];
        struct gr_jid *jid;

        if (c == NULL || !caps_has(c->caps, ev->feature) ||
            gr_jid_parse(c->jid, strlen(c->jid), &jid) != 0)
            continue;
        gr_caps_ev_recipient(ev, jid);
        gr_jid_free(&jid);
    }
}
