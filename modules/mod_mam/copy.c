/* mod_mam/copy.c: a copy of everything, for who asks what is kept of him: as XEP-0227, 4.9 has it.
 * The copy is made in memory: of a very large archive it has the latest messages only. */
#include "mam.h"

#include <grapnel/log.h>

enum { PART = 50 };
#define COPY_MAX (32 * GR_MIB)
#define NS_PIE_MAM "urn:xmpp:pie:0#mam"

/* --- asking: everything on its way is written first --- */

struct asking {
    struct gr_mam_ev sync;
    struct gr_export_ev copy;
    struct gr_export_ev *ev;
    struct gr_hold *hold;
};

static void on_copied(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct asking *x = GR_CONTAINER_OF(ev, struct asking, copy.ev);

    (void)self, (void)verdict;
    gr_resume(x->hold, x->copy.ev.failed > 0 ? GR_FAIL : GR_OK);
    gr_free(x);
}

static void on_synced(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct asking *x = GR_CONTAINER_OF(ev, struct asking, sync.ev);

    (void)verdict;
    if (!gr_hold_waits(x->hold)) {
        gr_resume(x->hold, GR_FAIL);
        gr_free(x);
        return;
    }
    x->copy = (struct gr_export_ev){ .user = x->ev->user, .data = x->ev->data };
    gr_hook_run(self, GR_HOOK_get_mam_pm_gdpr_data, &x->copy.ev, on_copied);
}

enum gr_verdict on_personal_data(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct gr_hold *hold = gr_hold(self, &ev->ev);
    struct asking *x;

    if (hold == NULL)
        return GR_FAIL;
    x = gr_alloc(sizeof(*x));
    x->hold = hold;
    x->ev = ev;
    x->sync.owner = ev->user;
    gr_hook_run(self, GR_HOOK_mam_archive_sync, &x->sync.ev, on_synced);
    return GR_PENDING;
}

/* --- copying --- */

struct copying {
    struct gr_export_ev *ev;
    struct gr_hold *hold;
    struct gr_jid *owner;
    struct gr_el *archive;
};

static struct gr_req *request(struct gr_mod *self, const struct copying *x, gr_store_f done)
{
    struct gr_req *req = gr_req_new(self, sizeof(*x), done);

    *(struct copying *)gr_req_data(req) = *x;
    return req;
}

static void end(struct copying *x, int rc)
{
    gr_resume(x->hold, rc == 0 ? GR_OK : GR_FAIL);
    gr_jid_free(&x->owner);
}

static void add_row(struct copying *x, const struct gr_row *row)
{
    char id[MAM_ID_SIZE], *text;
    struct gr_stanza *st;
    struct row r;
    size_t len;

    if (row_get(&r, row) != 0)
        return;
    id_put(id, r.us, r.salt);
    text = result_text("<result xmlns='" NS_MAM "'",
                       &(struct gr_mam_row){ .id = id, .time_us = (int64_t)r.us, .xml = r.xml,
                                             .len = r.xml_len }, &len);
    if (text != NULL && gr_stanza_parse(text, len, &st) == 0) {
        if (x->archive == NULL)
            x->archive = gr_el_add(x->ev->data, NULL, NS_PIE_MAM, "archive");
        gr_el_append(x->ev->data, x->archive, gr_stanza_root(st));
        gr_stanza_unref(&st);
    }
    gr_free(text);
}

static void copy_part(struct gr_mod *self, const struct copying *x, uint64_t from);

static void on_part(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct copying *x = gr_req_data(req);
    uint64_t last = 0;

    if (rows->rc != 0 || !gr_hold_waits(x->hold)) {
        end(x, rows->rc != 0 ? rows->rc : GR_ECANCELED);
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        last = gr_row_seq(&rows->row[i]);
        add_row(x, &rows->row[i]);
    }
    if (rows->more && rows->count > 0)
        copy_part(self, x, last + 1);
    else
        end(x, 0);
}

static void copy_part(struct gr_mod *self, const struct copying *x, uint64_t from)
{
    uint8_t key[8];

    put_u64(key, from);
    gr_store_range(request(self, x, on_part), MESSAGES, x->owner->bare, key, sizeof(key), PART);
}

static void on_head(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct copying *x = gr_req_data(req);
    uint64_t count = rows->count;

    if (rows->rc != 0) {
        end(x, rows->rc);
        return;
    }
    if (rows->bytes > COPY_MAX) {
        count = count * COPY_MAX / rows->bytes;
        gr_warn("mam.copy_cut", "the copy of the archive of %s has its latest %llu messages only",
                x->owner->bare, (unsigned long long)count);
    }
    copy_part(self, x, rows->last - count + 1);
}

enum gr_verdict on_pm_data(struct gr_mod *self, struct gr_export_ev *ev)
{
    struct copying x = { .ev = ev, .hold = gr_hold(self, &ev->ev) };

    if (x.hold == NULL)
        return GR_FAIL;
    x.owner = gr_jid_dup_bare(ev->user);
    gr_store_count(request(self, &x, on_head), MESSAGES, x.owner->bare);
    return GR_PENDING;
}
