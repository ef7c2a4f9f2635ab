/* virtual_roster.h: rosters that follow from the accounts of the host: the code that
 * mod_everyone_roster and mod_staff_roster have in common. Each includes it once; everything in
 * it is static.
 *
 * A roster provider (backends.md 3.4): everybody's roster is the list of active accounts, or of
 * the staff among them, without oneself; everybody is subscribed to everybody. It cannot be
 * changed: sets are refused and subscription stanzas ignored.
 *
 * Each loop keeps its copy of the list for a while. An account that comes or goes is told to
 * every account at its home loop (gr_post): the copy there is dropped and who is interested gets
 * a push, which mod_roster sends (its custom hook "roster_push_item"). */
#pragma once

#include <grapnel/module.h>

#include <stdlib.h>
#include <string.h>

enum { VIRTUAL_PAGE = 500 };

struct virtual_conf {
    int64_t max_items, refresh;
};
struct virtual_wait {
    struct virtual_wait *next;
    struct gr_ask *ask;             /* NULL: tell everybody about `contact` */
    struct gr_jid *user, *contact;  /* contact NULL: get_contacts */
};
struct virtual_state {
    bool staff;
    struct gr_roster_list *list;    /* NULL: not read, or no longer true */
    struct gr_roster_list *past;    /* the one before it */
    const struct gr_roster_item **sorted;
    int64_t read_ms;
    /* Reading, page by page; whoever needs the list meanwhile waits. */
    struct virtual_wait *waits, **waits_end;
    bool reading, stale;
    struct gr_roster_list *next;
};

static struct virtual_state *virtual_of(struct gr_mod *self)
{
    return gr_state(self);
}

static void virtual_forget(struct virtual_state *st)
{
    if (st->list != NULL) {
        gr_roster_list_free(&st->past);
        st->past = st->list;
        st->list = NULL;
    }
    gr_free(st->sorted);
    st->sorted = NULL;
    st->stale = true; /* what is being read at the moment is out of date too */
}

/* --- answers from the list --- */

static int virtual_order(const void *a, const void *b)
{
    return strcmp((*(const struct gr_roster_item *const *)a)->jid->bare,
                  (*(const struct gr_roster_item *const *)b)->jid->bare);
}

static const struct gr_roster_item *virtual_find(const struct virtual_state *st,
                                                 const struct gr_jid *jid)
{
    const struct gr_roster_item item = { .jid = jid }, *key = &item;
    const struct gr_roster_item *const *found =
        bsearch(&key, st->sorted, gr_roster_list_count(st->list), sizeof(key), virtual_order);

    return found != NULL ? *found : NULL;
}

static void virtual_answer(const struct virtual_state *st, struct virtual_wait *w)
{
    size_t n = gr_roster_list_count(st->list);
    struct gr_roster_item *flat;
    struct gr_answer a = { .result = GR_R_OK };

    if (w->contact != NULL) {
        const struct gr_roster_item *item = virtual_find(st, w->contact);

        a.result = item != NULL && !gr_jid_equal(w->user, w->contact) ? GR_R_OK : GR_R_NONE;
        if (a.result == GR_R_OK)
            a.before = a.after = *item;
        gr_answer(w->ask, &a);
        return;
    }
    flat = gr_alloc((n + 1) * sizeof(*flat));
    for (size_t i = 0; i < n; i++) {
        const struct gr_roster_item *item = gr_roster_list_at(st->list, i);

        if (!gr_jid_equal(item->jid, w->user))
            flat[a.count++] = *item;
    }
    a.items = flat;
    gr_answer(w->ask, &a);
    gr_free(flat);
}

static void virtual_tell_all(struct gr_mod *self, const struct gr_jid *who, const char *name,
                             bool removed);

static void virtual_serve(struct gr_mod *self, struct virtual_wait *w, enum gr_cond cond)
{
    struct virtual_state *st = virtual_of(self);

    if (w->ask != NULL && cond != GR_COND_NONE) {
        gr_answer_error(w->ask, cond, NULL);
    } else if (w->ask != NULL) {
        virtual_answer(st, w);
    } else if (cond == GR_COND_NONE) {
        const struct gr_roster_item *item = virtual_find(st, w->contact);

        if (item != NULL)
            virtual_tell_all(self, w->contact, item->name, false);
    }
    gr_jid_free(&w->user);
    gr_jid_free(&w->contact);
    gr_free(w);
}

/* --- reading the list --- */

static void virtual_read(struct gr_mod *self);

static void virtual_end(struct gr_mod *self, enum gr_cond cond)
{
    struct virtual_state *st = virtual_of(self);
    struct virtual_wait *w = st->waits;
    size_t n = gr_roster_list_count(st->next);

    st->reading = false;
    if (cond == GR_COND_NONE && st->stale) { /* somebody came or went meanwhile */
        gr_roster_list_free(&st->next);
        virtual_read(self);
        return;
    }
    if (cond != GR_COND_NONE) {
        gr_roster_list_free(&st->next);
    } else {
        virtual_forget(st);
        st->list = st->next;
        st->next = NULL;
        st->read_ms = gr_now_ms();
        st->sorted = gr_alloc((n + 1) * sizeof(*st->sorted));
        for (size_t i = 0; i < n; i++)
            st->sorted[i] = gr_roster_list_at(st->list, i);
        qsort(st->sorted, n, sizeof(*st->sorted), virtual_order);
    }
    st->waits = NULL;
    st->waits_end = &st->waits;
    while (w != NULL) {
        struct virtual_wait *next = w->next;

        if (cond == GR_COND_NONE && st->list == NULL) { /* forgotten by what an answer set off */
            *st->waits_end = w;
            st->waits_end = &w->next;
            w->next = NULL;
        } else {
            virtual_serve(self, w, cond);
        }
        w = next;
    }
    if (st->waits != NULL && !st->reading)
        virtual_read(self);
}

static bool virtual_is_staff(const struct gr_roster_item *item)
{
    for (size_t i = 0; item->groups != NULL && item->groups[i] != NULL; i++) {
        if (strcmp(item->groups[i], "staff") == 0)
            return true;
    }
    return false;
}

static void virtual_add(struct virtual_state *st, const struct gr_roster_item *account)
{
    struct gr_roster_item item = { .jid = account->jid, .name = account->name,
                                   .sub = GR_SUB_BOTH, .in_roster = true };

    if (item.name == NULL || item.name[0] == '\0')
        item.name = item.jid->node;
    if (!st->staff || virtual_is_staff(account))
        gr_roster_list_add(st->next, &item);
}

static void virtual_next(struct gr_mod *self, const char *after);

static void virtual_got_page(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    const struct virtual_conf *conf = gr_conf(self);
    struct virtual_state *st = virtual_of(self);
    bool full = false;

    (void)ask;
    if (a->result == GR_R_ERROR) {
        virtual_end(self, a->cond);
        return;
    }
    for (size_t i = 0; i < a->count && !full; i++) {
        virtual_add(st, &a->items[i]);
        full = gr_roster_list_count(st->next) >= (size_t)conf->max_items;
    }
    if (a->result == GR_R_FALSE && a->text != NULL && !full)
        virtual_next(self, a->text);
    else
        virtual_end(self, GR_COND_NONE);
}

/* The provider lists the active accounts only. */
static void virtual_next(struct gr_mod *self, const char *after)
{
    gr_auth_list(self, gr_ask_new(self, 0, virtual_got_page), after, VIRTUAL_PAGE);
}

static void virtual_read(struct gr_mod *self)
{
    struct virtual_state *st = virtual_of(self);

    st->reading = true;
    st->stale = false;
    st->next = gr_roster_list_new();
    virtual_next(self, NULL);
}

/* Answered from the list, which is read first when there is none. */
static void virtual_need(struct gr_mod *self, struct gr_ask *ask, const struct gr_jid *user,
                         const struct gr_jid *contact)
{
    const struct virtual_conf *conf = gr_conf(self);
    struct virtual_state *st = virtual_of(self);
    struct virtual_wait *w = gr_alloc(sizeof(*w));

    w->ask = ask;
    w->user = user != NULL ? gr_jid_dup_bare(user) : NULL;
    w->contact = contact != NULL ? gr_jid_dup_bare(contact) : NULL;
    if (st->list != NULL && gr_now_ms() - st->read_ms >= conf->refresh)
        virtual_forget(st);
    if (st->list != NULL) {
        virtual_serve(self, w, GR_COND_NONE);
        return;
    }
    *st->waits_end = w;
    st->waits_end = &w->next;
    if (!st->reading)
        virtual_read(self);
}

/* --- accounts come and go --- */

struct virtual_news {
    bool removed;
    size_t name;                    /* 0: none; else where it begins */
    char text[];                    /* the address, then the name */
};

static void virtual_told(struct gr_mod *self, const struct gr_jid *jid, const void *data,
                         size_t len)
{
    const struct virtual_news *news = data;
    struct gr_roster_item item = { .sub = GR_SUB_BOTH, .in_roster = !news->removed };
    struct gr_roster_item_ev ev = { .owner = jid, .item = &item };
    struct gr_jid *who;

    (void)len;
    virtual_forget(virtual_of(self));
    if (gr_account_find(self, jid) == NULL ||
        gr_jid_parse(news->text, strlen(news->text), &who) != 0)
        return;
    item.jid = who;
    item.name = news->name > 0 ? news->text + news->name : NULL;
    if (!gr_jid_equal(who, jid))
        gr_hook_run_custom(self, "roster_push_item", &ev.ev, NULL);
    gr_jid_free(&who);
}

struct virtual_round {
    struct virtual_news *news;
    size_t len;
};

static void virtual_told_page(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a);

static void virtual_next_page(struct gr_mod *self, struct virtual_round round, const char *after)
{
    struct gr_ask *ask = gr_ask_new(self, sizeof(round), virtual_told_page);

    *(struct virtual_round *)gr_ask_data(ask) = round;
    gr_auth_list(self, ask, after, VIRTUAL_PAGE);
}

static void virtual_told_page(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct virtual_round round = *(struct virtual_round *)gr_ask_data(ask);
    bool listed = a->result == GR_R_OK || a->result == GR_R_FALSE;

    for (size_t i = 0; listed && i < a->count; i++)
        gr_post(self, a->items[i].jid, virtual_told, round.news, round.len);
    if (a->result == GR_R_FALSE && a->text != NULL)
        virtual_next_page(self, round, a->text);
    else
        gr_free(round.news);
}

static void virtual_tell_all(struct gr_mod *self, const struct gr_jid *who, const char *name,
                             bool removed)
{
    size_t at = who->bare_len + 1u, name_len = name != NULL ? strlen(name) + 1 : 0;
    struct virtual_round round = { .len = sizeof(*round.news) + at + name_len };

    round.news = gr_alloc(round.len);
    round.news->removed = removed;
    round.news->name = name != NULL ? at : 0;
    memcpy(round.news->text, who->bare, at);
    if (name != NULL)
        memcpy(round.news->text + at, name, name_len);
    virtual_next_page(self, round, NULL);
}

static void virtual_registered(struct gr_mod *self, struct gr_user_ev *ev)
{
    virtual_forget(virtual_of(self));
    virtual_need(self, NULL, NULL, ev->jid); /* when it is in the list: tell everybody */
}

/* In the list, or in the one before it. */
static bool virtual_seen(const struct virtual_state *st, const struct gr_jid *jid)
{
    size_t n = st->past != NULL ? gr_roster_list_count(st->past) : 0;

    for (size_t i = 0; i < n; i++) {
        if (gr_jid_equal(gr_roster_list_at(st->past, i)->jid, jid))
            return true;
    }
    return st->list != NULL && virtual_find(st, jid) != NULL;
}

/* Whether a removed account was staff cannot be asked any more. Only what some list had is told
 * then: the names of the others are nobody's business. In a list of everybody no harm is done. */
static enum gr_verdict virtual_removed(struct gr_mod *self, struct gr_user_ev *ev)
{
    struct virtual_state *st = virtual_of(self);
    bool tell = virtual_seen(st, ev->jid) || (!st->staff && st->list == NULL);

    virtual_forget(st);
    if (tell)
        virtual_tell_all(self, ev->jid, NULL, true);
    return GR_OK;
}

/* --- the provider --- */

static void virtual_contacts(struct gr_mod *self, void *inst, struct gr_ask *ask,
                             const struct gr_jid *user)
{
    (void)inst;
    virtual_need(self, ask, user, NULL);
}

static void virtual_contact(struct gr_mod *self, void *inst, struct gr_ask *ask,
                            const struct gr_jid *user, const struct gr_jid *contact)
{
    (void)inst;
    virtual_need(self, ask, user, contact);
}

/* Complete: what is left out is refused or without effect, and no provider below is asked. */
#define VIRTUAL_PROVIDER(text)                                                                    \
    { .name = (text), .complete = true, .get_contacts = virtual_contacts,                         \
      .get_contact = virtual_contact }

/* --- for the descriptor --- */

static const struct gr_opt virtual_options[] = {
    GR_OPT_INT(struct virtual_conf, max_items, 10000, 1, 1000000, "accounts in the roster"),
    GR_OPT_DURATION(struct virtual_conf, refresh, GR_MINUTE, GR_SECOND, GR_DAY,
                    "how long a change of an account that is no registration or removal may go "
                    "unnoticed"),
    GR_OPT_END
};

static const struct gr_hook virtual_hooks[] = {
    GR_ON(register_user, GR_PRIO_NORMAL, virtual_registered),
    GR_ON(remove_user, GR_PRIO_NORMAL, virtual_removed),
    GR_HOOK_END
};

static int virtual_start(struct gr_mod *self, const struct gr_roster_provider *p, bool staff)
{
    struct virtual_state *st = virtual_of(self);

    st->staff = staff;
    st->waits_end = &st->waits;
    if (gr_provide_roster(self, p, GR_PROVIDER_DEFAULT_PRIO) == 0)
        gr_warn("roster.virtual", "mod_%s: another roster provider stays", gr_mod_name(self));
    return 0;
}

static void virtual_stop(struct gr_mod *self)
{
    struct virtual_state *st = virtual_of(self);

    virtual_forget(st);
    gr_roster_list_free(&st->past);
    gr_roster_list_free(&st->next);
    while (st->waits != NULL) {
        struct virtual_wait *w = st->waits;

        st->waits = w->next;
        gr_jid_free(&w->user);
        gr_jid_free(&w->contact);
        gr_free(w);
    }
}
