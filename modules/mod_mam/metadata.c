/* mod_mam/metadata.c: an archive's first and last message (XEP-0313, 5), for whoever asks (query.c), and
 * for whoever logs in with Bind 2: where it stands at that moment (XEP-0386, 3.2.1). */
#include "mam.h"

#include <string.h>

/* --- two queries, of one row each --- */

struct gr_mam_query metadata_query(const char *before,
                                   void (*row)(struct gr_mam_query *q, const struct gr_mam_row *row))
{
    return (struct gr_mam_query){
        .start_us = INT64_MIN, .end_us = INT64_MAX, .limit = 1, .row = row,
        .rsm = { .max = 1, .index = -1, .before = before },
    };
}

void metadata_row(const struct gr_mam_row *row, char **first, char **last)
{
    char stamp[GR_STAMP_SIZE], **end = *first == NULL ? first : last;

    gr_stamp(stamp, row->time_us);
    gr_free(*end);
    *end = gr_asprintf("%s %s", row->id, stamp);
}

static void put_end(struct gr_stanza *st, struct gr_el *metadata, const char *name, char *end)
{
    struct gr_el *el = gr_el_add(st, metadata, NULL, name);
    char *stamp = strchr(end, ' ');

    *stamp++ = '\0';
    gr_el_set(st, el, "id", end);
    gr_el_set(st, el, "timestamp", stamp);
}

void metadata_put(struct gr_stanza *st, struct gr_el *at, char *first, char *last)
{
    struct gr_el *metadata = gr_el_add(st, at, NS_MAM, "metadata");

    if (first == NULL || last == NULL)
        return; /* an empty archive */
    put_end(st, metadata, "start", first);
    put_end(st, metadata, "end", last);
}

/* --- within a login --- */

struct binding {
    struct gr_mam_ev ev;
    struct gr_mam_query q;
    struct gr_jid *owner;
    struct gr_hold *hold;
    struct gr_inline_ev *of;    /* while the hold waits */
    char *first, *last;
};

static void on_row(struct gr_mam_query *q, const struct gr_mam_row *row)
{
    struct binding *x = GR_CONTAINER_OF(q, struct binding, q);

    metadata_row(row, &x->first, &x->last);
}

static void on_found(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict);

static void look_up(struct gr_mod *self, struct binding *x, const char *before)
{
    x->q = metadata_query(before, on_row);
    x->ev.rc = GR_ENOTSUP;
    gr_hook_run(self, GR_HOOK_mam_lookup_messages, &x->ev.ev, on_found);
}

/* Whatever goes wrong: the client can ask later. */
static void on_found(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct binding *x = GR_CONTAINER_OF(ev, struct binding, ev.ev);

    (void)verdict;
    if (x->ev.rc == 0 && x->first != NULL && x->q.rsm.before == NULL) {
        look_up(self, x, "");
        return;
    }
    if (x->ev.rc == 0 && gr_hold_waits(x->hold))
        metadata_put(x->of->answer, x->of->at, x->first, x->last);
    gr_resume(x->hold, GR_OK);
    gr_jid_free(&x->owner);
    gr_free(x->first);
    gr_free(x->last);
    gr_free(x);
}

enum gr_verdict on_bind2(struct gr_mod *self, struct gr_inline_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct binding *x;

    if (hold == NULL)
        return GR_OK;
    x = gr_alloc(sizeof(*x));
    x->hold = hold;
    x->of = ev;
    x->owner = gr_jid_dup_bare(gr_session_jid(ev->session));
    x->ev = (struct gr_mam_ev){ .owner = x->owner, .caller = x->owner, .query = &x->q };
    look_up(self, x, NULL);
    return GR_PENDING;
}
