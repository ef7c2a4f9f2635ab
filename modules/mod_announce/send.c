/* mod_announce/send.c: announcements to many, a few every STEP_MS, so that nothing else waits for them
 * and the store can follow. Nobody is listed beforehand: that alone would take a while. */
#include "announce.h"

#include <string.h>

#define STEP_MS 50
#define STEP_MAX 1000           /* sessions or accounts looked at in one step */

enum what { ONLINE, ALL, MOTD };

struct round {
    struct round *next;
    struct gr_timer timer;
    struct gr_cmd *cmd;
    enum what what;
    unsigned id;
    uint64_t at;                /* ONLINE, MOTD: how far among the sessions */
    size_t left;                /* how many more in this step */
    char *subject, *text;
    char *after;                /* ALL: the account behind which the next page begins */
    int64_t sent;
};

static struct announce *state_of(struct gr_mod *self)
{
    return gr_state(self);
}

/* How many in one step. */
static size_t step_size(struct gr_mod *self)
{
    const struct announce_conf *conf = gr_conf(self);
    size_t n = (size_t)conf->rate * STEP_MS / 1000;

    return n < 1 ? 1 : n > STEP_MAX ? STEP_MAX : n;
}

struct gr_stanza *announcement(struct gr_mod *self, enum gr_type type, const struct gr_jid *to,
                               const struct words *w)
{
    struct gr_stanza *st = gr_message_new(type, gr_mod_host_jid(self), to);

    if (w->subject != NULL && w->subject[0] != '\0')
        gr_el_add_text(st, NULL, NULL, "subject", w->subject);
    gr_el_add_text(st, NULL, NULL, "body", w->text);
    return st;
}

/* --- rounds --- */

static void round_free(struct gr_mod *self, struct round *r)
{
    struct round **at = &state_of(self)->rounds;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    state_of(self)->count--;
    gr_timer_stop(&r->timer);
    gr_free(r->subject);
    gr_free(r->text);
    gr_free(r->after);
    gr_free(r);
}

static void round_done(struct gr_mod *self, struct round *r)
{
    gr_cmd_row(r->cmd);
    gr_cmd_number(r->cmd, r->what == MOTD ? "asked" : "sent", r->sent);
    gr_cmd_done(r->cmd);
    round_free(self, r);
}

static struct round *round_new(struct gr_mod *self, struct gr_cmd *cmd, enum what what,
                               const struct words *w)
{
    struct announce *a = state_of(self);
    struct round *r;

    if (a->count == ROUNDS_MAX) {
        gr_cmd_fail(cmd, "%d announcements are under way already: try later", ROUNDS_MAX);
        return NULL;
    }
    r = gr_alloc(sizeof(*r));
    r->cmd = cmd;
    r->what = what;
    r->id = ++a->sent_id;
    if (w != NULL) {
        r->subject = w->subject != NULL ? gr_strdup(w->subject) : NULL;
        r->text = gr_strdup(w->text);
    }
    r->next = a->rounds;
    a->rounds = r;
    a->count++;
    return r;
}

void sends_stop(struct gr_mod *self)
{
    struct announce *a = state_of(self);

    while (a->rounds != NULL) {
        gr_cmd_fail(a->rounds->cmd, "interrupted: mod_announce was replaced after %lld",
                    (long long)a->rounds->sent);
        round_free(self, a->rounds);
    }
}

/* --- to who is online --- */

static void send_one(struct gr_mod *self, struct round *r, const struct gr_jid *to)
{
    struct words w = { r->subject, r->text };

    r->sent++;
    if (r->what == MOTD)
        motd_give(self, to);
    else /* a headline: whoever has gone meanwhile does not get it later */
        gr_send(self, announcement(self, r->what == ALL ? GR_MSG_NORMAL : GR_MSG_HEADLINE, to, &w));
}

static bool send_to(struct gr_mod *self, struct gr_session *s, void *ctx)
{
    struct round *r = ctx;

    if (!gr_session_available(s))
        return true;
    send_one(self, r, gr_session_jid(s));
    return --r->left > 0;
}

static void step_online(struct gr_mod *self, struct gr_timer *t)
{
    struct round *r = GR_CONTAINER_OF(t, struct round, timer);

    r->left = step_size(self);
    if (gr_some_sessions(self, &r->at, STEP_MAX, send_to, r))
        gr_timer_start(self, t, STEP_MS, step_online);
    else
        round_done(self, r);
}

static void start_online(struct gr_mod *self, struct round *r)
{
    if (r != NULL)
        step_online(self, &r->timer);
}

void send_online(struct gr_mod *self, struct gr_cmd *cmd, const struct words *w)
{
    start_online(self, round_new(self, cmd, ONLINE, w));
}

/* Those with several sessions come several times: they have seen it then. */
void send_motd(struct gr_mod *self, struct gr_cmd *cmd)
{
    start_online(self, round_new(self, cmd, MOTD, NULL));
}

/* --- to everybody --- */

struct paging {
    unsigned id;
};

static void step_all(struct gr_mod *self, struct gr_timer *t);

static struct round *by_id(struct gr_mod *self, unsigned id)
{
    struct round *r = state_of(self)->rounds;

    while (r != NULL && r->id != id)
        r = r->next;
    return r;
}

static void on_page(struct gr_mod *self, struct gr_ask *ask, const struct gr_answer *a)
{
    struct round *r = by_id(self, ((struct paging *)gr_ask_data(ask))->id);

    if (r == NULL) /* interrupted */
        return;
    if (a->result == GR_R_ERROR || a->result == GR_R_NONE) {
        gr_cmd_fail(r->cmd, "this host's accounts cannot be listed; sent to %lld",
                    (long long)r->sent);
        round_free(self, r);
        return;
    }
    for (size_t i = 0; i < a->count; i++)
        send_one(self, r, a->items[i].jid);
    gr_free(r->after);
    r->after = a->result == GR_R_FALSE && a->text != NULL ? gr_strdup(a->text) : NULL;
    if (r->after != NULL)
        gr_timer_start(self, &r->timer, STEP_MS, step_all);
    else
        round_done(self, r);
}

static void step_all(struct gr_mod *self, struct gr_timer *t)
{
    struct round *r = GR_CONTAINER_OF(t, struct round, timer);
    struct gr_ask *ask = gr_ask_new(self, sizeof(struct paging), on_page);

    ((struct paging *)gr_ask_data(ask))->id = r->id;
    gr_auth_list(self, ask, r->after, step_size(self));
}

void send_all(struct gr_mod *self, struct gr_cmd *cmd, const struct words *w)
{
    struct round *r = round_new(self, cmd, ALL, w);

    if (r != NULL)
        step_all(self, &r->timer);
}
