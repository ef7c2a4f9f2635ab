/* mod_roster/iq.c: roster get and versioning (RFC 6121, 2.1.3, 2.2, 2.6).
 *
 * First the history is read, in turn with the changes: its version V is the one that the result
 * carries. Pushes to the session are kept back from there on (push.c), so whatever changes after V
 * reaches the client behind the result, even if the items, read next, show it already. */
#include "roster.h"

#include <stdlib.h>
#include <string.h>

struct get {
    struct gr_roster_ev ev;
    struct gr_iq_req *req;
    struct gr_jid *owner;
    uint64_t session;              /* id; 0: not on this loop */
    bool ours, versioned;          /* the provider is rosterdb; its history is known */
    struct meta meta;
    struct removal *removed;
    size_t removed_count;
};

static struct gr_session *session_of(struct gr_mod *self, const struct get *g)
{
    return g->session != 0 ? gr_session_find(self, gr_iq_req_from(g->req), g->session) : NULL;
}

static void get_free(struct get *g)
{
    gr_roster_ev_clear(&g->ev);
    for (size_t i = 0; i < g->removed_count; i++)
        gr_jid_free(&g->removed[i].jid);
    gr_free(g->removed);
    gr_jid_free(&g->owner);
    gr_free(g);
}

static void fail(struct gr_mod *self, struct get *g, enum gr_cond cond)
{
    struct gr_session *s = session_of(self, g);

    if (s != NULL)
        interest_fail(self, s, gr_stanza_id(gr_iq_req_stanza(g->req)));
    gr_iq_reply_error(g->req, cond, NULL);
    get_free(g);
}

/* --- what the client has already --- */

/* Everything since that version is known: the client can do with the changes. */
static bool client_version(const struct get *g, uint64_t *out)
{
    const struct gr_el *query = gr_stanza_payload(gr_iq_req_stanza(g->req));
    const char *text = gr_el_attr(query, "ver");
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9' || strlen(text) > 20)
        return false;
    *out = strtoull(text, &end, 10);
    /* 0 was the empty roster of an account that had never had an item. */
    return *end == '\0' && *out <= g->meta.ver && (*out == 0 || *out >= g->meta.floor);
}

/* Virtual items have no version: what became of them since is not known. */
static bool all_versioned(const struct get *g)
{
    for (size_t i = 0; i < gr_roster_list_count(g->ev.items); i++) {
        if (gr_roster_list_at(g->ev.items, i)->ver == 0)
            return false;
    }
    return g->versioned;
}

struct change {
    uint64_t ver;
    const struct gr_roster_item *item; /* NULL: removed */
    const struct gr_jid *jid;
};

static int by_version(const void *a, const void *b)
{
    uint64_t x = ((const struct change *)a)->ver, y = ((const struct change *)b)->ver;

    return x < y ? -1 : x > y;
}

static int by_jid(const void *a, const void *b)
{
    return strcmp((*(const struct gr_roster_item *const *)a)->jid->bare,
                  (*(const struct gr_roster_item *const *)b)->jid->bare);
}

static bool listed(const struct gr_roster_item *const *sorted, size_t n, const struct gr_jid *jid)
{
    const struct gr_roster_item item = { .jid = jid }, *key = &item;

    return n > 0 && bsearch(&key, sorted, n, sizeof(key), by_jid) != NULL;
}

/* The last removal of that contact counts. */
static bool removed_again(const struct get *g, size_t i)
{
    for (size_t j = i + 1; j < g->removed_count; j++) {
        if (gr_jid_bare_equal(g->removed[i].jid, g->removed[j].jid))
            return true;
    }
    return false;
}

/* Between the client's version and V, final states, in order. What changed after V has a push. */
static size_t changes(const struct get *g, uint64_t since, struct change *out)
{
    size_t n = gr_roster_list_count(g->ev.items), count = 0;
    const struct gr_roster_item **sorted = gr_alloc((n + 1) * sizeof(*sorted));

    for (size_t i = 0; i < n; i++) {
        const struct gr_roster_item *item = gr_roster_list_at(g->ev.items, i);

        sorted[i] = item;
        if (item->ver > since && item->ver <= g->meta.ver)
            out[count++] = (struct change){ item->ver, item, item->jid };
    }
    qsort(sorted, n, sizeof(*sorted), by_jid);
    for (size_t i = 0; i < g->removed_count; i++) {
        if (g->removed[i].ver > since && !listed(sorted, n, g->removed[i].jid) &&
            !removed_again(g, i))
            out[count++] = (struct change){ g->removed[i].ver, NULL, g->removed[i].jid };
    }
    gr_free(sorted);
    qsort(out, count, sizeof(*out), by_version);
    return count;
}

/* An empty result, behind which the changes follow as pushes. */
static void reply_changes(struct gr_mod *self, struct get *g, uint64_t since)
{
    struct gr_session *s = session_of(self, g);
    struct change *list = gr_alloc((gr_roster_list_count(g->ev.items) + g->removed_count + 1) *
                                   sizeof(*list));
    size_t n = changes(g, since, list);

    for (size_t i = 0; s != NULL && i < n; i++) {
        struct gr_roster_item gone = { .jid = list[i].jid, .ver = list[i].ver };

        interest_add(self, s, push_new(self, s, list[i].item != NULL ? list[i].item : &gone,
                                       list[i].item == NULL));
    }
    gr_free(list);
    gr_iq_reply_empty(g->req);
    get_free(g);
}

static void reply_full(struct get *g)
{
    struct gr_stanza *reply = gr_iq_result(gr_iq_req_stanza(g->req));
    struct gr_el *query = gr_el_add(reply, NULL, NS_ROSTER, "query");

    if (all_versioned(g))
        gr_el_setf(reply, query, "ver", "%llu", (unsigned long long)g->meta.ver);
    for (size_t i = 0; i < gr_roster_list_count(g->ev.items); i++)
        item_el(reply, query, gr_roster_list_at(g->ev.items, i), false);
    gr_iq_reply(g->req, reply);
    get_free(g);
}

/* --- getting --- */

static void got_roster(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct get *g = GR_CONTAINER_OF(ev, struct get, ev.ev);
    uint64_t since;

    (void)verdict;
    if (g->ev.none && gr_roster_list_count(g->ev.items) == 0)
        fail(self, g, g->ours ? GR_INTERNAL_SERVER_ERROR : GR_ITEM_NOT_FOUND);
    else if (all_versioned(g) && client_version(g, &since))
        reply_changes(self, g, since);
    else
        reply_full(g);
}

static void gather(struct gr_mod *self, struct get *g)
{
    struct gr_session *s = session_of(self, g);
    const char *id = gr_stanza_id(gr_iq_req_stanza(g->req));

    if (s != NULL && id != NULL)
        interest_await(self, s, id);
    g->ev.owner = g->owner;
    g->ev.items = gr_roster_list_new();
    gr_hook_run(self, GR_HOOK_roster_get, &g->ev.ev, got_roster);
}

static void history_known(struct gr_mod *self, void *arg, const struct history *h)
{
    struct get *g = arg;

    if (h->rc != 0) {
        fail(self, g, gr_cond_of(h->rc));
        return;
    }
    g->versioned = true;
    g->meta = h->meta;
    g->removed = gr_alloc((h->count + 1) * sizeof(*g->removed));
    for (; g->removed_count < h->count; g->removed_count++) {
        g->removed[g->removed_count] = h->removed[g->removed_count];
        g->removed[g->removed_count].jid = gr_jid_dup(h->removed[g->removed_count].jid);
    }
    gather(self, g);
}

void on_roster_get(struct gr_mod *self, struct gr_iq_ev *ev)
{
    const struct roster_conf *conf = gr_conf(self);
    struct get *g = gr_alloc(sizeof(*g));

    g->req = ev->req;
    g->owner = gr_jid_dup_bare(ev->to);
    g->session = ev->session != NULL ? gr_session_id(ev->session) : 0;
    g->ours = is_ours(self);
    if (g->ours && conf->versioning)
        db_history(self, g->owner, history_known, g);
    else
        gather(self, g); /* somebody else's roster has no versions that we know */
}
