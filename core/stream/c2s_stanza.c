/* stream/c2s_stanza.c: what a client's stanza must look like before any handler sees it (RFC 6120, 8.1
 * and 8.2.3; hooks.md 3.2): whose it is, whom it names, one payload in a request. */
#include "stream/c2s.h"
#include "xml/write.h"

#include <string.h>

/* Takes the answer, which may be NULL. In the order of the client's stanzas, and counted like any. */
static void answer(struct c2s *c, struct gr_stanza *st, struct gr_stanza *take_reply)
{
    if (take_reply != NULL)
        gr_stanza_set_to(take_reply, c->session->jid);
    job_refused(c->session, gr_stanza_ref(st), take_reply);
}

/* Absent, or exactly this session's bare or full JID (RFC 6120, 8.1.2.1). */
static bool from_is_own(const struct c2s *c, const struct gr_stanza *st)
{
    const struct gr_jid *from = gr_stanza_from(st), *own = c->session->jid;

    if (stanza_from_malformed(st))
        return false;
    if (from == NULL || gr_jid_equal(from, own))
        return true;
    return from->resource == NULL && gr_jid_bare_equal(from, own);
}

/* RFC 6120, 8.2.3, rules 1 to 5. NULL: as it should be. */
static const char *iq_fault(const struct gr_stanza *st)
{
    const struct gr_el *root = gr_stanza_root(st), *child = gr_el_child(root, NULL, NULL);
    enum gr_type type = gr_stanza_type(st);

    if (gr_stanza_id(st) == NULL)
        return "an iq needs an id";
    if (type == GR_TYPE_INVALID)
        return "an iq is of type get, set, result or error";
    if ((type == GR_GET || type == GR_SET) &&
        (child == NULL || gr_el_next(child, NULL, NULL) != NULL))
        return "an iq of this type has exactly one child element";
    if (type == GR_RESULT && child != NULL && gr_el_next(child, NULL, NULL) != NULL)
        return "an iq of type result has at most one child element";
    return NULL;
}

/* RFC 3921, 3: asked for by old clients because the feature says that it is there; means nothing. */
static bool is_session_request(const struct c2s *c, const struct gr_stanza *st)
{
    const struct gr_jid *to = gr_stanza_to(st), *own = c->session->jid;

    return gr_stanza_kind(st) == GR_IQ && gr_stanza_type(st) == GR_SET &&
           gr_stanza_child(st, NS_SESSION, "session") != NULL &&
           (to == NULL || (to->resource == NULL && (gr_jid_bare_equal(to, own) ||
            (to->node == NULL && strcmp(to->domain, own->domain) == 0))));
}

void c2s_stanza(struct c2s *c, struct gr_stanza *take)
{
    enum gr_kind kind = gr_stanza_kind(take);
    const char *fault;

    if (kind == GR_NONZA) {
        if (strcmp(gr_el_ns(gr_stanza_root(take)), GR_NS_CLIENT) == 0)
            c2s_error(c, "unsupported-stanza-type", NULL); /* RFC 6120, 4.9.3.24 */
        else
            job_from_client(c->session, gr_stanza_ref(take));
    } else if (!from_is_own(c, take)) {
        c2s_error(c, "invalid-from", NULL);
    } else if (stanza_to_malformed(take)) {
        answer(c, take, gr_error_reply(take, GR_JID_MALFORMED, NULL));
    } else if (kind == GR_IQ && (fault = iq_fault(take)) != NULL) {
        answer(c, take, gr_error_reply(take, GR_BAD_REQUEST, fault));
    } else if (is_session_request(c, take)) {
        answer(c, take, gr_iq_result(take));
    } else {
        gr_stanza_set_from(take, c->session->jid);
        if (c->session->lang != NULL && gr_stanza_lang(take) == NULL) /* RFC 6120, 8.1.5 */
            gr_el_set(take, gr_stanza_root(take), "xml:lang", c->session->lang);
        job_from_client(c->session, gr_stanza_ref(take));
    }
    gr_stanza_unref(&take);
}
