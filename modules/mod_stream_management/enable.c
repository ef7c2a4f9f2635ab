/* mod_stream_management/enable.c: a session begins (XEP-0198, 3; within a login: XEP-0386). Who is told an
 * SM-ID can resume with it, whatever happens to the server: <enabled/>, or the login's <success/>, waits
 * until the session's first row is on disk. When it cannot be written the session cannot be resumed, and
 * its client is told that. */
#include "journal.h"

#include <grapnel/log.h>

#include <string.h>

/* --- the first row --- */

struct first {
    uint64_t session;
    struct gr_hold *hold;
    struct gr_stanza *enabled;   /* to be written; NULL: it is a part of `login` */
    struct gr_inline_ev *login;
    uint8_t *image;              /* what was written */
    size_t image_len;
};

/* Counting begins. */
static void start(struct gr_mod *self, struct gr_session *s, struct sm *sm)
{
    sm->begun = true;
    gr_session_keep(self, s, &sm_slot, 0);
    if (sm->image_dirty)
        journal_touch(self, sm, false);
}

static void cannot_be_resumed(struct sm *sm, struct gr_stanza *st, struct gr_el *enabled)
{
    static const char *const attrs[] = { "id", "resume", "max", "location" };

    sm->timeout_ms = 0;
    sm->image_dirty = true;
    for (size_t i = 0; i < GR_COUNT(attrs); i++)
        gr_el_set(st, enabled, attrs[i], NULL);
}

static bool image_changed(struct gr_mod *self, struct gr_session *s, const struct first *f)
{
    size_t len;
    uint8_t *image = gr_session_image(self, s, &len);
    bool changed = len != f->image_len || memcmp(image, f->image, len) != 0;

    gr_free(image);
    return changed;
}

static void answer(struct gr_mod *self, struct gr_session *s, struct sm *sm, struct first *f, int rc)
{
    if (f->login != NULL) {
        if (rc != 0)
            cannot_be_resumed(sm, f->login->answer, gr_el_child(f->login->at, NS_SM, "enabled"));
        return;
    }
    if (rc != 0)
        cannot_be_resumed(sm, f->enabled, gr_stanza_root(f->enabled));
    else /* nobody told of changes before counting began */
        sm->image_dirty = image_changed(self, s, f);
    start(self, s, sm);
    gr_session_write(self, s, f->enabled);
    f->enabled = NULL;
}

static void on_first(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct first *f = gr_req_data(req);
    struct gr_session *s = gr_session_find(self, NULL, f->session);
    struct sm *sm = s != NULL ? sm_of(self, s) : NULL;

    if (rows->rc != 0)
        gr_warn("sm.not_written", "a new session cannot be resumed: %s", gr_strerror(rows->rc));
    if (!gr_hold_waits(f->hold)) {
        /* it took too long: the stream has ended */
    } else if (sm != NULL) {
        answer(self, s, sm, f, rows->rc);
    } else if (s != NULL && f->login == NULL) { /* the module was replaced meanwhile */
        failed(self, s, GR_INTERNAL_SERVER_ERROR, NULL);
    }
    gr_stanza_unref(&f->enabled);
    gr_free(f->image);
    gr_resume(f->hold, f->login != NULL ? GR_OK : GR_STOP);
}

/* Takes both; login or enabled is NULL. */
static void write_first(struct gr_mod *self, struct gr_session *s, struct sm *sm,
                        struct gr_hold *hold, struct gr_stanza *enabled, struct gr_inline_ev *login)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct first), on_first);
    struct first *f = gr_req_data(req);
    struct gr_txn *t = gr_txn_new(self);

    *f = (struct first){ .session = sm->session, .hold = hold, .enabled = enabled, .login = login };
    f->image = journal_put_first(self, t, s, sm, &f->image_len);
    gr_txn_commit(t, req);
}

/* --- <enable/> --- */

enum gr_verdict enable_alone(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    struct gr_session *s = ev->session;
    struct gr_stanza *enabled = enable(self, s, gr_stanza_root(ev->stanza));
    struct sm *sm = sm_of(self, s);
    struct gr_hold *hold = sm->timeout_ms > 0 ? gr_hold(self, &ev->ev) : NULL;

    if (hold != NULL) {
        write_first(self, s, sm, hold, enabled, NULL);
        return GR_PENDING;
    }
    cannot_be_resumed(sm, enabled, gr_stanza_root(enabled));
    start(self, s, sm);
    gr_session_write(self, s, enabled);
    return GR_STOP;
}

/* Before anything else is enabled, so that whatever follows <success/> is counted. */
enum gr_verdict enable_with_bind(struct gr_mod *self, struct gr_inline_ev *ev)
{
    const struct gr_el *el = gr_el_child(ev->request, NS_SM, "enable");
    struct gr_stanza *st;

    if (el == NULL)
        return GR_OK;
    st = enable(self, ev->session, el);
    start(self, ev->session, sm_of(self, ev->session));
    gr_el_append(ev->answer, ev->at, gr_stanza_root(st));
    gr_stanza_unref(&st);
    return GR_OK;
}

/* When everything else is enabled: that is in the row as well. */
enum gr_verdict enabled_with_bind(struct gr_mod *self, struct gr_inline_ev *ev)
{
    struct sm *sm = sm_of(self, ev->session);
    struct gr_hold *hold;

    if (sm == NULL || sm->timeout_ms == 0)
        return GR_OK;
    hold = gr_hold(self, &ev->ev);
    if (hold == NULL) {
        cannot_be_resumed(sm, ev->answer, gr_el_child(ev->at, NS_SM, "enabled"));
        return GR_OK;
    }
    write_first(self, ev->session, sm, hold, NULL, ev);
    return GR_PENDING;
}
