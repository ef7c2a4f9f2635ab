/* mod_amp/expire.c: rules about the time of delivery (expire-at: 3.3.2), of messages that are stored.
 *
 * The message goes on without its rules; these travel as a permanent note. When it is about to be stored
 * they are put into it, in an element of the server's own, and judged, and taken out, when it is sent
 * out from there. Such an element that somebody else wrote is removed before it can be stored. */
#include "amp.h"

#include <string.h>

#define NS_KEPT "urn:grapnel:amp"

bool is_time(const char *value, int64_t *us)
{
    size_t len = strlen(value);

    return len > 0 && value[len - 1] == 'Z' && gr_stamp_parse(value, us) == 0;
}

static bool is_about_time(const struct gr_el *rule)
{
    return strcmp(event_of(rule).condition, "expire-at") == 0;
}

/* Those of them that are about time, or NULL. */
static struct gr_stanza *kept_rules(const struct gr_el *rules)
{
    struct gr_stanza *kept = gr_nonza_new(NS_KEPT, "kept");
    const char *ns = gr_el_ns(rules);
    const struct gr_el *rule = gr_el_child(rules, ns, "rule");
    size_t n = 0;

    for (; rule != NULL; rule = gr_el_next(rule, ns, "rule"))
        if (is_about_time(rule)) {
            add_rule(kept, NULL, rule);
            n++;
        }
    if (n == 0)
        gr_stanza_unref(&kept);
    return kept;
}

static void note(const struct gr_ev *ev, const struct gr_el *rules)
{
    struct gr_stanza *kept = kept_rules(rules);

    if (kept != NULL)
        gr_acc_set_permanent(ev->acc, "amp", "expire", gr_stanza_xml(kept, NULL));
    gr_stanza_unref(&kept);
}

void note_expiry(const struct gr_ev *ev, const struct gr_stanza *before)
{
    note(ev, amp_of(before));
}

static void remove_kept(struct gr_stanza_ev *ev)
{
    struct gr_stanza *st;
    struct gr_el *el;

    if (gr_stanza_child(ev->stanza, NS_KEPT, NULL) == NULL)
        return;
    st = gr_ev_edit(ev);
    while ((el = gr_stanza_child(st, NS_KEPT, NULL)) != NULL)
        gr_el_remove(st, el);
}

enum gr_verdict on_offline(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const char *xml = gr_acc_get(ev->ev.acc, "amp", "expire");
    const struct gr_el *rule;
    struct gr_stanza *kept;
    struct gr_el *el;

    (void)self;
    remove_kept(ev);
    if (xml == NULL || gr_stanza_parse(xml, strlen(xml), &kept) != 0)
        return GR_OK;
    el = gr_ev_append(ev, NS_KEPT, "kept");
    rule = gr_el_child(gr_stanza_root(kept), NS_KEPT, "rule");
    for (; rule != NULL; rule = gr_el_next(rule, NS_KEPT, "rule"))
        add_rule(ev->stanza, el, rule);
    gr_stanza_unref(&kept);
    return GR_OK;
}

static bool is_from_store(struct gr_mod *self, const struct gr_stanza_ev *ev)
{
    const struct gr_el *el = gr_stanza_child(ev->stanza, GR_NS_DELAY, "delay");
    const char *from;

    for (; el != NULL; el = gr_el_next(el, GR_NS_DELAY, "delay")) {
        from = gr_el_attr(el, "from");
        if (from != NULL && strcmp(from, gr_mod_host_jid(self)->full) == 0)
            return true;
    }
    return false;
}

enum gr_verdict on_stored(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct gr_el *kept;
    struct gr_stanza *st;
    bool on;

    if (gr_acc_origin(ev->ev.acc) != GR_FROM_SERVER || gr_stanza_kind(ev->stanza) != GR_MESSAGE)
        return GR_OK;
    kept = gr_stanza_child(ev->stanza, NS_KEPT, "kept");
    if (kept == NULL || !is_from_store(self, ev))
        return GR_OK;
    st = gr_stanza_ref(ev->stanza); /* what `kept` is in */
    on = judge(self, st, kept, "direct", "none");
    if (on) {
        note(&ev->ev, kept); /* it may come back to the store, whose copy is still there */
        remove_kept(ev);
    }
    gr_stanza_unref(&st);
    return on ? GR_OK : GR_DROP;
}
