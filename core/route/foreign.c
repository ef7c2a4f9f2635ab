/* route/foreign.c: what modules post to sessions (foreign_event, hooks.md 4.3). Carried to the session's
 * home loop as a copy; what has not arrived yet is bounded. */
#include "route/session.h"

#include <string.h>

#include <grapnel/log.h>

#define WAITING_MAX 10000

struct parcel {
    struct post post;
    struct gr_jid *jid;              /* bare */
    uint64_t id;
    char *tag;
    size_t len;
    max_align_t data[];
};
static _Atomic unsigned waiting;

static void run_hook(struct gr_session *s, const struct parcel *p)
{
    struct gr_acc acc;
    struct gr_foreign_ev e = { .ev.host = s->host, .ev.acc = &acc, .session = s, .tag = p->tag,
                               .data = p->data, .len = p->len };

    acc_init(&acc, GR_FROM_SERVER);
    if (hook_run_now(GR_HOOK_foreign_event, &e.ev) != GR_STOP)
        gr_warn("session.foreign_event", "%s: no module knows \"%s\", which was posted to it",
                s->jid->full, p->tag);
    deliver_requests(s, &acc);
    acc_fini(&acc);
}

static void arrive(struct post *post)
{
    struct parcel *p = GR_CONTAINER_OF(post, struct parcel, post);
    struct gr_session *s = session_by_id(p->id);

    waiting--;
    if (s != NULL && !s->ending && s->jid != NULL && gr_jid_bare_equal(s->jid, p->jid))
        run_hook(s, p);
    else
        gr_info("session.foreign_event", "%s: \"%s\" was posted to a session that is gone",
                p->jid->full, p->tag);
    gr_jid_free(&p->jid);
    gr_free(p->tag);
    gr_free(p);
}

int gr_session_post(struct gr_mod *self, const struct gr_jid *jid, uint64_t id, const char *tag,
                    const void *data, size_t len)
{
    struct parcel *p;

    (void)self;
    if (len > GR_POST_MAX || strlen(tag) > GR_POST_TAG_MAX)
        return GR_ELIMIT;
    if (waiting++ >= WAITING_MAX) {
        waiting--;
        return GR_EAGAIN;
    }
    p = gr_alloc(sizeof(*p) + len);
    p->post.run = arrive;
    p->jid = gr_jid_dup_bare(jid);
    p->id = id;
    p->tag = gr_strdup(tag);
    p->len = len;
    if (len > 0)
        memcpy(p->data, data, len);
    loop_post(loop_home(jid->hash), &p->post);
    return 0;
}
