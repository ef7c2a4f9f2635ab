/* mod_inbox/list.c: telling a client its conversations: all rows are looked at, those of the page are
 * sent, a few at a time, and the totals come last. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inbox.h"

enum { WINDOW = 20 }; /* messages on their way at once */

struct item {
    int64_t time_us;
    char *remote;
};
struct list {
    struct list *next, **at_it; /* all that are not answered; what points to this one */
    struct gr_mod *self;
    struct gr_iq_req *req;
    struct ask ask;
    struct item *item;
    size_t n, size;
    size_t at, end;          /* of the page: next, behind the last */
    size_t first;            /* of the page */
    unsigned away;           /* sent, not written yet */
    bool reading, lost;
    uint64_t total, unread, active; /* conversations; unread messages; conversations that have some */
};

static void list_free(struct list *l)
{
    *l->at_it = l->next;
    if (l->next != NULL)
        l->next->at_it = l->at_it;
    for (size_t i = 0; i < l->n; i++)
        gr_free(l->item[i].remote);
    gr_free(l->item);
    gr_free(l);
}

/* --- gathering --- */

static bool on_row(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e)
{
    struct list *l = ctx;
    const struct ask *a = &l->ask;

    (void)self;
    if ((a->box != NULL ? strcmp(e->box, a->box) != 0 : e->binned_us != 0) ||
        e->time_us < a->start_us || e->time_us > a->end_us)
        return true;
    l->total++;
    l->unread += e->unread;
    l->active += e->unread > 0;
    if (a->unread_only && e->unread == 0)
        return true;
    if (l->n == l->size) {
        l->size = 2 * l->size + 32;
        l->item = gr_realloc(l->item, l->size * sizeof(*l->item));
    }
    l->item[l->n++] = (struct item){ e->time_us, gr_strdup(remote) };
    return true;
}

static int compare(const struct item *a, const struct item *b)
{
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    return strcmp(a->remote, b->remote);
}

static int ascending(const void *a, const void *b)
{
    return compare(a, b);
}

static int descending(const void *a, const void *b)
{
    return compare(b, a);
}

/* --- pages: an item is named by its time and address, and need not be there any more --- */

static char *item_id(const struct item *i)
{
    return gr_asprintf("%" PRId64 "/%s", i->time_us, i->remote);
}

static bool read_id(const char *id, struct item *out)
{
    char *end;

    out->time_us = strtoll(id, &end, 10);
    out->remote = end + 1; /* only compared with */
    return end != id && *end == '/';
}

/* How many items stand in front of that one, itself included when `with`. */
static size_t count_before(const struct list *l, const struct item *named, bool with)
{
    size_t n = 0;

    for (; n < l->n; n++) {
        int order = compare(&l->item[n], named);

        if (!l->ask.ascending)
            order = -order;
        if (order > 0 || (order == 0 && !with))
            break;
    }
    return n;
}

/* False: it names an item in another form than ours. */
static bool choose_page(struct list *l)
{
    const struct gr_rsm *rsm = &l->ask.rsm;
    size_t from = 0, to = l->n;
    struct item named;

    if (rsm->after != NULL) {
        if (!read_id(rsm->after, &named))
            return false;
        from = count_before(l, &named, true);
    }
    if (rsm->before != NULL && rsm->before[0] != '\0') {
        if (!read_id(rsm->before, &named))
            return false;
        to = count_before(l, &named, false);
    }
    if (rsm->index >= 0)
        from = (uint64_t)rsm->index < l->n ? (size_t)rsm->index : l->n;
    if (to < from)
        to = from;
    if (to - from > l->ask.limit && rsm->before != NULL)
        from = to - l->ask.limit;
    else if (to - from > l->ask.limit)
        to = from + l->ask.limit;
    l->first = l->at = from;
    l->end = to;
    return true;
}

/* --- the end --- */

static void add_page(const struct list *l, struct gr_stanza *result, struct gr_el *fin)
{
    struct gr_rsm_page page = { .index = -1, .count = (int64_t)l->n };
    char *first = NULL, *last = NULL;

    if (l->end > l->first) {
        page.first = first = item_id(&l->item[l->first]);
        page.last = last = item_id(&l->item[l->end - 1]);
        page.index = (int64_t)l->first;
    }
    gr_rsm_add(result, fin, &page);
    gr_free(first);
    gr_free(last);
}

static void add_number(struct gr_stanza *st, struct gr_el *fin, const char *name, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, n);
    gr_el_add_text(st, fin, NULL, name, text);
}

static void finish(struct list *l)
{
    struct gr_stanza *result = gr_iq_result(gr_iq_req_stanza(l->req));
    struct gr_el *fin = gr_el_add(result, NULL, l->ask.xep ? NS_XEP : NS_INBOX, "fin");

    if (l->ask.xep) {
        gr_el_set_int(result, fin, "total", (int64_t)l->total);
        gr_el_set_int(result, fin, "unread", (int64_t)l->active);
        gr_el_set_int(result, fin, "all-unread", (int64_t)l->unread);
    } else {
        add_number(result, fin, "count", l->n);
        add_number(result, fin, "unread-messages", l->unread);
        add_number(result, fin, "active-conversations", l->active);
    }
    if (l->ask.rsm.asked || l->end - l->first < l->n)
        add_page(l, result, fin);
    gr_iq_reply(l->req, result);
    list_free(l);
}

/* --- sending --- */

static struct gr_stanza *message_for(const struct list *l, const char *remote,
                                     const struct entry *e)
{
    const struct gr_jid *owner = gr_iq_req_to(l->req);
    struct gr_stanza *st = gr_message_new(GR_MSG_NORMAL, owner, gr_iq_req_from(l->req));
    struct gr_el *el;
    char id[GR_ID_SIZE];

    gr_random_id(id);
    gr_stanza_set_id(st, id);
    if (!l->ask.xep) {
        el = gr_el_add(st, NULL, NS_INBOX, "result");
        gr_el_set_int(st, el, "unread", e->unread);
        gr_el_set(st, el, "queryid", l->ask.queryid);
        entry_forward(st, el, e);
        entry_props(st, el, e, false);
        return st;
    }
    el = gr_el_add(st, NULL, NS_XEP, "entry");
    gr_el_set_int(st, el, "unread", e->unread);
    gr_el_set(st, el, "jid", remote);
    if (e->archive_id[0] != '\0')
        gr_el_set(st, el, "id", e->archive_id);
    if (l->ask.messages) {
        el = gr_el_add(st, NULL, NS_MAM, "result");
        gr_el_set(st, el, "queryid", l->ask.queryid);
        if (e->archive_id[0] != '\0')
            gr_el_set(st, el, "id", e->archive_id);
        entry_forward(st, el, e);
    }
    return st;
}

static void go_on(struct list *l);

static void on_written(struct gr_mod *self, void *data, bool delivered)
{
    struct list *l = *(struct list **)data;

    (void)self;
    l->away--;
    l->lost |= !delivered;
    if (!l->reading)
        go_on(l);
}

static void send_entry(struct list *l, const char *remote, const struct entry *e)
{
    struct gr_inbox_ev ev = { .user = gr_iq_req_to(l->req), .iq = gr_iq_req_stanza(l->req),
                              .result = message_for(l, remote, e), .unread = e->unread };
    struct list **ref;

    gr_hook_run(l->self, GR_HOOK_extend_inbox_result, &ev.ev, NULL);
    ref = gr_alloc(sizeof(l));
    *ref = l;
    l->away++;
    gr_send_tracked(l->self, ev.result, on_written, ref);
}

static void on_entry(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct list *l = *(struct list **)gr_req_data(req);
    struct entry e;

    (void)self;
    if (rows->rc == 0 && entry_read(&e, rows->row->val, rows->row->val_len) == 0) {
        send_entry(l, l->item[l->at].remote, &e);
        entry_free(&e);
    } /* else it has gone meanwhile */
    l->at++;
    l->reading = false;
    go_on(l);
}

static bool client_is_there(const struct list *l)
{
    return gr_session_find(l->self, gr_iq_req_from(l->req), 0) != NULL;
}

static void go_on(struct list *l)
{
    const struct item *i;
    struct gr_req *req;

    if (l->lost || !client_is_there(l))
        l->at = l->end;
    if (l->at == l->end) {
        if (l->away == 0)
            finish(l);
        return;
    }
    if (l->away >= WINDOW)
        return;
    i = &l->item[l->at];
    req = gr_req_new(l->self, sizeof(l), on_entry);
    *(struct list **)gr_req_data(req) = l;
    l->reading = true;
    gr_store_get(req, ENTRIES, gr_iq_req_to(l->req)->bare, i->remote, strlen(i->remote));
}

static void on_gathered(struct gr_mod *self, void *ctx, int rc)
{
    struct list *l = ctx;
    enum gr_cond cond = gr_cond_of(rc);

    (void)self;
    if (rc == 0 && l->n > 0)
        qsort(l->item, l->n, sizeof(*l->item), l->ask.ascending ? ascending : descending);
    if (rc == 0 && choose_page(l)) {
        go_on(l);
        return;
    }
    gr_iq_reply_error(l->req, rc == 0 ? GR_ITEM_NOT_FOUND : cond, NULL);
    list_free(l);
}

void on_list(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct inbox *in = gr_state(self);
    struct list *l = gr_alloc(sizeof(*l));
    enum gr_cond cond = ask_read(&l->ask, gr_iq_req_stanza(ev->req), gr_conf(self));

    if (cond != GR_COND_NONE) {
        gr_iq_reply_error(ev->req, cond, NULL);
        gr_free(l);
        return;
    }
    l->self = self;
    l->req = ev->req;
    l->next = in->lists;
    l->at_it = &in->lists;
    if (l->next != NULL)
        l->next->at_it = &l->next;
    in->lists = l;
    scan_settled(self, &(struct scan){ gr_jid_dup_bare(ev->to), on_row, on_gathered, l });
}

void lists_free(struct inbox *in)
{
    while (in->lists != NULL)
        list_free(in->lists);
}

/* A page for a client that has gone is not for others, nor for later. */
enum gr_verdict on_gone_client(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    (void)self;
    if (gr_acc_origin(ev->ev.acc) == GR_FROM_SERVER && gr_jid_bare_equal(ev->from, ev->to) &&
        (gr_stanza_child(ev->stanza, NS_INBOX, "result") != NULL ||
         gr_stanza_child(ev->stanza, NS_XEP, "entry") != NULL))
        return GR_STOP;
    return GR_OK;
}
