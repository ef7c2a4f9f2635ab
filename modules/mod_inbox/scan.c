/* mod_inbox/scan.c: all conversations of an account, a page at a time. */
#include "inbox.h"

enum { PAGE = 200 };

static void read_page(struct gr_mod *self, const struct scan *s, const struct gr_row *last);

static void scan_end(struct gr_mod *self, struct scan *s, int rc)
{
    s->done(self, s->ctx, rc);
    gr_jid_free(&s->owner);
}

static void on_damaged(struct gr_mod *self, struct conv *c, int rc, void *ctx)
{
    (void)self, (void)c, (void)rc, (void)ctx; /* whoever reads it throws it away */
}

/* False: no more wanted. */
static bool give(struct gr_mod *self, const struct scan *s, const struct gr_row *row)
{
    char *remote = gr_strndup(row->key, row->key_len);
    struct entry e;
    bool more = true;

    if (entry_read(&e, row->val, row->val_len) == 0) {
        more = s->row(self, s->ctx, remote, &e);
        entry_free(&e);
    } else {
        conv_with(self, s->owner, remote, on_damaged, NULL);
    }
    gr_free(remote);
    return more;
}

static void on_page(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct scan *s = gr_req_data(req);
    bool more = true;

    for (size_t i = 0; i < rows->count && more; i++)
        more = give(self, s, &rows->row[i]);
    if (more && rows->more && rows->count > 0)
        read_page(self, s, &rows->row[rows->count - 1]);
    else
        scan_end(self, s, rows->rc);
}

static void read_page(struct gr_mod *self, const struct scan *s, const struct gr_row *last)
{
    struct gr_req *req = gr_req_new(self, sizeof(*s), on_page);
    size_t len = last != NULL ? last->key_len + 1 : 0;
    char *from = last != NULL ? gr_strndup(last->key, last->key_len) : NULL;

    *(struct scan *)gr_req_data(req) = *s;
    gr_store_range(req, ENTRIES, s->owner->bare, from, len, PAGE); /* with the NUL: behind it */
    gr_free(from);
}

void scan_start(struct gr_mod *self, const struct scan *s)
{
    read_page(self, s, NULL);
}

static void on_settled(struct gr_mod *self, void *ctx)
{
    struct scan *s = ctx;

    scan_start(self, s);
    gr_free(s);
}

void scan_settled(struct gr_mod *self, const struct scan *s)
{
    struct scan *kept = gr_alloc(sizeof(*kept));

    *kept = *s;
    convs_wait(self, s->owner, on_settled, kept);
}
