/* mod/savepoint.c: what a failing handler changed is taken back (hooks.md 1.3, rule 2).
 *
 * Remembered before each handler: the event itself (results are its members), the two heads of the
 * accumulator, the length of a roster list. The stanza's original reference is put aside when a handler
 * exchanges it (gr_ev_edit makes a private copy, once per handler); what it appended in place
 * (gr_ev_append) is counted and cut off again. Not taken back: elements that
 * a handler appended to a stanza which all handlers of a chain share (stream features, disco
 * results); such a handler appends last. */
#include "mod/run.h"

#include <string.h>

#include <grapnel/log.h>

static void exchange(struct gr_stanza_ev *ev, struct gr_stanza *take);

static struct gr_stanza_ev *stanza_ev(struct gr_run *run)
{
    return (struct gr_stanza_ev *)(void *)run->ev;
}

static struct gr_roster_ev *roster_ev(struct gr_run *run)
{
    bool yes = run->id == GR_HOOK_roster_get || run->id == GR_HOOK_roster_get_subscription_lists;

    return yes ? (struct gr_roster_ev *)(void *)run->ev : NULL;
}

/* A stanza that this handler put into its event as a result. */
static struct gr_stanza **result_of(struct gr_run *run, void *event)
{
    switch (run->id) {
    case GR_HOOK_privacy_iq_get:
    case GR_HOOK_privacy_iq_set:
        return &((struct gr_privacy_ev *)event)->reply;
    case GR_HOOK_adhoc_local_commands:
    case GR_HOOK_adhoc_sm_commands:
        return &((struct gr_adhoc_ev *)event)->reply;
    default:
        return NULL;
    }
}

void run_save(struct gr_run *run)
{
    struct gr_roster_ev *roster = roster_ev(run);

    memcpy(&run->before, run->ev, hook_event_size(run->id));
    if (run->ev->acc != NULL) {
        run->notes = run->ev->acc->notes;
        run->requests = run->ev->acc->requests;
    }
    if (roster != NULL && roster->items != NULL)
        run->roster_items = gr_roster_list_count(roster->items);
}

void run_keep(struct gr_run *run)
{
    if (run->original != NULL) /* after each handler: mostly not */
        gr_stanza_unref(&run->original);
    run->private_copy = false;
    run->appended = 0;
}

static void undo_results(struct gr_run *run)
{
    struct gr_roster_ev *roster = roster_ev(run);
    struct gr_stanza **now = result_of(run, run->ev), **before = result_of(run, &run->before);

    if (now != NULL && *now != *before)
        gr_stanza_unref(now);
    if (roster == NULL)
        return;
    while (roster->pending_count > run->before.roster_get.pending_count)
        gr_stanza_unref(&roster->pending[--roster->pending_count]);
    run->before.roster_get.pending = roster->pending; /* it may have moved */
    if (roster->items != NULL && roster->items == run->before.roster_get.items)
        roster_list_truncate(roster->items, run->roster_items);
}

/* The handler may have given the stanza to somebody, who keeps it as it is. */
static void cut_appended(struct gr_run *run)
{
    struct gr_stanza_ev *ev = stanza_ev(run);
    unsigned n = run->appended;

    if (gr_stanza_is_shared(ev->stanza))
        exchange(ev, gr_stanza_copy(ev->stanza));
    for (; n > 0; n--) {
        struct gr_el *last = NULL, *el = gr_stanza_child(ev->stanza, NULL, NULL);

        for (; el != NULL; el = gr_el_next(el, NULL, NULL))
            last = el;
        gr_el_remove(ev->stanza, last);
    }
    run_keep(run);
}

void run_undo(struct gr_run *run)
{
    struct gr_acc *acc = run->before.ev.acc;
    struct gr_run *running = run->ev->run;

    undo_results(run);
    if (run->original != NULL) {
        gr_stanza_unref(&stanza_ev(run)->stanza);
        run->original = NULL; /* the copy of the event has it */
        run->private_copy = false;
    }
    memcpy(run->ev, &run->before, hook_event_size(run->id));
    run->ev->run = running; /* the run may have moved to the heap since */
    if (acc != NULL)
        acc_rollback(acc, run->notes, run->requests);
    if (run->appended > 0)
        cut_appended(run);
}

/* --- changing the stanza --- */

/* Puts `take` in the place of the event's stanza. The addresses may have pointed into the old one. */
static void exchange(struct gr_stanza_ev *ev, struct gr_stanza *take)
{
    struct gr_run *run = ev->ev.run;
    struct gr_stanza *old = ev->stanza;

    if (ev->ev.acc != NULL && ev->from != NULL && ev->from == gr_stanza_from(old))
        ev->from = acc_keep_jid(ev->ev.acc, ev->from);
    if (ev->ev.acc != NULL && ev->to != NULL && ev->to == gr_stanza_to(old))
        ev->to = acc_keep_jid(ev->ev.acc, ev->to);
    ev->stanza = take;
    if (run != NULL && run->original == NULL)
        run->original = old;
    else
        gr_stanza_unref(&old);
}

struct gr_stanza *gr_ev_edit(struct gr_stanza_ev *ev)
{
    struct gr_run *run = ev->ev.run;

    gr_assert(run == NULL || hook_is_stanza(run->id));
    if (run == NULL || !run->private_copy)
        exchange(ev, gr_stanza_copy(ev->stanza));
    if (run != NULL)
        run->private_copy = true;
    return ev->stanza;
}

struct gr_el *gr_ev_append(struct gr_stanza_ev *ev, const char *ns, const char *name)
{
    struct gr_run *run = ev->ev.run;
    bool in_place = !gr_stanza_is_shared(ev->stanza);

    gr_assert(run == NULL || hook_is_stanza(run->id));
    if (!in_place)
        gr_ev_edit(ev);
    else if (run != NULL && run->original == NULL)
        run->appended++;
    return gr_el_add(ev->stanza, NULL, ns, name);
}

void gr_ev_replace(struct gr_stanza_ev *ev, struct gr_stanza *take)
{
    gr_assert(ev->ev.run == NULL || hook_is_stanza(ev->ev.run->id));
    gr_assert(take != NULL);
    exchange(ev, take);
    if (ev->ev.run != NULL)
        ev->ev.run->private_copy = false;
}

void gr_ev_redirect(struct gr_stanza_ev *ev, const struct gr_jid *from, const struct gr_jid *to)
{
    const struct gr_run *run = ev->ev.run;
    struct gr_stanza *st;

    if (run == NULL || ev->ev.acc == NULL ||
        (run->id != GR_HOOK_filter_packet && run->id != GR_HOOK_filter_local_packet)) {
        gr_error("mod.redirect", "a handler redirected a stanza in %s; only filters may",
                 run != NULL ? run->name : "no chain");
        return;
    }
    st = gr_ev_edit(ev);
    if (from != NULL) {
        ev->from = acc_keep_jid(ev->ev.acc, from);
        gr_stanza_set_from(st, ev->from);
    }
    if (to != NULL) {
        ev->to = acc_keep_jid(ev->ev.acc, to);
        gr_stanza_set_to(st, ev->to);
    }
}
