/* mod_event_pusher/publish.c: one notification for one device (XEP-0357, 7): a pubsub publish from
 * the host to the app server, or the hook push_notifications for those that a module answers for.
 *
 * A refusal counts against the device, but not one of type wait, nor silence (7.1: what may be
 * transient): these say nothing about it. */
#include "pusher.h"

#include <string.h>

#define NS_PUBSUB "http://jabber.org/protocol/pubsub"
#define FORM_SUMMARY "urn:xmpp:push:summary"

static struct notified *notified_new(const struct gr_jid *user, const struct device *d)
{
    size_t len, owner_len = user->bare_len + 1u;
    char *key = device_key(d->service, d->node, &len);
    struct notified *t = gr_alloc(sizeof(*t) + owner_len + len + 1);

    t->since_us = d->since_us;
    t->share = pending_share(user);
    memcpy(t->owner, user->bare, user->bare_len);
    t->key = memcpy(t->owner + owner_len, key, len + 1);
    t->key_len = len;
    gr_free(key);
    return t;
}

/* --- what came of it --- */

static void accepted(struct gr_mod *self, const struct notified *t)
{
    struct pusher *p = gr_state(self);

    p->pushed++;
    device_told(self, t, ACCEPTED);
}

static void refused(struct gr_mod *self, const struct notified *t, enum outcome outcome)
{
    struct pusher *p = gr_state(self);

    p->refused++;
    gr_debug("event_pusher.refused", "%s refuses a notification for %s", t->key, t->owner);
    device_told(self, t, outcome);
}

static void unanswered(struct gr_mod *self, const struct notified *t, const char *why)
{
    struct pusher *p = gr_state(self);

    p->unanswered++;
    gr_warn("event_pusher.unanswered", "%s was not told of a message for %s: %s", t->key, t->owner,
            why);
}

static bool is_transient(const struct gr_stanza *reply)
{
    const struct gr_el *error = gr_stanza_child(reply, GR_NS_CLIENT, "error");
    const char *type = error != NULL ? gr_el_attr(error, "type") : NULL;

    return type != NULL && strcmp(type, "wait") == 0;
}

static void on_answer(struct gr_mod *self, void *data, const struct gr_stanza *reply)
{
    const struct notified *t = data;

    pending_add(gr_state(self), t->share, -1);
    if (reply == NULL)
        unanswered(self, t, "no answer");
    else if (gr_stanza_type(reply) == GR_RESULT)
        accepted(self, t);
    else if (is_transient(reply))
        unanswered(self, t, gr_cond_name(gr_stanza_cond(reply)));
    else
        refused(self, t, REFUSED);
}

/* --- the notification --- */

static struct gr_el *add_summary(struct gr_stanza *st, struct gr_el *parent,
                                 const struct summary *s)
{
    struct gr_el *form = gr_form_add(st, parent, "submit", FORM_SUMMARY);
    char *count = gr_asprintf("%llu", (unsigned long long)s->count);

    gr_form_add_field(st, form, NULL, "message-count", NULL, count);
    gr_free(count);
    if (s->sender[0] != '\0')
        gr_form_add_field(st, form, NULL, "last-message-sender", NULL, s->sender);
    if (s->body[0] != '\0')
        gr_form_add_field(st, form, NULL, "last-message-body", NULL, s->body);
    return form;
}

/* The form that came with enable; NULL: there was none. */
static struct gr_stanza *options_of(const struct device *d)
{
    struct gr_stanza *form = NULL;

    if (d->options[0] != '\0' && gr_stanza_parse(d->options, strlen(d->options), &form) != 0)
        gr_error("event_pusher.options", "the options of a device are damaged");
    return form;
}

static void publish_to(struct gr_mod *self, const struct gr_jid *service, const struct device *d,
                       const struct summary *s)
{
    const struct pusher_conf *conf = gr_conf(self);
    struct notified *about = notified_new(s->user, d);
    struct gr_stanza *iq = gr_iq_new(GR_SET, gr_mod_host_jid(self), service, NULL);
    struct gr_el *pubsub = gr_el_add(iq, NULL, NS_PUBSUB, "pubsub");
    struct gr_el *el = gr_el_add(iq, pubsub, NULL, "publish");
    struct gr_stanza *options = options_of(d);

    if (d->node[0] != '\0')
        gr_el_set(iq, el, "node", d->node);
    el = gr_el_add(iq, el, NULL, "item");
    add_summary(iq, gr_el_add(iq, el, NS_PUSH, "notification"), s);
    if (options != NULL)
        gr_el_append(iq, gr_el_add(iq, pubsub, NULL, "publish-options"), gr_stanza_root(options));
    gr_stanza_unref(&options);
    pending_add(gr_state(self), about->share, 1);
    gr_iq_ask(self, iq, conf->push_timeout, on_answer, about);
}

/* --- app servers that a module answers for --- */

struct notice {
    struct gr_push_ev ev;
    struct gr_stanza *st, *options;
    struct gr_jid *user;
    char *service, *node;
    struct notified *about;
};

static void on_noticed(struct gr_mod *self, struct gr_ev *ev, enum gr_verdict verdict)
{
    struct gr_push_ev *push = GR_CONTAINER_OF(ev, struct gr_push_ev, ev);
    struct notice *n = GR_CONTAINER_OF(push, struct notice, ev);

    (void)verdict;
    pending_add(gr_state(self), n->about->share, -1);
    if (push->device_gone)
        refused(self, n->about, GONE);
    else if (push->rc == 0)
        accepted(self, n->about);
    else
        unanswered(self, n->about, gr_strerror(push->rc));
    gr_stanza_unref(&n->st);
    gr_stanza_unref(&n->options);
    gr_jid_free(&n->user);
    gr_free(n->service);
    gr_free(n->node);
    gr_free(n->about);
    gr_free(n);
}

static void notice(struct gr_mod *self, const struct device *d, const struct summary *s)
{
    struct notice *n = gr_alloc(sizeof(*n));

    n->st = gr_nonza_new(NS_PUSH, "notification");
    n->options = options_of(d);
    n->user = gr_jid_dup(s->user);
    n->service = gr_strdup(d->service);
    n->node = gr_strdup(d->node);
    n->about = notified_new(s->user, d);
    n->ev = (struct gr_push_ev){
        .user = n->user, .form = add_summary(n->st, NULL, s), .service = n->service,
        .options = n->options != NULL ? gr_stanza_root(n->options) : NULL, .node = n->node,
        .rc = GR_ENOTSUP
    };
    pending_add(gr_state(self), n->about->share, 1);
    gr_hook_run(self, GR_HOOK_push_notifications, &n->ev.ev, on_noticed);
}

static bool is_virtual(const struct pusher_conf *conf, const struct gr_jid *service)
{
    for (size_t i = 0; conf->push_virtual_hosts[i] != NULL; i++) {
        if (strcmp(conf->push_virtual_hosts[i], service->domain) == 0)
            return true;
    }
    return false;
}

void publish(struct gr_mod *self, const struct device *d, const struct summary *s)
{
    struct pusher *p = gr_state(self);
    struct gr_jid *service;

    if (!pending_room(self, pending_share(s->user))) {
        p->dropped++;
        return;
    }
    if (gr_jid_parse(d->service, strlen(d->service), &service) != 0)
        return; /* was one when it was enabled */
    if (is_virtual(gr_conf(self), service))
        notice(self, d, s);
    else
        publish_to(self, service, d, s);
    gr_jid_free(&service);
}
