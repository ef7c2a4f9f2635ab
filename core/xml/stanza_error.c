/* xml/stanza_error.c: stanza errors and other standard answers. RFC 6120, 8.2.3 and 8.3. */
#include <string.h>

#include "xml/stanza_internal.h"

/* RFC 6120, 8.3.3. Where it leaves a choice (feature-not-implemented, policy-violation,
 * unexpected-request) the first type that it names; undefined-condition may have any. */
static const struct {
    const char *name, *type;
} conditions[] = {
    [GR_BAD_REQUEST] = { "bad-request", "modify" },
    [GR_CONFLICT] = { "conflict", "cancel" },
    [GR_FEATURE_NOT_IMPLEMENTED] = { "feature-not-implemented", "cancel" },
    [GR_FORBIDDEN] = { "forbidden", "auth" },
    [GR_GONE] = { "gone", "cancel" },
    [GR_INTERNAL_SERVER_ERROR] = { "internal-server-error", "cancel" },
    [GR_ITEM_NOT_FOUND] = { "item-not-found", "cancel" },
    [GR_JID_MALFORMED] = { "jid-malformed", "modify" },
    [GR_NOT_ACCEPTABLE] = { "not-acceptable", "modify" },
    [GR_NOT_ALLOWED] = { "not-allowed", "cancel" },
    [GR_NOT_AUTHORIZED] = { "not-authorized", "auth" },
    [GR_POLICY_VIOLATION] = { "policy-violation", "modify" },
    [GR_RECIPIENT_UNAVAILABLE] = { "recipient-unavailable", "wait" },
    [GR_REDIRECT] = { "redirect", "modify" },
    [GR_REGISTRATION_REQUIRED] = { "registration-required", "auth" },
    [GR_REMOTE_SERVER_NOT_FOUND] = { "remote-server-not-found", "cancel" },
    [GR_REMOTE_SERVER_TIMEOUT] = { "remote-server-timeout", "wait" },
    [GR_RESOURCE_CONSTRAINT] = { "resource-constraint", "wait" },
    [GR_SERVICE_UNAVAILABLE] = { "service-unavailable", "cancel" },
    [GR_SUBSCRIPTION_REQUIRED] = { "subscription-required", "auth" },
    [GR_UNDEFINED_CONDITION] = { "undefined-condition", "cancel" },
    [GR_UNEXPECTED_REQUEST] = { "unexpected-request", "wait" },
};

const char *gr_cond_name(enum gr_cond cond)
{
    gr_assert(cond > GR_COND_NONE && (size_t)cond < GR_COUNT(conditions));
    return conditions[cond].name;
}

const char *gr_cond_type(enum gr_cond cond)
{
    gr_assert(cond > GR_COND_NONE && (size_t)cond < GR_COUNT(conditions));
    return conditions[cond].type;
}

enum gr_cond gr_cond_of(int err)
{
    switch (err) {
    case GR_EINVAL:
        return GR_BAD_REQUEST;
    case GR_ENOMEM:
    case GR_EFULL:
    case GR_EAGAIN:
        return GR_RESOURCE_CONSTRAINT;
    case GR_ENOENT:
        return GR_ITEM_NOT_FOUND;
    case GR_EEXIST:
        return GR_CONFLICT;
    case GR_ELIMIT:
        return GR_POLICY_VIOLATION;
    case GR_ENOTSUP:
        return GR_FEATURE_NOT_IMPLEMENTED;
    default: /* GR_EIO, GR_ECANCELED, and whatever should not have come */
        return err >= 0 ? GR_COND_NONE : GR_INTERNAL_SERVER_ERROR;
    }
}

enum gr_cond gr_stanza_cond(const struct gr_stanza *st)
{
    const struct gr_el *error, *el;

    if (gr_stanza_type(st) != GR_TYPE_ERROR)
        return GR_COND_NONE;
    error = gr_stanza_child(st, GR_NS_CLIENT, "error");
    el = error != NULL ? gr_el_child(error, GR_NS_STANZAS, NULL) : NULL;
    for (; el != NULL; el = gr_el_next(el, GR_NS_STANZAS, NULL))
        for (size_t i = GR_COND_NONE + 1; i < GR_COUNT(conditions); i++)
            if (strcmp(conditions[i].name, gr_el_name(el)) == 0)
                return (enum gr_cond)i;
    return GR_UNDEFINED_CONDITION;
}

struct gr_stanza *gr_iq_result(const struct gr_stanza *iq)
{
    gr_assert(iq->kind == GR_IQ);
    /* An id is required (8.1.3); whoever left it out gets back what it sent: nothing. */
    return gr_iq_new(GR_RESULT, iq->to, iq->from, iq->id != NULL ? iq->id : "");
}

/* A malformed address is not repeated (8.3.1, rule 2): from and to are NULL then. */
static struct gr_stanza *error_for(const struct gr_stanza *st)
{
    struct gr_stanza *reply;

    switch (gr_stanza_kind(st)) {
    case GR_MESSAGE:
        reply = gr_message_new(GR_TYPE_ERROR, st->to, st->from);
        break;
    case GR_PRESENCE:
        reply = gr_presence_new(GR_TYPE_ERROR, st->to, st->from);
        break;
    case GR_IQ:
        if (st->type == GR_RESULT)
            return NULL;
        return gr_iq_new(GR_TYPE_ERROR, st->to, st->from, st->id != NULL ? st->id : "");
    default:
        return NULL;
    }
    if (st->id != NULL)
        gr_stanza_set_id(reply, st->id);
    return reply;
}

struct gr_stanza *gr_error_reply(const struct gr_stanza *st, enum gr_cond cond, const char *text)
{
    return gr_error_reply_type(st, cond, gr_cond_type(cond), text);
}

struct gr_stanza *gr_error_reply_type(const struct gr_stanza *st, enum gr_cond cond,
                                      const char *type, const char *text)
{
    struct gr_stanza *reply;
    struct gr_el *error, *el;

    if (st->type == GR_TYPE_ERROR || (reply = error_for(st)) == NULL)
        return NULL;
    if (st->kind == GR_IQ)
        for (el = gr_el_child(st->root, NULL, NULL); el != NULL; el = gr_el_next(el, NULL, NULL))
            if (!gr_el_is(el, GR_NS_CLIENT, "error"))
                gr_el_append(reply, NULL, el);
    error = gr_el_add(reply, NULL, GR_NS_CLIENT, "error");
    gr_el_set(reply, error, "type", type);
    gr_el_add(reply, error, GR_NS_STANZAS, gr_cond_name(cond));
    if (text != NULL) {
        el = gr_el_add_text(reply, error, GR_NS_STANZAS, "text", text);
        gr_el_set(reply, el, "xml:lang", "en");
    }
    return reply;
}
