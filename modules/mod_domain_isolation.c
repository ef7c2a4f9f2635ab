/* mod_domain_isolation: users of different domains cannot talk to each other.
 *
 * Whatever comes to a host of ours from another domain goes no further. The sender is told once: the error
 * crosses the same border, so it carries a note (hooks.md 6.15). A domain below one of our hosts that
 * is no host itself, such as a component's, counts as that host. */
#include <grapnel/module.h>

#include <string.h>

#define NOTE_NS "domain_isolation"

/* The host itself, or the nearest one above. */
static const char *host_of(const char *domain)
{
    const char *d = domain;

    while (gr_host_find(d) == NULL) {
        d = strchr(d, '.');
        if (d == NULL)
            return domain;
        d++;
    }
    return d;
}

/* Presences say nothing that needs an answer, except a wish to subscribe. */
static bool is_worth_an_answer(const struct gr_stanza *st)
{
    return gr_stanza_kind(st) != GR_PRESENCE || gr_stanza_type(st) == GR_SUBSCRIBE;
}

static bool is_within(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || strcmp(host_of(a), host_of(b)) == 0;
}

static enum gr_verdict on_packet(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    if (is_within(ev->from->domain, ev->to->domain) ||
        gr_acc_get(ev->ev.acc, NOTE_NS, "error") != NULL)
        return GR_OK;
    if (is_worth_an_answer(ev->stanza)) {
        gr_acc_set_permanent(ev->ev.acc, NOTE_NS, "error", "");
        gr_ev_refuse(self, ev, GR_SERVICE_UNAVAILABLE, "filtered by the domain isolation");
    }
    return GR_DROP;
}

static const struct gr_hook hooks[] = {
    GR_ON(filter_local_packet, GR_PRIO_PRIVACY, on_packet),
    GR_HOOK_END
};

GR_MODULE(domain_isolation, .summary = "users of different domains cannot talk to each other",
          .hooks = hooks);
