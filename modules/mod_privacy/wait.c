/* mod_privacy/wait.c: a stanza that cannot be judged before something is read: the account's
 * lists, or what its roster says about the peer. It is held meanwhile, and judged then. Should that
 * take too long it does not pass: sooner than the core would go on as if nobody had held it. */
#include "privacy.h"

enum { WAIT_MS = 20000 };

struct wait {
    struct task task;
    struct gr_mod *self;
    struct gr_hold *hold;       /* NULL: given back, what was asked for has not come yet */
    struct gr_timer timer;
    struct gr_stanza_ev *ev;    /* while the hold waits */
    judge_f judge;
    struct gr_jid *owner, *peer;
    struct book offline;        /* of an account without sessions */
    struct gr_jid_info_ev info;
    unsigned changes;
};

static void step(struct wait *w);

static void wait_drop(struct task *t)
{
    struct wait *w = GR_CONTAINER_OF(t, struct wait, task);

    gr_timer_stop(&w->timer);
    task_leave(t);
    book_clear(&w->offline);
    gr_jid_free(&w->owner);
    gr_jid_free(&w->peer);
    gr_free(w);
}

static void end(struct wait *w, enum gr_verdict verdict)
{
    struct gr_hold *hold = w->hold;

    wait_drop(&w->task);
    gr_resume(hold, verdict);
}

static void give_up(struct wait *w, enum gr_cond cond)
{
    end(w, gr_hold_waits(w->hold) ? close_gate(w->self, w->ev, cond) : GR_FAIL);
}

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    struct wait *w = GR_CONTAINER_OF(t, struct wait, timer);
    struct gr_hold *hold = w->hold;
    enum gr_verdict verdict = GR_FAIL;

    w->hold = NULL;
    if (gr_hold_waits(hold))
        verdict = close_gate(self, w->ev, GR_RESOURCE_CONSTRAINT);
    gr_resume(hold, verdict);
}

static struct book *book_for(struct wait *w)
{
    struct book *b = book_find(w->self, w->owner);

    return b != NULL ? b : w->offline.read ? &w->offline : NULL;
}

static void on_loaded(struct gr_mod *self, void *ctx, struct book *take, int rc)
{
    struct wait *w = ctx;
    struct privacy *p = gr_state(self);

    if (w->hold == NULL) {
        wait_drop(&w->task);
        return;
    }
    if (rc != 0) {
        give_up(w, gr_cond_of(rc));
        return;
    }
    if (!book_adopt(self, w->owner, take)) {
        if (take->def == NULL)
            p->bare[w->owner->hash % BARE_MAX] = w->owner->hash;
        w->offline = *take;
        w->offline.read = true;
        *take = (struct book){ 0 };
    }
    step(w);
}

static void on_info(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_jid_info_ev *info = GR_CONTAINER_OF(ev, struct gr_jid_info_ev, ev);
    struct wait *w = GR_CONTAINER_OF(info, struct wait, info);
    struct book *b = book_for(w);

    (void)self, (void)verdict;
    if (w->hold == NULL) {
        wait_drop(&w->task);
        return;
    }
    if (ev->failed > 0) {
        give_up(w, GR_INTERNAL_SERVER_ERROR);
        return;
    }
    if (b != NULL && b->changes == w->changes)
        known_add(b, w->peer, info);
    step(w);
}

static void ask_roster(struct wait *w, const struct book *b)
{
    w->changes = b->changes;
    w->info = (struct gr_jid_info_ev){ .owner = w->owner, .contact = w->peer };
    gr_hook_run(w->self, GR_HOOK_roster_get_jid_info, &w->info.ev, on_info);
}

static void step(struct wait *w)
{
    const struct book *b = book_for(w);
    int verdict;

    if (!gr_hold_waits(w->hold)) {
        end(w, GR_FAIL);
        return;
    }
    if (b == NULL) {
        book_load(w->self, w->owner, on_loaded, w);
        return;
    }
    verdict = w->judge(w->self, w->ev, b);
    if (verdict == ASK)
        ask_roster(w, b);
    else
        end(w, (enum gr_verdict)verdict);
}

enum gr_verdict judge_later(struct gr_mod *self, struct gr_stanza_ev *ev, judge_f judge,
                            const struct gr_jid *owner, const struct gr_jid *peer)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct wait *w;

    if (hold == NULL)
        return close_gate(self, ev, GR_RESOURCE_CONSTRAINT);
    w = gr_alloc(sizeof(*w));
    w->self = self;
    w->hold = hold;
    w->ev = ev;
    w->judge = judge;
    w->owner = gr_jid_dup_bare(owner);
    w->peer = gr_jid_dup_bare(peer);
    task_add(self, &w->task, wait_drop);
    gr_timer_start(self, &w->timer, WAIT_MS, on_timer);
    step(w);
    return GR_PENDING;
}
