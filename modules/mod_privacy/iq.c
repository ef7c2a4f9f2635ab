/* mod_privacy/iq.c: jabber:iq:privacy (XEP-0016, 2.3 to 2.8). */
#include "privacy.h"
#include "../privacy_request.h"

#include <string.h>

void on_iq(struct gr_mod *self, struct gr_iq_ev *ev)
{
    privacy_request(self, ev);
}

static enum gr_verdict answer(struct gr_privacy_ev *ev, enum gr_cond cond)
{
    if (cond == GR_COND_NONE && ev->reply == NULL)
        ev->reply = gr_iq_result(ev->stanza);
    ev->cond = cond;
    return GR_STOP;
}

static void note_interest(struct gr_mod *self, const struct gr_privacy_ev *ev)
{
    struct gr_session *s = gr_session_find(self, ev->peer, 0);
    struct seat *seat = s != NULL ? seat_of(self, s) : NULL;

    if (seat == NULL || seat->interested)
        return;
    seat->interested = true;
    gr_session_changed(self, s);
}

/* --- get --- */

static void add_name(struct gr_stanza *st, struct gr_el *query, const char *what,
                     const struct list *l)
{
    if (l != NULL)
        gr_el_set(st, gr_el_add(st, query, NULL, what), "name", l->name);
}

static enum gr_verdict get_names(struct gr_mod *self, struct gr_privacy_ev *ev,
                                 const struct book *b)
{
    const struct gr_session *s = gr_session_find(self, ev->peer, 0);
    const struct seat *seat = s != NULL ? gr_session_slot_peek(self, s, &seat_slot) : NULL;
    struct gr_stanza *st = gr_iq_result(ev->stanza);
    struct gr_el *query = gr_el_add(st, NULL, NS_PRIVACY, "query");

    add_name(st, query, "active", seat != NULL ? seat->active : NULL);
    add_name(st, query, "default", b->def);
    for (size_t i = 0; i < b->count; i++)
        gr_el_set(st, gr_el_add(st, query, NULL, "list"), "name", b->names[i]);
    ev->reply = st;
    return answer(ev, GR_COND_NONE);
}

struct reading {
    struct gr_hold *hold;
    struct gr_privacy_ev *ev;
};

static void on_list(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct reading *r = gr_req_data(req);
    struct list *l = rows->rc == 0 ? list_of_row(&rows->row[0]) : NULL;

    (void)self;
    if (gr_hold_waits(r->hold) && l == NULL) {
        answer(r->ev, rows->rc == GR_ENOENT ? GR_ITEM_NOT_FOUND : rows->rc != 0
                          ? gr_cond_of(rows->rc) : GR_INTERNAL_SERVER_ERROR);
    } else if (l != NULL && gr_hold_waits(r->hold)) {
        struct gr_stanza *st = gr_iq_result(r->ev->stanza);
        struct gr_el *query = gr_el_add(st, NULL, NS_PRIVACY, "query");

        list_write(st, gr_el_add(st, query, NULL, "list"), l);
        r->ev->reply = st;
        answer(r->ev, GR_COND_NONE);
    }
    list_unref(&l);
    gr_resume(r->hold, GR_OK);
}

static enum gr_verdict get_list(struct gr_mod *self, struct gr_privacy_ev *ev, const char *name)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct gr_req *req;
    size_t len;
    char *key;

    if (hold == NULL)
        return answer(ev, GR_RESOURCE_CONSTRAINT);
    req = gr_req_new(self, sizeof(struct reading), on_list);
    *(struct reading *)gr_req_data(req) = (struct reading){ hold, ev };
    key = list_key(name, &len);
    gr_store_get(req, &privacy_colls[0], ev->owner->bare, key, len);
    gr_free(key);
    return GR_PENDING;
}

enum gr_verdict on_iq_get(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    const struct gr_el *query = privacy_payload(ev, NS_PRIVACY), *el;
    const struct book *b = book_find(self, ev->owner);
    const char *name;

    if (query == NULL)
        return GR_OK;
    note_interest(self, ev);
    if (b == NULL)
        return answer(ev, GR_INTERNAL_SERVER_ERROR);
    el = gr_el_child(query, NULL, NULL);
    if (el == NULL)
        return get_names(self, ev, b);
    name = gr_el_attr(el, "name");
    if (gr_el_next(el, NULL, NULL) != NULL || !gr_el_is(el, NS_PRIVACY, "list") || name == NULL)
        return answer(ev, GR_BAD_REQUEST);
    return book_has(b, name) ? get_list(self, ev, name) : answer(ev, GR_ITEM_NOT_FOUND);
}

/* --- set --- */

static void changed(struct change *c, enum gr_cond cond)
{
    if (gr_hold_waits(c->hold))
        answer(GR_CONTAINER_OF(c->ev, struct gr_privacy_ev, ev), cond);
    gr_resume(c->hold, GR_OK);
}

static enum gr_verdict start(struct gr_mod *self, struct gr_privacy_ev *ev, enum change_op op,
                             const char *name, struct list *take_list)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct change *c;

    if (hold == NULL) {
        list_unref(&take_list);
        return answer(ev, GR_RESOURCE_CONSTRAINT);
    }
    c = change_new(self, op, ev->owner, ev->peer);
    c->name = name != NULL ? gr_strdup(name) : NULL;
    c->list = take_list;
    c->hold = hold;
    c->ev = &ev->ev;
    c->done = changed;
    change_start(c);
    return GR_PENDING;
}

static enum gr_verdict set_list(struct gr_mod *self, struct gr_privacy_ev *ev,
                                const struct gr_el *el, const char *name)
{
    const struct privacy_conf *conf = gr_conf(self);
    struct list *list;
    enum gr_cond cond;

    if (name == NULL || name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
        return answer(ev, GR_BAD_REQUEST);
    if (gr_el_child(el, NULL, NULL) == NULL)
        return start(self, ev, CHANGE_REMOVE, name, NULL);
    cond = list_parse(el, (size_t)conf->max_items, &list);
    if (cond != GR_COND_NONE)
        return answer(ev, cond);
    return start(self, ev, CHANGE_LIST, name, list);
}

enum gr_verdict on_iq_set(struct gr_mod *self, struct gr_privacy_ev *ev)
{
    const struct gr_el *query = privacy_payload(ev, NS_PRIVACY), *el;
    const char *name;

    if (query == NULL)
        return GR_OK;
    note_interest(self, ev);
    el = gr_el_child(query, NULL, NULL);
    if (el == NULL || gr_el_next(el, NULL, NULL) != NULL)
        return answer(ev, GR_BAD_REQUEST);
    name = gr_el_attr(el, "name");
    if (gr_el_is(el, NS_PRIVACY, "list"))
        return set_list(self, ev, el, name);
    if (gr_el_is(el, NS_PRIVACY, "active"))
        return start(self, ev, CHANGE_ACTIVE, name, NULL);
    if (gr_el_is(el, NS_PRIVACY, "default"))
        return start(self, ev, CHANGE_DEFAULT, name, NULL);
    return answer(ev, GR_BAD_REQUEST);
}
