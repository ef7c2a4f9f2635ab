/* mod_mam/lookup.c: finding where a page begins. The ids that the question names must be there
 * (XEP-0313, 4.1.3 and 4.3.2), and limits of time and id are turned into numbers of rows: each by
 * halving, since the time of the rows rises with their number. */
#include <string.h>

#include <grapnel/log.h>

#include "lookup.h"

/* --- begin and end --- */

static void lookup_free(struct lookup *l)
{
    gr_jid_free(&l->owner);
    gr_jid_free(&l->with);
    gr_free(l);
}

void lookup_end(struct lookup *l, int rc)
{
    l->ev->rc = rc;
    l->done = true;
    if (l->hold == NULL)
        return;
    gr_resume(l->hold, GR_OK);
    lookup_free(l);
}

bool lookup_late(struct lookup *l)
{
    if (!l->abandoned && (l->hold == NULL || gr_hold_waits(l->hold)))
        return false;
    if (l->hold != NULL)
        gr_resume(l->hold, GR_FAIL);
    lookup_free(l);
    return true;
}

struct gr_req *lookup_request(struct lookup *l, gr_store_f done)
{
    struct gr_req *req = gr_req_new(l->self, sizeof(struct lookup *), done);

    *(struct lookup **)gr_req_data(req) = l;
    return req;
}

struct lookup *lookup_of(struct gr_req *req)
{
    return *(struct lookup **)gr_req_data(req);
}

bool lookup_give(struct lookup *l, const struct row *r)
{
    char id[MAM_ID_SIZE];

    id_put(id, r->us, r->salt);
    l->q->row(l->q, &(struct gr_mam_row){ .id = id, .time_us = (int64_t)r->us, .xml = r->xml,
                                          .len = r->xml_len });
    l->q->left--;
    l->bytes += r->xml_len;
    return l->q->left > 0 && l->bytes < CHUNK_BYTES;
}

/* --- halving --- */

static void search_step(struct lookup *l);

static void on_middle(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);
    uint64_t middle = l->low + (l->high - l->low) / 2;
    struct row r = { .us = 0 };

    (void)self;
    if (lookup_late(l))
        return;
    if (rows->rc != 0 && rows->rc != GR_ENOENT) {
        lookup_end(l, rows->rc);
        return;
    }
    if (rows->rc == 0 && row_get(&r, rows->row) != 0) {
        lookup_end(l, GR_EIO);
        return;
    }
    if (r.us < l->us) { /* one that is not there any more was older */
        l->low = middle + 1;
    } else {
        l->high = middle;
        l->found = r;
    }
    search_step(l);
}

static void search_step(struct lookup *l)
{
    uint8_t key[8];

    if (l->low == l->high) {
        l->then(l, l->low);
        return;
    }
    put_u64(key, l->low + (l->high - l->low) / 2);
    gr_store_get(lookup_request(l, on_middle), MESSAGES, l->owner->bare, key, sizeof(key));
}

void lookup_search(struct lookup *l, uint64_t us, void (*then)(struct lookup *l, uint64_t seq))
{
    l->us = us;
    l->low = l->first;
    l->high = l->last + 1;
    l->found.us = 0;
    l->then = then;
    for (size_t i = 0; i < l->places; i++) {
        const struct place *p = &l->place[i];

        if (p->us == us - 1)
            l->low = l->high = p->seq + 1;
        if (p->us == us) {
            l->low = l->high = p->seq;
            l->found = (struct row){ .us = p->us, .salt = p->salt };
            break;
        }
    }
    if (us == 0)
        l->high = l->low;
    else if (us > INT64_MAX)
        l->low = l->high;
    search_step(l);
}

/* --- the ids that must be there --- */

static const char *id_to_check(const struct gr_mam_query *q, size_t i)
{
    const char *named[] = { q->after_id, q->before_id, q->rsm.after,
                            q->rsm.before != NULL && q->rsm.before[0] != '\0' ? q->rsm.before
                                                                              : NULL };

    if (i < GR_COUNT(named))
        return named[i] != NULL ? named[i] : "";
    return i - GR_COUNT(named) < q->id_count ? q->ids[i - GR_COUNT(named)] : NULL;
}

static void bounds(struct lookup *l);

static void check_next(struct lookup *l);

static void on_checked(struct lookup *l, uint64_t seq)
{
    uint64_t us;
    uint32_t salt;

    id_get(id_to_check(l->q, l->at), &us, &salt);
    if (l->found.us != us || l->found.salt != salt) {
        lookup_end(l, GR_ENOENT);
        return;
    }
    if (l->places < PLACES)
        l->place[l->places++] = (struct place){ us, seq, salt };
    l->at++;
    check_next(l);
}

static void check_next(struct lookup *l)
{
    const char *id;
    uint64_t us;
    uint32_t salt;

    while ((id = id_to_check(l->q, l->at)) != NULL && id[0] == '\0')
        l->at++;
    if (id == NULL)
        bounds(l);
    else if (id_get(id, &us, &salt) != 0 || us == 0)
        lookup_end(l, GR_ENOENT);
    else
        lookup_search(l, us, on_checked);
}

/* --- the bounds as numbers --- */

static void next_bound(struct lookup *l);

static void on_bound(struct lookup *l, uint64_t seq)
{
    l->bound[l->at++] = seq;
    next_bound(l);
}

static void next_bound(struct lookup *l)
{
    const uint64_t us[BOUNDS] = { l->all.from, l->all.to + 1, l->page.from, l->page.to + 1 };

    if (l->at < BOUNDS)
        lookup_search(l, us[l->at], on_bound);
    else if (l->with == NULL)
        page_plan(l);
    else if (!l->q->begun)
        contact_plan(l);
    else
        contact_rows(l);
}

static void bounds(struct lookup *l)
{
    l->at = l->with != NULL ? PAGE_FROM : ALL_FROM;
    if (l->q->ids != NULL)
        ids_plan(l);
    else
        next_bound(l);
}

static void narrow(struct span *s, const char *after, const char *before)
{
    uint64_t us;
    uint32_t salt;

    if (after != NULL && id_get(after, &us, &salt) == 0 && us >= s->from)
        s->from = us + 1;
    if (before != NULL && id_get(before, &us, &salt) == 0 && us <= s->to)
        s->to = us - 1;
}

static void set_spans(struct lookup *l)
{
    const struct gr_mam_query *q = l->q;

    l->all.from = q->start_us > 0 ? (uint64_t)q->start_us : 0;
    l->all.to = q->end_us >= 0 ? (uint64_t)q->end_us : 0;
    narrow(&l->all, q->after_id, q->before_id);
    l->page = l->all;
    narrow(&l->page, q->rsm.after, q->rsm.before);
}

/* --- the hooks --- */

static void on_head(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct lookup *l = lookup_of(req);

    (void)self;
    if (lookup_late(l))
        return;
    if (rows->rc != 0) {
        lookup_end(l, rows->rc);
        return;
    }
    l->last = rows->last;
    l->first = rows->last - rows->count + 1;
    if (!l->q->begun) {
        l->q->index = l->q->count = -1;
        check_next(l);
    } else if (l->q->ids != NULL) {
        ids_rows(l);
    } else if (l->with != NULL) {
        bounds(l);
    } else {
        page_rows(l);
    }
}

enum gr_verdict on_lookup(struct gr_mod *self, struct gr_mam_ev *ev)
{
    struct lookup *l = gr_alloc(sizeof(*l));

    l->self = self;
    l->ev = ev;
    l->q = ev->query;
    l->owner = gr_jid_dup_bare(ev->owner);
    l->with = ev->query->with != NULL ? gr_jid_dup(ev->query->with) : NULL;
    set_spans(l);
    gr_store_count(lookup_request(l, on_head), MESSAGES, l->owner->bare);
    if (!l->done) {
        l->hold = gr_hold(self, &ev->ev);
        l->abandoned = l->hold == NULL;
        return l->abandoned ? GR_FAIL : GR_PENDING;
    }
    lookup_free(l);
    return GR_OK;
}

struct counting {
    struct gr_mam_ev *ev;
    struct gr_hold *hold;
    bool done, abandoned;
};

static void on_count(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct counting *c = *(struct counting **)gr_req_data(req);

    (void)self;
    c->done = true;
    if (!c->abandoned && (c->hold == NULL || gr_hold_waits(c->hold))) {
        c->ev->rc = rows->rc;
        c->ev->count = rows->count;
    }
    if (c->hold != NULL)
        gr_resume(c->hold, GR_OK);
    if (c->hold != NULL || c->abandoned)
        gr_free(c);
}

enum gr_verdict on_size(struct gr_mod *self, struct gr_mam_ev *ev)
{
    struct counting *c = gr_alloc(sizeof(*c));
    struct gr_req *req = gr_req_new(self, sizeof(c), on_count);

    c->ev = ev;
    *(struct counting **)gr_req_data(req) = c;
    gr_store_count(req, MESSAGES, ev->owner->bare);
    if (!c->done) {
        c->hold = gr_hold(self, &ev->ev);
        c->abandoned = c->hold == NULL;
        return c->abandoned ? GR_FAIL : GR_PENDING;
    }
    gr_free(c);
    return GR_OK;
}
