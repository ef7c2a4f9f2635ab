/* privacy_request.h: an iq about privacy on its way through the chain privacy_iq_get or
 * privacy_iq_set, whose handlers answer it, each for its own namespace. Included once by each
 * module that takes such iqs from clients; everything in it is static. */
#pragma once

#include <grapnel/module.h>

struct privacy_request {
    struct gr_privacy_ev e;
    struct gr_iq_req *req;
    struct gr_jid *owner, *who;
};

static void privacy_answered(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_privacy_ev *e = GR_CONTAINER_OF(ev, struct gr_privacy_ev, ev);
    struct privacy_request *r = GR_CONTAINER_OF(e, struct privacy_request, e);

    (void)self, (void)verdict; /* a value hook */
    if (e->cond != GR_COND_NONE)
        gr_iq_reply_error(r->req, e->cond, NULL);
    else if (e->reply != NULL)
        gr_iq_reply(r->req, e->reply);
    else /* a handler failed, or had no answer in time */
        gr_iq_reply_error(r->req, GR_INTERNAL_SERVER_ERROR, NULL);
    if (e->cond != GR_COND_NONE)
        gr_stanza_unref(&e->reply);
    gr_stanza_unref(&e->stanza);
    gr_jid_free(&r->owner);
    gr_jid_free(&r->who);
    gr_free(r);
}

/* An iq handler (struct gr_iq). */
static void privacy_request(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct privacy_request *r = gr_alloc(sizeof(*r));

    r->req = ev->req;
    r->e.owner = r->owner = gr_jid_dup_bare(ev->to);
    r->e.peer = r->who = gr_jid_dup(ev->from);
    r->e.stanza = gr_stanza_copy(ev->stanza);
    gr_hook_run(self, ev->type == GR_GET ? GR_HOOK_privacy_iq_get : GR_HOOK_privacy_iq_set,
                &r->e.ev, privacy_answered);
}

/* Is it for the handler of this namespace? Its payload, or NULL. */
static const struct gr_el *privacy_payload(const struct gr_privacy_ev *ev, const char *ns)
{
    const struct gr_el *payload = ev->stanza != NULL ? gr_stanza_payload(ev->stanza) : NULL;

    return payload != NULL && gr_el_is(payload, ns, NULL) ? payload : NULL;
}
