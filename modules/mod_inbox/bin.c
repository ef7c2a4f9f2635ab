/* mod_inbox/bin.c: what was thrown away goes after a while. Each conversation that comes into the bin
 * leaves a row with the time, its account and its address under the host's name; every loop looks
 * through these now and then, a page at a time, for those of its accounts that are due. A row goes with
 * its conversation, or when that leaves the bin. */
#include <string.h>

#include <grapnel/log.h>

#include "inbox.h"

enum { PAGE = 50 };

static struct gr_writer key_of(const struct gr_jid *owner, const char *remote, int64_t binned_us)
{
    struct gr_writer w = gr_writer_new(64);

    gr_write_i64(&w, binned_us);
    gr_write_bytes(&w, owner->bare, owner->bare_len + 1u);
    gr_write_bytes(&w, remote, strlen(remote));
    return w;
}

void bin_put(struct gr_mod *self, struct gr_txn *t, const struct gr_jid *owner, const char *remote,
             int64_t binned_us)
{
    struct gr_writer key = key_of(owner, remote, binned_us);

    if (binned_us != 0)
        gr_txn_put(t, BINNED, gr_mod_host_jid(self)->bare, key.data, key.len, "", 0);
    gr_free(key.data);
}

void bin_del(struct gr_mod *self, struct gr_txn *t, const struct gr_jid *owner, const char *remote,
             int64_t binned_us)
{
    struct gr_writer key = key_of(owner, remote, binned_us);

    if (binned_us != 0)
        gr_txn_del(t, BINNED, gr_mod_host_jid(self)->bare, key.data, key.len);
    gr_free(key.data);
}

/* --- one at a time --- */

/* A page of deletions, whoever asked for it. */
struct pass {
    unsigned pending;        /* conversations, and one while more are added */
    uint64_t gone;
    int rc;
    void (*done)(struct gr_mod *self, struct pass *p);
};
struct drop {
    struct pass *pass;
    int64_t binned_us;       /* 0: whenever it came there */
};

static void pass_end(struct gr_mod *self, struct pass *p)
{
    if (--p->pending == 0)
        p->done(self, p);
}

static void on_dropped(struct gr_mod *self, int rc, void *ctx)
{
    struct pass *p = ctx;

    if (rc == GR_ECANCELED)
        return;
    if (rc != 0)
        p->rc = rc;
    else
        p->gone++;
    pass_end(self, p);
}

static void on_conv(struct gr_mod *self, struct conv *c, int rc, void *ctx)
{
    struct drop *d = ctx;
    struct pass *p = d->pass;
    bool due = c != NULL && c->exists && c->e.binned_us != 0 &&
               (d->binned_us == 0 || d->binned_us == c->e.binned_us);

    if (rc != 0)
        p->rc = rc;
    gr_free(d);
    if (!due) {
        pass_end(self, p);
        return;
    }
    c->exists = false;
    conv_changed(c);
    conv_then(c, on_dropped, p);
}

static void drop(struct gr_mod *self, struct pass *p, const struct gr_jid *owner,
                 const char *remote, int64_t binned_us)
{
    struct drop *d = gr_alloc(sizeof(*d));

    *d = (struct drop){ p, binned_us };
    p->pending++;
    conv_with(self, owner, remote, on_conv, d);
}

/* --- <empty-bin/> --- */

struct emptying {
    struct pass pass;
    struct gr_iq_req *req;
    struct gr_jid *owner;
};

static void on_emptied(struct gr_mod *self, struct pass *p)
{
    struct emptying *x = GR_CONTAINER_OF(p, struct emptying, pass);
    struct gr_stanza *result;
    struct gr_el *el;
    char *num;

    (void)self;
    if (p->rc != 0) {
        gr_iq_reply_error(x->req, gr_cond_of(p->rc), NULL);
    } else {
        result = gr_iq_result(gr_iq_req_stanza(x->req));
        el = gr_el_add(result, NULL, NS_INBOX, "empty-bin");
        num = gr_asprintf("%llu", (unsigned long long)p->gone);
        gr_el_add_text(result, el, NULL, "num", num);
        gr_free(num);
        gr_iq_reply(x->req, result);
    }
    gr_jid_free(&x->owner);
    gr_free(x);
}

static bool on_row(struct gr_mod *self, void *ctx, const char *remote, const struct entry *e)
{
    struct emptying *x = ctx;

    if (e->binned_us != 0)
        drop(self, &x->pass, x->owner, remote, 0);
    return true;
}

static void on_all(struct gr_mod *self, void *ctx, int rc)
{
    struct emptying *x = ctx;

    if (rc != 0)
        x->pass.rc = rc;
    pass_end(self, &x->pass);
}

void on_empty_bin(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct emptying *x = gr_alloc(sizeof(*x));

    x->req = ev->req;
    x->owner = gr_jid_dup_bare(ev->to);
    x->pass = (struct pass){ .pending = 1, .done = on_emptied };
    scan_settled(self, &(struct scan){ gr_jid_dup(x->owner), on_row, on_all, x });
}

/* --- what is due --- */

struct cleaning {
    struct pass pass;
    struct gr_txn *t;        /* rows of this page that go */
    char *from;              /* where the next one begins */
    size_t from_len;
    bool more;
};

static void clean_page(struct gr_mod *self, struct cleaning *x);

static void clean_later(struct gr_mod *self);

static void cleaning_free(struct gr_mod *self, struct cleaning *x)
{
    struct inbox *in = gr_state(self);

    gr_txn_drop(&x->t);
    gr_free(x->from);
    gr_free(x);
    in->cleaning = false;
    clean_later(self);
}

static void on_page_gone(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct cleaning *x = *(struct cleaning **)gr_req_data(req);

    if (rows->rc == 0 && x->more)
        clean_page(self, x);
    else
        cleaning_free(self, x);
}

/* The conversations of the page are gone: so may the rows. */
static void on_page_dropped(struct gr_mod *self, struct pass *p)
{
    struct cleaning *x = GR_CONTAINER_OF(p, struct cleaning, pass);
    struct gr_req *req;

    if (p->rc != 0) {
        cleaning_free(self, x); /* and again at the next turn */
        return;
    }
    req = gr_req_new(self, sizeof(x), on_page_gone);
    *(struct cleaning **)gr_req_data(req) = x;
    gr_txn_commit(x->t, req);
    x->t = NULL;
}

/* False: this one is not due, and so are all behind it. */
static bool clean_row(struct gr_mod *self, struct cleaning *x, const struct gr_row *row,
                      int64_t until_us)
{
    struct gr_reader r = gr_reader_of(row->key, row->key_len);
    int64_t binned_us = gr_read_i64(&r);
    const char *rest;
    struct gr_jid *owner;
    size_t len, at;
    char *remote;

    rest = gr_read_rest(&r, &len);
    if (binned_us > until_us)
        return false;
    at = strnlen(rest, len);
    if (at == len || gr_jid_parse(rest, at, &owner) != 0) {
        gr_txn_del(x->t, BINNED, gr_mod_host_jid(self)->bare, row->key, row->key_len);
        return true;
    }
    if (gr_is_home(owner)) {
        remote = gr_strndup(rest + at + 1, len - at - 1);
        drop(self, &x->pass, owner, remote, binned_us);
        gr_txn_del(x->t, BINNED, gr_mod_host_jid(self)->bare, row->key, row->key_len);
        gr_free(remote);
    }
    gr_jid_free(&owner);
    return true;
}

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    const struct inbox_conf *conf = gr_conf(self);
    struct cleaning *x = *(struct cleaning **)gr_req_data(req);
    int64_t until_us = gr_wall_us() - conf->bin_ttl * 1000;
    const struct gr_row *last = rows->count > 0 ? &rows->row[rows->count - 1] : NULL;

    x->pass = (struct pass){ .pending = 1, .rc = rows->rc, .done = on_page_dropped };
    x->t = gr_txn_new(self);
    x->more = rows->more && last != NULL;
    for (size_t i = 0; i < rows->count; i++)
        if (!clean_row(self, x, &rows->row[i], until_us)) {
            x->more = false;
            break;
        }
    if (x->more) {
        x->from_len = last->key_len + 1;
        x->from = gr_realloc(x->from, x->from_len);
        memcpy(x->from, last->key, last->key_len);
        x->from[last->key_len] = '\0';
    }
    pass_end(self, &x->pass);
}

static void clean_page(struct gr_mod *self, struct cleaning *x)
{
    struct gr_req *req = gr_req_new(self, sizeof(x), on_page);

    *(struct cleaning **)gr_req_data(req) = x;
    gr_store_range(req, BINNED, gr_mod_host_jid(self)->bare, x->from, x->from_len, PAGE);
}

static void on_timer(struct gr_mod *self, struct gr_timer *t)
{
    struct inbox *in = gr_state(self);

    (void)t;
    if (in->cleaning)
        return;
    in->cleaning = true;
    clean_page(self, gr_alloc(sizeof(struct cleaning)));
}

static void clean_later(struct gr_mod *self)
{
    const struct inbox_conf *conf = gr_conf(self);
    struct inbox *in = gr_state(self);

    gr_timer_start(self, &in->clean, conf->bin_clean_after, on_timer);
}

void bin_start(struct gr_mod *self)
{
    clean_later(self);
}
